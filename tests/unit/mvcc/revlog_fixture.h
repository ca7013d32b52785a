/* What the tests of the revision log share: changes of a made-up store, and a log on the heap. */
#pragma once

#include "base/check.h"
#include "base/prng.h"
#include "mvcc/revlog.h"
#include "mvcc/revlog_memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* A KeyValue with key "k<n>" and, in a put, a value of the length given whose bytes tell seq. */
static inline size_t fixture_blob(uint8_t *out, uint64_t key, uint64_t seq, size_t value_bytes)
{
    char name[24];
    int n = snprintf(name, sizeof(name), "k%llu", (unsigned long long)key);
    size_t len = 0;
    out[len++] = 0x0a;
    out[len++] = (uint8_t)n;
    memcpy(out + len, name, (size_t)n);
    len += (size_t)n;
    for (size_t i = 0; i < value_bytes; i++)
        out[len++] = (uint8_t)(seq + i);
    return len;
}

struct fixture {
    struct epoch epoch;
    struct tail *tail;
    struct revlog *log;
    struct revlog_memory *memory;
    struct prng prng;
    uint64_t seq;
    int64_t main;
    uint64_t keys[64]; /* seq of the key's last change */
    bool live[64];
};

static inline void fixture_init(struct fixture *self, size_t segment_bytes)
{
    *self = (struct fixture){.main = 1};
    epoch_init(&self->epoch);
    struct tail_limits limits = {.keep_bytes = 1};
    self->tail = tail_new(&self->epoch, 0, &limits);
    self->log = revlog_new(&self->epoch, self->tail);
    if (segment_bytes)
        self->memory = revlog_memory_new(&self->epoch, self->log, self->tail, segment_bytes);
    prng_init(&self->prng, 7);
}

static inline void fixture_done(struct fixture *self)
{
    revlog_memory_free(self->memory);
    revlog_free(self->log);
    tail_free(self->tail);
    epoch_done(&self->epoch);
}

/* One random change: of a key mostly, now and then of a bucket; each of a revision of its own. */
static inline void fixture_change(struct fixture *self)
{
    uint8_t blob[256];
    uint64_t key = prng_below(&self->prng, 64);
    struct mvcc_record record = {.seq = ++self->seq, .main = ++self->main};
    if (prng_below(&self->prng, 10) == 0) {
        record.kind = prng_below(&self->prng, 2) ? MVCC_BUCKET_PUT : MVCC_BUCKET_DELETE;
        record.bucket = MVCC_BUCKET_LEASE;
        memset(blob, (int)key, sizeof(blob));
        record.bucket_key_bytes = 8;
        record.blob = bytes_of(blob, record.kind == MVCC_BUCKET_PUT ? 30 : 8);
    } else {
        bool death = self->live[key] && prng_below(&self->prng, 4) == 0;
        record.kind = death ? MVCC_TOMBSTONE : MVCC_PUT;
        record.birth = !self->live[key];
        record.prev = self->keys[key];
        size_t value = death ? 0 : prng_below(&self->prng, 100);
        record.blob = bytes_of(blob, fixture_blob(blob, key, record.seq, value));
        self->keys[key] = record.seq;
        self->live[key] = !death;
    }
    tail_append(self->tail, &record);
}

static inline struct mvcc_frame fixture_frame(const struct fixture *self)
{
    return (struct mvcc_frame){
        .seq = self->seq,
        .index = self->seq + 10,
        .term = 3,
        .revision = self->main,
        .compact_revision = -1,
        .conf_state = BYTES_LIT("conf"),
    };
}
