/* What the server's end costs of CPU, without kernel and client: calls go round in batches over
 * an in-memory pair, and only the server's functions are timed. For people: not a test.
 *
 *     measure [calls] [streams at once] [message bytes] */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "pair.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static uint64_t server_ns;

/* Of this thread alone: the machine may be busy with others. */
static uint64_t cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static bool carry(struct pair *pair)
{
    static uint8_t input[16 << 10];
    struct iovec iov[256];
    unsigned count;
    rpc_client_output(pair->client, iov, 256, &count);
    size_t n = 0;
    for (unsigned i = 0; i < count && n < sizeof(input); i++) {
        size_t take = iov[i].iov_len < sizeof(input) - n ? iov[i].iov_len : sizeof(input) - n;
        memcpy(input + n, iov[i].iov_base, take);
        n += take;
    }
    rpc_client_wrote(pair->client, n);

    uint64_t begin = cpu_ns();
    if (n)
        rpc_conn_read(pair->conn, bytes_of(input, n), pair->now_ms);
    size_t out = rpc_conn_output(pair->conn, iov, 256, &count);
    server_ns += cpu_ns() - begin;
    uint8_t *copy = malloc(out + 1);
    size_t at = 0;
    for (unsigned i = 0; i < count; at += iov[i].iov_len, i++)
        memcpy(copy + at, iov[i].iov_base, iov[i].iov_len);
    begin = cpu_ns();
    rpc_conn_wrote(pair->conn, out);
    server_ns += cpu_ns() - begin;
    if (out)
        rpc_client_read(pair->client, bytes_of(copy, out), pair->now_ms);
    free(copy);
    return n > 0 || out > 0;
}

int main(int argc, char **argv)
{
    unsigned long calls = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000000;
    unsigned long streams = argc > 2 ? strtoul(argv[2], NULL, 10) : 20;
    unsigned long len = argc > 3 ? strtoul(argv[3], NULL, 10) : 40;
    struct pair pair;
    struct rpc_limits limits = rpc_limits_default();
    pair_init(&pair, &limits, RPC_PLAIN, RPC_CLIENT_HTTP2);
    uint8_t *message = calloc(1, len + 1);
    struct bytes part = bytes_of(message, len);
    struct reply *replies = calloc(streams, sizeof(*replies));
    for (unsigned long done = 0; done < calls; done += streams) {
        for (unsigned long i = 0; i < streams; i++) {
            reply_done(&replies[i]);
            struct rpc_client_call *call = pair_start(
                &pair, "/test.Echo/Unary", argc > 4 ? 5000 + done % 100 : UINT64_MAX, &replies[i]);
            rpc_client_call_send(call, &part, 1, true);
        }
        while (carry(&pair)) {
        }
        for (unsigned long i = 0; i < streams; i++)
            assert_true(replies[i].closed && replies[i].status == GRPC_OK);
    }
    for (unsigned long i = 0; i < streams; i++)
        reply_done(&replies[i]);
    printf("%lu calls of %lu bytes, %lu at once: %.2f us each in the server's end\n", calls, len,
           streams, (double)server_ns / 1000 / (double)calls);
    printf("memory of the server's pool: %zu bytes\n", rpc_pool_bytes(pair.server_pool));
    free(replies);
    free(message);
    pair_done(&pair);
    return 0;
}
