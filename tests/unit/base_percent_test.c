/* Description: %XX there and back, and what is no %XX. */
#include "base/percent.h"
#include "tap.h"

#include <string.h>

struct decoding {
    const char *text, *plain; /* NULL: refused */
    bool plus;
};

static const struct decoding decodings[] = {
    {"", "", false},
    {"abc", "abc", true},
    {"a+b", "a+b", false},
    {"a+b", "a b", true},
    {"%41", "A", false},
    {"%2b%2B", "++", true},
    {"x%20y%c3%A4", "x y\xc3\xa4", false},
    {"%", NULL, false},
    {"%4", NULL, false},
    {"a%4g", NULL, true},
    {"%%41", NULL, false},
    {"%4 1", NULL, true},
    {"100%25", "100%", false},
    {"%2541", "%41", false},
};

static void test_decoding(void)
{
    for (size_t i = 0; i < sizeof decodings / sizeof decodings[0]; i++) {
        const struct decoding *it = &decodings[i];
        uint8_t out[64];
        size_t bytes = 0;
        bool good = percent_decode(slice_str(it->text), it->plus, out, &bytes);
        ok(good == (it->plain != NULL) &&
               (!good || slice_equal(slice_of(out, bytes), slice_str(it->plain))),
           "\"%s\"", it->text);
        memcpy(out, it->text, strlen(it->text));
        good = percent_decode(slice_of(out, strlen(it->text)), it->plus, out, &bytes);
        ok(good == (it->plain != NULL) &&
               (!good || slice_equal(slice_of(out, bytes), slice_str(it->plain))),
           "in place");
    }
}

/* What Python's parse_qs, PHP and URLSearchParams make of it. */
static void test_forms(void)
{
    static const char *const forms[][2] = {
        {"", ""},         {"a+b%20c%2B", "a b c+"}, {"%", "%"},     {"100%", "100%"},
        {"%4", "%4"},     {"%zz+%4g", "%zz %4g"},   {"%%41", "%A"}, {"%%%341%", "%%41%"},
        {"%2541", "%41"},
    };
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        uint8_t out[64];
        size_t bytes = strlen(forms[i][0]);
        memcpy(out, forms[i][0], bytes);
        bytes = percent_decode_form(slice_of(out, bytes), out);
        ok(slice_equal(slice_of(out, bytes), slice_str(forms[i][1])), "\"%s\"", forms[i][0]);
    }
}

static void test_every_byte(void)
{
    uint8_t all[256], back[256];
    char text[768];
    size_t bytes = 0;
    for (unsigned i = 0; i < 256; i++) {
        all[i] = (uint8_t)i;
    }
    size_t length = percent_encode(slice_of(all, sizeof all), percent_unreserved, text);
    is_uint(length, 66 + 3 * 190, "66 bytes stay as they are");
    ok(percent_decode(slice_of(text, length), true, back, &bytes) && bytes == 256 &&
           memcmp(all, back, 256) == 0,
       "all bytes come back");
    length = percent_encode(SLICE("a/b c~\xff"), percent_unreserved, text);
    ok(slice_equal(slice_of(text, length), SLICE("a%2Fb%20c~%FF")));
    length = percent_encode(slice_of(all, sizeof all), percent_visible, text);
    is_uint(length, 92 + 3 * 164, "92 are seen and no %% or \"");
    ok(percent_decode(slice_of(text, length), false, back, &bytes) && bytes == 256 &&
           memcmp(all, back, 256) == 0,
       "and all come back");
}

static void test_appended(void)
{
    struct buf buf;
    buf_init(&buf, 16);
    percent_add(&buf, SLICE("a/"));
    percent_add(&buf, SLICE("b"));
    ok(slice_equal(buf_slice(&buf), SLICE("a%2Fb")));
    percent_add(&buf, SLICE("////"));
    ok(buf.overflow, "what does not fit is no half");
    buf_fini(&buf);
}

int main(void)
{
    test_decoding();
    test_forms();
    test_every_byte();
    test_appended();
    return done_testing();
}
