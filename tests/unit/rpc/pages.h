/* The pages that tests of exchanges ask for, over either version of HTTP.
 *
 *     GET /hello       "hello\n"               GET /none     204
 *     any /echo        the body, collected     GET /chunks   three pieces, length unknown
 *     GET /list?n      n bytes, a promise      GET /hold     kept in pages.held
 *     POST /count      the body streamed; answers how many bytes came
 *     POST /early      answered before its body came
 *     GET /short       says 10 bytes, sends 3  GET /what     method, target, host, header x-test */
#pragma once

#include "pair.h"

struct pages {
    struct http_exchange *held;
    unsigned begun, closed, complete, writable;
    size_t counted;
    unsigned pieces;
    unsigned released;
    bool pause; /* each piece of /count */
};
extern struct pages pages;
extern const struct rpc_handler pages_handler;
