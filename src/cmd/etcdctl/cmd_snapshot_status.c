#include "etcdctl/snapshot.h"

#include "base/size.h"
#include "etcdctl/table.h"
#include "offline/snapshot_file.h"

#include <inttypes.h>

static void print_simple(const struct snapshot_status *status, const char *size,
                         const char *version)
{
    (void)printf("%x, %" PRId64 ", %" PRIu64 ", %s, %s\n", status->hash, status->revision,
                 status->keys, size, version);
}

static void print_table(struct ctl *ctl, const struct snapshot_status *status, const char *size,
                        const char *version)
{
    static const char *const headers[] = {"HASH", "REVISION", "TOTAL KEYS", "TOTAL SIZE",
                                          "VERSION"};
    const struct table_row row = {{arena_printf(&ctl->arena, "%x", status->hash),
                                   arena_printf(&ctl->arena, "%" PRId64, status->revision),
                                   arena_printf(&ctl->arena, "%" PRIu64, status->keys), size,
                                   version}};
    const struct table table = {headers, COUNT(headers), &row, 1};
    table_print(stdout, &table);
}

static int print_status(struct ctl *ctl, const struct snapshot_status *status)
{
    char size[SIZE_TEXT_MAX];
    const char *version = arena_copy_str(&ctl->arena, status->version);
    size_text(status->bytes, size);
    switch (ctl->format) {
    case FORMAT_SIMPLE:
        print_simple(status, size, version);
        return CTL_OK;
    case FORMAT_TABLE:
        print_table(ctl, status, size, version);
        return CTL_OK;
    case FORMAT_JSON:
        (void)printf("{\"hash\":%" PRIu32 ",\"revision\":%" PRId64 ",\"totalKey\":%" PRIu64
                     ",\"totalSize\":%" PRIu64 ",\"version\":\"%s\"}\n",
                     status->hash, status->revision, status->keys, status->bytes, version);
        return CTL_OK;
    case FORMAT_FIELDS:
        (void)printf("\"Hash\" : %" PRIu32 "\n\"Revision\" : %" PRId64 "\n\"Keys\" : %" PRIu64
                     "\n\"Size\" : %" PRIu64 "\n\"Version\" : %s\n",
                     status->hash, status->revision, status->keys, status->bytes, version);
        return CTL_OK;
    case FORMAT_PROTOBUF:
        break;
    }
    return ctl_format_unsupported(ctl);
}

int command_run_snapshot_status(struct ctl *ctl, const void *options, struct strings args)
{
    struct snapshot_file file;
    struct snapshot_status status;
    const char *why = NULL;
    int code = ctl_format_take(ctl);
    if (code)
        return code;
    if (args.count != 1)
        return ctl_fail(CTL_BAD_ARGS, "snapshot status requires exactly one argument");
    err e = snapshot_file_open(&file, args.items[0], &ctl->arena, &why);
    if (e.code)
        return ctl_fail(CTL_ERROR, "%s", why);
    e = snapshot_file_status(&file, &status, &why);
    code = e.code ? ctl_fail(CTL_ERROR, "%s", why) : print_status(ctl, &status);
    snapshot_file_close(&file);
    return code;
}
