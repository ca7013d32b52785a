#include "base/bug.h"
#include "base/check.h"
#include "stage/store_priv.h"

#include <inttypes.h>
#include <stdio.h>

#define CHECKPOINT_BYTES_MIN ((uint64_t)16 << 20)
#define FILL_ITEMS           2048 /* under one guard: well below a millisecond */

void store_checkpoint_name(uint64_t seq, char out[STORE_FILE_NAME_BYTES])
{
    int n = snprintf(out, STORE_FILE_NAME_BYTES, "%016" PRIx64 ".checkpoint", seq);
    CHECK(n > 0 && n < STORE_FILE_NAME_BYTES);
}

static const char tmp_name[] = "checkpoint.tmp";

static bool is_due(const struct stage_store *self)
{
    uint64_t least =
        self->config.checkpoint_bytes ? self->config.checkpoint_bytes : CHECKPOINT_BYTES_MIN;
    uint64_t half = self->checkpoint_size / 2;
    return self->checkpoint.wanted || self->log_bytes > (half > least ? half : least);
}

static void end(struct stage_store *self)
{
    checkpoint_writer_done(&self->checkpoint.writer);
    io_close(self->fs, self->checkpoint.file.file);
    self->checkpoint = (struct store_checkpoint){0};
}

void store_checkpoint_abandon(struct stage_store *self)
{
    if (self->checkpoint.step == CHECKPOINT_IDLE)
        return;
    end(self);
    store_file_unlink(self, tmp_name);
}

static bool begin(struct stage_store *self)
{
    struct store_checkpoint *checkpoint = &self->checkpoint;
    struct checkpoint_info info;
    /* While bits are being carried over, those of the result are behind. */
    if (!self->source || self->clean.step == CLEAN_CARRY || !is_due(self) ||
        store_now_ns(self) < self->retry_ns ||
        !self->source->begin(self->source->ctx, self->slot, &info))
        return false;
    if (info.seq == self->checkpoint_seqs[0] || info.seq == 0) {
        checkpoint->wanted = false;
        self->log_bytes = 0;
        return false;
    }
    if (!err_ok(store_file_create(self, tmp_name, 0, &checkpoint->file.file))) {
        self->retry_ns = store_now_ns(self) + 1000000000u;
        return false;
    }
    checkpoint->file.started = checkpoint->file.waited = 0;
    checkpoint->info = info;
    checkpoint->offset = 0;
    checkpoint_writer_init(&checkpoint->writer, self->config.owner, &info);
    /* The bits are read after the floor: they hold all marks up to it. */
    for (unsigned i = 0; i < self->segment_count; i++)
        checkpoint_writer_segment(&checkpoint->writer, self->segments[i]);
    checkpoint->step = CHECKPOINT_FILL;
    self->log_bytes = 0;
    return true;
}

/* Writes what the writer has made. False: the disk is full, it was abandoned. */
static bool put_out(struct stage_store *self)
{
    struct store_checkpoint *checkpoint = &self->checkpoint;
    struct bytes out = buf_bytes(&checkpoint->writer.out);
    if (!err_ok(store_bulk_write(self, &checkpoint->file, out, checkpoint->offset, tmp_name))) {
        store_checkpoint_abandon(self);
        self->retry_ns = store_now_ns(self) + 1000000000u;
        return false;
    }
    checkpoint->offset += out.len;
    buf_clear(&checkpoint->writer.out);
    return true;
}

static void fill(struct stage_store *self)
{
    struct store_checkpoint *checkpoint = &self->checkpoint;
    bool more = true;
    while (more && checkpoint->writer.out.len < STORE_SLICE_BYTES)
        more = self->source->fill(self->source->ctx, self->slot, &checkpoint->writer, FILL_ITEMS);
    if (!more)
        checkpoint_writer_end(&checkpoint->writer);
    if (put_out(self) && !more)
        checkpoint->step = CHECKPOINT_WAIT;
}

static void publish(struct stage_store *self)
{
    struct store_checkpoint *checkpoint = &self->checkpoint;
    char name[STORE_FILE_NAME_BYTES];
    store_checkpoint_name(checkpoint->info.seq, name);
    err e = io_sync(self->fs, checkpoint->file.file);
    if (err_ok(e))
        e = io_rename(self->fs, self->dir, tmp_name, self->dir, name);
    if (!err_ok(e))
        store_fatal(self, "sync and rename", name, e);
    store_dir_sync(self);
    uint64_t old = self->checkpoint_seqs[1];
    self->checkpoint_seqs[1] = self->checkpoint_seqs[0];
    self->checkpoint_seqs[0] = checkpoint->info.seq;
    self->checkpoint_size = checkpoint->offset;
    self->clean.due = true; /* deletions that it reflects may go */
    end(self);
    if (old) {
        store_checkpoint_name(old, name);
        store_file_unlink(self, name);
    }
}

bool store_checkpoint_work(struct stage_store *self)
{
    switch (self->checkpoint.step) {
    case CHECKPOINT_IDLE:
        return begin(self);
    case CHECKPOINT_FILL:
        fill(self);
        return true;
    case CHECKPOINT_WAIT:
        /* The heads may be ahead of what was flushed: the next flush brings the rest. A frame
         * behind them closes them; it too is synced. */
        if (BUG(checkpoint_ahead_of_log)) {
            publish(self);
            return true;
        }
        if (self->frame.seq < self->checkpoint.writer.greatest_seq)
            return false;
        store_sync_now(self);
        store_reply(self);
        publish(self);
        return true;
    }
    return false;
}
