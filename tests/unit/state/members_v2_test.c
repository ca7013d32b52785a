/* Members as the v2 store's JSON, both ways. */
#include "state/members_v2.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static struct membership *sample(void)
{
    struct membership *m;
    assert_int_equal(
        membership_parse_initial(BYTES_LIT("a=http://h:1,b=http://h:2,b=http://h:22,c=http://h:3"),
                                 BYTES_LIT("t"), &m)
            .code,
        0);
    struct member learner = m->members[1];
    static const char *const urls[] = {"http://client/?\"<&>"};
    learner.learner = true;
    learner.name = "näme \"x\"";
    learner.client_urls = (struct text_list){urls, 1};
    struct membership *next = membership_with_member(m, &learner);
    membership_free(m);
    m = membership_with_removed(next, 0x1234);
    membership_free(next);
    next = membership_versioned(m, (struct cluster_version){3, 5});
    membership_free(m);
    return next;
}

static void assert_list(struct text_list a, struct text_list b)
{
    assert_int_equal(a.count, b.count);
    for (size_t i = 0; i < a.count; i++)
        assert_string_equal(a.items[i], b.items[i]);
}

static void what_is_written_reads_back(void **state)
{
    struct membership *m = sample(), *back;
    struct buf json;
    buf_init(&json, 0);
    assert_int_equal(membership_put_v2_store(m, &json).code, 0);
    assert_int_equal(membership_parse_v2_store(buf_bytes(&json), &back).code, 0);
    assert_int_equal(back->count, m->count);
    for (size_t i = 0; i < m->count; i++) {
        assert_int_equal(back->members[i].id, m->members[i].id);
        assert_int_equal(back->members[i].learner, m->members[i].learner);
        assert_string_equal(back->members[i].name, m->members[i].name);
        assert_list(back->members[i].peer_urls, m->members[i].peer_urls);
        assert_list(back->members[i].client_urls, m->members[i].client_urls);
    }
    assert_true(membership_was_removed(back, 0x1234));
    assert_int_equal(back->removed_count, 1);
    assert_int_equal(back->version.major, 3);
    assert_int_equal(back->version.minor, 5);
    buf_done(&json);
    membership_free(m);
    membership_free(back);
}

/* A node of a store as etcd 3.4 saves it. */
#define NODE(path, value, children)              \
    "{\"Path\":\"" path                          \
    "\",\"CreatedIndex\":2,\"ModifiedIndex\":2," \
    "\"ExpireTime\":\"0001-01-01T00:00:00Z\",\"Value\":" value ",\"Children\":" children "}"

static void a_store_of_etcd_is_read(void **state)
{
    static const char json[] =
        "{\"Root\":" NODE("/", "\"\"",
        "{\"0\":" NODE("/0", "\"\"",
            "{\"members\":" NODE("/0/members", "\"\"",
                "{\"8e9e05c52164694d\":" NODE("/0/members/8e9e05c52164694d", "\"\"",
                    "{\"attributes\":" NODE("/0/members/8e9e05c52164694d/attributes",
                        "\"{\\\"name\\\":\\\"default\\\",\\\"clientURLs\\\":[\\\"http://x:2379\\\"]}\"",
                        "null")
                    ",\"raftAttributes\":" NODE("/0/members/8e9e05c52164694d/raftAttributes",
                        "\"{\\\"peerURLs\\\":[\\\"http://x:2380\\\"]}\"", "null") "}") "}")
            ",\"version\":" NODE("/0/version", "\"3.4.0\"", "null") "}")
        ",\"1\":" NODE("/1", "\"\"", "{\"a\":" NODE("/1/a", "\"b\"", "null") "}") "}")
        ",\"WatcherHub\":{},\"CurrentIndex\":4,\"Stats\":{},\"CurrentVersion\":2}";
    struct membership *m;
    assert_int_equal(membership_parse_v2_store(bytes_str(json), &m).code, 0);
    assert_int_equal(m->count, 1);
    assert_int_equal(m->members[0].id, 0x8e9e05c52164694d);
    assert_string_equal(m->members[0].name, "default");
    assert_string_equal(m->members[0].peer_urls.items[0], "http://x:2380");
    assert_int_equal(m->version.minor, 4);
    membership_free(m);
}

static void what_names_nobody_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "{",
        "[]",
        "{}",
        "{\"Root\":3}",
        "{\"Root\":{\"Children\":null}}",
        "{\"Root\":{\"Children\":{\"0\":{\"Children\":{\"members\":{\"Children\":{}}}}}}}",
        /* without peer URLs; an id that is none */
        "{\"Root\":{\"Children\":{\"0\":{\"Children\":{\"members\":{\"Children\":{\"1\":{}}}}}}}}",
        ("{\"Root\":{\"Children\":{\"0\":{\"Children\":{\"members\":{\"Children\":{\"x\":{"
         "\"Children\":{\"raftAttributes\":{\"Value\":\"{\\\"peerURLs\\\":[\\\"u\\\"]}\"}}}}}}}}}"
         "}"),
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct membership *m = NULL;
        assert_int_not_equal(membership_parse_v2_store(bytes_str(bad[i]), &m).code, 0);
        assert_null(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_reads_back),
        cmocka_unit_test(a_store_of_etcd_is_read),
        cmocka_unit_test(what_names_nobody_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
