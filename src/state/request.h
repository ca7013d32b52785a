/* Entries as they are put into the log: which form members bear, and canonical bytes.
 *
 * An entry that a member cannot apply kills it at every start, since it stays in its log. One
 * table says which forms members of which version bear; the lowest of the cluster version and of
 * all versions heard decides. While no cluster version is set and a member is unheard, neither
 * form is proposed. 3.0 counts as none: a leader of etcd's writes it until it has heard all, and
 * those that it has not heard may be 3.7, which dies of the v2 form.
 *
 *   lowest version   attributes, cluster version     passwords
 *   >= 3.6           fields 1301, 1300               hashed
 *   3.5              v2 Request PUT                  hashed
 *   <= 3.4           v2 Request PUT                  plain
 *
 * Thread: any.  Source: etcd's interface, on-disk formats, "IDs and raft entries". */
#pragma once

#include "base/arena.h"
#include "base/bytes.h"
#include "base/err.h"
#include "state/members.h"
#include "state/state.h"

enum request_form {
    REQUEST_FORM_NONE, /* not yet known: propose neither */
    REQUEST_FORM_V2,
    REQUEST_FORM_V3,
};

/* heard: the versions of all members, own included; major 0 where a member is unheard. */
enum request_form request_form_of(struct cluster_version cluster,
                                  const struct cluster_version *heard, size_t heard_count);

/* Entry data that publishes a member's name and client URLs; lies in the arena. */
struct bytes request_attributes(struct arena *arena, uint64_t request_id, enum request_form form,
                                uint64_t member_id, const char *name, struct text_list client_urls);
/* Entry data that sets the cluster version; lies in the arena. */
struct bytes request_cluster_version(struct arena *arena, uint64_t request_id,
                                     enum request_form form, struct cluster_version version);

/* Entry data that raises an alarm of this member, or ends it; lies in the arena. */
struct bytes request_alarm(struct arena *arena, uint64_t request_id, uint64_t member_id,
                           enum alarm_type type, bool raise);

/* Entry data that revokes a lease, and that notes what remains of some; they lie in the arena. */
struct bytes request_lease_revoke(struct arena *arena, uint64_t request_id, int64_t lease_id);
struct lease_note {
    int64_t lease_id;
    int64_t remaining_s; /* 0: all of it */
};
struct bytes request_lease_checkpoint(struct arena *arena, uint64_t request_id,
                                      const struct lease_note *notes, size_t count);

/* Entry data that compacts up to a revision; lies in the arena. */
struct bytes request_compaction(struct arena *arena, uint64_t request_id, int64_t revision);

/* Raw request bytes as they may enter a log: the same bytes where they are canonical (known
 * fields once and ascending, minimal varints, valid UTF-8, depth <= 100), else encoded anew into
 * the arena. `field` is the field of InternalRaftRequest that takes them (4 put, 5 delete_range,
 * 6 txn, ...).
 * Fails: ERR_SYNTAX (malformed, bad UTF-8, too deep, unknown field number). */
MUST err state_request_canonical(unsigned field, struct bytes raw, struct arena *arena,
                                 struct bytes *ret_canonical);
/* InternalRaftRequest{header{ID}, field: body} around canonical body bytes: the length, and the
 * writing of exactly that many bytes. Field order is ascending: the header (100) follows bodies
 * below 100 and precedes those above. */
size_t state_request_size(unsigned field, size_t body_len, uint64_t request_id,
                          struct bytes username, uint64_t auth_revision);
void state_request_write(uint8_t *out, unsigned field, struct bytes body, uint64_t request_id,
                         struct bytes username, uint64_t auth_revision);
