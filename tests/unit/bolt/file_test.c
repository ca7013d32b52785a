/* What the writer makes the reader reads back; damaged files are refused or read soundly. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include "base/prng.h"
#include "bolt/reader.h"
#include "bolt/writer.h"

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#define assert_ok(e) assert_string_equal(err_name(e), err_name(OK))

/* One entry of a test's bucket: its bytes follow from its number. */
struct shape {
    unsigned buckets;
    unsigned entries;
    size_t key_bytes;   /* at least 8; the number big-endian, then filling */
    size_t value_bytes; /* at most; small ones vary, each 50th is five times as long */
};

static size_t value_bytes(const struct shape *shape, unsigned i)
{
    return i % 50 == 49 ? shape->value_bytes * 5 : shape->value_bytes * (i % 7) / 6;
}

static void entry_fill(const struct shape *shape, unsigned bucket, unsigned i, struct buf *key,
                       struct buf *value)
{
    buf_clear(key);
    buf_clear(value);
    assert_ok(buf_reserve(key, shape->key_bytes));
    memset(key->data, 'k', shape->key_bytes);
    bytes_put_be64(key->data, i);
    key->len = shape->key_bytes;
    size_t bytes = value_bytes(shape, i);
    assert_ok(buf_reserve(value, bytes + 1));
    memset(value->data, (int)(i * 31 + bucket), bytes);
    value->len = bytes;
}

static void file_pass(struct bolt_writer *writer, const struct shape *shape,
                      struct bolt_extent *ret_extent)
{
    AUTO(buf_done) struct buf key = {0}, value = {0};
    for (unsigned b = 0; b < shape->buckets; b++) {
        char name[24];
        (void)snprintf(name, sizeof(name), "bucket%02u", b);
        assert_ok(bolt_writer_bucket_begin(writer, bytes_str(name)));
        /* The last one has no entries, as most of etcd's. */
        for (unsigned i = 0; i < (b + 1 < shape->buckets ? shape->entries : 0); i++) {
            entry_fill(shape, b, i, &key, &value);
            assert_ok(bolt_writer_put(writer, buf_bytes(&key), buf_bytes(&value)));
        }
        assert_ok(bolt_writer_bucket_end(writer));
    }
    assert_ok(bolt_writer_end(writer, ret_extent));
}

static void file_make(const struct shape *shape, struct buf *ret_out)
{
    struct bolt_writer writer;
    struct bolt_extent extent, again;
    bolt_writer_init(&writer, NULL);
    file_pass(&writer, shape, &extent);
    bolt_writer_done(&writer);
    buf_init(ret_out, 0);
    bolt_writer_init(&writer, ret_out);
    assert_ok(bolt_writer_begin(&writer, &extent));
    file_pass(&writer, shape, &again);
    bolt_writer_done(&writer);
    assert_int_equal(extent.pages, again.pages);
    assert_int_equal(ret_out->len, extent.pages * BOLT_PAGE_BYTES);
}

static void file_read(const struct shape *shape, const struct bolt_file *file)
{
    AUTO(buf_done) struct buf key = {0}, value = {0};
    struct bolt_cursor buckets, at;
    struct bytes name, root, k, v;
    bool found;
    assert_ok(bolt_cursor_open_buckets(&buckets, file, NULL));
    for (unsigned b = 0; b < shape->buckets; b++) {
        assert_ok(bolt_cursor_next(&buckets, &name, &root, &found, NULL));
        assert_true(found && name.len == strlen("bucket00"));
        assert_ok(bolt_cursor_open_value(&at, file, root, NULL));
        for (unsigned i = 0; i < (b + 1 < shape->buckets ? shape->entries : 0); i++) {
            entry_fill(shape, b, i, &key, &value);
            assert_ok(bolt_cursor_next(&at, &k, &v, &found, NULL));
            assert_true(found && bytes_equal(k, buf_bytes(&key)) &&
                        bytes_equal(v, buf_bytes(&value)));
        }
        assert_ok(bolt_cursor_next(&at, &k, &v, &found, NULL));
        assert_false(found);
    }
    assert_ok(bolt_cursor_next(&buckets, &name, &root, &found, NULL));
    assert_false(found);
}

static void assert_refused(err e, struct bolt_fault fault, const char *what)
{
    assert_string_equal(err_name(e), "ERR_CORRUPT");
    assert_string_equal(fault.what, what);
}

/* No branch may have one child: bbolt stops the process when it changes such a tree. */
static void assert_branches_are_sound(const struct bolt_file *file)
{
    for (uint64_t id = 2; id < file->pages; id++) {
        const uint8_t *page = file->bytes.data + id * BOLT_PAGE_BYTES;
        assert_int_equal(bytes_get_le64(page), id);
        if (bolt_get_le16(page + 8) == BOLT_BRANCH)
            assert_true(bolt_get_le16(page + 10) >= 2);
        id += bytes_get_le32(page + 12);
    }
}

static void write_and_read(void **state)
{
    static const unsigned counts[] = {0,   1,   2,   3,    100,  121,  122,  123,   124,
                                      125, 126, 127, 2000, 3000, 9876, 9900, 15000, 40000};
    static const size_t keys[] = {17, 8, 700, 4090, 20000};
    for (size_t k = 0; k < sizeof(keys) / sizeof(keys[0]); k++) {
        for (size_t c = 0; c < sizeof(counts) / sizeof(counts[0]); c++) {
            if (keys[k] > 100 && counts[c] > 200)
                continue;
            struct shape shape = {3, counts[c], keys[k], c % 2 ? 300 : 2000};
            if (counts[c] > 5000)
                shape.value_bytes /= 10;
            struct buf out;
            struct bolt_file file;
            struct bolt_fault fault = {0};
            file_make(&shape, &out);
            assert_ok(bolt_file_open(&file, buf_bytes(&out), &fault));
            assert_ok(bolt_file_check(&file, &fault));
            assert_int_equal(bolt_file_bytes(&file), out.len);
            assert_branches_are_sound(&file);
            file_read(&shape, &file);
            buf_done(&out);
        }
    }
}

static void a_writer_holds_no_more_than_pages(void **state)
{
    struct bolt_writer writer;
    struct buf out = {0};
    uint8_t key[17] = {0};
    struct bolt_extent extent = {3, 2}, ignored;
    bolt_writer_init(&writer, &out);
    assert_ok(bolt_writer_begin(&writer, &extent));
    assert_ok(bolt_writer_bucket_begin(&writer, BYTES_LIT("key")));
    size_t held = 0;
    for (uint64_t i = 0; i < 1000000; i++) {
        bytes_put_be64(key, i);
        assert_ok(bolt_writer_put(&writer, bytes_of(key, sizeof(key)), BYTES_LIT("0123456789")));
        buf_clear(&out);
    }
    for (unsigned i = 0; i < writer.level_count; i++)
        held += writer.levels[i].keys.cap + writer.levels[i].items.cap;
    held += writer.leaf.data.cap + writer.leaf.items.cap + out.cap;
    assert_true(held < 64 * 1024);
    assert_ok(bolt_writer_bucket_end(&writer));
    assert_string_equal(err_name(bolt_writer_end(&writer, &ignored)), "ERR_MISMATCH");
    bolt_writer_done(&writer);
    buf_done(&out);
}

static void keys_that_do_not_ascend(void **state)
{
    struct bolt_writer writer;
    bolt_writer_init(&writer, NULL);
    assert_ok(bolt_writer_bucket_begin(&writer, BYTES_LIT("b")));
    assert_ok(bolt_writer_put(&writer, BYTES_LIT("k2"), BYTES_NONE));
    assert_string_equal(err_name(bolt_writer_put(&writer, BYTES_LIT("k1"), BYTES_NONE)),
                        "ERR_MISMATCH");
    assert_string_equal(err_name(bolt_writer_put(&writer, BYTES_NONE, BYTES_NONE)), "ERR_MISMATCH");
    static const uint8_t longest[BOLT_KEY_BYTES_MAX + 1] = {'z'};
    assert_string_equal(
        err_name(bolt_writer_put(&writer, bytes_of(longest, sizeof(longest)), BYTES_NONE)),
        "ERR_LIMIT");
    assert_ok(bolt_writer_bucket_end(&writer));
    assert_string_equal(err_name(bolt_writer_bucket_begin(&writer, BYTES_LIT("a"))),
                        "ERR_MISMATCH");
    bolt_writer_done(&writer);
}

/* ── Damage ─────────────────────────────────────────────────────────────────────────────────── */

struct damage {
    struct buf out;
    struct bolt_file file;
    struct bolt_fault fault;
};

static void damage_begin(struct damage *self, unsigned entries)
{
    struct shape shape = {2, entries, 17, 100};
    file_make(&shape, &self->out);
    assert_ok(bolt_file_open(&self->file, buf_bytes(&self->out), NULL));
    self->fault = (struct bolt_fault){0};
}

static uint8_t *damage_page(struct damage *self, uint64_t id)
{
    return self->out.data + id * BOLT_PAGE_BYTES;
}

static uint64_t damage_find(struct damage *self, enum bolt_page_kind kind)
{
    uint64_t id = 2;
    while (bolt_get_le16(damage_page(self, id) + 8) != kind)
        id++;
    return id;
}

static void damage_meta(struct damage *self, unsigned page, unsigned offset, uint64_t value)
{
    uint8_t *meta = damage_page(self, page) + BOLT_HEADER_BYTES;
    bytes_put_le64(meta + offset, value);
    bytes_put_le64(meta + 56, bolt_fnv(bytes_of(meta, 56)));
}

static err damage_check(struct damage *self)
{
    return bolt_file_check(&self->file, &self->fault);
}

static void damaged_meta_pages(void **state)
{
    struct damage d;
    damage_begin(&d, 1000);
    damage_page(&d, 0)[BOLT_HEADER_BYTES + 40] ^= 1;
    assert_ok(bolt_file_open(&d.file, buf_bytes(&d.out), &d.fault));
    assert_int_equal(d.file.txid, 1);
    assert_ok(damage_check(&d));
    damage_page(&d, 1)[BOLT_HEADER_BYTES + 40] ^= 1;
    assert_refused(bolt_file_open(&d.file, buf_bytes(&d.out), &d.fault), d.fault,
                   "no valid meta page");
    damage_page(&d, 0)[BOLT_HEADER_BYTES + 40] ^= 1;
    assert_refused(bolt_file_open(&d.file, bytes_of(d.out.data, d.out.len - 1), &d.fault), d.fault,
                   "the file is shorter than its pages in use");
    damage_meta(&d, 0, 16, d.file.pages);
    assert_refused(bolt_file_open(&d.file, buf_bytes(&d.out), &d.fault), d.fault,
                   "the root page is outside of the file");
    for (size_t len = 0; len < 200; len++)
        assert_false(err_ok(bolt_file_open(&d.file, bytes_of(d.out.data, len), &d.fault)));
    buf_done(&d.out);
}

static void cycles_and_double_references(void **state)
{
    struct damage d;
    damage_begin(&d, 1000);
    uint64_t branch = damage_find(&d, BOLT_BRANCH);
    uint8_t *first = damage_page(&d, branch) + BOLT_HEADER_BYTES;
    uint64_t child = bytes_get_le64(first + 8);
    bytes_put_le64(first + 8, branch); /* its own child */
    assert_refused(damage_check(&d), d.fault, "referred to twice");
    bytes_put_le64(first + 8, child);
    assert_ok(damage_check(&d));
    bytes_put_le64(first + BOLT_ELEMENT_BYTES + 8, child);
    assert_refused(damage_check(&d), d.fault, "referred to twice");
    bytes_put_le64(first + BOLT_ELEMENT_BYTES + 8, d.file.pages);
    assert_refused(damage_check(&d), d.fault, "outside of the file");
    buf_done(&d.out);
}

static void damaged_pages(void **state)
{
    struct damage d;
    damage_begin(&d, 1000);
    uint8_t *leaf = damage_page(&d, 2);
    bytes_put_le32(leaf + 12, 1); /* overlaps the next */
    assert_false(err_ok(damage_check(&d)));
    bytes_put_le32(leaf + 12, UINT32_MAX);
    assert_refused(damage_check(&d), d.fault, "goes on behind the file's end");
    bytes_put_le32(leaf + 12, 0);
    bolt_put_le16(leaf + 10, 0xffff);
    assert_refused(damage_check(&d), d.fault, "more elements than bytes");
    bolt_put_le16(leaf + 10, 5);
    bolt_put_le16(leaf + 8, BOLT_LEAF | BOLT_BRANCH);
    assert_refused(damage_check(&d), d.fault, "neither a leaf nor a branch");
    bolt_put_le16(leaf + 8, BOLT_LEAF);
    bytes_put_le32(leaf + 16 + 4, 0); /* the key over its own element */
    assert_refused(damage_check(&d), d.fault, "an element outside of its page");
    bytes_put_le32(leaf + 16 + 4, UINT32_MAX);
    assert_refused(damage_check(&d), d.fault, "an element outside of its page");
    buf_done(&d.out);
}

/* A file with one free page and its freelist appended. */
static void freelists(void **state)
{
    struct damage d;
    damage_begin(&d, 100);
    uint64_t pages = d.file.pages;
    assert_ok(buf_reserve(&d.out, (size_t)2 * BOLT_PAGE_BYTES));
    memset(d.out.data + d.out.len, 0, (size_t)2 * BOLT_PAGE_BYTES);
    d.out.len += (size_t)2 * BOLT_PAGE_BYTES;
    uint8_t *list = damage_page(&d, pages);
    bytes_put_le64(list, pages);
    bolt_put_le16(list + 8, BOLT_FREELIST);
    bolt_put_le16(list + 10, 1);
    bytes_put_le64(list + 16, pages + 1);
    d.file.bytes = buf_bytes(&d.out);
    d.file.pages = pages + 2;
    d.file.freelist = pages;
    assert_ok(damage_check(&d));
    bolt_put_le16(list + 10, 0xffff); /* the long form */
    bytes_put_le64(list + 16, 1);
    bytes_put_le64(list + 24, pages + 1);
    assert_ok(damage_check(&d));
    bytes_put_le64(list + 16, UINT64_MAX);
    assert_refused(damage_check(&d), d.fault, "a freelist longer than its pages");
    bytes_put_le64(list + 16, 1);
    bytes_put_le64(list + 24, 2); /* a page in use */
    assert_refused(damage_check(&d), d.fault, "referred to twice");
    bytes_put_le64(list + 24, pages + 2);
    assert_refused(damage_check(&d), d.fault, "a free page outside of the file");
    bolt_put_le16(list + 8, BOLT_LEAF);
    assert_refused(damage_check(&d), d.fault, "no freelist");
    buf_done(&d.out);
}

/* What passes the check can be read to its end, in order. */
static void assert_reads_in_order(const struct bolt_file *file)
{
    struct bolt_cursor buckets, at;
    struct bytes name, root, key, value, last = BYTES_NONE;
    bool found;
    assert_ok(bolt_cursor_open_buckets(&buckets, file, NULL));
    while (true) {
        assert_ok(bolt_cursor_next(&buckets, &name, &root, &found, NULL));
        if (!found)
            return;
        last = BYTES_NONE;
        assert_ok(bolt_cursor_open_value(&at, file, root, NULL));
        while (true) {
            assert_ok(bolt_cursor_next(&at, &key, &value, &found, NULL));
            if (!found)
                break;
            assert_true(bytes_compare(last, key) < 0);
            last = key;
        }
    }
}

static void random_damage(void **state)
{
    struct prng prng;
    prng_init(&prng, 7);
    unsigned refused = 0, read = 0;
    for (int round = 0; round < 3000; round++) {
        struct damage d;
        struct bolt_file file;
        damage_begin(&d, 200);
        for (unsigned n = 1 + (unsigned)prng_below(&prng, 4); n > 0; n--) {
            size_t page = (size_t)prng_below(&prng, d.file.pages);
            /* Headers and elements are where numbers lie. */
            size_t at = page * BOLT_PAGE_BYTES + (size_t)prng_below(&prng, 160);
            d.out.data[at] ^= (uint8_t)(1U << prng_below(&prng, 8));
        }
        bool ok = err_ok(bolt_file_open(&file, buf_bytes(&d.out), &d.fault)) &&
                  err_ok(bolt_file_check(&file, &d.fault));
        if (ok)
            assert_reads_in_order(&file);
        *(ok ? &read : &refused) += 1;
        buf_done(&d.out);
    }
    assert_true(refused > 500 && read > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(write_and_read),
        cmocka_unit_test(a_writer_holds_no_more_than_pages),
        cmocka_unit_test(keys_that_do_not_ascend),
        cmocka_unit_test(damaged_meta_pages),
        cmocka_unit_test(cycles_and_double_references),
        cmocka_unit_test(damaged_pages),
        cmocka_unit_test(freelists),
        cmocka_unit_test(random_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
