#include "raft/confchange.h"

#include "base/bug.h"

#include <inttypes.h>
#include <stdio.h>

const char *raft_conf_refusal_text(enum raft_conf_refusal refusal)
{
    static const char *const texts[] = {
        [RAFT_CONF_FINE] = "fine",
        [RAFT_CONF_ALREADY_JOINT] = "config is already joint",
        [RAFT_CONF_ZERO_VOTERS_JOINT] = "can't make a zero-voter config joint",
        [RAFT_CONF_NOT_JOINT] = "can't leave a non-joint config",
        [RAFT_CONF_SIMPLE_WHILE_JOINT] = "can't apply simple config change in joint config",
        [RAFT_CONF_MORE_THAN_ONE] = "more than one voter changed without entering joint config",
        [RAFT_CONF_NO_VOTERS] = "removed all voters",
        [RAFT_CONF_TOO_MANY] = "too many members",
        [RAFT_CONF_INVALID] = "config contradicts itself",
    };
    return texts[refusal];
}

bool raft_conf_is_joint(const struct raft_conf_state *conf)
{
    return conf->voters_outgoing.count > 0;
}

bool raft_conf_change_leaves(const struct raft_conf_change *change)
{
    return change->transition == RAFT_TRANSITION_AUTO && change->count == 0;
}

static bool set_add_all(struct raft_id_set *self, const struct raft_id_set *other)
{
    for (uint32_t i = 0; i < other->count; i++)
        if (!raft_id_set_add(self, other->ids[i]))
            return false;
    return true;
}

static bool sets_meet(const struct raft_id_set *a, const struct raft_id_set *b)
{
    for (uint32_t i = 0; i < a->count; i++)
        if (raft_id_set_has(b, a->ids[i]))
            return true;
    return false;
}

/* Sets from a decoder may be anything. */
static bool set_is_sound(const struct raft_id_set *self)
{
    if (self->count > RAFT_MEMBERS_MAX)
        return false;
    for (uint32_t i = 0; i < self->count; i++) {
        if (self->ids[i] == RAFT_NONE || self->ids[i] >= RAFT_APPLY_THREAD)
            return false;
        if (i > 0 && self->ids[i - 1] >= self->ids[i])
            return false;
    }
    return true;
}

bool raft_conf_members(const struct raft_conf_state *conf, struct raft_id_set *ret_members)
{
    /* learners_next are among the outgoing voters. */
    struct raft_id_set members = conf->voters;
    if (!set_add_all(&members, &conf->voters_outgoing) || !set_add_all(&members, &conf->learners))
        return false;
    *ret_members = members;
    return true;
}

enum raft_conf_refusal raft_conf_check(const struct raft_conf_state *conf)
{
    if (!set_is_sound(&conf->voters) || !set_is_sound(&conf->voters_outgoing) ||
        !set_is_sound(&conf->learners) || !set_is_sound(&conf->learners_next))
        return RAFT_CONF_INVALID;
    struct raft_id_set members;
    if (!raft_conf_members(conf, &members))
        return RAFT_CONF_TOO_MANY;
    if (conf->voters.count == 0 && members.count > 0)
        return RAFT_CONF_INVALID;
    if (sets_meet(&conf->learners, &conf->voters) ||
        sets_meet(&conf->learners, &conf->voters_outgoing))
        return RAFT_CONF_INVALID;
    for (uint32_t i = 0; i < conf->learners_next.count; i++)
        if (!raft_id_set_has(&conf->voters_outgoing, conf->learners_next.ids[i]))
            return RAFT_CONF_INVALID;
    if (sets_meet(&conf->learners_next, &conf->voters) ||
        sets_meet(&conf->learners_next, &conf->learners))
        return RAFT_CONF_INVALID;
    if (!raft_conf_is_joint(conf) && (conf->learners_next.count > 0 || conf->auto_leave))
        return RAFT_CONF_INVALID;
    return RAFT_CONF_FINE;
}

static void conf_remove(struct raft_conf_state *conf, uint64_t id)
{
    raft_id_set_remove(&conf->voters, id);
    raft_id_set_remove(&conf->learners, id);
    raft_id_set_remove(&conf->learners_next, id);
}

static bool conf_add_voter(struct raft_conf_state *conf, uint64_t id)
{
    conf_remove(conf, id);
    return raft_id_set_add(&conf->voters, id);
}

static bool conf_add_learner(struct raft_conf_state *conf, uint64_t id)
{
    conf_remove(conf, id);
    /* Who still votes in the outgoing half becomes a learner when that half is gone. */
    if (raft_id_set_has(&conf->voters_outgoing, id))
        return raft_id_set_add(&conf->learners_next, id);
    return raft_id_set_add(&conf->learners, id);
}

static enum raft_conf_refusal conf_change(struct raft_conf_state *conf,
                                          const struct raft_conf_single *changes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t id = changes[i].node_id;
        /* An application zeroes the id of a change that it rejects. */
        if (id == RAFT_NONE)
            continue;
        bool room = true;
        switch (changes[i].type) {
        case RAFT_ADD_NODE:
            room = conf_add_voter(conf, id);
            break;
        case RAFT_ADD_LEARNER:
            room = conf_add_learner(conf, id);
            break;
        case RAFT_REMOVE_NODE:
            if (!BUG(removed_counts))
                conf_remove(conf, id);
            break;
        case RAFT_UPDATE_NODE:
            break;
        }
        if (!room)
            return RAFT_CONF_TOO_MANY;
    }
    return conf->voters.count == 0 ? RAFT_CONF_NO_VOTERS : RAFT_CONF_FINE;
}

static uint32_t sets_differ_by(const struct raft_id_set *a, const struct raft_id_set *b)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < a->count; i++)
        n += !raft_id_set_has(b, a->ids[i]);
    for (uint32_t i = 0; i < b->count; i++)
        n += !raft_id_set_has(a, b->ids[i]);
    return n;
}

static enum raft_conf_refusal conf_finish(const struct raft_conf_state *next,
                                          struct raft_conf_state *ret_conf)
{
    enum raft_conf_refusal refusal = raft_conf_check(next);
    if (refusal == RAFT_CONF_FINE)
        *ret_conf = *next;
    return refusal;
}

enum raft_conf_refusal raft_conf_simple(const struct raft_conf_state *conf,
                                        const struct raft_conf_single *changes, size_t count,
                                        struct raft_conf_state *ret_conf)
{
    if (raft_conf_is_joint(conf))
        return RAFT_CONF_SIMPLE_WHILE_JOINT;
    struct raft_conf_state next = *conf;
    enum raft_conf_refusal refusal = conf_change(&next, changes, count);
    if (refusal != RAFT_CONF_FINE)
        return refusal;
    if (sets_differ_by(&conf->voters, &next.voters) > 1)
        return RAFT_CONF_MORE_THAN_ONE;
    return conf_finish(&next, ret_conf);
}

enum raft_conf_refusal raft_conf_enter(const struct raft_conf_state *conf, bool auto_leave,
                                       const struct raft_conf_single *changes, size_t count,
                                       struct raft_conf_state *ret_conf)
{
    if (raft_conf_is_joint(conf))
        return RAFT_CONF_ALREADY_JOINT;
    if (conf->voters.count == 0)
        return RAFT_CONF_ZERO_VOTERS_JOINT;
    struct raft_conf_state next = *conf;
    next.voters_outgoing = conf->voters;
    enum raft_conf_refusal refusal = conf_change(&next, changes, count);
    if (refusal != RAFT_CONF_FINE)
        return refusal;
    next.auto_leave = auto_leave;
    return conf_finish(&next, ret_conf);
}

enum raft_conf_refusal raft_conf_leave(const struct raft_conf_state *conf,
                                       struct raft_conf_state *ret_conf)
{
    if (!raft_conf_is_joint(conf))
        return RAFT_CONF_NOT_JOINT;
    struct raft_conf_state next = *conf;
    next.voters_outgoing.count = 0;
    if (!set_add_all(&next.learners, &conf->learners_next))
        return RAFT_CONF_TOO_MANY;
    next.learners_next.count = 0;
    next.auto_leave = false;
    return conf_finish(&next, ret_conf);
}

enum raft_conf_refusal raft_conf_apply(const struct raft_conf_state *conf,
                                       const struct raft_conf_change *change,
                                       struct raft_conf_state *ret_conf)
{
    if (raft_conf_change_leaves(change))
        return raft_conf_leave(conf, ret_conf);
    if (change->transition == RAFT_TRANSITION_AUTO && change->count == 1)
        return raft_conf_simple(conf, change->changes, change->count, ret_conf);
    bool auto_leave = change->transition != RAFT_TRANSITION_JOINT_EXPLICIT;
    return raft_conf_enter(conf, auto_leave, change->changes, change->count, ret_conf);
}

struct text {
    char *at;
    size_t room;
};

static void text_put(struct text *self, const char *what)
{
    size_t n = strlen(what);
    if (n >= self->room)
        return;
    memcpy(self->at, what, n + 1);
    self->at += n;
    self->room -= n;
}

static void text_put_set(struct text *self, const char *before, const struct raft_id_set *set)
{
    text_put(self, before);
    for (uint32_t i = 0; i < set->count; i++) {
        char id[24];
        (void)snprintf(id, sizeof(id), i ? " %" PRIx64 : "%" PRIx64, set->ids[i]);
        text_put(self, id);
    }
    text_put(self, ")");
}

void raft_conf_text(const struct raft_conf_state *conf, char *ret_text, size_t size)
{
    struct text text = {ret_text, size};
    text_put_set(&text, "voters=(", &conf->voters);
    if (raft_conf_is_joint(conf))
        text_put_set(&text, "&&(", &conf->voters_outgoing);
    if (conf->learners.count > 0)
        text_put_set(&text, " learners=(", &conf->learners);
    if (conf->learners_next.count > 0)
        text_put_set(&text, " learners_next=(", &conf->learners_next);
    if (conf->auto_leave)
        text_put(&text, " autoleave");
}
