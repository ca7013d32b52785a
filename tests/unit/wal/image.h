/* A segment in memory, written as the stage writes it to a file. */
#pragma once

#include "wal/plan.h"
#include "wal/replay.h"

#include <stdarg.h>
#include <stdlib.h>

#include <setjmp.h>

#include <cmocka.h>

#define IMAGE_BYTES_MAX 16384u

#define assert_ok(e)          assert_string_equal(err_ok(e) ? "OK" : err_name(e), "OK")
#define assert_err(e, wanted) assert_string_equal(err_name(e), err_name(wanted))

struct image {
    struct wal_plan plan;
    struct wal_name name;
    uint8_t bytes[IMAGE_BYTES_MAX];
    uint64_t last_batch; /* where the newest batch begins */
};

static const uint8_t image_metadata[] = {0x08, 0x01, 0x10, 0x02};

/* What the plan holds goes to the image, as a write and a sync would take it to a file. */
static inline void image_flush(struct image *self, bool synced)
{
    size_t count;
    struct iovec *pieces = wal_plan_pieces(&self->plan, &count);
    uint64_t at = self->plan.offset;
    for (size_t i = 0; i < count; i++) {
        assert_true(at + pieces[i].iov_len <= IMAGE_BYTES_MAX);
        memcpy(self->bytes + at, pieces[i].iov_base, pieces[i].iov_len);
        at += pieces[i].iov_len;
    }
    wal_plan_written(&self->plan, synced);
}

static inline void image_init(struct image *self)
{
    *self = (struct image){0};
    wal_plan_init(&self->plan, bytes_of(image_metadata, sizeof(image_metadata)));
    wal_plan_open(&self->plan, 0);
    assert_ok(wal_plan_snapshot(&self->plan, &(struct wal_snapshot){0}));
    image_flush(self, true);
}

static inline void image_done(struct image *self)
{
    wal_plan_done(&self->plan);
}

static inline void image_mark(struct image *self)
{
    self->last_batch = self->plan.offset;
    wal_plan_mark(&self->plan);
}

static inline void image_entry(struct image *self, uint64_t index, uint64_t term, const char *data)
{
    struct raft_entry entry = {.index = index, .term = term, .data = bytes_str(data)};
    struct wal_place place;
    assert_ok(wal_plan_entry(&self->plan, &entry, &place));
}

static inline void image_state(struct image *self, uint64_t term, uint64_t vote, uint64_t commit)
{
    wal_plan_state(&self->plan, &(struct raft_hard_state){term, vote, commit});
}

/* A batch of its own: mark, one entry, state. */
static inline void image_batch(struct image *self, uint64_t index, uint64_t term, const char *data)
{
    image_mark(self);
    image_entry(self, index, term, data);
    image_state(self, term, 3, index - 1);
    image_flush(self, true);
}

/* Replays bytes[0..len) as the only segment. */
static inline err image_replay(const struct image *self, size_t len, struct wal_replay *replay,
                               struct wal_tail *ret_tail)
{
    wal_replay_init(replay);
    return wal_replay_segment(replay, self->name, bytes_of(self->bytes, len), true, ret_tail);
}
