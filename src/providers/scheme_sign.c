/* Signing as a provider does: for test deliveries, the benchmark's load and the tests. */
#include "providers/row_code.h"
#include "providers/text.h"
#include "providers/verify.h"

#include "base/assert.h"
#include "base/ct.h"
#include "base/hex.h"
#include "base/percent.h"
#include "base/private_key.h"
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
    case UNIT_HTTP_DATE:
        time_format_http(now_seconds, text);
        return;
    case UNIT_RFC3339:
    case UNIT_ISO_UTC:
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

/* ---- bodies and URLs that carry a part of the signature */

/* {"a":{"b": around the value, from step `from` on. */
static void add_nested(struct buf *to, const struct json_path *path, unsigned from,
                       struct slice value, bool quoted)
{
    for (unsigned i = from; i < path->step_count; i++) {
        buf_add_str(to, i == from ? "\"" : "{\"");
        buf_add_slice(to, path->steps[i]);
        buf_add_str(to, "\":");
    }
    buf_add_str(to, quoted ? "\"" : "");
    buf_add_slice(to, value);
    buf_add_str(to, quoted ? "\"" : "");
    for (unsigned i = from; i + 1 < path->step_count; i++) {
        buf_add_byte(to, '}');
    }
}

/* Puts a member into a JSON object, unless there is something at its place. False: the body has no
 * place for it. */
static bool body_put(struct buf *body, const struct json_path *path, struct slice value,
                     bool quoted)
{
    struct json_path part = *path;
    struct json_found found;
    struct slice text = buf_slice(body);
    size_t at = 0;
    json_scan(text, path, 1, &found);
    if (found.kind != JSON_ABSENT) {
        return true;
    }
    for (part.step_count = path->step_count - 1; part.step_count > 0; part.step_count--) {
        json_scan(text, &part, 1, &found);
        if (found.kind == JSON_OTHER && found.text.at != NULL && found.text.at[-1] == '{') {
            at = (size_t)(found.text.at - text.at);
            break;
        }
        if (found.kind != JSON_ABSENT) {
            return false;
        }
    }
    while (at == 0 && part.step_count == 0) {
        size_t blank = 0;
        while (blank < text.bytes && strchr(" \t\r\n", text.at[blank]) != NULL) {
            blank++;
        }
        if (blank == text.bytes || text.at[blank] != '{') {
            return false;
        }
        at = blank + 1;
    }
    struct buf next;
    buf_init(&next, body->bytes_max);
    buf_add_slice(&next, slice_of(text.at, at));
    add_nested(&next, path, part.step_count, value, quoted);
    size_t rest = at;
    while (rest < text.bytes && strchr(" \t\r\n", text.at[rest]) != NULL) {
        rest++;
    }
    if (rest < text.bytes && text.at[rest] != '}') {
        buf_add_byte(&next, ',');
    }
    buf_add_slice(&next, slice_skip(text, at));
    struct buf old = *body;
    *body = next;
    buf_fini(&old);
    return true;
}

/* name=value behind the URL, encoded. */
static void url_put(struct buf *url, struct slice name, struct slice value)
{
    buf_add_byte(url, slice_find(buf_slice(url), '?') == url->bytes ? '?' : '&');
    buf_add_slice(url, name);
    buf_add_byte(url, '=');
    percent_add(url, value);
}

/* A test delivery in the making. */
struct making {
    const struct scheme *scheme;
    const struct program *program;
    const struct scheme_send *send;
    struct slice id;
    struct slice timestamp;
    struct buf body;
    struct buf url;
    struct buf *headers;
    size_t headers_before_bytes; /* the caller's own, before what is made here */
};

/* Puts a value where a row looks for it. */
static enum bk_err put(struct making *m, const struct place *place, struct slice value, bool quoted)
{
    switch (place->kind) {
    case PLACE_HEADER:
        add_header(m->headers, place->shown, value);
        return BK_OK;
    case PLACE_FIELD:
        return m->send->ret_body != NULL && body_put(&m->body, &place->path, value, quoted)
                   ? BK_OK
                   : BK_UNSUPPORTED;
    case PLACE_FORM:
        if (m->send->ret_url == NULL) {
            return BK_UNSUPPORTED;
        }
        url_put(&m->url, place->text, value);
        return BK_OK;
    case PLACE_EACH:
    case PLACE_NONE:
    case PLACE_CONSTANT:
        break;
    }
    return BK_UNSUPPORTED;
}

/* What a place of the message holds by now. */
static struct slice at_place(const struct making *m, const struct place *place)
{
    struct json_found found;
    struct slice value = SLICE_EMPTY;
    if (place->kind == PLACE_FIELD) {
        json_scan(buf_slice(&m->body), &place->path, 1, &found);
        value = found.text;
    } else if (place->kind == PLACE_FORM) {
        value = text_form_field(split_url(buf_slice(&m->url)).query, place->text);
        value = value.bytes != 0 || is_json(buf_slice(&m->body))
                    ? value
                    : text_form_field(buf_slice(&m->body), place->text);
    }
    return value;
}

/* How often a header is in these lines; the value is that of the last one, else untouched. */
static unsigned count_header(struct slice lines, struct slice lower_name, struct slice *ret_value)
{
    unsigned count = 0;
    while (lines.bytes != 0) {
        struct slice line = slice_of(lines.at, slice_find(lines, '\n'));
        size_t colon = slice_find(line, ':');
        if (slice_equal_nocase(slice_of(line.at, colon), lower_name)) {
            struct slice value = slice_skip(line, colon + 1);
            value.bytes -= value.bytes != 0 && value.at[value.bytes - 1] == '\r';
            *ret_value = slice_trim(value);
            count++;
        }
        lines = slice_skip(lines, line.bytes + 1);
    }
    return count;
}

/* A header that the sender adds, or that stands there by now: the type's, say. False: there twice,
 * or one that is written later. */
static bool own_header(const struct making *m, struct slice lower_name, struct slice *ret_value)
{
    struct slice made = slice_skip(buf_slice(m->headers), m->headers_before_bytes);
    *ret_value = SLICE_EMPTY; /* as one that is not there is verified */
    unsigned count = count_header(m->send->headers, lower_name, ret_value) +
                     count_header(made, lower_name, ret_value);
    bool later =
        slice_equal(lower_name, SLICE("host")) || slice_equal(lower_name, SLICE("content-length"));
    return count == 1 || (count == 0 && !later);
}

/* False: the template names what only a real request has. */
static bool gather(struct making *m, const struct key *key, struct slice parts[OPS_MAX])
{
    const struct program *program = m->program;
    struct slice whole = buf_slice(&m->url), body = buf_slice(&m->body);
    struct url_parts url = split_url(whole);
    uint8_t digest[SHA256_BYTES], *hex;
    for (unsigned i = 0; i < program->op_count; i++) {
        switch (program->ops[i].kind) {
        case OP_TEXT:
            parts[i] = program->ops[i].text;
            break;
        case OP_BODY:
            parts[i] = body;
            break;
        case OP_ID:
            parts[i] = m->id;
            break;
        case OP_TIMESTAMP:
            parts[i] = m->timestamp;
            break;
        case OP_METHOD:
            parts[i] = SLICE("POST");
            break;
        case OP_PATH:
            parts[i] = url.path;
            break;
        case OP_URL:
            parts[i] = whole;
            break;
        case OP_URL_UNESCAPED:
            if (!text_url_unescape(whole, &parts[i])) {
                return false;
            }
            break;
        case OP_URL_REST:
            parts[i] = SLICE_EMPTY;
            break;
        case OP_QUERY:
            parts[i] = url.query;
            break;
        case OP_PLACE:
            parts[i] = at_place(m, &program->op_places[program->ops[i].place]);
            break;
        case OP_FORM:
            if (!text_form_sorted(body, &parts[i])) {
                return false;
            }
            break;
        case OP_FORM_FIELD:
            if (!text_form_alone(body, program->ops[i].text, &parts[i])) {
                return false;
            }
            break;
        case OP_BODY_SHA256:
            hex = scratch_take(2 * SHA256_BYTES);
            if (hex == NULL) {
                return false;
            }
            sha256(body, digest);
            hex_encode(digest, SHA256_BYTES, (char *)hex);
            parts[i] = slice_of(hex, 2 * SHA256_BYTES);
            break;
        case OP_SECRET:
            parts[i] = key->token;
            break;
        case OP_HEADER:
            if (!own_header(m, program->ops[i].text, &parts[i])) {
                return false;
            }
            break;
        }
    }
    return true;
}

/* With the private key over all parts; 0 = it is of another kind. */
static size_t sign_parts(const struct making *m, const struct key *key, const struct slice *parts,
                         uint8_t *ret_signature)
{
    struct buf whole;
    bool ed25519 = key->lane == LANE_ED25519;
    buf_init(&whole, BODY_BYTES_MAX + (1U << 17));
    for (unsigned i = 0; i < m->program->op_count; i++) {
        buf_add_slice(&whole, parts[i]);
    }
    size_t bytes = whole.overflow
                       ? 0
                       : private_key_sign(m->send->private_key,
                                          ed25519 ? SIGNATURE_ED25519 : m->program->row->signature,
                                          buf_slice(&whole), ret_signature);
    buf_fini(&whole);
    return bytes;
}

static enum bk_err add_signature(struct making *m, const struct key *key, const struct slice *parts)
{
    const struct program *program = m->program;
    const struct lane *lane = format_lane(&program->format, key->lane);
    uint8_t mac[SIGNATURE_BYTES_MAX];
    char text[2 * SIGNATURE_BYTES_MAX];
    size_t bytes = key->lane != LANE_MAC ? sign_parts(m, key, parts, mac)
                   : program->kind == ROW_HMAC
                       ? key_mac(program, key, parts, program->op_count, mac)
                       : hash_parts(program->algorithm, parts, program->op_count, mac);
    if (bytes == 0) {
        return BK_UNSUPPORTED;
    }
    size_t text_bytes = 2 * bytes;
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
    struct buf value;
    buf_init(&value, 1024);
    if (program->format.has_timestamp) {
        buf_add_slice(&value, program->format.timestamp_prefix.text);
        buf_add_slice(&value, m->timestamp);
        buf_add_byte(&value, program->format.separator);
    }
    if (!lane->prefix_optional) {
        buf_add_slice(&value, lane->prefix.text);
    }
    buf_add(&value, text, text_bytes);
    enum bk_err err =
        value.overflow ? BK_TOO_LARGE : put(m, &program->signature, buf_slice(&value), true);
    buf_fini(&value);
    return err;
}

/* The body's hash goes into the URL, before that is signed. */
static enum bk_err put_body_hash(struct making *m)
{
    uint8_t digest[SHA256_BYTES];
    char text[2 * SHA256_BYTES];
    if (m->program->body_hash.kind == PLACE_NONE) {
        return BK_OK;
    }
    sha256(buf_slice(&m->body), digest);
    hex_encode(digest, sizeof digest, text);
    return put(m, &m->program->body_hash, slice_of(text, sizeof text), true);
}

/* The body becomes the one field of a form, if it is not yet. */
static enum bk_err put_in_form(struct making *m, struct slice name)
{
    struct slice body = buf_slice(&m->body), value;
    if (text_form_alone(body, name, &value)) {
        return BK_OK;
    }
    if (m->send->ret_body == NULL) {
        return BK_UNSUPPORTED;
    }
    struct buf form;
    buf_init(&form, m->body.bytes_max);
    buf_add_slice(&form, name);
    buf_add_byte(&form, '=');
    percent_add(&form, body);
    struct buf old = m->body;
    m->body = form;
    buf_fini(&old);
    return BK_OK;
}

static enum bk_err sign_text(struct making *m)
{
    const struct program *program = m->program;
    struct slice parts[OPS_MAX];
    const struct key *key = NULL;
    enum bk_err err = BK_OK;
    for (unsigned k = 0; k < m->scheme->key_count && key == NULL; k++) {
        key = scheme_key(m->scheme, program, k);
        key = key->lane == LANE_MAC || m->send->private_key != NULL ? key : NULL;
    }
    if (key == NULL) {
        return BK_UNSUPPORTED;
    }
    /* A body that may not be changed has its time already, or is refused for it. */
    bool fixed = program->timestamp.kind == PLACE_FIELD && !program->signs_timestamp &&
                 m->send->ret_body == NULL;
    if (program->timestamp.kind != PLACE_NONE && !fixed) {
        err = put(m, &program->timestamp, m->timestamp, program->unit != UNIT_MS);
    }
    if (err == BK_OK && program->signs_id && m->id.bytes == 0) {
        err = BK_INVALID;
    }
    bool inside = program->id.kind == PLACE_FIELD || program->id.kind == PLACE_FORM;
    if (err == BK_OK && program->signs_id && inside) {
        err = put(m, &program->id, m->id, true);
    }
    if (err == BK_OK) {
        err = put_body_hash(m);
    }
    for (unsigned i = 0; i < program->op_count && err == BK_OK; i++) {
        if (program->ops[i].kind == OP_FORM_FIELD) {
            err = put_in_form(m, program->ops[i].text);
        }
    }
    /* What the message had by itself counts. */
    struct slice own = at_place(m, &program->timestamp);
    m->timestamp = own.bytes != 0 ? own : m->timestamp;
    own = program->signs_id ? at_place(m, &program->id) : SLICE_EMPTY;
    m->id = own.bytes != 0 ? own : m->id;
    if (err == BK_OK && !gather(m, key, parts)) {
        err = BK_UNSUPPORTED;
    }
    return err == BK_OK ? add_signature(m, key, parts) : err;
}

/* {"value":[{"clientState":"…"}]}: the body becomes the one element of the list. */
static enum bk_err token_in_each(struct making *m, struct slice secret)
{
    const struct place *place = &m->program->signature;
    if (m->send->ret_body == NULL) {
        return BK_UNSUPPORTED;
    }
    struct json_path inner;
    if (place->path.step_count != 1 || !json_path_parse(place->each, &inner) ||
        !body_put(&m->body, &inner, secret, true)) {
        return BK_UNSUPPORTED;
    }
    struct buf list;
    buf_init(&list, m->body.bytes_max);
    buf_add_str(&list, "{\"");
    buf_add_slice(&list, place->path.steps[0]);
    buf_add_str(&list, "\":[");
    buf_add_slice(&list, buf_slice(&m->body));
    buf_add_str(&list, "]}");
    struct buf old = m->body;
    m->body = list;
    buf_fini(&old);
    return BK_OK;
}

static enum bk_err sign_token(struct making *m)
{
    const struct program *program = m->program;
    struct slice secret = scheme_key(m->scheme, program, 0)->token;
    if (m->scheme->key_count == 0) {
        return BK_UNSUPPORTED;
    }
    if (program->signature.kind == PLACE_EACH) {
        return token_in_each(m, secret);
    }
    struct buf value;
    buf_init(&value, 4096);
    bool basic = program->kind == ROW_BASIC ||
                 (program->kind == ROW_AUTHORIZATION && slice_find(secret, ':') != secret.bytes);
    if (basic) {
        char text[BASE64_ENCODED(768)];
        size_t plain_bytes = secret.bytes < 768 ? secret.bytes : 768;
        buf_add_str(&value, "Basic ");
        buf_add(&value, text, base64_encode(secret.at, plain_bytes, BASE64_STANDARD, text));
        bk_wipe(text, sizeof text);
    } else {
        bool bearer = program->kind == ROW_BEARER || program->kind == ROW_AUTHORIZATION;
        buf_add_str(&value, bearer ? "Bearer " : "");
        buf_add_slice(&value, program->token_prefix);
        buf_add_slice(&value, secret);
    }
    enum bk_err err = put(m, &program->signature, buf_slice(&value), true);
    buf_fini(&value);
    return err;
}

/* How much of a joined type is at place[0], when `left` more are joined to it. Its own text may
 * have the character that joins: the last one counts. */
static size_t part_bytes(struct slice type, const struct place *place, unsigned left)
{
    for (; left > 0; left--) {
        size_t at = type.bytes;
        while (at > 0 && type.at[at - 1] != place[left].joint) {
            at--;
        }
        type.bytes = at > 1 ? at - 1 : type.bytes;
    }
    return type.bytes;
}

/* Each part of a type that is joined, as far as the text has parts, where its place is. */
static void add_type(struct making *m, const struct places *places, struct slice type)
{
    for (unsigned i = 0; i < places->count && type.bytes != 0; i++) {
        const struct place *place = &places->at[i];
        unsigned left = 0;
        while (i + left + 1 < places->count && place[left + 1].joint != 0) {
            left++;
        }
        struct slice part = slice_of(type.at, part_bytes(type, place, left));
        if (place->kind == PLACE_HEADER) {
            add_header(m->headers, place->shown, part);
        } else if (m->send->make_body && place->kind == PLACE_FIELD && m->send->ret_body != NULL) {
            (void)body_put(&m->body, &place->path, part, true);
        }
        type = slice_skip(type, part.bytes + 1);
    }
}

/* At the first place that is a header, else in a body that is ours to change. */
static void add_label(struct making *m, const struct places *places, struct slice value)
{
    for (unsigned i = 0; i < places->count && value.bytes != 0; i++) {
        if (places->at[i].kind == PLACE_HEADER) {
            add_header(m->headers, places->at[i].shown, value);
            return;
        }
    }
    for (unsigned i = 0; i < places->count && value.bytes != 0 && m->send->make_body; i++) {
        if (places->at[i].kind == PLACE_FIELD && m->send->ret_body != NULL &&
            body_put(&m->body, &places->at[i].path, value, true)) {
            return;
        }
    }
}

static enum bk_err sign_jwt(struct making *m)
{
    struct buf value;
    buf_init(&value, m->headers->bytes_max);
    enum bk_err err = jwt_sign(m->scheme, m->program, m->send, buf_slice(&m->body), &value);
    if (err == BK_OK) {
        err = put(m, &m->program->signature, buf_slice(&value), true);
    }
    buf_fini(&value);
    return err;
}

static enum bk_err sign_code(struct making *m)
{
    struct slice body = buf_slice(&m->body);
    row_verify_fn *verify = m->program->row->verify;
    if (verify == sns_verify) {
        return m->send->ret_body != NULL
                   ? sns_sign(m->scheme, m->program, m->send, &m->body, m->headers)
                   : BK_UNSUPPORTED;
    }
    return verify == jwt_verify ? sign_jwt(m)
           : verify == http_signature_verify
               ? http_signature_sign(m->scheme, m->program, m->send, body, m->headers)
           : verify == paypal_verify ? paypal_sign(m->scheme, m->program, m->send, body, m->headers)
           : verify == contentful_verify
               ? contentful_sign(m->scheme, m->program, m->send, body, m->headers)
               : BK_UNSUPPORTED;
}

/* Of a body whose fields are signed. */
static struct slice content_type(const struct program *program)
{
    bool form = false;
    for (unsigned i = 0; i < program->op_count; i++) {
        form |= program->ops[i].kind == OP_FORM || program->ops[i].kind == OP_FORM_FIELD;
    }
    return form ? SLICE("application/x-www-form-urlencoded") : SLICE("application/json");
}

static enum bk_err sign_any(struct making *m)
{
    const struct scheme_plan *plan = m->scheme->plan;
    struct slice type =
        m->send->type.bytes != 0 ? m->send->type : slice_str(m->program->row->sample_type);
    add_header(m->headers, SLICE("Content-Type"), content_type(m->program));
    if (plan->type.joined) {
        add_type(m, &plan->type, type);
    } else {
        add_label(m, &plan->type, type);
    }
    add_label(m, &plan->id, m->send->id);
    switch (m->program->kind) {
    case ROW_HMAC:
    case ROW_HASH:
    case ROW_ED25519: /* what is configured is the public key */
    case ROW_PUBLIC_KEY:
        return sign_text(m);
    case ROW_CODE:
        return sign_code(m);
    case ROW_AUTO:
        return BK_UNSUPPORTED;
    case ROW_TOKEN:
    case ROW_BASIC:
    case ROW_BEARER:
    case ROW_AUTHORIZATION:
        return sign_token(m);
    case ROW_NONE:
        break;
    }
    return BK_OK;
}

static bool has_op(const struct program *program, enum op_kind kind)
{
    unsigned i = 0;
    while (i < program->op_count && program->ops[i].kind != kind) {
        i++;
    }
    return i < program->op_count;
}

/* name=value pairs, and nothing that a form would escape. */
static bool is_form(struct slice body)
{
    bool good = !is_json(body) && slice_find(body, '=') != body.bytes;
    for (size_t i = 0; i < body.bytes && good; i++) {
        good = body.at[i] > ' ' && body.at[i] < 127;
    }
    return good;
}

/* The first way of signing; of a form, the one for forms, where there is one that nothing else
 * selects. */
static const struct program *way_of(const struct scheme_plan *plan, struct slice body)
{
    const struct program *last = &plan->programs[plan->program_count - 1];
    return plan->program_count > 1 && has_op(last, OP_FORM) && is_form(body) ? last
                                                                             : &plan->programs[0];
}

enum bk_err scheme_sign(const struct scheme *scheme, const struct scheme_send *send,
                        struct buf *headers)
{
    bk_assert(scheme != NULL && send != NULL && headers != NULL);
    char stamp[32] = "";
    if (scheme->is_auto) {
        return BK_UNSUPPORTED;
    }
    struct making m = {.scheme = scheme,
                       .program = way_of(scheme->plan, send->body),
                       .send = send,
                       .id = send->id,
                       .headers = headers,
                       .headers_before_bytes = headers->bytes};
    scratch_reset();
    timestamp_text(m.program->unit, send->now_seconds, stamp);
    m.timestamp = slice_str(stamp);
    buf_init(&m.body, BODY_BYTES_MAX + (1U << 16));
    buf_init(&m.url, 1U << 16);
    buf_add_slice(&m.body, send->body);
    buf_add_slice(&m.url, send->url);
    enum bk_err err = sign_any(&m);
    bool full = m.body.overflow || m.url.overflow || headers->overflow;
    if (err == BK_OK && full) {
        err = BK_NO_MEMORY;
    } else if (err == BK_OK) {
        if (send->ret_body != NULL && !slice_equal(buf_slice(&m.body), send->body)) {
            buf_add_slice(send->ret_body, buf_slice(&m.body));
        }
        if (send->ret_url != NULL && !slice_equal(buf_slice(&m.url), send->url)) {
            buf_add_slice(send->ret_url, buf_slice(&m.url));
        }
    } else {
        headers->bytes = m.headers_before_bytes;
    }
    buf_fini(&m.body);
    buf_fini(&m.url);
    return err;
}
