#include "server/staged_store.h"

#include "base/bug.h"
#include "base/check.h"
#include "bolt/reader.h"
#include "state/ids.h"
#include "state/members_v2.h"
#include "state/snapshot_load.h"
#include "wal/raft_codec.h"

#define JSON_BYTES_MAX ((size_t)1 << 20)
#define SUFFIX         ".staged"

struct staging {
    const struct staged_store *what;
    struct bolt_file file;
    struct bolt_fault fault;
    struct membership *members; /* of the v2 store; NULL: the file's count */
    struct arena *arena;
    const char **reason;
};

static err refuse(struct staging *self, err e, const char *what)
{
    *self->reason = self->fault.what && err_is(e, ERR_CORRUPT)
                        ? arena_printf(self->arena, "%s: page %llu: %s", what,
                                       (unsigned long long)self->fault.page, self->fault.what)
                        : arena_printf(self->arena, "%s: %s", what, err_text(e));
    return e;
}

static err file_check(struct staging *self, struct bytes file)
{
    struct snapshot_facts facts;
    uint64_t index = self->what->build.index;
    err e = bolt_file_open(&self->file, file, &self->fault);
    if (err_ok(e))
        e = bolt_file_check(&self->file, &self->fault);
    if (err_ok(e))
        e = snapshot_facts_read(&self->file, &facts, &self->fault);
    if (e.code)
        return refuse(self, e, "the file is no store of etcd");
    if (facts.version.len == 0 && self->what->v2_store.len) {
        e = membership_parse_v2_store(self->what->v2_store, &self->members);
        if (e.code)
            return refuse(self, e, "the members in the message");
    }
    if (facts.index <= index)
        return OK;
    *self->reason = arena_printf(self->arena, "the file's index %llu is above the expected %llu",
                                 (unsigned long long)facts.index, (unsigned long long)index);
    return ERR_CORRUPT;
}

static err members_put(const struct membership *members, struct mvcc_store *store)
{
    char id[ID_TEXT_MAX], version[CLUSTER_VERSION_TEXT_MAX];
    struct buf json AUTO(buf_done);
    buf_init(&json, JSON_BYTES_MAX);
    for (size_t i = 0; i < members->count; i++) {
        buf_clear(&json);
        TRY(member_put_json(&members->members[i], &json));
        TRY(mvcc_store_import_bucket(store, MVCC_BUCKET_MEMBERS,
                                     bytes_str(id_text(members->members[i].id, id)),
                                     buf_bytes(&json)));
    }
    for (size_t i = 0; i < members->removed_count; i++)
        TRY(mvcc_store_import_bucket(store, MVCC_BUCKET_MEMBERS_REMOVED,
                                     bytes_str(id_text(members->removed[i], id)),
                                     BYTES_LIT("removed")));
    if (!members->version.major)
        return OK;
    return mvcc_store_import_bucket(store, MVCC_BUCKET_CLUSTER, BYTES_LIT("clusterVersion"),
                                    bytes_str(cluster_version_text(members->version, version)));
}

static err build(struct staging *self, struct stage_build *build)
{
    const struct staged_store *what = self->what;
    struct buf conf AUTO(buf_done);
    buf_init(&conf, MVCC_FRAME_CONF_STATE_BYTES);
    struct raft_conf_state members = *what->conf;
    if (BUG(install_loses_learners))
        members.learners.count = 0;
    TRY(raft_codec_conf_state_encode(&members, &conf));
    TRY(stage_build_load(build, &self->file, self->members != NULL, &self->fault));
    if (self->members)
        TRY(members_put(self->members, stage_build_store(build)));
    return stage_build_end(build, what->term, buf_bytes(&conf));
}

/* Whether a start would take it: the way of one, but for the rest of the member. */
static err open_once(struct staging *self)
{
    const struct stage_build_config *build = &self->what->build;
    char name[STAGE_STORE_NAME_BYTES];
    struct epoch epoch;
    struct mailbox completions;
    epoch_init(&epoch);
    mailbox_init(&completions, NULL, NULL);
    const struct stage_store_config stage = {
        .fs = build->fs,
        .dir = arena_printf(self->arena, "%s/%s", build->parent,
                            stage_store_name(build->index, SUFFIX, name)),
        .owner = build->owner,
        .epoch = &epoch,
        .completions = &completions,
        .seed = build->seed,
        .fatal = build->fatal,
        .fatal_ctx = build->fatal_ctx};
    struct opened_store store;
    err e = opened_store_open(&store, &stage, NULL, self->what->config, self->arena, self->reason);
    opened_store_close(&store);
    epoch_done(&epoch);
    stage_store_free(store.stage);
    return e;
}

static err make(struct staging *self, struct bytes file)
{
    struct stage_build_config config = self->what->build;
    struct stage_build *build_of = NULL;
    config.suffix = SUFFIX;
    TRY(file_check(self, file));
    TRY(stage_store_remove(config.fs, config.parent, config.index, SUFFIX));
    err e = stage_build_begin(&config, &build_of);
    if (err_ok(e))
        e = build(self, build_of);
    stage_build_free(build_of);
    return e.code ? refuse(self, e, "a store cannot be built of the file") : open_once(self);
}

err staged_store_make(const struct staged_store *self, struct bytes file, struct arena *arena,
                      const char **ret_reason)
{
    struct staging staging = {.what = self, .arena = arena, .reason = ret_reason};
    *ret_reason = "";
    err e = make(&staging, file);
    membership_free(staging.members);
    if (e.code) {
        const struct stage_build_config *build = &self->build;
        (void)stage_store_remove(build->fs, build->parent, build->index, SUFFIX).code;
        if (!**ret_reason)
            *ret_reason = err_text(e);
    }
    return e;
}

err staged_file_map(const struct io_fs *fs, const char *path, struct bytes *ret_bytes)
{
    int file;
    TRY(io_open(fs, IO_CWD, path, IO_READ, 0, &file));
    struct io_stat stat;
    void *address = NULL;
    err e = io_stat(fs, file, &stat);
    if (err_ok(e) && stat.size_bytes == 0)
        e = ERR_CORRUPT;
    if (err_ok(e))
        e = io_map(fs, file, IO_MAP_READ, 0, (size_t)stat.size_bytes, &address);
    io_close(fs, file);
    TRY(e);
    *ret_bytes = bytes_of(address, (size_t)stat.size_bytes);
    return OK;
}
