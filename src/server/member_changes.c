#include "server/member_changes.h"

#include "base/check.h"
#include "base/log.h"
#include "base/metrics.h"
#include "state/ids.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* ── Metrics with a label that is known only now ────────────────────────────────────────────── */

/* Registered once each, for ever. */
struct labelled {
    struct metric metric;
    struct labelled *next;
    char labels[256];
};

static struct metric promote_successes = {.name = "etcd_server_learner_promote_successes",
                                          .help = "Learners that were promoted.",
                                          .kind = METRIC_COUNTER};
static const struct metric promote_failures = {.name = "etcd_server_learner_promote_failures",
                                               .help = "Promotions that failed.",
                                               .kind = METRIC_COUNTER};
static const struct metric known_peers = {
    .name = "etcd_network_known_peers", .help = "Whether a member is known.", .kind = METRIC_GAUGE};
static const struct metric cluster_version = {
    .name = "etcd_cluster_version", .help = "Version of the cluster.", .kind = METRIC_GAUGE};

static struct metric *labelled_of(const struct metric *like, const char *labels)
{
    static struct labelled *all;
    for (struct labelled *at = all; at; at = at->next)
        if (at->metric.name == like->name && strcmp(at->labels, labels) == 0)
            return &at->metric;
    struct labelled *self = calloc(1, sizeof(*self));
    CHECK(self);
    self->metric.name = like->name;
    self->metric.help = like->help;
    self->metric.kind = like->kind;
    self->metric.labels = self->labels;
    snprintf(self->labels, sizeof(self->labels), "%s", labels);
    self->next = all;
    all = self;
    metric_register(&self->metric);
    return &self->metric;
}

static void set_known(const struct member_changes *self, uint64_t id, bool known)
{
    char labels[64];
    snprintf(labels, sizeof(labels), "Local=\"%" PRIx64 "\",Remote=\"%" PRIx64 "\"",
             self->member_id, id);
    metric_set(labelled_of(&known_peers, labels), known);
}

static void set_version(struct cluster_version version, bool is)
{
    char labels[48];
    snprintf(labels, sizeof(labels), "cluster_version=\"%u.%u\"", version.major, version.minor);
    if (version.major)
        metric_set(labelled_of(&cluster_version, labels), is);
}

void member_changes_promoted(err outcome)
{
    char labels[160];
    if (err_ok(outcome)) {
        metric_add(&promote_successes, 1);
        return;
    }
    const char *reason = err_is(outcome, ERR_MEMBER_NOT_FOUND) ? "membership: ID not found"
                         : err_is(outcome, ERR_MEMBER_NOT_LEARNER)
                             ? "membership: can only promote a learner member"
                             : err_text(outcome);
    snprintf(labels, sizeof(labels), "Reason=\"%s\"", reason);
    metric_add(labelled_of(&promote_failures, labels), 1);
}

/* ── Lines ──────────────────────────────────────────────────────────────────────────────────── */

struct line {
    const char *msg, *id, *urls, *learner; /* keys; urls NULL: the id alone */
};

static void say(const struct member_changes *self, const struct line *line,
                const struct member *member)
{
    const char *urls[MEMBER_URLS_MAX + 1] = {NULL};
    for (size_t i = 0; i < member->peer_urls.count && i < MEMBER_URLS_MAX; i++)
        urls[i] = member->peer_urls.items[i];
    const struct log_field fields[] = {LOG_HEX("cluster-id", self->cluster_id),
                                       LOG_HEX("local-member-id", self->member_id),
                                       LOG_HEX(line->id, member->id), LOG_STRS(line->urls, urls),
                                       LOG_BOOL(line->learner, member->learner)};
    if (log_enabled(LOG_INFO))
        log_line(LOG_INFO, NULL, __FILE__, __LINE__, line->msg, fields, line->urls ? 5 : 3);
}

static bool urls_equal(struct text_list a, struct text_list b)
{
    if (a.count != b.count)
        return false;
    for (size_t i = 0; i < a.count; i++)
        if (strcmp(a.items[i], b.items[i]) != 0)
            return false;
    return true;
}

static void compare(const struct member_changes *self, const struct member *old,
                    const struct member *now)
{
    static const struct line added = {"added member", "added-peer-id", "added-peer-peer-urls",
                                      "added-peer-is-learner"};
    static const struct line promoted = {"promote member", "promoted-member-id", NULL, NULL};
    static const struct line updated = {"updated member", "updated-remote-peer-id",
                                        "updated-remote-peer-urls",
                                        "updated-remote-peer-is-learner"};
    if (!old) {
        say(self, &added, now);
        set_known(self, now->id, true);
        return;
    }
    if (old->learner && !now->learner)
        say(self, &promoted, now);
    if (!urls_equal(old->peer_urls, now->peer_urls))
        say(self, &updated, now);
}

static void take(struct member_changes *self, const struct membership *now)
{
    struct membership *copy = membership_versioned(now, now->version);
    membership_free(self->seen);
    self->seen = copy;
}

/* Until a member is one itself it goes through the history of those who are. */
void member_changes_view(struct member_changes *self, const struct replica_view *view)
{
    static const struct line removed = {"removed member", "removed-remote-peer-id",
                                        "removed-remote-peer-urls",
                                        "removed-remote-peer-is-learner"};
    const struct membership *now = view->members;
    if (!view->is_member && !view->is_removed)
        return;
    for (size_t i = 0; i < now->count; i++)
        compare(self, membership_find(self->seen, now->members[i].id), &now->members[i]);
    for (size_t i = 0; i < self->seen->count; i++) {
        if (membership_find(now, self->seen->members[i].id))
            continue;
        say(self, &removed, &self->seen->members[i]);
        set_known(self, self->seen->members[i].id, false);
    }
    if (cluster_version_compare(now->version, self->seen->version) != 0) {
        set_version(self->seen->version, false);
        set_version(now->version, true);
    }
    take(self, now);
}

/* ── Life ───────────────────────────────────────────────────────────────────────────────────── */

void member_changes_init(struct member_changes *self, uint64_t member_id, uint64_t cluster_id,
                         const struct membership *known)
{
    *self = (struct member_changes){.member_id = member_id, .cluster_id = cluster_id};
    metric_register(&promote_successes);
    for (size_t i = 0; i < known->count; i++)
        set_known(self, known->members[i].id, true);
    set_version(known->version, true);
    take(self, known);
}

void member_changes_done(struct member_changes *self)
{
    membership_free(self->seen);
}
