/* What concerns the other members: who is connected and how old they are, what this member
 * proposes on its own, and when it lets another lead. */
#include "replica/replica_internal.h"

_Static_assert(MEMBERS_MAX <= RAFT_MEMBERS_MAX, "raft can name them all");

const struct membership *cluster_members(const struct replica *self)
{
    const struct membership *applied = state_members(self->state);
    bool joined = membership_find(applied, self->member_id) || self->is_removed ||
                  membership_was_removed(applied, self->member_id);
    return joined || !self->boot ? applied : self->boot;
}

/* --- peers ------------------------------------------------------------------------------- */

static struct peer *peer_find(struct replica *self, uint64_t id)
{
    for (size_t i = 0; i < self->peer_count; i++) {
        if (self->peers[i].id == id)
            return &self->peers[i];
    }
    return NULL;
}

static struct peer *peer_of(struct replica *self, uint64_t id)
{
    struct peer *p = peer_find(self, id);
    if (p)
        return p;
    if (self->peer_count == MEMBERS_MAX)
        self->peer_count = 0; /* more ids than members ever: all will be heard of again */
    p = &self->peers[self->peer_count++];
    *p = (struct peer){.id = id};
    return p;
}

void cluster_forget(struct replica *self, uint64_t id)
{
    struct peer *p = peer_find(self, id);
    if (p)
        *p = self->peers[--self->peer_count];
}

/* Members of etcd count by entries alone how far they are: one that starts with a state refuses all
 * requests as too many, its own publication too, until an entry comes behind it. Where nobody
 * writes, none would. */
static void follow_snapshot(struct replica *self)
{
    if (self->leading && raft_role(self->raft) == RAFT_LEADER)
        (void)raft_propose(self->raft, BYTES_NONE, NULL)
            .code; /* refused: others are on their way */
}

void replica_peer_report(struct replica *self, uint64_t id, enum replica_peer_event event,
                         struct cluster_version version, uint64_t now_ms)
{
    self->now_ms = now_ms;
    struct peer *p = peer_of(self, id);
    switch (event) {
    case PEER_ACTIVE:
        if (p->active_since_ms == 0)
            p->active_since_ms = now_ms ? now_ms : 1;
        break;
    case PEER_INACTIVE:
        p->active_since_ms = 0;
        raft_report_unreachable(self->raft, id); /* what was in flight is lost; no heir either */
        break;
    case PEER_UNREACHABLE:
        raft_report_unreachable(self->raft, id);
        break;
    case PEER_SNAPSHOT_SENT:
    case PEER_SNAPSHOT_FAILED:
    case PEER_STATE_UNREADABLE:
        self->unreadable |= event == PEER_STATE_UNREADABLE;
        raft_report_snapshot(self->raft, id, event == PEER_SNAPSHOT_SENT);
        if (event == PEER_SNAPSHOT_SENT)
            follow_snapshot(self);
        break;
    case PEER_VERSION:
        p->version = version;
        break;
    }
}

bool cluster_connected_since(const struct replica *self, uint64_t id, uint64_t since_ms)
{
    for (size_t i = 0; i < self->peer_count; i++) {
        const struct peer *p = &self->peers[i];
        if (p->id == id)
            return p->active_since_ms != 0 && p->active_since_ms <= since_ms;
    }
    return false;
}

bool cluster_quorum_connected_since(const struct replica *self, uint64_t since_ms)
{
    const struct membership *members = cluster_members(self);
    size_t connected = 0;
    for (size_t i = 0; i < members->count; i++) {
        uint64_t id = members->members[i].id;
        connected += id == self->member_id || cluster_connected_since(self, id, since_ms);
    }
    return connected >= members->count / 2 + 1;
}

bool replica_quorum_connected(const struct replica *self, uint64_t window_ms, uint64_t now_ms)
{
    return cluster_quorum_connected_since(self, now_ms > window_ms ? now_ms - window_ms : 0);
}

/* --- own proposals ----------------------------------------------------------------------- */

/* Own version and what the others were heard to be; how many. */
static size_t versions_heard(struct replica *self, struct cluster_version *heard)
{
    const struct membership *members = cluster_members(self);
    for (size_t i = 0; i < members->count; i++) {
        uint64_t id = members->members[i].id;
        struct peer *p = id == self->member_id ? NULL : peer_find(self, id);
        if (id == self->member_id) /* who was told to stay below it speaks as those do */
            heard[i] = self->version_max;
        else
            heard[i] = p ? p->version : (struct cluster_version){0, 0};
    }
    return members->count;
}

static enum request_form own_form(struct replica *self)
{
    struct cluster_version heard[MEMBERS_MAX];
    size_t n = versions_heard(self, heard);
    return request_form_of(state_members(self->state)->version, heard, n);
}

bool cluster_is_published(const struct replica *self)
{
    const struct member *m = membership_find(state_members(self->state), self->member_id);
    if (!m || strcmp(m->name, self->name) != 0 || m->client_urls.count != self->client_urls.count)
        return false;
    for (size_t i = 0; i < m->client_urls.count; i++) {
        if (strcmp(m->client_urls.items[i], self->client_urls.items[i]) != 0)
            return false;
    }
    return true;
}

err cluster_propose_own(struct replica *self, struct bytes data)
{
    struct bytes copy;
    struct raft_blob *blob = raft_blob_copy(data, &copy);
    err e = raft_propose(self->raft, copy, blob);
    raft_blob_unref(blob);
    return e;
}

/* Dropped: proposed again when its time comes round. */
static void propose_own(struct replica *self, struct bytes data)
{
    (void)cluster_propose_own(self, data).code;
}

/* Name and client URLs, until the applied membership shows them. A follower's go to the leader. */
static void publish_attributes(struct replica *self)
{
    if (self->leader == RAFT_NONE || self->now_ms < self->publish_retry_ms ||
        cluster_is_published(self) || !membership_find(state_members(self->state), self->member_id))
        return;
    enum request_form form = own_form(self);
    if (form == REQUEST_FORM_NONE)
        return;
    struct arena arena;
    arena_init(&arena, 1024);
    propose_own(self, request_attributes(&arena, request_ids_take(self->ids, 1), form,
                                         self->member_id, self->name, self->client_urls));
    arena_done(&arena);
    self->publish_retry_ms = self->now_ms + PUBLISH_RETRY_MS;
}

static bool alarm_is_raised(const struct replica *self)
{
    const struct alarms *alarms = state_alarms(self->state);
    for (size_t i = 0; i < alarms->count; i++) {
        if (alarms->items[i].member_id == self->member_id && alarms->items[i].type == ALARM_NOSPACE)
            return true;
    }
    return false;
}

/* Log or store find no room for another file: all members are to refuse what would need some, until
 * there is. An alarm that this was not the reason for (the quota was, or an operator, or it stood
 * at the start) is an operator's to lower. */
static void tell_space(struct replica *self)
{
    bool full = self->log_full || self->store_full;
    bool raised = alarm_is_raised(self);
    if (!raised)
        self->alarm_is_ours = full;
    if (full == raised || !self->alarm_is_ours || self->leader == RAFT_NONE ||
        self->now_ms < self->alarm_retry_ms)
        return;
    struct arena arena;
    arena_init(&arena, 1024);
    propose_own(self, request_alarm(&arena, request_ids_take(self->ids, 1), self->member_id,
                                    ALARM_NOSPACE, full));
    arena_done(&arena);
    self->alarm_retry_ms = self->now_ms + request_timeout_ms(self);
}

void replica_raise_alarm(struct replica *self, uint64_t member_id, enum alarm_type type)
{
    if (!self->leading || raft_role(self->raft) != RAFT_LEADER)
        return;
    struct arena arena;
    arena_init(&arena, 1024);
    propose_own(self, request_alarm(&arena, request_ids_take(self->ids, 1), member_id, type, true));
    arena_done(&arena);
}

static bool is_one_minor_below(struct cluster_version low, struct cluster_version high)
{
    return low.major == high.major && low.minor + 1 == high.minor;
}

/* What the cluster version should be next, given the lowest of all members'; major 0: as it is.
 * On the way down it is the target, as soon as no member is further up than one minor version. */
static struct cluster_version version_wanted(const struct replica *self,
                                             struct cluster_version lowest)
{
    const struct cluster_version as_it_is = {0, 0};
    const struct membership *members = state_members(self->state);
    struct cluster_version target = members->downgrade_to;
    if (target.major == 0)
        return cluster_version_compare(lowest, members->version) > 0 ? lowest : as_it_is;
    if (is_one_minor_below(target, members->version) && is_one_minor_below(target, lowest))
        return target;
    return as_it_is;
}

/* The leader moves the cluster version to the lowest of all members', never above its bound. It
 * proposes as the leader that it is, so nothing is forwarded. */
static void move_version(struct replica *self)
{
    if (!self->leading || raft_role(self->raft) != RAFT_LEADER ||
        !raft_committed_in_term(self->raft) || self->now_ms < self->version_check_ms)
        return;
    struct cluster_version heard[MEMBERS_MAX];
    size_t n = versions_heard(self, heard);
    struct cluster_version lowest = self->version_max;
    for (size_t i = 0; i < n; i++) {
        if (heard[i].major == 0)
            return; /* asked again at the next tick */
        if (cluster_version_compare(heard[i], lowest) < 0)
            lowest = heard[i];
    }
    self->version_check_ms = self->now_ms + VERSION_PERIOD_MS;
    struct cluster_version wanted = version_wanted(self, lowest);
    if (n == 0 || wanted.major == 0)
        return;
    enum request_form form = own_form(self);
    struct arena arena;
    arena_init(&arena, 1024);
    propose_own(self,
                request_cluster_version(&arena, request_ids_take(self->ids, 1), form, wanted));
    arena_done(&arena);
}

/* --- leadership -------------------------------------------------------------------------- */

/* A log write that stalls past the election timeout: who has a disk that answers shall lead. So
 * shall who can send a follower its state, where this member's store is damaged; but where nobody
 * else can lead, this one still may. */
static void watch_disk(struct replica *self)
{
    uint64_t limit = election_ms(self);
    self->stalled = self->appends && self->now_ms > self->appends->issued_ms + limit;
    raft_hold_elections(self->raft, self->stalled || self->stopping);
    if (!(self->stalled || self->unreadable) || !self->leading)
        return;
    if (self->stall_transfer_ms &&
        self->now_ms < self->stall_transfer_ms + STALL_PAUSE_ELECTIONS * limit)
        return;
    uint64_t heir = raft_heir(self->raft);
    if (heir == RAFT_NONE || !raft_quorum_without_self(self->raft))
        return;
    self->stall_transfer_ms = self->now_ms;
    raft_transfer_leader(self->raft, heir);
}

void replica_transfer_leader(struct replica *self, uint64_t token, uint64_t target, uint64_t now_ms)
{
    self->now_ms = now_ms;
    const struct member *m = membership_find(cluster_members(self), target);
    err refused = OK;
    if (self->stopping)
        refused = ERR_STOPPED;
    else if (!self->leading)
        refused = ERR_NOT_LEADER;
    else if (!m || m->learner)
        refused = ERR_BAD_LEADER_TRANSFEREE;
    if (!err_ok(refused) || target == self->member_id) {
        publish_error(self, token, REPLY_MEMBER, refused);
        return;
    }
    if (self->transfer_token)
        publish_error(self, self->transfer_token, REPLY_MEMBER, ERR_TIMEOUT_LEADER_TRANSFER);
    self->transfer_token = token;
    self->transfer_target = target;
    self->transfer_start_ms = now_ms;
    raft_transfer_leader(self->raft, target);
}

bool cluster_hands_over(struct replica *self)
{
    if (raft_role(self->raft) != RAFT_LEADER)
        return false;
    if (raft_transferee(self->raft) != RAFT_NONE)
        return true;
    uint64_t heir = raft_heir(self->raft);
    if (heir == RAFT_NONE ||
        (self->handover_ms &&
         self->now_ms < self->handover_ms + HANDOVER_PAUSE_ELECTIONS * election_ms(self)))
        return false;
    self->handover_ms = self->now_ms;
    raft_transfer_leader(self->raft, heir);
    return true;
}

static void transfer_answer(struct replica *self, err error)
{
    publish_error(self, self->transfer_token, REPLY_MEMBER, error);
    self->transfer_token = TOKEN_NONE;
}

static void watch_transfer(struct replica *self)
{
    if (!self->transfer_token)
        return;
    if (self->leader == self->transfer_target)
        transfer_answer(self, OK);
    else if (self->now_ms >= self->transfer_start_ms + request_timeout_ms(self))
        transfer_answer(self, ERR_TIMEOUT_LEADER_TRANSFER);
}

void replica_stop(struct replica *self, uint64_t now_ms)
{
    self->now_ms = now_ms;
    if (self->stopping)
        return;
    self->stopping = true;
    self->stop_ms = now_ms;
    self->stop_led = self->leading;
    barriers_fail_all(self, ERR_STOPPED);
}

/* What was given to raft may still be committed while leadership moves; it is waited for. And once
 * we lead no more our vote may be the one that the next leader lacks. */
static void watch_stop(struct replica *self)
{
    if (!self->stopping || self->effects.stopped)
        return;
    uint64_t heir = self->leading ? raft_heir(self->raft) : RAFT_NONE;
    bool moving = heir != RAFT_NONE || (self->stop_led && self->leader == RAFT_NONE);
    if (moving && self->now_ms < self->stop_ms + STOP_MS) {
        if (heir != RAFT_NONE && raft_transferee(self->raft) == RAFT_NONE)
            raft_transfer_leader(self->raft, heir);
        return;
    }
    /* What others sent us before they heard of the new leader still goes on to it. */
    if (self->stop_led && self->leader != RAFT_NONE && !self->leading) {
        if (!self->stop_handed_ms)
            self->stop_handed_ms = self->now_ms;
        if (self->now_ms < self->stop_handed_ms + STOP_LINGER_MS)
            return;
    }
    proposals_fail_all(self, ERR_STOPPED);
    leases_fail_all(self, ERR_STOPPED);
    if (self->transfer_token)
        transfer_answer(self, self->leading ? ERR_STOPPED : OK);
    self->effects.stopped = true;
}

/* --- when ------------------------------------------------------------------------------- */

/* The first election after a start need not wait for its whole timeout: a lone voter asks nobody,
 * and where a quorum is connected nobody leads that we would not have heard of within two ticks. */
void cluster_hasten_election(struct replica *self)
{
    if (self->first_election_hastened || raft_leader(self->raft) != RAFT_NONE ||
        self->applied_index < self->log.hard_state.commit)
        return;
    const struct raft_conf_state *conf = raft_conf(self->raft);
    if (!raft_id_set_has(&conf->voters, self->member_id))
        return;
    if (conf->voters.count == 1 && conf->voters_outgoing.count == 0) {
        self->first_election_hastened = true;
        raft_campaign(self->raft);
        return;
    }
    if (self->now_ms > self->start_ms + FAST_START_MS) {
        self->first_election_hastened = true;
        return;
    }
    if (!cluster_quorum_connected_since(self, self->now_ms))
        return;
    self->first_election_hastened = true;
    for (unsigned i = 0; i + 2 < self->election_ticks; i++)
        raft_tick(self->raft);
}

void cluster_tick(struct replica *self)
{
    watch_disk(self);
    publish_attributes(self);
    move_version(self);
    tell_space(self);
}

void cluster_run(struct replica *self)
{
    watch_transfer(self);
    watch_stop(self);
}
