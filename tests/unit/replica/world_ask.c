/* What tests ask of members, and what they see. */
#include "world.h"

#include "view_hash.h"
#include "wire/encode.h"

#include <stdio.h>
#include <stdlib.h>

static uint64_t propose(struct node *n, const Etcdserverpb__InternalRaftRequest *request,
                        bool until_swept)
{
    struct world *w = n->world;
    Etcdserverpb__InternalRaftRequest r = *request;
    Etcdserverpb__RequestHeader header = ETCDSERVERPB__REQUEST_HEADER__INIT;
    struct arena arena;
    arena_init(&arena, 4096);
    header.id = request_ids_take(&n->ids, 1);
    r.header = &header;
    struct replica_proposal p = {.token = token_make(0, ++w->next_slot, 1),
                                 .request_id = header.id,
                                 .until_swept = until_swept};
    p.blob = raft_blob_copy(wire_encode_arena(&r.base, &arena), &p.data);
    replica_propose(n->replica, &p, 1, w->now_ms);
    raft_blob_unref(p.blob);
    arena_done(&arena);
    return p.token;
}

uint64_t node_propose(struct node *n, const Etcdserverpb__InternalRaftRequest *request)
{
    return propose(n, request, false);
}

uint64_t node_compact(struct node *n, int64_t revision)
{
    Etcdserverpb__InternalRaftRequest r = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__CompactionRequest c = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    c.revision = revision;
    r.compaction = &c;
    return propose(n, &r, true);
}

uint64_t node_put(struct node *n, const char *key, const char *value)
{
    Etcdserverpb__InternalRaftRequest r = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    put.key = (ProtobufCBinaryData){strlen(key), (uint8_t *)key};
    put.value = (ProtobufCBinaryData){strlen(value), (uint8_t *)value};
    r.put = &put;
    return node_propose(n, &r);
}

uint64_t node_put_with(struct node *n, const char *key, int64_t lease)
{
    Etcdserverpb__InternalRaftRequest r = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    put.key = (ProtobufCBinaryData){strlen(key), (uint8_t *)key};
    put.lease = lease;
    r.put = &put;
    return node_propose(n, &r);
}

uint64_t node_grant(struct node *n, int64_t id, int64_t ttl_s)
{
    Etcdserverpb__InternalRaftRequest r = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__LeaseGrantRequest grant = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
    grant.id = id;
    grant.ttl = ttl_s;
    r.lease_grant = &grant;
    return node_propose(n, &r);
}

uint64_t node_ask(struct node *n, enum replica_lease_kind kind, int64_t id)
{
    struct world *w = n->world;
    struct replica_lease_ask ask = {token_make(0, ++w->next_slot, 5), kind, id, false};
    replica_ask_leases(n->replica, &ask, 1, w->now_ms);
    return ask.token;
}

uint64_t node_add_member(struct node *n, unsigned at, bool learner)
{
    struct world *w = n->world;
    char url[24];
    snprintf(url, sizeof(url), "http://joiner%u:1", at);
    const char *const urls[] = {url};
    struct member m = {
        .id = w->nodes[at].id, .name = "", .learner = learner, .peer_urls = {urls, 1}};
    return node_change(n, &(struct member_change){MEMBER_ADD, m});
}

uint64_t node_change(struct node *n, const struct member_change *change)
{
    struct world *w = n->world;
    uint64_t token = token_make(0, ++w->next_slot, 4);
    replica_change_members(n->replica, token, change, false, w->now_ms);
    return token;
}

uint64_t node_read(struct node *n)
{
    struct world *w = n->world;
    uint64_t token = token_make(0, ++w->next_slot, 2);
    replica_read(n->replica, &token, 1, w->now_ms);
    return token;
}

const struct answer *world_answer(struct world *w, uint64_t token)
{
    for (size_t i = w->answer_count; i-- > 0;) {
        if (w->answers[i].token == token)
            return &w->answers[i];
    }
    return NULL;
}

const struct answer *world_await(struct world *w, uint64_t token, uint64_t ms)
{
    for (uint64_t i = 0; i <= ms; i++) {
        const struct answer *a = world_answer(w, token);
        if (a)
            return a;
        world_step(w);
    }
    fail_msg("no answer in time");
    return NULL;
}

void node_get(struct node *n, const char *key, char *ret_value, size_t size, int64_t *ret_mod)
{
    epoch_enter(&n->epoch, n->slot);
    const struct mvcc_view *view = replica_view_get(n->replica)->mvcc;
    struct mvcc_state found;
    struct mvcc_record record;
    struct mvcc_kv kv;
    bool is = false;
    *ret_mod = 0;
    ret_value[0] = 0;
    assert_int_equal(mvcc_view_find(view, bytes_str(key), view->seq, &found, &is, NULL).code, 0);
    if (is) {
        assert_int_equal(mvcc_view_read(view, found.seq, &record, NULL).code, 0);
        assert_int_equal(mvcc_kv_decode(record.blob, &kv).code, 0);
        snprintf(ret_value, size, "%.*s", (int)kv.value.len, (const char *)kv.value.data);
        *ret_mod = found.main;
    }
    epoch_leave(n->slot);
}

uint32_t node_hash(struct node *n)
{
    epoch_enter(&n->epoch, n->slot);
    uint32_t value = view_hash(replica_view_get(n->replica)->mvcc);
    epoch_leave(n->slot);
    return value;
}

uint64_t node_applied(struct node *n)
{
    epoch_enter(&n->epoch, n->slot);
    uint64_t index = replica_view_get(n->replica)->applied_index;
    epoch_leave(n->slot);
    return index;
}
