/* Texts that members answer with: /members, /version, /members/hashkv, /raft/probing. */
#include "peer/peers_internal.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define JSON_DEPTH_MAX 8
#define NS_PER_S       1000000000

static void put_json(struct json_object **object)
{
    json_object_put(*object);
}

static void free_tokener(struct json_tokener **tokener)
{
    json_tokener_free(*tokener);
}

/* The whole text must be one value (white space around it apart). */
static err parse_json(struct bytes text, enum json_type type, struct json_object **ret_object)
{
    if (text.len == 0 || text.len > ANSWER_BYTES_MAX)
        return text.len ? ERR_LIMIT : ERR_SYNTAX;
    AUTO(free_tokener) struct json_tokener *tokener = json_tokener_new_ex(JSON_DEPTH_MAX);
    if (!tokener)
        return ERR_LIMIT;
    AUTO(put_json)
    struct json_object *object =
        json_tokener_parse_ex(tokener, (const char *)text.data, (int)text.len);
    if (json_tokener_get_error(tokener) != json_tokener_success)
        return ERR_SYNTAX;
    for (size_t i = json_tokener_get_parse_end(tokener); i < text.len; i++)
        if (!strchr(" \t\r\n", text.data[i]))
            return ERR_SYNTAX;
    if (json_object_get_type(object) != type)
        return ERR_SYNTAX;
    *ret_object = TAKE(object);
    return OK;
}

/* ---- /members --------------------------------------------------------------------------- */

static int compare_members(const void *a, const void *b)
{
    uint64_t left = ((const struct member *)a)->id;
    uint64_t right = ((const struct member *)b)->id;
    return (left > right) - (left < right);
}

err peer_members_parse(struct bytes json, struct arena *arena, const struct member **ret_items,
                       size_t *ret_count)
{
    AUTO(put_json) struct json_object *array = NULL;
    TRY(parse_json(json, json_type_array, &array));
    size_t count = json_object_array_length(array);
    if (count > MEMBERS_MAX)
        return ERR_LIMIT;
    struct member *items = ARENA_ARRAY(arena, struct member, count);
    for (size_t i = 0; i < count; i++) {
        size_t len;
        const char *text = json_object_to_json_string_length(json_object_array_get_idx(array, i),
                                                             JSON_C_TO_STRING_PLAIN, &len);
        bool promote;
        TRY(member_parse_json(bytes_of(text, len), arena, &items[i], &promote));
        if (items[i].id == 0)
            return ERR_SYNTAX;
    }
    qsort(items, count, sizeof(*items), compare_members);
    for (size_t i = 1; i < count; i++)
        if (items[i].id == items[i - 1].id)
            return ERR_SYNTAX;
    *ret_items = items;
    *ret_count = count;
    return OK;
}

/* ---- /version --------------------------------------------------------------------------- */

static err copy_text(struct json_object *object, const char *key, char *to, size_t cap)
{
    struct json_object *value;
    to[0] = 0;
    if (!json_object_object_get_ex(object, key, &value))
        return OK;
    if (!json_object_is_type(value, json_type_string))
        return ERR_SYNTAX;
    size_t len = (size_t)json_object_get_string_len(value);
    if (len >= cap)
        return ERR_LIMIT;
    memcpy(to, json_object_get_string(value), len);
    to[len] = 0;
    return OK;
}

err peer_version_parse(struct bytes json, struct peer_fetch_result *ret_result)
{
    AUTO(put_json) struct json_object *object = NULL;
    TRY(parse_json(json, json_type_object, &object));
    struct peer_fetch_result result = *ret_result;
    TRY(copy_text(object, "etcdserver", result.server_version, sizeof(result.server_version)));
    TRY(copy_text(object, "etcdcluster", result.cluster_version, sizeof(result.cluster_version)));
    if (!result.server_version[0])
        return ERR_SYNTAX;
    *ret_result = result;
    return OK;
}

/* ---- /members/hashkv --------------------------------------------------------------------- */

/* Numbers as Go writes them into an int64; absent: 0. */
static err get_number(struct json_object *object, const char *key, int64_t *ret_number)
{
    struct json_object *value;
    *ret_number = 0;
    if (!json_object_object_get_ex(object, key, &value) || !value)
        return OK;
    if (!json_object_is_type(value, json_type_int))
        return ERR_SYNTAX;
    *ret_number = json_object_get_int64(value);
    return OK;
}

err peer_hash_request_parse(struct bytes json, int64_t *ret_revision)
{
    AUTO(put_json) struct json_object *object = NULL;
    TRY(parse_json(json, json_type_object, &object));
    return get_number(object, "revision", ret_revision);
}

err peer_hash_parse(struct bytes json, struct peer_hash *ret_hash)
{
    AUTO(put_json) struct json_object *object = NULL;
    TRY(parse_json(json, json_type_object, &object));
    struct json_object *header;
    struct peer_hash parsed = {0};
    int64_t hash = 0;
    if (json_object_object_get_ex(object, "header", &header) && header) {
        if (!json_object_is_type(header, json_type_object))
            return ERR_SYNTAX;
        TRY(get_number(header, "revision", &parsed.revision));
    }
    TRY(get_number(object, "hash", &hash));
    TRY(get_number(object, "compact_revision", &parsed.compact_revision));
    TRY(get_number(object, "hash_revision", &parsed.hash_revision));
    if (hash < 0 || hash > UINT32_MAX)
        return ERR_SYNTAX;
    parsed.hash = (uint32_t)hash;
    *ret_hash = parsed;
    return OK;
}

/* ---- /raft/probing ---------------------------------------------------------------------- */

size_t peer_time_text(uint64_t wall_ns, char ret_text[TIME_TEXT_BYTES])
{
    time_t seconds = (time_t)(wall_ns / NS_PER_S);
    struct tm tm;
    if (!gmtime_r(&seconds, &tm))
        memset(&tm, 0, sizeof(tm));
    size_t n = strftime(ret_text, TIME_TEXT_BYTES, "%Y-%m-%dT%H:%M:%S", &tm);
    unsigned rest = (unsigned)(wall_ns % NS_PER_S);
    if (rest) {
        n += (size_t)snprintf(ret_text + n, TIME_TEXT_BYTES - n, ".%09u", rest);
        while (ret_text[n - 1] == '0')
            n--;
    }
    return n + (size_t)snprintf(ret_text + n, TIME_TEXT_BYTES - n, "Z");
}

/* So many digits; false: they are none. */
static bool take_digits(struct bytes *at, unsigned count, int *ret_number)
{
    int number = 0;
    if (at->len < count)
        return false;
    for (unsigned i = 0; i < count; i++) {
        if (at->data[i] < '0' || at->data[i] > '9')
            return false;
        number = number * 10 + (at->data[i] - '0');
    }
    *at = bytes_skip(*at, count);
    *ret_number = number;
    return true;
}

static bool take_char(struct bytes *at, char c)
{
    if (at->len == 0 || at->data[0] != (uint8_t)c)
        return false;
    *at = bytes_skip(*at, 1);
    return true;
}

static bool take_fraction(struct bytes *at, int64_t *ret_ns)
{
    int64_t ns = 0;
    if (take_char(at, '.')) {
        int64_t scale = NS_PER_S / 10;
        size_t n = 0;
        for (; n < at->len && at->data[n] >= '0' && at->data[n] <= '9'; n++, scale /= 10)
            ns += (at->data[n] - '0') * scale;
        if (n == 0 || n > 18)
            return false;
        *at = bytes_skip(*at, n);
    }
    *ret_ns = ns;
    return true;
}

static bool take_zone(struct bytes *at, int *ret_offset_s)
{
    *ret_offset_s = 0;
    if (take_char(at, 'Z'))
        return true;
    int sign = take_char(at, '-') ? -1 : take_char(at, '+') ? 1 : 0;
    int hours;
    int minutes;
    if (!sign || !take_digits(at, 2, &hours) || !take_char(at, ':') ||
        !take_digits(at, 2, &minutes) || hours > 23 || minutes > 59)
        return false;
    *ret_offset_s = sign * (hours * 3600 + minutes * 60);
    return true;
}

err peer_time_parse(struct bytes text, int64_t *ret_wall_ns)
{
    struct tm tm = {0};
    int64_t ns;
    int offset_s;
    bool fine = take_digits(&text, 4, &tm.tm_year) && take_char(&text, '-') &&
                take_digits(&text, 2, &tm.tm_mon) && take_char(&text, '-') &&
                take_digits(&text, 2, &tm.tm_mday) && take_char(&text, 'T') &&
                take_digits(&text, 2, &tm.tm_hour) && take_char(&text, ':') &&
                take_digits(&text, 2, &tm.tm_min) && take_char(&text, ':') &&
                take_digits(&text, 2, &tm.tm_sec) && take_fraction(&text, &ns) &&
                take_zone(&text, &offset_s) && text.len == 0;
    /* Beyond these years nanoseconds do not fit. */
    if (!fine || tm.tm_year < 1970 || tm.tm_year > 2261 || tm.tm_mon < 1 || tm.tm_mon > 12 ||
        tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_hour > 23 || tm.tm_min > 59 || tm.tm_sec > 60)
        return ERR_SYNTAX;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    *ret_wall_ns = ((int64_t)timegm(&tm) - offset_s) * NS_PER_S + ns;
    return OK;
}

err peer_probe_parse(struct bytes json, bool *ret_ok, int64_t *ret_wall_ns)
{
    AUTO(put_json) struct json_object *object = NULL;
    TRY(parse_json(json, json_type_object, &object));
    struct json_object *ok;
    struct json_object *now;
    if (!json_object_object_get_ex(object, "OK", &ok) ||
        !json_object_object_get_ex(object, "Now", &now) ||
        !json_object_is_type(now, json_type_string))
        return ERR_SYNTAX;
    int64_t wall_ns;
    TRY(peer_time_parse(
        bytes_of(json_object_get_string(now), (size_t)json_object_get_string_len(now)), &wall_ns));
    *ret_ok = json_object_get_boolean(ok);
    *ret_wall_ns = wall_ns;
    return OK;
}
