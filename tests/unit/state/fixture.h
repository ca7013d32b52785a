/* A state over an empty store in memory, and entries written short. */
#pragma once

#include "base/epoch.h"
#include "etcdserverpb_internal.pb-c.h"
#include "mvcc/revlog.h"
#include "mvcc/store.h"
#include "mvcc/tail.h"
#include "state/request.h"
#include "state/state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct fixture {
    struct epoch epoch;
    struct epoch_slot *slot;
    struct tail *tail;
    struct revlog *log;
    struct state *state;
    struct arena arena;
    unsigned slice; /* operations a run; 0: all at once */
    unsigned runs;  /* that the last entry took */
};

void fixture_begin(struct fixture *f, const struct state_config *extra);
void fixture_end(struct fixture *f);

/* Requests; texts are NUL-terminated, NULL is empty. */
Etcdserverpb__PutRequest *put_of(struct fixture *f, const char *key, const char *value);
Etcdserverpb__DeleteRangeRequest *delete_of(struct fixture *f, const char *key, const char *end);
Etcdserverpb__RangeRequest *range_of(struct fixture *f, const char *key, const char *end,
                                     int64_t revision);
Etcdserverpb__RequestOp *op_put(struct fixture *f, Etcdserverpb__PutRequest *put);
Etcdserverpb__RequestOp *op_delete(struct fixture *f, Etcdserverpb__DeleteRangeRequest *del);
Etcdserverpb__RequestOp *op_range(struct fixture *f, Etcdserverpb__RangeRequest *range);
Etcdserverpb__RequestOp *op_txn(struct fixture *f, Etcdserverpb__TxnRequest *txn);
/* Lists end with NULL. */
Etcdserverpb__TxnRequest *txn_of(struct fixture *f, Etcdserverpb__Compare **compares,
                                 Etcdserverpb__RequestOp **success,
                                 Etcdserverpb__RequestOp **failure);

/* Apply and answer. */
const struct state_result *apply(struct fixture *f, const Etcdserverpb__InternalRaftRequest *r);
const struct state_result *apply_bytes(struct fixture *f, struct bytes data);
const struct state_result *do_put(struct fixture *f, Etcdserverpb__PutRequest *put);
const struct state_result *do_delete(struct fixture *f, Etcdserverpb__DeleteRangeRequest *del);
const struct state_result *do_txn(struct fixture *f, Etcdserverpb__TxnRequest *txn);
const struct state_result *do_compact(struct fixture *f, int64_t revision);
const struct state_result *do_alarm(struct fixture *f, int action, uint64_t member, int alarm);

/* The value of key as seen at seq, "" where there is none. */
const char *value_at(struct fixture *f, const char *key, uint64_t seq);
/* The newest. */
const char *value_now(struct fixture *f, const char *key);
uint32_t hash_now(struct fixture *f);
