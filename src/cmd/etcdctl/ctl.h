/* One call of etcdctl: its global options, its client, its exit code. */
#pragma once

#include "base/arena.h"
#include "client/client.h"
#include "etcdctl/flags.h"

#include <limits.h>
#include <stdio.h>

#define ETCD_VERSION     "3.7.1"
#define ETCD_API_VERSION "3.7"

enum ctl_exit {
    CTL_OK = 0,
    CTL_ERROR = 1,
    CTL_BAD_CONNECTION = 2,
    CTL_INVALID_INPUT = 3,
    CTL_BAD_FEATURE = 4,
    CTL_INTERRUPTED = 5,
    CTL_IO = 6,
    CTL_BAD_ARGS = 128,
};

enum ctl_format {
    FORMAT_SIMPLE,
    FORMAT_FIELDS,
    FORMAT_JSON,
    FORMAT_PROTOBUF,
    FORMAT_TABLE,
};

struct ctl_options {
    struct strings endpoints;
    const char *write_out;
    bool hex, debug;
    int64_t dial_timeout_ns, command_timeout_ns, keepalive_time_ns, keepalive_timeout_ns;
    int64_t request_bytes_max, receive_bytes_max;
    bool insecure_transport, insecure_discovery, insecure_skip_tls_verify;
    const char *cert, *key, *cacert, *auth_jwt_token, *user, *password;
    const char *discovery_srv, *discovery_srv_name;
};

struct ctl {
    struct ctl_options options;
    struct flag_set flags; /* over options */
    enum ctl_format format;
    struct arena arena;
    struct io_loop *loop;
    struct client *client;
    unsigned dash; /* how many of the command's arguments stood before "--"; DASH_NONE */
};

#define DASH_NONE UINT_MAX

extern const struct flag ctl_flags[];

/* ETCDCTL_…: the global flags that the command line does not give. Warns of names that it does not
 * know. Returns an exit code: a flag given by both is fatal. */
int ctl_environment(struct ctl *self);
/* Checks what the global options say, and takes the format. */
int ctl_check(struct ctl *self);
/* The format alone: for what asks no server. */
int ctl_format_take(struct ctl *self);
/* Makes the client, of these endpoints. Connects nothing yet. */
int ctl_connect(struct ctl *self, struct strings endpoints);
/* What the process ends with need not wait for a name server: then nothing is given back. */
void ctl_done(struct ctl *self);

uint64_t ctl_timeout_ms(const struct ctl *self);
/* "Error: …" to stderr; returns the code. */
int ctl_fail(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* -w names a form that the command has not. */
int ctl_format_unsupported(const struct ctl *self);

/* A unary call to any endpoint with --command-timeout. On failure it has printed its error. */
int ctl_call(struct ctl *self, const struct client_method *method, const ProtobufCMessage *message,
             const ProtobufCMessage **ret_response);
/* The same with timeout and else of the request's own; its arena and done are set here. */
int ctl_request(struct ctl *self, const struct client_request *request,
                const ProtobufCMessage **ret_response);
/* The same, but *ret_error is what went wrong, for the caller to say; only its log line is out.
 * Returns CTL_OK, CTL_ERROR, or what a client that cannot be made ends with (has said it). */
int ctl_try(struct ctl *self, const struct client_request *request,
            const ProtobufCMessage **ret_response, const char **ret_error);
/* Makes the client where there is none yet. */
int ctl_client(struct ctl *self);
/* What etcdctl says of a failed call. */
const char *ctl_error_text(struct ctl *self, const struct client_result *result);
/* The log line that precedes it on stderr. */
void ctl_log_failure(struct ctl *self, const char *method, const struct client_result *result);
