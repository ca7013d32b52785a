#include "state/members.h"

#include "base/check.h"
#include "state/ids.h"

#include <stdio.h>
#include <stdlib.h>

/* --- copying ----------------------------------------------------------------------------- */

static struct text_list text_list_copy(struct arena *arena, struct text_list from)
{
    const char **items = ARENA_ARRAY(arena, const char *, from.count);
    for (size_t i = 0; i < from.count; i++)
        items[i] = arena_copy_str(arena, bytes_str(from.items[i]));
    return (struct text_list){items, from.count};
}

static struct member member_copy(struct arena *arena, const struct member *from)
{
    return (struct member){
        .id = from->id,
        .learner = from->learner,
        .name = arena_copy_str(arena, bytes_str(from->name ? from->name : "")),
        .peer_urls = text_list_copy(arena, from->peer_urls),
        .client_urls = text_list_copy(arena, from->client_urls),
    };
}

static bool text_list_equal(struct text_list a, struct text_list b)
{
    if (a.count != b.count)
        return false;
    for (size_t i = 0; i < a.count; i++) {
        if (strcmp(a.items[i], b.items[i]) != 0)
            return false;
    }
    return true;
}

struct membership *membership_new(void)
{
    struct membership *self = calloc(1, sizeof(*self));
    CHECK(self);
    arena_init(&self->arena, 1024);
    return self;
}

void membership_free(struct membership *self)
{
    if (!self)
        return;
    arena_done(&self->arena);
    free(self);
}

void membership_retire(struct epoch_item *item)
{
    membership_free(
        (struct membership *)(void *)((char *)item - offsetof(struct membership, retired)));
}

static void membership_copy_removed(struct membership *to, const struct membership *from,
                                    uint64_t extra)
{
    uint64_t *removed = ARENA_ARRAY(&to->arena, uint64_t, from->removed_count + 1);
    size_t n = 0;
    for (size_t i = 0; i < from->removed_count; i++) {
        if (extra && from->removed[i] >= extra) {
            removed[n++] = extra;
            if (from->removed[i] == extra) {
                extra = 0;
                continue;
            }
            extra = 0;
        }
        removed[n++] = from->removed[i];
    }
    if (extra)
        removed[n++] = extra;
    to->removed = removed;
    to->removed_count = n;
}

/* A copy without member `skip` (0: none) and with `extra` in its place (NULL: none). */
static struct membership *membership_rebuilt(const struct membership *from, uint64_t skip,
                                             const struct member *extra, uint64_t removed)
{
    struct membership *self = membership_new();
    struct member *members = ARENA_ARRAY(&self->arena, struct member, from->count + 1);
    size_t n = 0;
    for (size_t i = 0; i < from->count; i++) {
        const struct member *m = &from->members[i];
        if (extra && m->id > extra->id) {
            members[n++] = member_copy(&self->arena, extra);
            extra = NULL;
        }
        if (m->id != skip)
            members[n++] = member_copy(&self->arena, m);
    }
    if (extra)
        members[n++] = member_copy(&self->arena, extra);
    self->members = members;
    self->count = n;
    membership_copy_removed(self, from, removed);
    self->version = from->version;
    self->downgrade_to = from->downgrade_to;
    return self;
}

/* --- asking ------------------------------------------------------------------------------ */

const struct member *membership_find(const struct membership *self, uint64_t id)
{
    for (size_t i = 0; i < self->count; i++) {
        if (self->members[i].id == id)
            return &self->members[i];
    }
    return NULL;
}

bool membership_was_removed(const struct membership *self, uint64_t id)
{
    for (size_t i = 0; i < self->removed_count; i++) {
        if (self->removed[i] == id)
            return true;
    }
    return false;
}

size_t membership_voter_count(const struct membership *self)
{
    size_t n = 0;
    for (size_t i = 0; i < self->count; i++)
        n += !self->members[i].learner;
    return n;
}

size_t membership_started_count(const struct membership *self)
{
    size_t n = 0;
    for (size_t i = 0; i < self->count; i++)
        n += !self->members[i].learner && self->members[i].name[0] != '\0';
    return n;
}

static bool urls_in_use(const struct membership *self, struct text_list urls, uint64_t except)
{
    for (size_t i = 0; i < self->count; i++) {
        const struct member *m = &self->members[i];
        if (m->id == except)
            continue;
        for (size_t j = 0; j < m->peer_urls.count; j++) {
            for (size_t k = 0; k < urls.count; k++) {
                if (strcmp(m->peer_urls.items[j], urls.items[k]) == 0)
                    return true;
            }
        }
    }
    return false;
}

static err check_add(const struct membership *self, const struct member *add, unsigned learners_max)
{
    if (membership_find(self, add->id))
        return ERR_MEMBER_EXIST;
    if (urls_in_use(self, add->peer_urls, 0))
        return ERR_PEER_URL_EXIST;
    size_t learners = self->count - membership_voter_count(self);
    if (add->learner && learners + 1 > learners_max)
        return ERR_TOO_MANY_LEARNERS;
    if (self->count >= MEMBERS_MAX)
        return ERR_LIMIT;
    return OK;
}

err membership_check(const struct membership *self, const struct member_change *change,
                     unsigned learners_max)
{
    uint64_t id = change->member.id;
    if (id == 0 || membership_was_removed(self, id))
        return ERR_MEMBER_NOT_FOUND;
    if (change->kind == MEMBER_ADD)
        return check_add(self, &change->member, learners_max);
    const struct member *old = membership_find(self, id);
    if (!old)
        return ERR_MEMBER_NOT_FOUND;
    if (change->kind == MEMBER_PROMOTE && !old->learner)
        return ERR_MEMBER_NOT_LEARNER;
    if (change->kind == MEMBER_UPDATE && urls_in_use(self, change->member.peer_urls, id))
        return ERR_PEER_URL_EXIST;
    return OK;
}

/* --- changing ---------------------------------------------------------------------------- */

struct membership *membership_changed(const struct membership *self,
                                      const struct member_change *change)
{
    uint64_t id = change->member.id;
    if (change->kind == MEMBER_ADD)
        return membership_rebuilt(self, 0, &change->member, 0);
    if (change->kind == MEMBER_REMOVE)
        return membership_rebuilt(self, id, NULL, id);
    const struct member *old = membership_find(self, id);
    CHECK(old);
    struct member next = *old;
    if (change->kind == MEMBER_PROMOTE)
        next.learner = false;
    else
        next.peer_urls = change->member.peer_urls;
    return membership_rebuilt(self, id, &next, 0);
}

struct membership *membership_attributed(const struct membership *self, uint64_t id,
                                         const char *name, struct text_list client_urls)
{
    const struct member *old = membership_find(self, id);
    if (!old || (strcmp(old->name, name) == 0 && text_list_equal(old->client_urls, client_urls)))
        return NULL;
    struct member next = *old;
    next.name = name;
    next.client_urls = client_urls;
    return membership_rebuilt(self, id, &next, 0);
}

struct membership *membership_versioned(const struct membership *self,
                                        struct cluster_version version)
{
    struct membership *next = membership_rebuilt(self, 0, NULL, 0);
    next->version = version;
    return next;
}

struct membership *membership_downgrading(const struct membership *self,
                                          struct cluster_version target)
{
    struct membership *next = membership_rebuilt(self, 0, NULL, 0);
    next->downgrade_to = target;
    return next;
}

struct membership *membership_with_removed(const struct membership *self, uint64_t id)
{
    return membership_rebuilt(self, 0, NULL, id);
}

struct membership *membership_with_member(const struct membership *self,
                                          const struct member *member)
{
    return membership_rebuilt(self, member->id, member, 0);
}

/* --- --initial-cluster ------------------------------------------------------------------- */

struct initial_pair {
    struct bytes name;
    struct bytes url;
};

static err initial_split(struct bytes text, struct initial_pair *pairs, size_t *ret_count)
{
    size_t n = 0;
    while (text.len) {
        const uint8_t *comma = memchr(text.data, ',', text.len);
        size_t len = comma ? (size_t)(comma - text.data) : text.len;
        struct bytes pair = bytes_of(text.data, len);
        text = bytes_skip(text, comma ? len + 1 : len);
        const uint8_t *equal = len ? memchr(pair.data, '=', len) : NULL;
        if (!equal || equal == pair.data || equal + 1 == pair.data + len)
            return ERR_SYNTAX;
        if (n == MEMBERS_MAX)
            return ERR_LIMIT;
        size_t name_len = (size_t)(equal - pair.data);
        pairs[n++] =
            (struct initial_pair){bytes_of(pair.data, name_len), bytes_skip(pair, name_len + 1)};
    }
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < i; j++) {
            if (bytes_equal(pairs[i].url, pairs[j].url))
                return ERR_EXISTS;
        }
    }
    *ret_count = n;
    return OK;
}

static int text_order(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The member that pair i names first, with all its URLs. */
static struct member initial_member(struct arena *arena, const struct initial_pair *pairs,
                                    size_t count, size_t i, struct bytes token)
{
    struct bytes urls[MEMBERS_MAX];
    size_t n = 0;
    for (size_t j = i; j < count; j++) {
        if (bytes_equal(pairs[j].name, pairs[i].name))
            urls[n++] = pairs[j].url;
    }
    const char **items = ARENA_ARRAY(arena, const char *, n);
    for (size_t j = 0; j < n; j++)
        items[j] = arena_copy_str(arena, urls[j]);
    qsort(items, n, sizeof(*items), text_order);
    return (struct member){
        .id = member_id_initial(urls, n, token),
        .name = arena_copy_str(arena, pairs[i].name),
        .peer_urls = {items, n},
    };
}

err membership_parse_initial(struct bytes text, struct bytes token,
                             struct membership **ret_membership)
{
    struct arena scratch;
    arena_init(&scratch, 4096);
    struct initial_pair *pairs = ARENA_ARRAY(&scratch, struct initial_pair, MEMBERS_MAX);
    size_t count = 0;
    struct membership *self = NULL;
    err e = initial_split(text, pairs, &count);
    if (err_ok(e) && count == 0)
        e = ERR_SYNTAX;
    if (err_ok(e))
        self = membership_new();
    for (size_t i = 0; err_ok(e) && i < count; i++) {
        bool seen = false;
        for (size_t j = 0; j < i; j++)
            seen |= bytes_equal(pairs[j].name, pairs[i].name);
        if (seen)
            continue;
        struct member m = initial_member(&scratch, pairs, count, i, token);
        struct member_change add = {MEMBER_ADD, m};
        e = membership_check(self, &add, 1);
        if (!err_ok(e))
            break;
        struct membership *next = membership_changed(self, &add);
        membership_free(self);
        self = next;
    }
    arena_done(&scratch);
    if (!err_ok(e)) {
        membership_free(self);
        return e;
    }
    *ret_membership = self;
    return OK;
}

/* --- versions ---------------------------------------------------------------------------- */

static bool version_part(struct bytes *text, unsigned *ret_part)
{
    unsigned value = 0;
    size_t n = 0;
    while (n < text->len && text->data[n] >= '0' && text->data[n] <= '9') {
        value = value * 10 + (unsigned)(text->data[n++] - '0');
        if (value > UINT16_MAX)
            return false;
    }
    if (n == 0)
        return false;
    *text = bytes_skip(*text, n);
    *ret_part = value;
    return true;
}

static bool version_dot(struct bytes *text)
{
    if (text->len == 0 || text->data[0] != '.')
        return false;
    *text = bytes_skip(*text, 1);
    return true;
}

err cluster_version_parse(struct bytes text, struct cluster_version *ret_version)
{
    unsigned major = 0;
    unsigned minor = 0;
    unsigned patch = 0;
    if (!version_part(&text, &major) || !version_dot(&text) || !version_part(&text, &minor))
        return ERR_SYNTAX;
    if (text.len && (!version_dot(&text) || !version_part(&text, &patch) || text.len))
        return ERR_SYNTAX;
    *ret_version = (struct cluster_version){(uint16_t)major, (uint16_t)minor};
    return OK;
}

const char *cluster_version_text(struct cluster_version self, char text[CLUSTER_VERSION_TEXT_MAX])
{
    if (self.major == 0)
        snprintf(text, CLUSTER_VERSION_TEXT_MAX, "not_decided");
    else
        snprintf(text, CLUSTER_VERSION_TEXT_MAX, "%u.%u.0", self.major, self.minor);
    return text;
}
