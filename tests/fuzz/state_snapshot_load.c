/* Files of etcd's store, put into an empty store of ours. An odd first byte: the meta pages'
 * checksums are put right on the way. */
#include "base/check.h"
#include "mvcc/hash.h"
#include "state/snapshot_load.h"

#include <stdlib.h>

#define BYTES_MAX ((size_t)1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void heal(uint8_t *bytes, size_t len)
{
    for (size_t at = BOLT_HEADER_BYTES; at + BOLT_META_BYTES <= len; at += BOLT_PAGE_BYTES) {
        if (bytes_get_le32(bytes + at) == BOLT_MAGIC)
            bytes_put_le64(bytes + at + 56, bolt_fnv(bytes_of(bytes + at, BOLT_META_BYTES - 8)));
    }
}

/* What was taken can be read: the hash goes over all of it. */
static void read_back(struct mvcc_store *store)
{
    struct mvcc_hash hash;
    if (!err_ok(mvcc_store_import_end(store)))
        return;
    err e = mvcc_hash_begin(&hash, mvcc_store_view(store), 0);
    CHECK(err_ok(e));
    for (bool done = false; !done;) {
        unsigned budget = 1000;
        e = mvcc_hash_run(&hash, mvcc_store_view(store), &budget, &done);
        CHECK(err_ok(e));
    }
    mvcc_hash_done(&hash);
}

static void load(const struct bolt_file *file)
{
    struct epoch *epoch = malloc(sizeof(*epoch));
    struct bolt_fault fault = {0};
    struct snapshot_facts facts;
    CHECK(epoch);
    epoch_init(epoch);
    struct tail *tail = tail_new(epoch, 0, NULL);
    struct revlog *log = revlog_new(epoch, tail);
    const struct mvcc_store_config config = {epoch, log, tail};
    struct mvcc_store *store = mvcc_store_new(&config);
    struct snapshot_load loading;
    bool done = false;
    err e = snapshot_facts_read(file, &facts, &fault);
    CHECK(err_ok(e) || fault.what);
    snapshot_load_begin(&loading, file);
    e = OK;
    while (err_ok(e) && !done) {
        unsigned budget = 100;
        e = snapshot_load_run(&loading, store, &budget, &done, &fault);
    }
    CHECK(err_ok(e) || fault.what);
    if (err_ok(e))
        read_back(store);
    mvcc_store_free(store);
    revlog_free(log);
    epoch_done(epoch);
    tail_free(tail);
    free(epoch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bolt_file file;
    if (size < 1 || size > BYTES_MAX)
        return 0;
    size_t len = size - 1;
    uint8_t *bytes = malloc(len + 1);
    CHECK(bytes);
    memcpy(bytes, data + 1, len);
    if (data[0] & 1)
        heal(bytes, len);
    if (err_ok(bolt_file_open(&file, bytes_of(bytes, len), NULL)) &&
        err_ok(bolt_file_check(&file, NULL)))
        load(&file);
    free(bytes);
    return 0;
}
