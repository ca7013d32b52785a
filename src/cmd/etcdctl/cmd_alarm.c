/* alarm list and disarm. */
#include "etcdctl/cluster.h"
#include "etcdctl/print.h"

#include <inttypes.h>

static const char *alarm_name(Etcdserverpb__AlarmType alarm, struct arena *arena)
{
    const ProtobufCEnumValue *value =
        protobuf_c_enum_descriptor_get_value(&etcdserverpb__alarm_type__descriptor, (int)alarm);
    return value ? value->name : arena_printf(arena, "%d", (int)alarm);
}

/* Protobuf's text form: what is zero is left out. */
static void simple_alarm(struct ctl *ctl, const Etcdserverpb__AlarmMember *member)
{
    const char *before = "";
    if (member->memberid) {
        (void)printf("memberID:%" PRIu64, member->memberid);
        before = "  ";
    }
    if (member->alarm)
        (void)printf("%salarm:%s", before, alarm_name(member->alarm, &ctl->arena));
    (void)putchar('\n');
}

static int print_alarms(struct ctl *ctl, const Etcdserverpb__AlarmResponse *response)
{
    if (ctl->format == FORMAT_SIMPLE) {
        for (size_t i = 0; i < response->n_alarms; i++)
            simple_alarm(ctl, response->alarms[i]);
        return CTL_OK;
    }
    if (ctl->format != FORMAT_FIELDS)
        return print_other(ctl, &response->base);
    print_fields_header(ctl, response->header);
    for (size_t i = 0; i < response->n_alarms; i++) {
        print_fields_id(ctl, "MemberID", response->alarms[i]->memberid);
        (void)printf("\"AlarmType\" : %s\n\n", alarm_name(response->alarms[i]->alarm, &ctl->arena));
    }
    return CTL_OK;
}

static int alarms_ask(struct ctl *ctl, const Etcdserverpb__AlarmRequest *request,
                      const Etcdserverpb__AlarmResponse **ret_response)
{
    const ProtobufCMessage *response = NULL;
    int code = ctl_call(ctl, &client_maintenance_alarm, &request->base, &response);
    *ret_response = (const Etcdserverpb__AlarmResponse *)response;
    return code;
}

int command_run_alarm_list(struct ctl *ctl, const void *options, struct strings args)
{
    static const Etcdserverpb__AlarmRequest request = ETCDSERVERPB__ALARM_REQUEST__INIT;
    const Etcdserverpb__AlarmResponse *response = NULL;
    if (args.count > 0)
        return ctl_fail(CTL_BAD_ARGS, "alarm list command accepts no arguments");
    int code = alarms_ask(ctl, &request, &response);
    return code ? code : print_alarms(ctl, response);
}

/* Each alarm that is raised, one after the other; told are those that were disarmed. */
int command_run_alarm_disarm(struct ctl *ctl, const void *options, struct strings args)
{
    static const Etcdserverpb__AlarmRequest list = ETCDSERVERPB__ALARM_REQUEST__INIT;
    const Etcdserverpb__AlarmResponse *raised = NULL, *response = NULL;
    Etcdserverpb__AlarmResponse whole = ETCDSERVERPB__ALARM_RESPONSE__INIT;
    if (args.count > 0)
        return ctl_fail(CTL_BAD_ARGS, "alarm disarm command accepts no arguments");
    int code = alarms_ask(ctl, &list, &raised);
    if (code)
        return code;
    whole.alarms = ARENA_ARRAY(&ctl->arena, Etcdserverpb__AlarmMember *, raised->n_alarms);
    for (size_t i = 0; i < raised->n_alarms; i++) {
        Etcdserverpb__AlarmRequest request = ETCDSERVERPB__ALARM_REQUEST__INIT;
        request.action = ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__DEACTIVATE;
        request.memberid = raised->alarms[i]->memberid;
        request.alarm = raised->alarms[i]->alarm;
        code = alarms_ask(ctl, &request, &response);
        if (code)
            return code;
        for (size_t a = 0; a < response->n_alarms && whole.n_alarms < raised->n_alarms; a++)
            whole.alarms[whole.n_alarms++] = response->alarms[a];
    }
    return print_alarms(ctl, &whole);
}
