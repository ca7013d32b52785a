/* --force-new-cluster: a member whose fellows are lost for good goes on alone, with what it has.
 *
 * Entries that remove all others follow on those in its log, all of which count as agreed on from
 * now on: the member then starts as usual, applies them, and leads alone. (etcd drops what is not
 * known to be committed; but the commit index on a disk lags what was acknowledged, and nobody is
 * left who could say otherwise.) Thread: the starting one.  Source: etcd's flag of that name. */
#pragma once

#include "server/boot.h"

/* After the log was prepared and the store is loaded.
 * Fails: any of reading the log; *ret_reason is for people (boot's arena). */
MUST err boot_force_new_cluster(struct boot *self, struct mailbox *log_completions,
                                const char **ret_reason);
