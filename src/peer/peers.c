#include "peer/peers_internal.h"

#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>

#define TIMEOUT_MS        5000
#define PROBE_MS          4000
#define QUEUE_BYTES       ((size_t)64 << 20)
#define QUEUE_MESSAGES    4096
#define REMOTE_URLS_MAX   16
#define URLS_BYTES_MAX    ((size_t)64 << 10)
#define PAGE_BODY_MAX     ((size_t)64 << 10)
#define HEADER_TIMEOUT_MS 10000
#define IDLE_TIMEOUT_MS   300000

const char *peer_notice_text(enum peer_notice_kind kind)
{
    switch (kind) {
    case PEER_NOTICE_STREAM_UP:
        return "established TCP streaming connection with remote peer";
    case PEER_NOTICE_STREAM_DOWN:
        return "lost TCP streaming connection with remote peer";
    case PEER_NOTICE_ACTIVE:
        return "peer became active";
    case PEER_NOTICE_INACTIVE:
        return "peer became inactive (message send to peer failed)";
    case PEER_NOTICE_UNREACHABLE:
        return "failed to reach the peer URL";
    case PEER_NOTICE_BUFFER_FULL:
        return "dropped internal Raft message since sending buffer is full";
    case PEER_NOTICE_CLOCK:
        return "prober found high clock drift";
    case PEER_NOTICE_CLUSTER_MISMATCH:
        return "request cluster ID mismatch";
    case PEER_NOTICE_VERSION_MISMATCH:
        return "request version incompatibility";
    case PEER_NOTICE_REFUSED:
        return "rejected request of remote peer";
    case PEER_NOTICE_MALFORMED:
        return "failed to read Raft message";
    case PEER_NOTICE_SNAPSHOT_SENDING:
        return "sending database snapshot";
    case PEER_NOTICE_SNAPSHOT_SENT:
        return "sent database snapshot";
    case PEER_NOTICE_SNAPSHOT_NOT_SENT:
        return "failed to send database snapshot";
    case PEER_NOTICE_SNAPSHOT_RECEIVING:
        return "receiving database snapshot";
    case PEER_NOTICE_SNAPSHOT_RECEIVED:
        return "received and saved database snapshot";
    case PEER_NOTICE_SNAPSHOT_NOT_RECEIVED:
        return "failed to receive database snapshot";
    case PEER_NOTICE_URL_UNSUPPORTED:
        return "cannot dial the peer URL";
    case PEER_NOTICE_REMOVED:
        return "the member has been permanently removed from the cluster";
    }
    return "peer";
}

void peers_notice(struct peers *self, const struct peer_notice *notice)
{
    if (self->handler.notice)
        self->handler.notice(self->ctx, notice);
}

/* ---- Who is who ------------------------------------------------------------------------- */

static struct peer *find_in(const struct list *list, uint64_t id)
{
    LIST_FOREACH (node, list) {
        struct peer *peer = LIST_ENTRY(node, struct peer, node);
        if (peer->id == id)
            return peer;
    }
    return NULL;
}

struct peer *peers_find(const struct peers *self, uint64_t id)
{
    return find_in(&self->peers, id);
}

struct peer *peers_find_any(const struct peers *self, uint64_t id)
{
    struct peer *peer = find_in(&self->peers, id);
    return peer ? peer : find_in(&self->remotes, id);
}

static void free_urls(struct peer *self)
{
    for (size_t i = 0; i < self->url_count; i++)
        peer_url_done(&self->urls[i]);
    free(TAKE(self->urls));
    free(TAKE(self->urls_text));
    self->url_count = self->url_at = 0;
}

/* urls: joined by commas; taken over. */
static void set_urls(struct peer *self, char *urls)
{
    free_urls(self);
    self->urls_text = urls;
    size_t most = 1;
    for (const char *p = urls; *p; p++)
        most += *p == ',';
    self->urls = calloc(most, sizeof(*self->urls));
    CHECK(self->urls);
    char text[sizeof(self->urls->authority) + 16];
    for (const char *at = urls; *at;) {
        size_t len = strcspn(at, ",");
        int n = snprintf(text, sizeof(text), "%.*s", len < sizeof(text) ? (int)len : 0, at);
        if (n > 0 && err_ok(peer_url_init(&self->urls[self->url_count], text)))
            self->url_count++;
        else
            peers_notice(self->peers, &(struct peer_notice){.kind = PEER_NOTICE_URL_UNSUPPORTED,
                                                            .peer = self->id,
                                                            .detail = text});
        at += len + (at[len] == ',');
    }
}

static struct peer *peer_new(struct peers *peers, uint64_t id, bool is_remote, char *urls)
{
    struct peer *self = calloc(1, sizeof(*self));
    CHECK(self);
    self->peers = peers;
    self->id = id;
    self->is_remote = is_remote;
    id_text(id, self->id_text);
    if (!is_remote)
        self->metrics = peer_metrics_of(peers->member_id, id);
    set_urls(self, urls);
    pipeline_init(self);
    if (!is_remote)
        probe_init(&self->probe, self);
    for (unsigned i = 0; i < PEER_WAYS && !is_remote; i++) {
        stream_out_init(&self->out[i], self, (enum peer_way)i);
        stream_in_init(&self->in[i], self, (enum peer_way)i);
    }
    return self;
}

static void peer_free(struct peer *self)
{
    list_remove(&self->node);
    snapshot_out_cancel(self);
    for (unsigned i = 0; i < PEER_WAYS && !self->is_remote; i++) {
        stream_in_done(&self->in[i]);
        stream_out_done(&self->out[i]);
    }
    if (!self->is_remote)
        probe_done(&self->probe);
    pipeline_done(self);
    if (self->metrics)
        metric_set(&self->metrics->active, 0);
    free_urls(self);
    free(self);
}

static void remote_free(struct peers *self, struct peer *remote)
{
    self->remote_count--;
    peer_free(remote);
}

void peers_learn_remote(struct peers *self, uint64_t id, struct bytes urls)
{
    unsigned count = 1;
    for (size_t i = 0; i < urls.len; i++)
        count += urls.data[i] == ',';
    if (id == 0 || id == self->member_id || urls.len == 0 || urls.len > URLS_BYTES_MAX ||
        count > REMOTE_URLS_MAX || peers_find(self, id) || memchr(urls.data, 0, urls.len))
        return;
    char *text = strndup((const char *)urls.data, urls.len);
    CHECK(text);
    struct peer *remote = find_in(&self->remotes, id);
    if (remote) {
        if (strcmp(remote->urls_text, text) != 0)
            set_urls(remote, text);
        else
            free(text);
        return;
    }
    if (self->remote_count == REMOTES_MAX)
        remote_free(self, LIST_ENTRY(self->remotes.next, struct peer, node));
    remote = peer_new(self, id, true, text);
    list_push(&self->remotes, &remote->node);
    self->remote_count++;
}

static char *join_urls(const char *const *urls, size_t count)
{
    struct buf text;
    buf_init(&text, 0);
    for (size_t i = 0; i < count; i++)
        CHECK(err_ok(buf_printf(&text, "%s%s", i ? "," : "", urls[i])));
    CHECK(err_ok(buf_append(&text, bytes_of("", 1))));
    return (char *)text.data;
}

static void set_member(struct peers *self, const struct member *member)
{
    char *urls = join_urls(member->peer_urls.items, member->peer_urls.count);
    struct peer *remote = find_in(&self->remotes, member->id);
    if (remote)
        remote_free(self, remote);
    struct peer *peer = peers_find(self, member->id);
    if (!peer) {
        peer = peer_new(self, member->id, false, urls);
        list_push(&self->peers, &peer->node);
    } else if (strcmp(peer->urls_text, urls) == 0) {
        free(urls);
    } else {
        set_urls(peer, urls);
        for (unsigned i = 0; i < PEER_WAYS; i++) {
            stream_in_stop(&peer->in[i]);
            stream_in_kick(&peer->in[i]);
        }
        peer_update_active(peer, PEER_RECEIVING, ERR_CLOSED);
    }
}

void peers_set_members(struct peers *self, const struct membership *members)
{
    LIST_FOREACH_SAFE (node, after, &self->peers) {
        struct peer *peer = LIST_ENTRY(node, struct peer, node);
        if (membership_find(members, peer->id))
            continue;
        for (unsigned i = 0; i < PEER_WAYS; i++)
            stream_out_leave(&peer->out[i]); /* that it is removed is in it */
        peer_free(peer);
    }
    for (size_t i = 0; i < members->count; i++)
        if (members->members[i].id != self->member_id)
            set_member(self, &members->members[i]);
}

static struct peer_link *dial(struct peer *self, uint64_t read_timeout_ms, size_t *ret_url_at,
                              const struct peer_link_owner *owner, void *ctx)
{
    struct peers *peers = self->peers;
    if (self->url_count == 0)
        return NULL;
    *ret_url_at = self->url_at;
    return peer_link_dial(&peers->net,
                          &(struct peer_link_dial){.url = &self->urls[self->url_at],
                                                   .dial_timeout_ms = peers->dial_timeout_ms,
                                                   .read_timeout_ms = read_timeout_ms,
                                                   .owner = owner,
                                                   .ctx = ctx});
}

struct peer_link *peer_dial(struct peer *self, size_t *ret_url_at,
                            const struct peer_link_owner *owner, void *ctx)
{
    return dial(self, self->peers->read_timeout_ms, ret_url_at, owner, ctx);
}

struct peer_link *peer_dial_for_long(struct peer *self, size_t *ret_url_at,
                                     const struct peer_link_owner *owner, void *ctx)
{
    return dial(self, 0, ret_url_at, owner, ctx);
}

/* ---- How it goes ------------------------------------------------------------------------ */

void peer_url_failed(struct peer *self, size_t url_at)
{
    if (url_at == self->url_at && self->url_count)
        self->url_at = (self->url_at + 1) % self->url_count;
}

void peer_works(struct peer *self)
{
    self->unreachable_said = self->cluster_said = self->version_said = false;
    self->refused_said = self->removed_said = false;
}

void peer_failed(struct peer *self, const char *way, err why)
{
    if (self->unreachable_said)
        return;
    self->unreachable_said = true;
    peers_notice(self->peers, &(struct peer_notice){.kind = PEER_NOTICE_UNREACHABLE,
                                                    .peer = self->id,
                                                    .direction = PEER_RECEIVING,
                                                    .way = way,
                                                    .error = why});
}

static bool text_holds(struct bytes text, const char *part)
{
    return text.data && memmem(text.data, text.len, part, strlen(part)) != NULL;
}

void peer_refused(struct peer *self, const char *way, unsigned status, struct bytes text,
                  uint64_t theirs)
{
    struct peers *peers = self->peers;
    struct peer_notice notice = {
        .peer = self->id, .direction = PEER_RECEIVING, .way = way, .theirs = theirs};
    bool *said = &self->refused_said;
    char detail[128];
    size_t len = text.len < sizeof(detail) - 1 ? text.len : sizeof(detail) - 1;
    if (len)
        memcpy(detail, text.data, len);
    while (len && detail[len - 1] == '\n')
        len--;
    detail[len] = 0;
    notice.detail = detail;
    notice.kind = PEER_NOTICE_REFUSED;
    /* Only of our own cluster are we removed; a member that took us for another says so too. */
    bool removed = status == 410 || (status == 403 && text_holds(text, "removed member"));
    if (removed && theirs == peers->cluster_id && !self->is_remote) {
        notice.kind = PEER_NOTICE_REMOVED;
        said = &self->removed_said;
    } else if (status == 412 && text_holds(text, "cluster ID mismatch")) {
        notice.kind = PEER_NOTICE_CLUSTER_MISMATCH;
        said = &self->cluster_said;
    } else if (status == 412 && text_holds(text, "incompatible version")) {
        notice.kind = PEER_NOTICE_VERSION_MISMATCH;
        said = &self->version_said;
    }
    if (*said)
        return;
    *said = true;
    peers_notice(peers, &notice);
}

void peers_reports_later(struct peers *self)
{
    if (self->reports_due)
        return;
    self->reports_due = true;
    io_loop_wake(self->loop);
}

void peer_report_unreachable(struct peer *self)
{
    self->report_unreachable = true;
    peers_reports_later(self->peers);
}

void peer_update_active(struct peer *self, enum peer_direction changed, err why)
{
    struct peers *peers = self->peers;
    bool active =
        self->in[PEER_WAY_MESSAGE].open && stream_out_is_open(&self->out[PEER_WAY_MESSAGE]);
    if (active == self->active)
        return;
    struct peer_notice notice = {.kind = active ? PEER_NOTICE_ACTIVE : PEER_NOTICE_INACTIVE,
                                 .peer = self->id,
                                 .direction = changed,
                                 .since_ms = self->active_since_ms,
                                 .error = why};
    self->active = active;
    self->active_since_ms = io_loop_now_ms(peers->loop);
    metric_set(&self->metrics->active, active);
    if (!active)
        metric_add(&self->metrics->disconnected, 1);
    self->report_active = true;
    peers_reports_later(peers);
    peers_notice(peers, &notice);
}

static void report(struct peer *self, bool *flag, enum replica_peer_event event)
{
    struct peers *peers = self->peers;
    if (!*flag)
        return;
    *flag = false;
    peers->handler.report(peers->ctx, self->id, event, self->version);
}

static void deliver_reports(struct peers *self)
{
    if (!self->reports_due)
        return;
    self->reports_due = false;
    LIST_FOREACH (node, &self->peers) {
        struct peer *peer = LIST_ENTRY(node, struct peer, node);
        report(peer, &peer->report_version, PEER_VERSION);
        report(peer, &peer->report_active, peer->active ? PEER_ACTIVE : PEER_INACTIVE);
        report(peer, &peer->report_unreachable, PEER_UNREACHABLE);
        report(peer, &peer->report_snapshot_failed, PEER_SNAPSHOT_FAILED);
        report(peer, &peer->report_unreadable, PEER_STATE_UNREADABLE);
        report(peer, &peer->report_snapshot_sent, PEER_SNAPSHOT_SENT);
    }
}

/* ---- Messages --------------------------------------------------------------------------- */

/* A transfer of leadership that a follower passes on names the member that is to lead. */
static bool sender_is_fine(const struct peers *self, const struct peer *from,
                           const struct raft_message *message)
{
    if (message->from == from->id)
        return true;
    return message->type == RAFT_MSG_TRANSFER_LEADER && peers_find(self, message->from);
}

void peers_step(struct peers *self, struct peer *from, const struct raft_message *message)
{
    if (message->to == self->member_id && sender_is_fine(self, from, message)) {
        self->handler.step(self->ctx, message);
        return;
    }
    if (from->metrics)
        metric_add(&from->metrics->received_failures, 1);
    if (from->refused_said)
        return;
    from->refused_said = true;
    peers_notice(self, &(struct peer_notice){.kind = PEER_NOTICE_REFUSED,
                                             .peer = from->id,
                                             .direction = PEER_RECEIVING,
                                             .detail = "a message of another, or for another"});
}

static void drop(struct peer *self, bool *full_said, const char *way)
{
    if (self->metrics)
        metric_add(&self->metrics->sent_failures, 1);
    peer_report_unreachable(self);
    if (*full_said)
        return;
    *full_said = true;
    peers_notice(self->peers, &(struct peer_notice){.kind = PEER_NOTICE_BUFFER_FULL,
                                                    .peer = self->id,
                                                    .direction = PEER_SENDING,
                                                    .way = way});
}

static void send_one(struct peer *self, const struct raft_message *message)
{
    CHECK(message->type != RAFT_MSG_SNAP); /* peers_send_snapshot */
    struct stream_out *out = NULL;
    if (!self->is_remote) {
        struct stream_out *append = &self->out[PEER_WAY_APPEND];
        struct stream_out *other = &self->out[PEER_WAY_MESSAGE];
        if (message->type == RAFT_MSG_APP && stream_out_is_open(append))
            out = append;
        else if (stream_out_is_open(other))
            out = other;
    }
    if (out) {
        if (!stream_out_put(out, message))
            drop(self, &out->full_said, peer_way_text(out->way));
    } else if (!pipeline_put(self, message)) {
        drop(self, &self->pipeline_full_said, "pipeline");
    }
}

void peers_send(struct peers *self, const struct raft_message *messages, size_t count)
{
    struct peer *peer = NULL;
    for (size_t i = 0; i < count; i++) {
        if (!peer || peer->id != messages[i].to)
            peer = peers_find_any(self, messages[i].to);
        if (peer)
            send_one(peer, &messages[i]);
    }
    LIST_FOREACH (node, &self->peers) {
        peer = LIST_ENTRY(node, struct peer, node);
        for (unsigned i = 0; i < PEER_WAYS; i++)
            stream_out_flush(&peer->out[i]);
    }
    (void)peer_link_net_output(&self->net); /* what is left goes in the output stage */
}

/* ---- Passes ----------------------------------------------------------------------------- */

static bool run_input(void *ctx)
{
    struct peers *self = ctx;
    deliver_reports(self);
    peer_leases_deliver(self->leases);
    peer_questions_deliver(self->questions);
    bool more = peer_link_net_input(&self->net);
    deliver_reports(self);
    peer_leases_deliver(self->leases);
    peer_questions_deliver(self->questions);
    return more;
}

static bool run_output(void *ctx)
{
    struct peers *self = ctx;
    bool more = peer_link_net_output(&self->net);
    return more || self->reports_due;
}

static void beat(void *ctx)
{
    struct peers *self = ctx;
    LIST_FOREACH (node, &self->peers) {
        struct peer *peer = LIST_ENTRY(node, struct peer, node);
        for (unsigned i = 0; i < PEER_WAYS; i++)
            stream_out_heartbeat(&peer->out[i]);
    }
    io_loop_timer_after(self->loop, &self->heartbeat_timer, self->read_timeout_ms / 3);
}

static void swept(void *ctx)
{
    struct peers *self = ctx;
    peer_serve_sweep(self);
    snapshot_in_sweep(self);
    peer_leases_sweep(self->leases);
    LIST_FOREACH (node, &self->peers)
        pipeline_sweep(LIST_ENTRY(node, struct peer, node));
    LIST_FOREACH (node, &self->remotes)
        pipeline_sweep(LIST_ENTRY(node, struct peer, node));
}

void peers_accept(struct peers *self, int fd)
{
    (void)peer_link_accept(&self->net, fd);
}

/* ---- Life ------------------------------------------------------------------------------- */

static struct rpc_limits peer_limits(void)
{
    struct rpc_limits limits = rpc_limits_default();
    limits.body_bytes_max = PAGE_BODY_MAX;
    limits.preface_timeout_ms = HEADER_TIMEOUT_MS;
    limits.header_timeout_ms = HEADER_TIMEOUT_MS;
    limits.body_timeout_ms = HEADER_TIMEOUT_MS;
    limits.idle_timeout_ms = IDLE_TIMEOUT_MS;
    return limits;
}

static err copy_config(struct peers *self, const struct peers_config *config)
{
    TRY(peer_cluster_version_parse(bytes_str(config->server_version), &self->server_version));
    TRY(peer_cluster_version_parse(bytes_str(config->min_cluster_version), &self->min_version));
    if (strlen(config->server_version) >= sizeof(self->server_version_text) ||
        strlen(config->min_cluster_version) >= sizeof(self->min_version_text))
        return ERR_LIMIT;
    snprintf(self->server_version_text, sizeof(self->server_version_text), "%s",
             config->server_version);
    snprintf(self->min_version_text, sizeof(self->min_version_text), "%s",
             config->min_cluster_version);
    self->loop = config->loop;
    self->member_id = config->member_id;
    self->cluster_id = config->cluster_id;
    id_text(self->member_id, self->id_text);
    id_text(self->cluster_id, self->cluster_text);
    self->dial_timeout_ms = config->dial_timeout_ms;
    self->read_timeout_ms = config->read_timeout_ms ? config->read_timeout_ms : TIMEOUT_MS;
    self->write_timeout_ms = config->write_timeout_ms ? config->write_timeout_ms : TIMEOUT_MS;
    self->probe_ms = config->probe_ms ? config->probe_ms : PROBE_MS;
    self->queue_bytes_max = config->queue_bytes_max ? config->queue_bytes_max : QUEUE_BYTES;
    self->queue_messages_max =
        config->queue_messages_max ? config->queue_messages_max : QUEUE_MESSAGES;
    self->urls_text = join_urls(config->peer_urls, config->peer_url_count);
    return OK;
}

static void add_stage(struct peers *self, struct io_stage *stage, int order, bool (*run)(void *))
{
    *stage = (struct io_stage){.order = order, .run = run, .ctx = self};
    list_init(&stage->node);
    io_loop_stage_add(self->loop, stage);
}

err peers_new(const struct peers_config *config, const struct peers_handler *handler, void *ctx,
              struct peers **ret_peers)
{
    struct peers *self = calloc(1, sizeof(*self));
    CHECK(self);
    err e = copy_config(self, config);
    if (!err_ok(e)) {
        free(self);
        return e;
    }
    self->handler = *handler;
    self->ctx = ctx;
    struct rpc_limits limits = peer_limits();
    peer_link_net_init(&self->net, self->loop, config->workers, &limits);
    self->net.handler = &peer_serve_handler;
    self->net.swept = swept;
    self->net.ctx = self;
    self->net.write_timeout_ms = self->write_timeout_ms;
    list_init(&self->peers);
    list_init(&self->remotes);
    list_init(&self->incoming);
    list_init(&self->snapshots_in);
    self->bulk = config->bulk;
    self->leases = peer_leases_new(self);
    self->questions = peer_questions_new(self);
    self->hashes = peer_hashes_new(self);
    io_timer_init(&self->heartbeat_timer, beat, self);
    io_loop_timer_after(self->loop, &self->heartbeat_timer, self->read_timeout_ms / 3);
    add_stage(self, &self->input_stage, PEERS_STAGE_INPUT, run_input);
    add_stage(self, &self->output_stage, PEERS_STAGE_OUTPUT, run_output);
    *ret_peers = self;
    return OK;
}

void peers_free(struct peers *self)
{
    if (!self)
        return;
    self->shut_down = true;
    LIST_FOREACH_SAFE (node, after, &self->peers)
        peer_free(LIST_ENTRY(node, struct peer, node));
    LIST_FOREACH_SAFE (node, after, &self->remotes)
        remote_free(self, LIST_ENTRY(node, struct peer, node));
    io_loop_stage_remove(self->loop, &self->input_stage);
    io_loop_stage_remove(self->loop, &self->output_stage);
    io_loop_timer_stop(self->loop, &self->heartbeat_timer);
    peer_leases_free(self->leases);
    peer_questions_free(self->questions);
    peer_hashes_free(self->hashes);
    peer_link_net_done(&self->net);
    free(self->urls_text);
    free(self);
}

void peers_shutdown(struct peers *self)
{
    self->shut_down = true;
    LIST_FOREACH (node, &self->peers) {
        struct peer *peer = LIST_ENTRY(node, struct peer, node);
        for (unsigned i = 0; i < PEER_WAYS; i++) {
            stream_in_stop(&peer->in[i]);
            stream_out_end(&peer->out[i]);
        }
    }
    (void)peer_link_net_output(&self->net);
}

/* ---- Looking in ------------------------------------------------------------------------- */

bool peers_status(const struct peers *self, uint64_t id, struct peer_status *ret_status)
{
    const struct peer *peer = peers_find(self, id);
    if (!peer)
        return false;
    struct peer_status status = {.active = peer->active,
                                 .since_ms = peer->active_since_ms,
                                 .round_trip_ns = peer->probe.round_trip_ns,
                                 .clock_difference_ns = peer->probe.difference_ns,
                                 .version = peer->version,
                                 .queued_messages = peer->post_count,
                                 .queued_bytes = peer->post_bytes};
    for (unsigned i = 0; i < PEER_WAYS; i++) {
        status.receiving[i] = peer->in[i].open;
        status.sending[i] = stream_out_is_open(&peer->out[i]);
        status.queued_messages += peer->out[i].queued_messages;
        status.queued_bytes += peer->out[i].queued_bytes;
    }
    *ret_status = status;
    return true;
}

unsigned peers_active_count(const struct peers *self)
{
    unsigned count = 0;
    LIST_FOREACH (node, &self->peers)
        count += LIST_ENTRY(node, struct peer, node)->active;
    return count;
}
