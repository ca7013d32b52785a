#include "etcdctl/endpoint.h"

#include "base/size.h"
#include "etcdctl/table.h"
#include "etcdctl/text.h"

#include <inttypes.h>

enum {
    ENDPOINT,
    ID,
    VERSION,
    STORAGE_VERSION,
    DB_SIZE,
    IN_USE,
    NOT_IN_USE,
    QUOTA,
    IS_LEADER,
    IS_LEARNER,
    RAFT_TERM,
    RAFT_INDEX,
    RAFT_APPLIED_INDEX,
    ERRORS,
    DOWNGRADE_TARGET,
    DOWNGRADE_ENABLED,
    COLUMNS
};
static const char *const headers[COLUMNS] = {
    "ENDPOINT",
    "ID",
    "VERSION",
    "STORAGE VERSION",
    "DB SIZE",
    "IN USE",
    "PERCENTAGE NOT IN USE",
    "QUOTA",
    "IS LEADER",
    "IS LEARNER",
    "RAFT TERM",
    "RAFT INDEX",
    "RAFT APPLIED INDEX",
    "ERRORS",
    "DOWNGRADE TARGET VERSION",
    "DOWNGRADE ENABLED",
};

static const Etcdserverpb__StatusResponse *status_of(const struct endpoint_answer *answer)
{
    return (const Etcdserverpb__StatusResponse *)answer->result.response;
}

static uint64_t member_of(const Etcdserverpb__StatusResponse *status)
{
    return status->header ? status->header->member_id : 0;
}

static const char *downgrade_target(const Etcdserverpb__StatusResponse *status)
{
    return status->downgradeinfo ? status->downgradeinfo->targetversion : "";
}

static const char *downgrade_enabled(const Etcdserverpb__StatusResponse *status)
{
    return status->downgradeinfo && status->downgradeinfo->enabled ? "true" : "false";
}

static const char *bytes_text(struct arena *arena, int64_t size)
{
    char text[SIZE_TEXT_MAX];
    size_text(size < 0 ? 0 : (uint64_t)size, text);
    return arena_copy_str(arena, bytes_str(text));
}

static struct table_row row_of(struct arena *arena, const struct endpoint_answer *answer)
{
    const Etcdserverpb__StatusResponse *s = status_of(answer);
    struct table_row row;
    int64_t used = s->dbsize > 0 ? s->dbsizeinuse * 100 / s->dbsize : 100;
    row.cells[ENDPOINT] = answer->endpoint;
    row.cells[ID] = arena_printf(arena, "%" PRIx64, member_of(s));
    row.cells[VERSION] = s->version;
    row.cells[STORAGE_VERSION] = s->storageversion;
    row.cells[DB_SIZE] = bytes_text(arena, s->dbsize);
    row.cells[IN_USE] = bytes_text(arena, s->dbsizeinuse);
    row.cells[NOT_IN_USE] = arena_printf(arena, "%" PRId64 "%%", 100 - used);
    row.cells[QUOTA] = bytes_text(arena, s->dbsizequota);
    row.cells[IS_LEADER] = s->leader == member_of(s) ? "true" : "false";
    row.cells[IS_LEARNER] = s->islearner ? "true" : "false";
    row.cells[RAFT_TERM] = arena_printf(arena, "%" PRIu64, s->raftterm);
    row.cells[RAFT_INDEX] = arena_printf(arena, "%" PRIu64, s->raftindex);
    row.cells[RAFT_APPLIED_INDEX] = arena_printf(arena, "%" PRIu64, s->raftappliedindex);
    row.cells[ERRORS] = s->n_errors ? s->errors[0] : "";
    for (size_t i = 1; i < s->n_errors; i++)
        row.cells[ERRORS] = arena_printf(arena, "%s, %s", row.cells[ERRORS], s->errors[i]);
    row.cells[DOWNGRADE_TARGET] = downgrade_target(s);
    row.cells[DOWNGRADE_ENABLED] = downgrade_enabled(s);
    return row;
}

static void print_rows(const struct endpoint_round *round)
{
    struct arena *arena = &round->ctl->arena;
    struct table_row *rows = ARENA_ARRAY(arena, struct table_row, round->count);
    size_t count = 0;
    for (unsigned i = 0; i < round->count; i++)
        if (status_of(&round->answers[i]))
            rows[count++] = row_of(arena, &round->answers[i]);
    if (round->ctl->format == FORMAT_TABLE) {
        table_print(stdout, &(struct table){headers, COLUMNS, rows, count});
        return;
    }
    for (size_t i = 0; i < count; i++)
        for (unsigned c = 0; c < COLUMNS; c++)
            (void)printf("%s%s", rows[i].cells[c], c + 1 < COLUMNS ? ", " : "\n");
}

static void print_fields(const struct ctl *ctl, const struct endpoint_answer *answer)
{
    const Etcdserverpb__StatusResponse *s = status_of(answer);
    print_fields_header(ctl, s->header);
    print_fields_string("Version", s->version);
    print_fields_string("StorageVersion", s->storageversion);
    (void)printf("\"DBSize\" : %" PRId64 "\n", s->dbsize);
    (void)printf("\"DBSizeInUse\" : %" PRId64 "\n", s->dbsizeinuse);
    (void)printf("\"DBSizeQuota\" : %" PRId64 "\n", s->dbsizequota);
    (void)printf("\"Leader\" : %" PRIu64 "\n", s->leader);
    (void)printf("\"IsLearner\" : %s\n", s->islearner ? "true" : "false");
    (void)printf("\"RaftIndex\" : %" PRIu64 "\n", s->raftindex);
    (void)printf("\"RaftTerm\" : %" PRIu64 "\n", s->raftterm);
    (void)printf("\"RaftAppliedIndex\" : %" PRIu64 "\n", s->raftappliedindex);
    (void)printf("\"Errors\" : [");
    for (size_t i = 0; i < s->n_errors; i++)
        (void)printf("%s%s", i ? " " : "", s->errors[i]);
    (void)printf("]\n");
    print_fields_string("Endpoint", answer->endpoint);
    print_fields_string("DowngradeTargetVersion", downgrade_target(s));
    (void)printf("\"DowngradeEnabled\" : %s\n\n", downgrade_enabled(s));
}

int command_run_endpoint_status(struct ctl *ctl, const void *options, struct strings args)
{
    static const Etcdserverpb__StatusRequest request = ETCDSERVERPB__STATUS_REQUEST__INIT;
    struct endpoint_round round;
    int code = endpoint_round_begin(ctl, options, &round);
    if (code)
        return code;
    endpoint_ask_all(&round, &client_maintenance_status, &request.base);
    for (unsigned i = 0; i < round.count; i++)
        if (!status_of(&round.answers[i])) {
            (void)fprintf(stderr, "Failed to get the status of endpoint %s (%s)\n",
                          round.answers[i].endpoint, ctl_error_text(ctl, &round.answers[i].result));
            code = CTL_ERROR;
        }
    if (ctl->format == FORMAT_PROTOBUF)
        return ctl_format_unsupported(ctl);
    if (ctl->format == FORMAT_JSON)
        endpoint_print_json(&round, "Status");
    else if (ctl->format == FORMAT_FIELDS)
        for (unsigned i = 0; i < round.count; i++) {
            if (status_of(&round.answers[i]))
                print_fields(ctl, &round.answers[i]);
        }
    else
        print_rows(&round);
    return code;
}
