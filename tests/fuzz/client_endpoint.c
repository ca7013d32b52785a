/* Any text is an endpoint with a host and a port, or an error that keeps the text. */
#include "base/check.h"
#include "client/endpoint.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct endpoint endpoint;
    err e = endpoint_parse(bytes_of(data, size), &endpoint);
    CHECK(endpoint.text);
    if (err_ok(e)) {
        CHECK(endpoint.host[0] && memchr(endpoint.host, 0, sizeof(endpoint.host)));
        CHECK(memchr(endpoint.authority, 0, sizeof(endpoint.authority)));
        CHECK(endpoint.unix_socket || endpoint.port > 0);
    }
    endpoint_done(&endpoint);
    return 0;
}
