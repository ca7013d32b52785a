/* Every command that etcdctl of the v2 API knows, those without a function are still to come. */
#include "etcdctl/command.h"
#include "etcdctl/v2_backup.h"
#include "etcdctl/v2_keys.h"
#include "etcdctl/v2_member.h"

struct health_options {
    bool forever;
};

static const struct flag health_flags[] = {
    {"forever", 'f', FLAG_BOOL, "false", offsetof(struct health_options, forever),
     "check again every 10 seconds"},
    {0},
};

static int run_health(struct v2 *self, const void *opaque, struct strings args)
{
    const struct health_options *options = opaque;
    return v2_cluster_health(self, options->forever);
}

static const struct v2_command member_commands[] = {
    {.name = "list",
     .use = "member list",
     .brief = "lists the members, and which of them leads",
     .run = v2_run_member_list},
    {.name = "add",
     .use = "member add <name> <peerURL>",
     .brief = "adds a member, and prints the settings it starts with",
     .run = v2_run_member_add},
    {.name = "remove",
     .use = "member remove <memberID>",
     .brief = "removes a member",
     .run = v2_run_member_remove},
    {.name = "update",
     .use = "member update <memberID> <peerURLs>",
     .brief = "changes the peer URLs of a member",
     .run = v2_run_member_update},
};

const struct v2_command v2_commands[] = {
    {.name = "backup",
     .use = "backup --data-dir <dir> --backup-dir <dir> [command options]",
     .brief = "copies a data directory for a new cluster of one member",
     .more = "Start it with --force-new-cluster. While the server runs, take a snapshot instead:\n"
             "   ETCDCTL_API=3 etcdctl snapshot save <file>",
     .flags = v2_backup_flags,
     .options_bytes = sizeof(struct v2_backup_options),
     .run = v2_run_backup},
    {.name = "cluster-health",
     .use = "cluster-health [command options]",
     .brief = "checks the health of each member",
     .flags = health_flags,
     .options_bytes = sizeof(struct health_options),
     .run = run_health},
    {.name = "mk",
     .use = "mk [command options] <key> <value>",
     .brief = "makes a key that is not there yet",
     .more = "A value that begins with '-' needs \"--\" before the key: mk -- <key> <value>",
     .flags = v2_mk_flags,
     .options_bytes = sizeof(struct v2_write_options),
     .run = v2_run_mk},
    {.name = "mkdir",
     .use = "mkdir [command options] <key>",
     .brief = "makes a directory that is not there yet",
     .flags = v2_ttl_flags,
     .options_bytes = sizeof(struct v2_write_options),
     .run = v2_run_mkdir},
    {.name = "rm",
     .use = "rm [command options] <key>",
     .brief = "removes a key or a directory",
     .flags = v2_rm_flags,
     .options_bytes = sizeof(struct v2_rm_options),
     .run = v2_run_rm},
    {.name = "rmdir",
     .use = "rmdir <key>",
     .brief = "removes an empty directory or a key",
     .run = v2_run_rmdir},
    {.name = "get",
     .use = "get [command options] <key>",
     .brief = "reads a key",
     .flags = v2_get_flags,
     .options_bytes = sizeof(struct v2_read_options),
     .run = v2_run_get},
    {.name = "ls",
     .use = "ls [command options] [key]",
     .brief = "lists a directory",
     .flags = v2_ls_flags,
     .options_bytes = sizeof(struct v2_read_options),
     .run = v2_run_ls},
    {.name = "set",
     .use = "set [command options] <key> <value>",
     .brief = "writes a key",
     .more = "A value that begins with '-' needs \"--\" before the key: set -- <key> <value>",
     .flags = v2_set_flags,
     .options_bytes = sizeof(struct v2_write_options),
     .run = v2_run_set},
    {.name = "setdir",
     .use = "setdir [command options] <key>",
     .brief = "makes a directory",
     .flags = v2_ttl_flags,
     .options_bytes = sizeof(struct v2_write_options),
     .run = v2_run_setdir},
    {.name = "update",
     .use = "update [command options] <key> <value>",
     .brief = "writes a key that is there",
     .more = "A value that begins with '-' needs \"--\" before the key: update -- <key> <value>",
     .flags = v2_ttl_flags,
     .options_bytes = sizeof(struct v2_write_options),
     .run = v2_run_update},
    {.name = "updatedir",
     .use = "updatedir [command options] <key>",
     .brief = "changes how long a directory lives",
     .flags = v2_ttl_flags,
     .options_bytes = sizeof(struct v2_write_options),
     .run = v2_run_updatedir},
    {.name = "watch",
     .use = "watch [command options] <key>",
     .brief = "waits for a change",
     .flags = v2_watch_flags,
     .options_bytes = sizeof(struct v2_watch_options),
     .run = v2_run_watch},
    {.name = "exec-watch",
     .use = "exec-watch [command options] <key> -- <command> [args...]",
     .brief = "runs a command for each change",
     .more = "In its environment: ETCD_WATCH_ACTION, ETCD_WATCH_MODIFIED_INDEX, ETCD_WATCH_KEY, "
             "ETCD_WATCH_VALUE.",
     .flags = v2_exec_watch_flags,
     .options_bytes = sizeof(struct v2_watch_options),
     .run = v2_run_exec_watch},
    {.name = "member",
     .use = "member command",
     .brief = "the members of the cluster",
     .children = member_commands,
     .child_count = COUNT(member_commands)},
    {.name = "user"},
    {.name = "role"},
    {.name = "auth"},
};

const unsigned v2_command_count = COUNT(v2_commands);
