/* completion: scripts by which shells complete commands and flags, made from the tree of commands.
 * The bash script also serves zsh, through its bashcompinit. */
#include "etcdctl/command.h"

#include <string.h>

static bool built(const struct command *self)
{
    return self->run || self->children;
}

static void put_names(const struct command *self)
{
    for (unsigned i = 0; i < self->child_count; i++)
        if (built(&self->children[i]))
            (void)printf(" %s", self->children[i].name);
}

static void put_flags(const struct flag *flags)
{
    for (; flags && flags->name; flags++)
        (void)printf(" --%s", flags->name);
}

/* Flags whose value is the next word. */
static void put_valued(const struct flag *flags)
{
    for (; flags && flags->name; flags++) {
        if (flags->kind == FLAG_BOOL)
            continue;
        (void)printf(" --%s", flags->name);
        if (flags->shorthand)
            (void)printf(" -%c", flags->shorthand);
    }
}

/* ── bash, zsh ──────────────────────────────────────────────────────────────────────────────── */

static void put_case(const char *group, const struct command *self, const struct flag *more)
{
    (void)printf("    \"%s %s\"*) words=\"$words", group, self->name);
    put_flags(self->flags);
    put_flags(more);
    (void)puts("\" ;;");
}

static void put_cases(const struct command *root)
{
    for (unsigned i = 0; i < root->child_count; i++) {
        const struct command *child = &root->children[i];
        char group[64];
        (void)snprintf(group, sizeof(group), " %s", child->name);
        for (unsigned j = 0; j < child->child_count; j++)
            if (built(&child->children[j]))
                put_case(group, &child->children[j], child->flags);
        if (child->children) {
            (void)printf("    \"%s\"*) words=\"$words", group);
            put_names(child);
            put_flags(child->flags);
            (void)puts("\" ;;");
        } else if (child->run) {
            put_case("", child, NULL);
        }
    }
    (void)printf("    \"\") words=\"$words");
    put_names(root);
    (void)puts("\" ;;");
}

static void put_all_valued(const struct command *root)
{
    put_valued(root->flags);
    for (unsigned i = 0; i < root->child_count; i++) {
        const struct command *child = &root->children[i];
        put_valued(child->flags);
        for (unsigned j = 0; j < child->child_count; j++)
            put_valued(child->children[j].flags);
    }
}

static void put_bash(const struct command *root)
{
    const char *name = root->name;
    (void)printf("# bash completion for %s\n\n__%s_complete()\n{\n", name, name);
    (void)printf(
        "    local current=${COMP_WORDS[COMP_CWORD]} path=\"\" words=\"\" i\n"
        "    local valued=\"");
    put_all_valued(root);
    (void)printf(
        " \"\n"
        "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
        "        case ${COMP_WORDS[i]} in\n"
        "        -*) [[ $valued == *\" ${COMP_WORDS[i]} \"* ]] && ((i++)) ;;\n"
        "        *) path+=\" ${COMP_WORDS[i]}\" ;;\n"
        "        esac\n"
        "    done\n"
        "    words=\"--help");
    put_flags(root->flags);
    (void)printf("\"\n    case $path in\n");
    put_cases(root);
    (void)printf(
        "    esac\n"
        "    COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
        "}\n"
        "complete -o default -F __%s_complete %s\n",
        name, name);
}

static void put_zsh(const struct command *root)
{
    (void)printf("#compdef %s\n\nautoload -U +X bashcompinit && bashcompinit\n\n", root->name);
    put_bash(root);
}

/* ── fish ───────────────────────────────────────────────────────────────────────────────────── */

/* In single quotes, of which the texts have none but as apostrophes. */
static void put_quoted(const char *text)
{
    (void)putchar('\'');
    for (; *text; text++) {
        if (*text == '\'' || *text == '\\')
            (void)putchar('\\');
        (void)putchar(*text);
    }
    (void)putchar('\'');
}

static void fish_flags(const char *name, const char *seen, const struct flag *flags)
{
    for (; flags && flags->name; flags++) {
        (void)printf("complete -c %s", name);
        if (seen)
            (void)printf(" -n '__fish_seen_subcommand_from %s'", seen);
        (void)printf(" -l %s", flags->name);
        if (flags->shorthand)
            (void)printf(" -s %c", flags->shorthand);
        (void)printf("%s -d ", flags->kind == FLAG_BOOL ? "" : " -r");
        put_quoted(flags->help);
        (void)putchar('\n');
    }
}

static void fish_command(const char *name, const char *when, const struct command *self)
{
    (void)printf("complete -c %s -n '%s' -a %s -d ", name, when, self->name);
    put_quoted(self->brief);
    (void)putchar('\n');
    fish_flags(name, self->name, self->flags);
}

static void put_fish(const struct command *root)
{
    const char *name = root->name;
    (void)printf("# fish completion for %s\n\n", name);
    fish_flags(name, NULL, root->flags);
    for (unsigned i = 0; i < root->child_count; i++) {
        const struct command *child = &root->children[i];
        char when[96];
        if (!built(child))
            continue;
        fish_command(name, "__fish_use_subcommand", child);
        (void)snprintf(when, sizeof(when), "__fish_seen_subcommand_from %s", child->name);
        for (unsigned j = 0; j < child->child_count; j++)
            if (built(&child->children[j]))
                fish_command(name, when, &child->children[j]);
    }
}

/* ── PowerShell ─────────────────────────────────────────────────────────────────────────────── */

static void put_powershell(const struct command *root)
{
    (void)printf(
        "# PowerShell completion for %s\n\n"
        "Register-ArgumentCompleter -Native -CommandName '%s' -ScriptBlock {\n"
        "    param($word, $line, $position)\n"
        "    $groups = @{\n        '' = '",
        root->name, root->name);
    put_names(root);
    (void)puts("'");
    for (unsigned i = 0; i < root->child_count; i++) {
        if (!root->children[i].children)
            continue;
        (void)printf("        '%s' = '", root->children[i].name);
        put_names(&root->children[i]);
        (void)puts("'");
    }
    (void)puts(
        "    }\n"
        "    $given = @($line.CommandElements | Select-Object -Skip 1 |\n"
        "        ForEach-Object { \"$_\" } | Where-Object { $_ -notlike '-*' -and $_ -ne $word })\n"
        "    $group = if ($given.Count) { $given[0] } else { '' }\n"
        "    \"$($groups[$group])\".Trim().Split(' ') | Where-Object { $_ -like \"$word*\" }\n"
        "}");
}

int command_run_completion(struct ctl *ctl, const void *options, struct strings args)
{
    static const struct {
        const char *shell;
        void (*put)(const struct command *root);
    } shells[] = {
        {"bash", put_bash}, {"fish", put_fish}, {"powershell", put_powershell}, {"zsh", put_zsh}};
    if (args.count != 1)
        return ctl_fail(CTL_ERROR, "accepts 1 arg(s), received %u", args.count);
    for (unsigned i = 0; i < COUNT(shells); i++) {
        if (strcmp(args.items[0], shells[i].shell) != 0)
            continue;
        shells[i].put(command_program());
        return CTL_OK;
    }
    return ctl_fail(CTL_ERROR, "invalid argument \"%s\" for \"%s completion\"", args.items[0],
                    command_program()->name);
}
