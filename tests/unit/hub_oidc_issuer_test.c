/* Tokens that becket issues: verified by the verifier, with the documents it publishes. */
#include "base/jwk.h"
#include "hub/keys/oidc_issuer.h"
#include "providers/row.h"
#include "tap.h"
#include "unit/providers_request.h"

#include <unistd.h>
#include <yyjson.h>

#define NOW 1767225600LL
#define URL "https://becket.example"

static struct oidc_issuer *issuer;

static enum key_found find_key(void *context, const struct key_want *want,
                               const struct public_key **ret_key)
{
    static struct jwk jwk;
    struct jwk_set *set = NULL;
    (void)context;
    if (jwk_set_parse(oidc_issuer_documents(issuer)->keys, &set) != BK_OK) {
        return KEY_UNKNOWN;
    }
    const struct jwk *found = jwk_set_find(set, want->kid, want->algorithm);
    if (found != NULL) {
        jwk = *found;
        *ret_key = &jwk.key;
    }
    free(set);
    return found != NULL ? KEY_FOUND : KEY_UNKNOWN;
}

static enum scheme_verdict judge(struct slice token, const char *audience, int64_t now)
{
    static struct sample s;
    struct scheme_custom custom = {.scheme = SLICE("jwt"),
                                   .issuer = SLICE(URL),
                                   .audience = slice_str(audience),
                                   .claims = SLICE("sub=app-installation:*\nrole=admin")};
    struct scheme_row *row;
    struct scheme *scheme;
    const char *field, *message;
    size_t bytes;
    char header[4096];
    struct key_finder finder = {find_key, NULL};
    if (scheme_row_custom(&custom, &row, &field, &message) != BK_OK ||
        scheme_compile(row, NULL, 0, -1, &scheme, &bytes, &message) != BK_OK) {
        bail_out("%s", message);
    }
    snprintf(header, sizeof header, "Authorization: Bearer %.*s\r\n", (int)token.bytes,
             (const char *)token.at);
    sample_build(&s, "POST", "/", slice_str(header), SLICE("{}"), now);
    s.request.keys = &finder;
    enum scheme_verdict verdict = sample_verify(scheme, &s);
    sample_scheme_free(scheme);
    scheme_row_free(row);
    return verdict;
}

static void make(struct buf *text, int64_t now)
{
    struct oidc_token token = {.subject = SLICE("app-installation:7"),
                               .audience = SLICE("sts.example"),
                               .claims = SLICE("\"role\":\"admin\"")};
    buf_init(text, 8192);
    is_int(oidc_issuer_token(issuer, &token, now, text), BK_OK);
}

static void kid_of(struct slice token, char *ret_kid)
{
    snprintf(ret_kid, 100, "%.*s", (int)slice_find(token, '.'), (const char *)token.at);
}

/* For tests/wire/k02-jose.t: a token and what is needed to judge it. */
static void write_sample(const char *path, struct slice token)
{
    FILE *file = path != NULL ? fopen(path, "w") : NULL;
    struct slice keys = oidc_issuer_documents(issuer)->keys;
    if (file != NULL) {
        fprintf(file,
                "{\"token\":\"%.*s\",\"issuer\":\"" URL "\",\"audience\":\"sts.example\","
                "\"now\":%lld,\"jwks\":%.*s}",
                (int)token.bytes, (const char *)token.at, NOW, (int)keys.bytes,
                (const char *)keys.at);
        fclose(file);
    }
}

int main(void)
{
    char directory[] = "/tmp/becket-oidc-XXXXXX", why[HUB_WHY_BYTES], first[100], later[100];
    struct hub *hub = NULL;
    if (mkdtemp(directory) == NULL) {
        bail_out("no directory");
    }
    struct hub_config config = {
        .data_directory = directory, .public_url = URL, .now_ns = NOW * 1000000000};
    if (hub_open(&config, &hub, why) != BK_OK) {
        bail_out("%s", why);
    }
    is_int(oidc_issuer_open(hub, URL, NOW, &issuer), BK_OK);
    struct slice keys = oidc_issuer_documents(issuer)->keys;
    is_bytes(keys.at, keys.bytes, "{\"keys\":[]}", 11);
    struct buf text;
    struct oidc_token none = {.subject = SLICE("x")};
    buf_init(&text, 100);
    is_int(oidc_issuer_token(issuer, &none, NOW, &text), BK_NOT_FOUND, "no key yet");
    buf_fini(&text);

    struct secret key;
    is_int(oidc_key_make(&key), BK_OK, "a key is made");
    is_int(oidc_issuer_add(issuer, secret_slice(&key), NOW), BK_OK);
    is_int(oidc_issuer_add(issuer, SLICE("no key"), NOW), BK_INVALID);
    make(&text, NOW);
    kid_of(buf_slice(&text), first);
    write_sample(getenv("BECKET_OIDC_SAMPLE"), buf_slice(&text));
    is_int(judge(buf_slice(&text), "sts.example", NOW), SCHEME_GENUINE);
    is_int(judge(buf_slice(&text), "sts.example", NOW + 299), SCHEME_GENUINE);
    is_int(judge(buf_slice(&text), "sts.example", NOW + 361), SCHEME_TOKEN_EXPIRED,
           "five minutes, and the skew");
    is_int(judge(buf_slice(&text), "other", NOW), SCHEME_CLAIM_WRONG);
    unsigned passed = 0;
    for (size_t i = 0; i < text.bytes; i++) {
        uint8_t before = text.at[i];
        text.at[i] = before == 'A' ? 'B' : 'A';
        passed += before != '.' && judge(buf_slice(&text), "sts.example", NOW) == SCHEME_GENUINE;
        text.at[i] = before;
    }
    is_int(passed, 0, "no character may change");
    buf_fini(&text);

    /* Rotation. */
    struct secret second;
    is_int(oidc_key_make(&second), BK_OK);
    ok(!slice_equal(secret_slice(&second), secret_slice(&key)), "another one");
    is_int(oidc_issuer_add(issuer, secret_slice(&second), NOW + 100), BK_OK);
    make(&text, NOW + 101);
    kid_of(buf_slice(&text), later);
    is_str(later, first, "published, but not signing yet");
    buf_fini(&text);
    make(&text, NOW + 100 + OIDC_PUBLISH_SECONDS);
    kid_of(buf_slice(&text), later);
    ok(strcmp(later, first) != 0, "the new one signs");
    is_int(judge(buf_slice(&text), "sts.example", NOW + 100 + OIDC_PUBLISH_SECONDS),
           SCHEME_GENUINE);
    buf_fini(&text);

    /* A restart. */
    oidc_issuer_close(issuer);
    is_int(oidc_issuer_open(hub, URL, NOW + 1000, &issuer), BK_OK);
    is_int(oidc_issuer_key_count(issuer), 2, "both are in the store");
    make(&text, NOW + 1000);
    is_int(judge(buf_slice(&text), "sts.example", NOW + 1000), SCHEME_GENUINE);
    buf_fini(&text);
    is_int(oidc_issuer_expire(issuer, NOW + 100 + OIDC_PUBLISH_SECONDS + OIDC_KEEP_SECONDS), BK_OK);
    is_int(oidc_issuer_key_count(issuer), 1, "a day after its last signature the old one goes");
    oidc_issuer_close(issuer);
    secret_fini(&key);
    secret_fini(&second);
    hub_close(hub);
    char command[100];
    snprintf(command, sizeof command, "rm -rf %s", directory);
    return system(command) != 0 || done_testing();
}
