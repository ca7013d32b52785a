/* Bugs of our own: CHECK is always on and costs constant time; DCHECK may be linear and
 * runs in tests, sanitizer builds and the simulator (-DCORACLE_DCHECK).
 * A failed check prints file, line and expression to stderr and aborts.
 * What the world does wrong is never checked here: it is an err. */
#pragma once

__attribute__((noreturn, cold)) void check_failed(const char *file, int line, const char *what);

#define CHECK(cond)                                  \
    do {                                             \
        if (__builtin_expect(!(cond), 0))            \
            check_failed(__FILE__, __LINE__, #cond); \
    } while (0)

#ifdef CORACLE_DCHECK
#define DCHECK(cond) CHECK(cond)
#else
#define DCHECK(cond)       \
    do {                   \
        if (0 && (cond)) { \
        }                  \
    } while (0)
#endif
