/* Nodes of the v2 API as the store has them.
 *
 * A node's value, fields of a protobuf message, zero ones left out:
 *     1 varint  1: a directory
 *     2 varint  created index; left out: the stored change's own revision
 *     3 varint  expiration, nanoseconds since 1970
 *     4 bytes   the file's value
 *     5 varint  modified index, where it is not the stored change's revision: of a directory whose
 *               time was changed, which is no change to etcd 2; and of nodes in events */
#include "api/v2_internal.h"

#include "mvcc/view.h"
#include "wire/splice.h"

enum { FIELD_DIR = 1, FIELD_CREATED, FIELD_EXPIRATION, FIELD_VALUE, FIELD_MODIFIED };

#define PREFIX BYTES_LIT("\0v2/")

struct bytes v2_key(struct arena *arena, struct bytes path)
{
    struct bytes prefix = PREFIX, below = bytes_skip(path, 1);
    uint8_t *key = arena_alloc_bytes(arena, prefix.len + below.len);
    memcpy(key, prefix.data, prefix.len);
    for (size_t i = 0; i < below.len; i++)
        key[prefix.len + i] = below.data[i] == '/' ? '\0' : below.data[i];
    return bytes_of(key, prefix.len + below.len);
}

/* Nodes below begin with the key and a NUL; all begin with the prefix. */
struct bytes v2_key_end(struct arena *arena, struct bytes key)
{
    if (bytes_equal(key, PREFIX))
        return BYTES_LIT("\0v20");
    uint8_t *end = arena_alloc_bytes(arena, key.len + 1);
    memcpy(end, key.data, key.len);
    end[key.len] = 1;
    return bytes_of(end, key.len + 1);
}

bool v2_path_of(struct arena *arena, struct bytes key, struct bytes *ret_path)
{
    struct bytes prefix = PREFIX;
    if (!bytes_has_prefix(key, prefix) || key.len == prefix.len)
        return false;
    struct bytes below = bytes_skip(key, prefix.len);
    uint8_t *path = arena_alloc_bytes(arena, below.len + 1);
    path[0] = '/';
    for (size_t i = 0; i < below.len; i++)
        path[i + 1] = below.data[i] == '\0' ? '/' : below.data[i];
    *ret_path = bytes_of(path, below.len + 1);
    return true;
}

struct bytes v2_node_encode(struct arena *arena, const struct v2_node *node)
{
    uint64_t created = node->own_created ? 0 : (uint64_t)node->created;
    size_t size = wire_varint_field_size(FIELD_DIR, node->dir) +
                  wire_varint_field_size(FIELD_CREATED, created) +
                  wire_varint_field_size(FIELD_EXPIRATION, (uint64_t)node->expiration_ns) +
                  wire_bytes_field_size(FIELD_VALUE, node->value.len) +
                  wire_varint_field_size(FIELD_MODIFIED, (uint64_t)node->modified);
    uint8_t *bytes = arena_alloc_bytes(arena, size);
    uint8_t *at = wire_put_varint_field(bytes, FIELD_DIR, node->dir);
    at = wire_put_varint_field(at, FIELD_CREATED, created);
    at = wire_put_varint_field(at, FIELD_EXPIRATION, (uint64_t)node->expiration_ns);
    at = wire_put_bytes_field(at, FIELD_VALUE, node->value);
    (void)wire_put_varint_field(at, FIELD_MODIFIED, (uint64_t)node->modified);
    return bytes_of(bytes, size);
}

err v2_node_decode(struct bytes stored, struct v2_node *ret_node)
{
    struct v2_node node = {.own_created = true};
    struct wire_field_iter iter = wire_field_iter_of(stored);
    struct wire_field field;
    while (wire_field_iter_next(&iter, &field)) {
        if (field.type != (field.number == FIELD_VALUE ? WIRE_BYTES : WIRE_VARINT))
            return ERR_SYNTAX;
        switch (field.number) {
        case FIELD_DIR:
            node.dir = field.value != 0;
            break;
        case FIELD_CREATED:
            node.created = (int64_t)field.value;
            node.own_created = false;
            break;
        case FIELD_EXPIRATION:
            node.expiration_ns = (int64_t)field.value;
            break;
        case FIELD_VALUE:
            node.value = field.bytes;
            break;
        case FIELD_MODIFIED:
            node.modified = (int64_t)field.value;
            break;
        default:
            return ERR_SYNTAX;
        }
    }
    TRY(wire_field_iter_end(&iter));
    *ret_node = node;
    return OK;
}

err v2_node_of_kv(struct bytes kv, struct v2_node *ret_node)
{
    struct mvcc_kv stored;
    TRY(mvcc_kv_decode(kv, &stored));
    TRY(v2_node_decode(stored.value, ret_node));
    if (ret_node->modified == 0)
        ret_node->modified = stored.mod;
    ret_node->lease = stored.lease;
    return OK;
}

/* ── Finding ────────────────────────────────────────────────────────────────────────────────── */

/* One part as it is stored; *ret_node where it is there. */
static err look(const struct mvcc_view *view, struct arena *arena, struct v2_part *part,
                struct v2_node *ret_node)
{
    struct mvcc_state state;
    bool found;
    TRY(mvcc_view_find(view, part->key, view->seq, &state, &found, NULL));
    if (!found)
        return OK;
    struct mvcc_record record;
    TRY(mvcc_view_read(view, state.seq, &record, NULL));
    TRY(v2_node_of_kv(record.blob, ret_node));
    ret_node->value = arena_copy(arena, ret_node->value);
    part->modified = state.main;
    part->dir = ret_node->dir;
    part->lease = ret_node->lease;
    return OK;
}

err v2_find(const struct mvcc_view *view, struct arena *arena, struct bytes path,
            struct v2_place *ret_place)
{
    ret_place->count = ret_place->present = 0;
    ret_place->under_file = false;
    for (size_t end = 1; end < path.len;) {
        const uint8_t *slash = memchr(path.data + end, '/', path.len - end);
        end = slash ? (size_t)(slash - path.data) : path.len;
        if (ret_place->count == V2_PARTS_MAX)
            return ERR_LIMIT;
        struct v2_part *part = &ret_place->parts[ret_place->count];
        *part = (struct v2_part){.path = bytes_of(path.data, end)};
        part->key = v2_key(arena, part->path);
        struct v2_node node = {.dir = false};
        TRY(look(view, arena, part, &node));
        bool reachable = ret_place->present == ret_place->count && !ret_place->under_file;
        ret_place->count++;
        if (reachable && part->modified) {
            ret_place->present++;
            ret_place->node = node;
            ret_place->under_file = !part->dir && slash;
        }
        end += slash != NULL;
    }
    return OK;
}

struct v2_refusal v2_place_missing(struct arena *arena, const struct v2_place *place)
{
    if (place->present == place->count)
        return (struct v2_refusal){V2_OK, NULL};
    const struct v2_part *part = &place->parts[place->present - place->under_file];
    return (struct v2_refusal){place->under_file ? V2_NOT_DIR : V2_KEY_NOT_FOUND,
                               arena_copy_str(arena, part->path)};
}
