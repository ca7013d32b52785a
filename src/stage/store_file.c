#include "base/check.h"
#include "stage/store_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define FILE_MODE 0600

bool store_check(struct stage_store *self, err e, const char *what, const char *file)
{
    if (err_ok(e))
        return false;
    if (!err_is(e, ERR_DISK_FULL))
        store_fatal(self, what, file, e);
    return true;
}

err store_bulk_write(struct stage_store *self, struct io_bulk *bulk, struct bytes what,
                     uint64_t offset, const char *name)
{
    if (store_check(self, io_bulk_write(self->fs, bulk, what, offset), "write", name))
        return ERR_DISK_FULL;
    return OK;
}

err store_file_create(struct stage_store *self, const char *name, uint64_t allocate_bytes,
                      int *ret_file)
{
    int file;
    if (store_check(self,
                    io_open(self->fs, self->dir, name, IO_READ | IO_WRITE | IO_CREATE | IO_TRUNCATE,
                            FILE_MODE, &file),
                    "create", name))
        return ERR_DISK_FULL;
    if (allocate_bytes) {
        err e = io_allocate(self->fs, file, IO_ALLOCATE_GROW, 0, allocate_bytes);
        if (err_is(e, ERR_UNSUPPORTED)) /* then the room is taken as it is written */
            e = io_truncate(self->fs, file, allocate_bytes);
        if (store_check(self, e, "allocate", name)) {
            io_close(self->fs, file);
            store_file_unlink(self, name);
            return ERR_DISK_FULL;
        }
    }
    *ret_file = file;
    return OK;
}

err store_file_make(struct stage_store *self, const char *name, struct bytes what)
{
    char tmp[STORE_FILE_NAME_BYTES];
    int n = snprintf(tmp, sizeof(tmp), "%s.tmp", name);
    CHECK(n > 0 && n < (int)sizeof(tmp));
    struct io_bulk bulk = {0};
    TRY(store_file_create(self, tmp, 0, &bulk.file));
    err e = store_bulk_write(self, &bulk, what, 0, tmp);
    if (err_ok(e) && store_check(self, io_sync(self->fs, bulk.file), "sync", tmp))
        e = ERR_DISK_FULL;
    io_close(self->fs, bulk.file);
    if (err_ok(e) &&
        store_check(self, io_rename(self->fs, self->dir, tmp, self->dir, name), "rename", name))
        e = ERR_DISK_FULL;
    if (!err_ok(e))
        store_file_unlink(self, tmp);
    return e;
}

void store_file_unlink(struct stage_store *self, const char *name)
{
    int file;
    bool open = self->room_count < STORE_ROOMS &&
                err_ok(io_open(self->fs, self->dir, name, IO_READ | IO_WRITE, 0, &file));
    err e = io_unlink(self->fs, self->dir, name);
    if (!err_ok(e) && !err_is(e, ERR_NOT_FOUND))
        store_fatal(self, "unlink", name, e);
    if (!open)
        return;
    self->rooms[self->room_count++] = file;
    self->rooms_named = true;
}

bool store_room_return(struct stage_store *self)
{
    if (!self->room_count)
        return false;
    if (self->rooms_named) {
        self->rooms_named = false;
        store_dir_sync(self);
    } else if (!io_bulk_give_back_some(self->fs, self->rooms[self->room_count - 1])) {
        io_close(self->fs, self->rooms[--self->room_count]);
    }
    return true;
}

void store_rooms_drop(struct stage_store *self)
{
    while (self->room_count)
        io_close(self->fs, self->rooms[--self->room_count]);
}

void store_dir_sync(struct stage_store *self)
{
    err e = io_sync_dir(self->fs, self->dir);
    if (!err_ok(e))
        store_fatal(self, "sync of directory", self->dir_name, e);
}

err store_file_map(struct stage_store *self, const char *name, struct bytes *ret_map)
{
    int file;
    TRY(io_open(self->fs, self->dir, name, IO_READ, 0, &file));
    struct io_stat stat;
    void *address = NULL;
    err e = io_stat(self->fs, file, &stat);
    if (err_ok(e) && (stat.size_bytes == 0 || stat.size_bytes > SEGMENT_BYTES_MAX))
        e = ERR_CORRUPT;
    if (err_ok(e))
        e = io_map(self->fs, file, IO_MAP_READ | IO_MAP_RANDOM, 0, stat.size_bytes, &address);
    io_close(self->fs, file);
    TRY(e);
    *ret_map = bytes_of(address, stat.size_bytes);
    return OK;
}

void store_unmap(struct stage_store *self, struct bytes map)
{
    if (map.len)
        io_unmap(self->fs, (void *)(uintptr_t)map.data, map.len);
}

/* On the core, when no guard can see the segment any more. */
static void release(struct segment *segment)
{
    struct store_files *files = store_files_of(segment);
    mailbox_post(&files->store->released, &files->node);
}

void store_files_attach(struct stage_store *self, struct segment *segment)
{
    struct store_files *files = calloc(1, sizeof(*files));
    CHECK(files != NULL);
    files->store = self;
    files->segment = segment;
    segment->release = release;
    segment->release_ctx = files;
}

static void files_unlink(struct stage_store *self, const struct segment *segment)
{
    /* The segment first: rows or dead bits without one are removed when the store is opened. */
    static const char *const suffixes[] = {".seg", ".row", ".dead"};
    for (unsigned i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        char name[SEGMENT_NAME_BYTES];
        segment_name_print(&segment->name, suffixes[i], name);
        store_file_unlink(self, name);
    }
}

bool store_files_reclaim(struct stage_store *self)
{
    struct mailbox_node *node = mailbox_take(&self->released);
    bool any = node != NULL;
    while (node) {
        struct store_files *files = LIST_ENTRY(node, struct store_files, node);
        node = node->next;
        if (store_clean_released(self, files->segment))
            continue;
        struct segment *segment = files->segment;
        store_unmap(self, segment->map);
        store_unmap(self, segment->row_map);
        if (files->dead_moved)
            segment->dead = NULL;
        if (files->obsolete)
            files_unlink(self, segment);
        segment_free(segment);
        free(files);
    }
    return any;
}

uint64_t store_segment_bytes(const struct stage_store *self)
{
    if (self->config.segment_bytes)
        return self->config.segment_bytes;
    uint64_t sum = 0;
    for (unsigned i = 0; i < self->segment_count; i++)
        sum += atomic_load_explicit(&self->segments[i]->end, memory_order_relaxed);
    return sum < STORE_LARGE_BYTES ? SEGMENT_BYTES_SMALL : SEGMENT_BYTES_LARGE;
}

uint64_t store_nonce(struct stage_store *self)
{
    return prng_next(&self->prng);
}
