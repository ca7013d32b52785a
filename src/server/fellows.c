#include "server/fellows.h"

#include "api/cluster.h"
#include "base/check.h"
#include "server/notices.h"

#include <stdlib.h>

#define MIN_CLUSTER_VERSION "3.0.0"

static uint64_t now_ms(const struct fellows *self)
{
    return io_loop_now_ms(self->loop);
}

static void step(void *ctx, const struct raft_message *message)
{
    struct fellows *self = ctx;
    replica_step(self->replica, message, now_ms(self));
}

static void report(void *ctx, uint64_t peer, enum replica_peer_event event,
                   struct cluster_version version)
{
    struct fellows *self = ctx;
    replica_peer_report(self->replica, peer, event, version, now_ms(self));
}

static const struct replica_view *view(void *ctx)
{
    struct fellows *self = ctx;
    return replica_view_get(self->replica); /* the core's own thread needs no guard */
}

static void notice(void *ctx, const struct peer_notice *what)
{
    struct fellows *self = ctx;
    notice_peer(self->member_id, now_ms(self), what);
    if (what->kind == PEER_NOTICE_REMOVED)
        self->removed(self->ctx);
    if (what->kind == PEER_NOTICE_ACTIVE)
        corruption_member_came(self->corruption);
}

/* ── What they ask, and what only the leader among them can answer ──────────────────────────── */

static uint64_t token_of(const struct fellows *self, uint64_t number)
{
    return (uint64_t)self->front << (64 - TOKEN_FRONT_BITS) | (number & TOKEN_REST);
}

static void lease_asked(void *ctx, uint64_t number, enum replica_lease_kind kind, int64_t lease_id)
{
    struct fellows *self = ctx;
    const struct replica_lease_ask ask = {
        .token = token_of(self, number), .kind = kind, .lease_id = lease_id, .from_member = true};
    replica_ask_leases(self->replica, &ask, 1, now_ms(self));
    core_wake(self->core);
}

static void lease_answered(void *ctx, uint64_t ask, err error,
                           const struct replica_lease_answer *answer)
{
    struct fellows *self = ctx;
    replica_lease_answered(self->replica, ask, error, answer, now_ms(self));
}

static void promotion_asked(void *ctx, uint64_t number, uint64_t member_id)
{
    struct fellows *self = ctx;
    const struct member_change change = {MEMBER_PROMOTE, {.id = member_id}};
    replica_change_members(self->replica, token_of(self, number), &change, true, now_ms(self));
    core_wake(self->core);
}

static void read_asked(void *ctx, uint64_t number)
{
    struct fellows *self = ctx;
    const uint64_t token = token_of(self, number);
    replica_read(self->replica, &token, 1, now_ms(self));
    core_wake(self->core);
}

static void promotion_answered(void *ctx, uint64_t ask, err error)
{
    struct fellows *self = ctx;
    replica_promotion_answered(self->replica, ask, error, now_ms(self));
}

static void hash_asked(void *ctx, uint64_t number, int64_t revision)
{
    struct fellows *self = ctx;
    corruption_hash_asked(self->corruption, number, revision);
}

static void hash_answered(void *ctx, uint64_t number, err error, const struct peer_hash *hash)
{
    struct fellows *self = ctx;
    corruption_hash_answered(self->corruption, number, error, hash);
}

void fellows_reply(struct fellows *self, const struct replica_replies *replies)
{
    for (size_t i = 0; i < replies->count; i++) {
        const struct replica_reply *reply = &replies->items[i];
        uint64_t number = reply->token & TOKEN_REST;
        if (reply->kind == REPLY_LEASE)
            peers_lease_reply(self->peers, number, reply->result.error, &reply->lease);
        else
            peers_question_reply(self->peers, number, reply->result.error);
    }
}

/* ── States ─────────────────────────────────────────────────────────────────────────────────── */

static void *snapshot_begin(void *ctx, const struct raft_message *message,
                            struct peer_snapshot_in *from)
{
    struct fellows *self = ctx;
    return state_in_begin(self->state_in, message, from);
}

void fellows_send_snapshot(struct fellows *self, const struct raft_message *message)
{
    const struct peer_snapshot_body body = state_out_body(&self->state_out);
    peers_send_snapshot(self->peers, message, &body);
}

void fellows_give_up_states(struct fellows *self)
{
    state_in_give_up(self->state_in);
}

/* ── Life ───────────────────────────────────────────────────────────────────────────────────── */

static const struct peers_handler handler = {.step = step,
                                             .report = report,
                                             .lease_asked = lease_asked,
                                             .lease_answered = lease_answered,
                                             .promotion_asked = promotion_asked,
                                             .read_asked = read_asked,
                                             .promotion_answered = promotion_answered,
                                             .hash_asked = hash_asked,
                                             .hash_answered = hash_answered,
                                             .snapshot_begin = snapshot_begin,
                                             .snapshot_piece = state_in_piece,
                                             .snapshot_end = state_in_end,
                                             .snapshot_cut = state_in_cut,
                                             .view = view,
                                             .notice = notice};

err fellows_open(struct fellows *self, const struct fellows_config *config)
{
    const struct config *settings = config->config;
    size_t count = settings->advertise_peer_urls.count;
    *self = (struct fellows){.loop = config->loop,
                             .core = config->core,
                             .replica = config->replica,
                             .member_id = config->member_id,
                             .front = config->front,
                             .urls = calloc(count + 1, sizeof(self->urls[0])),
                             .removed = config->removed,
                             .ctx = config->ctx};
    CHECK(self->urls);
    state_out_init(&self->state_out, config->replica, config->epoch, config->pins);
    self->state_in = state_in_new(&(struct state_in_config){.loop = config->loop,
                                                            .bulk = config->bulk,
                                                            .core = config->core,
                                                            .replica = config->replica,
                                                            .build = *config->build,
                                                            .config = settings});
    for (size_t i = 0; i < count; i++)
        self->urls[i] = settings->advertise_peer_urls.items[i].text;
    struct peers_config peers = {
        .loop = config->loop,
        .workers = config->workers,
        .bulk = config->bulk,
        .member_id = config->member_id,
        .cluster_id = config->cluster_id,
        .peer_urls = self->urls,
        .peer_url_count = count,
        .server_version = ETCD_VERSION,
        .min_cluster_version = MIN_CLUSTER_VERSION,
        .dial_timeout_ms = 1000 + settings->election_timeout_ms,
        .read_timeout_ms = (uint64_t)settings->raft_read_timeout_ns / 1000000,
        .write_timeout_ms = (uint64_t)settings->raft_write_timeout_ns / 1000000};
    return peers_new(&peers, &handler, self, &self->peers);
}

void fellows_close(struct fellows *self)
{
    peers_free(self->peers);
    self->peers = NULL;
    state_in_free(self->state_in);
    self->state_in = NULL;
    state_out_done(&self->state_out);
    free(self->urls);
    self->urls = NULL;
}
