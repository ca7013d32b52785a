#include "etcdctl/txn_text.h"

#include "base/buf.h"
#include "base/check.h"

#include <string.h>

/* ---- Go's strings ----------------------------------------------------------------------- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void put_rune(struct buf *out, uint32_t rune)
{
    uint8_t bytes[4];
    size_t len = rune < 0x80 ? 1 : rune < 0x800 ? 2 : rune < 0x10000 ? 3 : 4;
    for (size_t i = len; i-- > 1; rune >>= 6)
        bytes[i] = (uint8_t)(0x80 | (rune & 0x3f));
    bytes[0] = (uint8_t)(len == 1 ? rune : (0xf00U >> len & 0xff) | rune);
    CHECK(err_ok(buf_append(out, bytes_of(bytes, len))));
}

/* One escape behind its backslash; moves *at behind it. False: none of Go's. */
static bool unescape(const char **at, struct buf *out)
{
    static const char from[] = "abfnrtv\\\"", to[] = "\a\b\f\n\r\t\v\\\"";
    char c = **at;
    const char *simple = c ? strchr(from, c) : NULL;
    if (simple) {
        ++*at;
        return err_ok(buf_append(out, bytes_of(&to[simple - from], 1)));
    }
    unsigned digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : c >= '0' && c <= '7' ? 3 : 0;
    unsigned base = digits == 3 ? 8 : 16;
    uint32_t value = 0;
    if (digits == 0)
        return false;
    const char *digit = *at + (digits != 3);
    for (unsigned i = 0; i < digits; i++, digit++) {
        int v = hex_digit(*digit);
        if (v < 0 || (unsigned)v >= base)
            return false;
        value = value * base + (unsigned)v;
    }
    *at = digit;
    if (digits > 3) {
        if (value > 0x10ffff || (value >= 0xd800 && value < 0xe000))
            return false;
        put_rune(out, value);
        return true;
    }
    uint8_t byte = (uint8_t)value;
    return value <= 0xff && err_ok(buf_append(out, bytes_of(&byte, 1)));
}

/* A quoted string at *at, moved behind it. False: there is none. */
static bool unquote(const char **at, struct buf *out)
{
    const char *p = *at;
    char quote = *p++;
    buf_clear(out);
    if (quote != '"' && quote != '`')
        return false;
    while (*p && *p != quote) {
        if (quote == '"' && *p == '\\') {
            p++;
            if (!unescape(&p, out))
                return false;
        } else {
            CHECK(err_ok(buf_append(out, bytes_of(p++, 1))));
        }
    }
    if (*p != quote)
        return false;
    *at = p + 1;
    return true;
}

/* ---- words ------------------------------------------------------------------------------ */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* The length of a "…" that begins at text, 0: it does not end. */
static size_t double_quoted_len(const char *text)
{
    const char *p = text + 1;
    while (*p && *p != '"')
        p += *p == '\\' && p[1] ? 2 : 1;
    return *p ? (size_t)(p - text) + 1 : 0;
}

/* *ret_word NULL: nothing that counts. Fails: ERR_UNSUPPORTED, a NUL inside. */
MUST static err word_take(struct arena *arena, const char **at, const char **ret_word)
{
    const char *p = *at, *end;
    size_t len;
    *ret_word = NULL;
    if (*p == '"' && (len = double_quoted_len(p)) > 0) {
        struct buf AUTO(buf_done) text;
        buf_init(&text, 0);
        const char *inside = p;
        *at = p + len;
        struct bytes word = bytes_of(p + 1, len - 2);
        if (unquote(&inside, &text))
            word = buf_bytes(&text);
        if (word.len && memchr(word.data, 0, word.len))
            return ERR_UNSUPPORTED;
        *ret_word = arena_copy_str(arena, word);
        return OK;
    }
    if (*p == '\'' && (end = strchr(p + 1, '\''))) {
        *at = end + 1;
        *ret_word = arena_copy_str(arena, bytes_of(p + 1, (size_t)(end - p - 1)));
        return OK;
    }
    if (*p == '"' || *p == '\'') { /* one that never ends counts for nothing */
        *at = p + 1;
        return OK;
    }
    for (end = p; *end && !is_blank(*end);)
        end++;
    *at = end;
    *ret_word = arena_copy_str(arena, bytes_of(p, (size_t)(end - p)));
    return OK;
}

err txn_words(struct arena *arena, const char *line, struct strings *ret_words)
{
    const char **items = ARENA_ARRAY(arena, const char *, strlen(line) + 1);
    unsigned count = 0;
    while (*line) {
        if (is_blank(*line)) {
            line++;
            continue;
        }
        TRY(word_take(arena, &line, &items[count]));
        count += items[count] != NULL;
    }
    *ret_words = (struct strings){items, count};
    return OK;
}

/* ---- compares --------------------------------------------------------------------------- */

struct parts {
    const char *target, *key, *op, *value;
    struct bytes key_bytes, value_bytes;
};

static void skip_spaces(const char **at)
{
    while (**at == ' ' || **at == '\t')
        ++*at;
}

/* Takes TARGET("KEY") OP "VALUE" apart, as far as it goes; false: not to its end. */
static bool parts_take(struct arena *arena, const char *line, struct parts *self)
{
    struct buf AUTO(buf_done) text;
    const char *at = strchr(line, '(');
    buf_init(&text, 0);
    *self = (struct parts){.key = "", .op = "", .value = ""};
    self->target = arena_copy_str(arena, bytes_of(line, (size_t)(at - line)));
    at++;
    skip_spaces(&at);
    if (!unquote(&at, &text))
        return false;
    self->key_bytes = arena_copy(arena, buf_bytes(&text));
    self->key = arena_copy_str(arena, self->key_bytes);
    if (*at++ != ')' || !is_blank(*at))
        return false;
    skip_spaces(&at);
    size_t len = strcspn(at, " \t");
    if (len == 0)
        return false;
    self->op = arena_copy_str(arena, bytes_of(at, len));
    at += len;
    skip_spaces(&at);
    if (!unquote(&at, &text))
        return false;
    self->value_bytes = arena_copy(arena, buf_bytes(&text));
    self->value = arena_copy_str(arena, self->value_bytes);
    return true;
}

enum number_kind { NUMBER_NONE, NUMBER_DECIMAL, NUMBER_HEX };

static const struct target {
    const char *names[2];
    Etcdserverpb__Compare__CompareTarget target;
    Etcdserverpb__Compare__TargetUnionCase member;
    enum number_kind number;
} targets[] = {
    {{"ver", "version"},
     ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION,
     ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION,
     NUMBER_DECIMAL},
    {{"c", "create"},
     ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE,
     ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION,
     NUMBER_DECIMAL},
    {{"m", "mod"},
     ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD,
     ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION,
     NUMBER_DECIMAL},
    {{"val", "value"},
     ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE,
     ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE,
     NUMBER_NONE},
    {{"lease", "lease"},
     ETCDSERVERPB__COMPARE__COMPARE_TARGET__LEASE,
     ETCDSERVERPB__COMPARE__TARGET_UNION_LEASE,
     NUMBER_HEX},
};

static const struct target *target_find(const char *name)
{
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++)
        if (!strcmp(name, targets[i].names[0]) || !strcmp(name, targets[i].names[1]))
            return &targets[i];
    return NULL;
}

static bool operator_find(const char *op, Etcdserverpb__Compare__CompareResult *ret_result)
{
    static const struct {
        const char *op;
        Etcdserverpb__Compare__CompareResult result;
    } results[] = {
        {"=", ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL},
        {"!=", ETCDSERVERPB__COMPARE__COMPARE_RESULT__NOT_EQUAL},
        {">", ETCDSERVERPB__COMPARE__COMPARE_RESULT__GREATER},
        {"<", ETCDSERVERPB__COMPARE__COMPARE_RESULT__LESS},
    };
    for (size_t i = 0; i < sizeof(results) / sizeof(results[0]); i++)
        if (strcmp(op, results[i].op) == 0) {
            *ret_result = results[i].result;
            return true;
        }
    return false;
}

static void value_put(Etcdserverpb__Compare *compare, int64_t number, struct bytes value)
{
    switch (compare->target_union_case) {
    case ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION:
        compare->version = number;
        break;
    case ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION:
        compare->create_revision = number;
        break;
    case ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION:
        compare->mod_revision = number;
        break;
    case ETCDSERVERPB__COMPARE__TARGET_UNION_LEASE:
        compare->lease = number;
        break;
    case ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE:
        compare->value.data = (uint8_t *)(uintptr_t)value.data;
        compare->value.len = value.len;
        break;
    case ETCDSERVERPB__COMPARE__TARGET_UNION__NOT_SET:
    case _ETCDSERVERPB__COMPARE__TARGET_UNION__CASE_IS_INT_SIZE:
        CHECK(false);
    }
}

err txn_compare_parse(struct arena *arena, const char *line, Etcdserverpb__Compare **ret_compare,
                      const char **ret_why)
{
    struct parts parts;
    const char *why;
    int64_t number = 0;
    if (!strchr(line, '(')) {
        *ret_why = arena_printf(arena, "malformed comparison: %s", line);
        return ERR_SYNTAX;
    }
    if (!parts_take(arena, line, &parts)) {
        *ret_why = arena_printf(arena, "malformed comparison: %s; got %s(\"%s\") %s \"%s\"", line,
                                parts.target, parts.key, parts.op, parts.value);
        return ERR_SYNTAX;
    }
    const struct target *target = target_find(parts.target);
    if (!target) {
        *ret_why =
            arena_printf(arena, "malformed comparison: %s (unknown target %s)", line, parts.target);
        return ERR_SYNTAX;
    }
    Etcdserverpb__Compare *compare = ARENA_NEW(arena, Etcdserverpb__Compare);
    etcdserverpb__compare__init(compare);
    if (!operator_find(parts.op, &compare->result)) {
        *ret_why =
            arena_printf(arena, "malformed comparison: %s (unknown operator %s)", line, parts.op);
        return ERR_SYNTAX;
    }
    if (target->number != NUMBER_NONE &&
        !err_ok(number_parse(parts.value, target->number == NUMBER_HEX ? 16 : 10, arena, &number,
                             &why))) {
        *ret_why = arena_printf(arena, "invalid txn compare request: %s", line);
        return ERR_SYNTAX;
    }
    compare->target = target->target;
    compare->target_union_case = target->member;
    compare->key.data = (uint8_t *)(uintptr_t)parts.key_bytes.data;
    compare->key.len = parts.key_bytes.len;
    value_put(compare, number, parts.value_bytes);
    *ret_compare = compare;
    return OK;
}
