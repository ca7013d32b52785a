/* GET of the v2 API: a file, or a directory with its nodes. Keys come so ordered that what lies in
 * a directory follows it; a stack of the directories that are open turns the walk into nested
 * lists. What lies below a directory that is gone, or below a hidden one, is passed over by a seek.
 */
#include "api/v2_internal.h"

#include "base/budget.h"
#include "base/check.h"
#include "base/clock.h"
#include "mvcc/range.h"

#include <stdlib.h>

/* Keys that one slice looks at. */
#define LIST_BUDGET 1000
/* So many bytes of the list count as one key. */
#define LIST_COST_BYTES 1024
#define LIST_BYTES_MAX  GATEWAY_ANSWER_BYTES_MAX

struct open_dir {
    size_t key_len; /* its key is that much of the last key in the list */
    bool has_nodes;
    struct v2_node node;
};

struct listing {
    struct request *request;
    bool recursive;
    int64_t revision, now_ns;
    struct mvcc_pin pin;
    struct mvcc_range range;
    struct bytes end;
    struct buf out, key; /* key: of the innermost open directory */
    struct buf from;     /* where the range begins */
    struct arena scratch;
    unsigned depth;
    struct open_dir open[V2_PARTS_MAX + 1];
};

static void listing_free(struct listing *self)
{
    mvcc_range_done(&self->range);
    mvcc_pin_drop(self->request->front->config.pins, &self->pin);
    buf_done(&self->out);
    buf_done(&self->key);
    buf_done(&self->from);
    arena_done(&self->scratch);
    free(self);
}

static void listing_release(struct request *request)
{
    listing_free(request->data);
}

static void listing_seek(struct listing *self)
{
    struct mvcc_range_options options = {.span = mvcc_span_of(buf_bytes(&self->from), self->end),
                                         .skip_count = true};
    mvcc_range_init(&self->range, &options, self->pin.seq);
}

static err close_dir(struct listing *self)
{
    struct open_dir *dir = &self->open[--self->depth];
    if (dir->has_nodes)
        TRY(buf_append(&self->out, BYTES_LIT("]")));
    TRY(v2_put_node_end(&self->out, &dir->node));
    if (self->depth)
        self->key.len = self->open[self->depth - 1].key_len;
    return OK;
}

/* Is the key below the innermost open directory? The root's key ends with a slash of its own. */
static bool is_below(const struct listing *self, struct bytes key)
{
    struct bytes dir = buf_bytes(&self->key);
    bool is_root = self->depth == 1 && dir.data[dir.len - 1] == '/';
    return bytes_has_prefix(key, dir) &&
           (is_root ? key.len > dir.len : key.len > dir.len + 1 && key.data[dir.len] == '\0');
}

/* Goes on behind everything that lies below the first `len` bytes of the key. */
static err skip_below(struct listing *self, struct bytes key, size_t len)
{
    uint8_t behind = 1;
    buf_clear(&self->from);
    TRY(buf_append(&self->from, bytes_of(key.data, len)));
    TRY(buf_append(&self->from, bytes_of(&behind, 1)));
    mvcc_range_done(&self->range);
    listing_seek(self);
    return OK;
}

static err put_node(struct listing *self, struct bytes key, const struct v2_node *node)
{
    struct open_dir *parent = &self->open[self->depth - 1];
    TRY(buf_append(&self->out, parent->has_nodes ? BYTES_LIT(",") : BYTES_LIT(",\"nodes\":[")));
    parent->has_nodes = true;
    struct bytes path;
    CHECK(v2_path_of(&self->scratch, key, &path));
    TRY(v2_put_node_begin(&self->out, path, node, true, self->now_ns));
    if (!node->dir || !self->recursive)
        return v2_put_node_end(&self->out, node);
    if (self->depth == V2_PARTS_MAX + 1)
        return ERR_LIMIT;
    self->open[self->depth++] = (struct open_dir){.key_len = key.len, .node = *node};
    self->key.len = 0;
    return buf_append(&self->key, key);
}

/* One key of the walk; *ret_moved: the walk goes on elsewhere. */
static err take_key(struct listing *self, const struct mvcc_view *view, bool *ret_moved)
{
    *ret_moved = false;
    struct bytes key = arena_copy(&self->scratch, mvcc_range_key(&self->range));
    while (!is_below(self, key))
        TRY(close_dir(self));
    size_t begin =
        self->key.len + (self->key.data[self->key.len - 1] == '/' && self->depth == 1 ? 0 : 1);
    const uint8_t *nul = memchr(key.data + begin, '\0', key.len - begin);
    if (nul || key.data[begin] == '_') {
        *ret_moved = true;
        return skip_below(self, key, nul ? (size_t)(nul - key.data) : key.len);
    }
    struct mvcc_record record;
    struct v2_node node;
    TRY(mvcc_view_read(view, self->range.item.seq, &record, NULL));
    TRY(v2_node_of_kv(record.blob, &node));
    TRY(put_node(self, key, &node));
    if (node.dir && !self->recursive) {
        *ret_moved = true;
        return skip_below(self, key, key.len);
    }
    return OK;
}

static err listing_run(struct listing *self, bool *ret_done)
{
    struct front *front = self->request->front;
    const struct mvcc_view *view = front_view(front)->mvcc;
    unsigned budget = LIST_BUDGET;
    TRY(mvcc_pin_touch(&self->pin, io_loop_now_ms(front->config.loop)));
    enum mvcc_range_step step = MVCC_RANGE_ITEM;
    while (budget && step == MVCC_RANGE_ITEM) {
        arena_reset(&self->scratch);
        TRY(mvcc_range_run(&self->range, view, &budget, &step));
        bool moved;
        size_t before = self->out.len;
        if (step == MVCC_RANGE_ITEM)
            TRY(take_key(self, view, &moved));
        budget_spend(&budget, (self->out.len - before) / LIST_COST_BYTES);
    }
    *ret_done = step == MVCC_RANGE_END;
    while (*ret_done && self->depth)
        TRY(close_dir(self));
    mvcc_range_pause(&self->range);
    return *ret_done ? buf_append(&self->out, BYTES_LIT("}\n")) : OK;
}

static bool listing_job(struct request *request)
{
    struct listing *self = request->data;
    bool done = false;
    err e = listing_run(self, &done);
    if (e.code)
        v2_fail(request, e);
    else if (done)
        v2_answer(request, 200, self->revision, &self->out);
    return err_ok(e) && !done;
}

static void list_dir(struct request *request, const struct v2_params *params,
                     const struct v2_place *place)
{
    struct front *front = request->front;
    const struct mvcc_view *view = front_view(front)->mvcc;
    struct listing *self = calloc(1, sizeof(*self));
    CHECK(self);
    self->request = request;
    self->recursive = params->recursive;
    self->revision = view->revision;
    self->now_ns = (int64_t)clock_wall_ns();
    arena_init(&self->scratch, 1024);
    buf_init(&self->out, LIST_BYTES_MAX);
    buf_init(&self->key, 0);
    buf_init(&self->from, 0);
    struct bytes key = v2_key(&request->arena, params->path);
    self->end = v2_key_end(&request->arena, key);
    uint8_t first = place->count ? '\0' : 1; /* what is below; the root's own key is no node */
    err e = buf_append(&self->key, key);
    if (err_ok(e))
        e = buf_append(&self->from, key);
    if (err_ok(e))
        e = buf_append(&self->from, bytes_of(&first, 1));
    if (err_ok(e))
        e = mvcc_pin_take(front->config.pins, view->seq, io_loop_now_ms(front->config.loop),
                          &self->pin);
    listing_seek(self);
    request->data = self;
    request->release = listing_release;
    struct v2_node node = place->node;
    if (place->count == 0)
        node = (struct v2_node){.dir = true};
    self->open[self->depth++] = (struct open_dir){.key_len = key.len, .node = node};
    if (err_ok(e))
        e = buf_append(&self->out, BYTES_LIT("{\"action\":\"get\",\"node\":"));
    if (err_ok(e))
        e = v2_put_node_begin(&self->out, params->path, &node, false, self->now_ns);
    if (e.code)
        v2_fail(request, err_is(e, ERR_LIMIT) ? ERR_REQUEST_TOO_MANY_REQUESTS : e);
    else if (listing_job(request))
        front_add_job(request, listing_job);
}

static void get_file(struct request *request, const struct v2_params *params,
                     const struct v2_node *node)
{
    struct buf out;
    buf_init(&out, 0);
    struct v2_event event = {
        .action = V2_GET, .path = params->path, .node = *node, .has_value = true};
    err e = v2_put_event(&out, &event, (int64_t)clock_wall_ns());
    if (e.code)
        v2_fail(request, e);
    else
        v2_answer(request, 200, front_view(request->front)->mvcc->revision, &out);
    buf_done(&out);
}

static void get(struct request *request, const struct v2_params *params)
{
    struct arena *arena = &request->arena;
    const struct mvcc_view *view = front_view(request->front)->mvcc;
    struct v2_place *place = ARENA_NEW(arena, struct v2_place);
    err e = v2_find(view, arena, params->path, place);
    struct v2_refusal refusal = {V2_OK, NULL};
    if (err_ok(e))
        refusal = v2_place_missing(arena, place);
    v2_count(err_ok(e) && refusal.error == V2_OK ? V2_GETS_SUCCESS : V2_GETS_FAIL, 1);
    if (e.code)
        v2_fail(request, e);
    else if (refusal.error != V2_OK)
        v2_refuse(request, refusal, view->revision);
    else if (place->count == 0 || place->node.dir)
        list_dir(request, params, place);
    else
        get_file(request, params, &place->node);
}

static void get_after_barrier(struct request *request, const struct replica_reply *reply)
{
    if (reply->result.error.code)
        v2_fail(request, reply->result.error);
    else
        get(request, request->data);
}

void v2_read(struct request *request, const struct v2_params *params)
{
    if (!params->quorum) {
        get(request, params);
        return;
    }
    request->data = (void *)params; /* in the arena */
    front_read_barrier(request->front, request, get_after_barrier);
}
