#include "etcdutl/etcdutl.h"

#include "etcdctl/table.h"
#include "offline/snapshot_file.h"

#include <inttypes.h>

const struct flag hashkv_flags[] = {
    INT_FLAG(struct hashkv_options, revision, "rev", "0", "up to this revision; 0: the last one"),
    {0},
};

static void print_table(struct ctl *ctl, const struct snapshot_hashkv *hash)
{
    static const char *const headers[] = {"HASH", "HASH REVISION", "COMPACT REVISION"};
    const struct table_row row = {{arena_printf(&ctl->arena, "%" PRIu32, hash->hash),
                                   arena_printf(&ctl->arena, "%" PRId64, hash->revision),
                                   arena_printf(&ctl->arena, "%" PRId64, hash->compact_revision)}};
    const struct table table = {headers, COUNT(headers), &row, 1};
    table_print(stdout, &table);
}

static int print_hash(struct ctl *ctl, const struct snapshot_hashkv *hash)
{
    switch (ctl->format) {
    case FORMAT_SIMPLE:
        (void)printf("%" PRIu32 ", %" PRId64 ", %" PRId64 "\n", hash->hash, hash->revision,
                     hash->compact_revision);
        return CTL_OK;
    case FORMAT_TABLE:
        print_table(ctl, hash);
        return CTL_OK;
    case FORMAT_JSON:
        (void)printf("{\"hash\":%" PRIu32 ",\"hashRevision\":%" PRId64
                     ",\"compactRevision\":%" PRId64 "}\n",
                     hash->hash, hash->revision, hash->compact_revision);
        return CTL_OK;
    case FORMAT_FIELDS:
        (void)printf("\"Hash\" : %" PRIu32 "\n\"Hash revision\" : %" PRId64
                     "\n\"Compact revision\" : %" PRId64 "\n",
                     hash->hash, hash->revision, hash->compact_revision);
        return CTL_OK;
    case FORMAT_PROTOBUF:
        break;
    }
    return ctl_format_unsupported(ctl);
}

int etcdutl_run_hashkv(struct ctl *ctl, const void *opaque, struct strings args)
{
    const struct hashkv_options *options = opaque;
    struct snapshot_file file;
    struct snapshot_hashkv hash;
    const char *why = NULL;
    int code = ctl_format_take(ctl);
    if (code)
        return code;
    if (args.count != 1)
        return ctl_fail(CTL_BAD_ARGS, "hashkv requires exactly one argument");
    err e = snapshot_file_open(&file, args.items[0], &ctl->arena, &why);
    if (e.code)
        return ctl_fail(CTL_ERROR, "%s", why);
    e = snapshot_file_hashkv(&file, options->revision, &hash, &why);
    code = e.code ? ctl_fail(CTL_ERROR, "%s", why) : print_hash(ctl, &hash);
    snapshot_file_close(&file);
    return code;
}
