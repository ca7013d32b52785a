#include "server/cluster_list.h"

#include <stdlib.h>

static int compare_members(const void *a, const void *b)
{
    return strcmp(((const struct cluster_member *)a)->name,
                  ((const struct cluster_member *)b)->name);
}

static int compare_urls(const void *a, const void *b)
{
    return strcmp(((const struct url *)a)->text, ((const struct url *)b)->text);
}

static struct cluster_member *find_or_add(struct arena *arena, struct cluster_list *list,
                                          struct bytes name, size_t most)
{
    for (size_t i = 0; i < list->count; i++)
        if (bytes_equal(bytes_str(list->members[i].name), name))
            return &list->members[i];
    struct cluster_member *member = &list->members[list->count++];
    member->name = arena_copy_str(arena, name);
    member->peer_urls.items = ARENA_ARRAY(arena, struct url, most);
    return member;
}

err cluster_list_parse(struct arena *arena, const char *text, struct cluster_list *ret_list,
                       const char **ret_reason)
{
    struct bytes rest = bytes_str(text);
    size_t most = 1;
    for (size_t i = 0; i < rest.len; i++)
        most += rest.data[i] == ',';
    if (most > CLUSTER_MEMBERS_MAX) {
        *ret_reason = "--initial-cluster names more than 1024 URLs";
        return ERR_LIMIT;
    }
    struct cluster_list list = {ARENA_ARRAY(arena, struct cluster_member, most), 0};
    while (rest.len) {
        const uint8_t *comma = memchr(rest.data, ',', rest.len);
        struct bytes pair = comma ? bytes_of(rest.data, (size_t)(comma - rest.data)) : rest;
        rest = bytes_skip(rest, comma ? pair.len + 1 : pair.len);
        while (pair.len && pair.data[0] == ' ')
            pair = bytes_skip(pair, 1);
        const uint8_t *equals = pair.len ? memchr(pair.data, '=', pair.len) : NULL;
        if (!equals || equals == pair.data) {
            *ret_reason =
                arena_printf(arena, "--initial-cluster: \"%.*s\" is not of the form NAME=URL",
                             (int)pair.len, (const char *)pair.data);
            return ERR_SYNTAX;
        }
        struct bytes name = bytes_of(pair.data, (size_t)(equals - pair.data));
        struct url url;
        TRY(url_parse(arena, bytes_skip(pair, name.len + 1), &url, ret_reason));
        struct cluster_member *member = find_or_add(arena, &list, name, most);
        member->peer_urls.items[member->peer_urls.count++] = url;
    }
    qsort(list.members, list.count, sizeof(list.members[0]), compare_members);
    for (size_t i = 0; i < list.count; i++)
        qsort(list.members[i].peer_urls.items, list.members[i].peer_urls.count, sizeof(struct url),
              compare_urls);
    *ret_list = list;
    return OK;
}

static bool has_duplicate(const struct cluster_list *self)
{
    for (size_t a = 0; a < self->count; a++)
        for (size_t b = a; b < self->count; b++)
            for (size_t i = 0; i < self->members[a].peer_urls.count; i++)
                for (size_t j = a == b ? i + 1 : 0; j < self->members[b].peer_urls.count; j++)
                    if (strcmp(self->members[a].peer_urls.items[i].text,
                               self->members[b].peer_urls.items[j].text) == 0)
                        return true;
    return false;
}

static const char *join_cluster(struct arena *arena, const struct cluster_list *self)
{
    const char *text = "";
    for (size_t m = 0; m < self->count; m++)
        for (size_t i = 0; i < self->members[m].peer_urls.count; i++)
            text = arena_printf(arena, "%s%s%s=%s", text, text[0] ? "," : "", self->members[m].name,
                                self->members[m].peer_urls.items[i].text);
    return text;
}

static const char *join_names(struct arena *arena, const struct cluster_list *self)
{
    const char *text = "";
    for (size_t m = 0; m < self->count; m++)
        text = arena_printf(arena, "%s%s%s", text, m ? ", " : "", self->members[m].name);
    return text;
}

static bool has_host(const struct url_list *self, const char *host)
{
    for (size_t i = 0; i < self->count; i++)
        if (strcmp(self->items[i].host, host) == 0)
            return true;
    return false;
}

/* The settings of another host, copied but for one line: clients would be sent to that host. */
static err check_client_urls(struct arena *arena, const struct cluster_list *self,
                             const struct cluster_member *own, const struct config *config,
                             const char **ret_reason)
{
    for (size_t i = 0; i < config->advertise_client_urls.count; i++) {
        const struct url *url = &config->advertise_client_urls.items[i];
        if (has_host(&own->peer_urls, url->host) ||
            has_host(&config->listen_client_urls, url->host))
            continue;
        for (size_t m = 0; m < self->count; m++) {
            if (&self->members[m] == own || !has_host(&self->members[m].peer_urls, url->host))
                continue;
            *ret_reason = arena_printf(arena,
                                       "--advertise-client-urls has %s, which is on the host of "
                                       "member %s; expected an address of this host",
                                       url->text, self->members[m].name);
            return ERR_USAGE;
        }
    }
    return OK;
}

static err check_urls(struct arena *arena, const struct cluster_member *member,
                      const struct config *config, const char **ret_reason)
{
    const struct url_list *listed = &member->peer_urls, *told = &config->advertise_peer_urls;
    const char *told_text = url_list_join(arena, told);
    for (size_t i = 0; i < listed->count; i++) {
        if (url_list_has(told, &listed->items[i]))
            continue;
        *ret_reason =
            arena_printf(arena,
                         "--initial-cluster has %s=%s but missing from "
                         "--initial-advertise-peer-urls=%s (resolved urls: \"%s\" != \"%s\")",
                         member->name, listed->items[i].text, told_text, told_text,
                         url_list_join(arena, listed));
        return ERR_USAGE;
    }
    for (size_t i = 0; i < told->count; i++) {
        if (url_list_has(listed, &told->items[i]))
            continue;
        const char *pairs = "";
        for (size_t j = 0; j < listed->count; j++)
            pairs = arena_printf(arena, "%s%s%s=%s", pairs, j ? "," : "", member->name,
                                 listed->items[j].text);
        *ret_reason = arena_printf(arena,
                                   "--initial-advertise-peer-urls has %s but missing from "
                                   "--initial-cluster=%s",
                                   told->items[i].text, pairs);
        return ERR_USAGE;
    }
    return OK;
}

err cluster_list_check(struct arena *arena, const struct cluster_list *self,
                       const struct config *config, bool must_match, const char **ret_reason)
{
    const struct cluster_member *own = NULL;
    for (size_t i = 0; i < self->count; i++)
        if (strcmp(self->members[i].name, config->name) == 0)
            own = &self->members[i];
    if (!own) {
        *ret_reason = arena_printf(arena,
                                   "couldn't find local name \"%s\" in the initial cluster "
                                   "configuration (--name is to be one of %s)",
                                   config->name, join_names(arena, self));
        return ERR_USAGE;
    }
    if (has_duplicate(self)) {
        *ret_reason =
            arena_printf(arena, "initial cluster %s has duplicate url", join_cluster(arena, self));
        return ERR_USAGE;
    }
    if (must_match)
        TRY(check_urls(arena, own, config, ret_reason));
    return check_client_urls(arena, self, own, config, ret_reason);
}
