/* Whether the members hold the same: the leader compares hashes with all others.
 *
 *   what                             when                          compared at
 *   the hash a compaction left       --compact-hash-check-time     the newest compaction not yet
 *                                    (a minute; always on)         agreed on by all
 *   HashKV of everything             --corrupt-check-time, and     the present revision
 *                                    soon after a member came or
 *                                    this one began to lead
 *   the same, before serving         gate InitialCorruptCheck      this member's revision
 *
 * CORRUPT stops a whole cluster, so it is raised only where hashes of the same (revision, compact
 * revision) differ, twice, and a majority of all members agrees against the odd one, which is the
 * one that the alarm names. Differences without a majority are only said.
 *
 * Comparing what compactions left costs nothing beside them. A hash of everything runs in slices
 * beside everything else, and goes on from the one before where nothing was compacted since
 * (mvcc/hash_base.h): the leader's for its checks, the others' for what they are asked. A second
 * look is from scratch everywhere, so that nothing kept from earlier raises an alarm: it asks for
 * the same revision again, and a question for the revision that was answered last, or behind
 * another compaction, goes on from nothing.
 *
 * Thread: the core's loop. */
#pragma once

#include "io/loop.h"
#include "mvcc/view_pin.h"
#include "peer/peers.h"

struct corruption;

struct corruption_config {
    struct io_loop *loop;
    struct replica *replica;
    struct peers *peers;
    struct mvcc_pins *pins;
    uint64_t member_id;
    uint64_t compaction_check_ms;
    uint64_t full_check_ms; /* 0: never, nor when a member came */
    /* Full checks wait until the cluster is of this version. */
    struct cluster_version full_check_version;
    /* Something was proposed: a pass is due. */
    void (*wake)(void *ctx);
    void *ctx;
};

struct corruption *corruption_new(const struct corruption_config *config);
/* peers must be gone. NULL is legal. */
void corruption_free(struct corruption *self);

/* As the handlers of peers. */
void corruption_hash_asked(struct corruption *self, uint64_t number, int64_t revision);
void corruption_hash_answered(struct corruption *self, uint64_t number, err error,
                              const struct peer_hash *hash);

/* Messages go to and from another member from now on. */
void corruption_member_came(struct corruption *self);
/* The newest view is another one. */
void corruption_view_changed(struct corruption *self);

/* Before anything is served: runs the loop until every other member has answered or not. Members
 * that agree with this one and that do not are weighed. Fails: ERR_CORRUPT: more of those that
 * could be compared differ from this member than agree with it; ERR_LIMIT. */
MUST err corruption_check_first(struct corruption *self);
/* From here on checks are made when their time comes. */
void corruption_start(struct corruption *self);
