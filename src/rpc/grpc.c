#include "rpc/grpc.h"

#include <stdio.h>

static const char *const status_names[] = {
    "OK",       "Canceled",        "Unknown",          "InvalidArgument",   "DeadlineExceeded",
    "NotFound", "AlreadyExists",   "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
    "Aborted",  "OutOfRange",      "Unimplemented",    "Internal",          "Unavailable",
    "DataLoss", "Unauthenticated",
};

const char *grpc_status_name(unsigned status)
{
    return status < sizeof(status_names) / sizeof(status_names[0]) ? status_names[status]
                                                                   : "Unknown";
}

/* ---- grpc-timeout ----------------------------------------------------------------------- */

static const struct {
    char letter;
    uint64_t ns;
} timeout_units[] = {
    {'n', 1ULL},          {'u', 1000ULL},        {'m', 1000000ULL},
    {'S', 1000000000ULL}, {'M', 60000000000ULL}, {'H', 3600000000000ULL},
};
#define TIMEOUT_UNITS      (sizeof(timeout_units) / sizeof(timeout_units[0]))
#define TIMEOUT_DIGITS_MAX 8

err grpc_timeout_parse(struct bytes text, uint64_t *ret_timeout_ms)
{
    if (text.len < 2 || text.len > TIMEOUT_DIGITS_MAX + 1)
        return ERR_SYNTAX;
    uint64_t number = 0;
    for (size_t i = 0; i + 1 < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return ERR_SYNTAX;
        number = number * 10 + (text.data[i] - '0');
    }
    for (size_t i = 0; i < TIMEOUT_UNITS; i++) {
        if (timeout_units[i].letter != (char)text.data[text.len - 1])
            continue;
        const uint64_t ms = 1000000;
        uint64_t unit = timeout_units[i].ns;
        /* 99,999,999 hours in milliseconds fit; in nanoseconds they do not. */
        *ret_timeout_ms = unit >= ms ? number * (unit / ms) : (number * unit + ms - 1) / ms;
        return OK;
    }
    return ERR_SYNTAX;
}

void grpc_timeout_format(uint64_t timeout_ms, char out[GRPC_TIMEOUT_TEXT_BYTES])
{
    const uint64_t most = 99999999;
    uint64_t number = timeout_ms;
    char unit = 'm';
    if (number > most) {
        number = (timeout_ms - 1) / 1000 + 1;
        unit = 'S';
    }
    if (number > most) {
        number = (timeout_ms - 1) / 3600000 + 1;
        unit = 'H';
    }
    if (number > most)
        number = most;
    (void)snprintf(out, GRPC_TIMEOUT_TEXT_BYTES, "%u%c", (unsigned)number, unit);
}

/* ---- grpc-message ----------------------------------------------------------------------- */

static bool message_plain(uint8_t c)
{
    return c >= 0x20 && c <= 0x7e && c != '%';
}

size_t grpc_message_encoded_size(struct bytes text)
{
    size_t size = text.len;
    for (size_t i = 0; i < text.len; i++)
        size += message_plain(text.data[i]) ? 0 : 2;
    return size;
}

void grpc_message_encode(struct bytes text, uint8_t *out)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (message_plain(c)) {
            *out++ = c;
            continue;
        }
        *out++ = '%';
        *out++ = (uint8_t)digits[c >> 4];
        *out++ = (uint8_t)digits[c & 15];
    }
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

size_t grpc_message_decode(struct bytes text, uint8_t *out)
{
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        int high = -1;
        int low = -1;
        if (text.data[i] == '%' && text.len - i > 2) {
            high = hex_digit(text.data[i + 1]);
            low = hex_digit(text.data[i + 2]);
        }
        if (high >= 0 && low >= 0) {
            out[n++] = (uint8_t)(high << 4 | low);
            i += 2;
        } else {
            out[n++] = text.data[i];
        }
    }
    return n;
}

/* ---- paths and headers ------------------------------------------------------------------ */

err grpc_path_split(struct bytes path, struct bytes *ret_service, struct bytes *ret_method)
{
    if (path.len == 0 || path.data[0] != '/')
        return ERR_SYNTAX;
    struct bytes rest = bytes_skip(path, 1);
    const uint8_t *slash = rest.len ? memrchr(rest.data, '/', rest.len) : NULL;
    if (!slash)
        return ERR_SYNTAX;
    size_t at = (size_t)(slash - rest.data);
    *ret_service = bytes_of(rest.data, at);
    *ret_method = bytes_skip(rest, at + 1);
    return OK;
}

bool grpc_content_type_ok(struct bytes value)
{
    struct bytes base = BYTES_LIT("application/grpc");
    if (!bytes_has_prefix(value, base))
        return false;
    return value.len == base.len || value.data[base.len] == '+' || value.data[base.len] == ';';
}

/* HTTP/2 error codes are those of RFC 9113, section 7. */
enum grpc_status grpc_status_of_http2_error(uint32_t http2_error)
{
    switch (http2_error) {
    case 0x7: /* REFUSED_STREAM */
        return GRPC_UNAVAILABLE;
    case 0x8: /* CANCEL */
        return GRPC_CANCELLED;
    case 0x3: /* FLOW_CONTROL_ERROR */
    case 0xb: /* ENHANCE_YOUR_CALM */
        return GRPC_RESOURCE_EXHAUSTED;
    case 0xc: /* INADEQUATE_SECURITY */
        return GRPC_PERMISSION_DENIED;
    default:
        return GRPC_INTERNAL;
    }
}

enum grpc_status grpc_status_of_http_status(unsigned http_status)
{
    switch (http_status) {
    case 400:
        return GRPC_INTERNAL;
    case 401:
        return GRPC_UNAUTHENTICATED;
    case 403:
        return GRPC_PERMISSION_DENIED;
    case 404:
        return GRPC_UNIMPLEMENTED;
    case 429:
    case 502:
    case 503:
    case 504:
        return GRPC_UNAVAILABLE;
    default:
        return GRPC_UNKNOWN;
    }
}
