/* The power goes before each call that changes the disk, in turn, with what the disk had not
 * synced lost or kept sector by sector. The next start finds a log with everything that was
 * vouched for, or, while it was being made, none; and goes on from there, to the next cut. */
#include "memory_disk.h"
#include "stage/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define assert_ok(e) assert_string_equal(err_ok(e) ? "OK" : err_name(e), "OK")
#define DIR_PATH     "/member/wal"
#define INDEX_MAX    512u
#define SEEDS        6u

/* What was promised: the entries' terms by index, and how far. */
struct promise {
    bool created;
    uint64_t last_index;
    uint64_t terms[INDEX_MAX];
    struct raft_hard_state state;
    uint64_t released;
};

struct life {
    struct memory_disk *disk;
    struct io_fs fs;
    struct mailbox completions;
    struct stage_log_config config;
    struct stage_log *log;
    struct stage_log_recovery recovery;
    uint64_t commit;        /* the highest one submitted */
    struct promise promise; /* vouched for by completions */
    struct promise at_cut;
    struct memory_disk *left;
};

static const uint8_t metadata[] = {0x08, 0x05, 0x10, 0x06};

static void on_fatal(void *ctx, const char *what, const char *file, err e)
{
    fail_msg("%s: %s", what, err_text(e));
}

static void on_cut(void *ctx, struct memory_disk *left)
{
    struct life *life = ctx;
    life->at_cut = life->promise;
    life->left = left;
}

/* Entry (index, term) has these bytes. */
static size_t data_of(uint64_t index, uint64_t term, uint8_t data[400])
{
    size_t len = (size_t)(index * 53 + term * 7) % 400;
    memset(data, (int)(index * 3 + term), len);
    return len;
}

static void life_init(struct life *life, struct memory_disk *disk)
{
    life->disk = disk;
    life->left = NULL;
    life->log = NULL;
    life->fs = memory_disk_fs(disk);
    mailbox_init(&life->completions, NULL, NULL);
    life->config = (struct stage_log_config){.fs = &life->fs,
                                             .dir = DIR_PATH,
                                             .segment_bytes = 4096,
                                             .batch_bytes_max = 2000,
                                             .completions = &life->completions,
                                             .fatal = on_fatal};
}

static void submit(struct life *life, uint64_t index, uint64_t term, unsigned count)
{
    struct stage_log_batch *batch = stage_log_batch_new(count);
    for (unsigned i = 0; i < count; i++) {
        uint8_t data[400];
        size_t len = data_of(index + i, term, data);
        struct raft_entry entry = {.term = term, .index = index + i};
        entry.blob = raft_blob_copy(bytes_of(data, len), &entry.data);
        stage_log_batch_add(batch, &entry);
        raft_blob_unref(entry.blob);
    }
    batch->must_sync = count > 0;
    batch->has_state = true;
    if (index > 4 && index - 4 > life->commit)
        life->commit = index - 4;
    batch->state = (struct raft_hard_state){term, 5, life->commit};
    stage_log_submit(life->log, batch);
}

static void settle(struct life *life)
{
    struct mailbox_node *node = mailbox_take(&life->completions);
    while (node) {
        struct stage_log_reply *reply = LIST_ENTRY(node, struct stage_log_reply, node);
        node = node->next;
        stage_log_settle(life->log, reply);
        if (reply->kind != STAGE_LOG_DONE)
            continue;
        struct stage_log_batch *batch = LIST_ENTRY(reply, struct stage_log_batch, reply);
        struct promise *promise = &life->promise;
        for (size_t i = 0; i < batch->entry_count; i++)
            promise->terms[batch->entries[i].index] = batch->entries[i].term;
        if (batch->entry_count)
            promise->last_index = batch->last_index;
        if (batch->must_sync)
            promise->state = batch->state;
        stage_log_batch_free(batch);
    }
}

static void run(struct life *life)
{
    while (stage_log_begin(life->log)) {
        stage_log_finish(life->log);
        settle(life);
    }
    settle(life);
}

/* Opens what is there; it must hold what was promised and may hold what was still in flight. */
static void start(struct life *life, const struct promise *promise)
{
    struct wal_fault fault = {0};
    err e = stage_log_open(&life->config, &life->log, &life->recovery, &fault);
    if (err_is(e, ERR_CORRUPT))
        fail_msg("%s at %u of segment %u", fault.what, (unsigned)fault.offset,
                 (unsigned)fault.segment.sequence);
    assert_ok(e);
    const struct stage_log_recovery *found = &life->recovery;
    assert_true(bytes_equal(found->metadata, bytes_of(metadata, sizeof(metadata))));
    assert_true(found->state.term >= promise->state.term);
    assert_true(found->state.commit >= promise->state.commit);
    assert_true(found->first_index <= promise->released + 1 || found->first_index == 1);
    /* Entries in flight may have replaced promised ones, by a higher term only. */
    if (found->last_index < promise->last_index)
        assert_true(found->last_term > promise->terms[promise->last_index]);
    for (uint64_t i = found->first_index; i <= found->last_index; i++) {
        struct raft_entry entry;
        size_t count, len;
        uint8_t data[400];
        assert_ok(stage_log_entries(life->log, i, i + 1, 0, 1, &entry, &count));
        len = data_of(i, entry.term, data);
        assert_true(bytes_equal(entry.data, bytes_of(data, len)));
        if (i <= promise->last_index)
            assert_true(entry.term >= promise->terms[i]);
        raft_blob_unref(entry.blob);
    }
    assert_ok(stage_log_prepare(life->log));
    /* What was cut stays cut. */
    struct stage_log_recovery again;
    uint64_t last_index = found->last_index;
    stage_log_free(life->log);
    assert_ok(stage_log_open(&life->config, &life->log, &again, &fault));
    assert_int_equal(again.cut_bytes, 0);
    assert_int_equal(again.last_index, last_index);
    life->recovery = again;
    assert_ok(stage_log_prepare(life->log));
}

/* A bit of everything: batches of several sizes, an overwritten tail, marks, a release. */
static void live(struct life *life, uint64_t term, struct prng *prng)
{
    uint64_t index = life->recovery.last_index;
    life->promise.state = life->recovery.state;
    life->commit = life->recovery.state.commit;
    for (unsigned round = 0; round < 14; round++) {
        for (unsigned i = 0; i < 3; i++) {
            unsigned count = (unsigned)prng_below(prng, 4);
            submit(life, index + 1, term, count);
            index += count;
            if (round % 2)
                run(life); /* also batches of their own that need no sync */
        }
        run(life);
        if (round == 5 && index > life->promise.state.commit + 1) {
            term++;
            index -= 2;
        }
        if (round % 4 == 1)
            stage_log_mark(life->log);
        if (round == 10 && index > 30) {
            life->promise.released = index - 20;
            stage_log_release(life->log, index - 20);
        }
    }
    stage_log_mark(life->log);
}

static void create(struct life *life)
{
    struct stage_log_bootstrap bootstrap = {.metadata = bytes_of(metadata, sizeof(metadata)),
                                            .state = {1, 5, 0}};
    assert_ok(stage_log_create(&life->config, &bootstrap));
    life->promise.created = true;
    life->promise.state = bootstrap.state;
}

/* One life on a disk, cut before its call number `calls`. False: it did not last so long. */
static bool life_cut(struct life *life, struct memory_disk *disk, uint64_t calls, uint64_t seed)
{
    struct prng prng;
    bool exists;
    prng_init(&prng, seed);
    life_init(life, disk);
    memory_disk_cut_at(disk, calls, seed * 7919 + calls, on_cut, life);
    assert_ok(stage_log_exists(&life->fs, DIR_PATH, &exists));
    assert_true(exists || !life->promise.created);
    if (!exists) {
        life->promise = (struct promise){0};
        create(life);
    }
    start(life, &life->promise);
    uint64_t term = life->recovery.state.term + 1;
    for (uint64_t i = life->recovery.first_index; i <= life->recovery.last_index; i++)
        assert_ok(stage_log_term(life->log, i, &life->promise.terms[i]));
    life->promise.last_index = life->recovery.last_index;
    live(life, term, &prng);
    stage_log_free(life->log);
    life->log = NULL;
    bool lasted = life->left != NULL;
    memory_disk_free(disk);
    return lasted;
}

static void a_power_cut_at_each_call_loses_nothing_that_was_promised(void **state)
{
    static struct life life;
    uint64_t lives = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        bool lasted = true;
        for (uint64_t calls = 0; lasted; calls++) {
            life = (struct life){0};
            struct memory_disk *disk = memory_disk_new();
            memory_disk_mkdir(disk, "member");
            lasted = life_cut(&life, disk, calls, seed);
            /* Three more lives on what is left, each cut a little later than the one before. */
            for (unsigned i = 0; i < 3 && life.left; i++) {
                struct memory_disk *left = life.left;
                life.promise = life.at_cut;
                (void)life_cut(&life, left, calls % 23 + i * 11, seed + i);
                lives++;
            }
            memory_disk_free(life.left);
            lives++;
        }
    }
    assert_true(lives > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_power_cut_at_each_call_loses_nothing_that_was_promised),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
