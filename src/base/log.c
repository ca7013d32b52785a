/* A line is made on the caller's stack, then moved whole into a ring; a thread of its own empties
 * the ring into the files.
 * 1. ring[tail..head) (modulo its size) holds whole lines only.
 * 2. Callers hold the mutex for one copy and never during a system call; the writer copies out
 *    under it and writes after. So a file that takes nothing blocks the writer alone.
 * 3. A line that finds no room is counted; the writer tells the count once there is room again. */
#include "base/log.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/duration.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#define RING_BYTES ((size_t)256 * 1024)
#define LINE_BYTES ((size_t)16 * 1024)
#define CHUNK_BYTES                                                              \
    ((size_t)PIPE_BUF) /* what a pipe that polls writable takes without blocking \
                        */
#define FDS_MAX       8
#define DONE_WAIT_MS  200
#define POLL_WAIT_MS  50
#define RATE_SLOTS    1024
#define RATE_FIRST    100
#define RATE_EACH     100
#define SUFFIX_BYTES  3 /* what ends a line: braces and the newline */
#define NS_PER_S      1000000000ULL
#define NS_PER_MS     1000000ULL
#define LEVEL_NOTHING (LOG_FATAL + 1)

static const char *const level_names[] = {"debug",  "info",  "warn", "error",
                                          "dpanic", "panic", "fatal"};

/* Lines of one message within one second; messages that share a slot share its count. */
struct rate {
    uint64_t second;
    unsigned count;
};

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t filled;
    pthread_t thread;
    atomic_int level;
    bool running;
    bool stopping;
    uint64_t stop_at_ms;
    enum log_format format;
    int fds[FDS_MAX];
    unsigned fd_count;
    size_t head, tail; /* free-running; modulo RING_BYTES */
    uint64_t dropped;
    struct rate rates[RATE_SLOTS];
    uint8_t ring[RING_BYTES];
} self = {
    .mutex = PTHREAD_MUTEX_INITIALIZER,
    .filled = PTHREAD_COND_INITIALIZER,
    .level = LEVEL_NOTHING,
};

/* One line in the making. What finds no room is left out and marks the line as full; a field is
 * taken back whole, so that the line stays well-formed. */
struct line {
    size_t len;
    bool is_full;
    bool is_spaced; /* console form separates with blanks, as zap does */
    char text[LINE_BYTES];
};

static void put(struct line *line, const char *text, size_t n)
{
    if (line->is_full || n > LINE_BYTES - SUFFIX_BYTES - line->len) {
        line->is_full = true;
        return;
    }
    memcpy(line->text + line->len, text, n);
    line->len += n;
}

static void put_text(struct line *line, const char *text)
{
    put(line, text, strlen(text));
}

__attribute__((format(printf, 2, 3))) static void put_format(struct line *line, const char *format,
                                                             ...)
{
    char text[64];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    DCHECK(n >= 0 && (size_t)n < sizeof(text));
    put(line, text, (size_t)n);
}

/* Length of the well-formed UTF-8 sequence at p, 0 where there is none (RFC 3629 section 4). */
static size_t utf8_length(const uint8_t *p, size_t room)
{
    uint8_t c = p[0];
    size_t n = c < 0x80                ? 1
               : c >= 0xc2 && c < 0xe0 ? 2
               : (c & 0xf0) == 0xe0    ? 3
               : c >= 0xf0 && c < 0xf5 ? 4
                                       : 0;
    if (n == 0 || n > room)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    bool is_long = (c == 0xe0 && p[1] < 0xa0) || (c == 0xf0 && p[1] < 0x90);
    bool is_beyond = (c == 0xed && p[1] > 0x9f) || (c == 0xf4 && p[1] > 0x8f);
    return is_long || is_beyond ? 0 : n;
}

static void put_escaped(struct line *line, struct bytes s)
{
    while (s.len && !line->is_full) {
        size_t n = utf8_length(s.data, s.len);
        uint8_t c = s.data[0];
        if (n == 0)
            put_text(line, "\\ufffd");
        else if (c == '"' || c == '\\')
            put_format(line, "\\%c", c);
        else if (c == '\n' || c == '\r' || c == '\t')
            put_text(line, c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t");
        else if (c < 0x20)
            put_format(line, "\\u%04x", c);
        else
            put(line, (const char *)s.data, n);
        s = bytes_skip(s, n ? n : 1);
    }
}

static void put_string(struct line *line, struct bytes s)
{
    put_text(line, "\"");
    put_escaped(line, s);
    put_text(line, "\"");
}

static struct bytes text_or_empty(const char *text)
{
    return bytes_str(text ? text : "");
}

static void put_key(struct line *line, const char *key, bool is_first)
{
    if (!is_first)
        put_text(line, line->is_spaced ? ", " : ",");
    put_string(line, bytes_str(key));
    put_text(line, line->is_spaced ? ": " : ":");
}

static void put_strings(struct line *line, const char *const *strs)
{
    put_text(line, "[");
    for (unsigned i = 0; strs && strs[i]; i++) {
        if (i)
            put_text(line, line->is_spaced ? ", " : ",");
        put_string(line, bytes_str(strs[i]));
    }
    put_text(line, "]");
}

static void put_value(struct line *line, const struct log_field *field)
{
    char text[DURATION_TEXT_MAX];
    switch (field->kind) {
    case LOG_FIELD_STR:
        put_string(line, text_or_empty(field->str));
        break;
    case LOG_FIELD_BYTES:
        put_string(line, field->bytes);
        break;
    case LOG_FIELD_INT:
        put_format(line, "%lld", (long long)field->i);
        break;
    case LOG_FIELD_UINT:
        put_format(line, "%llu", (unsigned long long)field->u);
        break;
    case LOG_FIELD_BOOL:
        put_text(line, field->b ? "true" : "false");
        break;
    case LOG_FIELD_HEX:
        put_format(line, "\"%llx\"", (unsigned long long)field->u);
        break;
    case LOG_FIELD_DURATION_NS:
        put_string(line, bytes_of(text, duration_text(field->i, text)));
        break;
    case LOG_FIELD_STRS:
        put_strings(line, field->strs);
        break;
    default:
        CHECK(field->kind <= LOG_FIELD_STRS);
    }
}

static void put_fields(struct line *line, const struct log_field *fields, unsigned count,
                       bool is_first)
{
    for (unsigned i = 0; i < count && !line->is_full; i++) {
        size_t len = line->len;
        put_key(line, fields[i].key, is_first);
        put_value(line, &fields[i]);
        is_first = false;
        if (line->is_full)
            line->len = len;
    }
}

/* Local time, 6 digits, zone as +0100 or Z. */
static void time_text(uint64_t wall_ns, char *out, size_t room)
{
    time_t seconds = (time_t)(wall_ns / NS_PER_S);
    struct tm tm;
    localtime_r(&seconds, &tm);
    char date[32];
    char zone[8] = "Z";
    strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
    if (tm.tm_gmtoff != 0)
        strftime(zone, sizeof(zone), "%z", &tm);
    snprintf(out, room, "%s.%06u%s", date, (unsigned)(wall_ns % NS_PER_S / 1000), zone);
}

/* folder/file.c of a path. */
static const char *short_path(const char *file)
{
    const char *at = file;
    const char *last = NULL;
    for (const char *p = file; *p; p++) {
        if (*p != '/')
            continue;
        at = last ? last : at;
        last = p + 1;
    }
    return at;
}

struct heading {
    enum log_level level;
    const char *logger;
    const char *file;
    int line;
    const char *msg;
};

static void line_make(struct line *line, enum log_format format, const struct heading *h,
                      const struct log_field *fields, unsigned field_count)
{
    char ts[64];
    char caller[160];
    time_text(clock_wall_ns(), ts, sizeof(ts));
    snprintf(caller, sizeof(caller), "%s:%d", short_path(h->file), h->line);
    line->len = 0;
    line->is_full = false;
    line->is_spaced = format == LOG_CONSOLE;
    if (format == LOG_CONSOLE) {
        const char *parts[] = {ts, level_names[h->level], h->logger, caller, h->msg};
        for (unsigned i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
            if (!parts[i])
                continue;
            put_text(line, line->len ? "\t" : "");
            put_text(line, parts[i]);
        }
        if (field_count) {
            put_text(line, "\t{");
            put_fields(line, fields, field_count, true);
            line->text[line->len++] = '}';
        }
        line->text[line->len++] = '\n';
        return;
    }
    put_text(line, "{");
    const struct log_field start[] = {LOG_STR("level", level_names[h->level]), LOG_STR("ts", ts)};
    const struct log_field logger[] = {LOG_STR("logger", h->logger)};
    const struct log_field rest[] = {LOG_STR("caller", caller), LOG_STR("msg", h->msg)};
    put_fields(line, start, 2, true);
    put_fields(line, logger, h->logger != NULL, false);
    put_fields(line, rest, 2, false);
    put_fields(line, fields, field_count, false);
    line->text[line->len++] = '}';
    line->text[line->len++] = '\n';
}

static bool rate_admits(enum log_level level, const char *msg)
{
    uint32_t hash = 2166136261U ^ (uint32_t)level; /* FNV-1a */
    for (const char *p = msg; *p; p++)
        hash = (hash ^ (uint8_t)*p) * 16777619U;
    struct rate *rate = &self.rates[hash % RATE_SLOTS];
    uint64_t second = clock_mono_ns() / NS_PER_S;
    if (rate->second != second)
        *rate = (struct rate){second, 0};
    rate->count++;
    return rate->count <= RATE_FIRST || (rate->count - RATE_FIRST) % RATE_EACH == 0;
}

/* With the mutex held. */
static bool ring_put(const char *text, size_t len)
{
    if (len > RING_BYTES - (self.head - self.tail))
        return false;
    size_t at = self.head % RING_BYTES;
    size_t first = len < RING_BYTES - at ? len : RING_BYTES - at;
    memcpy(self.ring + at, text, first);
    memcpy(self.ring, text + first, len - first);
    self.head += len;
    return true;
}

void log_line(enum log_level level, const char *logger, const char *file, int line_number,
              const char *msg, const struct log_field *fields, unsigned field_count)
{
    if (!log_enabled(level))
        return;
    struct line line;
    struct heading heading = {level, logger, file, line_number, msg};
    pthread_mutex_lock(&self.mutex);
    bool admitted = self.running && rate_admits(level, msg);
    enum log_format format = self.format;
    pthread_mutex_unlock(&self.mutex);
    if (!admitted)
        return;
    line_make(&line, format, &heading, fields, field_count);
    pthread_mutex_lock(&self.mutex);
    if (!ring_put(line.text, line.len))
        self.dropped++;
    pthread_cond_signal(&self.filled);
    pthread_mutex_unlock(&self.mutex);
}

/* False once the log is stopping and its time is over. */
static bool may_wait(void)
{
    pthread_mutex_lock(&self.mutex);
    bool may = !self.stopping || clock_mono_ms() < self.stop_at_ms;
    pthread_mutex_unlock(&self.mutex);
    return may;
}

/* A write of at most PIPE_BUF after a poll never blocks on a pipe, and needs no O_NONBLOCK, which
 * would change the file for whoever shares it with us. */
static void write_out(int fd, const uint8_t *data, size_t len)
{
    while (len) {
        struct pollfd pollfd = {.fd = fd, .events = POLLOUT};
        int ready = poll(&pollfd, 1, POLL_WAIT_MS);
        if (ready < 0 && errno != EINTR)
            return;
        if (ready <= 0) {
            if (!may_wait())
                return;
            continue;
        }
        ssize_t n = write(fd, data, len < CHUNK_BYTES ? len : CHUNK_BYTES);
        if (n < 0 && errno != EINTR && errno != EAGAIN)
            return;
        if (n > 0) {
            data += n;
            len -= (size_t)n;
        }
    }
}

/* With the mutex held: tells how many lines were lost, once there is room for it. */
static void put_dropped(void)
{
    struct line line;
    const struct log_field fields[] = {LOG_UINT("count", self.dropped)};
    struct heading heading = {LOG_WARN, NULL, __FILE__, __LINE__, "dropped log lines"};
    line_make(&line, self.format, &heading, fields, 1);
    if (ring_put(line.text, line.len))
        self.dropped = 0;
}

/* Moves up to `room` bytes out of the ring; 0 once it is empty and the log is stopping. */
static size_t ring_take(uint8_t *out, size_t room)
{
    pthread_mutex_lock(&self.mutex);
    while (self.head == self.tail && !self.stopping)
        pthread_cond_wait(&self.filled, &self.mutex);
    if (self.stopping && clock_mono_ms() >= self.stop_at_ms)
        self.tail = self.head;
    size_t len = self.head - self.tail < room ? self.head - self.tail : room;
    size_t at = self.tail % RING_BYTES;
    size_t first = len < RING_BYTES - at ? len : RING_BYTES - at;
    memcpy(out, self.ring + at, first);
    memcpy(out + first, self.ring, len - first);
    self.tail += len;
    if (self.dropped && len)
        put_dropped();
    pthread_mutex_unlock(&self.mutex);
    return len;
}

static void *writer_run(void *unused)
{
    static uint8_t chunk[RING_BYTES / 4]; /* one writer at a time */
    size_t len;
    while ((len = ring_take(chunk, sizeof(chunk))) != 0)
        for (unsigned i = 0; i < self.fd_count; i++)
            write_out(self.fds[i], chunk, len);
    return unused;
}

void log_init(const struct log_config *config)
{
    CHECK(config->fd_count <= FDS_MAX);
    pthread_mutex_lock(&self.mutex);
    CHECK(!self.running);
    for (unsigned i = 0; i < config->fd_count; i++)
        self.fds[i] = config->fds[i];
    self.fd_count = config->fd_count;
    self.format = config->format;
    self.head = self.tail = 0;
    self.dropped = 0;
    self.stopping = false;
    self.running = true;
    memset(self.rates, 0, sizeof(self.rates));
    CHECK(pthread_create(&self.thread, NULL, writer_run, NULL) == 0);
    pthread_mutex_unlock(&self.mutex);
    log_set_level(config->level);
}

void log_done(void)
{
    log_set_level(LEVEL_NOTHING);
    pthread_mutex_lock(&self.mutex);
    bool was_running = self.running;
    self.running = false;
    self.stopping = true;
    self.stop_at_ms = clock_mono_ms() + DONE_WAIT_MS;
    pthread_cond_signal(&self.filled);
    pthread_mutex_unlock(&self.mutex);
    if (was_running)
        pthread_join(self.thread, NULL);
}

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&self.level, (int)level, memory_order_relaxed);
}

bool log_enabled(enum log_level level)
{
    return (int)level >= atomic_load_explicit(&self.level, memory_order_relaxed);
}

bool log_level_parse(const char *text, enum log_level *ret_level)
{
    for (unsigned i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++) {
        if (strcasecmp(text, level_names[i]) == 0) {
            *ret_level = (enum log_level)i;
            return true;
        }
    }
    return false;
}
