/* Seeds, each in a process of its own: what a failed check or a lost pointer ends is one seed.
 * usage() lists the options; scripts/sim.sh has them explained.
 *
 * Exit: 0 nothing found, 1 a checker failed, 2 wrong use. */
#include "commit.h"
#include "shrink.h"
#include "sim.h"

#include "base/bug.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/crc.h"

#include <fcntl.h>
#include <getopt.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define SEED_LIMIT_S  120 /* of CPU: longer is a loop without end */
#define CRASH_LIMIT_S 7200
#define SHRINK_RUNS   400

struct shared {
    struct sim_counts counts;
    struct sim_script script;
    uint64_t trace;
};

struct run {
    uint64_t from, seeds, seconds;
    const char *file;
    bool fresh, of_commit, trace_hash, verbose, quiet, shrinks, lists_bugs, crash_points;
    struct sim_crash crash;
    unsigned members;
    enum sim_profile profile;
    const char *bug, *only, *without;
    struct shared *shared;
    uint64_t done, failed;
    uint64_t shrinking_seed;
};

__attribute__((noreturn)) static void child(const struct run *run, uint64_t seed, bool silent)
{
    struct sim_options options = {.seed = seed,
                                  .verbose = run->verbose && !silent,
                                  .members = run->crash_points ? 1 : run->members,
                                  .profile = run->crash_points ? PROFILE_any : run->profile,
                                  .crash = run->crash,
                                  .script = &run->shared->script};
    int nowhere = silent ? open("/dev/null", O_WRONLY | O_CLOEXEC) : -1;
    if (nowhere >= 0)
        CHECK(dup2(nowhere, STDERR_FILENO) >= 0);
    const struct itimerval limit = {.it_value.tv_sec =
                                        run->crash_points ? CRASH_LIMIT_S : SEED_LIMIT_S};
    CHECK(setitimer(ITIMER_PROF, &limit, NULL) == 0);
    run->shared->trace = sim_run(&options, &run->shared->counts);
    (void)fflush(stdout);
    _exit(0);
}

/* False: found something. */
static bool run_child(struct run *run, uint64_t seed, bool silent)
{
    (void)fflush(stdout);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0)
        child(run, seed, silent);
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return true;
    if (WIFSIGNALED(status) && !silent)
        fprintf(stderr, "seed %llu: ended by signal %d\n", (unsigned long long)seed,
                WTERMSIG(status));
    return false;
}

static bool fails_silently(void *ctx)
{
    struct run *run = ctx;
    return !run_child(run, run->shrinking_seed, true);
}

static void found(struct run *run, uint64_t seed)
{
    struct sim_script *script = &run->shared->script;
    run->failed++;
    fprintf(stderr,
            "found with seed %llu at commit " SIM_COMMIT
            "; again: scripts/sim.sh --from %llu "
            "--seeds 1 --verbose\n",
            (unsigned long long)seed, (unsigned long long)seed);
    if (!run->shrinks)
        return;
    run->shrinking_seed = seed;
    shrink(script, fails_silently, run, SHRINK_RUNS);
    fprintf(stderr, "needs no more than: ");
    script_print(script, stderr);
    (void)run_child(run, seed, false);
}

/* The script as the command line has it. False: wrong. */
static bool script_reset(struct run *run)
{
    struct sim_script *script = &run->shared->script;
    memset(script, 0, sizeof(*script));
    return (!run->only || script_parse_only(script, run->only)) &&
           (!run->without || script_parse_calm(script, run->without));
}

static bool run_seed(struct run *run, uint64_t seed)
{
    run->done++;
    (void)script_reset(run);
    bool fine = run_child(run, seed, false);
    uint64_t first = run->shared->trace;
    if (fine && run->trace_hash) {
        (void)script_reset(run);
        fine = run_child(run, seed, false);
        printf("seed %llu trace %016llx\n", (unsigned long long)seed, (unsigned long long)first);
        if (fine && run->shared->trace != first) {
            fprintf(stderr, "seed %llu: two runs differ, %016llx\n", (unsigned long long)seed,
                    (unsigned long long)run->shared->trace);
            fine = false;
        }
    }
    if (!fine)
        found(run, seed);
    return fine;
}

/* Lines of "SEED [words]"; # begins a comment. */
static bool run_file(struct run *run)
{
    FILE *file = fopen(run->file, "r");
    if (!file) {
        fprintf(stderr, "%s cannot be read\n", run->file);
        return false;
    }
    char line[512];
    bool fine = true;
    while (fgets(line, sizeof(line), file)) {
        char *end;
        unsigned long long seed = strtoull(line, &end, 10);
        if (line[0] != '#' && end != line)
            fine = run_seed(run, seed) && fine;
    }
    (void)fclose(file);
    return fine;
}

static void print_counts(const struct run *run, uint64_t wall_ms)
{
    const struct sim_counts *counts = &run->shared->counts;
    printf("seeds %llu, found %llu, simulated %.1f h in %.1f s\n", (unsigned long long)run->done,
           (unsigned long long)run->failed, (double)counts->simulated_us / 3600e6,
           (double)wall_ms / 1000);
#define X(name) printf("  %-20s %llu\n", #name, (unsigned long long)counts->name);
    printf("faults\n");
    SIM_FAULTS(X)
    printf("counts\n");
    SIM_COUNTS(X)
#undef X
}

/* ---- planted bugs -----------------------------------------------------------------------------
 */

static const struct {
    const char *name, *text;
} bugs[] = {
#define X(name, text) {#name, text},
#include "base/bug_table.h"
#undef X
};

static void list_bugs(void)
{
    for (size_t i = 0; i < sizeof(bugs) / sizeof(bugs[0]); i++)
        printf("%-32s %s\n", bugs[i].name, bugs[i].text);
}

/* False: there is none of this name, or this build has none. */
static bool plant(const char *name)
{
    for (size_t i = 0; i < sizeof(bugs) / sizeof(bugs[0]); i++) {
        if (strcmp(bugs[i].name, name) != 0)
            continue;
#ifdef CORACLE_BUGS
        bug_planted = (enum bug)(i + 1);
        return true;
#else
        fprintf(stderr, "this build has no planted bugs: -Dbugs=true\n");
        return false;
#endif
    }
    fprintf(stderr, "no bug is called %s; --bugs lists them\n", name);
    return false;
}

/* ---- the command line -------------------------------------------------------------------------
 */

static int usage(void)
{
    fprintf(
        stderr,
        "usage: sim [--from SEED | --fresh | --of-commit] [--seeds N] [--seconds S] [--file SEEDS] "
        "[--members N] [--profile NAME]\n"
        "           [--trace-hash] [--verbose] [--quiet] [--bug NAME | --bugs]\n"
        "           [--shrink] [--only HIT.N,...] [--without HARDSHIP,...]\n"
        "           [--crash-points [--stride N] [--cut CALL.STATE]]\n");
    return 2;
}

static bool number(const char *text, uint64_t *ret_value)
{
    char *end;
    *ret_value = strtoull(text, &end, 10);
    return *text && !*end && *text != '-';
}

static bool take_cut(struct run *run, const char *text)
{
    char *end;
    run->crash.call = strtoull(text, &end, 10);
    if (end == text || *end != '.' || run->crash.call == 0)
        return false;
    uint64_t state;
    if (!number(end + 1, &state) || state > 100)
        return false;
    run->crash.state = (unsigned)state;
    return true;
}

static bool take_profile(struct run *run, const char *name)
{
    static const char *const names[] = {
#define X(name) #name,
        SIM_PROFILES(X)
#undef X
    };
    for (unsigned i = 0; i < PROFILE_COUNT; i++) {
        if (strcmp(name, names[i]) != 0)
            continue;
        run->profile = (enum sim_profile)i;
        return true;
    }
    return false;
}

static bool take_option(struct run *run, int c)
{
    uint64_t members;
    switch (c) {
    case 'f':
        return number(optarg, &run->from);
    case 'n':
        return number(optarg, &run->seeds);
    case 's':
        return number(optarg, &run->seconds) && run->seconds > 0;
    case 'm':
        if (!number(optarg, &members) || members < 1 || members > SIM_FOUNDERS_MAX)
            return false;
        run->members = (unsigned)members;
        return true;
    case 'p':
        return take_profile(run, optarg);
    case 'F':
        run->file = optarg;
        return true;
    case 'S':
        return number(optarg, &run->crash.stride) && run->crash.stride > 0;
    case 'c':
        return take_cut(run, optarg);
    case 'b':
        run->bug = optarg;
        return true;
    case 'o':
        run->only = optarg;
        return true;
    case 'w':
        run->without = optarg;
        return true;
    default:
        return c == 0; /* a flag */
    }
}

static bool parse(struct run *run, int argc, char **argv)
{
    static int fresh, of_commit, trace_hash, verbose, quiet, shrinks, lists_bugs, crash_points;
    static const struct option options[] = {{"from", required_argument, NULL, 'f'},
                                            {"seeds", required_argument, NULL, 'n'},
                                            {"seconds", required_argument, NULL, 's'},
                                            {"file", required_argument, NULL, 'F'},
                                            {"members", required_argument, NULL, 'm'},
                                            {"profile", required_argument, NULL, 'p'},
                                            {"bug", required_argument, NULL, 'b'},
                                            {"only", required_argument, NULL, 'o'},
                                            {"without", required_argument, NULL, 'w'},
                                            {"stride", required_argument, NULL, 'S'},
                                            {"cut", required_argument, NULL, 'c'},
                                            {"crash-points", no_argument, &crash_points, 1},
                                            {"fresh", no_argument, &fresh, 1},
                                            {"of-commit", no_argument, &of_commit, 1},
                                            {"trace-hash", no_argument, &trace_hash, 1},
                                            {"verbose", no_argument, &verbose, 1},
                                            {"quiet", no_argument, &quiet, 1},
                                            {"shrink", no_argument, &shrinks, 1},
                                            {"bugs", no_argument, &lists_bugs, 1},
                                            {NULL, 0, NULL, 0}};
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
        if (!take_option(run, c))
            return false;
    run->fresh = fresh;
    run->of_commit = of_commit;
    run->trace_hash = trace_hash;
    run->verbose = verbose;
    run->quiet = quiet;
    run->shrinks = shrinks;
    run->lists_bugs = lists_bugs;
    run->crash_points = crash_points;
    run->crash.on = crash_points;
    return optind == argc && !(run->lists_bugs && run->bug) && script_reset(run);
}

/* Each commit has seeds of its own: others than those before it, and the same on every machine. */
static uint64_t seed_of_commit(void)
{
    const char *commit = SIM_COMMIT;
    return ((uint64_t)crc32c(0, bytes_str(commit)) << 20) + 1;
}

int main(int argc, char **argv)
{
    struct run run = {.from = 1, .profile = PROFILE_COUNT, .seeds = UINT64_MAX, .crash.stride = 1};
    run.shared =
        mmap(NULL, sizeof(*run.shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(run.shared != MAP_FAILED);
    if (!parse(&run, argc, argv))
        return usage();
    if (run.lists_bugs) {
        list_bugs();
        return 0;
    }
    if (run.bug && !plant(run.bug))
        return 2;
    if (run.fresh)
        run.from = clock_wall_ns() / 1000;
    if (run.of_commit)
        run.from = seed_of_commit();
    if (run.seeds == UINT64_MAX && !run.seconds)
        run.seeds = run.file ? 0 : run.crash_points ? 1 : 100;
    uint64_t start_ms = clock_mono_ms();
    bool fine = !run.file || run_file(&run);
    for (uint64_t i = 0; fine && i < run.seeds; i++) {
        if (run.seconds && clock_mono_ms() - start_ms >= run.seconds * 1000)
            break;
        fine = run_seed(&run, run.from + i);
    }
    if (!run.quiet)
        print_counts(&run, clock_mono_ms() - start_ms);
    return fine ? 0 : 1;
}
