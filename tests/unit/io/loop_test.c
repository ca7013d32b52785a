/* Loops, workers, lookups and sockets, on loopback. */
#include "base/clock.h"
#include "io/lookup.h"
#include "io/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#define assert_ok(e)          assert_string_equal(err_ok(e) ? "OK" : err_name(e), "OK")
#define assert_err(e, wanted) assert_string_equal(err_name(e), err_name(wanted))
#define DEADLINE_MS           10000u

static struct io_loop *loop;

static int setup(void **state)
{
    assert_ok(io_loop_new(&loop));
    return 0;
}

static int teardown(void **state)
{
    io_loop_free(loop);
    return 0;
}

/* Runs passes until cond holds; fails after ten seconds. */
#define RUN_UNTIL(cond)                                     \
    do {                                                    \
        uint64_t until_ms_ = clock_mono_ms() + DEADLINE_MS; \
        while (!(cond)) {                                   \
            assert_true(clock_mono_ms() < until_ms_);       \
            io_loop_run_once(loop, 1000);                   \
        }                                                   \
    } while (0)

/* ---- passes ------------------------------------------------------------------------------------
 */

static char order[16];
static unsigned order_len;

struct stage_fixture {
    struct io_stage stage;
    char name;
    unsigned more; /* how many passes it still asks for */
};

static bool stage_note(void *ctx)
{
    struct stage_fixture *self = ctx;
    if (order_len < sizeof(order))
        order[order_len++] = self->name;
    return self->more && self->more--;
}

static void stages_run_by_their_order_while_there_is_more(void **state)
{
    struct stage_fixture stages[3] = {{.name = 'c', .stage.order = 30},
                                      {.name = 'a', .stage.order = 10, .more = 1},
                                      {.name = 'b', .stage.order = 20}};
    order_len = 0;
    for (unsigned i = 0; i < 3; i++) {
        stages[i].stage.run = stage_note;
        stages[i].stage.ctx = &stages[i];
        io_loop_stage_add(loop, &stages[i].stage);
    }
    io_loop_run_once(loop, 0);
    assert_int_equal(order_len, 3);
    uint64_t from_ms = clock_mono_ms();
    io_loop_run_once(loop, 5000); /* a said "more": no wait */
    assert_true(clock_mono_ms() - from_ms < 1000);
    assert_int_equal(order_len, 6);
    assert_memory_equal(order, "abcabc", 6);
    for (unsigned i = 0; i < 3; i++)
        io_loop_stage_remove(loop, &stages[i].stage);
}

static void count_up(void *ctx)
{
    ++*(unsigned *)ctx;
}

static void timers_fire_when_their_time_has_come(void **state)
{
    struct io_timer timers[3];
    unsigned fired = 0;
    for (unsigned i = 0; i < 3; i++)
        io_timer_init(&timers[i], count_up, &fired);
    uint64_t from_ms = clock_mono_ms();
    io_loop_timer_after(loop, &timers[0], 20);
    io_loop_timer_after(loop, &timers[1], 40);
    io_loop_timer_after(loop, &timers[2], 30);
    io_loop_timer_stop(loop, &timers[2]);
    RUN_UNTIL(fired == 1);
    assert_true(clock_mono_ms() - from_ms >= 19);
    RUN_UNTIL(fired == 2);
    assert_true(clock_mono_ms() - from_ms >= 39);
}

struct note {
    struct io_task task;
    pthread_t ran_on;
    bool ran;
};

static void note_run(struct io_task *task)
{
    struct note *self = (struct note *)task;
    self->ran_on = pthread_self();
    self->ran = true;
}

static void *post_from_afar(void *ctx)
{
    io_loop_post(loop, &((struct note *)ctx)->task);
    return NULL;
}

static void a_task_from_another_thread_wakes_the_loop(void **state)
{
    for (unsigned i = 0; i < 200; i++) {
        struct note note = {.task.run = note_run};
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, post_from_afar, &note), 0);
        RUN_UNTIL(note.ran);
        assert_true(pthread_equal(note.ran_on, pthread_self()));
        assert_int_equal(pthread_join(thread, NULL), 0);
    }
}

static void *stop_from_afar(void *ctx)
{
    io_loop_stop(loop);
    return NULL;
}

static void another_thread_stops_the_loop(void **state)
{
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, stop_from_afar, NULL), 0);
    io_loop_run(loop);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

static void on_signal(void *ctx, int number)
{
    *(int *)ctx = number;
}

static void a_signal_is_a_call_in_the_loop(void **state)
{
    static int seen;
    seen = 0;
    assert_ok(io_loop_signal_add(loop, SIGUSR1, on_signal, &seen));
    assert_int_equal(raise(SIGUSR1), 0);
    RUN_UNTIL(seen == SIGUSR1);
}

struct square {
    struct io_job job;
    pthread_t worked_on;
    unsigned in, out;
    bool done;
};

static void square_work(struct io_job *job)
{
    struct square *self = (struct square *)job;
    self->out = self->in * self->in;
    self->worked_on = pthread_self();
}

static void square_done(struct io_job *job)
{
    ((struct square *)job)->done = true;
}

static void workers_work_elsewhere_and_come_back(void **state)
{
    struct io_workers *workers;
    struct square squares[50] = {0};
    assert_ok(io_workers_new(2, &workers));
    for (unsigned i = 0; i < 50; i++) {
        squares[i].job = (struct io_job){.work = square_work, .done = square_done, .loop = loop};
        squares[i].in = i;
        io_workers_post(workers, &squares[i].job);
    }
    for (unsigned i = 0; i < 50; i++) {
        RUN_UNTIL(squares[i].done);
        assert_int_equal(squares[i].out, i * i);
        assert_false(pthread_equal(squares[i].worked_on, pthread_self()));
    }
    io_workers_free(workers);
}

static void on_found(struct io_lookup *lookup)
{
    *(bool *)lookup->ctx = true;
}

static void localhost_is_found(void **state)
{
    struct io_workers *workers;
    static struct io_lookup lookup;
    bool found = false;
    assert_ok(io_workers_new(1, &workers));
    assert_ok(io_lookup_start(&lookup, workers, loop, "localhost", 2379, on_found, &found));
    assert_false(found);
    RUN_UNTIL(found);
    assert_ok(lookup.result);
    assert_true(lookup.count >= 1);
    assert_int_equal(io_address_port(&lookup.addresses[0]), 2379);
    char long_host[300];
    memset(long_host, 'x', sizeof(long_host));
    long_host[299] = 0;
    assert_err(io_lookup_start(&lookup, workers, loop, long_host, 1, on_found, &found), ERR_LIMIT);
    io_workers_free(workers);
}

/* ---- addresses
 * ------------------------------------------------------------------------------------ */

static void addresses_have_texts(void **state)
{
    struct io_address address, again;
    char text[IO_ADDRESS_TEXT_BYTES_MAX];
    assert_ok(io_address_parse("127.0.0.1", 80, &address));
    io_address_text(&address, text);
    assert_string_equal(text, "127.0.0.1:80");
    assert_ok(io_address_parse("127.0.0.1", 80, &again));
    assert_true(io_address_equal(&address, &again));
    assert_ok(io_address_parse("::1", 80, &address));
    assert_false(io_address_equal(&address, &again));
    io_address_text(&address, text);
    assert_string_equal(text, "[::1]:80");
    assert_ok(io_address_unix("/tmp/x.sock", &address));
    io_address_text(&address, text);
    assert_string_equal(text, "/tmp/x.sock");
    assert_err(io_address_parse("localhost", 80, &address), ERR_SYNTAX);
    assert_err(io_address_parse("1.2.3", 80, &address), ERR_SYNTAX);
    assert_err(io_address_parse("", 80, &address), ERR_SYNTAX);
    char path[200];
    memset(path, 'p', sizeof(path));
    path[199] = 0;
    assert_err(io_address_unix(path, &address), ERR_LIMIT);
}

/* ---- sockets
 * --------------------------------------------------------------------------------------- */

struct ends {
    struct io_listener *listener;
    struct list ready;
    struct io_socket client, server;
    bool accepted;
    unsigned accepted_count;
};

static void on_accepted(void *ctx, int fd, const struct io_address *peer)
{
    struct ends *self = ctx;
    self->accepted_count++;
    if (self->accepted) {
        (void)close(fd);
        return;
    }
    assert_ok(io_socket_adopt(&self->server, loop, fd, &self->ready));
    self->accepted = true;
}

static void ends_listen(struct ends *self, const struct io_address *address)
{
    *self = (struct ends){.client.fd = -1, .server.fd = -1};
    list_init(&self->ready);
    struct io_listener_config config = {
        .address = *address, .accepted = on_accepted, .ctx = self, .stage_order = 1};
    assert_ok(io_listener_new(loop, &config, &self->listener));
}

static void ends_close(struct ends *self)
{
    io_socket_close(&self->client);
    io_socket_close(&self->server);
    io_listener_free(self->listener);
}

/* Takes what is ready; true where `which` has all of `bits`. */
static bool ready_has(struct ends *self, struct io_socket *which, unsigned bits)
{
    while (io_socket_take_ready(&self->ready)) {
    }
    return (which->ready & bits) == bits;
}

static void ends_connect(struct ends *self, const struct io_address *address)
{
    ends_listen(self, address);
    assert_ok(io_socket_connect(&self->client, loop, io_listener_address(self->listener),
                                clock_mono_ms() + DEADLINE_MS, &self->ready));
    RUN_UNTIL(self->accepted && ready_has(self, &self->client, IO_READY_CONNECTED));
}

static struct io_address loopback(void)
{
    struct io_address address;
    assert_ok(io_address_parse("127.0.0.1", 0, &address));
    return address;
}

/* More bytes than the kernel holds go through, in order, and then the end. */
static void bytes_flow_against_back_pressure(struct ends *ends)
{
    enum { TOTAL = 8 << 20 };
    static uint8_t out[65536], in[IO_READ_BYTES_MAX];
    for (unsigned i = 0; i < sizeof(out); i++)
        out[i] = (uint8_t)(i * 13 >> 3);
    size_t sent = 0, got = 0;
    bool blocked = false, ended = false;
    ends->client.ready |= IO_READY_WRITE;
    uint64_t until_ms = clock_mono_ms() + DEADLINE_MS;
    while (!ended) {
        assert_true(clock_mono_ms() < until_ms);
        while (sent < TOTAL && (ends->client.ready & IO_READY_WRITE)) {
            size_t at = sent % sizeof(out), n = 0;
            struct iovec iov = {out + at, sizeof(out) - at};
            err e = io_socket_write(&ends->client, &iov, 1, &n);
            if (err_is(e, ERR_AGAIN)) {
                blocked = true;
                break;
            }
            assert_ok(e);
            sent += n;
        }
        if (sent >= TOTAL)
            io_socket_shutdown(&ends->client);
        io_loop_run_once(loop, 100);
        (void)ready_has(ends, &ends->server, 0);
        if (!(ends->server.ready & IO_READY_READ))
            continue;
        size_t n = 0;
        err e = io_socket_read(&ends->server, in, sizeof(in), &n);
        ended = err_is(e, ERR_CLOSED);
        if (ended || err_is(e, ERR_AGAIN))
            continue;
        assert_ok(e);
        for (size_t i = 0; i < n; i++)
            if (in[i] != out[(got + i) % sizeof(out)])
                fail_msg("byte %zu is wrong", got + i);
        got += n;
    }
    assert_true(blocked);
    assert_int_equal(got, sent);
}

static void bytes_flow_over_tcp(void **state)
{
    struct ends ends;
    struct io_address address = loopback(), local, peer;
    ends_connect(&ends, &address);
    assert_ok(io_socket_local(&ends.client, &local));
    assert_ok(io_socket_peer(&ends.server, &peer));
    assert_true(io_address_equal(&local, &peer));
    bytes_flow_against_back_pressure(&ends);
    ends_close(&ends);
}

static void bytes_flow_over_a_unix_socket(void **state)
{
    struct ends ends;
    struct io_address address;
    char path[64];
    (void)snprintf(path, sizeof(path), "/tmp/coracle-loop-%d.sock", (int)getpid());
    assert_ok(io_address_unix(path, &address));
    ends_connect(&ends, &address);
    bytes_flow_against_back_pressure(&ends);
    struct io_listener *second;
    struct io_listener_config config = {.address = address, .accepted = on_accepted, .ctx = &ends};
    assert_err(io_listener_new(loop, &config, &second), ERR_EXISTS); /* somebody is there */
    ends_close(&ends);
    assert_int_equal(access(path, F_OK), -1);
}

static void a_dead_unix_path_is_replaced(void **state)
{
    struct ends ends;
    struct io_address address;
    char path[64];
    (void)snprintf(path, sizeof(path), "/tmp/coracle-dead-%d.sock", (int)getpid());
    assert_ok(io_address_unix(path, &address));
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address.storage, address.len), 0);
    close(fd);
    ends_connect(&ends, &address);
    ends_close(&ends);
}

static void a_taken_port_is_said(void **state)
{
    struct ends ends;
    struct io_address address = loopback();
    ends_listen(&ends, &address);
    struct io_listener *second;
    struct io_listener_config config = {
        .address = *io_listener_address(ends.listener), .accepted = on_accepted, .ctx = &ends};
    assert_err(io_listener_new(loop, &config, &second), ERR_EXISTS);
    ends_close(&ends);
}

static void a_refused_connect_fails_by_name(void **state)
{
    struct ends ends;
    struct io_address address = loopback();
    ends_listen(&ends, &address);
    address = *io_listener_address(ends.listener);
    io_listener_free(ends.listener);
    ends.listener = NULL;
    assert_ok(io_socket_connect(&ends.client, loop, &address, 0, &ends.ready));
    RUN_UNTIL(ready_has(&ends, &ends.client, IO_READY_FAILED));
    assert_err(ends.client.error, ERR_REFUSED);
    ends_close(&ends);
}

/* An address that is only taken refuses, until it listens. */
static void a_listener_that_waits_refuses(void **state)
{
    struct ends ends = {.client.fd = -1, .server.fd = -1};
    list_init(&ends.ready);
    io_loop_refresh(loop);
    struct io_listener_config config = {
        .address = loopback(), .flags = IO_LISTEN_LATER, .accepted = on_accepted, .ctx = &ends};
    assert_ok(io_listener_new(loop, &config, &ends.listener));
    struct io_address address = *io_listener_address(ends.listener);
    assert_ok(io_socket_connect(&ends.client, loop, &address, 0, &ends.ready));
    RUN_UNTIL(ready_has(&ends, &ends.client, IO_READY_FAILED));
    assert_err(ends.client.error, ERR_REFUSED);
    io_socket_close(&ends.client);
    assert_ok(io_listener_start(ends.listener));
    assert_ok(io_socket_connect(&ends.client, loop, &address, 0, &ends.ready));
    RUN_UNTIL(ends.server.fd >= 0);
    ends_close(&ends);
}

/* A listener whose queue is full lets connects hang. */
static void a_connect_that_hangs_ends_at_its_deadline(void **state)
{
    struct io_address address = loopback();
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address.storage, address.len), 0);
    assert_int_equal(listen(listener, 0), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address.storage, &address.len), 0);
    int fillers[8];
    for (unsigned i = 0; i < 8; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(fillers[i], (struct sockaddr *)&address.storage, address.len);
    }
    struct ends ends = {.client.fd = -1, .server.fd = -1};
    list_init(&ends.ready);
    io_loop_refresh(loop);
    assert_ok(
        io_socket_connect(&ends.client, loop, &address, io_loop_now_ms(loop) + 50, &ends.ready));
    RUN_UNTIL(ready_has(&ends, &ends.client, IO_READY_FAILED));
    assert_err(ends.client.error, ERR_TIMED_OUT);
    ends_close(&ends);
    for (unsigned i = 0; i < 8; i++)
        close(fillers[i]);
    close(listener);
}

static void a_reset_is_a_closed_socket(void **state)
{
    struct ends ends;
    struct io_address address = loopback();
    ends_connect(&ends, &address);
    io_socket_abort(&ends.client);
    RUN_UNTIL(ready_has(&ends, &ends.server, IO_READY_READ));
    uint8_t byte;
    size_t n;
    assert_err(io_socket_read(&ends.server, &byte, 1, &n), ERR_CLOSED);
    ends_close(&ends);
}

static void an_owner_that_does_not_want_to_read_is_left_alone(void **state)
{
    struct ends ends;
    struct io_address address = loopback();
    ends_connect(&ends, &address);
    io_socket_want(&ends.server, 0);
    struct iovec iov = {"x", 1};
    size_t n;
    assert_ok(io_socket_write(&ends.client, &iov, 1, &n));
    for (unsigned i = 0; i < 20; i++) {
        io_loop_run_once(loop, 1);
        assert_false(ready_has(&ends, &ends.server, IO_READY_READ));
    }
    io_socket_want(&ends.server, IO_READY_READ);
    RUN_UNTIL(ready_has(&ends, &ends.server, IO_READY_READ));
    ends_close(&ends);
}

/* Out of descriptors a client sees an end, not a silence, and the listener lives on. */
static void without_descriptors_clients_are_refused_and_later_served(void **state)
{
    struct ends ends;
    struct io_address address = loopback();
    ends_listen(&ends, &address);
    address = *io_listener_address(ends.listener);
    int client = socket(AF_INET, SOCK_STREAM, 0);
    int later = socket(AF_INET, SOCK_STREAM, 0);
    struct rlimit before, tight;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    int highest = dup(0);
    close(highest);
    tight = before;
    tight.rlim_cur = (rlim_t)highest;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    assert_int_equal(connect(client, (struct sockaddr *)&address.storage, address.len), 0);
    RUN_UNTIL(io_listener_refused(ends.listener) == 1);
    char byte;
    ssize_t got = recv(client, &byte, 1, 0);
    assert_true(got == 0 || (got < 0 && errno == ECONNRESET));
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(connect(later, (struct sockaddr *)&address.storage, address.len), 0);
    RUN_UNTIL(ends.accepted);
    close(client);
    close(later);
    ends_close(&ends);
}

int main(void)
{
    (void)signal(SIGPIPE, SIG_DFL); /* a write to a closed peer must not kill us */
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(stages_run_by_their_order_while_there_is_more),
        T(timers_fire_when_their_time_has_come),
        T(a_task_from_another_thread_wakes_the_loop),
        T(another_thread_stops_the_loop),
        T(a_signal_is_a_call_in_the_loop),
        T(workers_work_elsewhere_and_come_back),
        T(localhost_is_found),
        T(addresses_have_texts),
        T(bytes_flow_over_tcp),
        T(bytes_flow_over_a_unix_socket),
        T(a_dead_unix_path_is_replaced),
        T(a_taken_port_is_said),
        T(a_refused_connect_fails_by_name),
        T(a_listener_that_waits_refuses),
        T(a_connect_that_hangs_ends_at_its_deadline),
        T(a_reset_is_a_closed_socket),
        T(an_owner_that_does_not_want_to_read_is_left_alone),
        T(without_descriptors_clients_are_refused_and_later_served),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
