/* Random histories: writes, transactions, deletions and linearizable reads through any member,
 * while members are killed, cut off and frozen, messages lost and disks slow. Checked all along:
 * - equal HashKV at equal applied index, on all members and across restarts;
 * - a read shows, of each key, nothing older than what was acknowledged or read before it began;
 * - in the end every acknowledged write is there, at the revision that was answered.
 * One seed a history; a failure prints it. */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>

#define KEYS 8

struct op {
    uint64_t token;
    unsigned key;
    unsigned node;
    bool is_read;
    bool done;
    int64_t floor; /* reads: the least mod revision that may be shown */
    char value[16];
    int64_t revision; /* writes: as answered */
};

struct history {
    struct op *ops;
    size_t count;
    size_t cap;
    int64_t acked[KEYS]; /* the newest revision acknowledged or read */
    unsigned writes;
    unsigned reads;
};

static void key_of(unsigned key, char text[8])
{
    snprintf(text, 8, "k%u", key);
}

static void check_answer(struct world *w, const struct answer *a)
{
    struct history *h = w->ctx;
    for (size_t i = h->count; i-- > 0;) {
        struct op *op = &h->ops[i];
        if (op->token != a->token)
            continue;
        op->done = true;
        if (a->result.error.code)
            return;
        int64_t mod = a->result.revision;
        if (op->is_read) {
            char key[8];
            char value[16];
            key_of(op->key, key);
            node_get(&w->nodes[op->node], key, value, sizeof(value), &mod);
            assert_true(mod >= op->floor);
            h->reads++;
        } else {
            op->revision = mod;
            h->writes++;
        }
        if (mod > h->acked[op->key])
            h->acked[op->key] = mod;
        return;
    }
}

/* One op in a txn: put where the compare holds, else put too, so that it always writes. */
static uint64_t propose_txn(struct node *n, const char *key, const char *value)
{
    Etcdserverpb__InternalRaftRequest r = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    Etcdserverpb__Compare compare = ETCDSERVERPB__COMPARE__INIT;
    Etcdserverpb__RequestOp put_op = ETCDSERVERPB__REQUEST_OP__INIT;
    Etcdserverpb__RequestOp range_op = ETCDSERVERPB__REQUEST_OP__INIT;
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
    put.key = range.key = compare.key = (ProtobufCBinaryData){strlen(key), (uint8_t *)key};
    put.value = (ProtobufCBinaryData){strlen(value), (uint8_t *)value};
    put.prev_kv = true;
    put_op.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    put_op.request_put = &put;
    range_op.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    range_op.request_range = &range;
    compare.result = ETCDSERVERPB__COMPARE__COMPARE_RESULT__GREATER;
    compare.target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION;
    Etcdserverpb__Compare *compares[] = {&compare};
    Etcdserverpb__RequestOp *success[] = {&put_op, &range_op};
    Etcdserverpb__RequestOp *failure[] = {&put_op};
    txn.n_compare = 1;
    txn.compare = compares;
    txn.n_success = 2;
    txn.success = success;
    txn.n_failure = 1;
    txn.failure = failure;
    r.txn = &txn;
    return node_propose(n, &r);
}

static void some_op(struct world *w, struct history *h)
{
    struct node *n = &w->nodes[prng_below(&w->prng, w->count)];
    if (!n->running || n->frozen)
        return;
    if (h->count == h->cap) {
        h->cap = h->cap ? h->cap * 2 : 256;
        h->ops = realloc(h->ops, h->cap * sizeof(*h->ops));
    }
    struct op *op = &h->ops[h->count++];
    *op = (struct op){.key = (unsigned)prng_below(&w->prng, KEYS), .node = n->at};
    char key[8];
    key_of(op->key, key);
    op->is_read = prng_below(&w->prng, 2);
    op->floor = h->acked[op->key];
    snprintf(op->value, sizeof(op->value), "%zu", h->count);
    if (op->is_read)
        op->token = node_read(n);
    else if (prng_below(&w->prng, 3) == 0)
        op->token = propose_txn(n, key, op->value);
    else
        op->token = node_put(n, key, op->value);
}

static void heal(struct world *w)
{
    for (unsigned i = 0; i < w->count; i++) {
        struct node *n = &w->nodes[i];
        n->cut = n->hold_log = n->frozen = false;
        if (!n->running)
            world_boot(w, i);
    }
}

static void some_trouble(struct world *w)
{
    struct node *n = &w->nodes[prng_below(&w->prng, w->count)];
    switch (prng_below(&w->prng, 10)) {
    case 0:
    case 1:
        if (n->running)
            world_kill(w, n->at);
        break;
    case 2:
    case 3:
        if (!n->running)
            world_boot(w, n->at);
        break;
    case 4:
        n->cut = !n->cut;
        break;
    case 5:
        n->frozen = n->running && !n->frozen;
        break;
    case 6:
        n->hold_log = !n->hold_log;
        break;
    case 7: /* all at once */
        if (prng_below(&w->prng, 8))
            break;
        for (unsigned i = 0; i < w->count; i++)
            world_kill(w, i);
        break;
    default:
        heal(w);
        break;
    }
}

static void check_value_at(struct node *n, const struct op *op)
{
    char key[8];
    key_of(op->key, key);
    epoch_enter(&n->epoch, n->slot);
    const struct mvcc_view *view = replica_view_get(n->replica)->mvcc;
    struct mvcc_state found;
    struct mvcc_record record;
    struct mvcc_kv kv;
    bool is = false;
    uint64_t seq = 0;
    assert_int_equal(mvcc_view_seq_of(view, op->revision, &seq).code, 0);
    assert_int_equal(mvcc_view_find(view, bytes_str(key), seq, &found, &is, NULL).code, 0);
    assert_true(is);
    assert_int_equal(found.main, op->revision);
    assert_int_equal(mvcc_view_read(view, found.seq, &record, NULL).code, 0);
    assert_int_equal(mvcc_kv_decode(record.blob, &kv).code, 0);
    assert_true(bytes_equal(kv.value, bytes_str(op->value)));
    epoch_leave(n->slot);
}

static unsigned run_history(unsigned count, uint64_t seed)
{
    struct world w;
    struct history h = {0};
    world_begin(&w, count, seed);
    w.loss_percent = (unsigned)prng_below(&w.prng, 15);
    w.delay_ms = 1 + (unsigned)prng_below(&w.prng, 30);
    w.log_delay_ms = (unsigned)prng_below(&w.prng, 20);
    w.apply_ops_max = 1 + (unsigned)prng_below(&w.prng, 20);
    w.tail_max_bytes = prng_below(&w.prng, 2) ? 0 : 600;
    w.on_answer = check_answer;
    w.ctx = &h;
    for (unsigned i = 0; i < count; i++)
        world_boot(&w, i);
    for (int ms = 0; ms < 6000; ms++) {
        if (prng_below(&w.prng, 4) == 0)
            some_op(&w, &h);
        if (prng_below(&w.prng, 150) == 0)
            some_trouble(&w);
        world_step(&w);
    }
    heal(&w);
    w.loss_percent = 0;
    struct node *leader = world_lead(&w);
    world_run(&w, 1000);
    assert_int_equal(world_await(&w, node_put(leader, "end", "1"), 8000)->result.error.code, 0);
    world_run(&w, 1000);
    for (unsigned i = 0; i < count; i++) {
        struct node *n = &w.nodes[i];
        assert_int_equal(node_applied(n), node_applied(leader));
        assert_int_equal(node_hash(n), node_hash(leader));
        for (size_t j = 0; j < h.count; j++) {
            if (h.ops[j].done && !h.ops[j].is_read && h.ops[j].revision)
                check_value_at(n, &h.ops[j]);
        }
    }
    print_message("seed %llu: %u members, %u writes, %u reads, revision %lld\n",
                  (unsigned long long)seed, count, h.writes, h.reads,
                  (long long)replica_view_get(leader->replica)->mvcc->revision);
    unsigned writes = h.writes;
    free(h.ops);
    world_end(&w);
    return writes;
}

static void histories(void **ctx)
{
    (void)ctx;
    const char *only = getenv("CORACLE_SEED");
    const char *many = getenv("CORACLE_SEEDS");
    if (only) {
        uint64_t seed = strtoull(only, NULL, 10);
        (void)run_history(seed % 5 == 4 ? 5 : 3, seed);
        return;
    }
    uint64_t last = many ? strtoull(many, NULL, 10) : 40;
    unsigned writes = 0;
    for (uint64_t seed = 1; seed <= last; seed++) {
        print_message("seed %llu begins\n", (unsigned long long)seed);
        writes += run_history(seed % 5 == 4 ? 5 : 3, seed);
    }
    assert_true(writes > 100 * last);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(histories)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
