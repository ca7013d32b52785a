/* The three kinds of transcripts, named by the folder that they lie in. */
#pragma once

#include "transcript.h"

struct player {
    const char *folder;
    void *(*begin)(void);
    transcript_run run;
    void (*end)(void *ctx);
};

/* committed, vote: what quorums decide. */
extern const struct player quorum_player;
/* simple, enter-joint, leave-joint: what membership changes make of a configuration. */
extern const struct player confchange_player;
/* Nodes, their messages and their threads, moved step by step. */
extern const struct player interaction_player;
