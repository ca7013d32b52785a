/* The process dies at each call that changes a file, in turn; or the disk is full from there on.
 * The next start finds a whole prefix, at least what was reported synced, and no more of the
 * deleted than before.
 *
 * A life runs in a child, which writes what it was told into shared memory and dies by _exit in
 * the middle of the store's work. What the page cache holds survives, as after kill -9. */
#include "store_fixture.h"

#include <sys/mman.h>
#include <sys/wait.h>

struct shared {
    struct model model;
    uint64_t synced_seq;
    uint64_t written_seq;
    uint64_t calls;
};

static struct shared *shared;
static struct io_fs fs;
static uint64_t calls_left; /* until the child dies; UINT64_MAX: it does not */
static uint64_t full_after; /* calls that take room fail from there on, */
static uint64_t full_until; /* to here */

static void step(void)
{
    shared->calls++;
    if (calls_left != UINT64_MAX && calls_left-- == 0)
        _exit(3);
}

static bool is_full(void)
{
    return shared->calls >= full_after && shared->calls < full_until;
}

static err die_write(void *ctx, int file, struct iovec *iov, size_t count, uint64_t offset)
{
    step();
    return io_fs_real.write(io_fs_real.ctx, file, iov, count, offset);
}
static err die_sync_data(void *ctx, int file)
{
    step();
    return OK; /* of no use here but time */
}
static err die_sync_dir(void *ctx, int dir)
{
    step();
    return OK;
}
static err die_rename(void *ctx, int from_dir, const char *from, int to_dir, const char *to)
{
    step();
    return io_fs_real.rename(io_fs_real.ctx, from_dir, from, to_dir, to);
}
static err die_unlink(void *ctx, int dir, const char *name)
{
    step();
    return io_fs_real.unlink(io_fs_real.ctx, dir, name);
}
static err die_allocate(void *ctx, int file, unsigned flags, uint64_t offset, uint64_t len)
{
    step();
    if (is_full())
        return ERR_DISK_FULL;
    return io_fs_real.allocate(io_fs_real.ctx, file, flags, offset, len);
}
static err die_truncate(void *ctx, int file, uint64_t bytes)
{
    step();
    return io_fs_real.truncate(io_fs_real.ctx, file, bytes);
}
static err die_open(void *ctx, int dir, const char *name, unsigned flags, unsigned mode, int *ret)
{
    if (flags & IO_CREATE)
        step();
    if ((flags & IO_CREATE) && is_full())
        return ERR_DISK_FULL;
    return io_fs_real.open(io_fs_real.ctx, dir, name, flags, mode, ret);
}
static err read_cached(void *ctx, int file, void *to, size_t len, uint64_t offset, size_t *ret_len)
{
    return io_fs_real.read(io_fs_real.ctx, file, to, len, offset, ret_len);
}

static void fs_init(void)
{
    fs = io_fs_real;
    fs.write = die_write;
    fs.sync_data = die_sync_data;
    fs.sync = die_sync_data;
    fs.sync_dir = die_sync_dir;
    fs.rename = die_rename;
    fs.unlink = die_unlink;
    fs.allocate = die_allocate;
    fs.truncate = die_truncate;
    fs.open = die_open;
    fs.read_device = read_cached;
    calls_left = UINT64_MAX;
    full_after = full_until = UINT64_MAX;
}

/* Each look at it is 50 ms later. */
static uint64_t fast_clock(void *ctx)
{
    static uint64_t now;
    return now += 50000000;
}

static void remember(struct fixture *fixture)
{
    shared->model = fixture->model;
    shared->synced_seq = fixture->status.synced_seq;
    shared->written_seq = fixture->status.written_seq;
}

/* The steps until the store rests, told about after each. */
static void run_told(struct fixture *fixture, bool work)
{
    bool more = true;
    while (more) {
        more = stage_store_begin(fixture->store);
        stage_store_finish(fixture->store);
        fixture_settle(fixture);
        remember(fixture);
        if (!more && work) {
            more = stage_store_work(fixture->store);
            stage_store_finish(fixture->store);
            fixture_settle(fixture);
            remember(fixture);
        }
    }
}

/* One life: a bit of everything. */
static void live(struct fixture *fixture)
{
    for (int i = 0; i < 6; i++) {
        fixture_changes(fixture, 60);
        remember(fixture);
        struct mvcc_frame frame = fixture_frame(fixture);
        stage_store_flush(fixture->store, &frame);
        stage_store_sync(fixture->store);
        run_told(fixture, i % 2);
        if (i % 3 == 2) {
            fixture_sweep(fixture, fixture->status.synced_seq);
            remember(fixture);
            run_told(fixture, true);
        }
    }
}

static void check(struct fixture *fixture)
{
    uint64_t seq = fixture->recovery.frame.seq;
    assert_true(seq >= shared->synced_seq);
    assert_true(seq <= shared->model.seq);
    fixture_assert_log(fixture, seq);
    /* No file but those that are in use. */
    unsigned segments = revlog_table(fixture->log)->count;
    assert_int_equal(fixture_file_count(fixture, ".seg"), segments);
    assert_int_equal(fixture_file_count(fixture, ".row"), segments ? segments - 1 : 0);
    assert_int_equal(fixture_file_count(fixture, ".tmp"), 0);
    assert_true(fixture_file_count(fixture, ".checkpoint") <= 2);
}

/* The model as it was at that seq: what came later never happened. */
static void model_cut(struct model *model, uint64_t seq)
{
    memset(model->keys, 0, sizeof(model->keys));
    memset(model->live, 0, sizeof(model->live));
    for (uint64_t s = 1; s <= seq; s++) {
        model->keys[model->changes[s].key] = s;
        model->live[model->changes[s].key] = model->changes[s].kind == MVCC_PUT;
    }
    model->seq = seq;
    CHECK(model->floor <= seq);
}

/* lives: how many go before, so that there is something to clean and to check. */
static void die_at_every_call(unsigned lives)
{
    struct fixture *fixture = malloc(sizeof(*fixture));
    fixture_init(fixture, 8192);
    fixture->config.fs = &fs;
    fixture->config.source = &fixture->source;
    fixture->config.checkpoint_bytes = 20000;
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    unsigned deaths = 0, cleaned = 0, checkpoints = 0;
    char base[] = "/tmp/store-base-XXXXXX";
    assert_non_null(mkdtemp(base));
    fs_init();
    fixture_open(fixture);
    for (unsigned i = 0; i < lives; i++)
        live(fixture);
    struct shared *before = malloc(sizeof(*before));
    remember(fixture);
    *before = *shared;
    fixture_close(fixture);
    fixture_copy(fixture->dir, base, ".none");

    for (uint64_t at = 0;; at++) {
        fixture_dir_empty(fixture->dir);
        fixture_copy(base, fixture->dir, ".none");
        *shared = *before;
        fs_init();
        pid_t child = fork();
        if (child == 0) {
            calls_left = at;
            fixture->model = shared->model;
            fixture_open(fixture);
            fixture_sweep(fixture, fixture->model.floor);
            live(fixture);
            _exit(0);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status) && (WEXITSTATUS(status) == 3 || WEXITSTATUS(status) == 0));
        fs_init();
        fixture->model = shared->model;
        fixture_open(fixture);
        check(fixture);
        const struct segment_table *table = revlog_table(fixture->log);
        cleaned += table->count && table->segments[0]->name.generation > 0;
        checkpoints += fixture->recovery.checkpoint != NULL;
        model_cut(&fixture->model, fixture->recovery.frame.seq);
        fixture_assert_rebuild(fixture);
        /* It goes on as if nothing had been. */
        fixture_changes(fixture, 20);
        fixture_flush(fixture);
        fixture_assert_log(fixture, fixture->model.seq);
        fixture_close(fixture);
        if (WEXITSTATUS(status) == 0)
            break;
        deaths++;
    }
    print_message("died at %u calls, %u starts found a cleaned segment, %u a checkpoint\n", deaths,
                  cleaned, checkpoints);
    assert_true(deaths > 50 && cleaned > 0 && checkpoints > 0);
    fixture_dir_empty(base);
    rmdir(base);
    fixture_done(fixture);
    free(before);
    munmap(shared, sizeof(*shared));
    free(fixture);
}

static void dies_at_every_call_of_a_first_life(void **state)
{
    die_at_every_call(0);
}

static void dies_at_every_call_of_a_later_life(void **state)
{
    die_at_every_call(4);
}

/* No room from some call on, and room again later: nothing is lost, it is said, and all that waited
 * is written. */
static void a_full_disk_is_no_failure(void **state)
{
    shared = calloc(1, sizeof(*shared));
    unsigned told = 0;
    for (uint64_t at = 0; at < 400; at += 3) {
        struct fixture *fixture = malloc(sizeof(*fixture));
        fixture_init(fixture, 8192);
        fs_init();
        shared->calls = 0;
        full_after = at;
        fixture->config.fs = &fs;
        fixture->config.source = &fixture->source;
        fixture->config.checkpoint_bytes = 20000;
        fixture->config.now_ns = fast_clock;
        fixture_open(fixture);
        bool full = false;
        for (int i = 0; i < 12; i++) {
            fixture_changes(fixture, 60);
            struct mvcc_frame frame = fixture_frame(fixture);
            stage_store_flush(fixture->store, &frame);
            stage_store_sync(fixture->store);
            for (int n = 0; n < 50; n++) {
                bool more = stage_store_begin(fixture->store);
                stage_store_finish(fixture->store);
                more = stage_store_work(fixture->store) || more;
                stage_store_finish(fixture->store);
                fixture_settle(fixture);
                full = full || fixture->status.disk_full;
                if (!more)
                    break;
            }
            fixture_assert_log(fixture, fixture->model.seq);
            if (i % 4 == 3)
                fixture_sweep(fixture, fixture->status.synced_seq);
        }
        told += full;
        if (at < 30)
            assert_true(full);
        full_until = 0; /* room again */
        unsigned tries = 0;
        while (fixture->status.written_seq < fixture->model.seq) {
            assert_true(tries++ < 1000);
            fixture_run(fixture, true);
        }
        fixture_close(fixture);
        fixture_open(fixture);
        assert_int_equal(fixture->recovery.frame.seq, fixture->model.seq);
        fixture_assert_log(fixture, fixture->model.seq);
        fixture_done(fixture);
        free(fixture);
    }
    assert_true(told > 20);
    free(shared);
}

/* On the disk of a store with sealed, cleaned and open segments and a checkpoint: a flipped bit
 * anywhere is refused, or only shortens the log behind what was synced, or is seen by the read. */
static void flipped_bits_in_files_are_seen(void **state)
{
    shared = calloc(1, sizeof(*shared));
    struct fixture *fixture = malloc(sizeof(*fixture));
    fixture_init(fixture, 8192);
    fs_init();
    fixture->config.fs = &fs;
    fixture->config.source = &fixture->source;
    fixture->config.checkpoint_bytes = 20000;
    fixture_open(fixture);
    for (int i = 0; i < 4; i++)
        live(fixture);
    uint64_t synced = fixture->status.synced_seq;
    fixture_close(fixture);
    struct model before = fixture->model;
    char base[] = "/tmp/store-base-XXXXXX", own[sizeof(fixture->dir)];
    assert_non_null(mkdtemp(base));
    fixture_copy(fixture->dir, base, ".tmp");
    memcpy(own, fixture->dir, sizeof(own));
    unsigned refused = 0, by_read = 0, harmless = 0;
    struct prng prng;
    prng_init(&prng, 3);
    for (unsigned round = 0; round < 1500; round++) {
        fixture_dir_empty(fixture->dir);
        fixture_copy(base, fixture->dir, ".none");
        struct io_names names;
        int dir;
        assert_true(err_ok(io_open(&fs, IO_CWD, fixture->dir, IO_READ | IO_DIRECTORY, 0, &dir)));
        assert_true(err_ok(io_list(&fs, dir, &names)));
        io_close(&fs, dir);
        const char *name = names.names[prng_below(&prng, names.count)].text;
        char path[200];
        (void)snprintf(path, sizeof(path), "%s/%s", fixture->dir, name);
        FILE *file = fopen(path, "r+");
        fseek(file, 0, SEEK_END);
        long at = (long)prng_below(&prng, (uint64_t)ftell(file));
        fseek(file, at, SEEK_SET);
        int byte = fgetc(file);
        fseek(file, at, SEEK_SET);
        fputc(byte ^ 1 << prng_below(&prng, 8), file);
        fclose(file);
        io_names_done(&names);
        struct revlog_fault fault;
        fixture->model = before;
        err e = fixture_try_open(fixture, &fault);
        if (!err_ok(e)) {
            assert_true(err_is(e, ERR_CORRUPT) || err_is(e, ERR_MISMATCH));
            assert_true(fault.file[0]);
            epoch_done(&fixture->epoch);
            refused++;
            continue;
        }
        fixture_loaded(fixture);
        assert_true(fixture->recovery.frame.seq <= synced);
        bool seen = false;
        uint8_t blob[512];
        for (uint64_t seq = 1; seq <= fixture->recovery.frame.seq; seq++) {
            struct mvcc_record have, want = model_record(&before, seq, blob);
            e = revlog_read(fixture->log, seq, &have, &fault);
            if (err_is(e, ERR_CORRUPT)) {
                assert_int_equal(fault.seq, seq);
                seen = true;
            } else if (err_is(e, ERR_NOT_FOUND)) {
                assert_true(before.changes[seq].dead);
            } else {
                assert_true(err_ok(e));
                assert_int_equal(have.crc, want.crc);
                assert_true(bytes_equal(have.blob, want.blob));
            }
        }
        by_read += seen;
        harmless += !seen;
        fixture_close(fixture);
    }
    print_message("refused %u, seen by a read %u, without effect %u\n", refused, by_read, harmless);
    assert_true(refused > 20 && by_read > 50);
    fixture_dir_empty(base);
    rmdir(base);
    fixture_done(fixture);
    free(fixture);
    free(shared);
}

static void a_lost_file_is_refused(void **state)
{
    struct fixture *fixture = malloc(sizeof(*fixture));
    fixture_init(fixture, 8192);
    fs_init();
    shared = calloc(1, sizeof(*shared));
    fixture->config.fs = &fs;
    fixture_open(fixture);
    fixture_changes(fixture, 1000);
    fixture_flush(fixture);
    char path[200], aside[200], name[SEGMENT_NAME_BYTES];
    unsigned count = revlog_table(fixture->log)->count;
    struct segment_name names[64];
    assert_true(count > 4 && count < 64);
    for (unsigned i = 0; i < count; i++)
        names[i] = revlog_table(fixture->log)->segments[i]->name;
    fixture_close(fixture);
    for (unsigned i = 0; i + 1 < count; i++) {
        segment_name_print(&names[i], ".seg", name);
        (void)snprintf(path, sizeof(path), "%s/%s", fixture->dir, name);
        (void)snprintf(aside, sizeof(aside), "%s/aside", fixture->dir);
        assert_int_equal(rename(path, aside), 0);
        struct revlog_fault fault;
        assert_true(err_is(fixture_try_open(fixture, &fault), ERR_CORRUPT));
        assert_int_equal(fault.seq, names[i].first);
        epoch_done(&fixture->epoch);
        assert_int_equal(rename(aside, path), 0);
        /* Its rows alone: made again. */
        segment_name_print(&names[i], ".row", name);
        (void)snprintf(path, sizeof(path), "%s/%s", fixture->dir, name);
        assert_int_equal(unlink(path), 0);
        fixture_open(fixture);
        fixture_assert_log(fixture, 1000);
        assert_int_equal(access(path, R_OK), 0);
        fixture_close(fixture);
    }
    fixture_done(fixture);
    free(fixture);
    free(shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dies_at_every_call_of_a_first_life),
        cmocka_unit_test(dies_at_every_call_of_a_later_life),
        cmocka_unit_test(a_full_disk_is_no_failure),
        cmocka_unit_test(flipped_bits_in_files_are_seen),
        cmocka_unit_test(a_lost_file_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
