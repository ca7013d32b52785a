#include "offline/files.h"

#include <stdio.h>
#include <stdlib.h>

void offline_disk_failed(void *ctx, const char *what, const char *file, err e)
{
    (void)ctx;
    (void)fprintf(stderr, "Error: %s of %s failed: %s\n", what, file, err_text(e));
    exit(1);
}

err offline_remove_tree(int parent, const char *name, unsigned depth)
{
    int dir;
    struct io_names names AUTO(io_names_done) = {0};
    err e = io_open(&io_fs_real, parent, name, IO_READ | IO_DIRECTORY, 0, &dir);
    if (err_is(e, ERR_NOT_FOUND))
        return OK;
    TRY(e);
    e = io_list(&io_fs_real, dir, &names);
    for (size_t i = 0; err_ok(e) && i < names.count; i++) {
        e = io_unlink(&io_fs_real, dir, names.names[i].text);
        if (e.code && depth > 0)
            e = offline_remove_tree(dir, names.names[i].text, depth - 1);
    }
    io_close(&io_fs_real, dir);
    TRY(e);
    return io_rmdir(&io_fs_real, parent, name);
}

err offline_sync_dir(const char *path)
{
    int dir;
    TRY(io_open(&io_fs_real, IO_CWD, path, IO_READ | IO_DIRECTORY, 0, &dir));
    err e = io_sync_dir(&io_fs_real, dir);
    io_close(&io_fs_real, dir);
    return e;
}
