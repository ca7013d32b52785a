/* Members on one loop, over loopback sockets, and relays between them that can be cut: what a
 * member is told of another is the relay's address. */
#pragma once

#include "../base/t.h"

#include "base/clock.h"
#include "io/socket.h"
#include "peer/peers.h"

#define NOTICES_MAX 512
#define DEADLINE_MS 20000

struct net {
    struct io_loop *loop;
    struct io_workers *workers;
};

struct node {
    struct net *net;
    uint64_t id;
    char url[64];
    struct io_listener *listener;
    struct peers *peers;
    struct replica_view view;
    struct membership *members;
    /* What came; entries referenced. */
    struct raft_message **stepped;
    size_t stepped_count, stepped_cap;
    unsigned reports[PEER_VERSION + 1];
    /* A state that came. */
    struct peer_snapshot_in *state_from;
    uint64_t state_index;
    struct buf state;
    size_t state_room; /* it pauses there; 0: never */
    bool state_begun, state_ended, state_cut;
    struct cluster_version version;
    /* What it was asked, and what came of what it asked. */
    uint64_t promotion_number, promotion_id, read_number;
    uint64_t hash_number;
    int64_t hash_revision;
    uint64_t hash_answered;
    struct peer_hash hash;
    uint64_t answered_ask;
    err answered;
    struct peer_notice notices[NOTICES_MAX];
    size_t notice_count;
};

struct node_config {
    uint64_t id;
    uint64_t cluster_id;
    const char *min_cluster_version; /* NULL: 3.0.0 */
    size_t queue_bytes_max;
    unsigned queue_messages_max;
    uint64_t read_timeout_ms;
    uint64_t probe_ms;
};

void net_init(struct net *self);
/* Nodes and relays must be gone. */
void net_done(struct net *self);
/* Passes until cond, or until the deadline fails the test. */
#define NET_WAIT(net, cond)                              \
    do {                                                 \
        uint64_t until_ = clock_mono_ms() + DEADLINE_MS; \
        while (!(cond) && clock_mono_ms() < until_)      \
            io_loop_run_once((net)->loop, 10);           \
        assert_true(cond);                               \
    } while (0)

void node_init(struct node *self, struct net *net, const struct node_config *config);
void node_done(struct node *self);
/* The members that it knows, itself among them; removed: 0 or an id. */
void node_set_members(struct node *self, const uint64_t *ids, const char *const *urls, size_t count,
                      uint64_t removed);
bool node_noticed(const struct node *self, enum peer_notice_kind kind);
const struct peer_notice *node_notice(const struct node *self, enum peer_notice_kind kind);
void node_forget(struct node *self);
bool node_streams_up(const struct node *self, uint64_t peer);

struct relay;
struct relay *relay_new(struct net *net, const struct node *to);
void relay_free(struct relay *self);
const char *relay_url(const struct relay *self);
/* Ends its connections and accepts no others, or does again. */
void relay_cut(struct relay *self, bool cut);
/* Moves no bytes to the side that dialled, as if that did not read. */
void relay_stall(struct relay *self, bool stall);

/* One request by hand; the answer up to the end of the connection, or up to `until`, malloc'ed. */
char *net_ask(struct net *self, const struct node *node, struct bytes request, const char *until);
