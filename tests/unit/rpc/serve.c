/* The in-memory server behind a real socket on loopback, for clients that others wrote: prints
 * its port and serves until its standard input ends. For tests only: one epoll, no time but
 * poll's.
 *
 *     gRPC      service test.Echo as in pair.h
 *     HTTP/1.1  GET /hello "hello\n"; POST /echo the body; GET /list?n n bytes of the pattern;
 *               GET /stream three chunks */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "pair.h"

#include "base/clock.h"
#include "base/list.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

struct peer {
    struct pair pair; /* only the server's half is used; first, as the handler's context */
    struct list node;
    int fd;
    bool writing;
};

static struct list peers;
static struct rpc_pool *pool;
static int poller;
static struct rpc_handler handler;

static void page(void *ctx, struct http_exchange *exchange, struct bytes body)
{
    struct pair *pair = ctx;
    struct bytes target = http_exchange_target(exchange);
    struct bytes list = BYTES_LIT("/list?");
    if (bytes_equal(target, BYTES_LIT("/hello"))) {
        http_response(exchange, 200, "text/plain", BYTES_LIT("hello\n"));
    } else if (bytes_equal(target, BYTES_LIT("/echo"))) {
        http_response(exchange, 200, "application/octet-stream", body);
    } else if (bytes_has_prefix(target, list)) {
        char digits[24] = {0};
        struct bytes number = bytes_skip(target, list.len);
        memcpy(digits, number.data, number.len < 23 ? number.len : 23);
        struct rpc_promise promise =
            pattern_promise(strtoul(digits, NULL, 10), 1000, &pair->promises_released);
        http_response_begin(exchange, 200, NULL, 0, promise.len);
        http_response_body_promise(exchange, &promise);
        http_response_end(exchange);
    } else if (bytes_equal(target, BYTES_LIT("/stream"))) {
        http_response_begin(exchange, 200, NULL, 0, HTTP_LENGTH_UNKNOWN);
        for (unsigned i = 0; i < 3; i++)
            http_response_body(exchange, BYTES_LIT("piece\n"));
        http_response_end(exchange);
    } else {
        http_response(exchange, 404, "text/plain", BYTES_LIT("404 page not found\n"));
    }
}

static void peer_close(struct peer *peer)
{
    rpc_conn_free(peer->pair.conn);
    list_remove(&peer->node);
    close(peer->fd);
    free(peer);
}

/* False: the peer is gone. */
static bool peer_write(struct peer *peer)
{
    bool blocked = false;
    while (!blocked && rpc_conn_wants_write(peer->pair.conn)) {
        struct iovec iov[1000];
        unsigned count;
        size_t n = rpc_conn_output(peer->pair.conn, iov, 1000, &count);
        if (n == 0)
            break;
        ssize_t wrote = writev(peer->fd, iov, (int)count);
        if (wrote < 0 && errno != EAGAIN) {
            rpc_conn_wrote(peer->pair.conn, 0);
            peer_close(peer);
            return false;
        }
        rpc_conn_wrote(peer->pair.conn, wrote > 0 ? (size_t)wrote : 0);
        blocked = wrote < (ssize_t)n;
    }
    if (rpc_conn_finished(peer->pair.conn)) {
        peer_close(peer);
        return false;
    }
    if (blocked != peer->writing) {
        struct epoll_event event = {.events = EPOLLIN | (blocked ? EPOLLOUT : 0), .data.ptr = peer};
        epoll_ctl(poller, EPOLL_CTL_MOD, peer->fd, &event);
        peer->writing = blocked;
    }
    return true;
}

static void peer_read(struct peer *peer, uint64_t now_ms)
{
    static uint8_t input[16 << 10];
    ssize_t n = read(peer->fd, input, sizeof(input));
    if (n < 0 && errno == EAGAIN)
        return;
    if (n > 0)
        rpc_conn_read(peer->pair.conn, bytes_of(input, (size_t)n), now_ms);
    else
        rpc_conn_read_end(peer->pair.conn, now_ms);
}

/* Frees everything, so that leaks are seen. */
static void stop(int listener)
{
    while (!list_empty(&peers))
        peer_close(LIST_ENTRY(peers.next, struct peer, node));
    rpc_pool_free(pool);
    close(listener);
    close(poller);
}

static void peer_accept(int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    struct peer *peer = calloc(1, sizeof(*peer));
    peer->fd = fd;
    list_push(&peers, &peer->node);
    peer->pair.pattern_break_at = SIZE_MAX;
    peer->pair.conn = rpc_conn_new(pool, RPC_PLAIN, &handler, &peer->pair);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = peer};
    epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
}

static int listen_loopback(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t len = sizeof(address);
    if (bind(fd, (struct sockaddr *)&address, len) || listen(fd, 128) ||
        getsockname(fd, (struct sockaddr *)&address, &len))
        exit(1);
    printf("%u\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    list_init(&peers);
    handler = pair_handler;
    handler.http_request = page;
    struct rpc_limits limits = rpc_limits_default();
    pool = rpc_pool_new(&limits, clock_mono_ms());
    poller = epoll_create1(EPOLL_CLOEXEC);
    int listener = listen_loopback();
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    struct epoll_event input = {.events = EPOLLIN | EPOLLHUP, .data.ptr = &poller};
    epoll_ctl(poller, EPOLL_CTL_ADD, 0, &input);
    for (;;) {
        struct epoll_event events[64];
        int n = epoll_wait(poller, events, 64, 10);
        uint64_t now_ms = clock_mono_ms();
        rpc_pool_tick(pool, now_ms);
        for (int i = 0; i < n; i++) {
            struct peer *peer = events[i].data.ptr;
            if (events[i].data.ptr == &poller) {
                stop(listener);
                return 0;
            }
            if (!peer) {
                peer_accept(listener);
                continue;
            }
            if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
                peer_read(peer, now_ms);
            peer_write(peer);
        }
    }
}
