/* A snapshot comes in pieces of any length, and behind it, as a message of its own, the SHA-256 of
 * all of it. That looks like any piece, so each is hashed when the next one is there.
 *
 * Thread: one.  Source: etcd's Maintenance.Snapshot. */
#pragma once

#include "base/bytes.h"
#include "offline/snapshot_file.h"

#include <openssl/evp.h>

struct snapshot_digest {
    EVP_MD_CTX *context;                 /* of all but the newest piece */
    uint8_t last[SNAPSHOT_DIGEST_BYTES]; /* the newest, where it could be the digest */
    bool may_be_last;
    uint64_t bytes; /* of all pieces */
};

/* False: the library has no SHA-256. snapshot_digest_done is due either way. */
bool snapshot_digest_init(struct snapshot_digest *self);
void snapshot_digest_done(struct snapshot_digest *self);
void snapshot_digest_take(struct snapshot_digest *self, struct bytes piece);
/* Behind the last piece, once: whether that may be a digest, and whether it is that of the rest. */
bool snapshot_digest_is_there(const struct snapshot_digest *self);
bool snapshot_digest_is_right(struct snapshot_digest *self);
