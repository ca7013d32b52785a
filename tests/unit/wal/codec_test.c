/* raft's types on the wire: golden bytes from etcd's schema, round trips, hostile input. */
#include "wal/raft_codec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define assert_ok(e)          assert_string_equal(err_ok(e) ? "OK" : err_name(e), "OK")
#define assert_err(e, wanted) assert_string_equal(err_name(e), err_name(wanted))

static void assert_bytes(struct bytes got, const void *wanted, size_t len)
{
    assert_int_equal(got.len, len);
    assert_memory_equal(got.data, wanted, len);
}

static void an_entry_has_etcds_bytes(void **state)
{
    static const uint8_t wanted[] = {0x08, 0x01, 0x10, 0x02, 0x18, 0xac,
                                     0x02, 0x22, 0x02, 'h',  'i'};
    struct raft_entry entry = {
        .type = RAFT_ENTRY_CONF_CHANGE, .term = 2, .index = 300, .data = BYTES_LIT("hi")};
    uint8_t head[RAFT_CODEC_ENTRY_HEAD_BYTES_MAX];
    size_t len = raft_codec_entry_head(&entry, head);
    assert_bytes(bytes_of(head, len), wanted, sizeof(wanted) - 2);
    assert_int_equal(raft_codec_entry_size(&entry), sizeof(wanted));
    struct raft_entry back;
    assert_ok(raft_codec_entry_decode(bytes_of(wanted, sizeof(wanted)), &back));
    assert_int_equal(back.type, RAFT_ENTRY_CONF_CHANGE);
    assert_int_equal(back.term, 2);
    assert_int_equal(back.index, 300);
    assert_bytes(back.data, "hi", 2);
}

static void the_largest_numbers_fit(void **state)
{
    struct raft_entry entry = {.term = RAFT_NUMBER_MAX, .index = RAFT_NUMBER_MAX}, back;
    uint8_t head[RAFT_CODEC_ENTRY_HEAD_BYTES_MAX];
    size_t len = raft_codec_entry_head(&entry, head);
    assert_int_equal(len, raft_codec_entry_size(&entry));
    assert_ok(raft_codec_entry_decode(bytes_of(head, len), &back));
    assert_int_equal(back.index, RAFT_NUMBER_MAX);
    entry.index++;
    len = raft_codec_entry_head(&entry, head);
    assert_err(raft_codec_entry_decode(bytes_of(head, len), &back), ERR_LIMIT);
    struct raft_hard_state hard = {1, UINT64_MAX, 5}, hard_back;
    uint8_t bytes[RAFT_CODEC_STATE_BYTES_MAX];
    len = raft_codec_state_encode(&hard, bytes);
    assert_ok(raft_codec_state_decode(bytes_of(bytes, len), &hard_back));
    assert_int_equal(hard_back.vote, UINT64_MAX);
}

static void a_heartbeat_has_etcds_bytes(void **state)
{
    static const uint8_t wanted[] = {0x08, 0x08, 0x10, 0x02, 0x18, 0x01, 0x20, 0x05, 0x28,
                                     0x00, 0x30, 0x00, 0x40, 0x07, 0x50, 0x00, 0x58, 0x00,
                                     0x62, 0x03, 'c',  't',  'x',  0x68, 0x00};
    struct raft_message message = {.type = RAFT_MSG_HEARTBEAT,
                                   .to = 2,
                                   .from = 1,
                                   .term = 5,
                                   .commit = 7,
                                   .context = BYTES_LIT("ctx")};
    struct buf buf;
    buf_init(&buf, 0);
    assert_ok(raft_codec_message_encode(&message, &buf));
    assert_bytes(buf_bytes(&buf), wanted, sizeof(wanted));
    buf_done(&buf);
}

static void up_to_35_an_empty_snapshot_is_none(void **state)
{
    /* type 8, snapshot { metadata { conf_state {auto_leave 0}, index 0, term 0 } } */
    static const uint8_t input[] = {0x08, 0x08, 0x4a, 0x0a, 0x12, 0x08, 0x0a,
                                    0x02, 0x28, 0x00, 0x10, 0x00, 0x18, 0x00};
    struct arena arena;
    struct raft_message message;
    arena_init(&arena, 4096);
    assert_ok(raft_codec_message_decode(bytes_of(input, sizeof(input)), &arena, &message));
    assert_int_equal(message.type, RAFT_MSG_HEARTBEAT);
    assert_null(message.snapshot);
    arena_done(&arena);
}

static void a_whole_message_survives(void **state)
{
    struct raft_entry entries[2] = {{.term = 3, .index = 9, .data = BYTES_LIT("abc")},
                                    {.term = 4, .index = 10}};
    struct raft_snapshot snapshot = {.index = 8, .term = 3, .data = BYTES_LIT("snap")};
    assert_true(raft_id_set_add(&snapshot.conf_state.voters, 1));
    assert_true(raft_id_set_add(&snapshot.conf_state.voters, UINT64_MAX - 7));
    assert_true(raft_id_set_add(&snapshot.conf_state.learners, 5));
    assert_true(raft_id_set_add(&snapshot.conf_state.voters_outgoing, 6));
    assert_true(raft_id_set_add(&snapshot.conf_state.learners_next, 6));
    snapshot.conf_state.auto_leave = true;
    struct raft_message responses[1] = {{.type = RAFT_MSG_APP_RESP, .to = 1, .index = 9}};
    struct raft_message message = {.type = RAFT_MSG_STORAGE_APPEND,
                                   .reject = true,
                                   .to = RAFT_APPEND_THREAD,
                                   .from = 2,
                                   .term = 4,
                                   .log_term = 3,
                                   .index = 8,
                                   .commit = 7,
                                   .vote = 2,
                                   .reject_hint = 6,
                                   .entries = entries,
                                   .entry_count = 2,
                                   .snapshot = &snapshot,
                                   .context = BYTES_LIT("x"),
                                   .responses = responses,
                                   .response_count = 1};
    struct buf buf;
    struct arena arena;
    struct raft_message back;
    buf_init(&buf, 0);
    arena_init(&arena, 4096);
    assert_ok(raft_codec_message_encode(&message, &buf));
    assert_int_equal(buf.len, raft_codec_message_size(&message));
    assert_ok(raft_codec_message_decode(buf_bytes(&buf), &arena, &back));
    assert_int_equal(back.type, message.type);
    assert_true(back.reject);
    assert_true(back.to == message.to && back.from == 2 && back.term == 4 && back.log_term == 3);
    assert_true(back.index == 8 && back.commit == 7 && back.vote == 2 && back.reject_hint == 6);
    assert_int_equal(back.entry_count, 2);
    assert_bytes(back.entries[0].data, "abc", 3);
    assert_int_equal(back.entries[1].index, 10);
    assert_int_equal(back.entries[1].data.len, 0);
    assert_non_null(back.snapshot);
    assert_true(raft_conf_state_equal(&back.snapshot->conf_state, &snapshot.conf_state));
    assert_int_equal(back.snapshot->index, 8);
    assert_bytes(back.snapshot->data, "snap", 4);
    assert_int_equal(back.response_count, 1);
    assert_int_equal(back.responses[0].index, 9);
    assert_bytes(back.context, "x", 1);
    /* Cut at each byte it is refused or is another message, and nothing worse. */
    for (size_t len = 0; len < buf.len; len++) {
        arena_reset(&arena);
        (void)raft_codec_message_decode(bytes_of(buf.data, len), &arena, &back).code;
    }
    arena_done(&arena);
    buf_done(&buf);
}

static void packed_ids_are_read_too(void **state)
{
    static const uint8_t input[] = {0x0a, 0x03, 0x01, 0x02, 0x03, 0x28, 0x01};
    struct raft_conf_state conf_state;
    assert_ok(raft_codec_conf_state_decode(bytes_of(input, sizeof(input)), &conf_state));
    assert_int_equal(conf_state.voters.count, 3);
    assert_true(conf_state.auto_leave);
}

static void fields_may_come_in_any_order_with_strangers_between(void **state)
{
    static const uint8_t input[] = {0x22, 0x01, 'z',  0x78, 0x05, 0x18,
                                    0x07, 0xfa, 0x01, 0x00, 0x10, 0x02};
    struct raft_entry entry;
    assert_ok(raft_codec_entry_decode(bytes_of(input, sizeof(input)), &entry));
    assert_int_equal(entry.index, 7);
    assert_int_equal(entry.term, 2);
    assert_bytes(entry.data, "z", 1);
}

static void nonsense_is_refused(void **state)
{
    struct raft_entry entry;
    struct raft_message message;
    struct arena arena;
    arena_init(&arena, 4096);
    static const uint8_t wrong_wire[] = {0x12, 0x00};               /* term as bytes */
    static const uint8_t group[] = {0x0b, 0x0c};                    /* start, end group */
    static const uint8_t length[] = {0x22, 0xff, 0xff, 0xff, 0x7f}; /* data past the end */
    static const uint8_t long_varint[] = {0x10, 0xff, 0xff, 0xff, 0xff, 0xff,
                                          0xff, 0xff, 0xff, 0xff, 0x02};
    static const uint8_t type[] = {0x08, 0x03};
    static const uint8_t field_zero[] = {0x00, 0x00};
    assert_err(raft_codec_entry_decode(bytes_of(wrong_wire, 2), &entry), ERR_SYNTAX);
    assert_err(raft_codec_entry_decode(bytes_of(group, 2), &entry), ERR_SYNTAX);
    assert_err(raft_codec_entry_decode(bytes_of(length, 5), &entry), ERR_SYNTAX);
    assert_err(raft_codec_entry_decode(bytes_of(long_varint, 11), &entry), ERR_SYNTAX);
    assert_err(raft_codec_entry_decode(bytes_of(type, 2), &entry), ERR_SYNTAX);
    assert_err(raft_codec_entry_decode(bytes_of(field_zero, 2), &entry), ERR_SYNTAX);
    static const uint8_t message_type[] = {0x08, 24};
    assert_err(raft_codec_message_decode(bytes_of(message_type, 2), &arena, &message), ERR_SYNTAX);
    /* responses of responses of responses */
    static const uint8_t deep[] = {0x72, 0x04, 0x72, 0x02, 0x08, 0x00};
    assert_err(raft_codec_message_decode(bytes_of(deep, 6), &arena, &message), ERR_LIMIT);
    assert_ok(raft_codec_message_decode(bytes_of(deep + 2, 4), &arena, &message));
    /* more empty entries than a message may hold */
    size_t n = RAFT_CODEC_ENTRIES_MAX + 1;
    uint8_t *many = malloc(2 * n);
    assert_non_null(many);
    for (size_t i = 0; i < n; i++) {
        many[2 * i] = 0x3a;
        many[2 * i + 1] = 0;
    }
    assert_err(raft_codec_message_decode(bytes_of(many, 2 * n), &arena, &message), ERR_LIMIT);
    free(many);
    arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_entry_has_etcds_bytes),
        cmocka_unit_test(the_largest_numbers_fit),
        cmocka_unit_test(a_heartbeat_has_etcds_bytes),
        cmocka_unit_test(up_to_35_an_empty_snapshot_is_none),
        cmocka_unit_test(a_whole_message_survives),
        cmocka_unit_test(packed_ids_are_read_too),
        cmocka_unit_test(fields_may_come_in_any_order_with_strangers_between),
        cmocka_unit_test(nonsense_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
