/* Sockets that wait for their owner: readiness only marks the socket and puts it on a list; the
 * owner reads and writes when its turn in the pass comes, as much as its budget allows.
 *
 *     struct list ready;                       one a stage: members, clients, …
 *     while ((s = io_socket_take_ready(&ready)) && within the slice)
 *         if (s->ready & IO_READY_READ) io_socket_read(s, shared buffer of 16 KiB, …)
 *
 * Readiness is level-triggered: what is left unread is marked again after the next wait, so an
 * owner that cannot read now takes IO_READY_READ out of `want`.
 * TLS later replaces `transport`, and nothing above notices.
 * Thread: the loop's.  Owns: its descriptor. The object lies inside its owner's and may be freed
 * as soon as io_socket_close has returned. */
#pragma once

#include "io/address.h"
#include "io/loop.h"

#include <sys/uio.h>

#define IO_READ_BYTES_MAX 16384 /* a connection a pass */

enum io_ready {
    IO_READY_READ = 1 << 0,
    IO_READY_WRITE = 1 << 1,
    IO_READY_CONNECTED = 1 << 2, /* connect succeeded: once */
    IO_READY_FAILED = 1 << 3,    /* connect failed or its deadline passed: `error` says; close it */
};

struct io_socket;

/* How bytes get from and to the peer. */
struct io_transport {
    /* 1..cap bytes. Fails: ERR_AGAIN nothing now; ERR_CLOSED the peer has sent all; ERR_IO. */
    err (*read)(struct io_socket *self, void *to, size_t cap, size_t *ret_len);
    /* As much as goes now, at least 1 byte. Fails: ERR_AGAIN; ERR_CLOSED the peer is gone. */
    err (*write)(struct io_socket *self, const struct iovec *iov, size_t count, size_t *ret_len);
};

extern const struct io_transport io_transport_plain;

struct io_poll; /* io's own: libuv's handle, which outlives the socket by a pass */
struct io_socket {
    struct io_loop *loop;
    struct list ready_node;
    struct list *ready_list;
    unsigned ready; /* enum io_ready; cleared by its reader, or by ERR_AGAIN */
    unsigned want;  /* what io asks the kernel for; see io_socket_want */
    int fd;         /* -1: closed */
    err error;
    bool connecting;
    bool broken; /* the kernel reports an error: reads and writes will say which */
    const struct io_transport *transport;
    void *transport_state;
    void *owner; /* the holder's own */
    struct io_poll *poll;
    struct io_timer connect_timer;
};

/* Takes the descriptor, which becomes nonblocking (TCP: no delay, keepalive 30 s, user timeout
 * 20 s). Wants IO_READY_READ. Fails: ERR_IO, the descriptor is closed then. */
MUST err io_socket_adopt(struct io_socket *self, struct io_loop *loop, int fd, struct list *ready);
/* Begins to connect; IO_READY_CONNECTED or IO_READY_FAILED follows. deadline_ms 0: none.
 * Errors in `error`: ERR_REFUSED, ERR_UNREACHABLE, ERR_TIMED_OUT, ERR_IO.
 * Fails: ERR_IO, ERR_LIMIT (no descriptor left). */
MUST err io_socket_connect(struct io_socket *self, struct io_loop *loop,
                           const struct io_address *to, uint64_t deadline_ms, struct list *ready);
/* Closes; harmless on a closed one. */
void io_socket_close(struct io_socket *self);
/* Which of IO_READY_READ and IO_READY_WRITE shall mark the socket. */
void io_socket_want(struct io_socket *self, unsigned want);
/* The next of a list of ready ones, taken off it; NULL where none is. */
struct io_socket *io_socket_take_ready(struct list *ready);
/* Puts it back on its list, for the next slice. */
void io_socket_requeue(struct io_socket *self);

static inline MUST err io_socket_read(struct io_socket *self, void *to, size_t cap, size_t *ret_len)
{
    return self->transport->read(self, to, cap, ret_len);
}

/* Asks for IO_READY_WRITE by itself where less went than was given, and no longer where all did. */
MUST err io_socket_write(struct io_socket *self, const struct iovec *iov, size_t count,
                         size_t *ret_len);
/* No more bytes from us; the peer's still come. */
void io_socket_shutdown(struct io_socket *self);
MUST err io_socket_peer(const struct io_socket *self, struct io_address *ret_address);
MUST err io_socket_local(const struct io_socket *self, struct io_address *ret_address);
/* Unsent bytes in the kernel may be given up by an RST at close: for peers that misbehave. */
void io_socket_abort(struct io_socket *self);

enum io_listen_flag {
    IO_LISTEN_REUSE_PORT = 1 << 0, /* SO_REUSEPORT; SO_REUSEADDR is always set, as Go does */
    IO_LISTEN_LATER = 1 << 1,      /* only takes the address: until io_listener_start whoever
                                    * connects is refused */
};

/* Accepts at most 64 connections a pass. Without descriptors left it accepts and closes by a
 * reserve, so that clients see an end and not a silence. A unix path that nobody listens on any
 * more is replaced. */
struct io_listener;
struct io_listener_config {
    struct io_address address; /* port 0: any, see io_listener_address */
    unsigned flags;
    int stage_order;
    /* Takes the descriptor. */
    void (*accepted)(void *ctx, int fd, const struct io_address *peer);
    void *ctx;
};

/* Fails: ERR_EXISTS the address is in use; ERR_ACCESS; ERR_NOT_FOUND no such local address;
 * ERR_LIMIT no descriptor left; ERR_IO. */
MUST err io_listener_new(struct io_loop *loop, const struct io_listener_config *config,
                         struct io_listener **ret_listener);
/* Begins to listen, where it was made with IO_LISTEN_LATER. Fails: ERR_EXISTS another process has
 * begun to listen there meanwhile; ERR_IO. */
MUST err io_listener_start(struct io_listener *self);
/* The socket is closed at once, a unix path removed. NULL is fine. */
void io_listener_free(struct io_listener *self);
const struct io_address *io_listener_address(const struct io_listener *self);
/* Refused for want of a descriptor since the start. */
uint64_t io_listener_refused(const struct io_listener *self);
