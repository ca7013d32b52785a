#include "server/boot.h"

#include "base/check.h"
#include "base/log.h"
#include "server/force_new.h"
#include "server/founding.h"
#include "server/import.h"
#include "server/join.h"
#include "state/state.h"
#include "wal/raft_codec.h"
#include "wal/start.h"
#include "wire/splice.h"

#include <limits.h>
#include <semaphore.h>
#include <stdlib.h>

static err refuse(struct boot *self, const char **ret_reason, err e, const char *what)
{
    *ret_reason = arena_printf(&self->arena, "%s: %s", what, err_text(e));
    return e;
}

static const char *log_dir(struct boot *self, const struct config *config)
{
    return config->wal_dir[0] ? config->wal_dir
                              : arena_printf(&self->arena, "%s/member/wal", config->data_dir);
}

static const char *store_parent(struct boot *self, const struct config *config)
{
    return arena_printf(&self->arena, "%s/member/store", config->data_dir);
}

/* ── Directories ────────────────────────────────────────────────────────────────────────────── */

/* Makes path's own name durable: all that is synced below it is worth no more. One that is there
 * already may have been made by a life that ended before its name was. */
static err name_sync(struct boot *self, const struct io_fs *fs, const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *parent = !slash ? "."
                         : slash == path
                             ? "/"
                             : arena_printf(&self->arena, "%.*s", (int)(slash - path), path);
    int dir;
    err e = io_open(fs, IO_CWD, parent, IO_READ | IO_DIRECTORY, 0, &dir);
    if (err_is(e, ERR_ACCESS))
        return OK; /* an operator's directory that is not ours to read */
    TRY(e);
    e = io_sync_dir(fs, dir);
    io_close(fs, dir);
    return e;
}

static err make_dir(struct boot *self, const struct io_fs *fs, const char *path)
{
    err e = io_mkdir(fs, IO_CWD, path, 0700);
    if (err_ok(e))
        self->made_dirs[self->made_count++] = path;
    else if (!err_is(e, ERR_EXISTS))
        return e;
    return name_sync(self, fs, path);
}

static bool dir_exists(const struct io_fs *fs, const char *path)
{
    int dir;
    if (io_open(fs, IO_CWD, path, IO_READ | IO_DIRECTORY, 0, &dir).code)
        return false;
    io_close(fs, dir);
    return true;
}

static err make_dirs(struct boot *self, const struct boot_config *config, const char **ret_reason)
{
    const char *data = config->config->data_dir;
    const char *member = arena_printf(&self->arena, "%s/member", data);
    const char *paths[] = {data, member, store_parent(self, config->config)};
    const char *unfinished = arena_printf(&self->arena, "%s/member.restoring", data);
    if (dir_exists(config->fs, unfinished) && !dir_exists(config->fs, member)) {
        *ret_reason = arena_printf(&self->arena,
                                   "a restore into %s did not finish (%s is there): restore again, "
                                   "or remove it for a new, empty member",
                                   data, unfinished);
        return ERR_CORRUPT;
    }
    for (size_t i = 0; i < 3; i++) {
        err e = make_dir(self, config->fs, paths[i]);
        int dir;
        if (err_ok(e))
            e = io_open(config->fs, IO_CWD, paths[i], IO_READ | IO_DIRECTORY, 0, &dir);
        if (e.code)
            return refuse(self, ret_reason, e,
                          arena_printf(&self->arena, "cannot access data directory: %s", paths[i]));
        io_close(config->fs, dir);
    }
    return OK;
}

/* ── Who we are ─────────────────────────────────────────────────────────────────────────────── */

static err metadata_read(struct boot *self, struct bytes metadata)
{
    struct wire_field_iter iter = wire_field_iter_of(metadata);
    struct wire_field field;
    while (wire_field_iter_next(&iter, &field)) {
        if (field.number == 1 && field.type == WIRE_VARINT)
            self->member_id = field.value;
        if (field.number == 2 && field.type == WIRE_VARINT)
            self->cluster_id = field.value;
    }
    TRY(wire_field_iter_end(&iter));
    return self->member_id && self->cluster_id ? OK : ERR_CORRUPT;
}

static err join_begin(struct boot *self, const struct boot_config *config,
                      const struct cluster_list *list, struct join *ret_join)
{
    if (!config->join_wire)
        TRY(io_loop_new(&self->asking));
    *ret_join = (struct join){.wire = config->join_wire,
                              .loop = self->asking,
                              .workers = config->workers,
                              .arena = &self->arena,
                              .config = config->config,
                              .list = list};
    return OK;
}

/* To a cluster that runs; its log tells the rest. */
static err join_members(struct boot *self, const struct boot_config *config,
                        const char **ret_reason)
{
    struct cluster_list list;
    TRY(cluster_list_parse(&self->arena, config->config->initial_cluster, &list, ret_reason));
    TRY(cluster_list_check(&self->arena, &list, config->config, false, ret_reason));
    *ret_reason = "--initial-cluster-state=existing: no cluster can be asked here";
    if (!config->may_ask)
        return ERR_UNSUPPORTED;
    struct join join;
    TRY(join_begin(self, config, &list, &join));
    return join_existing(&join, &self->initial, &self->member_id, &self->cluster_id, ret_reason);
}

static err initial_members(struct boot *self, const struct boot_config *boot,
                           const char **ret_reason)
{
    struct founding founding;
    TRY(founding_of(boot->config, &self->arena, &founding, ret_reason));
    self->initial = founding.members;
    self->member_id = founding.member_id;
    self->cluster_id = founding.cluster_id;
    if (!boot->may_ask || founding.list.count == 1)
        return OK;
    *ret_reason = "out of descriptors";
    struct join join;
    TRY(join_begin(self, boot, &founding.list, &join));
    return join_check_new(&join, self->member_id, ret_reason);
}

/* ── The log ────────────────────────────────────────────────────────────────────────────────── */

static struct stage_log_config log_config(struct boot *self, const struct boot_config *config)
{
    return (struct stage_log_config){.fs = config->fs,
                                     .dir = log_dir(self, config->config),
                                     .segment_bytes = config->log_segment_bytes,
                                     .completions = config->log_completions,
                                     .workers = config->workers,
                                     .fatal = config->fatal,
                                     .fatal_ctx = config->fatal_ctx,
                                     .now_ns = config->now_ns,
                                     .now_ctx = config->now_ctx};
}

/* One committed conf change a member, as every etcd begins; where a cluster is joined none, as its
 * log has them. */
static err create_log(struct boot *self, const struct boot_config *config, bool joins,
                      const char **ret_reason)
{
    size_t count = joins ? 0 : self->initial->count;
    struct raft_entry *entries = NULL;
    err e = joins ? OK : founding_entries(self->initial, &self->arena, &entries);
    if (e.code)
        return refuse(self, ret_reason, e, "--initial-cluster");
    struct stage_log_config log = log_config(self, config);
    struct stage_log_bootstrap bootstrap = {
        .metadata = founding_metadata(self->member_id, self->cluster_id, &self->arena),
        .entries = entries,
        .entry_count = count,
        .state = {.term = joins ? 0 : 1, .commit = count}};
    e = stage_log_create(&log, &bootstrap);
    if (e.code)
        return refuse(self, ret_reason, e,
                      arena_printf(&self->arena, "cannot write to WAL directory: %s", log.dir));
    self->is_new = true;
    return OK;
}

static err log_refused(struct boot *self, const char *dir, err e, const struct wal_fault *fault,
                       const char **ret_reason)
{
    if (!err_is(e, ERR_CORRUPT))
        return refuse(
            self, ret_reason, e,
            arena_printf(&self->arena, "the write-ahead log in %s cannot be opened", dir));
    char name[WAL_NAME_BYTES];
    wal_name_format(fault->segment, name);
    *ret_reason = arena_printf(
        &self->arena, "the write-ahead log is corrupt: %s at offset %llu, after entry %llu: %s",
        name, (unsigned long long)fault->offset, (unsigned long long)fault->index,
        fault->what ? fault->what : "");
    return e;
}

/* The log is read beside the store: each is as long as the other. */
struct log_reading {
    struct io_job job;
    struct boot *boot;
    struct bytes metadata; /* as it is promised before all is read */
    struct wal_fault fault;
    err error;
    bool posted;
    sem_t ended;
};

static void log_read_work(struct io_job *job)
{
    struct log_reading *reading = LIST_ENTRY(job, struct log_reading, job);
    struct boot *boot = reading->boot;
    reading->error = stage_log_read(boot->log, &boot->log_recovery, &reading->fault);
    CHECK(sem_post(&reading->ended) == 0);
}

static err log_read_begin(struct boot *self, const struct boot_config *config,
                          struct log_reading *reading, const char **ret_reason)
{
    struct stage_log_config log = log_config(self, config);
    *reading = (struct log_reading){.job = {.work = log_read_work}, .boot = self};
    CHECK(sem_init(&reading->ended, 0, 0) == 0);
    err e = stage_log_lock(&log, &self->log, &reading->metadata);
    if (e.code)
        return log_refused(self, log.dir, e, &reading->fault, ret_reason);
    if (config->workers)
        io_workers_post(config->workers, &reading->job);
    else
        log_read_work(&reading->job);
    reading->posted = true;
    if (reading->metadata.len == 0)
        return OK; /* log_read_end says why */
    e = metadata_read(self, reading->metadata);
    return e.code ? refuse(self, ret_reason, e, "the write-ahead log's metadata") : OK;
}

/* Whatever came of the beginning. */
static err log_read_end(struct boot *self, const struct boot_config *config,
                        struct log_reading *reading, const char **ret_reason)
{
    while (reading->posted && sem_wait(&reading->ended) != 0)
        ;
    sem_destroy(&reading->ended);
    if (!reading->posted)
        return OK;
    if (reading->error.code)
        return log_refused(self, log_dir(self, config->config), reading->error, &reading->fault,
                           ret_reason);
    CHECK(bytes_equal(self->log_recovery.metadata, reading->metadata));
    return OK;
}

/* ── The store ──────────────────────────────────────────────────────────────────────────────── */

static struct stage_store_config store_config(struct boot *self, const struct boot_config *config,
                                              uint64_t index)
{
    return (struct stage_store_config){
        .fs = config->fs,
        .dir = arena_printf(&self->arena, "%s/%016llx", store_parent(self, config->config),
                            (unsigned long long)index),
        .owner = {.cluster_id = self->cluster_id, .member_id = self->member_id},
        .epoch = config->epoch,
        .completions = config->store_completions,
        .seed = config->seed,
        .segment_bytes = config->store_segment_bytes,
        .checkpoint_bytes = config->checkpoint_bytes,
        .fatal = config->fatal,
        .fatal_ctx = config->fatal_ctx,
        .now_ns = config->now_ns,
        .now_ctx = config->now_ctx};
}

/* ── Where raft begins ──────────────────────────────────────────────────────────────────────── */

static err facts_fill(struct boot *self, const struct boot_config *config, bool has_store,
                      struct wal_start_facts *ret_facts)
{
    const struct stage_log_recovery *log = &self->log_recovery;
    const struct mvcc_frame *frame = &self->store.recovery.frame;
    const char *parent = store_parent(self, config->config);
    *ret_facts = (struct wal_start_facts){.has_log = true,
                                          .has_store = has_store,
                                          .frame_index = frame->index,
                                          .frame_term = frame->term,
                                          .commit = log->state.commit,
                                          .snapshot_index = log->snapshot.index,
                                          .first_index = log->first_index,
                                          .last_index = log->last_index,
                                          .last_term = log->last_term};
    ret_facts->store_imported =
        frame->index > log->last_index &&
        import_is_frame(config->fs, parent, self->store_index, frame->index);
    ret_facts->has_term_at_frame =
        frame->index &&
        stage_log_term(self->log, frame->index, &ret_facts->term_at_frame).code == 0;
    return stage_store_there(config->fs, parent, log->snapshot.index, ".staged",
                             &ret_facts->staged);
}

/* *ret_install: the staged store at the log's newest snapshot is to be opened instead. */
static err decide(struct boot *self, const struct boot_config *config, bool has_store,
                  bool *ret_install, const char **ret_reason)
{
    const struct stage_log_recovery *log = &self->log_recovery;
    struct wal_start_facts facts;
    err e = facts_fill(self, config, has_store, &facts);
    if (e.code)
        return refuse(self, ret_reason, e, "cannot access the store's directory");
    struct wal_start start = wal_start_decide(&facts);
    if (start.action == WAL_START_REFUSE) {
        *ret_reason = wal_refusal_text(start.refusal);
        return ERR_CORRUPT;
    }
    if (start.action == WAL_START_FRAME && facts.frame_index < facts.snapshot_index)
        LOGW(
            "the store is older than the write-ahead log's snapshot record; all that it lacks is "
            "taken from the log",
            LOG_UINT("store-index", facts.frame_index),
            LOG_UINT("snapshot-index", facts.snapshot_index));
    *ret_install = start.action == WAL_START_FINISH_INSTALL;
    self->start.applied_index = start.applied;
    self->start.applied_term =
        start.action == WAL_START_SKIP_TO_FRAME ? log->last_term : self->store.recovery.frame.term;
    self->start.skip_until = start.skip_apply;
    self->start.hard_state = log->state;
    self->start.hard_state.commit = start.commit;
    return OK;
}

static err fill_start(struct boot *self, const char **ret_reason)
{
    const struct stage_log_recovery *log = &self->log_recovery;
    struct replica_start *start = &self->start;
    struct revlog_sizes sizes;
    revlog_sizes(self->store.recovery.log, &sizes);
    start->size_bytes = (int64_t)sizes.size_bytes;
    start->size_in_use_bytes = (int64_t)sizes.in_use_bytes;
    start->last_index = log->last_index;
    start->recorded_index = log->snapshot.index;
    start->snapshot_index = log->first_index - 1;
    if (start->snapshot_index) {
        err e = stage_log_term(self->log, start->snapshot_index, &start->snapshot_term);
        if (e.code)
            return refuse(self, ret_reason, e, "the write-ahead log's beginning");
    }
    if (self->store.recovery.frame.conf_state.len) {
        err e = raft_codec_conf_state_decode(self->store.recovery.frame.conf_state, &start->conf);
        if (e.code)
            return refuse(self, ret_reason, e, "the store's membership");
    }
    uint64_t lo =
        log->last_index + 1 > BOOT_ENTRIES_MAX ? log->last_index + 1 - BOOT_ENTRIES_MAX : 1;
    lo = lo < log->first_index ? log->first_index : lo;
    start->entries = self->entries;
    /* The newest entries, as far as they go in one read: the rest is read by place. */
    while (lo <= log->last_index) {
        size_t count;
        err e = stage_log_entries(self->log, lo, log->last_index + 1, (uint64_t)16 << 20,
                                  BOOT_ENTRIES_MAX, self->entries, &count);
        if (e.code)
            return refuse(self, ret_reason, e, "the write-ahead log's newest entries");
        start->entry_count = count;
        if (lo + count > log->last_index)
            break;
        raft_entries_unref(self->entries, count);
        start->entry_count = 0;
        lo += count;
    }
    return OK;
}

/* ── The whole ──────────────────────────────────────────────────────────────────────────────── */

static bool has_foreign_store(struct boot *self, const struct boot_config *config)
{
    int file;
    const char *path = arena_printf(&self->arena, "%s/member/snap/db", config->config->data_dir);
    if (io_open(config->fs, IO_CWD, path, IO_READ, 0, &file).code)
        return false;
    io_close(config->fs, file);
    return true;
}

static err find_log(struct boot *self, const struct boot_config *config, bool has_store,
                    const char **ret_reason)
{
    const struct config *settings = config->config;
    bool exists;
    err e = stage_log_exists(config->fs, log_dir(self, settings), &exists);
    if (e.code)
        return refuse(self, ret_reason, e, "cannot access the WAL directory");
    if (exists)
        return OK; /* --initial-cluster has had its day */
    if (has_store || has_foreign_store(self, config)) {
        *ret_reason = wal_refusal_text(WAL_REFUSAL_STORE_WITHOUT_LOG);
        return ERR_CORRUPT;
    }
    bool joins = strcmp(settings->initial_cluster_state, "existing") == 0;
    TRY(joins ? join_members(self, config, ret_reason) : initial_members(self, config, ret_reason));
    return create_log(self, config, joins, ret_reason);
}

static err check_learners(const struct boot *self, const struct config *config,
                          const char **ret_reason)
{
    const struct membership *members = state_members(self->store.state);
    if (members->count - membership_voter_count(members) <= config->max_learners)
        return OK;
    *ret_reason = "membership: too many learner members in cluster";
    return ERR_MISMATCH;
}

/* The store that was open, if any, is closed before. */
static err open_store(struct boot *self, const struct boot_config *config, uint64_t index,
                      const char **ret_reason)
{
    struct stage_store *old = self->store.stage;
    opened_store_close(&self->store);
    (void)epoch_reclaim(config->epoch, UINT_MAX);
    stage_store_free(old);
    struct stage_store_config store = store_config(self, config, index);
    self->store_index = index;
    return opened_store_open(&self->store, &store, &config->tail, config->config, &self->arena,
                             ret_reason);
}

struct stage_build_config boot_build_config(struct boot *self, const struct boot_config *config)
{
    return (struct stage_build_config){
        .fs = config->fs,
        .parent = store_parent(self, config->config),
        .owner = {.cluster_id = self->cluster_id, .member_id = self->member_id},
        .seed = config->seed,
        .fatal = config->fatal,
        .fatal_ctx = config->fatal_ctx};
}

/* What another etcd has left here. */
static err take_over(struct boot *self, const struct boot_config *config, bool *has_store,
                     const char **ret_reason)
{
    struct stage_build_config build = boot_build_config(self, config);
    const struct import import = {
        .build = &build,
        .config = config->config,
        .snap_dir = arena_printf(&self->arena, "%s/member/snap", config->config->data_dir),
        .log = self->log,
        .recovery = &self->log_recovery,
        .has_store = *has_store,
        .store_index = self->store_index,
        .frame_index = self->store.recovery.frame.index,
        .arena = &self->arena};
    uint64_t index;
    TRY(import_stage(&import, &index, &self->imported_from, ret_reason));
    if (!index) {
        self->imported_from = NULL;
        return OK;
    }
    err e = import_name(&import, index);
    if (e.code)
        return refuse(self, ret_reason, e, "cannot name the store that was taken over");
    *has_store = true;
    return open_store(self, config, index, ret_reason);
}

static err prepare_log(struct boot *self, const char **ret_reason)
{
    err e = stage_log_prepare(self->log);
    return e.code ? refuse(self, ret_reason, e, "cannot write to WAL directory") : OK;
}

/* The log goes on from a received store. A life that was killed may not have synced the record that
 * says so; the store's new name must not outlive it. */
static err install(struct boot *self, const struct boot_config *config, const char **ret_reason)
{
    uint64_t index = self->log_recovery.snapshot.index;
    TRY(prepare_log(self, ret_reason));
    err e =
        stage_store_rename(config->fs, store_parent(self, config->config), index, ".staged", "");
    if (e.code)
        return refuse(self, ret_reason, e, "cannot name the received store");
    self->installed_index = index;
    return open_store(self, config, index, ret_reason);
}

static err open_both(struct boot *self, const struct boot_config *config, bool has_store,
                     uint64_t index, const char **ret_reason)
{
    struct log_reading reading;
    const char *log_reason = "";
    err e = log_read_begin(self, config, &reading, ret_reason);
    if (err_ok(e) && reading.metadata.len && has_store)
        e = open_store(self, config, index, ret_reason);
    err log_error = log_read_end(self, config, &reading, &log_reason);
    if (log_error.code) { /* what the store says then may follow from it */
        *ret_reason = log_reason;
        return log_error;
    }
    return e;
}

static err open_all(struct boot *self, const struct boot_config *config, const char **ret_reason)
{
    TRY(make_dirs(self, config, ret_reason));
    uint64_t index = 0;
    err found =
        stage_store_find(config->fs, store_parent(self, config->config), UINT64_MAX, &index);
    bool has_store = err_ok(found);
    if (!has_store && !err_is(found, ERR_NOT_FOUND))
        return refuse(self, ret_reason, found, "cannot access the store's directory");
    TRY(find_log(self, config, has_store, ret_reason));
    TRY(open_both(self, config, has_store, index, ret_reason));
    TRY(take_over(self, config, &has_store, ret_reason));
    bool installs;
    TRY(decide(self, config, has_store, &installs, ret_reason));
    if (installs) {
        TRY(install(self, config, ret_reason));
        TRY(decide(self, config, true, &installs, ret_reason));
    } else if (!has_store) {
        TRY(open_store(self, config, 0, ret_reason));
    }
    TRY(check_learners(self, config->config, ret_reason));
    if (!self->installed_index)
        TRY(prepare_log(self, ret_reason));
    err e = stage_store_remove_others(config->fs, store_parent(self, config->config),
                                      self->store_index);
    if (e.code)
        return refuse(self, ret_reason, e, "cannot remove what is left of other stores");
    if (config->config->force_new_cluster && !self->is_new)
        TRY(boot_force_new_cluster(self, config->log_completions, ret_reason));
    return fill_start(self, ret_reason);
}

err boot_open(struct boot *self, const struct boot_config *config, const char **ret_reason)
{
    memset(self, 0, sizeof(*self));
    arena_init(&self->arena, 65536);
    err e = open_all(self, config, ret_reason);
    /* Settings that are refused leave nothing behind; what holds anything stays. */
    for (unsigned i = self->made_count; e.code && i > 0; i--)
        if (!err_ok(io_rmdir(config->fs, IO_CWD, self->made_dirs[i - 1])))
            break;
    return e;
}

void boot_handed_on(struct boot *self)
{
    raft_entries_unref(self->entries, self->start.entry_count);
    self->start.entry_count = 0;
}

void boot_done(struct boot *self)
{
    boot_handed_on(self);
    opened_store_close(&self->store);
    stage_log_free(self->log);
    membership_free(self->initial);
    if (self->asking)
        io_loop_free(self->asking);
    arena_done(&self->arena);
}
