#include "base/bug.h"
#include "base/check.h"
#include "base/crc.h"
#include "mvcc/checkpoint.h"
#include "mvcc/checkpoint_format.h"
#include "mvcc/varint.h"

static void put(struct buf *out, struct bytes what)
{
    CHECK(err_ok(buf_append(out, what)));
}

static void put_varint(struct buf *out, uint64_t v)
{
    uint8_t bytes[VARINT_BYTES_MAX];
    put(out, bytes_of(bytes, varint_put(bytes, v)));
}

static void put_le64(struct buf *out, uint64_t v)
{
    uint8_t bytes[8];
    bytes_put_le64(bytes, v);
    put(out, bytes_of(bytes, sizeof(bytes)));
}

static void block_close(struct checkpoint_writer *self)
{
    if (!self->block_kind)
        return;
    CHECK(self->block.len <= UINT32_MAX);
    uint8_t header[CHECKPOINT_HEADER_BYTES];
    bytes_put_le32(header + 4, (uint32_t)self->block.len);
    bytes_put_le32(header + 8, self->block_count++);
    bytes_put_le32(header + 12, self->block_kind);
    uint32_t crc = crc32c(0, bytes_of(header + 4, sizeof(header) - 4));
    bytes_put_le32(header, crc32c(crc, buf_bytes(&self->block)));
    put(&self->out, bytes_of(header, sizeof(header)));
    put(&self->out, buf_bytes(&self->block));
    buf_clear(&self->block);
    self->block_kind = 0;
}

/* The block that an item of this kind goes into. */
static struct buf *block_for(struct checkpoint_writer *self, uint32_t kind)
{
    if (self->block_kind != kind || self->block.len >= CHECKPOINT_BLOCK_BYTES) {
        CHECK(!self->block_kind || kind >= self->block_kind);
        block_close(self);
        self->block_kind = kind;
    }
    return &self->block;
}

void checkpoint_writer_init(struct checkpoint_writer *self, struct segment_owner owner,
                            const struct checkpoint_info *info)
{
    *self = (struct checkpoint_writer){0};
    buf_init(&self->out, 0);
    buf_init(&self->block, 0);
    buf_init(&self->last_key, 0);
    put(&self->out, bytes_of(CHECKPOINT_MAGIC, CHECKPOINT_MAGIC_BYTES));
    struct buf *block = block_for(self, CHECKPOINT_INFO);
    put_le64(block, owner.cluster_id);
    put_le64(block, owner.member_id);
    put_le64(block, info->seq);
    put_le64(block, info->floor);
    put_le64(block, (uint64_t)info->revision);
    put_le64(block, (uint64_t)info->compact_revision);
    block_close(self);
    self->greatest_seq = info->seq;
}

void checkpoint_writer_done(struct checkpoint_writer *self)
{
    buf_done(&self->out);
    buf_done(&self->block);
    buf_done(&self->last_key);
}

void checkpoint_writer_segment(struct checkpoint_writer *self, const struct segment *segment)
{
    CHECK(!self->head_count && !self->entry_count);
    struct buf *block = block_for(self, CHECKPOINT_SEGMENT);
    uint32_t rows = segment_row_count(segment);
    put_le64(block, segment->name.first);
    put_le64(block, segment->name.last);
    uint8_t numbers[8];
    bytes_put_le32(numbers, segment->name.generation);
    bytes_put_le32(numbers + 4, rows);
    put(block, bytes_of(numbers, sizeof(numbers)));
    for (uint32_t word = 0; word < (rows + 63) / 64; word++)
        put_le64(block, atomic_load_explicit(&segment->dead->words[word], memory_order_relaxed));
    block_close(self);
    self->segment_count++;
}

void checkpoint_writer_head(struct checkpoint_writer *self, const struct checkpoint_head *head)
{
    CHECK(!self->entry_count && head->rung_count <= CHECKPOINT_RUNGS_MAX);
    struct buf *block = block_for(self, CHECKPOINT_HEAD);
    struct bytes last = buf_bytes(&self->last_key);
    CHECK(!self->head_count || bytes_compare(last, head->key) < 0);
    size_t shared = 0;
    if (block->len)
        while (shared < last.len && shared < head->key.len &&
               last.data[shared] == head->key.data[shared])
            shared++;
    put_varint(block, shared);
    put_varint(block, head->key.len - shared);
    put(block, bytes_skip(head->key, shared));
    put_varint(block, head->seq);
    put_varint(block, (uint64_t)head->main);
    put_varint(block, (uint64_t)head->create);
    put_varint(block, (uint64_t)head->version);
    put_varint(block, head->blob_bytes);
    put_varint(block, (uint64_t)head->lease);
    put_varint(block, head->steps);
    put_varint(block, head->rung_count);
    uint64_t before = 0;
    for (uint32_t i = 0; i < head->rung_count; i++) {
        CHECK(head->rungs[i] > before);
        put_varint(block, head->rungs[i] - before);
        before = head->rungs[i];
    }
    buf_clear(&self->last_key);
    put(&self->last_key, head->key);
    self->head_count++;
    if (head->seq > self->greatest_seq)
        self->greatest_seq = head->seq;
}

void checkpoint_writer_entry(struct checkpoint_writer *self, const struct checkpoint_entry *entry)
{
    struct bytes last = buf_bytes(&self->last_key);
    CHECK(!self->entry_count || self->last_bucket < entry->bucket ||
          (self->last_bucket == entry->bucket && bytes_compare(last, entry->key) < 0));
    CHECK(entry->bucket != MVCC_BUCKET_KEY && entry->bucket < MVCC_BUCKET_COUNT);
    struct buf *block = block_for(self, CHECKPOINT_BUCKET);
    put_varint(block, entry->bucket);
    put_varint(block, entry->key.len);
    put_varint(block, entry->value.len);
    put_varint(block, entry->seq);
    put(block, entry->key);
    put(block, entry->value);
    buf_clear(&self->last_key);
    put(&self->last_key, entry->key);
    self->last_bucket = entry->bucket;
    self->entry_count++;
    if (entry->seq > self->greatest_seq)
        self->greatest_seq = entry->seq;
}

void checkpoint_writer_reflects(struct checkpoint_writer *self, uint64_t seq)
{
    if (seq > self->greatest_seq && !BUG(checkpoint_ahead_of_removals))
        self->greatest_seq = seq;
}

void checkpoint_writer_end(struct checkpoint_writer *self)
{
    struct buf *block = block_for(self, CHECKPOINT_END);
    put_le64(block, self->head_count);
    put_le64(block, self->entry_count);
    put_le64(block, self->segment_count);
    put_le64(block, self->greatest_seq);
    block_close(self);
}
