/* jwt_fuzz - any text as a token, and as the body of an SNS message or the Signature header of
 * Drone.
 *
 * Properties: nothing that a stranger writes is genuine; the verdict is the same for a copy; keys
 * are asked for only at addresses of the configuration, or that the rule pins. The first byte picks
 * the scheme: 0 token, 1 token by HMAC, 2 SNS, 3 HTTP signature, 4 PayPal, 5 token in the body. */
#include "base/assert.h"
#include "base/jwk.h"
#include "http/parse.h"
#include "providers/pinned.h"
#include "providers/row.h"

#include <stdio.h>
#include <stdlib.h>

#define NOW 1767225600LL

#define SCHEMES 6
static struct scheme *schemes[SCHEMES];
static struct jwk key;

static enum key_found find_key(void *context, const struct key_want *want,
                               const struct public_key **ret_key)
{
    struct slice region;
    bool china;
    (void)context;
    bk_assert(slice_equal(want->url, SLICE("https://issuer.example")) ||
              pinned_sns(want->url, &region, &china) ||
              pinned_one_of(want->url, "api.paypal.com api.sandbox.paypal.com"));
    *ret_key = &key.key;
    return KEY_FOUND;
}

static void make(unsigned index, const struct scheme_row *row, const char *secret)
{
    struct slice text = slice_str(secret);
    const char *message;
    size_t bytes;
    bk_assert(scheme_compile(row, &text, secret != NULL, -1, &schemes[index], &bytes, &message) ==
              BK_OK);
}

static void start(void)
{
    struct scheme_custom tokens = {.scheme = SLICE("jwt"),
                                   .issuer = SLICE("https://issuer.example"),
                                   .audience = SLICE("a b"),
                                   .claims = SLICE("/x/y=*\nz=1")};
    struct scheme_custom macs = {.scheme = SLICE("jwt"), .algorithm = SLICE("hs256")};
    struct scheme_row *row;
    const char *field, *message;
    if (schemes[0] != NULL) {
        return;
    }
    bk_assert(jwk_parse(SLICE("{\"kty\":\"OKP\",\"crv\":\"Ed25519\","
                              "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}"),
                        &key));
    bk_assert(scheme_row_custom(&tokens, &row, &field, &message) == BK_OK);
    make(0, row, NULL);
    scheme_row_free(row);
    bk_assert(scheme_row_custom(&macs, &row, &field, &message) == BK_OK);
    make(1, row, "a secret nobody knows");
    scheme_row_free(row);
    macs.signature_field = SLICE("/token");
    bk_assert(scheme_row_custom(&macs, &row, &field, &message) == BK_OK);
    make(5, row, "a secret nobody knows");
    scheme_row_free(row);
    make(2, scheme_row_find(SLICE("aws-sns")), "*");
    make(3, scheme_row_find(SLICE("drone")), "another secret");
    make(4, scheme_row_find(SLICE("paypal")), "webhook");
}

static enum scheme_verdict judge(unsigned index, struct slice text)
{
    static const char *const heads[SCHEMES] = {
        "Authorization: Bearer ", "Authorization: Bearer ", "X: ", "Signature: ", "", "X: "};
    char head_text[HTTP_HEAD_BYTES_MAX];
    struct http_head head;
    struct scheme_answer answer = {0};
    struct slice shown = index == 2 || index == 5 ? SLICE_EMPTY : text;
    int n = snprintf(head_text, sizeof head_text, "POST / HTTP/1.1\r\nHost: h\r\n%s%.*s\r\n\r\n",
                     heads[index], (int)shown.bytes, (const char *)shown.at);
    if (n < 0 || (size_t)n >= sizeof head_text ||
        http_parse_request((const uint8_t *)head_text, (size_t)n, &head) != HTTP_PARSE_DONE) {
        return SCHEME_SIGNATURE_MALFORMED;
    }
    struct key_finder finder = {find_key, NULL};
    struct scheme_request request = {
        .head = &head, .body = text, .now_seconds = NOW, .keys = &finder};
    return scheme_verify(schemes[index], &request, &answer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    start();
    if (size < 1) {
        return 0;
    }
    unsigned index = data[0] % SCHEMES;
    struct slice text = slice_of(data + 1, size - 1);
    enum scheme_verdict verdict = judge(index, text);
    uint8_t *copy = malloc(text.bytes + 1);
    bk_assert(copy != NULL);
    if (text.bytes != 0) {
        memcpy(copy, text.at, text.bytes);
    }
    bk_assert(judge(index, slice_of(copy, text.bytes)) == verdict);
    bk_assert(verdict != SCHEME_GENUINE && verdict != SCHEME_HANDSHAKE);
    free(copy);
    return 0;
}
