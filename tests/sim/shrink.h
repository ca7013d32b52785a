/* Which of its faults a failing seed needs, by leaving out ever smaller parts of them (Zeller and
 * Hildebrandt, "Simplifying and isolating failure-inducing input", 2002). */
#pragma once

#include "sim.h"

/* Where a name is given on the command line: "crash.3,cut.0" are hits, "loss,drift" hardships. */
bool script_parse_only(struct sim_script *script, const char *text);
bool script_parse_calm(struct sim_script *script, const char *text);
/* Begins with a script with which `fails` is true and leaves one that has no part that it could do
 * without. fails runs the seed; script->met then says what came up. At most `runs` of them. */
void shrink(struct sim_script *script, bool (*fails)(void *ctx), void *ctx, unsigned runs);
/* As the command line takes it. */
void script_print(const struct sim_script *script, FILE *to);
