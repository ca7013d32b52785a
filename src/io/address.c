#include "io/address.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

static err parse_v6(const char *host, uint16_t port, struct io_address *ret_address)
{
    char text[INET6_ADDRSTRLEN + IF_NAMESIZE + 1];
    size_t len = strlen(host);
    if (len >= sizeof(text))
        return ERR_SYNTAX;
    memcpy(text, host, len + 1);
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    char *zone = strchr(text, '%');
    if (zone) {
        *zone++ = 0;
        v6.sin6_scope_id = if_nametoindex(zone);
        if (v6.sin6_scope_id == 0)
            return ERR_SYNTAX;
    }
    if (inet_pton(AF_INET6, text, &v6.sin6_addr) != 1)
        return ERR_SYNTAX;
    *ret_address = (struct io_address){.len = sizeof(v6)};
    memcpy(&ret_address->storage, &v6, sizeof(v6));
    return OK;
}

err io_address_parse(const char *host, uint16_t port, struct io_address *ret_address)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    if (inet_pton(AF_INET, host, &v4.sin_addr) != 1)
        return parse_v6(host, port, ret_address);
    *ret_address = (struct io_address){.len = sizeof(v4)};
    memcpy(&ret_address->storage, &v4, sizeof(v4));
    return OK;
}

err io_address_unix(const char *path, struct io_address *ret_address)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof(un.sun_path))
        return ERR_LIMIT;
    memcpy(un.sun_path, path, len + 1);
    *ret_address =
        (struct io_address){.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1)};
    memcpy(&ret_address->storage, &un, sizeof(un));
    return OK;
}

void io_address_text(const struct io_address *self, char ret_text[IO_ADDRESS_TEXT_BYTES_MAX])
{
    char host[INET6_ADDRSTRLEN];
    ret_text[0] = 0;
    if (self->storage.ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)&self->storage;
        (void)inet_ntop(AF_INET, &v4->sin_addr, host, sizeof(host));
        (void)snprintf(ret_text, IO_ADDRESS_TEXT_BYTES_MAX, "%s:%u", host, ntohs(v4->sin_port));
    } else if (self->storage.ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&self->storage;
        char zone[IF_NAMESIZE] = "";
        (void)inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof(host));
        bool zoned = v6->sin6_scope_id && if_indextoname(v6->sin6_scope_id, zone);
        (void)snprintf(ret_text, IO_ADDRESS_TEXT_BYTES_MAX, "[%s%s%s]:%u", host, zoned ? "%" : "",
                       zone, ntohs(v6->sin6_port));
    } else if (self->storage.ss_family == AF_UNIX) {
        const struct sockaddr_un *un = (const struct sockaddr_un *)&self->storage;
        size_t at = offsetof(struct sockaddr_un, sun_path);
        int len = self->len > at ? (int)(self->len - at) : 0; /* 0: a peer without a name */
        (void)snprintf(ret_text, IO_ADDRESS_TEXT_BYTES_MAX, "%.*s", len, un->sun_path);
    }
}

uint16_t io_address_port(const struct io_address *self)
{
    if (self->storage.ss_family == AF_INET)
        return ntohs(((const struct sockaddr_in *)&self->storage)->sin_port);
    if (self->storage.ss_family == AF_INET6)
        return ntohs(((const struct sockaddr_in6 *)&self->storage)->sin6_port);
    return 0;
}

bool io_address_equal(const struct io_address *a, const struct io_address *b)
{
    if (a->storage.ss_family != b->storage.ss_family)
        return false;
    if (a->storage.ss_family == AF_INET6) {
        const struct sockaddr_in6 *x = (const struct sockaddr_in6 *)&a->storage;
        const struct sockaddr_in6 *y = (const struct sockaddr_in6 *)&b->storage;
        return x->sin6_port == y->sin6_port && x->sin6_scope_id == y->sin6_scope_id &&
               memcmp(&x->sin6_addr, &y->sin6_addr, sizeof(x->sin6_addr)) == 0;
    }
    return a->len == b->len && memcmp(&a->storage, &b->storage, a->len) == 0;
}
