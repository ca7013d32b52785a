#include "base/duration.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define US 1000ULL
#define MS (1000 * US)
#define S  (1000 * MS)
#define M  (60 * S)
#define H  (60 * M)

static const struct {
    const char *name;
    uint64_t ns;
} units[] = {{"ns", 1},  {"us", US}, {"\xc2\xb5s", US}, {"\xce\xbcs", US},
             {"ms", MS}, {"s", S},   {"m", M},          {"h", H}};

/* `value` in units of `unit`, with what is left as a decimal fraction without trailing zeros. */
static size_t put_fraction(char *out, size_t room, uint64_t ns, uint64_t unit, const char *name)
{
    int n = snprintf(out, room, "%llu", (unsigned long long)(ns / unit));
    uint64_t rest = ns % unit;
    if (rest)
        out[n++] = '.';
    while (rest) {
        rest *= 10;
        out[n++] = (char)('0' + rest / unit);
        rest %= unit;
    }
    n += snprintf(out + n, room - (size_t)n, "%s", name);
    return (size_t)n;
}

size_t duration_text(int64_t ns, char out[DURATION_TEXT_MAX])
{
    size_t n = 0;
    uint64_t u = ns < 0 ? -(uint64_t)ns : (uint64_t)ns;
    if (ns < 0)
        out[n++] = '-';
    if (u == 0)
        return n + put_fraction(out + n, DURATION_TEXT_MAX - n, 0, 1, "s");
    if (u < US)
        return n + put_fraction(out + n, DURATION_TEXT_MAX - n, u, 1, "ns");
    if (u < MS)
        return n + put_fraction(out + n, DURATION_TEXT_MAX - n, u, US, "\xc2\xb5s");
    if (u < S)
        return n + put_fraction(out + n, DURATION_TEXT_MAX - n, u, MS, "ms");
    if (u >= H)
        n += put_fraction(out + n, DURATION_TEXT_MAX - n, u / H, 1, "h");
    if (u >= M)
        n += put_fraction(out + n, DURATION_TEXT_MAX - n, u % H / M, 1, "m");
    return n + put_fraction(out + n, DURATION_TEXT_MAX - n, u % M, S, "s");
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* One number with its unit, moved past; a fraction beyond the nanosecond is cut off. */
static err parse_part(const char **text, uint64_t *ret_ns)
{
    const char *p = *text;
    uint64_t whole = 0;
    unsigned digits = 0;
    for (; is_digit(*p); p++, digits++)
        if (__builtin_mul_overflow(whole, 10, &whole) ||
            __builtin_add_overflow(whole, (uint64_t)(*p - '0'), &whole))
            return ERR_LIMIT;
    uint64_t part = 0;
    uint64_t scale = 1;
    if (*p == '.') {
        for (p++; is_digit(*p); p++, digits++) {
            if (scale >= H)
                continue;
            part = part * 10 + (uint64_t)(*p - '0');
            scale *= 10;
        }
    }
    if (digits == 0)
        return ERR_SYNTAX;
    size_t len = strcspn(p, ".0123456789");
    for (unsigned i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (len != strlen(units[i].name) || memcmp(p, units[i].name, len) != 0)
            continue;
        uint64_t ns;
        uint64_t fraction = (uint64_t)((unsigned __int128)part * units[i].ns / scale);
        if (__builtin_mul_overflow(whole, units[i].ns, &ns) ||
            __builtin_add_overflow(ns, fraction, &ns))
            return ERR_LIMIT;
        *text = p + len;
        *ret_ns = ns;
        return OK;
    }
    return ERR_SYNTAX;
}

err duration_parse(const char *text, int64_t *ret_ns)
{
    bool minus = *text == '-';
    if (*text == '-' || *text == '+')
        text++;
    if (strcmp(text, "0") == 0) {
        *ret_ns = 0;
        return OK;
    }
    if (!*text)
        return ERR_SYNTAX;
    uint64_t sum = 0;
    while (*text) {
        uint64_t ns;
        TRY(parse_part(&text, &ns));
        if (__builtin_add_overflow(sum, ns, &sum) || sum > (uint64_t)INT64_MAX + minus)
            return ERR_LIMIT;
    }
    *ret_ns = (int64_t)(minus ? -sum : sum);
    return OK;
}
