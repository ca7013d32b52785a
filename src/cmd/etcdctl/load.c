#include "etcdctl/load.h"

#include "base/clock.h"
#include "base/prng.h"
#include "base/seed.h"
#include "etcdctl/kv.h"
#include "etcdctl/print.h"
#include "etcdctl/text.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#define ARENA_BYTES      4096
#define CALLS_PER_CLIENT 100 /* on one connection */
#define TICK_MS          1
#define NS_PER_S         1e9

/* One request after the other. */
struct slot {
    struct running *all;
    struct client *client;
    struct arena arena;
    uint64_t begun_ns;
    struct list node; /* among the idle */
};

struct running {
    struct ctl *ctl;
    const struct load *load;
    struct load_result result;
    struct client **clients;
    unsigned client_count;
    struct slot *slots;
    struct list idle;
    struct prng prng;
    uint8_t *key, *value;
    size_t prefix_len;
    uint64_t issued, begun_ns;
    struct io_timer timer;
    double mean_s, squares_s; /* Welford's */
    bool shown;               /* progress: stderr is a terminal */
};

/* ---- what came of it -------------------------------------------------------------------- */

static void error_count(struct running *self, const struct client_result *result)
{
    const char *text = ctl_error_text(self->ctl, result);
    struct load_result *all = &self->result;
    unsigned i = 0;
    while (i < all->error_count && strcmp(all->errors[i].text, text) != 0)
        i++;
    if (i == LOAD_ERRORS_MAX)
        i--;
    if (i == all->error_count)
        all->errors[all->error_count++].text = text;
    all->errors[i].count++;
}

static void time_count(struct running *self, double took_s)
{
    struct load_result *all = &self->result;
    double off = took_s - self->mean_s;
    all->done++;
    self->mean_s += off / (double)all->done;
    self->squares_s += off * (took_s - self->mean_s);
    if (took_s > all->slowest_s)
        all->slowest_s = took_s;
}

static double elapsed_s(const struct running *self)
{
    return (double)(clock_mono_ns() - self->begun_ns) / NS_PER_S;
}

/* ---- requests --------------------------------------------------------------------------- */

static bool over(const struct running *self)
{
    const struct load *load = self->load;
    return load->duration_s ? elapsed_s(self) >= load->duration_s : self->issued >= load->count;
}

/* How many may have begun by now. */
static uint64_t allowed(const struct running *self)
{
    const struct load *load = self->load;
    if (load->per_second == 0)
        return load->count;
    return (uint64_t)(elapsed_s(self) * load->per_second) + 1;
}

static void on_done(void *ctx, const struct client_result *result);

static void slot_start(struct slot *slot)
{
    struct running *self = slot->all;
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    uint64_t number = prng_next(&self->prng) >> 1;
    arena_reset(&slot->arena);
    /* As Go's PutVarint of a positive number. */
    number <<= 1;
    for (size_t at = self->prefix_len; number > 0; at++, number >>= 7)
        self->key[at] = (uint8_t)(number & 0x7f) | (number >> 7 ? 0x80 : 0);
    put.key = field_of_bytes(bytes_of(self->key, self->prefix_len + self->load->key_bytes));
    put.value = field_of_bytes(bytes_of(self->value, self->load->value_bytes));
    const struct client_request request = {
        .method = &client_kv_put,
        .message = &put.base,
        .timeout_ms = CLIENT_NO_TIMEOUT,
        .endpoint = CLIENT_ANY_ENDPOINT,
        .arena = &slot->arena,
        .done = on_done,
        .ctx = slot,
    };
    slot->begun_ns = clock_mono_ns();
    self->issued++;
    list_remove(&slot->node);
    (void)client_call_start(slot->client, &request);
}

static void start_more(struct running *self)
{
    while (!list_empty(&self->idle) && !over(self) && self->issued < allowed(self))
        slot_start(LIST_ENTRY(self->idle.next, struct slot, node));
}

static void on_done(void *ctx, const struct client_result *result)
{
    struct slot *slot = ctx;
    struct running *self = slot->all;
    time_count(self, (double)(clock_mono_ns() - slot->begun_ns) / NS_PER_S);
    if (result->status != GRPC_OK)
        error_count(self, result);
    list_push(&self->idle, &slot->node);
    start_more(self);
}

static void show(const struct running *self)
{
    const struct load *load = self->load;
    if (!self->shown)
        return;
    if (load->duration_s)
        (void)fprintf(stderr, "\r %.0f / %u s ", elapsed_s(self), load->duration_s);
    else
        (void)fprintf(stderr, "\r %" PRIu64 " / %" PRIu64 " ", self->result.done, load->count);
}

static bool finished(const struct running *self)
{
    return over(self) && self->result.done == self->issued;
}

static void on_tick(void *ctx)
{
    struct running *self = ctx;
    start_more(self);
    show(self);
    if (finished(self))
        io_loop_stop(self->ctl->loop);
    else
        io_loop_timer_after(self->ctl->loop, &self->timer, TICK_MS);
}

/* ---- a run ------------------------------------------------------------------------------ */

static int clients_make(struct running *self)
{
    struct ctl *ctl = self->ctl;
    unsigned count = (self->load->clients + CALLS_PER_CLIENT - 1) / CALLS_PER_CLIENT;
    self->clients = ARENA_ARRAY(&ctl->arena, struct client *, count);
    for (; self->client_count < count; self->client_count++) {
        struct ctl one = {.options = ctl->options, .loop = ctl->loop};
        int code = ctl_connect(&one, ctl->options.endpoints);
        if (code)
            return code;
        self->clients[self->client_count] = one.client;
    }
    return CTL_OK;
}

static void running_init(struct running *self)
{
    const struct load *load = self->load;
    struct arena *arena = &self->ctl->arena;
    prng_init(&self->prng, seed_new());
    self->prefix_len = strlen(load->prefix);
    self->key = arena_alloc(arena, self->prefix_len + load->key_bytes);
    self->value = arena_alloc(arena, load->value_bytes);
    memcpy(self->key, load->prefix, self->prefix_len);
    self->slots = ARENA_ARRAY(arena, struct slot, load->clients);
    self->shown = isatty(STDERR_FILENO);
    list_init(&self->idle);
    for (unsigned i = 0; i < load->clients; i++) {
        struct slot *slot = &self->slots[i];
        slot->all = self;
        slot->client = self->clients[i % self->client_count];
        arena_init(&slot->arena, ARENA_BYTES);
        list_push(&self->idle, &slot->node);
    }
}

int load_put_all(struct ctl *ctl, const struct load *load, struct load_result *ret_result)
{
    struct running self = {.ctl = ctl, .load = load};
    int code = ctl_client(ctl);
    if (!code)
        code = clients_make(&self);
    if (!code) {
        running_init(&self);
        io_loop_refresh(ctl->loop);
        self.begun_ns = clock_mono_ns();
        io_timer_init(&self.timer, on_tick, &self);
        io_loop_timer_after(ctl->loop, &self.timer, 0);
        while (!finished(&self))
            io_loop_run(ctl->loop);
        io_loop_timer_stop(ctl->loop, &self.timer);
        double whole_s = elapsed_s(&self);
        self.result.per_second = whole_s > 0 ? (double)self.result.done / whole_s : 0;
        if (self.result.done > 0)
            self.result.stddev_s = sqrt(self.squares_s / (double)self.result.done);
        if (self.shown)
            (void)fputc('\n', stderr);
        *ret_result = self.result;
    }
    for (unsigned i = 0; i < self.client_count; i++)
        client_free(self.clients[i]);
    for (unsigned i = 0; !code && i < load->clients; i++)
        arena_done(&self.slots[i].arena);
    return code;
}

/* ---- before and after ------------------------------------------------------------------- */

int load_name(const char *name, unsigned *ret_index)
{
    static const char *const names[][2] = {
        {"s", "small"}, {"m", "medium"}, {"l", "large"}, {"xl", "xLarge"}};
    for (unsigned i = 0; i < COUNT(names); i++)
        if (strcmp(name, names[i][0]) == 0 || strcmp(name, names[i][1]) == 0) {
            *ret_index = i;
            return CTL_OK;
        }
    return ctl_fail(CTL_BAD_FEATURE, "unknown load option %s", name);
}

int load_prefix_free(struct ctl *ctl, const char *prefix)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    const ProtobufCMessage *response = NULL;
    const struct strings args = {&prefix, 1};
    int code = key_range(ctl, args, true, false, &request.key, &request.range_end);
    request.limit = 1;
    if (!code)
        code = ctl_call(ctl, &client_kv_range, &request.base, &response);
    if (code || ((const Etcdserverpb__RangeResponse *)response)->n_kvs == 0)
        return code;
    return ctl_fail(CTL_INVALID_INPUT,
                    "prefix \"%s\" has keys. Delete with 'etcdctl del --prefix %s' first", prefix,
                    prefix);
}

bool load_print_errors(const struct load_result *result)
{
    if (result->error_count == 0)
        return false;
    (void)puts("FAIL: too many errors");
    for (unsigned i = 0; i < result->error_count; i++)
        (void)printf("FAIL: ERROR(%s) -> %" PRIu64 "\n", result->errors[i].text,
                     result->errors[i].count);
    return true;
}

static int compact(struct ctl *ctl, int64_t revision)
{
    Etcdserverpb__CompactionRequest request = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    const ProtobufCMessage *response = NULL;
    request.revision = revision;
    request.physical = true;
    (void)printf("Compacting with revision %" PRId64 "\n", revision);
    (void)fflush(stdout);
    int code = ctl_call(ctl, &client_kv_compact, &request.base, &response);
    if (!code)
        (void)printf("Compacted with revision %" PRId64 "\n", revision);
    return code;
}

static int defrag(struct ctl *ctl, unsigned index)
{
    static const Etcdserverpb__DefragmentRequest message = ETCDSERVERPB__DEFRAGMENT_REQUEST__INIT;
    const struct client_request request = {
        .method = &client_maintenance_defragment,
        .message = &message.base,
        .timeout_ms = CLIENT_NO_TIMEOUT,
        .endpoint = (int)index,
    };
    const ProtobufCMessage *response = NULL;
    (void)printf("Defragmenting \"%s\"\n", client_endpoint(ctl->client, index));
    (void)fflush(stdout);
    int code = ctl_request(ctl, &request, &response);
    if (!code)
        (void)printf("Defragmented \"%s\"\n", client_endpoint(ctl->client, index));
    return code;
}

int load_clean(struct ctl *ctl, const struct check_options *options)
{
    Etcdserverpb__DeleteRangeRequest message = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    const ProtobufCMessage *response = NULL;
    const struct strings args = {&options->prefix, 1};
    int code = key_range(ctl, args, true, false, &message.key, &message.range_end);
    const struct client_request request = {
        .method = &client_kv_delete_range,
        .message = &message.base,
        .timeout_ms = CLIENT_NO_TIMEOUT,
        .endpoint = CLIENT_ANY_ENDPOINT,
    };
    if (!code)
        code = ctl_request(ctl, &request, &response);
    if (code)
        return code;
    const Etcdserverpb__DeleteRangeResponse *deleted =
        (const Etcdserverpb__DeleteRangeResponse *)response;
    if (options->auto_compact && deleted->header)
        code = compact(ctl, deleted->header->revision);
    for (unsigned i = 0; options->auto_defrag && !code && i < client_endpoint_count(ctl->client);
         i++)
        code = defrag(ctl, i);
    return code;
}
