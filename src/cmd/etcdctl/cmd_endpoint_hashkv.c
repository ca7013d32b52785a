#include "etcdctl/endpoint.h"

#include "etcdctl/table.h"

#include <inttypes.h>

const struct flag endpoint_hashkv_flags[] = {
    INT_FLAG(struct endpoint_options, revision, "rev", "0", "as of that revision; 0: the newest"),
    {0},
};

enum { ENDPOINT, HASH, HASH_REVISION, COLUMNS };
static const char *const headers[COLUMNS] = {"ENDPOINT", "HASH", "HASH REVISION"};

static const Etcdserverpb__HashKVResponse *hash_of(const struct endpoint_answer *answer)
{
    return (const Etcdserverpb__HashKVResponse *)answer->result.response;
}

static void print_rows(const struct endpoint_round *round)
{
    struct arena *arena = &round->ctl->arena;
    struct table_row *rows = ARENA_ARRAY(arena, struct table_row, round->count);
    size_t count = 0;
    for (unsigned i = 0; i < round->count; i++) {
        const Etcdserverpb__HashKVResponse *hash = hash_of(&round->answers[i]);
        if (!hash)
            continue;
        rows[count++] = (struct table_row){{round->answers[i].endpoint,
                                            arena_printf(arena, "%" PRIu32, hash->hash),
                                            arena_printf(arena, "%" PRId64, hash->hash_revision)}};
    }
    if (round->ctl->format == FORMAT_TABLE) {
        table_print(stdout, &(struct table){headers, COLUMNS, rows, count});
        return;
    }
    for (size_t i = 0; i < count; i++)
        (void)printf("%s, %s, %s\n", rows[i].cells[ENDPOINT], rows[i].cells[HASH],
                     rows[i].cells[HASH_REVISION]);
}

static void print_fields(const struct endpoint_round *round)
{
    for (unsigned i = 0; i < round->count; i++) {
        const Etcdserverpb__HashKVResponse *hash = hash_of(&round->answers[i]);
        if (!hash)
            continue;
        print_fields_header(round->ctl, hash->header);
        print_fields_string("Endpoint", round->answers[i].endpoint);
        (void)printf("\"Hash\" : %" PRIu32 "\n", hash->hash);
        (void)printf("\"HashRevision\" : %" PRId64 "\n\n", hash->hash_revision);
    }
}

int command_run_endpoint_hashkv(struct ctl *ctl, const void *opaque, struct strings args)
{
    const struct endpoint_options *options = opaque;
    Etcdserverpb__HashKVRequest request = ETCDSERVERPB__HASH_KVREQUEST__INIT;
    const struct endpoint_answer *failed = NULL;
    struct endpoint_round round;
    int code = endpoint_round_begin(ctl, options, &round);
    if (code)
        return code;
    request.revision = options->revision;
    endpoint_ask_all(&round, &client_maintenance_hash_kv, &request.base);
    for (unsigned i = 0; i < round.count; i++) {
        if (hash_of(&round.answers[i]))
            continue;
        failed = &round.answers[i];
        (void)fprintf(stderr, "Failed to get the hash of endpoint %s (%s)\n", failed->endpoint,
                      ctl_error_text(ctl, &failed->result));
    }
    if (ctl->format == FORMAT_PROTOBUF)
        return ctl_format_unsupported(ctl);
    if (ctl->format == FORMAT_JSON)
        endpoint_print_json(&round, "HashKV");
    else if (ctl->format == FORMAT_FIELDS)
        print_fields(&round);
    else
        print_rows(&round);
    if (!failed)
        return CTL_OK;
    (void)fflush(stdout);
    return ctl_fail(CTL_ERROR, "%s", ctl_error_text(ctl, &failed->result));
}
