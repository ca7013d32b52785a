/* lease grant, revoke, timetolive, list, keep-alive. Their json form has the header's fields at its
 * top; their protobuf form is the header alone. */
#include "etcdctl/lease.h"

#include "base/check.h"
#include "client/keepalive.h"
#include "etcdctl/print.h"
#include "etcdctl/text.h"
#include "wire/json.h"

#include <inttypes.h>

const struct flag lease_time_flags[] = {
    BOOL_FLAG(struct lease_time_options, keys, "keys", "with the keys that are attached to it"),
    {0},
};
const struct flag lease_keep_flags[] = {
    BOOL_FLAG(struct lease_keep_options, once, "once", "renew it once, and end"),
    {0},
};

/* ---- forms ------------------------------------------------------------------------------ */

/* The header's fields, and room for more: "{…,". */
static void json_begin(struct buf *out, const Etcdserverpb__ResponseHeader *header)
{
    static const Etcdserverpb__ResponseHeader none = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    CHECK(err_ok(wire_json_write(header ? &header->base : &none.base, WIRE_JSON_GO, out)));
    out->len--;
    if (out->data[out->len - 1] != '{')
        CHECK(err_ok(buf_append(out, BYTES_LIT(","))));
}

static int json_end(struct buf *out)
{
    CHECK(err_ok(buf_append(out, BYTES_LIT("}\n"))));
    (void)fwrite(out->data, 1, out->len, stdout);
    return CTL_OK;
}

static int print_header_protobuf(const Etcdserverpb__ResponseHeader *header)
{
    return header ? print_protobuf(&header->base) : CTL_OK;
}

static void print_number(const char *name, int64_t number)
{
    (void)printf("\"%s\" : %" PRId64 "\n", name, number);
}

/* ---- arguments -------------------------------------------------------------------------- */

static int id_take(struct ctl *ctl, struct strings args, const char *missing, int64_t *ret_id)
{
    const char *why;
    if (args.count != 1)
        return ctl_fail(CTL_BAD_ARGS, "%s", missing);
    if (!err_ok(number_parse(args.items[0], 16, &ctl->arena, ret_id, &why)))
        return ctl_fail(CTL_BAD_ARGS, "bad lease ID arg (%s), expecting ID in Hex", why);
    return CTL_OK;
}

/* A call without a time limit; one that fails ends with "bad connection", whatever it was. */
static int ask(struct ctl *ctl, const struct client_method *method, const ProtobufCMessage *message,
               const ProtobufCMessage **ret_response)
{
    const struct client_request request = {
        .method = method,
        .message = message,
        .timeout_ms = CLIENT_NO_TIMEOUT,
        .endpoint = CLIENT_ANY_ENDPOINT,
    };
    int code = ctl_request(ctl, &request, ret_response);
    return code ? CTL_BAD_CONNECTION : CTL_OK;
}

/* A call with --command-timeout, whose error is put into words. */
static int change(struct ctl *ctl, const struct client_method *method,
                  const ProtobufCMessage *message, const char *what,
                  const ProtobufCMessage **ret_response)
{
    const struct client_request request = {
        .method = method,
        .message = message,
        .timeout_ms = ctl_timeout_ms(ctl),
        .endpoint = CLIENT_ANY_ENDPOINT,
    };
    const char *error = NULL;
    int code = ctl_try(ctl, &request, ret_response, &error);
    return error ? ctl_fail(code, "failed to %s lease (%s)", what, error) : code;
}

/* ---- grant and revoke ------------------------------------------------------------------- */

static int print_grant(const struct ctl *ctl, const Etcdserverpb__LeaseGrantResponse *response)
{
    struct buf AUTO(buf_done) out;
    buf_init(&out, 0);
    switch (ctl->format) {
    case FORMAT_SIMPLE:
        (void)printf("lease %016" PRIx64 " granted with TTL(%" PRId64 "s)\n",
                     (uint64_t)response->id, response->ttl);
        return CTL_OK;
    case FORMAT_FIELDS:
        print_fields_header(ctl, response->header);
        print_number("ID", response->id);
        print_number("TTL", response->ttl);
        return CTL_OK;
    case FORMAT_JSON:
        json_begin(&out, response->header);
        CHECK(err_ok(buf_printf(&out, "\"ID\":%" PRId64 ",\"TTL\":%" PRId64 ",\"Error\":",
                                response->id, response->ttl)));
        CHECK(err_ok(wire_json_write_string(bytes_str(response->error), WIRE_JSON_GO, &out)));
        return json_end(&out);
    case FORMAT_PROTOBUF:
        return print_header_protobuf(response->header);
    case FORMAT_TABLE:
        break;
    }
    return ctl_format_unsupported(ctl);
}

int command_run_lease_grant(struct ctl *ctl, const void *options, struct strings args)
{
    Etcdserverpb__LeaseGrantRequest request = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
    const ProtobufCMessage *response = NULL;
    const char *why;
    if (args.count != 1)
        return ctl_fail(CTL_BAD_ARGS, "lease grant command needs TTL argument");
    if (!err_ok(number_parse(args.items[0], 10, &ctl->arena, &request.ttl, &why)))
        return ctl_fail(CTL_BAD_ARGS, "bad TTL (%s)", why);
    int code = change(ctl, &client_lease_grant, &request.base, "grant", &response);
    return code ? code : print_grant(ctl, (const Etcdserverpb__LeaseGrantResponse *)response);
}

int command_run_lease_revoke(struct ctl *ctl, const void *options, struct strings args)
{
    Etcdserverpb__LeaseRevokeRequest request = ETCDSERVERPB__LEASE_REVOKE_REQUEST__INIT;
    const ProtobufCMessage *response = NULL;
    int code = id_take(ctl, args, "lease revoke command needs 1 argument", &request.id);
    if (!code)
        code = change(ctl, &client_lease_revoke, &request.base, "revoke", &response);
    if (code)
        return code;
    if (ctl->format == FORMAT_PROTOBUF)
        return ctl_format_unsupported(ctl);
    return print_done(
        ctl, response, ((const Etcdserverpb__LeaseRevokeResponse *)response)->header,
        arena_printf(&ctl->arena, "lease %016" PRIx64 " revoked", (uint64_t)request.id));
}

/* ---- timetolive and list ---------------------------------------------------------------- */

static void simple_time(const Etcdserverpb__LeaseTimeToLiveResponse *response, bool keys)
{
    if (response->grantedttl == 0 && response->ttl == -1) {
        (void)printf("lease %016" PRIx64 " already expired\n", (uint64_t)response->id);
        return;
    }
    (void)printf("lease %016" PRIx64 " granted with TTL(%" PRId64 "s), remaining(%" PRId64 "s)",
                 (uint64_t)response->id, response->grantedttl, response->ttl);
    if (keys) {
        (void)fputs(", attached keys([", stdout);
        for (size_t i = 0; i < response->n_keys; i++) {
            (void)fputs(i ? " " : "", stdout);
            print_bytes(response->keys[i]);
        }
        (void)fputs("])", stdout);
    }
    (void)putchar('\n');
}

static int json_time(const Etcdserverpb__LeaseTimeToLiveResponse *response)
{
    struct buf AUTO(buf_done) out;
    buf_init(&out, 0);
    json_begin(&out, response->header);
    CHECK(err_ok(buf_printf(
        &out, "\"id\":%" PRId64 ",\"ttl\":%" PRId64 ",\"granted-ttl\":%" PRId64 ",\"keys\":",
        response->id, response->ttl, response->grantedttl)));
    for (size_t i = 0; i < response->n_keys; i++) {
        CHECK(err_ok(buf_append(&out, i ? BYTES_LIT(",\"") : BYTES_LIT("[\""))));
        CHECK(err_ok(wire_json_write_base64(bytes_of_field(response->keys[i]), &out)));
        CHECK(err_ok(buf_append(&out, BYTES_LIT("\""))));
    }
    CHECK(err_ok(buf_append(&out, response->n_keys ? BYTES_LIT("]") : BYTES_LIT("null"))));
    return json_end(&out);
}

static int print_time(const struct ctl *ctl, const Etcdserverpb__LeaseTimeToLiveResponse *response,
                      bool keys)
{
    switch (ctl->format) {
    case FORMAT_SIMPLE:
        simple_time(response, keys);
        return CTL_OK;
    case FORMAT_FIELDS:
        print_fields_header(ctl, response->header);
        print_number("ID", response->id);
        print_number("TTL", response->ttl);
        print_number("GrantedTTL", response->grantedttl);
        for (size_t i = 0; i < response->n_keys; i++)
            print_fields_bytes("Key", response->keys[i]);
        return CTL_OK;
    case FORMAT_JSON:
        return json_time(response);
    case FORMAT_PROTOBUF:
        return print_header_protobuf(response->header);
    case FORMAT_TABLE:
        break;
    }
    return ctl_format_unsupported(ctl);
}

int command_run_lease_time(struct ctl *ctl, const void *opaque, struct strings args)
{
    const struct lease_time_options *options = opaque;
    Etcdserverpb__LeaseTimeToLiveRequest request = ETCDSERVERPB__LEASE_TIME_TO_LIVE_REQUEST__INIT;
    const ProtobufCMessage *response = NULL;
    int code =
        id_take(ctl, args, "lease timetolive command needs lease ID as argument", &request.id);
    request.keys = options->keys;
    if (!code)
        code = ask(ctl, &client_lease_time_to_live, &request.base, &response);
    return code ? code
                : print_time(ctl, (const Etcdserverpb__LeaseTimeToLiveResponse *)response,
                             options->keys);
}

static int print_leases(const struct ctl *ctl, const Etcdserverpb__LeaseLeasesResponse *response)
{
    struct buf AUTO(buf_done) out;
    buf_init(&out, 0);
    switch (ctl->format) {
    case FORMAT_SIMPLE:
        (void)printf("found %zu leases\n", response->n_leases);
        for (size_t i = 0; i < response->n_leases; i++)
            (void)printf("%016" PRIx64 "\n", (uint64_t)response->leases[i]->id);
        return CTL_OK;
    case FORMAT_FIELDS:
        print_fields_header(ctl, response->header);
        for (size_t i = 0; i < response->n_leases; i++)
            print_fields_id(ctl, "ID", (uint64_t)response->leases[i]->id);
        return CTL_OK;
    case FORMAT_JSON:
        json_begin(&out, response->header);
        CHECK(err_ok(buf_append(&out, BYTES_LIT("\"leases\":["))));
        for (size_t i = 0; i < response->n_leases; i++)
            CHECK(err_ok(
                buf_printf(&out, "%s{\"id\":%" PRId64 "}", i ? "," : "", response->leases[i]->id)));
        CHECK(err_ok(buf_append(&out, BYTES_LIT("]"))));
        return json_end(&out);
    case FORMAT_PROTOBUF:
        return print_header_protobuf(response->header);
    case FORMAT_TABLE:
        break;
    }
    return ctl_format_unsupported(ctl);
}

int command_run_lease_list(struct ctl *ctl, const void *options, struct strings args)
{
    static const Etcdserverpb__LeaseLeasesRequest request =
        ETCDSERVERPB__LEASE_LEASES_REQUEST__INIT;
    const ProtobufCMessage *response = NULL;
    int code = ask(ctl, &client_lease_leases, &request.base, &response);
    return code ? code : print_leases(ctl, (const Etcdserverpb__LeaseLeasesResponse *)response);
}

/* ---- keep-alive ------------------------------------------------------------------------- */

static int print_renewed(const struct ctl *ctl,
                         const Etcdserverpb__LeaseKeepAliveResponse *response)
{
    struct buf AUTO(buf_done) out;
    buf_init(&out, 0);
    switch (ctl->format) {
    case FORMAT_SIMPLE:
        (void)printf("lease %016" PRIx64 " keepalived with TTL(%" PRId64 ")\n",
                     (uint64_t)response->id, response->ttl);
        return CTL_OK;
    case FORMAT_FIELDS:
        print_fields_header(ctl, response->header);
        print_number("ID", response->id);
        print_number("TTL", response->ttl);
        return CTL_OK;
    case FORMAT_JSON:
        json_begin(&out, response->header);
        CHECK(err_ok(
            buf_printf(&out, "\"ID\":%" PRId64 ",\"TTL\":%" PRId64, response->id, response->ttl)));
        return json_end(&out);
    case FORMAT_PROTOBUF:
        return print_header_protobuf(response->header);
    case FORMAT_TABLE:
        break;
    }
    return ctl_format_unsupported(ctl);
}

struct keeping {
    struct ctl *ctl;
    int code;
    bool lost;
};

static void on_renewed(void *ctx, const Etcdserverpb__LeaseKeepAliveResponse *response)
{
    struct keeping *self = ctx;
    self->code = print_renewed(self->ctl, response);
    if (fflush(stdout) != 0 || self->code)
        io_loop_stop(self->ctl->loop);
}

static void on_lost(void *ctx)
{
    struct keeping *self = ctx;
    self->lost = true;
    io_loop_stop(self->ctl->loop);
}

static int keep(struct ctl *ctl, int64_t lease)
{
    struct keeping keeping = {.ctl = ctl};
    int code = ctl_client(ctl);
    if (code)
        return code;
    const struct client_keepalive_request request = {
        .lease = lease,
        .patience_ms = (uint64_t)ctl->options.dial_timeout_ns / 1000000 + 1000,
        .renewed = on_renewed,
        .lost = on_lost,
        .ctx = &keeping,
    };
    io_loop_refresh(ctl->loop);
    struct client_keepalive *keepalive = client_keepalive_new(ctl->client, &request);
    while (!keeping.lost && !keeping.code && !ferror(stdout))
        io_loop_run(ctl->loop);
    client_keepalive_free(keepalive);
    if (keeping.lost && ctl->format == FORMAT_SIMPLE)
        (void)printf("lease %016" PRIx64 " expired or revoked.\n", (uint64_t)lease);
    return keeping.code;
}

int command_run_lease_keep(struct ctl *ctl, const void *opaque, struct strings args)
{
    const struct lease_keep_options *options = opaque;
    Etcdserverpb__LeaseKeepAliveRequest request = ETCDSERVERPB__LEASE_KEEP_ALIVE_REQUEST__INIT;
    const ProtobufCMessage *message = NULL;
    int code =
        id_take(ctl, args, "lease keep-alive command needs lease ID as argument", &request.id);
    if (code)
        return code;
    if (!options->once)
        return keep(ctl, request.id);
    code = ask(ctl, &client_lease_keep_alive, &request.base, &message);
    if (code)
        return code;
    const Etcdserverpb__LeaseKeepAliveResponse *response =
        (const Etcdserverpb__LeaseKeepAliveResponse *)message;
    if (response->ttl <= 0)
        return ctl_fail(CTL_BAD_CONNECTION, "etcdserver: requested lease not found");
    return print_renewed(ctl, response);
}
