/* What locks and elections are made of: keys under a name, one for each contender, of whom the one
 * whose key was created first has what they contend for.
 *
 *     contend_new ─> contend_make_lease? ─> contend_make_key ─> contend_wait ─> then
 *                                              └─ a client that goes while it waits takes
 *                                                 its key away
 *
 * A contender waits for the deletion of the key before its own alone, so that a change of hands
 * wakes one. Its own key was applied here before it looks, and with it all that are older: the
 * newest view is good enough, and no question goes to other members.
 *
 * Errors of the steps inside reach the client with their texts and the code Unknown, as those of
 * etcd's services do, which are clients themselves.
 *
 * Thread: the front's, inside a guard.  Owns: what lies in the request's arena.
 * Source: etcd's interface, "Locks and elections". */
#pragma once

#include "api/front_internal.h"
#include "mvcc/range.h"

#define CONTEND_LEASE_TTL_S 60 /* of a lease that the client does not bring */

struct contender {
    struct bytes prefix;   /* NAME/ */
    struct bytes end;      /* of the range of its keys */
    struct bytes key;      /* NAME/LEASE */
    int64_t lease;         /* 0: none yet */
    int64_t create;        /* the key's create revision: its place */
    int64_t made_revision; /* of the change that made the key, or of the look that found it */
    bool was_there;        /* the key was found, not made, */
    uint64_t own_seq;      /* with this change as its newest */
    bool stood_in_line;    /* there was an older key */
    bool changed;          /* what contend_change wanted was done */
    int64_t revision;      /* of contend_change */
    bool only_own_create;  /* taking the key away asks for its create revision */

    /* inside */
    bool queued; /* the key is taken away when the request goes */
    bool searching;
    struct mvcc_range walk;
    struct mvcc_pin pin;
    uint64_t found_seq;
    void (*then)(struct request *request);
    void (*waited)(struct request *request);
    void (*found)(struct request *request, uint64_t seq);
};

/* Becomes the request's data. */
struct contender *contend_new(struct request *request, struct bytes name, int64_t lease);
/* The same where it lies at the beginning of what becomes the data. */
void contend_init(struct contender *self, struct request *request, struct bytes name,
                  int64_t lease);
/* Whoever has a release of its own calls it from there. */
void contend_release(struct request *request);
/* Ends the request; a key of its own that waits goes. */
void contend_fail(struct request *request, err e);
/* Takes a lease where the client brought none, then names the key. */
void contend_make_lease(struct request *request, void (*then)(struct request *request));
/* Puts the key, unless it is there. */
void contend_make_key(struct request *request, struct bytes value,
                      void (*then)(struct request *request));
/* Until no key of the prefix is older. */
void contend_wait(struct request *request, void (*then)(struct request *request));
/* Whether its key is (still) there, in the newest view; where not, the request has failed. */
bool contend_has_key(struct request *request, struct mvcc_state *ret_state);
/* Nothing is taken away any more. */
void contend_keep_key(struct request *request);

/* Puts or deletes `key` if its create revision is `create`; self->changed and ->revision say what
 * came of it. value.data NULL: deletes. */
void contend_change(struct request *request, struct bytes key, int64_t create, struct bytes value,
                    void (*then)(struct request *request));

/* A value that is not the absence of one. */
static inline struct bytes contend_value(ProtobufCBinaryData data)
{
    return data.len ? bytes_of(data.data, data.len) : BYTES_LIT("");
}

/* The key of the prefix that was created first, as of the newest view; `found` is told the seq of
 * its newest change, 0: there is none. */
void contend_find_first(struct request *request,
                        void (*found)(struct request *request, uint64_t seq));
/* From inside a job or a tale: runs as soon as the request may do anything again. */
void contend_later(struct request *request, void (*then)(struct request *request));
