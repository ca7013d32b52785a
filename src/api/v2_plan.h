/* From a request and a view to the transaction that does it, or the error that it earns.
 *
 * The transaction holds where every part of the path is as it was seen (its mod revision; 0 for
 * none) and, for what must be an empty directory, where nothing below has changed; so the event
 * that was worked out beside it is what happened.
 *
 * Thread: the front's, under a guard.  Owns: nothing; all lies in the arena. */
#pragma once

#include "api/v2_internal.h"

enum v2_step {
    V2_STEP_REFUSE, /* with refusal */
    V2_STEP_LEASE,  /* a lease is needed first */
    V2_STEP_WRITE,  /* txn, and then event has happened */
    V2_STEP_CLEAN,  /* txn removes what an expired directory left; then plan again */
};

struct v2_plan_input {
    const struct v2_params *params;
    enum v2_action action;
    bool in_order; /* POST: the name comes from the index */
    bool cleaned;
    int64_t lease; /* 0: none yet */
    int64_t expiration_ns;
};

struct v2_plan {
    enum v2_step step;
    struct v2_refusal refusal;
    struct v2_event event;
    struct bytes txn; /* etcdserverpb.TxnRequest */
};

/* The action that a method with these parameters is. */
enum v2_action v2_action_of(struct bytes method, const struct v2_params *params);
/* Fails: ERR_CORRUPT, ERR_SYNTAX (a key below the prefix is no node), ERR_LIMIT (too deep). */
MUST err v2_plan(const struct mvcc_view *view, struct arena *arena,
                 const struct v2_plan_input *input, struct v2_plan *ret_plan);
