#include "etcdctl/kv.h"

#include "base/buf.h"

#include <string.h>

#define O struct put_options
const struct flag put_flags[] = {
    STRING_FLAG(O, lease, "lease", "0", "lease to attach the key to, in hexadecimal"),
    BOOL_FLAG(O, prev_kv, "prev-kv", "answer with what was there before"),
    BOOL_FLAG(O, ignore_value, "ignore-value", "keep the key's value"),
    BOOL_FLAG(O, ignore_lease, "ignore-lease", "keep the key's lease"),
    {0},
};
#undef O

/* Longer than any server takes. */
#define INPUT_BYTES_MAX (1UL << 31)

static int need_value(void)
{
    return ctl_fail(CTL_BAD_ARGS,
                    "put command needs 1 argument and input from stdin or 2 arguments");
}

/* All of input, at least one byte. */
static int value_read(struct ctl *ctl, FILE *input, ProtobufCBinaryData *ret_value)
{
    struct buf AUTO(buf_done) text;
    buf_init(&text, INPUT_BYTES_MAX);
    while (input && !feof(input)) {
        if (!err_ok(buf_reserve(&text, 65536)))
            return ctl_fail(CTL_BAD_ARGS, "the value on stdin is too long");
        text.len += fread(text.data + text.len, 1, 65536, input);
        if (ferror(input))
            return ctl_fail(CTL_IO, "cannot read the value on stdin");
    }
    if (text.len == 0)
        return need_value();
    *ret_value = field_of_bytes(arena_copy(&ctl->arena, buf_bytes(&text)));
    return CTL_OK;
}

int put_request(struct ctl *ctl, const struct put_options *options, struct strings args,
                FILE *input, Etcdserverpb__PutRequest **ret_request)
{
    Etcdserverpb__PutRequest *request = ARENA_NEW(&ctl->arena, Etcdserverpb__PutRequest);
    const char *why;
    int code = CTL_OK;
    etcdserverpb__put_request__init(request);
    if (args.count == 0)
        return need_value();
    if (options->ignore_value && args.count > 1)
        return ctl_fail(CTL_BAD_ARGS,
                        "put command needs only 1 argument when 'ignore-value' is set");
    if (args.count > 1)
        request->value = field_of_bytes(bytes_str(args.items[1]));
    else if (!options->ignore_value)
        code = value_read(ctl, input, &request->value);
    if (code)
        return code;
    if (!err_ok(number_parse(options->lease, 16, &ctl->arena, &request->lease, &why)))
        return ctl_fail(CTL_BAD_ARGS, "bad lease ID (%s), expecting ID in Hex", why);
    request->key = field_of_bytes(bytes_str(args.items[0]));
    request->prev_kv = options->prev_kv;
    request->ignore_value = options->ignore_value;
    request->ignore_lease = options->ignore_lease;
    *ret_request = request;
    return CTL_OK;
}

int command_run_put(struct ctl *ctl, const void *options, struct strings args)
{
    Etcdserverpb__PutRequest *request = NULL;
    const ProtobufCMessage *response = NULL;
    int code = put_request(ctl, options, args, stdin, &request);
    if (!code)
        code = ctl_call(ctl, &client_kv_put, &request->base, &response);
    return code ? code : print_put(ctl, (const Etcdserverpb__PutResponse *)response);
}
