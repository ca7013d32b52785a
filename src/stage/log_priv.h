/* What the log stage's files share. Three owners of fields, never two at once:
 *     core     the core's thread
 *     log      the log's thread; before stage_log_start whoever opens
 *     worker   one job at a time, handed over by `spare_state`
 *
 * The spare's states, and who moves them. All of them but NONE own the name LOG_SPARE_NAME:
 *
 *     NONE      log: a quarter of the segment is used, or
 *               worker: a segment is no longer wanted         > MAKING
 *     MAKING    worker: zeroed and synced                     > READY, or where it finds none
 *                                                             > NO_ROOM
 *     NO_ROOM   log: a second later                           > NONE
 *     READY     log: a new segment is wanted                  > TAKEN
 *     TAKEN     log: it has the segment's name, durably       > NONE */
#pragma once

#include "stage/log.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#define LOG_SPARE_NAME "0.tmp"
/* A segment's file is this much longer than where it is cut, so that the last batch fits. */
#define LOG_SLACK_BYTES(segment_bytes) ((segment_bytes) / 64)

enum log_spare_state {
    LOG_SPARE_NONE,
    LOG_SPARE_MAKING,
    LOG_SPARE_READY,
    LOG_SPARE_TAKEN,
    LOG_SPARE_NO_ROOM
};

/* A segment as the log's thread holds it: open for its lock's sake. */
struct log_held {
    struct wal_name name;
    int file;
};

/* A mapped segment; entries lent from it count as its blob's references. */
struct log_map {
    struct raft_blob blob; /* the map itself is one reference */
    const struct io_fs *fs;
    void *address;
    size_t len;
};

/* A segment as the core knows it. */
struct log_segment {
    struct wal_name name;
    uint64_t bytes;
    struct log_map *map; /* NULL: not mapped */
};

/* What the core asks of the log's thread besides batches. */
enum log_order_kind { LOG_ORDER_RELEASE = 100, LOG_ORDER_STOP };

/* Segments that hold nothing that is wanted: up to and with `last`. */
struct log_release {
    struct stage_log_reply order;
    struct io_job job;
    struct stage_log *log;
    uint64_t last_sequence;
    struct log_held *held; /* taken over from the log's thread */
    size_t held_count;
};

struct stage_log {
    struct stage_log_config config;
    char *dir_path;
    int dir;
    uint64_t room_bytes;      /* size of a fresh segment's file */
    struct wal_replay replay; /* metadata lives here */
    struct buf head_metadata; /* as the last segment's head has it, before all is read */

    /* log */
    struct mailbox inbox;
    struct wal_plan plan;
    struct wal_tail tail;
    struct log_held *held; /* oldest first; the last one is written to */
    size_t held_count, held_cap;
    uint64_t file_bytes; /* size of the file that is written to */
    uint64_t last_index; /* of the log as written: what the next segment is named after */
    struct mailbox_node *waiting, **waiting_end; /* taken, not yet written */
    struct mailbox_node *flying, **flying_end;   /* written, not yet finished */
    bool sync_wanted;
    bool snapshot_flies; /* a snapshot's record is among what flies */
    uint64_t write_ns;   /* when its writing began */
    bool stop_ordered;
    bool full_said;
    uint64_t retry_at_ns;
    struct stage_log_reply full_reply, room_reply;
    atomic_bool full_out, room_out; /* posted and not yet settled */

    /* log <-> worker */
    _Atomic int spare_state;
    pthread_mutex_t jobs_lock;
    pthread_cond_t jobs_ended;
    unsigned jobs_out; /* spare and releases that still run; under jobs_lock */
    int spare_file;
    struct io_job spare_job;

    /* core */
    struct wal_places places;
    struct log_segment *segments; /* oldest first */
    size_t segment_count, segment_cap;
    uint64_t release_index; /* segments at or below wait for their lent entries */
    struct wal_fault read_fault;
    bool full;
    uint64_t out_count;                /* batches submitted and not yet settled */
    bool has_late;                     /* a state that goes with the next batch, newer than all */
    struct raft_hard_state late_state; /* submitted ones; at stop the log's thread writes it */

    pthread_t thread;
    bool thread_runs;
    sem_t wake;
};

/* name: of a file in the log's directory; NULL: the directory itself. */
__attribute__((noreturn)) void log_fatal(struct stage_log *self, const char *what, const char *name,
                                         err e);
/* The same for the segment that is written to. */
__attribute__((noreturn)) void log_fatal_open(struct stage_log *self, const char *what, err e);
uint64_t log_now_ns(struct stage_log *self);
void log_thread_wake(void *ctx);

/* log_files.c */
/* Whether `bytes` more fit into the open segment, growing its file where one batch is larger than
 * any segment. */
bool log_files_fit(const struct stage_log *self, uint64_t bytes);
MUST err log_files_grow(struct stage_log *self, uint64_t bytes);
/* Closes the open segment, whose bytes are all synced, and opens the next one.
 * Fails: ERR_DISK_FULL, nothing changed then; everything else is fatal. */
MUST err log_files_cut(struct stage_log *self);
/* Starts to make a spare where one will be needed soon. */
void log_files_spare_want(struct stage_log *self);
/* Recycles or removes what an order names. Log's thread; done by a worker. */
void log_files_release(struct stage_log *self, struct log_release *release);
/* Waits for jobs that use our files. */
void log_files_done(struct stage_log *self);
void log_held_add(struct stage_log *self, struct wal_name name, int file);
/* Zeroes [from, to) with real zeros, paced. */
MUST err log_files_zero(const struct io_fs *fs, int file, uint64_t from, uint64_t to);

/* log_read.c */
void log_segment_add(struct stage_log *self, struct wal_name name, uint64_t bytes);
void log_read_settle(struct stage_log *self, const struct stage_log_batch *batch);
void log_read_done(struct stage_log *self);
