/* With symbols_b.c: two libraries that define one symbol. */
int request_headers(void);

int request_headers(void)
{
    return 1;
}
