/* Any text is an object of the message that the first byte chooses, or an error; what it says is
 * written and read back as the same, and Go's form is written of it too. */
#include "base/check.h"
#include "support.h"
#include "wire/encode.h"
#include "wire/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    const ProtobufCMessageDescriptor *descriptor = schema_messages[data[0] % schema_message_count];
    struct bytes in = bytes_of(data + 1, size - 1);
    struct arena arena;
    struct buf out;
    arena_init(&arena, 0);
    buf_init(&out, 0);
    ProtobufCMessage *msg;
    ProtobufCMessage *back;
    size_t consumed;
    err whole = wire_json_parse(descriptor, in, &arena, NULL, &msg, NULL);
    err part = wire_json_parse(descriptor, in, &arena, NULL, &back, &consumed);
    CHECK(!err_ok(whole) || err_ok(part));
    CHECK(!err_ok(part) || (consumed <= in.len && in.data[consumed - 1] == '}'));
    if (err_ok(whole)) {
        CHECK(err_ok(wire_json_write(msg, WIRE_JSON_GO, &out)));
        buf_clear(&out);
        CHECK(err_ok(wire_json_write(msg, WIRE_JSON_GATEWAY, &out)));
        CHECK(err_ok(wire_json_parse(descriptor, buf_bytes(&out), &arena, NULL, &back, NULL)));
        CHECK(bytes_equal(wire_encode_arena(msg, &arena), wire_encode_arena(back, &arena)));
    }
    buf_done(&out);
    arena_done(&arena);
    return 0;
}
