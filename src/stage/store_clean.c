#include "base/bug.h"
#include "base/check.h"
#include "stage/store_priv.h"

#include <stdio.h>
#include <stdlib.h>

#define DEAD_PERCENT            50
#define DEAD_PERCENT_DEFRAGMENT 5
#define CARRY_ROWS              65536

/* Our own list as cleaning_pick sees it: what may be cleaned is closed by a frame and durable, and
 * never the segment that a start would go on in. */
static struct segment_table *table_of(const struct stage_store *self)
{
    struct segment_table *table = segment_table_new(self->segment_count);
    for (unsigned i = 0; i < self->segment_count; i++) {
        struct segment *segment = self->segments[i];
        if (segment->name.last > self->frame.seq || segment->name.last > self->synced_seq ||
            (!self->is_open && i + 1 == self->segment_count))
            break;
        segment_table_put(table, segment);
    }
    return table;
}

/* As far as the kept checkpoints and the floor let deletions go. */
static uint64_t tombstone_limit(const struct stage_store *self)
{
    uint64_t limit = self->checkpoint_seqs[1]; /* the older one; 0 where there are not two */
    if (BUG(tombstone_cleaned_early))
        return self->floor;
    return limit < self->floor ? limit : self->floor;
}

static void output_discard(struct stage_store *self)
{
    struct store_clean *clean = &self->clean;
    if (!clean->writer.segment)
        return;
    store_unmap(self, clean->writer.segment->map);
    segment_free(clean->writer.segment);
    segment_writer_done(&clean->writer);
    io_close(self->fs, clean->file.file);
    store_file_unlink(self, clean->tmp);
}

static void ahead_close(struct stage_store *self)
{
    struct store_clean *clean = &self->clean;
    if (clean->ahead.is_open)
        io_close(self->fs, clean->ahead.file);
    clean->ahead.is_open = false;
    free(clean->ahead.bytes);
    clean->ahead.bytes = NULL;
}

static void stop(struct stage_store *self)
{
    ahead_close(self);
    self->clean.step = CLEAN_IDLE;
    self->clean.due = false;
    if (self->clean.defragment)
        store_reply(self)->status.cleaned = true;
    self->clean.defragment = false;
}

static bool start(struct stage_store *self)
{
    struct store_clean *clean = &self->clean;
    bool asked = clean->defragment;
    if (!clean->due)
        return false;
    if (clean->blocked) {
        stop(self);
        return asked;
    }
    struct cleaning_limits limits = {
        .segment_bytes = store_segment_bytes(self),
        .floor = self->floor,
        .tombstone_limit = tombstone_limit(self),
        .dead_percent = clean->defragment ? DEAD_PERCENT_DEFRAGMENT : DEAD_PERCENT,
    };
    struct segment_table *table = table_of(self);
    bool found = cleaning_pick(table, &limits, &clean->plan);
    if (found)
        cleaning_run_init(&clean->run, table, &clean->plan, &limits);
    free(table);
    if (!found) {
        stop(self);
        return asked; /* its reply is to go out */
    }
    clean->next = 0;
    clean->floor = self->floor;
    clean->step = CLEAN_SAVE_DEAD;
    return true;
}

/* Older segments say on the disk what is dead in them before anything behind them goes. */
static void save_dead(struct stage_store *self)
{
    struct store_clean *clean = &self->clean;
    uint64_t save_floor = cleaning_run_save_floor(&clean->run);
    while (clean->next < clean->plan.first) {
        struct segment *older = self->segments[clean->next++];
        struct store_files *files = store_files_of(older);
        uint64_t count = atomic_load_explicit(&older->dead->count, memory_order_relaxed);
        if (files->saved_floor >= save_floor || count == files->saved_count ||
            BUG(dead_bits_not_saved))
            continue;
        struct buf bits AUTO(buf_done);
        buf_init(&bits, 0);
        dead_file_encode(older, &(struct dead_file){self->floor, self->synced_seq}, &bits);
        char name[SEGMENT_NAME_BYTES];
        segment_name_print(&older->name, ".dead", name);
        if (!err_ok(store_file_make(self, name, buf_bytes(&bits)))) {
            stop(self);
            return;
        }
        files->saved_floor = self->floor;
        files->saved_count = count;
        return; /* one a slice */
    }
    store_dir_sync(self);
    clean->step = CLEAN_COPY;
}

static err output_begin(struct stage_store *self)
{
    struct store_clean *clean = &self->clean;
    struct segment_name name = cleaning_run_name(&clean->run);
    uint64_t bytes = cleaning_run_bytes(&clean->run);
    char seg[SEGMENT_NAME_BYTES];
    segment_name_print(&name, ".seg", seg);
    int n = snprintf(clean->tmp, sizeof(clean->tmp), "%s.tmp", seg);
    CHECK(n > 0 && n < (int)sizeof(clean->tmp));
    clean->file = (struct io_bulk){0};
    TRY(store_file_create(self, clean->tmp, bytes, &clean->file.file));
    void *address;
    err e = io_map(self->fs, clean->file.file, IO_MAP_READ | IO_MAP_RANDOM, 0, bytes, &address);
    if (!err_ok(e))
        store_fatal(self, "map", clean->tmp, e);
    segment_writer_begin(&clean->writer, name, self->config.owner, self->synced_seq,
                         store_nonce(self), bytes_of(address, bytes));
    return OK;
}

static err output_write(struct stage_store *self)
{
    struct store_clean *clean = &self->clean;
    TRY(store_bulk_write(self, &clean->file, segment_writer_planned(&clean->writer),
                         clean->writer.out_offset, clean->tmp));
    segment_writer_written(&clean->writer);
    return OK;
}

/* Rows and dead bits first, the segment's name last: that is what makes it count. */
static err output_publish(struct stage_store *self)
{
    struct store_clean *clean = &self->clean;
    struct segment *draft = clean->writer.segment;
    struct segment_name name = draft->name;
    char seg[SEGMENT_NAME_BYTES], file[SEGMENT_NAME_BYTES];
    struct buf bytes AUTO(buf_done);
    buf_init(&bytes, 0);
    segment_name_print(&name, ".row", file);
    segment_row_file_encode(draft, &name, &bytes);
    TRY(store_file_make(self, file, buf_bytes(&bytes)));
    bool has_dead = atomic_load_explicit(&draft->dead->count, memory_order_relaxed) > 0;
    if (has_dead) {
        buf_clear(&bytes);
        segment_name_print(&name, ".dead", file);
        dead_file_encode(draft, &(struct dead_file){clean->floor, self->synced_seq}, &bytes);
        TRY(store_file_make(self, file, buf_bytes(&bytes)));
    }
    segment_name_print(&name, ".seg", seg);
    err e = io_truncate(self->fs, clean->file.file, clean->writer.out_offset);
    if (err_ok(e))
        e = io_sync(self->fs, clean->file.file);
    if (err_ok(e))
        e = io_rename(self->fs, self->dir, clean->tmp, self->dir, seg);
    if (!err_ok(e))
        store_fatal(self, "sync and rename", seg, e);
    store_dir_sync(self);

    struct segment_dead *dead = draft->dead;
    draft->dead = NULL;
    struct segment *result;
    e = store_sealed_open(self, &name, dead, &result);
    if (!err_ok(e))
        store_fatal(self, "open", seg, e);
    result->kept_deletions = clean->run.kept_deletions;
    result->kept_others = clean->run.kept_others;
    store_files_of(result)->saved_floor = clean->floor;
    store_unmap(self, draft->map);
    segment_free(draft);
    segment_writer_done(&clean->writer);
    io_close(self->fs, clean->file.file);
    for (unsigned i = 0; i < clean->run.count; i++)
        store_files_of(clean->run.inputs[i])->obsolete = true;
    clean->result = result;
    ahead_close(self);
    clean->came_count = 0;
    memset(clean->came, 0, sizeof(clean->came));
    clean->carry_row = 0;
    clean->step = CLEAN_CARRY;
    store_publish(self, name.first, name.last, result);
    return OK;
}

static err ahead_open(struct stage_store *self, unsigned input)
{
    struct store_clean *clean = &self->clean;
    char name[SEGMENT_NAME_BYTES];
    segment_name_print(&clean->run.inputs[input]->name, ".seg", name);
    ahead_close(self);
    TRY(io_open(self->fs, self->dir, name, IO_READ, 0, &clean->ahead.file));
    clean->ahead.is_open = true;
    clean->ahead.bytes = malloc(STORE_SLICE_BYTES);
    CHECK(clean->ahead.bytes != NULL);
    clean->ahead.input = input;
    clean->ahead.offset = 0;
    return OK;
}

/* Reads the next two slices of the input in one go each: the mapping alone would fault them in page
 * by page, and an unreadable page is an error here, not a signal. */
static err read_ahead(struct stage_store *self)
{
    struct store_clean *clean = &self->clean;
    const struct cleaning_run *run = &clean->run;
    if (run->input == run->count)
        return OK;
    const struct segment *from = run->inputs[run->input];
    if (!clean->ahead.is_open || clean->ahead.input != run->input)
        TRY(ahead_open(self, run->input));
    if (run->row == segment_row_count(from))
        return OK;
    uint64_t at = (uint64_t)segment_row_at(from, run->row)->offset8 * 8;
    if (at > clean->ahead.offset)
        clean->ahead.offset = at; /* what lies between is dead */
    while (clean->ahead.offset < at + 2 * STORE_SLICE_BYTES &&
           clean->ahead.offset < from->map.len) {
        size_t got;
        TRY(io_read(self->fs, clean->ahead.file, clean->ahead.bytes, STORE_SLICE_BYTES,
                    clean->ahead.offset, &got));
        clean->ahead.offset += STORE_SLICE_BYTES;
    }
    return OK;
}

/* Bad bytes: told, and left as they are. */
static void blocked(struct stage_store *self)
{
    struct store_clean *clean = &self->clean;
    const struct segment *bad = clean->run.inputs[clean->run.input];
    struct revlog_fault *fault = &store_reply(self)->status.fault;
    segment_name_print(&bad->name, ".seg", fault->file);
    fault->offset = (uint64_t)segment_row_at(bad, clean->run.row)->offset8 * 8;
    fault->seq = segment_row_seq(bad, clean->run.row);
    output_discard(self);
    stop(self);
    clean->blocked = true;
}

static void copy(struct stage_store *self)
{
    struct store_clean *clean = &self->clean;
    if (!clean->writer.segment) {
        if (!err_ok(output_begin(self)))
            stop(self);
        return;
    }
    if (!err_ok(read_ahead(self)) ||
        !err_ok(cleaning_run_copy(&clean->run, &clean->writer, STORE_SLICE_BYTES))) {
        blocked(self);
        return;
    }
    err e = output_write(self);
    if (err_ok(e) && clean->run.done)
        e = output_publish(self);
    if (!err_ok(e)) {
        output_discard(self);
        stop(self);
    }
}

bool store_clean_released(struct stage_store *self, const struct segment *segment)
{
    struct store_clean *clean = &self->clean;
    if (clean->step != CLEAN_CARRY)
        return false;
    for (unsigned i = 0; i < clean->run.count; i++) {
        if (clean->run.inputs[i] != segment)
            continue;
        clean->came[i] = true;
        clean->came_count++;
        return true;
    }
    return false;
}

void store_clean_inputs_free(struct stage_store *self)
{
    struct store_clean *clean = &self->clean;
    if (clean->step != CLEAN_CARRY)
        return;
    clean->step = CLEAN_IDLE; /* so that they are not taken for inputs again */
    for (unsigned i = 0; i < clean->run.count; i++)
        if (clean->came[i])
            mailbox_post(&self->released, &store_files_of(clean->run.inputs[i])->node);
    (void)store_files_reclaim(self);
}

static bool carry(struct stage_store *self)
{
    struct store_clean *clean = &self->clean;
    (void)store_files_reclaim(self);
    if (clean->came_count < clean->run.count)
        return false; /* readers, or a reply that the core has not seen yet */
    bool more = false;
    err e = cleaning_run_carry(&clean->run, clean->result, &clean->carry_row, CARRY_ROWS, &more);
    if (!err_ok(e)) { /* the next start makes the rows anew */
        char name[SEGMENT_NAME_BYTES];
        segment_name_print(&clean->result->name, ".row", name);
        store_fatal(self, "reading the rows that went into", name, e);
    }
    if (!more)
        store_clean_inputs_free(self);
    return true;
}

bool store_clean_work(struct stage_store *self)
{
    switch (self->clean.step) {
    case CLEAN_IDLE:
        return start(self);
    case CLEAN_SAVE_DEAD:
        save_dead(self);
        return true;
    case CLEAN_COPY:
        copy(self);
        return true;
    case CLEAN_CARRY:
        return carry(self);
    }
    return false;
}

void store_clean_abandon(struct stage_store *self)
{
    if (self->clean.step == CLEAN_COPY)
        output_discard(self);
    if (self->clean.step != CLEAN_CARRY)
        stop(self);
}
