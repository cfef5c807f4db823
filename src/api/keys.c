#include "api/keys.h"

#include "base/assert.h"
#include "base/log.h"
#include "base/time.h"
#include "base/url.h"
#include "http/client.h"
#include "http/write.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

struct keys {
    struct key_cache *cache;
    struct key_keeper *keeper;
    struct oidc_issuer *issuer;
    struct ring *ring; /* the control thread's */
    struct reactor *reactor;
    bool changed;
    atomic_bool documents_asked;
    _Atomic(const struct oidc_documents *) documents;
};

static int64_t now_seconds(const struct keys *keys)
{
    return ring_wall_ns(keys->ring) / NS_PER_SECOND;
}

/* ---- GETs */

/* One GET: written here, run on the core, read here. */
struct fetch {
    struct ring_mail mail;
    struct keys *keys;
    unsigned job;
    struct http_origin origin;
    struct http_call call;
    unsigned status;
    char why[HTTP_CALL_WHY_BYTES];
    size_t body_bytes;
    uint8_t *body;
    uint8_t head[2 * KEEPER_URL_BYTES_MAX];
};

static void fetch_back(struct ring_mail *mail)
{
    struct fetch *fetch = bk_container_of(mail, struct fetch, mail);
    key_keeper_done(fetch->keys->keeper, fetch->job, fetch->status,
                    slice_of(fetch->body, fetch->body_bytes), fetch->why, now_seconds(fetch->keys));
    free(fetch->body);
    free(fetch);
}

/* On the core. */
static void fetch_done(struct http_call *call)
{
    struct fetch *fetch = bk_container_of(call, struct fetch, call);
    const struct http_reply *reply = &call->reply;
    snprintf(fetch->why, sizeof fetch->why, "%s", reply->why);
    fetch->status = reply->err == BK_OK ? reply->status : 0;
    if (reply->err == BK_OK && reply->body.bytes != 0) {
        fetch->body = malloc(reply->body.bytes);
        if (fetch->body != NULL) {
            memcpy(fetch->body, reply->body.at, reply->body.bytes);
            fetch->body_bytes = reply->body.bytes;
        }
    }
    fetch->mail.run = fetch_back;
    ring_post(reactor_ring(fetch->keys->reactor), fetch->keys->ring, &fetch->mail);
}

static void fetch_there(struct ring_mail *mail)
{
    struct fetch *fetch = bk_container_of(mail, struct fetch, mail);
    http_call_start(reactor_client(fetch->keys->reactor), &fetch->call);
}

static bool fetch_fill(struct fetch *fetch, const struct key_get *get)
{
    struct url url;
    const char *why;
    struct http_write write;
    struct slice head;
    if (url_parse(slice_str(get->url), &url, &why) != BK_OK) {
        return false;
    }
    http_origin_from_url(&fetch->origin, &url);
    fetch->origin.allow_private = get->allow_private;
    http_origin_init(&fetch->origin);
    http_write_init(&write, fetch->head, sizeof fetch->head);
    http_write_request(&write, SLICE("GET"), &fetch->origin, url.path, url.query);
    http_write_header(&write, SLICE("Accept"), SLICE("*/*"));
    http_write_header(&write, SLICE("Accept-Encoding"), SLICE("identity"));
    http_write_header(&write, SLICE("User-Agent"), SLICE("becket"));
    if (http_write_end(&write, &head) != BK_OK) {
        return false;
    }
    fetch->call.origin = &fetch->origin;
    fetch->call.pieces[0] = head;
    fetch->call.piece_count = 1;
    fetch->call.repeatable = true;
    fetch->call.timeout_ms = KEEPER_TIMEOUT_MS;
    fetch->call.keep_body_bytes = KEEPER_BODY_BYTES_MAX;
    fetch->call.body_bytes_max = KEEPER_BODY_BYTES_MAX;
    fetch->call.done = fetch_done;
    return true;
}

static bool keeper_get(void *context, const struct key_get *get)
{
    struct keys *keys = context;
    struct fetch *fetch = keys->reactor != NULL ? calloc(1, sizeof *fetch) : NULL;
    if (fetch == NULL) {
        return false;
    }
    fetch->keys = keys;
    fetch->job = get->job;
    if (!fetch_fill(fetch, get)) {
        free(fetch);
        return false;
    }
    fetch->mail.run = fetch_there;
    ring_post(keys->ring, reactor_ring(keys->reactor), &fetch->mail);
    return true;
}

static void keeper_changed(void *context)
{
    struct keys *keys = context;
    keys->changed = true;
}

/* The query has the token of the confirmation. */
static void keeper_confirmed(void *context, const char *url, bool good, const char *why)
{
    (void)context;
    log_event(good ? LOG_INFO : LOG_WARN,
              good ? "subscription confirmed" : "a subscription was not confirmed",
              LOG_S("at", slice_of(url, strcspn(url, "?"))), LOG_Z("why", why));
}

enum key_found keys_find(void *context, const struct key_want *want,
                         const struct public_key **ret_key)
{
    struct keys *keys = context;
    bool ask;
    enum key_found found = key_cache_find(keys->cache, want, ret_key, &ask);
    if (ask) {
        key_keeper_want(keys->keeper, want);
    }
    return found;
}

/* ---- letters from cores */

struct want_letter {
    struct ring_mail mail;
    struct keys *keys;
    struct key_want want;
    char text[];
};

static void want_arrived(struct ring_mail *mail)
{
    struct want_letter *letter = bk_container_of(mail, struct want_letter, mail);
    key_keeper_want(letter->keys->keeper, &letter->want);
    free(letter);
}

static struct slice put(char **at, struct slice text)
{
    char *to = *at;
    if (text.bytes != 0) {
        memcpy(to, text.at, text.bytes);
        *at += text.bytes;
    }
    return slice_of(to, text.bytes);
}

void keys_want(struct keys *keys, struct ring *ring, const struct key_want *want)
{
    size_t bytes = want->url.bytes + want->name.bytes + want->kid.bytes;
    struct want_letter *letter = malloc(sizeof *letter + bytes); /* rare: a key is missing */
    if (letter == NULL) {
        return;
    }
    char *at = letter->text;
    letter->keys = keys;
    letter->want = *want;
    letter->want.url = put(&at, want->url);
    letter->want.name = put(&at, want->name);
    letter->want.kid = put(&at, want->kid);
    letter->mail.run = want_arrived;
    ring_post(ring, keys->ring, &letter->mail);
}

struct confirm_letter {
    struct ring_mail mail;
    struct keys *keys;
    size_t bytes;
    char url[];
};

static void confirm_arrived(struct ring_mail *mail)
{
    struct confirm_letter *letter = bk_container_of(mail, struct confirm_letter, mail);
    key_keeper_confirm(letter->keys->keeper, slice_of(letter->url, letter->bytes));
    free(letter);
}

void keys_confirm(struct keys *keys, struct ring *ring, struct slice url)
{
    struct confirm_letter *letter = malloc(sizeof *letter + url.bytes);
    if (letter != NULL) {
        letter->keys = keys;
        letter->bytes = url.bytes;
        memcpy(letter->url, url.at, url.bytes);
        letter->mail.run = confirm_arrived;
        ring_post(ring, keys->ring, &letter->mail);
    }
}

/* ---- the issuer */

static void publish(struct keys *keys)
{
    if (oidc_issuer_key_count(keys->issuer) > 0) {
        atomic_store_explicit(&keys->documents, oidc_issuer_documents(keys->issuer),
                              memory_order_release);
    }
    keys->changed = true;
}

enum bk_err keys_rotate(struct keys *keys)
{
    struct secret key;
    int64_t now = now_seconds(keys);
    enum bk_err err = oidc_issuer_expire(keys->issuer, now);
    if (err == BK_OK && oidc_issuer_key_count(keys->issuer) == OIDC_KEYS_MAX) {
        err = BK_BUSY;
    }
    if (err == BK_OK) {
        err = oidc_key_make(&key);
    }
    if (err != BK_OK) {
        return err;
    }
    err = oidc_issuer_add(keys->issuer, secret_slice(&key), now);
    secret_fini(&key);
    if (err == BK_OK) {
        log_event(LOG_INFO, "a key to sign tokens with was made",
                  LOG_I("published", oidc_issuer_key_count(keys->issuer)));
        publish(keys);
    }
    return err;
}

void keys_want_issuer(struct keys *keys)
{
    enum bk_err err = oidc_issuer_key_count(keys->issuer) == 0 ? keys_rotate(keys) : BK_OK;
    if (err != BK_OK) {
        log_event(LOG_ERROR, "no key to sign tokens with", LOG_Z("why", bk_err_text(err)));
    }
}

enum bk_err keys_token(void *context, const struct oidc_token *token, int64_t seconds,
                       struct buf *text)
{
    struct keys *keys = context;
    return oidc_issuer_token(keys->issuer, token, seconds, text);
}

struct documents_letter {
    struct ring_mail mail;
    struct keys *keys;
};

static void documents_wanted(struct ring_mail *mail)
{
    struct documents_letter *letter = bk_container_of(mail, struct documents_letter, mail);
    struct keys *keys = letter->keys;
    free(letter);
    enum bk_err err = oidc_issuer_key_count(keys->issuer) == 0 ? keys_rotate(keys) : BK_OK;
    if (err != BK_OK) {
        log_event(LOG_ERROR, "no key to sign tokens with", LOG_Z("why", bk_err_text(err)));
        atomic_store(&keys->documents_asked, false);
    }
}

void keys_want_documents(struct keys *keys, struct ring *ring)
{
    struct documents_letter *letter =
        atomic_exchange(&keys->documents_asked, true) ? NULL : malloc(sizeof *letter);
    if (letter != NULL) {
        letter->keys = keys;
        letter->mail.run = documents_wanted;
        ring_post(ring, keys->ring, &letter->mail);
    }
}

const struct oidc_documents *keys_documents(const struct keys *keys)
{
    return atomic_load_explicit(&keys->documents, memory_order_acquire);
}

/* ---- life */

enum bk_err keys_open(struct hub *hub, struct ring *control_ring, const char *public_url,
                      const struct tls_trust *trust, struct keys **ret_keys)
{
    struct keys *keys = calloc(1, sizeof *keys);
    if (keys == NULL) {
        return BK_NO_MEMORY;
    }
    keys->ring = control_ring;
    enum bk_err err = key_cache_open(&keys->cache);
    if (err == BK_OK) {
        struct key_keeper_config config = {.cache = keys->cache,
                                           .get = keeper_get,
                                           .changed = keeper_changed,
                                           .confirmed = keeper_confirmed,
                                           .trust = trust,
                                           .context = keys};
        err = key_keeper_open(&config, &keys->keeper);
    }
    if (err == BK_OK) {
        err = oidc_issuer_open(hub, public_url, ring_wall_ns(control_ring) / NS_PER_SECOND,
                               &keys->issuer);
    }
    if (err != BK_OK) {
        keys_close(keys);
        return err;
    }
    publish(keys);
    keys->changed = false;
    *ret_keys = keys;
    return BK_OK;
}

void keys_start(struct keys *keys, struct reactor *reactor)
{
    keys->reactor = reactor;
}

void keys_close(struct keys *keys)
{
    if (keys == NULL) {
        return;
    }
    key_keeper_close(keys->keeper);
    key_cache_close(keys->cache);
    oidc_issuer_close(keys->issuer);
    free(keys);
}

struct key_cache *keys_cache(struct keys *keys)
{
    return keys->cache;
}

bool keys_changed(struct keys *keys)
{
    bool changed = keys->changed;
    keys->changed = false;
    return changed;
}

struct oidc_issuer *keys_issuer(struct keys *keys)
{
    return keys->issuer;
}
