/* The file format of bbolt, as far as etcd's files have it.
 *
 * A file is pages of one size, numbered from 0; all integers are little-endian. A page that holds
 * more than one page's bytes goes on in the `overflow` pages that follow it.
 *
 *     page   0 u64 its number   8 u16 kind   10 u16 count   12 u32 overflow   16 …
 *
 *     meta (pages 0 and 1), from byte 16 of the page
 *            0 u32 magic        4 u32 version 2     8 u32 page size   12 u32 flags 0
 *           16 u64 root page   24 u64 sequence     32 u64 freelist page, or all ones: not stored
 *           40 u64 pages in use                    48 u64 txid
 *           56 u64 FNV-1a of the 56 bytes before
 *     leaf   count elements:  0 u32 flags (1: a bucket)   4 u32 pos   8 u32 key    12 u32 value
 *     branch count elements:  0 u32 pos   4 u32 key   8 u64 child
 *     freelist  u64 page numbers; count 0xffff: the first u64 is the count
 *
 * A key lies `pos` bytes behind the start of its element, a leaf's value right behind its key. Keys
 * ascend bytewise; a branch names each child by the child's first key. The root page is a leaf (or
 * branches above leaves) whose elements are buckets: the value begins with the bucket's root page
 * u64 and a sequence u64; root page 0 means that the bucket is one leaf page which follows there.
 *
 * Of two valid meta pages the one with the greater txid counts.
 *
 * Source: etcd's interface, on-disk formats, section 4.
 * Thread: any. */
#pragma once

#include "base/bytes.h"

#define BOLT_PAGE_BYTES     4096 /* as we write; files are read with any of [MIN, MAX] */
#define BOLT_PAGE_BYTES_MIN 512
#define BOLT_PAGE_BYTES_MAX 65536

#define BOLT_MAGIC       0xED0CDAEDu
#define BOLT_VERSION     2
#define BOLT_NO_FREELIST UINT64_MAX

#define BOLT_HEADER_BYTES        16
#define BOLT_META_BYTES          64
#define BOLT_ELEMENT_BYTES       16
#define BOLT_BUCKET_HEADER_BYTES 16
#define BOLT_KEY_BYTES_MAX       32768
#define BOLT_VALUE_BYTES_MAX     ((size_t)0x7ffffffe)
#define BOLT_ELEMENTS_MAX        0xffff /* count is 16 bits */

enum bolt_page_kind {
    BOLT_BRANCH = 0x01,
    BOLT_LEAF = 0x02,
    BOLT_META = 0x04,
    BOLT_FREELIST = 0x10,
};
#define BOLT_LEAF_BUCKET 1u

static inline uint16_t bolt_get_le16(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, 2);
    return v;
}

static inline void bolt_put_le16(uint8_t *p, uint16_t v)
{
    memcpy(p, &v, 2);
}

/* FNV-1a, 64 bits. */
static inline uint64_t bolt_fnv(struct bytes what)
{
    uint64_t h = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < what.len; i++)
        h = (h ^ what.data[i]) * UINT64_C(1099511628211);
    return h;
}
