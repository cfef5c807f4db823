#include "hub/resources/token.h"

#include "base/assert.h"
#include "base/base64.h"
#include "base/ct.h"
#include "base/json.h"
#include "base/sha256.h"
#include "base/time.h"
#include "hub/hub_private.h"
#include "hub/resources/token_known.h"
#include "hub/resources/token_use.h"
#include "ring/file.h"
#include "ring/ring.h"

#include <stdio.h>
#include <stdlib.h>

#define TOKEN_PREFIX       "bkt_"
#define TOKEN_RANDOM_BYTES 32U
/* u8 version | u8 role | 16 id | i64 created | 4 last characters | name; bound to a canvas:
 * version 2, and \0 canvas behind it; somebody's: version 3, and \0 canvas (perhaps empty) \0 user
 */
#define TOKEN_VERSION       1U
#define TOKEN_VERSION_BOUND 2U
#define TOKEN_VERSION_USER  3U
#define TOKEN_RECORD_BYTES  30U

const char *token_role_name(enum token_role role)
{
    switch (role) {
    case TOKEN_READ:
        return "read";
    case TOKEN_WRITE:
        return "write";
    case TOKEN_ADMIN:
        return "admin";
    }
    return "unknown";
}

bool token_role_find(struct slice text, enum token_role *ret_role)
{
    for (unsigned role = TOKEN_READ; role <= TOKEN_ADMIN; role++) {
        if (slice_equal_nocase(text, slice_str(token_role_name((enum token_role)role)))) {
            *ret_role = (enum token_role)role;
            return true;
        }
    }
    return false;
}

/* ---- records */

/* The name in front of a zero byte, or all of it; *rest moves behind it. */
static struct slice take_part(struct slice *rest)
{
    size_t end = slice_find(*rest, 0);
    struct slice part = slice_of(rest->at, end);
    *rest = slice_skip(*rest, end + 1);
    return part;
}

static enum bk_err decode_token(struct store_txn *txn, struct slice bytes,
                                struct token_info *ret_info)
{
    if (bytes.bytes <= TOKEN_RECORD_BYTES) {
        return BK_CORRUPT;
    }
    uint8_t version = bytes.at[0];
    struct slice rest = slice_skip(bytes, TOKEN_RECORD_BYTES);
    struct slice name = take_part(&rest), canvas = take_part(&rest), user = take_part(&rest);
    if (name.bytes == 0 || name.bytes > NAME_BYTES_MAX || canvas.bytes > NAME_BYTES_MAX ||
        user.bytes > NAME_BYTES_MAX || rest.bytes > 0 || version < TOKEN_VERSION ||
        version > TOKEN_VERSION_USER || (version == TOKEN_VERSION_USER) != (user.bytes > 0) ||
        (version == TOKEN_VERSION && canvas.bytes > 0) ||
        (version == TOKEN_VERSION_BOUND && canvas.bytes == 0) || bytes.at[1] < TOKEN_READ ||
        bytes.at[1] > TOKEN_ADMIN) {
        return BK_CORRUPT;
    }
    ret_info->role = (enum token_role)bytes.at[1];
    ret_info->used_ns = token_use_get(txn, bytes.at + 2);
    hub_id_text(bytes.at + 2, ret_info->id);
    ret_info->created_ns = (int64_t)key_get_u64(bytes.at + 18);
    memcpy(ret_info->last4, bytes.at + 26, 4);
    ret_info->last4[4] = '\0';
    slice_keep(name, ret_info->name, sizeof ret_info->name);
    slice_keep(canvas, ret_info->canvas, sizeof ret_info->canvas);
    slice_keep(user, ret_info->user, sizeof ret_info->user);
    return BK_OK;
}

struct token_write {
    struct token_info info;
    uint8_t id[16];
    uint8_t hash[SHA256_BYTES];
    struct hub *hub;
    const char *missing;
};

static enum bk_err audit_token(struct hub *hub, struct store_txn *txn, const char *action,
                               const struct token_info *info, int64_t now_ns)
{
    char diff[320];
    bool made = strcmp(action, "created") == 0, somebodys = info->user[0] != '\0';
    const char *before = made ? "null" : "\"", *after = made ? "\"" : "null";
    const char *role = token_role_name(info->role);
    int bytes = snprintf(
        diff, sizeof diff, "[{\"path\":\"role\",\"before\":%s%s%s,\"after\":%s%s%s}", before,
        made ? "" : role, made ? "" : "\"", after, made ? role : "", made ? "\"" : "");
    if (somebodys) {
        snprintf(diff + bytes, sizeof diff - (size_t)bytes,
                 ",{\"path\":\"user\",\"before\":%s%s%s,\"after\":%s%s%s}]", before,
                 made ? "" : info->user, made ? "" : "\"", after, made ? info->user : "",
                 made ? "\"" : "");
    } else {
        snprintf(diff + bytes, sizeof diff - (size_t)bytes, "]");
    }
    struct audit_change change = {.action = action,
                                  .kind = "Token",
                                  .name = info->name,
                                  .canvas = info->canvas,
                                  .diff = slice_str(diff),
                                  .now_ns = now_ns};
    return audit_add(hub, txn, &change);
}

/* ---- indexes: "c/" 'i' id: the name. 'c' canvas \0 name, 'u' user \0 name, 'a' name (role admin,
 * good everywhere): empty. */

static enum bk_err change_row(struct store_txn *txn, char by, struct slice of,
                              const struct token_info *info, bool put)
{
    struct key key;
    key_tokens_by(&key, by);
    if (by != 'a') {
        key_add_name(&key, of);
    }
    key_add(&key, info->name, strlen(info->name));
    return put ? store_put(txn, key_slice(&key), SLICE_EMPTY) : store_delete(txn, key_slice(&key));
}

static enum bk_err change_rows(struct store_txn *txn, const struct token_info *info, bool put)
{
    struct key key;
    uint8_t id[16];
    enum bk_err err = hub_id_parse(slice_str(info->id), id) ? BK_OK : BK_CORRUPT;
    if (err == BK_OK) {
        key_tokens_by(&key, 'i');
        key_add(&key, id, sizeof id);
        err = put ? store_put(txn, key_slice(&key), slice_str(info->name))
                  : store_delete(txn, key_slice(&key));
    }
    if (err == BK_OK && info->canvas[0] != '\0') {
        err = change_row(txn, 'c', slice_str(info->canvas), info, put);
    }
    if (err == BK_OK && info->user[0] != '\0') {
        err = change_row(txn, 'u', slice_str(info->user), info, put);
    }
    if (err == BK_OK && info->role == TOKEN_ADMIN && info->canvas[0] == '\0') {
        err = change_row(txn, 'a', SLICE_EMPTY, info, put);
    }
    return err;
}

/* The User of a token: of its canvas, else of the default one. */
static enum bk_err find_user(struct store_txn *txn, struct slice canvas, struct slice user,
                             struct slice *ret_canvas)
{
    struct record record;
    enum bk_err err = BK_NOT_FOUND;
    if (canvas.bytes > 0) {
        *ret_canvas = canvas;
        err = hub_record(txn, RESOURCE_USER, canvas, user, &record);
    }
    if (err == BK_NOT_FOUND) {
        *ret_canvas = SLICE(RESOURCE_CANVAS_DEFAULT);
        err = hub_record(txn, RESOURCE_USER, *ret_canvas, user, &record);
    }
    return err;
}

static enum bk_err check_references(struct store_txn *txn, struct token_write *write)
{
    struct slice canvas = slice_str(write->info.canvas), user = slice_str(write->info.user), place;
    struct record record;
    enum bk_err err =
        canvas.bytes > 0 ? hub_record(txn, RESOURCE_CANVAS, SLICE_EMPTY, canvas, &record) : BK_OK;
    write->missing = "canvas";
    if (err == BK_OK && user.bytes > 0) {
        write->missing = "user";
        err = find_user(txn, canvas, user, &place);
    }
    return err;
}

static size_t encode_token(const struct token_write *write,
                           uint8_t bytes[TOKEN_RECORD_BYTES + 3 * NAME_BYTES_MAX + 2])
{
    const struct token_info *info = &write->info;
    const char *parts[] = {info->name, info->canvas, info->user};
    unsigned version = info->user[0] != '\0'     ? TOKEN_VERSION_USER
                       : info->canvas[0] != '\0' ? TOKEN_VERSION_BOUND
                                                 : TOKEN_VERSION;
    size_t count = TOKEN_RECORD_BYTES;
    bytes[0] = (uint8_t)version;
    bytes[1] = (uint8_t)info->role;
    memcpy(bytes + 2, write->id, 16);
    key_put_u64(bytes + 18, (uint64_t)info->created_ns);
    memcpy(bytes + 26, info->last4, 4);
    for (unsigned i = 0; i < version; i++) {
        if (i > 0) {
            bytes[count++] = 0;
        }
        memcpy(bytes + count, parts[i], strlen(parts[i]));
        count += strlen(parts[i]);
    }
    return count;
}

static enum bk_err put_token(struct store_txn *txn, void *context)
{
    struct token_write *write = context;
    struct slice value;
    struct key key, name_key;
    uint8_t bytes[TOKEN_RECORD_BYTES + 3 * NAME_BYTES_MAX + 2];
    key_token_name(&name_key, slice_str(write->info.name));
    enum bk_err err = store_get(txn, key_slice(&name_key), &value);
    if (err != BK_NOT_FOUND) {
        return err == BK_OK ? BK_EXISTS : err;
    }
    err = check_references(txn, write);
    if (err != BK_OK) {
        return err;
    }
    size_t count = encode_token(write, bytes);
    key_token(&key, write->hash);
    err = store_put(txn, key_slice(&key), slice_of(bytes, count));
    if (err == BK_OK) {
        err = store_put(txn, key_slice(&name_key), slice_of(write->hash, sizeof write->hash));
    }
    if (err == BK_OK) {
        err = change_rows(txn, &write->info, true);
    }
    return err == BK_OK
               ? audit_token(write->hub, txn, "created", &write->info, write->info.created_ns)
               : err;
}

/* ---- making */

static void make_text(char ret_text[TOKEN_TEXT_BYTES])
{
    uint8_t random[TOKEN_RANDOM_BYTES];
    ring_entropy(random, sizeof random);
    memcpy(ret_text, TOKEN_PREFIX, sizeof TOKEN_PREFIX - 1);
    char *at = ret_text + sizeof TOKEN_PREFIX - 1;
    size_t bytes = base64_encode(random, sizeof random, BASE64_URL, at);
    bk_assert(bytes + sizeof TOKEN_PREFIX == TOKEN_TEXT_BYTES);
    at[bytes] = '\0';
    bk_wipe(random, sizeof random);
}

static void prepare(struct token_write *write, struct hub *hub, const struct token_request *request,
                    int64_t now_ns, const char *text)
{
    *write =
        (struct token_write){.info = {.role = request->role, .created_ns = now_ns}, .hub = hub};
    hub_id_make(write->id);
    hub_id_text(write->id, write->info.id);
    slice_keep(request->name, write->info.name, sizeof write->info.name);
    slice_keep(request->canvas, write->info.canvas, sizeof write->info.canvas);
    slice_keep(request->user, write->info.user, sizeof write->info.user);
    memcpy(write->info.last4, text + TOKEN_TEXT_BYTES - 5, 4);
    sha256(slice_str(text), write->hash);
}

static bool is_name_or_empty(struct slice name)
{
    return name.bytes == 0 || resource_name_valid(name);
}

enum bk_err token_create(struct hub *hub, const struct token_request *request, int64_t now_ns,
                         struct token_info *ret_info, char ret_text[TOKEN_TEXT_BYTES],
                         const char **ret_missing)
{
    struct token_write write;
    if (!resource_name_valid(request->name) || !is_name_or_empty(request->canvas) ||
        !is_name_or_empty(request->user)) {
        return BK_INVALID;
    }
    make_text(ret_text);
    prepare(&write, hub, request, now_ns, ret_text);
    enum bk_err err = store_update(hub->store, put_token, &write);
    *ret_missing = write.missing;
    if (err != BK_OK) {
        bk_wipe(ret_text, TOKEN_TEXT_BYTES);
        return err;
    }
    token_known_add(hub, write.hash);
    *ret_info = write.info;
    return BK_OK;
}

static enum bk_err any_token(struct hub *hub, bool *ret_any)
{
    struct store_txn *txn;
    *ret_any = false;
    enum bk_err err = store_read(hub->store, &txn);
    if (err == BK_OK) {
        err = store_any(txn, SLICE("t/"), ret_any);
        store_read_end(txn);
    }
    return err;
}

static enum bk_err make_first(struct hub *hub, const char *data_directory, int64_t now_ns)
{
    char text[TOKEN_TEXT_BYTES], line[TOKEN_TEXT_BYTES], path[4096];
    int count = snprintf(path, sizeof path, "%s/admin.token", data_directory);
    if (count < 0 || (size_t)count >= sizeof path) {
        return BK_TOO_LARGE;
    }
    struct token_write write;
    make_text(text);
    prepare(&write, hub, &(struct token_request){.name = SLICE("admin"), .role = TOKEN_ADMIN},
            now_ns, text);
    memcpy(line, text, sizeof line);
    line[sizeof line - 1] = '\n';
    /* The file first: after a crash between the two there is still no token, and both are made
     * again. */
    enum bk_err err = file_replace(path, line, sizeof line);
    if (err == BK_OK) {
        err = store_update(hub->store, put_token, &write);
    }
    bk_wipe(text, sizeof text);
    bk_wipe(line, sizeof line);
    return err;
}

enum bk_err token_bootstrap(struct hub *hub, const char *data_directory, int64_t now_ns)
{
    bool any;
    enum bk_err err = any_token(hub, &any);
    if (err == BK_OK && !any) {
        err = make_first(hub, data_directory, now_ns);
    }
    return err == BK_OK ? token_known_fill(hub) : err;
}

/* ---- using */

enum bk_err token_check(struct hub *hub, struct slice text, struct token_info *ret_info)
{
    struct store_txn *txn;
    struct key key;
    struct slice value;
    uint8_t hash[SHA256_BYTES];
    if (text.bytes != TOKEN_TEXT_BYTES - 1 || !slice_starts(text, SLICE(TOKEN_PREFIX))) {
        return BK_UNAUTHENTICATED;
    }
    sha256(text, hash);
    enum bk_err err = store_read(hub->store, &txn);
    if (err != BK_OK) {
        return err;
    }
    key_token(&key, hash);
    err = store_get(txn, key_slice(&key), &value);
    err = err == BK_OK ? decode_token(txn, value, ret_info) : err;
    store_read_end(txn);
    return err == BK_NOT_FOUND ? BK_UNAUTHENTICATED : err;
}

struct token_walk {
    token_each_fn *each;
    void *context;
    struct store_txn *txn;
    struct slice behind;
    enum bk_err err;
};

static enum bk_err get_hashed(struct store_txn *txn, struct slice hash, struct token_info *ret_info)
{
    struct key key;
    struct slice record;
    if (hash.bytes != SHA256_BYTES) {
        return BK_CORRUPT;
    }
    key_token(&key, hash.at);
    enum bk_err err = store_get(txn, key_slice(&key), &record);
    return err == BK_OK          ? decode_token(txn, record, ret_info)
           : err == BK_NOT_FOUND ? BK_CORRUPT
                                 : err;
}

static bool walk_one(void *context, struct slice key, struct slice value)
{
    struct token_walk *walk = context;
    struct token_info info;
    if (slice_equal(slice_skip(key, 2), walk->behind)) {
        return true;
    }
    walk->err = get_hashed(walk->txn, value, &info);
    return walk->err == BK_OK && walk->each(walk->context, &info);
}

enum bk_err token_each(struct hub *hub, struct slice behind, token_each_fn *each, void *context)
{
    struct token_walk walk = {.each = each, .context = context, .behind = behind};
    struct key from;
    enum bk_err err = store_read(hub->store, &walk.txn);
    if (err != BK_OK) {
        return err;
    }
    key_token_name(&from, behind);
    err = store_walk(walk.txn, SLICE("T/"), key_slice(&from), walk_one, &walk);
    store_read_end(walk.txn);
    return err == BK_OK ? walk.err : err;
}

static enum bk_err get_named(struct store_txn *txn, struct slice name, struct token_info *ret_info)
{
    struct key key;
    struct slice hash;
    key_token_name(&key, name);
    enum bk_err err = store_get(txn, key_slice(&key), &hash);
    return err == BK_OK ? get_hashed(txn, hash, ret_info) : err;
}

/* A name that is an id is no other token's: an id is found first. */
static enum bk_err get_in(struct store_txn *txn, struct slice name_or_id,
                          struct token_info *ret_info)
{
    struct key key;
    struct slice name;
    uint8_t id[16];
    if (hub_id_parse(name_or_id, id)) {
        key_tokens_by(&key, 'i');
        key_add(&key, id, sizeof id);
        enum bk_err err = store_get(txn, key_slice(&key), &name);
        if (err != BK_NOT_FOUND) {
            return err == BK_OK ? get_named(txn, name, ret_info) : err;
        }
    }
    return resource_name_valid(name_or_id) ? get_named(txn, name_or_id, ret_info) : BK_NOT_FOUND;
}

enum bk_err token_get(struct hub *hub, struct slice name_or_id, struct token_info *ret_info)
{
    struct store_txn *txn;
    enum bk_err err = store_read(hub->store, &txn);
    if (err == BK_OK) {
        err = get_in(txn, name_or_id, ret_info);
        store_read_end(txn);
    }
    return err;
}

static bool count_two(void *context, struct slice key, struct slice value)
{
    (void)key;
    (void)value;
    return ++*(unsigned *)context < 2;
}

struct token_removal {
    struct hub *hub;
    struct slice name_or_id;
};

static enum bk_err remove_token(struct store_txn *txn, void *context)
{
    const struct token_removal *removal = context;
    struct token_info info;
    struct key key, name_key;
    struct slice hash;
    uint8_t id[16];
    unsigned admins = 0;
    enum bk_err err = get_in(txn, removal->name_or_id, &info);
    if (err == BK_OK && info.role == TOKEN_ADMIN && info.canvas[0] == '\0') {
        key_tokens_by(&key, 'a');
        err = store_walk(txn, key_slice(&key), SLICE_EMPTY, count_two, &admins);
        err = err == BK_OK && admins < 2 ? BK_IN_USE : err;
    }
    if (err != BK_OK) {
        return err;
    }
    key_token_name(&name_key, slice_str(info.name));
    err = store_get(txn, key_slice(&name_key), &hash);
    if (err == BK_OK) {
        key_token(&key, hash.at);
        err = store_delete(txn, key_slice(&key));
    }
    if (err == BK_OK) {
        err = store_delete(txn, key_slice(&name_key));
    }
    if (err == BK_OK) {
        err = change_rows(txn, &info, false);
    }
    if (err == BK_OK && hub_id_parse(slice_str(info.id), id)) {
        err = token_use_drop(txn, id);
    }
    return err == BK_OK ? audit_token(removal->hub, txn, "deleted", &info, 0) : err;
}

enum bk_err token_revoke(struct hub *hub, struct slice name_or_id)
{
    struct token_removal removal = {hub, name_or_id};
    enum bk_err err = store_update(hub->store, remove_token, &removal);
    if (err == BK_OK) {
        hub->revoked++;
        enum bk_err filled = token_known_fill(hub);
        (void)filled; /* else its requests are refused only behind their bodies */
    }
    return err;
}

/* ---- what they refer to */

enum bk_err token_of_canvas(struct store_txn *txn, struct slice canvas, bool *ret_any)
{
    struct key key;
    key_tokens_by(&key, 'c');
    key_add_name(&key, canvas);
    return store_any(txn, key_slice(&key), ret_any);
}

struct user_search {
    struct store_txn *txn;
    struct slice canvas, user; /* the User's */
    size_t skip;
    bool found;
    enum bk_err err;
};

static bool search_user(void *context, struct slice key, struct slice value)
{
    struct user_search *search = context;
    struct token_info info;
    struct slice place;
    (void)value;
    search->err = get_named(search->txn, slice_skip(key, search->skip), &info);
    enum bk_err err = search->err == BK_OK
                          ? find_user(search->txn, slice_str(info.canvas), search->user, &place)
                          : search->err;
    search->found = err == BK_OK && slice_equal(place, search->canvas);
    search->err = err == BK_NOT_FOUND ? BK_OK : err;
    return search->err == BK_OK && !search->found;
}

enum bk_err token_of_user(struct store_txn *txn, struct slice canvas, struct slice user,
                          bool *ret_any)
{
    struct user_search search = {.txn = txn, .canvas = canvas, .user = user};
    struct key key;
    key_tokens_by(&key, 'u');
    key_add_name(&key, user);
    search.skip = key.bytes;
    enum bk_err err = store_walk(txn, key_slice(&key), SLICE_EMPTY, search_user, &search);
    *ret_any = search.found;
    return err == BK_OK ? search.err : err;
}

/* ---- older stores */

#define FILL_MAX 256U

struct fill {
    struct store_txn *txn;
    unsigned count;
    struct token_info infos[FILL_MAX];
    enum bk_err err;
};

static bool fill_one(void *context, struct slice key, struct slice value)
{
    struct fill *fill = context;
    (void)key;
    fill->err = get_hashed(fill->txn, value, &fill->infos[fill->count]);
    fill->count += fill->err == BK_OK;
    return fill->err == BK_OK && fill->count < FILL_MAX;
}

enum bk_err token_index_fill(struct store_txn *txn)
{
    struct fill *fill;
    struct slice value;
    struct key from = {.bytes = 0};
    enum bk_err err = store_get(txn, KEY_TOKEN_INDEXES, &value);
    if (err != BK_NOT_FOUND) {
        return err;
    }
    fill = calloc(1, sizeof *fill);
    if (!fill) {
        return BK_NO_MEMORY;
    }
    fill->txn = txn;
    do {
        fill->count = 0;
        err = store_walk(txn, SLICE("T/"), key_slice(&from), fill_one, fill);
        err = err == BK_OK ? fill->err : err;
        for (unsigned i = 0; err == BK_OK && i < fill->count; i++) {
            err = change_rows(txn, &fill->infos[i], true);
        }
        if (fill->count > 0) { /* behind the last one */
            key_token_name(&from, slice_str(fill->infos[fill->count - 1].name));
            key_add(&from, "", 1);
        }
    } while (err == BK_OK && fill->count == FILL_MAX);
    free(fill);
    return err == BK_OK ? store_put(txn, KEY_TOKEN_INDEXES, SLICE("1")) : err;
}

void token_info_json(const struct token_info *info, struct buf *json)
{
    char created[25];
    bool bound = info->canvas[0] != '\0', somebodys = info->user[0] != '\0';
    time_format_rfc3339(info->created_ns, created);
    buf_printf(json,
               "{\"id\":\"%s\",\"name\":\"%s\",\"role\":\"%s\",%s%s%s%s%s%s\"last4\":\"%s\","
               "\"createdAt\":\"%s\"",
               info->id, info->name, token_role_name(info->role), bound ? "\"canvas\":\"" : "",
               info->canvas, bound ? "\"," : "", somebodys ? "\"user\":\"" : "", info->user,
               somebodys ? "\"," : "", info->last4, created);
    if (info->used_ns > 0) {
        time_format_rfc3339(info->used_ns, created);
        buf_printf(json, ",\"lastUsedAt\":\"%s\"", created);
    }
    buf_add_byte(json, '}');
}
