/* The schema is the interface: every number, name, type, label and method equals the tables in
 * tests/facts, and there is nothing beside them. Asked twice: of the schema as protobuf describes
 * itself, and of the descriptors that the program runs on.
 *
 *     test_facts <tests/facts> <schema.pb> */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/err.h"
#include "support.h"
#include "wire/splice.h"

static const char *facts_folder;
static const char *schema_path;

struct setup {
    struct arena arena;
    struct buf facts;
    struct buf found;
};

static int setup_new(void **state)
{
    struct setup *setup = calloc(1, sizeof(*setup));
    arena_init(&setup->arena, 0);
    buf_init(&setup->facts, 0);
    buf_init(&setup->found, 0);
    *state = setup;
    return 0;
}

static int setup_free(void **state)
{
    struct setup *setup = *state;
    arena_done(&setup->arena);
    buf_done(&setup->facts);
    buf_done(&setup->found);
    free(setup);
    return 0;
}

static void read_file(const char *path, struct buf *out)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    char chunk[4096];
    for (size_t n; (n = fread(chunk, 1, sizeof(chunk), file)) > 0;)
        assert_true(err_ok(buf_append(out, bytes_of(chunk, n))));
    fclose(file);
}

/* ---- sets of lines ---- */

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static size_t split_lines(struct arena *arena, struct buf *text, char ***ret_lines)
{
    size_t n = 0;
    for (size_t i = 0; i < text->len; i++)
        n += text->data[i] == '\n';
    char **lines = ARENA_ARRAY(arena, char *, n);
    uint8_t *at = text->data;
    for (size_t i = 0; i < n; i++) {
        uint8_t *end = memchr(at, '\n', (size_t)(text->data + text->len - at));
        *end = 0;
        lines[i] = (char *)at;
        at = end + 1;
    }
    qsort(lines, n, sizeof(lines[0]), by_text);
    *ret_lines = lines;
    return n;
}

/* Both texts hold the same lines, in any order, none twice. */
static void assert_same_lines(struct setup *setup)
{
    char **facts;
    char **found;
    size_t fact_count = split_lines(&setup->arena, &setup->facts, &facts);
    size_t found_count = split_lines(&setup->arena, &setup->found, &found);
    assert_true(fact_count > 40);
    unsigned wrong = 0;
    for (size_t i = 0, j = 0; i < fact_count || j < found_count;) {
        int order = i == fact_count ? 1 : j == found_count ? -1 : strcmp(facts[i], found[j]);
        if (order < 0)
            print_error("missing: %s\n", facts[i]);
        if (order > 0)
            print_error("extra:   %s\n", found[j]);
        wrong += order != 0;
        i += order <= 0;
        j += order >= 0;
    }
    assert_int_equal(wrong, 0);
}

/* The first `columns` of a table, without its head. */
static void read_facts(struct setup *setup, const char *name, unsigned columns)
{
    struct buf text;
    buf_init(&text, 0);
    read_file(arena_printf(&setup->arena, "%s/%s", facts_folder, name), &text);
    unsigned column = 0;
    bool is_head = true;
    for (size_t i = 0; i < text.len; i++) {
        bool ends = text.data[i] == '\n';
        column += text.data[i] == '\t';
        if (!is_head && (ends || column < columns))
            assert_true(err_ok(buf_append(&setup->facts, bytes_of(text.data + i, 1))));
        if (ends) {
            is_head = false;
            column = 0;
        }
    }
    buf_done(&text);
}

#define found_line(setup, ...) assert_true(err_ok(buf_printf(&(setup)->found, __VA_ARGS__)))

/* ---- the schema in its own words: google.protobuf.FileDescriptorSet ---- */

static struct bytes one_bytes(struct bytes message, uint32_t number)
{
    struct wire_field_iter iter = wire_field_iter_of(message);
    struct wire_field field;
    while (wire_field_iter_next(&iter, &field))
        if (field.number == number)
            return field.bytes;
    return BYTES_NONE;
}

static const char *one_text(struct setup *setup, struct bytes message, uint32_t number)
{
    return arena_copy_str(&setup->arena, one_bytes(message, number));
}

static uint64_t one_number(struct bytes message, uint32_t number, uint64_t otherwise)
{
    struct wire_field_iter iter = wire_field_iter_of(message);
    struct wire_field field;
    while (wire_field_iter_next(&iter, &field))
        if (field.number == number)
            return field.value;
    return otherwise;
}

/* The index-th bytes field with this number. */
static struct bytes nth_bytes(struct bytes message, uint32_t number, uint64_t index)
{
    struct wire_field_iter iter = wire_field_iter_of(message);
    struct wire_field field;
    while (wire_field_iter_next(&iter, &field))
        if (field.number == number && index-- == 0)
            return field.bytes;
    return BYTES_NONE;
}

static const char *type_text(struct setup *setup, struct bytes field)
{
    static const char *const names[] = {
        [3] = "int64",  [4] = "uint64", [5] = "int32",  [8] = "bool",
        [9] = "string", [12] = "bytes", [13] = "uint32"};
    uint64_t type = one_number(field, 5, 0);
    if (type == 11 || type == 14)
        return one_text(setup, field, 6) + 1;
    assert_true(type < sizeof(names) / sizeof(names[0]) && names[type]);
    return names[type];
}

static const char *label_text(struct setup *setup, struct bytes message, struct bytes field,
                              const char *syntax)
{
    uint64_t oneof = one_number(field, 9, UINT64_MAX);
    if (oneof != UINT64_MAX)
        return arena_printf(&setup->arena, "oneof %s",
                            one_text(setup, nth_bytes(message, 8, oneof), 1));
    if (one_number(field, 4, 0) == 3)
        return "repeated";
    return strcmp(syntax, "proto3") == 0 ? "singular" : "optional";
}

static void describe_message(struct setup *setup, const char *prefix, struct bytes message,
                             const char *syntax)
{
    const char *name = arena_printf(&setup->arena, "%s.%s", prefix, one_text(setup, message, 1));
    struct wire_field_iter iter = wire_field_iter_of(message);
    struct wire_field part;
    unsigned fields = 0;
    while (wire_field_iter_next(&iter, &part)) {
        if (part.number == 3)
            describe_message(setup, name, part.bytes, syntax);
        if (part.number != 2)
            continue;
        fields++;
        found_line(setup, "%s\t%u\t%s\t%s\t%s\t%s\n", name, (unsigned)one_number(part.bytes, 3, 0),
                   one_text(setup, part.bytes, 1), type_text(setup, part.bytes),
                   label_text(setup, message, part.bytes, syntax), syntax);
    }
    assert_true(err_ok(wire_field_iter_end(&iter)));
    if (fields == 0)
        found_line(setup, "%s\t-\t-\t-\tempty\t%s\n", name, syntax);
}

static void describe_service(struct setup *setup, const char *package, struct bytes service)
{
    struct wire_field_iter iter = wire_field_iter_of(service);
    struct wire_field part;
    while (wire_field_iter_next(&iter, &part))
        if (part.number == 2)
            found_line(setup, "%s.%s\t%s\t%s\t%s\t%u\t%u\n", package, one_text(setup, service, 1),
                       one_text(setup, part.bytes, 1), one_text(setup, part.bytes, 2) + 1,
                       one_text(setup, part.bytes, 3) + 1, (unsigned)one_number(part.bytes, 5, 0),
                       (unsigned)one_number(part.bytes, 6, 0));
}

static void describe_schema(struct setup *setup, bool messages)
{
    struct buf schema;
    buf_init(&schema, 0);
    read_file(schema_path, &schema);
    struct wire_field_iter files = wire_field_iter_of(buf_bytes(&schema));
    struct wire_field file;
    while (wire_field_iter_next(&files, &file)) {
        const char *package = one_text(setup, file.bytes, 2);
        const char *syntax = one_text(setup, file.bytes, 12);
        syntax = *syntax ? syntax : "proto2";
        struct wire_field_iter iter = wire_field_iter_of(file.bytes);
        struct wire_field part;
        while (wire_field_iter_next(&iter, &part)) {
            if (messages && part.number == 4)
                describe_message(setup, package, part.bytes, syntax);
            if (!messages && part.number == 6)
                describe_service(setup, package, part.bytes);
        }
    }
    assert_true(err_ok(wire_field_iter_end(&files)));
    buf_done(&schema);
}

static void test_schema_messages(void **state)
{
    read_facts(*state, "messages.tsv", 6);
    describe_schema(*state, true);
    assert_same_lines(*state);
}

static void test_schema_services(void **state)
{
    read_facts(*state, "services.tsv", 6);
    describe_schema(*state, false);
    assert_same_lines(*state);
}

/* ---- the descriptors of the program ---- */

static const char *c_type_text(const ProtobufCFieldDescriptor *field)
{
    switch ((int)field->type) {
    case PROTOBUF_C_TYPE_INT64:
        return "int64";
    case PROTOBUF_C_TYPE_UINT64:
        return "uint64";
    case PROTOBUF_C_TYPE_INT32:
        return "int32";
    case PROTOBUF_C_TYPE_UINT32:
        return "uint32";
    case PROTOBUF_C_TYPE_BOOL:
        return "bool";
    case PROTOBUF_C_TYPE_STRING:
        return "string";
    case PROTOBUF_C_TYPE_BYTES:
        return "bytes";
    case PROTOBUF_C_TYPE_ENUM:
        return ((const ProtobufCEnumDescriptor *)field->descriptor)->name;
    case PROTOBUF_C_TYPE_MESSAGE:
        return ((const ProtobufCMessageDescriptor *)field->descriptor)->name;
    default:
        return "a type that src/wire cannot read";
    }
}

static const char *c_label_text(const ProtobufCMessageDescriptor *message,
                                const ProtobufCFieldDescriptor *field)
{
    bool is_proto2 = strncmp(message->name, "raftpb.", 7) == 0 ||
                     strncmp(message->name, "walpb.", 6) == 0 ||
                     strncmp(message->name, "snappb.", 7) == 0 ||
                     strcmp(message->name, "etcdserverpb.Request") == 0 ||
                     strcmp(message->name, "etcdserverpb.Metadata") == 0;
    if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
        return "oneof";
    if (field->label == PROTOBUF_C_LABEL_REPEATED)
        return "repeated";
    assert_int_not_equal(field->label, PROTOBUF_C_LABEL_REQUIRED);
    /* protobuf-c calls a message optional in either syntax. */
    if (field->type != PROTOBUF_C_TYPE_MESSAGE)
        assert_int_equal(field->label,
                         is_proto2 ? PROTOBUF_C_LABEL_OPTIONAL : PROTOBUF_C_LABEL_NONE);
    return is_proto2 ? "optional" : "singular";
}

/* The oneofs' names are not in the program: each line that ends so loses them. */
static void drop_oneof_names(struct setup *setup)
{
    static const struct bytes mark = {(const uint8_t *)"\toneof ", 7};
    size_t to = 0;
    bool dropping = false;
    for (size_t at = 0; at < setup->facts.len; at++) {
        if (bytes_has_prefix(bytes_skip(buf_bytes(&setup->facts), at), mark)) {
            memmove(setup->facts.data + to, setup->facts.data + at, mark.len - 1);
            to += mark.len - 1;
            dropping = true;
        }
        if (setup->facts.data[at] == '\n')
            dropping = false;
        if (!dropping)
            setup->facts.data[to++] = setup->facts.data[at];
    }
    setup->facts.len = to;
}

static void test_program_messages(void **state)
{
    struct setup *setup = *state;
    read_facts(setup, "messages.tsv", 5);
    drop_oneof_names(setup);
    for (size_t i = 0; i < schema_message_count; i++) {
        const ProtobufCMessageDescriptor *message = schema_messages[i];
        for (unsigned j = 0; j < message->n_fields; j++) {
            const ProtobufCFieldDescriptor *field = &message->fields[j];
            found_line(setup, "%s\t%u\t%s\t%s\t%s\n", message->name, field->id, field->name,
                       c_type_text(field), c_label_text(message, field));
        }
        if (message->n_fields == 0)
            found_line(setup, "%s\t-\t-\t-\tempty\n", message->name);
    }
    assert_same_lines(setup);
}

/* Repeated scalars: packed in proto3, not in proto2, as Go writes them. */
static void test_program_packing(void **state)
{
    unsigned packed = 0;
    for (size_t i = 0; i < schema_message_count; i++)
        for (unsigned j = 0; j < schema_messages[i]->n_fields; j++) {
            const ProtobufCFieldDescriptor *field = &schema_messages[i]->fields[j];
            if (!(field->flags & PROTOBUF_C_FIELD_FLAG_PACKED))
                continue;
            packed++;
            assert_string_equal(schema_messages[i]->name, "etcdserverpb.WatchCreateRequest");
            assert_string_equal(field->name, "filters");
        }
    assert_int_equal(packed, 1);
}

/* The parser of JSON keeps a bit a field. */
static void test_program_widths(void **state)
{
    for (size_t i = 0; i < schema_message_count; i++)
        assert_true(schema_messages[i]->n_fields <= 64);
}

static void test_program_enums(void **state)
{
    struct setup *setup = *state;
    read_facts(setup, "enums.tsv", 3);
    for (size_t i = 0; i < schema_enum_count; i++)
        for (unsigned j = 0; j < schema_enums[i]->n_values; j++)
            found_line(setup, "%s\t%d\t%s\n", schema_enums[i]->name,
                       schema_enums[i]->values[j].value, schema_enums[i]->values[j].name);
    assert_same_lines(setup);
}

static void test_program_services(void **state)
{
    struct setup *setup = *state;
    read_facts(setup, "services.tsv", 4);
    for (size_t i = 0; i < schema_service_count; i++)
        for (unsigned j = 0; j < schema_services[i]->n_methods; j++) {
            const ProtobufCMethodDescriptor *method = &schema_services[i]->methods[j];
            found_line(setup, "%s\t%s\t%s\t%s\n", schema_services[i]->name, method->name,
                       method->input->name, method->output->name);
        }
    assert_same_lines(setup);
}

/* ---- errors: every named one of the server has its row, with its code ---- */

static void test_errors(void **state)
{
    struct setup *setup = *state;
    read_facts(setup, "errors.tsv", 4);
    char **lines;
    size_t n = split_lines(&setup->arena, &setup->facts, &lines);
    assert_true(n > 40);
    for (size_t i = 0; i < n; i++) {
        char *text = strrchr(lines[i], '\t') + 1;
        unsigned found = 0;
        for (int code = 1; code < ERR_COUNT_; code++) {
            if (strcmp(err_text((err){code}), text) != 0)
                continue;
            found++;
            assert_int_equal(err_grpc_code((err){code}), strtol(lines[i], NULL, 10));
        }
        if (found != 1)
            print_error("%u rows for: %s\n", found, text);
        assert_int_equal(found, 1);
    }
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s <tests/facts> <schema.pb>\n", argv[0]);
        return 2;
    }
    facts_folder = argv[1];
    schema_path = argv[2];
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_new, setup_free)
    const struct CMUnitTest tests[] = {
        TEST(test_schema_messages),  TEST(test_schema_services), TEST(test_program_messages),
        TEST(test_program_packing),  TEST(test_program_widths),  TEST(test_program_enums),
        TEST(test_program_services), TEST(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
