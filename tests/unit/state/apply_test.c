/* What each kind of entry does to keys, members and alarms, and what it answers. */
#include "fixture.h"

#include "wire/encode.h"

enum { GET = 0, ACTIVATE = 1, DEACTIVATE = 2 };

static void first_write_is_revision_two(void **ctx)
{
    (void)ctx;
    struct fixture f;
    fixture_begin(&f, NULL);
    const struct state_result *r = do_put(&f, put_of(&f, "a", "1"));
    assert_int_equal(r->error.code, 0);
    assert_int_equal(r->op.kind, STATE_PUT);
    assert_int_equal(r->revision, 2);
    assert_int_equal(do_put(&f, put_of(&f, "a", "2"))->revision, 3);
    assert_string_equal(value_now(&f, "a"), "2");
    fixture_end(&f);
}

static void prev_kv_is_promised_at_the_seq_before(void **ctx)
{
    (void)ctx;
    struct fixture f;
    fixture_begin(&f, NULL);
    (void)do_put(&f, put_of(&f, "a", "1"));
    Etcdserverpb__PutRequest *put = put_of(&f, "a", "2");
    put->prev_kv = true;
    const struct state_result *r = do_put(&f, put);
    assert_string_equal(value_at(&f, "a", r->op.seq), "1");
    assert_int_equal(r->seq_min, r->op.seq);
    Etcdserverpb__DeleteRangeRequest *del = delete_of(&f, "a", NULL);
    del->prev_kv = true;
    r = do_delete(&f, del);
    assert_int_equal(r->op.deleted, 1);
    assert_string_equal(value_at(&f, "a", r->op.seq), "2");
    assert_string_equal(value_now(&f, "a"), "");
    assert_int_equal(do_put(&f, put_of(&f, "a", "3"))->seq_min, 0);
    fixture_end(&f);
}

static void puts_are_refused_by_the_table(void **ctx)
{
    (void)ctx;
    static const struct {
        const char *key;
        const char *value;
        int64_t lease;
        bool ignore_value;
        bool ignore_lease;
        enum err_code error;
        const char *after; /* the value of key afterwards */
    } rows[] = {
        {"a", "x", 0, false, false, ERR_NONE_, "x"},
        {"a", "y", 7, false, false, ERR_LEASE_NOT_FOUND_, "x"},
        {"a", NULL, 0, true, false, ERR_NONE_, "x"},
        {"a", "z", 0, false, true, ERR_NONE_, "z"},
        {"b", NULL, 0, true, false, ERR_KEY_NOT_FOUND_, ""},
        {"b", "x", 0, false, true, ERR_KEY_NOT_FOUND_, ""},
        {"b", NULL, 7, true, false, ERR_LEASE_NOT_FOUND_, ""}, /* the lease is looked at first */
        {NULL, "x", 0, false, false, ERR_EMPTY_KEY_, NULL},
    };
    struct fixture f;
    fixture_begin(&f, NULL);
    int64_t revision = 1;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        Etcdserverpb__PutRequest *put = put_of(&f, rows[i].key, rows[i].value);
        put->lease = rows[i].lease;
        put->ignore_value = rows[i].ignore_value;
        put->ignore_lease = rows[i].ignore_lease;
        const struct state_result *r = do_put(&f, put);
        assert_int_equal(r->error.code, rows[i].error);
        revision += rows[i].error == ERR_NONE_;
        assert_int_equal(r->revision, rows[i].error == ERR_NONE_ ? revision : 0);
        assert_int_equal(mvcc_store_revision(state_store(f.state)), revision);
        if (rows[i].after)
            assert_string_equal(value_now(&f, rows[i].key), rows[i].after);
    }
    fixture_end(&f);
}

static void a_deletion_counts_and_one_that_removes_nothing_keeps_the_revision(void **ctx)
{
    (void)ctx;
    struct fixture f;
    fixture_begin(&f, NULL);
    for (char c = 'a'; c <= 'e'; c++) {
        char key[2] = {c, 0};
        (void)do_put(&f, put_of(&f, key, "v"));
    }
    const struct state_result *r = do_delete(&f, delete_of(&f, "b", "d"));
    assert_int_equal(r->op.deleted, 2);
    assert_int_equal(r->revision, 7);
    r = do_delete(&f, delete_of(&f, "b", "d"));
    assert_int_equal(r->op.deleted, 0);
    assert_int_equal(r->revision, 7);
    assert_string_equal(value_now(&f, "d"), "v");
    assert_int_equal(do_delete(&f, delete_of(&f, NULL, "d"))->error.code, ERR_EMPTY_KEY_);
    fixture_end(&f);
}

static void a_long_deletion_goes_on_slice_by_slice_and_shows_whole(void **ctx)
{
    (void)ctx;
    struct fixture f;
    fixture_begin(&f, NULL);
    for (int i = 0; i < 1000; i++)
        (void)do_put(&f, put_of(&f, arena_printf(&f.arena, "k%04d", i), "v"));
    f.slice = 100;
    struct bytes data;
    Etcdserverpb__InternalRaftRequest r = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    r.delete_range = delete_of(&f, "k", "l");
    data = wire_encode_arena(&r.base, &f.arena);
    (void)state_begin(f.state, data);
    assert_true(state_is_long(f.state));
    unsigned budget = 100;
    bool done = true;
    assert_int_equal(state_run(f.state, &budget, &done).code, 0);
    assert_false(done);
    assert_true(state_is_busy(f.state));
    /* Nobody sees half of it. */
    uint64_t seen = mvcc_store_view(state_store(f.state))->seq;
    assert_string_equal(value_at(&f, "k0000", seen), "v");
    while (!done) {
        budget = 100;
        assert_int_equal(state_run(f.state, &budget, &done).code, 0);
    }
    assert_int_equal(state_result_of(f.state)->op.deleted, 1000);
    (void)state_publish(f.state);
    state_retire(f.state);
    assert_string_equal(value_now(&f, "k0999"), "");
    fixture_end(&f);
}

static void compaction_answers_as_etcd(void **ctx)
{
    (void)ctx;
    static const struct {
        int64_t revision;
        enum err_code error;
    } rows[] = {{0, ERR_NONE_}, {0, ERR_COMPACTED_}, {-1, ERR_COMPACTED_}, {5, ERR_FUTURE_REV_},
                {3, ERR_NONE_}, {2, ERR_COMPACTED_}, {3, ERR_COMPACTED_},  {4, ERR_NONE_}};
    struct fixture f;
    fixture_begin(&f, NULL);
    for (int i = 0; i < 3; i++)
        (void)do_put(&f, put_of(&f, "a", "v"));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct state_result *r = do_compact(&f, rows[i].revision);
        assert_int_equal(r->error.code, rows[i].error);
        assert_int_equal(r->revision, rows[i].error == ERR_NONE_ ? 4 : 0);
    }
    fixture_end(&f);
}

static void alarms_refuse_what_they_must(void **ctx)
{
    (void)ctx;
    struct fixture f;
    fixture_begin(&f, NULL);
    (void)do_put(&f, put_of(&f, "a", "1"));
    assert_int_equal(do_alarm(&f, ACTIVATE, 9, ALARM_NOSPACE)->alarm_count, 1);
    Etcdserverpb__RequestOp *puts[] = {op_put(&f, put_of(&f, "a", "2")), NULL};
    Etcdserverpb__RequestOp *deletes[] = {op_delete(&f, delete_of(&f, "a", NULL)), NULL};
    assert_int_equal(do_put(&f, put_of(&f, "a", "2"))->error.code, ERR_NO_SPACE_);
    assert_int_equal(do_txn(&f, txn_of(&f, NULL, puts, NULL))->error.code, ERR_NO_SPACE_);
    /* The costlier branch counts, taken or not. */
    assert_int_equal(do_txn(&f, txn_of(&f, NULL, deletes, puts))->error.code, ERR_NO_SPACE_);
    assert_int_equal(do_txn(&f, txn_of(&f, NULL, deletes, NULL))->error.code, 0);
    assert_int_equal(do_delete(&f, delete_of(&f, "a", NULL))->error.code, 0);
    assert_int_equal(do_compact(&f, 2)->error.code, 0);

    assert_int_equal(do_alarm(&f, ACTIVATE, 9, ALARM_CORRUPT)->alarm_count, 1);
    assert_int_equal(do_put(&f, put_of(&f, "a", "2"))->error.code, ERR_CORRUPT_CLUSTER_);
    assert_int_equal(do_txn(&f, txn_of(&f, NULL, deletes, NULL))->error.code, ERR_CORRUPT_CLUSTER_);
    assert_int_equal(do_delete(&f, delete_of(&f, "a", NULL))->error.code, ERR_CORRUPT_CLUSTER_);
    assert_int_equal(do_compact(&f, 3)->error.code, ERR_CORRUPT_CLUSTER_);

    assert_int_equal(do_alarm(&f, DEACTIVATE, 9, ALARM_CORRUPT)->alarm_count, 1);
    assert_int_equal(do_alarm(&f, DEACTIVATE, 9, ALARM_NOSPACE)->alarm_count, 1);
    assert_int_equal(do_put(&f, put_of(&f, "a", "2"))->error.code, 0);
    fixture_end(&f);
}

static void alarms_are_raised_once_and_listed_by_type(void **ctx)
{
    (void)ctx;
    struct fixture f;
    fixture_begin(&f, NULL);
    assert_int_equal(do_alarm(&f, ACTIVATE, 9, ALARM_NOSPACE)->alarm_count, 1);
    assert_int_equal(do_alarm(&f, ACTIVATE, 9, ALARM_NOSPACE)->alarm_count, 1);
    assert_int_equal(do_alarm(&f, ACTIVATE, 3, ALARM_NOSPACE)->alarm_count, 1);
    assert_int_equal(do_alarm(&f, ACTIVATE, 3, ALARM_NONE)->alarm_count, 0);
    assert_int_equal(do_alarm(&f, DEACTIVATE, 4, ALARM_NOSPACE)->alarm_count, 0);
    assert_int_equal(state_alarms(f.state)->count, 2);
    const struct state_result *r = do_alarm(&f, GET, 0, ALARM_NONE);
    assert_int_equal(r->alarm_count, 2);
    assert_int_equal(r->alarms[0].member_id, 3);
    assert_int_equal(do_alarm(&f, GET, 0, ALARM_CORRUPT)->alarm_count, 0);
    fixture_end(&f);
}

static void over_the_quota_at_apply_is_done_and_answered_with_no_space(void **ctx)
{
    (void)ctx;
    struct fixture f;
    struct state_config config = {.quota_bytes = 1000};
    fixture_begin(&f, &config);
    state_set_size(f.state, 700);
    assert_int_equal(do_put(&f, put_of(&f, "a", "1"))->error.code, 0);
    state_set_size(f.state, 743);
    const struct state_result *r = do_put(&f, put_of(&f, "a", "2")); /* 256 + 1 + 1 */
    assert_int_equal(r->error.code, ERR_NO_SPACE_);
    assert_string_equal(value_now(&f, "a"), "2");
    fixture_end(&f);
}

static void unsupported_and_unknown_entries_change_nothing(void **ctx)
{
    (void)ctx;
    struct fixture f;
    fixture_begin(&f, NULL);
    uint64_t seq = mvcc_store_seq(state_store(f.state));
    Etcdserverpb__InternalRaftRequest r = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__AuthEnableRequest enable = ETCDSERVERPB__AUTH_ENABLE_REQUEST__INIT;
    r.auth_enable = &enable;
    assert_int_equal(apply(&f, &r)->error.code, ERR_UNSUPPORTED_);
    r.auth_enable = NULL;
    r.range = range_of(&f, "a", NULL, 0);
    assert_int_equal(apply(&f, &r)->error.code, 0);
    assert_int_equal(apply_bytes(&f, BYTES_NONE)->error.code, 0);
    assert_int_equal(apply_bytes(&f, BYTES_LIT("\xff\xff\xff"))->error.code, ERR_SYNTAX_);
    assert_int_equal(apply_bytes(&f, BYTES_LIT("\xfa\xff\x7f\x01x"))->error.code, 0);
    assert_int_equal(mvcc_store_seq(state_store(f.state)), seq);
    fixture_end(&f);
}

/* --- members ----------------------------------------------------------------------------- */

static void add_member(struct fixture *f, uint64_t id, const char *url, bool learner)
{
    struct member m = {.id = id, .name = "", .learner = learner, .peer_urls = {&url, 1}};
    struct buf json;
    buf_init(&json, 0);
    assert_int_equal(member_put_json(&m, &json).code, 0);
    enum state_conf_type type = learner ? STATE_CONF_ADD_LEARNER : STATE_CONF_ADD;
    assert_int_equal(state_apply_conf_change(f->state, type, id, buf_bytes(&json)).code, 0);
    buf_done(&json);
}

static void conf_changes_change_the_membership_or_nothing(void **ctx)
{
    (void)ctx;
    struct fixture f;
    fixture_begin(&f, NULL);
    add_member(&f, 1, "http://a:1", false);
    add_member(&f, 2, "http://b:1", true);
    static const struct {
        enum state_conf_type type;
        uint64_t id;
        const char *context;
        enum err_code error;
    } rows[] = {
        {STATE_CONF_ADD, 1, "{\"id\":1,\"peerURLs\":[\"http://a:1\"]}", ERR_MEMBER_EXIST_},
        {STATE_CONF_ADD, 3, "{\"id\":4,\"peerURLs\":[\"http://c:1\"]}", ERR_SYNTAX_},
        {STATE_CONF_ADD, 3, "", ERR_SYNTAX_},
        {STATE_CONF_ADD, 3, "{\"id\":3,\"peerURLs\":[\"http://b:1\"]}", ERR_PEER_URL_EXIST_},
        {STATE_CONF_ADD, 1, "{\"id\":1,\"peerURLs\":null,\"isPromote\":true}",
         ERR_MEMBER_NOT_LEARNER_},
        {STATE_CONF_ADD, 2, "{\"id\":2,\"peerURLs\":null,\"isPromote\":true}", ERR_NONE_},
        {STATE_CONF_UPDATE, 2, "{\"id\":2,\"peerURLs\":[\"http://c:1\"]}", ERR_NONE_},
        {STATE_CONF_REMOVE, 5, "", ERR_MEMBER_NOT_FOUND_},
        {STATE_CONF_REMOVE, 1, "", ERR_NONE_},
        {STATE_CONF_ADD, 1, "{\"id\":1,\"peerURLs\":[\"http://z:1\"]}", ERR_MEMBER_NOT_FOUND_},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        err e =
            state_apply_conf_change(f.state, rows[i].type, rows[i].id, bytes_str(rows[i].context));
        assert_int_equal(e.code, rows[i].error);
    }
    const struct membership *m = state_members(f.state);
    assert_int_equal(m->count, 1);
    assert_false(m->members[0].learner);
    assert_string_equal(m->members[0].peer_urls.items[0], "http://c:1");
    assert_true(membership_was_removed(m, 1));
    fixture_end(&f);
}

static void attributes_and_version_come_in_both_forms(void **ctx)
{
    (void)ctx;
    static const char *const urls[] = {"http://a:2379", "http://b:2379"};
    for (int form = REQUEST_FORM_V2; form <= REQUEST_FORM_V3; form++) {
        struct fixture f;
        fixture_begin(&f, NULL);
        add_member(&f, 0xab, "http://a:1", false);
        struct bytes data = request_attributes(&f.arena, 77, (enum request_form)form, 0xab, "n<1>",
                                               (struct text_list){urls, 2});
        assert_int_equal(state_begin(f.state, data), 77);
        bool done = false;
        unsigned budget = 10;
        assert_int_equal(state_run(f.state, &budget, &done).code, 0);
        assert_true(done);
        const struct member *m = membership_find(state_members(f.state), 0xab);
        assert_string_equal(m->name, "n<1>");
        assert_int_equal(m->client_urls.count, 2);
        assert_string_equal(m->client_urls.items[1], urls[1]);
        assert_string_equal(m->peer_urls.items[0], "http://a:1");
        data = request_cluster_version(&f.arena, 78, (enum request_form)form,
                                       (struct cluster_version){3, 6});
        assert_int_equal(apply_bytes(&f, data)->error.code, 0);
        assert_int_equal(state_members(f.state)->version.minor, 6);
        /* An unknown member's attributes are passed over. */
        data = request_attributes(&f.arena, 79, (enum request_form)form, 0xcd, "x",
                                  (struct text_list){urls, 1});
        assert_int_equal(apply_bytes(&f, data)->error.code, 0);
        assert_int_equal(state_members(f.state)->count, 1);
        fixture_end(&f);
    }
}

/* A state over a store that was made from the first one's changes. */
static struct state *state_replayed(struct fixture *f)
{
    struct mvcc_store_config store_config = {.epoch = &f->epoch, .log = f->log, .tail = f->tail};
    struct mvcc_store *store = mvcc_store_new(&store_config);
    uint64_t last = tail_last(f->tail);
    for (uint64_t seq = 1; seq <= last; seq++)
        assert_int_equal(mvcc_store_replay(store, tail_find(f->tail, seq)).code, 0);
    int64_t revision = mvcc_store_revision(state_store(f->state));
    assert_int_equal(mvcc_store_open(store, last, revision).code, 0);
    struct state_config config = {.store = store, .epoch = &f->epoch, .member_id = 1};
    struct state *again = NULL;
    assert_int_equal(state_new(&config, &again).code, 0);
    return again;
}

static void members_and_alarms_are_found_again_in_the_store(void **ctx)
{
    (void)ctx;
    struct fixture f;
    fixture_begin(&f, NULL);
    add_member(&f, 0xab, "http://a:1", false);
    add_member(&f, 0xcd, "http://b:1", true);
    add_member(&f, 0xef, "http://c:1", false);
    assert_int_equal(state_apply_conf_change(f.state, STATE_CONF_REMOVE, 0xef, BYTES_NONE).code, 0);
    (void)apply_bytes(
        &f, request_cluster_version(&f.arena, 1, REQUEST_FORM_V3, (struct cluster_version){3, 7}));
    (void)do_alarm(&f, ACTIVATE, 0xab, ALARM_NOSPACE);
    struct state *again = state_replayed(&f);
    const struct membership *m = state_members(again);
    assert_int_equal(m->count, 2);
    assert_true(membership_find(m, 0xcd)->learner);
    assert_true(membership_was_removed(m, 0xef));
    assert_int_equal(m->version.minor, 7);
    assert_int_equal(state_alarms(again)->count, 1);
    struct bytes json;
    struct mvcc_view view;
    mvcc_store_peek(state_store(again), &view);
    assert_true(mvcc_view_bucket_find(&view, MVCC_BUCKET_MEMBERS, BYTES_LIT("cd"), &json));
    struct bytes expected =
        BYTES_LIT("{\"id\":205,\"peerURLs\":[\"http://b:1\"],\"isLearner\":true}");
    assert_true(bytes_equal(json, expected));
    state_free(again);
    fixture_end(&f);
}

static void set_downgrade(struct fixture *f, bool enabled, char *target)
{
    Etcdserverpb__InternalRaftRequest r = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Membershippb__DowngradeInfoSetRequest set = MEMBERSHIPPB__DOWNGRADE_INFO_SET_REQUEST__INIT;
    set.enabled = enabled;
    set.ver = target;
    r.downgrade_info_set = &set;
    (void)apply_bytes(f, wire_encode_arena(&r.base, &f->arena));
}

static bool stored(struct state *state, enum mvcc_bucket bucket, const char *key,
                   const char *expected)
{
    struct mvcc_view view;
    struct bytes value;
    mvcc_store_peek(state_store(state), &view);
    if (!mvcc_view_bucket_find(&view, bucket, bytes_str(key), &value))
        return expected == NULL;
    return expected && bytes_equal(value, bytes_str(expected));
}

static void a_downgrade_is_kept_and_the_storage_version_goes_with_the_clusters(void **ctx)
{
    (void)ctx;
    struct fixture f;
    fixture_begin(&f, NULL);
    set_downgrade(&f, true, "three"); /* etcd would stop at it; it changes nothing here */
    assert_true(stored(f.state, MVCC_BUCKET_CLUSTER, "downgrade", NULL));
    set_downgrade(&f, true, "3.5");
    assert_true(stored(f.state, MVCC_BUCKET_CLUSTER, "downgrade",
                       "{\"target-version\":\"3.5.0\",\"enabled\":true}"));
    struct state *again = state_replayed(&f);
    assert_int_equal(state_members(again)->downgrade_to.minor, 5);
    state_free(again);
    for (uint16_t minor = 7; minor > 4; minor--) {
        (void)apply_bytes(&f, request_cluster_version(&f.arena, 1, REQUEST_FORM_V3,
                                                      (struct cluster_version){3, minor}));
        assert_true(stored(f.state, MVCC_BUCKET_META, "storageVersion",
                           minor == 7   ? "3.7.0"
                           : minor == 6 ? "3.6.0"
                                        : NULL));
    }
    set_downgrade(&f, false, "");
    assert_int_equal(state_members(f.state)->downgrade_to.major, 0);
    assert_true(stored(f.state, MVCC_BUCKET_CLUSTER, "downgrade",
                       "{\"target-version\":\"\",\"enabled\":false}"));
    fixture_end(&f);
}

static void forms_follow_the_lowest_version(void **ctx)
{
    (void)ctx;
    static const struct {
        struct cluster_version cluster;
        struct cluster_version heard[3];
        enum request_form form;
    } rows[] = {
        {{0, 0}, {{3, 7}, {3, 7}, {3, 7}}, REQUEST_FORM_V3},
        {{0, 0}, {{3, 7}, {3, 6}, {3, 7}}, REQUEST_FORM_V3},
        {{0, 0}, {{3, 7}, {3, 5}, {3, 7}}, REQUEST_FORM_V2},
        {{0, 0}, {{3, 7}, {3, 4}, {3, 4}}, REQUEST_FORM_V2},
        {{0, 0}, {{3, 7}, {0, 0}, {3, 7}}, REQUEST_FORM_NONE},
        {{3, 0}, {{3, 7}, {3, 7}, {3, 7}}, REQUEST_FORM_V3},
        {{3, 0}, {{3, 7}, {3, 4}, {3, 7}}, REQUEST_FORM_V2},
        {{3, 0}, {{3, 7}, {0, 0}, {3, 7}}, REQUEST_FORM_NONE},
        {{3, 7}, {{3, 7}, {0, 0}, {0, 0}}, REQUEST_FORM_V3},
        {{3, 5}, {{3, 7}, {0, 0}, {3, 7}}, REQUEST_FORM_V2},
        {{3, 7}, {{3, 7}, {3, 5}, {3, 7}}, REQUEST_FORM_V2},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(request_form_of(rows[i].cluster, rows[i].heard, 3), rows[i].form);
}

static void requests_enter_the_log_canonical(void **ctx)
{
    (void)ctx;
    struct fixture f;
    fixture_begin(&f, NULL);
    static const struct {
        struct bytes raw;
        struct bytes canonical; /* empty: refused */
    } rows[] = {
        {BYTES_LIT("\x0a\x01"
                   "a\x12\x01"
                   "b"),
         BYTES_LIT("\x0a\x01"
                   "a\x12\x01"
                   "b")},
        {BYTES_LIT("\x12\x01"
                   "b\x0a\x01"
                   "a"), /* unordered */
         BYTES_LIT("\x0a\x01"
                   "a\x12\x01"
                   "b")},
        {BYTES_LIT("\x0a\x01"
                   "a\xfa\x07\x01x"), /* an unknown field */
         BYTES_LIT("\x0a\x01"
                   "a")},
        {BYTES_LIT("\x0a\x81\x00"
                   "a"), /* a long varint */
         BYTES_LIT("\x0a\x01"
                   "a")},
        {BYTES_LIT("\x0a\x05"
                   "a"),
         BYTES_NONE},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct bytes got = BYTES_NONE;
        err e = state_request_canonical(4, rows[i].raw, &f.arena, &got);
        assert_int_equal(err_ok(e), rows[i].canonical.len != 0);
        assert_true(bytes_equal(got, rows[i].canonical));
    }
    struct bytes got = BYTES_NONE;
    assert_int_equal(state_request_canonical(5000, rows[0].raw, &f.arena, &got).code, ERR_SYNTAX_);
    assert_int_equal(state_request_canonical(1, rows[0].raw, &f.arena, &got).code, ERR_SYNTAX_);

    /* The wrapper gives what encoding the whole message gives. */
    Etcdserverpb__InternalRaftRequest r = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__RequestHeader header = ETCDSERVERPB__REQUEST_HEADER__INIT;
    header.id = 0x1234567890;
    header.username = (char *)"u";
    header.auth_revision = 3;
    r.header = &header;
    r.put = put_of(&f, "a", "b");
    struct bytes whole = wire_encode_arena(&r.base, &f.arena);
    size_t len = state_request_size(4, rows[0].raw.len, 0x1234567890, BYTES_LIT("u"), 3);
    assert_int_equal(len, whole.len);
    uint8_t *out = arena_alloc_bytes(&f.arena, len);
    state_request_write(out, 4, rows[0].raw, 0x1234567890, BYTES_LIT("u"), 3);
    assert_memory_equal(out, whole.data, len);
    fixture_end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_write_is_revision_two),
        cmocka_unit_test(prev_kv_is_promised_at_the_seq_before),
        cmocka_unit_test(puts_are_refused_by_the_table),
        cmocka_unit_test(a_deletion_counts_and_one_that_removes_nothing_keeps_the_revision),
        cmocka_unit_test(a_long_deletion_goes_on_slice_by_slice_and_shows_whole),
        cmocka_unit_test(compaction_answers_as_etcd),
        cmocka_unit_test(alarms_refuse_what_they_must),
        cmocka_unit_test(alarms_are_raised_once_and_listed_by_type),
        cmocka_unit_test(over_the_quota_at_apply_is_done_and_answered_with_no_space),
        cmocka_unit_test(unsupported_and_unknown_entries_change_nothing),
        cmocka_unit_test(conf_changes_change_the_membership_or_nothing),
        cmocka_unit_test(attributes_and_version_come_in_both_forms),
        cmocka_unit_test(members_and_alarms_are_found_again_in_the_store),
        cmocka_unit_test(a_downgrade_is_kept_and_the_storage_version_goes_with_the_clusters),
        cmocka_unit_test(forms_follow_the_lowest_version),
        cmocka_unit_test(requests_enter_the_log_canonical),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
