/* CRC-32C (Castagnoli, reflected, initial and final value inverted), as etcd's log and hashes
 * use it (contract: ondisk). Thread: any. */
#pragma once

#include "base/bytes.h"

/* Continues crc (0 for a fresh one) over more bytes: crc32c(crc32c(0,a),b) == crc32c(0,a||b). */
uint32_t crc32c(uint32_t crc, struct bytes more);
/* The CRC of a||b from crc(a), crc(b) and the length of b, without touching the bytes. */
uint32_t crc32c_combine(uint32_t crc_a, uint32_t crc_b, uint64_t len_b);
