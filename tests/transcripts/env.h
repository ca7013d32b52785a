/* A few nodes whose every step is a command: their rafts, what is on the wire, and what waits for
 * their append and apply threads. */
#pragma once

#include "base/buf.h"
#include "raft/memory_storage.h"
#include "raft/raft.h"

#define NODES_MAX 16

enum env_level { ENV_DEBUG, ENV_INFO, ENV_WARN, ENV_ERROR, ENV_FATAL, ENV_NONE, ENV_LEVELS };

struct message_list {
    struct raft_message **items;
    size_t count;
    size_t cap;
};

void message_list_push(struct message_list *self, struct raft_message *message);
struct raft_message *message_list_remove(struct message_list *self, size_t at);
void message_list_done(struct message_list *self);

struct node {
    struct raft_config config;
    struct raft *raft;
    struct raft_memory_storage *storage;
    struct raft_snapshot applied; /* the state: its place, its members */
    struct message_list appends;  /* asynchronous mode */
    struct message_list applies;
    struct env *env;
};

struct env {
    struct node nodes[NODES_MAX]; /* nodes[i] has id i + 1 */
    size_t count;
    struct message_list wire;
    struct buf *out; /* of the command under way */
    enum env_level level;
    const char *error; /* the command failed */
};

struct env *env_new(void);
void env_free(struct env *self);
/* snapshot: what the node starts from; index 0: nothing. */
void env_add_node(struct env *self, struct raft_config config,
                  const struct raft_snapshot *snapshot);
struct node *env_node(struct env *self, uint64_t id);

/* The member's next ready, carried out in full (synchronous) or handed to its threads. */
void env_process_ready(struct env *self, struct node *node);
void env_process_append(struct env *self, struct node *node);
void env_process_apply(struct env *self, struct node *node);
/* type: RAFT_MESSAGE_TYPE_COUNT for any. Returns how many there were. */
size_t env_deliver(struct env *self, uint64_t to, unsigned type, bool drop);
bool env_has_mail(const struct env *self, uint64_t to);

typedef void (*env_step)(struct env *self, struct node *node);
/* The step's output under a title, indented. */
void env_titled(struct env *self, struct node *node, const char *title, env_step step);
/* Until none of the nodes has anything to do. */
void env_stabilize(struct env *self, struct node *const *nodes, size_t count);
