#include "client/endpoint.h"

#include "base/check.h"

#include <stdlib.h>
#include <string.h>

static bool take_prefix(struct bytes *text, const char *prefix)
{
    struct bytes p = bytes_str(prefix);
    if (!bytes_has_prefix(*text, p))
        return false;
    *text = bytes_skip(*text, p.len);
    return true;
}

static err port_parse(struct bytes text, uint16_t *ret_port)
{
    uint32_t port = 0;
    if (text.len == 0 || text.len > 5)
        return ERR_SYNTAX;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return ERR_SYNTAX;
        port = port * 10 + (text.data[i] - '0');
    }
    if (port == 0 || port > UINT16_MAX)
        return ERR_SYNTAX;
    *ret_port = (uint16_t)port;
    return OK;
}

/* Control characters, blanks and what ends an authority have no place in a host. */
static bool host_ok(struct bytes host)
{
    for (size_t i = 0; i < host.len; i++)
        if (host.data[i] <= ' ' || host.data[i] == 0x7f || strchr("/?#@[]", host.data[i]))
            return false;
    return host.len > 0;
}

static err authority_parse(struct bytes text, struct endpoint *self)
{
    size_t len = 0;
    while (len < text.len && text.data[len] != '/' && text.data[len] != '?')
        len++;
    text.len = len;
    size_t colon = text.len;
    while (colon > 0 && text.data[colon - 1] != ':')
        colon--;
    if (colon == 0)
        return ERR_SYNTAX;
    struct bytes host = bytes_of(text.data, colon - 1);
    TRY(port_parse(bytes_skip(text, colon), &self->port));
    if (host.len >= 2 && host.data[0] == '[' && host.data[host.len - 1] == ']')
        host = bytes_of(host.data + 1, host.len - 2);
    else if (memchr(host.data, ':', host.len))
        return ERR_SYNTAX;
    if (!host_ok(host))
        return ERR_SYNTAX;
    if (host.len >= sizeof(self->host))
        return ERR_LIMIT;
    memcpy(self->host, host.data, host.len);
    memcpy(self->authority, text.data, text.len);
    return OK;
}

static err unix_parse(struct bytes path, struct endpoint *self)
{
    self->unix_socket = true;
    if (path.len == 0 || memchr(path.data, 0, path.len))
        return ERR_SYNTAX;
    if (path.len >= sizeof(self->host))
        return ERR_LIMIT;
    memcpy(self->host, path.data, path.len);
    memcpy(self->authority, "localhost", sizeof("localhost"));
    return OK;
}

err endpoint_parse(struct bytes text, struct endpoint *ret_endpoint)
{
    *ret_endpoint = (struct endpoint){.text = calloc(1, text.len + 1)};
    CHECK(ret_endpoint->text);
    if (text.len)
        memcpy(ret_endpoint->text, text.data, text.len);
    if (take_prefix(&text, "unix://") || take_prefix(&text, "unix:"))
        return unix_parse(text, ret_endpoint);
    if (take_prefix(&text, "https://")) {
        ret_endpoint->tls = true;
    } else if (take_prefix(&text, "unixs:")) {
        ret_endpoint->tls = true;
        return unix_parse(text, ret_endpoint);
    } else {
        (void)take_prefix(&text, "http://");
    }
    return authority_parse(text, ret_endpoint);
}

void endpoint_done(struct endpoint *self)
{
    free(self->text);
    self->text = NULL;
}
