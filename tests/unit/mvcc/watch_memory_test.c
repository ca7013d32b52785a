/* What many watchers cost, beside the bytes of each distinct range: at most 100 bytes each,
 * allocator's overhead included; and what is left when they have gone. */
#include "store_fixture.h"

#include "mvcc/watch.h"

#include <malloc.h>

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

#define BYTES_MAX 100
#define STREAMS   4

static unsigned watcher_count = 62500; /* tables are as full as with a million */

static bool deliver(void *owner, const struct watch_delivery *delivery)
{
    (void)owner;
    (void)delivery;
    return true;
}

static void compacted(void *owner, int64_t id, int64_t revision)
{
    (void)owner;
    (void)id;
    (void)revision;
}

static const struct watch_ops ops = {deliver, compacted, compacted};

static size_t heap_bytes(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

enum shape { KEYS, INTERVALS, SHARED };

/* Returns how many bytes of ranges it holds. */
static size_t spec_of(enum shape shape, unsigned i, char key[32], char end[40],
                      struct watch_spec *ret_spec)
{
    unsigned number = shape == SHARED ? 7 : i * 2654435761U; /* in no order */
    snprintf(key, 32, "/registry/pods/%010u", number);
    snprintf(end, 40, "%s0", key);
    *ret_spec = (struct watch_spec){.key = bytes_str(key)};
    if (shape != KEYS)
        ret_spec->range_end = bytes_str(end);
    if (shape == SHARED && i)
        return 0;
    return ret_spec->key.len + ret_spec->range_end.len;
}

static void measure(const char *name, enum shape shape)
{
    struct rig rig;
    rig_init(&rig, 1 << 20);
    rig_publish(&rig);
    struct watch_hub_config config = {.seed = 5, .ops = &ops};
    struct watch_hub *hub = watch_hub_new(&config);
    struct watch_stream *streams[STREAMS];
    size_t before = heap_bytes(), range_bytes = 0;
    for (unsigned i = 0; i < watcher_count; i++) {
        char key[32], end[40];
        struct watch_spec spec;
        int64_t id;
        unsigned at = i / (watcher_count / STREAMS);
        if (i % (watcher_count / STREAMS) == 0)
            streams[at] = watch_stream_new(hub, NULL);
        range_bytes += spec_of(shape, i, key, end, &spec);
        MUST_OK(watch_create(hub, streams[at], &spec, mvcc_store_view(rig.store), &id));
    }
    double each = (double)(heap_bytes() - before - range_bytes) / watcher_count;
    print_message("%s: %.1f bytes a watcher, beside %.1f of its range\n", name, each,
                  (double)range_bytes / watcher_count);
    assert_true(!MALLOC_IS_GLIBC || each <= BYTES_MAX);
    for (unsigned i = 0; i < STREAMS; i++)
        watch_stream_free(hub, streams[i]);
    bool more = true;
    while (more) {
        unsigned budget = 100000;
        more = watch_hub_run(hub, mvcc_store_view(rig.store), 1, &budget);
    }
    struct watch_counts counts;
    watch_hub_counts(hub, &counts);
    assert_int_equal(counts.watchers, 0);
    watch_hub_free(hub);
    assert_true(!MALLOC_IS_GLIBC || heap_bytes() <= before + 65536);
    rig_done(&rig);
}

static void test_keys(void **state)
{
    (void)state;
    measure("distinct keys", KEYS);
}

static void test_intervals(void **state)
{
    (void)state;
    measure("distinct intervals", INTERVALS);
}

static void test_shared(void **state)
{
    (void)state;
    measure("one interval", SHARED);
}

int main(int argc, char **argv)
{
    if (argc == 2)
        watcher_count = (unsigned)strtoul(argv[1], NULL, 10);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_keys),
                                       cmocka_unit_test(test_intervals),
                                       cmocka_unit_test(test_shared)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
