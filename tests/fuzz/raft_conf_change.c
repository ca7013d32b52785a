/* Any bytes are a membership change or an error; a change comes back from its encoding. */
#include "base/check.h"
#include "raft/conf_codec.h"

#include <stdint.h>
#include <string.h>

static void play(enum raft_entry_type type, struct bytes data)
{
    struct raft_conf_change change;
    if (!err_ok(raft_conf_change_decode(type, data, &change)))
        return;
    struct buf AUTO(buf_done) buf;
    buf_init(&buf, 0);
    CHECK(err_ok(raft_conf_change_encode(type, &change, &buf)));
    struct raft_conf_change back;
    CHECK(err_ok(raft_conf_change_decode(type, buf_bytes(&buf), &back)));
    CHECK(back.transition == change.transition && back.count == change.count &&
          back.id == change.id && bytes_equal(back.context, change.context));
    CHECK(memcmp(back.changes, change.changes, sizeof(back.changes)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    play(RAFT_ENTRY_CONF_CHANGE, bytes_of(data, size));
    play(RAFT_ENTRY_CONF_CHANGE_V2, bytes_of(data, size));
    return 0;
}
