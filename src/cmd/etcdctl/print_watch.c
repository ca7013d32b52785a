#include "etcdctl/print.h"

#include "base/check.h"
#include "wire/json.h"

#include <inttypes.h>

static const char *type_name(const Mvccpb__Event *event)
{
    return event->type == MVCCPB__EVENT__EVENT_TYPE__DELETE ? "DELETE" : "PUT";
}

static void simple_events(const struct ctl *ctl, const Etcdserverpb__WatchResponse *response)
{
    for (size_t i = 0; i < response->n_events; i++) {
        const Mvccpb__Event *event = response->events[i];
        (void)puts(type_name(event));
        if (event->prev_kv)
            print_kv_simple(ctl, event->prev_kv);
        if (event->kv)
            print_kv_simple(ctl, event->kv);
    }
}

static void fields_events(const struct ctl *ctl, const Etcdserverpb__WatchResponse *response)
{
    print_fields_header(ctl, response->header);
    for (size_t i = 0; i < response->n_events; i++) {
        const Mvccpb__Event *event = response->events[i];
        (void)printf("\"Type\" : %s\n", type_name(event));
        if (event->prev_kv)
            print_kv_fields(ctl, "Prev", event->prev_kv);
        if (event->kv)
            print_kv_fields(ctl, "", event->kv);
    }
}

/* Go's struct of an answer, which has all of its fields always. */
static int json_events(const Etcdserverpb__WatchResponse *response)
{
    static const Etcdserverpb__ResponseHeader none = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    const ProtobufCMessage *header = response->header ? &response->header->base : &none.base;
    struct buf AUTO(buf_done) out;
    buf_init(&out, 0);
    CHECK(err_ok(buf_append(&out, BYTES_LIT("{\"Header\":"))));
    CHECK(err_ok(wire_json_write(header, WIRE_JSON_GO, &out)));
    CHECK(err_ok(buf_append(&out, BYTES_LIT(",\"Events\":"))));
    for (size_t i = 0; i < response->n_events; i++) {
        CHECK(err_ok(buf_append(&out, i ? BYTES_LIT(",") : BYTES_LIT("["))));
        CHECK(err_ok(wire_json_write(&response->events[i]->base, WIRE_JSON_GO, &out)));
    }
    CHECK(err_ok(buf_append(&out, response->n_events ? BYTES_LIT("]") : BYTES_LIT("null"))));
    CHECK(err_ok(buf_printf(
        &out, ",\"CompactRevision\":%" PRId64 ",\"Canceled\":%s,\"Created\":%s,\"CancelReason\":",
        response->compact_revision, response->canceled ? "true" : "false",
        response->created ? "true" : "false")));
    CHECK(err_ok(wire_json_write_string(bytes_str(response->cancel_reason), WIRE_JSON_GO, &out)));
    CHECK(err_ok(buf_append(&out, BYTES_LIT("}\n"))));
    (void)fwrite(out.data, 1, out.len, stdout);
    return CTL_OK;
}

/* Without what Go's client keeps for itself: the watch's id, the reason, the fragments. */
static int protobuf_events(const Etcdserverpb__WatchResponse *response)
{
    Etcdserverpb__WatchResponse told = *response;
    told.watch_id = 0;
    told.cancel_reason = (char *)(uintptr_t)protobuf_c_empty_string;
    told.fragment = false;
    return print_protobuf(&told.base);
}

int print_watch(const struct ctl *ctl, const Etcdserverpb__WatchResponse *response)
{
    switch (ctl->format) {
    case FORMAT_SIMPLE:
        simple_events(ctl, response);
        return CTL_OK;
    case FORMAT_FIELDS:
        fields_events(ctl, response);
        return CTL_OK;
    case FORMAT_JSON:
        return json_events(response);
    case FORMAT_PROTOBUF:
        return protobuf_events(response);
    case FORMAT_TABLE:
        break;
    }
    return ctl_format_unsupported(ctl);
}
