/* What the disk is asked for while much is written or much room is given back. */
#include "io/bulk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define assert_ok(e) assert_string_equal(err_ok(e) ? "OK" : err_name(e), "OK")

#define PIECE IO_BULK_PIECE_BYTES
#define ROOM  IO_BULK_ROOM_BYTES

static char root[64];
static int dir;

/* The real files, and what is on its way to the disk. */
static struct io_fs fs;
static uint64_t started, arrived, in_flight_most, largest_start;
static uint64_t cuts, largest_cut, unsynced_cuts;

static err range(void *ctx, int file, unsigned flags, uint64_t offset, uint64_t len)
{
    if (flags & IO_RANGE_WAIT) {
        assert_true(offset <= arrived && offset + len <= started);
        arrived = offset + len;
    } else {
        assert_int_equal(offset, started); /* none is left out */
        started = offset + len;
        largest_start = len > largest_start ? len : largest_start;
    }
    if (started - arrived > in_flight_most)
        in_flight_most = started - arrived;
    return io_fs_real.range(ctx, file, flags, offset, len);
}

static err truncate_counted(void *ctx, int file, uint64_t size_bytes)
{
    struct io_stat stat;
    assert_ok(io_fs_real.stat(ctx, file, &stat));
    assert_int_equal(unsynced_cuts, 0); /* a cut is on the disk before the next one */
    cuts++;
    unsynced_cuts++;
    if (stat.size_bytes - size_bytes > largest_cut)
        largest_cut = stat.size_bytes - size_bytes;
    return io_fs_real.truncate(ctx, file, size_bytes);
}

static err sync_counted(void *ctx, int file)
{
    unsynced_cuts = 0;
    return io_fs_real.sync(ctx, file);
}

static int setup(void **state)
{
    (void)snprintf(root, sizeof(root), "/tmp/coracle-bulk-XXXXXX");
    assert_non_null(mkdtemp(root));
    assert_ok(io_open(&io_fs_real, IO_CWD, root, IO_READ | IO_DIRECTORY, 0, &dir));
    fs = io_fs_real;
    fs.range = range;
    fs.truncate = truncate_counted;
    fs.sync = sync_counted;
    started = arrived = in_flight_most = largest_start = 0;
    cuts = largest_cut = unsynced_cuts = 0;
    return 0;
}

static int teardown(void **state)
{
    struct io_names names;
    assert_ok(io_list(&io_fs_real, dir, &names));
    for (size_t i = 0; i < names.count; i++)
        assert_ok(io_unlink(&io_fs_real, dir, names.names[i].text));
    io_names_done(&names);
    io_close(&io_fs_real, dir);
    assert_int_equal(rmdir(root), 0);
    return 0;
}

static int file_make(const char *name)
{
    int file;
    assert_ok(io_open(&fs, dir, name, IO_READ | IO_WRITE | IO_CREATE, 0600, &file));
    return file;
}

static uint8_t byte_at(uint64_t offset)
{
    return (uint8_t)(offset * 7 + offset / PIECE);
}

static void little_is_in_flight_however_it_comes(void **state)
{
    static const size_t sizes[] = {1, 4096, 32 << 10, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 17};
    struct io_bulk bulk = {.file = file_make("a"), .forget = true};
    uint8_t *bytes = malloc(4 * PIECE);
    assert_non_null(bytes);
    uint64_t at = 0;
    for (unsigned i = 0; i < 100; i++) {
        size_t len = sizes[i * 5 % 7];
        for (size_t k = 0; k < len; k++)
            bytes[k] = byte_at(at + k);
        assert_ok(io_bulk_write(&fs, &bulk, bytes_of(bytes, len), at));
        at += len;
    }
    assert_true(started + PIECE > at && started <= at);
    assert_true(in_flight_most <= 2 * PIECE && largest_start <= PIECE);
    for (uint64_t from = 0; from < at; from += PIECE) {
        size_t got;
        assert_ok(io_read(&fs, bulk.file, bytes, PIECE, from, &got));
        assert_int_equal(got, at - from < PIECE ? at - from : PIECE);
        for (size_t k = 0; k < got; k++)
            assert_int_equal(bytes[k], byte_at(from + k));
    }
    free(bytes);
    io_close(&fs, bulk.file);
}

static void the_room_of_an_unlinked_file_goes_in_pieces(void **state)
{
    int file = file_make("a"), keep = dup(file);
    assert_ok(io_truncate(&io_fs_real, file, 10 * ROOM + 5));
    assert_ok(io_unlink(&fs, dir, "a"));
    io_bulk_give_back(&fs, file);
    struct io_stat stat;
    assert_ok(io_stat(&fs, keep, &stat));
    assert_int_equal(stat.size_bytes, 5); /* closing does the rest */
    assert_int_equal(cuts, 10);
    assert_int_equal(largest_cut, ROOM);
    assert_int_equal(unsynced_cuts, 0);
    io_close(&fs, keep);
}

static void a_file_with_another_name_stays_whole(void **state)
{
    int file = file_make("a");
    assert_ok(io_truncate(&io_fs_real, file, 3 * ROOM));
    assert_int_equal(linkat(dir, "a", dir, "b", 0), 0);
    assert_ok(io_unlink(&fs, dir, "a"));
    io_bulk_give_back(&fs, file);
    file = file_make("b");
    struct io_stat stat;
    assert_ok(io_stat(&fs, file, &stat));
    assert_int_equal(stat.size_bytes, 3 * ROOM);
    assert_int_equal(cuts, 0);
    io_close(&fs, file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(little_is_in_flight_however_it_comes),
        T(the_room_of_an_unlinked_file_goes_in_pieces),
        T(a_file_with_another_name_stays_whole),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
