#include "etcdctl/endpoint.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/duration.h"
#include "etcdctl/table.h"
#include "wire/json.h"

#include <inttypes.h>
#include <string.h>

struct health {
    const char *endpoint;
    const char *took;
    const char *error; /* "": healthy */
};

struct check {
    struct endpoint_round round;
    struct health *healths; /* in order of arrival */
    unsigned count;
};

/* ---- asking ----------------------------------------------------------------------------- */

static void conclude(struct endpoint_answer *answer, const char *error)
{
    struct check *check = LIST_ENTRY(answer->round, struct check, round);
    struct arena *arena = &answer->round->ctl->arena;
    char took[DURATION_TEXT_MAX];
    (void)duration_text((int64_t)answer->took_ns, took);
    check->healths[check->count++] = (struct health){
        .endpoint = answer->endpoint,
        .took = arena_copy_str(arena, bytes_str(took)),
        .error = error,
    };
    endpoint_over(answer);
}

static const char *alarm_name(Etcdserverpb__AlarmType alarm)
{
    switch (alarm) {
    case ETCDSERVERPB__ALARM_TYPE__NOSPACE:
        return "NOSPACE ";
    case ETCDSERVERPB__ALARM_TYPE__CORRUPT:
        return "CORRUPT ";
    case ETCDSERVERPB__ALARM_TYPE__NONE:
    case _ETCDSERVERPB__ALARM_TYPE_IS_INT_SIZE:
        break;
    }
    return "UNKNOWN ";
}

static void on_alarms(void *ctx, const struct client_result *result)
{
    struct endpoint_answer *answer = ctx;
    struct arena *arena = &answer->round->ctl->arena;
    const Etcdserverpb__AlarmResponse *alarms =
        (const Etcdserverpb__AlarmResponse *)result->response;
    const char *error = "";
    if (result->status != GRPC_OK) {
        conclude(answer, "Unable to fetch the alarm list");
        return;
    }
    for (size_t i = 0; i < alarms->n_alarms; i++)
        error = arena_printf(arena, "%s%s", *error ? error : "Active Alarm(s): ",
                             alarm_name(alarms->alarms[i]->alarm));
    conclude(answer, error);
}

static void on_range(void *ctx, const struct client_result *result)
{
    static const Etcdserverpb__AlarmRequest alarms = ETCDSERVERPB__ALARM_REQUEST__INIT;
    struct endpoint_answer *answer = ctx;
    answer->took_ns = clock_mono_ns() - answer->begun_ns;
    answer->result = *result;
    /* Who may not read has been heard all the same. */
    if (result->status == GRPC_OK || result->status == GRPC_PERMISSION_DENIED)
        endpoint_ask(answer, &client_maintenance_alarm, &alarms.base, on_alarms);
    else
        conclude(answer, ctl_error_text(answer->round->ctl, result));
}

/* ---- telling ---------------------------------------------------------------------------- */

static void print_simple(const struct check *self)
{
    for (unsigned i = 0; i < self->count; i++) {
        const struct health *health = &self->healths[i];
        if (*health->error)
            (void)fprintf(stderr, "%s is unhealthy: failed to commit proposal: %s\n",
                          health->endpoint, health->error);
        else
            (void)printf("%s is healthy: successfully committed proposal: took = %s\n",
                         health->endpoint, health->took);
    }
}

static void json_text(struct buf *out, const char *name, const char *text)
{
    CHECK(err_ok(buf_printf(out, "%s\"%s\":", name[0] == 'e' && name[1] == 'n' ? "" : ",", name)));
    CHECK(err_ok(wire_json_write_string(bytes_str(text), WIRE_JSON_GO, out)));
}

static void print_as_json(const struct check *self)
{
    struct buf AUTO(buf_done) out;
    buf_init(&out, 0);
    for (unsigned i = 0; i < self->count; i++) {
        const struct health *health = &self->healths[i];
        CHECK(err_ok(buf_append(&out, i ? BYTES_LIT(",{") : BYTES_LIT("[{"))));
        json_text(&out, "endpoint", health->endpoint);
        CHECK(err_ok(buf_printf(&out, ",\"health\":%s", *health->error ? "false" : "true")));
        json_text(&out, "took", health->took);
        if (*health->error)
            json_text(&out, "error", health->error);
        CHECK(err_ok(buf_append(&out, BYTES_LIT("}"))));
    }
    CHECK(err_ok(buf_append(&out, BYTES_LIT("]\n"))));
    (void)fwrite(out.data, 1, out.len, stdout);
}

static void print_fields(const struct check *self)
{
    for (unsigned i = 0; i < self->count; i++) {
        const struct health *health = &self->healths[i];
        print_fields_string("Endpoint", health->endpoint);
        (void)printf("\"Health\" : %s\n", *health->error ? "false" : "true");
        (void)printf("\"Took\" : %s\n", health->took);
        (void)printf("\"Error\" : %s\n\n", health->error);
    }
}

static void print_table(struct ctl *ctl, const struct check *self)
{
    static const char *const headers[] = {"ENDPOINT", "HEALTH", "TOOK", "ERROR"};
    struct table_row *rows = ARENA_ARRAY(&ctl->arena, struct table_row, self->count);
    for (unsigned i = 0; i < self->count; i++) {
        const struct health *health = &self->healths[i];
        rows[i] = (struct table_row){
            {health->endpoint, *health->error ? "false" : "true", health->took, health->error}};
    }
    table_print(stdout, &(struct table){headers, COUNT(headers), rows, self->count});
}

static int print_health(struct ctl *ctl, const struct check *self)
{
    switch (ctl->format) {
    case FORMAT_SIMPLE:
        print_simple(self);
        return CTL_OK;
    case FORMAT_JSON:
        print_as_json(self);
        return CTL_OK;
    case FORMAT_FIELDS:
        print_fields(self);
        return CTL_OK;
    case FORMAT_TABLE:
        print_table(ctl, self);
        return CTL_OK;
    case FORMAT_PROTOBUF:
        return ctl_format_unsupported(ctl);
    }
    return CTL_ERROR;
}

int command_run_endpoint_health(struct ctl *ctl, const void *options, struct strings args)
{
    struct check check = {0};
    Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
    range.key = field_of_bytes(BYTES_LIT("health"));
    int code = endpoint_round_begin(ctl, options, &check.round);
    if (code)
        return code;
    check.healths = ARENA_ARRAY(&ctl->arena, struct health, check.round.count);
    io_loop_refresh(ctl->loop);
    for (unsigned i = 0; i < check.round.count; i++)
        endpoint_ask(&check.round.answers[i], &client_kv_range, &range.base, on_range);
    endpoint_wait(&check.round);
    for (unsigned i = 0; i < check.round.count; i++)
        if (check.round.answers[i].result.local)
            ctl_log_failure(ctl, client_kv_range.path, &check.round.answers[i].result);
    code = print_health(ctl, &check);
    for (unsigned i = 0; i < check.count && !code; i++)
        if (*check.healths[i].error) {
            (void)fflush(stdout);
            code = ctl_fail(CTL_ERROR, "unhealthy cluster");
        }
    return code;
}
