/* A store of the simulator's own, small and plain: what the committed entries come to. What a
 * member shows and answers must be what this says. */
#pragma once

#include "raft/types.h"

#include <stdbool.h>
#include <stdint.h>

struct sim;
struct model;

struct model_state {
    bool exists;
    int64_t create, mod, version, lease;
    uint64_t value; /* hash */
};
#define MODEL_OPS_MAX 4
/* What came of a request. */
struct model_result {
    uint64_t request_id, index;
    int code; /* err */
    int64_t revision;
    bool succeeded;
    unsigned count;
    struct {
        int64_t deleted;
        unsigned key;
        struct model_state seen; /* of a range: what it finds; of a put: what was there before */
    } ops[MODEL_OPS_MAX];
};

struct model_lease {
    int64_t id, ttl_s;
    bool revoked;
    uint64_t granted_us, revoked_us; /* when the entry was first seen applied */
    uint64_t promised_us;            /* by the answers that clients have: not before that */
    uint64_t asked_us;               /* when it was last asked to go on, with or without answer */
    bool to_revoke;                  /* a client asked for its end */
};

struct model *model_new(struct sim *sim);
void model_free(struct model *self);
/* The next committed entry. */
void model_apply(struct model *self, const struct raft_entry *entry);
int64_t model_revision(const struct model *self);
int64_t model_compacted(const struct model *self);
/* For its hashes. */
struct model_rows;
const struct model_rows *model_rows(const struct model *self);
/* NULL where no member has applied it. */
const struct model_result *model_result_of(const struct model *self, uint64_t request_id);
/* Of keys below plan.keys alone. */
struct model_state model_get(const struct model *self, unsigned key, int64_t revision);
struct model_change {
    int64_t revision;
    unsigned key;
    bool deleted;
};
/* The changes of keys [from, to) with revisions [lo, hi], by revision. *ret_changes is the
 * caller's to free. */
size_t model_changes(const struct model *self, unsigned from, unsigned to, int64_t lo, int64_t hi,
                     struct model_change **ret_changes);
/* A member that has raised NOSPACE; 0: none. */
uint64_t model_alarm(const struct model *self);
/* Of all leases that are there, and of all alarms; the order does not matter. */
uint64_t model_lease_sum(const struct model *self);
uint64_t model_lease_hash(int64_t id, int64_t ttl_s);
uint64_t model_alarm_sum(const struct model *self);
uint64_t model_alarm_hash(uint64_t member_id);
size_t model_lease_count(const struct model *self);
/* All that were ever granted, in that order. */
struct model_lease *model_lease_at(struct model *self, size_t at);
struct model_lease *model_lease_find(struct model *self, int64_t id);
uint64_t model_hash_bytes(struct bytes what);
void model_key_name(unsigned key, char out[8]);
