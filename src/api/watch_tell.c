#include "api/watch_tell.h"

#include "api/watch_internal.h"
#include "base/check.h"

#include <stdlib.h>

#define READ_BUDGET 4096

struct watch_tale {
    struct watch_owner owner; /* first */
    struct request *request;
    watch_told *told;
};

static void tale_free(struct watch_tale *self)
{
    struct request *request = self->request;
    request->tale = NULL;
    watch_owner_done(&self->owner, request->front->watch);
    free(self);
}

static void tale_end(struct watch_tale *self, err why)
{
    struct request *request = self->request;
    watch_told *told = self->told;
    tale_free(self);
    (void)told(request, NULL, why);
}

static bool tale_deliver(void *owner, const struct watch_delivery *delivery)
{
    struct watch_tale *self = owner;
    struct request *request = self->request;
    const struct mvcc_view *view = front_view(request->front)->mvcc;
    struct watch_reader reader = delivery->reader;
    while (reader.next <= reader.last) {
        unsigned budget = READ_BUDGET;
        struct watch_event event;
        bool found;
        err e = watch_reader_next(&reader, view, &budget, &event, &found);
        if (e.code) {
            tale_end(self, e);
            return true;
        }
        if (found && !self->told(request, &event, OK)) {
            tale_free(self);
            return true;
        }
    }
    return true;
}

static void tale_compacted(void *owner, int64_t watch_id, int64_t compact_revision)
{
    (void)watch_id;
    (void)compact_revision;
    tale_end(owner, ERR_COMPACTED);
}

static void tale_progress(void *owner, int64_t watch_id, int64_t revision)
{
    (void)owner;
    (void)watch_id;
    (void)revision;
}

static void tale_lost(struct watch_owner *owner, err why)
{
    tale_end((struct watch_tale *)owner, err_is(why, ERR_CORRUPT) ? why : ERR_UNHEALTHY);
}

static const struct watch_ops tale_ops = {tale_deliver, tale_compacted, tale_progress};

err watch_tell(struct request *request, const struct watch_tale_spec *spec, watch_told *told)
{
    struct watch_front *watch = request->front->watch;
    CHECK(!request->tale);
    struct watch_tale *self = calloc(1, sizeof(*self));
    CHECK(self);
    self->request = request;
    self->told = told;
    self->owner.ops = &tale_ops;
    self->owner.lost = tale_lost;
    watch_owner_init(&self->owner, watch);
    request->tale = self;
    const struct watch_spec watcher = {.key = spec->key,
                                       .range_end = spec->range_end,
                                       .start_revision = spec->revision,
                                       .flags = spec->flags};
    int64_t id;
    err e = watch_create(watch->hub, self->owner.stream, &watcher, front_view(request->front)->mvcc,
                         &id);
    if (e.code)
        tale_free(self);
    watch_front_wake(watch);
    return e;
}

void watch_tell_stop(struct request *request)
{
    if (request->tale)
        tale_free(request->tale);
}
