/* 1. Nodes reachable from head are the reader's from the moment of its exchange; none is ever
 *    put back, so a compare-and-swap cannot mistake an old head for a new one.
 * 2. A poster publishes its node before it looks at `sleeping`; the reader raises `sleeping`
 *    before it looks at head; both in the one order of seq_cst: one of the two sees the other. */
#include "base/mailbox.h"

#include "base/check.h"

#include <stddef.h>

void mailbox_init(struct mailbox *self, void (*wake)(void *ctx), void *wake_ctx)
{
    atomic_init(&self->head, NULL);
    atomic_init(&self->sleeping, false);
    self->wake = wake;
    self->wake_ctx = wake_ctx;
}

void mailbox_post(struct mailbox *self, struct mailbox_node *node)
{
    struct mailbox_node *head = atomic_load_explicit(&self->head, memory_order_relaxed);
    do
        node->next = head;
    while (!atomic_compare_exchange_weak_explicit(&self->head, &head, node, memory_order_seq_cst,
                                                  memory_order_relaxed));
    /* The load spares posters to a busy reader the exchange. */
    if (atomic_load(&self->sleeping) && atomic_exchange(&self->sleeping, false) && self->wake)
        self->wake(self->wake_ctx);
}

struct mailbox_node *mailbox_take(struct mailbox *self)
{
    if (!atomic_load_explicit(&self->head, memory_order_relaxed))
        return NULL;
    struct mailbox_node *node = atomic_exchange_explicit(&self->head, NULL, memory_order_acquire);
    struct mailbox_node *oldest = NULL;
    while (node) {
        struct mailbox_node *older = node->next;
        node->next = oldest;
        oldest = node;
        node = older;
    }
    return oldest;
}

bool mailbox_sleep(struct mailbox *self)
{
    DCHECK(!atomic_load(&self->sleeping));
    atomic_store(&self->sleeping, true);
    if (!atomic_load(&self->head))
        return true;
    atomic_store(&self->sleeping, false);
    return false;
}

void mailbox_awake(struct mailbox *self)
{
    atomic_store(&self->sleeping, false);
}
