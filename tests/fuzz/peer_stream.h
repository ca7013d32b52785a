/* Both streams: whatever the bytes and however they are cut, the same messages come or the same
 * error does, what is held stays near what came, and messages survive being written again. */
#pragma once

#include "base/check.h"
#include "peer/stream.h"

#include <stdlib.h>

struct fuzz_sink {
    struct buf again; /* each message, written on a message stream */
    size_t count;
};

static inline void fuzz_message(void *ctx, const struct raft_message *message, size_t frame_bytes)
{
    struct fuzz_sink *sink = ctx;
    struct stream_encoder encoder;
    stream_encoder_init(&encoder, PEER_WAY_MESSAGE);
    CHECK(frame_bytes > 0);
    for (size_t i = 0; i < message->entry_count; i++) {
        struct bytes data = message->entries[i].data;
        CHECK(data.len == 0 || message->entries[i].blob);
    }
    /* Answers within answers are refused in writing. */
    if (err_ok(stream_encoder_put(&encoder, message, &sink->again)))
        sink->count++;
}

static inline err fuzz_feed(enum peer_way way, struct bytes in, size_t piece_max,
                            struct fuzz_sink *sink)
{
    struct stream_decoder *decoder = stream_decoder_new(&(struct stream_decoder_config){
        .way = way, .local = 2, .remote = 1, .message = fuzz_message, .ctx = sink});
    buf_init(&sink->again, 0);
    err e = OK;
    for (size_t at = 0; at < in.len && err_ok(e); at += piece_max) {
        size_t n = in.len - at < piece_max ? in.len - at : piece_max;
        e = stream_decoder_feed(decoder, bytes_of(in.data + at, n));
        CHECK(stream_decoder_held_bytes(decoder) <= in.len);
    }
    stream_decoder_free(decoder);
    return e;
}

static inline void fuzz_stream(enum peer_way way, struct bytes in)
{
    struct fuzz_sink whole = {0};
    struct fuzz_sink cut = {0};
    err e = fuzz_feed(way, in, in.len + 1, &whole);
    err f = fuzz_feed(way, in, 1, &cut);
    CHECK(e.code == f.code && whole.count == cut.count);
    CHECK(bytes_equal(buf_bytes(&whole.again), buf_bytes(&cut.again)));
    /* What was written again reads as the same. */
    struct fuzz_sink back = {0};
    CHECK(err_ok(fuzz_feed(PEER_WAY_MESSAGE, buf_bytes(&whole.again), 4096, &back)));
    CHECK(back.count <= whole.count); /* a link heartbeat is skipped */
    buf_done(&whole.again);
    buf_done(&cut.again);
    buf_done(&back.again);
}
