/* The body of POST /raft/snapshot: length, message, then a state that is nobody's affair here. The
 * first byte cuts it into pieces; where they are cut makes no difference. */
#include "base/check.h"
#include "peer/snapshot_head.h"

#include <string.h>

enum { BYTES_MAX = 4096 };

struct outcome {
    err error;
    bool whole;
    size_t taken; /* of the body, by the head */
    uint64_t index;
};

static void message_look(struct message_collector *collector, struct outcome *outcome)
{
    const struct raft_message *message;
    outcome->whole = true;
    outcome->error = message_collector_end(collector, &message);
    if (err_ok(outcome->error) && message->snapshot)
        outcome->index = message->snapshot->index;
    message_collector_free(collector);
}

static struct outcome feed(struct bytes body, size_t piece_bytes)
{
    struct snapshot_head head;
    struct outcome outcome = {0};
    snapshot_head_init(&head, BYTES_MAX);
    while (body.len && err_ok(outcome.error) && !outcome.whole) {
        size_t n = piece_bytes < body.len ? piece_bytes : body.len;
        struct bytes piece = bytes_of(body.data, n);
        struct message_collector *whole = NULL;
        outcome.error = snapshot_head_feed(&head, &piece, &whole);
        CHECK(piece.len <= n);
        outcome.taken += n - piece.len;
        if (err_ok(outcome.error) && whole)
            message_look(whole, &outcome);
        body = bytes_skip(body, n);
    }
    CHECK(outcome.taken <= BYTES_MAX + sizeof(head.length));
    snapshot_head_done(&head);
    return outcome;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct bytes body = bytes_of(data + 1, size - 1);
    struct outcome at_once = feed(body, size), cut = feed(body, 1 + data[0] % 64u);
    CHECK(at_once.error.code == cut.error.code && at_once.whole == cut.whole &&
          at_once.index == cut.index);
    CHECK(at_once.taken == cut.taken);
    if (at_once.whole)
        CHECK(at_once.taken == sizeof(uint64_t) + bytes_get_be64(body.data));
    return 0;
}
