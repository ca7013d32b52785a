/* Where a member listens: what is needed of its URL to dial it.
 * http://host[:port], unix://path; https is refused by name until TLS is there.
 * Thread: any.  Owns: its text. */
#pragma once

#include "base/bytes.h"
#include "base/err.h"

#include <stdint.h>

struct peer_url {
    char *text; /* as given; malloc */
    bool is_unix;
    char host[256]; /* without brackets; of unix the path */
    uint16_t port;
    char authority[264]; /* host:port as it stands in the URL */
};

/* Fails: ERR_SYNTAX; ERR_UNSUPPORTED https and unixs; ERR_LIMIT too long. */
MUST err peer_url_init(struct peer_url *self, const char *text);
void peer_url_done(struct peer_url *self);
