#include "base/metrics.h"

#include "base/array.h"
#include "base/check.h"

#include <float.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COLLECTORS_MAX 16
#define NUMBER_MAX     48

#define WHOLE_DIGITS_MAX 15
#define WHOLE_MAX        1e15 /* below it every whole number is its digits, none shorter */

/* Newest first, so that a start with a thousand of them is cheap. */
static struct metric *metrics;
/* As text has them: all from `newest` on. Kept, since to compare a thousand names that no cache
 * holds takes milliseconds. */
static struct {
    pthread_mutex_t lock;
    const struct metric **all;
    size_t count, cap;
    const struct metric *newest;
} in_order = {.lock = PTHREAD_MUTEX_INITIALIZER};
static struct {
    void (*fn)(void *ctx);
    void *ctx;
} collectors[COLLECTORS_MAX];
static unsigned collector_count;

static int metric_compare(const struct metric *a, const struct metric *b)
{
    int c = a->name == b->name ? 0 : strcmp(a->name, b->name); /* the series of one share it */
    if (c)
        return c;
    return strcmp(a->labels ? a->labels : "", b->labels ? b->labels : "");
}

void metric_register(struct metric *self)
{
    CHECK(self->name && self->help);
    CHECK(self->bucket_count <= METRIC_BUCKETS_MAX);
    if (atomic_load_explicit(&self->registered, memory_order_relaxed) ||
        atomic_exchange_explicit(&self->registered, true, memory_order_relaxed))
        return;
    self->next = __atomic_load_n(&metrics, __ATOMIC_RELAXED);
    /* Text may be made at the same time: it meets the new one whole, or not at all. */
    while (!__atomic_compare_exchange_n(&metrics, &self->next, self, true, __ATOMIC_RELEASE,
                                        __ATOMIC_RELAXED)) {
    }
}

static double bucket_bound(const struct metric *self, unsigned bucket)
{
    if (self->bounds)
        return self->bounds[bucket];
    double bound = self->bucket_start;
    for (unsigned i = 0; i < bucket; i++)
        bound *= self->bucket_factor;
    return bound;
}

void metric_observe_ns(struct metric *self, uint64_t ns)
{
    metric_observe_many_ns(self, ns, 1);
}

void metric_observe_many_ns(struct metric *self, uint64_t ns, uint64_t count)
{
    if (count == 0)
        return;
    double seconds = (double)ns / (double)count / 1e9;
    unsigned i = 0;
    double bound = self->bucket_start;
    for (; i < self->bucket_count && seconds > (self->bounds ? self->bounds[i] : bound); i++)
        bound *= self->bucket_factor;
    atomic_fetch_add_explicit(&self->buckets[i], count, memory_order_relaxed);
    atomic_fetch_add_explicit(&self->sum_ns, ns, memory_order_relaxed);
}

void metrics_on_collect(void (*fn)(void *ctx), void *ctx)
{
    for (unsigned i = 0; i < collector_count; i++) {
        if (collectors[i].fn == fn) {
            collectors[i].ctx = ctx;
            return;
        }
    }
    CHECK(collector_count < COLLECTORS_MAX);
    collectors[collector_count].fn = fn;
    collectors[collector_count].ctx = ctx;
    collector_count++;
}

/* What nearly all are: counts. False: it is none. */
static bool count_text(double v, char out[NUMBER_MAX])
{
    char digits[WHOLE_DIGITS_MAX + 1];
    if (!(v >= 0 && v < WHOLE_MAX) || v != (double)(uint64_t)v)
        return false;
    unsigned at = WHOLE_DIGITS_MAX;
    digits[at] = 0;
    uint64_t rest = (uint64_t)v;
    do {
        digits[--at] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    unsigned exponent = WHOLE_DIGITS_MAX - 1 - at;
    if (exponent < 6) {
        memcpy(out, digits + at, exponent + 2);
        return true;
    }
    unsigned end = WHOLE_DIGITS_MAX;
    while (digits[end - 1] == '0')
        end--;
    digits[end] = 0;
    snprintf(out, NUMBER_MAX, "%c%s%se+%02u", digits[at], end > at + 1 ? "." : "", digits + at + 1,
             exponent);
    return true;
}

/* The shortest digits that read back equal; with an exponent below 1e-04 and from 1e+06 on, as
 * Go prints a float64 with 'g' and so what etcd's metrics look like. */
static void number_text(double v, char out[NUMBER_MAX])
{
    if (!isfinite(v)) {
        snprintf(out, NUMBER_MAX, "%s", isnan(v) ? "NaN" : v > 0 ? "+Inf" : "-Inf");
        return;
    }
    if (count_text(v, out))
        return;
    /* What has up to 15 digits reads back from those 15, so the shortest are without their zeros.
     */
    int digits = DBL_DIG;
    for (;; digits++) {
        snprintf(out, NUMBER_MAX, "%.*e", digits - 1, v);
        if (digits == DBL_DECIMAL_DIG || strtod(out, NULL) == v)
            break;
    }
    for (const char *last = strchr(out, 'e') - 1; digits > 1 && *last == '0'; last--)
        digits--;
    snprintf(out, NUMBER_MAX, "%.*e", digits - 1, v);
    long exponent = strtol(strchr(out, 'e') + 1, NULL, 10);
    if (exponent < -4 || exponent >= 6)
        return;
    int decimals = digits - 1 > exponent ? digits - 1 - (int)exponent : 0;
    snprintf(out, NUMBER_MAX, "%.*f", decimals, v);
}

static err put(struct buf *out, const char *text)
{
    return buf_append(out, bytes_str(text));
}

static err put_labels(struct buf *out, const char *labels, const char *le)
{
    if (!le && !*labels)
        return OK;
    TRY(put(out, "{"));
    TRY(put(out, labels));
    if (le) {
        TRY(put(out, *labels ? ",le=\"" : "le=\""));
        TRY(put(out, le));
        TRY(put(out, "\""));
    }
    return put(out, "}");
}

/* A page is two thousand of these, made between two requests: no formats. */
static err put_sample(struct buf *out, const struct metric *m, const char *suffix, const char *le,
                      const char *value)
{
    TRY(put(out, m->name));
    TRY(put(out, suffix));
    TRY(put_labels(out, m->labels ? m->labels : "", le));
    TRY(put(out, " "));
    TRY(put(out, value));
    return put(out, "\n");
}

static err put_histogram(struct buf *out, const struct metric *m)
{
    char le[NUMBER_MAX];
    char value[NUMBER_MAX];
    uint64_t count = 0;
    for (unsigned i = 0; i < m->bucket_count; i++) {
        count += atomic_load_explicit(&m->buckets[i], memory_order_relaxed);
        number_text(bucket_bound(m, i), le);
        number_text((double)count, value);
        TRY(put_sample(out, m, "_bucket", le, value));
    }
    count += atomic_load_explicit(&m->buckets[m->bucket_count], memory_order_relaxed);
    number_text((double)count, value);
    TRY(put_sample(out, m, "_bucket", "+Inf", value));
    char sum[NUMBER_MAX];
    number_text((double)atomic_load_explicit(&m->sum_ns, memory_order_relaxed) / 1e9, sum);
    TRY(put_sample(out, m, "_sum", NULL, sum));
    return put_sample(out, m, "_count", NULL, value);
}

static int compare_entries(const void *a, const void *b)
{
    return metric_compare(*(const struct metric *const *)a, *(const struct metric *const *)b);
}

/* Behind what is before it; the same twice has no place. */
static void order_one(const struct metric *metric)
{
    size_t lo = 0, hi = in_order.count;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        int c = metric_compare(in_order.all[mid], metric);
        CHECK(c != 0);
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    memmove(in_order.all + lo + 1, in_order.all + lo, (in_order.count - lo) * sizeof(void *));
    in_order.all[lo] = metric;
    in_order.count++;
}

static void order_new(void)
{
    const struct metric *first = __atomic_load_n(&metrics, __ATOMIC_ACQUIRE);
    size_t news = 0, old = in_order.count;
    for (const struct metric *m = first; m != in_order.newest; m = m->next)
        news++;
    for (const struct metric *m = first; m != in_order.newest; m = m->next) {
        in_order.all = array_grow(in_order.all, in_order.count, &in_order.cap, sizeof(void *));
        if (news <= old)
            order_one(m);
        else
            in_order.all[in_order.count++] = m;
    }
    in_order.newest = first;
    if (news <= old)
        return;
    qsort(in_order.all, in_order.count, sizeof(void *), compare_entries);
    for (size_t i = 1; i < in_order.count; i++)
        CHECK(metric_compare(in_order.all[i - 1], in_order.all[i]) != 0); /* registered once */
}

void metrics_order(void)
{
    CHECK(pthread_mutex_lock(&in_order.lock) == 0);
    order_new();
    CHECK(pthread_mutex_unlock(&in_order.lock) == 0);
}

/* A name's series together under one heading. */
void metrics_page_begin(struct metrics_page *self)
{
    for (unsigned i = 0; i < collector_count; i++)
        collectors[i].fn(collectors[i].ctx);
    CHECK(pthread_mutex_lock(&in_order.lock) == 0);
    order_new();
    *self = (struct metrics_page){.all = malloc((in_order.count + 1) * sizeof(void *)),
                                  .count = in_order.count};
    CHECK(self->all);
    if (self->count)
        memcpy(self->all, in_order.all, self->count * sizeof(void *));
    CHECK(pthread_mutex_unlock(&in_order.lock) == 0);
}

static err put_metric(struct buf *out, const struct metric *m)
{
    if (m->kind == METRIC_HISTOGRAM)
        return put_histogram(out, m);
    char value[NUMBER_MAX];
    double scale = m->scale != 0 ? m->scale : 1;
    number_text((double)atomic_load_explicit(&m->value, memory_order_relaxed) * scale, value);
    return put_sample(out, m, "", NULL, value);
}

static err put_heading(struct buf *out, const struct metric *m)
{
    static const char *const kinds[] = {
        [METRIC_COUNTER] = "counter", [METRIC_GAUGE] = "gauge", [METRIC_HISTOGRAM] = "histogram"};
    return buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", m->name, m->help, m->name,
                      kinds[m->kind]);
}

err metrics_page_put(struct metrics_page *self, struct buf *out, size_t bytes, bool *ret_more)
{
    size_t end = out->len + bytes;
    while (self->at < self->count && out->len < end) {
        const struct metric *m = self->all[self->at];
        const char *before = self->at ? self->all[self->at - 1]->name : "";
        if (before != m->name && strcmp(before, m->name) != 0)
            TRY(put_heading(out, m));
        TRY(put_metric(out, m));
        self->at++;
    }
    *ret_more = self->at < self->count;
    return OK;
}

void metrics_page_done(struct metrics_page *self)
{
    free(self->all);
    self->all = NULL;
}

err metrics_text(struct buf *out)
{
    struct metrics_page page;
    bool more = true;
    err e = OK;
    metrics_page_begin(&page);
    while (more && err_ok(e))
        e = metrics_page_put(&page, out, SIZE_MAX / 2, &more);
    metrics_page_done(&page);
    return e;
}
