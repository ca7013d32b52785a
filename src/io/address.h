/* Socket addresses: IPv4, IPv6 and unix. Thread: any. Owns: nothing. */
#pragma once

#include "base/err.h"

#include <stdint.h>

#include <sys/socket.h>

#define IO_ADDRESS_TEXT_BYTES_MAX 128

struct io_address {
    struct sockaddr_storage storage;
    socklen_t len;
};

/* A numeric host ("10.0.0.1", "::1", "fe80::1%eth0", without brackets). Fails: ERR_SYNTAX. */
MUST err io_address_parse(const char *host, uint16_t port, struct io_address *ret_address);
/* A path up to 107 bytes. Fails: ERR_LIMIT. */
MUST err io_address_unix(const char *path, struct io_address *ret_address);
/* "10.0.0.1:2379", "[::1]:2379", or the path. */
void io_address_text(const struct io_address *self, char ret_text[IO_ADDRESS_TEXT_BYTES_MAX]);
/* 0 for unix. */
uint16_t io_address_port(const struct io_address *self);
bool io_address_equal(const struct io_address *a, const struct io_address *b);
