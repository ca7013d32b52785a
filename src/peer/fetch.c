#include "peer/fetch.h"
#include "peer/peers_internal.h"

#include "base/check.h"

#include <stdlib.h>

#define ARENA_BLOCK_BYTES 4096
#define INDEX_DIGITS_MAX  19

struct peer_fetch {
    struct peer_fetch_config config;
    struct link_net net;
    struct io_stage input_stage, output_stage;
    struct io_timer timer; /* of the URL that is being asked */
    char **urls;
    size_t url_count, url_at;
    struct peer_link *link;
    struct buf answer;
    struct arena arena;
    err error; /* of the last that answered wrongly; else ERR_UNREACHABLE */
    bool begun;
    bool over;
};

static void peer_fetch_free(struct peer_fetch *self)
{
    io_loop_timer_stop(self->config.loop, &self->timer);
    io_loop_stage_remove(self->config.loop, &self->input_stage);
    io_loop_stage_remove(self->config.loop, &self->output_stage);
    peer_link_close(TAKE(self->link));
    peer_link_net_done(&self->net);
    for (size_t i = 0; i < self->url_count; i++)
        free(self->urls[i]);
    free(self->urls);
    buf_done(&self->answer);
    arena_done(&self->arena);
    free(self);
}

static void ask_next(struct peer_fetch *self);

static void url_failed(struct peer_fetch *self, err why)
{
    if (!err_is(why, ERR_UNREACHABLE))
        self->error = why;
    peer_link_close(TAKE(self->link));
    self->url_at++;
    ask_next(self);
}

static void on_opened(void *ctx, struct peer_link *link)
{
    struct peer_fetch *self = ctx;
    static const char *const paths[] = {[PEER_FETCH_MEMBERS] = "/members",
                                        [PEER_FETCH_VERSION] = "/version",
                                        [PEER_FETCH_DOWNGRADE] = "/downgrade/enabled"};
    buf_clear(&self->answer);
    err e = peer_link_fetch(
        link, &(struct http_fetch_start){.method = BYTES_LIT("GET"),
                                         .target = bytes_str(paths[self->config.what]),
                                         .timeout_ms = self->config.timeout_ms});
    CHECK(err_ok(e)); /* it has just been opened */
}

static void on_body(void *ctx, struct peer_link *link, struct bytes piece)
{
    struct peer_fetch *self = ctx;
    if (self->link == link && !err_ok(buf_append(&self->answer, piece)))
        url_failed(self, ERR_SYNTAX);
}

/* 0: there is none. */
static uint64_t index_parse(struct bytes text)
{
    uint64_t index = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (i == INDEX_DIGITS_MAX || text.data[i] < '0' || text.data[i] > '9')
            return 0;
        index = index * 10 + (uint64_t)(text.data[i] - '0');
    }
    return index;
}

static err parse(struct peer_fetch *self, struct peer_link *link, struct peer_fetch_result *result)
{
    if (peer_link_status(link) != 200)
        return ERR_MISMATCH;
    if (self->config.what == PEER_FETCH_VERSION)
        return peer_version_parse(buf_bytes(&self->answer), result);
    if (self->config.what == PEER_FETCH_DOWNGRADE) {
        result->downgrading = bytes_equal(buf_bytes(&self->answer), BYTES_LIT("true"));
        return result->downgrading || bytes_equal(buf_bytes(&self->answer), BYTES_LIT("false"))
                   ? OK
                   : ERR_SYNTAX;
    }
    TRY(id_parse(peer_link_header(link, "X-Etcd-Cluster-ID"), &result->cluster_id));
    result->applied_index = index_parse(peer_link_header(link, "X-Raft-Index"));
    return peer_members_parse(buf_bytes(&self->answer), &self->arena, &result->members,
                              &result->member_count);
}

static void on_fetched(void *ctx, struct peer_link *link, err result)
{
    struct peer_fetch *self = ctx;
    if (self->link != link || !err_ok(result))
        return; /* closed comes next */
    struct peer_fetch_result found = {.url = self->urls[self->url_at]};
    err e = parse(self, link, &found);
    if (!err_ok(e)) {
        url_failed(self, e);
        return;
    }
    peer_link_close(TAKE(self->link));
    self->over = true;
    self->config.done(self->config.ctx, OK, &found);
}

static void on_closed(void *ctx, struct peer_link *link, err why)
{
    struct peer_fetch *self = ctx;
    if (self->link != link)
        return;
    self->link = NULL;
    url_failed(self, ERR_UNREACHABLE);
}

static const struct peer_link_owner owner = {
    .opened = on_opened, .body = on_body, .fetched = on_fetched, .closed = on_closed};

static void ask_next(struct peer_fetch *self)
{
    for (; self->url_at < self->url_count; self->url_at++) {
        struct peer_url url;
        err e = peer_url_init(&url, self->urls[self->url_at]);
        if (!err_ok(e)) {
            self->error = e;
            continue;
        }
        self->link = peer_link_dial(&self->net, &(struct peer_link_dial){
                                                    .url = &url,
                                                    .dial_timeout_ms = self->config.timeout_ms,
                                                    .read_timeout_ms = self->config.timeout_ms,
                                                    .owner = &owner,
                                                    .ctx = self,
                                                });
        io_loop_timer_after(self->config.loop, &self->timer, self->config.timeout_ms);
        peer_url_done(&url);
        return;
    }
    self->over = true;
    self->config.done(self->config.ctx, self->error, &(struct peer_fetch_result){0});
}

static void fire(void *ctx)
{
    struct peer_fetch *self = ctx;
    if (self->begun) {
        url_failed(self, ERR_UNREACHABLE);
        return;
    }
    self->begun = true;
    ask_next(self);
}

static bool run_input(void *ctx)
{
    struct peer_fetch *self = ctx;
    return peer_link_net_input(&self->net);
}

/* The last of a pass: here it may end its own life. */
static bool run_output(void *ctx)
{
    struct peer_fetch *self = ctx;
    bool more = peer_link_net_output(&self->net);
    if (!self->over)
        return more;
    peer_fetch_free(self);
    return false;
}

static void copy_urls(struct peer_fetch *self, const struct peer_fetch_config *config)
{
    self->urls = calloc(config->url_count, sizeof(*self->urls));
    CHECK(self->urls);
    for (size_t i = 0; i < config->url_count; i++) {
        self->urls[i] = strdup(config->urls[i]);
        CHECK(self->urls[i]);
    }
    self->url_count = config->url_count;
}

err peer_fetch_start(const struct peer_fetch_config *config, struct peer_fetch **ret_fetch)
{
    if (config->url_count == 0)
        return ERR_USAGE;
    if (config->url_count > PEER_FETCH_URLS_MAX)
        return ERR_LIMIT;
    struct peer_fetch *self = calloc(1, sizeof(*self));
    CHECK(self);
    self->config = *config;
    self->error = ERR_UNREACHABLE;
    copy_urls(self, config);
    buf_init(&self->answer, ANSWER_BYTES_MAX);
    arena_init(&self->arena, ARENA_BLOCK_BYTES);
    struct rpc_limits limits = rpc_limits_default();
    peer_link_net_init(&self->net, config->loop, config->workers, &limits);
    self->net.write_timeout_ms = config->timeout_ms;
    self->input_stage =
        (struct io_stage){.order = PEERS_STAGE_INPUT, .run = run_input, .ctx = self};
    self->output_stage =
        (struct io_stage){.order = PEERS_STAGE_OUTPUT, .run = run_output, .ctx = self};
    list_init(&self->input_stage.node);
    list_init(&self->output_stage.node);
    io_loop_stage_add(config->loop, &self->input_stage);
    io_loop_stage_add(config->loop, &self->output_stage);
    io_timer_init(&self->timer, fire, self);
    /* From the loop, so that done never comes before this returns. */
    io_loop_timer_after(config->loop, &self->timer, 0);
    *ret_fetch = self;
    return OK;
}

void peer_fetch_cancel(struct peer_fetch *self)
{
    if (self)
        peer_fetch_free(self);
}
