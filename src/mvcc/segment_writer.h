/* What to append to a segment: records and frames in, bytes and the place for them out. Also the
 * way back: a scan of a segment's bytes finds where its log stands.
 *
 *     begin ──> record* frame ──> planned bytes ──> (caller writes them) ──> written ──> …  seal
 *     scan  ────────────────────┘
 *
 * Rows are made along the way and shown to readers by `written`, never before the bytes can be
 * read in the mapping.
 *
 * Thread: one at a time (the store thread), beside any readers of the segment.
 * Owns: the planned bytes. The segment belongs to whoever takes it (segment_writer_segment). */
#pragma once

#include "base/buf.h"
#include "mvcc/frame.h"
#include "mvcc/segment.h"

struct segment_writer {
    struct segment *segment;
    uint64_t capacity; /* bytes of the file */
    uint32_t rows;     /* planned ones included */
    uint64_t record_bytes;
    uint64_t next_seq;   /* of the next record; in a dense one no other is taken */
    bool dense;          /* appended: no seq is left out. Cleaned ones leave some out */
    uint64_t out_offset; /* where out belongs in the file */
    struct buf out;      /* planned, not yet written */
};

/* Plans the header of a new segment of capacity bytes. map: where its file's bytes can be read,
 * capacity long; it outlives the segment. name.last is SEGMENT_OPEN for one that is appended to.
 * CHECK: capacity is a multiple of 8, of a header at least and SEGMENT_BYTES_MAX at most. */
void segment_writer_begin(struct segment_writer *self, struct segment_name name,
                          struct segment_owner owner, uint64_t synced, uint64_t nonce,
                          struct bytes map);
/* Plans one record. False where there is no room: then nothing is planned. */
MUST bool segment_writer_record(struct segment_writer *self, const struct mvcc_record *record);
MUST bool segment_writer_frame(struct segment_writer *self, const struct mvcc_frame *frame);
/* The bytes to write at out_offset; empty where nothing is planned. Lent until the next call. */
struct bytes segment_writer_planned(const struct segment_writer *self);
/* The planned bytes are in the file: shows their rows, forgets them. */
void segment_writer_written(struct segment_writer *self);
/* Forgets what is planned (not its rows' memory). Gives the segment up without freeing it. */
void segment_writer_done(struct segment_writer *self);

/* Where the log stands in a segment that is, or was, appended to. */
struct segment_scan {
    bool has_frame;
    struct mvcc_frame frame; /* the last good one; its ConfState is lent from the bytes */
    uint64_t frame_end;      /* the log goes on here */
    uint32_t frame_rows;     /* records that it and its like close */
    uint64_t good_end;       /* of the last good item */
    uint64_t good_seq;       /* of the last good record, first - 1 where there is none */
    uint64_t synced;         /* the greatest that a frame or the caller vouches for */
    uint64_t vouched_end;    /* bytes before it were synced once, somebody who knew says so */
    bool dirty;              /* bytes that are not zero follow frame_end */
};

/* Where bytes are bad. */
struct segment_fault {
    uint64_t offset;
    uint64_t seq;
};

/* Reads a segment from its header on and makes its rows. bytes: what the device holds (to scan);
 * map: where readers will find it; both of the same length. synced: what is known durable from
 * elsewhere (checkpoint, WAL snapshot record).
 *
 * Appended to (name.last == SEGMENT_OPEN): the log ends at the first bad item; what no frame
 * closes is given up. That is corruption where it would leave less than `synced` closed, or less
 * than what a good frame further on counts as durable.
 * Sealed (its row file was lost): any bad item is corruption. Either no seq up to the last is left
 * out, or a frame with the last seq ends it (a cleaned one).
 *
 * On success the writer is ready to append at frame_end (sealed: only rows are of use), rows
 * behind the last frame are forgotten, the others shown.
 * Fails: ERR_CORRUPT with *ret_fault; ERR_MISMATCH where it belongs to another store. */
MUST err segment_writer_scan(struct segment_writer *self, struct segment_name name,
                             struct segment_owner owner, uint64_t synced, struct bytes bytes,
                             struct bytes map, struct segment_scan *ret_scan,
                             struct segment_fault *ret_fault);
