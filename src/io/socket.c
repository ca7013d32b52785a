#include "io/socket.h"

#include "base/check.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

#define KEEPALIVE_S     30
#define USER_TIMEOUT_MS 20000u

struct io_poll {
    uv_poll_t handle;
    struct io_socket *socket; /* NULL: closed, the handle is on its way out */
};

/* ---- readiness --------------------------------------------------------------------------------
 */

static void mark(struct io_socket *self, unsigned ready)
{
    self->ready |= ready;
    io_socket_requeue(self);
}

static void poll_arm(struct io_socket *self);

/* The outcome of a connect that went on in the background. */
static void connect_end(struct io_socket *self, int number)
{
    self->connecting = false;
    io_loop_timer_stop(self->loop, &self->connect_timer);
    switch (number) {
    case 0:
        self->want = IO_READY_READ;
        poll_arm(self);
        mark(self, IO_READY_CONNECTED | IO_READY_WRITE);
        return;
    case ECONNREFUSED:
        self->error = ERR_REFUSED;
        break;
    case ETIMEDOUT:
        self->error = ERR_TIMED_OUT;
        break;
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EHOSTDOWN:
        self->error = ERR_UNREACHABLE;
        break;
    default:
        self->error = err_from_errno(number);
    }
    self->want = 0;
    poll_arm(self);
    mark(self, IO_READY_FAILED);
}

static int socket_error(int fd)
{
    int number = 0;
    socklen_t len = sizeof(number);
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &number, &len))
        return errno;
    return number;
}

static void on_connect_deadline(void *ctx)
{
    connect_end(ctx, ETIMEDOUT);
}

static void on_poll(uv_poll_t *handle, int status, int events)
{
    struct io_socket *self = ((struct io_poll *)handle->data)->socket;
    if (!self)
        return;
    if (self->connecting) {
        connect_end(self, socket_error(self->fd));
        return;
    }
    if (status < 0) {
        self->broken = true; /* libuv has stopped watching it */
        mark(self, IO_READY_READ | IO_READY_WRITE);
        return;
    }
    unsigned ready = 0;
    if (events & (UV_READABLE | UV_DISCONNECT))
        ready |= IO_READY_READ;
    if (events & UV_WRITABLE)
        ready |= IO_READY_WRITE;
    if (ready)
        mark(self, ready);
}

static void poll_arm(struct io_socket *self)
{
    int events = 0;
    if (self->want & IO_READY_READ)
        events |= UV_READABLE;
    if (self->want & IO_READY_WRITE)
        events |= UV_WRITABLE;
    if (events)
        CHECK(uv_poll_start(&self->poll->handle, events, on_poll) == 0);
    else
        CHECK(uv_poll_stop(&self->poll->handle) == 0);
}

void io_socket_want(struct io_socket *self, unsigned want)
{
    CHECK(self->fd >= 0);
    if (self->want == want || self->connecting || self->broken)
        return;
    self->want = want;
    poll_arm(self);
}

struct io_socket *io_socket_take_ready(struct list *ready)
{
    struct list *node = list_pop(ready);
    return node ? LIST_ENTRY(node, struct io_socket, ready_node) : NULL;
}

void io_socket_requeue(struct io_socket *self)
{
    if (list_empty(&self->ready_node))
        list_push(self->ready_list, &self->ready_node);
}

/* ---- birth and death
 * ----------------------------------------------------------------------------- */

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

/* Options that only help: a socket without them still works. */
static void tcp_tune(int fd)
{
    int on = 1, keep_s = KEEPALIVE_S;
    unsigned user_timeout_ms = USER_TIMEOUT_MS;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &keep_s, sizeof(keep_s));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &keep_s, sizeof(keep_s));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout_ms, sizeof(user_timeout_ms));
}

static err socket_init(struct io_socket *self, struct io_loop *loop, int fd, struct list *ready)
{
    *self = (struct io_socket){.loop = loop,
                               .ready_list = ready,
                               .fd = fd,
                               .transport = &io_transport_plain,
                               .owner = self->owner};
    list_init(&self->ready_node);
    io_timer_init(&self->connect_timer, on_connect_deadline, self);
    self->poll = calloc(1, sizeof(*self->poll));
    CHECK(self->poll);
    self->poll->socket = self;
    if (uv_poll_init(io_loop_uv(loop), &self->poll->handle, fd)) {
        free(self->poll);
        (void)close(fd);
        self->fd = -1;
        return ERR_IO;
    }
    self->poll->handle.data = self->poll;
    tcp_tune(fd);
    return OK;
}

err io_socket_adopt(struct io_socket *self, struct io_loop *loop, int fd, struct list *ready)
{
    TRY(socket_init(self, loop, fd, ready));
    self->want = IO_READY_READ;
    poll_arm(self);
    return OK;
}

err io_socket_connect(struct io_socket *self, struct io_loop *loop, const struct io_address *to,
                      uint64_t deadline_ms, struct list *ready)
{
    int fd = socket(to->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno == EMFILE || errno == ENFILE ? ERR_LIMIT : ERR_IO;
    TRY(socket_init(self, loop, fd, ready));
    int r;
    do
        r = connect(fd, (const struct sockaddr *)&to->storage, to->len);
    while (r && errno == EINTR);
    if (r == 0 || errno != EINPROGRESS) {
        connect_end(self, r ? errno : 0);
        return OK;
    }
    self->connecting = true;
    self->want = IO_READY_WRITE;
    poll_arm(self);
    if (deadline_ms)
        io_loop_timer_at(loop, &self->connect_timer, deadline_ms);
    return OK;
}

void io_socket_close(struct io_socket *self)
{
    if (self->fd < 0)
        return;
    io_loop_timer_stop(self->loop, &self->connect_timer);
    list_remove(&self->ready_node);
    self->poll->socket = NULL;
    CHECK(uv_poll_stop(&self->poll->handle) == 0);
    uv_close((uv_handle_t *)&self->poll->handle, on_closed);
    (void)close(self->fd);
    self->fd = -1;
    self->ready = 0;
}

void io_socket_abort(struct io_socket *self)
{
    if (self->fd < 0)
        return;
    const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(self->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    io_socket_close(self);
}

void io_socket_shutdown(struct io_socket *self)
{
    if (self->fd >= 0)
        (void)shutdown(self->fd, SHUT_WR);
}

static err name_of(int r, struct io_address *address, struct io_address *ret_address)
{
    if (r)
        return err_from_errno(errno);
    *ret_address = *address;
    return OK;
}

err io_socket_peer(const struct io_socket *self, struct io_address *ret_address)
{
    struct io_address address = {.len = sizeof(address.storage)};
    int r = getpeername(self->fd, (struct sockaddr *)&address.storage, &address.len);
    return name_of(r, &address, ret_address);
}

err io_socket_local(const struct io_socket *self, struct io_address *ret_address)
{
    struct io_address address = {.len = sizeof(address.storage)};
    int r = getsockname(self->fd, (struct sockaddr *)&address.storage, &address.len);
    return name_of(r, &address, ret_address);
}

/* ---- bytes
 * ------------------------------------------------------------------------------------------ */

static err transfer_error(int number)
{
    switch (number) {
    case EPIPE:
    case ECONNRESET:
    case ETIMEDOUT:
    case ECONNABORTED:
    case ENOTCONN:
        return ERR_CLOSED;
    default:
        return ERR_IO;
    }
}

static err plain_read(struct io_socket *self, void *to, size_t cap, size_t *ret_len)
{
    ssize_t n;
    do
        n = recv(self->fd, to, cap, 0);
    while (n < 0 && errno == EINTR);
    if (n > 0) {
        if (self->broken)
            mark(self, IO_READY_READ); /* nobody else will */
        *ret_len = (size_t)n;
        return OK;
    }
    if (n == 0)
        return ERR_CLOSED;
    if (errno != EAGAIN)
        return transfer_error(errno);
    self->ready &= ~(unsigned)IO_READY_READ;
    return self->broken ? ERR_CLOSED : ERR_AGAIN;
}

static err plain_write(struct io_socket *self, const struct iovec *iov, size_t count,
                       size_t *ret_len)
{
    struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)iov,
                             .msg_iovlen = count < IOV_MAX ? count : IOV_MAX};
    ssize_t n;
    do
        n = sendmsg(self->fd, &message, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n >= 0) {
        *ret_len = (size_t)n;
        return OK;
    }
    if (errno != EAGAIN)
        return transfer_error(errno);
    self->ready &= ~(unsigned)IO_READY_WRITE;
    return self->broken ? ERR_CLOSED : ERR_AGAIN;
}

const struct io_transport io_transport_plain = {.read = plain_read, .write = plain_write};

err io_socket_write(struct io_socket *self, const struct iovec *iov, size_t count, size_t *ret_len)
{
    size_t wanted = 0, sent = 0;
    for (size_t i = 0; i < count; i++)
        wanted += iov[i].iov_len;
    if (wanted == 0) {
        *ret_len = 0;
        return OK;
    }
    err e = self->transport->write(self, iov, count, &sent);
    if (!err_ok(e) && !err_is(e, ERR_AGAIN))
        return e;
    unsigned want =
        sent < wanted ? self->want | IO_READY_WRITE : self->want & ~(unsigned)IO_READY_WRITE;
    io_socket_want(self, want);
    TRY(e);
    *ret_len = sent;
    return OK;
}
