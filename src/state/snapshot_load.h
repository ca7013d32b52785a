/* The other way: what a file of etcd's store holds, put into an empty store of ours.
 *
 *     snapshot_facts_read     index, term, members, versions, as the bucket meta has them
 *     snapshot_load_begin ──run…──> the store has it all; mvcc_store_import_end opens it
 *
 * The file may be anything: run bolt_file_check on it first, so that it is known to end and to be
 * in order. Values are copied into the store's tail: the caller writes that out between runs.
 *
 * Not taken over: meta's consistent_index, term and confState, which a store of ours keeps in its
 * frames, and buckets that etcd does not name.
 *
 * Thread: whoever builds the store.  Owns: nothing; the file's bytes are borrowed.
 * Errors: ERR_CORRUPT, with the page and what is wrong in *fault where the file's form is. */
#pragma once

#include "bolt/reader.h"
#include "mvcc/store_import.h"

struct snapshot_facts {
    uint64_t index;          /* consistent_index; 0: none */
    uint64_t term;           /* 0: none (3.4 and older) */
    struct bytes conf_state; /* raftpb.ConfState as JSON; empty: none (3.4 and older) */
    struct bytes version;    /* storageVersion; empty: none (3.5 and older) */
    int64_t scheduled;       /* compact revision; -1: none */
    int64_t finished;
};

/* What lends bytes lends them out of the file. */
MUST err snapshot_facts_read(const struct bolt_file *file, struct snapshot_facts *ret_facts,
                             struct bolt_fault *fault);

struct snapshot_load {
    bool without_members; /* members and members_removed stay empty; set after begin */

    /* inside */
    const struct bolt_file *file;
    struct bolt_cursor at;
    unsigned bucket;
    bool in_bucket;
};

void snapshot_load_begin(struct snapshot_load *self, const struct bolt_file *file);
/* Puts at most *budget entries into the store, and counts them down. */
MUST err snapshot_load_run(struct snapshot_load *self, struct mvcc_store *store, unsigned *budget,
                           bool *ret_done, struct bolt_fault *fault);
