#include "mvcc/hash_job.h"

#define SLICE_ROWS 5000

static err take_pin(struct mvcc_hash_job *self, struct mvcc_pins *pins, uint64_t now_ms)
{
    self->pins = pins;
    if (err_ok(mvcc_pin_take(pins, self->hash.pin_seq, now_ms, &self->pin)))
        return OK;
    mvcc_hash_done(&self->hash);
    return ERR_REQUEST_TOO_MANY_REQUESTS;
}

err mvcc_hash_job_begin(struct mvcc_hash_job *self, const struct mvcc_view *view, int64_t revision,
                        struct mvcc_pins *pins, uint64_t now_ms)
{
    *self = (struct mvcc_hash_job){.revision = view->revision};
    TRY(mvcc_hash_begin(&self->hash, view, revision));
    return take_pin(self, pins, now_ms);
}

err mvcc_hash_job_begin_on(struct mvcc_hash_job *self, const struct mvcc_view *view,
                           int64_t revision, struct mvcc_hash_base *base, struct mvcc_pins *pins,
                           uint64_t now_ms)
{
    *self = (struct mvcc_hash_job){.revision = view->revision};
    TRY(mvcc_hash_begin_on(&self->hash, view, revision, base));
    return take_pin(self, pins, now_ms);
}

err mvcc_hash_job_begin_all(struct mvcc_hash_job *self, const struct mvcc_view *view,
                            struct mvcc_pins *pins, uint64_t now_ms)
{
    *self = (struct mvcc_hash_job){.revision = view->revision};
    mvcc_hash_begin_all(&self->hash, view);
    return take_pin(self, pins, now_ms);
}

err mvcc_hash_job_run(struct mvcc_hash_job *self, const struct mvcc_view *view, uint64_t now_ms,
                      bool *ret_done)
{
    unsigned budget = SLICE_ROWS;
    TRY(mvcc_pin_touch(&self->pin, now_ms));
    return mvcc_hash_run(&self->hash, view, &budget, ret_done);
}

void mvcc_hash_job_done(struct mvcc_hash_job *self)
{
    if (!self->pins)
        return;
    mvcc_hash_done(&self->hash);
    mvcc_pin_drop(self->pins, &self->pin);
    self->pins = NULL;
}
