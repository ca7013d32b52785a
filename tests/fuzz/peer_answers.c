/* What members answer: /members, /version, and the texts in headers. */
#include "base/check.h"
#include "peer/fetch.h"
#include "peer/peers.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes in = bytes_of(data, size);
    struct arena arena;
    arena_init(&arena, 4096);
    const struct member *members;
    size_t count;
    if (err_ok(peer_members_parse(in, &arena, &members, &count))) {
        CHECK(count <= MEMBERS_MAX);
        for (size_t i = 0; i < count; i++)
            CHECK(members[i].id && (i == 0 || members[i].id > members[i - 1].id));
    }
    struct peer_fetch_result result = {0};
    if (err_ok(peer_version_parse(in, &result)))
        CHECK(result.server_version[0]);
    struct cluster_version target, again;
    if (err_ok(downgrade_parse_json(in, &target))) {
        struct buf AUTO(buf_done) json;
        buf_init(&json, 0);
        CHECK(err_ok(downgrade_put_json(target, &json)));
        CHECK(err_ok(downgrade_parse_json(buf_bytes(&json), &again)));
        CHECK(again.major == target.major && (!again.major || again.minor == target.minor));
    }
    struct peer_hash hash = {0};
    if (err_ok(peer_hash_parse(in, &hash)))
        CHECK(size > 1);
    arena_done(&arena);
    return 0;
}
