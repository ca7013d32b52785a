/* What the files of the Watch service share.
 *
 *     watch_front.c    the hub of a front: when it runs, leader loss, faults, metrics
 *     watch.c          streams of clients
 *     watch_promise.c  responses too large to be made in one piece
 *     watch_tell.c     requests of the front that wait for something to happen */
#pragma once

#include "api/watch.h"
#include "base/metrics.h"
#include "base/prng.h"
#include "mvcc/watch.h"

/* Whoever owns a stream of the hub begins with this. */
struct watch_owner {
    const struct watch_ops *ops;
    /* The hub stands still and goes, its streams with it. */
    void (*lost)(struct watch_owner *self, err why);
    struct watch_stream *stream; /* NULL: lost */
    struct list node;            /* watch_front.owners */
};

struct watch_front {
    struct front *front;
    struct watch_hub *hub;
    struct list owners;
    struct list busy; /* clients with work in slices: parts of a response, timed progress */
    struct io_stage stage;
    struct io_timer timer;
    struct prng prng;
    struct watch_counts counted; /* as the metrics have them */
    uint64_t ran_ms;
    uint64_t told_responses, told_events; /* in the run of the hub that goes on */
    _Atomic bool wanted;                  /* has streams: new views matter */
    int64_t told_revision;                /* the core's: the last view that it woke the front for */
    uint64_t told_leader;
};

/* Makes the owner's stream. */
void watch_owner_init(struct watch_owner *self, struct watch_front *watch);
void watch_owner_done(struct watch_owner *self, struct watch_front *watch);
/* A pass soon: the hub has got something to do. */
void watch_front_wake(struct watch_front *self);

/* A response that goes out in parts. */
struct watch_parts;

/* A stream of a client. */
struct watch_client {
    struct watch_owner owner; /* first */
    struct list busy_node;
    struct watch_parts *parts; /* until all of them are queued, nothing else is delivered */
    int64_t progress;          /* asked for and true, but behind the parts; 0: none */
    struct request *request;
    struct io_timer timer; /* of progress; armed where a watcher wants it */
    uint64_t notify_ms;
    uint32_t notify_place;
    bool notifies;
    bool paused; /* its requests are not read until it takes answers */
};
/* A slice of its work. True: done, or it waits for its client. */
bool watch_client_work(struct watch_client *self, unsigned *budget);

/* WatchResponse without its events; they follow. */
struct watch_head {
    int64_t revision, watch_id, compact_revision;
    bool created, canceled, fragment;
    const char *reason; /* NULL: none */
};
#define WATCH_HEAD_BYTES_MAX 512
size_t watch_head_put(const struct request *request, const struct watch_head *head,
                      uint8_t out[WATCH_HEAD_BYTES_MAX]);

/* Sends a delivery that carries no bytes. */
void watch_send_large(struct request *request, const struct watch_delivery *delivery);
/* Begins one that is larger than a client takes in one message: parts below limit bytes of events,
 * or of one event. */
struct watch_parts *watch_parts_new(struct request *request, const struct watch_delivery *delivery,
                                    size_t limit);
/* A slice. *ret_waits: for its client. True: all are queued. Fails: what cannot be read. */
MUST err watch_parts_run(struct watch_parts *self, struct request *request, unsigned *budget,
                         bool *ret_waits, bool *ret_done);
/* NULL is legal. */
void watch_parts_free(struct watch_parts *self, struct front *front);

/* metrics */
enum watch_timing { WATCH_TIMING_CONTROL, WATCH_TIMING_PROGRESS };
void watch_metrics_count(struct watch_front *self);
void watch_metrics_took(enum watch_timing what, uint64_t took_ns);
/* Of a run of the hub: responses with events, which cost too little to be timed one by one. Each
 * counts once, as etcd counts them, with its share of the time. */
void watch_metrics_told(uint64_t took_ns, uint64_t responses, uint64_t events);
