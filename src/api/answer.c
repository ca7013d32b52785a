#include "api/answer.h"

#include "base/check.h"
#include "mvcc/store.h"

#include <stdlib.h>

/* Items that a walk keeps from measuring to sending. */
#define KEPT_MAX 64
/* Keys looked at in one slice. */
#define BUDGET 2000
/* Items shown to the output and not yet taken, at first; no more than fit one slice of output. */
#define RING_ITEMS 64U
/* Tag and length of a KeyValue. */
#define FRAME_BYTES_MAX 16

struct answer_item {
    uint64_t seq;
    uint32_t blob_bytes;
    uint64_t len; /* framed */
};

/* Where sending stands: in a part, and of a walk so many items and so many bytes of the next. */
struct answer_place {
    struct answer_part *part;
    uint64_t items;  /* of a walk: through */
    uint64_t offset; /* of the literal, or of the next item */
};

struct answer_part {
    struct bytes literal;
    struct answer_walk *walk; /* or this */
    struct answer_part *next;
};

struct answer {
    struct request *request;
    struct answer_walk *walks, *last_walk;
    struct answer_walk *measuring; /* being measured */
    struct mvcc_range range;       /* its walk, then the walk of the part being sent */
    bool range_open;
    struct mvcc_pin pin;
    void (*compose)(struct answer *self, void *ctx);
    void *ctx;
    struct answer_part *parts, *last_part;
    size_t len;
    bool composed;
    bool in_turn; /* its turn among the jobs has come */
    /* Sending. Shown items wait in the ring until they are taken; then they are dropped. */
    struct answer_place taken, shown;
    struct answer_item *ring;
    unsigned ring_cap, ring_first, ring_count; /* cap: a power of two */
    unsigned ring_shown;                       /* of ring_count */
    struct answer_part *filling;               /* the walk that the ring is filled from */
    uint64_t given;                            /* its items that were given out */
};

static void release(struct request *request)
{
    struct answer *self = request->data;
    if (self->range_open)
        mvcc_range_done(&self->range);
    self->range_open = false;
    free(self->ring);
    mvcc_pin_drop(request->front->config.pins, &self->pin);
}

struct answer *answer_new(struct request *request)
{
    struct answer *self = ARENA_NEW(&request->arena, struct answer);
    self->request = request;
    request->data = self;
    request->release = release;
    return self;
}

struct answer_walk *answer_walk(struct answer *self, const struct mvcc_range_options *options,
                                uint64_t seq, uint32_t field)
{
    struct answer_walk *walk = ARENA_NEW(&self->request->arena, struct answer_walk);
    walk->options = *options;
    walk->seq = seq;
    walk->field = field;
    if (self->last_walk)
        self->last_walk->next = walk;
    else
        self->walks = walk;
    self->last_walk = walk;
    return walk;
}

struct request *answer_request(const struct answer *self)
{
    return self->request;
}

/* ── Measuring ──────────────────────────────────────────────────────────────────────────────── */

/* A KeyValue without its value: fields 1 to 4, the lease too where the answer was sorted by value
 * (as etcd 3.7 does). */
static struct wire_kv strip(const struct answer_walk *walk, const struct mvcc_kv *kv)
{
    return (struct wire_kv){.key = kv->key,
                            .create_revision = kv->create,
                            .mod_revision = kv->mod,
                            .version = kv->version,
                            .lease = walk->options.target == MVCC_TARGET_VALUE ? kv->lease : 0};
}

static err item_length(struct answer *self, const struct answer_walk *walk,
                       const struct mvcc_view *view, struct answer_item *item)
{
    uint64_t inner = item->blob_bytes;
    if (walk->options.keys_only) {
        struct mvcc_record record;
        struct mvcc_kv kv;
        TRY(mvcc_view_read(view, item->seq, &record, &self->range.fault));
        TRY(mvcc_kv_decode(record.blob, &kv));
        struct wire_kv plain = strip(walk, &kv);
        inner = wire_kv_size(&plain);
    }
    item->len = wire_message_field_size(walk->field, inner);
    return OK;
}

/* Before walk->items counts it; its array grows by doubling. */
static void walk_keep(struct answer *self, struct answer_walk *walk, const struct answer_item *item)
{
    size_t count = walk->items;
    if (count >= KEPT_MAX) {
        walk->kept = NULL;
        return;
    }
    if ((count & (count - 1)) == 0) {
        struct answer_item *grown =
            ARENA_ARRAY(&self->request->arena, struct answer_item, count ? count * 2 : 1);
        if (count)
            memcpy(grown, walk->kept, count * sizeof(*grown));
        walk->kept = grown;
    }
    CHECK(walk->kept);
    walk->kept[count] = *item;
}

/* True: the walk is measured. */
static err walk_measure(struct answer *self, struct answer_walk *walk, const struct mvcc_view *view,
                        unsigned *budget, bool *ret_done)
{
    if (!self->range_open) {
        mvcc_range_init(&self->range, &walk->options, walk->seq);
        self->range_open = true;
    }
    *ret_done = false;
    while (true) {
        enum mvcc_range_step step;
        TRY(mvcc_range_run(&self->range, view, budget, &step));
        if (step == MVCC_RANGE_MORE)
            return OK;
        if (step == MVCC_RANGE_END)
            break;
        struct answer_item item = {.seq = self->range.item.seq,
                                   .blob_bytes = self->range.item.blob_bytes};
        TRY(item_length(self, walk, view, &item));
        walk_keep(self, walk, &item);
        walk->items++;
        walk->bytes += item.len;
        if (*budget == 0)
            return OK;
    }
    walk->count = self->range.count;
    walk->more = self->range.more;
    mvcc_range_done(&self->range);
    self->range_open = false;
    *ret_done = true;
    return OK;
}

/* ── Sending ────────────────────────────────────────────────────────────────────────────────── */

/* Shows one item from offset on; *ret_took of it went in. */
static err show_item(struct answer *self, const struct answer_walk *walk,
                     const struct mvcc_view *view, const struct answer_item *item, uint64_t offset,
                     struct rpc_slice *slice, uint64_t *ret_took)
{
    struct mvcc_record record;
    TRY(mvcc_view_read(view, item->seq, &record, &self->range.fault));
    uint8_t frame[2 * FRAME_BYTES_MAX];
    uint8_t numbers[6 * (1 + WIRE_VARINT_BYTES_MAX)];
    struct bytes runs[3] = {BYTES_NONE, record.blob, BYTES_NONE};
    uint8_t *end;
    if (walk->options.keys_only) {
        struct mvcc_kv kv;
        TRY(mvcc_kv_decode(record.blob, &kv));
        struct wire_kv plain = strip(walk, &kv), rest = plain;
        rest.key = BYTES_NONE;
        end = wire_put_prefix(frame, walk->field, wire_kv_size(&plain));
        end = wire_put_prefix(end, 1, kv.key.len);
        runs[1] = kv.key;
        runs[2] = bytes_of(numbers, (size_t)(wire_put_kv(numbers, &rest) - numbers));
    } else {
        end = wire_put_prefix(frame, walk->field, record.blob.len);
    }
    runs[0] = bytes_of(frame, (size_t)(end - frame));
    uint64_t took = 0;
    for (int i = 0; i < 3; i++) {
        if (offset >= runs[i].len) {
            offset -= runs[i].len;
            continue;
        }
        struct bytes run = bytes_skip(runs[i], (size_t)offset);
        size_t went = rpc_slice_put(slice, run);
        took += went;
        offset = 0;
        if (went < run.len)
            break;
    }
    *ret_took = took;
    return OK;
}

/* The next item of a part's walk. *ret_found false: the budget is used up. */
static err next_item(struct answer *self, struct answer_part *part, const struct mvcc_view *view,
                     unsigned *budget, struct answer_item *ret_item, bool *ret_found)
{
    const struct answer_walk *walk = part->walk;
    if (self->filling != part) {
        if (self->range_open)
            mvcc_range_done(&self->range);
        self->range_open = false;
        self->filling = part;
        self->given = 0;
    }
    *ret_found = false;
    if (walk->kept) {
        *ret_item = walk->kept[self->given];
    } else {
        if (!self->range_open) {
            struct mvcc_range_options options = walk->options;
            options.skip_count = true;
            mvcc_range_init(&self->range, &options, walk->seq);
            self->range_open = true;
        }
        enum mvcc_range_step step;
        TRY(mvcc_range_run(&self->range, view, budget, &step));
        if (step == MVCC_RANGE_MORE)
            return OK;
        if (step == MVCC_RANGE_END)
            return ERR_CORRUPT; /* fewer than were measured at this seq */
        struct answer_item item = {.seq = self->range.item.seq,
                                   .blob_bytes = self->range.item.blob_bytes};
        TRY(item_length(self, walk, view, &item));
        *ret_item = item;
    }
    self->given++;
    *ret_found = true;
    return OK;
}

static struct answer_item *ring_at(struct answer *self, unsigned i)
{
    return &self->ring[(self->ring_first + i) & (self->ring_cap - 1)];
}

/* As many as one slice of output can show. */
static void ring_push(struct answer *self, const struct answer_item *item)
{
    if (self->ring_count == self->ring_cap) {
        unsigned cap = self->ring_cap ? self->ring_cap * 2 : RING_ITEMS;
        struct answer_item *grown = malloc(cap * sizeof(*grown));
        CHECK(grown);
        for (unsigned i = 0; i < self->ring_count; i++)
            grown[i] = *ring_at(self, i);
        free(self->ring);
        self->ring = grown;
        self->ring_cap = cap;
        self->ring_first = 0;
    }
    self->ring_count++;
    *ring_at(self, self->ring_count - 1) = *item;
}

/* Shows on from the next item of the walk; *ret_room false: the slice is full. */
static err show_walk(struct answer *self, const struct mvcc_view *view, struct rpc_slice *slice,
                     bool *ret_room)
{
    struct answer_place *at = &self->shown;
    while (at->items < at->part->walk->items) {
        while (self->ring_shown == self->ring_count) {
            /* A sparse walk may look at many keys for its next item: that much must be shown. */
            unsigned budget = BUDGET;
            struct answer_item item;
            bool found;
            TRY(next_item(self, at->part, view, &budget, &item, &found));
            if (found)
                ring_push(self, &item);
        }
        const struct answer_item *item = ring_at(self, self->ring_shown);
        uint64_t took;
        TRY(show_item(self, at->part->walk, view, item, at->offset, slice, &took));
        at->offset += took;
        if (at->offset < item->len) {
            *ret_room = false;
            return OK;
        }
        at->offset = 0;
        at->items++;
        self->ring_shown++;
    }
    return OK;
}

static err show_literal(struct answer *self, struct rpc_slice *slice, bool *ret_room)
{
    struct answer_place *at = &self->shown;
    struct bytes rest = bytes_skip(at->part->literal, (size_t)at->offset);
    size_t took = rpc_slice_put(slice, rest);
    at->offset += took;
    *ret_room = took == rest.len;
    return OK;
}

static err produce(void *ctx, struct rpc_slice *slice)
{
    struct answer *self = ctx;
    struct front *front = self->request->front;
    front_guard_enter(front);
    const struct mvcc_view *view = front_view(front)->mvcc;
    err e = OK;
    if (self->walks)
        e = mvcc_pin_touch(&self->pin, io_loop_now_ms(front->config.loop));
    bool room = true;
    while (self->shown.part && room && err_ok(e)) {
        e = self->shown.part->walk ? show_walk(self, view, slice, &room)
                                   : show_literal(self, slice, &room);
        if (room && err_ok(e))
            self->shown = (struct answer_place){.part = self->shown.part->next};
    }
    if (self->range_open)
        mvcc_range_pause(&self->range);
    front_guard_leave(front);
    return e;
}

/* Moves the taken place within its part by at most n bytes; returns how many. */
static uint64_t take_from_part(struct answer *self, uint64_t n)
{
    struct answer_place *at = &self->taken;
    uint64_t took = 0;
    if (!at->part->walk) {
        uint64_t left = at->part->literal.len - at->offset;
        took = n < left ? n : left;
        at->offset += took;
        return took;
    }
    while (took < n && at->items < at->part->walk->items) {
        CHECK(self->ring_count > 0); /* what was taken was shown */
        uint64_t left = ring_at(self, 0)->len - at->offset;
        uint64_t step = n - took < left ? n - took : left;
        took += step;
        at->offset += step;
        if (step < left)
            break;
        at->offset = 0;
        at->items++;
        self->ring_first = (self->ring_first + 1) & (self->ring_cap - 1);
        self->ring_count--;
    }
    return took;
}

static bool part_is_taken(const struct answer_place *at)
{
    return at->part->walk ? at->items == at->part->walk->items
                          : at->offset == at->part->literal.len;
}

static void advance(void *ctx, size_t n)
{
    struct answer *self = ctx;
    while (self->taken.part) {
        n -= (size_t)take_from_part(self, n);
        if (!part_is_taken(&self->taken))
            break;
        self->taken = (struct answer_place){.part = self->taken.part->next};
    }
    CHECK(n == 0);
    self->shown = self->taken;
    self->ring_shown = 0;
}

static void promise_release(void *ctx)
{
    struct answer *self = ctx;
    mvcc_pin_drop(self->request->front->config.pins, &self->pin);
    request_kept_promise(self->request);
}

static const struct rpc_promise_ops promise_ops = {produce, advance, promise_release};

static err gather_item(struct answer *self, const struct answer_walk *walk,
                       const struct mvcc_view *view, const struct answer_item *item,
                       struct buf *out)
{
    struct mvcc_record record;
    TRY(mvcc_view_read(view, item->seq, &record, &self->range.fault));
    TRY(buf_reserve(out, item->len));
    uint8_t *at = out->data + out->len;
    if (walk->options.keys_only) {
        struct mvcc_kv kv;
        TRY(mvcc_kv_decode(record.blob, &kv));
        struct wire_kv plain = strip(walk, &kv);
        at = wire_put_kv(wire_put_prefix(at, walk->field, wire_kv_size(&plain)), &plain);
    } else {
        at = wire_put_message_field(at, walk->field, record.blob);
    }
    out->len = (size_t)(at - out->data);
    return OK;
}

/* All in one buffer: for small answers, and for the gateway. */
static err gather(struct answer *self, const struct mvcc_view *view, struct buf *out)
{
    buf_clear(out);
    for (struct answer_part *part = self->parts; part; part = part->next) {
        if (!part->walk) {
            TRY(buf_append(out, part->literal));
            continue;
        }
        uint64_t items = 0;
        while (items < part->walk->items) {
            unsigned budget = BUDGET;
            struct answer_item item;
            bool found;
            TRY(next_item(self, part, view, &budget, &item, &found));
            if (!found)
                continue;
            TRY(gather_item(self, part->walk, view, &item, out));
            items++;
        }
    }
    CHECK(out->len == self->len);
    return OK;
}

static void send_gathered(struct answer *self, const struct mvcc_view *view, struct buf *out)
{
    err e = gather(self, view, out);
    struct bytes all = buf_bytes(out);
    if (e.code)
        request_fail(self->request, e);
    else
        request_answer(self->request, &all, 1);
}

/* What the answer reads must stay while it takes more than this slice. */
static err answer_pin(struct answer *self)
{
    struct front *front = self->request->front;
    uint64_t oldest = UINT64_MAX;
    for (struct answer_walk *walk = self->walks; walk; walk = walk->next)
        oldest = walk->seq < oldest ? walk->seq : oldest;
    if (self->pin.slot || oldest == UINT64_MAX)
        return OK;
    return mvcc_pin_take(front->config.pins, oldest, io_loop_now_ms(front->config.loop),
                         &self->pin);
}

/* JSON needs the whole message: bounded as etcd bounds what its gateway reads. True: it is not made
 * yet, for it takes the loop so long that only one may be made in a pass. */
static bool send_json(struct answer *self, const struct mvcc_view *view)
{
    if (!self->in_turn) {
        self->in_turn = true;
        return true;
    }
    struct buf whole;
    buf_init(&whole, GATEWAY_ANSWER_BYTES_MAX);
    send_gathered(self, view, &whole);
    buf_done(&whole);
    return false;
}

/* True: there is more to do. */
static bool answer_send(struct answer *self, const struct mvcc_view *view)
{
    struct request *request = self->request;
    if (!self->composed)
        self->compose(self, self->ctx);
    self->composed = true;
    if (self->len <= ANSWER_SMALL_BYTES) {
        send_gathered(self, view, &request->front->scratch);
        return false;
    }
    if (request->exchange)
        return send_json(self, view);
    err e = answer_pin(self);
    if (e.code) {
        request_fail(request, ERR_REQUEST_TOO_MANY_REQUESTS);
        return false;
    }
    self->taken = self->shown = (struct answer_place){.part = self->parts};
    struct rpc_promise promise = {.len = self->len, .ops = &promise_ops, .ctx = self};
    request_answer_promise(request, &promise);
    return false;
}

/* A slice of measuring. */
static bool answer_job(struct request *request)
{
    struct answer *self = request->data;
    const struct mvcc_view *view = front_view(request->front)->mvcc;
    unsigned budget = BUDGET;
    err e = mvcc_pin_touch(&self->pin, io_loop_now_ms(request->front->config.loop));
    while (self->measuring && err_ok(e)) {
        bool done;
        e = walk_measure(self, self->measuring, view, &budget, &done);
        if (err_ok(e) && done)
            self->measuring = self->measuring->next;
        else
            break;
    }
    if (self->range_open)
        mvcc_range_pause(&self->range);
    if (e.code) {
        request_fail(request, e);
        return false;
    }
    return self->measuring || answer_send(self, view);
}

void answer_start(struct answer *self, void (*compose)(struct answer *self, void *ctx), void *ctx)
{
    struct request *request = self->request;
    self->compose = compose;
    self->ctx = ctx;
    self->measuring = self->walks;
    if (!answer_job(request) || request->state == REQUEST_ANSWERED)
        return;
    err e = answer_pin(self);
    if (e.code)
        request_fail(request, ERR_REQUEST_TOO_MANY_REQUESTS);
    else
        front_add_job(request, answer_job);
}

static struct answer_part *part_add(struct answer *self)
{
    struct answer_part *part = ARENA_NEW(&self->request->arena, struct answer_part);
    if (self->last_part)
        self->last_part->next = part;
    else
        self->parts = part;
    self->last_part = part;
    return part;
}

uint8_t *answer_literal(struct answer *self, size_t n)
{
    uint8_t *at = arena_alloc_bytes(&self->request->arena, n);
    part_add(self)->literal = bytes_of(at, n);
    self->len += n;
    return at;
}

void answer_splice(struct answer *self, struct answer_walk *walk)
{
    if (walk->bytes == 0)
        return;
    part_add(self)->walk = walk;
    self->len += walk->bytes;
}
