/* A narrowing on purpose: the build's warnings must refuse it. */
int narrow(long n);
int narrow(long n)
{
    return n;
}
