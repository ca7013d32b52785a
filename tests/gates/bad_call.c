/* A banned call on purpose: strcpy(in a comment) and "strcpy(in a string)" do not count. */
#include <stdio.h>
#include <string.h>

void copy(char *to, const char *from)
{
    puts("strcpy(a, b)");
    strcpy(to, from);
}
