#include "peer/peers_internal.h"

#include "base/check.h"

static err number_parse(struct bytes *at, uint16_t *ret_number)
{
    unsigned number = 0;
    size_t n = 0;
    for (; n < at->len && at->data[n] >= '0' && at->data[n] <= '9'; n++) {
        number = number * 10 + (at->data[n] - '0');
        if (number > UINT16_MAX)
            return ERR_SYNTAX;
    }
    if (n == 0)
        return ERR_SYNTAX;
    *at = bytes_skip(*at, n);
    *ret_number = (uint16_t)number;
    return OK;
}

/* "3.7.1", "3.6.0-rc.2", "3.5": what follows the minor number says nothing about the protocol. */
err peer_cluster_version_parse(struct bytes text, struct cluster_version *ret_version)
{
    struct cluster_version version;
    TRY(number_parse(&text, &version.major));
    if (text.len == 0 || text.data[0] != '.')
        return ERR_SYNTAX;
    text = bytes_skip(text, 1);
    TRY(number_parse(&text, &version.minor));
    *ret_version = version;
    return OK;
}

size_t peer_request_headers(const struct peers *self, const char *to, const char *content_type,
                            struct http_header ret_headers[REQUEST_HEADERS_MAX])
{
    size_t n = 0;
    ret_headers[n++] = (struct http_header){BYTES_LIT("X-Server-From"), bytes_str(self->id_text)};
    ret_headers[n++] =
        (struct http_header){BYTES_LIT("X-Server-Version"), bytes_str(self->server_version_text)};
    ret_headers[n++] =
        (struct http_header){BYTES_LIT("X-Min-Cluster-Version"), bytes_str(self->min_version_text)};
    ret_headers[n++] =
        (struct http_header){BYTES_LIT("X-Etcd-Cluster-ID"), bytes_str(self->cluster_text)};
    ret_headers[n++] = (struct http_header){BYTES_LIT("X-PeerURLs"), bytes_str(self->urls_text)};
    if (to)
        ret_headers[n++] = (struct http_header){BYTES_LIT("X-Raft-To"), bytes_str(to)};
    if (content_type)
        ret_headers[n++] = (struct http_header){BYTES_LIT("Content-Type"), bytes_str(content_type)};
    CHECK(n <= REQUEST_HEADERS_MAX);
    return n;
}

/* Absent: 2.0.0, as members said nothing then. */
static err header_version(const struct http_exchange *exchange, const char *name,
                          struct cluster_version *ret_version)
{
    struct bytes text = http_exchange_header(exchange, name);
    if (!text.data) {
        *ret_version = (struct cluster_version){.major = 2};
        return OK;
    }
    return peer_cluster_version_parse(text, ret_version);
}

const char *peer_request_incompatible(struct peers *self, const struct http_exchange *exchange)
{
    struct cluster_version server;
    struct cluster_version min;
    bool readable = err_ok(header_version(exchange, "X-Server-Version", &server)) &&
                    err_ok(header_version(exchange, "X-Min-Cluster-Version", &min));
    uint64_t from = 0;
    (void)id_parse(http_exchange_header(exchange, "X-Server-From"), &from).code;
    struct peer *peer = peers_find(self, from);
    if (!readable || cluster_version_compare(server, self->min_version) < 0 ||
        cluster_version_compare(min, self->server_version) > 0) {
        if (!peer || !peer->version_said)
            peers_notice(self,
                         &(struct peer_notice){.kind = PEER_NOTICE_VERSION_MISMATCH,
                                               .peer = from,
                                               .direction = PEER_SENDING,
                                               .detail = "refused a request for its version"});
        if (peer)
            peer->version_said = true;
        return "incompatible version";
    }
    struct bytes cluster = http_exchange_header(exchange, "X-Etcd-Cluster-ID");
    uint64_t theirs = 0;
    if (err_ok(id_parse(cluster, &theirs)) && theirs == self->cluster_id)
        return NULL;
    if (!peer || !peer->cluster_said)
        peers_notice(self, &(struct peer_notice){.kind = PEER_NOTICE_CLUSTER_MISMATCH,
                                                 .peer = from,
                                                 .direction = PEER_SENDING,
                                                 .theirs = theirs});
    if (peer)
        peer->cluster_said = true;
    return "cluster ID mismatch";
}
