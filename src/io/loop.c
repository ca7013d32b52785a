#include "io/loop.h"

#include "base/check.h"
#include "base/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <uv.h>

/* How many deadlines one pass fires: they have work behind them. */
#define FIRE_MAX 256u
/* A sleep without a deadline. */
#define WAIT_MS_MAX 60000u

struct signal_watch {
    uv_signal_t handle;
    void (*fn)(void *ctx, int number);
    void *ctx;
    struct signal_watch *next;
};

/* Whoever moves SLEEPING to WOKEN owes the syscall; a WOKEN loop does not go to sleep. */
enum { AWAKE, SLEEPING, WOKEN };

struct io_loop {
    uv_loop_t uv;
    uv_check_t check; /* the pass: after the wait */
    uv_idle_t idle;   /* while it runs, the wait is of zero length */
    uv_timer_t timer; /* wakes for the earliest deadline */
    uv_poll_t wake;   /* for other threads; uv_async_t lets the loop spin while its sender, which
                       * may have lost its core, returns from the very write that woke the loop */
    int wake_fd;      /* an eventfd */
    struct mailbox tasks;
    struct list stages;
    struct io_wheel wheel;
    struct signal_watch *signals;
    uint64_t now_ns;
    uint64_t timer_at_ms; /* what `timer` is set to */
    bool more;
    atomic_int state;
    atomic_bool stopping;
    struct io_timer limit; /* of io_loop_run_once */
};

static void pass(uv_check_t *check);

static void on_wake(uv_poll_t *handle, int status, int events)
{
    struct io_loop *self = handle->data;
    uint64_t count;
    ssize_t n = read(self->wake_fd, &count, sizeof(count));
    CHECK(n == sizeof(count) || errno == EAGAIN || errno == EINTR);
}

static void on_nothing_idle(uv_idle_t *handle)
{
}

static void on_nothing(void *ctx)
{
}

/* libuv fires timers in front of the wait, so the wait must not be long any more. */
static void on_timer(uv_timer_t *handle)
{
    struct io_loop *self = handle->data;
    CHECK(uv_idle_start(&self->idle, on_nothing_idle) == 0);
}

static err wake_init(struct io_loop *self)
{
    self->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (self->wake_fd < 0)
        return errno == EMFILE || errno == ENFILE ? ERR_LIMIT : ERR_IO;
    CHECK(uv_poll_init(&self->uv, &self->wake, self->wake_fd) == 0);
    CHECK(uv_poll_start(&self->wake, UV_READABLE, on_wake) == 0);
    self->wake.data = self;
    return OK;
}

err io_loop_new(struct io_loop **ret_loop)
{
    struct io_loop *self = calloc(1, sizeof(*self));
    CHECK(self);
    int e = uv_loop_init(&self->uv);
    if (e) {
        free(self);
        return e == UV_EMFILE || e == UV_ENFILE ? ERR_LIMIT : ERR_IO;
    }
    err why = wake_init(self);
    if (!err_ok(why)) {
        CHECK(uv_loop_close(&self->uv) == 0);
        free(self);
        return why;
    }
    CHECK(uv_check_init(&self->uv, &self->check) == 0);
    CHECK(uv_idle_init(&self->uv, &self->idle) == 0);
    CHECK(uv_timer_init(&self->uv, &self->timer) == 0);
    self->uv.data = self;
    self->check.data = self;
    self->timer.data = self;
    CHECK(uv_check_start(&self->check, pass) == 0);
    list_init(&self->stages);
    mailbox_init(&self->tasks, io_loop_wake_fn, self);
    io_timer_init(&self->limit, on_nothing, NULL);
    atomic_init(&self->state, AWAKE);
    atomic_init(&self->stopping, false);
    io_loop_refresh(self);
    io_wheel_init(&self->wheel, io_loop_now_ms(self));
    self->timer_at_ms = IO_WHEEL_NEVER;
    *ret_loop = self;
    return OK;
}

void io_loop_free(struct io_loop *self)
{
    if (!self)
        return;
    CHECK(list_empty(&self->stages));
    uv_close((uv_handle_t *)&self->check, NULL);
    uv_close((uv_handle_t *)&self->idle, NULL);
    uv_close((uv_handle_t *)&self->timer, NULL);
    uv_close((uv_handle_t *)&self->wake, NULL);
    for (struct signal_watch *watch = self->signals; watch; watch = watch->next)
        uv_close((uv_handle_t *)&watch->handle, NULL);
    while (uv_run(&self->uv, UV_RUN_NOWAIT)) {
    }
    CHECK(uv_loop_close(&self->uv) == 0);
    (void)close(self->wake_fd);
    while (self->signals) {
        struct signal_watch *watch = self->signals;
        self->signals = watch->next;
        free(watch);
    }
    free(self);
}

static void deadlines_fire(struct io_loop *self)
{
    uint64_t now_ms = io_loop_now_ms(self);
    for (unsigned i = 0; i < FIRE_MAX; i++) {
        struct io_deadline *deadline = io_wheel_take(&self->wheel, now_ms);
        if (!deadline)
            return;
        struct io_timer *timer = LIST_ENTRY(deadline, struct io_timer, deadline);
        timer->fire(timer->ctx);
    }
    self->more = true;
}

void io_loop_run_tasks(struct io_loop *self)
{
    mailbox_awake(&self->tasks);
    struct mailbox_node *node = mailbox_take(&self->tasks);
    while (node) {
        struct io_task *task = LIST_ENTRY(node, struct io_task, node);
        node = node->next; /* the task may go with its object */
        task->run(task);
    }
}

/* False where something came meanwhile. */
static bool fall_asleep(struct io_loop *self)
{
    int awake = AWAKE;
    return mailbox_sleep(&self->tasks) &&
           atomic_compare_exchange_strong(&self->state, &awake, SLEEPING);
}

/* Decides how long the next wait is. */
static void wait_arrange(struct io_loop *self)
{
    if (self->more || !fall_asleep(self)) {
        CHECK(uv_idle_start(&self->idle, on_nothing_idle) == 0);
        return;
    }
    CHECK(uv_idle_stop(&self->idle) == 0);
    uint64_t at_ms = io_wheel_next_ms(&self->wheel);
    if (at_ms == IO_WHEEL_NEVER) {
        CHECK(uv_timer_stop(&self->timer) == 0);
        return;
    }
    if (at_ms == self->timer_at_ms && uv_is_active((uv_handle_t *)&self->timer))
        return;
    self->timer_at_ms = at_ms;
    uint64_t now_ms = io_loop_now_ms(self);
    uint64_t wait_ms = at_ms > now_ms ? at_ms - now_ms : 0;
    uv_update_time(&self->uv);
    CHECK(uv_timer_start(&self->timer, on_timer, wait_ms < WAIT_MS_MAX ? wait_ms : WAIT_MS_MAX,
                         0) == 0);
}

static void pass(uv_check_t *check)
{
    struct io_loop *self = check->data;
    atomic_store(&self->state, AWAKE);
    self->more = false;
    io_loop_refresh(self);
    deadlines_fire(self);
    io_loop_run_tasks(self);
    LIST_FOREACH_SAFE (node, after, &self->stages) {
        struct io_stage *stage = LIST_ENTRY(node, struct io_stage, node);
        if (stage->run(stage->ctx))
            self->more = true;
    }
    if (atomic_load_explicit(&self->stopping, memory_order_relaxed))
        uv_stop(&self->uv);
    wait_arrange(self);
}

void io_loop_run(struct io_loop *self)
{
    self->more = true;
    wait_arrange(self); /* the first pass comes at once */
    (void)uv_run(&self->uv, UV_RUN_DEFAULT);
    atomic_store(&self->stopping, false);
}

void io_loop_run_once(struct io_loop *self, uint32_t timeout_ms)
{
    io_loop_refresh(self);
    io_loop_timer_after(self, &self->limit, timeout_ms);
    /* The pass before arranged a wait that did not come; a wake-up since then is still pending in
     * `wake_fd`. */
    mailbox_awake(&self->tasks);
    atomic_store(&self->state, AWAKE);
    self->more |= timeout_ms == 0;
    wait_arrange(self);
    (void)uv_run(&self->uv, UV_RUN_ONCE);
    io_loop_timer_stop(self, &self->limit);
}

void io_loop_stop(struct io_loop *self)
{
    atomic_store(&self->stopping, true);
    io_loop_wake(self);
}

void io_loop_wake(struct io_loop *self)
{
    if (atomic_exchange(&self->state, WOKEN) != SLEEPING)
        return;
    const uint64_t one = 1;
    ssize_t n;
    do {
        n = write(self->wake_fd, &one, sizeof(one));
    } while (n < 0 && errno == EINTR);
    CHECK(n == sizeof(one)); /* the count is far from full: it is read at each wake-up */
}

void io_loop_wake_fn(void *loop)
{
    io_loop_wake(loop);
}

uint64_t io_loop_now_ms(const struct io_loop *self)
{
    return self->now_ns / 1000000;
}

uint64_t io_loop_now_ns(const struct io_loop *self)
{
    return self->now_ns;
}

void io_loop_refresh(struct io_loop *self)
{
    self->now_ns = clock_mono_ns();
}

void io_loop_stage_add(struct io_loop *self, struct io_stage *stage)
{
    struct list *at = self->stages.next;
    while (at != &self->stages && LIST_ENTRY(at, struct io_stage, node)->order <= stage->order)
        at = at->next;
    list_push(at, &stage->node); /* in front of `at` */
}

void io_loop_stage_remove(struct io_loop *self, struct io_stage *stage)
{
    list_remove(&stage->node);
}

void io_timer_init(struct io_timer *self, void (*fire)(void *ctx), void *ctx)
{
    io_deadline_init(&self->deadline);
    self->fire = fire;
    self->ctx = ctx;
}

void io_loop_timer_at(struct io_loop *self, struct io_timer *timer, uint64_t at_ms)
{
    io_wheel_set(&self->wheel, &timer->deadline, at_ms);
}

void io_loop_timer_after(struct io_loop *self, struct io_timer *timer, uint64_t delay_ms)
{
    io_wheel_set(&self->wheel, &timer->deadline, io_loop_now_ms(self) + delay_ms);
}

void io_loop_timer_stop(struct io_loop *self, struct io_timer *timer)
{
    io_wheel_cancel(&self->wheel, &timer->deadline);
}

void io_loop_post(struct io_loop *self, struct io_task *task)
{
    mailbox_post(&self->tasks, &task->node);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct signal_watch *watch = handle->data;
    watch->fn(watch->ctx, number);
}

err io_loop_signal_add(struct io_loop *self, int number, void (*fn)(void *ctx, int number),
                       void *ctx)
{
    struct signal_watch *watch = calloc(1, sizeof(*watch));
    CHECK(watch);
    watch->fn = fn;
    watch->ctx = ctx;
    watch->handle.data = watch;
    if (uv_signal_init(&self->uv, &watch->handle)) {
        free(watch);
        return ERR_IO;
    }
    watch->next = self->signals;
    self->signals = watch;
    return uv_signal_start(&watch->handle, on_signal, number) ? ERR_IO : OK;
}

struct uv_loop_s *io_loop_uv(struct io_loop *self)
{
    return &self->uv;
}
