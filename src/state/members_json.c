#include "base/check.h"
#include "state/members.h"

#include <inttypes.h>
#include <json-c/json.h>

#define JSON_DEPTH_MAX 8
#define JSON_BYTES_MAX (1u << 20)

static err put_text(struct buf *out, const char *text)
{
    return buf_append(out, bytes_str(text));
}

/* Go's encoding/json: short forms for \n \r \t (and \b \f since Go 1.22), \u00xx for other
 * controls and for < > &, \u2028 and \u2029, replacement of what is not UTF-8 is not needed here
 * since texts were checked on their way in. */
err member_put_json_text(struct buf *out, const char *text)
{
    TRY(put_text(out, "\""));
    for (const uint8_t *p = (const uint8_t *)text; *p; p++) {
        if (*p == '"' || *p == '\\') {
            const uint8_t pair[2] = {'\\', *p};
            TRY(buf_append(out, bytes_of(pair, 2)));
        } else if (*p == '\n') {
            TRY(put_text(out, "\\n"));
        } else if (*p == '\r') {
            TRY(put_text(out, "\\r"));
        } else if (*p == '\t') {
            TRY(put_text(out, "\\t"));
        } else if (*p == '\b') {
            TRY(put_text(out, "\\b"));
        } else if (*p == '\f') {
            TRY(put_text(out, "\\f"));
        } else if (*p < 0x20 || *p == '<' || *p == '>' || *p == '&') {
            TRY(buf_printf(out, "\\u%04x", *p));
        } else if (p[0] == 0xe2 && p[1] == 0x80 && (p[2] == 0xa8 || p[2] == 0xa9)) {
            TRY(buf_printf(out, "\\u20%x", p[2] & 0x2fu));
            p += 2;
        } else {
            TRY(buf_append(out, bytes_of(p, 1)));
        }
    }
    return put_text(out, "\"");
}

static err put_list(struct buf *out, struct text_list list)
{
    TRY(put_text(out, "["));
    for (size_t i = 0; i < list.count; i++) {
        if (i)
            TRY(put_text(out, ","));
        TRY(member_put_json_text(out, list.items[i]));
    }
    return put_text(out, "]");
}

err member_put_json(const struct member *self, struct buf *out)
{
    TRY(buf_printf(out, "{\"id\":%" PRIu64 ",\"peerURLs\":", self->id));
    if (self->peer_urls.count)
        TRY(put_list(out, self->peer_urls));
    else
        TRY(put_text(out, "null"));
    if (self->learner)
        TRY(put_text(out, ",\"isLearner\":true"));
    if (self->name && self->name[0]) {
        TRY(put_text(out, ",\"name\":"));
        TRY(member_put_json_text(out, self->name));
    }
    if (self->client_urls.count) {
        TRY(put_text(out, ",\"clientURLs\":"));
        TRY(put_list(out, self->client_urls));
    }
    return put_text(out, "}");
}

err member_put_raft_attributes_json(const struct member *self, struct buf *out)
{
    TRY(put_text(out, "{\"peerURLs\":"));
    TRY(put_list(out, self->peer_urls));
    return put_text(out, self->learner ? ",\"isLearner\":true}" : "}");
}

err member_put_attributes_json(const struct member *self, struct buf *out)
{
    TRY(put_text(out, "{"));
    bool named = self->name && self->name[0];
    if (named) {
        TRY(put_text(out, "\"name\":"));
        TRY(member_put_json_text(out, self->name));
    }
    if (self->client_urls.count) {
        TRY(put_text(out, named ? ",\"clientURLs\":" : "\"clientURLs\":"));
        TRY(put_list(out, self->client_urls));
    }
    return put_text(out, "}");
}

err member_put_promotion_json(uint64_t id, struct buf *out)
{
    return buf_printf(out, "{\"id\":%" PRIu64 ",\"peerURLs\":null,\"isPromote\":true}", id);
}

err downgrade_put_json(struct cluster_version target, struct buf *out)
{
    char text[CLUSTER_VERSION_TEXT_MAX];
    bool enabled = target.major != 0;
    return buf_printf(out, "{\"target-version\":\"%s\",\"enabled\":%s}",
                      enabled ? cluster_version_text(target, text) : "",
                      enabled ? "true" : "false");
}

static err read_text(struct json_object *value, struct arena *arena, const char **ret_text)
{
    if (!value)
        return OK; /* null leaves the field empty */
    if (!json_object_is_type(value, json_type_string))
        return ERR_SYNTAX;
    size_t len = (size_t)json_object_get_string_len(value);
    const char *text = json_object_get_string(value);
    if (memchr(text, 0, len))
        return ERR_SYNTAX;
    *ret_text = arena_copy_str(arena, bytes_of(text, len));
    return OK;
}

static err read_list(struct json_object *value, struct arena *arena, struct text_list *ret_list)
{
    if (!value)
        return OK;
    if (!json_object_is_type(value, json_type_array))
        return ERR_SYNTAX;
    size_t n = json_object_array_length(value);
    if (n > MEMBER_URLS_MAX)
        return ERR_LIMIT;
    const char **items = ARENA_ARRAY(arena, const char *, n);
    for (size_t i = 0; i < n; i++) {
        items[i] = "";
        TRY(read_text(json_object_array_get_idx(value, i), arena, &items[i]));
    }
    *ret_list = (struct text_list){items, n};
    return OK;
}

static err read_bool(struct json_object *value, bool *ret_bool)
{
    if (!value)
        return OK;
    if (!json_object_is_type(value, json_type_boolean))
        return ERR_SYNTAX;
    *ret_bool = json_object_get_boolean(value);
    return OK;
}

static err read_id(struct json_object *value, uint64_t *ret_id)
{
    if (!value)
        return OK;
    if (!json_object_is_type(value, json_type_int))
        return ERR_SYNTAX;
    *ret_id = json_object_get_uint64(value);
    return OK;
}

static err read_member(struct json_object *root, struct arena *arena, struct member *member,
                       bool *promote)
{
    if (!json_object_is_type(root, json_type_object))
        return ERR_SYNTAX;
    json_object_object_foreach(root, key, value)
    {
        if (strcmp(key, "id") == 0)
            TRY(read_id(value, &member->id));
        else if (strcmp(key, "peerURLs") == 0)
            TRY(read_list(value, arena, &member->peer_urls));
        else if (strcmp(key, "isLearner") == 0)
            TRY(read_bool(value, &member->learner));
        else if (strcmp(key, "name") == 0)
            TRY(read_text(value, arena, &member->name));
        else if (strcmp(key, "clientURLs") == 0)
            TRY(read_list(value, arena, &member->client_urls));
        else if (strcmp(key, "isPromote") == 0)
            TRY(read_bool(value, promote));
    }
    return OK;
}

/* NULL: it is not one whole value. */
static struct json_object *parse_whole(struct bytes json)
{
    struct json_tokener *tokener = json_tokener_new_ex(JSON_DEPTH_MAX);
    CHECK(tokener);
    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    struct json_object *root =
        json_tokener_parse_ex(tokener, (const char *)json.data, (int)json.len);
    bool whole = json_tokener_get_error(tokener) == json_tokener_success &&
                 json_tokener_get_parse_end(tokener) == json.len;
    json_tokener_free(tokener);
    if (whole)
        return root;
    json_object_put(root);
    return NULL;
}

err member_parse_json(struct bytes json, struct arena *arena, struct member *ret_member,
                      bool *ret_promote)
{
    if (json.len == 0 || json.len > JSON_BYTES_MAX)
        return json.len ? ERR_LIMIT : ERR_SYNTAX;
    struct json_object *root = parse_whole(json);
    struct member member = {.name = ""};
    bool promote = false;
    err e = root ? read_member(root, arena, &member, &promote) : ERR_SYNTAX;
    json_object_put(root);
    TRY(e);
    *ret_member = member;
    *ret_promote = promote;
    return OK;
}

static err read_downgrade(struct json_object *root, struct cluster_version *target)
{
    struct json_object *value;
    bool enabled = false;
    if (!json_object_is_type(root, json_type_object))
        return ERR_SYNTAX;
    if (json_object_object_get_ex(root, "enabled", &value))
        TRY(read_bool(value, &enabled));
    if (!enabled)
        return OK;
    if (!json_object_object_get_ex(root, "target-version", &value) ||
        !json_object_is_type(value, json_type_string))
        return ERR_SYNTAX;
    size_t len = (size_t)json_object_get_string_len(value);
    return cluster_version_parse(bytes_of(json_object_get_string(value), len), target);
}

err downgrade_parse_json(struct bytes json, struct cluster_version *ret_target)
{
    if (json.len == 0 || json.len > JSON_BYTES_MAX)
        return json.len ? ERR_LIMIT : ERR_SYNTAX;
    struct json_object *root = parse_whole(json);
    struct cluster_version target = {0, 0};
    err e = root ? read_downgrade(root, &target) : ERR_SYNTAX;
    json_object_put(root);
    TRY(e);
    *ret_target = target;
    return OK;
}
