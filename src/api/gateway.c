#include "api/gateway.h"

#include "api/lease.h"
#include "wire/encode.h"
#include "wire/json.h"

size_t gateway_cors(struct request *request, struct http_header ret_headers[GATEWAY_CORS_HEADERS])
{
    struct bytes origin = http_exchange_header(request->exchange, "origin");
    const char *const *allowed = request->front->config.cors;
    for (; *allowed; allowed++) {
        bool all = strcmp(*allowed, "*") == 0;
        if (!all && !bytes_equal(bytes_str(*allowed), origin))
            continue;
        ret_headers[0] = (struct http_header){BYTES_LIT("Access-Control-Allow-Methods"),
                                              BYTES_LIT("POST, GET, OPTIONS, PUT, DELETE")};
        ret_headers[1] = (struct http_header){BYTES_LIT("Access-Control-Allow-Origin"),
                                              all ? BYTES_LIT("*") : origin};
        ret_headers[2] = (struct http_header){BYTES_LIT("Access-Control-Allow-Headers"),
                                              BYTES_LIT("accept, content-type, authorization")};
        return GATEWAY_CORS_HEADERS;
    }
    return 0;
}

void gateway_preflight(struct request *request)
{
    struct http_header headers[GATEWAY_CORS_HEADERS];
    size_t count = gateway_cors(request, headers);
    http_response_begin(request->exchange, 200, headers, count, 0);
    http_response_end(request->exchange);
    request->state = REQUEST_ANSWERED;
}

/* The older prefix names the same. */
static struct bytes canonical_path(struct request *request)
{
    struct bytes beta = BYTES_LIT("/v3beta/");
    if (!bytes_has_prefix(request->path, beta))
        return request->path;
    struct bytes rest = bytes_skip(request->path, beta.len);
    return bytes_str(arena_printf(&request->arena, "/v3/%.*s", rest.len > 256 ? 256 : (int)rest.len,
                                  (const char *)rest.data));
}

static const struct bytes bad_body = {(const uint8_t *)"the body is not the JSON of this request",
                                      40};

static bool is_blank(struct bytes text)
{
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c != ' ' && c != '\n' && c != '\r' && c != '\t')
            return false;
    }
    return true;
}

/* The messages of a client's stream, one object after the other, until one of them has to wait for
 * its answer; then the rest waits too, for gateway_resume. kept: the body is in the arena. */
static void run_messages(struct request *request, struct bytes body, bool kept)
{
    const struct method *method = request->method;
    while (request->state == REQUEST_OPEN && !is_blank(body)) {
        ProtobufCMessage *message;
        size_t consumed;
        if (!err_ok(
                wire_json_parse(method->input, body, &request->arena, NULL, &message, &consumed))) {
            request_fail_text(request, GRPC_INVALID_ARGUMENT, bad_body);
            return;
        }
        body = bytes_skip(body, consumed);
        method->run(request, message);
    }
    if (request->state == REQUEST_AT_CORE)
        request->raw = kept ? body : arena_copy(&request->arena, body);
    else if (request->state == REQUEST_OPEN && request->on_half_closed)
        request->on_half_closed(request);
}

void gateway_resume(struct request *request)
{
    run_messages(request, request->raw, true);
}

static void serve_stream(struct request *request, struct bytes body)
{
    err e = request_admissible(request, front_view(request->front));
    if (e.code)
        request_fail(request, e);
    else if (is_blank(body) && request->method->run == lease_keep_alive)
        request_finish(request); /* it never said anything */
    else
        run_messages(request, body, false);
}

void gateway_serve(struct request *request, struct bytes body)
{
    const struct method *method = method_find_gateway(canonical_path(request));
    if (!method) {
        request_fail_text(request, GRPC_NOT_FOUND, BYTES_LIT("Not Found"));
        return;
    }
    if (!bytes_equal(http_exchange_method(request->exchange), BYTES_LIT("POST"))) {
        request_fail_text(request, GRPC_UNIMPLEMENTED, BYTES_LIT("Method Not Allowed"));
        return;
    }
    if (!method->run) {
        request_fail_text(request, GRPC_UNIMPLEMENTED,
                          BYTES_LIT("not supported by this server yet"));
        return;
    }
    request->method = method;
    call_metrics_started(method);
    call_metrics_client(method, BYTES_NONE);
    if (method->client_streams) {
        serve_stream(request, body);
        return;
    }
    /* The parsed message lives in the arena; its bytes, which writes propose, are made anew. */
    ProtobufCMessage *message;
    if (body.len == 0)
        body = BYTES_LIT("{}");
    err e = wire_json_parse(method->input, body, &request->arena, NULL, &message, NULL);
    if (e.code) {
        request_fail_text(request, GRPC_INVALID_ARGUMENT, bad_body);
        return;
    }
    request->message = message;
    request->raw = wire_encode_arena(message, &request->arena);
    request->canonical = true;
    if (request->raw.len > request->front->config.max_request_bytes + (512 << 10)) {
        request_fail_text(request, GRPC_RESOURCE_EXHAUSTED,
                          BYTES_LIT("grpc: received message larger than max"));
        return;
    }
    e = request_admissible(request, front_view(request->front));
    if (e.code)
        request_fail(request, e);
    else
        method->run(request, message);
}
