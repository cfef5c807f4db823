/* Amazon SNS: an RSA signature inside the JSON body over some of its values.
 *
 * Anybody can make a topic and subscribe any address to it, so a right signature says only that
 * Amazon sent it: the source's secrets are the ARNs of the topics it takes, where * stands for any
 * text. https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html */
#include "providers/row_code.h"

#include "base/assert.h"
#include "base/glob.h"
#include "base/json.h"
#include "base/private_key.h"
#include "base/time.h"
#include "providers/json_members.h"
#include "providers/key_find.h"
#include "providers/pinned.h"

#include <stdio.h>

enum {
    MESSAGE,
    MESSAGE_ID,
    SUBJECT,
    SUBSCRIBE_URL,
    TIMESTAMP,
    TOKEN,
    TOPIC_ARN,
    TYPE,
    VERSION,
    SIGNATURE,
    CERT_URL,
    CERT_URL_LAMBDA, /* another spelling of the same */
    MEMBERS
};

/* In the order in which they are signed. */
static const uint8_t signed_notification[] = {MESSAGE,   MESSAGE_ID, SUBJECT,
                                              TIMESTAMP, TOPIC_ARN,  TYPE};
static const uint8_t signed_confirmation[] = {MESSAGE, MESSAGE_ID, SUBSCRIBE_URL, TIMESTAMP,
                                              TOKEN,   TOPIC_ARN,  TYPE};

static void add_value(struct signature_digest *digest, const struct json_member *member)
{
    uint8_t piece[JSON_PIECE_BYTES];
    struct slice rest = member->text;
    size_t bytes;
    if (!member->escaped) {
        signature_digest_add(digest, rest);
        return;
    }
    while ((bytes = json_unescape(&rest, piece)) != 0) {
        signature_digest_add(digest, slice_of(piece, bytes));
    }
}

/* False: a member that must be there is not. */
static bool add_signed(struct signature_digest *digest, const struct json_member *members,
                       const uint8_t *order, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct json_member *member = &members[order[i]];
        if (!member->found && order[i] == SUBJECT) {
            continue;
        }
        if (!member->found) {
            return false;
        }
        signature_digest_add(digest, member->name);
        signature_digest_add(digest, SLICE("\n"));
        add_value(digest, member);
        signature_digest_add(digest, SLICE("\n"));
    }
    return true;
}

static bool algorithm_of(struct slice version, enum signature_algorithm *ret_algorithm)
{
    bool first = slice_equal(version, SLICE("1"));
    *ret_algorithm = first ? SIGNATURE_RSA_SHA1 : SIGNATURE_RSA_SHA256;
    return first || slice_equal(version, SLICE("2"));
}

static bool topic_is_taken(const struct scheme *scheme, const struct program *program,
                           const struct json_member *topic)
{
    for (unsigned k = 0; k < scheme->key_count; k++) {
        if (!topic->escaped && glob_matches(scheme_key(scheme, program, k)->token, topic->text)) {
            return true;
        }
    }
    return false;
}

static bool ends_pem(struct slice url)
{
    return url.bytes > 4 && slice_equal(slice_skip(url, url.bytes - 4), SLICE(".pem"));
}

#define NAMES_BYTES 224U

/* Whom the certificate may be for. Regions that were there first share one, those that are switched
 * on by hand have their own (as AWS's SDK for Java knows them). */
static struct slice certificate_names(struct slice region, bool china, char names[NAMES_BYTES])
{
    const char *end = china ? ".cn" : "";
    bool government = slice_starts(region, SLICE("us-gov-"));
    int bytes = (int)region.bytes;
    const char *at = (const char *)region.at;
    int used =
        snprintf(names, NAMES_BYTES, "sns-signing.%.*s.amazonaws.com%s sns.%.*s.amazonaws.com%s ",
                 bytes, at, end, bytes, at, end);
    if (china || government) {
        used += snprintf(names + used, NAMES_BYTES - (size_t)used, "sns-%.*s.amazonaws.com%s",
                         china ? bytes : 13, china ? at : "us-gov-west-1", end);
    } else {
        used += snprintf(names + used, NAMES_BYTES - (size_t)used, "sns.amazonaws.com");
    }
    return slice_of(names, (size_t)used);
}

static enum scheme_verdict check_signature(const struct scheme_request *request,
                                           const struct json_member *members, bool confirmation)
{
    const struct json_member *url = &members[members[CERT_URL].found ? CERT_URL : CERT_URL_LAMBDA];
    struct key_want want = {
        .form = KEY_CERTIFICATE, .url = url->text, .now_seconds = request->now_seconds};
    uint8_t signature[SIGNATURE_BYTES_MAX];
    size_t bytes;
    if (!members[SIGNATURE].found || !members[VERSION].found || !url->found) {
        return SCHEME_SIGNATURE_MISSING;
    }
    if (!algorithm_of(members[VERSION].text, &want.algorithm) || url->escaped ||
        !base64_decode(members[SIGNATURE].text, BASE64_STANDARD, signature, sizeof signature,
                       &bytes)) {
        return SCHEME_SIGNATURE_MALFORMED;
    }
    struct slice region;
    bool china;
    char names[NAMES_BYTES];
    if (!pinned_sns(url->text, &region, &china) || !ends_pem(url->text)) {
        return SCHEME_KEY_UNKNOWN;
    }
    want.name = certificate_names(region, china, names);
    const struct public_key *key;
    enum scheme_verdict verdict = key_find(request, &want, &key);
    if (verdict != SCHEME_GENUINE) {
        return verdict;
    }
    struct signature_digest digest;
    signature_digest_init(&digest, want.algorithm);
    bool whole =
        confirmation
            ? add_signed(&digest, members, signed_confirmation, sizeof signed_confirmation)
            : add_signed(&digest, members, signed_notification, sizeof signed_notification);
    if (!whole) {
        return SCHEME_SIGNATURE_MALFORMED;
    }
    return public_key_verify_digest(key, &digest, slice_of(signature, bytes))
               ? SCHEME_GENUINE
               : SCHEME_SIGNATURE_WRONG;
}

enum scheme_verdict sns_verify(const struct scheme *scheme, const struct program *program,
                               const struct scheme_request *request,
                               struct scheme_answer *ret_answer)
{
    struct json_member members[MEMBERS] = {
        [MESSAGE] = {.name = SLICE("Message")},
        [MESSAGE_ID] = {.name = SLICE("MessageId")},
        [SUBJECT] = {.name = SLICE("Subject")},
        [SUBSCRIBE_URL] = {.name = SLICE("SubscribeURL")},
        [TIMESTAMP] = {.name = SLICE("Timestamp")},
        [TOKEN] = {.name = SLICE("Token")},
        [TOPIC_ARN] = {.name = SLICE("TopicArn")},
        [TYPE] = {.name = SLICE("Type")},
        [VERSION] = {.name = SLICE("SignatureVersion")},
        [SIGNATURE] = {.name = SLICE("Signature")},
        [CERT_URL] = {.name = SLICE("SigningCertURL")},
        [CERT_URL_LAMBDA] = {.name = SLICE("SigningCertUrl")},
    };
    if (!json_members(request->body, members, MEMBERS)) {
        return SCHEME_SIGNATURE_MALFORMED;
    }
    struct slice type = members[TYPE].text;
    bool subscribe = slice_equal(type, SLICE("SubscriptionConfirmation"));
    bool confirmation = subscribe || slice_equal(type, SLICE("UnsubscribeConfirmation"));
    if (!confirmation && !slice_equal(type, SLICE("Notification"))) {
        return SCHEME_SIGNATURE_MALFORMED;
    }
    enum scheme_verdict verdict = check_signature(request, members, confirmation);
    if (verdict != SCHEME_GENUINE) {
        return verdict;
    }
    if (!topic_is_taken(scheme, program, &members[TOPIC_ARN])) {
        return SCHEME_SENDER_REFUSED;
    }
    if (!subscribe) {
        return SCHEME_GENUINE; /* to confirm an UnsubscribeConfirmation would subscribe again */
    }
    struct slice region;
    bool china;
    if (members[SUBSCRIBE_URL].escaped ||
        !pinned_sns(members[SUBSCRIBE_URL].text, &region, &china)) {
        return SCHEME_BODY_MALFORMED;
    }
    *ret_answer = (struct scheme_answer){.status = 200, .confirm = members[SUBSCRIBE_URL].text};
    return SCHEME_HANDSHAKE;
}

/* ---- the other direction */

/* The first topic that is taken; a pattern's stars stand for nothing. */
static void add_topic(const struct scheme *scheme, const struct program *program, struct buf *text)
{
    struct slice pattern = scheme_key(scheme, program, 0)->token;
    for (size_t i = 0; i < pattern.bytes; i++) {
        if (pattern.at[i] != '*') {
            buf_add_byte(text, pattern.at[i]);
        }
    }
    if (text->bytes == 0) {
        buf_add_str(text, "arn:aws:sns:us-east-1:000000000000:test");
    }
}

/* Names and values of the envelope, without the signature. */
static void add_envelope(struct buf *json, struct buf *signed_text, const struct slice *values)
{
    static const char *const names[] = {"Message", "MessageId", "Timestamp", "TopicArn", "Type"};
    for (size_t i = 0; i < bk_array_length(names); i++) {
        buf_printf(json, "%s\"%s\":", i != 0 ? "," : "{", names[i]);
        json_add_string(json, values[i]);
        buf_printf(signed_text, "%s\n", names[i]);
        buf_add_slice(signed_text, values[i]);
        buf_add_byte(signed_text, '\n');
    }
}

static enum bk_err envelope_sign(const struct scheme *scheme, const struct program *program,
                                 const struct scheme_send *send, struct buf *json, struct buf *text,
                                 struct buf *topic)
{
    uint8_t signature[SIGNATURE_BYTES_MAX];
    char encoded[BASE64_ENCODED(SIGNATURE_BYTES_MAX)], when[25];
    struct json_member message = {.name = SLICE("Message")};
    struct slice region;
    bool china;
    if (!pinned_sns(send->certificate_url, &region, &china) || !ends_pem(send->certificate_url)) {
        return BK_INVALID;
    }
    time_format_rfc3339(send->now_seconds * NS_PER_SECOND, when);
    add_topic(scheme, program, topic);
    const struct slice values[] = {send->body, send->id, slice_str(when), buf_slice(topic),
                                   SLICE("Notification")};
    add_envelope(json, text, values);
    size_t bytes =
        private_key_sign(send->private_key, SIGNATURE_RSA_SHA256, buf_slice(text), signature);
    if (bytes == 0 || text->overflow) {
        return bytes == 0 ? BK_UNSUPPORTED : BK_NO_MEMORY;
    }
    buf_printf(json, ",\"SignatureVersion\":\"2\",\"Signature\":\"%.*s\",\"SigningCertURL\":",
               (int)base64_encode(signature, bytes, BASE64_STANDARD, encoded), encoded);
    json_add_string(json, send->certificate_url);
    buf_add_byte(json, '}');
    /* A message that is no UTF-8 cannot be in one. */
    return json_members(buf_slice(json), &message, 1) ? BK_OK : BK_INVALID;
}

enum bk_err sns_sign(const struct scheme *scheme, const struct program *program,
                     const struct scheme_send *send, struct buf *body, struct buf *headers)
{
    struct buf json, text, topic;
    if (send->private_key == NULL || scheme->key_count == 0) {
        return BK_UNSUPPORTED;
    }
    buf_init(&json, body->bytes_max);
    buf_init(&text, body->bytes_max);
    buf_init(&topic, body->bytes_max);
    enum bk_err err = envelope_sign(scheme, program, send, &json, &text, &topic);
    if (err == BK_OK) {
        body->bytes = 0;
        buf_add_slice(body, buf_slice(&json));
        buf_printf(headers, "x-amz-sns-message-type: Notification\r\nx-amz-sns-message-id: ");
        buf_add_slice(headers, send->id);
        buf_add_str(headers, "\r\nx-amz-sns-topic-arn: ");
        buf_add_slice(headers, buf_slice(&topic));
        buf_add_str(headers, "\r\n");
    }
    buf_fini(&json);
    buf_fini(&text);
    buf_fini(&topic);
    return err;
}
