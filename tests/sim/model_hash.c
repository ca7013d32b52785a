#include "model_hash.h"

#include "base/check.h"
#include "base/crc.h"
#include "mvccpb.pb-c.h"

#include <stdlib.h>

static uint32_t row_crc(const struct model_row *row, const Mvccpb__KeyValue *kv,
                        uint64_t *ret_bytes)
{
    uint8_t head[18];
    bytes_put_be64(head, (uint64_t)row->main);
    head[8] = '_';
    bytes_put_be64(head + 9, row->sub);
    head[17] = 't';
    size_t head_bytes = row->deleted ? 18 : 17;
    size_t len = protobuf_c_message_get_packed_size(&kv->base);
    uint8_t *packed = malloc(len + 1);
    CHECK(packed);
    CHECK(protobuf_c_message_pack(&kv->base, packed) == len);
    uint32_t crc = crc32c(crc32c(0, bytes_of(head, head_bytes)), bytes_of(packed, len));
    free(packed);
    *ret_bytes = head_bytes + len;
    return crc;
}

size_t model_rows_add(struct model_rows *self, struct bytes key, int64_t main, int64_t create,
                      int64_t version, struct bytes value, int64_t lease, size_t before)
{
    if (self->count == self->cap) {
        self->cap = self->cap ? self->cap * 2 : 256;
        self->rows = realloc(self->rows, self->cap * sizeof(self->rows[0]));
        CHECK(self->rows);
    }
    const struct model_row *last = self->count ? &self->rows[self->count - 1] : NULL;
    struct model_row row = {.main = main,
                            .sub = last && last->main == main ? last->sub + 1 : 0,
                            .next_main = INT64_MAX,
                            .deleted = create == 0};
    Mvccpb__KeyValue kv = MVCCPB__KEY_VALUE__INIT;
    kv.key = (ProtobufCBinaryData){key.len, (uint8_t *)(uintptr_t)key.data};
    if (!row.deleted) {
        kv.create_revision = create;
        kv.mod_revision = main;
        kv.version = version;
        kv.value = (ProtobufCBinaryData){value.len, (uint8_t *)(uintptr_t)value.data};
        kv.lease = lease;
    }
    row.crc = row_crc(&row, &kv, &row.crc_bytes);
    if (before != SIZE_MAX)
        self->rows[before].next_main = main;
    self->rows[self->count] = row;
    return self->count++;
}

int64_t model_rows_deletion_before(const struct model_rows *self, int64_t revision)
{
    for (size_t i = self->count; i-- > 0;)
        if (self->rows[i].deleted && self->rows[i].main <= revision)
            return self->rows[i].main;
    return 1;
}

/* Is any key there at the revision? Then what it is there as stands for those before it. */
static bool any_kept(const struct model_rows *self, int64_t revision, bool of_compaction)
{
    for (size_t i = self->count; i-- > 0;) {
        const struct model_row *row = &self->rows[i];
        if (row->main > revision)
            continue;
        if (!row->deleted && row->next_main > revision)
            return true;
        if (of_compaction && row->deleted && row->main == revision)
            return true;
    }
    return false;
}

uint32_t model_rows_hash(const struct model_rows *self, enum model_hash_of of, uint32_t hash,
                         int64_t revision, int64_t compacted)
{
    bool all = of == MODEL_HASH_OF_ALL;
    bool kept = !all && any_kept(self, revision, of == MODEL_HASH_OF_COMPACTION);
    for (size_t i = 0; i < self->count && self->rows[i].main <= revision; i++) {
        const struct model_row *row = &self->rows[i];
        bool newest = row->next_main > compacted && (!kept || row->next_main > revision);
        bool counts = row->deleted ? all && row->main == compacted : newest;
        if (row->main > compacted || counts)
            hash = crc32c_combine(hash, row->crc, row->crc_bytes);
    }
    return hash;
}
