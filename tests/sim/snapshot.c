/* States on their way from one member to another: production reads them (server/state_out.c) and
 * takes them in (server/state_in.c); what lies between is the wire's.
 *
 *     asked ─ moment fixed ─ head ─> [ read ─ piece ─> ]… end ─> answered ─ SENT or FAILED
 *
 * It is cut with its connection, by the end of either member, and now and then by itself; the
 * leader then sends another.
 *
 *  1. what came whole, from who has no rotten bytes, is of use. */
#include "sim.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/check.h"
#include "member_priv.h"
#include "wal/raft_codec.h"

#include <stdlib.h>

#define POLL_US     (20 * MS)
#define ANSWER_US   (30 * SECOND)
#define STREAMS_MAX 4 /* of one member, as the peers have it */

enum step { STEP_OPEN, STEP_HEAD, STEP_READ, STEP_PIECE, STEP_ANSWER };

/* One event of it is under way at any time. */
struct stream {
    struct stream *next;
    struct sim *sim;
    unsigned from, to;
    uint64_t from_life, to_life; /* to_life 0: it has not arrived there */
    enum step step;
    struct peer_snapshot_body body;
    struct raft_message *message;
    struct buf bytes; /* of the head, then of a piece */
    bool read_all, paused, answered, failed, unreadable;
    void *taken; /* at the receiver */
    err answer;
    uint64_t asked_at_us; /* for the answer */
};

static bool lives(const struct sim *sim, unsigned at, uint64_t life)
{
    const struct node *member = sim->members[at];
    return member->state == MEMBER_UP && member->life_number == life;
}

static void next(struct stream *self, enum step step, uint64_t after_us)
{
    self->step = step;
    bool receives = step == STEP_HEAD || step == STEP_PIECE;
    sim_at(self->sim, self->sim->now_us + after_us, EVENT_STREAM, receives ? self->to : self->from,
           0, self);
}

static uint64_t delay(struct sim *sim)
{
    return 100 + sim->plan.delay_us + sim_below(sim, sim->plan.jitter_us + 1);
}

/* ---- ends -------------------------------------------------------------------------------------
 */

static void stream_free(struct stream *self)
{
    struct stream **at = &self->sim->streams;
    while (*at != self)
        at = &(*at)->next;
    *at = self->next;
    raft_message_free(self->message);
    buf_done(&self->bytes);
    free(self);
}

static void cut_there(void *ctx)
{
    struct stream *self = ctx;
    state_in_cut(TAKE(self->taken));
}

/* Over for both, as far as they live. */
static void stream_end(struct stream *self, bool sent)
{
    struct sim *sim = self->sim;
    struct node *from = sim->members[self->from], *to = sim->members[self->to];
    bool began = self->to_life != 0;
    if (self->taken && lives(sim, self->to, self->to_life))
        (void)member_inside(to, cut_there, self);
    if (lives(sim, self->from, self->from_life)) {
        self->body.free(self->body.ctx);
        replica_peer_report(member_replica(from), self->message->to,
                            sent               ? PEER_SNAPSHOT_SENT
                            : self->unreadable ? PEER_STATE_UNREADABLE
                                               : PEER_SNAPSHOT_FAILED,
                            (struct cluster_version){0, 0}, member_ms(from));
        member_wake(from);
    }
    *(sent ? &sim->counts->snapshot_sent : &sim->counts->snapshot_cut) += began;
    sim_say(sim, "the state from m%u to m%u %s", self->from, self->to,
            sent ? "has arrived" : "is cut");
    stream_free(self);
}

void streams_life_over(struct node *member)
{
    for (struct stream *at = member->sim->streams; at; at = at->next) {
        if (at->from == member->at && at->from_life == member->life_number)
            at->body.free(at->body.ctx);
        if (at->to == member->at && at->to_life == member->life_number && at->taken)
            state_in_cut(TAKE(at->taken));
    }
}

void streams_free(struct sim *sim)
{
    while (sim->streams)
        stream_free(sim->streams);
}

/* ---- steps ------------------------------------------------------------------------------------
 */

static void do_open(void *ctx)
{
    struct stream *self = ctx;
    /* Our own copy. */
    struct raft_snapshot *snapshot = (struct raft_snapshot *)(uintptr_t)self->message->snapshot;
    err e = self->body.open(self->body.ctx, snapshot);
    self->failed = !err_ok(e) || !err_ok(raft_codec_message_encode(self->message, &self->bytes));
}

static void do_begin(void *ctx)
{
    struct stream *self = ctx;
    struct node *to = self->sim->members[self->to];
    struct arena arena AUTO(arena_done);
    struct raft_message message;
    arena_init(&arena, 4096);
    err e = raft_codec_message_decode(buf_bytes(&self->bytes), &arena, &message);
    CHECK(err_ok(e));
    self->to_life = to->life_number;
    self->taken = message.to == to->id ? state_in_begin(to->life->in, &message,
                                                        (struct peer_snapshot_in *)(void *)self)
                                       : NULL;
    self->failed = !self->taken;
}

static void do_read(void *ctx)
{
    struct stream *self = ctx;
    size_t enough = 4096 + sim_below(self->sim, 131072);
    buf_clear(&self->bytes);
    err e = self->body.read(self->body.ctx, enough, &self->bytes, &self->read_all);
    self->failed = !err_ok(e);
    self->unreadable = err_is(e, ERR_CORRUPT);
}

static void do_piece(void *ctx)
{
    struct stream *self = ctx;
    self->paused = !state_in_piece(self->taken, buf_bytes(&self->bytes));
    if (self->read_all)
        state_in_end(self->taken);
}

/* False: its member ended in it. */
static bool act(struct stream *self)
{
    struct sim *sim = self->sim;
    struct node *from = sim->members[self->from], *to = sim->members[self->to];
    switch (self->step) {
    case STEP_OPEN:
        return member_inside(from, do_open, self);
    case STEP_HEAD:
        return to->state == MEMBER_UP && member_inside(to, do_begin, self);
    case STEP_READ:
        return self->paused || member_inside(from, do_read, self);
    case STEP_PIECE:
        return self->answered || member_inside(to, do_piece, self);
    case STEP_ANSWER:
        break;
    }
    return true;
}

static void go_on(struct stream *self)
{
    struct sim *sim = self->sim;
    switch (self->step) {
    case STEP_OPEN:
        next(self, STEP_HEAD, delay(sim));
        break;
    case STEP_HEAD:
        next(self, STEP_READ, delay(sim));
        break;
    case STEP_READ:
        if (self->paused)
            next(self, STEP_READ, POLL_US);
        else
            next(self, STEP_PIECE, delay(sim) + sim_below(sim, 500));
        break;
    case STEP_PIECE:
        self->asked_at_us = sim->now_us;
        next(self, self->read_all ? STEP_ANSWER : STEP_READ, delay(sim));
        break;
    case STEP_ANSWER:
        if (self->answered)
            stream_end(self, err_ok(self->answer));
        else
            next(self, STEP_ANSWER, POLL_US);
        break;
    }
}

bool streams_event(struct sim *sim, const struct event *event)
{
    struct stream *self = event->what;
    struct node *actor = sim->members[event->who];
    if (actor->state == MEMBER_UP && actor->paused_until_us > sim->now_us)
        return false;
    bool was_answered = self->answered && err_ok(self->answer); /* whatever became of it since */
    bool torn = !lives(sim, self->from, self->from_life) ||
                (self->to_life && !was_answered && !lives(sim, self->to, self->to_life)) ||
                sim->cut[self->from][self->to] || sim->cut[self->to][self->from] ||
                (self->answered && !err_ok(self->answer)) ||
                (!sim->healed && sim_chance(sim, sim->plan.stream_cut_permille)) ||
                (self->step == STEP_ANSWER && sim->now_us > self->asked_at_us + ANSWER_US);
    if (torn || !act(self) || self->failed)
        stream_end(self, false);
    else
        go_on(self);
    return true;
}

/* ---- both ends --------------------------------------------------------------------------------
 */

static void refused(struct node *from, uint64_t to)
{
    replica_peer_report(member_replica(from), to, PEER_SNAPSHOT_FAILED,
                        (struct cluster_version){0, 0}, member_ms(from));
}

void streams_send(struct node *from, const struct raft_message *message)
{
    struct sim *sim = from->sim;
    const struct node *to = network_member(sim, message->to);
    unsigned count = 0;
    bool another = false;
    for (const struct stream *at = sim->streams; at; at = at->next) {
        bool ours = at->from == from->at && at->from_life == from->life_number;
        count += ours;
        another = another || (ours && to && at->to == to->at);
    }
    sim_say(sim, "m%u sends its state at %llu to m%u", from->at,
            (unsigned long long)message->snapshot->index, to ? to->at : SIM_MEMBERS_MAX);
    if (!to || to->state != MEMBER_UP || another || count >= STREAMS_MAX ||
        sim->cut[from->at][to->at]) {
        refused(from, message->to);
        return;
    }
    struct stream *self = calloc(1, sizeof(*self));
    CHECK(self);
    self->sim = sim;
    self->from = from->at;
    self->to = to->at;
    self->from_life = from->life_number;
    self->body = state_out_body(&from->life->out);
    self->message = raft_message_copy(message);
    buf_init(&self->bytes, 0);
    self->next = sim->streams;
    sim->streams = self;
    next(self, STEP_OPEN, delay(sim));
}

static void answer(struct peer_snapshot_in *from, err error)
{
    struct stream *self = (struct stream *)(void *)from;
    self->taken = NULL;
    self->answered = true;
    self->answer = error;
}

static void resume(struct peer_snapshot_in *from)
{
    ((struct stream *)(void *)from)->paused = false;
}

static uint64_t now_ms(void *ctx)
{
    return member_ms(ctx);
}

static void post(void *ctx, struct io_job *job)
{
    struct node *self = ctx;
    CHECK(self->life->job_count < LIFE_JOBS_MAX);
    self->life->jobs[self->life->job_count++] = (struct life_job){.job = job};
    member_job_later(self, job, false);
}

/* Whose bytes were changed under it may have sent it. */
static void useless(void *ctx, err error, const char *reason)
{
    struct node *self = ctx;
    sim_say(self->sim, "m%u cannot use the state that it received: %s (%s)", self->at, reason,
            err_name(error));
    bool excused = self->error_hit || self->full || err_is(error, ERR_DISK_FULL);
    for (unsigned i = 0; i < self->sim->slots; i++)
        excused = excused || self->sim->members[i]->suspect;
    if (!excused)
        sim_fail(self->sim, "m%u has received a state that is of no use: %s (%s)", self->at, reason,
                 err_name(error));
}

void streams_open(struct node *self, const struct boot_config *boot)
{
    struct life *life = self->life;
    state_out_init(&life->out, life->replica, &life->epoch, life->pins);
    life->out.now_ms = now_ms;
    life->out.now_ctx = self;
    const struct state_in_wire wire = {.post = post,
                                       .now_ms = now_ms,
                                       .answer = answer,
                                       .resume = resume,
                                       .useless = useless,
                                       .ctx = self};
    const struct state_in_config in = {.wire = &wire,
                                       .core = life->core,
                                       .replica = life->replica,
                                       .build = boot_build_config(&life->boot, boot),
                                       .config = &life->config};
    life->in = state_in_new(&in);
}

void streams_job(struct node *self, struct io_job *job)
{
    struct life *life = self->life;
    unsigned at = 0;
    while (life->jobs[at].job != job)
        CHECK(++at < life->job_count);
    if (!life->jobs[at].worked) {
        job->work(job);
        life->jobs[at].worked = true;
        member_job_later(self, job, true);
        return;
    }
    life->jobs[at] = life->jobs[--life->job_count];
    job->done(job);
    member_wake(self);
}

/* What its workers had not begun comes back given up. */
void streams_close(struct life *life)
{
    state_in_give_up(life->in);
    while (life->job_count) {
        struct io_job *job = life->jobs[--life->job_count].job;
        job->done(job);
    }
    state_in_free(TAKE(life->in));
    state_out_done(&life->out);
}
