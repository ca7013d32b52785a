/* Endpoints as text, and which errors etcd's clients know by name. */
#include "t.h"

#include "client/client.h"
#include "client/endpoint.h"

#include <string.h>

static void endpoints_come_bare_or_as_urls(void **state)
{
    static const struct {
        const char *text, *host, *authority;
        uint16_t port;
        bool unix_socket, tls;
    } rows[] = {
        {"127.0.0.1:2379", "127.0.0.1", "127.0.0.1:2379", 2379, false, false},
        {"http://host.example:80", "host.example", "host.example:80", 80, false, false},
        {"http://h:1/path?x", "h", "h:1", 1, false, false},
        {"[::1]:2379", "::1", "[::1]:2379", 2379, false, false},
        {"https://h:65535", "h", "h:65535", 65535, false, true},
        {"unix:///run/e.sock", "/run/e.sock", "localhost", 0, true, false},
        {"unix:e.sock", "e.sock", "localhost", 0, true, false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct endpoint AUTO(endpoint_done) e;
        assert_ok(endpoint_parse(bytes_str(rows[i].text), &e));
        assert_string_equal(e.text, rows[i].text);
        assert_string_equal(e.host, rows[i].host);
        assert_string_equal(e.authority, rows[i].authority);
        assert_int_equal(e.port, rows[i].port);
        assert_int_equal(e.unix_socket, rows[i].unix_socket);
        assert_int_equal(e.tls, rows[i].tls);
    }
}

static void what_has_no_host_or_port_is_no_endpoint(void **state)
{
    static const char *const bad[] = {"",      ":",         "host",          "host:",   ":2379",
                                      "h:0",   "h:65536",   "h:x",           "h:-1",    "::1:2379",
                                      "a b:1", "ftp://h:1", "[]:1",          "unix://", "h:1x",
                                      "u@h:1", "h\x7f:1",   "h:111111111111"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct endpoint AUTO(endpoint_done) e;
        assert_err(endpoint_parse(bytes_str(bad[i]), &e), ERR_SYNTAX);
        assert_string_equal(e.text, bad[i]);
    }
    char text[400];
    struct endpoint AUTO(endpoint_done) e;
    memset(text, 'a', sizeof(text));
    memcpy(text + sizeof(text) - 3, ":1", 3);
    assert_err(endpoint_parse(bytes_str(text), &e), ERR_LIMIT);
}

static void errors_are_known_as_the_facts_say(void **state)
{
    FILE *facts = fopen(*state, "r");
    char line[512];
    unsigned rows = 0;
    assert_non_null(facts);
    assert_non_null(fgets(line, sizeof(line), facts));
    while (fgets(line, sizeof(line), facts)) {
        char *save, *code = strtok_r(line, "\t\n", &save);
        char *declared = strtok_r(NULL, "\t\n", &save), *known = strtok_r(NULL, "\t\n", &save);
        char *text = strtok_r(NULL, "\t\n", &save);
        assert_non_null(code && declared ? text : NULL);
        if (client_error_known(bytes_str(text)) != (*known == '1'))
            fail_msg("%s: facts say %s", text, known);
        rows++;
    }
    (void)fclose(facts);
    assert_true(rows > 60);
    assert_false(client_error_known(BYTES_LIT("etcdserver: something else")));
    assert_false(client_error_known(BYTES_LIT("")));
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(endpoints_come_bare_or_as_urls),
        cmocka_unit_test(what_has_no_host_or_port_is_no_endpoint),
        cmocka_unit_test_prestate(errors_are_known_as_the_facts_say, argv[1]),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
