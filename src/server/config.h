/* The server's settings: flags, ETCD_ variables or a file, in one table (config_table.h).
 * Values come from flags and from the environment; the same setting in both is refused. With
 * --config-file all other flags and the environment are ignored.
 * Thread: the starting one; read-only afterwards, so any.
 * Owns: all texts (its arena). Source: etcd's interface, flags and configuration rules. */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/url.h"
#include "state/members.h"

struct str_list {
    const char **items; /* NULL-terminated */
    size_t count;
};

enum config_gate {
#define G(name, stage, on, standing) GATE_##name,
#include "server/gates_table.h"
#undef G
    GATE_COUNT
};

struct config_gates {
    bool on[GATE_COUNT];
};

#define CONFIG_FIELD_STR(f)      const char *f;
#define CONFIG_FIELD_URLS(f)     struct url_list f;
#define CONFIG_FIELD_UINT(f)     uint64_t f;
#define CONFIG_FIELD_INT(f)      int64_t f;
#define CONFIG_FIELD_BOOL(f)     bool f;
#define CONFIG_FIELD_DURATION(f) int64_t f;
#define CONFIG_FIELD_STRS(f)     struct str_list f;
#define CONFIG_FIELD_GATES(f)    struct config_gates f;

enum config_setting {
#define X(kind, field, flag, default_text, yaml, standing, help) CONFIG_##field,
#include "server/config_table.h"
#undef X
    CONFIG_COUNT
};

struct config_notice {
    const char *msg; /* in etcd's words */
    const char *key; /* field of the log line, or NULL */
    const char *value;
};
#define CONFIG_NOTICES_MAX 64

struct config {
#define X(kind, field, flag, default_text, yaml, standing, help) CONFIG_FIELD_##kind(field)
#include "server/config_table.h"
#undef X
    bool is_set[CONFIG_COUNT]; /* by a flag, a variable or the file */
    bool from_file;
    struct config_notice
        notices[CONFIG_NOTICES_MAX]; /* warnings, to be logged once a log is there */
    unsigned notice_count;
    struct arena arena;
};

enum config_outcome {
    CONFIG_GO,      /* start the server */
    CONFIG_HELP,    /* usage asked for: exit 0 */
    CONFIG_VERSION, /* exit 0 */
    CONFIG_USAGE,   /* a flag that cannot be read: reason, then usage, on stderr; exit 2 */
    CONFIG_PLAIN,   /* reason alone on stderr, exit 1 */
    CONFIG_REFUSED, /* log line `failed to verify flags`, error=reason; exit 1 */
    CONFIG_CLASH,   /* flag and variable both set: fatal log line, reason is the variable; exit 1 */
};

/* Reads args (without the program's name) and the environment (NULL-terminated NAME=VALUE list),
 * and checks what can be checked without looking at the data directory. *ret_reason lives in
 * self. self is to be given back with config_done whatever the outcome. */
enum config_outcome config_load(struct config *self, int argc, char *const *argv,
                                char *const *environment, const char **ret_reason);
void config_done(struct config *self);
const char *config_gate_name(unsigned gate);
const char *config_gate_stage(unsigned gate); /* ALPHA, BETA */
/* --quota-backend-bytes; negative: none. */
#define CONFIG_QUOTA_DEFAULT ((int64_t)2 << 30)
static inline int64_t config_quota_bytes(const struct config *self)
{
    return self->quota_backend_bytes ? self->quota_backend_bytes : CONFIG_QUOTA_DEFAULT;
}
/* --corrupt-check-time, also by its older name; 0: off. Not set, it is a period of ours. */
#define CONFIG_CORRUPT_CHECK_DEFAULT_NS ((int64_t)600 * 1000000000)
static inline bool config_corrupt_check_is_set(const struct config *self)
{
    return self->is_set[CONFIG_corrupt_check_ns] || self->is_set[CONFIG_old_corrupt_check_ns];
}
static inline int64_t config_corrupt_check_ns(const struct config *self)
{
    if (!config_corrupt_check_is_set(self))
        return CONFIG_CORRUPT_CHECK_DEFAULT_NS;
    return self->corrupt_check_ns ? self->corrupt_check_ns : self->old_corrupt_check_ns;
}
/* The shortest time that a lease is given: one and a half election timeouts, in whole seconds. */
static inline int64_t config_lease_ttl_min_s(const struct config *self)
{
    uint64_t ticks = 3 * (self->election_timeout_ms / self->heartbeat_interval_ms) / 2;
    return (int64_t)((ticks * self->heartbeat_interval_ms + 999) / 1000);
}
/* The version that --cluster-version-max names; major 0: it is not set.
 * Fails: ERR_SYNTAX, which config_load has refused. */
MUST err config_version_max(const struct config *self, struct cluster_version *ret_version);

/* What --auto-compaction-mode and -retention say: a period or a number of revisions, of which one
 * or both are 0. Fails: ERR_SYNTAX, with *ret_reason in the arena. */
MUST err config_compaction(const struct config *self, struct arena *arena, int64_t *ret_period_ns,
                           int64_t *ret_revisions, const char **ret_reason);
/* The list of flags, for --help. */
void config_usage(struct buf *out);
