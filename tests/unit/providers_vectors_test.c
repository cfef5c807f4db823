/* The vectors of tests/vectors: every file that is there, each named as its row is, and the
 * handshakes. */
#include "base/base64.h"
#include "base/cidr.h"
#include "base/jwk.h"
#include "base/x509.h"
#include "providers/row_code.h"
#include "providers/verify.h"
#include "unit/providers_request.h"

#include <ctype.h>
#include <dirent.h>
#include <yyjson.h>

/* Larger bodies are not altered; with the largest not even headers: each time all is hashed anew,
 * and shorter cases have the same headers. */
#define BODY_BYTES_FLIPPED_MAX 2048U
#define BODY_BYTES_SMALL_MAX   4096U
#define END_BITS               (8U * 24)

static struct slice member(yyjson_val *object, const char *name)
{
    yyjson_val *value = yyjson_obj_get(object, name);
    return slice_of(yyjson_get_str(value), yyjson_get_len(value));
}

static const char *folder(void)
{
    const char *named = getenv("VECTORS");
    return named ? named : "tests/vectors";
}

static yyjson_doc *load(const char *file)
{
    char path[1024];
    yyjson_read_err err;
    snprintf(path, sizeof path, "%s/%s.json", folder(), file);
    yyjson_doc *doc = yyjson_read_file(path, 0, NULL, &err);
    if (doc == NULL) {
        bail_out("%s: %s", path, err.msg);
    }
    return doc;
}

/* Body of a case; the caller frees. */
static struct slice body_of(yyjson_val *from)
{
    yyjson_val *recipe = yyjson_obj_get(from, "body_recipe");
    struct slice text = member(recipe ? recipe : from, recipe ? "unit_base64" : "body_base64");
    uint64_t repeat = recipe ? yyjson_get_uint(yyjson_obj_get(recipe, "repeat")) : 1;
    size_t unit = 0, room = BASE64_DECODED_MAX(text.bytes);
    uint8_t *body = malloc(room * repeat);
    if (body == NULL || !base64_decode(text, BASE64_STANDARD, body, room, &unit)) {
        bail_out("bad body in a vector");
    }
    for (uint64_t i = 1; i < repeat; i++) {
        memcpy(body + i * unit, body, unit);
    }
    return slice_of(body, unit * repeat);
}

static void build(struct sample *s, yyjson_val *from, struct slice body, int64_t now)
{
    struct buf headers;
    yyjson_val *name, *value;
    yyjson_obj_iter iter = yyjson_obj_iter_with(yyjson_obj_get(from, "headers"));
    struct slice method = member(from, "method"), url = member(from, "url");
    char method_text[16] = "POST", target[1024] = "/hooks/x";
    buf_init(&headers, 10000);
    while ((name = yyjson_obj_iter_next(&iter)) != NULL) {
        value = yyjson_obj_iter_get_val(name);
        buf_printf(&headers, "%s: %s\r\n", yyjson_get_str(name), yyjson_get_str(value));
    }
    if (method.bytes != 0) {
        snprintf(method_text, sizeof method_text, "%s", (const char *)method.at);
    }
    if (url.bytes != 0) {
        const char *path = strchr((const char *)url.at + strlen("https://"), '/');
        snprintf(target, sizeof target, "%s", path ? path : "/");
    }
    sample_build(s, method_text, target, buf_slice(&headers), body, now);
    s->request.url = url;
    buf_fini(&headers);
}

/* The generic scheme's options in the words of spec.verification. */
static struct scheme_row *custom_row(yyjson_val *config)
{
    struct scheme_row *row = NULL;
    const char *field, *message;
    char format[100];
    struct slice prefix = member(config, "prefix");
    bool none = yyjson_obj_get(config, "allow") != NULL;
    const char *encoding = yyjson_get_str(yyjson_obj_get(config, "encoding"));
    snprintf(format, sizeof format, "%.*s{%s}", (int)prefix.bytes, (const char *)prefix.at,
             encoding != NULL ? encoding : "hex");
    struct scheme_custom custom = {.scheme = none ? SLICE("none") : SLICE("hmac"),
                                   .algorithm = member(config, "algorithm"),
                                   .signature_header = member(config, "header"),
                                   .signature_format = none ? SLICE_EMPTY : slice_str(format)};
    if (scheme_row_custom(&custom, &row, &field, &message) != BK_OK) {
        bail_out("%s: %s", field, message);
    }
    return row;
}

static unsigned add_secret(struct slice *secrets, unsigned count, struct slice text)
{
    secrets[count] = text;
    return count + (text.at != NULL);
}

/* Keys that the case brings instead of having them fetched. */
static enum key_found find_key(void *context, const struct key_want *want,
                               const struct public_key **ret_key)
{
    static struct x509_certificate certificate;
    static struct jwk jwk;
    yyjson_val *from = context;
    char url[KEY_URL_BYTES_MAX + 1];
    snprintf(url, sizeof url, "%.*s", (int)want->url.bytes, (const char *)want->url.at);
    if (want->form == KEY_CERTIFICATE) {
        static struct x509_chain chain;
        struct slice pem = member(yyjson_obj_get(from, "certs"), url);
        *ret_key = &certificate.key; /* the clock of the cases is not theirs */
        return x509_chain_read(pem, &chain) == NULL &&
                       x509_parse(x509_chain_at(&chain, 0), &certificate)
                   ? KEY_FOUND
                   : KEY_UNKNOWN;
    }
    struct jwk_set *set = NULL;
    char *text = yyjson_val_write(yyjson_obj_get(from, "jwks"), 0, NULL);
    bool known = slice_equal(want->url, member(from, "issuer")) &&
                 jwk_set_parse(slice_str(text), &set) == BK_OK;
    const struct jwk *found = known ? jwk_set_find(set, want->kid, want->algorithm) : NULL;
    if (found != NULL) {
        jwk = *found;
        *ret_key = &jwk.key;
    }
    free(set);
    free(text);
    return found != NULL ? KEY_FOUND : KEY_UNKNOWN;
}

/* What the case says besides the row, in the words of spec.verification. */
static struct scheme_row *refined_row(const char *base, yyjson_val *from)
{
    struct scheme_row *row = NULL;
    const char *field, *message;
    struct scheme_custom custom = {.scheme = SLICE("jwt"),
                                   .base = slice_str(base),
                                   .issuer = member(from, "issuer"),
                                   .audience = member(from, "audience")};
    if (scheme_row_custom(&custom, &row, &field, &message) != BK_OK) {
        bail_out("%s: %s", field, message);
    }
    return row;
}

/* A check of the library that Drone uses: it asks for less than we do. */
static const struct scheme_row *relaxed_row(const struct scheme_row *row)
{
    static struct scheme_row relaxed;
    relaxed = *row;
    relaxed.signed_template = "date";
    return &relaxed;
}

static struct scheme *compile(const struct scheme_row *row, yyjson_val *from)
{
    struct slice secrets[SECRETS_PER_SOURCE_MAX], origins[SCHEME_ORIGINS_MAX];
    struct cidr allow[8];
    unsigned count = 0;
    struct scheme *scheme = NULL;
    size_t bytes, i, n;
    const char *message = "";
    yyjson_val *config = yyjson_obj_get(from, "config"), *one;
    struct scheme_options options = {.tolerance_seconds = -1,
                                     .origins = origins,
                                     .allow = allow,
                                     .has_allow = yyjson_obj_get(config, "allow") != NULL,
                                     .verify_token = member(config, "verify_token"),
                                     .rate_per_minute =
                                         (uint32_t)yyjson_get_uint(yyjson_obj_get(config, "rate"))};
    yyjson_val *skew = yyjson_obj_get(config, "max_skew_seconds");
    options.tolerance_seconds = skew ? yyjson_get_sint(skew) : -1;
    count = add_secret(secrets, count, member(from, "secret"));
    count = add_secret(secrets, count, member(config, "secret"));
    count = add_secret(secrets, count, member(config, "public_key"));
    yyjson_arr_foreach(yyjson_obj_get(from, "secrets"), i, n, one)
    {
        count = add_secret(secrets, count, slice_of(yyjson_get_str(one), yyjson_get_len(one)));
    }
    yyjson_arr_foreach(yyjson_obj_get(config, "allowed_origins"), i, n, one)
    {
        origins[options.origin_count++] = slice_str(yyjson_get_str(one));
    }
    yyjson_arr_foreach(yyjson_obj_get(config, "allow"), i, n, one)
    {
        if (!cidr_parse(slice_str(yyjson_get_str(one)), &allow[options.allow_count++])) {
            bail_out("bad range in a vector");
        }
    }
    /* What answers a handshake without a secret may still want one to be made. */
    if (count == 0 && scheme_row_needs_secret(row) && !scheme_row_learns(row)) {
        secrets[count++] =
            strcmp(scheme_row_name(row), "aws-sns") == 0 ? SLICE("*") : SLICE("a secret");
    }
    enum bk_err err = scheme_compile_with(row, secrets, count, &options, &scheme, &bytes, &message);
    if (err != BK_OK) {
        bail_out("%s: %s", scheme_row_name(row), message);
    }
    return scheme;
}

static void set_peer(struct sample *s, yyjson_val *from)
{
    static struct cidr peer;
    struct slice text = member(yyjson_obj_get(from, "config"), "peer");
    if (text.bytes != 0 && cidr_parse(text, &peer)) {
        s->request.peer = peer.at;
        s->request.peer_family = peer.family;
    }
}

/* Is the flipped byte a digit of an escape, which means the same in both cases? */
static bool in_escape(const uint8_t *body, size_t at)
{
    return isxdigit(body[at]) && isalpha(body[at]) &&
           ((at >= 1 && body[at - 1] == '%') || (at >= 2 && body[at - 2] == '%'));
}

static bool is_row(const struct scheme *scheme, const char *name)
{
    return strcmp(scheme_row_name(scheme_row(scheme)), name) == 0;
}

/* Is this byte of a body signed? Of SNS only some values are. */
static bool byte_is_signed(const struct scheme *scheme, struct slice body, size_t at)
{
    static const char *const names[] = {
        "Message",  "MessageId", "Subject",   "SubscribeURL",     "Token",         "Timestamp",
        "TopicArn", "Type",      "Signature", "SignatureVersion", "SigningCertURL"};
    bool signed_one = !is_row(scheme, "aws-sns");
    for (size_t i = 0; i < sizeof names / sizeof names[0] && !signed_one; i++) {
        char key[40];
        snprintf(key, sizeof key, "\"%s\"", names[i]);
        const uint8_t *from = memmem(body.at, body.bytes, key, strlen(key));
        size_t value = from ? (size_t)(from - body.at) + strlen(key) : body.bytes;
        while (value < body.bytes && body.at[value] != '"') {
            value++;
        }
        size_t end = value + 1;
        while (end < body.bytes && body.at[end] != '"') {
            end += body.at[end] == '\\' ? 2 : 1;
        }
        signed_one = at > value && at < end;
    }
    return signed_one;
}

/* A digit of an escape of JSON, which means the same in both cases. */
static bool in_json_escape(const uint8_t *body, size_t at)
{
    for (size_t back = 2; back <= 5 && back <= at; back++) {
        if (body[at - back] == '\\' && body[at - back + 1] == 'u') {
            return isxdigit(body[at]) && isalpha(body[at]);
        }
    }
    return false;
}

/* The way of signing that the request is looked at by. */
static const struct program *selected(const struct scheme *scheme, const struct sample *s)
{
    struct scheme_request prepared = s->request;
    scheme_prepare(scheme, &prepared);
    return scheme_select(scheme, &prepared);
}

static bool passes(const struct scheme *scheme, const struct sample *s)
{
    enum scheme_verdict verdict = sample_verify(scheme, s);
    return verdict == SCHEME_GENUINE || verdict == SCHEME_HANDSHAKE;
}

/* The bit to alter after this one. Signatures that take long to check are altered in one bit of
 * every byte of both ends and of every fifth between; under the sanitizers these in fewer, the
 * others in one bit of every byte. */
static size_t next_bit(const struct program *program, size_t bit, size_t bits)
{
    static const size_t step[][2] = {{1, 9}, {9, 63}, {41, 163}};
    bool slow = program->kind == ROW_CODE || program->kind == ROW_PUBLIC_KEY ||
                program->kind == ROW_ED25519;
    bool end = bit < END_BITS || bits - bit < END_BITS;
    return bit + step[!slow ? 0 : end ? 1 : 2][TAP_SANITIZED];
}

/* No bit of a signed body may change. */
static unsigned flip_body(const struct scheme *scheme, struct sample *s)
{
    size_t bytes = s->request.body.bytes;
    enum row_kind kind = selected(scheme, s)->kind;
    bool code = kind == ROW_CODE && (is_row(scheme, "paypal") || is_row(scheme, "drone") ||
                                     is_row(scheme, "aws-sns") || is_row(scheme, "contentful"));
    code &= scheme->tolerance_seconds != 0; /* the relaxed case does not sign it */
    bool signs_body = (kind_signs(kind) || code) && !is_row(scheme, "mailgun");
    if (!signs_body || bytes > BODY_BYTES_FLIPPED_MAX) {
        return 0;
    }
    const uint8_t *before = s->request.body.at;
    uint8_t *copy = malloc(bytes + 1);
    unsigned passed = 0;
    if (copy == NULL) {
        bail_out("out of memory");
    }
    memcpy(copy, before, bytes);
    s->request.body.at = copy;
    const struct program *program = selected(scheme, s);
    for (size_t bit = 0; bit < 8 * bytes; bit = next_bit(program, bit, 8 * bytes)) {
        size_t at = bit / 8;
        bool same = bit % 8 == 5 && (in_escape(copy, at) || in_json_escape(copy, at));
        if (!same && byte_is_signed(scheme, slice_of(before, bytes), at)) {
            copy[at] ^= (uint8_t)(1U << bit % 8);
            passed += passes(scheme, s);
            copy[at] ^= (uint8_t)(1U << bit % 8);
        }
    }
    s->request.body.at = before;
    free(copy);
    return passed;
}

/* Does a genuine request of this kind depend on every bit of this header? */
static bool header_is_checked(const struct scheme *scheme, const struct program *program,
                              struct slice name)
{
    static const char *const paypal[] = {"paypal-transmission-sig", "paypal-transmission-id",
                                         "paypal-transmission-time", "paypal-auth-algo",
                                         "paypal-cert-url"};
    const struct place *places[] = {&program->signature, &program->timestamp,
                                    program->signs_id ? &program->id : NULL};
    bool checked = false;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        checked |= places[i] != NULL && places[i]->kind == PLACE_HEADER &&
                   slice_equal_nocase(places[i]->text, name);
    }
    for (unsigned i = 0; i < program->op_count; i++) {
        checked |=
            program->ops[i].kind == OP_HEADER && slice_equal_nocase(program->ops[i].text, name);
    }
    for (size_t i = 0; i < sizeof paypal / sizeof paypal[0] && is_row(scheme, "paypal"); i++) {
        checked |= slice_equal_nocase(slice_str(paypal[i]), name);
    }
    if (is_row(scheme, "contentful")) {
        checked = slice_equal_nocase(name, SLICE("x-contentful-signature")) ||
                  slice_equal_nocase(name, SLICE("x-contentful-signed-headers")) ||
                  slice_equal_nocase(name, SLICE("x-contentful-timestamp"));
    }
    if (is_row(scheme, "drone")) {
        checked =
            slice_equal_nocase(name, SLICE("date")) || slice_equal_nocase(name, SLICE("digest"));
    }
    return checked && !is_row(scheme, "aws-sns") && program->kind != ROW_NONE;
}

/* Another bit, but the same meaning? */
static bool means_the_same(const struct program *program, const struct http_header *header,
                           const char *text, size_t at, unsigned bit)
{
    const char *value = text + header->value_at;
    bool letter = bit == 5 && isalpha((unsigned char)text[at]);
    size_t word = strcspn(value, " ");
    bool scheme_word = at < header->value_at + word && word < header->value_bytes &&
                       (program->kind == ROW_BASIC || program->kind == ROW_BEARER ||
                        program->kind == ROW_AUTHORIZATION || program->kind == ROW_CODE);
    bool hex = (kind_signs(program->kind) || program->row->verify == contentful_verify) &&
               isxdigit((unsigned char)text[at]);
    bool date =
        slice_equal_nocase(slice_of(text + header->name_at, header->name_bytes), SLICE("digest")) &&
        at < header->value_at + 8U; /* SHA-256= in any case */
    return letter && (scheme_word || hex || date);
}

/* The same in several headers. */
static bool has_ways(const struct scheme *scheme, const struct http_head *head)
{
    unsigned ways = 0;
    for (unsigned i = 0; i < scheme->plan->program_count; i++) {
        const struct place *place = &scheme->plan->programs[i].signature;
        ways += place->kind == PLACE_HEADER && http_find(head, place->text, NULL) != NULL;
    }
    return scheme_row(scheme)->tries_otherwise && ways > 1;
}

/* Any of several signatures is enough, and those of another kind do not count: one may change. */
static bool has_several(const struct program *program, struct slice value)
{
    unsigned elements = 1;
    for (size_t i = 0; i < value.bytes; i++) {
        elements += value.at[i] == program->format.separator;
    }
    return kind_signs(program->kind) && program->format.separator != 0 &&
           elements > 1U + program->format.has_timestamp;
}

/* No bit of a header that is part of the signature may change. */
static unsigned flip_headers(const struct scheme *scheme, struct sample *s, unsigned *ret_tried)
{
    const struct http_head before = s->head;
    const struct program *program = selected(scheme, s);
    unsigned passed = 0;
    if (s->request.body.bytes > BODY_BYTES_SMALL_MAX) {
        return 0;
    }
    for (unsigned i = 0; i < before.header_count; i++) {
        const struct http_header *header = &before.headers[i];
        struct slice name = http_header_name(&before, header);
        if (!header_is_checked(scheme, program, name) || has_ways(scheme, &before) ||
            has_several(program, http_header_value(&before, header))) {
            continue;
        }
        size_t bits = 8U * header->value_bytes;
        for (size_t bit = 0; bit < bits; bit = next_bit(program, bit, bits)) {
            char *c = &s->head_text[header->value_at + bit / 8];
            char kept = *c;
            bool same =
                means_the_same(program, header, s->head_text, header->value_at + bit / 8, bit % 8);
            *c ^= (char)(1U << bit % 8);
            if (!same && http_parse_request((const uint8_t *)s->head_text, s->head_bytes,
                                            &s->head) == HTTP_PARSE_DONE) {
                bool one = passes(scheme, s);
                passed += one;
                if (one) {
                    diag("%.*s: bit %zu of byte %zu", (int)header->name_bytes,
                         s->head_text + header->name_at, bit % 8, bit / 8);
                }
                ++*ret_tried;
            }
            *c = kept;
        }
    }
    s->head = before;
    return passed;
}

static bool tried[SCHEME_ROWS_MAX], auto_tried[SCHEME_ROWS_MAX];

static bool detects(const struct scheme_row *row, const struct http_head *head)
{
    struct slice rest = slice_str(row->detect);
    bool there = false;
    while (rest.bytes != 0) {
        struct slice name = slice_of(rest.at, slice_find(rest, ' '));
        rest = slice_skip(rest, name.bytes + 1);
        for (unsigned i = 0; i < head->header_count; i++) {
            there |= slice_equal_nocase(http_header_name(head, &head->headers[i]), name);
        }
    }
    return there;
}

/* A source of type auto with the same secrets takes what the provider's own takes, as that
 * provider's, where its headers tell; and refuses what that refuses. */
static void as_auto(const char *id, const struct scheme_row *row, yyjson_val *from, bool accepted,
                    struct sample *s)
{
    yyjson_val *config = yyjson_obj_get(from, "config");
    bool more = yyjson_obj_get(from, "issuer") != NULL || yyjson_obj_get(config, "allow") != NULL ||
                yyjson_obj_get(config, "max_skew_seconds") != NULL ||
                yyjson_obj_get(config, "require_digest") != NULL;
    if (more || !detects(row, &s->head)) {
        return;
    }
    const struct scheme_row *found = scheme_row_detect(&s->head);
    ok(found == row, "%s: by its headers it is %s", id, found->name);
    auto_tried[scheme_row_index(row)] |= accepted && found == row;
    if (strcmp(row->name, "aws-sns") == 0) {
        return; /* its secrets are the names of topics */
    }
    struct scheme *any = compile(scheme_row_find(SLICE("auto")), from);
    enum scheme_verdict verdict = sample_verify(any, s);
    bool passed = verdict == SCHEME_GENUINE || verdict == SCHEME_HANDSHAKE;
    ok(passed == accepted, "%s: the same of type auto (%s)", id, scheme_verdict_name(verdict));
    sample_scheme_free(any);
}

static void flip(const char *id, const struct scheme *scheme, struct sample *s)
{
    unsigned count = 0;
    is_uint(flip_body(scheme, s), 0, "%s: no bit of the body may change", id);
    is_uint(flip_headers(scheme, s, &count), 0, "%s: none of the signed headers", id);
    for (size_t i = 0; i < scheme_row_count(); i++) {
        bool body = is_row(scheme, "aws-sns") || is_row(scheme, "mailgun");
        tried[i] |= (count > 0 || body) && strcmp(scheme_row_name(scheme_row_at(i)),
                                                  scheme_row_name(scheme_row(scheme))) == 0;
    }
}

/* The other rows sign by themselves in providers_scheme_test.c, and are flipped there. */
static void every_row_was_tried(void)
{
    for (size_t i = 0; i < scheme_row_count(); i++) {
        const struct scheme_row *row = scheme_row_at(i);
        const char *with = scheme_row_sends_with(row);
        if (!scheme_row_is_auto(row) && (with == NULL || strcmp(with, "the secret") != 0)) {
            ok(tried[i], "%s: a genuine request is among the vectors", row->name);
        }
        if (row->detect != NULL) {
            ok(auto_tried[i], "%s: detected by its headers", row->name);
        }
    }
}

static void is_told(yyjson_val *from, const char *what, struct slice got)
{
    struct slice want = member(from, what);
    if (yyjson_obj_get(from, what) != NULL) {
        is_bytes(got.at, got.bytes, want.at, want.bytes, "%s: %s",
                 (const char *)member(from, "id").at, what);
    }
}

/* What the request tells of its event, where the case says what that is. */
static void check_event(yyjson_val *from, const struct scheme *scheme, struct sample *s)
{
    struct scheme_identity identity;
    struct scheme_subject subject;
    scheme_identify(scheme, &s->request, &identity);
    scheme_subject(scheme_row(scheme), &s->request, &subject);
    uint8_t room[EVENT_TYPE_BYTES_MAX];
    is_told(from, "event_type", scheme_type_text(scheme, &identity, room));
    is_told(from, "delivery_id", identity.delivery_id);
    is_told(from, "account", subject.account);
    is_told(from, "resource", subject.resource);
}

static void run_case(const char *file, yyjson_val *from)
{
    static struct sample s;
    struct scheme_row *own = NULL;
    const struct scheme_row *row = NULL;
    if (strcmp(file, "generic_hmac") == 0 || strcmp(file, "ip_allow") == 0) {
        row = own = custom_row(yyjson_obj_get(from, "config"));
    } else if (yyjson_obj_get(from, "issuer") != NULL) {
        row = own = refined_row(file, from);
    } else {
        row = scheme_row_find(slice_str(file));
    }
    if (row == NULL) {
        bail_out("no row for %s.json", file);
    }
    if (yyjson_obj_get(yyjson_obj_get(from, "config"), "require_digest") != NULL) {
        row = relaxed_row(row);
    }
    struct key_finder finder = {find_key, from};
    struct scheme *scheme = compile(row, from);
    scheme_row_free(own);
    struct slice body = body_of(from);
    build(&s, from, body, yyjson_get_sint(yyjson_obj_get(from, "now_unix")));
    set_peer(&s, from);
    s.request.keys = &finder;
    enum scheme_verdict verdict = sample_verify(scheme, &s);
    bool accepted = verdict == SCHEME_GENUINE || verdict == SCHEME_HANDSHAKE;
    bool want = slice_equal(member(from, "expect"), SLICE("accept"));
    ok(accepted == want, "%s: %s (%s)", (const char *)member(from, "id").at,
       (const char *)member(from, "note").at, scheme_verdict_name(verdict));
    /* Each verdict can be explained, and no secret is in the words. */
    struct buf text;
    buf_init(&text, 100000);
    scheme_explain(scheme, &s.request, verdict, &text);
    struct slice secret = member(from, "secret");
    bool told = secret.bytes > 8 && memmem(text.at, text.bytes, secret.at, secret.bytes) != NULL;
    ok(text.bytes > 0 && !text.overflow && !told, "explained");
    buf_fini(&text);
    if (accepted && own == NULL) {
        check_event(from, scheme, &s);
    }
    if (accepted) {
        flip((const char *)member(from, "id").at, scheme, &s);
    }
    if (own == NULL) {
        as_auto((const char *)member(from, "id").at, row, from, accepted, &s);
    }
    free((void *)(uintptr_t)body.at);
    sample_scheme_free(scheme);
}

/* The row whose name, or other name, a handshake's scheme begins with; the longest. */
static const struct scheme_row *row_of_handshake(struct slice kind)
{
    for (size_t bytes = kind.bytes; bytes > 0; bytes--) {
        const struct scheme_row *row = scheme_row_find(slice_of(kind.at, bytes));
        if (row != NULL && (bytes == kind.bytes || kind.at[bytes] == '-')) {
            return row;
        }
    }
    bail_out("no row for the handshake %.*s", (int)kind.bytes, (const char *)kind.at);
}

/* "Name: value", or only its beginning. */
static bool has_line(const struct scheme_answer *answer, const char *name, const char *value)
{
    char line[300];
    snprintf(line, sizeof line, "%s: %s", name, value);
    if (strcmp(name, "Content-Type") == 0 && answer->content_type != NULL) {
        return strncmp(answer->content_type, value, strlen(value)) == 0;
    }
    return memmem(answer->headers.at, answer->headers.bytes, line, strlen(line)) != NULL;
}

static void check_answer(const char *id, const struct scheme_answer *answer, yyjson_val *response)
{
    yyjson_val *name, *json = yyjson_obj_get(response, "body_json");
    yyjson_obj_iter iter = yyjson_obj_iter_with(yyjson_obj_get(response, "headers"));
    is_int(answer->status, yyjson_get_sint(yyjson_obj_get(response, "status")), "%s: status", id);
    while ((name = yyjson_obj_iter_next(&iter)) != NULL) {
        const char *label = yyjson_get_str(name);
        const char *value = yyjson_get_str(yyjson_obj_iter_get_val(name));
        if (label == NULL || value == NULL) {
            bail_out("%s: a header without a text", id);
        }
        ok(has_line(answer, label, value), "%s: %s: %s", id, label, value);
    }
    if (json != NULL) {
        char *want = yyjson_val_write(json, 0, NULL);
        is_bytes(answer->body.at, answer->body.bytes, want, want ? strlen(want) : 0, "%s: body",
                 id);
        free(want);
    } else if (yyjson_obj_get(response, "body_base64") != NULL) {
        struct slice want = body_of(response);
        is_bytes(answer->body.at, answer->body.bytes, want.at, want.bytes, "%s: body", id);
        free((void *)(uintptr_t)want.at);
    }
}

static void run_handshake(yyjson_val *from)
{
    static struct sample s;
    const char *id = (const char *)member(from, "id").at;
    const struct scheme_row *row = row_of_handshake(member(from, "scheme"));
    struct scheme *scheme = compile(row, from);
    yyjson_val *response = yyjson_obj_get(from, "response");
    struct slice body = body_of(yyjson_obj_get(from, "request"));
    struct scheme_answer answer = {0};
    build(&s, yyjson_obj_get(from, "request"), body,
          yyjson_get_sint(yyjson_obj_get(from, "now_unix")));
    ok(scheme_methods(scheme) >> s.head.method & 1, "%s: its method is taken", id);
    enum scheme_verdict verdict = scheme_verify(scheme, &s.request, &answer);
    int64_t status = yyjson_get_sint(yyjson_obj_get(response, "status"));
    if (status >= 400) {
        ok(verdict == (status == 400 ? SCHEME_BODY_MALFORMED : SCHEME_SIGNATURE_WRONG) ||
               (verdict == SCHEME_HANDSHAKE_REFUSED && answer.status == status),
           "%s refused (%s)", id, scheme_verdict_name(verdict));
        ok(verdict != SCHEME_HANDSHAKE_REFUSED ||
           (answer.headers.bytes == 0 && answer.body.bytes == 0));
    } else if (is_int(verdict, SCHEME_HANDSHAKE, "%s", id)) {
        check_answer(id, &answer, response);
        ok((answer.learned.bytes != 0) == scheme_is_learning(scheme), "%s: %zu bytes to learn", id,
           answer.learned.bytes);
    }
    free((void *)(uintptr_t)body.at);
    sample_scheme_free(scheme);
}

static void run_file(const char *name)
{
    yyjson_val *from;
    size_t i, n;
    yyjson_doc *doc = load(name);
    yyjson_arr_foreach(yyjson_doc_get_root(doc), i, n, from)
    {
        if (strcmp(name, "handshakes") == 0) {
            run_handshake(from);
        } else {
            run_case(name, from);
        }
    }
    yyjson_doc_free(doc);
}

int main(void)
{
    DIR *dir = opendir(folder());
    struct dirent *entry;
    unsigned files = 0;
    if (dir == NULL) {
        bail_out("%s cannot be read", folder());
    }
    while ((entry = readdir(dir)) != NULL) {
        char name[300];
        const char *dot = strstr(entry->d_name, ".json");
        if (dot == NULL || dot[5] != 0 || strcmp(entry->d_name, "outbound.json") == 0) {
            continue;
        }
        snprintf(name, sizeof name, "%.*s", (int)(dot - entry->d_name), entry->d_name);
        run_file(name);
        files++;
    }
    closedir(dir);
    ok(files >= 39, "%u files", files);
    every_row_was_tried();
    return done_testing();
}
