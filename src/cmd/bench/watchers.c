#include "bench/watchers.h"

#include "base/check.h"
#include "base/clock.h"
#include "wire/splice.h"

#include <stdlib.h>

/* Numbers of fields: etcd's interface, rpc.proto and kv.proto. */
enum { REQUEST_CREATE = 1, CREATE_KEY = 1 };
enum { RESPONSE_CREATED = 3, RESPONSE_EVENTS = 11 };
enum { EVENT_KV = 2, KV_VALUE = 5 };

struct watch_stream {
    struct watchers *watchers;
    struct rpc_client_call *call;
};

void watchers_init(struct watchers *self, const struct watchers_config *config,
                   const struct work *work, void (*ready)(void *ctx), void *ctx)
{
    *self = (struct watchers){.config = *config, .work = work, .ready = ready, .ctx = ctx};
    histogram_init(&self->latency_ns);
    self->streams =
        calloc((size_t)config->connections * config->streams + 1, sizeof(self->streams[0]));
    CHECK(self->streams);
}

void watchers_done(struct watchers *self)
{
    free(self->streams);
}

/* ---- what comes ------------------------------------------------------------------------- */

/* The first field of that number, which is bytes. */
static bool field_find(struct bytes message, uint32_t number, struct bytes *ret_bytes)
{
    struct wire_field_iter iter = wire_field_iter_of(message);
    struct wire_field field;
    while (wire_field_iter_next(&iter, &field)) {
        if (field.number != number || field.type != WIRE_BYTES)
            continue;
        *ret_bytes = field.bytes;
        return true;
    }
    return false;
}

static void take_event(struct watchers *self, struct bytes event, uint64_t now_ns)
{
    struct bytes kv, value;
    if (!self->counting || !field_find(event, EVENT_KV, &kv))
        return;
    self->events++;
    if (field_find(kv, KV_VALUE, &value) && value.len >= WORK_STAMP_BYTES) {
        uint64_t sent_ns = bytes_get_le64(value.data);
        histogram_add(&self->latency_ns, now_ns > sent_ns ? now_ns - sent_ns : 0);
    }
}

static void stream_message(void *ctx, struct rpc_client_call *call, struct bytes message)
{
    struct watch_stream *stream = ctx;
    struct watchers *self = stream->watchers;
    struct wire_field_iter iter = wire_field_iter_of(message);
    struct wire_field field;
    uint64_t now_ns = clock_mono_ns();
    self->bytes += message.len;
    while (wire_field_iter_next(&iter, &field)) {
        if (field.number == RESPONSE_EVENTS && field.type == WIRE_BYTES)
            take_event(self, field.bytes, now_ns);
        else if (field.number == RESPONSE_CREATED && ++self->created == self->config.count)
            self->ready(self->ctx);
    }
    self->failed = self->failed || wire_field_iter_end(&iter).code;
}

static void stream_closed(void *ctx, struct rpc_client_call *call, enum grpc_status status,
                          struct bytes text)
{
    struct watch_stream *stream = ctx;
    stream->watchers->failed = true;
}

/* ---- creating --------------------------------------------------------------------------- */

static const struct rpc_client_call_handler stream_handler = {.message = stream_message,
                                                              .closed = stream_closed};

static void create(struct watchers *self, struct rpc_client_call *call, uint32_t number)
{
    uint8_t key[WORK_KEY_BYTES_MAX], message[WORK_KEY_BYTES_MAX + 16];
    struct bytes name = work_key(self->work, key, self->config.one_key ? 0 : number);
    size_t len = wire_bytes_field_size(CREATE_KEY, name.len);
    uint8_t *at = wire_put_prefix(message, REQUEST_CREATE, len);
    at = wire_put_bytes_field(at, CREATE_KEY, name);
    struct bytes part = bytes_of(message, (size_t)(at - message));
    rpc_client_call_send(call, &part, 1, false);
}

err watchers_open(struct watchers *self, struct rpc_client *client, uint32_t n)
{
    uint32_t streams = self->config.connections * self->config.streams;
    for (uint32_t i = 0; i < self->config.streams; i++) {
        uint32_t place = n * self->config.streams + i;
        struct watch_stream *stream = &self->streams[place];
        stream->watchers = self;
        const struct rpc_client_start start = {.path = BYTES_LIT("/etcdserverpb.Watch/Watch"),
                                               .timeout_ms = UINT64_MAX};
        TRY(rpc_client_call_start(client, &start, &stream_handler, stream, &stream->call));
        for (uint32_t number = place; number < self->config.count; number += streams)
            create(self, stream->call, number);
    }
    return OK;
}
