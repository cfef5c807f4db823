/* Keys that are fetched: cache and keeper with a fake network. */
#include "hub/keys/key_keeper.h"
#include "ring/file.h"
#include "tap.h"

#include <yyjson.h>

#define NOW 1767225600LL

static struct {
    struct key_get gets[64];
    unsigned count;
    unsigned changed;
    unsigned confirmed, refused;
    bool offline;
} net;

static struct key_cache *cache;
static struct key_keeper *keeper;

static bool fake_get(void *context, const struct key_get *get)
{
    (void)context;
    if (net.offline || net.count == 64) {
        return false;
    }
    net.gets[net.count++] = *get;
    return true;
}

static void fake_changed(void *context)
{
    (void)context;
    net.changed++;
}

static void fake_confirmed(void *context, const char *url, bool good, const char *why)
{
    (void)context, (void)url, (void)why;
    net.confirmed += good;
    net.refused += !good;
}

static void begin_with(const struct tls_trust *trust)
{
    struct key_keeper_config config = {
        .get = fake_get, .changed = fake_changed, .confirmed = fake_confirmed, .trust = trust};
    memset(&net, 0, sizeof net);
    if (key_cache_open(&cache) != BK_OK) {
        bail_out("no memory");
    }
    config.cache = cache;
    if (key_keeper_open(&config, &keeper) != BK_OK) {
        bail_out("no memory");
    }
}

static void begin(void)
{
    begin_with(NULL);
}

static void end(void)
{
    key_keeper_close(keeper);
    key_cache_close(cache);
}

static enum key_found find(const struct key_want *want, const struct public_key **key)
{
    bool ask;
    *key = NULL;
    enum key_found found = key_cache_find(cache, want, key, &ask);
    if (ask) {
        key_keeper_want(keeper, want);
    }
    return found;
}

static void answer(unsigned get, unsigned status, const char *body, int64_t now)
{
    key_keeper_done(keeper, net.gets[get].job, status, slice_str(body), "no route", now);
}

#define KEY_A                                                                                      \
    "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"a\","                                          \
    "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}"
#define KEY_B                                                                                      \
    "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"b\","                                          \
    "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}"

static struct key_want issuer_want(const char *kid, int64_t now)
{
    return (struct key_want){.form = KEY_ISSUER,
                             .url = SLICE("https://issuer.example"),
                             .kid = slice_str(kid),
                             .algorithm = SIGNATURE_ED25519,
                             .now_seconds = now};
}

static void test_discovery(void)
{
    const struct public_key *key;
    struct key_want want = issuer_want("a", NOW);
    begin();
    is_int(find(&want, &key), KEY_LATER, "not there yet");
    is_int(find(&want, &key), KEY_LATER);
    is_int(net.count, 1, "one fetch, however many ask");
    is_str(net.gets[0].url, "https://issuer.example/.well-known/openid-configuration");
    answer(0, 200,
           "{\"issuer\":\"https://issuer.example\",\"jwks_uri\":\"https://keys.example/set\"}",
           NOW);
    is_int(net.count, 2);
    is_str(net.gets[1].url, "https://keys.example/set");
    answer(1, 200, "{\"keys\":[" KEY_A "]}", NOW);
    is_int(net.changed, 1, "who waits is told");
    is_int(find(&want, &key), KEY_FOUND);
    ok(key != NULL && key->kind == PUBLIC_KEY_ED25519);

    /* Rotation: an unknown key is looked for again, soon the first time. */
    struct key_want other = issuer_want("b", NOW + 1);
    is_int(find(&other, &key), KEY_UNKNOWN, "fetched a second ago: not again");
    is_int(net.count, 2);
    other.now_seconds = NOW + 2;
    is_int(find(&other, &key), KEY_LATER, "a second later it is asked for");
    want.now_seconds = NOW + 2;
    is_int(find(&want, &key), KEY_FOUND, "the old set serves meanwhile");
    is_int(net.count, 3);
    answer(2, 200,
           "{\"issuer\":\"https://issuer.example\",\"jwks_uri\":\"https://keys.example/s\"}",
           NOW + 2);
    answer(3, 200, "{\"keys\":[" KEY_A "]}", NOW + 2);
    is_int(find(&other, &key), KEY_UNKNOWN, "still not there");
    other.now_seconds = NOW + 5;
    is_int(find(&other, &key), KEY_UNKNOWN, "which brought nothing, so the pause is longer");
    other.now_seconds = NOW + 6;
    is_int(find(&other, &key), KEY_LATER, "and then over");
    answer(4, 200,
           "{\"issuer\":\"https://issuer.example\",\"jwks_uri\":\"https://keys.example/s\"}",
           NOW + 6);
    answer(5, 200, "{\"keys\":[" KEY_B "]}", NOW + 6);
    is_int(find(&other, &key), KEY_FOUND, "the new key");
    is_int(find(&want, &key), KEY_UNKNOWN, "the old one was withdrawn");

    /* A refresh that fails leaves what was there, for a day. */
    other.now_seconds = NOW + 6 + KEY_REFRESH_SECONDS;
    is_int(find(&other, &key), KEY_FOUND, "an old set serves while it is refreshed");
    is_int(net.count, 7);
    answer(6, 0, "", other.now_seconds);
    is_int(find(&other, &key), KEY_FOUND, "and when it cannot be");
    struct key_want third = issuer_want("c", other.now_seconds + 1);
    is_int(find(&third, &key), KEY_UNAVAILABLE, "an unknown key then is no forgery, but not known");
    other.now_seconds = NOW + 6 + KEY_TRUST_SECONDS;
    is_int(find(&other, &key), KEY_LATER, "after a day it is not trusted any more");
    answer(7, 0, "", other.now_seconds);
    is_int(find(&other, &key), KEY_UNAVAILABLE);
    end();
}

/* Set back by hours: neither a new key nor one that failed waits for the time that it was. */
static void test_clock(void)
{
    const struct public_key *key;
    const int64_t hours = 3 * 3600;
    static const char found[] =
        "{\"issuer\":\"https://issuer.example\",\"jwks_uri\":\"https://keys.example/set\"}";
    struct key_want want = issuer_want("a", NOW + hours), other = issuer_want("b", NOW);
    begin();
    is_int(find(&want, &key), KEY_LATER);
    answer(0, 0, "", NOW + hours);
    is_int(find(&want, &key), KEY_UNAVAILABLE, "it failed just now");
    want.now_seconds = NOW + hours / 2;
    is_int(find(&want, &key), KEY_LATER, "set back: it is tried again");
    is_int(net.count, 2);
    answer(1, 200, found, NOW + hours / 2);
    answer(2, 200, "{\"keys\":[" KEY_A "]}", NOW + hours / 2);
    is_int(find(&want, &key), KEY_FOUND);
    is_int(net.count, 3);
    is_int(find(&other, &key), KEY_LATER, "set back again: a key that is new is asked for");
    is_int(net.count, 4);
    want.now_seconds = NOW;
    is_int(find(&want, &key), KEY_FOUND, "the old one serves");
    answer(3, 200, found, NOW);
    answer(4, 200, "{\"keys\":[" KEY_A "," KEY_B "]}", NOW);
    is_int(find(&other, &key), KEY_FOUND, "and is there");
    is_int(find(&want, &key), KEY_FOUND);
    is_int(net.count, 5, "once");
    want.now_seconds = NOW - hours;
    is_int(find(&want, &key), KEY_FOUND);
    is_int(net.count, 6, "what was fetched by a clock that was ahead is fetched anew");
    end();
}

/* Whose issuer is no text, but has as many members as the text has letters. */
static void test_odd_discovery(void)
{
    const struct public_key *key;
    struct key_want want = issuer_want("a", NOW);
    begin();
    is_int(find(&want, &key), KEY_LATER);
    answer(0, 200,
           "{\"issuer\":[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0],"
           "\"jwks_uri\":\"https://keys.example/set\"}",
           NOW);
    is_int(find(&want, &key), KEY_UNAVAILABLE, "is another issuer's");
    end();
}

/* Whoever makes keys up gets a fetch a minute at most. */
static void test_made_up(void)
{
    const struct public_key *key;
    char name[20];
    begin();
    struct key_want want = issuer_want("a", NOW);
    want.form = KEY_SET;
    is_int(find(&want, &key), KEY_LATER);
    answer(0, 200, "{\"keys\":[" KEY_A "]}", NOW);
    for (int64_t second = 0; second < 600; second++) {
        snprintf(name, sizeof name, "k%d", (int)second);
        struct key_want other = want;
        other.kid = slice_str(name);
        other.now_seconds = NOW + second;
        unsigned before = net.count;
        (void)find(&other, &key);
        if (net.count > before) {
            answer(before, 200, "{\"keys\":[" KEY_A "]}", NOW + second);
        }
    }
    ok(net.count >= 10 && net.count <= 16, "%u fetches in ten minutes", net.count);
    end();
}

/* One fetch failed just when the keys had changed: what a new one signs does not wait a minute. */
static void test_blip(void)
{
    const struct public_key *key;
    struct key_want want = issuer_want("a", NOW), other = issuer_want("b", NOW + 100);
    begin();
    want.form = other.form = KEY_SET;
    is_int(find(&want, &key), KEY_LATER);
    answer(0, 200, "{\"keys\":[" KEY_A "]}", NOW);
    is_int(find(&other, &key), KEY_LATER, "an unknown key");
    answer(1, 500, "", NOW + 100);
    other.now_seconds = NOW + 109;
    is_int(find(&other, &key), KEY_UNAVAILABLE, "the fetch failed a moment ago");
    want.now_seconds = NOW + 109;
    is_int(find(&want, &key), KEY_FOUND, "the key from before serves on");
    other.now_seconds = NOW + 110;
    is_int(find(&other, &key), KEY_LATER, "ten seconds later it is asked for again");
    answer(2, 200, "{\"keys\":[" KEY_B "]}", NOW + 110);
    is_int(find(&other, &key), KEY_FOUND);
    end();
}

static void test_failures(void)
{
    static const struct {
        const char *name, *body;
        unsigned status;
    } bad[] = {
        {"dead host", "", 0},
        {"not found", "", 404},
        {"redirect", "", 302},
        {"no JSON", "hello", 200},
        {"another issuer", "{\"issuer\":\"https://evil.example\",\"jwks_uri\":\"https://k/x\"}",
         200},
        {"plain http", "{\"issuer\":\"https://issuer.example\",\"jwks_uri\":\"http://k/x\"}", 200},
        {"a file", "{\"issuer\":\"https://issuer.example\",\"jwks_uri\":\"file:///etc/x\"}", 200},
        {"no jwks_uri", "{\"issuer\":\"https://issuer.example\"}", 200},
        {"empty", "", 200},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const struct public_key *key;
        struct key_want want = issuer_want("a", NOW);
        begin();
        is_int(find(&want, &key), KEY_LATER);
        answer(0, bad[i].status, bad[i].body, NOW);
        is_int(find(&want, &key), KEY_UNAVAILABLE, "%s", bad[i].name);
        is_int(net.count, 1, "no second fetch at once");
        want.now_seconds = NOW + 10;
        is_int(find(&want, &key), KEY_LATER, "after a pause it is tried again");
        is_int(net.count, 2);
        answer(1, 0, "", NOW + 10);
        want.now_seconds = NOW + 25;
        is_int(find(&want, &key), KEY_UNAVAILABLE, "the pause has grown");
        end();
    }
    begin();
    const struct public_key *key;
    struct key_want want = issuer_want("a", NOW);
    net.offline = true;
    is_int(find(&want, &key), KEY_LATER);
    is_int(find(&want, &key), KEY_UNAVAILABLE, "nothing can be fetched");
    end();
}

static void test_flood(void)
{
    char url[100];
    const struct public_key *key;
    begin();
    struct key_want good = issuer_want("a", NOW);
    is_int(find(&good, &key), KEY_LATER);
    answer(0, 200, "{\"issuer\":\"https://issuer.example\",\"jwks_uri\":\"https://k.example/s\"}",
           NOW);
    answer(1, 200, "{\"keys\":[" KEY_A "]}", NOW);
    unsigned started = 0;
    for (unsigned i = 0; i < 20100; i++) {
        snprintf(url, sizeof url, "https://sns.us-east-1.amazonaws.com/%u.pem", i);
        struct key_want want = {.form = KEY_CERTIFICATE, .url = slice_str(url), .now_seconds = NOW};
        unsigned before = net.count;
        (void)find(&want, &key);
        if (net.count > before && i < 20000) {
            started++;
            answer(before, 404, "", NOW);
            net.count = before;
        }
    }
    ok(net.count <= 2 + KEEPER_JOBS_MAX / 2, "fetches at once are bounded");
    ok(started > 1000, "%u fetches failed", started);
    is_int(find(&good, &key), KEY_FOUND, "the good key is still there");
    end();
}

static void test_certificate(void)
{
    const char *folder = getenv("VECTORS");
    char path[1024];
    snprintf(path, sizeof path, "%s/crypto/public_keys.json", folder ? folder : "tests/vectors");
    yyjson_doc *doc = yyjson_read_file(path, 0, NULL, NULL);
    yyjson_val *all = yyjson_obj_get(yyjson_doc_get_root(doc), "certificates");
    int64_t now = yyjson_get_sint(yyjson_obj_get(yyjson_doc_get_root(doc), "certificates_now"));
    const struct public_key *key;
    struct key_want want = {.form = KEY_CERTIFICATE,
                            .url = SLICE("https://sns.us-east-1.amazonaws.com/a.pem"),
                            .algorithm = SIGNATURE_RSA_SHA256,
                            .now_seconds = now};
    begin();
    is_int(find(&want, &key), KEY_LATER);
    answer(0, 200, yyjson_get_str(yyjson_obj_get(all, "leaf")), now);
    is_int(find(&want, &key), KEY_FOUND);
    ok(key != NULL && key->kind == PUBLIC_KEY_RSA);
    want.now_seconds = now + 3700LL * 86400;
    is_int(find(&want, &key), KEY_LATER, "it has expired: fetched again");
    answer(1, 200, yyjson_get_str(yyjson_obj_get(all, "leaf")), want.now_seconds);
    is_int(find(&want, &key), KEY_UNAVAILABLE, "an expired one is not taken");
    end();
    begin();
    want.now_seconds = now;
    want.url = SLICE("https://sns.us-east-1.amazonaws.com/b.pem");
    is_int(find(&want, &key), KEY_LATER);
    answer(0, 200, yyjson_get_str(yyjson_obj_get(all, "expired")), now);
    is_int(find(&want, &key), KEY_UNAVAILABLE);
    end();
    yyjson_doc_free(doc);
}

/* Of tests/vectors/tls, whose clock stands in 2030. */
#define NOW_2030 1900000000LL

static char *vector(const char *name)
{
    const char *folder = getenv("VECTORS");
    char path[1024], *text;
    size_t bytes;
    snprintf(path, sizeof path, "%s/tls/%s", folder ? folder : "tests/vectors", name);
    if (file_read_all(path, 1U << 20, &text, &bytes) != BK_OK) {
        bail_out("%s cannot be read", path);
    }
    return text;
}

/* What a certificate is refused for stays with its address, and a good one needs no second look. */
static void test_trust(void)
{
    static const struct {
        const char *file, *name, *why;
        int64_t now;
    } cases[] = {
        {"server_rsa.pem", "a.example", NULL, NOW_2030},
        {"server_rsa.pem", "c.example x.b.example", NULL, NOW_2030},
        {"server_rsa.pem", "c.example", "not for c.example but for a.example", NOW_2030},
        {"server_rsa.pem", "a.example", "has expired", 7258118400LL},
        {"server_rsa.pem", "a.example", "not valid yet", 1577836800LL},
        {"unknown.pem", "a.example", "unknown CA", NOW_2030},
        {"self_signed.pem", "a.example", "self-signed", NOW_2030},
        {"for_clients.pem", "a.example", "not for a server", NOW_2030},
        {"by_leaf.pem", "a.example", "may not issue", NOW_2030},
    };
    struct tls_trust *trust;
    char why[TLS_WHY_BYTES];
    if (tls_trust_open(&trust) != BK_OK) {
        bail_out("no memory");
    }
    for (unsigned i = 0; i < 2; i++) {
        char *pem = vector(i ? "ca.pem" : "rsa_ca.pem");
        is_int(tls_trust_add_pem(trust, "ca", slice_str(pem), why), BK_OK);
        free(pem);
    }
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct public_key *key;
        char *pem = vector(cases[i].file);
        bool rsa = cases[i].file[6] == '_' && cases[i].file[0] == 's';
        struct key_want want = {.form = KEY_CERTIFICATE,
                                .url = SLICE("https://sns.us-east-1.amazonaws.com/a.pem"),
                                .name = slice_str(cases[i].name),
                                .algorithm = rsa ? SIGNATURE_RSA_SHA256 : SIGNATURE_P256_DER,
                                .now_seconds = cases[i].now};
        begin_with(trust);
        is_int(find(&want, &key), KEY_LATER);
        answer(0, 200, pem, cases[i].now);
        is_int(find(&want, &key), cases[i].why ? KEY_UNAVAILABLE : KEY_FOUND, "%s for %s",
               cases[i].file, cases[i].name);
        const struct key_entry *entry = key_cache_entry(cache, &want);
        ok(!cases[i].why || strstr(entry->why, cases[i].why), "%s", entry->why);
        is_int(net.count, 1, "nothing else was fetched");
        end();
        free(pem);
    }
    tls_trust_close(trust);
    begin();
    const struct public_key *key;
    struct key_want want = {.form = KEY_CERTIFICATE,
                            .url = SLICE("https://sns.us-east-1.amazonaws.com/a.pem"),
                            .name = SLICE("a.example"),
                            .algorithm = SIGNATURE_RSA_SHA256,
                            .now_seconds = NOW_2030};
    char *pem = vector("server_rsa.pem");
    is_int(find(&want, &key), KEY_LATER);
    answer(0, 200, pem, NOW_2030);
    is_int(find(&want, &key), KEY_UNAVAILABLE, "without a trust nobody is believed");
    end();
    free(pem);
}

/* The certificate says where its issuer's is: some steps are gone, never without an end. */
static void test_issuers(void)
{
    const char *folder = getenv("VECTORS");
    char path[1024];
    snprintf(path, sizeof path, "%s/crypto/public_keys.json", folder ? folder : "tests/vectors");
    yyjson_doc *doc = yyjson_read_file(path, 0, NULL, NULL);
    const char *pem =
        yyjson_get_str(yyjson_obj_get(yyjson_doc_get_root(doc), "certificate_with_issuer"));
    struct tls_trust *trust;
    const struct public_key *key;
    struct key_want want = {.form = KEY_CERTIFICATE,
                            .url = SLICE("https://sns.us-east-1.amazonaws.com/a.pem"),
                            .name = SLICE("a.example"),
                            .algorithm = SIGNATURE_P256_DER,
                            .now_seconds = NOW_2030};
    if (!pem || tls_trust_open(&trust) != BK_OK) {
        bail_out("no certificate");
    }
    begin_with(trust);
    is_int(find(&want, &key), KEY_LATER);
    answer(0, 200, pem, NOW_2030);
    is_int(net.count, 2, "its issuer's is asked for");
    is_str(net.gets[1].url, "http://ca.example/ca.cer");
    ok(!net.gets[1].allow_private, "not at a private address");
    is_int(find(&want, &key), KEY_LATER);
    is_int(net.count, 2, "once");
    answer(1, 200, "hello", NOW_2030);
    is_int(find(&want, &key), KEY_UNAVAILABLE, "which is none");
    end();
    begin_with(trust);
    is_int(find(&want, &key), KEY_LATER);
    answer(0, 200, pem, NOW_2030);
    answer(1, 404, "", NOW_2030);
    is_int(find(&want, &key), KEY_UNAVAILABLE, "which is not there");
    end();
    begin_with(trust);
    is_int(find(&want, &key), KEY_LATER);
    for (unsigned i = 0; i < net.count && i < 20; i++) {
        answer(i, 200, pem, NOW_2030);
    }
    is_int(find(&want, &key), KEY_UNAVAILABLE, "which names itself again and again");
    ok(net.count <= 4, "%u fetches", net.count);
    end();
    begin_with(trust); /* closed with a chain that waits: nothing is lost (ASan) */
    is_int(find(&want, &key), KEY_LATER);
    answer(0, 200, pem, NOW_2030);
    end();
    tls_trust_close(trust);
    yyjson_doc_free(doc);
}

static void test_confirm(void)
{
    begin();
    key_keeper_confirm(keeper, SLICE("https://sns.us-east-1.amazonaws.com/?Action=Confirm"));
    key_keeper_confirm(keeper, SLICE("https://sns.us-east-1.amazonaws.com/?Action=Confirm"));
    is_int(net.count, 1, "once");
    answer(0, 503, "", NOW);
    is_int(net.count, 2, "again after a failure of the server");
    answer(1, 200, "<xml/>", NOW);
    is_int(net.confirmed, 1);
    key_keeper_confirm(keeper, SLICE("https://sns.us-east-1.amazonaws.com/?x"));
    answer(2, 403, "", NOW);
    is_int(net.refused, 1, "a refusal is final");
    end();
}

int main(void)
{
    test_discovery();
    test_odd_discovery();
    test_made_up();
    test_blip();
    test_failures();
    test_clock();
    test_flood();
    test_certificate();
    test_trust();
    test_issuers();
    test_confirm();
    return done_testing();
}
