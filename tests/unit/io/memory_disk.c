#include "memory_disk.h"

#include "base/buf.h"
#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>

#define NODES_MAX    256u
#define HANDLES_MAX  128u
#define OPS_MAX      2048u
#define NAME_MAX_    80u
#define SECTOR_BYTES 512u
#define ROOT         0u
#define KILL_ONE_IN  4u

struct node {
    bool used, is_directory;
    int locked_by; /* handle, or -1 */
    uint8_t *cache, *durable;
    size_t size, durable_size;
};

/* A change of names: `node` gets (dir, name), and loses (from_dir, from) where that is set. */
struct name_op {
    unsigned dir, from_dir, node;
    bool has_from, is_removal;
    char name[NAME_MAX_], from[NAME_MAX_];
};

struct name_row {
    unsigned dir, node;
    char name[NAME_MAX_];
};

struct handle {
    bool used;
    unsigned node;
};

struct memory_disk {
    struct node nodes[NODES_MAX];
    struct handle handles[HANDLES_MAX];
    struct name_op ops[OPS_MAX];
    unsigned op_count, durable_ops;
    struct name_row rows[NODES_MAX];
    unsigned row_count;
    uint64_t calls, cut_at;
    bool cut_armed;
    uint64_t seed;
    void (*on_cut)(void *ctx, struct memory_disk *left);
    void *cut_ctx;
};

static void *must(void *memory)
{
    CHECK(memory);
    return memory;
}

/* ---- names -------------------------------------------------------------------------------------
 */

static struct name_row *row_find(struct memory_disk *self, unsigned dir, const char *name)
{
    for (unsigned i = 0; i < self->row_count; i++)
        if (self->rows[i].dir == dir && strcmp(self->rows[i].name, name) == 0)
            return &self->rows[i];
    return NULL;
}

static void row_remove(struct memory_disk *self, unsigned dir, const char *name)
{
    struct name_row *row = row_find(self, dir, name);
    if (row)
        *row = self->rows[--self->row_count];
}

static void name_copy(char to[NAME_MAX_], const char *from)
{
    CHECK(strlen(from) < NAME_MAX_);
    (void)snprintf(to, NAME_MAX_, "%s", from);
}

static void op_apply(struct memory_disk *self, const struct name_op *op)
{
    row_remove(self, op->dir, op->name);
    if (op->has_from)
        row_remove(self, op->from_dir, op->from);
    if (op->is_removal)
        return;
    CHECK(self->row_count < NODES_MAX);
    struct name_row *row = &self->rows[self->row_count++];
    row->dir = op->dir;
    row->node = op->node;
    name_copy(row->name, op->name);
}

static struct name_op *op_add(struct memory_disk *self, unsigned dir, const char *name,
                              unsigned node)
{
    CHECK(self->op_count < OPS_MAX);
    struct name_op *op = &self->ops[self->op_count++];
    *op = (struct name_op){.dir = dir, .node = node};
    name_copy(op->name, name);
    return op;
}

static unsigned node_make(struct memory_disk *self, bool is_directory)
{
    for (unsigned i = 1; i < NODES_MAX; i++) {
        if (!self->nodes[i].used) {
            self->nodes[i] =
                (struct node){.used = true, .is_directory = is_directory, .locked_by = -1};
            return i;
        }
    }
    CHECK(false);
}

/* ---- the cut
 * ------------------------------------------------------------------------------------- */

/* Sectors and size, each as synced or as last written. */
static void node_after_cut(const struct node *node, struct node *left, struct prng *prng)
{
    *left = (struct node){.used = node->used, .is_directory = node->is_directory, .locked_by = -1};
    if (!node->used || node->is_directory)
        return;
    size_t size = prng_below(prng, 2) ? node->size : node->durable_size;
    left->cache = must(calloc(1, size + 1));
    left->durable = must(calloc(1, size + 1));
    for (size_t at = 0; at < size; at += SECTOR_BYTES) {
        bool written = prng_below(prng, 2);
        const uint8_t *from = written ? node->cache : node->durable;
        size_t from_size = written ? node->size : node->durable_size;
        size_t len = size - at < SECTOR_BYTES ? size - at : SECTOR_BYTES;
        if (at < from_size)
            memcpy(left->cache + at, from + at, len < from_size - at ? len : from_size - at);
    }
    memcpy(left->durable, left->cache, size);
    left->size = left->durable_size = size;
}

/* Only the process died: everything is as it was, synced or not. */
static void node_after_kill(const struct node *node, struct node *left)
{
    *left = *node;
    left->locked_by = -1;
    if (!node->used || node->is_directory)
        return;
    left->cache = must(calloc(1, node->size + 1));
    left->durable = must(calloc(1, node->durable_size + 1));
    if (node->size)
        memcpy(left->cache, node->cache, node->size);
    if (node->durable_size)
        memcpy(left->durable, node->durable, node->durable_size);
}

static struct memory_disk *disk_after_kill(const struct memory_disk *self)
{
    struct memory_disk *left = memory_disk_new();
    left->op_count = self->op_count;
    left->durable_ops = self->durable_ops;
    memcpy(left->ops, self->ops, left->op_count * sizeof(left->ops[0]));
    for (unsigned i = 0; i < left->op_count; i++)
        op_apply(left, &left->ops[i]);
    for (unsigned i = 1; i < NODES_MAX; i++)
        node_after_kill(&self->nodes[i], &left->nodes[i]);
    return left;
}

static struct memory_disk *disk_after_cut(const struct memory_disk *self)
{
    struct prng prng;
    prng_init(&prng, self->seed);
    if (prng_below(&prng, KILL_ONE_IN) == 0)
        return disk_after_kill(self);
    struct memory_disk *left = memory_disk_new();
    left->op_count = left->durable_ops =
        self->durable_ops + (unsigned)prng_below(&prng, self->op_count - self->durable_ops + 1);
    memcpy(left->ops, self->ops, left->op_count * sizeof(left->ops[0]));
    for (unsigned i = 0; i < left->op_count; i++)
        op_apply(left, &left->ops[i]);
    for (unsigned i = 1; i < NODES_MAX; i++)
        node_after_cut(&self->nodes[i], &left->nodes[i], &prng);
    return left;
}

/* Each call that changes something begins here. */
static void call_begin(struct memory_disk *self)
{
    if (self->cut_armed && self->calls == self->cut_at) {
        self->cut_armed = false;
        self->on_cut(self->cut_ctx, disk_after_cut(self));
    }
    self->calls++;
}

/* ---- the calls
 * -------------------------------------------------------------------------------------- */

static unsigned dir_of(struct memory_disk *self, int dir)
{
    return dir == IO_CWD ? ROOT : self->handles[dir].node;
}

/* The directory and last name of a path; false where a directory on the way is missing. */
static bool path_walk(struct memory_disk *self, int dir, const char *path, unsigned *ret_dir,
                      char ret_name[NAME_MAX_])
{
    unsigned at = dir_of(self, dir);
    while (*path == '/')
        path++;
    for (const char *slash; (slash = strchr(path, '/')); path = slash + 1) {
        char part[NAME_MAX_];
        CHECK((size_t)(slash - path) < NAME_MAX_);
        (void)snprintf(part, sizeof(part), "%.*s", (int)(slash - path), path);
        struct name_row *row = row_find(self, at, part);
        if (!row)
            return false;
        at = row->node;
    }
    *ret_dir = at;
    name_copy(ret_name, path);
    return true;
}

static err disk_open(void *ctx, int dir, const char *path, unsigned flags, unsigned mode,
                     int *ret_file)
{
    struct memory_disk *self = ctx;
    unsigned in, node = ROOT;
    char name[NAME_MAX_];
    if (!path_walk(self, dir, path, &in, name))
        return ERR_NOT_FOUND;
    struct name_row *row = row_find(self, in, name);
    if (name[0] && !row && !(flags & IO_CREATE))
        return ERR_NOT_FOUND;
    if (row && (flags & IO_EXCLUSIVE))
        return ERR_EXISTS;
    if (row) {
        node = row->node;
    } else if (name[0]) {
        call_begin(self);
        node = node_make(self, false);
        op_apply(self, op_add(self, in, name, node));
    }
    if ((flags & IO_TRUNCATE) && self->nodes[node].size) {
        call_begin(self);
        self->nodes[node].size = 0;
    }
    for (int i = 0; i < (int)HANDLES_MAX; i++) {
        if (!self->handles[i].used) {
            self->handles[i] = (struct handle){true, node};
            *ret_file = i;
            return OK;
        }
    }
    return ERR_LIMIT;
}

static struct node *node_of(struct memory_disk *self, int file)
{
    CHECK(file >= 0 && self->handles[file].used);
    return &self->nodes[self->handles[file].node];
}

static void disk_close(void *ctx, int file)
{
    struct memory_disk *self = ctx;
    struct node *node = node_of(self, file);
    if (node->locked_by == file)
        node->locked_by = -1;
    self->handles[file].used = false;
}

static err disk_read(void *ctx, int file, void *to, size_t len, uint64_t offset, size_t *ret_len)
{
    const struct node *node = node_of(ctx, file);
    size_t n = offset < node->size ? node->size - (size_t)offset : 0;
    if (n > len)
        n = len;
    if (n)
        memcpy(to, node->cache + offset, n);
    *ret_len = n;
    return OK;
}

static void node_resize(struct node *node, size_t size)
{
    if (size > node->size) {
        node->cache = must(realloc(node->cache, size));
        memset(node->cache + node->size, 0, size - node->size);
    }
    node->size = size;
}

static err disk_write(void *ctx, int file, struct iovec *iov, size_t count, uint64_t offset)
{
    struct node *node = node_of(ctx, file);
    call_begin(ctx);
    for (size_t i = 0; i < count; i++) {
        if (offset + iov[i].iov_len > node->size)
            node_resize(node, (size_t)offset + iov[i].iov_len);
        memcpy(node->cache + offset, iov[i].iov_base, iov[i].iov_len);
        offset += iov[i].iov_len;
    }
    return OK;
}

static err disk_sync(void *ctx, int file)
{
    struct node *node = node_of(ctx, file);
    call_begin(ctx);
    node->durable = must(realloc(node->durable, node->size + 1));
    if (node->size)
        memcpy(node->durable, node->cache, node->size);
    node->durable_size = node->size;
    return OK;
}

static err disk_sync_dir(void *ctx, int dir)
{
    struct memory_disk *self = ctx;
    call_begin(self);
    self->durable_ops = self->op_count;
    return OK;
}

static err disk_rename(void *ctx, int from_dir, const char *from, int to_dir, const char *to)
{
    struct memory_disk *self = ctx;
    struct name_row *row = row_find(self, dir_of(self, from_dir), from);
    if (!row)
        return ERR_NOT_FOUND;
    unsigned node = row->node;
    call_begin(self);
    struct name_op *op = op_add(self, dir_of(self, to_dir), to, node);
    op->has_from = true;
    op->from_dir = dir_of(self, from_dir);
    name_copy(op->from, from);
    op_apply(self, op);
    return OK;
}

static err disk_unlink(void *ctx, int dir, const char *name)
{
    struct memory_disk *self = ctx;
    if (!row_find(self, dir_of(self, dir), name))
        return ERR_NOT_FOUND;
    call_begin(self);
    struct name_op *op = op_add(self, dir_of(self, dir), name, 0);
    op->is_removal = true;
    op_apply(self, op);
    return OK;
}

static err disk_mkdir(void *ctx, int dir, const char *name, unsigned mode)
{
    struct memory_disk *self = ctx;
    unsigned in = dir_of(self, dir);
    if (row_find(self, in, name))
        return ERR_EXISTS;
    call_begin(self);
    op_apply(self, op_add(self, in, name, node_make(self, true)));
    return OK;
}

static int name_compare(const void *a, const void *b)
{
    return strcmp(((const struct io_name *)a)->text, ((const struct io_name *)b)->text);
}

static err disk_list(void *ctx, int dir, struct io_names *ret_names)
{
    struct memory_disk *self = ctx;
    unsigned in = dir_of(self, dir);
    struct io_names names = {.names = must(calloc(NODES_MAX, sizeof(struct io_name))),
                             .text = must(calloc(NODES_MAX, NAME_MAX_))};
    for (unsigned i = 0; i < self->row_count; i++) {
        if (self->rows[i].dir != in)
            continue;
        char *text = names.text + names.count * NAME_MAX_;
        name_copy(text, self->rows[i].name);
        names.names[names.count++].text = text;
    }
    qsort(names.names, names.count, sizeof(names.names[0]), name_compare);
    *ret_names = names;
    return OK;
}

static err disk_allocate(void *ctx, int file, unsigned flags, uint64_t offset, uint64_t len)
{
    struct node *node = node_of(ctx, file);
    CHECK(flags == IO_ALLOCATE_GROW);
    call_begin(ctx);
    if (offset + len > node->size)
        node_resize(node, (size_t)(offset + len));
    return OK;
}

static err disk_truncate(void *ctx, int file, uint64_t size_bytes)
{
    call_begin(ctx);
    node_resize(node_of(ctx, file), (size_t)size_bytes);
    return OK;
}

static err disk_stat(void *ctx, int file, struct io_stat *ret_stat)
{
    const struct node *node = node_of(ctx, file);
    *ret_stat = (struct io_stat){node->size, node->size, node->is_directory};
    return OK;
}

/* A copy: enough for readers of what does not change any more. */
static err disk_map(void *ctx, int file, unsigned flags, uint64_t offset, size_t len,
                    void **ret_address)
{
    void *address = must(calloc(1, len));
    size_t got;
    CHECK(flags == IO_MAP_READ);
    TRY(disk_read(ctx, file, address, len, offset, &got));
    *ret_address = address;
    return OK;
}

static void disk_unmap(void *ctx, void *address, size_t len)
{
    free(address);
}

static err disk_lock(void *ctx, int file)
{
    struct node *node = node_of(ctx, file);
    if (node->locked_by >= 0 && node->locked_by != file)
        return ERR_LOCKED;
    node->locked_by = file;
    return OK;
}

static err disk_range(void *ctx, int file, unsigned flags, uint64_t offset, uint64_t len)
{
    return OK;
}

static err disk_free_room(void *ctx, int file, uint64_t *ret_bytes)
{
    *ret_bytes = UINT32_MAX;
    return OK;
}

struct io_fs memory_disk_fs(struct memory_disk *self)
{
    return (struct io_fs){.ctx = self,
                          .open = disk_open,
                          .close = disk_close,
                          .read = disk_read,
                          .read_device = disk_read,
                          .write = disk_write,
                          .sync_data = disk_sync,
                          .sync = disk_sync,
                          .sync_dir = disk_sync_dir,
                          .rename = disk_rename,
                          .unlink = disk_unlink,
                          .rmdir = disk_unlink,
                          .mkdir = disk_mkdir,
                          .list = disk_list,
                          .allocate = disk_allocate,
                          .truncate = disk_truncate,
                          .stat = disk_stat,
                          .map = disk_map,
                          .unmap = disk_unmap,
                          .lock = disk_lock,
                          .range = disk_range,
                          .free_room = disk_free_room};
}

struct memory_disk *memory_disk_new(void)
{
    struct memory_disk *self = must(calloc(1, sizeof(*self)));
    self->nodes[ROOT] = (struct node){.used = true, .is_directory = true, .locked_by = -1};
    return self;
}

void memory_disk_free(struct memory_disk *self)
{
    if (!self)
        return;
    for (unsigned i = 0; i < NODES_MAX; i++) {
        free(self->nodes[i].cache);
        free(self->nodes[i].durable);
    }
    free(self);
}

void memory_disk_mkdir(struct memory_disk *self, const char *name)
{
    op_apply(self, op_add(self, ROOT, name, node_make(self, true)));
    self->durable_ops = self->op_count;
}

uint64_t memory_disk_calls(const struct memory_disk *self)
{
    return self->calls;
}

void memory_disk_cut_at(struct memory_disk *self, uint64_t calls, uint64_t seed,
                        void (*on_cut)(void *ctx, struct memory_disk *left), void *ctx)
{
    self->cut_armed = true;
    self->cut_at = self->calls + calls;
    self->seed = seed;
    self->on_cut = on_cut;
    self->cut_ctx = ctx;
}
