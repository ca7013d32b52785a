#include "state/snapshot.h"

#include "base/check.h"
#include "bolt/writer.h"
#include "mvcc/dump.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

#define REVISION_KEY_BYTES 17 /* main, '_', sub; a tombstone adds 't' */
#define VERSION_TEXT_MAX   32
#define FACT_BYTES_MAX     4096

/* By name, as they lie in the file. */
static const enum mvcc_bucket buckets[] = {
    MVCC_BUCKET_ALARM,           MVCC_BUCKET_AUTH, MVCC_BUCKET_AUTH_ROLES, MVCC_BUCKET_AUTH_USERS,
    MVCC_BUCKET_CLUSTER,         MVCC_BUCKET_KEY,  MVCC_BUCKET_LEASE,      MVCC_BUCKET_MEMBERS,
    MVCC_BUCKET_MEMBERS_REMOVED, MVCC_BUCKET_META,
};
#define BUCKET_COUNT (sizeof(buckets) / sizeof(buckets[0]))

enum snapshot_pass { SNAPSHOT_SCAN, SNAPSHOT_MEASURE, SNAPSHOT_READY, SNAPSHOT_READ, SNAPSHOT_END };

/* An entry of a small bucket, before its key and value in `small`. */
struct small_entry {
    uint32_t key_bytes;
    uint32_t value_bytes;
    uint32_t bucket;
};

struct snapshot_source {
    struct mvcc_pins *pins;
    struct mvcc_pin pin;
    uint64_t index;
    uint64_t term;
    char version[VERSION_TEXT_MAX];
    struct mvcc_dump dump;
    struct buf small; /* entries in the order of `buckets` and of their keys */
    enum snapshot_pass pass;
    struct bolt_extent extent;
    struct bolt_writer writer;
    unsigned bucket;   /* of `buckets`: the one in progress */
    bool in_bucket;    /* it has been begun */
    size_t small_next; /* offset in small */
    int64_t main;      /* of the change measured last, */
    uint64_t nth;      /* and its number among those of this revision */
    EVP_MD_CTX *digest;
    uint8_t sum[SNAPSHOT_DIGEST_BYTES];
};

/* ── The moment ─────────────────────────────────────────────────────────────────────────────── */

/* Room for the key, which the caller writes at once. */
static uint8_t *small_begin(struct buf *small, enum mvcc_bucket bucket, size_t key_bytes,
                            struct bytes value)
{
    struct small_entry entry = {(uint32_t)key_bytes, (uint32_t)value.len, (uint32_t)bucket};
    err e = buf_reserve(small, sizeof(entry) + key_bytes + value.len);
    CHECK(err_ok(e));
    uint8_t *at = small->data + small->len;
    memcpy(at, &entry, sizeof(entry));
    if (value.len)
        memcpy(at + sizeof(entry) + key_bytes, value.data, value.len);
    small->len += sizeof(entry) + key_bytes + value.len;
    return at + sizeof(entry);
}

static void small_add(struct buf *small, enum mvcc_bucket bucket, struct bytes key,
                      struct bytes value)
{
    memcpy(small_begin(small, bucket, key.len, value), key.data, key.len);
}

static void copy_bucket(struct snapshot_source *self, const struct mvcc_view *view,
                        enum mvcc_bucket bucket)
{
    struct mvcc_bucket_cursor at;
    mvcc_bucket_cursor_seek(&at, view, bucket, BYTES_NONE);
    for (; mvcc_bucket_cursor_valid(&at); mvcc_bucket_cursor_next(&at))
        mvcc_bucket_cursor_key(&at,
                               small_begin(&self->small, bucket, mvcc_bucket_cursor_key_bytes(&at),
                                           mvcc_bucket_cursor_value(&at)));
}

/* ConfState in JSON: the members say it all, as nobody here works with joint configurations. */
static size_t put_ids(char *text, size_t at, const struct membership *members, bool learners)
{
    bool any = false;
    for (size_t i = 0; i < members->count; i++) {
        if (members->members[i].learner != learners)
            continue;
        at += (size_t)snprintf(text + at, FACT_BYTES_MAX - at, "%s%" PRIu64,
                               any        ? ","
                               : learners ? "\"learners\":["
                                          : "\"voters\":[",
                               members->members[i].id);
        any = true;
    }
    if (any)
        at += (size_t)snprintf(text + at, FACT_BYTES_MAX - at, "],");
    return at;
}

static struct bytes conf_state_json(const struct membership *members, char text[FACT_BYTES_MAX])
{
    _Static_assert(MEMBERS_MAX * 21 + 64 < FACT_BYTES_MAX, "ids have at most 20 digits");
    size_t at = (size_t)snprintf(text, FACT_BYTES_MAX, "{");
    at = put_ids(text, at, members, false);
    at = put_ids(text, at, members, true);
    at += (size_t)snprintf(text + at, FACT_BYTES_MAX - at, "\"auto_leave\":false}");
    CHECK(at < FACT_BYTES_MAX);
    return bytes_of(text, at);
}

struct revision_text {
    uint8_t bytes[REVISION_KEY_BYTES + 1];
};

static struct revision_text revision_text(int64_t main, uint64_t sub)
{
    struct revision_text text;
    bytes_put_be64(text.bytes, (uint64_t)main);
    text.bytes[8] = '_';
    bytes_put_be64(text.bytes + 9, sub);
    text.bytes[REVISION_KEY_BYTES] = 't';
    return text;
}

/* What the bucket meta says of this moment, in order of the names. */
static void put_meta(struct snapshot_source *self, const struct snapshot_moment *moment)
{
    char conf[FACT_BYTES_MAX];
    uint8_t index[8], term[8];
    struct bytes version;
    bytes_put_be64(index, self->index);
    bytes_put_be64(term, self->term);
    struct buf *small = &self->small;
    small_add(small, MVCC_BUCKET_META, BYTES_LIT("confState"),
              conf_state_json(moment->members, conf));
    small_add(small, MVCC_BUCKET_META, BYTES_LIT("consistent_index"), bytes_of(index, 8));
    if (moment->view->compact_revision >= 0) {
        struct revision_text revision = revision_text(moment->view->compact_revision, 0);
        struct bytes value = bytes_of(revision.bytes, REVISION_KEY_BYTES);
        small_add(small, MVCC_BUCKET_META, BYTES_LIT("finishedCompactRev"), value);
        small_add(small, MVCC_BUCKET_META, BYTES_LIT("scheduledCompactRev"), value);
    }
    if (mvcc_view_bucket_find(moment->view, MVCC_BUCKET_META, BYTES_LIT("storageVersion"),
                              &version) &&
        version.len < sizeof(self->version)) {
        small_add(small, MVCC_BUCKET_META, BYTES_LIT("storageVersion"), version);
        memcpy(self->version, version.data, version.len);
    }
    small_add(small, MVCC_BUCKET_META, BYTES_LIT("term"), bytes_of(term, 8));
}

err snapshot_source_new(const struct snapshot_moment *moment, struct mvcc_pins *pins,
                        uint64_t now_ms, struct snapshot_source **ret_source)
{
    struct snapshot_source *self = calloc(1, sizeof(*self));
    CHECK(self);
    mvcc_dump_init(&self->dump, moment->view);
    err e = mvcc_pin_take(pins, self->dump.pin_seq, now_ms, &self->pin);
    if (e.code) {
        mvcc_dump_done(&self->dump);
        free(self);
        return e;
    }
    self->pins = pins;
    self->index = moment->index;
    self->term = moment->term;
    for (unsigned i = 0; i < BUCKET_COUNT; i++) {
        if (buckets[i] == MVCC_BUCKET_META)
            put_meta(self, moment);
        else if (buckets[i] != MVCC_BUCKET_KEY)
            copy_bucket(self, moment->view, buckets[i]);
    }
    bolt_writer_init(&self->writer, NULL);
    self->digest = EVP_MD_CTX_new();
    CHECK(self->digest && EVP_DigestInit_ex(self->digest, EVP_sha256(), NULL));
    *ret_source = self;
    return OK;
}

void snapshot_source_free(struct snapshot_source *self)
{
    if (!self)
        return;
    mvcc_pin_drop(self->pins, &self->pin);
    mvcc_dump_done(&self->dump);
    bolt_writer_done(&self->writer);
    buf_done(&self->small);
    EVP_MD_CTX_free(self->digest);
    free(self);
}

/* ── A pass ─────────────────────────────────────────────────────────────────────────────────── */

static void pass_begin(struct snapshot_source *self, enum snapshot_pass pass)
{
    self->pass = pass;
    self->bucket = 0;
    self->in_bucket = false;
    self->small_next = 0;
    self->main = -1;
    mvcc_dump_rewind(&self->dump);
}

/* True: the bucket has another entry, which was put. */
static err put_small(struct snapshot_source *self, bool *ret_more)
{
    struct small_entry entry;
    *ret_more = false;
    if (self->small_next == self->small.len)
        return OK;
    const uint8_t *at = self->small.data + self->small_next;
    memcpy(&entry, at, sizeof(entry));
    if (entry.bucket != (uint32_t)buckets[self->bucket])
        return OK;
    struct bytes key = bytes_of(at + sizeof(entry), entry.key_bytes);
    struct bytes value = bytes_of(at + sizeof(entry) + entry.key_bytes, entry.value_bytes);
    self->small_next += sizeof(entry) + entry.key_bytes + entry.value_bytes;
    *ret_more = true;
    return bolt_writer_put(&self->writer, key, value);
}

/* While measuring only lengths count, and the row does not say the sub-revision: the change's
 * number within its revision stands for it. */
static err put_change(struct snapshot_source *self, const struct mvcc_view *view,
                      const struct revlog_row *row)
{
    struct mvcc_record record = {.main = row->main, .blob = bytes_of(NULL, row->blob_bytes)};
    uint64_t sub;
    if (self->pass == SNAPSHOT_READ) {
        TRY(mvcc_view_read(view, row->seq, &record, &self->dump.fault));
        sub = record.sub;
    } else {
        self->nth = row->main == self->main ? self->nth + 1 : 0;
        self->main = row->main;
        sub = self->nth;
    }
    struct revision_text key = revision_text(record.main, sub);
    size_t key_bytes = REVISION_KEY_BYTES + (row->kind == MVCC_TOMBSTONE);
    return bolt_writer_put(&self->writer, bytes_of(key.bytes, key_bytes), record.blob);
}

/* One entry or one bucket's end; *ret_end: the file's. */
static err pass_step(struct snapshot_source *self, const struct mvcc_view *view, unsigned *budget,
                     bool *ret_end)
{
    bool more;
    if (self->bucket == BUCKET_COUNT) {
        *ret_end = true;
        return bolt_writer_end(&self->writer, &self->extent);
    }
    if (!self->in_bucket) {
        self->in_bucket = true;
        return bolt_writer_bucket_begin(&self->writer,
                                        bytes_str(mvcc_bucket_name(buckets[self->bucket])));
    }
    if (buckets[self->bucket] == MVCC_BUCKET_KEY) {
        struct revlog_row row;
        enum mvcc_dump_step step;
        TRY(mvcc_dump_next(&self->dump, budget, &row, &step));
        if (step == MVCC_DUMP_ROW)
            return put_change(self, view, &row);
        more = step == MVCC_DUMP_MORE;
    } else {
        --*budget;
        TRY(put_small(self, &more));
    }
    if (more)
        return OK;
    self->in_bucket = false;
    self->bucket++;
    return bolt_writer_bucket_end(&self->writer);
}

err snapshot_source_measure(struct snapshot_source *self, const struct mvcc_view *view,
                            uint64_t now_ms, unsigned *budget, bool *ret_done)
{
    CHECK(self->pass <= SNAPSHOT_MEASURE);
    TRY(mvcc_pin_touch(&self->pin, now_ms));
    *ret_done = false;
    if (self->pass == SNAPSHOT_SCAN) {
        bool scanned;
        TRY(mvcc_dump_scan(&self->dump, view, budget, &scanned));
        if (!scanned)
            return OK;
        pass_begin(self, SNAPSHOT_MEASURE);
    }
    mvcc_dump_enter(&self->dump, view);
    while (*budget > 0 && !*ret_done)
        TRY(pass_step(self, view, budget, ret_done));
    if (*ret_done) {
        bolt_writer_done(&self->writer);
        self->pass = SNAPSHOT_READY;
    }
    return OK;
}

err snapshot_source_read(struct snapshot_source *self, const struct mvcc_view *view,
                         uint64_t now_ms, unsigned *budget, size_t enough, struct buf *out,
                         bool *ret_end)
{
    CHECK(self->pass == SNAPSHOT_READY || self->pass == SNAPSHOT_READ);
    TRY(mvcc_pin_touch(&self->pin, now_ms));
    size_t before = out->len;
    bool end = false;
    if (self->pass == SNAPSHOT_READY) {
        struct bolt_extent extent = self->extent;
        bolt_writer_init(&self->writer, out);
        pass_begin(self, SNAPSHOT_READ);
        TRY(bolt_writer_begin(&self->writer, &extent));
    }
    self->writer.out = out;
    mvcc_dump_enter(&self->dump, view);
    while (*budget > 0 && out->len < enough && !end)
        TRY(pass_step(self, view, budget, &end));
    CHECK(EVP_DigestUpdate(self->digest, out->data + before, out->len - before));
    if (end) {
        CHECK(EVP_DigestFinal_ex(self->digest, self->sum, NULL));
        self->pass = SNAPSHOT_END;
    }
    *ret_end = end;
    return OK;
}

/* ── What it says ───────────────────────────────────────────────────────────────────────────── */

uint64_t snapshot_source_bytes(const struct snapshot_source *self)
{
    CHECK(self->pass >= SNAPSHOT_READY);
    return self->extent.pages * BOLT_PAGE_BYTES;
}

void snapshot_source_digest(const struct snapshot_source *self,
                            uint8_t ret_digest[SNAPSHOT_DIGEST_BYTES])
{
    CHECK(self->pass == SNAPSHOT_END);
    memcpy(ret_digest, self->sum, sizeof(self->sum));
}

uint64_t snapshot_source_index(const struct snapshot_source *self)
{
    return self->index;
}

uint64_t snapshot_source_term(const struct snapshot_source *self)
{
    return self->term;
}

const char *snapshot_source_version(const struct snapshot_source *self)
{
    return self->version;
}

const struct revlog_fault *snapshot_source_fault(const struct snapshot_source *self)
{
    return &self->dump.fault;
}
