/* The language in which etcdctl reads a txn: three blocks of lines, each ended by an empty line.
 *
 *     compare  := TARGET("KEY") OP "VALUE"       TARGET  ver version c create m mod val value lease
 *                                                OP      = != < >
 *     request  := put|get|del ARGUMENT…          as on the command line, with their flags
 *
 * A compare's strings are Go's: "…" with escapes or `…`; a lease is hexadecimal, the other numbers
 * decimal. A request's words are divided by blanks; "…" with Go's escapes and '…' keep theirs.
 * Every line ends with a line feed: what comes without one has been cut off.
 * Thread: any.  Owns: nothing; results live in the arena. */
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "etcdctl/flags.h"
#include "etcdserverpb.pb-c.h"

/* Fails: ERR_SYNTAX, *ret_why says it in etcdctl's words. */
MUST err txn_compare_parse(struct arena *arena, const char *line,
                           Etcdserverpb__Compare **ret_compare, const char **ret_why);
/* Fails: ERR_UNSUPPORTED where a word's escapes make a NUL: arguments are C's strings. */
MUST err txn_words(struct arena *arena, const char *line, struct strings *ret_words);
