/* The requests are what real clients would send: they decode, in canonical form, to what was asked
 * for. */
#include "bench/work.h"

#include "base/arena.h"
#include "etcdserverpb.pb-c.h"
#include "wire/decode.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct work work;
static struct arena arena;
static uint8_t joined[1 << 16];

static struct work_config config_of(enum work_kind kind)
{
    return (struct work_config){.kind = kind,
                                .key_bytes = 16,
                                .value_bytes = 256,
                                .key_space = 1000,
                                .list_keys = 100,
                                .write_percent = 20,
                                .seed = 7};
}

static int setup(void **state)
{
    arena_init(&arena, 4096);
    return 0;
}

static int teardown(void **state)
{
    arena_done(&arena);
    work_done(&work);
    return 0;
}

static struct bytes next(const char *path)
{
    struct work_request request;
    size_t len = 0;
    work_next(&work, &request);
    assert_true(bytes_equal(request.path, bytes_str(path)));
    for (unsigned i = 0; i < request.part_count; i++) {
        memcpy(joined + len, request.parts[i].data, request.parts[i].len);
        len += request.parts[i].len;
    }
    return bytes_of(joined, len);
}

#define DECODE(descriptor, in, message)                                                       \
    do {                                                                                      \
        bool canonical;                                                                       \
        assert_true(err_ok(                                                                   \
            wire_decode(&(descriptor), in, &arena, NULL, WIRE_OUT(&(message)), &canonical))); \
        assert_true(canonical);                                                               \
    } while (0)

static void assert_key(ProtobufCBinaryData key, const char *text)
{
    assert_true(bytes_equal(bytes_of(key.data, key.len), bytes_str(text)));
}

static void test_put(void **state)
{
    struct work_config config = config_of(WORK_PUT);
    config.sequential = true;
    work_init(&work, &config);
    Etcdserverpb__PutRequest *put;
    DECODE(etcdserverpb__put_request__descriptor, next("/etcdserverpb.KV/Put"), put);
    assert_key(put->key, "k000000000000000");
    assert_int_equal(put->value.len, 256);
    for (unsigned i = 1; i < 999; i++)
        (void)next("/etcdserverpb.KV/Put");
    DECODE(etcdserverpb__put_request__descriptor, next("/etcdserverpb.KV/Put"), put);
    assert_key(put->key, "k000000000000999");
    DECODE(etcdserverpb__put_request__descriptor, next("/etcdserverpb.KV/Put"), put);
    assert_key(put->key, "k000000000000000");
}

static void test_range(void **state)
{
    struct work_config config = config_of(WORK_RANGE);
    config.serializable = true;
    work_init(&work, &config);
    Etcdserverpb__RangeRequest *range;
    DECODE(etcdserverpb__range_request__descriptor, next("/etcdserverpb.KV/Range"), range);
    assert_int_equal(range->key.len, 16);
    assert_int_equal(range->range_end.len, 0);
    assert_true(range->serializable);
}

/* There are always list_keys keys from where a list begins. */
static void test_list(void **state)
{
    struct work_config config = config_of(WORK_LIST);
    work_init(&work, &config);
    for (unsigned i = 0; i < 2000; i++) {
        Etcdserverpb__RangeRequest *range;
        DECODE(etcdserverpb__range_request__descriptor, next("/etcdserverpb.KV/Range"), range);
        struct bytes key = bytes_of(range->key.data, range->key.len);
        assert_true(bytes_compare(key, BYTES_LIT("k000000000000900")) <= 0);
        assert_key(range->range_end, "l");
        assert_int_equal(range->limit, 100);
        assert_false(range->serializable);
        arena_reset(&arena);
    }
}

static void test_txn(void **state)
{
    struct work_config config = config_of(WORK_TXN);
    work_init(&work, &config);
    Etcdserverpb__TxnRequest *txn;
    DECODE(etcdserverpb__txn_request__descriptor, next("/etcdserverpb.KV/Txn"), txn);
    assert_int_equal(txn->n_compare, 1);
    assert_int_equal(txn->compare[0]->result, ETCDSERVERPB__COMPARE__COMPARE_RESULT__LESS);
    assert_int_equal(txn->compare[0]->target, ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION);
    assert_true(txn->compare[0]->version > 1000000000);
    assert_int_equal(txn->n_success, 1);
    assert_int_equal(txn->success[0]->request_put->value.len, 256);
    assert_int_equal(txn->n_failure, 1);
    assert_int_equal(txn->failure[0]->request_range->key.len, 16);
}

static void test_mixed(void **state)
{
    struct work_config config = config_of(WORK_MIXED);
    work_init(&work, &config);
    unsigned puts = 0;
    for (unsigned i = 0; i < 10000; i++) {
        struct work_request request;
        work_next(&work, &request);
        puts += bytes_equal(request.path, BYTES_LIT("/etcdserverpb.KV/Put"));
    }
    assert_in_range(puts, 1800, 2200);
}

static void test_config(void **state)
{
    struct work_config config = config_of(WORK_PUT);
    work_init(&work, &config); /* for teardown */
    assert_null(work_config_check(&config));
    config.key_bytes = 4; /* no room for "k1000" */
    assert_non_null(work_config_check(&config));
    config = config_of(WORK_LIST);
    config.list_keys = 1001;
    assert_non_null(work_config_check(&config));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_put, setup, teardown),
        cmocka_unit_test_setup_teardown(test_range, setup, teardown),
        cmocka_unit_test_setup_teardown(test_list, setup, teardown),
        cmocka_unit_test_setup_teardown(test_txn, setup, teardown),
        cmocka_unit_test_setup_teardown(test_mixed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_config, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
