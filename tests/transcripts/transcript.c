#include "transcript.h"

#include "base/check.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

const struct command_arg *command_find(const struct command *self, const char *key)
{
    for (size_t i = 0; i < self->arg_count; i++)
        if (strcmp(self->args[i].key, key) == 0)
            return &self->args[i];
    return NULL;
}

bool command_flag(const struct command *self, const char *key)
{
    const struct command_arg *arg = command_find(self, key);
    return arg && (arg->value_count == 0 || strcmp(arg->values[0], "true") == 0);
}

uint64_t command_number(const struct command *self, const char *key, uint64_t otherwise)
{
    const struct command_arg *arg = command_find(self, key);
    return arg && arg->value_count > 0 ? strtoull(arg->values[0], NULL, 10) : otherwise;
}

/* The next line without its newline; false at the end. */
static bool next_line(struct bytes *text, struct bytes *ret_line)
{
    if (text->len == 0)
        return false;
    const uint8_t *end = memchr(text->data, '\n', text->len);
    size_t n = end ? (size_t)(end - text->data) : text->len;
    *ret_line = bytes_of(text->data, n);
    *text = bytes_skip(*text, end ? n + 1 : n);
    return true;
}

static bool line_is(struct bytes line, const char *what)
{
    return bytes_equal(line, bytes_str(what));
}

static bool line_is_blank(struct bytes line)
{
    for (size_t i = 0; i < line.len; i++)
        if (!isspace(line.data[i]))
            return false;
    return true;
}

static bool line_is_log(struct bytes line)
{
    static const char *const levels[] = {"DEBUG ", "INFO ", "WARN ", "ERROR ", "FATAL "};
    while (line.len > 0 && line.data[0] == ' ')
        line = bytes_skip(line, 1);
    for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++)
        if (bytes_has_prefix(line, bytes_str(levels[i])))
            return true;
    return false;
}

static void put(struct buf *buf, struct bytes what)
{
    err e = buf_append(buf, what);
    CHECK(err_ok(e));
}

static void put_line(struct buf *buf, struct bytes line)
{
    put(buf, line);
    put(buf, BYTES_LIT("\n"));
}

static void skip_spaces(const char **at)
{
    while (isspace((unsigned char)**at))
        (*at)++;
}

static const char *take_word(struct arena *arena, const char **at, const char *stops)
{
    const char *start = *at;
    while (**at && !strchr(stops, **at))
        (*at)++;
    return arena_copy_str(arena, bytes_of(start, (size_t)(*at - start)));
}

static void parse_values(struct arena *arena, const char **at, struct command_arg *arg)
{
    if (**at != '(') {
        arg->values[arg->value_count++] = take_word(arena, at, " \t");
        return;
    }
    (*at)++;
    for (;;) {
        skip_spaces(at);
        if (**at == ')' || **at == '\0')
            break;
        CHECK(arg->value_count < COMMAND_VALUES_MAX);
        arg->values[arg->value_count++] = take_word(arena, at, ",) ");
        skip_spaces(at);
        if (**at == ',')
            (*at)++;
    }
    if (**at)
        (*at)++;
}

static void parse_command(struct arena *arena, const char *line, struct command *command)
{
    const char *at = line;
    skip_spaces(&at);
    command->name = take_word(arena, &at, " \t");
    for (skip_spaces(&at); *at; skip_spaces(&at)) {
        CHECK(command->arg_count < COMMAND_ARGS_MAX);
        struct command_arg *arg = &command->args[command->arg_count++];
        /* A quoted word is a word, quotes and all. */
        arg->key = take_word(arena, &at, *at == '"' ? " \t" : "= \t");
        if (*at == '=') {
            at++;
            parse_values(arena, &at, arg);
        }
    }
}

/* Everything up to the separator is the command; false at the end of the text. */
static bool read_command(struct arena *arena, struct bytes *text, struct buf *copy,
                         struct command *command)
{
    struct bytes line;
    do {
        if (!next_line(text, &line))
            return false;
        put_line(copy, line);
    } while (line_is_blank(line) || line.data[0] == '#');

    struct buf AUTO(buf_done) input;
    buf_init(&input, 0);
    parse_command(arena, arena_copy_str(arena, line), command);
    while (next_line(text, &line)) {
        put_line(copy, line);
        if (line_is(line, "----"))
            break;
        put_line(&input, line);
    }
    command->input = arena_copy_str(arena, buf_bytes(&input));
    return true;
}

static void read_expected(struct bytes *text, struct buf *expected)
{
    struct bytes line;
    struct bytes before = *text;
    bool fenced = next_line(text, &line) && line_is(line, "----");
    if (!fenced)
        *text = before;
    while (next_line(text, &line)) {
        if (fenced ? line_is(line, "----") : line_is_blank(line))
            break;
        put_line(expected, line);
    }
    if (fenced && next_line(text, &line))
        CHECK(line_is(line, "----"));
}

static void without_log(struct bytes text, struct buf *out)
{
    struct bytes line;
    while (next_line(&text, &line))
        if (!line_is_log(line))
            put_line(out, line);
}

static bool outputs_equal(struct bytes a, struct bytes b)
{
    struct buf AUTO(buf_done) left;
    struct buf AUTO(buf_done) right;
    buf_init(&left, 0);
    buf_init(&right, 0);
    without_log(a, &left);
    without_log(b, &right);
    return bytes_equal(buf_bytes(&left), buf_bytes(&right));
}

static bool has_blank_line(struct bytes text)
{
    struct bytes line;
    while (next_line(&text, &line))
        if (line_is_blank(line))
            return true;
    return false;
}

static void rewrite_output(struct buf *copy, struct bytes output)
{
    bool fenced = has_blank_line(output);
    if (fenced)
        put(copy, BYTES_LIT("----\n"));
    put(copy, output);
    put(copy, fenced ? BYTES_LIT("----\n----\n") : BYTES_LIT("\n"));
}

static err read_file(const char *path, struct buf *out)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return ERR_NOT_FOUND;
    char chunk[8192];
    size_t n;
    while ((n = fread(chunk, 1, sizeof(chunk), file)) > 0)
        put(out, bytes_of(chunk, n));
    bool failed = ferror(file);
    (void)fclose(file);
    return failed ? ERR_IO : OK;
}

static bool write_file(const char *path, struct bytes text)
{
    /* The last empty line separates nothing. */
    while (text.len > 1 && text.data[text.len - 1] == '\n' && text.data[text.len - 2] == '\n')
        text.len--;
    FILE *file = fopen(path, "wb");
    if (!file)
        return false;
    bool written = fwrite(text.data, 1, text.len, file) == text.len;
    return fclose(file) == 0 && written;
}

static void report(const char *path, const struct command *command, struct bytes want,
                   struct bytes got)
{
    (void)fprintf(stderr, "%s: %s differs\n--- wanted\n%.*s--- got\n%.*s", path, command->name,
                  (int)want.len, (const char *)want.data, (int)got.len, (const char *)got.data);
}

int transcript_play(const char *path, bool rewrite, transcript_run run, void *ctx)
{
    struct buf AUTO(buf_done) file;
    struct buf AUTO(buf_done) copy;
    struct arena AUTO(arena_done) arena;
    buf_init(&file, 0);
    buf_init(&copy, 0);
    arena_init(&arena, 4096);
    if (!err_ok(read_file(path, &file)))
        return -1;
    struct bytes text = buf_bytes(&file);
    int differ = 0;
    for (;;) {
        struct command command = {.input = ""};
        if (!read_command(&arena, &text, &copy, &command))
            break;
        struct buf AUTO(buf_done) want;
        struct buf AUTO(buf_done) got;
        buf_init(&want, 0);
        buf_init(&got, 0);
        read_expected(&text, &want);
        run(ctx, &command, &got);
        if (got.len > 0 && got.data[got.len - 1] != '\n')
            put(&got, BYTES_LIT("\n"));
        rewrite_output(&copy, buf_bytes(&got));
        if (outputs_equal(buf_bytes(&want), buf_bytes(&got)))
            continue;
        differ++;
        if (!rewrite)
            report(path, &command, buf_bytes(&want), buf_bytes(&got));
    }
    if (rewrite && !write_file(path, buf_bytes(&copy)))
        return -1;
    return rewrite ? 0 : differ;
}
