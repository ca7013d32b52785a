#include "mvcc/hash_base.h"

#include "base/array.h"
#include "base/check.h"
#include "base/crc.h"

#include <stdlib.h>

void mvcc_hash_base_done(struct mvcc_hash_base *self)
{
    free(self->offsets);
    free(self->blocks);
    *self = (struct mvcc_hash_base){0};
}

static void add_crc(uint32_t *crc, uint64_t *bytes, const struct revlog_row *row)
{
    uint64_t more = mvcc_record_crc_bytes((enum mvcc_kind)row->kind, row->blob_bytes);
    *crc = crc32c_combine(*crc, row->crc, more);
    *bytes += more;
}

void mvcc_hash_base_add(struct mvcc_hash_base *self, const struct revlog_row *row)
{
    struct mvcc_hash_block *last = self->block_count ? &self->blocks[self->block_count - 1] : NULL;
    if (!last || last->count == HASH_BLOCK_MEMBERS_MAX ||
        row->seq - last->first >= HASH_BLOCK_SPAN_MAX) {
        CHECK(self->offset_count <= UINT32_MAX);
        self->blocks =
            array_grow(self->blocks, self->block_count, &self->block_cap, sizeof(self->blocks[0]));
        last = &self->blocks[self->block_count++];
        *last = (struct mvcc_hash_block){.first = row->seq, .at = (uint32_t)self->offset_count};
    }
    self->offsets =
        array_grow(self->offsets, self->offset_count, &self->offset_cap, sizeof(self->offsets[0]));
    self->offsets[self->offset_count++] = (uint16_t)(row->seq - last->first);
    last->count++;
    add_crc(&last->crc, &last->bytes, row);
}

void mvcc_hash_base_add_late(struct mvcc_hash_base *self, const struct revlog_row *row)
{
    add_crc(&self->late_crc, &self->late_bytes, row);
}

/* The last block that begins at or before seq; NULL where none does. */
static struct mvcc_hash_block *find_block(const struct mvcc_hash_base *self, uint64_t seq)
{
    size_t low = 0, high = self->block_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (self->blocks[middle].first <= seq)
            low = middle + 1;
        else
            high = middle;
    }
    return low ? &self->blocks[low - 1] : NULL;
}

void mvcc_hash_base_remove(struct mvcc_hash_base *self, uint64_t seq)
{
    struct mvcc_hash_block *block = find_block(self, seq);
    if (!block)
        return;
    uint16_t *offsets = self->offsets + block->at;
    unsigned i = 0;
    while (i < block->count && block->first + offsets[i] < seq)
        i++;
    if (i == block->count || block->first + offsets[i] != seq)
        return;
    block->count--;
    memmove(offsets + i, offsets + i + 1, (block->count - i) * sizeof(offsets[0]));
    block->is_due = true;
}

err mvcc_hash_block_fold(struct mvcc_hash_base *self, size_t at, const struct revlog *log,
                         unsigned *rows, bool *ret_whole, struct revlog_fault *fault)
{
    struct mvcc_hash_block *block = &self->blocks[at];
    const uint16_t *offsets = self->offsets + block->at;
    unsigned folded = 0;
    uint32_t crc = 0;
    uint64_t bytes = 0;
    struct revlog_rows walk;
    bool found = block->count > 0;
    if (found)
        revlog_rows_begin(&walk, log, block->first + offsets[0],
                          block->first + offsets[block->count - 1]);
    while (found) {
        struct revlog_row row;
        TRY(revlog_rows_next(&walk, &row, &found, fault));
        ++*rows;
        if (found && folded < block->count && row.seq == block->first + offsets[folded]) {
            add_crc(&crc, &bytes, &row);
            folded++;
        }
    }
    *ret_whole = folded == block->count;
    block->crc = crc;
    block->bytes = bytes;
    block->is_due = false;
    return OK;
}
