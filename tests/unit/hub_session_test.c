/* Description: sessions and sign-ins as they are kept: until when, how many, once, and nothing that
 * is altered or another's. */
#include "base/time.h"
#include "hub/hub_private.h"
#include "hub/people/session.h"
#include "hub/resources/pack.h"
#include "tests/directory.h"

#include <unistd.h>

#define NOW  1767225600000000000LL
#define HOUR (3600 * NS_PER_SECOND)

static char directory[200];
static struct hub *hub;

static void hash_of(unsigned number, uint8_t ret_hash[32])
{
    memset(ret_hash, 7, 32);
    memcpy(ret_hash, &number, sizeof number);
}

static unsigned rows(char prefix)
{
    struct store_txn *txn;
    unsigned count = 0;
    uint8_t hash[32];
    for (unsigned i = 0; i < 6000; i++) {
        struct key key;
        struct slice value;
        if (i % 500 == 0 && i > 0) {
            store_read_end(txn);
        }
        if (i % 500 == 0 && store_read(hub->store, &txn) != BK_OK) {
            bail_out("read");
        }
        hash_of(i, hash);
        key_start(&key, prefix);
        key_add(&key, hash, 32);
        count += store_get(txn, key_slice(&key), &value) == BK_OK;
    }
    store_read_end(txn);
    return count;
}

static void keep(unsigned number, int64_t idle_ns, int64_t now_ns)
{
    uint8_t hash[32];
    struct session_record session = {.end_ns = NOW + 12 * HOUR,
                                     .idle_ns = idle_ns,
                                     .token = "0123",
                                     .canvas = "blue",
                                     .user = "ann"};
    hash_of(number, hash);
    if (session_keep(hub, hash, &session, now_ns) != BK_OK) {
        bail_out("session_keep");
    }
}

static enum bk_err load(unsigned number, int64_t now_ns, struct session_record *ret_session)
{
    uint8_t hash[32];
    hash_of(number, hash);
    return session_load(hub, hash, now_ns, ret_session);
}

/* Of version 1: without the user. */
static enum bk_err put_older(struct store_txn *txn, void *context)
{
    struct key key;
    struct buf bytes;
    uint8_t hash[32];
    (void)context;
    hash_of(7, hash);
    key_start(&key, 'j');
    key_add(&key, hash, sizeof hash);
    buf_init(&bytes, 1024);
    buf_add_byte(&bytes, 1);
    pack_u64(&bytes, (uint64_t)(NOW + HOUR));
    pack_u64(&bytes, (uint64_t)(NOW + HOUR));
    pack_text(&bytes, SLICE("0123"));
    pack_text(&bytes, SLICE("red"));
    enum bk_err err = store_put(txn, key_slice(&key), buf_slice(&bytes));
    buf_fini(&bytes);
    return err;
}

static void test_sessions(void)
{
    struct session_record session;
    uint8_t hash[32];
    keep(1, NOW + 2 * HOUR, NOW);
    is_int(load(1, NOW, &session), BK_OK);
    is_str(session.token, "0123");
    is_str(session.canvas, "blue");
    is_str(session.user, "ann");
    is_int(store_update(hub->store, put_older, NULL), BK_OK);
    is_int(load(7, NOW, &session), BK_OK, "as an older becket kept it");
    is_str(session.canvas, "red");
    is_str(session.user, "", "for nobody else");
    is_int(load(1, NOW + 2 * HOUR - 1, &session), BK_OK);
    is_int(load(1, NOW + 2 * HOUR, &session), BK_NOT_FOUND, "too long without a request");
    keep(1, NOW + 20 * HOUR, NOW);
    is_int(load(1, NOW + 12 * HOUR - 1, &session), BK_OK);
    is_int(load(1, NOW + 12 * HOUR, &session), BK_NOT_FOUND, "over, whatever is done");
    is_int(load(2, NOW, &session), BK_NOT_FOUND, "another's");
    hash_of(1, hash);
    is_int(session_drop(hub, hash), BK_OK);
    is_int(load(1, NOW, &session), BK_NOT_FOUND, "dropped");
    is_int(session_drop(hub, hash), BK_OK, "twice");
    for (unsigned i = 0; i < 40; i++) {
        keep(i, NOW + HOUR, NOW);
    }
    keep(100, NOW + 3 * HOUR, NOW + HOUR);
    is_uint(rows('j'), 1, "what is over makes room");
    for (unsigned i = 0; i < SIGN_INS_KEPT_MAX + 4; i++) { /* the same code, and less of it */
        struct sign_in sign_in = {.end_ns = NOW + HOUR + i};
        hash_of(i, hash);
        if (sign_in_keep(hub, hash, &sign_in, NOW) != BK_OK) {
            bail_out("sign_in_keep");
        }
    }
    is_uint(rows('J'), SIGN_INS_KEPT_MAX, "no more than there may be");
    struct sign_in sign_in;
    hash_of(3, hash);
    is_int(sign_in_take(hub, hash, NOW, &sign_in), BK_NOT_FOUND, "those that end first went");
    hash_of(4, hash);
    is_int(sign_in_take(hub, hash, NOW, &sign_in), BK_OK);
}

struct copying {
    struct key from, to;
    size_t cut;
    bool flip;
};

static enum bk_err copy_row(struct store_txn *txn, void *context)
{
    const struct copying *copying = context;
    struct slice value;
    uint8_t at[4096];
    enum bk_err err = store_get(txn, key_slice(&copying->from), &value);
    if (err != BK_OK) {
        return err;
    }
    memcpy(at, value.at, value.bytes);
    at[value.bytes - 1] ^= copying->flip;
    return store_put(txn, key_slice(&copying->to), slice_of(at, value.bytes - copying->cut));
}

static void test_sign_ins(void)
{
    struct sign_in given = {.end_ns = NOW + HOUR, .slack = true}, sign_in;
    uint8_t hash[32], other[32];
    snprintf(given.verifier, sizeof given.verifier, "%043d", 7);
    snprintf(given.nonce, sizeof given.nonce, "%043d", 8);
    snprintf(given.canvas, sizeof given.canvas, "blue");
    snprintf(given.integration_canvas, sizeof given.integration_canvas, "default");
    snprintf(given.integration, sizeof given.integration, "hub");
    snprintf(given.user, sizeof given.user, "ann");
    memset(given.redirect_uri, 'u', sizeof given.redirect_uri - 1);
    memset(given.browser, 1, 32);
    memset(given.session, 2, 32);
    hash_of(9001, hash);
    hash_of(9002, other);
    is_int(sign_in_keep(hub, hash, &given, NOW), BK_OK);
    /* what somebody could do who can write the store, and has no key */
    for (unsigned way = 0; way < 3; way++) {
        struct copying copying = {.cut = way == 1 ? 5 : 0, .flip = way == 2};
        key_start(&copying.from, 'J');
        key_add(&copying.from, hash, 32);
        key_start(&copying.to, 'J');
        key_add(&copying.to, other, 32);
        is_int(store_update(hub->store, copy_row, &copying), BK_OK);
        is_int(sign_in_take(hub, other, NOW, &sign_in), BK_NOT_FOUND, "moved, cut or altered: %u",
               way);
    }
    is_int(sign_in_take(hub, hash, NOW, &sign_in), BK_OK);
    is_str(sign_in.verifier, given.verifier);
    is_str(sign_in.nonce, given.nonce);
    is_str(sign_in.integration, "hub");
    is_str(sign_in.integration_canvas, "default");
    is_str(sign_in.canvas, "blue");
    is_str(sign_in.user, "ann");
    is_str(sign_in.redirect_uri, given.redirect_uri);
    ok(sign_in.slack && memcmp(sign_in.browser, given.browser, 32) == 0 &&
           memcmp(sign_in.session, given.session, 32) == 0,
       "whose it is");
    is_int(sign_in_take(hub, hash, NOW, &sign_in), BK_NOT_FOUND, "once");
    is_int(sign_in_keep(hub, hash, &given, NOW), BK_OK);
    is_int(sign_in_take(hub, hash, NOW + HOUR, &sign_in), BK_NOT_FOUND, "in time");
    is_int(sign_in_take(hub, hash, NOW, &sign_in), BK_NOT_FOUND, "and it is gone");
}

int main(void)
{
    char why[HUB_WHY_BYTES];
    test_directory(directory, sizeof directory, false);
    struct hub_config config = {
        .data_directory = directory, .public_url = "https://hooks.example", .now_ns = NOW};
    if (hub_open(&config, &hub, why) != BK_OK) {
        bail_out("cannot open");
    }
    test_sessions();
    test_sign_ins();
    hub_close(hub);
    test_directory_drop(directory);
    return done_testing();
}
