#include "peer/stream.h"
#include "peer/stream_frame.h"
#include "wal/raft_codec.h"

const char *peer_way_text(enum peer_way way)
{
    return way == PEER_WAY_APPEND ? "msgapp" : "message";
}

void stream_encoder_init(struct stream_encoder *self, enum peer_way way)
{
    *self = (struct stream_encoder){.way = way};
}

static void put_be64(struct buf *out, uint64_t v)
{
    bytes_put_be64(out->data + out->len, v);
    out->len += 8;
}

/* Length and message behind a kind byte or nothing. */
static err put_message(const struct raft_message *message, const uint8_t *kind, struct buf *out)
{
    size_t size = raft_codec_message_size(message);
    if (size > PEER_FRAME_BYTES_MAX)
        return ERR_LIMIT;
    TRY(buf_reserve(out, size + 9));
    size_t before = out->len;
    if (kind)
        out->data[out->len++] = *kind;
    put_be64(out, size);
    err e = raft_codec_message_encode(message, out);
    if (!err_ok(e))
        out->len = before;
    return e;
}

static bool goes_on(const struct stream_encoder *self, const struct raft_message *message)
{
    return message->index == self->index && message->log_term == self->term &&
           message->term == self->term;
}

/* Reserved before, so nothing fails half way. */
static err put_run(const struct raft_message *message, struct buf *out)
{
    uint64_t size = 17;
    for (size_t i = 0; i < message->entry_count; i++)
        size += 8 + raft_codec_entry_size(&message->entries[i]);
    if (size > PEER_FRAME_BYTES_MAX || message->entry_count > RAFT_CODEC_ENTRIES_MAX)
        return ERR_LIMIT;
    TRY(buf_reserve(out, (size_t)size));
    size_t before = out->len;
    out->data[out->len++] = FRAME_ENTRIES;
    put_be64(out, message->entry_count);
    for (size_t i = 0; i < message->entry_count; i++) {
        const struct raft_entry *entry = &message->entries[i];
        uint8_t head[RAFT_CODEC_ENTRY_HEAD_BYTES_MAX];
        size_t head_len = raft_codec_entry_head(entry, head);
        put_be64(out, head_len + entry->data.len);
        memcpy(out->data + out->len, head, head_len);
        out->len += head_len;
        if (entry->data.len)
            memcpy(out->data + out->len, entry->data.data, entry->data.len);
        out->len += entry->data.len;
    }
    put_be64(out, message->commit);
    CHECK(out->len == before + size);
    return OK;
}

err stream_encoder_put(struct stream_encoder *self, const struct raft_message *message,
                       struct buf *out)
{
    if (self->way == PEER_WAY_MESSAGE)
        return put_message(message, NULL, out);
    CHECK(message->type == RAFT_MSG_APP);
    if (goes_on(self, message)) {
        TRY(put_run(message, out));
        self->index += message->entry_count;
        return OK;
    }
    static const uint8_t kind = FRAME_MESSAGE;
    TRY(put_message(message, &kind, out));
    stream_place_of(message, &self->term, &self->index);
    return OK;
}

err stream_encoder_put_heartbeat(const struct stream_encoder *self, struct buf *out)
{
    if (self->way == PEER_WAY_MESSAGE)
        return put_message(&(struct raft_message){.type = RAFT_MSG_HEARTBEAT}, NULL, out);
    static const uint8_t kind = FRAME_HEARTBEAT;
    return buf_append(out, bytes_of(&kind, 1));
}
