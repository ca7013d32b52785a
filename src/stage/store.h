/* The store stage: puts changes from the tail into the revision log, keeps its segments, cleans
 * them and writes checkpoints.
 *
 *     core                               store thread                        (its idle time)
 *     flush(frame) ─┐
 *     sync()       ─┴─ mailbox ────────> begin: encodes and writes           work: a spare segment,
 *                                        finish: syncs where asked, posts    a slice of a
 * checkpoint, settle(reply) <── completions ────                                     a slice of
 * cleaning
 *
 * Nothing waits for it: the write-ahead log has made every change durable before. A flush is
 * cumulative (the newest frame covers all before it) and never refused; what has not been written
 * stays in the tail, and a full tail pauses apply.
 *
 * Cleaning and checkpoints are done on this thread between flushes, in slices of 256 KiB: so all
 * bulk writing goes through one writer of small pieces (io/bulk.h), and no lock is needed between
 * what flushes, seals and cleans. The room of files that are gone is given back in slices too.
 * After each slice the thread rests for as long as it took. A flush waits for one slice at most,
 * and nobody waits for a flush.
 *
 * In the store's directory:
 *     F-L-G.seg, F-L-G.row    segments and their rows (mvcc/segment.h)
 *     F-L-G.dead              dead bits of a segment, made before tombstones are dropped behind it
 *     SEQ.checkpoint          the two newest (mvcc/checkpoint.h)
 *     spare-N.tmp             room taken ahead: two segments, the reserve of a full disk
 *     *.tmp                   unfinished; removed when the store is opened
 *
 * Failure. A failed write or sync ends the process through `fatal`. A full disk is no failure:
 * STAGE_STORE_FULL says that no spare could be made; flushes go on in the reserve, and when that
 * is used up they wait.
 *
 * The simulator calls stage_store_begin, _finish and _work itself instead of starting the thread.
 *
 * Threads: as marked; what is not marked is the core's, before stage_store_start any one thread. */
#pragma once

#include "base/mailbox.h"
#include "io/file.h"
#include "mvcc/checkpoint.h"
#include "mvcc/frame.h"
#include "mvcc/revlog.h"

struct stage_store;

struct stage_store_config {
    const struct io_fs *fs;
    const char *dir; /* the store's own: DATA/member/store/%016x; copied */
    struct segment_owner owner;
    struct epoch *epoch;
    struct mailbox *completions;            /* the core's */
    const struct checkpoint_source *source; /* borrowed; may be set later, before start */
    uint64_t seed;                          /* random: the nonces of segments come from it */
    uint64_t segment_bytes;                 /* 0: 4 MiB, and 64 MiB once the log is large */
    uint64_t checkpoint_bytes;              /* of new log, at least; 0: 16 MiB */
    /* Ends the process. what: the call that failed. Any thread; must not return. */
    void (*fatal)(void *ctx, const char *what, const char *file, err e);
    void *fatal_ctx;
    uint64_t (*now_ns)(void *ctx); /* NULL: clock_mono_ns */
    void *now_ctx;
};

/* What a store held when it was opened. */
struct stage_store_recovery {
    bool is_new;             /* no change and no frame yet */
    struct mvcc_frame frame; /* the newest; its ConfState lives as long as the store */
    struct revlog *log;      /* all segments installed; the caller's from here on */
    /* NULL without a usable one: then everything is replayed from seq 1. Lives until
     * stage_store_loaded. */
    struct checkpoint_reader *checkpoint;
    uint64_t replay_from;         /* checkpoint's seq + 1, or 1 */
    uint64_t cut_bytes;           /* torn ones behind the last frame, zeroed */
    unsigned checkpoints_refused; /* damaged ones, removed: the log has everything */
};

/* Opens the log in dir, which is made where it is missing, and gets it ready to append: the torn
 * rest is zeroed and synced. synced_seq: what must be there (0: nothing is known from elsewhere).
 * Fails: ERR_CORRUPT, ERR_MISMATCH (another store's files) with *ret_fault; ERR_DISK_FULL;
 * ERR_ACCESS; ERR_IO. A refusal because of bad bytes changes nothing on the disk. */
MUST err stage_store_open(const struct stage_store_config *config, uint64_t synced_seq,
                          struct stage_store **ret_store, struct stage_store_recovery *ret_recovery,
                          struct revlog_fault *ret_fault);
/* The log's readers and the checkpoint's are done with loading: gives the checkpoint back.
 * tail: begins behind the frame's seq; borrowed until stage_store_free. */
void stage_store_loaded(struct stage_store *self, struct tail *tail);
/* Before start. */
void stage_store_set_source(struct stage_store *self, const struct checkpoint_source *source);
/* Starts the thread. Fails: ERR_LIMIT. */
MUST err stage_store_start(struct stage_store *self);
/* Writes and syncs what was submitted, writes a checkpoint if that is likely to fit in 300 ms,
 * joins the thread. Completions still come. Nothing happens where it was not started. */
void stage_store_stop(struct stage_store *self);
/* After stop (where it was started), revlog_free and a last epoch_reclaim or epoch_done: the log's
 * segments come back to be unmapped. NULL is legal. */
void stage_store_free(struct stage_store *self);

/* Write all changes up to frame->seq and close them by the frame. The frame is copied; its `synced`
 * is not looked at. The frame's entries must be durable in the write-ahead log. */
void stage_store_flush(struct stage_store *self, const struct mvcc_frame *frame);
/* As flush, in the middle of an entry: no frame, so that a crash undoes it. Until the entry's own
 * flush comes the one before it may be asked for again, which does nothing. */
void stage_store_spill(struct stage_store *self, uint64_t seq);
/* What is written up to now shall be synced (before a WAL snapshot record). Answered by a reply
 * even where nothing is new. */
void stage_store_sync(struct stage_store *self);
/* Defragment: seals what is written and cleans every segment of which more than 5 % is dead. A
 * reply with `defragmented` says that the sealing is done, a later one with `cleaned` that no such
 * segment is left, or that cleaning can go no further. */
void stage_store_defragment(struct stage_store *self);
/* All rows up to floor_seq are marked as the compaction left them: cleaning may have work. */
void stage_store_swept(struct stage_store *self, uint64_t floor_seq);

/* Comes out of the completions' mailbox; belongs to the store: stage_store_settle frees it. */
struct stage_store_reply {
    struct mailbox_node node;
};
/* What a reply says; all but the flags are cumulative. */
struct stage_store_status {
    uint64_t written_seq;
    uint64_t written_index;    /* of the newest frame that is written */
    uint64_t synced_seq;       /* closed by the newest frame that is durable */
    uint64_t synced_index;     /* of that frame */
    bool disk_full;            /* no room for a further segment: the reserve is in use */
    bool defragmented;         /* answers stage_store_defragment: sealed */
    bool cleaned;              /* and cleaned */
    bool synced;               /* answers stage_store_sync */
    struct revlog_fault fault; /* bad bytes that cleaning met (seq 0: none): it goes no further */
};
/* Core, for each reply, in order: publishes new segments, trims the tail, frees the reply. */
void stage_store_settle(struct stage_store *self, struct stage_store_reply *reply,
                        struct stage_store_status *ret_status);

/* The stage's steps, on the store's thread or the simulator's.
 * begin takes all that waits and writes it; false where nothing was to do. finish syncs where that
 * is asked and posts the reply. work does one slice of what is done in idle time; false where
 * there is none. */
bool stage_store_begin(struct stage_store *self);
void stage_store_finish(struct stage_store *self);
bool stage_store_work(struct stage_store *self);

/* For a store that is built and not run: writes and syncs what was submitted, and a checkpoint, on
 * the calling thread. Completions still come. Fails: ERR_DISK_FULL. */
MUST err stage_store_complete(struct stage_store *self);

/* Registers etcd_disk_backend_commit_duration_seconds and the like. Once, before threads start. */
void stage_store_register_metrics(void);

/* ── Directories of stores ────────────────────────────────────────────────────────────────────
 *
 *     DATA/member/store/%016x           a store, named by the applied index it began with
 *                       %016x.staged    one that was received or imported, whole and synced, until
 *                                       the log has its record
 *                       %016x.new       one that is being built (store_build.h)
 *                       %016x.aside     one that another etcd has left behind; kept for people
 *
 * Of the first the newest counts: a staged one gets its name only when the log has its record. */

#define STAGE_STORE_NAME_BYTES 32
/* "%016x" and the suffix ("", ".staged", ".aside"). Returns name. */
const char *stage_store_name(uint64_t index, const char *suffix, char name[STAGE_STORE_NAME_BYTES]);
/* The newest store in parent whose index is <= covered_index. Fails: ERR_NOT_FOUND; ERR_IO. */
MUST err stage_store_find(const struct io_fs *fs, const char *parent, uint64_t covered_index,
                          uint64_t *ret_index);
/* Whether there is a directory of this index and suffix. Fails: ERR_IO, ERR_ACCESS. */
MUST err stage_store_there(const struct io_fs *fs, const char *parent, uint64_t index,
                           const char *suffix, bool *ret_there);
/* Gives a directory another suffix, durably; what had that name goes first.
 * Fails: ERR_NOT_FOUND; ERR_IO. */
MUST err stage_store_rename(const struct io_fs *fs, const char *parent, uint64_t index,
                            const char *from, const char *to);
/* Fails: ERR_IO. Nothing where there is none. */
MUST err stage_store_remove(const struct io_fs *fs, const char *parent, uint64_t index,
                            const char *suffix);
/* Removes all stores in parent but the one with this index and those aside, what was staged and
 * what was being built or received (*.tmp): none may be in progress. Fails: ERR_IO. */
MUST err stage_store_remove_others(const struct io_fs *fs, const char *parent, uint64_t index);
