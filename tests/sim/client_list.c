/* Lists that take their time: a few keys now and a few later, all as of one revision, held by a pin
 * while the cluster goes on, compactions included. As a front sends them (api/kv.h).
 *
 * At the end each key that was there at the revision was given, once, in order, as it was. */
#include "client_priv.h"

#include "base/check.h"

bool list_begin(struct clients *self, unsigned who, struct node *member)
{
    struct sim *sim = self->sim;
    struct list_run *list = &self->items[who].list;
    CHECK(!list->active);
    const struct replica_view *view = member_view_enter(member);
    int64_t oldest = view->mvcc->compact_revision > 1 ? view->mvcc->compact_revision : 1;
    uint64_t span = (uint64_t)(view->mvcc->revision - oldest) + 1;
    int64_t revision =
        view->mvcc->revision - (int64_t)(sim_chance(sim, 500) ? sim_below(sim, span) : 0);
    uint64_t seq;
    bool known = view->applied_index <= oracle_last(sim->oracle);
    err e = known ? mvcc_view_seq_of(view->mvcc, revision, &seq) : ERR_AGAIN;
    if (err_ok(e))
        e = mvcc_pin_take(member_pins(member), seq, member_ms(member), &list->pin);
    if (err_ok(e)) {
        struct mvcc_range_options options = {.span = mvcc_span_of(bytes_str("k"), bytes_str("l"))};
        mvcc_range_init(&list->range, &options, seq);
        list->active = true;
        list->revision = revision;
        list->next_key = 0;
        list->member = member->at;
        sim->counts->lists++;
    }
    member_view_leave(member);
    return list->active;
}

static void list_end(struct clients *self, struct list_run *list, bool member_lives)
{
    mvcc_range_done(&list->range);
    if (member_lives)
        mvcc_pin_drop(member_pins(self->sim->members[list->member]), &list->pin);
    list->active = false;
}

void list_member_ended(struct clients *self, const struct node *member)
{
    for (unsigned i = 0; i < self->sim->plan.clients; i++) {
        struct list_run *list = &self->items[i].list;
        if (list->active && list->member == member->at)
            list_end(self, list, false);
    }
}

/* Those that were not there are passed over. */
static void skip_missing(struct clients *self, struct list_run *list, const struct node *member,
                         unsigned to)
{
    for (; list->next_key < to; list->next_key++)
        if (model_get(self->sim->model, list->next_key, list->revision).exists)
            sim_fail(self->sim, "m%u: a list at %lld lacks k%02u", member->at,
                     (long long)list->revision, list->next_key);
}

static err take_item(struct clients *self, struct list_run *list, struct node *member,
                     const struct replica_view *view)
{
    struct mvcc_record record;
    struct mvcc_kv kv;
    TRY(mvcc_view_read(view->mvcc, list->range.item.seq, &record, NULL));
    TRY(mvcc_kv_decode(record.blob, &kv));
    unsigned key =
        kv.key.len == 3 ? (unsigned)(kv.key.data[1] - '0') * 10 + (kv.key.data[2] - '0') : SIM_KEYS;
    if (key >= self->sim->plan.keys || key < list->next_key)
        sim_fail(self->sim, "m%u: a list at %lld gives a key out of order", member->at,
                 (long long)list->revision);
    skip_missing(self, list, member, key);
    struct model_state expected = model_get(self->sim->model, key, list->revision);
    struct model_state seen = {true,       kv.create, kv.mod,
                               kv.version, kv.lease,  model_hash_bytes(kv.value)};
    oracle_expect(self->sim, member, "list", key, &expected, &seen);
    list->next_key = key + 1;
    return OK;
}

/* A few keys. False: the list has ended. */
bool list_go_on(struct clients *self, unsigned who)
{
    struct sim *sim = self->sim;
    struct list_run *list = &self->items[who].list;
    struct node *member = sim->members[list->member];
    const struct replica_view *view = member_view_enter(member);
    enum mvcc_range_step step = MVCC_RANGE_MORE;
    unsigned budget = 1 + (unsigned)sim_below(sim, 6);
    err e = mvcc_pin_touch(&list->pin, member_ms(member));
    bool broken = !err_ok(e);
    while (err_ok(e) && step != MVCC_RANGE_END && budget) {
        e = mvcc_range_run(&list->range, view->mvcc, &budget, &step);
        if (err_ok(e) && step == MVCC_RANGE_ITEM)
            e = take_item(self, list, member, view);
    }
    if (!err_ok(e) && !broken && !member->suspect)
        sim_fail(sim, "m%u: a list at %lld: %s", member->at, (long long)list->revision,
                 err_text(e));
    if (err_ok(e) && step == MVCC_RANGE_END)
        skip_missing(self, list, member, sim->plan.keys);
    bool more = err_ok(e) && step != MVCC_RANGE_END;
    mvcc_range_pause(&list->range);
    member_view_leave(member);
    if (!more)
        list_end(self, list, true);
    return more;
}

void lists_free(struct clients *self)
{
    for (unsigned i = 0; i < SIM_CLIENTS_MAX; i++)
        if (self->items[i].list.active)
            list_end(self, &self->items[i].list, false); /* the members are gone */
}
