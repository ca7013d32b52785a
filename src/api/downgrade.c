/* Downgrade: whether the cluster may go down one minor version, that it shall, that it shall not.
 * The target is kept by all members; the leader sets the cluster version to it
 * (replica/cluster.c), and then members of that version can join.
 *
 * A cancel that finds nothing to cancel succeeds, as with etcd.
 * Source: etcd's interface, limits "Check order per request". */
#include "api/cluster.h"
#include "api/kv.h"
#include "membershippb.pb-c.h"
#include "wire/encode.h"

enum { FIELD_DOWNGRADE_INFO_SET = 1302 }; /* of InternalRaftRequest */

typedef Etcdserverpb__DowngradeRequest downgrade_request;

/* X.Y or X.Y.Z, the latter with whatever a version may end in. */
static err read_target(const char *text, struct cluster_version *ret_target)
{
    size_t len = strcspn(text, "-+");
    struct bytes number = bytes_of(text, len);
    unsigned dots = 0;
    for (size_t i = 0; i < len; i++)
        dots += text[i] == '.';
    if ((text[len] && dots != 2) || !err_ok(cluster_version_parse(number, ret_target)))
        return ERR_WRONG_DOWNGRADE_VERSION_FORMAT;
    return OK;
}

static void answer(struct request *request)
{
    const struct replica_view *view = front_view(request->front);
    Etcdserverpb__DowngradeResponse response = ETCDSERVERPB__DOWNGRADE_RESPONSE__INIT;
    Etcdserverpb__ResponseHeader header;
    cluster_set_header(request, &header, view->mvcc->revision);
    response.header = &header;
    response.version =
        arena_printf(&request->arena, "%u.%u", view->version.major, view->version.minor);
    request_answer_message(request, &response.base);
}

static void answer_after(struct request *request, const struct replica_reply *reply)
{
    if (reply->result.error.code)
        request_fail(request, reply->result.error);
    else
        answer(request);
}

static void propose(struct request *request, bool enabled, struct cluster_version target)
{
    char text[CLUSTER_VERSION_TEXT_MAX];
    Membershippb__DowngradeInfoSetRequest set = MEMBERSHIPPB__DOWNGRADE_INFO_SET_REQUEST__INIT;
    set.enabled = enabled;
    if (enabled)
        set.ver = (char *)cluster_version_text(target, text);
    kv_propose_body(request, FIELD_DOWNGRADE_INFO_SET,
                    wire_encode_arena(&set.base, &request->arena), answer_after);
}

static err judge(const struct replica_view *view, struct cluster_version target)
{
    const struct cluster_version known_from = {3, 5}; /* older members cannot bear the entry */
    struct cluster_version now = view->version;
    if (target.major != now.major || target.minor + 1 != now.minor)
        return ERR_INVALID_DOWNGRADE_TARGET_VERSION;
    if (view->members->downgrade_to.major)
        return ERR_DOWNGRADE_IN_PROCESS;
    return cluster_version_compare(now, known_from) < 0 ? ERR_NOT_CAPABLE : OK;
}

static void validated(struct request *request, const struct replica_reply *reply)
{
    const downgrade_request *asked = (const void *)request->message;
    struct cluster_version target;
    err e = reply->result.error;
    if (err_ok(e))
        e = read_target(asked->version, &target);
    if (err_ok(e))
        e = judge(front_view(request->front), target);
    if (e.code)
        request_fail(request, e);
    else if (asked->action == ETCDSERVERPB__DOWNGRADE_REQUEST__DOWNGRADE_ACTION__ENABLE)
        propose(request, true, target);
    else
        answer(request);
}

static void canceled(struct request *request, const struct replica_reply *reply)
{
    bool under_way = front_view(request->front)->members->downgrade_to.major != 0;
    if (err_ok(reply->result.error) && under_way)
        propose(request, false, (struct cluster_version){0, 0});
    else
        answer(request);
}

void maintenance_downgrade(struct request *request, const ProtobufCMessage *message)
{
    const downgrade_request *asked = (const void *)message;
    bool cancels = asked->action == ETCDSERVERPB__DOWNGRADE_REQUEST__DOWNGRADE_ACTION__CANCEL;
    bool knows = cancels ||
                 asked->action == ETCDSERVERPB__DOWNGRADE_REQUEST__DOWNGRADE_ACTION__VALIDATE ||
                 asked->action == ETCDSERVERPB__DOWNGRADE_REQUEST__DOWNGRADE_ACTION__ENABLE;
    struct cluster_version target;
    err e = knows ? OK : ERR_UNKNOWN_METHOD;
    if (err_ok(e) && !cancels)
        e = read_target(asked->version, &target);
    if (err_ok(e) && front_view(request->front)->version.major == 0)
        e = ERR_CLUSTER_VERSION_UNAVAILABLE;
    if (e.code)
        request_fail(request, e);
    else
        front_read_barrier(request->front, request, cancels ? canceled : validated);
}
