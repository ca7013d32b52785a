#include "etcdctl/endpoint.h"

#include "base/check.h"
#include "base/clock.h"
#include "wire/json.h"

const struct flag endpoint_flags[] = {
    BOOL_FLAG(struct endpoint_options, cluster, "cluster",
              "ask every endpoint that the cluster's members advertise"),
    {0},
};

static int cluster_endpoints(struct ctl *ctl, struct strings *ret_endpoints)
{
    Etcdserverpb__MemberListRequest message = ETCDSERVERPB__MEMBER_LIST_REQUEST__INIT;
    message.linearizable = true;
    const struct client_request request = {
        .method = &client_cluster_member_list,
        .message = &message.base,
        .timeout_ms = ctl_timeout_ms(ctl),
        .endpoint = CLIENT_ANY_ENDPOINT,
        .arena = &ctl->arena,
    };
    int code = ctl_connect(ctl, ctl->options.endpoints);
    if (code)
        return code;
    struct client_result result = client_call_wait(ctl->client, &request);
    if (result.status != GRPC_OK) {
        ctl_log_failure(ctl, request.method->path, &result);
        return ctl_fail(CTL_ERROR, "failed to fetch endpoints from etcd cluster member list: %s",
                        ctl_error_text(ctl, &result));
    }
    const Etcdserverpb__MemberListResponse *list =
        (const Etcdserverpb__MemberListResponse *)result.response;
    size_t room = 0;
    unsigned count = 0;
    for (size_t i = 0; i < list->n_members; i++)
        room += list->members[i]->n_clienturls;
    const char **urls = ARENA_ARRAY(&ctl->arena, const char *, room);
    for (size_t i = 0; i < list->n_members; i++)
        for (size_t u = 0; u < list->members[i]->n_clienturls; u++)
            urls[count++] = list->members[i]->clienturls[u];
    *ret_endpoints = (struct strings){urls, count};
    return CTL_OK;
}

int endpoint_list(struct ctl *ctl, const struct endpoint_options *options,
                  struct strings *ret_endpoints)
{
    if (options->cluster)
        return cluster_endpoints(ctl, ret_endpoints);
    *ret_endpoints = ctl->options.endpoints;
    return CTL_OK;
}

int endpoint_round_begin(struct ctl *ctl, const struct endpoint_options *options,
                         struct endpoint_round *ret_round)
{
    struct strings endpoints = {0};
    int code = endpoint_list(ctl, options, &endpoints);
    if (!code)
        code = ctl_connect(ctl, endpoints);
    if (code)
        return code;
    *ret_round = (struct endpoint_round){
        .ctl = ctl,
        .answers = ARENA_ARRAY(&ctl->arena, struct endpoint_answer, endpoints.count),
        .count = endpoints.count,
        .left = endpoints.count,
    };
    for (unsigned i = 0; i < endpoints.count; i++)
        ret_round->answers[i] = (struct endpoint_answer){
            .endpoint = endpoints.items[i], .index = i, .round = ret_round};
    return CTL_OK;
}

void endpoint_ask(struct endpoint_answer *answer, const struct client_method *method,
                  const ProtobufCMessage *message,
                  void (*done)(void *answer, const struct client_result *result))
{
    struct ctl *ctl = answer->round->ctl;
    const struct client_request request = {
        .method = method,
        .message = message,
        .timeout_ms = ctl_timeout_ms(ctl),
        .endpoint = (int)answer->index,
        .read = true,
        .arena = &ctl->arena,
        .done = done,
        .ctx = answer,
    };
    if (!answer->begun_ns)
        answer->begun_ns = clock_mono_ns();
    (void)client_call_start(ctl->client, &request);
}

void endpoint_over(struct endpoint_answer *answer)
{
    struct endpoint_round *round = answer->round;
    answer->over = true;
    if (--round->left == 0)
        io_loop_stop(round->ctl->loop);
}

void endpoint_wait(struct endpoint_round *round)
{
    while (round->left > 0)
        io_loop_run(round->ctl->loop);
}

static void on_answer(void *ctx, const struct client_result *result)
{
    struct endpoint_answer *answer = ctx;
    answer->result = *result;
    endpoint_over(answer);
}

void endpoint_ask_all(struct endpoint_round *round, const struct client_method *method,
                      const ProtobufCMessage *message)
{
    io_loop_refresh(round->ctl->loop);
    for (unsigned i = 0; i < round->count; i++)
        endpoint_ask(&round->answers[i], method, message, on_answer);
    endpoint_wait(round);
    for (unsigned i = 0; i < round->count; i++)
        if (round->answers[i].result.status != GRPC_OK)
            ctl_log_failure(round->ctl, method->path, &round->answers[i].result);
}

void endpoint_print_json(const struct endpoint_round *round, const char *name)
{
    struct buf AUTO(buf_done) out;
    buf_init(&out, 0);
    for (unsigned i = 0; i < round->count; i++) {
        const struct endpoint_answer *answer = &round->answers[i];
        if (!answer->result.response)
            continue;
        CHECK(err_ok(buf_printf(&out, "%s{\"Endpoint\":", out.len ? "," : "[")));
        CHECK(err_ok(wire_json_write_string(bytes_str(answer->endpoint), WIRE_JSON_GO, &out)));
        CHECK(err_ok(buf_printf(&out, ",\"%s\":", name)));
        CHECK(err_ok(wire_json_write(answer->result.response, WIRE_JSON_GO, &out)));
        CHECK(err_ok(buf_append(&out, BYTES_LIT("}"))));
    }
    CHECK(err_ok(buf_append(&out, out.len ? BYTES_LIT("]\n") : BYTES_LIT("null\n"))));
    (void)fwrite(out.data, 1, out.len, stdout);
}
