/* The tree of commands, and the way from argv to one of them.
 * Names may be shortened to a unique beginning. Usage goes to stdout where it was asked for, to
 * stderr behind an error. */
#pragma once

#include "etcdctl/ctl.h"
#include "etcdctl/flags.h"

enum command_group {
    GROUP_NONE,
    GROUP_KV,
    GROUP_CLUSTER,
    GROUP_CONCURRENCY,
    GROUP_AUTH,
    GROUP_UTILITY,
};

struct command {
    const char *name;
    const char *use;   /* the line behind "Usage:", without the program's name */
    const char *brief; /* one line */
    const char *more;  /* what else its help says; NULL */
    enum command_group group;
    const struct flag *flags; /* of a group: also its children's, whose options struct has them */
    size_t options_bytes;
    /* The exit code. NULL and no children: etcdctl knows the name, we do not yet. */
    int (*run)(struct ctl *ctl, const void *options, struct strings args);
    const struct command *children;
    unsigned child_count;
    bool offline; /* asks no server: the environment is not looked at */
};

#define COUNT(array) (unsigned)(sizeof(array) / sizeof((array)[0]))

/* etcdctl's. */
extern const struct command root_command;

/* program: the root of its commands; its flags are every command's and go to ctl->options.
 * args: without the program's name. Returns the exit code. */
int command_main(struct ctl *ctl, const struct command *program, struct strings args);
/* The root, once command_main runs. */
const struct command *command_program(void);
/* The child of that name or unique beginning; NULL. */
const struct command *command_find(const struct command *self, const char *name);
/* Its help, as --help prints it. */
void command_help(FILE *to, const struct command *self);
/* Its usage alone, with the program's name or, inside a txn, without. */
void command_usage(FILE *to, const struct command *self, const char *program);

int command_run_help(struct ctl *ctl, const void *options, struct strings args);
int command_run_options(struct ctl *ctl, const void *options, struct strings args);
int command_run_completion(struct ctl *ctl, const void *options, struct strings args);
