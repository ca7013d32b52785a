/* The order: db, then .snap, then the record that makes both count. An etcd that starts after a
 * crash in between finds the older record, for which the db is new enough; where there is no db yet
 * it refuses. */
#include "offline/export.h"

#include "base/check.h"
#include "base/crc.h"
#include "base/seed.h"
#include "offline/files.h"
#include "server/boot.h"
#include "state/members_v2.h"
#include "state/snapshot.h"
#include "wal/raft_codec.h"
#include "wire/encode.h"
#include "wire/splice.h"

#include <inttypes.h>

#define SLICE_CHANGES 100000
#define WRITE_BYTES   ((size_t)1 << 20)
#define SNAP_BYTES    (V2_STORE_BYTES_MAX + ((size_t)1 << 20))

struct exporting {
    const struct export_options *options;
    struct arena *arena;
    const char **ret_reason;
    struct config config;
    struct epoch epoch;
    struct io_workers *workers;
    struct mailbox log_completions, store_completions;
    struct boot boot;
    bool booted;
    const char *snap_dir;
};

static err refuse(struct exporting *self, err e, const char *what)
{
    *self->ret_reason = arena_printf(self->arena, "%s: %s", what, err_text(e));
    return e;
}

/* ── Opening ────────────────────────────────────────────────────────────────────────────────── */

/* The settings that a start looks at, all else as it is by default. */
static err settings(struct exporting *self)
{
    char *const none[] = {NULL};
    char *args[] = {arena_printf(self->arena, "--data-dir=%s", self->options->data_dir),
                    arena_printf(self->arena, "--wal-dir=%s", self->options->wal_dir)};
    const char *reason = NULL;
    if (config_load(&self->config, 2, args, none, &reason) == CONFIG_GO)
        return OK;
    *self->ret_reason = arena_printf(self->arena, "%s", reason ? reason : "bad directory");
    return ERR_USAGE;
}

/* A start would begin a new member where there is none. */
static err is_member(struct exporting *self)
{
    uint64_t index;
    err e = stage_store_find(&io_fs_real,
                             arena_printf(self->arena, "%s/member/store", self->options->data_dir),
                             UINT64_MAX, &index);
    if (err_ok(e))
        return OK;
    *self->ret_reason =
        arena_printf(self->arena, "%s holds no member of this server", self->options->data_dir);
    return e;
}

static err open_member(struct exporting *self)
{
    TRY(settings(self));
    TRY(is_member(self));
    epoch_init(&self->epoch);
    mailbox_init(&self->log_completions, NULL, NULL);
    mailbox_init(&self->store_completions, NULL, NULL);
    TRY(io_workers_new(1, &self->workers));
    const struct boot_config boot = {.config = &self->config,
                                     .fs = &io_fs_real,
                                     .epoch = &self->epoch,
                                     .workers = self->workers,
                                     .log_completions = &self->log_completions,
                                     .store_completions = &self->store_completions,
                                     .seed = seed_new(),
                                     .fatal = offline_disk_failed};
    const char *reason = NULL;
    self->booted = true;
    err e = boot_open(&self->boot, &boot, &reason);
    if (e.code)
        *self->ret_reason = arena_printf(self->arena, "%s", reason ? reason : err_text(e));
    return e;
}

static void close_member(struct exporting *self)
{
    io_workers_free(self->workers);
    if (!self->booted)
        return;
    struct stage_store *stage = self->boot.store.stage;
    boot_done(&self->boot);
    epoch_done(&self->epoch);
    stage_store_free(stage);
}

/* ── snap/db ────────────────────────────────────────────────────────────────────────────────── */

static err write_pages(struct snapshot_source *source, const struct mvcc_view *view, int file)
{
    AUTO(buf_done) struct buf out = {0};
    uint64_t offset = 0;
    bool done = false;
    while (!done) {
        unsigned budget = SLICE_CHANGES;
        TRY(snapshot_source_measure(source, view, 0, &budget, &done));
    }
    for (done = false; !done;) {
        unsigned budget = SLICE_CHANGES;
        TRY(snapshot_source_read(source, view, 0, &budget, WRITE_BYTES, &out, &done));
        TRY(io_write_bytes(&io_fs_real, file, buf_bytes(&out), offset));
        offset += out.len;
        buf_clear(&out);
    }
    return OK;
}

/* Written beside, synced, named. */
static err write_db(struct exporting *self, int dir, const char *name)
{
    const struct boot *boot = &self->boot;
    struct mvcc_store *store = boot->store.mvcc;
    const struct snapshot_moment moment = {.view = mvcc_store_view(store),
                                           .members = state_members(boot->store.state),
                                           .index = boot->start.applied_index,
                                           .term = boot->start.applied_term};
    struct snapshot_source *source;
    const char *unfinished = arena_printf(self->arena, "%s.tmp", name);
    int file;
    TRY(snapshot_source_new(&moment, mvcc_store_pins(store), 0, &source));
    err e = io_open(&io_fs_real, dir, unfinished, IO_WRITE | IO_CREATE | IO_TRUNCATE, 0600, &file);
    if (err_ok(e)) {
        e = write_pages(source, moment.view, file);
        if (err_ok(e))
            e = io_sync(&io_fs_real, file);
        io_close(&io_fs_real, file);
    }
    if (err_ok(e))
        e = io_rename(&io_fs_real, dir, unfinished, dir, name);
    snapshot_source_free(source);
    return e;
}

/* ── .snap ──────────────────────────────────────────────────────────────────────────────────── */

/* snappb.snapshot: crc(1) over data(2), a raftpb.Snapshot whose data are the members as the v2
 * store has them. */
static err snap_bytes(struct exporting *self, struct buf *out)
{
    AUTO(buf_done) struct buf members = {.limit = SNAP_BYTES};
    AUTO(buf_done) struct buf data = {.limit = SNAP_BYTES};
    TRY(membership_put_v2_store(state_members(self->boot.store.state), &members));
    const struct raft_snapshot snapshot = {.index = self->boot.start.applied_index,
                                           .term = self->boot.start.applied_term,
                                           .conf_state = self->boot.start.conf,
                                           .data = buf_bytes(&members)};
    TRY(raft_codec_snapshot_encode(&snapshot, &data));
    uint8_t head[2 * (1 + WIRE_VARINT_BYTES_MAX)];
    uint8_t *at = wire_put_tag(head, 1, WIRE_VARINT);
    at = wire_put_varint(at, crc32c(0, buf_bytes(&data)));
    at = wire_put_prefix(at, 2, data.len);
    TRY(buf_append(out, bytes_of(head, (size_t)(at - head))));
    return buf_append(out, buf_bytes(&data));
}

static err write_snap(struct exporting *self, int dir)
{
    AUTO(buf_done) struct buf bytes = {.limit = SNAP_BYTES};
    const char *name = arena_printf(self->arena, "%016" PRIx64 "-%016" PRIx64 ".snap",
                                    self->boot.start.applied_term, self->boot.start.applied_index);
    int file;
    TRY(snap_bytes(self, &bytes));
    TRY(io_open(&io_fs_real, dir, "snap.tmp", IO_WRITE | IO_CREATE | IO_TRUNCATE, 0644, &file));
    err e = io_write_bytes(&io_fs_real, file, buf_bytes(&bytes), 0);
    if (err_ok(e))
        e = io_sync(&io_fs_real, file);
    io_close(&io_fs_real, file);
    TRY(e);
    return io_rename(&io_fs_real, dir, "snap.tmp", dir, name);
}

/* ── The log's record ───────────────────────────────────────────────────────────────────────── */

static err write_record(struct exporting *self)
{
    const struct replica_start *start = &self->boot.start;
    AUTO(buf_done) struct buf conf = {0};
    if (self->boot.log_recovery.snapshot.index == start->applied_index)
        return OK;
    TRY(raft_codec_conf_state_encode(&start->conf, &conf));
    struct stage_log_batch *batch = stage_log_batch_new(0);
    batch->id = 1;
    batch->term = start->hard_state.term;
    batch->must_sync = batch->has_state = batch->has_snapshot = true;
    batch->state = start->hard_state;
    if (batch->state.commit < start->applied_index)
        batch->state.commit = start->applied_index;
    batch->snapshot = (struct wal_snapshot){
        .index = start->applied_index, .term = start->applied_term, .conf_state = buf_bytes(&conf)};
    stage_log_write_now(self->boot.log, batch, &self->log_completions);
    return OK;
}

/* ── The whole ──────────────────────────────────────────────────────────────────────────────── */

static err write_all(struct exporting *self)
{
    int dir;
    err e = io_mkdir(&io_fs_real, IO_CWD, self->snap_dir, 0700);
    if (e.code && !err_is(e, ERR_EXISTS))
        return e;
    TRY(io_open(&io_fs_real, IO_CWD, self->snap_dir, IO_READ | IO_DIRECTORY, 0, &dir));
    e = write_db(self, dir, "db");
    if (err_ok(e))
        e = write_snap(self, dir);
    if (err_ok(e))
        e = io_sync_dir(&io_fs_real, dir);
    io_close(&io_fs_real, dir);
    TRY(e);
    TRY(offline_sync_dir(arena_printf(self->arena, "%s/member", self->options->data_dir)));
    return write_record(self);
}

static struct exporting *exporting_new(const struct export_options *options, struct arena *arena,
                                       const char **ret_reason)
{
    struct exporting *self = ARENA_NEW(arena, struct exporting);
    self->options = options;
    self->arena = arena;
    self->ret_reason = ret_reason;
    self->snap_dir = arena_printf(arena, "%s/member/snap", options->data_dir);
    *ret_reason = NULL;
    return self;
}

err export_db(const struct export_options *options, const char *file, struct arena *arena,
              const char **ret_reason)
{
    struct exporting *self = exporting_new(options, arena, ret_reason);
    err e = open_member(self);
    if (err_ok(e)) {
        e = write_db(self, IO_CWD, file);
        if (e.code)
            (void)refuse(self, e, arena_printf(arena, "cannot write %s", file));
    }
    close_member(self);
    config_done(&self->config);
    if (e.code && !*ret_reason)
        *ret_reason = err_text(e);
    return e;
}

err export_run(const struct export_options *options, struct arena *arena, const char **ret_reason)
{
    struct exporting *self = exporting_new(options, arena, ret_reason);
    err e = open_member(self);
    if (err_ok(e)) {
        e = write_all(self);
        if (e.code)
            (void)refuse(self, e, arena_printf(arena, "cannot write %s", self->snap_dir));
    }
    close_member(self);
    config_done(&self->config);
    if (err_ok(e) && options->remove_store) {
        e = offline_remove_tree(IO_CWD, arena_printf(arena, "%s/member/store", options->data_dir),
                                2);
        if (e.code)
            (void)refuse(self, e, "cannot remove this server's store");
    }
    if (e.code && !*ret_reason)
        *ret_reason = err_text(e);
    return e;
}
