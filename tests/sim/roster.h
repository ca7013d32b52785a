/* Who belongs to the cluster after each committed entry, by rules of the simulator's own. */
#pragma once

#include "raft/types.h"

#include <stdbool.h>

#define ROSTER_MAX 64 /* members at a time */

struct sim;
struct roster;

/* From this entry on, until the next one's. */
struct roster_config {
    uint64_t index;
    struct raft_id_set voters, learners;
    uint64_t hash; /* of both, of peer URLs and of who was removed */
};

struct roster *roster_new(struct sim *sim);
void roster_free(struct roster *self);
/* The next committed entry, a change of members. */
void roster_apply(struct roster *self, const struct raft_entry *entry);
/* Never NULL; of no member before the first. Valid until the next change. */
const struct roster_config *roster_at(const struct roster *self, uint64_t index);
const struct roster_config *roster_now(const struct roster *self);
bool roster_has(const struct roster *self, uint64_t id);
bool roster_is_learner(const struct roster *self, uint64_t id);
bool roster_was_removed(const struct roster *self, uint64_t id);
/* What the hash adds for one member, and for one that was removed; the order does not matter. */
uint64_t roster_hash_member(uint64_t id, bool learner, const char *const *urls, size_t url_count);
uint64_t roster_hash_removed(uint64_t id);
/* Whether so many of the config's voters as decide are in the set. */
bool roster_decides(const struct roster_config *config, const struct raft_id_set *who);
