#include "server/config_internal.h"

#include "base/check.h"
#include "base/duration.h"

#include <errno.h>
#include <stdlib.h>

const struct setting settings[CONFIG_COUNT] = {
#define X(kind_, field_, flag_, default_, yaml_, standing_, help_)                                \
    {KIND_##kind_, offsetof(struct config, field_), flag_, default_, yaml_, STANDING_##standing_, \
     help_},
#include "server/config_table.h"
#undef X
};

static const struct {
    const char *name;
    const char *stage;
    bool on;
    enum setting_standing standing;
} gates[GATE_COUNT] = {
#define G(name_, stage_, on_, standing_) {#name_, stage_, on_, STANDING_##standing_},
#include "server/gates_table.h"
#undef G
};

const char *config_gate_name(unsigned gate)
{
    return gates[gate].name;
}

const char *config_gate_stage(unsigned gate)
{
    return gates[gate].stage;
}

/* Accepted without a meaning, as etcd still does for scripts of its first years. */
static const char *const ignored_flags[] = {
    "cluster-active-size",
    "cluster-remove-delay",
    "cluster-sync-interval",
    "config",
    "force",
    "max-result-buffer",
    "max-retry-attempts",
    "peer-heartbeat-interval",
    "peer-election-timeout",
    "retry-interval",
    "snapshot",
    "v",
    "vv",
    "test.coverprofile",
    "test.outputdir",
};

void config_notice(struct config *self, const char *msg, const char *key, const char *value)
{
    if (self->notice_count < CONFIG_NOTICES_MAX)
        self->notices[self->notice_count++] = (struct config_notice){msg, key, value};
}

/* Go's strconv with base 0: decimal, 0x, 0o, 0b. */
static bool parse_number(const char *text, bool is_signed, uint64_t *ret_value)
{
    const char *digits = text + (is_signed && (text[0] == '-' || text[0] == '+'));
    int base = 10;
    if (digits[0] == '0' && digits[1]) {
        base = digits[1] == 'x' || digits[1] == 'X'   ? 16
               : digits[1] == 'b' || digits[1] == 'B' ? 2
                                                      : 8;
        digits += digits[1] == 'x' || digits[1] == 'X' || digits[1] == 'b' || digits[1] == 'B' ||
                          digits[1] == 'o' || digits[1] == 'O'
                      ? 2
                      : 1;
    }
    if (!((digits[0] >= '0' && digits[0] <= '9') || base == 16))
        return false;
    char *end;
    errno = 0;
    uint64_t value = strtoull(digits, &end, base);
    if (errno || *end || end == digits || (is_signed && value > INT64_MAX))
        return false;
    *ret_value = text[0] == '-' ? (uint64_t)(-(int64_t)value) : value;
    return true;
}

static err set_number(void *field, const char *text, bool is_signed, const char **ret_reason)
{
    uint64_t value;
    if (!parse_number(text, is_signed, &value)) {
        *ret_reason = "parse error";
        return ERR_SYNTAX;
    }
    *(uint64_t *)field = value;
    return OK;
}

static err set_bool(bool *field, const char *text, const char **ret_reason)
{
    static const char *const yes[] = {"1", "t", "T", "true", "TRUE", "True"};
    static const char *const no[] = {"0", "f", "F", "false", "FALSE", "False"};
    for (size_t i = 0; i < 6; i++) {
        if (strcmp(text, yes[i]) == 0) {
            *field = true;
            return OK;
        }
        if (strcmp(text, no[i]) == 0) {
            *field = false;
            return OK;
        }
    }
    *ret_reason = "parse error";
    return ERR_SYNTAX;
}

static void set_strs(struct config *self, struct str_list *field, struct bytes text)
{
    size_t most = 1;
    for (size_t i = 0; i < text.len; i++)
        most += text.data[i] == ',';
    struct str_list list = {ARENA_ARRAY(&self->arena, const char *, most + 1), 0};
    while (text.len) {
        const uint8_t *comma = memchr(text.data, ',', text.len);
        size_t len = comma ? (size_t)(comma - text.data) : text.len;
        list.items[list.count++] = arena_copy_str(&self->arena, bytes_of(text.data, len));
        text = bytes_skip(text, comma ? len + 1 : len);
    }
    *field = list;
}

/* NAME=true,NAME=false; AllAlpha and AllBeta set what is not named itself. */
static err set_gates(struct config *self, struct config_gates *field, struct bytes text,
                     const char **ret_reason)
{
    bool named[GATE_COUNT] = {false};
    for (int g = 0; g < GATE_COUNT; g++)
        field->on[g] = gates[g].on;
    struct str_list pairs;
    set_strs(self, &pairs, text);
    for (size_t i = 0; i < pairs.count; i++) {
        const char *equals = strchr(pairs.items[i], '=');
        size_t len = equals ? (size_t)(equals - pairs.items[i]) : strlen(pairs.items[i]);
        int found = -1;
        for (int g = 0; g < GATE_COUNT; g++)
            if (strlen(gates[g].name) == len && memcmp(gates[g].name, pairs.items[i], len) == 0)
                found = g;
        const char *name = arena_copy_str(&self->arena, bytes_of(pairs.items[i], len));
        if (!equals) {
            *ret_reason = arena_printf(&self->arena, "missing bool value for %s", name);
            return ERR_SYNTAX;
        }
        bool on;
        const char *unused;
        if (set_bool(&on, equals + 1, &unused).code) {
            *ret_reason = arena_printf(&self->arena,
                                       "invalid value of %s=%s, err: strconv.ParseBool: parsing "
                                       "\"%s\": invalid syntax",
                                       name, equals + 1, equals + 1);
            return ERR_SYNTAX;
        }
        if (found < 0) {
            *ret_reason = arena_printf(&self->arena, "unrecognized feature gate: %s", name);
            return ERR_SYNTAX;
        }
        field->on[found] = on;
        named[found] = true;
    }
    for (int g = GATE_AllBeta + 1; g < GATE_COUNT; g++) {
        int all = strcmp(gates[g].stage, "ALPHA") == 0 ? GATE_AllAlpha : GATE_AllBeta;
        if (!named[g] && named[all])
            field->on[g] = field->on[all];
    }
    return OK;
}

err config_set(struct config *self, enum config_setting which, struct bytes text,
               const char **ret_reason)
{
    const struct setting *setting = &settings[which];
    void *field = (char *)self + setting->offset;
    const char *copy = arena_copy_str(&self->arena, text);
    switch (setting->kind) {
    case KIND_STR:
        *(const char **)field = copy;
        return OK;
    case KIND_URLS:
        if (text.len == 0) {
            *(struct url_list *)field = (struct url_list){NULL, 0};
            return OK;
        }
        return url_list_parse(&self->arena, text, field, ret_reason);
    case KIND_UINT:
        return set_number(field, copy, false, ret_reason);
    case KIND_INT:
        return set_number(field, copy, true, ret_reason);
    case KIND_BOOL:
        return set_bool(field, copy, ret_reason);
    case KIND_DURATION:
        if (duration_parse(copy, field).code) {
            *ret_reason = "parse error";
            return ERR_SYNTAX;
        }
        return OK;
    case KIND_STRS:
        set_strs(self, field, text);
        return OK;
    case KIND_GATES:
        return set_gates(self, field, text, ret_reason);
    }
    CHECK(false);
}

err config_find_flag(struct bytes name, enum config_setting *ret_which)
{
    for (int i = 0; i < CONFIG_COUNT; i++) {
        if (bytes_equal(name, bytes_str(settings[i].flag))) {
            *ret_which = (enum config_setting)i;
            return OK;
        }
    }
    return ERR_NOT_FOUND;
}

static bool flag_is_ignored(struct bytes name)
{
    for (size_t i = 0; i < sizeof(ignored_flags) / sizeof(ignored_flags[0]); i++)
        if (bytes_equal(name, bytes_str(ignored_flags[i])))
            return true;
    return false;
}

/* One flag at argv[*at], its value perhaps in the next word. Go's rules: one or two dashes, a
 * boolean needs no value, and a value may only follow a boolean after an equals sign. */
static enum config_outcome take_flag(struct config *self, int argc, char *const *argv, int *at,
                                     const char **ret_reason)
{
    const char *word = argv[*at] + (argv[*at][1] == '-' ? 2 : 1);
    const char *equals = strchr(word, '=');
    struct bytes name = equals ? bytes_of(word, (size_t)(equals - word)) : bytes_str(word);
    if (name.len == 0 || name.data[0] == '-' || name.data[0] == '=') {
        *ret_reason = arena_printf(&self->arena, "bad flag syntax: %s", argv[*at]);
        return CONFIG_USAGE;
    }
    enum config_setting which = CONFIG_COUNT;
    bool ignored = flag_is_ignored(name);
    if (!ignored && config_find_flag(name, &which).code) {
        if (bytes_equal(name, BYTES_LIT("help")) || bytes_equal(name, BYTES_LIT("h")))
            return CONFIG_HELP;
        *ret_reason = arena_printf(&self->arena, "flag provided but not defined: -%.*s",
                                   (int)name.len, (const char *)name.data);
        return CONFIG_USAGE;
    }
    bool is_bool = !ignored && settings[which].kind == KIND_BOOL;
    const char *value = equals ? equals + 1 : is_bool ? "true" : NULL;
    if (!value && *at + 1 < argc)
        value = argv[++*at];
    if (!value) {
        *ret_reason = arena_printf(&self->arena, "flag needs an argument: -%.*s", (int)name.len,
                                   (const char *)name.data);
        return CONFIG_USAGE;
    }
    if (ignored)
        return CONFIG_GO;
    const char *why;
    if (config_set(self, which, bytes_str(value), &why).code) {
        *ret_reason = is_bool
                          ? arena_printf(&self->arena, "invalid boolean value \"%s\" for -%s: %s",
                                         value, settings[which].flag, why)
                          : arena_printf(&self->arena, "invalid value \"%s\" for flag -%s: %s",
                                         value, settings[which].flag, why);
        return CONFIG_USAGE;
    }
    self->is_set[which] = true;
    return CONFIG_GO;
}

static const char *variable_name(struct config *self, const char *flag)
{
    char *name = arena_printf(&self->arena, "ETCD_%s", flag);
    for (char *c = name; *c; c++)
        *c = *c == '-' ? '_' : *c >= 'a' && *c <= 'z' ? (char)(*c - 'a' + 'A') : *c;
    return name;
}

static bool ends_word(char c)
{
    return c == ' ' || c == '\t' || (unsigned char)c >= 0x80;
}

/* A file of settings was copied with the remarks behind its values, and systemd hands them over
 * as part of the value; behind a closing quote it drops the blank between the two. A name or a
 * path would take anything. */
static const char *find_remark(const char *value)
{
    bool is_path = value[0] == '/' || value[0] == '.';
    for (const char *at = value; *at; at++) {
        size_t len = at[0] == '#' ? 1 : at[0] == '/' && at[1] == '/' ? 2 : 0;
        if (len == 0)
            continue;
        char before = at > value ? at[-1] : '\0';
        if (ends_word(before) || ends_word(at[len]) || (len == 2 && before != ':' && !is_path))
            return at;
    }
    return NULL;
}

/* One ETCD_ variable of the environment. */
static enum config_outcome take_variable(struct config *self, const char *pair, const bool *by_flag,
                                         const char **ret_reason)
{
    const char *equals = strchr(pair, '=');
    if (!equals || strncmp(pair, "ETCD_", 5) != 0)
        return CONFIG_GO;
    struct bytes name = bytes_of(pair, (size_t)(equals - pair));
    for (int i = 0; i < CONFIG_COUNT; i++) {
        const char *variable = variable_name(self, settings[i].flag);
        if (!bytes_equal(name, bytes_str(variable)))
            continue;
        if (i == CONFIG_version || equals[1] == '\0')
            return CONFIG_GO;
        if (by_flag[i]) {
            *ret_reason = variable;
            return CONFIG_CLASH;
        }
        const char *why = "";
        const char *remark = find_remark(equals + 1);
        if (remark)
            why = arena_printf(&self->arena,
                               "nothing may follow a value; put the remark \"%s\" on a line of its "
                               "own that begins with #",
                               remark);
        if (remark || config_set(self, (enum config_setting)i, bytes_str(equals + 1), &why).code) {
            *ret_reason = arena_printf(&self->arena, "invalid value \"%s\" for %s: %s", equals + 1,
                                       variable, why);
            return CONFIG_REFUSED;
        }
        self->is_set[i] = true;
        return CONFIG_GO;
    }
    if (!bytes_equal(name, BYTES_LIT("ETCD_VERIFY")) &&
        !bytes_equal(name, BYTES_LIT("ETCD_UNSUPPORTED_ARCH")))
        config_notice(self, "unrecognized environment variable", "environment-variable",
                      arena_copy_str(&self->arena, bytes_str(pair)));
    return CONFIG_GO;
}

static void set_defaults(struct config *self)
{
    const char *unused;
    for (int i = 0; i < CONFIG_COUNT; i++)
        CHECK(err_ok(config_set(self, (enum config_setting)i, bytes_str(settings[i].default_text),
                                &unused)));
}

/* The file's path counts from the variable too; all other settings then come from the file. */
static const char *file_path(const struct config *self, char *const *environment)
{
    if (self->config_file[0])
        return self->config_file;
    for (; *environment; environment++)
        if (strncmp(*environment, "ETCD_CONFIG_FILE=", 17) == 0)
            return *environment + 17;
    return "";
}

static enum config_outcome load_file(struct config *self, const char *path, const char **ret_reason)
{
    set_defaults(self);
    memset(self->is_set, 0, sizeof(self->is_set));
    self->from_file = true;
    enum config_outcome outcome = CONFIG_REFUSED;
    if (config_read_file(self, path, &outcome, ret_reason).code)
        return outcome;
    return CONFIG_GO;
}

enum config_outcome config_load(struct config *self, int argc, char *const *argv,
                                char *const *environment, const char **ret_reason)
{
    memset(self, 0, sizeof(*self));
    arena_init(&self->arena, 16384);
    set_defaults(self);
    int at = 0;
    for (; at < argc; at++) {
        if (argv[at][0] != '-' || argv[at][1] == '\0')
            break;
        if (strcmp(argv[at], "--") == 0) {
            at++;
            break;
        }
        enum config_outcome outcome = take_flag(self, argc, argv, &at, ret_reason);
        if (outcome != CONFIG_GO)
            return outcome;
    }
    if (at < argc) {
        *ret_reason = arena_printf(&self->arena, "\"%s\" is not a valid flag", argv[at]);
        return CONFIG_REFUSED;
    }
    if (self->version)
        return CONFIG_VERSION;
    const char *path = file_path(self, environment);
    enum config_outcome outcome = CONFIG_GO;
    if (path[0]) {
        outcome = load_file(self, path, ret_reason);
    } else {
        bool by_flag[CONFIG_COUNT];
        memcpy(by_flag, self->is_set, sizeof(by_flag));
        for (char *const *pair = environment; *pair && outcome == CONFIG_GO; pair++)
            outcome = take_variable(self, *pair, by_flag, ret_reason);
    }
    if (outcome != CONFIG_GO)
        return outcome;
    return config_verify(self, ret_reason).code ? CONFIG_REFUSED : CONFIG_GO;
}

void config_done(struct config *self)
{
    arena_done(&self->arena);
}

void config_usage(struct buf *out)
{
    /* Only ERR_LIMIT can be missed here, by a caller that chose too small a buffer. */
    (void)!buf_printf(out,
                      "Usage:\n\n  etcd [flags]\n\nFlags, each also as ETCD_NAME_OF_FLAG in the "
                      "environment:\n\n")
        .code;
    for (int i = 0; i < CONFIG_COUNT; i++) {
        const char *note = settings[i].standing == STANDING_LATER   ? " (not built yet: refused)"
                           : settings[i].standing == STANDING_INERT ? " (accepted; no effect here)"
                                                                    : "";
        (void)!buf_printf(out, "  --%s '%s'\n        %s%s\n", settings[i].flag,
                          settings[i].default_text, settings[i].help, note)
            .code;
    }
}
