/* The numbers that members of a cluster know each other and their requests by.
 * Every member must come to the same numbers from the same input, etcd's members included.
 *
 *   member id    first 8 bytes, big endian, of SHA-1(sorted peer URLs, joined without separator,
 *                then the cluster token, then decimal unix seconds where one was added at run time)
 *   cluster id   first 8 bytes, big endian, of SHA-1(member ids ascending, 8 bytes big endian each)
 *   request id   bits 48-63 the low 16 bits of the member id; bits 8-47 the low 40 bits of the unix
 *                milliseconds at start; bits 0-7 a counter from 0; the low 48 bits count up by one
 *
 * Thread: any.  Owns: nothing.  Source: etcd's interface, on-disk formats, "IDs". */
#pragma once

#include "base/bytes.h"
#include "base/err.h"

#include <stdatomic.h>

#define ID_TEXT_MAX 17 /* 16 lower-case hex digits without padding, and the NUL */

/* The id of a member that --initial-cluster names: the token counts, time does not.
 * The order of urls does not matter. Never 0 in practice; the caller refuses a 0. */
uint64_t member_id_initial(const struct bytes *urls, size_t url_count, struct bytes token);
/* The id of a member added while the cluster runs: time counts, there is no token. */
uint64_t member_id_added(const struct bytes *urls, size_t url_count, uint64_t unix_seconds);
/* ids in any order. */
uint64_t cluster_id_of(const uint64_t *ids, size_t id_count);

/* Lower hex without padding, as everywhere in etcd's texts; returns text. */
const char *id_text(uint64_t id, char text[ID_TEXT_MAX]);
/* Reads 1 to 16 hex digits of either case and nothing else. Fails: ERR_SYNTAX. */
MUST err id_parse(struct bytes text, uint64_t *ret_id);

/* Gives out request ids; each thread takes a run and hands it out without sharing.
 * Thread: any. */
struct request_ids {
    uint64_t prefix;
    _Atomic uint64_t next; /* the low 48 bits */
};

void request_ids_init(struct request_ids *self, uint64_t member_id, uint64_t unix_ms);
/* The first of n ids in a run; the one after id is request_id_next(id). */
uint64_t request_ids_take(struct request_ids *self, unsigned n);
static inline uint64_t request_id_next(uint64_t id)
{
    const uint64_t low = (UINT64_C(1) << 48) - 1;
    return (id & ~low) | ((id + 1) & low);
}
