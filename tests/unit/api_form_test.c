/* Forms, cookies, and what leads out of a page: what is decoded, what is refused, what is escaped.
 */
#include "api/form.h"
#include "base/percent.h"
#include "tap.h"

static struct arena arena;

static const char *field(const char *form, const char *name)
{
    static char text[256];
    struct slice value;
    if (!form_field(slice_str(form), name, &arena, &value)) {
        return "(none)";
    }
    snprintf(text, sizeof text, "%.*s", (int)value.bytes, (const char *)value.at);
    return text;
}

static void test_fields(void)
{
    ok(strcmp(field("a=1&b=2", "b"), "2") == 0);
    ok(strcmp(field("a=1+2%203&b=", "a"), "1 2 3") == 0);
    ok(strcmp(field("b=&a=x", "b"), "") == 0);
    ok(strcmp(field("%61=x", "a"), "x") == 0);
    ok(strcmp(field("a", "a"), "") == 0);
    ok(strcmp(field("a=gr%C3%BC%C3%9Fe", "a"), "gr\xc3\xbc\xc3\x9f"
                                               "e") == 0);
    ok(strcmp(field("a=1&a=1", "a"), "(none)") == 0, "twice is not at all");
    ok(strcmp(field("a=%", "a"), "(none)") == 0);
    ok(strcmp(field("a=%4", "a"), "(none)") == 0);
    ok(strcmp(field("a=%zz", "a"), "(none)") == 0);
    ok(strcmp(field("a=x%00y", "a"), "(none)") == 0);
    ok(strcmp(field("a=%C3", "a"), "(none)") == 0);
    ok(strcmp(field("a=%C0%80", "a"), "(none)") == 0);
    ok(strcmp(field("a=%ED%A0%80", "a"), "(none)") == 0);
    ok(strcmp(field("", "a"), "(none)") == 0);
    ok(strcmp(field("&&a=1&", "a"), "1") == 0);
    ok(strcmp(field("aa=1", "a"), "(none)") == 0);
}

static const char *cookie(const char *header, const char *name)
{
    static char text[256];
    struct slice value;
    if (!cookie_find(slice_str(header), name, &value)) {
        return "(none)";
    }
    snprintf(text, sizeof text, "%.*s", (int)value.bytes, (const char *)value.at);
    return text;
}

static void test_cookies(void)
{
    ok(strcmp(cookie("a=1; b=2", "b"), "2") == 0);
    ok(strcmp(cookie("a=1;b=2;", "a"), "1") == 0);
    ok(strcmp(cookie("a=x=y", "a"), "x=y") == 0);
    ok(strcmp(cookie("a=1; a=2", "a"), "(none)") == 0, "a planted second one is no session");
    ok(strcmp(cookie("__Host-a=1", "a"), "(none)") == 0);
    ok(strcmp(cookie("a", "a"), "(none)") == 0);
    ok(strcmp(cookie("", "a"), "(none)") == 0);
}

static void test_paths(void)
{
    static const char *const own[] = {"/", "/settings", "/teams/a/settings?x=1", "/auth/hub"};
    static const char *const others[] = {
        "",           "settings", "//evil.example",      "/\\evil",  "https://evil", "/a b",
        "/a\r\nX: y", "/a\\b",    "javascript:alert(1)", "/\t/evil", "/caf\xc3\xa9"};
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
        ok(form_is_own_path(slice_str(own[i])), "%s", own[i]);
    }
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        ok(!form_is_own_path(slice_str(others[i])), "not number %zu", i);
    }
}

static void test_escaping(void)
{
    struct buf html;
    buf_init(&html, 4096);
    html_add(&html, SLICE("<a href=\"x\" id='y'>&amp;\x01\xff gr\xc3\xbc\xc3\x9f"
                          "e</a>"));
    ok(strcmp(buf_text(&html), "&lt;a href=&quot;x&quot; id=&#39;y&#39;&gt;&amp;amp;\xef\xbf\xbd"
                               "\xef\xbf\xbd gr\xc3\xbc\xc3\x9f"
                               "e&lt;/a&gt;") == 0,
       "%s", buf_text(&html));
    buf_reset(&html);
    percent_add(&html, SLICE("a b/c?d&e=\"\xc3\xbc"));
    ok(strcmp(buf_text(&html), "a%20b%2Fc%3Fd%26e%3D%22%C3%BC") == 0, "%s", buf_text(&html));
    buf_fini(&html);
}

int main(void)
{
    arena_init(&arena, 1U << 20);
    test_fields();
    test_cookies();
    test_paths();
    test_escaping();
    arena_fini(&arena);
    return done_testing();
}
