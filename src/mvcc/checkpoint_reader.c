#include "base/check.h"
#include "base/crc.h"
#include "mvcc/checkpoint.h"
#include "mvcc/checkpoint_format.h"
#include "mvcc/varint.h"

#include <stdlib.h>

struct block {
    uint32_t kind;
    struct bytes payload;
    size_t next; /* offset of the one behind it */
};

/* The block at an offset; checked once, when the reader was made. */
static bool block_at(struct bytes bytes, size_t at, struct block *ret_block)
{
    if (at > bytes.len || bytes.len - at < CHECKPOINT_HEADER_BYTES)
        return false;
    const uint8_t *p = bytes.data + at;
    uint32_t len = bytes_get_le32(p + 4);
    if (len > bytes.len - at - CHECKPOINT_HEADER_BYTES)
        return false;
    *ret_block = (struct block){
        .kind = bytes_get_le32(p + 12),
        .payload = bytes_of(p + CHECKPOINT_HEADER_BYTES, len),
        .next = at + CHECKPOINT_HEADER_BYTES + len,
    };
    return true;
}

static bool block_is_good(struct bytes bytes, size_t at, const struct block *block, uint32_t number)
{
    const uint8_t *p = bytes.data + at;
    uint32_t crc = crc32c(0, bytes_of(p + 4, CHECKPOINT_HEADER_BYTES - 4));
    return bytes_get_le32(p) == crc32c(crc, block->payload) && bytes_get_le32(p + 8) == number;
}

/* Every block once: checksums, numbers, order of kinds, nothing behind the end. */
static err check_blocks(struct bytes bytes, struct bytes *ret_info, struct bytes *ret_end)
{
    if (bytes.len < CHECKPOINT_MAGIC_BYTES ||
        memcmp(bytes.data, CHECKPOINT_MAGIC, CHECKPOINT_MAGIC_BYTES) != 0)
        return ERR_CORRUPT;
    uint32_t kind = 0;
    size_t at = CHECKPOINT_MAGIC_BYTES;
    for (uint32_t number = 0; kind != CHECKPOINT_END; number++) {
        struct block block;
        if (!block_at(bytes, at, &block) || !block_is_good(bytes, at, &block, number))
            return ERR_CORRUPT;
        if (number == 0
                ? block.kind != CHECKPOINT_INFO
                : block.kind < kind || block.kind == CHECKPOINT_INFO || block.kind > CHECKPOINT_END)
            return ERR_CORRUPT;
        kind = block.kind;
        if (kind == CHECKPOINT_INFO)
            *ret_info = block.payload;
        *ret_end = block.payload;
        at = block.next;
    }
    return at == bytes.len ? OK : ERR_CORRUPT;
}

err checkpoint_reader_init(struct checkpoint_reader *self, struct segment_owner owner,
                           struct bytes bytes)
{
    struct bytes info = BYTES_NONE, end = BYTES_NONE;
    TRY(check_blocks(bytes, &info, &end));
    if (info.len != CHECKPOINT_INFO_BYTES || end.len != CHECKPOINT_END_BYTES)
        return ERR_CORRUPT;
    if (bytes_get_le64(info.data) != owner.cluster_id ||
        bytes_get_le64(info.data + 8) != owner.member_id)
        return ERR_MISMATCH;
    struct checkpoint_reader reader = {
        .bytes = bytes,
        .info = {.seq = bytes_get_le64(info.data + 16),
                 .floor = bytes_get_le64(info.data + 24),
                 .revision = (int64_t)bytes_get_le64(info.data + 32),
                 .compact_revision = (int64_t)bytes_get_le64(info.data + 40)},
        .head_count = bytes_get_le64(end.data),
        .entry_count = bytes_get_le64(end.data + 8),
        .segment_count = bytes_get_le64(end.data + 16),
        .greatest_seq = bytes_get_le64(end.data + 24),
    };
    if (reader.info.floor > reader.info.seq || reader.greatest_seq < reader.info.seq ||
        reader.greatest_seq > MVCC_SEQ_MAX)
        return ERR_CORRUPT;
    *self = reader;
    buf_init(&self->key, 0);
    checkpoint_reader_segments(self);
    return OK;
}

void checkpoint_reader_done(struct checkpoint_reader *self)
{
    buf_done(&self->key);
    free(self->rungs);
    self->rungs = NULL;
}

static void rewind_to(struct checkpoint_reader *self, uint32_t kind)
{
    self->kind = kind;
    self->next_block = CHECKPOINT_MAGIC_BYTES;
    self->block = BYTES_NONE;
    self->last_seen = 0;
    buf_clear(&self->key);
}

void checkpoint_reader_segments(struct checkpoint_reader *self)
{
    rewind_to(self, CHECKPOINT_SEGMENT);
}

void checkpoint_reader_heads(struct checkpoint_reader *self)
{
    rewind_to(self, CHECKPOINT_HEAD);
}

void checkpoint_reader_entries(struct checkpoint_reader *self)
{
    rewind_to(self, CHECKPOINT_BUCKET);
}

/* Makes the next item of the kind stand at the front of self->block. False at the end. */
static bool item_begin(struct checkpoint_reader *self, uint32_t kind, bool *ret_first_of_block)
{
    CHECK(self->kind == kind);
    *ret_first_of_block = false;
    while (!self->block.len) {
        struct block block;
        CHECK(block_at(self->bytes, self->next_block, &block));
        if (block.kind > kind)
            return false;
        self->next_block = block.next;
        if (block.kind == kind) {
            self->block = block.payload;
            *ret_first_of_block = true;
        }
    }
    return true;
}

err checkpoint_reader_segment(struct checkpoint_reader *self,
                              struct checkpoint_segment *ret_segment, bool *ret_found)
{
    bool first;
    if (!item_begin(self, CHECKPOINT_SEGMENT, &first)) {
        *ret_found = false;
        return self->last_seen == self->segment_count ? OK : ERR_CORRUPT;
    }
    const uint8_t *p = self->block.data;
    if (self->block.len < 24)
        return ERR_CORRUPT;
    uint32_t rows = bytes_get_le32(p + 20);
    size_t dead = ((size_t)rows + 63) / 64 * 8;
    if (self->block.len != 24 + dead)
        return ERR_CORRUPT;
    *ret_segment = (struct checkpoint_segment){
        .name = {bytes_get_le64(p), bytes_get_le64(p + 8), bytes_get_le32(p + 16)},
        .rows = rows,
        .dead = bytes_of(p + 24, dead),
    };
    self->block = BYTES_NONE;
    self->last_seen++;
    *ret_found = true;
    return OK;
}

static err take_key(struct checkpoint_reader *self, bool first_of_block, struct bytes *at)
{
    uint64_t shared, rest;
    if (!varint_take(at, &shared) || !varint_take(at, &rest) || rest > at->len)
        return ERR_CORRUPT;
    if (shared > self->key.len || (first_of_block && shared))
        return ERR_CORRUPT;
    /* Ascending: the rest begins above what it replaces. */
    struct bytes old = bytes_skip(buf_bytes(&self->key), shared);
    if (self->last_seen &&
        (first_of_block ? bytes_compare(buf_bytes(&self->key), bytes_of(at->data, rest)) >= 0
                        : bytes_compare(old, bytes_of(at->data, rest)) >= 0))
        return ERR_CORRUPT;
    self->key.len = shared;
    TRY(buf_append(&self->key, bytes_of(at->data, rest)));
    *at = bytes_skip(*at, rest);
    return OK;
}

static err take_rungs(struct checkpoint_reader *self, uint64_t count, uint64_t below,
                      struct bytes *at)
{
    if (count > CHECKPOINT_RUNGS_MAX || count > at->len)
        return ERR_CORRUPT;
    if (count > self->rung_capacity) {
        uint64_t *rungs = realloc(self->rungs, (size_t)count * sizeof(rungs[0]));
        CHECK(rungs != NULL);
        self->rungs = rungs;
        self->rung_capacity = (uint32_t)count;
    }
    uint64_t seq = 0;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t step;
        if (!varint_take(at, &step) || step == 0 || step > below - seq)
            return ERR_CORRUPT;
        seq += step;
        self->rungs[i] = seq;
    }
    return OK;
}

err checkpoint_reader_head(struct checkpoint_reader *self, struct checkpoint_head *ret_head,
                           bool *ret_found)
{
    bool first;
    if (!item_begin(self, CHECKPOINT_HEAD, &first)) {
        *ret_found = false;
        return self->last_seen == self->head_count ? OK : ERR_CORRUPT;
    }
    struct bytes at = self->block;
    TRY(take_key(self, first, &at));
    uint64_t fields[8]; /* seq, main, create, version, blob length, lease, steps, rungs */
    for (unsigned i = 0; i < 8; i++)
        if (!varint_take(&at, &fields[i]))
            return ERR_CORRUPT;
    if (fields[0] == 0 || fields[0] > self->greatest_seq || fields[4] > MVCC_BLOB_BYTES_MAX ||
        fields[6] > UINT32_MAX)
        return ERR_CORRUPT;
    TRY(take_rungs(self, fields[7], fields[0], &at));
    *ret_head = (struct checkpoint_head){
        .key = buf_bytes(&self->key),
        .seq = fields[0],
        .main = (int64_t)fields[1],
        .create = (int64_t)fields[2],
        .version = (int64_t)fields[3],
        .blob_bytes = (uint32_t)fields[4],
        .lease = (int64_t)fields[5],
        .steps = (uint32_t)fields[6],
        .rung_count = (uint32_t)fields[7],
        .rungs = fields[7] ? self->rungs : NULL,
    };
    self->block = at;
    self->last_seen++;
    *ret_found = true;
    return OK;
}

err checkpoint_reader_entry(struct checkpoint_reader *self, struct checkpoint_entry *ret_entry,
                            bool *ret_found)
{
    bool first;
    if (!item_begin(self, CHECKPOINT_BUCKET, &first)) {
        *ret_found = false;
        return self->last_seen == self->entry_count ? OK : ERR_CORRUPT;
    }
    struct bytes at = self->block;
    uint64_t bucket, key, value, seq;
    if (!varint_take(&at, &bucket) || !varint_take(&at, &key) || !varint_take(&at, &value) ||
        !varint_take(&at, &seq) || seq > self->greatest_seq || bucket == MVCC_BUCKET_KEY ||
        bucket >= MVCC_BUCKET_COUNT || key > at.len || value > at.len - key)
        return ERR_CORRUPT;
    *ret_entry = (struct checkpoint_entry){
        .bucket = (enum mvcc_bucket)bucket,
        .key = bytes_of(at.data, key),
        .value = bytes_of(at.data + key, value),
        .seq = seq,
    };
    self->block = bytes_skip(at, key + value);
    self->last_seen++;
    *ret_found = true;
    return OK;
}
