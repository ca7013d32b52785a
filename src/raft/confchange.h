/* What a membership change makes of a configuration. Pure: no progress, no log.
 *
 *             enter (several changes, or asked for)
 *   simple ---------------------------------------> joint
 *     ^ |                                             |
 *     +-+ simple (at most one voter differs)          |
 *     ^                    leave                      |
 *     +-----------------------------------------------+
 *
 * Invariants of a configuration, which raft_conf_check proves:
 *   C1  a learner is no voter, incoming or outgoing
 *   C2  learners_next are outgoing voters, not incoming ones and no learners
 *   C3  not joint: learners_next is empty and auto_leave is false
 *   C4  no voters: nobody at all
 *   C5  all of them together are at most RAFT_MEMBERS_MAX, none is RAFT_NONE or a thread
 * Thread: any. */
#pragma once

#include "raft/types.h"

enum raft_conf_refusal {
    RAFT_CONF_FINE = 0,
    RAFT_CONF_ALREADY_JOINT,
    RAFT_CONF_ZERO_VOTERS_JOINT,
    RAFT_CONF_NOT_JOINT,
    RAFT_CONF_SIMPLE_WHILE_JOINT,
    RAFT_CONF_MORE_THAN_ONE,
    RAFT_CONF_NO_VOTERS,
    RAFT_CONF_TOO_MANY,
    RAFT_CONF_INVALID,
};

/* "config is already joint" and so on. */
const char *raft_conf_refusal_text(enum raft_conf_refusal refusal);

/* Does what the change says: leaves, enters or changes simply. *ret_conf is untouched unless the
 * change is fine; it may be the same object as conf. */
MUST enum raft_conf_refusal raft_conf_apply(const struct raft_conf_state *conf,
                                            const struct raft_conf_change *change,
                                            struct raft_conf_state *ret_conf);
MUST enum raft_conf_refusal raft_conf_simple(const struct raft_conf_state *conf,
                                             const struct raft_conf_single *changes, size_t count,
                                             struct raft_conf_state *ret_conf);
MUST enum raft_conf_refusal raft_conf_enter(const struct raft_conf_state *conf, bool auto_leave,
                                            const struct raft_conf_single *changes, size_t count,
                                            struct raft_conf_state *ret_conf);
MUST enum raft_conf_refusal raft_conf_leave(const struct raft_conf_state *conf,
                                            struct raft_conf_state *ret_conf);

/* RAFT_CONF_FINE, RAFT_CONF_TOO_MANY or RAFT_CONF_INVALID. */
MUST enum raft_conf_refusal raft_conf_check(const struct raft_conf_state *conf);
bool raft_conf_is_joint(const struct raft_conf_state *conf);
/* Does the change ask to leave a joint configuration? */
bool raft_conf_change_leaves(const struct raft_conf_change *change);
/* Everyone named, voters and learners; false: more than RAFT_MEMBERS_MAX. */
MUST bool raft_conf_members(const struct raft_conf_state *conf, struct raft_id_set *ret_members);
/* "voters=(2 3)&&(1) learners=(4) learners_next=(1) autoleave" */
void raft_conf_text(const struct raft_conf_state *conf, char *ret_text, size_t size);
