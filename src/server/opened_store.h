/* A store's directory from its files to a replicated state that can be read and applied to: the
 * stage, the revision log, the tail, the index and what lies in the small buckets. A start opens
 * one, and so does a received snapshot beside the one in use.
 *
 * Thread: open and close, any one; of what it opened, as each part says.
 * Owns: all of it, until parts are taken. */
#pragma once

#include "base/arena.h"
#include "mvcc/store.h"
#include "mvcc/store_checkpoint.h"
#include "mvcc/tail.h"
#include "server/config.h"
#include "stage/store.h"
#include "state/state.h"

struct opened_store {
    struct stage_store *stage;
    struct stage_store_recovery recovery;
    struct tail *tail;
    struct mvcc_store *mvcc;
    struct mvcc_checkpoint_source source;
    bool has_source;
    struct state *state; /* owns mvcc once it is there */
};

/* stage_config->dir is the directory; limits may be NULL. *ret_reason, in the arena, is for people.
 * Fails: as stage_store_open; ERR_CORRUPT; what state_new fails with. To be closed whatever the
 * outcome. */
MUST err opened_store_open(struct opened_store *self, const struct stage_store_config *stage_config,
                           const struct tail_limits *limits, const struct config *config,
                           struct arena *arena, const char **ret_reason);
/* The replica has taken the state (and with it mvcc). */
void opened_store_state_taken(struct opened_store *self);
/* Frees what is left but for the stage, which is the caller's to free behind a last epoch_reclaim.
 * The stage's thread has stopped. Idempotent. */
void opened_store_close(struct opened_store *self);
