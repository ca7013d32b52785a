/* Any bytes are a segment that is read, cut or refused; what was read can be read by place, and a
 * log that was cut reads clean from then on.
 *
 * The first byte chooses: even, the rest is the segment as it is; odd, the rest is a list of
 * records (type, length, data) that get their frames and checksums here, so that what lies behind
 * the checksums is reached too. */
#include "base/check.h"
#include "base/crc.h"
#include "wal/replay.h"

#include <stdlib.h>

#define SEGMENT_BYTES_MAX ((size_t)256 << 10)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t records_frame(const uint8_t *data, size_t size, uint8_t *segment)
{
    size_t at = 0, len = 0;
    uint32_t crc = 0;
    while (at + 2 <= size && len + 512 < SEGMENT_BYTES_MAX) {
        enum wal_type type = (enum wal_type)(1 + data[at] % 5);
        size_t data_len = data[at + 1];
        at += 2;
        if (data_len > size - at)
            data_len = size - at;
        bool has_data = type != WAL_CRC;
        if (!has_data)
            data_len = 0;
        crc = crc32c(crc, bytes_of(data + at, data_len));
        size_t pad;
        len += wal_record_head(type, crc, data_len, has_data, segment + len, &pad);
        memcpy(segment + len, data + at, data_len);
        memset(segment + len + data_len, 0, pad);
        len += data_len + pad;
        at += data_len;
    }
    memset(segment + len, 0, 64);
    return len + 64;
}

static void entries_read(const struct wal_replay *replay, struct bytes segment)
{
    const struct wal_places *entries = &replay->entries;
    for (uint64_t i = entries->base_index + 1; i <= wal_places_last_index(entries); i++) {
        struct wal_place place;
        struct raft_entry entry;
        uint64_t term;
        CHECK(err_ok(wal_places_get(entries, i, &place)));
        CHECK(err_ok(wal_places_term(entries, i, &term)));
        CHECK(err_ok(wal_entry_at(segment, place, i, term, &entry)));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > SEGMENT_BYTES_MAX / 2)
        return 0;
    uint8_t *segment = malloc(SEGMENT_BYTES_MAX);
    CHECK(segment);
    size_t len = size - 1;
    if (data[0] & 1)
        len = records_frame(data + 1, size - 1, segment);
    else
        memcpy(segment, data + 1, len);
    struct wal_name name = {data[0] & 2 ? 7 : 0, data[0] & 2 ? 5 : 0};
    struct wal_replay replay;
    struct wal_tail tail;
    wal_replay_init(&replay);
    if (err_ok(wal_replay_segment(&replay, name, bytes_of(segment, len), true, &tail))) {
        CHECK(tail.offset <= len && (!tail.cut || tail.offset + tail.cut_bytes <= len));
        entries_read(&replay, bytes_of(segment, len));
        uint64_t last = wal_places_last_index(&replay.entries);
        memset(segment + tail.offset, 0, len - (size_t)tail.offset);
        wal_replay_done(&replay);
        wal_replay_init(&replay);
        CHECK(err_ok(wal_replay_segment(&replay, name, bytes_of(segment, len), true, &tail)));
        CHECK(!tail.cut && wal_places_last_index(&replay.entries) == last);
    }
    wal_replay_done(&replay);
    free(segment);
    return 0;
}
