/* One raft and what it is told: honest answers, hostile messages, limits, questions. */
#include "t.h"

#include "raft/memory_storage.h"
#include "raft/raft.h"

#include <string.h>

#define FIRST 10

struct fixture {
    struct raft_config config;
    struct raft_memory_storage *storage;
    struct raft *raft;
    struct raft_message sent[64]; /* of the last work(); what they point to lives as the ready */
    size_t sent_count;
    struct raft_read_state reads[8];
    size_t read_count;
    size_t applied;
};

static struct raft_config config_of(void)
{
    return (struct raft_config){
        .id = 1,
        .election_ticks = 10,
        .heartbeat_ticks = 1,
        .applied = FIRST,
        .max_size_per_msg = 4096,
        .max_inflight_msgs = 16,
        .seed = 1,
    };
}

/* Member 1 of voters 1..n, at index FIRST in term 1. */
static void fixture_init(struct fixture *self, struct raft_config config, uint64_t voters)
{
    *self = (struct fixture){.config = config, .storage = raft_memory_storage_new()};
    struct raft_snapshot snapshot = {.index = FIRST, .term = 1};
    for (uint64_t id = 1; id <= voters; id++)
        assert_true(raft_id_set_add(&snapshot.conf_state.voters, id));
    assert_ok(raft_memory_storage_install(self->storage, &snapshot));
    struct raft_hard_state state = {1, RAFT_NONE, FIRST};
    raft_memory_storage_set_hard_state(self->storage, &state);
    struct raft_storage table = raft_memory_storage_table(self->storage);
    assert_ok(raft_new(&config, &table, &self->raft));
}

static void fixture_done(struct fixture *self)
{
    raft_free(self->raft);
    raft_memory_storage_free(self->storage);
}

/* All there is to do, synchronously. */
static void work(struct fixture *self)
{
    self->sent_count = 0;
    self->read_count = 0;
    while (raft_has_ready(self->raft)) {
        struct raft_ready ready;
        assert_ok(raft_ready_take(self->raft, &ready));
        if (ready.snapshot)
            assert_ok(raft_memory_storage_install(self->storage, ready.snapshot));
        assert_ok(raft_memory_storage_append(self->storage, ready.entries, ready.entry_count));
        if (ready.has_hard_state)
            raft_memory_storage_set_hard_state(self->storage, &ready.hard_state);
        self->applied += ready.committed_count;
        for (size_t i = 0; i < ready.message_count && self->sent_count < 64; i++)
            self->sent[self->sent_count++] = ready.messages[i];
        for (size_t i = 0; i < ready.read_state_count; i++)
            self->reads[self->read_count++] = ready.read_states[i];
        raft_advance(self->raft);
    }
}

static size_t sent_of(const struct fixture *self, enum raft_message_type type)
{
    size_t n = 0;
    for (size_t i = 0; i < self->sent_count; i++)
        n += self->sent[i].type == type;
    return n;
}

static err step(struct fixture *self, struct raft_message m)
{
    if (m.to == RAFT_NONE)
        m.to = 1;
    return raft_step(self->raft, &m);
}

/* Leader of term 2 with its first entry, at FIRST + 1, not yet acknowledged by others. */
static void elect(struct fixture *self)
{
    raft_campaign(self->raft);
    work(self);
    for (uint64_t id = 2; raft_role(self->raft) != RAFT_LEADER; id++) {
        assert_ok(step(self, (struct raft_message){.type = RAFT_MSG_VOTE_RESP,
                                                   .from = id,
                                                   .term = raft_term(self->raft)}));
        work(self);
    }
}

static void acknowledge(struct fixture *self, uint64_t from, uint64_t index)
{
    assert_ok(step(self, (struct raft_message){.type = RAFT_MSG_APP_RESP,
                                               .from = from,
                                               .term = raft_term(self->raft),
                                               .index = index}));
}

static void nonsense_configurations_are_refused(void **state)
{
    struct raft_memory_storage *storage = raft_memory_storage_new();
    struct raft_storage table = raft_memory_storage_table(storage);
    struct raft *raft = NULL;
    struct raft_config good = config_of();
    good.applied = 0;
    struct raft_config bad[6] = {good, good, good, good, good, good};
    bad[0].id = RAFT_NONE;
    bad[1].id = RAFT_APPLY_THREAD;
    bad[2].heartbeat_ticks = 0;
    bad[3].election_ticks = 1;
    bad[4].max_inflight_msgs = 0;
    bad[5].read_mode = RAFT_READ_LEASE_BASED;
    for (size_t i = 0; i < 6; i++)
        assert_err(raft_new(&bad[i], &table, &raft), ERR_USAGE);
    assert_null(raft);
    struct raft_hard_state beyond = {1, 0, 5};
    raft_memory_storage_set_hard_state(storage, &beyond);
    assert_err(raft_new(&good, &table, &raft), ERR_CORRUPT);
    raft_memory_storage_set_hard_state(storage, &(struct raft_hard_state){0});
    good.applied = 3;
    assert_err(raft_new(&good, &table, &raft), ERR_CORRUPT);
    raft_memory_storage_free(storage);
}

static void messages_that_are_not_ours_are_refused(void **state)
{
    struct fixture f;
    fixture_init(&f, config_of(), 3);
    const struct raft_message cases[] = {
        {.type = RAFT_MSG_HEARTBEAT, .from = 2, .to = 3, .term = 2},
        {.type = RAFT_MSG_HEARTBEAT, .from = RAFT_NONE, .term = 2},
        {.type = RAFT_MSG_HEARTBEAT, .from = 1, .term = 2},
        {.type = RAFT_MSG_HEARTBEAT, .from = RAFT_APPEND_THREAD, .term = 2},
        {.type = RAFT_MSG_HEARTBEAT, .from = 2, .term = 0},
        {.type = RAFT_MSG_HEARTBEAT, .from = 2, .term = UINT64_MAX},
        {.type = RAFT_MSG_HEARTBEAT, .from = 2, .term = 1, .commit = FIRST + 1},
        {.type = RAFT_MSG_HUP, .from = 2, .term = 2},
        {.type = RAFT_MSG_BEAT, .from = 2, .term = 2},
        {.type = RAFT_MSG_CHECK_QUORUM, .from = 2, .term = 2},
        {.type = RAFT_MSG_UNREACHABLE, .from = 2, .term = 2},
        {.type = RAFT_MSG_SNAP_STATUS, .from = 2, .term = 2},
        {.type = RAFT_MSG_FORGET_LEADER, .from = 2, .term = 2},
        {.type = RAFT_MSG_STORAGE_APPEND, .from = 2, .term = 2},
        {.type = RAFT_MSG_STORAGE_APPEND_RESP, .from = 2, .term = 1},
        {.type = RAFT_MSG_STORAGE_APPLY_RESP, .from = 2, .term = 1},
        {.type = (enum raft_message_type)24, .from = 2, .term = 2},
        {.type = (enum raft_message_type) - 1, .from = 2, .term = 2},
        {.type = RAFT_MSG_SNAP, .from = 2, .term = 2},
        {.type = RAFT_MSG_PROP, .from = 2},
        {.type = RAFT_MSG_READ_INDEX, .from = 2},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_err(step(&f, cases[i]), ERR_MISMATCH);
        assert_int_equal(raft_term(f.raft), 1);
    }
    assert_err(step(&f, (struct raft_message){.type = RAFT_MSG_APP_RESP, .from = 9, .term = 1}),
               ERR_NOT_FOUND);
    fixture_done(&f);
}

static void appends_that_contradict_are_refused(void **state)
{
    struct fixture f;
    fixture_init(&f, config_of(), 3);
    struct raft_entry e[3] = {
        {.index = FIRST + 1, .term = 2},
        {.index = FIRST + 2, .term = 2},
        {.index = FIRST + 3, .term = 2},
    };
    struct raft_message m = {
        .type = RAFT_MSG_APP,
        .from = 2,
        .term = 2,
        .index = FIRST,
        .log_term = 1,
        .entries = e,
        .entry_count = 3,
        .commit = FIRST + 2,
    };
    e[1].index = FIRST + 5;
    assert_err(step(&f, m), ERR_MISMATCH);
    e[1].index = FIRST + 2;
    e[1].term = 3;
    assert_err(step(&f, m), ERR_MISMATCH);
    e[1].term = 0;
    assert_err(step(&f, m), ERR_MISMATCH);
    e[1].term = 2;
    e[2].type = (enum raft_entry_type)7;
    assert_err(step(&f, m), ERR_MISMATCH);
    e[2].type = RAFT_ENTRY_NORMAL;
    m.index = RAFT_NUMBER_MAX;
    assert_err(step(&f, m), ERR_MISMATCH);
    m.index = FIRST;
    assert_ok(step(&f, m));
    assert_int_equal(raft_commit(f.raft), FIRST + 2);

    /* Another leader of the same term; then one who would replace what is committed: it is told
     * how far that is, and nothing changes. */
    m.from = 3;
    assert_err(step(&f, m), ERR_MISMATCH);
    m.from = 2;
    m.term = e[0].term = e[1].term = e[2].term = 5;
    assert_ok(step(&f, m));
    work(&f);
    assert_int_equal(f.sent[f.sent_count - 1].index, FIRST + 2);
    assert_int_equal(raft_last_index(f.raft), FIRST + 3);
    assert_int_equal(raft_commit(f.raft), FIRST + 2);
    fixture_done(&f);
}

static void snapshots_that_contradict_themselves_are_refused(void **state)
{
    struct fixture f;
    fixture_init(&f, config_of(), 3);
    struct raft_snapshot s = {.index = 100, .term = 2};
    struct raft_message m = {.type = RAFT_MSG_SNAP, .from = 2, .term = 2, .snapshot = &s};
    assert_err(step(&f, m), ERR_MISMATCH);
    s.conf_state.voters = (struct raft_id_set){.count = 2, .ids = {1, 2}};
    s.conf_state.learners = (struct raft_id_set){.count = 1, .ids = {2}};
    assert_err(step(&f, m), ERR_MISMATCH);
    s.conf_state.learners.count = 0;
    s.term = 3;
    assert_err(step(&f, m), ERR_MISMATCH);
    s.term = 2;
    assert_ok(step(&f, m));
    assert_int_equal(raft_commit(f.raft), 100);
    work(&f);
    assert_int_equal(raft_applied_index(f.raft), 100);
    assert_int_equal(raft_conf(f.raft)->voters.count, 2);

    /* One that does not name us is left aside. */
    s.index = 200;
    s.conf_state.voters.ids[0] = 3;
    s.conf_state.voters.ids[1] = 4;
    assert_ok(step(&f, m));
    assert_int_equal(raft_commit(f.raft), 100);
    fixture_done(&f);
}

static void acknowledgements_of_the_future_are_refused(void **state)
{
    struct fixture f;
    fixture_init(&f, config_of(), 3);
    elect(&f);
    assert_err(step(&f, (struct raft_message){.type = RAFT_MSG_APP_RESP,
                                              .from = 2,
                                              .term = raft_term(f.raft),
                                              .index = FIRST + 2}),
               ERR_MISMATCH);
    /* A rejection may say what it wants. */
    assert_ok(step(&f, (struct raft_message){.type = RAFT_MSG_APP_RESP,
                                             .from = 2,
                                             .term = raft_term(f.raft),
                                             .index = FIRST,
                                             .reject = true,
                                             .reject_hint = RAFT_NUMBER_MAX,
                                             .log_term = 77}));
    work(&f);
    acknowledge(&f, 2, FIRST + 1);
    work(&f);
    assert_int_equal(raft_commit(f.raft), FIRST + 1);
    fixture_done(&f);
}

static void proposals_have_their_limit(void **state)
{
    struct raft_config config = config_of();
    config.max_uncommitted_size = 10;
    struct fixture f;
    fixture_init(&f, config, 3);
    assert_err(raft_propose(f.raft, BYTES_LIT("x"), NULL), ERR_PROPOSAL_DROPPED);
    elect(&f);
    /* A first one of any size, then none until it is applied; empty ones always. */
    assert_ok(raft_propose(f.raft, BYTES_LIT("more than ten bytes"), NULL));
    assert_err(raft_propose(f.raft, BYTES_LIT("x"), NULL), ERR_PROPOSAL_DROPPED);
    assert_ok(raft_propose(f.raft, BYTES_NONE, NULL));
    work(&f);
    acknowledge(&f, 2, raft_last_index(f.raft));
    work(&f);
    assert_ok(raft_propose(f.raft, BYTES_LIT("x"), NULL));

    struct raft_entry broken = {.type = RAFT_ENTRY_CONF_CHANGE, .data = BYTES_LIT("\xff")};
    assert_err(raft_propose_entries(f.raft, &broken, 1), ERR_MISMATCH);
    raft_transfer_leader(f.raft, 3);
    assert_err(raft_propose(f.raft, BYTES_NONE, NULL), ERR_PROPOSAL_DROPPED);
    fixture_done(&f);
}

static struct raft_message heartbeat_answer(const struct fixture *f, uint64_t from,
                                            const struct raft_message *heartbeat)
{
    return (struct raft_message){.type = RAFT_MSG_HEARTBEAT_RESP,
                                 .from = from,
                                 .term = raft_term(f->raft),
                                 .context = heartbeat->context};
}

static const struct raft_message *last_heartbeat(const struct fixture *f)
{
    for (size_t i = f->sent_count; i > 0; i--)
        if (f->sent[i - 1].type == RAFT_MSG_HEARTBEAT)
            return &f->sent[i - 1];
    return NULL;
}

static void reads_wait_for_the_term_and_a_quorum(void **state)
{
    struct fixture f;
    fixture_init(&f, config_of(), 3);
    assert_err(raft_read_index(f.raft, BYTES_LIT("early")), ERR_NO_LEADER);
    elect(&f);
    assert_ok(raft_read_index(f.raft, BYTES_LIT("one")));
    assert_ok(raft_read_index(f.raft, BYTES_LIT("two")));
    work(&f);
    assert_null(last_heartbeat(&f));
    /* The commit in its own term starts one round for both. */
    acknowledge(&f, 2, FIRST + 1);
    work(&f);
    assert_int_equal(sent_of(&f, RAFT_MSG_HEARTBEAT), 2);
    assert_int_equal(f.read_count, 0);
    const struct raft_message *heartbeat = last_heartbeat(&f);
    assert_int_equal(heartbeat->context.len, 8);
    assert_int_equal(bytes_get_le64(heartbeat->context.data), 2);

    /* An echo that nobody asked for, of a position to come. */
    struct raft_message forged = heartbeat_answer(&f, 3, heartbeat);
    forged.context = BYTES_LIT("\xff\0\0\0\0\0\0\0");
    assert_ok(step(&f, forged));
    work(&f);
    assert_int_equal(f.read_count, 0);

    raft_tick(f.raft);
    work(&f);
    heartbeat = last_heartbeat(&f);
    assert_ok(step(&f, heartbeat_answer(&f, 3, heartbeat)));
    work(&f);
    assert_int_equal(f.read_count, 2);
    assert_int_equal(f.reads[0].index, FIRST + 1);
    assert_true(bytes_equal(f.reads[0].context, BYTES_LIT("one")));
    assert_true(bytes_equal(f.reads[1].context, BYTES_LIT("two")));

    /* Somebody else's read is answered to them, with their own id. */
    struct raft_entry id = {.data = BYTES_LIT("12345678")};
    assert_ok(
        step(&f, (struct raft_message){
                     .type = RAFT_MSG_READ_INDEX, .from = 2, .entries = &id, .entry_count = 1}));
    work(&f);
    assert_ok(step(&f, heartbeat_answer(&f, 2, last_heartbeat(&f))));
    work(&f);
    assert_int_equal(sent_of(&f, RAFT_MSG_READ_INDEX_RESP), 1);
    assert_int_equal(f.sent[0].to, 2);
    assert_int_equal(f.sent[0].index, FIRST + 1);
    assert_true(bytes_equal(f.sent[0].entries[0].data, BYTES_LIT("12345678")));
    fixture_done(&f);
}

static void a_single_member_reads_once_its_term_is_committed(void **state)
{
    struct fixture f;
    fixture_init(&f, config_of(), 1);
    raft_campaign(f.raft);
    work(&f);
    assert_int_equal(raft_role(f.raft), RAFT_LEADER);
    assert_ok(raft_read_index(f.raft, BYTES_LIT("r")));
    work(&f);
    assert_int_equal(f.read_count, 1);
    assert_int_equal(f.reads[0].index, FIRST + 1);
    fixture_done(&f);
}

static void too_many_reads_are_refused(void **state)
{
    struct fixture f;
    fixture_init(&f, config_of(), 3);
    elect(&f);
    unsigned accepted = 0;
    while (err_ok(raft_read_index(f.raft, BYTES_LIT("x"))))
        accepted++;
    assert_err(raft_read_index(f.raft, BYTES_LIT("x")), ERR_LIMIT);
    assert_int_equal(accepted, 16384);
    uint8_t overlong[RAFT_CONTEXT_BYTES_MAX + 1] = {0};
    assert_err(raft_read_index(f.raft, bytes_of(overlong, sizeof(overlong))), ERR_LIMIT);
    fixture_done(&f);
}

static void a_follower_echoes_any_context(void **state)
{
    struct fixture f;
    fixture_init(&f, config_of(), 3);
    static const char *const contexts[] = {"", "8 bytes.", "an id of some other style"};
    for (size_t i = 0; i < 3; i++) {
        assert_ok(step(&f, (struct raft_message){.type = RAFT_MSG_HEARTBEAT,
                                                 .from = 2,
                                                 .term = 2,
                                                 .commit = FIRST,
                                                 .context = bytes_str(contexts[i])}));
        work(&f);
        assert_int_equal(f.sent_count, 1);
        assert_int_equal(f.sent[0].type, RAFT_MSG_HEARTBEAT_RESP);
        assert_true(bytes_equal(f.sent[0].context, bytes_str(contexts[i])));
    }
    /* And sends its reads to the leader, whose answer it believes. */
    assert_ok(raft_read_index(f.raft, BYTES_LIT("id")));
    work(&f);
    assert_int_equal(sent_of(&f, RAFT_MSG_READ_INDEX), 1);
    assert_int_equal(f.sent[0].to, 2);
    struct raft_entry id = {.data = BYTES_LIT("id")};
    assert_ok(step(&f, (struct raft_message){.type = RAFT_MSG_READ_INDEX_RESP,
                                             .from = 2,
                                             .term = 2,
                                             .index = FIRST,
                                             .entries = &id,
                                             .entry_count = 1}));
    work(&f);
    assert_int_equal(f.read_count, 1);
    assert_int_equal(f.reads[0].index, FIRST);
    fixture_done(&f);
}

static void an_heir_is_known_while_others_live(void **state)
{
    struct raft_config config = config_of();
    config.check_quorum = true;
    struct fixture f;
    fixture_init(&f, config, 3);
    assert_int_equal(raft_heir(f.raft), RAFT_NONE);
    elect(&f);
    assert_int_equal(raft_heir(f.raft), RAFT_NONE);
    acknowledge(&f, 3, FIRST + 1);
    work(&f);
    assert_int_equal(raft_heir(f.raft), 3);
    /* 2 granted its vote, but that is before this leadership. */
    assert_false(raft_quorum_without_self(f.raft));
    acknowledge(&f, 2, FIRST + 1);
    assert_true(raft_quorum_without_self(f.raft));
    uint64_t match = 0;
    assert_true(raft_peer_match(f.raft, 3, &match));
    assert_int_equal(match, FIRST + 1);
    assert_false(raft_peer_match(f.raft, 7, &match));
    assert_int_equal(raft_active_match_min(f.raft), FIRST + 1);
    /* Heard of in the period before: still counts; after two silent ones nothing does. */
    for (int i = 0; i < 10; i++)
        raft_tick(f.raft);
    assert_true(raft_quorum_without_self(f.raft));
    for (int i = 0; i < 10; i++)
        raft_tick(f.raft);
    assert_int_equal(raft_role(f.raft), RAFT_FOLLOWER);
    assert_int_equal(raft_heir(f.raft), RAFT_NONE);
    fixture_done(&f);
}

static void held_elections_do_not_start(void **state)
{
    struct fixture f;
    fixture_init(&f, config_of(), 3);
    raft_hold_elections(f.raft, true);
    for (int i = 0; i < 100; i++)
        raft_tick(f.raft);
    assert_int_equal(raft_role(f.raft), RAFT_FOLLOWER);
    assert_int_equal(raft_term(f.raft), 1);
    raft_hold_elections(f.raft, false);
    for (int i = 0; i < 20; i++)
        raft_tick(f.raft);
    assert_int_equal(raft_role(f.raft), RAFT_CANDIDATE);
    fixture_done(&f);
}

/* Three entries of term 2 that 2, their leader, has not said are committed. */
static void receive_three(struct fixture *self)
{
    struct raft_entry entries[3];
    for (uint64_t i = 0; i < 3; i++)
        entries[i] = (struct raft_entry){
            .type = RAFT_ENTRY_NORMAL, .term = 2, .index = FIRST + 1 + i, .data = BYTES_LIT("x")};
    assert_ok(step(self, (struct raft_message){.type = RAFT_MSG_APP,
                                               .from = 2,
                                               .term = 2,
                                               .index = FIRST,
                                               .log_term = 1,
                                               .commit = FIRST,
                                               .entries = entries,
                                               .entry_count = 3}));
    work(self);
}

static void votes_tell_what_is_committed(void **state)
{
    static const struct {
        bool on;
        uint64_t commit, term, then;
    } rows[] = {
        {true, FIRST + 2, 2, FIRST + 2}, {true, FIRST + 2, 1, FIRST}, /* another entry than ours */
        {true, FIRST + 4, 2, FIRST},                                  /* one that we do not have */
        {true, FIRST + 2, 0, FIRST},     {false, FIRST + 2, 2, FIRST},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct raft_config config = config_of();
        config.commit_in_votes = rows[i].on;
        struct fixture f;
        fixture_init(&f, config, 3);
        receive_three(&f);
        /* Of one whose log is shorter than ours. */
        assert_ok(step(&f, (struct raft_message){.type = RAFT_MSG_VOTE,
                                                 .from = 3,
                                                 .term = 3,
                                                 .index = FIRST + 2,
                                                 .log_term = 2,
                                                 .commit = rows[i].commit,
                                                 .reject_hint = rows[i].term}));
        work(&f);
        assert_int_equal(raft_commit(f.raft), rows[i].then);
        assert_int_equal(f.sent_count, 1);
        assert_true(f.sent[0].reject);
        assert_int_equal(f.sent[0].commit, rows[i].on ? rows[i].then : 0);
        fixture_done(&f);
    }
}

/* It asked by the membership that it knew. */
static void who_hears_of_a_change_asks_for_votes_anew(void **state)
{
    struct raft_config config = config_of();
    config.commit_in_votes = true;
    struct fixture f;
    fixture_init(&f, config, 4);
    struct raft_entry removal = {
        .type = RAFT_ENTRY_CONF_CHANGE_V2, .term = 2, .index = FIRST + 1, .data = BYTES_NONE};
    assert_ok(step(&f, (struct raft_message){.type = RAFT_MSG_APP,
                                             .from = 2,
                                             .term = 2,
                                             .index = FIRST,
                                             .log_term = 1,
                                             .commit = FIRST,
                                             .entries = &removal,
                                             .entry_count = 1}));
    work(&f);
    raft_campaign(f.raft);
    work(&f);
    assert_int_equal(sent_of(&f, RAFT_MSG_VOTE), 3);
    assert_ok(step(&f, (struct raft_message){.type = RAFT_MSG_VOTE_RESP,
                                             .from = 3,
                                             .term = 3,
                                             .commit = FIRST + 1,
                                             .reject_hint = 2}));
    assert_int_equal(raft_role(f.raft), RAFT_FOLLOWER);
    assert_int_equal(raft_commit(f.raft), FIRST + 1);
    fixture_done(&f);
}

static void grouped_appends_leave_with_the_ready(void **state)
{
    struct raft_config config = config_of();
    config.group_appends = true;
    struct fixture f;
    fixture_init(&f, config, 3);
    elect(&f);
    acknowledge(&f, 2, FIRST + 1);
    acknowledge(&f, 3, FIRST + 1);
    work(&f);
    for (int i = 0; i < 10; i++)
        assert_ok(raft_propose(f.raft, BYTES_LIT("x"), NULL));
    work(&f);
    assert_int_equal(sent_of(&f, RAFT_MSG_APP), 2);
    assert_int_equal(f.sent[0].entry_count, 10);
    /* One that tells of the commit, not one for each entry. */
    for (uint64_t i = 2; i <= 11; i++)
        acknowledge(&f, 2, FIRST + i);
    work(&f);
    assert_int_equal(raft_commit(f.raft), FIRST + 11);
    assert_int_equal(sent_of(&f, RAFT_MSG_APP), 2);
    assert_int_equal(f.sent[0].commit, FIRST + 11);
    fixture_done(&f);
}

static void append(struct fixture *self, uint64_t term, uint64_t index, uint64_t log_term,
                   size_t count)
{
    struct raft_entry entry = {.term = term, .index = index + 1};
    assert_ok(step(self, (struct raft_message){.type = RAFT_MSG_APP,
                                               .from = 2,
                                               .term = term,
                                               .index = index,
                                               .log_term = log_term,
                                               .commit = index,
                                               .entries = &entry,
                                               .entry_count = count}));
    work(self);
}

/* What it knows already the leader hears with the next tick, if nothing else is said before. */
static void idle_acknowledgements_wait_for_the_tick(void **state)
{
    struct raft_config config = config_of();
    config.idle_acks_wait = true;
    struct fixture f;
    fixture_init(&f, config, 3);
    append(&f, 2, FIRST, 1, 1);
    assert_int_equal(sent_of(&f, RAFT_MSG_APP_RESP), 1);
    assert_int_equal(f.sent[0].index, FIRST + 1);
    append(&f, 2, FIRST + 1, 2, 0);
    assert_int_equal(raft_commit(f.raft), FIRST + 1);
    assert_int_equal(f.sent_count, 0);
    raft_tick(f.raft);
    work(&f);
    assert_int_equal(sent_of(&f, RAFT_MSG_APP_RESP), 1);
    assert_int_equal(f.sent[0].index, FIRST + 1);
    raft_tick(f.raft);
    work(&f);
    assert_int_equal(f.sent_count, 0);
    /* Entries are acknowledged at once, and that says it all. */
    append(&f, 2, FIRST + 1, 2, 0);
    append(&f, 2, FIRST + 1, 2, 1);
    assert_int_equal(sent_of(&f, RAFT_MSG_APP_RESP), 1);
    assert_int_equal(f.sent[0].index, FIRST + 2);
    raft_tick(f.raft);
    work(&f);
    assert_int_equal(f.sent_count, 0);
    /* Another leader has heard nothing yet. */
    append(&f, 3, FIRST + 2, 2, 0);
    assert_int_equal(sent_of(&f, RAFT_MSG_APP_RESP), 1);
    fixture_done(&f);
}

static err failing_entries(void *ctx, uint64_t lo, uint64_t hi, uint64_t max_bytes, size_t room,
                           struct raft_entry *ret_entries, size_t *ret_count)
{
    return ERR_IO;
}

static void a_storage_that_fails_is_told_of(void **state)
{
    struct raft_memory_storage *storage = raft_memory_storage_new();
    struct raft_entry e = {.index = 1, .term = 1};
    assert_ok(raft_memory_storage_append(storage, &e, 1));
    struct raft_hard_state hard_state = {1, 0, 1};
    raft_memory_storage_set_hard_state(storage, &hard_state);
    struct raft_storage table = raft_memory_storage_table(storage);
    table.entries = failing_entries;
    struct raft_config config = config_of();
    config.applied = 0;
    struct raft *raft;
    assert_ok(raft_new(&config, &table, &raft));
    assert_true(raft_has_ready(raft));
    struct raft_ready ready;
    assert_err(raft_ready_take(raft, &ready), ERR_IO);
    assert_err(raft_ready_take(raft, &ready), ERR_IO);
    raft_free(raft);
    raft_memory_storage_free(storage);
}

/* What a member sent here while we led goes on to whoever leads now, that very member perhaps: it
 * would refuse a message in its own name. */
static void what_others_propose_goes_on_in_our_name(void **state)
{
    struct fixture f;
    fixture_init(&f, config_of(), 3);
    assert_ok(step(&f, (struct raft_message){
                           .type = RAFT_MSG_HEARTBEAT, .from = 2, .term = 2, .commit = FIRST}));
    work(&f);
    const struct raft_entry entry = {.data = BYTES_LIT("x")};
    assert_ok(step(&f, (struct raft_message){
                           .type = RAFT_MSG_PROP, .from = 2, .entries = &entry, .entry_count = 1}));
    work(&f);
    assert_int_equal(sent_of(&f, RAFT_MSG_PROP), 1);
    assert_int_equal(f.sent[0].to, 2);
    assert_int_equal(f.sent[0].from, 1);
    fixture_done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nonsense_configurations_are_refused),
        cmocka_unit_test(messages_that_are_not_ours_are_refused),
        cmocka_unit_test(what_others_propose_goes_on_in_our_name),
        cmocka_unit_test(appends_that_contradict_are_refused),
        cmocka_unit_test(snapshots_that_contradict_themselves_are_refused),
        cmocka_unit_test(acknowledgements_of_the_future_are_refused),
        cmocka_unit_test(proposals_have_their_limit),
        cmocka_unit_test(reads_wait_for_the_term_and_a_quorum),
        cmocka_unit_test(a_single_member_reads_once_its_term_is_committed),
        cmocka_unit_test(too_many_reads_are_refused),
        cmocka_unit_test(a_follower_echoes_any_context),
        cmocka_unit_test(an_heir_is_known_while_others_live),
        cmocka_unit_test(held_elections_do_not_start),
        cmocka_unit_test(votes_tell_what_is_committed),
        cmocka_unit_test(who_hears_of_a_change_asks_for_votes_anew),
        cmocka_unit_test(grouped_appends_leave_with_the_ready),
        cmocka_unit_test(idle_acknowledgements_wait_for_the_tick),
        cmocka_unit_test(a_storage_that_fails_is_told_of),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
