/* A snapshot: the replicated state at one moment, as a file of etcd's store (bbolt's format).
 *
 *     new ──measure…──> size ──read…──> end, digest
 *
 * The moment is taken at once: a pin keeps the keys' changes, the small buckets are copied. Then
 * two passes over the changes, in slices: the first only adds up lengths, the second appends pages
 * to the caller's buffer. Held meanwhile: the copied buckets and a page or two, whatever the size.
 *
 * The contents are those after a finished compaction; what is stored under meta names the index,
 * term and members of this moment. The same moment gives the same bytes.
 *
 * Thread: any, one at a time; new, measure and read under a guard of the view that they are given.
 * Owns: its pin and copies. It may be freed on any thread.
 * Source: etcd's interface, on-disk formats, sections 4, 5, 8. */
#pragma once

#include "base/buf.h"
#include "mvcc/view.h"
#include "mvcc/view_pin.h"
#include "state/members.h"

#define SNAPSHOT_DIGEST_BYTES 32 /* SHA-256 */

struct snapshot_source;

/* One published moment: all of the same view. */
struct snapshot_moment {
    const struct mvcc_view *view;
    const struct membership *members;
    uint64_t index; /* applied */
    uint64_t term;  /* of the entry with that index */
};

/* Fails: ERR_LIMIT where there is no free pin. */
MUST err snapshot_source_new(const struct snapshot_moment *moment, struct mvcc_pins *pins,
                             uint64_t now_ms, struct snapshot_source **ret_source);
/* NULL is legal. */
void snapshot_source_free(struct snapshot_source *self);

/* First pass: at most *budget changes, which it counts down. view: the newest.
 * Fails: ERR_TIMED_OUT (stood still for too long: the pin was broken), ERR_CORRUPT, ERR_LIMIT (an
 * entry that the format cannot hold). */
MUST err snapshot_source_measure(struct snapshot_source *self, const struct mvcc_view *view,
                                 uint64_t now_ms, unsigned *budget, bool *ret_done);
/* Of the file, once measured; without the digest that follows it in saved files. */
uint64_t snapshot_source_bytes(const struct snapshot_source *self);
/* Second pass: appends pages to out until it holds `enough` bytes (one large value more at most),
 * or *budget changes are used up. *ret_end: all of the file was given. Fails: as measure. */
MUST err snapshot_source_read(struct snapshot_source *self, const struct mvcc_view *view,
                              uint64_t now_ms, unsigned *budget, size_t enough, struct buf *out,
                              bool *ret_end);
/* Of all bytes, once they were read. */
void snapshot_source_digest(const struct snapshot_source *self,
                            uint8_t ret_digest[SNAPSHOT_DIGEST_BYTES]);
uint64_t snapshot_source_index(const struct snapshot_source *self);
uint64_t snapshot_source_term(const struct snapshot_source *self);
/* Of the storage, "3.7.0"; "" where none is stored. Lives as long as the source. */
const char *snapshot_source_version(const struct snapshot_source *self);
/* Where bad bytes were met (seq 0: nowhere). */
const struct revlog_fault *snapshot_source_fault(const struct snapshot_source *self);
