/* What the files of the configuration share. */
#pragma once

#include "server/config.h"

enum setting_kind {
    KIND_STR,
    KIND_URLS,
    KIND_UINT,
    KIND_INT,
    KIND_BOOL,
    KIND_DURATION,
    KIND_STRS,
    KIND_GATES
};
enum setting_standing { STANDING_LIVE, STANDING_INERT, STANDING_LATER };

struct setting {
    enum setting_kind kind;
    size_t offset;
    const char *flag;
    const char *default_text;
    const char *yaml; /* NULL: the flag's name; "-": none */
    enum setting_standing standing;
    const char *help;
};

extern const struct setting settings[CONFIG_COUNT];

/* Sets one from its text. Fails: ERR_SYNTAX, *ret_reason in etcd's words. */
MUST err config_set(struct config *self, enum config_setting which, struct bytes text,
                    const char **ret_reason);
/* Fails: ERR_NOT_FOUND. */
MUST err config_find_flag(struct bytes name, enum config_setting *ret_which);
/* Reads a YAML or JSON file. Fails: any; *ret_reason is etcd's text. */
MUST err config_read_file(struct config *self, const char *path, enum config_outcome *ret_outcome,
                          const char **ret_reason);
/* The rules that hold between settings. Fails: ERR_USAGE. */
MUST err config_verify(struct config *self, const char **ret_reason);
void config_notice(struct config *self, const char *msg, const char *key, const char *value);
