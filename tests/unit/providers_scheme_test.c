/* The scheme engine: what is signed by scheme_sign is genuine, anything altered is not; every
 * verdict; rotation, windows, sizes; identity, redactions, handshakes. */
#include "base/base64.h"
#include "base/hex.h"
#include "providers/row_code.h"
#include "providers/text.h"
#include "unit/providers_request.h"

#include <ctype.h>
#include <sodium.h>

#define NOW 1767225600LL

static uint64_t seed = 0xda942042e4dd58b5U;

static uint32_t below(uint32_t bound)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 33) % bound;
}

static const char *secret_for(const struct scheme_row *row)
{
    switch (row->secret) {
    case SECRET_BASE64:
        return "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    case SECRET_KEY:
        return "829a27427c7dbbd756a2d1edc1421532d571a96865e84776a8f3817bb70c4d5a";
    case SECRET_PUBLIC_KEY:
        return signature_key_kind(row->signature) == PUBLIC_KEY_RSA
                   ? "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAtAh00DsCrKbLPZ3qDkjY"
                     "wnIJJRCeSkkTB/XpOvfXLdN5Mkf+u2WIltc7WV4TkM9QoVBiuPW6IYC6ZVV3ro+C"
                     "H/fU1swg8D/CgvvSC9UMDmBepSDWHtI3YRwwXXPVT3OtUuSWX8GPqIyTub089bop"
                     "kmloDmCTe2d0Fzju5xMxu5glDBgeUIh9ZeFxwiLwVVvjyM+uikUBpg3SqQY1G2ni"
                     "ZJHhO/RAf0E/nDH3BMSUAVjJpDGR7B302c2Hf6GRfOk6J/2Sj9kXWUpFaySS4EXh"
                     "1wuv8m6za4+lPVOe42tw9vC4c6Onic2tLExi2D8RSQJ7RwaSDILpDjfRgqAlSBWQ"
                     "EwIDAQAB"
                   : "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAELZS/4+CKTEXZ9vNABR7V/fV/"
                     "a6FmKOdMnGSJ+vCtGjTpQf3kBRayCFYv"
                     "9UrT8fEhPQVT36WQbujIfcVQ/TXcLA==";
    case SECRET_HEX:
        return "44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056";
    case SECRET_NONE:
        return NULL;
    case SECRET_TEXT:
        break;
    }
    return row->kind == ROW_BASIC ? "user:pass:word" : "It's a Secret to Everybody";
}

static enum bk_err sign(const struct scheme *scheme, struct slice body, struct slice url,
                        struct buf *headers)
{
    struct scheme_send send = {
        .body = body, .id = SLICE("id-0001"), .url = url, .now_seconds = NOW};
    buf_init(headers, 10000);
    return scheme_sign(scheme, &send, headers);
}

/* A test delivery, also where the signature is in the body or in the URL. */
struct delivery {
    enum bk_err err;
    struct buf headers, body, url;
    struct slice sent_body, sent_url;
    const char *target;
};

static void deliver(const struct scheme *scheme, struct slice body, struct slice url,
                    struct delivery *d)
{
    struct scheme_send send = {.body = body,
                               .id = SLICE("id-0001"),
                               .url = url,
                               .now_seconds = NOW,
                               .ret_body = &d->body,
                               .ret_url = &d->url};
    buf_init(&d->headers, 10000);
    buf_init(&d->body, 10000);
    buf_init(&d->url, 10000);
    d->err = scheme_sign(scheme, &send, &d->headers);
    d->sent_body = d->body.bytes != 0 ? buf_slice(&d->body) : body;
    if (d->url.bytes == 0) {
        buf_add_slice(&d->url, url);
    }
    d->sent_url = buf_slice(&d->url);
    d->target = strchr(strstr(buf_text(&d->url), "://") + 3, '/');
}

static void deliver_again(const struct delivery *d, struct sample *s)
{
    sample_build(s, "POST", d->target, buf_slice(&d->headers), d->sent_body, NOW);
    s->request.url = d->sent_url;
}

static void delivery_fini(struct delivery *d)
{
    buf_fini(&d->headers);
    buf_fini(&d->body);
    buf_fini(&d->url);
}

#define URL    SLICE("https://hooks.example.com/hooks/x?a=b")
#define TARGET "/hooks/x?a=b"
#define BODY   SLICE("{\"webhookTimestamp\":1767225600000,\"id\":\"evt_1\",\"type\":\"t\"}")

/* ---- every row that can sign */

/* In a signature the two cases of a hex digit mean the same. */
static bool is_case_of_hex(char before, char after)
{
    return isxdigit((unsigned char)before) && (before ^ after) == 0x20 &&
           isxdigit((unsigned char)after);
}

/* Is the header at this line part of what the row checks? */
static bool is_checked(const struct scheme_row *row, const char *line)
{
    const char *const names[] = {
        row->header, row->timestamp,
        row->signed_template && strstr(row->signed_template, "{id}") ? row->id : NULL};
    for (size_t i = 0; i < 3; i++) {
        size_t n = names[i] ? strcspn(names[i], " ") : 0;
        if (n != 0 && strncmp(line, names[i], n) == 0 && line[n] == ':') {
            return true;
        }
    }
    return false;
}

/* Every bit is flipped; under the sanitizers one of every byte. */
static int first_bit(size_t byte)
{
    return TAP_SANITIZED ? (int)(byte % 8) : 0;
}

#define BIT_STEP  (TAP_SANITIZED ? 8 : 1)
#define FLAT_STEP (TAP_SANITIZED ? 9U : 1U)

/* Flip every bit of the values of the checked headers. What the parser refuses counts as refused.
 * */
static unsigned flip_headers(const struct scheme *scheme, const struct scheme_row *row,
                             const struct delivery *d)
{
    static struct sample s;
    unsigned passed = 0;
    char text[4096];
    memcpy(text, d->headers.at, d->headers.bytes);
    text[d->headers.bytes] = 0;
    for (char *line = text, *end; *line != 0; line = end + 2) {
        end = strstr(line, "\r\n");
        if (!is_checked(row, line)) {
            continue;
        }
        /* The other parameters of an HTTP signature are not signed: its key's name may change. */
        char *inside = strstr(line, "signature=\"");
        inside = inside != NULL && inside < end ? inside + 11 : NULL;
        char *stop = inside != NULL ? strchr(inside, '"') : end;
        for (char *c = inside != NULL ? inside : strchr(line, ':') + 2; c < stop; c++) {
            for (int bit = first_bit((size_t)(c - text)); bit < 8; bit += BIT_STEP) {
                char before = *c;
                *c ^= (char)(1 << bit);
                unsigned char now = (unsigned char)*c;
                bool sendable = now > ' ' && now != 127;
                bool named = row->kind == ROW_BASIC || row->kind == ROW_BEARER ||
                             row->kind == ROW_AUTHORIZATION ||
                             (strcmp(row->header, "Authorization") == 0 &&
                              c < strchr(line, ':') + 8); /* Bearer */
                bool same = (isxdigit((unsigned char)before) && is_case_of_hex(before, *c) &&
                             (row->format == NULL || strstr(row->format, "{hex}") != NULL)) ||
                            (named && (before ^ *c) == 0x20 && isalpha(now));
                if (sendable && !same) {
                    deliver_again(d, &s);
                    sample_build(&s, "POST", d->target, slice_of(text, d->headers.bytes),
                                 d->sent_body, NOW);
                    s.request.url = d->sent_url;
                    passed += sample_verify(scheme, &s) == SCHEME_GENUINE;
                }
                *c = before;
            }
        }
    }
    return passed;
}

static unsigned flip_body(const struct scheme *scheme, const struct delivery *d)
{
    static struct sample s;
    static uint8_t copy[512];
    unsigned passed = 0;
    deliver_again(d, &s);
    memcpy(copy, d->sent_body.at, d->sent_body.bytes);
    s.request.body.at = copy;
    for (size_t bit = 0; bit < 8 * d->sent_body.bytes; bit += FLAT_STEP) {
        copy[bit / 8] ^= (uint8_t)(1U << bit % 8);
        passed += sample_verify(scheme, &s) == SCHEME_GENUINE;
        copy[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    s.request.body.bytes--;
    passed += sample_verify(scheme, &s) == SCHEME_GENUINE;
    return passed;
}

/* What is signed of a body that is not signed as a whole: Mailgun's three fields. */
static unsigned flip_fields(const struct scheme *scheme, const struct delivery *d)
{
    static struct sample s;
    static uint8_t copy[512];
    unsigned passed = 0;
    deliver_again(d, &s);
    memcpy(copy, d->sent_body.at, d->sent_body.bytes);
    s.request.body.at = copy;
    const char *first = strchr(strstr((const char *)copy, "\"signature\":{") + 13, '"');
    size_t from = (size_t)((const uint8_t *)first - copy);
    size_t to = from + slice_find(slice_skip(s.request.body, from), '}');
    for (size_t bit = 8 * from; bit < 8 * to; bit += FLAT_STEP) {
        bool hex_case = bit % 8 == 5 && isalpha(copy[bit / 8]) && isxdigit(copy[bit / 8]);
        copy[bit / 8] ^= (uint8_t)(1U << bit % 8);
        passed += !hex_case && sample_verify(scheme, &s) == SCHEME_GENUINE;
        copy[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    return passed;
}

static unsigned flip_url(const struct scheme *scheme, const struct delivery *d)
{
    static struct sample s;
    static char copy[512];
    unsigned passed = 0;
    deliver_again(d, &s);
    memcpy(copy, d->sent_url.at, d->sent_url.bytes);
    s.request.url.at = (const uint8_t *)copy;
    for (size_t bit = 0; bit < 8 * d->sent_url.bytes; bit += FLAT_STEP) {
        copy[bit / 8] ^= (char)(1U << bit % 8);
        passed += sample_verify(scheme, &s) == SCHEME_GENUINE;
        copy[bit / 8] ^= (char)(1U << bit % 8);
    }
    return passed;
}

/* Where the signature, or the secret itself, is in the query. */
static unsigned flip_target(const struct scheme *scheme, const struct delivery *d)
{
    static struct sample s;
    unsigned passed = 0;
    char target[512];
    deliver_again(d, &s);
    passed += sample_verify(scheme, &s) != SCHEME_GENUINE;
    snprintf(target, sizeof target, "%s", d->target);
    for (char *c = strstr(target, "a=b") + 3; *c != 0; c++) {
        for (int bit = first_bit((size_t)(c - target)); bit < 8; bit += BIT_STEP) {
            char before = *c;
            *c ^= (char)(1 << bit);
            unsigned char now = (unsigned char)*c;
            bool sendable = isalnum(now) || (now != 0 && strchr("-._~+&=", now) != NULL);
            if (sendable && !is_case_of_hex(before, *c)) {
                sample_build(&s, "POST", target, buf_slice(&d->headers), d->sent_body, NOW);
                bool one = sample_verify(scheme, &s) == SCHEME_GENUINE;
                passed += one;
                if (one) {
                    diag("%s", target);
                }
            }
            *c = before;
        }
    }
    return passed;
}

/* A header that counts is there twice: the same again, or another one before or behind it, whose
 * name is in other letters. Another reader might take the other one. */
static unsigned double_headers(const struct scheme *scheme, const struct scheme_row *row,
                               const struct delivery *d)
{
    static struct sample s;
    unsigned passed = 0;
    char text[4096], more[8192];
    memcpy(text, d->headers.at, d->headers.bytes);
    text[d->headers.bytes] = 0;
    for (char *line = text, *end; *line != 0; line = end + 2) {
        end = strstr(line, "\r\n");
        for (unsigned how = 0; is_checked(row, line) && how < 3; how++) {
            size_t n = (size_t)(end - line), name = strcspn(line, ":");
            char other[2048];
            memcpy(other, line, n);
            other[n] = 0;
            for (size_t i = 0; i < name; i++) {
                other[i] = (char)toupper((unsigned char)other[i]);
            }
            if (how != 0) {
                other[n - 1] ^= 1;
            }
            snprintf(more, sizeof more, how == 1 ? "%s\r\n%s" : "%.0s%s%s\r\n", other, text, other);
            sample_build(&s, "POST", d->target, slice_str(more), d->sent_body, NOW);
            s.request.url = d->sent_url;
            enum scheme_verdict verdict = sample_verify(scheme, &s);
            if (verdict == SCHEME_GENUINE || verdict == SCHEME_HANDSHAKE) {
                diag("%s: %s twice (%u)", row->name, other, how);
                passed++;
            }
        }
    }
    return passed;
}

static void random_case(struct buf *headers)
{
    bool in_name = true;
    for (size_t i = 0; i < headers->bytes; i++) {
        char c = (char)headers->at[i];
        in_name = c == '\n' || (in_name && c != ':');
        if (in_name && below(2)) {
            headers->at[i] = (uint8_t)(isupper(c) ? tolower(c) : toupper(c));
        }
    }
}

/* Jira's, of OAuth apps, says nothing about the body. */
static bool is_bare_token(const struct scheme_row *row)
{
    return row->verify == jwt_verify && row->body_claim == NULL;
}

/* Signed, verified, and every bit of what is signed flipped. */
static void try_row(const struct scheme_row *row, const struct scheme *scheme, struct delivery *d)
{
    static struct sample s;
    const char *template = row->signed_template ? row->signed_template : "{body}";
    deliver_again(d, &s);
    is_int(sample_verify(scheme, &s), SCHEME_GENUINE, "%s verifies", row->name);
    is_uint(flip_headers(scheme, row, d), 0, "%s: headers altered", row->name);
    is_uint(double_headers(scheme, row, d), 0, "%s: headers twice", row->name);
    if ((row->kind == ROW_HMAC && (strstr(template, "{body}") || strstr(template, "{form}"))) ||
        row->body_hash != NULL || (row->kind == ROW_CODE && !is_bare_token(row))) {
        is_uint(flip_body(scheme, d), 0, "%s: body altered", row->name);
    } else if (row->kind == ROW_HMAC) {
        is_uint(flip_fields(scheme, d), 0, "%s: signed fields altered", row->name);
    }
    if (strstr(template, "{url") || row->url_claim != NULL) {
        is_uint(flip_url(scheme, d), 0, "%s: URL altered", row->name);
    }
    random_case(&d->headers);
    deliver_again(d, &s);
    is_int(sample_verify(scheme, &s), SCHEME_GENUINE, "%s: names in any case", row->name);
}

static void every_row(void)
{
    unsigned signing = 0;
    for (size_t i = 0; i < scheme_row_count(); i++) {
        const struct scheme_row *row = scheme_row_at(i);
        if (scheme_row_takes_claims(row)) {
            continue; /* needs an audience: the vectors have it */
        }
        struct scheme *scheme = sample_scheme(row->name, secret_for(row));
        struct delivery d;
        deliver(scheme, BODY, URL, &d);
        const char *with = scheme_row_sends_with(row);
        if (with == NULL || strcmp(with, "the secret") != 0) {
            is_int(d.err, BK_UNSUPPORTED, "%s cannot sign", row->name);
            is_uint(d.headers.bytes, 0);
        } else {
            is_int(d.err, BK_OK, "%s signs", row->name);
            try_row(row, scheme, &d);
            signing++;
        }
        delivery_fini(&d);
        sample_scheme_free(scheme);
    }
    ok(signing >= 50, "%u rows sign", signing);
}

/* The other ways of a row, each by itself: signed, verified, altered. */
static void every_other_way(void)
{
    static const char *const in_url[] = {"?signature", "?token"};
    unsigned ways = 0;
    for (size_t i = 0; i < scheme_row_count(); i++) {
        for (const struct scheme_row *one = scheme_row_at(i)->otherwise; one != NULL;
             one = one->otherwise) {
            struct scheme_row alone = *one;
            struct scheme *scheme = NULL;
            const char *message = NULL;
            size_t bytes;
            alone.otherwise = NULL;
            alone.name = scheme_row_at(i)->name;
            struct slice secret = slice_str(secret_for(&alone));
            if (scheme_compile(&alone, &secret, 1, -1, &scheme, &bytes, &message) != BK_OK) {
                bail_out("%s: %s", alone.name, message);
            }
            struct delivery d;
            deliver(scheme, BODY, URL, &d);
            bool placed = false;
            for (size_t k = 0; k < sizeof in_url / sizeof in_url[0]; k++) {
                placed |= strcmp(alone.header, in_url[k]) == 0;
            }
            if (d.err == BK_OK && placed) {
                is_uint(flip_target(scheme, &d), 0, "%s: in the URL, altered", alone.name);
            } else if (d.err == BK_OK) {
                try_row(&alone, scheme, &d);
            }
            ways += d.err == BK_OK;
            delivery_fini(&d);
            sample_scheme_free(scheme);
        }
    }
    ok(ways >= 25, "%u other ways", ways);
}

static void table(void)
{
    for (size_t i = 0; i < scheme_row_count(); i++) {
        const struct scheme_row *row = scheme_row_at(i);
        char upper[64];
        bool good = true;
        snprintf(upper, sizeof upper, "TYPE_%s", row->name);
        for (char *c = upper; *c; c++) {
            good &= c < upper + 5 || islower((unsigned char)*c) || isdigit((unsigned char)*c) ||
                    *c == '-';
            *c = *c == '-' ? '_' : (char)toupper((unsigned char)*c);
        }
        ok(good && scheme_row_find(slice_str(row->name)) == row &&
               scheme_row_find(slice_str(upper)) == row &&
               scheme_row_find(slice_str(upper + 5)) == row,
           "%s and %s are the same row", row->name, upper);
        ok(row->documentation != NULL && strncmp(row->documentation, "https://", 8) == 0);
        ok(row->title != NULL && row->needs != NULL, "%s: what it is and what it needs", row->name);
        ok(scheme_row_needs_secret(row) != scheme_row_takes_claims(row));
    }
    ok(scheme_row_find(SLICE("nobody")) == NULL && scheme_row_find(SLICE("")) == NULL);
    ok(scheme_row_find(SLICE("generic")) == NULL, "generic rows are made");
    is_int(scheme_row_tolerance_seconds(scheme_row_find(SLICE("github"))), 0);
    is_int(scheme_row_tolerance_seconds(scheme_row_find(SLICE("gitlab"))), 300);
    is_int(scheme_row_tolerance_seconds(scheme_row_find(SLICE("slack"))), 300);
    is_int(scheme_row_tolerance_seconds(scheme_row_find(SLICE("linear"))), 60);
    for (int v = 0; v < SCHEME_VERDICT_COUNT; v++) {
        if (strcmp(scheme_verdict_name((enum scheme_verdict)v), "unknown") == 0) {
            continue; /* a number that another part of the tree has taken */
        }
        ok(strlen(scheme_verdict_text((enum scheme_verdict)v)) > 5);
        ok(strlen(scheme_verdict_name((enum scheme_verdict)v)) > 4);
    }
}

/* ---- verdicts */

struct verdict_case {
    const char *row, *secret, *headers, *body;
    enum scheme_verdict want;
};

#define STRIPE_MAC    "3f961ed8d9162cb6843e77dc517ac3d1323fac68b6a1809d5a1ed559f75afdce"
#define STRIPE_BODY   "{\"id\":\"evt_3\",\"object\":\"event\"}"
#define STRIPE        "stripe", "whsec_test_becket_stripe"
#define HELLO_MAC     "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
#define GITHUB        "github", "It's a Secret to Everybody"
#define SW            "standard-webhooks", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
#define SW_BODY       "{\"type\":\"invoice.paid\",\"data\":{\"id\":1}}"
#define SW_ID         "webhook-id: msg_p5jXN8AQM9LWM0D4loKWxJek\r\n"
#define SW_TIME       "webhook-timestamp: 1767225600\r\n"
#define SW_SIGNATURE  "webhook-signature: v1,3Ct52xmC0lUAZBL9YLbyv0D4BOA1hrFdbi1E1ATj5zw=\r\n"
#define BUILDKITE_MAC "ba9170a5544f572ac4aa337998ae8489ca81af27f3b3dda2661111814a9dd771"
#define ZERO32        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

static const struct verdict_case verdict_cases[] = {
    {GITHUB, "X-Hub-Signature-256: sha256=" HELLO_MAC "\r\n", "Hello, World!", SCHEME_GENUINE},
    {GITHUB, "", "Hello, World!", SCHEME_SIGNATURE_MISSING},
    {GITHUB, "X-Hub-Signature-256:\r\n", "Hello, World!", SCHEME_SIGNATURE_MISSING},
    {GITHUB, "X-Hub-Signature-256: sha256=\r\n", "Hello, World!", SCHEME_SIGNATURE_MALFORMED},
    {GITHUB, "X-Hub-Signature-256: SHA256=" HELLO_MAC "\r\n", "Hello, World!",
     SCHEME_SIGNATURE_MALFORMED},
    {GITHUB, "X-Hub-Signature-256: sha256=" HELLO_MAC "00\r\n", "Hello, World!",
     SCHEME_SIGNATURE_MALFORMED},
    {GITHUB, "X-Hub-Signature-256: sha256= " HELLO_MAC "\r\n", "Hello, World!",
     SCHEME_SIGNATURE_MALFORMED},
    {GITHUB, "X-Hub-Signature-256: sha256=" HELLO_MAC ",\r\n", "Hello, World!",
     SCHEME_SIGNATURE_MALFORMED},
    {GITHUB, "X-Hub-Signature-256: sha256=" HELLO_MAC "\r\n", "Hello, World",
     SCHEME_SIGNATURE_WRONG},
    {GITHUB,
     "X-Hub-Signature-256: sha256=" HELLO_MAC "\r\nX-Hub-Signature-256: sha256=" HELLO_MAC "\r\n",
     "Hello, World!", SCHEME_SIGNATURE_DOUBLED},
    {"semaphore", "It's a Secret to Everybody", "X-Semaphore-Signature-256: " HELLO_MAC "\r\n",
     "Hello, World!", SCHEME_GENUINE},
    {"semaphore", "It's a Secret to Everybody",
     "X-Semaphore-Signature-256: sha256=" HELLO_MAC "\r\n", "Hello, World!", SCHEME_GENUINE},
    {"semaphore", "It's a Secret to Everybody", "X-Semaphore-Signature-256: sha1=" HELLO_MAC "\r\n",
     "Hello, World!", SCHEME_SIGNATURE_MALFORMED},
    {STRIPE, "Stripe-Signature: t=1767225599,v1=" STRIPE_MAC "\r\n", STRIPE_BODY, SCHEME_GENUINE},
    {STRIPE, "Stripe-Signature: t=1767225599, v1=" STRIPE_MAC " ,\r\n", STRIPE_BODY,
     SCHEME_GENUINE},
    {STRIPE, "Stripe-Signature: v1=zz,t=1767225599,v1=" STRIPE_MAC "\r\n", STRIPE_BODY,
     SCHEME_GENUINE},
    {STRIPE, "Stripe-Signature: t=1767225599,t=1767225599,v1=" STRIPE_MAC "\r\n", STRIPE_BODY,
     SCHEME_SIGNATURE_MALFORMED},
    {STRIPE, "Stripe-Signature: t=1767225599;v1=" STRIPE_MAC "\r\n", STRIPE_BODY,
     SCHEME_SIGNATURE_MALFORMED},
    {STRIPE, "Stripe-Signature: T=1767225599,V1=" STRIPE_MAC "\r\n", STRIPE_BODY,
     SCHEME_SIGNATURE_MALFORMED},
    {STRIPE, "Stripe-Signature: v1=" STRIPE_MAC "\r\n", STRIPE_BODY, SCHEME_TIMESTAMP_MISSING},
    {STRIPE, "Stripe-Signature: t=,v1=" STRIPE_MAC "\r\n", STRIPE_BODY, SCHEME_TIMESTAMP_MISSING},
    {STRIPE, "Stripe-Signature: t=+1767225599,v1=" STRIPE_MAC "\r\n", STRIPE_BODY,
     SCHEME_TIMESTAMP_MALFORMED},
    {STRIPE, "Stripe-Signature: t=-5,v1=" STRIPE_MAC "\r\n", STRIPE_BODY,
     SCHEME_TIMESTAMP_MALFORMED},
    {STRIPE, "Stripe-Signature: t=1767225599.0,v1=" STRIPE_MAC "\r\n", STRIPE_BODY,
     SCHEME_TIMESTAMP_MALFORMED},
    {STRIPE, "Stripe-Signature: t=18446744073709551616,v1=" STRIPE_MAC "\r\n", STRIPE_BODY,
     SCHEME_TIMESTAMP_MALFORMED},
    {STRIPE, "Stripe-Signature: t=999999999999999999,v1=" STRIPE_MAC "\r\n", STRIPE_BODY,
     SCHEME_SIGNATURE_WRONG},
    {SW, SW_ID SW_TIME SW_SIGNATURE, SW_BODY, SCHEME_GENUINE},
    {SW, SW_TIME SW_SIGNATURE, SW_BODY, SCHEME_ID_MISSING},
    {SW, "webhook-id:\r\n" SW_TIME SW_SIGNATURE, SW_BODY, SCHEME_ID_MISSING},
    {SW, SW_ID SW_SIGNATURE, SW_BODY, SCHEME_TIMESTAMP_MISSING},
    {SW, SW_ID SW_ID SW_TIME SW_SIGNATURE, SW_BODY, SCHEME_SIGNATURE_DOUBLED},
    {SW, SW_ID SW_TIME SW_TIME SW_SIGNATURE, SW_BODY, SCHEME_SIGNATURE_DOUBLED},
    {SW, SW_ID SW_TIME SW_SIGNATURE SW_SIGNATURE, SW_BODY, SCHEME_SIGNATURE_DOUBLED},
    {SW,
     SW_ID SW_TIME "webhook-signature: v1," ZERO32 " v1," ZERO32 " v1," ZERO32 " v1," ZERO32
                   " v1," ZERO32 " v1," ZERO32 " v1," ZERO32
                   " v1,3Ct52xmC0lUAZBL9YLbyv0D4BOA1hrFdbi1E1ATj5zw=\r\n",
     SW_BODY, SCHEME_GENUINE},
    {SW,
     SW_ID SW_TIME "webhook-signature: v1," ZERO32 " v1," ZERO32 " v1," ZERO32 " v1," ZERO32
                   " v1," ZERO32 " v1," ZERO32 " v1," ZERO32 " v1," ZERO32
                   " v1,3Ct52xmC0lUAZBL9YLbyv0D4BOA1hrFdbi1E1ATj5zw=\r\n",
     SW_BODY, SCHEME_SIGNATURE_MALFORMED},
    {"gitlab", "tok", "X-Gitlab-Token: tok\r\n", "{}", SCHEME_GENUINE},
    {"gitlab", "tok", "X-Gitlab-Token: Tok\r\n", "{}", SCHEME_SIGNATURE_WRONG},
    {"gitlab", "tok", "X-Gitlab-Token: tok\r\nX-Gitlab-Token: tok\r\n", "{}",
     SCHEME_SIGNATURE_DOUBLED},
    {"gitlab", "whsec_Z2l0bGFiLXNpZ25pbmctdG9rZW4tMzItYnl0ZXMhISE=",
     "X-Gitlab-Token: whsec_Z2l0bGFiLXNpZ25pbmctdG9rZW4tMzItYnl0ZXMhISE=\r\n", "{}",
     SCHEME_SIGNATURE_MISSING},
    {"basic", "u:p", "Authorization: Basic dTpw\r\n", "", SCHEME_GENUINE},
    {"basic", "u:p", "Authorization: Basic  dTpw\r\n", "", SCHEME_SIGNATURE_MALFORMED},
    {"basic", "u:p", "Authorization: Basic\r\n", "", SCHEME_SIGNATURE_MALFORMED},
    {"basic", "u:p", "Authorization: Basic dTpx\r\n", "", SCHEME_SIGNATURE_WRONG},
    {"bearer", "t", "Authorization: BEARER t\r\n", "", SCHEME_GENUINE},
    {"bearer", "t", "Authorization: Bearer  t\r\n", "", SCHEME_SIGNATURE_WRONG},
    {"bearer", "t", "Authorization: Bearert\r\n", "", SCHEME_SIGNATURE_MALFORMED},
    /* A value of one kind is not checked as the other. */
    {SW,
     SW_ID SW_TIME "webhook-signature: v1a,3Ct52xmC0lUAZBL9YLbyv0D4BOA1hrFdbi1E1ATj5zzc"
                   "K3nbGYLSVQBkEv1gtvK/QPgE4DWGsV1uLUTUBOPnPA==\r\n",
     SW_BODY, SCHEME_SIGNATURE_WRONG},
    {STRIPE, "Stripe-Signature: t=176722559:,v1=" STRIPE_MAC "\r\n", STRIPE_BODY,
     SCHEME_TIMESTAMP_MALFORMED},
    {"buildkite", "s",
     "X-Buildkite-Signature: timestamp=1767225600,signature=" BUILDKITE_MAC "\r\n", "{}",
     SCHEME_GENUINE},
    {"buildkite", "s",
     "X-Buildkite-Signature: timestamp=1767225600,signature=" BUILDKITE_MAC
     ",signature=" BUILDKITE_MAC "\r\n",
     "{}", SCHEME_SIGNATURE_MALFORMED},
    {"buildkite", "s",
     "X-Buildkite-Signature: timestamp=1767225600,signature=" BUILDKITE_MAC ",x=y\r\n", "{}",
     SCHEME_SIGNATURE_MALFORMED},
    {"linear", "s", "Linear-Signature: " HELLO_MAC "\r\n", "{}", SCHEME_SIGNATURE_WRONG},
};

static void verdicts(void)
{
    static struct sample s;
    for (size_t i = 0; i < sizeof verdict_cases / sizeof verdict_cases[0]; i++) {
        const struct verdict_case *c = &verdict_cases[i];
        struct scheme *scheme = sample_scheme(c->row, c->secret);
        sample_build(&s, "POST", "/", slice_str(c->headers), slice_str(c->body), NOW);
        is_int(sample_verify(scheme, &s), c->want, "%s %.90s: %s", c->row, c->headers,
               scheme_verdict_name(c->want));
        sample_scheme_free(scheme);
    }
}

/* ---- time */

static void window(const char *name, int64_t tolerance_given, int64_t tolerance)
{
    static struct sample s;
    struct scheme *scheme = NULL;
    size_t bytes;
    const char *message;
    const struct scheme_row *row = scheme_row_find(slice_str(name));
    struct slice secret = slice_str(secret_for(row));
    if (scheme_compile(row, &secret, 1, tolerance_given, &scheme, &bytes, &message) != BK_OK) {
        bail_out("%s", message);
    }
    struct delivery d;
    deliver(scheme, BODY, URL, &d);
    is_int(d.err, BK_OK);
    deliver_again(&d, &s);
    const struct {
        int64_t age;
        enum scheme_verdict want;
    } cases[] = {{0, SCHEME_GENUINE},
                 {tolerance, SCHEME_GENUINE},
                 {-tolerance, SCHEME_GENUINE},
                 {tolerance + 1, SCHEME_STALE},
                 {-tolerance - 1, SCHEME_FUTURE},
                 {1000000000, SCHEME_STALE},
                 {-1000000000, SCHEME_FUTURE}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        s.request.now_seconds = NOW + cases[i].age;
        is_int(sample_verify(scheme, &s), tolerance_given == 0 ? SCHEME_GENUINE : cases[i].want,
               "%s %lld s old, tolerance %lld", name, (long long)cases[i].age,
               (long long)tolerance_given);
    }
    delivery_fini(&d);
    sample_scheme_free(scheme);
}

/* The edges of every row that has a window, and none where there is none. */
static void every_window(void)
{
    static struct sample s;
    unsigned timed = 0;
    for (size_t i = 0; i < scheme_row_count(); i++) {
        const struct scheme_row *row = scheme_row_at(i);
        const char *with = scheme_row_sends_with(row);
        int64_t tolerance = scheme_row_tolerance_seconds(row);
        bool token = row->kind == ROW_CODE && row->secret != SECRET_TEXT;
        if (with == NULL || strcmp(with, "the secret") != 0 || token) {
            continue;
        }
        /* Of other ways of signing the same row may have, too; they are not what it signs with. */
        bool has_time = row->timestamp != NULL || row->verify == http_signature_verify ||
                        (row->format != NULL && strstr(row->format, "{timestamp}") != NULL);
        if (tolerance > 0 && has_time) {
            window(row->name, -1, tolerance);
            timed++;
            continue;
        }
        struct scheme *scheme = sample_scheme(row->name, secret_for(row));
        struct delivery d;
        deliver(scheme, BODY, URL, &d);
        deliver_again(&d, &s);
        s.request.now_seconds = NOW + (row->verify == jwt_verify ? 0 : 1000000000);
        is_int(sample_verify(scheme, &s), SCHEME_GENUINE, "%s: no age", row->name);
        delivery_fini(&d);
        sample_scheme_free(scheme);
    }
    ok(timed >= 15, "%u rows have a window", timed);
}

/* Tokens that are signed with the secret: the sender's clock may be a little ahead of ours. */
static void every_skew(void)
{
    static struct sample s;
    unsigned skewed = 0;
    for (size_t i = 0; i < scheme_row_count(); i++) {
        const struct scheme_row *row = scheme_row_at(i);
        if (row->verify != jwt_verify || !row->hs256) {
            continue;
        }
        struct scheme *scheme = sample_scheme(row->name, secret_for(row));
        struct delivery d;
        deliver(scheme, BODY, URL, &d);
        deliver_again(&d, &s);
        s.request.now_seconds = NOW - 30;
        is_int(sample_verify(scheme, &s), SCHEME_GENUINE, "%s: a clock behind", row->name);
        s.request.now_seconds = NOW - 100;
        is_int(sample_verify(scheme, &s), SCHEME_TOKEN_EARLY, "%s: far behind", row->name);
        if (row->url_claim != NULL) {
            s.request.now_seconds = NOW;
            s.request.url = SLICE_EMPTY;
            is_int(sample_verify(scheme, &s), SCHEME_CLAIM_WRONG, "%s: no URL known", row->name);
            s.request.base = SLICE("https://hooks.example.com");
            is_int(sample_verify(scheme, &s), SCHEME_GENUINE, "%s: our address", row->name);
            s.request.base = SLICE("https://other.example.com");
            is_int(sample_verify(scheme, &s), SCHEME_CLAIM_WRONG, "%s: another", row->name);
        }
        delivery_fini(&d);
        sample_scheme_free(scheme);
        skewed++;
    }
    ok(skewed >= 5, "%u rows have tokens of their secret", skewed);
}

static void linear_time(void)
{
    static struct sample s;
    struct scheme *scheme = sample_scheme("linear", "s");
    static const struct {
        const char *body;
        enum scheme_verdict want;
    } cases[] = {
        {"{}", SCHEME_TIMESTAMP_MISSING},
        {"not json", SCHEME_TIMESTAMP_MISSING},
        {"{\"webhookTimestamp\":\"soon\"}", SCHEME_TIMESTAMP_MALFORMED},
        {"{\"webhookTimestamp\":1e12}", SCHEME_TIMESTAMP_MALFORMED},
        {"{\"webhookTimestamp\":1767225540000}", SCHEME_GENUINE},
        {"{\"webhookTimestamp\":1767225539999}", SCHEME_STALE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf headers;
        is_int(sign(scheme, slice_str(cases[i].body), URL, &headers), BK_OK);
        sample_build(&s, "POST", "/", buf_slice(&headers), slice_str(cases[i].body), NOW);
        is_int(sample_verify(scheme, &s), cases[i].want, "%s", cases[i].body);
        buf_fini(&headers);
    }
    sample_scheme_free(scheme);
}

/* ---- secrets */

static void rotation(void)
{
    static struct sample s;
    const struct scheme_row *row = scheme_row_find(SLICE("github"));
    static const char *const texts[] = {"s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8"};
    for (unsigned count = 1; count <= SECRETS_PER_SOURCE_MAX; count++) {
        struct slice secrets[SECRETS_PER_SOURCE_MAX];
        struct scheme *scheme = NULL;
        size_t bytes;
        const char *message;
        unsigned wrong = 0;
        for (unsigned i = 0; i < count; i++) {
            secrets[i] = slice_str(texts[i]);
        }
        is_int(scheme_compile(row, secrets, count, -1, &scheme, &bytes, &message), BK_OK);
        for (unsigned i = 0; i < 9 && scheme != NULL; i++) {
            struct scheme *one = sample_scheme("github", texts[i]);
            struct buf headers;
            wrong += sign(one, BODY, URL, &headers) != BK_OK;
            sample_build(&s, "POST", "/", buf_slice(&headers), BODY, NOW);
            wrong += (sample_verify(scheme, &s) == SCHEME_GENUINE) != (i < count);
            buf_fini(&headers);
            sample_scheme_free(one);
        }
        is_uint(wrong, 0, "any of %u secrets and no other", count);
        sample_scheme_free(scheme);
    }
}

/* Every row: the old and the new secret are taken while both are configured, a third never. */
static void every_row_rotates(void)
{
    static struct sample s;
    static const char *const base64[] = {"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
                                         "whsec_AAAQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
                                         "whsec_BBBQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"};
    static const char *const hex[] = {"44782DEF547AAA06", "54782DEF547AAA06", "64782DEF547AAA06"};
    static const char *const plain[] = {"user:one", "user:two", "user:three"};
    unsigned rows = 0;
    for (size_t i = 0; i < scheme_row_count(); i++) {
        const struct scheme_row *row = scheme_row_at(i);
        const char *const *texts = row->secret == SECRET_BASE64 ? base64
                                   : row->secret == SECRET_HEX  ? hex
                                                                : plain;
        struct slice secrets[] = {slice_str(texts[0]), slice_str(texts[1])};
        struct scheme *both = NULL;
        size_t bytes;
        const char *message;
        const char *with = scheme_row_sends_with(row);
        if (row->secret > SECRET_HEX || row->kind == ROW_AUTO || with == NULL ||
            strcmp(with, "the secret") != 0) {
            continue;
        }
        is_int(scheme_compile(row, secrets, 2, -1, &both, &bytes, &message), BK_OK);
        for (unsigned k = 0; k < 3 && both != NULL; k++) {
            struct scheme *one = sample_scheme(row->name, texts[k]);
            struct delivery d;
            deliver(one, BODY, URL, &d);
            is_int(d.err, BK_OK);
            deliver_again(&d, &s);
            ok((sample_verify(both, &s) == SCHEME_GENUINE) == (k < 2), "%s: secret %u of two",
               row->name, k);
            delivery_fini(&d);
            sample_scheme_free(one);
        }
        sample_scheme_free(both);
        rows++;
    }
    ok(rows >= 50, "%u rows", rows);
}

/* The value of the row's signature header in a test delivery with this secret. */
static void signature_with(const struct scheme_row *row, const char *secret, char value[1024],
                           struct buf *headers)
{
    struct scheme *scheme = sample_scheme(row->name, secret);
    struct delivery d;
    deliver(scheme, BODY, URL, &d);
    const char *text = buf_text(&d.headers);
    size_t bytes = strlen(row->header);
    while (strncmp(text, row->header, bytes) != 0 || text[bytes] != ':') {
        text = strchr(text, '\n') + 1;
    }
    snprintf(value, 1024, "%.*s", (int)strcspn(text + bytes + 2, "\r"), text + bytes + 2);
    buf_init(headers, 4096);
    buf_add_slice(headers, buf_slice(&d.headers));
    delivery_fini(&d);
    sample_scheme_free(scheme);
}

/* Where a list of signatures may come, one that matches is enough, wherever it stands. */
static void every_list(void)
{
    static struct sample s;
    unsigned lists = 0;
    for (size_t i = 0; i < scheme_row_count(); i++) {
        const struct scheme_row *row = scheme_row_at(i);
        const char *open = row->format != NULL ? strstr(row->format, "...") : NULL;
        if (open == NULL) {
            continue;
        }
        bool base64 = row->secret == SECRET_BASE64;
        const char *one = base64 ? "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" : "user:one";
        const char *two = base64 ? "whsec_AAAQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" : "user:two";
        char right[1024], other[1024], both[3000];
        struct buf headers, others;
        signature_with(row, one, right, &headers);
        signature_with(row, two, other, &others);
        const char *const pairs[3][2] = {{right, other}, {other, right}, {other, other}};
        struct scheme *scheme = sample_scheme(row->name, one);
        const char *line = strstr(buf_text(&headers), right);
        for (size_t k = 0; k < 3; k++) {
            const char *last = strrchr(pairs[k][1], open[-1]);
            snprintf(both, sizeof both, "%.*s%s%c%s%s", (int)(line - buf_text(&headers)),
                     buf_text(&headers), pairs[k][0], open[-1],
                     last != NULL ? last + 1 : pairs[k][1], line + strlen(right));
            sample_build(&s, "POST", TARGET, slice_str(both), BODY, NOW);
            s.request.url = URL;
            is_int(sample_verify(scheme, &s), k == 2 ? SCHEME_SIGNATURE_WRONG : SCHEME_GENUINE,
                   "%s: %s", row->name, k == 2 ? "two, neither of them ours" : "one of two");
        }
        lists++;
        buf_fini(&headers);
        buf_fini(&others);
        sample_scheme_free(scheme);
    }
    ok(lists >= 12, "%u rows take lists", lists);
}

/* Tokens and passwords rotate too. */
static void token_rotation(void)
{
    static struct sample s;
    struct slice secrets[] = {SLICE("a:one"), SLICE("b:two"), SLICE("c:three")};
    static const struct {
        const char *row, *headers[3], *other;
    } cases[] = {
        {"gitlab",
         {"X-Gitlab-Token: a:one\r\n", "X-Gitlab-Token: b:two\r\n", "X-Gitlab-Token: c:three\r\n"},
         "X-Gitlab-Token: d:four\r\n"},
        {"basic",
         {"Authorization: Basic YTpvbmU=\r\n", "Authorization: Basic Yjp0d28=\r\n",
          "Authorization: Basic Yzp0aHJlZQ==\r\n"},
         "Authorization: Basic ZDpmb3Vy\r\n"},
    };
    for (size_t i = 0; i < 2; i++) {
        struct scheme *scheme = NULL;
        size_t bytes;
        const char *message;
        const struct scheme_row *row = scheme_row_find(slice_str(cases[i].row));
        is_int(scheme_compile(row, secrets, 3, -1, &scheme, &bytes, &message), BK_OK);
        for (int k = 0; k < 3; k++) {
            sample_build(&s, "POST", "/", slice_str(cases[i].headers[k]), SLICE("{}"), NOW);
            is_int(sample_verify(scheme, &s), SCHEME_GENUINE, "%s: token %d", cases[i].row, k);
        }
        sample_build(&s, "POST", "/", slice_str(cases[i].other), SLICE("{}"), NOW);
        is_int(sample_verify(scheme, &s), SCHEME_SIGNATURE_WRONG, "%s: another", cases[i].row);
        sample_scheme_free(scheme);
    }
}

static void secrets_refused(void)
{
    static const struct {
        const char *row, *secret;
    } cases[] = {
        {"github", ""},
        {"gitlab", ""},
        {"basic", "nocolon"},
        {"bearer", " tok"},
        {"bearer", "tok "},
        {"standard-webhooks", "whsec_"},
        {"standard-webhooks", "whsec_!!!"},
        {"standard-webhooks", "whpk_AAAA"},
        {"standard-webhooks", "not base64"},
        {"render", "whpk_Djcn4BKhygj9KGzjUXP0R1jOlj8Rn9KjXH5QniP2cPU="},
        {"gitlab", "whsec_%"},
        {"discord", "829a"},
        {"discord", "secret"},
    };
    struct scheme *scheme;
    size_t bytes;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *message = NULL;
        struct slice secret = slice_str(cases[i].secret);
        const struct scheme_row *row = scheme_row_find(slice_str(cases[i].row));
        is_int(scheme_compile(row, &secret, 1, -1, &scheme, &bytes, &message), BK_INVALID,
               "%s does not take '%s'", cases[i].row, cases[i].secret);
        ok(message != NULL && scheme == NULL && bytes == 0, "%s", message ? message : "no reason");
    }
    const char *message = NULL;
    const struct scheme_row *github = scheme_row_find(SLICE("github"));
    struct slice many[SECRETS_PER_SOURCE_MAX + 1];
    for (size_t i = 0; i < sizeof many / sizeof many[0]; i++) {
        many[i] = SLICE("s");
    }
    is_int(scheme_compile(github, NULL, 0, -1, &scheme, &bytes, &message), BK_INVALID);
    is_int(scheme_compile(github, many, SECRETS_PER_SOURCE_MAX + 1, -1, &scheme, &bytes, &message),
           BK_INVALID);
    many[1] = SLICE_EMPTY;
    is_int(scheme_compile(github, many, 2, -1, &scheme, &bytes, &message), BK_INVALID,
           "an empty secret among others");
    many[0] = SLICE("whsec_Z2l0bGFiLXNpZ25pbmctdG9rZW4tMzItYnl0ZXMhISE=");
    is_int(scheme_compile(scheme_row_find(SLICE("gitlab")), many, 2, -1, &scheme, &bytes, &message),
           BK_INVALID, "an empty secret next to a signing token");
}

/* A signing token next to a plain one: the plain one is not enough. */
static void gitlab_modes(void)
{
    static struct sample s;
    struct slice secrets[] = {SLICE("plain"),
                              SLICE("whsec_Z2l0bGFiLXNpZ25pbmctdG9rZW4tMzItYnl0ZXMhISE=")};
    struct scheme *scheme = NULL;
    struct scheme_identity identity;
    struct scheme_redaction redactions[SCHEME_REDACTIONS];
    size_t bytes;
    const char *message;
    is_int(
        scheme_compile(scheme_row_find(SLICE("gitlab")), secrets, 2, -1, &scheme, &bytes, &message),
        BK_OK);
    sample_build(&s, "POST", "/", SLICE("X-Gitlab-Token: plain\r\n"), SLICE("{}"), NOW);
    is_int(sample_verify(scheme, &s), SCHEME_SIGNATURE_MISSING, "the plain token is not enough");
    struct slice headers = SLICE(
        "X-Gitlab-Token: plain\r\nX-Gitlab-Event: Push Hook\r\n"
        "X-Gitlab-Event-UUID: 13792a34-cac6-4fda-95a8-c58e00a3954e\r\n"
        "webhook-id: f5ca58c2-fb88-4b1c-a52e-2c3e2f2f1111\r\nwebhook-timestamp: 1767225600\r\n"
        "webhook-signature: v1,7adM53BpU+V43kk+5WQfCnbmhNESMTeiP8MaH7XEG0E=\r\n");
    struct slice body =
        SLICE("{\"object_kind\":\"push\",\"project\":{\"id\":15,\"path_with_namespace\":\"g/p\"}}");
    sample_build(&s, "POST", "/", headers, body, NOW);
    is_int(sample_verify(scheme, &s), SCHEME_GENUINE);
    scheme_identify(scheme, &s.request, &identity);
    is_bytes(identity.delivery_id.at, identity.delivery_id.bytes,
             "f5ca58c2-fb88-4b1c-a52e-2c3e2f2f1111", 36);
    is_uint(scheme_redactions(scheme, &s.request, redactions, SCHEME_REDACTIONS), 1);
    is_mem(s.head_text + redactions[0].at, "plain", 5, "the token is blanked in both modes");
    is_str(scheme_row_name(scheme_row(scheme)), "gitlab");
    sample_scheme_free(scheme);
}

/* ---- size: a server may have a million sources */

static size_t size_with(const char *name, const char *text, unsigned count)
{
    struct slice secrets[SECRETS_PER_SOURCE_MAX];
    struct scheme *scheme;
    size_t bytes;
    const char *message;
    for (unsigned i = 0; i < count; i++) {
        secrets[i] = slice_str(text);
    }
    if (scheme_compile(scheme_row_find(slice_str(name)), secrets, count, -1, &scheme, &bytes,
                       &message) != BK_OK) {
        bail_out("%s: %s", name, message);
    }
    scheme_wipe(scheme);
    free(scheme);
    return bytes;
}

static void sizes(void)
{
    const char *whsec = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    size_t one = size_with("github", "0123456789abcdef0123456789abcdef", 1);
    ok(one <= 104, "one HMAC key: %zu bytes", one);
    is_uint(size_with("github", "s", 2), one + (one - sizeof(void *) * 3), "two keys");
    is_uint(size_with("svix", whsec, 1), one, "both ways of signing use the same key");
    is_uint(size_with("grafana", "s", 1), one);
    ok(size_with("buildkite", "s", 1) > one, "MAC and token are different keys");
    is_uint(size_with("buildkite", "12345", 1), size_with("buildkite", "1", 1) + 4);
    ok(size_with("vercel", "s", 1) <= 200, "SHA-1");
}

/* ---- bodies */

static void bodies(void)
{
    static struct sample s;
    size_t n = 1 << 20;
    uint8_t *big = malloc(n);
    if (big == NULL) {
        bail_out("memory");
    }
    for (size_t i = 0; i < n; i++) {
        big[i] = (uint8_t)below(256);
    }
    big[0] = 0x80; /* no word that a challenge may be */
    for (size_t r = 0; r < scheme_row_count(); r++) {
        const struct scheme_row *row = scheme_row_at(r);
        const char *template = row->signed_template ? row->signed_template : "{body}";
        bool in_body = row->timestamp != NULL && row->timestamp[0] == '/';
        bool digest = row->verify == http_signature_verify || row->body_hash != NULL ||
                      (row->body_claim != NULL && row->hs256);
        if (!digest && (row->kind != ROW_HMAC || in_body || !strstr(template, "{body}"))) {
            continue; /* no body is signed, or one of a certain form only */
        }
        struct scheme *scheme = sample_scheme(row->name, secret_for(row));
        unsigned wrong = 0;
        /* Under the sanitizers each row sees many blocks, and some rows a great many. */
        bool all = !TAP_SANITIZED || r % 10 == 0;
        const size_t sizes[] = {0, 1, 55, 56, 63, 64, 65, 1000, all ? n : 20000};
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            struct delivery d;
            deliver(scheme, slice_of(big, sizes[i]), URL, &d);
            wrong += d.err != BK_OK;
            deliver_again(&d, &s);
            /* Nothing is what LinkedIn's challenge may be the signature of. */
            bool words = sizes[i] == 0 && strcmp(row->name, "linkedin") == 0;
            wrong += sample_verify(scheme, &s) != (words ? SCHEME_BODY_MALFORMED : SCHEME_GENUINE);
            if (sizes[i] != 0 && d.sent_body.at == big) {
                big[sizes[i] - 1] ^= 1;
                enum scheme_verdict verdict = sample_verify(scheme, &s);
                wrong += verdict != SCHEME_SIGNATURE_WRONG && verdict != SCHEME_DIGEST_WRONG;
                big[sizes[i] - 1] ^= 1;
            }
            delivery_fini(&d);
        }
        is_uint(wrong, 0, "%s: any bytes, nothing to %zu", row->name, all ? n : 20000);
        sample_scheme_free(scheme);
    }
    free(big);
}

/* ---- Ed25519: small bodies go through libsodium whole, large ones in pieces */

static void add_order(uint8_t s[32])
{
    static const uint8_t order[32] = {0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58,
                                      0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
                                      0,    0,    0,    0,    0,    0,    0,    0,
                                      0,    0,    0,    0,    0,    0,    0,    0x10};
    unsigned carry = 0;
    for (int i = 0; i < 32; i++) {
        carry += (unsigned)s[i] + order[i];
        s[i] = (uint8_t)carry;
        carry >>= 8;
    }
}

static enum scheme_verdict verify_ed25519(const struct scheme *scheme, struct slice body,
                                          const uint8_t signature[64])
{
    static struct sample s;
    char text[100], headers[300];
    size_t n = base64_encode(signature, 64, BASE64_STANDARD, text);
    int bytes =
        snprintf(headers, sizeof headers,
                 "webhook-id: m1\r\n" SW_TIME "webhook-signature: v1a,%.*s\r\n", (int)n, text);
    sample_build(&s, "POST", "/", slice_of(headers, (size_t)bytes), body, NOW);
    return sample_verify(scheme, &s);
}

static void ed25519(void)
{
    uint8_t public_key[32], secret_key[64], seed_bytes[32] = {9}, signature[64], other[64];
    char secret[60] = "whpk_";
    static uint8_t message[40000];
    const size_t sizes[] = {0, 100, 8000, 8175, 8176, 8177, 8192, 9000, 39000};
    crypto_sign_seed_keypair(public_key, secret_key, seed_bytes);
    secret[5 + base64_encode(public_key, 32, BASE64_STANDARD, secret + 5)] = 0;
    struct scheme *scheme = sample_scheme("standard-webhooks", secret);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        size_t head = (size_t)snprintf((char *)message, sizeof message, "m1.1767225600.");
        for (size_t k = 0; k < sizes[i]; k++) {
            message[head + k] = (uint8_t)below(256);
        }
        struct slice body = slice_of(message + head, sizes[i]);
        crypto_sign_detached(signature, NULL, message, head + sizes[i], secret_key);
        is_int(verify_ed25519(scheme, body, signature), SCHEME_GENUINE, "%zu bytes", sizes[i]);
        unsigned passed = 0, step = sizes[i] > 100 ? 37 : 5;
        for (unsigned bit = 0; bit < 512; bit += step) {
            memcpy(other, signature, 64);
            other[bit / 8] ^= (uint8_t)(1U << bit % 8);
            passed += verify_ed25519(scheme, body, other) == SCHEME_GENUINE;
        }
        is_uint(passed, 0, "signature altered");
        memcpy(other, signature, 64);
        add_order(other + 32);
        is_int(verify_ed25519(scheme, body, other), SCHEME_SIGNATURE_WRONG, "S not reduced");
        if (sizes[i] != 0) {
            message[head + sizes[i] / 2] ^= 4;
            is_int(verify_ed25519(scheme, body, signature), SCHEME_SIGNATURE_WRONG, "body altered");
        }
    }
    sample_scheme_free(scheme);
}

/* ---- identity, redactions, answers */

struct identity_case {
    const char *row, *headers, *body, *type, *id;
};

static const struct identity_case identities[] = {
    {"github", "X-GitHub-Event: push\r\nX-GitHub-Delivery: d1\r\n", "{}", "push", "d1"},
    {"github", "", "{\"id\":\"no\"}", "", ""},
    {"gitlab", "X-Gitlab-Event: Push Hook\r\nIdempotency-Key: k\r\nX-Gitlab-Event-UUID: u\r\n",
     "{}", "Push Hook", "k"},
    {"gitlab", "X-Gitlab-Event: Job Hook\r\nX-Gitlab-Event-UUID: u\r\n", "{}", "Job Hook", "u"},
    {"semaphore", "X-Semaphore-Webhook-Id: w\r\n", "{}", "pipeline_done", "w"},
    {"slack", "",
     "{\"type\":\"event_callback\",\"event\":{\"type\":\"message\"},\"event_id\":\"Ev1\"}",
     "message", "Ev1"},
    {"slack", "", "{\"type\":\"app_rate_limited\"}", "app_rate_limited", ""},
    {"slack", "", "command=%2Fdeploy&text=web", "", ""},
    {"stripe", "", "{\"id\":\"evt_1\",\"data\":{\"id\":\"ch\",\"type\":\"no\"},\"type\":\"a.b\"}",
     "a.b", "evt_1"},
    {"standard-webhooks", "webhook-id: m\r\n", "{\"type\":\"x.y\"}", "x.y", "m"},
    {"telegram", "", "{\"update_id\":10000,\"message\":{}}", "update", "10000"},
    {"line", "", "{\"events\":[{\"type\":\"follow\",\"webhookEventId\":\"W1\"}]}", "follow", "W1"},
};

static void identify(void)
{
    static struct sample s;
    for (size_t i = 0; i < sizeof identities / sizeof identities[0]; i++) {
        const struct identity_case *c = &identities[i];
        struct scheme *scheme =
            sample_scheme(c->row, secret_for(scheme_row_find(slice_str(c->row))));
        struct scheme_identity identity;
        sample_build(&s, "POST", "/", slice_str(c->headers), slice_str(c->body), NOW);
        scheme_identify(scheme, &s.request, &identity);
        uint8_t room[EVENT_TYPE_BYTES_MAX];
        struct slice whole = scheme_type_text(scheme, &identity, room);
        is_bytes(whole.at, whole.bytes, c->type, strlen(c->type), "%s type", c->row);
        is_bytes(identity.delivery_id.at, identity.delivery_id.bytes, c->id, strlen(c->id), "%s id",
                 c->row);
        ok(scheme_has_delivery_id(scheme));
        sample_scheme_free(scheme);
    }
    struct scheme *scheme = sample_scheme("buildkite", "s");
    ok(!scheme_has_delivery_id(scheme));
    sample_scheme_free(scheme);
}

static void redact(void)
{
    static struct sample s;
    struct scheme *scheme = sample_scheme("telegram", "s");
    struct scheme_redaction r[SCHEME_REDACTIONS];
    sample_build(&s, "POST", "/",
                 SLICE("Authorization: Basic dTpw\r\nAccept: */*\r\ncookie: a=b\r\nCookie: c=d\r\n"
                       "x-telegram-bot-api-secret-token: tok\r\nProxy-Authorization: x\r\n"
                       "Authorization:\r\nX-Hub-Signature-256: sha256=00\r\n"),
                 SLICE("{}"), NOW);
    is_uint(scheme_redactions(scheme, &s.request, r, SCHEME_REDACTIONS), 5);
    is_bytes(s.head_text + r[0].at, r[0].bytes, "Basic dTpw", 10);
    is_bytes(s.head_text + r[1].at, r[1].bytes, "a=b", 3);
    is_bytes(s.head_text + r[2].at, r[2].bytes, "c=d", 3);
    is_bytes(s.head_text + r[3].at, r[3].bytes, "tok", 3);
    is_bytes(s.head_text + r[4].at, r[4].bytes, "x", 1);
    is_uint(scheme_redactions(scheme, &s.request, r, 2), 2, "at most as many as there is room for");
    sample_scheme_free(scheme);

    scheme = sample_scheme("quay", "s");
    sample_build(&s, "POST", "/?a=1&token=first&b=token&token=&token=second", SLICE(""),
                 SLICE("{}"), NOW);
    is_uint(scheme_redactions(scheme, &s.request, r, SCHEME_REDACTIONS), 2);
    is_bytes(s.head_text + r[0].at, r[0].bytes, "first", 5);
    is_bytes(s.head_text + r[1].at, r[1].bytes, "second", 6, "and it once more");
    sample_scheme_free(scheme);
}

static void answers(void)
{
    static struct sample s;
    struct scheme_answer answer;
    struct buf headers;
    struct scheme *github = sample_scheme("github", "s");
    struct scheme_send send = {.body = BODY, .type = SLICE("ping"), .id = SLICE("i")};
    buf_init(&headers, 1000);
    is_int(scheme_sign(github, &send, &headers), BK_OK);
    sample_build(&s, "POST", "/", buf_slice(&headers), BODY, NOW);
    is_int(scheme_verify(github, &s.request, &answer), SCHEME_HANDSHAKE, "a signed ping");
    ok(answer.status == 200 && answer.content_type == NULL && answer.body.bytes == 0);
    sample_build(&s, "POST", "/", buf_slice(&headers), SLICE("{}"), NOW);
    is_int(scheme_verify(github, &s.request, &answer), SCHEME_SIGNATURE_WRONG, "a forged one");
    is_uint(scheme_methods(github), 1U << HTTP_POST);
    ok(scheme_acknowledgement(github, &s.head) == NULL);
    buf_fini(&headers);
    sample_scheme_free(github);

    struct scheme *slack = sample_scheme("slack", "s");
    is_uint(scheme_methods(slack), 1U << HTTP_POST | 1U << HTTP_GET);
    ok(scheme_acknowledgement(slack, &s.head) != NULL &&
       scheme_acknowledgement(slack, &s.head)->body.bytes == 0);
    sample_build(&s, "GET", "/?token=x&ssl_check=1", SLICE(""), SLICE(""), NOW);
    is_int(scheme_verify(slack, &s.request, &answer), SCHEME_HANDSHAKE, "ssl_check by GET");
    sample_build(&s, "POST", "/", SLICE(""), SLICE("token=x&ssl_check=1"), NOW);
    is_int(scheme_verify(slack, &s.request, &answer), SCHEME_HANDSHAKE, "ssl_check by POST");
    sample_build(&s, "POST", "/", SLICE(""), SLICE("{\"text\":\"&ssl_check=1&\"}"), NOW);
    is_int(scheme_verify(slack, &s.request, &answer), SCHEME_SIGNATURE_MISSING,
           "what somebody wrote into a message is no form");
    sample_build(&s, "POST", "/", SLICE(""), SLICE("token=x&xssl_check=1&ssl_check=12"), NOW);
    is_int(scheme_verify(slack, &s.request, &answer), SCHEME_SIGNATURE_MISSING, "something else");
    static const struct {
        const char *body;
        enum scheme_verdict want;
    } cases[] = {
        {"{\"type\":\"url_verification\",\"challenge\":\"c h\"}", SCHEME_HANDSHAKE},
        {"{\"type\":\"url_verification\",\"challenge\":\"a\\u0041\"}", SCHEME_BODY_MALFORMED},
        {"{\"type\":\"url_verification\"}", SCHEME_BODY_MALFORMED},
        {"{\"event\":{\"type\":\"url_verification\"}}", SCHEME_GENUINE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        is_int(sign(slack, slice_str(cases[i].body), URL, &headers), BK_OK);
        sample_build(&s, "POST", "/", buf_slice(&headers), slice_str(cases[i].body), NOW);
        is_int(scheme_verify(slack, &s.request, &answer), cases[i].want, "%s", cases[i].body);
        buf_fini(&headers);
    }
    static char large[5000];
    memset(large, ' ', sizeof large);
    struct slice start = SLICE("{\"type\":\"url_verification\",\"challenge\":\"c\"");
    memcpy(large, start.at, start.bytes);
    large[sizeof large - 1] = '}';
    is_int(sign(slack, slice_of(large, sizeof large), URL, &headers), BK_OK);
    sample_build(&s, "POST", "/", buf_slice(&headers), slice_of(large, sizeof large), NOW);
    is_int(scheme_verify(slack, &s.request, &answer), SCHEME_GENUINE, "too large for a handshake");
    buf_fini(&headers);
    sample_scheme_free(slack);
}

/* A secret is learned by a source that has none, and by no other. */
static void learning(void)
{
    static struct sample s;
    struct scheme_answer answer = {0};
    struct scheme *waiting = sample_scheme("asana", NULL), *has = sample_scheme("asana", "old");
    sample_build(&s, "POST", "/", SLICE("X-Hook-Secret: new\r\n"), SLICE("{}"), NOW);
    ok(scheme_is_learning(waiting) && !scheme_is_learning(has));
    is_int(scheme_verify(waiting, &s.request, &answer), SCHEME_HANDSHAKE);
    is_bytes(answer.learned.at, answer.learned.bytes, "new", 3);
    answer = (struct scheme_answer){0};
    is_int(scheme_verify(has, &s.request, &answer), SCHEME_SIGNATURE_MISSING, "not a second one");
    is_uint(answer.learned.bytes, 0);
    sample_build(&s, "POST", "/", SLICE("X-Hook-Secret:\r\n"), SLICE("{}"), NOW);
    is_int(sample_verify(waiting, &s), SCHEME_SIGNATURE_MISSING, "an empty secret is none");
    sample_scheme_free(waiting);
    sample_scheme_free(has);
}

/* Twilio signs the URL with its port, and many requests come on one thread: the memory for that
 * spelling is for each of them anew. */
static void test_twilio_with_a_port(void)
{
    static const char digest[] = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    struct scheme *scheme = sample_scheme("twilio", "token");
    char target[200], url[300], encoded[BASE64_ENCODED(20)], headers[200];
    uint8_t mac[20];
    br_hmac_key_context key;
    br_hmac_context context;
    snprintf(target, sizeof target, "/hooks/x?bodySHA256=%s", digest);
    snprintf(url, sizeof url, "https://hooks.example.com:443%s", target);
    br_hmac_key_init(&key, &br_sha1_vtable, "token", 5);
    br_hmac_init(&context, &key, 0);
    br_hmac_update(&context, url, strlen(url));
    br_hmac_out(&context, mac);
    size_t bytes = base64_encode(mac, sizeof mac, BASE64_STANDARD, encoded);
    snprintf(headers, sizeof headers, "X-Twilio-Signature: %.*s\r\n", (int)bytes, encoded);
    struct sample s;
    sample_build(&s, "POST", target, slice_str(headers), SLICE("{}"), 1767225600);
    s.request.base = SLICE("https://hooks.example.com");
    unsigned genuine = 0, all = 2 * SCRATCH_BYTES / (unsigned)strlen("https://hooks.example.com");
    for (unsigned i = 0; i < all; i++) {
        genuine += sample_verify(scheme, &s) == SCHEME_GENUINE;
    }
    is_int(genuine, all, "as many as come");
    sample_scheme_free(scheme);
}

/* Who has one genuine signature of Mailgun's form may not send it under another token. */
static void test_mailgun_by_two_names(void)
{
    struct scheme *scheme = sample_scheme("mailgun", "key");
    struct slice signed_text = SLICE("1767225600token-1");
    uint8_t mac[32];
    char hex[65], target[200];
    struct scheme_identity identity;
    br_hmac_key_context key;
    br_hmac_context context;
    br_hmac_key_init(&key, &br_sha256_vtable, "key", 3);
    br_hmac_init(&context, &key, 0);
    br_hmac_update(&context, signed_text.at, signed_text.bytes);
    br_hmac_out(&context, mac);
    for (size_t i = 0; i < sizeof mac; i++) {
        snprintf(hex + 2 * i, 3, "%02x", mac[i]);
    }
    snprintf(target, sizeof target, "/hooks/x?timestamp=1767225600&token=token-1&signature=%s",
             hex);
    struct sample s;
    sample_build(&s, "POST", target, SLICE(""), SLICE("{\"event-data\":{}}"), 1767225600);
    is_int(sample_verify(scheme, &s), SCHEME_GENUINE, "as it was signed");
    s.request.body = SLICE("{\"signature\":{\"token\":\"token-2\"}}");
    is_int(sample_verify(scheme, &s), SCHEME_GENUINE);
    scheme_identify(scheme, &s.request, &identity);
    ok(slice_equal(identity.delivery_id, SLICE("token-1")), "not under another name");
    scheme_prepare(scheme, &s.request);
    scheme_identify(scheme, &s.request, &identity);
    ok(slice_equal(identity.delivery_id, SLICE("token-1")), "prepared, the same");
    sample_scheme_free(scheme);
}

/* Two requests that are hashed in one pass: each has its own key, text and verdict. */
static void pairs(void)
{
    static const struct {
        const char *row, *secret, *body;
        bool paired;
    } cases[] = {
        {"github", "one secret", "{\"a\":1}", true},
        {"zendesk", "two secrets", "{\"type\":\"x\",\"longer\":\"body than the others have it\"}",
         true},
        {"shopify", "three", "", true},
        {"stripe", "whsec_four", "{\"id\":\"evt_1\",\"type\":\"x\"}", false},
        {"telegram", "five", "{}", false},
    };
    enum { COUNT = sizeof cases / sizeof cases[0] };
    static struct sample samples[COUNT];
    struct scheme *schemes[COUNT];
    struct scheme_answer answer;
    for (unsigned i = 0; i < COUNT; i++) {
        struct buf headers;
        struct slice body = slice_str(cases[i].body);
        schemes[i] = sample_scheme(cases[i].row, cases[i].secret);
        is_int(sign(schemes[i], body, SLICE_EMPTY, &headers), BK_OK, "%s", cases[i].row);
        sample_build(&samples[i], "POST", "/", buf_slice(&headers), body, NOW);
        scheme_prepare(schemes[i], &samples[i].request);
        buf_fini(&headers);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        for (unsigned j = 0; j < COUNT; j++) {
            struct scheme_request a = samples[i].request, b = samples[j].request;
            bool both = cases[i].paired && cases[j].paired;
            scheme_prepare_two(&a, &b);
            ok((a.mac_key != NULL) == both && (b.mac_key != NULL) == both, "%s and %s",
               cases[i].row, cases[j].row);
            is_int(scheme_verify(schemes[i], &a, &answer), SCHEME_GENUINE, "the first");
            is_int(scheme_verify(schemes[j], &b, &answer), SCHEME_GENUINE, "the second");
            a = samples[i].request;
            b = samples[j].request;
            b.body = SLICE("{\"another\":\"body\"}");
            scheme_prepare_two(&a, &b);
            is_int(scheme_verify(schemes[i], &a, &answer), SCHEME_GENUINE, "beside a forged one");
            ok(j == 4 || scheme_verify(schemes[j], &b, &answer) == SCHEME_SIGNATURE_WRONG,
               "the forged one");
        }
    }
    for (unsigned i = 0; i < COUNT; i++) {
        sample_scheme_free(schemes[i]);
    }
}

int main(void)
{
    pairs();
    test_twilio_with_a_port();
    test_mailgun_by_two_names();
    learning();
    table();
    every_row();
    every_other_way();
    verdicts();
    every_window();
    every_skew();
    window("slack", -1, 300);
    window("slack", 10, 10);
    window("slack", 0, 0);
    window("paddle", -1, 30);
    window("zendesk", -1, 300);
    window("linear", -1, 60);
    window("zoom", -1, 300);
    window("hubspot", -1, 300);
    window("calendly", -1, 180);
    window("port", 7, 7);
    window("standard-webhooks", 86400, 86400);
    linear_time();
    rotation();
    every_row_rotates();
    every_list();
    token_rotation();
    secrets_refused();
    gitlab_modes();
    sizes();
    bodies();
    ed25519();
    identify();
    redact();
    answers();
    return done_testing();
}
