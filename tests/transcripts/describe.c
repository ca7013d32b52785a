#include "describe.h"

#include "raft/conf_codec.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void put_text(struct buf *out, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    CHECK(n >= 0 && (size_t)n < sizeof(text));
    err e = buf_append(out, bytes_of(text, (size_t)n));
    CHECK(err_ok(e));
}

void put_indented(struct buf *out, struct bytes from)
{
    while (from.len > 0) {
        const uint8_t *end = memchr(from.data, '\n', from.len);
        size_t n = end ? (size_t)(end - from.data) : from.len;
        put_text(out, "  ");
        err e = buf_append(out, bytes_of(from.data, n));
        CHECK(err_ok(e));
        put_text(out, "\n");
        from = bytes_skip(from, end ? n + 1 : n);
    }
}

static void put_quoted(struct buf *out, struct bytes data)
{
    put_text(out, "\"");
    for (size_t i = 0; i < data.len; i++) {
        uint8_t c = data.data[i];
        if (c == '"' || c == '\\')
            put_text(out, "\\%c", c);
        else if (isprint(c))
            put_text(out, "%c", c);
        else
            put_text(out, "\\x%02x", c);
    }
    put_text(out, "\"");
}

static void put_conf_changes(struct buf *out, const struct raft_conf_change *change)
{
    static const char letters[] = {
        [RAFT_ADD_NODE] = 'v',
        [RAFT_REMOVE_NODE] = 'r',
        [RAFT_UPDATE_NODE] = 'u',
        [RAFT_ADD_LEARNER] = 'l',
    };
    for (uint32_t i = 0; i < change->count; i++)
        put_text(out, " %c%" PRIu64, letters[change->changes[i].type], change->changes[i].node_id);
}

bool parse_conf_changes(const char *text, struct raft_conf_change *change)
{
    for (;;) {
        while (isspace((unsigned char)*text))
            text++;
        if (!*text)
            return true;
        if (change->count == RAFT_MEMBERS_MAX)
            return false;
        struct raft_conf_single *single = &change->changes[change->count++];
        switch (*text++) {
        case 'v':
            single->type = RAFT_ADD_NODE;
            break;
        case 'r':
            single->type = RAFT_REMOVE_NODE;
            break;
        case 'u':
            single->type = RAFT_UPDATE_NODE;
            break;
        case 'l':
            single->type = RAFT_ADD_LEARNER;
            break;
        default:
            return false;
        }
        char *end;
        single->node_id = strtoull(text, &end, 10);
        if (end == text)
            return false;
        text = end;
    }
}

void describe_entry(struct buf *out, const struct raft_entry *entry)
{
    static const char *const types[] = {
        [RAFT_ENTRY_NORMAL] = "EntryNormal",
        [RAFT_ENTRY_CONF_CHANGE] = "EntryConfChange",
        [RAFT_ENTRY_CONF_CHANGE_V2] = "EntryConfChangeV2",
    };
    put_text(out, "%" PRIu64 "/%" PRIu64 " %s", entry->term, entry->index, types[entry->type]);
    if (entry->type == RAFT_ENTRY_NORMAL) {
        put_text(out, " ");
        put_quoted(out, entry->data);
        return;
    }
    struct raft_conf_change change;
    err e = raft_conf_change_decode(entry->type, entry->data, &change);
    CHECK(err_ok(e));
    put_conf_changes(out, &change);
}

static void put_member(struct buf *out, uint64_t id)
{
    if (id == RAFT_APPEND_THREAD)
        put_text(out, "AppendThread");
    else if (id == RAFT_APPLY_THREAD)
        put_text(out, "ApplyThread");
    else
        put_text(out, "%" PRIx64, id);
}

static void put_ids(struct buf *out, const char *name, const struct raft_id_set *set)
{
    put_text(out, "%s:[", name);
    for (uint32_t i = 0; i < set->count; i++)
        put_text(out, i ? " %" PRIu64 : "%" PRIu64, set->ids[i]);
    put_text(out, "] ");
}

static void put_snapshot(struct buf *out, const struct raft_snapshot *snapshot)
{
    put_text(out, "Index:%" PRIu64 " Term:%" PRIu64 " ConfState:", snapshot->index, snapshot->term);
    put_ids(out, "Voters", &snapshot->conf_state.voters);
    put_ids(out, "VotersOutgoing", &snapshot->conf_state.voters_outgoing);
    put_ids(out, "Learners", &snapshot->conf_state.learners);
    put_ids(out, "LearnersNext", &snapshot->conf_state.learners_next);
    put_text(out, "AutoLeave:%s", snapshot->conf_state.auto_leave ? "true" : "false");
}

static void put_message_entries(struct buf *out, const struct raft_message *m, const char *indent)
{
    put_text(out, " Entries:[");
    for (size_t i = 0; i < m->entry_count; i++) {
        if (m->entry_count > 1)
            put_text(out, "\n%s  ", indent);
        describe_entry(out, &m->entries[i]);
    }
    if (m->entry_count > 1)
        put_text(out, "\n%s", indent);
    put_text(out, "]");
}

/* Responses hold none of their own: NOLINTNEXTLINE(misc-no-recursion) */
void describe_message(struct buf *out, const struct raft_message *m, const char *indent)
{
    put_member(out, m->from);
    put_text(out, "->");
    put_member(out, m->to);
    put_text(out, " %s Term:%" PRIu64 " Log:%" PRIu64 "/%" PRIu64, raft_message_type_text(m->type),
             m->term, m->log_term, m->index);
    if (m->reject)
        put_text(out, " Rejected (Hint: %" PRIu64 ")", m->reject_hint);
    if (m->commit != 0)
        put_text(out, " Commit:%" PRIu64, m->commit);
    if (m->vote != 0)
        put_text(out, " Vote:%" PRIu64, m->vote);
    if (m->entry_count > 0)
        put_message_entries(out, m, indent);
    if (m->snapshot) {
        put_text(out, "\n%s  Snapshot: ", indent);
        put_snapshot(out, m->snapshot);
    }
    if (m->response_count > 0) {
        char deeper[32];
        (void)snprintf(deeper, sizeof(deeper), "%s  ", indent);
        put_text(out, " Responses:[");
        for (size_t i = 0; i < m->response_count; i++) {
            put_text(out, "\n%s", deeper);
            describe_message(out, &m->responses[i], deeper);
        }
        put_text(out, "\n%s]", indent);
    }
}

static void put_entries(struct buf *out, const char *title, const struct raft_entry *entries,
                        size_t count)
{
    if (count > 0)
        put_text(out, "%s:\n", title);
    for (size_t i = 0; i < count; i++) {
        describe_entry(out, &entries[i]);
        put_text(out, "\n");
    }
}

static void put_states(struct buf *out, const struct raft_ready *ready)
{
    if (ready->has_soft_state)
        put_text(out, "Lead:%" PRIu64 " State:%s\n", ready->soft_state.leader,
                 raft_role_text(ready->soft_state.role));
    if (ready->has_hard_state) {
        put_text(out, "HardState Term:%" PRIu64, ready->hard_state.term);
        if (ready->hard_state.vote != 0)
            put_text(out, " Vote:%" PRIu64, ready->hard_state.vote);
        put_text(out, " Commit:%" PRIu64 "\n", ready->hard_state.commit);
    }
    for (size_t i = 0; i < ready->read_state_count; i++) {
        put_text(out, "ReadState Index:%" PRIu64 " ", ready->read_states[i].index);
        put_quoted(out, ready->read_states[i].context);
        put_text(out, "\n");
    }
}

void describe_ready(struct buf *out, const struct raft_ready *ready)
{
    struct buf AUTO(buf_done) body;
    buf_init(&body, 0);
    put_states(&body, ready);
    put_entries(&body, "Entries", ready->entries, ready->entry_count);
    if (ready->snapshot) {
        put_text(&body, "Snapshot ");
        put_snapshot(&body, ready->snapshot);
        put_text(&body, "\n");
    }
    put_entries(&body, "CommittedEntries", ready->committed, ready->committed_count);
    if (ready->message_count > 0)
        put_text(&body, "Messages:\n");
    for (size_t i = 0; i < ready->message_count; i++) {
        describe_message(&body, &ready->messages[i], "");
        put_text(&body, "\n");
    }
    if (body.len == 0) {
        put_text(out, "<empty Ready>\n");
        return;
    }
    put_text(out, "Ready MustSync=%s:\n", ready->must_sync ? "true" : "false");
    err e = buf_append(out, buf_bytes(&body));
    CHECK(err_ok(e));
}
