#include "state/snapshot_load.h"

#include "base/bug.h"
#include "base/check.h"

#define REVISION_BYTES 17 /* main, '_', sub; a tombstone adds 't' */

static err refuse(struct bolt_fault *fault, const char *what)
{
    if (fault)
        *fault = (struct bolt_fault){0, what};
    return ERR_CORRUPT;
}

/* ── Facts ──────────────────────────────────────────────────────────────────────────────────── */

static err fact_number(struct bytes value, uint64_t *ret_number, struct bolt_fault *fault)
{
    if (value.len != 8)
        return refuse(fault, "an index or term of another length than 8");
    *ret_number = bytes_get_be64(value.data);
    return OK;
}

static err fact_revision(struct bytes value, int64_t *ret_revision, struct bolt_fault *fault)
{
    if (value.len != REVISION_BYTES || bytes_get_be64(value.data) > INT64_MAX)
        return refuse(fault, "a compact revision of an unknown form");
    *ret_revision = (int64_t)bytes_get_be64(value.data);
    return OK;
}

static err fact_read(struct snapshot_facts *facts, struct bytes key, struct bytes value,
                     struct bolt_fault *fault)
{
    if (bytes_equal(key, BYTES_LIT("consistent_index")))
        return fact_number(value, &facts->index, fault);
    if (bytes_equal(key, BYTES_LIT("term")))
        return fact_number(value, &facts->term, fault);
    if (bytes_equal(key, BYTES_LIT("scheduledCompactRev")))
        return fact_revision(value, &facts->scheduled, fault);
    if (bytes_equal(key, BYTES_LIT("finishedCompactRev")))
        return fact_revision(value, &facts->finished, fault);
    if (bytes_equal(key, BYTES_LIT("confState")))
        facts->conf_state = value;
    else if (bytes_equal(key, BYTES_LIT("storageVersion")))
        facts->version = value;
    return OK;
}

err snapshot_facts_read(const struct bolt_file *file, struct snapshot_facts *ret_facts,
                        struct bolt_fault *fault)
{
    struct snapshot_facts facts = {.scheduled = -1, .finished = -1};
    struct bolt_cursor at;
    err e = bolt_cursor_open(&at, file, BYTES_LIT("meta"), fault);
    if (err_is(e, ERR_NOT_FOUND))
        return refuse(fault, "no bucket meta: not a store of etcd");
    TRY(e);
    while (true) {
        struct bytes key, value;
        bool found;
        TRY(bolt_cursor_next(&at, &key, &value, &found, fault));
        if (!found)
            break;
        TRY(fact_read(&facts, key, value, fault));
    }
    *ret_facts = facts;
    return OK;
}

/* ── Entries ────────────────────────────────────────────────────────────────────────────────── */

/* The keys last: a compaction's tombstones are then never the first change of all, below which no
 * pin can be. */
static const enum mvcc_bucket buckets[] = {
    MVCC_BUCKET_META,  MVCC_BUCKET_CLUSTER,         MVCC_BUCKET_MEMBERS,
    MVCC_BUCKET_ALARM, MVCC_BUCKET_MEMBERS_REMOVED, MVCC_BUCKET_AUTH,
    MVCC_BUCKET_LEASE, MVCC_BUCKET_AUTH_ROLES,      MVCC_BUCKET_AUTH_USERS,
    MVCC_BUCKET_KEY,
};
#define BUCKET_COUNT (sizeof(buckets) / sizeof(buckets[0]))
_Static_assert(BUCKET_COUNT == MVCC_BUCKET_COUNT, "all of them");

void snapshot_load_begin(struct snapshot_load *self, const struct bolt_file *file)
{
    self->file = file;
    self->without_members = false;
    self->bucket = 0;
    self->in_bucket = false;
}

static err load_change(struct mvcc_store *store, struct bytes key, struct bytes value,
                       struct bolt_fault *fault)
{
    bool tombstone = key.len == REVISION_BYTES + 1 && key.data[REVISION_BYTES] == 't';
    if ((key.len != REVISION_BYTES && !tombstone) || key.data[8] != '_' ||
        bytes_get_be64(key.data) > INT64_MAX)
        return refuse(fault, "a key of an unknown form in the bucket key");
    struct mvcc_import change = {.main = (int64_t)bytes_get_be64(key.data),
                                 .sub = bytes_get_be64(key.data + 9),
                                 .tombstone = tombstone,
                                 .blob = value};
    err e = mvcc_store_import(store, &change);
    return e.code ? refuse(fault, "a change that no store can hold") : OK;
}

/* Facts that a store of ours keeps in its frames. */
static bool is_frame_fact(struct bytes key)
{
    return bytes_equal(key, BYTES_LIT("consistent_index")) || bytes_equal(key, BYTES_LIT("term")) ||
           bytes_equal(key, BYTES_LIT("confState"));
}

static err load_entry(enum mvcc_bucket bucket, struct mvcc_store *store, struct bytes key,
                      struct bytes value, struct bolt_fault *fault)
{
    if (bucket == MVCC_BUCKET_KEY)
        return load_change(store, key, value, fault);
    if (bucket == MVCC_BUCKET_META && is_frame_fact(key))
        return OK;
    err e = mvcc_store_import_bucket(store, bucket, key, value);
    return e.code ? refuse(fault, "an entry that no store can hold") : OK;
}

/* *ret_found false: the file has no such bucket, or it is to stay empty. */
static err load_open(struct snapshot_load *self, bool *ret_found, struct bolt_fault *fault)
{
    enum mvcc_bucket bucket = buckets[self->bucket];
    *ret_found = false;
    if (self->without_members &&
        (bucket == MVCC_BUCKET_MEMBERS || bucket == MVCC_BUCKET_MEMBERS_REMOVED))
        return OK;
    if ((BUG(install_loses_leases) && bucket == MVCC_BUCKET_LEASE) ||
        (BUG(install_loses_alarms) && bucket == MVCC_BUCKET_ALARM) ||
        (BUG(install_loses_removed) && bucket == MVCC_BUCKET_MEMBERS_REMOVED))
        return OK;
    err e = bolt_cursor_open(&self->at, self->file, bytes_str(mvcc_bucket_name(bucket)), fault);
    if (err_is(e, ERR_NOT_FOUND))
        return bucket == MVCC_BUCKET_KEY ? refuse(fault, "no bucket key: not a store of etcd") : OK;
    *ret_found = err_ok(e);
    return e;
}

err snapshot_load_run(struct snapshot_load *self, struct mvcc_store *store, unsigned *budget,
                      bool *ret_done, struct bolt_fault *fault)
{
    while (self->bucket<BUCKET_COUNT && * budget> 0) {
        struct bytes key, value;
        bool found = true;
        --*budget;
        if (!self->in_bucket)
            TRY(load_open(self, &found, fault));
        self->in_bucket = found;
        if (found)
            TRY(bolt_cursor_next(&self->at, &key, &value, &found, fault));
        if (found) {
            TRY(load_entry(buckets[self->bucket], store, key, value, fault));
            continue;
        }
        self->in_bucket = false;
        self->bucket++;
    }
    *ret_done = self->bucket == BUCKET_COUNT;
    return OK;
}
