/* raft's types as raftpb bytes, by hand: the hottest messages of all, in log and on the wire.
 *
 * Written as etcd up to 3.6 writes them: fields ascending, and those that its schema holds for
 * never absent always there, zeros too (3.7 reads both). A message's snapshot is left out where
 * there is none. Read strictly: wire types must fit, numbers stay within RAFT_NUMBER_MAX (ids
 * apart), unknown types are refused; fields in any order, absent ones zero, unknown fields
 * skipped, of a field given twice the last counts, as protobuf has it. Groups are refused.
 *
 * Depth: a message holds responses, those hold none (RAFT_CODEC_DEPTH_MAX).
 * Thread: any.  Owns: nothing. Decoded data, contexts and snapshots' data lie in the input,
 * arrays in the arena; blobs are NULL, for the caller to set. */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "raft/types.h"

/* The most entries that a decoded message may hold. */
#define RAFT_CODEC_ENTRIES_MAX   (1u << 17)
#define RAFT_CODEC_RESPONSES_MAX 64u
#define RAFT_CODEC_DEPTH_MAX     2u

/* All that precedes an entry's data: its other fields, and tag and length of data where it has
 * any or is a membership change. The data follow and end the entry, so they can be lent. Returns
 * the bytes written. */
#define RAFT_CODEC_ENTRY_HEAD_BYTES_MAX 36u
size_t raft_codec_entry_head(const struct raft_entry *entry,
                             uint8_t ret_head[RAFT_CODEC_ENTRY_HEAD_BYTES_MAX]);
size_t raft_codec_entry_size(const struct raft_entry *entry);
/* Fails: ERR_SYNTAX; ERR_LIMIT a number beyond RAFT_NUMBER_MAX. */
MUST err raft_codec_entry_decode(struct bytes from, struct raft_entry *ret_entry);

#define RAFT_CODEC_STATE_BYTES_MAX 33u
size_t raft_codec_state_encode(const struct raft_hard_state *state,
                               uint8_t ret_bytes[RAFT_CODEC_STATE_BYTES_MAX]);
/* Fails: ERR_SYNTAX, ERR_LIMIT. */
MUST err raft_codec_state_decode(struct bytes from, struct raft_hard_state *ret_state);

/* Appends. Fails: ERR_LIMIT (buf). */
MUST err raft_codec_conf_state_encode(const struct raft_conf_state *state, struct buf *buf);
/* Fails: ERR_SYNTAX; ERR_LIMIT more than RAFT_MEMBERS_MAX ids in a list. */
MUST err raft_codec_conf_state_decode(struct bytes from, struct raft_conf_state *ret_state);

/* Appends. Fails: ERR_LIMIT (buf). */
MUST err raft_codec_snapshot_encode(const struct raft_snapshot *snapshot, struct buf *buf);
/* Fails: ERR_SYNTAX, ERR_LIMIT. */
MUST err raft_codec_snapshot_decode(struct bytes from, struct raft_snapshot *ret_snapshot);

size_t raft_codec_message_size(const struct raft_message *message);
/* Appends. Fails: ERR_LIMIT (buf); ERR_USAGE responses deeper than RAFT_CODEC_DEPTH_MAX. */
MUST err raft_codec_message_encode(const struct raft_message *message, struct buf *buf);
/* Fails: ERR_SYNTAX, ERR_LIMIT. */
MUST err raft_codec_message_decode(struct bytes from, struct arena *arena,
                                   struct raft_message *ret_message);
