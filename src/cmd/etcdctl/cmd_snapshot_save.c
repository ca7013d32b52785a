/* The file is written as FILE.part, and gets its name only when all of it is there, its digest is
 * right, and it is on the disk: whatever ends this half-way leaves no file of that name. */
#include "etcdctl/snapshot.h"
#include "etcdctl/snapshot_digest.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/size.h"
#include "etcdserverpb.pb-c.h"
#include "io/bulk.h"

#include <fcntl.h>
#include <libgen.h>
#include <unistd.h>

#define FILE_MODE     0600
#define YIELDING_NICE 10

struct saving {
    struct ctl *ctl;
    const char *path, *part;
    struct io_bulk file; /* a member may be on the same disk */
    uint64_t offset;     /* bytes that are written */
    char version[64];
    struct snapshot_digest digest;
    err error;
};

static void on_piece(void *ctx, const ProtobufCMessage *message)
{
    struct saving *self = ctx;
    const Etcdserverpb__SnapshotResponse *piece = (const void *)message;
    struct bytes blob = bytes_of(piece->blob.data, piece->blob.len);
    if (self->error.code)
        return;
    snapshot_digest_take(&self->digest, blob);
    self->error = io_bulk_write(&io_fs_real, &self->file, blob, self->offset);
    self->offset += blob.len;
    if (piece->version && strlen(piece->version) < sizeof(self->version))
        memcpy(self->version, piece->version, strlen(piece->version) + 1);
}

static const char *receive(struct saving *self)
{
    struct ctl *ctl = self->ctl;
    Etcdserverpb__SnapshotRequest message = ETCDSERVERPB__SNAPSHOT_REQUEST__INIT;
    const ProtobufCMessage *response = NULL;
    const char *error = NULL;
    const struct client_request request = {
        .method = &client_maintenance_snapshot,
        .message = &message.base,
        .timeout_ms =
            flag_given(&ctl->flags, "command-timeout") ? ctl_timeout_ms(ctl) : CLIENT_NO_TIMEOUT,
        .endpoint = CLIENT_ANY_ENDPOINT,
        .piece = on_piece,
        .pieces_pass = true,
        .ctx = self,
    };
    int code = ctl_try(ctl, &request, &response, &error);
    if (code)
        return error ? error : "no connection";
    return self->error.code
               ? arena_printf(&ctl->arena, "write %s: %s", self->part, err_text(self->error))
               : NULL;
}

static const char *check(struct saving *self)
{
    if (!snapshot_digest_is_there(&self->digest))
        return arena_printf(&self->ctl->arena, "sha256 checksum not found [bytes: %llu]",
                            (unsigned long long)self->offset);
    if (!snapshot_digest_is_right(&self->digest))
        return "the snapshot's sha256 does not match what was received";
    return NULL;
}

/* Whether nobody else has the file open: a lease for writing is given under no other condition. */
static bool is_ours_alone(int file)
{
    return fcntl(file, F_SETLEASE, F_WRLCK) == 0 && fcntl(file, F_SETLEASE, F_UNLCK) == 0;
}

static err name_it(struct saving *self)
{
    int dir;
    char *copy = arena_copy_str(&self->ctl->arena, bytes_str(self->path));
    TRY(io_rename(&io_fs_real, IO_CWD, self->part, IO_CWD, self->path));
    TRY(io_open(&io_fs_real, IO_CWD, dirname(copy), IO_READ | IO_DIRECTORY, 0, &dir));
    err e = io_sync_dir(&io_fs_real, dir);
    io_close(&io_fs_real, dir);
    return e;
}

/* On the disk, then under its name. What had that name before gives its room back in pieces, unless
 * somebody is still reading it. */
static err publish(struct saving *self)
{
    int old;
    TRY(io_sync(&io_fs_real, self->file.file));
    bool replaces = err_ok(io_open(&io_fs_real, IO_CWD, self->path, IO_READ | IO_WRITE, 0, &old));
    err e = name_it(self);
    if (replaces && err_ok(e) && is_ours_alone(old))
        io_bulk_give_back(&io_fs_real, old);
    else if (replaces)
        io_close(&io_fs_real, old);
    return e;
}

static const char *save(struct saving *self)
{
    const char *why = receive(self);
    if (!why)
        why = check(self);
    if (why)
        return why;
    err e = publish(self);
    return e.code
               ? arena_printf(&self->ctl->arena, "could not save %s: %s", self->path, err_text(e))
               : NULL;
}

/* For people and the mail of cron: what was saved, how large, at which revision. */
static void tell(struct saving *self, uint64_t begin_ns)
{
    static const int fds[] = {STDERR_FILENO};
    const struct log_config config = {
        .level = LOG_INFO, .format = LOG_JSON, .fds = fds, .fd_count = 1};
    struct snapshot_file file;
    const char *why;
    char size[SIZE_TEXT_MAX];
    int64_t revision = 0;
    if (err_ok(snapshot_file_glance(&file, self->path, &self->ctl->arena, &why))) {
        (void)snapshot_file_revision(&file, &revision).code;
        snapshot_file_close(&file);
    }
    size_text(self->offset, size);
    log_init(&config);
    LOGI("saved", LOG_STR("path", self->path), LOG_STR("size", size), LOG_INT("revision", revision),
         LOG_NS("took", (int64_t)(clock_mono_ns() - begin_ns)));
    log_done();
}

int command_run_snapshot_save(struct ctl *ctl, const void *options, struct strings args)
{
    uint64_t begin_ns = clock_mono_ns();
    if (args.count != 1)
        return ctl_fail(CTL_BAD_ARGS, "snapshot save expects one argument <filename>");
    if (ctl->options.endpoints.count > 1)
        return ctl_fail(CTL_INTERRUPTED,
                        "snapshot must be requested to one selected node, not multiple [%s ...]",
                        ctl->options.endpoints.items[0]);
    struct saving saving = {.ctl = ctl, .path = args.items[0], .file.forget = true};
    /* A backup is nobody's hurry: on a member's host the member comes first. */
    (void)!nice(YIELDING_NICE);
    saving.part = arena_printf(&ctl->arena, "%s.part", saving.path);
    err e = io_open(&io_fs_real, IO_CWD, saving.part, IO_WRITE | IO_CREATE | IO_TRUNCATE, FILE_MODE,
                    &saving.file.file);
    if (e.code || !snapshot_digest_init(&saving.digest)) {
        snapshot_digest_done(&saving.digest);
        return ctl_fail(CTL_INTERRUPTED, "could not open %s: %s", saving.part, err_text(e));
    }
    const char *why = save(&saving);
    io_close(&io_fs_real, saving.file.file);
    snapshot_digest_done(&saving.digest);
    if (why) {
        (void)io_unlink(&io_fs_real, IO_CWD, saving.part).code;
        return ctl_fail(CTL_INTERRUPTED, "%s", why);
    }
    tell(&saving, begin_ns);
    (void)printf("Snapshot saved at %s\n", saving.path);
    if (saving.version[0])
        (void)printf("Server version %s\n", saving.version);
    return CTL_OK;
}
