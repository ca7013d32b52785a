/* Opening a store: which files count, where the log ends, what is given up.
 *
 *  1. Names are read. Among segments that overlap the higher generation counts (its name was given
 *     when it was whole); what they cover must begin at 1 and have no gap.
 *  2. The newest good checkpoint says which seq must be there.
 *  3. The last segment is scanned, and what is not known to be synced as the device holds it, past
 *     the page cache: after a failed sync of an earlier life the cache may hold what the disk lost.
 *     The log ends at its last frame; where that closes less than the segments before hold (a
 *     crash within a long entry) the one before is gone on in. It must not end before what the
 *     other files say was durable when they were made: that would be rot, not a torn write.
 *  4. Only when all that is judged good is anything changed: the rest behind the last frame is
 *     zeroed and synced, leftovers are removed. */
#include "base/bug.h"
#include "base/check.h"
#include "base/crc.h"
#include "stage/store_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define DIR_MODE   0700
#define READ_ALIGN 4096 /* direct reads want whole pages of aligned memory */

struct found {
    struct segment_name *segments; /* sorted by first, then generation, higher first */
    size_t segment_count;
    struct segment_name *chosen; /* tile [1, …] */
    size_t chosen_count;
    uint64_t *checkpoints; /* newest first */
    size_t checkpoint_count;
    struct io_names names;
};

struct opening {
    struct stage_store *store;
    struct found found;
    uint64_t synced_seq; /* what must be there */
    struct stage_store_recovery *recovery;
    struct revlog_fault *fault;
};

static void found_done(struct found *self)
{
    free(self->segments);
    free(self->chosen);
    free(self->checkpoints);
    io_names_done(&self->names);
}

static int by_place(const void *a, const void *b)
{
    const struct segment_name *x = a, *y = b;
    if (x->first != y->first)
        return x->first < y->first ? -1 : 1;
    return (x->generation < y->generation) - (x->generation > y->generation);
}

static int newest_first(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x < y) - (x > y);
}

static bool checkpoint_name_parse(const char *text, uint64_t *ret_seq)
{
    if (strlen(text) != 16 + strlen(".checkpoint") || strcmp(text + 16, ".checkpoint") != 0)
        return false;
    uint64_t seq = 0;
    for (int i = 0; i < 16; i++) {
        char c = text[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
        seq = seq << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    *ret_seq = seq;
    return true;
}

static void refuse(struct opening *self, const struct segment_name *name, uint64_t offset,
                   uint64_t seq)
{
    segment_name_print(name, ".seg", self->fault->file);
    self->fault->offset = offset;
    self->fault->seq = seq;
}

/* Of each place the highest generation; the next place is behind its end. */
static err choose(struct opening *self)
{
    struct found *found = &self->found;
    uint64_t next = 1;
    for (size_t i = 0; i < found->segment_count; i++) {
        const struct segment_name *name = &found->segments[i];
        if (name->first < next)
            continue; /* covered by one that was chosen */
        if (name->first > next) {
            refuse(self, name, 0, next);
            return ERR_CORRUPT; /* a file is lost */
        }
        found->chosen[found->chosen_count++] = *name;
        if (name->last == SEGMENT_OPEN)
            break;
        next = name->last + 1;
    }
    return OK;
}

static err names_read(struct opening *self)
{
    struct stage_store *store = self->store;
    struct found *found = &self->found;
    TRY(io_list(store->fs, store->dir, &found->names));
    size_t n = found->names.count;
    found->segments = calloc(n + 1, sizeof(found->segments[0]));
    found->chosen = calloc(n + 1, sizeof(found->chosen[0]));
    found->checkpoints = calloc(n + 1, sizeof(found->checkpoints[0]));
    CHECK(found->segments && found->chosen && found->checkpoints);
    for (size_t i = 0; i < n; i++) {
        const char *text = found->names.names[i].text;
        struct segment_name name;
        uint64_t seq;
        if (segment_name_parse(text, ".seg", &name))
            found->segments[found->segment_count++] = name;
        else if (checkpoint_name_parse(text, &seq))
            found->checkpoints[found->checkpoint_count++] = seq;
    }
    qsort(found->segments, found->segment_count, sizeof(found->segments[0]), by_place);
    qsort(found->checkpoints, found->checkpoint_count, sizeof(uint64_t), newest_first);
    return choose(self);
}

static void vouch(struct opening *self, uint64_t synced_seq)
{
    if (synced_seq > self->synced_seq)
        self->synced_seq = synced_seq;
}

/* The newest that is whole. Damaged ones are passed over: the log has everything. */
static err checkpoint_read(struct opening *self)
{
    struct stage_store *store = self->store;
    for (size_t i = 0; i < self->found.checkpoint_count; i++) {
        char name[STORE_FILE_NAME_BYTES];
        store_checkpoint_name(self->found.checkpoints[i], name);
        struct bytes map;
        err e = store_file_map(store, name, &map);
        if (!err_ok(e) && !err_is(e, ERR_CORRUPT))
            return e;
        if (err_ok(e)) {
            e = checkpoint_reader_init(&store->reader, store->config.owner, map);
            if (err_ok(e)) {
                store->has_reader = true;
                store->reader_map = (void *)(uintptr_t)map.data;
                store->reader_map_bytes = map.len;
                store->checkpoint_size = map.len;
                store->checkpoint_seqs[0] = self->found.checkpoints[i];
                if (i + 1 < self->found.checkpoint_count)
                    store->checkpoint_seqs[1] = self->found.checkpoints[i + 1];
                vouch(self, store->reader.greatest_seq);
                return OK;
            }
            store_unmap(store, map);
        }
        if (err_is(e, ERR_MISMATCH)) {
            (void)snprintf(self->fault->file, sizeof(self->fault->file), "%.63s", name);
            return e;
        }
        self->recovery->checkpoints_refused++;
    }
    return OK;
}

/* ── The last segment ───────────────────────────────────────────────────────────────────────── */

/* The segment that the log ends in: its bytes on the heap, and what the scan made of them. */
struct last {
    uint8_t *bytes;
    size_t len;
    bool scanned;
    struct segment_writer writer; /* its segment's map is `bytes` until a mapping takes over */
    struct segment_scan scan;
};

static void last_forget_scan(struct last *self)
{
    if (!self->scanned)
        return;
    segment_free(self->writer.segment);
    segment_writer_done(&self->writer);
    self->scanned = false;
}

static void last_done(struct last *self)
{
    last_forget_scan(self);
    free(self->bytes);
    self->bytes = NULL;
}

/* Reads [from, …) of the file, by the page cache or past it. */
static err last_bytes(struct stage_store *store, const char *name, bool device, uint64_t from,
                      struct last *last)
{
    int file;
    TRY(io_open(store->fs, store->dir, name, IO_READ, 0, &file));
    struct io_stat stat = {0};
    err e = io_stat(store->fs, file, &stat);
    if (err_ok(e) && (stat.size_bytes < SEGMENT_HEADER_BYTES ||
                      stat.size_bytes > SEGMENT_BYTES_MAX || stat.size_bytes % 8 != 0))
        e = ERR_CORRUPT;
    size_t got = 0;
    if (err_ok(e) && !last->bytes) {
        last->len = stat.size_bytes;
        last->bytes =
            aligned_alloc(READ_ALIGN, (last->len + READ_ALIGN - 1) / READ_ALIGN * READ_ALIGN);
        CHECK(last->bytes != NULL);
    }
    if (err_ok(e) && from < last->len) {
        e = (device ? io_read_device : io_read)(store->fs, file, last->bytes + from,
                                                last->len - from, from, &got);
        if (err_ok(e) && got != last->len - from)
            e = ERR_IO;
    }
    io_close(store->fs, file);
    return e;
}

static err last_scan(struct opening *self, const struct segment_name *name, struct last *last)
{
    struct segment_name open = *name;
    open.last = SEGMENT_OPEN;
    struct segment_fault fault;
    struct bytes bytes = bytes_of(last->bytes, last->len);
    err e = segment_writer_scan(&last->writer, open, self->store->config.owner, self->synced_seq,
                                bytes, bytes, &last->scan, &fault);
    last->scanned = err_ok(e);
    if (!err_ok(e))
        refuse(self, name, fault.offset, fault.seq);
    return e;
}

/* Reads the last segment as it counts. What somebody vouches for may come out of the page cache;
 * what lies behind that, or all where the cache shows bad bytes, is read as the device holds it. */
static err last_read(struct opening *self, const struct segment_name *name, struct last *last)
{
    struct stage_store *store = self->store;
    char file[SEGMENT_NAME_BYTES];
    segment_name_print(name, ".seg", file);
    refuse(self, name, 0, name->first); /* until better is known */
    TRY(last_bytes(store, file, false, 0, last));
    err e = last_scan(self, name, last);
    if (err_is(e, ERR_MISMATCH))
        return e;
    uint64_t from = err_ok(e) ? last->scan.vouched_end / READ_ALIGN * READ_ALIGN : 0;
    uint32_t cached = crc32c(0, bytes_of(last->bytes + from, last->len - from));
    TRY(last_bytes(store, file, true, from, last));
    if (err_ok(e) && cached == crc32c(0, bytes_of(last->bytes + from, last->len - from)))
        return OK;
    last_forget_scan(last);
    return last_scan(self, name, last);
}

/* How many of the chosen segments count: those behind the one that the log ends in hold only
 * records of an entry that no frame closed. */
static err find_last(struct opening *self, size_t *ret_count, struct last *ret_last)
{
    struct found *found = &self->found;
    for (size_t count = found->chosen_count; count > 0; count--) {
        struct last last = {0};
        err e = last_read(self, &found->chosen[count - 1], &last);
        if (err_ok(e) && last.scan.frame.seq + 1 >= found->chosen[count - 1].first) {
            *ret_count = count;
            *ret_last = last;
            return OK;
        }
        last_done(&last);
        TRY(e);
    }
    refuse(self, &found->chosen[0], 0, 1);
    return ERR_CORRUPT; /* a log whose first segment begins with a frame about changes before it */
}

static err zero_behind(struct stage_store *store, int file, uint64_t from, struct bytes bytes,
                       uint64_t *ret_cut)
{
    uint64_t end = bytes.len;
    while (end > from && bytes.data[end - 1] == 0)
        end--;
    *ret_cut = end - from;
    static const uint8_t zeros[65536];
    while (from < end) {
        size_t n = end - from < sizeof(zeros) ? (size_t)(end - from) : sizeof(zeros);
        TRY(io_write_bytes(store->fs, file, bytes_of(zeros, n), from));
        from += n;
    }
    return OK;
}

/* Gets the last segment ready to be appended to. From here on the disk is changed. */
static err go_on_in(struct opening *self, struct segment_name name, struct last *last)
{
    struct stage_store *store = self->store;
    char file[SEGMENT_NAME_BYTES], sealed[SEGMENT_NAME_BYTES], row[SEGMENT_NAME_BYTES];
    segment_name_print(&name, ".seg", sealed);
    segment_name_print(&name, ".row", row);
    bool was_sealed = name.last != SEGMENT_OPEN;
    name.last = SEGMENT_OPEN;
    segment_name_print(&name, ".seg", file);
    if (was_sealed) {
        TRY(io_rename(store->fs, store->dir, sealed, store->dir, file));
        store_file_unlink(store, row);
        TRY(io_sync_dir(store->fs, store->dir));
    }
    struct io_bulk bulk = {0};
    TRY(io_open(store->fs, store->dir, file, IO_READ | IO_WRITE, 0, &bulk.file));
    store->open_file = bulk;
    void *address;
    TRY(io_map(store->fs, bulk.file, IO_MAP_READ | IO_MAP_RANDOM, 0, last->len, &address));
    store_conf_state_set(&store->frame, &last->scan.frame);
    store->writer = last->writer;
    last->scanned = false; /* the store's now */
    store->writer.segment->map = bytes_of(address, last->len);
    store_files_attach(store, store->writer.segment);
    store->is_open = true;
    if (last->scan.dirty)
        TRY(zero_behind(store, bulk.file, last->scan.frame_end, bytes_of(last->bytes, last->len),
                        &self->recovery->cut_bytes));
    return io_sync(store->fs, bulk.file);
}

/* ── Sealed segments ────────────────────────────────────────────────────────────────────────── */

/* The row file is lost or damaged: made anew out of the records, all of which must be good. */
static err rows_rebuild(struct opening *self, const struct segment_name *name)
{
    struct stage_store *store = self->store;
    char file[SEGMENT_NAME_BYTES], row[SEGMENT_NAME_BYTES];
    segment_name_print(name, ".seg", file);
    segment_name_print(name, ".row", row);
    struct bytes map;
    err e = store_file_map(store, file, &map);
    if (!err_ok(e)) {
        refuse(self, name, 0, name->first);
        return e;
    }
    struct segment_writer writer;
    struct segment_scan scan;
    struct segment_fault fault;
    e = segment_writer_scan(&writer, *name, store->config.owner, 0, map, map, &scan, &fault);
    if (err_ok(e)) {
        struct buf rows AUTO(buf_done);
        buf_init(&rows, 0);
        segment_row_file_encode(writer.segment, name, &rows);
        e = store_file_make(store, row, buf_bytes(&rows));
        segment_free(writer.segment);
        segment_writer_done(&writer);
    } else {
        refuse(self, name, fault.offset, fault.seq);
    }
    store_unmap(store, map);
    return e;
}

static void dead_load(struct opening *self, struct segment *segment)
{
    struct stage_store *store = self->store;
    char name[SEGMENT_NAME_BYTES];
    segment_name_print(&segment->name, ".dead", name);
    struct bytes map;
    if (!err_ok(store_file_map(store, name, &map)))
        return; /* nothing was cleaned on the strength of it, or rot took it: hashes will tell */
    struct dead_file about;
    if (err_ok(dead_file_apply(segment, map, &about))) {
        store_files_of(segment)->saved_floor = about.floor;
        vouch(self, about.synced);
    }
    store_unmap(store, map);
}

static err sealed_open(struct opening *self, const struct segment_name *name)
{
    struct stage_store *store = self->store;
    struct segment *segment;
    err e = store_sealed_open(store, name, NULL, &segment);
    if (err_is(e, ERR_NOT_FOUND) || err_is(e, ERR_CORRUPT)) {
        TRY(rows_rebuild(self, name));
        e = store_sealed_open(store, name, NULL, &segment);
    }
    if (!err_ok(e)) {
        refuse(self, name, 0, name->first);
        return e;
    }
    store->segments[store->segment_count++] = segment;
    vouch(self, segment->synced);
    dead_load(self, segment);
    return OK;
}

/* Dead bits that the checkpoint saw. A segment may have been sealed since, which adds rows. */
static err dead_from_checkpoint(struct stage_store *store)
{
    if (!store->has_reader)
        return OK;
    checkpoint_reader_segments(&store->reader);
    for (;;) {
        struct checkpoint_segment seen;
        bool found;
        TRY(checkpoint_reader_segment(&store->reader, &seen, &found));
        if (!found)
            return OK;
        for (unsigned i = 0; i < store->segment_count; i++) {
            struct segment *segment = store->segments[i];
            if (segment->name.first == seen.name.first &&
                segment->name.generation == seen.name.generation)
                dead_words_apply(segment, seen.rows, seen.dead);
        }
    }
}

/* ── All together ───────────────────────────────────────────────────────────────────────────── */

static bool is_chosen(const struct found *found, size_t count, const struct segment_name *name)
{
    for (size_t i = 0; i < count; i++) {
        const struct segment_name *chosen = &found->chosen[i];
        if (chosen->first == name->first && chosen->generation == name->generation &&
            chosen->last == name->last)
            return true;
    }
    return false;
}

/* Removes what no longer counts: unfinished files, segments that were cleaned or undone, damaged
 * checkpoints. */
static void leftovers_remove(struct opening *self, size_t count)
{
    struct found *found = &self->found;
    for (size_t i = 0; i < found->names.count; i++) {
        const char *text = found->names.names[i].text;
        size_t len = strlen(text);
        struct segment_name name;
        uint64_t seq;
        bool gone = len > 4 && strcmp(text + len - 4, ".tmp") == 0;
        if (segment_name_parse(text, ".seg", &name))
            gone = !is_chosen(found, count, &name);
        else if (segment_name_parse(text, ".row", &name) ||
                 segment_name_parse(text, ".dead", &name))
            gone = !is_chosen(found, count, &name);
        else if (checkpoint_name_parse(text, &seq))
            gone = seq != self->store->checkpoint_seqs[0] && seq != self->store->checkpoint_seqs[1];
        if (gone)
            store_file_unlink(self->store, text);
    }
}

/* Removes the chosen segments behind the first `count`, the last one first and each durably before
 * the next: a gap among them would be taken for lost data by the start after one that ends here. */
static err chain_cut(struct opening *self, size_t count)
{
    struct stage_store *store = self->store;
    struct found *found = &self->found;
    for (size_t i = found->chosen_count; i > count; i--) {
        char file[SEGMENT_NAME_BYTES];
        segment_name_print(&found->chosen[i - 1], ".seg", file);
        store_file_unlink(store, file);
        TRY(io_sync_dir(store->fs, store->dir));
    }
    return OK;
}

static err load(struct opening *self)
{
    struct stage_store *store = self->store;
    struct found *found = &self->found;
    TRY(names_read(self));
    TRY(checkpoint_read(self));
    if (!found->chosen_count) {
        self->recovery->is_new = true;
        if (!self->synced_seq)
            leftovers_remove(self, 0);
        return self->synced_seq ? ERR_CORRUPT : OK;
    }
    struct last last AUTO(last_done) = {0};
    size_t count;
    TRY(find_last(self, &count, &last));
    store->segments = calloc(count + 64, sizeof(struct segment *));
    CHECK(store->segments != NULL);
    store->segment_capacity = (unsigned)count + 64;
    for (size_t i = 0; i + 1 < count; i++)
        TRY(sealed_open(self, &found->chosen[i]));
    if (last.scan.frame.seq < self->synced_seq) {
        refuse(self, &found->chosen[count - 1], last.scan.frame_end, last.scan.frame.seq + 1);
        return ERR_CORRUPT;
    }
    TRY(chain_cut(self, count));
    leftovers_remove(self, count);
    TRY(io_sync_dir(store->fs, store->dir));
    TRY(go_on_in(self, found->chosen[count - 1], &last));
    store->segments[store->segment_count++] = store->writer.segment;
    return dead_from_checkpoint(store);
}

/* Of a segment's bytes those of its records from `seq` on: what a checkpoint does not hold. */
static uint64_t bytes_from(const struct segment *segment, uint64_t seq)
{
    uint64_t end = atomic_load(&segment->end);
    uint32_t row = segment_row_find(segment, seq);
    if (row == segment_row_count(segment))
        return 0;
    uint64_t offset = (uint64_t)segment_row_at(segment, row)->offset8 * 8;
    return end > offset ? end - offset : 0;
}

static void recovery_fill(struct stage_store *store, struct stage_store_recovery *recovery)
{
    store->written_seq = store->synced_seq = store->frame.seq;
    store->synced_index = store->frame.index;
    store->want_seq = store->written_seq;
    recovery->frame = store->frame;
    recovery->log = store->log = revlog_new(store->config.epoch, NULL);
    if (store->segment_count)
        revlog_install(store->log, 1, SEGMENT_OPEN, store->segments, store->segment_count);
    recovery->checkpoint = store->has_reader ? &store->reader : NULL;
    recovery->replay_from = store->has_reader ? store->reader.info.seq + 1 : 1;
    for (unsigned i = 0; i < store->segment_count; i++)
        if (store->segments[i]->name.last >= recovery->replay_from)
            store->log_bytes += bytes_from(store->segments[i], recovery->replay_from);
    if (store->has_reader)
        store->floor = store->reader.info.floor;
}

static err make_dir(const struct io_fs *fs, const char *path)
{
    err e = io_mkdir(fs, IO_CWD, path, DIR_MODE);
    if (!err_is(e, ERR_EXISTS))
        TRY(e);
    else if (BUG(snapshot_unstaged))
        return OK;
    /* One that is there may have been made by a process that ended before this. */
    char *parent = strdup(path);
    CHECK(parent != NULL);
    char *slash = strrchr(parent, '/');
    if (slash && slash != parent)
        *slash = 0;
    int dir;
    e = io_open(fs, IO_CWD, slash ? parent : ".", IO_READ | IO_DIRECTORY, 0, &dir);
    free(parent);
    TRY(e);
    e = io_sync_dir(fs, dir);
    io_close(fs, dir);
    return e;
}

/* Frees what a refused opening has made; nothing was published. */
static void opening_undo(struct stage_store *store)
{
    bool open_is_listed = store->is_open && store->segment_count &&
                          store->segments[store->segment_count - 1] == store->writer.segment;
    for (unsigned i = 0; i < store->segment_count; i++)
        segment_unref(store->segments[i]);
    if (store->is_open && !open_is_listed)
        segment_unref(store->writer.segment);
    stage_store_free(store);
}

err stage_store_open(const struct stage_store_config *config, uint64_t synced_seq,
                     struct stage_store **ret_store, struct stage_store_recovery *ret_recovery,
                     struct revlog_fault *ret_fault)
{
    TRY(make_dir(config->fs, config->dir));
    int dir;
    TRY(io_open(config->fs, IO_CWD, config->dir, IO_READ | IO_DIRECTORY, 0, &dir));
    struct stage_store *store = calloc(1, sizeof(*store));
    CHECK(store != NULL);
    store->config = *config;
    store->fs = config->fs;
    store->source = config->source;
    store->dir = dir;
    store->dir_name = strdup(config->dir);
    CHECK(store->dir_name != NULL);
    store->open_file.file = -1;
    store->config.dir = store->dir_name;
    store->frame.compact_revision = -1;
    prng_init(&store->prng, config->seed);
    mailbox_init(&store->jobs, store_wake, store);
    mailbox_init(&store->released, store_wake, store);
    CHECK(sem_init(&store->wake, 0, 0) == 0);
    store->slot = epoch_register(config->epoch);

    struct stage_store_recovery recovery = {0};
    *ret_fault = (struct revlog_fault){0};
    struct opening opening = {
        .store = store, .synced_seq = synced_seq, .recovery = &recovery, .fault = ret_fault};
    err e = load(&opening);
    found_done(&opening.found);
    if (!err_ok(e)) {
        opening_undo(store);
        return e;
    }
    recovery_fill(store, &recovery);
    *ret_store = store;
    *ret_recovery = recovery;
    return OK;
}
