/* Membership changes: their encoding, what they make of a configuration, what is refused. */
#include "t.h"

#include "base/prng.h"
#include "raft/conf_codec.h"
#include "raft/confchange.h"

#include <string.h>

static void v1_is_etcds_bytes(void **state)
{
    struct raft_conf_change change = {
        .id = 300,
        .count = 1,
        .changes = {{RAFT_ADD_LEARNER, 5}},
        .context = BYTES_LIT("hi"),
    };
    struct buf AUTO(buf_done) buf;
    buf_init(&buf, 0);
    assert_ok(raft_conf_change_encode(RAFT_ENTRY_CONF_CHANGE, &change, &buf));
    static const uint8_t want[] = {0x08, 0xac, 0x02, 0x10, 0x03, 0x18, 0x05, 0x22, 0x02, 'h', 'i'};
    assert_int_equal(buf.len, sizeof(want));
    assert_memory_equal(buf.data, want, sizeof(want));
    struct raft_conf_change back;
    assert_ok(raft_conf_change_decode(RAFT_ENTRY_CONF_CHANGE, buf_bytes(&buf), &back));
    assert_int_equal(back.id, 300);
    assert_int_equal(back.count, 1);
    assert_int_equal(back.changes[0].type, RAFT_ADD_LEARNER);
    assert_int_equal(back.changes[0].node_id, 5);
    assert_true(bytes_equal(back.context, BYTES_LIT("hi")));
    change.count = 2;
    assert_err(raft_conf_change_encode(RAFT_ENTRY_CONF_CHANGE, &change, &buf), ERR_USAGE);
}

static void v2_comes_back_as_it_went(void **state)
{
    struct raft_conf_change change = {
        .transition = RAFT_TRANSITION_JOINT_EXPLICIT,
        .count = 2,
        .changes = {{RAFT_REMOVE_NODE, 1}, {RAFT_ADD_NODE, UINT64_MAX - 7}},
    };
    struct buf AUTO(buf_done) buf;
    buf_init(&buf, 0);
    assert_ok(raft_conf_change_encode(RAFT_ENTRY_CONF_CHANGE_V2, &change, &buf));
    struct raft_conf_change back;
    assert_ok(raft_conf_change_decode(RAFT_ENTRY_CONF_CHANGE_V2, buf_bytes(&buf), &back));
    assert_int_equal(back.transition, change.transition);
    assert_int_equal(back.count, 2);
    assert_memory_equal(back.changes, change.changes, sizeof(change.changes));
    assert_ok(raft_conf_change_decode(RAFT_ENTRY_CONF_CHANGE_V2, BYTES_NONE, &back));
    assert_true(raft_conf_change_leaves(&back));
}

static void malformed_changes_are_refused(void **state)
{
    static const struct {
        struct bytes data;
        enum raft_entry_type type;
        err want;
    } cases[] = {
        {BYTES_LIT("\x08"), RAFT_ENTRY_CONF_CHANGE, {ERR_SYNTAX_}},
        {BYTES_LIT("\x10\x09"), RAFT_ENTRY_CONF_CHANGE, {ERR_SYNTAX_}},
        {BYTES_LIT("\x22\x05xx"), RAFT_ENTRY_CONF_CHANGE, {ERR_SYNTAX_}},
        {BYTES_LIT("\x00\x01"), RAFT_ENTRY_CONF_CHANGE, {ERR_SYNTAX_}},
        {BYTES_LIT("\x0b\x01"), RAFT_ENTRY_CONF_CHANGE, {ERR_SYNTAX_}},
        {BYTES_LIT("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
         RAFT_ENTRY_CONF_CHANGE,
         {ERR_SYNTAX_}},
        {BYTES_LIT("\x08\x03"), RAFT_ENTRY_CONF_CHANGE_V2, {ERR_SYNTAX_}},
        {BYTES_LIT("\x12\x02\x08\x04"), RAFT_ENTRY_CONF_CHANGE_V2, {ERR_SYNTAX_}},
        /* Unknown fields of every wire type are skipped. */
        {BYTES_LIT("\x50\x01\x51xxxxxxxx\x52\x01x\x55xxxx\x18\x07"), RAFT_ENTRY_CONF_CHANGE, {0}},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct raft_conf_change change;
        assert_err(raft_conf_change_decode(cases[i].type, cases[i].data, &change), cases[i].want);
    }
    /* More changes than a configuration can have members. */
    uint8_t many[2 * (RAFT_MEMBERS_MAX + 1)];
    for (size_t i = 0; i < sizeof(many); i += 2) {
        many[i] = 0x12;
        many[i + 1] = 0;
    }
    struct raft_conf_change change;
    assert_err(
        raft_conf_change_decode(RAFT_ENTRY_CONF_CHANGE_V2, bytes_of(many, sizeof(many)), &change),
        ERR_LIMIT);
}

static struct raft_id_set ids(unsigned mask)
{
    struct raft_id_set set = {0};
    for (uint64_t id = 1; id < 8; id++)
        if (mask & (1u << id))
            assert_true(raft_id_set_add(&set, id));
    return set;
}

static void contradicting_configurations_are_refused(void **state)
{
    const unsigned a = 1u << 1;
    const unsigned b = 1u << 2;
    const unsigned c = 1u << 3;
    const struct {
        unsigned voters, outgoing, learners, next;
        bool auto_leave;
        bool fine;
    } cases[] = {
        {0, 0, 0, 0, false, true},     {a | b, 0, 0, 0, false, true},
        {a | b, 0, c, 0, false, true}, {a, a | b, c, b, true, true},
        {0, 0, a, 0, false, false},    {0, a, 0, 0, false, false},
        {a, 0, a, 0, false, false},    {a, b, b, 0, false, false},
        {a, b, 0, c, false, false},    {a | b, b, 0, b, false, false},
        {a, 0, 0, b, false, false},    {a, 0, 0, 0, true, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct raft_conf_state conf = {
            .voters = ids(cases[i].voters),
            .voters_outgoing = ids(cases[i].outgoing),
            .learners = ids(cases[i].learners),
            .learners_next = ids(cases[i].next),
            .auto_leave = cases[i].auto_leave,
        };
        assert_int_equal(raft_conf_check(&conf) == RAFT_CONF_FINE, cases[i].fine);
    }
    struct raft_conf_state unsorted = {.voters = {.count = 2, .ids = {2, 1}}};
    assert_int_equal(raft_conf_check(&unsorted), RAFT_CONF_INVALID);
    struct raft_conf_state nobody = {.voters = {.count = 1, .ids = {RAFT_NONE}}};
    assert_int_equal(raft_conf_check(&nobody), RAFT_CONF_INVALID);
    struct raft_conf_state thread = {.voters = {.count = 1, .ids = {RAFT_APPEND_THREAD}}};
    assert_int_equal(raft_conf_check(&thread), RAFT_CONF_INVALID);
    struct raft_conf_state overlong = {.voters = {.count = RAFT_MEMBERS_MAX + 1}};
    assert_int_equal(raft_conf_check(&overlong), RAFT_CONF_INVALID);
}

static void any_sequence_of_changes_stays_sound(void **state)
{
    struct prng prng;
    prng_init(&prng, 11);
    struct raft_conf_state conf = {.voters = ids(2)};
    unsigned done = 0;
    for (int i = 0; i < 50000; i++) {
        struct raft_conf_change change = {
            .transition = (enum raft_conf_transition)prng_below(&prng, 3),
            .count = (uint32_t)prng_below(&prng, 5),
        };
        for (uint32_t k = 0; k < change.count; k++)
            change.changes[k] = (struct raft_conf_single){
                (enum raft_conf_change_type)prng_below(&prng, 4), prng_below(&prng, 9)};
        struct raft_conf_state before = conf;
        if (raft_conf_apply(&conf, &change, &conf) == RAFT_CONF_FINE) {
            done++;
            assert_int_equal(raft_conf_check(&conf), RAFT_CONF_FINE);
            assert_true(conf.voters.count > 0);
        } else {
            assert_true(raft_conf_state_equal(&before, &conf));
        }
    }
    assert_true(done > 5000);
}

static void the_bound_of_members_holds(void **state)
{
    struct raft_conf_state conf = {.voters = ids(2)};
    for (uint64_t id = 2; id <= RAFT_MEMBERS_MAX; id++) {
        struct raft_conf_single add = {RAFT_ADD_LEARNER, id};
        assert_int_equal(raft_conf_simple(&conf, &add, 1, &conf), RAFT_CONF_FINE);
    }
    struct raft_conf_single one_more = {RAFT_ADD_NODE, 1000};
    assert_int_equal(raft_conf_simple(&conf, &one_more, 1, &conf), RAFT_CONF_TOO_MANY);
    struct raft_conf_single promote = {RAFT_ADD_NODE, 2};
    assert_int_equal(raft_conf_simple(&conf, &promote, 1, &conf), RAFT_CONF_FINE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(v1_is_etcds_bytes),
        cmocka_unit_test(v2_comes_back_as_it_went),
        cmocka_unit_test(malformed_changes_are_refused),
        cmocka_unit_test(contradicting_configurations_are_refused),
        cmocka_unit_test(any_sequence_of_changes_stays_sound),
        cmocka_unit_test(the_bound_of_members_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
