/* Questions about leases that only the leader can answer, either way:
 *
 *     peers_ask_leases ── queue ── line: POST /leases, /leases/internal ──> leader
 *                                    └─ answer ─> lease_answered, in the next input stage
 *     POST /leases, /leases/internal ──> lease_asked ─ … ─> peers_lease_reply ──> 200, 404, …
 *
 * Four lines carry one question each over a connection that is kept for the next; a line turns to
 * another member when the leader changes, and lets go of what it asked the one before. What fails
 * goes back to the replica, which asks again. Both directions are bounded: what is beyond fails at
 * once. */
#include "peer/peers_internal.h"

#include "base/check.h"
#include "leasepb.pb-c.h"
#include "wire/decode.h"
#include "wire/encode.h"
#include "wire/splice.h"

#include <stdlib.h>

#define LINES           4u
#define QUEUE_MAX       16384u
#define SERVED_MAX      4096u
#define BODY_BYTES_MAX  ((size_t)64 << 10)
#define ANSWER_KEYS_MAX ((size_t)8 << 20) /* bytes of keys in an answer */
#define PROTOBUF        "application/protobuf"
#define TIMED_OUT_TEXT  "waiting for node to catch up its applied index has timed out"
#define LINE_IDLE_MS    30000

/* One that is on its way to the leader. */
struct question {
    struct list node;
    struct replica_lease_forward what;
    err error;
    struct replica_lease_answer answer;
};

struct line {
    struct peer_leases *leases;
    uint64_t peer_id; /* of the link */
    struct peer_link *link;
    size_t url_at;
    struct question *question;
    struct buf answer;
    uint64_t idle_since_ms;
};

/* One that another member sent. */
struct lease_served {
    struct served served; /* first */
    int64_t lease_id;
    enum replica_lease_kind kind;
    bool keys;
};

struct peer_leases {
    struct peers *peers;
    struct list queue; /* of struct question */
    unsigned queued;
    struct list finished; /* likewise, for the next input stage */
    struct line lines[LINES];
    struct served_list served;
};

/* ---- To the leader ---------------------------------------------------------------------- */

static void line_run(struct line *self);

static void question_end(struct peer_leases *self, struct question *question, err error)
{
    question->error = error;
    list_push(&self->finished, &question->node);
    peers_reports_later(self->peers);
}

static void line_end(struct line *self, err error)
{
    question_end(self->leases, TAKE(self->question), error);
    self->idle_since_ms = io_loop_now_ms(self->leases->peers->loop);
}

static void send_question(struct line *self)
{
    struct peers *peers = self->leases->peers;
    const struct replica_lease_forward *what = &self->question->what;
    struct http_header headers[REQUEST_HEADERS_MAX];
    uint8_t ask[1 + WIRE_VARINT_BYTES_MAX];
    uint8_t wrapped[sizeof(ask) + 2];
    bool alive = what->kind == LEASE_KEEP_ALIVE;
    struct bytes body =
        bytes_of(ask, (size_t)(wire_put_varint_field(ask, 1, (uint64_t)what->lease_id) - ask));
    if (!alive) /* LeaseInternalRequest around LeaseTimeToLiveRequest */
        body = bytes_of(wrapped, (size_t)(wire_put_message_field(wrapped, 1, body) - wrapped));
    buf_clear(&self->answer);
    err e = peer_link_fetch(
        self->link, &(struct http_fetch_start){
                        .method = BYTES_LIT("POST"),
                        .target = alive ? BYTES_LIT("/leases") : BYTES_LIT("/leases/internal"),
                        .headers = headers,
                        .header_count = peer_request_headers(peers, NULL, PROTOBUF, headers),
                        .body = body,
                        .timeout_ms = peers->read_timeout_ms});
    CHECK(err_ok(e)); /* only a usable link comes here */
}

static err read_alive(struct bytes body, struct arena *arena, struct replica_lease_answer *answer)
{
    Etcdserverpb__LeaseKeepAliveResponse *response = NULL;
    TRY(wire_decode(&etcdserverpb__lease_keep_alive_response__descriptor, body, arena, NULL,
                    WIRE_OUT(&response), NULL));
    answer->ttl_s = response->ttl;
    return OK;
}

static err read_time_left(struct bytes body, struct arena *arena,
                          struct replica_lease_answer *answer)
{
    Leasepb__LeaseInternalResponse *response = NULL;
    TRY(wire_decode(&leasepb__lease_internal_response__descriptor, body, arena, NULL,
                    WIRE_OUT(&response), NULL));
    if (!response->leasetimetoliveresponse)
        return ERR_SYNTAX;
    answer->ttl_s = response->leasetimetoliveresponse->ttl;
    answer->granted_s = response->leasetimetoliveresponse->grantedttl;
    return OK;
}

static err read_answer(struct question *question, unsigned status, struct bytes body)
{
    bool alive = question->what.kind == LEASE_KEEP_ALIVE;
    if (status == 404) {
        question->answer.ttl_s = alive ? 0 : -1;
        return OK;
    }
    if (status != 200)
        return ERR_REFUSED;
    struct arena arena;
    arena_init(&arena, 1024);
    err e = alive ? read_alive(body, &arena, &question->answer)
                  : read_time_left(body, &arena, &question->answer);
    arena_done(&arena);
    return e;
}

static void on_opened(void *ctx, struct peer_link *link)
{
    (void)link;
    line_run(ctx);
}

static void on_body(void *ctx, struct peer_link *link, struct bytes piece)
{
    struct line *self = ctx;
    if (self->link != link || err_ok(buf_append(&self->answer, piece)))
        return;
    peer_link_close(TAKE(self->link));
    if (self->question)
        line_end(self, ERR_LIMIT);
}

static void on_fetched(void *ctx, struct peer_link *link, err result)
{
    struct line *self = ctx;
    if (self->link != link || !self->question)
        return;
    line_end(self, err_ok(result) ? read_answer(self->question, peer_link_status(link),
                                                buf_bytes(&self->answer))
                                  : result);
    if (!err_ok(result) || !peer_link_usable(link))
        peer_link_close(TAKE(self->link));
    line_run(self);
}

static void on_closed(void *ctx, struct peer_link *link, err why)
{
    struct line *self = ctx;
    if (self->link != link)
        return;
    self->link = NULL;
    if (self->question) {
        struct peer *peer = peers_find(self->leases->peers, self->peer_id);
        if (peer)
            peer_url_failed(peer, self->url_at);
        line_end(self, why);
    }
    line_run(self);
}

static const struct peer_link_owner owner = {
    .opened = on_opened, .body = on_body, .fetched = on_fetched, .closed = on_closed};

static void line_dial(struct line *self)
{
    struct peer *peer = peers_find(self->leases->peers, self->question->what.leader_id);
    self->peer_id = self->question->what.leader_id;
    self->link = peer ? peer_dial(peer, &self->url_at, &owner, self) : NULL;
}

static void line_run(struct line *self)
{
    struct peer_leases *leases = self->leases;
    while (!leases->peers->shut_down) {
        if (!self->question) {
            struct list *node = list_pop(&leases->queue);
            if (!node)
                return;
            leases->queued--;
            self->question = LIST_ENTRY(node, struct question, node);
        }
        if (self->link && self->peer_id != self->question->what.leader_id)
            peer_link_close(TAKE(self->link));
        if (!self->link)
            line_dial(self);
        if (self->link) {
            if (peer_link_usable(self->link))
                send_question(self);
            return;
        }
        line_end(self, ERR_UNREACHABLE);
    }
}

/* Whoever led before may stand still, and nobody waits for its answers any more. */
static void give_up_others(struct peer_leases *self, uint64_t leader_id)
{
    LIST_FOREACH_SAFE (node, after, &self->queue) {
        struct question *question = LIST_ENTRY(node, struct question, node);
        if (question->what.leader_id == leader_id)
            continue;
        list_remove(node);
        self->queued--;
        question_end(self, question, ERR_UNREACHABLE);
    }
    for (unsigned i = 0; i < LINES; i++) {
        struct line *line = &self->lines[i];
        if (!line->question || line->question->what.leader_id == leader_id)
            continue;
        peer_link_close(TAKE(line->link));
        line_end(line, ERR_UNREACHABLE);
    }
}

void peers_ask_leases(struct peers *self, const struct replica_lease_forward *asks, size_t count)
{
    struct peer_leases *leases = self->leases;
    if (count)
        give_up_others(leases, asks[count - 1].leader_id);
    for (size_t i = 0; i < count; i++) {
        struct question *question = calloc(1, sizeof(*question));
        CHECK(question);
        question->what = asks[i];
        if (leases->queued == QUEUE_MAX) {
            question_end(leases, question, ERR_LIMIT);
            continue;
        }
        list_push(&leases->queue, &question->node);
        leases->queued++;
    }
    for (unsigned i = 0; i < LINES && leases->queued; i++) {
        if (!leases->lines[i].question)
            line_run(&leases->lines[i]);
    }
}

void peer_leases_deliver(struct peer_leases *self)
{
    struct list *node;
    while ((node = list_pop(&self->finished))) {
        struct question *question = LIST_ENTRY(node, struct question, node);
        self->peers->handler.lease_answered(self->peers->ctx, question->what.ask, question->error,
                                            &question->answer);
        free(question);
    }
}

void peer_leases_sweep(struct peer_leases *self)
{
    uint64_t now_ms = io_loop_now_ms(self->peers->loop);
    for (unsigned i = 0; i < LINES; i++) {
        struct line *line = &self->lines[i];
        if (line->link && !line->question && now_ms - line->idle_since_ms > LINE_IDLE_MS)
            peer_link_close(TAKE(line->link));
    }
}

/* ---- From others ------------------------------------------------------------------------ */

static err read_question(struct lease_served *self, struct bytes body, bool internal)
{
    struct arena arena;
    err e;
    arena_init(&arena, 1024);
    if (internal) {
        Leasepb__LeaseInternalRequest *request = NULL;
        e = wire_decode(&leasepb__lease_internal_request__descriptor, body, &arena, NULL,
                        WIRE_OUT(&request), NULL);
        if (err_ok(e) && request->leasetimetoliverequest) {
            self->lease_id = request->leasetimetoliverequest->id;
            self->keys = request->leasetimetoliverequest->keys;
        }
        self->kind = LEASE_TIME_LEFT;
    } else {
        Etcdserverpb__LeaseKeepAliveRequest *request = NULL;
        e = wire_decode(&etcdserverpb__lease_keep_alive_request__descriptor, body, &arena, NULL,
                        WIRE_OUT(&request), NULL);
        if (err_ok(e))
            self->lease_id = request->id;
        self->kind = LEASE_KEEP_ALIVE;
    }
    arena_done(&arena);
    return e;
}

bool peer_leases_serve(struct peers *self, struct http_exchange *exchange, struct bytes path,
                       struct bytes body)
{
    struct peer_leases *leases = self->leases;
    bool internal = bytes_equal(path, BYTES_LIT("/leases/internal"));
    if (!internal && !bytes_equal(path, BYTES_LIT("/leases")))
        return false;
    if (!self->handler.lease_asked) {
        peer_serve_text(self, exchange, 501, "not supported by this member yet");
        return true;
    }
    struct lease_served parsed = {0};
    if (!bytes_equal(http_exchange_method(exchange), BYTES_LIT("POST")))
        peer_serve_text(self, exchange, 405, "Method Not Allowed");
    else if (body.len > BODY_BYTES_MAX)
        peer_serve_text(self, exchange, 413, "http: request body too large");
    else if (!err_ok(read_question(&parsed, body, internal)))
        peer_serve_text(self, exchange, 400, "error unmarshalling request");
    else if (served_list_is_full(&leases->served))
        peer_serve_text(self, exchange, 500, "too many requests");
    else {
        struct lease_served *kept = malloc(sizeof(*kept));
        CHECK(kept);
        *kept = parsed;
        served_keep(&leases->served, &kept->served, exchange);
        self->handler.lease_asked(self->ctx, kept->served.number, kept->kind, kept->lease_id);
    }
    return true;
}

/* Their keys; false: too many for one answer. */
static bool put_keys(const struct replica_view *view, const struct lease_served *self,
                     struct arena *arena, Etcdserverpb__LeaseTimeToLiveResponse *response)
{
    struct lease_keys at;
    size_t count = self->keys ? lease_keys_count(view->lease_keys, self->lease_id) : 0;
    size_t bytes = count * sizeof(ProtobufCBinaryData);
    if (bytes > ANSWER_KEYS_MAX)
        return false;
    response->keys = ARENA_ARRAY(arena, ProtobufCBinaryData, count);
    lease_keys_seek(&at, view->lease_keys, self->lease_id, BYTES_NONE);
    for (; response->n_keys < count && lease_keys_valid(&at); lease_keys_next(&at)) {
        bytes += lease_keys_bytes(&at) + LEASE_KEY_BYTES;
        if (bytes > ANSWER_KEYS_MAX)
            return false;
        uint8_t *room = arena_alloc_bytes(arena, lease_keys_bytes(&at) + LEASE_KEY_BYTES);
        struct bytes key = lease_keys_key(&at, room);
        response->keys[response->n_keys++] = (ProtobufCBinaryData){key.len, (uint8_t *)key.data};
    }
    return true;
}

static void serve_time_left(struct peers *peers, const struct lease_served *self,
                            const struct replica_lease_answer *answer)
{
    struct arena arena;
    arena_init(&arena, 4096);
    Leasepb__LeaseInternalResponse wrapped = LEASEPB__LEASE_INTERNAL_RESPONSE__INIT;
    Etcdserverpb__LeaseTimeToLiveResponse response =
        ETCDSERVERPB__LEASE_TIME_TO_LIVE_RESPONSE__INIT;
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    wrapped.leasetimetoliveresponse = &response;
    response.header = &header;
    response.id = self->lease_id;
    response.ttl = answer->ttl_s;
    response.grantedttl = answer->granted_s;
    if (put_keys(peers->handler.view(peers->ctx), self, &arena, &response))
        peer_serve_body(peers, self->served.exchange, 200, PROTOBUF,
                        wire_encode_arena(&wrapped.base, &arena));
    else
        peer_serve_text(peers, self->served.exchange, 500,
                        "the lease has too many keys for one answer");
    arena_done(&arena);
}

static void serve_alive(struct peers *peers, const struct lease_served *self,
                        const struct replica_lease_answer *answer)
{
    uint8_t body[2 * (1 + WIRE_VARINT_BYTES_MAX)];
    uint8_t *at = wire_put_varint_field(body, 2, (uint64_t)self->lease_id);
    at = wire_put_varint_field(at, 3, (uint64_t)answer->ttl_s);
    peer_serve_body(peers, self->served.exchange, 200, PROTOBUF,
                    bytes_of(body, (size_t)(at - body)));
}

static void serve_answer(struct peers *peers, const struct lease_served *self, err error,
                         const struct replica_lease_answer *answer)
{
    bool alive = self->kind == LEASE_KEEP_ALIVE;
    if (err_is(error, ERR_TIMEOUT_WAIT_APPLIED_INDEX))
        peer_serve_text(peers, self->served.exchange, 408, TIMED_OUT_TEXT);
    else if (err_is(error, ERR_NOT_LEADER))
        peer_serve_text(peers, self->served.exchange, 400, err_text(ERR_NOT_PRIMARY_LESSOR));
    else if (!err_ok(error))
        peer_serve_text(peers, self->served.exchange, 500, err_text(error));
    else if (answer->ttl_s == (alive ? 0 : -1))
        peer_serve_text(peers, self->served.exchange, 404, "lease not found");
    else if (alive)
        serve_alive(peers, self, answer);
    else
        serve_time_left(peers, self, answer);
}

void peers_lease_reply(struct peers *self, uint64_t number, err error,
                       const struct replica_lease_answer *answer)
{
    struct served *served = served_take(&self->leases->served, number);
    if (!served)
        return;
    if (served->exchange)
        serve_answer(self, (const void *)served, error, answer);
    free(served);
}

/* ---- Life ------------------------------------------------------------------------------- */

struct peer_leases *peer_leases_new(struct peers *peers)
{
    struct peer_leases *self = calloc(1, sizeof(*self));
    CHECK(self);
    self->peers = peers;
    list_init(&self->queue);
    list_init(&self->finished);
    served_list_init(&self->served, SERVED_MAX);
    for (unsigned i = 0; i < LINES; i++) {
        self->lines[i].leases = self;
        buf_init(&self->lines[i].answer, ANSWER_BYTES_MAX);
    }
    return self;
}

static void questions_free(struct list *list)
{
    LIST_FOREACH_SAFE (node, after, list) {
        free(LIST_ENTRY(node, struct question, node));
    }
    list_init(list);
}

void peer_leases_free(struct peer_leases *self)
{
    for (unsigned i = 0; i < LINES; i++) {
        peer_link_close(TAKE(self->lines[i].link));
        free(self->lines[i].question);
        buf_done(&self->lines[i].answer);
    }
    questions_free(&self->queue);
    questions_free(&self->finished);
    served_list_done(&self->served);
    free(self);
}
