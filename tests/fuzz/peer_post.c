/* The body of POST /raft: a message or an error, and never more held than came. */
#include "base/check.h"
#include "peer/stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { BYTES_MAX = 4096 };
    struct message_collector *collector = message_collector_new(BYTES_MAX);
    size_t half = size / 2;
    err e = message_collector_feed(collector, bytes_of(data, half));
    if (err_ok(e))
        e = message_collector_feed(collector, bytes_of(data + half, size - half));
    CHECK(err_ok(e) == (size <= BYTES_MAX));
    CHECK(message_collector_bytes(collector) <= size);
    const struct raft_message *message;
    if (err_ok(e) && err_ok(message_collector_end(collector, &message)))
        for (size_t i = 0; i < message->entry_count; i++)
            CHECK(message->entries[i].data.len == 0 || message->entries[i].blob);
    message_collector_free(collector);
    return 0;
}
