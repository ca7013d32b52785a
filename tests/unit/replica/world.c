#include "world_disk.h"

#include "mvcc/hash.h"
#include "raft/conf_codec.h"

#include <stdio.h>
#include <stdlib.h>

/* --- life -------------------------------------------------------------------------------- */

static void bootstrap_disk(struct world *w, struct disk *d)
{
    for (size_t i = 0; i < w->boot->count; i++) {
        struct buf json;
        struct buf data;
        buf_init(&json, 0);
        buf_init(&data, 0);
        assert_int_equal(member_put_json(&w->boot->members[i], &json).code, 0);
        struct raft_conf_change change = {.count = 1, .context = buf_bytes(&json)};
        change.changes[0] = (struct raft_conf_single){RAFT_ADD_NODE, w->boot->members[i].id};
        assert_int_equal(raft_conf_change_encode(RAFT_ENTRY_CONF_CHANGE, &change, &data).code, 0);
        struct raft_entry entry = {
            .term = 1, .index = i + 1, .type = RAFT_ENTRY_CONF_CHANGE, .data = buf_bytes(&data)};
        disk_append(d, &entry, 1);
        buf_done(&json);
        buf_done(&data);
    }
    d->hard_state = (struct raft_hard_state){.term = 1, .commit = w->boot->count};
}

void world_begin(struct world *w, unsigned count, uint64_t seed)
{
    world_begin_joining(w, count, 0, seed);
}

void world_begin_joining(struct world *w, unsigned count, unsigned joiners, uint64_t seed)
{
    memset(w, 0, sizeof(*w));
    prng_init(&w->prng, seed);
    w->now_ms = 1000;
    w->count = count;
    w->delay_ms = 3;
    w->log_delay_ms = 2;
    w->hashes = calloc(WORLD_HASHES, sizeof(*w->hashes));
    w->hashed = calloc(WORLD_HASHES, sizeof(*w->hashed));
    struct buf text;
    buf_init(&text, 0);
    unsigned initial = count - joiners;
    for (unsigned i = 0; i < initial; i++)
        assert_int_equal(buf_printf(&text, "%sn%u=http://n%u:1", i ? "," : "", i, i).code, 0);
    assert_int_equal(membership_parse_initial(buf_bytes(&text), BYTES_LIT("t"), &w->boot).code, 0);
    buf_done(&text);
    uint64_t ids[WORLD_NODES_MAX];
    for (unsigned i = 0; i < count; i++) {
        struct node *n = &w->nodes[i];
        n->world = w;
        n->at = i;
        n->jobs_end = &n->jobs;
        struct bytes url = bytes_str("http://joiner");
        n->id = i < initial ? w->boot->members[i].id : member_id_added(&url, 1, i);
        ids[i] = n->id;
        if (i < initial)
            bootstrap_disk(w, &n->disk);
    }
    w->cluster_id = cluster_id_of(ids, initial);
}

static void node_open_store(struct node *n)
{
    struct disk *d = &n->disk;
    epoch_init(&n->epoch);
    n->slot = epoch_register(&n->epoch);
    /* All is kept, as there are no segments to read from. */
    struct tail_limits limits = {(size_t)1 << 40, n->world->tail_max_bytes};
    n->tail = tail_new(&n->epoch, 0, &limits);
    n->log = revlog_new(&n->epoch, n->tail);
    struct mvcc_store_config config = {.epoch = &n->epoch, .log = n->log, .tail = n->tail};
    struct mvcc_store *store = mvcc_store_new(&config);
    for (size_t i = 0; i < d->record_count; i++) {
        const struct mvcc_record *r = tail_append(n->tail, &d->records[i]);
        assert_int_equal(mvcc_store_replay(store, r).code, 0);
    }
    tail_trim(n->tail, d->record_count);
    int64_t revision = d->frame.index ? d->frame.revision : 1;
    assert_int_equal(mvcc_store_open(store, d->record_count, revision).code, 0);
    struct state_config state = {
        .store = store, .epoch = &n->epoch, .member_id = n->id, .learners_max = 1};
    assert_int_equal(state_new(&state, &n->state).code, 0);
}

static void trace(void *ctx, const char *line)
{
    struct node *n = ctx;
    print_message("%6llu n%u %s\n", (unsigned long long)n->world->now_ms, n->at, line);
}

static void node_close_store(struct node *n)
{
    revlog_free(n->log);
    tail_free(n->tail);
    epoch_done(&n->epoch);
}

void world_boot(struct world *w, unsigned at)
{
    assert_int_equal(world_try(w, at).code, 0);
}

err world_try(struct world *w, unsigned at)
{
    struct node *n = &w->nodes[at];
    struct disk *d = &n->disk;
    static const char *const urls[] = {"http://client"};
    char name[8];
    snprintf(name, sizeof(name), "n%u", at);
    assert_false(n->running);
    disk_staged_settle(d);
    node_open_store(n);
    n->boots++;
    request_ids_init(&n->ids, n->id, w->now_ms);
    struct raft_hard_state hard_state = d->hard_state;
    size_t recent = d->entry_count - d->released < 3 ? 0 : 3;
    if (hard_state.commit < d->frame.index)
        hard_state.commit = d->frame.index;
    struct replica_config config = {
        .member_id = n->id,
        .cluster_id = w->cluster_id,
        .name = name,
        .client_urls = {urls, 1},
        .boot = w->boot,
        .server_version = {3, 7},
        .heartbeat_ms = WORLD_TICK_MS,
        .election_ticks = WORLD_ELECTION,
        .pre_vote = true,
        .strict_reconfig = !w->lenient,
        .snapshot_entries = w->snapshot_entries,
        .kept_entries = w->kept_entries,
        .kept_bytes_max = w->kept_bytes_max,
        .release_log = w->snapshot_entries > 0,
        .seed = prng_next(&w->prng),
        .now_ms = w->now_ms,
        .front_count = 2,            /* the second: what members ask each other */
        .log_cache_bytes_max = 4096, /* so that old entries are read by place */
        .apply_ops_max = w->apply_ops_max,
        .lease_checkpoints = w->lease_checkpoints,
        .compaction = w->compaction,
        .backlog_max = w->backlog_max,
        .state = n->state,
        .tail = n->tail,
        .log = {n, disk_log_entries, disk_log_term, disk_log_first, disk_log_first_within},
        .start = {.hard_state = hard_state,
                  .conf = d->frame.conf,
                  .applied_index = d->frame.index,
                  .applied_term = d->frame.term,
                  .snapshot_index = d->released,
                  .snapshot_term = d->released ? d->entries[d->released - 1].term : 0,
                  .last_index = d->entry_count,
                  .recorded_index = d->snapshot_index,
                  .entries = d->entries + d->entry_count - recent,
                  .entry_count = recent},
        .ids = &n->ids,
        .epoch = &n->epoch,
        .trace = getenv("CORACLE_TRACE") ? trace : NULL,
        .trace_ctx = n,
    };
    err e = replica_new(&config, &n->replica);
    if (!err_ok(e)) {
        state_free(n->state);
        node_close_store(n);
        return e;
    }
    n->running = true;
    n->stopped = false;
    for (unsigned i = 0; i < w->count; i++) {
        struct node *o = &w->nodes[i];
        if (i == at || !o->running)
            continue;
        const struct cluster_version v = {3, 7};
        replica_peer_report(n->replica, o->id, PEER_ACTIVE, v, w->now_ms);
        replica_peer_report(n->replica, o->id, PEER_VERSION, v, w->now_ms);
        replica_peer_report(o->replica, n->id, PEER_ACTIVE, v, w->now_ms);
        replica_peer_report(o->replica, n->id, PEER_VERSION, v, w->now_ms);
    }
    return OK;
}

void world_kill(struct world *w, unsigned at)
{
    struct node *n = &w->nodes[at];
    if (!n->running)
        return;
    /* What the disk was busy with is there up to some batch. */
    bool reaches = prng_below(&w->prng, 2);
    while (n->jobs) {
        struct disk_job *job = n->jobs;
        n->jobs = job->next;
        if (reaches)
            disk_job_carry_out(&n->disk, job);
        reaches &= prng_below(&w->prng, 2);
        disk_job_free(job);
    }
    n->jobs_end = &n->jobs;
    n->flush_waits = false;
    replica_free(n->replica);
    node_close_store(n);
    n->running = false;
    n->frozen = false;
    for (unsigned i = 0; i < w->count; i++) {
        struct node *o = &w->nodes[i];
        if (o->running)
            replica_peer_report(o->replica, n->id, PEER_INACTIVE, (struct cluster_version){0, 0},
                                w->now_ms);
    }
}

static void packet_free(struct packet *p);

void world_end(struct world *w)
{
    for (unsigned i = 0; i < w->count; i++) {
        assert_int_equal(w->nodes[i].vouched_early, 0);
        world_kill(w, i);
        disk_free(&w->nodes[i].disk);
    }
    while (w->packets) {
        struct packet *p = w->packets;
        w->packets = p->next;
        packet_free(p);
    }
    membership_free(w->boot);
    free(w->answers);
    free(w->hashes);
    free(w->hashed);
}

static void packet_free(struct packet *p)
{
    raft_message_free(p->message);
    if (p->state)
        disk_free(p->state);
    free(p->state);
    free(p);
}

static struct node *node_of(struct world *w, uint64_t id)
{
    for (unsigned i = 0; i < w->count; i++) {
        if (w->nodes[i].id == id)
            return &w->nodes[i];
    }
    return NULL;
}

/* --- states that travel ------------------------------------------------------------------- */

/* The whole of what a node shows: the records of its store, and a frame. */
static struct disk *state_copy(const struct node *n, const struct raft_snapshot *snapshot)
{
    const struct mvcc_view *view = replica_view_get(n->replica)->mvcc;
    struct disk *copy = calloc(1, sizeof(*copy));
    struct replica_flush frame = {
        .seq = view->seq,
        .open_seq = view->seq,
        .index = snapshot->index,
        .term = snapshot->term,
        .revision = view->revision,
        .compact_revision = view->compact_revision,
        .conf = snapshot->conf_state,
    };
    assert_int_equal(replica_view_get(n->replica)->applied_index, snapshot->index);
    disk_flush(copy, n->tail, &frame);
    return copy;
}

static void report_snapshot(struct world *w, const struct raft_message *m, bool arrived)
{
    struct node *from = node_of(w, m->from);
    if (from->running)
        replica_peer_report(from->replica, m->to,
                            arrived ? PEER_SNAPSHOT_SENT : PEER_SNAPSHOT_FAILED,
                            (struct cluster_version){0, 0}, w->now_ms);
}

static void deliver_snapshot(struct world *w, struct node *to, struct packet *p)
{
    bool arrives = to->running && !to->frozen && !to->cut && !to->disk.staged &&
                   !node_of(w, p->message->from)->cut &&
                   prng_below(&w->prng, 100) >= w->snapshot_loss_percent;
    report_snapshot(w, p->message, arrives);
    if (!arrives)
        return;
    to->disk.staged = p->state;
    p->state = NULL;
    if (!replica_step_snapshot(to->replica, p->message, w->now_ms))
        disk_staged_drop(&to->disk);
}

/* --- time -------------------------------------------------------------------------------- */

static void world_send(struct world *w, struct node *from, const struct raft_message *m,
                       struct disk *state)
{
    /* Invariant 1 of the node: no answer runs ahead of the disk. */
    if (m->type == RAFT_MSG_APP_RESP && !m->reject && m->index > from->disk.entry_count)
        from->vouched_early++;
    struct node *to = node_of(w, m->to);
    /* Whether a state arrives is told later: the sender must not hear of it within its pass. */
    bool lost = from->cut || (to && to->cut) || prng_below(&w->prng, 100) < w->loss_percent;
    if (!to || (lost && !state))
        return;
    struct packet *p = calloc(1, sizeof(*p));
    p->state = state;
    p->due_ms = w->now_ms + 1 + (w->delay_ms ? prng_below(&w->prng, w->delay_ms) : 0);
    p->message = raft_message_copy(m);
    struct packet **at = &w->packets;
    while (*at && (*at)->due_ms <= p->due_ms)
        at = &(*at)->next;
    p->next = *at;
    *at = p;
}

static void world_deliver(struct world *w)
{
    while (w->packets && w->packets->due_ms <= w->now_ms) {
        struct packet *p = w->packets;
        w->packets = p->next;
        struct node *to = node_of(w, p->message->to);
        if (p->state)
            deliver_snapshot(w, to, p);
        else if (to->running && !to->frozen && !to->cut)
            replica_step(to->replica, p->message, w->now_ms);
        packet_free(p);
    }
}

/* A question's place; NULL: the member that it is for cannot be reached. */
static struct lease_question *question_begin(struct world *w, struct node *from,
                                             const struct node *to, uint64_t ask)
{
    struct lease_question *free_one = NULL;
    for (size_t i = 0; i < WORLD_QUESTIONS_MAX; i++) {
        if (!w->questions[i].token)
            free_one = &w->questions[i];
    }
    if (!free_one || !to || !to->running || to->frozen || to->cut || from->cut)
        return NULL;
    *free_one = (struct lease_question){from, from->boots, ask, token_make(1, ++w->next_slot, 7)};
    return free_one;
}

static void world_ask(struct world *w, struct node *from, const struct replica_lease_forward *what)
{
    struct node *to = node_of(w, what->leader_id);
    if (to && to->running && to->frozen && !to->cut && !from->cut)
        return; /* its connection stands, and nothing comes back */
    const struct lease_question *question = question_begin(w, from, to, what->ask);
    if (!question) {
        replica_lease_answered(from->replica, what->ask, ERR_UNREACHABLE, NULL, w->now_ms);
        return;
    }
    struct replica_lease_ask ask = {question->token, what->kind, what->lease_id, true};
    replica_ask_leases(to->replica, &ask, 1, w->now_ms);
}

static void world_ask_promotion(struct world *w, struct node *from,
                                const struct replica_promote_forward *what)
{
    struct node *to = node_of(w, what->leader_id);
    struct lease_question *question = question_begin(w, from, to, what->ask);
    if (!question) {
        replica_promotion_answered(from->replica, what->ask, ERR_UNREACHABLE, w->now_ms);
        return;
    }
    question->is_promotion = true;
    const struct member_change change = {MEMBER_PROMOTE, {.id = what->member_id}};
    replica_change_members(to->replica, question->token, &change, true, w->now_ms);
}

static void answer_member(struct world *w, const struct replica_reply *reply)
{
    for (size_t i = 0; i < WORLD_QUESTIONS_MAX; i++) {
        struct lease_question *q = &w->questions[i];
        if (q->token != reply->token)
            continue;
        q->token = 0;
        if (!q->from->running || q->from->boots != q->from_boots)
            return;
        if (q->is_promotion)
            replica_promotion_answered(q->from->replica, q->ask, reply->result.error, w->now_ms);
        else
            replica_lease_answered(q->from->replica, q->ask, reply->result.error, &reply->lease,
                                   w->now_ms);
        return;
    }
}

static void take_replies(struct node *n, struct replica_replies *list)
{
    struct world *w = n->world;
    while (list) {
        struct replica_replies *r = list;
        list = r->next;
        for (size_t i = 0; i < r->count; i++) {
            if (token_front(r->items[i].token) == 1) {
                answer_member(w, &r->items[i]);
                continue;
            }
            if (w->answer_count == w->answer_cap) {
                w->answer_cap = w->answer_cap ? w->answer_cap * 2 : 64;
                w->answers = realloc(w->answers, w->answer_cap * sizeof(*w->answers));
            }
            assert_null(world_answer(w, r->items[i].token)); /* exactly once */
            struct answer *a = &w->answers[w->answer_count++];
            *a = (struct answer){r->items[i].token,          r->items[i].kind,   r->items[i].result,
                                 .lease = r->items[i].lease, .at_ms = w->now_ms, .node = n->at};
            if (a->lease.id_count)
                a->first_id = a->lease.ids[0];
            a->lease.ids = NULL;
            a->result.op.children = NULL;
            if (w->on_answer)
                w->on_answer(w, a);
        }
        replica_replies_give_back(n->replica, r);
    }
}

static void compare_hash(struct node *n)
{
    struct world *w = n->world;
    uint64_t index = node_applied(n);
    if (index >= WORLD_HASHES || index % 8)
        return;
    uint32_t hash = node_hash(n);
    if (w->hashed[index])
        assert_int_equal(w->hashes[index], hash);
    w->hashed[index] = true;
    w->hashes[index] = hash;
}

static void node_pass(struct node *n)
{
    struct world *w = n->world;
    node_complete(n);
    for (int i = 0; i < 4; i++) {
        const struct replica_effects *e = replica_pass(n->replica, w->now_ms);
        assert_int_equal(e->failure.code, 0);
        for (size_t j = 0; j < e->send_count; j++)
            world_send(w, n, &e->sends[j], NULL);
        for (size_t j = 0; j < e->snapshot_count; j++)
            world_send(w, n, e->snapshots[j], state_copy(n, e->snapshots[j]->snapshot));
        for (size_t j = 0; j < e->append_count; j++)
            node_take_append(n, e->appends[j]);
        if (e->flush && !n->flush_waits) {
            n->flush = *e->flush;
            n->flush_waits = true;
            n->flush_due_ms = w->now_ms + prng_below(&w->prng, 50);
        }
        for (size_t j = 0; j < e->lease_forward_count; j++)
            world_ask(w, n, &e->lease_forwards[j]);
        for (size_t j = 0; j < e->promote_forward_count; j++)
            world_ask_promotion(w, n, &e->promote_forwards[j]);
        if (e->promoted_count)
            w->promoted = e->promoted[e->promoted_count - 1];
        w->promoted_count += (unsigned)e->promoted_count;
        n->stopped = e->stopped;
        if (e->installed) {
            take_replies(n, e->replies);
            n->reborn = true;
            return;
        }
        bool more = e->more;
        bool changed = e->view_changed;
        take_replies(n, e->replies);
        if (changed)
            compare_hash(n);
        if (!more)
            break;
    }
}

void world_step(struct world *w)
{
    w->now_ms++;
    world_deliver(w);
    for (unsigned i = 0; i < w->count; i++) {
        struct node *n = &w->nodes[i];
        if (n->running && !n->frozen)
            node_pass(n);
        if (n->reborn) {
            n->reborn = false;
            n->installs++;
            world_kill(w, i);
            world_boot(w, i);
        }
    }
}

void world_run(struct world *w, uint64_t ms)
{
    for (uint64_t i = 0; i < ms; i++)
        world_step(w);
}

struct node *world_leader(struct world *w)
{
    struct node *best = NULL;
    struct replica_status best_status = {0};
    for (unsigned i = 0; i < w->count; i++) {
        struct node *n = &w->nodes[i];
        struct replica_status s;
        if (!n->running || n->frozen || n->cut)
            continue;
        replica_status_get(n->replica, &s);
        if (s.is_leader && (!best || s.term > best_status.term)) {
            best = n;
            best_status = s;
        }
    }
    return best;
}

static bool all_follow(struct world *w, const struct node *leader)
{
    struct replica_status l;
    replica_status_get(leader->replica, &l);
    if (l.commit_index < w->count + 1)
        return false;
    for (unsigned i = 0; i < w->count; i++) {
        struct node *n = &w->nodes[i];
        struct replica_status s;
        if (!n->running || n->frozen || n->cut)
            continue;
        replica_status_get(n->replica, &s);
        if (s.leader_id != leader->id || s.term != l.term || s.applied_index < l.commit_index)
            return false;
    }
    return true;
}

struct node *world_lead(struct world *w)
{
    for (int i = 0; i < 20000; i++) {
        struct node *leader = world_leader(w);
        if (leader && all_follow(w, leader))
            return leader;
        world_step(w);
    }
    for (unsigned i = 0; i < w->count; i++) {
        struct replica_status s = {0};
        if (w->nodes[i].running)
            replica_status_get(w->nodes[i].replica, &s);
        print_message("n%u: id %llx leader %llx term %llu commit %llu applied %llu last %llu\n", i,
                      (unsigned long long)w->nodes[i].id, (unsigned long long)s.leader_id,
                      (unsigned long long)s.term, (unsigned long long)s.commit_index,
                      (unsigned long long)s.applied_index, (unsigned long long)s.last_index);
    }
    fail_msg("no leader after 20 s");
    return NULL;
}
