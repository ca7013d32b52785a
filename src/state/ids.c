#include "state/ids.h"

#include "base/check.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

#define SHA1_BYTES 20

static int url_order(const void *a, const void *b)
{
    return bytes_compare(*(const struct bytes *)a, *(const struct bytes *)b);
}

static int id_order(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static EVP_MD_CTX *digest_begin(void)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    CHECK(ctx && EVP_DigestInit_ex(ctx, EVP_sha1(), NULL) == 1);
    return ctx;
}

static void digest_add(EVP_MD_CTX *ctx, struct bytes what)
{
    CHECK(EVP_DigestUpdate(ctx, what.data, what.len) == 1);
}

static uint64_t digest_end(EVP_MD_CTX *ctx)
{
    uint8_t out[SHA1_BYTES];
    unsigned len = sizeof(out);
    CHECK(EVP_DigestFinal_ex(ctx, out, &len) == 1 && len == SHA1_BYTES);
    EVP_MD_CTX_free(ctx);
    return bytes_get_be64(out);
}

static uint64_t member_id_of(const struct bytes *urls, size_t url_count, struct bytes suffix)
{
    struct bytes *sorted = calloc(url_count ? url_count : 1, sizeof(*sorted));
    CHECK(sorted);
    if (url_count)
        memcpy(sorted, urls, url_count * sizeof(*sorted));
    qsort(sorted, url_count, sizeof(*sorted), url_order);
    EVP_MD_CTX *ctx = digest_begin();
    for (size_t i = 0; i < url_count; i++)
        digest_add(ctx, sorted[i]);
    digest_add(ctx, suffix);
    free(sorted);
    return digest_end(ctx);
}

uint64_t member_id_initial(const struct bytes *urls, size_t url_count, struct bytes token)
{
    return member_id_of(urls, url_count, token);
}

uint64_t member_id_added(const struct bytes *urls, size_t url_count, uint64_t unix_seconds)
{
    char text[24];
    int n = snprintf(text, sizeof(text), "%" PRIu64, unix_seconds);
    return member_id_of(urls, url_count, bytes_of(text, (size_t)n));
}

uint64_t cluster_id_of(const uint64_t *ids, size_t id_count)
{
    uint64_t *sorted = calloc(id_count ? id_count : 1, sizeof(*sorted));
    CHECK(sorted);
    if (id_count)
        memcpy(sorted, ids, id_count * sizeof(*sorted));
    qsort(sorted, id_count, sizeof(*sorted), id_order);
    EVP_MD_CTX *ctx = digest_begin();
    for (size_t i = 0; i < id_count; i++) {
        uint8_t be[8];
        bytes_put_be64(be, sorted[i]);
        digest_add(ctx, bytes_of(be, sizeof(be)));
    }
    free(sorted);
    return digest_end(ctx);
}

const char *id_text(uint64_t id, char text[ID_TEXT_MAX])
{
    snprintf(text, ID_TEXT_MAX, "%" PRIx64, id);
    return text;
}

err id_parse(struct bytes text, uint64_t *ret_id)
{
    if (text.len == 0 || text.len > 16)
        return ERR_SYNTAX;
    uint64_t id = 0;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        unsigned digit;
        if (c >= '0' && c <= '9')
            digit = c - '0';
        else if (c >= 'a' && c <= 'f')
            digit = c - 'a' + 10U;
        else if (c >= 'A' && c <= 'F')
            digit = c - 'A' + 10U;
        else
            return ERR_SYNTAX;
        id = id << 4 | digit;
    }
    *ret_id = id;
    return OK;
}

void request_ids_init(struct request_ids *self, uint64_t member_id, uint64_t unix_ms)
{
    self->prefix = member_id << 48;
    atomic_init(&self->next, (unix_ms & ((UINT64_C(1) << 40) - 1)) << 8);
}

uint64_t request_ids_take(struct request_ids *self, unsigned n)
{
    uint64_t first = atomic_fetch_add_explicit(&self->next, n, memory_order_relaxed) + 1;
    return self->prefix | (first & ((UINT64_C(1) << 48) - 1));
}
