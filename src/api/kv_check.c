#include "api/kv.h"

#include "mvcc/range.h"

#include <stdlib.h>

typedef Etcdserverpb__RequestOp request_op;

err kv_check_range(const Etcdserverpb__RangeRequest *range)
{
    if (range->key.len == 0)
        return ERR_EMPTY_KEY;
    if ((unsigned)range->sort_order > MVCC_ORDER_DESCEND)
        return ERR_INVALID_SORT_OPTION;
    if ((unsigned)range->sort_target > MVCC_TARGET_VALUE)
        return ERR_INVALID_SORT_OPTION;
    return OK;
}

err kv_check_put(const Etcdserverpb__PutRequest *put)
{
    if (put->key.len == 0)
        return ERR_EMPTY_KEY;
    if (put->ignore_value && put->value.len != 0)
        return ERR_VALUE_PROVIDED;
    if (put->ignore_lease && put->lease != 0)
        return ERR_LEASE_PROVIDED;
    return OK;
}

err kv_check_delete(const Etcdserverpb__DeleteRangeRequest *del)
{
    return del->key.len == 0 ? ERR_EMPTY_KEY : OK;
}

/* ── Fields and counts, level by level ──────────────────────────────────────────────────────── */

struct check {
    struct arena *arena;
    uint64_t total;
};

static err check_level(struct check *self, const Etcdserverpb__TxnRequest *txn, uint64_t ops_max);

static err check_op(struct check *self, const request_op *op, uint64_t ops_max)
{
    switch (op->request_case) {
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE:
        return kv_check_range(op->request_range);
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT:
        return kv_check_put(op->request_put);
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE:
        return kv_check_delete(op->request_delete_range);
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN:
        return check_level(self, op->request_txn, ops_max);
    case ETCDSERVERPB__REQUEST_OP__REQUEST__NOT_SET:
    case _ETCDSERVERPB__REQUEST_OP__REQUEST__CASE_IS_INT_SIZE:
        break;
    }
    return ERR_KEY_NOT_FOUND;
}

/* Nesting is bounded by the decoder's depth. */
static err check_level(struct check *self, const Etcdserverpb__TxnRequest *txn, uint64_t ops_max)
{
    uint64_t ops = txn->n_compare;
    ops = txn->n_success > ops ? txn->n_success : ops;
    ops = txn->n_failure > ops ? txn->n_failure : ops;
    self->total += txn->n_compare + txn->n_success + txn->n_failure;
    if (ops > ops_max || self->total > TXN_OPS_TOTAL_MAX)
        return ERR_TOO_MANY_OPS;
    for (size_t i = 0; i < txn->n_compare; i++)
        if (txn->compare[i]->key.len == 0)
            return ERR_EMPTY_KEY;
    for (size_t i = 0; i < txn->n_success; i++)
        TRY(check_op(self, txn->success[i], ops_max - ops));
    for (size_t i = 0; i < txn->n_failure; i++)
        TRY(check_op(self, txn->failure[i], ops_max - ops));
    return OK;
}

/* ── No key changed twice ───────────────────────────────────────────────────────────────────────
 * What a branch puts (sorted, each once) and deletes (sorted by beginning, not overlapping). */

struct deletion {
    struct bytes begin;
    struct bytes end; /* exclusive */
};

struct changes {
    struct bytes *puts;
    size_t put_count, put_cap;
    struct deletion *dels;
    size_t del_count, del_cap;
};

/* The first put that is not below key. */
static size_t puts_find(const struct changes *self, struct bytes key, bool *ret_equal)
{
    size_t low = 0, high = self->put_count;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (bytes_compare(self->puts[mid], key) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    *ret_equal = low < self->put_count && bytes_equal(self->puts[low], key);
    return low;
}

static void puts_add(struct check *check, struct changes *self, struct bytes key)
{
    bool there;
    size_t at = puts_find(self, key, &there);
    if (there)
        return;
    if (self->put_count == self->put_cap) {
        self->put_cap = self->put_cap ? self->put_cap * 2 : 8;
        struct bytes *grown = ARENA_ARRAY(check->arena, struct bytes, self->put_cap);
        if (self->put_count)
            memcpy(grown, self->puts, self->put_count * sizeof(*grown));
        self->puts = grown;
    }
    memmove(self->puts + at + 1, self->puts + at, (self->put_count - at) * sizeof(self->puts[0]));
    self->puts[at] = key;
    self->put_count++;
}

static bool reaches(const struct deletion *a, struct bytes key)
{
    return bytes_compare(key, a->end) < 0;
}

static bool dels_cover(const struct changes *self, struct bytes key)
{
    size_t low = 0, high = self->del_count;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (bytes_compare(self->dels[mid].begin, key) <= 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low > 0 && reaches(&self->dels[low - 1], key);
}

/* Adds one, merged with those that it touches. */
static void dels_add(struct check *check, struct changes *self, struct deletion del)
{
    size_t first = 0;
    while (first < self->del_count && !reaches(&self->dels[first], del.begin) &&
           !bytes_equal(self->dels[first].end, del.begin))
        first++;
    size_t last = first;
    while (last < self->del_count && bytes_compare(self->dels[last].begin, del.end) <= 0) {
        if (bytes_compare(self->dels[last].begin, del.begin) < 0)
            del.begin = self->dels[last].begin;
        if (bytes_compare(self->dels[last].end, del.end) > 0)
            del.end = self->dels[last].end;
        last++;
    }
    if (self->del_count == self->del_cap) {
        self->del_cap = self->del_cap ? self->del_cap * 2 : 8;
        struct deletion *grown = ARENA_ARRAY(check->arena, struct deletion, self->del_cap);
        if (self->del_count)
            memcpy(grown, self->dels, self->del_count * sizeof(*grown));
        self->dels = grown;
    }
    memmove(self->dels + first + 1, self->dels + last,
            (self->del_count - last) * sizeof(self->dels[0]));
    self->dels[first] = del;
    self->del_count = self->del_count - (last - first) + 1;
}

static void dels_add_request(struct check *check, struct changes *self,
                             const Etcdserverpb__DeleteRangeRequest *del)
{
    struct mvcc_span span = mvcc_span_of(bytes_pb(del->key), bytes_pb(del->range_end));
    struct deletion one = {span.key, span.end};
    if (span.kind == MVCC_SPAN_KEY) {
        /* The least key above it: itself and a zero byte. */
        uint8_t *end = arena_alloc_bytes(check->arena, span.key.len + 1);
        memcpy(end, span.key.data, span.key.len);
        end[span.key.len] = 0;
        one.end = bytes_of(end, span.key.len + 1);
    } else if (span.kind == MVCC_SPAN_FROM || bytes_compare(span.key, span.end) >= 0) {
        /* An empty range deletes nothing. One from a key on conflicts with no put either: etcd
         * takes its end, one zero byte, for a key like any other, so clients may rely on it. */
        return;
    }
    dels_add(check, self, one);
}

/* Puts of one side of a nested transaction against all before it. */
static err merge_puts(struct check *check, struct changes *into, const struct changes *from,
                      const struct changes *other_side)
{
    for (size_t i = 0; i < from->put_count; i++) {
        bool there, shared = false;
        puts_find(into, from->puts[i], &there);
        if (other_side)
            puts_find(other_side, from->puts[i], &shared);
        /* Only one side of a nested transaction runs: they may share a key. */
        if (there && !shared)
            return ERR_DUPLICATE_KEY;
        if (dels_cover(into, from->puts[i]))
            return ERR_DUPLICATE_KEY;
        puts_add(check, into, from->puts[i]);
    }
    return OK;
}

static err branch_changes(struct check *check, request_op *const *ops, size_t count,
                          struct changes *ret_changes)
{
    struct changes all = {0};
    for (size_t i = 0; i < count; i++)
        if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE)
            dels_add_request(check, &all, ops[i]->request_delete_range);
    for (size_t i = 0; i < count; i++) {
        if (ops[i]->request_case != ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN)
            continue;
        const Etcdserverpb__TxnRequest *txn = ops[i]->request_txn;
        struct changes then, otherwise;
        TRY(branch_changes(check, txn->success, txn->n_success, &then));
        TRY(branch_changes(check, txn->failure, txn->n_failure, &otherwise));
        TRY(merge_puts(check, &all, &then, NULL));
        TRY(merge_puts(check, &all, &otherwise, &then));
        for (size_t d = 0; d < then.del_count; d++)
            dels_add(check, &all, then.dels[d]);
        for (size_t d = 0; d < otherwise.del_count; d++)
            dels_add(check, &all, otherwise.dels[d]);
    }
    for (size_t i = 0; i < count; i++) {
        if (ops[i]->request_case != ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT)
            continue;
        struct bytes key = bytes_pb(ops[i]->request_put->key);
        bool there;
        puts_find(&all, key, &there);
        if (there || dels_cover(&all, key))
            return ERR_DUPLICATE_KEY;
        puts_add(check, &all, key);
    }
    *ret_changes = all;
    return OK;
}

err kv_check_txn(struct arena *arena, const Etcdserverpb__TxnRequest *txn, uint64_t ops_max)
{
    struct check check = {.arena = arena};
    struct changes unused;
    TRY(check_level(&check, txn, ops_max));
    TRY(branch_changes(&check, txn->success, txn->n_success, &unused));
    return branch_changes(&check, txn->failure, txn->n_failure, &unused);
}

static bool ops_are_ranges(request_op *const *ops, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (ops[i]->request_case != ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE)
            return false;
    return true;
}

bool kv_txn_is_read_only(const Etcdserverpb__TxnRequest *txn)
{
    return ops_are_ranges(txn->success, txn->n_success) &&
           ops_are_ranges(txn->failure, txn->n_failure);
}

static bool ops_are_serializable(request_op *const *ops, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!ops[i]->request_range->serializable)
            return false;
    return true;
}

bool kv_txn_is_serializable(const Etcdserverpb__TxnRequest *txn)
{
    return ops_are_serializable(txn->success, txn->n_success) &&
           ops_are_serializable(txn->failure, txn->n_failure);
}
