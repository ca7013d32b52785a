#include "io/socket.h"

#include "base/check.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#define ACCEPT_MAX 64u
/* After an error that accepting again at once would only repeat. */
#define PAUSE_MS 100u

struct io_listener {
    uv_poll_t poll;
    struct io_loop *loop;
    struct io_listener_config config;
    struct io_address address;
    struct io_stage stage;
    struct io_timer pause;
    int fd;
    int reserve; /* a descriptor to give up when there are no others */
    bool ready;
    uint64_t refused;
};

static void on_poll(uv_poll_t *handle, int status, int events)
{
    struct io_listener *self = handle->data;
    self->ready = true;
}

static int reserve_open(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void listen_pause(struct io_listener *self)
{
    self->ready = false;
    CHECK(uv_poll_stop(&self->poll) == 0);
    io_loop_timer_after(self->loop, &self->pause, PAUSE_MS);
}

static void listen_resume(void *ctx)
{
    struct io_listener *self = ctx;
    CHECK(uv_poll_start(&self->poll, UV_READABLE, on_poll) == 0);
}

/* Out of descriptors: takes one connection with the reserve and ends it. */
static void refuse_one(struct io_listener *self)
{
    if (self->reserve < 0) {
        listen_pause(self);
        self->reserve = reserve_open();
        return;
    }
    (void)close(self->reserve);
    int fd = accept4(self->fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0) {
        (void)close(fd);
        self->refused++;
    }
    self->reserve = reserve_open();
}

static bool stage_run(void *ctx)
{
    struct io_listener *self = ctx;
    for (unsigned i = 0; self->ready && i < ACCEPT_MAX; i++) {
        struct io_address peer = {.len = sizeof(peer.storage)};
        int fd = accept4(self->fd, (struct sockaddr *)&peer.storage, &peer.len,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            self->config.accepted(self->config.ctx, fd, &peer);
            continue;
        }
        switch (errno) {
        case EAGAIN:
            self->ready = false;
            break;
        case EMFILE:
        case ENFILE:
            refuse_one(self);
            break;
        case ENOMEM:
        case ENOBUFS:
            listen_pause(self);
            break;
        default:
            break; /* that connection's own trouble (accept(2), "Error handling") */
        }
    }
    return self->ready;
}

/* Whether somebody listens on a unix path. */
static bool unix_is_alive(const struct io_address *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return true;
    bool alive = connect(fd, (const struct sockaddr *)&address->storage, address->len) == 0 ||
                 errno != ECONNREFUSED;
    (void)close(fd);
    return alive;
}

static const char *unix_path(const struct io_address *address)
{
    return ((const struct sockaddr_un *)&address->storage)->sun_path;
}

static err bind_error(int number)
{
    switch (number) {
    case EADDRINUSE:
        return ERR_EXISTS;
    case EADDRNOTAVAIL:
        return ERR_NOT_FOUND;
    default:
        return err_from_errno(number);
    }
}

static err fd_bind(int fd, const struct io_listener_config *config)
{
    const struct io_address *address = &config->address;
    int on = 1, off = 0;
    if (address->storage.ss_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    if (address->storage.ss_family != AF_UNIX &&
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)))
        return ERR_IO;
    if ((config->flags & IO_LISTEN_REUSE_PORT) && address->storage.ss_family != AF_UNIX &&
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)))
        return ERR_IO;
    int r = bind(fd, (const struct sockaddr *)&address->storage, address->len);
    if (r && errno == EADDRINUSE && address->storage.ss_family == AF_UNIX &&
        !unix_is_alive(address)) {
        (void)unlink(unix_path(address));
        r = bind(fd, (const struct sockaddr *)&address->storage, address->len);
    }
    if (r)
        return bind_error(errno);
    if (config->flags & IO_LISTEN_LATER)
        return OK;
    return listen(fd, SOMAXCONN) ? bind_error(errno) : OK;
}

err io_listener_new(struct io_loop *loop, const struct io_listener_config *config,
                    struct io_listener **ret_listener)
{
    int fd =
        socket(config->address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno == EMFILE || errno == ENFILE ? ERR_LIMIT : ERR_IO;
    err e = fd_bind(fd, config);
    if (!err_ok(e)) {
        (void)close(fd);
        return e;
    }
    struct io_listener *self = calloc(1, sizeof(*self));
    CHECK(self);
    self->loop = loop;
    self->config = *config;
    self->fd = fd;
    self->address = (struct io_address){.len = sizeof(self->address.storage)};
    CHECK(getsockname(fd, (struct sockaddr *)&self->address.storage, &self->address.len) == 0);
    self->reserve = reserve_open();
    if (uv_poll_init(io_loop_uv(loop), &self->poll, fd)) {
        (void)close(fd);
        if (self->reserve >= 0)
            (void)close(self->reserve);
        free(self);
        return ERR_IO;
    }
    self->poll.data = self;
    if (!(config->flags & IO_LISTEN_LATER))
        CHECK(uv_poll_start(&self->poll, UV_READABLE, on_poll) == 0);
    self->stage = (struct io_stage){.order = config->stage_order, .run = stage_run, .ctx = self};
    io_loop_stage_add(loop, &self->stage);
    io_timer_init(&self->pause, listen_resume, self);
    *ret_listener = self;
    return OK;
}

err io_listener_start(struct io_listener *self)
{
    if (listen(self->fd, SOMAXCONN))
        return bind_error(errno);
    CHECK(uv_poll_start(&self->poll, UV_READABLE, on_poll) == 0);
    return OK;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void io_listener_free(struct io_listener *self)
{
    if (!self)
        return;
    io_loop_stage_remove(self->loop, &self->stage);
    io_loop_timer_stop(self->loop, &self->pause);
    CHECK(uv_poll_stop(&self->poll) == 0);
    (void)close(self->fd);
    if (self->reserve >= 0)
        (void)close(self->reserve);
    if (self->address.storage.ss_family == AF_UNIX)
        (void)unlink(unix_path(&self->address));
    uv_close((uv_handle_t *)&self->poll, on_closed);
}

const struct io_address *io_listener_address(const struct io_listener *self)
{
    return &self->address;
}

uint64_t io_listener_refused(const struct io_listener *self)
{
    return self->refused;
}
