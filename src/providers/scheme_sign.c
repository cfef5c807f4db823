/* Signing as a provider does: for test deliveries, the benchmark's load and the tests. */
#include "providers/program.h"

#include "base/assert.h"
#include "base/ct.h"
#include "base/hex.h"
#include "base/time.h"

#include <stdio.h>

/* The pieces of a URL that a template may name. */
struct url_parts {
    struct slice path;
    struct slice query;
};

static struct url_parts split_url(struct slice url)
{
    for (size_t i = 0; i + 2 < url.bytes; i++) {
        if (url.at[i] == ':' && url.at[i + 1] == '/' && url.at[i + 2] == '/') {
            url = slice_skip(url, i + 3);
            url = slice_skip(url, slice_find(url, '/'));
            break;
        }
    }
    size_t path_bytes = slice_find(url, '?');
    return (struct url_parts){slice_of(url.at, path_bytes), slice_skip(url, path_bytes + 1)};
}

static void timestamp_text(enum row_unit unit, int64_t now_seconds, char text[32])
{
    switch (unit) {
    case UNIT_SECONDS:
        snprintf(text, 32, "%lld", (long long)now_seconds);
        return;
    case UNIT_MS:
        snprintf(text, 32, "%lld000", (long long)now_seconds);
        return;
    case UNIT_RFC3339:
        time_format_rfc3339(now_seconds * NS_PER_SECOND, text);
        return;
    }
    bk_never("unknown unit");
}

static void add_header(struct buf *headers, struct slice name, struct slice value)
{
    buf_add_slice(headers, name);
    buf_add_str(headers, ": ");
    buf_add_slice(headers, value);
    buf_add_str(headers, "\r\n");
}

/* False: the template names what only a real request has. */
static bool gather(const struct program *program, const struct scheme_send *send,
                   struct slice timestamp, struct slice parts[OPS_MAX])
{
    struct url_parts url = split_url(send->url);
    for (unsigned i = 0; i < program->op_count; i++) {
        switch (program->ops[i].kind) {
        case OP_TEXT:
            parts[i] = program->ops[i].text;
            break;
        case OP_BODY:
            parts[i] = send->body;
            break;
        case OP_ID:
            parts[i] = send->id;
            break;
        case OP_TIMESTAMP:
            parts[i] = timestamp;
            break;
        case OP_METHOD:
            parts[i] = SLICE("POST");
            break;
        case OP_PATH:
            parts[i] = url.path;
            break;
        case OP_URL:
            parts[i] = send->url;
            break;
        case OP_QUERY:
            parts[i] = url.query;
            break;
        case OP_HEADER:
            return false;
        }
    }
    return true;
}

static void add_signature(const struct program *program, const struct key *key,
                          const struct slice *parts, struct slice timestamp, struct buf *headers)
{
    const struct lane *lane = &program->format.lanes[LANE_MAC];
    uint8_t mac[HMAC_BYTES_MAX];
    char text[2 * HMAC_BYTES_MAX];
    size_t bytes = key_mac(program, key, parts, program->op_count, mac), text_bytes = 2 * bytes;
    switch (lane->encoding) {
    case ENCODING_HEX:
        hex_encode(mac, bytes, text);
        break;
    case ENCODING_BASE64:
        text_bytes = base64_encode(mac, bytes, BASE64_STANDARD, text);
        break;
    case ENCODING_BASE64URL:
        text_bytes = base64_encode(mac, bytes, BASE64_URL, text);
        break;
    }
    buf_add_slice(headers, program->header_shown);
    buf_add_str(headers, ": ");
    if (program->format.has_timestamp) {
        buf_add_slice(headers, program->format.timestamp_prefix);
        buf_add_slice(headers, timestamp);
        buf_add_byte(headers, program->format.separator);
    }
    if (!lane->prefix_optional) {
        buf_add_slice(headers, lane->prefix);
    }
    buf_add(headers, text, text_bytes);
    buf_add_str(headers, "\r\n");
}

static enum bk_err sign_hmac(const struct scheme *scheme, const struct program *program,
                             const struct scheme_send *send, struct buf *headers)
{
    struct slice parts[OPS_MAX];
    char stamp[32] = "";
    const struct key *key = NULL;
    for (unsigned k = 0; k < scheme->key_count && key == NULL; k++) {
        key = scheme_key(scheme, program, k);
        key = key->lane == LANE_MAC ? key : NULL;
    }
    if (key == NULL) {
        return BK_UNSUPPORTED;
    }
    if (program->signs_id && send->id.bytes == 0) {
        return BK_INVALID;
    }
    timestamp_text(program->unit, send->now_seconds, stamp);
    struct slice timestamp = slice_str(stamp);
    if (!gather(program, send, timestamp, parts)) {
        return BK_UNSUPPORTED;
    }
    if (program->timestamp.kind == PLACE_HEADER) {
        add_header(headers, program->timestamp.shown, timestamp);
    }
    add_signature(program, key, parts, timestamp, headers);
    return BK_OK;
}

static void sign_token(const struct scheme *scheme, const struct program *program,
                       struct buf *headers)
{
    struct slice secret = scheme_key(scheme, program, 0)->token;
    buf_add_slice(headers, program->header_shown);
    buf_add_str(headers, ": ");
    if (program->kind == ROW_BASIC) {
        char text[BASE64_ENCODED(768)];
        size_t plain_bytes = secret.bytes < 768 ? secret.bytes : 768;
        buf_add_str(headers, "Basic ");
        buf_add(headers, text, base64_encode(secret.at, plain_bytes, BASE64_STANDARD, text));
        bk_wipe(text, sizeof text);
    } else {
        buf_add_str(headers, program->kind == ROW_BEARER ? "Bearer " : "");
        buf_add_slice(headers, program->token_prefix);
        buf_add_slice(headers, secret);
    }
    buf_add_str(headers, "\r\n");
}

/* The first place that is a header. */
static void add_label(const struct places *places, struct slice value, struct buf *headers)
{
    for (unsigned i = 0; i < places->count && value.bytes != 0; i++) {
        if (places->at[i].kind == PLACE_HEADER) {
            add_header(headers, places->at[i].shown, value);
            return;
        }
    }
}

enum bk_err scheme_sign(const struct scheme *scheme, const struct scheme_send *send,
                        struct buf *headers)
{
    bk_assert(scheme != NULL && send != NULL && headers != NULL);
    const struct program *program = &scheme->plan->programs[0];
    struct slice type = send->type.bytes != 0 ? send->type : slice_str(program->row->sample_type);
    size_t before = headers->bytes;
    enum bk_err err = BK_OK;
    add_header(headers, SLICE("Content-Type"), SLICE("application/json"));
    add_label(&scheme->plan->type, type, headers);
    add_label(&scheme->plan->id, send->id, headers);
    switch (program->kind) {
    case ROW_HMAC:
        err = sign_hmac(scheme, program, send, headers);
        break;
    case ROW_ED25519:
        err = BK_UNSUPPORTED; /* what is configured is the public key */
        break;
    case ROW_TOKEN:
    case ROW_BASIC:
    case ROW_BEARER:
        sign_token(scheme, program, headers);
        break;
    case ROW_NONE:
        break;
    }
    if (err != BK_OK) {
        headers->bytes = before;
    }
    return headers->overflow && err == BK_OK ? BK_NO_MEMORY : err;
}
