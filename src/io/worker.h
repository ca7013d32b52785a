/* Threads for what may block or takes long: names, TLS handshakes, bcrypt, zeroing of files.
 * A job is done by one of a few workers, first come first served, and then comes back to its
 * loop as a task (or is simply over, where it names none).
 * Thread: post any; `work` on a worker, `done` on the loop.
 * Owns: its threads. A job lies inside its poster's object and must live until it has come back;
 * it cannot be cancelled: whoever loses interest marks the object and frees it in `done`. */
#pragma once

#include "io/loop.h"

struct io_workers;

struct io_job {
    struct io_task task; /* io's own */
    struct io_job *next; /* io's own */
    void (*work)(struct io_job *self);
    void (*done)(struct io_job *self); /* on `loop`; NULL: nothing comes back */
    struct io_loop *loop;
};

/* Fails: ERR_LIMIT where the system gives no thread. */
MUST err io_workers_new(unsigned threads, struct io_workers **ret_workers);
/* Finishes what was posted, then joins. The loops of its jobs must still exist. NULL is fine. */
void io_workers_free(struct io_workers *self);
void io_workers_post(struct io_workers *self, struct io_job *job);
