#include "peer/blob.h"

#include <stdlib.h>

#define BLOB_BYTES_MIN 256
/* What may stay unused behind the bytes for as long as the log keeps the entries. */
#define BLOB_WASTE_BYTES_MAX 512

static void blob_release(struct raft_blob *blob)
{
    free(blob); /* the first member */
}

static void blob_resize(struct peer_blob **self, size_t cap)
{
    struct peer_blob *blob = realloc(*self, sizeof(*blob) + cap);
    CHECK(blob);
    if (!*self) {
        blob->blob = (struct raft_blob){.refs = 1, .release = blob_release};
        blob->len = 0;
    }
    blob->cap = cap;
    *self = blob;
}

void peer_blob_append(struct peer_blob **self, struct bytes piece, uint64_t expected)
{
    DCHECK(!*self || (*self)->blob.refs == 1);
    size_t len = *self ? (*self)->len : 0;
    size_t cap = *self ? (*self)->cap : 0;
    size_t need = len + piece.len;
    if (!*self || need > cap) {
        size_t wanted = cap * 2 > BLOB_BYTES_MIN ? cap * 2 : BLOB_BYTES_MIN;
        if (wanted > expected)
            wanted = (size_t)expected;
        blob_resize(self, wanted > need ? wanted : need);
    }
    if (piece.len)
        memcpy((*self)->data + len, piece.data, piece.len);
    (*self)->len = need;
}

void peer_blob_fit(struct peer_blob **self)
{
    DCHECK((*self)->blob.refs == 1);
    if ((*self)->cap - (*self)->len > BLOB_WASTE_BYTES_MAX)
        blob_resize(self, (*self)->len);
}

void peer_blob_bind(struct peer_blob *self, const struct raft_message *message)
{
    /* They lie in the decoder's arena, which is ours to write. */
    struct raft_entry *entries = (struct raft_entry *)message->entries;
    for (size_t i = 0; i < message->entry_count; i++)
        entries[i].blob = entries[i].data.len ? &self->blob : NULL;
    struct raft_snapshot *snapshot = (struct raft_snapshot *)message->snapshot;
    if (snapshot)
        snapshot->blob = snapshot->data.len ? &self->blob : NULL;
}
