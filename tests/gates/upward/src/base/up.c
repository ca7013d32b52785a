/* An upward include on purpose: base may not see raft. */
#include "raft/raft.h"
