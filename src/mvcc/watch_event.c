#include "mvcc/watch_event.h"
#include "base/bug.h"

#include "wire/splice.h"

/* Fields of mvccpb.Event, of KeyValue, and of WatchResponse. */
enum { EVENT_TYPE = 1, EVENT_KV = 2, EVENT_PREV_KV = 3, KV_MOD_REVISION = 3, RESPONSE_EVENTS = 11 };

/* A tombstone's stored bytes hold the key alone. */
static size_t kv_extra(const struct watch_event *self)
{
    return self->is_delete ? wire_varint_field_size(KV_MOD_REVISION, (uint64_t)self->revision) : 0;
}

static size_t event_inner(const struct watch_event *self, size_t kv_bytes, size_t before_bytes)
{
    size_t before = before_bytes ? wire_message_field_size(EVENT_PREV_KV, before_bytes) : 0;
    return wire_varint_field_size(EVENT_TYPE, self->is_delete) +
           wire_message_field_size(EVENT_KV, kv_bytes + kv_extra(self)) + before;
}

size_t watch_event_size(const struct watch_event *self, size_t kv_bytes, size_t before_bytes)
{
    return wire_message_field_size(RESPONSE_EVENTS, event_inner(self, kv_bytes, before_bytes));
}

static uint8_t *put_head(const struct watch_event *self, uint8_t *at)
{
    at = wire_put_prefix(at, RESPONSE_EVENTS, event_inner(self, self->kv.len, self->before.len));
    at = wire_put_varint_field(at, EVENT_TYPE, self->is_delete);
    return wire_put_prefix(at, EVENT_KV, self->kv.len + kv_extra(self));
}

static uint8_t *put_mid(const struct watch_event *self, uint8_t *at)
{
    if (self->is_delete)
        at = wire_put_varint_field(at, KV_MOD_REVISION, (uint64_t)self->revision);
    return self->before.len ? wire_put_prefix(at, EVENT_PREV_KV, self->before.len) : at;
}

void watch_event_split(const struct watch_event *self, struct watch_event_parts *ret_parts)
{
    ret_parts->kv = self->kv;
    ret_parts->before = self->before;
    ret_parts->head_len = (unsigned)(put_head(self, ret_parts->head) - ret_parts->head);
    ret_parts->mid_len = (unsigned)(put_mid(self, ret_parts->mid) - ret_parts->mid);
}

static uint8_t *put_bytes(uint8_t *at, struct bytes what)
{
    if (what.len)
        memcpy(at, what.data, what.len);
    return at + what.len;
}

uint8_t *watch_event_put(const struct watch_event *self, uint8_t *out)
{
    out = put_bytes(put_head(self, out), self->kv);
    return put_bytes(put_mid(self, out), self->before);
}

err watch_before(const struct mvcc_view *view, const struct revlog_row *change, int64_t floor,
                 uint64_t *ret_seq, uint32_t *ret_bytes)
{
    struct revlog_row row = *change;
    bool is_create = change->kind == MVCC_PUT && change->birth;
    *ret_seq = 0;
    *ret_bytes = 0;
    if (is_create || (change->main - 1 < floor && !BUG(watch_prev_kv_below_floor)))
        return OK;
    /* Of several changes in one revision none shows one revision earlier. */
    while (row.main == change->main) {
        if (row.prev == 0)
            return OK;
        if (row.prev >= row.seq)
            return ERR_CORRUPT;
        TRY(revlog_row(view->log, row.prev, &row, NULL));
    }
    if (row.death)
        return OK;
    *ret_seq = row.seq;
    *ret_bytes = row.blob_bytes;
    return OK;
}

static bool reader_wants(const struct watch_reader *self, const struct revlog_row *row)
{
    unsigned filter = row->kind == MVCC_PUT ? WATCH_NO_PUT : WATCH_NO_DELETE;
    return (row->kind == MVCC_PUT || row->kind == MVCC_TOMBSTONE) && row->main >= self->least &&
           (!(self->flags & filter) || BUG(watch_filter_ignored));
}

static err reader_read(const struct watch_reader *self, const struct mvcc_view *view,
                       const struct revlog_row *row, struct watch_event *ret_event, bool *ret_found)
{
    struct mvcc_record record;
    struct bytes key;
    TRY(mvcc_view_read(view, row->seq, &record, NULL));
    TRY(mvcc_record_key(&record, &key));
    *ret_found = mvcc_span_has(&self->span, key);
    if (!*ret_found)
        return OK;
    struct watch_event event = {.seq = row->seq,
                                .revision = row->main,
                                .is_delete = row->kind == MVCC_TOMBSTONE,
                                .is_create = row->kind == MVCC_PUT && row->birth,
                                .kv = record.blob};
    if (self->flags & WATCH_PREV_KV) {
        uint32_t bytes;
        TRY(watch_before(view, row, self->floor, &event.before_seq, &bytes));
        if (event.before_seq) {
            TRY(mvcc_view_read(view, event.before_seq, &record, NULL));
            event.before = record.blob;
        }
    }
    *ret_event = event;
    return OK;
}

err watch_reader_next(struct watch_reader *self, const struct mvcc_view *view, unsigned *budget,
                      struct watch_event *ret_event, bool *ret_found)
{
    struct revlog_rows rows;
    *ret_found = false;
    revlog_rows_begin(&rows, view->log, self->next, self->last);
    while (*budget > 0 && !*ret_found) {
        struct revlog_row row;
        bool more;
        TRY(revlog_rows_next(&rows, &row, &more, NULL));
        self->next = more ? row.seq + 1 : self->last + 1;
        if (!more)
            return OK;
        (*budget)--;
        if (reader_wants(self, &row))
            TRY(reader_read(self, view, &row, ret_event, ret_found));
    }
    return OK;
}
