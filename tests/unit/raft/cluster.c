#include "cluster.h"

#include "raft/conf_codec.h"
#include "raft/confchange.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define FIRST_INDEX    10 /* where the first members begin */
#define SETTLE_TICKS   4000
#define ELECTION_TICKS 10

#define EXPECT(self, cond, name)                \
    do {                                        \
        if (!(cond))                            \
            violated((self), (name), __LINE__); \
    } while (0)

__attribute__((noreturn)) static void violated(const struct cluster *self, const char *name,
                                               int line)
{
    (void)fprintf(stderr, "%s violated at line %d: run again with RAFT_SEED=%" PRIu64 "\n", name,
                  line, self->seed);
    abort();
}

static bool chance(struct cluster *self, uint64_t in_1000)
{
    return prng_below(&self->prng, 1000) < in_1000;
}

static void mail_push(struct mail *self, struct raft_message *message)
{
    if (self->count == self->cap) {
        self->cap = self->cap ? self->cap * 2 : 16;
        self->items = realloc(self->items, self->cap * sizeof(struct raft_message *));
        CHECK(self->items);
    }
    self->items[self->count++] = message;
}

static struct raft_message *mail_take(struct mail *self, size_t at)
{
    struct raft_message *message = self->items[at];
    self->count--;
    memmove(&self->items[at], &self->items[at + 1],
            (self->count - at) * sizeof(struct raft_message *));
    return message;
}

static void mail_clear(struct mail *self)
{
    for (size_t i = 0; i < self->count; i++)
        raft_message_free(self->items[i]);
    self->count = 0;
}

static void mail_done(struct mail *self)
{
    mail_clear(self);
    free(self->items);
}

static uint64_t digest_of(const struct raft_entry *entry)
{
    uint64_t h = 1469598103934665603u ^ (uint64_t)entry->type;
    for (size_t i = 0; i < entry->data.len; i++)
        h = (h ^ entry->data.data[i]) * 1099511628211u;
    return h;
}

static struct member *member_of(struct cluster *self, uint64_t id)
{
    CHECK(id >= 1 && id <= CLUSTER_NODES);
    return &self->members[id - 1];
}

static void save_hard_state(struct member *m, struct raft_hard_state state)
{
    m->durable = state;
    raft_memory_storage_set_hard_state(m->storage, &state);
}

static void start(struct cluster *self, struct member *m)
{
    struct raft_config config = {
        .id = m->id,
        .election_ticks = ELECTION_TICKS,
        .heartbeat_ticks = 1,
        .applied = m->state.index,
        .max_size_per_msg = 200,
        .max_committed_size_per_ready = 300,
        .max_uncommitted_size = 2000,
        .max_inflight_msgs = 4,
        .max_inflight_bytes = 400,
        .check_quorum = self->options.check_quorum,
        .pre_vote = self->options.pre_vote,
        .async_storage_writes = self->options.async,
        .group_appends = self->options.group_appends,
        .idle_acks_wait = self->options.idle_acks_wait,
        .commit_in_votes = self->options.commit_in_votes,
        .step_down_on_removal = self->options.step_down_on_removal,
        .seed = prng_next(&self->prng),
    };
    /* What the state machine holds was committed, whatever the hard state knew of it. */
    if (m->durable.commit < m->state.index)
        save_hard_state(m,
                        (struct raft_hard_state){m->durable.term, m->durable.vote, m->state.index});
    struct raft_storage table = raft_memory_storage_table(m->storage);
    err e = raft_new(&config, &table, &m->raft);
    EXPECT(self, err_ok(e), "restart");
    m->alive = true;
    m->commit = 0;
    m->read_count = 0;
}

/* Writes under way may be done in part, from the front: a hard state, or some of the entries. */
static void tear_writes(struct cluster *self, struct member *m)
{
    if (m->appends.count == 0 || chance(self, 500))
        return;
    const struct raft_message *w = m->appends.items[0];
    if (w->snapshot || w->entry_count == 0)
        return;
    size_t n = prng_below(&self->prng, w->entry_count + 1);
    err e = raft_memory_storage_append(m->storage, w->entries, n);
    CHECK(err_ok(e));
}

static void crash(struct cluster *self, struct member *m)
{
    if (!m->alive)
        return;
    tear_writes(self, m);
    raft_free(m->raft);
    m->raft = NULL;
    m->alive = false;
    mail_clear(&m->appends);
    mail_clear(&m->applies);
    /* The state machine keeps what its last snapshot holds. */
    struct raft_storage table = raft_memory_storage_table(m->storage);
    err e = table.snapshot(table.ctx, &m->state);
    CHECK(err_ok(e));
    raft_blob_unref(m->state.blob);
}

/* The state machine becomes durable as it is. */
static void save_state(struct cluster *self, struct member *m, bool compact)
{
    struct raft_storage table = raft_memory_storage_table(m->storage);
    if (m->state.index == 0 || m->state.index > table.last_index(table.ctx))
        return;
    raft_memory_storage_set_snapshot(m->storage, &m->state);
    uint64_t keep = prng_below(&self->prng, 6);
    if (compact && m->state.index > keep)
        (void)raft_memory_storage_compact(m->storage, m->state.index - keep).code;
}

static void note_applied(struct cluster *self, const struct raft_entry *entry)
{
    EXPECT(self, entry->index < HISTORY_MAX, "bound of the history");
    struct applied *known = &self->history[entry->index];
    if (entry->index > self->history_end) {
        EXPECT(self, entry->index == self->history_end + 1 || self->history_end == 0, "S2");
        self->history_end = entry->index;
        *known = (struct applied){entry->term, digest_of(entry)};
        return;
    }
    if (known->term != 0)
        EXPECT(self, known->term == entry->term && known->digest == digest_of(entry), "S2");
}

static void apply(struct cluster *self, struct member *m, const struct raft_entry *entries,
                  size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct raft_entry *entry = &entries[i];
        /* A snapshot was installed meanwhile. */
        if (entry->index <= m->state.index)
            continue;
        EXPECT(self, entry->index == m->state.index + 1, "order of apply");
        note_applied(self, entry);
        m->state.index = entry->index;
        m->state.term = entry->term;
        if (entry->type == RAFT_ENTRY_NORMAL)
            continue;
        struct raft_conf_change change;
        err e = raft_conf_change_decode(entry->type, entry->data, &change);
        CHECK(err_ok(e));
        /* A change that is not legal is refused by everyone alike. */
        struct raft_conf_state conf = m->state.conf_state;
        (void)raft_apply_conf_change(m->raft, &change, &conf).code;
        m->state.conf_state = conf;
        if (entry->index > self->conf_index) {
            self->conf_index = entry->index;
            self->conf = conf;
        }
    }
}

static void observe(struct cluster *self, struct member *m)
{
    uint64_t commit = raft_commit(m->raft);
    EXPECT(self, commit >= m->commit, "S4");
    m->commit = commit;
    if (raft_role(m->raft) != RAFT_LEADER)
        return;
    uint64_t term = raft_term(m->raft);
    EXPECT(self, term < TERMS_MAX, "bound of terms");
    EXPECT(self, self->leaders[term] == 0 || self->leaders[term] == m->id, "S1");
    if (self->leaders[term] == m->id)
        return;
    self->leaders[term] = m->id;
    self->elections++;
    /* What is before its first index was applied by it. */
    EXPECT(self, raft_last_index(m->raft) > self->history_end, "S3");
}

static uint64_t committed_anywhere(const struct cluster *self)
{
    uint64_t max = self->history_end;
    for (size_t i = 0; i < CLUSTER_NODES; i++)
        if (self->members[i].alive && raft_commit(self->members[i].raft) > max)
            max = raft_commit(self->members[i].raft);
    return max;
}

static void answer_read(struct cluster *self, struct member *m, const struct raft_read_state *read)
{
    uint64_t id = bytes_get_le64(read->context.data);
    for (size_t i = 0; i < m->read_count; i++) {
        if (m->reads[i].id != id)
            continue;
        EXPECT(self, read->index >= m->reads[i].committed, "S5");
        m->reads[i] = m->reads[--m->read_count];
        self->reads_answered++;
        return;
    }
}

static void ask_read(struct cluster *self, struct member *m)
{
    if (m->read_count == sizeof(m->reads) / sizeof(m->reads[0]))
        m->read_count = 0;
    uint8_t context[8];
    uint64_t id = ++self->next_value;
    bytes_put_le64(context, id);
    if (err_ok(raft_read_index(m->raft, bytes_of(context, sizeof(context)))))
        m->reads[m->read_count++] = (struct pending_read){id, committed_anywhere(self)};
}

static void write_log(struct cluster *self, struct member *m, const struct raft_hard_state *state,
                      const struct raft_entry *entries, size_t count,
                      const struct raft_snapshot *snapshot)
{
    if (snapshot) {
        err e = raft_memory_storage_install(m->storage, snapshot);
        EXPECT(self, err_ok(e), "install");
        if (snapshot->index > m->state.index) {
            m->state = *snapshot;
            m->state.data = BYTES_NONE;
            m->state.blob = NULL;
        }
    }
    err e = raft_memory_storage_append(m->storage, entries, count);
    EXPECT(self, err_ok(e), "gap in the log");
    if (state)
        save_hard_state(m, *state);
}

static void post(struct cluster *self, const struct raft_message *message)
{
    mail_push(&self->wire, raft_message_copy(message));
}

static void take_ready(struct cluster *self, struct member *m)
{
    if (!raft_has_ready(m->raft))
        return;
    struct raft_ready ready;
    err e = raft_ready_take(m->raft, &ready);
    EXPECT(self, err_ok(e), "ready");
    for (size_t i = 0; i < ready.read_state_count; i++)
        answer_read(self, m, &ready.read_states[i]);
    if (!self->options.async) {
        write_log(self, m, ready.has_hard_state ? &ready.hard_state : NULL, ready.entries,
                  ready.entry_count, ready.snapshot);
        apply(self, m, ready.committed, ready.committed_count);
    }
    for (size_t i = 0; i < ready.message_count; i++) {
        const struct raft_message *message = &ready.messages[i];
        if (message->to == RAFT_APPEND_THREAD)
            mail_push(&m->appends, raft_message_copy(message));
        else if (message->to == RAFT_APPLY_THREAD)
            mail_push(&m->applies, raft_message_copy(message));
        else
            post(self, message);
    }
    if (!self->options.async)
        raft_advance(m->raft);
    observe(self, m);
}

static void respond(struct cluster *self, struct member *m, const struct raft_message *work)
{
    for (size_t i = 0; i < work->response_count; i++) {
        const struct raft_message *response = &work->responses[i];
        if (response->to == m->id)
            (void)raft_step_local(m->raft, response).code;
        else
            post(self, response);
    }
    observe(self, m);
}

static void run_append(struct cluster *self, struct member *m)
{
    if (m->appends.count == 0)
        return;
    struct raft_message *work = mail_take(&m->appends, 0);
    struct raft_hard_state state = {work->term, work->vote, work->commit};
    bool changed = work->term != 0 || work->vote != 0 || work->commit != 0;
    write_log(self, m, changed ? &state : NULL, work->entries, work->entry_count, work->snapshot);
    respond(self, m, work);
    raft_message_free(work);
}

static void run_apply(struct cluster *self, struct member *m)
{
    if (m->applies.count == 0)
        return;
    struct raft_message *work = mail_take(&m->applies, 0);
    apply(self, m, work->entries, work->entry_count);
    if (chance(self, 500))
        raft_applied(m->raft, m->state.index);
    else
        respond(self, m, work);
    raft_message_free(work);
}

/* As who carries snapshots does: it knows whether one arrived, and says so. */
static void report(struct cluster *self, const struct raft_message *message, bool arrived)
{
    struct member *from = member_of(self, message->from);
    if (message->type == RAFT_MSG_SNAP && from->alive)
        raft_report_snapshot(from->raft, message->to, arrived);
}

static void deliver(struct cluster *self)
{
    if (self->wire.count == 0)
        return;
    /* Mostly in order; streams and posts reorder among each other. */
    size_t at = chance(self, 850) ? 0 : prng_below(&self->prng, self->wire.count);
    struct raft_message *message = mail_take(&self->wire, at);
    struct member *to = member_of(self, message->to);
    bool cut = self->cut[message->from - 1][message->to - 1];
    if (chance(self, 20))
        post(self, message);
    bool arrives = to->alive && !cut && !chance(self, 30);
    if (arrives) {
        (void)raft_step(to->raft, message).code;
        observe(self, to);
    }
    report(self, message, arrives);
    raft_message_free(message);
}

static void change_members(struct cluster *self, struct member *m)
{
    struct raft_conf_change change = {0};
    bool v1 = chance(self, 400);
    size_t n = v1 ? 1 : prng_below(&self->prng, 4);
    for (size_t i = 0; i < n; i++) {
        static const enum raft_conf_change_type types[] = {RAFT_ADD_NODE, RAFT_ADD_NODE,
                                                           RAFT_REMOVE_NODE, RAFT_ADD_LEARNER};
        change.changes[change.count++] = (struct raft_conf_single){
            types[prng_below(&self->prng, 4)], 1 + prng_below(&self->prng, CLUSTER_NODES)};
    }
    if (!v1 && n > 0)
        change.transition = (enum raft_conf_transition)prng_below(&self->prng, 3);
    (void)raft_propose_conf_change(m->raft, &change, v1).code;
}

static void propose(struct cluster *self, struct member *m)
{
    char values[4][32];
    struct raft_entry entries[4] = {0};
    size_t n = 1 + prng_below(&self->prng, 4);
    for (size_t i = 0; i < n; i++) {
        (void)snprintf(values[i], sizeof(values[i]), "value %" PRIu64, ++self->next_value);
        entries[i].data = bytes_str(values[i]);
    }
    (void)raft_propose_entries(m->raft, entries, n).code;
}

static void cut_links(struct cluster *self)
{
    bool heal = chance(self, 600);
    for (size_t i = 0; i < CLUSTER_NODES; i++)
        for (size_t k = 0; k < CLUSTER_NODES; k++)
            self->cut[i][k] = !heal && chance(self, 300);
}

/* A removed member is shut down once those who stay know of it: before, they may need its vote. */
static void retire_removed(struct cluster *self, struct member *m)
{
    if (!m->alive || m->state.index < self->conf_index || raft_conf_state_has(&self->conf, m->id))
        return;
    for (size_t i = 0; i < CLUSTER_NODES; i++) {
        const struct member *other = &self->members[i];
        if (raft_conf_state_has(&self->conf, other->id) && other->state.index < self->conf_index)
            return;
    }
    m->removed = true;
    crash(self, m);
}

static void revive(struct cluster *self, struct member *m)
{
    if (m->alive || (m->removed && !raft_conf_state_has(&self->conf, m->id)))
        return;
    m->removed = false;
    start(self, m);
}

static void rare_event(struct cluster *self, struct member *m)
{
    switch (prng_below(&self->prng, 10)) {
    case 0:
    case 1:
        crash(self, m);
        break;
    case 2:
    case 3:
    case 4:
        revive(self, m);
        break;
    case 5:
        cut_links(self);
        break;
    case 6:
        if (m->alive)
            raft_transfer_leader(m->raft, 1 + prng_below(&self->prng, CLUSTER_NODES));
        break;
    case 7:
        if (m->alive)
            raft_report_unreachable(m->raft, 1 + prng_below(&self->prng, CLUSTER_NODES));
        break;
    case 8:
        if (m->alive)
            raft_report_snapshot(m->raft, 1 + prng_below(&self->prng, CLUSTER_NODES),
                                 chance(self, 500));
        break;
    default:
        if (m->alive && self->options.membership_changes)
            change_members(self, m);
        break;
    }
}

void cluster_step(struct cluster *self)
{
    struct member *m = &self->members[prng_below(&self->prng, CLUSTER_NODES)];
    uint64_t dice = prng_below(&self->prng, 1000);
    if (dice < 450) {
        deliver(self);
    } else if (dice < 990) {
        if (!m->alive)
            return;
        if (dice < 700)
            take_ready(self, m);
        else if (dice < 800)
            run_append(self, m);
        else if (dice < 850)
            run_apply(self, m);
        else if (dice < 910)
            raft_tick(m->raft);
        else if (dice < 950)
            propose(self, m);
        else if (dice < 975)
            ask_read(self, m);
        else
            save_state(self, m, chance(self, 500));
    } else {
        rare_event(self, m);
    }
    if (m->alive)
        observe(self, m);
    retire_removed(self, m);
}

void cluster_check_logs(struct cluster *self)
{
    for (size_t i = 0; i < CLUSTER_NODES; i++) {
        for (size_t k = i + 1; k < CLUSTER_NODES; k++) {
            struct raft_storage a = raft_memory_storage_table(self->members[i].storage);
            struct raft_storage b = raft_memory_storage_table(self->members[k].storage);
            uint64_t low = a.first_index(a.ctx);
            uint64_t high = a.last_index(a.ctx);
            low = low > b.first_index(b.ctx) ? low : b.first_index(b.ctx);
            high = high < b.last_index(b.ctx) ? high : b.last_index(b.ctx);
            bool equal = false;
            for (uint64_t index = high; index >= low && index > 0; index--) {
                uint64_t left = 0;
                uint64_t right = 0;
                bool known =
                    err_ok(a.term(a.ctx, index, &left)) && err_ok(b.term(b.ctx, index, &right));
                CHECK(known);
                EXPECT(self, !equal || left == right, "S6");
                equal = equal || left == right;
            }
        }
    }
}

struct cluster *cluster_new(uint64_t seed, const struct cluster_options *options)
{
    struct cluster *self = calloc(1, sizeof(*self));
    CHECK(self);
    self->seed = seed;
    self->options = *options;
    prng_init(&self->prng, seed);
    struct raft_snapshot snapshot = {.index = FIRST_INDEX, .term = 1};
    for (uint64_t id = 1; id <= 3; id++) {
        bool added = raft_id_set_add(&snapshot.conf_state.voters, id);
        CHECK(added);
    }
    self->conf = snapshot.conf_state;
    self->conf_index = FIRST_INDEX;
    self->history_end = FIRST_INDEX;
    for (uint64_t id = 1; id <= CLUSTER_NODES; id++) {
        struct member *m = member_of(self, id);
        m->id = id;
        m->storage = raft_memory_storage_new();
        if (id <= 3) {
            err e = raft_memory_storage_install(m->storage, &snapshot);
            CHECK(err_ok(e));
            m->state = snapshot;
            save_hard_state(m, (struct raft_hard_state){1, RAFT_NONE, FIRST_INDEX});
        }
        start(self, m);
    }
    return self;
}

void cluster_free(struct cluster *self)
{
    for (size_t i = 0; i < CLUSTER_NODES; i++) {
        struct member *m = &self->members[i];
        raft_free(m->raft);
        mail_done(&m->appends);
        mail_done(&m->applies);
        raft_memory_storage_free(m->storage);
    }
    mail_done(&self->wire);
    free(self);
}

/* Everything that is under way gets done. */
static void quiesce(struct cluster *self)
{
    for (bool busy = true; busy;) {
        busy = false;
        for (size_t i = 0; i < CLUSTER_NODES; i++) {
            struct member *m = &self->members[i];
            while (m->alive && (raft_has_ready(m->raft) || m->appends.count + m->applies.count)) {
                take_ready(self, m);
                run_append(self, m);
                run_apply(self, m);
                busy = true;
            }
            retire_removed(self, m);
        }
        while (self->wire.count > 0) {
            struct raft_message *message = mail_take(&self->wire, 0);
            struct member *to = member_of(self, message->to);
            if (to->alive)
                (void)raft_step(to->raft, message).code;
            report(self, message, to->alive);
            raft_message_free(message);
            busy = true;
        }
    }
}

static bool everyone_applied(const struct cluster *self, uint64_t index)
{
    for (size_t i = 0; i < CLUSTER_NODES; i++) {
        const struct member *m = &self->members[i];
        if (raft_conf_state_has(&self->conf, m->id) && (!m->alive || m->state.index < index))
            return false;
    }
    return true;
}

/* Configurations take hold when they are applied. So members that have not heard that the removal
 * of a voter is committed may need its vote, which its longer log refuses them, while it may not
 * lead any more. That is a known price of this kind of Raft, paid where half of the voters go,
 * unless votes tell what is committed. */
static bool is_stranded(const struct cluster *self)
{
    for (size_t i = 0; i < CLUSTER_NODES; i++) {
        const struct member *m = &self->members[i];
        if (!m->alive || !raft_conf_state_has(&self->conf, m->id))
            continue;
        const struct raft_conf_state *conf = raft_conf(m->raft);
        for (uint64_t id = 1; id <= CLUSTER_NODES; id++)
            if (raft_conf_state_is_voter(conf, id) && !raft_conf_state_is_voter(&self->conf, id))
                return true;
    }
    return false;
}

static void print_members(const struct cluster *self)
{
    char conf[512];
    raft_conf_text(&self->conf, conf, sizeof(conf));
    (void)fprintf(stderr, "\nconfiguration at %" PRIu64 ": %s\n", self->conf_index, conf);
    for (size_t i = 0; i < CLUSTER_NODES; i++) {
        const struct member *m = &self->members[i];
        (void)fprintf(stderr, "%" PRIu64 ": applied %" PRIu64 "%s\n", m->id, m->state.index,
                      m->alive     ? ""
                      : m->removed ? " removed"
                                   : " down");
        if (!m->alive)
            continue;
        raft_conf_text(raft_conf(m->raft), conf, sizeof(conf));
        (void)fprintf(stderr,
                      "   %s term %" PRIu64 " leader %" PRIu64 " commit %" PRIu64 " last %" PRIu64
                      " %s\n",
                      raft_role_text(raft_role(m->raft)), raft_term(m->raft), raft_leader(m->raft),
                      raft_commit(m->raft), raft_last_index(m->raft), conf);
        struct raft_status status;
        raft_status(m->raft, &status);
        for (uint32_t k = 0; k < status.peer_count; k++) {
            raft_peer_status_text(&status.peers[k], conf, sizeof(conf));
            (void)fprintf(stderr, "      %" PRIu64 ": %s\n", status.peers[k].id, conf);
        }
    }
}

void cluster_settle(struct cluster *self)
{
    memset(self->cut, 0, sizeof(self->cut));
    uint64_t target = 0;
    for (int tick = 0; tick < SETTLE_TICKS; tick++) {
        for (size_t i = 0; i < CLUSTER_NODES; i++)
            revive(self, &self->members[i]);
        quiesce(self);
        for (size_t i = 0; i < CLUSTER_NODES; i++) {
            struct member *m = &self->members[i];
            if (!m->alive)
                continue;
            save_state(self, m, false);
            raft_tick(m->raft);
            bool leads = raft_role(m->raft) == RAFT_LEADER && raft_committed_in_term(m->raft);
            /* Again where a new leader did not get it. */
            if ((target == 0 || raft_last_index(m->raft) < target) && leads &&
                raft_conf_state_has(&self->conf, m->id) &&
                err_ok(raft_propose(m->raft, BYTES_LIT("the last"), NULL)))
                target = raft_last_index(m->raft);
        }
        if (target != 0 && everyone_applied(self, target))
            return;
    }
    if (!self->options.commit_in_votes && is_stranded(self)) {
        self->stranded = true;
        return;
    }
    print_members(self);
    EXPECT(self, false, "L1");
}
