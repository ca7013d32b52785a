#include "shrink.h"

#include "base/check.h"

#include <stdlib.h>

#define X(name) #name,
static const char *const hit_names[] = {SIM_HITS(X)};
static const char *const hardship_names[] = {SIM_HARDSHIPS(X)};
#undef X

struct hit {
    unsigned kind, n;
};

/* ---- on the command line ----------------------------------------------------------------------
 */

static bool name_find(const char *const *names, unsigned count, const char *text, size_t len,
                      unsigned *ret_at)
{
    for (unsigned i = 0; i < count; i++) {
        if (strlen(names[i]) == len && memcmp(names[i], text, len) == 0) {
            *ret_at = i;
            return true;
        }
    }
    return false;
}

bool script_parse_only(struct sim_script *script, const char *text)
{
    memset(script->off, true, sizeof(script->off));
    while (*text) {
        size_t len = strcspn(text, ".");
        unsigned kind;
        char *end;
        if (!text[len] || !name_find(hit_names, HIT_COUNT, text, len, &kind))
            return false;
        unsigned long n = strtoul(text + len + 1, &end, 10);
        if (end == text + len + 1 || n >= SIM_HITS_MAX || (*end && *end != ','))
            return false;
        script->off[kind][n] = false;
        text = *end ? end + 1 : end;
    }
    return true;
}

bool script_parse_calm(struct sim_script *script, const char *text)
{
    while (*text) {
        size_t len = strcspn(text, ",");
        unsigned at;
        if (!name_find(hardship_names, HARDSHIP_COUNT, text, len, &at))
            return false;
        script->calm[at] = true;
        text += len + (text[len] != 0);
    }
    return true;
}

void script_print(const struct sim_script *script, FILE *to)
{
    const char *separator = "--only ";
    for (unsigned kind = 0; kind < HIT_COUNT; kind++) {
        for (unsigned n = 0; n < SIM_HITS_MAX; n++) {
            if (!script->met[kind][n] || script->off[kind][n])
                continue;
            fprintf(to, "%s%s.%u", separator, hit_names[kind], n);
            separator = ",";
        }
    }
    if (*separator == '-')
        fprintf(to, "--only \"\"");
    separator = " --without ";
    for (unsigned i = 0; i < HARDSHIP_COUNT; i++) {
        if (!script->calm[i])
            continue;
        fprintf(to, "%s%s", separator, hardship_names[i]);
        separator = ",";
    }
    fprintf(to, "\n");
    for (unsigned kind = 0; kind < HIT_COUNT; kind++)
        for (unsigned n = 0; n < SIM_HITS_MAX; n++)
            if (script->met[kind][n] && !script->off[kind][n])
                fprintf(to, "  %s.%u at %.3f ms\n", hit_names[kind], n,
                        (double)script->met_us[kind][n] / 1000);
}

/* ---- leaving out ------------------------------------------------------------------------------
 */

/* In the order of time, so that parts of them are stretches of time. */
static unsigned hits_of(const struct sim_script *script, struct hit *hits)
{
    unsigned count = 0;
    for (unsigned kind = 0; kind < HIT_COUNT; kind++) {
        for (unsigned n = 0; n < SIM_HITS_MAX; n++) {
            if (!script->met[kind][n] || script->off[kind][n])
                continue;
            unsigned at = count++;
            uint64_t us = script->met_us[kind][n];
            for (; at && script->met_us[hits[at - 1].kind][hits[at - 1].n] > us; at--)
                hits[at] = hits[at - 1];
            hits[at] = (struct hit){kind, n};
        }
    }
    return count;
}

static void set_off(struct sim_script *script, const struct hit *hits, unsigned count, bool off)
{
    for (unsigned i = 0; i < count; i++)
        script->off[hits[i].kind][hits[i].n] = off;
}

struct shrinking {
    struct sim_script *script;
    bool (*fails)(void *ctx);
    void *ctx;
    unsigned runs;
};

static bool fails_still(struct shrinking *self)
{
    if (!self->runs)
        return false;
    self->runs--;
    memset(self->script->met, 0, sizeof(self->script->met));
    return self->fails(self->ctx);
}

static void shrink_hits(struct shrinking *self)
{
    struct hit *hits = calloc((size_t)HIT_COUNT * SIM_HITS_MAX, sizeof(*hits));
    CHECK(hits);
    unsigned count = hits_of(self->script, hits);
    for (unsigned part = (count + 1) / 2; part && count && self->runs; part = part / 2) {
        for (unsigned from = 0; from < count && self->runs;) {
            unsigned n = count - from < part ? count - from : part;
            set_off(self->script, hits + from, n, true);
            if (!fails_still(self)) {
                set_off(self->script, hits + from, n, false);
                from += n;
                continue;
            }
            memmove(hits + from, hits + from + n, (count - from - n) * sizeof(*hits));
            count -= n;
        }
    }
    free(hits);
}

void shrink(struct sim_script *script, bool (*fails)(void *ctx), void *ctx, unsigned runs)
{
    struct shrinking self = {script, fails, ctx, runs};
    for (unsigned i = 0; i < HARDSHIP_COUNT; i++) {
        if (script->calm[i])
            continue;
        script->calm[i] = true;
        if (!fails_still(&self))
            script->calm[i] = false;
    }
    self.runs++;
    if (!fails_still(&self)) /* names what came up with what is left */
        return;
    shrink_hits(&self);
    self.runs++;
    (void)fails_still(&self);
}
