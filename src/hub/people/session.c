#include "hub/people/session.h"

#include "base/ct.h"
#include "hub/hub_private.h"
#include "hub/resources/pack.h"

#include <stdio.h>

#define SESSION_VERSION 2U /* 1: without the user */
#define SIGN_IN_VERSION 1U
#define SIGN_IN_FIELD   SLICE("sign-in")
#define SIGN_IN_BYTES   2048U
#define DROPS_MAX       64U /* of what is over, with each that is kept */

/* ---- room: what is over goes, and when there is too much, what ends first. Values begin with a
 * byte of version and an i64: when it is over. */

struct room {
    int64_t now_ns;
    unsigned count, over;
    uint8_t keys[DROPS_MAX][34];
    uint8_t first[34];
    int64_t first_ns;
};

static bool look_at_one(void *context, struct slice key, struct slice value)
{
    struct room *room = context;
    int64_t end_ns = value.bytes >= 9 ? (int64_t)key_get_u64(value.at + 1) : 0;
    if (key.bytes != sizeof room->first) {
        return true;
    }
    room->count++;
    if (end_ns <= room->now_ns && room->over < DROPS_MAX) {
        memcpy(room->keys[room->over++], key.at, key.bytes);
    }
    if (room->count == 1 || end_ns < room->first_ns) {
        room->first_ns = end_ns;
        memcpy(room->first, key.at, key.bytes);
    }
    return true;
}

static enum bk_err make_room(struct store_txn *txn, char prefix, unsigned most, int64_t now_ns)
{
    struct room room = {.now_ns = now_ns};
    struct key key;
    key_start(&key, prefix);
    enum bk_err err = store_walk(txn, key_slice(&key), SLICE_EMPTY, look_at_one, &room);
    for (unsigned i = 0; err == BK_OK && i < room.over; i++) {
        err = store_delete(txn, slice_of(room.keys[i], sizeof room.keys[i]));
    }
    if (err == BK_OK && room.over == 0 && room.count >= most) {
        err = store_delete(txn, slice_of(room.first, sizeof room.first));
    }
    return err;
}

/* ---- one row */

struct row {
    struct key key;
    char prefix;
    unsigned most;
    int64_t now_ns;
    struct slice value; /* empty = drop it */
};

static void row_init(struct row *row, char prefix, const uint8_t hash[32])
{
    *row = (struct row){.prefix = prefix};
    key_start(&row->key, prefix);
    key_add(&row->key, hash, 32);
}

static enum bk_err put_row(struct store_txn *txn, void *context)
{
    const struct row *row = context;
    struct slice before;
    enum bk_err err = store_get(txn, key_slice(&row->key), &before);
    if (err == BK_NOT_FOUND) {
        err = make_room(txn, row->prefix, row->most, row->now_ns);
    }
    return err == BK_OK ? store_put(txn, key_slice(&row->key), row->value) : err;
}

static enum bk_err drop_row(struct store_txn *txn, void *context)
{
    const struct row *row = context;
    return store_delete(txn, key_slice(&row->key));
}

/* ---- sessions: u8 version, i64 over, i64 end, token, canvas, user */

enum bk_err session_keep(struct hub *hub, const uint8_t hash[32],
                         const struct session_record *session, int64_t now_ns)
{
    struct row row;
    struct buf bytes;
    int64_t over_ns = session->idle_ns < session->end_ns ? session->idle_ns : session->end_ns;
    row_init(&row, 'j', hash);
    buf_init(&bytes, 1024);
    buf_add_byte(&bytes, SESSION_VERSION);
    pack_u64(&bytes, (uint64_t)over_ns);
    pack_u64(&bytes, (uint64_t)session->end_ns);
    pack_text(&bytes, slice_str(session->token));
    pack_text(&bytes, slice_str(session->canvas));
    pack_text(&bytes, slice_str(session->user));
    row.most = SESSIONS_KEPT_MAX;
    row.now_ns = now_ns;
    row.value = buf_slice(&bytes);
    enum bk_err err = bytes.overflow ? BK_TOO_LARGE : store_update(hub->store, put_row, &row);
    buf_fini(&bytes);
    return err;
}

static bool take_name(struct slice *rest, char *out, size_t size)
{
    struct slice text;
    if (!unpack_text(rest, size - 1, &text)) {
        return false;
    }
    snprintf(out, size, "%.*s", (int)text.bytes, (const char *)text.at);
    return true;
}

static bool session_decode(struct slice value, struct session_record *ret_session)
{
    uint8_t version = 0;
    uint64_t over_ns = 0, end_ns = 0;
    bool good = unpack_byte(&value, &version) && version >= 1 && version <= SESSION_VERSION &&
                unpack_u64(&value, &over_ns) && unpack_u64(&value, &end_ns) &&
                take_name(&value, ret_session->token, sizeof ret_session->token) &&
                take_name(&value, ret_session->canvas, sizeof ret_session->canvas);
    ret_session->user[0] = '\0';
    good = good && (version == 1 || take_name(&value, ret_session->user, sizeof ret_session->user));
    ret_session->idle_ns = (int64_t)over_ns;
    ret_session->end_ns = (int64_t)end_ns;
    return good;
}

enum bk_err session_load(struct hub *hub, const uint8_t hash[32], int64_t now_ns,
                         struct session_record *ret_session)
{
    struct store_txn *txn;
    struct slice value;
    struct row row;
    row_init(&row, 'j', hash);
    enum bk_err err = store_read(hub->store, &txn);
    if (err != BK_OK) {
        return err;
    }
    err = store_get(txn, key_slice(&row.key), &value);
    bool good = err == BK_OK && session_decode(value, ret_session);
    store_read_end(txn);
    if (err != BK_OK) {
        return err;
    }
    return good && now_ns < ret_session->idle_ns && now_ns < ret_session->end_ns ? BK_OK
                                                                                 : BK_NOT_FOUND;
}

enum bk_err session_drop(struct hub *hub, const uint8_t hash[32])
{
    struct row row;
    row_init(&row, 'j', hash);
    return store_update(hub->store, drop_row, &row);
}

/* ---- sign-ins: u8 version, i64 end, sealed: browser, session, u8 slack, texts */

static void pack_sign_in(struct buf *bytes, const struct sign_in *sign_in)
{
    buf_add(bytes, sign_in->browser, sizeof sign_in->browser);
    buf_add(bytes, sign_in->session, sizeof sign_in->session);
    buf_add_byte(bytes, sign_in->slack);
    pack_text(bytes, slice_str(sign_in->verifier));
    pack_text(bytes, slice_str(sign_in->nonce));
    pack_text(bytes, slice_str(sign_in->canvas));
    pack_text(bytes, slice_str(sign_in->integration_canvas));
    pack_text(bytes, slice_str(sign_in->integration));
    pack_text(bytes, slice_str(sign_in->user));
    pack_text(bytes, slice_str(sign_in->redirect_uri));
}

static bool unpack_sign_in(struct slice rest, struct sign_in *ret_sign_in)
{
    uint8_t slack = 0;
    if (rest.bytes < 64) {
        return false;
    }
    memcpy(ret_sign_in->browser, rest.at, 32);
    memcpy(ret_sign_in->session, rest.at + 32, 32);
    rest = slice_skip(rest, 64);
    bool good =
        unpack_byte(&rest, &slack) &&
        take_name(&rest, ret_sign_in->verifier, sizeof ret_sign_in->verifier) &&
        take_name(&rest, ret_sign_in->nonce, sizeof ret_sign_in->nonce) &&
        take_name(&rest, ret_sign_in->canvas, sizeof ret_sign_in->canvas) &&
        take_name(&rest, ret_sign_in->integration_canvas, sizeof ret_sign_in->integration_canvas) &&
        take_name(&rest, ret_sign_in->integration, sizeof ret_sign_in->integration) &&
        take_name(&rest, ret_sign_in->user, sizeof ret_sign_in->user) &&
        take_name(&rest, ret_sign_in->redirect_uri, sizeof ret_sign_in->redirect_uri);
    ret_sign_in->slack = slack != 0;
    return good;
}

enum bk_err sign_in_keep(struct hub *hub, const uint8_t state[32], const struct sign_in *sign_in,
                         int64_t now_ns)
{
    uint8_t value[9 + SIGN_IN_BYTES + SEAL_OVERHEAD_BYTES];
    struct buf bytes;
    struct row row;
    row_init(&row, 'J', state);
    buf_init(&bytes, SIGN_IN_BYTES);
    pack_sign_in(&bytes, sign_in);
    value[0] = SIGN_IN_VERSION;
    key_put_u64(value + 1, (uint64_t)sign_in->end_ns);
    if (!bytes.overflow) {
        seal_value(&hub->seal, state, SIGN_IN_FIELD, buf_slice(&bytes), value + 9);
    }
    row.most = SIGN_INS_KEPT_MAX;
    row.now_ns = now_ns;
    row.value = slice_of(value, 9 + bytes.bytes + SEAL_OVERHEAD_BYTES);
    enum bk_err err = bytes.overflow ? BK_TOO_LARGE : store_update(hub->store, put_row, &row);
    bk_wipe(bytes.at, bytes.bytes);
    buf_fini(&bytes);
    return err;
}

static enum bk_err read_sign_in(struct hub *hub, const uint8_t state[32], struct slice value,
                                struct sign_in *ret_sign_in)
{
    uint8_t plain[SIGN_IN_BYTES];
    size_t bytes = 0;
    if (value.bytes < 9 + SEAL_OVERHEAD_BYTES ||
        value.bytes > 9 + SEAL_OVERHEAD_BYTES + sizeof plain || value.at[0] != SIGN_IN_VERSION) {
        return BK_NOT_FOUND;
    }
    ret_sign_in->end_ns = (int64_t)key_get_u64(value.at + 1);
    enum bk_err err =
        seal_open(&hub->seal, state, SIGN_IN_FIELD, slice_skip(value, 9), plain, &bytes);
    bool good = err == BK_OK && unpack_sign_in(slice_of(plain, bytes), ret_sign_in);
    bk_wipe(plain, sizeof plain);
    return good ? BK_OK : BK_NOT_FOUND;
}

enum bk_err sign_in_take(struct hub *hub, const uint8_t state[32], int64_t now_ns,
                         struct sign_in *ret_sign_in)
{
    struct store_txn *txn;
    struct slice value;
    struct row row;
    row_init(&row, 'J', state);
    enum bk_err err = store_read(hub->store, &txn);
    if (err != BK_OK) {
        return err;
    }
    err = store_get(txn, key_slice(&row.key), &value);
    if (err == BK_OK) {
        err = read_sign_in(hub, state, value, ret_sign_in);
    }
    store_read_end(txn);
    if (err != BK_OK) {
        return err;
    }
    err = store_update(hub->store, drop_row, &row);
    if (err == BK_OK && now_ns >= ret_sign_in->end_ns) {
        err = BK_NOT_FOUND;
    }
    return err;
}
