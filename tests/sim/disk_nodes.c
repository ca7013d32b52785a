#include "disk_priv.h"

#ifdef __SANITIZE_ADDRESS__
#define POOL_MAX 0u /* who reads what was unmapped is to be caught */
#else
#define POOL_MAX 256u
#endif
#define POOL_BYTES_MAX ((size_t)1 << 20)

void *disk_must(void *memory)
{
    CHECK(memory && memory != MAP_FAILED);
    return memory;
}

/* Room of former files, zeroed again: new pages of the system cost more than files hold. */
static uint8_t *pool[POOL_MAX + 1];
static unsigned pool_count;

static void *zero_pages(void)
{
    if (pool_count)
        return pool[--pool_count];
    return disk_must(mmap(NULL, FILE_BYTES_MAX, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
}

/* Nothing but zeros lies behind `used`. */
static void pages_release(uint8_t *pages, size_t used)
{
    if (POOL_MAX == pool_count || used > POOL_BYTES_MAX) {
        munmap(pages, FILE_BYTES_MAX);
        return;
    }
    memset(pages, 0, used);
    pool[pool_count++] = pages;
}

/* ---- nodes ---------------------------------------------------------------------------------- */

void disk_bytes_make(struct inode *node)
{
    node->bytes = zero_pages();
    node->device = zero_pages();
    node->shares = disk_must(malloc(sizeof(*node->shares)));
    *node->shares = 1;
}

static void bytes_drop(struct inode *node)
{
    if (--*node->shares > 0)
        return;
    pages_release(node->bytes, node->high);
    pages_release(node->device, node->high);
    free(node->shares);
}

void disk_node_release(struct inode *node)
{
    if (node->bytes)
        bytes_drop(node);
    free(node->state);
    free(node->order);
    free(node->directory);
    *node = (struct inode){.locked_by = -1};
}

static void mark(bool *reached, const struct row *rows, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        reached[rows[i].node] = true;
}

/* Nodes without a name, a handle, a mapping, or a way back to a name, go. */
void disk_collect(struct disk *self)
{
    bool reached[NODES_MAX] = {[ROOT] = true};
    for (unsigned i = 0; i < NODES_MAX; i++) {
        const struct directory *dir = self->nodes[i].directory;
        if (!dir)
            continue;
        mark(reached, dir->rows, dir->row_count);
        mark(reached, dir->synced, dir->synced_count);
        for (unsigned c = 0; c < dir->change_count; c++)
            if (dir->changes[c].node >= 0)
                reached[dir->changes[c].node] = true;
    }
    for (unsigned i = 0; i < NODES_MAX; i++) {
        struct inode *node = &self->nodes[i];
        if (node->used && !reached[i] && !node->maps && !node->handles)
            disk_node_release(node);
    }
}

static int node_find_free(struct disk *self)
{
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 1; i < NODES_MAX; i++)
            if (!self->nodes[i].used)
                return (int)i;
        disk_collect(self);
    }
    CHECK(false);
}

int disk_node_make(struct disk *self, bool is_directory)
{
    int at = node_find_free(self);
    struct inode *node = &self->nodes[at];
    *node = (struct inode){.used = true, .is_directory = is_directory, .locked_by = -1};
    if (is_directory) {
        node->directory = disk_must(calloc(1, sizeof(struct directory)));
        return at;
    }
    disk_bytes_make(node);
    return at;
}

static void sectors_reserve(struct inode *node, size_t sectors)
{
    if (sectors <= node->sector_cap)
        return;
    size_t cap = node->sector_cap ? node->sector_cap : 32;
    while (cap < sectors)
        cap *= 2;
    node->state = disk_must(realloc(node->state, cap));
    node->order = disk_must(realloc(node->order, cap * sizeof(uint32_t)));
    memset(node->state + node->sector_cap, SECTOR_CLEAN, cap - node->sector_cap);
    node->sector_cap = cap;
}

void disk_touch(struct disk *self, struct inode *node, size_t offset, size_t len)
{
    if (!len)
        return;
    self->order++;
    sectors_reserve(node, (offset + len - 1) / DISK_SECTOR_BYTES + 1);
    for (size_t s = offset / DISK_SECTOR_BYTES; s <= (offset + len - 1) / DISK_SECTOR_BYTES; s++) {
        node->state[s] = SECTOR_DIRTY;
        node->order[s] = self->order;
    }
    if (offset + len > node->high)
        node->high = offset + len;
}

size_t disk_sectors_of(const struct inode *node)
{
    return (node->high + DISK_SECTOR_BYTES - 1) / DISK_SECTOR_BYTES;
}

void disk_sector_to_device(struct inode *node, size_t s)
{
    size_t at = s * DISK_SECTOR_BYTES;
    memcpy(node->device + at, node->bytes + at, DISK_SECTOR_BYTES);
    node->state[s] = SECTOR_CLEAN;
}

void disk_sector_from_device(struct inode *node, size_t s)
{
    size_t at = s * DISK_SECTOR_BYTES;
    memcpy(node->bytes + at, node->device + at, DISK_SECTOR_BYTES);
    node->state[s] = SECTOR_CLEAN;
}

/* ---- names ---------------------------------------------------------------------------------- */

struct row *disk_row_find(struct row *rows, unsigned count, const char *name)
{
    for (unsigned i = 0; i < count; i++)
        if (strcmp(rows[i].name, name) == 0)
            return &rows[i];
    return NULL;
}

static void rows_remove(struct row *rows, unsigned *count, const char *name)
{
    struct row *row = disk_row_find(rows, *count, name);
    if (row)
        *row = rows[--*count];
}

void disk_name_copy(char to[NAME_BYTES], const char *from)
{
    CHECK(strlen(from) < NAME_BYTES);
    (void)snprintf(to, NAME_BYTES, "%s", from);
}

static void change_apply(struct row *rows, unsigned *count, const struct change *change)
{
    rows_remove(rows, count, change->name);
    if (change->from[0])
        rows_remove(rows, count, change->from);
    if (change->node < 0)
        return;
    CHECK(*count < NAMES_MAX);
    rows[*count].node = change->node;
    disk_name_copy(rows[*count].name, change->name);
    ++*count;
}

void disk_directory_sync(struct directory *dir, unsigned changes)
{
    for (unsigned i = 0; i < changes; i++)
        change_apply(dir->synced, &dir->synced_count, &dir->changes[i]);
    dir->change_count = 0;
}

void disk_change_add(struct disk *self, int dir, const char *name, const char *from, int node)
{
    struct directory *d = self->nodes[dir].directory;
    if (d->change_count == CHANGES_MAX) /* the journal is written now and then */
        disk_directory_sync(d, CHANGES_MAX);
    struct change *change = &d->changes[d->change_count++];
    *change = (struct change){.node = node};
    disk_name_copy(change->name, name);
    if (from)
        disk_name_copy(change->from, from);
    change_apply(d->rows, &d->row_count, change);
}

int disk_dir_of(struct disk *self, int dir)
{
    return dir == IO_CWD ? ROOT : self->handles[dir].node;
}

/* The directory and last name of a path; false where a directory on the way is missing. */
bool disk_walk(struct disk *self, int dir, const char *path, int *ret_dir, char name[NAME_BYTES])
{
    int at = disk_dir_of(self, dir);
    while (*path == '/')
        path++;
    for (const char *slash; (slash = strchr(path, '/')); path = slash + 1) {
        char part[NAME_BYTES];
        CHECK((size_t)(slash - path) < NAME_BYTES);
        (void)snprintf(part, sizeof(part), "%.*s", (int)(slash - path), path);
        struct directory *d = self->nodes[at].directory;
        struct row *row = d ? disk_row_find(d->rows, d->row_count, part) : NULL;
        if (!row)
            return false;
        at = row->node;
    }
    if (!self->nodes[at].is_directory)
        return false;
    *ret_dir = at;
    disk_name_copy(name, path);
    return true;
}
