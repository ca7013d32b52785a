#include "messages.h"

static struct bytes random_bytes(struct prng *prng, struct arena *arena, size_t len)
{
    uint8_t *data = arena_alloc_bytes(arena, len);
    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)prng_next(prng);
    return bytes_of(data, len);
}

struct raft_message random_append(struct prng *prng, struct arena *arena, uint64_t from,
                                  uint64_t to, uint64_t *term, uint64_t *index)
{
    if (prng_below(prng, 4) == 0) {
        *term += prng_below(prng, 3);
        *index = prng_below(prng, 1000000);
    }
    uint64_t log_term = prng_below(prng, 8) == 0 && *term > 1 ? *term - 1 : *term;
    size_t count = prng_below(prng, 5);
    struct raft_entry *entries = ARENA_ARRAY(arena, struct raft_entry, count);
    for (size_t i = 0; i < count; i++) {
        size_t len = prng_below(prng, 20) == 0 ? prng_below(prng, 20000) : prng_below(prng, 64);
        entries[i] = (struct raft_entry){.term = *term,
                                         .index = *index + 1 + i,
                                         .type = (enum raft_entry_type)prng_below(prng, 2),
                                         .data = random_bytes(prng, arena, len)};
    }
    struct raft_message message = {.type = RAFT_MSG_APP,
                                   .from = from,
                                   .to = to,
                                   .term = *term,
                                   .log_term = log_term,
                                   .index = *index,
                                   .commit = prng_below(prng, *index + 1),
                                   .entries = entries,
                                   .entry_count = count};
    *index += count;
    return message;
}

struct raft_message random_other(struct prng *prng, struct arena *arena, uint64_t from, uint64_t to)
{
    static const enum raft_message_type types[] = {
        RAFT_MSG_PROP,      RAFT_MSG_APP_RESP,       RAFT_MSG_VOTE,     RAFT_MSG_VOTE_RESP,
        RAFT_MSG_HEARTBEAT, RAFT_MSG_HEARTBEAT_RESP, RAFT_MSG_PRE_VOTE, RAFT_MSG_READ_INDEX_RESP};
    struct raft_message message = {.type =
                                       types[prng_below(prng, sizeof(types) / sizeof(types[0]))],
                                   .from = from,
                                   .to = to,
                                   .term = prng_next(prng) >> (1 + prng_below(prng, 63)),
                                   .log_term = prng_next(prng) >> (1 + prng_below(prng, 63)),
                                   .index = prng_next(prng) >> (1 + prng_below(prng, 63)),
                                   .commit = prng_next(prng) >> (1 + prng_below(prng, 63)),
                                   .reject_hint = prng_below(prng, 3),
                                   .reject = prng_below(prng, 2),
                                   .context = random_bytes(prng, arena, prng_below(prng, 9))};
    if (message.type == RAFT_MSG_PROP) {
        struct raft_entry *entry = ARENA_NEW(arena, struct raft_entry);
        entry->data = random_bytes(prng, arena, prng_below(prng, 3000));
        message.entries = entry;
        message.entry_count = 1;
    }
    return message;
}

bool messages_equal(const struct raft_message *a, const struct raft_message *b)
{
    if (a->type != b->type || a->to != b->to || a->from != b->from || a->term != b->term ||
        a->log_term != b->log_term || a->index != b->index || a->commit != b->commit ||
        a->reject != b->reject || a->reject_hint != b->reject_hint ||
        a->entry_count != b->entry_count || !bytes_equal(a->context, b->context))
        return false;
    for (size_t i = 0; i < a->entry_count; i++) {
        const struct raft_entry *x = &a->entries[i];
        const struct raft_entry *y = &b->entries[i];
        if (x->term != y->term || x->index != y->index || x->type != y->type ||
            !bytes_equal(x->data, y->data))
            return false;
    }
    return true;
}
