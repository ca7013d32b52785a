#include "env.h"

#include "describe.h"
#include "raft/conf_codec.h"

#include <inttypes.h>
#include <stdlib.h>

void message_list_push(struct message_list *self, struct raft_message *message)
{
    if (self->count == self->cap) {
        self->cap = self->cap ? self->cap * 2 : 16;
        self->items = realloc(self->items, self->cap * sizeof(struct raft_message *));
        CHECK(self->items);
    }
    self->items[self->count++] = message;
}

struct raft_message *message_list_remove(struct message_list *self, size_t at)
{
    CHECK(at < self->count);
    struct raft_message *message = self->items[at];
    self->count--;
    memmove(&self->items[at], &self->items[at + 1],
            (self->count - at) * sizeof(struct raft_message *));
    return message;
}

void message_list_done(struct message_list *self)
{
    for (size_t i = 0; i < self->count; i++)
        raft_message_free(self->items[i]);
    free(self->items);
}

struct env *env_new(void)
{
    struct env *self = calloc(1, sizeof(*self));
    CHECK(self);
    return self;
}

void env_free(struct env *self)
{
    for (size_t i = 0; i < self->count; i++) {
        struct node *node = &self->nodes[i];
        raft_free(node->raft);
        message_list_done(&node->appends);
        message_list_done(&node->applies);
        raft_memory_storage_free(node->storage);
    }
    message_list_done(&self->wire);
    free(self);
}

struct node *env_node(struct env *self, uint64_t id)
{
    CHECK(id > 0 && id <= self->count);
    return &self->nodes[id - 1];
}

static void trace(void *ctx, enum raft_trace_level level, const char *text)
{
    static const char *const names[] = {
        [RAFT_TRACE_DEBUG] = "DEBUG",
        [RAFT_TRACE_INFO] = "INFO",
        [RAFT_TRACE_WARN] = "WARN",
        [RAFT_TRACE_ERROR] = "ERROR",
    };
    struct env *self = ctx;
    if ((int)level >= (int)self->level)
        put_text(self->out, "%s %s\n", names[level], text);
}

void env_add_node(struct env *self, struct raft_config config, const struct raft_snapshot *snapshot)
{
    CHECK(self->count < NODES_MAX);
    struct node *node = &self->nodes[self->count++];
    node->env = self;
    node->storage = raft_memory_storage_new();
    node->applied = *snapshot;
    if (snapshot->index > 0) {
        err e = raft_memory_storage_install(node->storage, snapshot);
        CHECK(err_ok(e));
    }
    config.id = self->count;
    config.applied = snapshot->index;
    config.seed = self->count;
    config.trace = trace;
    config.trace_ctx = self;
    node->config = config;
    struct raft_storage table = raft_memory_storage_table(node->storage);
    err e = raft_new(&config, &table, &node->raft);
    if (!err_ok(e)) {
        self->error = err_text(e);
        self->count--;
        raft_memory_storage_free(node->storage);
    }
}

static void write_state(struct node *node, const struct raft_hard_state *hard_state,
                        const struct raft_entry *entries, size_t count,
                        const struct raft_snapshot *snapshot)
{
    if (hard_state)
        raft_memory_storage_set_hard_state(node->storage, hard_state);
    if (snapshot) {
        err e = raft_memory_storage_install(node->storage, snapshot);
        CHECK(err_ok(e));
        node->applied = *snapshot;
        node->applied.data = BYTES_NONE;
        node->applied.blob = NULL;
    }
    err e = raft_memory_storage_append(node->storage, entries, count);
    CHECK(err_ok(e));
}

static void apply(struct node *node, const struct raft_entry *entries, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        node->applied.index = entries[i].index;
        node->applied.term = entries[i].term;
        if (entries[i].type == RAFT_ENTRY_NORMAL)
            continue;
        struct raft_conf_change change;
        err e = raft_conf_change_decode(entries[i].type, entries[i].data, &change);
        CHECK(err_ok(e));
        struct raft_conf_state conf = node->applied.conf_state;
        e = raft_apply_conf_change(node->raft, &change, &conf);
        if (!err_ok(e))
            put_text(node->env->out, "refused: %s\n", err_text(e));
        node->applied.conf_state = conf;
    }
    if (count > 0)
        raft_memory_storage_set_snapshot(node->storage, &node->applied);
}

static void dispatch(struct env *self, struct node *node, const struct raft_ready *ready)
{
    for (size_t i = 0; i < ready->message_count; i++) {
        const struct raft_message *m = &ready->messages[i];
        struct message_list *list = &self->wire;
        if (m->to == RAFT_APPEND_THREAD)
            list = &node->appends;
        else if (m->to == RAFT_APPLY_THREAD)
            list = &node->applies;
        message_list_push(list, raft_message_copy(m));
    }
}

void env_process_ready(struct env *self, struct node *node)
{
    struct raft_ready ready;
    err e = raft_ready_take(node->raft, &ready);
    CHECK(err_ok(e));
    describe_ready(self->out, &ready);
    if (!node->config.async_storage_writes) {
        write_state(node, ready.has_hard_state ? &ready.hard_state : NULL, ready.entries,
                    ready.entry_count, ready.snapshot);
        apply(node, ready.committed, ready.committed_count);
    }
    dispatch(self, node, &ready);
    if (!node->config.async_storage_writes)
        raft_advance(node->raft);
}

/* Prints the work, then its responses, which go on the wire. */
static void finish_work(struct env *self, struct raft_message *work)
{
    size_t responses = work->response_count;
    work->response_count = 0;
    put_text(self->out, "Processing:\n");
    describe_message(self->out, work, "");
    put_text(self->out, "\nResponses:\n");
    work->response_count = responses;
    for (size_t i = 0; i < responses; i++) {
        describe_message(self->out, &work->responses[i], "");
        put_text(self->out, "\n");
        message_list_push(&self->wire, raft_message_copy(&work->responses[i]));
    }
    raft_message_free(work);
}

void env_process_append(struct env *self, struct node *node)
{
    if (node->appends.count == 0) {
        put_text(self->out, "no append work to perform\n");
        return;
    }
    struct raft_message *work = message_list_remove(&node->appends, 0);
    struct raft_hard_state hard_state = {work->term, work->vote, work->commit};
    bool changed = work->term != 0 || work->vote != 0 || work->commit != 0;
    write_state(node, changed ? &hard_state : NULL, work->entries, work->entry_count,
                work->snapshot);
    finish_work(self, work);
}

void env_process_apply(struct env *self, struct node *node)
{
    if (node->applies.count == 0) {
        put_text(self->out, "no apply work to perform\n");
        return;
    }
    struct raft_message *work = message_list_remove(&node->applies, 0);
    apply(node, work->entries, work->entry_count);
    finish_work(self, work);
}

bool env_has_mail(const struct env *self, uint64_t to)
{
    for (size_t i = 0; i < self->wire.count; i++)
        if (self->wire.items[i]->to == to)
            return true;
    return false;
}

static void step(struct env *self, struct node *node, const struct raft_message *m)
{
    bool local = m->from == node->config.id || m->from >= RAFT_APPLY_THREAD;
    err e = local ? raft_step_local(node->raft, m) : raft_step(node->raft, m);
    if (err_is(e, ERR_NOT_FOUND))
        put_text(self->out, "raft: cannot step as peer not found\n");
    else if (!err_ok(e))
        put_text(self->out, "%s\n", err_text(e));
}

size_t env_deliver(struct env *self, uint64_t to, unsigned type, bool drop)
{
    struct message_list mail = {0};
    for (size_t i = 0; i < self->wire.count;) {
        const struct raft_message *m = self->wire.items[i];
        if (m->to == to && (type == RAFT_MESSAGE_TYPE_COUNT || m->type == type))
            message_list_push(&mail, message_list_remove(&self->wire, i));
        else
            i++;
    }
    size_t count = mail.count;
    for (size_t i = 0; i < count; i++) {
        if (drop)
            put_text(self->out, "dropped: ");
        describe_message(self->out, mail.items[i], "");
        put_text(self->out, "\n");
        if (!drop)
            step(self, env_node(self, to), mail.items[i]);
    }
    message_list_done(&mail);
    return count;
}

void env_titled(struct env *self, struct node *node, const char *title, env_step step_node)
{
    struct buf AUTO(buf_done) body;
    buf_init(&body, 0);
    struct buf *out = self->out;
    self->out = &body;
    step_node(self, node);
    self->out = out;
    put_text(out, "> %" PRIu64 " %s\n", node->config.id, title);
    put_indented(out, buf_bytes(&body));
}

static void deliver_all(struct env *self, struct node *node)
{
    env_deliver(self, node->config.id, RAFT_MESSAGE_TYPE_COUNT, false);
}

static void process_all_appends(struct env *self, struct node *node)
{
    while (node->appends.count > 0)
        env_process_append(self, node);
}

static void process_all_applies(struct env *self, struct node *node)
{
    while (node->applies.count > 0)
        env_process_apply(self, node);
}

void env_stabilize(struct env *self, struct node *const *nodes, size_t count)
{
    for (bool done = false; !done;) {
        done = true;
        for (size_t i = 0; i < count; i++) {
            if (!raft_has_ready(nodes[i]->raft))
                continue;
            env_titled(self, nodes[i], "handling Ready", env_process_ready);
            done = false;
        }
        for (size_t i = 0; i < count; i++) {
            if (!env_has_mail(self, nodes[i]->config.id))
                continue;
            env_titled(self, nodes[i], "receiving messages", deliver_all);
            done = false;
        }
        for (size_t i = 0; i < count; i++) {
            if (nodes[i]->appends.count == 0)
                continue;
            env_titled(self, nodes[i], "processing append thread", process_all_appends);
            done = false;
        }
        for (size_t i = 0; i < count; i++) {
            if (nodes[i]->applies.count == 0)
                continue;
            env_titled(self, nodes[i], "processing apply thread", process_all_applies);
            done = false;
        }
    }
}
