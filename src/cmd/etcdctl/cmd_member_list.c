#include "etcdctl/cluster.h"
#include "etcdctl/member.h"
#include "etcdctl/table.h"

#include <inttypes.h>
#include <string.h>

const struct flag member_list_flags[] = {
    STRING_FLAG(struct member_list_options, consistency, "consistency", "l",
                "l: linearizable, s: serializable"),
    {0},
};

enum { ID, STATUS, NAME, PEERS, CLIENTS, LEARNER, COLUMNS };

static const char *joined(struct arena *arena, char **items, size_t count)
{
    const char *text = count ? items[0] : "";
    for (size_t i = 1; i < count; i++)
        text = arena_printf(arena, "%s,%s", text, items[i]);
    return text;
}

static struct table_row row_of(struct arena *arena, const Etcdserverpb__Member *member)
{
    struct table_row row;
    row.cells[ID] = arena_printf(arena, "%" PRIx64, member->id);
    row.cells[STATUS] = member->name[0] ? "started" : "unstarted";
    row.cells[NAME] = member->name;
    row.cells[PEERS] = joined(arena, member->peerurls, member->n_peerurls);
    row.cells[CLIENTS] = joined(arena, member->clienturls, member->n_clienturls);
    row.cells[LEARNER] = member->islearner ? "true" : "false";
    return row;
}

static void print_fields(const struct ctl *ctl, const Etcdserverpb__MemberListResponse *response)
{
    print_fields_header(ctl, response->header);
    for (size_t i = 0; i < response->n_members; i++) {
        const Etcdserverpb__Member *member = response->members[i];
        print_fields_id(ctl, "ID", member->id);
        print_fields_string("Name", member->name);
        for (size_t u = 0; u < member->n_peerurls; u++)
            print_fields_string("PeerURL", member->peerurls[u]);
        for (size_t u = 0; u < member->n_clienturls; u++)
            print_fields_string("ClientURL", member->clienturls[u]);
        (void)printf("\"IsLearner\" : %s\n\n", member->islearner ? "true" : "false");
    }
}

static int print_rows(struct ctl *ctl, const Etcdserverpb__MemberListResponse *response)
{
    static const char *const headers[] = {"ID",         "STATUS",       "NAME",
                                          "PEER ADDRS", "CLIENT ADDRS", "IS LEARNER"};
    struct table_row *rows = ARENA_ARRAY(&ctl->arena, struct table_row, response->n_members);
    for (size_t i = 0; i < response->n_members; i++)
        rows[i] = row_of(&ctl->arena, response->members[i]);
    if (ctl->format == FORMAT_TABLE) {
        table_print(stdout, &(struct table){headers, COLUMNS, rows, response->n_members});
        return CTL_OK;
    }
    for (size_t i = 0; i < response->n_members; i++)
        for (unsigned c = 0; c < COLUMNS; c++)
            (void)printf("%s%s", rows[i].cells[c], c + 1 < COLUMNS ? ", " : "\n");
    return CTL_OK;
}

static int print_members(struct ctl *ctl, const Etcdserverpb__MemberListResponse *response)
{
    switch (ctl->format) {
    case FORMAT_SIMPLE:
    case FORMAT_TABLE:
        return print_rows(ctl, response);
    case FORMAT_FIELDS:
        print_fields(ctl, response);
        return CTL_OK;
    case FORMAT_JSON:
        return ctl->options.hex ? print_members_json_hex(response->header, NULL, response->members,
                                                         response->n_members)
                                : print_json(&response->base);
    case FORMAT_PROTOBUF:
        return print_protobuf(&response->base);
    }
    return CTL_ERROR;
}

int command_run_member_list(struct ctl *ctl, const void *opaque, struct strings args)
{
    const struct member_list_options *options = opaque;
    Etcdserverpb__MemberListRequest request = ETCDSERVERPB__MEMBER_LIST_REQUEST__INIT;
    const ProtobufCMessage *response = NULL;
    bool serializable = strcmp(options->consistency, "s") == 0;
    if (!serializable && strcmp(options->consistency, "l") != 0)
        return ctl_fail(CTL_BAD_FEATURE, "unknown consistency flag \"%s\"", options->consistency);
    request.linearizable = !serializable;
    int code = ctl_call(ctl, &client_cluster_member_list, &request.base, &response);
    return code ? code : print_members(ctl, (const Etcdserverpb__MemberListResponse *)response);
}
