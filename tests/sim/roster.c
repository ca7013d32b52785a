/* A change is refused where it names nobody, an id that was removed, an address or an id in use,
 * more learners than may be, or the only voter for removal; otherwise it counts from its entry on.
 * Source: etcd's interface, limits "Check order per request". */
#include "roster.h"

#include "base/check.h"
#include "model.h"
#include "raft/conf_codec.h"
#include "sim.h"
#include "state/members.h"

#include <stdlib.h>

#define REMOVED_MAX  1024
#define LEARNERS_MAX 1 /* --max-learners */

struct roster_member {
    uint64_t id, hash;
    bool learner;
    char url[64]; /* of each the simulator gives one */
};

struct roster {
    struct sim *sim;
    struct roster_member members[ROSTER_MAX];
    size_t count;
    uint64_t removed[REMOVED_MAX];
    size_t removed_count;
    struct roster_config *configs; /* ascending; the first is of index 0 */
    size_t config_count;
};

static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint64_t roster_hash_member(uint64_t id, bool learner, const char *const *urls, size_t url_count)
{
    uint64_t hash = mix(id + learner);
    for (size_t i = 0; i < url_count; i++)
        hash = mix(hash ^ model_hash_bytes(bytes_str(urls[i])));
    return hash;
}

uint64_t roster_hash_removed(uint64_t id)
{
    return mix(~id);
}

/* ---- asking -----------------------------------------------------------------------------------
 */

static struct roster_member *find(const struct roster *self, uint64_t id)
{
    for (size_t i = 0; i < self->count; i++)
        if (self->members[i].id == id)
            return (struct roster_member *)(uintptr_t)&self->members[i];
    return NULL;
}

bool roster_has(const struct roster *self, uint64_t id)
{
    return find(self, id) != NULL;
}

bool roster_is_learner(const struct roster *self, uint64_t id)
{
    const struct roster_member *member = find(self, id);
    return member && member->learner;
}

bool roster_was_removed(const struct roster *self, uint64_t id)
{
    for (size_t i = 0; i < self->removed_count; i++)
        if (self->removed[i] == id)
            return true;
    return false;
}

const struct roster_config *roster_at(const struct roster *self, uint64_t index)
{
    size_t at = self->config_count - 1;
    while (self->configs[at].index > index)
        at--;
    return &self->configs[at];
}

const struct roster_config *roster_now(const struct roster *self)
{
    return &self->configs[self->config_count - 1];
}

bool roster_decides(const struct roster_config *config, const struct raft_id_set *who)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < config->voters.count; i++)
        count += raft_id_set_has(who, config->voters.ids[i]);
    return count >= config->voters.count / 2 + 1;
}

/* ---- changing ---------------------------------------------------------------------------------
 */

static void note_config(struct roster *self, uint64_t index)
{
    self->configs = realloc(self->configs, (self->config_count + 1) * sizeof(self->configs[0]));
    CHECK(self->configs);
    struct roster_config *config = &self->configs[self->config_count++];
    *config = (struct roster_config){.index = index};
    for (size_t i = 0; i < self->count; i++) {
        const struct roster_member *member = &self->members[i];
        const char *url = member->url;
        CHECK(raft_id_set_add(member->learner ? &config->learners : &config->voters, member->id));
        config->hash += roster_hash_member(member->id, member->learner, &url, 1);
    }
    for (size_t i = 0; i < self->removed_count; i++)
        config->hash += roster_hash_removed(self->removed[i]);
}

static bool add(struct roster *self, uint64_t id, bool learner, const char *url)
{
    size_t learners = learner;
    for (size_t i = 0; i < self->count; i++) {
        learners += self->members[i].learner;
        if (self->members[i].id == id || strcmp(self->members[i].url, url) == 0)
            return false;
    }
    if (roster_was_removed(self, id) || (learner && learners > LEARNERS_MAX))
        return false;
    CHECK(self->count < ROSTER_MAX);
    struct roster_member *member = &self->members[self->count++];
    *member = (struct roster_member){.id = id, .learner = learner};
    (void)snprintf(member->url, sizeof(member->url), "%s", url);
    return true;
}

static bool promote(struct roster *self, uint64_t id)
{
    struct roster_member *member = find(self, id);
    if (!member || !member->learner)
        return false;
    member->learner = false;
    return true;
}

static bool take_off(struct roster *self, uint64_t id)
{
    struct roster_member *member = find(self, id);
    const struct raft_id_set *voters = &roster_now(self)->voters;
    if (!member || (voters->count == 1 && voters->ids[0] == id))
        return false;
    *member = self->members[--self->count];
    CHECK(self->removed_count < REMOVED_MAX);
    self->removed[self->removed_count++] = id;
    return true;
}

static bool change(struct roster *self, const struct raft_entry *entry, struct arena *arena)
{
    struct raft_conf_change change;
    struct member member;
    bool promotes;
    err e = raft_conf_change_decode(entry->type, entry->data, &change);
    if (!err_ok(e) || entry->type != RAFT_ENTRY_CONF_CHANGE || change.count != 1)
        sim_fail(self->sim, "entry %llu changes no member", (unsigned long long)entry->index);
    uint64_t id = change.changes[0].node_id;
    if (change.changes[0].type == RAFT_REMOVE_NODE)
        return take_off(self, id);
    e = member_parse_json(change.context, arena, &member, &promotes);
    if (!err_ok(e) || member.id != id || (!promotes && member.peer_urls.count != 1))
        sim_fail(self->sim, "entry %llu names no member", (unsigned long long)entry->index);
    if (promotes)
        return promote(self, id);
    return add(self, id, change.changes[0].type == RAFT_ADD_LEARNER, member.peer_urls.items[0]);
}

void roster_apply(struct roster *self, const struct raft_entry *entry)
{
    struct arena arena AUTO(arena_done);
    arena_init(&arena, 1024);
    bool changed = change(self, entry, &arena);
    if (changed)
        note_config(self, entry->index);
    sim_say(self->sim, "entry %llu term %llu: a change of members%s, now %u and %u learners",
            (unsigned long long)entry->index, (unsigned long long)entry->term,
            changed ? "" : " that is refused", roster_now(self)->voters.count,
            roster_now(self)->learners.count);
}

struct roster *roster_new(struct sim *sim)
{
    struct roster *self = calloc(1, sizeof(*self));
    CHECK(self);
    self->sim = sim;
    note_config(self, 0);
    return self;
}

void roster_free(struct roster *self)
{
    free(self->configs);
    free(self);
}
