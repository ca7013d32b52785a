#include "offline/restore.h"

#include "base/check.h"
#include "base/seed.h"
#include "offline/export.h"
#include "offline/files.h"
#include "offline/snapshot_file.h"
#include "server/founding.h"
#include "stage/log.h"
#include "stage/store_build.h"
#include "state/ids.h"
#include "wal/raft_codec.h"

#define CONF_STATE_BYTES_MAX 4096
#define TERM                 1

struct restoring {
    const struct restore_options *options;
    struct arena *arena;
    const char **ret_reason;
    struct config config; /* what the checks of a new cluster look at */
    struct founding founding;
    const char *data, *unfinished; /* DATA, DATA/member.restoring */
    const char *wal;               /* where the log is made */
    struct snapshot_file file;
    struct buf conf_state; /* raftpb.ConfState */
};

static err refuse(struct restoring *self, err e, const char *what)
{
    *self->ret_reason = arena_printf(self->arena, "%s: %s", what, err_text(e));
    return e;
}

/* ── Checks ─────────────────────────────────────────────────────────────────────────────────── */

static err check_members(struct restoring *self)
{
    const struct restore_options *options = self->options;
    self->config.name = options->name;
    self->config.initial_cluster = options->initial_cluster;
    self->config.initial_cluster_token = options->initial_cluster_token;
    err e = url_list_parse(self->arena, bytes_str(options->advertise_peer_urls),
                           &self->config.advertise_peer_urls, self->ret_reason);
    if (err_ok(e))
        e = founding_of(&self->config, self->arena, &self->founding, self->ret_reason);
    return e;
}

/* A directory that is not there, or is empty but for what `passed` names. */
static err check_empty(struct restoring *self, const char *path, const char *what,
                       const char *passed)
{
    int dir;
    struct io_names names AUTO(io_names_done) = {0};
    err e = io_open(&io_fs_real, IO_CWD, path, IO_READ | IO_DIRECTORY, 0, &dir);
    if (err_is(e, ERR_NOT_FOUND))
        return OK;
    if (err_ok(e)) {
        e = io_list(&io_fs_real, dir, &names);
        io_close(&io_fs_real, dir);
    }
    bool empty = names.count == 0 || (names.count == 1 && strcmp(names.names[0].text, passed) == 0);
    if (err_ok(e) && empty)
        return OK;
    *self->ret_reason =
        arena_printf(self->arena, "%s \"%s\" not empty or could not be read", what, path);
    return e.code ? e : ERR_EXISTS;
}

static err check_snapshot(struct restoring *self)
{
    TRY(snapshot_file_open(&self->file, self->options->snapshot, self->arena, self->ret_reason));
    if (self->options->skip_hash_check)
        return OK;
    return snapshot_file_verify(&self->file, self->arena, self->ret_reason);
}

/* ── Directories ────────────────────────────────────────────────────────────────────────────── */

/* With all parents. */
static err make_dirs(struct restoring *self, const char *path)
{
    char *copy = arena_copy_str(self->arena, bytes_str(path));
    for (char *slash = strchr(copy + 1, '/');; slash = strchr(slash + 1, '/')) {
        if (slash)
            *slash = 0;
        err e = io_mkdir(&io_fs_real, IO_CWD, copy, 0700);
        if (e.code && !err_is(e, ERR_EXISTS))
            return refuse(self, e, arena_printf(self->arena, "mkdir %s", copy));
        if (!slash)
            return OK;
        *slash = '/';
    }
}

static err prepare_dirs(struct restoring *self)
{
    TRY(make_dirs(self, self->data));
    err e = offline_remove_tree(IO_CWD, self->unfinished, 3);
    if (e.code)
        return refuse(self, e, arena_printf(self->arena, "cannot remove %s", self->unfinished));
    TRY(make_dirs(self, arena_printf(self->arena, "%s/store", self->unfinished)));
    if (*self->options->wal_dir) {
        /* Its parent; the directory itself comes whole. */
        char *parent = arena_copy_str(self->arena, bytes_str(self->wal));
        char *slash = strrchr(parent, '/');
        if (slash && slash != parent) {
            *slash = 0;
            TRY(make_dirs(self, parent));
        }
    }
    return OK;
}

/* ── Store and log ──────────────────────────────────────────────────────────────────────────── */

static err put_members(struct restoring *self, struct mvcc_store *store)
{
    const struct membership *members = self->founding.members;
    for (size_t i = 0; i < members->count; i++) {
        char id[ID_TEXT_MAX];
        AUTO(buf_done) struct buf json = {0};
        TRY(member_put_json(&members->members[i], &json));
        TRY(mvcc_store_import_bucket(store, MVCC_BUCKET_MEMBERS,
                                     bytes_str(id_text(members->members[i].id, id)),
                                     buf_bytes(&json)));
    }
    return OK;
}

/* As etcd does it: one change without a key far ahead, and all before it compacted. */
static err bump_revision(struct restoring *self, struct mvcc_store *store)
{
    uint8_t revision[17] = {0};
    uint64_t latest = (uint64_t)mvcc_store_revision(store);
    if (self->options->bump_revision > (uint64_t)INT64_MAX - latest) {
        *self->ret_reason = "--bump-revision is too large";
        return ERR_LIMIT;
    }
    const struct mvcc_import change = {.main = (int64_t)(latest + self->options->bump_revision)};
    bytes_put_be64(revision, (uint64_t)change.main);
    revision[8] = '_';
    TRY(mvcc_store_import(store, &change));
    return mvcc_store_import_bucket(store, MVCC_BUCKET_META, BYTES_LIT("scheduledCompactRev"),
                                    bytes_of(revision, sizeof(revision)));
}

static err fill_store(struct restoring *self, struct stage_build *build)
{
    struct bolt_fault fault = {0};
    err e = stage_build_load(build, &self->file.bolt, true, &fault);
    if (e.code) {
        *self->ret_reason =
            arena_printf(self->arena, "%s holds what is no store of etcd: %s",
                         self->options->snapshot, fault.what ? fault.what : err_text(e));
        return e;
    }
    struct mvcc_store *store = stage_build_store(build);
    e = put_members(self, store);
    if (err_ok(e) && self->options->bump_revision)
        e = bump_revision(self, store);
    if (err_ok(e))
        e = stage_build_end(build, TERM, buf_bytes(&self->conf_state));
    return e.code && !*self->ret_reason ? refuse(self, e, "cannot write the store") : e;
}

static err make_store(struct restoring *self)
{
    struct stage_build *build;
    const struct stage_build_config config = {
        .fs = &io_fs_real,
        .parent = arena_printf(self->arena, "%s/store", self->unfinished),
        .index = self->founding.members->count,
        .owner = {.cluster_id = self->founding.cluster_id, .member_id = self->founding.member_id},
        .seed = seed_new(),
        .fatal = offline_disk_failed};
    err e = stage_build_begin(&config, &build);
    if (e.code)
        return refuse(self, e, "cannot write the store");
    e = fill_store(self, build);
    stage_build_free(build);
    return e;
}

static err make_conf_state(struct restoring *self)
{
    const struct membership *members = self->founding.members;
    struct raft_conf_state conf = {0};
    for (size_t i = 0; i < members->count; i++)
        if (!raft_id_set_add(&conf.voters, members->members[i].id))
            return ERR_LIMIT;
    buf_init(&self->conf_state, CONF_STATE_BYTES_MAX);
    return raft_codec_conf_state_encode(&conf, &self->conf_state);
}

/* A log that begins behind the store's index: the members' entries alone would not lead to what the
 * store holds, and a member that joins later is to be given a snapshot, not them. */
static err make_log(struct restoring *self)
{
    const struct founding *founding = &self->founding;
    size_t count = founding->members->count;
    const struct wal_snapshot snapshot = {
        .index = count, .term = TERM, .conf_state = buf_bytes(&self->conf_state)};
    const struct stage_log_bootstrap bootstrap = {
        .metadata = founding_metadata(founding->member_id, founding->cluster_id, self->arena),
        .state = {.term = TERM, .vote = founding->members->members[0].id, .commit = count},
        .snapshot = &snapshot};
    const struct stage_log_config config = {
        .fs = &io_fs_real, .dir = self->wal, .fatal = offline_disk_failed};
    err e = stage_log_create(&config, &bootstrap);
    return e.code ? refuse(self, e, arena_printf(self->arena, "cannot write %s", self->wal)) : OK;
}

/* ── The whole ──────────────────────────────────────────────────────────────────────────────── */

/* All is synced: its name makes it a member's directory. */
static err give_name(struct restoring *self)
{
    const char *member = arena_printf(self->arena, "%s/member", self->data);
    err e = offline_sync_dir(self->unfinished);
    if (err_ok(e))
        e = io_rename(&io_fs_real, IO_CWD, self->unfinished, IO_CWD, member);
    if (err_ok(e))
        e = offline_sync_dir(self->data);
    return e.code ? refuse(self, e, arena_printf(self->arena, "cannot name %s", member)) : OK;
}

static err make_all(struct restoring *self)
{
    TRY(make_conf_state(self));
    TRY(make_store(self));
    TRY(make_log(self));
    return give_name(self);
}

static err restore(struct restoring *self)
{
    const struct restore_options *options = self->options;
    TRY(check_members(self));
    self->data = *options->data_dir ? options->data_dir
                                    : arena_printf(self->arena, "%s.etcd", options->name);
    self->unfinished = arena_printf(self->arena, "%s/member.restoring", self->data);
    self->wal = *options->wal_dir ? options->wal_dir
                                  : arena_printf(self->arena, "%s/wal", self->unfinished);
    TRY(check_empty(self, self->data, "data-dir", "member.restoring"));
    if (*options->wal_dir)
        TRY(check_empty(self, options->wal_dir, "wal-dir", ""));
    TRY(check_snapshot(self));
    TRY(prepare_dirs(self));
    err e = make_all(self);
    if (e.code)
        (void)offline_remove_tree(IO_CWD, self->unfinished, 3).code;
    if (e.code || !options->for_etcd)
        return e;
    const struct export_options etcd = {
        .data_dir = self->data, .wal_dir = options->wal_dir, .remove_store = true};
    return export_run(&etcd, self->arena, self->ret_reason);
}

err restore_run(const struct restore_options *options, struct arena *arena, const char **ret_reason)
{
    struct restoring self = {.options = options, .arena = arena, .ret_reason = ret_reason};
    *ret_reason = NULL;
    err e = restore(&self);
    if (e.code && !*ret_reason)
        *ret_reason = err_text(e);
    snapshot_file_close(&self.file);
    membership_free(self.founding.members);
    buf_done(&self.conf_state);
    return e;
}
