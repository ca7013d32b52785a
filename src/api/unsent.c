#include "api/unsent.h"

/* Connections below it are not looked at: they have that much at hand in passing. */
#define LARGE_BYTES ((size_t)1 << 20)
/* How long one may stay above it, where there is no room for all. */
#define PATIENCE_MS 10000
#define LOOK_MS     1000

void unsent_note(struct client_conn *conn)
{
    struct front *front = conn->front;
    if (rpc_conn_unsent_bytes(conn->rpc) <= LARGE_BYTES) {
        conn->large_since_ms = 0;
        return;
    }
    if (conn->large_since_ms)
        return;
    conn->large_since_ms = io_loop_now_ms(front->config.loop);
    if (!front->unsent_looks)
        io_loop_timer_after(front->config.loop, &front->unsent_timer, LOOK_MS);
    front->unsent_looks = true;
}

/* *ret_largest: of those that have been large for long enough; NULL: none. */
static size_t add_up(struct front *front, bool *ret_any, struct client_conn **ret_largest)
{
    uint64_t now_ms = io_loop_now_ms(front->config.loop);
    size_t all = 0, most = 0;
    *ret_any = false;
    *ret_largest = NULL;
    LIST_FOREACH (node, &front->conns) {
        struct client_conn *conn = LIST_ENTRY(node, struct client_conn, node);
        if (!conn->large_since_ms || conn->closing)
            continue;
        size_t bytes = rpc_conn_unsent_bytes(conn->rpc);
        all += bytes;
        *ret_any = true;
        if (bytes > most && now_ms >= conn->large_since_ms + PATIENCE_MS) {
            most = bytes;
            *ret_largest = conn;
        }
    }
    return all;
}

static void look(void *ctx)
{
    struct front *front = ctx;
    bool any;
    struct client_conn *largest;
    while (add_up(front, &any, &largest) > FRONT_UNSENT_BYTES_MAX && largest) {
        front_has_output(largest); /* where it is freed */
        largest->closing = true;
    }
    front->unsent_looks = any;
    if (any)
        io_loop_timer_after(front->config.loop, &front->unsent_timer, LOOK_MS);
}

void unsent_init(struct front *front)
{
    io_timer_init(&front->unsent_timer, look, front);
}

void unsent_done(struct front *front)
{
    io_loop_timer_stop(front->config.loop, &front->unsent_timer);
}
