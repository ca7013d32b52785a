/* The hashes by which members compare what they hold.
 *
 * HashKV at revision R, with C the compacted revision and h the CRC-32C over "key" and then, in
 * order of revision, over bbolt key and stored bytes of each change that counts:
 *
 *     main >  C          counts if main <= R
 *     main <= C          counts if it is a put, the newest of its key up to C, and, unless no key
 *                        is kept at R, still the newest at R
 *
 * which is etcd's answer as if every compaction had finished. A key is kept at R if it is live
 * there and did not die at R, before a later change of R brought it back: etcd sees only its end.
 * The hash that a compaction to R leaves behind takes C from the compaction before, and its set of
 * kept keys also holds the tombstones with main == R.
 *
 * Hash (the rpc) goes over all buckets in order of their names: name, then keys and values, without
 * meta's consistent_index, term and storageVersion.
 *
 * No value is read: a row's checksum covers exactly what the hash sees of the change, so hashing is
 * combining checksums (20 ns a change). Resumable: each run is given the newest view under a guard;
 * between runs hold a pin on pin_seq. A HashKV may go on from what the last one left
 * (hash_base.h).
 *
 * Thread: any, one at a time.  Owns: a set of superseded seqs while it runs, what it leaves.
 * Source: etcd's interface, "HashKV", "Hash". */
#pragma once

#include "base/buf.h"
#include "base/map.h"
#include "mvcc/hash_base.h"
#include "mvcc/view.h"

struct mvcc_hash {
    uint32_t hash;            /* the answer, when done */
    int64_t hash_revision;    /* R */
    int64_t compact_revision; /* C */
    int64_t base_revision;    /* the one whose hash it goes on from; 0: from scratch */
    uint64_t pin_seq;         /* to be pinned from begin to the end */
    struct revlog_fault fault;

    /* inside */
    int phase;
    int mode;
    uint64_t next, end; /* rows [next, end] are still to be looked at */
    uint64_t compact_seq;
    struct map gone_at_c;    /* seq >> 6 -> bits of seqs up to compact_seq superseded up to there */
    struct map gone_at_r;    /* the same, superseded up to the end */
    struct map back_at_r;    /* puts of R behind a death of their key in R */
    uint64_t revision_first; /* the first row of R, once it was seen */
    int64_t kept;            /* keys kept at R, once all rows up to compact_seq were folded */
    bool any_kept;           /* the set of what is kept at R is not empty */
    uint32_t kept_hash;      /* with only those changes up to C that are still the newest at R */
    uint32_t after_hash;     /* of the buckets whose names follow "key" */
    uint64_t after_bytes;
    bool leaves;                /* base is to go on from; else only what is late of it is made */
    struct mvcc_hash_base base; /* of this hash, once it is done */
    size_t block;               /* of the base: the next to be combined */
};

/* HashKV. revision 0: the current one; below 0: of no change, whatever was compacted. A hash that a
 * compaction to exactly this revision left is taken from the view, also when a later one has gone
 * past it: then the job is done at once.
 * Fails: ERR_COMPACTED, ERR_FUTURE_REV. */
MUST err mvcc_hash_begin(struct mvcc_hash *self, const struct mvcc_view *view, int64_t revision);
/* The same, going on from *base where that is exact; then *base is empty until mvcc_hash_leave. */
MUST err mvcc_hash_begin_on(struct mvcc_hash *self, const struct mvcc_view *view, int64_t revision,
                            struct mvcc_hash_base *base);
/* Once it is done: *base becomes this hash's. It stays what it was where this one leaves nothing:
 * begun otherwise, stored, or at the compacted revision itself. */
void mvcc_hash_leave(struct mvcc_hash *self, struct mvcc_hash_base *base);
/* Core: what a compaction leaves behind; previous_*: the compaction before. */
void mvcc_hash_begin_compaction(struct mvcc_hash *self, int64_t previous_revision,
                                uint64_t previous_seq, int64_t revision, uint64_t seq);
/* The rpc Hash, at the view's seq. */
void mvcc_hash_begin_all(struct mvcc_hash *self, const struct mvcc_view *view);
/* Looks at no more than *budget rows and counts them down; *ret_done: self->hash is it.
 * Fails: ERR_CORRUPT (self->fault says where). */
MUST err mvcc_hash_run(struct mvcc_hash *self, const struct mvcc_view *view, unsigned *budget,
                       bool *ret_done);
void mvcc_hash_done(struct mvcc_hash *self);
