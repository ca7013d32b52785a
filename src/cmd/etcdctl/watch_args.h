/* What a watch command asks for, from the command line, a line of the interactive mode, and the
 * environment:
 *
 *     watch KEY [END] [--flags] [-- COMMAND ARG…]      ETCDCTL_WATCH_KEY, ETCDCTL_WATCH_RANGE_END
 *
 * Arguments behind the second are ignored.
 * Thread: one at a time.  Owns: nothing; results live in ctl's arena. */
#pragma once

#include "etcdctl/concurrency.h"
#include "etcdctl/print.h"

struct watch_args {
    struct watch_options options;
    ProtobufCBinaryData key, range_end;
    struct strings command; /* run for each event; none: count 0 */
    const char *fault;      /* a range that is none: the interactive mode goes on; NULL */
};

/* NULL, or what is wrong. args: without "watch"; dash: how many of them stood before "--", or
 * DASH_NONE. */
const char *watch_args_take(struct ctl *ctl, const struct watch_options *options,
                            struct strings args, unsigned dash, struct watch_args *ret_args);
/* A line's words behind "watch". */
const char *watch_args_parse(struct ctl *ctl, struct strings words, struct watch_args *ret_args);
/* ETCDCTL_WATCH_KEY or ""; what is wrong with the two is in *ret_why, else NULL. */
const char *watch_args_environment_key(struct ctl *ctl, const char **ret_why);
