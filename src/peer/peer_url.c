#include "peer/peer_url.h"

#include <stdio.h>
#include <stdlib.h>

#define HTTP_PORT 80

/* Digits up to the end. */
static err parse_port(const char *text, uint16_t *ret_port)
{
    unsigned port = 0;
    if (!*text)
        return ERR_SYNTAX;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return ERR_SYNTAX;
        port = port * 10 + (unsigned)(*text - '0');
        if (port > UINT16_MAX)
            return ERR_SYNTAX;
    }
    *ret_port = (uint16_t)port;
    return OK;
}

static err parse_host_port(struct peer_url *self)
{
    const char *at = self->authority;
    const char *end;
    if (*at == '[') {
        at++;
        end = strchr(at, ']');
        if (!end || (end[1] && end[1] != ':'))
            return ERR_SYNTAX;
    } else {
        end = at + strcspn(at, ":");
    }
    size_t len = (size_t)(end - at);
    if (len == 0)
        return ERR_SYNTAX;
    if (len >= sizeof(self->host))
        return ERR_LIMIT;
    memcpy(self->host, at, len);
    self->host[len] = 0;
    const char *port = *end == ']' ? end + 1 : end;
    self->port = HTTP_PORT;
    return *port ? parse_port(port + 1, &self->port) : OK;
}

static err copy_authority(struct peer_url *self, const char *text)
{
    size_t len = strcspn(text, "/?#");
    if (len >= sizeof(self->authority))
        return ERR_LIMIT;
    /* It goes into a Host header as it is. */
    for (size_t i = 0; i < len; i++)
        if (text[i] <= ' ' || text[i] > '~' || text[i] == '@')
            return ERR_SYNTAX;
    memcpy(self->authority, text, len);
    self->authority[len] = 0;
    return OK;
}

static err parse_unix(struct peer_url *self, const char *path)
{
    size_t len = strlen(path);
    if (len == 0)
        return ERR_SYNTAX;
    if (len >= sizeof(self->host))
        return ERR_LIMIT;
    memcpy(self->host, path, len + 1);
    self->is_unix = true;
    snprintf(self->authority, sizeof(self->authority), "localhost");
    return OK;
}

static err parse(struct peer_url *self, const char *text)
{
    if (strncmp(text, "https://", 8) == 0 || strncmp(text, "unixs://", 8) == 0)
        return ERR_UNSUPPORTED;
    if (strncmp(text, "unix://", 7) == 0)
        return parse_unix(self, text + 7);
    if (strncmp(text, "http://", 7) != 0)
        return ERR_SYNTAX;
    TRY(copy_authority(self, text + 7));
    return parse_host_port(self);
}

err peer_url_init(struct peer_url *self, const char *text)
{
    struct peer_url url = {0};
    TRY(parse(&url, text));
    url.text = strdup(text);
    if (!url.text)
        return ERR_LIMIT;
    *self = url;
    return OK;
}

void peer_url_done(struct peer_url *self)
{
    free(self->text);
    self->text = NULL;
}
