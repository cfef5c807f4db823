/* Texts computed from a request: escapes, sorted forms, URLs; lists in JSON. */
#include "providers/json_scan.h"
#include "providers/sent_at.h"
#include "providers/text.h"
#include "unit/providers_request.h"

static void decode(const char *text, const char *want)
{
    struct slice got;
    scratch_reset();
    bool good = text_form_decode(slice_str(text), &got);
    if (want == NULL) {
        ok(!good, "'%s' is not an escaped text", text);
    } else if (ok(good, "'%s'", text)) {
        is_bytes(got.at, got.bytes, want, strlen(want));
    }
}

static void sorted(const char *form, const char *want)
{
    struct slice got = SLICE_EMPTY;
    scratch_reset();
    bool good = text_form_sorted(slice_str(form), &got);
    if (want == NULL) {
        ok(!good, "'%.40s' cannot be sorted", form);
    } else if (ok(good, "'%s' sorted", form)) {
        is_bytes(got.at, got.bytes, want, strlen(want));
    }
}

static void alone(const char *form, const char *want)
{
    struct slice got = SLICE_EMPTY;
    scratch_reset();
    bool good = text_form_alone(slice_str(form), SLICE("payload"), &got);
    if (want == NULL) {
        ok(!good, "'%s' is not this field only", form);
    } else if (ok(good, "'%s'", form)) {
        is_bytes(got.at, got.bytes, want, strlen(want));
    }
}

static void only_fields(void)
{
    alone("payload=%7B%22a+b%22%7D", "{\"a b\"}");
    alone("payload=", "");
    static const char *const others[] = {
        "",           "payload",    "payloads=1",          "xpayload=1",
        "Payload=1",  "payload=1&", "payload=1&payload=2", "a=1&payload=2",
        "&payload=1", "payload=%4"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        alone(others[i], NULL);
    }
}

static void port(const char *url, const char *want)
{
    struct slice got;
    scratch_reset();
    bool good = text_url_other_port(slice_str(url), &got);
    if (want == NULL) {
        ok(!good, "%s has no other spelling", url);
    } else if (ok(good, "%s", url)) {
        is_bytes(got.at, got.bytes, want, strlen(want));
    }
}

static void unescaped(const char *url, const char *want)
{
    struct slice got;
    scratch_reset();
    ok(text_url_unescape(slice_str(url), &got));
    is_bytes(got.at, got.bytes, want, strlen(want), "%s", url);
}

/* As many pairs as are taken, in the worst order, and one more. */
static void many_pairs(void)
{
    char form[8192];
    for (unsigned count = 512; count <= 513; count++) {
        size_t bytes = 0;
        for (unsigned i = count; i-- > 0;) {
            bytes += (size_t)snprintf(form + bytes, sizeof form - bytes, "n%04u=%u&", i, i % 10);
        }
        struct slice got;
        scratch_reset();
        bool good = text_form_sorted(slice_of(form, bytes), &got);
        ok(good == (count == 512), "%u fields", count);
        if (good) {
            is_uint(got.bytes, 512 * 6);
            is_mem(got.at, "n00000n00011n00022", 18);
        }
    }
}

/* The same pair counts once, however many there are besides. */
static void same_pairs(void)
{
    static const unsigned counts[] = {2, 32, 33, 500};
    char form[4096];
    for (size_t c = 0; c < 4; c++) {
        size_t bytes = 0;
        for (unsigned i = 0; i < counts[c]; i++) {
            bytes += (size_t)snprintf(form + bytes, sizeof form - bytes, "b%u=1&", i % 2);
        }
        struct slice got = SLICE_EMPTY;
        scratch_reset();
        ok(text_form_sorted(slice_of(form, bytes), &got), "%u fields, two different", counts[c]);
        is_bytes(got.at, got.bytes, "b01b11", 6);
    }
}

struct seen {
    unsigned count;
    char text[100];
};

static bool see(void *context, const struct json_found *found)
{
    struct seen *seen = context;
    size_t bytes = strlen(seen->text);
    snprintf(seen->text + bytes, sizeof seen->text - bytes, "%.*s;", (int)found->text.bytes,
             found->text.bytes ? (const char *)found->text.at : "");
    return ++seen->count < 9;
}

static void each(const char *body, bool whole, const char *want)
{
    struct json_path list, inner;
    struct seen seen = {0, ""};
    if (!json_path_parse(SLICE("/value"), &list) || !json_path_parse(SLICE("/c"), &inner)) {
        bail_out("paths");
    }
    ok(json_each(slice_str(body), &list, &inner, see, &seen) == whole, "%s", body);
    is_str(seen.text, want);
}

static void taken(void)
{
    scratch_reset();
    ok(scratch_take(SCRATCH_BYTES) != NULL && scratch_take(1) == NULL, "all of it, once");
    scratch_reset();
    ok(scratch_take(1) != NULL, "and again");
    struct slice got;
    static uint8_t large[SCRATCH_BYTES + 1];
    memset(large, '+', sizeof large);
    scratch_reset();
    ok(!text_form_decode(slice_of(large, sizeof large), &got), "too large");
    ok(!text_json_escape(slice_of(large, sizeof large), &got));
    ok(!text_form_sorted(slice_of(large, sizeof large), &got));
}

#define NOW 1767225600LL

/* Farther away than a difference in nanoseconds can tell. */
static void long_ago(void)
{
    static const struct scheme scheme = {.tolerance_seconds = -1};
    static const struct program program = {.scale = 1000000000, .window = 300 * 1000000000LL};
    int64_t now = NOW * program.scale;
    is_int(check_age(&scheme, &program, INT64_MIN, NOW), SCHEME_STALE, "the first time");
    is_int(check_age(&scheme, &program, now - program.window - 1, NOW), SCHEME_STALE, "too old");
    is_int(check_age(&scheme, &program, now - program.window, NOW), SCHEME_GENUINE, "just not");
    is_int(check_age(&scheme, &program, now + program.window, NOW), SCHEME_GENUINE, "nor this");
    is_int(check_age(&scheme, &program, now + program.window + 1, NOW), SCHEME_FUTURE, "too new");
    is_int(check_age(&scheme, &program, INT64_MAX, NOW), SCHEME_FUTURE, "the last time");
}

int main(void)
{
    decode("abc", "abc");
    decode("", "");
    decode("a+b%2Bc%2b", "a b+c+");
    decode("%", NULL);
    decode("a%4", NULL);
    decode("%4g", NULL);
    decode("%e4%BD%a0", "\xe4\xbd\xa0");
    sorted("b=2&a=1", "a1b2");
    sorted("", "");
    sorted("a", "a");
    sorted("&&a=1&&", "a1");
    sorted("a=1=2&a=", "aa1=2");
    sorted("B=1&a=2&A=3&b=4", "A3B1a2b4");
    sorted("m=z&m=a&m=a", "mamz");
    sorted("a%26=%3D&a=x", "axa&=");
    sorted("a=%zz", NULL);
    only_fields();
    many_pairs();
    same_pairs();
    port("https://h/x", "https://h:443/x");
    port("https://h:443/x?y=:1", "https://h/x?y=:1");
    port("http://h?a", "http://h:80?a");
    port("http://h:80", "http://h");
    port("https://h:80/", NULL);
    port("https://[::1]/", "https://[::1]:443/");
    port("https://[::1]:443/", "https://[::1]/");
    port("ftp://h/", NULL);
    port("", NULL);
    unescaped("https://h/a%2Fb%3f%40%20c%zz%", "https://h/a/b?@%20c%zz%");
    unescaped("https://h/%2a%2A%00", "https://h/**%00");
    each("{\"value\":[]}", true, "");
    each("{\"value\":[{\"c\":\"a\"},{\"c\":\"b\",\"d\":[1,{}]}, 7 ,\"x]\",[{\"c\":\"n\"}]]}", true,
         "a;b;;;;");
    each("{\"x\":[{\"c\":\"a\"}]}", false, "");
    each("{\"value\":{\"c\":\"a\"}}", false, "");
    each("{\"value\":[{\"c\":\"a\"}", false, "a;");
    each("{\"value\":[{\"c\":\"a\"},]}", false, "a;");
    each("{\"value\":[1,2,3,4,5,6,7,8,9,10]}", false, ";;;;;;;;;");
    taken();
    long_ago();
    return done_testing();
}
