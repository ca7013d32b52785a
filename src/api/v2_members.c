/* /v2/members: who is in the cluster, and changes of it, as etcdctl of the v2 API asks for them.
 *
 *     GET     /v2/members, /v2/members/leader
 *     POST    /v2/members        {"peerURLs":[…]} ─> 201 and the member
 *     PUT     /v2/members/ID     {"peerURLs":[…]} ─> 204
 *     DELETE  /v2/members/ID                      ─> 204
 *
 * What is refused is told as {"message":…}. Served whether the keys of the v2 API are or not.
 * Source: etcd's interface, v2 table. */
#include "api/cluster.h"
#include "api/v2.h"
#include "base/url.h"
#include "state/ids.h"
#include "wire/json.h"

#define PREFIX BYTES_LIT("/v2/members")

/* ── Answers ────────────────────────────────────────────────────────────────────────────────── */

static err put_urls(struct buf *out, const char *name, const struct text_list *urls)
{
    TRY(buf_printf(out, ",\"%s\":[", name));
    for (size_t i = 0; i < urls->count; i++) {
        TRY(buf_append(out, i ? BYTES_LIT(",") : BYTES_NONE));
        TRY(wire_json_write_string(bytes_str(urls->items[i]), WIRE_JSON_GO, out));
    }
    return buf_append(out, BYTES_LIT("]"));
}

static err put_member(struct buf *out, const struct member *member)
{
    char id[ID_TEXT_MAX];
    TRY(buf_printf(out, "{\"id\":\"%s\",\"name\":", id_text(member->id, id)));
    TRY(wire_json_write_string(bytes_str(member->name), WIRE_JSON_GO, out));
    TRY(put_urls(out, "peerURLs", &member->peer_urls));
    TRY(put_urls(out, "clientURLs", &member->client_urls));
    return buf_append(out, BYTES_LIT("}"));
}

static err put_members(struct buf *out, const struct membership *members)
{
    TRY(buf_append(out, BYTES_LIT("{\"members\":[")));
    for (size_t i = 0; i < members->count; i++) {
        TRY(buf_append(out, i ? BYTES_LIT(",") : BYTES_NONE));
        TRY(put_member(out, &members->members[i]));
    }
    return buf_append(out, BYTES_LIT("]}\n"));
}

static void answer(struct request *request, unsigned status, const char *type, struct bytes body)
{
    char id[ID_TEXT_MAX];
    struct http_header headers[] = {
        {BYTES_LIT("X-Etcd-Cluster-ID"), bytes_str(id_text(request->front->config.cluster_id, id))},
        {BYTES_LIT("Content-Type"), bytes_str(type)}};
    http_response_begin(request->exchange, status, headers, body.len ? 2 : 1, body.len);
    http_response_body(request->exchange, body);
    http_response_end(request->exchange);
    request->state = REQUEST_ANSWERED;
}

static void answer_buf(struct request *request, unsigned status, struct buf *body, err e)
{
    answer(request, e.code ? 500 : status, "application/json", buf_bytes(body));
    buf_done(body);
}

static err put_message(struct buf *out, const char *text)
{
    TRY(buf_append(out, BYTES_LIT("{\"message\":")));
    TRY(wire_json_write_string(bytes_str(text), WIRE_JSON_GO, out));
    return buf_append(out, BYTES_LIT("}"));
}

static void refuse(struct request *request, unsigned status, const char *text)
{
    struct buf body;
    buf_init(&body, (size_t)1 << 20);
    err e = put_message(&body, text);
    answer_buf(request, status, &body, e);
}

static void answer_member(struct request *request, unsigned status, const struct member *member)
{
    struct buf body;
    buf_init(&body, (size_t)1 << 20);
    err e = put_member(&body, member);
    if (err_ok(e))
        e = buf_append(&body, BYTES_LIT("\n"));
    answer_buf(request, status, &body, e);
}

/* Of what has no words of its own here: no leader, not enough members, no time left. */
static void fail(struct request *request, err e)
{
    refuse(request, 500, "Internal Server Error");
}

static bool is_method(const struct request *request, const char *name)
{
    return bytes_equal(http_exchange_method(request->exchange), bytes_str(name));
}

/* ── Reading ────────────────────────────────────────────────────────────────────────────────── */

static void serve_list(struct request *request)
{
    struct buf body;
    buf_init(&body, (size_t)1 << 20);
    err e = put_members(&body, front_view(request->front)->members);
    answer_buf(request, 200, &body, e);
}

static void serve_leader(struct request *request)
{
    const struct replica_view *view = front_view(request->front);
    const struct member *leader =
        view->leader_id ? membership_find(view->members, view->leader_id) : NULL;
    if (leader)
        answer_member(request, 200, leader);
    else
        refuse(request, 503, "During election");
}

static void serve_get(struct request *request, struct bytes name)
{
    if (name.len == 0)
        serve_list(request);
    else if (bytes_equal(name, BYTES_LIT("leader")))
        serve_leader(request);
    else
        refuse(request, 404, "Not found");
}

/* ── Changing ───────────────────────────────────────────────────────────────────────────────── */

static void no_such_member(struct request *request, struct bytes name)
{
    refuse(request, 404,
           arena_printf(&request->arena, "No such member: %.*s", (int)name.len,
                        (const char *)name.data));
}

/* The member's id as the path has it. False: it is answered. */
static bool id_take(struct request *request, struct bytes name, uint64_t *ret_id)
{
    if (name.len == 0) {
        answer(request, 405, "text/plain; charset=utf-8", BYTES_LIT("Method Not Allowed\n"));
        return false;
    }
    if (err_ok(id_parse(name, ret_id)))
        return true;
    no_such_member(request, name);
    return false;
}

/* {"peerURLs":[…]}, each of them a URL. NULL: it is answered. */
static const Etcdserverpb__MemberAddRequest *body_take(struct request *request, struct bytes body)
{
    struct arena *arena = &request->arena;
    struct bytes type = http_exchange_header(request->exchange, "content-type");
    ProtobufCMessage *message = NULL;
    if (!bytes_equal(type, BYTES_LIT("application/json"))) {
        refuse(request, 415,
               arena_printf(arena, "Bad Content-Type %.*s, accept application/json", (int)type.len,
                            (const char *)type.data));
        return NULL;
    }
    if (!err_ok(wire_json_parse(&etcdserverpb__member_add_request__descriptor, body, arena, NULL,
                                &message, NULL))) {
        refuse(request, 400, "the body is no JSON object with peerURLs");
        return NULL;
    }
    const Etcdserverpb__MemberAddRequest *add = (const void *)message;
    if (add->n_peerurls == 0) {
        refuse(request, 400, "no valid URLs given");
        return NULL;
    }
    for (size_t i = 0; i < add->n_peerurls; i++) {
        struct url url;
        const char *why;
        if (err_ok(url_parse(arena, bytes_str(add->peerurls[i]), &url, &why)))
            continue;
        refuse(request, 400, why);
        return NULL;
    }
    return add;
}

/* What the core's answer means; false: it is told. */
static bool settled(struct request *request, const struct replica_reply *reply)
{
    const struct member *member = request->data;
    const struct membership *members = front_view(request->front)->members;
    char id[ID_TEXT_MAX];
    err e = reply->result.error;
    if (err_ok(e))
        return true;
    if (err_is(e, ERR_MEMBER_EXIST))
        refuse(request, 409, "membership: ID exists");
    else if (err_is(e, ERR_PEER_URL_EXIST))
        refuse(request, 409, "membership: peerURL exists");
    else if (!err_is(e, ERR_MEMBER_NOT_FOUND))
        fail(request, e);
    else if (!membership_was_removed(members, member->id))
        no_such_member(request, bytes_str(id_text(member->id, id)));
    else if (is_method(request, "DELETE"))
        refuse(request, 410,
               arena_printf(&request->arena, "Member permanently removed: %s",
                            id_text(member->id, id)));
    else
        fail(request, e);
    return false;
}

static void added(struct request *request, const struct replica_reply *reply)
{
    if (settled(request, reply))
        answer_member(request, 201, request->data);
}

static void changed(struct request *request, const struct replica_reply *reply)
{
    if (settled(request, reply))
        answer(request, 204, "", BYTES_NONE);
}

static void serve_post(struct request *request, struct bytes body)
{
    const Etcdserverpb__MemberAddRequest *add = body_take(request, body);
    struct member *member = NULL;
    if (!add)
        return;
    err e = cluster_new_member(&request->arena, add->peerurls, add->n_peerurls, false, &member);
    if (e.code) {
        refuse(request, 400, err_text(e));
        return;
    }
    request->data = member;
    cluster_member_change(request, MEMBER_ADD, member, added);
}

static void serve_put(struct request *request, struct bytes name, struct bytes body)
{
    struct member *member = NULL;
    uint64_t id;
    if (!id_take(request, name, &id))
        return;
    const Etcdserverpb__MemberAddRequest *update = body_take(request, body);
    if (!update)
        return;
    err e =
        cluster_new_member(&request->arena, update->peerurls, update->n_peerurls, false, &member);
    if (e.code) {
        refuse(request, 400, err_text(e));
        return;
    }
    member->id = id;
    request->data = member;
    cluster_member_change(request, MEMBER_UPDATE, member, changed);
}

static void serve_delete(struct request *request, struct bytes name)
{
    struct member *member = ARENA_NEW(&request->arena, struct member);
    *member = (struct member){.name = ""};
    if (!id_take(request, name, &member->id))
        return;
    request->data = member;
    cluster_member_change(request, MEMBER_REMOVE, member, changed);
}

/* ── Which of them ──────────────────────────────────────────────────────────────────────────── */

bool v2_members_serve(struct request *request, struct bytes body)
{
    const struct bytes prefix = PREFIX;
    if (!bytes_has_prefix(request->path, prefix))
        return false;
    struct bytes name = bytes_skip(request->path, prefix.len);
    if (name.len > 0 && name.data[0] != '/')
        return false;
    if (name.len > 0)
        name = bytes_skip(name, 1);
    if (is_method(request, "GET")) {
        serve_get(request, name);
        return true;
    }
    if (!is_method(request, "POST") && !is_method(request, "PUT") &&
        !is_method(request, "DELETE")) {
        pages_refuse_method(request, "GET,POST,DELETE,PUT");
        return true;
    }
    request->fail = fail;
    err e = request_admissible(request, front_view(request->front));
    if (e.code)
        fail(request, e);
    else if (is_method(request, "POST"))
        serve_post(request, body);
    else if (is_method(request, "PUT"))
        serve_put(request, name, body);
    else
        serve_delete(request, name);
    return true;
}
