/* The settings as an operator meets them: accepted, refused, and with which words. */
#include "base/buf.h"
#include "server/cluster_list.h"
#include "server/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static char *const no_environment[] = {NULL};

struct attempt {
    struct config config;
    enum config_outcome outcome;
    const char *reason;
};

static void load(struct attempt *self, char *const *args, char *const *environment)
{
    int argc = 0;
    while (args[argc])
        argc++;
    self->reason = "";
    self->outcome = config_load(&self->config, argc, args, environment, &self->reason);
}

#define ARGS(...) ((char *const[]){__VA_ARGS__, NULL})

static void test_defaults(void **state)
{
    struct attempt at;
    load(&at, (char *const[]){NULL}, no_environment);
    assert_int_equal(at.outcome, CONFIG_GO);
    assert_string_equal(at.config.name, "default");
    assert_string_equal(at.config.data_dir, "default.etcd");
    assert_string_equal(at.config.initial_cluster, "default=http://localhost:2380");
    assert_int_equal(at.config.max_request_bytes, 1572864);
    assert_int_equal(at.config.keepalive_interval_ns, 7200 * 1000000000LL);
    config_done(&at.config);
}

static void test_forms_of_flags(void **state)
{
    struct attempt at;
    load(&at,
         ARGS("--name=a", "-data-dir", "/d", "--pre-vote=false", "--heartbeat-interval", "0x32",
              "-force", "ignored", "--initial-election-tick-advance"),
         no_environment);
    assert_int_equal(at.outcome, CONFIG_GO);
    assert_string_equal(at.config.name, "a");
    assert_string_equal(at.config.data_dir, "/d");
    assert_false(at.config.pre_vote);
    assert_int_equal(at.config.heartbeat_interval_ms, 50);
    config_done(&at.config);
}

/* Comparing members is on where nothing is said, and off where 0 is. */
static void test_corrupt_check_time(void **state)
{
    const struct {
        char *const *args;
        int64_t ns;
    } rows[] = {
        {(char *const[]){NULL}, 600 * 1000000000LL},
        {ARGS("--corrupt-check-time", "0"), 0},
        {ARGS("--corrupt-check-time=90s"), 90 * 1000000000LL},
        {ARGS("--experimental-corrupt-check-time=0s"), 0},
        {ARGS("--experimental-corrupt-check-time=1m"), 60 * 1000000000LL},
        {ARGS("--corrupt-check-time=2s", "--experimental-corrupt-check-time=1m"), 2000000000},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct attempt at;
        load(&at, rows[i].args, no_environment);
        assert_int_equal(at.outcome, CONFIG_GO);
        assert_int_equal(config_corrupt_check_ns(&at.config), rows[i].ns);
        assert_int_equal(config_corrupt_check_is_set(&at.config), i > 0);
        config_done(&at.config);
    }
}

struct refusal {
    char *const *args;
    enum config_outcome outcome;
    const char *reason;
};

static void test_refusals(void **state)
{
    static char *const a1[] = {"--nonsense", NULL};
    static char *const a2[] = {"--name", NULL};
    static char *const a3[] = {"--listen-client-urls", "ftp://127.0.0.1:1", NULL};
    static char *const a4[] = {"--pre-vote=maybe", NULL};
    static char *const a5[] = {"stray", NULL};
    static char *const a6[] = {"--election-timeout", "400", NULL};
    static char *const a7[] = {"--election-timeout", "60000", NULL};
    static char *const a8[] = {"--listen-client-urls", "http://127.0.0.1:1", NULL};
    static char *const a9[] = {"--listen-peer-urls", "http://example.com:2380", NULL};
    static char *const b1[] = {"--listen-peer-urls", "http://127.0.0.1", NULL};
    static char *const b2[] = {"--listen-peer-urls", "http://127.0.0.1:2380/x", NULL};
    static char *const b3[] = {"--auto-tls", NULL};
    static char *const b4[] = {"--initial-cluster-state", "old", NULL};
    static char *const b5[] = {"--feature-gates", "Nope=true", NULL};
    static char *const b6[] = {"--log-level", "loud", NULL};
    static char *const b7[] = {"--log-format", "xml", NULL};
    static char *const b8[] = {"--snapshot-count", "-1", NULL};
    static char *const b9[] = {"--cluster-version-max", "3.8", NULL};
    static char *const c1[] = {"--cluster-version-max", "latest", NULL};
    static const struct refusal rows[] = {
        {b9, CONFIG_REFUSED, "--cluster-version-max must be 3.0 to 3.7"},
        {c1, CONFIG_REFUSED, "--cluster-version-max must be 3.0 to 3.7"},
        {a1, CONFIG_USAGE, "flag provided but not defined: -nonsense"},
        {a2, CONFIG_USAGE, "flag needs an argument: -name"},
        {a3, CONFIG_USAGE,
         "invalid value \"ftp://127.0.0.1:1\" for flag -listen-client-urls: URL scheme must be "
         "http, https, unix, or unixs: ftp://127.0.0.1:1"},
        {a4, CONFIG_USAGE, "invalid boolean value \"maybe\" for -pre-vote: parse error"},
        {a5, CONFIG_REFUSED, "\"stray\" is not a valid flag"},
        {a6, CONFIG_REFUSED,
         "--election-timeout[400ms] should be at least as 5 times as --heartbeat-interval[100ms]"},
        {a7, CONFIG_REFUSED,
         "--election-timeout[60000ms] is too long, and should be set less than 50000ms"},
        {a8, CONFIG_REFUSED,
         "--advertise-client-urls is required when --listen-client-urls is set explicitly"},
        {a9, CONFIG_REFUSED, "expected IP in URL for binding (http://example.com:2380)"},
        {b1, CONFIG_USAGE,
         "invalid value \"http://127.0.0.1\" for flag -listen-peer-urls: URL address does not "
         "have the form \"host:port\": http://127.0.0.1"},
        {b2, CONFIG_USAGE,
         "invalid value \"http://127.0.0.1:2380/x\" for flag -listen-peer-urls: URL must not "
         "contain a path: http://127.0.0.1:2380/x"},
        {b3, CONFIG_REFUSED,
         "--auto-tls is not supported by this server yet (certificate of our own making for "
         "clients); leave it at its default"},
        {b4, CONFIG_REFUSED,
         "invalid value \"old\" for initial-cluster-state: new or existing is expected"},
        {b5, CONFIG_USAGE,
         "invalid value \"Nope=true\" for flag -feature-gates: unrecognized feature gate: Nope"},
        {b6, CONFIG_REFUSED, "unrecognized level: \"loud\""},
        {b7, CONFIG_REFUSED, "unknown log format: xml, supported values json, console"},
        {b8, CONFIG_USAGE, "invalid value \"-1\" for flag -snapshot-count: parse error"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct attempt at;
        load(&at, rows[i].args, no_environment);
        assert_string_equal(at.reason, rows[i].reason);
        assert_int_equal(at.outcome, rows[i].outcome);
        config_done(&at.config);
    }
}

/* The article's file, sourced as an environment. */
static void test_environment(void **state)
{
    static char *const environment[] = {
        "PATH=/bin",
        "ETCD_NAME=etcd1",
        "ETCD_DATA_DIR=/var/lib/etcd",
        "ETCD_LISTEN_PEER_URLS=http://192.168.0.11:2380",
        "ETCD_LISTEN_CLIENT_URLS=http://192.168.0.11:2379,http://127.0.0.1:2379",
        "ETCD_INITIAL_ADVERTISE_PEER_URLS=http://192.168.0.11:2380",
        "ETCD_ADVERTISE_CLIENT_URLS=http://192.168.0.11:2379",
        "ETCD_INITIAL_CLUSTER=etcd1=http://192.168.0.11:2380,etcd2=http://192.168.0.12:2380,"
        "etcd3=http://192.168.0.13:2380",
        "ETCD_INITIAL_CLUSTER_TOKEN=etcd-cluster",
        "ETCD_INITIAL_CLUSTER_STATE=new",
        "ETCD_ENABLE_V2=true",
        "ETCD_ODD=1",
        NULL,
    };
    struct attempt at;
    load(&at, (char *const[]){NULL}, environment);
    assert_string_equal(at.reason, "");
    assert_int_equal(at.outcome, CONFIG_GO);
    assert_int_equal(at.config.listen_client_urls.count, 2);
    assert_true(at.config.enable_v2);
    bool seen = false;
    for (unsigned i = 0; i < at.config.notice_count; i++)
        seen |= at.config.notices[i].value && strcmp(at.config.notices[i].value, "ETCD_ODD=1") == 0;
    assert_true(seen);
    struct cluster_list list;
    const char *why = "";
    assert_true(
        err_ok(cluster_list_parse(&at.config.arena, at.config.initial_cluster, &list, &why)));
    assert_int_equal(list.count, 3);
    assert_true(err_ok(cluster_list_check(&at.config.arena, &list, &at.config, true, &why)));
    config_done(&at.config);
}

static void test_flag_and_variable_clash(void **state)
{
    static char *const environment[] = {"ETCD_NAME=x", NULL};
    struct attempt at;
    load(&at, ARGS("--name", "y"), environment);
    assert_int_equal(at.outcome, CONFIG_CLASH);
    assert_string_equal(at.reason, "ETCD_NAME");
    config_done(&at.config);
}

static void test_cluster_mismatches(void **state)
{
    static const struct {
        const char *name, *cluster, *reason;
    } rows[] = {
        {"c", "a=http://h:1,b=http://h:2",
         "couldn't find local name \"c\" in the initial cluster configuration (--name is to be one "
         "of a, b)"},
        {"a", "a=http://h:1,b=http://h:1",
         "initial cluster a=http://h:1,b=http://h:1 has duplicate url"},
        {"a", "a=http://h:9,b=http://h:2",
         "--initial-cluster has a=http://h:9 but missing from "
         "--initial-advertise-peer-urls=http://h:1 (resolved urls: \"http://h:1\" != "
         "\"http://h:9\")"},
        {"a", "a", "--initial-cluster: \"a\" is not of the form NAME=URL"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct attempt at;
        load(&at,
             ARGS("--name", (char *)rows[i].name, "--initial-advertise-peer-urls", "http://h:1",
                  "--initial-cluster", (char *)rows[i].cluster),
             no_environment);
        assert_int_equal(at.outcome, CONFIG_GO);
        struct cluster_list list;
        const char *why = "";
        err e = cluster_list_parse(&at.config.arena, at.config.initial_cluster, &list, &why);
        if (err_ok(e))
            e = cluster_list_check(&at.config.arena, &list, &at.config, true, &why);
        assert_false(err_ok(e));
        assert_string_equal(why, rows[i].reason);
        config_done(&at.config);
    }
}

static void load_file(struct attempt *at, const char *text, char *path)
{
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    assert_int_equal(close(fd), 0);
    load(at, ARGS("--config-file", path, "--name", "overruled"), no_environment);
    assert_int_equal(unlink(path), 0);
}

static void test_file(void **state)
{
    char path[] = "/tmp/coracle-config-XXXXXX";
    struct attempt at;
    load_file(&at,
              "name: m1\ndata-dir: /x\nelection-timeout: 2000\nlog-outputs: [stderr, /tmp/l]\n"
              "warning-apply-duration: 5000000\nsocket-options:\n  reuse-port: true\n"
              "unheard-of: 3\nlisten-peer-urls: http://127.0.0.1:1,http://127.0.0.1:2\n",
              path);
    assert_string_equal(at.reason, "");
    assert_int_equal(at.outcome, CONFIG_GO);
    assert_string_equal(at.config.name, "m1");
    assert_int_equal(at.config.election_timeout_ms, 2000);
    assert_int_equal(at.config.log_outputs.count, 2);
    assert_int_equal(at.config.warning_apply_ns, 5000000);
    assert_true(at.config.socket_reuse_port);
    assert_int_equal(at.config.listen_peer_urls.count, 2);
    assert_string_equal(at.config.notices[0].value, "unheard-of");
    config_done(&at.config);
}

static void test_file_json_and_bad(void **state)
{
    static const struct {
        const char *text;
        enum config_outcome outcome;
    } rows[] = {
        {"{\"name\": \"j\", \"pre-vote\": false}", CONFIG_GO},
        {"", CONFIG_GO},
        {"[1, 2]", CONFIG_REFUSED},
        {"name: [a, {b: c}]", CONFIG_REFUSED},
        {"a: &x {}\nb: *x\n", CONFIG_REFUSED},
        {"name: \"unterminated\n", CONFIG_REFUSED},
        {"listen-peer-urls: gopher://x", CONFIG_PLAIN},
        {"pre-vote: perhaps", CONFIG_REFUSED},
        {"a: {b: {c: {d: {e: {f: {g: {h: {i: {j: 1}}}}}}}}}}", CONFIG_REFUSED},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char path[] = "/tmp/coracle-config-XXXXXX";
        struct attempt at;
        load_file(&at, rows[i].text, path);
        if (at.outcome != rows[i].outcome)
            fail_msg("row %zu: %s", i, at.reason);
        config_done(&at.config);
    }
}

static void test_usage_names_every_flag(void **state)
{
    struct buf text;
    buf_init(&text, 1 << 16);
    config_usage(&text);
    assert_true(err_ok(buf_append(&text, bytes_of("", 1))));
#define X(kind, field, flag, default_text, yaml, standing, help) \
    assert_non_null(strstr((const char *)text.data, "--" flag " "));
#include "server/config_table.h"
#undef X
    buf_done(&text);
}

static void retentions_are_read_as_etcd_reads_them(void **ctx)
{
    (void)ctx;
    static const struct {
        char *mode, *retention;
        int64_t period_ns, revisions;
        const char *reason;
    } rows[] = {
        {"periodic", "0", 0, 0, NULL},
        {"periodic", "12", 12 * 3600000000000, 0, NULL},
        {"periodic", "+1", 3600000000000, 0, NULL},
        {"periodic", "90m", 3600000000000 + 1800000000000, 0, NULL},
        {"periodic", "5s", 5000000000, 0, NULL},
        {"revision", "1000", 0, 1000, NULL},
        {"revision", "0", 0, 0, NULL},
        {"revision", "2us", 0, 2000, NULL},
        {"periodic", "abc", 0, 0,
         "error parsing CompactionRetention: time: invalid duration \"abc\""},
        {"periodic", "-1", 0, 0,
         "error parsing CompactionRetention: time: invalid duration \"-1\""},
        {"periodic", "-1h", 0, 0,
         "error parsing CompactionRetention: time: invalid duration \"-1h\""},
        {"periodic", "9999999", 0, 0,
         "error parsing CompactionRetention: time: invalid duration \"9999999\""},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char *const args[] = {"--auto-compaction-mode", rows[i].mode, "--auto-compaction-retention",
                              rows[i].retention, NULL};
        struct attempt at;
        int64_t period_ns = -1, revisions = -1;
        const char *reason = NULL;
        load(&at, args, no_environment);
        assert_int_equal(at.outcome, CONFIG_GO);
        err e = config_compaction(&at.config, &at.config.arena, &period_ns, &revisions, &reason);
        assert_int_equal(err_ok(e), rows[i].reason == NULL);
        if (rows[i].reason) {
            assert_string_equal(reason, rows[i].reason);
        } else {
            assert_int_equal(period_ns, rows[i].period_ns);
            assert_int_equal(revisions, rows[i].revisions);
        }
        config_done(&at.config);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_corrupt_check_time),
        cmocka_unit_test(test_forms_of_flags),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_environment),
        cmocka_unit_test(test_flag_and_variable_clash),
        cmocka_unit_test(test_cluster_mismatches),
        cmocka_unit_test(test_file),
        cmocka_unit_test(test_file_json_and_bad),
        cmocka_unit_test(test_usage_names_every_flag),
        cmocka_unit_test(retentions_are_read_as_etcd_reads_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
