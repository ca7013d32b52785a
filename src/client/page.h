/* One HTTP/1.1 request, for what is not gRPC: /health, /v2/members, /v2/keys.
 * Thread: the caller's, with a loop of its own while it runs.  Owns: nothing. */
#pragma once

#include "base/arena.h"
#include "base/bytes.h"
#include "base/err.h"

#include <stdint.h>

#define CLIENT_PAGE_BYTES_MAX (64U << 20)

struct client_page_request {
    const char *base; /* an endpoint or URL, its path left out */
    const char *path; /* and query */
    const char *method;
    const char *content_type; /* NULL: there is no body */
    struct bytes body;
    const char *user_agent;
    uint64_t timeout_ms; /* for the whole; of a page that waits, until its head is there */
    bool waits;          /* its body may take for ever */
    const char *header;  /* of the response, lower case: wanted too; NULL */
};

struct client_page {
    unsigned status;
    struct bytes body;   /* arena */
    struct bytes header; /* arena; empty: there is none */
    const char *failure; /* where it failed: why, in Go's words (arena); else NULL */
};

/* Fails, ret_page->failure told: ERR_SYNTAX base is no address, or what came is no HTTP;
 * ERR_UNSUPPORTED https; ERR_REFUSED, ERR_UNREACHABLE, ERR_NOT_FOUND (no such host),
 * ERR_TIMED_OUT, ERR_CLOSED, ERR_IO; ERR_LIMIT a body above CLIENT_PAGE_BYTES_MAX. */
MUST err client_page_fetch(const struct client_page_request *request, struct arena *arena,
                           struct client_page *ret_page);
