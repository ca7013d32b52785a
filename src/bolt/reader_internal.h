/* Pages and elements, for reader.c and check.c. */
#pragma once

#include "bolt/reader.h"

struct bolt_element {
    struct bytes key;
    struct bytes value; /* of a leaf's */
    uint64_t child;     /* of a branch's */
    bool is_bucket;
};

/* ERR_CORRUPT, with what is wrong. */
err bolt_refuse(struct bolt_fault *fault, uint64_t page, const char *what);
/* A branch or leaf, its extent and its elements' array checked. Fails: ERR_CORRUPT. */
MUST err bolt_page_open(const struct bolt_file *file, uint64_t id, struct bolt_page *ret_page,
                        struct bolt_fault *fault);
/* The root page of the bucket with this value, wherever it lies. *ret_id: its number, 0 where it
 * lies in the value, which is in page holder. Fails: ERR_CORRUPT. */
MUST err bolt_bucket_open(const struct bolt_file *file, struct bytes value, uint64_t holder,
                          struct bolt_page *ret_page, uint64_t *ret_id, struct bolt_fault *fault);
/* Element i < count. Fails: ERR_CORRUPT. */
MUST err bolt_element(const struct bolt_page *page, uint32_t i, struct bolt_element *ret_element,
                      struct bolt_fault *fault);
