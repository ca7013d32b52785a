#include "bench/procs.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAGE_TEXT_BYTES_MAX 4096

static err read_page(pid_t pid, const char *name, char text[PAGE_TEXT_BYTES_MAX])
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/%ld/%s", (long)pid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return ERR_NOT_FOUND;
    ssize_t n = read(fd, text, PAGE_TEXT_BYTES_MAX - 1);
    (void)close(fd);
    if (n <= 0)
        return ERR_NOT_FOUND;
    text[n] = 0;
    return OK;
}

/* proc(5): utime and stime are fields 14 and 15; the second, a name, may hold anything. */
static double cpu_of(const char *stat)
{
    const char *at = strrchr(stat, ')');
    for (unsigned field = 2; at && field < 14; field++)
        at = strchr(at + 1, ' ');
    if (!at)
        return 0;
    char *rest;
    unsigned long long user = strtoull(at, &rest, 10);
    unsigned long long system = strtoull(rest, NULL, 10);
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static uint64_t kib_of(const char *status, const char *name)
{
    const char *at = strstr(status, name);
    return at ? strtoull(at + strlen(name), NULL, 10) : 0;
}

err procs_read(const pid_t *pids, unsigned count, struct procs_usage *ret_usage)
{
    struct procs_usage sum = {0};
    char text[PAGE_TEXT_BYTES_MAX];
    for (unsigned i = 0; i < count; i++) {
        TRY(read_page(pids[i], "stat", text));
        sum.cpu_s += cpu_of(text);
        TRY(read_page(pids[i], "status", text));
        sum.anon_kib += kib_of(text, "RssAnon:") + kib_of(text, "RssShmem:");
        sum.file_kib += kib_of(text, "RssFile:");
    }
    *ret_usage = sum;
    return OK;
}
