#include "etcdctl/snapshot_digest.h"

#include <string.h>

bool snapshot_digest_init(struct snapshot_digest *self)
{
    *self = (struct snapshot_digest){.context = EVP_MD_CTX_new()};
    return self->context && EVP_DigestInit_ex(self->context, EVP_sha256(), NULL);
}

void snapshot_digest_done(struct snapshot_digest *self)
{
    EVP_MD_CTX_free(self->context);
    self->context = NULL;
}

void snapshot_digest_take(struct snapshot_digest *self, struct bytes piece)
{
    if (self->may_be_last)
        (void)EVP_DigestUpdate(self->context, self->last, sizeof(self->last));
    self->may_be_last = piece.len == sizeof(self->last);
    if (self->may_be_last)
        memcpy(self->last, piece.data, sizeof(self->last));
    else
        (void)EVP_DigestUpdate(self->context, piece.data, piece.len);
    self->bytes += piece.len;
}

bool snapshot_digest_is_there(const struct snapshot_digest *self)
{
    return self->may_be_last && self->bytes % 512 == sizeof(self->last);
}

bool snapshot_digest_is_right(struct snapshot_digest *self)
{
    uint8_t digest[SNAPSHOT_DIGEST_BYTES];
    return EVP_DigestFinal_ex(self->context, digest, NULL) &&
           memcmp(digest, self->last, sizeof(digest)) == 0;
}
