/* The requests that a load is made of: which key, which bytes.
 * Keys are "k" and a number with leading zeros; values lie in one block of chance bytes, so that a
 * request costs its generator some digits and no copy of the value.
 * Thread: one at a time.  Owns: its scratch memory. */
#pragma once

#include "base/bytes.h"
#include "base/prng.h"

enum work_kind {
    WORK_PUT,
    WORK_RANGE, /* one key */
    WORK_LIST,  /* list_keys neighbouring keys */
    WORK_TXN,   /* one compare that holds, then a put; else a range */
    WORK_MIXED, /* write_percent puts, else ranges */
    WORK_GRANT, /* a lease of lease_ttl_s, its id chosen by the server */
};

#define WORK_KEY_BYTES_MAX 1024
#define WORK_PARTS_MAX     3
#define WORK_STAMP_BYTES   8

struct work_config {
    enum work_kind kind;
    bool serializable;
    bool sequential; /* keys in order, each once a round; else by chance */
    bool stamped;    /* values begin with the time, clock_mono_ns, little-endian */
    uint32_t key_bytes;
    uint32_t value_bytes;
    uint64_t key_space; /* how many different keys */
    uint64_t list_keys;
    uint32_t write_percent;
    uint64_t lease_ttl_s;
    uint64_t seed;
};

struct work {
    struct work_config config;
    struct prng chance;
    uint64_t next_key;
    uint8_t *values;
    uint8_t *stamped; /* a value of its own */
    uint8_t key[WORK_KEY_BYTES_MAX];
    uint8_t end_key[WORK_KEY_BYTES_MAX];
    uint8_t head[4 * WORK_KEY_BYTES_MAX];
};

struct work_request {
    struct bytes path;
    struct bytes parts[WORK_PARTS_MAX]; /* the message; until the next work_next */
    unsigned part_count;
};

/* NULL, or why this cannot be worked. */
const char *work_config_check(const struct work_config *config);
void work_init(struct work *self, const struct work_config *config);
void work_done(struct work *self);
/* The key with this number, written to `to`, which has WORK_KEY_BYTES_MAX. */
struct bytes work_key(const struct work *self, uint8_t *to, uint64_t number);
void work_next(struct work *self, struct work_request *ret_request);
