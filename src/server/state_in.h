/* A state that a member sends here, until it lies staged and raft has been told.
 *
 *     pieces ─> two buffers ─> a worker writes them ─> synced: answered (204)
 *            ─> a worker stages a store out of the file ─> replica_step_snapshot
 *
 * One at a time. The sender is answered as soon as the file is durable, since it waits a few
 * seconds only; until the store is staged the replica keeps still about what would follow on it.
 * What is cut or refused leaves nothing behind; what a crash leaves is removed by the next start.
 *
 * Thread: the core's loop.  Owns: the file and the staged store, until raft has taken it. */
#pragma once

#include "io/worker.h"
#include "peer/peers.h"
#include "server/core.h"
#include "server/staged_store.h"

/* What is around it where there are no loop, workers and sockets (a simulator). */
struct state_in_wire {
    /* Runs job->work, and later job->done where everything else here is called. */
    void (*post)(void *ctx, struct io_job *job);
    uint64_t (*now_ms)(void *ctx);
    /* As peers_snapshot_answer and peers_snapshot_resume. */
    void (*answer)(struct peer_snapshot_in *from, err error);
    void (*resume)(struct peer_snapshot_in *from);
    /* One that came whole cannot be staged. */
    void (*useless)(void *ctx, err error, const char *reason);
    void *ctx;
};

struct state_in_config {
    struct io_loop *loop;
    struct io_workers *bulk;
    const struct state_in_wire *wire; /* NULL: the two above, and the peers' own; copied */
    struct core *core;
    struct replica *replica;
    struct stage_build_config build; /* index, suffix and given_up are set here; parent is copied */
    const struct config *config;
};

struct state_in;

/* Once, before threads start. */
void state_in_register_metrics(void);
struct state_in *state_in_new(const struct state_in_config *config);
/* What a worker is busy with ends early; nothing is stepped any more. */
void state_in_give_up(struct state_in *self);
/* When the workers have ended and their jobs have come back. NULL is legal. */
void state_in_free(struct state_in *self);

/* As peers_handler has them. */
void *state_in_begin(struct state_in *self, const struct raft_message *message,
                     struct peer_snapshot_in *from);
bool state_in_piece(void *snapshot, struct bytes piece);
void state_in_end(void *snapshot);
void state_in_cut(void *snapshot);
