/* One life of a member, between member_boot.c and member.c. */
#pragma once

#include "server/boot.h"
#include "server/core.h"
#include "server/join.h"
#include "server/state_in.h"
#include "server/state_out.h"
#include "sim.h"

#include <setjmp.h>

enum leave { LEAVE_NOT, LEAVE_POWER_OFF, LEAVE_KILLED, LEAVE_FATAL };

#define LIFE_JOBS_MAX 16

struct life {
    struct config config;
    struct epoch epoch;
    struct epoch_slot *slot;
    struct boot boot;
    struct core *core;
    struct replica *replica;
    struct mvcc_pins *pins;
    struct watch_hub *hub;
    struct request_ids ids;
    struct front_inbox front;
    struct front_inbox *fronts[1];
    struct state_in *in;
    struct state_out out;
    struct life_job { /* with its workers */
        struct io_job *job;
        bool worked; /* and not yet heard of */
    } jobs[LIFE_JOBS_MAX];
    unsigned job_count;
    bool stopping, stopped; /* asked to; the core has done what it could */
    uint64_t stop_at_us;
    uint64_t leave_at_us; /* it was removed; 0: it was not */
    jmp_buf leave;
    bool inside; /* in production code, from where `leave` leads out */
    char what[160];
};

/* Opens what lies on the member's disk and puts a core over it. */
MUST err member_assemble(struct node *self, struct life *life, const char **ret_reason);
/* Asks the core to stop; another life follows, or none where it leaves. */
void member_stop(struct node *self);
/* member_join.c: what --initial-cluster says, and who answers one that has no log yet. */
#define JOIN_TEXT_MAX 1024
void member_initial_cluster(struct node *self, char text[JOIN_TEXT_MAX]);
err member_join_ask(void *ctx, enum peer_fetch_what what, struct text_list urls,
                    struct peer_fetch_result *ret_result, struct membership **ret_members);
/* After a pass: it may have learned that it was removed. */
void member_look_removed(struct node *self);
/* It has stopped for good. */
void member_left(struct node *self);
void member_disk_new(struct node *self);
/* A worker does it in a while; then the loop hears of it. */
void member_job_later(struct node *self, struct io_job *job, bool worked);
/* snapshot.c: what a life sends and takes in; a job of it; its end, first of the streams. */
void streams_open(struct node *self, const struct boot_config *boot);
void streams_job(struct node *self, struct io_job *job);
void streams_life_over(struct node *self);
void streams_close(struct life *life);
/* Out of production code, which must not return. */
__attribute__((noreturn)) void member_leave(struct node *self, enum leave how);
