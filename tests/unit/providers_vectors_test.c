/* The vectors of tests/vectors: every file that is there, each named as its row is, and the
 * handshakes. */
#include "base/base64.h"
#include "base/cidr.h"
#include "base/jwk.h"
#include "base/x509.h"
#include "providers/program.h"
#include "unit/providers_request.h"

#include <ctype.h>
#include <dirent.h>
#include <yyjson.h>

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

/* No bit of a signed body may change. */
static void flip(const char *id, const struct scheme *scheme, struct sample *s)
{
    size_t bytes = s->request.body.bytes;
    enum row_kind kind = scheme_select(scheme, &s->request)->kind;
    const char *row = scheme_row_name(scheme_row(scheme));
    bool code = kind == ROW_CODE && (strcmp(row, "paypal") == 0 || strcmp(row, "drone") == 0);
    code &= scheme->tolerance_seconds != 0; /* the relaxed case does not sign it */
    bool signs_body = (kind_signs(kind) || code) && strcmp(row, "mailgun") != 0;
    if (!signs_body || bytes > 2048) {
        return;
    }
    uint8_t *copy = malloc(bytes + 1);
    unsigned passed = 0;
    if (copy == NULL) {
        bail_out("out of memory");
    }
    memcpy(copy, s->request.body.at, bytes);
    s->request.body.at = copy;
    for (size_t bit = 0; bit < 8 * bytes; bit++) {
        bool same = in_escape(copy, bit / 8) && bit % 8 == 5;
        copy[bit / 8] ^= (uint8_t)(1U << bit % 8);
        enum scheme_verdict verdict = same ? SCHEME_SIGNATURE_WRONG : sample_verify(scheme, s);
        passed += verdict == SCHEME_GENUINE || verdict == SCHEME_HANDSHAKE;
        copy[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    is_uint(passed, 0, "%s: no bit of the body may change", id);
    free(copy);
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
    if (accepted) {
        flip((const char *)member(from, "id").at, scheme, &s);
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
        ok(verdict == SCHEME_SIGNATURE_WRONG ||
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
    return done_testing();
}
