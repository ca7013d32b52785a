/* What systemd hears of a member: when it counts as started, and its line of status. */
#include "base/check.h"
#include "server/supervisor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct manager {
    int fd;
    struct supervisor supervisor;
    struct membership *members;
    struct replica_view view;
};

/* The manager's socket, in the abstract namespace: nothing is left on the disk. */
static void set_up(struct manager *self)
{
    char path[64];
    int len = snprintf(path, sizeof(path), "@coracle-supervisor-%d", (int)getpid());
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path + 1, path + 1, (size_t)len - 1);
    self->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    assert_true(self->fd >= 0);
    assert_int_equal(bind(self->fd, (struct sockaddr *)&address,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)len)),
                     0);
    assert_int_equal(setenv("NOTIFY_SOCKET", path, 1), 0);
    supervisor_init(&self->supervisor, 1000);
    assert_null(getenv("NOTIFY_SOCKET"));
    assert_true(err_ok(membership_parse_initial(
        bytes_str("a=http://127.0.0.1:1,b=http://127.0.0.1:2,c=http://127.0.0.1:3"), bytes_str("t"),
        &self->members)));
    self->view =
        (struct replica_view){.members = self->members, .member_id = self->members->members[0].id};
}

static void tear_down(struct manager *self)
{
    supervisor_done(&self->supervisor);
    membership_free(self->members);
    (void)close(self->fd);
}

static void assert_heard(struct manager *self, const char *text)
{
    char buffer[512];
    ssize_t n = recv(self->fd, buffer, sizeof(buffer) - 1, 0);
    if (!text) {
        assert_true(n < 0);
        return;
    }
    assert_true(n > 0);
    buffer[n] = '\0';
    assert_string_equal(buffer, text);
}

static void test_ready_when_it_serves(void **state)
{
    struct manager at;
    set_up(&at);
    supervisor_view(&at.supervisor, &at.view, false, 1001);
    assert_heard(&at, "STATUS=no leader; 3 members; waiting for the other members");
    at.view.leader_id = at.view.member_id;
    at.view.term = 4;
    supervisor_view(&at.supervisor, &at.view, true, 1002);
    assert_heard(&at, "READY=1");
    assert_heard(&at, "STATUS=leader; 3 members; term 4");
    supervisor_view(&at.supervisor, &at.view, true, 1003);
    assert_heard(&at, NULL);
    at.view.leader_id = at.members->members[1].id;
    at.view.term = 5;
    supervisor_view(&at.supervisor, &at.view, true, 1004);
    char expected[128];
    const char *name = at.members->members[1].name;
    (void)snprintf(expected, sizeof(expected), "STATUS=follower of %s; 3 members; term 5", name);
    assert_true(name[0]);
    assert_heard(&at, expected);
    supervisor_stopping(&at.supervisor);
    assert_heard(&at, "STOPPING=1\nSTATUS=stopping");
    tear_down(&at);
}

/* The first host of a cluster that is started host by host. */
static void test_ready_though_alone(void **state)
{
    struct manager at;
    set_up(&at);
    supervisor_view(&at.supervisor, &at.view, false, 1000 + SUPERVISOR_PATIENCE_MS - 1);
    assert_heard(&at, "STATUS=no leader; 3 members; waiting for the other members");
    assert_heard(&at, NULL);
    supervisor_view(&at.supervisor, &at.view, false, 1000 + SUPERVISOR_PATIENCE_MS);
    assert_heard(&at, "READY=1");
    assert_heard(&at, NULL);
    tear_down(&at);
}

static void test_nobody_to_tell(void **state)
{
    static const char *const bad[] = {"", "relative", "/", "@"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct supervisor supervisor;
        assert_int_equal(setenv("NOTIFY_SOCKET", bad[i], 1), 0);
        supervisor_init(&supervisor, 0);
        assert_int_equal(supervisor.fd, -1);
        supervisor_stopping(&supervisor);
        supervisor_done(&supervisor);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ready_when_it_serves),
        cmocka_unit_test(test_ready_though_alone),
        cmocka_unit_test(test_nobody_to_tell),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
