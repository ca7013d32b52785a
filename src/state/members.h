/* Who is in the cluster, and its version: an immutable value.
 * Each change makes a new membership, so that a view on another thread keeps the one it has; the
 * core retires the old one through its epoch. Members are few (tens), changes are rare.
 *
 * Bucket `members` holds a member as JSON under its hex id, `members_removed` the text removed
 * under the hex id, `cluster` the version; contexts of conf changes carry the same JSON:
 *
 *   {"id":N,"peerURLs":["u"],"isLearner":true,"name":"n","clientURLs":["u"]}
 *
 * id in decimal; isLearner, name and clientURLs left out where false or empty; an absent list of
 * peer URLs is null; texts escaped as Go's encoding/json does (<, >, & too).
 *
 * Source: etcd's interface, on-disk formats, "Backend buckets", "IDs and raft entries".
 * Thread: a membership any, once made. */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "base/epoch.h"
#include "base/err.h"

struct text_list {
    const char *const *items;
    size_t count;
};

struct member {
    uint64_t id;
    bool learner;
    const char *name; /* "" until it has published itself */
    struct text_list peer_urls;
    struct text_list client_urls; /* empty until it has published itself */
};

/* major 0: not decided. The patch part is not kept: a cluster version ends in .0. */
struct cluster_version {
    uint16_t major;
    uint16_t minor;
};

struct membership {
    struct epoch_item retired;
    struct arena arena;           /* all that follows lies here */
    const struct member *members; /* ascending id */
    size_t count;
    const uint64_t *removed; /* ascending */
    size_t removed_count;
    struct cluster_version version;
    struct cluster_version downgrade_to; /* major 0: no downgrade is under way */
};

enum member_change_kind { MEMBER_ADD, MEMBER_REMOVE, MEMBER_UPDATE, MEMBER_PROMOTE };

struct member_change {
    enum member_change_kind kind;
    struct member member; /* remove, promote: only id counts */
};

/* Limits of what is read from entries: beyond them an entry's change is refused, equally on all.
 * So many members are what raft can name. */
#define MEMBERS_MAX     64
#define MEMBER_URLS_MAX 128

/* Empty, version not decided. Owned by the caller. */
struct membership *membership_new(void);
/* NULL is legal. */
void membership_free(struct membership *self);
/* membership_free in the form that epoch_retire takes. */
void membership_retire(struct epoch_item *item);

/* NULL where there is none. */
const struct member *membership_find(const struct membership *self, uint64_t id);
bool membership_was_removed(const struct membership *self, uint64_t id);
size_t membership_voter_count(const struct membership *self);
/* Voters that have published themselves: what a cluster can count on. */
size_t membership_started_count(const struct membership *self);

/* Judges a change as every member does when it applies one: removed ids, ids and peer URLs in
 * use, too many learners, unknown ids, promoting what is no learner, in etcd's order.
 * Fails: ERR_MEMBER_NOT_FOUND (also an id once removed), ERR_MEMBER_EXIST, ERR_PEER_URL_EXIST,
 * ERR_TOO_MANY_LEARNERS, ERR_MEMBER_NOT_LEARNER, ERR_LIMIT. */
MUST err membership_check(const struct membership *self, const struct member_change *change,
                          unsigned learners_max);
/* A new membership with the change done; it must have passed membership_check. */
struct membership *membership_changed(const struct membership *self,
                                      const struct member_change *change);
/* A new membership in which the member carries these attributes; NULL where nothing changes (an
 * unknown or removed id, or equal attributes). */
struct membership *membership_attributed(const struct membership *self, uint64_t id,
                                         const char *name, struct text_list client_urls);
/* A new membership with that cluster version. */
struct membership *membership_versioned(const struct membership *self,
                                        struct cluster_version version);
/* A new membership on its way down to that version; major 0: on no way any more. */
struct membership *membership_downgrading(const struct membership *self,
                                          struct cluster_version target);
/* For restoring: adds what a bucket held, without any check. */
struct membership *membership_with_removed(const struct membership *self, uint64_t id);
struct membership *membership_with_member(const struct membership *self,
                                          const struct member *member);

/* JSON of one member as buckets and contexts have it. Fails: ERR_LIMIT of the buffer. */
MUST err member_put_json(const struct member *self, struct buf *out);
/* JSON of attributes as the v2 form of publishing has it: {"name":"n","clientURLs":["u"]}. */
MUST err member_put_attributes_json(const struct member *self, struct buf *out);
/* JSON of raft attributes as the v2 store has it: {"peerURLs":["u"],"isLearner":true}. */
MUST err member_put_raft_attributes_json(const struct member *self, struct buf *out);
/* A text with its quotes, as Go writes it. */
MUST err member_put_json_text(struct buf *out, const char *text);
/* Reads any of these forms; texts lie in the arena. Unknown keys are passed over,
 * what is absent is empty. *ret_promote: "isPromote" was true.
 * Fails: ERR_SYNTAX, ERR_LIMIT. */
MUST err member_parse_json(struct bytes json, struct arena *arena, struct member *ret_member,
                           bool *ret_promote);

/* JSON of a promotion's context: {"id":N,"peerURLs":null,"isPromote":true}. */
MUST err member_put_promotion_json(uint64_t id, struct buf *out);
/* Bucket cluster, key downgrade: {"target-version":"3.6.0","enabled":true}; major 0: none.
 * Fails: ERR_LIMIT of the buffer; reading: ERR_SYNTAX, ERR_LIMIT. */
MUST err downgrade_put_json(struct cluster_version target, struct buf *out);
MUST err downgrade_parse_json(struct bytes json, struct cluster_version *ret_target);

/* --initial-cluster: name=url pairs, a name may repeat; ids from the token; ascending ids.
 * Fails: ERR_SYNTAX (no =, empty name or URL), ERR_EXISTS (one URL twice), ERR_LIMIT. */
MUST err membership_parse_initial(struct bytes text, struct bytes token,
                                  struct membership **ret_membership);

/* X.Y.Z or X.Y, digits only. Fails: ERR_SYNTAX. */
MUST err cluster_version_parse(struct bytes text, struct cluster_version *ret_version);
#define CLUSTER_VERSION_TEXT_MAX 16
/* "3.7.0"; "not_decided" before one is set. Returns text. */
const char *cluster_version_text(struct cluster_version self, char text[CLUSTER_VERSION_TEXT_MAX]);
static inline int cluster_version_compare(struct cluster_version a, struct cluster_version b)
{
    if (a.major != b.major)
        return a.major < b.major ? -1 : 1;
    return (a.minor > b.minor) - (a.minor < b.minor);
}
