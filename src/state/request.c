#include "state/request.h"

#include "base/buf.h"
#include "base/check.h"
#include "etcdserverpb_internal.pb-c.h"
#include "etcdserverpb_v2.pb-c.h"
#include "state/ids.h"
#include "wire/decode.h"
#include "wire/encode.h"
#include "wire/splice.h"

enum {
    FIELD_COMPACTION = 7,
    FIELD_LEASE_REVOKE = 9,
    FIELD_ALARM = 10,
    FIELD_LEASE_CHECKPOINT = 11,
    FIELD_HEADER = 100,
    FIELD_CLUSTER_VERSION = 1300,
    FIELD_MEMBER_ATTRIBUTES = 1301,
    HEADER_ID = 1,
    HEADER_USERNAME = 2,
    HEADER_AUTH_REVISION = 3,
};

enum request_form request_form_of(struct cluster_version cluster,
                                  const struct cluster_version *heard, size_t heard_count)
{
    const struct cluster_version v3_from = {3, 6}, initial = {3, 0};
    bool decided = cluster_version_compare(cluster, initial) > 0;
    struct cluster_version lowest = decided ? cluster : (struct cluster_version){0, 0};
    for (size_t i = 0; i < heard_count; i++) {
        if (heard[i].major == 0) {
            if (!decided)
                return REQUEST_FORM_NONE;
            continue;
        }
        if (lowest.major == 0 || cluster_version_compare(heard[i], lowest) < 0)
            lowest = heard[i];
    }
    if (lowest.major == 0)
        return REQUEST_FORM_NONE;
    return cluster_version_compare(lowest, v3_from) >= 0 ? REQUEST_FORM_V3 : REQUEST_FORM_V2;
}

/* The v2 form: every field that old etcd writes even if zero is written. */
static struct bytes v2_put(struct arena *arena, uint64_t request_id, char *path, char *value)
{
    Etcdserverpb__Request r = ETCDSERVERPB__REQUEST__INIT;
    r.has_id = true;
    r.id = request_id;
    r.method = arena_copy_str(arena, BYTES_LIT("PUT"));
    r.path = path;
    r.val = value;
    r.prevvalue = arena_copy_str(arena, BYTES_NONE);
    r.has_dir = r.has_previndex = r.has_expiration = r.has_wait = r.has_since = true;
    r.has_recursive = r.has_sorted = r.has_quorum = r.has_time = r.has_stream = true;
    return wire_encode_arena(&r.base, arena);
}

static struct bytes wrapped(struct arena *arena, unsigned field, struct bytes body,
                            uint64_t request_id)
{
    size_t len = state_request_size(field, body.len, request_id, BYTES_NONE, 0);
    uint8_t *out = arena_alloc_bytes(arena, len);
    state_request_write(out, field, body, request_id, BYTES_NONE, 0);
    return bytes_of(out, len);
}

struct bytes request_attributes(struct arena *arena, uint64_t request_id, enum request_form form,
                                uint64_t member_id, const char *name, struct text_list client_urls)
{
    CHECK(form != REQUEST_FORM_NONE);
    if (form == REQUEST_FORM_V2) {
        struct member m = {.id = member_id, .name = name, .client_urls = client_urls};
        struct buf json;
        buf_init(&json, 0);
        err e = member_put_attributes_json(&m, &json);
        CHECK(err_ok(e));
        char *value = arena_copy_str(arena, buf_bytes(&json));
        buf_done(&json);
        char id[ID_TEXT_MAX];
        char *path = arena_printf(arena, "/0/members/%s/attributes", id_text(member_id, id));
        return v2_put(arena, request_id, path, value);
    }
    Membershippb__Attributes attributes = MEMBERSHIPPB__ATTRIBUTES__INIT;
    attributes.name = arena_copy_str(arena, bytes_str(name));
    attributes.n_client_urls = client_urls.count;
    attributes.client_urls = ARENA_ARRAY(arena, char *, client_urls.count);
    for (size_t i = 0; i < client_urls.count; i++)
        attributes.client_urls[i] = arena_copy_str(arena, bytes_str(client_urls.items[i]));
    Membershippb__ClusterMemberAttrSetRequest set =
        MEMBERSHIPPB__CLUSTER_MEMBER_ATTR_SET_REQUEST__INIT;
    set.member_id = member_id;
    set.member_attributes = &attributes;
    return wrapped(arena, FIELD_MEMBER_ATTRIBUTES, wire_encode_arena(&set.base, arena), request_id);
}

struct bytes request_cluster_version(struct arena *arena, uint64_t request_id,
                                     enum request_form form, struct cluster_version version)
{
    CHECK(form != REQUEST_FORM_NONE && version.major != 0);
    char text[CLUSTER_VERSION_TEXT_MAX];
    char *value = arena_copy_str(arena, bytes_str(cluster_version_text(version, text)));
    if (form == REQUEST_FORM_V2)
        return v2_put(arena, request_id, arena_copy_str(arena, BYTES_LIT("/0/version")), value);
    Membershippb__ClusterVersionSetRequest set = MEMBERSHIPPB__CLUSTER_VERSION_SET_REQUEST__INIT;
    set.ver = value;
    return wrapped(arena, FIELD_CLUSTER_VERSION, wire_encode_arena(&set.base, arena), request_id);
}

struct bytes request_alarm(struct arena *arena, uint64_t request_id, uint64_t member_id,
                           enum alarm_type type, bool raise)
{
    Etcdserverpb__AlarmRequest alarm = ETCDSERVERPB__ALARM_REQUEST__INIT;
    alarm.action = raise ? ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__ACTIVATE
                         : ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__DEACTIVATE;
    alarm.memberid = member_id;
    alarm.alarm = (Etcdserverpb__AlarmType)type;
    return wrapped(arena, FIELD_ALARM, wire_encode_arena(&alarm.base, arena), request_id);
}

struct bytes request_lease_revoke(struct arena *arena, uint64_t request_id, int64_t lease_id)
{
    Etcdserverpb__LeaseRevokeRequest revoke = ETCDSERVERPB__LEASE_REVOKE_REQUEST__INIT;
    revoke.id = lease_id;
    return wrapped(arena, FIELD_LEASE_REVOKE, wire_encode_arena(&revoke.base, arena), request_id);
}

struct bytes request_lease_checkpoint(struct arena *arena, uint64_t request_id,
                                      const struct lease_note *notes, size_t count)
{
    Etcdserverpb__LeaseCheckpoint *items = ARENA_ARRAY(arena, Etcdserverpb__LeaseCheckpoint, count);
    Etcdserverpb__LeaseCheckpoint **list =
        ARENA_ARRAY(arena, Etcdserverpb__LeaseCheckpoint *, count);
    Etcdserverpb__LeaseCheckpointRequest request = ETCDSERVERPB__LEASE_CHECKPOINT_REQUEST__INIT;
    for (size_t i = 0; i < count; i++) {
        etcdserverpb__lease_checkpoint__init(&items[i]);
        items[i].id = notes[i].lease_id;
        items[i].remaining_ttl = notes[i].remaining_s;
        list[i] = &items[i];
    }
    request.n_checkpoints = count;
    request.checkpoints = list;
    return wrapped(arena, FIELD_LEASE_CHECKPOINT, wire_encode_arena(&request.base, arena),
                   request_id);
}

struct bytes request_compaction(struct arena *arena, uint64_t request_id, int64_t revision)
{
    Etcdserverpb__CompactionRequest request = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    request.revision = revision;
    return wrapped(arena, FIELD_COMPACTION, wire_encode_arena(&request.base, arena), request_id);
}

err state_request_canonical(unsigned field, struct bytes raw, struct arena *arena,
                            struct bytes *ret_canonical)
{
    const ProtobufCMessageDescriptor *all = &etcdserverpb__internal_raft_request__descriptor;
    const ProtobufCFieldDescriptor *of = protobuf_c_message_descriptor_get_field(all, field);
    if (!of || of->type != PROTOBUF_C_TYPE_MESSAGE)
        return ERR_SYNTAX;
    ProtobufCMessage *body = NULL;
    bool canonical = false;
    TRY(wire_decode(of->descriptor, raw, arena, NULL, &body, &canonical));
    *ret_canonical = canonical ? raw : wire_encode_arena(body, arena);
    return OK;
}

static size_t header_size(uint64_t request_id, struct bytes username, uint64_t auth_revision)
{
    return wire_varint_field_size(HEADER_ID, request_id) +
           wire_bytes_field_size(HEADER_USERNAME, username.len) +
           wire_varint_field_size(HEADER_AUTH_REVISION, auth_revision);
}

size_t state_request_size(unsigned field, size_t body_len, uint64_t request_id,
                          struct bytes username, uint64_t auth_revision)
{
    return wire_message_field_size(field, body_len) +
           wire_message_field_size(FIELD_HEADER, header_size(request_id, username, auth_revision));
}

void state_request_write(uint8_t *out, unsigned field, struct bytes body, uint64_t request_id,
                         struct bytes username, uint64_t auth_revision)
{
    uint8_t *at = out;
    if (field < FIELD_HEADER)
        at = wire_put_message_field(at, field, body);
    at = wire_put_prefix(at, FIELD_HEADER, header_size(request_id, username, auth_revision));
    at = wire_put_varint_field(at, HEADER_ID, request_id);
    at = wire_put_bytes_field(at, HEADER_USERNAME, username);
    at = wire_put_varint_field(at, HEADER_AUTH_REVISION, auth_revision);
    if (field > FIELD_HEADER)
        at = wire_put_message_field(at, field, body);
    CHECK((size_t)(at - out) ==
          state_request_size(field, body.len, request_id, username, auth_revision));
}
