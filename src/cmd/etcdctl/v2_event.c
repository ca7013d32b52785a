#include "etcdctl/v2_keys.h"

#include "base/buf.h"
#include "base/check.h"
#include "wire/json.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <string.h>

/* ---- reading ---------------------------------------------------------------------------- */

static uint64_t number_of(struct json_object *object, const char *name)
{
    struct json_object *value;
    if (!json_object_object_get_ex(object, name, &value))
        return 0;
    return (uint64_t)json_object_get_int64(value);
}

/* The depth is bounded by the parser's. */
static void node_read(struct json_object *object, struct arena *arena, struct v2_node *node)
{
    struct json_object *value;
    node->key = v2_json_string(object, "key", arena);
    node->value = v2_json_string(object, "value", arena);
    node->expiration = v2_json_string(object, "expiration", arena);
    node->dir = json_object_object_get_ex(object, "dir", &value) && json_object_get_boolean(value);
    node->created = number_of(object, "createdIndex");
    node->modified = number_of(object, "modifiedIndex");
    node->ttl = (int64_t)number_of(object, "ttl");
    if (!json_object_object_get_ex(object, "nodes", &value) ||
        !json_object_is_type(value, json_type_array))
        return;
    node->has_nodes = true;
    node->node_count = (unsigned)json_object_array_length(value);
    node->nodes = ARENA_ARRAY(arena, struct v2_node, node->node_count);
    for (unsigned i = 0; i < node->node_count; i++)
        node_read(json_object_array_get_idx(value, i), arena, &node->nodes[i]);
}

static const struct v2_node *node_of(struct json_object *object, const char *name,
                                     struct arena *arena)
{
    struct json_object *value;
    if (!json_object_object_get_ex(object, name, &value) ||
        !json_object_is_type(value, json_type_object))
        return NULL;
    struct v2_node *node = ARENA_NEW(arena, struct v2_node);
    node_read(value, arena, node);
    return node;
}

static int invalid(void)
{
    return v2_error(V2_SERVER_ERROR,
                    "client: response is invalid json. The endpoint is probably not valid etcd "
                    "cluster endpoint");
}

static int error_tell(struct json_object *object, struct arena *arena)
{
    struct json_object *code;
    if (!object || !json_object_object_get_ex(object, "errorCode", &code))
        return invalid();
    return v2_error(V2_SERVER_ERROR, "%" PRId64 ": %s (%s) [%" PRIu64 "]",
                    json_object_get_int64(code), v2_json_string(object, "message", arena),
                    v2_json_string(object, "cause", arena), number_of(object, "index"));
}

int v2_event_read(const struct client_page *page, struct arena *arena, struct v2_event *ret_event)
{
    static const struct v2_node none = {.key = "", .value = "", .expiration = ""};
    struct json_object *object = v2_json_read(page->body);
    int code = V2_OK;
    if (page->status != 200 && page->status != 201) {
        code = error_tell(object, arena);
    } else if (!object) {
        code = page->body.len ? invalid()
                              : v2_error(V2_SERVER_ERROR, "client: response body is empty");
    } else {
        *ret_event = (struct v2_event){
            .action = v2_json_string(object, "action", arena),
            .node = node_of(object, "node", arena),
            .before = node_of(object, "prevNode", arena),
            .index = page->header.len ? arena_copy_str(arena, page->header) : "0",
        };
        if (!ret_event->node)
            ret_event->node = &none;
    }
    json_object_put(object);
    return code;
}

/* ---- printing --------------------------------------------------------------------------- */

static void json_text(struct buf *out, const char *name, const char *text)
{
    CHECK(err_ok(buf_printf(out, "\"%s\":", name)));
    CHECK(err_ok(wire_json_write_string(bytes_str(text), WIRE_JSON_GO, out)));
}

static void json_node(struct buf *out, const struct v2_node *node)
{
    if (!node) {
        CHECK(err_ok(buf_append(out, BYTES_LIT("null"))));
        return;
    }
    CHECK(err_ok(buf_append(out, BYTES_LIT("{"))));
    json_text(out, "key", node->key);
    CHECK(err_ok(buf_printf(out, node->dir ? ",\"dir\":true," : ",")));
    json_text(out, "value", node->value);
    CHECK(err_ok(buf_printf(out, ",\"nodes\":%s", node->has_nodes ? "[" : "null")));
    for (unsigned i = 0; i < node->node_count; i++) {
        CHECK(err_ok(buf_append(out, i ? BYTES_LIT(",") : BYTES_NONE)));
        json_node(out, &node->nodes[i]);
    }
    CHECK(err_ok(buf_printf(out, "%s,\"createdIndex\":%" PRIu64 ",\"modifiedIndex\":%" PRIu64,
                            node->has_nodes ? "]" : "", node->created, node->modified)));
    if (node->expiration[0]) {
        CHECK(err_ok(buf_append(out, BYTES_LIT(","))));
        json_text(out, "expiration", node->expiration);
    }
    if (node->ttl)
        CHECK(err_ok(buf_printf(out, ",\"ttl\":%" PRId64, node->ttl)));
    CHECK(err_ok(buf_append(out, BYTES_LIT("}"))));
}

static void print_json(const struct v2_event *event)
{
    struct buf AUTO(buf_done) out;
    buf_init(&out, 0);
    CHECK(err_ok(buf_append(&out, BYTES_LIT("{"))));
    json_text(&out, "action", event->action);
    CHECK(err_ok(buf_append(&out, BYTES_LIT(",\"node\":"))));
    json_node(&out, event->node);
    CHECK(err_ok(buf_append(&out, BYTES_LIT(",\"prevNode\":"))));
    json_node(&out, event->before);
    CHECK(err_ok(buf_append(&out, BYTES_LIT("}\n"))));
    (void)fwrite(out.data, 1, out.len, stdout);
}

static void print_extended(const struct v2_event *event, bool deleted)
{
    const struct v2_node *node = event->node;
    (void)printf("Key: %s\nCreated-Index: %" PRIu64 "\nModified-Index: %" PRIu64 "\n", node->key,
                 node->created, node->modified);
    if (event->before)
        (void)printf("PrevNode.Value: %s\n", event->before->value);
    (void)printf("TTL: %" PRId64 "\nIndex: %s\n", node->ttl, event->index);
    if (!deleted)
        (void)printf("\n%s\n", node->value);
}

void v2_event_print(const struct v2 *self, const struct v2_event *event)
{
    bool deleted = strcmp(event->action, "delete") == 0;
    if (strcmp(self->output, "simple") == 0) {
        if (deleted)
            (void)printf("PrevNode.Value: %s\n", event->before ? event->before->value : "");
        else
            (void)puts(event->node->value);
    } else if (strcmp(self->output, "extended") == 0) {
        print_extended(event, deleted);
    } else if (strcmp(self->output, "json") == 0) {
        print_json(event);
    } else {
        (void)fprintf(stderr, "Unsupported output format: %s\n", self->output);
    }
}
