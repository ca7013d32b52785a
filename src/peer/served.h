/* What other members ask of this one and the core answers later: each waits in a list under a
 * number until its reply comes, though whoever asked may leave before. Thread: the core's loop.
 * Owns: those that wait. */
#pragma once

#include "base/list.h"
#include "rpc/http.h"

#include <stdbool.h>
#include <stdint.h>

/* What an exchange of ours carries as its data; the first of what stands for it. */
struct serving {
    bool is_snapshot;
    bool is_post; /* else a stream, */
    bool is_kept; /* or one that waits for its reply */
};

/* First in a block of its own, from malloc. */
struct served {
    struct serving serving;
    struct list node;
    struct http_exchange *exchange; /* NULL: it has left */
    uint64_t number;
};

struct served_list {
    struct list waiting;
    unsigned count, max;
    uint64_t number; /* of the last one */
};

void served_list_init(struct served_list *self, unsigned max);
/* Those that wait go unanswered. */
void served_list_done(struct served_list *self);
static inline bool served_list_is_full(const struct served_list *self)
{
    return self->count == self->max;
}
/* Not where the list is full. Gives it its number. */
void served_keep(struct served_list *self, struct served *served, struct http_exchange *exchange);
/* The one of that number, which is the caller's to free from now on; NULL: there is none. */
struct served *served_take(struct served_list *self, uint64_t number);
/* Its exchange is over: freed with its reply. */
void served_left(struct serving *serving);
