#include "server/join.h"

#include "base/log.h"
#include "io/lookup.h"
#include "state/ids.h"

#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>

#define MEMBERS_TIMEOUT_MS 10000
#define NEW_TIMEOUT_MS     1000
/* It takes a read with a quorum: where none stands, as while the second member of a cluster starts,
 * no answer comes, which counts as no. */
#define DOWNGRADE_TIMEOUT_MS 1500

/* ── One question ───────────────────────────────────────────────────────────────────────────── */

struct answer {
    struct io_loop *loop;
    enum peer_fetch_what what;
    err error;
    struct membership *members; /* PEER_FETCH_MEMBERS */
    struct peer_fetch_result result;
};

static void done(void *ctx, err error, const struct peer_fetch_result *result)
{
    struct answer *self = ctx;
    self->error = error;
    self->result = *result;
    if (err_ok(error) && self->what == PEER_FETCH_MEMBERS)
        self->members = membership_new();
    for (size_t i = 0; i < result->member_count; i++) {
        struct membership *next = membership_with_member(self->members, &result->members[i]);
        membership_free(self->members);
        self->members = next;
    }
    io_loop_stop(self->loop);
}

static err ask(const struct join *self, enum peer_fetch_what what, struct text_list urls,
               uint64_t timeout_ms, struct answer *ret_answer)
{
    struct peer_fetch *unused;
    if (self->wire) {
        *ret_answer = (struct answer){.what = what};
        return self->wire->ask(self->wire->ctx, what, urls, &ret_answer->result,
                               &ret_answer->members);
    }
    *ret_answer = (struct answer){.loop = self->loop, .what = what};
    const struct peer_fetch_config fetch = {.loop = self->loop,
                                            .workers = self->workers,
                                            .what = what,
                                            .urls = urls.items,
                                            .url_count = urls.count,
                                            .timeout_ms = timeout_ms,
                                            .done = done,
                                            .ctx = ret_answer};
    TRY(peer_fetch_start(&fetch, &unused));
    io_loop_run(self->loop);
    return ret_answer->error;
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The peer URLs of all others in --initial-cluster, sorted. */
static struct text_list others(const struct join *self)
{
    size_t most = 0, count = 0;
    for (size_t i = 0; i < self->list->count; i++)
        most += self->list->members[i].peer_urls.count;
    const char **urls = ARENA_ARRAY(self->arena, const char *, most);
    for (size_t i = 0; i < self->list->count; i++) {
        const struct cluster_member *member = &self->list->members[i];
        if (strcmp(member->name, self->config->name) == 0)
            continue;
        for (size_t j = 0; j < member->peer_urls.count; j++)
            urls[count++] = member->peer_urls.items[j].text;
    }
    qsort(urls, count, sizeof(*urls), compare_texts);
    return (struct text_list){urls, count < PEER_FETCH_URLS_MAX ? count : PEER_FETCH_URLS_MAX};
}

/* ── The same members? ──────────────────────────────────────────────────────────────────────── */

/* With the name's first address, IPv4 before IPv6, in its place; as it is where there is none. */
static const char *resolved(struct arena *arena, const char *text)
{
    struct url url;
    const char *unused;
    char host[NI_MAXHOST];
    struct addrinfo *found = NULL;
    if (!err_ok(url_parse(arena, bytes_str(text), &url, &unused)) || url.port == 0 ||
        !err_ok(io_lookup_now(url.host, NULL, &found)) || !found)
        return text;
    const struct addrinfo *best = found;
    for (const struct addrinfo *at = found; at; at = at->ai_next)
        if (at->ai_family == AF_INET && best->ai_family != AF_INET)
            best = at;
    bool named = getnameinfo(best->ai_addr, best->ai_addrlen, host, sizeof(host), NULL, 0,
                             NI_NUMERICHOST) == 0;
    freeaddrinfo(found);
    const char *scheme = url.scheme == URL_HTTPS ? "https" : "http";
    return named ? arena_printf(arena, "%s://[%s]:%u", scheme, host, url.port) : text;
}

static bool texts_equal(const char *const *a, const char *const *b, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(a[i], b[i]) != 0)
            return false;
    return true;
}

/* The same texts, or the same addresses behind them. */
static bool urls_equal(struct arena *arena, const struct url_list *ours, struct text_list theirs)
{
    size_t count = ours->count;
    if (count != theirs.count)
        return false;
    const char **a = ARENA_ARRAY(arena, const char *, count);
    const char **b = ARENA_ARRAY(arena, const char *, count);
    for (size_t i = 0; i < count; i++) {
        a[i] = ours->items[i].text;
        b[i] = theirs.items[i];
    }
    qsort(a, count, sizeof(*a), compare_texts);
    qsort(b, count, sizeof(*b), compare_texts);
    if (texts_equal(a, b, count))
        return true;
    for (size_t i = 0; i < count; i++) {
        a[i] = resolved(arena, a[i]);
        b[i] = resolved(arena, b[i]);
    }
    qsort(a, count, sizeof(*a), compare_texts);
    qsort(b, count, sizeof(*b), compare_texts);
    return texts_equal(a, b, count);
}

static const char *join_texts(struct arena *arena, struct text_list list)
{
    const char *text = "";
    for (size_t i = 0; i < list.count; i++)
        text = arena_printf(arena, "%s%s%s", text, i ? " " : "", list.items[i]);
    return text;
}

static const char *cluster_text(struct arena *arena, uint64_t cluster_id,
                                const struct membership *members)
{
    char id[ID_TEXT_MAX];
    const char *text = arena_printf(arena, "{ClusterID:%s Members:[", id_text(cluster_id, id));
    for (size_t i = 0; i < members->count; i++) {
        const struct member *m = &members->members[i];
        text =
            arena_printf(arena,
                         "%s%s&{ID:%s RaftAttributes:{PeerURLs:[%s] IsLearner:%s} "
                         "Attributes:{Name:%s ClientURLs:[%s]}}",
                         text, i ? " " : "", id_text(m->id, id), join_texts(arena, m->peer_urls),
                         m->learner ? "true" : "false", m->name, join_texts(arena, m->client_urls));
    }
    return arena_printf(arena, "%s] RemovedMemberIDs:[]}", text);
}

/* Finds who we are among them, by our URLs; each of them must be in --initial-cluster. */
static err match(const struct join *self, const struct membership *members, uint64_t *ret_member_id,
                 const char **ret_why)
{
    char id[ID_TEXT_MAX];
    if (members->count != self->list->count) {
        *ret_why = "member count is unequal";
        return ERR_MISMATCH;
    }
    for (size_t i = 0; i < members->count; i++) {
        const struct member *m = &members->members[i];
        const struct cluster_member *found = NULL;
        for (size_t j = 0; j < self->list->count && !found; j++)
            if (urls_equal(self->arena, &self->list->members[j].peer_urls, m->peer_urls))
                found = &self->list->members[j];
        if (!found) {
            *ret_why =
                arena_printf(self->arena, "PeerURLs: no match found for existing member (%s, [%s])",
                             id_text(m->id, id), join_texts(self->arena, m->peer_urls));
            return ERR_MISMATCH;
        }
        if (strcmp(found->name, self->config->name) == 0)
            *ret_member_id = m->id;
    }
    return OK;
}

/* ── Does our version fit? ──────────────────────────────────────────────────────────────────── */

/* While the cluster goes down a minor version, only who is of the version above may come back to
 * it; else whoever is not below the cluster's. Where that is not decided yet, all members must be
 * heard of first, us included: whoever asks is let in. */
static err check_version(const struct join *self, const struct membership *members, uint64_t own_id)
{
    struct cluster_version low = {3, 0}, high = {3, 7};
    uint64_t timeout_ms = 5000 + 2 * self->config->election_timeout_ms;
    bool asked = false, fits = false;
    char undecided[CLUSTER_VERSION_TEXT_MAX];
    (void)cluster_version_text((struct cluster_version){0, 0}, undecided);
    for (size_t i = 0; i < members->count && !asked; i++) {
        struct answer answer;
        const struct member *m = &members->members[i];
        if (m->id == own_id ||
            !err_ok(ask(self, PEER_FETCH_DOWNGRADE, m->peer_urls, DOWNGRADE_TIMEOUT_MS, &answer)))
            continue;
        asked = true;
        if (answer.result.downgrading)
            low = high = (struct cluster_version){3, 8};
    }
    for (size_t i = 0; i < members->count; i++) {
        struct answer answer;
        struct cluster_version version;
        const struct member *m = &members->members[i];
        if (m->id == own_id ||
            !err_ok(ask(self, PEER_FETCH_VERSION, m->peer_urls, timeout_ms, &answer)))
            continue;
        if (!err_ok(cluster_version_parse(bytes_str(answer.result.cluster_version), &version))) {
            fits = fits || strcmp(answer.result.cluster_version, undecided) == 0;
            continue;
        }
        bool too_low = cluster_version_compare(version, low) < 0;
        if (too_low || cluster_version_compare(version, high) > 0) {
            LOGW(too_low ? "cluster version of remote member is not compatible; too low"
                         : "cluster version of remote member is not compatible; too high",
                 LOG_HEX("remote-member-id", m->id),
                 LOG_STR("remote-member-cluster-version", answer.result.cluster_version));
            return ERR_MISMATCH;
        }
        fits = true;
    }
    return fits ? OK : ERR_MISMATCH;
}

/* ── The whole ──────────────────────────────────────────────────────────────────────────────── */

static err refuse_bootstrapped(const struct join *self, uint64_t id, const char **ret_reason)
{
    char text[ID_TEXT_MAX];
    *ret_reason =
        arena_printf(self->arena, "member %s has already been bootstrapped", id_text(id, text));
    return ERR_EXISTS;
}

static err check_members(const struct join *self, const struct membership *members,
                         uint64_t cluster_id, uint64_t *ret_member_id, const char **ret_reason)
{
    const char *why = "";
    uint64_t id = 0;
    err e = match(self, members, &id, &why);
    if (e.code) {
        *ret_reason = arena_printf(self->arena, "error validating peerURLs %s: %s",
                                   cluster_text(self->arena, cluster_id, members), why);
        return e;
    }
    if (!err_ok(check_version(self, members, id))) {
        *ret_reason = "incompatible with current running cluster";
        return ERR_MISMATCH;
    }
    if (members->count - membership_voter_count(members) > self->config->max_learners) {
        *ret_reason = "membership: too many learner members in cluster";
        return ERR_MISMATCH;
    }
    /* Its votes and acknowledgements are lost with its disk: under this id it may never come back,
     * it is to be removed and added anew. etcd lets it start, and it falls at the first heartbeat.
     */
    if (membership_find(members, id)->client_urls.count)
        return refuse_bootstrapped(self, id, ret_reason);
    *ret_member_id = id;
    return OK;
}

/* Whom a cluster knows by our URLs, as somebody who has not been there before; 0: nobody. */
static uint64_t known_as(const struct join *self, const struct membership *members)
{
    for (size_t i = 0; i < self->list->count; i++) {
        const struct cluster_member *own = &self->list->members[i];
        if (strcmp(own->name, self->config->name) != 0)
            continue;
        for (size_t j = 0; j < members->count; j++)
            if (members->members[j].client_urls.count == 0 &&
                urls_equal(self->arena, &own->peer_urls, members->members[j].peer_urls))
                return members->members[j].id;
    }
    return 0;
}

/* What members have said so far. */
struct joined {
    struct membership *members; /* NULL: none has us yet */
    uint64_t member_id, cluster_id;
    uint64_t known_as;  /* by the first who knows our URLs */
    bool contradicted;  /* by another one, under another id */
    uint64_t index;     /* members are as of this entry; 0: not said, as etcd does not */
    uint64_t newest;    /* the greatest that was said, */
    uint64_t newest_as; /* and whom that one knows by our URLs */
    const char **heard; /* the URLs at which somebody answered */
    size_t heard_count;
    err refused;        /* by the first to have refused, */
    const char *reason; /* and why */
};

/* Of one member. Once one has us, the others can but contradict. */
static void join_by(const struct join *self, struct text_list url, struct joined *joined)
{
    struct answer answer = {0};
    const char *reason = joined->reason;
    err e = ask(self, PEER_FETCH_MEMBERS, url,
                joined->members ? NEW_TIMEOUT_MS : MEMBERS_TIMEOUT_MS, &answer);
    if (err_ok(e) && (!answer.members || answer.members->count == 0))
        e = ERR_UNREACHABLE;
    if (e.code) {
        LOGW("failed to get cluster response", LOG_STR("address", url.items[0]), LOG_ERR(e));
    } else {
        uint64_t id = known_as(self, answer.members);
        joined->heard[joined->heard_count++] = url.items[0];
        joined->contradicted |= id && joined->known_as && id != joined->known_as;
        joined->known_as = joined->known_as ? joined->known_as : id;
        if (answer.result.applied_index > joined->newest) {
            joined->newest = answer.result.applied_index;
            joined->newest_as = id;
        }
        if (!joined->members)
            e = check_members(self, answer.members, answer.result.cluster_id, &joined->member_id,
                              &reason);
    }
    if (err_ok(e) && !joined->members) {
        joined->members = answer.members;
        joined->cluster_id = answer.result.cluster_id;
        joined->index = answer.result.applied_index;
        return;
    }
    membership_free(answer.members);
    if (err_is(joined->refused, ERR_UNREACHABLE) && e.code) {
        joined->refused = e;
        joined->reason = reason;
    }
}

static bool was_heard(const struct join *self, const struct joined *joined, struct text_list urls)
{
    for (size_t i = 0; i < joined->heard_count; i++)
        for (size_t j = 0; j < urls.count; j++)
            if (strcmp(joined->heard[i], urls.items[j]) == 0 ||
                strcmp(resolved(self->arena, joined->heard[i]),
                       resolved(self->arena, urls.items[j])) == 0)
                return true;
    return false;
}

/* Those who answered and we are enough to lead. */
static bool are_enough(const struct join *self, const struct joined *joined)
{
    size_t voters = 0, heard = 0;
    for (size_t i = 0; i < joined->members->count; i++) {
        const struct member *member = &joined->members->members[i];
        if (member->learner)
            continue;
        voters++;
        heard += member->id == joined->member_id || was_heard(self, joined, member->peer_urls);
    }
    return heard > voters / 2;
}

static void refuse_joined(struct joined *self, err e, const char *reason)
{
    membership_free(self->members);
    self->members = NULL;
    self->refused = e;
    self->reason = reason;
}

/* A member that lags may not know of us yet, and be behind for as long as we are missing. So each
 * is asked until one has us; else the first to have refused says why. The others are asked too: one
 * that lags, or was removed and has not heard of it, may know who had our URLs before us. Nothing
 * tells which of two ids is the newer one, and nobody may come back under the older. Where it alone
 * knows our URLs, one that has applied more, and does not, tells that it lags: we are to come. And
 * where so few answer that with us they could not lead, all of them may lag, and we are of no use
 * yet; of as many as can lead with us, one at least was there when we were added. */
err join_existing(const struct join *self, struct membership **ret_members, uint64_t *ret_member_id,
                  uint64_t *ret_cluster_id, const char **ret_reason)
{
    struct text_list urls = others(self);
    struct joined joined = {.refused = ERR_UNREACHABLE,
                            .reason =
                                "cannot fetch cluster info from peer urls: could not "
                                "retrieve cluster information from the given URLs"};
    joined.heard = ARENA_ARRAY(self->arena, const char *, urls.count);
    for (size_t i = 0; i < urls.count; i++)
        join_by(self, (struct text_list){urls.items + i, 1}, &joined);
    bool lags =
        joined.index && joined.newest > joined.index && joined.newest_as != joined.member_id;
    if (joined.members && joined.contradicted)
        refuse_joined(&joined, ERR_MISMATCH,
                      "members know our peer URLs under different ids: one of them lags, or was "
                      "removed and has not heard of it");
    else if (joined.members && lags)
        refuse_joined(&joined, ERR_MISMATCH,
                      "who knows our peer URLs lags behind another member, which does not know "
                      "them: they may be those of a member that was removed");
    else if (joined.members && !are_enough(self, &joined))
        refuse_joined(&joined, ERR_UNREACHABLE,
                      "cannot fetch cluster info from peer urls: too few members answer to lead "
                      "with this one, and those who do may lag");
    *ret_reason = joined.reason;
    if (!joined.members)
        return joined.refused;
    *ret_members = joined.members;
    *ret_member_id = joined.member_id;
    *ret_cluster_id = joined.cluster_id;
    return OK;
}

err join_check_new(const struct join *self, uint64_t member_id, const char **ret_reason)
{
    struct answer answer;
    struct text_list urls = others(self);
    if (urls.count == 0 || !err_ok(ask(self, PEER_FETCH_MEMBERS, urls, NEW_TIMEOUT_MS, &answer)))
        return OK;
    const struct member *own = membership_find(answer.members, member_id);
    bool started = own && own->client_urls.count;
    membership_free(answer.members);
    return started ? refuse_bootstrapped(self, member_id, ret_reason) : OK;
}
