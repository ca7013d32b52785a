#include "etcdctl/v2.h"

#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define CHECK_PERIOD_S 10
#define USER_AGENT     "etcdctl"

/* The page's body, or NULL and why not. */
static const struct bytes *page_get(const struct v2 *self, const char *base, const char *path,
                                    struct client_page *page, const char **ret_why)
{
    const struct client_page_request request = {
        .base = base,
        .path = path,
        .method = "GET",
        .user_agent = USER_AGENT,
        .timeout_ms = self->timeout_ms,
    };
    if (err_ok(client_page_fetch(&request, self->arena, page)))
        return &page->body;
    *ret_why = page->failure;
    return NULL;
}

static bool health_read(struct bytes body, bool *ret_healthy)
{
    struct json_object *object = v2_json_read(body), *value;
    bool ok = object && json_object_object_get_ex(object, "health", &value);
    if (ok)
        *ret_healthy = strcmp(json_object_get_string(value), "true") == 0;
    json_object_put(object);
    return ok;
}

static void print_urls(struct strings urls)
{
    for (unsigned i = 0; i < urls.count; i++)
        (void)printf("%s%s", i ? " " : "", urls.items[i]);
}

static bool member_check(const struct v2 *self, const struct v2_member *member)
{
    if (member->client_urls.count == 0) {
        (void)printf("member %s is unreachable: no available published client urls\n", member->id);
        return false;
    }
    for (unsigned i = 0; i < member->client_urls.count; i++) {
        const char *url = member->client_urls.items[i], *why = "it told no health";
        struct client_page page;
        bool healthy = false;
        const struct bytes *body = page_get(self, url, "/health", &page, &why);
        if (!body) {
            (void)printf("failed to check the health of member %s on %s: Get \"%s/health\": %s\n",
                         member->id, url, url, why);
        } else if (!health_read(*body, &healthy)) {
            (void)printf("failed to check the health of member %s on %s: %s\n", member->id, url,
                         why);
        } else {
            const char *state = healthy ? "healthy" : "unhealthy";
            (void)printf("member %s is %s: got %s result from %s\n", member->id, state, state, url);
            return healthy;
        }
    }
    (void)printf("member %s is unreachable: [", member->id);
    print_urls(member->client_urls);
    (void)puts("] are all unreachable");
    return false;
}

static int check_once(struct v2 *self)
{
    struct v2_members members;
    unsigned healthy = 0;
    if (v2_members_get(self, V2_SERVER_ERROR, &members)) {
        (void)puts("cluster may be unhealthy: failed to list members");
        return V2_SERVER_ERROR;
    }
    for (unsigned i = 0; i < members.count; i++)
        healthy += member_check(self, &members.items[i]);
    if (healthy == members.count) {
        (void)puts("cluster is healthy");
        return V2_OK;
    }
    (void)puts(healthy > members.count / 2 ? "cluster is degraded" : "cluster is unavailable");
    return V2_NOT_HEALTHY;
}

int v2_cluster_health(struct v2 *self, bool forever)
{
    for (;;) {
        int code = check_once(self);
        if (!forever)
            return code;
        (void)printf("\nnext check after %d second...\n\n", CHECK_PERIOD_S);
        (void)fflush(stdout);
        struct timespec pause = {.tv_sec = CHECK_PERIOD_S};
        while (nanosleep(&pause, &pause) != 0) {
        }
    }
}
