#include "etcdctl/flags.h"

#include "base/check.h"
#include "base/duration.h"
#include "etcdctl/text.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* ---- values ----------------------------------------------------------------------------- */

static const char *quoted(const char *text, struct arena *arena)
{
    char *memory = NULL;
    size_t len = 0;
    FILE *stream = open_memstream(&memory, &len);
    CHECK(stream);
    text_quote(stream, bytes_str(text));
    CHECK(fclose(stream) == 0);
    const char *copy = arena_copy_str(arena, bytes_of(memory, len));
    free(memory);
    return copy;
}

/* A number that is being read, and what Go's function for it is called. */
struct number {
    const char *function, *text;
    struct arena *arena;
    const char **ret_why;
};

static err number_fail(const struct number *self, const char *what)
{
    *self->ret_why = arena_printf(self->arena, "strconv.%s: parsing %s: %s", self->function,
                                  quoted(self->text, self->arena), what);
    return ERR_SYNTAX;
}

/* Takes 0x, 0o, 0b, 0 off; returns the base that they stand for. */
static int base_take(const char **at)
{
    if ((*at)[0] != '0' || !(*at)[1])
        return 10;
    switch ((*at)[1] | 0x20) {
    case 'x':
        *at += 2;
        return 16;
    case 'o':
        *at += 2;
        return 8;
    case 'b':
        *at += 2;
        return 2;
    default:
        *at += 1;
        return 8;
    }
}

static int digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'z' ? lower - 'a' + 10 : 99;
}

/* The digits from at on, the end of text; at most `most`. */
static err digits_parse(const struct number *self, const char *at, int base, uint64_t most,
                        uint64_t *ret_number)
{
    bool underscores = base == 0, over = false;
    uint64_t number = 0;
    if (base == 0)
        base = base_take(&at);
    if (!*at)
        return number_fail(self, "invalid syntax");
    for (; *at; at++) {
        if (*at == '_' && underscores && at > self->text && digit_of(at[-1]) < 36 &&
            digit_of(at[1]) < 36)
            continue;
        int digit = digit_of(*at);
        if (digit >= base)
            return number_fail(self, "invalid syntax");
        over = over || number > (most - (uint64_t)digit) / (uint64_t)base;
        number = number * (uint64_t)base + (uint64_t)digit;
    }
    if (over)
        return number_fail(self, "value out of range");
    *ret_number = number;
    return OK;
}

err number_parse(const char *text, int base, struct arena *arena, int64_t *ret_number,
                 const char **ret_why)
{
    const struct number self = {"ParseInt", text, arena, ret_why};
    bool negative = *text == '-';
    uint64_t number;
    TRY(digits_parse(&self, text + (*text == '-' || *text == '+'), base,
                     (uint64_t)INT64_MAX + negative, &number));
    *ret_number = (int64_t)(negative ? 0 - number : number);
    return OK;
}

err number_parse_unsigned(const char *text, int base, struct arena *arena, uint64_t *ret_number,
                          const char **ret_why)
{
    const struct number self = {"ParseUint", text, arena, ret_why};
    return digits_parse(&self, text, base, UINT64_MAX, ret_number);
}

static err bool_parse(const char *text, struct arena *arena, bool *ret_value, const char **ret_why)
{
    static const char *const yes[] = {"1", "t", "T", "true", "TRUE", "True"};
    static const char *const no[] = {"0", "f", "F", "false", "FALSE", "False"};
    for (unsigned i = 0; i < 6; i++) {
        bool is_yes = strcmp(text, yes[i]) == 0;
        if (!is_yes && strcmp(text, no[i]) != 0)
            continue;
        *ret_value = is_yes;
        return OK;
    }
    *ret_why =
        arena_printf(arena, "strconv.ParseBool: parsing %s: invalid syntax", quoted(text, arena));
    return ERR_SYNTAX;
}

/* Why Go would refuse it: a number without a unit, an unknown unit, or no duration at all. */
static err duration_fail(const char *text, struct arena *arena, const char **ret_why)
{
    static const char digits[] = "0123456789.", *const decimals = "0123456789";
    const char *at = text + (*text == '-' || *text == '+');
    const char *q = quoted(text, arena);
    *ret_why = arena_printf(arena, "time: invalid duration %s", q);
    while (*at && strchr(digits, *at)) {
        size_t number = strspn(at, decimals);
        if (at[number] == '.')
            number += 1 + strspn(at + number + 1, decimals);
        at += number;
        size_t unit = strcspn(at, digits);
        if (unit == 0) {
            *ret_why = arena_printf(arena, "time: missing unit in duration %s", q);
            break;
        }
        const char *name = arena_copy_str(arena, bytes_of(at, unit));
        if (!strstr(" ns us µs μs ms s m h ", arena_printf(arena, " %s ", name))) {
            *ret_why =
                arena_printf(arena, "time: unknown unit %s in duration %s", quoted(name, arena), q);
            break;
        }
        at += unit;
    }
    return ERR_SYNTAX;
}

struct strings strings_split(const char *text, struct arena *arena)
{
    unsigned count = 0, commas = 0;
    for (const char *at = text; *at; at++)
        commas += *at == ',';
    const char **items = ARENA_ARRAY(arena, const char *, commas + 2);
    while (*text) {
        size_t len = strcspn(text, ",");
        items[count++] = arena_copy_str(arena, bytes_of(text, len));
        text += len;
        if (*text == ',' && !*++text)
            items[count++] = "";
    }
    return (struct strings){items, count};
}

static struct strings strings_join(struct strings a, struct strings b, struct arena *arena)
{
    const char **items = ARENA_ARRAY(arena, const char *, a.count + b.count + 1);
    for (unsigned i = 0; i < a.count; i++)
        items[i] = a.items[i];
    for (unsigned i = 0; i < b.count; i++)
        items[a.count + i] = b.items[i];
    return (struct strings){items, a.count + b.count};
}

err flag_set_value(struct flag_set *self, unsigned index, const char *text, struct arena *arena,
                   const char **ret_why)
{
    const struct flag *flag = &self->flags[index];
    void *value = (char *)self->values + flag->offset;
    switch (flag->kind) {
    case FLAG_BOOL:
        return bool_parse(text, arena, value, ret_why);
    case FLAG_STRING:
        *(const char **)value = text;
        return OK;
    case FLAG_INT:
        return number_parse(text, 0, arena, value, ret_why);
    case FLAG_DURATION:
        if (!err_ok(duration_parse(text, value)))
            return duration_fail(text, arena, ret_why);
        return OK;
    case FLAG_STRINGS: {
        struct strings *list = value, more = strings_split(text, arena);
        *list = self->given >> index & 1 ? strings_join(*list, more, arena) : more;
        return OK;
    }
    }
    return OK;
}

struct flag_set flag_set_of(const struct flag *flags)
{
    struct flag_set self = {.flags = flags};
    while (flags[self.count].name)
        self.count++;
    CHECK(self.count <= 64);
    return self;
}

void flag_set_init(struct flag_set *self, const struct flag *flags, void *values,
                   struct arena *arena)
{
    const char *why;
    *self = flag_set_of(flags);
    self->values = values;
    for (unsigned i = 0; i < self->count; i++)
        CHECK(err_ok(flag_set_value(self, i, flags[i].initial, arena, &why)));
}

bool flag_given(const struct flag_set *self, const char *name)
{
    for (unsigned i = 0; i < self->count; i++)
        if (strcmp(self->flags[i].name, name) == 0)
            return self->given >> i & 1;
    return false;
}

/* ---- the command line ------------------------------------------------------------------- */

struct parser {
    struct flag_set *sets;
    unsigned set_count;
    struct strings args;
    unsigned at;
    struct arena *arena;
    const char *why;
    bool help;
};

struct found {
    struct flag_set *set; /* NULL: no such flag */
    unsigned index;
};

static struct found find_long(const struct flag_set *sets, unsigned set_count, struct bytes name)
{
    for (unsigned s = 0; s < set_count; s++)
        for (unsigned i = 0; i < sets[s].count; i++)
            if (bytes_equal(bytes_str(sets[s].flags[i].name), name))
                return (struct found){(struct flag_set *)(uintptr_t)&sets[s], i};
    return (struct found){NULL, 0};
}

static struct found find_short(const struct flag_set *sets, unsigned set_count, char shorthand)
{
    for (unsigned s = 0; s < set_count; s++)
        for (unsigned i = 0; i < sets[s].count; i++)
            if (sets[s].flags[i].shorthand == shorthand)
                return (struct found){(struct flag_set *)(uintptr_t)&sets[s], i};
    return (struct found){NULL, 0};
}

static const struct flag *flag_of(struct found found)
{
    return &found.set->flags[found.index];
}

static err set(struct parser *self, struct found found, const char *text)
{
    const struct flag *flag = flag_of(found);
    const char *why = NULL;
    err e = flag_set_value(found.set, found.index, text, self->arena, &why);
    if (err_ok(e)) {
        found.set->given |= (uint64_t)1 << found.index;
        return OK;
    }
    char shorthand[] = {'-', flag->shorthand, ',', ' ', 0};
    self->why =
        arena_printf(self->arena, "invalid argument %s for \"%s--%s\" flag: %s",
                     quoted(text, self->arena), flag->shorthand ? shorthand : "", flag->name, why);
    return e;
}

static err parse_long(struct parser *self, const char *arg)
{
    const char *name = arg + 2, *equals = strchr(name, '=');
    struct bytes text = equals ? bytes_of(name, (size_t)(equals - name)) : bytes_str(name);
    if (text.len == 0 || name[0] == '-') {
        self->why = arena_printf(self->arena, "bad flag syntax: %s", arg);
        return ERR_SYNTAX;
    }
    struct found found = find_long(self->sets, self->set_count, text);
    if (!found.set && bytes_equal(text, BYTES_LIT("help"))) {
        if (!equals) {
            self->help = true;
            return OK;
        }
        return bool_parse(equals + 1, self->arena, &self->help, &self->why);
    }
    if (!found.set) {
        self->why = arena_printf(self->arena, "unknown flag: --%.*s", (int)text.len,
                                 (const char *)text.data);
        return ERR_SYNTAX;
    }
    if (equals)
        return set(self, found, equals + 1);
    if (flag_of(found)->kind == FLAG_BOOL)
        return set(self, found, "true");
    if (self->at >= self->args.count) {
        self->why = arena_printf(self->arena, "flag needs an argument: %s", arg);
        return ERR_SYNTAX;
    }
    return set(self, found, self->args.items[self->at++]);
}

static err parse_short(struct parser *self, const char *arg)
{
    for (const char *at = arg + 1; *at; at++) {
        struct found found = find_short(self->sets, self->set_count, *at);
        if (!found.set && *at == 'h') {
            self->help = true;
            continue;
        }
        if (!found.set) {
            self->why = arena_printf(self->arena, "unknown shorthand flag: '%c' in -%s", *at, at);
            return ERR_SYNTAX;
        }
        if (at[1] == '=')
            return set(self, found, at + 2);
        if (flag_of(found)->kind == FLAG_BOOL) {
            TRY(set(self, found, "true"));
            continue;
        }
        if (at[1])
            return set(self, found, at + 1);
        if (self->at >= self->args.count) {
            self->why = arena_printf(self->arena, "flag needs an argument: '%c' in -%s", *at, at);
            return ERR_SYNTAX;
        }
        return set(self, found, self->args.items[self->at++]);
    }
    return OK;
}

err flags_parse(struct flag_set *sets, unsigned set_count, struct strings args, struct arena *arena,
                struct strings *ret_rest, unsigned *ret_dash, bool *ret_help, const char **ret_why)
{
    struct parser self = {.sets = sets, .set_count = set_count, .args = args, .arena = arena};
    const char **rest = ARENA_ARRAY(arena, const char *, args.count + 1);
    unsigned count = 0, dash = UINT_MAX;
    while (self.at < args.count) {
        const char *arg = args.items[self.at++];
        err e = OK;
        if (dash != UINT_MAX || arg[0] != '-' || !arg[1])
            rest[count++] = arg;
        else if (strcmp(arg, "--") == 0)
            dash = count;
        else
            e = arg[1] == '-' ? parse_long(&self, arg) : parse_short(&self, arg);
        if (!err_ok(e)) {
            *ret_why = self.why;
            return e;
        }
        if (self.help)
            break;
    }
    *ret_rest = (struct strings){rest, count};
    *ret_dash = dash;
    *ret_help = self.help;
    return OK;
}

/* Does the flag take the next argument as its value? */
static bool takes_next(const struct flag_set *sets, unsigned set_count, const char *arg)
{
    struct found found;
    if (strcmp(arg, "-h") == 0 || strcmp(arg, "--help") == 0)
        return false;
    if (arg[1] == '-') {
        if (strchr(arg, '='))
            return false;
        found = find_long(sets, set_count, bytes_str(arg + 2));
    } else {
        if (arg[2])
            return false;
        found = find_short(sets, set_count, arg[1]);
    }
    return !found.set || flag_of(found)->kind != FLAG_BOOL;
}

unsigned flags_first_argument(const struct flag_set *sets, unsigned set_count, struct strings args)
{
    unsigned i = 0;
    while (i < args.count) {
        const char *arg = args.items[i];
        if (strcmp(arg, "--") == 0)
            return args.count;
        if (arg[0] != '-' || !arg[1])
            return i;
        i += takes_next(sets, set_count, arg) ? 2 : 1;
    }
    return args.count;
}
