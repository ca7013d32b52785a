#include "base/check.h"
#include "state/state_internal.h"
#include "wire/decode.h"
#include "wire/encode.h"

#include <stdlib.h>

#define ALARMS_MAX 4096

static struct alarms *alarms_new(size_t count)
{
    struct alarms *self = calloc(1, sizeof(*self) + count * sizeof(self->items[0]));
    CHECK(self);
    self->count = count;
    return self;
}

static void alarms_release(struct epoch_item *item)
{
    free((struct alarms *)(void *)((char *)item - offsetof(struct alarms, retired)));
}

static int alarm_order(const struct alarm *a, const struct alarm *b)
{
    if (a->member_id != b->member_id)
        return a->member_id < b->member_id ? -1 : 1;
    return (a->type > b->type) - (a->type < b->type);
}

/* A copy with one more, or with one less; order kept. */
static struct alarms *alarms_with(const struct alarms *from, const struct alarm *extra)
{
    struct alarms *self = alarms_new(from->count + 1);
    size_t n = 0;
    size_t i = 0;
    while (i < from->count && alarm_order(&from->items[i], extra) < 0)
        self->items[n++] = from->items[i++];
    self->items[n++] = *extra;
    while (i < from->count)
        self->items[n++] = from->items[i++];
    return self;
}

static struct alarms *alarms_without(const struct alarms *from, size_t skip)
{
    struct alarms *self = alarms_new(from->count - 1);
    size_t n = 0;
    for (size_t i = 0; i < from->count; i++) {
        if (i != skip)
            self->items[n++] = from->items[i];
    }
    return self;
}

static size_t alarms_find(const struct alarms *self, const struct alarm *wanted)
{
    size_t i = 0;
    while (i < self->count && alarm_order(&self->items[i], wanted) != 0)
        i++;
    return i;
}

bool state_alarm_is_raised(const struct state *self, enum alarm_type type)
{
    for (size_t i = 0; i < self->alarms->count; i++) {
        if (self->alarms->items[i].type == type)
            return true;
    }
    return false;
}

const struct alarms *state_alarms(const struct state *self)
{
    return self->alarms;
}

static void set_alarms(struct state *self, struct alarms *next)
{
    self->alarms->retired.next = self->replaced_alarms;
    self->replaced_alarms = &self->alarms->retired;
    self->alarms = next;
}

void state_retire_alarms(struct state *self)
{
    while (self->replaced_alarms) {
        struct epoch_item *item = self->replaced_alarms;
        self->replaced_alarms = item->next;
        epoch_retire(self->epoch, item, alarms_release);
    }
}

static struct bytes alarm_key(struct state *self, const struct alarm *alarm)
{
    Etcdserverpb__AlarmMember m = ETCDSERVERPB__ALARM_MEMBER__INIT;
    m.memberid = alarm->member_id;
    m.alarm = (Etcdserverpb__AlarmType)alarm->type;
    return wire_encode_arena(&m.base, &self->arena);
}

static void answer(struct state *self, const struct alarm *alarms, size_t count)
{
    struct alarm *copy = ARENA_ARRAY(&self->arena, struct alarm, count);
    if (count)
        memcpy(copy, alarms, count * sizeof(*copy));
    self->result.alarms = copy;
    self->result.alarm_count = count;
}

static void answer_of_type(struct state *self, enum alarm_type type)
{
    struct alarm *found = ARENA_ARRAY(&self->arena, struct alarm, self->alarms->count);
    size_t n = 0;
    for (size_t i = 0; i < self->alarms->count; i++) {
        if (type == ALARM_NONE || self->alarms->items[i].type == type)
            found[n++] = self->alarms->items[i];
    }
    self->result.alarms = found;
    self->result.alarm_count = n;
}

/* Raising what is raised, lowering what is not, and the type NONE change nothing and are no
 * error; raising again answers with the alarm all the same. */
void state_apply_alarm(struct state *self, const Etcdserverpb__AlarmRequest *request)
{
    const struct alarm alarm = {request->memberid, (enum alarm_type)request->alarm};
    self->result.op.kind = STATE_ALARM;
    self->result.revision = self->result.op.revision = mvcc_store_revision(self->store);
    size_t at = alarms_find(self->alarms, &alarm);
    bool raised = at < self->alarms->count;
    switch ((int)request->action) {
    case ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__GET:
        answer_of_type(self, alarm.type);
        return;
    case ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__ACTIVATE:
        if (alarm.type == ALARM_NONE || (!raised && self->alarms->count == ALARMS_MAX))
            return;
        if (!raised) {
            mvcc_store_bucket_put(self->store, MVCC_BUCKET_ALARM, alarm_key(self, &alarm),
                                  BYTES_NONE);
            set_alarms(self, alarms_with(self->alarms, &alarm));
        }
        answer(self, &alarm, 1);
        return;
    case ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__DEACTIVATE:
        if (!raised)
            return;
        (void)mvcc_store_bucket_delete(self->store, MVCC_BUCKET_ALARM, alarm_key(self, &alarm));
        set_alarms(self, alarms_without(self->alarms, at));
        answer(self, &alarm, 1);
        return;
    default:
        return;
    }
}

err state_load_alarms(struct state *self)
{
    struct mvcc_view view;
    struct mvcc_bucket_cursor at;
    mvcc_store_peek(self->store, &view);
    mvcc_bucket_cursor_seek(&at, &view, MVCC_BUCKET_ALARM, BYTES_NONE);
    for (; mvcc_bucket_cursor_valid(&at); mvcc_bucket_cursor_next(&at)) {
        size_t len = mvcc_bucket_cursor_key_bytes(&at);
        uint8_t *key = arena_alloc_bytes(&self->arena, len);
        mvcc_bucket_cursor_key(&at, key);
        Etcdserverpb__AlarmMember *m = NULL;
        if (!err_ok(wire_decode(&etcdserverpb__alarm_member__descriptor, bytes_of(key, len),
                                &self->arena, NULL, WIRE_OUT(&m), NULL)))
            return ERR_CORRUPT;
        const struct alarm alarm = {m->memberid, (enum alarm_type)m->alarm};
        struct alarms *next = alarms_with(self->alarms, &alarm);
        free(self->alarms);
        self->alarms = next;
    }
    return OK;
}
