/* Who may join, leave, change and be promoted, in etcd's order of checks; the JSON of buckets and
 * contexts; --initial-cluster. */
#include "state/members.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct membership *three(void)
{
    struct membership *m = NULL;
    struct bytes text = BYTES_LIT("a=http://a:1,b=http://b:1,c=http://c:1");
    assert_true(err_ok(membership_parse_initial(text, BYTES_LIT("t"), &m)));
    return m;
}

static struct membership *change(struct membership *m, struct member_change c)
{
    assert_int_equal(membership_check(m, &c, 1).code, 0);
    struct membership *next = membership_changed(m, &c);
    membership_free(m);
    return next;
}

static struct member one(uint64_t id, const char *const *url, bool learner)
{
    return (struct member){
        .id = id, .name = "", .learner = learner, .peer_urls = {url, url ? 1 : 0}};
}

static void initial_cluster_gives_members_in_order_of_ids(void **ctx)
{
    (void)ctx;
    struct membership *m = three();
    assert_int_equal(m->count, 3);
    assert_true(m->members[0].id < m->members[1].id && m->members[1].id < m->members[2].id);
    assert_int_equal(membership_voter_count(m), 3);
    assert_int_equal(m->version.major, 0);
    membership_free(m);
}

static void a_name_given_twice_is_one_member_with_two_urls(void **ctx)
{
    (void)ctx;
    struct membership *m = NULL;
    struct bytes text = BYTES_LIT("a=http://z:1,b=http://b:1,a=http://a:1");
    assert_true(err_ok(membership_parse_initial(text, BYTES_LIT("t"), &m)));
    assert_int_equal(m->count, 2);
    const struct member *a = strcmp(m->members[0].name, "a") ? &m->members[1] : &m->members[0];
    assert_int_equal(a->peer_urls.count, 2);
    assert_string_equal(a->peer_urls.items[0], "http://a:1");
    membership_free(m);
}

static void bad_initial_clusters_are_refused(void **ctx)
{
    (void)ctx;
    static const struct {
        const char *text;
        enum err_code error;
    } rows[] = {
        {"", ERR_SYNTAX_},
        {"a", ERR_SYNTAX_},
        {"a=", ERR_SYNTAX_},
        {"=http://a:1", ERR_SYNTAX_},
        {"a=http://a:1,,b=http://b:1", ERR_SYNTAX_},
        {"a=http://a:1,b=http://a:1", ERR_EXISTS_},
        {"a=http://a:1,a=http://a:1", ERR_EXISTS_},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct membership *m = NULL;
        err e = membership_parse_initial(bytes_str(rows[i].text), BYTES_LIT("t"), &m);
        assert_int_equal(e.code, rows[i].error);
        assert_null(m);
    }
}

static void changes_are_judged_in_etcds_order(void **ctx)
{
    (void)ctx;
    static const char *const fresh[] = {"http://d:1"};
    static const char *const learner_url[] = {"http://l:1"};
    static const char *const taken[] = {"http://a:1"};
    struct membership *m = three();
    uint64_t gone = m->members[2].id;
    m = change(m, (struct member_change){MEMBER_REMOVE, {.id = gone}});
    m = change(m, (struct member_change){MEMBER_ADD, one(100, learner_url, true)});
    uint64_t a = 0;
    uint64_t voter = 0;
    for (size_t i = 0; i < m->count; i++) {
        if (strcmp(m->members[i].peer_urls.items[0], "http://a:1") == 0)
            a = m->members[i].id;
        if (!m->members[i].learner)
            voter = m->members[i].id;
    }
    bool a_left = a != 0;
    const struct {
        struct member_change c;
        enum err_code error;
    } rows[] = {
        {{MEMBER_ADD, one(gone, fresh, false)}, ERR_MEMBER_NOT_FOUND_},
        {{MEMBER_ADD, one(0, fresh, false)}, ERR_MEMBER_NOT_FOUND_},
        {{MEMBER_ADD, one(voter, fresh, false)}, ERR_MEMBER_EXIST_},
        {{MEMBER_ADD, one(5, learner_url, false)}, ERR_PEER_URL_EXIST_},
        {{MEMBER_ADD, one(5, learner_url, true)}, ERR_PEER_URL_EXIST_},
        {{MEMBER_ADD, one(5, fresh, true)}, ERR_TOO_MANY_LEARNERS_},
        {{MEMBER_ADD, one(5, fresh, false)}, ERR_NONE_},
        {{MEMBER_ADD, one(5, taken, false)}, a_left ? ERR_PEER_URL_EXIST_ : ERR_NONE_},
        {{MEMBER_REMOVE, {.id = 5}}, ERR_MEMBER_NOT_FOUND_},
        {{MEMBER_REMOVE, {.id = gone}}, ERR_MEMBER_NOT_FOUND_},
        {{MEMBER_REMOVE, {.id = 100}}, ERR_NONE_},
        {{MEMBER_UPDATE, one(5, fresh, false)}, ERR_MEMBER_NOT_FOUND_},
        {{MEMBER_UPDATE, one(voter, learner_url, false)}, ERR_PEER_URL_EXIST_},
        {{MEMBER_UPDATE, one(100, learner_url, false)}, ERR_NONE_},
        {{MEMBER_UPDATE, one(100, NULL, false)}, ERR_NONE_},
        {{MEMBER_PROMOTE, {.id = 5}}, ERR_MEMBER_NOT_FOUND_},
        {{MEMBER_PROMOTE, {.id = voter}}, ERR_MEMBER_NOT_LEARNER_},
        {{MEMBER_PROMOTE, {.id = 100}}, ERR_NONE_},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(membership_check(m, &rows[i].c, 1).code, rows[i].error);
    membership_free(m);
}

static void removed_members_stay_removed_and_sorted(void **ctx)
{
    (void)ctx;
    struct membership *m = three();
    uint64_t ids[3] = {m->members[0].id, m->members[1].id, m->members[2].id};
    m = change(m, (struct member_change){MEMBER_REMOVE, {.id = ids[1]}});
    m = change(m, (struct member_change){MEMBER_REMOVE, {.id = ids[0]}});
    assert_int_equal(m->count, 1);
    assert_int_equal(m->removed_count, 2);
    assert_int_equal(m->removed[0], ids[0]);
    assert_int_equal(m->removed[1], ids[1]);
    assert_true(membership_was_removed(m, ids[0]));
    assert_false(membership_was_removed(m, ids[2]));
    struct membership *again = membership_with_removed(m, ids[0]);
    assert_int_equal(again->removed_count, 2);
    membership_free(again);
    membership_free(m);
}

static void attributes_change_only_members_that_are_there(void **ctx)
{
    (void)ctx;
    static const char *const urls[] = {"http://c:2379"};
    struct text_list list = {urls, 1};
    struct membership *m = three();
    uint64_t id = m->members[1].id;
    assert_null(membership_attributed(m, 42, "x", list));
    struct membership *next = membership_attributed(m, id, "x", list);
    assert_non_null(next);
    assert_string_equal(membership_find(next, id)->name, "x");
    assert_string_equal(membership_find(next, id)->peer_urls.items[0],
                        membership_find(m, id)->peer_urls.items[0]);
    assert_null(membership_attributed(next, id, "x", list));
    membership_free(next);
    membership_free(m);
}

static void json_is_written_as_go_writes_it(void **ctx)
{
    (void)ctx;
    static const char *const urls[] = {"http://a:1", "http://b<&>\"\\:1"};
    static const char *const clients[] = {"http://\xe2\x80\xa8\xc3\xa4"};
    const struct {
        struct member m;
        const char *json;
    } rows[] = {
        {{.id = 10276657743932975437u, .name = "", .peer_urls = {urls, 1}},
         "{\"id\":10276657743932975437,\"peerURLs\":[\"http://a:1\"]}"},
        {{.id = 1,
          .name = "n",
          .learner = true,
          .peer_urls = {urls, 2},
          .client_urls = {clients, 1}},
         "{\"id\":1,\"peerURLs\":[\"http://a:1\",\"http://b\\u003c\\u0026\\u003e\\\"\\\\:1\"],"
         "\"isLearner\":true,\"name\":\"n\",\"clientURLs\":[\"http://\\u2028\xc3\xa4\"]}"},
        {{.id = 2, .name = "\n\x01"}, "{\"id\":2,\"peerURLs\":null,\"name\":\"\\n\\u0001\"}"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct buf out;
        buf_init(&out, 4096);
        assert_true(err_ok(member_put_json(&rows[i].m, &out)));
        assert_int_equal(out.len, strlen(rows[i].json));
        assert_memory_equal(out.data, rows[i].json, out.len);
        struct arena arena;
        arena_init(&arena, 1024);
        struct member back;
        bool promote = true;
        assert_true(err_ok(member_parse_json(buf_bytes(&out), &arena, &back, &promote)));
        assert_int_equal(back.id, rows[i].m.id);
        assert_string_equal(back.name, rows[i].m.name);
        assert_int_equal(back.learner, rows[i].m.learner);
        assert_int_equal(back.peer_urls.count, rows[i].m.peer_urls.count);
        for (size_t j = 0; j < back.peer_urls.count; j++)
            assert_string_equal(back.peer_urls.items[j], rows[i].m.peer_urls.items[j]);
        assert_int_equal(back.client_urls.count, rows[i].m.client_urls.count);
        assert_false(promote);
        arena_done(&arena);
        buf_done(&out);
    }
}

static void bad_json_is_refused_and_unknown_keys_are_passed_over(void **ctx)
{
    (void)ctx;
    static const struct {
        const char *json;
        bool good;
    } rows[] = {
        {"{\"id\":7,\"peerURLs\":null,\"isPromote\":true}", true},
        {"{\"id\":7,\"isPromote\":true,\"more\":{\"x\":[1]}}", true},
        {"", false},
        {"{", false},
        {"[]", false},
        {"{\"id\":\"7\"}", false},
        {"{\"id\":7}x", false},
        {"{\"id\":7,\"peerURLs\":\"u\"}", false},
        {"{\"id\":7,\"peerURLs\":[1]}", false},
        {"{\"id\":7,\"name\":\"a\\u0000b\"}", false},
        {"{\"id\":7,\"x\":[[[[[[[[[[[[]]]]]]]]]]]]}", false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct arena arena;
        arena_init(&arena, 1024);
        struct member m = {.id = 1};
        bool promote = false;
        err e = member_parse_json(bytes_str(rows[i].json), &arena, &m, &promote);
        assert_int_equal(err_ok(e), rows[i].good);
        assert_int_equal(m.id, rows[i].good ? 7 : 1);
        assert_int_equal(promote, rows[i].good);
        arena_done(&arena);
    }
}

static void versions_are_read_and_written(void **ctx)
{
    (void)ctx;
    static const struct {
        const char *text;
        bool good;
        const char *back;
    } rows[] = {
        {"3.7.0", true, "3.7.0"},  {"3.7.12", true, "3.7.0"}, {"3.6", true, "3.6.0"},
        {"3", false, NULL},        {"3.", false, NULL},       {"3.7.", false, NULL},
        {"3.7.0-rc", false, NULL}, {"", false, NULL},         {"99999.1.1", false, NULL},
        {"a.b.c", false, NULL},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct cluster_version v = {0, 0};
        assert_int_equal(err_ok(cluster_version_parse(bytes_str(rows[i].text), &v)), rows[i].good);
        char text[CLUSTER_VERSION_TEXT_MAX];
        assert_string_equal(cluster_version_text(v, text),
                            rows[i].good ? rows[i].back : "not_decided");
    }
}

static void downgrades_are_read_and_written(void **ctx)
{
    (void)ctx;
    static const struct {
        const char *json;
        bool good;
        unsigned minor;
        const char *back;
    } rows[] = {
        {"{\"target-version\":\"3.6.0\",\"enabled\":true}", true, 6,
         "{\"target-version\":\"3.6.0\",\"enabled\":true}"},
        {"{\"target-version\":\"\",\"enabled\":false}", true, 0,
         "{\"target-version\":\"\",\"enabled\":false}"},
        {"{\"target-version\":\"x\",\"enabled\":false}", true, 0,
         "{\"target-version\":\"\",\"enabled\":false}"},
        {"{}", true, 0, "{\"target-version\":\"\",\"enabled\":false}"},
        {"{\"enabled\":true}", false, 0, NULL},
        {"{\"target-version\":\"x\",\"enabled\":true}", false, 0, NULL},
        {"{\"target-version\":3,\"enabled\":true}", false, 0, NULL},
        {"{\"target-version\":\"3.6.0\",\"enabled\":1}", false, 0, NULL},
        {"[]", false, 0, NULL},
        {"", false, 0, NULL},
        {"{\"enabled\":false}x", false, 0, NULL},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct cluster_version target = {9, 9};
        err e = downgrade_parse_json(bytes_str(rows[i].json), &target);
        assert_int_equal(err_ok(e), rows[i].good);
        assert_int_equal(target.minor, rows[i].good ? rows[i].minor : 9);
        if (!rows[i].good)
            continue;
        struct buf out;
        buf_init(&out, 0);
        assert_int_equal(downgrade_put_json(target, &out).code, 0);
        assert_true(bytes_equal(buf_bytes(&out), bytes_str(rows[i].back)));
        buf_done(&out);
    }
}

static void those_who_have_published_themselves_count_as_started(void **ctx)
{
    (void)ctx;
    struct membership *m = NULL;
    assert_int_equal(
        membership_parse_initial(BYTES_LIT("a=http://a:1,b=http://b:1"), BYTES_LIT("t"), &m).code,
        0);
    assert_int_equal(membership_started_count(m), 2);
    static const char *const urls[] = {"http://c:1"};
    for (int i = 0; i < 2; i++) {
        const struct member_change add = {
            MEMBER_ADD, {.id = 5 + i, .learner = i, .name = i ? "l" : "", .peer_urls = {urls, 1}}};
        struct membership *next = membership_changed(m, &add);
        membership_free(m);
        m = next;
    }
    assert_int_equal(membership_started_count(m), 2);
    assert_int_equal(membership_voter_count(m), 3);
    membership_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(initial_cluster_gives_members_in_order_of_ids),
        cmocka_unit_test(a_name_given_twice_is_one_member_with_two_urls),
        cmocka_unit_test(bad_initial_clusters_are_refused),
        cmocka_unit_test(changes_are_judged_in_etcds_order),
        cmocka_unit_test(removed_members_stay_removed_and_sorted),
        cmocka_unit_test(attributes_change_only_members_that_are_there),
        cmocka_unit_test(json_is_written_as_go_writes_it),
        cmocka_unit_test(bad_json_is_refused_and_unknown_keys_are_passed_over),
        cmocka_unit_test(versions_are_read_and_written),
        cmocka_unit_test(downgrades_are_read_and_written),
        cmocka_unit_test(those_who_have_published_themselves_count_as_started),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
