/* Combination: appending n bytes multiplies what came before by x^(8n) modulo the polynomial.
 * The powers are tabled by the 8-bit digits of n, so that a length below 256 costs one
 * multiplication and one below 64 KiB two; a multiplication is one PCLMULQDQ, reduced by the
 * CRC32 instruction.
 * Source: Kounavis and Berry, "A systematic approach to building high performance software-based
 * CRC generators", 2005; bit order as RFC 3720 appendix B.4 (bit 31 is x^0). */
#include "base/crc.h"

#include <isa-l/crc.h>
#include <limits.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define POLY 0x82f63b78U /* reflected */
#define ONE  0x80000000U /* x^0 */

#define DIGIT_BITS 8
#define DIGITS     8

/* powers[d][k] = x^(8 * k * 256^d); filled before main, constant afterwards. */
static uint32_t powers[DIGITS][1 << DIGIT_BITS];
static uint32_t (*multiply)(uint32_t a, uint32_t b);

static uint32_t multiply_portable(uint32_t a, uint32_t b)
{
    uint32_t product = 0;
    for (; a; a <<= 1) {
        if (a & ONE)
            product ^= b;
        b = (b >> 1) ^ (POLY & -(b & 1));
    }
    return product;
}

#if defined(__x86_64__)
/* The product of two reflected 32-bit polynomials lies one bit low in 64; its lower half is what
 * stands above x^31, and the CRC32 instruction multiplies by x^32 and reduces. */
__attribute__((target("pclmul,sse4.2"))) static inline uint32_t multiply_clmul(uint32_t a,
                                                                               uint32_t b)
{
    __m128i product = _mm_clmulepi64_si128(_mm_cvtsi32_si128((int)a), _mm_cvtsi32_si128((int)b), 0);
    uint64_t v = (uint64_t)_mm_cvtsi128_si64(product) << 1;
    return _mm_crc32_u32(0, (uint32_t)v) ^ (uint32_t)(v >> 32);
}
#endif

__attribute__((constructor)) static void powers_fill(void)
{
    multiply = multiply_portable;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.2"))
        multiply = multiply_clmul;
#endif
    uint32_t step = ONE >> 8; /* x^8: one byte */
    for (unsigned d = 0; d < DIGITS; d++) {
        powers[d][0] = ONE;
        for (unsigned k = 1; k < 1 << DIGIT_BITS; k++)
            powers[d][k] = multiply_portable(powers[d][k - 1], step);
        step = multiply_portable(powers[d][(1 << DIGIT_BITS) - 1], step);
    }
}

uint32_t crc32c(uint32_t crc, struct bytes more)
{
    uint32_t state = ~crc;
    while (more.len) {
        size_t n = more.len < INT_MAX ? more.len : INT_MAX;
        /* Not written to; libisal's declaration lacks the const. */
        state = crc32_iscsi((unsigned char *)(uintptr_t)more.data, (int)n, state);
        more = bytes_skip(more, n);
    }
    return ~state;
}

uint32_t crc32c_combine(uint32_t crc_a, uint32_t crc_b, uint64_t len_b)
{
    for (unsigned d = 0; len_b; d++, len_b >>= DIGIT_BITS)
        crc_a = multiply(crc_a, powers[d][len_b & ((1 << DIGIT_BITS) - 1)]);
    return crc_a ^ crc_b;
}
