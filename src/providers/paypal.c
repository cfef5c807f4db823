/* PayPal: RSA over transmission id, time, the webhook's id and the CRC-32 of the body, with a
 * certificate that a header names. The secret is the webhook's id.
 * https://developer.paypal.com/api/rest/webhooks/rest/ */
#include "providers/row_code.h"
#include "providers/verify.h"

#include "base/assert.h"
#include "base/private_key.h"
#include "base/time.h"
#include "providers/key_find.h"
#include "providers/pinned.h"

#include <stdio.h>

#define HOSTS "api.paypal.com api.sandbox.paypal.com"
/* Of its own SDKs: the name must be one of paypal.com. These are the two it uses. */
#define CERTIFICATE_NAMES                                                                          \
    "messageverificationcerts.paypal.com messageverificationcerts.sandbox.paypal.com"

/* IEEE 802.3, as zlib has it; four bits a step: webhooks of PayPal are small and rare. */
static uint32_t crc32_of(struct slice text)
{
    static const uint32_t table[16] = {0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac,
                                       0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
                                       0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
                                       0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};
    uint32_t crc = 0xffffffffU;
    for (size_t i = 0; i < text.bytes; i++) {
        crc ^= text.at[i];
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return ~crc;
}

struct transmission {
    struct slice id, time, url, algorithm, signature;
};

static enum scheme_verdict read_headers(const struct http_head *head, struct transmission *t)
{
    const struct {
        struct slice name;
        struct slice *value;
        enum scheme_verdict missing;
    } headers[] = {
        {SLICE("paypal-transmission-sig"), &t->signature, SCHEME_SIGNATURE_MISSING},
        {SLICE("paypal-transmission-id"), &t->id, SCHEME_ID_MISSING},
        {SLICE("paypal-transmission-time"), &t->time, SCHEME_TIMESTAMP_MISSING},
        {SLICE("paypal-cert-url"), &t->url, SCHEME_SIGNATURE_MALFORMED},
        {SLICE("paypal-auth-algo"), &t->algorithm, SCHEME_SIGNATURE_MALFORMED},
    };
    for (size_t i = 0; i < bk_array_length(headers); i++) {
        enum scheme_verdict verdict =
            scheme_single(head, headers[i].name, headers[i].missing, headers[i].value);
        if (verdict != SCHEME_GENUINE) {
            return verdict;
        }
    }
    return slice_equal(t->algorithm, SLICE("SHA256withRSA")) ? SCHEME_GENUINE
                                                             : SCHEME_SIGNATURE_MALFORMED;
}

enum scheme_verdict paypal_verify(const struct scheme *scheme, const struct program *program,
                                  const struct scheme_request *request,
                                  struct scheme_answer *ret_answer)
{
    struct transmission t;
    uint8_t signature[SIGNATURE_BYTES_MAX];
    size_t bytes;
    (void)ret_answer;
    enum scheme_verdict verdict = read_headers(request->head, &t);
    if (verdict != SCHEME_GENUINE) {
        return verdict;
    }
    if (!base64_decode(t.signature, BASE64_STANDARD, signature, sizeof signature, &bytes)) {
        return SCHEME_SIGNATURE_MALFORMED;
    }
    if (!pinned_one_of(t.url, HOSTS)) {
        return SCHEME_KEY_UNKNOWN;
    }
    struct key_want want = {.form = KEY_CERTIFICATE,
                            .url = t.url,
                            .name = SLICE(CERTIFICATE_NAMES),
                            .algorithm = SIGNATURE_RSA_SHA256,
                            .now_seconds = request->now_seconds};
    const struct public_key *key;
    verdict = key_find(request, &want, &key);
    if (verdict != SCHEME_GENUINE) {
        return verdict;
    }
    char crc[11];
    snprintf(crc, sizeof crc, "%u", (unsigned)crc32_of(request->body));
    for (unsigned k = 0; k < scheme->key_count; k++) {
        const struct slice parts[] = {
            t.id,       SLICE("|"),    t.time, SLICE("|"), scheme_key(scheme, program, k)->token,
            SLICE("|"), slice_str(crc)};
        if (public_key_verify(key, want.algorithm, parts, bk_array_length(parts),
                              slice_of(signature, bytes))) {
            return SCHEME_GENUINE;
        }
    }
    return SCHEME_SIGNATURE_WRONG;
}

/* ---- the other direction */

enum bk_err paypal_sign(const struct scheme *scheme, const struct program *program,
                        const struct scheme_send *send, struct slice body, struct buf *headers)
{
    uint8_t signature[SIGNATURE_BYTES_MAX];
    char encoded[BASE64_ENCODED(SIGNATURE_BYTES_MAX)], when[25];
    struct buf text;
    if (send->private_key == NULL || scheme->key_count == 0) {
        return BK_UNSUPPORTED;
    }
    if (!pinned_one_of(send->certificate_url, HOSTS)) {
        return BK_INVALID;
    }
    time_format_rfc3339(send->now_seconds * NS_PER_SECOND, when);
    buf_init(&text, 4096);
    buf_add_slice(&text, send->id);
    buf_printf(&text, "|%s|", when);
    buf_add_slice(&text, scheme_key(scheme, program, 0)->token);
    buf_printf(&text, "|%u", (unsigned)crc32_of(body));
    size_t bytes = text.overflow ? 0
                                 : private_key_sign(send->private_key, SIGNATURE_RSA_SHA256,
                                                    buf_slice(&text), signature);
    buf_fini(&text);
    if (bytes == 0) {
        return BK_UNSUPPORTED;
    }
    buf_add_str(headers, "PAYPAL-TRANSMISSION-ID: ");
    buf_add_slice(headers, send->id);
    buf_printf(headers,
               "\r\nPAYPAL-TRANSMISSION-TIME: %s\r\nPAYPAL-AUTH-ALGO: SHA256withRSA\r\n"
               "PAYPAL-TRANSMISSION-SIG: %.*s\r\nPAYPAL-CERT-URL: ",
               when, (int)base64_encode(signature, bytes, BASE64_STANDARD, encoded), encoded);
    buf_add_slice(headers, send->certificate_url);
    buf_add_str(headers, "\r\n");
    return BK_OK;
}
