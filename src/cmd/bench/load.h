/* A load on a cluster: many calls at once over HTTP/2, timed.
 *
 *     closed loop (rate 0)  every stream of every connection asks again as soon as it is answered
 *     open loop             requests fall due `rate` times a second, a millisecond's together, and
 *                           their time runs from then on, sent or not: a server that stalls is
 *                           charged for all that waited (no coordinated omission)
 *
 * Phases: connect all, warm up, measure (until the duration, the total or SIGINT), finish what is
 * open.
 * Only what ended while measuring counts, in the open loop what fell due then.
 * Thread: one; load_run blocks.  Owns: its connections and memory. */
#pragma once

#include "bench/histogram.h"
#include "bench/procs.h"
#include "bench/watchers.h"
#include "bench/work.h"

#define LOAD_ENDPOINTS_MAX 16
#define LOAD_PIDS_MAX      16

struct load_config {
    const char *endpoints[LOAD_ENDPOINTS_MAX]; /* "127.0.0.1:2379"; connections take turns */
    unsigned endpoint_count;
    pid_t pids[LOAD_PIDS_MAX]; /* whose processor time and memory to measure */
    unsigned pid_count;
    uint32_t connections;
    uint32_t streams; /* calls at once on each */
    uint64_t rate;    /* requests a second; 0: closed loop */
    uint64_t total;   /* requests, warm-up not counted; 0: by duration */
    uint64_t duration_ms;
    uint64_t warm_up_ms;
    uint64_t sample_ms; /* between two looks at memory */
    struct work_config work;
    struct watchers_config watchers;
};

struct load_report {
    struct histogram latency_ns;
    uint64_t requests; /* answered without error */
    uint64_t errors;
    uint64_t unanswered; /* open when the patience was over */
    uint64_t answer_bytes;
    uint64_t events; /* that watchers heard of, from the begin of measuring to the end */
    struct histogram event_latency_ns;
    double seconds;
    double own_cpu_s;
    double cpu_s; /* of all pids */
    uint64_t anon_kib_before, anon_kib_after, anon_kib_peak;
    char first_error[160]; /* of errors; else empty */
};

/* Fails: ERR_SYNTAX an endpoint is no address, ERR_UNREACHABLE, ERR_NOT_FOUND a pid is gone,
 * ERR_IO. */
MUST err load_run(const struct load_config *config, struct load_report *ret_report);
