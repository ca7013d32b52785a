#include "etcdutl/etcdutl.h"

#include "offline/export.h"

#define O struct data_dir_options
const struct flag export_flags[] = {
    STRING_FLAG(O, data_dir, "data-dir", "", "the member's data directory (required)"),
    STRING_FLAG(O, wal_dir, "wal-dir", "", "its write-ahead log, if apart"),
    BOOL_FLAG(O, remove_store, "remove-store", "remove this server's own store afterwards"),
    {0},
};
#undef O

int etcdutl_run_export(struct ctl *ctl, const void *opaque, struct strings args)
{
    const struct data_dir_options *options = opaque;
    const char *why = NULL;
    if (!*options->data_dir)
        return ctl_fail(CTL_ERROR, "required flag(s) \"data-dir\" not set");
    const struct export_options export = {.data_dir = options->data_dir,
                                          .wal_dir = options->wal_dir,
                                          .remove_store = options->remove_store};
    err e = export_run(&export, &ctl->arena, &why);
    if (e.code)
        return ctl_fail(CTL_ERROR, "%s", why);
    (void)printf("Wrote %s/member/snap/db\n", options->data_dir);
    return CTL_OK;
}
