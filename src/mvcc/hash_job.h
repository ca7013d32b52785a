/* A hash that takes its time: in slices, with a pin on what it still has to see.
 * Thread: any, one at a time, each call inside a guard. */
#pragma once

#include "mvcc/hash.h"
#include "mvcc/view_pin.h"

struct mvcc_hash_job {
    struct mvcc_hash hash;
    struct mvcc_pins *pins;
    struct mvcc_pin pin;
    int64_t revision; /* the current one when it began */
};

/* HashKV at a revision as mvcc_hash_begin has it. Fails: as that; ERR_REQUEST_TOO_MANY_REQUESTS
 * without a free pin. Where it fails there is nothing to be done with the job. */
MUST err mvcc_hash_job_begin(struct mvcc_hash_job *self, const struct mvcc_view *view,
                             int64_t revision, struct mvcc_pins *pins, uint64_t now_ms);
/* The same, as mvcc_hash_begin_on; mvcc_hash_leave(&self->hash, base) once it is done. */
MUST err mvcc_hash_job_begin_on(struct mvcc_hash_job *self, const struct mvcc_view *view,
                                int64_t revision, struct mvcc_hash_base *base,
                                struct mvcc_pins *pins, uint64_t now_ms);
/* The rpc Hash. Fails: ERR_REQUEST_TOO_MANY_REQUESTS. */
MUST err mvcc_hash_job_begin_all(struct mvcc_hash_job *self, const struct mvcc_view *view,
                                 struct mvcc_pins *pins, uint64_t now_ms);
/* A slice. Fails: ERR_TIMED_OUT (the pin was broken), ERR_CORRUPT. */
MUST err mvcc_hash_job_run(struct mvcc_hash_job *self, const struct mvcc_view *view,
                           uint64_t now_ms, bool *ret_done);
/* Also after a failure, and again. */
void mvcc_hash_job_done(struct mvcc_hash_job *self);
