#include "etcdctl/v2.h"

#include <string.h>

static unsigned flag_find(const struct flag_set *set, struct bytes name)
{
    unsigned i = 0;
    for (; i < set->count; i++) {
        const struct flag *flag = &set->flags[i];
        if (bytes_equal(bytes_str(flag->name), name) ||
            (name.len == 1 && flag->shorthand == (char)name.data[0]))
            break;
    }
    return i;
}

static err set_value(struct flag_set *set, unsigned index, const char *name, const char *text,
                     struct arena *arena, const char **ret_why)
{
    const char *why = NULL;
    if (err_ok(flag_set_value(set, index, text, arena, &why))) {
        set->given |= (uint64_t)1 << index;
        return OK;
    }
    bool is_bool = set->flags[index].kind == FLAG_BOOL;
    *ret_why =
        arena_printf(arena,
                     is_bool ? "invalid boolean value \"%s\" for -%s: %s"
                             : "invalid value \"%s\" for flag -%s: %s",
                     text, name, strstr(why, "range") ? "value out of range" : "parse error");
    return ERR_SYNTAX;
}

err v2_flags_parse(struct flag_set *set, struct strings args, struct arena *arena,
                   struct strings *ret_rest, bool *ret_help, const char **ret_why)
{
    unsigned at = 0;
    while (at < args.count && args.items[at][0] == '-' && args.items[at][1]) {
        const char *arg = args.items[at++];
        if (strcmp(arg, "--") == 0)
            break;
        const char *name = arg + 1 + (arg[1] == '-'), *equals = strchr(name, '=');
        size_t len = equals ? (size_t)(equals - name) : strlen(name);
        name = arena_copy_str(arena, bytes_of(name, len));
        if (len == 0 || name[0] == '-') {
            *ret_why = arena_printf(arena, "bad flag syntax: %s", arg);
            return ERR_SYNTAX;
        }
        unsigned index = flag_find(set, bytes_str(name));
        if (index == set->count && (strcmp(name, "help") == 0 || strcmp(name, "h") == 0)) {
            *ret_help = true;
            return OK;
        }
        if (index == set->count) {
            *ret_why = arena_printf(arena, "flag provided but not defined: -%s", name);
            return ERR_SYNTAX;
        }
        const char *value = equals ? equals + 1 : "true";
        if (!equals && set->flags[index].kind != FLAG_BOOL) {
            if (at == args.count) {
                *ret_why = arena_printf(arena, "flag needs an argument: -%s", name);
                return ERR_SYNTAX;
            }
            value = args.items[at++];
        }
        TRY(set_value(set, index, name, value, arena, ret_why));
    }
    *ret_rest = (struct strings){args.items + at, args.count - at};
    return OK;
}

/* Is it one of the command's flags, with its value or without? */
static bool is_flag(const struct flag_set *set, const char *arg)
{
    if (arg[0] != '-' || !arg[1] || strcmp(arg, "--") == 0)
        return false;
    const char *name = arg + 1 + (arg[1] == '-');
    const struct bytes text = bytes_of(name, strcspn(name, "="));
    return flag_find(set, text) < set->count || bytes_equal(text, BYTES_LIT("h")) ||
           bytes_equal(text, BYTES_LIT("help"));
}

struct strings v2_flags_first(const struct flag_set *set, struct strings args, struct arena *arena)
{
    const char **items = ARENA_ARRAY(arena, const char *, args.count);
    const char **rest = ARENA_ARRAY(arena, const char *, args.count);
    unsigned count = 0, rest_count = 0, i = 0;
    bool value_may_follow = false;
    for (; i < args.count && strcmp(args.items[i], "--") != 0; i++) {
        bool flag = is_flag(set, args.items[i]);
        if (flag || value_may_follow)
            items[count++] = args.items[i];
        else
            rest[rest_count++] = args.items[i];
        value_may_follow = flag && !strchr(args.items[i], '=');
    }
    for (unsigned r = 0; r < rest_count; r++)
        items[count++] = rest[r];
    for (; i < args.count; i++)
        items[count++] = args.items[i];
    return (struct strings){items, count};
}
