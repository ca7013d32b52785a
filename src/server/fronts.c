#include "server/fronts.h"

#include "base/check.h"
#include "server/notices.h"

#include <stdlib.h>
#include <unistd.h>

/* CORACLE_FRONTS=N chooses the map of roles to loops: 0 is core and front on one. */
static unsigned fronts_wanted(void)
{
    const char *chosen = getenv("CORACLE_FRONTS");
    if (chosen && chosen[0] >= '0' && chosen[0] <= '8' && chosen[1] == '\0')
        return (unsigned)(chosen[0] - '0');
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (cores <= 2)
        return 0;
    return cores - 2 > FRONTS_MAX ? FRONTS_MAX : (unsigned)(cores - 2);
}

void fronts_init(struct fronts *self)
{
    unsigned wanted = fronts_wanted();
    *self = (struct fronts){.apart = wanted > 0, .count = wanted ? wanted : 1};
}

/* ── Making ─────────────────────────────────────────────────────────────────────────────────── */

static const char **list_of(const struct str_list *list)
{
    const char **copy = calloc(list->count + 1, sizeof(copy[0]));
    CHECK(copy);
    for (size_t i = 0; i < list->count; i++)
        copy[i] = list->items[i];
    return copy;
}

/* 0 is etcd's ten minutes; shorter than 100 ms is not. */
static uint64_t watch_progress_ms(const struct config *config)
{
    int64_t ms = config->watch_progress_ns / 1000000;
    if (config->watch_progress_ns <= 0)
        return 600000;
    return ms < 100 ? 100 : (uint64_t)ms;
}

static err make_front(struct fronts *self, const struct fronts_config *shared, unsigned index)
{
    const struct config *config = shared->config;
    if (self->apart)
        TRY(io_loop_new(&self->loops[index]));
    else
        self->loops[index] = shared->loop;
    struct front_config front = {
        .index = index,
        .loop = self->loops[index],
        .epoch = shared->epoch,
        .epoch_slot = self->apart ? epoch_register(shared->epoch) : shared->epoch_slot,
        .replica = shared->replica,
        .pins = shared->pins,
        .core = shared->core,
        .ids = shared->ids,
        .cluster_id = shared->cluster_id,
        .member_id = shared->member_id,
        .max_request_bytes = config->max_request_bytes,
        .max_txn_ops = config->max_txn_ops,
        .max_concurrent_streams = config->max_concurrent_streams > UINT32_MAX
                                      ? UINT32_MAX
                                      : (uint32_t)config->max_concurrent_streams,
        .keepalive_min_ms = (uint64_t)config->keepalive_min_ns / 1000000,
        .keepalive_interval_ms = (uint64_t)config->keepalive_interval_ns / 1000000,
        .keepalive_timeout_ms = (uint64_t)config->keepalive_timeout_ns / 1000000,
        .election_timeout_ms = config->election_timeout_ms,
        .warning_unary_ns = config->warning_unary_ns > 0 ? (uint64_t)config->warning_unary_ns : 0,
        .slow = notice_slow_call,
        .snapshot = notice_snapshot,
        .workers = shared->workers,
        .quota_bytes = config_quota_bytes(config),
        .watch_progress_ms = watch_progress_ms(config),
        .seed = shared->seed + index,
        .gateway = config->enable_gateway,
        .enable_v2 = config->enable_v2,
        .cors = self->cors,
        .host_whitelist = self->hosts};
    TRY(front_new(&front, &self->items[index]));
    self->inboxes[index] = front_inbox(self->items[index]);
    return OK;
}

err fronts_open(struct fronts *self, const struct fronts_config *config)
{
    self->cors = list_of(&config->config->cors);
    self->hosts = list_of(&config->config->host_whitelist);
    for (unsigned i = 0; i < self->count; i++)
        TRY(make_front(self, config, i));
    return OK;
}

static void *front_main(void *loop)
{
    io_loop_run(loop);
    return NULL;
}

err fronts_start(struct fronts *self)
{
    for (unsigned i = 0; self->apart && i < self->count; i++)
        if (pthread_create(&self->threads[i], NULL, front_main, self->loops[i]) != 0)
            return ERR_LIMIT;
    self->running = true;
    return OK;
}

/* ── Living ─────────────────────────────────────────────────────────────────────────────────── */

struct accepted {
    struct io_task task;
    struct front *front;
    int fd;
    enum front_kind kind;
};

static void accepted_run(struct io_task *task)
{
    struct accepted *self = LIST_ENTRY(task, struct accepted, task);
    front_accept(self->front, self->fd, self->kind);
    free(self);
}

void fronts_accept(struct fronts *self, int fd, enum front_kind kind)
{
    unsigned best = 0;
    for (unsigned i = 1; i < self->count; i++)
        if (front_conn_count(self->items[i]) < front_conn_count(self->items[best]))
            best = i;
    if (!self->apart) {
        front_accept(self->items[best], fd, kind);
        return;
    }
    struct accepted *accepted = calloc(1, sizeof(*accepted));
    CHECK(accepted);
    *accepted = (struct accepted){.front = self->items[best], .fd = fd, .kind = kind};
    accepted->task.run = accepted_run;
    io_loop_post(self->loops[best], &accepted->task);
}

void fronts_wake(struct fronts *self)
{
    for (unsigned i = 0; i < self->count; i++)
        io_loop_wake(self->loops[i]);
}

void fronts_view_changed(struct fronts *self, const struct replica_view *view)
{
    for (unsigned i = 0; i < self->count; i++)
        if (self->items[i])
            front_view_changed(self->items[i], view);
}

struct front_order {
    struct io_task task;
    struct front *front;
    void (*what)(struct front *front);
};

static void front_order_run(struct io_task *task)
{
    struct front_order *self = LIST_ENTRY(task, struct front_order, task);
    self->what(self->front);
    free(self);
}

void fronts_tell(struct fronts *self, void (*what)(struct front *front))
{
    for (unsigned i = 0; i < self->count; i++) {
        if (!self->items[i])
            continue; /* the start has failed before */
        if (!self->apart) {
            what(self->items[i]);
            continue;
        }
        struct front_order *order = calloc(1, sizeof(*order));
        CHECK(order);
        *order = (struct front_order){.front = self->items[i], .what = what};
        order->task.run = front_order_run;
        io_loop_post(self->loops[i], &order->task);
    }
}

bool fronts_idle(const struct fronts *self)
{
    for (unsigned i = 0; i < self->count; i++)
        if (front_conn_count(self->items[i]))
            return false;
    return true;
}

/* ── The end ────────────────────────────────────────────────────────────────────────────────── */

void fronts_stop(struct fronts *self)
{
    fronts_tell(self, front_end_streams);
    for (unsigned i = 0; self->apart && self->running && i < self->count; i++) {
        io_loop_stop(self->loops[i]);
        (void)pthread_join(self->threads[i], NULL);
    }
}

void fronts_close(struct fronts *self)
{
    for (unsigned i = 0; i < self->count; i++)
        front_close(self->items[i]);
}

void fronts_free(struct fronts *self)
{
    for (unsigned i = 0; i < self->count; i++)
        front_free(self->items[i]);
}

void fronts_loops_free(struct fronts *self)
{
    for (unsigned i = 0; self->apart && i < self->count; i++)
        io_loop_free(self->loops[i]);
    free(self->cors);
    free(self->hosts);
}
