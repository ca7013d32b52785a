#include "server/listeners.h"

static err address_of(const struct url *url, struct io_address *ret_address)
{
    if (url->scheme == URL_UNIX || url->scheme == URL_UNIXS)
        return io_address_unix(url->host, ret_address);
    const char *host = url->host[0] == '\0'                  ? "0.0.0.0"
                       : strcmp(url->host, "localhost") == 0 ? "127.0.0.1"
                                                             : url->host;
    return io_address_parse(host, url->port, ret_address);
}

static bool already_listens(const struct listeners *self, const struct io_address *address)
{
    for (unsigned i = 0; i < self->count; i++)
        if (io_address_equal(io_listener_address(self->items[i]), address))
            return true;
    return false;
}

static const char *reason_text(err e)
{
    return err_is(e, ERR_EXISTS)      ? "address already in use"
           : err_is(e, ERR_NOT_FOUND) ? "cannot assign requested address (this host has no such "
                                        "address)"
           : err_is(e, ERR_ACCESS)    ? "permission denied"
                                      : err_text(e);
}

err listeners_add(struct listeners *self, const struct url_list *urls, const struct listen_how *how,
                  const char **ret_reason)
{
    for (size_t i = 0; i < urls->count; i++) {
        struct io_listener_config listener = {
            .flags = IO_LISTEN_LATER | (how->reuse_port ? (unsigned)IO_LISTEN_REUSE_PORT : 0U),
            .stage_order = how->stage_order,
            .accepted = how->accepted,
            .ctx = how->ctx};
        err e = self->count == LISTENERS_MAX ? ERR_LIMIT
                                             : address_of(&urls->items[i], &listener.address);
        if (err_ok(e) && already_listens(self, &listener.address))
            continue;
        if (err_ok(e))
            e = io_listener_new(how->loop, &listener, &self->items[self->count]);
        if (e.code) {
            *ret_reason = arena_printf(how->arena, "listen tcp %s: bind: %s",
                                       urls->items[i].host_port, reason_text(e));
            return e;
        }
        self->count++;
    }
    return OK;
}

err listeners_start(struct listeners *self, const char **ret_reason)
{
    for (unsigned i = 0; i < self->count; i++) {
        err e = io_listener_start(self->items[i]);
        if (e.code) {
            *ret_reason = reason_text(e);
            return e;
        }
    }
    return OK;
}

void listeners_close(struct listeners *self)
{
    for (unsigned i = 0; i < self->count; i++)
        io_listener_free(self->items[i]);
    self->count = 0;
}
