#include "stage/store_build.h"

#include "base/bug.h"
#include "base/check.h"
#include "mvcc/store_checkpoint.h"
#include "stage/store_priv.h"
#include "state/snapshot_load.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#define UNWRITTEN_BYTES ((size_t)8 << 20)

struct stage_build {
    const struct io_fs *fs;
    char *parent;
    uint64_t index;
    const char *suffix;
    const atomic_bool *given_up;
    char name[STAGE_STORE_NAME_BYTES]; /* of the unfinished directory */
    struct epoch epoch;
    struct mailbox completions;
    struct stage_store *stage;
    struct revlog *log;
    struct tail *tail;
    struct mvcc_store *store;
    struct mvcc_checkpoint_source source;
    bool named; /* the directory has its final name */
};

/* ── Life ───────────────────────────────────────────────────────────────────────────────────── */

static err parent_open(const struct stage_build *self, int *ret_dir)
{
    return io_open(self->fs, IO_CWD, self->parent, IO_READ | IO_DIRECTORY, 0, ret_dir);
}

static err remove_unfinished(const struct stage_build *self)
{
    int dir;
    TRY(parent_open(self, &dir));
    err e = store_dir_remove(self->fs, dir, self->name);
    io_close(self->fs, dir);
    return e;
}

static err build_open(struct stage_build *self, const struct stage_build_config *config)
{
    char path[PATH_MAX];
    struct stage_store_recovery recovery;
    struct revlog_fault fault;
    TRY(remove_unfinished(self));
    int n = snprintf(path, sizeof(path), "%s/%s", self->parent, self->name);
    if (n < 0 || (size_t)n >= sizeof(path))
        return ERR_LIMIT;
    struct stage_store_config stage = {.fs = self->fs,
                                       .dir = path,
                                       .owner = config->owner,
                                       .epoch = &self->epoch,
                                       .completions = &self->completions,
                                       .seed = config->seed,
                                       .fatal = config->fatal,
                                       .fatal_ctx = config->fatal_ctx};
    TRY(stage_store_open(&stage, 0, &self->stage, &recovery, &fault));
    CHECK(recovery.is_new);
    self->log = recovery.log;
    struct tail_limits limits = {.keep_bytes = 1};
    self->tail = tail_new(&self->epoch, 0, &limits);
    stage_store_loaded(self->stage, self->tail);
    struct mvcc_store_config store = {&self->epoch, self->log, self->tail};
    self->store = mvcc_store_new(&store);
    mvcc_checkpoint_source_init(&self->source, self->store, &self->epoch);
    stage_store_set_source(self->stage, &self->source.source);
    return OK;
}

err stage_build_begin(const struct stage_build_config *config, struct stage_build **ret_build)
{
    struct stage_build *self = calloc(1, sizeof(*self));
    CHECK(self);
    self->fs = config->fs;
    self->parent = strdup(config->parent);
    CHECK(self->parent);
    self->index = config->index;
    self->suffix = config->suffix ? config->suffix : "";
    self->given_up = config->given_up;
    stage_store_name(config->index, STORE_UNFINISHED, self->name);
    epoch_init(&self->epoch);
    mailbox_init(&self->completions, NULL, NULL);
    err e = build_open(self, config);
    if (e.code) {
        stage_build_free(self);
        return e;
    }
    *ret_build = self;
    return OK;
}

static void build_close(struct stage_build *self)
{
    if (self->store)
        mvcc_checkpoint_source_done(&self->source);
    mvcc_store_free(self->store);
    revlog_free(self->log);
    epoch_done(&self->epoch);
    tail_free(self->tail);
    stage_store_free(self->stage);
}

void stage_build_free(struct stage_build *self)
{
    if (!self)
        return;
    build_close(self);
    if (!self->named)
        (void)remove_unfinished(self).code;
    free(self->parent);
    free(self);
}

struct mvcc_store *stage_build_store(struct stage_build *self)
{
    return self->store;
}

/* ── Writing out ────────────────────────────────────────────────────────────────────────────── */

static void settle(struct stage_build *self, struct stage_store_status *status)
{
    struct mailbox_node *node = mailbox_take(&self->completions);
    while (node) {
        struct stage_store_reply *reply = LIST_ENTRY(node, struct stage_store_reply, node);
        node = node->next;
        stage_store_settle(self->stage, reply, status);
    }
    while (epoch_reclaim(&self->epoch, 1000))
        ;
}

/* The stage's steps, until it has done what was asked. */
static err write_out(struct stage_build *self)
{
    struct stage_store_status status = {0};
    bool more = true;
    while (more) {
        uint64_t before = status.written_seq;
        more = stage_store_begin(self->stage);
        stage_store_finish(self->stage);
        settle(self, &status);
        if (status.disk_full && status.written_seq == before)
            return ERR_DISK_FULL;
    }
    return OK;
}

static err spill(struct stage_build *self)
{
    if (tail_unwritten_bytes(self->tail) < UNWRITTEN_BYTES)
        return OK;
    stage_store_spill(self->stage, tail_last(self->tail));
    return write_out(self);
}

err stage_build_load(struct stage_build *self, const struct bolt_file *file, bool without_members,
                     struct bolt_fault *fault)
{
    struct snapshot_load load;
    snapshot_load_begin(&load, file);
    load.without_members = without_members;
    for (bool done = false; !done;) {
        unsigned budget = 1; /* a value may be large, and the tail's bound is not far */
        TRY(snapshot_load_run(&load, self->store, &budget, &done, fault));
        TRY(spill(self));
        if (self->given_up && atomic_load_explicit(self->given_up, memory_order_relaxed))
            return ERR_CANCELED;
    }
    return OK;
}

static err give_name(struct stage_build *self)
{
    int dir;
    char name[STAGE_STORE_NAME_BYTES];
    stage_store_name(self->index, self->suffix, name);
    TRY(parent_open(self, &dir));
    err e = io_rename(self->fs, dir, self->name, dir, name);
    if (err_ok(e)) {
        self->named = true;
        e = BUG(snapshot_unstaged) ? OK : io_sync_dir(self->fs, dir);
    }
    io_close(self->fs, dir);
    return e;
}

err stage_build_end(struct stage_build *self, uint64_t term, struct bytes conf_state)
{
    TRY(mvcc_store_import_end(self->store));
    struct mvcc_frame frame = {
        .seq = mvcc_store_seq(self->store),
        .index = self->index,
        .term = term,
        .revision = mvcc_store_revision(self->store),
        .compact_revision = mvcc_store_compact_revision(self->store),
        .conf_state = conf_state,
    };
    struct stage_store_status status;
    stage_store_flush(self->stage, &frame);
    err e = stage_store_complete(self->stage);
    settle(self, &status);
    TRY(e);
    return give_name(self);
}
