/* What both ends of a msgapp stream must agree on. See peer/stream.h for the frames. */
#pragma once

#include "raft/types.h"

enum stream_frame { FRAME_HEARTBEAT = 0, FRAME_ENTRIES = 1, FRAME_MESSAGE = 2 };

/* The place after a whole message (rule 1). */
static inline void stream_place_of(const struct raft_message *message, uint64_t *ret_term,
                                   uint64_t *ret_index)
{
    *ret_term = message->term;
    *ret_index =
        message->entry_count ? message->entries[message->entry_count - 1].index : message->index;
}
