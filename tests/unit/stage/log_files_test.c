/* The log stage's files beside the newest segment: what earlier lives left behind, spares, and
 * workers that make and remove them while the log goes on. */
#include "log_fixture.h"

#include <dirent.h>
#include <semaphore.h>
#include <string.h>
#include <sys/stat.h>

static void junk_write(const char *path, size_t len)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (size_t i = 0; i < len; i++)
        assert_int_equal(fputc((int)(i * 37 % 251) + 1, file), (int)(i * 37 % 251) + 1);
    assert_int_equal(fclose(file), 0);
}

/* A crash while a log is made leaves none, and the next try makes a whole one. */
static void an_unfinished_creation_leaves_no_log(void **state)
{
    struct fixture *f = *state;
    char tmp[160], path[256];
    directory_clear(f->dir);
    (void)snprintf(tmp, sizeof(tmp), "%s.tmp", f->dir);
    assert_int_equal(mkdir(tmp, 0700), 0);
    (void)snprintf(path, sizeof(path), "%s/0000000000000000-0000000000000000.wal", tmp);
    junk_write(path, 5000);
    bool exists = true;
    assert_ok(stage_log_exists(&f->fs, f->dir, &exists));
    assert_false(exists);
    assert_err(stage_log_open(&f->config, &f->log, &f->recovery, &f->fault), ERR_NOT_FOUND);
    struct raft_entry first = {
        .type = RAFT_ENTRY_CONF_CHANGE, .term = 1, .index = 1, .data = BYTES_LIT("x")};
    struct stage_log_bootstrap bootstrap = {.metadata = bytes_of(metadata_bytes, METADATA_BYTES),
                                            .entries = &first,
                                            .entry_count = 1,
                                            .state = {.term = 1, .commit = 1}};
    assert_ok(stage_log_create(&f->config, &bootstrap));
    assert_int_equal(access(tmp, F_OK), -1);
    log_open(f);
    assert_int_equal(f->recovery.last_index, 1);
    assert_int_equal(f->recovery.state.commit, 1);
}

static void assert_zeros_behind(const char *path, uint64_t from)
{
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_int_equal(fseek(file, (long)from, SEEK_SET), 0);
    for (int c; (c = fgetc(file)) != EOF;)
        assert_int_equal(c, 0);
    assert_int_equal(fclose(file), 0);
}

/* Old bytes behind a tail make etcd refuse the whole log. */
static void an_old_spare_is_zeroed_before_it_is_used(void **state)
{
    struct fixture *f = *state;
    char path[256];
    (void)snprintf(path, sizeof(path), "%s/0.tmp", f->dir);
    junk_write(path, 90000);
    (void)snprintf(path, sizeof(path), "%s/1.tmp", f->dir);
    junk_write(path, 90000);
    log_open(f);
    for (uint64_t i = 1; i <= 70; i++)
        submit_entry(f, i, 1, 1000);
    steps_run(f);
    assert_int_equal(segments_on_disk(f), 2);
    assert_entry_reads(f, 70, 1, 1000);
    DIR *dir = opendir(f->dir);
    assert_non_null(dir);
    for (struct dirent *file; (file = readdir(dir));) {
        struct wal_name found;
        if (!wal_name_parse(file->d_name, &found) || found.sequence != 1)
            continue;
        (void)snprintf(path, sizeof(path), "%s/%.40s", f->dir, file->d_name);
        struct stat st;
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_size, 69632); /* room for a segment and its last batch */
        assert_zeros_behind(path, 64 * 1024);
    }
    closedir(dir);
    log_close(f);
    log_open(f);
    assert_int_equal(f->recovery.last_index, 70);
    assert_int_equal(f->recovery.cut_bytes, 0);
}

static bool spare_is_there(const struct fixture *f)
{
    char path[256];
    (void)snprintf(path, sizeof(path), "%s/0.tmp", f->dir);
    return access(path, F_OK) == 0;
}

struct marker {
    struct io_job job;
    sem_t reached;
};

static void marker_work(struct io_job *job)
{
    struct marker *self = LIST_ENTRY(job, struct marker, job);
    assert_int_equal(sem_post(&self->reached), 0);
}

/* The spare is ready: the only worker has begun with it, and then done something else. */
static void wait_spare(struct fixture *f)
{
    for (unsigned i = 0; !spare_is_there(f) && i < 10000; i++)
        (void)usleep(1000);
    struct marker marker = {.job.work = marker_work};
    assert_int_equal(sem_init(&marker.reached, 0, 0), 0);
    io_workers_post(f->config.workers, &marker.job);
    while (sem_wait(&marker.reached) != 0)
        ;
    assert_int_equal(sem_destroy(&marker.reached), 0);
}

/* Once a segment that ended took the name of the spare that was about to become the next one. */
static void a_segment_that_ends_does_not_take_the_place_of_one_that_begins(void **state)
{
    struct fixture *f = *state;
    assert_ok(io_workers_new(1, &f->config.workers));
    log_open(f);
    assert_ok(stage_log_start(f->log));
    uint64_t index = 0;
    while (segments_on_disk(f) < 4) {
        submit_entry(f, ++index, 1, 10000);
        wait_done(f, index);
    }
    for (unsigned i = 0; i < 3; i++) /* more than a quarter of it */
        submit_entry(f, ++index, 1, 10000);
    wait_done(f, index);
    wait_spare(f);
    uint64_t last_kept = index;
    faults_set(&faults.interleave, true);
    stage_log_release(f->log, index);
    for (unsigned i = 0; i < 10; i++)
        submit_entry(f, ++index, 1, 10000);
    wait_done(f, index);
    assert_true(faults.cuts && faults.removals >= 2);
    for (uint64_t i = last_kept + 1; i <= index; i++)
        assert_entry_reads(f, i, 1, 10000);
    log_close(f);
    log_open(f);
    assert_int_equal(f->recovery.last_index, index);
    log_close(f);
    io_workers_free(f->config.workers);
    f->config.workers = NULL;
}

/* The log's thread, a worker and the core at once, over many segments. */
static void a_long_life_with_workers(void **state)
{
    struct fixture *f = *state;
    assert_ok(io_workers_new(2, &f->config.workers));
    log_open(f);
    assert_ok(stage_log_start(f->log));
    uint64_t index = 0;
    for (unsigned round = 0; round < 40; round++) {
        for (unsigned i = 0; i < 50; i++)
            submit_entry(f, ++index, 1, 700);
        wait_done(f, index);
        uint64_t first = stage_log_first_index(f->log);
        for (uint64_t i = first; i <= index; i += 17)
            assert_entry_reads(f, i, 1, 700);
        if (index > 200)
            stage_log_release(f->log, index - 200);
    }
    for (unsigned i = 0; segments_on_disk(f) >= 10 && i < 10000; i++)
        (void)usleep(1000); /* workers remove them */
    unsigned left = segments_on_disk(f);
    log_close(f);
    assert_true(left < 10);
    log_open(f);
    assert_int_equal(f->recovery.last_index, index);
    assert_true(f->recovery.first_index <= index - 199);
    log_close(f);
    io_workers_free(f->config.workers);
    f->config.workers = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(an_unfinished_creation_leaves_no_log),
        T(an_old_spare_is_zeroed_before_it_is_used),
        T(a_segment_that_ends_does_not_take_the_place_of_one_that_begins),
        T(a_long_life_with_workers),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
