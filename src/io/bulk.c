#include "io/bulk.h"

/* Hints alone: where the filesystem has none of this the writing is not paced, and a write that
 * fails on its way is told by the sync. */
static void range_hint(const struct io_fs *fs, const struct io_bulk *self, unsigned flags,
                       uint64_t from, uint64_t to)
{
    if (to > from)
        (void)!err_ok(io_range(fs, self->file, flags, from, to - from));
}

static void piece_full(const struct io_fs *fs, struct io_bulk *self, uint64_t end)
{
    unsigned forget = self->forget ? IO_RANGE_DROP : 0;
    range_hint(fs, self, IO_RANGE_START | IO_RANGE_WAIT | forget, self->waited, self->started);
    self->waited = self->started;
    range_hint(fs, self, IO_RANGE_START, self->started, end);
    self->started = end;
}

err io_bulk_write(const struct io_fs *fs, struct io_bulk *self, struct bytes what, uint64_t offset)
{
    while (what.len) {
        uint64_t room = IO_BULK_PIECE_BYTES - offset % IO_BULK_PIECE_BYTES;
        size_t n = what.len < room ? what.len : (size_t)room;
        TRY(io_write_bytes(fs, self->file, bytes_of(what.data, n), offset));
        offset += n;
        what = bytes_skip(what, n);
        if (n == room && offset > self->started)
            piece_full(fs, self, offset);
    }
    return OK;
}

bool io_bulk_give_back_some(const struct io_fs *fs, int file)
{
    struct io_stat stat;
    return err_ok(io_stat(fs, file, &stat)) && !stat.names &&
           stat.size_bytes > IO_BULK_ROOM_BYTES &&
           err_ok(io_truncate(fs, file, stat.size_bytes - IO_BULK_ROOM_BYTES)) &&
           err_ok(io_sync(fs, file));
}

void io_bulk_give_back(const struct io_fs *fs, int file)
{
    while (io_bulk_give_back_some(fs, file))
        ;
    io_close(fs, file);
}
