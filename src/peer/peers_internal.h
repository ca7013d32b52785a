/* What the files of the members' protocol share.
 *
 *     peers.c     life, who is a peer, stages, reports          ident.c   headers, who may talk
 *     serve.c     what others ask                               pages.c   answers that are texts
 *     stream_in.c our GETs: what we hear                        stream_out.c  what we say
 *     snapshot_out.c, snapshot_in.c   states, either way
 *     pipeline.c  posts                                         probe.c   clocks, versions
 *     leases.c    questions about leases, either way
 *     questions.c promotions, downgrades */
#pragma once

#include "peer/link.h"
#include "peer/peer_metrics.h"
#include "peer/peers.h"
#include "peer/served.h"
#include "peer/stream.h"
#include "state/ids.h"
#include "state/lease.h"

#define POSTERS   4u
#define POSTS_MAX 64u
/* Members of our cluster that we do not know yet; the oldest gives way. */
#define REMOTES_MAX 64u
/* Bodies of one post, and of all that are arriving at once. */
#define POST_BYTES_MAX      ((size_t)64 << 20)
#define POST_HELD_BYTES_MAX ((size_t)128 << 20)
/* What we read of an answer that should be a few hundred bytes. */
#define ANSWER_BYTES_MAX ((size_t)256 << 10)

/* States that are sent at once, and how much of one is read at a time. */
#define SNAPSHOTS_MAX        4u
#define SNAPSHOT_CHUNK_BYTES ((size_t)256 << 10)

struct peer;
struct snapshot_out;

/* A stream that we read: our GET. */
struct stream_in {
    struct peer *peer;
    enum peer_way way;
    struct peer_link *link; /* NULL: waiting to dial again */
    size_t url_at;          /* of the link */
    struct stream_decoder *decoder;
    struct buf answer; /* the text of a refusal */
    struct io_timer timer;
    bool open;
    uint64_t theirs; /* cluster id that it answered with */
    uint64_t since_ms;
    unsigned failures;
};

/* A stream that we write: the answer to its GET. */
struct stream_out {
    struct serving serving;
    struct peer *peer;
    enum peer_way way;
    struct http_exchange *exchange; /* NULL: it has not asked */
    struct stream_encoder encoder;
    struct buf gathered; /* of this pass */
    unsigned gathered_messages;
    struct list frames; /* handed to rpc, not yet written */
    unsigned queued_messages;
    size_t queued_bytes;
    uint64_t since_ms;
    bool full_said;
};

struct peer_post {
    struct list node;
    size_t len;
    uint8_t data[];
};

struct poster {
    struct peer *peer;
    struct peer_link *link;
    size_t url_at;
    struct peer_post *post; /* being sent */
    struct buf answer;
    bool answered;
    uint64_t idle_since_ms;
};

enum probe_step { PROBE_IDLE, PROBE_CLOCK, PROBE_VERSION };

struct probe {
    struct peer *peer;
    struct peer_link *link;
    size_t url_at;
    struct io_timer timer;
    enum probe_step step;
    uint64_t begin_ns, begin_wall_ns;
    struct buf answer;
    uint64_t round_trip_ns;
    int64_t difference_ns;
    uint64_t clock_said_ms; /* 0: never */
};

struct peer {
    struct list node; /* peers.peers or peers.remotes */
    struct peers *peers;
    uint64_t id;
    bool is_remote; /* posts only */
    char id_text[ID_TEXT_MAX];
    char *urls_text; /* as given, joined by commas: to see a change */
    struct peer_url *urls;
    size_t url_count;
    size_t url_at; /* the one that is tried next */
    struct stream_in in[PEER_WAYS];
    struct stream_out out[PEER_WAYS];
    struct list posts;
    unsigned post_count;
    size_t post_bytes; /* of the queue and the posters */
    bool pipeline_full_said;
    struct poster posters[POSTERS];
    struct probe probe;
    bool active;
    uint64_t active_since_ms; /* of the last change; 0: never */
    struct cluster_version version;
    struct snapshot_out *snapshot; /* that is sent to it; NULL: none */
    /* Reports that wait for the input stage. */
    bool report_snapshot_sent;
    bool report_unreachable, report_snapshot_failed, report_active, report_version;
    bool report_unreadable;
    /* Said, until it is over. */
    bool unreachable_said, cluster_said, version_said, removed_said, refused_said;
    struct peer_metrics *metrics; /* NULL: a remote */
};

struct peers {
    struct peers_handler handler;
    void *ctx;
    struct link_net net;
    struct io_loop *loop;
    uint64_t member_id, cluster_id;
    char id_text[ID_TEXT_MAX];
    char cluster_text[ID_TEXT_MAX];
    char *urls_text; /* joined by commas */
    char server_version_text[32];
    char min_version_text[32];
    struct cluster_version server_version, min_version;
    uint64_t dial_timeout_ms, read_timeout_ms, write_timeout_ms, probe_ms;
    size_t queue_bytes_max;
    unsigned queue_messages_max;
    struct io_stage input_stage, output_stage;
    struct io_timer heartbeat_timer;
    struct list peers;
    struct list remotes;
    unsigned remote_count;
    struct io_workers *bulk;
    unsigned snapshot_count;  /* that are sent */
    struct list snapshots_in; /* that are arriving */
    struct list incoming;     /* posts that are arriving */
    size_t incoming_bytes;
    struct peer_leases *leases;
    struct peer_questions *questions;
    struct peer_hashes *hashes;
    bool reports_due;
    bool shut_down;
};

/* ── peers.c ── */
struct peer *peers_find(const struct peers *self, uint64_t id);
/* A peer or a remote; NULL: neither. */
struct peer *peers_find_any(const struct peers *self, uint64_t id);
/* Adds or refreshes a remote out of X-PeerURLs. */
void peers_learn_remote(struct peers *self, uint64_t id, struct bytes urls);
void peers_notice(struct peers *self, const struct peer_notice *notice);
/* Delivers the flags of a peer in the next input stage. */
void peers_reports_later(struct peers *self);
/* A message from the network: judged, counted, stepped. */
void peers_step(struct peers *self, struct peer *from, const struct raft_message *message);
/* Both message streams stand, or no more; lost: the direction that has changed. */
void peer_update_active(struct peer *self, enum peer_direction changed, err why);
void peer_report_unreachable(struct peer *self);
/* That URL did not work: the next one's turn. */
void peer_url_failed(struct peer *self, size_t url_at);
/* It answered with that status and text instead of what was asked for. theirs: the cluster id that
 * it named, 0: none. */
void peer_refused(struct peer *self, const char *way, unsigned status, struct bytes text,
                  uint64_t theirs);
/* Something works again: failures will be said anew. */
void peer_works(struct peer *self);
void peer_failed(struct peer *self, const char *way, err why);
struct peer_link *peer_dial(struct peer *self, size_t *ret_url_at,
                            const struct peer_link_owner *owner, void *ctx);
/* For a body that takes its time: no answer is missed meanwhile. */
struct peer_link *peer_dial_for_long(struct peer *self, size_t *ret_url_at,
                                     const struct peer_link_owner *owner, void *ctx);

/* ── ident.c ── */
/* Major and minor of a version with whatever follows. Fails: ERR_SYNTAX. */
MUST err peer_cluster_version_parse(struct bytes text, struct cluster_version *ret_version);
#define REQUEST_HEADERS_MAX 7u
/* Of our requests; to: the X-Raft-To of streams, or NULL. */
size_t peer_request_headers(const struct peers *self, const char *to, const char *content_type,
                            struct http_header ret_headers[REQUEST_HEADERS_MAX]);
/* Whether a request comes from our cluster and from a version that we bear. NULL: it does; else
 * the text that refuses it, with 412. */
const char *peer_request_incompatible(struct peers *self, const struct http_exchange *exchange);

/* ── serve.c ── */
extern const struct rpc_handler peer_serve_handler;
/* Posts that stopped arriving. */
void peer_serve_sweep(struct peers *self);
#define TEXT_PLAIN "text/plain; charset=utf-8"
/* Status, text and a newline, as Go's http.Error; headers of ours besides. */
void peer_serve_text(struct peers *self, struct http_exchange *exchange, unsigned status,
                     const char *text);
/* That the sender is removed. */
void peer_serve_removed(struct peers *self, struct http_exchange *exchange);
/* For the log: somebody was refused; once until it is over. */
void peer_say_refused(struct peers *self, uint64_t from, const char *detail);
void peer_serve_method_not_allowed(struct http_exchange *exchange, const char *allow);
void peer_serve_body(struct peers *self, struct http_exchange *exchange, unsigned status,
                     const char *content_type, struct bytes body);
/* 200, of what was so as of this entry: in X-Raft-Index, as etcd's v2 pages have it. */
void peer_serve_body_at(struct peers *self, struct http_exchange *exchange, uint64_t index,
                        const char *content_type, struct bytes body);

/* ── pages.c ── */
/* The list of members, as GET /members has it. */
void peer_serve_members(struct peers *self, struct http_exchange *exchange);
void peer_pages_serve(struct peers *self, struct http_exchange *exchange, struct bytes path);

/* ── stream_in.c ── */
void stream_in_init(struct stream_in *self, struct peer *peer, enum peer_way way);
void stream_in_done(struct stream_in *self);
/* Dials now if it waits: the peer has just shown that it lives. */
void stream_in_kick(struct stream_in *self);
void stream_in_stop(struct stream_in *self);

/* ── stream_out.c ── */
void stream_out_init(struct stream_out *self, struct peer *peer, enum peer_way way);
void stream_out_done(struct stream_out *self);
/* The answer to its GET has begun; the stream that it had before ends. */
void stream_out_attach(struct stream_out *self, struct http_exchange *exchange);
/* The exchange is gone. */
void stream_out_detach(struct stream_out *self, err why);
/* The peer is none any more: what was said to it is still written, then its stream ends. */
void stream_out_leave(struct stream_out *self);
bool stream_out_is_open(const struct stream_out *self);
/* False: full; the message is to be dropped. */
bool stream_out_put(struct stream_out *self, const struct raft_message *message);
/* What was gathered goes to the connection. */
void stream_out_flush(struct stream_out *self);
void stream_out_heartbeat(struct stream_out *self);
void stream_out_end(struct stream_out *self);

/* ── pipeline.c ── */
void pipeline_init(struct peer *peer);
void pipeline_done(struct peer *peer);
/* False: full. */
bool pipeline_put(struct peer *peer, const struct raft_message *message);
/* Closes connections that nobody has needed for a while. */
void pipeline_sweep(struct peer *peer);

/* ── snapshot_out.c ── */
/* The peer goes: nothing is reported any more. */
void snapshot_out_cancel(struct peer *peer);

/* ── snapshot_in.c ── */
void snapshot_in_begin(struct peers *self, struct http_exchange *exchange);
void snapshot_in_body(struct serving *serving, struct bytes piece);
void snapshot_in_body_end(struct serving *serving);
void snapshot_in_closed(struct serving *serving);
/* States that stopped arriving. */
void snapshot_in_sweep(struct peers *self);

/* ── probe.c ── */
void probe_init(struct probe *self, struct peer *peer);
void probe_done(struct probe *self);
/* Now instead of at the next period, where its version is not known. */
void probe_kick(struct probe *self);

/* ── leases.c ── */
struct peer_leases *peer_leases_new(struct peers *peers);
void peer_leases_free(struct peer_leases *self);
/* What has come of questions goes to the handler; in the input stage. */
void peer_leases_deliver(struct peer_leases *self);
/* Closes connections that nobody has needed for a while. */
void peer_leases_sweep(struct peer_leases *self);
/* A request at one of its two paths; false: another path. */
bool peer_leases_serve(struct peers *self, struct http_exchange *exchange, struct bytes path,
                       struct bytes body);

/* ── questions.c ── */
struct peer_questions *peer_questions_new(struct peers *peers);
void peer_questions_free(struct peer_questions *self);
/* As the calls of leases.c with such names. */
void peer_questions_deliver(struct peer_questions *self);
bool peer_questions_serve(struct peers *self, struct http_exchange *exchange, struct bytes path);

/* ── hashes.c ── */
struct peer_hashes *peer_hashes_new(struct peers *peers);
void peer_hashes_free(struct peer_hashes *self);
/* A request at its path; false: another path. */
bool peer_hashes_serve(struct peers *self, struct http_exchange *exchange, struct bytes path,
                       struct bytes body);

/* ── answers.c ── */
/* The body of GET /members/hashkv. Fails: ERR_SYNTAX. */
MUST err peer_hash_request_parse(struct bytes json, int64_t *ret_revision);
#define TIME_TEXT_BYTES 48
/* RFC 3339 in UTC with as many digits as it has nanoseconds. */
size_t peer_time_text(uint64_t wall_ns, char ret_text[TIME_TEXT_BYTES]);
/* Fails: ERR_SYNTAX. */
MUST err peer_time_parse(struct bytes text, int64_t *ret_wall_ns);
/* The answer to /raft/probing. Fails: ERR_SYNTAX. */
MUST err peer_probe_parse(struct bytes json, bool *ret_ok, int64_t *ret_wall_ns);
