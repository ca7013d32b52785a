/* Members as the member commands print them. Internal to those commands. */
#pragma once

#include "etcdctl/print.h"

/* The json form with --hex: ids in hexadecimal. member: the one that was added; NULL: none. */
int print_members_json_hex(const Etcdserverpb__ResponseHeader *header,
                           const Etcdserverpb__Member *member, Etcdserverpb__Member **members,
                           size_t count);
