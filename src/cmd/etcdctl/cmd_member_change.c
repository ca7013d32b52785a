/* member add, remove, update, promote: answered with the members as they are then. */
#include "base/url.h"
#include "etcdctl/cluster.h"
#include "etcdctl/member.h"
#include "etcdctl/text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

const struct flag member_add_flags[] = {
    STRING_FLAG(struct member_change_options, peer_urls, "peer-urls", "",
                "the new member's peer URLs, a comma list"),
    BOOL_FLAG(struct member_change_options, learner, "learner", "it joins as a learner"),
    {0},
};
const struct flag member_update_flags[] = {
    STRING_FLAG(struct member_change_options, peer_urls, "peer-urls", "",
                "the member's peer URLs, a comma list"),
    {0},
};

/* ---- arguments -------------------------------------------------------------------------- */

static int id_take(struct ctl *ctl, struct strings args, uint64_t *ret_id)
{
    const char *why;
    if (args.count != 1)
        return ctl_fail(CTL_BAD_ARGS, "member ID is not provided");
    if (!err_ok(number_parse_unsigned(args.items[0], 16, &ctl->arena, ret_id, &why)))
        return ctl_fail(CTL_BAD_ARGS, "bad member ID arg (%s), expecting ID in Hex", why);
    return CTL_OK;
}

static int urls_take(struct ctl *ctl, const char *text, char ***ret_urls, size_t *ret_count)
{
    if (!text[0])
        return ctl_fail(CTL_BAD_ARGS, "member peer urls not provided");
    const struct strings urls = strings_split(text, &ctl->arena);
    char **copy = ARENA_ARRAY(&ctl->arena, char *, urls.count);
    for (unsigned i = 0; i < urls.count; i++) {
        struct url url;
        const char *why;
        if (!err_ok(url_parse(&ctl->arena, bytes_str(urls.items[i]), &url, &why)))
            return ctl_fail(CTL_ERROR, "%s", why);
        copy[i] = arena_copy_str(&ctl->arena, bytes_str(urls.items[i]));
    }
    *ret_urls = copy;
    *ret_count = urls.count;
    return CTL_OK;
}

/* ---- telling ---------------------------------------------------------------------------- */

/* What all of the answers have. */
struct change {
    const ProtobufCMessage *message;
    const Etcdserverpb__ResponseHeader *header;
    const Etcdserverpb__Member *added; /* NULL: none */
    Etcdserverpb__Member **members;
    size_t member_count;
};

static int print_change(struct ctl *ctl, const struct change *change, uint64_t id, const char *what)
{
    uint64_t cluster_id = change->header ? change->header->cluster_id : 0;
    if (ctl->format == FORMAT_JSON && ctl->options.hex)
        return print_members_json_hex(change->header, change->added, change->members,
                                      change->member_count);
    if (ctl->format != FORMAT_SIMPLE)
        return print_other(ctl, change->message);
    (void)printf("Member %16" PRIx64 " %s cluster %16" PRIx64 "\n", id, what, cluster_id);
    return CTL_OK;
}

/* The settings that the new member starts with. */
static void print_settings(const char *name, const char *urls,
                           const Etcdserverpb__MemberAddResponse *response)
{
    const char *before = "";
    char *memory = NULL;
    size_t len = 0;
    FILE *list = open_memstream(&memory, &len);
    if (!list)
        return;
    for (size_t i = 0; i < response->n_members; i++) {
        const Etcdserverpb__Member *member = response->members[i];
        bool added = response->member && member->id == response->member->id;
        for (size_t u = 0; u < member->n_peerurls; u++) {
            (void)fprintf(list, "%s%s=%s", before, added ? name : member->name,
                          member->peerurls[u]);
            before = ",";
        }
    }
    if (fclose(list) == 0) {
        (void)printf("\nETCD_NAME=");
        text_quote(stdout, bytes_str(name));
        (void)printf("\nETCD_INITIAL_CLUSTER=");
        text_quote(stdout, bytes_of(memory, len));
        (void)printf("\nETCD_INITIAL_ADVERTISE_PEER_URLS=");
        text_quote(stdout, bytes_str(urls));
        (void)printf("\nETCD_INITIAL_CLUSTER_STATE=\"existing\"\n");
    }
    free(memory);
}

/* ---- commands --------------------------------------------------------------------------- */

static int too_many(struct ctl *ctl, struct strings args)
{
    const char *text = "too many arguments";
    for (unsigned i = 0; i < args.count; i++)
        if (strncasecmp(args.items[i], "http", 4) == 0)
            text =
                arena_printf(&ctl->arena, "%s, did you mean --peer-urls=%s", text, args.items[i]);
    return ctl_fail(CTL_BAD_ARGS, "%s", text);
}

int command_run_member_add(struct ctl *ctl, const void *opaque, struct strings args)
{
    const struct member_change_options *options = opaque;
    Etcdserverpb__MemberAddRequest request = ETCDSERVERPB__MEMBER_ADD_REQUEST__INIT;
    const ProtobufCMessage *message = NULL;
    if (args.count == 0)
        return ctl_fail(CTL_BAD_ARGS, "member name not provided");
    if (args.count > 1)
        return too_many(ctl, args);
    int code = urls_take(ctl, options->peer_urls, &request.peerurls, &request.n_peerurls);
    request.islearner = options->learner;
    if (!code)
        code = ctl_call(ctl, &client_cluster_member_add, &request.base, &message);
    if (code)
        return code;
    const Etcdserverpb__MemberAddResponse *response =
        (const Etcdserverpb__MemberAddResponse *)message;
    const struct change change = {message, response->header, response->member, response->members,
                                  response->n_members};
    code = print_change(ctl, &change, response->member ? response->member->id : 0,
                        options->learner ? "added as learner to" : "added to");
    if (!code && ctl->format == FORMAT_SIMPLE)
        print_settings(args.items[0], options->peer_urls, response);
    return code;
}

int command_run_member_remove(struct ctl *ctl, const void *options, struct strings args)
{
    Etcdserverpb__MemberRemoveRequest request = ETCDSERVERPB__MEMBER_REMOVE_REQUEST__INIT;
    const ProtobufCMessage *message = NULL;
    int code = id_take(ctl, args, &request.id);
    if (!code)
        code = ctl_call(ctl, &client_cluster_member_remove, &request.base, &message);
    if (code)
        return code;
    const Etcdserverpb__MemberRemoveResponse *response =
        (const Etcdserverpb__MemberRemoveResponse *)message;
    const struct change change = {message, response->header, NULL, response->members,
                                  response->n_members};
    return print_change(ctl, &change, request.id, "removed from");
}

int command_run_member_update(struct ctl *ctl, const void *opaque, struct strings args)
{
    const struct member_change_options *options = opaque;
    Etcdserverpb__MemberUpdateRequest request = ETCDSERVERPB__MEMBER_UPDATE_REQUEST__INIT;
    const ProtobufCMessage *message = NULL;
    int code = id_take(ctl, args, &request.id);
    if (!code)
        code = urls_take(ctl, options->peer_urls, &request.peerurls, &request.n_peerurls);
    if (!code)
        code = ctl_call(ctl, &client_cluster_member_update, &request.base, &message);
    if (code)
        return code;
    const Etcdserverpb__MemberUpdateResponse *response =
        (const Etcdserverpb__MemberUpdateResponse *)message;
    const struct change change = {message, response->header, NULL, response->members,
                                  response->n_members};
    return print_change(ctl, &change, request.id, "updated in");
}

int command_run_member_promote(struct ctl *ctl, const void *options, struct strings args)
{
    Etcdserverpb__MemberPromoteRequest request = ETCDSERVERPB__MEMBER_PROMOTE_REQUEST__INIT;
    const ProtobufCMessage *message = NULL;
    int code = id_take(ctl, args, &request.id);
    if (!code)
        code = ctl_call(ctl, &client_cluster_member_promote, &request.base, &message);
    if (code)
        return code;
    const Etcdserverpb__MemberPromoteResponse *response =
        (const Etcdserverpb__MemberPromoteResponse *)message;
    const struct change change = {message, response->header, NULL, response->members,
                                  response->n_members};
    return print_change(ctl, &change, request.id, "promoted in");
}
