/* Any text is a compare, a request's words and an endpoint, or an error with its reason; what it
 * holds never points outside of what was read. */
#include "base/check.h"
#include "client/endpoint.h"
#include "etcdctl/txn_text.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena AUTO(arena_done) arena;
    struct endpoint AUTO(endpoint_done) endpoint;
    Etcdserverpb__Compare *compare = NULL;
    struct strings words = {0}, rest;
    const char *why = NULL;
    int64_t number;
    bool help;
    struct flag_set none = {0};
    unsigned dash;
    arena_init(&arena, 4096);
    char *text = arena_copy_str(&arena, bytes_of(data, size));
    if (err_ok(txn_compare_parse(&arena, text, &compare, &why)))
        CHECK(compare->key.len <= size && compare->target_union_case);
    else
        CHECK(why && *why);
    if (err_ok(txn_words(&arena, text, &words)))
        for (unsigned i = 0; i < words.count; i++)
            CHECK(strlen(words.items[i]) <= size);
    if (!err_ok(flags_parse(&none, 1, words, &arena, &rest, &dash, &help, &why)))
        CHECK(why && *why);
    if (!err_ok(number_parse(text, 0, &arena, &number, &why)))
        CHECK(why && *why);
    if (err_ok(endpoint_parse(bytes_of(data, size), &endpoint)))
        CHECK(endpoint.host[0] && strlen(endpoint.host) < sizeof(endpoint.host));
    return 0;
}
