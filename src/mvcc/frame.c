#include "mvcc/frame.h"

#include "base/check.h"
#include "base/crc.h"

void mvcc_frame_encode(const struct mvcc_frame *self, uint8_t *out)
{
    CHECK(self->synced <= self->seq);
    CHECK(self->conf_state.len <= MVCC_FRAME_CONF_STATE_BYTES);
    /* The blob is put in its place first: the record then carries it onto itself. */
    uint8_t *blob = out + MVCC_RECORD_HEADER_BYTES;
    bytes_put_le64(blob, self->index);
    bytes_put_le64(blob + 8, self->term);
    bytes_put_le64(blob + 16, (uint64_t)self->compact_revision);
    bytes_put_le64(blob + 24, self->nonce);
    if (self->conf_state.len)
        memmove(blob + MVCC_FRAME_FIXED_BYTES, self->conf_state.data, self->conf_state.len);
    struct mvcc_record record = {
        .seq = self->seq,
        .prev = self->synced,
        .main = self->revision,
        .blob = bytes_of(blob, MVCC_FRAME_FIXED_BYTES + self->conf_state.len),
        .kind = MVCC_FRAME,
    };
    record.crc = mvcc_record_crc(&record);
    mvcc_record_encode(&record, out);
}

err mvcc_frame_from_record(const struct mvcc_record *record, struct mvcc_frame *ret_frame)
{
    CHECK(record->kind == MVCC_FRAME);
    struct bytes blob = record->blob;
    if (blob.len < MVCC_FRAME_FIXED_BYTES ||
        blob.len > MVCC_FRAME_FIXED_BYTES + MVCC_FRAME_CONF_STATE_BYTES)
        return ERR_CORRUPT;
    *ret_frame = (struct mvcc_frame){
        .seq = record->seq,
        .index = bytes_get_le64(blob.data),
        .term = bytes_get_le64(blob.data + 8),
        .revision = record->main,
        .compact_revision = (int64_t)bytes_get_le64(blob.data + 16),
        .synced = record->prev,
        .nonce = bytes_get_le64(blob.data + 24),
        .conf_state = bytes_skip(blob, MVCC_FRAME_FIXED_BYTES),
    };
    return OK;
}
