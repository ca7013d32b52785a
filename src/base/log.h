/* The program's log: JSON lines as etcd writes them (level, ts, [logger], caller, msg, fields),
 * or console form. Library code below src/server never logs; it returns errors and events.
 * Lines go into a bounded ring and a thread of their own writes them: a blocked reader of the
 * log never blocks the server, the lines that find no room are counted and the count is logged.
 * Thread: any.  Source: contract table "Log lines". */
#pragma once

#include "base/bytes.h"
#include "base/err.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_DPANIC, LOG_PANIC, LOG_FATAL };
enum log_format { LOG_JSON, LOG_CONSOLE };

enum log_field_kind {
    LOG_FIELD_STR,
    LOG_FIELD_BYTES,
    LOG_FIELD_INT,
    LOG_FIELD_UINT,
    LOG_FIELD_BOOL,
    LOG_FIELD_HEX,
    LOG_FIELD_DURATION_NS,
    LOG_FIELD_STRS
};
struct log_field {
    const char *key;
    enum log_field_kind kind;
    union {
        const char *str;
        struct bytes bytes;
        int64_t i;
        uint64_t u;
        bool b;
        const char *const *strs; /* NULL-terminated list */
    };
};

#define LOG_STR(k, v)   ((struct log_field){.key = (k), .kind = LOG_FIELD_STR, .str = (v)})
#define LOG_BYTES(k, v) ((struct log_field){.key = (k), .kind = LOG_FIELD_BYTES, .bytes = (v)})
#define LOG_INT(k, v)   ((struct log_field){.key = (k), .kind = LOG_FIELD_INT, .i = (v)})
#define LOG_UINT(k, v)  ((struct log_field){.key = (k), .kind = LOG_FIELD_UINT, .u = (v)})
#define LOG_BOOL(k, v)  ((struct log_field){.key = (k), .kind = LOG_FIELD_BOOL, .b = (v)})
#define LOG_HEX(k, v)   ((struct log_field){.key = (k), .kind = LOG_FIELD_HEX, .u = (v)})
#define LOG_NS(k, v)    ((struct log_field){.key = (k), .kind = LOG_FIELD_DURATION_NS, .i = (v)})
#define LOG_STRS(k, v)  ((struct log_field){.key = (k), .kind = LOG_FIELD_STRS, .strs = (v)})
#define LOG_ERR(e)      LOG_STR("error", err_text(e))

struct log_config {
    enum log_level level;
    enum log_format format;
    const int *fds; /* borrowed for the life of the log */
    unsigned fd_count;
};

void log_init(const struct log_config *config);
/* Writes what is left (for at most 200 ms where the reader blocks) and stops the thread. */
void log_done(void);
void log_set_level(enum log_level level);
bool log_enabled(enum log_level level);
/* Writes one line; at most 100 of one message a second, then each 100th. */
void log_line(enum log_level level, const char *logger, const char *file, int line, const char *msg,
              const struct log_field *fields, unsigned field_count);
/* False where the text is none of the level's names (any case). */
bool log_level_parse(const char *text, enum log_level *ret_level);

#define LOG_AT(level, logger, msg, ...)                                                           \
    do {                                                                                          \
        if (log_enabled(level)) {                                                                 \
            const struct log_field fields_[] = {__VA_ARGS__ __VA_OPT__(, )(struct log_field){0}}; \
            log_line((level), (logger), __FILE__, __LINE__, (msg), fields_,                       \
                     sizeof(fields_) / sizeof(fields_[0]) - 1);                                   \
        }                                                                                         \
    } while (0)
#define LOGD(msg, ...) LOG_AT(LOG_DEBUG, NULL, msg, ##__VA_ARGS__)
#define LOGI(msg, ...) LOG_AT(LOG_INFO, NULL, msg, ##__VA_ARGS__)
#define LOGW(msg, ...) LOG_AT(LOG_WARN, NULL, msg, ##__VA_ARGS__)
#define LOGE(msg, ...) LOG_AT(LOG_ERROR, NULL, msg, ##__VA_ARGS__)
#define LOGF(msg, ...) LOG_AT(LOG_FATAL, NULL, msg, ##__VA_ARGS__) /* the caller exits */
