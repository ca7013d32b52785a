/* Source: etcd's interface, metrics. */
#include "api/watch_internal.h"

static struct metric streams = {.name = "etcd_debugging_mvcc_watch_stream_total",
                                .help = "Watch streams.",
                                .kind = METRIC_GAUGE};
static struct metric watchers = {
    .name = "etcd_debugging_mvcc_watcher_total", .help = "Watchers.", .kind = METRIC_GAUGE};
static struct metric slow = {.name = "etcd_debugging_mvcc_slow_watcher_total",
                             .help = "Watchers that are behind.",
                             .kind = METRIC_GAUGE};
static struct metric events = {.name = "etcd_debugging_mvcc_events_total",
                               .help = "Events sent to watchers.",
                               .kind = METRIC_COUNTER};
static struct metric pending = {.name = "etcd_debugging_mvcc_pending_events_total",
                                .help = "Events that are being sent to watchers.",
                                .kind = METRIC_GAUGE};

#define TIMING(name_, help_)                                                                    \
    {                                                                                           \
        .name = "etcd_debugging_server_watch_send_loop_" name_ "_seconds", .help = help_,       \
        .kind = METRIC_HISTOGRAM, .bucket_start = 0.001, .bucket_factor = 2, .bucket_count = 14 \
    }
static struct metric of_events =
    TIMING("watch_stream_duration", "Time that a response with events took.");
static struct metric per_event =
    TIMING("watch_stream_duration_per_event", "Time that an event of a response took.");
static struct metric of_control =
    TIMING("control_stream_duration", "Time that the answer to a request took.");
static struct metric of_progress =
    TIMING("progress_duration", "Time that a report of progress took.");

void watch_metrics_init(void)
{
    struct metric *all[] = {&streams,   &watchers,  &slow,       &events,     &pending,
                            &of_events, &per_event, &of_control, &of_progress};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        metric_register(all[i]);
}

/* Several fronts share them: each adds what has changed. */
void watch_metrics_count(struct watch_front *self)
{
    struct watch_counts now;
    watch_hub_counts(self->hub, &now);
    const struct watch_counts *before = &self->counted;
    struct {
        struct metric *metric;
        uint64_t now, before;
    } const rows[] = {{&streams, now.streams, before->streams},
                      {&watchers, now.watchers, before->watchers},
                      {&slow, now.behind, before->behind},
                      {&events, now.events, before->events},
                      {&pending, now.pending, before->pending}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (rows[i].now != rows[i].before)
            metric_add(rows[i].metric, (int64_t)(rows[i].now - rows[i].before));
    self->counted = now;
}

void watch_metrics_took(enum watch_timing what, uint64_t took_ns)
{
    metric_observe_ns(what == WATCH_TIMING_CONTROL ? &of_control : &of_progress, took_ns);
}

void watch_metrics_told(uint64_t took_ns, uint64_t responses, uint64_t event_count)
{
    metric_observe_many_ns(&of_events, took_ns, responses);
    if (event_count)
        metric_observe_many_ns(&per_event, took_ns * responses / event_count, responses);
}
