/* Explaining a verdict to a person: what was found, what was expected, what to look at. */
#include "providers/sent_at.h"
#include "providers/text.h"
#include "providers/verify.h"

#include "base/assert.h"
#include "base/hex.h"
#include "base/time.h"

#include <stdlib.h>

#define SHOWN_BYTES_MAX 100

/* %.*s for a slice of a request: cut, for what strangers send may be long. */
#define SHOW(text)                                                                                 \
    (int)((text).bytes < SHOWN_BYTES_MAX ? (text).bytes : SHOWN_BYTES_MAX), (const char *)(text).at

static const char *secret_word(const struct scheme *scheme)
{
    return scheme->key_count == 1 ? "secret" : "secrets";
}

/* "5 s old" or "5 s in the future". */
static void add_age(const struct program *program, int64_t value, int64_t now_seconds,
                    struct buf *text)
{
    int64_t age = now_seconds - value / unit_scale(program->unit);
    if (age >= 0) {
        buf_printf(text, "%lld s old", (long long)age);
    } else {
        buf_printf(text, "%lld s in the future", (long long)-age);
    }
}

static void explain_time(const struct program *program, const struct scheme_request *request,
                         const struct reading *r, struct buf *text)
{
    int64_t value = r->timestamp_value;
    struct slice shown = r->timestamp;
    if (program->time == TIME_BODY) {
        shown = place_value(&program->timestamp, request);
        if (scheme_read_body_time(program, request, &value) != SCHEME_GENUINE) {
            return;
        }
    }
    if (shown.bytes == 0) {
        buf_add_str(text, "this scheme has no timestamp: only the delivery id guards against "
                          "repeats\n");
        return;
    }
    buf_printf(text, "timestamp %.*s is ", SHOW(shown));
    add_age(program, value, request->now_seconds, text);
    int64_t tolerance_seconds = scheme_tolerance_seconds(r->scheme, program);
    if (tolerance_seconds == 0) {
        buf_add_str(text, "; its age is not checked\n");
    } else {
        buf_printf(text, ", the tolerance is %lld s\n", (long long)tolerance_seconds);
    }
}

/* ---- near misses: the same keys over other bytes */

static bool matches_body(struct reading *r, struct slice body)
{
    const struct program *program = r->program;
    for (unsigned i = 0; i < r->part_count; i++) {
        if (program->ops[i].kind == OP_BODY) {
            r->parts[i] = body;
        }
    }
    return scheme_match(r) >= 0;
}

/* The body with every line end written in the other way. */
static struct slice other_line_ends(struct slice body, bool to_crlf)
{
    uint8_t *copy = (uint8_t *)malloc(2 * body.bytes + 1);
    size_t n = 0;
    for (size_t i = 0; copy != NULL && i < body.bytes; i++) {
        bool crlf = body.at[i] == '\r' && i + 1 < body.bytes && body.at[i + 1] == '\n';
        if (crlf && !to_crlf) {
            continue;
        }
        if (body.at[i] == '\n' && to_crlf && (i == 0 || body.at[i - 1] != '\r')) {
            copy[n++] = '\r';
        }
        copy[n++] = body.at[i];
    }
    return copy != NULL ? slice_of(copy, n) : SLICE_EMPTY;
}

static const char *near_miss_line_ends(struct reading *r, struct slice body)
{
    const char *found = NULL;
    for (int to_crlf = 0; to_crlf < 2 && found == NULL; to_crlf++) {
        struct slice other = other_line_ends(body, to_crlf == 1);
        if (other.at != NULL && matches_body(r, other)) {
            found = to_crlf ? "the signature matches when line ends are CR LF: something on the "
                              "way turned them into LF"
                            : "the signature matches when line ends are LF: something on the way "
                              "turned them into CR LF";
        }
        free((void *)(uintptr_t)other.at);
    }
    return found;
}

static const char *near_miss_ending(struct reading *r, struct slice body)
{
    static const char *const ends[] = {"\n", "\r\n", " "};
    const char *found = NULL;
    for (size_t i = 0; i < bk_array_length(ends) && found == NULL; i++) {
        struct slice end = slice_str(ends[i]);
        if (body.bytes >= end.bytes &&
            memcmp(body.at + body.bytes - end.bytes, end.at, end.bytes) == 0 &&
            matches_body(r, slice_of(body.at, body.bytes - end.bytes))) {
            return "the signature matches the body without its last line end or blank: something "
                   "on the way added it";
        }
        uint8_t *longer = (uint8_t *)malloc(body.bytes + end.bytes);
        if (longer == NULL) {
            break;
        }
        if (body.bytes != 0) {
            memcpy(longer, body.at, body.bytes);
        }
        memcpy(longer + body.bytes, end.at, end.bytes);
        if (matches_body(r, slice_of(longer, body.bytes + end.bytes))) {
            found = "the signature matches the body with a line end or blank behind it: something "
                    "on the way cut it off";
        }
        free(longer);
    }
    return found;
}

/* The signature over something else that a sender may have taken for the signed text. */
static const char *near_miss_template(struct reading *r, const struct scheme_request *request)
{
    struct slice parts[OPS_MAX];
    struct reading other = *r;
    other.parts = parts;
    other.part_count = 1;
    other.parts[0] = request->body;
    if (r->part_count > 1 && r->program->kind != ROW_HASH && scheme_match(&other) >= 0) {
        return "the signature matches the body alone: the sender leaves out what this scheme signs "
               "besides it";
    }
    if (r->timestamp.bytes == 0 || r->program->kind == ROW_HASH) {
        return NULL;
    }
    static const char *const joints[] = {".", ":", "", "\n"};
    for (size_t i = 0; i < bk_array_length(joints); i++) {
        other.part_count = 3;
        other.parts[0] = r->timestamp;
        other.parts[1] = slice_str(joints[i]);
        other.parts[2] = request->body;
        if (scheme_match(&other) >= 0) {
            return "the signature matches timestamp and body joined in another way than this "
                   "scheme joins them";
        }
    }
    return NULL;
}

static const char *near_miss_url(struct reading *r)
{
    const struct program *program = r->program;
    for (unsigned i = 0; i < r->part_count; i++) {
        if (program->ops[i].kind != OP_URL && program->ops[i].kind != OP_URL_UNESCAPED) {
            continue;
        }
        struct slice *end = &r->parts[i + (r->parts[i + 1].bytes != 0)], url = *end;
        if (url.bytes == 0) {
            return "this scheme signs the public URL, which is not known: set it";
        }
        bool slash = url.at[url.bytes - 1] == '/';
        end->bytes -= slash;
        bool matches = slash && scheme_match(r) >= 0;
        *end = url;
        return matches ? "the signature matches the URL without its last '/'"
                       : "this scheme signs the public URL: compare it with the provider's, "
                         "character by character";
    }
    return NULL;
}

static void explain_wrong(const struct scheme *scheme, const struct program *program,
                          const struct scheme_request *request, struct buf *text)
{
    struct signature signatures[SIGNATURES_MAX];
    struct slice parts[OPS_MAX + 1];
    struct reading r;
    buf_printf(text, "%u %s tried\n", scheme->key_count, secret_word(scheme));
    if (scheme_read(scheme, program, request, signatures, parts, &r) != SCHEME_GENUINE) {
        return;
    }
    const char *found = near_miss_template(&r, request);
    found = found != NULL ? found : near_miss_url(&r);
    found = found != NULL ? found : near_miss_ending(&r, request->body);
    found = found != NULL ? found : near_miss_line_ends(&r, request->body);
    if (found != NULL) {
        buf_printf(text, "%s\n", found);
    }
    buf_printf(text, "the body that was checked has %zu bytes\n", request->body.bytes);
    explain_time(program, request, &r, text);
}

/* ---- missing and malformed */

static bool mentions_signature(struct slice name)
{
    static const char *const words[] = {"signature", "hmac", "token", "authorization"};
    for (size_t w = 0; w < bk_array_length(words); w++) {
        struct slice word = slice_str(words[w]);
        for (size_t i = 0; i + word.bytes <= name.bytes; i++) {
            if (slice_equal_nocase(slice_of(name.at + i, word.bytes), word)) {
                return true;
            }
        }
    }
    return false;
}

/* "the header X", "/field of the body", "?name of the query". */
static void add_where(const struct place *place, struct buf *text)
{
    const char *what = place->kind == PLACE_HEADER ? "the header " : "";
    buf_printf(text, "%s%.*s", what, SHOW(place->shown));
    buf_add_str(text, place->kind == PLACE_FORM     ? ", a field of the query or the form"
                      : place->kind != PLACE_HEADER ? " of the JSON body"
                                                    : "");
}

static void explain_missing(const struct scheme *scheme, const struct http_head *head,
                            struct buf *text)
{
    buf_add_str(text, "expected ");
    for (unsigned i = 0; i < scheme->plan->program_count; i++) {
        buf_add_str(text, i != 0 ? ", or " : "");
        add_where(&scheme->plan->programs[i].signature, text);
    }
    buf_add_str(text, "\n");
    for (unsigned i = 0; i < head->header_count; i++) {
        struct slice name = http_header_name(head, &head->headers[i]);
        if (mentions_signature(name)) {
            buf_printf(text, "there is a header %.*s%s: is the source of the right type?\n",
                       SHOW(name), head->headers[i].value_bytes == 0 ? ", which is empty" : "");
        }
    }
}

static const char *signature_wanted(enum signature_algorithm algorithm)
{
    return algorithm == SIGNATURE_P256_DER   ? "a DER signature"
           : algorithm == SIGNATURE_P256_RAW ? "64 bytes of signature"
                                             : "an RSA signature as long as the key";
}

/* Tokens are not shown, not even wrong ones: a typing error is close to the secret. */
static void explain_malformed(const struct program *program, const struct scheme_request *request,
                              struct buf *text)
{
    struct slice value = place_value(&program->signature, request);
    const char *format = program->row->format != NULL ? program->row->format : "{hex}";
    switch (program->kind) {
    case ROW_PUBLIC_KEY:
        buf_printf(text, "%.*s should look like %s, with %s\n", SHOW(program->signature.shown),
                   format, signature_wanted(program->row->signature));
        buf_printf(text, "it is: %.*s (%zu characters)\n", SHOW(value), value.bytes);
        return;
    case ROW_CODE:
        buf_printf(text, "%.*s is not what this provider sends\n", SHOW(program->signature.shown));
        return;
    case ROW_HMAC:
    case ROW_HASH:
    case ROW_ED25519:
        buf_printf(text, "%.*s should look like %s, with %u bytes of signature\n",
                   SHOW(program->signature.shown), format, program->format.lanes[0].bytes);
        buf_printf(text, "it is: %.*s (%zu characters)\n", SHOW(value), value.bytes);
        return;
    case ROW_BASIC:
        buf_add_str(text, "expected Basic and base64 of user:password\n");
        return;
    case ROW_BEARER:
        buf_add_str(text, "expected Bearer, one blank and the token\n");
        return;
    case ROW_TOKEN:
        buf_printf(text, "expected %s\n", format);
        return;
    case ROW_AUTHORIZATION:
        buf_add_str(text, "expected Bearer and the token, or Basic and base64 of user:password\n");
        return;
    case ROW_AUTO:
    case ROW_NONE:
        return;
    }
}

static void explain_doubled(const struct program *program, const struct http_head *head,
                            struct buf *text)
{
    unsigned count = 0;
    if (program->signature.kind == PLACE_HEADER) {
        http_find(head, program->signature.text, &count);
    }
    if (count > 1) {
        buf_printf(text, "%.*s is there %u times\n", SHOW(program->signature.shown), count);
    }
    if (program->timestamp.kind == PLACE_HEADER) {
        http_find(head, program->timestamp.text, &count);
        if (count > 1) {
            buf_printf(text, "%.*s is there %u times\n", SHOW(program->timestamp.shown), count);
        }
    }
}

static void explain_good(const struct scheme *scheme, const struct program *program,
                         const struct scheme_request *request, struct buf *text)
{
    struct signature signatures[SIGNATURES_MAX];
    struct slice parts[OPS_MAX + 1];
    struct reading r;
    if (!kind_signs(program->kind) ||
        scheme_read(scheme, program, request, signatures, parts, &r) != SCHEME_GENUINE) {
        return;
    }
    int index = scheme_match(&r);
    if (index >= 0) {
        buf_printf(text, "secret %d of %u matches\n", index + 1, scheme->key_count);
    }
    explain_time(program, request, &r, text);
}

static void explain_address(const struct scheme_request *request, struct buf *text)
{
    if (request->peer == NULL) {
        buf_add_str(text, "the address the request came from is not known\n");
        return;
    }
    for (unsigned i = 0; i < (request->peer_family == 4 ? 4U : 16U); i++) {
        buf_printf(text, request->peer_family == 4 ? "%s%u" : "%s%02x",
                   i == 0                      ? "it came from "
                   : request->peer_family == 4 ? "."
                   : i % 2 == 0                ? ":"
                                               : "",
                   request->peer[i]);
    }
    buf_add_str(text, "\n");
}

void scheme_explain(const struct scheme *scheme, const struct scheme_request *request,
                    enum scheme_verdict verdict, struct buf *text)
{
    bk_assert(scheme != NULL && request != NULL && text != NULL);
    buf_printf(text, "%s\n", scheme_verdict_text(verdict));
    struct scheme_request prepared = *request;
    scheme_prepare(scheme, &prepared);
    request = &prepared;
    scheme = prepared.slots.scheme;
    if (scheme == NULL) {
        return;
    }
    scratch_reset();
    const struct program *program = scheme_select(scheme, request);
    switch (verdict) {
    case SCHEME_GENUINE:
    case SCHEME_HANDSHAKE:
    case SCHEME_STALE:
    case SCHEME_FUTURE:
        explain_good(scheme, program, request, text);
        break;
    case SCHEME_SIGNATURE_MISSING:
        explain_missing(scheme, request->head, text);
        break;
    case SCHEME_SIGNATURE_MALFORMED:
        explain_malformed(program, request, text);
        break;
    case SCHEME_SIGNATURE_DOUBLED:
        explain_doubled(program, request->head, text);
        break;
    case SCHEME_SIGNATURE_WRONG:
        if (kind_signs(program->kind)) {
            explain_wrong(scheme, program, request, text);
        } else {
            buf_printf(text, "%u %s tried\n", scheme->key_count, secret_word(scheme));
        }
        break;
    case SCHEME_TIMESTAMP_MISSING:
    case SCHEME_TIMESTAMP_MALFORMED:
        if (program->timestamp.kind != PLACE_NONE) {
            struct slice found = place_value(&program->timestamp, request);
            buf_printf(text, "expected in %.*s, found%s%.*s\n", SHOW(program->timestamp.shown),
                       found.bytes ? ": " : " nothing", SHOW(found));
        } else {
            buf_printf(text, "expected in %.*s as %s\n", SHOW(program->signature.shown),
                       program->row->format);
        }
        break;
    case SCHEME_ID_MISSING:
        buf_add_str(text, "expected ");
        add_where(&program->id, text);
        buf_add_str(text, "\n");
        break;
    case SCHEME_ADDRESS_REFUSED:
        explain_address(request, text);
        break;
    case SCHEME_KEY_WANTED:
    case SCHEME_KEY_UNAVAILABLE:
    case SCHEME_KEY_UNKNOWN:
    case SCHEME_TOKEN_EXPIRED:
    case SCHEME_TOKEN_EARLY:
    case SCHEME_CLAIM_WRONG:
    case SCHEME_DIGEST_WRONG:
    case SCHEME_SENDER_REFUSED:
    case SCHEME_BODY_MALFORMED:
    case SCHEME_HANDSHAKE_REFUSED:
    case SCHEME_NO_SECRET_YET:
    case SCHEME_TYPE_UNKNOWN:
    case SCHEME_VERDICT_COUNT:
        break;
    }
}
