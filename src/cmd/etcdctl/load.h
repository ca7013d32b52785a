/* Many puts of random keys at once, and how long they took: what the check commands are made of.
 * Thread: one at a time.  Owns: its clients and slots while it runs. */
#pragma once

#include "etcdctl/command.h"

struct check_options {
    const char *load, *prefix;
    bool auto_compact, auto_defrag;
};

extern const struct flag check_perf_flags[], check_datascale_flags[];

int command_run_check_perf(struct ctl *ctl, const void *options, struct strings args);
int command_run_check_datascale(struct ctl *ctl, const void *options, struct strings args);

struct load {
    const char *prefix;
    size_t key_bytes, value_bytes;
    unsigned clients;    /* requests on the way at a time */
    unsigned per_second; /* 0: as fast as they are answered */
    unsigned duration_s; /* 0: until count are done */
    uint64_t count;
};

#define LOAD_ERRORS_MAX 16

struct load_result {
    uint64_t done;
    double per_second, slowest_s, stddev_s;
    struct {
        const char *text; /* ctl's arena */
        uint64_t count;
    } errors[LOAD_ERRORS_MAX];
    unsigned error_count;
};

/* Which of s, m, l, xl a --load names; CTL_BAD_FEATURE: none. */
int load_name(const char *name, unsigned *ret_index);
/* Refuses a prefix that has keys. */
int load_prefix_free(struct ctl *ctl, const char *prefix);
int load_put_all(struct ctl *ctl, const struct load *load, struct load_result *ret_result);
/* "FAIL: too many errors" and which; false: there were none. */
bool load_print_errors(const struct load_result *result);
/* Deletes the keys; then what --auto-compact and --auto-defrag say. */
int load_clean(struct ctl *ctl, const struct check_options *options);
