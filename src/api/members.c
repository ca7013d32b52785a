/* Who is in the cluster, and who leads it: lists and changes.
 *
 *     add ─ URLs parse, id ─┐
 *     remove, update ───────┼─> core: may it? ─> entry ─> applied here ─> the list as it is then
 *     promote ──────────────┘   (the leader judges; ours waits until the change is seen here)
 *
 * Source: etcd's interface, limits "Check order per request". */
#include "api/cluster.h"

#include "base/clock.h"
#include "base/url.h"
#include "etcdserverpb.pb-c.h"
#include "state/ids.h"

#include <stdlib.h>

/* Of all URLs of a request; far more than any member has. */
#define URLS_BYTES_MAX ((size_t)64 << 10)

/* ── Answers ────────────────────────────────────────────────────────────────────────────────── */

static char **copy_texts(struct arena *arena, struct text_list list)
{
    char **copy = ARENA_ARRAY(arena, char *, list.count);
    for (size_t i = 0; i < list.count; i++)
        copy[i] = wire_string_of(arena, bytes_str(list.items[i]));
    return copy;
}

static Etcdserverpb__Member *copy_member(struct arena *arena, const struct member *from)
{
    Etcdserverpb__Member *to = ARENA_NEW(arena, Etcdserverpb__Member);
    etcdserverpb__member__init(to);
    to->id = from->id;
    to->name = wire_string_of(arena, bytes_str(from->name));
    to->n_peerurls = from->peer_urls.count;
    to->peerurls = copy_texts(arena, from->peer_urls);
    to->n_clienturls = from->client_urls.count;
    to->clienturls = copy_texts(arena, from->client_urls);
    to->islearner = from->learner;
    return to;
}

/* What the answer says beside the members as they are. */
struct changed {
    const struct member *added;
    uint64_t removed_id; /* of us, perhaps, who will not see it applied */
};

static void note_change(struct request *request, struct changed changed)
{
    struct changed *kept = ARENA_NEW(&request->arena, struct changed);
    *kept = changed;
    request->data = kept;
}

/* All these responses are alike: header 1, members 2; but for MemberAddResponse: members 3, and
 * the new one 2. */
static void answer_members(struct request *request)
{
    struct arena *arena = &request->arena;
    const struct membership *members = front_view(request->front)->members;
    const struct changed *changed = request->data;
    const struct member *added = changed ? changed->added : NULL;
    uint64_t gone = changed ? changed->removed_id : 0;
    size_t count = 0;
    Etcdserverpb__MemberAddResponse with_added = ETCDSERVERPB__MEMBER_ADD_RESPONSE__INIT;
    Etcdserverpb__MemberListResponse response = ETCDSERVERPB__MEMBER_LIST_RESPONSE__INIT;
    Etcdserverpb__ResponseHeader header;
    cluster_set_header(request, &header, 0);
    Etcdserverpb__Member **list = ARENA_ARRAY(arena, Etcdserverpb__Member *, members->count);
    for (size_t i = 0; i < members->count; i++)
        if (members->members[i].id != gone)
            list[count++] = copy_member(arena, &members->members[i]);
    with_added.header = response.header = &header;
    with_added.n_members = response.n_members = count;
    with_added.members = response.members = list;
    if (added)
        with_added.member = copy_member(arena, added);
    request_answer_message(request, added ? &with_added.base : &response.base);
}

static void answer_after(struct request *request, const struct replica_reply *reply)
{
    if (reply->result.error.code)
        request_fail(request, reply->result.error);
    else
        answer_members(request);
}

void cluster_member_list(struct request *request, const ProtobufCMessage *message)
{
    const Etcdserverpb__MemberListRequest *list = (const void *)message;
    if (list->linearizable)
        front_read_barrier(request->front, request, answer_after);
    else
        answer_members(request);
}

/* ── Changes ────────────────────────────────────────────────────────────────────────────────── */

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* As a URL must look that a member is added with: parsed, sorted. */
static err read_urls(struct arena *arena, char *const *texts, size_t count,
                     struct text_list *ret_urls)
{
    const char **urls = ARENA_ARRAY(arena, const char *, count);
    size_t bytes = 0;
    if (count == 0 || count > MEMBER_URLS_MAX)
        return ERR_MEMBER_BAD_URLS;
    for (size_t i = 0; i < count; i++) {
        struct url url;
        const char *reason;
        if (!err_ok(url_parse(arena, bytes_str(texts[i]), &url, &reason)))
            return ERR_MEMBER_BAD_URLS;
        urls[i] = url.text;
        bytes += strlen(url.text);
    }
    if (bytes > URLS_BYTES_MAX)
        return ERR_MEMBER_BAD_URLS;
    qsort(urls, count, sizeof(*urls), compare_texts);
    *ret_urls = (struct text_list){urls, count};
    return OK;
}

static uint64_t new_member_id(struct arena *arena, struct text_list urls)
{
    struct bytes *texts = ARENA_ARRAY(arena, struct bytes, urls.count);
    for (size_t i = 0; i < urls.count; i++)
        texts[i] = bytes_str(urls.items[i]);
    return member_id_added(texts, urls.count, clock_wall_ns() / 1000000000);
}

err cluster_new_member(struct arena *arena, char *const *urls, size_t count, bool learner,
                       struct member **ret_member)
{
    struct member *member = ARENA_NEW(arena, struct member);
    *member = (struct member){.name = "", .learner = learner};
    TRY(read_urls(arena, urls, count, &member->peer_urls));
    member->id = new_member_id(arena, member->peer_urls);
    *ret_member = member;
    return OK;
}

void cluster_member_change(struct request *request, enum member_change_kind kind,
                           const struct member *member,
                           void (*on_reply)(struct request *, const struct replica_reply *))
{
    const struct link_member_request what = {.change = {kind, *member}};
    front_member_request(request->front, request, &what, on_reply);
}

void cluster_member_add(struct request *request, const ProtobufCMessage *message)
{
    const Etcdserverpb__MemberAddRequest *add = (const void *)message;
    struct member *member = NULL;
    err e = cluster_new_member(&request->arena, add->peerurls, add->n_peerurls, add->islearner,
                               &member);
    if (e.code) {
        request_fail(request, e);
        return;
    }
    note_change(request, (struct changed){.added = member});
    cluster_member_change(request, MEMBER_ADD, member, answer_after);
}

void cluster_member_remove(struct request *request, const ProtobufCMessage *message)
{
    const Etcdserverpb__MemberRemoveRequest *remove = (const void *)message;
    note_change(request, (struct changed){.removed_id = remove->id});
    cluster_member_change(request, MEMBER_REMOVE, &(struct member){.id = remove->id, .name = ""},
                          answer_after);
}

/* etcd looks at nothing here; what no member could read in the log is refused all the same. */
static bool update_is_sound(char *const *texts, size_t count)
{
    size_t bytes = 0;
    if (count > MEMBER_URLS_MAX)
        return false;
    for (size_t i = 0; i < count; i++) {
        bytes += strlen(texts[i]);
        if (strstr(texts[i], "\xC0\x80")) /* a NUL, as strings have it here */
            return false;
    }
    return bytes <= URLS_BYTES_MAX;
}

void cluster_member_update(struct request *request, const ProtobufCMessage *message)
{
    const Etcdserverpb__MemberUpdateRequest *update = (const void *)message;
    if (!update_is_sound(update->peerurls, update->n_peerurls)) {
        request_fail(request, ERR_MEMBER_BAD_URLS);
        return;
    }
    const struct text_list urls = {(const char *const *)update->peerurls, update->n_peerurls};
    cluster_member_change(request, MEMBER_UPDATE,
                          &(struct member){update->id, .name = "", .peer_urls = urls},
                          answer_after);
}

static void answer_whatever(struct request *request, const struct replica_reply *reply)
{
    (void)reply;
    answer_members(request);
}

/* Where another member leads it knows of the change before we do. */
static void promoted(struct request *request, const struct replica_reply *reply)
{
    if (reply->result.error.code)
        request_fail(request, reply->result.error);
    else
        front_read_barrier(request->front, request, answer_whatever);
}

void cluster_member_promote(struct request *request, const ProtobufCMessage *message)
{
    const Etcdserverpb__MemberPromoteRequest *promote = (const void *)message;
    cluster_member_change(request, MEMBER_PROMOTE, &(struct member){.id = promote->id, .name = ""},
                          promoted);
}

/* ── Who leads ──────────────────────────────────────────────────────────────────────────────── */

static void moved(struct request *request, const struct replica_reply *reply)
{
    const Etcdserverpb__MoveLeaderResponse response = ETCDSERVERPB__MOVE_LEADER_RESPONSE__INIT;
    if (reply->result.error.code)
        request_fail(request, reply->result.error);
    else
        request_answer_message(request, &response.base); /* without a header, as etcd's */
}

void maintenance_move_leader(struct request *request, const ProtobufCMessage *message)
{
    const Etcdserverpb__MoveLeaderRequest *move = (const void *)message;
    const struct link_member_request what = {.is_transfer = true,
                                             .change.member.id = move->targetid};
    front_member_request(request->front, request, &what, moved);
}
