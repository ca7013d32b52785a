#include "etcdutl/etcdutl.h"

#include "offline/rewrite.h"
#include "state/members.h"

static const struct cluster_version oldest = {3, 5};
static const struct cluster_version newest = {3, 7};
static const struct cluster_version first_stored = {3, 6};

#define O struct migrate_options
const struct flag migrate_flags[] = {
    STRING_FLAG(O, data_dir, "data-dir", "", "the member's data directory (required)"),
    STRING_FLAG(O, target, "target-version", "", "X.Y: what is to read the data (required)"),
    BOOL_FLAG(O, force, "force",
              "towards an older version: the log is not looked at, and may hold "
              "entries that it cannot read"),
    {0},
};
#undef O

static int target_of(struct ctl *ctl, const char *text, struct cluster_version *ret_version)
{
    if (!err_ok(cluster_version_parse(bytes_str(text), ret_version)))
        return ctl_fail(CTL_ERROR, "wrong target version format, expected \"X.Y\", got \"%s\"",
                        text);
    if (cluster_version_compare(*ret_version, oldest) < 0)
        return ctl_fail(CTL_ERROR, "target version \"%s\" not supported. Minimal \"3.5\"", text);
    if (cluster_version_compare(*ret_version, newest) > 0)
        return ctl_fail(CTL_ERROR, "target version \"%s\" not supported. Maximal \"3.7\"", text);
    return CTL_OK;
}

int etcdutl_run_migrate(struct ctl *ctl, const void *opaque, struct strings args)
{
    const struct migrate_options *options = opaque;
    struct cluster_version target;
    enum data_dir_kind kind;
    char text[CLUSTER_VERSION_TEXT_MAX];
    const char *why = NULL;
    if (!*options->data_dir || !*options->target)
        return ctl_fail(CTL_ERROR, "required flag(s) \"%s\" not set",
                        *options->data_dir ? "target-version" : "data-dir");
    int code = target_of(ctl, options->target, &target);
    if (code)
        return code;
    if (data_dir_kind(options->data_dir, &ctl->arena, &kind, &why).code)
        return ctl_fail(CTL_ERROR, "%s", why);
    if (kind == DATA_DIR_OURS)
        return ctl_fail(CTL_ERROR,
                        "%s is this server's own: its storage version follows the cluster's. "
                        "`etcdutl export --remove-store` makes it etcd's, which can be migrated",
                        options->data_dir);
    if (cluster_version_compare(target, newest) < 0 && !options->force)
        return ctl_fail(CTL_ERROR,
                        "the log may hold entries that %s cannot read, and is not looked at: "
                        "--force passes over that",
                        options->target);
    bool stored = cluster_version_compare(target, first_stored) >= 0;
    return etcdutl_rewrite(ctl, options->data_dir,
                           stored ? cluster_version_text(target, text) : "");
}
