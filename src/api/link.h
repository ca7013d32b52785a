/* What fronts and the core hand each other, in batches, by mailboxes; nothing here ever waits.
 *
 *     front ── front_batch ──────────> core_inbox.batches     proposals, barriers, changes
 *           <─ replica_replies ─────── front_inbox.replies    (the core's; posted back below)
 *           ── replica_replies ──────> core_inbox.replies_back
 *           <─ front_batch ─────────── front_inbox.batches    empty again
 *           <─ link_blob ───────────── front_inbox.blobs      no entry refers to it any more
 *
 * What one thread allocates it frees: batches and blobs are the front's, replies the core's.
 * Thread: each mailbox has one reader, named by its owner; posting is any thread's. */
#pragma once

#include "base/mailbox.h"
#include "replica/effects.h"
#include "replica/replica.h"

struct core_inbox {
    struct mailbox batches;      /* of struct front_batch */
    struct mailbox replies_back; /* of struct replica_replies */
};

struct front_inbox {
    struct mailbox replies; /* of struct replica_replies */
    struct mailbox batches; /* of struct front_batch */
    struct mailbox blobs;   /* of struct link_blob */
};

/* A change of members or of leadership. */
struct link_member_request {
    uint64_t token;
    bool is_transfer;            /* of leadership, to change.member.id */
    struct member_change change; /* its texts are the request's, until its reply */
};

#define LINK_BATCH_MAX         256
#define LINK_BATCH_LEASES_MAX  64
#define LINK_BATCH_MEMBERS_MAX 8
#define LINK_BATCH_TASKS_MAX   8
#define LINK_BATCH_BYTES       ((size_t)1 << 20) /* of proposals, but for the last one */

/* One pass's requests of one front. */
struct front_batch {
    struct mailbox_node node;
    unsigned front;
    unsigned proposal_count, read_count, member_count, lease_count, defragment_count;
    struct replica_proposal proposals[LINK_BATCH_MAX];
    uint64_t reads[LINK_BATCH_MAX];
    struct link_member_request members[LINK_BATCH_MEMBERS_MAX];
    struct replica_lease_ask leases[LINK_BATCH_LEASES_MAX];
    uint64_t defragments[LINK_BATCH_TASKS_MAX]; /* each answered by a REPLY_TASK */
    struct raft_blob *blob; /* holds the proposals; the reader drops this one reference when it has
                             * proposed them. NULL: none */
};

/* The buffer in which a batch's proposals lie side by side, counted as a whole by the core. */
struct link_blob {
    struct raft_blob blob;
    struct mailbox_node node;
    struct front_inbox *home;
    uint8_t data[];
};
