/* What a server may answer a client of ours: HTTP/2 frames to two open calls, or HTTP/1.1 to a
 * fetch. The first byte picks the protocol and the step. */
#include "client_take.h"
#include "rpc_handlers.h"

static void on_closed(void *ctx, struct rpc_client_call *call, enum grpc_status status,
                      struct bytes text)
{
    CHECK((unsigned)status <= GRPC_UNAUTHENTICATED);
    fuzz_open--;
}

static void on_message(void *ctx, struct rpc_client_call *call, struct bytes message)
{
    if (message.len == 3)
        rpc_client_call_cancel(call);
}

static const struct rpc_client_call_handler call_handler = {.message = on_message,
                                                            .closed = on_closed};

static void on_fetch_closed(void *ctx, struct http_fetch *fetch, err result)
{
    fuzz_open--;
}

static void on_response(void *ctx, struct http_fetch *fetch, unsigned status)
{
    (void)http_fetch_header(fetch, "content-length");
}

static const struct http_fetch_handler fetch_handler = {.response = on_response,
                                                        .closed = on_fetch_closed};

static void start(struct rpc_client *client, bool http1, uint8_t kind)
{
    if (http1) {
        struct http_fetch *fetch;
        const struct http_fetch_start request = {
            .method = kind & 4 ? BYTES_LIT("HEAD") : BYTES_LIT("GET"),
            .target = BYTES_LIT("/"),
            .collect_bytes_max = kind & 2 ? 1000 : 0,
            .timeout_ms = UINT64_MAX,
        };
        if (err_ok(http_fetch_start(client, &request, &fetch_handler, NULL, &fetch)))
            fuzz_open++;
        return;
    }
    for (unsigned i = 0; i < 2; i++) {
        struct rpc_client_call *call;
        const struct rpc_client_start request = {.path = BYTES_LIT("/f.S/U"),
                                                 .timeout_ms = i ? 500 : UINT64_MAX};
        struct bytes message = BYTES_LIT("question");
        CHECK(err_ok(rpc_client_call_start(client, &request, &call_handler, NULL, &call)));
        fuzz_open++;
        rpc_client_call_send(call, &message, 1, i == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    bool http1 = data[0] & 1;
    struct rpc_limits limits = fuzz_limits();
    struct rpc_pool *pool = rpc_pool_new(&limits, 1000);
    const struct rpc_client_config config = {
        .protocol = http1 ? RPC_CLIENT_HTTP1 : RPC_CLIENT_HTTP2, .authority = BYTES_LIT("x")};
    static const struct rpc_client_handler handler;
    struct rpc_client *client = rpc_client_new(pool, &config, &handler, NULL);
    start(client, http1, data[0]);
    fuzz_client_take(client);
    size_t step = data[0] / 8 ? data[0] / 8 : SIZE_MAX;
    for (size_t at = 1; at < size;) {
        size_t n = step < size - at ? step : size - at;
        rpc_client_read(client, bytes_of(data + at, n), 1000);
        at += n;
        if (at % 3 == 0)
            fuzz_client_take(client);
        CHECK(rpc_pool_bytes(pool) < FUZZ_POOL_BYTES_MAX);
    }
    fuzz_client_take(client);
    rpc_pool_tick(pool, 1600);
    rpc_client_read_end(client, 1600);
    fuzz_client_take(client);
    rpc_client_free(client);
    rpc_pool_free(pool);
    CHECK(fuzz_open == 0);
    return 0;
}
