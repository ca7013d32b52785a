/* Who changes the members: an operator with one or two projects under way, each of which he brings
 * to its end however often he must ask. What he asked for may come true at any later time, so
 * nothing is broken for good, and nothing asked for, that could leave too few healthy voters in any
 * order of that.
 *
 *     add      ask ─> start ─> joined ─> (a learner: promote)
 *     remove   ask ─> it stops by itself
 *     replace  the disk is lost ─> remove ─> add ─> …
 *
 *  1. who was added starts, joins and catches up;
 *  2. who was removed stops by itself, and stays away when it is started once more;
 *  3. a change is refused for a reason that there is. */
#include "sim.h"

#include "base/check.h"
#include "member_priv.h"
#include "quorum.h"
#include "roster.h"
#include "state/ids.h"

#include <stdlib.h>

#define PROJECTS_MAX 2
#define MAYBES_MAX   4
#define CONFIGS_PAST 3
#define ASK_US       (300 * MS)
/* Of the leader's log a learner has so much before it is promoted. */
#define READY_PERCENT 90

enum project_step { STEP_NONE, STEP_REMOVE, STEP_ADD, STEP_JOIN, STEP_PROMOTE };

/* A change that may still come true. */
struct maybe {
    enum member_change_kind kind;
    uint64_t id;
    bool learner;
};

struct project {
    enum project_step step;
    unsigned at; /* whose */
    uint64_t id; /* who is removed, then who is added */
    bool learner, promotes, replaces, same_url;
    bool asked;      /* this step's change may come true */
    bool judged;     /* that it came true was looked at */
    uint64_t floor;  /* what whom it was first asked of had applied */
    uint64_t serial; /* of the question under way; 0: none */
    unsigned asks;
};

/* The texts of a question live until it is read. */
struct question {
    struct question *next;
    char url[48];
    const char *urls[1];
};

struct changes {
    struct sim *sim;
    struct project projects[PROJECTS_MAX];
    struct maybe maybes[MAYBES_MAX]; /* of projects that were given up */
    unsigned maybe_count;
    const struct node *loses_but[2]; /* a disk is to be lost, of neither of these; NULL: none is */
    uint64_t serial, added;
    struct question *questions;
};

/* ---- what may be done -------------------------------------------------------------------------
 */

static const struct roster *roster(const struct changes *self)
{
    return oracle_roster(self->sim->oracle);
}

static bool is_healthy(struct sim *sim, uint64_t id, unsigned but)
{
    const struct node *member = network_member(sim, id);
    return member && !member->suspect && member->state != MEMBER_LOST &&
           member->state != MEMBER_GONE && member->at != but;
}

static bool is_true(const struct changes *self, const struct maybe *maybe)
{
    const struct roster *now = roster(self);
    if (maybe->kind == MEMBER_REMOVE)
        return !roster_has(now, maybe->id);
    if (maybe->kind == MEMBER_PROMOTE)
        return !roster_is_learner(now, maybe->id);
    return roster_has(now, maybe->id) || roster_was_removed(now, maybe->id);
}

static struct maybe maybe_of(const struct project *project)
{
    enum member_change_kind kind = project->step == STEP_REMOVE    ? MEMBER_REMOVE
                                   : project->step == STEP_PROMOTE ? MEMBER_PROMOTE
                                                                   : MEMBER_ADD;
    return (struct maybe){kind, project->id, project->learner};
}

static size_t maybes_of(const struct changes *self, struct maybe *ret)
{
    size_t count = 0;
    for (unsigned i = 0; i < self->maybe_count; i++)
        if (!is_true(self, &self->maybes[i]))
            ret[count++] = self->maybes[i];
    for (unsigned i = 0; i < PROJECTS_MAX; i++) {
        const struct project *project = &self->projects[i];
        struct maybe maybe = maybe_of(project);
        if (project->step != STEP_NONE && project->asked && !is_true(self, &maybe))
            ret[count++] = maybe;
    }
    return count;
}

/* Whether one of the voters of now knows for good what made them so: by its votes it tells others,
 * those too whose logs are longer and that would wait for who is gone. */
static bool is_known(const struct changes *self, unsigned but)
{
    const struct roster_config *config = roster_now(roster(self));
    for (uint32_t i = 0; i < config->voters.count; i++) {
        uint64_t id = config->voters.ids[i];
        if (is_healthy(self->sim, id, but) &&
            network_member(self->sim, id)->durable.commit >= config->index)
            return true;
    }
    return false;
}

/* With those of the changes that the bits name. Who was removed leaves soon, and is of no help to
 * those that do not know that they can do without. */
static bool enough(const struct changes *self, struct raft_id_set voters,
                   const struct maybe *maybes, size_t count, unsigned bits, unsigned but)
{
    for (size_t i = 0; i < count; i++) {
        if (!(bits >> i & 1))
            continue;
        if (maybes[i].kind == MEMBER_REMOVE)
            raft_id_set_remove(&voters, maybes[i].id);
        else if (maybes[i].kind == MEMBER_PROMOTE || !maybes[i].learner)
            CHECK(raft_id_set_add(&voters, maybes[i].id));
    }
    uint32_t healthy = 0;
    bool known = is_known(self, but);
    for (uint32_t i = 0; i < voters.count; i++)
        healthy += is_healthy(self->sim, voters.ids[i], but) &&
                   (known || !roster_was_removed(roster(self), voters.ids[i]));
    return voters.count > 0 && healthy >= voters.count / 2 + 1;
}

/* Whether there are enough healthy voters whatever comes true, with one more change or one member
 * less. */
static bool may(const struct changes *self, const struct maybe *more, unsigned but)
{
    struct maybe maybes[PROJECTS_MAX + MAYBES_MAX + 1];
    size_t count = maybes_of(self, maybes);
    if (more)
        maybes[count++] = *more;
    /* What has come true may be known to the leader alone: if that is lost, the others go by what
     * was so before. */
    const struct roster_config *config = roster_now(roster(self));
    for (unsigned past = 0; past < CONFIGS_PAST && config->index >= self->sim->plan.members;
         past++) {
        for (unsigned bits = 0; bits < 1u << count; bits++)
            if (!enough(self, config->voters, maybes, count, bits, but))
                return false;
        config = roster_at(roster(self), config->index - 1);
    }
    return true;
}

bool changes_may_break(struct sim *sim, const struct node *member)
{
    return !sim->changes || may(sim->changes, NULL, member->at);
}

/* It may be removed at any time. */
bool changes_may_leave(struct sim *sim, const struct node *member)
{
    struct maybe maybes[PROJECTS_MAX + MAYBES_MAX];
    if (!sim->changes)
        return false;
    size_t count = maybes_of(sim->changes, maybes);
    for (size_t i = 0; i < count; i++)
        if (maybes[i].kind == MEMBER_REMOVE && maybes[i].id == member->id)
            return true;
    return !roster_has(oracle_roster(sim->oracle), member->id);
}

/* ---- asking -----------------------------------------------------------------------------------
 */

static void ask(struct changes *self, struct project *project, enum member_change_kind kind)
{
    struct sim *sim = self->sim;
    struct node *whom = sim_member_any(sim);
    const struct maybe maybe = maybe_of(project);
    /* Who leaves may be missed by those that have not heard of its removal when it does: one of two
     * is never removed here. */
    unsigned but = kind == MEMBER_REMOVE ? project->at : SIM_MEMBERS_MAX;
    if (project->serial || whom->state != MEMBER_UP || (!project->asked && !may(self, &maybe, but)))
        return;
    struct question *question = calloc(1, sizeof(*question));
    CHECK(question);
    question->next = self->questions;
    self->questions = question;
    (void)snprintf(question->url, sizeof(question->url), "%s", sim->members[project->at]->url);
    question->urls[0] = question->url;
    struct member_change change = {.kind = kind,
                                   .member = {.id = project->id,
                                              .learner = project->learner,
                                              .name = "",
                                              .peer_urls = {question->urls, 1}}};
    if (!project->asked) {
        const struct replica_view *view = member_view_enter(whom);
        project->floor = view->applied_index;
        member_view_leave(whom);
    }
    project->asked = true;
    project->asks++;
    project->serial = ++self->serial;
    clients_change(sim->clients, whom, &change, project->serial);
}

void changes_answered(struct sim *sim, uint64_t serial, err error)
{
    struct changes *self = sim->changes;
    for (unsigned i = 0; i < PROJECTS_MAX; i++) {
        struct project *project = &self->projects[i];
        if (project->serial != serial)
            continue;
        project->serial = 0;
        sim_say(sim, "change %u of m%u: %s", i, project->at, err_name(error));
    }
}

/* What became of it nobody knows. */
void changes_unanswered(struct sim *sim, uint64_t serial)
{
    changes_answered(sim, serial, ERR_CLOSED);
}

/* ---- steps ------------------------------------------------------------------------------------
 */

static void to_step(struct project *project, enum project_step step)
{
    project->step = step;
    project->asked = project->judged = false;
    project->serial = 0;
    project->asks = 0;
}

static void give_up(struct changes *self, struct project *project)
{
    struct maybe maybe = maybe_of(project);
    if (project->asked && !is_true(self, &maybe) && self->maybe_count < MAYBES_MAX)
        self->maybes[self->maybe_count++] = maybe;
    to_step(project, STEP_NONE);
}

/* A new member in this place, which is not one yet. */
static void prepare(struct changes *self, struct project *project)
{
    struct sim *sim = self->sim;
    struct node *member = sim->members[project->at];
    struct bytes url;
    member_renew(member, project->same_url);
    url = bytes_str(member->url);
    /* As if the seconds went by faster: no two are the same. */
    member->id = project->id = member_id_added(&url, 1, UINT64_C(1700000000) + ++self->added);
    to_step(project, STEP_ADD);
}

static void step_remove(struct changes *self, struct project *project)
{
    struct sim *sim = self->sim;
    if (!roster_was_removed(roster(self), project->id)) {
        if (sim->healed && !project->asked)
            give_up(self, project);
        else
            ask(self, project, MEMBER_REMOVE);
        return;
    }
    sim->counts->member_removed++;
    if (project->replaces)
        prepare(self, project);
    else
        to_step(project, STEP_NONE);
}

static void step_add(struct changes *self, struct project *project)
{
    struct sim *sim = self->sim;
    struct node *member = sim->members[project->at];
    if (!roster_has(roster(self), project->id)) {
        if (sim->healed && !project->asked)
            give_up(self, project);
        else
            ask(self, project, MEMBER_ADD);
        return;
    }
    *(project->replaces ? &sim->counts->member_replaced : &sim->counts->member_added) += 1;
    member->state = MEMBER_DOWN;
    sim_at(sim, sim->now_us + sim_around(sim, 200 * MS), EVENT_BOOT, member->at, 0, NULL);
    to_step(project, STEP_JOIN);
}

static void step_join(struct changes *self, struct project *project)
{
    struct node *member = self->sim->members[project->at];
    if (member->suspect || roster_was_removed(roster(self), project->id)) {
        to_step(project, STEP_NONE);
        return;
    }
    if (member->state != MEMBER_UP)
        return;
    const struct replica_view *view = member_view_enter(member);
    bool joined = view->is_member;
    member_view_leave(member);
    if (joined || (project->learner && sim_chance(self->sim, 200))) /* too soon, perhaps */
        to_step(project, project->learner && project->promotes ? STEP_PROMOTE : STEP_NONE);
}

static void step_promote(struct changes *self, struct project *project)
{
    if (!roster_is_learner(roster(self), project->id)) {
        self->sim->counts->member_promoted += roster_has(roster(self), project->id);
        to_step(project, STEP_NONE);
        return;
    }
    ask(self, project, MEMBER_PROMOTE);
}

/* ---- beginning --------------------------------------------------------------------------------
 */

static bool is_taken(const struct changes *self, unsigned at)
{
    for (unsigned i = 0; i < PROJECTS_MAX; i++)
        if (self->projects[i].step != STEP_NONE && self->projects[i].at == at)
            return true;
    return false;
}

static bool learner_is_there(const struct changes *self)
{
    for (unsigned i = 0; i < PROJECTS_MAX; i++)
        if (self->projects[i].step != STEP_NONE && self->projects[i].learner)
            return true;
    for (unsigned i = 0; i < self->maybe_count; i++)
        if (self->maybes[i].kind == MEMBER_ADD && self->maybes[i].learner)
            return true;
    return roster_now(roster(self))->learners.count > 0;
}

static void begin_add(struct changes *self, struct project *project)
{
    struct sim *sim = self->sim;
    for (unsigned at = 0; at < sim->slots; at++) {
        const struct node *member = sim->members[at];
        bool is_free = member->state == MEMBER_ABSENT || member->state == MEMBER_LEFT;
        if (!is_free || is_taken(self, at))
            continue;
        bool learner = !learner_is_there(self) && sim_chance(sim, 650);
        *project = (struct project){
            .at = at, .learner = learner, .promotes = learner && sim_chance(sim, 800)};
        prepare(self, project);
        return;
    }
}

static struct node *any_of_roster(struct changes *self)
{
    struct node *member = sim_member_any(self->sim);
    return roster_has(roster(self), member->id) && !is_taken(self, member->at) ? member : NULL;
}

static void begin_remove(struct changes *self, struct project *project)
{
    const struct node *member = any_of_roster(self);
    if (!member)
        return;
    *project = (struct project){.step = STEP_REMOVE, .at = member->at, .id = member->id};
}

static void begin_replace(struct changes *self, struct project *project, struct node *member)
{
    struct sim *sim = self->sim;
    bool is_learner = member && roster_is_learner(roster(self), member->id);
    if (!member || (member->state != MEMBER_UP && member->state != MEMBER_DOWN) ||
        (!is_learner && !may(self, NULL, member->at)))
        return;
    bool learner = !learner_is_there(self) && sim_chance(sim, 500);
    *project = (struct project){.step = STEP_REMOVE,
                                .at = member->at,
                                .id = member->id,
                                .learner = learner,
                                .promotes = true,
                                .replaces = true,
                                .same_url = sim_chance(sim, 500)};
    sim_say(sim, "m%u loses its disk", member->at);
    member_end(member, true);
    member->state = MEMBER_LOST;
    sim->counts->disk_lost++;
}

static void begin_lose(struct changes *self, struct project *project)
{
    const struct raft_id_set *voters = &roster_now(roster(self))->voters;
    for (uint32_t i = 0; i < voters->count && project->step == STEP_NONE; i++) {
        struct node *member = network_member(self->sim, voters->ids[i]);
        if (member && member != self->loses_but[0] && member != self->loses_but[1] &&
            !is_taken(self, member->at))
            begin_replace(self, project, member);
    }
    self->loses_but[0] = NULL;
}

void changes_lose(struct sim *sim, const struct node *but, const struct node *nor)
{
    sim->changes->loses_but[0] = but;
    sim->changes->loses_but[1] = nor;
}

/* One more than are needed, and then one less, the leader mostly. */
static void begin_leave(struct changes *self, struct project *project, uint32_t voters)
{
    struct node *leader = NULL;
    for (unsigned i = 0; i < self->sim->slots; i++) {
        struct node *member = self->sim->members[i];
        struct replica_status status;
        if (member->state != MEMBER_UP)
            continue;
        replica_status_get(member_replica(member), &status);
        leader = status.is_leader ? member : leader;
    }
    if (voters < 4)
        begin_add(self, project);
    else if (leader && roster_has(roster(self), leader->id) && !is_taken(self, leader->at))
        *project = (struct project){.step = STEP_REMOVE, .at = leader->at, .id = leader->id};
}

static void begin(struct changes *self, struct project *project)
{
    struct sim *sim = self->sim;
    uint32_t voters = roster_now(roster(self))->voters.count;
    if (sim->healed || voters == 0 || !sim_chance(sim, sim->plan.change_permille))
        return;
    if (self->loses_but[0]) {
        begin_lose(self, project);
        return;
    }
    if (sim->plan.profile == PROFILE_leave) {
        begin_leave(self, project, voters);
        return;
    }
    unsigned what = (unsigned)sim_below(sim, 100);
    bool many = voters > sim->plan.members && voters > 2;
    if ((what < 40 && !many) || voters == 1)
        begin_add(self, project);
    else if (what < 70 && voters > 1)
        begin_remove(self, project);
    else
        begin_replace(self, project, any_of_roster(self));
}

static void project_step(struct changes *self, struct project *project)
{
    switch (project->step) {
    case STEP_NONE:
        begin(self, project);
        break;
    case STEP_REMOVE:
        step_remove(self, project);
        break;
    case STEP_ADD:
        step_add(self, project);
        break;
    case STEP_JOIN:
        step_join(self, project);
        break;
    case STEP_PROMOTE:
        step_promote(self, project);
        break;
    }
}

/* Often the two of them at once. */
void changes_event(struct sim *sim, unsigned who)
{
    struct changes *self = sim->changes;
    project_step(self, &self->projects[who]);
    if (sim_chance(sim, 300))
        project_step(self, &self->projects[(who + 1) % PROJECTS_MAX]);
    sim_at(sim, sim->now_us + sim_around(sim, ASK_US), EVENT_CHANGE, who, 0, NULL);
}

/* Who leads has applied no less than it was asked with. */
void changes_look(struct sim *sim, const struct quorum *quorum)
{
    struct changes *self = sim->changes;
    for (unsigned i = 0; self && i < PROJECTS_MAX; i++) {
        struct project *project = &self->projects[i];
        if (project->step != STEP_PROMOTE || project->judged || !project->asked ||
            !roster_has(roster(self), project->id) || roster_is_learner(roster(self), project->id))
            continue;
        project->judged = true;
        uint64_t has = quorum_acknowledged(quorum, project->id);
        if (has * 100 < project->floor * READY_PERCENT)
            sim_fail(sim, "m%u is promoted with %llu entries of at least %llu", project->at,
                     (unsigned long long)has, (unsigned long long)project->floor);
    }
}

/* ---- the end ----------------------------------------------------------------------------------
 */

/* Nobody whom it knows is a member any more, or its log is empty and it knows nobody: it cannot
 * hear that it was removed. */
static bool knows_nobody(const struct changes *self, struct node *member)
{
    const struct membership *known = member_view_enter(member)->members;
    bool somebody = false;
    for (size_t i = 0; i < known->count; i++)
        somebody = somebody || (known->members[i].id != member->id &&
                                roster_has(roster(self), known->members[i].id));
    member_view_leave(member);
    return !somebody;
}

void changes_check_last(struct sim *sim)
{
    const struct changes *self = sim->changes;
    if (!self)
        return;
    bool all_well = true;
    for (unsigned i = 0; i < sim->slots; i++)
        all_well = all_well && !sim->members[i]->suspect && sim->members[i]->state != MEMBER_LOST;
    for (unsigned i = 0; i < PROJECTS_MAX; i++)
        if (all_well && (self->projects[i].step == STEP_JOIN || self->projects[i].asks > 1))
            sim_fail(sim, "the change of m%u has not come to its end: step %d, asked %u times",
                     self->projects[i].at, (int)self->projects[i].step, self->projects[i].asks);
    for (unsigned i = 0; i < sim->slots; i++) {
        struct node *member = sim->members[i];
        if (member->state == MEMBER_UP && !member->suspect && member->id &&
            roster_was_removed(roster(self), member->id) && !knows_nobody(self, member))
            sim_fail(sim, "m%u was removed and does not stop", i);
    }
}

void changes_start(struct sim *sim)
{
    if (!sim->plan.change_permille)
        return;
    sim->changes = calloc(1, sizeof(*sim->changes));
    CHECK(sim->changes);
    sim->changes->sim = sim;
    for (unsigned i = 0; i < PROJECTS_MAX; i++)
        sim_at(sim, 3 * SECOND + sim_around(sim, SECOND), EVENT_CHANGE, i, 0, NULL);
}

void changes_free(struct sim *sim)
{
    struct changes *self = sim->changes;
    struct question *next;
    for (struct question *at = self ? self->questions : NULL; at; at = next) {
        next = at->next;
        free(at);
    }
    free(self);
}
