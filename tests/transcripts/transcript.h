/* A transcript is a text of commands, each with the output that it must have:
 *
 *   # what this is about
 *   command arg key=value key=(v1,v2)
 *   further input lines
 *   ----
 *   output, up to an empty line
 *
 * Output that holds empty lines stands between two `----` and another two.
 * Lines of the log (DEBUG, INFO, WARN, ERROR, FATAL, after indentation) are left out on both sides
 * of the comparison: they are words, not behaviour. */
#pragma once

#include "base/arena.h"
#include "base/buf.h"

#define COMMAND_ARGS_MAX   32
#define COMMAND_VALUES_MAX 32

struct command_arg {
    const char *key;
    const char *values[COMMAND_VALUES_MAX];
    size_t value_count; /* 0: the key stands alone */
};

struct command {
    const char *name;
    struct command_arg args[COMMAND_ARGS_MAX];
    size_t arg_count;
    const char *input; /* "" where there is none */
};

/* NULL where it is not given. */
const struct command_arg *command_find(const struct command *self, const char *key);
/* True where it is given as key=true or alone. */
bool command_flag(const struct command *self, const char *key);
/* The number given, or otherwise. */
uint64_t command_number(const struct command *self, const char *key, uint64_t otherwise);

typedef void (*transcript_run)(void *ctx, const struct command *command, struct buf *out);

/* Runs the file's commands in order. With rewrite the outputs in it are replaced by what came;
 * else what differs is printed. Returns how many differ, -1 where the file cannot be read. */
int transcript_play(const char *path, bool rewrite, transcript_run run, void *ctx);
