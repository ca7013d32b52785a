/* Answers that are texts made of the view: who the members are, which versions run. */
#include "peer/peers_internal.h"

#include <stdio.h>

#define JSON           "application/json"
#define PAGE_BYTES_MAX ((size_t)4 << 20)

void peer_serve_members(struct peers *self, struct http_exchange *exchange)
{
    const struct replica_view *view = self->handler.view(self->ctx);
    const struct membership *members = view->members;
    struct buf page;
    buf_init(&page, PAGE_BYTES_MAX);
    err e = buf_append(&page, BYTES_LIT("["));
    for (size_t i = 0; i < members->count && err_ok(e); i++) {
        if (i)
            e = buf_append(&page, BYTES_LIT(","));
        if (err_ok(e))
            e = member_put_json(&members->members[i], &page);
    }
    if (err_ok(e))
        e = buf_append(&page, BYTES_LIT("]\n"));
    if (err_ok(e))
        peer_serve_body_at(self, exchange, view->applied_index, JSON, buf_bytes(&page));
    else
        peer_serve_text(self, exchange, 500, "the list of members is too long");
    buf_done(&page);
}

static void serve_version(struct peers *self, struct http_exchange *exchange)
{
    const struct replica_view *view = self->handler.view(self->ctx);
    char cluster[CLUSTER_VERSION_TEXT_MAX];
    char storage[CLUSTER_VERSION_TEXT_MAX];
    char text[160];
    const char *storage_text = view->storage_version.major
                                   ? cluster_version_text(view->storage_version, storage)
                                   : "unknown";
    int n = snprintf(
        text, sizeof(text), "{\"etcdserver\":\"%s\",\"etcdcluster\":\"%s\",\"storage\":\"%s\"}",
        self->server_version_text, cluster_version_text(view->version, cluster), storage_text);
    peer_serve_body(self, exchange, 200, JSON, bytes_of(text, (size_t)n));
}

/* Parts of the interface whose feature is still to come: refused by name. */
static const struct {
    const char *path;
    const char *method;
    bool prefix;
} missing[] = {
    {"/members/promote/", "POST", true},
    {"/downgrade/enabled", "GET", false},
};

static bool serve_missing(struct peers *self, struct http_exchange *exchange, struct bytes path)
{
    for (size_t i = 0; i < sizeof(missing) / sizeof(missing[0]); i++) {
        struct bytes known = bytes_str(missing[i].path);
        if (!(missing[i].prefix ? bytes_has_prefix(path, known) : bytes_equal(path, known)))
            continue;
        if (!bytes_equal(http_exchange_method(exchange), bytes_str(missing[i].method)))
            peer_serve_method_not_allowed(exchange, missing[i].method);
        else
            peer_serve_text(self, exchange, 501, "not supported by this member yet");
        return true;
    }
    return false;
}

void peer_pages_serve(struct peers *self, struct http_exchange *exchange, struct bytes path)
{
    bool members = bytes_equal(path, BYTES_LIT("/members"));
    bool version = bytes_equal(path, BYTES_LIT("/version"));
    if (serve_missing(self, exchange, path))
        return;
    if (!members && !version) {
        peer_serve_text(self, exchange, 404, "404 page not found");
        return;
    }
    if (!bytes_equal(http_exchange_method(exchange), BYTES_LIT("GET")))
        peer_serve_method_not_allowed(exchange, "GET");
    else if (members)
        peer_serve_members(self, exchange);
    else
        serve_version(self, exchange);
}
