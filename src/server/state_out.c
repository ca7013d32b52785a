#include "server/state_out.h"

#include "base/bug.h"
#include "base/check.h"
#include "base/clock.h"
#include "state/members_v2.h"
#include "state/snapshot.h"

#include <stdlib.h>

/* Under one guard: below a millisecond. */
#define MEASURE_CHANGES 4000u
#define READ_CHANGES    1000u

struct reading {
    struct state_out *out;
    struct snapshot_source *source;
    bool measured;
};

void state_out_init(struct state_out *self, const struct replica *replica, struct epoch *epoch,
                    struct mvcc_pins *pins)
{
    *self = (struct state_out){
        .replica = replica, .epoch = epoch, .slot = epoch_register(epoch), .pins = pins};
    CHECK(pthread_mutex_init(&self->lock, NULL) == 0);
}

void state_out_done(struct state_out *self)
{
    if (self->replica)
        pthread_mutex_destroy(&self->lock);
    self->replica = NULL;
}

/* Raft's configuration and the v2 store, as the members of that moment have it. */
static void snapshot_fill(struct raft_snapshot *snapshot, const struct replica_view *view)
{
    const struct membership *members = view->members;
    struct buf json AUTO(buf_done);
    buf_init(&json, V2_STORE_BYTES_MAX);
    snapshot->index = view->applied_index + BUG(snapshot_index_ahead);
    snapshot->term = view->applied_term;
    snapshot->conf_state = (struct raft_conf_state){0};
    for (size_t i = 0; i < members->count; i++) {
        const struct member *member = &members->members[i];
        struct raft_id_set *set =
            member->learner ? &snapshot->conf_state.learners : &snapshot->conf_state.voters;
        set->ids[set->count++] = member->id;
    }
    raft_blob_unref(snapshot->blob);
    snapshot->blob = NULL;
    snapshot->data = BYTES_NONE;
    if (err_ok(membership_put_v2_store(members, &json)))
        snapshot->blob = raft_blob_copy(buf_bytes(&json), &snapshot->data);
}

static uint64_t now_ms(const struct state_out *self)
{
    return self->now_ms ? self->now_ms(self->now_ctx) : clock_mono_ms();
}

static err open_moment(void *ctx, struct raft_snapshot *snapshot)
{
    struct reading *self = ctx;
    struct state_out *of = self->out;
    pthread_mutex_lock(&of->lock);
    epoch_enter(of->epoch, of->slot);
    const struct replica_view *view = replica_view_get(of->replica);
    const struct snapshot_moment moment = {.view = view->mvcc,
                                           .members = view->members,
                                           .index = view->applied_index,
                                           .term = view->applied_term};
    err e = view->applied_index < snapshot->index
                ? ERR_AGAIN
                : snapshot_source_new(&moment, of->pins, now_ms(of), &self->source);
    if (err_ok(e))
        snapshot_fill(snapshot, view);
    epoch_leave(of->slot);
    pthread_mutex_unlock(&of->lock);
    return e;
}

static err read_slice(struct reading *self, size_t enough, struct buf *out, bool *ret_end)
{
    struct state_out *of = self->out;
    uint64_t at_ms = now_ms(of);
    epoch_enter(of->epoch, of->slot);
    const struct mvcc_view *view = replica_view_get(of->replica)->mvcc;
    unsigned budget = self->measured ? READ_CHANGES : MEASURE_CHANGES;
    err e = self->measured
                ? snapshot_source_read(self->source, view, at_ms, &budget, enough, out, ret_end)
                : snapshot_source_measure(self->source, view, at_ms, &budget, &self->measured);
    epoch_leave(of->slot);
    return e;
}

static err read_some(void *ctx, size_t enough, struct buf *out, bool *ret_end)
{
    struct reading *self = ctx;
    *ret_end = false;
    while (out->len < enough && !*ret_end) {
        pthread_mutex_lock(&self->out->lock);
        err e = read_slice(self, enough, out, ret_end);
        pthread_mutex_unlock(&self->out->lock);
        TRY(e);
    }
    return OK;
}

static void reading_free(void *ctx)
{
    struct reading *self = ctx;
    snapshot_source_free(self->source);
    free(self);
}

struct peer_snapshot_body state_out_body(struct state_out *self)
{
    struct reading *reading = calloc(1, sizeof(*reading));
    CHECK(reading);
    reading->out = self;
    return (struct peer_snapshot_body){reading, open_moment, read_some, reading_free};
}
