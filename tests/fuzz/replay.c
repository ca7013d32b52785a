/* Drives a fuzz target without libFuzzer: replays its seeds, then a fixed number of mutations of
 * them, drawn from a seed of its own, so that each run does the same and any compiler can do it.
 *
 *     fuzz_<name> <corpus folder> <mutations>
 *
 * An input that ends the process is left in fuzz_crash.<pid>; its number is printed, so is where.
 */
#include "base/buf.h"
#include "base/check.h"
#include "base/prng.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define INPUT_BYTES_MAX ((size_t)64 * 1024)
#define SEEDS_MAX       4096
#define EDITS_MAX       8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* The sanitizers call this before they end the process; absent in plain builds. */
__attribute__((weak)) void __sanitizer_set_death_callback(void (*callback)(void));

static struct buf seeds[SEEDS_MAX];
static unsigned seed_count;
static uint8_t input[INPUT_BYTES_MAX];
static size_t input_len;
static char crash_path[64];

/* Also called from a signal handler: system calls alone. */
static void crash_save(void)
{
    int fd = open(crash_path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    bool saved = fd >= 0 && write(fd, input, input_len) == (ssize_t)input_len;
    static const char text[] = "\nthe input that did it is in ";
    if (saved && write(2, text, sizeof(text) - 1) > 0 &&
        write(2, crash_path, strlen(crash_path)) > 0)
        (void)!write(2, "\n", 1);
    if (fd >= 0)
        close(fd);
}

static void crash_handle(int number)
{
    crash_save();
    signal(number, SIG_DFL);
    raise(number);
}

/* Runs on a copy of exact size, so that the sanitizer sees an overrun of one byte. */
static void run(struct bytes bytes)
{
    input_len = bytes.len;
    if (bytes.data != input && bytes.len)
        memcpy(input, bytes.data, bytes.len);
    uint8_t *exact = malloc(bytes.len ? bytes.len : 1);
    CHECK(exact);
    memcpy(exact, input, bytes.len);
    LLVMFuzzerTestOneInput(exact, bytes.len);
    free(exact);
}

static bool seed_read(const char *folder, const char *name)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    int fd = open(path, O_RDONLY);
    if (fd < 0)
        return false;
    struct buf *seed = &seeds[seed_count];
    buf_init(seed, INPUT_BYTES_MAX);
    ssize_t n = -1;
    if (err_ok(buf_reserve(seed, INPUT_BYTES_MAX)))
        n = read(fd, seed->data, INPUT_BYTES_MAX);
    close(fd);
    if (n < 0) {
        buf_done(seed);
        return false;
    }
    seed->len = (size_t)n;
    seed_count++;
    return true;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* In the order of their names: a folder's own order differs from machine to machine. */
static void seeds_read(const char *folder)
{
    static char *names[SEEDS_MAX];
    unsigned count = 0;
    DIR *dir = opendir(folder);
    if (!dir)
        return;
    for (struct dirent *entry; (entry = readdir(dir)) && count < SEEDS_MAX;)
        if (entry->d_name[0] != '.')
            names[count++] = strdup(entry->d_name);
    closedir(dir);
    qsort(names, count, sizeof(names[0]), by_name);
    for (unsigned i = 0; i < count; i++) {
        if (!seed_read(folder, names[i]))
            fprintf(stderr, "no seed: %s/%s\n", folder, names[i]);
        free(names[i]);
    }
}

static void insert(size_t at, const uint8_t *data, size_t n)
{
    if (n > INPUT_BYTES_MAX - input_len)
        return;
    memmove(input + at + n, input + at, input_len - at);
    memcpy(input + at, data, n);
    input_len += n;
}

static void edit(struct prng *prng)
{
    static const uint8_t telling[] = {0, 1, 0x7f, 0x80, 0xff, 0x0a, 0x0d, ' ', '"', '{', '/'};
    size_t at = input_len ? prng_below(prng, input_len) : 0;
    size_t rest = input_len - at;
    uint8_t chunk[64];
    size_t n = 1 + prng_below(prng, prng_below(prng, 2) ? 4 : sizeof(chunk));
    switch (prng_below(prng, 7)) {
    case 0:
        if (rest)
            input[at] ^= (uint8_t)(1U << prng_below(prng, 8));
        break;
    case 1:
        if (rest)
            input[at] = telling[prng_below(prng, sizeof(telling))];
        break;
    case 2:
        if (rest)
            input[at] = (uint8_t)(input[at] + prng_below(prng, 5) - 2);
        break;
    case 3: /* a piece goes */
        n = n < rest ? n : rest;
        memmove(input + at, input + at + n, rest - n);
        input_len -= n;
        break;
    case 4: /* a piece is doubled */
        n = n < rest ? n : rest;
        memcpy(chunk, input + at, n);
        insert(at, chunk, n);
        break;
    case 5: /* noise comes in */
        for (size_t i = 0; i < n; i++)
            chunk[i] = (uint8_t)prng_next(prng);
        insert(at, chunk, n);
        break;
    default: /* the end of one seed behind the beginning of another */
        if (seed_count) {
            struct buf *other = &seeds[prng_below(prng, seed_count)];
            size_t from = other->len ? prng_below(prng, other->len) : 0;
            input_len = at;
            insert(at, other->data + from, other->len - from);
        }
    }
}

static void mutate(uint64_t number)
{
    struct prng prng;
    prng_init(&prng, number);
    input_len = 0;
    if (seed_count) {
        struct buf *seed = &seeds[prng_below(&prng, seed_count)];
        insert(0, seed->data, seed->len);
    }
    for (uint64_t edits = 1 + prng_below(&prng, EDITS_MAX); edits; edits--)
        edit(&prng);
    run(bytes_of(input, input_len));
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s <corpus folder> <mutations>\n", argv[0]);
        return 2;
    }
    snprintf(crash_path, sizeof(crash_path), "fuzz_crash.%d", (int)getpid());
    if (__sanitizer_set_death_callback)
        __sanitizer_set_death_callback(crash_save);
    signal(SIGABRT, crash_handle);
    signal(SIGSEGV, crash_handle);
    signal(SIGBUS, crash_handle);
    signal(SIGFPE, crash_handle);
    seeds_read(argv[1]);
    run(BYTES_NONE);
    for (unsigned i = 0; i < seed_count; i++)
        run(buf_bytes(&seeds[i]));
    uint64_t mutations = strtoull(argv[2], NULL, 10);
    for (uint64_t i = 0; i < mutations; i++)
        mutate(i);
    printf("%u seeds, %llu mutations\n", seed_count, (unsigned long long)mutations);
    while (seed_count)
        buf_done(&seeds[--seed_count]);
    return 0;
}
