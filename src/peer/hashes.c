/* Hashes by which members compare what they hold, either way:
 *
 *     peers_ask_hash ── GET /members/hashkv ──> member ── URL after URL ──> hash_answered, once
 *     GET /members/hashkv ──> hash_asked ─ … ─> peers_hash_reply ──> 200, 400
 *
 * Body and answer are JSON. A question has a connection of its own; both directions are bounded.
 * Source: etcd's interface, table http (listener peer). */
#include "peer/peers_internal.h"

#include "base/check.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define PATH           "/members/hashkv"
#define SERVED_MAX     16u
#define ASKED_MAX      (2u * MEMBERS_MAX)
#define BODY_BYTES_MAX ((size_t)4 << 10)
#define JSON           "application/json"

/* One that a member of the cluster is asked. */
struct hash_question {
    struct list node;
    struct peer_hashes *hashes;
    uint64_t number;
    int64_t revision;
    char **urls;
    size_t url_count, url_at;
    struct peer_link *link;
    struct buf answer;
};

struct peer_hashes {
    struct peers *peers;
    struct list asked;
    unsigned asked_count;
    struct served_list served;
};

/* ---- To others -------------------------------------------------------------------------- */

static void question_free(struct hash_question *self)
{
    self->hashes->asked_count--;
    list_remove(&self->node);
    peer_link_close(TAKE(self->link));
    for (size_t i = 0; i < self->url_count; i++)
        free(self->urls[i]);
    free(self->urls);
    buf_done(&self->answer);
    free(self);
}

static void question_end(struct hash_question *self, err error, const struct peer_hash *hash)
{
    struct peers *peers = self->hashes->peers;
    uint64_t number = self->number;
    question_free(self);
    peers->handler.hash_answered(peers->ctx, number, error, hash);
}

static void on_opened(void *ctx, struct peer_link *link)
{
    struct hash_question *self = ctx;
    struct peers *peers = self->hashes->peers;
    struct http_header headers[REQUEST_HEADERS_MAX];
    char body[48];
    int n = snprintf(body, sizeof(body), "{\"revision\":%" PRId64 "}", self->revision);
    buf_clear(&self->answer);
    err e = peer_link_fetch(link, &(struct http_fetch_start){.method = BYTES_LIT("GET"),
                                                             .target = BYTES_LIT(PATH),
                                                             .headers = headers,
                                                             .header_count = peer_request_headers(
                                                                 peers, NULL, JSON, headers),
                                                             .body = bytes_of(body, (size_t)n),
                                                             .timeout_ms = peers->read_timeout_ms});
    CHECK(err_ok(e)); /* it has just been opened */
}

static void on_body(void *ctx, struct peer_link *link, struct bytes piece)
{
    struct hash_question *self = ctx;
    if (self->link == link && !err_ok(buf_append(&self->answer, piece)))
        buf_clear(&self->answer); /* too long for an answer: what is left of it does not parse */
}

static bool contains(struct bytes text, struct bytes part)
{
    return text.len >= part.len && memmem(text.data, text.len, part.data, part.len);
}

static err read_answer(const struct hash_question *self, unsigned status,
                       struct peer_hash *ret_hash)
{
    struct bytes text = buf_bytes(&self->answer);
    if (status == 200)
        return peer_hash_parse(text, ret_hash);
    if (status != 400)
        return ERR_REFUSED;
    if (contains(text, BYTES_LIT("has been compacted")))
        return ERR_COMPACTED;
    return contains(text, BYTES_LIT("future revision")) ? ERR_FUTURE_REV : ERR_REFUSED;
}

static void ask_next(struct hash_question *self);

static void on_fetched(void *ctx, struct peer_link *link, err result)
{
    struct hash_question *self = ctx;
    struct peer_hash hash = {0};
    if (self->link != link || !err_ok(result))
        return; /* closed comes next */
    err e = read_answer(self, peer_link_status(link), &hash);
    question_end(self, e, &hash);
}

static void on_closed(void *ctx, struct peer_link *link, err why)
{
    struct hash_question *self = ctx;
    (void)why;
    if (self->link != link)
        return;
    self->link = NULL;
    self->url_at++;
    ask_next(self);
}

static const struct peer_link_owner owner = {
    .opened = on_opened, .body = on_body, .fetched = on_fetched, .closed = on_closed};

/* May end the question. */
static void ask_next(struct hash_question *self)
{
    struct peers *peers = self->hashes->peers;
    for (; self->url_at < self->url_count; self->url_at++) {
        struct peer_url url;
        if (!err_ok(peer_url_init(&url, self->urls[self->url_at])))
            continue;
        self->link = peer_link_dial(
            &peers->net, &(struct peer_link_dial){.url = &url,
                                                  .dial_timeout_ms = peers->dial_timeout_ms,
                                                  .read_timeout_ms = peers->read_timeout_ms,
                                                  .owner = &owner,
                                                  .ctx = self});
        peer_url_done(&url);
        return;
    }
    question_end(self, ERR_UNREACHABLE, &(struct peer_hash){0});
}

void peers_ask_hash(struct peers *self, const struct member *member, int64_t revision,
                    uint64_t number)
{
    struct peer_hashes *hashes = self->hashes;
    if (hashes->asked_count == ASKED_MAX) {
        self->handler.hash_answered(self->ctx, number, ERR_LIMIT, &(struct peer_hash){0});
        return;
    }
    struct hash_question *question = calloc(1, sizeof(*question));
    CHECK(question);
    question->hashes = hashes;
    question->number = number;
    question->revision = revision;
    question->url_count = member->peer_urls.count;
    question->urls = calloc(question->url_count + 1, sizeof(question->urls[0]));
    CHECK(question->urls);
    for (size_t i = 0; i < question->url_count; i++) {
        question->urls[i] = strdup(member->peer_urls.items[i]);
        CHECK(question->urls[i]);
    }
    buf_init(&question->answer, ANSWER_BYTES_MAX);
    list_push(&hashes->asked, &question->node);
    hashes->asked_count++;
    ask_next(question);
}

/* ---- From others ------------------------------------------------------------------------ */

/* Who does not name a cluster is an old member of it. */
static bool is_of_another_cluster(const struct peers *self, const struct http_exchange *exchange)
{
    struct bytes named = http_exchange_header(exchange, "X-Etcd-Cluster-ID");
    return named.data && !bytes_equal(named, bytes_str(self->cluster_text));
}

bool peer_hashes_serve(struct peers *self, struct http_exchange *exchange, struct bytes path,
                       struct bytes body)
{
    struct peer_hashes *hashes = self->hashes;
    int64_t revision = 0;
    if (!bytes_equal(path, BYTES_LIT(PATH)))
        return false;
    if (!bytes_equal(http_exchange_method(exchange), BYTES_LIT("GET")))
        peer_serve_method_not_allowed(exchange, "GET");
    else if (!self->handler.hash_asked)
        peer_serve_text(self, exchange, 501, "not supported by this member yet");
    else if (is_of_another_cluster(self, exchange))
        peer_serve_text(self, exchange, 412, "cluster ID mismatch");
    else if (body.len > BODY_BYTES_MAX || !err_ok(peer_hash_request_parse(body, &revision)))
        peer_serve_text(self, exchange, 400, "error unmarshalling request");
    else if (served_list_is_full(&hashes->served))
        peer_serve_text(self, exchange, 500, "too many requests");
    else {
        struct served *served = calloc(1, sizeof(*served));
        CHECK(served);
        served_keep(&hashes->served, served, exchange);
        self->handler.hash_asked(self->ctx, served->number, revision);
    }
    return true;
}

static void put_field(struct buf *out, const char *name, int64_t value)
{
    if (value == 0)
        return;
    err e = buf_printf(out, ",\"%s\":%" PRId64, name, value);
    CHECK(err_ok(e));
}

static void serve_hash(struct peers *self, struct http_exchange *exchange,
                       const struct peer_hash *hash)
{
    AUTO(buf_done) struct buf page;
    buf_init(&page, 0);
    err e = buf_printf(&page, "{\"header\":{\"revision\":%" PRId64 "}", hash->revision);
    CHECK(err_ok(e));
    put_field(&page, "hash", hash->hash);
    put_field(&page, "compact_revision", hash->compact_revision);
    put_field(&page, "hash_revision", hash->hash_revision);
    e = buf_append(&page, BYTES_LIT("}"));
    CHECK(err_ok(e));
    peer_serve_body(self, exchange, 200, JSON, buf_bytes(&page));
}

/* As the store itself words it: what the texts of clients' calls begin with is left out. */
static const char *store_text(err error)
{
    const char *text = err_text(error);
    size_t prefix = strlen("etcdserver: ");
    return strncmp(text, "etcdserver: ", prefix) == 0 ? text + prefix : text;
}

void peers_hash_reply(struct peers *self, uint64_t number, err error, const struct peer_hash *hash)
{
    struct served *served = served_take(&self->hashes->served, number);
    if (!served)
        return;
    if (served->exchange && err_ok(error))
        serve_hash(self, served->exchange, hash);
    else if (served->exchange)
        peer_serve_text(self, served->exchange, 400, store_text(error));
    free(served);
}

/* ---- Life ------------------------------------------------------------------------------- */

struct peer_hashes *peer_hashes_new(struct peers *peers)
{
    struct peer_hashes *self = calloc(1, sizeof(*self));
    CHECK(self);
    self->peers = peers;
    list_init(&self->asked);
    served_list_init(&self->served, SERVED_MAX);
    return self;
}

void peer_hashes_free(struct peer_hashes *self)
{
    struct list *node;
    while ((node = list_pop(&self->asked)))
        question_free(LIST_ENTRY(node, struct hash_question, node));
    served_list_done(&self->served);
    free(self);
}
