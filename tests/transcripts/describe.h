/* Messages, entries and readies as transcripts write them. Thread: one. */
#pragma once

#include "base/buf.h"
#include "raft/raft.h"

void put_text(struct buf *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
void describe_entry(struct buf *out, const struct raft_entry *entry);
/* Without a newline at the end; lines after the first are indented by `indent`. */
void describe_message(struct buf *out, const struct raft_message *message, const char *indent);
void describe_ready(struct buf *out, const struct raft_ready *ready);
/* Appends from's lines to out, each indented by two columns. */
void put_indented(struct buf *out, struct bytes from);
/* "v1 l2 r3 u4" and back. False: not such a list. */
bool parse_conf_changes(const char *text, struct raft_conf_change *change);
