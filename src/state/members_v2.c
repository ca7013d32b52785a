#include "state/members_v2.h"

#include "base/check.h"
#include "state/ids.h"

#include <json-c/json.h>
#include <stdio.h>

#define JSON_DEPTH_MAX  128
#define VALUE_BYTES_MAX ((size_t)1 << 20)
#define REMOVED_MAX     4096
/* etcd writes into the ring that it finds here, so it has to be as long as it says. */
#define EVENTS_KEPT 1000

/* ── Writing ────────────────────────────────────────────────────────────────────────────────── */

static err put_text(struct buf *out, const char *text)
{
    return buf_append(out, bytes_str(text));
}

/* Up to its children, or the end of a key. value NULL: a directory. */
static err put_node(struct buf *out, const char *name, const char *path, const char *value)
{
    if (name)
        TRY(buf_printf(out, "\"%s\":", name));
    TRY(buf_printf(out, "{\"Path\":\"%s\",\"CreatedIndex\":0,\"ModifiedIndex\":0,", path));
    TRY(put_text(out, "\"ExpireTime\":\"0001-01-01T00:00:00Z\",\"Value\":"));
    TRY(member_put_json_text(out, value ? value : ""));
    return put_text(out, value ? ",\"Children\":null}" : ",\"Children\":{");
}

static err put_member(struct buf *out, const struct member *member)
{
    char id[ID_TEXT_MAX], path[96];
    struct buf value AUTO(buf_done);
    buf_init(&value, VALUE_BYTES_MAX);
    snprintf(path, sizeof(path), "/0/members/%s", id_text(member->id, id));
    TRY(put_node(out, id, path, NULL));
    if (member->name[0]) {
        TRY(member_put_attributes_json(member, &value));
        TRY(buf_append(&value, bytes_of("", 1)));
        snprintf(path, sizeof(path), "/0/members/%s/attributes", id);
        TRY(put_node(out, "attributes", path, (const char *)value.data));
        TRY(put_text(out, ","));
        buf_clear(&value);
    }
    TRY(member_put_raft_attributes_json(member, &value));
    TRY(buf_append(&value, bytes_of("", 1)));
    snprintf(path, sizeof(path), "/0/members/%s/raftAttributes", id);
    TRY(put_node(out, "raftAttributes", path, (const char *)value.data));
    return put_text(out, "}}");
}

static err put_cluster(const struct membership *self, struct buf *out)
{
    TRY(put_node(out, "0", "/0", NULL));
    TRY(put_node(out, "members", "/0/members", NULL));
    for (size_t i = 0; i < self->count; i++) {
        if (i)
            TRY(put_text(out, ","));
        TRY(put_member(out, &self->members[i]));
    }
    TRY(put_text(out, "}}"));
    if (self->removed_count) {
        TRY(put_text(out, ","));
        TRY(put_node(out, "removed_members", "/0/removed_members", NULL));
        for (size_t i = 0; i < self->removed_count; i++) {
            char id[ID_TEXT_MAX], path[96];
            snprintf(path, sizeof(path), "/0/removed_members/%s", id_text(self->removed[i], id));
            if (i)
                TRY(put_text(out, ","));
            TRY(put_node(out, id, path, ""));
        }
        TRY(put_text(out, "}}"));
    }
    if (self->version.major) {
        char version[CLUSTER_VERSION_TEXT_MAX];
        TRY(put_text(out, ","));
        TRY(put_node(out, "version", "/0/version", cluster_version_text(self->version, version)));
    }
    return put_text(out, "}}");
}

err membership_put_v2_store(const struct membership *self, struct buf *out)
{
    TRY(put_text(out, "{\"Root\":"));
    TRY(put_node(out, NULL, "/", NULL));
    TRY(put_cluster(self, out));
    TRY(put_text(out, ","));
    TRY(put_node(out, "1", "/1", NULL));
    TRY(put_text(out, "}}}},\"WatcherHub\":{\"EventHistory\":{\"Queue\":{\"Events\":["));
    for (unsigned i = 0; i < EVENTS_KEPT; i++)
        TRY(put_text(out, i ? ",null" : "null"));
    TRY(buf_printf(out, "],\"Size\":0,\"Front\":0,\"Back\":0,\"Capacity\":%d},", EVENTS_KEPT));
    return put_text(out,
                    "\"StartIndex\":0,\"LastIndex\":0}},\"CurrentIndex\":0,\"Stats\":{"
                    "\"getsSuccess\":0,\"getsFail\":0,\"setsSuccess\":0,\"setsFail\":0,"
                    "\"deleteSuccess\":0,\"deleteFail\":0,\"updateSuccess\":0,\"updateFail\":0,"
                    "\"createSuccess\":0,\"createFail\":0,\"compareAndSwapSuccess\":0,"
                    "\"compareAndSwapFail\":0,\"compareAndDeleteSuccess\":0,"
                    "\"compareAndDeleteFail\":0,\"expireCount\":0,\"watchers\":0},"
                    "\"CurrentVersion\":2}");
}

/* ── Reading ────────────────────────────────────────────────────────────────────────────────── */

static struct json_object *child_of(struct json_object *node, const char *name)
{
    struct json_object *children, *child;
    if (!json_object_is_type(node, json_type_object) ||
        !json_object_object_get_ex(node, "Children", &children) ||
        !json_object_is_type(children, json_type_object) ||
        !json_object_object_get_ex(children, name, &child))
        return NULL;
    return child;
}

static struct json_object *children_of(struct json_object *node)
{
    struct json_object *children = NULL;
    if (!json_object_is_type(node, json_type_object) ||
        !json_object_object_get_ex(node, "Children", &children) ||
        !json_object_is_type(children, json_type_object))
        return NULL;
    return children;
}

/* data NULL: no such key. */
static struct bytes value_of(struct json_object *node)
{
    struct json_object *value;
    if (!json_object_is_type(node, json_type_object) ||
        !json_object_object_get_ex(node, "Value", &value) ||
        !json_object_is_type(value, json_type_string))
        return BYTES_NONE;
    return bytes_of(json_object_get_string(value), (size_t)json_object_get_string_len(value));
}

/* Each step makes a new value; the one before goes. */
static void replace(struct membership **self, struct membership *next)
{
    membership_free(*self);
    *self = next;
}

static err read_member(const char *hex, struct json_object *node, struct membership **members)
{
    struct arena arena AUTO(arena_done);
    arena_init(&arena, 4096);
    struct member raft, attributes = {.name = ""};
    uint64_t id;
    bool promote;
    TRY(id_parse(bytes_str(hex), &id));
    if ((*members)->count == MEMBERS_MAX)
        return ERR_LIMIT;
    TRY(member_parse_json(value_of(child_of(node, "raftAttributes")), &arena, &raft, &promote));
    if (raft.peer_urls.count == 0)
        return ERR_SYNTAX;
    struct bytes text = value_of(child_of(node, "attributes"));
    if (text.len)
        TRY(member_parse_json(text, &arena, &attributes, &promote));
    raft.id = id;
    raft.name = attributes.name;
    raft.client_urls = attributes.client_urls;
    replace(members, membership_with_member(*members, &raft));
    return OK;
}

static err read_members(struct json_object *cluster, struct membership **members)
{
    struct json_object *children = children_of(child_of(cluster, "members"));
    if (!children)
        return ERR_SYNTAX;
    json_object_object_foreach(children, hex, node)
    {
        TRY(read_member(hex, node, members));
    }
    return (*members)->count ? OK : ERR_SYNTAX;
}

static err read_removed(struct json_object *cluster, struct membership **members)
{
    struct json_object *children = children_of(child_of(cluster, "removed_members"));
    if (!children)
        return OK;
    json_object_object_foreach(children, hex, node)
    {
        uint64_t id;
        (void)node;
        TRY(id_parse(bytes_str(hex), &id));
        if ((*members)->removed_count == REMOVED_MAX)
            return ERR_LIMIT;
        replace(members, membership_with_removed(*members, id));
    }
    return OK;
}

static err read_root(struct json_object *root, struct membership **members)
{
    struct json_object *top;
    if (!json_object_is_type(root, json_type_object) ||
        !json_object_object_get_ex(root, "Root", &top))
        return ERR_SYNTAX;
    struct json_object *cluster = child_of(top, "0");
    TRY(read_members(cluster, members));
    TRY(read_removed(cluster, members));
    struct bytes text = value_of(child_of(cluster, "version"));
    struct cluster_version version = {0, 0};
    if (text.len)
        TRY(cluster_version_parse(text, &version));
    replace(members, membership_versioned(*members, version));
    return OK;
}

err membership_parse_v2_store(struct bytes json, struct membership **ret_membership)
{
    if (json.len == 0 || json.len > V2_STORE_BYTES_MAX)
        return json.len ? ERR_LIMIT : ERR_SYNTAX;
    struct json_tokener *tokener = json_tokener_new_ex(JSON_DEPTH_MAX);
    CHECK(tokener);
    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    struct json_object *root =
        json_tokener_parse_ex(tokener, (const char *)json.data, (int)json.len);
    bool whole = json_tokener_get_error(tokener) == json_tokener_success &&
                 json_tokener_get_parse_end(tokener) == json.len;
    json_tokener_free(tokener);
    struct membership *members = membership_new();
    err e = whole ? read_root(root, &members) : ERR_SYNTAX;
    json_object_put(root);
    if (!err_ok(e)) {
        membership_free(members);
        return e;
    }
    *ret_membership = members;
    return OK;
}
