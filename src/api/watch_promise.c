/* Responses too large to be made in one piece: their length is known, their bytes are read from the
 * store as the socket takes them, so that a client that does not read holds none of them. A pin
 * keeps what is to be read; where it breaks and a compaction takes that away the stream is reset,
 * and the client begins again.
 *
 *     head │ event │ event │ …          taken <= shown; between the two: `items`, by event
 */
#include "api/watch_internal.h"

#include "base/check.h"

#include <stdlib.h>

#define READ_BUDGET 4096
/* What is kept for the next write. */
#define ITEMS_KEPT 64

struct place {
    size_t head;     /* bytes of it */
    uint64_t next;   /* seq to look for the next event from */
    uint64_t offset; /* in that event */
};

/* An event that was shown. */
struct item {
    uint64_t next; /* seq behind it */
    size_t bytes;
};

struct large {
    struct front *front;
    struct mvcc_pin pin;
    struct watch_reader reader; /* its span lies behind the struct */
    struct place taken, shown;
    struct item *items;
    unsigned item_count, item_cap;
    size_t head_len;
    uint8_t head[WATCH_HEAD_BYTES_MAX];
    uint8_t span[];
};

/* Once an event, though it may take several writes' slices to show. */
static void push_item(struct large *self, uint64_t next, size_t bytes)
{
    if (self->item_count && self->items[self->item_count - 1].next == next)
        return;
    if (self->item_count == self->item_cap) {
        self->item_cap = self->item_cap ? self->item_cap * 2 : 8;
        self->items = realloc(self->items, self->item_cap * sizeof(self->items[0]));
        CHECK(self->items);
    }
    self->items[self->item_count++] = (struct item){next, bytes};
}

/* Puts the run but for what *skip says has been put. False: the slice is full. */
static bool put_run(struct rpc_slice *slice, struct bytes run, uint64_t *skip, uint64_t *put)
{
    if (*skip >= run.len) {
        *skip -= run.len;
        return true;
    }
    run = bytes_skip(run, (size_t)*skip);
    *skip = 0;
    size_t took = rpc_slice_put(slice, run);
    *put += took;
    return took == run.len;
}

static bool show_event(struct large *self, const struct watch_event *event, struct rpc_slice *slice)
{
    struct watch_event_parts parts;
    watch_event_split(event, &parts);
    struct bytes runs[] = {bytes_of(parts.head, parts.head_len), parts.kv,
                           bytes_of(parts.mid, parts.mid_len), parts.before};
    uint64_t skip = self->shown.offset;
    bool room = true;
    for (unsigned i = 0; i < 4 && room; i++)
        room = put_run(slice, runs[i], &skip, &self->shown.offset);
    return room;
}

/* The event at the shown place; *ret_found false: the end. */
static err read_event(struct large *self, const struct mvcc_view *view,
                      struct watch_event *ret_event, bool *ret_found)
{
    struct watch_reader reader = self->reader;
    reader.next = self->shown.next;
    *ret_found = false;
    while (!*ret_found && reader.next <= reader.last) {
        unsigned budget = READ_BUDGET;
        TRY(watch_reader_next(&reader, view, &budget, ret_event, ret_found));
    }
    return OK;
}

static err show(struct large *self, const struct mvcc_view *view, struct rpc_slice *slice)
{
    struct place *at = &self->shown;
    struct bytes head = bytes_of(self->head + at->head, self->head_len - at->head);
    at->head += rpc_slice_put(slice, head);
    bool room = at->head == self->head_len;
    while (room && rpc_slice_room(slice) > 0) {
        struct watch_event event;
        bool found;
        TRY(read_event(self, view, &event, &found));
        if (!found)
            return OK;
        push_item(self, event.seq + 1, watch_event_size(&event, event.kv.len, event.before.len));
        room = show_event(self, &event, slice);
        if (room) {
            at->next = event.seq + 1;
            at->offset = 0;
        }
    }
    return OK;
}

static err produce(void *ctx, struct rpc_slice *slice)
{
    struct large *self = ctx;
    struct front *front = self->front;
    front_guard_enter(front);
    err e = mvcc_pin_touch(&self->pin, io_loop_now_ms(front->config.loop));
    if (e.code)
        mvcc_pin_drop(front->config.pins, &self->pin); /* it may yet be there */
    e = show(self, front_view(front)->mvcc, slice);
    front_guard_leave(front);
    return e;
}

static void advance(void *ctx, size_t n)
{
    struct large *self = ctx;
    struct place *at = &self->taken;
    size_t head = self->head_len - at->head;
    head = n < head ? n : head;
    at->head += head;
    n -= head;
    for (unsigned i = 0; n > 0; i++) {
        CHECK(i < self->item_count); /* what was taken was shown */
        uint64_t left = self->items[i].bytes - at->offset;
        if (n < left) {
            at->offset += n;
            break;
        }
        n -= (size_t)left;
        at->offset = 0;
        at->next = self->items[i].next;
    }
    self->shown = self->taken;
    self->item_count = 0;
    if (self->item_cap > ITEMS_KEPT) {
        free(self->items);
        self->items = NULL;
        self->item_cap = 0;
    }
}

static void release(void *ctx)
{
    struct large *self = ctx;
    mvcc_pin_drop(self->front->config.pins, &self->pin);
    free(self->items);
    free(self);
}

static const struct rpc_promise_ops promise_ops = {produce, advance, release};

static struct mvcc_pin pin_at(struct front *front, uint64_t first_seq)
{
    const struct mvcc_view *view = front_view(front)->mvcc;
    struct mvcc_pin pin = {0};
    uint64_t seq = first_seq - 1 < view->compact_seq ? view->compact_seq : first_seq - 1;
    /* Without one it is read as long as it is there. */
    if (mvcc_pin_take(front->config.pins, seq, io_loop_now_ms(front->config.loop), &pin).code)
        return (struct mvcc_pin){0};
    return pin;
}

/* The reader's span moves into room. */
static void keep_span(struct watch_reader *reader, uint8_t *room)
{
    struct mvcc_span *span = &reader->span;
    memcpy(room, span->key.data, span->key.len);
    if (span->end.len)
        memcpy(room + span->key.len, span->end.data, span->end.len);
    span->end = bytes_of(room + span->key.len, span->end.len);
    span->key = bytes_of(room, span->key.len);
}

static void send_promise(struct request *request, const struct watch_reader *reader,
                         const struct watch_head *head, size_t bytes)
{
    const struct mvcc_span *span = &reader->span;
    struct large *self = calloc(1, sizeof(*self) + span->key.len + span->end.len);
    CHECK(self);
    self->front = request->front;
    self->reader = *reader;
    keep_span(&self->reader, self->span);
    self->head_len = watch_head_put(request, head, self->head);
    self->taken = self->shown = (struct place){.next = reader->next};
    self->pin = pin_at(request->front, reader->next);
    struct rpc_promise promise = {.len = self->head_len + bytes, .ops = &promise_ops, .ctx = self};
    call_metrics_message(request->method, true);
    rpc_call_send_promise(request->call, &promise);
}

/* ── In parts ───────────────────────────────────────────────────────────────────────────────── */

struct watch_parts {
    struct watch_head head;
    struct mvcc_pin pin;
    struct watch_reader ahead; /* measures; its span lies behind the struct */
    uint64_t first, last;      /* seqs of the part being measured */
    size_t bytes;              /* of it; 0: none yet */
    size_t left;               /* of all events, this part's included */
    size_t limit;
    uint8_t span[];
};

struct watch_parts *watch_parts_new(struct request *request, const struct watch_delivery *delivery,
                                    size_t limit)
{
    const struct mvcc_span *span = &delivery->reader.span;
    struct watch_parts *self = calloc(1, sizeof(*self) + span->key.len + span->end.len);
    CHECK(self);
    self->head =
        (struct watch_head){.revision = delivery->revision, .watch_id = delivery->watch_id};
    self->ahead = delivery->reader;
    keep_span(&self->ahead, self->span);
    self->left = delivery->bytes;
    self->limit = limit;
    self->pin = pin_at(request->front, delivery->reader.next);
    return self;
}

void watch_parts_free(struct watch_parts *self, struct front *front)
{
    if (!self)
        return;
    mvcc_pin_drop(front->config.pins, &self->pin);
    free(self);
}

static void send_part(struct watch_parts *self, struct request *request)
{
    struct watch_reader part = self->ahead;
    part.next = self->first;
    part.last = self->last;
    CHECK(self->bytes <= self->left);
    self->left -= self->bytes;
    self->head.fragment = self->left > 0;
    send_promise(request, &part, &self->head, self->bytes);
    self->bytes = 0;
}

/* Takes the event into the part. False: the part is full without it. */
static bool part_add(struct watch_parts *self, const struct watch_event *event)
{
    size_t bytes = watch_event_size(event, event->kv.len, event->before.len);
    if (self->bytes && self->bytes + bytes >= self->limit)
        return false;
    if (!self->bytes)
        self->first = event->seq;
    self->last = event->seq;
    self->bytes += bytes;
    return true;
}

err watch_parts_run(struct watch_parts *self, struct request *request, unsigned *budget,
                    bool *ret_waits, bool *ret_done)
{
    struct front *front = request->front;
    const struct mvcc_view *view = front_view(front)->mvcc;
    *ret_waits = *ret_done = false;
    if (mvcc_pin_touch(&self->pin, io_loop_now_ms(front->config.loop)).code)
        mvcc_pin_drop(front->config.pins, &self->pin);
    while (*budget > 0 && !*ret_waits && !*ret_done) {
        struct watch_reader before = self->ahead;
        struct watch_event event;
        bool found;
        TRY(watch_reader_next(&self->ahead, view, budget, &event, &found));
        bool full = found && !part_add(self, &event);
        if (full)
            self->ahead = before; /* it begins the next one */
        if (!full && self->bytes < self->left) {
            if (!found && self->ahead.next > self->ahead.last)
                return ERR_NOT_FOUND; /* fewer than were measured */
            continue;
        }
        *ret_waits = !request_writable(request);
        if (*ret_waits) {
            self->ahead = full ? before : self->ahead;
            return OK;
        }
        send_part(self, request);
        *ret_done = self->left == 0;
    }
    return OK;
}

/* The gateway writes whole messages. */
static err gather(const struct watch_delivery *delivery, const struct mvcc_view *view,
                  struct buf *out)
{
    struct watch_reader reader = delivery->reader;
    while (reader.next <= reader.last) {
        unsigned budget = READ_BUDGET;
        struct watch_event event;
        bool found;
        TRY(watch_reader_next(&reader, view, &budget, &event, &found));
        if (!found)
            continue;
        TRY(buf_reserve(out, watch_event_size(&event, event.kv.len, event.before.len)));
        uint8_t *at = out->data + out->len;
        out->len += (size_t)(watch_event_put(&event, at) - at);
    }
    return OK;
}

static void send_gathered(struct request *request, const struct watch_delivery *delivery)
{
    uint8_t bytes[WATCH_HEAD_BYTES_MAX];
    struct watch_head head = {.revision = delivery->revision, .watch_id = delivery->watch_id};
    struct buf events;
    buf_init(&events, GATEWAY_ANSWER_BYTES_MAX);
    err e = gather(delivery, front_view(request->front)->mvcc, &events);
    struct bytes parts[] = {bytes_of(bytes, watch_head_put(request, &head, bytes)),
                            buf_bytes(&events)};
    if (e.code)
        request_fail(request, err_is(e, ERR_LIMIT) ? ERR_RESPONSE_TOO_LARGE : ERR_UNHEALTHY);
    else
        request_send(request, parts, 2);
    buf_done(&events);
}

void watch_send_large(struct request *request, const struct watch_delivery *delivery)
{
    struct watch_head head = {.revision = delivery->revision, .watch_id = delivery->watch_id};
    if (request->call)
        send_promise(request, &delivery->reader, &head, delivery->bytes);
    else
        send_gathered(request, delivery);
}
