/* What a server may answer to Maintenance.Snapshot: the input is the DATA of one call, cut into
 * HTTP/2 frames as its first byte says, and read as etcdctl snapshot save reads it. What counts as
 * whole is what a digest over all that came confirms.
 *
 *     byte 0: length of a cut; byte 1: how it ends: grpc-status 0 or 13, an end of the stream
 * without one, or of the connection */
#include "base/buf.h"
#include "base/check.h"
#include "client_take.h"
#include "etcdctl/snapshot_digest.h"
#include "etcdserverpb.pb-c.h"
#include "rpc/client.h"
#include "wire/decode.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { END_OK, END_FAILED, END_SILENT, END_TORN, END_COUNT };
#define PAGE_BYTES 4096u

struct saving {
    struct snapshot_digest digest;
    struct buf all;
    size_t newest_bytes;
    struct arena arena;
    bool garbled, closed;
    enum grpc_status status;
};

static void on_message(void *ctx, struct rpc_client_call *call, struct bytes message)
{
    struct saving *self = ctx;
    Etcdserverpb__SnapshotResponse *piece;
    if (self->garbled)
        return;
    arena_reset(&self->arena);
    struct bytes kept = arena_copy(&self->arena, message);
    if (!err_ok(wire_decode(&etcdserverpb__snapshot_response__descriptor, kept, &self->arena, NULL,
                            WIRE_OUT(&piece), NULL))) {
        self->garbled = true;
        rpc_client_call_cancel(call);
        return;
    }
    struct bytes blob = bytes_of(piece->blob.data, piece->blob.len);
    CHECK(blob.len <= message.len);
    snapshot_digest_take(&self->digest, blob);
    CHECK(err_ok(buf_append(&self->all, blob)));
    self->newest_bytes = blob.len;
}

static void on_closed(void *ctx, struct rpc_client_call *call, enum grpc_status status,
                      struct bytes text)
{
    struct saving *self = ctx;
    CHECK(!self->closed && (unsigned)status <= GRPC_UNAUTHENTICATED);
    self->closed = true;
    self->status = status;
}

static const struct rpc_client_call_handler call_handler = {.message = on_message,
                                                            .closed = on_closed};

static void put(struct buf *out, struct bytes what)
{
    CHECK(err_ok(buf_append(out, what)));
}

static void put_frame(struct buf *out, uint8_t type, uint8_t flags, unsigned stream,
                      struct bytes payload)
{
    const uint8_t head[9] = {0,
                             (uint8_t)(payload.len >> 8),
                             (uint8_t)payload.len,
                             type,
                             flags,
                             0,
                             0,
                             0,
                             (uint8_t)stream};
    put(out, bytes_of(head, 9));
    put(out, payload);
}

/* All that the server says. */
static void answer_make(struct buf *out, size_t cut, unsigned end, struct bytes body)
{
    put_frame(out, 4, 0, 0, BYTES_NONE);
    put_frame(out, 1, 4, 1, BYTES_LIT("\x88\0\14content-type\20application/grpc"));
    while (body.len) {
        size_t n = cut < body.len ? cut : body.len;
        put_frame(out, 0, 0, 1, bytes_of(body.data, n));
        body = bytes_skip(body, n);
    }
    if (end == END_OK)
        put_frame(out, 1, 5, 1,
                  BYTES_LIT("\0\13grpc-status\1"
                            "0"));
    else if (end == END_FAILED)
        put_frame(out, 1, 5, 1,
                  BYTES_LIT("\0\13grpc-status\2"
                            "13"));
    else if (end == END_SILENT)
        put_frame(out, 0, 1, 1, BYTES_NONE);
}

static void exchange(struct saving *self, struct bytes answer)
{
    struct rpc_limits limits = rpc_limits_default();
    limits.receive_bytes_max = limits.body_bytes_max = 100000;
    struct rpc_pool *pool = rpc_pool_new(&limits, 1000);
    const struct rpc_client_config config = {.protocol = RPC_CLIENT_HTTP2,
                                             .authority = BYTES_LIT("x")};
    static const struct rpc_client_handler handler;
    struct rpc_client *client = rpc_client_new(pool, &config, &handler, NULL);
    struct rpc_client_call *call;
    const struct rpc_client_start request = {
        .path = BYTES_LIT("/etcdserverpb.Maintenance/Snapshot"), .timeout_ms = UINT64_MAX};
    struct bytes message = BYTES_NONE;
    CHECK(err_ok(rpc_client_call_start(client, &request, &call_handler, self, &call)));
    rpc_client_call_send(call, &message, 1, true);
    fuzz_client_take(client);
    while (answer.len) {
        size_t n = answer.len < PAGE_BYTES ? answer.len : PAGE_BYTES;
        rpc_client_read(client, bytes_of(answer.data, n), 1000);
        answer = bytes_skip(answer, n);
        fuzz_client_take(client);
    }
    rpc_client_read_end(client, 1000);
    fuzz_client_take(client);
    rpc_client_free(client);
    rpc_pool_free(pool);
    CHECK(self->closed);
}

static void check(struct saving *self, unsigned end)
{
    uint8_t digest[SNAPSHOT_DIGEST_BYTES];
    struct bytes all = buf_bytes(&self->all);
    if (self->status == GRPC_OK)
        CHECK(end == END_OK && !self->garbled);
    bool there = snapshot_digest_is_there(&self->digest);
    CHECK(there == (self->newest_bytes == sizeof(digest) && all.len % 512 == sizeof(digest)));
    if (!there)
        return;
    CHECK(EVP_Digest(all.data, all.len - sizeof(digest), digest, NULL, EVP_sha256(), NULL));
    CHECK(snapshot_digest_is_right(&self->digest) ==
          (memcmp(digest, all.data + all.len - sizeof(digest), sizeof(digest)) == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct saving saving = {0};
    struct buf answer;
    unsigned end = data[1] % END_COUNT;
    CHECK(snapshot_digest_init(&saving.digest));
    buf_init(&saving.all, 0);
    buf_init(&answer, 0);
    arena_init(&saving.arena, 4096);
    answer_make(&answer, data[0] ? data[0] : 16384, end, bytes_of(data + 2, size - 2));
    exchange(&saving, buf_bytes(&answer));
    check(&saving, end);
    arena_done(&saving.arena);
    buf_done(&answer);
    buf_done(&saving.all);
    snapshot_digest_done(&saving.digest);
    return 0;
}
