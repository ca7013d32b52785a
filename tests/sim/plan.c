/* What a seed decides: the sizes of things, how often what breaks, and what a profile brings
 * together. */
#include "sim.h"

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
    if (plan->value_bytes_max > 10000) { /* or it would outgrow the simulated disk's files */
        plan->weight_compact += !plan->weight_compact;
        if (plan->think_us < 10 * MS && plan->large_permille > 30)
            plan->large_permille = 30;
    }
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
