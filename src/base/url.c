#include "base/url.h"

#include <arpa/inet.h>
#include <stdlib.h>

static const struct {
    const char *prefix;
    enum url_scheme scheme;
} schemes[] = {
    {"http://", URL_HTTP},
    {"https://", URL_HTTPS},
    {"unix://", URL_UNIX},
    {"unixs://", URL_UNIXS},
};

static struct bytes trim(struct bytes text)
{
    while (text.len && (text.data[0] == ' ' || text.data[0] == '\t'))
        text = bytes_skip(text, 1);
    while (text.len && (text.data[text.len - 1] == ' ' || text.data[text.len - 1] == '\t'))
        text.len--;
    return text;
}

static bool parse_port(struct bytes text, uint16_t *ret_port)
{
    unsigned port = 0;
    if (text.len == 0 || text.len > 5)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        port = port * 10 + (text.data[i] - '0');
    }
    if (port > UINT16_MAX)
        return false;
    *ret_port = (uint16_t)port;
    return true;
}

/* Splits host:port, [v6]:port and :port. */
static bool split_host_port(struct bytes text, struct bytes *ret_host, struct bytes *ret_port)
{
    const uint8_t *colon = memrchr(text.data, ':', text.len);
    if (!colon)
        return false;
    struct bytes host = bytes_of(text.data, (size_t)(colon - text.data));
    if (host.len && host.data[0] == '[') {
        if (host.data[host.len - 1] != ']')
            return false;
        host = bytes_of(host.data + 1, host.len - 2);
    } else if (memchr(host.data, ':', host.len)) {
        return false;
    }
    *ret_host = host;
    *ret_port = bytes_skip(text, host.data == text.data ? host.len + 1 : host.len + 3);
    return true;
}

static err refuse(struct arena *arena, struct bytes text, const char *why, const char **ret_reason)
{
    *ret_reason = arena_printf(arena, "%s: %.*s", why, (int)text.len, (const char *)text.data);
    return ERR_SYNTAX;
}

err url_parse(struct arena *arena, struct bytes text, struct url *ret_url, const char **ret_reason)
{
    text = trim(text);
    struct url url = {0};
    struct bytes rest = BYTES_NONE;
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        struct bytes prefix = bytes_str(schemes[i].prefix);
        if (bytes_has_prefix(text, prefix)) {
            url.scheme = schemes[i].scheme;
            rest = bytes_skip(text, prefix.len);
        }
    }
    if (!rest.data)
        return refuse(arena, text, "URL scheme must be http, https, unix, or unixs", ret_reason);
    if (memchr(rest.data, 0, rest.len) || memchr(rest.data, ' ', rest.len))
        return refuse(arena, text, "URL holds a blank or a zero byte", ret_reason);
    url.text = arena_copy_str(arena, text);
    url.host_port = arena_copy_str(arena, rest);
    if (url.scheme == URL_UNIX || url.scheme == URL_UNIXS) {
        url.host = url.host_port;
        *ret_url = url;
        return OK;
    }
    const uint8_t *slash = rest.len ? memchr(rest.data, '/', rest.len) : NULL;
    struct bytes address = slash ? bytes_of(rest.data, (size_t)(slash - rest.data)) : rest;
    struct bytes host, port;
    if (!split_host_port(address, &host, &port) || !parse_port(port, &url.port))
        return refuse(arena, text, "URL address does not have the form \"host:port\"", ret_reason);
    if (slash)
        return refuse(arena, text, "URL must not contain a path", ret_reason);
    url.host = arena_copy_str(arena, host);
    *ret_url = url;
    return OK;
}

static int compare_urls(const void *a, const void *b)
{
    return strcmp(((const struct url *)a)->text, ((const struct url *)b)->text);
}

err url_list_parse(struct arena *arena, struct bytes text, struct url_list *ret_list,
                   const char **ret_reason)
{
    size_t most = 1;
    for (size_t i = 0; i < text.len; i++)
        most += text.data[i] == ',';
    struct url_list list = {ARENA_ARRAY(arena, struct url, most), 0};
    while (true) {
        const uint8_t *comma = text.len ? memchr(text.data, ',', text.len) : NULL;
        struct bytes one = comma ? bytes_of(text.data, (size_t)(comma - text.data)) : text;
        TRY(url_parse(arena, one, &list.items[list.count], ret_reason));
        list.count++;
        if (!comma)
            break;
        text = bytes_skip(text, one.len + 1);
    }
    qsort(list.items, list.count, sizeof(struct url), compare_urls);
    *ret_list = list;
    return OK;
}

bool url_list_equal(const struct url_list *a, const struct url_list *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (strcmp(a->items[i].text, b->items[i].text) != 0)
            return false;
    return true;
}

bool url_list_has(const struct url_list *self, const struct url *url)
{
    for (size_t i = 0; i < self->count; i++)
        if (strcmp(self->items[i].text, url->text) == 0)
            return true;
    return false;
}

const char *url_list_join(struct arena *arena, const struct url_list *self)
{
    const char *text = "";
    for (size_t i = 0; i < self->count; i++)
        text = arena_printf(arena, "%s%s%s", text, i ? "," : "", self->items[i].text);
    return text;
}

bool url_can_bind(const struct url *self)
{
    struct in_addr v4;
    struct in6_addr v6;
    return self->scheme == URL_UNIX || self->scheme == URL_UNIXS || self->host[0] == '\0' ||
           strcmp(self->host, "localhost") == 0 || inet_pton(AF_INET, self->host, &v4) == 1 ||
           inet_pton(AF_INET6, self->host, &v6) == 1;
}
