/* The vectors of tests/vectors: every request of every provider with a row, and the handshakes. */
#include "base/base64.h"
#include "unit/providers_request.h"

#include <yyjson.h>

static const struct {
    const char *file, *row; /* NULL: made from the case's config */
} files[] = {
    {"github", "github"},
    {"gitlab", "gitlab"},
    {"semaphore", "semaphore"},
    {"slack", "slack"},
    {"stripe", "stripe"},
    {"standard_webhooks", "standard_webhooks"},
    {"generic_hmac", NULL},
    {"bearer", "bearer"},
    {"basic", "basic"},
    {"gitea", "gitea"},
    {"sentry", "sentry"},
    {"linear", "linear"},
    {"circleci", "circleci"},
    {"shopify", "shopify"},
    {"bitbucket", "bitbucket"},
    {"svix", "svix"},
    {"pagerduty", "pagerduty"},
    {"grafana", "grafana"},
    {"square", "square"},
    {"paddle", "paddle"},
    {"calendly", "calendly"},
    {"typeform", "typeform"},
    {"zendesk", "zendesk"},
    {"intercom", "intercom"},
    {"line", "line"},
    {"telegram", "telegram"},
    {"cloudflare_notifications", "cloudflare_notifications"},
    {"discord", "discord"},
    {"buildkite", "TYPE_BUILDKITE"},
};

/* Handshakes of rows that are there. */
static const struct {
    const char *scheme, *row, *secret_field;
} handshakes[] = {
    {"slack-url-verification", "slack", "secret"},
    {"discord-interactions-ping", "discord", "public_key"},
};

static struct slice member(yyjson_val *object, const char *name)
{
    yyjson_val *value = yyjson_obj_get(object, name);
    return slice_of(yyjson_get_str(value), yyjson_get_len(value));
}

static yyjson_doc *load(const char *file)
{
    const char *folder = getenv("VECTORS");
    char path[1024];
    yyjson_read_err err;
    snprintf(path, sizeof path, "%s/%s.json", folder ? folder : "tests/vectors", file);
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
    snprintf(format, sizeof format, "%.*s{%s}", (int)prefix.bytes, (const char *)prefix.at,
             yyjson_get_str(yyjson_obj_get(config, "encoding")));
    struct scheme_custom custom = {.scheme = SLICE("hmac"),
                                   .algorithm = member(config, "algorithm"),
                                   .signature_header = member(config, "header"),
                                   .signature_format = slice_str(format)};
    if (scheme_row_custom(&custom, &row, &field, &message) != BK_OK) {
        bail_out("%s: %s", field, message);
    }
    return row;
}

static struct scheme *compile(const struct scheme_row *row, yyjson_val *from)
{
    struct slice secrets[SECRETS_PER_SOURCE_MAX];
    unsigned count = 0;
    struct scheme *scheme = NULL;
    size_t bytes;
    const char *message = "";
    yyjson_val *list = yyjson_obj_get(from, "secrets"), *one;
    size_t i, n;
    if (list == NULL) {
        secrets[count++] = member(from, "secret");
    }
    yyjson_arr_foreach(list, i, n, one)
    {
        secrets[count++] = slice_of(yyjson_get_str(one), yyjson_get_len(one));
    }
    enum bk_err err = scheme_compile(row, secrets, count, -1, &scheme, &bytes, &message);
    if (err != BK_OK) {
        bail_out("%s: %s", scheme_row_name(row), message);
    }
    return scheme;
}

static void run_case(const char *row_name, yyjson_val *from)
{
    static struct sample s;
    struct scheme_row *own = NULL;
    const struct scheme_row *row = NULL;
    if (row_name != NULL) {
        row = scheme_row_find(slice_str(row_name));
    } else {
        row = own = custom_row(yyjson_obj_get(from, "config"));
    }
    if (row == NULL) {
        bail_out("no row %s", row_name);
    }
    struct scheme *scheme = compile(row, from);
    scheme_row_free(own);
    struct slice body = body_of(from);
    build(&s, from, body, yyjson_get_sint(yyjson_obj_get(from, "now_unix")));
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
    free((void *)(uintptr_t)body.at);
    sample_scheme_free(scheme);
}

static void run_handshake(yyjson_val *from)
{
    static struct sample s;
    struct slice kind = member(from, "scheme");
    size_t h = 0, n = sizeof handshakes / sizeof handshakes[0];
    for (; h < n && !slice_equal(kind, slice_str(handshakes[h].scheme)); h++) {
    }
    if (h == n) {
        return;
    }
    struct slice secret = member(yyjson_obj_get(from, "config"), handshakes[h].secret_field);
    struct scheme *scheme = sample_scheme(handshakes[h].row, (const char *)secret.at);
    yyjson_val *response = yyjson_obj_get(from, "response");
    struct slice body = body_of(yyjson_obj_get(from, "request"));
    struct scheme_answer answer = {0};
    build(&s, yyjson_obj_get(from, "request"), body,
          yyjson_get_sint(yyjson_obj_get(from, "now_unix")));
    enum scheme_verdict verdict = scheme_verify(scheme, &s.request, &answer);
    int64_t status = yyjson_get_sint(yyjson_obj_get(response, "status"));
    if (status >= 400) {
        is_int(verdict, SCHEME_SIGNATURE_WRONG, "%s refused", (const char *)member(from, "id").at);
    } else {
        is_int(verdict, SCHEME_HANDSHAKE, "%s", (const char *)member(from, "id").at);
        is_int(answer.status, status);
        struct slice type = member(yyjson_obj_get(response, "headers"), "Content-Type");
        is_str(answer.content_type, (const char *)type.at);
        if (yyjson_obj_get(response, "body_base64") != NULL) {
            struct slice want = body_of(response);
            is_bytes(answer.body.at, answer.body.bytes, want.at, want.bytes);
            free((void *)(uintptr_t)want.at);
        } else {
            char *want = yyjson_val_write(yyjson_obj_get(response, "body_json"), 0, NULL);
            is_bytes(answer.body.at, answer.body.bytes, want, want ? strlen(want) : 0);
            free(want);
        }
    }
    free((void *)(uintptr_t)body.at);
    sample_scheme_free(scheme);
}

int main(void)
{
    yyjson_val *from;
    size_t i, n;
    for (size_t f = 0; f < sizeof files / sizeof files[0]; f++) {
        yyjson_doc *doc = load(files[f].file);
        yyjson_arr_foreach(yyjson_doc_get_root(doc), i, n, from)
        {
            run_case(files[f].row, from);
        }
        yyjson_doc_free(doc);
    }
    yyjson_doc *doc = load("handshakes");
    yyjson_arr_foreach(yyjson_doc_get_root(doc), i, n, from)
    {
        run_handshake(from);
    }
    yyjson_doc_free(doc);
    return done_testing();
}
