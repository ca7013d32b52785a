/* Hands batches from many threads to one, in the order in which each thread posted.
 * A list that is taken whole by one exchange: posting never waits and never fails (it tries again
 * only where another thread has just posted);
 * what bounds it are the credits of those who post.
 * Thread: mailbox_post any; mailbox_take the one reader.
 * Owns: nothing; the nodes lie inside the poster's objects until the reader has taken them. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>

struct mailbox_node {
    struct mailbox_node *next;
};

struct mailbox {
    _Atomic(struct mailbox_node *) head; /* newest first */
    atomic_bool sleeping;                /* the reader waits for a wake-up */
    void (*wake)(void *ctx);             /* called by at most one poster per sleep */
    void *wake_ctx;
};

void mailbox_init(struct mailbox *self, void (*wake)(void *ctx), void *wake_ctx);
/* Posts; wakes the reader if it sleeps (its flag is cleared by whoever wakes it). */
void mailbox_post(struct mailbox *self, struct mailbox_node *node);
/* All that was posted, oldest first; NULL where nothing was. */
struct mailbox_node *mailbox_take(struct mailbox *self);
/* Reader: announces that it will sleep. False: something was posted meanwhile, take again. */
bool mailbox_sleep(struct mailbox *self);
/* Reader: back awake. */
void mailbox_awake(struct mailbox *self);
