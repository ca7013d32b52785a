#include "mvcc/store.h"
#include "base/bug.h"

#include "base/check.h"
#include "mvcc/store_state.h"

#include <stdlib.h>

struct mvcc_store *mvcc_store_new(const struct mvcc_store_config *config)
{
    struct mvcc_store *self = calloc(1, sizeof(*self));
    CHECK(self);
    self->epoch = config->epoch;
    self->log = config->log;
    self->tail = config->tail;
    self->index = mvcc_index_new(config->epoch);
    self->buckets = mvcc_buckets_new(config->epoch);
    self->revision = 1;
    self->compact_revision = -1;
    self->loading = true;
    self->next.revision = STORE_NO_COMPACTION;
    mvcc_pins_init(&self->pins);
    mvcc_store_publish(self);
    mvcc_store_retire(self);
    return self;
}

static void view_free(struct epoch_item *item)
{
    free(item);
}

void mvcc_store_free(struct mvcc_store *self)
{
    if (!self)
        return;
    mvcc_store_retire(self);
    store_compaction_free(self);
    free(atomic_load(&self->view));
    mvcc_index_free(self->index);
    mvcc_buckets_free(self->buckets);
    free(self);
}

/* ── Reading on the core ────────────────────────────────────────────────────────────────────── */

int64_t mvcc_store_revision(const struct mvcc_store *self)
{
    return self->revision;
}

int64_t mvcc_store_compact_revision(const struct mvcc_store *self)
{
    return self->compact_revision;
}

uint64_t mvcc_store_seq(const struct mvcc_store *self)
{
    return self->seq;
}

bool mvcc_store_find(const struct mvcc_store *self, struct bytes key, struct mvcc_head *ret_head)
{
    struct mvcc_head head;
    if (!mvcc_index_find(self->index, key, &head) || !mvcc_head_is_live(&head))
        return false;
    *ret_head = head;
    return true;
}

static void store_fill_view(const struct mvcc_store *self, struct mvcc_view *view)
{
    *view = (struct mvcc_view){
        .root = mvcc_index_root(self->index),
        .buckets = mvcc_buckets_root(self->buckets),
        .log = self->log,
        .seq = self->seq,
        .compact_seq = self->compact_seq,
        .swept_seq = mvcc_store_swept_seq(self),
        .is_open = self->open,
        .revision = mvcc_txn_revision(self),
        .compact_revision = self->compact_revision,
        .hash_count = self->hash_count,
    };
    memcpy(view->hashes, self->hashes, sizeof(view->hashes));
}

void mvcc_store_peek(const struct mvcc_store *self, struct mvcc_view *ret_view)
{
    store_fill_view(self, ret_view);
}

/* ── Publishing ─────────────────────────────────────────────────────────────────────────────── */

const struct mvcc_view *mvcc_store_publish(struct mvcc_store *self)
{
    CHECK(!self->in_txn || BUG(half_entry_published));
    struct mvcc_view *view = malloc(sizeof(*view));
    CHECK(view);
    mvcc_index_publish(self->index);
    mvcc_buckets_publish(self->buckets);
    store_fill_view(self, view);
    struct mvcc_view *before = atomic_exchange(&self->view, view);
    if (before) {
        before->retired.next = self->replaced ? &self->replaced->retired : NULL;
        self->replaced = before;
    }
    return view;
}

void mvcc_store_retire(struct mvcc_store *self)
{
    mvcc_index_retire(self->index);
    mvcc_buckets_retire(self->buckets);
    while (self->replaced) {
        struct mvcc_view *view = self->replaced;
        self->replaced = (struct mvcc_view *)(void *)view->retired.next;
        epoch_retire(self->epoch, &view->retired, view_free);
    }
    store_compaction_published(self);
}

const struct mvcc_view *mvcc_store_view(const struct mvcc_store *self)
{
    return atomic_load_explicit(&self->view, memory_order_acquire);
}

struct mvcc_pins *mvcc_store_pins(struct mvcc_store *self)
{
    return &self->pins;
}
