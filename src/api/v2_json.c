/* What the v2 API says: nodes, events, errors, and the heads of its answers. */
#include "api/v2_internal.h"

#include "state/ids.h"
#include "wire/json.h"
#include "wire/splice.h"

#include <stdio.h>
#include <time.h>

#define NS_PER_S INT64_C(1000000000)

static const char *const actions[] = {
    [V2_GET] = "get",
    [V2_SET] = "set",
    [V2_CREATE] = "create",
    [V2_UPDATE] = "update",
    [V2_DELETE] = "delete",
    [V2_COMPARE_AND_SWAP] = "compareAndSwap",
    [V2_COMPARE_AND_DELETE] = "compareAndDelete",
    [V2_EXPIRE] = "expire",
};
#define ACTIONS (sizeof(actions) / sizeof(actions[0]))

/* ── Events as they are stored ──────────────────────────────────────────────────────────────── */

enum { FIELD_ACTION = 1, FIELD_PATH, FIELD_NODE, FIELD_BEFORE, FIELD_HAS_VALUE, FIELD_REFRESH };

struct bytes v2_event_encode(struct arena *arena, const struct v2_event *event)
{
    struct v2_node told = event->node;
    told.modified = 0; /* the change's own */
    struct bytes node = v2_node_encode(arena, &told);
    struct v2_node was = event->before;
    was.created = v2_node_created(&was);
    was.own_created = false;
    struct bytes before = event->has_before ? v2_node_encode(arena, &was) : BYTES_NONE;
    size_t size = wire_varint_field_size(FIELD_ACTION, event->action) +
                  wire_bytes_field_size(FIELD_PATH, event->path.len) +
                  wire_message_field_size(FIELD_NODE, node.len) +
                  (event->has_before ? wire_message_field_size(FIELD_BEFORE, before.len) : 0) +
                  wire_varint_field_size(FIELD_HAS_VALUE, event->has_value) +
                  wire_varint_field_size(FIELD_REFRESH, event->refresh);
    uint8_t *bytes = arena_alloc_bytes(arena, size);
    uint8_t *at = wire_put_varint_field(bytes, FIELD_ACTION, event->action);
    at = wire_put_bytes_field(at, FIELD_PATH, event->path);
    at = wire_put_message_field(at, FIELD_NODE, node);
    if (event->has_before)
        at = wire_put_message_field(at, FIELD_BEFORE, before);
    at = wire_put_varint_field(at, FIELD_HAS_VALUE, event->has_value);
    (void)wire_put_varint_field(at, FIELD_REFRESH, event->refresh);
    return bytes_of(bytes, size);
}

static err event_field(struct v2_event *event, const struct wire_field *field)
{
    bool is_bytes = field->number >= FIELD_PATH && field->number <= FIELD_BEFORE;
    if (field->type != (is_bytes ? WIRE_BYTES : WIRE_VARINT))
        return ERR_SYNTAX;
    switch (field->number) {
    case FIELD_ACTION:
        if (field->value >= ACTIONS)
            return ERR_SYNTAX;
        event->action = (enum v2_action)field->value;
        return OK;
    case FIELD_PATH:
        event->path = field->bytes;
        return OK;
    case FIELD_NODE:
        return v2_node_decode(field->bytes, &event->node);
    case FIELD_BEFORE:
        event->has_before = true;
        return v2_node_decode(field->bytes, &event->before);
    case FIELD_HAS_VALUE:
        event->has_value = field->value != 0;
        return OK;
    case FIELD_REFRESH:
        event->refresh = field->value != 0;
        return OK;
    default:
        return ERR_SYNTAX;
    }
}

err v2_event_decode(struct bytes stored, int64_t revision, struct v2_event *ret_event)
{
    struct v2_event event = {.action = V2_GET};
    struct wire_field_iter iter = wire_field_iter_of(stored);
    struct wire_field field;
    while (wire_field_iter_next(&iter, &field))
        TRY(event_field(&event, &field));
    TRY(wire_field_iter_end(&iter));
    if (event.path.len == 0 || event.path.data[0] != '/')
        return ERR_SYNTAX;
    event.node.modified = revision;
    *ret_event = event;
    return OK;
}

/* ── JSON ───────────────────────────────────────────────────────────────────────────────────── */

/* As Go's RFC3339Nano: no zeros at the end of the fraction. */
static err put_time(struct buf *out, int64_t ns)
{
    time_t seconds = (time_t)(ns / NS_PER_S);
    struct tm parts;
    char text[40], fraction[12];
    if (!gmtime_r(&seconds, &parts) ||
        strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &parts) == 0)
        return ERR_LIMIT;
    int len = snprintf(fraction, sizeof(fraction), ".%09d", (int)(ns % NS_PER_S));
    while (len > 1 && fraction[len - 1] == '0')
        len--;
    return buf_printf(out, "\"%s%.*sZ\"", text, len == 1 ? 0 : len, fraction);
}

err v2_put_node_begin(struct buf *out, struct bytes path, const struct v2_node *node,
                      bool with_value, int64_t now_ns)
{
    const char *comma = "";
    TRY(buf_append(out, BYTES_LIT("{")));
    if (path.len > 1) {
        TRY(buf_append(out, BYTES_LIT("\"key\":")));
        TRY(wire_json_write_string(path, WIRE_JSON_GO, out));
        comma = ",";
    }
    if (with_value && !node->dir) {
        TRY(buf_printf(out, "%s\"value\":", comma));
        TRY(wire_json_write_string(node->value, WIRE_JSON_GO, out));
        comma = ",";
    }
    if (node->dir) {
        TRY(buf_printf(out, "%s\"dir\":true", comma));
        comma = ",";
    }
    if (node->expiration_ns == 0)
        return OK;
    TRY(buf_printf(out, "%s\"expiration\":", comma));
    TRY(put_time(out, node->expiration_ns));
    /* Rounded up; what is past and not yet gone shows no time, as zero is left out. */
    int64_t left_ns = node->expiration_ns - now_ns;
    int64_t left_s = left_ns > 0 ? (left_ns + NS_PER_S - 1) / NS_PER_S : 0;
    return left_s ? buf_printf(out, ",\"ttl\":%lld", (long long)left_s) : OK;
}

err v2_put_node_end(struct buf *out, const struct v2_node *node)
{
    const char *comma = out->len && out->data[out->len - 1] == '{' ? "" : ",";
    if (node->modified) {
        TRY(buf_printf(out, "%s\"modifiedIndex\":%lld", comma, (long long)node->modified));
        comma = ",";
    }
    int64_t created = v2_node_created(node);
    if (created)
        TRY(buf_printf(out, "%s\"createdIndex\":%lld", comma, (long long)created));
    return buf_append(out, BYTES_LIT("}"));
}

err v2_put_action(struct buf *out, enum v2_action action)
{
    return buf_printf(out, "{\"action\":\"%s\"}\n", actions[action]);
}

err v2_put_event(struct buf *out, const struct v2_event *event, int64_t now_ns)
{
    TRY(buf_printf(out, "{\"action\":\"%s\",\"node\":", actions[event->action]));
    TRY(v2_put_node_begin(out, event->path, &event->node, event->has_value, now_ns));
    TRY(v2_put_node_end(out, &event->node));
    if (event->has_before) {
        TRY(buf_append(out, BYTES_LIT(",\"prevNode\":")));
        TRY(v2_put_node_begin(out, event->path, &event->before, true, now_ns));
        TRY(v2_put_node_end(out, &event->before));
    }
    return buf_append(out, BYTES_LIT("}\n"));
}

/* ── Answers ────────────────────────────────────────────────────────────────────────────────── */

#define NUMBER_TEXT_MAX 24

static struct bytes number_text(uint64_t number, char text[NUMBER_TEXT_MAX])
{
    int len = snprintf(text, NUMBER_TEXT_MAX, "%llu", (unsigned long long)number);
    return bytes_of(text, (size_t)len);
}

static void begin(struct request *request, unsigned status, int64_t index, bool with_raft,
                  uint64_t length)
{
    const struct replica_view *view = front_view(request->front);
    char id[ID_TEXT_MAX], etcd_index[NUMBER_TEXT_MAX], raft_index[NUMBER_TEXT_MAX],
        term[NUMBER_TEXT_MAX];
    const struct http_header headers[] = {
        {BYTES_LIT("Content-Type"), BYTES_LIT("application/json")},
        {BYTES_LIT("X-Etcd-Cluster-Id"), bytes_str(id_text(request->front->config.cluster_id, id))},
        {BYTES_LIT("X-Etcd-Index"), number_text((uint64_t)index, etcd_index)},
        {BYTES_LIT("X-Raft-Index"), number_text(view->commit_index, raft_index)},
        {BYTES_LIT("X-Raft-Term"), number_text(view->term, term)}};
    http_response_begin(request->exchange, status, headers, with_raft ? 5 : 3, length);
}

void v2_answer_begin(struct request *request, unsigned status, int64_t index, uint64_t length)
{
    begin(request, status, index, true, length);
}

void v2_answer(struct request *request, unsigned status, int64_t index, const struct buf *body)
{
    begin(request, status, index, true, body->len);
    http_response_body(request->exchange, buf_bytes(body));
    http_response_end(request->exchange);
    request->state = REQUEST_ANSWERED;
}

static const struct {
    uint16_t code, status;
    const char *text;
} errors[] = {[V2_OK] = {0, 200, ""},
#define X(name, code, status, text) [name] = {code, status, text},
              V2_ERRORS(X)
#undef X
};

static err put_error(struct buf *out, struct v2_refusal refusal, int64_t index)
{
    TRY(buf_printf(out, "{\"errorCode\":%u,\"message\":\"%s\"", errors[refusal.error].code,
                   errors[refusal.error].text));
    if (refusal.cause && refusal.cause[0]) {
        TRY(buf_append(out, BYTES_LIT(",\"cause\":")));
        TRY(wire_json_write_string(bytes_str(refusal.cause), WIRE_JSON_GO, out));
    }
    return buf_printf(out, ",\"index\":%lld}\n", (long long)index);
}

void v2_refuse(struct request *request, struct v2_refusal refusal, int64_t index)
{
    struct buf body;
    buf_init(&body, 0);
    if (put_error(&body, refusal, index).code)
        buf_clear(&body); /* out of memory alone, which ends the process before */
    begin(request, errors[refusal.error].status, index, false, body.len);
    http_response_body(request->exchange, buf_bytes(&body));
    http_response_end(request->exchange);
    request->state = REQUEST_ANSWERED;
    buf_done(&body);
}

void v2_fail(struct request *request, err e)
{
    v2_refuse(request, (struct v2_refusal){V2_INTERNAL, err_text(e)},
              front_view(request->front)->mvcc->revision);
}
