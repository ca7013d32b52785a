/* Command line flags: declared in const tables, read as Go's pflag reads them:
 *
 *     --name=value  --name value  --switch  --switch=false  -w json  -wjson  -w=json  -xw json
 *     -- ends them; they may stand anywhere among the arguments
 *
 * Values land in a struct of the command's own, at each row's offset.
 * Thread: one at a time.  Owns: nothing; texts lie in the arena. */
#pragma once

#include "base/arena.h"
#include "base/err.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum flag_kind {
    FLAG_BOOL,     /* bool */
    FLAG_STRING,   /* const char * */
    FLAG_INT,      /* int64_t */
    FLAG_DURATION, /* int64_t, nanoseconds */
    FLAG_STRINGS,  /* struct strings: comma list; given again it grows */
};

struct strings {
    const char *const *items; /* of flags: a NULL follows the last */
    unsigned count;
};

struct flag {
    const char *name;
    char shorthand; /* 0: none */
    enum flag_kind kind;
    const char *initial;
    size_t offset;
    const char *help;
};

/* A row of a table, which ends with an empty one; the member's type is checked. */
#define FLAG_ROW_(kind_, type_, struct_, member_, name_, short_, initial_, help_)                  \
    {                                                                                              \
        .name = (name_), .shorthand = (short_), .kind = (kind_), .initial = (initial_),            \
        .offset = offsetof(struct_, member_) + 0 * sizeof(&((struct_ *)0)->member_ == (type_ *)0), \
        .help = (help_)                                                                            \
    }
#define BOOL_FLAG(s, member, name, help) \
    FLAG_ROW_(FLAG_BOOL, bool, s, member, name, 0, "false", help)
#define STRING_FLAG(s, member, name, initial, help) \
    FLAG_ROW_(FLAG_STRING, const char *, s, member, name, 0, initial, help)
#define INT_FLAG(s, member, name, initial, help) \
    FLAG_ROW_(FLAG_INT, int64_t, s, member, name, 0, initial, help)
#define DURATION_FLAG(s, member, name, initial, help) \
    FLAG_ROW_(FLAG_DURATION, int64_t, s, member, name, 0, initial, help)

/* A table and where its values go. */
struct flag_set {
    const struct flag *flags;
    unsigned count; /* at most 64 */
    void *values;
    uint64_t given; /* bit i: flags[i] was set on the command line */
};

/* The initial values. */
void flag_set_init(struct flag_set *self, const struct flag *flags, void *values,
                   struct arena *arena);
/* Without values: for usage texts and for finding what a flag takes. */
struct flag_set flag_set_of(const struct flag *flags);
/* Sets one value from text. Fails: ERR_SYNTAX, *ret_why in Go's words. */
MUST err flag_set_value(struct flag_set *self, unsigned index, const char *text,
                        struct arena *arena, const char **ret_why);
bool flag_given(const struct flag_set *self, const char *name);

/* Reads args (without the program's and the commands' names) with the flags of all sets; what is
 * no flag goes to *ret_rest in order, of which *ret_dash stood before "--" (UINT_MAX: there is
 * none). --help and -h set *ret_help.
 * Fails: ERR_SYNTAX, *ret_why in Go's words. */
MUST err flags_parse(struct flag_set *sets, unsigned set_count, struct strings args,
                     struct arena *arena, struct strings *ret_rest, unsigned *ret_dash,
                     bool *ret_help, const char **ret_why);
/* Index of the first argument that is neither a flag nor a flag's value; args.count: none. Flags
 * that no set knows are taken to have a value. */
unsigned flags_first_argument(const struct flag_set *sets, unsigned set_count, struct strings args);
/* The rows of a usage text, by name, with -h, --help for what among them; NULL: without. */
void flags_print(FILE *to, const struct flag_set *sets, unsigned set_count, const char *what);

/* Go's strconv.ParseInt, base 0 takes its prefixes 0x, 0o, 0b, 0 and underscores.
 * Fails: ERR_SYNTAX, *ret_why says: strconv.ParseInt: parsing "x": invalid syntax */
MUST err number_parse(const char *text, int base, struct arena *arena, int64_t *ret_number,
                      const char **ret_why);
/* Go's strconv.ParseUint: no sign. Fails: as number_parse. */
MUST err number_parse_unsigned(const char *text, int base, struct arena *arena,
                               uint64_t *ret_number, const char **ret_why);
/* A comma list; "" is empty. */
struct strings strings_split(const char *text, struct arena *arena);
