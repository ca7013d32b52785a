#include "base/seed.h"

#include "base/check.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>

/* Kernels before 3.17 have no such call. */
static uint64_t from_device(void)
{
    uint64_t seed = 0;
    int file = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
    CHECK(file >= 0);
    CHECK(read(file, &seed, sizeof(seed)) == sizeof(seed));
    (void)close(file);
    return seed;
}

uint64_t seed_new(void)
{
    uint64_t seed = 0;
    if (getrandom(&seed, sizeof(seed), 0) == sizeof(seed))
        return seed;
    CHECK(errno == ENOSYS);
    return from_device();
}
