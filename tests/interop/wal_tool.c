/* Writes a log as a member would, or reads one, and prints what it holds, one line each:
 *
 *     metadata HEX
 *     state TERM VOTE COMMIT
 *     snapshot INDEX TERM        (the newest valid one)
 *     entry INDEX TERM TYPE HEX-OF-DATA
 *
 * wal_tool write DIR | wal_tool write-released DIR | wal_tool dump DIR */
#include "base/check.h"
#include "stage/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define ENTRIES    400u
#define SNAPSHOT   250u
#define RELEASED   250u
#define DATA_BYTES 300u

static struct mailbox completions;

static void on_fatal(void *ctx, const char *what, const char *file, err e)
{
    (void)fprintf(stderr, "%s %s: %s\n", what, file, err_text(e));
    exit(1);
}

static void must(const char *what, err e)
{
    if (!err_ok(e)) {
        (void)fprintf(stderr, "%s: %s\n", what, err_text(e));
        exit(1);
    }
}

static struct stage_log_config config_of(const char *dir)
{
    mailbox_init(&completions, NULL, NULL);
    return (struct stage_log_config){.fs = &io_fs_real,
                                     .dir = dir,
                                     .segment_bytes = 32 << 10,
                                     .completions = &completions,
                                     .fatal = on_fatal};
}

/* ---- writing ----------------------------------------------------------------------------------
 */

static void steps_run(struct stage_log *log)
{
    while (stage_log_begin(log))
        stage_log_finish(log);
    struct mailbox_node *node = mailbox_take(&completions);
    while (node) {
        struct stage_log_reply *reply = LIST_ENTRY(node, struct stage_log_reply, node);
        node = node->next;
        stage_log_settle(log, reply);
        stage_log_batch_free(LIST_ENTRY(reply, struct stage_log_batch, reply));
    }
}

static void submit(struct stage_log *log, uint64_t index, uint64_t term, uint64_t commit)
{
    static uint8_t data[DATA_BYTES];
    struct stage_log_batch *batch = stage_log_batch_new(1);
    size_t len = index % 7 == 0 ? 0 : index % DATA_BYTES;
    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)(index * 31 + term + i);
    struct raft_entry entry = {.term = term, .index = index};
    entry.blob = raft_blob_copy(bytes_of(data, len), &entry.data);
    stage_log_batch_add(batch, &entry);
    raft_blob_unref(entry.blob);
    batch->must_sync = true;
    batch->has_state = true;
    batch->state = (struct raft_hard_state){.term = term, .vote = 0x1234, .commit = commit};
    stage_log_submit(log, batch);
}

static void submit_snapshot(struct stage_log *log, uint64_t index, uint64_t term)
{
    static const uint8_t conf[] = {0x08, 0xb4, 0x24, 0x28, 0x00}; /* voter 0x1234 */
    struct stage_log_batch *batch = stage_log_batch_new(0);
    batch->has_snapshot = true;
    batch->snapshot = (struct wal_snapshot){index, term, bytes_of(conf, sizeof(conf))};
    stage_log_submit(log, batch);
}

/* A life of a member: elections, an overwritten tail, a snapshot record, idle marks, restarts. */
static void log_write(const char *dir, bool release)
{
    static const uint8_t metadata[] = {0x08, 0xb4, 0x24, 0x10, 0x99, 0x01};
    struct stage_log_config config = config_of(dir);
    struct raft_entry first = {
        .type = RAFT_ENTRY_CONF_CHANGE, .term = 1, .index = 1, .data = BYTES_LIT("\x08\x01")};
    struct stage_log_bootstrap bootstrap = {.metadata = bytes_of(metadata, sizeof(metadata)),
                                            .entries = &first,
                                            .entry_count = 1,
                                            .state = {.term = 1, .vote = 0x1234, .commit = 1}};
    must("create", stage_log_create(&config, &bootstrap));
    uint64_t index = 1, commit = 1;
    for (unsigned life = 0; life < 4; life++) {
        struct stage_log *log;
        struct stage_log_recovery recovery;
        struct wal_fault fault;
        must("open", stage_log_open(&config, &log, &recovery, &fault));
        must("prepare", stage_log_prepare(log));
        CHECK(recovery.last_index == index);
        uint64_t term = life + 2;
        if (life > 0)
            index -= 3; /* a new leader knew nothing of these */
        for (unsigned i = 0; i < ENTRIES / 4; i++) {
            index++;
            commit = index > commit + 10 ? index - 10 : commit;
            submit(log, index, term, commit);
            if (i % 5 == 0)
                steps_run(log);
            if (i % 20 == 0)
                stage_log_mark(log);
        }
        steps_run(log);
        if (index > SNAPSHOT + 20 && life == 2) {
            uint64_t term_there = 0;
            must("term", stage_log_term(log, SNAPSHOT, &term_there));
            submit_snapshot(log, SNAPSHOT, term_there);
            steps_run(log);
            if (release)
                stage_log_release(log, RELEASED);
            steps_run(log);
        }
        stage_log_mark(log);
        stage_log_free(log);
    }
}

/* ---- reading ------------------------------------------------------------------------------------
 */

static void hex_print(struct bytes bytes)
{
    for (size_t i = 0; i < bytes.len; i++)
        (void)printf("%02x", bytes.data[i]);
    (void)printf("\n");
}

static void log_dump(const char *dir)
{
    struct stage_log_config config = config_of(dir);
    struct stage_log *log;
    struct stage_log_recovery recovery;
    struct wal_fault fault;
    err e = stage_log_open(&config, &log, &recovery, &fault);
    if (err_is(e, ERR_CORRUPT))
        (void)fprintf(stderr,
                      "segment %" PRIu64 " offset %" PRIu64 " after entry %" PRIu64 ": %s\n",
                      fault.segment.sequence, fault.offset, fault.index, fault.what);
    must("open", e);
    must("prepare", stage_log_prepare(log));
    (void)printf("metadata ");
    hex_print(recovery.metadata);
    (void)printf("state %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", recovery.state.term,
                 recovery.state.vote, recovery.state.commit);
    (void)printf("snapshot %" PRIu64 " %" PRIu64 "\n", recovery.snapshot.index,
                 recovery.snapshot.term);
    for (uint64_t i = recovery.first_index; i <= recovery.last_index; i++) {
        struct raft_entry entry;
        size_t count;
        must("entry", stage_log_entries(log, i, i + 1, 0, 1, &entry, &count));
        (void)printf("entry %" PRIu64 " %" PRIu64 " %d ", entry.index, entry.term, (int)entry.type);
        hex_print(entry.data);
        raft_blob_unref(entry.blob);
    }
    stage_log_free(log);
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "write") == 0)
        log_write(argv[2], false);
    else if (argc == 3 && strcmp(argv[1], "write-released") == 0)
        log_write(argv[2], true);
    else if (argc == 3 && strcmp(argv[1], "dump") == 0)
        log_dump(argv[2]);
    else
        return 2;
    return 0;
}
