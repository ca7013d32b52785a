/* restore: puts a member back from a backup with what is known of it on its host, so that the same
 * line serves on every host of a cluster.
 *
 *     a setting is that of its flag, else of its ETCD_ variable, else of the service's settings
 * file
 *
 * Where the service would use another data directory, or the cluster has no member of this name,
 * nothing is restored. */
#include "etcdctl/snapshot.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define SETTINGS_FILE      "/etc/etcd/etcd.conf"
#define SETTINGS_BYTES_MAX ((size_t)1 << 20)
#define SERVICE_USER       "etcd"
#define OPEN_DIRS_MAX      16

#define O struct restore_command_options
const struct flag restore_flags[] = {
    STRING_FLAG(O, backup_dir, "backup-dir", "",
                "the backup: a snapshot, or a folder that has one"),
    STRING_FLAG(O, data_dir, "data-dir", "", "where to make the data directory"),
    STRING_FLAG(O, wal_dir, "wal-dir", "", "where to make the write-ahead log, if apart"),
    STRING_FLAG(O, name, "name", "", "this member's name"),
    STRING_FLAG(O, initial_cluster, "initial-cluster", "", "members of the cluster: NAME=URL,..."),
    STRING_FLAG(O, token, "initial-cluster-token", "",
                "what tells this cluster from others of the same members"),
    STRING_FLAG(O, advertise_peer_urls, "initial-advertise-peer-urls", "",
                "this member's peer URLs, a comma list"),
    STRING_FLAG(O, settings, "config", SETTINGS_FILE, "settings file of the service"),
    BOOL_FLAG(O, skip_hash_check, "skip-hash-check",
              "pass over the file's sha256 (for a db that was copied from a data directory)"),
    {0},
};
#undef O

/* ── Settings ───────────────────────────────────────────────────────────────────────────────── */

/* The file's bytes, NUL-terminated; "" where there is none. NULL: it cannot be read. */
static char *read_settings(const char *path, struct arena *arena)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return errno == ENOENT ? arena_copy_str(arena, BYTES_NONE) : NULL;
    char *text = arena_alloc(arena, SETTINGS_BYTES_MAX + 1);
    size_t n = fread(text, 1, SETTINGS_BYTES_MAX, file);
    bool whole = !ferror(file) && feof(file);
    (void)fclose(file);
    text[n] = '\0';
    return whole ? text : NULL;
}

/* A value as systemd reads it: quotes taken off, blanks at its ends too. */
static const char *value_of(const char *from, size_t len, struct arena *arena)
{
    while (len && (from[len - 1] == ' ' || from[len - 1] == '\t' || from[len - 1] == '\r'))
        len--;
    char *value = arena_alloc(arena, len + 1);
    size_t n = 0;
    char quote = '\0';
    for (size_t i = 0; i < len; i++) {
        if (quote ? from[i] == quote : (from[i] == '"' || from[i] == '\''))
            quote = quote ? '\0' : from[i];
        else if (quote || n || (from[i] != ' ' && from[i] != '\t'))
            value[n++] = from[i];
    }
    value[n] = '\0';
    return value;
}

static const char *find_setting(const char *settings, const char *name, struct arena *arena)
{
    size_t name_len = strlen(name);
    const char *found = "";
    for (const char *line = settings; *line;) {
        size_t len = strcspn(line, "\n");
        const char *at = line + strspn(line, " \t");
        if (strncmp(at, name, name_len) == 0 && at[name_len] == '=')
            found = value_of(at + name_len + 1, len - (size_t)(at - line) - name_len - 1, arena);
        line += len + (line[len] != '\0');
    }
    return found; /* the last one counts */
}

static const char *setting(const char *flag, const char *name, const char *settings,
                           struct arena *arena)
{
    if (flag[0])
        return flag;
    const char *variable = getenv(name);
    return variable && variable[0] ? variable : find_setting(settings, name, arena);
}

/* ── The backup ─────────────────────────────────────────────────────────────────────────────── */

/* The newest file of a folder, by when it was last written; NULL: there is none. */
static const char *newest_file(const char *folder, struct arena *arena)
{
    DIR *dir = opendir(folder);
    if (!dir)
        return NULL;
    const char *newest = NULL;
    struct timespec when = {0, 0};
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        struct stat info;
        if (entry->d_name[0] == '.' || fstatat(dirfd(dir), entry->d_name, &info, 0) != 0 ||
            !S_ISREG(info.st_mode))
            continue;
        bool newer = info.st_mtim.tv_sec > when.tv_sec ||
                     (info.st_mtim.tv_sec == when.tv_sec && info.st_mtim.tv_nsec > when.tv_nsec);
        if (!newest || newer) {
            newest = arena_printf(arena, "%s/%s", folder, entry->d_name);
            when = info.st_mtim;
        }
    }
    (void)closedir(dir);
    return newest;
}

static int find_backup(const char *path, struct arena *arena, const char **ret_snapshot)
{
    struct stat info;
    if (!path[0])
        return ctl_fail(CTL_BAD_ARGS, "restore requires --backup-dir");
    if (stat(path, &info) != 0)
        return ctl_fail(CTL_ERROR, "cannot open backup %s: %s", path, strerror(errno));
    *ret_snapshot = S_ISDIR(info.st_mode) ? newest_file(path, arena) : path;
    return *ret_snapshot ? CTL_OK : ctl_fail(CTL_ERROR, "there is no snapshot in %s", path);
}

/* ── Owner ──────────────────────────────────────────────────────────────────────────────────── */

struct owner {
    uid_t uid;
    gid_t gid;
};
static struct owner new_owner; /* nftw has no place for a context */

static int take_over(const char *path, const struct stat *info, int type, struct FTW *where)
{
    (void)info;
    (void)type;
    (void)where;
    return lchown(path, new_owner.uid, new_owner.gid);
}

/* Of /etc/passwd alone: what a static program can look into. */
static bool find_user(const char *name, struct owner *ret_owner)
{
    FILE *file = fopen("/etc/passwd", "re");
    bool found = false;
    for (struct passwd *user = file ? fgetpwent(file) : NULL; user; user = fgetpwent(file)) {
        if (strcmp(user->pw_name, name) != 0)
            continue;
        *ret_owner = (struct owner){user->pw_uid, user->pw_gid};
        found = true;
        break;
    }
    if (file)
        (void)fclose(file);
    return found;
}

/* Who owned the directory before, if not root, else the service's user. False: nobody but who
 * runs this. */
static bool owner_of(const char *dir, struct owner *ret_owner)
{
    struct stat info;
    if (geteuid() != 0)
        return false;
    if (stat(dir, &info) == 0 && info.st_uid != 0) {
        *ret_owner = (struct owner){info.st_uid, info.st_gid};
        return true;
    }
    return find_user(SERVICE_USER, ret_owner);
}

static int give(const char *dir, const struct owner *owner)
{
    new_owner = *owner;
    if (dir[0] && nftw(dir, take_over, OPEN_DIRS_MAX, FTW_PHYS) != 0)
        return ctl_fail(CTL_ERROR, "restored, but %s cannot be given to its user: %s", dir,
                        strerror(errno));
    return CTL_OK;
}

/* ── The command ────────────────────────────────────────────────────────────────────────────── */

/* As paths are compared by people: without slashes at the end. */
static bool same_path(const char *a, const char *b)
{
    size_t a_len = strlen(a), b_len = strlen(b);
    while (a_len > 1 && a[a_len - 1] == '/')
        a_len--;
    while (b_len > 1 && b[b_len - 1] == '/')
        b_len--;
    return a_len == b_len && memcmp(a, b, a_len) == 0;
}

static int resolve(const struct restore_command_options *options, struct arena *arena,
                   struct restore_options *restore)
{
    const char *settings = read_settings(options->settings, arena);
    if (!settings)
        return ctl_fail(CTL_ERROR, "cannot read %s", options->settings);
    restore->name = setting(options->name, "ETCD_NAME", settings, arena);
    restore->initial_cluster =
        setting(options->initial_cluster, "ETCD_INITIAL_CLUSTER", settings, arena);
    restore->initial_cluster_token =
        setting(options->token, "ETCD_INITIAL_CLUSTER_TOKEN", settings, arena);
    restore->advertise_peer_urls =
        setting(options->advertise_peer_urls, "ETCD_INITIAL_ADVERTISE_PEER_URLS", settings, arena);
    restore->wal_dir = setting(options->wal_dir, "ETCD_WAL_DIR", settings, arena);
    const char *used = setting("", "ETCD_DATA_DIR", settings, arena);
    restore->data_dir = options->data_dir[0] ? options->data_dir : used;
    restore->skip_hash_check = options->skip_hash_check;
    if (!restore->data_dir[0])
        return ctl_fail(CTL_BAD_ARGS, "restore requires --data-dir");
    if (used[0] && !same_path(used, restore->data_dir))
        return ctl_fail(CTL_ERROR,
                        "--data-dir is %s, but the service uses %s (ETCD_DATA_DIR); name that one, "
                        "or change the setting first",
                        restore->data_dir, used);
    if (!restore->initial_cluster[0])
        return ctl_fail(CTL_ERROR,
                        "the cluster's members are not known: give --initial-cluster, or "
                        "ETCD_INITIAL_CLUSTER in the environment or in %s",
                        options->settings);
    if (!restore->name[0])
        restore->name = "default";
    if (!restore->initial_cluster_token[0])
        restore->initial_cluster_token = "etcd-cluster";
    if (!restore->advertise_peer_urls[0])
        restore->advertise_peer_urls = "http://localhost:2380";
    return CTL_OK;
}

int command_run_restore(struct ctl *ctl, const void *opaque, struct strings args)
{
    const struct restore_command_options *options = opaque;
    struct restore_options restore = {.snapshot = "", .data_dir = "", .wal_dir = ""};
    const char *why = NULL;
    struct owner owner;
    if (args.count)
        return ctl_fail(CTL_BAD_ARGS, "restore takes no arguments");
    int code = resolve(options, &ctl->arena, &restore);
    if (code == CTL_OK)
        code = find_backup(options->backup_dir, &ctl->arena, &restore.snapshot);
    if (code)
        return code;
    bool to_give = owner_of(restore.data_dir, &owner);
    err e = restore_run(&restore, &ctl->arena, &why);
    if (e.code)
        return ctl_fail(CTL_ERROR, "%s", why);
    if (to_give) {
        code = give(restore.data_dir, &owner);
        if (code == CTL_OK)
            code = give(restore.wal_dir, &owner);
        if (code)
            return code;
    }
    (void)printf("Restored %s from %s into %s\n", restore.name, restore.snapshot, restore.data_dir);
    return CTL_OK;
}
