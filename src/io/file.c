#include "io/file.h"

#include "base/check.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define DEVICE_BLOCK_BYTES 4096u

static err error_of(int number)
{
    switch (number) {
    case EEXIST:
        return ERR_EXISTS;
    case ENOENT:
        return ERR_NOT_FOUND;
    default:
        return err_from_errno(number);
    }
}

static err real_open(void *ctx, int dir, const char *name, unsigned flags, unsigned mode,
                     int *ret_file)
{
    int how = O_CLOEXEC | O_NOFOLLOW;
    if ((flags & IO_READ) && (flags & IO_WRITE))
        how |= O_RDWR;
    else if (flags & IO_WRITE)
        how |= O_WRONLY;
    else
        how |= O_RDONLY;
    if (flags & IO_CREATE)
        how |= O_CREAT;
    if (flags & IO_EXCLUSIVE)
        how |= O_EXCL;
    if (flags & IO_TRUNCATE)
        how |= O_TRUNC;
    if (flags & IO_DSYNC)
        how |= O_DSYNC;
    if (flags & IO_DIRECTORY) {
        how |= O_DIRECTORY;
        how &= ~O_NOFOLLOW; /* people link a data directory to another disk */
    }
    int fd;
    do
        fd = openat(dir, name, how, (mode_t)mode);
    while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return error_of(errno);
    *ret_file = fd;
    return OK;
}

static void real_close(void *ctx, int file)
{
    CHECK(file >= 0);
    (void)close(file); /* nothing rests on it: what must be durable was synced before */
}

static err real_read(void *ctx, int file, void *to, size_t len, uint64_t offset, size_t *ret_len)
{
    size_t done = 0;
    while (done < len) {
        ssize_t n = pread(file, (uint8_t *)to + done, len - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_of(errno);
        if (n == 0)
            break;
        done += (size_t)n;
    }
    *ret_len = done;
    return OK;
}

/* A second descriptor of the same file, reading the device; -1 where the filesystem cannot. */
static int open_direct(int file)
{
    char path[32];
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
    return open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
}

/* Aligned reads of the device through a bounce buffer. */
static err read_direct(int fd, uint8_t *to, size_t len, uint64_t offset, size_t *ret_len)
{
    const size_t chunk = (size_t)1 << 20;
    uint8_t *bounce = aligned_alloc(DEVICE_BLOCK_BYTES, chunk);
    CHECK(bounce);
    size_t done = 0;
    err e = OK;
    while (done < len) {
        uint64_t from = (offset + done) & ~(uint64_t)(DEVICE_BLOCK_BYTES - 1);
        size_t skip = (size_t)(offset + done - from);
        ssize_t n = pread(fd, bounce, chunk, (off_t)from);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            e = error_of(errno);
            break;
        }
        if ((size_t)n <= skip)
            break;
        size_t got = (size_t)n - skip;
        if (got > len - done)
            got = len - done;
        memcpy(to + done, bounce + skip, got);
        done += got;
        if ((size_t)n < chunk)
            break; /* the end of the file */
    }
    free(bounce);
    if (err_ok(e))
        *ret_len = done;
    return e;
}

static err real_read_device(void *ctx, int file, void *to, size_t len, uint64_t offset,
                            size_t *ret_len)
{
    /* The cache must not show later readers, mappings among them, anything else than this read
     * saw: after a failed sync it holds clean pages that the device does not have. */
    (void)posix_fadvise(file, (off_t)offset, (off_t)len, POSIX_FADV_DONTNEED);
    int fd = open_direct(file);
    if (fd < 0)
        return real_read(ctx, file, to, len, offset, ret_len);
    err e = read_direct(fd, to, len, offset, ret_len);
    (void)close(fd);
    return e;
}

static err real_write(void *ctx, int file, struct iovec *iov, size_t count, uint64_t offset)
{
    unsigned short_writes = 0;
    while (count) {
        if (iov->iov_len == 0) {
            iov++;
            count--;
            continue;
        }
        size_t n_iov = count < IOV_MAX ? count : IOV_MAX;
        size_t wanted = 0;
        for (size_t i = 0; i < n_iov; i++)
            wanted += iov[i].iov_len;
        ssize_t n = pwritev(file, iov, (int)n_iov, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_of(errno);
        /* One write moves at most 2 GiB; anything else short is the disk running out, and the
         * retry says of what. */
        if ((size_t)n < wanted && (n == 0 || (wanted < (1u << 30) && ++short_writes > 1)))
            return ERR_IO;
        offset += (uint64_t)n;
        size_t left = (size_t)n;
        while (count && left >= iov->iov_len) {
            left -= iov->iov_len;
            iov++;
            count--;
        }
        if (left) {
            iov->iov_base = (uint8_t *)iov->iov_base + left;
            iov->iov_len -= left;
        }
    }
    return OK;
}

static err real_sync_data(void *ctx, int file)
{
    return fdatasync(file) ? error_of(errno) : OK;
}

static err real_sync(void *ctx, int file)
{
    return fsync(file) ? error_of(errno) : OK;
}

static err real_rename(void *ctx, int from_dir, const char *from, int to_dir, const char *to)
{
    return renameat(from_dir, from, to_dir, to) ? error_of(errno) : OK;
}

static err real_unlink(void *ctx, int dir, const char *name)
{
    return unlinkat(dir, name, 0) ? error_of(errno) : OK;
}

static err real_rmdir(void *ctx, int dir, const char *name)
{
    return unlinkat(dir, name, AT_REMOVEDIR) ? error_of(errno) : OK;
}

static err real_mkdir(void *ctx, int dir, const char *name, unsigned mode)
{
    return mkdirat(dir, name, (mode_t)mode) ? error_of(errno) : OK;
}

static int name_compare(const void *a, const void *b)
{
    return strcmp(((const struct io_name *)a)->text, ((const struct io_name *)b)->text);
}

/* The texts of a directory one behind the other, each with its NUL. */
static err names_collect(DIR *dir, char **ret_text, size_t *ret_len, size_t *ret_count)
{
    char *text = NULL;
    size_t len = 0, cap = 0, count = 0;
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (!entry)
            break;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        size_t n = strlen(entry->d_name) + 1;
        if (len + n > cap) {
            cap = cap ? cap * 2 : 4096;
            text = realloc(text, cap);
            CHECK(text);
        }
        memcpy(text + len, entry->d_name, n);
        len += n;
        count++;
    }
    if (errno) {
        free(text);
        return error_of(errno);
    }
    *ret_text = text;
    *ret_len = len;
    *ret_count = count;
    return OK;
}

static err real_list(void *ctx, int dir, struct io_names *ret_names)
{
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_of(errno);
    DIR *stream = fdopendir(fd);
    CHECK(stream);
    struct io_names names = {0};
    size_t len = 0;
    err e = names_collect(stream, &names.text, &len, &names.count);
    (void)closedir(stream);
    TRY(e);
    if (names.count) {
        names.names = calloc(names.count, sizeof(*names.names));
        CHECK(names.names);
    }
    size_t at = 0;
    for (size_t i = 0; i < names.count; i++) {
        names.names[i].text = names.text + at;
        at += strlen(names.text + at) + 1;
    }
    if (names.count)
        qsort(names.names, names.count, sizeof(*names.names), name_compare);
    *ret_names = names;
    return OK;
}

void io_names_done(struct io_names *self)
{
    free(self->names);
    free(self->text);
    *self = (struct io_names){0};
}

static err real_allocate(void *ctx, int file, unsigned flags, uint64_t offset, uint64_t len)
{
    int mode = 0;
    if (flags & IO_ALLOCATE_KEEP_SIZE)
        mode |= FALLOC_FL_KEEP_SIZE;
    if (flags & IO_ALLOCATE_PUNCH)
        mode |= FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    int r;
    do
        r = fallocate(file, mode, (off_t)offset, (off_t)len);
    while (r && errno == EINTR);
    if (r && (errno == EOPNOTSUPP || errno == ENOSYS))
        return ERR_UNSUPPORTED;
    return r ? error_of(errno) : OK;
}

static err real_truncate(void *ctx, int file, uint64_t size_bytes)
{
    int r;
    do
        r = ftruncate(file, (off_t)size_bytes);
    while (r && errno == EINTR);
    return r ? error_of(errno) : OK;
}

static err real_stat(void *ctx, int file, struct io_stat *ret_stat)
{
    struct stat st;
    if (fstat(file, &st))
        return error_of(errno);
    *ret_stat = (struct io_stat){.size_bytes = (uint64_t)st.st_size,
                                 .room_bytes = (uint64_t)st.st_blocks * 512,
                                 .is_directory = S_ISDIR(st.st_mode),
                                 .names = (uint64_t)st.st_nlink};
    return OK;
}

static err real_map(void *ctx, int file, unsigned flags, uint64_t offset, size_t len,
                    void **ret_address)
{
    int protection = PROT_READ | ((flags & IO_MAP_WRITE) ? PROT_WRITE : 0);
    void *address = mmap(NULL, len, protection, MAP_SHARED, file, (off_t)offset);
    if (address == MAP_FAILED)
        return error_of(errno);
    if (flags & IO_MAP_RANDOM)
        (void)madvise(address, len, MADV_RANDOM);
    *ret_address = address;
    return OK;
}

static void real_unmap(void *ctx, void *address, size_t len)
{
    CHECK(munmap(address, len) == 0);
}

static err real_lock(void *ctx, int file)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(file, F_OFD_SETLK, &whole) == 0)
        return OK;
    if (errno == EAGAIN || errno == EACCES)
        return ERR_LOCKED;
    if (errno != EINVAL)
        return error_of(errno);
    if (flock(file, LOCK_EX | LOCK_NB) == 0)
        return OK;
    return errno == EWOULDBLOCK ? ERR_LOCKED : error_of(errno);
}

static err real_range(void *ctx, int file, unsigned flags, uint64_t offset, uint64_t len)
{
    unsigned how = 0;
    if (flags & IO_RANGE_START)
        how |= SYNC_FILE_RANGE_WRITE;
    if (flags & IO_RANGE_WAIT)
        how |= SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
    /* A filesystem without the call paces itself; a write error does count. */
    if (how && sync_file_range(file, (off_t)offset, (off_t)len, how) && errno != ENOSYS &&
        errno != EINVAL && errno != ESPIPE)
        return error_of(errno);
    if (flags & IO_RANGE_DROP)
        (void)posix_fadvise(file, (off_t)offset, (off_t)len, POSIX_FADV_DONTNEED);
    return OK;
}

static err real_data_run(void *ctx, int file, uint64_t offset, uint64_t *ret_from, uint64_t *ret_to)
{
    struct stat st;
    if (fstat(file, &st))
        return error_of(errno);
    uint64_t size_bytes = (uint64_t)st.st_size;
    *ret_from = *ret_to = size_bytes;
    if (offset >= size_bytes)
        return OK;
    off_t from = lseek(file, (off_t)offset, SEEK_DATA);
    if (from < 0 && errno == ENXIO)
        return OK;
    off_t to = from < 0 ? -1 : lseek(file, from, SEEK_HOLE);
    if (to < 0) { /* no such knowledge: all of it */
        *ret_from = offset;
        return OK;
    }
    *ret_from = (uint64_t)from;
    *ret_to = (uint64_t)to;
    return OK;
}

static err real_free_room(void *ctx, int file, uint64_t *ret_bytes)
{
    struct statvfs st;
    if (fstatvfs(file, &st))
        return error_of(errno);
    *ret_bytes = (uint64_t)st.f_bavail * st.f_frsize;
    return OK;
}

const struct io_fs io_fs_real = {
    .open = real_open,
    .close = real_close,
    .read = real_read,
    .read_device = real_read_device,
    .write = real_write,
    .sync_data = real_sync_data,
    .sync = real_sync,
    .sync_dir = real_sync,
    .rename = real_rename,
    .unlink = real_unlink,
    .rmdir = real_rmdir,
    .mkdir = real_mkdir,
    .list = real_list,
    .allocate = real_allocate,
    .truncate = real_truncate,
    .stat = real_stat,
    .map = real_map,
    .unmap = real_unmap,
    .lock = real_lock,
    .range = real_range,
    .data_run = real_data_run,
    .free_room = real_free_room,
};
