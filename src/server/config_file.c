/* The configuration file: YAML, of which JSON is a part, read as libyaml's events and matched by
 * key path (client-transport-security.cert-file) against the one table of settings. Unknown keys
 * are noticed, not refused, as etcd does. Aliases are refused: they make small files large. */
#include "server/config_internal.h"

#include <errno.h>
#include <stdio.h>
#include <yaml.h>

#define FILE_BYTES_MAX (1 << 20)
#define DEPTH_MAX      8

struct reader {
    struct config *config;
    yaml_parser_t parser;
    const char *path[DEPTH_MAX]; /* keys from the top */
    unsigned depth;
    const char **ret_reason;
    enum config_outcome outcome;
};

static const char *join_path(struct reader *self)
{
    const char *text = "";
    for (unsigned i = 0; i < self->depth; i++)
        text = arena_printf(&self->config->arena, "%s%s%s", text, i ? "." : "", self->path[i]);
    return text;
}

static bool find_key(const char *path, enum config_setting *ret_which)
{
    for (int i = 0; i < CONFIG_COUNT; i++) {
        const char *key = settings[i].yaml ? settings[i].yaml : settings[i].flag;
        if (strcmp(key, "-") != 0 && strcmp(key, path) == 0) {
            *ret_which = (enum config_setting)i;
            return true;
        }
    }
    return false;
}

static err refuse(struct reader *self, const char *format, const char *a, const char *b)
{
    *self->ret_reason =
        arena_printf(&self->config->arena, "%s%s%s%s", format, a, b[0] ? ": " : "", b);
    return ERR_SYNTAX;
}

static err take_value(struct reader *self, struct bytes text)
{
    const char *path = join_path(self);
    enum config_setting which;
    if (!find_key(path, &which)) {
        config_notice(self->config, "unrecognized key in the configuration file", "key", path);
        return OK;
    }
    const struct setting *setting = &settings[which];
    const char *why = "";
    if (setting->kind == KIND_DURATION) {
        /* Integer nanoseconds here; Go's text is taken too. */
        char ns[32];
        bool digits = text.len > 0 && text.len < 20;
        for (size_t i = 0; i < text.len; i++)
            digits = digits && text.data[i] >= '0' && text.data[i] <= '9';
        if (digits) {
            int n = snprintf(ns, sizeof(ns), "%.*sns", (int)text.len, (const char *)text.data);
            text = arena_copy(&self->config->arena, bytes_of(ns, (size_t)n));
        }
    }
    err e = config_set(self->config, which, text, &why);
    if (e.code) {
        if (setting->kind == KIND_URLS) {
            self->outcome = CONFIG_PLAIN;
            return refuse(self, "unexpected error setting up ", path, why);
        }
        return refuse(self, "error unmarshaling JSON: ", path, why);
    }
    self->config->is_set[which] = true;
    return OK;
}

static err next(struct reader *self, yaml_event_t *ret_event)
{
    if (!yaml_parser_parse(&self->parser, ret_event)) {
        const char *problem = self->parser.problem ? self->parser.problem : "cannot be read";
        const char *where = arena_printf(&self->config->arena, "yaml: line %zu",
                                         self->parser.problem_mark.line + 1);
        return refuse(self, "error converting YAML to JSON: ", where, problem);
    }
    return OK;
}

/* A list of scalars becomes the comma text that the flag would have. */
static err take_list(struct reader *self)
{
    const char *text = "";
    bool first = true;
    while (true) {
        yaml_event_t event;
        TRY(next(self, &event));
        yaml_event_type_t type = event.type;
        if (type == YAML_SCALAR_EVENT) {
            text =
                arena_printf(&self->config->arena, "%s%s%.*s", text, first ? "" : ",",
                             (int)event.data.scalar.length, (const char *)event.data.scalar.value);
            first = false;
        }
        yaml_event_delete(&event);
        if (type == YAML_SEQUENCE_END_EVENT)
            return take_value(self, bytes_str(text));
        if (type != YAML_SCALAR_EVENT)
            return refuse(self, "error unmarshaling JSON: ", join_path(self),
                          "a list of texts is expected");
    }
}

/* After a key: its scalar, list or mapping. */
static err take_node(struct reader *self, const yaml_event_t *event, bool *ret_is_mapping)
{
    *ret_is_mapping = false;
    if (event->type == YAML_SCALAR_EVENT)
        return take_value(self, bytes_of(event->data.scalar.value, event->data.scalar.length));
    if (event->type == YAML_SEQUENCE_START_EVENT)
        return take_list(self);
    if (event->type == YAML_MAPPING_START_EVENT) {
        *ret_is_mapping = true;
        return OK;
    }
    return refuse(self, "error converting YAML to JSON: ", "yaml", "aliases are not allowed");
}

static err take_mapping_event(struct reader *self, const yaml_event_t *event, bool *want_key,
                              bool *ret_done)
{
    if (event->type == YAML_MAPPING_END_EVENT) {
        *ret_done = self->depth == 0;
        if (self->depth)
            self->depth--;
        *want_key = true;
        return OK;
    }
    if (*want_key) {
        if (event->type != YAML_SCALAR_EVENT || self->depth == DEPTH_MAX)
            return refuse(self, "error converting YAML to JSON: ", "yaml", "a key is expected");
        self->path[self->depth++] = arena_copy_str(
            &self->config->arena, bytes_of(event->data.scalar.value, event->data.scalar.length));
        *want_key = false;
        return OK;
    }
    bool is_mapping;
    TRY(take_node(self, event, &is_mapping));
    if (!is_mapping)
        self->depth--;
    *want_key = true;
    return OK;
}

static err read_document(struct reader *self)
{
    bool started = false, want_key = true, done = false;
    while (!done) {
        yaml_event_t event;
        TRY(next(self, &event));
        err e = OK;
        yaml_event_type_t type = event.type;
        if (started)
            e = take_mapping_event(self, &event, &want_key, &done);
        else if (type == YAML_MAPPING_START_EVENT)
            started = true;
        else if (type == YAML_STREAM_END_EVENT)
            done = true; /* an empty file */
        else if (type == YAML_SCALAR_EVENT || type == YAML_SEQUENCE_START_EVENT ||
                 type == YAML_ALIAS_EVENT)
            e = refuse(self, "error unmarshaling JSON: ", "the file", "a mapping is expected");
        yaml_event_delete(&event);
        TRY(e);
    }
    return OK;
}

static err read_all(struct config *config, const char *path, struct bytes *ret_text,
                    const char **ret_reason)
{
    FILE *file = fopen(path, "re");
    if (!file) {
        *ret_reason = arena_printf(&config->arena, "open %s: %s", path,
                                   errno == ENOENT ? "no such file or directory" : strerror(errno));
        return ERR_NOT_FOUND;
    }
    uint8_t *text = arena_alloc_bytes(&config->arena, FILE_BYTES_MAX + 1);
    size_t len = fread(text, 1, FILE_BYTES_MAX + 1, file);
    bool bad = ferror(file);
    (void)fclose(file);
    if (bad || len > FILE_BYTES_MAX) {
        *ret_reason = arena_printf(&config->arena, "read %s: %s", path,
                                   bad ? "input/output error" : "longer than 1 MiB");
        return ERR_LIMIT;
    }
    *ret_text = bytes_of(text, len);
    return OK;
}

err config_read_file(struct config *self, const char *path, enum config_outcome *ret_outcome,
                     const char **ret_reason)
{
    struct bytes text;
    TRY(read_all(self, path, &text, ret_reason));
    struct reader reader = {.config = self, .ret_reason = ret_reason, .outcome = CONFIG_REFUSED};
    if (!yaml_parser_initialize(&reader.parser))
        abort();
    yaml_parser_set_input_string(&reader.parser, text.data, text.len);
    err e = read_document(&reader);
    yaml_parser_delete(&reader.parser);
    if (e.code)
        *ret_outcome = reader.outcome;
    return e;
}
