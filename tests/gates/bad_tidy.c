/* A bug on purpose that only the analyzer sees: the tidy gate must fail here. */
#include <stdlib.h>

int read_after_free(void)
{
    int *p = malloc(sizeof(*p));
    if (!p)
        return 0;
    *p = 1;
    free(p);
    return *p;
}
