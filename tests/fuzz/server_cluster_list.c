/* Any --initial-cluster is a list within its bound, in the order of names, or a reason. */
#include "base/check.h"
#include "server/cluster_list.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct cluster_list list;
    const char *reason = NULL;
    arena_init(&arena, 4096);
    const char *text = arena_copy_str(&arena, bytes_of(data, size));
    if (err_ok(cluster_list_parse(&arena, text, &list, &reason))) {
        CHECK(list.count <= CLUSTER_MEMBERS_MAX);
        for (size_t i = 0; i < list.count; i++) {
            CHECK(list.members[i].name[0] && list.members[i].peer_urls.count > 0);
            CHECK(i == 0 || strcmp(list.members[i - 1].name, list.members[i].name) <= 0);
        }
    } else {
        CHECK(reason && reason[0]);
    }
    arena_done(&arena);
    return 0;
}
