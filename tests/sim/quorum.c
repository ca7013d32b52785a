/* A leader counts votes and acknowledgements by the members that it has applied; of each it has
 * made use of, a message has left the member that gave it.
 *
 *  1. who leads has the votes of a majority of voters;
 *  2. what a leader commits a majority of voters has acknowledged in its term;
 *  3. who leads proposes no change of members while one in its log is not applied;
 *     voters being those of one configuration that it had applied in that pass: no learner, nobody
 *     who was removed. */
#include "quorum.h"

#include "base/check.h"
#include "member_priv.h"
#include "roster.h"
#include "sim.h"
#include "stage/log.h"

#include <stdlib.h>

struct vote {
    uint64_t term, voter, whom;
};

struct acknowledged {
    uint64_t id, term, index;
};

struct quorum {
    struct sim *sim;
    struct vote *votes; /* in order of their leaving */
    size_t vote_count;
    struct acknowledged *acknowledged; /* one of each member and term */
    size_t count;
    struct seen { /* of each place */
        uint64_t life, applied;
        uint64_t term, commit;        /* in which it leads, and what it has committed */
        uint64_t change, change_term; /* the newest change that it has sent of its own */
    } seen[SIM_MEMBERS_MAX];
};

static struct acknowledged *acknowledged_of(struct quorum *self, uint64_t id, uint64_t term)
{
    for (size_t i = self->count; i-- > 0;)
        if (self->acknowledged[i].id == id && self->acknowledged[i].term == term)
            return &self->acknowledged[i];
    self->acknowledged =
        realloc(self->acknowledged, (self->count + 1) * sizeof(self->acknowledged[0]));
    CHECK(self->acknowledged);
    self->acknowledged[self->count] = (struct acknowledged){.id = id, .term = term};
    return &self->acknowledged[self->count++];
}

/* None of those that are not applied changes members: those on its disk, and those sent with it. */
static void check_alone(struct quorum *self, const struct node *member,
                        const struct raft_message *message, const struct raft_entry *change)
{
    struct replica_status status;
    struct raft_entry entries[64];
    struct stage_log *log = member->life->boot.log;
    size_t count = 0;
    replica_status_get(member_replica(member), &status);
    uint64_t other = 0, from = status.applied_index + 1, last = stage_log_last_index(log);
    uint64_t end = change->index < last + 1 ? change->index : last + 1;
    if (from < end && !err_ok(stage_log_entries(log, from, end, UINT64_MAX, 64, entries, &count)))
        count = 0;
    for (size_t i = 0; i < count; i++)
        other = entries[i].type != RAFT_ENTRY_NORMAL ? entries[i].index : other;
    raft_entries_unref(entries, count);
    for (size_t i = 0; i < message->entry_count; i++)
        if (message->entries[i].type != RAFT_ENTRY_NORMAL && message->entries[i].index >= from &&
            message->entries[i].index < change->index)
            other = message->entries[i].index;
    if (other)
        sim_fail(self->sim, "m%u changes members at %llu, and has not applied the change at %llu",
                 member->at, (unsigned long long)change->index, (unsigned long long)other);
}

/* Those of its own term, when they are first sent. */
static void look_changes(struct quorum *self, const struct node *member,
                         const struct raft_message *message)
{
    struct seen *seen = &self->seen[member->at];
    for (size_t i = 0; i < message->entry_count; i++) {
        const struct raft_entry *entry = &message->entries[i];
        if (entry->type == RAFT_ENTRY_NORMAL || entry->term != message->term ||
            (seen->change_term == entry->term && seen->change >= entry->index))
            continue;
        seen->change = entry->index;
        seen->change_term = entry->term;
        check_alone(self, member, message, entry);
    }
}

void quorum_send(struct quorum *self, const struct node *member, const struct raft_message *message)
{
    if (message->type == RAFT_MSG_APP && !member->suspect)
        look_changes(self, member, message);
    if (message->reject)
        return;
    if (message->type == RAFT_MSG_VOTE_RESP) {
        self->votes = realloc(self->votes, (self->vote_count + 1) * sizeof(self->votes[0]));
        CHECK(self->votes);
        self->votes[self->vote_count++] = (struct vote){message->term, member->id, message->to};
    }
    if (message->type != RAFT_MSG_APP_RESP)
        return;
    struct acknowledged *entry = acknowledged_of(self, member->id, message->term);
    if (message->index > entry->index)
        entry->index = message->index;
}

uint64_t quorum_acknowledged(const struct quorum *self, uint64_t id)
{
    uint64_t index = 0;
    for (size_t i = 0; i < self->count; i++)
        if (self->acknowledged[i].id == id && self->acknowledged[i].index > index)
            index = self->acknowledged[i].index;
    return index;
}

/* By any of the configurations that it had applied meanwhile. */
static bool decides(struct quorum *self, const struct raft_id_set *who, uint64_t from, uint64_t to)
{
    const struct roster *roster = oracle_roster(self->sim->oracle);
    const struct roster_config *before = NULL;
    for (uint64_t index = from; index <= to; index++) {
        const struct roster_config *config = roster_at(roster, index);
        if (config != before && roster_decides(config, who))
            return true;
        before = config;
    }
    return false;
}

static void check_elected(struct quorum *self, const struct node *member,
                          const struct replica_status *status, uint64_t applied_before)
{
    struct raft_id_set who = {0};
    CHECK(raft_id_set_add(&who, member->id));
    for (size_t i = self->vote_count; i-- > 0;) {
        const struct vote *vote = &self->votes[i];
        if (vote->term == status->term && vote->whom == member->id)
            CHECK(raft_id_set_add(&who, vote->voter));
    }
    if (!decides(self, &who, applied_before, status->applied_index))
        sim_fail(self->sim,
                 "m%u leads in term %llu by the votes of %u, which are too few that count",
                 member->at, (unsigned long long)status->term, who.count);
}

static void check_committed(struct quorum *self, const struct node *member,
                            const struct replica_status *status, uint64_t applied_before)
{
    struct raft_id_set who = {0};
    if (stage_log_last_index(member->life->boot.log) >= status->commit_index)
        CHECK(raft_id_set_add(&who, member->id));
    for (size_t i = 0; i < self->count; i++) {
        const struct acknowledged *entry = &self->acknowledged[i];
        if (entry->term == status->term && entry->index >= status->commit_index)
            CHECK(raft_id_set_add(&who, entry->id));
    }
    if (!decides(self, &who, applied_before, status->applied_index))
        sim_fail(self->sim,
                 "m%u commits %llu in term %llu, which %u have, too few of those that count",
                 member->at, (unsigned long long)status->commit_index,
                 (unsigned long long)status->term, who.count);
}

void quorum_look(struct quorum *self, struct node *member, const struct replica_status *status)
{
    struct seen *seen = &self->seen[member->at];
    if (status->applied_index > oracle_last(self->sim->oracle) || member->suspect)
        return; /* not published yet, so what it is nobody has said: at the next pass */
    if (seen->life != member->life_number)
        *seen = (struct seen){.life = member->life_number,
                              .applied = status->applied_index,
                              .change = seen->change,
                              .change_term = seen->change_term};
    if (status->is_leader && seen->term != status->term) {
        check_elected(self, member, status, seen->applied);
        seen->term = status->term; /* of commits so far it may have been told */
    } else if (status->is_leader && status->commit_index > seen->commit) {
        check_committed(self, member, status, seen->applied);
    }
    seen->commit = status->commit_index;
    seen->applied = status->applied_index;
}

struct quorum *quorum_new(struct sim *sim)
{
    struct quorum *self = calloc(1, sizeof(*self));
    CHECK(self);
    self->sim = sim;
    return self;
}

void quorum_free(struct quorum *self)
{
    free(self->votes);
    free(self->acknowledged);
    free(self);
}
