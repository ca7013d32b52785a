#include "disk_priv.h"

#include "base/crc.h"

#define ALIKE_TRIES 32

/* ---- the end of a life ------------------------------------------------------------------------
 */

static bool sector_survives(enum disk_fate_kind fate, uint32_t order, uint32_t edge,
                            struct prng *prng)
{
    switch (fate) {
    case DISK_FATE_NONE:
        return false;
    case DISK_FATE_ALL:
        return true;
    case DISK_FATE_FIRST:
        return order <= edge;
    case DISK_FATE_LAST:
        return order > edge;
    case DISK_FATE_ANY:
    case DISK_FATE_COUNT:
        break;
    }
    return prng_below(prng, 2);
}

static void node_power_off(struct disk *self, struct inode *node)
{
    enum disk_fate_kind fate = self->has_fate
                                   ? self->fate.kind
                                   : (enum disk_fate_kind)prng_below(&self->prng, DISK_FATE_COUNT);
    uint32_t lo = UINT32_MAX, hi = 0;
    for (size_t s = 0; s < disk_sectors_of(node); s++) {
        if (node->state[s] != SECTOR_DIRTY)
            continue;
        lo = node->order[s] < lo ? node->order[s] : lo;
        hi = node->order[s] > hi ? node->order[s] : hi;
    }
    uint32_t edge = hi >= lo ? lo + (uint32_t)prng_below(&self->prng, hi - lo + 1) : 0;
    if (self->has_fate && hi >= lo)
        edge = lo + (uint32_t)((uint64_t)(hi - lo) * self->fate.edge_permille / 1000);
    for (size_t s = 0; s < disk_sectors_of(node); s++) {
        if (node->state[s] == SECTOR_CLEAN)
            continue;
        bool kept = node->state[s] == SECTOR_DIRTY &&
                    sector_survives(fate, node->order[s], edge, &self->prng);
        self->toll.kept += kept;
        self->toll.dropped += !kept;
        self->toll.reordered += kept && (fate == DISK_FATE_ANY || fate == DISK_FATE_LAST);
        if (kept)
            disk_sector_to_device(node, s);
        else
            disk_sector_from_device(node, s);
    }
    if (node->size_dirty && fate != DISK_FATE_ALL &&
        (fate == DISK_FATE_NONE || prng_below(&self->prng, 2)))
        node->size = node->device_size;
    if (node->size < FILE_BYTES_MAX) { /* what lies behind the end is not there */
        size_t end = node->size < node->high ? node->size : node->high;
        memset(node->bytes + end, 0, node->high - end);
        memset(node->device + end, 0, node->high - end);
    }
    node->device_size = node->size;
    node->size_dirty = false;
}

static void node_kill(struct disk *self, struct inode *node)
{
    for (size_t s = 0; s < disk_sectors_of(node); s++)
        if (node->state[s] == SECTOR_LOST && prng_below(&self->prng, 2)) {
            disk_sector_from_device(node, s);
            self->toll.evicted++;
        }
}

static void directory_power_off(struct disk *self, struct directory *dir)
{
    unsigned kept = self->has_fate ? dir->change_count * self->fate.names_permille / 1000
                                   : (unsigned)prng_below(&self->prng, dir->change_count + 1);
    self->toll.names_lost += dir->change_count - kept;
    disk_directory_sync(dir, kept);
    memcpy(dir->rows, dir->synced, dir->synced_count * sizeof(dir->rows[0]));
    dir->row_count = dir->synced_count;
}

static struct directory *directory_copy(const struct directory *from)
{
    struct directory *to = disk_must(malloc(sizeof(*to)));
    to->row_count = from->row_count;
    to->synced_count = from->synced_count;
    to->change_count = from->change_count;
    memcpy(to->rows, from->rows, from->row_count * sizeof(to->rows[0]));
    memcpy(to->synced, from->synced, from->synced_count * sizeof(to->synced[0]));
    memcpy(to->changes, from->changes, from->change_count * sizeof(to->changes[0]));
    return to;
}

static void bytes_copy(const struct inode *from, struct inode *to)
{
    disk_bytes_make(to);
    memcpy(to->bytes, from->bytes, from->high);
    memcpy(to->device, from->device, from->high);
}

static bool is_clean(const struct inode *node)
{
    for (size_t s = 0; s < disk_sectors_of(node); s++)
        if (node->state[s] != SECTOR_CLEAN)
            return false;
    return !node->size_dirty;
}

/* shares: what is as it is on the device they both have, until one writes to it (take_apart). */
static void node_copy(const struct inode *from, struct inode *to, bool shares)
{
    *to = *from;
    to->locked_by = -1;
    to->maps = to->handles = 0;
    if (from->is_directory) {
        to->directory = directory_copy(from->directory);
        return;
    }
    if (shares && is_clean(from))
        ++*to->shares;
    else
        bytes_copy(from, to);
    if (!from->sector_cap)
        return;
    to->state = disk_must(malloc(from->sector_cap));
    to->order = disk_must(malloc(from->sector_cap * sizeof(uint32_t)));
    memcpy(to->state, from->state, from->sector_cap);
    memcpy(to->order, from->order, from->sector_cap * sizeof(uint32_t));
}

/* Before a dead one writes. It has mappings, the heir has none yet: so that gets others. */
static void take_apart(struct disk *self, struct inode *node)
{
    if (!self->dead || !self->heir || *node->shares == 1)
        return;
    struct inode *to = &self->heir->nodes[node - self->nodes];
    CHECK(to->bytes == node->bytes);
    --*node->shares;
    bytes_copy(node, to);
}

static void end_life(struct disk *self, bool power_off)
{
    for (unsigned i = 0; i < NODES_MAX; i++) {
        struct inode *node = &self->nodes[i];
        if (node->used && node->is_directory && power_off)
            directory_power_off(self, node->directory);
    }
    disk_collect(self);
    for (unsigned i = 0; i < NODES_MAX; i++) {
        struct inode *node = &self->nodes[i];
        if (!node->used || node->is_directory)
            continue;
        if (power_off)
            node_power_off(self, node);
        else
            node_kill(self, node);
    }
    self->has_fate = false;
}

static struct disk *copy(const struct disk *self, const struct disk_hooks *hooks, uint64_t seed,
                         bool shares)
{
    struct disk *left = disk_new(hooks, seed);
    disk_node_release(&left->nodes[ROOT]);
    left->room = self->room;
    left->order = self->order;
    left->has_fate = self->has_fate;
    left->fate = self->fate;
    for (unsigned i = 0; i < NODES_MAX; i++)
        if (self->nodes[i].used)
            node_copy(&self->nodes[i], &left->nodes[i], shares);
    return left;
}

struct disk *disk_copy_after(const struct disk *self, const struct disk_hooks *hooks, uint64_t seed,
                             bool power_off)
{
    struct disk *left = copy(self, hooks, seed, false);
    end_life(left, power_off);
    return left;
}

struct disk *disk_end_life(struct disk *self, bool power_off)
{
    struct disk *left = copy(self, &self->hooks, prng_next(&self->prng), true);
    end_life(left, power_off);
    self->heir = left;
    self->dead = true;
    return left;
}

void disk_end_life_here(struct disk *self, bool power_off)
{
    prng_init(&self->prng, prng_next(&self->prng));
    self->toll = (struct disk_toll){0};
    memset(self->handles, 0, sizeof(self->handles));
    for (unsigned i = 0; i < NODES_MAX; i++) {
        self->nodes[i].maps = self->nodes[i].handles = 0;
        self->nodes[i].locked_by = -1;
    }
    end_life(self, power_off);
}

void disk_die(struct disk *self)
{
    self->dead = true;
}

/* ---- calls ------------------------------------------------------------------------------------
 */

static bool begin(struct disk *self, const char *call, const char *name, bool is_sync)
{
    if (self->dead)
        return true;
    if (!self->hooks.before)
        return true;
    enum disk_fault fault = self->hooks.before(self->hooks.ctx, call, name, is_sync);
    if (fault == DISK_POWER_OFF || fault == DISK_KILL) {
        self->hooks.on_end(self->hooks.ctx, fault);
        CHECK(false);
    }
    return fault == DISK_FINE;
}

/* Whether so many bytes more may be taken. */
static bool has_room(struct disk *self, uint64_t bytes)
{
    return self->dead || !self->room || !bytes || disk_used(self) + bytes <= self->room;
}

static struct inode *node_of(struct disk *self, int file)
{
    CHECK(file >= 0 && file < (int)HANDLES_MAX && self->handles[file].used);
    return &self->nodes[self->handles[file].node];
}

static void resize(struct disk *self, struct inode *node, size_t size)
{
    CHECK(size <= FILE_BYTES_MAX);
    take_apart(self, node);
    if (size < node->size && node->high > size) {
        size_t len = node->high - size;
        memset(node->bytes + size, 0, len);
        disk_touch(self, node, size, len);
    }
    node->size = size;
    node->size_dirty = true;
    if (node->room > size)
        node->room = size;
}

static err fs_open(void *ctx, int dir, const char *path, unsigned flags, unsigned mode,
                   int *ret_file)
{
    struct disk *self = ctx;
    int in, node = ROOT;
    char name[NAME_BYTES];
    (void)mode;
    if (!disk_walk(self, dir, path, &in, name))
        return ERR_NOT_FOUND;
    struct directory *d = self->nodes[in].directory;
    struct row *row = disk_row_find(d->rows, d->row_count, name);
    if (name[0] && !row && !(flags & IO_CREATE))
        return ERR_NOT_FOUND;
    if (row && (flags & IO_EXCLUSIVE))
        return ERR_EXISTS;
    if (row) {
        node = row->node;
    } else if (name[0]) {
        if (!begin(self, "create", name, false))
            return ERR_IO;
        if (!has_room(self, 4096))
            return ERR_DISK_FULL;
        node = disk_node_make(self, false);
        disk_change_add(self, in, name, NULL, node);
    }
    if ((flags & IO_TRUNCATE) && self->nodes[node].size) {
        if (!begin(self, "truncate", name, false))
            return ERR_IO;
        resize(self, &self->nodes[node], 0);
    }
    for (int i = 0; i < (int)HANDLES_MAX; i++) {
        if (self->handles[i].used)
            continue;
        self->handles[i] = (struct handle){true, (flags & IO_DSYNC) != 0, node};
        self->nodes[node].handles++;
        *ret_file = i;
        return OK;
    }
    CHECK(false); /* descriptors leak */
}

static void fs_close(void *ctx, int file)
{
    struct disk *self = ctx;
    struct inode *node = node_of(self, file);
    if (node->locked_by == file)
        node->locked_by = -1;
    node->handles--;
    self->handles[file].used = false;
}

static err read_from(const struct inode *node, const uint8_t *bytes, void *to, size_t len,
                     uint64_t offset, size_t *ret_len)
{
    size_t n = offset < node->size ? node->size - (size_t)offset : 0;
    n = n < len ? n : len;
    if (n)
        memcpy(to, bytes + offset, n);
    *ret_len = n;
    return OK;
}

static err fs_read(void *ctx, int file, void *to, size_t len, uint64_t offset, size_t *ret_len)
{
    struct inode *node = node_of(ctx, file);
    return read_from(node, node->bytes, to, len, offset, ret_len);
}

/* Dirty pages are written before the device is read; lost ones are clean. */
/* As the real table's: later readers see what this one saw. */
static err fs_read_device(void *ctx, int file, void *to, size_t len, uint64_t offset,
                          size_t *ret_len)
{
    struct disk *self = ctx;
    struct inode *node = node_of(self, file);
    size_t end = offset + len < node->high ? (size_t)offset + len : node->high;
    for (size_t s = offset / DISK_SECTOR_BYTES; !self->dead && s * DISK_SECTOR_BYTES < end; s++)
        if (node->state[s] == SECTOR_LOST)
            disk_sector_from_device(node, s);
    return read_from(node, node->bytes, to, len, offset, ret_len);
}

static err sync_node(struct disk *self, struct inode *node)
{
    if (self->dead)
        return OK;
    for (size_t s = 0; s < disk_sectors_of(node); s++)
        if (node->state[s] == SECTOR_DIRTY)
            disk_sector_to_device(node, s);
    node->device_size = node->size;
    node->size_dirty = false;
    node->writes = 0;
    return OK;
}

/* The kernel gives up on them: clean in memory, and the device has some or none. */
static void sync_failed(struct disk *self, struct inode *node)
{
    for (size_t s = 0; s < disk_sectors_of(node); s++) {
        if (node->state[s] != SECTOR_DIRTY)
            continue;
        if (prng_below(&self->prng, 4) == 0)
            disk_sector_to_device(node, s);
        else
            node->state[s] = SECTOR_LOST;
    }
}

static err fs_write(void *ctx, int file, struct iovec *iov, size_t count, uint64_t offset)
{
    struct disk *self = ctx;
    struct inode *node = node_of(self, file);
    size_t sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += iov[i].iov_len;
    CHECK(offset + sum <= FILE_BYTES_MAX);
    if (!begin(self, "write", "", false))
        return ERR_IO;
    uint64_t end = offset + sum;
    if (end > node->room && !has_room(self, end - node->room))
        return ERR_DISK_FULL;
    if (end > node->room)
        node->room = end;
    take_apart(self, node);
    size_t at = offset;
    for (size_t i = 0; i < count; i++) {
        if (iov[i].iov_len)
            memcpy(node->bytes + at, iov[i].iov_base, iov[i].iov_len);
        at += iov[i].iov_len;
    }
    node->writes++;
    disk_touch(self, node, (size_t)offset, sum);
    if (end > node->size) {
        node->size = end;
        node->size_dirty = true;
    }
    return self->handles[file].dsync ? sync_node(self, node) : OK;
}

static err fs_sync(void *ctx, int file)
{
    struct disk *self = ctx;
    struct inode *node = node_of(self, file);
    if (!begin(self, node->writes > 1 ? "late_sync" : "sync", "", true)) {
        sync_failed(self, node);
        return ERR_IO;
    }
    return sync_node(self, node);
}

static err fs_sync_dir(void *ctx, int dir)
{
    struct disk *self = ctx;
    if (!begin(self, "sync_dir", "", true))
        return ERR_IO;
    struct directory *d = self->nodes[disk_dir_of(self, dir)].directory;
    CHECK(d);
    disk_directory_sync(d, d->change_count);
    return OK;
}

static err fs_rename(void *ctx, int from_dir, const char *from, int to_dir, const char *to)
{
    struct disk *self = ctx;
    int dir = disk_dir_of(self, from_dir);
    CHECK(dir == disk_dir_of(self, to_dir));
    struct directory *d = self->nodes[dir].directory;
    struct row *row = disk_row_find(d->rows, d->row_count, from);
    if (!row)
        return ERR_NOT_FOUND;
    int node = row->node;
    if (!begin(self, "rename", to, false))
        return ERR_IO;
    disk_change_add(self, dir, to, from, node);
    return OK;
}

static err fs_unlink(void *ctx, int dir, const char *path)
{
    struct disk *self = ctx;
    int in;
    char name[NAME_BYTES];
    if (!disk_walk(self, dir, path, &in, name))
        return ERR_NOT_FOUND;
    struct directory *d = self->nodes[in].directory;
    if (!disk_row_find(d->rows, d->row_count, name))
        return ERR_NOT_FOUND;
    if (!begin(self, "unlink", name, false))
        return ERR_IO;
    disk_change_add(self, in, name, NULL, -1);
    return OK;
}

static err fs_mkdir(void *ctx, int dir, const char *path, unsigned mode)
{
    struct disk *self = ctx;
    int in;
    char name[NAME_BYTES];
    (void)mode;
    if (!disk_walk(self, dir, path, &in, name))
        return ERR_NOT_FOUND;
    struct directory *d = self->nodes[in].directory;
    if (disk_row_find(d->rows, d->row_count, name))
        return ERR_EXISTS;
    if (!begin(self, "mkdir", name, false))
        return ERR_IO;
    disk_change_add(self, in, name, NULL, disk_node_make(self, true));
    return OK;
}

static int name_compare(const void *a, const void *b)
{
    return strcmp(((const struct io_name *)a)->text, ((const struct io_name *)b)->text);
}

static err fs_list(void *ctx, int dir, struct io_names *ret_names)
{
    struct disk *self = ctx;
    const struct directory *d = self->nodes[disk_dir_of(self, dir)].directory;
    CHECK(d);
    struct io_names names = {.names = disk_must(calloc(d->row_count + 1, sizeof(struct io_name))),
                             .text = disk_must(calloc(d->row_count + 1, NAME_BYTES))};
    for (; names.count < d->row_count; names.count++) {
        char *text = names.text + names.count * NAME_BYTES;
        disk_name_copy(text, d->rows[names.count].name);
        names.names[names.count].text = text;
    }
    qsort(names.names, names.count, sizeof(names.names[0]), name_compare);
    *ret_names = names;
    return OK;
}

static err fs_allocate(void *ctx, int file, unsigned flags, uint64_t offset, uint64_t len)
{
    struct disk *self = ctx;
    struct inode *node = node_of(self, file);
    CHECK(flags == IO_ALLOCATE_GROW && offset + len <= FILE_BYTES_MAX);
    if (!begin(self, "allocate", "", false))
        return ERR_IO;
    if (offset + len > node->room) {
        if (!has_room(self, offset + len - node->room))
            return ERR_DISK_FULL;
        node->room = (size_t)(offset + len);
    }
    if (offset + len > node->size)
        resize(self, node, (size_t)(offset + len));
    return OK;
}

static err fs_truncate(void *ctx, int file, uint64_t size_bytes)
{
    struct disk *self = ctx;
    if (!begin(self, "truncate", "", false))
        return ERR_IO;
    resize(self, node_of(self, file), (size_t)size_bytes);
    return OK;
}

static err fs_stat(void *ctx, int file, struct io_stat *ret_stat)
{
    const struct inode *node = node_of(ctx, file);
    *ret_stat = (struct io_stat){node->size, node->room, node->is_directory};
    return OK;
}

static err fs_map(void *ctx, int file, unsigned flags, uint64_t offset, size_t len,
                  void **ret_address)
{
    struct inode *node = node_of(ctx, file);
    CHECK(!(flags & IO_MAP_WRITE) && offset + len <= FILE_BYTES_MAX);
    node->maps++;
    *ret_address = node->bytes + offset;
    return OK;
}

static void fs_unmap(void *ctx, void *address, size_t len)
{
    struct disk *self = ctx;
    const uint8_t *at = address;
    (void)len;
    for (unsigned i = 0; i < NODES_MAX; i++) {
        struct inode *node = &self->nodes[i];
        if (!node->bytes || at < node->bytes || at >= node->bytes + FILE_BYTES_MAX)
            continue;
        CHECK(node->maps);
        node->maps--;
        return;
    }
    CHECK(false);
}

static err fs_lock(void *ctx, int file)
{
    struct inode *node = node_of(ctx, file);
    if (node->locked_by >= 0 && node->locked_by != file)
        return ERR_LOCKED;
    node->locked_by = file;
    return OK;
}

static err fs_range(void *ctx, int file, unsigned flags, uint64_t offset, uint64_t len)
{
    return OK;
}

static err fs_free_room(void *ctx, int file, uint64_t *ret_bytes)
{
    struct disk *self = ctx;
    uint64_t used = disk_used(self);
    *ret_bytes = self->room ? (self->room > used ? self->room - used : 0) : UINT64_MAX;
    return OK;
}

static err fs_rmdir(void *ctx, int dir, const char *name)
{
    return fs_unlink(ctx, dir, name);
}

/* ---- the disk ---------------------------------------------------------------------------------
 */

struct disk *disk_new(const struct disk_hooks *hooks, uint64_t seed)
{
    struct disk *self = disk_must(calloc(1, sizeof(*self)));
    self->hooks = *hooks;
    prng_init(&self->prng, seed);
    self->nodes[ROOT] = (struct inode){.used = true,
                                       .is_directory = true,
                                       .locked_by = -1,
                                       .directory = disk_must(calloc(1, sizeof(struct directory)))};
    self->fs = (struct io_fs){.ctx = self,
                              .open = fs_open,
                              .close = fs_close,
                              .read = fs_read,
                              .read_device = fs_read_device,
                              .write = fs_write,
                              .sync_data = fs_sync,
                              .sync = fs_sync,
                              .sync_dir = fs_sync_dir,
                              .rename = fs_rename,
                              .unlink = fs_unlink,
                              .rmdir = fs_rmdir,
                              .mkdir = fs_mkdir,
                              .list = fs_list,
                              .allocate = fs_allocate,
                              .truncate = fs_truncate,
                              .stat = fs_stat,
                              .map = fs_map,
                              .unmap = fs_unmap,
                              .lock = fs_lock,
                              .range = fs_range,
                              .free_room = fs_free_room};
    return self;
}

void disk_free(struct disk *self)
{
    if (!self)
        return;
    for (unsigned i = 0; i < NODES_MAX; i++)
        if (self->nodes[i].used)
            disk_node_release(&self->nodes[i]);
    free(self);
}

const struct io_fs *disk_fs(struct disk *self)
{
    return &self->fs;
}

void disk_set_fate(struct disk *self, const struct disk_fate *fate)
{
    self->has_fate = true;
    self->fate = *fate;
}

void disk_set_room(struct disk *self, uint64_t bytes)
{
    self->room = bytes;
}

uint64_t disk_used(struct disk *self)
{
    uint64_t sum = 0;
    disk_collect(self);
    for (unsigned i = 0; i < NODES_MAX; i++)
        sum += self->nodes[i].room;
    return sum;
}

struct disk_toll disk_toll(const struct disk *self)
{
    return self->toll;
}

/* ---- rot --------------------------------------------------------------------------------------
 */

static bool ends_in(const char *text, const char *suffix)
{
    size_t n = strlen(text), m = strlen(suffix);
    return n >= m && strcmp(text + n - m, suffix) == 0;
}

static struct inode *victim(struct disk *self, const char *suffix)
{
    struct inode *found = NULL;
    unsigned seen = 0;
    for (unsigned i = 0; i < NODES_MAX; i++) {
        const struct directory *dir = self->nodes[i].directory;
        for (unsigned r = 0; dir && r < dir->row_count; r++) {
            struct inode *node = &self->nodes[dir->rows[r].node];
            if (!ends_in(dir->rows[r].name, suffix) || !node->high || !node->size)
                continue;
            if (prng_below(&self->prng, ++seen) == 0)
                found = node;
        }
    }
    return found;
}

bool disk_flip_bit(struct disk *self, const char *suffix)
{
    struct inode *node = victim(self, suffix);
    if (!node)
        return false;
    size_t end = node->high < node->size ? node->high : node->size;
    size_t at = (size_t)prng_below(&self->prng, end);
    uint8_t bit = (uint8_t)(1u << prng_below(&self->prng, 8));
    node->bytes[at] ^= bit;
    node->device[at] = node->bytes[at];
    return true;
}

static unsigned sectors_differ(const uint8_t *a, const uint8_t *b)
{
    unsigned count = 0;
    for (size_t i = 0; i < DISK_SECTOR_BYTES; i++)
        count += a[i] != b[i];
    return count;
}

bool disk_misdirect(struct disk *self, const char *suffix)
{
    struct inode *node = victim(self, suffix);
    size_t end = !node ? 0 : node->high < node->size ? node->high : node->size;
    size_t sectors = end / DISK_SECTOR_BYTES;
    if (sectors < 2)
        return false;
    size_t from = (size_t)prng_below(&self->prng, sectors) * DISK_SECTOR_BYTES;
    size_t to = from;
    unsigned least = UINT32_MAX;
    for (uint64_t tries = prng_below(&self->prng, 2) ? 1 : ALIKE_TRIES; tries; tries--) {
        size_t at = (size_t)prng_below(&self->prng, sectors) * DISK_SECTOR_BYTES;
        unsigned differ = sectors_differ(node->bytes + from, node->bytes + at);
        if (differ == 0 || differ >= least)
            continue;
        least = differ;
        to = at;
    }
    if (to == from)
        return false;
    memcpy(node->bytes + to, node->bytes + from, DISK_SECTOR_BYTES);
    memcpy(node->device + to, node->bytes + from, DISK_SECTOR_BYTES);
    return true;
}

static uint64_t fold(uint64_t hash, const void *data, size_t len)
{
    return (hash ^ len ^ (uint64_t)crc32c(0, bytes_of(data, len)) << 20) * UINT64_C(0x100000001b3);
}

uint64_t disk_hash(const struct disk *self)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (unsigned i = 0; i < NODES_MAX; i++) {
        const struct directory *dir = self->nodes[i].directory;
        for (unsigned r = 0; dir && r < dir->row_count; r++) {
            const struct inode *node = &self->nodes[dir->rows[r].node];
            hash = fold(hash, dir->rows[r].name, strlen(dir->rows[r].name));
            if (!node->is_directory)
                hash = fold(hash, node->bytes, node->high < node->size ? node->high : node->size);
        }
    }
    return hash;
}
