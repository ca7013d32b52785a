/* What breaks, and when, by the rates that the seed has chosen (plan.c). */
#include "sim.h"

#include "base/check.h"
#include "member_priv.h"
#include "roster.h"

static uint64_t hit_below(struct sim *sim, uint64_t bound)
{
    return prng_below(&sim->hit_prng, bound);
}

static bool hit_chance(struct sim *sim, unsigned permille)
{
    return hit_below(sim, 1000) < permille;
}

static uint64_t hit_around(struct sim *sim, uint64_t mean)
{
    uint64_t us = mean / 2 + hit_below(sim, mean + 1);
    return hit_chance(sim, 50) ? us * 5 : us;
}

/* ---- what breaks -------------------------------------------------------------------------------
 */

/* Whoever leads is hit more often: what goes wrong with it is seen by all. */
static struct node *any_member(struct sim *sim)
{
    struct node *there[SIM_MEMBERS_MAX];
    unsigned count = sim_members_there(sim, there);
    struct node *any = there[hit_below(sim, count)];
    struct replica_status status;
    if (!hit_chance(sim, sim->plan.leader_permille))
        return any;
    for (unsigned i = 0; i < sim->slots; i++) {
        struct node *member = sim->members[i];
        if (member->state != MEMBER_UP)
            continue;
        replica_status_get(member_replica(member), &status);
        if (status.is_leader)
            return member;
    }
    return any;
}

static void cuts_clear(struct sim *sim)
{
    memset(sim->cut, 0, sizeof(sim->cut));
    sim->cut_generation++;
}

static void cut_pair(struct sim *sim, unsigned from, unsigned to, bool both)
{
    sim->cut[from][to] = true;
    if (both)
        sim->cut[to][from] = true;
}

/* One member apart from all others: both ways, or only what it sends, or only what it hears. */
static void cut_one(struct sim *sim, unsigned victim, unsigned way)
{
    for (unsigned i = 0; i < sim->slots; i++) {
        if (i == victim)
            continue;
        if (way == 2)
            cut_pair(sim, i, victim, false);
        else
            cut_pair(sim, victim, i, way == 0);
    }
}

static void stall(struct sim *sim, struct node *member, uint64_t mean_us)
{
    member->stall_us = hit_around(sim, mean_us);
    member->stalls = 1 + (unsigned)hit_below(sim, 3);
    sim->counts->sync_stalled++;
}

static void cut_at_random(struct sim *sim)
{
    for (unsigned a = 0; a < sim->slots; a++)
        for (unsigned b = 0; b < sim->slots; b++)
            if (a != b && hit_chance(sim, 400))
                cut_pair(sim, a, b, false);
    sim->counts->cut_at_random++;
}

static void heal_later(struct sim *sim)
{
    sim_at(sim, sim->now_us + hit_around(sim, 3 * SECOND), EVENT_HEAL, 0, sim->cut_generation,
           NULL);
}

static void hit_cut(struct sim *sim)
{
    if (sim->plan.members == 1)
        return;
    cuts_clear(sim);
    unsigned victim = any_member(sim)->at;
    unsigned kind = (unsigned)hit_below(sim, 5);
    if (kind == 0) {
        cut_one(sim, victim, 0);
        sim->counts->cut_both_ways++;
    } else if (kind == 1) {
        cut_one(sim, victim, 1 + (unsigned)hit_below(sim, 2));
        sim->counts->cut_one_way++;
    } else if (kind == 2) { /* of five, the one that is on neither side sees both: a bridge */
        for (unsigned a = 0; a < sim->slots; a++)
            for (unsigned b = 0; b < sim->slots; b++)
                if (a != victim && b != victim && a % 2 != b % 2)
                    cut_pair(sim, a, b, true);
        sim->counts->cut_in_halves++;
    } else if (kind == 3) {
        cut_at_random(sim);
    } else {
        sim_at(sim, sim->now_us, EVENT_FLAP, victim, sim->cut_generation, NULL);
        sim->counts->cut_flapping++;
    }
    sim_say(sim, "cut %u around m%u", kind, victim);
    if (hit_chance(sim, 300)) { /* what was cut off may have much to write */
        stall(sim, sim->members[victim], 3 * SECOND);
    }
    heal_later(sim);
}

static void flap(struct sim *sim, const struct event *event)
{
    if (event->life != sim->cut_generation || sim->healed)
        return;
    unsigned other = (event->who + 1) % sim->slots;
    bool was = sim->cut[event->who][other];
    memset(sim->cut, 0, sizeof(sim->cut));
    if (!was)
        cut_one(sim, event->who, 0);
    sim_at(sim, sim->now_us + sim_around(sim, 400 * MS), EVENT_FLAP, event->who, event->life, NULL);
}

static void end_soon(struct node *member, bool power_off, enum end_in end_in, uint64_t calls)
{
    static const unsigned rarer[] = {[END_IN_ANY] = 1, [END_IN_SYNC] = 4, [END_IN_LATE_SYNC] = 16};
    member->end_in_calls = 1 + calls / rarer[end_in];
    member->end_in = end_in;
    member->end_by_power = power_off;
}

static enum end_in any_end(struct sim *sim)
{
    return (enum end_in)hit_below(sim, END_IN_COUNT);
}

static void hit_crash(struct sim *sim)
{
    struct node *member = any_member(sim);
    bool power_off = hit_chance(sim, 600);
    if (hit_chance(sim, 500)) {
        end_soon(member, power_off, any_end(sim), hit_below(sim, 40));
        return;
    }
    if (member->state != MEMBER_UP)
        return;
    *(power_off ? &sim->counts->power_off : &sim->counts->kill) += 1;
    member_end(member, power_off);
}

static void power_off_all(struct sim *sim)
{
    sim->counts->power_off_all++;
    for (unsigned i = 0; i < sim->slots; i++)
        member_end(sim->members[i], true);
}

void nemesis_rot(struct sim *sim, struct node *member, const char *suffix, bool flip)
{
    bool hit = flip ? disk_flip_bit(member->disk, suffix) : disk_misdirect(member->disk, suffix);
    if (!hit)
        return;
    member->suspect = true;
    *(flip ? &sim->counts->bit_flipped : &sim->counts->sector_misdirected) += 1;
    sim_say(sim, "m%u rots in a %s", member->at, suffix);
}

static void hit_rot(struct sim *sim)
{
    static const char *const suffixes[] = {".seg", ".seg", ".row", ".checkpoint", ".dead"};
    struct node *member = any_member(sim);
    unsigned suspects = 0;
    bool misdirects = sim->plan.misdirect_permille && hit_chance(sim, sim->plan.misdirect_permille);
    for (unsigned i = 0; i < sim->slots; i++) {
        suspects += sim->members[i]->suspect;
        if (misdirects && sim->members[i]->suspect) /* the same again */
            member = sim->members[i];
    }
    if (!member->suspect && (sim->changes ? !changes_may_break(sim, member)
                                          : suspects + 1 > (sim->plan.members - 1) / 2))
        return;
    const char *suffix = suffixes[hit_below(sim, 5)];
    bool flip = hit_chance(sim, 500);
    if (misdirects) {
        nemesis_rot(sim, member, ".seg", false);
        return;
    }
    /* Rows are checked when they are first used; rot at rest is not seen in what was read before.
     */
    if (member->state == MEMBER_UP && strcmp(suffix, ".row") == 0) {
        member->suspect = member->rots_in_rest = true;
        return;
    }
    nemesis_rot(sim, member, suffix, flip);
}

static void hit_full(struct sim *sim)
{
    struct node *member = any_member(sim);
    disk_set_room(member->disk, disk_used(member->disk) + hit_below(sim, 20000));
    member->full = true;
    member->full_until_us = sim->now_us + hit_around(sim, 4 * SECOND);
    sim->counts->disk_full++;
    sim_say(sim, "m%u has no room", member->at);
    sim_at(sim, member->full_until_us, EVENT_HEAL, member->at + 1, 0, NULL);
}

static void heal_full(struct node *member)
{
    disk_set_room(member->disk, 0);
    member->full = false;
}

/* Long enough that the others let go of what it lacks. */
static void hit_away(struct sim *sim)
{
    struct node *member = any_member(sim);
    if (member->state != MEMBER_UP || sim->plan.members == 1)
        return;
    member->away_until_us = sim->now_us + hit_around(sim, 4 * SECOND);
    if (member->away_until_us > sim->plan.chaos_us)
        member->away_until_us = sim->plan.chaos_us;
    sim->counts->away++;
    member_end(member, hit_chance(sim, 300));
}

static void stand_still(struct sim *sim, struct node *member, uint64_t us)
{
    if (!member_runs(member))
        return;
    member->paused_until_us = sim->now_us + us;
    if (member->paused_until_us > sim->plan.chaos_us)
        member->paused_until_us = sim->plan.chaos_us;
    sim->counts->paused++;
    sim_say(sim, "m%u stands still until %.3f ms", member->at,
            (double)member->paused_until_us / 1000);
}

static void hit_pause(struct sim *sim)
{
    struct node *member = any_member(sim);
    stand_still(sim, member, hit_around(sim, sim->plan.pause_us[hit_below(sim, 2)]));
}

static void hit(struct sim *sim, enum sim_hit kind)
{
    struct node *member = any_member(sim);
    switch (kind) {
    case HIT_crash:
        hit_crash(sim);
        break;
    case HIT_all:
        power_off_all(sim);
        break;
    case HIT_cut:
        hit_cut(sim);
        break;
    case HIT_pause:
        hit_pause(sim);
        break;
    case HIT_slow:
        member->slow_until_us = sim->now_us + hit_around(sim, 2 * SECOND);
        sim->counts->disk_slow++;
        break;
    case HIT_stall:
        stall(sim, member, 2 * SECOND);
        break;
    case HIT_error:
        member->error_in_calls = 1 + hit_below(sim, 20);
        break;
    case HIT_full:
        hit_full(sim);
        break;
    case HIT_rot:
        hit_rot(sim);
        break;
    case HIT_move:
        if (member->state == MEMBER_UP) {
            clients_move(sim->clients, member, any_member(sim)->id);
            sim->counts->leadership_moved++;
        }
        break;
    case HIT_clock:
        member_clock_jump(member, hit_around(sim, 2 * SECOND));
        break;
    case HIT_away:
        hit_away(sim);
        break;
    case HIT_chase:
    case HIT_last:
    case HIT_strike:
    case HIT_anew:
    case HIT_heard:
    case HIT_COUNT:
        CHECK(false);
    }
}

static uint64_t rate_us(const struct sim *sim, enum sim_hit kind)
{
    return sim->plan.rate_ms[kind] * MS;
}

/* Gives the nth hit of a kind its own random source. False: it is left out. */
static bool hit_begin(struct sim *sim, enum sim_hit kind)
{
    unsigned n = sim->hits[kind]++;
    prng_init(&sim->hit_prng, sim->options.seed ^ (uint64_t)(kind + 1) << 56 ^ (uint64_t)n << 40);
    struct sim_script *script = sim->options.script;
    if (!script || n >= SIM_HITS_MAX)
        return true;
    if (script->off[kind][n])
        return false;
    script->met[kind][n] = true;
    script->met_us[kind][n] = sim->now_us;
    return true;
}

void nemesis_strike(struct sim *sim, struct node *member)
{
    if (sim->healed || !hit_begin(sim, HIT_strike) || !hit_chance(sim, sim->plan.strike_permille) ||
        member->end_in_calls)
        return;
    member->end_in_calls = 1 + hit_below(sim, 200);
    member->end_by_power = hit_chance(sim, 700);
}

/* What is not in the log of changes yet comes to it with the next flush. */
void nemesis_checkpointed(struct sim *sim, struct node *member)
{
    if (sim->healed || !sim->plan.checkpoint_permille || !hit_begin(sim, HIT_strike) ||
        !hit_chance(sim, sim->plan.checkpoint_permille) || member->end_in_calls)
        return;
    end_soon(member, hit_chance(sim, 600), END_IN_ANY, hit_below(sim, 6));
}

/* The log names a store that has not taken its place yet. */
void nemesis_installs(struct sim *sim, struct node *member)
{
    if (sim->healed || !hit_begin(sim, HIT_anew) || !hit_chance(sim, sim->plan.strike_permille) ||
        member->end_in_calls)
        return;
    end_soon(member, hit_chance(sim, 700), END_IN_ANY, 1 + hit_below(sim, 16));
}

void nemesis_changed(struct sim *sim, struct node *member)
{
    if (!sim->changes || sim->healed || sim->now_us < 2 * SECOND || !hit_begin(sim, HIT_strike) ||
        !hit_chance(sim, sim->plan.strike_permille))
        return;
    switch (hit_below(sim, 4)) {
    case 0: /* the others hear of it, or do not */
    case 1:
        hit_cut(sim);
        break;
    case 2:
        member->end_in_calls = 1 + hit_below(sim, 10);
        member->end_by_power = hit_chance(sim, 600);
        break;
    default:
        sim->members[hit_below(sim, sim->slots)]->end_in_calls = 1 + hit_below(sim, 10);
        break;
    }
}

/* Who a change has removed; NULL: nobody that is there. */
static struct node *removed_at(struct sim *sim, uint64_t index)
{
    const struct roster *roster = oracle_roster(sim->oracle);
    const struct raft_id_set *before = &roster_at(roster, index - 1)->voters;
    for (uint32_t i = 0; i < before->count; i++)
        if (!raft_id_set_has(&roster_at(roster, index)->voters, before->ids[i]))
            return network_member(sim, before->ids[i]);
    return NULL;
}

/* A voter that does not know of the change, and has more of the log than this one, which does. */
static const struct node *unaware_ahead(struct sim *sim, const struct node *by, uint64_t index)
{
    const struct raft_id_set *voters = &roster_at(oracle_roster(sim->oracle), index)->voters;
    uint64_t last = stage_log_last_index(by->life->boot.log);
    for (uint32_t i = 0; i < voters->count; i++) {
        const struct node *other = network_member(sim, voters->ids[i]);
        if (other && other->state == MEMBER_UP && other->changed_index < index &&
            stage_log_last_index(other->life->boot.log) > last)
            return other;
    }
    return NULL;
}

/* Mostly who is removed knows first: with it gone, and another one lost, one alone of those that
 * are left knows by whom they are counted, and it is behind. */
void nemesis_change_heard(struct sim *sim, const struct node *by, uint64_t index)
{
    if (sim->plan.profile != PROFILE_leave || sim->healed || !hit_begin(sim, HIT_heard))
        return;
    const struct node *gone = removed_at(sim, index), *ahead = unaware_ahead(sim, by, index);
    if (!gone || gone == by || !ahead)
        return;
    cuts_clear(sim);
    cut_one(sim, gone->at, 0);
    heal_later(sim);
    sim_say(sim, "m%u is removed, as m%u knows, and is cut off", gone->at, by->at);
    changes_lose(sim, by, ahead);
}

static void hit_event(struct sim *sim, enum sim_hit kind)
{
    if (sim->healed)
        return;
    bool on = hit_begin(sim, kind);
    uint64_t next_us = sim->now_us + 1 + hit_around(sim, rate_us(sim, kind));
    if (on)
        hit(sim, kind);
    sim_at(sim, next_us, EVENT_NEMESIS, kind, 0, NULL);
}

/* A leader that has hardly begun: what it has and others lack stays so, and more such leaders leave
 * logs behind in which the same places hold entries of several terms. */
static void chase(struct sim *sim, struct node *leader)
{
    if (sim->healed || !hit_begin(sim, HIT_chase) || leader->state != MEMBER_UP ||
        hit_chance(sim, 250))
        return;
    sim->counts->leader_chased++;
    if (hit_chance(sim, 300))
        stall(sim, leader, 2 * SECOND);
    unsigned how = (unsigned)hit_below(sim, 10);
    if (how < 6 && sim->plan.members > 1) {
        cuts_clear(sim);
        cut_one(sim, leader->at, how == 0 ? 1 : 0);
        heal_later(sim);
        sim_say(sim, "m%u leads, and is cut off", leader->at);
    } else if (how < 8) {
        end_soon(leader, how == 6, any_end(sim), hit_below(sim, 4));
    } else {
        stand_still(sim, leader, hit_around(sim, 2500 * MS));
    }
}

void nemesis_elected(struct sim *sim, const struct node *member)
{
    if (sim->plan.rate_ms[HIT_chase] && !sim->healed)
        sim_at(sim, sim->now_us + sim_below(sim, 2 * rate_us(sim, HIT_chase)), EVENT_CHASE,
               member->at, 0, NULL);
}

/* Who has just come back is not yet as it was. */
void nemesis_booted(struct sim *sim, struct node *member)
{
    if (sim->healed || member->life_number == 1 || !sim_chance(sim, sim->plan.relapse_permille))
        return;
    enum end_in end_in = (enum end_in)sim_below(sim, END_IN_COUNT);
    end_soon(member, sim_chance(sim, 700), end_in, sim_below(sim, 24));
}

static void heal_event(struct sim *sim, const struct event *event)
{
    if (event->who == 0 && event->life == sim->cut_generation)
        cuts_clear(sim);
    else if (event->who > 0 && sim->members[event->who - 1]->full_until_us <= sim->now_us)
        heal_full(sim->members[event->who - 1]);
}

void nemesis_event(struct sim *sim, const struct event *event)
{
    if (event->kind == EVENT_NEMESIS)
        hit_event(sim, (enum sim_hit)event->who);
    else if (event->kind == EVENT_FLAP)
        flap(sim, event);
    else if (event->kind == EVENT_CHASE)
        chase(sim, sim->members[event->who]);
    else
        heal_event(sim, event);
}

void nemesis_start(struct sim *sim)
{
    for (unsigned kind = 0; kind < HIT_COUNT; kind++)
        if (kind != HIT_chase && rate_us(sim, (enum sim_hit)kind))
            sim_at(sim, SECOND + sim_around(sim, rate_us(sim, (enum sim_hit)kind)), EVENT_NEMESIS,
                   kind, 0, NULL);
}

/* What lies in the log must be enough, so in half of the runs everything stops at once first. */
void nemesis_end(struct sim *sim)
{
    sim->healed = true;
    sim->healed_us = sim->now_us;
    cuts_clear(sim);
    sim->plan.loss_permille = sim->plan.duplicate_permille = sim->plan.reorder_permille = 0;
    if (sim->changes) /* as streams deliver: in order, or who is new takes one entry a round */
        sim->plan.jitter_us = 0;
    for (unsigned i = 0; i < sim->slots; i++) {
        struct node *member = sim->members[i];
        heal_full(member);
        member->slow_until_us = member->stalls = 0;
        member->end_in_calls = member->error_in_calls = 0;
        member->paused_until_us = 0;
    }
    if (hit_begin(sim, HIT_last) && hit_chance(sim, 500))
        power_off_all(sim);
}
