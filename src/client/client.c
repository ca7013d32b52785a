#include "base/check.h"
#include "base/seed.h"
#include "client/client_internal.h"
#include "etcdserverpb.pb-c.h"

#include <stdlib.h>
#include <string.h>

#define DIAL_STAGGER_MS      250
#define DIAL_TIMEOUT_MS      2000
#define KEEPALIVE_TIMEOUT_MS 6000
#define SEND_BYTES_MAX       (2U << 20)
#define RECEIVE_BYTES_MAX    INT32_MAX

#define X(name_, path_, response_, read_)                               \
    const struct client_method client_##name_ = (struct client_method){ \
        .path = (path_), .response = &response_##__descriptor, .read = (read_)};
#include "client/method_table.h"
#undef X

/* ---- which endpoint --------------------------------------------------------------------- */

struct link *client_pick(struct client *self, int endpoint)
{
    if (endpoint != CLIENT_ANY_ENDPOINT)
        return link_usable(&self->links[endpoint]) ? &self->links[endpoint] : NULL;
    for (unsigned i = 0; i < self->link_count; i++) {
        struct link *link = &self->links[(self->next + i) % self->link_count];
        if (!link_usable(link))
            continue;
        self->next = (unsigned)(link - self->links + 1) % self->link_count;
        return link;
    }
    return NULL;
}

const char *client_failure(const struct client *self, int endpoint)
{
    if (endpoint != CLIENT_ANY_ENDPOINT)
        return self->links[endpoint].failure;
    for (unsigned i = 0; i < self->link_count; i++)
        if (self->links[i].failure[0] && !self->links[i].bad)
            return self->links[i].failure;
    return self->links[0].failure;
}

/* Connects an idle endpoint that need not be left alone. False: it is not one. */
static bool dial(struct client *self, struct link *link, uint64_t now_ms)
{
    if (link->state != LINK_IDLE || link->bad)
        return false;
    if (now_ms < link->not_before_ms) {
        hub_wake_at(&self->hub, link->not_before_ms);
        return false;
    }
    link_connect(link);
    return true;
}

/* For calls that take any endpoint: one more attempt each DIAL_STAGGER_MS, or at once where none
 * is under way. */
static void dial_any(struct client *self, uint64_t now_ms)
{
    unsigned dialing = 0;
    for (unsigned i = 0; i < self->link_count; i++)
        dialing += link_dialing(&self->links[i]);
    if (dialing > 0 && now_ms < self->last_dial_ms + DIAL_STAGGER_MS) {
        hub_wake_at(&self->hub, self->last_dial_ms + DIAL_STAGGER_MS);
        return;
    }
    for (unsigned i = 0; i < self->link_count; i++) {
        unsigned at = (self->next_dial + i) % self->link_count;
        if (!dial(self, &self->links[at], now_ms))
            continue;
        self->next_dial = (at + 1) % self->link_count;
        self->last_dial_ms = now_ms;
        hub_wake_at(&self->hub, now_ms + DIAL_STAGGER_MS);
        return;
    }
}

static void service(void *ctx)
{
    struct client *self = ctx;
    uint64_t now_ms = io_loop_now_ms(self->hub.loop);
    bool any = false;
    LIST_FOREACH_SAFE (node, after, &self->waiting) {
        struct client_call *call = LIST_ENTRY(node, struct client_call, node);
        if (call_serve(call, now_ms))
            continue;
        if (call->request.endpoint == CLIENT_ANY_ENDPOINT)
            any = true;
        else
            (void)dial(self, &self->links[call->request.endpoint], now_ms);
    }
    if (any)
        dial_any(self, now_ms);
    for (unsigned i = 0; i < self->link_count; i++) {
        if (self->eager)
            (void)dial(self, &self->links[i], now_ms);
        link_check_deadline(&self->links[i], now_ms);
    }
    for (struct list *node; (node = list_pop(&self->ended));)
        call_done(LIST_ENTRY(node, struct client_call, node));
}

/* ---- birth and death -------------------------------------------------------------------- */

static struct rpc_limits limits_of(const struct client_config *config)
{
    struct rpc_limits limits = rpc_limits_default();
    limits.receive_bytes_max =
        config->receive_bytes_max ? config->receive_bytes_max : RECEIVE_BYTES_MAX;
    limits.send_bytes_max = config->send_bytes_max ? config->send_bytes_max : SEND_BYTES_MAX;
    return limits;
}

static void links_init(struct client *self, struct endpoint *endpoints, const bool *bad)
{
    for (unsigned i = 0; i < self->link_count; i++)
        link_init(&self->links[i], &self->hub, &self->link_config, &endpoints[i], bad[i]);
}

static err endpoints_parse(const struct client_config *config, struct endpoint *endpoints,
                           bool *bad)
{
    unsigned good = 0;
    for (unsigned i = 0; i < config->endpoint_count; i++) {
        bad[i] = !err_ok(endpoint_parse(bytes_str(config->endpoints[i]), &endpoints[i]));
        if (!bad[i] && endpoints[i].tls)
            return ERR_UNSUPPORTED;
        good += !bad[i];
    }
    return good ? OK : ERR_SYNTAX;
}

static void client_begin(struct client *self, struct io_loop *loop,
                         const struct client_config *config)
{
    const struct rpc_limits limits = limits_of(config);
    io_loop_refresh(loop);
    hub_init(&self->hub, loop, &limits, service, self);
    list_init(&self->waiting);
    list_init(&self->sent);
    list_init(&self->ended);
    prng_init(&self->prng, seed_new());
    self->next_dial = (unsigned)prng_below(&self->prng, self->link_count);
    self->send_bytes_max = limits.send_bytes_max;
    self->eager = config->eager;
    self->user_agent = config->user_agent ? strdup(config->user_agent) : NULL;
    self->link_config = (struct link_config){
        .protocol = RPC_CLIENT_HTTP2,
        .user_agent = self->user_agent ? bytes_str(self->user_agent) : BYTES_NONE,
        .dial_timeout_ms = config->dial_timeout_ms ? config->dial_timeout_ms : DIAL_TIMEOUT_MS,
        .ping_interval_ms = config->keepalive_time_ms,
        .ping_timeout_ms =
            config->keepalive_timeout_ms ? config->keepalive_timeout_ms : KEEPALIVE_TIMEOUT_MS,
    };
}

err client_new(struct io_loop *loop, const struct client_config *config, struct client **ret_client)
{
    unsigned count = config->endpoint_count;
    if (count == 0)
        return ERR_USAGE;
    struct endpoint *endpoints = calloc(count, sizeof(*endpoints));
    bool *bad = calloc(count, sizeof(*bad));
    struct client *self = calloc(1, sizeof(*self));
    CHECK(endpoints && bad && self);
    err e = endpoints_parse(config, endpoints, bad);
    if (err_ok(e)) {
        self->links = calloc(count, sizeof(*self->links));
        CHECK(self->links);
        self->link_count = count;
        client_begin(self, loop, config);
        links_init(self, endpoints, bad);
        hub_touch(&self->hub);
        *ret_client = TAKE(self);
    }
    for (unsigned i = 0; i < count; i++)
        endpoint_done(&endpoints[i]);
    free(endpoints);
    free(bad);
    free(self);
    return e;
}

void client_free(struct client *self)
{
    if (!self)
        return;
    self->closing = true;
    for (struct list *node; !list_empty(&self->waiting);) {
        node = self->waiting.next;
        call_end(LIST_ENTRY(node, struct client_call, node), GRPC_CANCELLED, true,
                 BYTES_LIT("context canceled"));
    }
    for (unsigned i = 0; i < self->link_count; i++)
        link_done(&self->links[i]);
    CHECK(list_empty(&self->sent));
    for (struct list *node; (node = list_pop(&self->ended));)
        call_done(LIST_ENTRY(node, struct client_call, node));
    hub_done(&self->hub);
    free(self->links);
    free(self->user_agent);
    free(self);
}

bool client_looking_up(const struct client *self)
{
    return !list_empty(&self->hub.lookups);
}

unsigned client_endpoint_count(const struct client *self)
{
    return self->link_count;
}

const char *client_endpoint(const struct client *self, unsigned index)
{
    CHECK(index < self->link_count);
    return self->links[index].endpoint.text;
}

const char *client_endpoint_failure(const struct client *self, unsigned index)
{
    CHECK(index < self->link_count);
    return self->links[index].failure;
}
