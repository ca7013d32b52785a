#include "peer_stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_stream(PEER_WAY_MESSAGE, bytes_of(data, size));
    return 0;
}
