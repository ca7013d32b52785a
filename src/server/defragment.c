#include "server/defragment.h"

#include "base/log.h"
#include "base/metrics.h"

#define NS_PER_MS 1000000

static struct metric inflight = {.name = "etcd_disk_defrag_inflight",
                                 .help = "Whether the store is being defragmented.",
                                 .kind = METRIC_GAUGE};
static struct metric seconds = {.name = "etcd_disk_backend_defrag_duration_seconds",
                                .help = "How long defragmenting the store took.",
                                .kind = METRIC_HISTOGRAM,
                                .bucket_start = .1,
                                .bucket_factor = 2,
                                .bucket_count = 13};

void defragment_register_metrics(void)
{
    metric_register(&inflight);
    metric_register(&seconds);
}

static void answer_waiting(struct defragment *self, struct replica *replica)
{
    for (unsigned i = 0; i < self->waiting_count; i++)
        replica_task_done(replica, self->waiting[i], OK);
    self->waiting_count = 0;
}

void defragment_ask(struct defragment *self, struct replica *replica, uint64_t token,
                    uint64_t now_ms)
{
    if (self->waiting_count == DEFRAGMENT_WAITING_MAX) {
        replica_task_done(replica, token, ERR_REQUEST_TOO_MANY_REQUESTS);
        return;
    }
    if (self->waiting_count == 0)
        self->answer_ms = now_ms + DEFRAGMENT_ANSWER_MS;
    self->waiting[self->waiting_count++] = token;
    self->waits |= !self->runs;
}

static void begin(struct defragment *self, struct stage_store *store, const struct revlog *log,
                  uint64_t now_ms)
{
    self->waits = false;
    self->runs = true;
    self->begin_ms = now_ms;
    revlog_sizes(log, &self->before);
    metric_set(&inflight, 1);
    LOGI("starting defragment");
    stage_store_defragment(store);
}

void defragment_cleaned(struct defragment *self, struct replica *replica, const struct revlog *log,
                        uint64_t now_ms)
{
    struct revlog_sizes after;
    if (!self->runs)
        return;
    self->runs = false;
    revlog_sizes(log, &after);
    metric_set(&inflight, 0);
    metric_observe_ns(&seconds, (now_ms - self->begin_ms) * NS_PER_MS);
    LOGI("finished defragment", LOG_UINT("current-db-size-bytes", after.size_bytes),
         LOG_UINT("previous-db-size-bytes", self->before.size_bytes),
         LOG_UINT("current-db-size-in-use-bytes", after.in_use_bytes),
         LOG_NS("took", (int64_t)(now_ms - self->begin_ms) * NS_PER_MS));
    answer_waiting(self, replica);
}

uint64_t defragment_tick(struct defragment *self, struct replica *replica,
                         struct stage_store *store, const struct revlog *log, uint64_t now_ms)
{
    if (self->waits && (replica_is_swept(replica) || now_ms >= self->answer_ms))
        begin(self, store, log, now_ms);
    if (self->waiting_count && now_ms >= self->answer_ms)
        answer_waiting(self, replica);
    return self->waiting_count ? self->answer_ms : UINT64_MAX;
}
