#include "mvcc/tail.h"

#include "base/check.h"

#include <stdlib.h>

#define CHUNK_RECORDS    256
#define SLAB_BYTES       ((size_t)64 << 10)
#define SLAB_OWN_BYTES   (SLAB_BYTES / 4) /* a blob from here on gets a slab to itself */
#define DIR_CHUNKS_FIRST 64
#define TRIM_STEPS_MAX   65536 /* a call stays far below a millisecond; the next one goes on */
#define TRIM_STEPS_EACH  8     /* by each append, so that what trim left is made up for */

struct chunk {
    struct epoch_item retired;
    uint64_t number;       /* seq / CHUNK_RECORDS */
    uint64_t bytes_before; /* cost of all changes ever appended before the first in here */
    struct mvcc_record records[CHUNK_RECORDS];
};

/* Finds a chunk by number & mask. Replaced by one of twice the size when it is full. */
struct directory {
    struct epoch_item retired;
    uint64_t mask;
    _Atomic(struct chunk *) chunks[];
};

struct slab {
    struct epoch_item retired;
    struct slab *next;
    uint64_t last_seq; /* of the blobs in here */
    size_t used;
    size_t capacity;
    uint8_t data[];
};

struct tail {
    struct epoch *epoch;
    struct tail_limits limits;
    _Atomic(struct directory *) directory;
    _Atomic uint64_t first; /* found from here */
    _Atomic uint64_t last;  /* to here */
    uint64_t first_chunk;   /* number of the oldest that the directory holds */
    uint64_t end_chunk;     /* one behind the newest */
    struct slab *slabs;     /* oldest first */
    struct slab *newest_slab;
    uint8_t *reserved;
    uint64_t written;
    uint64_t total_bytes;   /* cost of all changes ever appended, */
    uint64_t first_bytes;   /* of those before first, */
    uint64_t written_bytes; /* of those up to written */
};

static void *allocate(size_t bytes)
{
    void *p = malloc(bytes);
    CHECK(p != NULL);
    return p;
}

static uint64_t cost_of(const struct mvcc_record *record)
{
    return sizeof(*record) + record->blob.len;
}

static void chunk_free(struct epoch_item *item)
{
    free((char *)item - offsetof(struct chunk, retired));
}

static void directory_free(struct epoch_item *item)
{
    free((char *)item - offsetof(struct directory, retired));
}

static void slab_free(struct epoch_item *item)
{
    free((char *)item - offsetof(struct slab, retired));
}

static struct directory *directory_new(uint64_t chunks)
{
    struct directory *self = allocate(sizeof(*self) + chunks * sizeof(self->chunks[0]));
    self->mask = chunks - 1;
    for (uint64_t i = 0; i < chunks; i++)
        atomic_init(&self->chunks[i], NULL);
    return self;
}

struct tail *tail_new(struct epoch *epoch, uint64_t last_seq, const struct tail_limits *limits)
{
    struct tail *self = allocate(sizeof(*self));
    *self = (struct tail){.epoch = epoch};
    if (limits)
        self->limits = *limits;
    if (!self->limits.keep_bytes)
        self->limits.keep_bytes = TAIL_KEEP_BYTES;
    if (!self->limits.max_bytes)
        self->limits.max_bytes = TAIL_MAX_BYTES;
    atomic_init(&self->directory, directory_new(DIR_CHUNKS_FIRST));
    atomic_init(&self->first, last_seq + 1);
    atomic_init(&self->last, last_seq);
    self->written = last_seq;
    self->first_chunk = self->end_chunk = (last_seq + 1) / CHUNK_RECORDS;
    return self;
}

void tail_free(struct tail *self)
{
    if (!self)
        return;
    struct directory *dir = atomic_load_explicit(&self->directory, memory_order_relaxed);
    for (uint64_t n = self->first_chunk; n < self->end_chunk; n++)
        free(atomic_load_explicit(&dir->chunks[n & dir->mask], memory_order_relaxed));
    free(dir);
    for (struct slab *slab = self->slabs, *next; slab; slab = next) {
        next = slab->next;
        free(slab);
    }
    free(self);
}

static struct chunk *chunk_at(const struct tail *self, uint64_t number)
{
    struct directory *dir = atomic_load_explicit(&self->directory, memory_order_acquire);
    struct chunk *chunk =
        atomic_load_explicit(&dir->chunks[number & dir->mask], memory_order_acquire);
    return chunk && chunk->number == number ? chunk : NULL;
}

static void directory_grow(struct tail *self, struct directory *old)
{
    struct directory *dir = directory_new((old->mask + 1) * 2);
    for (uint64_t n = self->first_chunk; n < self->end_chunk; n++) {
        struct chunk *chunk =
            atomic_load_explicit(&old->chunks[n & old->mask], memory_order_relaxed);
        atomic_init(&dir->chunks[n & dir->mask], chunk);
    }
    atomic_store_explicit(&self->directory, dir, memory_order_release);
    epoch_retire(self->epoch, &old->retired, directory_free);
}

static struct chunk *chunk_for_append(struct tail *self, uint64_t seq)
{
    uint64_t number = seq / CHUNK_RECORDS;
    if (number < self->end_chunk)
        return chunk_at(self, number);
    struct directory *dir = atomic_load_explicit(&self->directory, memory_order_relaxed);
    if (self->end_chunk - self->first_chunk > dir->mask) {
        directory_grow(self, dir);
        dir = atomic_load_explicit(&self->directory, memory_order_relaxed);
    }
    struct chunk *chunk = calloc(1, sizeof(*chunk));
    CHECK(chunk != NULL);
    chunk->number = number;
    chunk->bytes_before = self->total_bytes;
    atomic_store_explicit(&dir->chunks[number & dir->mask], chunk, memory_order_release);
    self->end_chunk = number + 1;
    return chunk;
}

uint8_t *tail_blob_reserve(struct tail *self, size_t bytes)
{
    struct slab *slab = self->newest_slab;
    if (!slab || slab->capacity - slab->used < bytes) {
        size_t capacity = bytes >= SLAB_OWN_BYTES ? bytes : SLAB_BYTES;
        slab = allocate(sizeof(*slab) + capacity);
        *slab = (struct slab){.capacity = capacity,
                              .last_seq = atomic_load_explicit(&self->last, memory_order_relaxed)};
        if (self->newest_slab)
            self->newest_slab->next = slab;
        else
            self->slabs = slab;
        self->newest_slab = slab;
    }
    self->reserved = slab->data + slab->used;
    return self->reserved;
}

/* Lets go of what lies before first as a whole. */
static void release_unreachable(struct tail *self)
{
    uint64_t first = atomic_load_explicit(&self->first, memory_order_relaxed);
    while (self->slabs != self->newest_slab && self->slabs->last_seq < first) {
        struct slab *slab = self->slabs;
        self->slabs = slab->next;
        epoch_retire(self->epoch, &slab->retired, slab_free);
    }
    struct directory *dir = atomic_load_explicit(&self->directory, memory_order_relaxed);
    while (self->first_chunk < self->end_chunk && self->first_chunk < first / CHUNK_RECORDS) {
        uint64_t at = self->first_chunk++ & dir->mask;
        struct chunk *chunk = atomic_load_explicit(&dir->chunks[at], memory_order_relaxed);
        atomic_store_explicit(&dir->chunks[at], NULL, memory_order_release);
        epoch_retire(self->epoch, &chunk->retired, chunk_free);
    }
}

static void drop_written(struct tail *self, unsigned steps)
{
    uint64_t first = atomic_load_explicit(&self->first, memory_order_relaxed);
    uint64_t before = first;
    while (steps-- && first <= self->written &&
           self->total_bytes - self->first_bytes > self->limits.keep_bytes) {
        const struct chunk *chunk = chunk_at(self, first / CHUNK_RECORDS);
        self->first_bytes += cost_of(&chunk->records[first % CHUNK_RECORDS]);
        first++;
    }
    if (first == before)
        return;
    /* Before anything is retired: who enters a guard from now on finds none of it. */
    atomic_store_explicit(&self->first, first, memory_order_release);
    release_unreachable(self);
}

const struct mvcc_record *tail_append(struct tail *self, const struct mvcc_record *record)
{
    uint64_t seq = record->seq;
    CHECK(seq == atomic_load_explicit(&self->last, memory_order_relaxed) + 1);
    CHECK(mvcc_record_is_valid(record) && record->kind != MVCC_FRAME);
    const uint8_t *blob = record->blob.data;
    if (!self->reserved || blob != self->reserved) {
        uint8_t *copy = tail_blob_reserve(self, record->blob.len);
        if (record->blob.len)
            memcpy(copy, blob, record->blob.len);
        blob = copy;
    }
    struct slab *slab = self->newest_slab;
    CHECK(slab->capacity - slab->used >= record->blob.len);
    slab->used += record->blob.len;
    slab->last_seq = seq;
    self->reserved = NULL;

    struct chunk *chunk = chunk_for_append(self, seq);
    struct mvcc_record *stored = &chunk->records[seq % CHUNK_RECORDS];
    *stored = *record;
    stored->blob.data = blob;
    stored->crc = mvcc_record_crc(stored);
    self->total_bytes += cost_of(stored);
    atomic_store_explicit(&self->last, seq, memory_order_release);
    drop_written(self, TRIM_STEPS_EACH);
    return stored;
}

const struct mvcc_record *tail_find(const struct tail *self, uint64_t seq)
{
    if (seq < atomic_load_explicit(&self->first, memory_order_acquire) ||
        seq > atomic_load_explicit(&self->last, memory_order_acquire))
        return NULL;
    /* NULL where the trim overtook this reader: the revision log has it by then. */
    const struct chunk *chunk = chunk_at(self, seq / CHUNK_RECORDS);
    return chunk ? &chunk->records[seq % CHUNK_RECORDS] : NULL;
}

uint64_t tail_first(const struct tail *self)
{
    return atomic_load_explicit(&self->first, memory_order_acquire);
}

uint64_t tail_last(const struct tail *self)
{
    return atomic_load_explicit(&self->last, memory_order_acquire);
}

/* Cost of all changes ever appended up to seq, which is still in a chunk or the last. */
static uint64_t bytes_up_to(const struct tail *self, uint64_t seq)
{
    if (seq == atomic_load_explicit(&self->last, memory_order_relaxed))
        return self->total_bytes;
    const struct chunk *chunk = chunk_at(self, seq / CHUNK_RECORDS);
    uint64_t sum = chunk->bytes_before;
    uint64_t begin = seq / CHUNK_RECORDS * CHUNK_RECORDS;
    /* In the chunk that the tail began in, slots before its first change are empty. */
    for (uint64_t s = begin ? begin : 1; s <= seq; s++)
        if (chunk->records[s % CHUNK_RECORDS].seq == s)
            sum += cost_of(&chunk->records[s % CHUNK_RECORDS]);
    return sum;
}

void tail_trim(struct tail *self, uint64_t written_seq)
{
    CHECK(written_seq <= atomic_load_explicit(&self->last, memory_order_relaxed));
    if (written_seq > self->written) {
        self->written_bytes = bytes_up_to(self, written_seq);
        self->written = written_seq;
    }
    drop_written(self, TRIM_STEPS_MAX);
}

size_t tail_bytes(const struct tail *self)
{
    return self->total_bytes - self->first_bytes;
}

size_t tail_unwritten_bytes(const struct tail *self)
{
    return self->total_bytes - self->written_bytes;
}

bool tail_is_full(const struct tail *self)
{
    return tail_unwritten_bytes(self) >= self->limits.max_bytes;
}
