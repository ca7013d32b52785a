/* Read rounds: one collects, one flies. A barrier never joins a round whose question has left, so
 * the index that comes back is at or above everything acknowledged before the barrier arrived.
 *
 *     collecting ──start──> flying ──index──> group ──applied >= index──> answered
 *                             │ leader changed, too old
 *                             └──> answered with the error
 *
 * Questions get lost with messages and leaders, so a flying round asks again (with a new id) each
 * 500 ms and when a term's first entry is applied. */
#include "base/bug.h"
#include "replica/replica_internal.h"

#include <stdlib.h>

/* No front's: its generation would have wrapped. */
#define TOKEN_LEASES UINT64_MAX

static void barrier_answer(struct replica *self, const struct barrier *barrier, err error)
{
    if (barrier->token == TOKEN_LEASES)
        leases_confirmed(self, error);
    else
        publish_error(self, barrier->token, REPLY_READ, error);
}

static void barriers_answer(struct replica *self, const struct barriers *list, err error)
{
    for (size_t i = 0; i < list->count; i++)
        barrier_answer(self, &list->items[i], error);
    if (!err_ok(error))
        self->reads_failed += (unsigned)list->count;
}

static void collect(struct replica *self, uint64_t token)
{
    struct barriers *to = &self->collecting;
    to->items = array_grow(to->items, to->count, &to->cap, sizeof(to->items[0]));
    to->items[to->count++] = (struct barrier){token, self->now_ms};
}

void replica_read(struct replica *self, const uint64_t *tokens, size_t count, uint64_t now_ms)
{
    self->now_ms = now_ms;
    for (size_t i = 0; i < count; i++) {
        if (self->stopping) {
            publish_error(self, tokens[i], REPLY_READ, ERR_STOPPED);
            continue;
        }
        collect(self, tokens[i]);
    }
}

void barriers_confirm_leases(struct replica *self)
{
    collect(self, TOKEN_LEASES);
}

static void ask(struct replica *self)
{
    uint8_t context[8];
    self->round_id = BUG(read_round_reused) ? 1 : request_ids_take(self->ids, 1);
    self->round_sent_ms = self->now_ms;
    bytes_put_be64(context, self->round_id);
    /* Without a leader there is nobody to ask: asked again later. */
    (void)raft_read_index(self->raft, bytes_of(context, sizeof(context))).code;
}

void barriers_start_round(struct replica *self)
{
    if (self->round_flies) {
        if (self->empty_applied || self->now_ms >= self->round_sent_ms + READ_RETRY_MS)
            ask(self);
        return;
    }
    if (self->collecting.count == 0)
        return;
    struct barriers empty = self->flying;
    empty.count = 0;
    self->flying = self->collecting;
    self->collecting = empty;
    self->round_flies = true;
    ask(self);
}

void barriers_confirmed(struct replica *self, struct bytes context, uint64_t index)
{
    if (context.len != 8)
        return;
    if (!self->round_flies || bytes_get_be64(context.data) != self->round_id) {
        self->reads_slow++; /* asked again meanwhile, or given up */
        return;
    }
    self->round_flies = false;
    struct read_group *group = calloc(1, sizeof(*group));
    CHECK(group);
    group->index = index;
    group->waiting = self->flying;
    self->flying = (struct barriers){0};
    *self->groups_end = group;
    self->groups_end = &group->next;
}

static void group_free(struct read_group *group)
{
    free(group->waiting.items);
    free(group);
}

void barriers_release(struct replica *self)
{
    struct read_group **at = &self->groups;
    while (*at) {
        struct read_group *group = *at;
        if (group->index > self->published_index) {
            at = &group->next;
            continue;
        }
        *at = group->next;
        barriers_answer(self, &group->waiting, OK);
        group_free(group);
    }
    self->groups_end = at;
}

void barriers_leader_changed(struct replica *self)
{
    if (!self->round_flies)
        return;
    self->round_flies = false;
    barriers_answer(self, &self->flying, ERR_LEADER_CHANGED);
    self->flying.count = 0;
}

static void expire_list(struct replica *self, struct barriers *list)
{
    size_t n = 0;
    while (n < list->count && self->now_ms >= list->items[n].start_ms + request_timeout_ms(self)) {
        barrier_answer(self, &list->items[n], ERR_TIMEOUT);
        self->reads_failed++;
        n++;
    }
    if (n == 0)
        return;
    list->count -= n;
    memmove(list->items, list->items + n, list->count * sizeof(list->items[0]));
}

void barriers_expire(struct replica *self)
{
    expire_list(self, &self->collecting);
    expire_list(self, &self->flying);
    if (self->flying.count == 0 && self->round_flies) {
        self->reads_slow++;
        self->round_flies = false;
    }
    for (struct read_group *group = self->groups; group; group = group->next)
        expire_list(self, &group->waiting);
}

void barriers_fail_all(struct replica *self, err error)
{
    barriers_answer(self, &self->collecting, error);
    barriers_answer(self, &self->flying, error);
    self->collecting.count = self->flying.count = 0;
    self->round_flies = false;
    while (self->groups) {
        struct read_group *group = self->groups;
        self->groups = group->next;
        barriers_answer(self, &group->waiting, error);
        group_free(group);
    }
    self->groups_end = &self->groups;
}

void barriers_free(struct replica *self)
{
    while (self->groups) {
        struct read_group *group = self->groups;
        self->groups = group->next;
        group_free(group);
    }
    free(self->collecting.items);
    free(self->flying.items);
}
