#include "mvcc/watch_match.h"

/* ── Hashing ────────────────────────────────────────────────────────────────────────────────── */

static uint64_t mix(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Multiply and fold, eight bytes a step; the seed is secret, so a client cannot aim. */
uint64_t watch_hash(uint64_t seed, struct bytes what)
{
    const uint64_t odd = 0x9e3779b97f4a7c15ULL;
    uint64_t hash = seed ^ mix(what.len + odd, seed | 1);
    size_t at = 0;
    for (; at + 8 <= what.len; at += 8)
        hash = mix(hash ^ bytes_get_le64(what.data + at), odd);
    uint64_t rest = 0;
    if (at < what.len)
        memcpy(&rest, what.data + at, what.len - at);
    return mix(hash ^ rest, seed ^ odd);
}

/* ── Ranges ─────────────────────────────────────────────────────────────────────────────────── */

struct watch_range *watch_ranges_at(const struct watch_ranges *self, uint32_t number)
{
    if (number & WATCH_RANGE_INTERVAL)
        return watch_slab_at(&self->intervals, number & ~WATCH_RANGE_INTERVAL);
    return watch_slab_at(&self->keys, number);
}

static struct watch_interval *interval_at(const struct watch_ranges *self, uint32_t number)
{
    return watch_slab_at(&self->intervals, number & ~WATCH_RANGE_INTERVAL);
}

struct mvcc_span watch_range_span(const struct watch_range *self)
{
    struct mvcc_span span = {.key = bytes_of(self->bytes, self->key_len), .kind = MVCC_SPAN_KEY};
    if (self->end_len == WATCH_END_OPEN) {
        span.kind = MVCC_SPAN_FROM;
    } else if (self->end_len != WATCH_END_NONE) {
        span.kind = MVCC_SPAN_RANGE;
        span.end = bytes_of(self->bytes + self->key_len, self->end_len);
    }
    return span;
}

/* As bytes_compare of the ends; open ones are greatest. */
static int end_compare(const struct watch_range *a, const struct mvcc_span *b)
{
    bool a_open = a->end_len == WATCH_END_OPEN, b_open = b->kind == MVCC_SPAN_FROM;
    if (a_open || b_open)
        return (int)a_open - (int)b_open;
    return bytes_compare(bytes_of(a->bytes + a->key_len, a->end_len), b->end);
}

static int interval_compare(const struct watch_range *a, const struct mvcc_span *b)
{
    int order = bytes_compare(bytes_of(a->bytes, a->key_len), b->key);
    return order ? order : end_compare(a, b);
}

static bool ends_above(const struct watch_range *self, struct bytes key)
{
    return self->end_len == WATCH_END_OPEN ||
           bytes_compare(key, bytes_of(self->bytes + self->key_len, self->end_len)) < 0;
}

/* NULL: too long for a slab. */
static struct slab *bytes_slab(struct watch_ranges *self, size_t len)
{
    size_t step = len / WATCH_BYTES_STEP;
    return len > 0 && step < WATCH_BYTES_SLABS ? &self->bytes[step] : NULL;
}

static uint8_t *bytes_alloc(struct watch_ranges *self, size_t len)
{
    CHECK(len > 0); /* an empty key has become one zero byte */
    struct slab *slab = bytes_slab(self, len);
    uint8_t *bytes = slab ? slab_alloc(slab) : malloc(len);
    CHECK(bytes);
    return bytes;
}

static void bytes_free(struct watch_ranges *self, const struct watch_range *range)
{
    bool ends = range->end_len < WATCH_END_OPEN;
    struct slab *slab = bytes_slab(self, range->key_len + (ends ? range->end_len : 0));
    if (slab)
        slab_free(slab, range->bytes);
    else
        free(range->bytes);
}

static void range_fill(struct watch_ranges *self, struct watch_range *range,
                       const struct mvcc_span *span)
{
    size_t end_len = span->kind == MVCC_SPAN_RANGE ? span->end.len : 0;
    range->refs = 1;
    range->key_len = (uint32_t)span->key.len;
    range->end_len = span->kind == MVCC_SPAN_RANGE  ? (uint32_t)end_len
                     : span->kind == MVCC_SPAN_FROM ? WATCH_END_OPEN
                                                    : WATCH_END_NONE;
    uint8_t *bytes = bytes_alloc(self, span->key.len + end_len);
    memcpy(bytes, span->key.data, span->key.len);
    if (end_len)
        memcpy(bytes + span->key.len, span->end.data, end_len);
    range->bytes = bytes;
}

/* ── Keys ───────────────────────────────────────────────────────────────────────────────────── */

static struct bytes key_of(const struct watch_ranges *self, uint32_t number)
{
    const struct watch_range *range = watch_slab_at(&self->keys, number);
    return bytes_of(range->bytes, range->key_len);
}

static uint64_t key_hash(const void *ctx, uint32_t number)
{
    const struct watch_ranges *self = ctx;
    return watch_hash(self->seed, key_of(self, number));
}

static bool key_is(const void *ctx, uint32_t number, const void *wanted)
{
    return bytes_equal(key_of(ctx, number), *(const struct bytes *)wanted);
}

uint32_t watch_ranges_key(const struct watch_ranges *self, struct bytes key)
{
    return watch_table_find(&self->table, watch_hash(self->seed, key), key_is, self, &key);
}

static uint32_t key_get(struct watch_ranges *self, const struct mvcc_span *span)
{
    uint32_t number = watch_ranges_key(self, span->key);
    if (number) {
        watch_ranges_at(self, number)->refs++;
        return number;
    }
    number = watch_slab_alloc(&self->keys);
    range_fill(self, watch_slab_at(&self->keys, number), span);
    watch_table_add(&self->table, number, key_hash, self);
    return number;
}

/* ── Intervals ──────────────────────────────────────────────────────────────────────────────── */

static uint64_t priority(const struct watch_ranges *self, uint32_t number)
{
    return mix(self->seed ^ number, 0xd6e8feb86659fd93ULL);
}

static void node_settle(const struct watch_ranges *self, uint32_t number)
{
    struct watch_interval *node = interval_at(self, number);
    uint32_t most = number;
    uint32_t below[] = {node->left, node->right};
    for (unsigned i = 0; i < 2; i++) {
        if (!below[i])
            continue;
        uint32_t theirs = interval_at(self, below[i])->most;
        struct mvcc_span span = watch_range_span(watch_ranges_at(self, most));
        if (end_compare(watch_ranges_at(self, theirs), &span) > 0)
            most = theirs;
    }
    node->most = most;
}

static uint32_t rotate(const struct watch_ranges *self, uint32_t number, bool left_up)
{
    struct watch_interval *node = interval_at(self, number);
    uint32_t up = left_up ? node->left : node->right;
    struct watch_interval *child = interval_at(self, up);
    if (left_up) {
        node->left = child->right;
        child->right = number;
    } else {
        node->right = child->left;
        child->left = number;
    }
    node_settle(self, number);
    node_settle(self, up);
    return up;
}

static uint32_t tree_insert(const struct watch_ranges *self, uint32_t at, uint32_t number,
                            const struct mvcc_span *span)
{
    if (!at) {
        node_settle(self, number);
        return number;
    }
    struct watch_interval *node = interval_at(self, at);
    bool left = interval_compare(&node->range, span) > 0;
    if (left)
        node->left = tree_insert(self, node->left, number, span);
    else
        node->right = tree_insert(self, node->right, number, span);
    uint32_t child = left ? node->left : node->right;
    if (priority(self, child) > priority(self, at))
        return rotate(self, at, left);
    node_settle(self, at);
    return at;
}

/* Sinks the node to where it has one child at most, and takes it out. */
static uint32_t tree_sink(const struct watch_ranges *self, uint32_t at)
{
    struct watch_interval *node = interval_at(self, at);
    if (!node->left || !node->right)
        return node->left ? node->left : node->right;
    bool left_up = priority(self, node->left) > priority(self, node->right);
    uint32_t up = rotate(self, at, left_up);
    struct watch_interval *top = interval_at(self, up);
    if (left_up)
        top->right = tree_sink(self, at);
    else
        top->left = tree_sink(self, at);
    node_settle(self, up);
    return up;
}

static uint32_t tree_remove(const struct watch_ranges *self, uint32_t at, uint32_t number,
                            const struct mvcc_span *span)
{
    CHECK(at);
    if (at == number)
        return tree_sink(self, at);
    struct watch_interval *node = interval_at(self, at);
    if (interval_compare(&node->range, span) > 0)
        node->left = tree_remove(self, node->left, number, span);
    else
        node->right = tree_remove(self, node->right, number, span);
    node_settle(self, at);
    return at;
}

static uint32_t interval_get(struct watch_ranges *self, const struct mvcc_span *span)
{
    for (uint32_t at = self->root; at;) {
        struct watch_interval *node = interval_at(self, at);
        int order = interval_compare(&node->range, span);
        if (order == 0) {
            node->range.refs++;
            return at;
        }
        at = order > 0 ? node->left : node->right;
    }
    uint32_t number = watch_slab_alloc(&self->intervals) | WATCH_RANGE_INTERVAL;
    range_fill(self, &interval_at(self, number)->range, span);
    self->root = tree_insert(self, self->root, number, span);
    return number;
}

/* The first node of the subtree behind `after` (NULL: any) that holds the key. */
static uint32_t tree_stab(const struct watch_ranges *self, uint32_t at, struct bytes key,
                          const struct mvcc_span *after)
{
    while (at) {
        const struct watch_interval *node = interval_at(self, at);
        if (!ends_above(watch_ranges_at(self, node->most), key))
            return 0;
        if (!after || interval_compare(&node->range, after) > 0) {
            uint32_t found = tree_stab(self, node->left, key, after);
            if (found)
                return found;
            if (bytes_compare(bytes_of(node->range.bytes, node->range.key_len), key) > 0)
                return 0; /* and what is right of it begins later still */
            if (ends_above(&node->range, key))
                return at;
        }
        at = node->right;
    }
    return 0;
}

uint32_t watch_ranges_stab(const struct watch_ranges *self, struct bytes key, uint32_t after)
{
    if (!after)
        return tree_stab(self, self->root, key, NULL);
    struct mvcc_span span = watch_range_span(watch_ranges_at(self, after));
    return tree_stab(self, self->root, key, &span);
}

/* ── Life ───────────────────────────────────────────────────────────────────────────────────── */

void watch_ranges_init(struct watch_ranges *self, uint64_t seed)
{
    *self = (struct watch_ranges){.seed = seed};
    for (size_t i = 0; i < WATCH_BYTES_SLABS; i++)
        slab_init(&self->bytes[i], (i + 1) * WATCH_BYTES_STEP);
    watch_slab_init(&self->keys, sizeof(struct watch_range));
    watch_slab_init(&self->intervals, sizeof(struct watch_interval));
}

/* Free ones are zero behind their link. */
static void slab_free_bytes(struct watch_ranges *self, const struct watch_slab *slab)
{
    for (uint32_t i = 1; i < slab->next; i++) {
        const struct watch_range *range = watch_slab_at(slab, i);
        if (range->bytes)
            bytes_free(self, range);
    }
}

void watch_ranges_done(struct watch_ranges *self)
{
    slab_free_bytes(self, &self->keys);
    slab_free_bytes(self, &self->intervals);
    for (size_t i = 0; i < WATCH_BYTES_SLABS; i++)
        slab_done(&self->bytes[i]);
    watch_slab_done(&self->keys);
    watch_slab_done(&self->intervals);
    watch_table_done(&self->table);
}

uint32_t watch_ranges_get(struct watch_ranges *self, const struct mvcc_span *span)
{
    return span->kind == MVCC_SPAN_KEY ? key_get(self, span) : interval_get(self, span);
}

void watch_ranges_ref(struct watch_ranges *self, uint32_t number)
{
    watch_ranges_at(self, number)->refs++;
}

void watch_ranges_unref(struct watch_ranges *self, uint32_t number)
{
    struct watch_range *range = watch_ranges_at(self, number);
    CHECK(range->refs > 0);
    if (--range->refs > 0)
        return;
    bool interval = number & WATCH_RANGE_INTERVAL;
    struct mvcc_span span = watch_range_span(range);
    if (interval)
        self->root = tree_remove(self, self->root, number, &span);
    else
        watch_table_remove(&self->table, number, key_hash, self);
    bytes_free(self, range);
    watch_slab_free(interval ? &self->intervals : &self->keys, number & ~WATCH_RANGE_INTERVAL);
}
