#include "players.h"

#include "describe.h"
#include "raft/tracker.h"

#include <inttypes.h>
#include <stdlib.h>

struct confchange_env {
    struct raft_tracker tracker;
    uint64_t last_index; /* rises with each command, so that `next` tells who is new */
};

static void *begin(void)
{
    struct confchange_env *self = calloc(1, sizeof(*self));
    CHECK(self);
    raft_tracker_init(&self->tracker, 10, 0);
    return self;
}

static void end(void *ctx)
{
    struct confchange_env *self = ctx;
    raft_tracker_done(&self->tracker);
    free(self);
}

static void put_state(const struct raft_tracker *tracker, struct buf *out)
{
    char text[256];
    raft_conf_text(&tracker->conf, text, sizeof(text));
    put_text(out, "%s\n", text);
    for (uint32_t i = 0; i < tracker->count; i++) {
        struct raft_peer_status status;
        raft_progress_status(&tracker->peers[i], &status);
        raft_peer_status_text(&status, text, sizeof(text));
        put_text(out, "%" PRIu64 ": %s\n", status.id, text);
    }
}

static void run(void *ctx, const struct command *command, struct buf *out)
{
    struct confchange_env *self = ctx;
    uint64_t next = self->last_index > 0 ? self->last_index : 1;
    self->last_index++;
    struct raft_conf_change change = {0};
    if (!parse_conf_changes(command->input, &change)) {
        put_text(out, "not a list of changes\n");
        return;
    }
    struct raft_conf_state conf = self->tracker.conf;
    enum raft_conf_refusal refusal;
    if (strcmp(command->name, "simple") == 0)
        refusal = raft_conf_simple(&conf, change.changes, change.count, &conf);
    else if (strcmp(command->name, "enter-joint") == 0)
        refusal = raft_conf_enter(&conf, command_flag(command, "autoleave"), change.changes,
                                  change.count, &conf);
    else if (strcmp(command->name, "leave-joint") == 0)
        refusal = raft_conf_leave(&conf, &conf);
    else
        refusal = RAFT_CONF_INVALID;
    if (refusal != RAFT_CONF_FINE) {
        put_text(out, "%s\n", raft_conf_refusal_text(refusal));
        return;
    }
    raft_tracker_switch(&self->tracker, &conf, next);
    put_state(&self->tracker, out);
}

const struct player confchange_player = {"confchange", begin, run, end};
