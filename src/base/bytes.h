/* A borrowed run of bytes: pointer and length, owning nothing.
 * Thread: any.  Owns: nothing; whoever hands one out says how long it lives. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct bytes {
    const uint8_t *data;
    size_t len;
};

#define BYTES_NONE   ((struct bytes){NULL, 0})
#define BYTES_LIT(s) ((struct bytes){(const uint8_t *)("" s), sizeof(s) - 1})

static inline struct bytes bytes_of(const void *data, size_t len)
{
    return (struct bytes){data, len};
}

static inline struct bytes bytes_str(const char *text)
{
    return (struct bytes){(const uint8_t *)text, strlen(text)};
}

/* Byte-wise order, a prefix before what it is a prefix of. */
static inline int bytes_compare(struct bytes a, struct bytes b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int c = n ? memcmp(a.data, b.data, n) : 0;
    if (c)
        return c;
    return (a.len > b.len) - (a.len < b.len);
}

static inline bool bytes_equal(struct bytes a, struct bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static inline bool bytes_has_prefix(struct bytes self, struct bytes prefix)
{
    return self.len >= prefix.len &&
           (prefix.len == 0 || memcmp(self.data, prefix.data, prefix.len) == 0);
}

/* What follows the first n bytes; n <= len. */
static inline struct bytes bytes_skip(struct bytes self, size_t n)
{
    return (struct bytes){n ? self.data + n : self.data, self.len - n};
}

/* One past the last byte; of no bytes the pointer itself, NULL too. */
static inline const uint8_t *bytes_end(struct bytes self)
{
    return self.len ? self.data + self.len : self.data;
}

/* Fixed-width integers as they lie in files and frames. */
static inline uint64_t bytes_get_be64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    return __builtin_bswap64(v);
}

static inline void bytes_put_be64(uint8_t *p, uint64_t v)
{
    v = __builtin_bswap64(v);
    memcpy(p, &v, 8);
}

static inline uint64_t bytes_get_le64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    return v;
}

static inline void bytes_put_le64(uint8_t *p, uint64_t v)
{
    memcpy(p, &v, 8);
}

static inline uint32_t bytes_get_le32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return v;
}

static inline void bytes_put_le32(uint8_t *p, uint32_t v)
{
    memcpy(p, &v, 4);
}
