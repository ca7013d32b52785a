/* What is asked of a member by hand and by those that are no members yet: pages, questions, posts.
 */
#include "pair.h"

#include "messages.h"

#include "base/clock.h"
#include "base/metrics.h"

#include <stdio.h>
#include <stdlib.h>

#define HEAD                                                                 \
    "Host: x\r\nX-Server-Version: 3.7.1\r\nX-Min-Cluster-Version: 3.0.0\r\n" \
    "X-Etcd-Cluster-ID: cafe\r\nConnection: close\r\n"

struct question {
    const char *request;
    const char *status;
    const char *holds;
};

static void test_pages(void **state)
{
    struct pair *pair = pair_up(NULL);
    const struct question questions[] = {
        {"GET /version HTTP/1.1\r\n" HEAD "\r\n", "HTTP/1.1 200 ",
         "{\"etcdserver\":\"3.7.1\",\"etcdcluster\":\"3.7.0\",\"storage\":\"unknown\"}"},
        {"POST /version HTTP/1.1\r\n" HEAD "\r\n", "HTTP/1.1 405 ", "Allow: GET"},
        {"GET /members HTTP/1.1\r\n" HEAD "\r\n", "HTTP/1.1 200 ", "[{\"id\":161,\"peerURLs\":["},
        {"GET /members HTTP/1.1\r\n" HEAD "\r\n", "HTTP/1.1 200 ", "X-Etcd-Cluster-ID: cafe"},
        {"GET /members HTTP/1.1\r\n" HEAD "\r\n", "HTTP/1.1 200 ", "X-Raft-Index: 31\r\n"},
        {"GET /members/x HTTP/1.1\r\n" HEAD "\r\n", "HTTP/1.1 404 ", "404 page not found\n"},
        {"POST /members/hashkv HTTP/1.1\r\n" HEAD "\r\n", "HTTP/1.1 405 ", "Allow: GET"},
        {"GET /members/hashkv HTTP/1.1\r\n" HEAD "\r\n", "HTTP/1.1 400 ",
         "error unmarshalling request\n"},
        {"GET /members/hashkv HTTP/1.1\r\n" HEAD "Content-Length: 16\r\n\r\n{\"revision\":\"1\"}",
         "HTTP/1.1 400 ", "error unmarshalling request\n"},
        {"GET /members/hashkv HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
         "X-Etcd-Cluster-ID: beef\r\nContent-Length: 2\r\n\r\n{}",
         "HTTP/1.1 412 ", "cluster ID mismatch\n"},
        {"POST /downgrade/enabled HTTP/1.1\r\n" HEAD "\r\n", "HTTP/1.1 405 ", "Allow: GET"},
        {"GET /members/promote/161 HTTP/1.1\r\n" HEAD "\r\n", "HTTP/1.1 405 ", "Allow: POST"},
        {"POST /members/promote/xyz HTTP/1.1\r\n" HEAD "\r\n", "HTTP/1.1 404 ",
         "member xyz not found in cluster\n"},
        {"POST /members/promote/18446744073709551616 HTTP/1.1\r\n" HEAD "\r\n", "HTTP/1.1 404 ",
         "not found in cluster\n"},
        {"POST /members/promote/ HTTP/1.1\r\n" HEAD "\r\n", "HTTP/1.1 404 ",
         "member  not found in cluster\n"},
        {"GET /raft/probing HTTP/1.1\r\n" HEAD "\r\n", "HTTP/1.1 200 ", "{\"OK\":true,\"Now\":\""},
        {"GET /nothing HTTP/1.1\r\n" HEAD "\r\n", "HTTP/1.1 404 ", "404 page not found\n"},
        {"GET /raft HTTP/1.1\r\n" HEAD "\r\n", "HTTP/1.1 405 ", "Allow: POST"},
        {"POST /raft/stream/message/b2 HTTP/1.1\r\n" HEAD "\r\n", "HTTP/1.1 405 ", "Allow: GET"},
        {"GET /raft/stream/other/b2 HTTP/1.1\r\n" HEAD "\r\n", "HTTP/1.1 404 ", "invalid path\n"},
        {"GET /raft/stream/message/xyz HTTP/1.1\r\n" HEAD "\r\n", "HTTP/1.1 404 ",
         "invalid from\n"},
        /* Nobody we know, and one that says it is us. */
        {"GET /raft/stream/message/c3 HTTP/1.1\r\n" HEAD "\r\n", "HTTP/1.1 404 ",
         "error sender not found\n"},
        {"GET /raft/stream/message/a1 HTTP/1.1\r\n" HEAD "X-Raft-To: a1\r\n\r\n", "HTTP/1.1 404 ",
         "error sender not found\n"},
        {"GET /raft/stream/message/b2 HTTP/1.1\r\n" HEAD "X-Raft-To: b2\r\n\r\n", "HTTP/1.1 412 ",
         "to field mismatch\n"},
        /* No version is 2.0.0. */
        {"GET /raft/stream/message/b2 HTTP/1.1\r\nHost: x\r\nX-Etcd-Cluster-ID: cafe\r\n"
         "Connection: close\r\n\r\n",
         "HTTP/1.1 412 ", "incompatible version\n"},
        {"GET /raft/stream/message/b2 HTTP/1.1\r\nHost: x\r\nX-Server-Version: 3.4.23\r\n"
         "X-Min-Cluster-Version: 3.0.0\r\nConnection: close\r\n\r\n",
         "HTTP/1.1 412 ", "cluster ID mismatch\n"},
        {"POST /raft HTTP/1.1\r\n" HEAD
         "X-Server-From: b2\r\nContent-Length: 3\r\n\r\n\x08\xff\xff",
         "HTTP/1.1 400 ", "error unmarshalling raft message\n"},
        {"POST /raft HTTP/1.1\r\n" HEAD
         "X-Server-From: b2\r\nContent-Length: 4\r\n\r\n\x08\x08\x10\x05",
         "HTTP/1.1 412 ", "to field mismatch\n"},
        {"POST /raft HTTP/1.1\r\n" HEAD "X-Server-From: c3\r\nContent-Length: 5\r\n\r\n"
         "\x08\x08\x10\xa1\x01",
         "HTTP/1.1 404 ", "error sender not found\n"},
        {"GET /raft/snapshot HTTP/1.1\r\n" HEAD "\r\n", "HTTP/1.1 405 ", "Method Not Allowed\n"},
    };
    for (size_t i = 0; i < sizeof(questions) / sizeof(questions[0]); i++) {
        char *answer = net_ask(&net, &pair->a, bytes_str(questions[i].request), NULL);
        assert_int_equal(strncmp(answer, questions[i].status, strlen(questions[i].status)), 0);
        assert_non_null(strstr(answer, questions[i].holds));
        free(answer);
    }
    assert_int_equal(pair->a.stepped_count, 0);
    assert_true(node_streams_up(&pair->a, B)); /* nobody was thrown out by a stranger */
    pair_free(pair);
}

static void test_removed_post(void **state)
{
    struct pair *pair = pair_up(NULL);
    node_set_members(&pair->a, (uint64_t[]){A}, (const char *[]){pair->a.url}, 1, B);
    char *answer = net_ask(&net, &pair->a,
                           BYTES_LIT("POST /raft HTTP/1.1\r\n" HEAD
                                     "X-Server-From: b2\r\nContent-Length: 8\r\n\r\n"
                                     "\x08\x08\x10\xa1\x01\x18\xb2\x01"),
                           NULL);
    assert_non_null(strstr(answer, "HTTP/1.1 403 "));
    assert_non_null(
        strstr(answer, "\r\n\r\n{\"message\":\"cannot process message from removed member\"}"));
    free(answer);
    answer = net_ask(
        &net, &pair->a,
        BYTES_LIT("GET /raft/stream/msgapp/b2 HTTP/1.1\r\n" HEAD "X-Raft-To: a1\r\n\r\n"), NULL);
    assert_non_null(strstr(answer, "HTTP/1.1 410 "));
    free(answer);
    assert_int_equal(pair->a.stepped_count, 0);
    pair_free(pair);
}

/* What a member cannot judge it asks of the leader, and is told by status and text, as etcd's are.
 */
static void test_promotion(void **state)
{
    struct pair *pair = pair_up(NULL);
    const err outcomes[] = {OK, ERR_MEMBER_NOT_FOUND, ERR_MEMBER_NOT_LEARNER,
                            ERR_LEARNER_NOT_READY};
    for (uint64_t i = 0; i < 6; i++) {
        const struct replica_promote_forward ask = {10 + i, B, 99 + i};
        peers_ask_promotions(pair->a.peers, &ask, 1);
        NET_WAIT(&net, pair->b.promotion_id == 99 + i);
        peers_question_reply(pair->b.peers, pair->b.promotion_number,
                             i < 4 ? outcomes[i] : ERR_TIMEOUT);
        NET_WAIT(&net, pair->a.answered_ask == 10 + i);
        assert_int_equal(pair->a.answered.code, i < 4 ? outcomes[i].code : ERR_REFUSED_);
    }
    const struct replica_promote_forward nobody = {7, 0xc3, 99};
    peers_ask_promotions(pair->a.peers, &nobody, 1);
    NET_WAIT(&net, pair->a.answered_ask == 7);
    assert_int_equal(pair->a.answered.code, ERR_UNREACHABLE_);
    /* More than it would ever ask at once fail, each one told. */
    struct replica_promote_forward many[64];
    for (uint64_t i = 0; i < 64; i++)
        many[i] = (struct replica_promote_forward){100 + i, B, 200 + i};
    peers_ask_promotions(pair->a.peers, many, 64);
    NET_WAIT(&net, pair->a.answered_ask == 163);
    assert_int_equal(pair->a.answered.code, ERR_UNREACHABLE_);
    pair_free(pair); /* with questions on their way, both ways */
}

static void test_hash(void **state)
{
    struct pair *pair = pair_up(NULL);
    const struct peer_hash hash = {INT64_C(1) << 40, UINT32_MAX, -1, 77};
    const err outcomes[] = {OK, ERR_COMPACTED, ERR_FUTURE_REV, ERR_REQUEST_TOO_MANY_REQUESTS};
    const struct member *b = membership_find(pair->a.members, B);
    for (uint64_t i = 0; i < 4; i++) {
        peers_ask_hash(pair->a.peers, b, 70 + (int64_t)i, 10 + i);
        NET_WAIT(&net, pair->b.hash_revision == 70 + (int64_t)i);
        peers_hash_reply(pair->b.peers, pair->b.hash_number, outcomes[i], &hash);
        NET_WAIT(&net, pair->a.hash_answered == 10 + i);
        assert_int_equal(pair->a.answered.code, i < 3 ? outcomes[i].code : ERR_REFUSED_);
        if (i > 0)
            continue;
        assert_int_equal(pair->a.hash.revision, hash.revision);
        assert_int_equal(pair->a.hash.hash, hash.hash);
        assert_int_equal(pair->a.hash.compact_revision, hash.compact_revision);
        assert_int_equal(pair->a.hash.hash_revision, hash.hash_revision);
    }
    /* One URL after the other; and who has none that works. */
    const char *urls[] = {"http://127.0.0.1:1", "nonsense", relay_url(pair->to_b)};
    const struct member moved = {.id = B, .peer_urls = {urls, 3}};
    peers_ask_hash(pair->a.peers, &moved, 90, 20);
    NET_WAIT(&net, pair->b.hash_revision == 90);
    peers_hash_reply(pair->b.peers, pair->b.hash_number, OK, &hash);
    NET_WAIT(&net, pair->a.hash_answered == 20);
    assert_int_equal(pair->a.answered.code, 0);
    const struct member away = {.id = B, .peer_urls = {urls, 2}};
    peers_ask_hash(pair->a.peers, &away, 91, 21);
    NET_WAIT(&net, pair->a.hash_answered == 21);
    assert_int_equal(pair->a.answered.code, ERR_UNREACHABLE_);
    peers_ask_hash(pair->a.peers, b, 92, 22);
    NET_WAIT(&net, pair->b.hash_revision == 92);
    pair_free(pair); /* with a question on its way, both ways */
}

struct fetched {
    bool is;
    err error;
    bool downgrading;
};

static void downgrade_fetched(void *ctx, err error, const struct peer_fetch_result *result)
{
    *(struct fetched *)ctx = (struct fetched){true, error, result->downgrading};
}

static void test_downgrade(void **state)
{
    struct pair *pair = pair_up(NULL);
    const err outcomes[] = {OK, OK, ERR_TIMEOUT};
    for (unsigned i = 0; i < 3; i++) {
        struct fetched fetched = {0};
        struct peer_fetch *unused;
        const char *urls[] = {pair->a.url};
        const struct peer_fetch_config fetch = {.loop = net.loop,
                                                .workers = net.workers,
                                                .what = PEER_FETCH_DOWNGRADE,
                                                .urls = urls,
                                                .url_count = 1,
                                                .timeout_ms = DEADLINE_MS,
                                                .done = downgrade_fetched,
                                                .ctx = &fetched};
        pair->a.members->downgrade_to = (struct cluster_version){i == 1 ? 3 : 0, 6};
        assert_int_equal(peer_fetch_start(&fetch, &unused).code, 0);
        pair->a.read_number = 0;
        NET_WAIT(&net, pair->a.read_number);
        peers_question_reply(pair->a.peers, pair->a.read_number, outcomes[i]);
        NET_WAIT(&net, fetched.is);
        assert_int_equal(fetched.error.code, i == 2 ? ERR_MISMATCH_ : 0);
        assert_int_equal(fetched.downgrading, i == 1);
    }
    pair_free(pair);
}

/* A message in the name of another member is not stepped, whichever way it comes. */
static void test_false_sender(void **state)
{
    struct pair *pair = pair_up(NULL);
    struct raft_message message = heartbeat(0xc3, A);
    peers_send(pair->b.peers, &message, 1);
    message = heartbeat(A, A);
    peers_send(pair->b.peers, &message, 1);
    message = heartbeat(B, A);
    peers_send(pair->b.peers, &message, 1);
    NET_WAIT(&net, pair->a.stepped_count == 1);
    assert_int_equal(pair->a.stepped[0]->from, B);
    pair_free(pair);
}

/* A body that is only announced holds nothing, and that trickles in is given up. */
static void test_slow_post(void **state)
{
    struct pair *pair = pair_up(&(struct node_config){.read_timeout_ms = 200});
    char *answer = net_ask(&net, &pair->a,
                           BYTES_LIT("POST /raft HTTP/1.1\r\n" HEAD
                                     "X-Server-From: b2\r\nContent-Length: 60000000\r\n\r\n\x08"),
                           NULL);
    assert_string_equal(answer, "");
    free(answer);
    pair_free(pair);
}

/* ---- Questions before one is a member --------------------------------------------------- */

struct found {
    bool done;
    err error;
    uint64_t cluster_id, applied_index;
    size_t count;
    char version[32];
};

static void on_found(void *ctx, err error, const struct peer_fetch_result *result)
{
    struct found *found = ctx;
    found->done = true;
    found->error = error;
    found->cluster_id = result->cluster_id;
    found->count = result->member_count;
    found->applied_index = result->applied_index;
    snprintf(found->version, sizeof(found->version), "%s", result->server_version);
}

static struct found fetch(enum peer_fetch_what what, const char *const *urls, size_t count)
{
    struct found found = {0};
    struct peer_fetch *fetch;
    assert_ok(peer_fetch_start(&(struct peer_fetch_config){.loop = net.loop,
                                                           .workers = net.workers,
                                                           .what = what,
                                                           .urls = urls,
                                                           .url_count = count,
                                                           .timeout_ms = 2000,
                                                           .done = on_found,
                                                           .ctx = &found},
                               &fetch));
    NET_WAIT(&net, found.done);
    return found;
}

static void test_fetch(void **state)
{
    struct pair *pair = pair_up(NULL);
    relay_cut(pair->to_b, true);
    char local[64];
    snprintf(local, sizeof(local), "http://localhost:%s", strrchr(pair->a.url, ':') + 1);
    const char *urls[] = {relay_url(pair->to_b), local};
    struct found found = fetch(PEER_FETCH_MEMBERS, urls, 2);
    assert_ok(found.error);
    assert_true(found.cluster_id == CLUSTER);
    assert_int_equal(found.count, 2);
    assert_int_equal(found.applied_index, 31);
    found = fetch(PEER_FETCH_VERSION, urls, 2);
    assert_ok(found.error);
    assert_string_equal(found.version, "3.7.1");
    found = fetch(PEER_FETCH_MEMBERS, urls, 1);
    assert_err(found.error, ERR_UNREACHABLE);
    const char *tls[] = {"https://127.0.0.1:1"};
    found = fetch(PEER_FETCH_MEMBERS, tls, 1);
    assert_err(found.error, ERR_UNSUPPORTED);
    struct peer_fetch *none;
    assert_err(peer_fetch_start(&(struct peer_fetch_config){.loop = net.loop}, &none), ERR_USAGE);
    pair_free(pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pages),     cmocka_unit_test(test_removed_post),
        cmocka_unit_test(test_promotion), cmocka_unit_test(test_hash),
        cmocka_unit_test(test_downgrade), cmocka_unit_test(test_false_sender),
        cmocka_unit_test(test_slow_post), cmocka_unit_test(test_fetch),
    };
    return cmocka_run_group_tests(tests, pair_setup, pair_teardown);
}
