/* What the log says of members and of this member's own progress.
 * Thread: the core's loop.  Source: etcd's interface, "Log lines". */
#pragma once

#include "api/front.h"
#include "peer/peers.h"
#include "replica/view.h"
#include "server/boot.h"
#include "server/config.h"
#include "server/core.h"

void notice_peer(uint64_t member_id, uint64_t now_ms, const struct peer_notice *notice);

/* The arena of boot is used. */
void notice_start(const struct config *config, struct boot *boot);

void notice_disk(enum core_notice kind, const struct revlog_fault *fault);

/* Any thread. */
void notice_slow_call(const struct front_slow_call *call);
void notice_snapshot(uint64_t bytes, const char *version);
/* A pass of the core, or an entry that took several; index: of the last one applied. */
void notice_slow_apply(uint64_t took_ns, uint64_t limit_ns, uint64_t index);

/* What was seen of the views so far, so that each change is logged once. */
struct member_watch {
    const struct config *config;
    uint64_t member_id, cluster_id;
    uint64_t leader_id, term;
    struct cluster_version version;
    bool published, ready, stalled, corrupt;
    uint64_t stop_deadline_ms;
};

void member_watch_init(struct member_watch *self, const struct config *config, uint64_t member_id,
                       uint64_t cluster_id);
void member_watch_view(struct member_watch *self, const struct replica_view *view, uint64_t now_ms);
