/* Questions that a member puts to this one, or this one to the leader, beside leases:
 *
 *     peers_ask_promotions ── POST /members/promote/ID ──> leader
 *                               └─ answer ─> promotion_answered, in the next input stage
 *     POST /members/promote/ID ──> promotion_asked ─┐
 *     GET /downgrade/enabled ────> read_asked ──────┴─ … ─> peers_question_reply ──> 200, 404, …
 *
 * They are rare: each has a connection of its own, and what is beyond the bounds fails at once. */
#include "peer/peers_internal.h"

#include "base/check.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define ASKED_MAX       16u
#define SERVED_MAX      256u
#define PATH_BYTES      64
#define PROMOTE_PATH    "/members/promote/"
#define REFUSAL_MAX     4096
#define SERVER_FAILED   "{\"message\":\"Internal Server Error\"}"
#define NOT_LEARNER     "can only promote a learner member"
#define NOT_READY       NOT_LEARNER " which is in sync with leader"
#define MEMBERSHIP_TEXT "membership: "

/* One that is on its way to the leader. */
struct asked {
    struct list node; /* peer_questions.asked, then .finished */
    struct peer_questions *questions;
    struct replica_promote_forward what;
    struct peer_link *link;
    size_t url_at;
    struct buf answer;
    err error;
};

/* One that another member sent. */
struct question_served {
    struct served served; /* first */
    bool is_promotion;    /* else: is a downgrade under way */
};

struct peer_questions {
    struct peers *peers;
    struct list asked;
    unsigned asked_count;
    struct list finished; /* for the next input stage */
    struct served_list served;
};

/* ---- To the leader ---------------------------------------------------------------------- */

static void asked_free(struct asked *self)
{
    list_remove(&self->node);
    peer_link_close(TAKE(self->link));
    buf_done(&self->answer);
    free(self);
}

static void finish(struct asked *self, err error)
{
    struct peer_questions *questions = self->questions;
    peer_link_close(TAKE(self->link));
    self->error = error;
    list_remove(&self->node);
    questions->asked_count--;
    list_push(&questions->finished, &self->node);
    peers_reports_later(questions->peers);
}

static void on_opened(void *ctx, struct peer_link *link)
{
    struct asked *self = ctx;
    struct peers *peers = self->questions->peers;
    struct http_header headers[REQUEST_HEADERS_MAX];
    char path[PATH_BYTES];
    snprintf(path, sizeof(path), PROMOTE_PATH "%" PRIu64, self->what.member_id);
    err e = peer_link_fetch(
        link,
        &(struct http_fetch_start){.method = BYTES_LIT("POST"),
                                   .target = bytes_str(path),
                                   .headers = headers,
                                   .header_count = peer_request_headers(peers, NULL, NULL, headers),
                                   .timeout_ms = peers->dial_timeout_ms + peers->read_timeout_ms});
    CHECK(err_ok(e)); /* it has just been opened */
}

static void on_body(void *ctx, struct peer_link *link, struct bytes piece)
{
    struct asked *self = ctx;
    (void)link;
    (void)buf_append(&self->answer, piece).code; /* longer than any refusal: cut */
}

static bool holds(const struct buf *text, const char *part)
{
    return text->len && memmem(text->data, text->len, part, strlen(part)) != NULL;
}

static err read_answer(const struct asked *self, unsigned status)
{
    if (status == 200)
        return OK;
    if (status == 404)
        return ERR_MEMBER_NOT_FOUND;
    if (status == 412 && holds(&self->answer, NOT_READY))
        return ERR_LEARNER_NOT_READY;
    if (status == 412 && holds(&self->answer, NOT_LEARNER))
        return ERR_MEMBER_NOT_LEARNER;
    return ERR_REFUSED;
}

static void on_fetched(void *ctx, struct peer_link *link, err result)
{
    struct asked *self = ctx;
    if (self->link == link)
        finish(self, err_ok(result) ? read_answer(self, peer_link_status(link)) : result);
}

static void on_closed(void *ctx, struct peer_link *link, err why)
{
    struct asked *self = ctx;
    if (self->link != link)
        return;
    self->link = NULL;
    struct peer *peer = peers_find(self->questions->peers, self->what.leader_id);
    if (peer)
        peer_url_failed(peer, self->url_at);
    finish(self, why);
}

static const struct peer_link_owner owner = {
    .opened = on_opened, .body = on_body, .fetched = on_fetched, .closed = on_closed};

void peers_ask_promotions(struct peers *self, const struct replica_promote_forward *asks,
                          size_t count)
{
    struct peer_questions *questions = self->questions;
    for (size_t i = 0; i < count; i++) {
        struct asked *asked = calloc(1, sizeof(*asked));
        CHECK(asked);
        asked->questions = questions;
        asked->what = asks[i];
        buf_init(&asked->answer, REFUSAL_MAX);
        list_push(&questions->asked, &asked->node);
        questions->asked_count++;
        struct peer *peer = peers_find(self, asks[i].leader_id);
        if (peer && !self->shut_down && questions->asked_count <= ASKED_MAX)
            asked->link = peer_dial(peer, &asked->url_at, &owner, asked);
        if (!asked->link)
            finish(asked, ERR_UNREACHABLE);
    }
}

void peer_questions_deliver(struct peer_questions *self)
{
    struct list *node;
    while ((node = list_pop(&self->finished))) {
        struct asked *asked = LIST_ENTRY(node, struct asked, node);
        self->peers->handler.promotion_answered(self->peers->ctx, asked->what.ask, asked->error);
        asked_free(asked);
    }
}

/* ---- From others ------------------------------------------------------------------------ */

/* Its number; 0: too many, and answered. */
static uint64_t keep(struct peers *self, struct http_exchange *exchange, bool is_promotion)
{
    struct peer_questions *questions = self->questions;
    if (served_list_is_full(&questions->served)) {
        peer_serve_text(self, exchange, 500, "too many requests");
        return 0;
    }
    struct question_served *kept = calloc(1, sizeof(*kept));
    CHECK(kept);
    kept->is_promotion = is_promotion;
    served_keep(&questions->served, &kept->served, exchange);
    return kept->served.number;
}

/* Decimal digits of a whole uint64. */
static bool read_id(struct bytes text, uint64_t *ret_id)
{
    uint64_t id = 0;
    for (size_t i = 0; i < text.len; i++) {
        unsigned digit = text.data[i] - (unsigned)'0';
        if (digit > 9 || id > (UINT64_MAX - digit) / 10)
            return false;
        id = id * 10 + digit;
    }
    *ret_id = id;
    return text.len > 0;
}

static void serve_promotion(struct peers *self, struct http_exchange *exchange, struct bytes rest)
{
    uint64_t id;
    if (!bytes_equal(http_exchange_method(exchange), BYTES_LIT("POST"))) {
        peer_serve_method_not_allowed(exchange, "POST");
        return;
    }
    if (!read_id(rest, &id)) {
        char text[160];
        int len = rest.len < 64 ? (int)rest.len : 64;
        snprintf(text, sizeof(text), "member %.*s not found in cluster", len,
                 (const char *)rest.data);
        peer_serve_text(self, exchange, 404, text);
        return;
    }
    uint64_t number = keep(self, exchange, true);
    if (number)
        self->handler.promotion_asked(self->ctx, number, id);
}

static void serve_downgrade(struct peers *self, struct http_exchange *exchange)
{
    if (!bytes_equal(http_exchange_method(exchange), BYTES_LIT("GET"))) {
        peer_serve_method_not_allowed(exchange, "GET");
        return;
    }
    uint64_t number = keep(self, exchange, false);
    if (number)
        self->handler.read_asked(self->ctx, number);
}

bool peer_questions_serve(struct peers *self, struct http_exchange *exchange, struct bytes path)
{
    struct bytes promote = BYTES_LIT(PROMOTE_PATH);
    bool handles = self->handler.promotion_asked && self->handler.read_asked;
    if (handles && bytes_has_prefix(path, promote))
        serve_promotion(self, exchange, bytes_skip(path, promote.len));
    else if (handles && bytes_equal(path, BYTES_LIT("/downgrade/enabled")))
        serve_downgrade(self, exchange);
    else
        return false;
    return true;
}

static void answer_promotion(struct peers *self, struct http_exchange *exchange, err error)
{
    if (err_ok(error))
        peer_serve_members(self, exchange);
    else if (err_is(error, ERR_MEMBER_NOT_FOUND))
        peer_serve_text(self, exchange, 404, MEMBERSHIP_TEXT "ID not found");
    else if (err_is(error, ERR_MEMBER_NOT_LEARNER))
        peer_serve_text(self, exchange, 412, MEMBERSHIP_TEXT NOT_LEARNER);
    else if (err_is(error, ERR_LEARNER_NOT_READY))
        peer_serve_text(self, exchange, 412, err_text(error));
    else
        peer_serve_body(self, exchange, 500, "application/json", BYTES_LIT(SERVER_FAILED));
}

static void answer_downgrade(struct peers *self, struct http_exchange *exchange, err error)
{
    char text[160];
    bool enabled = self->handler.view(self->ctx)->members->downgrade_to.major != 0;
    if (err_ok(error)) {
        peer_serve_body(self, exchange, 200, "text/plain",
                        enabled ? BYTES_LIT("true") : BYTES_LIT("false"));
        return;
    }
    snprintf(text, sizeof(text), "failed linearized read: %s", err_text(error));
    peer_serve_text(self, exchange, 500, text);
}

void peers_question_reply(struct peers *self, uint64_t number, err error)
{
    struct served *served = served_take(&self->questions->served, number);
    if (!served)
        return;
    const struct question_served *kept = (const void *)served;
    if (served->exchange && kept->is_promotion)
        answer_promotion(self, served->exchange, error);
    else if (served->exchange)
        answer_downgrade(self, served->exchange, error);
    free(served);
}

/* ---- Life ------------------------------------------------------------------------------- */

struct peer_questions *peer_questions_new(struct peers *peers)
{
    struct peer_questions *self = calloc(1, sizeof(*self));
    CHECK(self);
    self->peers = peers;
    list_init(&self->asked);
    list_init(&self->finished);
    served_list_init(&self->served, SERVED_MAX);
    return self;
}

void peer_questions_free(struct peer_questions *self)
{
    struct list *lists[] = {&self->asked, &self->finished};
    for (size_t i = 0; i < 2; i++) {
        LIST_FOREACH_SAFE (node, after, lists[i])
            asked_free(LIST_ENTRY(node, struct asked, node));
    }
    served_list_done(&self->served);
    free(self);
}
