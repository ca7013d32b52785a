/* A hostile client made of hand-written frames, against the server of pair.h (its client half is
 * left unused). */
#pragma once

#include "pair.h"

#include "base/buf.h"

enum {
    DATA,
    HEADERS,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    PUSH_PROMISE,
    PING,
    GOAWAY,
    WINDOW_UPDATE,
    CONTINUATION
};
enum { END_STREAM = 1, ACK = 1, END_HEADERS = 4 };

struct raw {
    struct buf to;   /* what will be fed */
    struct buf from; /* what the server said and no one looked at */
    struct nghttp2_hd_inflater *inflater;
};

void raw_init(struct raw *self);
void raw_done(struct raw *self);
/* For a new connection. */
void raw_again(struct raw *self);
/* The client preface and SETTINGS with one entry (id 0: empty). */
void raw_preface(struct raw *self, uint16_t id, uint32_t value);
void raw_frame(struct raw *self, uint8_t type, uint8_t flags, uint32_t stream,
               struct bytes payload);
/* The header block of a gRPC request to that path; more: appended as it is. */
void raw_request(struct raw *self, uint8_t flags, uint32_t stream, const char *path,
                 struct bytes more);
/* The same for a request that is not gRPC. */
void raw_page(struct raw *self, uint8_t flags, uint32_t stream, const char *method,
              const char *path, struct bytes more);
/* One literal field that is not indexed, for `more`. */
struct bytes raw_field(uint8_t *space, const char *name, struct bytes value);
void raw_u32_frame(struct raw *self, uint8_t type, uint32_t stream, uint32_t value);
/* Feeds in pieces of 16 KiB at most, and collects the output where take is true. */
void raw_feed(struct raw *self, struct pair *pair, bool take);
void raw_take(struct raw *self, struct pair *pair);
/* The next frame of that type that the server sent; frames before it are skipped. False: none. */
struct raw_seen {
    uint8_t type, flags;
    uint32_t stream;
    struct bytes payload; /* valid until the next raw_next */
    const char *fields;   /* HEADERS: "name: value\n" of each; as long */
};
bool raw_next(struct raw *self, int type, struct raw_seen *ret_seen);
uint32_t raw_u32(const struct raw_seen *seen, size_t at);
