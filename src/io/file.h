/* The file calls as a table, so that the same code runs on the real disk, in the simulator with
 * its crashes and torn writes, and in tests where each call is made to fail in turn.
 *
 * A file or directory is a small number that `open` gave and `close` takes back. Names are
 * relative to an open directory (IO_CWD: the working directory).
 *
 * What the table promises, and its stand-ins must keep:
 *  1. `write` is all or an error; a short write is retried once and then ERR_IO or ERR_DISK_FULL.
 *     After an error any part of the range may have been written.
 *  2. Bytes are durable only when `sync_data` or `sync` has returned OK (or the file was opened
 *     IO_DSYNC and the write returned OK). A failed sync is never retried: the kernel may have
 *     marked the pages clean (Rebello et al., "Can applications recover from fsync failures?",
 *     2020). Whoever sees one ends the process.
 *  3. A name (create, rename, unlink, mkdir) is durable only when `sync_dir` of its directory has
 *     returned OK.
 *  4. `read_device` answers what the device holds, not what the page cache claims, and leaves
 *     nothing else in the cache either.
 *
 * Errors: ERR_DISK_FULL, ERR_ACCESS, ERR_NOT_FOUND, ERR_EXISTS, ERR_LOCKED (lock only),
 * ERR_UNSUPPORTED (allocate only), else ERR_IO. EINTR never comes out.
 * Thread: any; the real table has no state. A call blocks as long as the disk does. */
#pragma once

#include "base/bytes.h"
#include "base/err.h"

#include <sys/uio.h>

#define IO_CWD            (-100) /* AT_FDCWD */
#define IO_NAME_BYTES_MAX 255

enum io_open_flag {
    IO_READ = 1 << 0,
    IO_WRITE = 1 << 1,
    IO_CREATE = 1 << 2,
    IO_EXCLUSIVE = 1 << 3, /* with IO_CREATE: ERR_EXISTS where the name is taken */
    IO_TRUNCATE = 1 << 4,
    IO_DIRECTORY = 1 << 5,
    IO_DSYNC = 1 << 6, /* each write is durable when it returns */
};

enum io_map_flag {
    IO_MAP_READ = 0,
    IO_MAP_WRITE = 1 << 0,  /* shared, writable: stores reach the file */
    IO_MAP_RANDOM = 1 << 1, /* MADV_RANDOM: no read-ahead */
};

enum io_range_flag {
    IO_RANGE_START = 1 << 0, /* begin to write the dirty pages of the range, do not wait */
    IO_RANGE_WAIT = 1 << 1,  /* wait until they are written; says nothing about durability */
    IO_RANGE_DROP = 1 << 2,  /* let the page cache forget the clean pages of the range */
};

enum io_allocate_flag {
    IO_ALLOCATE_GROW = 0, /* the size grows with the room */
    IO_ALLOCATE_KEEP_SIZE = 1 << 0,
    IO_ALLOCATE_PUNCH = 1 << 1, /* give the range's blocks back, reads give zeros */
};

struct io_stat {
    uint64_t size_bytes;
    uint64_t room_bytes; /* allocated on the device */
    bool is_directory;
    uint64_t names; /* hard links; 0: unlinked */
};

/* One name of a directory; the text lives as long as the list. */
struct io_name {
    const char *text;
};

/* The names of a directory, sorted bytewise, without "." and "..". */
struct io_names {
    struct io_name *names;
    size_t count;
    char *text; /* owned: all names */
};

struct io_fs {
    void *ctx;
    MUST err (*open)(void *ctx, int dir, const char *name, unsigned flags, unsigned mode,
                     int *ret_file);
    void (*close)(void *ctx, int file);
    /* Reads until len or the end of the file; *ret_len says how much. */
    MUST err (*read)(void *ctx, int file, void *to, size_t len, uint64_t offset, size_t *ret_len);
    MUST err (*read_device)(void *ctx, int file, void *to, size_t len, uint64_t offset,
                            size_t *ret_len);
    /* Writes all of iov[0..count), any count, in order. The array is used as scratch. */
    MUST err (*write)(void *ctx, int file, struct iovec *iov, size_t count, uint64_t offset);
    MUST err (*sync_data)(void *ctx, int file); /* fdatasync */
    MUST err (*sync)(void *ctx, int file);      /* fsync */
    MUST err (*sync_dir)(void *ctx, int dir);
    /* Replaces `to` in one step. */
    MUST err (*rename)(void *ctx, int from_dir, const char *from, int to_dir, const char *to);
    MUST err (*unlink)(void *ctx, int dir, const char *name);
    MUST err (*rmdir)(void *ctx, int dir, const char *name);
    MUST err (*mkdir)(void *ctx, int dir, const char *name, unsigned mode);
    MUST err (*list)(void *ctx, int dir, struct io_names *ret_names);
    MUST err (*allocate)(void *ctx, int file, unsigned flags, uint64_t offset, uint64_t len);
    MUST err (*truncate)(void *ctx, int file, uint64_t size_bytes);
    MUST err (*stat)(void *ctx, int file, struct io_stat *ret_stat);
    /* offset is a multiple of the page size. Touching a page that lies behind the file's end or
     * that the disk cannot read raises SIGBUS. */
    MUST err (*map)(void *ctx, int file, unsigned flags, uint64_t offset, size_t len,
                    void **ret_address);
    void (*unmap)(void *ctx, void *address, size_t len);
    /* Excludes other processes from this file while it stays open here (OFD lock, where the
     * filesystem has none flock: the same order as etcd's). Fails: ERR_LOCKED, never waits. */
    MUST err (*lock)(void *ctx, int file);
    /* Pacing of bulk writing (sync_file_range, posix_fadvise); hints, never durability. */
    MUST err (*range)(void *ctx, int file, unsigned flags, uint64_t offset, uint64_t len);
    /* The first run of bytes at or behind offset that may be other than zero, as the filesystem
     * knows it (SEEK_DATA); offset at or behind the last one gives an empty run at the file's
     * end. A table without it has NULL here: see io_data_run. */
    MUST err (*data_run)(void *ctx, int file, uint64_t offset, uint64_t *ret_from,
                         uint64_t *ret_to);
    /* Room that a process without privileges can still fill on this file's filesystem. */
    MUST err (*free_room)(void *ctx, int file, uint64_t *ret_bytes);
};

/* The system's files. */
extern const struct io_fs io_fs_real;

void io_names_done(struct io_names *self);

/* The calls by name, for readable callers. */
static inline MUST err io_open(const struct io_fs *fs, int dir, const char *name, unsigned flags,
                               unsigned mode, int *ret_file)
{
    return fs->open(fs->ctx, dir, name, flags, mode, ret_file);
}

static inline void io_close(const struct io_fs *fs, int file)
{
    fs->close(fs->ctx, file);
}

static inline MUST err io_read(const struct io_fs *fs, int file, void *to, size_t len,
                               uint64_t offset, size_t *ret_len)
{
    return fs->read(fs->ctx, file, to, len, offset, ret_len);
}

static inline MUST err io_read_device(const struct io_fs *fs, int file, void *to, size_t len,
                                      uint64_t offset, size_t *ret_len)
{
    return fs->read_device(fs->ctx, file, to, len, offset, ret_len);
}

static inline MUST err io_write(const struct io_fs *fs, int file, struct iovec *iov, size_t count,
                                uint64_t offset)
{
    return fs->write(fs->ctx, file, iov, count, offset);
}

static inline MUST err io_write_bytes(const struct io_fs *fs, int file, struct bytes what,
                                      uint64_t offset)
{
    struct iovec iov = {(void *)(uintptr_t)what.data, what.len};
    return fs->write(fs->ctx, file, &iov, 1, offset);
}

static inline MUST err io_sync_data(const struct io_fs *fs, int file)
{
    return fs->sync_data(fs->ctx, file);
}

static inline MUST err io_sync(const struct io_fs *fs, int file)
{
    return fs->sync(fs->ctx, file);
}

static inline MUST err io_sync_dir(const struct io_fs *fs, int dir)
{
    return fs->sync_dir(fs->ctx, dir);
}

static inline MUST err io_rename(const struct io_fs *fs, int from_dir, const char *from, int to_dir,
                                 const char *to)
{
    return fs->rename(fs->ctx, from_dir, from, to_dir, to);
}

static inline MUST err io_unlink(const struct io_fs *fs, int dir, const char *name)
{
    return fs->unlink(fs->ctx, dir, name);
}

static inline MUST err io_rmdir(const struct io_fs *fs, int dir, const char *name)
{
    return fs->rmdir(fs->ctx, dir, name);
}

static inline MUST err io_mkdir(const struct io_fs *fs, int dir, const char *name, unsigned mode)
{
    return fs->mkdir(fs->ctx, dir, name, mode);
}

static inline MUST err io_list(const struct io_fs *fs, int dir, struct io_names *ret_names)
{
    return fs->list(fs->ctx, dir, ret_names);
}

static inline MUST err io_allocate(const struct io_fs *fs, int file, unsigned flags,
                                   uint64_t offset, uint64_t len)
{
    return fs->allocate(fs->ctx, file, flags, offset, len);
}

static inline MUST err io_truncate(const struct io_fs *fs, int file, uint64_t size_bytes)
{
    return fs->truncate(fs->ctx, file, size_bytes);
}

static inline MUST err io_stat(const struct io_fs *fs, int file, struct io_stat *ret_stat)
{
    return fs->stat(fs->ctx, file, ret_stat);
}

static inline MUST err io_map(const struct io_fs *fs, int file, unsigned flags, uint64_t offset,
                              size_t len, void **ret_address)
{
    return fs->map(fs->ctx, file, flags, offset, len, ret_address);
}

static inline void io_unmap(const struct io_fs *fs, void *address, size_t len)
{
    fs->unmap(fs->ctx, address, len);
}

static inline MUST err io_lock(const struct io_fs *fs, int file)
{
    return fs->lock(fs->ctx, file);
}

static inline MUST err io_range(const struct io_fs *fs, int file, unsigned flags, uint64_t offset,
                                uint64_t len)
{
    return fs->range(fs->ctx, file, flags, offset, len);
}

/* Without the call all of the file is one run. */
static inline MUST err io_data_run(const struct io_fs *fs, int file, uint64_t offset,
                                   uint64_t *ret_from, uint64_t *ret_to)
{
    if (fs->data_run)
        return fs->data_run(fs->ctx, file, offset, ret_from, ret_to);
    struct io_stat stat;
    TRY(fs->stat(fs->ctx, file, &stat));
    *ret_from = offset < stat.size_bytes ? offset : stat.size_bytes;
    *ret_to = stat.size_bytes;
    return OK;
}

static inline MUST err io_free_room(const struct io_fs *fs, int file, uint64_t *ret_bytes)
{
    return fs->free_room(fs->ctx, file, ret_bytes);
}
