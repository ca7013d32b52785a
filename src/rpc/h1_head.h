/* The head of one HTTP/1.1 message while it arrives: start line and headers gathered in one
 * buffer, places noted as offsets. Shared by both ends.
 * Bounds: header_list_bytes_max, headers_max, target_bytes_max.
 * Thread: the connection's.  Owns: its buffer (malloc), given back between messages. */
#pragma once

#include "rpc/http.h"
#include "rpc/out.h"
#include "rpc/pool_internal.h"

#include "base/buf.h"
#include <llhttp.h>

struct h1_field {
    uint32_t name_at, name_len, value_at, value_len;
};

struct h1_head {
    struct rpc_pool *pool;
    struct buf text;
    uint32_t target_len; /* requests: the first bytes of text */
    struct h1_field *fields;
    unsigned count, cap;
    bool in_value;
    unsigned refuse; /* HTTP status that the head earned: 414, 431; 0: fine */
};

void h1_head_init(struct h1_head *self, struct rpc_pool *pool);
/* Gives the memory back. */
void h1_head_clear(struct h1_head *self);
/* Parser callbacks: 0, or HPE_USER with self->refuse set. */
int h1_head_target(struct h1_head *self, struct bytes piece);
int h1_head_name(struct h1_head *self, struct bytes piece);
int h1_head_value(struct h1_head *self, struct bytes piece);
struct bytes h1_head_get(const struct h1_head *self, const char *name);
/* Fills count headers that lie in text. */
void h1_head_list(const struct h1_head *self, struct http_header *ret_headers);

/* The line before a chunk of len bytes (RFC 9112, 7.1). Without printf: members' streams send one
 * a message. */
void h1_put_chunk_head(struct out *out, size_t len);
