#include "sim.h"

#include "base/check.h"
#include "roster.h"

#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#define LINKS_US   (300 * MS)
#define EVENTS_MAX UINT64_C(20000000)
#define RESUME_US  (3 * MS)

/* ---- time --------------------------------------------------------------------------------------
 */

void sim_say(struct sim *sim, const char *format, ...)
{
    if (!sim->options.verbose)
        return;
    va_list args;
    va_start(args, format);
    printf("%9.3f ms  ", (double)sim->now_us / 1000);
    vprintf(format, args);
    printf("\n");
    va_end(args);
}

void sim_fail(struct sim *sim, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fflush(stdout);
    fprintf(stderr, "seed %llu, %llu.%03llu ms: ", (unsigned long long)sim->options.seed,
            (unsigned long long)(sim->now_us / MS), (unsigned long long)(sim->now_us % MS));
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
    fflush(stderr);
    _exit(1);
}

void sim_note(struct sim *sim, uint64_t what, uint64_t more)
{
    uint64_t z = sim->trace ^ what * UINT64_C(0x9e3779b97f4a7c15) ^ more;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    sim->trace = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb) + sim->now_us;
}

uint64_t sim_around(struct sim *sim, uint64_t mean)
{
    uint64_t us = mean / 2 + sim_below(sim, mean + 1);
    return sim_chance(sim, 50) ? us * 5 : us;
}

static bool event_before(const struct event *a, const struct event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static void heap_put(struct sim *sim, struct event event)
{
    if (sim->heap_count == sim->heap_cap) {
        sim->heap_cap = sim->heap_cap ? sim->heap_cap * 2 : 1024;
        sim->heap = realloc(sim->heap, sim->heap_cap * sizeof(sim->heap[0]));
        CHECK(sim->heap);
    }
    size_t at = sim->heap_count++;
    for (; at && event_before(&event, &sim->heap[(at - 1) / 2]); at = (at - 1) / 2)
        sim->heap[at] = sim->heap[(at - 1) / 2];
    sim->heap[at] = event;
}

static struct event heap_take(struct sim *sim)
{
    struct event first = sim->heap[0], last = sim->heap[--sim->heap_count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= sim->heap_count)
            break;
        if (child + 1 < sim->heap_count && event_before(&sim->heap[child + 1], &sim->heap[child]))
            child++;
        if (!event_before(&sim->heap[child], &last))
            break;
        sim->heap[at] = sim->heap[child];
        at = child;
    }
    sim->heap[at] = last;
    return first;
}

void sim_at(struct sim *sim, uint64_t at_us, enum event_kind kind, unsigned who, uint64_t life,
            void *what)
{
    heap_put(sim, (struct event){at_us, sim->next_order++, kind, who, life, what});
}

unsigned sim_members_there(const struct sim *sim, struct node *ret_there[SIM_MEMBERS_MAX])
{
    unsigned count = 0;
    for (unsigned i = 0; i < sim->slots; i++) {
        enum member_state state = sim->members[i]->state;
        if (state != MEMBER_ABSENT && state != MEMBER_LEFT && state != MEMBER_LOST)
            ret_there[count++] = sim->members[i];
    }
    return count;
}

struct node *sim_member_any(struct sim *sim)
{
    struct node *there[SIM_MEMBERS_MAX];
    unsigned count = sim_members_there(sim, there);
    return there[sim_below(sim, count)];
}

/* ---- the end of all faults ---------------------------------------------------------------------
 */

static void heal_all(struct sim *sim)
{
    if (sim->healed) /* since a call was cut: the end is under way */
        return;
    sim_say(sim, "all is well from here on");
    nemesis_end(sim);
    for (unsigned step = 0; step < 8; step++)
        sim_at(sim, sim->now_us + sim->plan.calm_us * (step + 1) / 8, EVENT_END, step, 0, NULL);
}

static void check_end(struct sim *sim)
{
    clients_check_last(sim->clients);
    uint64_t leader = 0;
    changes_check_last(sim);
    for (unsigned i = 0; i < sim->slots; i++) {
        struct node *member = sim->members[i];
        if (member->suspect || !roster_has(oracle_roster(sim->oracle), member->id) ||
            member->state == MEMBER_LOST)
            continue;
        if (member->state != MEMBER_UP)
            sim_fail(sim, "m%u is not up at the end", i);
        struct replica_status status;
        replica_status_get(member_replica(member), &status);
        if (!status.leader_id || (leader && status.leader_id != leader))
            sim_fail(sim, "no one leader at the end: m%u follows %llx", i,
                     (unsigned long long)status.leader_id);
        leader = status.leader_id;
        if (status.applied_index < sim->settled_index)
            sim_fail(sim, "m%u has applied %llu at the end, must be %llu", i,
                     (unsigned long long)status.applied_index,
                     (unsigned long long)sim->settled_index);
        const struct replica_view *view = member_view_enter(member);
        oracle_compare(sim->oracle, member, view);
        member_view_leave(member);
        sim_note(sim, disk_hash(member->disk), i);
    }
}

static void end_step(struct sim *sim, unsigned step)
{
    if (step < 4) {
        clients_disarm(sim->clients); /* one alarm each time */
    } else if (step == 4) {
        clients_last(sim->clients);
    } else if (step == 5) {
        clients_stop(sim->clients);
    } else if (step == 6) { /* what leases come to goes on */
        sim->settled_index = oracle_last(sim->oracle);
    } else if (step == 7) {
        check_end(sim);
        sim->ended = true;
    }
}

static void start(struct sim *sim)
{
    nemesis_plan(sim);
    if (sim->options.crash.on)
        crash_plan(sim);
    sim->oracle = oracle_new(sim);
    sim->model = model_new(sim);
    for (unsigned i = 0; i < sim->slots; i++) {
        sim->members[i] = member_new(sim, i);
        if (sim->members[i]->state == MEMBER_DOWN)
            sim_at(sim, sim_below(sim, 300 * MS), EVENT_BOOT, i, 0, NULL);
    }
    sim->clients = clients_new(sim);
    changes_start(sim);
    nemesis_start(sim);
    sim_at(sim, LINKS_US, EVENT_LINKS, 0, 0, NULL);
    sim_at(sim, sim->plan.chaos_us, EVENT_CALM, 0, 0, NULL);
    sim_say(sim, "%u members, %u clients, %u keys, chaos for %llu ms", sim->plan.members,
            sim->plan.clients, sim->plan.keys, (unsigned long long)(sim->plan.chaos_us / MS));
}

/* ---- running -----------------------------------------------------------------------------------
 */

/* A stopped process' events wait for it; which of its connections it looks at first, and whether
 * before or after its timers, is anybody's guess. */
static void put_off(struct sim *sim, const struct event *event, const struct node *member)
{
    uint64_t late_us =
        event->kind == EVENT_PACKET || event->kind == EVENT_ASK ? sim_below(sim, RESUME_US) : 0;
    sim_at(sim, member->paused_until_us + late_us, event->kind, event->who, event->life,
           event->what);
}

static void happen(struct sim *sim, const struct event *event)
{
    switch (event->kind) {
    case EVENT_PASS:
    case EVENT_LOG_DONE:
    case EVENT_LOG_TICK:
    case EVENT_STORE_DONE:
    case EVENT_STORE_TICK:
    case EVENT_JOB:
    case EVENT_BOOT:
        if (!member_event(sim->members[event->who], event))
            put_off(sim, event, sim->members[event->who]);
        break;
    case EVENT_PACKET:
    case EVENT_ASK: {
        const struct node *to = sim->members[event->who];
        if (to->state == MEMBER_UP && to->paused_until_us > sim->now_us)
            put_off(sim, event, to);
        else if (event->kind == EVENT_ASK)
            network_deliver_ask(sim, event);
        else
            network_deliver(sim, event);
        break;
    }
    case EVENT_STREAM:
        if (!streams_event(sim, event))
            put_off(sim, event, sim->members[event->who]);
        break;
    case EVENT_CHANGE:
        changes_event(sim, event->who);
        break;
    case EVENT_CLIENT:
        clients_event(sim->clients, event->who, event->life);
        break;
    case EVENT_WATCH:
        watchers_event(sim->clients, event->who);
        break;
    case EVENT_NEMESIS:
    case EVENT_FLAP:
    case EVENT_CHASE:
    case EVENT_HEAL:
        nemesis_event(sim, event);
        break;
    case EVENT_LINKS:
        network_links(sim);
        sim_at(sim, sim->now_us + LINKS_US, EVENT_LINKS, 0, 0, NULL);
        break;
    case EVENT_CALM:
        heal_all(sim);
        break;
    case EVENT_END:
        end_step(sim, event->who);
        break;
    case EVENT_KINDS:
        CHECK(false);
    }
}

static void finish(struct sim *sim)
{
    for (size_t i = 0; i < sim->heap_count; i++)
        if (sim->heap[i].kind == EVENT_PACKET)
            network_drop(sim->heap[i].what);
        else if (sim->heap[i].kind == EVENT_ASK)
            free(sim->heap[i].what);
    for (unsigned i = 0; i < sim->slots; i++)
        member_free(sim->members[i]);
    streams_free(sim);
    changes_free(sim);
    clients_free(sim->clients);
    oracle_free(sim->oracle);
    model_free(sim->model);
    free(sim->heap);
}

uint64_t sim_run(const struct sim_options *options, struct sim_counts *counts)
{
    struct sim *sim = calloc(1, sizeof(*sim));
    CHECK(sim);
    sim->options = *options;
    sim->counts = counts;
    prng_init(&sim->prng, options->seed);
    start(sim);
    uint64_t events = 0;
    while (!sim->ended) {
        struct event event = heap_take(sim);
        CHECK(event.at_us >= sim->now_us);
        sim->now_us = event.at_us;
        sim_note(sim, event.kind, event.who);
        happen(sim, &event);
        if (++events > EVENTS_MAX)
            sim_fail(sim, "no end: %llu events", (unsigned long long)events);
    }
    counts->simulated_us += sim->now_us;
    counts->events += events;
    uint64_t trace = sim->trace;
    finish(sim);
    free(sim);
    return trace;
}
