/* The system's files through the table. */
#include "io/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define assert_ok(e)          assert_string_equal(err_ok(e) ? "OK" : err_name(e), "OK")
#define assert_err(e, wanted) assert_string_equal(err_name(e), err_name(wanted))

static const struct io_fs *const fs = &io_fs_real;

struct fixture {
    char root[64];
    int dir;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    (void)snprintf(f->root, sizeof(f->root), "/tmp/coracle-file-XXXXXX");
    assert_non_null(mkdtemp(f->root));
    assert_ok(io_open(fs, IO_CWD, f->root, IO_READ | IO_DIRECTORY, 0, &f->dir));
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    struct io_names names;
    assert_ok(io_list(fs, f->dir, &names));
    for (size_t i = 0; i < names.count; i++)
        assert_ok(io_unlink(fs, f->dir, names.names[i].text));
    io_names_done(&names);
    io_close(fs, f->dir);
    assert_int_equal(rmdir(f->root), 0);
    free(f);
    return 0;
}

static int file_make(const struct fixture *f, const char *name)
{
    int file = -1;
    assert_ok(
        io_open(fs, f->dir, name, IO_READ | IO_WRITE | IO_CREATE | IO_EXCLUSIVE, 0600, &file));
    return file;
}

static void what_is_written_in_pieces_reads_back(void **state)
{
    struct fixture *f = *state;
    enum { PIECES = 3000 }; /* more than one call takes */
    static uint8_t bytes[PIECES * 3], back[PIECES * 3 + 10];
    static struct iovec iov[PIECES];
    int file = file_make(f, "a");
    for (unsigned i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 7);
    for (unsigned i = 0; i < PIECES; i++)
        iov[i] = (struct iovec){bytes + i * 3, 3};
    assert_ok(io_write(fs, file, iov, PIECES, 5));
    assert_ok(io_sync_data(fs, file));
    assert_ok(io_sync_dir(fs, f->dir));
    size_t len = 0;
    assert_ok(io_read(fs, file, back, sizeof(back), 5, &len));
    assert_int_equal(len, sizeof(bytes)); /* the file's end */
    assert_memory_equal(back, bytes, sizeof(bytes));
    memset(back, 0, sizeof(back));
    assert_ok(io_read_device(fs, file, back, 4099, 4097, &len));
    assert_int_equal(len, 4099);
    assert_memory_equal(back, bytes + 4092, 4099);
    assert_ok(io_read_device(fs, file, back, 100, 100000, &len));
    assert_int_equal(len, 0);
    void *address;
    assert_ok(io_map(fs, file, IO_MAP_READ, 0, 4096, &address));
    assert_memory_equal((uint8_t *)address + 5, bytes, 4091);
    io_unmap(fs, address, 4096);
    io_close(fs, file);
}

static void names_are_listed_in_order(void **state)
{
    struct fixture *f = *state;
    const char *made[] = {"b", "a", "c"};
    for (unsigned i = 0; i < 3; i++)
        io_close(fs, file_make(f, made[i]));
    assert_ok(io_rename(fs, f->dir, "b", f->dir, "d"));
    assert_ok(io_unlink(fs, f->dir, "a"));
    struct io_names names;
    assert_ok(io_list(fs, f->dir, &names));
    assert_int_equal(names.count, 2);
    assert_string_equal(names.names[0].text, "c");
    assert_string_equal(names.names[1].text, "d");
    io_names_done(&names);
}

static void errors_have_names(void **state)
{
    struct fixture *f = *state;
    int file;
    assert_err(io_open(fs, f->dir, "none", IO_READ, 0, &file), ERR_NOT_FOUND);
    io_close(fs, file_make(f, "x"));
    assert_err(io_open(fs, f->dir, "x", IO_WRITE | IO_CREATE | IO_EXCLUSIVE, 0600, &file),
               ERR_EXISTS);
    assert_err(io_unlink(fs, f->dir, "none"), ERR_NOT_FOUND);
    assert_int_equal(symlinkat("x", f->dir, "link"), 0);
    assert_err(io_open(fs, f->dir, "link", IO_READ, 0, &file), ERR_IO); /* never followed */
}

static void a_lock_excludes_until_it_is_closed(void **state)
{
    struct fixture *f = *state;
    int first = file_make(f, "lock"), second;
    assert_ok(io_lock(fs, first));
    assert_ok(io_open(fs, f->dir, "lock", IO_READ | IO_WRITE, 0, &second));
    assert_err(io_lock(fs, second), ERR_LOCKED);
    io_close(fs, first);
    assert_ok(io_lock(fs, second));
    io_close(fs, second);
}

static void room_is_given_and_taken_back(void **state)
{
    struct fixture *f = *state;
    struct io_stat stat;
    uint64_t room = 0;
    int file = file_make(f, "room");
    assert_ok(io_allocate(fs, file, IO_ALLOCATE_GROW, 0, 1 << 20));
    assert_ok(io_stat(fs, file, &stat));
    assert_int_equal(stat.size_bytes, 1 << 20);
    assert_true(stat.room_bytes >= 1 << 20);
    assert_false(stat.is_directory);
    assert_ok(io_allocate(fs, file, IO_ALLOCATE_PUNCH, 0, 1 << 20));
    assert_ok(io_stat(fs, file, &stat));
    assert_true(stat.room_bytes < 1 << 20);
    assert_int_equal(stat.size_bytes, 1 << 20);
    assert_ok(io_truncate(fs, file, 10));
    assert_ok(io_stat(fs, file, &stat));
    assert_int_equal(stat.size_bytes, 10);
    assert_ok(io_write_bytes(fs, file, BYTES_LIT("x"), 0));
    assert_ok(io_range(fs, file, IO_RANGE_START | IO_RANGE_WAIT | IO_RANGE_DROP, 0, 10));
    assert_ok(io_free_room(fs, file, &room));
    assert_true(room > 0);
    io_close(fs, file);
}

static void a_full_device_is_a_full_disk(void **state)
{
    int file;
    assert_ok(io_open(fs, IO_CWD, "/dev/full", IO_WRITE, 0, &file));
    struct iovec iov = {"x", 1};
    assert_err(io_write(fs, file, &iov, 1, 0), ERR_DISK_FULL);
    io_close(fs, file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(what_is_written_in_pieces_reads_back),
        T(names_are_listed_in_order),
        T(errors_have_names),
        T(a_lock_excludes_until_it_is_closed),
        T(room_is_given_and_taken_back),
        T(a_full_device_is_a_full_disk),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
