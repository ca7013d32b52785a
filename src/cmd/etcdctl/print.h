/* Answers of the server on stdout, in the form that -w names. What returns int returns the exit
 * code: a form that the command has not is an error.
 * Source: etcd's interface, standard output of etcdctl 3.7. */
#pragma once

#include "etcdctl/ctl.h"
#include "etcdserverpb.pb-c.h"

static inline struct bytes bytes_of_field(ProtobufCBinaryData field)
{
    return bytes_of(field.data, field.len);
}

static inline ProtobufCBinaryData field_of_bytes(struct bytes bytes)
{
    return (ProtobufCBinaryData){.len = bytes.len, .data = (uint8_t *)(uintptr_t)bytes.data};
}

/* As they are; of none nothing. */
void print_bytes(ProtobufCBinaryData what);
int print_json(const ProtobufCMessage *message);
int print_protobuf(const ProtobufCMessage *message);
/* json and protobuf; any other form is one that the command has not. */
int print_other(const struct ctl *ctl, const ProtobufCMessage *message);
/* An answer that says nothing but that it was done: the line, in the fields form the header. */
int print_done(const struct ctl *ctl, const ProtobufCMessage *message,
               const Etcdserverpb__ResponseHeader *header, const char *line);

/* ---- rows of the fields form ---- */

void print_fields_header(const struct ctl *ctl, const Etcdserverpb__ResponseHeader *header);
void print_fields_string(const char *name, const char *value);
void print_fields_bytes(const char *name, ProtobufCBinaryData value);
/* An id: decimal, hexadecimal with --hex. */
void print_fields_id(const struct ctl *ctl, const char *name, uint64_t id);

/* ---- key-value ---- */

void print_kv_simple(const struct ctl *ctl, const Mvccpb__KeyValue *kv);
/* prefix: before each name, "" or "Prev". */
void print_kv_fields(const struct ctl *ctl, const char *prefix, const Mvccpb__KeyValue *kv);

int print_range(const struct ctl *ctl, const Etcdserverpb__RangeResponse *response,
                bool value_only);
int print_put(const struct ctl *ctl, const Etcdserverpb__PutResponse *response);
int print_delete(const struct ctl *ctl, const Etcdserverpb__DeleteRangeResponse *response);
int print_txn(const struct ctl *ctl, const Etcdserverpb__TxnResponse *response);
int print_watch(const struct ctl *ctl, const Etcdserverpb__WatchResponse *response);
