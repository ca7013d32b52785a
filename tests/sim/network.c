/* Messages go as etcd's bytes, so that what arrives has passed the production codec. */
#include "sim.h"

#include "base/buf.h"
#include "base/check.h"
#include "wal/raft_codec.h"

#include <stdlib.h>

struct packet {
    unsigned from, to;
    uint64_t from_id, to_id;
    struct raft_blob *blob;
    struct bytes bytes;
};

struct node *network_member(struct sim *sim, uint64_t id)
{
    for (unsigned i = 0; i < sim->slots; i++)
        if (sim->members[i]->id == id)
            return sim->members[i];
    return NULL;
}

void network_drop(void *packet)
{
    struct packet *self = packet;
    raft_blob_unref(self->blob);
    free(self);
}

static void post(struct sim *sim, unsigned from, unsigned to, struct raft_blob *blob,
                 struct bytes bytes)
{
    struct packet *packet = calloc(1, sizeof(*packet));
    CHECK(packet);
    *packet = (struct packet){.from = from,
                              .to = to,
                              .from_id = sim->members[from]->id,
                              .to_id = sim->members[to]->id,
                              .blob = raft_blob_ref(blob),
                              .bytes = bytes};
    uint64_t delay_us = 50 + sim->plan.delay_us + sim_below(sim, sim->plan.jitter_us + 1);
    if (sim_chance(sim, sim->plan.reorder_permille)) {
        /* A few come when everybody has long gone on. */
        delay_us += sim_below(sim, sim_chance(sim, 100) ? 4 * SECOND : 300 * MS);
        sim->counts->message_reordered++;
    }
    sim->counts->message_delayed += delay_us > 20 * MS;
    sim_at(sim, sim->now_us + delay_us, EVENT_PACKET, to, 0, packet);
}

static void send_one(struct node *from, const struct raft_message *message)
{
    struct sim *sim = from->sim;
    oracle_send(sim->oracle, from, message);
    struct node *to = network_member(sim, message->to);
    if (!to)
        return;
    sim_note(sim, message->type, message->to ^ message->index << 8 ^ message->term << 40);
    if (sim->cut[from->at][to->at] || to->state != MEMBER_UP) {
        sim->counts->message_cut++;
        if (sim_chance(sim, 250))
            replica_peer_report(member_replica(from), to->id, PEER_UNREACHABLE,
                                (struct cluster_version){0, 0}, member_ms(from));
        return;
    }
    if (sim_chance(sim, sim->plan.loss_permille)) {
        sim->counts->message_lost++;
        return;
    }
    struct buf buf;
    buf_init(&buf, 0);
    err e = raft_codec_message_encode(message, &buf);
    CHECK(err_ok(e));
    struct bytes bytes;
    struct raft_blob *blob = raft_blob_copy(buf_bytes(&buf), &bytes);
    post(sim, from->at, to->at, blob, bytes);
    if (message->type != RAFT_MSG_PROP && sim_chance(sim, sim->plan.duplicate_permille)) {
        sim->counts->message_duplicated++;
        post(sim, from->at, to->at, blob, bytes);
    }
    raft_blob_unref(blob);
    buf_done(&buf);
}

void network_send(struct node *from, const struct raft_message *messages, size_t count)
{
    for (size_t i = 0; i < count; i++)
        send_one(from, &messages[i]);
}

/* Who was removed is told so, as a POST is answered; whom it takes for another hears nothing. */
static bool accepts(struct node *to, const struct packet *packet)
{
    struct sim *sim = to->sim;
    struct node *from = sim->members[packet->from];
    if (to->id != packet->to_id)
        return false;
    const struct replica_view *view = member_view_enter(to);
    bool removed = membership_was_removed(view->members, packet->from_id);
    member_view_leave(to);
    if (removed && from->id == packet->from_id && !sim->cut[packet->to][packet->from])
        member_told_removed(from);
    return !removed;
}

void network_deliver(struct sim *sim, const struct event *event)
{
    struct packet *packet = event->what;
    struct node *to = sim->members[packet->to];
    if (to->state == MEMBER_UP && !sim->cut[packet->from][packet->to] && accepts(to, packet)) {
        struct arena arena;
        struct raft_message message;
        arena_init(&arena, 4096);
        err e = raft_codec_message_decode(packet->bytes, &arena, &message);
        CHECK(err_ok(e));
        for (size_t i = 0; i < message.entry_count; i++)
            ((struct raft_entry *)(uintptr_t)message.entries)[i].blob = packet->blob;
        member_step(to, &message);
        arena_done(&arena);
    } else {
        sim->counts->message_cut++;
    }
    network_drop(packet);
}

/* Streams go to those whom a member knows, and are refused to whom the other knows as removed. */
static bool dials(struct node *from, struct node *to, bool up)
{
    const struct replica_view *view = member_view_enter(from);
    bool known = membership_find(view->members, to->id) != NULL;
    member_view_leave(from);
    if (!known || !up)
        return known;
    view = member_view_enter(to);
    bool removed = membership_was_removed(view->members, from->id);
    member_view_leave(to);
    if (removed)
        member_told_removed(from);
    return !removed;
}

/* What connections would notice, some time after it has happened. */
void network_links(struct sim *sim)
{
    for (unsigned a = 0; a < sim->slots; a++) {
        for (unsigned b = 0; b < sim->slots; b++) {
            struct node *from = sim->members[a], *to = sim->members[b];
            if (a == b || !member_runs(from))
                continue;
            bool up = member_runs(to) && !sim->cut[a][b] && !sim->cut[b][a];
            if (sim->changes && !dials(from, to, up))
                continue;
            if (up == sim->linked[a][b])
                continue;
            sim->linked[a][b] = up;
            member_report(from, to->id, up);
        }
    }
}

/* ---- questions about leases -------------------------------------------------------------------
 */

struct question {
    bool is_promotion;
    unsigned from, to;
    uint64_t life; /* of who is answered */
    uint64_t ask;
    enum replica_lease_kind kind;
    int64_t lease_id;
    bool is_answer;
    err error;
    struct replica_lease_answer answer;
};

static void post_question(struct sim *sim, const struct question *what)
{
    struct question *question = malloc(sizeof(*question));
    CHECK(question);
    *question = *what;
    uint64_t delay_us = 100 + sim->plan.delay_us + sim_below(sim, sim->plan.jitter_us + 1);
    if (sim_chance(sim, sim->plan.loss_permille)) { /* sent again by what lies below */
        delay_us += 200 * MS;
        sim->counts->message_delayed++;
    }
    sim_at(sim, sim->now_us + delay_us, EVENT_ASK, what->to, 0, question);
}

void network_ask(struct node *from, const struct replica_lease_forward *ask)
{
    const struct node *to = network_member(from->sim, ask->leader_id);
    if (!to)
        return;
    post_question(from->sim, &(struct question){.from = from->at,
                                                .to = to->at,
                                                .life = from->life_number,
                                                .ask = ask->ask,
                                                .kind = ask->kind,
                                                .lease_id = ask->lease_id});
}

void network_ask_promotion(struct node *from, const struct replica_promote_forward *ask)
{
    const struct node *to = network_member(from->sim, ask->leader_id);
    struct question question = {.is_promotion = true,
                                .from = from->at,
                                .to = to ? to->at : from->at,
                                .life = from->life_number,
                                .ask = ask->ask,
                                .lease_id = (int64_t)ask->member_id};
    if (to)
        post_question(from->sim, &question);
}

void network_answer(struct node *from, const struct served_ask *served, err error,
                    const struct replica_lease_answer *answer)
{
    struct question question = {.is_promotion = served->is_promotion,
                                .from = from->at,
                                .to = served->from,
                                .life = served->from_life,
                                .ask = served->ask,
                                .is_answer = true,
                                .error = error,
                                .answer = *answer};
    question.answer.ids = NULL;
    question.answer.id_count = 0;
    post_question(from->sim, &question);
}

static void answered(struct node *whom, const struct question *question, err error)
{
    if (question->is_promotion)
        member_promotion_answered(whom, question->life, question->ask, error);
    else
        member_lease_answered(whom, question->life, question->ask, error, &question->answer);
}

void network_deliver_ask(struct sim *sim, const struct event *event)
{
    struct question *question = event->what;
    struct node *to = sim->members[question->to];
    bool arrives = to->state == MEMBER_UP && !sim->cut[question->from][question->to];
    if (arrives && question->is_answer) {
        answered(to, question, question->error);
    } else if (arrives && question->is_promotion) {
        member_serve_promotion(to, question->from, question->life, question->ask,
                               (uint64_t)question->lease_id);
    } else if (arrives) {
        member_serve_lease(to, question->from, question->life, question->ask, question->kind,
                           question->lease_id);
    } else {
        sim->counts->message_cut++;
        /* The connection's end is noticed after a while, by who asked. */
        unsigned asker = question->is_answer ? question->to : question->from;
        question->answer = (struct replica_lease_answer){0};
        answered(sim->members[asker], question, ERR_TIMEOUT);
    }
    free(question);
}
