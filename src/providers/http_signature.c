/* HTTP signatures as Drone sends them: an HMAC over a list of header lines that the sender chooses,
 * with the body covered by its digest. What the list must have is the row's `signed_template`,
 * names separated by blanks. Nothing that the sender says weakens that.
 * https://datatracker.ietf.org/doc/html/draft-cavage-http-signatures */
#include "providers/row_code.h"
#include "providers/sent_at.h"
#include "providers/verify.h"

#include "base/assert.h"
#include "base/ct.h"
#include "base/sha256.h"
#include "base/time.h"

#include <stdio.h>

#define NAMES_MAX     16U
#define NAME_TEXT_MAX 512U
#define TARGET_NAME   "(request-target)"
#define DIGEST_PREFIX "SHA-256="

struct parameters {
    struct slice key_id, algorithm, signature, headers;
};

/* word="text", nothing else; each known word once. */
static bool take_parameter(struct slice *rest, struct parameters *p)
{
    const struct {
        struct slice word;
        struct slice *value;
    } known[] = {{SLICE("keyId"), &p->key_id},
                 {SLICE("algorithm"), &p->algorithm},
                 {SLICE("signature"), &p->signature},
                 {SLICE("headers"), &p->headers}};
    struct slice word = slice_of(rest->at, slice_find(*rest, '='));
    struct slice value = slice_skip(*rest, word.bytes + 1);
    if (value.bytes < 2 || value.at[0] != '"') {
        return false;
    }
    value = slice_of(value.at + 1, value.bytes - 1);
    size_t bytes = slice_find(value, '"');
    if (bytes == value.bytes) {
        return false;
    }
    *rest = slice_skip(value, bytes + 1);
    for (size_t i = 0; i < bk_array_length(known); i++) {
        if (slice_equal(word, known[i].word)) {
            bool again = known[i].value->at != NULL;
            *known[i].value = slice_of(value.at, bytes);
            return !again;
        }
    }
    return false;
}

static bool parse(struct slice text, struct parameters *p)
{
    *p = (struct parameters){0};
    while (take_parameter(&text, p)) {
        if (text.bytes == 0) {
            return p->key_id.bytes != 0 && p->algorithm.bytes != 0 && p->signature.bytes != 0;
        }
        if (text.at[0] != ',') {
            return false;
        }
        text = slice_trim(slice_skip(text, 1));
    }
    return false;
}

/* The lines that are signed, in pieces, and their names. */
struct lines {
    unsigned name_count;
    struct slice names[NAMES_MAX];
    unsigned part_count;
    struct slice parts[NAMES_MAX * 6];
    size_t text_bytes;
    uint8_t text[NAME_TEXT_MAX]; /* names and the method in lower case */
};

static struct slice lower(struct lines *lines, struct slice text)
{
    uint8_t *at = lines->text + lines->text_bytes;
    if (text.bytes > sizeof lines->text - lines->text_bytes) {
        return SLICE_EMPTY;
    }
    for (size_t i = 0; i < text.bytes; i++) {
        at[i] = ascii_lower(text.at[i]);
    }
    lines->text_bytes += text.bytes;
    return slice_of(at, text.bytes);
}

static void add(struct lines *lines, struct slice part)
{
    bk_assert(lines->part_count < bk_array_length(lines->parts));
    lines->parts[lines->part_count++] = part;
}

static enum scheme_verdict add_line(struct lines *lines, struct slice name,
                                    const struct http_head *head)
{
    struct slice value;
    if (lines->name_count != 0) {
        add(lines, SLICE("\n"));
    }
    lines->names[lines->name_count++] = name;
    add(lines, name);
    add(lines, SLICE(": "));
    if (slice_equal(name, SLICE(TARGET_NAME))) {
        add(lines, lower(lines, http_method_text(head)));
        add(lines, SLICE(" "));
        add(lines, http_target(head));
        return SCHEME_GENUINE;
    }
    enum scheme_verdict verdict = scheme_single(head, name, SCHEME_SIGNATURE_MALFORMED, &value);
    add(lines, value);
    return verdict;
}

static enum scheme_verdict read_lines(struct slice headers, const struct http_head *head,
                                      struct lines *lines)
{
    lines->name_count = lines->part_count = 0;
    lines->text_bytes = 0;
    while (headers.bytes != 0) {
        struct slice word = slice_of(headers.at, slice_find(headers, ' '));
        headers = slice_skip(headers, word.bytes + 1);
        struct slice name = lower(lines, word);
        if (lines->name_count == NAMES_MAX || name.bytes == 0) {
            return SCHEME_SIGNATURE_MALFORMED;
        }
        enum scheme_verdict verdict = add_line(lines, name, head);
        if (verdict != SCHEME_GENUINE) {
            return verdict;
        }
    }
    return SCHEME_GENUINE;
}

static bool has(const struct lines *lines, struct slice name)
{
    for (unsigned i = 0; i < lines->name_count; i++) {
        if (slice_equal(lines->names[i], name)) {
            return true;
        }
    }
    return false;
}

static bool has_all(const struct lines *lines, struct slice names)
{
    while (names.bytes != 0) {
        struct slice name = slice_of(names.at, slice_find(names, ' '));
        if (!has(lines, name)) {
            return false;
        }
        names = slice_skip(names, name.bytes + 1);
    }
    return true;
}

static bool matches(const struct scheme *scheme, const struct program *program,
                    enum hmac_algorithm algorithm, const struct lines *lines,
                    struct slice signature)
{
    uint8_t given[HMAC_BYTES_MAX], mac[HMAC_BYTES_MAX];
    size_t bytes = 0;
    if (!base64_decode(signature, BASE64_STANDARD, given, sizeof given, &bytes) ||
        bytes != hmac_bytes(algorithm)) {
        return false;
    }
    bool found = false;
    for (unsigned k = 0; k < scheme->key_count; k++) {
        struct hmac_key key;
        hmac_key_init(&key, algorithm, scheme_key(scheme, program, k)->token);
        hmac(&key, lines->parts, lines->part_count, mac);
        found |= bk_ct_equal(mac, given, bytes);
        bk_wipe(&key, sizeof key);
    }
    return found;
}

static bool digest_is_right(const struct scheme_request *request)
{
    struct slice value;
    uint8_t given[SHA256_BYTES + 2], digest[SHA256_BYTES];
    size_t bytes = 0;
    if (scheme_single(request->head, SLICE("digest"), SCHEME_DIGEST_WRONG, &value) !=
            SCHEME_GENUINE ||
        value.bytes < sizeof DIGEST_PREFIX - 1 ||
        !slice_equal_nocase(slice_of(value.at, sizeof DIGEST_PREFIX - 1), SLICE(DIGEST_PREFIX)) ||
        !base64_decode(slice_skip(value, sizeof DIGEST_PREFIX - 1), BASE64_STANDARD, given,
                       sizeof given, &bytes) ||
        bytes != SHA256_BYTES) {
        return false;
    }
    sha256(request->body, digest);
    return memcmp(digest, given, SHA256_BYTES) == 0;
}

/* Signature: …, or Authorization: Signature … */
static enum scheme_verdict find_value(const struct program *program, const struct http_head *head,
                                      struct slice *ret_value)
{
    struct slice value;
    unsigned count;
    if (http_find(head, program->signature.text, &count) != NULL) {
        return scheme_single(head, program->signature.text, SCHEME_SIGNATURE_MISSING, ret_value);
    }
    enum scheme_verdict verdict =
        scheme_single(head, SLICE("authorization"), SCHEME_SIGNATURE_MISSING, &value);
    if (verdict == SCHEME_GENUINE && !scheme_credentials(value, SLICE("signature"), ret_value)) {
        verdict = SCHEME_SIGNATURE_MISSING;
    }
    return verdict;
}

enum scheme_verdict http_signature_verify(const struct scheme *scheme,
                                          const struct program *program,
                                          const struct scheme_request *request,
                                          struct scheme_answer *ret_answer)
{
    struct parameters p;
    struct lines lines;
    struct slice value, date;
    int64_t seconds;
    (void)ret_answer;
    enum scheme_verdict verdict = find_value(program, request->head, &value);
    if (verdict != SCHEME_GENUINE) {
        return verdict;
    }
    bool sha1 = false;
    if (!parse(value, &p) || (!slice_equal(p.algorithm, SLICE("hmac-sha256")) &&
                              !(sha1 = slice_equal(p.algorithm, SLICE("hmac-sha1"))))) {
        return SCHEME_SIGNATURE_MALFORMED;
    }
    verdict = read_lines(p.headers, request->head, &lines);
    if (verdict != SCHEME_GENUINE) {
        return verdict;
    }
    if (!has_all(&lines, slice_str(program->row->signed_template))) {
        return SCHEME_SIGNATURE_MALFORMED;
    }
    if (!matches(scheme, program, sha1 ? HMAC_SHA1 : HMAC_SHA256, &lines, p.signature)) {
        return SCHEME_SIGNATURE_WRONG;
    }
    if (has(&lines, SLICE("digest")) && !digest_is_right(request)) {
        return SCHEME_DIGEST_WRONG;
    }
    if (!has(&lines, SLICE("date"))) {
        return SCHEME_GENUINE;
    }
    if (scheme_single(request->head, SLICE("date"), SCHEME_TIMESTAMP_MISSING, &date) !=
            SCHEME_GENUINE ||
        time_parse_http(date, &seconds) != BK_OK) {
        return SCHEME_TIMESTAMP_MALFORMED;
    }
    return scheme_check_age(scheme, program, seconds, request->now_seconds);
}

/* ---- the other direction */

enum bk_err http_signature_sign(const struct scheme *scheme, const struct program *program,
                                const struct scheme_send *send, struct slice body,
                                struct buf *headers)
{
    uint8_t digest[SHA256_BYTES], mac[HMAC_BYTES_MAX];
    char date[30], digest_text[BASE64_ENCODED(SHA256_BYTES)], text[BASE64_ENCODED(HMAC_BYTES_MAX)];
    struct hmac_key key;
    if (scheme->key_count == 0 ||
        !slice_equal(slice_str(program->row->signed_template), SLICE("date digest"))) {
        return BK_UNSUPPORTED;
    }
    time_format_http(send->now_seconds, date);
    sha256(body, digest);
    size_t digest_bytes = base64_encode(digest, sizeof digest, BASE64_STANDARD, digest_text);
    const struct slice parts[] = {SLICE("date: "), slice_str(date),
                                  SLICE("\ndigest: " DIGEST_PREFIX),
                                  slice_of(digest_text, digest_bytes)};
    hmac_key_init(&key, HMAC_SHA256, scheme_key(scheme, program, 0)->token);
    size_t bytes = hmac(&key, parts, bk_array_length(parts), mac);
    bk_wipe(&key, sizeof key);
    buf_printf(headers, "Date: %s\r\nDigest: " DIGEST_PREFIX "%.*s\r\n", date, (int)digest_bytes,
               digest_text);
    buf_add_slice(headers, program->signature.shown);
    buf_printf(headers,
               ": keyId=\"hmac-key\",algorithm=\"hmac-sha256\",signature=\"%.*s\","
               "headers=\"date digest\"\r\n",
               (int)base64_encode(mac, bytes, BASE64_STANDARD, text), text);
    return BK_OK;
}
