/* member list, add, remove, update of the v2 API. */
#include "etcdctl/v2_member.h"

#include "base/buf.h"
#include "base/check.h"
#include "base/url.h"
#include "etcdctl/text.h"
#include "wire/json.h"

#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEMBERS_PATH "/v2/members"

/* ---- list ------------------------------------------------------------------------------- */

static void member_print(const struct v2_member *member, const char *leader)
{
    if (!member->name[0]) {
        (void)printf("%s[unstarted]: peerURLs=", member->id);
    } else {
        (void)printf("%s: name=%s peerURLs=", member->id, member->name);
    }
    for (unsigned i = 0; i < member->peer_urls.count; i++)
        (void)printf("%s%s", i ? "," : "", member->peer_urls.items[i]);
    if (member->name[0]) {
        (void)fputs(" clientURLs=", stdout);
        for (unsigned i = 0; i < member->client_urls.count; i++)
            (void)printf("%s%s", i ? "," : "", member->client_urls.items[i]);
        (void)printf(" isLeader=%s", strcmp(member->id, leader) == 0 ? "true" : "false");
    }
    (void)putchar('\n');
}

/* The leader's id; NULL: it has said why not. */
static const char *leader_get(struct v2 *self)
{
    const struct v2_request request = {.method = "GET", .path = MEMBERS_PATH "/leader"};
    struct client_page page;
    if (v2_ask(self, &request, V2_BAD_ARGS, self->arena, &page))
        return NULL;
    struct json_object *object = v2_json_read(page.body);
    const char *id = object ? v2_json_string(object, "id", self->arena) : "";
    const char *why = object ? v2_json_string(object, "message", self->arena) : "";
    json_object_put(object);
    if (id[0])
        return id;
    (void)fprintf(stderr, "Failed to get leader:  %s\n", why[0] ? why : "unexpected answer");
    return NULL;
}

int v2_run_member_list(struct v2 *self, const void *options, struct strings args)
{
    struct v2_members members;
    if (args.count) {
        (void)fputs("No arguments accepted\n", stderr);
        return V2_BAD_ARGS;
    }
    int code = v2_sync(self);
    if (!code)
        code = v2_members_get(self, V2_BAD_ARGS, &members);
    if (code)
        return code;
    const char *leader = leader_get(self);
    if (!leader)
        return V2_BAD_ARGS;
    for (unsigned i = 0; i < members.count; i++)
        member_print(&members.items[i], leader);
    return V2_OK;
}

/* ---- changes ---------------------------------------------------------------------------- */

static int plain_fail(const char *text)
{
    (void)fflush(stdout);
    (void)fprintf(stderr, "%s\n", text);
    return V2_BAD_ARGS;
}

/* A refusal's {"message": …}, or what else can be said of it. */
static int refused(struct v2 *self, const struct client_page *page)
{
    struct json_object *object = v2_json_read(page->body);
    const char *why = object ? v2_json_string(object, "message", self->arena) : "";
    json_object_put(object);
    return plain_fail(
        why[0] ? why : arena_printf(self->arena, "unexpected status code %u", page->status));
}

/* As etcd's tool, which asks nobody for what it can see itself. */
static int urls_check(struct v2 *self, struct strings urls)
{
    for (unsigned i = 0; i < urls.count; i++) {
        struct url url;
        const char *why;
        if (!err_ok(url_parse(self->arena, bytes_str(urls.items[i]), &url, &why)))
            return plain_fail(why);
    }
    return V2_OK;
}

static const char *urls_json(struct v2 *self, struct strings urls)
{
    struct buf AUTO(buf_done) out;
    buf_init(&out, 0);
    CHECK(err_ok(buf_append(&out, BYTES_LIT("{\"peerURLs\":["))));
    for (unsigned i = 0; i < urls.count; i++) {
        CHECK(err_ok(buf_append(&out, i ? BYTES_LIT(",") : BYTES_NONE)));
        CHECK(err_ok(wire_json_write_string(bytes_str(urls.items[i]), WIRE_JSON_GO, &out)));
    }
    CHECK(err_ok(buf_append(&out, BYTES_LIT("]}"))));
    return arena_copy_str(self->arena, buf_bytes(&out));
}

static int change(struct v2 *self, const char *method, const char *path, const char *body,
                  struct client_page *ret_page)
{
    const struct v2_request request = {
        .method = method,
        .path = path,
        .content_type = body ? "application/json" : NULL,
        .body = body,
        .plain = true,
    };
    int code = v2_ask(self, &request, V2_BAD_ARGS, self->arena, ret_page);
    if (code)
        return code;
    return ret_page->status / 100 == 2 ? V2_OK : refused(self, ret_page);
}

/* The settings that the new member starts with. */
static int settings_print(struct v2 *self, const char *name, const char *id)
{
    struct v2_members members;
    const char *list = "", *comma = "";
    int code = v2_members_get(self, V2_BAD_ARGS, &members);
    if (code)
        return code;
    for (unsigned i = 0; i < members.count; i++) {
        const struct v2_member *member = &members.items[i];
        for (unsigned u = 0; u < member->peer_urls.count; u++) {
            list = arena_printf(self->arena, "%s%s%s=%s", list, comma,
                                strcmp(member->id, id) == 0 ? name : member->name,
                                member->peer_urls.items[u]);
            comma = ",";
        }
    }
    (void)fputs("\nETCD_NAME=", stdout);
    text_quote(stdout, bytes_str(name));
    (void)fputs("\nETCD_INITIAL_CLUSTER=", stdout);
    text_quote(stdout, bytes_str(list));
    (void)fputs("\nETCD_INITIAL_CLUSTER_STATE=\"existing\"\n", stdout);
    return V2_OK;
}

int v2_run_member_add(struct v2 *self, const void *options, struct strings args)
{
    struct client_page page;
    if (args.count != 2)
        return plain_fail("Provide a name and a single member peerURL");
    const struct strings urls = {args.items + 1, 1};
    int code = v2_sync(self);
    if (!code)
        code = urls_check(self, urls);
    if (!code)
        code = change(self, "POST", MEMBERS_PATH, urls_json(self, urls), &page);
    if (code)
        return code;
    struct json_object *object = v2_json_read(page.body);
    const char *id = object ? v2_json_string(object, "id", self->arena) : "";
    json_object_put(object);
    (void)printf("Added member named %s with ID %s to cluster\n", args.items[0], id);
    return settings_print(self, args.items[0], id);
}

int v2_run_member_remove(struct v2 *self, const void *options, struct strings args)
{
    struct v2_members members;
    struct client_page page;
    bool found = false;
    if (args.count != 1)
        return plain_fail("Provide a single member ID");
    int code = v2_sync(self);
    if (!code)
        code = v2_members_get(self, V2_BAD_ARGS, &members);
    if (code)
        return code;
    for (unsigned i = 0; i < members.count; i++)
        found = found || strcmp(members.items[i].id, args.items[0]) == 0;
    if (!found)
        return plain_fail(arena_printf(
            self->arena, "Couldn't find a member in the cluster with an ID of %s.", args.items[0]));
    const char *path = arena_printf(self->arena, MEMBERS_PATH "/%s", args.items[0]);
    code = change(self, "DELETE", path, NULL, &page);
    if (!code)
        (void)printf("Removed member %s from cluster\n", args.items[0]);
    return code;
}

int v2_run_member_update(struct v2 *self, const void *options, struct strings args)
{
    struct client_page page;
    if (args.count != 2)
        return plain_fail(
            "Provide an ID and a list of comma separated peerURL (0xabcd "
            "http://example.com,http://example1.com)");
    int code = v2_sync(self);
    const char *path =
        arena_printf(self->arena, MEMBERS_PATH "/%s", v2_path_escape(args.items[0], self->arena));
    struct strings urls = strings_split(args.items[1], self->arena);
    static const char *const none[] = {""};
    if (urls.count == 0) /* Go splits "" into one */
        urls = (struct strings){none, 1};
    if (!code)
        code = urls_check(self, urls);
    if (!code)
        code = change(self, "PUT", path, urls_json(self, urls), &page);
    if (!code)
        (void)printf("Updated member with ID %s in cluster\n", args.items[0]);
    return code;
}
