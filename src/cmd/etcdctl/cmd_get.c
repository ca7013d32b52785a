#include "etcdctl/kv.h"

#include <string.h>
#include <strings.h>

#define O struct get_options
const struct flag get_flags[] = {
    STRING_FLAG(O, consistency, "consistency", "l", "l: linearizable, s: serializable"),
    STRING_FLAG(O, order, "order", "", "ASCEND or DESCEND"),
    STRING_FLAG(O, sort_by, "sort-by", "", "CREATE, KEY, MODIFY, VALUE or VERSION"),
    INT_FLAG(O, limit, "limit", "0", "at most so many keys"),
    INT_FLAG(O, revision, "rev", "0", "as of that revision"),
    INT_FLAG(O, create_revision_min, "min-create-rev", "0", "least create revision"),
    INT_FLAG(O, create_revision_max, "max-create-rev", "0", "greatest create revision"),
    INT_FLAG(O, mod_revision_min, "min-mod-rev", "0", "least modification revision"),
    INT_FLAG(O, mod_revision_max, "max-mod-rev", "0", "greatest modification revision"),
    BOOL_FLAG(O, prefix, "prefix", "all keys that begin with the key"),
    BOOL_FLAG(O, from_key, "from-key", "all keys from the key on"),
    BOOL_FLAG(O, keys_only, "keys-only", "keys without values"),
    BOOL_FLAG(O, count_only, "count-only", "their number alone"),
    BOOL_FLAG(O, value_only, "print-value-only", "print values alone (simple form)"),
    BOOL_FLAG(O, stream, "stream", "let the answer come in pieces"),
    {0},
};
#undef O

/* ---- key ranges ------------------------------------------------------------------------- */

static ProtobufCBinaryData field_str(const char *text)
{
    return field_of_bytes(bytes_str(text));
}

/* The least key above all that begin with prefix; of 0xff bytes alone: no end. */
ProtobufCBinaryData key_prefix_end(struct ctl *ctl, struct bytes prefix)
{
    static const uint8_t no_end[1] = {0};
    size_t len = prefix.len;
    while (len > 0 && prefix.data[len - 1] == 0xff)
        len--;
    if (len == 0)
        return field_of_bytes(bytes_of(no_end, 1));
    uint8_t *end = arena_alloc_bytes(&ctl->arena, len);
    memcpy(end, prefix.data, len);
    end[len - 1]++;
    return field_of_bytes(bytes_of(end, len));
}

int key_range(struct ctl *ctl, struct strings args, bool prefix, bool from_key,
              ProtobufCBinaryData *ret_key, ProtobufCBinaryData *ret_end)
{
    static const uint8_t zero[1] = {0};
    const ProtobufCBinaryData open = field_of_bytes(bytes_of(zero, 1));
    if (prefix && from_key)
        return ctl_fail(CTL_BAD_ARGS,
                        "`--prefix` and `--from-key` cannot be set at the same time, choose one");
    if (args.count > 1 && (prefix || from_key))
        return ctl_fail(CTL_BAD_ARGS,
                        "too many arguments, only accept one argument when "
                        "`--prefix` or `--from-key` is set");
    *ret_key = field_str(args.items[0]);
    *ret_end = (ProtobufCBinaryData){0, NULL};
    if (args.count > 1)
        *ret_end = field_str(args.items[1]);
    else if (prefix && args.items[0][0])
        *ret_end = key_prefix_end(ctl, bytes_str(args.items[0]));
    else if (prefix || from_key)
        *ret_end = open;
    if ((prefix || from_key) && !args.items[0][0])
        *ret_key = open;
    return CTL_OK;
}

/* ---- the request ------------------------------------------------------------------------ */

static int sort_take(const struct get_options *options, Etcdserverpb__RangeRequest *request)
{
    static const struct {
        const char *name;
        Etcdserverpb__RangeRequest__SortTarget target;
    } targets[] = {
        {"", ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__KEY},
        {"CREATE", ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__CREATE},
        {"KEY", ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__KEY},
        {"MODIFY", ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__MOD},
        {"VALUE", ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VALUE},
        {"VERSION", ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VERSION},
    };
    if (strcasecmp(options->order, "ASCEND") == 0)
        request->sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__ASCEND;
    else if (strcasecmp(options->order, "DESCEND") == 0)
        request->sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND;
    else if (options->order[0])
        return ctl_fail(CTL_BAD_FEATURE, "bad sort order %s", options->order);
    for (unsigned i = 0; i < COUNT(targets); i++)
        if (strcasecmp(options->sort_by, targets[i].name) == 0) {
            request->sort_target = targets[i].target;
            /* Keys ascend by themselves. */
            if (request->sort_target == ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__KEY &&
                request->sort_order == ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__ASCEND)
                request->sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__NONE;
            return CTL_OK;
        }
    return ctl_fail(CTL_BAD_FEATURE, "bad sort target %s", options->sort_by);
}

int get_request(struct ctl *ctl, const struct get_options *options, struct strings args,
                Etcdserverpb__RangeRequest **ret_request)
{
    Etcdserverpb__RangeRequest *request = ARENA_NEW(&ctl->arena, Etcdserverpb__RangeRequest);
    etcdserverpb__range_request__init(request);
    if (args.count == 0)
        return ctl_fail(CTL_BAD_ARGS,
                        "get command needs one argument as key and an optional "
                        "argument as range_end");
    if (options->keys_only && options->count_only)
        return ctl_fail(
            CTL_BAD_ARGS,
            "`--keys-only` and `--count-only` cannot be set at the same time, choose one");
    int code = key_range(ctl, args, options->prefix, options->from_key, &request->key,
                         &request->range_end);
    if (code)
        return code;
    if (strcmp(options->consistency, "s") == 0)
        request->serializable = true;
    else if (strcmp(options->consistency, "l") != 0)
        return ctl_fail(CTL_BAD_FEATURE, "unknown consistency flag \"%s\"", options->consistency);
    code = sort_take(options, request);
    if (code)
        return code;
    request->limit = options->limit;
    request->revision = options->revision > 0 ? options->revision : 0;
    request->keys_only = options->keys_only;
    request->count_only = options->count_only;
    request->min_create_revision = options->create_revision_min;
    request->max_create_revision = options->create_revision_max;
    request->min_mod_revision = options->mod_revision_min;
    request->max_mod_revision = options->mod_revision_max;
    *ret_request = request;
    return CTL_OK;
}

/* ---- the answer in pieces --------------------------------------------------------------- */

/* Puts the pieces together as one answer: keys of all, the rest of the last. */
struct gathering {
    struct arena *arena;
    Etcdserverpb__RangeResponse whole;
    size_t room;
};

static void gather(void *ctx, const ProtobufCMessage *message)
{
    struct gathering *self = ctx;
    const Etcdserverpb__RangeResponse *piece =
        ((const Etcdserverpb__RangeStreamResponse *)message)->range_response;
    Etcdserverpb__RangeResponse *whole = &self->whole;
    if (!piece)
        return;
    if (whole->n_kvs + piece->n_kvs > self->room) {
        self->room = (whole->n_kvs + piece->n_kvs) * 2;
        Mvccpb__KeyValue **kvs = ARENA_ARRAY(self->arena, Mvccpb__KeyValue *, self->room);
        if (whole->n_kvs)
            memcpy(kvs, whole->kvs, whole->n_kvs * sizeof(void *));
        whole->kvs = kvs;
    }
    if (piece->n_kvs)
        memcpy(whole->kvs + whole->n_kvs, piece->kvs, piece->n_kvs * sizeof(void *));
    whole->n_kvs += piece->n_kvs;
    whole->header = piece->header;
    whole->more = piece->more;
    whole->count = piece->count;
}

static int get_stream(struct ctl *ctl, const struct get_options *options,
                      const Etcdserverpb__RangeRequest *range)
{
    struct gathering gathering = {.arena = &ctl->arena,
                                  .whole = ETCDSERVERPB__RANGE_RESPONSE__INIT};
    const struct client_request request = {
        .method = &client_kv_range_stream,
        .message = &range->base,
        .timeout_ms = ctl_timeout_ms(ctl),
        .endpoint = CLIENT_ANY_ENDPOINT,
        .piece = gather,
        .ctx = &gathering,
    };
    const ProtobufCMessage *last = NULL;
    int code = ctl_request(ctl, &request, &last);
    return code ? code : print_range(ctl, &gathering.whole, options->value_only);
}

int command_run_get(struct ctl *ctl, const void *opaque, struct strings args)
{
    const struct get_options *options = opaque;
    Etcdserverpb__RangeRequest *request = NULL;
    const ProtobufCMessage *response = NULL;
    int code = get_request(ctl, options, args, &request);
    if (code)
        return code;
    if (options->count_only && ctl->format != FORMAT_FIELDS)
        return ctl_fail(CTL_BAD_ARGS, "--count-only is only for `--write-out=fields`");
    if (options->value_only && ctl->format != FORMAT_SIMPLE)
        return ctl_fail(CTL_BAD_ARGS, "print-value-only is only for `--write-out=simple`");
    if (options->stream)
        return get_stream(ctl, options, request);
    code = ctl_call(ctl, &client_kv_range, &request->base, &response);
    if (code)
        return code;
    return print_range(ctl, (const Etcdserverpb__RangeResponse *)response, options->value_only);
}
