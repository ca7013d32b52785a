/* make-mirror: first all keys as of one revision, then every change behind it, each revision as one
 * transaction.
 *
 * What is written twice changes nothing, as long as nothing else comes in between; so writes are
 * repeated over the destination's members as reads are. The watch is paused while an answer's
 * events are being written: there is never more than one answer in memory. */
#include "client/watch.h"

#include "base/check.h"
#include "etcdctl/concurrency.h"
#include "etcdctl/kv.h"
#include "etcdctl/print.h"

#include <inttypes.h>
#include <string.h>

#define O struct mirror_options
const struct flag mirror_flags[] = {
    STRING_FLAG(O, prefix, "prefix", "", "only keys that begin with it"),
    INT_FLAG(O, revision, "rev", "0",
             "only changes from that revision on; 0: all keys first, then what changes"),
    INT_FLAG(O, txn_ops_max, "max-txn-ops", "128", "the most changes in one transaction"),
    STRING_FLAG(O, dest_prefix, "dest-prefix", "", "stands there for --prefix"),
    BOOL_FLAG(O, no_dest_prefix, "no-dest-prefix", "--prefix is left out there"),
    STRING_FLAG(O, cert, "dest-cert", "", "client certificate there (not supported yet)"),
    STRING_FLAG(O, key, "dest-key", "", "its key (not supported yet)"),
    STRING_FLAG(O, cacert, "dest-cacert", "", "authorities to trust there (not supported yet)"),
    {"dest-insecure-transport", 0, FLAG_BOOL, "true", offsetof(O, insecure_transport),
     "accepted: connections are plain"},
    STRING_FLAG(O, user, "dest-user", "", "name[:password] there (not supported yet)"),
    STRING_FLAG(O, password, "dest-password", "", "password there (not supported yet)"),
    {0},
};
#undef O

#define PAGE_KEYS      1000
#define TELL_PERIOD_MS 30000
#define ARENA_BYTES    65536
#define COMPACTED_TEXT "etcdserver: mvcc: required revision has been compacted"

struct mirror {
    struct ctl *ctl;    /* the source's */
    struct ctl dest;    /* shares its loop */
    struct arena arena; /* of one page or answer */
    const struct mirror_options *options;
    struct client_watch_stream *stream;
    const Etcdserverpb__WatchResponse *told; /* to be written; lives in the arena */
    struct io_timer timer;
    int64_t total;
    bool ended;
    const char *why; /* the watch ended */
};

static void on_period(void *ctx)
{
    struct mirror *self = ctx;
    (void)printf("%" PRId64 "\n", self->total);
    (void)fflush(stdout);
    io_loop_timer_after(self->ctl->loop, &self->timer, TELL_PERIOD_MS);
}

/* A call that waits for as long as it takes. */
static int call(struct mirror *self, struct ctl *whom, const struct client_method *method,
                const ProtobufCMessage *message, const ProtobufCMessage **ret_response)
{
    const struct client_request request = {
        .method = method,
        .message = message,
        .timeout_ms = CLIENT_NO_TIMEOUT,
        .endpoint = CLIENT_ANY_ENDPOINT,
        .read = true, /* harmless to repeat, see above */
        .arena = &self->arena,
    };
    struct client_result result = client_call_wait(whom->client, &request);
    if (result.status == GRPC_OK) {
        *ret_response = result.response;
        return CTL_OK;
    }
    ctl_log_failure(whom, method->path, &result);
    return ctl_fail(CTL_ERROR, "%s", ctl_error_text(whom, &result));
}

/* The first occurrence of --prefix, which is at the key's beginning, becomes --dest-prefix. */
static ProtobufCBinaryData dest_key(struct mirror *self, ProtobufCBinaryData key)
{
    const struct mirror_options *o = self->options;
    struct bytes to =
        bytes_str(o->no_dest_prefix || o->dest_prefix[0] ? o->dest_prefix : o->prefix);
    size_t cut = strlen(o->prefix);
    if (key.len < cut)
        return key;
    uint8_t *whole = arena_alloc_bytes(&self->arena, to.len + key.len - cut);
    memcpy(whole, to.data, to.len);
    memcpy(whole + to.len, key.data + cut, key.len - cut);
    return field_of_bytes(bytes_of(whole, to.len + key.len - cut));
}

static int txn(struct mirror *self, Etcdserverpb__RequestOp **ops, size_t count)
{
    Etcdserverpb__TxnRequest request = ETCDSERVERPB__TXN_REQUEST__INIT;
    const ProtobufCMessage *response = NULL;
    if (count == 0)
        return CTL_OK;
    request.n_success = count;
    request.success = ops;
    return call(self, &self->dest, &client_kv_txn, &request.base, &response);
}

/* ---- all keys --------------------------------------------------------------------------- */

static int copy_page(struct mirror *self, const Etcdserverpb__RangeResponse *page)
{
    for (size_t i = 0; i < page->n_kvs; i++) {
        Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
        const ProtobufCMessage *response = NULL;
        put.key = dest_key(self, page->kvs[i]->key);
        put.value = page->kvs[i]->value;
        int code = call(self, &self->dest, &client_kv_put, &put.base, &response);
        if (code)
            return code;
        self->total++;
    }
    return CTL_OK;
}

static int copy_all(struct mirror *self, const struct strings prefix, int64_t *ret_revision)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    struct buf AUTO(buf_done) next;
    buf_init(&next, 0);
    (void)key_range(self->ctl, prefix, true, false, &request.key, &request.range_end);
    request.limit = PAGE_KEYS;
    for (;;) {
        const ProtobufCMessage *message = NULL;
        arena_reset(&self->arena);
        int code = call(self, self->ctl, &client_kv_range, &request.base, &message);
        if (code)
            return code;
        const Etcdserverpb__RangeResponse *page = (const Etcdserverpb__RangeResponse *)message;
        CHECK(page); /* a call that went well has an answer */
        if (request.revision == 0)
            request.revision = page->header ? page->header->revision : 0;
        code = copy_page(self, page);
        if (code)
            return code;
        *ret_revision = request.revision;
        if (!page->more || page->n_kvs == 0)
            return CTL_OK;
        /* The key right behind the last. */
        buf_clear(&next);
        if (!err_ok(buf_append(&next, bytes_of_field(page->kvs[page->n_kvs - 1]->key))) ||
            !err_ok(buf_append(&next, BYTES_LIT("\0"))))
            return ctl_fail(CTL_ERROR, "out of memory");
        request.key = field_of_bytes(buf_bytes(&next));
    }
}

/* ---- changes ---------------------------------------------------------------------------- */

static int write_changes(struct mirror *self, const Etcdserverpb__WatchResponse *response)
{
    size_t most = (size_t)self->options->txn_ops_max, count = 0;
    Etcdserverpb__RequestOp **ops =
        ARENA_ARRAY(&self->arena, Etcdserverpb__RequestOp *, response->n_events);
    int64_t revision = 0;
    for (size_t i = 0; i < response->n_events; i++) {
        const Mvccpb__Event *event = response->events[i];
        if (count == most || (count > 0 && event->kv->mod_revision > revision)) {
            int code = txn(self, ops, count);
            if (code)
                return code;
            count = 0;
        }
        Etcdserverpb__RequestOp *op = ops[count++] =
            ARENA_NEW(&self->arena, Etcdserverpb__RequestOp);
        etcdserverpb__request_op__init(op);
        revision = event->kv->mod_revision;
        self->total++;
        if (event->type == MVCCPB__EVENT__EVENT_TYPE__DELETE) {
            op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
            op->request_delete_range = ARENA_NEW(&self->arena, Etcdserverpb__DeleteRangeRequest);
            etcdserverpb__delete_range_request__init(op->request_delete_range);
            op->request_delete_range->key = dest_key(self, event->kv->key);
            continue;
        }
        op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
        op->request_put = ARENA_NEW(&self->arena, Etcdserverpb__PutRequest);
        etcdserverpb__put_request__init(op->request_put);
        op->request_put->key = dest_key(self, event->kv->key);
        op->request_put->value = event->kv->value;
    }
    return txn(self, ops, count);
}

static Mvccpb__Event *event_copy(struct arena *arena, const Mvccpb__Event *event)
{
    static const Mvccpb__KeyValue none = MVCCPB__KEY_VALUE__INIT;
    const Mvccpb__KeyValue *kv = event->kv ? event->kv : &none;
    Mvccpb__Event *copy = ARENA_NEW(arena, Mvccpb__Event);
    mvccpb__event__init(copy);
    copy->type = event->type;
    copy->kv = ARENA_NEW(arena, Mvccpb__KeyValue);
    mvccpb__key_value__init(copy->kv);
    copy->kv->key = field_of_bytes(arena_copy(arena, bytes_of_field(kv->key)));
    copy->kv->value = field_of_bytes(arena_copy(arena, bytes_of_field(kv->value)));
    copy->kv->mod_revision = kv->mod_revision;
    return copy;
}

static void on_told(void *ctx, const Etcdserverpb__WatchResponse *response)
{
    struct mirror *self = ctx;
    if (response->canceled)
        self->why = response->compact_revision
                        ? COMPACTED_TEXT
                        : arena_copy_str(&self->ctl->arena, bytes_str(response->cancel_reason));
    if (response->n_events == 0)
        return;
    Etcdserverpb__WatchResponse *copy = ARENA_NEW(&self->arena, Etcdserverpb__WatchResponse);
    etcdserverpb__watch_response__init(copy);
    copy->n_events = response->n_events;
    copy->events = ARENA_ARRAY(&self->arena, Mvccpb__Event *, response->n_events);
    for (size_t i = 0; i < response->n_events; i++)
        copy->events[i] = event_copy(&self->arena, response->events[i]);
    self->told = copy;
    client_watch_stream_pause(self->stream);
    io_loop_stop(self->ctl->loop);
}

static void on_ended(void *ctx, const struct client_result *result)
{
    struct mirror *self = ctx;
    self->ended = true;
    if (result)
        self->why = ctl_error_text(self->ctl, result);
    io_loop_stop(self->ctl->loop);
}

static int follow(struct mirror *self, const struct strings prefix, int64_t revision)
{
    ProtobufCBinaryData key, end;
    (void)key_range(self->ctl, prefix, true, false, &key, &end);
    const struct client_watch_request request = {
        .key = bytes_of_field(key),
        .range_end = bytes_of_field(end),
        .start_revision = revision,
        .told = on_told,
        .ended = on_ended,
        .ctx = self,
    };
    arena_reset(&self->arena);
    io_loop_refresh(self->ctl->loop);
    self->stream = client_watch_stream_new(self->ctl->client, false);
    (void)client_watch_start(self->stream, &request);
    int code = CTL_OK;
    while (!code && !self->ended) {
        io_loop_run(self->ctl->loop);
        if (!self->told)
            continue;
        code = write_changes(self, self->told);
        self->told = NULL;
        arena_reset(&self->arena);
        client_watch_stream_resume(self->stream);
    }
    client_watch_stream_free(self->stream);
    return code ? code : ctl_fail(CTL_ERROR, "%s", self->why ? self->why : "the watch has ended");
}

/* ----------------------------------------------------------------------------------------- */

static int check(const struct mirror_options *o)
{
    const struct {
        const char *name, *value;
    } later[] = {
        {"dest-cert", o->cert}, {"dest-key", o->key},           {"dest-cacert", o->cacert},
        {"dest-user", o->user}, {"dest-password", o->password},
    };
    if (o->no_dest_prefix && o->dest_prefix[0])
        return ctl_fail(CTL_BAD_ARGS,
                        "`--dest-prefix` and `--no-dest-prefix` cannot be set at the "
                        "same time, choose one");
    for (size_t i = 0; i < COUNT(later); i++)
        if (later[i].value[0])
            return ctl_fail(CTL_BAD_ARGS, "--%s is not supported yet", later[i].name);
    return CTL_OK;
}

int command_run_mirror(struct ctl *ctl, const void *opaque, struct strings args)
{
    const struct mirror_options *options = opaque;
    struct mirror self = {.ctl = ctl, .options = options};
    const struct strings prefix = {&options->prefix, 1};
    int64_t revision = options->revision - 1;
    if (args.count != 1)
        return ctl_fail(CTL_BAD_ARGS, "make-mirror takes one destination argument");
    int code = check(options);
    if (!code)
        code = ctl_client(ctl);
    if (code)
        return code;
    self.dest = (struct ctl){.options = ctl->options, .loop = ctl->loop};
    arena_init(&self.dest.arena, ARENA_BYTES);
    arena_init(&self.arena, ARENA_BYTES);
    code = ctl_connect(&self.dest, strings_split(args.items[0], &ctl->arena));
    io_timer_init(&self.timer, on_period, &self);
    io_loop_timer_after(ctl->loop, &self.timer, TELL_PERIOD_MS);
    if (!code && revision <= 0)
        code = copy_all(&self, prefix, &revision);
    if (!code)
        code = follow(&self, prefix, revision + 1);
    io_loop_timer_stop(ctl->loop, &self.timer);
    client_free(self.dest.client);
    arena_done(&self.dest.arena);
    arena_done(&self.arena);
    return code;
}
