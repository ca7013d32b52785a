#include "server/corruption.h"

#include "base/check.h"
#include "base/log.h"
#include "mvcc/hash_job.h"
#include "state/ids.h"

#include <stdlib.h>

/* Between a difference and looking once more. */
#define AGAIN_MS         2000
#define STAGE_ORDER      70
#define FIRST_TIMEOUT_MS 7000
/* Who is behind the revision is asked again, so often. */
#define BEHIND_MS       500
#define BEHIND_ASKS_MAX 10
/* Between a member's coming and looking at all; no more than so many looks in a window. */
#define CAME_MS           10000
#define CAME_LOOKS_MAX    3
#define CAME_LOOKS_WITHIN 180000
/* Numbers of questions: the check's, then the member's place. */
#define NUMBER_BITS 8
_Static_assert(MEMBERS_MAX <= 1 << NUMBER_BITS, "a place fits");

/* What one member says; our own is the first. */
struct voice {
    uint64_t member_id;
    uint32_t hash;
    bool comparable; /* of the same revision and compact revision */
    bool behind;     /* to be asked again */
};

struct check {
    bool runs;
    bool hashes; /* our own hash is being made */
    bool full;
    bool second;
    bool first_of_all; /* before serving: nothing is raised */
    int64_t revision, compact_revision;
    int64_t asked_revision; /* 0: the present one */
    int64_t base_revision;  /* of the hash that our own went on from; 0: from scratch */
    struct mvcc_hash_job job;
    struct voice voices[MEMBERS_MAX + 1];
    unsigned voice_count;
    unsigned missing; /* answers that are still to come */
    unsigned behind_asks;
    uint64_t number;
};

struct served_job {
    struct list node;
    uint64_t number;
    struct mvcc_hash_job job;
};

struct corruption {
    struct corruption_config config;
    struct io_stage stage;
    struct io_timer compaction_timer, full_timer, again_timer, behind_timer, came_timer;
    struct list served;
    struct check check;
    struct mvcc_hash_base base; /* of the last hash of everything, asked for or for a check */
    bool leads;
    bool came;                              /* came_timer runs */
    uint64_t came_looks_ms[CAME_LOOKS_MAX]; /* when the last ones were; a ring */
    unsigned came_looks;
    int64_t agreed_revision;        /* of the newest compaction that all members agree on */
    uint64_t suspects[MEMBERS_MAX]; /* the odd ones, until the second look has ended */
    unsigned suspect_count;
};

static const struct replica_view *view_of(const struct corruption *self)
{
    return replica_view_get(self->config.replica); /* the core's own thread needs no guard */
}

/* ── What the voices say ────────────────────────────────────────────────────────────────────── */

static unsigned count_hash(const struct check *check, uint32_t hash)
{
    unsigned count = 0;
    for (unsigned i = 0; i < check->voice_count; i++)
        count += check->voices[i].comparable && check->voices[i].hash == hash;
    return count;
}

static unsigned count_comparable(const struct check *check)
{
    unsigned count = 0;
    for (unsigned i = 0; i < check->voice_count; i++)
        count += check->voices[i].comparable;
    return count;
}

/* The voice whose hash most share. */
static const struct voice *loudest(const struct check *check)
{
    const struct voice *best = &check->voices[0];
    for (unsigned i = 1; i < check->voice_count; i++)
        if (check->voices[i].comparable &&
            count_hash(check, check->voices[i].hash) > count_hash(check, best->hash))
            best = &check->voices[i];
    return best;
}

static bool is_suspect(const struct corruption *self, uint64_t member_id)
{
    for (unsigned i = 0; i < self->suspect_count; i++)
        if (self->suspects[i] == member_id)
            return true;
    return false;
}

static bool is_raised(const struct replica_view *view, uint64_t member_id)
{
    for (size_t i = 0; i < view->alarms->count; i++)
        if (view->alarms->items[i].type == ALARM_CORRUPT &&
            view->alarms->items[i].member_id == member_id)
            return true;
    return false;
}

static void tell(const struct check *check, const struct voice *odd, const struct voice *most,
                 const char *what)
{
    LOGE(what, LOG_HEX("member-id", odd->member_id), LOG_INT("revision", check->revision),
         LOG_INT("compact-revision", check->compact_revision), LOG_UINT("hash", odd->hash),
         LOG_UINT("hash-of-others", most->hash));
}

static void raise_alarm(struct corruption *self, const struct voice *odd, const struct voice *most)
{
    if (is_raised(view_of(self), odd->member_id))
        return;
    tell(&self->check, odd, most,
         "a member's data differ from those of the majority; raising the alarm CORRUPT");
    replica_raise_alarm(self->config.replica, odd->member_id, ALARM_CORRUPT);
    self->config.wake(self->config.ctx);
}

/* Some differ. */
static void judge(struct corruption *self)
{
    struct check *check = &self->check;
    const struct voice *most = loudest(check);
    size_t majority = view_of(self)->members->count / 2 + 1;
    bool decided = count_hash(check, most->hash) >= majority;
    unsigned before = self->suspect_count;
    uint64_t odd[MEMBERS_MAX];
    unsigned odd_count = 0;
    for (unsigned i = 0; i < check->voice_count; i++) {
        const struct voice *voice = &check->voices[i];
        if (!voice->comparable || voice->hash == most->hash)
            continue;
        if (!decided)
            tell(check, voice, most, "members' data differ, and none of them has a majority");
        else if (check->second && before && is_suspect(self, voice->member_id))
            raise_alarm(self, voice, most);
        else if (odd_count < MEMBERS_MAX)
            odd[odd_count++] = voice->member_id;
    }
    self->suspect_count = 0;
    if (!decided || check->second)
        return;
    memcpy(self->suspects, odd, odd_count * sizeof(odd[0]));
    self->suspect_count = odd_count;
    io_loop_timer_after(self->config.loop, &self->again_timer, AGAIN_MS);
}

static void check_end(struct corruption *self)
{
    struct check *check = &self->check;
    check->runs = false;
    if (check->first_of_all)
        return;
    if (view_of(self)->leader_id != self->config.member_id) {
        self->suspect_count = 0;
        return;
    }
    unsigned comparable = count_comparable(check);
    if (count_hash(check, check->voices[0].hash) < comparable) {
        judge(self);
        return;
    }
    self->suspect_count = 0;
    if (check->full && comparable > 1)
        LOGI("finished corruption check", LOG_INT("revision", check->revision),
             LOG_INT("compact-revision", check->compact_revision),
             LOG_INT("went-on-from-revision", check->base_revision),
             LOG_UINT("hash", check->voices[0].hash), LOG_UINT("number-of-members", comparable));
    if (check->full || comparable < view_of(self)->members->count)
        return;
    self->agreed_revision = check->revision;
    LOGI("finished compaction hash check", LOG_INT("revision", check->revision),
         LOG_INT("compact-revision", check->compact_revision),
         LOG_UINT("hash", check->voices[0].hash), LOG_UINT("number-of-members", comparable));
}

/* ── Asking ─────────────────────────────────────────────────────────────────────────────────── */

/* Our own hash is known. */
static void ask_others(struct corruption *self, uint32_t hash)
{
    struct check *check = &self->check;
    const struct membership *members = view_of(self)->members;
    check->voices[0] = (struct voice){self->config.member_id, hash, true};
    check->voice_count = 1;
    check->number++;
    for (size_t i = 0; i < members->count; i++)
        if (members->members[i].id != self->config.member_id)
            check->voices[check->voice_count++] =
                (struct voice){.member_id = members->members[i].id};
    check->missing = check->voice_count - 1;
    check->behind_asks = 0;
    if (check->missing == 0) {
        check_end(self);
        return;
    }
    uint64_t number = check->number << NUMBER_BITS;
    for (unsigned i = 1; i < check->voice_count && check->runs; i++)
        peers_ask_hash(self->config.peers, membership_find(members, check->voices[i].member_id),
                       check->asked_revision, number | i);
}

/* It has not applied the revision yet: a follower always is a little behind. */
static void ask_later(struct corruption *self, struct voice *voice)
{
    voice->behind = true;
    io_loop_timer_after(self->config.loop, &self->behind_timer, BEHIND_MS);
}

static void behind_due(void *ctx)
{
    struct corruption *self = ctx;
    struct check *check = &self->check;
    const struct membership *members = view_of(self)->members;
    check->behind_asks++;
    for (unsigned i = 1; i < check->voice_count && check->runs; i++) {
        struct voice *voice = &check->voices[i];
        uint64_t number = check->number << NUMBER_BITS | i;
        if (!voice->behind)
            continue;
        voice->behind = false;
        const struct member *member = membership_find(members, voice->member_id);
        if (member)
            peers_ask_hash(self->config.peers, member, check->asked_revision, number);
        else
            corruption_hash_answered(self, number, ERR_UNREACHABLE, NULL);
    }
}

/* Etcd before 3.6 does not say which revision it has hashed. Asked for one it was that one; asked
 * for its present one it was none above what it says beside. */
static bool is_comparable(const struct check *check, const struct peer_hash *hash)
{
    int64_t revision = hash->hash_revision;
    if (revision == 0)
        revision = check->asked_revision ? check->asked_revision : hash->revision;
    return hash->compact_revision == check->compact_revision && revision == check->revision;
}

void corruption_hash_answered(struct corruption *self, uint64_t number, err error,
                              const struct peer_hash *hash)
{
    struct check *check = &self->check;
    unsigned place = number & ((1U << NUMBER_BITS) - 1);
    if (!check->runs || number >> NUMBER_BITS != check->number || place >= check->voice_count)
        return;
    struct voice *voice = &check->voices[place];
    if (err_is(error, ERR_FUTURE_REV) && check->full && !check->first_of_all &&
        check->behind_asks < BEHIND_ASKS_MAX) {
        ask_later(self, voice);
        return;
    }
    if (!err_ok(error))
        LOGI("a member's hash is not to be had", LOG_HEX("remote-peer-id", voice->member_id),
             LOG_INT("requested-revision", check->revision), LOG_ERR(error));
    if (err_ok(error) && is_comparable(check, hash)) {
        voice->comparable = true;
        voice->hash = hash->hash;
    }
    if (--check->missing == 0)
        check_end(self);
}

/* A second look asks for the first one's revision again; where that was compacted since, or was the
 * compacted one itself, nobody goes on from what he has kept. */
static void begin_full(struct corruption *self)
{
    struct check *check = &self->check;
    const struct mvcc_view *view = view_of(self)->mvcc;
    int64_t revision =
        check->second && check->revision > view->compact_revision ? check->revision : 0;
    if (check->second)
        mvcc_hash_base_done(&self->base);
    check->hashes =
        err_ok(mvcc_hash_job_begin_on(&check->job, view, revision, &self->base, self->config.pins,
                                      io_loop_now_ms(self->config.loop)));
    check->runs = check->hashes;
    if (!check->runs)
        return;
    check->revision = check->job.hash.hash_revision;
    check->compact_revision = check->job.hash.compact_revision;
    check->base_revision = check->job.hash.base_revision;
    /* For a revision that was compacted to exactly, others may have kept what the compaction left,
     * which is another hash. */
    bool at_compaction = check->revision == check->compact_revision && !check->first_of_all;
    check->asked_revision = at_compaction ? 0 : check->revision;
    io_loop_wake(self->config.loop);
}

/* The newest that is not agreed on. */
static void begin_compaction(struct corruption *self)
{
    struct check *check = &self->check;
    const struct mvcc_view *view = view_of(self)->mvcc;
    const struct mvcc_compact_hash *newest = NULL;
    for (unsigned i = 0; i < view->hash_count; i++)
        if (view->hashes[i].revision > self->agreed_revision &&
            (!newest || view->hashes[i].revision > newest->revision))
            newest = &view->hashes[i];
    if (!newest)
        return;
    check->runs = true;
    check->revision = newest->revision;
    check->compact_revision = newest->compact_revision;
    check->asked_revision = newest->revision;
    ask_others(self, newest->hash);
}

static bool is_busy(const struct corruption *self)
{
    return self->check.runs || self->suspect_count;
}

/* A second look comes before any other. */
static void begin(struct corruption *self, bool full, bool second)
{
    struct check *check = &self->check;
    const struct replica_view *view = view_of(self);
    if (check->runs || (self->suspect_count && !second) ||
        view->leader_id != self->config.member_id || view->members->count < 2)
        return;
    if (full && cluster_version_compare(view->version, self->config.full_check_version) < 0)
        return;
    check->full = full;
    check->second = second;
    if (full)
        begin_full(self);
    else
        begin_compaction(self);
}

/* ── When ───────────────────────────────────────────────────────────────────────────────────── */

static void compaction_due(void *ctx)
{
    struct corruption *self = ctx;
    begin(self, false, false);
    io_loop_timer_after(self->config.loop, &self->compaction_timer,
                        self->config.compaction_check_ms);
}

static void full_next(struct corruption *self, uint64_t after_ms)
{
    io_loop_timer_after(self->config.loop, &self->full_timer, after_ms);
}

static void full_due(void *ctx)
{
    struct corruption *self = ctx;
    uint64_t period_ms = self->config.full_check_ms;
    bool busy = is_busy(self);
    begin(self, true, false);
    full_next(self, busy && period_ms > AGAIN_MS ? AGAIN_MS : period_ms);
}

/* Somebody has come: looked at soon, so that a state that changed while it was away is found. */
static void look_soon(struct corruption *self)
{
    if (self->came || !self->config.full_check_ms)
        return;
    uint64_t due_ms = io_loop_now_ms(self->config.loop) + CAME_MS;
    uint64_t oldest_ms = self->came_looks_ms[self->came_looks % CAME_LOOKS_MAX];
    if (oldest_ms && oldest_ms + CAME_LOOKS_WITHIN > due_ms)
        due_ms = oldest_ms + CAME_LOOKS_WITHIN;
    self->came = true;
    io_loop_timer_at(self->config.loop, &self->came_timer, due_ms);
}

static void came_due(void *ctx)
{
    struct corruption *self = ctx;
    if (is_busy(self)) {
        io_loop_timer_after(self->config.loop, &self->came_timer, AGAIN_MS);
        return;
    }
    self->came = false;
    begin(self, true, false);
    if (!self->check.runs)
        return;
    self->came_looks_ms[self->came_looks++ % CAME_LOOKS_MAX] = io_loop_now_ms(self->config.loop);
    full_next(self, self->config.full_check_ms);
}

void corruption_member_came(struct corruption *self)
{
    if (self->leads)
        look_soon(self);
}

void corruption_view_changed(struct corruption *self)
{
    bool leads = view_of(self)->leader_id == self->config.member_id;
    if (leads && !self->leads)
        look_soon(self);
    self->leads = leads;
}

static void again_due(void *ctx)
{
    struct corruption *self = ctx;
    begin(self, self->check.full, true);
    if (!self->check.runs)
        self->suspect_count = 0; /* it leads no more, or there is nothing to look at */
}

/* ── Hashing ────────────────────────────────────────────────────────────────────────────────── */

void corruption_hash_asked(struct corruption *self, uint64_t number, int64_t revision)
{
    const struct mvcc_view *view = view_of(self)->mvcc;
    struct served_job *served = calloc(1, sizeof(*served));
    CHECK(served);
    served->number = number;
    err e = mvcc_hash_job_begin_on(&served->job, view, revision, &self->base, self->config.pins,
                                   io_loop_now_ms(self->config.loop));
    if (!err_ok(e)) {
        free(served);
        peers_hash_reply(self->config.peers, number, e, NULL);
        return;
    }
    list_push(&self->served, &served->node);
    io_loop_wake(self->config.loop);
}

static void served_free(struct served_job *self)
{
    mvcc_hash_job_done(&self->job);
    list_remove(&self->node);
    free(self);
}

static void run_served(struct corruption *self, struct served_job *served)
{
    bool done = false;
    err e = mvcc_hash_job_run(&served->job, view_of(self)->mvcc, io_loop_now_ms(self->config.loop),
                              &done);
    if (err_ok(e) && !done)
        return;
    const struct mvcc_hash *hash = &served->job.hash;
    const struct peer_hash answer = {.revision = served->job.revision,
                                     .hash = hash->hash,
                                     .compact_revision = hash->compact_revision,
                                     .hash_revision = hash->hash_revision};
    if (err_ok(e))
        mvcc_hash_leave(&served->job.hash, &self->base);
    peers_hash_reply(self->config.peers, served->number, e, &answer);
    served_free(served);
}

static void run_own(struct corruption *self)
{
    struct check *check = &self->check;
    bool done = false;
    err e = mvcc_hash_job_run(&check->job, view_of(self)->mvcc, io_loop_now_ms(self->config.loop),
                              &done);
    if (err_ok(e) && !done)
        return;
    uint32_t hash = check->job.hash.hash;
    check->hashes = false;
    if (err_ok(e))
        mvcc_hash_leave(&check->job.hash, &self->base);
    mvcc_hash_job_done(&check->job);
    if (err_ok(e)) {
        ask_others(self, hash);
        return;
    }
    check->runs = false;
    self->suspect_count = 0;
}

static bool run(void *ctx)
{
    struct corruption *self = ctx;
    if (!list_empty(&self->served))
        run_served(self, LIST_ENTRY(self->served.next, struct served_job, node));
    if (self->check.hashes)
        run_own(self);
    return !list_empty(&self->served) || self->check.hashes;
}

/* ── Life ───────────────────────────────────────────────────────────────────────────────────── */

struct corruption *corruption_new(const struct corruption_config *config)
{
    struct corruption *self = calloc(1, sizeof(*self));
    CHECK(self);
    self->config = *config;
    list_init(&self->served);
    io_timer_init(&self->compaction_timer, compaction_due, self);
    io_timer_init(&self->full_timer, full_due, self);
    io_timer_init(&self->again_timer, again_due, self);
    io_timer_init(&self->behind_timer, behind_due, self);
    io_timer_init(&self->came_timer, came_due, self);
    self->stage = (struct io_stage){.order = STAGE_ORDER, .run = run, .ctx = self};
    list_init(&self->stage.node);
    io_loop_stage_add(config->loop, &self->stage);
    return self;
}

void corruption_free(struct corruption *self)
{
    if (!self)
        return;
    struct list *node;
    while ((node = list_pop(&self->served)))
        served_free(LIST_ENTRY(node, struct served_job, node));
    mvcc_hash_job_done(&self->check.job);
    mvcc_hash_base_done(&self->base);
    io_loop_timer_stop(self->config.loop, &self->compaction_timer);
    io_loop_timer_stop(self->config.loop, &self->full_timer);
    io_loop_timer_stop(self->config.loop, &self->again_timer);
    io_loop_timer_stop(self->config.loop, &self->behind_timer);
    io_loop_timer_stop(self->config.loop, &self->came_timer);
    io_loop_stage_remove(self->config.loop, &self->stage);
    free(self);
}

void corruption_start(struct corruption *self)
{
    if (self->config.compaction_check_ms)
        io_loop_timer_after(self->config.loop, &self->compaction_timer,
                            self->config.compaction_check_ms);
    if (self->config.full_check_ms)
        full_next(self, self->config.full_check_ms);
}

err corruption_check_first(struct corruption *self)
{
    struct check *check = &self->check;
    io_loop_refresh(self->config.loop);
    uint64_t until_ms = io_loop_now_ms(self->config.loop) + FIRST_TIMEOUT_MS;
    LOGI("starting initial corruption check", LOG_HEX("local-member-id", self->config.member_id),
         LOG_NS("timeout", (int64_t)FIRST_TIMEOUT_MS * 1000000));
    *check = (struct check){.full = true, .first_of_all = true};
    begin_full(self);
    while (check->runs && (check->hashes || io_loop_now_ms(self->config.loop) < until_ms))
        io_loop_run_once(self->config.loop, 50);
    check->runs = check->first_of_all = false;
    unsigned same = count_hash(check, check->voices[0].hash); /* itself among them */
    unsigned comparable = count_comparable(check);
    if (comparable == 0)
        return ERR_LIMIT; /* no hash of its own */
    for (unsigned i = 1; i < check->voice_count; i++)
        if (check->voices[i].comparable && check->voices[i].hash != check->voices[0].hash)
            LOGW("found different hash values from remote peer",
                 LOG_HEX("local-member-id", self->config.member_id),
                 LOG_INT("local-member-revision", check->revision),
                 LOG_INT("local-member-compact-revision", check->compact_revision),
                 LOG_UINT("local-member-hash", check->voices[0].hash),
                 LOG_HEX("remote-peer-id", check->voices[i].member_id),
                 LOG_UINT("remote-peer-hash", check->voices[i].hash));
    if (comparable - same > same - 1)
        return ERR_CORRUPT;
    LOGI("initial corruption checking passed; no corruption",
         LOG_HEX("local-member-id", self->config.member_id),
         LOG_UINT("number-of-peers-compared", comparable - 1));
    return OK;
}
