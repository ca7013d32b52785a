#include "etcdctl/print.h"

#include "base/check.h"
#include "etcdctl/text.h"
#include "wire/encode.h"
#include "wire/json.h"

#include <inttypes.h>

void print_bytes(ProtobufCBinaryData what)
{
    if (what.len > 0) /* its pointer may be NULL else */
        (void)fwrite(what.data, 1, what.len, stdout);
}

int print_json(const ProtobufCMessage *message)
{
    struct buf AUTO(buf_done) out;
    buf_init(&out, 0);
    CHECK(err_ok(wire_json_write(message, WIRE_JSON_GO, &out)));
    (void)fwrite(out.data, 1, out.len, stdout);
    (void)fputc('\n', stdout);
    return CTL_OK;
}

int print_protobuf(const ProtobufCMessage *message)
{
    struct buf AUTO(buf_done) out;
    buf_init(&out, 0);
    CHECK(err_ok(wire_encode(message, &out)));
    print_bytes(field_of_bytes(buf_bytes(&out)));
    return CTL_OK;
}

int print_other(const struct ctl *ctl, const ProtobufCMessage *message)
{
    if (ctl->format == FORMAT_JSON)
        return print_json(message);
    if (ctl->format == FORMAT_PROTOBUF)
        return print_protobuf(message);
    return ctl_format_unsupported(ctl);
}

int print_done(const struct ctl *ctl, const ProtobufCMessage *message,
               const Etcdserverpb__ResponseHeader *header, const char *line)
{
    if (ctl->format == FORMAT_SIMPLE)
        (void)puts(line);
    else if (ctl->format == FORMAT_FIELDS)
        print_fields_header(ctl, header);
    else
        return print_other(ctl, message);
    return CTL_OK;
}

void print_fields_bytes(const char *name, ProtobufCBinaryData value)
{
    (void)printf("\"%s\" : ", name);
    text_quote(stdout, bytes_of_field(value));
    (void)putchar('\n');
}

void print_fields_string(const char *name, const char *value)
{
    (void)printf("\"%s\" : ", name);
    text_quote(stdout, bytes_str(value));
    (void)putchar('\n');
}

void print_fields_id(const struct ctl *ctl, const char *name, uint64_t id)
{
    (void)printf(ctl->options.hex ? "\"%s\" : %" PRIx64 "\n" : "\"%s\" : %" PRIu64 "\n", name, id);
}

void print_fields_header(const struct ctl *ctl, const Etcdserverpb__ResponseHeader *header)
{
    static const Etcdserverpb__ResponseHeader none = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    if (!header)
        header = &none;
    print_fields_id(ctl, "ClusterID", header->cluster_id);
    print_fields_id(ctl, "MemberID", header->member_id);
    if (header->revision > 0)
        (void)printf("\"Revision\" : %" PRId64 "\n", header->revision);
    (void)printf("\"RaftTerm\" : %" PRIu64 "\n", header->raft_term);
}
