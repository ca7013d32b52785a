#include "etcdctl/cluster.h"
#include "etcdctl/kv.h"
#include "etcdctl/txn_text.h"

#include <stdlib.h>
#include <string.h>

const struct flag txn_flags[] = {
    {"interactive", 'i', FLAG_BOOL, "false", offsetof(struct txn_options, interactive),
     "prompt for each block"},
    {0},
};

/* ---- lines ------------------------------------------------------------------------------ */

/* The next line without its end and the blanks around it; NULL: cut off. */
static const char *line_read(struct ctl *ctl)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t len = getline(&line, &room, stdin);
    const char *text = NULL;
    if (len > 0 && line[len - 1] == '\n') {
        const char *from = line;
        while (len > 0 && strchr(" \t\r\n\v\f", line[len - 1]))
            len--;
        while (from < line + len && strchr(" \t\r\v\f", *from))
            from++;
        text = arena_copy_str(&ctl->arena, bytes_of(from, (size_t)(line + len - from)));
    }
    free(line);
    return text;
}

static int cut_off(void)
{
    return ctl_fail(CTL_INVALID_INPUT, "EOF");
}

/* ---- requests --------------------------------------------------------------------------- */

static int invalid_request(const char *line)
{
    return ctl_fail(CTL_INVALID_INPUT, "invalid txn request: %s", line);
}

static int op_flags(struct ctl *ctl, const char *line, const char *name, void *options,
                    struct strings *words)
{
    const struct command *command = command_find(&root_command, name);
    struct flag_set set;
    const char *why;
    unsigned dash;
    bool help = false;
    const struct strings args = {words->items + 1, words->count - 1};
    flag_set_init(&set, command->flags, options, &ctl->arena);
    if (err_ok(flags_parse(&set, 1, args, &ctl->arena, words, &dash, &help, &why)) && !help)
        return CTL_OK;
    command_usage(stderr, command, "");
    (void)fputc('\n', stderr);
    return invalid_request(line);
}

static int op_parse(struct ctl *ctl, const char *line, Etcdserverpb__RequestOp *op)
{
    struct strings words;
    if (!err_ok(txn_words(&ctl->arena, line, &words)))
        return ctl_fail(CTL_INVALID_INPUT, "invalid txn request: %s (a NUL is not supported yet)",
                        line);
    if (words.count < 2)
        return ctl_fail(CTL_INVALID_INPUT, "invalid txn compare request: %s", line);
    const char *name = words.items[0];
    int code;
    if (strcmp(name, "put") == 0) {
        struct put_options options;
        code = op_flags(ctl, line, name, &options, &words);
        op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
        return code ? code : put_request(ctl, &options, words, NULL, &op->request_put);
    }
    if (strcmp(name, "get") == 0) {
        struct get_options options;
        code = op_flags(ctl, line, name, &options, &words);
        op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
        return code ? code : get_request(ctl, &options, words, &op->request_range);
    }
    if (strcmp(name, "del") == 0) {
        struct del_options options;
        code = op_flags(ctl, line, name, &options, &words);
        op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
        return code ? code : del_request(ctl, &options, words, &op->request_delete_range);
    }
    return invalid_request(line);
}

/* ---- blocks ----------------------------------------------------------------------------- */

/* A growing list of pointers in the arena. */
static void *list_grow(struct ctl *ctl, void *items, size_t count)
{
    if (count & (count - 1))
        return items;
    void **more = ARENA_ARRAY(&ctl->arena, void *, count ? count * 2 : 1);
    if (count)
        memcpy(more, items, count * sizeof(void *));
    return more;
}

static int compares_read(struct ctl *ctl, Etcdserverpb__TxnRequest *txn)
{
    const char *line, *why;
    while ((line = line_read(ctl)) && *line) {
        Etcdserverpb__Compare *compare;
        if (!err_ok(txn_compare_parse(&ctl->arena, line, &compare, &why)))
            return ctl_fail(CTL_INVALID_INPUT, "%s", why);
        txn->compare = list_grow(ctl, txn->compare, txn->n_compare);
        txn->compare[txn->n_compare++] = compare;
    }
    return line ? CTL_OK : cut_off();
}

static int ops_read(struct ctl *ctl, Etcdserverpb__RequestOp ***ops, size_t *count)
{
    const char *line;
    while ((line = line_read(ctl)) && *line) {
        Etcdserverpb__RequestOp *op = ARENA_NEW(&ctl->arena, Etcdserverpb__RequestOp);
        etcdserverpb__request_op__init(op);
        int code = op_parse(ctl, line, op);
        if (code)
            return code;
        *ops = list_grow(ctl, *ops, *count);
        (*ops)[(*count)++] = op;
    }
    return line ? CTL_OK : cut_off();
}

static void prompt(const struct txn_options *options, const char *text)
{
    if (!options->interactive)
        return;
    (void)puts(text);
    (void)fflush(stdout);
}

static int txn_read(struct ctl *ctl, const struct txn_options *options,
                    Etcdserverpb__TxnRequest *txn)
{
    prompt(options, "compares:");
    int code = compares_read(ctl, txn);
    if (code)
        return code;
    prompt(options, "success requests (get, put, del):");
    code = ops_read(ctl, &txn->success, &txn->n_success);
    if (code)
        return code;
    prompt(options, "failure requests (get, put, del):");
    return ops_read(ctl, &txn->failure, &txn->n_failure);
}

static bool reads_only(Etcdserverpb__RequestOp **ops, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (ops[i]->request_case != ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE)
            return false;
    return true;
}

int command_run_txn(struct ctl *ctl, const void *options, struct strings args)
{
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    const ProtobufCMessage *response = NULL;
    if (args.count > 0)
        return ctl_fail(CTL_BAD_ARGS, "txn command does not accept argument");
    int code = txn_read(ctl, options, &txn);
    if (code)
        return code;
    const struct client_request request = {
        .method = &client_kv_txn,
        .message = &txn.base,
        .timeout_ms = CLIENT_NO_TIMEOUT,
        .endpoint = CLIENT_ANY_ENDPOINT,
        .read = reads_only(txn.success, txn.n_success) && reads_only(txn.failure, txn.n_failure),
    };
    code = ctl_request(ctl, &request, &response);
    return code ? code : print_txn(ctl, (const Etcdserverpb__TxnResponse *)response);
}
