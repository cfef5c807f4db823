/* Description: what a terminal must not act on, widths, and URLs of the client. */
#include "cli/client.h"
#include "cli/print.h"
#include "tap.h"

static const char *safe(struct buf *buf, const char *text, size_t bytes, bool lines)
{
    buf_reset(buf);
    print_safe(buf, slice_of(text, bytes), lines);
    return buf_text(buf);
}

static void test_safe(void)
{
    struct buf buf;
    buf_init(&buf, 4096);
    is_str(safe(&buf, "plain äß 漢", strlen("plain äß 漢"), false), "plain äß 漢");
    is_str(safe(&buf, "\033[31mred\a", 9, false), "\\x1b[31mred\\x07");
    is_str(safe(&buf, "a\nb\tc\r", 6, true), "a\nb\tc\\x0d");
    is_str(safe(&buf, "a\nb", 3, false), "a\\x0ab");
    is_str(safe(&buf, "a\0b", 3, false), "a\\x00b");
    is_str(safe(&buf,
                "\xc2\x9b"
                "31m",
                5, false),
           "\\x9b31m", "the one-character escape");
    is_str(safe(&buf,
                "a\xe2\x80\xae"
                "b",
                5, false),
           "a\\u202eb", "text that runs backwards");
    is_str(safe(&buf, "\xe2\x81\xa6", 3, false), "\\u2066");
    is_str(safe(&buf, "\xff\xc3", 2, false), "\xef\xbf\xbd\xef\xbf\xbd", "not UTF-8");
    is_str(safe(&buf, "\xed\xa0\x80", 3, false), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd",
           "a surrogate");
    is_str(safe(&buf, "\xc0\xaf", 2, false), "\xef\xbf\xbd\xef\xbf\xbd", "overlong");
    is_str(safe(&buf, "\x7f", 1, false), "\\x7f");
    buf_fini(&buf);
    is_uint(print_width(SLICE("abc")), 3);
    is_uint(print_width(SLICE("漢字")), 4, "wide characters");
    is_uint(print_width(SLICE("e\xcc\x81")), 1, "a combining accent");
    is_uint(print_width(SLICE("äöü")), 3);
}

static void test_numbers(void)
{
    char text[16];
    is_str(print_bytes_text(0, text), "0 B");
    is_str(print_bytes_text(1023, text), "1023 B");
    is_str(print_bytes_text(1536, text), "1.5 KiB");
    is_str(print_bytes_text(150ULL << 20, text), "150 MiB");
    char time_text[32];
    setenv("TZ", "UTC", 1);
    print_time(SLICE("2026-01-02T03:04:05.678Z"), time_text);
    is_str(time_text, "2026-01-02 03:04:05");
    print_time(SLICE("nonsense"), time_text);
    is_str(time_text, "");
}

static void is_wrapped(const char *text, unsigned indent, unsigned used, unsigned width,
                       const char *want)
{
    struct buf out;
    buf_init(&out, 4096);
    print_wrapped(&out, slice_str(text), indent, used, width);
    is_str(buf_text(&out), want);
    buf_fini(&out);
}

static void test_wrapping(void)
{
    is_wrapped("", 4, 0, 20, "\n");
    is_wrapped("one two three", 0, 0, 80, "one two three\n");
    is_wrapped("one two three", 0, 0, 7, "one two\nthree\n");
    is_wrapped("one two three", 2, 0, 9, "  one two\n  three\n");
    is_wrapped("one two", 6, 4, 9, "  one\n      two\n");
    is_wrapped("much-too-long x", 2, 0, 6, "  much-too-long\n  x\n");
    is_wrapped("漢字 漢字", 0, 0, 8, "漢字\n漢字\n");
}

static void test_urls(void)
{
    static const struct {
        const char *text, *host, *port, *authority, *path;
    } good[] = {
        {"http://127.0.0.1:8081", "127.0.0.1", "8081", "127.0.0.1:8081", ""},
        {"http://localhost/hooks/a?b=c", "localhost", "80", "localhost", "/hooks/a?b=c"},
        {"http://[::1]:9/x", "::1", "9", "[::1]:9", "/x"},
        {"http://[::1]", "::1", "80", "[::1]", ""},
        {"http://a.example?x", "a.example", "80", "a.example", "?x"},
        {"https://a.example/y", "a.example", "443", "a.example", "/y"},
        {"https://[::1]:8443", "::1", "8443", "[::1]:8443", ""},
    };
    static const char *const bad[] = {"",
                                      "localhost:8081",
                                      "ftp://a",
                                      "http://",
                                      "http://:80",
                                      "http://a:",
                                      "http://a:0",
                                      "http://a:x",
                                      "http://a:65536",
                                      "http://a:123456",
                                      "http://[::1",
                                      "http://[]",
                                      "http://u:p@host",
                                      "http://a/b c",
                                      "http://a/\r\nX: y",
                                      "http://[::1]x"};
    struct client_url url;
    char error[CLIENT_ERROR_BYTES];
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        bool parsed = client_url_parse(good[i].text, &url, error);
        ok(parsed && strcmp(url.host, good[i].host) == 0 && strcmp(url.port, good[i].port) == 0 &&
               strcmp(url.authority, good[i].authority) == 0 && strcmp(url.path, good[i].path) == 0,
           "%s", good[i].text);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        error[0] = '\0';
        ok(!client_url_parse(bad[i], &url, error) && error[0] != '\0', "refused: \"%s\"", bad[i]);
    }
}

int main(void)
{
    test_safe();
    test_numbers();
    test_wrapping();
    test_urls();
    return done_testing();
}
