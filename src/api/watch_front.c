#include "api/watch_internal.h"

#include "base/check.h"
#include "base/clock.h"

#include <stdlib.h>

/* Steps of the hub between two looks at the clock: about a tenth of a millisecond. */
#define RUN_BUDGET 256
/* A stream that wants a leader ends after so many election timeouts without one. */
#define LEADERLESS_TIMEOUTS 3

/* ── Owners ─────────────────────────────────────────────────────────────────────────────────── */

static bool dispatch_deliver(void *owner, const struct watch_delivery *delivery)
{
    return ((struct watch_owner *)owner)->ops->deliver(owner, delivery);
}

static void dispatch_compacted(void *owner, int64_t watch_id, int64_t compact_revision)
{
    ((struct watch_owner *)owner)->ops->compacted(owner, watch_id, compact_revision);
}

static void dispatch_progress(void *owner, int64_t watch_id, int64_t revision)
{
    ((struct watch_owner *)owner)->ops->progress(owner, watch_id, revision);
}

static const struct watch_ops dispatch = {dispatch_deliver, dispatch_compacted, dispatch_progress};

static struct watch_hub *new_hub(struct watch_front *self)
{
    const struct watch_hub_config config = {
        .seed = prng_next(&self->prng), .pins = self->front->config.pins, .ops = &dispatch};
    return watch_hub_new(&config);
}

void watch_front_want_views(struct watch_front *self)
{
    atomic_store(&self->wanted, true);
    atomic_thread_fence(memory_order_seq_cst); /* before the next look at the view: below */
}

void watch_owner_init(struct watch_owner *self, struct watch_front *watch)
{
    self->stream = watch_stream_new(watch->hub, self);
    list_push(&watch->owners, &self->node);
    watch_front_want_views(watch);
}

void watch_owner_done(struct watch_owner *self, struct watch_front *watch)
{
    list_remove(&self->node);
    if (!self->stream)
        return;
    watch_stream_free(watch->hub, self->stream);
    watch_front_wake(watch);
}

/* ── Running ────────────────────────────────────────────────────────────────────────────────── */

void watch_front_wake(struct watch_front *self)
{
    io_loop_wake(self->front->config.loop);
}

/* Changes cannot be read any more: everybody begins again, here or at another member. */
static void lose_hub(struct watch_front *self)
{
    err why = watch_hub_fault(self->hub);
    LIST_FOREACH_SAFE (node, after, &self->owners) {
        struct watch_owner *owner = LIST_ENTRY(node, struct watch_owner, node);
        list_remove(node);
        owner->stream = NULL;
        owner->lost(owner, why);
    }
    watch_metrics_count(self);
    watch_hub_free(self->hub);
    self->hub = new_hub(self);
    self->counted.events = 0; /* the gauges are taken back by the next count */
}

static bool run_hub(struct watch_front *self, const struct mvcc_view *view, uint64_t begin_ns)
{
    uint64_t now_ms = io_loop_now_ms(self->front->config.loop);
    bool more;
    self->ran_ms = now_ms;
    self->told_responses = self->told_events = 0;
    do {
        unsigned budget = RUN_BUDGET;
        more = watch_hub_run(self->hub, view, now_ms, &budget);
    } while (more && !front_slice_over(self->front, begin_ns));
    if (self->told_responses)
        watch_metrics_told(clock_mono_ns() - begin_ns, self->told_responses, self->told_events);
    return more;
}

static bool run_busy(struct watch_front *self, uint64_t begin_ns)
{
    while (!list_empty(&self->busy)) {
        if (front_slice_over(self->front, begin_ns))
            return true;
        struct watch_client *client = LIST_ENTRY(self->busy.next, struct watch_client, busy_node);
        unsigned budget = RUN_BUDGET;
        if (watch_client_work(client, &budget))
            list_remove(&client->busy_node);
    }
    return false;
}

/* Streams that said they want a leader; the others go on with what is known here. */
static void end_leaderless(struct watch_front *self)
{
    struct front *front = self->front;
    for (uint32_t i = 0; i < front->slot_cap; i++) {
        struct request *request = front->slots[i];
        if (request && request->wants_leader && request->state == REQUEST_OPEN)
            request_fail(request, ERR_NO_LEADER);
    }
}

static uint64_t watch_leader(struct watch_front *self, const struct replica_view *view)
{
    uint64_t limit_ms = LEADERLESS_TIMEOUTS * self->front->config.election_timeout_ms;
    uint64_t now_ms = io_loop_now_ms(self->front->config.loop);
    if (view->leader_id || !view->leaderless_since_ms)
        return IO_WHEEL_NEVER;
    if (now_ms < view->leaderless_since_ms + limit_ms)
        return view->leaderless_since_ms + limit_ms;
    end_leaderless(self);
    return now_ms + limit_ms;
}

static void arm(struct watch_front *self, uint64_t leader_ms)
{
    uint64_t due_ms = self->ran_ms + WATCH_HUB_IDLE_MS;
    io_loop_timer_at(self->front->config.loop, &self->timer,
                     leader_ms < due_ms ? leader_ms : due_ms);
}

static bool run(void *ctx)
{
    struct watch_front *self = ctx;
    struct front *front = self->front;
    bool idle = self->counted.streams == 0 && self->counted.watchers == 0;
    if (list_empty(&self->owners) && idle && front->leader_wishes == 0) {
        atomic_store_explicit(&self->wanted, false, memory_order_relaxed);
        return false;
    }
    front_guard_enter(front);
    const struct replica_view *view = front_view(front);
    uint64_t begin_ns = clock_mono_ns();
    uint64_t idle_ms = io_loop_now_ms(front->config.loop) - self->ran_ms;
    bool more = false;
    if (watch_hub_has_work(self->hub, view->mvcc) || idle_ms >= WATCH_HUB_IDLE_MS) {
        more = run_hub(self, view->mvcc, begin_ns);
        if (watch_hub_fault(self->hub).code)
            lose_hub(self);
    }
    more = run_busy(self, begin_ns) || more;
    watch_metrics_count(self);
    arm(self, watch_leader(self, view));
    front_guard_leave(front);
    return more;
}

static void timer_fired(void *ctx)
{
    /* The pass that follows is all there is to do. */
    (void)ctx;
}

void front_view_changed(struct front *front, const struct replica_view *view)
{
    struct watch_front *self = front->watch;
    /* Behind the view's publication: either this sees the wish, or who wishes sees the view. */
    atomic_thread_fence(memory_order_seq_cst);
    if (!self || !atomic_load_explicit(&self->wanted, memory_order_relaxed))
        return;
    if (self->told_revision == view->mvcc->revision && self->told_leader == view->leader_id)
        return;
    self->told_revision = view->mvcc->revision;
    self->told_leader = view->leader_id;
    watch_front_wake(self);
}

/* ── Life ───────────────────────────────────────────────────────────────────────────────────── */

struct watch_front *watch_front_new(struct front *front)
{
    struct watch_front *self = calloc(1, sizeof(*self));
    CHECK(self);
    self->front = front;
    prng_init(&self->prng, front->config.seed);
    self->hub = new_hub(self);
    list_init(&self->owners);
    list_init(&self->busy);
    self->ran_ms = io_loop_now_ms(front->config.loop);
    self->stage = (struct io_stage){.order = FRONT_STAGE_WATCH, .run = run, .ctx = self};
    list_init(&self->stage.node);
    io_timer_init(&self->timer, timer_fired, self);
    io_loop_stage_add(front->config.loop, &self->stage);
    return self;
}

void watch_front_free(struct watch_front *self)
{
    if (!self)
        return;
    CHECK(list_empty(&self->owners));
    io_loop_timer_stop(self->front->config.loop, &self->timer);
    io_loop_stage_remove(self->front->config.loop, &self->stage);
    watch_hub_free(self->hub);
    self->hub = NULL;
    free(self);
}
