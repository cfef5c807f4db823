/* Contentful: an HMAC-SHA-256 over method, path, a list of headers that the sender names, and body.
 * What the list must have is the time and the list itself; nothing that the sender says weakens
 * that. https://www.contentful.com/developers/docs/webhooks/request-verification/ */
#include "providers/row_code.h"

#include "base/assert.h"
#include "base/ct.h"
#include "base/hex.h"
#include "providers/place.h"
#include "providers/sent_at.h"
#include "providers/text.h"

#include <stdio.h>

#define NAMES_MAX 16U
#define LIST      "x-contentful-signed-headers"
#define TIME      "x-contentful-timestamp"

struct canonical {
    unsigned part_count;
    struct slice parts[6 + 4 * NAMES_MAX];
};

static void add(struct canonical *c, struct slice part)
{
    bk_assert(c->part_count < bk_array_length(c->parts));
    c->parts[c->part_count++] = part;
}

/* The path as it is signed: escaped once more, the query twice. False: there is no room. */
static bool add_path(struct canonical *c, struct slice target)
{
    static const char hex[] = "0123456789ABCDEF";
    uint8_t *out = scratch_take(5 * target.bytes);
    size_t used = 0;
    bool query = false;
    if (out == NULL) {
        return false;
    }
    for (size_t i = 0; i < target.bytes; i++) {
        uint8_t byte = target.at[i];
        bool begins = byte == '?' && !query;
        const char *kept = query ? "-_.!~*'()" : ";,/?:@&=+$-_.!~*'()#";
        if (begins || ascii_is_alphanumeric(byte) || (byte != 0 && strchr(kept, byte) != NULL)) {
            out[used++] = byte;
        } else {
            out[used++] = '%';
            if (query) {
                out[used++] = '2';
                out[used++] = '5';
            }
            out[used++] = (uint8_t)hex[byte >> 4];
            out[used++] = (uint8_t)hex[byte & 15];
        }
        query |= begins;
    }
    add(c, slice_of(out, used));
    return true;
}

static bool slice_before(struct slice a, struct slice b)
{
    size_t bytes = a.bytes < b.bytes ? a.bytes : b.bytes;
    int order = memcmp(a.at, b.at, bytes);
    return order < 0 || (order == 0 && a.bytes < b.bytes);
}

/* The names of the list, sorted; how many, 0 = it is no such list. */
static unsigned read_names(struct slice list, struct slice names[NAMES_MAX])
{
    unsigned count = 0;
    bool whole = true, has_list = false, has_time = false;
    while (list.bytes != 0 && whole) {
        struct slice name = slice_trim(slice_of(list.at, slice_find(list, ',')));
        list = slice_skip(list, slice_find(list, ',') + 1);
        whole = name.bytes != 0 && count < NAMES_MAX;
        unsigned place = count;
        for (; whole && place > 0 && slice_before(name, names[place - 1]); place--) {
            names[place] = names[place - 1];
        }
        if (whole) {
            names[place] = name;
            count++;
        }
        has_list |= slice_equal(name, SLICE(LIST));
        has_time |= slice_equal(name, SLICE(TIME));
    }
    return whole && has_list && has_time ? count : 0;
}

static enum scheme_verdict add_headers(struct canonical *c, const struct http_head *head,
                                       const struct slice *names, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct slice value;
        enum scheme_verdict verdict =
            scheme_single(head, names[i], SCHEME_SIGNATURE_MALFORMED, &value);
        if (verdict != SCHEME_GENUINE) {
            return verdict;
        }
        if (i != 0) {
            add(c, SLICE(";"));
        }
        add(c, names[i]);
        add(c, SLICE(":"));
        add(c, value);
    }
    return SCHEME_GENUINE;
}

/* The sender's idea of where it sends to. */
static struct slice target_of(struct slice url, struct slice otherwise)
{
    const uint8_t *host = url.bytes != 0 ? memmem(url.at, url.bytes, "://", 3) : NULL;
    if (host == NULL) {
        return otherwise;
    }
    struct slice rest = slice_skip(url, (size_t)(host - url.at) + 3);
    rest = slice_skip(rest, slice_find(rest, '/'));
    return rest.bytes != 0 ? rest : SLICE("/");
}

static bool mac_matches(struct slice secret, const struct canonical *c,
                        const uint8_t given[SHA256_BYTES])
{
    struct hmac_sha256_key key;
    uint8_t mac[SHA256_BYTES];
    hmac_sha256_key_init(&key, secret);
    hmac_sha256(&key, c->parts, c->part_count, mac);
    bk_wipe(&key, sizeof key);
    return bk_ct_equal(mac, given, sizeof mac);
}

enum scheme_verdict contentful_verify(const struct scheme *scheme, const struct program *program,
                                      const struct scheme_request *request,
                                      struct scheme_answer *ret_answer)
{
    struct canonical c = {0};
    struct slice signature, list, stamp, names[NAMES_MAX];
    uint8_t given[SHA256_BYTES];
    int64_t time_ms;
    (void)ret_answer;
    enum scheme_verdict verdict = scheme_single(request->head, program->signature.text,
                                                SCHEME_SIGNATURE_MISSING, &signature);
    if (verdict == SCHEME_GENUINE) {
        verdict = scheme_single(request->head, SLICE(LIST), SCHEME_SIGNATURE_MALFORMED, &list);
    }
    if (verdict == SCHEME_GENUINE) {
        verdict = scheme_single(request->head, SLICE(TIME), SCHEME_TIMESTAMP_MISSING, &stamp);
    }
    if (verdict != SCHEME_GENUINE) {
        return verdict;
    }
    unsigned count = read_names(list, names);
    if (!hex_decode(signature, given, sizeof given) || count == 0) {
        return SCHEME_SIGNATURE_MALFORMED;
    }
    if (!unit_parse(UNIT_MS, stamp, &time_ms)) {
        return SCHEME_TIMESTAMP_MALFORMED;
    }
    add(&c, http_method_text(request->head));
    add(&c, SLICE("\n"));
    if (!add_path(&c, target_of(request->url, http_target(request->head)))) {
        return SCHEME_BODY_MALFORMED;
    }
    add(&c, SLICE("\n"));
    verdict = add_headers(&c, request->head, names, count);
    if (verdict != SCHEME_GENUINE) {
        return verdict;
    }
    add(&c, SLICE("\n"));
    add(&c, request->body);
    bool found = false;
    for (unsigned k = 0; k < scheme->key_count; k++) {
        found |= mac_matches(scheme_key(scheme, program, k)->token, &c, given);
    }
    return found ? scheme_check_age(scheme, program, time_ms, request->now_seconds)
                 : SCHEME_SIGNATURE_WRONG;
}

/* ---- the other direction */

enum bk_err contentful_sign(const struct scheme *scheme, const struct program *program,
                            const struct scheme_send *send, struct slice body, struct buf *headers)
{
    struct canonical c = {0};
    struct hmac_sha256_key key;
    uint8_t mac[SHA256_BYTES];
    char stamp[32], text[2 * SHA256_BYTES];
    if (scheme->key_count == 0) {
        return BK_UNSUPPORTED;
    }
    snprintf(stamp, sizeof stamp, "%lld000", (long long)send->now_seconds);
    add(&c, SLICE("POST\n"));
    if (!add_path(&c, target_of(send->url, SLICE("/")))) {
        return BK_NO_MEMORY;
    }
    add(&c, SLICE("\n" LIST ":" LIST "," TIME ";" TIME ":"));
    add(&c, slice_str(stamp));
    add(&c, SLICE("\n"));
    add(&c, body);
    hmac_sha256_key_init(&key, scheme_key(scheme, program, 0)->token);
    hmac_sha256(&key, c.parts, c.part_count, mac);
    bk_wipe(&key, sizeof key);
    hex_encode(mac, sizeof mac, text);
    buf_printf(headers,
               "X-Contentful-Timestamp: %s\r\nX-Contentful-Signed-Headers: " LIST "," TIME
               "\r\nX-Contentful-Signature: %.*s\r\n",
               stamp, (int)sizeof text, text);
    return BK_OK;
}
