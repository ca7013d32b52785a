/* Any bytes are a raft message or an error; what was read is written in one form, and that form
 * reads back as itself. */
#include "base/check.h"
#include "wal/raft_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct raft_message message;
    arena_init(&arena, 4096);
    if (err_ok(raft_codec_message_decode(bytes_of(data, size), &arena, &message))) {
        struct buf first, second;
        struct raft_message back;
        buf_init(&first, 0);
        buf_init(&second, 0);
        CHECK(err_ok(raft_codec_message_encode(&message, &first)));
        CHECK(first.len == raft_codec_message_size(&message));
        CHECK(err_ok(raft_codec_message_decode(buf_bytes(&first), &arena, &back)));
        CHECK(err_ok(raft_codec_message_encode(&back, &second)));
        CHECK(bytes_equal(buf_bytes(&first), buf_bytes(&second)));
        buf_done(&first);
        buf_done(&second);
    }
    arena_done(&arena);
    return 0;
}
