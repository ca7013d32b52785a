/* Changes of members: what must hold before one is proposed.
 *
 *     add, remove, update ── judged where they were asked for ──> proposed (raft forwards)
 *     promote ──> waiting ─┬─ leads: judged ──────────────────────> proposed
 *                          └─ follows: away, to the leader ─ answer ─> answered, or waiting again
 *
 * Only the leader knows how far a learner is, so a promotion goes to it whole. What is judged here
 * is judged again by membership_check when the entry is applied, there equally on all members.
 * Source: etcd's interface, limits "strict-reconfig-check", "learner promotion", "Check order". */
#include "replica/replica_internal.h"

#include "base/bug.h"

#include <stdlib.h>

static size_t quorum(size_t voters)
{
    return voters / 2 + 1;
}

/* Voters that have been connected for a while, this member included. */
static size_t connected_voters(const struct replica *self, const struct membership *members)
{
    uint64_t since_ms = self->now_ms > HEALTH_MS ? self->now_ms - HEALTH_MS : 0;
    size_t n = 0;
    for (size_t i = 0; i < members->count; i++) {
        const struct member *m = &members->members[i];
        n += !m->learner &&
             (m->id == self->member_id || cluster_connected_since(self, m->id, since_ms));
    }
    return n;
}

/* The new member counts as dead until it shows itself. A cluster of one may always grow: so lost
 * ones are rebuilt. */
static err may_add(const struct replica *self, const struct member *member)
{
    const struct membership *members = state_members(self->state);
    size_t voters = membership_voter_count(members);
    size_t started = membership_started_count(members);
    bool alone = voters == 1 && started == 1;
    if (!member->learner && !alone && started < quorum(voters + 1))
        return ERR_MEMBER_NOT_ENOUGH_STARTED;
    if (voters > 1 && connected_voters(self, members) < quorum(voters + 1))
        return ERR_UNHEALTHY;
    return OK;
}

static err may_remove(const struct replica *self, uint64_t id)
{
    const struct membership *members = state_members(self->state);
    const struct member *member = membership_find(members, id);
    if (member && member->learner)
        return OK;
    size_t voters = membership_voter_count(members);
    size_t left = voters - (member ? 1 : 0);
    size_t started = membership_started_count(members) - (member && member->name[0] ? 1 : 0);
    if (started < quorum(left))
        return ERR_MEMBER_NOT_ENOUGH_STARTED;
    /* Who is down is no part of the quorum that works. */
    if (id != self->member_id && !cluster_connected_since(self, id, self->now_ms))
        return OK;
    if (connected_voters(self, members) < quorum(voters - 1) + 1)
        return ERR_UNHEALTHY;
    return OK;
}

/* As the leader. A voter passes: it is refused when the entry is applied, as etcd does it. */
static err may_promote(const struct replica *self, uint64_t id)
{
    uint64_t match, own = raft_last_index(self->raft);
    if (!raft_peer_match(self->raft, id, &match))
        return ERR_MEMBER_NOT_FOUND;
    (void)raft_peer_match(self->raft, self->member_id, &own);
    if (match * 100 < own * LEARNER_READY_PERCENT && !BUG(learner_unready))
        return ERR_LEARNER_NOT_READY;
    const struct membership *members = state_members(self->state);
    if (self->strict_reconfig &&
        membership_started_count(members) + 1 < quorum(membership_voter_count(members) + 1))
        return ERR_MEMBER_NOT_ENOUGH_STARTED;
    return OK;
}

/* --- promotions -------------------------------------------------------------------------- */

struct promotion {
    struct list node; /* replica.promotions */
    uint64_t token;
    uint64_t id;
    bool from_member;
    uint64_t number; /* of a forward; 0: not away */
    uint64_t start_ms;
    uint64_t retry_ms;   /* not asked of a leader before */
    uint64_t wait_index; /* judged by a state that has applied so much */
};

void members_promoted(struct replica *self, err error)
{
    self->promoted = array_grow(self->promoted, self->promoted_count, &self->promoted_cap,
                                sizeof(self->promoted[0]));
    self->promoted[self->promoted_count++] = error;
}

static void promotion_free(struct promotion *self)
{
    list_remove(&self->node);
    free(self);
}

static bool fail(struct replica *self, const struct promotion *p, err error)
{
    publish_error(self, p->token, REPLY_MEMBER, error);
    return true;
}

/* As the leader. True: it has been answered, or an entry will. */
static bool judge_here(struct replica *self, const struct promotion *p)
{
    err e = OK;
    if (self->published_index < p->wait_index) {
        if (self->now_ms < p->start_ms + WAIT_APPLIED_MS)
            return false;
        e = ERR_TIMEOUT_WAIT_APPLIED_INDEX;
    }
    if (err_ok(e))
        e = may_promote(self, p->id);
    if (err_ok(e)) {
        const struct member_change change = {MEMBER_PROMOTE, {.id = p->id}};
        proposals_change_members(self, p->token, &change);
        return true;
    }
    members_promoted(self, e);
    return fail(self, p, e);
}

static void forward(struct replica *self, struct promotion *p)
{
    p->number = ++self->promotion_number;
    self->promote_forwards =
        array_grow(self->promote_forwards, self->promote_forward_count, &self->promote_forward_cap,
                   sizeof(self->promote_forwards[0]));
    self->promote_forwards[self->promote_forward_count++] = (struct replica_promote_forward){
        .ask = p->number, .leader_id = self->leader, .member_id = p->id};
}

/* True: it is over. */
static bool promotion_run(struct replica *self, struct promotion *p)
{
    bool leads = self->leading && self->leader == self->member_id;
    if (self->stopping)
        return fail(self, p, ERR_STOPPED);
    if (self->now_ms >= p->start_ms + request_timeout_ms(self))
        return fail(self, p, self->leader == RAFT_NONE ? ERR_NO_LEADER : ERR_TIMEOUT);
    if (p->number)
        return false;
    if (leads)
        return judge_here(self, p);
    if (p->from_member)
        return fail(self, p, ERR_NOT_LEADER);
    if (self->leader != RAFT_NONE && !self->leading && self->now_ms >= p->retry_ms)
        forward(self, p);
    return false;
}

void replica_promotion_answered(struct replica *self, uint64_t ask, err error, uint64_t now_ms)
{
    self->now_ms = now_ms;
    LIST_FOREACH (node, &self->promotions) {
        struct promotion *p = LIST_ENTRY(node, struct promotion, node);
        if (p->number != ask)
            continue;
        p->number = 0;
        p->retry_ms = now_ms + ASK_RETRY_MS;
        if (err_ok(error) || err_is(error, ERR_LEARNER_NOT_READY) ||
            err_is(error, ERR_MEMBER_NOT_FOUND) || err_is(error, ERR_MEMBER_NOT_LEARNER)) {
            (void)fail(self, p, error);
            promotion_free(p);
        }
        return;
    }
}

void members_run(struct replica *self)
{
    LIST_FOREACH_SAFE (node, after, &self->promotions) {
        struct promotion *p = LIST_ENTRY(node, struct promotion, node);
        if (promotion_run(self, p))
            promotion_free(p);
    }
}

void members_free(struct replica *self)
{
    LIST_FOREACH_SAFE (node, after, &self->promotions)
        promotion_free(LIST_ENTRY(node, struct promotion, node));
    free(self->promoted);
    free(self->promote_forwards);
}

/* --- asking ------------------------------------------------------------------------------ */

void replica_change_members(struct replica *self, uint64_t token,
                            const struct member_change *change, bool from_member, uint64_t now_ms)
{
    self->now_ms = now_ms;
    if (change->kind == MEMBER_PROMOTE) {
        struct promotion *p = calloc(1, sizeof(*p));
        CHECK(p);
        *p = (struct promotion){.token = token,
                                .id = change->member.id,
                                .from_member = from_member,
                                .start_ms = now_ms,
                                .wait_index = raft_commit(self->raft)};
        list_push(&self->promotions, &p->node);
        return;
    }
    err refused = OK;
    if (self->strict_reconfig && change->kind == MEMBER_ADD)
        refused = may_add(self, &change->member);
    else if (self->strict_reconfig && change->kind == MEMBER_REMOVE)
        refused = may_remove(self, change->member.id);
    if (err_ok(refused))
        proposals_change_members(self, token, change);
    else
        publish_error(self, token, REPLY_MEMBER, refused);
}
