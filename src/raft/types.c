#include "raft/types.h"

#include <stdlib.h>

struct heap_blob {
    struct raft_blob blob;
    uint8_t data[];
};

static void heap_blob_release(struct raft_blob *blob)
{
    free(blob);
}

struct raft_blob *raft_blob_copy(struct bytes data, struct bytes *ret_copy)
{
    if (data.len == 0) {
        *ret_copy = BYTES_NONE;
        return NULL;
    }
    struct heap_blob *self = malloc(sizeof(*self) + data.len);
    CHECK(self);
    self->blob = (struct raft_blob){.refs = 1, .release = heap_blob_release};
    memcpy(self->data, data.data, data.len);
    *ret_copy = bytes_of(self->data, data.len);
    return &self->blob;
}

static uint64_t varint_bytes(uint64_t value)
{
    uint64_t n = 1;
    while (value >>= 7)
        n++;
    return n;
}

uint64_t raft_entry_bytes(const struct raft_entry *self)
{
    uint64_t n = 3 + varint_bytes((uint64_t)self->type) + varint_bytes(self->term) +
                 varint_bytes(self->index);
    if (self->data.len > 0)
        n += 1 + varint_bytes(self->data.len) + self->data.len;
    return n;
}

uint64_t raft_entries_bytes(const struct raft_entry *entries, size_t count)
{
    uint64_t n = 0;
    for (size_t i = 0; i < count; i++)
        n += raft_entry_bytes(&entries[i]);
    return n;
}

uint64_t raft_entries_payload(const struct raft_entry *entries, size_t count)
{
    uint64_t n = 0;
    for (size_t i = 0; i < count; i++)
        n += entries[i].data.len;
    return n;
}

void raft_entries_ref(const struct raft_entry *entries, size_t count)
{
    for (size_t i = 0; i < count; i++)
        raft_blob_ref(entries[i].blob);
}

void raft_entries_unref(const struct raft_entry *entries, size_t count)
{
    for (size_t i = 0; i < count; i++)
        raft_blob_unref(entries[i].blob);
}

/* Where id is, or where it would be. */
static uint32_t id_set_place(const struct raft_id_set *self, uint64_t id)
{
    uint32_t at = 0;
    while (at < self->count && self->ids[at] < id)
        at++;
    return at;
}

bool raft_id_set_has(const struct raft_id_set *self, uint64_t id)
{
    uint32_t at = id_set_place(self, id);
    return at < self->count && self->ids[at] == id;
}

bool raft_id_set_add(struct raft_id_set *self, uint64_t id)
{
    uint32_t at = id_set_place(self, id);
    if (at < self->count && self->ids[at] == id)
        return true;
    if (self->count == RAFT_MEMBERS_MAX)
        return false;
    memmove(&self->ids[at + 1], &self->ids[at], (self->count - at) * sizeof(self->ids[0]));
    self->ids[at] = id;
    self->count++;
    return true;
}

void raft_id_set_remove(struct raft_id_set *self, uint64_t id)
{
    uint32_t at = id_set_place(self, id);
    if (at == self->count || self->ids[at] != id)
        return;
    self->count--;
    memmove(&self->ids[at], &self->ids[at + 1], (self->count - at) * sizeof(self->ids[0]));
}

bool raft_id_set_equal(const struct raft_id_set *a, const struct raft_id_set *b)
{
    return a->count == b->count && memcmp(a->ids, b->ids, a->count * sizeof(a->ids[0])) == 0;
}

bool raft_conf_state_equal(const struct raft_conf_state *a, const struct raft_conf_state *b)
{
    return raft_id_set_equal(&a->voters, &b->voters) &&
           raft_id_set_equal(&a->voters_outgoing, &b->voters_outgoing) &&
           raft_id_set_equal(&a->learners, &b->learners) &&
           raft_id_set_equal(&a->learners_next, &b->learners_next) &&
           a->auto_leave == b->auto_leave;
}

bool raft_conf_state_is_voter(const struct raft_conf_state *self, uint64_t id)
{
    return raft_id_set_has(&self->voters, id) || raft_id_set_has(&self->voters_outgoing, id);
}

bool raft_conf_state_has(const struct raft_conf_state *self, uint64_t id)
{
    return raft_conf_state_is_voter(self, id) || raft_id_set_has(&self->learners, id);
}

const char *raft_message_type_text(enum raft_message_type type)
{
    static const char *const texts[] = {
#define X(name, number, text) [number] = text,
        RAFT_MESSAGE_TYPES(X)
#undef X
    };
    if ((unsigned)type >= RAFT_MESSAGE_TYPE_COUNT)
        return "MsgUnknown";
    return texts[type];
}
