/* The members' protocol, as etcd's members speak it: streams, posts, probes and pages between
 * this member and the others, over HTTP/1.1.
 *
 * Between two members A and B lie four streams, each an endless answer to a GET; who asks reads:
 *
 *     A ── GET /raft/stream/msgapp/A  ──> B     B answers and writes its MsgApps to A
 *     A ── GET /raft/stream/message/A ──> B     B writes all its other messages to A
 *     B ── the same two, the other way ──> A
 *
 * so what A sends travels on connections that B opened, and A hears on connections of its own.
 * The way of a message out: MsgApp by the append stream, else by the message stream, else by
 * POST /raft; others by the message stream, else by POST. The ways reorder among each other. A
 * full way drops the message and reports the peer unreachable: nothing here ever waits.
 *
 *     accepted fd ─> peer_conn ── serve.c ──┬─> pages, probes
 *                                           ├─> POST /raft ────────> step
 *                                           └─> GET stream ────────> out stream <── peers_send
 *     peer_dial ──> in stream ── decoder ──> step                    posters    <── peers_send
 *               ├─> POST /raft/snapshot: a MsgSnap, then the state  <── peers_send_snapshot
 *               └─> probe: /raft/probing, /version ─> report, clock difference
 *
 * A message is stepped only when it is meant for us and its sender is a member of the cluster, or
 * a *remote*: one of the same cluster whom we do not know yet (we are behind) and who told its
 * URLs; remotes are answered by POST. That we are removed (403, 410) is answered from the applied
 * membership alone, and believed only of a member that names our cluster.
 *
 * Everything a peer can make us hold has a bound: memory grows as its bytes really arrive.
 *
 * Thread: the core's loop alone.  Owns: its connections and what waits in them.
 * Source: etcd's interface, on-disk formats "Peer transport" and "Version negotiation", table
 * http (listener peer), limits "Raft and cluster". */
#pragma once

#include "io/loop.h"
#include "io/worker.h"
#include "peer/fetch.h"
#include "replica/replica.h"

/* Stages of a pass: members' bytes come in before the core runs, what is left to write goes after
 * it; peers_send itself writes what the sockets take. */
enum { PEERS_STAGE_INPUT = 10, PEERS_STAGE_OUTPUT = 35 };

enum peer_direction {
    PEER_RECEIVING, /* its stream to us: we asked, we read */
    PEER_SENDING,   /* our stream to it: it asked, we write */
};

enum peer_notice_kind {
    PEER_NOTICE_STREAM_UP,          /* direction, way */
    PEER_NOTICE_STREAM_DOWN,        /* direction, way, since_ms: of when it was up; error */
    PEER_NOTICE_ACTIVE,             /* messages go both ways; since_ms: of when they did not */
    PEER_NOTICE_INACTIVE,           /* direction: the one that was lost first; error; since_ms: of
                                       when it was active */
    PEER_NOTICE_UNREACHABLE,        /* a dial or post failed, after one that did not; error */
    PEER_NOTICE_BUFFER_FULL,        /* messages are dropped: it takes them too slowly; way */
    PEER_NOTICE_CLOCK,              /* difference_ns is above a second; each 30 s while it is */
    PEER_NOTICE_CLUSTER_MISMATCH,   /* it belongs to cluster `theirs` */
    PEER_NOTICE_VERSION_MISMATCH,   /* it refused us, or we it, for the version; detail */
    PEER_NOTICE_REFUSED,            /* asked for something we refuse, or refused us; detail */
    PEER_NOTICE_MALFORMED,          /* what it sent could not be read; error, way */
    PEER_NOTICE_SNAPSHOT_SENDING,   /* a state is on its way to it; index */
    PEER_NOTICE_SNAPSHOT_SENT,      /* it has it; index, bytes */
    PEER_NOTICE_SNAPSHOT_NOT_SENT,  /* it has not; index, bytes, error, detail */
    PEER_NOTICE_SNAPSHOT_RECEIVING, /* a state of its is on its way here; index */
    PEER_NOTICE_SNAPSHOT_RECEIVED,  /* index, bytes */
    PEER_NOTICE_SNAPSHOT_NOT_RECEIVED, /* index, bytes, error, detail */
    PEER_NOTICE_URL_UNSUPPORTED,       /* detail: a URL that we cannot dial (https, bad syntax) */
    PEER_NOTICE_REMOVED,               /* it says that we are removed from the cluster */
};

/* For the log. Repeated failures are said once until they are over. */
struct peer_notice {
    enum peer_notice_kind kind;
    uint64_t peer; /* 0: not known */
    enum peer_direction direction;
    const char *way; /* "msgapp", "message", "pipeline", "probe"; NULL where it has no sense */
    uint64_t since_ms;
    int64_t difference_ns; /* its clock less ours */
    uint64_t round_trip_ns;
    uint64_t theirs;
    uint64_t index; /* of a snapshot */
    uint64_t bytes;
    err error;
    const char *detail; /* may be NULL */
};
/* One line for the log, as etcd words it. Never NULL. */
const char *peer_notice_text(enum peer_notice_kind kind);

/* What GET /members/hashkv answers with; what is absent is 0. */
struct peer_hash {
    int64_t revision; /* the present one of who answers */
    uint32_t hash;
    int64_t compact_revision;
    int64_t hash_revision; /* of what was hashed; etcd before 3.6 does not say */
};
/* Fails: ERR_SYNTAX. */
MUST err peer_hash_parse(struct bytes json, struct peer_hash *ret_hash);

/* A state on its way here. */
struct peer_snapshot_in;

/* What is sent behind a MsgSnap. */
struct peer_snapshot_body {
    void *ctx;
    /* Once, before the first read, on a worker: fixes the moment, which may be later than what the
     * message names, and says so in snapshot (index, term, conf_state, data with its blob). */
    err (*open)(void *ctx, struct raft_snapshot *snapshot);
    /* Appends the next bytes to out, about `enough` of them; *ret_end: they are the last. On a
     * worker, one call at a time. Fails: any; the sending is given up. */
    err (*read)(void *ctx, size_t enough, struct buf *out, bool *ret_end);
    /* It is over. On the loop. */
    void (*free)(void *ctx);
};

struct peers_handler {
    /* A message for this member, its sender checked against the membership. Entries' data lie in
     * their blobs (reference them to keep them), all else is valid during the call. Called in the
     * input stage only. */
    void (*step)(void *ctx, const struct raft_message *message);
    /* As replica_peer_report. Called in the input stage only, so never while the effects of a
     * pass are in use. */
    void (*report)(void *ctx, uint64_t peer, enum replica_peer_event event,
                   struct cluster_version version);
    /* A member asks about a lease (keep alive or time to live): peers_lease_reply answers. */
    void (*lease_asked)(void *ctx, uint64_t number, enum replica_lease_kind kind, int64_t lease_id);
    /* As replica_lease_answered. Called in the input stage only. */
    void (*lease_answered)(void *ctx, uint64_t ask, err error,
                           const struct replica_lease_answer *answer);
    /* A member asks that one be promoted, or whether a downgrade is under way, for which it wants
     * a barrier: peers_question_reply answers. All three NULL: such questions are refused. */
    void (*promotion_asked)(void *ctx, uint64_t number, uint64_t member_id);
    void (*read_asked)(void *ctx, uint64_t number);
    /* As replica_promotion_answered. Called in the input stage only. */
    void (*promotion_answered)(void *ctx, uint64_t ask, err error);
    /* A member asks for the hash of a revision (0: the current one): peers_hash_reply answers,
     * later. NULL: members are told that this one has none. */
    void (*hash_asked)(void *ctx, uint64_t number, int64_t revision);
    /* What came of peers_ask_hash; where OK, *hash holds during the call. Called from within it
     * where it cannot begin. */
    void (*hash_answered)(void *ctx, uint64_t number, err error, const struct peer_hash *hash);
    /* A member begins to send its state, and message names which. The answer is what the next three
     * are called with; NULL: not now. message: valid during the call. These may be NULL. */
    void *(*snapshot_begin)(void *ctx, const struct raft_message *message,
                            struct peer_snapshot_in *from);
    /* The next bytes, valid during the call. False: no more until peers_snapshot_resume, but for
     * what has been read already. */
    bool (*snapshot_piece)(void *snapshot, struct bytes piece);
    /* All is here: peers_snapshot_answer is due. */
    void (*snapshot_end)(void *snapshot);
    /* It was cut, before or after its end: `from` is gone. */
    void (*snapshot_cut)(void *snapshot);
    /* The newest view, valid until the next pass of the replica. Never NULL. */
    const struct replica_view *(*view)(void *ctx);
    /* For the log; may be NULL. */
    void (*notice)(void *ctx, const struct peer_notice *notice);
};

struct peers_config {
    struct io_loop *loop;
    struct io_workers *workers; /* for names */
    struct io_workers *bulk;    /* for reading states that are sent */
    uint64_t member_id;
    uint64_t cluster_id;
    const char *const *peer_urls; /* our own, told to others; copied */
    size_t peer_url_count;
    const char *server_version;      /* "3.7.1"; copied */
    const char *min_cluster_version; /* "3.0.0"; copied */
    uint64_t dial_timeout_ms;        /* 1 s + election timeout */
    uint64_t read_timeout_ms;        /* 0: 5 s */
    uint64_t write_timeout_ms;       /* 0: 5 s */
    size_t queue_bytes_max;          /* of one way to one peer; 0: 64 MiB */
    unsigned queue_messages_max;     /* of a stream; 0: 4096 */
    uint64_t probe_ms;               /* 0: 4 s */
};

struct peers;

/* Fails: ERR_SYNTAX a version is none, ERR_LIMIT. */
MUST err peers_new(const struct peers_config *config, const struct peers_handler *handler,
                   void *ctx, struct peers **ret_peers);
/* Closes everything at once. Names that are being looked up come back to the loop later and free
 * themselves there. NULL is legal. */
void peers_free(struct peers *self);

/* Takes the descriptor of a connection to a peer listener. Too many: the one that has asked
 * nothing for longest is closed. */
void peers_accept(struct peers *self, int fd);

/* Dials who is new, drops who is gone, follows changed URLs. Call it at start and whenever
 * replica_effects.members_changed. */
void peers_set_members(struct peers *self, const struct membership *members);

/* Encodes and writes what a pass sends; the messages are borrowed during the call. What a socket
 * does not take now stays queued within the bounds. */
void peers_send(struct peers *self, const struct raft_message *messages, size_t count);

/* Sends a MsgSnap and what follows it. A few at once, one a member: its end, or that it cannot
 * begin, is reported as PEER_SNAPSHOT_SENT or _FAILED. Takes the body over in every case. */
void peers_send_snapshot(struct peers *self, const struct raft_message *message,
                         const struct peer_snapshot_body *body);
/* The member may send on. */
void peers_snapshot_resume(struct peer_snapshot_in *from);
/* OK: what it sent is kept. No snapshot_cut comes any more. error's text is for its log. */
void peers_snapshot_answer(struct peer_snapshot_in *from, err error);

/* Asks the leader that each one names; each is answered by lease_answered, at the latest after
 * dialling and reading have had their time. */
void peers_ask_leases(struct peers *self, const struct replica_lease_forward *asks, size_t count);
/* To what lease_asked asked; who asked may be gone. */
void peers_lease_reply(struct peers *self, uint64_t number, err error,
                       const struct replica_lease_answer *answer);

/* The same for promotions; answered by promotion_answered. */
void peers_ask_promotions(struct peers *self, const struct replica_promote_forward *asks,
                          size_t count);
/* To what promotion_asked and read_asked asked; what the view shows then is told. */
void peers_question_reply(struct peers *self, uint64_t number, err error);
/* Asks a member, whatever it is to us yet, for the hash of a revision; answered once by
 * hash_answered with number: OK; ERR_COMPACTED, ERR_FUTURE_REV; ERR_REFUSED, ERR_SYNTAX;
 * ERR_UNREACHABLE; ERR_LIMIT. */
void peers_ask_hash(struct peers *self, const struct member *member, int64_t revision,
                    uint64_t number);
/* To what hash_asked asked; who asked may be gone. */
void peers_hash_reply(struct peers *self, uint64_t number, err error, const struct peer_hash *hash);

/* No redials from now on, streams end cleanly after what is queued. */
void peers_shutdown(struct peers *self);

struct peer_status {
    bool receiving[2]; /* msgapp, message */
    bool sending[2];
    bool active;
    uint64_t since_ms; /* of the last change of active; 0: never */
    uint64_t round_trip_ns;
    int64_t clock_difference_ns;
    struct cluster_version version;
    unsigned queued_messages;
    size_t queued_bytes;
};
/* False: no such peer. */
bool peers_status(const struct peers *self, uint64_t id, struct peer_status *ret_status);
/* Peers that are active. */
unsigned peers_active_count(const struct peers *self);
