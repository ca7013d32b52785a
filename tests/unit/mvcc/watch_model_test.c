/* Watching against a model that keeps every change in a plain list: random writes, transactions,
 * compactions, flushes and cleaning; watchers of every form of range, start and filter come and go;
 * streams refuse at random, and stay silent for long. Every watcher must see exactly the events it
 * must, in order, once, each revision whole, or be told that they were compacted away. */
#include "store_fixture.h"

#include "mvcc/watch.h"
#include "wire/splice.h"

#define KEYS     24
#define STREAMS  8
#define WATCHERS 64 /* of a stream */
#define CHANGES  60000

struct change {
    int64_t main;
    unsigned key;
    bool is_delete, is_create;
    uint32_t value_bytes;
    uint8_t value_byte;
};

struct seen {
    bool used;
    int64_t id;
    int64_t next; /* the least revision that it is still owed */
    struct mvcc_span span;
    unsigned flags;
    bool must_live; /* asked for what is to come: never compacted away while its stream takes all */
};

struct world;
struct channel {
    struct world *world;
    struct watch_stream *stream;
    struct seen watchers[WATCHERS];
    bool refuses;
    bool ever_refused;
    unsigned refuse_permille;
    bool asked_progress;
};

struct world {
    struct rig rig;
    struct prng prng;
    struct watch_hub *hub;
    struct mvcc_pins pins;
    struct channel channels[STREAMS];
    struct change changes[CHANGES];
    size_t change_count;
    bool live[KEYS];
    uint64_t deliveries, events, compacted, progresses, large;
};

static uint64_t below(struct world *self, uint64_t n)
{
    return prng_below(&self->prng, n);
}

static struct bytes key_name(unsigned key)
{
    static char names[KEYS][8];
    snprintf(names[key], sizeof(names[key]), "k%02u", key);
    return bytes_str(names[key]);
}

/* ── Writing ────────────────────────────────────────────────────────────────────────────────── */

static void note(struct world *self, unsigned key, bool is_delete, uint32_t bytes, uint8_t byte)
{
    assert_true(self->change_count < CHANGES);
    self->changes[self->change_count++] =
        (struct change){.main = mvcc_txn_revision(self->rig.store),
                        .key = key,
                        .is_delete = is_delete,
                        .is_create = !is_delete && !self->live[key],
                        .value_bytes = bytes,
                        .value_byte = byte};
    self->live[key] = !is_delete;
}

static void write_put(struct world *self, unsigned key)
{
    static uint8_t value[100000];
    uint32_t bytes =
        (uint32_t)(below(self, 200) == 0 ? below(self, sizeof(value)) : below(self, 20));
    uint8_t byte = (uint8_t)below(self, 256);
    memset(value, byte, bytes);
    struct mvcc_put put = {.key = key_name(key), .value = bytes_of(value, bytes)};
    MUST_OK(mvcc_txn_put(self->rig.store, &put, NULL));
    note(self, key, false, bytes, byte);
}

static void write_delete(struct world *self, unsigned from, unsigned to)
{
    char first[8], last[8];
    snprintf(first, sizeof(first), "k%02u", from);
    snprintf(last, sizeof(last), "k%02u", to);
    struct mvcc_span span = mvcc_span_of(bytes_str(first), bytes_str(last));
    struct mvcc_delete del;
    unsigned budget = 1000;
    mvcc_delete_init(&del, &span);
    assert_true(mvcc_txn_delete_run(self->rig.store, &del, &budget));
    mvcc_delete_done(&del);
    for (unsigned key = from; key < to; key++)
        if (self->live[key])
            note(self, key, true, 0, 0);
}

static void write_txn(struct world *self)
{
    unsigned ops = below(self, 4) ? 1 : 1 + (unsigned)below(self, 6);
    mvcc_txn_begin(self->rig.store);
    bool touched[KEYS] = {false};
    for (unsigned i = 0; i < ops; i++) {
        unsigned key = (unsigned)below(self, KEYS);
        if (touched[key])
            continue;
        touched[key] = true;
        if (below(self, 4))
            write_put(self, key);
        else
            write_delete(self, key, key + 1);
    }
    if (ops == 1 && below(self, 20) == 0) {
        unsigned from = (unsigned)below(self, KEYS), n = (unsigned)below(self, 8);
        for (unsigned key = from; key < from + n && key < KEYS; key++)
            if (!touched[key])
                write_delete(self, key, key + 1);
    }
    mvcc_txn_end(self->rig.store);
}

static void maintain(struct world *self)
{
    struct rig *rig = &self->rig;
    rig_publish(rig);
    rig_reclaim(rig);
    switch (below(self, 4)) {
    case 0:
        rig_flush(rig);
        break;
    case 1: {
        int64_t revision = mvcc_store_revision(rig->store);
        int64_t back = (int64_t)below(self, below(self, 3) ? 200 : 5);
        if (revision - back > mvcc_store_compact_revision(rig->store) && revision > back)
            MUST_OK(mvcc_store_compact(rig->store, revision - back));
        break;
    }
    case 2:
        rig_sweep(rig, 1 + (unsigned)below(self, 400));
        break;
    default:
        if (revlog_memory_seal(rig->memory) && revlog_memory_clean(rig->memory))
            rig_reclaim(rig);
        break;
    }
    rig_publish(rig);
}

/* ── What must be seen ──────────────────────────────────────────────────────────────────────── */

static bool owed(const struct seen *self, const struct change *change)
{
    unsigned filter = change->is_delete ? WATCH_NO_DELETE : WATCH_NO_PUT;
    return change->main >= self->next && !(self->flags & filter) &&
           mvcc_span_has(&self->span, key_name(change->key));
}

/* The first change that can be owed at all. */
static size_t first_of(const struct world *self, int64_t revision)
{
    size_t low = 0, high = self->change_count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (self->changes[mid].main < revision)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static const struct change *before_of(const struct world *self, const struct change *change)
{
    for (size_t i = (size_t)(change - self->changes); i > 0; i--) {
        const struct change *other = &self->changes[i - 1];
        if (other->key == change->key && other->main < change->main)
            return other->is_delete ? NULL : other;
    }
    return NULL;
}

static void check_kv(struct bytes blob, const struct change *change)
{
    struct mvcc_kv kv;
    MUST_OK(mvcc_kv_decode(blob, &kv));
    assert_true(bytes_equal(kv.key, key_name(change->key)));
    if (change->is_delete)
        return;
    assert_int_equal(kv.mod, change->main);
    assert_int_equal(kv.value.len, change->value_bytes);
    bool equal = true;
    for (size_t i = 0; i < kv.value.len; i++)
        equal &= kv.value.data[i] == change->value_byte;
    assert_true(equal);
}

/* floor: the compacted revision when the response was made, between these two. */
static void check_event(const struct world *self, const struct seen *seen,
                        const struct watch_event *event, const struct change *change, int64_t floor)
{
    assert_int_equal(event->revision, change->main);
    assert_int_equal(event->is_delete, change->is_delete);
    assert_int_equal(event->is_create, change->is_create);
    check_kv(event->kv, change);
    const struct change *before = before_of(self, change);
    bool wanted =
        (seen->flags & WATCH_PREV_KV) && before && !change->is_create && change->main - 1 >= floor;
    assert_int_equal(event->before.len > 0, wanted);
    if (wanted)
        check_kv(event->before, before);
}

/* The event's bytes: {type, kv {…, mod_revision}, prev_kv}. */
static void check_bytes(struct bytes field, const struct watch_event *event)
{
    uint64_t type = 0;
    struct bytes kv = BYTES_NONE, before = BYTES_NONE;
    struct wire_field_iter iter = wire_field_iter_of(field);
    for (struct wire_field part; wire_field_iter_next(&iter, &part);) {
        if (part.number == 1)
            type = part.value;
        else if (part.number == 2)
            kv = part.bytes;
        else
            before = part.bytes;
    }
    MUST_OK(wire_field_iter_end(&iter));
    struct mvcc_kv decoded;
    MUST_OK(mvcc_kv_decode(kv, &decoded));
    assert_int_equal(type, event->is_delete);
    assert_int_equal(decoded.mod, event->revision);
    assert_true(bytes_equal(before, event->before));
}

static struct seen *seen_of(struct channel *self, int64_t id)
{
    for (unsigned i = 0; i < WATCHERS; i++)
        if (self->watchers[i].used && self->watchers[i].id == id)
            return &self->watchers[i];
    fail();
    return NULL;
}

static bool on_deliver(void *owner, const struct watch_delivery *delivery)
{
    struct channel *self = owner;
    struct world *world = self->world;
    assert_false(self->refuses);
    if (below(world, 1000) < self->refuse_permille) {
        self->refuses = self->ever_refused = true;
        return false;
    }
    struct seen *seen = seen_of(self, delivery->watch_id);
    const struct mvcc_view *view = mvcc_store_view(world->rig.store);
    struct watch_reader reader = delivery->reader;
    struct wire_field_iter iter = wire_field_iter_of(delivery->events);
    size_t at = first_of(world, seen->next), bytes = 0;
    uint64_t count = 0;
    int64_t last = 0;
    while (reader.next <= reader.last) {
        unsigned budget = 1 + (unsigned)below(world, 50);
        struct watch_event event;
        bool found;
        MUST_OK(watch_reader_next(&reader, view, &budget, &event, &found));
        if (!found)
            continue;
        while (at < world->change_count && !owed(seen, &world->changes[at]))
            at++;
        assert_true(at < world->change_count);
        check_event(world, seen, &event, &world->changes[at], reader.floor);
        struct wire_field field;
        if (delivery->events.len) {
            assert_true(wire_field_iter_next(&iter, &field));
            assert_int_equal(field.number, 11);
            check_bytes(field.bytes, &event);
        }
        last = world->changes[at++].main;
        bytes += watch_event_size(&event, event.kv.len, event.before.len);
        count++;
    }
    assert_int_equal(count, delivery->count);
    assert_int_equal(bytes, delivery->bytes);
    assert_true(count > 0 && delivery->revision >= last);
    if (delivery->events.len)
        assert_int_equal(delivery->events.len, bytes);
    else
        world->large++;
    /* The last revision is whole. */
    for (; at < world->change_count && world->changes[at].main == last; at++)
        assert_false(owed(seen, &world->changes[at]));
    seen->next = last + 1;
    world->deliveries++;
    world->events += count;
    return true;
}

static void on_compacted(void *owner, int64_t id, int64_t compact_revision)
{
    struct channel *self = owner;
    struct seen *seen = seen_of(self, id);
    assert_true(seen->next < compact_revision);
    assert_false(seen->must_live && !self->ever_refused);
    seen->used = false;
    self->world->compacted++;
}

static void on_progress(void *owner, int64_t id, int64_t revision)
{
    struct channel *self = owner;
    struct world *world = self->world;
    for (unsigned i = 0; i < WATCHERS; i++) {
        const struct seen *seen = &self->watchers[i];
        if (!seen->used || (id != WATCH_ID_ALL && seen->id != id))
            continue;
        for (size_t at = first_of(world, seen->next);
             at < world->change_count && world->changes[at].main <= revision; at++)
            assert_false(owed(seen, &world->changes[at]));
    }
    if (id == WATCH_ID_ALL)
        assert_true(self->asked_progress);
    self->asked_progress = id == WATCH_ID_ALL ? false : self->asked_progress;
    world->progresses++;
}

static const struct watch_ops ops = {on_deliver, on_compacted, on_progress};

/* ── What is done ───────────────────────────────────────────────────────────────────────────── */

static void choose_range(struct world *self, struct watch_spec *spec)
{
    unsigned from = (unsigned)below(self, KEYS), to = from + 1 + (unsigned)below(self, KEYS);
    static const char *const points[] = {"k00", "k05", "k0", "k1", "k10", "k12", "k2", "k", "l"};
    spec->key = key_name(from);
    switch (below(self, 6)) {
    case 0:
        break;
    case 1:
        spec->range_end = BYTES_LIT("\0");
        break;
    case 2:
        spec->key = BYTES_NONE;
        spec->range_end = BYTES_LIT("\0");
        break;
    case 3:
        spec->key = bytes_str(points[below(self, 9)]);
        spec->range_end = bytes_str(points[below(self, 9)]);
        break;
    default:
        spec->range_end = key_name(to % KEYS);
        break;
    }
}

static void create(struct world *self, struct channel *channel)
{
    struct seen *seen = NULL;
    for (unsigned i = 0; i < WATCHERS && !seen; i++)
        if (!channel->watchers[i].used)
            seen = &channel->watchers[i];
    if (!seen)
        return;
    const struct mvcc_view *view = mvcc_store_view(self->rig.store);
    struct watch_spec spec = {.flags = (unsigned)below(self, 32)};
    if (below(self, 2))
        spec.flags &= ~(unsigned)(WATCH_NO_PUT | WATCH_NO_DELETE);
    choose_range(self, &spec);
    switch (below(self, 4)) {
    case 0:
        spec.start_revision = 1 + (int64_t)below(self, (uint64_t)view->revision);
        break;
    case 1:
        spec.start_revision = view->revision - (int64_t)below(self, 30);
        break;
    case 2:
        spec.start_revision = view->revision + (int64_t)below(self, 30);
        break;
    default:
        break;
    }
    bool duplicate = false;
    if (below(self, 5) == 0) {
        spec.id = (int64_t)below(self, 60) - 10;
        if (spec.id == WATCH_ID_ALL)
            spec.id = INT64_MAX;
        for (unsigned i = 0; i < WATCHERS; i++)
            duplicate |= spec.id && channel->watchers[i].used && channel->watchers[i].id == spec.id;
    }
    struct mvcc_span span =
        mvcc_span_of(spec.key.len ? spec.key : bytes_of((const uint8_t *)"", 1), spec.range_end);
    int64_t id;
    err e = watch_create(self->hub, channel->stream, &spec, view, &id);
    if (spec.start_revision < 0) {
        assert_true(err_is(e, ERR_COMPACTED));
    } else if (span.kind == MVCC_SPAN_RANGE && bytes_compare(span.key, span.end) >= 0) {
        assert_true(err_is(e, ERR_WATCH_EMPTY_RANGE));
    } else if (duplicate) {
        assert_true(err_is(e, ERR_WATCH_DUPLICATE_ID));
    } else {
        MUST_OK(e);
        assert_true(!spec.id || spec.id == id);
        bool future = spec.start_revision == 0 || spec.start_revision > view->revision;
        *seen =
            (struct seen){.used = true,
                          .id = id,
                          .next = spec.start_revision ? spec.start_revision : view->revision + 1,
                          .span = span,
                          .must_live = future,
                          .flags = spec.flags};
    }
}

static void cancel(struct world *self, struct channel *channel)
{
    struct seen *seen = &channel->watchers[below(self, WATCHERS)];
    if (seen->used)
        assert_true(watch_cancel(self->hub, channel->stream, seen->id));
    else
        assert_false(watch_cancel(self->hub, channel->stream, INT64_C(1) << 40));
    seen->used = false;
}

static void start_over(struct world *self, struct channel *channel)
{
    watch_stream_free(self->hub, channel->stream);
    *channel = (struct channel){.world = self,
                                .stream = watch_stream_new(self->hub, channel),
                                .refuse_permille = below(self, 3) ? 0 : (unsigned)below(self, 400)};
}

static bool run_hub(struct world *self, unsigned budget)
{
    epoch_enter(&self->rig.epoch, self->rig.slot);
    const struct mvcc_view *view = mvcc_store_view(self->rig.store);
    bool more = watch_hub_run(self->hub, view, 1, &budget);
    MUST_OK(watch_hub_fault(self->hub));
    if (!more)
        assert_false(watch_hub_has_work(self->hub, view));
    epoch_leave(self->rig.slot);
    return more;
}

static void step(struct world *self)
{
    struct channel *channel = &self->channels[below(self, STREAMS)];
    switch (below(self, 16)) {
    case 0:
    case 1:
        create(self, channel);
        break;
    case 2:
        if (below(self, 3) == 0)
            cancel(self, channel);
        break;
    case 3:
        if (below(self, 100) == 0)
            start_over(self, channel);
        break;
    case 4:
    case 5:
        if (channel->refuses && below(self, 8) == 0) {
            channel->refuses = false;
            watch_stream_ready(self->hub, channel->stream);
        }
        break;
    case 6:
        channel->asked_progress = true;
        watch_stream_ask_progress(self->hub, channel->stream);
        break;
    case 7: {
        uint32_t place = 0;
        unsigned budget = 5;
        while (!watch_stream_notify(self->hub, channel->stream, &place, &budget))
            budget = 5;
        break;
    }
    case 8:
        maintain(self);
        break;
    case 9:
    case 10:
        write_txn(self);
        break;
    case 11:
        for (unsigned i = (unsigned)below(self, 20); i > 0; i--)
            write_txn(self);
        rig_publish(&self->rig);
        break;
    default:
        rig_publish(&self->rig);
        (void)run_hub(self, 1 + (unsigned)below(self, below(self, 2) ? 10 : 300));
        break;
    }
}

static void finish(struct world *self)
{
    for (unsigned i = 0; i < STREAMS; i++) {
        struct channel *channel = &self->channels[i];
        channel->refuse_permille = 0;
        channel->refuses = false;
        watch_stream_ready(self->hub, channel->stream);
    }
    rig_publish(&self->rig);
    for (unsigned i = 0; run_hub(self, 100); i++)
        assert_true(i < 100000);
    struct watch_counts counts;
    watch_hub_counts(self->hub, &counts);
    assert_int_equal(counts.behind, 0);
    assert_int_equal(counts.streams, STREAMS);
    assert_int_equal(counts.pending, 0);
    assert_int_equal(counts.events, self->events);
    uint64_t watchers = 0;
    for (unsigned i = 0; i < STREAMS; i++) {
        for (unsigned j = 0; j < WATCHERS; j++) {
            const struct seen *seen = &self->channels[i].watchers[j];
            watchers += seen->used;
            for (size_t at = first_of(self, seen->next); seen->used && at < self->change_count;
                 at++)
                assert_false(owed(seen, &self->changes[at]));
        }
    }
    assert_int_equal(counts.watchers, watchers);
}

static void play(uint64_t seed, unsigned steps)
{
    struct world *self = calloc(1, sizeof(*self));
    prng_init(&self->prng, seed);
    rig_init(&self->rig, 1 << 16);
    mvcc_pins_init(&self->pins);
    struct watch_hub_config config = {
        .seed = seed, .ops = &ops, .pins = mvcc_store_pins(self->rig.store)};
    self->hub = watch_hub_new(&config);
    rig_publish(&self->rig);
    for (unsigned i = 0; i < STREAMS; i++)
        start_over(self, &self->channels[i]);
    for (unsigned i = 0; i < steps; i++)
        step(self);
    finish(self);
    assert_true(self->deliveries > 100 && self->compacted > 0 && self->progresses > 0 &&
                self->large > 0);
    watch_hub_free(self->hub);
    rig_done(&self->rig);
    free(self);
}

static void test_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++)
        play(seed, 5000);
}

int main(int argc, char **argv)
{
    if (argc == 3) { /* seed, steps: to search for more */
        play(strtoull(argv[1], NULL, 10), (unsigned)strtoul(argv[2], NULL, 10));
        return 0;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_model)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
