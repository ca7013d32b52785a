#include "etcdutl/etcdutl.h"

#include "base/size.h"
#include "offline/rewrite.h"

#define NS_PER_MS 1000000

const struct flag defrag_flags[] = {
    STRING_FLAG(struct data_dir_options, data_dir, "data-dir", "",
                "the member's data directory (required)"),
    {0},
};

int etcdutl_rewrite(struct ctl *ctl, const char *data_dir, const char *storage_version)
{
    char before_text[SIZE_TEXT_MAX], after_text[SIZE_TEXT_MAX];
    uint64_t before, after;
    const char *why = NULL;
    const struct rewrite_options options = {
        .data_dir = data_dir,
        .lock_timeout_ms = (uint64_t)(ctl->options.command_timeout_ns / NS_PER_MS),
        .storage_version = storage_version};
    err e = rewrite_run(&options, &ctl->arena, &before, &after, &why);
    if (e.code)
        return ctl_fail(err_is(e, ERR_LOCKED) ? ETCDUTL_LOCKED : CTL_ERROR, "%s", why);
    size_text(before, before_text);
    size_text(after, after_text);
    (void)fprintf(stderr, "%s/member/snap/db: %s before, %s now\n", data_dir, before_text,
                  after_text);
    return CTL_OK;
}

int etcdutl_run_defrag(struct ctl *ctl, const void *opaque, struct strings args)
{
    const struct data_dir_options *options = opaque;
    enum data_dir_kind kind;
    const char *why = NULL;
    if (!*options->data_dir)
        return ctl_fail(CTL_ERROR, "required flag(s) \"data-dir\" not set");
    if (data_dir_kind(options->data_dir, &ctl->arena, &kind, &why).code)
        return ctl_fail(CTL_ERROR, "%s", why);
    if (kind == DATA_DIR_OF_ETCD)
        return etcdutl_rewrite(ctl, options->data_dir, NULL);
    (void)fprintf(
        stderr,
        "%s: nothing to do. This server's store has no free pages: it cleans itself while "
        "it runs, and at once when asked by `etcdctl defrag`.\n",
        options->data_dir);
    return CTL_OK;
}
