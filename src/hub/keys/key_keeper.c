#include "hub/keys/key_keeper.h"

#include "base/assert.h"
#include "base/json.h"
#include "base/log.h"
#include "base/url.h"
#include "base/x509.h"

#include <stdio.h>
#include <stdlib.h>
#include <yyjson.h>

#define DISCOVERY_PATH      "/.well-known/openid-configuration"
#define FIRST_PAUSE_SECONDS 10
#define PAUSE_SECONDS_MAX   300
#define CONFIRM_ATTEMPTS    3U
#define CERTIFICATE_SECONDS (7 * 86400) /* as long as it is valid, but not for ever */
#define ISSUERS_MAX         2U          /* certificates between leaf and root that we go and get */

enum job_kind { JOB_FREE, JOB_CERTIFICATE, JOB_ISSUER, JOB_DISCOVERY, JOB_SET, JOB_CONFIRM };

struct job {
    enum job_kind kind;
    unsigned attempts;
    bool plain_allowed; /* http:// too, as the issuer's own address is */
    struct key_want want;
    char url[KEY_URL_BYTES_MAX];
    char name[256];
    struct x509_chain *chain; /* of a certificate whose issuer's is being fetched; owned */
    unsigned issuers;
    struct key_get get;
};

struct key_keeper {
    struct key_keeper_config config;
    struct job jobs[KEEPER_JOBS_MAX];
};

enum bk_err key_keeper_open(const struct key_keeper_config *config, struct key_keeper **ret_keeper)
{
    bk_assert(config != NULL && config->cache != NULL && config->get != NULL);
    *ret_keeper = calloc(1, sizeof **ret_keeper);
    if (*ret_keeper == NULL) {
        return BK_NO_MEMORY;
    }
    (*ret_keeper)->config = *config;
    return BK_OK;
}

/* Its outcome is known: the slot is free. */
static void end(struct job *job)
{
    free(job->chain);
    job->chain = NULL;
    job->kind = JOB_FREE;
}

void key_keeper_close(struct key_keeper *keeper)
{
    for (unsigned i = 0; keeper != NULL && i < KEEPER_JOBS_MAX; i++) {
        end(&keeper->jobs[i]);
    }
    free(keeper);
}

static struct job *free_job(struct key_keeper *keeper)
{
    for (unsigned i = 0; i < KEEPER_JOBS_MAX; i++) {
        if (keeper->jobs[i].kind == JOB_FREE) {
            keeper->jobs[i].get.job = i;
            keeper->jobs[i].attempts = keeper->jobs[i].issuers = 0;
            return &keeper->jobs[i];
        }
    }
    return NULL;
}

static bool is_under_way(const struct key_keeper *keeper, const struct key_want *want)
{
    for (unsigned i = 0; i < KEEPER_JOBS_MAX; i++) {
        const struct job *job = &keeper->jobs[i];
        if (job->kind != JOB_FREE && job->kind != JOB_CONFIRM && job->want.form == want->form &&
            job->want.allow_private == want->allow_private &&
            slice_equal(job->want.url, want->url) && slice_equal(job->want.name, want->name)) {
            return true;
        }
    }
    return false;
}

/* Strangers name certificates, configuration names issuers: half is left for these. */
static bool too_many_certificates(const struct key_keeper *keeper)
{
    unsigned count = 0;
    for (unsigned i = 0; i < KEEPER_JOBS_MAX; i++) {
        count += keeper->jobs[i].kind == JOB_CERTIFICATE || keeper->jobs[i].kind == JOB_ISSUER;
    }
    return count >= KEEPER_JOBS_MAX / 2;
}

/* ---- outcomes */

static void publish(struct key_keeper *keeper, struct key_entry *entry)
{
    if (entry == NULL || key_cache_put(keeper->config.cache, entry) != BK_OK) {
        log_event(LOG_WARN, "no room for a fetched key");
    }
    keeper->config.changed(keeper->config.context);
}

static struct jwk_set *set_copy(const struct jwk_set *set)
{
    size_t bytes = sizeof *set + set->count * sizeof set->keys[0];
    struct jwk_set *copy = malloc(bytes);
    if (copy != NULL) {
        memcpy(copy, set, bytes);
    }
    return copy;
}

/* What was there stays in force when it is still to be trusted; else the failure is what is
 * remembered. */
static void failed(struct key_keeper *keeper, struct job *job, const char *why, int64_t now_seconds)
{
    const struct key_entry *old = key_cache_entry(keeper->config.cache, &job->want);
    bool good = old != NULL && old->state == KEY_ENTRY_READY && now_seconds < old->expires_seconds;
    unsigned failures = old != NULL ? old->failures + 1 : 1;
    struct key_entry *entry = key_entry_new(&job->want, good ? KEY_ENTRY_READY : KEY_ENTRY_FAILED);
    if (entry != NULL && good) {
        entry->set = set_copy(old->set);
        entry->fetched_seconds = old->fetched_seconds;
        entry->expires_seconds = old->expires_seconds;
        if (entry->set == NULL) {
            free(entry);
            entry = NULL;
        }
    }
    if (entry != NULL) {
        int64_t pause = FIRST_PAUSE_SECONDS << (failures < 6 ? failures - 1 : 5);
        entry->attempted_seconds = now_seconds;
        entry->retry_seconds =
            now_seconds + (pause < PAUSE_SECONDS_MAX ? pause : PAUSE_SECONDS_MAX);
        entry->attempt_failed = true;
        entry->failures = failures;
        snprintf(entry->why, sizeof entry->why, "%s", why);
    }
    log_event(LOG_WARN, "a key could not be fetched", LOG_Z("url", job->get.url), LOG_Z("why", why),
              LOG_Z("effect", good ? "the old one stays in use" : "requests that need it get 503"));
    end(job);
    publish(keeper, entry);
}

static bool same_set(const struct jwk_set *a, const struct jwk_set *b)
{
    return a->count == b->count && memcmp(a->keys, b->keys, a->count * sizeof a->keys[0]) == 0;
}

static void ready(struct key_keeper *keeper, struct job *job, struct jwk_set *set,
                  int64_t now_seconds, int64_t expires_seconds)
{
    const struct key_entry *old = key_cache_entry(keeper->config.cache, &job->want);
    struct key_entry *entry = key_entry_new(&job->want, KEY_ENTRY_READY);
    end(job);
    if (entry == NULL) {
        free(set);
        return;
    }
    if (old != NULL && old->state == KEY_ENTRY_READY && same_set(old->set, set)) {
        entry->unchanged = old->unchanged + 1;
    }
    entry->set = set;
    entry->fetched_seconds = entry->attempted_seconds = now_seconds;
    entry->expires_seconds = expires_seconds;
    log_event(LOG_INFO, "key fetched", LOG_Z("url", job->get.url), LOG_I("keys", set->count));
    publish(keeper, entry);
}

static void start(struct key_keeper *keeper, struct job *job, int64_t now_seconds)
{
    if (!keeper->config.get(keeper->config.context, &job->get)) {
        failed(keeper, job, "calls cannot be made now", now_seconds);
    }
}

/* ---- certificates */

/* NULL: it is to be trusted, or "" when one more certificate is being fetched for that; else what
 * is wrong. */
static const char *check_chain(struct key_keeper *keeper, struct job *job, int64_t now_seconds,
                               char why[TLS_WHY_BYTES])
{
    struct slice certificates[X509_CHAIN_MAX], url;
    struct x509_chain *chain = job->chain;
    for (unsigned i = 0; i < chain->count; i++) {
        certificates[i] = x509_chain_at(chain, i);
    }
    if (keeper->config.trust == NULL) {
        return "there is no store of trusted certificates here";
    }
    enum bk_err err = tls_trust_check(keeper->config.trust, certificates, chain->count, job->name,
                                      now_seconds, why);
    if (err == BK_OK) {
        return NULL;
    }
    if (err != BK_NOT_FOUND || job->issuers == ISSUERS_MAX || chain->count == X509_CHAIN_MAX ||
        !x509_issuer_url(certificates[chain->count - 1], &url) ||
        url.bytes >= sizeof job->get.url || slice_find(url, 0) < url.bytes) {
        return why;
    }
    job->issuers++;
    job->kind = JOB_ISSUER;
    job->get.allow_private = false; /* whoever made the certificate chose this address */
    memcpy(job->get.url, url.at, url.bytes);
    job->get.url[url.bytes] = 0;
    return "";
}

/* What is known of the certificate so far decides. */
static void certificate_judge(struct key_keeper *keeper, struct job *job, int64_t now_seconds)
{
    struct x509_certificate certificate;
    char why[TLS_WHY_BYTES];
    const char *wrong = x509_chain_leaf(job->chain, now_seconds, &certificate);
    if (wrong == NULL && job->want.name.bytes != 0) {
        wrong = check_chain(keeper, job, now_seconds, why);
    }
    if (wrong != NULL && *wrong == 0) {
        start(keeper, job, now_seconds);
        return;
    }
    struct jwk_set *set = wrong == NULL ? calloc(1, sizeof *set + sizeof set->keys[0]) : NULL;
    if (set == NULL) {
        failed(keeper, job, wrong != NULL ? wrong : "out of memory", now_seconds);
        return;
    }
    set->count = 1;
    set->keys[0].key = certificate.key;
    int64_t until = now_seconds + CERTIFICATE_SECONDS;
    ready(keeper, job, set, now_seconds,
          certificate.not_after_seconds < until ? certificate.not_after_seconds : until);
}

static void certificate_done(struct key_keeper *keeper, struct job *job, struct slice body,
                             int64_t now_seconds)
{
    job->chain = malloc(sizeof *job->chain);
    const char *wrong = job->chain != NULL ? x509_chain_read(body, job->chain) : "out of memory";
    if (wrong != NULL) {
        failed(keeper, job, wrong, now_seconds);
        return;
    }
    certificate_judge(keeper, job, now_seconds);
}

static void issuer_done(struct key_keeper *keeper, struct job *job, struct slice body,
                        int64_t now_seconds)
{
    if (!x509_chain_add(job->chain, body)) {
        failed(keeper, job, "what is at the address of its issuer is no certificate", now_seconds);
        return;
    }
    certificate_judge(keeper, job, now_seconds);
}

/* ---- issuers */

static bool is_plain(const char *url)
{
    return strncmp(url, "http://", 7) == 0;
}

/* The address of the issuer's JWK set. NULL, or what is wrong. */
static const char *read_discovery(struct job *job, struct slice body)
{
    yyjson_doc *doc = yyjson_read((const char *)body.at, body.bytes, 0);
    yyjson_val *root = yyjson_doc_get_root(doc);
    yyjson_val *issuer = yyjson_obj_get(root, "issuer"), *uri = yyjson_obj_get(root, "jwks_uri");
    const char *text = yyjson_get_str(uri), *why;
    struct slice said = json_read_text(issuer);
    const char *wrong = NULL;
    struct url url;
    if (!yyjson_is_obj(root)) {
        wrong = "the discovery document is no JSON object";
    } else if (!slice_equal(said, job->want.url)) {
        wrong = "the discovery document is another issuer's";
    } else if (text == NULL || yyjson_get_len(uri) != strlen(text) ||
               strlen(text) >= sizeof job->get.url ||
               url_parse(slice_str(text), &url, &why) != BK_OK ||
               (!url.tls && !job->plain_allowed)) {
        wrong = "the discovery document has no jwks_uri that may be used";
    } else {
        snprintf(job->get.url, sizeof job->get.url, "%s", text);
    }
    yyjson_doc_free(doc);
    return wrong;
}

static void discovery_done(struct key_keeper *keeper, struct job *job, struct slice body,
                           int64_t now_seconds)
{
    const char *wrong = read_discovery(job, body);
    if (wrong != NULL) {
        failed(keeper, job, wrong, now_seconds);
        return;
    }
    job->kind = JOB_SET;
    start(keeper, job, now_seconds);
}

static void set_done(struct key_keeper *keeper, struct job *job, struct slice body,
                     int64_t now_seconds)
{
    struct jwk_set *set = NULL;
    if (jwk_set_parse(body, &set) != BK_OK) {
        failed(keeper, job, "no JWK set with a key that can be used", now_seconds);
        return;
    }
    ready(keeper, job, set, now_seconds, now_seconds + KEY_TRUST_SECONDS);
}

/* ---- wants */

void key_keeper_want(struct key_keeper *keeper, const struct key_want *want)
{
    bk_assert(keeper != NULL && want != NULL);
    const struct key_entry *entry = key_cache_entry(keeper->config.cache, want);
    const struct public_key *key;
    bool ask = true;
    if (entry != NULL) {
        (void)key_cache_find(keeper->config.cache, want, &key, &ask);
    }
    if (!ask || is_under_way(keeper, want) || want->url.bytes >= KEY_URL_BYTES_MAX ||
        want->name.bytes >= 256) {
        return;
    }
    struct job *job = free_job(keeper);
    if (job == NULL || (want->form == KEY_CERTIFICATE && too_many_certificates(keeper))) {
        return; /* who waits is told 503 when its time is over, and asks again */
    }
    job->want = *want;
    job->want.kid = SLICE_EMPTY;
    memcpy(job->url, want->url.at, want->url.bytes);
    job->want.url = slice_of(job->url, want->url.bytes);
    if (want->name.bytes != 0) {
        memcpy(job->name, want->name.at, want->name.bytes);
    }
    job->name[want->name.bytes] = 0;
    job->want.name = slice_of(job->name, want->name.bytes);
    job->kind = want->form == KEY_CERTIFICATE ? JOB_CERTIFICATE
                : want->form == KEY_SET       ? JOB_SET
                                              : JOB_DISCOVERY;
    size_t bytes = want->url.bytes;
    bool issuer = want->form == KEY_ISSUER;
    bytes -= issuer && bytes > 0 && job->url[bytes - 1] == '/';
    memcpy(job->get.url, want->url.at, bytes);
    const char *path = issuer ? DISCOVERY_PATH : "";
    memcpy(job->get.url + bytes, path, strlen(path) + 1);
    job->plain_allowed = is_plain(job->get.url);
    job->get.allow_private = want->allow_private;
    if (entry == NULL) {
        struct key_entry *pending = key_entry_new(&job->want, KEY_ENTRY_PENDING);
        if (pending == NULL || key_cache_put(keeper->config.cache, pending) != BK_OK) {
            end(job);
            return;
        }
    }
    start(keeper, job, want->now_seconds);
}

/* ---- confirmations */

static void confirm_start(struct key_keeper *keeper, struct job *job)
{
    job->attempts++;
    if (!keeper->config.get(keeper->config.context, &job->get)) {
        end(job);
        if (keeper->config.confirmed) {
            keeper->config.confirmed(keeper->config.context, job->get.url, false,
                                     "calls cannot be made now");
        }
    }
}

static void confirm_done(struct key_keeper *keeper, struct job *job, unsigned status,
                         const char *why)
{
    bool good = status >= 200 && status < 300;
    if (!good && job->attempts < CONFIRM_ATTEMPTS && (status == 0 || status >= 500)) {
        confirm_start(keeper, job);
        return;
    }
    end(job);
    if (keeper->config.confirmed) {
        keeper->config.confirmed(keeper->config.context, job->get.url, good, good ? "" : why);
    }
}

void key_keeper_confirm(struct key_keeper *keeper, struct slice url)
{
    bk_assert(keeper != NULL);
    struct job *job = free_job(keeper);
    if (job == NULL || url.bytes >= sizeof job->get.url) {
        log_event(
            LOG_WARN, "a subscription was not confirmed",
            LOG_Z("why", job == NULL ? "too many fetches at once" : "its address is too long"));
        return;
    }
    for (unsigned i = 0; i < KEEPER_JOBS_MAX; i++) {
        const struct job *other = &keeper->jobs[i];
        if (other->kind == JOB_CONFIRM && slice_equal(slice_str(other->get.url), url)) {
            return;
        }
    }
    job->kind = JOB_CONFIRM;
    job->get.allow_private = false;
    memcpy(job->get.url, url.at, url.bytes);
    job->get.url[url.bytes] = 0;
    confirm_start(keeper, job);
}

void key_keeper_done(struct key_keeper *keeper, unsigned index, unsigned status, struct slice body,
                     const char *why, int64_t now_seconds)
{
    bk_assert(keeper != NULL && index < KEEPER_JOBS_MAX);
    struct job *job = &keeper->jobs[index];
    char text[KEY_WHY_BYTES];
    bk_assert(job->kind != JOB_FREE);
    if (status != 0 && status != 200) {
        snprintf(text, sizeof text, "it answered %u", status);
        why = text;
    }
    if (job->kind == JOB_CONFIRM) {
        confirm_done(keeper, job, status, why);
    } else if (status != 200) {
        failed(keeper, job, why, now_seconds);
    } else if (job->kind == JOB_CERTIFICATE) {
        certificate_done(keeper, job, body, now_seconds);
    } else if (job->kind == JOB_ISSUER) {
        issuer_done(keeper, job, body, now_seconds);
    } else if (job->kind == JOB_DISCOVERY) {
        discovery_done(keeper, job, body, now_seconds);
    } else {
        set_done(keeper, job, body, now_seconds);
    }
}
