#include "client/page.h"

#include "client/link.h"

#include <string.h>

struct get {
    struct hub hub;
    struct link link;
    struct arena *arena;
    const struct client_page_request *request;
    uint64_t deadline_ms;
    struct client_page page;
    err result;
    bool started; /* the fetch */
    bool headed;  /* the response has begun */
    bool over;
};

static void get_end(struct get *self, err result, const char *failure)
{
    if (self->over)
        return;
    self->over = true;
    self->result = result;
    if (!err_ok(result))
        self->page.failure = arena_copy_str(self->arena, bytes_str(failure));
    io_loop_stop(self->hub.loop);
}

static void on_response(void *ctx, struct http_fetch *fetch, unsigned status)
{
    struct get *self = ctx;
    self->headed = true;
    self->page.status = status;
    if (self->request->header)
        self->page.header =
            arena_copy(self->arena, http_fetch_header(fetch, self->request->header));
}

static void on_body(void *ctx, struct http_fetch *fetch, struct bytes piece)
{
    struct get *self = ctx;
    self->page.body = arena_copy(self->arena, piece);
}

static const char *fetch_failure(err e)
{
    switch (e.code) {
    case ERR_CLOSED_:
        return "EOF";
    case ERR_TIMED_OUT_:
        return "context deadline exceeded";
    default:
        return err_text(e);
    }
}

static void on_closed(void *ctx, struct http_fetch *fetch, err result)
{
    get_end(ctx, result, fetch_failure(result));
}

static void start(struct get *self, uint64_t now_ms)
{
    static const struct http_fetch_handler handler = {
        .response = on_response, .body = on_body, .closed = on_closed};
    const struct client_page_request *request = self->request;
    const struct http_header content_type = {
        BYTES_LIT("content-type"),
        request->content_type ? bytes_str(request->content_type) : BYTES_NONE};
    const struct http_fetch_start fetch = {
        .method = bytes_str(request->method),
        .target = bytes_str(request->path),
        .headers = &content_type,
        .header_count = request->content_type ? 1 : 0,
        .body = request->body,
        .collect_bytes_max = CLIENT_PAGE_BYTES_MAX,
        .timeout_ms = request->waits ? UINT64_MAX : self->deadline_ms - now_ms,
    };
    struct http_fetch *started;
    self->started = true;
    err e = http_fetch_start(self->link.rpc, &fetch, &handler, self, &started);
    if (!err_ok(e))
        get_end(self, e, "EOF");
}

static void service(void *ctx)
{
    struct get *self = ctx;
    uint64_t now_ms = io_loop_now_ms(self->hub.loop);
    if (self->over)
        return;
    link_check_deadline(&self->link, now_ms);
    if (self->started && !self->headed && now_ms >= self->deadline_ms)
        get_end(self, ERR_TIMED_OUT, fetch_failure(ERR_TIMED_OUT));
    else if (link_usable(&self->link) && !self->started)
        start(self, now_ms);
    else if (self->link.state == LINK_IDLE && self->link.failure[0])
        get_end(self, self->link.failed, self->link.failure);
    if (!self->headed)
        hub_wake_at(&self->hub, self->deadline_ms);
}

static err get_run(struct io_loop *loop, struct endpoint *endpoint, struct get *self)
{
    const struct rpc_limits limits = rpc_limits_default();
    const char *user_agent = self->request->user_agent;
    const struct link_config config = {
        .protocol = RPC_CLIENT_HTTP1,
        .user_agent = user_agent ? bytes_str(user_agent) : BYTES_NONE,
        .dial_timeout_ms = self->request->timeout_ms,
    };
    self->deadline_ms = io_loop_now_ms(loop) + self->request->timeout_ms;
    hub_init(&self->hub, loop, &limits, service, self);
    link_init(&self->link, &self->hub, &config, endpoint, false);
    link_connect(&self->link);
    hub_touch(&self->hub);
    while (!self->over)
        io_loop_run(loop);
    link_done(&self->link);
    hub_done(&self->hub);
    return self->result;
}

err client_page_fetch(const struct client_page_request *request, struct arena *arena,
                      struct client_page *ret_page)
{
    struct endpoint AUTO(endpoint_done) endpoint;
    struct get self = {.arena = arena, .request = request};
    struct io_loop *loop = NULL;
    err e = endpoint_parse(bytes_str(request->base), &endpoint);
    *ret_page = (struct client_page){0};
    if (!err_ok(e))
        ret_page->failure =
            arena_printf(arena, "parse \"%s\": no address with a port", request->base);
    else if (endpoint.tls)
        e = ERR_UNSUPPORTED;
    if (!err_ok(e)) {
        if (!ret_page->failure)
            ret_page->failure = "https is not supported yet";
        return e;
    }
    TRY(io_loop_new(&loop));
    e = get_run(loop, &endpoint, &self);
    io_loop_run_once(loop, 0);
    io_loop_free(loop);
    *ret_page = self.page;
    return e;
}
