/* key_keeper.h - fetches the keys that requests are verified with, and keeps them fresh.
 *
 * Purpose     The control thread's side of keys/key_cache.h: one fetch for each key that is wanted,
 *             however many requests wait for it; discovery of an issuer's JWK set; failures
 *             remembered with a growing pause.
 * Rules       Only what a row pins or a source configures is fetched (providers/pinned.h decides
 *             before a want is made). The discovery document must be the issuer's own, its JWK set
 *             https (http only for an issuer that is). Redirects are failures. A
 *             certificate must lead to an authority we believe and be for a name of its row; its
 *             verdict is kept with its key. An issuer's certificate that did not come along is
 *             fetched from where the certificate says, for some steps.
 * Threads     The control thread. It does no I/O itself: `get` starts one, `key_keeper_done` is
 *             called with its outcome.
 * Bounds      KEEPER_JOBS_MAX fetches at once, KEEPER_BODY_BYTES_MAX each, KEEPER_TIMEOUT_MS for
 *             each request, which is less than requests are parked for.
 */
#ifndef BECKET_HUB_KEY_KEEPER_H
#define BECKET_HUB_KEY_KEEPER_H

#include "hub/keys/key_cache.h"
#include "tls/tls.h"

#define KEEPER_JOBS_MAX       16U
#define KEEPER_BODY_BYTES_MAX JWK_TEXT_BYTES_MAX
#define KEEPER_TIMEOUT_MS     2000U
#define KEEPER_URL_BYTES_MAX  1024U

struct key_keeper;

/* A GET to be made. */
struct key_get {
    char url[KEEPER_URL_BYTES_MAX];
    bool allow_private;
    unsigned job; /* for key_keeper_done */
};

struct key_keeper_config {
    struct key_cache *cache;
    /* Start a GET; its outcome comes later through key_keeper_done, not from inside. False: it
     * cannot be started. */
    bool (*get)(void *context, const struct key_get *get);
    /* An entry changed: requests that wait for keys should be looked at again. */
    void (*changed)(void *context);
    /* URLs to GET for their own sake (SNS subscriptions) end here, for the log. NULL = nobody. */
    void (*confirmed)(void *context, const char *url, bool good, const char *why);
    void *context;
    /* For certificates; NULL = nobody is believed. Must stay. */
    const struct tls_trust *trust;
};

enum bk_err key_keeper_open(const struct key_keeper_config *config,
                            struct key_keeper **ret_keeper) BK_MUST_CHECK;
void key_keeper_close(struct key_keeper *keeper);

/* Somebody wants this. Nothing happens when it is being fetched, or was tried just now. */
void key_keeper_want(struct key_keeper *keeper, const struct key_want *want);
/* GET a URL once, some attempts: the confirmation of a subscription. The caller has checked its
 * host. */
void key_keeper_confirm(struct key_keeper *keeper, struct slice url);
/* The outcome of a GET: status and body, or status 0 and a line of words. */
void key_keeper_done(struct key_keeper *keeper, unsigned job, unsigned status, struct slice body,
                     const char *why, int64_t now_seconds);

#endif
