#include "etcdctl/member.h"

#include "base/check.h"
#include "wire/json.h"

#include <inttypes.h>

static void json_name(struct buf *out, const char *name)
{
    CHECK(err_ok(buf_printf(out, "%s\"%s\":", out->data[out->len - 1] == '{' ? "" : ",", name)));
}

static void json_id(struct buf *out, const char *name, uint64_t id)
{
    json_name(out, name);
    CHECK(err_ok(buf_printf(out, "\"%" PRIx64 "\"", id)));
}

static void json_strings(struct buf *out, const char *name, char **items, size_t count)
{
    if (count == 0)
        return;
    json_name(out, name);
    for (size_t i = 0; i < count; i++) {
        CHECK(err_ok(buf_append(out, i ? BYTES_LIT(",") : BYTES_LIT("["))));
        CHECK(err_ok(wire_json_write_string(bytes_str(items[i]), WIRE_JSON_GO, out)));
    }
    CHECK(err_ok(buf_append(out, BYTES_LIT("]"))));
}

static void json_member(struct buf *out, const Etcdserverpb__Member *member)
{
    CHECK(err_ok(buf_append(out, BYTES_LIT("{"))));
    json_id(out, "ID", member->id);
    if (member->name[0]) {
        json_name(out, "name");
        CHECK(err_ok(wire_json_write_string(bytes_str(member->name), WIRE_JSON_GO, out)));
    }
    json_strings(out, "peerURLs", member->peerurls, member->n_peerurls);
    json_strings(out, "clientURLs", member->clienturls, member->n_clienturls);
    if (member->islearner) {
        json_name(out, "isLearner");
        CHECK(err_ok(buf_append(out, BYTES_LIT("true"))));
    }
    CHECK(err_ok(buf_append(out, BYTES_LIT("}"))));
}

int print_members_json_hex(const Etcdserverpb__ResponseHeader *header,
                           const Etcdserverpb__Member *member, Etcdserverpb__Member **members,
                           size_t count)
{
    static const Etcdserverpb__ResponseHeader none = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    struct buf AUTO(buf_done) out;
    if (!header)
        header = &none;
    buf_init(&out, 0);
    CHECK(err_ok(buf_append(&out, BYTES_LIT("{\"header\":{"))));
    json_id(&out, "cluster_id", header->cluster_id);
    json_id(&out, "member_id", header->member_id);
    if (header->revision)
        CHECK(err_ok(buf_printf(&out, ",\"revision\":%" PRId64, header->revision)));
    if (header->raft_term)
        CHECK(err_ok(buf_printf(&out, ",\"raft_term\":%" PRIu64, header->raft_term)));
    CHECK(err_ok(buf_append(&out, BYTES_LIT("}"))));
    if (member) {
        json_name(&out, "member");
        json_member(&out, member);
    }
    json_name(&out, "members");
    for (size_t i = 0; i < count; i++) {
        CHECK(err_ok(buf_append(&out, i ? BYTES_LIT(",") : BYTES_LIT("["))));
        json_member(&out, members[i]);
    }
    CHECK(err_ok(buf_append(&out, count ? BYTES_LIT("]}\n") : BYTES_LIT("[]}\n"))));
    (void)fwrite(out.data, 1, out.len, stdout);
    return CTL_OK;
}
