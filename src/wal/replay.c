#include "wal/replay.h"
#include "base/bug.h"

#include "base/check.h"
#include "base/crc.h"
#include "wal/raft_codec.h"
#include "wal/varint.h"

#include <stdlib.h>

size_t wal_names_run(const struct wal_name *names, size_t count)
{
    size_t start = count ? count - 1 : 0;
    while (start > 0 && names[start - 1].sequence + 1 == names[start].sequence)
        start--;
    return start;
}

void wal_replay_init(struct wal_replay *self)
{
    *self = (struct wal_replay){0};
    buf_init(&self->metadata, WAL_RECORD_BYTES_MAX);
    wal_places_init(&self->entries, 0, 0);
}

void wal_replay_done(struct wal_replay *self)
{
    buf_done(&self->metadata);
    wal_places_done(&self->entries);
    for (size_t i = 0; i < self->snapshot_count; i++)
        free(self->snapshots[i].conf_state);
    free(self->snapshots);
    *self = (struct wal_replay){0};
}

/* ---- what a record means: each answers NULL, or what is wrong with it -------------------- */

static const char *apply_metadata(struct wal_replay *self, struct bytes data)
{
    if (self->has_metadata)
        return bytes_equal(buf_bytes(&self->metadata), data) ? NULL : "metadata differs";
    if (!err_ok(buf_append(&self->metadata, data)))
        return "metadata is too long";
    self->has_metadata = true;
    return NULL;
}

static void entries_begin_after(struct wal_replay *self, uint64_t index, uint64_t term,
                                bool is_snapshot)
{
    wal_places_reset(&self->entries, index, term);
    self->base_known = true;
    self->base_is_snapshot = is_snapshot;
}

static const char *entry_put(struct wal_replay *self, const struct raft_entry *entry,
                             struct wal_place place)
{
    struct wal_places *entries = &self->entries;
    uint64_t term_before = 0;
    if (!self->base_known || (entry->index <= entries->base_index && !self->base_is_snapshot)) {
        /* The log's beginning was released: its first entry stands for what precedes the rest. */
        entries_begin_after(self, entry->index, entry->term, false);
        return NULL;
    }
    if (entry->index <= entries->base_index)
        return NULL; /* the snapshot has it */
    if (entry->index > wal_places_last_index(entries) + 1)
        return "entries are missing before this one";
    CHECK(err_ok(wal_places_term(entries, entry->index - 1, &term_before)));
    if (entry->term < term_before)
        return "the entry's term is lower than that of the one before";
    CHECK(err_ok(wal_places_put(entries, entry->index, entry->term, place)));
    return NULL;
}

static const char *apply_entry(struct wal_replay *self, struct bytes data, struct wal_place place)
{
    struct raft_entry entry;
    if (!err_ok(raft_codec_entry_decode(data, &entry)))
        return "not an entry";
    if (entry.index == 0 || entry.term == 0)
        return "the entry has no index or no term";
    if (entry.type != RAFT_ENTRY_NORMAL && !entry.data.data)
        return "a membership change without data";
    /* Nothing may have changed where the record is refused: it may be cut. */
    if (self->install_pending && entry.index == self->install_index + 1) {
        if (entry.term < self->install_term)
            return "the entry's term is lower than that of the snapshot before";
        entries_begin_after(self, self->install_index, self->install_term, true);
    }
    const char *wrong = entry_put(self, &entry, place);
    if (!wrong)
        self->install_pending = false;
    return wrong;
}

static const char *apply_state(struct wal_replay *self, struct bytes data)
{
    struct raft_hard_state state;
    if (!err_ok(raft_codec_state_decode(data, &state)) || state.term == 0)
        return "not a hard state";
    if (state.term < self->state.term || state.commit < self->state.commit)
        return "the hard state goes backwards";
    self->state = state;
    if (self->install_pending && state.commit >= self->install_index) {
        self->install_pending = false;
        entries_begin_after(self, self->install_index, self->install_term, true);
    }
    return NULL;
}

/* walpb.Snapshot: index 1, term 2, conf_state 3; ascending and minimal, as we and etcd write it. */
static bool snapshot_parse(struct bytes data, struct wal_snapshot *ret_snapshot)
{
    struct wal_snapshot snapshot = {0};
    const uint8_t *p = data.data, *end = p + data.len;
    uint64_t len;
    if (p < end && *p == 0x08) {
        p++;
        if (!varint_get_minimal(&p, end, &snapshot.index))
            return false;
    }
    if (p < end && *p == 0x10) {
        p++;
        if (!varint_get_minimal(&p, end, &snapshot.term))
            return false;
    }
    if (p < end && *p == 0x1a) {
        p++;
        if (!varint_get_minimal(&p, end, &len) || len != (uint64_t)(end - p))
            return false;
        snapshot.conf_state = bytes_of(p, (size_t)len);
        p = end;
    }
    if (p != end || snapshot.index > RAFT_NUMBER_MAX || snapshot.term > RAFT_NUMBER_MAX)
        return false;
    *ret_snapshot = snapshot;
    return true;
}

static void snapshot_remember(struct wal_replay *self, const struct wal_snapshot *snapshot)
{
    if (self->snapshot_count == self->snapshot_cap) {
        self->snapshot_cap = self->snapshot_cap ? self->snapshot_cap * 2 : 8;
        self->snapshots = realloc(self->snapshots, self->snapshot_cap * sizeof(*self->snapshots));
        CHECK(self->snapshots);
    }
    struct wal_snapshot_row row = {snapshot->index, snapshot->term, NULL, snapshot->conf_state.len};
    if (row.conf_state_len) {
        row.conf_state = malloc(row.conf_state_len);
        CHECK(row.conf_state);
        memcpy(row.conf_state, snapshot->conf_state.data, row.conf_state_len);
    }
    self->snapshots[self->snapshot_count++] = row;
}

static const char *apply_snapshot(struct wal_replay *self, struct wal_name name, struct bytes data)
{
    struct wal_snapshot snapshot;
    struct raft_conf_state conf_state;
    if (!snapshot_parse(data, &snapshot) ||
        !err_ok(raft_codec_conf_state_decode(snapshot.conf_state, &conf_state)))
        return "not a snapshot record";
    if ((snapshot.index == 0) != (snapshot.term == 0))
        return "the snapshot record has no index or no term";
    snapshot_remember(self, &snapshot);
    self->install_pending = false;
    uint64_t term;
    if (!self->base_known) {
        /* Older than this segment's entries: it says nothing about where they begin. */
        if (snapshot.index + 1 >= name.first_index)
            entries_begin_after(self, snapshot.index, snapshot.term, true);
    } else if (snapshot.index >= self->entries.base_index &&
               (!err_ok(wal_places_term(&self->entries, snapshot.index, &term)) ||
                term != snapshot.term)) {
        self->install_pending = true;
        self->install_index = snapshot.index;
        self->install_term = snapshot.term;
    }
    return NULL;
}

/* ---- one segment -------------------------------------------------------------------------- */

struct segment {
    struct wal_name name;
    struct bytes bytes;
    uint64_t offset;
    unsigned records;
    uint64_t bad_frame_bytes; /* the frame at the bad offset where its head can be believed */
    bool bad_frame_past_end;
};

/* The first two records of a segment are always the crc and the metadata, and no metadata comes
 * later. */
static bool record_is_placed(const struct segment *segment, enum wal_type type)
{
    if (segment->records == 0)
        return type == WAL_CRC;
    return (segment->records == 1) == (type == WAL_METADATA);
}

static const char *apply_crc(struct wal_replay *self, const struct segment *segment, uint32_t crc)
{
    bool first_of_all = segment->records == 0 && !self->started;
    if (first_of_all && (segment->name.sequence != 0 || crc == 0))
        self->crc = crc;
    else if (crc != self->crc)
        return "the running checksum differs";
    if (segment->records > 0)
        self->marks_seen = true;
    return NULL;
}

static const char *apply_record(struct wal_replay *self, const struct segment *segment,
                                const struct wal_record *record)
{
    if (!record_is_placed(segment, record->type))
        return "a record of this type does not belong here";
    if (record->type == WAL_CRC)
        return apply_crc(self, segment, record->crc);
    uint32_t crc_before = self->crc;
    uint32_t crc = crc32c(crc_before, record->data);
    if (BUG(log_torn_accepted))
        crc = record->crc;
    if (crc != record->crc)
        return "the record's checksum is wrong";
    const char *wrong = NULL;
    switch (record->type) {
    case WAL_METADATA:
        wrong = apply_metadata(self, record->data);
        break;
    case WAL_ENTRY:
        wrong = apply_entry(self, record->data,
                            (struct wal_place){(uint32_t)segment->name.sequence,
                                               (uint32_t)segment->offset, crc_before});
        break;
    case WAL_STATE:
        wrong = apply_state(self, record->data);
        break;
    case WAL_SNAPSHOT:
        wrong = apply_snapshot(self, segment->name, record->data);
        break;
    case WAL_CRC:
        break;
    }
    if (!wrong)
        self->crc = crc;
    return wrong;
}

/* Reads frames until the end or the first bad one; answers what is wrong with that, or NULL. */
static const char *records_read(struct wal_replay *self, struct segment *segment)
{
    for (;;) {
        struct bytes rest = bytes_skip(segment->bytes, (size_t)segment->offset);
        struct wal_record record;
        err e = wal_record_parse(rest, &record);
        if (err_is(e, ERR_NOT_FOUND))
            return NULL;
        if (err_is(e, ERR_TORN)) {
            uint64_t size = bytes_get_le64(rest.data) << 8 >> 8;
            segment->bad_frame_past_end = size <= WAL_RECORD_BYTES_MAX;
            return "the record reaches past the end of the file";
        }
        if (!err_ok(e))
            return "not a record";
        const char *wrong = apply_record(self, segment, &record);
        if (wrong) {
            segment->bad_frame_bytes = record.frame_bytes;
            return wrong;
        }
        segment->offset += record.frame_bytes;
        segment->records++;
    }
}

/* The length without trailing zeros. */
static uint64_t used_bytes(struct bytes bytes, uint64_t from)
{
    size_t n = bytes.len;
    while (n > from && (n & 7) && bytes.data[n - 1] == 0)
        n--;
    if ((n & 7) == 0)
        while (n >= from + 8 && bytes_get_le64(bytes.data + n - 8) == 0)
            n -= 8;
    while (n > from && bytes.data[n - 1] == 0)
        n--;
    return n;
}

static bool mark_follows(struct bytes bytes, uint64_t from, uint64_t used)
{
    for (uint64_t at = from + 8; at < used && at + WAL_MARK_BYTES <= bytes.len; at += 8)
        if (wal_mark_at(bytes_skip(bytes, (size_t)at)))
            return true;
    return false;
}

/* etcd's sign of a torn write: one sector's part of the frame's body never reached the disk. */
static bool frame_misses_sector(const struct segment *segment)
{
    uint64_t at = segment->offset + WAL_FRAME_HEAD_BYTES;
    uint64_t end = segment->offset + segment->bad_frame_bytes;
    while (at < end) {
        uint64_t stop = (at / WAL_SECTOR_BYTES + 1) * WAL_SECTOR_BYTES;
        if (stop > end)
            stop = end;
        if (used_bytes(bytes_of(segment->bytes.data, (size_t)stop), at) == at)
            return true;
        at = stop;
    }
    return false;
}

static void fault_fill(struct wal_replay *self, const struct segment *segment, const char *what)
{
    self->fault = (struct wal_fault){segment->name, segment->offset,
                                     wal_places_last_index(&self->entries), what};
}

/* The last segment ends at `offset`, with bad bytes there (wrong) or with whatever follows. */
static err tail_judge(struct wal_replay *self, const struct segment *segment, const char *wrong,
                      struct wal_tail *ret_tail)
{
    uint64_t used = used_bytes(segment->bytes, segment->offset);
    struct wal_tail tail = {.offset = segment->offset, .crc = self->crc};
    if (wrong || used > segment->offset) {
        fault_fill(self, segment, wrong ? wrong : "bytes lie behind the end of the log");
        if (segment->records < 2)
            return ERR_CORRUPT; /* a segment gets its name when its head is synced */
        if (mark_follows(segment->bytes, segment->offset, used))
            return ERR_CORRUPT;
        if (wrong && !self->marks_seen && !segment->bad_frame_past_end &&
            !frame_misses_sector(segment))
            return ERR_CORRUPT;
        tail.cut = true;
        tail.cut_bytes = used - segment->offset;
    }
    *ret_tail = tail;
    return OK;
}

err wal_replay_segment(struct wal_replay *self, struct wal_name name, struct bytes bytes,
                       bool is_last, struct wal_tail *ret_tail)
{
    struct segment segment = {.name = name, .bytes = bytes};
    if (name.sequence > UINT32_MAX || bytes.len > UINT32_MAX ||
        (self->started && name.sequence != self->next_sequence)) {
        fault_fill(self, &segment, "a segment is missing");
        return ERR_CORRUPT;
    }
    if (!self->started && name.sequence == 0)
        entries_begin_after(self, 0, 0, true);
    const char *wrong = records_read(self, &segment);
    if (!is_last && (wrong || segment.records < 2)) {
        fault_fill(self, &segment, wrong ? wrong : "the segment has no head");
        return ERR_CORRUPT;
    }
    if (is_last) {
        if (!wrong && segment.records < 2)
            wrong = "the segment has no head";
        TRY(tail_judge(self, &segment, wrong, ret_tail));
    }
    self->started = true;
    self->next_sequence = name.sequence + 1;
    return OK;
}

struct wal_snapshot wal_replay_snapshot(const struct wal_replay *self)
{
    struct wal_snapshot newest = {0};
    for (size_t i = 0; i < self->snapshot_count; i++) {
        const struct wal_snapshot_row *row = &self->snapshots[i];
        if (row->index <= self->state.commit && row->index >= newest.index)
            newest = (struct wal_snapshot){row->index, row->term,
                                           bytes_of(row->conf_state, row->conf_state_len)};
    }
    return newest;
}

err wal_entry_at(struct bytes segment, struct wal_place place, uint64_t index, uint64_t term,
                 struct raft_entry *ret_entry)
{
    struct wal_record record;
    struct raft_entry entry;
    if (place.offset >= segment.len ||
        !err_ok(wal_record_parse(bytes_skip(segment, place.offset), &record)) ||
        record.type != WAL_ENTRY || crc32c(place.crc_before, record.data) != record.crc ||
        !err_ok(raft_codec_entry_decode(record.data, &entry)) || entry.index != index ||
        entry.term != term)
        return ERR_CORRUPT;
    *ret_entry = entry;
    return OK;
}
