/* The v2 tool's member commands. */
#pragma once

#include "etcdctl/v2.h"

int v2_run_member_list(struct v2 *self, const void *options, struct strings args);
int v2_run_member_add(struct v2 *self, const void *options, struct strings args);
int v2_run_member_remove(struct v2 *self, const void *options, struct strings args);
int v2_run_member_update(struct v2 *self, const void *options, struct strings args);
