/* Any bytes are a v2 store: what is taken for one is written and read back to the same members. */
#include "base/check.h"
#include "state/members_v2.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct membership *members, *again;
    if (!err_ok(membership_parse_v2_store(bytes_of(data, size), &members)))
        return 0;
    struct buf json;
    buf_init(&json, V2_STORE_BYTES_MAX);
    CHECK(err_ok(membership_put_v2_store(members, &json)));
    CHECK(err_ok(membership_parse_v2_store(buf_bytes(&json), &again)));
    CHECK(again->count == members->count && again->removed_count == members->removed_count);
    CHECK(cluster_version_compare(again->version, members->version) == 0);
    for (size_t i = 0; i < members->count; i++)
        CHECK(again->members[i].id == members->members[i].id &&
              strcmp(again->members[i].peer_urls.items[0],
                     members->members[i].peer_urls.items[0]) == 0);
    buf_done(&json);
    membership_free(members);
    membership_free(again);
    return 0;
}
