#include "etcdctl/ctl.h"

#include "base/check.h"
#include "base/log.h"
#include "version.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

#define NS_PER_MS 1000000

#define O struct ctl_options
const struct flag ctl_flags[] = {
    {"endpoints", 0, FLAG_STRINGS, "127.0.0.1:2379", offsetof(O, endpoints),
     "servers to talk to, a comma list"},
    {"write-out", 'w', FLAG_STRING, "simple", offsetof(O, write_out),
     "form of the output: fields, json, protobuf, simple, table"},
    BOOL_FLAG(O, hex, "hex", "print bytes and ids in hexadecimal"),
    BOOL_FLAG(O, debug, "debug", "accepted; changes nothing"),
    DURATION_FLAG(O, dial_timeout_ns, "dial-timeout", "2s", "time for a connection to be made"),
    DURATION_FLAG(O, command_timeout_ns, "command-timeout", "5s",
                  "time for a short command, retries included"),
    DURATION_FLAG(O, keepalive_time_ns, "keepalive-time", "2s",
                  "silence after which a connection is probed"),
    DURATION_FLAG(O, keepalive_timeout_ns, "keepalive-timeout", "6s",
                  "time for the answer to that probe"),
    INT_FLAG(O, request_bytes_max, "max-request-bytes", "0", "longest request; 0: 2 MiB"),
    INT_FLAG(O, receive_bytes_max, "max-recv-bytes", "0", "longest answer; 0: 2 GiB - 1"),
    {"insecure-transport", 0, FLAG_BOOL, "true", offsetof(O, insecure_transport),
     "accepted: connections are plain"},
    {"insecure-discovery", 0, FLAG_BOOL, "true", offsetof(O, insecure_discovery),
     "accepted: there is no discovery yet"},
    BOOL_FLAG(O, insecure_skip_tls_verify, "insecure-skip-tls-verify",
              "accepted: there is no TLS yet"),
    STRING_FLAG(O, cert, "cert", "", "client certificate (not supported yet)"),
    STRING_FLAG(O, key, "key", "", "key of the client certificate (not supported yet)"),
    STRING_FLAG(O, cacert, "cacert", "", "authorities to trust (not supported yet)"),
    STRING_FLAG(O, auth_jwt_token, "auth-jwt-token", "",
                "token to sign in with (not supported yet)"),
    STRING_FLAG(O, user, "user", "", "name[:password] to sign in with (not supported yet)"),
    STRING_FLAG(O, password, "password", "", "password to sign in with (not supported yet)"),
    {"discovery-srv", 'd', FLAG_STRING, "", offsetof(O, discovery_srv),
     "domain whose SRV records name the endpoints (not supported yet)"},
    STRING_FLAG(O, discovery_srv_name, "discovery-srv-name", "",
                "service name of those records (not supported yet)"),
    {0},
};
#undef O

/* ---- saying it -------------------------------------------------------------------------- */

int ctl_fail(int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)fputs("Error: ", stderr);
    (void)vfprintf(stderr, format, args);
    (void)fputc('\n', stderr);
    va_end(args);
    return code;
}

int ctl_format_unsupported(const struct ctl *self)
{
    return ctl_fail(CTL_BAD_FEATURE, "%s not supported as output format", self->options.write_out);
}

static void log_begin(void)
{
    static const int fds[] = {STDERR_FILENO};
    const struct log_config config = {
        .level = LOG_WARN, .format = LOG_JSON, .fds = fds, .fd_count = 1};
    log_init(&config);
}

const char *ctl_error_text(struct ctl *self, const struct client_result *result)
{
    const char *text = arena_copy_str(&self->arena, result->text);
    bool bare = client_error_known(result->text) ||
                (result->local &&
                 (result->status == GRPC_DEADLINE_EXCEEDED || result->status == GRPC_CANCELLED));
    if (bare)
        return text;
    return arena_printf(&self->arena, "rpc error: code = %s desc = %s",
                        grpc_status_name(result->status), text);
}

void ctl_log_failure(struct ctl *self, const char *method, const struct client_result *result)
{
    struct bytes text = result->detail.len ? result->detail : result->text;
    bool dialing = bytes_has_prefix(result->detail, BYTES_LIT("dial "));
    const char *before = "", *after = result->detail.len ? "\"" : "";
    if (result->detail.len)
        before = dialing ? "latest balancer error: connection error: desc = \"transport: Error "
                           "while dialing: "
                         : "latest balancer error: connection error: desc = \"transport: ";
    const char *error = arena_printf(&self->arena, "rpc error: code = %s desc = %s%.*s%s",
                                     grpc_status_name(result->status), before, (int)text.len,
                                     (const char *)text.data, after);
    log_begin();
    LOG_AT(LOG_WARN, "etcd-client", "retrying of unary invoker failed",
           LOG_STRS("endpoints", self->options.endpoints.items), LOG_STR("method", method),
           LOG_STR("error", error));
    log_done();
}

/* ---- the environment -------------------------------------------------------------------- */

#define ENV_PREFIX "ETCDCTL_"

/* Which flag an ETCDCTL_… name stands for; the table's end: none. */
static unsigned flag_of_name(const char *name, size_t len)
{
    unsigned i = 0;
    for (; ctl_flags[i].name; i++) {
        const char *flag = ctl_flags[i].name;
        size_t at = 0;
        while (at < len && flag[at] &&
               name[at] == (flag[at] == '-' ? '_' : (char)toupper((unsigned char)flag[at])))
            at++;
        if (at == len && !flag[at])
            return i;
    }
    return i;
}

/* Names that etcdctl reads elsewhere. */
static bool name_known(const char *name, size_t len)
{
    static const char *const known[] = {"API", "WATCH_KEY", "WATCH_RANGE_END"};
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (strlen(known[i]) == len && memcmp(known[i], name, len) == 0)
            return true;
    return false;
}

static int environment_take(struct ctl *self, const char *entry)
{
    const char *name = entry + strlen(ENV_PREFIX), *equals = strchr(name, '='), *why;
    size_t len = equals ? (size_t)(equals - name) : strlen(name);
    unsigned index = flag_of_name(name, len);
    if (!ctl_flags[index].name || !equals || !equals[1]) {
        if (name_known(name, len))
            return CTL_OK;
        log_begin();
        LOGW("unrecognized environment variable", LOG_STR("environment-variable", entry));
        log_done();
        return CTL_OK;
    }
    if (self->flags.given >> index & 1) {
        const char *full = arena_copy_str(&self->arena, bytes_of(entry, (size_t)(equals - entry)));
        log_begin();
        LOGF(
            "conflicting environment variable is shadowed by corresponding command-line flag "
            "(either unset environment variable or disable flag))",
            LOG_STR("environment-variable", full));
        log_done();
        return CTL_ERROR;
    }
    /* A value that cannot be read leaves the default, as it does in etcd. */
    (void)!err_ok(flag_set_value(&self->flags, index, equals + 1, &self->arena, &why));
    return CTL_OK;
}

int ctl_environment(struct ctl *self)
{
    for (char **entry = environ; *entry; entry++) {
        if (strncmp(*entry, ENV_PREFIX, strlen(ENV_PREFIX)) != 0)
            continue;
        int code = environment_take(self, *entry);
        if (code)
            return code;
    }
    return CTL_OK;
}

/* ---- options ---------------------------------------------------------------------------- */

int ctl_format_take(struct ctl *self)
{
    static const char *const names[] = {
        [FORMAT_SIMPLE] = "simple",     [FORMAT_FIELDS] = "fields", [FORMAT_JSON] = "json",
        [FORMAT_PROTOBUF] = "protobuf", [FORMAT_TABLE] = "table",
    };
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(self->options.write_out, names[i]) == 0) {
            self->format = (enum ctl_format)i;
            return CTL_OK;
        }
    return ctl_fail(CTL_BAD_FEATURE, "unsupported output format");
}

int ctl_check(struct ctl *self)
{
    const struct ctl_options *o = &self->options;
    const struct {
        const char *name, *value;
    } later[] = {
        {"cert", o->cert},
        {"key", o->key},
        {"cacert", o->cacert},
        {"auth-jwt-token", o->auth_jwt_token},
        {"user", o->user},
        {"password", o->password},
        {"discovery-srv", o->discovery_srv},
        {"discovery-srv-name", o->discovery_srv_name},
    };
    for (size_t i = 0; i < sizeof(later) / sizeof(later[0]); i++)
        if (later[i].value[0])
            return ctl_fail(CTL_BAD_ARGS, "--%s is not supported yet", later[i].name);
    return ctl_format_take(self);
}

/* ---- the client ------------------------------------------------------------------------- */

static uint64_t ms_of(int64_t ns)
{
    return ns <= 0 ? 1 : ((uint64_t)ns + NS_PER_MS - 1) / NS_PER_MS;
}

uint64_t ctl_timeout_ms(const struct ctl *self)
{
    return self->options.command_timeout_ns <= 0 ? 0 : ms_of(self->options.command_timeout_ns);
}

static int connect_fail(err e, struct strings endpoints)
{
    if (err_is(e, ERR_USAGE))
        return ctl_fail(CTL_BAD_CONNECTION, "etcdclient: no available endpoints");
    if (err_is(e, ERR_UNSUPPORTED))
        return ctl_fail(CTL_BAD_CONNECTION, "https endpoints are not supported yet");
    if (err_is(e, ERR_SYNTAX))
        return ctl_fail(CTL_BAD_CONNECTION, "endpoint \"%s\" is no address with a port",
                        endpoints.items[0]);
    return ctl_fail(CTL_BAD_CONNECTION, "%s", err_text(e));
}

int ctl_connect(struct ctl *self, struct strings endpoints)
{
    const struct ctl_options *o = &self->options;
    const struct client_config config = {
        .endpoints = endpoints.items,
        .endpoint_count = endpoints.count,
        .user_agent = "etcdctl/" ETCD_VERSION " coracle/" CORACLE_VERSION,
        .dial_timeout_ms = ms_of(o->dial_timeout_ns),
        .keepalive_time_ms = o->keepalive_time_ns > 0 ? ms_of(o->keepalive_time_ns) : 0,
        .keepalive_timeout_ms = ms_of(o->keepalive_timeout_ns),
        .send_bytes_max = o->request_bytes_max > 0 ? (size_t)o->request_bytes_max : 0,
        .receive_bytes_max = o->receive_bytes_max > 0 ? (size_t)o->receive_bytes_max : 0,
    };
    client_free(TAKE(self->client));
    err e = self->loop ? OK : io_loop_new(&self->loop);
    if (err_ok(e))
        e = client_new(self->loop, &config, &self->client);
    return err_ok(e) ? CTL_OK : connect_fail(e, endpoints);
}

void ctl_done(struct ctl *self)
{
    if (self->client && client_looking_up(self->client))
        return;
    client_free(TAKE(self->client));
    if (self->loop) {
        io_loop_run_once(self->loop, 0); /* lookups that nobody waits for any more */
        io_loop_free(TAKE(self->loop));
    }
    arena_done(&self->arena);
}

int ctl_client(struct ctl *self)
{
    return self->client ? CTL_OK : ctl_connect(self, self->options.endpoints);
}

int ctl_try(struct ctl *self, const struct client_request *request,
            const ProtobufCMessage **ret_response, const char **ret_error)
{
    struct client_request whole = *request;
    int code = ctl_client(self);
    if (code)
        return code;
    whole.arena = &self->arena;
    struct client_result result = client_call_wait(self->client, &whole);
    if (result.status == GRPC_OK) {
        *ret_response = result.response;
        return CTL_OK;
    }
    ctl_log_failure(self, whole.method->path, &result);
    *ret_error = ctl_error_text(self, &result);
    return CTL_ERROR;
}

int ctl_request(struct ctl *self, const struct client_request *request,
                const ProtobufCMessage **ret_response)
{
    const char *error = NULL;
    int code = ctl_try(self, request, ret_response, &error);
    return error ? ctl_fail(code, "%s", error) : code;
}

int ctl_call(struct ctl *self, const struct client_method *method, const ProtobufCMessage *message,
             const ProtobufCMessage **ret_response)
{
    const struct client_request request = {
        .method = method,
        .message = message,
        .timeout_ms = ctl_timeout_ms(self),
        .endpoint = CLIENT_ANY_ENDPOINT,
    };
    return ctl_request(self, &request, ret_response);
}
