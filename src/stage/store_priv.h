/* Inside the store stage: its state, and what its files share. Everything here is the store
 * thread's but for the marked fields. */
#pragma once

#include "base/list.h"
#include "base/prng.h"
#include "io/bulk.h"
#include "mvcc/cleaning.h"
#include "mvcc/segment_format.h"
#include "mvcc/segment_writer.h"
#include "stage/store.h"

#include <pthread.h>
#include <semaphore.h>

#define STORE_SLICE_BYTES     ((size_t)IO_BULK_PIECE_BYTES)
#define STORE_BEGIN_BYTES     ((size_t)8 << 20)    /* written by one begin at most */
#define STORE_UNSYNCED_BYTES  ((uint64_t)16 << 20) /* a start distrusts no more than that */
#define STORE_SPARES          2
#define STORE_ROOMS           16 /* unlinked files whose room is given back piece by piece */
#define STORE_LARGE_BYTES     ((uint64_t)256 << 20) /* from here on segments are large */
#define STORE_FILE_NAME_BYTES 96
#define STORE_UNFINISHED      ".new" /* behind the name of a directory that is being built */

/* What lies behind a published segment: its mappings, and its way back from the core. */
struct store_files {
    struct mailbox_node node; /* when the core has released the segment */
    struct stage_store *store;
    struct segment *segment;
    uint64_t saved_floor; /* of its .dead file; 0: none */
    uint64_t saved_count; /* so many bits, at least, that file has */
    bool obsolete;        /* replaced by a cleaning: to be unlinked */
    bool dead_moved;      /* its dead bits went on in the sealed segment */
};

struct store_spare {
    uint32_t number;
    uint64_t bytes;
};

struct store_install {
    uint64_t first;
    uint64_t last;
    struct segment *segment;
};

struct store_reply {
    struct stage_store_reply base;
    struct stage_store_status status;
    unsigned install_count;
    unsigned install_capacity;
    struct store_install *installs;
};

enum store_job_kind { STORE_FLUSH, STORE_SPILL, STORE_SYNC, STORE_DEFRAGMENT, STORE_SWEPT };
struct store_job {
    struct mailbox_node node;
    enum store_job_kind kind;
    struct mvcc_frame frame; /* its ConfState lies behind the job; seq alone in other kinds */
    uint8_t conf_state[];
};

enum store_checkpoint_step { CHECKPOINT_IDLE, CHECKPOINT_FILL, CHECKPOINT_WAIT };
struct store_checkpoint {
    enum store_checkpoint_step step;
    struct checkpoint_info info;
    struct checkpoint_writer writer;
    struct io_bulk file;
    uint64_t offset;
    bool wanted; /* at once, however little is new */
};

enum store_clean_step { CLEAN_IDLE, CLEAN_SAVE_DEAD, CLEAN_COPY, CLEAN_CARRY };
struct store_clean {
    enum store_clean_step step;
    bool due;        /* something changed since nothing was found */
    bool defragment; /* until nothing is found: 5 % is enough */
    bool blocked;    /* bad bytes were met: left as it is, for people */
    unsigned next;   /* CLEAN_SAVE_DEAD: index of the older segment */
    struct cleaning_plan plan;
    struct cleaning_run run;
    struct segment_writer writer;
    struct io_bulk file;
    char tmp[STORE_FILE_NAME_BYTES];
    struct {            /* the input that is being read, ahead of its mapping */
        unsigned input; /* its number in the run */
        bool is_open;
        int file;
        uint64_t offset; /* read up to here */
        uint8_t *bytes;
    } ahead;
    uint64_t floor;         /* when it began */
    struct segment *result; /* published, its inputs not yet all released */
    bool came[CLEANING_RUN_MAX];
    unsigned came_count;
    uint32_t carry_row;
};

struct stage_store {
    struct stage_store_config config;
    const struct io_fs *fs;
    char *dir_name;
    int dir;
    struct prng prng;
    struct epoch_slot *slot;
    const struct checkpoint_source *source;

    struct revlog *log;      /* the core's */
    struct tail *tail;       /* the core's; read under a guard */
    struct mailbox jobs;     /* from the core */
    struct mailbox released; /* store_files, from the core */
    pthread_t thread;
    sem_t wake;
    atomic_bool stop;
    bool started;

    /* The log as this thread knows it: ahead of the published table by what is in replies. */
    struct segment **segments;
    unsigned segment_count;
    unsigned segment_capacity;
    bool is_open; /* the last of them is written to, by: */
    struct segment_writer writer;
    struct io_bulk open_file;
    struct mvcc_frame frame; /* newest written; ConfState owned */
    uint64_t written_seq;
    uint64_t unsynced_bytes;
    uint64_t synced_seq; /* what the newest durable frame closes */
    uint64_t synced_index;

    bool has_want;          /* a frame to write */
    struct mvcc_frame want; /* ConfState owned */
    uint64_t want_seq;      /* records to write, with or without a frame */
    bool want_sync;
    bool want_defragment;
    uint64_t floor;

    struct store_spare spares[STORE_SPARES];
    unsigned spare_count;
    uint32_t spare_number;
    int rooms[STORE_ROOMS];
    unsigned room_count;
    bool rooms_named;    /* their unlinking is not durable yet */
    uint64_t rest_to_ns; /* no work before */
    bool disk_full;
    bool disk_full_told;
    uint64_t retry_ns; /* not before */
    struct store_reply *reply;

    uint64_t log_bytes;          /* written since the last checkpoint */
    uint64_t checkpoint_size;    /* of the last one */
    uint64_t checkpoint_seqs[2]; /* kept ones, newest first; 0: none */
    struct store_checkpoint checkpoint;
    struct store_clean clean;

    /* Opening only. */
    struct checkpoint_reader reader;
    bool has_reader;
    void *reader_map;
    size_t reader_map_bytes;
};

/* store_dirs.c */
/* Of a store, with its files. Nothing where there is none. */
MUST err store_dir_remove(const struct io_fs *fs, int parent, const char *name);

/* store.c */
__attribute__((noreturn)) void store_fatal(struct stage_store *self, const char *what,
                                           const char *file, err e);
uint64_t store_now_ns(const struct stage_store *self);
void store_note_write(uint64_t took_ns);
struct store_reply *store_reply(struct stage_store *self);
/* Replaces what lies in [first, last] of our own list and of the table, when the reply arrives. */
void store_publish(struct stage_store *self, uint64_t first, uint64_t last,
                   struct segment *segment);
void store_conf_state_set(struct mvcc_frame *frame, const struct mvcc_frame *from);
static inline struct store_files *store_files_of(const struct segment *segment)
{
    return segment->release_ctx;
}

/* Ends the thread's sleep. Any thread. */
void store_wake(void *ctx);

/* store_file.c */
/* Where a full disk is no end: any other error is fatal. True: the disk is full. */
bool store_check(struct stage_store *self, err e, const char *what, const char *file);
/* Fails: ERR_DISK_FULL. */
MUST err store_bulk_write(struct stage_store *self, struct io_bulk *bulk, struct bytes what,
                          uint64_t offset, const char *name);
/* Makes a file of its own with these bytes, synced, under name.tmp, then under its name; the
 * directory is not synced. Fails: ERR_DISK_FULL (nothing is left). */
MUST err store_file_make(struct stage_store *self, const char *name, struct bytes what);
MUST err store_file_create(struct stage_store *self, const char *name, uint64_t allocate_bytes,
                           int *ret_file);
/* What it takes on the disk is given back by store_room_return. */
void store_file_unlink(struct stage_store *self, const char *name);
/* Gives back a piece. False: there is none. */
bool store_room_return(struct stage_store *self);
/* Gives all back at once: somebody waits for it. */
void store_rooms_drop(struct stage_store *self);
void store_dir_sync(struct stage_store *self);
/* The whole file, for reading. */
MUST err store_file_map(struct stage_store *self, const char *name, struct bytes *ret_map);
void store_unmap(struct stage_store *self, struct bytes map);
/* Gives a segment its files, so that the core's release brings it back to us. */
void store_files_attach(struct stage_store *self, struct segment *segment);
/* Takes back what the core has released. False: nothing came. */
bool store_files_reclaim(struct stage_store *self);
uint64_t store_segment_bytes(const struct stage_store *self);
uint64_t store_nonce(struct stage_store *self);

/* store_write.c */
/* Writes at most STORE_BEGIN_BYTES of what is wanted. False: the disk is full, try later. */
bool store_write(struct stage_store *self);
bool store_wants_write(const struct stage_store *self);
void store_sync_now(struct stage_store *self);
/* Writes the newest frame once more, now that it is durable: it says so to the next start. */
void store_frame_again(struct stage_store *self);
/* Seals the open segment where it has records, and opens the next with the frame in front and room
 * for so many bytes. Fails: ERR_DISK_FULL. */
MUST err store_roll(struct stage_store *self, size_t room, const struct mvcc_frame *frame);
/* Makes a spare where one is missing. False: none is, or none can be made now. */
bool store_spare_make(struct stage_store *self);
/* A sealed segment over the files of this name. Fails: ERR_CORRUPT, ERR_MISMATCH, ERR_NOT_FOUND. */
MUST err store_sealed_open(struct stage_store *self, const struct segment_name *name,
                           struct segment_dead *dead, struct segment **ret_segment);

/* store_checkpoint.c */
bool store_checkpoint_work(struct stage_store *self);
void store_checkpoint_abandon(struct stage_store *self);
void store_checkpoint_name(uint64_t seq, char out[STORE_FILE_NAME_BYTES]);

/* store_clean.c */
bool store_clean_work(struct stage_store *self);
/* Drops a result that is not published yet. */
void store_clean_abandon(struct stage_store *self);
/* A segment came back from the core. True: it is an input of the cleaning on its way, which frees
 * it when its dead bits are carried over. */
bool store_clean_released(struct stage_store *self, const struct segment *segment);
/* Lets the inputs that came back go, carried over or not. */
void store_clean_inputs_free(struct stage_store *self);
