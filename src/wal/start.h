/* What a member starts from, decided from facts about its store and its log. Pure.
 *
 *     F newest whole frame of the store      C commit of the log's last state
 *     S newest WAL snapshot record <= C      L last entry of the log (S if none follows it)
 *
 *     S <= F <= L, terms agree at F, log reaches back to F+1    raft at applied F, C = max(C, F)
 *     F < S                        finish the install of the staged store S; none there: raft at F
 *                                  where the log is whole (the store was being made anew from it,
 *                                  as below), else refuse
 *     F > L                        imported store: raft at L, skip apply up to F; our own: refuse
 *     C > L                        refuse: what was committed is missing
 *     first > F+1                  refuse: released too early, or an old copy of the store
 *     store torn behind a frame    cut to that frame where it is >= S; the log has the rest
 *     log without store            from index 1: replay all; S staged: finish; else refuse
 *     store without log            refuse
 *     neither                      a new member
 * Thread: any.  Owns: nothing. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wal_start_facts {
    bool has_log;
    bool has_store;
    bool store_imported;              /* from an etcd's data directory */
    bool store_torn;                  /* bytes behind the newest whole frame are bad */
    bool staged;                      /* a whole staged store for exactly S lies there */
    uint64_t frame_index, frame_term; /* F */
    uint64_t commit;                  /* C */
    uint64_t snapshot_index;          /* S */
    uint64_t first_index;             /* the log's first entry; last + 1 where it has none */
    uint64_t last_index, last_term;   /* L */
    /* The log's term at F, where it is known. */
    bool has_term_at_frame;
    uint64_t term_at_frame;
};

enum wal_start_action {
    WAL_START_NEW,            /* neither log nor store */
    WAL_START_FRAME,          /* raft at applied F */
    WAL_START_REPLAY_ALL,     /* an empty store, apply from index 1 */
    WAL_START_FINISH_INSTALL, /* open the staged store S, then as WAL_START_FRAME with F = S */
    WAL_START_SKIP_TO_FRAME,  /* raft at L; entries up to F are not applied again */
    WAL_START_REFUSE,
};

/* X(name, text for people) */
#define WAL_REFUSALS(X)                                                                          \
    X(NONE, "")                                                                                  \
    X(STORE_WITHOUT_LOG, "there is a store but no write-ahead log beside it")                    \
    X(LOG_WITHOUT_STORE,                                                                         \
      "there is a write-ahead log that does not begin at index 1, but no store beside it")       \
    X(STAGED_STORE_MISSING,                                                                      \
      "the store is older than the write-ahead log's snapshot record and no received store for " \
      "it is there")                                                                             \
    X(LOG_LOST_ENTRIES,                                                                          \
      "the store holds entries that the write-ahead log has lost: synced data is missing")       \
    X(LOG_STARTS_LATE,                                                                           \
      "the write-ahead log begins after the store's last entry: the store is an old copy, or "   \
      "the log was released too early")                                                          \
    X(TERMS_DISAGREE, "store and write-ahead log disagree about the store's last entry")

enum wal_refusal {
#define X(name, text) WAL_REFUSAL_##name,
    WAL_REFUSALS(X)
#undef X
};

struct wal_start {
    enum wal_start_action action;
    enum wal_refusal refusal;
    bool cut_store;      /* to the newest whole frame, before anything else */
    uint64_t applied;    /* raft begins with this applied index */
    uint64_t commit;     /* the state's commit to begin with */
    uint64_t skip_apply; /* entries up to here are already in the store */
};

struct wal_start wal_start_decide(const struct wal_start_facts *facts);
/* The refusal's text; never NULL. */
const char *wal_refusal_text(enum wal_refusal refusal);
