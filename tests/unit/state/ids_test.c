/* Ids equal to etcd's for the same input; what is no id is refused. */
#include "state/ids.h"
#include "state/members.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void default_member_has_the_id_that_etcd_gives_it(void **ctx)
{
    (void)ctx;
    struct bytes url = BYTES_LIT("http://localhost:2380");
    uint64_t id = member_id_initial(&url, 1, BYTES_LIT("etcd-cluster"));
    assert_int_equal(id, 0x8e9e05c52164694d);
    assert_int_equal(cluster_id_of(&id, 1), 0xcdf818194e3a8c32);
}

static void order_of_urls_and_of_members_does_not_matter(void **ctx)
{
    (void)ctx;
    struct bytes ab[2] = {BYTES_LIT("http://a:1"), BYTES_LIT("http://b:1")};
    struct bytes ba[2] = {ab[1], ab[0]};
    struct bytes token = BYTES_LIT("t");
    assert_int_equal(member_id_initial(ab, 2, token), member_id_initial(ba, 2, token));
    uint64_t x[3] = {3, 1, 2};
    uint64_t y[3] = {1, 2, 3};
    assert_int_equal(cluster_id_of(x, 3), cluster_id_of(y, 3));
}

static void the_second_of_adding_counts(void **ctx)
{
    (void)ctx;
    struct bytes url = BYTES_LIT("http://a:1");
    assert_int_not_equal(member_id_added(&url, 1, 1), member_id_added(&url, 1, 2));
    /* The time is hashed as decimal text, so it equals a token of the same text. */
    assert_int_equal(member_id_added(&url, 1, 1700000000),
                     member_id_initial(&url, 1, BYTES_LIT("1700000000")));
}

static void hex_texts_are_read_and_written(void **ctx)
{
    (void)ctx;
    static const struct {
        const char *text;
        bool good;
        uint64_t id;
    } rows[] = {
        {"0", true, 0},
        {"8e9e05c52164694d", true, 0x8e9e05c52164694d},
        {"8E9E05C52164694D", true, 0x8e9e05c52164694d},
        {"ffffffffffffffff", true, UINT64_MAX},
        {"", false, 0},
        {"10000000000000000", false, 0},
        {"0x1", false, 0},
        {"-1", false, 0},
        {" 1", false, 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t id = 77;
        err e = id_parse(bytes_str(rows[i].text), &id);
        assert_int_equal(err_ok(e), rows[i].good);
        assert_int_equal(id, rows[i].good ? rows[i].id : 77);
    }
    char text[ID_TEXT_MAX];
    assert_string_equal(id_text(0xab, text), "ab");
    assert_string_equal(id_text(UINT64_MAX, text), "ffffffffffffffff");
}

static void request_ids_carry_member_and_time_and_never_repeat(void **ctx)
{
    (void)ctx;
    struct request_ids ids;
    request_ids_init(&ids, 0x1234567890abcdef, 0xff0123456789);
    uint64_t first = request_ids_take(&ids, 3);
    assert_int_equal(first >> 48, 0xcdef);
    assert_int_equal(first & 0xff, 1);
    assert_int_equal(first >> 8 & ((UINT64_C(1) << 40) - 1), 0x0123456789);
    assert_int_equal(request_id_next(request_id_next(first)) + 1, request_ids_take(&ids, 1));
}

static void request_id_counter_stays_in_its_48_bits(void **ctx)
{
    (void)ctx;
    struct request_ids ids;
    request_ids_init(&ids, 7, (UINT64_C(1) << 40) - 1);
    uint64_t id = request_ids_take(&ids, 300);
    for (unsigned i = 0; i < 299; i++)
        id = request_id_next(id);
    assert_int_equal(id >> 48, 7);
    assert_int_equal(request_ids_take(&ids, 1) >> 48, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(default_member_has_the_id_that_etcd_gives_it),
        cmocka_unit_test(order_of_urls_and_of_members_does_not_matter),
        cmocka_unit_test(the_second_of_adding_counts),
        cmocka_unit_test(hex_texts_are_read_and_written),
        cmocka_unit_test(request_ids_carry_member_and_time_and_never_repeat),
        cmocka_unit_test(request_id_counter_stays_in_its_48_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
