/* Adyen's standard webhooks: an HMAC-SHA-256 inside the JSON body over eight values of the one item
 * that the notification has. The other webhooks (balance platform, management) sign the body, in a
 * header, and are the row's first way. The secret is the key in hexadecimal digits.
 *
 * Only those eight values are signed: the item's other members (additionalData, reason, eventDate)
 * are as trustworthy as the way they came.
 * https://docs.adyen.com/development-resources/webhooks/secure-webhooks/verify-hmac-signatures */
#include "providers/row_code.h"

#include "base/assert.h"
#include "base/ct.h"
#include "base/hex.h"
#include "providers/json_members.h"

#define KEY_BYTES_MAX 128U
#define ESCAPE_ROOM   4096U /* of all values that have escapes, decoded */

enum {
    PSP_REFERENCE,
    ORIGINAL_REFERENCE, /* of what changes an earlier payment; else it is not there */
    MERCHANT_ACCOUNT,
    MERCHANT_REFERENCE,
    VALUE,
    CURRENCY,
    EVENT_CODE,
    SUCCESS,
    SIGNED
};

/* The values in the order in which they are signed, and the signature. */
static bool read_item(struct slice body, struct json_member *values, struct json_member *signature)
{
    struct json_member list = {.name = SLICE("notificationItems"), .kind = JSON_MEMBER_OBJECT};
    struct json_member item = {.name = SLICE("NotificationRequestItem"),
                               .kind = JSON_MEMBER_OBJECT};
    struct json_member members[] = {{.name = SLICE("pspReference")},
                                    {.name = SLICE("originalReference")},
                                    {.name = SLICE("merchantAccountCode")},
                                    {.name = SLICE("merchantReference")},
                                    {.name = SLICE("eventCode")},
                                    {.name = SLICE("success")},
                                    {.name = SLICE("amount"), .kind = JSON_MEMBER_OBJECT},
                                    {.name = SLICE("additionalData"), .kind = JSON_MEMBER_OBJECT}};
    struct json_member amount[] = {{.name = SLICE("value"), .kind = JSON_MEMBER_INTEGER},
                                   {.name = SLICE("currency")}};
    struct slice only;
    *signature = (struct json_member){.name = SLICE("hmacSignature")};
    if (!json_members(body, &list, 1) || !json_only_element(list.text, &only) ||
        !json_members(only, &item, 1) || !json_members(item.text, members, 8) ||
        !json_members(members[6].text, amount, 2) || !json_members(members[7].text, signature, 1)) {
        return false;
    }
    values[PSP_REFERENCE] = members[0];
    values[ORIGINAL_REFERENCE] = members[1];
    values[MERCHANT_ACCOUNT] = members[2];
    values[MERCHANT_REFERENCE] = members[3];
    values[VALUE] = amount[0];
    values[CURRENCY] = amount[1];
    values[EVENT_CODE] = members[4];
    values[SUCCESS] = members[5];
    for (unsigned i = 0; i < SIGNED; i++) {
        if (!values[i].found && i != ORIGINAL_REFERENCE && i != MERCHANT_REFERENCE) {
            return false;
        }
    }
    return true;
}

/* What a value is without escapes, in `room`. False: there is none left. */
static bool decode(const struct json_member *value, struct slice *room, struct slice *ret_text)
{
    uint8_t piece[JSON_PIECE_BYTES];
    struct slice rest = value->text;
    uint8_t *from = (uint8_t *)(uintptr_t)room->at;
    size_t bytes, used = 0;
    *ret_text = value->text;
    if (!value->escaped) {
        return true;
    }
    while ((bytes = json_unescape(&rest, piece)) != 0) {
        if (bytes > room->bytes - used) {
            return false;
        }
        memcpy(from + used, piece, bytes);
        used += bytes;
    }
    *ret_text = slice_of(from, used);
    *room = slice_skip(*room, used);
    return true;
}

static bool key_signed(struct slice secret, const struct slice *parts, unsigned count,
                       const uint8_t signature[SHA256_BYTES])
{
    uint8_t key[KEY_BYTES_MAX], mac[SHA256_BYTES];
    struct hmac_sha256_key schedule;
    size_t bytes = secret.bytes / 2;
    if (secret.bytes % 2 != 0 || bytes > sizeof key || !hex_decode(secret, key, bytes)) {
        return false;
    }
    hmac_sha256_key_init(&schedule, slice_of(key, bytes));
    hmac_sha256(&schedule, parts, count, mac);
    bk_wipe(key, sizeof key);
    bk_wipe(&schedule, sizeof schedule);
    return bk_ct_equal(mac, signature, sizeof mac);
}

enum scheme_verdict adyen_verify(const struct scheme *scheme, const struct program *program,
                                 const struct scheme_request *request,
                                 struct scheme_answer *ret_answer)
{
    struct json_member values[SIGNED], signature;
    uint8_t decoded[ESCAPE_ROOM], given[SHA256_BYTES];
    struct slice parts[2 * SIGNED - 1], room = slice_of(decoded, sizeof decoded);
    size_t bytes = 0;
    bool matches = false;
    (void)ret_answer;
    if (!read_item(request->body, values, &signature)) {
        return SCHEME_SIGNATURE_MALFORMED;
    }
    if (!signature.found) {
        return SCHEME_SIGNATURE_MISSING;
    }
    struct slice text;
    if (!decode(&signature, &room, &text) ||
        !base64_decode(text, BASE64_STANDARD, given, sizeof given, &bytes) ||
        bytes != sizeof given) {
        return SCHEME_SIGNATURE_MALFORMED;
    }
    for (unsigned i = 0; i < SIGNED; i++) {
        if (i != 0) {
            parts[2 * i - 1] = SLICE(":");
        }
        if (!decode(&values[i], &room, &parts[2 * i])) {
            return SCHEME_SIGNATURE_MALFORMED;
        }
    }
    for (unsigned k = 0; k < scheme->key_count; k++) {
        matches |= key_signed(scheme_key(scheme, program, k)->token, parts, 2 * SIGNED - 1, given);
    }
    return matches ? SCHEME_GENUINE : SCHEME_SIGNATURE_WRONG;
}
