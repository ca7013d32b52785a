/* The log stage: puts batches into the write-ahead log and says when they are durable.
 *
 *     core                                 log thread                         a worker
 *     submit(batch) ── mailbox ──────────> begin: takes all that waits,
 *                                          one pwritev
 *     settle(batch) <── completions ────── finish: one fdatasync, posts ────> zeroes spare segments
 *
 * Group commit: while one sync runs, batches gather; the next begin takes all of them. No timer
 * delays a batch. Completions come back in the order of submission, each once.
 *
 * A batch that is nothing but a state which needs no sync (the commit index has moved) is not worth
 * waking the log's thread: where nothing is under way it comes back at once, and its state is
 * written with the next batch, or at stop. What a crash loses of it raft finds out again, as after
 * a crash before the write.
 *
 * On the disk (format: wal/format.h), in the log's directory:
 *     %016x-%016x.wal   segments; each holds whole batches; the last is open and locked, the
 *                       others too for as long as we run
 *     0.tmp             the spare: zeroed and synced before it gets a segment's name, so that no
 *                       old frame ever lies behind a tail; zeroed anew at each start
 *     *.broken          what a start has cut off, kept for people
 * A segment gets its name only when its head (crc, metadata, state) is in it and synced, and is
 * written to only when that name is.
 *
 * Failure. A failed write or sync, a short write and a full disk inside a segment end the process
 * through `fatal`: what the log then holds is only known after reading the device again. A full
 * disk while a file is made is an event (STAGE_LOG_FULL): the open segment's room is still there
 * for raft's own records; when that is used up too, batches wait until a file can be made.
 *
 * The simulator calls stage_log_begin and stage_log_finish itself, with its own files and time
 * between them, instead of starting the thread.
 *
 * Threads: `core` marks the calls of the core's thread; before stage_log_start any one thread. */
#pragma once

#include "base/mailbox.h"
#include "io/file.h"
#include "io/worker.h"
#include "raft/storage.h"
#include "wal/replay.h"

struct stage_log;

enum stage_log_reply_kind {
    STAGE_LOG_DONE, /* the reply is the head of a batch */
    STAGE_LOG_FULL, /* no spare segment could be made; comes once until STAGE_LOG_ROOM */
    STAGE_LOG_ROOM, /* it could, after all */
};

/* What comes out of the completions' mailbox. FULL and ROOM belong to the log; they are seen by
 * calling stage_log_settle like all others. */
struct stage_log_reply {
    struct mailbox_node node;
    enum stage_log_reply_kind kind;
};

/* One append of raft's: made and freed by the core, lent to the log from submit until it comes
 * back. The entries' blobs are referenced by the batch until it is freed. */
struct stage_log_batch {
    struct stage_log_reply reply;
    /* In: set before submit. */
    uint64_t id; /* the core's own, ascending */
    uint64_t term;
    bool must_sync; /* the completion vouches for the disk */
    bool has_state;
    bool has_snapshot; /* the store holds it; where the log does not, entries go on behind it */
    bool installs;     /* its snapshot replaces the log: entries go on behind it */
    struct raft_hard_state state;
    struct wal_snapshot snapshot; /* conf_state bytes are borrowed until it comes back */
    size_t entry_count;
    struct raft_entry *entries; /* lies in the batch */
    void *owner;                /* the core's own */
    /* Out: filled when it comes back. */
    uint64_t last_index, last_term; /* of its last entry; 0 where it has none */
    uint64_t duration_ns;           /* from submit to durable */
    struct wal_place *places;       /* one an entry; lies in the batch */
    struct wal_name segment;        /* where it lies */
    uint64_t end_offset;            /* of the segment, behind it; 0: written with the next one */
    uint64_t submitted_ns;
};

/* Room for entries_max entries. Never fails: the core's credits bound it. */
struct stage_log_batch *stage_log_batch_new(size_t entries_max);
/* Adds an entry and takes a reference to its blob. Core. */
void stage_log_batch_add(struct stage_log_batch *self, const struct raft_entry *entry);
/* Gives the references back. Core. NULL is fine. */
void stage_log_batch_free(struct stage_log_batch *self);

struct stage_log_config {
    const struct io_fs *fs;
    const char *dir;             /* the log's directory; copied */
    uint64_t segment_bytes;      /* 0: WAL_SEGMENT_BYTES */
    uint64_t batch_bytes_max;    /* how much one write takes at most; 0: 8 MiB */
    uint32_t idle_mark_ms;       /* a mark after so long without a batch; 0: 100 */
    struct mailbox *completions; /* the core's */
    struct io_workers *workers;  /* for spare segments; NULL: they are made in stage_log_begin */
    /* Ends the process. what: the call that failed. Any thread; must not return. */
    void (*fatal)(void *ctx, const char *what, const char *file, err e);
    void *fatal_ctx;
    uint64_t (*now_ns)(void *ctx); /* NULL: clock_mono_ns */
    void *now_ctx;
};

/* What a new member's log holds from its first moment: all of it or no log at all. */
struct stage_log_bootstrap {
    struct bytes metadata; /* etcdserverpb.Metadata bytes */
    const struct raft_entry *entries;
    size_t entry_count;
    struct raft_hard_state state;
    const struct wal_snapshot *snapshot; /* of a store beside it, behind which the log begins, with
                                          * no entries then; NULL: none */
};

/* Whether there is a log (a directory with a segment in it). Fails: ERR_ACCESS, ERR_IO. */
MUST err stage_log_exists(const struct io_fs *fs, const char *dir, bool *ret_exists);
/* Makes dir's parent's `dir`.tmp, fills it, syncs it and renames it to dir. An unfinished one of
 * an earlier try is removed. Fails: ERR_EXISTS there is a log; ERR_DISK_FULL; ERR_ACCESS;
 * ERR_IO. */
MUST err stage_log_create(const struct stage_log_config *config,
                          const struct stage_log_bootstrap *bootstrap);

/* What a log held when it was opened. */
struct stage_log_recovery {
    struct bytes metadata; /* lives as long as the log */
    struct raft_hard_state state;
    struct wal_snapshot snapshot; /* S: newest record at or below the state's commit */
    uint64_t first_index;         /* last_index + 1 where there are no entries */
    uint64_t last_index, last_term;
    struct wal_fault cut; /* of a torn tail; `what` is NULL where nothing is cut */
    uint64_t cut_bytes;
};

/* Locks a log and tells whose it is, which the start of the store needs to know: its metadata as
 * the last segment's head has it (not yet compared with the others'), or BYTES_NONE where that head
 * cannot be read; alive as long as the log.
 * Fails: ERR_NOT_FOUND no log; ERR_LOCKED another process has it; ERR_ACCESS; ERR_IO. */
MUST err stage_log_lock(const struct stage_log_config *config, struct stage_log **ret_log,
                        struct bytes *ret_metadata);
/* Reads a locked log, on any one thread; changes nothing on the disk, so that a refusal
 * (wal/start.h) leaves all evidence. ret_fault is filled on ERR_CORRUPT. Entries and terms can be
 * read from now on. After a failure only stage_log_free is legal.
 * Fails: ERR_CORRUPT; ERR_ACCESS; ERR_IO; ERR_DISK_FULL. */
MUST err stage_log_read(struct stage_log *self, struct stage_log_recovery *ret_recovery,
                        struct wal_fault *ret_fault);
/* The two together. */
MUST err stage_log_open(const struct stage_log_config *config, struct stage_log **ret_log,
                        struct stage_log_recovery *ret_recovery, struct wal_fault *ret_fault);
/* Cuts the torn tail (a copy is kept as NAME.broken), zeroes to the segment's end and syncs;
 * makes the spare anew. From now on batches may be submitted.
 * Fails: ERR_DISK_FULL, ERR_IO. */
MUST err stage_log_prepare(struct stage_log *self);
/* Starts the log's thread. Fails: ERR_LIMIT. */
MUST err stage_log_start(struct stage_log *self);
/* Finishes what was submitted, writes a mark, syncs, joins the thread. Completions still come. */
void stage_log_stop(struct stage_log *self);
/* After stage_log_stop where it was started. No entry's blob of ours may be referenced any more.
 * NULL is fine. */
void stage_log_free(struct stage_log *self);

/* Core. Never waits; the batch must not be touched until it comes back. */
void stage_log_submit(struct stage_log *self, struct stage_log_batch *batch);
/* Core: for each reply taken from the completions, before anything else is done with it: makes
 * its entries readable by place. A snapshot that the log did not contain has replaced the log. */
void stage_log_settle(struct stage_log *self, struct stage_log_reply *reply);
/* Core: whether batches may wait for room: between STAGE_LOG_FULL and STAGE_LOG_ROOM. */
bool stage_log_is_full(const struct stage_log *self);

/* Old entries by place, from mapped segments; each read is verified against checksum, index and
 * term. These are raft_storage's functions for the durable log (raft/storage.h); entries comes
 * with one reference each. Core.
 * entries fails: ERR_COMPACTED_LOG; ERR_CORRUPT (stage_log_read_fault says where);
 * ERR_LIMIT, ERR_IO the segment cannot be mapped. */
MUST err stage_log_entries(struct stage_log *self, uint64_t lo, uint64_t hi, uint64_t max_bytes,
                           size_t room, struct raft_entry *ret_entries, size_t *ret_count);
MUST err stage_log_term(const struct stage_log *self, uint64_t index, uint64_t *ret_term);
uint64_t stage_log_first_index(const struct stage_log *self);
uint64_t stage_log_last_index(const struct stage_log *self);
struct wal_fault stage_log_read_fault(const struct stage_log *self);
/* Bytes of the segments that are still there. Core. */
uint64_t stage_log_bytes(const struct stage_log *self);
/* The oldest entry such that it and all behind it lie in the newest `bytes`, by whole segments but
 * for the one that is written to; for the cap on retention. Core. */
uint64_t stage_log_first_within(const struct stage_log *self, uint64_t bytes);

/* Core: entries up to index (at most the newest durable WAL snapshot's) are no longer wanted:
 * segments that hold nothing above are recycled or deleted as soon as no entry lent from them is
 * referenced. */
void stage_log_release(struct stage_log *self, uint64_t index);
/* The stage's two steps, on the log's thread (or the simulator's).
 * begin takes what waits, at most batch_bytes_max, and writes it; false: nothing to do, or no
 * room. finish syncs where that is asked and posts the completions. */
bool stage_log_begin(struct stage_log *self);
void stage_log_finish(struct stage_log *self);
/* A mark behind a synced batch, if there is none yet: what idle_mark_ms does. */
void stage_log_mark(struct stage_log *self);

/* One batch by these steps, while the log's thread does not run: it is durable and given back when
 * this returns. */
void stage_log_write_now(struct stage_log *self, struct stage_log_batch *batch,
                         struct mailbox *completions);

/* Registers etcd_disk_wal_fsync_duration_seconds, etcd_disk_wal_write_duration_seconds and
 * etcd_disk_wal_write_bytes_total. Once, before threads start. */
void stage_log_register_metrics(void);
