#include "etcdctl/v2.h"

#include "base/clock.h"

#include <ctype.h>
#include <json-c/json.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define USER_AGENT     "etcdctl"
#define JSON_DEPTH_MAX 512
#define MEMBERS_MAX    1024
#define UNAVAILABLE    "client: etcd cluster is unavailable or misconfigured"

int v2_error(int code, const char *format, ...)
{
    va_list args;
    (void)fflush(stdout);
    va_start(args, format);
    (void)fputs("Error:  ", stderr);
    (void)vfprintf(stderr, format, args);
    (void)fputc('\n', stderr);
    va_end(args);
    return code;
}

/* ---- escapes ---------------------------------------------------------------------------- */

static const char *escape(const char *text, const char *kept, bool plus, struct arena *arena)
{
    static const char digits[] = "0123456789ABCDEF";
    char *out = (char *)arena_alloc_bytes(arena, strlen(text) * 3 + 1), *at = out;
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (isalnum(c) || strchr(kept, c)) {
            *at++ = (char)c;
        } else if (plus && c == ' ') {
            *at++ = '+';
        } else {
            *at++ = '%';
            *at++ = digits[c >> 4];
            *at++ = digits[c & 15];
        }
    }
    *at = 0;
    return out;
}

const char *v2_path_escape(const char *text, struct arena *arena)
{
    return escape(text, "-_.~$&+,/:;=@", false, arena);
}

const char *v2_form_escape(const char *text, struct arena *arena)
{
    return escape(text, "-_.~", true, arena);
}

/* ---- json ------------------------------------------------------------------------------- */

struct json_object *v2_json_read(struct bytes text)
{
    struct json_tokener *tokener = json_tokener_new_ex(JSON_DEPTH_MAX);
    struct json_object *object = NULL;
    if (tokener && text.len <= INT32_MAX)
        object = json_tokener_parse_ex(tokener, (const char *)text.data, (int)text.len);
    json_tokener_free(tokener);
    if (object && json_object_is_type(object, json_type_object))
        return object;
    json_object_put(object);
    return NULL;
}

const char *v2_json_string(struct json_object *object, const char *name, struct arena *arena)
{
    struct json_object *value;
    if (!json_object_object_get_ex(object, name, &value) ||
        !json_object_is_type(value, json_type_string))
        return "";
    return arena_copy_str(
        arena, bytes_of(json_object_get_string(value), (size_t)json_object_get_string_len(value)));
}

struct strings v2_json_strings(struct json_object *object, const char *name, struct arena *arena)
{
    struct json_object *list;
    if (!json_object_object_get_ex(object, name, &list) ||
        !json_object_is_type(list, json_type_array))
        return (struct strings){0};
    size_t count = json_object_array_length(list);
    const char **items = ARENA_ARRAY(arena, const char *, count);
    for (size_t i = 0; i < count; i++) {
        const char *text = json_object_get_string(json_object_array_get_idx(list, i));
        items[i] = text ? arena_copy_str(arena, bytes_str(text)) : "";
    }
    return (struct strings){items, (unsigned)count};
}

/* ---- asking ----------------------------------------------------------------------------- */

static void debug_request(const char *endpoint, const struct v2_request *request)
{
    (void)fprintf(stderr, "cURL Command: curl -X %s %s%s", request->method, endpoint,
                  request->path);
    if (request->body && request->body[0])
        (void)fprintf(stderr, " -d \"%s\"", request->body);
    (void)fputc('\n', stderr);
}

static uint64_t now_ms(void)
{
    return clock_mono_ns() / 1000000;
}

/* NULL, or why this endpoint gave nothing. */
static const char *try_one(struct v2 *self, const char *endpoint, const struct v2_request *request,
                           uint64_t left_ms, struct arena *arena, struct client_page *ret_page)
{
    const struct client_page_request page = {
        .base = endpoint,
        .path = request->path,
        .method = request->method,
        .content_type = request->content_type,
        .body = request->body ? bytes_str(request->body) : BYTES_NONE,
        .user_agent = USER_AGENT,
        .timeout_ms = left_ms < self->timeout_ms ? left_ms : self->timeout_ms,
        .waits = request->waits,
        .header = "x-etcd-index",
    };
    if (self->debug)
        debug_request(endpoint, request);
    err e = client_page_fetch(&page, arena, ret_page);
    if (err_is(e, ERR_TIMED_OUT) &&
        bytes_equal(bytes_str(ret_page->failure), BYTES_LIT("context deadline exceeded")))
        return arena_printf(arena, "client: endpoint %s exceeded header timeout", endpoint);
    if (!err_ok(e))
        return ret_page->failure;
    if (ret_page->status == 500 || ret_page->status == 503)
        return arena_printf(arena, "client: etcd member %s has no leader", endpoint);
    if (ret_page->status / 100 == 5)
        return arena_printf(arena, "client: etcd member %s returns server error [%u]", endpoint,
                            ret_page->status);
    return NULL;
}

int v2_ask(struct v2 *self, const struct v2_request *request, int code, struct arena *arena,
           struct client_page *ret_page)
{
    const char *failures = "", *in_one = "";
    const uint64_t end_ms = request->waits ? UINT64_MAX : now_ms() + self->total_timeout_ms;
    for (unsigned i = 0; i < self->endpoints.count; i++) {
        unsigned at = (self->pinned + i) % self->endpoints.count;
        uint64_t at_ms = now_ms();
        const char *why = try_one(self, self->endpoints.items[at], request,
                                  end_ms > at_ms ? end_ms - at_ms : 1, arena, ret_page);
        if (!why) {
            self->pinned = at;
            return V2_OK;
        }
        if (now_ms() >= end_ms)
            return v2_error(code, "context deadline exceeded");
        in_one = arena_printf(arena, "%s; error #%u: %s\n", in_one, i, why);
        failures = arena_printf(arena, "%serror #%u: %s\n", failures, i, why);
    }
    if (!request->plain)
        return v2_error(code, UNAVAILABLE "%s\n%s", in_one, failures);
    (void)fflush(stdout);
    (void)fprintf(stderr, UNAVAILABLE "%s\n", in_one);
    return code;
}

static struct v2_member member_read(struct json_object *object, struct arena *arena)
{
    return (struct v2_member){
        .id = v2_json_string(object, "id", arena),
        .name = v2_json_string(object, "name", arena),
        .peer_urls = v2_json_strings(object, "peerURLs", arena),
        .client_urls = v2_json_strings(object, "clientURLs", arena),
    };
}

static bool members_read(struct bytes body, struct arena *arena, struct v2_members *ret_members)
{
    struct json_object *object = v2_json_read(body), *list;
    bool ok = object && json_object_object_get_ex(object, "members", &list) &&
              json_object_is_type(list, json_type_array) &&
              json_object_array_length(list) <= MEMBERS_MAX;
    if (ok) {
        ret_members->count = (unsigned)json_object_array_length(list);
        ret_members->items = ARENA_ARRAY(arena, struct v2_member, ret_members->count);
        for (unsigned i = 0; i < ret_members->count; i++)
            ret_members->items[i] = member_read(json_object_array_get_idx(list, i), arena);
    }
    json_object_put(object);
    return ok;
}

int v2_members_get(struct v2 *self, int code, struct v2_members *ret_members)
{
    const struct v2_request request = {.method = "GET", .path = "/v2/members"};
    struct client_page page = {0};
    int failed = v2_ask(self, &request, code, self->arena, &page);
    if (failed)
        return failed;
    if (page.status == 200 && members_read(page.body, self->arena, ret_members))
        return V2_OK;
    return v2_error(code,
                    "client: response is invalid json. The endpoint is probably not valid "
                    "etcd cluster endpoint.");
}

/* ---- whom to ask ------------------------------------------------------------------------ */

static void print_joined(struct strings list, const char *before, const char *comma,
                         const char *after)
{
    (void)fputs(before, stderr);
    for (unsigned i = 0; i < list.count; i++)
        (void)fprintf(stderr, "%s%s", i ? comma : "", list.items[i]);
    (void)fputs(after, stderr);
}

int v2_sync(struct v2 *self)
{
    struct v2_members members = {0};
    unsigned room = 0, count = 0;
    if (self->no_sync)
        goto told;
    if (self->debug)
        print_joined(self->endpoints, "start to sync cluster using endpoints(", ",", ")\n");
    int code = v2_members_get(self, V2_BAD_CONNECTION, &members);
    if (code)
        return code;
    for (unsigned i = 0; i < members.count; i++)
        room += members.items[i].client_urls.count;
    if (room == 0) {
        (void)fputs("etcd cluster has no published client endpoints.\n", stderr);
        print_joined(self->endpoints,
                     "Try '--no-sync' if you want to access non-published client endpoints(", ",",
                     ").\n");
        return v2_error(V2_SERVER_ERROR, "client: no endpoints available");
    }
    /* Those that were given and are advertised come first: they are known to answer from here. */
    const char **urls = ARENA_ARRAY(self->arena, const char *, room);
    for (unsigned i = 0; i < members.count; i++)
        for (unsigned u = 0; u < members.items[i].client_urls.count; u++)
            urls[count++] = members.items[i].client_urls.items[u];
    const char *answered = self->endpoints.items[self->pinned];
    self->endpoints = (struct strings){urls, count};
    self->pinned = 0;
    for (unsigned i = 0; i < count; i++)
        if (strcmp(urls[i], answered) == 0)
            self->pinned = i;
    if (self->debug)
        print_joined(self->endpoints, "got endpoints(", ",", ") after sync\n");
told:
    if (self->debug)
        print_joined(self->endpoints, "Cluster-Endpoints: ", ", ", "\n");
    return V2_OK;
}
