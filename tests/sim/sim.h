/* A whole cluster in one process, broken on purpose: production members (replica, log, store, the
 * way a member boots and its core carries effects out) under one clock, network and set of disks,
 * all of it decided by one seed.
 *
 *     main.c      seeds, child processes, counting
 *     sim.c       the clock and its events
 *     plan.c      what a seed decides: sizes, rates, profiles
 *     nemesis.c   what breaks when
 *     shrink.c    which of the faults a failure needs
 *     member.c    one member: boot, stages, passes, its ends
 *     network.c   messages between members
 *     snapshot.c  states on their way to members that lack what the log no longer has
 *     client.c    clients and what they may see
 *     change.c    members that are added, promoted, replaced, removed
 *     oracle.c    what every member must agree on
 *     quorum.c    by whom it is decided
 *     roster.c    who the members are, entry by entry
 *     model.c     what the committed entries come to
 *     disk.c      files
 *
 * The fault model. What is not named does not happen.
 *   messages    lost, delayed, reordered, duplicated (proposals are never duplicated: a stream
 *               delivers at most once), cut: both ways, one way, in two halves, flapping
 *   process     killed or without power at any file call and between any two events; several at
 *               once, all at once; stopped (SIGSTOP) for longer than an election; started again
 *               with other flags, sizes and bounds
 *   disk        see disk.h; a write or sync fails; no room; slow; one sync stalls for longer than
 *               an election; a bit flips or a sector lands in the wrong place at rest, on fewer
 *               than half of the members, and not in the newest segment of the write-ahead log:
 *               behind its last mark rot and a torn write look the same, so there a quorum could
 *               forget what it promised
 *   clock       each member's runs up to 2 % fast or slow, and jumps ahead; a stopped process sees
 *               it jump
 *   states      sent to whoever lacks what the log no longer has: cut at any piece; the receiver
 *               ends at any file call of taking, staging and installing one
 *   members     added as learners or voters, promoted (too soon too), removed at any time, started
 *               again after that; one whose disk is lost is replaced, at its address or another;
 *               as long as enough voters are left for whatever of it comes true
 *   clients     give up at any time; what became of the request is then unknown
 *
 * What must hold is said where it is checked: oracle.c, client.c, member.c. */
#pragma once

#include "base/bytes.h"
#include "base/prng.h"
#include "disk.h"
#include "model.h"
#include "mvcc/watch.h"
#include "raft/types.h"
#include "replica/replica.h"

#include <stdio.h>

#define SIM_FOUNDERS_MAX 5
#define SIM_MEMBERS_MAX  8 /* places; one that was left is taken again */
#define SIM_CLIENTS_MAX  8
#define SIM_WATCHERS_MAX 8
#define SIM_KEYS         24
#define MS               UINT64_C(1000)
#define SECOND           UINT64_C(1000000)

/* ---- counting -------------------------------------------------------------------------------- */

#define SIM_FAULTS(X)     \
    X(message_lost)       \
    X(message_delayed)    \
    X(message_reordered)  \
    X(message_duplicated) \
    X(message_cut)        \
    X(cut_both_ways)      \
    X(cut_one_way)        \
    X(cut_in_halves)      \
    X(cut_flapping)       \
    X(cut_at_random)      \
    X(leader_chased)      \
    X(kill)               \
    X(kill_in_call)       \
    X(power_off)          \
    X(power_off_in_call)  \
    X(power_off_all)      \
    X(power_off_in_boot)  \
    X(sectors_dropped)    \
    X(sectors_kept)       \
    X(sectors_reordered)  \
    X(sectors_evicted)    \
    X(names_lost)         \
    X(write_error)        \
    X(sync_error)         \
    X(disk_full)          \
    X(disk_slow)          \
    X(sync_stalled)       \
    X(bit_flipped)        \
    X(sector_misdirected) \
    X(paused)             \
    X(clock_drifted)      \
    X(clock_jumped)       \
    X(flags_changed)      \
    X(leadership_moved)   \
    X(snapshot_sent)      \
    X(snapshot_cut)       \
    X(crash_in_install)   \
    X(away)               \
    X(member_added)       \
    X(member_removed)     \
    X(member_promoted)    \
    X(member_replaced)    \
    X(disk_lost)          \
    X(left_started)       \
    X(client_gave_up)

#define SIM_COUNTS(X)  \
    X(simulated_us)    \
    X(events)          \
    X(boots)           \
    X(boots_refused)   \
    X(joins_refused)   \
    X(elections)       \
    X(entries)         \
    X(writes_answered) \
    X(writes_failed)   \
    X(reads_linear)    \
    X(reads_serial)    \
    X(reads_past)      \
    X(compactions)     \
    X(lists)           \
    X(leases_asked)    \
    X(leases_ended)    \
    X(watch_begun)     \
    X(watch_events)    \
    X(watch_progress)  \
    X(watch_compacted) \
    X(state_compared)  \
    X(hash_compared)   \
    X(checkpoints)     \
    X(cleanings)       \
    X(installs)        \
    X(crash_calls)     \
    X(crash_points)

struct sim_counts {
#define X(name) uint64_t name;
    SIM_FAULTS(X)
    SIM_COUNTS(X)
#undef X
};

/* ---- the simulation -------------------------------------------------------------------------- */

enum event_kind {
    EVENT_PASS,
    EVENT_LOG_DONE,
    EVENT_LOG_TICK,
    EVENT_STORE_DONE,
    EVENT_STORE_TICK,
    EVENT_BOOT,
    EVENT_PACKET,
    EVENT_ASK,
    EVENT_JOB,
    EVENT_STREAM,
    EVENT_CHANGE,
    EVENT_CLIENT,
    EVENT_WATCH,
    EVENT_NEMESIS,
    EVENT_LINKS,
    EVENT_FLAP,
    EVENT_CHASE,
    EVENT_HEAL,
    EVENT_CALM,
    EVENT_END,
    EVENT_KINDS
};

struct event {
    uint64_t at_us;
    uint64_t order;
    enum event_kind kind;
    unsigned who;
    uint64_t life; /* of the member: events of a former one are dropped */
    void *what;
};

struct sim;
struct changes;
struct quorum;
struct roster;
struct oracle;
struct clients;
struct node;

/* What may be done to a cluster now and then. Each has a rate of its own; the nth of its kind does
 * the same to the same member however many others there are, so that some can be left out. */
#define SIM_HITS(X) \
    X(crash)        \
    X(all)          \
    X(cut)          \
    X(pause)        \
    X(slow)         \
    X(stall)        \
    X(error)        \
    X(full)         \
    X(rot)          \
    X(move)         \
    X(clock)        \
    X(last)         \
    X(strike)       \
    X(away)         \
    X(chase)        \
    X(anew)         \
    X(heard)
enum sim_hit {
#define X(name) HIT_##name,
    SIM_HITS(X)
#undef X
        HIT_COUNT
};
#define SIM_HITS_MAX 256 /* of one kind in a run */

/* What goes on all the time, and can be left out as a whole. */
#define SIM_HARDSHIPS(X) \
    X(loss)              \
    X(duplicate)         \
    X(reorder)           \
    X(drift)             \
    X(flags)             \
    X(relapse)
enum sim_hardship {
#define X(name) HARDSHIP_##name,
    SIM_HARDSHIPS(X)
#undef X
        HARDSHIP_COUNT
};

/* Shared with whoever runs the seed. */
struct sim_script {
    bool off[HIT_COUNT][SIM_HITS_MAX], calm[HARDSHIP_COUNT]; /* left out */
    bool met[HIT_COUNT][SIM_HITS_MAX];                       /* came up in this run */
    uint64_t met_us[HIT_COUNT][SIM_HITS_MAX];
};

/* See crash.c. */
struct sim_crash {
    bool on;
    uint64_t stride; /* every so many calls */
    uint64_t call;   /* that one alone, in this state; 0: all */
    unsigned state;
};

/* What a seed is about: some failures need several rare things at once, which ordinary weights
 * seldom bring together. */
#define SIM_PROFILES(X)                                                                    \
    X(any)                                                                                 \
    X(churn)  /* few keys, compacted and cleaned all the time, with readers and crashes */ \
    X(even)   /* records of one size on disks that write them to each other's places */    \
    X(leases) /* little but leases, on members that stand still */                         \
    X(chase)  /* whoever leads does not do so for long */                                  \
    X(power)  /* the power goes all the time, with writes on their way */                  \
    X(leave)  /* members are removed, of which one that is left knows, and another is lost */
enum sim_profile {
#define X(name) PROFILE_##name,
    SIM_PROFILES(X)
#undef X
        PROFILE_COUNT
};

struct sim_options {
    uint64_t seed;
    bool verbose;
    unsigned members;         /* 0: the seed decides */
    enum sim_profile profile; /* PROFILE_COUNT: the seed decides */
    struct sim_script *script;
    struct sim_crash crash;
};

/* What an operator sets, and may set otherwise at the next start. */
struct sim_flags {
    bool pre_vote;
    unsigned snapshot_entries, kept_entries;
    uint64_t log_segment_bytes, store_segment_bytes, checkpoint_bytes;
    size_t log_cache_bytes; /* 0: as usual */
    unsigned apply_ops_max; /* likewise */
    size_t message_bytes;   /* likewise */
    size_t tail_bytes;      /* likewise; of changes that a read finds in memory */
};

/* What the seed has chosen: rates are means between two, in ms; 0: never. The chase's is the time
 * that a new leader is left alone. */
struct sim_plan {
    enum sim_profile profile;
    unsigned members, clients, watchers;
    uint64_t chaos_us; /* so long is everything allowed to break */
    uint64_t calm_us;  /* and so long all must be well again */
    unsigned loss_permille, duplicate_permille, reorder_permille;
    uint64_t delay_us, jitter_us;
    unsigned rate_ms[HIT_COUNT];
    unsigned leader_permille; /* of what hits a member: besides its share */
    uint64_t pause_us[2];
    unsigned misdirect_permille; /* of rot: sectors of segments, on one member */
    unsigned lease_ttls;         /* so many lengths of leases, in seconds */
    bool clients_stay;           /* each at one member, with one lease */
    uint64_t think_us, patience_us, restart_us;
    unsigned value_bytes; /* of most; 0: any */
    unsigned value_bytes_max, large_permille;
    unsigned keys;
    unsigned weight_put, weight_txn, weight_delete, weight_linear, weight_serial, weight_past,
        weight_compact, weight_lease, weight_list;
    struct sim_flags flags;
    bool drift, flags_change;
    unsigned relapse_permille; /* of those that start again end soon after */
    bool release_log, release_often;
    unsigned stream_cut_permille; /* a step of a state on its way */
    unsigned strike_permille;     /* what has just begun is broken in the middle */
    unsigned checkpoint_permille; /* who has just published a checkpoint ends */
    uint64_t worker_us;           /* until a worker has done what it is given */
    unsigned change_permille;     /* of members; 0: they stay */
    bool strict_reconfig;
};

struct sim {
    struct sim_options options;
    struct sim_plan plan;
    struct sim_counts *counts;
    struct prng prng;
    struct prng hit_prng; /* of the hit that is being made */
    unsigned hits[HIT_COUNT];
    uint64_t now_us;
    uint64_t trace; /* hash of all that happened */
    struct event *heap;
    size_t heap_count, heap_cap;
    uint64_t next_order;
    struct node *members[SIM_MEMBERS_MAX];
    struct oracle *oracle;
    struct model *model;
    struct clients *clients;
    bool cut[SIM_MEMBERS_MAX][SIM_MEMBERS_MAX]; /* from, to */
    bool linked[SIM_MEMBERS_MAX][SIM_MEMBERS_MAX];
    unsigned cut_generation;
    bool healed, ended;
    uint64_t crash_call;    /* file calls so far */
    uint64_t settled_index; /* what all have applied at the end */
    uint64_t healed_us;
    uint64_t jumped_us;       /* when a clock last did */
    uint64_t rotten_ended_us; /* when a member with rotten bytes last did; 0: none */
    struct stream *streams;
    struct changes *changes; /* NULL: members stay */
    unsigned slots;          /* places that may be taken */
};

/* Runs one seed to its end. Returns the trace's hash; a checker that fails ends the process. */
uint64_t sim_run(const struct sim_options *options, struct sim_counts *counts);

/* A checker's verdict: prints it with all that is needed to see it again; ends the process. */
__attribute__((noreturn, format(printf, 2, 3))) void sim_fail(struct sim *sim, const char *format,
                                                              ...);
__attribute__((format(printf, 2, 3))) void sim_say(struct sim *sim, const char *format, ...);
void sim_note(struct sim *sim, uint64_t what, uint64_t more);
void sim_at(struct sim *sim, uint64_t at_us, enum event_kind kind, unsigned who, uint64_t life,
            void *what);
static inline uint64_t sim_below(struct sim *sim, uint64_t bound)
{
    return prng_below(&sim->prng, bound);
}
static inline bool sim_chance(struct sim *sim, unsigned permille)
{
    return prng_below(&sim->prng, 1000) < permille;
}
/* An interval around the mean, a few much longer. */
uint64_t sim_around(struct sim *sim, uint64_t mean);

/* ---- changes of members -----------------------------------------------------------------------
 */

void changes_start(struct sim *sim);
void changes_free(struct sim *sim);
void changes_event(struct sim *sim, unsigned who);
void changes_answered(struct sim *sim, uint64_t serial, err error);
void changes_unanswered(struct sim *sim, uint64_t serial);
/* Whether the others are enough, whatever comes of what was asked for, when this one never comes
 * back. */
bool changes_may_break(struct sim *sim, const struct node *member);
/* It is no member, or may cease to be one at any time. */
bool changes_may_leave(struct sim *sim, const struct node *member);
/* A change was applied for the first time. */
void changes_look(struct sim *sim, const struct quorum *quorum);
/* Some member's disk is to be lost soon, neither of these two's. */
void changes_lose(struct sim *sim, const struct node *but, const struct node *nor);
void changes_check_last(struct sim *sim);

/* ---- the nemesis ------------------------------------------------------------------------------
 */

void nemesis_plan(struct sim *sim);
void nemesis_flags(struct sim *sim, struct sim_flags *ret_flags);
void nemesis_rot(struct sim *sim, struct node *member, const char *suffix, bool flip);
void nemesis_start(struct sim *sim);
void nemesis_event(struct sim *sim, const struct event *event);
void nemesis_booted(struct sim *sim, struct node *member);
void nemesis_elected(struct sim *sim, const struct node *member);
/* Something has just begun that is best broken in the middle. */
void nemesis_strike(struct sim *sim, struct node *member);
/* A start would begin with another checkpoint. */
void nemesis_checkpointed(struct sim *sim, struct node *member);
/* It has recorded a state that it received, and ends its life to begin anew with it. */
void nemesis_installs(struct sim *sim, struct node *member);
/* The first to apply a change of members. */
void nemesis_changed(struct sim *sim, struct node *member);
/* Two know of the change at `index`, the newest of the two by now. */
void nemesis_change_heard(struct sim *sim, const struct node *by, uint64_t index);
/* Nothing breaks from here on. */
void nemesis_end(struct sim *sim);

/* ---- crash at every point ---------------------------------------------------------------------
 */

void crash_plan(struct sim *sim);
enum disk_fault crash_before_call(struct node *member, const char *call, const char *name);

/* ---- members --------------------------------------------------------------------------------- */

enum member_state {
    MEMBER_ABSENT, /* a place that nobody has taken, or whose member is not added yet */
    MEMBER_DOWN,
    MEMBER_UP,
    MEMBER_GONE, /* its disk is rotten: never again */
    MEMBER_LOST, /* so is what has become of its disk */
    MEMBER_LEFT, /* it was removed, and has stopped */
};

/* Which calls count on the way to an end in one. */
enum end_in {
    END_IN_ANY,
    END_IN_SYNC,
    END_IN_LATE_SYNC, /* of a file with several writes since the last */
    END_IN_COUNT
};

struct life;
struct served_ask {
    unsigned from;
    uint64_t from_life, ask;
    bool is_promotion;
};
struct node {
    struct sim *sim;
    unsigned at;
    uint64_t id;
    char name[16], url[48];
    unsigned incarnation; /* who took this place: 0 a founder, or nobody yet */
    bool joins;           /* a cluster that is there */
    bool same_url;        /* as who was here before: taken for that by who is behind */
    unsigned restarts;    /* since it left */
    enum member_state state;
    uint64_t life_number;
    struct disk *disk;
    struct life *life;
    struct sim_flags flags;
    uint64_t paused_until_us;
    uint64_t clock_rate, clock_offset_us; /* per 1000 */
    bool suspect;                         /* bytes were changed under it */
    bool rots_in_rest;                    /* before it starts again */
    /* faults to come */
    uint64_t end_in_calls, error_in_calls; /* 0: none */
    enum end_in end_in;
    bool end_by_power, error_hit;
    bool full;
    uint64_t full_until_us, slow_until_us, stall_us;
    unsigned stalls;                /* so many syncs take stall_us longer */
    struct raft_hard_state durable; /* what its log holds for good */
    uint64_t changed_index;         /* the newest change of members that this life has applied */
    bool installs;                  /* a received state is being staged or installed */
    uint64_t away_until_us;         /* not started again before */
    /* what it has promised so far, over all lives */
    uint64_t applied_max, term_max;
    /* schedule */
    uint64_t pass_at_us;
    unsigned restless;         /* passes in a row that asked for another at once, */
    uint64_t restless_applied; /* and none applied an entry */
    unsigned cleanings;
    bool cleaned;        /* and not yet been looked at since */
    uint64_t cleaned_at; /* sums what could give the next one reason */
    bool log_flies, store_flies;
    struct served_ask *served; /* what members asked in this life */
    size_t served_count, served_cap;
};

struct node *member_new(struct sim *sim, unsigned at);
/* The place is another's from here on: an empty disk, a name of its own. */
void member_renew(struct node *self, bool same_url);
/* Those that may be there; returns how many. */
unsigned sim_members_there(const struct sim *sim, struct node *ret_there[SIM_MEMBERS_MAX]);
/* One of them. */
struct node *sim_member_any(struct sim *sim);
/* Another member says that it was removed. */
void member_told_removed(struct node *self);
void member_free(struct node *self);
bool member_event(struct node *self, const struct event *event);
void member_end(struct node *self, bool power_off);
void member_step(struct node *self, const struct raft_message *message);
void member_wake(struct node *self);
void member_report(struct node *self, uint64_t peer, bool up);
uint64_t member_ms(const struct node *self);
void member_clock_jump(struct node *self, uint64_t us);
struct replica *member_replica(const struct node *self);
struct stage_log *member_log(const struct node *self);
void member_propose(struct node *self, uint64_t token, uint64_t request_id, struct bytes data,
                    bool until_swept);
void member_read(struct node *self, uint64_t token);
void member_ask_lease(struct node *self, uint64_t token, enum replica_lease_kind kind,
                      int64_t lease_id);
/* What another member asked, and what came of a question of this one. */
void member_serve_lease(struct node *self, unsigned from, uint64_t from_life, uint64_t ask,
                        enum replica_lease_kind kind, int64_t lease_id);
void member_lease_answered(struct node *self, uint64_t life, uint64_t ask, err error,
                           const struct replica_lease_answer *answer);
/* The same for promotions. */
void member_serve_promotion(struct node *self, unsigned from, uint64_t from_life, uint64_t ask,
                            uint64_t member_id);
void member_promotion_answered(struct node *self, uint64_t life, uint64_t ask, err error);
void member_change(struct node *self, uint64_t token, const struct member_change *change);
struct mvcc_pins *member_pins(const struct node *self);
struct watch_hub *member_hub(const struct node *self);
void member_hub_renew(struct node *self);
void member_transfer(struct node *self, uint64_t token, uint64_t to);
uint64_t member_request_id(struct node *self);
/* The newest view, under a guard until member_view_leave. */
const struct replica_view *member_view_enter(struct node *self);
void member_view_leave(struct node *self);
void member_check_stored(struct node *self);
bool member_runs(const struct node *self);
/* Calls production code, which may end the process: then false. */
bool member_inside(struct node *self, void (*call)(void *ctx), void *ctx);

/* ---- network --------------------------------------------------------------------------------- */

void network_send(struct node *from, const struct raft_message *messages, size_t count);
void network_deliver(struct sim *sim, const struct event *event);
void network_drop(void *packet);
void network_ask(struct node *from, const struct replica_lease_forward *ask);
void network_answer(struct node *from, const struct served_ask *served, err error,
                    const struct replica_lease_answer *answer);
void network_deliver_ask(struct sim *sim, const struct event *event);
void network_links(struct sim *sim);
/* Who leads is asked to judge a promotion. */
void network_ask_promotion(struct node *from, const struct replica_promote_forward *ask);
/* NULL: there is none of this id. */
struct node *network_member(struct sim *sim, uint64_t id);

/* ---- snapshots ------------------------------------------------------------------------------- */

struct stream;
/* Carries the state that message names to where it is to go. */
void streams_send(struct node *from, const struct raft_message *message);
/* False: who acts is stopped, ask again later. */
bool streams_event(struct sim *sim, const struct event *event);
void streams_free(struct sim *sim);

/* ---- oracle ---------------------------------------------------------------------------------- */

struct oracle *oracle_new(struct sim *sim);
void oracle_free(struct oracle *self);
/* After each pass. */
void oracle_look(struct oracle *self, struct node *member);
const struct roster *oracle_roster(const struct oracle *self);
/* Another takes its place. */
void oracle_renew(struct oracle *self, unsigned at);
void oracle_boot(struct oracle *self, struct node *member, uint64_t applied);
void oracle_send(struct oracle *self, struct node *member, const struct raft_message *message);
int64_t oracle_revision_at(const struct oracle *self, uint64_t index);
uint64_t oracle_last(const struct oracle *self);
/* The member's view is the state after the entry that it names. */
void oracle_compare(struct oracle *self, struct node *member, const struct replica_view *view);
void oracle_compare_key(struct oracle *self, struct node *member, const struct replica_view *view,
                        unsigned key, int64_t revision);
/* What the member shows of a key at a seq; false: its bytes are rotten. */
bool oracle_read(struct node *member, const struct replica_view *view, unsigned key, uint64_t seq,
                 struct model_state *ret_state);
void oracle_expect(struct sim *sim, struct node *member, const char *what, unsigned key,
                   const struct model_state *expected, const struct model_state *found);

/* ---- clients --------------------------------------------------------------------------------- */

struct clients *clients_new(struct sim *sim);
void clients_free(struct clients *self);
void clients_event(struct clients *self, unsigned who, uint64_t generation);
void clients_reply(struct clients *self, struct node *member, const struct replica_reply *reply);
void clients_member_ended(struct clients *self, struct node *member);
/* client_watch.c: a watcher does something; a member's watchers are told what is new. */
void watchers_event(struct clients *self, unsigned who);
void watchers_run(struct clients *self, struct node *member);
void watchers_member_ended(struct clients *self, const struct node *member);
extern const struct watch_ops watchers_ops;
/* At the end: every member takes a write and answers it. */
void clients_last(struct clients *self);
/* As an operator would, once there is room again. */
void clients_disarm(struct clients *self);
void clients_check_last(struct clients *self);
void clients_stop(struct clients *self);
/* Its revoke was applied. */
void clients_lease_ended(struct clients *self, const struct model_lease *lease);
/* Asks for leadership to move. */
void clients_change(struct clients *self, struct node *from, const struct member_change *change,
                    uint64_t serial);
void clients_move(struct clients *self, struct node *from, uint64_t to);
