#include "client/hub.h"

#include "client/link.h"

#define SERVICE_ROUNDS_MAX 8

static void on_timer(void *ctx)
{
    hub_touch(ctx);
}

static void sockets_run(struct hub *self)
{
    struct io_socket *socket;
    struct list again;
    list_init(&again);
    while ((socket = io_socket_take_ready(&self->ready)))
        if (link_ready(socket->owner))
            list_push(&again, &socket->ready_node);
    for (struct list *node; (node = list_pop(&again));)
        list_push(&self->ready, node);
}

static void output_run(struct hub *self)
{
    LIST_FOREACH (node, &self->links)
        link_flush(LIST_ENTRY(node, struct link, hub_node));
}

static bool run(void *ctx)
{
    struct hub *self = ctx;
    uint64_t now_ms = io_loop_now_ms(self->loop);
    rpc_pool_set_now(self->pool, now_ms);
    sockets_run(self);
    if (rpc_pool_next_ms(self->pool) <= now_ms)
        rpc_pool_tick(self->pool, now_ms);
    for (int i = 0; i < SERVICE_ROUNDS_MAX; i++) {
        self->changed = false;
        self->wake_ms = UINT64_MAX;
        self->service(self->ctx);
        output_run(self);
        if (!self->changed)
            break;
    }
    uint64_t next_ms = rpc_pool_next_ms(self->pool);
    if (self->wake_ms < next_ms)
        next_ms = self->wake_ms;
    if (next_ms == UINT64_MAX)
        io_loop_timer_stop(self->loop, &self->timer);
    else
        io_loop_timer_at(self->loop, &self->timer, next_ms);
    return self->changed || !list_empty(&self->ready);
}

void hub_init(struct hub *self, struct io_loop *loop, const struct rpc_limits *limits,
              void (*service)(void *ctx), void *ctx)
{
    *self = (struct hub){.loop = loop,
                         .pool = rpc_pool_new(limits, io_loop_now_ms(loop)),
                         .wake_ms = UINT64_MAX,
                         .service = service,
                         .ctx = ctx,
                         .stage = {.run = run, .ctx = self}};
    list_init(&self->ready);
    list_init(&self->links);
    list_init(&self->lookups);
    list_init(&self->stage.node);
    io_timer_init(&self->timer, on_timer, self);
    io_loop_stage_add(loop, &self->stage);
}

void hub_done(struct hub *self)
{
    io_loop_stage_remove(self->loop, &self->stage);
    io_loop_timer_stop(self->loop, &self->timer);
    io_workers_free(self->workers);
    while (list_pop(&self->lookups)) { /* done, but their loop has not said so yet */
    }
    rpc_pool_free(self->pool);
}

void hub_touch(struct hub *self)
{
    self->changed = true;
    io_loop_wake(self->loop);
}

void hub_wake_at(struct hub *self, uint64_t at_ms)
{
    if (at_ms < self->wake_ms)
        self->wake_ms = at_ms;
}

err hub_workers(struct hub *self, struct io_workers **ret_workers)
{
    if (!self->workers)
        TRY(io_workers_new(1, &self->workers));
    *ret_workers = self->workers;
    return OK;
}
