/* A store out of a file of a real etcd (3.4.23): 150 keys and some, compacted at 90, a lease, a
 * user and a role. */
#include "base/check.h"
#include "mvcc/hash.h"
#include "stage/store_build.h"
#include "stage/store_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define INDEX 166
/* What etcd 3.4.23 answers to HashKV at the file's last revision. */
#define HASH 1914335202u

static char parent[64];
static const char *seed_path;
static struct buf bytes;
static struct bolt_file file;

static void fatal(void *ctx, const char *what, const char *name, err e)
{
    fail_msg("fatal: %s %s: %s", what, name, err_text(e));
    abort();
}

static struct stage_build_config config_make(void)
{
    return (struct stage_build_config){.fs = &io_fs_real,
                                       .parent = parent,
                                       .index = INDEX,
                                       .owner = {7, 8},
                                       .seed = 1,
                                       .fatal = fatal};
}

/* The seeds of the fuzz target have a byte in front. */
static int group_setup(void **state)
{
    FILE *in = fopen(seed_path, "r");
    CHECK(in);
    CHECK(err_ok(buf_reserve(&bytes, 1 << 20)));
    bytes.len = fread(bytes.data, 1, 1 << 20, in);
    fclose(in);
    CHECK(err_ok(bolt_file_open(&file, bytes_skip(buf_bytes(&bytes), 1), NULL)));
    CHECK(err_ok(bolt_file_check(&file, NULL)));
    (void)snprintf(parent, sizeof(parent), "/tmp/store-build-%d-XXXXXX", getpid());
    CHECK(mkdtemp(parent));
    return 0;
}

static int group_teardown(void **state)
{
    CHECK(err_ok(stage_store_remove_others(&io_fs_real, parent, UINT64_MAX)));
    CHECK(rmdir(parent) == 0);
    buf_done(&bytes);
    return 0;
}

static void what_is_not_ended_is_gone(void **state)
{
    struct stage_build_config config = config_make();
    struct stage_build *build;
    struct io_names names AUTO(io_names_done) = {0};
    uint64_t index;
    assert_true(err_ok(stage_build_begin(&config, &build)));
    assert_true(err_ok(stage_build_load(build, &file, false, NULL)));
    assert_true(err_is(stage_store_find(&io_fs_real, parent, UINT64_MAX, &index), ERR_NOT_FOUND));
    stage_build_free(build);
    int dir;
    assert_true(err_ok(io_open(&io_fs_real, IO_CWD, parent, IO_READ | IO_DIRECTORY, 0, &dir)));
    assert_true(err_ok(io_list(&io_fs_real, dir, &names)));
    io_close(&io_fs_real, dir);
    assert_int_equal(names.count, 0);
}

struct opened {
    struct epoch epoch;
    struct mailbox completions;
    struct stage_store *stage;
    struct stage_store_recovery recovery;
    struct tail *tail;
    struct mvcc_store *store;
};

/* As a server opens it. */
static void open_built(struct opened *self)
{
    char path[128];
    struct revlog_fault fault;
    epoch_init(&self->epoch);
    mailbox_init(&self->completions, NULL, NULL);
    (void)snprintf(path, sizeof(path), "%s/%016x", parent, INDEX);
    struct stage_store_config config = {.fs = &io_fs_real,
                                        .dir = path,
                                        .owner = {7, 8},
                                        .epoch = &self->epoch,
                                        .completions = &self->completions,
                                        .fatal = fatal};
    assert_true(err_ok(stage_store_open(&config, 0, &self->stage, &self->recovery, &fault)));
    uint64_t seq = self->recovery.frame.seq, from = 0;
    self->tail = tail_new(&self->epoch, seq, NULL);
    revlog_set_tail(self->recovery.log, self->tail);
    struct mvcc_store_config store = {&self->epoch, self->recovery.log, self->tail};
    self->store = mvcc_store_new(&store);
    for (bool done = false; !done;) {
        unsigned budget = 1000;
        assert_true(err_ok(mvcc_store_replay_log(self->store, &from, seq, &budget, &done, &fault)));
    }
    assert_true(err_ok(mvcc_store_open(self->store, seq, self->recovery.frame.revision)));
}

static void close_built(struct opened *self)
{
    mvcc_store_free(self->store);
    revlog_free(self->recovery.log);
    epoch_done(&self->epoch);
    tail_free(self->tail);
    stage_store_free(self->stage);
}

static void a_store_of_etcd_becomes_ours(void **state)
{
    struct stage_build_config config = config_make();
    struct stage_build *build;
    uint64_t index;
    assert_true(err_ok(stage_build_begin(&config, &build)));
    assert_true(err_ok(stage_build_load(build, &file, false, NULL)));
    assert_true(err_ok(stage_build_end(build, 2, BYTES_LIT("voters"))));
    stage_build_free(build);
    assert_true(err_ok(stage_store_find(&io_fs_real, parent, UINT64_MAX, &index)));
    assert_int_equal(index, INDEX);

    struct opened opened;
    struct mvcc_hash hash;
    bool done;
    open_built(&opened);
    const struct mvcc_view *view = mvcc_store_view(opened.store);
    assert_int_equal(opened.recovery.frame.index, INDEX);
    assert_int_equal(opened.recovery.frame.term, 2);
    assert_int_equal(mvcc_store_revision(opened.store), 155);
    assert_int_equal(mvcc_store_compact_revision(opened.store), 90);
    assert_int_equal(mvcc_root_live(view->root), 151);
    assert_true(err_ok(mvcc_hash_begin(&hash, view, 0)));
    unsigned budget = 1000;
    assert_true(err_ok(mvcc_hash_run(&hash, view, &budget, &done)));
    assert_true(done);
    mvcc_hash_done(&hash);
    assert_int_equal(hash.hash, HASH);
    struct mvcc_bucket_cursor at;
    mvcc_bucket_cursor_seek(&at, view, MVCC_BUCKET_LEASE, BYTES_NONE);
    assert_true(mvcc_bucket_cursor_valid(&at));
    mvcc_bucket_cursor_seek(&at, view, MVCC_BUCKET_AUTH_USERS, BYTES_NONE);
    assert_true(mvcc_bucket_cursor_valid(&at));
    close_built(&opened);
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    seed_path = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_ended_is_gone),
        cmocka_unit_test(a_store_of_etcd_becomes_ours),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
