#include "etcdctl/text.h"

#include <inttypes.h>

static const struct {
    uint32_t first, last;
} printable[] = {
#include "etcdctl/printable_table.h"
};

static bool rune_printable(uint32_t rune)
{
    size_t low = 0, high = sizeof(printable) / sizeof(printable[0]);
    if (rune < 0x80)
        return rune >= ' ' && rune < 0x7f;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (rune > printable[middle].last)
            low = middle + 1;
        else
            high = middle;
    }
    return low < sizeof(printable) / sizeof(printable[0]) && rune >= printable[low].first;
}

/* The rune at the beginning and its length; length 0 where it is no UTF-8. */
static unsigned rune_next(struct bytes text, uint32_t *ret_rune)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    uint8_t lead = text.data[0];
    unsigned len = lead < 0x80 ? 1 : lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 0;
    if (len == 0 || lead > 0xf4 || text.len < len)
        return 0;
    uint32_t rune = len == 1 ? lead : lead & (0x7fU >> len);
    for (unsigned i = 1; i < len; i++) {
        if ((text.data[i] & 0xc0) != 0x80)
            return 0;
        rune = rune << 6 | (text.data[i] & 0x3f);
    }
    if (rune < least[len] || rune > 0x10ffff || (rune >= 0xd800 && rune < 0xe000))
        return 0;
    *ret_rune = rune;
    return len;
}

static void rune_escape(FILE *to, uint32_t rune)
{
    static const char names[] = "\aa\bb\ff\nn\rr\tt\vv";
    for (const char *at = names; *at; at += 2)
        if ((uint32_t)*at == rune) {
            (void)fprintf(to, "\\%c", at[1]);
            return;
        }
    if (rune < ' ' || rune == 0x7f)
        (void)fprintf(to, "\\x%02" PRIx32, rune);
    else if (rune < 0x10000)
        (void)fprintf(to, "\\u%04" PRIx32, rune);
    else
        (void)fprintf(to, "\\U%08" PRIx32, rune);
}

void text_quote(FILE *to, struct bytes what)
{
    (void)fputc('"', to);
    while (what.len) {
        uint32_t rune = 0;
        unsigned len = rune_next(what, &rune);
        if (len == 0)
            (void)fprintf(to, "\\x%02x", what.data[0]);
        else if (rune == '"' || rune == '\\')
            (void)fprintf(to, "\\%c", (int)rune);
        else if (rune_printable(rune))
            (void)fwrite(what.data, 1, len, to);
        else
            rune_escape(to, rune);
        what = bytes_skip(what, len ? len : 1);
    }
    (void)fputc('"', to);
}

void text_hex(FILE *to, struct bytes what)
{
    for (size_t i = 0; i < what.len; i++)
        (void)fprintf(to, "\\x%02x", what.data[i]);
}
