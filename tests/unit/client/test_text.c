/* Values as etcdctl prints them: sizes, quoted strings, tables. */
#include "t.h"

#include "base/size.h"
#include "etcdctl/table.h"
#include "etcdctl/text.h"

static void sizes_read_as_go_humanize_writes_them(void **state)
{
    static const struct {
        uint64_t size;
        const char *text;
    } rows[] = {
        {0, "0 B"},
        {9, "9 B"},
        {10, "10 B"},
        {999, "999 B"},
        {1000, "1.0 kB"},
        {1049, "1.0 kB"},
        {1050, "1.1 kB"},
        {9949, "9.9 kB"},
        {9950, "10 kB"},
        {20480, "20 kB"},
        {24576, "25 kB"},
        {24500, "24 kB"}, /* halves go to the even */
        {25500, "26 kB"},
        {999999, "1000 kB"},
        {1000000, "1.0 MB"},
        {2147483648, "2.1 GB"},
        {8589934592, "8.6 GB"},
        {UINT64_MAX, "18 EB"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[SIZE_TEXT_MAX];
        size_text(rows[i].size, text);
        assert_string_equal(text, rows[i].text);
    }
}

static void assert_quoted(struct bytes what, const char *want)
{
    struct text text;
    text_quote(text_begin(&text), what);
    char *got = text_end(&text);
    assert_string_equal(got, want);
    free(got);
}

static void strings_are_quoted_as_by_go(void **state)
{
    assert_quoted(BYTES_LIT(""), "\"\"");
    assert_quoted(BYTES_LIT("plain key"), "\"plain key\"");
    assert_quoted(BYTES_LIT("a\"b\\c"), "\"a\\\"b\\\\c\"");
    assert_quoted(BYTES_LIT("\a\b\f\n\r\t\v"), "\"\\a\\b\\f\\n\\r\\t\\v\"");
    assert_quoted(BYTES_LIT("\0\x01\x7f"), "\"\\x00\\x01\\x7f\"");
    assert_quoted(BYTES_LIT("\xff\xc3"), "\"\\xff\\xc3\"");
    assert_quoted(BYTES_LIT("\xc0\x80"), "\"\\xc0\\x80\"");          /* overlong */
    assert_quoted(BYTES_LIT("\xed\xa0\x80"), "\"\\xed\\xa0\\x80\""); /* a surrogate */
    assert_quoted(BYTES_LIT("é日🙂"), "\"é日🙂\"");
    assert_quoted(BYTES_LIT("\u00a0"), "\"\\u00a0\""); /* a blank that is not ASCII's */
    assert_quoted(BYTES_LIT("\u200b\ufeff"), "\"\\u200b\\ufeff\"");
    assert_quoted(BYTES_LIT("\ue000"), "\"\\ue000\""); /* private use */
    assert_quoted(BYTES_LIT("\U000e0001"), "\"\\U000e0001\"");
    assert_quoted(BYTES_LIT("\U000323af\U000323b0"), "\"\U000323af\\U000323b0\"");
}

static void hex_shows_each_byte(void **state)
{
    struct text text;
    text_hex(text_begin(&text), BYTES_LIT("a\0\xff"));
    char *got = text_end(&text);
    assert_string_equal(got, "\\x61\\x00\\xff");
    free(got);
}

static void tables_are_as_wide_as_their_widest_cell(void **state)
{
    static const char *const headers[] = {"ID", "NAME", "E"};
    static const struct table_row rows[] = {{{"8e9e05c52164694d", "n1", ""}},
                                            {{"1", "größe", "xy"}}};
    struct text text;
    table_print(text_begin(&text), &(struct table){headers, 3, rows, 2});
    char *got = text_end(&text);
    assert_string_equal(got,
                        "┌──────────────────┬───────┬────┐\n"
                        "│        ID        │ NAME  │ E  │\n"
                        "├──────────────────┼───────┼────┤\n"
                        "│ 8e9e05c52164694d │    n1 │    │\n"
                        "│                1 │ größe │ xy │\n"
                        "└──────────────────┴───────┴────┘\n");
    free(got);
}

static void a_table_without_rows_has_no_middle_rule(void **state)
{
    static const char *const headers[] = {"ENDPOINT", "HASH"};
    struct text text;
    table_print(text_begin(&text), &(struct table){headers, 2, NULL, 0});
    char *got = text_end(&text);
    assert_string_equal(got,
                        "┌──────────┬──────┐\n"
                        "│ ENDPOINT │ HASH │\n"
                        "└──────────┴──────┘\n");
    free(got);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_read_as_go_humanize_writes_them),
        cmocka_unit_test(strings_are_quoted_as_by_go),
        cmocka_unit_test(hex_shows_each_byte),
        cmocka_unit_test(tables_are_as_wide_as_their_widest_cell),
        cmocka_unit_test(a_table_without_rows_has_no_middle_rule),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
