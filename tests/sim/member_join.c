/* How a member comes into a cluster that is there, and leaves it: what lies around the core in the
 * server (its peers' answers, its way out), with the same waits. */
#include "sim.h"

#include "base/bug.h"
#include "base/check.h"
#include "member_priv.h"
#include "roster.h"

#include <stdlib.h>

/* As in the server: where it was the first to know, and where it was told. */
#define LEAVE_US      (300 * SECOND)
#define LEAVE_TOLD_US (200 * MS)
#define LEAVE_LATE_US (200 * MS)
#define RESTARTS_MAX  2

void member_renew(struct node *self, bool same_url)
{
    struct sim *sim = self->sim;
    disk_free(self->disk);
    self->disk = NULL;
    self->incarnation++;
    self->id = 0;
    self->joins = true;
    self->restarts = 0;
    self->state = MEMBER_ABSENT;
    self->suspect = self->rots_in_rest = self->full = self->installs = false;
    self->end_in_calls = self->error_in_calls = 0;
    self->error_hit = false;
    self->stalls = 0;
    self->applied_max = self->term_max = 0;
    self->flags = sim->plan.flags;
    (void)snprintf(self->name, sizeof(self->name), "m%u.%u", self->at, self->incarnation);
    self->same_url = same_url;
    if (!same_url)
        (void)snprintf(self->url, sizeof(self->url), "http://10.0.%u.%u:2380",
                       self->incarnation % 200, self->at + 1);
    oracle_renew(sim->oracle, self->at);
    member_disk_new(self);
}

/* ---- joining ----------------------------------------------------------------------------------
 */

/* One that answers: as `member list` at whoever does. */
static struct node *answers(const struct node *asker)
{
    struct sim *sim = asker->sim;
    unsigned first = (unsigned)sim_below(sim, sim->slots);
    for (unsigned i = 0; i < sim->slots; i++) {
        struct node *member = sim->members[(first + i) % sim->slots];
        if (member != asker && member_runs(member) && !sim->cut[asker->at][member->at] &&
            !sim->cut[member->at][asker->at])
            return member;
    }
    return NULL;
}

void member_initial_cluster(struct node *self, char text[JOIN_TEXT_MAX])
{
    struct sim *sim = self->sim;
    size_t len = 0;
    text[0] = '\0';
    if (!self->joins) {
        for (unsigned i = 0; i < sim->plan.members; i++)
            len += (size_t)snprintf(text + len, JOIN_TEXT_MAX - len, "%sm%u=http://10.0.0.%u:2380",
                                    i ? "," : "", i, i + 1);
        return;
    }
    struct node *whom = answers(self);
    const struct replica_view *view = whom ? member_view_enter(whom) : NULL;
    bool named = false;
    for (size_t i = 0; view && i < view->members->count; i++) {
        const struct member *member = &view->members->members[i];
        const struct node *node = network_member(sim, member->id);
        if (node != self && strcmp(member->peer_urls.items[0], self->url) == 0)
            continue; /* who had our address, and is removed: that is not known there yet */
        named = named || node == self;
        len += (size_t)snprintf(text + len, JOIN_TEXT_MAX - len, "%s%s=%s", len ? "," : "",
                                node == self      ? self->name
                                : member->name[0] ? member->name
                                : node            ? node->name
                                                  : "other",
                                member->peer_urls.items[0]);
    }
    if (view)
        member_view_leave(whom);
    if (!named) /* not told yet */
        (void)snprintf(text + len, JOIN_TEXT_MAX - len, "%s%s=%s", len ? "," : "", self->name,
                       self->url);
}

static struct node *at_url(const struct node *asker, const char *url)
{
    struct sim *sim = asker->sim;
    for (unsigned i = 0; i < sim->slots; i++) {
        struct node *member = sim->members[i];
        if (member != asker && strcmp(member->url, url) == 0 && member_runs(member) &&
            !sim->cut[asker->at][i] && !sim->cut[i][asker->at])
            return member;
    }
    return NULL;
}

err member_join_ask(void *ctx, enum peer_fetch_what what, struct text_list urls,
                    struct peer_fetch_result *ret_result, struct membership **ret_members)
{
    struct node *self = ctx, *whom = NULL;
    for (size_t i = 0; i < urls.count && !whom; i++)
        whom = at_url(self, urls.items[i]);
    if (!whom)
        return ERR_UNREACHABLE;
    const struct replica_view *view = member_view_enter(whom);
    char version[CLUSTER_VERSION_TEXT_MAX];
    ret_result->cluster_id = view->cluster_id;
    ret_result->applied_index = view->applied_index;
    (void)snprintf(ret_result->cluster_version, sizeof(ret_result->cluster_version), "%s",
                   cluster_version_text(view->version, version));
    if (what == PEER_FETCH_MEMBERS)
        *ret_members = membership_versioned(view->members, view->version);
    member_view_leave(whom);
    return OK;
}

/* ---- leaving ----------------------------------------------------------------------------------
 */

static void leave(struct node *self, uint64_t after_us)
{
    struct life *life = self->life;
    uint64_t at_us = self->sim->now_us + after_us;
    if (!life->leave_at_us || at_us < life->leave_at_us)
        life->leave_at_us = at_us;
}

void member_told_removed(struct node *self)
{
    if (self->state != MEMBER_UP)
        return;
    if (!roster_was_removed(oracle_roster(self->sim->oracle), self->id))
        sim_fail(self->sim, "m%u is told that it was removed, and was not", self->at);
    replica_told_removed(self->life->replica, member_ms(self));
    leave(self, LEAVE_TOLD_US);
}

void member_look_removed(struct node *self)
{
    struct life *life = self->life;
    const struct replica_view *view = member_view_enter(self);
    bool removed = view->is_removed;
    member_view_leave(self);
    if (removed) /* the longer it stays, the less others miss what votes tell */
        leave(self, BUG(votes_without_commit) ? 2 * SECOND : LEAVE_US);
    uint64_t now_us = self->sim->now_us;
    if (!life->leave_at_us || life->leave_at_us > now_us)
        return;
    if (now_us > life->leave_at_us + LEAVE_LATE_US)
        life->leave_at_us = now_us + LEAVE_US;
    else
        member_stop(self);
}

/* Some are started again by who has not heard of it. */
void member_left(struct node *self)
{
    struct sim *sim = self->sim;
    self->state = MEMBER_LEFT;
    if (sim->healed || self->restarts >= RESTARTS_MAX || !sim_chance(sim, 300))
        return;
    self->restarts++;
    self->state = MEMBER_DOWN;
    sim->counts->left_started++;
    sim_at(sim, sim->now_us + sim_around(sim, SECOND), EVENT_BOOT, self->at, 0, NULL);
}
