#include "etcdctl/auth.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#define PASSWORD_BYTES_MAX 4096

/* A line of stdin without its end, unseen. A signal that ends the process on the way would leave
 * the terminal without echo: Ctrl-C is a byte here, and a line that begins with it is none. */
static const char *line_read(struct ctl *ctl, const char *prompt)
{
    char line[PASSWORD_BYTES_MAX];
    struct termios before;
    bool terminal = tcgetattr(STDIN_FILENO, &before) == 0;
    (void)fputs(prompt, stdout);
    (void)fflush(stdout);
    if (terminal) {
        struct termios quiet = before;
        quiet.c_lflag &= ~(tcflag_t)(ECHO | ISIG);
        (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
    }
    const char *got = fgets(line, sizeof(line), stdin);
    if (terminal)
        (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
    (void)putchar('\n');
    if (!got || (terminal && line[0] == (char)before.c_cc[VINTR]))
        return "";
    line[strcspn(line, "\r\n")] = 0;
    return arena_copy_str(&ctl->arena, bytes_str(line));
}

int password_ask(struct ctl *ctl, const char *user, const char **ret_password)
{
    struct arena *arena = &ctl->arena;
    const char *first = line_read(ctl, arena_printf(arena, "Password of %s: ", user));
    if (!first[0])
        return ctl_fail(CTL_BAD_ARGS, "empty password");
    const char *again =
        line_read(ctl, arena_printf(arena, "Type password of %s again for confirmation: ", user));
    if (strcmp(first, again) != 0)
        return ctl_fail(CTL_BAD_ARGS, "given passwords are different");
    *ret_password = first;
    return CTL_OK;
}

const char *password_word(struct ctl *ctl)
{
    char word[PASSWORD_BYTES_MAX];
    size_t len = 0;
    int c;
    do
        c = getchar();
    while (c == ' ' || c == '\t');
    for (; c != EOF && !isspace(c) && len < sizeof(word); c = getchar())
        word[len++] = (char)c;
    return arena_copy_str(&ctl->arena, bytes_of(word, len));
}
