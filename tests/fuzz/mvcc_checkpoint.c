/* Checkpoints as the disk may hold them. An odd first byte: checksums are put right on the way, so
 * that the contents of blocks are reached. */
#include "base/check.h"
#include "base/crc.h"
#include "mvcc/checkpoint.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void heal(uint8_t *bytes, size_t len)
{
    size_t at = 8;
    while (at + 16 <= len) {
        size_t payload = bytes_get_le32(bytes + at + 4);
        if (payload > len - at - 16)
            return;
        bytes_put_le32(bytes + at, crc32c(0, bytes_of(bytes + at + 4, 12 + payload)));
        at += 16 + payload;
    }
}

static void read_heads(struct checkpoint_reader *reader)
{
    struct checkpoint_head head;
    bool found = true;
    uint64_t count = 0;
    checkpoint_reader_heads(reader);
    while (found && err_ok(checkpoint_reader_head(reader, &head, &found)) && found) {
        CHECK(head.seq <= reader->greatest_seq && head.rung_count <= CHECKPOINT_RUNGS_MAX);
        for (uint32_t i = 1; i < head.rung_count; i++)
            CHECK(head.rungs[i - 1] < head.rungs[i]);
        count += head.key.len >= 1 ? head.key.data[head.key.len - 1] : 0;
    }
    CHECK(count < UINT64_MAX);
}

static void read_others(struct checkpoint_reader *reader)
{
    struct checkpoint_entry entry;
    bool found = true;
    checkpoint_reader_entries(reader);
    while (found && err_ok(checkpoint_reader_entry(reader, &entry, &found)) && found)
        CHECK(entry.key.len <= reader->bytes.len && entry.value.len <= reader->bytes.len);
    struct checkpoint_segment segment;
    found = true;
    checkpoint_reader_segments(reader);
    while (found && err_ok(checkpoint_reader_segment(reader, &segment, &found)) && found)
        CHECK(segment.dead.len == ((size_t)segment.rows + 63) / 64 * 8);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    size_t len = size - 1;
    uint8_t *bytes = malloc(len + 1);
    memcpy(bytes, data + 1, len);
    if (data[0] & 1)
        heal(bytes, len);
    struct checkpoint_reader reader;
    err e = checkpoint_reader_init(&reader, (struct segment_owner){1, 2}, bytes_of(bytes, len));
    if (err_ok(e)) {
        read_heads(&reader);
        read_others(&reader);
        checkpoint_reader_done(&reader);
    } else {
        CHECK(err_is(e, ERR_CORRUPT) || err_is(e, ERR_MISMATCH));
    }
    free(bytes);
    return 0;
}
