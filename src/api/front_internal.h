/* What the files of the front share: connections, requests, methods. */
#pragma once

#include "api/front.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/list.h"
#include "io/socket.h"
#include "mvcc/range.h"
#include "mvcc/view.h"
#include "mvcc/view_pin.h"
#include "rpc/conn.h"
#include "wire/decode.h"
#include "wire/splice.h"

#include <semaphore.h>

/* Requests that one front works on at once, and their bytes: the process's memory. */
#define FRONT_REQUESTS_MAX      16384
#define FRONT_REQUEST_BYTES_MAX ((size_t)256 << 20)
/* Messages that wait until there is room for them: beyond it nobody is read from. */
#define FRONT_WAITING_BYTES_MAX ((size_t)256 << 20)
/* Streams and waiters that may stay for ever: beyond it further ones fail. */
#define FRONT_RESTING_BYTES_MAX ((size_t)256 << 20)
/* Messages larger than a stream's window that are on their way. */
#define FRONT_ROOM_BYTES_MAX ((size_t)64 << 20)
/* What waits to be sent to clients that read slowly; beyond it the slowest are let go of. */
#define FRONT_UNSENT_BYTES_MAX ((size_t)512 << 20)
/* What sorted ranges collect before the first item can be given; beyond it they fail. */
#define FRONT_SORT_BYTES_MAX ((size_t)256 << 20)
/* Of one connection, so that one client cannot take all of it: what waits or is worked on, beyond
 * which it is not read from; */
#define CONN_REQUESTS_MAX      8192
#define CONN_REQUEST_BYTES_MAX ((size_t)64 << 20)
/* and what was answered and is kept until the client has taken the answer, beyond which its calls
 * are refused: it must be read from, for it says when it takes more. */
#define CONN_UNREAD_BYTES_MAX ((size_t)64 << 20)
/* A slice of the loop. */
#define FRONT_SLICE_NS 1000000
/* Requests kept for reuse, with their first arena block. */
#define REQUEST_SPARES_MAX 2048
/* An answer up to this size is built in one piece; a longer one is a promise. */
#define ANSWER_SMALL_BYTES ((size_t)32 << 10)
/* The gateway turns whole messages into JSON. */
#define GATEWAY_ANSWER_BYTES_MAX ((size_t)64 << 20)

struct client_conn {
    struct list node;        /* front.conns */
    struct list output_node; /* front.output, while it has something to write */
    struct front *front;
    struct io_socket socket;
    struct rpc_conn *rpc;
    enum front_kind kind;
    bool writable;
    bool read_ended; /* the client sends no more */
    bool closing;
    struct list requests;                /* by conn_node */
    struct list room_node, room_waiting; /* room.h: front.room.waiting; requests */
    const struct method *last_method;
    unsigned request_count; /* CREDIT_WAITS or CREDIT_TAKEN */
    size_t request_bytes;
    size_t unread_bytes;
    uint64_t large_since_ms; /* unsent.h; 0: what waits to be sent is little */
};

struct request;

struct method {
    const char *service;
    const char *name;
    const ProtobufCMessageDescriptor *input, *output;
    bool client_streams, server_streams;
    bool keeps;      /* the handler looks at the message after it has returned */
    bool on_learner; /* a learner answers it too (the handler may refuse more) */
    /* The decoded message lies in the request's arena; NULL: not built yet. */
    void (*run)(struct request *request, const ProtobufCMessage *message);
    /* JSON gateway: /v3/... path, NULL: none. */
    const char *gateway;
};

extern const struct method methods[];
extern const unsigned method_count;
/* Index of a method's counters is its index in methods. */
const struct method *method_find(struct bytes service, struct bytes name, bool *ret_service_known);
const struct method *method_find_gateway(struct bytes path);

enum request_state {
    REQUEST_FREE,
    REQUEST_WAITING,  /* for credit, with its message */
    REQUEST_OPEN,     /* its message is still coming, or it is being worked on here */
    REQUEST_AT_CORE,  /* a reply with its token will come */
    REQUEST_ANSWERED, /* only its output is left */
};

/* Among what a request is counted. */
enum request_credit {
    CREDIT_NONE,   /* its message has not come */
    CREDIT_WAITS,  /* that waits for others to be answered */
    CREDIT_TAKEN,  /* that is worked on */
    CREDIT_RESTS,  /* a stream, or a waiter, that may stay for ever */
    CREDIT_UNREAD, /* answered */
};

/* One call or exchange, from its first byte to its last. */
struct request {
    struct list node; /* front.waiting, front.jobs, or none */
    struct list conn_node;
    struct list room_node; /* room.h: conn.room_waiting, or front.room.granted */
    size_t room_bytes;     /* asked for; 0: none */
    uint64_t room_since_ms;
    struct front *front;
    struct client_conn *conn; /* NULL once the connection is gone */
    struct rpc_call *call;    /* NULL once it is over, or for exchanges */
    struct http_exchange *exchange;
    const struct method *method;
    uint32_t slot, generation;
    enum request_state state;
    enum request_credit credit;
    bool has_room;     /* for a large message, of room_bytes */
    bool promised;     /* a promise of its answer is with rpc, which may outlive the call */
    bool wants_leader; /* a stream that ends where there is none for long */
    bool streaming;    /* an exchange whose response has begun */
    bool until_swept;  /* a physical compaction: answered when it has finished */
    bool hides_codes;  /* errors of the table go out as Unknown, with their texts */
    bool asked;        /* the core, at least once */
    bool only_reads;   /* a transaction that writes nothing */
    bool canonical;    /* the message's bytes are as we would encode them */
    uint64_t begin_ns;
    uint64_t range_ns; /* when a range began to read; 0: it has not, or is none */
    size_t bytes;      /* that are counted: of the arena, and of what was kept */
    size_t message_bytes;
    struct bytes raw;  /* of the message, in the arena or in `kept` */
    void *kept;        /* the message's memory, where it had to wait; NULL: none */
    struct bytes path; /* of a gateway or page exchange */
    const ProtobufCMessage *message;
    struct arena arena;
    /* The reply of the core, or of a slice of work. */
    void (*on_reply)(struct request *request, const struct replica_reply *reply);
    /* A slice of long work: true while there is more; run from front.jobs. */
    bool (*job)(struct request *request);
    /* The client of a stream sends no more; NULL: of no interest. */
    void (*on_half_closed)(struct request *request);
    /* How an error is said where not as gRPC and the gateway say it; NULL: as they do. */
    void (*fail)(struct request *request, err e);
    /* A stream that could not be written to can be again; NULL: of no interest. */
    void (*on_writable)(struct request *request);
    struct watch_tale *tale; /* watch_tell.h; NULL: none */
    /* Whatever the handler holds outside of the arena. */
    void (*release)(struct request *request);
    void *data;
};

/* Room for large messages: room.h. */
struct room {
    struct list waiting; /* connections, by room_node, in turn */
    struct list granted; /* requests, oldest first */
    size_t bytes;        /* granted */
    uint64_t waiting_since_ms;
    struct io_timer timer;
};

struct front {
    struct front_config config;
    struct front_inbox inbox;
    struct rpc_pool *pool;
    struct list conns;
    struct list output;
    struct list sockets_ready; /* sockets */
    struct list waiting;
    struct room room;
    struct io_timer unsent_timer;
    bool unsent_looks; /* the timer is armed */
    struct list jobs;
    struct mvcc_range_room sort_room;
    struct io_stage replies_stage, clients_stage, output_stage;
    struct io_timer timer; /* the pool's deadlines */
    struct watch_front *watch;
    struct mailbox snapshot_results; /* slices of snapshots, from workers */
    sem_t snapshot_returned;         /* once a result */
    unsigned snapshots_at_worker;
    unsigned snapshot_count;
    _Atomic unsigned conn_count;
    struct request **slots;
    uint32_t slot_cap;
    uint32_t *free_slots;
    uint32_t free_count;
    uint32_t *generations;          /* of each slot; they grow with each use */
    struct request *spare_requests; /* linked by data */
    unsigned spare_request_count;
    unsigned request_count; /* CREDIT_TAKEN */
    size_t request_bytes;
    size_t waiting_bytes, resting_bytes;
    bool held_back;            /* connections are not read from, for waiting_bytes */
    unsigned leader_wishes;    /* streams that want a leader */
    struct front_batch *batch; /* being filled; NULL: none */
    struct front_batch *spare_batches;
    struct buf entries; /* the batch's proposals, side by side */
    uint64_t next_id;
    unsigned ids_left;
    bool shutting_down;
    bool ready; /* replica_view_is_ready, once and for all */
    unsigned guard_depth;
    struct buf scratch;
    uint8_t read_buffer[IO_READ_BYTES_MAX];
};

/* ── front.c ── */
/* Ready, and with credit for another request. */
bool front_may_admit(struct front *self);
/* The newest view; inside front_guard_enter … leave, which nest. */
const struct replica_view *front_view(struct front *self);
void front_guard_enter(struct front *self);
void front_guard_leave(struct front *self);
bool front_slice_over(struct front *self, uint64_t begin_ns);
/* Queues entry data of len bytes for the core and returns where to write them. The reply comes to
 * on_reply. request_id is front_next_id's. */
uint8_t *front_propose(struct front *self, struct request *request, uint64_t request_id, size_t len,
                       void (*on_reply)(struct request *, const struct replica_reply *));
/* The same for what nobody waits for. */
uint8_t *front_propose_unasked(struct front *self, uint64_t request_id, size_t len);
void front_read_barrier(struct front *self, struct request *request,
                        void (*on_reply)(struct request *, const struct replica_reply *));
void front_member_request(struct front *self, struct request *request,
                          const struct link_member_request *what,
                          void (*on_reply)(struct request *, const struct replica_reply *));
void front_ask_lease(struct front *self, struct request *request, enum replica_lease_kind kind,
                     int64_t lease_id,
                     void (*on_reply)(struct request *, const struct replica_reply *));
/* The reply comes when the store has been cleaned, or goes on being cleaned for longer. */
void front_defragment(struct front *self, struct request *request,
                      void (*on_reply)(struct request *, const struct replica_reply *));
uint64_t front_next_id(struct front *self);
/* The connection's output has more, or it has ended. */
void front_has_output(struct client_conn *conn);
/* Puts the request's job on the list of long work. */
void front_add_job(struct request *request, bool (*job)(struct request *));

/* ── request.c ── */
struct request *request_new(struct front *front, struct client_conn *conn);
void request_free(struct request *self);
/* The call or exchange is gone; frees as soon as the core owes nothing. */
void request_lost(struct request *self);
/* The promise that request_answer_promise handed over is released. */
void request_kept_promise(struct request *self);
uint64_t request_token(const struct request *self);
struct request *request_of_token(struct front *front, uint64_t token);
/* Ends it with an error of the table, or with another text. */
void request_fail(struct request *self, err e);
void request_fail_text(struct request *self, enum grpc_status status, struct bytes text);
/* Ends it with one message out of parts. For exchanges the message is written as JSON. */
void request_answer(struct request *self, const struct bytes *parts, unsigned part_count);
/* The same for a promise. Calls only. */
void request_answer_promise(struct request *self, const struct rpc_promise *promise);
void request_answer_message(struct request *self, const ProtobufCMessage *message);
/* A stream's message has been dealt with: gives back what it took, the arena with it. */
void request_forget_message(struct request *self);
/* Counts it among others, */
void request_set_credit(struct request *self, enum request_credit credit);
/* and with what it holds now. */
void request_count_as(struct request *self, enum request_credit credit);
/* It may stay for ever, so it no longer takes one of the requests that may be worked on at once.
 * Idempotent. Fails: ERR_REQUEST_TOO_MANY_REQUESTS, too many rest. */
MUST err request_rest(struct request *self);
/* An exchange's answer in JSON that is made piece by piece with http_response_body: its head, its
 * end, or that it cannot be made whole (the client sees it break off). */
void request_begin_json(struct request *self, uint64_t length);
void request_end_json(struct request *self);
void request_break_json(struct request *self, err why);
/* A stream's message, and its end. An exchange gets a line of JSON: {"result":…}. */
void request_send(struct request *self, const struct bytes *parts, unsigned part_count);
/* What was sent has been taken, but for a bounded rest. Where not, the request's job is put back on
 * the list once it has, and on_writable is said. */
bool request_writable(const struct request *self);
void request_finish(struct request *self);
/* What every call is asked first: learner, client's version, leader. OK or the refusal. */
MUST err request_admissible(struct request *self, const struct replica_view *view);
/* Header of a response, of this member, at the view's revision or another. */
struct wire_header request_header(const struct request *self, const struct replica_view *view,
                                  int64_t revision);

/* Gives everything back; no reply may come any more. */
void requests_done(struct front *front);

/* ── pages.c ── */
void http_pages_serve(struct request *request, struct bytes body);
/* 405, with the methods that are allowed. */
void pages_refuse_method(struct request *request, const char *allow);

/* ── call_metrics.c ── */
/* extensive: with a histogram of durations a method. */
void call_metrics_init(bool extensive);
void health_metrics_init(void);
void pages_metrics_init(void);
/* What the v2 API's statistics count (v2_stats.c). */
void v2_metrics_init(void);
void watch_metrics_init(void);
void maintenance_snapshot_metrics_init(void);
void maintenance_metrics_init(void);
void call_metrics_started(const struct method *method);
void call_metrics_handled(const struct method *method, unsigned code, uint64_t took_ns);
/* Of a request that was answered, or that the core was asked about. only_reads: a transaction that
 * writes nothing. */
void call_metrics_request(const struct method *method, bool only_reads, unsigned code,
                          uint64_t took_ns);
/* From where a range had what it waited for. */
void call_metrics_range(bool succeeded, uint64_t took_ns);
/* A watch or keep-alive stream ends because what came, or what was to be sent, could not be. */
void call_metrics_stream_failed(const struct method *method, bool sending);
/* A call begins. version: as its client says; may be empty. */
void call_metrics_client(const struct method *method, struct bytes version);
void call_metrics_message(const struct method *method, bool sent);
void call_metrics_bytes(bool sent, size_t n);
