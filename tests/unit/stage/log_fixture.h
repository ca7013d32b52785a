/* A log of its own for each test, in a directory of the system's, by file calls that can be held up
 * or made to fail. Thread: the test's; `faults` under its lock. */
#pragma once

#include "stage/log.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define assert_ok(e)          assert_string_equal(err_ok(e) ? "OK" : err_name(e), "OK")
#define assert_err(e, wanted) assert_string_equal(err_name(e), err_name(wanted))

#define METADATA_BYTES 4

struct faults {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool hold_sync;  /* sync_data waits while this is set */
    bool sync_waits; /* one does */
    bool fail_sync;  /* ERR_IO */
    bool no_room;    /* allocate fails */
    unsigned writes, syncs;
    /* A cut and a release are interleaved: the release's first removal waits for the cut to write
     * the new segment's head, and that waits for the release's next step. */
    bool interleave;
    bool cuts;
    unsigned removals;
};

struct fixture {
    char root[64];
    char dir[128];
    struct io_fs fs;
    struct mailbox completions;
    struct stage_log_config config;
    struct stage_log *log;
    struct stage_log_recovery recovery;
    struct wal_fault fault;
    uint64_t commit;     /* of the last state */
    uint64_t commit_end; /* entries from here on commit nothing */
    uint64_t next_batch;
    uint64_t done_batch;
    unsigned full_replies, room_replies;
};

extern struct faults faults;
extern jmp_buf fatal_exit;
extern const char *fatal_what;
extern const uint8_t metadata_bytes[METADATA_BYTES];

void faults_set(bool *which, bool value);
int setup(void **state);
int teardown(void **state);
void directory_clear(const char *path);
void log_open(struct fixture *f);
void log_close(struct fixture *f);
/* A batch of one entry whose bytes follow from its index. */
void submit_entry(struct fixture *f, uint64_t index, uint64_t term, size_t len);
void completions_take(struct fixture *f);
/* Runs the stage's steps until nothing is left to do. */
void steps_run(struct fixture *f);
void wait_done(struct fixture *f, uint64_t batch);
unsigned segments_on_disk(const struct fixture *f);
void assert_entry_reads(struct fixture *f, uint64_t index, uint64_t term, size_t len);
