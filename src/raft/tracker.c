#include "raft/tracker.h"

#include "base/bug.h"

#include <stdlib.h>

void raft_tracker_init(struct raft_tracker *self, uint32_t max_inflight_msgs,
                       uint64_t max_inflight_bytes)
{
    self->conf = (struct raft_conf_state){0};
    self->count = 0;
    self->max_inflight_msgs = max_inflight_msgs;
    self->max_inflight_bytes = max_inflight_bytes;
}

void raft_tracker_done(struct raft_tracker *self)
{
    RAFT_TRACKER_FOREACH(peer, self)
    raft_inflights_done(&peer->inflights);
    self->count = 0;
}

const struct raft_progress *raft_tracker_peek(const struct raft_tracker *self, uint64_t id)
{
    for (uint32_t i = 0; i < self->count; i++)
        if (self->peers[i].id == id)
            return &self->peers[i];
    return NULL;
}

struct raft_progress *raft_tracker_get(struct raft_tracker *self, uint64_t id)
{
    return (struct raft_progress *)raft_tracker_peek(self, id);
}

static void tracker_remove_absent(struct raft_tracker *self, const struct raft_id_set *members)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < self->count; i++) {
        if (!raft_id_set_has(members, self->peers[i].id)) {
            raft_inflights_done(&self->peers[i].inflights);
            continue;
        }
        if (kept != i)
            self->peers[kept] = self->peers[i];
        kept++;
    }
    self->count = kept;
}

static void tracker_insert(struct raft_tracker *self, uint32_t at, uint64_t id, uint64_t next)
{
    CHECK(self->count < RAFT_MEMBERS_MAX);
    memmove(&self->peers[at + 1], &self->peers[at], (self->count - at) * sizeof(self->peers[0]));
    self->count++;
    /* Active, so that a quorum check right after does not count it as silent. */
    self->peers[at] = (struct raft_progress){.id = id, .next = next, .recent_active = true};
    raft_inflights_init(&self->peers[at].inflights, self->max_inflight_msgs,
                        self->max_inflight_bytes);
}

void raft_tracker_switch(struct raft_tracker *self, const struct raft_conf_state *conf,
                         uint64_t next)
{
    struct raft_id_set members;
    bool fits = raft_conf_members(conf, &members);
    CHECK(fits);
    self->conf = *conf;
    tracker_remove_absent(self, &members);
    for (uint32_t i = 0; i < members.count; i++)
        if (i == self->count || self->peers[i].id != members.ids[i])
            tracker_insert(self, i, members.ids[i], next);
    RAFT_TRACKER_FOREACH(peer, self)
    peer->is_learner = raft_id_set_has(&conf->learners, peer->id);
}

void raft_tracker_reset(struct raft_tracker *self, uint64_t next)
{
    RAFT_TRACKER_FOREACH(peer, self)
    {
        struct raft_inflights inflights = peer->inflights;
        raft_inflights_reset(&inflights);
        *peer = (struct raft_progress){
            .id = peer->id,
            .next = next,
            .is_learner = peer->is_learner,
            .inflights = inflights,
        };
    }
}

static bool match_of(const void *ctx, uint64_t id, uint64_t *ret_index)
{
    const struct raft_progress *peer = raft_tracker_peek(ctx, id);
    if (!peer)
        return false;
    *ret_index = peer->match;
    return true;
}

uint64_t raft_tracker_committed(const struct raft_tracker *self)
{
    if (BUG(learner_counts)) {
        struct raft_conf_state conf = self->conf;
        for (uint32_t i = 0; i < conf.learners.count; i++)
            CHECK(raft_id_set_add(&conf.voters, conf.learners.ids[i]));
        return raft_joint_index(&conf, match_of, self);
    }
    return raft_joint_index(&self->conf, match_of, self);
}

static bool read_acked_of(const void *ctx, uint64_t id, uint64_t *ret_index)
{
    const struct raft_progress *peer = raft_tracker_peek(ctx, id);
    if (!peer)
        return false;
    *ret_index = peer->read_acked;
    return true;
}

uint64_t raft_tracker_read_confirmed(const struct raft_tracker *self)
{
    return raft_joint_index(&self->conf, read_acked_of, self);
}

void raft_tracker_reset_ballots(struct raft_tracker *self)
{
    RAFT_TRACKER_FOREACH(peer, self)
    peer->ballot = RAFT_BALLOT_MISSING;
}

void raft_tracker_record_ballot(struct raft_tracker *self, uint64_t id, bool granted)
{
    struct raft_progress *peer = raft_tracker_get(self, id);
    if (peer && peer->ballot == RAFT_BALLOT_MISSING)
        peer->ballot = granted ? RAFT_BALLOT_YES : RAFT_BALLOT_NO;
}

static enum raft_ballot ballot_of(const void *ctx, uint64_t id)
{
    const struct raft_progress *peer = raft_tracker_peek(ctx, id);
    return peer ? peer->ballot : RAFT_BALLOT_MISSING;
}

enum raft_vote_result raft_tracker_tally(const struct raft_tracker *self, uint32_t *ret_granted,
                                         uint32_t *ret_rejected)
{
    uint32_t granted = 0;
    uint32_t rejected = 0;
    for (uint32_t i = 0; i < self->count; i++) {
        if (self->peers[i].is_learner)
            continue;
        granted += self->peers[i].ballot == RAFT_BALLOT_YES;
        rejected += self->peers[i].ballot == RAFT_BALLOT_NO;
    }
    *ret_granted = granted;
    *ret_rejected = rejected;
    return raft_joint_vote(&self->conf, ballot_of, self);
}

static enum raft_ballot active_of(const void *ctx, uint64_t id)
{
    const struct raft_progress *peer = raft_tracker_peek(ctx, id);
    return peer && peer->recent_active ? RAFT_BALLOT_YES : RAFT_BALLOT_NO;
}

bool raft_tracker_quorum_active(const struct raft_tracker *self)
{
    return raft_joint_vote(&self->conf, active_of, self) == RAFT_VOTE_WON;
}

struct lately {
    const struct raft_tracker *tracker;
    uint64_t without;
};

static enum raft_ballot active_lately_of(const void *ctx, uint64_t id)
{
    const struct lately *lately = ctx;
    const struct raft_progress *peer = raft_tracker_peek(lately->tracker, id);
    bool alive = peer && id != lately->without && raft_progress_active_lately(peer);
    return alive ? RAFT_BALLOT_YES : RAFT_BALLOT_NO;
}

bool raft_tracker_quorum_lately(const struct raft_tracker *self, uint64_t without)
{
    struct lately lately = {self, without};
    return raft_joint_vote(&self->conf, active_lately_of, &lately) == RAFT_VOTE_WON;
}
