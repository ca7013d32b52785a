/* The parameters of a request of the v2 API: query and form together, the form first. */
#include "api/v2_internal.h"

/* Parameters beyond this many are no request of a client. */
#define FIELDS_MAX 64

struct form_field {
    struct bytes name, value;
};

struct form {
    struct form_field fields[FIELDS_MAX];
    unsigned count;
};

static int hex_digit(uint8_t c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* Percent-decoded, in the arena. Fails: ERR_SYNTAX. */
static err unescape(struct arena *arena, struct bytes text, bool plus_is_blank,
                    struct bytes *ret_text)
{
    uint8_t *out = arena_alloc_bytes(arena, text.len + 1);
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c == '+' && plus_is_blank) {
            c = ' ';
        } else if (c == '%') {
            int high = text.len - i > 2 ? hex_digit(text.data[i + 1]) : -1;
            int low = high >= 0 ? hex_digit(text.data[i + 2]) : -1;
            if (low < 0)
                return ERR_SYNTAX;
            c = (uint8_t)(high << 4 | low);
            i += 2;
        }
        out[n++] = c;
    }
    *ret_text = bytes_of(out, n);
    return OK;
}

static struct bytes before(struct bytes text, uint8_t mark, struct bytes *ret_rest)
{
    const uint8_t *at = text.len ? memchr(text.data, mark, text.len) : NULL;
    size_t len = at ? (size_t)(at - text.data) : text.len;
    *ret_rest = bytes_skip(text, at ? len + 1 : len);
    return bytes_of(text.data, len);
}

/* name=value&name=value. Fails: ERR_SYNTAX, ERR_LIMIT. */
static err form_add(struct form *self, struct arena *arena, struct bytes text)
{
    while (text.len) {
        struct bytes pair = before(text, '&', &text), value;
        if (pair.len == 0)
            continue;
        struct bytes name = before(pair, '=', &value);
        if (self->count == FIELDS_MAX)
            return ERR_LIMIT;
        struct form_field *field = &self->fields[self->count++];
        TRY(unescape(arena, name, true, &field->name));
        TRY(unescape(arena, value, true, &field->value));
    }
    return OK;
}

static bool form_get(const struct form *self, const char *name, struct bytes *ret_value)
{
    for (unsigned i = 0; i < self->count; i++) {
        if (bytes_equal(self->fields[i].name, bytes_str(name))) {
            *ret_value = self->fields[i].value;
            return true;
        }
    }
    *ret_value = BYTES_NONE;
    return false;
}

static bool is_number(struct bytes text, uint64_t *ret_number)
{
    uint64_t number = 0;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c < '0' || c > '9' || number > (UINT64_MAX - (c - '0')) / 10)
            return false;
        number = number * 10 + (c - '0');
    }
    *ret_number = number;
    return text.len > 0;
}

static bool is_bool(struct bytes text, bool *ret_value)
{
    static const char *const yes[] = {"1", "t", "T", "TRUE", "true", "True"};
    static const char *const no[] = {"0", "f", "F", "FALSE", "false", "False"};
    for (unsigned i = 0; i < 6; i++) {
        if (bytes_equal(text, bytes_str(yes[i])) || bytes_equal(text, bytes_str(no[i]))) {
            *ret_value = bytes_equal(text, bytes_str(yes[i]));
            return true;
        }
    }
    return false;
}

#define REFUSE(error_, ...)                      \
    return (struct v2_refusal)                   \
    {                                            \
        error_, arena_printf(arena, __VA_ARGS__) \
    }

static struct v2_refusal take_numbers(struct arena *arena, const struct form *form,
                                      struct v2_params *params)
{
    struct bytes text;
    if (form_get(form, "prevIndex", &text) && !is_number(text, &params->prev_index))
        REFUSE(V2_INDEX, "invalid value for \"prevIndex\"");
    if (form_get(form, "waitIndex", &text) && !is_number(text, &params->wait_index))
        REFUSE(V2_INDEX, "invalid value for \"waitIndex\"");
    return (struct v2_refusal){V2_OK, NULL};
}

static struct v2_refusal take_flags(struct arena *arena, const struct form *form,
                                    struct v2_params *params)
{
    const struct {
        const char *name;
        bool *flag;
    } flags[] = {{"recursive", &params->recursive}, {"sorted", &params->sorted},
                 {"wait", &params->wait},           {"dir", &params->dir},
                 {"quorum", &params->quorum},       {"stream", &params->stream}};
    struct bytes text;
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
        if (form_get(form, flags[i].name, &text) && !is_bool(text, flags[i].flag))
            REFUSE(V2_FIELD, "invalid value for \"%s\"", flags[i].name);
    return (struct v2_refusal){V2_OK, NULL};
}

static struct v2_refusal take_conditions(struct arena *arena, const struct form *form,
                                         struct v2_params *params)
{
    struct bytes text;
    if (form_get(form, "prevValue", &params->prev_value) && params->prev_value.len == 0)
        REFUSE(V2_PREV_VALUE, "\"prevValue\" cannot be empty");
    if (form_get(form, "noValueOnSuccess", &text) && !is_bool(text, &params->no_value))
        REFUSE(V2_FIELD, "invalid value for \"noValueOnSuccess\"");
    form_get(form, "ttl", &text);
    params->has_ttl = text.len > 0;
    if (params->has_ttl && !is_number(text, &params->ttl_s))
        REFUSE(V2_TTL, "invalid value for \"ttl\"");
    params->has_prev_exist = form_get(form, "prevExist", &text);
    if (params->has_prev_exist && !is_bool(text, &params->prev_exist))
        REFUSE(V2_FIELD, "invalid value for prevExist");
    if (form_get(form, "refresh", &text) && !is_bool(text, &params->refresh))
        REFUSE(V2_FIELD, "invalid value for refresh");
    form_get(form, "value", &params->value);
    if (params->refresh && params->value.len)
        REFUSE(V2_REFRESH_VALUE, "A value was provided on a refresh");
    if (params->refresh && !params->has_ttl)
        REFUSE(V2_REFRESH_TTL, "No TTL value set");
    return (struct v2_refusal){V2_OK, NULL};
}

/* Without empty parts, "." and "..", as Go's path.Clean. */
static struct bytes clean_path(struct arena *arena, struct bytes path)
{
    uint8_t *out = arena_alloc_bytes(arena, path.len + 2);
    size_t n = 0;
    while (path.len) {
        struct bytes part = before(path, '/', &path);
        if (part.len == 0 || bytes_equal(part, BYTES_LIT(".")))
            continue;
        if (bytes_equal(part, BYTES_LIT(".."))) {
            while (n && out[--n] != '/')
                ;
            continue;
        }
        out[n++] = '/';
        memcpy(out + n, part.data, part.len);
        n += part.len;
    }
    return n ? bytes_of(out, n) : BYTES_LIT("/");
}

struct v2_refusal v2_params_parse(struct arena *arena, const struct v2_asked *asked,
                                  struct v2_params *ret_params)
{
    struct v2_params params = {.path = BYTES_NONE};
    struct form *form = ARENA_NEW(arena, struct form);
    err e = form_add(form, arena, asked->form);
    if (err_ok(e))
        e = form_add(form, arena, asked->query);
    struct bytes path = BYTES_NONE;
    if (err_ok(e))
        e = unescape(arena, asked->path, false, &path);
    if (err_ok(e) && path.len && memchr(path.data, '\0', path.len))
        e = ERR_SYNTAX;
    if (e.code)
        REFUSE(V2_FORM, "%s", err_is(e, ERR_LIMIT) ? "too many fields" : "invalid URL escape");
    params.path = clean_path(arena, path);
    if (params.path.len > V2_PATH_BYTES_MAX)
        REFUSE(V2_FORM, "the key is longer than %d bytes", V2_PATH_BYTES_MAX);
    struct v2_refusal refusal = take_numbers(arena, form, &params);
    if (refusal.error == V2_OK)
        refusal = take_flags(arena, form, &params);
    if (refusal.error == V2_OK && params.wait && !asked->is_get)
        REFUSE(V2_FIELD, "\"wait\" can only be used with GET requests");
    if (refusal.error == V2_OK)
        refusal = take_conditions(arena, form, &params);
    *ret_params = params;
    return refusal;
}
