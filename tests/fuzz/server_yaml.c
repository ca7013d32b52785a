/* Any configuration file ends in one of the outcomes, with a reason where it is no start. */
#include "base/check.h"
#include "server/config.h"

#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int file = -1;
    if (file < 0)
        file = memfd_create("config", MFD_CLOEXEC);
    CHECK(file >= 0 && ftruncate(file, 0) == 0);
    CHECK(pwrite(file, data, size, 0) == (ssize_t)size);
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
    char name[] = "--config-file";
    char *argv[] = {name, path, NULL}, *environment[] = {NULL};
    struct config config;
    const char *reason = NULL;
    enum config_outcome outcome = config_load(&config, 2, argv, environment, &reason);
    if (outcome != CONFIG_GO && outcome != CONFIG_HELP && outcome != CONFIG_VERSION)
        CHECK(reason && reason[0]);
    config_done(&config);
    return 0;
}
