/* Hash and HashKV: sums over the whole store, in slices, at a pinned seq. */
#include "api/cluster.h"

#include "base/clock.h"
#include "base/metrics.h"
#include "etcdserverpb.pb-c.h"
#include "mvcc/hash_job.h"

static struct metric hash_seconds = {.name = "etcd_mvcc_hash_duration_seconds",
                                     .help = "How long a hash of the whole store took.",
                                     .kind = METRIC_HISTOGRAM,
                                     .bucket_start = .01,
                                     .bucket_factor = 2,
                                     .bucket_count = 15};
static struct metric hash_rev_seconds = {.name = "etcd_mvcc_hash_rev_duration_seconds",
                                         .help = "How long a hash of a revision took.",
                                         .kind = METRIC_HISTOGRAM,
                                         .bucket_start = .01,
                                         .bucket_factor = 2,
                                         .bucket_count = 15};

void maintenance_metrics_init(void)
{
    metric_register(&hash_seconds);
    metric_register(&hash_rev_seconds);
}

struct hash_request {
    struct mvcc_hash_job job;
    bool is_kv;
};

static void hash_release(struct request *request)
{
    struct hash_request *self = request->data;
    mvcc_hash_job_done(&self->job);
}

static void hash_answer(struct request *request)
{
    struct hash_request *self = request->data;
    const struct mvcc_hash *hash = &self->job.hash;
    struct wire_header header =
        request_header(request, front_view(request->front), self->job.revision);
    uint8_t bytes[WIRE_HEADER_FIELD_BYTES_MAX + 3 * (1 + WIRE_VARINT_BYTES_MAX)];
    uint8_t *at = wire_put_header_field(bytes, &header);
    at = wire_put_varint_field(at, 2, hash->hash);
    if (self->is_kv) {
        at = wire_put_varint_field(at, 3, (uint64_t)hash->compact_revision);
        at = wire_put_varint_field(at, 4, (uint64_t)hash->hash_revision);
    }
    metric_observe_ns(self->is_kv ? &hash_rev_seconds : &hash_seconds,
                      clock_mono_ns() - request->begin_ns);
    struct bytes part = bytes_of(bytes, (size_t)(at - bytes));
    request_answer(request, &part, 1);
}

static bool hash_run(struct request *request)
{
    struct hash_request *self = request->data;
    struct front *front = request->front;
    bool done = false;
    err e = mvcc_hash_job_run(&self->job, front_view(front)->mvcc,
                              io_loop_now_ms(front->config.loop), &done);
    if (e.code) {
        request_fail(request, e);
        return false;
    }
    if (done)
        hash_answer(request);
    return !done;
}

static void hash_begin(struct request *request, bool is_kv, int64_t revision)
{
    struct front *front = request->front;
    const struct mvcc_view *view = front_view(front)->mvcc;
    struct mvcc_pins *pins = front->config.pins;
    uint64_t now_ms = io_loop_now_ms(front->config.loop);
    struct hash_request *self = ARENA_NEW(&request->arena, struct hash_request);
    self->is_kv = is_kv;
    err e = is_kv ? mvcc_hash_job_begin(&self->job, view, revision, pins, now_ms)
                  : mvcc_hash_job_begin_all(&self->job, view, pins, now_ms);
    if (e.code) {
        request_fail(request, e);
        return;
    }
    request->data = self;
    request->release = hash_release;
    front_add_job(request, hash_run);
}

void maintenance_hash(struct request *request, const ProtobufCMessage *message)
{
    (void)message;
    hash_begin(request, false, 0);
}

void maintenance_hash_kv(struct request *request, const ProtobufCMessage *message)
{
    const Etcdserverpb__HashKVRequest *hash = (const void *)message;
    hash_begin(request, true, hash->revision);
}
