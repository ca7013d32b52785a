#include "base/check.h"
#include "stage/store_priv.h"

#include <inttypes.h>
#include <stdio.h>

#define INDEX_DIGITS 16

const char *stage_store_name(uint64_t index, const char *suffix, char name[STAGE_STORE_NAME_BYTES])
{
    int n = snprintf(name, STAGE_STORE_NAME_BYTES, "%016" PRIx64 "%s", index, suffix);
    CHECK(n > 0 && n < STAGE_STORE_NAME_BYTES);
    return name;
}

/* "%016x" and what follows. */
static bool index_parse(const char *text, uint64_t *ret_index, const char **ret_suffix)
{
    uint64_t index = 0;
    if (strlen(text) < INDEX_DIGITS)
        return false;
    const char *end = text + INDEX_DIGITS;
    for (; text < end; text++) {
        if (!((*text >= '0' && *text <= '9') || (*text >= 'a' && *text <= 'f')))
            return false;
        index = index << 4 | (uint64_t)(*text <= '9' ? *text - '0' : *text - 'a' + 10);
    }
    *ret_index = index;
    *ret_suffix = end;
    return true;
}

static err parent_open(const struct io_fs *fs, const char *parent, int *ret_dir)
{
    return io_open(fs, IO_CWD, parent, IO_READ | IO_DIRECTORY, 0, ret_dir);
}

err stage_store_find(const struct io_fs *fs, const char *parent, uint64_t covered_index,
                     uint64_t *ret_index)
{
    int dir;
    TRY(parent_open(fs, parent, &dir));
    struct io_names names AUTO(io_names_done) = {0};
    err e = io_list(fs, dir, &names);
    io_close(fs, dir);
    TRY(e);
    bool found = false;
    for (size_t i = 0; i < names.count; i++) {
        uint64_t index;
        const char *suffix;
        if (!index_parse(names.names[i].text, &index, &suffix) || *suffix || index > covered_index)
            continue;
        *ret_index = index; /* names are sorted: the last one that fits is the newest */
        found = true;
    }
    return found ? OK : ERR_NOT_FOUND;
}

err stage_store_there(const struct io_fs *fs, const char *parent, uint64_t index,
                      const char *suffix, bool *ret_there)
{
    char name[STAGE_STORE_NAME_BYTES];
    int dir, store;
    TRY(parent_open(fs, parent, &dir));
    err e =
        io_open(fs, dir, stage_store_name(index, suffix, name), IO_READ | IO_DIRECTORY, 0, &store);
    io_close(fs, dir);
    *ret_there = err_ok(e);
    if (err_ok(e))
        io_close(fs, store);
    return err_is(e, ERR_NOT_FOUND) ? OK : e;
}

err store_dir_remove(const struct io_fs *fs, int parent, const char *name)
{
    int dir;
    err e = io_open(fs, parent, name, IO_READ | IO_DIRECTORY, 0, &dir);
    if (err_is(e, ERR_NOT_FOUND))
        return OK;
    TRY(e);
    struct io_names names AUTO(io_names_done) = {0};
    e = io_list(fs, dir, &names);
    for (size_t i = 0; err_ok(e) && i < names.count; i++)
        e = io_unlink(fs, dir, names.names[i].text);
    io_close(fs, dir);
    TRY(e);
    return io_rmdir(fs, parent, name);
}

err stage_store_remove(const struct io_fs *fs, const char *parent, uint64_t index,
                       const char *suffix)
{
    char name[STAGE_STORE_NAME_BYTES];
    int dir;
    TRY(parent_open(fs, parent, &dir));
    err e = store_dir_remove(fs, dir, stage_store_name(index, suffix, name));
    if (err_ok(e))
        e = io_sync_dir(fs, dir);
    io_close(fs, dir);
    return e;
}

err stage_store_rename(const struct io_fs *fs, const char *parent, uint64_t index, const char *from,
                       const char *to)
{
    char old[STAGE_STORE_NAME_BYTES], new[STAGE_STORE_NAME_BYTES];
    int dir;
    TRY(parent_open(fs, parent, &dir));
    stage_store_name(index, from, old);
    stage_store_name(index, to, new);
    err e = store_dir_remove(fs, dir, new);
    if (err_ok(e))
        e = io_rename(fs, dir, old, dir, new);
    if (err_ok(e))
        e = io_sync_dir(fs, dir);
    io_close(fs, dir);
    return e;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* A directory of a store, or a file that was being received. */
static err leftover_remove(const struct io_fs *fs, int dir, const char *name, uint64_t kept)
{
    uint64_t index;
    const char *suffix;
    if (!index_parse(name, &index, &suffix))
        return ends_with(name, ".tmp") ? io_unlink(fs, dir, name) : OK;
    bool other = (*suffix == 0 && index != kept) || strcmp(suffix, ".staged") == 0 ||
                 strcmp(suffix, STORE_UNFINISHED) == 0;
    return other ? store_dir_remove(fs, dir, name) : OK;
}

err stage_store_remove_others(const struct io_fs *fs, const char *parent, uint64_t index)
{
    int dir;
    TRY(parent_open(fs, parent, &dir));
    struct io_names names AUTO(io_names_done) = {0};
    err e = io_list(fs, dir, &names);
    for (size_t i = 0; err_ok(e) && i < names.count; i++)
        e = leftover_remove(fs, dir, names.names[i].text, index);
    if (err_ok(e) && names.count > 1)
        e = io_sync_dir(fs, dir);
    io_close(fs, dir);
    return e;
}
