/* Any command line and environment end in one of the outcomes, with a reason where it is no start;
 * and what starts can be given back. Lines that begin with $ are variables, others arguments. */
#include "base/check.h"
#include "server/config.h"

#include <stdint.h>
#include <string.h>

#define TEXT_BYTES_MAX 4096
#define WORDS_MAX      64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[TEXT_BYTES_MAX];
    char *argv[WORDS_MAX + 1] = {NULL}, *environment[WORDS_MAX + 1] = {NULL};
    int argc = 0, variables = 0;
    size_t len = size < sizeof(text) - 1 ? size : sizeof(text) - 1;
    memcpy(text, data, len);
    text[len] = 0;
    for (char *at = text, *next; at && argc < WORDS_MAX && variables < WORDS_MAX; at = next) {
        next = strchr(at, '\n');
        if (next)
            *next++ = 0;
        if (*at == '$')
            environment[variables++] = at + 1;
        else if (*at && !strstr(at, "config-file")) /* it would read any file of this machine */
            argv[argc++] = at;
    }
    struct config config;
    const char *reason = NULL;
    enum config_outcome outcome = config_load(&config, argc, argv, environment, &reason);
    if (outcome != CONFIG_GO && outcome != CONFIG_HELP && outcome != CONFIG_VERSION)
        CHECK(reason && reason[0]);
    config_done(&config);
    return 0;
}
