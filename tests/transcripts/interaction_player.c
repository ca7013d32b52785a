/* The commands of interaction transcripts:
 *
 *   log-level LEVEL                              none: outputs are `ok`, whatever happened
 *   add-nodes N [voters=(..)] [learners=(..)] [index=I] [inflight=N] [inflight-bytes=B]
 *             [prevote] [checkquorum] [async-storage-writes] [group-appends]
 *             [commit-in-votes]
 *             [max-size-per-msg=B] [max-committed-size-per-ready=B] [max-uncommitted-size=B]
 *             [disable-conf-change-validation] [disable-proposal-forwarding]
 *             [step-down-on-removal] [read-only=safe|lease-based]
 *   campaign N | tick-election N | tick-heartbeat N | forget-leader N | hold-elections N on|off
 *   set-randomized-election-timeout N timeout=T
 *   propose N DATA.. | read-index N ID
 *   propose-conf-change N [v1] [transition=auto|implicit|explicit], input: v1 l2 r3 u4
 *   transfer-leadership from=N to=M | report-unreachable N M | report-snapshot N M ok|failed
 *   process-ready N.. | process-append-thread N.. | process-apply-thread N..
 *   deliver-msgs [N..] [drop=(..)] [type=T]
 *   stabilize [N..] [log-level=LEVEL]
 *   compact N I | send-snapshot N M
 *   raft-state | raft-log N | status N */
#include "players.h"

#include "describe.h"
#include "env.h"

#include <inttypes.h>
#include <stdlib.h>

static struct node *node_arg(struct env *env, const struct command *command, size_t i)
{
    CHECK(i < command->arg_count);
    return env_node(env, strtoull(command->args[i].key, NULL, 10));
}

static void fail(struct env *env, err e)
{
    if (!err_ok(e))
        env->error = err_text(e);
}

/* ENV_LEVELS: no such level, and nothing is as high. */
static enum env_level level_of(const char *name)
{
    static const char *const names[] = {"debug", "info", "warn", "error", "fatal", "none"};
    for (int i = 0; i < ENV_LEVELS; i++)
        if (strcmp(names[i], name) == 0)
            return (enum env_level)i;
    return ENV_LEVELS;
}

static void read_ids(const struct command *command, const char *key, struct raft_id_set *set)
{
    const struct command_arg *arg = command_find(command, key);
    for (size_t i = 0; arg && i < arg->value_count; i++) {
        bool added = raft_id_set_add(set, strtoull(arg->values[i], NULL, 10));
        CHECK(added);
    }
}

static void run_add_nodes(struct env *env, const struct command *command)
{
    const struct command_arg *read_only = command_find(command, "read-only");
    bool lease = read_only && strcmp(read_only->values[0], "lease-based") == 0;
    struct raft_config config = {
        .election_ticks = 3,
        .heartbeat_ticks = 1,
        .max_size_per_msg = command_number(command, "max-size-per-msg", UINT64_MAX),
        .max_committed_size_per_ready =
            command_number(command, "max-committed-size-per-ready", UINT64_MAX),
        .max_uncommitted_size = command_number(command, "max-uncommitted-size", 0),
        .max_inflight_msgs = (uint32_t)command_number(command, "inflight", INT32_MAX),
        .max_inflight_bytes = command_number(command, "inflight-bytes", 0),
        .read_mode = lease ? RAFT_READ_LEASE_BASED : RAFT_READ_SAFE,
        .check_quorum = command_flag(command, "checkquorum"),
        .pre_vote = command_flag(command, "prevote"),
        .async_storage_writes = command_flag(command, "async-storage-writes"),
        .group_appends = command_flag(command, "group-appends"),
        .commit_in_votes = command_flag(command, "commit-in-votes"),
        .disable_proposal_forwarding = command_flag(command, "disable-proposal-forwarding"),
        .disable_conf_change_validation = command_flag(command, "disable-conf-change-validation"),
        .step_down_on_removal = command_flag(command, "step-down-on-removal"),
    };
    struct raft_snapshot snapshot = {.index = command_number(command, "index", 0)};
    snapshot.term = snapshot.index > 0 ? 1 : 0;
    read_ids(command, "voters", &snapshot.conf_state.voters);
    read_ids(command, "learners", &snapshot.conf_state.learners);
    uint64_t n = strtoull(command->args[0].key, NULL, 10);
    for (uint64_t i = 0; i < n; i++)
        env_add_node(env, config, &snapshot);
}

static void run_log_level(struct env *env, const struct command *command)
{
    env->level = level_of(command->args[0].key);
}

static void run_campaign(struct env *env, const struct command *command)
{
    raft_campaign(node_arg(env, command, 0)->raft);
}

static void run_tick_election(struct env *env, const struct command *command)
{
    struct node *node = node_arg(env, command, 0);
    for (uint32_t i = 0; i < node->config.election_ticks; i++)
        raft_tick(node->raft);
}

static void run_tick_heartbeat(struct env *env, const struct command *command)
{
    struct node *node = node_arg(env, command, 0);
    for (uint32_t i = 0; i < node->config.heartbeat_ticks; i++)
        raft_tick(node->raft);
}

static void run_forget_leader(struct env *env, const struct command *command)
{
    raft_forget_leader(node_arg(env, command, 0)->raft);
}

static void run_hold_elections(struct env *env, const struct command *command)
{
    raft_hold_elections(node_arg(env, command, 0)->raft, strcmp(command->args[1].key, "on") == 0);
}

static void run_set_timeout(struct env *env, const struct command *command)
{
    raft_set_election_timeout(node_arg(env, command, 0)->raft,
                              (uint32_t)command_number(command, "timeout", 0));
}

static void run_propose(struct env *env, const struct command *command)
{
    struct raft_entry entries[COMMAND_ARGS_MAX] = {0};
    size_t count = command->arg_count - 1;
    for (size_t i = 0; i < count; i++)
        entries[i].data = bytes_str(command->args[i + 1].key);
    fail(env, raft_propose_entries(node_arg(env, command, 0)->raft, entries, count));
}

static void run_read_index(struct env *env, const struct command *command)
{
    fail(env, raft_read_index(node_arg(env, command, 0)->raft, bytes_str(command->args[1].key)));
}

static void run_propose_conf_change(struct env *env, const struct command *command)
{
    struct raft_conf_change change = {0};
    const struct command_arg *transition = command_find(command, "transition");
    if (transition && strcmp(transition->values[0], "implicit") == 0)
        change.transition = RAFT_TRANSITION_JOINT_IMPLICIT;
    if (transition && strcmp(transition->values[0], "explicit") == 0)
        change.transition = RAFT_TRANSITION_JOINT_EXPLICIT;
    if (!parse_conf_changes(command->input, &change)) {
        env->error = "not a list of changes";
        return;
    }
    fail(env, raft_propose_conf_change(node_arg(env, command, 0)->raft, &change,
                                       command_flag(command, "v1")));
}

static void run_transfer(struct env *env, const struct command *command)
{
    struct node *node = env_node(env, command_number(command, "from", 0));
    raft_transfer_leader(node->raft, command_number(command, "to", 0));
}

static void run_report_unreachable(struct env *env, const struct command *command)
{
    raft_report_unreachable(node_arg(env, command, 0)->raft, node_arg(env, command, 1)->config.id);
}

static void run_report_snapshot(struct env *env, const struct command *command)
{
    raft_report_snapshot(node_arg(env, command, 0)->raft, node_arg(env, command, 1)->config.id,
                         strcmp(command->args[2].key, "ok") == 0);
}

/* One node: plainly; several: each under its title. */
static void run_each(struct env *env, const struct command *command, const char *title,
                     env_step step)
{
    for (size_t i = 0; i < command->arg_count; i++) {
        if (command->arg_count == 1)
            step(env, node_arg(env, command, i));
        else
            env_titled(env, node_arg(env, command, i), title, step);
    }
}

static void run_process_ready(struct env *env, const struct command *command)
{
    run_each(env, command, "handling Ready", env_process_ready);
}

static void run_process_append(struct env *env, const struct command *command)
{
    run_each(env, command, "processing append thread", env_process_append);
}

static void run_process_apply(struct env *env, const struct command *command)
{
    run_each(env, command, "processing apply thread", env_process_apply);
}

static void run_deliver(struct env *env, const struct command *command)
{
    unsigned type = RAFT_MESSAGE_TYPE_COUNT;
    const struct command_arg *only = command_find(command, "type");
    for (unsigned i = 0; only && i < RAFT_MESSAGE_TYPE_COUNT; i++)
        if (strcmp(raft_message_type_text((enum raft_message_type)i), only->values[0]) == 0)
            type = i;
    size_t n = 0;
    for (size_t i = 0; i < command->arg_count; i++) {
        const struct command_arg *arg = &command->args[i];
        if (arg->value_count == 0)
            n += env_deliver(env, strtoull(arg->key, NULL, 10), type, false);
        for (size_t k = 0; strcmp(arg->key, "drop") == 0 && k < arg->value_count; k++)
            n += env_deliver(env, strtoull(arg->values[k], NULL, 10), type, true);
    }
    if (n == 0)
        put_text(env->out, "no messages\n");
}

static void run_stabilize(struct env *env, const struct command *command)
{
    struct node *nodes[NODES_MAX];
    size_t count = 0;
    for (size_t i = 0; i < command->arg_count; i++)
        if (command->args[i].value_count == 0)
            nodes[count++] = node_arg(env, command, i);
    for (uint64_t id = 1; count == 0 && id <= env->count; id++)
        nodes[id - 1] = env_node(env, id);
    enum env_level before = env->level;
    const struct command_arg *level = command_find(command, "log-level");
    if (level)
        env->level = level_of(level->values[0]);
    env_stabilize(env, nodes, count > 0 ? count : env->count);
    if (env->level == ENV_NONE)
        buf_clear(env->out);
    env->level = before;
}

static void run_raft_log(struct env *env, const struct command *command)
{
    struct raft_storage table = raft_memory_storage_table(node_arg(env, command, 0)->storage);
    uint64_t first = table.first_index(table.ctx);
    uint64_t last = table.last_index(table.ctx);
    if (last < first) {
        put_text(env->out, "log is empty: first index=%" PRIu64 ", last index=%" PRIu64 "\n", first,
                 last);
        return;
    }
    for (uint64_t index = first; index <= last; index++) {
        struct raft_entry entry;
        size_t count;
        err e = table.entries(table.ctx, index, index + 1, UINT64_MAX, 1, &entry, &count);
        CHECK(err_ok(e) && count == 1);
        describe_entry(env->out, &entry);
        put_text(env->out, "\n");
        raft_entries_unref(&entry, 1);
    }
}

static void run_compact(struct env *env, const struct command *command)
{
    uint64_t index = strtoull(command->args[1].key, NULL, 10);
    fail(env, raft_memory_storage_compact(node_arg(env, command, 0)->storage, index));
    run_raft_log(env, command);
}

static void run_send_snapshot(struct env *env, const struct command *command)
{
    struct node *from = node_arg(env, command, 0);
    struct raft_message m = {
        .type = RAFT_MSG_SNAP,
        .from = from->config.id,
        .to = node_arg(env, command, 1)->config.id,
        .term = raft_term(from->raft),
        .snapshot = &from->applied,
    };
    message_list_push(&env->wire, raft_message_copy(&m));
    describe_message(env->out, &m, "");
    put_text(env->out, "\n");
}

static void run_raft_state(struct env *env, const struct command *command)
{
    (void)command;
    for (size_t i = 0; i < env->count; i++) {
        const struct raft *raft = env->nodes[i].raft;
        bool voter = raft_conf_state_is_voter(raft_conf(raft), raft_id(raft));
        put_text(env->out, "%" PRIu64 ": %s (%s) Term:%" PRIu64 " Lead:%" PRIu64 "\n",
                 raft_id(raft), raft_role_text(raft_role(raft)), voter ? "Voter" : "Non-Voter",
                 raft_term(raft), raft_leader(raft));
    }
}

static void run_status(struct env *env, const struct command *command)
{
    struct raft_status status;
    raft_status(node_arg(env, command, 0)->raft, &status);
    for (uint32_t i = 0; i < status.peer_count; i++) {
        char text[200];
        raft_peer_status_text(&status.peers[i], text, sizeof(text));
        put_text(env->out, "%" PRIu64 ": %s\n", status.peers[i].id, text);
    }
}

static const struct {
    const char *name;
    void (*run)(struct env *env, const struct command *command);
} commands[] = {
    {"add-nodes", run_add_nodes},
    {"campaign", run_campaign},
    {"compact", run_compact},
    {"deliver-msgs", run_deliver},
    {"forget-leader", run_forget_leader},
    {"hold-elections", run_hold_elections},
    {"log-level", run_log_level},
    {"process-append-thread", run_process_append},
    {"process-apply-thread", run_process_apply},
    {"process-ready", run_process_ready},
    {"propose", run_propose},
    {"propose-conf-change", run_propose_conf_change},
    {"raft-log", run_raft_log},
    {"raft-state", run_raft_state},
    {"read-index", run_read_index},
    {"report-snapshot", run_report_snapshot},
    {"report-unreachable", run_report_unreachable},
    {"send-snapshot", run_send_snapshot},
    {"set-randomized-election-timeout", run_set_timeout},
    {"stabilize", run_stabilize},
    {"status", run_status},
    {"tick-election", run_tick_election},
    {"tick-heartbeat", run_tick_heartbeat},
    {"transfer-leadership", run_transfer},
};

static void run(void *ctx, const struct command *command, struct buf *out)
{
    struct env *env = ctx;
    env->out = out;
    env->error = NULL;
    size_t i = 0;
    size_t n = sizeof(commands) / sizeof(commands[0]);
    while (i < n && strcmp(commands[i].name, command->name) != 0)
        i++;
    if (i == n)
        env->error = "unknown command";
    else
        commands[i].run(env, command);
    if (env->level == ENV_NONE)
        buf_clear(out);
    if (env->error)
        put_text(out, "%s\n", env->error);
    if (out->len == 0)
        put_text(out, "ok\n");
}

static void *begin(void)
{
    return env_new();
}

static void end(void *ctx)
{
    env_free(ctx);
}

const struct player interaction_player = {"interaction", begin, run, end};
