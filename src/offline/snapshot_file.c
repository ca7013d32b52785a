#include "offline/snapshot_file.h"

#include "base/crc.h"
#include "base/map.h"
#include "io/file.h"
#include "state/snapshot_load.h"

#include <openssl/evp.h>

/* A store is pages of at least this; so a digest shows in the size. */
#define SIZE_STEP 512

static err map_file(struct snapshot_file *self, const char *path)
{
    int file;
    struct io_stat stat;
    TRY(io_open(&io_fs_real, IO_CWD, path, IO_READ, 0, &file));
    err e = io_stat(&io_fs_real, file, &stat);
    if (err_ok(e) && stat.is_directory)
        e = ERR_IO;
    if (err_ok(e) && stat.size_bytes == 0)
        e = ERR_CORRUPT;
    if (err_ok(e))
        e = io_map(&io_fs_real, file, IO_MAP_READ, 0, stat.size_bytes, &self->map);
    io_close(&io_fs_real, file);
    TRY(e);
    self->map_bytes = stat.size_bytes;
    return OK;
}

err snapshot_file_glance(struct snapshot_file *self, const char *path, struct arena *arena,
                         const char **ret_reason)
{
    *self = (struct snapshot_file){0};
    err e = map_file(self, path);
    if (e.code && !err_is(e, ERR_CORRUPT)) {
        *ret_reason = arena_printf(arena, "open %s: %s", path,
                                   err_is(e, ERR_NOT_FOUND) ? "no such file or directory"
                                   : err_is(e, ERR_ACCESS)  ? "permission denied"
                                                            : err_text(e));
        return e;
    }
    self->has_digest = self->map_bytes % SIZE_STEP == SNAPSHOT_DIGEST_BYTES;
    self->bytes = self->map_bytes - (self->has_digest ? SNAPSHOT_DIGEST_BYTES : 0);
    if (err_ok(e))
        e = bolt_file_open(&self->bolt, bytes_of(self->map, self->bytes), NULL);
    if (e.code) {
        *ret_reason = "invalid database";
        snapshot_file_close(self);
        return ERR_CORRUPT;
    }
    return OK;
}

err snapshot_file_open(struct snapshot_file *self, const char *path, struct arena *arena,
                       const char **ret_reason)
{
    struct bolt_fault fault = {0};
    TRY(snapshot_file_glance(self, path, arena, ret_reason));
    err e = bolt_file_check(&self->bolt, &fault);
    if (e.code) {
        *ret_reason = arena_printf(arena, "snapshot file integrity check failed: page %llu: %s",
                                   (unsigned long long)fault.page, fault.what);
        snapshot_file_close(self);
        return ERR_CORRUPT;
    }
    return OK;
}

void snapshot_file_close(struct snapshot_file *self)
{
    if (self->map)
        io_unmap(&io_fs_real, self->map, self->map_bytes);
    self->map = NULL;
}

/* As Go prints 32 bytes. */
static const char *digest_text(const uint8_t *digest, struct arena *arena)
{
    const char *text = "[";
    for (unsigned i = 0; i < SNAPSHOT_DIGEST_BYTES; i++)
        text = arena_printf(arena, "%s%s%u", text, i ? " " : "", digest[i]);
    return arena_printf(arena, "%s]", text);
}

err snapshot_file_verify(const struct snapshot_file *self, struct arena *arena,
                         const char **ret_reason)
{
    uint8_t digest[SNAPSHOT_DIGEST_BYTES];
    const uint8_t *want = (const uint8_t *)self->map + self->bytes;
    if (!self->has_digest) {
        *ret_reason = "snapshot missing hash but --skip-hash-check=false";
        return ERR_MISMATCH;
    }
    if (!EVP_Digest(self->map, self->bytes, digest, NULL, EVP_sha256(), NULL))
        return ERR_IO;
    if (memcmp(digest, want, sizeof(digest)) != 0) {
        *ret_reason = arena_printf(arena, "expected sha256 %s, got %s", digest_text(want, arena),
                                   digest_text(digest, arena));
        return ERR_MISMATCH;
    }
    return OK;
}

/* ── Changes ────────────────────────────────────────────────────────────────────────────────── */

/* Walks the bucket key. */
struct changes {
    struct bolt_cursor at;
    struct bytes key, value; /* as stored */
    int64_t main;
    bool tombstone;
    uint64_t user_key; /* hash of the key that changed */
};

static err changes_begin(struct changes *self, const struct snapshot_file *file,
                         const char **ret_reason)
{
    err e = bolt_cursor_open(&self->at, &file->bolt, BYTES_LIT("key"), NULL);
    if (e.code)
        *ret_reason = "no bucket key: not a store of etcd";
    return e.code ? ERR_CORRUPT : OK;
}

static err changes_next(struct changes *self, bool *ret_found, const char **ret_reason)
{
    struct mvcc_kv kv;
    *ret_reason = "the bucket key holds what is no change of a key";
    TRY(bolt_cursor_next(&self->at, &self->key, &self->value, ret_found, NULL));
    if (!*ret_found)
        return OK;
    self->tombstone = self->key.len == 18 && self->key.data[17] == 't';
    if ((self->key.len != 17 && !self->tombstone) || bytes_get_be64(self->key.data) > INT64_MAX)
        return ERR_CORRUPT;
    self->main = (int64_t)bytes_get_be64(self->key.data);
    TRY(mvcc_kv_decode(self->value, &kv));
    self->user_key = bolt_fnv(kv.key);
    return OK;
}

/* ── Status ─────────────────────────────────────────────────────────────────────────────────── */

static err hash_buckets(const struct snapshot_file *self, uint32_t *ret_hash)
{
    struct bolt_cursor buckets, at;
    struct bytes name, root, key, value;
    bool found;
    uint32_t hash = 0;
    TRY(bolt_cursor_open_buckets(&buckets, &self->bolt, NULL));
    while (true) {
        TRY(bolt_cursor_next(&buckets, &name, &root, &found, NULL));
        if (!found)
            break;
        hash = crc32c(hash, name);
        TRY(bolt_cursor_open_value(&at, &self->bolt, root, NULL));
        while (true) {
            TRY(bolt_cursor_next(&at, &key, &value, &found, NULL));
            if (!found)
                break;
            hash = crc32c(crc32c(hash, key), value);
        }
    }
    *ret_hash = hash;
    return OK;
}

static err count_keys(const struct snapshot_file *self, struct map *live,
                      struct snapshot_status *status, const char **ret_reason)
{
    struct changes changes;
    bool found;
    TRY(changes_begin(&changes, self, ret_reason));
    while (true) {
        TRY(changes_next(&changes, &found, ret_reason));
        if (!found)
            return OK;
        status->revision = changes.main;
        bool was = map_get(live, changes.user_key) != NULL;
        if (changes.tombstone && was) {
            map_remove(live, changes.user_key);
            status->keys--;
        } else if (!changes.tombstone && !was) {
            map_put(live, changes.user_key, live);
            status->keys++;
        }
    }
}

err snapshot_file_status(const struct snapshot_file *self, struct snapshot_status *ret_status,
                         const char **ret_reason)
{
    struct snapshot_status status = {.bytes = bolt_file_bytes(&self->bolt)};
    struct snapshot_facts facts;
    struct map live;
    *ret_reason = "invalid database";
    TRY(hash_buckets(self, &status.hash));
    TRY(snapshot_facts_read(&self->bolt, &facts, NULL));
    status.version = facts.version;
    map_init(&live);
    err e = count_keys(self, &live, &status, ret_reason);
    map_done(&live);
    TRY(e);
    *ret_status = status;
    return OK;
}

err snapshot_file_revision(const struct snapshot_file *self, int64_t *ret_revision)
{
    struct bytes key, value;
    bool found;
    TRY(bolt_bucket_last(&self->bolt, BYTES_LIT("key"), &key, &value, &found, NULL));
    if (found && key.len < 8)
        return ERR_CORRUPT;
    *ret_revision = found ? (int64_t)bytes_get_be64(key.data) : 0;
    return OK;
}

/* ── HashKV ─────────────────────────────────────────────────────────────────────────────────── */

/* What is known of a key's changes: the numbers, from 1, of its newest up to the compacted revision
 * and up to the wanted one. */
struct newest {
    uint64_t at_c, at_r;
    bool live;
    bool died_at_r; /* then it is not kept, also where a later change of that revision brought it
                     * back */
};

struct hashing {
    int64_t revision, compact_revision;
    struct map keys; /* user key's hash -> its place in newest, from 1 */
    struct buf newest;
    uint64_t live;
};

static struct newest *newest_of(struct hashing *self, uint64_t user_key)
{
    uintptr_t at = (uintptr_t)map_get(&self->keys, user_key);
    if (!at) {
        struct newest none = {0};
        if (!err_ok(buf_append(&self->newest, bytes_of(&none, sizeof(none)))))
            return NULL;
        at = self->newest.len / sizeof(none);
        map_put(&self->keys, user_key, (void *)at);
    }
    return (struct newest *)(void *)self->newest.data + (at - 1);
}

static err hashing_scan(struct hashing *self, const struct snapshot_file *file,
                        const char **ret_reason)
{
    struct changes changes;
    bool found;
    TRY(changes_begin(&changes, file, ret_reason));
    for (uint64_t number = 1;; number++) {
        TRY(changes_next(&changes, &found, ret_reason));
        if (!found || changes.main > self->revision)
            return OK;
        struct newest *newest = newest_of(self, changes.user_key);
        if (!newest)
            return ERR_LIMIT;
        if (changes.main <= self->compact_revision)
            newest->at_c = number;
        newest->at_r = number;
        newest->died_at_r |= changes.tombstone && changes.main == self->revision;
        bool live = !changes.tombstone && !newest->died_at_r;
        self->live += live && !newest->live;
        self->live -= !live && newest->live;
        newest->live = live;
    }
}

/* mvcc/hash.h has the rule. */
static bool hashing_counts(struct hashing *self, const struct changes *change, uint64_t number)
{
    if (change->main > self->compact_revision)
        return true;
    const struct newest *newest = newest_of(self, change->user_key);
    return newest && !change->tombstone && newest->at_c == number &&
           (self->live == 0 || newest->at_r == number);
}

static err hashing_fold(struct hashing *self, const struct snapshot_file *file, uint32_t *ret_hash,
                        const char **ret_reason)
{
    struct changes changes;
    bool found;
    uint32_t hash = crc32c(0, BYTES_LIT("key"));
    TRY(changes_begin(&changes, file, ret_reason));
    for (uint64_t number = 1;; number++) {
        TRY(changes_next(&changes, &found, ret_reason));
        if (!found || changes.main > self->revision)
            break;
        if (hashing_counts(self, &changes, number))
            hash = crc32c(crc32c(hash, changes.key), changes.value);
    }
    *ret_hash = hash;
    return OK;
}

/* The revision that a member comes to with this store. */
static err current_revision(const struct snapshot_file *self, const struct snapshot_facts *facts,
                            int64_t *ret_revision, const char **ret_reason)
{
    struct changes changes;
    int64_t revision = 1;
    bool found = true;
    TRY(changes_begin(&changes, self, ret_reason));
    while (found) {
        TRY(changes_next(&changes, &found, ret_reason));
        if (found && changes.main > revision)
            revision = changes.main;
    }
    if (facts->scheduled > revision)
        revision = facts->scheduled;
    if (facts->finished > revision)
        revision = facts->finished;
    *ret_revision = revision;
    return OK;
}

err snapshot_file_hashkv(const struct snapshot_file *self, int64_t revision,
                         struct snapshot_hashkv *ret_hash, const char **ret_reason)
{
    struct snapshot_facts facts;
    int64_t current;
    uint32_t hash;
    *ret_reason = "invalid database";
    TRY(snapshot_facts_read(&self->bolt, &facts, NULL));
    TRY(current_revision(self, &facts, &current, ret_reason));
    struct hashing hashing = {
        .revision = revision ? revision : current,
        .compact_revision = facts.scheduled > facts.finished ? facts.scheduled : facts.finished};
    err e = hashing.revision > current                    ? ERR_FUTURE_REV
            : hashing.revision < hashing.compact_revision ? ERR_COMPACTED
                                                          : OK;
    if (e.code) {
        *ret_reason = err_is(e, ERR_COMPACTED) ? "mvcc: required revision has been compacted"
                                               : "mvcc: required revision is a future revision";
        return e;
    }
    map_init(&hashing.keys);
    buf_init(&hashing.newest, 0);
    e = hashing_scan(&hashing, self, ret_reason);
    if (err_ok(e))
        e = hashing_fold(&hashing, self, &hash, ret_reason);
    map_done(&hashing.keys);
    buf_done(&hashing.newest);
    TRY(e);
    *ret_hash = (struct snapshot_hashkv){hash, hashing.revision, hashing.compact_revision};
    return OK;
}
