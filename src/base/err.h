/* The result of whatever can fail because the world misbehaves.
 * A struct, so that `return 0` does not compile and a dropped result is a warning.
 * One row an error in err_table.h: name, gRPC code, text.
 * Thread: any.  Owns: nothing. */
#pragma once

#include <stdbool.h>

#define MUST     __attribute__((warn_unused_result))
#define AUTO(fn) __attribute__((cleanup(fn)))

typedef struct {
    int code;
} err;

enum err_code {
    ERR_NONE_ = 0,
#define X(name, grpc, text) name##_,
#include "base/err_table.h"
#undef X
    ERR_COUNT_
};

#define OK                  ((err){0})
#define X(name, grpc, text) static const err name = {name##_};
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-const-variable"
#pragma GCC diagnostic ignored "-Wunused-variable"
#include "base/err_table.h"
#pragma GCC diagnostic pop
#undef X

#define TRY(e)                                   \
    do {                                         \
        err try_ = (e);                          \
        if (__builtin_expect(try_.code != 0, 0)) \
            return try_;                         \
    } while (0)

/* Moves a pointer out of its AUTO variable. */
#define TAKE(p)                  \
    __extension__({              \
        __auto_type take_ = (p); \
        (p) = NULL;              \
        take_;                   \
    })

static inline bool err_is(err e, err other)
{
    return e.code == other.code;
}

static inline bool err_ok(err e)
{
    return e.code == 0;
}

/* The text of the table row; never NULL. */
const char *err_text(err e);
/* ERR_EMPTY_KEY and so on, for logs; never NULL. */
const char *err_name(err e);
/* The gRPC status code that the wire carries for this error (0..16). */
int err_grpc_code(err e);
/* The errno that a failed system call stands for: ENOSPC and EDQUOT -> ERR_DISK_FULL,
 * EACCES and EPERM -> ERR_ACCESS, ENOENT -> ERR_NOT_FOUND, others ERR_IO. */
err err_from_errno(int number);
