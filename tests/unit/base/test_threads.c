/* mailbox and epoch with threads that really race; worth most under the thread sanitizer. */
#include "t.h"

#include "base/clock.h"
#include "base/epoch.h"
#include "base/mailbox.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define DEADLINE_MS 20000

/* --- mailbox --- */

#define POSTERS 3
#define POSTS   20000

struct letter {
    struct mailbox_node node;
    int poster;
    int number;
};

struct post_office {
    struct mailbox mailbox;
    int event_fd;
    atomic_int wakes;
};

struct poster {
    struct post_office *office;
    int id;
    struct letter *letters;
    pthread_t thread;
};

static void office_wake(void *ctx)
{
    struct post_office *office = ctx;
    atomic_fetch_add(&office->wakes, 1);
    uint64_t one = 1;
    assert_int_equal(write(office->event_fd, &one, sizeof(one)), sizeof(one));
}

static void *poster_run(void *ctx)
{
    struct poster *self = ctx;
    for (int i = 0; i < POSTS; i++) {
        self->letters[i] = (struct letter){.poster = self->id, .number = i};
        mailbox_post(&self->office->mailbox, &self->letters[i].node);
    }
    return NULL;
}

/* Sleeps for real; that no wake-up is lost shows in that it ends before the deadline. */
static void mailbox_loses_nothing_and_keeps_each_posters_order(void **state)
{
    struct post_office office = {.event_fd = eventfd(0, 0)};
    mailbox_init(&office.mailbox, office_wake, &office);
    struct poster posters[POSTERS];
    for (int i = 0; i < POSTERS; i++) {
        posters[i] = (struct poster){.office = &office, .id = i};
        posters[i].letters = calloc(POSTS, sizeof(struct letter));
        assert_int_equal(pthread_create(&posters[i].thread, NULL, poster_run, &posters[i]), 0);
    }
    int next[POSTERS] = {0};
    int taken = 0;
    int sleeps = 0;
    while (taken < POSTERS * POSTS) {
        struct mailbox_node *node = mailbox_take(&office.mailbox);
        if (!node && mailbox_sleep(&office.mailbox)) {
            sleeps++;
            struct pollfd pollfd = {.fd = office.event_fd, .events = POLLIN};
            assert_int_equal(poll(&pollfd, 1, DEADLINE_MS), 1);
            uint64_t n;
            assert_int_equal(read(office.event_fd, &n, sizeof(n)), sizeof(n));
            mailbox_awake(&office.mailbox);
        }
        for (; node; taken++) {
            struct letter *letter = (struct letter *)node;
            node = node->next;
            assert_int_equal(letter->number, next[letter->poster]++);
        }
    }
    for (int i = 0; i < POSTERS; i++) {
        pthread_join(posters[i].thread, NULL);
        free(posters[i].letters);
    }
    assert_null(mailbox_take(&office.mailbox));
    /* A poster that raced with mailbox_sleep() may wake once although the reader stayed up. */
    assert_true(atomic_load(&office.wakes) >= sleeps);
    close(office.event_fd);
}

static void count_wake(void *ctx)
{
    (*(int *)ctx)++;
}

static void mailbox_wakes_a_sleeper_once_and_nobody_else(void **state)
{
    int wakes = 0;
    struct mailbox mailbox;
    mailbox_init(&mailbox, count_wake, &wakes);
    struct mailbox_node nodes[4];
    mailbox_post(&mailbox, &nodes[0]);
    assert_int_equal(wakes, 0);
    assert_false(mailbox_sleep(&mailbox)); /* there is something: no sleep */
    assert_ptr_equal(mailbox_take(&mailbox), &nodes[0]);
    assert_true(mailbox_sleep(&mailbox));
    mailbox_post(&mailbox, &nodes[1]);
    mailbox_post(&mailbox, &nodes[2]);
    assert_int_equal(wakes, 1);
    mailbox_awake(&mailbox);
    mailbox_post(&mailbox, &nodes[3]);
    assert_int_equal(wakes, 1);
    struct mailbox_node *node = mailbox_take(&mailbox);
    for (int i = 1; i < 4; i++, node = node->next)
        assert_ptr_equal(node, &nodes[i]);
    assert_null(node);
}

/* --- epoch --- */

struct object {
    struct epoch_item item;
    uint64_t number;
    uint64_t copy; /* == number while alive */
};

static uint64_t freed_count;

static void object_free(struct epoch_item *item)
{
    struct object *object = (struct object *)item;
    object->number = UINT64_MAX; /* a reader that still looks sees it, if no sanitizer does */
    free(object);
    freed_count++;
}

static struct object *object_new(uint64_t number)
{
    struct object *object = calloc(1, sizeof(*object));
    object->number = object->copy = number;
    return object;
}

static void epoch_frees_only_behind_the_last_guard(void **state)
{
    static struct epoch epoch;
    epoch_init(&epoch);
    struct epoch_slot *a = epoch_register(&epoch);
    struct epoch_slot *b = epoch_register(&epoch);
    freed_count = 0;
    epoch_enter(&epoch, a);
    epoch_retire(&epoch, &object_new(1)->item, object_free);
    assert_int_equal(epoch_reclaim(&epoch, 10), 0);
    epoch_enter(&epoch, b); /* came later: does not hold object 1 */
    epoch_leave(a);
    assert_int_equal(epoch_reclaim(&epoch, 10), 1);
    epoch_retire(&epoch, &object_new(2)->item, object_free);
    epoch_retire(&epoch, &object_new(3)->item, object_free);
    epoch_retire(&epoch, &object_new(4)->item, object_free);
    assert_int_equal(epoch_reclaim(&epoch, 10), 0);
    epoch_leave(b);
    assert_int_equal(epoch_reclaim(&epoch, 2), 2);
    assert_int_equal(epoch.retired_count, 1);
    assert_int_equal(freed_count, 3);
    epoch_done(&epoch);
    assert_int_equal(freed_count, 4);
}

#define READERS 3
#define SWAPS   30000

struct shared {
    struct epoch epoch;
    _Atomic(struct object *) current;
    atomic_bool stop;
    atomic_ullong reads;
};

static void *reader_run(void *ctx)
{
    struct shared *shared = ctx;
    struct epoch_slot *slot = epoch_register(&shared->epoch);
    uint64_t last = 0;
    uint64_t wrong = 0;
    while (!atomic_load_explicit(&shared->stop, memory_order_relaxed)) {
        epoch_enter(&shared->epoch, slot);
        struct object *object = atomic_load_explicit(&shared->current, memory_order_acquire);
        wrong += object->number != object->copy || object->number < last;
        last = object->number;
        wrong += object->copy != last;
        epoch_leave(slot);
        atomic_fetch_add_explicit(&shared->reads, 1, memory_order_relaxed);
    }
    return (void *)(uintptr_t)wrong;
}

static void epoch_keeps_what_racing_readers_see(void **state)
{
    static struct shared shared;
    epoch_init(&shared.epoch);
    atomic_store(&shared.current, object_new(0));
    freed_count = 0;
    pthread_t threads[READERS];
    for (int i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, reader_run, &shared), 0);
    uint64_t deadline_ms = clock_mono_ms() + DEADLINE_MS;
    uint64_t made = 0;
    /* Until the readers have raced with it for a while, on however few cores. */
    while (made < SWAPS || atomic_load(&shared.reads) < SWAPS) {
        assert_true(clock_mono_ms() < deadline_ms);
        struct object *before = atomic_load(&shared.current);
        atomic_store_explicit(&shared.current, object_new(++made), memory_order_release);
        epoch_retire(&shared.epoch, &before->item, object_free);
        epoch_reclaim(&shared.epoch, 4);
    }
    atomic_store(&shared.stop, true);
    for (int i = 0; i < READERS; i++) {
        void *wrong;
        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
    while (epoch_reclaim(&shared.epoch, 100))
        ;
    assert_int_equal(freed_count, made);
    epoch_done(&shared.epoch);
    free(atomic_load(&shared.current));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mailbox_wakes_a_sleeper_once_and_nobody_else),
        cmocka_unit_test(mailbox_loses_nothing_and_keeps_each_posters_order),
        cmocka_unit_test(epoch_frees_only_behind_the_last_guard),
        cmocka_unit_test(epoch_keeps_what_racing_readers_see),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
