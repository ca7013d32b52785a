/* Whom a joining member takes itself for, by what those say that it asks: some lag, and know who
 * had its peer URLs before. */
#include "base/check.h"
#include "server/join.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define OLD UINT64_C(0x01d) /* who had our URLs, and is removed */
#define NEW UINT64_C(0x2e3) /* who we are */

#define FELLOWS 3

/* At http://10.0.0.1:2380 and so on. */
struct fellow {
    bool answers;
    uint64_t applied_index; /* 0: not said */
    uint64_t us;            /* whom it knows by our URLs; 0: nobody */
};

struct world {
    const struct fellow *fellows;
};

static const char *const urls[FELLOWS] = {"http://10.0.0.1:2380", "http://10.0.0.2:2380",
                                          "http://10.0.0.3:2380"};
static const char *const our_url[] = {"http://10.0.0.9:2380"};

static struct membership *with(struct membership *members, uint64_t id, const char *const *url)
{
    const struct member member = {.id = id, .name = "", .peer_urls = {url, 1}};
    struct membership *more = membership_with_member(members, &member);
    membership_free(members);
    return more;
}

static err ask(void *ctx, enum peer_fetch_what what, struct text_list asked,
               struct peer_fetch_result *ret_result, struct membership **ret_members)
{
    const struct world *world = ctx;
    const struct fellow *fellow = NULL;
    for (size_t i = 0; i < FELLOWS && !fellow; i++)
        if (strcmp(urls[i], asked.items[0]) == 0)
            fellow = &world->fellows[i];
    CHECK(fellow); /* nobody else is named */
    if (!fellow->answers)
        return ERR_UNREACHABLE;
    ret_result->cluster_id = 7;
    ret_result->applied_index = fellow->applied_index;
    (void)snprintf(ret_result->cluster_version, sizeof(ret_result->cluster_version), "3.7.0");
    if (what != PEER_FETCH_MEMBERS)
        return OK;
    *ret_members = membership_new();
    for (size_t i = 0; i < FELLOWS; i++)
        *ret_members = with(*ret_members, 0x100 + i, &urls[i]);
    if (fellow->us)
        *ret_members = with(*ret_members, fellow->us, our_url);
    return OK;
}

static err join(const struct fellow *fellows, uint64_t *ret_id)
{
    struct world world = {fellows};
    const struct join_wire wire = {.ask = ask, .ctx = &world};
    struct arena arena AUTO(arena_done);
    arena_init(&arena, 4096);
    struct config config = {.name = "me", .election_timeout_ms = 1000, .max_learners = 1};
    struct cluster_list list;
    const char *reason = "";
    assert_true(err_ok(cluster_list_parse(&arena,
                                          "a=http://10.0.0.1:2380,b=http://10.0.0.2:2380,"
                                          "c=http://10.0.0.3:2380,me=http://10.0.0.9:2380",
                                          &list, &reason)));
    const struct join self = {.wire = &wire, .arena = &arena, .config = &config, .list = &list};
    struct membership *members = NULL;
    uint64_t cluster_id;
    err e = join_existing(&self, &members, ret_id, &cluster_id, &reason);
    if (err_ok(e)) {
        assert_int_equal(cluster_id, 7);
        assert_int_equal(members->count, 4);
        membership_free(members);
    } else {
        assert_true(strlen(reason) > 0);
    }
    return e;
}

static void joins_as(const struct fellow *fellows, uint64_t want)
{
    uint64_t id = 0;
    assert_true(err_ok(join(fellows, &id)));
    assert_int_equal(id, want);
}

static void is_refused(const struct fellow *fellows, err want)
{
    uint64_t id;
    assert_int_equal(join(fellows, &id).code, want.code);
}

static void who_lags_need_not_know_us(void **state)
{
    joins_as((const struct fellow[]){{true, 50, 0}, {true, 58, NEW}, {true, 40, 0}}, NEW);
    joins_as((const struct fellow[]){{false}, {true, 58, NEW}, {true, 40, 0}}, NEW);
    joins_as((const struct fellow[]){{true, 58, NEW}, {true, 58, NEW}, {true, 57, NEW}}, NEW);
    is_refused((const struct fellow[]){{false}, {false}, {false}}, ERR_UNREACHABLE);
    is_refused((const struct fellow[]){{true, 58, 0}, {true, 58, 0}, {true, 57, 0}}, ERR_MISMATCH);
}

/* One of four, with us two: they cannot lead, and it may be the one that has not heard who had our
 * URLs before. */
static void few_are_not_believed(void **state)
{
    is_refused((const struct fellow[]){{false}, {true, 58, NEW}, {false}}, ERR_UNREACHABLE);
    is_refused((const struct fellow[]){{true, 0, OLD}, {false}, {false}}, ERR_UNREACHABLE);
    joins_as((const struct fellow[]){{true, 0, NEW}, {true, 0, NEW}, {false}}, NEW);
}

static void nobody_comes_back_as_who_was_removed(void **state)
{
    is_refused((const struct fellow[]){{true, 50, OLD}, {true, 58, NEW}, {true, 58, NEW}},
               ERR_MISMATCH);
    is_refused((const struct fellow[]){{true, 58, NEW}, {false}, {true, 50, OLD}}, ERR_MISMATCH);
    /* The others know that it was removed, and do not know of us yet. */
    is_refused((const struct fellow[]){{true, 50, OLD}, {true, 56, 0}, {true, 55, 0}},
               ERR_MISMATCH);
    is_refused((const struct fellow[]){{true, 55, 0}, {true, 50, OLD}, {false}}, ERR_MISMATCH);
}

/* etcd does not say how far it is. */
static void who_does_not_say_how_far_it_is_is_believed(void **state)
{
    joins_as((const struct fellow[]){{true, 0, NEW}, {true, 50, 0}, {true, 0, 0}}, NEW);
    joins_as((const struct fellow[]){{true, 0, 0}, {true, 50, NEW}, {true, 0, 0}}, NEW);
    is_refused((const struct fellow[]){{true, 0, NEW}, {true, 0, OLD}, {true, 0, 0}}, ERR_MISMATCH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_lags_need_not_know_us),
        cmocka_unit_test(few_are_not_believed),
        cmocka_unit_test(nobody_comes_back_as_who_was_removed),
        cmocka_unit_test(who_does_not_say_how_far_it_is_is_believed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
