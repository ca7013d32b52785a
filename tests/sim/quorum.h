/* Who has voted and acknowledged what, so that nothing is decided but by those who count. */
#pragma once

#include <stdint.h>

struct node;
struct raft_message;
struct replica_status;
struct sim;

struct quorum *quorum_new(struct sim *sim);
void quorum_free(struct quorum *self);
/* A message leaves its member. */
void quorum_send(struct quorum *self, const struct node *member,
                 const struct raft_message *message);
/* The newest entry that a member has said to hold. */
uint64_t quorum_acknowledged(const struct quorum *self, uint64_t id);
/* After a pass. */
void quorum_look(struct quorum *self, struct node *member, const struct replica_status *status);
