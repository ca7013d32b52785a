#include "etcdctl/command.h"

#include "base/check.h"

#include <stdlib.h>
#include <string.h>

/* The program's; set once, by command_main. */
static const struct command *root;

const struct command *command_program(void)
{
    return root;
}

/* ---- finding ---------------------------------------------------------------------------- */

const struct command *command_find(const struct command *self, const char *name)
{
    const struct command *found = NULL;
    size_t len = strlen(name);
    for (unsigned i = 0; i < self->child_count; i++) {
        const struct command *child = &self->children[i];
        if (strcmp(child->name, name) == 0)
            return child;
    }
    for (unsigned i = 0; i < self->child_count; i++) {
        const struct command *child = &self->children[i];
        if (len == 0 || strncmp(child->name, name, len) != 0)
            continue;
        if (found)
            return NULL;
        found = child;
    }
    return found;
}

/* The steps between two names: changed, added and left out letters. */
static unsigned distance(const char *a, const char *b)
{
    enum { LEN_MAX = 32 };
    unsigned row[LEN_MAX + 1];
    size_t n = strlen(b);
    if (n > LEN_MAX || strlen(a) > LEN_MAX)
        return LEN_MAX;
    for (unsigned j = 0; j <= n; j++)
        row[j] = j;
    for (unsigned i = 1; a[i - 1]; i++) {
        unsigned corner = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            unsigned change = corner + (a[i - 1] != b[j - 1]);
            corner = row[j];
            unsigned least = row[j - 1] < corner ? row[j - 1] + 1 : corner + 1;
            row[j] = change < least ? change : least;
        }
    }
    return row[n];
}

static int unknown_command(const char *name)
{
    bool any = false;
    (void)fprintf(stderr, "Error: unknown command \"%s\" for \"%s\"\n", name, root->name);
    for (unsigned i = 0; i < root->child_count; i++) {
        const struct command *child = &root->children[i];
        if (!child->run && !child->children)
            continue;
        if (distance(name, child->name) > 2 && strncmp(child->name, name, strlen(name)) != 0)
            continue;
        (void)fprintf(stderr, "%s\t%s\n", any ? "" : "\nDid you mean this?\n", child->name);
        any = true;
    }
    (void)fprintf(stderr, "%sRun '%s --help' for usage.\n", any ? "\n" : "", root->name);
    return CTL_ERROR;
}

/* ---- helping ---------------------------------------------------------------------------- */

static bool built(const struct command *self)
{
    return self->run || self->children;
}

static void print_children(FILE *to, const struct command *self, enum command_group group)
{
    for (unsigned i = 0; i < self->child_count; i++) {
        const struct command *child = &self->children[i];
        if (child->group == group && built(child))
            (void)fprintf(to, "  %-14s %s\n", child->name, child->brief);
    }
}

static bool has_group(enum command_group group)
{
    for (unsigned i = 0; i < root->child_count; i++)
        if (root->children[i].group == group && built(&root->children[i]))
            return true;
    return false;
}

static void print_groups(FILE *to)
{
    static const char *const titles[] = {
        [GROUP_KV] = "Key-value commands",
        [GROUP_CLUSTER] = "Cluster maintenance commands",
        [GROUP_CONCURRENCY] = "Concurrency commands",
        [GROUP_AUTH] = "Authentication commands",
        [GROUP_UTILITY] = "Utility commands",
    };
    for (unsigned group = GROUP_KV; group <= GROUP_UTILITY; group++) {
        if (!has_group(group))
            continue;
        (void)fprintf(to, "\n%s\n", titles[group]);
        print_children(to, root, group);
    }
}

static const struct command *parent_of(const struct command *self)
{
    CHECK(root->children);
    for (unsigned i = 0; i < root->child_count; i++) {
        const struct command *group = &root->children[i];
        if (self >= group->children && self < group->children + group->child_count)
            return group;
    }
    return NULL;
}

/* Flags of the command and its group. Fills sets[0..1]; returns how many. */
static unsigned own_sets(const struct command *self, struct flag_set sets[2])
{
    const struct command *chain[] = {parent_of(self), self};
    unsigned count = 0;
    for (unsigned i = 0; i < 2; i++)
        if (chain[i] && chain[i]->flags)
            sets[count++] = flag_set_of(chain[i]->flags);
    return count;
}

void command_usage(FILE *to, const struct command *self, const char *program)
{
    struct flag_set sets[2];
    unsigned count = own_sets(self, sets);
    (void)fprintf(to, "Usage:\n  %s%s%s\n", program, *self->use ? " " : "", self->use);
    if (self == root) {
        print_groups(to);
        (void)fprintf(to, "\nUse \"%s [command] --help\" for more information about a command.\n",
                      root->name);
        return;
    }
    if (self->children) {
        (void)fputs("\nAvailable Commands:\n", to);
        print_children(to, self, GROUP_NONE);
    }
    (void)fputs("\nFlags:\n", to);
    flags_print(to, sets, count, self->name);
    if (self->children)
        (void)fprintf(to,
                      "\nUse \"%s %s [command] --help\" for more information about a command.\n",
                      root->name, self->name);
}

void command_help(FILE *to, const struct command *self)
{
    (void)fprintf(to, "%s\n", self->brief);
    if (self->more)
        (void)fprintf(to, "\n%s\n", self->more);
    (void)fputc('\n', to);
    command_usage(to, self, root->name);
    (void)fprintf(to,
                  "Use \"%s options\" for a list of global command-line options (applies to all "
                  "commands).\n",
                  root->name);
}

int command_run_help(struct ctl *ctl, const void *options, struct strings args)
{
    const struct command *self = root;
    for (unsigned i = 0; i < args.count; i++) {
        const struct command *child = command_find(self, args.items[i]);
        if (!child) {
            (void)fprintf(stderr, "Unknown help topic [`%s`]\n", args.items[i]);
            command_usage(stderr, root, root->name);
            return CTL_OK;
        }
        self = child;
    }
    command_help(stdout, self);
    return CTL_OK;
}

int command_run_options(struct ctl *ctl, const void *options, struct strings args)
{
    (void)puts("The following options can be passed to any command:\n");
    flags_print(stdout, &ctl->flags, 1, NULL);
    return CTL_OK;
}

/* ---- running ---------------------------------------------------------------------------- */

static struct strings without(struct strings args, unsigned index, struct arena *arena)
{
    const char **items = ARENA_ARRAY(arena, const char *, args.count);
    unsigned count = 0;
    for (unsigned i = 0; i < args.count; i++)
        if (i != index)
            items[count++] = args.items[i];
    return (struct strings){items, count};
}

static int usage_error(const struct command *self, const char *why)
{
    (void)fprintf(stderr, "Error: %s\n", why);
    command_usage(stderr, self, root->name);
    (void)fputc('\n', stderr);
    return CTL_ERROR;
}

static int run(struct ctl *ctl, const struct command *self, const void *options,
               struct strings args)
{
    if (!self->run) {
        const struct command *group = parent_of(self);
        return ctl_fail(CTL_ERROR, "%s %s%s%s is not supported yet", root->name,
                        group ? group->name : "", group ? " " : "", self->name);
    }
    int code = self->offline ? CTL_OK : ctl_environment(ctl);
    if (!code && !self->offline)
        code = ctl_check(ctl);
    return code ? code : self->run(ctl, options, args);
}

int command_main(struct ctl *ctl, const struct command *program, struct strings args)
{
    struct flag_set sets[3];
    unsigned set_count = 1;
    const struct command *self = program;
    struct strings rest;
    bool help = false;
    const char *why = NULL;
    root = program;
    flag_set_init(&ctl->flags, root->flags, &ctl->options, &ctl->arena);
    sets[0] = ctl->flags;
    /* Down the tree; the flags of a group are known only once it was named. */
    while (self->children) {
        unsigned at = flags_first_argument(sets, set_count, args);
        const struct command *child = at < args.count ? command_find(self, args.items[at]) : NULL;
        if (!child) {
            if (self == root && at < args.count)
                return unknown_command(args.items[at]);
            break;
        }
        args = without(args, at, &ctl->arena);
        self = child;
        if (self->flags)
            sets[set_count++] = flag_set_of(self->flags);
    }
    if (!built(self))
        return run(ctl, self, NULL, args);
    void *options = arena_alloc(&ctl->arena, self->options_bytes ? self->options_bytes : 1);
    for (unsigned i = 1; i < set_count; i++)
        flag_set_init(&sets[i], sets[i].flags, options, &ctl->arena);
    err e = flags_parse(sets, set_count, args, &ctl->arena, &rest, &ctl->dash, &help, &why);
    ctl->flags = sets[0];
    if (!err_ok(e))
        return usage_error(self, why);
    if (help || self->children) {
        command_help(stdout, self);
        return CTL_OK;
    }
    return run(ctl, self, options, rest);
}
