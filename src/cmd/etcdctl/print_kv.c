#include "etcdctl/print.h"
#include "etcdctl/text.h"

#include <inttypes.h>

/* ---- simple ----------------------------------------------------------------------------- */

static void simple_line(const struct ctl *ctl, ProtobufCBinaryData what)
{
    if (ctl->options.hex)
        text_hex(stdout, bytes_of_field(what));
    else
        print_bytes(what);
    (void)putchar('\n');
}

void print_kv_simple(const struct ctl *ctl, const Mvccpb__KeyValue *kv)
{
    simple_line(ctl, kv->key);
    simple_line(ctl, kv->value);
}

static void simple_range(const struct ctl *ctl, const Etcdserverpb__RangeResponse *response,
                         bool value_only)
{
    for (size_t i = 0; i < response->n_kvs; i++)
        if (value_only)
            simple_line(ctl, response->kvs[i]->value);
        else
            print_kv_simple(ctl, response->kvs[i]);
}

static void simple_put(const struct ctl *ctl, const Etcdserverpb__PutResponse *response)
{
    (void)puts("OK");
    if (response->prev_kv)
        print_kv_simple(ctl, response->prev_kv);
}

static void simple_delete(const struct ctl *ctl, const Etcdserverpb__DeleteRangeResponse *response)
{
    (void)printf("%" PRId64 "\n", response->deleted);
    for (size_t i = 0; i < response->n_prev_kvs; i++)
        print_kv_simple(ctl, response->prev_kvs[i]);
}

/* ---- fields ----------------------------------------------------------------------------- */

static void fields_bytes(const char *prefix, const char *name, ProtobufCBinaryData value)
{
    (void)printf("\"%s%s\" : ", prefix, name);
    text_quote(stdout, bytes_of_field(value));
    (void)putchar('\n');
}

void print_kv_fields(const struct ctl *ctl, const char *prefix, const Mvccpb__KeyValue *kv)
{
    fields_bytes(prefix, "Key", kv->key);
    (void)printf("\"%sCreateRevision\" : %" PRId64 "\n", prefix, kv->create_revision);
    (void)printf("\"%sModRevision\" : %" PRId64 "\n", prefix, kv->mod_revision);
    (void)printf("\"%sVersion\" : %" PRId64 "\n", prefix, kv->version);
    fields_bytes(prefix, "Value", kv->value);
    if (ctl->options.hex)
        (void)printf("\"%sLease\" : %016" PRIx64 "\n", prefix, (uint64_t)kv->lease);
    else
        (void)printf("\"%sLease\" : %" PRId64 "\n", prefix, kv->lease);
}

static void fields_range(const struct ctl *ctl, const Etcdserverpb__RangeResponse *response)
{
    print_fields_header(ctl, response->header);
    for (size_t i = 0; i < response->n_kvs; i++)
        print_kv_fields(ctl, "", response->kvs[i]);
    (void)printf("\"More\" : %s\n", response->more ? "true" : "false");
    (void)printf("\"Count\" : %" PRId64 "\n", response->count);
}

static void fields_put(const struct ctl *ctl, const Etcdserverpb__PutResponse *response)
{
    print_fields_header(ctl, response->header);
    if (response->prev_kv)
        print_kv_fields(ctl, "Prev", response->prev_kv);
}

static void fields_delete(const struct ctl *ctl, const Etcdserverpb__DeleteRangeResponse *response)
{
    print_fields_header(ctl, response->header);
    (void)printf("\"Deleted\" : %" PRId64 "\n", response->deleted);
    for (size_t i = 0; i < response->n_prev_kvs; i++)
        print_kv_fields(ctl, "Prev", response->prev_kvs[i]);
}

/* ---- a txn's answers -------------------------------------------------------------------- */

static void simple_op(const struct ctl *ctl, const Etcdserverpb__ResponseOp *op)
{
    (void)putchar('\n');
    if (op->response_case == ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE)
        simple_range(ctl, op->response_range, false);
    else if (op->response_case == ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_PUT)
        simple_put(ctl, op->response_put);
    else if (op->response_case == ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_DELETE_RANGE)
        simple_delete(ctl, op->response_delete_range);
}

static void fields_op(const struct ctl *ctl, const Etcdserverpb__ResponseOp *op)
{
    if (op->response_case == ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE)
        fields_range(ctl, op->response_range);
    else if (op->response_case == ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_PUT)
        fields_put(ctl, op->response_put);
    else if (op->response_case == ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_DELETE_RANGE)
        fields_delete(ctl, op->response_delete_range);
}

static void simple_txn(const struct ctl *ctl, const Etcdserverpb__TxnResponse *response)
{
    (void)puts(response->succeeded ? "SUCCESS" : "FAILURE");
    for (size_t i = 0; i < response->n_responses; i++)
        simple_op(ctl, response->responses[i]);
}

static void fields_txn(const struct ctl *ctl, const Etcdserverpb__TxnResponse *response)
{
    print_fields_header(ctl, response->header);
    (void)printf("\"Succeeded\" : %s\n", response->succeeded ? "true" : "false");
    for (size_t i = 0; i < response->n_responses; i++)
        fields_op(ctl, response->responses[i]);
}

/* ---- by form ---------------------------------------------------------------------------- */

int print_range(const struct ctl *ctl, const Etcdserverpb__RangeResponse *response, bool value_only)
{
    if (ctl->format == FORMAT_SIMPLE)
        simple_range(ctl, response, value_only);
    else if (ctl->format == FORMAT_FIELDS)
        fields_range(ctl, response);
    else
        return print_other(ctl, &response->base);
    return CTL_OK;
}

int print_put(const struct ctl *ctl, const Etcdserverpb__PutResponse *response)
{
    if (ctl->format == FORMAT_SIMPLE)
        simple_put(ctl, response);
    else if (ctl->format == FORMAT_FIELDS)
        fields_put(ctl, response);
    else
        return print_other(ctl, &response->base);
    return CTL_OK;
}

int print_delete(const struct ctl *ctl, const Etcdserverpb__DeleteRangeResponse *response)
{
    if (ctl->format == FORMAT_SIMPLE)
        simple_delete(ctl, response);
    else if (ctl->format == FORMAT_FIELDS)
        fields_delete(ctl, response);
    else
        return print_other(ctl, &response->base);
    return CTL_OK;
}

int print_txn(const struct ctl *ctl, const Etcdserverpb__TxnResponse *response)
{
    if (ctl->format == FORMAT_SIMPLE)
        simple_txn(ctl, response);
    else if (ctl->format == FORMAT_FIELDS)
        fields_txn(ctl, response);
    else
        return print_other(ctl, &response->base);
    return CTL_OK;
}
