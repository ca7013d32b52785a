/* Any bytes are an entry: two states that apply the same entries, one of them in the smallest
 * slices, come to the same keys, members and answers, and neither falls over.
 * Input: entries, each behind a byte that says what it is and one or two that say how long. */
#include "base/check.h"
#include "mvcc/hash.h"
#include "mvcc/store.h"
#include "mvcc/tail.h"
#include "state/state.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RUNS_MAX 1000000u

struct half {
    struct epoch epoch;
    struct tail *tail;
    struct revlog *log;
    struct state *state;
    unsigned slice;
};

static void half_begin(struct half *h, unsigned slice)
{
    epoch_init(&h->epoch);
    h->tail = tail_new(&h->epoch, 0, NULL);
    h->log = revlog_new(&h->epoch, h->tail);
    h->slice = slice;
    struct mvcc_store_config store_config = {.epoch = &h->epoch, .log = h->log, .tail = h->tail};
    struct mvcc_store *store = mvcc_store_new(&store_config);
    CHECK(err_ok(mvcc_store_open(store, 0, 1)));
    struct state_config config = {
        .store = store, .epoch = &h->epoch, .member_id = 1, .learners_max = 1};
    CHECK(err_ok(state_new(&config, &h->state)));
}

static void half_end(struct half *h)
{
    state_free(h->state);
    revlog_free(h->log);
    tail_free(h->tail);
    epoch_done(&h->epoch);
}

static void half_apply(struct half *h, unsigned kind, struct bytes entry)
{
    bool done = false;
    if (kind) {
        enum state_conf_type type = (enum state_conf_type)(kind % 4);
        uint64_t id = entry.len ? entry.data[0] % 8 : 0;
        struct bytes context = entry.len ? bytes_skip(entry, 1) : entry;
        (void)state_apply_conf_change(h->state, type, id, context).code;
        done = true;
    } else {
        (void)state_begin(h->state, entry);
    }
    for (unsigned runs = 0; !done; runs++) {
        unsigned budget = h->slice;
        CHECK(err_ok(state_run(h->state, &budget, &done)));
        CHECK(runs < RUNS_MAX);
    }
    (void)state_publish(h->state);
    state_retire(h->state);
    (void)epoch_reclaim(&h->epoch, 1000);
}

static uint32_t half_hash(struct half *h)
{
    struct mvcc_hash hash;
    bool done = false;
    mvcc_hash_begin_all(&hash, mvcc_store_view(state_store(h->state)));
    while (!done) {
        unsigned budget = RUNS_MAX;
        CHECK(err_ok(mvcc_hash_run(&hash, mvcc_store_view(state_store(h->state)), &budget, &done)));
    }
    uint32_t value = hash.hash;
    mvcc_hash_done(&hash);
    return value;
}

static void check_equal(struct half *a, struct half *b, unsigned kind)
{
    if (kind == 0) {
        const struct state_result *x = state_result_of(a->state);
        const struct state_result *y = state_result_of(b->state);
        CHECK(x->error.code == y->error.code && x->revision == y->revision);
        CHECK(x->op.kind == y->op.kind && x->op.seq == y->op.seq);
        CHECK(x->op.deleted == y->op.deleted && x->op.succeeded == y->op.succeeded);
    }
    CHECK(mvcc_store_revision(state_store(a->state)) == mvcc_store_revision(state_store(b->state)));
    CHECK(mvcc_store_seq(state_store(a->state)) == mvcc_store_seq(state_store(b->state)));
    CHECK(state_members(a->state)->count == state_members(b->state)->count);
    CHECK(state_alarms(a->state)->count == state_alarms(b->state)->count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct half a;
    struct half b;
    half_begin(&a, RUNS_MAX);
    half_begin(&b, 1);
    while (size >= 2) {
        unsigned kind = data[0] >= 0xf0 ? data[0] : 0;
        size_t len = data[1];
        data += 2;
        size -= 2;
        if (len > size)
            len = size;
        half_apply(&a, kind, bytes_of(data, len));
        half_apply(&b, kind, bytes_of(data, len));
        check_equal(&a, &b, kind);
        data += len;
        size -= len;
    }
    CHECK(half_hash(&a) == half_hash(&b));
    half_end(&a);
    half_end(&b);
    return 0;
}
