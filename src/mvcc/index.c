#include "mvcc/index.h"

#include "base/check.h"
#include "mvcc/index_head.h"
#include "mvcc/index_retire.h"
#include "mvcc/index_slab.h"
#include "mvcc/index_tree.h"

#include <stdlib.h>

#define LADDER_CAP_FIRST 8
/* Finding a ladder's head costs about as much as so many rows of a sweep. */
#define TRIM_COST 8

struct mvcc_index {
    struct tree tree;
    struct slab narrow;
    struct slab wide;
    struct retire_box retired;
    struct head_ladder *ladders; /* of heads in the root being built */
    struct head_ladder *trim_at; /* the next one that mvcc_index_trim looks at */
    uint64_t ladder_bytes;
};

/* What a retired item is, in its address's lowest bits. */
enum index_item { ITEM_NODE, ITEM_NARROW, ITEM_WIDE, ITEM_LADDER };

static size_t ladder_bytes(const struct head_ladder *ladder)
{
    return sizeof(*ladder) + ladder->cap * sizeof(uint64_t) + ladder->key_bytes;
}

static void index_drop(void *ctx, uint64_t item)
{
    struct mvcc_index *self = ctx;
    void *object = (void *)(uintptr_t)(item & ~(uint64_t)7);
    switch ((enum index_item)(item & 7)) {
    case ITEM_NODE:
        tree_node_free(&self->tree, object);
        break;
    case ITEM_NARROW:
        slab_free(&self->narrow, object);
        break;
    case ITEM_WIDE:
        slab_free(&self->wide, object);
        break;
    case ITEM_LADDER:
        self->ladder_bytes -= ladder_bytes(object);
        free(object);
        break;
    }
}

static void index_retire(struct mvcc_index *self, const void *object, enum index_item kind)
{
    retire_add(&self->retired, (uint64_t)(uintptr_t)object | kind);
}

static void index_drop_node(void *ctx, struct tree_node *node)
{
    index_retire(ctx, node, ITEM_NODE);
}

static void index_closed(void *ctx)
{
    struct mvcc_index *self = ctx;
    slab_done(&self->narrow);
    slab_done(&self->wide);
    free(self);
}

struct mvcc_index *mvcc_index_new(struct epoch *epoch)
{
    struct mvcc_index *self = calloc(1, sizeof(*self));
    CHECK(self);
    tree_init(&self->tree, index_drop_node, self);
    slab_init(&self->narrow, sizeof(struct head_narrow));
    slab_init(&self->wide, sizeof(struct head_wide));
    retire_init(&self->retired, epoch, index_drop, index_closed, self);
    return self;
}

static void *word_head(uint64_t word)
{
    return (void *)(uintptr_t)(word & ~(uint64_t)7);
}

static void index_free_word(void *ctx, uint64_t word)
{
    struct mvcc_index *self = ctx;
    if (!(word & HEAD_WIDE)) {
        slab_free(&self->narrow, word_head(word));
        return;
    }
    struct head_wide *wide = word_head(word);
    free(wide->ladder);
    slab_free(&self->wide, wide);
}

void mvcc_index_free(struct mvcc_index *self)
{
    if (!self)
        return;
    tree_load_done(&self->tree);
    tree_visit(self->tree.root, index_free_word, self);
    tree_done(&self->tree);
    retire_close(&self->retired);
}

/* ── Ladders ────────────────────────────────────────────────────────────────────────────────── */

static void ladder_link(struct mvcc_index *self, struct head_ladder *ladder)
{
    ladder->prev = NULL;
    ladder->next = self->ladders;
    if (ladder->next)
        ladder->next->prev = ladder;
    self->ladders = ladder;
}

/* The ladder is no longer any head's of the root being built. */
static void ladder_drop(struct mvcc_index *self, struct head_ladder *ladder)
{
    if (self->trim_at == ladder)
        self->trim_at = ladder->next;
    if (ladder->next)
        ladder->next->prev = ladder->prev;
    if (ladder->prev)
        ladder->prev->next = ladder->next;
    else
        self->ladders = ladder->next;
    index_retire(self, ladder, ITEM_LADDER);
}

static struct head_ladder *ladder_new(struct mvcc_index *self, struct bytes key,
                                      const uint64_t *rungs, uint32_t count)
{
    uint32_t cap = LADDER_CAP_FIRST;
    while (cap < count + count / 2)
        cap *= 2;
    struct head_ladder *ladder = malloc(sizeof(*ladder) + cap * sizeof(uint64_t) + key.len);
    CHECK(ladder);
    ladder->cap = cap;
    ladder->key_bytes = (uint32_t)key.len;
    if (count)
        memcpy(ladder->seqs, rungs, count * sizeof(uint64_t));
    memcpy(ladder->seqs + cap, key.data, key.len);
    self->ladder_bytes += ladder_bytes(ladder);
    ladder_link(self, ladder);
    return ladder;
}

/* The ladder of a head that follows `old` (NULL: none), cut at the floor, with one more rung where
 * rung != 0. */
static void ladder_follow(struct mvcc_index *self, struct bytes key, const struct head_wide *old,
                          uint64_t floor_seq, uint64_t rung, struct head_wide *head)
{
    struct head_ladder *ladder = old ? old->ladder : NULL;
    uint32_t first = old ? old->rung_first : 0;
    uint32_t count = old ? old->rung_count : 0;
    while (count > 0 && ladder->seqs[first] <= floor_seq) {
        first++;
        count--;
    }
    if (rung) {
        if (!ladder || first + count == ladder->cap) {
            struct head_ladder *grown =
                ladder_new(self, key, ladder ? ladder->seqs + first : NULL, count);
            if (ladder)
                ladder_drop(self, ladder);
            ladder = grown;
            first = 0;
        }
        ladder->seqs[first + count++] = rung;
    } else if (ladder && count == 0) {
        ladder_drop(self, ladder);
        ladder = NULL;
        first = 0;
    }
    head->ladder = ladder;
    head->rung_first = first;
    head->rung_count = count;
}

/* ── Heads ──────────────────────────────────────────────────────────────────────────────────── */

/* Makes the head that wide describes, as small as it may be; returns its word. */
static uint64_t head_make(struct mvcc_index *self, const struct head_wide *wide, bool dead)
{
    uint64_t word = dead ? TREE_DEAD : 0;
    if (wide->lease == 0 && !wide->ladder && wide->version_high == 0) {
        struct head_narrow *narrow = slab_alloc(&self->narrow);
        *narrow = wide->narrow;
        return word | (uint64_t)(uintptr_t)narrow;
    }
    struct head_wide *copy = slab_alloc(&self->wide);
    *copy = *wide;
    return word | HEAD_WIDE | (uint64_t)(uintptr_t)copy;
}

static void head_fill(struct head_wide *wide, const struct mvcc_head *head, uint32_t steps)
{
    *wide = (struct head_wide){
        .narrow = {.seq_steps = head->seq << HEAD_STEPS_BITS | steps,
                   .main = head->main,
                   .create = head->create,
                   .version = (uint32_t)head->version,
                   .blob_bytes = head->blob_bytes},
        .lease = head->lease,
        .version_high = (uint32_t)((uint64_t)head->version >> 32),
    };
}

static void head_retire(struct mvcc_index *self, uint64_t word)
{
    index_retire(self, word_head(word), word & HEAD_WIDE ? ITEM_WIDE : ITEM_NARROW);
}

bool mvcc_index_find(const struct mvcc_index *self, struct bytes key, struct mvcc_head *ret_head)
{
    return mvcc_root_find(self->tree.root, key, ret_head);
}

void mvcc_index_put(struct mvcc_index *self, struct bytes key, const struct mvcc_head *head,
                    uint64_t floor_seq)
{
    CHECK(key.len <= MVCC_KEY_BYTES_MAX && head->seq < UINT64_C(1) << 48);
    uint64_t *place = tree_place(self->tree.root, key);
    bool dead = !mvcc_head_is_live(head);
    struct head_wide wide;
    if (!place) {
        head_fill(&wide, head, 0);
        tree_set(&self->tree, key, head_make(self, &wide, dead));
        return;
    }
    uint64_t before = *place;
    struct mvcc_head old;
    head_decode(before, &old);
    CHECK(old.seq < head->seq);
    uint32_t steps = old.steps + 1;
    bool rung = steps >= MVCC_LADDER_STEP;
    head_fill(&wide, head, rung ? 0 : steps);
    ladder_follow(self, key, before & HEAD_WIDE ? word_head(before) : NULL, floor_seq,
                  rung ? head->seq : 0, &wide);
    uint64_t word = head_make(self, &wide, dead);
    if ((before & TREE_DEAD) == (word & TREE_DEAD))
        tree_swing(place, word);
    else
        tree_set(&self->tree, key, word);
    head_retire(self, before);
}

bool mvcc_index_remove(struct mvcc_index *self, struct bytes key)
{
    uint64_t word;
    if (!tree_find(self->tree.root, key, &word))
        return false;
    if (word & HEAD_WIDE) {
        struct head_wide *wide = word_head(word);
        if (wide->ladder)
            ladder_drop(self, wide->ladder);
    }
    tree_remove(&self->tree, key);
    head_retire(self, word);
    return true;
}

void mvcc_index_load(struct mvcc_index *self, struct bytes key, const struct mvcc_head *head)
{
    CHECK(key.len <= MVCC_KEY_BYTES_MAX && head->seq < UINT64_C(1) << 48);
    struct head_wide wide;
    head_fill(&wide, head, head->steps < HEAD_STEPS_MAX ? head->steps : HEAD_STEPS_MAX);
    if (head->rung_count > 0) {
        wide.ladder = ladder_new(self, key, head->rungs, head->rung_count);
        wide.rung_count = head->rung_count;
    }
    tree_load(&self->tree, key, head_make(self, &wide, !mvcc_head_is_live(head)));
}

void mvcc_index_load_done(struct mvcc_index *self)
{
    tree_load_done(&self->tree);
}

bool mvcc_index_trim(struct mvcc_index *self, uint64_t floor_seq, bool restart, unsigned *budget)
{
    if (restart)
        self->trim_at = self->ladders;
    while (self->trim_at && *budget > 0) {
        struct head_ladder *ladder = self->trim_at;
        self->trim_at = ladder->next;
        *budget -= *budget < TRIM_COST ? *budget : TRIM_COST;
        struct bytes key = {(const uint8_t *)(ladder->seqs + ladder->cap), ladder->key_bytes};
        uint64_t *place = tree_place(self->tree.root, key);
        CHECK(place && *place & HEAD_WIDE);
        uint64_t before = *place;
        const struct head_wide *old = word_head(before);
        CHECK(old->ladder == ladder);
        if (old->rung_count > 0 && ladder->seqs[old->rung_first + old->rung_count - 1] > floor_seq)
            continue;
        struct head_wide wide = *old;
        wide.ladder = NULL;
        wide.rung_first = wide.rung_count = 0;
        tree_swing(place, head_make(self, &wide, before & TREE_DEAD));
        ladder_drop(self, ladder);
        head_retire(self, before);
    }
    return !self->trim_at;
}

/* ── Batches ────────────────────────────────────────────────────────────────────────────────── */

const struct tree_node *mvcc_index_root(const struct mvcc_index *self)
{
    return self->tree.root;
}

const struct tree_node *mvcc_index_publish(struct mvcc_index *self)
{
    tree_seal(&self->tree);
    retire_seal(&self->retired);
    return self->tree.root;
}

void mvcc_index_retire(struct mvcc_index *self)
{
    retire_flush(&self->retired);
}

uint64_t mvcc_index_bytes(const struct mvcc_index *self)
{
    return self->tree.bytes + self->narrow.used_bytes + self->wide.used_bytes + self->ladder_bytes;
}
