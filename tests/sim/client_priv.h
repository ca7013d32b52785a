/* Between client.c and the files that know one kind of request each. */
#pragma once

#include "base/arena.h"
#include "etcdserverpb_internal.pb-c.h"
#include "mvcc/range.h"
#include "mvcc/view_pin.h"
#include "mvcc/watch.h"
#include "sim.h"

enum op_kind {
    OP_PUT,
    OP_TXN,
    OP_DELETE,
    OP_COMPACT,
    OP_LINEAR,
    OP_SERIAL,
    OP_PAST,
    OP_GRANT,
    OP_REVOKE,
    OP_KEEP,
    OP_LIST,
    OP_DISARM,
    OP_MOVE,
    OP_CHANGE
};

struct op {
    enum op_kind kind;
    unsigned client, member;
    uint64_t life, request_id, asked_us;
    uint64_t floor; /* `done` when it was asked */
    unsigned key;
    int64_t lease;
    bool answered, swept, last, keeps;
};

/* client_list.c */
struct list_run {
    bool active;
    unsigned member, next_key;
    int64_t revision;
    struct mvcc_pin pin;
    struct mvcc_range range;
};

/* client_watch.c */
struct watcher_run {
    struct clients *clients;
    unsigned number;
    unsigned from, to; /* keys [from, to) */
    unsigned flags;
    int64_t next; /* the first revision that it has not seen; 0: it never began */
    unsigned member;
    struct watch_stream *stream;
    int64_t id;
    bool connected, blocked, is_over;
};

struct client {
    uint64_t generation; /* of its timer */
    size_t op;           /* under way, + 1; 0: none */
    unsigned member;     /* at which it stays, if it does */
    int64_t lease;       /* the one that it keeps alive then; 0: none */
    struct list_run list;
};

struct clients {
    struct sim *sim;
    struct client items[SIM_CLIENTS_MAX];
    struct op *ops;
    size_t count, cap;
    uint64_t done;
    int64_t last_lease;
    struct watcher_run watchers[SIM_WATCHERS_MAX];
    const struct mvcc_view *watch_view; /* while a hub runs */
    bool stopped;
    struct arena arena;
};

#define LEASE_TTL_MIN_S 3

uint64_t token_of(const struct clients *self, const struct op *op);

/* request.c: what is to be written, in the clients' arena. */
void request_make(struct clients *self, struct op *op, Etcdserverpb__InternalRaftRequest *request);

/* client_lease.c */
void lease_asked(struct clients *self, struct op *op, struct node *member);
void lease_answered(struct clients *self, struct node *member, struct op *op,
                    const struct replica_reply *reply);
void lease_granted(struct clients *self, struct node *member, const struct op *op,
                   const struct state_result *result);
/* Some lease that may be there; 0: none was ever granted. */
int64_t lease_any(struct clients *self);
void leases_check_last(struct clients *self);

/* client_list.c. False: there is none, or no more of it. */
bool list_begin(struct clients *self, unsigned who, struct node *member);
bool list_go_on(struct clients *self, unsigned who);
void list_member_ended(struct clients *self, const struct node *member);
void lists_free(struct clients *self);

void watchers_init(struct clients *self);
void watchers_check_last(struct clients *self);
