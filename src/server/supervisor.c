#include "server/supervisor.h"

#include "state/ids.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool address_of(const char *path, struct sockaddr_un *ret_address, socklen_t *ret_len)
{
    size_t len = strlen(path);
    if ((path[0] != '/' && path[0] != '@') || len < 2 || len >= sizeof(ret_address->sun_path))
        return false;
    *ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(ret_address->sun_path, path, len);
    if (path[0] == '@')
        ret_address->sun_path[0] = '\0';
    *ret_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    return true;
}

void supervisor_init(struct supervisor *self, uint64_t now_ms)
{
    *self = (struct supervisor){.fd = -1, .begin_ms = now_ms};
    const char *path = getenv("NOTIFY_SOCKET");
    if (path && address_of(path, &self->address, &self->address_len))
        self->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    (void)unsetenv("NOTIFY_SOCKET");
}

void supervisor_done(struct supervisor *self)
{
    if (self->fd >= 0)
        (void)close(self->fd);
    self->fd = -1;
}

static void tell(struct supervisor *self, const char *text)
{
    if (self->fd >= 0)
        (void)sendto(self->fd, text, strlen(text), MSG_NOSIGNAL,
                     (const struct sockaddr *)&self->address, self->address_len);
}

static const char *name_of(const struct replica_view *view, uint64_t id, char text[ID_TEXT_MAX])
{
    const struct member *member = membership_find(view->members, id);
    if (member && member->name[0])
        return member->name;
    id_text(id, text);
    return text;
}

void supervisor_describe(const struct replica_view *view, bool serving,
                         char ret_text[SUPERVISOR_STATUS_MAX])
{
    size_t count = view->members->count;
    const char *plural = count == 1 ? "" : "s";
    char id[ID_TEXT_MAX];
    if (!view->leader_id)
        (void)snprintf(ret_text, SUPERVISOR_STATUS_MAX, "no leader; %zu member%s; %s", count,
                       plural, serving ? "waiting for a quorum" : "waiting for the other members");
    else if (view->leader_id == view->member_id)
        (void)snprintf(ret_text, SUPERVISOR_STATUS_MAX, "leader; %zu member%s; term %llu", count,
                       plural, (unsigned long long)view->term);
    else
        (void)snprintf(ret_text, SUPERVISOR_STATUS_MAX, "%s of %.100s; %zu member%s; term %llu",
                       view->is_learner ? "learner" : "follower",
                       name_of(view, view->leader_id, id), count, plural,
                       (unsigned long long)view->term);
}

void supervisor_view(struct supervisor *self, const struct replica_view *view, bool serving,
                     uint64_t now_ms)
{
    if (self->fd < 0)
        return;
    bool patient = now_ms - self->begin_ms < SUPERVISOR_PATIENCE_MS;
    if (!self->ready && (serving || !patient)) {
        self->ready = true;
        tell(self, "READY=1");
    }
    char status[SUPERVISOR_STATUS_MAX];
    supervisor_describe(view, serving, status);
    if (strcmp(status, self->status) == 0)
        return;
    memcpy(self->status, status, sizeof(status));
    char message[SUPERVISOR_STATUS_MAX + sizeof("STATUS=")];
    (void)snprintf(message, sizeof(message), "STATUS=%s", status);
    tell(self, message);
}

void supervisor_stopping(struct supervisor *self)
{
    tell(self, "STOPPING=1\nSTATUS=stopping");
}
