#include "etcdctl/watch_args.h"

#include "etcdctl/kv.h"
#include "etcdctl/text.h"

#include <stdlib.h>

#define O struct watch_options
const struct flag watch_flags[] = {
    {"interactive", 'i', FLAG_BOOL, "false", offsetof(O, interactive),
     "read \"watch ...\" and \"progress\" from stdin, a line each"},
    BOOL_FLAG(O, prefix, "prefix", "all keys that begin with the key"),
    INT_FLAG(O, revision, "rev", "0", "from that revision on; 0: from now on"),
    BOOL_FLAG(O, prev_kv, "prev-kv", "with what the key held before"),
    BOOL_FLAG(O, progress_notify, "progress-notify",
              "let the server say now and then how far it has told everything"),
    {0},
};
#undef O

static const char *variable(const char *name)
{
    const char *value = getenv(name);
    return value ? value : "";
}

static const char *quoted(struct ctl *ctl, const char *text)
{
    char *memory = NULL;
    size_t len = 0;
    FILE *stream = open_memstream(&memory, &len);
    if (!stream)
        return text;
    text_quote(stream, bytes_str(text));
    const char *copy = text;
    if (fclose(stream) == 0)
        copy = arena_copy_str(&ctl->arena, bytes_of(memory, len));
    free(memory);
    return copy;
}

const char *watch_args_environment_key(struct ctl *ctl, const char **ret_why)
{
    const char *key = variable("ETCDCTL_WATCH_KEY"), *end = variable("ETCDCTL_WATCH_RANGE_END");
    *ret_why = NULL;
    if (!key[0] && end[0])
        *ret_why = arena_printf(&ctl->arena,
                                "ETCDCTL_WATCH_KEY is empty but got ETCDCTL_WATCH_RANGE_END=%s",
                                quoted(ctl, end));
    return key;
}

/* The words of the key, from the environment or the arguments. */
static const char *key_words(struct ctl *ctl, struct strings args, unsigned dash,
                             struct strings *ret_words)
{
    const char *why, *key = watch_args_environment_key(ctl, &why);
    const char *end = variable("ETCDCTL_WATCH_RANGE_END");
    unsigned before = dash == DASH_NONE ? args.count : dash;
    if (why)
        return why;
    if (dash != DASH_NONE && dash == args.count)
        return "bad number of arguments (found separator --, but no commands)";
    if (key[0] && before > 0)
        return "bad number of arguments (found conflicting environment key)";
    if (!key[0] && before == 0)
        return "bad number of arguments";
    if (!key[0]) {
        *ret_words = (struct strings){args.items, before};
        return NULL;
    }
    const char **words = ARENA_ARRAY(&ctl->arena, const char *, 3);
    words[0] = key;
    words[1] = end[0] ? end : NULL;
    *ret_words = (struct strings){words, end[0] ? 2 : 1};
    return NULL;
}

const char *watch_args_take(struct ctl *ctl, const struct watch_options *options,
                            struct strings args, unsigned dash, struct watch_args *ret_args)
{
    struct strings words;
    const char *why = key_words(ctl, args, dash, &words);
    if (why)
        return why;
    *ret_args = (struct watch_args){.options = *options};
    if (words.count == 2 && options->prefix) {
        ret_args->fault = "`range_end` and `--prefix` are mutually exclusive";
        return NULL;
    }
    if (words.count != 2)
        words.count = 1;
    if (dash != DASH_NONE)
        ret_args->command = (struct strings){args.items + dash, args.count - dash};
    (void)key_range(ctl, words, options->prefix, false, &ret_args->key, &ret_args->range_end);
    return NULL;
}

const char *watch_args_parse(struct ctl *ctl, struct strings words, struct watch_args *ret_args)
{
    struct watch_options options;
    struct flag_set set;
    struct strings args;
    unsigned dash;
    bool help = false;
    const char *why = NULL;
    flag_set_init(&set, watch_flags, &options, &ctl->arena);
    if (!err_ok(flags_parse(&set, 1, words, &ctl->arena, &args, &dash, &help, &why)))
        return why;
    if (help)
        return "pflag: help requested";
    return watch_args_take(ctl, &options, args, dash, ret_args);
}
