/* Starts on what may lie on a disk: each row of the table of starts (wal/start.h), and what a power
 * cut at any call leaves of an install. The received state is a file of a real etcd (3.4.23). */
#include "../../sim/disk.h"
#include "base/check.h"
#include "server/boot.h"
#include "server/import.h"
#include "server/staged_store.h"
#include "wal/raft_codec.h"
#include "wal/start.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define assert_ok(e) assert_string_equal(err_ok(e) ? "OK" : err_name(e), "OK")
#define PARENT       "/data/member/store"
#define FILE_INDEX   162u /* of the last change that the file holds */
#define INDEX        166u /* of the snapshot that it came as */
#define TERM         2u
#define MEMBER       UINT64_C(0xa1)
#define CLUSTER      UINT64_C(0xc1)

static const char *file_path;
static struct buf file;
static struct config config;
static const uint8_t metadata[] = {0x08, 0xa1, 0x01, 0x10, 0xc1, 0x01};

struct world {
    struct disk *disk;
    struct io_fs fs;
    struct mailbox log_completions, store_completions;
    struct epoch epoch;
    struct boot boot;
    bool booted;
};

static void fatal(void *ctx, const char *what, const char *name, err e)
{
    fail_msg("%s %s: %s", what, name ? name : "", err_text(e));
    abort();
}

/* A power cut that is looked at from outside: at the call that counts a copy is made of what would
 * be left, and the life goes on. */
struct cut {
    struct disk *disk, *left;
    uint64_t calls; /* until then */
    bool armed;
    bool recorded, recorded_at_cut; /* the install's record was durable */
};

static enum disk_fault never(void *ctx, const char *call, const char *name, bool is_sync)
{
    return DISK_FINE;
}

static const struct disk_hooks fine = {.before = never};

static enum disk_fault count_down(void *ctx, const char *call, const char *name, bool is_sync)
{
    struct cut *cut = ctx;
    if (!cut->armed || cut->calls--)
        return DISK_FINE;
    cut->armed = false;
    cut->left = disk_copy_after(cut->disk, &fine, 11, true);
    cut->recorded_at_cut = cut->recorded;
    return DISK_FINE;
}

static void world_on(struct world *w, struct disk *disk)
{
    *w = (struct world){.disk = disk, .fs = *disk_fs(disk)};
    mailbox_init(&w->log_completions, NULL, NULL);
    mailbox_init(&w->store_completions, NULL, NULL);
}

static void world_begin_with(struct world *w, const struct disk_hooks *hooks, uint64_t seed)
{
    static const char *const dirs[] = {"/data", "/data/member", PARENT};
    static const char *const above[] = {"/", "/data", "/data/member"};
    world_on(w, disk_new(hooks, seed));
    for (unsigned i = 0; i < 3; i++) {
        int dir;
        assert_ok(io_mkdir(&w->fs, IO_CWD, dirs[i], 0700));
        assert_ok(io_open(&w->fs, IO_CWD, above[i], IO_READ | IO_DIRECTORY, 0, &dir));
        assert_ok(io_sync_dir(&w->fs, dir));
        io_close(&w->fs, dir);
    }
}

static void world_begin(struct world *w)
{
    world_begin_with(w, &fine, 3);
}

static void world_end(struct world *w)
{
    disk_free(w->disk);
}

/* ── What lies there ────────────────────────────────────────────────────────────────────────── */

static struct raft_conf_state conf_of_one(void)
{
    return (struct raft_conf_state){.voters = {.count = 1, .ids = {MEMBER}}};
}

static void put_store(struct world *w, uint64_t index, uint64_t term, const char *suffix)
{
    struct raft_conf_state conf = conf_of_one();
    struct arena arena;
    const char *reason;
    arena_init(&arena, 4096);
    const struct staged_store staged = {.build = {.fs = &w->fs,
                                                  .parent = PARENT,
                                                  .index = index,
                                                  .owner = {CLUSTER, MEMBER},
                                                  .seed = 1,
                                                  .fatal = fatal},
                                        .config = &config,
                                        .term = term,
                                        .conf = &conf};
    err e = staged_store_make(&staged, bytes_skip(buf_bytes(&file), 1), &arena, &reason);
    if (e.code)
        fail_msg("%s", reason);
    if (strcmp(suffix, ".staged") != 0)
        assert_ok(stage_store_rename(&w->fs, PARENT, index, ".staged", suffix));
    arena_done(&arena);
}

static struct stage_log_config log_config(struct world *w)
{
    return (struct stage_log_config){.fs = &w->fs,
                                     .dir = "/data/member/wal",
                                     .segment_bytes = 65536,
                                     .completions = &w->log_completions,
                                     .fatal = fatal};
}

static void settle(struct world *w, struct stage_log *log)
{
    struct mailbox_node *node = mailbox_take(&w->log_completions);
    while (node) {
        struct stage_log_reply *reply = LIST_ENTRY(node, struct stage_log_reply, node);
        node = node->next;
        stage_log_settle(log, reply);
        if (reply->kind == STAGE_LOG_DONE)
            stage_log_batch_free(LIST_ENTRY(reply, struct stage_log_batch, reply));
    }
}

/* Entries 1 … last of that term, committed up to commit. */
static void put_log(struct world *w, uint64_t last, uint64_t term, uint64_t commit)
{
    struct stage_log_config with = log_config(w);
    struct raft_entry *entries = calloc(last, sizeof(*entries));
    for (uint64_t i = 0; i < last; i++)
        entries[i] = (struct raft_entry){.index = i + 1, .term = term};
    const struct stage_log_bootstrap bootstrap = {.metadata = bytes_of(metadata, sizeof(metadata)),
                                                  .entries = entries,
                                                  .entry_count = last,
                                                  .state = {term, MEMBER, commit}};
    assert_ok(stage_log_create(&with, &bootstrap));
    free(entries);
}

/* A snapshot's record with a state that reaches it, as an install or as a frame's. */
static void put_record(struct world *w, uint64_t index, bool installs)
{
    struct stage_log_config with = log_config(w);
    struct stage_log *log;
    struct stage_log_recovery recovery;
    struct wal_fault fault;
    struct raft_conf_state conf = conf_of_one();
    struct buf bytes;
    buf_init(&bytes, 0);
    assert_ok(raft_codec_conf_state_encode(&conf, &bytes));
    assert_ok(stage_log_open(&with, &log, &recovery, &fault));
    assert_ok(stage_log_prepare(log));
    struct stage_log_batch *batch = stage_log_batch_new(0);
    batch->id = 1;
    batch->must_sync = batch->has_state = batch->has_snapshot = true;
    batch->installs = installs;
    batch->term = TERM;
    batch->state = (struct raft_hard_state){TERM, MEMBER, index};
    batch->snapshot = (struct wal_snapshot){index, TERM, buf_bytes(&bytes)};
    stage_log_submit(log, batch);
    assert_true(stage_log_begin(log));
    stage_log_finish(log);
    settle(w, log);
    stage_log_free(log);
    buf_done(&bytes);
}

/* ── Starts ─────────────────────────────────────────────────────────────────────────────────── */

static err boot_up(struct world *w, const char **ret_reason)
{
    epoch_init(&w->epoch);
    const struct boot_config with = {.config = &config,
                                     .fs = &w->fs,
                                     .epoch = &w->epoch,
                                     .log_completions = &w->log_completions,
                                     .store_completions = &w->store_completions,
                                     .seed = 7,
                                     .fatal = fatal,
                                     .log_segment_bytes = 65536,
                                     .store_segment_bytes = 65536};
    *ret_reason = "";
    return boot_open(&w->boot, &with, ret_reason);
}

static void boot_down(struct world *w)
{
    struct stage_store *store = w->boot.store.stage;
    if (w->boot.log)
        settle(w, w->boot.log);
    boot_done(&w->boot);
    epoch_done(&w->epoch);
    stage_store_free(store);
}

static void assert_starts(struct world *w, uint64_t applied, uint64_t skip_until)
{
    const char *reason;
    err e = boot_up(w, &reason);
    if (e.code)
        fail_msg("refused: %s", reason);
    assert_int_equal(w->boot.start.applied_index, applied);
    assert_int_equal(w->boot.start.skip_until, skip_until);
    assert_true(w->boot.start.hard_state.commit >= applied);
    boot_down(w);
}

static void assert_refused(struct world *w, enum wal_refusal why)
{
    const char *reason;
    assert_false(err_ok(boot_up(w, &reason)));
    assert_string_equal(reason, wal_refusal_text(why));
    boot_down(w);
}

/* Exactly these lie in the store's parent; NULL ends them. */
static void assert_stores(struct world *w, const char *const *names)
{
    int dir;
    struct io_names found;
    assert_ok(io_open(&w->fs, IO_CWD, PARENT, IO_READ | IO_DIRECTORY, 0, &dir));
    assert_ok(io_list(&w->fs, dir, &found));
    io_close(&w->fs, dir);
    size_t i = 0;
    for (; names[i]; i++) {
        assert_true(i < found.count);
        assert_string_equal(found.names[i].text, names[i]);
    }
    assert_int_equal(found.count, i);
    io_names_done(&found);
}
#define ASSERT_STORES(w, ...) assert_stores((w), (const char *const[]){__VA_ARGS__, NULL})

static void at_the_frame(void **state)
{
    struct world w;
    world_begin(&w);
    put_log(&w, 200, TERM, 150); /* the commit on the disk lags */
    put_store(&w, INDEX, TERM, "");
    assert_starts(&w, INDEX, INDEX);
    assert_starts(&w, INDEX, INDEX);
    put_record(&w, INDEX, false);
    assert_starts(&w, INDEX, INDEX);
    ASSERT_STORES(&w, "00000000000000a6");
    world_end(&w);
}

/* A start that ended before it had made the name durable, and one that found the name. */
static void a_store_that_an_earlier_start_has_named(void **state)
{
    struct world w;
    world_begin(&w);
    put_log(&w, 10, TERM, 10);
    assert_ok(io_mkdir(&w.fs, IO_CWD, PARENT "/0000000000000000", 0700));
    assert_starts(&w, 0, 0);
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct world left;
        world_on(&left, disk_copy_after(w.disk, &fine, seed, true));
        ASSERT_STORES(&left, "0000000000000000");
        world_end(&left);
    }
    world_end(&w);
}

static void terms_that_disagree(void **state)
{
    struct world w;
    world_begin(&w);
    put_log(&w, 200, TERM + 1, 200);
    put_store(&w, INDEX, TERM, "");
    assert_refused(&w, WAL_REFUSAL_TERMS_DISAGREE);
    world_end(&w);
}

static void a_staged_store_is_installed(void **state)
{
    struct world w;
    world_begin(&w);
    put_log(&w, 100, TERM, 100);
    put_store(&w, INDEX, TERM, ".staged");
    /* Without a record it is nothing: the log goes on from its own. */
    assert_starts(&w, 0, 0);
    ASSERT_STORES(&w, "0000000000000000");
    put_record(&w, INDEX, true);
    assert_refused(&w, WAL_REFUSAL_STAGED_STORE_MISSING);
    put_store(&w, INDEX, TERM, ".staged");
    assert_starts(&w, INDEX, INDEX);
    ASSERT_STORES(&w, "00000000000000a6");
    assert_starts(&w, INDEX, INDEX);
    world_end(&w);
}

static void a_log_without_a_store(void **state)
{
    struct world w;
    world_begin(&w);
    put_log(&w, 100, TERM, 100);
    assert_starts(&w, 0, 0); /* all of it is applied */
    world_end(&w);
    world_begin(&w);
    put_log(&w, 100, TERM, 100);
    put_record(&w, INDEX, true);
    assert_refused(&w, WAL_REFUSAL_LOG_WITHOUT_STORE);
    put_store(&w, INDEX, TERM, ".staged");
    assert_starts(&w, INDEX, INDEX);
    world_end(&w);
}

static void a_store_without_a_log(void **state)
{
    struct world w;
    world_begin(&w);
    put_store(&w, INDEX, TERM, "");
    assert_refused(&w, WAL_REFUSAL_STORE_WITHOUT_LOG);
    world_end(&w);
}

static void a_frame_beyond_the_log(void **state)
{
    struct world w;
    world_begin(&w);
    put_log(&w, 100, TERM, 100);
    put_store(&w, INDEX, TERM, "");
    assert_refused(&w, WAL_REFUSAL_LOG_LOST_ENTRIES);
    world_end(&w);
    /* Another etcd's may be: it applies before its log has it. */
    world_begin(&w);
    put_log(&w, 100, TERM, 100);
    assert_ok(io_mkdir(&w.fs, IO_CWD, "/data/member/snap", 0700));
    int db;
    assert_ok(io_open(&w.fs, IO_CWD, "/data/member/snap/db", IO_WRITE | IO_CREATE, 0600, &db));
    assert_ok(io_write_bytes(&w.fs, db, bytes_skip(buf_bytes(&file), 1), 0));
    io_close(&w.fs, db);
    assert_starts(&w, 100, FILE_INDEX);
    ASSERT_STORES(&w, "00000000000000a2");
    assert_starts(&w, 100, FILE_INDEX);
    assert_true(import_is_frame(&w.fs, PARENT, FILE_INDEX, FILE_INDEX));
    assert_false(import_is_frame(&w.fs, PARENT, FILE_INDEX, FILE_INDEX + 1));
    world_end(&w);
}

static void leftovers_go(void **state)
{
    struct world w;
    int tmp;
    world_begin(&w);
    put_log(&w, 200, TERM, 200);
    put_store(&w, INDEX, TERM, "");
    put_store(&w, INDEX + 1, TERM, ".staged");
    put_store(&w, INDEX + 2, TERM, ".new");
    put_store(&w, INDEX - 1, TERM, ".aside");
    put_store(&w, INDEX + 3, TERM, ".staged");
    assert_ok(io_open(&w.fs, IO_CWD, PARENT "/received.tmp", IO_WRITE | IO_CREATE, 0600, &tmp));
    io_close(&w.fs, tmp);
    assert_starts(&w, INDEX, INDEX);
    ASSERT_STORES(&w, "00000000000000a5.aside", "00000000000000a6");
    world_end(&w);
}

/* ── Installs that are cut ──────────────────────────────────────────────────────────────────── */

/* A member at index 100 of a log of 120 stages a state, records it, starts on it. */
static void install(struct world *w, struct cut *cut)
{
    put_store(w, INDEX, TERM, ".staged");
    put_record(w, INDEX, true);
    cut->recorded = true;
    assert_starts(w, INDEX, INDEX);
}

static bool install_cut_at(uint64_t calls)
{
    struct world w, after;
    struct cut cut = {.calls = calls};
    const struct disk_hooks hooks = {.ctx = &cut, .before = count_down};
    world_begin_with(&w, &hooks, calls * 31 + 5);
    cut.disk = w.disk;
    put_log(&w, 120, TERM, 100);
    assert_starts(&w, 0, 0); /* its own store lies there */
    cut.armed = true;
    install(&w, &cut);
    world_end(&w);
    if (!cut.left)
        return false;
    world_on(&after, cut.left);
    const char *reason;
    err e = boot_up(&after, &reason);
    if (e.code)
        fail_msg("cut at call %llu: %s", (unsigned long long)calls, reason);
    uint64_t applied = after.boot.start.applied_index;
    boot_down(&after);
    /* The old one or the new one, and the new one once the log had it. */
    assert_true(applied == INDEX || (applied == 0 && !cut.recorded_at_cut));
    if (applied == INDEX)
        ASSERT_STORES(&after, "00000000000000a6");
    else
        ASSERT_STORES(&after, "0000000000000000");
    assert_starts(&after, applied, applied);
    /* What was lost is sent again. */
    if (applied == 0) {
        install(&after, &cut);
        ASSERT_STORES(&after, "00000000000000a6");
    }
    world_end(&after);
    return true;
}

static void a_cut_install_leaves_the_old_or_the_new(void **state)
{
    uint64_t calls = 0;
    while (install_cut_at(calls))
        calls++;
    print_message("cut before each of %llu calls\n", (unsigned long long)calls);
    assert_true(calls > 20);
}

static int group_setup(void **state)
{
    static const char *const argv[] = {"--name=a", "--data-dir=/data",
                                       "--initial-cluster=a=http://127.0.0.1:2380",
                                       "--initial-advertise-peer-urls=http://127.0.0.1:2380"};
    static char *const none[] = {NULL};
    const char *reason;
    CHECK(config_load(&config, 4, (char **)(uintptr_t)argv, (char **)(uintptr_t)none, &reason) ==
          CONFIG_GO);
    buf_init(&file, 0);
    FILE *in = fopen(file_path, "r");
    CHECK(in && err_ok(buf_reserve(&file, 1 << 20)));
    file.len = fread(file.data, 1, 1 << 20, in);
    return fclose(in);
}

static int group_teardown(void **state)
{
    buf_done(&file);
    config_done(&config);
    return 0;
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    file_path = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(at_the_frame),
        cmocka_unit_test(a_store_that_an_earlier_start_has_named),
        cmocka_unit_test(terms_that_disagree),
        cmocka_unit_test(a_staged_store_is_installed),
        cmocka_unit_test(a_log_without_a_store),
        cmocka_unit_test(a_store_without_a_log),
        cmocka_unit_test(a_frame_beyond_the_log),
        cmocka_unit_test(leftovers_go),
        cmocka_unit_test(a_cut_install_leaves_the_old_or_the_new),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
