/* One call's DATA: the input is its gRPC frames, cut into HTTP/2 frames as its first bytes say.
 *
 *     byte 0: gzip encoding (bit 0), unary (bit 1), END_STREAM (bit 2); byte 1: length of a cut */
#include "rpc_handlers.h"

#include "base/buf.h"

static void put(struct buf *out, struct bytes what)
{
    CHECK(err_ok(buf_append(out, what)));
}

static void put_frame(struct buf *out, uint8_t type, uint8_t flags, struct bytes payload)
{
    const uint8_t head[9] = {
        0, (uint8_t)(payload.len >> 8), (uint8_t)payload.len, type, flags, 0, 0, 0, 1};
    put(out, bytes_of(head, 9));
    put(out, payload);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct rpc_limits limits = fuzz_limits();
    struct rpc_pool *pool = rpc_pool_new(&limits, 1000);
    struct rpc_conn *conn = rpc_conn_new(pool, RPC_PLAIN, &fuzz_handler, NULL);
    rpc_conn_read(conn, BYTES_LIT("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"), 1000);

    struct buf wire;
    buf_init(&wire, 0);
    struct buf head;
    buf_init(&head, 0);
    put(&head, BYTES_LIT("\x83\x86\x01\1x\0\14content-type\20application/grpc"));
    put(&head, data[0] & 2 ? BYTES_LIT("\x04\6/f.S/U") : BYTES_LIT("\x04\6/f.S/S"));
    if (data[0] & 1)
        put(&head, BYTES_LIT("\0\15grpc-encoding\4gzip"));
    put_frame(&wire, 1, 4, buf_bytes(&head));
    buf_done(&head);
    size_t cut = data[1] ? data[1] : 16384;
    for (size_t at = 2; at < size; at += cut) {
        size_t n = cut < size - at ? cut : size - at;
        put_frame(&wire, 0, 0, bytes_of(data + at, n));
    }
    if (data[0] & 4)
        put_frame(&wire, 0, 1, BYTES_NONE);
    fuzz_serve(pool, conn, buf_bytes(&wire), data[0] & 8 ? 100 : SIZE_MAX, 5000, 1000);
    buf_done(&wire);
    return 0;
}
