/* A log's first and next lives: made whole or not at all, opened without a change, prepared. */
#include "stage/log_priv.h"

#include "base/bug.h"
#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>

#define READ_BYTES ((size_t)1 << 20)
#define HEAD_BYTES 4096

static uint64_t segment_bytes_of(const struct stage_log_config *config)
{
    return config->segment_bytes ? config->segment_bytes : WAL_SEGMENT_BYTES;
}

static uint64_t room_bytes_of(const struct stage_log_config *config)
{
    uint64_t segment_bytes = segment_bytes_of(config);
    return (segment_bytes + LOG_SLACK_BYTES(segment_bytes) + 4095) & ~(uint64_t)4095;
}

/* ---- names ------------------------------------------------------------------------------------
 */

/* The names of the segments in a directory, ascending; the caller frees them. */
static err segment_names(const struct io_fs *fs, int dir, struct wal_name **ret_names,
                         size_t *ret_count)
{
    struct io_names names;
    TRY(io_list(fs, dir, &names));
    struct wal_name *found = calloc(names.count ? names.count : 1, sizeof(*found));
    CHECK(found);
    size_t count = 0;
    for (size_t i = 0; i < names.count; i++)
        if (wal_name_parse(names.names[i].text, &found[count]))
            count++;
    io_names_done(&names);
    *ret_names = found;
    *ret_count = count;
    return OK;
}

err stage_log_exists(const struct io_fs *fs, const char *dir, bool *ret_exists)
{
    int file;
    err e = io_open(fs, IO_CWD, dir, IO_READ | IO_DIRECTORY, 0, &file);
    if (err_is(e, ERR_NOT_FOUND)) {
        *ret_exists = false;
        return OK;
    }
    TRY(e);
    struct wal_name *names = NULL;
    size_t count = 0;
    e = segment_names(fs, file, &names, &count);
    free(names);
    io_close(fs, file);
    TRY(e);
    *ret_exists = count > 0;
    return OK;
}

/* ---- creation -----------------------------------------------------------------------------------
 */

/* A directory of plain files and all that is in it; absent is fine. */
static err directory_remove(const struct io_fs *fs, int parent, const char *name)
{
    int dir;
    err e = io_open(fs, parent, name, IO_READ | IO_DIRECTORY, 0, &dir);
    if (err_is(e, ERR_NOT_FOUND))
        return OK;
    TRY(e);
    struct io_names names;
    e = io_list(fs, dir, &names);
    if (err_ok(e)) {
        for (size_t i = 0; err_ok(e) && i < names.count; i++)
            e = io_unlink(fs, dir, names.names[i].text);
        io_names_done(&names);
    }
    io_close(fs, dir);
    TRY(e);
    return io_rmdir(fs, parent, name);
}

static err bootstrap_plan(struct wal_plan *plan, const struct stage_log_bootstrap *bootstrap)
{
    const struct wal_snapshot none = {0};
    wal_plan_open(plan, 0);
    TRY(wal_plan_snapshot(plan, &none));
    for (size_t i = 0; i < bootstrap->entry_count; i++) {
        struct wal_place place;
        TRY(wal_plan_entry(plan, &bootstrap->entries[i], &place));
    }
    /* Before the state, which then says that the snapshot counts. */
    if (bootstrap->snapshot)
        TRY(wal_plan_snapshot(plan, bootstrap->snapshot));
    wal_plan_state(plan, &bootstrap->state);
    return OK;
}

static err bootstrap_write(const struct stage_log_config *config, int dir, struct wal_plan *plan)
{
    const struct io_fs *fs = config->fs;
    char name[WAL_NAME_BYTES];
    int file;
    wal_name_format((struct wal_name){0, 0}, name);
    TRY(io_open(fs, dir, name, IO_READ | IO_WRITE | IO_CREATE | IO_EXCLUSIVE, 0600, &file));
    size_t count = 0;
    struct iovec *pieces = wal_plan_pieces(plan, &count);
    /* Only allocated, not written with zeros: a new member starts within milliseconds. */
    err e = io_allocate(fs, file, IO_ALLOCATE_GROW, 0, room_bytes_of(config));
    if (err_is(e, ERR_UNSUPPORTED))
        e = io_truncate(fs, file, room_bytes_of(config));
    if (err_ok(e))
        e = io_write(fs, file, pieces, count, 0);
    if (err_ok(e))
        e = io_sync(fs, file);
    io_close(fs, file);
    TRY(e);
    return io_sync_dir(fs, dir);
}

/* Splits DIR into its parent, open, and its last name, which lies in the copy of the path. */
static err parent_open(const struct io_fs *fs, char *path, int *ret_parent, const char **ret_name)
{
    size_t len = strlen(path);
    while (len > 1 && path[len - 1] == '/')
        path[--len] = 0;
    char *slash = strrchr(path, '/');
    const char *parent = ".";
    if (slash == path) {
        parent = "/";
    } else if (slash) {
        *slash = 0;
        parent = path;
    }
    *ret_name = slash ? slash + 1 : path;
    return io_open(fs, IO_CWD, parent, IO_READ | IO_DIRECTORY, 0, ret_parent);
}

static err create_in(const struct stage_log_config *config, int parent, const char *name,
                     struct wal_plan *plan)
{
    const struct io_fs *fs = config->fs;
    char temporary[IO_NAME_BYTES_MAX + 1];
    int n = snprintf(temporary, sizeof(temporary), "%s.tmp", name);
    if (n < 0 || (size_t)n >= sizeof(temporary))
        return ERR_LIMIT;
    TRY(directory_remove(fs, parent, temporary));
    TRY(io_mkdir(fs, parent, temporary, 0700));
    int dir;
    TRY(io_open(fs, parent, temporary, IO_READ | IO_DIRECTORY, 0, &dir));
    err e = bootstrap_write(config, dir, plan);
    io_close(fs, dir);
    TRY(e);
    /* An empty directory of that name is replaced: it may be a mount's or an operator's. */
    TRY(io_rename(fs, parent, temporary, parent, name));
    return io_sync_dir(fs, parent);
}

err stage_log_create(const struct stage_log_config *config,
                     const struct stage_log_bootstrap *bootstrap)
{
    bool exists;
    TRY(stage_log_exists(config->fs, config->dir, &exists));
    if (exists)
        return ERR_EXISTS;
    struct wal_plan plan;
    wal_plan_init(&plan, bootstrap->metadata);
    err e = bootstrap_plan(&plan, bootstrap);
    char *path = strdup(config->dir);
    CHECK(path);
    int parent;
    const char *name;
    if (err_ok(e))
        e = parent_open(config->fs, path, &parent, &name);
    if (err_ok(e)) {
        e = create_in(config, parent, name, &plan);
        io_close(config->fs, parent);
    }
    free(path);
    wal_plan_done(&plan);
    return e;
}

/* ---- opening
 * -------------------------------------------------------------------------------------- */

/* Opens and locks the segments that follow each other without a gap up to the last one: what lies
 * before a gap was on its way out. */
static err segments_hold(struct stage_log *self)
{
    const struct io_fs *fs = self->config.fs;
    struct wal_name *names;
    size_t count;
    TRY(segment_names(fs, self->dir, &names, &count));
    size_t start = wal_names_run(names, count);
    err e = count ? OK : ERR_NOT_FOUND;
    for (size_t i = start; err_ok(e) && i < count; i++) {
        char text[WAL_NAME_BYTES];
        int file;
        wal_name_format(names[i], text);
        e = io_open(fs, self->dir, text, IO_READ | IO_WRITE, 0, &file);
        if (err_ok(e)) {
            log_held_add(self, names[i], file);
            e = io_lock(fs, file);
        }
    }
    free(names);
    return e;
}

/* One run of a file's bytes into place, past the page cache: after a failed sync that holds clean
 * pages which the device does not have. Zeros of a prewritten file are left out, so that their
 * pages cost no memory. */
static err run_read(const struct io_fs *fs, int file, uint64_t from, uint64_t to, uint8_t *part,
                    uint8_t *bytes, size_t *used)
{
    while (from < to) {
        size_t wanted = to - from < READ_BYTES ? (size_t)(to - from) : READ_BYTES, got = 0;
        TRY(io_read_device(fs, file, part, wanted, from, &got));
        if (got == 0)
            return OK; /* it shrank: the rest reads as zeros */
        /* All equal to its first byte, and that is zero. */
        if (part[0] || memcmp(part, part + 1, got - 1) != 0) {
            memcpy(bytes + from, part, got);
            *used = (size_t)from + got;
        }
        from += got;
    }
    return OK;
}

/* The last segment's bytes; only zeros lie behind the first *ret_used of *ret_len. A file that is
 * only allocated is read where it was written. */
static err tail_read(const struct io_fs *fs, int file, uint8_t **ret_bytes, size_t *ret_used,
                     size_t *ret_len)
{
    struct io_stat stat;
    TRY(io_stat(fs, file, &stat));
    if (stat.size_bytes > UINT32_MAX)
        return ERR_CORRUPT;
    size_t len = (size_t)stat.size_bytes, used = 0;
    uint8_t *bytes = calloc(1, len ? len : 1);
    uint8_t *part = malloc(READ_BYTES);
    CHECK(bytes && part);
    uint64_t from = 0, to = 0;
    err e = io_data_run(fs, file, 0, &from, &to);
    while (err_ok(e) && from < len) {
        e = run_read(fs, file, from, to < len ? to : len, part, bytes, &used);
        if (err_ok(e))
            e = io_data_run(fs, file, to, &from, &to);
    }
    free(part);
    if (!err_ok(e)) {
        free(bytes);
        return e;
    }
    *ret_bytes = bytes;
    *ret_used = used;
    *ret_len = len;
    return OK;
}

/* A closed segment was synced before its successor was made: the page cache will do. */
static err closed_replay(struct stage_log *self, const struct log_held *held, uint64_t *ret_len)
{
    const struct io_fs *fs = self->config.fs;
    struct io_stat stat;
    void *address = NULL;
    TRY(io_stat(fs, held->file, &stat));
    size_t len = (size_t)stat.size_bytes;
    if (len)
        TRY(io_map(fs, held->file, IO_MAP_READ, 0, len, &address));
    err e = wal_replay_segment(&self->replay, held->name, bytes_of(address, len), false, NULL);
    if (len)
        io_unmap(fs, address, len);
    *ret_len = len;
    return e;
}

static err tail_replay(struct stage_log *self, const struct log_held *held)
{
    uint8_t *bytes;
    size_t used, len;
    TRY(tail_read(self->config.fs, held->file, &bytes, &used, &len));
    err e = wal_replay_segment(&self->replay, held->name, bytes_of(bytes, used), true, &self->tail);
    free(bytes);
    self->file_bytes = len;
    return e;
}

static err segments_replay(struct stage_log *self)
{
    for (size_t i = 0; i + 1 < self->held_count; i++) {
        uint64_t len;
        TRY(closed_replay(self, &self->held[i], &len));
        log_segment_add(self, self->held[i].name, len);
    }
    const struct log_held *last = &self->held[self->held_count - 1];
    TRY(tail_replay(self, last));
    log_segment_add(self, last->name, self->tail.offset);
    return OK;
}

static void recovery_fill(struct stage_log *self, struct stage_log_recovery *ret_recovery)
{
    const struct wal_places *entries = &self->places;
    *ret_recovery = (struct stage_log_recovery){
        .metadata = buf_bytes(&self->replay.metadata),
        .state = self->replay.state,
        .snapshot = wal_replay_snapshot(&self->replay),
        .first_index = entries->base_index + 1,
        .last_index = wal_places_last_index(entries),
        .last_term = wal_places_last_term(entries),
    };
    if (self->tail.cut) {
        ret_recovery->cut = self->replay.fault;
        ret_recovery->cut_bytes = self->tail.cut_bytes;
    }
}

static struct stage_log *log_new(const struct stage_log_config *config)
{
    struct stage_log *self = calloc(1, sizeof(*self));
    CHECK(self);
    self->config = *config;
    self->config.segment_bytes = segment_bytes_of(config);
    if (!self->config.batch_bytes_max)
        self->config.batch_bytes_max = (uint64_t)8 << 20;
    if (!self->config.idle_mark_ms)
        self->config.idle_mark_ms = 100;
    self->dir_path = strdup(config->dir);
    CHECK(self->dir_path);
    self->config.dir = self->dir_path;
    self->dir = -1;
    self->room_bytes = room_bytes_of(config);
    self->waiting_end = &self->waiting;
    wal_replay_init(&self->replay);
    buf_init(&self->head_metadata, HEAD_BYTES);
    wal_places_init(&self->places, 0, 0);
    wal_plan_init(&self->plan, BYTES_NONE);
    CHECK(sem_init(&self->wake, 0, 0) == 0);
    CHECK(pthread_mutex_init(&self->jobs_lock, NULL) == 0);
    CHECK(pthread_cond_init(&self->jobs_ended, NULL) == 0);
    mailbox_init(&self->inbox, log_thread_wake, self);
    return self;
}

/* The metadata in the head of the last segment; what is wrong with it shows when it is read. */
static err head_read(struct stage_log *self)
{
    const struct log_held *last = &self->held[self->held_count - 1];
    uint8_t head[HEAD_BYTES];
    size_t got = 0;
    TRY(io_read(self->config.fs, last->file, head, sizeof(head), 0, &got));
    struct wal_record crc, metadata;
    struct bytes bytes = bytes_of(head, got);
    if (err_ok(wal_record_parse(bytes, &crc)) && crc.type == WAL_CRC &&
        err_ok(wal_record_parse(bytes_skip(bytes, crc.frame_bytes), &metadata)) &&
        metadata.type == WAL_METADATA)
        CHECK(err_ok(buf_append(&self->head_metadata, metadata.data)));
    return OK;
}

err stage_log_lock(const struct stage_log_config *config, struct stage_log **ret_log,
                   struct bytes *ret_metadata)
{
    struct stage_log *self = log_new(config);
    err e = io_open(config->fs, IO_CWD, config->dir, IO_READ | IO_DIRECTORY, 0, &self->dir);
    if (!err_ok(e))
        self->dir = -1;
    if (err_ok(e))
        e = segments_hold(self);
    if (err_ok(e))
        e = head_read(self);
    if (!err_ok(e)) {
        stage_log_free(self);
        return e;
    }
    *ret_log = self;
    *ret_metadata = buf_bytes(&self->head_metadata);
    return OK;
}

err stage_log_read(struct stage_log *self, struct stage_log_recovery *ret_recovery,
                   struct wal_fault *ret_fault)
{
    err e = segments_replay(self);
    if (!err_ok(e)) {
        if (err_is(e, ERR_CORRUPT))
            *ret_fault = self->replay.fault;
        return e;
    }
    self->places = self->replay.entries;
    wal_places_init(&self->replay.entries, 0, 0);
    recovery_fill(self, ret_recovery);
    return OK;
}

err stage_log_open(const struct stage_log_config *config, struct stage_log **ret_log,
                   struct stage_log_recovery *ret_recovery, struct wal_fault *ret_fault)
{
    struct stage_log *self;
    struct bytes metadata;
    TRY(stage_log_lock(config, &self, &metadata));
    err e = stage_log_read(self, ret_recovery, ret_fault);
    if (!err_ok(e)) {
        stage_log_free(self);
        return e;
    }
    *ret_log = self;
    return OK;
}

/* ---- preparing
 * -------------------------------------------------------------------------------------- */

/* What is about to be cut, beside the log, for people. */
static err cut_keep(struct stage_log *self, const struct log_held *last)
{
    const struct io_fs *fs = self->config.fs;
    char name[WAL_NAME_BYTES + 8];
    int kept;
    wal_name_format(last->name, name);
    (void)snprintf(name + strlen(name), 8, ".broken");
    uint8_t *bytes;
    size_t used, len;
    TRY(tail_read(fs, last->file, &bytes, &used, &len));
    err e = io_open(fs, self->dir, name, IO_WRITE | IO_CREATE | IO_TRUNCATE, 0600, &kept);
    if (err_ok(e)) {
        uint64_t end = self->tail.offset + self->tail.cut_bytes;
        e = io_write_bytes(fs, kept, bytes_of(bytes, end < len ? (size_t)end : len), 0);
        if (err_ok(e))
            e = io_sync(fs, kept);
        io_close(fs, kept);
    }
    free(bytes);
    TRY(e);
    return io_sync_dir(fs, self->dir);
}

/* The last segment's file as appending wants it: zeros to the end of its room, all synced. */
static err tail_prepare(struct stage_log *self)
{
    const struct io_fs *fs = self->config.fs;
    const struct log_held *last = &self->held[self->held_count - 1];
    const struct wal_tail *tail = &self->tail;
    if (tail->cut && !BUG(log_tail_left)) {
        TRY(cut_keep(self, last));
        TRY(log_files_zero(fs, last->file, tail->offset, tail->offset + tail->cut_bytes));
    }
    if (self->file_bytes < self->room_bytes) {
        err e = io_allocate(fs, last->file, IO_ALLOCATE_GROW, 0, self->room_bytes);
        if (err_is(e, ERR_UNSUPPORTED))
            e = io_truncate(fs, last->file, self->room_bytes);
        TRY(e);
        self->file_bytes = self->room_bytes;
    }
    return io_sync(fs, last->file);
}

/* The spare is zeroed again before use; nothing else of that kind stays. */
static err temporaries_remove(struct stage_log *self)
{
    const struct io_fs *fs = self->config.fs;
    struct io_names names;
    TRY(io_list(fs, self->dir, &names));
    err e = OK;
    for (size_t i = 0; err_ok(e) && i < names.count; i++) {
        const char *text = names.names[i].text;
        size_t len = strlen(text);
        if (len > 4 && strcmp(text + len - 4, ".tmp") == 0 && strcmp(text, LOG_SPARE_NAME) != 0)
            e = io_unlink(fs, self->dir, text);
    }
    io_names_done(&names);
    return e;
}

/* A life that ended between naming a segment, or the log, and making the name durable left that
 * to us: what we sync into a file is worth no more than its name. */
static err names_sync(struct stage_log *self)
{
    const struct io_fs *fs = self->config.fs;
    const char *name;
    int parent;
    TRY(io_sync_dir(fs, self->dir));
    char *path = strdup(self->dir_path);
    CHECK(path);
    err e = parent_open(fs, path, &parent, &name);
    free(path);
    TRY(e);
    e = io_sync_dir(fs, parent);
    io_close(fs, parent);
    return e;
}

err stage_log_prepare(struct stage_log *self)
{
    const struct log_held *last = &self->held[self->held_count - 1];
    TRY(tail_prepare(self));
    TRY(temporaries_remove(self));
    TRY(names_sync(self));
    self->plan.metadata = buf_bytes(&self->replay.metadata);
    wal_plan_resume(&self->plan, last->name.sequence, self->tail.offset, self->tail.crc,
                    &self->replay.state);
    wal_plan_written(&self->plan, true);
    self->last_index = wal_places_last_index(&self->places);
    return OK;
}

void stage_log_free(struct stage_log *self)
{
    if (!self)
        return;
    CHECK(!self->thread_runs && !self->flying);
    log_files_done(self);
    for (struct mailbox_node *node = self->waiting; node;) {
        struct stage_log_reply *reply = LIST_ENTRY(node, struct stage_log_reply, node);
        node = node->next;
        stage_log_batch_free(LIST_ENTRY(reply, struct stage_log_batch, reply));
    }
    if (atomic_load(&self->spare_state) == LOG_SPARE_READY)
        io_close(self->config.fs, self->spare_file);
    for (size_t i = 0; i < self->held_count; i++)
        io_close(self->config.fs, self->held[i].file);
    if (self->dir >= 0)
        io_close(self->config.fs, self->dir);
    log_read_done(self);
    wal_replay_done(&self->replay);
    buf_done(&self->head_metadata);
    wal_plan_done(&self->plan);
    sem_destroy(&self->wake);
    pthread_mutex_destroy(&self->jobs_lock);
    pthread_cond_destroy(&self->jobs_ended);
    free(self->held);
    free(self->dir_path);
    free(self);
}
