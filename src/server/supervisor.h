/* Tells the service manager how the member does: systemd's readiness protocol, one datagram a
 * message to the socket that NOTIFY_SOCKET names. Without that variable nothing is sent; a manager
 * that takes nothing holds up nobody.
 *
 *   READY=1      the member serves; or it has waited for the other members long enough that
 *                whoever starts the hosts one after the other shall go on to the next
 *   STATUS=…     one line for people, sent where it changes
 *   STOPPING=1   a signal has asked for the end
 *
 * Thread: the core's loop.  Source: sd_notify(3). */
#pragma once

#include "replica/view.h"

#include <sys/socket.h>
#include <sys/un.h>

/* A start that waits for others is reported as ready after this, so that `systemctl start` comes
 * back on the first host of a cluster. */
#define SUPERVISOR_PATIENCE_MS 20000
#define SUPERVISOR_STATUS_MAX  256

struct supervisor {
    int fd; /* -1: nobody to tell */
    struct sockaddr_un address;
    socklen_t address_len;
    uint64_t begin_ms;
    bool ready;
    char status[SUPERVISOR_STATUS_MAX]; /* as last told */
};

/* Takes NOTIFY_SOCKET out of the environment, so that no child speaks for us. */
void supervisor_init(struct supervisor *self, uint64_t now_ms);
void supervisor_done(struct supervisor *self);
/* What the view says of the member; serving: clients are served. */
void supervisor_view(struct supervisor *self, const struct replica_view *view, bool serving,
                     uint64_t now_ms);
void supervisor_stopping(struct supervisor *self);

/* "leader; 3 members; term 4". */
void supervisor_describe(const struct replica_view *view, bool serving,
                         char ret_text[SUPERVISOR_STATUS_MAX]);
