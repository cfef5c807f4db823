/* Amazon SNS: an RSA signature inside the JSON body over some of its values.
 *
 * Anybody can make a topic and subscribe any address to it, so a right signature says only that
 * Amazon sent it: the source's secrets are the ARNs of the topics it takes, where * stands for any
 * text. https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html */
#include "providers/program.h"

#include "base/assert.h"
#include "base/glob.h"
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
