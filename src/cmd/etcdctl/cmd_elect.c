#include "etcdctl/concurrency.h"
#include "etcdctl/kv.h"
#include "etcdctl/session.h"

const struct flag elect_flags[] = {
    {"listen", 'l', FLAG_BOOL, "false", offsetof(struct elect_options, listen),
     "tell who leads, and who does next"},
    {0},
};

#define TTL_S 60

/* ---- listening -------------------------------------------------------------------------- */

static int print_leader(struct ctl *ctl, Etcdserverpb__ResponseHeader *header, Mvccpb__KeyValue *kv)
{
    Etcdserverpb__RangeResponse response = ETCDSERVERPB__RANGE_RESPONSE__INIT;
    response.header = header;
    response.n_kvs = 1;
    response.kvs = &kv;
    int code = print_range(ctl, &response, false);
    (void)fflush(stdout);
    return code;
}

struct listening {
    struct ctl *ctl;
    int64_t seen; /* the revision up to which all is known */
    int code;
};

static bool tell_put(struct listening *self, const Etcdserverpb__WatchResponse *response,
                     const Mvccpb__Event *event)
{
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    if (response->header)
        header = *response->header;
    header.revision = self->seen = event->kv->mod_revision;
    self->code = print_leader(self->ctl, &header, event->kv);
    return self->code != CTL_OK;
}

/* A leader's key: its new proposals, until it goes. */
static bool on_leader(void *ctx, const Etcdserverpb__WatchResponse *response,
                      const Mvccpb__Event *event)
{
    if (event->type == MVCCPB__EVENT__EVENT_TYPE__DELETE || !event->kv)
        return true;
    return tell_put(ctx, response, event);
}

/* Nobody leads: the next key is the leader's. */
struct arrival {
    struct listening *listening;
    const char *key; /* NULL: none yet */
    size_t len;
};

static bool on_arrival(void *ctx, const Etcdserverpb__WatchResponse *response,
                       const Mvccpb__Event *event)
{
    struct arrival *self = ctx;
    if (event->type == MVCCPB__EVENT__EVENT_TYPE__DELETE || !event->kv)
        return false;
    self->len = event->kv->key.len;
    self->key = arena_copy_str(&self->listening->ctl->arena, bytes_of_field(event->kv->key));
    (void)tell_put(self->listening, response, event);
    return true;
}

/* From one leader to the next. */
static int listen_once(struct session *session, const char *name, struct listening *listening)
{
    struct ctl *ctl = session->ctl;
    const Etcdserverpb__RangeResponse *response = NULL;
    struct bytes key;
    int code = session_first(session, name, &response);
    if (code)
        return code;
    listening->seen = response->header ? response->header->revision : 0;
    if (response->n_kvs > 0) {
        key = bytes_of_field(response->kvs[0]->key);
        code = print_leader(ctl, response->header, response->kvs[0]);
    } else {
        struct bytes prefix = bytes_str(arena_printf(&ctl->arena, "%s/", name));
        struct arrival arrival = {.listening = listening};
        code = session_watch(session, prefix, bytes_of_field(key_prefix_end(ctl, prefix)),
                             listening->seen + 1, on_arrival, &arrival);
        if (code)
            return code;
        code = listening->code;
        key = bytes_of(arrival.key, arrival.len);
    }
    if (!code)
        code = session_watch(session, key, BYTES_NONE, listening->seen + 1, on_leader, listening);
    return code ? code : listening->code;
}

static int listen_to(struct ctl *ctl, const char *name)
{
    struct listening listening = {.ctl = ctl};
    struct session session;
    int code = session_begin(&session, ctl, 0);
    session.quiet = true;
    while (!code)
        code = listen_once(&session, name, &listening);
    session_end(&session);
    return session.interrupted ? CTL_OK : code;
}

/* ---- campaigning ------------------------------------------------------------------------ */

static int lead(struct session *session, const struct session_turn *turn)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    const Etcdserverpb__RangeResponse *response = NULL;
    request.key = field_of_bytes(bytes_str(turn->key));
    int code = session_range(session, &request, &response);
    if (!code)
        code = print_range(session->ctl, response, false);
    (void)fflush(stdout);
    if (code)
        return code;
    session_wait(session);
    return session->interrupted ? session_give_up(session, turn)
                                : ctl_fail(CTL_ERROR, "elect: session expired");
}

static int campaign(struct ctl *ctl, const char *name, const char *proposal)
{
    struct session session;
    struct session_turn turn;
    int code = session_begin(&session, ctl, TTL_S);
    if (!code)
        code = session_take_turn(&session, name, proposal, &turn);
    if (!code)
        code = lead(&session, &turn);
    session_end(&session);
    return code;
}

int command_run_elect(struct ctl *ctl, const void *opaque, struct strings args)
{
    const struct elect_options *options = opaque;
    if (args.count != 1 && args.count != 2)
        return ctl_fail(CTL_BAD_ARGS,
                        "elect takes one election name argument and an optional proposal argument");
    if (args.count == 1 && !options->listen)
        return ctl_fail(CTL_BAD_ARGS, "no proposal argument but -l not set");
    if (args.count == 2 && options->listen)
        return ctl_fail(CTL_BAD_ARGS, "proposal given but -l is set");
    return options->listen ? listen_to(ctl, args.items[0])
                           : campaign(ctl, args.items[0], args.items[1]);
}
