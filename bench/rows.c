/* rows.c - a request verified by the row engine, and by a function written by hand for its
 * provider.
 *
 *   rows row|hand TYPE BODY_BYTES COUNT     verify so often between two SIGUSR1 (bench/steps.c);
 *                                           row-all, hand-all: with type, id and secrets to hide
 *   rows                                    check that both decide alike
 *
 * The function by hand does what the engine does for that provider, no less: the same headers found
 * in one pass, signature and timestamp there once, prefix and encoding strict, the same HMAC with
 * the same prepared key, a comparison in constant time, the window, event type and delivery id, the
 * `ping` of GitHub. Both use base/ and http/; what differs is that one is told by data.
 * `bench/instructions --rows` prints the ratio. */
#include "base/base64.h"
#include "base/ct.h"
#include "base/hex.h"
#include "base/hmac.h"
#include "http/parse.h"
#include "providers/scheme.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define NOW           1767225600LL
#define ROWS_BODY_MAX 65536U
#define SECRET        "It's a Secret to Everybody"

static volatile unsigned sink;

struct seen {
    enum scheme_verdict verdict;
    struct slice type, id;
    bool has_secrets; /* headers that must not be stored */
};

#define SECRET_NAMES SLICE("authorization"), SLICE("proxy-authorization"), SLICE("cookie")
#define SECRET_BITS  (7U << 3) /* of these names, after three others */

/* ---- by hand */

struct by_hand {
    struct slice names[6];
    uint8_t tags[6][16];
    unsigned name_count;
    struct hmac_sha256_key key;
};

static struct by_hand hand;

static void hand_init(const struct slice *names, unsigned count, struct slice secret)
{
    hand.name_count = count;
    for (unsigned i = 0; i < count; i++) {
        hand.names[i] = names[i];
        memset(hand.tags[i], http_name_tag(names[i].at, names[i].bytes), sizeof hand.tags[i]);
    }
    hmac_sha256_key_init(&hand.key, secret);
}

static struct slice value_at(const struct http_head *head, uint8_t place)
{
    return place != 0 ? http_header_value(head, &head->headers[place - 1]) : SLICE_EMPTY;
}

static const struct slice github_names[] = {SLICE("x-hub-signature-256"), SLICE("x-github-event"),
                                            SLICE("x-github-delivery"), SECRET_NAMES};

static void github(const struct http_head *head, struct slice body, bool all, struct seen *seen)
{
    static const char prefix[] = "sha256=";
    uint8_t at[6], given[SHA256_BYTES], mac[SHA256_BYTES];
    uint32_t found = http_locate(head, hand.names, hand.tags, hand.name_count, at);
    struct slice value = value_at(head, at[0]);
    seen->type = value_at(head, at[1]);
    if (all) {
        seen->id = value_at(head, at[2]);
        seen->has_secrets = (found & SECRET_BITS) != 0;
    }
    if (found >> 16 & 1) {
        seen->verdict = SCHEME_SIGNATURE_DOUBLED;
    } else if (value.bytes == 0) {
        seen->verdict = SCHEME_SIGNATURE_MISSING;
    } else if (value.bytes != sizeof prefix - 1 + sizeof given * 2 ||
               memcmp(value.at, prefix, sizeof prefix - 1) != 0 ||
               !hex_decode(slice_skip(value, sizeof prefix - 1), given, sizeof given)) {
        seen->verdict = SCHEME_SIGNATURE_MALFORMED;
    } else {
        hmac_sha256(&hand.key, &body, 1, mac);
        seen->verdict = !bk_ct_equal(mac, given, sizeof mac)     ? SCHEME_SIGNATURE_WRONG
                        : slice_equal(seen->type, SLICE("ping")) ? SCHEME_HANDSHAKE
                                                                 : SCHEME_GENUINE;
    }
}

static const struct slice shopify_names[] = {SLICE("x-shopify-hmac-sha256"),
                                             SLICE("x-shopify-topic"),
                                             SLICE("x-shopify-webhook-id"), SECRET_NAMES};

static void shopify(const struct http_head *head, struct slice body, bool all, struct seen *seen)
{
    uint8_t at[6], given[SHA256_BYTES], mac[SHA256_BYTES];
    size_t bytes;
    uint32_t found = http_locate(head, hand.names, hand.tags, hand.name_count, at);
    struct slice value = value_at(head, at[0]);
    seen->type = value_at(head, at[1]);
    if (all) {
        seen->id = value_at(head, at[2]);
        seen->has_secrets = (found & SECRET_BITS) != 0;
    }
    if (found >> 16 & 1) {
        seen->verdict = SCHEME_SIGNATURE_DOUBLED;
    } else if (value.bytes == 0) {
        seen->verdict = SCHEME_SIGNATURE_MISSING;
    } else if (!base64_decode(value, BASE64_STANDARD, given, sizeof given, &bytes) ||
               bytes != sizeof given) {
        seen->verdict = SCHEME_SIGNATURE_MALFORMED;
    } else {
        hmac_sha256(&hand.key, &body, 1, mac);
        seen->verdict =
            bk_ct_equal(mac, given, sizeof mac) ? SCHEME_GENUINE : SCHEME_SIGNATURE_WRONG;
    }
}

struct contestant {
    const char *type;
    const struct slice *names;
    unsigned name_count;
    void (*verify)(const struct http_head *head, struct slice body, bool all, struct seen *seen);
};

static const struct contestant contestants[] = {
    {"github", github_names, 6, github},
    {"shopify", shopify_names, 6, shopify},
};

/* ---- by the row */

static struct scheme *scheme;

static void row(const struct http_head *head, struct slice body, bool all, struct seen *seen)
{
    struct scheme_request request = {.head = head, .body = body, .now_seconds = NOW};
    struct scheme_answer answer;
    scheme_prepare(scheme, &request);
    if (all) {
        struct scheme_identity identity;
        struct scheme_redaction redactions[SCHEME_REDACTIONS];
        scheme_identify(scheme, &request, &identity);
        seen->type = identity.type;
        seen->id = identity.delivery_id;
        seen->has_secrets = scheme_redactions(scheme, &request, redactions, SCHEME_REDACTIONS) != 0;
    }
    seen->verdict = scheme_verify(scheme, &request, &answer);
}

/* ---- requests */

static const char usual[] = "POST /hooks/0123456789abcdef HTTP/1.1\r\n"
                            "Host: hooks.example.com\r\n"
                            "User-Agent: GitHub-Hookshot/044aadd\r\n"
                            "Accept: */*\r\n"
                            "X-GitHub-Hook-ID: 292430182\r\n"
                            "X-GitHub-Hook-Installation-Target-ID: 79929171\r\n"
                            "X-GitHub-Hook-Installation-Target-Type: repository\r\n";

static char body_text[ROWS_BODY_MAX];

static struct buf make_request(size_t body_bytes)
{
    struct buf text;
    for (size_t i = 0; i < body_bytes; i++) {
        body_text[i] = (char)(' ' + i * 7 % 90);
    }
    struct scheme_send send = {.body = slice_of(body_text, body_bytes),
                               .type = SLICE("push"),
                               .id = SLICE("72d3162e-cc78-11e3-81ab-4c9367dc0958"),
                               .now_seconds = NOW};
    buf_init(&text, 4 * ROWS_BODY_MAX);
    buf_add_str(&text, usual);
    if (scheme_sign(scheme, &send, &text) != BK_OK) {
        exit(1);
    }
    buf_add_str(&text, "\r\n");
    return text;
}

static const struct contestant *choose(const char *type)
{
    struct slice secret = SLICE(SECRET);
    size_t bytes;
    const char *message;
    for (size_t i = 0; i < sizeof contestants / sizeof contestants[0]; i++) {
        if (strcmp(contestants[i].type, type) == 0 &&
            scheme_compile(scheme_row_find(slice_str(type)), &secret, 1, -1, &scheme, &bytes,
                           &message) == BK_OK) {
            hand_init(contestants[i].names, contestants[i].name_count, secret);
            return &contestants[i];
        }
    }
    fprintf(stderr, "rows: no type is called %s\n", type);
    exit(2);
}

/* Every byte of the head another, one after the other: the same verdict, type and id. */
static unsigned differences(const struct contestant *contestant)
{
    struct buf text = make_request(200);
    unsigned wrong = 0;
    for (size_t at = sizeof usual - 1; at < text.bytes; at++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            struct http_head head;
            struct seen a, b;
            text.at[at] ^= (uint8_t)(1U << bit);
            if (http_parse_request(text.at, text.bytes, &head) == HTTP_PARSE_DONE) {
                row(&head, slice_of(body_text, 200), true, &a);
                contestant->verify(&head, slice_of(body_text, 200), true, &b);
                wrong += a.verdict != b.verdict || !slice_equal(a.type, b.type) ||
                         !slice_equal(a.id, b.id) || a.has_secrets != b.has_secrets;
            }
            text.at[at] ^= (uint8_t)(1U << bit);
        }
    }
    buf_fini(&text);
    return wrong;
}

static int check(void)
{
    unsigned wrong = 0;
    for (size_t i = 0; i < sizeof contestants / sizeof contestants[0]; i++) {
        unsigned count = differences(choose(contestants[i].type));
        printf("%s: %u requests judged otherwise\n", contestants[i].type, count);
        wrong += count;
        scheme_wipe(scheme);
        free(scheme);
    }
    return wrong != 0;
}

int main(int argc, char **argv)
{
    if (argc == 1) {
        return check();
    }
    size_t bytes = argc == 5 ? strtoul(argv[3], NULL, 10) : ROWS_BODY_MAX + 1;
    unsigned long count = argc == 5 ? strtoul(argv[4], NULL, 10) : 0;
    if (bytes > ROWS_BODY_MAX || count == 0) {
        fprintf(stderr, "rows row|hand TYPE BODY_BYTES COUNT\n");
        return 2;
    }
    const struct contestant *contestant = choose(argv[2]);
    struct buf text = make_request(bytes);
    struct http_head head;
    struct seen seen = {0};
    if (http_parse_request(text.at, text.bytes, &head) != HTTP_PARSE_DONE) {
        return 1;
    }
    bool by_row = strncmp(argv[1], "row", 3) == 0, all = strstr(argv[1], "-all") != NULL;
    signal(SIGUSR1, SIG_IGN);
    for (unsigned long i = 0; i < 2 + count; i++) { /* two to warm */
        if (i == 2) {
            raise(SIGUSR1);
        }
        (by_row ? row : contestant->verify)(&head, slice_of(body_text, bytes), all, &seen);
        sink = (unsigned)seen.verdict;
    }
    raise(SIGUSR1);
    printf("{\"count\":%lu}\n", count);
    buf_fini(&text);
    scheme_wipe(scheme);
    free(scheme);
    return seen.verdict == SCHEME_GENUINE ? 0 : 1;
}
