#include "client/client.h"

#include <string.h>

/* Texts that base's table has because servers say them, but that etcd's clients have no name for.
 */
static const char *const unnamed[] = {
    "etcdserver: invalid client api version",
    "etcdserver: watch canceled",
    "etcdserver: permission not given",
    "etcdserver: request timed out, waiting for the applied index took too long",
    "etcdserver: request canceled",
    "etcdserver: context deadline exceeded",
    "etcdserver: unknown method",
};

static const char *const texts[] = {
#define X(name, grpc, text) text,
#include "base/err_table.h"
#undef X
};

bool client_error_known(struct bytes text)
{
    if (!bytes_has_prefix(text, BYTES_LIT("etcdserver: ")))
        return false;
    for (size_t i = 0; i < sizeof(unnamed) / sizeof(unnamed[0]); i++)
        if (bytes_equal(text, bytes_str(unnamed[i])))
            return false;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        if (bytes_equal(text, bytes_str(texts[i])))
            return true;
    return false;
}
