/* rows.c - a request verified by the row engine, and by a function written by hand for its
 * provider (rows_by_hand.h).
 *
 *   rows row|hand KIND BODY_BYTES COUNT     verify so often between two SIGUSR1 (bench/steps.c);
 *                                           row-all, hand-all: with type, id and secrets to hide
 *   rows                                    check that both decide alike
 *   rows kinds                              what can be compared, one a line
 *
 * Both are given the request as ingress has it. `bench/instructions --rows` prints the ratio. */
#include "rows_by_hand.h"

#include "http/parse.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define NOW           1767225600LL
#define ROWS_BODY_MAX 65536U
#define BASE          "https://hooks.example.com"
#define TARGET        "/hooks/0123456789abcdef"
#define SECRET        "It's a Secret to Everybody"

static volatile unsigned sink;

/* ---- the kinds */

enum shape { OBJECT, LIST, FORM };

struct message {
    struct buf head, body;
};

typedef void sign_fn(struct message *message);
static sign_fn sign_row, sign_two, sign_v2, sign_form;

static const struct kind {
    const char *name;
    const char *row;
    enum shape shape;
    const char *type; /* of the event, for rows with a header for it */
    sign_fn *sign;
    hand_fn *verify;
    const struct slice *names;
    unsigned name_count;
} kinds[] = {
#define NAMES(names) names, sizeof names / sizeof names[0]
    {"github", "github", OBJECT, "push", sign_row, github, NAMES(github_names)},
    {"shopify", "shopify", OBJECT, "orders/create", sign_row, shopify, NAMES(shopify_names)},
    {"slack", "slack", OBJECT, "", sign_row, slack, NAMES(slack_names)},
    {"zendesk", "zendesk", OBJECT, "", sign_row, zendesk, NAMES(zendesk_names)},
    {"linear", "linear", OBJECT, "Issue", sign_row, linear, NAMES(linear_names)},
    {"standard-webhooks", "standard-webhooks", OBJECT, "", sign_row, standard,
     NAMES(standard_names)},
    {"stripe", "stripe", OBJECT, "", sign_two, stripe, NAMES(stripe_names)},
    {"square", "square", OBJECT, "", sign_row, square, NAMES(square_names)},
    {"hubspot", "hubspot", LIST, "", sign_row, hubspot, NAMES(hubspot_names)},
    {"mailgun", "mailgun", OBJECT, "", sign_row, mailgun, NAMES(mailgun_names)},
    {"twilio", "twilio", FORM, "", sign_form, twilio, NAMES(twilio_names)},
    {"hubspot-v2", "hubspot", LIST, "", sign_v2, hubspot, NAMES(hubspot_names)},
#undef NAMES
};
#define KIND_COUNT (sizeof kinds / sizeof kinds[0])

static const struct kind *kind;
static struct scheme *scheme;

static void kind_use(const struct kind *use)
{
    bool base64 =
        scheme_row_find(slice_str(use->row)) == scheme_row_find(SLICE("standard-webhooks"));
    struct slice secret = base64 ? SLICE("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw") : SLICE(SECRET);
    uint8_t key[64];
    size_t bytes, key_bytes = 0;
    const char *message;
    kind = use;
    if (scheme_compile(scheme_row_find(slice_str(use->row)), &secret, 1, -1, &scheme, &bytes,
                       &message) != BK_OK ||
        (base64 &&
         !base64_decode(slice_skip(secret, 6), BASE64_STANDARD, key, sizeof key, &key_bytes))) {
        exit(2);
    }
    hand_init(use->names, use->name_count, secret, base64 ? slice_of(key, key_bytes) : secret);
}

static void kind_leave(void)
{
    scheme_wipe(scheme);
    free(scheme);
}

/* ---- by the row */

static void by_row(struct scheme_request *request, struct seen *seen)
{
    struct scheme_identity identity;
    struct scheme_redaction redactions[SCHEME_REDACTIONS];
    struct scheme_answer answer;
    scheme_prepare(scheme, request);
    scheme_identify(scheme, request, &identity);
    seen->type = identity.type;
    seen->id = identity.delivery_id;
    seen->has_secrets = scheme_redactions(scheme, request, redactions, SCHEME_REDACTIONS) != 0;
    seen->verdict = scheme_verify(scheme, request, &answer);
}

/* ---- requests */

static const char usual[] = "POST " TARGET " HTTP/1.1\r\n"
                            "Host: hooks.example.com\r\n"
                            "User-Agent: GitHub-Hookshot/044aadd\r\n"
                            "Accept: */*\r\n"
                            "X-GitHub-Hook-ID: 292430182\r\n"
                            "X-GitHub-Hook-Installation-Target-ID: 79929171\r\n"
                            "X-GitHub-Hook-Installation-Target-Type: repository\r\n";

static const char *const fronts[] = {
    "{\"id\":\"evt_1MqqbKLt4dXK03v5qaIbiNCC\",\"event_id\":\"Ev08MFMKH6\",\"type\":\"invoice."
    "paid\","
    "\"event\":{\"type\":\"message\"},\"webhookTimestamp\":1767225600000,"
    "\"event-data\":{\"event\":\"delivered\"},\"text\":\"",
    "[{\"subscriptionType\":\"contact.creation\",\"text\":\"",
    "ToCountry=US&AccountSid=AC0123456789abcdef0123456789abcdef&MessageSid=SM0123&NumMedia=0&"
    "SmsStatus=received&From=%2B14155550100&To=%2B14155550199&MessageStatus=received&"
    "ApiVersion=2010-04-01&FromCity=San+Francisco&Body="};
static const char *const backs[] = {"\"}", "\"}]", ""};

/* What scheme_sign() writes, and what it put into the body. */
static void sign_row(struct message *m)
{
    struct buf changed;
    struct scheme_send send = {.body = buf_slice(&m->body),
                               .type = slice_str(kind->type),
                               .id = SLICE("72d3162e-cc78-11e3-81ab-4c9367dc0958"),
                               .url = SLICE(BASE TARGET),
                               .now_seconds = NOW,
                               .ret_body = &changed};
    buf_init(&changed, 2 * ROWS_BODY_MAX);
    if (scheme_sign(scheme, &send, &m->head) != BK_OK) {
        exit(1);
    }
    if (changed.bytes != 0) {
        m->body.bytes = 0;
        buf_add_slice(&m->body, buf_slice(&changed));
    }
    buf_fini(&changed);
}

/* An older secret signs, too, as while secrets are rotated: its signature is the first one. */
static void sign_two(struct message *m)
{
    sign_row(m);
    struct slice text = buf_slice(&m->head);
    size_t at = text.bytes;
    while (memcmp(text.at + at - 3, "v1=", 3) != 0) {
        at--;
    }
    struct buf head;
    buf_init(&head, 4 * ROWS_BODY_MAX);
    buf_add_slice(&head, slice_of(text.at, at));
    buf_add_str(&head, "6ffbb59b2300aae63f272406069a9788598b792a944a07aba816edb039989a39,v1=");
    buf_add_slice(&head, slice_skip(text, at));
    buf_fini(&m->head);
    m->head = head;
}

static void sign_v2(struct message *m)
{
    br_sha256_context context;
    uint8_t digest[SHA256_BYTES];
    char text[2 * SHA256_BYTES];
    sha256_init(&context);
    sha256_update(&context, SECRET "POST" BASE TARGET, strlen(SECRET "POST" BASE TARGET));
    sha256_update(&context, m->body.at, m->body.bytes);
    sha256_out(&context, digest);
    hex_encode(digest, sizeof digest, text);
    buf_add_str(&m->head, "X-HubSpot-Signature-Version: v2\r\nX-HubSpot-Signature: ");
    buf_add(&m->head, text, sizeof text);
    buf_add_str(&m->head, "\r\n");
}

static void sign_form(struct message *m)
{
    struct hand_pair pairs[HAND_PAIRS_MAX + 1];
    struct buf text;
    uint8_t mac[HMAC_BYTES_MAX];
    char encoded[BASE64_ENCODED(20)];
    unsigned count;
    buf_init(&text, 2 * ROWS_BODY_MAX);
    buf_add_str(&text, BASE TARGET);
    if (!twilio_pairs(buf_slice(&m->body), pairs, &count)) {
        exit(1);
    }
    for (unsigned i = 0; i < count; i++) {
        buf_add_slice(&text, pairs[i].name);
        buf_add_slice(&text, pairs[i].value);
    }
    struct slice whole = buf_slice(&text);
    hmac(&hand.other, &whole, 1, mac);
    buf_add_str(&m->head, "X-Twilio-Signature: ");
    buf_add(&m->head, encoded, base64_encode(mac, 20, BASE64_STANDARD, encoded));
    buf_add_str(&m->head, "\r\nI-Twilio-Idempotency-Token: 72d3162e-cc78-11e3\r\n");
    buf_fini(&text);
}

/* The body has so many bytes, or some more where the signature is in it. */
static void message_make(struct message *m, size_t body_bytes)
{
    buf_init(&m->head, 4 * ROWS_BODY_MAX);
    buf_init(&m->body, 2 * ROWS_BODY_MAX);
    buf_add_str(&m->head, usual);
    buf_add_str(&m->body, fronts[kind->shape]);
    while (m->body.bytes + strlen(backs[kind->shape]) < body_bytes) {
        buf_add_byte(&m->body, (uint8_t)('a' + m->body.bytes * 7 % 26));
    }
    buf_add_str(&m->body, backs[kind->shape]);
    kind->sign(m);
    buf_add_str(&m->head, "\r\n");
}

static void message_free(struct message *m)
{
    buf_fini(&m->head);
    buf_fini(&m->body);
}

static struct scheme_request request_of(const struct message *m, const struct http_head *head)
{
    return (struct scheme_request){
        .head = head, .body = buf_slice(&m->body), .base = SLICE(BASE), .now_seconds = NOW};
}

/* ---- do both decide alike? */

static bool differ(const struct message *m)
{
    struct http_head head;
    struct seen a = {0}, b = {0};
    if (http_parse_request(m->head.at, m->head.bytes, &head) != HTTP_PARSE_DONE) {
        return false;
    }
    struct scheme_request request = request_of(m, &head);
    by_row(&request, &a);
    kind->verify(&request, true, &b);
    return a.verdict != b.verdict || !slice_equal(a.type, b.type) || !slice_equal(a.id, b.id) ||
           a.has_secrets != b.has_secrets;
}

/* Every bit another, one after the other. */
static unsigned flip(const struct message *m, const struct buf *text, size_t from)
{
    unsigned wrong = 0;
    for (size_t at = from; at < text->bytes; at++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            text->at[at] ^= (uint8_t)(1U << bit);
            wrong += differ(m);
            text->at[at] ^= (uint8_t)(1U << bit);
        }
    }
    return wrong;
}

static int check(void)
{
    unsigned wrong = 0;
    for (size_t i = 0; i < KIND_COUNT; i++) {
        struct message m;
        kind_use(&kinds[i]);
        message_make(&m, 300);
        unsigned count = differ(&m) + flip(&m, &m.head, sizeof usual - 1) + flip(&m, &m.body, 0);
        printf("%s: %u requests judged otherwise\n", kinds[i].name, count);
        wrong += count;
        message_free(&m);
        kind_leave();
    }
    return wrong != 0;
}

/* ---- counting */

static int count(bool row, bool all, size_t body_bytes, unsigned long times)
{
    struct message m;
    struct http_head head;
    struct scheme_answer answer;
    struct seen seen = {0};
    message_make(&m, body_bytes);
    if (http_parse_request(m.head.at, m.head.bytes, &head) != HTTP_PARSE_DONE) {
        return 1;
    }
    struct scheme_request request = request_of(&m, &head);
    signal(SIGUSR1, SIG_IGN);
    for (unsigned long i = 0; i < 2 + times; i++) { /* two to warm */
        if (i == 2) {
            raise(SIGUSR1);
        }
        if (row && !all) {
            scheme_prepare(scheme, &request);
            seen.verdict = scheme_verify(scheme, &request, &answer);
        } else if (row) {
            by_row(&request, &seen);
        } else {
            kind->verify(&request, all, &seen);
        }
        sink = (unsigned)seen.verdict;
    }
    raise(SIGUSR1);
    printf("{\"count\":%lu}\n", times);
    message_free(&m);
    return seen.verdict == SCHEME_GENUINE ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc == 1) {
        return check();
    }
    for (size_t i = 0; i < KIND_COUNT; i++) {
        if (argc == 2) {
            printf("%s\n", kinds[i].name);
        } else if (argc == 5 && strcmp(kinds[i].name, argv[2]) == 0) {
            kind_use(&kinds[i]);
        }
    }
    size_t bytes = argc == 5 ? strtoul(argv[3], NULL, 10) : ROWS_BODY_MAX + 1;
    unsigned long times = argc == 5 ? strtoul(argv[4], NULL, 10) : 0;
    if (argc == 2) {
        return strcmp(argv[1], "kinds") == 0 ? 0 : 2;
    }
    if (bytes > ROWS_BODY_MAX || times == 0 || kind == NULL) {
        fprintf(stderr, "rows row|hand KIND BODY_BYTES COUNT; `rows kinds` names them\n");
        return 2;
    }
    int code =
        count(strncmp(argv[1], "row", 3) == 0, strstr(argv[1], "-all") != NULL, bytes, times);
    kind_leave();
    return code;
}
