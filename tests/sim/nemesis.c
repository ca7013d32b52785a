/* What a seed decides: the sizes of things, how often what breaks, and what each break is. */
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

/* ---- the plan ----------------------------------------------------------------------------------
 */

static unsigned sometimes(struct sim *sim, unsigned permille, unsigned lo, unsigned hi)
{
    unsigned value = lo + (unsigned)sim_below(sim, hi - lo + 1);
    return sim_chance(sim, permille) ? value : 0;
}

/* Small segments bring about much, but a busy cluster would fill its folders with them. */
static uint64_t segment_bytes(struct sim *sim)
{
    static const uint64_t sizes[] = {16384, 65536, 262144, 1048576};
    uint64_t bytes = sizes[sim_below(sim, 3)];
    unsigned busy = (sim->plan.think_us < 10 * MS) + (sim->plan.value_bytes_max > 10000);
    return busy ? sizes[1 + busy] : bytes;
}

/* So that who is away for a moment lacks what the log no longer has. */
static void flags_release_often(struct sim *sim, struct sim_flags *flags)
{
    flags->snapshot_entries = 3 + (unsigned)sim_below(sim, 30);
    flags->kept_entries = 1 + (unsigned)sim_below(sim, 10);
    flags->log_segment_bytes = sim->plan.value_bytes_max > 10000 ? 262144 : 16384;
}

void nemesis_flags(struct sim *sim, struct sim_flags *ret_flags)
{
    static const unsigned ops[] = {0, 1, 3, 16};
    static const size_t message_bytes[] = {0, 0, 1, 3000};
    *ret_flags = (struct sim_flags){.pre_vote = sim_chance(sim, 700),
                                    .snapshot_entries = 20 + (unsigned)sim_below(sim, 1000),
                                    .kept_entries = 1 + (unsigned)sim_below(sim, 300),
                                    .log_segment_bytes = segment_bytes(sim),
                                    .store_segment_bytes = segment_bytes(sim),
                                    .checkpoint_bytes = 8192 + sim_below(sim, 100000),
                                    .log_cache_bytes = sim_chance(sim, 500) ? 0 : 4096,
                                    .apply_ops_max = ops[sim_below(sim, 4)],
                                    .message_bytes = message_bytes[sim_below(sim, 4)]};
    /* What is as small as a simulated store would else be read from memory alone. */
    static const size_t tail_bytes[] = {0, 1, 2000, 20000};
    ret_flags->tail_bytes = tail_bytes[sim_below(sim, 4)];
    if (sim->plan.change_permille)
        ret_flags->pre_vote = true; /* as plan_more() says */
    if (sim->plan.profile == PROFILE_churn || sim->plan.profile == PROFILE_leases) {
        /* Who writes much fills thousands of them, for which the simulated disk has no room. */
        bool much = sim->plan.think_us < 50 * MS || sim->plan.value_bytes_max > 1000;
        ret_flags->store_segment_bytes = much ? 262144 : 16384;
        ret_flags->checkpoint_bytes = sim->plan.checkpoint_permille ? 1024 : 8192;
    }
    if (sim->plan.profile == PROFILE_chase && sim_chance(sim, 600))
        ret_flags->message_bytes = 1;
    if (sim->plan.release_often)
        flags_release_often(sim, ret_flags);
}

/* From a source of its own, so that what else a seed means stays. */
static void plan_more(struct sim *sim)
{
    struct sim_plan *plan = &sim->plan;
    struct prng saved = sim->prng;
    prng_init(&sim->prng, sim->options.seed ^ UINT64_C(0x6d656d6265727321));
    /* A leader whose store is rotten cannot send its state, and goes on to lead. */
    bool rotten = plan->profile == PROFILE_even;
    plan->release_log = plan->release_log || (!rotten && sim_chance(sim, 650));
    plan->release_often = plan->release_log && plan->members > 1 && sim_chance(sim, 500);
    if (plan->release_often) {
        flags_release_often(sim, &plan->flags);
        plan->rate_ms[HIT_away] = 1000 + (unsigned)sim_below(sim, 8000);
    }
    plan->stream_cut_permille = sometimes(sim, 400, 1, 150);
    plan->strike_permille = sometimes(sim, 600, 50, 400);
    plan->change_permille = sometimes(sim, 330, 50, 500);
    plan->strict_reconfig = sim_chance(sim, 700);
    if (plan->profile == PROFILE_leave) {
        plan->change_permille = 500;
        plan->strike_permille = 0;
        plan->strict_reconfig = false;
    }
    if (sim->options.crash.on)
        plan->change_permille = 0;
    /* Without a pre-vote, who was promoted unheard asks for votes in vain: a refusal does not tell
     * it of the higher term, and who campaigns on and on does not ask it. */
    if (plan->change_permille)
        plan->flags.pre_vote = true;
    unsigned more = 2 + (unsigned)sim_below(sim, 3);
    sim->slots = plan->members;
    if (plan->change_permille)
        sim->slots +=
            more < SIM_MEMBERS_MAX - plan->members ? more : SIM_MEMBERS_MAX - plan->members;
    plan->worker_us = sim_chance(sim, 600) ? 2 * MS : 20 * MS + sim_below(sim, 500 * MS);
    if (plan->worker_us > 2 * MS && sim_chance(sim, 600)) /* a worker writes what is cut already */
        plan->stream_cut_permille = 10 + (unsigned)sim_below(sim, 40);
    sim->prng = saved;
}

static void profile_churn(struct sim *sim, struct sim_plan *plan)
{
    plan->keys = 3 + (unsigned)sim_below(sim, 10);
    plan->think_us = 15 * MS + sim_below(sim, 30 * MS);
    plan->value_bytes_max = 4000;
    plan->value_bytes = 0;
    plan->large_permille = 300;
    plan->weight_delete = 5 + (unsigned)sim_below(sim, 20);
    plan->weight_compact = 1 + (unsigned)sim_below(sim, 20);
    if (sim_chance(sim, 500)) { /* what one compaction leaves is there for a while */
        plan->weight_compact = 1;
        plan->weight_put = 150;
        plan->weight_delete = 80;
    }
    plan->weight_list = sim_chance(sim, 500) ? 60 : 2;
    plan->rate_ms[HIT_crash] = sometimes(sim, 800, 500, 3000);
    plan->rate_ms[HIT_rot] = plan->rate_ms[HIT_full] = 0;
}

/* A record of 60 bytes of value takes 128: where many come with one flush, so that few frames lie
 * between them, many sectors have them at the same places. What was overwritten stays readable. */
static void profile_even(struct sim *sim, struct sim_plan *plan)
{
    plan->keys = 4 + (unsigned)sim_below(sim, 12);
    plan->members = plan->members < 3 ? 3 : plan->members;
    plan->clients = 3 + (unsigned)sim_below(sim, 6);
    plan->think_us = 5 * MS + sim_below(sim, 20 * MS);
    plan->chaos_us = 8 * SECOND + sim_below(sim, 15 * SECOND);
    plan->value_bytes = 60;
    plan->large_permille = plan->weight_delete = plan->weight_txn = plan->weight_lease = 0;
    plan->weight_serial = plan->weight_past = 15;
    if (sim_chance(sim, 600))
        plan->weight_compact = 0;
    memset(plan->rate_ms, 0, sizeof(plan->rate_ms));
    plan->rate_ms[HIT_rot] = 300 + (unsigned)sim_below(sim, 1000);
    plan->misdirect_permille = 900;
}

/* Leases end between the moment of a checkpoint and its publishing, and the member with that. */
static void leases_in_checkpoints(struct sim *sim, struct sim_plan *plan)
{
    plan->think_us = 20 * MS + sim_below(sim, 80 * MS);
    plan->rate_ms[HIT_slow] = 500 + (unsigned)sim_below(sim, 2000);
    plan->checkpoint_permille = 100;
}

/* Who led, and wakes up after another has come to lead, has questions waiting about leases that it
 * still takes for its own: long ones, and not asked of the other one since. */
static void leases_in_pauses(struct sim *sim, struct sim_plan *plan)
{
    plan->leader_permille = 800;
    plan->pause_us[0] = 4 * SECOND;
    plan->pause_us[1] = 5 * SECOND;
    plan->lease_ttls = 10;
    memset(plan->rate_ms, 0, sizeof(plan->rate_ms));
    plan->rate_ms[HIT_pause] = 12000; /* who leads then does so until its leases end */
    plan->chaos_us = 40 * SECOND + sim_below(sim, 20 * SECOND);
    plan->clients_stay = true;
    plan->clients = 5 + (unsigned)sim_below(sim, 4);
    plan->think_us = 100 * MS + sim_below(sim, 400 * MS);
    plan->patience_us = 600 * MS;
    plan->weight_linear = plan->weight_serial = plan->weight_past = 0;
}

static void profile_leases(struct sim *sim, struct sim_plan *plan)
{
    plan->weight_lease = 200;
    plan->weight_put = 10;
    plan->weight_txn = plan->weight_delete = plan->weight_list = 0;
    plan->clients = 2 + (unsigned)sim_below(sim, 4);
    plan->think_us = 200 * MS + sim_below(sim, 800 * MS);
    plan->patience_us = 300 * MS;
    plan->members = plan->members < 3 ? 3 : plan->members;
    plan->rate_ms[HIT_pause] = 1500 + (unsigned)sim_below(sim, 4000);
    plan->rate_ms[HIT_clock] = plan->rate_ms[HIT_rot] = 0;
    plan->rate_ms[HIT_crash] = sometimes(sim, 300, 1000, 8000);
    if (sim_chance(sim, 500))
        leases_in_checkpoints(sim, plan);
    else
        leases_in_pauses(sim, plan);
}

/* The power goes wherever several writes wait for one sync, over and over. */
static void profile_power(struct sim *sim, struct sim_plan *plan)
{
    memset(plan->rate_ms, 0, sizeof(plan->rate_ms));
    plan->rate_ms[HIT_crash] = 100 + (unsigned)sim_below(sim, 600);
    plan->rate_ms[HIT_all] = sometimes(sim, 300, 1000, 5000);
    plan->restart_us = 50 * MS;
    plan->clients = 1 + (unsigned)sim_below(sim, 4);
    plan->think_us = 2 * MS + sim_below(sim, 30 * MS);
    plan->chaos_us = 10 * SECOND + sim_below(sim, 20 * SECOND);
    plan->value_bytes_max = 1000;
    plan->large_permille = 50;
}

/* An answer and what it brings about are under way for so long. */
static unsigned few_ways_ms(const struct sim_plan *plan)
{
    return (unsigned)((plan->delay_us + plan->jitter_us) * 2 / MS);
}

static void profile_chase(struct sim *sim, struct sim_plan *plan)
{
    plan->members = plan->members < 3 ? 5 : plan->members;
    plan->clients = 1 + (unsigned)sim_below(sim, 3);
    plan->think_us = 50 * MS + sim_below(sim, 300 * MS);
    plan->chaos_us *= 2;
    plan->rate_ms[HIT_chase] = sim_chance(sim, 800) ? 1 + few_ways_ms(plan) : 600;
    plan->rate_ms[HIT_rot] = plan->rate_ms[HIT_cut] = 0;
    plan->rate_ms[HIT_stall] = sometimes(sim, 500, 500, 3000);
    plan->weight_list = 0;
}

/* Entries on their way whenever a change is committed, and some of them lost. */
static void profile_leave(struct sim *sim, struct sim_plan *plan)
{
    plan->members = 3;
    plan->clients = 3 + (unsigned)sim_below(sim, 6);
    plan->think_us = 2 * MS + sim_below(sim, 20 * MS);
    plan->chaos_us = 15 * SECOND + sim_below(sim, 15 * SECOND);
    plan->loss_permille = 20 + (unsigned)sim_below(sim, 200);
    plan->value_bytes_max = 500;
    plan->large_permille = 20;
    memset(plan->rate_ms, 0, sizeof(plan->rate_ms));
    plan->rate_ms[HIT_cut] = sometimes(sim, 300, 2000, 8000);
}

static void nemesis_profile(struct sim *sim, struct sim_plan *plan)
{
    unsigned profile = (unsigned)sim_below(sim, 12);
    plan->profile = profile < PROFILE_COUNT ? (enum sim_profile)profile : PROFILE_any;
    if (sim->options.profile != PROFILE_COUNT)
        plan->profile = sim->options.profile;
    switch (plan->profile) {
    case PROFILE_churn:
        profile_churn(sim, plan);
        break;
    case PROFILE_even:
        profile_even(sim, plan);
        break;
    case PROFILE_leases:
        profile_leases(sim, plan);
        break;
    case PROFILE_chase:
        profile_chase(sim, plan);
        break;
    case PROFILE_power:
        profile_power(sim, plan);
        break;
    case PROFILE_leave:
        profile_leave(sim, plan);
        break;
    case PROFILE_any:
    case PROFILE_COUNT:
        break;
    }
}

/* Each seed leaves some faults out and makes others frequent: what all of them together would
 * drown, few of them bring about (swarm testing; Groce et al., 2012). */
void nemesis_plan(struct sim *sim)
{
    static const unsigned members[] = {1, 1, 3, 3, 3, 3, 3, 5};
    struct sim_plan *plan = &sim->plan;
    plan->members = sim->options.members ? sim->options.members : members[sim_below(sim, 8)];
    plan->clients = 1 + (unsigned)sim_below(sim, SIM_CLIENTS_MAX);
    plan->chaos_us = 10 * SECOND + sim_below(sim, 50 * SECOND);
    plan->calm_us = 24 * SECOND;
    plan->loss_permille = sometimes(sim, 500, 1, 100);
    plan->duplicate_permille = sometimes(sim, 400, 1, 100);
    plan->reorder_permille = sometimes(sim, 400, 1, 100);
    plan->delay_us = sim_below(sim, 2) ? sim_below(sim, 1000) : sim_below(sim, 30 * MS);
    plan->jitter_us = sim_below(sim, 2) ? sim_below(sim, 500) : sim_below(sim, 40 * MS);
    plan->rate_ms[HIT_crash] = sometimes(sim, 700, 500, 8000);
    plan->rate_ms[HIT_all] = sometimes(sim, 250, 3000, 20000);
    plan->rate_ms[HIT_cut] = sometimes(sim, 500, 1000, 10000);
    plan->rate_ms[HIT_pause] = sometimes(sim, 400, 1000, 10000);
    plan->rate_ms[HIT_slow] = sometimes(sim, 300, 2000, 10000);
    plan->rate_ms[HIT_stall] = sometimes(sim, 300, 2000, 10000);
    plan->rate_ms[HIT_error] = sometimes(sim, 300, 2000, 15000);
    plan->rate_ms[HIT_full] = sometimes(sim, 200, 3000, 15000);
    plan->rate_ms[HIT_rot] = plan->members > 2 ? sometimes(sim, 250, 1000, 10000) : 0;
    plan->rate_ms[HIT_move] = sometimes(sim, 200, 1000, 10000);
    plan->rate_ms[HIT_clock] = sometimes(sim, 200, 1000, 10000);
    plan->leader_permille = 300;
    plan->pause_us[0] = 1500 * MS;
    plan->pause_us[1] = 4 * SECOND;
    plan->lease_ttls = 6;
    plan->think_us = sim_chance(sim, 150) ? 2 * MS : 20 * MS + sim_below(sim, 300 * MS);
    plan->restart_us = 800 * MS;
    plan->patience_us = sim_chance(sim, 400) ? 200 * MS + sim_below(sim, SECOND) : 9 * SECOND;
    plan->value_bytes_max = sim_chance(sim, 100) ? 100000 : 4000;
    plan->value_bytes = sim_chance(sim, 250) ? 24 + (unsigned)sim_below(sim, 5) * 8 : 0;
    plan->large_permille = sim_chance(sim, 300) ? 500 : (unsigned)sim_below(sim, 150);
    plan->keys = 2 + (unsigned)sim_below(sim, SIM_KEYS - 2);
    plan->weight_put = 20 + (unsigned)sim_below(sim, 40);
    plan->weight_txn = (unsigned)sim_below(sim, 30);
    plan->weight_delete = (unsigned)sim_below(sim, 20);
    plan->weight_linear = (unsigned)sim_below(sim, 40);
    plan->weight_serial = (unsigned)sim_below(sim, 20);
    plan->weight_past = (unsigned)sim_below(sim, 20);
    plan->weight_compact = (unsigned)sim_below(sim, 6);
    plan->weight_lease = sim_chance(sim, 500) ? (unsigned)sim_below(sim, 30) : 0;
    if (sim_chance(sim, 100))
        plan->weight_lease = 200;
    plan->watchers = sim_chance(sim, 600) ? 1 + (unsigned)sim_below(sim, SIM_WATCHERS_MAX) : 0;
    plan->weight_list = sim_chance(sim, 100) ? 60 : (unsigned)sim_below(sim, 6);
    plan->rate_ms[HIT_chase] = sometimes(sim, 100, 50, 1500);
    plan->relapse_permille = sometimes(sim, 400, 50, 400);
    nemesis_profile(sim, plan);
    nemesis_flags(sim, &plan->flags);
    plan->drift = sim_chance(sim, 300);
    plan->flags_change = sim_chance(sim, 300);
    plan->release_log = plan->members == 1;
    plan_more(sim);
    const struct sim_script *script = sim->options.script;
    if (!script)
        return;
    plan->loss_permille *= !script->calm[HARDSHIP_loss];
    plan->duplicate_permille *= !script->calm[HARDSHIP_duplicate];
    plan->reorder_permille *= !script->calm[HARDSHIP_reorder];
    plan->drift &= !script->calm[HARDSHIP_drift];
    plan->flags_change &= !script->calm[HARDSHIP_flags];
    plan->relapse_permille *= !script->calm[HARDSHIP_relapse];
}
