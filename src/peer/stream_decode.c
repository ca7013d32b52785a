/* The decoder as a machine that takes any cut of its bytes:
 *
 *     message  HEAD(8) ─> BODY ─┐
 *                ▲──────────────┘ message
 *
 *     msgapp   KIND(1) ─┬─ 0x00 ─> KIND
 *                       ├─ 0x01 ─> COUNT(8) ─> [ SIZE(8) ─> ENTRY ]* ─> COMMIT(8) ─> KIND  message
 *                       └─ 0x02 ─> HEAD(8) ─> BODY ─> KIND                                 message
 *
 * 1. `head` holds the bytes of the fixed-width part that is being read, head_len of them.
 * 2. `blob` holds the bytes of bodies and entries that have arrived, one behind the other.
 * 3. spans[i] is where entry i lies in the blob; the run's last span may still be growing. */
#include "peer/blob.h"
#include "peer/stream.h"
#include "peer/stream_frame.h"
#include "wal/raft_codec.h"

#include <stdlib.h>

/* A blob that nobody kept is used again up to this size; larger ones would pin room that their
 * next bytes do not need. */
#define SPARE_BYTES_MAX   512
#define ARENA_BLOCK_BYTES 4096

enum decoder_state { IN_KIND, IN_HEAD, IN_BODY, IN_COUNT, IN_SIZE, IN_ENTRY, IN_COMMIT };

struct span {
    size_t offset;
    size_t len;
};

struct stream_decoder {
    struct stream_decoder_config config;
    enum decoder_state state;
    uint64_t term, index; /* the place */
    uint8_t head[8];
    unsigned head_len;
    uint64_t body_left;
    struct peer_blob *blob;
    struct span *spans;
    size_t span_cap;
    size_t entry_count; /* of the run, announced */
    size_t entry_at;    /* of the run, arrived */
    struct arena arena;
};

struct stream_decoder *stream_decoder_new(const struct stream_decoder_config *config)
{
    struct stream_decoder *self = calloc(1, sizeof(*self));
    CHECK(self);
    self->config = *config;
    self->state = config->way == PEER_WAY_APPEND ? IN_KIND : IN_HEAD;
    arena_init(&self->arena, ARENA_BLOCK_BYTES);
    return self;
}

void stream_decoder_free(struct stream_decoder *self)
{
    if (!self)
        return;
    if (self->blob)
        raft_blob_unref(&self->blob->blob);
    arena_done(&self->arena);
    free(self->spans);
    free(self);
}

size_t stream_decoder_held_bytes(const struct stream_decoder *self)
{
    return (self->blob ? self->blob->len : 0) + self->head_len;
}

/* Back to between two frames. */
static void frame_end(struct stream_decoder *self)
{
    self->state = self->config.way == PEER_WAY_APPEND ? IN_KIND : IN_HEAD;
    if (self->blob && self->blob->blob.refs == 1 && self->blob->cap <= SPARE_BYTES_MAX) {
        self->blob->len = 0;
    } else if (self->blob) {
        raft_blob_unref(&self->blob->blob);
        self->blob = NULL;
    }
    arena_reset(&self->arena);
}

static void deliver(struct stream_decoder *self, const struct raft_message *message,
                    size_t frame_bytes)
{
    peer_blob_bind(self->blob, message);
    self->config.message(self->config.ctx, message, frame_bytes);
}

static bool is_link_heartbeat(const struct raft_message *message)
{
    return message->type == RAFT_MSG_HEARTBEAT && message->from == 0 && message->to == 0;
}

static err message_end(struct stream_decoder *self)
{
    /* An empty body is a message of zeros. */
    peer_blob_append(&self->blob, BYTES_NONE, 0);
    struct raft_message message;
    struct bytes body = bytes_of(self->blob->data, self->blob->len);
    TRY(raft_codec_message_decode(body, &self->arena, &message));
    if (self->config.way == PEER_WAY_APPEND) {
        if (message.type != RAFT_MSG_APP)
            return ERR_SYNTAX;
        stream_place_of(&message, &self->term, &self->index);
        deliver(self, &message, body.len + 9);
    } else if (!is_link_heartbeat(&message)) {
        deliver(self, &message, body.len + 8);
    }
    frame_end(self);
    return OK;
}

static err run_end(struct stream_decoder *self, uint64_t commit)
{
    if (commit > RAFT_NUMBER_MAX || self->index > RAFT_NUMBER_MAX - self->entry_count)
        return ERR_LIMIT;
    peer_blob_append(&self->blob, BYTES_NONE, 0);
    peer_blob_fit(&self->blob);
    struct raft_entry *entries = ARENA_ARRAY(&self->arena, struct raft_entry, self->entry_count);
    for (size_t i = 0; i < self->entry_count; i++) {
        const struct span *span = &self->spans[i];
        TRY(raft_codec_entry_decode(bytes_of(self->blob->data + span->offset, span->len),
                                    &entries[i]));
    }
    struct raft_message message = {.type = RAFT_MSG_APP,
                                   .to = self->config.local,
                                   .from = self->config.remote,
                                   .term = self->term,
                                   .log_term = self->term,
                                   .index = self->index,
                                   .commit = commit,
                                   .entries = entries,
                                   .entry_count = self->entry_count};
    self->index += self->entry_count;
    deliver(self, &message, 17 + self->blob->len + 8 * self->entry_count);
    frame_end(self);
    return OK;
}

static err kind_end(struct stream_decoder *self, uint8_t kind)
{
    switch (kind) {
    case FRAME_HEARTBEAT:
        return OK;
    case FRAME_ENTRIES:
        self->state = IN_COUNT;
        return OK;
    case FRAME_MESSAGE:
        self->state = IN_HEAD;
        return OK;
    default:
        return ERR_SYNTAX;
    }
}

static err entry_end(struct stream_decoder *self)
{
    self->entry_at++;
    self->state = self->entry_at < self->entry_count ? IN_SIZE : IN_COMMIT;
    return OK;
}

static err entry_begin(struct stream_decoder *self, uint64_t size)
{
    size_t held = self->blob ? self->blob->len : 0;
    if (size > PEER_FRAME_BYTES_MAX - held)
        return ERR_LIMIT;
    if (self->entry_at == self->span_cap) {
        self->span_cap = self->span_cap ? self->span_cap * 2 : 16;
        self->spans = realloc(self->spans, self->span_cap * sizeof(*self->spans));
        CHECK(self->spans);
    }
    self->spans[self->entry_at] = (struct span){.offset = held, .len = (size_t)size};
    self->body_left = size;
    self->state = IN_ENTRY;
    return size ? OK : entry_end(self);
}

static err body_begin(struct stream_decoder *self, uint64_t size)
{
    if (size > PEER_FRAME_BYTES_MAX)
        return ERR_LIMIT;
    self->body_left = size;
    self->state = IN_BODY;
    return size ? OK : message_end(self);
}

static err count_end(struct stream_decoder *self, uint64_t count)
{
    if (count > RAFT_CODEC_ENTRIES_MAX)
        return ERR_LIMIT;
    self->entry_count = (size_t)count;
    self->entry_at = 0;
    self->state = count ? IN_SIZE : IN_COMMIT;
    return OK;
}

/* A fixed-width part is whole. */
static err head_end(struct stream_decoder *self)
{
    uint64_t v = bytes_get_be64(self->head);
    self->head_len = 0;
    switch (self->state) {
    case IN_HEAD:
        return body_begin(self, v);
    case IN_COUNT:
        return count_end(self, v);
    case IN_SIZE:
        return entry_begin(self, v);
    case IN_COMMIT:
        return run_end(self, v);
    case IN_KIND:
    case IN_BODY:
    case IN_ENTRY:
        break;
    }
    CHECK(false);
    return OK;
}

static err feed_body(struct stream_decoder *self, struct bytes *piece)
{
    size_t n = piece->len < self->body_left ? piece->len : (size_t)self->body_left;
    size_t held = self->blob ? self->blob->len : 0;
    uint64_t expected = self->state == IN_BODY ? held + self->body_left : PEER_FRAME_BYTES_MAX;
    peer_blob_append(&self->blob, bytes_of(piece->data, n), expected);
    *piece = bytes_skip(*piece, n);
    self->body_left -= n;
    if (self->body_left)
        return OK;
    return self->state == IN_BODY ? message_end(self) : entry_end(self);
}

static err feed_head(struct stream_decoder *self, struct bytes *piece)
{
    size_t n = 8 - self->head_len;
    if (n > piece->len)
        n = piece->len;
    memcpy(self->head + self->head_len, piece->data, n);
    self->head_len += (unsigned)n;
    *piece = bytes_skip(*piece, n);
    return self->head_len == 8 ? head_end(self) : OK;
}

err stream_decoder_feed(struct stream_decoder *self, struct bytes piece)
{
    while (piece.len) {
        if (self->state == IN_KIND) {
            uint8_t kind = piece.data[0];
            piece = bytes_skip(piece, 1);
            TRY(kind_end(self, kind));
        } else if (self->state == IN_BODY || self->state == IN_ENTRY) {
            TRY(feed_body(self, &piece));
        } else {
            TRY(feed_head(self, &piece));
        }
    }
    return OK;
}

/* ---- One message ------------------------------------------------------------------------ */

struct message_collector {
    struct peer_blob *blob;
    size_t bytes_max;
    struct arena arena;
    struct raft_message message;
};

struct message_collector *message_collector_new(size_t bytes_max)
{
    struct message_collector *self = calloc(1, sizeof(*self));
    CHECK(self);
    self->bytes_max = bytes_max;
    arena_init(&self->arena, ARENA_BLOCK_BYTES);
    return self;
}

void message_collector_free(struct message_collector *self)
{
    if (!self)
        return;
    if (self->blob)
        raft_blob_unref(&self->blob->blob);
    arena_done(&self->arena);
    free(self);
}

size_t message_collector_bytes(const struct message_collector *self)
{
    return self->blob ? self->blob->len : 0;
}

err message_collector_feed(struct message_collector *self, struct bytes piece)
{
    if (piece.len > self->bytes_max - message_collector_bytes(self))
        return ERR_LIMIT;
    peer_blob_append(&self->blob, piece, self->bytes_max);
    return OK;
}

err message_collector_end(struct message_collector *self, const struct raft_message **ret_message)
{
    peer_blob_append(&self->blob, BYTES_NONE, 0);
    peer_blob_fit(&self->blob);
    TRY(raft_codec_message_decode(bytes_of(self->blob->data, self->blob->len), &self->arena,
                                  &self->message));
    peer_blob_bind(self->blob, &self->message);
    *ret_message = &self->message;
    return OK;
}
