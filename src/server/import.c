#include "server/import.h"

#include "bolt/reader.h"
#include "state/snapshot_load.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define MARK_NAME  "imported"
#define MARK_BYTES 17 /* the index in hex, a newline */

static err refuse(const struct import *self, err e, const char *path,
                  const struct bolt_fault *fault, const char **ret_reason)
{
    *ret_reason = arena_printf(self->arena, "%s of another etcd cannot be taken over: %s", path,
                               fault->what ? fault->what : err_text(e));
    return e;
}

/* ── The mark ───────────────────────────────────────────────────────────────────────────────── */

static void mark_text(uint64_t index, char text[MARK_BYTES + 1])
{
    (void)snprintf(text, MARK_BYTES + 1, "%016" PRIx64 "\n", index);
}

static err mark_write(const struct stage_build_config *build, uint64_t index, struct arena *arena)
{
    char name[STAGE_STORE_NAME_BYTES], text[MARK_BYTES + 1];
    int dir, file;
    mark_text(index, text);
    TRY(io_open(
        build->fs, IO_CWD,
        arena_printf(arena, "%s/%s", build->parent, stage_store_name(index, ".staged", name)),
        IO_READ | IO_DIRECTORY, 0, &dir));
    err e = io_open(build->fs, dir, MARK_NAME, IO_WRITE | IO_CREATE | IO_TRUNCATE, 0600, &file);
    if (err_ok(e)) {
        e = io_write_bytes(build->fs, file, bytes_of(text, MARK_BYTES), 0);
        if (err_ok(e))
            e = io_sync(build->fs, file);
        io_close(build->fs, file);
    }
    if (err_ok(e))
        e = io_sync_dir(build->fs, dir);
    io_close(build->fs, dir);
    return e;
}

bool import_is_frame(const struct io_fs *fs, const char *parent, uint64_t store_index,
                     uint64_t frame_index)
{
    char name[STAGE_STORE_NAME_BYTES], path[STAGE_STORE_NAME_BYTES + sizeof(MARK_NAME) + 1];
    char want[MARK_BYTES + 1], have[MARK_BYTES] = {0};
    int dir, file;
    size_t got = 0;
    mark_text(frame_index, want);
    (void)snprintf(path, sizeof(path), "%s/" MARK_NAME, stage_store_name(store_index, "", name));
    if (io_open(fs, IO_CWD, parent, IO_READ | IO_DIRECTORY, 0, &dir).code)
        return false;
    err e = io_open(fs, dir, path, IO_READ, 0, &file);
    io_close(fs, dir);
    if (e.code)
        return false;
    e = io_read(fs, file, have, sizeof(have), 0, &got);
    io_close(fs, file);
    return err_ok(e) && got == MARK_BYTES && memcmp(have, want, MARK_BYTES) == 0;
}

/* ── What the file says ─────────────────────────────────────────────────────────────────────── */

static err conf_read(const struct bolt_file *file, struct arena *arena,
                     struct raft_conf_state *ret_conf, struct bolt_fault *fault)
{
    struct bolt_cursor at;
    *ret_conf = (struct raft_conf_state){0};
    err e = bolt_cursor_open(&at, file, BYTES_LIT("members"), fault);
    if (err_is(e, ERR_NOT_FOUND)) {
        fault->what = "no bucket members: not a store of an etcd that has run";
        return ERR_CORRUPT;
    }
    TRY(e);
    for (;;) {
        struct bytes key, value;
        struct member member;
        bool found, promote;
        TRY(bolt_cursor_next(&at, &key, &value, &found, fault));
        if (!found)
            break;
        e = member_parse_json(value, arena, &member, &promote);
        struct raft_id_set *set = member.learner ? &ret_conf->learners : &ret_conf->voters;
        if (e.code || set->count == RAFT_MEMBERS_MAX) {
            fault->what = "a member that is none, or too many of them";
            return ERR_CORRUPT;
        }
        set->ids[set->count++] = member.id;
    }
    if (ret_conf->voters.count)
        return OK;
    fault->what = "no member may vote";
    return ERR_CORRUPT;
}

static uint64_t term_of(const struct import *self, const struct snapshot_facts *facts,
                        uint64_t index)
{
    uint64_t term = facts->term;
    if (term)
        return term;
    if (err_ok(stage_log_term(self->log, index, &term)))
        return term;
    return self->recovery->last_term;
}

/* ── Staging ────────────────────────────────────────────────────────────────────────────────── */

static err stage_file(const struct import *self, struct bytes bytes, uint64_t index,
                      struct snapshot_facts *facts, const struct bolt_file *file, const char *path,
                      const char **ret_reason)
{
    struct bolt_fault fault = {0};
    struct raft_conf_state conf;
    err e = conf_read(file, self->arena, &conf, &fault);
    if (e.code)
        return refuse(self, e, path, &fault, ret_reason);
    struct staged_store staged = {.build = *self->build,
                                  .config = self->config,
                                  .term = term_of(self, facts, index),
                                  .conf = &conf};
    staged.build.index = index;
    e = staged_store_make(&staged, bytes, self->arena, ret_reason);
    if (e.code) {
        *ret_reason = arena_printf(self->arena, "%s of another etcd cannot be taken over: %s", path,
                                   *ret_reason);
        return e;
    }
    e = mark_write(&staged.build, index, self->arena);
    return e.code ? refuse(self, e, path, &fault, ret_reason) : OK;
}

/* at_least: the index of a snapshot that the log is known to go on from; 0: none. */
static err try_file(const struct import *self, const char *path, uint64_t at_least,
                    uint64_t *ret_index, const char **ret_reason)
{
    struct bytes bytes;
    struct bolt_file file;
    struct bolt_fault fault = {0};
    struct snapshot_facts facts = {0};
    err e = staged_file_map(self->build->fs, path, &bytes);
    if (err_is(e, ERR_NOT_FOUND))
        return OK;
    if (e.code)
        return refuse(self, e, path, &fault, ret_reason);
    e = bolt_file_open(&file, bytes, &fault);
    if (err_ok(e))
        e = snapshot_facts_read(&file, &facts, &fault);
    uint64_t index = facts.index > at_least ? facts.index : at_least;
    if (e.code)
        e = refuse(self, e, path, &fault, ret_reason);
    else if (index && (!self->has_store || index > self->frame_index) &&
             (at_least || index >= self->recovery->snapshot.index)) {
        e = stage_file(self, bytes, index, &facts, &file, path, ret_reason);
        if (err_ok(e))
            *ret_index = index;
    }
    io_unmap(self->build->fs, (void *)(uintptr_t)bytes.data, bytes.len);
    return e;
}

err import_stage(const struct import *self, uint64_t *ret_index, const char **ret_path,
                 const char **ret_reason)
{
    uint64_t snapshot = self->recovery->snapshot.index;
    *ret_index = 0;
    *ret_path = arena_printf(self->arena, "%s/db", self->snap_dir);
    TRY(try_file(self, *ret_path, 0, ret_index, ret_reason));
    if (*ret_index || snapshot == 0 || (self->has_store && snapshot <= self->frame_index))
        return OK;
    *ret_path = arena_printf(self->arena, "%s/%016" PRIx64 ".snap.db", self->snap_dir, snapshot);
    return try_file(self, *ret_path, snapshot, ret_index, ret_reason);
}

err import_name(const struct import *self, uint64_t index)
{
    const struct stage_build_config *build = self->build;
    if (self->has_store)
        TRY(stage_store_rename(build->fs, build->parent, self->store_index, "", ".aside"));
    return stage_store_rename(build->fs, build->parent, index, ".staged", "");
}
