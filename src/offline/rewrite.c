#include "offline/rewrite.h"

#include "base/clock.h"
#include "bolt/writer.h"
#include "offline/files.h"
#include "offline/snapshot_file.h"
#include "stage/store.h"

#include <fcntl.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#define LOCK_POLL_MS 50
#define WRITE_BYTES  ((size_t)1 << 20)

/* ── Whose it is ────────────────────────────────────────────────────────────────────────────── */

static bool has_file(const char *path)
{
    int file;
    if (io_open(&io_fs_real, IO_CWD, path, IO_READ, 0, &file).code)
        return false;
    io_close(&io_fs_real, file);
    return true;
}

err data_dir_kind(const char *data_dir, struct arena *arena, enum data_dir_kind *ret_kind,
                  const char **ret_reason)
{
    uint64_t index;
    if (err_ok(stage_store_find(&io_fs_real, arena_printf(arena, "%s/member/store", data_dir),
                                UINT64_MAX, &index))) {
        *ret_kind = DATA_DIR_OURS;
        return OK;
    }
    if (has_file(arena_printf(arena, "%s/member/snap/db", data_dir))) {
        *ret_kind = DATA_DIR_OF_ETCD;
        return OK;
    }
    *ret_reason = arena_printf(arena, "%s is no data directory of a member", data_dir);
    return ERR_NOT_FOUND;
}

/* ── A copy ─────────────────────────────────────────────────────────────────────────────────── */

struct rewriting {
    const struct rewrite_options *options;
    const struct snapshot_file *from;
    struct bolt_writer writer;
    int file; /* -1: the first pass */
    uint64_t offset;
    struct buf out;
};

static err pages_write(struct rewriting *self, size_t enough)
{
    if (self->file < 0 || self->out.len < enough)
        return OK;
    TRY(io_write_bytes(&io_fs_real, self->file, buf_bytes(&self->out), self->offset));
    self->offset += self->out.len;
    buf_clear(&self->out);
    return OK;
}

/* The storage's version, where its turn has come: before the first name above its own. */
static err put_version(struct rewriting *self, bool *put)
{
    const char *version = self->options->storage_version;
    if (*put)
        return OK;
    *put = true;
    return *version
               ? bolt_writer_put(&self->writer, BYTES_LIT("storageVersion"), bytes_str(version))
               : OK;
}

static err copy_bucket(struct rewriting *self, struct bytes name, struct bytes root)
{
    struct bolt_cursor at;
    struct bytes key, value;
    const struct bytes version = BYTES_LIT("storageVersion");
    bool put = !self->options->storage_version || !bytes_equal(name, BYTES_LIT("meta"));
    bool changes = !put;
    TRY(bolt_writer_bucket_begin(&self->writer, name));
    TRY(bolt_cursor_open_value(&at, &self->from->bolt, root, NULL));
    while (true) {
        bool found;
        TRY(bolt_cursor_next(&at, &key, &value, &found, NULL));
        if (!found)
            break;
        if (changes && bytes_compare(key, version) >= 0)
            TRY(put_version(self, &put));
        if (!changes || !bytes_equal(key, version))
            TRY(bolt_writer_put(&self->writer, key, value));
        TRY(pages_write(self, WRITE_BYTES));
    }
    TRY(put_version(self, &put));
    return bolt_writer_bucket_end(&self->writer);
}

static err copy_buckets(struct rewriting *self, struct bolt_extent *ret_extent)
{
    struct bolt_cursor buckets;
    struct bytes name, root;
    TRY(bolt_cursor_open_buckets(&buckets, &self->from->bolt, NULL));
    while (true) {
        bool found;
        TRY(bolt_cursor_next(&buckets, &name, &root, &found, NULL));
        if (!found)
            break;
        TRY(copy_bucket(self, name, root));
    }
    TRY(bolt_writer_end(&self->writer, ret_extent));
    return pages_write(self, 1);
}

static err copy_passes(struct rewriting *self, int file)
{
    struct bolt_extent extent, again;
    self->file = -1;
    bolt_writer_init(&self->writer, NULL);
    TRY(copy_buckets(self, &extent));
    bolt_writer_done(&self->writer);
    self->file = file;
    bolt_writer_init(&self->writer, &self->out);
    TRY(bolt_writer_begin(&self->writer, &extent));
    return copy_buckets(self, &again);
}

/* ── The file ───────────────────────────────────────────────────────────────────────────────── */

/* As etcd holds its db while it runs. */
static err lock_db(const char *path, uint64_t timeout_ms, int *ret_file)
{
    uint64_t until_ms = clock_mono_ms() + timeout_ms;
    int file = open(path, O_RDWR | O_CLOEXEC);
    if (file < 0)
        return ERR_ACCESS;
    while (flock(file, LOCK_EX | LOCK_NB) != 0) {
        const struct timespec poll = {.tv_nsec = LOCK_POLL_MS * 1000000L};
        if (clock_mono_ms() >= until_ms) {
            (void)close(file);
            return ERR_LOCKED;
        }
        (void)nanosleep(&poll, NULL);
    }
    *ret_file = file;
    return OK;
}

static err write_beside(struct rewriting *self, const char *snap_dir)
{
    int dir, file;
    TRY(io_open(&io_fs_real, IO_CWD, snap_dir, IO_READ | IO_DIRECTORY, 0, &dir));
    err e = io_open(&io_fs_real, dir, "db.tmp.rewrite", IO_WRITE | IO_CREATE | IO_TRUNCATE, 0600,
                    &file);
    if (err_ok(e)) {
        e = copy_passes(self, file);
        if (err_ok(e))
            e = io_sync(&io_fs_real, file);
        io_close(&io_fs_real, file);
        if (err_ok(e))
            e = io_rename(&io_fs_real, dir, "db.tmp.rewrite", dir, "db");
        else
            (void)io_unlink(&io_fs_real, dir, "db.tmp.rewrite").code;
    }
    if (err_ok(e))
        e = io_sync_dir(&io_fs_real, dir);
    io_close(&io_fs_real, dir);
    return e;
}

static err rewrite_locked(const struct rewrite_options *options, const char *path,
                          struct arena *arena, uint64_t *ret_before, uint64_t *ret_after,
                          const char **ret_reason)
{
    struct snapshot_file from;
    TRY(snapshot_file_open(&from, path, arena, ret_reason));
    struct rewriting self = {.options = options, .from = &from};
    err e = write_beside(&self, arena_printf(arena, "%s/member/snap", options->data_dir));
    if (e.code)
        *ret_reason = arena_printf(arena, "cannot write %s anew: %s", path, err_text(e));
    *ret_before = from.bytes;
    *ret_after = self.offset;
    bolt_writer_done(&self.writer);
    buf_done(&self.out);
    snapshot_file_close(&from);
    return e;
}

err rewrite_run(const struct rewrite_options *options, struct arena *arena, uint64_t *ret_before,
                uint64_t *ret_after, const char **ret_reason)
{
    const char *path = arena_printf(arena, "%s/member/snap/db", options->data_dir);
    int lock;
    err e = lock_db(path, options->lock_timeout_ms, &lock);
    if (e.code) {
        *ret_reason = err_is(e, ERR_LOCKED)
                          ? arena_printf(arena, "%s is held by a running server", path)
                          : arena_printf(arena, "open %s: %s", path, err_text(e));
        return e;
    }
    e = rewrite_locked(options, path, arena, ret_before, ret_after, ret_reason);
    (void)close(lock);
    return e;
}
