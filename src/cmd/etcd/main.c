/* etcd: the server. */
#include "api/cluster.h"
#include "base/log.h"
#include "server/config.h"
#include "server/member.h"
#include "version.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

extern char **environ;

#define LOG_OUTPUTS_MAX 8
#define USAGE_BYTES_MAX (1 << 16)

static void print_usage(FILE *to)
{
    struct buf text;
    buf_init(&text, USAGE_BYTES_MAX);
    config_usage(&text);
    (void)fwrite(text.data, 1, text.len, to);
    buf_done(&text);
}

/* Where the log goes; false: a file cannot be opened. */
static bool open_outputs(const struct config *config, int fds[LOG_OUTPUTS_MAX], unsigned *ret_count)
{
    unsigned count = 0;
    for (size_t i = 0; i < config->log_outputs.count && count < LOG_OUTPUTS_MAX; i++) {
        const char *output = config->log_outputs.items[i];
        int fd = STDERR_FILENO;
        if (strcmp(output, "stdout") == 0)
            fd = STDOUT_FILENO;
        else if (strcmp(output, "default") != 0 && strcmp(output, "stderr") != 0 &&
                 strcmp(output, "systemd/journal") != 0)
            fd = open(output, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (fd < 0) {
            (void)fprintf(stderr, "cannot open log output %s\n", output);
            return false;
        }
        fds[count++] = fd;
    }
    *ret_count = count;
    return true;
}

static void begin_log(const struct config *config, const int *fds, unsigned count)
{
    enum log_level level = LOG_INFO;
    (void)log_level_parse(config->log_level, &level);
    struct log_config log = {.level = level,
                             .format = strcmp(config->log_format, "console") == 0 ? LOG_CONSOLE
                                                                                  : LOG_JSON,
                             .fds = fds,
                             .fd_count = count};
    log_init(&log);
}

static void log_first_lines(const struct config *config, int argc, char **argv)
{
    LOGI("Coracle: a member of an etcd cluster, written anew in C",
         LOG_STR("coracle-version", CORACLE_VERSION), LOG_STR("etcd-version", ETCD_VERSION));
    LOGI("Running: ", LOG_STRS("args", (const char *const *)argv));
    for (unsigned i = 0; i < config->notice_count; i++) {
        const struct config_notice *notice = &config->notices[i];
        if (notice->key)
            LOGW(notice->msg, LOG_STR(notice->key, notice->value));
        else
            LOGW(notice->msg);
    }
    LOGI("starting an etcd server", LOG_STR("etcd-version", ETCD_VERSION),
         LOG_STR("name", config->name), LOG_STR("data-dir", config->data_dir),
         LOG_STR("initial-cluster", config->initial_cluster),
         LOG_STR("initial-cluster-state", config->initial_cluster_state),
         LOG_STR("initial-cluster-token", config->initial_cluster_token),
         LOG_UINT("heartbeat-interval-ms", config->heartbeat_interval_ms),
         LOG_UINT("election-timeout-ms", config->election_timeout_ms),
         LOG_UINT("max-request-bytes", config->max_request_bytes));
}

/* What a configuration that cannot be used ends with: its line and its exit code. */
static int refuse(const struct config *config, enum config_outcome outcome, const char *reason)
{
    if (outcome == CONFIG_USAGE) {
        (void)fprintf(stderr, "%s\n", reason);
        print_usage(stderr);
        return 2;
    }
    if (outcome == CONFIG_PLAIN) {
        (void)fprintf(stderr, "%s\n", reason);
        return 1;
    }
    static const int fds[] = {STDERR_FILENO};
    log_init(&(struct log_config){.level = LOG_INFO, .fds = fds, .fd_count = 1});
    if (outcome == CONFIG_CLASH)
        LOGF(
            "conflicting environment variable is shadowed by corresponding command-line flag "
            "(either unset environment variable or disable flag))",
            LOG_STR("environment-variable", reason));
    else
        LOGW("failed to verify flags", LOG_STR("error", reason));
    log_done();
    return 1;
}

int main(int argc, char **argv)
{
    struct config config;
    const char *reason = "";
    enum config_outcome outcome = config_load(&config, argc - 1, argv + 1, environ, &reason);
    int code = 0;
    if (outcome == CONFIG_HELP) {
        print_usage(stdout);
    } else if (outcome == CONFIG_VERSION) {
        printf("etcd Version: %s\nCoracle Version: %s\n", ETCD_VERSION, CORACLE_VERSION);
    } else if (outcome != CONFIG_GO) {
        code = refuse(&config, outcome, reason);
    } else {
        int fds[LOG_OUTPUTS_MAX];
        unsigned count;
        if (!open_outputs(&config, fds, &count))
            return 1;
        begin_log(&config, fds, count);
        log_first_lines(&config, argc, argv);
        int result = member_run(&config);
        log_done();
        code = result < 0 ? 1 : 0;
        if (result > 0) {
            /* As etcd: a clean stop, then the signal takes its course, so that the shell sees it.
             */
            config_done(&config);
            (void)signal(result, SIG_DFL);
            if (getpid() != 1)
                (void)raise(result);
            return 0;
        }
    }
    config_done(&config);
    return code;
}
