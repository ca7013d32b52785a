/* A store on real files, with a model beside it that knows what must be there.
 *
 * The model: every change that was ever made, which of them are dead at the floor, the frames that
 * were flushed. Its own source of checkpoints hands out one head a key. */
#pragma once

#include "base/check.h"
#include "base/list.h"
#include "base/prng.h"
#include "stage/store.h"

#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define MODEL_KEYS    64
#define MODEL_CHANGES 40000

struct model_change {
    uint64_t prev;
    uint32_t key;
    uint32_t value_bytes;
    uint8_t kind;
    bool birth;
    bool dead;
};

struct model {
    struct model_change changes[MODEL_CHANGES + 1]; /* by seq */
    uint64_t seq;
    uint64_t keys[MODEL_KEYS]; /* newest change of each */
    bool live[MODEL_KEYS];
    uint64_t floor;
    uint64_t index;
    struct prng prng;
};

struct fixture {
    char dir[64];
    struct epoch epoch;
    struct mailbox completions;
    struct tail *tail;
    struct revlog *log;
    struct stage_store *store;
    struct stage_store_config config;
    struct stage_store_recovery recovery;
    struct stage_store_status status;
    struct checkpoint_source source;
    unsigned source_at;
    struct model model;
    unsigned defragmented, cleaned;
    unsigned synced;
};

static inline int64_t model_main(uint64_t seq)
{
    return (int64_t)seq + 1;
}

static inline struct mvcc_record model_record(const struct model *self, uint64_t seq, uint8_t *blob)
{
    const struct model_change *change = &self->changes[seq];
    size_t len = 0;
    blob[len++] = 0x0a;
    blob[len++] = 8;
    int n = snprintf((char *)blob + len, 16, "key-%04u", change->key);
    len += (size_t)n;
    for (uint32_t i = 0; i < change->value_bytes; i++)
        blob[len++] = (uint8_t)(seq * 31 + i);
    struct mvcc_record record = {
        .seq = seq,
        .prev = change->prev,
        .main = model_main(seq),
        .kind = change->kind,
        .birth = change->birth,
        .blob = bytes_of(blob, len),
    };
    record.crc = mvcc_record_crc(&record);
    return record;
}

static inline void fixture_change(struct fixture *self, uint32_t value_bytes)
{
    struct model *model = &self->model;
    uint32_t key = (uint32_t)prng_below(&model->prng, MODEL_KEYS);
    CHECK(model->seq < MODEL_CHANGES);
    uint64_t seq = ++model->seq;
    bool death = model->live[key] && prng_below(&model->prng, 4) == 0;
    model->changes[seq] = (struct model_change){
        .prev = model->keys[key],
        .key = key,
        .value_bytes = death ? 0 : value_bytes,
        .kind = death ? MVCC_TOMBSTONE : MVCC_PUT,
        .birth = !model->live[key],
    };
    model->keys[key] = seq;
    model->live[key] = !death;
    uint8_t *blob = malloc(value_bytes + 64);
    struct mvcc_record record = model_record(model, seq, blob);
    tail_append(self->tail, &record);
    free(blob);
}

static inline void fixture_changes(struct fixture *self, unsigned count)
{
    while (count--)
        fixture_change(self, (uint32_t)prng_below(&self->model.prng, 200));
}

static inline void fixture_settle(struct fixture *self)
{
    struct mailbox_node *node = mailbox_take(&self->completions);
    while (node) {
        struct stage_store_reply *reply = LIST_ENTRY(node, struct stage_store_reply, node);
        node = node->next;
        stage_store_settle(self->store, reply, &self->status);
        self->defragmented += self->status.defragmented;
        self->cleaned += self->status.cleaned;
        self->synced += self->status.synced;
    }
    epoch_reclaim(&self->epoch, 1000000);
}

/* The stage's steps by hand, until it rests. */
static inline void fixture_run(struct fixture *self, bool work)
{
    bool more = true;
    while (more) {
        more = stage_store_begin(self->store);
        stage_store_finish(self->store);
        fixture_settle(self);
        if (!more && work) {
            more = stage_store_work(self->store);
            stage_store_finish(self->store);
            fixture_settle(self);
        }
    }
}

static inline struct mvcc_frame fixture_frame(struct fixture *self)
{
    self->model.index += 3;
    return (struct mvcc_frame){
        .seq = self->model.seq,
        .index = self->model.index,
        .term = 5,
        .revision = model_main(self->model.seq),
        .compact_revision = -1,
        .conf_state = BYTES_LIT("voters"),
    };
}

static inline void fixture_flush(struct fixture *self)
{
    struct mvcc_frame frame = fixture_frame(self);
    stage_store_flush(self->store, &frame);
    fixture_run(self, false);
}

/* Sweeps up to a seq as a compaction there does. */
static inline void fixture_sweep(struct fixture *self, uint64_t floor)
{
    struct model *model = &self->model;
    for (uint64_t seq = model->floor + 1; seq <= floor; seq++) {
        uint64_t prev = model->changes[seq].prev;
        if (prev) {
            model->changes[prev].dead = true;
            revlog_mark_dead(self->log, prev);
        }
        if (model->changes[seq].kind == MVCC_TOMBSTONE) {
            model->changes[seq].dead = true;
            revlog_mark_dead(self->log, seq);
        }
    }
    model->floor = floor;
    stage_store_swept(self->store, floor);
}

static bool source_begin(void *ctx, struct epoch_slot *slot, struct checkpoint_info *ret_info)
{
    struct fixture *self = ctx;
    *ret_info = (struct checkpoint_info){
        .seq = self->model.seq,
        .floor = self->model.floor,
        .revision = model_main(self->model.seq),
        .compact_revision = -1,
    };
    self->source_at = 0;
    return true;
}

static bool source_fill(void *ctx, struct epoch_slot *slot, struct checkpoint_writer *writer,
                        unsigned max)
{
    struct fixture *self = ctx;
    for (; self->source_at < MODEL_KEYS && max; self->source_at++, max--) {
        uint64_t seq = self->model.keys[self->source_at];
        if (!seq)
            continue;
        char key[16];
        int n = snprintf(key, sizeof(key), "key-%04u", self->source_at);
        struct checkpoint_head head = {
            .key = bytes_of(key, (size_t)n),
            .seq = seq,
            .main = model_main(seq),
            .version = self->model.live[self->source_at],
        };
        checkpoint_writer_head(writer, &head);
    }
    return self->source_at < MODEL_KEYS;
}

static void fixture_fatal(void *ctx, const char *what, const char *file, err e)
{
    fprintf(stderr, "fatal: %s %s: %s\n", what, file, err_text(e));
    abort();
}

static inline void fixture_dir_empty(const char *path)
{
    DIR *dir = opendir(path);
    if (!dir)
        return;
    for (struct dirent *entry; (entry = readdir(dir));) {
        char name[400];
        if (entry->d_name[0] == '.')
            continue;
        (void)snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
        unlink(name);
    }
    closedir(dir);
}

static inline void fixture_init(struct fixture *self, uint64_t segment_bytes)
{
    memset(self, 0, sizeof(*self));
    (void)snprintf(self->dir, sizeof(self->dir), "/tmp/store-test-%d-XXXXXX", getpid());
    CHECK(mkdtemp(self->dir));
    prng_init(&self->model.prng, 99);
    self->source = (struct checkpoint_source){self, source_begin, source_fill};
    self->config = (struct stage_store_config){
        .fs = &io_fs_real,
        .dir = self->dir,
        .owner = {7, 8},
        .epoch = &self->epoch,
        .completions = &self->completions,
        .seed = 1234,
        .segment_bytes = segment_bytes,
        .checkpoint_bytes = (uint64_t)1 << 40,
        .fatal = fixture_fatal,
    };
}

static inline err fixture_try_open(struct fixture *self, struct revlog_fault *fault)
{
    epoch_init(&self->epoch);
    mailbox_init(&self->completions, NULL, NULL);
    return stage_store_open(&self->config, 0, &self->store, &self->recovery, fault);
}

/* Ready to go on behind the frame that was found; the model forgets what lies behind it. */
static inline void fixture_loaded(struct fixture *self)
{
    self->log = self->recovery.log;
    struct tail_limits limits = {.keep_bytes = 1};
    self->tail = tail_new(&self->epoch, self->recovery.frame.seq, &limits);
    stage_store_loaded(self->store, self->tail);
}

static inline void fixture_open(struct fixture *self)
{
    struct revlog_fault fault;
    err e = fixture_try_open(self, &fault);
    if (!err_ok(e))
        fail_msg("open: %s in %s at %llu, seq %llu", err_text(e), fault.file,
                 (unsigned long long)fault.offset, (unsigned long long)fault.seq);
    fixture_loaded(self);
}

/* As a process that is gone: nothing is written any more. */
static inline void fixture_close(struct fixture *self)
{
    fixture_settle(self);
    revlog_free(self->log);
    epoch_done(&self->epoch);
    tail_free(self->tail);
    stage_store_free(self->store);
    self->store = NULL;
}

static inline void fixture_done(struct fixture *self)
{
    if (self->store)
        fixture_close(self);
    fixture_dir_empty(self->dir);
    rmdir(self->dir);
}

/* All changes up to `to`: those not dead are there and right; what is there at all is right; what
 * is gone was dead. Returns how many are gone. */
static inline unsigned fixture_assert_log(struct fixture *self, uint64_t to)
{
    unsigned gone = 0;
    uint8_t *blob = malloc(1 << 20);
    for (uint64_t seq = 1; seq <= to; seq++) {
        struct mvcc_record want = model_record(&self->model, seq, blob), have;
        struct revlog_fault fault;
        err e = revlog_read(self->log, seq, &have, &fault);
        if (err_is(e, ERR_NOT_FOUND)) {
            assert_true(self->model.changes[seq].dead);
            gone++;
            continue;
        }
        assert_true(err_ok(e));
        assert_int_equal(have.crc, want.crc);
        assert_int_equal(have.prev, want.prev);
        assert_int_equal(have.main, want.main);
        assert_int_equal(have.kind, want.kind);
        assert_int_equal(have.birth, want.birth);
        assert_true(bytes_equal(have.blob, want.blob));
    }
    struct mvcc_record past;
    assert_true(err_is(revlog_read(self->log, to + 1, &past, NULL), ERR_NOT_FOUND));
    free(blob);
    return gone;
}

/* Dead bits are exactly the model's, for all rows that are there. */
static inline void fixture_assert_dead(struct fixture *self, uint64_t to)
{
    struct revlog_rows rows;
    revlog_rows_begin(&rows, self->log, 1, to);
    for (;;) {
        struct revlog_row row;
        bool found;
        assert_true(err_ok(revlog_rows_next(&rows, &row, &found, NULL)));
        if (!found)
            return;
        assert_int_equal(row.dead, self->model.changes[row.seq].dead);
    }
}

/* What a rebuild from segments alone gives: the newest change of each key that is there and not
 * known dead from what lies on the disk. */
static inline void fixture_assert_rebuild(struct fixture *self)
{
    uint64_t newest[MODEL_KEYS] = {0};
    struct revlog_rows rows;
    revlog_rows_begin(&rows, self->log, 1, UINT64_MAX);
    for (;;) {
        struct revlog_row row;
        bool found;
        assert_true(err_ok(revlog_rows_next(&rows, &row, &found, NULL)));
        if (!found)
            break;
        if (!row.dead || row.death)
            newest[self->model.changes[row.seq].key] = row.seq;
    }
    for (unsigned key = 0; key < MODEL_KEYS; key++) {
        uint64_t seq = newest[key];
        bool live = seq && self->model.changes[seq].kind == MVCC_PUT;
        assert_int_equal(live, self->model.live[key]);
        if (live)
            assert_int_equal(seq, self->model.keys[key]);
    }
}

static inline unsigned fixture_file_count(const struct fixture *self, const char *suffix)
{
    unsigned count = 0;
    DIR *dir = opendir(self->dir);
    for (struct dirent *entry; (entry = readdir(dir));) {
        size_t len = strlen(entry->d_name), n = strlen(suffix);
        count += len > n && strcmp(entry->d_name + len - n, suffix) == 0;
    }
    closedir(dir);
    return count;
}

/* Copies all files but those with the suffix. */
static inline void fixture_copy(const char *from, const char *to, const char *without)
{
    DIR *dir = opendir(from);
    for (struct dirent *entry; (entry = readdir(dir));) {
        size_t len = strlen(entry->d_name), n = strlen(without);
        if (entry->d_name[0] == '.' || (len > n && !strcmp(entry->d_name + len - n, without)))
            continue;
        char name[400];
        (void)snprintf(name, sizeof(name), "%s/%s", from, entry->d_name);
        FILE *in = fopen(name, "r");
        (void)snprintf(name, sizeof(name), "%s/%s", to, entry->d_name);
        FILE *out = fopen(name, "w");
        static char bytes[65536];
        for (size_t got; (got = fread(bytes, 1, sizeof(bytes), in)) > 0;)
            CHECK(fwrite(bytes, 1, got, out) == got);
        fclose(in);
        fclose(out);
    }
    closedir(dir);
}
