/* Leases: who is told that one lives on has it for as long as was said.
 *
 *  1. no lease ends, unless a client asked for it, before the time that any answer promised has
 *     passed since the question was asked; clocks may drift, but where one jumped nothing is said;
 *  2. a lease that nobody keeps alive ends, once there is nothing in its way. */
#include "client_priv.h"

#include "base/check.h"

/* An election and a lease of the greatest length, with some room. */
#define LEASE_END_US (20 * SECOND)

int64_t lease_any(struct clients *self)
{
    size_t count = model_lease_count(self->sim->model);
    if (!count)
        return 0;
    size_t newest = count < 8 ? count : 8;
    return model_lease_at(self->sim->model, count - 1 - sim_below(self->sim, newest))->id;
}

static void check_early(struct clients *self, const struct model_lease *lease)
{
    struct sim *sim = self->sim;
    bool may = !lease->revoked || lease->to_revoke || sim->jumped_us >= lease->granted_us;
    uint64_t drift_us = (uint64_t)lease->ttl_s * SECOND / 20;
    if (!may && lease->revoked_us + drift_us < lease->promised_us)
        sim_fail(sim, "lease %lld of %lld s ends at %llu ms, promised was %llu ms",
                 (long long)lease->id, (long long)lease->ttl_s,
                 (unsigned long long)(lease->revoked_us / MS),
                 (unsigned long long)(lease->promised_us / MS));
}

static void promised(struct clients *self, struct model_lease *lease, uint64_t until_us)
{
    if (until_us > lease->promised_us)
        lease->promised_us = until_us;
    check_early(self, lease);
}

void clients_lease_ended(struct clients *self, const struct model_lease *lease)
{
    self->sim->counts->leases_ended++;
    check_early(self, lease);
}

void lease_granted(struct clients *self, struct node *member, const struct op *op,
                   const struct state_result *result)
{
    struct model_lease *lease = model_lease_find(self->sim->model, op->lease);
    CHECK(lease);
    if (result->lease_id != lease->id || result->lease_ttl_s != lease->ttl_s)
        sim_fail(self->sim, "m%u grants lease %lld for %lld s, must be %lld for %lld s", member->at,
                 (long long)result->lease_id, (long long)result->lease_ttl_s, (long long)lease->id,
                 (long long)lease->ttl_s);
    promised(self, lease, op->asked_us + (uint64_t)lease->ttl_s * SECOND);
    if (op->client < SIM_CLIENTS_MAX)
        self->items[op->client].lease = lease->id;
}

void lease_asked(struct clients *self, struct op *op, struct node *member)
{
    struct model_lease *lease = model_lease_find(self->sim->model, op->lease);
    bool keeps = sim_chance(self->sim, 750);
    if (lease && keeps)
        lease->asked_us = self->sim->now_us;
    op->keeps = keeps;
    member_ask_lease(member, token_of(self, op), keeps ? LEASE_KEEP_ALIVE : LEASE_TIME_LEFT,
                     op->lease);
}

void lease_answered(struct clients *self, struct node *member, struct op *op,
                    const struct replica_reply *reply)
{
    struct sim *sim = self->sim;
    err e = reply->result.error;
    if (err_is(e, ERR_NO_LEADER) || err_is(e, ERR_TIMEOUT) || err_is(e, ERR_STOPPED) ||
        err_is(e, ERR_TIMEOUT_WAIT_APPLIED_INDEX))
        return;
    if (!err_ok(e))
        sim_fail(sim, "m%u: a question about a lease fails with %s", member->at, err_name(e));
    sim->counts->leases_asked++;
    struct model_lease *lease = model_lease_find(sim->model, op->lease);
    if (!lease || reply->lease.ttl_s <= 0)
        return; /* a leader that nobody follows any more may not know it */
    int64_t length_s = op->keeps ? reply->lease.ttl_s : reply->lease.granted_s;
    if (length_s != lease->ttl_s || reply->lease.ttl_s > lease->ttl_s + 2)
        sim_fail(sim, "m%u says of lease %lld: %lld s of %lld, must be of %lld", member->at,
                 (long long)lease->id, (long long)reply->lease.ttl_s, (long long)length_s,
                 (long long)lease->ttl_s);
    promised(self, lease, op->asked_us + (uint64_t)reply->lease.ttl_s * SECOND);
}

void leases_check_last(struct clients *self)
{
    struct sim *sim = self->sim;
    for (size_t i = 0; i < model_lease_count(sim->model); i++) {
        const struct model_lease *lease = model_lease_at(sim->model, i);
        uint64_t from_us =
            lease->asked_us > lease->granted_us ? lease->asked_us : lease->granted_us;
        if (sim->healed_us > from_us)
            from_us = sim->healed_us;
        if (!lease->revoked && from_us + LEASE_END_US < sim->now_us)
            sim_fail(sim, "lease %lld of %lld s never ends, nobody asked for it since %llu ms",
                     (long long)lease->id, (long long)lease->ttl_s,
                     (unsigned long long)(lease->asked_us / MS));
    }
}
