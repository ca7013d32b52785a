/* What the files of the v2 API share. */
#pragma once

#include "api/v2.h"
#include "base/buf.h"

/* ── Errors: code, HTTP status, message ─────────────────────────────────────────────────────── */

#define V2_ERRORS(X)                                                      \
    X(V2_KEY_NOT_FOUND, 100, 404, "Key not found")                        \
    X(V2_COMPARE_FAILED, 101, 412, "Compare failed")                      \
    X(V2_NOT_FILE, 102, 403, "Not a file")                                \
    X(V2_NOT_DIR, 104, 400, "Not a directory")                            \
    X(V2_EXISTS, 105, 412, "Key already exists")                          \
    X(V2_ROOT, 107, 400, "Root is read only")                             \
    X(V2_NOT_EMPTY, 108, 403, "Directory not empty")                      \
    X(V2_PREV_VALUE, 201, 400, "PrevValue is Required in POST form")      \
    X(V2_TTL, 202, 400, "The given TTL in POST form is not a number")     \
    X(V2_INDEX, 203, 400, "The given index in POST form is not a number") \
    X(V2_FIELD, 209, 400, "Invalid field")                                \
    X(V2_FORM, 210, 400, "Invalid POST form")                             \
    X(V2_REFRESH_VALUE, 211, 400, "Value provided on refresh")            \
    X(V2_REFRESH_TTL, 212, 400, "A TTL must be provided on refresh")      \
    X(V2_INTERNAL, 300, 500, "Raft Internal Error")                       \
    X(V2_CLEARED, 401, 400, "The event in requested index is outdated and cleared")

enum v2_error {
    V2_OK,
#define X(name, code, status, text) name,
    V2_ERRORS(X)
#undef X
};

/* An error and what caused it; cause lives in the request's arena. */
struct v2_refusal {
    enum v2_error error;
    const char *cause;
};
/* index: the store's, 0 where the request could not even be read. */
void v2_refuse(struct request *request, struct v2_refusal refusal, int64_t index);
/* 300 with the server's own error. */
void v2_fail(struct request *request, err e);

/* ── What was asked (v2_params.c) ───────────────────────────────────────────────────────────── */

/* So deep and so long are paths at most: each part is a lookup and a compare. */
#define V2_PARTS_MAX      100
#define V2_PATH_BYTES_MAX 4096

struct v2_params {
    struct bytes path; /* clean: begins with /, does not end with one, no empty parts */
    struct bytes value, prev_value;
    uint64_t prev_index, wait_index, ttl_s;
    bool has_ttl, has_prev_exist, prev_exist;
    bool recursive, sorted, wait, stream, quorum, dir, refresh, no_value;
};
struct v2_asked {
    struct bytes path;  /* behind /v2/keys, as sent */
    struct bytes query; /* as sent */
    struct bytes form;  /* the body, where it is a form */
    bool is_get;
};
/* What it returns lives in the arena. */
struct v2_refusal v2_params_parse(struct arena *arena, const struct v2_asked *asked,
                                  struct v2_params *ret_params);

/* ── Nodes (v2_node.c) ──────────────────────────────────────────────────────────────────────── */

struct v2_node {
    bool dir;
    bool own_created;      /* `created` is the revision of the change that stored it */
    int64_t created;       /* where !own_created */
    int64_t modified;      /* 0 in what is to be stored: the change's own revision */
    int64_t expiration_ns; /* since 1970; 0: none */
    int64_t lease;
    struct bytes value;
};
static inline int64_t v2_node_created(const struct v2_node *self)
{
    return self->own_created ? self->modified : self->created;
}

/* The stored key of a clean path; of "/" that of the last change. Lies in the arena. */
struct bytes v2_key(struct arena *arena, struct bytes path);
/* What follows all keys below the node. */
struct bytes v2_key_end(struct arena *arena, struct bytes key);
/* The clean path of a stored key; false: it is none of a node. Lies in the arena. */
bool v2_path_of(struct arena *arena, struct bytes key, struct bytes *ret_path);
/* Bytes of a stored node; modified is left out, and is the change's. Lie in the arena. */
struct bytes v2_node_encode(struct arena *arena, const struct v2_node *node);
/* value is lent out of the bytes. Fails: ERR_SYNTAX. */
MUST err v2_node_decode(struct bytes stored, struct v2_node *ret_node);
/* The node whose stored KeyValue this is. Fails: ERR_SYNTAX, ERR_CORRUPT. */
MUST err v2_node_of_kv(struct bytes kv, struct v2_node *ret_node);

/* Where a path leads in a view: all its parts, as they are stored now. */
struct v2_part {
    struct bytes path, key;
    int64_t modified; /* mod revision of the key; 0: there is none */
    bool dir;
    int64_t lease;
};
struct v2_place {
    struct v2_part parts[V2_PARTS_MAX];
    unsigned count;   /* of parts; 0: the root */
    unsigned present; /* so many from the first are there, all directories but perhaps the last */
    bool under_file;  /* a file stands where a directory is to be: parts[present - 1] */
    struct v2_node node; /* where present == count > 0; value lies in the arena */
};
/* Fails: ERR_CORRUPT; ERR_LIMIT (too deep). */
MUST err v2_find(const struct mvcc_view *view, struct arena *arena, struct bytes path,
                 struct v2_place *ret_place);
/* The error of a path that must be there: OK where it is. */
struct v2_refusal v2_place_missing(struct arena *arena, const struct v2_place *place);

/* ── Events and their JSON (v2_json.c) ──────────────────────────────────────────────────────── */

enum v2_action {
    V2_GET,
    V2_SET,
    V2_CREATE,
    V2_UPDATE,
    V2_DELETE,
    V2_COMPARE_AND_SWAP,
    V2_COMPARE_AND_DELETE,
    V2_EXPIRE,
};

struct v2_event {
    enum v2_action action;
    struct bytes path;
    struct v2_node node; /* modified: the event's index, set when it is known */
    struct v2_node before;
    bool has_before;
    bool has_value; /* the node's value is told */
    bool refresh;   /* watchers are not told */
};
/* The bytes under the key of "/"; the index is the change's revision. Lie in the arena. */
struct bytes v2_event_encode(struct arena *arena, const struct v2_event *event);
/* Bytes are lent. Fails: ERR_SYNTAX. */
MUST err v2_event_decode(struct bytes stored, int64_t revision, struct v2_event *ret_event);

/* {"action":…,"node":{…},"prevNode":{…}} and a newline. */
MUST err v2_put_event(struct buf *out, const struct v2_event *event, int64_t now_ns);
/* {"action":…} alone. */
MUST err v2_put_action(struct buf *out, enum v2_action action);
/* The fields of a node but for the closing brace and the nodes in it; key "" is left out. */
MUST err v2_put_node_begin(struct buf *out, struct bytes path, const struct v2_node *node,
                           bool with_value, int64_t now_ns);
MUST err v2_put_node_end(struct buf *out, const struct v2_node *node);

/* Head of an answer of /v2/keys. */
void v2_answer_begin(struct request *request, unsigned status, int64_t index, uint64_t length);
void v2_answer(struct request *request, unsigned status, int64_t index, const struct buf *body);

/* ── The rest ───────────────────────────────────────────────────────────────────────────────── */

void v2_read(struct request *request, const struct v2_params *params);
void v2_watch(struct request *request, const struct v2_params *params);
void v2_write(struct request *request, const struct v2_params *params);

/* For /v2/stats/store and the metrics, since start, of this process. */
enum v2_count {
    V2_GETS_SUCCESS,
    V2_GETS_FAIL,
    V2_SETS_SUCCESS,
    V2_SETS_FAIL,
    V2_DELETE_SUCCESS,
    V2_DELETE_FAIL,
    V2_UPDATE_SUCCESS,
    V2_UPDATE_FAIL,
    V2_CREATE_SUCCESS,
    V2_CREATE_FAIL,
    V2_SWAP_SUCCESS,
    V2_SWAP_FAIL,
    V2_COMPARE_DELETE_SUCCESS,
    V2_COMPARE_DELETE_FAIL,
    V2_EXPIRE_COUNT,
    V2_WATCHERS,
    V2_WATCH_REQUESTS, /* for the metrics alone */
    V2_COUNTS
};
void v2_count(enum v2_count which, int by);
/* Counts an action's end. */
void v2_count_action(enum v2_action action, bool success);
