/* Ranges and counts: a resumable walk over a span of keys at one seq.
 *
 *     begin ──run──> MVCC_RANGE_ITEM   one item in self->item; run again for the next
 *              ├───> MVCC_RANGE_MORE   the budget is used up: leave the guard or go on
 *              └───> MVCC_RANGE_END    self->count, self->more are final
 *
 * Each run is given the newest view under the caller's guard. Within one guard the same view may be
 * passed again (the walk then keeps its place in the tree); mvcc_range_pause before the guard is
 * left makes the walk remember its key instead. A request of any size is so a plan of constant
 * memory: one walk may add up lengths, a second one (begin again, the same seq under a pin) send.
 *
 * Ascending and descending order of keys stream. The other sort targets first collect one reference
 * of 24 bytes for each key (at most the limit + 1 of them where there is a limit), then give them
 * out sorted; equal sort values come in key order.
 *
 * count is the number of keys in the span at that seq, whatever limit and filters say.
 *
 * Thread: any, one at a time.  Owns: its place and references; mvcc_range_done gives them back.
 * Source: etcd's interface, "Keys and ranges", "Store". */
#pragma once

#include "base/buf.h"
#include "mvcc/view.h"

enum mvcc_order { MVCC_ORDER_NONE, MVCC_ORDER_ASCEND, MVCC_ORDER_DESCEND };
enum mvcc_target {
    MVCC_TARGET_KEY,
    MVCC_TARGET_VERSION,
    MVCC_TARGET_CREATE,
    MVCC_TARGET_MOD,
    MVCC_TARGET_VALUE
};

/* What the references of several sorted walks may take together. Thread: that of the walks. */
struct mvcc_range_room {
    size_t used_bytes, max_bytes;
};

struct mvcc_range_options {
    struct mvcc_span span; /* bytes lent until mvcc_range_done */
    int64_t limit;         /* <= 0: none */
    enum mvcc_order order;
    enum mvcc_target target; /* other than KEY with ORDER_NONE: ascending */
    int64_t min_mod_revision, max_mod_revision, min_create_revision,
        max_create_revision; /* 0: none */
    bool keys_only;          /* items carry has_meta, the value is never read */
    bool count_only;
    bool skip_count;              /* self->count is not wanted (compares, streams) */
    uint64_t refs_max;            /* bound of collected references; 0: MVCC_RANGE_REFS_MAX */
    struct mvcc_range_room *room; /* and of those of all walks that share it; NULL: none */
};
#define MVCC_RANGE_REFS_MAX ((uint64_t)4 << 20)

enum mvcc_range_step { MVCC_RANGE_ITEM, MVCC_RANGE_MORE, MVCC_RANGE_END };

struct mvcc_range_ref;
struct mvcc_range {
    struct mvcc_range_options options;
    uint64_t seq;
    struct mvcc_state item; /* after MVCC_RANGE_ITEM; has_meta where keys_only, filters or a sort
                             * needed it, or it cost nothing */
    uint64_t count;         /* at the end */
    bool more;              /* at the end: keys remained beyond the limit */
    struct revlog_fault fault;

    /* inside */
    const struct mvcc_view *view; /* that `at` belongs to; NULL when paused */
    struct mvcc_cursor at;
    struct buf key; /* the key at `at`, where it had to be made */
    bool key_made;
    bool passed; /* the key at `at` has been looked at */
    uint8_t phase;
    uint8_t counting;
    bool descend;
    uint64_t given;
    uint64_t rows_next, rows_end; /* births and deaths in them are still to be counted */
    struct mvcc_range_ref *refs;
    size_t ref_count, ref_cap, ref_next;
    uint64_t matched;
    unsigned sort_cost; /* of comparing large values, to be taken off the budget */
    err ref_error;
};

/* seq: from mvcc_view_seq_of, or an op's. */
void mvcc_range_init(struct mvcc_range *self, const struct mvcc_range_options *options,
                     uint64_t seq);
void mvcc_range_done(struct mvcc_range *self);
/* Looks at no more than *budget keys or rows and counts them down.
 * Fails: ERR_CORRUPT (self->fault says where), ERR_LIMIT (more references than refs_max,
 * or than there is room for). */
MUST err mvcc_range_run(struct mvcc_range *self, const struct mvcc_view *view, unsigned *budget,
                        enum mvcc_range_step *ret_step);
/* The key of the last item; valid until the next run. Empty for items of a sorted walk: their key
 * is in the stored KeyValue. */
struct bytes mvcc_range_key(struct mvcc_range *self);
/* Before the guard of the view is left. */
void mvcc_range_pause(struct mvcc_range *self);
