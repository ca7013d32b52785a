/* What raft speaks of: entries, hard state, membership, messages. The names, numbers and fields
 * are those of etcd's raftpb; how they lie on the wire is src/wal/raft_codec.h.
 *
 * Memory. An entry's data lies in a blob: an immutable buffer that is counted by plain ints, which
 * only the core's thread touches. At zero its `release` is called and may post the buffer back to
 * the thread that made it. Whoever stores an entry beyond the call that showed it holds a
 * reference. All else in a message is borrowed: from its decoder on the way in, from raft's arena
 * on the way out (raft/raft.h says until when).
 * Thread: the core's. */
#pragma once

#include "base/bytes.h"
#include "base/check.h"
#include "base/err.h"

/* Nobody. */
#define RAFT_NONE 0
/* Targets (`to`) of MsgStorageAppend and MsgStorageApply and senders of their answers, never ids
 * of members. */
#define RAFT_APPEND_THREAD UINT64_MAX
#define RAFT_APPLY_THREAD  (UINT64_MAX - 1)
/* The most members that one configuration may name, old and new voters and learners together. */
#define RAFT_MEMBERS_MAX 64
/* The most entries in one message or one batch to apply, whatever their bytes. */
#define RAFT_ENTRIES_MAX 1024
/* The longest context that a message may carry: a read's id, a heartbeat's position, a word. */
#define RAFT_CONTEXT_BYTES_MAX 64
/* Terms and indexes beyond this are refused, so that adding one never wraps. */
#define RAFT_NUMBER_MAX (UINT64_MAX >> 1)

struct raft_blob {
    int refs;
    void (*release)(struct raft_blob *self);
};

/* NULL is legal in both and stays NULL. */
static inline struct raft_blob *raft_blob_ref(struct raft_blob *self)
{
    if (self)
        self->refs++;
    return self;
}

static inline void raft_blob_unref(struct raft_blob *self)
{
    if (!self)
        return;
    CHECK(self->refs > 0);
    if (--self->refs == 0)
        self->release(self);
}

/* A blob of its own memory, one reference, holding a copy; *ret_copy lies in it.
 * Empty data give NULL and no bytes. */
struct raft_blob *raft_blob_copy(struct bytes data, struct bytes *ret_copy);

enum raft_entry_type {
    RAFT_ENTRY_NORMAL = 0,
    RAFT_ENTRY_CONF_CHANGE = 1,
    RAFT_ENTRY_CONF_CHANGE_V2 = 2,
};

struct raft_entry {
    uint64_t term;
    uint64_t index;
    enum raft_entry_type type;
    struct bytes data;
    struct raft_blob *blob; /* data lies in it; NULL: data is empty, or lent for the call only */
};

/* The bytes that the entry takes as raftpb.Entry: the measure of max_size_per_msg and
 * max_committed_size_per_ready. */
uint64_t raft_entry_bytes(const struct raft_entry *self);
uint64_t raft_entries_bytes(const struct raft_entry *entries, size_t count);
/* The bytes of data alone: the measure of max_uncommitted_size and max_inflight_bytes. */
uint64_t raft_entries_payload(const struct raft_entry *entries, size_t count);
/* One reference more for each of the entries' blobs; one less. */
void raft_entries_ref(const struct raft_entry *entries, size_t count);
void raft_entries_unref(const struct raft_entry *entries, size_t count);

struct raft_hard_state {
    uint64_t term;
    uint64_t vote;
    uint64_t commit;
};

/* A set of member ids, ascending. */
struct raft_id_set {
    uint32_t count;
    uint64_t ids[RAFT_MEMBERS_MAX];
};

bool raft_id_set_has(const struct raft_id_set *self, uint64_t id);
/* False where it is full; adding twice is adding once. */
MUST bool raft_id_set_add(struct raft_id_set *self, uint64_t id);
void raft_id_set_remove(struct raft_id_set *self, uint64_t id);
bool raft_id_set_equal(const struct raft_id_set *a, const struct raft_id_set *b);

/* raftpb.ConfState, and the configuration that raft itself works with: joint while
 * voters_outgoing is not empty, and then a decision needs both majorities. learners_next are
 * outgoing voters that become learners when the joint state is left. */
struct raft_conf_state {
    struct raft_id_set voters;
    struct raft_id_set voters_outgoing;
    struct raft_id_set learners;
    struct raft_id_set learners_next;
    bool auto_leave;
};

bool raft_conf_state_equal(const struct raft_conf_state *a, const struct raft_conf_state *b);
/* A voter of either half. */
bool raft_conf_state_is_voter(const struct raft_conf_state *self, uint64_t id);
/* A voter or a learner. */
bool raft_conf_state_has(const struct raft_conf_state *self, uint64_t id);

enum raft_conf_change_type {
    RAFT_ADD_NODE = 0,
    RAFT_REMOVE_NODE = 1,
    RAFT_UPDATE_NODE = 2,
    RAFT_ADD_LEARNER = 3,
};

enum raft_conf_transition {
    RAFT_TRANSITION_AUTO = 0,
    RAFT_TRANSITION_JOINT_IMPLICIT = 1,
    RAFT_TRANSITION_JOINT_EXPLICIT = 2,
};

struct raft_conf_single {
    enum raft_conf_change_type type;
    uint64_t node_id;
};

/* raftpb.ConfChangeV2; a ConfChange is one with transition auto and one change. With transition
 * auto and no changes it leaves a joint configuration. */
struct raft_conf_change {
    enum raft_conf_transition transition;
    uint32_t count;
    struct raft_conf_single changes[RAFT_MEMBERS_MAX];
    uint64_t id;          /* ConfChange only */
    struct bytes context; /* lies in the entry's data */
};

struct raft_snapshot {
    uint64_t index;
    uint64_t term;
    struct raft_conf_state conf_state;
    struct bytes data;      /* often empty: the state travels by its own stream */
    struct raft_blob *blob; /* as in raft_entry */
};

#define RAFT_MESSAGE_TYPES(X)                                   \
    X(RAFT_MSG_HUP, 0, "MsgHup")                                \
    X(RAFT_MSG_BEAT, 1, "MsgBeat")                              \
    X(RAFT_MSG_PROP, 2, "MsgProp")                              \
    X(RAFT_MSG_APP, 3, "MsgApp")                                \
    X(RAFT_MSG_APP_RESP, 4, "MsgAppResp")                       \
    X(RAFT_MSG_VOTE, 5, "MsgVote")                              \
    X(RAFT_MSG_VOTE_RESP, 6, "MsgVoteResp")                     \
    X(RAFT_MSG_SNAP, 7, "MsgSnap")                              \
    X(RAFT_MSG_HEARTBEAT, 8, "MsgHeartbeat")                    \
    X(RAFT_MSG_HEARTBEAT_RESP, 9, "MsgHeartbeatResp")           \
    X(RAFT_MSG_UNREACHABLE, 10, "MsgUnreachable")               \
    X(RAFT_MSG_SNAP_STATUS, 11, "MsgSnapStatus")                \
    X(RAFT_MSG_CHECK_QUORUM, 12, "MsgCheckQuorum")              \
    X(RAFT_MSG_TRANSFER_LEADER, 13, "MsgTransferLeader")        \
    X(RAFT_MSG_TIMEOUT_NOW, 14, "MsgTimeoutNow")                \
    X(RAFT_MSG_READ_INDEX, 15, "MsgReadIndex")                  \
    X(RAFT_MSG_READ_INDEX_RESP, 16, "MsgReadIndexResp")         \
    X(RAFT_MSG_PRE_VOTE, 17, "MsgPreVote")                      \
    X(RAFT_MSG_PRE_VOTE_RESP, 18, "MsgPreVoteResp")             \
    X(RAFT_MSG_STORAGE_APPEND, 19, "MsgStorageAppend")          \
    X(RAFT_MSG_STORAGE_APPEND_RESP, 20, "MsgStorageAppendResp") \
    X(RAFT_MSG_STORAGE_APPLY, 21, "MsgStorageApply")            \
    X(RAFT_MSG_STORAGE_APPLY_RESP, 22, "MsgStorageApplyResp")   \
    X(RAFT_MSG_FORGET_LEADER, 23, "MsgForgetLeader")

enum raft_message_type {
#define X(name, number, text) name = number,
    RAFT_MESSAGE_TYPES(X)
#undef X
};

#define RAFT_MESSAGE_TYPE_COUNT 24

/* "MsgApp" and so on; "MsgUnknown" where the number is none. */
const char *raft_message_type_text(enum raft_message_type type);

/* raftpb.Message. `vote` is used by MsgStorageAppend alone, which with term and commit carries
 * the hard state; all three are zero where it has not changed. */
struct raft_message {
    enum raft_message_type type;
    bool reject;
    uint64_t to;
    uint64_t from;
    uint64_t term;
    uint64_t log_term;
    uint64_t index;
    uint64_t commit;
    uint64_t vote;
    uint64_t reject_hint;
    const struct raft_entry *entries;
    size_t entry_count;
    const struct raft_snapshot *snapshot; /* NULL: none */
    struct bytes context;
    const struct raft_message *responses; /* of MsgStorageAppend and MsgStorageApply */
    size_t response_count;
};

/* A copy that outlives the original: one allocation, blobs referenced, data without a blob
 * copied. Owned by the caller until raft_message_free (NULL is legal). */
struct raft_message *raft_message_copy(const struct raft_message *self);
void raft_message_free(struct raft_message *self);
