/* A disk that stalls or fails on command, for one process that is started with this library
 * preloaded. The orders lie in a file that both sides map (DISK_FAULT names it); a test writes them
 * while the member runs, and reads back how many calls were met. Layout: `struct orders`, which
 * disk_fault.py writes with the same fields.
 *
 * Only files whose path contains `part` are touched. A second job: CLOCK_REALTIME is shifted, as
 * by a clock that is wrong. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { CALL_WRITE = 1, CALL_SYNC = 2, CALL_ALLOCATE = 4 };

struct orders {
    _Atomic uint32_t stall;     /* calls that wait while this is set: a sum of CALL_… */
    _Atomic uint32_t fail;      /* calls that may fail: a sum of CALL_… */
    _Atomic uint32_t fail_with; /* errno */
    _Atomic int32_t spare;      /* so many of those still succeed */
    _Atomic uint32_t met;       /* calls on such files so far */
    _Atomic uint32_t stalled;   /* of them, waiting now */
    _Atomic int64_t clock_ns;   /* added to CLOCK_REALTIME */
    char part[64];
};

static struct orders *orders;

__attribute__((constructor)) static void orders_map(void)
{
    const char *path = getenv("DISK_FAULT");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *at = mmap(NULL, sizeof(struct orders), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at != MAP_FAILED)
        orders = at;
    close(fd);
}

static void *next(const char *name)
{
    void *call = dlsym(RTLD_NEXT, name);
    if (!call)
        abort();
    return call;
}

static int is_ours(int fd)
{
    char link[64], path[4096];
    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof(path) - 1);
    if (n < 0)
        return 0;
    path[n] = '\0';
    return strstr(path, orders->part) != NULL;
}

/* 0: go on; else the call fails with errno set. */
static int meet(int fd, uint32_t call)
{
    if (!orders || !((atomic_load(&orders->stall) | atomic_load(&orders->fail)) & call) ||
        !is_ours(fd))
        return 0;
    atomic_fetch_add(&orders->met, 1);
    if (atomic_load(&orders->stall) & call) {
        const struct timespec pause = {.tv_nsec = 2000000};
        atomic_fetch_add(&orders->stalled, 1);
        while (atomic_load(&orders->stall) & call)
            nanosleep(&pause, NULL);
        atomic_fetch_sub(&orders->stalled, 1);
    }
    if (!(atomic_load(&orders->fail) & call) || atomic_fetch_sub(&orders->spare, 1) > 0)
        return 0;
    errno = (int)atomic_load(&orders->fail_with);
    return -1;
}

ssize_t pwritev64(int fd, const struct iovec *iov, int count, off64_t offset)
{
    ssize_t (*call)(int, const struct iovec *, int, off64_t) = next("pwritev64");
    return meet(fd, CALL_WRITE) ? -1 : call(fd, iov, count, offset);
}

int fdatasync(int fd)
{
    int (*call)(int) = next("fdatasync");
    return meet(fd, CALL_SYNC) ? -1 : call(fd);
}

int fsync(int fd)
{
    int (*call)(int) = next("fsync");
    return meet(fd, CALL_SYNC) ? -1 : call(fd);
}

int fallocate64(int fd, int mode, off64_t offset, off64_t len)
{
    int (*call)(int, int, off64_t, off64_t) = next("fallocate64");
    return meet(fd, CALL_ALLOCATE) ? -1 : call(fd, mode, offset, len);
}

int clock_gettime(clockid_t clock, struct timespec *at)
{
    int (*call)(clockid_t, struct timespec *) = next("clock_gettime");
    int r = call(clock, at);
    int64_t shift = orders ? atomic_load(&orders->clock_ns) : 0;
    if (r == 0 && clock == CLOCK_REALTIME && shift) {
        int64_t ns = (int64_t)at->tv_sec * 1000000000 + at->tv_nsec + shift;
        at->tv_sec = (time_t)(ns / 1000000000);
        at->tv_nsec = (long)(ns % 1000000000);
    }
    return r;
}
