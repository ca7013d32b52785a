#include "api/v2_internal.h"

#define KEYS BYTES_LIT("/v2/keys")

static bool is_method(const struct request *request, const char *name)
{
    return bytes_equal(http_exchange_method(request->exchange), bytes_str(name));
}

static bool has_form(const struct request *request)
{
    struct bytes type = http_exchange_header(request->exchange, "content-type");
    return bytes_has_prefix(type, BYTES_LIT("application/x-www-form-urlencoded")) &&
           (is_method(request, "PUT") || is_method(request, "POST"));
}

bool v2_keys_serve(struct request *request, struct bytes body)
{
    struct bytes keys = KEYS;
    if (!request->front->config.enable_v2 || !bytes_has_prefix(request->path, keys) ||
        (request->path.len > keys.len && request->path.data[keys.len] != '/'))
        return false;
    bool reads = is_method(request, "GET") || is_method(request, "HEAD");
    if (!reads && !is_method(request, "PUT") && !is_method(request, "POST") &&
        !is_method(request, "DELETE")) {
        pages_refuse_method(request, "HEAD,GET,PUT,POST,DELETE");
        return true;
    }
    request->fail = v2_fail;
    struct bytes target = http_exchange_target(request->exchange);
    size_t path_len = request->path.len < target.len ? request->path.len + 1 : target.len;
    const struct v2_asked asked = {.path = bytes_skip(request->path, keys.len),
                                   .query = bytes_skip(target, path_len),
                                   .form = has_form(request) ? body : BYTES_NONE,
                                   .is_get = is_method(request, "GET")};
    struct v2_params *params = ARENA_NEW(&request->arena, struct v2_params);
    struct v2_refusal refusal = v2_params_parse(&request->arena, &asked, params);
    if (refusal.error != V2_OK)
        v2_refuse(request, refusal, 0);
    else if (!reads)
        v2_write(request, params);
    else if (params->wait)
        v2_watch(request, params);
    else
        v2_read(request, params);
    return true;
}
