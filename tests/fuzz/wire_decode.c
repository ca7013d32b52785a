/* Any bytes are a message or an error. The first byte chooses the message, the second the
 * bounds; what decodes is canonical exactly if encoding it gives the same bytes, and encoding is
 * canonical always. */
#include "base/check.h"
#include "support.h"
#include "wire/decode.h"
#include "wire/encode.h"
#include "wire/splice.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void walk(struct bytes in)
{
    struct wire_field_iter iter = wire_field_iter_of(in);
    struct wire_field field;
    size_t n = 0;
    while (wire_field_iter_next(&iter, &field))
        n++;
    err e = wire_field_iter_end(&iter);
    CHECK(n <= in.len && (err_ok(e) || err_is(e, ERR_SYNTAX) || err_is(e, ERR_LIMIT)));
}

static void read_kv(struct bytes in)
{
    struct wire_kv kv;
    uint8_t out[512];
    if (!err_ok(wire_kv_read(in, &kv)))
        return;
    CHECK(wire_kv_size(&kv) == in.len);
    if (in.len <= sizeof(out)) {
        CHECK(wire_put_kv(out, &kv) == out + in.len);
        CHECK(bytes_equal(bytes_of(out, in.len), in));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    const ProtobufCMessageDescriptor *descriptor = schema_messages[data[0] % schema_message_count];
    struct wire_decode_opts opts = {
        .depth_max = data[1] & 1 ? 5 : 0,
        .arena_factor = data[1] & 2 ? 4 : 0,
        .arena_slack_bytes = data[1] & 2 ? 1024 : 0,
        .from_log = data[1] & 4,
    };
    struct bytes in = bytes_of(data + 2, size - 2);
    struct arena arena;
    arena_init(&arena, 0);
    ProtobufCMessage *msg;
    bool canonical;
    walk(in);
    read_kv(in);
    if (err_ok(wire_decode(descriptor, in, &arena, &opts, &msg, &canonical))) {
        struct bytes out = wire_encode_arena(msg, &arena);
        CHECK(canonical == bytes_equal(in, out));
        opts.arena_factor = 64;
        CHECK(err_ok(wire_decode(descriptor, out, &arena, &opts, &msg, &canonical)));
        CHECK(canonical && bytes_equal(out, wire_encode_arena(msg, &arena)));
    }
    arena_done(&arena);
    return 0;
}
