/* Whatever members say, and in whatever order, raft does what Raft says or refuses: it neither
 * aborts nor breaks what it promises of its own indexes. The input is a program of one-byte
 * operations and their operands. */
#include "base/check.h"
#include "raft/conf_codec.h"
#include "raft/memory_storage.h"
#include "raft/raft.h"

#include <stdint.h>
#include <string.h>

#define ENTRIES_MAX 4

struct program {
    const uint8_t *at;
    const uint8_t *end;
};

static uint8_t take(struct program *self)
{
    return self->at < self->end ? *self->at++ : 0;
}

/* Mostly small, now and then of any size. */
static uint64_t take_number(struct program *self)
{
    uint8_t b = take(self);
    if (b < 0xf0)
        return b % 24;
    uint64_t n = 0;
    for (int i = 0; i < 8; i++)
        n = n << 8 | take(self);
    return n;
}

static struct bytes take_bytes(struct program *self, size_t max)
{
    size_t n = take(self) % (max + 1);
    if (n > (size_t)(self->end - self->at))
        n = (size_t)(self->end - self->at);
    struct bytes bytes = bytes_of(self->at, n);
    self->at += n;
    return bytes;
}

static void take_set(struct program *self, struct raft_id_set *set)
{
    set->count = take(self) % 4;
    for (uint32_t i = 0; i < set->count; i++)
        set->ids[i] = take(self) % 6;
}

struct parcel {
    struct raft_message message;
    struct raft_entry entries[ENTRIES_MAX];
    struct raft_snapshot snapshot;
};

static void take_parcel(struct program *self, struct parcel *parcel)
{
    struct raft_message *m = &parcel->message;
    uint8_t bits = take(self);
    *m = (struct raft_message){
        .type = (enum raft_message_type)(take(self) % 26),
        .to = 1,
        .from = take(self) % 6,
        .reject = bits & 1,
        .term = take_number(self),
        .log_term = take_number(self),
        .index = take_number(self),
        .commit = take_number(self),
        .reject_hint = take_number(self),
    };
    if (bits & 2)
        m->context = take_bytes(self, RAFT_CONTEXT_BYTES_MAX + 8);
    if (bits & 4)
        m->entry_count = take(self) % (ENTRIES_MAX + 1);
    m->entries = parcel->entries;
    for (size_t i = 0; i < m->entry_count; i++)
        parcel->entries[i] = (struct raft_entry){
            /* Mostly as they ought to be, or nothing would get far. */
            .index = bits & 8 ? take_number(self) : m->index + 1 + i,
            .term = bits & 16 ? take_number(self) : m->term,
            .type = (enum raft_entry_type)(take(self) % 4),
            .data = take_bytes(self, 16),
        };
    if (!(bits & 32))
        return;
    parcel->snapshot = (struct raft_snapshot){.index = take_number(self), .term = m->term};
    take_set(self, &parcel->snapshot.conf_state.voters);
    take_set(self, &parcel->snapshot.conf_state.voters_outgoing);
    take_set(self, &parcel->snapshot.conf_state.learners);
    take_set(self, &parcel->snapshot.conf_state.learners_next);
    parcel->snapshot.conf_state.auto_leave = bits & 64;
    m->snapshot = &parcel->snapshot;
}

static void apply(struct raft *raft, const struct raft_entry *entries, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct raft_conf_change change;
        struct raft_conf_state conf;
        if (entries[i].type != RAFT_ENTRY_NORMAL &&
            err_ok(raft_conf_change_decode(entries[i].type, entries[i].data, &change)))
            (void)raft_apply_conf_change(raft, &change, &conf).code;
    }
}

static void write_log(struct raft_memory_storage *storage, const struct raft_entry *entries,
                      size_t count, const struct raft_snapshot *snapshot)
{
    if (snapshot)
        CHECK(err_ok(raft_memory_storage_install(storage, snapshot)));
    CHECK(err_ok(raft_memory_storage_append(storage, entries, count)));
}

static void work(struct raft *raft, struct raft_memory_storage *storage, bool async)
{
    struct raft_ready ready;
    CHECK(err_ok(raft_ready_take(raft, &ready)));
    write_log(storage, ready.entries, ready.entry_count, ready.snapshot);
    apply(raft, ready.committed, ready.committed_count);
    if (!async) {
        raft_advance(raft);
        return;
    }
    for (size_t i = 0; i < ready.message_count; i++) {
        const struct raft_message *m = &ready.messages[i];
        for (size_t k = 0; k < m->response_count; k++)
            if (m->responses[k].to == 1)
                (void)raft_step_local(raft, &m->responses[k]).code;
    }
}

static void run(struct program *program, struct raft *raft, struct raft_memory_storage *storage,
                bool async)
{
    uint64_t commit = raft_commit(raft);
    uint64_t term = raft_term(raft);
    while (program->at < program->end) {
        struct parcel parcel;
        uint8_t op = take(program);
        if (op < 160) {
            take_parcel(program, &parcel);
            (void)raft_step(raft, &parcel.message).code;
        } else if (op < 200) {
            work(raft, storage, async);
        } else if (op < 215) {
            raft_tick(raft);
        } else if (op < 225) {
            raft_campaign(raft);
        } else if (op < 235) {
            (void)raft_propose(raft, take_bytes(program, 8), NULL).code;
        } else if (op < 240) {
            (void)raft_read_index(raft, take_bytes(program, 8)).code;
        } else if (op < 245) {
            raft_transfer_leader(raft, take(program) % 6);
        } else if (op < 250) {
            raft_report_snapshot(raft, take(program) % 6, op & 1);
        } else {
            raft_report_unreachable(raft, take(program) % 6);
        }
        CHECK(raft_commit(raft) >= commit && raft_term(raft) >= term);
        commit = raft_commit(raft);
        term = raft_term(raft);
        CHECK(raft_applied_index(raft) <= commit && commit <= raft_last_index(raft));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct program program = {data, data + size};
    uint8_t options = take(&program);
    struct raft_config config = {
        .id = 1,
        .election_ticks = 3,
        .heartbeat_ticks = 1,
        .applied = 5,
        .max_size_per_msg = 100,
        .max_uncommitted_size = 200,
        .max_inflight_msgs = 2,
        .check_quorum = options & 1,
        .pre_vote = options & 2,
        .async_storage_writes = options & 4,
        .group_appends = options & 8,
        .step_down_on_removal = options & 16,
        .disable_conf_change_validation = options & 32,
        .commit_in_votes = options & 64,
        .idle_acks_wait = options & 128,
        .seed = 1,
    };
    struct raft_snapshot snapshot = {
        .index = 5,
        .term = 1,
        .conf_state.voters = {.count = 3, .ids = {1, 2, 3}},
    };
    struct raft_memory_storage *storage = raft_memory_storage_new();
    CHECK(err_ok(raft_memory_storage_install(storage, &snapshot)));
    struct raft_storage table = raft_memory_storage_table(storage);
    struct raft *raft;
    CHECK(err_ok(raft_new(&config, &table, &raft)));
    run(&program, raft, storage, config.async_storage_writes);
    raft_free(raft);
    raft_memory_storage_free(storage);
    return 0;
}
