#include "base/size.h"

#include <inttypes.h>
#include <stdio.h>

void size_text(uint64_t n, char out[SIZE_TEXT_MAX])
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
    unsigned unit = 0;
    uint64_t scale = 1;
    while (n / 1000 >= scale && unit < 6) {
        scale *= 1000;
        unit++;
    }
    if (unit == 0) {
        (void)snprintf(out, SIZE_TEXT_MAX, "%" PRIu64 " B", n);
        return;
    }
    /* Tenths, rounded half up. */
    uint64_t tenths = n / scale * 10 + (n % scale * 10 + scale / 2) / scale;
    if (tenths < 100)
        (void)snprintf(out, SIZE_TEXT_MAX, "%" PRIu64 ".%" PRIu64 " %s", tenths / 10, tenths % 10,
                       units[unit]);
    else
        (void)snprintf(out, SIZE_TEXT_MAX, "%" PRIu64 " %s",
                       tenths / 10 + (tenths % 10 > 5 || (tenths % 10 == 5 && tenths / 10 % 2)),
                       units[unit]);
}
