#include "base/err.h"

#include <errno.h>

static const struct {
    const char *name;
    const char *text;
    int grpc;
} rows[ERR_COUNT_] = {
    [0] = {"OK", "", 0},
#define X(err_name_, grpc_, text_) [err_name_##_] = {#err_name_, text_, grpc_},
#include "base/err_table.h"
#undef X
};

/* An err that was never made by this program reads as an unknown error, not as foreign memory. */
static bool is_known(err e)
{
    return e.code >= 0 && e.code < ERR_COUNT_;
}

const char *err_text(err e)
{
    return is_known(e) ? rows[e.code].text : "unknown error";
}

const char *err_name(err e)
{
    return is_known(e) ? rows[e.code].name : "ERR_?";
}

int err_grpc_code(err e)
{
    return is_known(e) ? rows[e.code].grpc : 2;
}

err err_from_errno(int number)
{
    switch (number) {
    case ENOSPC:
    case EDQUOT:
        return ERR_DISK_FULL;
    case EACCES:
    case EPERM:
        return ERR_ACCESS;
    case ENOENT:
        return ERR_NOT_FOUND;
    default:
        return ERR_IO;
    }
}
