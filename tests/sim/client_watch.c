/* Watchers: clients that come back with the revision that they have not seen, to any member.
 *
 * What must hold (as etcd's own robustness tests name it):
 *   ordered        revisions never fall along a watch, however often it was resumed
 *   unique         no event is told twice
 *   reliable       none is left out
 *   atomic         all events of a revision come in one delivery
 *   resumable      a watch that begins at a revision is told all from there on
 *   bookmarkable   progress names a revision up to which all was told
 *   prev_kv        is the key one revision earlier, where that is not compacted
 *   filter         nothing comes that was filtered out, or lies outside the range
 *   create         a watch is refused, or ends as compacted, only where it must
 * All of it is one comparison: between the first revision that a client has not seen and the last
 * one of a delivery, what was told is what the model says. */
#include "client_priv.h"

#include "base/check.h"

#include <stdlib.h>

#define STEP_US (250 * MS)

static struct watcher_run *run_of(void *owner)
{
    return owner;
}

/* ---- what is told -----------------------------------------------------------------------------
 */

static void watch_fail(const struct watcher_run *run, const char *what, int64_t revision)
{
    sim_fail(run->clients->sim, "m%u, watch %u of [k%02u, k%02u) from %lld: %s at revision %lld",
             run->member, run->number, run->from, run->to, (long long)run->next, what,
             (long long)revision);
}

static bool is_filtered(const struct watcher_run *run, const struct model_change *change)
{
    return run->flags & (change->deleted ? WATCH_NO_DELETE : WATCH_NO_PUT);
}

static void check_before(struct watcher_run *run, const struct watch_event *event, unsigned key,
                         int64_t floor)
{
    struct sim *sim = run->clients->sim;
    struct model_state before = model_get(sim->model, key, event->revision - 1);
    bool wanted = (run->flags & WATCH_PREV_KV) && before.exists && event->revision - 1 >= floor;
    struct mvcc_kv kv;
    if (wanted != (event->before.len > 0))
        watch_fail(run, wanted ? "no prev_kv" : "a prev_kv that must not be there",
                   event->revision);
    if (!wanted)
        return;
    if (!err_ok(mvcc_kv_decode(event->before, &kv)))
        watch_fail(run, "a prev_kv that cannot be read", event->revision);
    struct model_state seen = {true,       kv.create, kv.mod,
                               kv.version, kv.lease,  model_hash_bytes(kv.value)};
    oracle_expect(sim, sim->members[run->member], "prev_kv of a watch", key, &before, &seen);
}

static void check_event(struct watcher_run *run, const struct watch_event *event,
                        const struct model_change *changes, size_t count, int64_t floor)
{
    struct sim *sim = run->clients->sim;
    struct mvcc_kv kv;
    if (!err_ok(mvcc_kv_decode(event->kv, &kv)))
        watch_fail(run, "an event that cannot be read", event->revision);
    for (size_t i = 0; i < count; i++) {
        char name[8];
        model_key_name(changes[i].key, name);
        if (changes[i].revision != event->revision || !bytes_equal(kv.key, bytes_str(name)))
            continue;
        if (changes[i].deleted != event->is_delete)
            watch_fail(run, "a put for a deletion, or the other way round", event->revision);
        struct model_state now = model_get(sim->model, changes[i].key, event->revision);
        struct model_state seen = {true,       kv.create, kv.mod,
                                   kv.version, kv.lease,  model_hash_bytes(kv.value)};
        if (!event->is_delete)
            oracle_expect(sim, sim->members[run->member], "watch", changes[i].key, &now, &seen);
        if (event->is_create != (!event->is_delete && now.version == 1))
            watch_fail(run, "a birth that is none, or none that is one", event->revision);
        check_before(run, event, changes[i].key, floor);
        return;
    }
    watch_fail(run, "an event that never was", event->revision);
}

/* Reads the delivery's events and compares them with what must have come by their last revision. */
static void check_delivery(struct watcher_run *run, const struct watch_delivery *delivery,
                           const struct mvcc_view *view)
{
    struct sim *sim = run->clients->sim;
    struct watch_reader reader = delivery->reader;
    struct model_change *changes;
    int64_t last = view->revision;
    size_t count = model_changes(sim->model, run->from, run->to, run->next, last, &changes);
    size_t told = 0, bytes = 0;
    int64_t revision = 0;
    for (bool found = true; found;) {
        struct watch_event event;
        unsigned budget = 1000000;
        err e = watch_reader_next(&reader, view, &budget, &event, &found);
        if (!err_ok(e))
            watch_fail(run, err_text(e), view->revision);
        if (!found)
            break;
        if (event.revision < revision || event.revision < run->next)
            watch_fail(run, "a revision out of order, or told before", event.revision);
        revision = event.revision;
        check_event(run, &event, changes, count, reader.floor);
        bytes += watch_event_size(&event, event.kv.len, event.before.len);
        told++;
    }
    size_t must = 0;
    for (size_t i = 0; i < count; i++)
        must += changes[i].revision <= revision && !is_filtered(run, &changes[i]);
    if (told != must || told != delivery->count || bytes != delivery->bytes)
        sim_fail(sim, "m%u, watch %u from %lld to %lld: %zu events, must be %zu", run->member,
                 run->number, (long long)run->next, (long long)revision, told, must);
    free(changes);
    sim->counts->watch_events += told;
    run->next = revision + 1;
}

static bool deliver(void *owner, const struct watch_delivery *delivery)
{
    struct watcher_run *run = run_of(owner);
    struct sim *sim = run->clients->sim;
    if (run->blocked)
        watch_fail(run, "told though its stream takes nothing", delivery->revision);
    if (!run->clients->stopped && sim_chance(sim, 100)) {
        run->blocked = true;
        return false;
    }
    if (delivery->watch_id != run->id || delivery->flags != run->flags)
        watch_fail(run, "another watch's delivery", delivery->revision);
    check_delivery(run, delivery, run->clients->watch_view);
    return true;
}

/* It may be told again only from there on. */
static void compacted(void *owner, int64_t watch_id, int64_t compact_revision)
{
    struct watcher_run *run = run_of(owner);
    if (watch_id != run->id || run->next >= compact_revision)
        watch_fail(run, "ended as compacted", compact_revision);
    run->clients->sim->counts->watch_compacted++;
    run->next = compact_revision;
    run->is_over = true;
}

static void progress(void *owner, int64_t watch_id, int64_t revision)
{
    struct watcher_run *run = run_of(owner);
    struct model_change *changes;
    (void)watch_id;
    size_t count =
        model_changes(run->clients->sim->model, run->from, run->to, run->next, revision, &changes);
    for (size_t i = 0; i < count; i++)
        if (!is_filtered(run, &changes[i]))
            watch_fail(run, "progress ahead of an event", changes[i].revision);
    free(changes);
    run->clients->sim->counts->watch_progress++;
    if (revision >= run->next)
        run->next = revision + 1;
}

const struct watch_ops watchers_ops = {deliver, compacted, progress};

/* ---- coming and going -------------------------------------------------------------------------
 */

static void disconnect(struct watcher_run *run, bool hub_lives)
{
    struct node *member = run->clients->sim->members[run->member];
    if (run->connected && hub_lives)
        watch_stream_free(member_hub(member), run->stream);
    run->connected = run->blocked = run->is_over = false;
}

static void connect(struct watcher_run *run, struct node *member)
{
    struct sim *sim = run->clients->sim;
    const struct replica_view *view = member_view_enter(member);
    char from[8], to[8];
    model_key_name(run->from, from);
    model_key_name(run->to, to);
    struct watch_spec spec = {.key = bytes_str(from),
                              .range_end = bytes_str(to),
                              .start_revision = run->next,
                              .id = sim_chance(sim, 500) ? 7 : 0,
                              .flags = run->flags};
    if (view->applied_index <= oracle_last(sim->oracle)) {
        run->member = member->at;
        run->stream = watch_stream_new(member_hub(member), run);
        run->connected = true;
        err e = watch_create(member_hub(member), run->stream, &spec, view->mvcc, &run->id);
        if (!err_ok(e) || (spec.id && run->id != spec.id))
            watch_fail(run, "refused", view->mvcc->revision);
        if (!run->next) /* what the response's header says */
            run->next = view->mvcc->revision + 1;
        sim->counts->watch_begun++;
    }
    member_view_leave(member);
    member_wake(member);
}

static void step(struct watcher_run *run)
{
    struct clients *clients = run->clients;
    struct sim *sim = clients->sim;
    struct node *member = sim->members[run->member];
    if (run->connected && !member_runs(member))
        return;
    if (run->is_over || (run->connected && !clients->stopped && sim_chance(sim, 80)))
        disconnect(run, true);
    if (!run->connected) {
        struct node *other = sim_member_any(sim);
        if (member_runs(other) && !other->suspect)
            connect(run, other);
        return;
    }
    if (run->blocked && (clients->stopped || sim_chance(sim, 400))) {
        run->blocked = false;
        watch_stream_ready(member_hub(member), run->stream);
    } else if (sim_chance(sim, 200)) {
        watch_stream_ask_progress(member_hub(member), run->stream);
    } else if (sim_chance(sim, 200)) {
        uint32_t place = 0;
        unsigned budget = 1000;
        (void)watch_stream_notify(member_hub(member), run->stream, &place, &budget);
    }
    member_wake(member);
}

void watchers_event(struct clients *self, unsigned who)
{
    step(&self->watchers[who]);
    sim_at(self->sim, self->sim->now_us + sim_around(self->sim, STEP_US), EVENT_WATCH, who, 0,
           NULL);
}

void watchers_run(struct clients *self, struct node *member)
{
    struct sim *sim = self->sim;
    unsigned budget = 1 + (unsigned)sim_below(sim, 200);
    if (!sim->plan.watchers || member->suspect)
        return;
    const struct replica_view *view = member_view_enter(member);
    self->watch_view = view->mvcc;
    bool more = view->applied_index <= oracle_last(sim->oracle) &&
                watch_hub_run(member_hub(member), view->mvcc, member_ms(member), &budget);
    err e = watch_hub_fault(member_hub(member));
    self->watch_view = NULL;
    member_view_leave(member);
    if (err_is(e, ERR_CORRUPT))
        sim_fail(sim, "m%u: watching: %s", member->at, err_text(e));
    if (!err_ok(e)) { /* what it was reading has gone: its clients come back */
        watchers_member_ended(self, member);
        member_hub_renew(member);
    }
    if (more)
        member_wake(member);
}

void watchers_member_ended(struct clients *self, const struct node *member)
{
    for (unsigned i = 0; i < self->sim->plan.watchers; i++)
        if (self->watchers[i].connected && self->watchers[i].member == member->at)
            disconnect(&self->watchers[i], false);
}

void watchers_check_last(struct clients *self)
{
    struct sim *sim = self->sim;
    int64_t settled = oracle_revision_at(sim->oracle, sim->settled_index);
    for (unsigned i = 0; i < sim->plan.watchers; i++) {
        struct watcher_run *run = &self->watchers[i];
        struct model_change *changes;
        struct node *member = sim->members[run->member];
        /* Who was removed may not have heard of that, and hears of nothing more. */
        if (!run->connected || member->suspect || changes_may_leave(sim, member))
            continue;
        size_t count = model_changes(sim->model, run->from, run->to, run->next, settled, &changes);
        for (size_t c = 0; c < count; c++)
            if (!is_filtered(run, &changes[c]))
                watch_fail(run, "an event that is never told", changes[c].revision);
        free(changes);
    }
}

void watchers_init(struct clients *self)
{
    static const unsigned filters[] = {0, 0, 0, WATCH_NO_PUT, WATCH_NO_DELETE};
    struct sim *sim = self->sim;
    for (unsigned i = 0; i < sim->plan.watchers; i++) {
        unsigned from = (unsigned)sim_below(sim, sim->plan.keys);
        unsigned to = from + 1 + (unsigned)sim_below(sim, sim->plan.keys - from);
        self->watchers[i] = (struct watcher_run){
            .clients = self,
            .number = i,
            .from = sim_chance(sim, 400) ? 0 : from,
            .to = to,
            .flags = filters[sim_below(sim, 5)] | (sim_chance(sim, 500) ? WATCH_PREV_KV : 0) |
                     WATCH_NOTIFY};
        sim_at(sim, 1500 * MS + sim_below(sim, SECOND), EVENT_WATCH, i, 0, NULL);
    }
}
