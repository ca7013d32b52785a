/* Random raft messages and their comparison. */
#pragma once

#include "base/arena.h"
#include "base/prng.h"
#include "raft/types.h"

/* A MsgApp that goes on at (term, index) three times in four. */
struct raft_message random_append(struct prng *prng, struct arena *arena, uint64_t from,
                                  uint64_t to, uint64_t *term, uint64_t *index);
/* Any other message that travels. */
struct raft_message random_other(struct prng *prng, struct arena *arena, uint64_t from,
                                 uint64_t to);
bool messages_equal(const struct raft_message *a, const struct raft_message *b);
