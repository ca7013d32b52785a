#include "wal/plan.h"
#include "base/bug.h"

#include "base/check.h"
#include "base/crc.h"
#include "wal/raft_codec.h"
#include "wal/varint.h"

#include <stdlib.h>

/* Data below this is copied behind its head: an iovec and its page reference cost more. */
#define COPY_BYTES_MAX 2048u

static const uint8_t zeros[8];

void wal_plan_init(struct wal_plan *self, struct bytes metadata)
{
    *self = (struct wal_plan){.metadata = metadata};
    buf_init(&self->heads, 0);
}

void wal_plan_done(struct wal_plan *self)
{
    buf_done(&self->heads);
    free(self->pieces);
    *self = (struct wal_plan){0};
}

void wal_plan_resume(struct wal_plan *self, uint64_t sequence, uint64_t offset, uint32_t crc,
                     const struct raft_hard_state *state)
{
    CHECK(self->bytes == 0);
    self->sequence = sequence;
    self->offset = offset;
    self->crc = crc;
    self->state = *state;
    self->synced = false;
    self->marked = false;
}

static struct iovec *piece_add(struct wal_plan *self)
{
    if (self->piece_count == self->piece_cap) {
        self->piece_cap = self->piece_cap ? self->piece_cap * 2 : 64;
        self->pieces = realloc(self->pieces, self->piece_cap * sizeof(*self->pieces));
        CHECK(self->pieces);
    }
    return &self->pieces[self->piece_count++];
}

/* Until the write a piece of `heads` is known by its offset, since the buffer may move: its base
 * holds that offset, and a bit that no real length has marks it. */
#define OWN_PIECE ((size_t)1 << 63)

static void put_own(struct wal_plan *self, const void *what, size_t len)
{
    if (!len)
        return;
    CHECK(err_ok(buf_append(&self->heads, bytes_of(what, len))));
    self->bytes += len;
    if (self->piece_count && (self->pieces[self->piece_count - 1].iov_len & OWN_PIECE)) {
        self->pieces[self->piece_count - 1].iov_len += len;
        return;
    }
    struct iovec *piece = piece_add(self);
    piece->iov_base = (void *)(uintptr_t)(self->heads.len - len);
    piece->iov_len = len | OWN_PIECE;
}

static void put_lent(struct wal_plan *self, struct bytes what)
{
    if (what.len < COPY_BYTES_MAX) {
        put_own(self, what.data, what.len);
        return;
    }
    *piece_add(self) = (struct iovec){(void *)(uintptr_t)what.data, what.len};
    self->bytes += what.len;
}

/* A record whose data is `head` and `body` one behind the other; body may be lent. */
static void put_record(struct wal_plan *self, enum wal_type type, struct bytes head,
                       struct bytes body)
{
    uint8_t frame[WAL_HEAD_BYTES_MAX];
    size_t pad;
    self->crc = crc32c(crc32c(self->crc, head), body);
    size_t len = wal_record_head(type, self->crc, head.len + body.len, true, frame, &pad);
    put_own(self, frame, len);
    put_own(self, head.data, head.len);
    put_lent(self, body);
    put_own(self, zeros, pad);
    self->marked = false;
}

static void put_mark(struct wal_plan *self)
{
    uint8_t frame[WAL_HEAD_BYTES_MAX];
    size_t pad;
    size_t len = wal_record_head(WAL_CRC, self->crc, 0, false, frame, &pad);
    CHECK(len + pad == WAL_MARK_BYTES);
    put_own(self, frame, len);
    put_own(self, zeros, pad);
    self->marked = true;
}

static bool state_is_empty(const struct raft_hard_state *state)
{
    return state->term == 0 && state->vote == 0 && state->commit == 0;
}

void wal_plan_open(struct wal_plan *self, uint64_t sequence)
{
    CHECK(self->bytes == 0);
    self->sequence = sequence;
    self->offset = 0;
    self->synced = true; /* the segments before are */
    put_mark(self);
    put_record(self, WAL_METADATA, self->metadata, BYTES_NONE);
    struct raft_hard_state state = self->state;
    wal_plan_state(self, &state);
    self->marked = false;
}

void wal_plan_mark(struct wal_plan *self)
{
    if ((self->synced || BUG(log_mark_unsynced)) && !self->marked && self->bytes == 0)
        put_mark(self);
}

err wal_plan_entry(struct wal_plan *self, const struct raft_entry *entry,
                   struct wal_place *ret_place)
{
    uint8_t head[RAFT_CODEC_ENTRY_HEAD_BYTES_MAX];
    size_t len = raft_codec_entry_head(entry, head);
    if (entry->data.len > WAL_RECORD_BYTES_MAX - len - WAL_HEAD_BYTES_MAX - 8)
        return ERR_LIMIT;
    uint64_t offset = self->offset + self->bytes;
    CHECK(offset <= UINT32_MAX && self->sequence <= UINT32_MAX);
    *ret_place = (struct wal_place){(uint32_t)self->sequence, (uint32_t)offset, self->crc};
    put_record(self, WAL_ENTRY, bytes_of(head, len), entry->data);
    return OK;
}

void wal_plan_state(struct wal_plan *self, const struct raft_hard_state *state)
{
    if (state_is_empty(state))
        return;
    /* A reader takes one that goes backwards for damage. */
    CHECK(state->term >= self->state.term && state->commit >= self->state.commit);
    uint8_t bytes[RAFT_CODEC_STATE_BYTES_MAX];
    size_t len = raft_codec_state_encode(state, bytes);
    put_record(self, WAL_STATE, bytes_of(bytes, len), BYTES_NONE);
    self->state = *state;
}

err wal_plan_snapshot(struct wal_plan *self, const struct wal_snapshot *snapshot)
{
    uint8_t head[3 + 3 * WAL_VARINT_BYTES_MAX];
    uint8_t *p = head;
    if (snapshot->conf_state.len > WAL_RECORD_BYTES_MAX - sizeof(head) - WAL_HEAD_BYTES_MAX - 8)
        return ERR_LIMIT;
    *p++ = 0x08; /* index 1 */
    p = varint_put(p, snapshot->index);
    *p++ = 0x10; /* term 2 */
    p = varint_put(p, snapshot->term);
    if (snapshot->conf_state.len) {
        *p++ = 0x1a; /* conf_state 3 */
        p = varint_put(p, snapshot->conf_state.len);
    }
    put_record(self, WAL_SNAPSHOT, bytes_of(head, (size_t)(p - head)), snapshot->conf_state);
    return OK;
}

struct iovec *wal_plan_pieces(struct wal_plan *self, size_t *ret_count)
{
    for (size_t i = 0; i < self->piece_count; i++) {
        struct iovec *piece = &self->pieces[i];
        if (piece->iov_len & OWN_PIECE) {
            piece->iov_base = self->heads.data + (uintptr_t)piece->iov_base;
            piece->iov_len &= ~OWN_PIECE;
        }
    }
    *ret_count = self->piece_count;
    return self->pieces;
}

void wal_plan_written(struct wal_plan *self, bool synced)
{
    self->offset += self->bytes;
    if (self->bytes)
        self->synced = synced;
    else
        self->synced |= synced;
    self->bytes = 0;
    self->piece_count = 0;
    buf_clear(&self->heads);
}
