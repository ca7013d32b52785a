/* What a key costs in memory, by what malloc really holds: at most 140 bytes a key of 64 bytes,
 * whether loaded sorted, put in random order in one batch, or born one a batch. */
#include "mvcc/index.h"

#include "base/prng.h"

#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
/* cmocka wants the four above it */
#include <cmocka.h>

#define KEYS        200000
#define KEY_BYTES   64
#define BYTES_A_KEY 140

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MALLOC_IS_GLIBC 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define MALLOC_IS_GLIBC 0
#else
#define MALLOC_IS_GLIBC 1
#endif
#else
#define MALLOC_IS_GLIBC 1
#endif

static size_t held_bytes(void)
{
    malloc_trim(0);
    struct mallinfo2 info = mallinfo2();
    return info.arena + info.hblkhd;
}

enum key_form { KEYS_KUBERNETES, KEYS_RANDOM };
enum key_order { LOAD_SORTED, PUT_IN_ONE_BATCH, PUT_ONE_A_BATCH };

static void make_key(uint8_t *key, enum key_form form, uint64_t i)
{
    struct prng prng;
    prng_init(&prng, i);
    if (form == KEYS_RANDOM) {
        for (int j = 0; j < KEY_BYTES; j += 8)
            bytes_put_be64(key + j, prng_next(&prng));
        return;
    }
    char text[KEY_BYTES + 32];
    snprintf(text, sizeof(text), "/registry/pods/namespace-%03u/web-%08x-%016llx%08x",
             (unsigned)(i % 200), (unsigned)prng_below(&prng, 1000),
             (unsigned long long)prng_next(&prng), 0u);
    memcpy(key, text, KEY_BYTES);
}

static int order_keys(const void *a, const void *b)
{
    return memcmp(a, b, KEY_BYTES);
}

static double bytes_a_key(enum key_form form, enum key_order order)
{
    uint8_t(*keys)[KEY_BYTES] = mmap(NULL, (size_t)KEYS * KEY_BYTES, PROT_READ | PROT_WRITE,
                                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(keys != MAP_FAILED); /* not from malloc: it would be counted */
    for (uint64_t i = 0; i < KEYS; i++)
        make_key(keys[i], form, i);
    if (order == LOAD_SORTED)
        qsort(keys, KEYS, KEY_BYTES, order_keys);
    struct epoch epoch;
    epoch_init(&epoch);
    size_t before = held_bytes();
    struct mvcc_index *index = mvcc_index_new(&epoch);
    for (uint64_t i = 0; i < KEYS; i++) {
        struct mvcc_head head = {.seq = i + 1,
                                 .main = (int64_t)i,
                                 .create = (int64_t)i,
                                 .version = 1,
                                 .blob_bytes = 300};
        if (order == LOAD_SORTED)
            mvcc_index_load(index, bytes_of(keys[i], KEY_BYTES), &head);
        else
            mvcc_index_put(index, bytes_of(keys[i], KEY_BYTES), &head, 0);
        if (order == PUT_ONE_A_BATCH) {
            mvcc_index_publish(index);
            mvcc_index_retire(index);
            epoch_reclaim(&epoch, 100);
        }
    }
    mvcc_index_load_done(index);
    const struct tree_node *root = mvcc_index_publish(index);
    mvcc_index_retire(index);
    while (epoch_reclaim(&epoch, 1000))
        ;
    double result = (double)(held_bytes() - before) / (double)mvcc_root_live(root);
    mvcc_index_free(index);
    epoch_done(&epoch);
    munmap(keys, (size_t)KEYS * KEY_BYTES);
    return result;
}

/* In a process of its own: what an earlier case gave back must not be there to be used again. */
static double bytes_a_key_alone(enum key_form form, enum key_order order)
{
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        double bytes = bytes_a_key(form, order);
        _exit(write(pipes[1], &bytes, sizeof(bytes)) == sizeof(bytes) ? 0 : 1);
    }
    close(pipes[1]);
    double bytes = 0;
    assert_int_equal(read(pipes[0], &bytes, sizeof(bytes)), sizeof(bytes));
    close(pipes[0]);
    assert_int_equal(waitpid(child, NULL, 0), child);
    return bytes;
}

static void test_bytes_a_key(void **state)
{
    if (!MALLOC_IS_GLIBC)
        skip();
    static const char *const forms[] = {"kubernetes", "random"};
    static const char *const orders[] = {"loaded", "one batch", "one a batch"};
    for (int form = KEYS_KUBERNETES; form <= KEYS_RANDOM; form++) {
        for (int order = LOAD_SORTED; order <= PUT_ONE_A_BATCH; order++) {
            double bytes = bytes_a_key_alone((enum key_form)form, (enum key_order)order);
            print_message("%-10s %-12s %.1f bytes a key\n", forms[form], orders[order], bytes);
            assert_true(bytes > KEY_BYTES / 2 && bytes <= BYTES_A_KEY);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_a_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
