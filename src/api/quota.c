#include "api/quota.h"

#include "state/request.h"

static bool is_raised(const struct replica_view *view)
{
    for (size_t i = 0; i < view->alarms->count; i++) {
        if (view->alarms->items[i].type == ALARM_NOSPACE &&
            view->alarms->items[i].member_id == view->member_id)
            return true;
    }
    return false;
}

/* Whatever came of the alarm, there is no room. */
static void refused(struct request *request, const struct replica_reply *reply)
{
    (void)reply;
    request_fail(request, ERR_NO_SPACE);
}

bool quota_admits(struct request *request, int64_t cost)
{
    struct front *front = request->front;
    const struct replica_view *view = front_view(front);
    if (cost == 0 || front->config.quota_bytes <= 0 ||
        view->size_in_use_bytes + view->unwritten_bytes + cost < front->config.quota_bytes)
        return true;
    if (is_raised(view)) {
        request_fail(request, ERR_NO_SPACE);
        return false;
    }
    uint64_t id = front_next_id(front);
    struct bytes alarm = request_alarm(&request->arena, id, view->member_id, ALARM_NOSPACE, true);
    uint8_t *at = front_propose(front, request, id, alarm.len, refused);
    memcpy(at, alarm.data, alarm.len);
    return false;
}
