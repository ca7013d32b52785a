#include "server/founding.h"

#include "raft/conf_codec.h"
#include "state/ids.h"
#include "wire/encode.h"
#include "wire/field.h"

#define CONTEXT_BYTES_MAX ((size_t)1 << 20)

err founding_of(const struct config *config, struct arena *arena, struct founding *ret_founding,
                const char **ret_reason)
{
    struct founding self = {0};
    TRY(cluster_list_parse(arena, config->initial_cluster, &self.list, ret_reason));
    TRY(cluster_list_check(arena, &self.list, config, true, ret_reason));
    err e = membership_parse_initial(bytes_str(config->initial_cluster),
                                     bytes_str(config->initial_cluster_token), &self.members);
    if (e.code) {
        *ret_reason = arena_printf(arena, "--initial-cluster: %s", err_text(e));
        return e;
    }
    uint64_t ids[CLUSTER_MEMBERS_MAX];
    for (size_t i = 0; i < self.members->count; i++) {
        ids[i] = self.members->members[i].id;
        if (strcmp(self.members->members[i].name, config->name) == 0)
            self.member_id = ids[i];
    }
    self.cluster_id = cluster_id_of(ids, self.members->count);
    *ret_founding = self;
    return OK;
}

static err founding_entry(const struct member *member, uint64_t index, struct arena *arena,
                          struct raft_entry *ret_entry)
{
    AUTO(buf_done) struct buf context = {.limit = CONTEXT_BYTES_MAX};
    AUTO(buf_done) struct buf data = {.limit = CONTEXT_BYTES_MAX};
    struct raft_conf_change change = {.count = 1};
    change.changes[0] = (struct raft_conf_single){RAFT_ADD_NODE, member->id};
    TRY(member_put_json(member, &context));
    change.context = buf_bytes(&context);
    TRY(raft_conf_change_encode(RAFT_ENTRY_CONF_CHANGE, &change, &data));
    *ret_entry = (struct raft_entry){.term = 1,
                                     .index = index,
                                     .type = RAFT_ENTRY_CONF_CHANGE,
                                     .data = arena_copy(arena, buf_bytes(&data))};
    return OK;
}

err founding_entries(const struct membership *members, struct arena *arena,
                     struct raft_entry **ret_entries)
{
    struct raft_entry *entries = ARENA_ARRAY(arena, struct raft_entry, members->count);
    for (size_t i = 0; i < members->count; i++)
        TRY(founding_entry(&members->members[i], i + 1, arena, &entries[i]));
    *ret_entries = entries;
    return OK;
}

/* Both fields always there. */
struct bytes founding_metadata(uint64_t member_id, uint64_t cluster_id, struct arena *arena)
{
    uint8_t *bytes = arena_alloc_bytes(arena, (size_t)2 * (1 + WIRE_VARINT_BYTES_MAX));
    uint8_t *at = wire_put_varint(wire_put_tag(bytes, 1, WIRE_VARINT), member_id);
    at = wire_put_varint(wire_put_tag(at, 2, WIRE_VARINT), cluster_id);
    return bytes_of(bytes, (size_t)(at - bytes));
}
