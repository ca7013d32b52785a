/* What a simulated disk is made of: inodes, their sectors, names, and changes of names that no sync
 * has made durable yet. For disk*.c alone. */
#pragma once

#include "disk.h"

#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define FILE_BYTES_MAX ((size_t)32 << 20)
#define NODES_MAX      8192u
#define HANDLES_MAX    4096u
#define NAME_BYTES     96u
#define NAMES_MAX      4096u
#define CHANGES_MAX    512u
#define ROOT           0
enum { SECTOR_CLEAN, SECTOR_DIRTY, SECTOR_LOST };

/* name -> node; node -1: gone. from: the name that a rename takes away. */
struct change {
    int node;
    char name[NAME_BYTES], from[NAME_BYTES];
};

struct row {
    int node;
    char name[NAME_BYTES];
};

struct directory {
    struct row rows[NAMES_MAX];
    struct row synced[NAMES_MAX];
    struct change changes[CHANGES_MAX]; /* since the last sync */
    unsigned row_count, synced_count, change_count;
};

struct inode {
    bool used, is_directory;
    int locked_by;
    unsigned maps, handles;
    uint8_t *bytes, *device;
    unsigned *shares; /* how many nodes have these two: a dead disk's and its heir's */
    uint8_t *state;   /* of each sector, */
    uint32_t *order;  /* of its last write; as far as any was ever written */
    size_t sector_cap;
    size_t size, device_size, room;
    size_t high; /* nothing but zeros was ever behind it */
    bool size_dirty;
    unsigned writes; /* since the last sync */
    struct directory *directory;
};

struct handle {
    bool used, dsync;
    int node;
};

struct disk {
    struct io_fs fs;
    struct disk_hooks hooks;
    struct prng prng;
    struct inode nodes[NODES_MAX];
    struct handle handles[HANDLES_MAX];
    struct disk *heir; /* of a dead one */
    uint64_t room;
    uint32_t order;
    bool dead;
    bool has_fate; /* for the next end */
    struct disk_fate fate;
    struct disk_toll toll;
};

/* ---- disk_nodes.c ---- */

void *disk_must(void *memory);
void disk_bytes_make(struct inode *node);
void disk_node_release(struct inode *node);
void disk_collect(struct disk *self);
int disk_node_make(struct disk *self, bool is_directory);
void disk_touch(struct disk *self, struct inode *node, size_t offset, size_t len);
size_t disk_sectors_of(const struct inode *node);
void disk_sector_to_device(struct inode *node, size_t s);
void disk_sector_from_device(struct inode *node, size_t s);
struct row *disk_row_find(struct row *rows, unsigned count, const char *name);
void disk_name_copy(char to[NAME_BYTES], const char *from);
void disk_directory_sync(struct directory *dir, unsigned changes);
void disk_change_add(struct disk *self, int dir, const char *name, const char *from, int node);
int disk_dir_of(struct disk *self, int dir);
bool disk_walk(struct disk *self, int dir, const char *path, int *ret_dir, char name[NAME_BYTES]);
