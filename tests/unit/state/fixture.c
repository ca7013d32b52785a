#include "fixture.h"

#include "view_hash.h"
#include "wire/encode.h"

void fixture_begin(struct fixture *f, const struct state_config *extra)
{
    memset(f, 0, sizeof(*f));
    epoch_init(&f->epoch);
    f->slot = epoch_register(&f->epoch);
    f->tail = tail_new(&f->epoch, 0, NULL);
    f->log = revlog_new(&f->epoch, f->tail);
    struct mvcc_store_config store_config = {.epoch = &f->epoch, .log = f->log, .tail = f->tail};
    struct mvcc_store *store = mvcc_store_new(&store_config);
    assert_int_equal(mvcc_store_open(store, 0, 1).code, 0);
    struct state_config config = extra ? *extra : (struct state_config){0};
    config.store = store;
    config.epoch = &f->epoch;
    config.member_id = 1;
    config.learners_max = 1;
    assert_int_equal(state_new(&config, &f->state).code, 0);
    arena_init(&f->arena, 4096);
}

void fixture_end(struct fixture *f)
{
    state_free(f->state);
    revlog_free(f->log);
    tail_free(f->tail);
    epoch_done(&f->epoch);
    arena_done(&f->arena);
}

static ProtobufCBinaryData binary(struct fixture *f, const char *text)
{
    if (!text)
        return (ProtobufCBinaryData){0, NULL};
    struct bytes copy = arena_copy(&f->arena, bytes_str(text));
    return (ProtobufCBinaryData){copy.len, (uint8_t *)copy.data};
}

#define MAKE(type, init)                  \
    type *m = ARENA_NEW(&f->arena, type); \
    *m = (type)init

Etcdserverpb__PutRequest *put_of(struct fixture *f, const char *key, const char *value)
{
    MAKE(Etcdserverpb__PutRequest, ETCDSERVERPB__PUT_REQUEST__INIT);
    m->key = binary(f, key);
    m->value = binary(f, value);
    return m;
}

Etcdserverpb__DeleteRangeRequest *delete_of(struct fixture *f, const char *key, const char *end)
{
    MAKE(Etcdserverpb__DeleteRangeRequest, ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT);
    m->key = binary(f, key);
    m->range_end = binary(f, end);
    return m;
}

Etcdserverpb__RangeRequest *range_of(struct fixture *f, const char *key, const char *end,
                                     int64_t revision)
{
    MAKE(Etcdserverpb__RangeRequest, ETCDSERVERPB__RANGE_REQUEST__INIT);
    m->key = binary(f, key);
    m->range_end = binary(f, end);
    m->revision = revision;
    return m;
}

Etcdserverpb__RequestOp *op_put(struct fixture *f, Etcdserverpb__PutRequest *put)
{
    MAKE(Etcdserverpb__RequestOp, ETCDSERVERPB__REQUEST_OP__INIT);
    m->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    m->request_put = put;
    return m;
}

Etcdserverpb__RequestOp *op_delete(struct fixture *f, Etcdserverpb__DeleteRangeRequest *del)
{
    MAKE(Etcdserverpb__RequestOp, ETCDSERVERPB__REQUEST_OP__INIT);
    m->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
    m->request_delete_range = del;
    return m;
}

Etcdserverpb__RequestOp *op_range(struct fixture *f, Etcdserverpb__RangeRequest *range)
{
    MAKE(Etcdserverpb__RequestOp, ETCDSERVERPB__REQUEST_OP__INIT);
    m->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    m->request_range = range;
    return m;
}

Etcdserverpb__RequestOp *op_txn(struct fixture *f, Etcdserverpb__TxnRequest *txn)
{
    MAKE(Etcdserverpb__RequestOp, ETCDSERVERPB__REQUEST_OP__INIT);
    m->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN;
    m->request_txn = txn;
    return m;
}

#define COPY_LIST(field)                                                             \
    do {                                                                             \
        while (field && field[m->n_##field])                                         \
            m->n_##field++;                                                          \
        m->field = arena_alloc(&f->arena, (m->n_##field + 1) * sizeof(m->field[0])); \
        if (m->n_##field)                                                            \
            memcpy(m->field, field, m->n_##field * sizeof(m->field[0]));             \
    } while (0)

Etcdserverpb__TxnRequest *txn_of(struct fixture *f, Etcdserverpb__Compare **compare,
                                 Etcdserverpb__RequestOp **success,
                                 Etcdserverpb__RequestOp **failure)
{
    MAKE(Etcdserverpb__TxnRequest, ETCDSERVERPB__TXN_REQUEST__INIT);
    COPY_LIST(compare);
    COPY_LIST(success);
    COPY_LIST(failure);
    return m;
}

const struct state_result *apply_bytes(struct fixture *f, struct bytes data)
{
    bool done = false;
    f->runs = 0;
    (void)state_begin(f->state, data);
    while (!done) {
        unsigned budget = f->slice ? f->slice : 1000000;
        assert_int_equal(state_run(f->state, &budget, &done).code, 0);
        assert_true(++f->runs < 1000000);
        if (!done)
            (void)epoch_reclaim(&f->epoch, 1000); /* as the core does between passes */
    }
    (void)state_publish(f->state);
    state_retire(f->state);
    return state_result_of(f->state);
}

const struct state_result *apply(struct fixture *f, const Etcdserverpb__InternalRaftRequest *r)
{
    return apply_bytes(f, wire_encode_arena(&r->base, &f->arena));
}

const struct state_result *do_put(struct fixture *f, Etcdserverpb__PutRequest *put)
{
    Etcdserverpb__InternalRaftRequest r = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    r.put = put;
    return apply(f, &r);
}

const struct state_result *do_delete(struct fixture *f, Etcdserverpb__DeleteRangeRequest *del)
{
    Etcdserverpb__InternalRaftRequest r = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    r.delete_range = del;
    return apply(f, &r);
}

const struct state_result *do_txn(struct fixture *f, Etcdserverpb__TxnRequest *txn)
{
    Etcdserverpb__InternalRaftRequest r = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    r.txn = txn;
    return apply(f, &r);
}

const struct state_result *do_compact(struct fixture *f, int64_t revision)
{
    Etcdserverpb__InternalRaftRequest r = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__CompactionRequest c = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    c.revision = revision;
    r.compaction = &c;
    return apply(f, &r);
}

const struct state_result *do_alarm(struct fixture *f, int action, uint64_t member, int alarm)
{
    Etcdserverpb__InternalRaftRequest r = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__AlarmRequest a = ETCDSERVERPB__ALARM_REQUEST__INIT;
    a.action = (Etcdserverpb__AlarmRequest__AlarmAction)action;
    a.memberid = member;
    a.alarm = (Etcdserverpb__AlarmType)alarm;
    r.alarm = &a;
    return apply(f, &r);
}

const char *value_at(struct fixture *f, const char *key, uint64_t seq)
{
    epoch_enter(&f->epoch, f->slot);
    const struct mvcc_view *view = mvcc_store_view(state_store(f->state));
    struct mvcc_state found;
    struct mvcc_record record;
    struct mvcc_kv kv;
    bool is = false;
    const char *text = "";
    assert_int_equal(mvcc_view_find(view, bytes_str(key), seq, &found, &is, NULL).code, 0);
    if (is) {
        assert_int_equal(mvcc_view_read(view, found.seq, &record, NULL).code, 0);
        assert_int_equal(mvcc_kv_decode(record.blob, &kv).code, 0);
        text = arena_copy_str(&f->arena, kv.value);
    }
    epoch_leave(f->slot);
    return text;
}

const char *value_now(struct fixture *f, const char *key)
{
    return value_at(f, key, mvcc_store_seq(state_store(f->state)));
}

uint32_t hash_now(struct fixture *f)
{
    epoch_enter(&f->epoch, f->slot);
    uint32_t value = view_hash(mvcc_store_view(state_store(f->state)));
    epoch_leave(f->slot);
    return value;
}
