/* What clients and other members ask of one, as fronts and peers hand it to the core. */
#include "sim.h"

#include "base/check.h"
#include "member_priv.h"

#include <stdlib.h>

static struct front_batch *batch_new(void)
{
    struct front_batch *batch = calloc(1, sizeof(*batch));
    CHECK(batch);
    return batch;
}

static void batch_post(struct node *self, struct front_batch *batch)
{
    mailbox_post(&core_inbox(self->life->core)->batches, &batch->node);
    member_wake(self);
}

void member_propose(struct node *self, uint64_t token, uint64_t request_id, struct bytes data,
                    bool until_swept)
{
    struct front_batch *batch = batch_new();
    struct replica_proposal *proposal = &batch->proposals[batch->proposal_count++];
    *proposal = (struct replica_proposal){
        .token = token, .request_id = request_id, .until_swept = until_swept};
    proposal->blob = raft_blob_copy(data, &proposal->data);
    batch->blob = proposal->blob;
    batch_post(self, batch);
}

void member_read(struct node *self, uint64_t token)
{
    struct front_batch *batch = batch_new();
    batch->reads[batch->read_count++] = token;
    batch_post(self, batch);
}

void member_ask_lease(struct node *self, uint64_t token, enum replica_lease_kind kind,
                      int64_t lease_id)
{
    struct front_batch *batch = batch_new();
    batch->leases[batch->lease_count++] =
        (struct replica_lease_ask){.token = token, .kind = kind, .lease_id = lease_id};
    batch_post(self, batch);
}

/* Such questions are a front's of their own, as the server has it. */
static uint64_t serve(struct node *self, struct served_ask ask)
{
    if (self->served_count == self->served_cap) {
        self->served_cap = self->served_cap ? self->served_cap * 2 : 64;
        self->served = realloc(self->served, self->served_cap * sizeof(self->served[0]));
        CHECK(self->served);
    }
    self->served[self->served_count++] = ask;
    return token_make(1, 0, (uint32_t)self->served_count);
}

void member_serve_lease(struct node *self, unsigned from, uint64_t from_life, uint64_t ask,
                        enum replica_lease_kind kind, int64_t lease_id)
{
    struct served_ask served = {from, from_life, ask, false};
    struct replica_lease_ask question = {
        .token = serve(self, served), .kind = kind, .lease_id = lease_id, .from_member = true};
    replica_ask_leases(self->life->replica, &question, 1, member_ms(self));
    member_wake(self);
}

void member_lease_answered(struct node *self, uint64_t life, uint64_t ask, err error,
                           const struct replica_lease_answer *answer)
{
    if (self->state != MEMBER_UP || life != self->life_number)
        return;
    replica_lease_answered(self->life->replica, ask, error, answer, member_ms(self));
    member_wake(self);
}

void member_transfer(struct node *self, uint64_t token, uint64_t to)
{
    struct front_batch *batch = batch_new();
    batch->members[batch->member_count++] =
        (struct link_member_request){.token = token, .is_transfer = true, .change.member.id = to};
    batch_post(self, batch);
}

void member_change(struct node *self, uint64_t token, const struct member_change *change)
{
    struct front_batch *batch = batch_new();
    batch->members[batch->member_count++] =
        (struct link_member_request){.token = token, .change = *change};
    batch_post(self, batch);
}

void member_serve_promotion(struct node *self, unsigned from, uint64_t from_life, uint64_t ask,
                            uint64_t member_id)
{
    struct served_ask served = {from, from_life, ask, true};
    const struct member_change change = {MEMBER_PROMOTE, {.id = member_id}};
    replica_change_members(self->life->replica, serve(self, served), &change, true,
                           member_ms(self));
    member_wake(self);
}

void member_promotion_answered(struct node *self, uint64_t life, uint64_t ask, err error)
{
    if (self->state != MEMBER_UP || life != self->life_number)
        return;
    replica_promotion_answered(self->life->replica, ask, error, member_ms(self));
    member_wake(self);
}
