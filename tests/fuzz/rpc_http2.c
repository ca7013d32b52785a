/* An HTTP/2 client's frames after its preface; the first byte picks step and transport. */
#include "rpc_handlers.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    struct rpc_limits limits = fuzz_limits();
    struct rpc_pool *pool = rpc_pool_new(&limits, 1000);
    struct rpc_conn *conn =
        rpc_conn_new(pool, data[0] & 1 ? RPC_TLS_HTTP2 : RPC_PLAIN, &fuzz_handler, NULL);
    rpc_conn_read(conn, BYTES_LIT("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"), 1000);
    size_t step = data[0] / 2 ? data[0] / 2 : SIZE_MAX;
    fuzz_serve(pool, conn, bytes_of(data + 1, size - 1), step, step * 7 + 1, 1000);
    return 0;
}
