/* Where a server listens, as an endpoint or URL names it:
 *
 *     127.0.0.1:2379   http://host:2379[/…]   [::1]:2379   unix:///run/etcd.sock https://host:2379
 *
 * Thread: any.  Owns: its texts. */
#pragma once

#include "base/bytes.h"
#include "base/err.h"

#include <stdint.h>

#define ENDPOINT_HOST_BYTES_MAX 256

struct endpoint {
    char *text;                                  /* as it was given */
    char authority[ENDPOINT_HOST_BYTES_MAX + 8]; /* host:port as written; "localhost" for unix */
    char host[ENDPOINT_HOST_BYTES_MAX];          /* without brackets; the path of a unix socket */
    uint16_t port;
    bool unix_socket;
    bool tls;
};

/* Fails: ERR_SYNTAX (no port, no host, another scheme); ERR_LIMIT (too long a name).
 * *ret_endpoint is filled with its text even then. */
MUST err endpoint_parse(struct bytes text, struct endpoint *ret_endpoint);
void endpoint_done(struct endpoint *self);
