/* Reads requests, one a line: how, a field of InternalRaftRequest and the request's bytes in hex.
 * Prints the bytes that we would put into the log ("take"), or those that we read out of an entry
 * of others ("log"), in hex; or "refused". */
#include "base/check.h"
#include "etcdserverpb_internal.pb-c.h"
#include "state/request.h"
#include "wire/decode.h"
#include "wire/encode.h"

#include <stdio.h>
#include <stdlib.h>

static unsigned digit(char c)
{
    CHECK((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'));
    return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
}

static struct bytes unhex(struct arena *arena, const char *text, size_t len)
{
    uint8_t *out = arena_alloc_bytes(arena, len / 2 + 1);
    for (size_t i = 0; i < len / 2; i++)
        out[i] = (uint8_t)(digit(text[2 * i]) << 4 | digit(text[2 * i + 1]));
    return bytes_of(out, len / 2);
}

static err from_log(unsigned field, struct bytes raw, struct arena *arena, struct bytes *ret_plain)
{
    const ProtobufCFieldDescriptor *of = protobuf_c_message_descriptor_get_field(
        &etcdserverpb__internal_raft_request__descriptor, field);
    const struct wire_decode_opts opts = {
        .depth_max = WIRE_DEPTH_MAX_LIMIT, .arena_factor = 128, .from_log = true};
    ProtobufCMessage *message;
    CHECK(of);
    TRY(wire_decode(of->descriptor, raw, arena, &opts, &message, NULL));
    *ret_plain = wire_encode_arena(message, arena);
    return OK;
}

static void answer(const char *line, size_t len)
{
    struct arena arena;
    arena_init(&arena, 4096);
    char *at;
    bool take = line[0] == 't';
    CHECK(len > 5 && (take || line[0] == 'l'));
    unsigned field = (unsigned)strtoul(line + (take ? 5 : 4), &at, 10);
    CHECK(*at == ' ');
    at++;
    struct bytes raw = unhex(&arena, at, len - (size_t)(at - line));
    struct bytes out;
    err e = take ? state_request_canonical(field, raw, &arena, &out)
                 : from_log(field, raw, &arena, &out);
    for (size_t i = 0; err_ok(e) && i < out.len; i++)
        printf("%02x", out.data[i]);
    puts(err_ok(e) ? "" : "refused");
    arena_done(&arena);
}

int main(void)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t len;
    while ((len = getline(&line, &cap, stdin)) > 0)
        answer(line, (size_t)len - 1);
    free(line);
    return 0;
}
