#include "bench/work.h"

#include "base/check.h"
#include "base/clock.h"
#include "wire/splice.h"

#include <stdlib.h>

#define VALUES_SPARE_BYTES 65536

/* Numbers of fields and enums: etcd's interface, rpc.proto. */
enum { PUT_KEY = 1, PUT_VALUE = 2 };
enum { RANGE_KEY = 1, RANGE_END = 2, RANGE_LIMIT = 3, RANGE_SERIALIZABLE = 7 };
enum { TXN_COMPARE = 1, TXN_SUCCESS = 2, TXN_FAILURE = 3 };
enum { COMPARE_RESULT = 1, COMPARE_KEY = 3, COMPARE_VERSION = 4, COMPARE_LESS = 2 };
enum { OP_RANGE = 1, OP_PUT = 2 };
enum { GRANT_TTL = 1 };

/* No key has so many versions. */
#define VERSION_BOUND (UINT64_C(1) << 40)

static unsigned digits_of(uint64_t n)
{
    unsigned digits = 1;
    while (n /= 10)
        digits++;
    return digits;
}

const char *work_config_check(const struct work_config *config)
{
    if (config->key_space == 0)
        return "the key space is empty";
    if (config->key_bytes > WORK_KEY_BYTES_MAX)
        return "keys have at most 1024 bytes";
    if (config->key_bytes < 1 + digits_of(config->key_space))
        return "the keys are too short for the key space";
    if (config->stamped && config->value_bytes < WORK_STAMP_BYTES)
        return "values are too short for a time";
    if (config->write_percent > 100)
        return "more than 100 percent of writes";
    if (config->kind == WORK_LIST &&
        (config->list_keys == 0 || config->list_keys > config->key_space))
        return "a list has at least one key and at most the key space";
    return NULL;
}

void work_init(struct work *self, const struct work_config *config)
{
    *self = (struct work){.config = *config};
    prng_init(&self->chance, config->seed);
    size_t bytes = (config->value_bytes + VALUES_SPARE_BYTES + 7) & ~(size_t)7;
    self->values = malloc(bytes);
    CHECK(self->values);
    for (size_t i = 0; i < bytes; i += 8)
        bytes_put_le64(self->values + i, prng_next(&self->chance));
    if (config->stamped) {
        self->stamped = malloc(config->value_bytes);
        CHECK(self->stamped);
        memcpy(self->stamped, self->values, config->value_bytes);
    }
}

void work_done(struct work *self)
{
    free(self->values);
    free(self->stamped);
}

struct bytes work_key(const struct work *self, uint8_t *to, uint64_t number)
{
    uint32_t len = self->config.key_bytes;
    memset(to, '0', len);
    to[0] = 'k';
    for (uint32_t at = len - 1; number; at--, number /= 10)
        to[at] = (uint8_t)('0' + number % 10);
    return bytes_of(to, len);
}

static struct bytes key_pick(struct work *self, uint64_t space)
{
    uint64_t number =
        self->config.sequential ? self->next_key++ % space : prng_below(&self->chance, space);
    return work_key(self, self->key, number);
}

static struct bytes value_pick(struct work *self)
{
    if (self->stamped) {
        bytes_put_le64(self->stamped, clock_mono_ns());
        return bytes_of(self->stamped, self->config.value_bytes);
    }
    uint64_t at = prng_next(&self->chance) % VALUES_SPARE_BYTES;
    return bytes_of(self->values + at, self->config.value_bytes);
}

static size_t put_bytes(struct bytes key, struct bytes value)
{
    return wire_bytes_field_size(PUT_KEY, key.len) + wire_bytes_field_size(PUT_VALUE, value.len);
}

/* Up to the value's first byte. */
static uint8_t *put_head(uint8_t *at, struct bytes key, struct bytes value)
{
    at = wire_put_bytes_field(at, PUT_KEY, key);
    return value.len ? wire_put_prefix(at, PUT_VALUE, value.len) : at;
}

static size_t range_bytes(const struct work *self, struct bytes key, struct bytes end,
                          uint64_t limit)
{
    return wire_bytes_field_size(RANGE_KEY, key.len) + wire_bytes_field_size(RANGE_END, end.len) +
           wire_varint_field_size(RANGE_LIMIT, limit) +
           wire_varint_field_size(RANGE_SERIALIZABLE, self->config.serializable);
}

static uint8_t *range_put(const struct work *self, uint8_t *at, struct bytes key, struct bytes end,
                          uint64_t limit)
{
    at = wire_put_bytes_field(at, RANGE_KEY, key);
    at = wire_put_bytes_field(at, RANGE_END, end);
    at = wire_put_varint_field(at, RANGE_LIMIT, limit);
    return wire_put_varint_field(at, RANGE_SERIALIZABLE, self->config.serializable);
}

static void request_put(struct work *self, struct work_request *request)
{
    struct bytes key = key_pick(self, self->config.key_space);
    struct bytes value = value_pick(self);
    uint8_t *end = put_head(self->head, key, value);
    *request = (struct work_request){
        .path = BYTES_LIT("/etcdserverpb.KV/Put"),
        .parts = {bytes_of(self->head, (size_t)(end - self->head)), value},
        .part_count = 2,
    };
}

static void request_range(struct work *self, struct work_request *request, struct bytes key,
                          struct bytes range_end, uint64_t limit)
{
    uint8_t *end = range_put(self, self->head, key, range_end, limit);
    *request = (struct work_request){
        .path = BYTES_LIT("/etcdserverpb.KV/Range"),
        .parts = {bytes_of(self->head, (size_t)(end - self->head))},
        .part_count = 1,
    };
}

static void request_list(struct work *self, struct work_request *request)
{
    uint64_t starts = self->config.key_space - self->config.list_keys + 1;
    struct bytes key = key_pick(self, starts);
    /* Past every key of ours. */
    self->end_key[0] = 'l';
    request_range(self, request, key, bytes_of(self->end_key, 1), self->config.list_keys);
}

/* Fields in their order, as clients send them: head, value, tail. */
static void request_txn(struct work *self, struct work_request *request)
{
    struct bytes key = key_pick(self, self->config.key_space);
    struct bytes value = value_pick(self);
    size_t compare_bytes = wire_varint_field_size(COMPARE_RESULT, COMPARE_LESS) +
                           wire_bytes_field_size(COMPARE_KEY, key.len) +
                           wire_varint_field_size(COMPARE_VERSION, VERSION_BOUND);
    size_t get_bytes = range_bytes(self, key, BYTES_NONE, 0);
    size_t set_bytes = put_bytes(key, value);
    uint8_t *at = wire_put_prefix(self->head, TXN_COMPARE, compare_bytes);
    at = wire_put_varint_field(at, COMPARE_RESULT, COMPARE_LESS);
    at = wire_put_bytes_field(at, COMPARE_KEY, key);
    at = wire_put_varint_field(at, COMPARE_VERSION, VERSION_BOUND);
    at = wire_put_prefix(at, TXN_SUCCESS, wire_message_field_size(OP_PUT, set_bytes));
    at = wire_put_prefix(at, OP_PUT, set_bytes);
    uint8_t *tail = put_head(at, key, value);
    at = wire_put_prefix(tail, TXN_FAILURE, wire_message_field_size(OP_RANGE, get_bytes));
    at = wire_put_prefix(at, OP_RANGE, get_bytes);
    at = range_put(self, at, key, BYTES_NONE, 0);
    *request = (struct work_request){
        .path = BYTES_LIT("/etcdserverpb.KV/Txn"),
        .parts = {bytes_of(self->head, (size_t)(tail - self->head)), value,
                  bytes_of(tail, (size_t)(at - tail))},
        .part_count = 3,
    };
}

static void request_grant(struct work *self, struct work_request *request)
{
    uint8_t *end = wire_put_varint_field(self->head, GRANT_TTL, self->config.lease_ttl_s);
    *request = (struct work_request){
        .path = BYTES_LIT("/etcdserverpb.Lease/LeaseGrant"),
        .parts = {bytes_of(self->head, (size_t)(end - self->head))},
        .part_count = 1,
    };
}

void work_next(struct work *self, struct work_request *ret_request)
{
    enum work_kind kind = self->config.kind;
    if (kind == WORK_MIXED)
        kind = prng_below(&self->chance, 100) < self->config.write_percent ? WORK_PUT : WORK_RANGE;
    switch (kind) {
    case WORK_LIST:
        request_list(self, ret_request);
        return;
    case WORK_TXN:
        request_txn(self, ret_request);
        return;
    case WORK_GRANT:
        request_grant(self, ret_request);
        return;
    case WORK_RANGE:
        request_range(self, ret_request, key_pick(self, self->config.key_space), BYTES_NONE, 0);
        return;
    case WORK_PUT:
    case WORK_MIXED:
    default:
        request_put(self, ret_request);
        return;
    }
}
