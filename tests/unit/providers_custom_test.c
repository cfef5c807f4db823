/* Rows from a user's own words: random ones against an independent computation, and what is refused
 * and why. */
#include "base/base64.h"
#include "base/hex.h"
#include "base/hmac.h"
#include "unit/providers_request.h"

#define NOW 1767225600LL

static uint64_t seed = 0xa0761d6478bd642fU;

static uint32_t below(uint32_t bound)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 33) % bound;
}

static struct scheme *compile(const struct scheme_custom *custom, const char *secret)
{
    struct scheme_row *row = NULL;
    struct scheme *scheme = NULL;
    const char *field = "", *message = "";
    size_t bytes;
    struct slice text = slice_str(secret);
    if (scheme_row_custom(custom, &row, &field, &message) != BK_OK) {
        bail_out("%s: %s", field, message);
    }
    enum bk_err err = scheme_compile(row, &text, secret != NULL, -1, &scheme, &bytes, &message);
    /* The scheme has its own copy. */
    scheme_row_free(row);
    if (err != BK_OK) {
        bail_out("%s", message);
    }
    return scheme;
}

/* ---- random rows */

static const struct {
    const char *name;
    const br_hash_class *hash;
} hashes[] = {{"sha1", &br_sha1_vtable},
              {"sha256", &br_sha256_vtable},
              {"sha384", &br_sha384_vtable},
              {"sha512", &br_sha512_vtable}};

struct piece {
    const char *word, *value;
};
static const struct piece pieces[] = {
    {"{timestamp}", "1767225600"},
    {"{id}", "id-77"},
    {"{method}", "POST"},
    {"{path}", "/hooks/x"},
    {"{query}", "a=b&c"},
    {"{url}", "https://h/hooks/x?a=b&c"},
    {".", "."},
    {"v0:", "v0:"},
    {"|", "|"},
    {"{header:X-Extra}", "more"},
};

/* What the sender would write, without the engine. */
static size_t expected(const char *secret, unsigned hash, unsigned encoding, const char *text,
                       char *out)
{
    br_hmac_key_context key;
    br_hmac_context context;
    uint8_t mac[64];
    br_hmac_key_init(&key, hashes[hash].hash, secret, strlen(secret));
    br_hmac_init(&context, &key, 0);
    br_hmac_update(&context, text, strlen(text));
    size_t bytes = br_hmac_out(&context, mac);
    if (encoding == 0) {
        hex_encode(mac, bytes, out);
        return 2 * bytes;
    }
    return base64_encode(mac, bytes, encoding == 1 ? BASE64_STANDARD : BASE64_URL, out);
}

static void append(char *text, size_t room, const char *more)
{
    size_t used = strlen(text);
    snprintf(text + used, room - used, "%s", more);
}

static bool random_row(void)
{
    static const char *const words[] = {"{hex}", "{base64}", "{base64url}"};
    static const char *const prefixes[] = {"", "sha=", "v1,", "Signature ", "a:b:"};
    static struct sample s;
    char template[400] = "", text[800] = "", format[64], mac[200], headers[800];
    static const char body[] = "{\"id\":\"from body\",\"type\":\"x\"}";
    unsigned hash = below(4), encoding = below(3), body_at = below(6);
    const char *prefix = prefixes[below(5)];
    for (unsigned i = 0, n = body_at + below(4) + 1; i < n; i++) {
        struct piece piece = pieces[below(10)];
        if (i == body_at) {
            piece = (struct piece){"{body}", body};
        }
        append(template, sizeof template, piece.word);
        append(text, sizeof text, piece.value);
    }
    snprintf(format, sizeof format, "%s%s", prefix, words[encoding]);
    struct scheme_custom custom = {.scheme = SLICE("HMAC"),
                                   .algorithm = slice_str(hashes[hash].name),
                                   .signature_header = SLICE("X-My-Signature"),
                                   .signature_format = slice_str(format),
                                   .timestamp_header = SLICE("X-My-Time"),
                                   .id_header = SLICE("X-My-Id"),
                                   .type_field = SLICE("/type"),
                                   .signed_template = slice_str(template)};
    struct scheme *scheme = compile(&custom, "k3y");
    size_t n = expected("k3y", hash, encoding, text, mac);
    snprintf(
        headers, sizeof headers,
        "X-Extra: more\r\nX-My-Time: 1767225600\r\nX-My-Id: id-77\r\nX-My-Signature: %s%.*s\r\n",
        prefix, (int)n, mac);
    sample_build(&s, "POST", "/hooks/x?a=b&c", slice_str(headers), slice_str(body), NOW);
    s.request.url = SLICE("https://h/hooks/x?a=b&c");
    enum scheme_verdict verdict = sample_verify(scheme, &s);
    s.request.body.bytes--;
    bool good = verdict == SCHEME_GENUINE && sample_verify(scheme, &s) == SCHEME_SIGNATURE_WRONG;
    if (!good) {
        diag("%s over %s: %s", format, template, scheme_verdict_name(verdict));
    }
    /* What the engine signs by itself is the same, where it can. */
    struct buf signed_headers;
    struct scheme_send send = {.body = slice_str(body),
                               .id = SLICE("id-77"),
                               .url = s.request.url,
                               .headers = SLICE("X-Other: x\r\nx-extra:  more\r\n"),
                               .now_seconds = NOW};
    buf_init(&signed_headers, 4000);
    if (scheme_sign(scheme, &send, &signed_headers) != BK_OK) {
        diag("%s over %s cannot be signed", format, template);
        good = false;
    } else if (memmem(signed_headers.at, signed_headers.bytes, mac, n) == NULL) {
        diag("%s over %s is signed differently: %s", format, template, buf_text(&signed_headers));
        good = false;
    }
    buf_reset(&signed_headers);
    send.headers = SLICE("X-Extra: more\r\nX-Extra: more\r\n");
    bool extra = strstr(template, "{header") != NULL;
    if (scheme_sign(scheme, &send, &signed_headers) != (extra ? BK_UNSUPPORTED : BK_OK)) {
        diag("%s is signed with a header that is there twice", template);
        good = false;
    }
    buf_fini(&signed_headers);
    sample_scheme_free(scheme);
    return good;
}

/* ---- what is refused */

struct bad_case {
    struct scheme_custom custom;
    enum bk_err err;
    const char *field;
};

#define HEADER .signature_header = SLICE("X-Sig")

static const struct bad_case *bad_cases(size_t *ret_count)
{
    static struct bad_case cases[80];
    size_t n = 0;
#define BAD(error, name, ...)                                                                      \
    cases[n++] = (struct bad_case){.custom = {__VA_ARGS__}, .err = error, .field = name}
    BAD(BK_INVALID, "scheme", .scheme = SLICE("hmac2"), HEADER);
    BAD(BK_INVALID, "issuer", .scheme = SLICE("jwt"), HEADER);
    BAD(BK_INVALID, "issuer", .issuer = SLICE("https://i"), HEADER);
    BAD(BK_INVALID, "audience", .scheme = SLICE("jwt"), .issuer = SLICE("https://i"), HEADER);
    BAD(BK_INVALID, "algorithm", .scheme = SLICE("jwt"), .algorithm = SLICE("none"), HEADER);
    BAD(BK_INVALID, "scheme", .scheme = SLICE("jwt"), .base = SLICE("github"), HEADER);
    BAD(BK_INVALID, "algorithm", .scheme = SLICE("rsa"), .algorithm = SLICE("sha1"), HEADER);
    BAD(BK_INVALID, "algorithm", .scheme = SLICE("ecdsa-p256"), .algorithm = SLICE("sha512"),
        HEADER);
    BAD(BK_INVALID, "algorithm", .algorithm = SLICE("md5"), HEADER);
    BAD(BK_INVALID, "timestamp.unit", .timestamp_unit = SLICE("us"), HEADER);
    BAD(BK_INVALID, "signature.header", .scheme = SLICE("hmac"));
    BAD(BK_INVALID, "signature.header", .scheme = SLICE("ed25519"));
    BAD(BK_INVALID, "signature.header", .signature_header = SLICE("X Sig"));
    BAD(BK_INVALID, "signature.header", .signature_header = SLICE("X-Sig:"));
    BAD(BK_INVALID, "timestamp.header", .timestamp_header = SLICE("a\r\nb"), HEADER);
    BAD(BK_INVALID, "id.header", .id_header = SLICE("\xc3\xa9"), HEADER);
    BAD(BK_INVALID, "type.header", .type_header = SLICE("/type"), HEADER);
    BAD(BK_INVALID, "type.field", .type_field = SLICE("type"), HEADER);
    BAD(BK_INVALID, "type.field", .type_field = SLICE("/a/b/c/d/e"), HEADER);
    BAD(BK_INVALID, "type.template",
        .type_field = SLICE("{/a}"
                            "{/b}"),
        HEADER);
    BAD(BK_INVALID, "type.template", .type_field = SLICE("{/a}."), HEADER);
    BAD(BK_INVALID, "type.template", .type_field = SLICE("{/a}.{/b"), HEADER);
    BAD(BK_INVALID, "type.template", .type_field = SLICE("{a}.{/b}"), HEADER);
    BAD(BK_INVALID, "type.template", .type_field = SLICE("{header:}.{/b}"), HEADER);
    BAD(BK_INVALID, "type.template", .type_field = SLICE("{/a}\t{/b}"), HEADER);
    BAD(BK_INVALID, "type.template", .type_field = SLICE("{/a} {/b}"), HEADER);
    BAD(BK_INVALID, "type.template", .type_field = SLICE("{/a/*/b}.{/b}"), HEADER);
    BAD(BK_INVALID, "type.template", .type_field = SLICE("{/1}.{/2}.{/3}.{/4}"), HEADER);
    BAD(BK_INVALID, "id.field", .id_field = SLICE("{/a}.{/b}"), HEADER);
    BAD(BK_INVALID, "id.field", .id_field = SLICE("/a b"), HEADER);
    BAD(BK_INVALID, "id.field", .id_field = SLICE("/"), HEADER);
    BAD(BK_INVALID, "id.field", .id_field = SLICE("?"), HEADER);
    BAD(BK_INVALID, "id.field", .id_field = SLICE("?a b"), HEADER);
    BAD(BK_INVALID, "timestamp.field", .timestamp_field = SLICE("?"), HEADER);
    BAD(BK_INVALID, "signature.field", .signature_field = SLICE("?"));
    BAD(BK_INVALID, "signature.format", .signature_format = SLICE("sha256="), HEADER);
    BAD(BK_INVALID, "signature.format", .signature_format = SLICE("{hexx}"), HEADER);
    BAD(BK_INVALID, "signature.format", .signature_format = SLICE("{hex"), HEADER);
    BAD(BK_INVALID, "signature.format", .signature_format = SLICE("{hex},{hex}"), HEADER);
    BAD(BK_INVALID, "signature.format", .signature_format = SLICE("{hex},"), HEADER);
    BAD(BK_INVALID, "signature.format", .signature_format = SLICE("{hex}x..."), HEADER);
    BAD(BK_INVALID, "signature.format", .signature_format = SLICE("a[b]{hex}"), HEADER);
    BAD(BK_INVALID, "signature.format", .signature_format = SLICE("t={timestamp}"), HEADER);
    BAD(BK_INVALID, "signature.format", .signature_format = SLICE("v={hex},{timestamp}"), HEADER);
    BAD(BK_INVALID, "signature.format", .signature_format = SLICE("t={timestamp},v={hex};..."),
        HEADER);
    BAD(BK_INVALID, "signature.format", .scheme = SLICE("token"),
        .signature_format = SLICE("{hex}"), HEADER);
    BAD(BK_INVALID, "signature.format", .signature_format = SLICE("a\tb={hex}"), HEADER);
    BAD(BK_INVALID, "signature.format", .scheme = SLICE("token"),
        .signature_format = SLICE(" {token}"), HEADER);
    BAD(BK_INVALID, "signature.format", .signature_format = SLICE("a,b={hex},..."), HEADER);
    BAD(BK_INVALID, "signature.format", .signature_format = SLICE(" v={hex}"), HEADER);
    BAD(BK_INVALID, "signature.format", .signature_format = SLICE("v={timestamp},v={hex}"), HEADER);
    BAD(BK_INVALID, "signed", .signed_template = SLICE("{bod}"), HEADER);
    BAD(BK_INVALID, "signed", .signed_template = SLICE("{path}"), HEADER);
    BAD(BK_INVALID, "signed", .signed_template = SLICE("{header:}{body}"), HEADER);
    BAD(BK_INVALID, "signed", .signed_template = SLICE("{body}{header:X"), HEADER);
    BAD(BK_INVALID, "signed", .signed_template = SLICE("{header:X-A{body}"), HEADER);
    BAD(BK_INVALID, "signed", .signed_template = SLICE("{header:X A}{body}"), HEADER);
    BAD(BK_INVALID, "signed", .signed_template = SLICE("{?a{body}"), HEADER);
    BAD(BK_INVALID, "signed",
        .signed_template = SLICE("{body}a{path}b{path}c{path}d{path}e{path}f{path}g{path}h{path}"),
        HEADER);
    BAD(BK_INVALID, "timestamp.header", .signed_template = SLICE("{timestamp}.{body}"), HEADER);
    BAD(BK_INVALID, "id.header", .signed_template = SLICE("{id}.{body}"), HEADER);
    BAD(BK_INVALID, "timestamp.field", .signature_field = SLICE("/s"),
        .timestamp_field = SLICE("/s"));
    BAD(BK_INVALID, "timestamp.field", .signature_field = SLICE("?s"),
        .timestamp_field = SLICE("?s"));
    BAD(BK_INVALID, "timestamp.header", .timestamp_header = SLICE("x-sig"), HEADER);
#undef BAD
    *ret_count = n;
    return cases;
}

static void refused(void)
{
    size_t count;
    const struct bad_case *cases = bad_cases(&count);
    for (size_t i = 0; i < count; i++) {
        struct scheme_row *row = (struct scheme_row *)&seed;
        const char *field = NULL, *message = NULL;
        is_int(scheme_row_custom(&cases[i].custom, &row, &field, &message), cases[i].err);
        is_str(field, cases[i].field, "%s", message);
        ok(row == NULL && message != NULL);
    }
    static char huge[2000];
    memset(huge, 'a', sizeof huge);
    struct scheme_custom custom = {HEADER, .signed_template = slice_of(huge, sizeof huge)};
    struct scheme_row *row;
    const char *field, *message;
    is_int(scheme_row_custom(&custom, &row, &field, &message), BK_INVALID, "too long");
    scheme_row_free(NULL);
}

/* ---- the other kinds */

static enum scheme_verdict verdict_of(const struct scheme *scheme, const char *headers,
                                      const char *body)
{
    static struct sample s;
    sample_build(&s, "POST", "/", slice_str(headers), slice_str(body), NOW);
    return sample_verify(scheme, &s);
}

static void kinds(void)
{
    struct scheme_custom none = {.scheme = SLICE("none"), .id_header = SLICE("X-Id")};
    struct scheme *scheme = compile(&none, NULL);
    is_int(verdict_of(scheme, "", "x"), SCHEME_GENUINE, "none takes everything");
    ok(!scheme_row_needs_secret(scheme_row(scheme)) && scheme_has_delivery_id(scheme));
    is_str(scheme_row_name(scheme_row(scheme)), "generic");
    sample_scheme_free(scheme);

    struct scheme_custom token = {.scheme = SLICE("token"), .signature_header = SLICE("X-Token")};
    scheme = compile(&token, "tok");
    is_int(verdict_of(scheme, "x-token: tok\r\n", ""), SCHEME_GENUINE);
    is_int(verdict_of(scheme, "x-token: Bearer tok\r\n", ""), SCHEME_SIGNATURE_WRONG);
    is_int(verdict_of(scheme, "", ""), SCHEME_SIGNATURE_MISSING);
    sample_scheme_free(scheme);

    token.signature_format = SLICE("Key {token}");
    scheme = compile(&token, "tok");
    is_int(verdict_of(scheme, "X-TOKEN: Key tok\r\n", ""), SCHEME_GENUINE);
    is_int(verdict_of(scheme, "X-TOKEN: key tok\r\n", ""), SCHEME_SIGNATURE_MALFORMED);
    is_int(verdict_of(scheme, "X-TOKEN: tok\r\n", ""), SCHEME_SIGNATURE_MALFORMED);
    struct buf headers;
    struct scheme_send send = {.now_seconds = NOW};
    buf_init(&headers, 1000);
    is_int(scheme_sign(scheme, &send, &headers), BK_OK);
    ok(strstr(buf_text(&headers), "X-Token: Key tok\r\n") != NULL, "a token is sent as written");
    buf_fini(&headers);
    sample_scheme_free(scheme);

    struct scheme_custom bearer = {.scheme = SLICE("token")};
    scheme = compile(&bearer, "tok");
    is_int(verdict_of(scheme, "Authorization: bearer tok\r\n", ""), SCHEME_GENUINE,
           "a token without a header is a bearer token");
    sample_scheme_free(scheme);

    struct scheme_custom basic = {.scheme = SLICE("basic"), .signature_header = SLICE("X-Ignored")};
    scheme = compile(&basic, "u:p");
    is_int(verdict_of(scheme, "Authorization: Basic dTpw\r\n", ""), SCHEME_GENUINE);
    sample_scheme_free(scheme);

    struct scheme_custom listed = {
        HEADER, .signature_format = SLICE("v1={base64};ts={timestamp};..."),
        .signed_template = SLICE("{timestamp}{body}"), .timestamp_unit = SLICE("ms")};
    scheme = compile(&listed, "k");
    char mac[200], text[400];
    size_t n = expected("k", 1, 1, "1767225600000body", mac);
    snprintf(text, sizeof text, "X-Sig: v0=zz; v1=%.*s; ts=1767225600000\r\n", (int)n, mac);
    is_int(verdict_of(scheme, text, "body"), SCHEME_GENUINE, "signature before timestamp");
    is_int(verdict_of(scheme, text, "bodY"), SCHEME_SIGNATURE_WRONG);
    sample_scheme_free(scheme);

    struct scheme_custom missing = {HEADER, .signed_template = SLICE("{header:X-A}.{body}")};
    scheme = compile(&missing, "k");
    n = expected("k", 1, 0, ".b", mac);
    snprintf(text, sizeof text, "X-Sig: %.*s\r\n", (int)n, mac);
    is_int(verdict_of(scheme, text, "b"), SCHEME_GENUINE, "a missing header is the empty text");
    append(text, sizeof text, "x-a: 1\r\n");
    is_int(verdict_of(scheme, text, "b"), SCHEME_SIGNATURE_WRONG);
    append(text, sizeof text, "x-a: 1\r\n");
    is_int(verdict_of(scheme, text, "b"), SCHEME_SIGNATURE_DOUBLED);
    sample_scheme_free(scheme);
}

/* ---- places besides headers, and plain hashes: what is signed verifies, what is altered does not
 */

static const struct {
    struct scheme_custom custom;
    const char *secret;
    enum scheme_verdict empty; /* of a request without anything */
} placed[] = {
    {{.signature_field = SLICE("?sig")}, "s", SCHEME_SIGNATURE_MISSING},
    {{.signature_field = SLICE("?sig"),
      .timestamp_field = SLICE("/at"),
      .timestamp_unit = SLICE("ms")},
     "s",
     SCHEME_SIGNATURE_MISSING},
    {{.scheme = SLICE("hash"),
      .signature_header = SLICE("X-Sum"),
      .signed_template = SLICE("{secret}:{body}"),
      .algorithm = SLICE("sha512")},
     "s",
     SCHEME_SIGNATURE_MISSING},
    {{.scheme = SLICE("hash"),
      .signature_header = SLICE("X-Sum"),
      .signed_template = SLICE("{secret}.{method}{url}{body}.{secret}")},
     "s",
     SCHEME_SIGNATURE_MISSING},
    {{.scheme = SLICE("token"), .signature_field = SLICE("?key")},
     "a b&c",
     SCHEME_SIGNATURE_MISSING},
    {{.scheme = SLICE("token"), .signature_field = SLICE("/auth/token")},
     "tok",
     SCHEME_SIGNATURE_MISSING},
    {{.scheme = SLICE("jwt"), .algorithm = SLICE("hs256"), .signature_field = SLICE("/token")},
     "s",
     SCHEME_SIGNATURE_MISSING},
    {{.scheme = SLICE("jwt"), .algorithm = SLICE("hs256"), .signature_field = SLICE("?jwt")},
     "s",
     SCHEME_SIGNATURE_MISSING},
    {{.signature_field = SLICE("?sig"),
      .timestamp_field = SLICE("?at"),
      .id_field = SLICE("?id"),
      .type_field = SLICE("?of"),
      .signed_template = SLICE("{timestamp}.{id}.{body}")},
     "s",
     SCHEME_SIGNATURE_MISSING},
    {{.signature_header = SLICE("X-Sig"), .signed_template = SLICE("{sha256}|{url}|{/id}|{?a}")},
     "s",
     SCHEME_SIGNATURE_MISSING},
    {{.signature_header = SLICE("X-Sig"), .signed_template = SLICE("{form}")},
     "s",
     SCHEME_SIGNATURE_MISSING},
    {{.signature_header = SLICE("X-Sig"),
      .type_header = SLICE("X-Event"),
      .signed_template = SLICE("{header:X-Event}.{body}")},
     "s",
     SCHEME_SIGNATURE_MISSING},
};

static void places(void)
{
    static struct sample s;
    for (size_t i = 0; i < sizeof placed / sizeof placed[0]; i++) {
        struct scheme *scheme = compile(&placed[i].custom, placed[i].secret);
        struct buf headers, body, url;
        struct scheme_send send = {.body = SLICE("{\"id\":\"i1\",\"n\":1}"),
                                   .type = SLICE("order.paid"),
                                   .id = SLICE("i1"),
                                   .url = SLICE("https://h/hooks/x?a=b"),
                                   .now_seconds = NOW,
                                   .ret_body = &body,
                                   .ret_url = &url};
        buf_init(&headers, 4000);
        buf_init(&body, 4000);
        buf_init(&url, 4000);
        is_int(scheme_sign(scheme, &send, &headers), BK_OK, "%zu signs", i);
        struct slice sent = body.bytes != 0 ? buf_slice(&body) : send.body;
        if (url.bytes == 0) {
            buf_add_slice(&url, send.url);
        }
        sample_build(&s, "POST", buf_text(&url) + strlen("https://h"), buf_slice(&headers), sent,
                     NOW);
        s.request.url = buf_slice(&url);
        is_int(sample_verify(scheme, &s), SCHEME_GENUINE, "%zu verifies", i);
        s.request.now_seconds = NOW + 301;
        bool timed = placed[i].custom.timestamp_field.bytes != 0;
        is_int(sample_verify(scheme, &s), timed ? SCHEME_STALE : SCHEME_GENUINE);
        s.request.now_seconds = NOW;
        bool token = slice_equal(placed[i].custom.scheme, SLICE("token")) ||
                     slice_equal(placed[i].custom.scheme, SLICE("jwt"));
        s.request.body = slice_of(sent.at, sent.bytes - 2);
        ok(token || sample_verify(scheme, &s) != SCHEME_GENUINE, "%zu: a body cut is refused", i);
        sample_build(&s, "POST", "/hooks/x", SLICE(""), SLICE("{}"), NOW);
        is_int(sample_verify(scheme, &s), placed[i].empty);
        struct scheme_redaction redaction;
        sample_build(&s, "POST", "/x?b=1&key=a+b%26c", SLICE(""), SLICE("{}"), NOW);
        unsigned count = scheme_redactions(scheme, &s.request, &redaction, 1);
        bool in_query = slice_equal(placed[i].custom.signature_field, SLICE("?key"));
        struct slice shown = placed[i].custom.signature_field;
        if (slice_equal(shown, SLICE("?jwt"))) {
            sample_build(&s, "POST", "/x?jwt=a.b.c&b=1", SLICE(""), SLICE("{}"), NOW);
            is_uint(scheme_redactions(scheme, &s.request, &redaction, 1), 1,
                    "nor is a token shown");
            ok(memcmp(s.head_text + redaction.at, "a.b.c", redaction.bytes) == 0);
        }
        is_uint(count, in_query ? 1 : 0, "a secret in the query is blanked");
        ok(!in_query || memcmp(s.head_text + redaction.at, "a+b%26c", redaction.bytes) == 0);
        static const char *const spelled[] = {"%6bey", "k%65y", "%6B%65%79"};
        static const char *const others[] = {"%6key", "%256bey", "key%00", "ke", "%6bey+", "%6b%6"};
        for (size_t j = 0; j < 3; j++) {
            char target[64];
            snprintf(target, sizeof target, "/x?%s=1&%s=plain&c", others[j], spelled[j]);
            sample_build(&s, "POST", target, SLICE(""), SLICE("{}"), NOW);
            is_uint(scheme_redactions(scheme, &s.request, &redaction, 1), in_query ? 1 : 0,
                    "%s: also where its name is escaped", target);
            ok(!in_query ||
               (redaction.bytes == 5 && memcmp(s.head_text + redaction.at, "plain", 5) == 0));
            snprintf(target, sizeof target, "/x?%s=1&%s&%s=", others[j + 3], spelled[j],
                     spelled[j]);
            sample_build(&s, "POST", target, SLICE(""), SLICE("{}"), NOW);
            is_uint(scheme_redactions(scheme, &s.request, &redaction, 1), 0, "%s: none", target);
        }
        buf_fini(&headers);
        buf_fini(&body);
        buf_fini(&url);
        sample_scheme_free(scheme);
    }
}

/* A signature without a prefix beside a timestamp with one, or with none: then it is the first. */
static void bare_beside_time(void)
{
    static const char *const formats[] = {"t={timestamp},{hex}",     "{hex},t={timestamp}",
                                          "t={timestamp},{hex},...", "{timestamp},{hex}",
                                          "{timestamp},v={hex}",     "{timestamp},{hex},..."};
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        struct scheme_custom custom = {.scheme = SLICE("hmac"),
                                       .signature_header = SLICE("X-Sig"),
                                       .signature_format = slice_str(formats[i]),
                                       .signed_template = SLICE("{timestamp}.{body}")};
        struct scheme *scheme = compile(&custom, "k3y");
        struct scheme_send send = {.body = SLICE("{}"), .now_seconds = NOW};
        struct buf headers;
        struct sample s;
        buf_init(&headers, 1000);
        is_int(scheme_sign(scheme, &send, &headers), BK_OK);
        sample_build(&s, "POST", "/hooks/x", slice_of(headers.at, headers.bytes), SLICE("{}"), NOW);
        is_int(sample_verify(scheme, &s), SCHEME_GENUINE, "%s", formats[i]);
        s.request.body = SLICE("[]");
        is_int(sample_verify(scheme, &s), SCHEME_SIGNATURE_WRONG);
        buf_fini(&headers);
        sample_scheme_free(scheme);
    }
}

int main(void)
{
    unsigned wrong = 0;
    for (int i = 0; i < 3000; i++) {
        wrong += !random_row();
    }
    is_uint(wrong, 0, "random rows agree with an independent computation");
    refused();
    kinds();
    places();
    bare_beside_time();
    return done_testing();
}
