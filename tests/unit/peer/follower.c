/* A follower without a log, for trials against etcd's own members: grants every vote, acknowledges
 * every append and heartbeat, and says on stdout what it sees. Ends when stdin does.
 *
 *   follower LISTEN_PORT OWN_URL OTHER_URL TOKEN */
#include "base/check.h"
#include "base/clock.h"
#include "io/socket.h"
#include "peer/peers.h"
#include "state/ids.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#define ANSWERS_MAX 4096

struct follower {
    struct peers *peers;
    struct replica_view view;
    uint64_t id, other;
    struct raft_message answers[ANSWERS_MAX];
    uint8_t contexts[ANSWERS_MAX][RAFT_CONTEXT_BYTES_MAX];
    size_t answer_count;
    uint64_t last_index;
    uint64_t entry_count;
};

static void answer(struct follower *self, const struct raft_message *message)
{
    if (self->answer_count < ANSWERS_MAX)
        self->answers[self->answer_count++] = *message;
}

static void step(void *ctx, const struct raft_message *m)
{
    struct follower *self = ctx;
    struct raft_message back = {.to = m->from, .from = self->id, .term = m->term};
    if (m->type == RAFT_MSG_VOTE || m->type == RAFT_MSG_PRE_VOTE) {
        printf("vote term %" PRIu64 "\n", m->term);
        back.type = m->type == RAFT_MSG_VOTE ? RAFT_MSG_VOTE_RESP : RAFT_MSG_PRE_VOTE_RESP;
        answer(self, &back);
    } else if (m->type == RAFT_MSG_APP) {
        back.type = RAFT_MSG_APP_RESP;
        back.index = m->index + m->entry_count;
        self->entry_count += m->entry_count;
        answer(self, &back);
        if (back.index > self->last_index) {
            self->last_index = back.index;
            printf("append up to %" PRIu64 " commit %" PRIu64 "\n", back.index, m->commit);
        }
    } else if (m->type == RAFT_MSG_HEARTBEAT) {
        back.type = RAFT_MSG_HEARTBEAT_RESP;
        size_t at = self->answer_count;
        if (at < ANSWERS_MAX && m->context.len <= RAFT_CONTEXT_BYTES_MAX) {
            if (m->context.len)
                memcpy(self->contexts[at], m->context.data, m->context.len);
            back.context = bytes_of(self->contexts[at], m->context.len);
            answer(self, &back);
        }
    }
}

static void report(void *ctx, uint64_t peer, enum replica_peer_event event,
                   struct cluster_version version)
{
    if (event == PEER_VERSION)
        printf("version %u.%u\n", version.major, version.minor);
    else
        printf("report %d\n", (int)event);
}

static const struct replica_view *view(void *ctx)
{
    return &((struct follower *)ctx)->view;
}

static void notice(void *ctx, const struct peer_notice *n)
{
    printf("notice %s way %s direction %d error %s detail %s\n", peer_notice_text(n->kind),
           n->way ? n->way : "-", (int)n->direction, err_name(n->error),
           n->detail ? n->detail : "-");
}

static void accepted(void *ctx, int fd, const struct io_address *peer)
{
    peers_accept(((struct follower *)ctx)->peers, fd);
}

static struct membership *members_of(struct follower *self, char *urls[2], const char *token)
{
    struct membership *members = membership_new();
    uint64_t ids[2];
    for (unsigned i = 0; i < 2; i++) {
        struct bytes url = bytes_str(urls[i]);
        ids[i] = member_id_initial(&url, 1, bytes_str(token));
        struct member member = {
            .id = ids[i], .name = "", .peer_urls = {(const char *const *)&urls[i], 1}};
        struct membership *more = membership_with_member(members, &member);
        membership_free(members);
        members = more;
    }
    self->id = ids[0];
    self->other = ids[1];
    self->view.cluster_id = cluster_id_of(ids, 2);
    return members;
}

int main(int argc, char **argv)
{
    static struct follower self;
    static const struct peers_handler handler = {
        .step = step, .report = report, .view = view, .notice = notice};
    struct io_loop *loop;
    struct io_workers *workers;
    struct io_listener *listener;
    CHECK(argc == 5);
    setvbuf(stdout, NULL, _IOLBF, 0);
    struct membership *members = members_of(&self, argv + 2, argv[4]);
    self.view.members = members;
    CHECK(err_ok(io_loop_new(&loop)));
    CHECK(err_ok(io_workers_new(1, &workers)));
    struct io_listener_config listen = {.stage_order = 1, .accepted = accepted, .ctx = &self};
    CHECK(err_ok(
        io_address_parse("127.0.0.1", (uint16_t)strtoul(argv[1], NULL, 10), &listen.address)));
    CHECK(err_ok(io_listener_new(loop, &listen, &listener)));
    CHECK(err_ok(peers_new(&(struct peers_config){.loop = loop,
                                                  .workers = workers,
                                                  .member_id = self.id,
                                                  .cluster_id = self.view.cluster_id,
                                                  .peer_urls = (const char *const *)argv + 2,
                                                  .peer_url_count = 1,
                                                  .server_version = "3.7.1",
                                                  .min_cluster_version = "3.0.0",
                                                  .dial_timeout_ms = 2000,
                                                  .probe_ms = 200},
                           &handler, &self, &self.peers)));
    peers_set_members(self.peers, members);
    struct pollfd in = {.fd = 0, .events = POLLIN};
    while (poll(&in, 1, 0) == 0) {
        io_loop_run_once(loop, 20);
        peers_send(self.peers, self.answers, self.answer_count);
        self.answer_count = 0;
    }
    struct peer_status status = {0};
    if (peers_status(self.peers, self.other, &status))
        printf("end receiving %d %d sending %d %d active %d\n", status.receiving[0],
               status.receiving[1], status.sending[0], status.sending[1], status.active);
    peers_free(self.peers);
    io_listener_free(listener);
    io_workers_free(workers);
    io_loop_run_once(loop, 0);
    io_loop_run_once(loop, 0);
    io_loop_free(loop);
    membership_free(members);
    return 0;
}
