/* Clients, and what the answers they get must be.
 *
 * A client has one request under way at any one member. It gives up when it likes; then, and where
 * the member ended or answered with an error, the outcome is unknown: the oracle learns it with
 * the entry, or never.
 *
 * Strict serializability, by position in the committed log: `done` is the greatest index that any
 * answer so far rested on. A request that begins later must rest on no less: a write has an entry
 * of its own behind it, a linearizable read shows a state at or above it. That each state is the
 * right one for its index is the oracle's affair, so the two together are linearizability.
 * A serializable read shows the state at some index, which never goes back at one member.
 *
 *  1. each request is answered at most once, and within its time while the member lives;
 *  2. a write's answer (revision, outcome, previous values) is what its entry did;
 *  3. nothing answered is older than what was answered before it was asked;
 *  4. errors are those that leave the outcome open, or what the entry itself came to. */
#include "client_priv.h"

#include "base/check.h"
#include "wire/encode.h"

#include <stdlib.h>

#define ANSWER_US     (20 * SECOND) /* longer than any time-out of the core's */
#define ELECTED_US    (5 * SECOND)  /* longer than an election where all is well */
#define GENERATION_OF 0xffffffffu

static struct op *op_new(struct clients *self, enum op_kind kind, unsigned client,
                         const struct node *member)
{
    if (self->count == self->cap) {
        self->cap = self->cap ? self->cap * 2 : 1024;
        self->ops = realloc(self->ops, self->cap * sizeof(self->ops[0]));
        CHECK(self->ops);
    }
    struct op *op = &self->ops[self->count++];
    *op = (struct op){.kind = kind,
                      .client = client,
                      .member = member->at,
                      .life = member->life_number,
                      .asked_us = self->sim->now_us,
                      .floor = self->done,
                      .key = (unsigned)sim_below(self->sim, self->sim->plan.keys)};
    return op;
}

uint64_t token_of(const struct clients *self, const struct op *op)
{
    return token_make(0, op->client, (uint32_t)(op - self->ops) + 1);
}

static void timer(struct clients *self, unsigned who, uint64_t us)
{
    sim_at(self->sim, self->sim->now_us + us, EVENT_CLIENT, who, ++self->items[who].generation,
           NULL);
}

/* ---- writes ------------------------------------------------------------------------------------
 */

static void propose(struct clients *self, struct op *op, struct node *member,
                    Etcdserverpb__InternalRaftRequest *request)
{
    Etcdserverpb__RequestHeader header = ETCDSERVERPB__REQUEST_HEADER__INIT;
    op->request_id = header.id = member_request_id(member);
    request->header = &header;
    struct bytes data = wire_encode_arena(&request->base, &self->arena);
    member_propose(member, token_of(self, op), op->request_id, data, op->swept);
}

static void ask_write(struct clients *self, struct op *op, struct node *member)
{
    Etcdserverpb__InternalRaftRequest request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    arena_reset(&self->arena);
    if (op->kind == OP_COMPACT)
        self->sim->counts->compactions++;
    request_make(self, op, &request);
    propose(self, op, member, &request);
}

/* ---- reads -------------------------------------------------------------------------------------
 */

/* All keys, as the range walk gives them. */
static void check_count(struct clients *self, struct node *member, const struct replica_view *view)
{
    struct sim *sim = self->sim;
    struct mvcc_range range;
    struct mvcc_range_options options = {.span = mvcc_span_of(bytes_str("k"), bytes_str("l"))};
    enum mvcc_range_step step = MVCC_RANGE_MORE;
    uint64_t live = 0, items = 0;
    for (unsigned key = 0; key < sim->plan.keys; key++)
        live += model_get(sim->model, key, view->mvcc->revision).exists;
    mvcc_range_init(&range, &options, view->mvcc->seq);
    while (step != MVCC_RANGE_END) {
        unsigned budget = 7;
        err e = mvcc_range_run(&range, view->mvcc, &budget, &step);
        if (!err_ok(e)) {
            if (!member->suspect)
                sim_fail(sim, "m%u: range: %s", member->at, err_text(e));
            break;
        }
        items += step == MVCC_RANGE_ITEM;
        if (step == MVCC_RANGE_MORE)
            mvcc_range_pause(&range);
    }
    if (step == MVCC_RANGE_END && (items != live || range.count != live))
        sim_fail(sim, "m%u shows %llu keys and counts %llu, must be %llu", member->at,
                 (unsigned long long)items, (unsigned long long)range.count,
                 (unsigned long long)live);
    mvcc_range_done(&range);
}

/* The state that the view's index stands for. */
static uint64_t check_state(struct clients *self, struct node *member, const struct op *op,
                            const struct replica_view *view)
{
    struct sim *sim = self->sim;
    if (view->applied_index > oracle_last(sim->oracle))
        return 0; /* of a rotten log: not known yet */
    oracle_compare_key(sim->oracle, member, view, op->key, view->mvcc->revision);
    if (sim_chance(sim, 200))
        check_count(self, member, view);
    return view->applied_index;
}

static void read_serial(struct clients *self, const struct op *op, struct node *member)
{
    const struct replica_view *view = member_view_enter(member);
    (void)check_state(self, member, op, view);
    member_view_leave(member);
    self->sim->counts->reads_serial++;
}

static void read_past(struct clients *self, const struct op *op, struct node *member)
{
    struct sim *sim = self->sim;
    const struct replica_view *view = member_view_enter(member);
    int64_t revision = view->mvcc->revision, compacted = view->mvcc->compact_revision;
    int64_t asked = revision + 2 - (int64_t)sim_below(sim, 60);
    uint64_t seq;
    if (asked > 0 && view->applied_index <= oracle_last(sim->oracle)) {
        err e = mvcc_view_seq_of(view->mvcc, asked, &seq);
        err expected = asked > revision ? ERR_FUTURE_REV : asked < compacted ? ERR_COMPACTED : OK;
        if (!err_is(e, expected) && !member->suspect)
            sim_fail(sim, "m%u: revision %lld of [%lld, %lld]: %s", member->at, (long long)asked,
                     (long long)compacted, (long long)revision, err_name(e));
        if (err_ok(e))
            oracle_compare_key(sim->oracle, member, view, op->key, asked);
    }
    member_view_leave(member);
    sim->counts->reads_past++;
}

static void rest_on(struct clients *self, const struct node *member, const struct op *op,
                    uint64_t index)
{
    if (index < op->floor)
        sim_fail(self->sim, "m%u answers from entry %llu what was asked after %llu was seen",
                 member->at, (unsigned long long)index, (unsigned long long)op->floor);
    if (index > self->done)
        self->done = index;
}

/* ---- answers -----------------------------------------------------------------------------------
 */

static bool is_open(err e)
{
    const err open[] = {ERR_TIMEOUT,
                        ERR_TIMEOUT_DUE_TO_LEADER_FAIL,
                        ERR_TIMEOUT_DUE_TO_CONNECTION_LOST,
                        ERR_CONTEXT_DEADLINE,
                        ERR_LEADER_CHANGED,
                        ERR_REQUEST_TOO_MANY_REQUESTS,
                        ERR_STOPPED};
    for (size_t i = 0; i < sizeof(open) / sizeof(open[0]); i++)
        if (err_is(e, open[i]))
            return true;
    return false;
}

static void check_op(struct clients *self, struct node *member, const struct replica_view *view,
                     const struct state_op *op, const struct model_result *expected, unsigned i)
{
    struct model_state seen;
    if (op->kind == STATE_DELETE_RANGE && op->deleted != expected->ops[i].deleted)
        sim_fail(self->sim, "m%u says %lld keys were deleted, must be %lld", member->at,
                 (long long)op->deleted, (long long)expected->ops[i].deleted);
    if ((op->kind == STATE_RANGE || op->kind == STATE_PUT) &&
        oracle_read(member, view, expected->ops[i].key, op->seq, &seen))
        oracle_expect(self->sim, member, op->kind == STATE_PUT ? "previous value" : "read in a txn",
                      expected->ops[i].key, &expected->ops[i].seen, &seen);
}

static void check_result(struct clients *self, struct node *member, const struct op *op,
                         const struct state_result *result)
{
    struct sim *sim = self->sim;
    const struct model_result *expected = model_result_of(sim->model, op->request_id);
    if (!expected) {
        if (member->suspect)
            return;
        sim_fail(sim, "m%u answers request %llx, which nobody has applied", member->at,
                 (unsigned long long)op->request_id);
    }
    if (result->error.code != expected->code ||
        (err_ok(result->error) && result->revision != expected->revision) ||
        (result->op.kind == STATE_TXN && result->op.succeeded != expected->succeeded))
        sim_fail(sim, "m%u answers request %llx: %s, revision %lld; its entry %llu: %d, %lld",
                 member->at, (unsigned long long)op->request_id, err_name(result->error),
                 (long long)result->revision, (unsigned long long)expected->index, expected->code,
                 (long long)expected->revision);
    rest_on(self, member, op, expected->index);
    if (err_ok(result->error) && op->kind == OP_GRANT)
        lease_granted(self, member, op, result);
    bool has_ops = op->kind == OP_PUT || op->kind == OP_TXN || op->kind == OP_DELETE;
    if (!err_ok(result->error) || !has_ops)
        return;
    const struct replica_view *view = member_view_enter(member);
    if (result->op.kind == STATE_TXN && result->op.child_count != expected->count)
        sim_fail(sim, "m%u: a txn of %u ops, must be %u", member->at, result->op.child_count,
                 expected->count);
    for (unsigned i = 0; i < expected->count; i++)
        check_op(self, member, view,
                 result->op.kind == STATE_TXN ? &result->op.children[i] : &result->op, expected, i);
    member_view_leave(member);
}

static void check_read(struct clients *self, struct node *member, const struct op *op)
{
    const struct replica_view *view = member_view_enter(member);
    uint64_t index = check_state(self, member, op, view);
    if (index)
        rest_on(self, member, op, index);
    member_view_leave(member);
    self->sim->counts->reads_linear++;
}

void clients_reply(struct clients *self, struct node *member, const struct replica_reply *reply)
{
    struct sim *sim = self->sim;
    size_t at = (size_t)(reply->token & GENERATION_OF) - 1;
    CHECK(at < self->count);
    struct op *op = &self->ops[at];
    if (op->answered || op->life != member->life_number || op->member != member->at)
        sim_fail(sim, "m%u answers request %zu again", member->at, at);
    op->answered = true;
    err e = reply->result.error;
    sim_note(sim, reply->token, (uint64_t)e.code);
    if (reply->kind == REPLY_LEASE)
        lease_answered(self, member, op, reply);
    else if (reply->kind == REPLY_READ && err_ok(e))
        check_read(self, member, op);
    else if (reply->kind == REPLY_RESULT && !is_open(e))
        check_result(self, member, op, &reply->result);
    else if (op->kind == OP_CHANGE)
        changes_answered(sim, (uint64_t)op->lease, e);
    else if (reply->kind != REPLY_MEMBER && !is_open(e))
        sim_fail(sim, "m%u: a read fails with %s", member->at, err_name(e));
    /* A member that has just received a state starts anew on it; a leader with rotten bytes ends
     * when it comes across them. */
    bool led_well = !sim->rotten_ended_us || op->asked_us > sim->rotten_ended_us + ELECTED_US;
    if (op->last && !err_ok(e) && !err_is(e, ERR_STOPPED) && led_well)
        sim_fail(sim, "m%u refuses a write when all is well: %s", member->at, err_name(e));
    if (reply->kind == REPLY_RESULT)
        *(is_open(e) ? &sim->counts->writes_failed : &sim->counts->writes_answered) += 1;
    if (op->client == SIM_CLIENTS_MAX || self->items[op->client].op != at + 1)
        return;
    self->items[op->client].op = 0;
    timer(self, op->client, 1 + sim_around(sim, sim->plan.think_us));
}

void clients_member_ended(struct clients *self, struct node *member)
{
    list_member_ended(self, member);
    watchers_member_ended(self, member);
    for (size_t i = self->count; i-- > 0 && self->sim->changes;) {
        struct op *op = &self->ops[i];
        if (op->kind == OP_CHANGE && !op->answered && op->member == member->at &&
            op->life == member->life_number)
            changes_unanswered(self->sim, (uint64_t)op->lease);
    }
    for (unsigned i = 0; i < self->sim->plan.clients; i++) {
        struct client *client = &self->items[i];
        if (!client->op || self->ops[client->op - 1].member != member->at)
            continue;
        client->op = 0;
        timer(self, i, 1 + sim_around(self->sim, self->sim->plan.think_us));
    }
}

/* ---- asking ------------------------------------------------------------------------------------
 */

static enum op_kind kind_of(struct sim *sim)
{
    const struct sim_plan *plan = &sim->plan;
    const unsigned weights[] = {
        [OP_PUT] = plan->weight_put,           [OP_TXN] = plan->weight_txn,
        [OP_DELETE] = plan->weight_delete,     [OP_COMPACT] = plan->weight_compact,
        [OP_LINEAR] = plan->weight_linear,     [OP_SERIAL] = plan->weight_serial,
        [OP_PAST] = plan->weight_past,         [OP_GRANT] = plan->weight_lease / 3,
        [OP_REVOKE] = plan->weight_lease / 10, [OP_KEEP] = plan->weight_lease,
        [OP_LIST] = plan->weight_list};
    unsigned sum = 0;
    for (size_t i = 0; i < sizeof(weights) / sizeof(weights[0]); i++)
        sum += weights[i];
    unsigned at = (unsigned)sim_below(sim, sum);
    for (unsigned i = 0;; i++) {
        if (at < weights[i])
            return (enum op_kind)i;
        at -= weights[i];
    }
}

static void ask_list(struct clients *self, unsigned who, struct op *op, struct node *member)
{
    op->answered = true;
    if (member_runs(member))
        (void)list_begin(self, who, member);
    timer(self, who, 1 + sim_around(self->sim, self->sim->plan.think_us));
}

static void ask(struct clients *self, unsigned who, struct node *member)
{
    struct sim *sim = self->sim;
    enum op_kind kind = kind_of(sim);
    if (model_alarm(sim->model) && sim_chance(sim, 30))
        kind = OP_DISARM;
    if (kind == OP_KEEP && sim->plan.clients_stay && !self->items[who].lease)
        kind = OP_GRANT;
    struct op *op = op_new(self, kind, who, member);
    if (kind == OP_GRANT)
        op->lease = ++self->last_lease;
    else if (kind == OP_KEEP && sim->plan.clients_stay)
        op->lease = self->items[who].lease;
    else if (kind == OP_REVOKE || kind == OP_KEEP)
        op->lease = lease_any(self);
    if (kind == OP_LIST) {
        ask_list(self, who, op, member);
        return;
    }
    bool at_once = op->kind == OP_SERIAL || op->kind == OP_PAST;
    if (at_once) {
        op->answered = true;
        if (member_runs(member) && op->kind == OP_SERIAL)
            read_serial(self, op, member);
        else if (member_runs(member))
            read_past(self, op, member);
        timer(self, who, 1 + sim_around(sim, sim->plan.think_us));
        return;
    }
    self->items[who].op = self->count;
    if (op->kind == OP_LINEAR)
        member_read(member, token_of(self, op));
    else if (op->kind == OP_KEEP)
        lease_asked(self, op, member);
    else
        ask_write(self, op, member);
    timer(self, who, sim->plan.patience_us / 16 + sim_below(sim, sim->plan.patience_us));
}

/* One that stays asks who does not answer again and again, until it ends; then its lease is
 * nobody's any more. */
static struct node *whom(struct clients *self, struct client *client)
{
    struct sim *sim = self->sim;
    if (!sim->plan.clients_stay)
        return sim_member_any(sim);
    struct node *member = sim->members[client->member];
    if (member->state != MEMBER_UP || sim_chance(sim, 50)) {
        member = sim_member_any(sim);
        client->member = member->at;
    }
    return member;
}

void clients_event(struct clients *self, unsigned who, uint64_t generation)
{
    struct sim *sim = self->sim;
    struct client *client = &self->items[who];
    if (generation != client->generation || self->stopped)
        return;
    if (client->list.active) {
        if (member_runs(sim->members[client->list.member]))
            (void)list_go_on(self, who);
        timer(self, who, 1 + sim_around(sim, 500 * MS));
        return;
    }
    if (client->op) {
        sim->counts->client_gave_up++;
        client->op = 0;
        if (sim->plan.clients_stay && sim_chance(sim, 80))
            client->lease = 0;
    }
    struct node *member = whom(self, client);
    if (member->state != MEMBER_UP) {
        timer(self, who, 1 + sim_around(sim, sim->plan.think_us));
        return;
    }
    ask(self, who, member);
}

void clients_change(struct clients *self, struct node *from, const struct member_change *change,
                    uint64_t serial)
{
    struct op *op = op_new(self, OP_CHANGE, SIM_CLIENTS_MAX, from);
    op->lease = (int64_t)serial;
    member_change(from, token_of(self, op), change);
}

void clients_move(struct clients *self, struct node *from, uint64_t to)
{
    struct op *op = op_new(self, OP_MOVE, SIM_CLIENTS_MAX, from);
    member_transfer(from, token_of(self, op), to);
}

void clients_stop(struct clients *self)
{
    self->stopped = true;
}

void clients_last(struct clients *self)
{
    for (unsigned i = 0; i < self->sim->slots; i++) {
        struct node *member = self->sim->members[i];
        if (member->state != MEMBER_UP || member->suspect || changes_may_leave(self->sim, member))
            continue;
        struct op *op = op_new(self, OP_PUT, SIM_CLIENTS_MAX, member);
        op->last = true;
        ask_write(self, op, member);
    }
}

void clients_disarm(struct clients *self)
{
    for (unsigned i = 0; i < self->sim->slots && model_alarm(self->sim->model); i++) {
        struct node *member = self->sim->members[i];
        if (member->state == MEMBER_UP && !member->suspect)
            ask_write(self, op_new(self, OP_DISARM, SIM_CLIENTS_MAX, member), member);
    }
}

void clients_check_last(struct clients *self)
{
    struct sim *sim = self->sim;
    leases_check_last(self);
    watchers_check_last(self);
    for (size_t i = 0; i < self->count; i++) {
        const struct op *op = &self->ops[i];
        const struct node *member = sim->members[op->member];
        bool lives = member->state == MEMBER_UP && op->life == member->life_number;
        if (op->answered || !lives || member->suspect)
            continue;
        if (op->last || op->asked_us + ANSWER_US < sim->now_us)
            sim_fail(sim, "m%u never answers request %zu, asked at %llu ms", op->member, i,
                     (unsigned long long)(op->asked_us / MS));
    }
}

struct clients *clients_new(struct sim *sim)
{
    struct clients *self = calloc(1, sizeof(*self));
    CHECK(self);
    self->sim = sim;
    arena_init(&self->arena, 65536);
    for (unsigned i = 0; i < sim->plan.clients; i++)
        timer(self, i, 1500 * MS + sim_below(sim, SECOND));
    watchers_init(self);
    return self;
}

void clients_free(struct clients *self)
{
    arena_done(&self->arena);
    lists_free(self);
    free(self->ops);
    free(self);
}
