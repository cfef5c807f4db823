/* scheme_fuzz - any request against any row, and any words as a custom row.
 *
 * Properties: what is identified or redacted lies inside the request; the verdict does not depend
 * on where the bytes are; what scheme_sign signs is genuine and with one byte changed it is not;
 * every verdict can be explained; a custom row that is accepted works. */
#include "base/assert.h"
#include "http/parse.h"
#include "providers/row.h"

#include <stdlib.h>

#define PUBLIC_URL "https://h.example" /* to it goes what is signed */
#define NOW        1767225600LL

static struct scheme *schemes[SCHEME_ROWS_MAX];

#define P256_KEY                                                                                   \
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAELZS/4+CKTEXZ9vNABR7V/fV/a6FmKOdMnGSJ+vCtGjTpQf3kBRay"     \
    "CFYv9UrT8fEhPQVT36WQbujIfcVQ/TXcLA=="
#define RSA_KEY                                                                                    \
    "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAtAh00DsCrKbLPZ3qDkjY"                             \
    "wnIJJRCeSkkTB/XpOvfXLdN5Mkf+u2WIltc7WV4TkM9QoVBiuPW6IYC6ZVV3ro+C"                             \
    "H/fU1swg8D/CgvvSC9UMDmBepSDWHtI3YRwwXXPVT3OtUuSWX8GPqIyTub089bop"                             \
    "kmloDmCTe2d0Fzju5xMxu5glDBgeUIh9ZeFxwiLwVVvjyM+uikUBpg3SqQY1G2ni"                             \
    "ZJHhO/RAf0E/nDH3BMSUAVjJpDGR7B302c2Hf6GRfOk6J/2Sj9kXWUpFaySS4EXh"                             \
    "1wuv8m6za4+lPVOe42tw9vC4c6Onic2tLExi2D8RSQJ7RwaSDILpDjfRgqAlSBWQ"                             \
    "EwIDAQAB"

static const char *secret_for(const struct scheme_row *row)
{
    switch (row->secret) {
    case SECRET_BASE64:
        return "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    case SECRET_KEY:
        return "829a27427c7dbbd756a2d1edc1421532d571a96865e84776a8f3817bb70c4d5a";
    case SECRET_PUBLIC_KEY:
        return signature_key_kind(row->signature) == PUBLIC_KEY_RSA ? RSA_KEY : P256_KEY;
    case SECRET_HEX:
        return "44782def547aaa06c910c43932b1eb0c";
    case SECRET_NONE:
        return NULL;
    case SECRET_TEXT:
        break;
    }
    return "u:secret";
}

static void start(void)
{
    if (schemes[0] != NULL) {
        return;
    }
    bk_assert(scheme_row_count() <= bk_array_length(schemes));
    for (size_t i = 0; i < scheme_row_count(); i++) {
        size_t bytes;
        const char *message;
        struct slice secret = slice_str(secret_for(scheme_row_at(i)));
        if (scheme_row_takes_claims(scheme_row_at(i))) {
            schemes[i] = schemes[0]; /* jwt_fuzz has these */
            continue;
        }
        bk_assert(scheme_compile(scheme_row_at(i), &secret, secret.bytes != 0, -1, &schemes[i],
                                 &bytes, &message) == BK_OK);
    }
}

static bool inside(struct slice part, struct slice whole)
{
    return part.bytes == 0 ||
           (part.at >= whole.at && part.at + part.bytes <= whole.at + whole.bytes);
}

/* `text` is a whole request. Returns whether it parsed. */
static bool judge(const struct scheme *scheme, struct slice text, enum scheme_verdict *ret_verdict)
{
    struct http_head head;
    struct scheme_answer answer = {0};
    struct scheme_identity identity;
    struct scheme_redaction redactions[SCHEME_REDACTIONS];
    if (text.bytes == 0 || http_parse_request(text.at, text.bytes, &head) != HTTP_PARSE_DONE) {
        return false;
    }
    struct scheme_request request = {.head = &head,
                                     .body = slice_skip(text, head.head_bytes),
                                     .base = SLICE(PUBLIC_URL),
                                     .now_seconds = NOW};
    *ret_verdict = scheme_verify(scheme, &request, &answer);
    struct scheme_request prepared = request;
    scheme_prepare(scheme, &prepared);
    bk_assert(scheme_verify(scheme, &prepared, &answer) == *ret_verdict);
    struct scheme_subject subject;
    scheme_subject(scheme_row(scheme), &request, &subject);
    bk_assert(inside(subject.account, text) || scheme_row(scheme)->account != NULL);
    bk_assert((unsigned)*ret_verdict < SCHEME_VERDICT_COUNT);
    bk_assert(*ret_verdict != SCHEME_HANDSHAKE || (answer.status >= 200 && answer.status < 300));
    scheme_identify(scheme, &request, &identity);
    bk_assert(inside(identity.type, text) && inside(identity.delivery_id, text));
    uint8_t room[EVENT_TYPE_BYTES_MAX];
    bk_assert(identity.more_count <= SCHEME_TYPE_MORE);
    bk_assert(scheme_type_text(scheme, &identity, room).bytes <= sizeof room);
    unsigned count = scheme_redactions(scheme, &request, redactions, SCHEME_REDACTIONS);
    for (unsigned i = 0; i < count; i++) {
        bk_assert(redactions[i].bytes != 0 &&
                  redactions[i].at + redactions[i].bytes <= head.head_bytes);
    }
    struct buf words;
    buf_init(&words, 100000);
    scheme_explain(scheme, &request, *ret_verdict, &words);
    bk_assert(words.bytes != 0 && !words.overflow);
    buf_fini(&words);
    return true;
}

/* Sign `body`; it must be genuine, and not when one byte is another. */
static void round_trip(const struct scheme *scheme, struct slice body)
{
    struct buf text;
    enum scheme_verdict verdict;
    struct scheme_send send = {.body = body,
                               .type = SLICE("t"),
                               .id = SLICE("id"),
                               .url = SLICE(PUBLIC_URL "/"),
                               .now_seconds = NOW};
    const struct scheme_row *row = scheme_row(scheme);
    /* Rows that sign a URL or a time in the body need more than this request has. */
    bool judged = row->signed_template == NULL || strstr(row->signed_template, "{url") == NULL;
    judged &= row->timestamp == NULL || row->timestamp[0] != '/';
    buf_init(&text, 1 << 20);
    buf_add_str(&text, "POST / HTTP/1.1\r\nHost: h\r\n");
    if (scheme_sign(scheme, &send, &text) == BK_OK && judged) {
        buf_add_str(&text, "\r\n");
        buf_add_slice(&text, body);
        bool parsed = judge(scheme, buf_slice(&text), &verdict);
        bk_assert(!parsed || verdict == SCHEME_GENUINE || verdict == SCHEME_HANDSHAKE ||
                  verdict == SCHEME_BODY_MALFORMED);
        if (parsed && body.bytes != 0 && row->kind == ROW_HMAC &&
            (row->signed_template == NULL || strstr(row->signed_template, "{body}") != NULL)) {
            text.at[text.bytes - 1] ^= 1;
            bk_assert(judge(scheme, buf_slice(&text), &verdict));
            bk_assert(verdict == SCHEME_SIGNATURE_WRONG || verdict == SCHEME_BODY_MALFORMED ||
                      row->handshakes != NULL);
        }
    }
    buf_fini(&text);
}

static struct slice word(struct slice *rest)
{
    struct slice taken = slice_of(rest->at, slice_find(*rest, '\n'));
    *rest = slice_skip(*rest, taken.bytes + 1);
    return taken;
}

static void custom(struct slice text)
{
    struct scheme_custom words = {.scheme = word(&text),
                                  .algorithm = word(&text),
                                  .signature_header = word(&text),
                                  .signature_format = word(&text),
                                  .timestamp_header = word(&text),
                                  .id_header = word(&text),
                                  .type_header = word(&text),
                                  .type_field = word(&text),
                                  .id_field = word(&text),
                                  .signed_template = word(&text),
                                  .timestamp_unit = word(&text),
                                  .signature_field = word(&text),
                                  .timestamp_field = word(&text)};
    struct scheme_row *row;
    struct scheme *scheme;
    const char *field = NULL, *message = NULL;
    size_t bytes;
    struct slice secret = SLICE("u:secret");
    if (scheme_row_custom(&words, &row, &field, &message) != BK_OK) {
        bk_assert(row == NULL && field != NULL && message != NULL);
        return;
    }
    if (scheme_compile(row, &secret, 1, -1, &scheme, &bytes, &message) == BK_OK) {
        scheme_row_free(row);
        enum scheme_verdict verdict;
        (void)judge(scheme, text, &verdict);
        /* Headers that a request has for other reasons, or that are one and the same, are not
         * signed well. */
        bool plain =
            slice_starts(words.signature_header, SLICE("X-S")) &&
            (words.timestamp_header.bytes == 0 ||
             slice_starts(words.timestamp_header, SLICE("X-T"))) &&
            (words.id_header.bytes == 0 || slice_starts(words.id_header, SLICE("X-I"))) &&
            (words.type_header.bytes == 0 || slice_starts(words.type_header, SLICE("X-E")));
        if (plain) {
            round_trip(scheme, text);
        }
        scheme_wipe(scheme);
        free(scheme);
    } else {
        scheme_row_free(row);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    start();
    if (size < 1) {
        return 0;
    }
    struct slice text = slice_of(data + 1, size - 1);
    if (data[0] >= 200) {
        custom(text);
        return 0;
    }
    const struct scheme *scheme = schemes[data[0] % scheme_row_count()];
    enum scheme_verdict first = SCHEME_GENUINE, second = SCHEME_GENUINE;
    if (judge(scheme, text, &first)) {
        uint8_t *copy = (uint8_t *)malloc(text.bytes);
        bk_assert(copy != NULL);
        memcpy(copy, text.at, text.bytes);
        bk_assert(judge(scheme, slice_of(copy, text.bytes), &second) && first == second);
        free(copy);
    }
    round_trip(scheme, text);
    return 0;
}
