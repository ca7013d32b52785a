/* Any text is a duration or an error; what it is reads back as itself. */
#include "base/check.h"
#include "base/duration.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[64];
    size_t n = size < sizeof(text) - 1 ? size : sizeof(text) - 1;
    memcpy(text, data, n);
    text[n] = 0;
    int64_t ns;
    if (!err_ok(duration_parse(text, &ns)))
        return 0;
    char shown[DURATION_TEXT_MAX];
    CHECK(duration_text(ns, shown) == strlen(shown));
    int64_t back;
    CHECK(err_ok(duration_parse(shown, &back)));
    CHECK(back == ns);
    return 0;
}
