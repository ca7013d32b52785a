/* What a fuzzed client wants to send goes nowhere. */
#pragma once

#include "rpc/client.h"

static inline void fuzz_client_take(struct rpc_client *client)
{
    for (unsigned i = 0; i < 1000; i++) {
        struct iovec iov[8];
        unsigned count;
        size_t n = rpc_client_output(client, iov, 8, &count);
        rpc_client_wrote(client, n);
        if (n == 0)
            return;
    }
}
