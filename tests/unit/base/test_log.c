/* The log's lines as a reader of stderr sees them, and that no reader can block a writer. */
#include "t.h"

#include "base/clock.h"
#include "base/log.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define DEADLINE_MS 20000

/* What the log wrote to a file between start and stop. */
struct capture {
    FILE *file;
    int fd;
    char *text;
};

static void capture_start(struct capture *self, enum log_format format, enum log_level level)
{
    self->file = tmpfile();
    assert_non_null(self->file);
    self->fd = fileno(self->file);
    self->text = NULL;
    log_init(&(struct log_config){level, format, &self->fd, 1});
}

static const char *capture_stop(struct capture *self)
{
    log_done();
    off_t size = lseek(self->fd, 0, SEEK_END);
    self->text = calloc(1, (size_t)size + 1);
    assert_int_equal(pread(self->fd, self->text, (size_t)size, 0), size);
    return self->text;
}

static void capture_done(struct capture *self)
{
    fclose(self->file);
    free(self->text);
}

static unsigned count_of(const char *text, const char *what)
{
    unsigned n = 0;
    for (; (text = strstr(text, what)); text += strlen(what))
        n++;
    return n;
}

static const char *const urls[] = {"http://a:1", "http://b:2", NULL};

static void json_line_has_its_keys_in_order(void **state)
{
    setenv("TZ", "UTC", 1);
    tzset();
    struct capture AUTO(capture_done) capture;
    capture_start(&capture, LOG_JSON, LOG_INFO);
    long first_line = __LINE__;
    LOG_AT(LOG_WARN, "raft", "took long", LOG_NS("took", 1500000000),
           LOG_STR("text", "a\"b\\c\n\x01"), LOG_HEX("local-member-id", 0x8e9e05c52164694dULL),
           LOG_INT("n", -5), LOG_UINT("u", UINT64_MAX), LOG_BOOL("ok", true),
           LOG_STRS("urls", urls),
           LOG_BYTES("bytes", BYTES_LIT("\xff\xc3\xa4\xed\xa0\x80\xf4\x90\x80\x80\xe2\x82")),
           LOG_ERR(ERR_NO_SPACE));
    LOGI("plain");
    LOGD("not shown");
    const char *text = capture_stop(&capture);
    const char *ts = strstr(text, "\"ts\":\"");
    assert_non_null(ts);
    assert_int_equal(strcspn(ts + 6, "\""), strlen("2006-01-02T15:04:05.000000Z"));
    assert_int_equal(ts[6 + 26], 'Z');
    assert_int_equal(ts[6 + 19], '.');
    /* Compilers differ in which line of a long call they name. */
    const char *caller = strstr(text, "base/test_log.c:");
    assert_non_null(caller);
    long line = strtol(caller + strlen("base/test_log.c:"), NULL, 10);
    assert_in_range(line, first_line + 1, __LINE__);
    char want[1024];
    snprintf(want, sizeof(want),
             "{\"level\":\"warn\",\"ts\":\"%.27s\",\"logger\":\"raft\",\"caller\":\"base/"
             "test_log.c:%ld\","
             "\"msg\":\"took long\",\"took\":\"1.5s\",\"text\":\"a\\\"b\\\\c\\n\\u0001\","
             "\"local-member-id\":\"8e9e05c52164694d\",\"n\":-5,\"u\":18446744073709551615,"
             "\"ok\":true,\"urls\":[\"http://a:1\",\"http://b:2\"],"
             "\"bytes\":"
             "\"\\ufffd\xc3\xa4\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\","
             "\"error\":\"etcdserver: mvcc: database space exceeded\"}\n",
             ts + 6, line);
    assert_memory_equal(text, want, strlen(want));
    const char *second = text + strlen(want);
    assert_non_null(strstr(second, "\"msg\":\"plain\"}\n"));
    assert_null(strstr(text, "not shown"));
    assert_null(strstr(second, "logger"));
}

static void time_is_local_with_its_zone(void **state)
{
    setenv("TZ", "XYZ-05:30", 1);
    tzset();
    struct capture AUTO(capture_done) capture;
    capture_start(&capture, LOG_JSON, LOG_INFO);
    LOGI("x");
    const char *text = capture_stop(&capture);
    setenv("TZ", "UTC", 1);
    tzset();
    const char *ts = strstr(text, "\"ts\":\"");
    assert_non_null(ts);
    assert_memory_equal(ts + 6 + 26, "+0530\"", 6);
}

static void console_line_is_tab_separated(void **state)
{
    struct capture AUTO(capture_done) capture;
    capture_start(&capture, LOG_CONSOLE, LOG_DEBUG);
    LOGD("with fields", LOG_STR("a", "b"), LOG_INT("n", 1));
    LOG_AT(LOG_ERROR, "raft", "without");
    const char *text = capture_stop(&capture);
    const char *rest = strchr(text, '\t');
    assert_non_null(rest);
    assert_memory_equal(rest, "\tdebug\tbase/test_log.c:", 23);
    assert_non_null(strstr(rest, "\twith fields\t{\"a\": \"b\", \"n\": 1}\n"));
    assert_non_null(strstr(rest, "\terror\traft\tbase/test_log.c:"));
    assert_non_null(strstr(rest, "\twithout\n"));
}

static void a_flood_of_one_message_is_thinned(void **state)
{
    struct capture AUTO(capture_done) capture;
    capture_start(&capture, LOG_JSON, LOG_INFO);
    uint64_t second = clock_mono_ns() / 1000000000;
    for (int i = 0; i < 1100; i++)
        LOGI("flood", LOG_INT("i", i));
    LOGI("calm");
    bool same_second = clock_mono_ns() / 1000000000 == second;
    const char *text = capture_stop(&capture);
    unsigned lines = count_of(text, "\"flood\"");
    if (same_second) {
        assert_int_equal(lines, 110);
        assert_non_null(strstr(text, "\"i\":99}"));
        assert_null(strstr(text, "\"i\":100}"));
        assert_non_null(strstr(text, "\"i\":199}"));
    }
    assert_in_range(lines, 110, 220);
    assert_int_equal(count_of(text, "\"calm\""), 1);
}

static void a_field_too_long_is_left_out_whole(void **state)
{
    struct capture AUTO(capture_done) capture;
    capture_start(&capture, LOG_JSON, LOG_INFO);
    char *big = malloc(100000);
    memset(big, '\n', 100000);
    LOGI("big", LOG_INT("before", 1), LOG_BYTES("big", bytes_of(big, 100000)));
    free(big);
    assert_non_null(strstr(capture_stop(&capture), "\"msg\":\"big\",\"before\":1}\n"));
}

/* The sum of the counts told in text. */
static unsigned long dropped_in(const char *text)
{
    unsigned long n = 0;
    while ((text = strstr(text, "dropped log lines\",\"count\":"))) {
        text += strlen("dropped log lines\",\"count\":");
        n += strtoul(text, NULL, 10);
    }
    return n;
}

/* A pipe that nobody reads: the lines go on at full speed, what finds no room is counted, the
 * count is told when the reader is back. */
static void a_blocked_reader_blocks_nobody(void **state)
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    log_init(&(struct log_config){LOG_INFO, LOG_JSON, &fds[1], 1});
    enum { LINES = 2000 };
    char filler[1000];
    memset(filler, 'f', sizeof(filler));
    for (int i = 0; i < LINES; i++) {
        char msg[32];
        snprintf(msg, sizeof(msg), "message %d", i);
        LOGI(msg, LOG_BYTES("filler", bytes_of(filler, sizeof(filler))));
    }
    /* All came back although the pipe was full after some sixty; now it is read again. */
    size_t len = 0;
    size_t room = 4 << 20;
    char *text = calloc(1, room);
    assert_non_null(text);
    uint64_t deadline_ms = clock_mono_ms() + DEADLINE_MS;
    while (count_of(text, "\"msg\":\"message ") + dropped_in(text) < LINES) {
        assert_true(clock_mono_ms() < deadline_ms);
        struct pollfd pollfd = {.fd = fds[0], .events = POLLIN};
        assert_true(poll(&pollfd, 1, DEADLINE_MS) == 1);
        ssize_t n = read(fds[0], text + len, room - 1 - len);
        assert_true(n > 0);
        len += (size_t)n;
    }
    log_done();
    close(fds[1]);
    close(fds[0]);
    assert_true(dropped_in(text) > 0);
    assert_int_equal(count_of(text, "\"msg\":\"message ") + dropped_in(text), LINES);
    free(text);
}

static void stopping_does_not_wait_for_a_blocked_reader(void **state)
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    log_init(&(struct log_config){LOG_INFO, LOG_JSON, &fds[1], 1});
    char filler[5000];
    memset(filler, 'f', sizeof(filler));
    for (int i = 0; i < 100; i++)
        LOGI("x", LOG_BYTES("filler", bytes_of(filler, sizeof(filler))));
    uint64_t before_ms = clock_mono_ms();
    log_done();
    assert_in_range(clock_mono_ms() - before_ms, 0, 2000);
    close(fds[0]);
    close(fds[1]);
}

static void *chatter(void *ctx)
{
    for (int i = 0; i < 300; i++) {
        char msg[32];
        snprintf(msg, sizeof(msg), "thread %c %d", *(char *)ctx, i);
        LOGI(msg, LOG_INT("i", i));
    }
    return NULL;
}

static void lines_of_many_threads_stay_whole(void **state)
{
    struct capture AUTO(capture_done) capture;
    capture_start(&capture, LOG_JSON, LOG_INFO);
    char names[] = "abc";
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, chatter, &names[i]), 0);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    const char *text = capture_stop(&capture);
    assert_int_equal(count_of(text, "{\"level\":\"info\",\"ts\":"), 900);
    assert_int_equal(count_of(text, "}\n"), 900);
    assert_int_equal(count_of(text, "\n"), 900);
}

static void levels_have_names(void **state)
{
    enum log_level level = LOG_INFO;
    assert_true(log_level_parse("debug", &level));
    assert_int_equal(level, LOG_DEBUG);
    assert_true(log_level_parse("WARN", &level));
    assert_int_equal(level, LOG_WARN);
    assert_true(log_level_parse("fatal", &level));
    assert_int_equal(level, LOG_FATAL);
    assert_false(log_level_parse("warning", &level));
    assert_false(log_level_parse("", &level));
    assert_int_equal(level, LOG_FATAL);
}

static void level_can_change_while_running(void **state)
{
    assert_false(log_enabled(LOG_FATAL)); /* no log yet */
    struct capture AUTO(capture_done) capture;
    capture_start(&capture, LOG_JSON, LOG_WARN);
    LOGI("one");
    log_set_level(LOG_DEBUG);
    LOGD("two");
    const char *text = capture_stop(&capture);
    assert_null(strstr(text, "one"));
    assert_non_null(strstr(text, "two"));
    assert_false(log_enabled(LOG_FATAL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_line_has_its_keys_in_order),
        cmocka_unit_test(time_is_local_with_its_zone),
        cmocka_unit_test(console_line_is_tab_separated),
        cmocka_unit_test(a_flood_of_one_message_is_thinned),
        cmocka_unit_test(a_field_too_long_is_left_out_whole),
        cmocka_unit_test(a_blocked_reader_blocks_nobody),
        cmocka_unit_test(stopping_does_not_wait_for_a_blocked_reader),
        cmocka_unit_test(lines_of_many_threads_stay_whole),
        cmocka_unit_test(levels_have_names),
        cmocka_unit_test(level_can_change_while_running),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
