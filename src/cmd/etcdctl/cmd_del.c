#include "etcdctl/kv.h"

#include "etcdctl/text.h"

#include <time.h>

#define O struct del_options
const struct flag del_flags[] = {
    BOOL_FLAG(O, prefix, "prefix", "all keys that begin with the key"),
    BOOL_FLAG(O, prev_kv, "prev-kv", "answer with what was deleted"),
    BOOL_FLAG(O, from_key, "from-key", "all keys from the key on"),
    BOOL_FLAG(O, range, "range", "a range is meant: do not wait before it is deleted"),
    {0},
};
#undef O

#define PAUSE_S 2

/* A second key is often a slip: time to press Ctrl-C. */
static void warn_and_wait(struct strings args)
{
    struct timespec pause = {.tv_sec = PAUSE_S};
    (void)fputs("Warning: Keys between ", stderr);
    text_quote(stderr, bytes_str(args.items[0]));
    (void)fputs(" and ", stderr);
    text_quote(stderr, bytes_str(args.items[1]));
    (void)fprintf(stderr,
                  " will be deleted. Please interrupt the command within next %d seconds to "
                  "cancel. You can provide `--range` flag to avoid the delay.\n",
                  PAUSE_S);
    while (nanosleep(&pause, &pause) != 0) {
    }
}

int del_request(struct ctl *ctl, const struct del_options *options, struct strings args,
                Etcdserverpb__DeleteRangeRequest **ret_request)
{
    Etcdserverpb__DeleteRangeRequest *request =
        ARENA_NEW(&ctl->arena, Etcdserverpb__DeleteRangeRequest);
    etcdserverpb__delete_range_request__init(request);
    if (args.count == 0 || args.count > 2)
        return ctl_fail(CTL_BAD_ARGS,
                        "del command needs one argument as key and an optional "
                        "argument as range_end");
    int code = key_range(ctl, args, options->prefix, options->from_key, &request->key,
                         &request->range_end);
    if (code)
        return code;
    if (args.count == 2 && !options->range)
        warn_and_wait(args);
    request->prev_kv = options->prev_kv;
    *ret_request = request;
    return CTL_OK;
}

int command_run_del(struct ctl *ctl, const void *opaque, struct strings args)
{
    const struct del_options *options = opaque;
    Etcdserverpb__DeleteRangeRequest *request = NULL;
    const ProtobufCMessage *response = NULL;
    int code = del_request(ctl, options, args, &request);
    if (code)
        return code;
    code = ctl_call(ctl, &client_kv_delete_range, &request->base, &response);
    return code ? code : print_delete(ctl, (const Etcdserverpb__DeleteRangeResponse *)response);
}
