/* http_signature_fuzz - signatures over a list of header lines (Drone), against a plain reference.
 *
 * Input: the first byte picks the way, then comes text. 0: a whole request, in which @MAC@ stands
 * for the MAC that the reference computes over what its `headers="…"` names. 1: the list of names
 * on the first line, header lines up to an empty one, and the body; Date, Digest and Signature are
 * added here.
 * Properties: what is genuine has the reference's MAC, names date and digest, and its digest is the
 * body's; of way 1 exactly what the reference finds whole is genuine, and nothing is once a bit of
 * its MAC, its body or a signed line is another. */
#include "base/assert.h"
#include "base/base64.h"
#include "base/buf.h"
#include "base/hmac.h"
#include "base/sha256.h"
#include "base/time.h"
#include "http/parse.h"
#include "providers/scheme.h"

#include <stdlib.h>

#define NOW       1767225600LL
#define SECRET    "drone-webhook-secret"
#define MARK      "@MAC@"
#define NAMES_MAX 16U
#define NAME_TEXT 512U /* of all names and methods together */
#define TEXT_MAX  65536U

static struct scheme *scheme;

static void start(void)
{
    struct slice secret = SLICE(SECRET);
    const char *message;
    size_t bytes;
    if (scheme == NULL) {
        bk_assert(scheme_compile(scheme_row_find(SLICE("drone")), &secret, 1, -1, &scheme, &bytes,
                                 &message) == BK_OK);
    }
}

static bool parse(struct slice text, struct http_head *head)
{
    return text.bytes != 0 && http_parse_request(text.at, text.bytes, head) == HTTP_PARSE_DONE;
}

static enum scheme_verdict judge(struct slice text)
{
    struct http_head head;
    struct scheme_answer answer = {0};
    if (!parse(text, &head)) {
        return SCHEME_SIGNATURE_MALFORMED;
    }
    struct scheme_request request = {
        .head = &head, .body = slice_skip(text, head.head_bytes), .now_seconds = NOW};
    return scheme_verify(scheme, &request, &answer);
}

/* ---- the reference: slow, and nothing of it is shared */

static bool only_header(const struct http_head *head, struct slice name, struct slice *ret_value)
{
    unsigned count = 0;
    for (unsigned i = 0; i < head->header_count; i++) {
        const struct http_header *header = &head->headers[i];
        if (slice_equal_nocase(http_header_name(head, header), name)) {
            *ret_value = http_header_value(head, header);
            count++;
        }
    }
    return count == 1;
}

struct found {
    bool whole, date, digest;
    size_t mac_bytes;
    uint8_t mac[HMAC_BYTES_MAX];
};

/* The MAC over what `names` lists of the head. */
static void reference(const struct http_head *head, struct slice names, enum hmac_algorithm kind,
                      struct found *found)
{
    struct buf text;
    struct hmac_key key;
    unsigned count = 0;
    size_t kept = 0;
    buf_init(&text, 1U << 22);
    *found = (struct found){.whole = true};
    while (names.bytes != 0) {
        struct slice word = slice_of(names.at, slice_find(names, ' ')), value;
        names = slice_skip(names, word.bytes + 1);
        buf_add_str(&text, count++ != 0 ? "\n" : "");
        for (size_t i = 0; i < word.bytes; i++) {
            buf_add_byte(&text, ascii_lower(word.at[i]));
        }
        kept += word.bytes;
        buf_add_str(&text, ": ");
        if (slice_equal_nocase(word, SLICE("(request-target)"))) {
            struct slice method = http_method_text(head);
            kept += method.bytes;
            for (size_t i = 0; i < method.bytes; i++) {
                buf_add_byte(&text, ascii_lower(method.at[i]));
            }
            buf_add_byte(&text, ' ');
            buf_add_slice(&text, http_target(head));
        } else if (word.bytes != 0 && only_header(head, word, &value) && value.bytes != 0) {
            buf_add_slice(&text, value);
        } else {
            found->whole = false;
        }
        found->date |= slice_equal_nocase(word, SLICE("date"));
        found->digest |= slice_equal_nocase(word, SLICE("digest"));
    }
    found->whole &= count <= NAMES_MAX && kept <= NAME_TEXT && !text.overflow;
    struct slice part = buf_slice(&text);
    hmac_key_init(&key, kind, SLICE(SECRET));
    found->mac_bytes = hmac(&key, &part, 1, found->mac);
    buf_fini(&text);
}

static const uint8_t *find(struct slice text, const char *part)
{
    return text.bytes != 0 ? memmem(text.at, text.bytes, part, strlen(part)) : NULL;
}

static struct slice parameter(struct slice value, const char *name)
{
    const uint8_t *at = find(value, name);
    if (at == NULL) {
        return SLICE_EMPTY;
    }
    struct slice rest = slice_skip(value, (size_t)(at - value.at) + strlen(name));
    return slice_of(rest.at, slice_find(rest, '"'));
}

static bool reference_of(struct slice text, struct found *found, struct slice *ret_signature)
{
    struct http_head head;
    struct slice value;
    if (!parse(text, &head) || (!only_header(&head, SLICE("signature"), &value) &&
                                !only_header(&head, SLICE("authorization"), &value))) {
        return false;
    }
    bool sha1 = slice_equal(parameter(value, "algorithm=\""), SLICE("hmac-sha1"));
    reference(&head, parameter(value, "headers=\""), sha1 ? HMAC_SHA1 : HMAC_SHA256, found);
    *ret_signature = parameter(value, "signature=\"");
    return true;
}

/* ---- the two ways */

static void fill_in(struct slice text, const char *mac, struct buf *out)
{
    const uint8_t *at = find(text, MARK);
    size_t before = at != NULL ? (size_t)(at - text.at) : text.bytes;
    buf_add(out, text.at, before);
    if (at != NULL) {
        buf_add_str(out, mac);
        buf_add_slice(out, slice_skip(text, before + strlen(MARK)));
    }
}

static void whole_request(struct slice text)
{
    struct buf filled;
    struct found found;
    struct slice signature;
    char mac[BASE64_ENCODED(HMAC_BYTES_MAX) + 1];
    if (!reference_of(text, &found, &signature)) {
        (void)judge(text);
        return;
    }
    mac[base64_encode(found.mac, found.mac_bytes, BASE64_STANDARD, mac)] = 0;
    buf_init(&filled, 2 * TEXT_MAX);
    fill_in(text, mac, &filled);
    struct slice whole = buf_slice(&filled);
    if (judge(whole) == SCHEME_GENUINE) {
        struct http_head head;
        struct slice digest;
        uint8_t given[HMAC_BYTES_MAX], sum[SHA256_BYTES];
        size_t bytes;
        bk_assert(reference_of(whole, &found, &signature) && found.whole);
        bk_assert(found.date && found.digest);
        bk_assert(base64_decode(signature, BASE64_STANDARD, given, sizeof given, &bytes));
        bk_assert(bytes == found.mac_bytes && memcmp(given, found.mac, bytes) == 0);
        bk_assert(parse(whole, &head) && only_header(&head, SLICE("digest"), &digest));
        sha256(slice_skip(whole, head.head_bytes), sum);
        bk_assert(
            base64_decode(slice_skip(digest, 8), BASE64_STANDARD, given, sizeof given, &bytes) &&
            bytes == sizeof sum && memcmp(given, sum, sizeof sum) == 0);
    }
    buf_fini(&filled);
}

static void built(struct slice text)
{
    struct buf made;
    struct found found;
    struct slice signature, names = slice_of(text.at, slice_find(text, '\n'));
    uint8_t sum[SHA256_BYTES];
    char date[30], encoded[BASE64_ENCODED(HMAC_BYTES_MAX) + 1];
    text = slice_skip(text, names.bytes + 1);
    const uint8_t *end = find(text, "\r\n\r\n");
    if (end == NULL || slice_find(names, '"') != names.bytes) {
        return;
    }
    struct slice lines = slice_of(text.at, (size_t)(end - text.at) + 2);
    struct slice body = slice_skip(text, lines.bytes + 2);
    time_format_http(NOW, date);
    sha256(body, sum);
    encoded[base64_encode(sum, sizeof sum, BASE64_STANDARD, encoded)] = 0;
    buf_init(&made, 4 * TEXT_MAX);
    buf_printf(&made, "POST /hooks/x?y=1 HTTP/1.1\r\nHost: h\r\nDate: %s\r\nDigest: SHA-256=%s\r\n",
               date, encoded);
    buf_add_str(&made, "Signature: keyId=\"k\",algorithm=\"hmac-sha256\",headers=\"");
    buf_add_slice(&made, names);
    buf_add_str(&made, "\",signature=\"");
    size_t mac_at = made.bytes;
    buf_add_str(&made, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"\r\n");
    buf_add_slice(&made, lines);
    buf_add_str(&made, "\r\n");
    size_t head_bytes = made.bytes;
    buf_add_slice(&made, body);
    struct http_head head;
    struct slice whole = buf_slice(&made);
    /* Lines of the input may end the head early, or bring a Signature of their own. */
    if (parse(whole, &head) && head.head_bytes == head_bytes &&
        reference_of(whole, &found, &signature) && signature.at == made.at + mac_at) {
        base64_encode(found.mac, found.mac_bytes, BASE64_STANDARD, (char *)made.at + mac_at);
        struct found again;
        bool whole_one = reference_of(whole, &again, &signature) && again.whole && again.date &&
                         again.digest && memcmp(again.mac, found.mac, found.mac_bytes) == 0;
        bk_assert((judge(whole) == SCHEME_GENUINE) == whole_one);
        made.at[mac_at] = made.at[mac_at] == 'A' ? 'B' : 'A';
        bk_assert(judge(whole) != SCHEME_GENUINE);
        base64_encode(found.mac, found.mac_bytes, BASE64_STANDARD, (char *)made.at + mac_at);
        if (body.bytes != 0) {
            made.at[made.bytes - 1] ^= 1;
            bk_assert(judge(whole) != SCHEME_GENUINE);
            made.at[made.bytes - 1] ^= 1;
        }
        uint8_t *day = memmem(made.at, made.bytes, date, strlen(date));
        day[6] ^= 1; /* another day, or none */
        bk_assert(judge(whole) != SCHEME_GENUINE);
    }
    buf_fini(&made);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    start();
    if (size < 1 || size > TEXT_MAX) {
        return 0;
    }
    struct slice text = slice_of(data + 1, size - 1);
    if (data[0] % 2 == 0) {
        whole_request(text);
    } else {
        built(text);
    }
    return 0;
}
