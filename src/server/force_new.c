#include "server/force_new.h"

#include "base/check.h"
#include "base/log.h"
#include "raft/conf_codec.h"
#include "raft/confchange.h"
#include "wal/raft_codec.h"

#include <stdlib.h>

/* What a member is given that its own cluster does not know, as etcd does it. */
static const char *const default_urls[] = {"http://localhost:2380", "http://localhost:7001"};

/* ── Who the members are ────────────────────────────────────────────────────────────────────── */

static err apply_entry(const struct raft_entry *entry, struct raft_conf_state *conf)
{
    struct raft_conf_change change;
    if (entry->type == RAFT_ENTRY_NORMAL)
        return OK;
    TRY(raft_conf_change_decode(entry->type, entry->data, &change));
    struct raft_conf_state next;
    /* One that was refused when it was applied does no harm here: too many are removed. */
    if (raft_conf_apply(conf, &change, &next) == RAFT_CONF_FINE)
        *conf = next;
    return OK;
}

/* After the whole log. */
static err effective_conf(struct boot *self, struct raft_conf_state *ret_conf)
{
    struct raft_entry entries[64];
    struct raft_conf_state conf = {0};
    uint64_t at = self->start.applied_index + 1, last = self->log_recovery.last_index;
    struct bytes stored = self->store.recovery.frame.conf_state;
    if (stored.len)
        TRY(raft_codec_conf_state_decode(stored, &conf));
    if (raft_conf_check(&conf) != RAFT_CONF_FINE)
        return ERR_CORRUPT;
    while (at <= last) {
        size_t count;
        TRY(stage_log_entries(self->log, at, last + 1, (uint64_t)16 << 20,
                              sizeof(entries) / sizeof(entries[0]), entries, &count));
        err e = OK;
        for (size_t i = 0; i < count && err_ok(e); i++)
            e = apply_entry(&entries[i], &conf);
        raft_entries_unref(entries, count);
        TRY(e);
        at += count;
    }
    *ret_conf = conf;
    return OK;
}

/* ── The entries that make it alone ─────────────────────────────────────────────────────────── */

struct making {
    struct boot *boot;
    struct raft_entry entries[1 + RAFT_MEMBERS_MAX];
    size_t count;
    uint64_t next_index;
    uint64_t term;
};

static void add(struct making *self, enum raft_conf_change_type type, uint64_t id,
                struct bytes context)
{
    struct buf AUTO(buf_done) data;
    struct raft_conf_change change = {.count = 1, .context = context};
    change.changes[0] = (struct raft_conf_single){type, id};
    buf_init(&data, 0);
    CHECK(err_ok(raft_conf_change_encode(RAFT_ENTRY_CONF_CHANGE, &change, &data)));
    self->entries[self->count++] =
        (struct raft_entry){.term = self->term,
                            .index = self->next_index++,
                            .type = RAFT_ENTRY_CONF_CHANGE,
                            .data = arena_copy(&self->boot->arena, buf_bytes(&data))};
}

/* First a voter that stays, then the others go. */
static void make_voter(struct making *self, const struct raft_conf_state *conf)
{
    uint64_t id = self->boot->member_id;
    struct buf AUTO(buf_done) context;
    buf_init(&context, 0);
    if (raft_id_set_has(&conf->voters, id))
        return;
    if (raft_id_set_has(&conf->learners, id))
        CHECK(err_ok(member_put_promotion_json(id, &context)));
    else
        CHECK(err_ok(member_put_json(
            &(struct member){.id = id, .name = "", .peer_urls = {default_urls, 2}}, &context)));
    add(self, RAFT_ADD_NODE, id, buf_bytes(&context));
}

static void remove_others(struct making *self, const struct raft_conf_state *conf)
{
    struct raft_id_set all;
    CHECK(raft_conf_members(conf, &all)); /* each change was applied to a sound one */
    for (uint32_t i = 0; i < all.count; i++)
        if (all.ids[i] != self->boot->member_id)
            add(self, RAFT_REMOVE_NODE, all.ids[i], BYTES_NONE);
}

/* ── Into the log ───────────────────────────────────────────────────────────────────────────── */

static void write_entries(struct boot *self, const struct making *made,
                          struct mailbox *log_completions)
{
    struct stage_log_batch *batch = stage_log_batch_new(made->count);
    for (size_t i = 0; i < made->count; i++)
        stage_log_batch_add(batch, &made->entries[i]);
    batch->id = 1;
    batch->term = made->term;
    batch->must_sync = batch->has_state = true;
    batch->state = self->start.hard_state;
    batch->state.commit = made->next_index - 1;
    stage_log_write_now(self->log, batch, log_completions);
}

err boot_force_new_cluster(struct boot *self, struct mailbox *log_completions,
                           const char **ret_reason)
{
    struct raft_conf_state conf;
    err e = effective_conf(self, &conf);
    if (e.code) {
        *ret_reason =
            arena_printf(&self->arena, "--force-new-cluster: the write-ahead log: %s", err_text(e));
        return e;
    }
    struct making *made = calloc(1, sizeof(*made));
    CHECK(made);
    made->boot = self;
    made->next_index = self->log_recovery.last_index + 1;
    made->term = self->start.hard_state.term ? self->start.hard_state.term : 1;
    self->start.hard_state.term = made->term;
    make_voter(made, &conf);
    remove_others(made, &conf);
    LOGI("forcing restart member", LOG_HEX("cluster-id", self->cluster_id),
         LOG_HEX("local-member-id", self->member_id),
         LOG_UINT("wal-commit-index", self->start.hard_state.commit),
         LOG_UINT("commit-index", made->next_index - 1));
    if (made->count) {
        write_entries(self, made, log_completions);
        self->start.hard_state.commit = made->next_index - 1;
        self->log_recovery.last_index = made->next_index - 1;
        self->log_recovery.last_term = made->term;
    }
    free(made);
    return OK;
}
