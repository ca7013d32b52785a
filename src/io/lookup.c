#include "io/lookup.h"

#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#ifdef CORACLE_STATIC
#include <nss.h>
#include <pthread.h>

/* A static program brings the hosts file and DNS along. Whatever else nsswitch.conf names would be
 * loaded out of the system's own libc, which is another than ours. */
static void use_own_sources(void)
{
    (void)__nss_configure_lookup("hosts", "files dns");
}

static void prepare(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, use_own_sources);
}
#else
static void prepare(void)
{
}
#endif

err io_lookup_now(const char *host, const char *port, struct addrinfo **ret_found)
{
    const struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    prepare();
    int r = getaddrinfo(host, port, &hints, &found);
    /* Known without a hosts file too (RFC 6761, section 6.3): containers may have none. */
    if (r && strcasecmp(host, "localhost") == 0)
        r = getaddrinfo("127.0.0.1", port, &hints, &found);
    if (r)
        return r == EAI_AGAIN || r == EAI_SYSTEM ? ERR_AGAIN : ERR_NOT_FOUND;
    *ret_found = found;
    return OK;
}

static void work(struct io_job *job)
{
    struct io_lookup *self = LIST_ENTRY(job, struct io_lookup, job);
    char port[8];
    struct addrinfo *found = NULL;
    (void)snprintf(port, sizeof(port), "%u", self->port);
    self->result = io_lookup_now(self->host, port, &found);
    if (!err_ok(self->result))
        return;
    for (const struct addrinfo *at = found; at && self->count < IO_LOOKUP_ADDRESSES_MAX;
         at = at->ai_next) {
        if (at->ai_addrlen > sizeof(struct sockaddr_storage))
            continue;
        struct io_address *address = &self->addresses[self->count++];
        *address = (struct io_address){.len = at->ai_addrlen};
        memcpy(&address->storage, at->ai_addr, at->ai_addrlen);
    }
    freeaddrinfo(found);
    self->result = self->count ? OK : ERR_NOT_FOUND;
}

static void done(struct io_job *job)
{
    struct io_lookup *self = LIST_ENTRY(job, struct io_lookup, job);
    self->done(self);
}

err io_lookup_start(struct io_lookup *self, struct io_workers *workers, struct io_loop *loop,
                    const char *host, uint16_t port, void (*on_done)(struct io_lookup *self),
                    void *ctx)
{
    size_t len = strlen(host);
    if (len >= sizeof(self->host))
        return ERR_LIMIT;
    memcpy(self->host, host, len + 1);
    self->port = port;
    self->done = on_done;
    self->ctx = ctx;
    self->count = 0;
    self->job = (struct io_job){.work = work, .done = done, .loop = loop};
    io_workers_post(workers, &self->job);
    return OK;
}
