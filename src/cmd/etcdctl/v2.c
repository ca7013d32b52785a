#include "etcdctl/v2.h"

#include "base/clock.h"
#include "etcdctl/ctl.h"

#include <stdlib.h>
#include <string.h>

struct v2_options {
    bool debug, no_sync, insecure_discovery, version;
    const char *output, *endpoints, *endpoint, *peers;
    const char *discovery_srv, *cert_file, *key_file, *ca_file, *username;
    int64_t timeout_ns, total_timeout_ns;
};

#define O struct v2_options
static const struct flag flags[] = {
    BOOL_FLAG(O, debug, "debug", "tell on stderr whom is asked what"),
    BOOL_FLAG(O, no_sync, "no-sync",
              "ask the given endpoints, not those that the members advertise"),
    {"output", 'o', FLAG_STRING, "simple", offsetof(O, output), "simple, extended or json"},
    STRING_FLAG(O, endpoints, "endpoints", "", "servers to talk to, a comma list of URLs"),
    STRING_FLAG(O, endpoint, "endpoint", "", "the same, older"),
    {"peers", 'C', FLAG_STRING, "", offsetof(O, peers), "the same, oldest"},
    {"discovery-srv", 'D', FLAG_STRING, "", offsetof(O, discovery_srv), "(not supported yet)"},
    BOOL_FLAG(O, insecure_discovery, "insecure-discovery", "accepted; changes nothing"),
    STRING_FLAG(O, cert_file, "cert-file", "", "(not supported yet)"),
    STRING_FLAG(O, key_file, "key-file", "", "(not supported yet)"),
    STRING_FLAG(O, ca_file, "ca-file", "", "(not supported yet)"),
    {"username", 'u', FLAG_STRING, "", offsetof(O, username), "(not supported yet)"},
    DURATION_FLAG(O, timeout_ns, "timeout", "2s", "time for one request"),
    DURATION_FLAG(O, total_timeout_ns, "total-timeout", "5s",
                  "time for the command, but for watches"),
    {"version", 'v', FLAG_BOOL, "false", offsetof(O, version), "print the version"},
    {0},
};
#undef O

#define DEFAULT_ENDPOINTS "http://127.0.0.1:2379,http://127.0.0.1:4001"

/* ---- help ------------------------------------------------------------------------------- */

static void print_names(FILE *to, const struct v2_command *commands, unsigned count)
{
    (void)fputs("\nCOMMANDS:\n", to);
    for (unsigned i = 0; i < count; i++)
        if (commands[i].run || commands[i].children)
            (void)fprintf(to, "   %-16s%s\n", commands[i].name, commands[i].brief);
}

static void usage(FILE *to)
{
    const struct flag_set set = flag_set_of(flags);
    (void)fputs(
        "NAME:\n   etcdctl - a command line client of etcd's v2 API\n\n"
        "USAGE:\n   etcdctl [global options] command [command options] [arguments...]\n\n"
        "VERSION:\n   " ETCD_VERSION "\n",
        to);
    print_names(to, v2_commands, v2_command_count);
    (void)fputs("\nGLOBAL OPTIONS:\n", to);
    flags_print(to, &set, 1, "etcdctl");
}

static void help(FILE *to, const struct v2_command *command)
{
    (void)fprintf(to, "NAME:\n   etcdctl %s - %s\n\nUSAGE:\n   etcdctl %s\n", command->name,
                  command->brief, command->use);
    if (command->more)
        (void)fprintf(to, "\nDESCRIPTION:\n   %s\n", command->more);
    if (command->children)
        print_names(to, command->children, command->child_count);
    if (command->flags) {
        const struct flag_set set = flag_set_of(command->flags);
        (void)fputs("\nOPTIONS:\n", to);
        flags_print(to, &set, 1, NULL);
    }
}

/* ---- options ---------------------------------------------------------------------------- */

static const char *endpoints_text(const struct v2_options *options)
{
    const char *const places[] = {
        options->endpoints, getenv("ETCDCTL_ENDPOINTS"),
        options->endpoint,  getenv("ETCDCTL_ENDPOINT"),
        options->peers,     getenv("ETCDCTL_PEERS"),
    };
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
        if (places[i] && places[i][0])
            return places[i];
    return DEFAULT_ENDPOINTS;
}

/* Names a given option that cannot be served yet; NULL: none. */
static const char *unsupported(const struct v2_options *options)
{
    const struct {
        const char *name, *value;
    } later[] = {
        {"--discovery-srv", options->discovery_srv}, {"--cert-file", options->cert_file},
        {"--key-file", options->key_file},           {"--ca-file", options->ca_file},
        {"--username", options->username},
    };
    for (size_t i = 0; i < sizeof(later) / sizeof(later[0]); i++)
        if (later[i].value[0])
            return later[i].name;
    return NULL;
}

/* ---- running ---------------------------------------------------------------------------- */

static const struct v2_command *find(const struct v2_command *commands, unsigned count,
                                     const char *name)
{
    for (unsigned i = 0; i < count; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static int no_topic(const char *name)
{
    (void)fprintf(stderr, "No help topic for '%s'\n", name);
    return V2_UNKNOWN_COMMAND;
}

static int run_one(struct v2 *self, const struct v2_command *command, struct strings args)
{
    static const struct flag none[] = {{0}};
    void *options = arena_alloc(self->arena, command->options_bytes ? command->options_bytes : 1);
    struct flag_set set;
    struct strings rest = {0};
    bool wants_help = false;
    const char *why = NULL;
    flag_set_init(&set, command->flags ? command->flags : none, options, self->arena);
    if (!err_ok(v2_flags_parse(&set, v2_flags_first(&set, args, self->arena), self->arena, &rest,
                               &wants_help, &why))) {
        (void)printf("Incorrect Usage: %s\n\n", why);
        help(stdout, command);
        (void)fflush(stdout);
        (void)fprintf(stderr, "%s\n", why);
        return V2_BAD_ARGS;
    }
    if (wants_help) {
        help(stdout, command);
        return V2_OK;
    }
    return command->run(self, options, rest);
}

static int run(struct v2 *self, struct strings args)
{
    const struct v2_command *commands = v2_commands;
    unsigned count = v2_command_count;
    for (;;) {
        const char *name = args.items[0];
        const struct v2_command *command = find(commands, count, name);
        args = (struct strings){args.items + 1, args.count - 1};
        if (!command && (strcmp(name, "help") == 0 || strcmp(name, "h") == 0)) {
            command = args.count ? find(commands, count, args.items[0]) : NULL;
            if (args.count && !command)
                return no_topic(args.items[0]);
            if (command)
                help(stdout, command);
            else
                usage(stdout);
            return V2_OK;
        }
        if (!command)
            return no_topic(name);
        if (command->run)
            return run_one(self, command, args);
        if (!command->children) {
            (void)fprintf(stderr, "etcdctl %s of the v2 API is not supported yet\n", name);
            return V2_BAD_ARGS;
        }
        if (args.count == 0 || args.items[0][0] == '-') {
            help(stdout, command);
            return V2_OK;
        }
        commands = command->children;
        count = command->child_count;
    }
}

static uint64_t ms_of(int64_t ns)
{
    return ns > 0 ? (uint64_t)ns / 1000000 + 1 : 1;
}

/* Go's client takes them in a random order, so that many clients spread. */
static unsigned first_endpoint(unsigned count)
{
    return count ? (unsigned)(clock_mono_ns() / 1000 % count) : 0;
}

int v2_main(struct arena *arena, struct strings args)
{
    struct v2_options options;
    struct flag_set set;
    struct strings rest = {0};
    const char *why = NULL;
    bool wants_help = false;
    flag_set_init(&set, flags, &options, arena);
    if (!err_ok(v2_flags_parse(&set, args, arena, &rest, &wants_help, &why))) {
        (void)printf("Incorrect Usage. %s\n\n", why);
        usage(stdout);
        (void)fflush(stdout);
        (void)fprintf(stderr, "%s\n", why);
        return V2_BAD_ARGS;
    }
    if (options.version) {
        (void)puts("etcdctl version: " ETCD_VERSION "\nAPI version: 2");
        return V2_OK;
    }
    if (wants_help || rest.count == 0) {
        usage(stdout);
        return V2_OK;
    }
    const char *name = unsupported(&options);
    if (name) {
        (void)fprintf(stderr, "%s is not supported yet\n", name);
        return V2_BAD_ARGS;
    }
    struct v2 self = {
        .endpoints = strings_split(endpoints_text(&options), arena),
        .output = options.output,
        .no_sync = options.no_sync,
        .debug = options.debug,
        .timeout_ms = ms_of(options.timeout_ns),
        .total_timeout_ms = ms_of(options.total_timeout_ns),
        .arena = arena,
    };
    self.pinned = first_endpoint(self.endpoints.count);
    return run(&self, rest);
}
