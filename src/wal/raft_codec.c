#include "wal/raft_codec.h"

#include "wal/varint.h"

enum wire_type { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

#define TAG(number, wire) ((uint32_t)(number) << 3 | (uint32_t)(wire))

/* ---- reading: one field after the other ------------------------------------------------- */

struct field {
    uint32_t tag;
    uint64_t number_value; /* of a varint */
    struct bytes bytes;    /* of a length-delimited one */
};

struct reader {
    const uint8_t *at, *end;
};

static struct reader reader_of(struct bytes from)
{
    static const uint8_t nothing[1];
    const uint8_t *at = from.len ? from.data : nothing; /* NULL + 0 is no arithmetic in C */
    return (struct reader){at, at + from.len};
}

/* The next field; *ret_more false at the end. Fields of any wire type but groups are passed over
 * here, so that a caller only looks at the tags it knows. */
static err reader_next(struct reader *self, struct field *ret_field, bool *ret_more)
{
    if (self->at == self->end) {
        *ret_more = false;
        return OK;
    }
    uint64_t tag, value = 0;
    struct bytes bytes = BYTES_NONE;
    if (!varint_get(&self->at, self->end, &tag) || tag > UINT32_MAX || tag < 8)
        return ERR_SYNTAX;
    size_t left, fixed = 0;
    switch (tag & 7) {
    case WIRE_VARINT:
        if (!varint_get(&self->at, self->end, &value))
            return ERR_SYNTAX;
        break;
    case WIRE_BYTES:
        if (!varint_get(&self->at, self->end, &value))
            return ERR_SYNTAX;
        left = (size_t)(self->end - self->at);
        if (value > left)
            return ERR_SYNTAX;
        bytes = bytes_of(self->at, (size_t)value);
        self->at += value;
        break;
    case WIRE_FIXED64:
    case WIRE_FIXED32:
        fixed = (tag & 7) == WIRE_FIXED64 ? 8 : 4;
        if (fixed > (size_t)(self->end - self->at))
            return ERR_SYNTAX;
        self->at += fixed;
        break;
    default:
        return ERR_SYNTAX;
    }
    *ret_field = (struct field){(uint32_t)tag, value, bytes};
    *ret_more = true;
    return OK;
}

/* A known field number with a wire type that it never has. */
static bool tag_is_foreign(uint32_t tag, uint32_t highest)
{
    return tag >> 3 <= highest;
}

static err number_of(const struct field *field, uint64_t *ret_number)
{
    if (field->number_value > RAFT_NUMBER_MAX)
        return ERR_LIMIT;
    *ret_number = field->number_value;
    return OK;
}

/* ---- entry: Type 1, Term 2, Index 3, Data 4 ---------------------------------------------- */

/* A membership change has its data field even where that is empty: so no changed bit in a log can
 * make a hard state, whose fields look like an entry's first three, pass for one. */
static bool has_data_field(const struct raft_entry *entry)
{
    return entry->data.len || entry->type != RAFT_ENTRY_NORMAL;
}

size_t raft_codec_entry_head(const struct raft_entry *entry,
                             uint8_t ret_head[RAFT_CODEC_ENTRY_HEAD_BYTES_MAX])
{
    uint8_t *p = ret_head;
    *p++ = TAG(1, WIRE_VARINT);
    p = varint_put(p, (uint64_t)entry->type);
    *p++ = TAG(2, WIRE_VARINT);
    p = varint_put(p, entry->term);
    *p++ = TAG(3, WIRE_VARINT);
    p = varint_put(p, entry->index);
    if (has_data_field(entry)) {
        *p++ = TAG(4, WIRE_BYTES);
        p = varint_put(p, entry->data.len);
    }
    return (size_t)(p - ret_head);
}

size_t raft_codec_entry_size(const struct raft_entry *entry)
{
    size_t size = 4 + varint_size(entry->term) + varint_size(entry->index);
    if (has_data_field(entry))
        size += 1 + varint_size(entry->data.len) + entry->data.len;
    return size;
}

err raft_codec_entry_decode(struct bytes from, struct raft_entry *ret_entry)
{
    struct raft_entry entry = {0};
    struct reader reader = reader_of(from);
    struct field field;
    bool more;
    for (;;) {
        TRY(reader_next(&reader, &field, &more));
        if (!more)
            break;
        switch (field.tag) {
        case TAG(1, WIRE_VARINT):
            if (field.number_value > RAFT_ENTRY_CONF_CHANGE_V2)
                return ERR_SYNTAX;
            entry.type = (enum raft_entry_type)field.number_value;
            break;
        case TAG(2, WIRE_VARINT):
            TRY(number_of(&field, &entry.term));
            break;
        case TAG(3, WIRE_VARINT):
            TRY(number_of(&field, &entry.index));
            break;
        case TAG(4, WIRE_BYTES):
            entry.data = field.bytes;
            break;
        default:
            if (tag_is_foreign(field.tag, 4))
                return ERR_SYNTAX;
        }
    }
    *ret_entry = entry;
    return OK;
}

/* ---- hard state: term 1, vote 2, commit 3 ------------------------------------------------ */

size_t raft_codec_state_encode(const struct raft_hard_state *state,
                               uint8_t ret_bytes[RAFT_CODEC_STATE_BYTES_MAX])
{
    uint8_t *p = ret_bytes;
    *p++ = TAG(1, WIRE_VARINT);
    p = varint_put(p, state->term);
    *p++ = TAG(2, WIRE_VARINT);
    p = varint_put(p, state->vote);
    *p++ = TAG(3, WIRE_VARINT);
    p = varint_put(p, state->commit);
    return (size_t)(p - ret_bytes);
}

err raft_codec_state_decode(struct bytes from, struct raft_hard_state *ret_state)
{
    struct raft_hard_state state = {0};
    struct reader reader = reader_of(from);
    struct field field;
    bool more;
    for (;;) {
        TRY(reader_next(&reader, &field, &more));
        if (!more)
            break;
        switch (field.tag) {
        case TAG(1, WIRE_VARINT):
            TRY(number_of(&field, &state.term));
            break;
        case TAG(2, WIRE_VARINT):
            state.vote = field.number_value;
            break;
        case TAG(3, WIRE_VARINT):
            TRY(number_of(&field, &state.commit));
            break;
        default:
            if (tag_is_foreign(field.tag, 3))
                return ERR_SYNTAX;
        }
    }
    *ret_state = state;
    return OK;
}

/* ---- conf state: voters 1, learners 2, voters_outgoing 3, learners_next 4, auto_leave 5 --- */

static size_t id_set_size(const struct raft_id_set *set)
{
    size_t size = 0;
    for (uint32_t i = 0; i < set->count; i++)
        size += 1 + varint_size(set->ids[i]);
    return size;
}

static uint8_t *id_set_put(uint8_t *p, uint8_t tag, const struct raft_id_set *set)
{
    for (uint32_t i = 0; i < set->count; i++) {
        *p++ = tag;
        p = varint_put(p, set->ids[i]);
    }
    return p;
}

static size_t conf_state_size(const struct raft_conf_state *state)
{
    return id_set_size(&state->voters) + id_set_size(&state->learners) +
           id_set_size(&state->voters_outgoing) + id_set_size(&state->learners_next) + 2;
}

static uint8_t *conf_state_put(uint8_t *p, const struct raft_conf_state *state)
{
    p = id_set_put(p, TAG(1, WIRE_VARINT), &state->voters);
    p = id_set_put(p, TAG(2, WIRE_VARINT), &state->learners);
    p = id_set_put(p, TAG(3, WIRE_VARINT), &state->voters_outgoing);
    p = id_set_put(p, TAG(4, WIRE_VARINT), &state->learners_next);
    *p++ = TAG(5, WIRE_VARINT);
    *p++ = state->auto_leave ? 1 : 0;
    return p;
}

err raft_codec_conf_state_encode(const struct raft_conf_state *state, struct buf *buf)
{
    size_t size = conf_state_size(state);
    TRY(buf_reserve(buf, size));
    uint8_t *end = conf_state_put(buf->data + buf->len, state);
    CHECK(end == buf->data + buf->len + size);
    buf->len += size;
    return OK;
}

/* One id, or a packed run of them. */
static err id_set_read(const struct field *field, struct raft_id_set *set)
{
    if ((field->tag & 7) == WIRE_VARINT)
        return raft_id_set_add(set, field->number_value) ? OK : ERR_LIMIT;
    const uint8_t *at = field->bytes.data, *end = at + field->bytes.len;
    while (at < end) {
        uint64_t id;
        if (!varint_get(&at, end, &id))
            return ERR_SYNTAX;
        if (!raft_id_set_add(set, id))
            return ERR_LIMIT;
    }
    return OK;
}

err raft_codec_conf_state_decode(struct bytes from, struct raft_conf_state *ret_state)
{
    struct raft_conf_state state = {0};
    struct raft_id_set *sets[] = {NULL, &state.voters, &state.learners, &state.voters_outgoing,
                                  &state.learners_next};
    struct reader reader = reader_of(from);
    struct field field;
    bool more;
    for (;;) {
        TRY(reader_next(&reader, &field, &more));
        if (!more)
            break;
        uint32_t number = field.tag >> 3, wire = field.tag & 7;
        if (number >= 1 && number <= 4 && (wire == WIRE_VARINT || wire == WIRE_BYTES))
            TRY(id_set_read(&field, sets[number]));
        else if (field.tag == TAG(5, WIRE_VARINT))
            state.auto_leave = field.number_value != 0;
        else if (tag_is_foreign(field.tag, 5))
            return ERR_SYNTAX;
    }
    *ret_state = state;
    return OK;
}

/* ---- snapshot: data 1, metadata 2 { conf_state 1, index 2, term 3 } ---------------------- */

static size_t snapshot_metadata_size(const struct raft_snapshot *snapshot)
{
    size_t conf = conf_state_size(&snapshot->conf_state);
    return 1 + varint_size(conf) + conf + 1 + varint_size(snapshot->index) + 1 +
           varint_size(snapshot->term);
}

static size_t snapshot_size(const struct raft_snapshot *snapshot)
{
    size_t metadata = snapshot_metadata_size(snapshot);
    size_t size = 1 + varint_size(metadata) + metadata;
    if (snapshot->data.len)
        size += 1 + varint_size(snapshot->data.len) + snapshot->data.len;
    return size;
}

static uint8_t *bytes_put(uint8_t *p, uint8_t tag, struct bytes what)
{
    *p++ = tag;
    p = varint_put(p, what.len);
    if (what.len)
        memcpy(p, what.data, what.len);
    return p + what.len;
}

static uint8_t *snapshot_put(uint8_t *p, const struct raft_snapshot *snapshot)
{
    if (snapshot->data.len)
        p = bytes_put(p, TAG(1, WIRE_BYTES), snapshot->data);
    *p++ = TAG(2, WIRE_BYTES);
    p = varint_put(p, snapshot_metadata_size(snapshot));
    *p++ = TAG(1, WIRE_BYTES);
    p = varint_put(p, conf_state_size(&snapshot->conf_state));
    p = conf_state_put(p, &snapshot->conf_state);
    *p++ = TAG(2, WIRE_VARINT);
    p = varint_put(p, snapshot->index);
    *p++ = TAG(3, WIRE_VARINT);
    return varint_put(p, snapshot->term);
}

err raft_codec_snapshot_encode(const struct raft_snapshot *snapshot, struct buf *buf)
{
    size_t size = snapshot_size(snapshot);
    TRY(buf_reserve(buf, size));
    uint8_t *end = snapshot_put(buf->data + buf->len, snapshot);
    CHECK(end == buf->data + buf->len + size);
    buf->len += size;
    return OK;
}

static err snapshot_metadata_decode(struct bytes from, struct raft_snapshot *snapshot)
{
    struct reader reader = reader_of(from);
    struct field field;
    bool more;
    for (;;) {
        TRY(reader_next(&reader, &field, &more));
        if (!more)
            return OK;
        switch (field.tag) {
        case TAG(1, WIRE_BYTES):
            TRY(raft_codec_conf_state_decode(field.bytes, &snapshot->conf_state));
            break;
        case TAG(2, WIRE_VARINT):
            TRY(number_of(&field, &snapshot->index));
            break;
        case TAG(3, WIRE_VARINT):
            TRY(number_of(&field, &snapshot->term));
            break;
        default:
            if (tag_is_foreign(field.tag, 3))
                return ERR_SYNTAX;
        }
    }
}

err raft_codec_snapshot_decode(struct bytes from, struct raft_snapshot *ret_snapshot)
{
    struct raft_snapshot snapshot = {0};
    struct reader reader = reader_of(from);
    struct field field;
    bool more;
    for (;;) {
        TRY(reader_next(&reader, &field, &more));
        if (!more)
            break;
        if (field.tag == TAG(1, WIRE_BYTES))
            snapshot.data = field.bytes;
        else if (field.tag == TAG(2, WIRE_BYTES))
            TRY(snapshot_metadata_decode(field.bytes, &snapshot));
        else if (tag_is_foreign(field.tag, 2))
            return ERR_SYNTAX;
    }
    *ret_snapshot = snapshot;
    return OK;
}

/* ---- message ---------------------------------------------------------------------------- */

static bool snapshot_is_empty(const struct raft_snapshot *snapshot)
{
    return !snapshot || snapshot->index == 0;
}

size_t raft_codec_message_size(const struct raft_message *m)
{
    size_t size = 1 + varint_size(m->type) + 1 + varint_size(m->to) + 1 + varint_size(m->from) + 1 +
                  varint_size(m->term) + 1 + varint_size(m->log_term) + 1 + varint_size(m->index) +
                  1 + varint_size(m->commit) + 2 + 1 + varint_size(m->reject_hint) + 1 +
                  varint_size(m->vote);
    for (size_t i = 0; i < m->entry_count; i++) {
        size_t n = raft_codec_entry_size(&m->entries[i]);
        size += 1 + varint_size(n) + n;
    }
    if (!snapshot_is_empty(m->snapshot)) {
        size_t n = snapshot_size(m->snapshot);
        size += 1 + varint_size(n) + n;
    }
    if (m->context.len)
        size += 1 + varint_size(m->context.len) + m->context.len;
    for (size_t i = 0; i < m->response_count; i++) {
        size_t n = raft_codec_message_size(&m->responses[i]);
        size += 1 + varint_size(n) + n;
    }
    return size;
}

static uint8_t *entry_put(uint8_t *p, const struct raft_entry *entry)
{
    *p++ = TAG(7, WIRE_BYTES);
    p = varint_put(p, raft_codec_entry_size(entry));
    p += raft_codec_entry_head(entry, p);
    if (entry->data.len)
        memcpy(p, entry->data.data, entry->data.len);
    return p + entry->data.len;
}

static uint8_t *message_put(uint8_t *p, const struct raft_message *m)
{
    const struct {
        uint8_t tag;
        uint64_t value;
    } before[] = {{TAG(1, WIRE_VARINT), m->type},     {TAG(2, WIRE_VARINT), m->to},
                  {TAG(3, WIRE_VARINT), m->from},     {TAG(4, WIRE_VARINT), m->term},
                  {TAG(5, WIRE_VARINT), m->log_term}, {TAG(6, WIRE_VARINT), m->index}};
    for (size_t i = 0; i < sizeof(before) / sizeof(before[0]); i++) {
        *p++ = before[i].tag;
        p = varint_put(p, before[i].value);
    }
    for (size_t i = 0; i < m->entry_count; i++)
        p = entry_put(p, &m->entries[i]);
    *p++ = TAG(8, WIRE_VARINT);
    p = varint_put(p, m->commit);
    if (!snapshot_is_empty(m->snapshot)) {
        *p++ = TAG(9, WIRE_BYTES);
        p = varint_put(p, snapshot_size(m->snapshot));
        p = snapshot_put(p, m->snapshot);
    }
    *p++ = TAG(10, WIRE_VARINT);
    *p++ = m->reject ? 1 : 0;
    *p++ = TAG(11, WIRE_VARINT);
    p = varint_put(p, m->reject_hint);
    if (m->context.len)
        p = bytes_put(p, TAG(12, WIRE_BYTES), m->context);
    *p++ = TAG(13, WIRE_VARINT);
    p = varint_put(p, m->vote);
    for (size_t i = 0; i < m->response_count; i++) {
        *p++ = TAG(14, WIRE_BYTES);
        p = varint_put(p, raft_codec_message_size(&m->responses[i]));
        p = message_put(p, &m->responses[i]); /* one level: checked by the caller */
    }
    return p;
}

err raft_codec_message_encode(const struct raft_message *message, struct buf *buf)
{
    for (size_t i = 0; i < message->response_count; i++)
        if (message->responses[i].response_count)
            return ERR_USAGE;
    size_t size = raft_codec_message_size(message);
    TRY(buf_reserve(buf, size));
    uint8_t *end = message_put(buf->data + buf->len, message);
    CHECK(end == buf->data + buf->len + size);
    buf->len += size;
    return OK;
}

/* How many fields with this tag there are: arrays are made once, of that size. */
static err fields_count(struct bytes from, uint32_t tag, size_t max, size_t *ret_count)
{
    struct reader reader = reader_of(from);
    struct field field;
    bool more;
    size_t count = 0;
    for (;;) {
        TRY(reader_next(&reader, &field, &more));
        if (!more)
            break;
        if (field.tag == tag && ++count > max)
            return ERR_LIMIT;
    }
    *ret_count = count;
    return OK;
}

static err message_decode(struct bytes from, struct arena *arena, unsigned depth,
                          struct raft_message *ret_message);

struct message_arrays {
    struct raft_entry *entries;
    struct raft_snapshot *snapshot;
    struct raft_message *responses;
};

static err message_arrays_make(struct bytes from, struct arena *arena,
                               struct message_arrays *ret_arrays)
{
    size_t entries, responses;
    TRY(fields_count(from, TAG(7, WIRE_BYTES), RAFT_CODEC_ENTRIES_MAX, &entries));
    TRY(fields_count(from, TAG(14, WIRE_BYTES), RAFT_CODEC_RESPONSES_MAX, &responses));
    struct message_arrays arrays = {0};
    if (entries)
        arrays.entries = ARENA_ARRAY(arena, struct raft_entry, entries);
    if (responses)
        arrays.responses = ARENA_ARRAY(arena, struct raft_message, responses);
    *ret_arrays = arrays;
    return OK;
}

static err message_snapshot_read(const struct field *field, struct arena *arena,
                                 struct raft_message *m)
{
    struct raft_snapshot *snapshot = ARENA_NEW(arena, struct raft_snapshot);
    TRY(raft_codec_snapshot_decode(field->bytes, snapshot));
    /* Up to 3.5 an empty snapshot stands in every message. */
    m->snapshot = snapshot_is_empty(snapshot) ? NULL : snapshot;
    return OK;
}

/* One field of a message; those with a table row of their own are below. */
static err message_field_read(const struct field *field, struct arena *arena, unsigned depth,
                              const struct message_arrays *arrays, struct raft_message *m)
{
    switch (field->tag) {
    case TAG(1, WIRE_VARINT):
        if (field->number_value >= RAFT_MESSAGE_TYPE_COUNT)
            return ERR_SYNTAX;
        m->type = (enum raft_message_type)field->number_value;
        return OK;
    case TAG(2, WIRE_VARINT):
        m->to = field->number_value;
        return OK;
    case TAG(3, WIRE_VARINT):
        m->from = field->number_value;
        return OK;
    case TAG(4, WIRE_VARINT):
        return number_of(field, &m->term);
    case TAG(5, WIRE_VARINT):
        return number_of(field, &m->log_term);
    case TAG(6, WIRE_VARINT):
        return number_of(field, &m->index);
    case TAG(7, WIRE_BYTES):
        CHECK(arrays->entries);
        TRY(raft_codec_entry_decode(field->bytes, &arrays->entries[m->entry_count]));
        m->entry_count++;
        return OK;
    case TAG(8, WIRE_VARINT):
        return number_of(field, &m->commit);
    case TAG(9, WIRE_BYTES):
        return message_snapshot_read(field, arena, m);
    case TAG(10, WIRE_VARINT):
        m->reject = field->number_value != 0;
        return OK;
    case TAG(11, WIRE_VARINT):
        return number_of(field, &m->reject_hint);
    case TAG(12, WIRE_BYTES):
        if (field->bytes.len > RAFT_CONTEXT_BYTES_MAX)
            return ERR_LIMIT;
        m->context = field->bytes;
        return OK;
    case TAG(13, WIRE_VARINT):
        m->vote = field->number_value;
        return OK;
    case TAG(14, WIRE_BYTES):
        if (depth >= RAFT_CODEC_DEPTH_MAX)
            return ERR_LIMIT;
        CHECK(arrays->responses);
        TRY(message_decode(field->bytes, arena, depth + 1, &arrays->responses[m->response_count]));
        m->response_count++;
        return OK;
    default:
        return tag_is_foreign(field->tag, 14) ? ERR_SYNTAX : OK;
    }
}

/* Recursion ends at RAFT_CODEC_DEPTH_MAX. */
static err message_decode(struct bytes from, struct arena *arena, unsigned depth,
                          struct raft_message *ret_message)
{
    struct message_arrays arrays;
    TRY(message_arrays_make(from, arena, &arrays));
    struct raft_message m = {.entries = arrays.entries, .responses = arrays.responses};
    struct reader reader = reader_of(from);
    struct field field;
    bool more;
    for (;;) {
        TRY(reader_next(&reader, &field, &more));
        if (!more)
            break;
        TRY(message_field_read(&field, arena, depth, &arrays, &m));
    }
    *ret_message = m;
    return OK;
}

err raft_codec_message_decode(struct bytes from, struct arena *arena,
                              struct raft_message *ret_message)
{
    return message_decode(from, arena, 1, ret_message);
}
