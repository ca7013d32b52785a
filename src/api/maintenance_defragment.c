/* Defragment: the store is cleaned beside everything else; see server/defragment.h. */
#include "api/cluster.h"

static void defragmented(struct request *request, const struct replica_reply *reply)
{
    const struct bytes nothing = BYTES_NONE; /* the answer has not even a header */
    if (reply->result.error.code)
        request_fail(request, reply->result.error);
    else
        request_answer(request, &nothing, 1);
}

void maintenance_defragment(struct request *request, const ProtobufCMessage *message)
{
    (void)message;
    front_defragment(request->front, request, defragmented);
}
