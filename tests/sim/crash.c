/* Crash at every point: a workload without any fault is run once, and each of its file calls is cut
 * off in every way that the disk allows, each in a process of its own. The member must start again,
 * hold all that it had answered, and go on.
 *
 * What has not been synced can be there in more ways than anyone can try. Of each file and folder
 * these are: nothing of it; all of it; all bytes and no name; all names and no byte; what was
 * written first, up to a half or a quarter; what was written last, likewise; any sectors, twice.
 * And as it is when only the process ends. */
#include "sim.h"

#include "base/check.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct disk_fate fates[] = {
    {.kind = DISK_FATE_ALL, .names_permille = 1000},
    {.kind = DISK_FATE_NONE},
    {.kind = DISK_FATE_ALL},
    {.kind = DISK_FATE_NONE, .names_permille = 1000},
    {.kind = DISK_FATE_FIRST, .edge_permille = 500, .names_permille = 500},
    {.kind = DISK_FATE_FIRST, .edge_permille = 250, .names_permille = 1000},
    {.kind = DISK_FATE_LAST, .edge_permille = 500, .names_permille = 500},
    {.kind = DISK_FATE_LAST, .edge_permille = 250, .names_permille = 1000},
    {.kind = DISK_FATE_ANY, .names_permille = 1000},
    {.kind = DISK_FATE_ANY, .names_permille = 500},
};
#define FATES   (sizeof(fates) / sizeof(fates[0]))
#define STATES  (FATES + 1) /* and the process alone */
#define REST_US (6 * SECOND)

void crash_plan(struct sim *sim)
{
    struct sim_plan *plan = &sim->plan;
    plan->chaos_us = 14 * SECOND;
    plan->think_us = 15 * MS;
    plan->clients = 4;
    plan->keys = 12;
    plan->value_bytes = 0;
    plan->value_bytes_max = 4000;
    plan->large_permille = 100;
    plan->weight_put = 40;
    plan->weight_txn = 20;
    plan->weight_delete = 15;
    plan->weight_compact = 6;
    plan->weight_lease = 10;
    plan->drift = plan->flags_change = false;
    plan->relapse_permille = plan->checkpoint_permille = 0;
    plan->flags.log_segment_bytes = plan->flags.store_segment_bytes = 16384;
    plan->flags.checkpoint_bytes = 8192;
    plan->flags.snapshot_entries = 40;
    plan->flags.kept_entries = 10;
    memset(plan->rate_ms, 0, sizeof(plan->rate_ms));
}

/* The rest of a life that was cut: the member comes back, takes a write, and is as it must be. */
static enum disk_fault cut(struct node *member, unsigned state)
{
    struct sim *sim = member->sim;
    sim->options.crash.on = false;
    clients_stop(sim->clients);
    sim->healed = true;
    sim->healed_us = sim->now_us;
    for (unsigned step = 4; step < 8; step++)
        sim_at(sim, sim->now_us + REST_US * (step - 3) / 4, EVENT_END, step, 0, NULL);
    if (state == FATES)
        return DISK_KILL;
    disk_set_fate(member->disk, &fates[state]);
    return DISK_POWER_OFF;
}

enum disk_fault crash_before_call(struct node *member, const char *call, const char *name)
{
    struct sim *sim = member->sim;
    const struct sim_crash *crash = &sim->options.crash;
    uint64_t at = ++sim->crash_call;
    sim->counts->crash_calls++;
    if (crash->call ? at != crash->call : at % crash->stride)
        return DISK_FINE;
    for (unsigned state = 0; state < STATES; state++) {
        if (crash->call && state != crash->state)
            continue;
        if (crash->call)
            return cut(member, state);
        (void)fflush(stdout);
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0)
            return cut(member, state);
        int status;
        CHECK(waitpid(pid, &status, 0) == pid);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
            sim_fail(sim,
                     "call %llu (%s %s) cut in state %u; again: scripts/sim.sh --from %llu "
                     "--crash-points "
                     "--cut %llu.%u",
                     (unsigned long long)at, call, name, state,
                     (unsigned long long)sim->options.seed, (unsigned long long)at, state);
        sim->counts->crash_points++;
    }
    return DISK_FINE;
}
