/* When leases end. Their deadlines are the leader's alone: nothing replicated tells the time, so a
 * new leader gives every lease its full (or last noted) time again, and an election timeout more.
 *
 *     granted, taken up ──> queued at its deadline ──due──> revoke proposed ──applied──> gone
 *                              │    ▲                             │ 3 s
 *               kept alive: ───┘    └── due, but the deadline     └──> proposed again
 *               only the deadline       has moved meanwhile
 *               moves
 *
 * 1. The queue is a heap by scheduled_ms, which is never above the lease's deadline: keeping alive
 *    costs no move in it.
 * 2. A deadline is valid where lease->term is lease_term; all others are still to be taken up.
 * 3. A revoke is proposed only to a raft that leads in lease_term, so it is never forwarded, and
 *    only after the time since the last pass was short or a quorum has confirmed us since.
 * 4. Questions are answered for no longer than an election timeout after we asked a quorum that
 * then confirmed us: nobody had been elected when we asked, and what a next leader adds to each
 * time is as much. Without it a leader that hears late answers, or loses its quorum just after it
 * was last checked, goes on for twice that.
 * 5. An expired lease is not kept alive any more: who asks for that waits until it is gone. */
#include "base/bug.h"
#include "base/metrics.h"
#include "replica/replica_internal.h"

#include <stdlib.h>

#define MS_PER_S UINT64_C(1000)
#define NS_PER_S UINT64_C(1000000000)

static struct metric ttl_total = {.name = "etcd_debugging_lease_ttl_total",
                                  .help = "Times to live that leases were granted.",
                                  .kind = METRIC_HISTOGRAM,
                                  .bucket_start = 1,
                                  .bucket_factor = 2,
                                  .bucket_count = 24};

void replica_register_metrics(void)
{
    metric_register(&ttl_total);
    applying_register_metrics();
}

/* --- the queue --------------------------------------------------------------------------- */

static bool is_before(const struct lease *a, const struct lease *b)
{
    return a->scheduled_ms != b->scheduled_ms ? a->scheduled_ms < b->scheduled_ms : a->id < b->id;
}

static void queue_set(struct replica *self, size_t at, struct lease *lease)
{
    self->lease_queue[at] = lease;
    lease->queue_at = at + 1;
}

static void queue_up(struct replica *self, size_t at, struct lease *lease)
{
    while (at > 0 && is_before(lease, self->lease_queue[(at - 1) / 2])) {
        queue_set(self, at, self->lease_queue[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    queue_set(self, at, lease);
}

static void queue_down(struct replica *self, size_t at, struct lease *lease)
{
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= self->lease_queue_count)
            break;
        if (child + 1 < self->lease_queue_count &&
            is_before(self->lease_queue[child + 1], self->lease_queue[child]))
            child++;
        if (!is_before(self->lease_queue[child], lease))
            break;
        queue_set(self, at, self->lease_queue[child]);
        at = child;
    }
    queue_set(self, at, lease);
}

static void queue_add(struct replica *self, struct lease *lease)
{
    CHECK(lease->queue_at == 0 && lease->term == self->lease_term);
    lease->scheduled_ms = lease->deadline_ms;
    self->lease_queue = array_grow(self->lease_queue, self->lease_queue_count,
                                   &self->lease_queue_cap, sizeof(struct lease *));
    queue_up(self, self->lease_queue_count++, lease);
}

static void queue_remove(struct replica *self, struct lease *lease)
{
    size_t at = lease->queue_at - 1;
    CHECK(at < self->lease_queue_count && self->lease_queue[at] == lease);
    struct lease *last = self->lease_queue[--self->lease_queue_count];
    lease->queue_at = 0;
    if (last == lease)
        return;
    if (at > 0 && is_before(last, self->lease_queue[(at - 1) / 2]))
        queue_up(self, at, last);
    else
        queue_down(self, at, last);
}

/* --- leadership -------------------------------------------------------------------------- */

/* What leaders before us had proposed may be committed and not yet applied, an end of a lease among
 * it: until then nobody is told that it lives on. */
static bool knows_all_before(const struct replica *self)
{
    return self->applied_term == self->lease_term ||
           (BUG(lease_kept_unapplied) && raft_committed_in_term(self->raft));
}

static bool is_primary(const struct replica *self)
{
    return self->lease_term != 0 && self->leading && raft_role(self->raft) == RAFT_LEADER &&
           raft_term(self->raft) == self->lease_term && knows_all_before(self);
}

/* A deadline for a lease that this leadership has not seen yet. */
static void take_up(struct replica *self, struct lease *lease)
{
    if (lease->term == self->lease_term)
        return;
    int64_t left_s = lease->remaining_s > 0 ? lease->remaining_s : lease->ttl_s;
    lease->term = self->lease_term;
    lease->deadline_ms = self->lease_led_ms + (uint64_t)left_s * MS_PER_S + election_ms(self);
    if (BUG(lease_not_extended))
        lease->deadline_ms = self->now_ms + election_ms(self);
    lease->queue_at = 0;
    queue_add(self, lease);
}

static void watch_leadership(struct replica *self)
{
    bool leads = self->leading && raft_role(self->raft) == RAFT_LEADER;
    uint64_t term = leads ? raft_term(self->raft) : 0;
    if (term == self->lease_term || (BUG(lease_revoke_forwarded) && !leads))
        return;
    self->lease_term = term;
    self->lease_led_ms = self->now_ms;
    self->lease_scan_from = 0;
    self->lease_scanned = term == 0;
    self->lease_queue_count = 0;
    self->lease_revoke_count = 0;
    self->lease_revoke_window = LEASE_REVOKES_MIN;
    self->lease_unconfirmed = false;
    self->lease_confirmed_ms = 0;
}

/* A million leases are not taken up in one pass. */
static void scan(struct replica *self)
{
    if (self->lease_scanned)
        return;
    int64_t ids[LEASE_SCAN_COUNT];
    struct lease_table *leases = state_leases(self->state);
    size_t n = lease_table_list(leases, self->lease_scan_from, LEASE_SCAN_COUNT, ids);
    for (size_t i = 0; i < n; i++)
        take_up(self, lease_table_find(leases, ids[i]));
    self->lease_scanned = n < LEASE_SCAN_COUNT || (uint64_t)ids[n - 1] == UINT64_MAX;
    if (!self->lease_scanned)
        self->lease_scan_from = (uint64_t)ids[n - 1] + 1;
}

/* After a pause, whatever its cause, another may lead whose clients were told other deadlines. */
static void watch_time(struct replica *self)
{
    uint64_t gap_ms = (uint64_t)LEASE_GAP_HEARTBEATS * self->heartbeat_ms;
    if (self->pass_ms && self->now_ms > self->pass_ms + gap_ms && !BUG(lease_expires_in_pause))
        self->lease_unconfirmed = true;
}

static void ask_quorum(struct replica *self)
{
    if (!self->lease_unconfirmed || self->lease_confirming || !is_primary(self) || self->stopping)
        return;
    self->lease_confirming = true;
    self->lease_asked_ms = self->now_ms;
    barriers_confirm_leases(self);
    barriers_start_round(self);
}

void leases_confirmed(struct replica *self, err error)
{
    self->lease_confirming = false;
    if (!err_ok(error) || !is_primary(self))
        return;
    self->lease_unconfirmed = false;
    self->lease_confirmed_ms = self->lease_asked_ms;
}

/* --- their end --------------------------------------------------------------------------- */

void leases_on_removed(void *ctx, struct lease *lease)
{
    struct replica *self = ctx;
    if (self->lease_term == 0 || lease->term != self->lease_term)
        return;
    if (lease->queue_at) {
        queue_remove(self, lease);
        return;
    }
    for (size_t i = 0; i < self->lease_revoke_count; i++) {
        if (self->lease_revokes[i].id != lease->id)
            continue;
        self->lease_revokes[i] = self->lease_revokes[--self->lease_revoke_count];
        /* One more for each that is done: a flood of them doubles its pace with each round. */
        self->lease_revoke_window += self->lease_revoke_window < LEASE_REVOKES_MAX;
        self->leases_expired++;
        return;
    }
}

static err propose_revoke(struct replica *self, int64_t id)
{
    struct arena arena;
    arena_init(&arena, 256);
    err e =
        cluster_propose_own(self, request_lease_revoke(&arena, request_ids_take(self->ids, 1), id));
    arena_done(&arena);
    return e;
}

/* Refused (by an alarm) or lost: once more. */
static void propose_again(struct replica *self)
{
    for (size_t i = 0; i < self->lease_revoke_count; i++) {
        struct lease_revoke *revoke = &self->lease_revokes[i];
        if (self->now_ms < revoke->retry_ms)
            continue;
        revoke->retry_ms = self->now_ms + LEASE_REVOKE_RETRY_MS;
        if (!err_ok(propose_revoke(self, revoke->id)))
            return;
    }
}

/* The later the first of them is, the more end in a millisecond: a few are not late at all,
 * thousands take part of a second of which writers notice nothing, a million take seconds. */
static size_t revokes_a_ms(const struct replica *self)
{
    uint64_t due_ms = self->lease_queue_count ? self->lease_queue[0]->scheduled_ms : self->now_ms;
    uint64_t late_ms = self->now_ms > due_ms ? self->now_ms - due_ms : 0;
    uint64_t more = late_ms / LEASE_LATE_MS_A_REVOKE;
    return more < LEASE_REVOKES_A_MS - LEASE_REVOKES_A_MS_MIN
               ? LEASE_REVOKES_A_MS_MIN + (size_t)more
               : LEASE_REVOKES_A_MS;
}

static bool may_revoke(struct replica *self)
{
    if (self->lease_paced_ms != self->now_ms) {
        self->lease_paced_ms = self->now_ms;
        self->lease_paced = 0;
        self->lease_pace = revokes_a_ms(self);
    }
    return self->lease_queue_count && self->lease_revoke_count < self->lease_revoke_window &&
           self->lease_paced < self->lease_pace;
}

uint64_t leases_deadline_ms(const struct replica *self)
{
    bool paced = self->lease_pace && self->lease_paced_ms == self->now_ms &&
                 self->lease_paced >= self->lease_pace;
    return paced ? self->now_ms + 1 : UINT64_MAX;
}

static void expire(struct replica *self)
{
    while (may_revoke(self)) {
        struct lease *lease = self->lease_queue[0];
        if (lease->scheduled_ms > self->now_ms)
            return;
        if (lease->deadline_ms > self->now_ms) { /* it was kept alive */
            lease->scheduled_ms = lease->deadline_ms;
            queue_down(self, 0, lease);
            continue;
        }
        if (!err_ok(propose_revoke(self, lease->id)))
            return; /* leadership is moving */
        queue_remove(self, lease);
        self->lease_paced++;
        self->lease_revokes[self->lease_revoke_count++] =
            (struct lease_revoke){lease->id, self->now_ms + LEASE_REVOKE_RETRY_MS};
    }
}

bool leases_may_propose(const struct replica *self)
{
    bool leads = is_primary(self) || (BUG(lease_revoke_forwarded) && self->lease_term != 0);
    return leads && !self->lease_unconfirmed && !self->stopping && !self->stalled &&
           raft_commit(self->raft) - self->applied_index <= self->backlog_max / 2 &&
           !appends_are_many(self);
}

static void run_expiry(struct replica *self)
{
    if (!leases_may_propose(self))
        return;
    propose_again(self);
    expire(self);
    if (self->lease_revoke_count == 0) /* the flood is over: the next one begins as slowly */
        self->lease_revoke_window = LEASE_REVOKES_MIN;
}

void leases_applied(struct replica *self, const struct state_result *result)
{
    if (!err_ok(result->error) && !err_is(result->error, ERR_NO_SPACE))
        return;
    if (result->op.kind == STATE_LEASE_REVOKE)
        self->leases_revoked++;
    if (result->op.kind != STATE_LEASE_GRANT || result->lease_id == 0)
        return;
    self->leases_granted++;
    metric_observe_ns(&ttl_total, (uint64_t)result->lease_ttl_s * NS_PER_S);
    if (self->lease_term == 0)
        return;
    struct lease *lease = lease_table_find(state_leases(self->state), result->lease_id);
    uint64_t ttl_ms = (uint64_t)lease->ttl_s * MS_PER_S;
    uint64_t as_taken_up_ms = self->lease_led_ms + ttl_ms + election_ms(self);
    lease->term = self->lease_term;
    lease->deadline_ms = self->now_ms + ttl_ms;
    /* Granted by who led before, who may have kept it alive since. */
    if (self->applied_term != self->lease_term && lease->deadline_ms < as_taken_up_ms)
        lease->deadline_ms = as_taken_up_ms;
    queue_add(self, lease);
}

/* --- what remains, for the next leader ---------------------------------------------------- */

/* False: it is not worth noting. One that is kept alive never loses so much. */
static bool has_lost_much(const struct replica *self, const struct lease *lease,
                          int64_t *ret_remaining_s)
{
    if (lease->term != self->lease_term || lease->deadline_ms <= self->now_ms)
        return false;
    uint64_t left_ms = lease->deadline_ms - self->now_ms;
    int64_t noted_s = lease->remaining_s > 0 ? lease->remaining_s : lease->ttl_s;
    *ret_remaining_s = (int64_t)((left_ms + MS_PER_S - 1) / MS_PER_S);
    return *ret_remaining_s + LEASE_NOTE_LOST_S <= noted_s;
}

static void propose_notes(struct replica *self, const struct lease_note *notes, size_t count)
{
    struct arena arena;
    arena_init(&arena, 4096);
    /* Lost: the next turn, or the next renewal, says it again. */
    (void)cluster_propose_own(
        self, request_lease_checkpoint(&arena, request_ids_take(self->ids, 1), notes, count))
        .code;
    arena_done(&arena);
}

/* A part of the turn around all leases, a heartbeat's. */
static void note_remaining(struct replica *self)
{
    if (!self->lease_checkpoints || !self->lease_scanned || self->now_ms < self->lease_note_ms ||
        !leases_may_propose(self))
        return;
    self->lease_note_ms = self->now_ms + self->heartbeat_ms;
    struct lease_table *table = state_leases(self->state);
    size_t part = lease_table_count(table) * self->heartbeat_ms / LEASE_NOTE_TURN_MS + 1;
    size_t max = part < LEASE_SCAN_COUNT ? part : LEASE_SCAN_COUNT;
    int64_t ids[LEASE_SCAN_COUNT];
    struct lease_note notes[LEASE_SCAN_COUNT];
    size_t noted = 0;
    size_t n = lease_table_list(table, self->lease_note_from, max, ids);
    for (size_t i = 0; i < n; i++) {
        const struct lease *lease = lease_table_find(table, ids[i]);
        int64_t remaining_s;
        if (has_lost_much(self, lease, &remaining_s))
            notes[noted++] = (struct lease_note){lease->id, remaining_s};
    }
    self->lease_note_from = n == max ? (uint64_t)ids[n - 1] + 1 : 0;
    if (noted)
        propose_notes(self, notes, noted);
}

/* --- questions --------------------------------------------------------------------------- */

static void renew(struct replica *self, struct lease *lease)
{
    lease->deadline_ms = self->now_ms + (uint64_t)lease->ttl_s * MS_PER_S;
    self->leases_renewed++;
    if (lease->remaining_s <= 0)
        return;
    propose_notes(self, &(struct lease_note){.lease_id = lease->id}, 1);
}

static bool answer_keep_alive(struct replica *self, const struct lease_ask *ask)
{
    struct lease *lease = lease_table_find(state_leases(self->state), ask->what.lease_id);
    struct replica_lease_answer answer = {0};
    if (!lease && self->published_index < ask->wait_index)
        return false; /* it may just have been granted */
    if (lease) {
        take_up(self, lease);
        if (lease->deadline_ms <= self->now_ms)
            return false;
        renew(self, lease);
        answer.ttl_s = lease->ttl_s;
    }
    publish_lease(self, ask->what.token, OK, &answer);
    return true;
}

static bool answer_time_left(struct replica *self, const struct lease_ask *ask)
{
    if (self->published_index < ask->wait_index)
        return false;
    struct lease *lease = lease_table_find(state_leases(self->state), ask->what.lease_id);
    struct replica_lease_answer answer = {.ttl_s = -1};
    if (lease) {
        take_up(self, lease);
        uint64_t left_ms =
            lease->deadline_ms > self->now_ms ? lease->deadline_ms - self->now_ms : 0;
        answer.ttl_s = (int64_t)(left_ms / MS_PER_S);
        answer.granted_s = lease->ttl_s;
    }
    publish_lease(self, ask->what.token, OK, &answer);
    return true;
}

static int by_deadline(const void *a, const void *b)
{
    const struct lease *x = *(struct lease *const *)a;
    const struct lease *y = *(struct lease *const *)b;
    if (x->deadline_ms != y->deadline_ms)
        return x->deadline_ms < y->deadline_ms ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

static bool answer_list(struct replica *self, const struct lease_ask *ask)
{
    int64_t ids[LEASE_LIST_MAX];
    struct lease *leases[LEASE_LIST_MAX];
    struct lease_table *table = state_leases(self->state);
    struct replica_lease_answer answer = {.ids = ids};
    if (lease_table_count(table) > LEASE_LIST_MAX) {
        publish_lease(self, ask->what.token, ERR_LIMIT, &answer);
        return true;
    }
    answer.id_count = lease_table_list(table, 0, LEASE_LIST_MAX, ids);
    for (size_t i = 0; i < answer.id_count; i++) {
        leases[i] = lease_table_find(table, ids[i]);
        take_up(self, leases[i]);
    }
    if (answer.id_count)
        qsort(leases, answer.id_count, sizeof(struct lease *), by_deadline);
    for (size_t i = 0; i < answer.id_count; i++)
        ids[i] = leases[i]->id;
    publish_lease(self, ask->what.token, OK, &answer);
    return true;
}

static bool fail(struct replica *self, const struct lease_ask *ask, err error)
{
    publish_lease(self, ask->what.token, error, &(struct replica_lease_answer){0});
    return true;
}

/* Who is asked after a pause, or before all has been applied, notices that by the age of the
 * quorum's word as well. */
static bool is_mutated(void)
{
    return BUG(lease_expires_in_pause) || BUG(lease_kept_unapplied);
}

/* As the leader. False: it waits. */
static bool answer_here(struct replica *self, const struct lease_ask *ask)
{
    if (self->now_ms > self->lease_confirmed_ms + election_ms(self) && !is_mutated())
        self->lease_unconfirmed = true;
    if (self->lease_unconfirmed)
        return false;
    switch (ask->what.kind) {
    case LEASE_KEEP_ALIVE:
        return answer_keep_alive(self, ask);
    case LEASE_TIME_LEFT:
        return answer_time_left(self, ask);
    case LEASE_LIST:
        return answer_list(self, ask);
    }
    return true;
}

/* True: it has been answered; false: it waits, or has a number and is away. */
static bool judge(struct replica *self, struct lease_ask *ask)
{
    bool elsewhere = !self->leading || self->leader != self->member_id;
    if (self->stopping)
        return fail(self, ask, ERR_STOPPED);
    if (is_primary(self))
        return answer_here(self, ask);
    if (elsewhere && (ask->what.from_member || ask->what.kind == LEASE_LIST))
        return fail(self, ask, ERR_NOT_LEADER);
    if (!elsewhere || self->leader == RAFT_NONE || self->now_ms < ask->retry_ms)
        return false;
    self->lease_forwards = array_grow(self->lease_forwards, self->lease_forward_count,
                                      &self->lease_forward_cap, sizeof(self->lease_forwards[0]));
    ask->number = ++self->lease_ask_number;
    self->lease_forwards[self->lease_forward_count++] =
        (struct replica_lease_forward){.ask = ask->number,
                                       .leader_id = self->leader,
                                       .kind = ask->what.kind,
                                       .lease_id = ask->what.lease_id};
    return false;
}

static void put_aside(struct replica *self, struct lease_ask *ask)
{
    list_push(ask->number ? &self->lease_away : &self->lease_waiting, &ask->node);
}

void replica_ask_leases(struct replica *self, const struct replica_lease_ask *asks, size_t count,
                        uint64_t now_ms)
{
    self->now_ms = now_ms;
    watch_time(self);
    for (size_t i = 0; i < count; i++) {
        struct lease_ask ask = {
            .what = asks[i], .start_ms = now_ms, .wait_index = raft_commit(self->raft)};
        if (judge(self, &ask))
            continue;
        struct lease_ask *kept = malloc(sizeof(*kept));
        CHECK(kept);
        *kept = ask;
        put_aside(self, kept);
    }
}

static void ask_free(struct lease_ask *ask)
{
    list_remove(&ask->node);
    free(ask);
}

void replica_lease_answered(struct replica *self, uint64_t number, err error,
                            const struct replica_lease_answer *answer, uint64_t now_ms)
{
    self->now_ms = now_ms;
    LIST_FOREACH (node, &self->lease_away) {
        struct lease_ask *ask = LIST_ENTRY(node, struct lease_ask, node);
        if (ask->number != number)
            continue;
        if (err_ok(error)) {
            publish_lease(self, ask->what.token, OK, answer);
            ask_free(ask);
            return;
        }
        list_remove(&ask->node);
        ask->number = 0;
        ask->retry_ms = now_ms + ASK_RETRY_MS;
        list_push(&self->lease_waiting, &ask->node);
        return;
    }
}

void leases_leader_changed(struct replica *self)
{
    struct list *node;
    while ((node = list_pop(&self->lease_away))) {
        struct lease_ask *ask = LIST_ENTRY(node, struct lease_ask, node);
        ask->number = 0; /* an answer that still comes finds nobody */
        ask->retry_ms = self->now_ms;
        list_push(&self->lease_waiting, &ask->node);
    }
}

/* What has waited too long, and what for. */
static bool ask_expired(struct replica *self, const struct lease_ask *ask)
{
    if (self->now_ms >= ask->start_ms + request_timeout_ms(self))
        return fail(self, ask, self->leader == RAFT_NONE ? ERR_NO_LEADER : ERR_TIMEOUT);
    if (is_primary(self) && self->published_index < ask->wait_index &&
        self->now_ms >= ask->start_ms + WAIT_APPLIED_MS)
        return fail(self, ask, ERR_TIMEOUT_WAIT_APPLIED_INDEX);
    return false;
}

static void run_asks(struct replica *self)
{
    struct list again;
    list_init(&again);
    while (!list_empty(&self->lease_waiting))
        list_push(&again, list_pop(&self->lease_waiting));
    while (!list_empty(&again)) {
        struct lease_ask *ask = LIST_ENTRY(list_pop(&again), struct lease_ask, node);
        if (judge(self, ask) || ask_expired(self, ask))
            free(ask);
        else
            put_aside(self, ask);
    }
    LIST_FOREACH_SAFE (node, after, &self->lease_away) {
        struct lease_ask *ask = LIST_ENTRY(node, struct lease_ask, node);
        if (self->now_ms < ask->start_ms + request_timeout_ms(self))
            break; /* the oldest is first, but for a few that were asked again */
        (void)ask_expired(self, ask);
        ask_free(ask);
    }
}

void leases_fail_all(struct replica *self, err error)
{
    struct list *lists[] = {&self->lease_waiting, &self->lease_away};
    for (size_t i = 0; i < 2; i++) {
        while (!list_empty(lists[i])) {
            struct lease_ask *ask = LIST_ENTRY(list_pop(lists[i]), struct lease_ask, node);
            (void)fail(self, ask, error);
            free(ask);
        }
    }
}

/* --- when -------------------------------------------------------------------------------- */

bool leases_run(struct replica *self)
{
    watch_time(self);
    self->pass_ms = self->now_ms;
    watch_leadership(self);
    scan(self);
    ask_quorum(self);
    run_expiry(self);
    note_remaining(self);
    run_asks(self);
    return !self->lease_scanned;
}

void leases_init(struct replica *self)
{
    list_init(&self->lease_waiting);
    list_init(&self->lease_away);
    self->lease_scanned = true;
    self->lease_revoke_window = LEASE_REVOKES_MIN;
}

void leases_free(struct replica *self)
{
    struct list *lists[] = {&self->lease_waiting, &self->lease_away};
    for (size_t i = 0; i < 2; i++) {
        LIST_FOREACH_SAFE (node, after, lists[i]) {
            free(LIST_ENTRY(node, struct lease_ask, node));
        }
        list_init(lists[i]);
    }
    free(self->lease_queue);
    free(self->lease_forwards);
}
