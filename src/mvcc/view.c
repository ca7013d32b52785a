#include "mvcc/view.h"

#include "base/check.h"
#include "mvcc/index_head.h"
#include "mvcc/index_tree.h"
#include "mvcc/store_bucket.h"

err mvcc_view_seq_of(const struct mvcc_view *self, int64_t revision, uint64_t *ret_seq)
{
    if (revision <= 0 || revision == self->revision) {
        *ret_seq = self->seq;
        return OK;
    }
    if (revision > self->revision)
        return ERR_FUTURE_REV;
    if (revision < self->compact_revision)
        return ERR_COMPACTED;
    uint64_t seq;
    TRY(revlog_find_revision(self->log, revision, self->seq, &seq, NULL));
    /* Where cleaning dropped the last changes up to the compaction, nothing is seen between. */
    *ret_seq = seq > self->compact_seq ? seq : self->compact_seq;
    return OK;
}

err mvcc_view_read(const struct mvcc_view *self, uint64_t seq, struct mvcc_record *ret_record,
                   struct revlog_fault *fault)
{
    return revlog_read(self->log, seq, ret_record, fault);
}

/* The oldest change above s that the head and its ladder name. */
static uint64_t view_start_above(const struct mvcc_head *head, uint64_t s)
{
    uint32_t low = 0;
    uint32_t n = head->rung_count;
    while (n > 0) {
        uint32_t half = n / 2;
        if (head->rungs[low + half] <= s) {
            low += half + 1;
            n -= half + 1;
        } else {
            n = half;
        }
    }
    return low < head->rung_count ? head->rungs[low] : head->seq;
}

/* Goes back from a change above s. *ret_found false: the key had no change up to s. */
static err view_go_back(const struct mvcc_view *self, uint64_t above, uint64_t s,
                        struct revlog_row *ret_row, bool *ret_found, struct revlog_fault *fault)
{
    struct revlog_row row;
    err e = revlog_row(self->log, above, &row, fault);
    while (err_ok(e) && row.seq > s) {
        uint64_t prev = row.prev;
        if (prev >= row.seq)
            return ERR_CORRUPT;
        if (prev == 0) {
            *ret_found = false;
            return OK;
        }
        e = revlog_row(self->log, prev, &row, fault);
        /* A change that cleaning dropped was dead at the floor, and the floor is at or below s. */
        if (err_is(e, ERR_NOT_FOUND) && prev <= s) {
            *ret_found = false;
            return OK;
        }
    }
    /* Above the floor nothing may be missing. */
    if (err_is(e, ERR_NOT_FOUND))
        return ERR_CORRUPT;
    TRY(e);
    *ret_row = row;
    *ret_found = true;
    return OK;
}

err mvcc_view_resolve(const struct mvcc_view *self, const struct mvcc_head *head, uint64_t s,
                      struct mvcc_state *ret_state, bool *ret_found, struct revlog_fault *fault)
{
    if (head->seq <= s) {
        *ret_found = mvcc_head_is_live(head);
        if (*ret_found)
            *ret_state = (struct mvcc_state){.seq = head->seq,
                                             .main = head->main,
                                             .blob_bytes = head->blob_bytes,
                                             .has_meta = true,
                                             .create = head->create,
                                             .version = head->version,
                                             .lease = head->lease};
        return OK;
    }
    if (s == 0) { /* before the first change; no pin holds that (mvcc_pin_take) */
        *ret_found = false;
        return OK;
    }
    struct revlog_row row;
    bool found;
    TRY(view_go_back(self, view_start_above(head, s), s, &row, &found, fault));
    *ret_found = found && !row.death;
    if (*ret_found)
        *ret_state =
            (struct mvcc_state){.seq = row.seq, .main = row.main, .blob_bytes = row.blob_bytes};
    return OK;
}

err mvcc_view_fill(const struct mvcc_view *self, struct mvcc_state *state,
                   struct revlog_fault *fault)
{
    if (state->has_meta)
        return OK;
    struct mvcc_record record;
    struct mvcc_kv kv;
    TRY(revlog_read(self->log, state->seq, &record, fault));
    TRY(mvcc_kv_decode(record.blob, &kv));
    state->create = kv.create;
    state->version = kv.version;
    state->lease = kv.lease;
    state->has_meta = true;
    return OK;
}

err mvcc_view_find(const struct mvcc_view *self, struct bytes key, uint64_t s,
                   struct mvcc_state *ret_state, bool *ret_found, struct revlog_fault *fault)
{
    struct mvcc_head head;
    if (!mvcc_root_find(self->root, key, &head)) {
        *ret_found = false;
        return OK;
    }
    return mvcc_view_resolve(self, &head, s, ret_state, ret_found, fault);
}
