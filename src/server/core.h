/* The core's role on its loop: feeds the replica with what has arrived and carries its effects out.
 *
 *     log's and store's completions ─┐                    ┌─> members: messages, first of all
 *     fronts' batches ───────────────┼─> replica_pass ────┼─> log: appends
 *     members' messages, ticks ──────┘                    ├─> store: flushes
 *                                                         └─> fronts: replies (the view is out)
 *
 * Thread: the loop's.  Owns: its mailboxes. All else is borrowed and outlives it. */
#pragma once

#include "api/link.h"
#include "io/loop.h"
#include "stage/log.h"
#include "stage/store.h"

enum { CORE_STAGE = 30 };

struct core;

/* What people should know of the disk. Said once until it is over. */
enum core_notice {
    CORE_LOG_FULL,   /* no room for a further segment of the write-ahead log */
    CORE_LOG_ROOM,   /* there is again */
    CORE_STORE_FULL, /* no room for a further segment of the store */
    CORE_STORE_ROOM,
    CORE_STORE_FAULT, /* cleaning met bad bytes; fault says where. It goes no further */
};

struct core_config {
    struct io_loop *loop;
    struct replica *replica;
    struct stage_log *log;
    struct stage_store *store;
    struct revlog *revlog;
    struct mvcc_pins *pins;
    struct front_inbox *const *fronts;
    unsigned front_count; /* the replica knows one more, for what members ask */
    /* Sends to members. Messages are borrowed for the call. */
    void (*send)(void *ctx, const struct raft_message *messages, size_t count);
    /* A MsgSnap with the state that the newest view shows; borrowed for the call. */
    void (*send_snapshot)(void *ctx, const struct raft_message *message);
    /* The log goes on from a received state: this life is to end, and the next one to begin. Said
     * until then. */
    void (*installed)(void *ctx);
    /* The membership changed: peers are to be dialled or dropped. */
    void (*members_changed)(void *ctx);
    /* What only the leader answers, and answers to what members asked here; the latter are borrowed
     * for the call. */
    void (*ask_leader)(void *ctx, const struct replica_lease_forward *asks, size_t count);
    void (*ask_promotion)(void *ctx, const struct replica_promote_forward *asks, size_t count);
    void (*member_replies)(void *ctx, const struct replica_replies *replies);
    /* A promotion that was judged here has come to this end. */
    void (*promoted)(void *ctx, err outcome);
    /* A new view is out. */
    void (*view_changed)(void *ctx);
    /* fault: of CORE_STORE_FAULT, else NULL. */
    void (*notice)(void *ctx, enum core_notice kind, const struct revlog_fault *fault);
    uint64_t warning_apply_ns; /* slower applying is logged; 0: never */
    /* replica_stop has done what it could. */
    void (*stopped)(void *ctx);
    /* The member cannot go on. Must not return. */
    void (*fatal)(void *ctx, const char *what, err e);
    void *ctx;
};

/* The mailboxes exist before the rest does: log, store and fronts are made with them.
 * loop NULL: passes are called for (core_attach, core_pass), nobody is woken. */
struct core *core_new(struct io_loop *loop);
void core_free(struct core *self);
struct core_inbox *core_inbox(struct core *self);
struct mailbox *core_log_completions(struct core *self);
struct mailbox *core_store_completions(struct core *self);

/* From here on passes are run. */
void core_start(struct core *self, const struct core_config *config);
void core_stop(struct core *self);
/* Without a loop: what core_start does, and one pass. True: call again without sleeping, else by
 * *ret_deadline_ms or when something has arrived. */
void core_attach(struct core *self, const struct core_config *config);
bool core_pass(struct core *self, uint64_t now_ms, uint64_t *ret_deadline_ms);
/* After the stages have stopped: takes the completions that are left. */
void core_drain(struct core *self, uint64_t now_ms);
/* The same where passes never began: all that there can be is what the store's thread has said. */
void core_settle_store(struct core *self, struct stage_store *store);
/* Something was stepped into the replica: run a pass soon. */
void core_wake(struct core *self);
