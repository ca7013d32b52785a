/* Inflights, progress, unstable entries, the log, the storage in memory, copies of messages. */
#include "t.h"

#include "base/prng.h"
#include "raft/inflights.h"
#include "raft/log.h"
#include "raft/memory_storage.h"
#include "raft/progress.h"

#include <stdio.h>
#include <string.h>

/* entries[i] has index first + i and the i-th digit of terms as its term. */
static size_t entries_of(struct raft_entry *entries, uint64_t first, const char *terms)
{
    size_t n = strlen(terms);
    for (size_t i = 0; i < n; i++)
        entries[i] = (struct raft_entry){
            .index = first + i,
            .term = (uint64_t)(terms[i] - '0'),
            .data = BYTES_LIT("data"),
        };
    return n;
}

static void inflights_count_messages_and_bytes(void **state)
{
    struct raft_inflights in;
    raft_inflights_init(&in, 3, 100);
    assert_false(raft_inflights_full(&in));
    raft_inflights_add(&in, 1, 10);
    raft_inflights_add(&in, 5, 10);
    assert_false(raft_inflights_full(&in));
    raft_inflights_add(&in, 6, 10);
    assert_true(raft_inflights_full(&in));
    raft_inflights_free_to(&in, 0);
    assert_int_equal(in.count, 3);
    raft_inflights_free_to(&in, 5);
    assert_int_equal(in.count, 1);
    assert_int_equal(in.bytes, 10);
    /* A large message passes, and fills it. */
    raft_inflights_add(&in, 7, 1000);
    assert_true(raft_inflights_full(&in));
    raft_inflights_free_to(&in, 100);
    assert_int_equal(in.count, 0);
    assert_int_equal(in.bytes, 0);
    raft_inflights_done(&in);
}

static void inflights_ring_is_a_queue(void **state)
{
    struct raft_inflights in;
    raft_inflights_init(&in, 37, 0);
    struct prng prng;
    prng_init(&prng, 7);
    uint64_t added = 0;
    uint64_t freed = 0;
    for (int i = 0; i < 20000; i++) {
        if (prng_below(&prng, 3) && !raft_inflights_full(&in)) {
            added++;
            raft_inflights_add(&in, added, added % 5);
        } else if (added > freed) {
            freed += prng_below(&prng, added - freed + 1);
            raft_inflights_free_to(&in, freed);
        }
        uint64_t bytes = 0;
        for (uint64_t k = freed + 1; k <= added; k++)
            bytes += k % 5;
        assert_int_equal(in.count, added - freed);
        assert_int_equal(in.bytes, bytes);
    }
    raft_inflights_done(&in);
}

static void progress_probes_then_replicates(void **state)
{
    struct raft_progress peer = {.id = 2, .next = 11};
    raft_inflights_init(&peer.inflights, 2, 0);
    raft_progress_sent(&peer, 0, 0);
    assert_false(raft_progress_paused(&peer));
    raft_progress_sent(&peer, 3, 30);
    assert_true(raft_progress_paused(&peer));
    assert_int_equal(peer.next, 11);

    assert_false(raft_progress_decrease(&peer, 7, 3));
    assert_true(raft_progress_decrease(&peer, 10, 3));
    assert_int_equal(peer.next, 4);
    assert_false(raft_progress_paused(&peer));

    assert_true(raft_progress_update(&peer, 3));
    assert_false(raft_progress_update(&peer, 3));
    raft_progress_become_replicate(&peer);
    assert_int_equal(peer.next, 4);
    raft_progress_sent(&peer, 2, 20);
    assert_int_equal(peer.next, 6);
    raft_progress_sent(&peer, 1, 10);
    assert_true(raft_progress_paused(&peer));
    assert_false(raft_progress_decrease(&peer, 3, 0));
    assert_true(raft_progress_decrease(&peer, 6, 0));
    assert_int_equal(peer.next, 4);

    raft_progress_become_snapshot(&peer, 20);
    assert_true(raft_progress_paused(&peer));
    raft_progress_become_probe(&peer);
    assert_int_equal(peer.next, 21);
    raft_inflights_done(&peer.inflights);
}

static void unstable_keeps_what_was_replaced_from_being_stable(void **state)
{
    struct raft_entry e[8];
    struct raft_unstable u;
    raft_unstable_init(&u, 5);
    raft_unstable_append(&u, e, entries_of(e, 5, "111"));
    raft_unstable_accept(&u);
    assert_int_equal(u.offset_in_progress, 8);
    /* Replaced from 6 on: what is in progress shrinks to that. */
    raft_unstable_append(&u, e, entries_of(e, 6, "22"));
    assert_int_equal(u.offset_in_progress, 6);
    const struct raft_entry *next;
    assert_int_equal(raft_unstable_next(&u, &next), 2);
    assert_int_equal(next[0].index, 6);
    assert_int_equal(next[0].term, 2);
    /* The first write ended in (7, 1), which is not what is held. */
    assert_false(raft_unstable_stable_to(&u, 7, 1));
    assert_int_equal(u.count, 3);
    assert_true(raft_unstable_stable_to(&u, 5, 1));
    assert_int_equal(u.offset, 6);
    /* Replaced below the offset: the storage's entries go too. */
    raft_unstable_append(&u, e, entries_of(e, 4, "3"));
    assert_int_equal(u.offset, 4);
    assert_int_equal(u.count, 1);
    assert_false(raft_unstable_stable_to(&u, 9, 3));
    assert_true(raft_unstable_stable_to(&u, 4, 3));
    assert_int_equal(u.count, 0);

    struct raft_snapshot snapshot = {.index = 50, .term = 4, .data = BYTES_LIT("state")};
    raft_unstable_restore(&u, &snapshot);
    uint64_t term;
    assert_true(raft_unstable_term(&u, 50, &term));
    assert_int_equal(term, 4);
    assert_true(raft_unstable_has_next_snapshot(&u));
    raft_unstable_accept(&u);
    assert_false(raft_unstable_has_next_snapshot(&u));
    raft_unstable_snapshot_stable(&u, 49);
    assert_true(u.has_snapshot);
    raft_unstable_snapshot_stable(&u, 50);
    assert_false(u.has_snapshot);
    raft_unstable_done(&u);
}

struct fixture {
    struct raft_memory_storage *storage;
    struct raft_log log;
};

/* The first n of the terms are in the storage, the rest is unstable. */
static void fixture_init(struct fixture *self, uint64_t first, const char *terms, size_t stable)
{
    struct raft_entry e[32];
    size_t n = entries_of(e, first, terms);
    self->storage = raft_memory_storage_new();
    struct raft_snapshot cut = {.index = first - 1, .term = 1};
    if (first > 1)
        assert_ok(raft_memory_storage_install(self->storage, &cut));
    assert_ok(raft_memory_storage_append(self->storage, e, stable));
    struct raft_storage table = raft_memory_storage_table(self->storage);
    raft_log_init(&self->log, &table, 1000);
    raft_unstable_append(&self->log.unstable, e + stable, n - stable);
}

static void fixture_done(struct fixture *self)
{
    raft_log_done(&self->log);
    raft_memory_storage_free(self->storage);
}

static void log_finds_the_conflict(void **state)
{
    /* 2: cut, term 1; then 3..9 */
    const char *terms = "1122445";
    for (size_t stable = 0; stable <= strlen(terms); stable++) {
        struct fixture f;
        fixture_init(&f, 3, terms, stable);
        for (uint64_t index = 0; index <= 9; index++) {
            for (uint64_t term = 0; term <= 6; term++) {
                /* By walking down: a place whose term is unknown may match. */
                uint64_t want = index;
                uint64_t want_term = 0;
                while (want > 0) {
                    if (!err_ok(raft_log_term(&f.log, want, &want_term))) {
                        want_term = 0;
                        break;
                    }
                    if (want_term <= term)
                        break;
                    want_term = 0;
                    want--;
                }
                uint64_t got;
                uint64_t got_term;
                raft_log_find_conflict(&f.log, index, term, &got, &got_term);
                assert_int_equal(got, want);
                assert_int_equal(got_term, want_term);
            }
        }
        fixture_done(&f);
    }
}

static void log_appends_only_what_follows(void **state)
{
    struct fixture f;
    struct raft_entry e[8];
    uint64_t last = 0;
    fixture_init(&f, 1, "1122", 2);
    assert_int_equal(raft_log_last_index(&f.log), 4);
    /* A gap, and a wrong term at the place. */
    size_t n = entries_of(e, 7, "22");
    assert_err(raft_log_try_append(&f.log, 6, 2, e, n, 9, &last), ERR_NOT_FOUND);
    assert_err(raft_log_try_append(&f.log, 4, 1, e, 0, 9, &last), ERR_NOT_FOUND);
    /* Known entries: nothing changes, the commit index goes no further than they. */
    n = entries_of(e, 2, "12");
    assert_ok(raft_log_try_append(&f.log, 1, 1, e, n, 9, &last));
    assert_int_equal(last, 3);
    assert_int_equal(f.log.committed, 3);
    assert_int_equal(raft_log_last_index(&f.log), 4);
    /* A conflict above the commit index replaces, one at it is refused. */
    n = entries_of(e, 4, "33");
    assert_ok(raft_log_try_append(&f.log, 3, 2, e, n, 3, &last));
    assert_int_equal(raft_log_last_index(&f.log), 5);
    assert_int_equal(raft_log_last_term(&f.log), 3);
    n = entries_of(e, 3, "3");
    assert_err(raft_log_try_append(&f.log, 2, 1, e, n, 3, &last), ERR_MISMATCH);
    assert_int_equal(raft_log_last_index(&f.log), 5);
    fixture_done(&f);
}

static void log_slices_across_storage_and_memory(void **state)
{
    const char *terms = "11223344";
    for (size_t stable = 0; stable <= 8; stable++) {
        struct fixture f;
        fixture_init(&f, 3, terms, stable);
        uint64_t one = raft_entry_bytes(
            &(struct raft_entry){.index = 3, .term = 1, .data = BYTES_LIT("data")});
        for (uint64_t lo = 3; lo <= 10; lo++) {
            for (uint64_t max = 0; max <= 9; max++) {
                const struct raft_entry *entries;
                size_t count;
                assert_ok(raft_log_slice(&f.log, lo, 11, max * one, &entries, &count));
                uint64_t want = max == 0 ? 1 : max;
                want = want < 11 - lo ? want : 11 - lo;
                assert_int_equal(count, want);
                for (size_t i = 0; i < count; i++) {
                    assert_int_equal(entries[i].index, lo + i);
                    assert_int_equal(entries[i].term, (uint64_t)(terms[lo + i - 3] - '0'));
                }
                raft_entries_unref(entries, count);
            }
        }
        const struct raft_entry *entries;
        size_t count;
        assert_err(raft_log_slice(&f.log, 2, 11, 100, &entries, &count), ERR_COMPACTED_LOG);
        fixture_done(&f);
    }
}

static void log_hands_out_by_the_limit(void **state)
{
    struct fixture f;
    fixture_init(&f, 1, "1111", 2);
    uint64_t lo = 0;
    uint64_t hi = 0;
    assert_false(raft_log_next_committed(&f.log, true, &lo, &hi));
    assert_true(raft_log_commit_to(&f.log, 4));
    assert_false(raft_log_commit_to(&f.log, 2));
    /* Only what the storage holds, where that is asked for. */
    assert_true(raft_log_next_committed(&f.log, false, &lo, &hi));
    assert_int_equal(hi, 3);
    assert_true(raft_log_next_committed(&f.log, true, &lo, &hi));
    assert_int_equal(lo, 1);
    assert_int_equal(hi, 5);
    const struct raft_entry *entries;
    size_t count;
    assert_ok(raft_log_slice(&f.log, 1, 3, 1000, &entries, &count));
    raft_log_accept_applying(&f.log, entries, count, true);
    /* Something was left behind: no more before this is applied. */
    assert_false(raft_log_next_committed(&f.log, true, &lo, &hi));
    uint64_t payload = 0;
    raft_log_applied_to(&f.log, 2, &payload);
    assert_int_equal(payload, 8);
    assert_int_equal(f.log.applied, 2);
    assert_true(raft_log_next_committed(&f.log, true, &lo, &hi));
    assert_int_equal(lo, 3);
    raft_entries_unref(entries, count);
    fixture_done(&f);
}

static int released;

static void count_release(struct raft_blob *blob)
{
    (void)blob;
    released++;
}

static void entries_hold_their_blobs_exactly_as_long_as_needed(void **state)
{
    released = 0;
    struct raft_blob blob = {.refs = 1, .release = count_release};
    struct raft_entry e = {.index = 1, .term = 1, .data = BYTES_LIT("x"), .blob = &blob};
    struct fixture f;
    fixture_init(&f, 1, "", 0);
    raft_unstable_append(&f.log.unstable, &e, 1);
    raft_blob_unref(&blob);
    assert_int_equal(blob.refs, 1);
    struct raft_message m = {.type = RAFT_MSG_APP, .entries = &e, .entry_count = 1};
    struct raft_message outer = {.responses = &m, .response_count = 1, .context = BYTES_LIT("c")};
    struct raft_message *copy = raft_message_copy(&outer);
    assert_int_equal(blob.refs, 2);
    assert_true(bytes_equal(copy->context, BYTES_LIT("c")));
    assert_true(bytes_equal(copy->responses[0].entries[0].data, BYTES_LIT("x")));
    assert_true(raft_unstable_stable_to(&f.log.unstable, 1, 1));
    assert_int_equal(released, 0);
    raft_message_free(copy);
    assert_int_equal(released, 1);
    fixture_done(&f);
}

static void storage_compacts_and_overwrites(void **state)
{
    struct raft_entry e[8];
    struct raft_memory_storage *storage = raft_memory_storage_new();
    struct raft_storage table = raft_memory_storage_table(storage);
    assert_ok(raft_memory_storage_append(storage, e, entries_of(e, 1, "1123")));
    assert_err(raft_memory_storage_append(storage, e, entries_of(e, 6, "4")), ERR_MISMATCH);
    assert_ok(raft_memory_storage_append(storage, e, entries_of(e, 3, "4")));
    assert_int_equal(table.last_index(table.ctx), 3);
    uint64_t term;
    assert_ok(table.term(table.ctx, 3, &term));
    assert_int_equal(term, 4);
    assert_ok(raft_memory_storage_compact(storage, 2));
    assert_int_equal(table.first_index(table.ctx), 3);
    assert_ok(table.term(table.ctx, 2, &term));
    assert_int_equal(term, 1);
    assert_err(table.term(table.ctx, 1, &term), ERR_COMPACTED_LOG);
    assert_err(table.term(table.ctx, 4, &term), ERR_NOT_FOUND);
    assert_err(raft_memory_storage_compact(storage, 2), ERR_COMPACTED_LOG);
    assert_err(raft_memory_storage_compact(storage, 9), ERR_NOT_FOUND);
    raft_memory_storage_free(storage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(inflights_count_messages_and_bytes),
        cmocka_unit_test(inflights_ring_is_a_queue),
        cmocka_unit_test(progress_probes_then_replicates),
        cmocka_unit_test(unstable_keeps_what_was_replaced_from_being_stable),
        cmocka_unit_test(log_finds_the_conflict),
        cmocka_unit_test(log_appends_only_what_follows),
        cmocka_unit_test(log_slices_across_storage_and_memory),
        cmocka_unit_test(log_hands_out_by_the_limit),
        cmocka_unit_test(entries_hold_their_blobs_exactly_as_long_as_needed),
        cmocka_unit_test(storage_compacts_and_overwrites),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
