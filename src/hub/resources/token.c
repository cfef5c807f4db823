#include "hub/resources/token.h"

#include "base/assert.h"
#include "base/base64.h"
#include "base/ct.h"
#include "base/json.h"
#include "base/sha256.h"
#include "base/time.h"
#include "hub/hub_private.h"
#include "ring/file.h"
#include "ring/ring.h"

#include <stdio.h>

#define TOKEN_PREFIX       "bkt_"
#define TOKEN_RANDOM_BYTES 32U
/* u8 version | u8 role | 16 id | i64 created | 4 last characters | name; bound to a canvas:
 * version 2, and \0 canvas behind it */
#define TOKEN_VERSION       1U
#define TOKEN_VERSION_BOUND 2U
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

static enum bk_err decode_token(struct slice bytes, struct token_info *ret_info)
{
    bool bound = bytes.bytes > 0 && bytes.at[0] == TOKEN_VERSION_BOUND;
    struct slice name = slice_skip(bytes, TOKEN_RECORD_BYTES), canvas = SLICE_EMPTY;
    if (bound) {
        size_t end = slice_find(name, 0);
        canvas = slice_skip(name, end + 1);
        name = slice_of(name.at, end);
    }
    if (name.bytes == 0 || name.bytes > NAME_BYTES_MAX || bound != (canvas.bytes > 0) ||
        canvas.bytes > NAME_BYTES_MAX || (!bound && bytes.at[0] != TOKEN_VERSION) ||
        bytes.at[1] < TOKEN_READ || bytes.at[1] > TOKEN_ADMIN) {
        return BK_CORRUPT;
    }
    ret_info->role = (enum token_role)bytes.at[1];
    hub_id_text(bytes.at + 2, ret_info->id);
    ret_info->created_ns = (int64_t)key_get_u64(bytes.at + 18);
    memcpy(ret_info->last4, bytes.at + 26, 4);
    ret_info->last4[4] = '\0';
    memcpy(ret_info->name, name.at, name.bytes);
    ret_info->name[name.bytes] = '\0';
    if (bound) {
        memcpy(ret_info->canvas, canvas.at, canvas.bytes);
    }
    ret_info->canvas[canvas.bytes] = '\0';
    return BK_OK;
}

struct token_write {
    struct token_info info;
    uint8_t id[16];
    uint8_t hash[SHA256_BYTES];
    struct hub *hub;
};

static enum bk_err audit_token(struct hub *hub, struct store_txn *txn, const char *action,
                               const struct token_info *info, int64_t now_ns)
{
    char diff[64];
    bool made = strcmp(action, "created") == 0;
    snprintf(diff, sizeof diff, "[{\"path\":\"role\",\"before\":%s%s%s,\"after\":%s%s%s}]",
             made ? "null" : "\"", made ? "" : token_role_name(info->role), made ? "" : "\"",
             made ? "\"" : "null", made ? token_role_name(info->role) : "", made ? "\"" : "");
    struct audit_change change = {.action = action,
                                  .kind = "Token",
                                  .name = info->name,
                                  .canvas = info->canvas,
                                  .diff = slice_str(diff),
                                  .now_ns = now_ns};
    return audit_add(hub, txn, &change);
}

static enum bk_err put_token(struct store_txn *txn, void *context)
{
    const struct token_write *write = context;
    struct slice name = slice_str(write->info.name), value;
    struct key key, name_key;
    struct slice canvas = slice_str(write->info.canvas);
    struct record record;
    uint8_t bytes[TOKEN_RECORD_BYTES + 2 * NAME_BYTES_MAX + 1];
    size_t count = TOKEN_RECORD_BYTES + name.bytes;
    key_token_name(&name_key, name);
    enum bk_err err = store_get(txn, key_slice(&name_key), &value);
    if (err != BK_NOT_FOUND) {
        return err == BK_OK ? BK_EXISTS : err;
    }
    err = canvas.bytes > 0 ? hub_record(txn, RESOURCE_CANVAS, SLICE_EMPTY, canvas, &record) : BK_OK;
    if (err != BK_OK) {
        return err;
    }
    bytes[0] = canvas.bytes > 0 ? TOKEN_VERSION_BOUND : TOKEN_VERSION;
    bytes[1] = (uint8_t)write->info.role;
    memcpy(bytes + 2, write->id, 16);
    key_put_u64(bytes + 18, (uint64_t)write->info.created_ns);
    memcpy(bytes + 26, write->info.last4, 4);
    memcpy(bytes + TOKEN_RECORD_BYTES, name.at, name.bytes);
    if (canvas.bytes > 0) {
        bytes[count++] = 0;
        memcpy(bytes + count, canvas.at, canvas.bytes);
        count += canvas.bytes;
    }
    key_token(&key, write->hash);
    err = store_put(txn, key_slice(&key), slice_of(bytes, count));
    if (err == BK_OK) {
        err = store_put(txn, key_slice(&name_key), slice_of(write->hash, sizeof write->hash));
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

static void prepare(struct token_write *write, struct hub *hub, struct slice name,
                    enum token_role role, struct slice canvas, int64_t now_ns, const char *text)
{
    *write = (struct token_write){.info = {.role = role, .created_ns = now_ns}, .hub = hub};
    hub_id_make(write->id);
    hub_id_text(write->id, write->info.id);
    memcpy(write->info.name, name.at, name.bytes);
    if (canvas.bytes > 0) {
        memcpy(write->info.canvas, canvas.at, canvas.bytes);
    }
    memcpy(write->info.last4, text + TOKEN_TEXT_BYTES - 5, 4);
    sha256(slice_str(text), write->hash);
}

enum bk_err token_create(struct hub *hub, struct slice name, enum token_role role,
                         struct slice canvas, int64_t now_ns, struct token_info *ret_info,
                         char ret_text[TOKEN_TEXT_BYTES])
{
    struct token_write write;
    if (!resource_name_valid(name) || (canvas.bytes > 0 && !resource_name_valid(canvas))) {
        return BK_INVALID;
    }
    make_text(ret_text);
    prepare(&write, hub, name, role, canvas, now_ns, ret_text);
    enum bk_err err = store_update(hub->store, put_token, &write);
    if (err != BK_OK) {
        bk_wipe(ret_text, TOKEN_TEXT_BYTES);
        return err;
    }
    *ret_info = write.info;
    return BK_OK;
}

static bool found_one(void *context, struct slice key, struct slice value)
{
    (void)key;
    (void)value;
    *(bool *)context = true;
    return false;
}

static enum bk_err any_token(struct hub *hub, bool *ret_any)
{
    struct store_txn *txn;
    *ret_any = false;
    enum bk_err err = store_read(hub->store, &txn);
    if (err == BK_OK) {
        err = store_walk(txn, SLICE("t/"), SLICE_EMPTY, found_one, ret_any);
        store_read_end(txn);
    }
    return err;
}

enum bk_err token_bootstrap(struct hub *hub, const char *data_directory, int64_t now_ns)
{
    bool any;
    enum bk_err err = any_token(hub, &any);
    if (err != BK_OK || any) {
        return err;
    }
    char text[TOKEN_TEXT_BYTES], line[TOKEN_TEXT_BYTES], path[4096];
    int count = snprintf(path, sizeof path, "%s/admin.token", data_directory);
    if (count < 0 || (size_t)count >= sizeof path) {
        return BK_TOO_LARGE;
    }
    struct token_write write;
    make_text(text);
    prepare(&write, hub, SLICE("admin"), TOKEN_ADMIN, SLICE_EMPTY, now_ns, text);
    memcpy(line, text, sizeof line);
    line[sizeof line - 1] = '\n';
    /* The file first: after a crash between the two there is still no token, and both are made
     * again. */
    err = file_replace(path, line, sizeof line);
    if (err == BK_OK) {
        err = store_update(hub->store, put_token, &write);
    }
    bk_wipe(text, sizeof text);
    bk_wipe(line, sizeof line);
    return err;
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
    err = err == BK_OK ? decode_token(value, ret_info) : err;
    store_read_end(txn);
    return err == BK_NOT_FOUND ? BK_UNAUTHENTICATED : err;
}

struct token_walk {
    token_each_fn *each;
    void *context;
    struct store_txn *txn;
    enum bk_err err;
};

static bool walk_one(void *context, struct slice key, struct slice value)
{
    struct token_walk *walk = context;
    struct token_info info;
    struct key by_hash;
    struct slice record;
    (void)key;
    if (value.bytes != SHA256_BYTES) {
        walk->err = BK_CORRUPT;
        return false;
    }
    key_token(&by_hash, value.at);
    walk->err = store_get(walk->txn, key_slice(&by_hash), &record);
    if (walk->err == BK_OK) {
        walk->err = decode_token(record, &info);
    }
    return walk->err == BK_OK && walk->each(walk->context, &info);
}

static enum bk_err each_in(struct store_txn *txn, token_each_fn *each, void *context)
{
    struct token_walk walk = {each, context, txn, BK_OK};
    enum bk_err err = store_walk(txn, SLICE("T/"), SLICE_EMPTY, walk_one, &walk);
    return err == BK_OK ? walk.err : err;
}

enum bk_err token_each(struct hub *hub, token_each_fn *each, void *context)
{
    struct store_txn *txn;
    enum bk_err err = store_read(hub->store, &txn);
    if (err == BK_OK) {
        err = each_in(txn, each, context);
        store_read_end(txn);
    }
    return err;
}

struct token_search {
    struct slice wanted;
    struct token_info info;
    bool found;
    unsigned admins;
};

static bool search_one(void *context, const struct token_info *info)
{
    struct token_search *search = context;
    search->admins += info->role == TOKEN_ADMIN && info->canvas[0] == '\0';
    if (slice_equal(search->wanted, slice_str(info->name)) ||
        slice_equal(search->wanted, slice_str(info->id))) {
        search->info = *info;
        search->found = true;
    }
    return true;
}

enum bk_err token_get(struct hub *hub, struct slice name_or_id, struct token_info *ret_info)
{
    struct token_search search = {.wanted = name_or_id};
    enum bk_err err = token_each(hub, search_one, &search);
    if (err == BK_OK && !search.found) {
        err = BK_NOT_FOUND;
    }
    if (err == BK_OK) {
        *ret_info = search.info;
    }
    return err;
}

struct token_removal {
    struct hub *hub;
    struct slice name_or_id;
};

static enum bk_err remove_token(struct store_txn *txn, void *context)
{
    const struct token_removal *removal = context;
    struct token_search search = {.wanted = removal->name_or_id};
    struct key key, name_key;
    struct slice hash;
    enum bk_err err = each_in(txn, search_one, &search);
    if (err != BK_OK || !search.found) {
        return err == BK_OK ? BK_NOT_FOUND : err;
    }
    if (search.info.role == TOKEN_ADMIN && search.info.canvas[0] == '\0' && search.admins == 1) {
        return BK_IN_USE;
    }
    key_token_name(&name_key, slice_str(search.info.name));
    err = store_get(txn, key_slice(&name_key), &hash);
    if (err == BK_OK) {
        key_token(&key, hash.at);
        err = store_delete(txn, key_slice(&key));
    }
    if (err == BK_OK) {
        err = store_delete(txn, key_slice(&name_key));
    }
    return err == BK_OK ? audit_token(removal->hub, txn, "deleted", &search.info, 0) : err;
}

enum bk_err token_revoke(struct hub *hub, struct slice name_or_id)
{
    struct token_removal removal = {hub, name_or_id};
    enum bk_err err = store_update(hub->store, remove_token, &removal);
    hub->revoked += err == BK_OK;
    return err;
}

struct canvas_search {
    struct slice canvas;
    bool found;
};

static bool search_canvas(void *context, const struct token_info *info)
{
    struct canvas_search *search = context;
    search->found = slice_equal(slice_str(info->canvas), search->canvas);
    return !search->found;
}

enum bk_err token_of_canvas(struct store_txn *txn, struct slice canvas, bool *ret_any)
{
    struct canvas_search search = {.canvas = canvas};
    enum bk_err err = each_in(txn, search_canvas, &search);
    *ret_any = search.found;
    return err;
}

void token_info_json(const struct token_info *info, struct buf *json)
{
    char created[25];
    bool bound = info->canvas[0] != '\0';
    time_format_rfc3339(info->created_ns, created);
    buf_printf(json,
               "{\"id\":\"%s\",\"name\":\"%s\",\"role\":\"%s\",%s%s%s\"last4\":\"%s\","
               "\"createdAt\":\"%s\"}",
               info->id, info->name, token_role_name(info->role), bound ? "\"canvas\":\"" : "",
               info->canvas, bound ? "\"," : "", info->last4, created);
}
