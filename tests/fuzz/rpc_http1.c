/* An HTTP/1.1 connection's bytes; the first one picks the step in which they arrive. */
#include "rpc_handlers.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    struct rpc_limits limits = fuzz_limits();
    struct rpc_pool *pool = rpc_pool_new(&limits, 1000);
    struct rpc_conn *conn = rpc_conn_new(pool, RPC_PLAIN, &fuzz_handler, NULL);
    size_t step = data[0] ? data[0] : SIZE_MAX;
    fuzz_serve(pool, conn, bytes_of(data + 1, size - 1), step, step * 7 + 1, 1000);
    return 0;
}
