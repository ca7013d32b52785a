/* What is true whichever member is asked.
 *
 * The committed log is what members have applied, entry by entry; the first to apply one shows it,
 * all others must agree. A store of its own, small and plain, applies the same entries: what a
 * member shows at an index, now and at older revisions, and what it answers must be what that
 * store says.
 *
 *  1. one leader a term; one vote a member and term, across its lives; a member votes, and
 *     vouches in a term, once that is durable;
 *  2. entries that two members applied at one index are the same (log matching, state machine
 *     safety); a leader's log holds all that was committed in the terms before its own;
 *  3. a member acknowledges no entry that it does not durably hold;
 *  4. what a member shows at an index is the state after exactly the entries up to it, keys,
 *     leases, alarms and members, and its hash is the one of those entries, computed anew; those
 *     whom raft counts are the members at that index;
 *  5. a life's applied index never goes back, nor does its revision;
 *  6. no request is applied twice;
 *  7. the core's queues stay within their bounds. */
#include "sim.h"

#include "base/array.h"
#include "base/check.h"
#include "base/crc.h"
#include "member_priv.h"
#include "model_hash.h"
#include "mvcc/hash.h"
#include "quorum.h"
#include "roster.h"
#include "stage/log.h"
#include "state/lease.h"

#include <stdlib.h>

#define TERMS_MAX     4096
#define ENTRIES_GET   64
#define SUSPECT_PASTS 100

struct committed {
    uint64_t term, hash;
    uint64_t in_term; /* it was committed in this term at the latest, whatever its own */
    int64_t revision, compacted;
    uint64_t leases, alarms; /* sums over them */
    uint64_t members;        /* of all that is said of them; 0: nobody has shown it */
};

struct oracle {
    struct sim *sim;
    struct roster *roster;
    struct quorum *quorum;
    struct committed *entries; /* by index; 0 is nothing */
    uint64_t last;
    size_t cap;
    uint64_t leaders[TERMS_MAX];
    uint64_t leader_term; /* the highest that anybody has led in */
    uint64_t votes[SIM_MEMBERS_MAX][TERMS_MAX];
    uint64_t checked[SIM_MEMBERS_MAX]; /* applied as last seen in this life */
    int64_t shown[SIM_MEMBERS_MAX];    /* revision as last seen in this life */
};

int64_t oracle_revision_at(const struct oracle *self, uint64_t index)
{
    return self->entries[index].revision;
}

uint64_t oracle_last(const struct oracle *self)
{
    return self->last;
}

/* ---- the committed log ------------------------------------------------------------------------
 */

static uint64_t entry_hash(const struct raft_entry *entry)
{
    return model_hash_bytes(entry->data) ^ entry->term << 32 ^ (uint64_t)entry->type << 60;
}

static void take_entry(struct oracle *self, struct node *member, const struct raft_entry *entry)
{
    if (entry->index <= self->last) {
        const struct committed *known = &self->entries[entry->index];
        if (known->hash != entry_hash(entry) || known->term != entry->term)
            sim_fail(self->sim, "m%u applied another entry at %llu: term %llu, others term %llu",
                     member->at, (unsigned long long)entry->index, (unsigned long long)entry->term,
                     (unsigned long long)known->term);
        return;
    }
    CHECK(entry->index == self->last + 1);
    self->entries = array_grow(self->entries, entry->index, &self->cap, sizeof(self->entries[0]));
    model_apply(self->sim->model, entry);
    if (entry->type != RAFT_ENTRY_NORMAL) {
        roster_apply(self->roster, entry);
        changes_look(self->sim, self->quorum);
        nemesis_changed(self->sim, member);
    }
    self->last = entry->index;
    self->entries[entry->index] = (struct committed){.term = entry->term,
                                                     .in_term = self->leader_term,
                                                     .hash = entry_hash(entry),
                                                     .revision = model_revision(self->sim->model),
                                                     .compacted = model_compacted(self->sim->model),
                                                     .leases = model_lease_sum(self->sim->model),
                                                     .alarms = model_alarm_sum(self->sim->model)};
    self->sim->counts->entries++;
    sim_note(self->sim, entry->index, self->entries[entry->index].hash);
}

static void take_entries(struct oracle *self, struct node *member, uint64_t to)
{
    uint64_t at = self->checked[member->at] + 1;
    while (at <= to) {
        struct raft_entry entries[ENTRIES_GET];
        size_t count;
        err e = stage_log_entries(member_log(member), at, to + 1, UINT64_MAX, ENTRIES_GET, entries,
                                  &count);
        if (!err_ok(e)) {
            if (member->suspect) { /* others will show it */
                self->checked[member->at] = at <= self->last ? to : at - 1;
                return;
            }
            sim_fail(self->sim, "m%u applied %llu and cannot read it: %s", member->at,
                     (unsigned long long)at, err_text(e));
        }
        for (size_t i = 0; i < count; i++)
            take_entry(self, member, &entries[i]);
        raft_entries_unref(entries, count);
        at += count;
    }
    self->checked[member->at] = to;
}

/* ---- elections and promises --------------------------------------------------------------------
 */

static void note_vote(struct oracle *self, struct node *member, uint64_t term, uint64_t whom)
{
    if (term >= TERMS_MAX)
        return;
    uint64_t *vote = &self->votes[member->at][term];
    if (*vote && *vote != whom && !member->suspect)
        sim_fail(self->sim, "m%u votes twice in term %llu", member->at, (unsigned long long)term);
    *vote = whom;
}

/* vote 0: any. A member with rotten bytes has not lost what it wrote since. */
static void check_durable(struct oracle *self, struct node *member, uint64_t term, uint64_t vote)
{
    const struct raft_hard_state *durable = &member->durable;
    if (durable->term > term || (durable->term == term && (!vote || durable->vote == vote)))
        return;
    sim_fail(self->sim, "m%u vouches in term %llu for %llx, durable is term %llu and %llx",
             member->at, (unsigned long long)term, (unsigned long long)vote,
             (unsigned long long)durable->term, (unsigned long long)durable->vote);
}

static void check_leader(struct oracle *self, struct node *member,
                         const struct replica_status *status)
{
    if (!status->is_leader || status->term >= TERMS_MAX)
        return;
    uint64_t *leader = &self->leaders[status->term];
    if (*leader == member->id)
        return;
    if (*leader)
        sim_fail(self->sim, "two leaders in term %llu", (unsigned long long)status->term);
    *leader = member->id;
    if (status->term > self->leader_term)
        self->leader_term = status->term;
    note_vote(self, member, status->term, member->id); /* its own counts once it is durable */
    check_durable(self, member, status->term, member->id);
    nemesis_elected(self->sim, member);
    self->sim->counts->elections++;
    sim_say(self->sim, "m%u leads in term %llu", member->at, (unsigned long long)status->term);
    uint64_t last = self->last;
    while (last && self->entries[last].in_term >= status->term)
        last--;
    uint64_t term = 0;
    struct stage_log *log = member_log(member);
    if (status->last_index < last)
        sim_fail(self->sim, "m%u leads in term %llu up to %llu, committed before is %llu",
                 member->at, (unsigned long long)status->term,
                 (unsigned long long)status->last_index, (unsigned long long)last);
    if (last && last <= stage_log_last_index(log) && err_ok(stage_log_term(log, last, &term)) &&
        term != self->entries[last].term)
        sim_fail(self->sim, "m%u leads in term %llu without entry %llu", member->at,
                 (unsigned long long)status->term, (unsigned long long)last);
}

void oracle_send(struct oracle *self, struct node *member, const struct raft_message *message)
{
    quorum_send(self->quorum, member, message);
    if (message->type == RAFT_MSG_VOTE_RESP && !message->reject) {
        note_vote(self, member, message->term, message->to);
        check_durable(self, member, message->term, message->to);
    }
    struct replica_status status;
    replica_status_get(member_replica(member), &status);
    /* What it says of a former term was so before the entries of this one replaced it. */
    if (message->type == RAFT_MSG_APP_RESP && !message->reject && message->term == status.term &&
        message->index > stage_log_last_index(member_log(member)))
        sim_fail(self->sim, "m%u acknowledges %llu, durable is %llu", member->at,
                 (unsigned long long)message->index,
                 (unsigned long long)stage_log_last_index(member_log(member)));
    if (message->type == RAFT_MSG_APP_RESP && !message->reject && message->index)
        check_durable(self, member, message->term, 0);
    bool vouches = message->type == RAFT_MSG_VOTE_RESP || message->type == RAFT_MSG_APP_RESP;
    if (vouches && message->term > member->term_max)
        member->term_max = message->term;
}

/* ---- what a member shows -----------------------------------------------------------------------
 */

bool oracle_read(struct node *member, const struct replica_view *view, unsigned key, uint64_t seq,
                 struct model_state *ret_state)
{
    char name[8];
    model_key_name(key, name);
    struct mvcc_state state;
    struct mvcc_record record;
    struct mvcc_kv kv;
    bool found;
    err e = mvcc_view_find(view->mvcc, bytes_str(name), seq, &state, &found, NULL);
    if (err_ok(e) && !found) {
        *ret_state = (struct model_state){0};
        return true;
    }
    if (err_ok(e))
        e = mvcc_view_read(view->mvcc, state.seq, &record, NULL);
    if (err_ok(e))
        e = mvcc_kv_decode(record.blob, &kv);
    if (!err_ok(e)) {
        if (!member->suspect)
            sim_fail(member->sim, "m%u cannot read %s: %s", member->at, name, err_text(e));
        return false;
    }
    if (!bytes_equal(kv.key, bytes_str(name)) || kv.mod != state.main)
        sim_fail(member->sim, "m%u shows another key's bytes for %s", member->at, name);
    *ret_state = (struct model_state){true,       kv.create, kv.mod,
                                      kv.version, kv.lease,  model_hash_bytes(kv.value)};
    return true;
}

void oracle_expect(struct sim *sim, struct node *member, const char *what, unsigned key,
                   const struct model_state *expected, const struct model_state *found)
{
    if (expected->exists == found->exists && expected->create == found->create &&
        expected->mod == found->mod && expected->version == found->version &&
        expected->value == found->value && expected->lease == found->lease)
        return;
    sim_fail(sim,
             "m%u, %s of k%02u: create %lld mod %lld version %lld lease %lld value %llx, must be "
             "create %lld mod %lld version %lld lease %lld value %llx",
             member->at, what, key, (long long)found->create, (long long)found->mod,
             (long long)found->version, (long long)found->lease, (unsigned long long)found->value,
             (long long)expected->create, (long long)expected->mod, (long long)expected->version,
             (long long)expected->lease, (unsigned long long)expected->value);
}

void oracle_compare_key(struct oracle *self, struct node *member, const struct replica_view *view,
                        unsigned key, int64_t revision)
{
    uint64_t seq;
    struct model_state found, expected = model_get(self->sim->model, key, revision);
    err e = mvcc_view_seq_of(view->mvcc, revision, &seq);
    if (!err_ok(e)) {
        if (member->suspect)
            return;
        sim_fail(self->sim, "m%u refuses revision %lld of [%lld, %lld]: %s", member->at,
                 (long long)revision, (long long)view->mvcc->compact_revision,
                 (long long)view->mvcc->revision, err_text(e));
    }
    if (oracle_read(member, view, key, seq, &found))
        oracle_expect(self->sim, member, "state", key, &expected, &found);
}

/* False: its bytes are rotten. */
static bool hash_run(struct node *member, const struct replica_view *view, struct mvcc_hash *hash)
{
    bool done = false;
    err e = OK;
    while (err_ok(e) && !done) {
        unsigned budget = 1000000;
        e = mvcc_hash_run(hash, view->mvcc, &budget, &done);
    }
    if (!err_ok(e) && !member->suspect)
        sim_fail(member->sim, "m%u: hash of revision %lld: %s", member->at,
                 (long long)hash->hash_revision, err_text(e));
    mvcc_hash_done(hash);
    return err_ok(e);
}

static void expect_hash(struct oracle *self, const struct node *member, const char *what,
                        const struct mvcc_hash *hash, uint32_t expected)
{
    self->sim->counts->hash_compared++;
    if (hash->hash != expected)
        sim_fail(self->sim, "m%u: %s of revision %lld, compacted %lld, is %08x, must be %08x",
                 member->at, what, (long long)hash->hash_revision,
                 (long long)hash->compact_revision, hash->hash, expected);
}

static void compare_hash(struct oracle *self, struct node *member, const struct replica_view *view,
                         int64_t revision)
{
    struct mvcc_hash hash;
    err e = mvcc_hash_begin(&hash, view->mvcc, revision);
    if (!err_ok(e) && !member->suspect)
        sim_fail(self->sim, "m%u: no hash of revision %lld: %s", member->at, (long long)revision,
                 err_text(e));
    if (!err_ok(e) || !hash_run(member, view, &hash))
        return;
    /* What a compaction left is as of the one before. */
    bool stored = hash.compact_revision != view->mvcc->compact_revision;
    uint32_t expected = model_rows_hash(
        model_rows(self->sim->model), stored ? MODEL_HASH_OF_COMPACTION : MODEL_HASH_OF_REVISION,
        crc32c(0, bytes_str("key")), revision, hash.compact_revision);
    expect_hash(self, member, "the hash", &hash, expected);
}

/* Of the small buckets as the member has them, and of the keys as they must be. */
static void compare_hash_of_all(struct oracle *self, struct node *member,
                                const struct replica_view *view)
{
    struct mvcc_hash hash;
    mvcc_hash_begin_all(&hash, view->mvcc);
    uint32_t expected = model_rows_hash(model_rows(self->sim->model), MODEL_HASH_OF_ALL, hash.hash,
                                        view->mvcc->revision, view->mvcc->compact_revision);
    expected = crc32c_combine(expected, hash.after_hash, hash.after_bytes);
    if (hash_run(member, view, &hash))
        expect_hash(self, member, "the hash of all", &hash, expected);
}

static uint64_t lease_sum(const struct lease_table *table)
{
    uint64_t sum = 0, from = 0;
    int64_t ids[64];
    size_t count;
    do {
        count = lease_table_list(table, from, 64, ids);
        for (size_t i = 0; i < count; i++)
            sum += model_lease_hash(ids[i], lease_table_find(table, ids[i])->ttl_s);
        from = count ? (uint64_t)ids[count - 1] + 1 : 0;
    } while (count == 64);
    return sum;
}

/* Names and client URLs too, of which the roster knows nothing. */
static uint64_t members_sum(const struct membership *members, uint64_t *ret_rostered)
{
    uint64_t sum = 1 + members->version.minor, rostered = 0;
    for (size_t i = 0; i < members->count; i++) {
        const struct member *at = &members->members[i];
        uint64_t hash =
            roster_hash_member(at->id, at->learner, at->peer_urls.items, at->peer_urls.count);
        rostered += hash;
        sum += model_hash_bytes(bytes_str(at->name)) * (2 * hash + 1);
        for (size_t j = 0; j < at->client_urls.count; j++)
            sum += model_hash_bytes(bytes_str(at->client_urls.items[j])) ^ hash;
    }
    for (size_t i = 0; i < members->removed_count; i++)
        rostered += roster_hash_removed(members->removed[i]);
    *ret_rostered = rostered;
    return sum + rostered;
}

/* What is no key: members, alarms, leases. */
static void compare_rest(struct oracle *self, struct node *member, uint64_t applied)
{
    struct committed *entry = &self->entries[applied];
    const struct state *state = member->life->boot.store.state;
    const struct roster_config *config = roster_at(self->roster, applied);
    struct replica_status status;
    uint64_t rostered, alarms = 0;
    /* They are as they are now, which may be ahead of what is shown. */
    replica_status_get(member_replica(member), &status);
    if (status.applied_index != applied)
        return;
    uint64_t members = members_sum(state_members(state), &rostered);
    const struct alarms *raised = state_alarms(state);
    for (size_t i = 0; i < raised->count; i++)
        alarms += model_alarm_hash(raised->items[i].member_id);
    if (!entry->members)
        entry->members = members;
    if (rostered != config->hash || members != entry->members)
        sim_fail(self->sim, "m%u at %llu: other members than they must be", member->at,
                 (unsigned long long)applied);
    if (alarms != entry->alarms)
        sim_fail(self->sim, "m%u at %llu: other alarms than they must be", member->at,
                 (unsigned long long)applied);
    if (lease_sum(state_leases(state)) != entry->leases && !state_is_busy(state))
        sim_fail(self->sim, "m%u at %llu: other leases than they must be", member->at,
                 (unsigned long long)applied);
    if (!raft_id_set_equal(&status.conf->voters, &config->voters) ||
        !raft_id_set_equal(&status.conf->learners, &config->learners))
        sim_fail(self->sim, "m%u at %llu counts others than the members", member->at,
                 (unsigned long long)applied);
}

static int64_t past_revision(struct oracle *self, const struct replica_view *view)
{
    int64_t oldest = view->mvcc->compact_revision < 1 ? 1 : view->mvcc->compact_revision;
    return oldest + (int64_t)sim_below(self->sim, (uint64_t)(view->mvcc->revision - oldest + 1));
}

void oracle_compare(struct oracle *self, struct node *member, const struct replica_view *view)
{
    self->sim->counts->state_compared++;
    compare_rest(self, member, view->applied_index);
    for (unsigned key = 0; key < self->sim->plan.keys; key++)
        oracle_compare_key(self, member, view, key, view->mvcc->revision);
    /* What is rotten may be refused, never shown: with luck the hash comes across it first. */
    int64_t past = past_revision(self, view);
    oracle_compare_key(self, member, view, (unsigned)sim_below(self->sim, self->sim->plan.keys),
                       past);
    for (unsigned i = 0; member->suspect && i < SUSPECT_PASTS; i++)
        oracle_compare_key(self, member, view, (unsigned)sim_below(self->sim, self->sim->plan.keys),
                           past_revision(self, view));
    compare_hash(self, member, view, view->mvcc->revision);
    if (sim_chance(self->sim, 300))
        compare_hash(self, member, view, past);
    if (member->cleaned || sim_chance(self->sim, 300))
        compare_hash_of_all(self, member, view);
}

static void check_view(struct oracle *self, struct node *member, const struct replica_view *view)
{
    uint64_t applied = view->applied_index;
    const struct committed *entry = &self->entries[applied];
    if (view->mvcc->revision != entry->revision ||
        (view->mvcc->compact_revision > 0 ? view->mvcc->compact_revision : 0) !=
            (entry->compacted > 0 ? entry->compacted : 0))
        sim_fail(self->sim, "m%u at %llu: revision %lld compacted %lld, must be %lld and %lld",
                 member->at, (unsigned long long)applied, (long long)view->mvcc->revision,
                 (long long)view->mvcc->compact_revision, (long long)entry->revision,
                 (long long)entry->compacted);
    if (view->mvcc->revision < self->shown[member->at])
        sim_fail(self->sim, "m%u: revision goes back", member->at);
    self->shown[member->at] = view->mvcc->revision;
}

static void look_heard(struct oracle *self, const struct node *member)
{
    unsigned count = 0;
    for (unsigned i = 0; i < self->sim->slots; i++) {
        const struct node *other = self->sim->members[i];
        count += other->state == MEMBER_UP && other->changed_index >= member->changed_index;
    }
    if (count == 2)
        nemesis_change_heard(self->sim, member, member->changed_index);
}

void oracle_look(struct oracle *self, struct node *member)
{
    struct replica_status status;
    replica_status_get(member_replica(member), &status);
    check_leader(self, member, &status);
    if (status.appends_in_flight > 4096 || status.proposals_pending > 8192)
        sim_fail(self->sim, "m%u: %u appends and %u proposals wait", member->at,
                 status.appends_in_flight, status.proposals_pending);
    const struct replica_view *view = member_view_enter(member);
    uint64_t applied = view->applied_index;
    uint64_t before = self->checked[member->at];
    if (applied < before)
        sim_fail(self->sim, "m%u: applied goes back from %llu to %llu", member->at,
                 (unsigned long long)before, (unsigned long long)applied);
    if (applied > before) {
        take_entries(self, member, applied);
        if (applied > member->applied_max)
            member->applied_max = applied;
    }
    /* Entries that it applied before its start and nobody has shown are not known yet. */
    if (applied <= self->last && applied > 0) {
        uint64_t changed = roster_at(self->roster, applied)->index;
        check_view(self, member, view);
        if (member->cleaned ||
            (applied > before && (applied % 16 == 0 || sim_chance(self->sim, 20))))
            oracle_compare(self, member, view);
        else if (changed > before)
            compare_rest(self, member, applied);
        if (changed > before) {
            member->changed_index = changed;
            look_heard(self, member);
        }
        member->cleaned = false;
    }
    member_view_leave(member);
    quorum_look(self->quorum, member, &status);
}

const struct roster *oracle_roster(const struct oracle *self)
{
    return self->roster;
}

void oracle_renew(struct oracle *self, unsigned at)
{
    memset(self->votes[at], 0, sizeof(self->votes[at]));
    self->checked[at] = 0;
    self->shown[at] = 0;
}

void oracle_boot(struct oracle *self, struct node *member, uint64_t applied)
{
    if (applied > self->last)
        sim_fail(self->sim, "m%u starts at %llu, nobody has applied more than %llu", member->at,
                 (unsigned long long)applied, (unsigned long long)self->last);
    self->checked[member->at] = applied;
    self->shown[member->at] = 0;
    if (applied > 0) {
        const struct replica_view *view = member_view_enter(member);
        check_view(self, member, view);
        compare_rest(self, member, applied);
        member_view_leave(member);
    }
}

struct oracle *oracle_new(struct sim *sim)
{
    struct oracle *self = calloc(1, sizeof(*self));
    CHECK(self);
    self->sim = sim;
    self->roster = roster_new(sim);
    self->quorum = quorum_new(sim);
    self->entries = array_grow(NULL, 0, &self->cap, sizeof(self->entries[0]));
    self->entries[0] = (struct committed){.revision = 1, .compacted = -1};
    return self;
}

void oracle_free(struct oracle *self)
{
    roster_free(self->roster);
    quorum_free(self->quorum);
    free(self->entries);
    free(self);
}
