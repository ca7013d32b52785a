/* The flags' part of a usage text: two spaces, shorthand, name, kind, help, default. */
#include "etcdctl/flags.h"

#include <stdlib.h>
#include <string.h>

#define ROWS_MAX 64

struct row {
    const struct flag *flag;
    char head[64];
    const char *help;
};

static const char *kind_name(enum flag_kind kind)
{
    static const char *const names[] = {
        [FLAG_BOOL] = "",
        [FLAG_STRING] = " string",
        [FLAG_INT] = " int",
        [FLAG_DURATION] = " duration",
        [FLAG_STRINGS] = " strings",
    };
    return names[kind];
}

static void row_head(struct row *self, const char *name, char shorthand, const char *kind)
{
    char text[] = {'-', shorthand, ',', 0};
    (void)snprintf(self->head, sizeof(self->head), "  %s --%s%s", shorthand ? text : "   ", name,
                   kind);
}

static int by_name(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    return strcmp(x->flag ? x->flag->name : "help", y->flag ? y->flag->name : "help");
}

/* Defaults that say nothing are left out. */
static void print_default(FILE *to, const struct flag *flag)
{
    const char *text = flag->initial;
    if (!text[0] || !strcmp(text, "false") || (flag->kind != FLAG_STRING && !strcmp(text, "0")))
        return;
    const char *form = flag->kind == FLAG_STRING    ? " (default \"%s\")"
                       : flag->kind == FLAG_STRINGS ? " (default [%s])"
                                                    : " (default %s)";
    (void)fprintf(to, form, text);
}

void flags_print(FILE *to, const struct flag_set *sets, unsigned set_count, const char *what)
{
    struct row rows[ROWS_MAX];
    char help[64];
    unsigned count = 0;
    size_t width = 0;
    for (unsigned s = 0; s < set_count; s++)
        for (unsigned i = 0; i < sets[s].count && count + 1 < ROWS_MAX; i++) {
            const struct flag *flag = &sets[s].flags[i];
            rows[count] = (struct row){.flag = flag, .help = flag->help};
            row_head(&rows[count++], flag->name, flag->shorthand, kind_name(flag->kind));
        }
    if (what) {
        (void)snprintf(help, sizeof(help), "help for %s", what);
        rows[count] = (struct row){.help = help};
        row_head(&rows[count++], "help", 'h', "");
    }
    qsort(rows, count, sizeof(rows[0]), by_name);
    for (unsigned i = 0; i < count; i++)
        if (strlen(rows[i].head) > width)
            width = strlen(rows[i].head);
    for (unsigned i = 0; i < count; i++) {
        (void)fprintf(to, "%-*s   %s", (int)width, rows[i].head, rows[i].help);
        if (rows[i].flag)
            print_default(to, rows[i].flag);
        (void)fputc('\n', to);
    }
}
