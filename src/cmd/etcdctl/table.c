#include "etcdctl/table.h"

#include "base/check.h"

/* Characters, as far as a terminal gives each one place. */
static size_t text_width(const char *text)
{
    size_t width = 0;
    for (; *text; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

static void repeat(FILE *to, const char *what, size_t n)
{
    while (n-- > 0)
        (void)fputs(what, to);
}

static void rule(FILE *to, const size_t *widths, unsigned columns, const char *left,
                 const char *middle, const char *right)
{
    (void)fputs(left, to);
    for (unsigned c = 0; c < columns; c++) {
        repeat(to, "─", widths[c] + 2);
        (void)fputs(c + 1 < columns ? middle : right, to);
    }
    (void)fputc('\n', to);
}

static void line(FILE *to, const size_t *widths, unsigned columns, const char *const *cells,
                 bool centred)
{
    for (unsigned c = 0; c < columns; c++) {
        size_t room = widths[c] - text_width(cells[c]);
        size_t left = centred ? room / 2 : room;
        (void)fputs("│ ", to);
        repeat(to, " ", left);
        (void)fputs(cells[c], to);
        repeat(to, " ", room - left + 1);
    }
    (void)fputs("│\n", to);
}

void table_print(FILE *to, const struct table *self)
{
    size_t widths[TABLE_COLUMNS_MAX] = {0};
    unsigned n = self->columns;
    CHECK(n > 0 && n <= TABLE_COLUMNS_MAX);
    for (unsigned c = 0; c < n; c++) {
        widths[c] = text_width(self->headers[c]);
        for (size_t r = 0; r < self->row_count; r++) {
            size_t width = text_width(self->rows[r].cells[c]);
            if (width > widths[c])
                widths[c] = width;
        }
    }
    rule(to, widths, n, "┌", "┬", "┐");
    line(to, widths, n, self->headers, true);
    if (self->row_count > 0)
        rule(to, widths, n, "├", "┼", "┤");
    for (size_t r = 0; r < self->row_count; r++)
        line(to, widths, n, self->rows[r].cells, false);
    rule(to, widths, n, "└", "┴", "┘");
}
