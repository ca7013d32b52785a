/* One event loop a thread, whose order and budget are ours.
 *
 * libuv waits; a *pass* runs after each wait:
 *
 *     wait (epoll) ── marks sockets as ready, nothing else ──┐
 *       ▲                                                    ▼
 *       │                              now is read once a pass (io_loop_now_ms)
 *       │                              deadlines that have passed (at most 256)
 *       │                              tasks that were posted
 *       │                              stages, by their order
 *       └── zero wait while any stage said "more", else until the next deadline
 *
 * A stage does a slice (<= 1 ms) and says whether it has more to do.
 * Thread: all calls on the loop's own thread, but io_loop_wake, io_loop_post and io_loop_stop,
 * which any thread may call between io_loop_new and io_loop_free.
 * Owns: its libuv loop; stages, timers, tasks and signals lie inside their owners' objects. */
#pragma once

#include "base/err.h"
#include "base/list.h"
#include "base/mailbox.h"
#include "io/wheel.h"

#include <stdint.h>

struct io_loop;

/* Fails: ERR_IO, ERR_LIMIT (no descriptors left). */
MUST err io_loop_new(struct io_loop **ret_loop);
/* What was added must have been removed. NULL is fine. */
void io_loop_free(struct io_loop *self);
/* Runs passes until io_loop_stop; the pass in which it is seen is finished. */
void io_loop_run(struct io_loop *self);
/* At most one wait of at most timeout_ms and one pass: for tests. */
void io_loop_run_once(struct io_loop *self, uint32_t timeout_ms);
void io_loop_stop(struct io_loop *self);
/* A pass soon; costs a syscall only where the loop sleeps. */
void io_loop_wake(struct io_loop *self);
/* The same with a mailbox's signature. A stage that reads one:
 *     mailbox_init(&box, io_loop_wake_fn, loop);
 *     run: mailbox_awake(&box); take and handle; return !mailbox_sleep(&box); */
void io_loop_wake_fn(void *loop);

/* Monotonic, read once a pass. */
uint64_t io_loop_now_ms(const struct io_loop *self);
uint64_t io_loop_now_ns(const struct io_loop *self);
/* Reads the clock anew, after something long. */
void io_loop_refresh(struct io_loop *self);

struct io_stage {
    int order; /* smaller runs earlier */
    bool (*run)(void *ctx);
    void *ctx;
    struct list node;
};

/* Not from within a stage's run, but for removing itself. */
void io_loop_stage_add(struct io_loop *self, struct io_stage *stage);
void io_loop_stage_remove(struct io_loop *self, struct io_stage *stage);

/* Called in a pass when its time has come; it may arm itself again, or free its object. */
struct io_timer {
    struct io_deadline deadline;
    void (*fire)(void *ctx);
    void *ctx;
};

void io_timer_init(struct io_timer *self, void (*fire)(void *ctx), void *ctx);
void io_loop_timer_at(struct io_loop *self, struct io_timer *timer, uint64_t at_ms);
void io_loop_timer_after(struct io_loop *self, struct io_timer *timer, uint64_t delay_ms);
void io_loop_timer_stop(struct io_loop *self, struct io_timer *timer);

/* Something to do on the loop's thread, posted from any. The node is free again when run is
 * called. */
struct io_task {
    struct mailbox_node node;
    void (*run)(struct io_task *self);
};

void io_loop_post(struct io_loop *self, struct io_task *task);
/* At the end, when no pass comes any more: runs the tasks that were posted. */
void io_loop_run_tasks(struct io_loop *self);

/* Calls fn in a pass after each signal (several of one number may come as one).
 * Fails: ERR_IO. */
MUST err io_loop_signal_add(struct io_loop *self, int number, void (*fn)(void *ctx, int number),
                            void *ctx);

struct uv_loop_s;
/* For io's own files. */
struct uv_loop_s *io_loop_uv(struct io_loop *self);
