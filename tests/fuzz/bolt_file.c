/* Files in bbolt's format as a disk or a peer may hand them over. An odd first byte: the meta
 * pages' checksums are put right on the way, so that what they name is reached. */
#include "base/check.h"
#include "bolt/reader.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void heal(uint8_t *bytes, size_t len)
{
    for (size_t at = BOLT_HEADER_BYTES; at + BOLT_META_BYTES <= len; at += BOLT_PAGE_BYTES) {
        if (bytes_get_le32(bytes + at) == BOLT_MAGIC)
            bytes_put_le64(bytes + at + 56, bolt_fnv(bytes_of(bytes + at, BOLT_META_BYTES - 8)));
    }
}

/* A cursor never leaves the bytes; after a good check it also ends, in order, without an error. */
static void read_entries(struct bolt_cursor *at, bool checked)
{
    struct bytes key, value, last = BYTES_NONE;
    bool found = true;
    for (unsigned i = 0; found && (checked || i < 10000); i++) {
        err e = bolt_cursor_next(at, &key, &value, &found, NULL);
        CHECK(!checked || err_ok(e));
        if (!err_ok(e) || !found)
            return;
        CHECK(!checked || bytes_compare(last, key) < 0);
        CHECK(key.data >= at->file->bytes.data &&
              value.data + value.len <= at->file->bytes.data + at->file->bytes.len);
        last = key;
    }
}

static void read_file(const struct bolt_file *file, bool checked)
{
    struct bolt_cursor buckets, at;
    struct bytes name, root;
    bool found = true;
    err e = bolt_cursor_open_buckets(&buckets, file, NULL);
    CHECK(!checked || err_ok(e));
    for (unsigned i = 0; err_ok(e) && (checked || i < 100); i++) {
        e = bolt_cursor_next(&buckets, &name, &root, &found, NULL);
        CHECK(!checked || err_ok(e));
        if (!err_ok(e) || !found)
            return;
        e = bolt_cursor_open_value(&at, file, root, NULL);
        CHECK(!checked || err_ok(e));
        if (err_ok(e))
            read_entries(&at, checked);
        e = OK;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    size_t len = size - 1;
    uint8_t *bytes = malloc(len + 1);
    CHECK(bytes);
    memcpy(bytes, data + 1, len);
    if (data[0] & 1)
        heal(bytes, len);
    struct bolt_file file;
    struct bolt_fault fault = {0};
    if (err_ok(bolt_file_open(&file, bytes_of(bytes, len), &fault))) {
        read_file(&file, false);
        bool checked = err_ok(bolt_file_check(&file, &fault));
        CHECK(checked || fault.what);
        if (checked)
            read_file(&file, true);
    } else {
        CHECK(fault.what);
    }
    free(bytes);
    return 0;
}
