/* The frames of the two streams between members: bytes in, messages out, and back.
 *
 * message stream      8-byte BE length, then that many bytes of raftpb.Message. Link heartbeat: a
 *                     MsgHeartbeat from 0 to 0.
 * msgapp stream       one byte, then
 *   0x00              nothing: link heartbeat
 *   0x01              count u64 BE; count times: size u64 BE, raftpb.Entry; commit u64 BE
 *   0x02              size u64 BE, raftpb.Message
 *
 * Both ends of a msgapp stream keep a place (term, index), 0,0 at first:
 * 1. After 0x02 it is the message's term and the index of its last entry (of the message itself
 *    where it has none).
 * 2. 0x01 stands for a MsgApp whose index, log term and term are the place's; so an append that
 *    goes on where the last one ended needs no head. The index grows by one with each entry.
 * 3. A reader whose place is not the writer's cannot tell; so a stream that lost a byte is cut.
 *
 * A decoder's memory follows what has arrived (doubling), never what a length announces.
 * Thread: the owner's.  Owns: the bytes of the frame that is being read.
 * Source: etcd's interface, on-disk formats, "Peer transport". */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "raft/types.h"

enum peer_way { PEER_WAY_APPEND, PEER_WAY_MESSAGE };
#define PEER_WAYS 2
/* "msgapp", "message": the last part but one of the stream's path. */
const char *peer_way_text(enum peer_way way);

/* Of one frame, whatever it is; etcd's limit of the message stream. */
#define PEER_FRAME_BYTES_MAX ((uint64_t)512 << 20)

/* ---- Writing ---------------------------------------------------------------------------- */

struct stream_encoder {
    enum peer_way way;
    uint64_t term, index; /* the place */
};

void stream_encoder_init(struct stream_encoder *self, enum peer_way way);
/* Appends the frame of one message; on the append way it must be a MsgApp.
 * Fails: ERR_LIMIT of the buffer or the frame; nothing was appended then, the place stays. */
MUST err stream_encoder_put(struct stream_encoder *self, const struct raft_message *message,
                            struct buf *out);
/* Fails: ERR_LIMIT. */
MUST err stream_encoder_put_heartbeat(const struct stream_encoder *self, struct buf *out);

/* ---- Reading ---------------------------------------------------------------------------- */

/* Bytes that arrived and are entries' data now: what their blobs are. */
struct peer_blob;

struct stream_decoder_config {
    enum peer_way way;
    uint64_t local, remote; /* ids that a rebuilt MsgApp carries as to and from */
    /* A message. Its entries' data lie in their blobs; all else is valid during the call. The
     * call may not feed or free the decoder. Link heartbeats do not come here. */
    void (*message)(void *ctx, const struct raft_message *message, size_t frame_bytes);
    void *ctx;
};

struct stream_decoder;

struct stream_decoder *stream_decoder_new(const struct stream_decoder_config *config);
/* NULL is legal. Blobs live on with their references. */
void stream_decoder_free(struct stream_decoder *self);
/* Fails: ERR_SYNTAX, ERR_LIMIT: the stream is to be cut, and the decoder with it. */
MUST err stream_decoder_feed(struct stream_decoder *self, struct bytes piece);
/* Bytes held for the frame that is not whole yet. */
size_t stream_decoder_held_bytes(const struct stream_decoder *self);

/* ---- One message (POST /raft) ----------------------------------------------------------- */

/* Collects a body of one raftpb.Message; the same bounds and the same ownership of data. */
struct message_collector;
struct message_collector *message_collector_new(size_t bytes_max);
void message_collector_free(struct message_collector *self);
/* Fails: ERR_LIMIT. */
MUST err message_collector_feed(struct message_collector *self, struct bytes piece);
size_t message_collector_bytes(const struct message_collector *self);
/* The message, valid until the collector is freed. Once. Fails: ERR_SYNTAX, ERR_LIMIT. */
MUST err message_collector_end(struct message_collector *self,
                               const struct raft_message **ret_message);
