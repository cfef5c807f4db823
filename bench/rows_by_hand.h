/* rows_by_hand.h - verification as somebody would write it for one provider, for bench/rows.c.
 *
 * Each function does what the engine does for that row, no less: the headers that count found in
 * one pass, signature, timestamp and id there once, prefix and encoding strict, every signature of
 * a list compared, in constant time, the window, the provider's handshake. What is not asked for is
 * not computed; texts are not joined that can be hashed one after the other. They use base/, http/
 * and the scanner of JSON as the engine does; what differs is that one is told by data. With `all`,
 * event type and delivery id are found, too, and whether there are headers that must not be stored.
 */
#ifndef BENCH_ROWS_BY_HAND_H
#define BENCH_ROWS_BY_HAND_H

#include "base/base64.h"
#include "base/ct.h"
#include "base/hex.h"
#include "base/hmac.h"
#include "base/percent.h"
#include "base/time.h"
#include "providers/json_scan.h"
#include "providers/scheme.h"

struct seen {
    enum scheme_verdict verdict;
    struct slice type, id;
    bool has_secrets; /* headers that must not be stored */
};

typedef void hand_fn(const struct scheme_request *request, bool all, struct seen *seen);

#define HAND_NAMES_MAX      9U
#define HAND_SIGNATURES_MAX 8U
#define SECRET_NAMES        SLICE("authorization"), SLICE("proxy-authorization"), SLICE("cookie")

/* What such a function keeps for a source. */
static struct by_hand {
    struct slice names[HAND_NAMES_MAX]; /* its own, then the three of SECRET_NAMES */
    uint8_t tags[HAND_NAMES_MAX][16];
    unsigned name_count;
    struct hmac_sha256_key key;
    struct hmac_key other;
    struct slice secret;
} hand;

static void hand_init(const struct slice *names, unsigned count, struct slice secret,
                      struct slice key)
{
    hand.name_count = count;
    for (unsigned i = 0; i < count; i++) {
        hand.names[i] = names[i];
        memset(hand.tags[i], http_name_tag(names[i].at, names[i].bytes), sizeof hand.tags[i]);
    }
    hmac_sha256_key_init(&hand.key, key);
    hmac_key_init(&hand.other, HMAC_SHA1, key);
    hand.secret = secret;
}

/* ---- what more than one of them needs */

static inline struct slice value_at(const struct http_head *head, unsigned place)
{
    return place != 0 ? http_header_value(head, &head->headers[place - 1]) : SLICE_EMPTY;
}

static inline uint32_t locate(const struct scheme_request *request, uint8_t at[HAND_NAMES_MAX])
{
    return http_locate(request->head, hand.names, hand.tags, hand.name_count, at);
}

/* `own` names stand before those that must not be stored. */
static inline bool has_secrets(uint32_t found, unsigned own)
{
    return (found >> own & 7) != 0;
}

static inline bool decimal(struct slice text, int64_t *ret_value)
{
    int64_t value = 0;
    if (text.bytes == 0 || text.bytes > 18) {
        return false;
    }
    for (size_t i = 0; i < text.bytes; i++) {
        unsigned digit = (unsigned)text.at[i] - '0';
        if (digit > 9) {
            return false;
        }
        value = value * 10 + (int64_t)digit;
    }
    *ret_value = value;
    return true;
}

static inline enum scheme_verdict in_window(int64_t value, int64_t now, int64_t window)
{
    int64_t age = now - value;
    return age > window ? SCHEME_STALE : age < -window ? SCHEME_FUTURE : SCHEME_GENUINE;
}

static inline bool decode_base64(struct slice text, uint8_t *out, size_t want)
{
    size_t bytes;
    return base64_decode(text, BASE64_STANDARD, out, want, &bytes) && bytes == want;
}

static inline struct slice field(struct slice body, const char *const *steps, unsigned count)
{
    struct json_path path = {.step_count = count};
    struct json_found found;
    for (unsigned i = 0; i < count; i++) {
        path.steps[i] = slice_str(steps[i]);
    }
    json_scan(body, &path, 1, &found);
    return found.text;
}

static inline struct json_path path_of(const char *one, const char *two)
{
    return (struct json_path){{slice_str(one), slice_str(two)}, two != NULL ? 2 : 1};
}

/* In a query or a form, as sent. */
static struct slice form_value(struct slice form, struct slice name)
{
    while (form.bytes != 0) {
        struct slice pair = slice_of(form.at, slice_find(form, '&'));
        if (slice_starts(pair, name) && pair.bytes > name.bytes && pair.at[name.bytes] == '=') {
            return slice_skip(pair, name.bytes + 1);
        }
        form = slice_skip(form, pair.bytes + 1);
    }
    return SLICE_EMPTY;
}

static struct slice query_or_form(const struct scheme_request *request, struct slice name)
{
    struct slice target = http_target(request->head);
    struct slice value = form_value(slice_skip(target, slice_find(target, '?') + 1), name);
    bool json = request->body.bytes != 0 && request->body.at[0] == '{';
    return value.bytes != 0 || json ? value : form_value(request->body, name);
}

/* ---- a MAC over the body, in hex: GitHub */

static const struct slice github_names[] = {SLICE("x-hub-signature-256"), SLICE("x-github-event"),
                                            SLICE("x-github-delivery"), SECRET_NAMES};

static void github(const struct scheme_request *request, bool all, struct seen *seen)
{
    static const char prefix[] = "sha256=";
    uint8_t at[HAND_NAMES_MAX], given[SHA256_BYTES], mac[SHA256_BYTES];
    uint32_t found = locate(request, at);
    struct slice value = value_at(request->head, at[0]);
    seen->type = value_at(request->head, at[1]);
    if (all) {
        seen->id = value_at(request->head, at[2]);
        seen->has_secrets = has_secrets(found, 3);
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
        hmac_sha256(&hand.key, &request->body, 1, mac);
        seen->verdict = !bk_ct_equal(mac, given, sizeof mac)     ? SCHEME_SIGNATURE_WRONG
                        : slice_equal(seen->type, SLICE("ping")) ? SCHEME_HANDSHAKE
                                                                 : SCHEME_GENUINE;
    }
}

/* ---- in base 64: Shopify */

static const struct slice shopify_names[] = {SLICE("x-shopify-hmac-sha256"),
                                             SLICE("x-shopify-topic"),
                                             SLICE("x-shopify-webhook-id"),
                                             SLICE("shopify-hmac-sha256"),
                                             SLICE("shopify-topic"),
                                             SLICE("shopify-webhook-id"),
                                             SECRET_NAMES};

/* Its Events have the same headers without the X. */
static void shopify(const struct scheme_request *request, bool all, struct seen *seen)
{
    uint8_t at[HAND_NAMES_MAX], given[SHA256_BYTES], mac[SHA256_BYTES];
    uint32_t found = locate(request, at);
    unsigned own = at[0] != 0 ? 0 : 3;
    struct slice value = value_at(request->head, at[own]);
    if (all) {
        seen->type = value_at(request->head, at[1]);
        seen->type = seen->type.bytes != 0 ? seen->type : value_at(request->head, at[4]);
        seen->id = value_at(request->head, at[2]);
        seen->id = seen->id.bytes != 0 ? seen->id : value_at(request->head, at[5]);
        seen->has_secrets = has_secrets(found, 6);
    }
    if (found >> (16 + own) & 1) {
        seen->verdict = SCHEME_SIGNATURE_DOUBLED;
    } else if (value.bytes == 0) {
        seen->verdict = SCHEME_SIGNATURE_MISSING;
    } else if (!decode_base64(value, given, sizeof given)) {
        seen->verdict = SCHEME_SIGNATURE_MALFORMED;
    } else {
        hmac_sha256(&hand.key, &request->body, 1, mac);
        seen->verdict =
            bk_ct_equal(mac, given, sizeof mac) ? SCHEME_GENUINE : SCHEME_SIGNATURE_WRONG;
    }
}

/* ---- with a timestamp in another header: Slack */

static const struct slice slack_names[] = {SLICE("x-slack-signature"),
                                           SLICE("x-slack-request-timestamp"), SECRET_NAMES};

static enum scheme_verdict slack_signature(const struct scheme_request *request, const uint8_t *at,
                                           uint32_t found)
{
    uint8_t given[SHA256_BYTES], mac[SHA256_BYTES];
    struct slice value = value_at(request->head, at[0]);
    struct slice timestamp = value_at(request->head, at[1]);
    int64_t time;
    if (found >> 16 & 1) {
        return SCHEME_SIGNATURE_DOUBLED;
    }
    if (value.bytes == 0) {
        return SCHEME_SIGNATURE_MISSING;
    }
    if (value.bytes != 3 + sizeof given * 2 || memcmp(value.at, "v0=", 3) != 0 ||
        !hex_decode(slice_skip(value, 3), given, sizeof given)) {
        return SCHEME_SIGNATURE_MALFORMED;
    }
    if (found >> 17 & 1) {
        return SCHEME_SIGNATURE_DOUBLED;
    }
    if (!decimal(timestamp, &time)) {
        return timestamp.bytes == 0 ? SCHEME_TIMESTAMP_MISSING : SCHEME_TIMESTAMP_MALFORMED;
    }
    const struct slice parts[] = {SLICE("v0:"), timestamp, SLICE(":"), request->body};
    hmac_sha256(&hand.key, parts, 4, mac);
    return bk_ct_equal(mac, given, sizeof mac) ? in_window(time, request->now_seconds, 300)
                                               : SCHEME_SIGNATURE_WRONG;
}

static void slack(const struct scheme_request *request, bool all, struct seen *seen)
{
    uint8_t at[HAND_NAMES_MAX];
    struct json_found fields[3] = {{JSON_ABSENT, SLICE_EMPTY}};
    uint32_t found = locate(request, at);
    bool small = request->body.bytes <= 4096;
    if (all || small) {
        const struct json_path paths[] = {path_of("type", NULL), path_of("event", "type"),
                                          path_of("event_id", NULL)};
        json_scan(request->body, paths, all ? 3 : 1, fields);
    }
    if (all) {
        seen->type = fields[1].text.bytes != 0 ? fields[1].text : fields[0].text;
        seen->id = fields[2].text;
        seen->has_secrets = has_secrets(found, 2);
    }
    if (small && slice_equal(query_or_form(request, SLICE("ssl_check")), SLICE("1"))) {
        seen->verdict = SCHEME_HANDSHAKE;
        return;
    }
    seen->verdict = slack_signature(request, at, found);
    if (seen->verdict == SCHEME_GENUINE && small &&
        slice_equal(fields[0].text, SLICE("url_verification"))) {
        seen->verdict = SCHEME_HANDSHAKE;
    }
}

/* ---- with RFC 3339: Zendesk */

static const struct slice zendesk_names[] = {
    SLICE("x-zendesk-webhook-signature"), SLICE("x-zendesk-webhook-signature-timestamp"),
    SLICE("x-zendesk-webhook-invocation-id"), SECRET_NAMES};

static void zendesk(const struct scheme_request *request, bool all, struct seen *seen)
{
    uint8_t at[HAND_NAMES_MAX], given[SHA256_BYTES], mac[SHA256_BYTES];
    uint32_t found = locate(request, at);
    struct slice value = value_at(request->head, at[0]);
    struct slice timestamp = value_at(request->head, at[1]);
    int64_t time;
    if (all) {
        static const char *const type[] = {"type"};
        seen->type = field(request->body, type, 1);
        seen->id = value_at(request->head, at[2]);
        seen->has_secrets = has_secrets(found, 3);
    }
    if (found >> 16 & 1) {
        seen->verdict = SCHEME_SIGNATURE_DOUBLED;
    } else if (value.bytes == 0) {
        seen->verdict = SCHEME_SIGNATURE_MISSING;
    } else if (!decode_base64(value, given, sizeof given)) {
        seen->verdict = SCHEME_SIGNATURE_MALFORMED;
    } else if (found >> 17 & 1) {
        seen->verdict = SCHEME_SIGNATURE_DOUBLED;
    } else if (timestamp.bytes == 0) {
        seen->verdict = SCHEME_TIMESTAMP_MISSING;
    } else if (time_parse_rfc3339(timestamp, &time) != BK_OK) {
        seen->verdict = SCHEME_TIMESTAMP_MALFORMED;
    } else {
        const struct slice parts[] = {timestamp, request->body};
        hmac_sha256(&hand.key, parts, 2, mac);
        seen->verdict =
            bk_ct_equal(mac, given, sizeof mac)
                ? in_window(time, request->now_seconds * NS_PER_SECOND, 300 * NS_PER_SECOND)
                : SCHEME_SIGNATURE_WRONG;
    }
}

/* ---- a time in the body: Linear */

static const struct slice linear_names[] = {SLICE("linear-signature"), SLICE("linear-delivery"),
                                            SLICE("linear-event"), SECRET_NAMES};

static void linear(const struct scheme_request *request, bool all, struct seen *seen)
{
    static const char *const stamp[] = {"webhookTimestamp"};
    uint8_t at[HAND_NAMES_MAX], given[SHA256_BYTES], mac[SHA256_BYTES];
    uint32_t found = locate(request, at);
    struct slice value = value_at(request->head, at[0]);
    int64_t time;
    if (all) {
        seen->type = value_at(request->head, at[2]);
        seen->id = value_at(request->head, at[1]);
        seen->has_secrets = has_secrets(found, 3);
    }
    if (found >> 16 & 1) {
        seen->verdict = SCHEME_SIGNATURE_DOUBLED;
        return;
    }
    if (value.bytes == 0 || !hex_decode(value, given, sizeof given)) {
        seen->verdict = value.bytes == 0 ? SCHEME_SIGNATURE_MISSING : SCHEME_SIGNATURE_MALFORMED;
        return;
    }
    hmac_sha256(&hand.key, &request->body, 1, mac);
    if (!bk_ct_equal(mac, given, sizeof mac)) {
        seen->verdict = SCHEME_SIGNATURE_WRONG;
        return;
    }
    struct slice text = field(request->body, stamp, 1);
    seen->verdict = text.bytes == 0         ? SCHEME_TIMESTAMP_MISSING
                    : !decimal(text, &time) ? SCHEME_TIMESTAMP_MALFORMED
                                            : in_window(time, request->now_seconds * 1000, 60000);
}

/* ---- lists of signatures: Standard Webhooks, Stripe */

/* One MAC against all that were sent. */
static inline enum scheme_verdict any_of(const uint8_t (*given)[SHA256_BYTES], unsigned count,
                                         const struct slice *parts, unsigned part_count)
{
    uint8_t mac[SHA256_BYTES];
    hmac_sha256(&hand.key, parts, part_count, mac);
    for (unsigned i = 0; i < count; i++) {
        if (bk_ct_equal(mac, given[i], SHA256_BYTES)) {
            return SCHEME_GENUINE;
        }
    }
    return SCHEME_SIGNATURE_WRONG;
}

static const struct slice standard_names[] = {
    SLICE("webhook-signature"), SLICE("webhook-timestamp"), SLICE("webhook-id"), SECRET_NAMES};

static void standard(const struct scheme_request *request, bool all, struct seen *seen)
{
    uint8_t at[HAND_NAMES_MAX], given[HAND_SIGNATURES_MAX][SHA256_BYTES];
    uint32_t found = locate(request, at);
    struct slice rest = value_at(request->head, at[0]);
    struct slice timestamp = value_at(request->head, at[1]);
    struct slice id = value_at(request->head, at[2]);
    unsigned count = 0;
    int64_t time;
    if (all) {
        static const char *const type[] = {"type"};
        seen->type = field(request->body, type, 1);
        seen->id = id;
        seen->has_secrets = has_secrets(found, 3);
    }
    seen->verdict = found >> 16 & 1   ? SCHEME_SIGNATURE_DOUBLED
                    : rest.bytes == 0 ? SCHEME_SIGNATURE_MISSING
                                      : SCHEME_SIGNATURE_MALFORMED;
    while (rest.bytes != 0 && count < HAND_SIGNATURES_MAX) {
        struct slice one = slice_of(rest.at, slice_find(rest, ' '));
        rest = slice_skip(rest, one.bytes + 1);
        count += one.bytes > 3 && memcmp(one.at, "v1,", 3) == 0 &&
                 decode_base64(slice_skip(one, 3), given[count], SHA256_BYTES);
    }
    if (found >> 16 & 1 || count == 0 || rest.bytes != 0) {
        return;
    }
    if (found >> 17 & 1 || found >> 18 & 1) {
        seen->verdict = SCHEME_SIGNATURE_DOUBLED;
    } else if (!decimal(timestamp, &time)) {
        seen->verdict =
            timestamp.bytes == 0 ? SCHEME_TIMESTAMP_MISSING : SCHEME_TIMESTAMP_MALFORMED;
    } else if (id.bytes == 0) {
        seen->verdict = SCHEME_ID_MISSING;
    } else {
        const struct slice parts[] = {id, SLICE("."), timestamp, SLICE("."), request->body};
        seen->verdict = any_of(given, count, parts, 5);
        seen->verdict = seen->verdict == SCHEME_GENUINE ? in_window(time, request->now_seconds, 300)
                                                        : seen->verdict;
    }
}

static const struct slice stripe_names[] = {SLICE("stripe-signature"), SECRET_NAMES};

static enum scheme_verdict stripe_signature(const struct scheme_request *request, struct slice rest)
{
    uint8_t given[HAND_SIGNATURES_MAX][SHA256_BYTES];
    struct slice timestamp = SLICE_EMPTY;
    unsigned count = 0;
    int64_t time;
    while (rest.bytes != 0) {
        struct slice one = slice_of(rest.at, slice_find(rest, ','));
        rest = slice_skip(rest, one.bytes + 1);
        one = slice_trim(one);
        if (one.bytes >= 2 && memcmp(one.at, "t=", 2) == 0) {
            if (timestamp.at != NULL) {
                return SCHEME_SIGNATURE_MALFORMED;
            }
            timestamp = slice_of(one.at + 2, one.bytes - 2);
        } else if (one.bytes > 3 && memcmp(one.at, "v1=", 3) == 0) {
            if (count == HAND_SIGNATURES_MAX) {
                return SCHEME_SIGNATURE_MALFORMED;
            }
            count += hex_decode(slice_skip(one, 3), given[count], SHA256_BYTES);
        }
    }
    if (count == 0) {
        return SCHEME_SIGNATURE_MALFORMED;
    }
    if (!decimal(timestamp, &time)) {
        return timestamp.bytes == 0 ? SCHEME_TIMESTAMP_MISSING : SCHEME_TIMESTAMP_MALFORMED;
    }
    const struct slice parts[] = {timestamp, SLICE("."), request->body};
    enum scheme_verdict verdict = any_of(given, count, parts, 3);
    return verdict == SCHEME_GENUINE ? in_window(time, request->now_seconds, 300) : verdict;
}

static void stripe(const struct scheme_request *request, bool all, struct seen *seen)
{
    uint8_t at[HAND_NAMES_MAX];
    uint32_t found = locate(request, at);
    struct slice value = value_at(request->head, at[0]);
    if (all) {
        const struct json_path paths[] = {path_of("id", NULL), path_of("type", NULL)};
        struct json_found fields[2];
        json_scan(request->body, paths, 2, fields);
        seen->id = fields[0].text;
        seen->type = fields[1].text;
        seen->has_secrets = has_secrets(found, 1);
    }
    seen->verdict = found >> 16 & 1    ? SCHEME_SIGNATURE_DOUBLED
                    : value.bytes == 0 ? SCHEME_SIGNATURE_MISSING
                                       : stripe_signature(request, value);
}

/* ---- with the URL: Square */

static const struct slice square_names[] = {SLICE("x-square-hmacsha256-signature"), SECRET_NAMES};

static void square(const struct scheme_request *request, bool all, struct seen *seen)
{
    uint8_t at[HAND_NAMES_MAX], given[SHA256_BYTES], mac[SHA256_BYTES];
    uint32_t found = locate(request, at);
    struct slice value = value_at(request->head, at[0]), target = http_target(request->head);
    if (all) {
        const struct json_path paths[] = {path_of("event_id", NULL), path_of("type", NULL)};
        struct json_found fields[2];
        json_scan(request->body, paths, 2, fields);
        seen->id = fields[0].text;
        seen->type = fields[1].text;
        seen->has_secrets = has_secrets(found, 1);
    }
    if (found >> 16 & 1) {
        seen->verdict = SCHEME_SIGNATURE_DOUBLED;
    } else if (value.bytes == 0) {
        seen->verdict = SCHEME_SIGNATURE_MISSING;
    } else if (!decode_base64(value, given, sizeof given)) {
        seen->verdict = SCHEME_SIGNATURE_MALFORMED;
    } else if (target.bytes == 0 || target.at[0] != '/') {
        seen->verdict = SCHEME_BODY_MALFORMED;
    } else {
        const struct slice parts[] = {request->base, target, request->body};
        hmac_sha256(&hand.key, parts, 3, mac);
        seen->verdict =
            bk_ct_equal(mac, given, sizeof mac) ? SCHEME_GENUINE : SCHEME_SIGNATURE_WRONG;
    }
}

/* ---- in the body: Mailgun */

static const struct slice mailgun_names[] = {SECRET_NAMES};

/* The old form's fields are not looked for: nobody would write that today. */
static void mailgun(const struct scheme_request *request, bool all, struct seen *seen)
{
    const struct json_path paths[] = {
        path_of("signature", "signature"), path_of("signature", "timestamp"),
        path_of("signature", "token"), path_of("event-data", "event")};
    uint8_t at[HAND_NAMES_MAX], given[SHA256_BYTES], mac[SHA256_BYTES];
    uint32_t found = locate(request, at);
    struct json_found fields[4];
    int64_t time;
    json_scan(request->body, paths, all ? 4 : 3, fields);
    if (all) {
        seen->type = fields[3].text;
        seen->id = fields[2].text;
        seen->has_secrets = has_secrets(found, 0);
    }
    if (fields[0].text.bytes == 0) {
        seen->verdict = SCHEME_SIGNATURE_MISSING;
    } else if (!hex_decode(fields[0].text, given, sizeof given)) {
        seen->verdict = SCHEME_SIGNATURE_MALFORMED;
    } else if (!decimal(fields[1].text, &time)) {
        seen->verdict =
            fields[1].text.bytes == 0 ? SCHEME_TIMESTAMP_MISSING : SCHEME_TIMESTAMP_MALFORMED;
    } else if (fields[2].text.bytes == 0) {
        seen->verdict = SCHEME_ID_MISSING;
    } else {
        const struct slice parts[] = {fields[1].text, fields[2].text};
        hmac_sha256(&hand.key, parts, 2, mac);
        seen->verdict = bk_ct_equal(mac, given, sizeof mac)
                            ? in_window(time, request->now_seconds, 29700)
                            : SCHEME_SIGNATURE_WRONG;
    }
}

/* ---- three ways of signing: HubSpot. v3 with the URL and its escapes undone, which counts when it
 * is there; v1 and v2 are hashes with the secret in them, under one name. */

static const struct slice hubspot_names[] = {
    SLICE("x-hubspot-signature-v3"), SLICE("x-hubspot-request-timestamp"),
    SLICE("x-hubspot-signature"), SLICE("x-hubspot-signature-version"), SECRET_NAMES};

static struct slice hubspot_target(struct slice target, uint8_t *out)
{
    size_t n = 0;
    if (slice_find(target, '%') == target.bytes) {
        return target;
    }
    for (size_t i = 0; i < target.bytes; i++) {
        uint8_t c = target.at[i], plain;
        if (c == '%' && target.bytes - i >= 3 &&
            hex_decode(slice_of(target.at + i + 1, 2), &plain, 1) && plain != 0 &&
            strchr(":/?@!$'()*,;", plain) != NULL) {
            c = plain;
            i += 2;
        }
        out[n++] = c;
    }
    return slice_of(out, n);
}

static enum scheme_verdict hubspot_v3(const struct scheme_request *request, const uint8_t *at,
                                      uint32_t found)
{
    static uint8_t room[65536];
    uint8_t given[SHA256_BYTES], mac[SHA256_BYTES];
    struct slice value = value_at(request->head, at[0]), target = http_target(request->head);
    struct slice timestamp = value_at(request->head, at[1]);
    int64_t time;
    if (found >> 16 & 1) {
        return SCHEME_SIGNATURE_DOUBLED;
    }
    if (value.bytes == 0) {
        return SCHEME_SIGNATURE_MISSING;
    }
    if (!decode_base64(value, given, sizeof given)) {
        return SCHEME_SIGNATURE_MALFORMED;
    }
    if (found >> 17 & 1) {
        return SCHEME_SIGNATURE_DOUBLED;
    }
    if (!decimal(timestamp, &time)) {
        return timestamp.bytes == 0 ? SCHEME_TIMESTAMP_MISSING : SCHEME_TIMESTAMP_MALFORMED;
    }
    if (target.bytes == 0 || target.at[0] != '/') {
        return SCHEME_BODY_MALFORMED;
    }
    const struct slice parts[] = {http_method_text(request->head), request->base,
                                  hubspot_target(target, room), request->body, timestamp};
    hmac_sha256(&hand.key, parts, 5, mac);
    return bk_ct_equal(mac, given, sizeof mac)
               ? in_window(time, request->now_seconds * 1000, 300000)
               : SCHEME_SIGNATURE_WRONG;
}

static enum scheme_verdict hubspot_hash(const struct scheme_request *request, const uint8_t *at,
                                        uint32_t found)
{
    uint8_t given[SHA256_BYTES], digest[SHA256_BYTES];
    struct slice value = value_at(request->head, at[2]), target = http_target(request->head);
    struct slice method = http_method_text(request->head);
    bool v2 = slice_equal(value_at(request->head, at[3]), SLICE("v2"));
    br_sha256_context context;
    if (found >> 18 & 1) {
        return SCHEME_SIGNATURE_DOUBLED;
    }
    if (value.bytes == 0) {
        return SCHEME_SIGNATURE_MISSING;
    }
    if (!hex_decode(value, given, sizeof given)) {
        return SCHEME_SIGNATURE_MALFORMED;
    }
    if (v2 && (target.bytes == 0 || target.at[0] != '/')) {
        return SCHEME_BODY_MALFORMED;
    }
    sha256_init(&context);
    sha256_update(&context, hand.secret.at, hand.secret.bytes);
    if (v2) {
        sha256_update(&context, method.at, method.bytes);
        sha256_update(&context, request->base.at, request->base.bytes);
        sha256_update(&context, target.at, target.bytes);
    }
    sha256_update(&context, request->body.at, request->body.bytes);
    sha256_out(&context, digest);
    bk_wipe(&context, sizeof context);
    return bk_ct_equal(digest, given, sizeof digest) ? SCHEME_GENUINE : SCHEME_SIGNATURE_WRONG;
}

static void hubspot(const struct scheme_request *request, bool all, struct seen *seen)
{
    static const char *const type[] = {"0", "subscriptionType"};
    uint8_t at[HAND_NAMES_MAX];
    uint32_t found = locate(request, at);
    if (all) {
        seen->type = field(request->body, type, 2);
        seen->has_secrets = has_secrets(found, 4);
    }
    seen->verdict = at[0] != 0 ? hubspot_v3(request, at, found) : hubspot_hash(request, at, found);
}

/* ---- a form, sorted: Twilio */

static const struct slice twilio_names[] = {SLICE("x-twilio-signature"),
                                            SLICE("i-twilio-idempotency-token"), SECRET_NAMES};

#define HAND_PAIRS_MAX 512U

struct hand_pair {
    struct slice name, value;
};

static int hand_order(struct slice a, struct slice b)
{
    size_t both = a.bytes < b.bytes ? a.bytes : b.bytes;
    int order = both != 0 ? memcmp(a.at, b.at, both) : 0;
    return order != 0 ? order : (a.bytes > b.bytes) - (a.bytes < b.bytes);
}

static bool unescape(struct slice text, uint8_t **room, struct slice *ret_text)
{
    size_t bytes;
    *ret_text = text;
    if (slice_find(text, '%') == text.bytes && slice_find(text, '+') == text.bytes) {
        return true;
    }
    if (!percent_decode(text, true, *room, &bytes)) {
        return false;
    }
    *ret_text = slice_of(*room, bytes);
    *room += bytes;
    return true;
}

/* Each pair goes to its place among those before it: there are some twenty. */
static bool twilio_pairs(struct slice form, struct hand_pair *pairs, unsigned *ret_count)
{
    static uint8_t room_bytes[65536];
    uint8_t *room = room_bytes;
    unsigned count = 0;
    while (form.bytes != 0) {
        struct slice text = slice_of(form.at, slice_find(form, '&'));
        size_t name_bytes = slice_find(text, '=');
        struct hand_pair pair;
        form = slice_skip(form, text.bytes + 1);
        if (text.bytes == 0) {
            continue;
        }
        if (count == HAND_PAIRS_MAX ||
            !unescape(slice_of(text.at, name_bytes), &room, &pair.name) ||
            !unescape(slice_skip(text, name_bytes + 1), &room, &pair.value)) {
            return false;
        }
        unsigned to = count;
        int order = 1;
        for (; to > 0; to--) {
            order = hand_order(pairs[to - 1].name, pair.name);
            order = order != 0 ? order : hand_order(pairs[to - 1].value, pair.value);
            if (order <= 0) {
                break;
            }
        }
        if (to > 0 && order == 0) {
            continue; /* the same twice counts once */
        }
        memmove(&pairs[to + 1], &pairs[to], (count - to) * sizeof pair);
        pairs[to] = pair;
        count++;
    }
    *ret_count = count;
    return true;
}

/* With the default port, or without, as Twilio does not say which: tried if the URL fails. */
static void twilio(const struct scheme_request *request, bool all, struct seen *seen)
{
    struct hand_pair pairs[HAND_PAIRS_MAX + 1];
    struct slice parts[2 * HAND_PAIRS_MAX + 2];
    uint8_t at[HAND_NAMES_MAX], given[20], mac[HMAC_BYTES_MAX];
    uint32_t found = locate(request, at);
    struct slice value = value_at(request->head, at[0]), target = http_target(request->head);
    unsigned pair_count, part_count = 2;
    if (all) {
        seen->type = query_or_form(request, SLICE("MessageStatus"));
        seen->id = value_at(request->head, at[1]);
        seen->has_secrets = has_secrets(found, 2);
    }
    if (found >> 16 & 1) {
        seen->verdict = SCHEME_SIGNATURE_DOUBLED;
    } else if (value.bytes == 0) {
        seen->verdict = SCHEME_SIGNATURE_MISSING;
    } else if (!decode_base64(value, given, sizeof given)) {
        seen->verdict = SCHEME_SIGNATURE_MALFORMED;
    } else if (target.bytes == 0 || target.at[0] != '/' ||
               !twilio_pairs(request->body, pairs, &pair_count)) {
        seen->verdict = SCHEME_BODY_MALFORMED;
    } else {
        parts[0] = request->base;
        parts[1] = target;
        for (unsigned i = 0; i < pair_count; i++) {
            parts[part_count++] = pairs[i].name;
            parts[part_count++] = pairs[i].value;
        }
        hmac(&hand.other, parts, part_count, mac);
        bool good = bk_ct_equal(mac, given, sizeof given);
        if (!good) {
            parts[0] = SLICE("https://hooks.example.com:443");
            hmac(&hand.other, parts, part_count, mac);
            good = bk_ct_equal(mac, given, sizeof given);
        }
        seen->verdict = good ? SCHEME_GENUINE : SCHEME_SIGNATURE_WRONG;
    }
}

#endif
