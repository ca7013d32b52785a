/* The rules that hold between settings, in the order and with the words of etcd. */
#include "server/config_internal.h"

#include "base/duration.h"
#include "base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <strings.h>

static err refuse(const char **ret_reason, const char *text)
{
    *ret_reason = text;
    return ERR_USAGE;
}

static bool differs_from_default(struct config *self, int which)
{
    struct config plain;
    const char *unused;
    memset(&plain, 0, sizeof(plain));
    arena_init(&plain.arena, 512);
    const struct setting *setting = &settings[which];
    bool differs = false;
    if (config_set(&plain, (enum config_setting)which, bytes_str(setting->default_text), &unused)
            .code == 0) {
        const char *a = (const char *)self + setting->offset;
        const char *b = (const char *)&plain + setting->offset;
        switch (setting->kind) {
        case KIND_STR:
            differs = strcmp(*(const char *const *)a, *(const char *const *)b) != 0;
            break;
        case KIND_URLS:
            differs = !url_list_equal((const struct url_list *)a, (const struct url_list *)b);
            break;
        case KIND_STRS:
            differs = ((const struct str_list *)a)->count != ((const struct str_list *)b)->count;
            break;
        case KIND_BOOL:
            differs = *(const bool *)a != *(const bool *)b;
            break;
        case KIND_UINT:
        case KIND_INT:
        case KIND_DURATION:
            differs = *(const int64_t *)a != *(const int64_t *)b;
            break;
        case KIND_GATES:
            break;
        }
    }
    arena_done(&plain.arena);
    return differs;
}

/* What is not built yet is refused by name: a setting that silently does nothing would be worse. */
static err verify_built(struct config *self, const char **ret_reason)
{
    for (int i = 0; i < CONFIG_COUNT; i++)
        if (settings[i].standing == STANDING_LATER && self->is_set[i] &&
            differs_from_default(self, i))
            return refuse(ret_reason, arena_printf(&self->arena,
                                                   "--%s is not supported by this server yet (%s); "
                                                   "leave it at its default",
                                                   settings[i].flag, settings[i].help));
    static const struct {
        const char *name;
        bool later;
    } gates[] = {
#define LIVE                             false
#define INERT                            false
#define LATER                            true
#define G(name_, stage_, on_, standing_) {#name_, standing_},
#include "server/gates_table.h"
#undef G
#undef LIVE
#undef INERT
#undef LATER
    };
    if (self->feature_gates.on[GATE_LeaseCheckpointPersist] &&
        !self->feature_gates.on[GATE_LeaseCheckpoint])
        return refuse(ret_reason,
                      "enabling feature gate LeaseCheckpointPersist requires enabling "
                      "feature gate LeaseCheckpoint");
    for (int g = 0; g < GATE_COUNT; g++)
        if (gates[g].later && self->feature_gates.on[g])
            return refuse(ret_reason,
                          arena_printf(&self->arena,
                                       "feature gate %s is not supported by this server yet",
                                       gates[g].name));
    return OK;
}

static err verify_logging(struct config *self, const char **ret_reason)
{
    enum log_level level;
    if (strcmp(self->logger, "capnslog") == 0)
        return refuse(ret_reason, "--logger=capnslog is removed in v3.5");
    if (strcmp(self->logger, "zap") != 0)
        return refuse(ret_reason,
                      arena_printf(&self->arena, "unknown logger option \"%s\"", self->logger));
    if (!log_level_parse(self->log_level, &level))
        return refuse(ret_reason,
                      arena_printf(&self->arena, "unrecognized level: \"%s\"", self->log_level));
    if (strcmp(self->log_format, "json") != 0 && strcmp(self->log_format, "console") != 0)
        return refuse(ret_reason,
                      arena_printf(&self->arena,
                                   "unknown log format: %s, supported values json, console",
                                   self->log_format));
    for (size_t i = 0; i < self->log_outputs.count; i++)
        if (self->log_outputs.count > 1 && strcmp(self->log_outputs.items[i], "default") == 0)
            return refuse(ret_reason, "multi logoutput for \"default\" is not supported yet");
    return OK;
}

static err verify_bind(struct config *self, const struct url_list *list, const char **ret_reason)
{
    for (size_t i = 0; i < list->count; i++)
        if (!url_can_bind(&list->items[i]))
            return refuse(ret_reason,
                          arena_printf(&self->arena, "expected IP in URL for binding (%s)",
                                       list->items[i].text));
    return OK;
}

static err verify_urls(struct config *self, const char **ret_reason)
{
    TRY(verify_bind(self, &self->listen_peer_urls, ret_reason));
    TRY(verify_bind(self, &self->listen_client_urls, ret_reason));
    TRY(verify_bind(self, &self->listen_client_http_urls, ret_reason));
    TRY(verify_bind(self, &self->listen_metrics_urls, ret_reason));
    for (size_t i = 0; i < self->advertise_peer_urls.count; i++) {
        const struct url *url = &self->advertise_peer_urls.items[i];
        if (url->host[0] == '\0')
            return refuse(ret_reason,
                          arena_printf(&self->arena,
                                       "--initial-advertise-peer-urls \"%s\" must be \"host:port\" "
                                       "(unexpected empty host (%s))",
                                       url->text, url->text));
    }
    for (size_t i = 0; i < self->advertise_client_urls.count; i++) {
        const struct url *url = &self->advertise_client_urls.items[i];
        if (url->host[0] == '\0')
            return refuse(ret_reason,
                          arena_printf(&self->arena,
                                       "--advertise-client-urls \"%s\" must be in the format "
                                       "\"host:port\", \"unix:/path/to/socket\" or "
                                       "\"unixs:/path/to/socket\" (unexpected empty host (%s))",
                                       url->text, url->text));
    }
    const struct url_list *all[] = {&self->listen_peer_urls, &self->listen_client_urls,
                                    &self->listen_metrics_urls};
    for (size_t l = 0; l < 3; l++)
        for (size_t i = 0; i < all[l]->count; i++)
            if (all[l]->items[i].scheme == URL_HTTPS || all[l]->items[i].scheme == URL_UNIXS)
                return refuse(ret_reason,
                              arena_printf(&self->arena,
                                           "%s: TLS is not supported by this server yet; use http",
                                           all[l]->items[i].text));
    return OK;
}

static err verify_timing(struct config *self, const char **ret_reason)
{
    unsigned long long beat = self->heartbeat_interval_ms, election = self->election_timeout_ms;
    if (beat == 0)
        return refuse(ret_reason, "--heartbeat-interval must be >0 (set to 0ms)");
    if (election == 0)
        return refuse(ret_reason, "--election-timeout must be >0 (set to 0ms)");
    if (beat > election || 5 * beat > election)
        return refuse(ret_reason,
                      arena_printf(&self->arena,
                                   "--election-timeout[%llums] should be at least as 5 times as "
                                   "--heartbeat-interval[%llums]",
                                   election, beat));
    if (election > 50000)
        return refuse(ret_reason,
                      arena_printf(&self->arena,
                                   "--election-timeout[%llums] is too long, and should be set less "
                                   "than 50000ms",
                                   election));
    return OK;
}

static err verify_choices(struct config *self, const char **ret_reason)
{
    if (strcmp(self->initial_cluster_state, "new") != 0 &&
        strcmp(self->initial_cluster_state, "existing") != 0)
        return refuse(ret_reason,
                      self->from_file
                          ? arena_printf(&self->arena, "unexpected clusterState \"%s\"",
                                         self->initial_cluster_state)
                          : arena_printf(&self->arena,
                                         "invalid value \"%s\" for "
                                         "initial-cluster-state: new or existing is expected",
                                         self->initial_cluster_state));
    if (self->auto_compaction_mode[0] == '\0')
        return refuse(ret_reason, "undefined auto-compaction-mode");
    if (strcmp(self->auto_compaction_mode, "periodic") != 0 &&
        strcmp(self->auto_compaction_mode, "revision") != 0)
        return refuse(ret_reason, arena_printf(&self->arena, "unknown auto-compaction-mode \"%s\"",
                                               self->auto_compaction_mode));
    if (self->compact_hash_check_ns <= 0) {
        char text[DURATION_TEXT_MAX];
        duration_text(self->compact_hash_check_ns, text);
        return refuse(
            ret_reason,
            arena_printf(&self->arena, "--compact-hash-check-time must be >0 (set to %s)", text));
    }
    if (strcmp(self->discovery_fallback, "exit") != 0)
        return refuse(ret_reason,
                      "v2 proxy is deprecated, and --discovery-fallback can't be "
                      "configured as \"proxy\"");
    const char *minimum = self->tls_min_version, *maximum = self->tls_max_version;
    if (strcmp(minimum, "TLS1.2") != 0 && strcmp(minimum, "TLS1.3") != 0 && minimum[0])
        return refuse(ret_reason, arena_printf(&self->arena,
                                               "unexpected TLS version \"%s\" (must be one of: "
                                               "TLS1.2, TLS1.3)",
                                               minimum));
    if (strcmp(maximum, "TLS1.2") != 0 && strcmp(maximum, "TLS1.3") != 0 && maximum[0])
        return refuse(ret_reason, arena_printf(&self->arena,
                                               "unexpected TLS version \"%s\" (must be one of: "
                                               "TLS1.2, TLS1.3)",
                                               maximum));
    if (strcmp(minimum, "TLS1.3") == 0 && strcmp(maximum, "TLS1.2") == 0)
        return refuse(ret_reason, "min version (TLS1.3) is greater than max version (TLS1.2)");
    return OK;
}

#define HOUR_NS INT64_C(3600000000000)

/* A plain number counts revisions or hours; anything else is a duration, whose nanoseconds count
 * revisions where those are asked for. */
static err parse_retention(const char *text, bool by_number, int64_t *ret_value)
{
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    bool plain = end != text && *end == '\0' && errno == 0 && number >= 0 &&
                 (text[0] == '+' || (text[0] >= '0' && text[0] <= '9'));
    if (!plain)
        return duration_parse(text, ret_value);
    if (!by_number && number > INT64_MAX / HOUR_NS)
        return ERR_LIMIT;
    *ret_value = by_number ? number : number * HOUR_NS;
    return OK;
}

err config_compaction(const struct config *self, struct arena *arena, int64_t *ret_period_ns,
                      int64_t *ret_revisions, const char **ret_reason)
{
    bool by_number = strcmp(self->auto_compaction_mode, "revision") == 0;
    int64_t value = 0;
    err e = parse_retention(self->auto_compaction_retention, by_number, &value);
    if (err_ok(e) && value < 0)
        e = ERR_SYNTAX;
    if (!err_ok(e)) {
        *ret_reason =
            arena_printf(arena, "error parsing CompactionRetention: time: invalid duration \"%s\"",
                         self->auto_compaction_retention);
        return ERR_SYNTAX;
    }
    *ret_period_ns = by_number ? 0 : value;
    *ret_revisions = by_number ? value : 0;
    return OK;
}

static void add_defaults(struct config *self)
{
    if (self->data_dir[0] == '\0')
        self->data_dir = arena_printf(&self->arena, "%s.etcd", self->name);
    if (self->initial_cluster[0] == '\0') {
        const char *text = "";
        for (size_t i = 0; i < self->advertise_peer_urls.count; i++)
            text = arena_printf(&self->arena, "%s%s%s=%s", text, i ? "," : "", self->name,
                                self->advertise_peer_urls.items[i].text);
        self->initial_cluster = text;
    }
    if (strcmp(self->name, "default") == 0)
        config_notice(self, "'default' name is used; members need different names", "name",
                      "default");
    if (self->max_request_bytes > 10 << 20)
        config_notice(self, "exceeded recommended request limit", NULL, NULL);
    if (self->raft_read_timeout_ns < 5000000000LL)
        self->raft_read_timeout_ns = 5000000000LL;
    if (self->raft_write_timeout_ns < 5000000000LL)
        self->raft_write_timeout_ns = 5000000000LL;
}

err config_version_max(const struct config *self, struct cluster_version *ret_version)
{
    struct cluster_version version = {0};
    if (self->cluster_version_max[0])
        TRY(cluster_version_parse(bytes_str(self->cluster_version_max), &version));
    if (version.major && (version.major != 3 || version.minor > 7))
        return ERR_SYNTAX;
    *ret_version = version;
    return OK;
}

err config_verify(struct config *self, const char **ret_reason)
{
    bool srv = self->discovery_srv[0], endpoints = self->discovery_endpoints.count;
    if (self->is_set[CONFIG_initial_cluster] + srv + endpoints > 1)
        return refuse(ret_reason,
                      "multiple discovery or bootstrap flags are set. Choose one of "
                      "\"initial-cluster\", \"discovery-endpoints\" or "
                      "\"discovery-srv\"");
    TRY(verify_logging(self, ret_reason));
    TRY(verify_urls(self, ret_reason));
    TRY(verify_choices(self, ret_reason));
    if (self->is_set[CONFIG_listen_client_urls] && !self->is_set[CONFIG_advertise_client_urls])
        return refuse(ret_reason,
                      "--advertise-client-urls is required when --listen-client-urls "
                      "is set explicitly");
    TRY(verify_timing(self, ret_reason));
    TRY(verify_built(self, ret_reason));
    struct cluster_version max;
    if (self->cluster_version_max[0] && !err_ok(config_version_max(self, &max)))
        return refuse(ret_reason, "--cluster-version-max must be 3.0 to 3.7");
    if (self->max_request_bytes == 0 || self->max_request_bytes > 64 << 20)
        return refuse(ret_reason, "--max-request-bytes must be between 1 and 67108864");
    add_defaults(self);
    return OK;
}
