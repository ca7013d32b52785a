/* Values as Go's etcdctl prints them.  Thread: any.  Owns: nothing. */
#pragma once

#include "base/bytes.h"

#include <stdio.h>

/* As Go's %q: quoted, what is not printable escaped, what is no UTF-8 as \xNN. */
void text_quote(FILE *to, struct bytes what);
/* Each byte as \xNN. */
void text_hex(FILE *to, struct bytes what);
