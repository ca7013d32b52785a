#include "peer/snapshot_head.h"

void snapshot_head_init(struct snapshot_head *self, size_t message_bytes_max)
{
    *self = (struct snapshot_head){.message_bytes_max = message_bytes_max,
                                   .collector = message_collector_new(message_bytes_max)};
}

void snapshot_head_done(struct snapshot_head *self)
{
    message_collector_free(self->collector);
    self->collector = NULL;
}

static err length_take(struct snapshot_head *self, struct bytes *piece)
{
    size_t n = sizeof(self->length) - self->length_got;
    n = n < piece->len ? n : piece->len;
    if (n)
        memcpy(self->length + self->length_got, piece->data, n);
    self->length_got += n;
    *piece = bytes_skip(*piece, n);
    if (self->length_got < sizeof(self->length))
        return OK;
    self->left = bytes_get_be64(self->length);
    return self->left == 0 || self->left > self->message_bytes_max ? ERR_LIMIT : OK;
}

err snapshot_head_feed(struct snapshot_head *self, struct bytes *piece,
                       struct message_collector **ret_whole)
{
    CHECK(self->collector);
    if (self->length_got < sizeof(self->length))
        TRY(length_take(self, piece));
    if (self->length_got < sizeof(self->length)) {
        *ret_whole = NULL;
        return OK;
    }
    size_t n = self->left < piece->len ? (size_t)self->left : piece->len;
    TRY(message_collector_feed(self->collector, bytes_of(piece->data, n)));
    self->left -= n;
    *piece = bytes_skip(*piece, n);
    *ret_whole = self->left == 0 ? TAKE(self->collector) : NULL;
    return OK;
}
