#include "base/check.h"
#include "state/ids.h"
#include "state/state_internal.h"

#include <stdlib.h>

static void retire_replaced(struct state *self)
{
    while (self->replaced_members) {
        struct epoch_item *item = self->replaced_members;
        self->replaced_members = item->next;
        epoch_retire(self->epoch, item, membership_retire);
    }
    state_retire_alarms(self);
}

/* --- life -------------------------------------------------------------------------------- */

err state_new(const struct state_config *config, struct state **ret_state)
{
    struct state *self = calloc(1, sizeof(*self));
    CHECK(self);
    self->store = config->store;
    self->epoch = config->epoch;
    self->member_id = config->member_id;
    self->learners_max = config->learners_max;
    self->quota_bytes = config->quota_bytes;
    self->lease_ttl_min_s = config->lease_ttl_min_s;
    self->store_checkpoints = config->store_checkpoints;
    self->leases = lease_table_new(config->epoch);
    buf_init(&self->revoke_key, 0);
    self->members = membership_new();
    self->alarms = calloc(1, sizeof(*self->alarms));
    CHECK(self->alarms);
    arena_init(&self->arena, 16 * 1024);
    err e = state_load_members(self);
    if (err_ok(e))
        e = state_load_alarms(self);
    if (err_ok(e))
        e = state_load_leases(self);
    if (!err_ok(e)) {
        self->store = NULL;
        state_free(self);
        return e;
    }
    arena_reset(&self->arena);
    self->lease_keys = lease_table_publish(self->leases);
    lease_table_retire(self->leases);
    *ret_state = self;
    return OK;
}

void state_free(struct state *self)
{
    if (!self)
        return;
    if (state_is_busy(self) && self->request->txn)
        txn_abandon(&self->txn);
    else if (state_is_busy(self) && self->request->delete_range)
        mvcc_delete_done(&self->deletion);
    retire_replaced(self);
    mvcc_store_free(self->store);
    membership_free(self->members);
    free(self->alarms);
    lease_table_free(self->leases);
    buf_done(&self->revoke_key);
    arena_done(&self->arena);
    free(self);
}

const struct mvcc_view *state_publish(struct state *self)
{
    CHECK(!state_is_busy(self));
    self->lease_keys = lease_table_publish(self->leases);
    return mvcc_store_publish(self->store);
}

void state_retire(struct state *self)
{
    mvcc_store_retire(self->store);
    lease_table_retire(self->leases);
    retire_replaced(self);
}

struct mvcc_store *state_store(struct state *self)
{
    return self->store;
}

const struct membership *state_members(const struct state *self)
{
    return self->members;
}

struct lease_table *state_leases(const struct state *self)
{
    return self->leases;
}

void state_watch_leases(struct state *self, void (*on_removed)(void *ctx, struct lease *lease),
                        void *ctx)
{
    self->on_lease_removed = on_removed;
    self->lease_ctx = ctx;
}

const struct tree_node *state_lease_keys(const struct state *self)
{
    return self->lease_keys;
}

void state_set_size(struct state *self, int64_t in_use_bytes)
{
    self->in_use_bytes = in_use_bytes;
}

/* --- members ----------------------------------------------------------------------------- */

void state_set_members(struct state *self, struct membership *next)
{
    self->members->retired.next = self->replaced_members;
    self->replaced_members = &self->members->retired;
    self->members = next;
}

static struct bytes id_key(char text[ID_TEXT_MAX], uint64_t id)
{
    return bytes_str(id_text(id, text));
}

static void store_member(struct state *self, uint64_t id)
{
    char text[ID_TEXT_MAX];
    struct buf json;
    buf_init(&json, 0);
    err e = member_put_json(membership_find(self->members, id), &json);
    CHECK(err_ok(e));
    mvcc_store_bucket_put(self->store, MVCC_BUCKET_MEMBERS, id_key(text, id), buf_bytes(&json));
    buf_done(&json);
}

void state_set_attributes(struct state *self, uint64_t id, const char *name,
                          struct text_list client_urls)
{
    struct membership *next = membership_attributed(self->members, id, name, client_urls);
    if (!next)
        return;
    state_set_members(self, next);
    store_member(self, id);
}

void state_set_version(struct state *self, struct bytes text)
{
    const struct cluster_version storage_from = {3, 6};
    struct cluster_version version;
    if (!err_ok(cluster_version_parse(text, &version)) || version.major == 0)
        return;
    state_set_members(self, membership_versioned(self->members, version));
    char stored[CLUSTER_VERSION_TEXT_MAX];
    struct bytes value = bytes_str(cluster_version_text(version, stored));
    mvcc_store_bucket_put(self->store, MVCC_BUCKET_CLUSTER, BYTES_LIT("clusterVersion"), value);
    if (cluster_version_compare(version, storage_from) >= 0)
        mvcc_store_bucket_put(self->store, MVCC_BUCKET_META, BYTES_LIT("storageVersion"), value);
    else /* on the way down: who reads the store next knows no such key */
        (void)mvcc_store_bucket_delete(self->store, MVCC_BUCKET_META, BYTES_LIT("storageVersion"));
}

void state_set_downgrade(struct state *self, bool enabled, const char *target)
{
    struct cluster_version version = {0, 0};
    if (enabled && !err_ok(cluster_version_parse(bytes_str(target), &version)))
        return;
    state_set_members(self, membership_downgrading(self->members, version));
    struct buf json;
    buf_init(&json, 0);
    err e = downgrade_put_json(version, &json);
    CHECK(err_ok(e));
    mvcc_store_bucket_put(self->store, MVCC_BUCKET_CLUSTER, BYTES_LIT("downgrade"),
                          buf_bytes(&json));
    buf_done(&json);
}

static err read_change(struct state *self, enum state_conf_type type, uint64_t node_id,
                       struct bytes context, struct member_change *ret_change)
{
    struct member_change change = {.kind = MEMBER_REMOVE, .member = {.id = node_id, .name = ""}};
    if (type != STATE_CONF_REMOVE) {
        bool promote = false;
        TRY(member_parse_json(context, &self->arena, &change.member, &promote));
        if (change.member.id != node_id)
            return ERR_SYNTAX;
        change.kind = type == STATE_CONF_UPDATE ? MEMBER_UPDATE : MEMBER_ADD;
        if (promote && change.kind == MEMBER_ADD)
            change.kind = MEMBER_PROMOTE;
    }
    *ret_change = change;
    return OK;
}

err state_apply_conf_change(struct state *self, enum state_conf_type type, uint64_t node_id,
                            struct bytes context)
{
    CHECK(!self->in_progress);
    struct member_change change;
    arena_reset(&self->arena);
    TRY(read_change(self, type, node_id, context, &change));
    TRY(membership_check(self->members, &change, self->learners_max));
    state_set_members(self, membership_changed(self->members, &change));
    if (change.kind != MEMBER_REMOVE) {
        store_member(self, node_id);
        return OK;
    }
    char text[ID_TEXT_MAX];
    struct bytes key = id_key(text, node_id);
    (void)mvcc_store_bucket_delete(self->store, MVCC_BUCKET_MEMBERS, key);
    mvcc_store_bucket_put(self->store, MVCC_BUCKET_MEMBERS_REMOVED, key, BYTES_LIT("removed"));
    return OK;
}

/* --- restoring --------------------------------------------------------------------------- */

static void replace_members(struct state *self, struct membership *next)
{
    membership_free(self->members);
    self->members = next;
}

static err load_member(struct state *self, struct bytes key, struct bytes value)
{
    uint64_t id = 0;
    bool promote = false;
    struct member m;
    if (!err_ok(id_parse(key, &id)) ||
        !err_ok(member_parse_json(value, &self->arena, &m, &promote)) || m.id != id ||
        self->members->count == MEMBERS_MAX)
        return ERR_CORRUPT;
    replace_members(self, membership_with_member(self->members, &m));
    return OK;
}

static err load_bucket(struct state *self, const struct mvcc_view *view, enum mvcc_bucket bucket)
{
    struct mvcc_bucket_cursor at;
    mvcc_bucket_cursor_seek(&at, view, bucket, BYTES_NONE);
    for (; mvcc_bucket_cursor_valid(&at); mvcc_bucket_cursor_next(&at)) {
        uint8_t key[ID_TEXT_MAX];
        size_t len = mvcc_bucket_cursor_key_bytes(&at);
        uint64_t id = 0;
        if (len > sizeof(key))
            return ERR_CORRUPT;
        mvcc_bucket_cursor_key(&at, key);
        if (bucket == MVCC_BUCKET_MEMBERS) {
            TRY(load_member(self, bytes_of(key, len), mvcc_bucket_cursor_value(&at)));
            continue;
        }
        if (!err_ok(id_parse(bytes_of(key, len), &id)))
            return ERR_CORRUPT;
        replace_members(self, membership_with_removed(self->members, id));
    }
    return OK;
}

err state_load_members(struct state *self)
{
    struct mvcc_view view;
    struct bytes text;
    mvcc_store_peek(self->store, &view);
    TRY(load_bucket(self, &view, MVCC_BUCKET_MEMBERS));
    TRY(load_bucket(self, &view, MVCC_BUCKET_MEMBERS_REMOVED));
    if (mvcc_view_bucket_find(&view, MVCC_BUCKET_CLUSTER, BYTES_LIT("clusterVersion"), &text)) {
        struct cluster_version version;
        if (!err_ok(cluster_version_parse(text, &version)))
            return ERR_CORRUPT;
        replace_members(self, membership_versioned(self->members, version));
    }
    if (mvcc_view_bucket_find(&view, MVCC_BUCKET_CLUSTER, BYTES_LIT("downgrade"), &text)) {
        struct cluster_version target;
        if (!err_ok(downgrade_parse_json(text, &target)))
            return ERR_CORRUPT;
        replace_members(self, membership_downgrading(self->members, target));
    }
    return OK;
}
