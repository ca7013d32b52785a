/* put, get and del: their flags and how arguments become requests, for the commands themselves
 * and for the lines of a txn.
 * The builders return an exit code; they have said their error. Requests live in the arena. */
#pragma once

#include "etcdctl/command.h"
#include "etcdctl/print.h"

struct get_options {
    const char *consistency, *order, *sort_by;
    int64_t limit, revision;
    int64_t create_revision_min, create_revision_max, mod_revision_min, mod_revision_max;
    bool prefix, from_key, keys_only, count_only, value_only, stream;
};
struct put_options {
    const char *lease;
    bool prev_kv, ignore_value, ignore_lease;
};
struct del_options {
    bool prefix, prev_kv, from_key, range;
};

extern const struct flag get_flags[], put_flags[], del_flags[];

int get_request(struct ctl *ctl, const struct get_options *options, struct strings args,
                Etcdserverpb__RangeRequest **ret_request);
/* input: where a value comes from that is no argument; NULL: nowhere. */
int put_request(struct ctl *ctl, const struct put_options *options, struct strings args,
                FILE *input, Etcdserverpb__PutRequest **ret_request);
/* Of two keys without --range it warns first, and waits. */
int del_request(struct ctl *ctl, const struct del_options *options, struct strings args,
                Etcdserverpb__DeleteRangeRequest **ret_request);

int command_run_get(struct ctl *ctl, const void *options, struct strings args);
int command_run_put(struct ctl *ctl, const void *options, struct strings args);
int command_run_del(struct ctl *ctl, const void *options, struct strings args);

/* The first key behind all that begin with prefix; "\0": there is none. */
ProtobufCBinaryData key_prefix_end(struct ctl *ctl, struct bytes prefix);
/* Key and range end of --prefix and --from-key, or of a second argument. Returns an exit code. */
int key_range(struct ctl *ctl, struct strings args, bool prefix, bool from_key,
              ProtobufCBinaryData *ret_key, ProtobufCBinaryData *ret_end);
