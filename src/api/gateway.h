/* The JSON gateway and the health pages: exchanges that become requests.
 * Thread: the front's.  Source: etcd's interface, http table. */
#pragma once

#include "api/front_internal.h"

/* POST /v3/…: the method behind the path, its message read from JSON. */
void gateway_serve(struct request *request, struct bytes body);
/* The next message of a client's stream, where one waited for the answer to the one before; at its
 * end the request hears that the client sends no more. */
void gateway_resume(struct request *request);
/* OPTIONS of any path. */
void gateway_preflight(struct request *request);
/* Headers that let browsers of allowed origins read the answer; at most 3. */
#define GATEWAY_CORS_HEADERS 3
size_t gateway_cors(struct request *request, struct http_header ret_headers[GATEWAY_CORS_HEADERS]);

/* /health, /livez, /readyz and their parts. */
void health_serve(struct request *request);
