/* The v2 API's bytes: parameters of a request, and what is stored under its keys, which any client
 * of etcd 3 may have written. */
#include "api/v2_internal.h"
#include "base/check.h"

static void parse(struct arena *arena, struct bytes text)
{
    /* path, query, form: by lines. */
    struct bytes parts[3] = {BYTES_NONE, BYTES_NONE, BYTES_NONE};
    for (unsigned i = 0; i < 3 && text.len; i++) {
        const uint8_t *end = memchr(text.data, '\n', text.len);
        size_t len = end ? (size_t)(end - text.data) : text.len;
        parts[i] = bytes_of(text.data, len);
        text = bytes_skip(text, end ? len + 1 : len);
    }
    const struct v2_asked asked = {
        .path = parts[0], .query = parts[1], .form = parts[2], .is_get = parts[2].len == 0};
    struct v2_params params;
    struct v2_refusal refusal = v2_params_parse(arena, &asked, &params);
    if (refusal.error != V2_OK) {
        CHECK(refusal.cause);
        return;
    }
    /* A clean path, whose key leads back to it. */
    CHECK(params.path.len >= 1 && params.path.data[0] == '/');
    CHECK(params.path.len == 1 || params.path.data[params.path.len - 1] != '/');
    struct bytes back;
    CHECK(v2_path_of(arena, v2_key(arena, params.path), &back) == (params.path.len > 1));
    if (params.path.len > 1)
        CHECK(bytes_equal(back, params.path));
}

static void decode(struct arena *arena, struct bytes stored)
{
    struct v2_event event;
    struct buf out;
    buf_init(&out, 0);
    if (err_ok(v2_event_decode(stored, 7, &event))) {
        (void)!v2_put_event(&out, &event, 1).code;
        struct v2_event again;
        CHECK(err_ok(v2_event_decode(v2_event_encode(arena, &event), 7, &again)));
        CHECK(again.action == event.action && bytes_equal(again.path, event.path));
    }
    struct v2_node node;
    if (err_ok(v2_node_decode(stored, &node)))
        (void)!v2_put_node_begin(&out, BYTES_LIT("/a"), &node, true, 1).code;
    buf_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    arena_init(&arena, 4096);
    parse(&arena, bytes_of(data, size));
    decode(&arena, bytes_of(data, size));
    arena_done(&arena);
    return 0;
}
