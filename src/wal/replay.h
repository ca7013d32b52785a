/* Reads a log back: segment after segment, bytes in, state out. The bytes are hostile.
 *
 * How a segment's bytes are judged (x: the first frame that cannot be read or whose crc is wrong):
 *     not the last segment                           corrupt: it was closed after a sync
 *     last, a good mark behind x                     corrupt: what is marked was durable
 *     last, none, marks were seen before             torn: the log ends at x
 *     last, none, no mark seen (written by etcd)     torn where a 512-byte sector's part of the
 *                                                    frame is all zero or the file ends in it,
 *                                                    else corrupt
 * A clean end (length 0) is followed by zeros only; whatever else lies there falls under the same
 * rule, x being the end.
 *
 * What the records mean:
 *     an entry replaces everything from its index on; a gap is corrupt;
 *     a snapshot record that the log does not contain drops all entries read before it, once a
 *     state's commit or the entry that follows it says that it was installed;
 *     a valid snapshot record is one whose index <= the last state's commit.
 *
 * Thread: any; never blocks.  Owns: copies of metadata, state, snapshots and places; nothing of
 * the segments. */
#pragma once

#include "base/buf.h"
#include "raft/types.h"
#include "wal/format.h"
#include "wal/places.h"
#include "wal/plan.h"

/* Where and why a log was refused or cut. */
struct wal_fault {
    struct wal_name segment;
    uint64_t offset;
    uint64_t index; /* of the last good entry before it */
    const char *what;
};

struct wal_snapshot_row {
    uint64_t index, term;
    uint8_t *conf_state; /* owned; raftpb.ConfState bytes or NULL */
    size_t conf_state_len;
};

struct wal_replay {
    bool started;
    bool marks_seen;
    uint64_t next_sequence;
    uint32_t crc;
    struct buf metadata;
    bool has_metadata;
    struct raft_hard_state state;
    struct wal_places entries;
    bool base_known; /* what precedes the first entry: index 0, or a snapshot */
    bool base_is_snapshot;
    bool install_pending; /* a snapshot record that the log does not contain */
    uint64_t install_index, install_term;
    struct wal_snapshot_row *snapshots; /* in the order of the log */
    size_t snapshot_count, snapshot_cap;
    struct wal_fault fault; /* filled on ERR_CORRUPT and by a cut */
};

/* Where appending goes on. */
struct wal_tail {
    uint64_t offset;
    uint32_t crc;
    bool cut;           /* bytes other than zero lie at or behind offset: zero them first */
    uint64_t cut_bytes; /* from offset to the last of them */
};

/* Where the run of segments without a gap begins that ends with the last one; names are sorted.
 * What lies before a gap was on its way out: segments go oldest first, but a crash may keep any of
 * them. Whether the run reaches back far enough is decided by wal/start.h. */
size_t wal_names_run(const struct wal_name *names, size_t count);

void wal_replay_init(struct wal_replay *self);
void wal_replay_done(struct wal_replay *self);
/* One segment, in order; `bytes` is the whole file, zeros at its end may be left out. ret_tail
 * only for the last.
 * Fails: ERR_CORRUPT, `fault` says where; a torn tail is no error. */
MUST err wal_replay_segment(struct wal_replay *self, struct wal_name name, struct bytes bytes,
                            bool is_last, struct wal_tail *ret_tail);
/* The newest valid snapshot record; index 0 where there is none but the first. */
struct wal_snapshot wal_replay_snapshot(const struct wal_replay *self);
/* Decodes the entry at a place of a segment's bytes and verifies it.
 * Fails: ERR_CORRUPT. The entry's data lies in `segment`. */
MUST err wal_entry_at(struct bytes segment, struct wal_place place, uint64_t index, uint64_t term,
                      struct raft_entry *ret_entry);
