/* The changes of keys that etcd's store would hold at a view's moment, once its compaction had
 * finished: all above the compacted revision C, and up to C the newest of each key, but no
 * tombstone below C.
 *
 * Which these are follows from numbers alone, not from how far a sweep has come, so that one
 * moment gives the same rows each time. No value is read.
 *
 *     init ──scan…──> rewind ──next…──> END ──rewind──> …       (a pin on pin_seq all the while)
 *
 * Resumable: each slice is given the newest view under its guard.
 * Thread: any, one at a time.  Owns: a set of superseded seqs.
 * Errors: ERR_CORRUPT with the place in self->fault. */
#pragma once

#include "base/map.h"
#include "mvcc/view.h"

struct mvcc_dump {
    uint64_t pin_seq; /* 0: nothing to pin */
    struct revlog_fault fault;

    /* inside */
    uint64_t seq; /* the newest change that counts */
    uint64_t compact_seq;
    int64_t compact_revision;
    struct map gone; /* seq >> 6 -> bits of seqs superseded at C */
    uint64_t scan_next;
    uint64_t next;
    struct revlog_rows rows; /* of the slice in progress */
    bool entered;
};

enum mvcc_dump_step { MVCC_DUMP_ROW, MVCC_DUMP_MORE, MVCC_DUMP_END };

void mvcc_dump_init(struct mvcc_dump *self, const struct mvcc_view *view);
void mvcc_dump_done(struct mvcc_dump *self);
/* Before the first rewind; at most *budget rows, which it counts down. */
MUST err mvcc_dump_scan(struct mvcc_dump *self, const struct mvcc_view *view, unsigned *budget,
                        bool *ret_done);
void mvcc_dump_rewind(struct mvcc_dump *self);
/* At the start of each slice, under its guard. */
void mvcc_dump_enter(struct mvcc_dump *self, const struct mvcc_view *view);
/* The next row, in order of revision. MORE: the budget is used up. */
MUST err mvcc_dump_next(struct mvcc_dump *self, unsigned *budget, struct revlog_row *ret_row,
                        enum mvcc_dump_step *ret_step);
