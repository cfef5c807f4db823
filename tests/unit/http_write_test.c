/* Request heads: what is written, and that no value can add or end a line. */
#include "http/parse.h"
#include "http/write.h"
#include "tap.h"

static struct http_origin origin_of(const char *text)
{
    struct http_origin origin = {0};
    struct url url;
    const char *why = "";
    if (url_parse(slice_str(text), &url, &why) != BK_OK) {
        bail_out("%s: %s", text, why);
    }
    http_origin_from_url(&origin, &url);
    http_origin_init(&origin);
    return origin;
}

static void whole(void)
{
    uint8_t room[512];
    struct http_write write;
    struct slice head;
    struct http_origin origin = origin_of("http://Example.com:8080/");
    static const char want[] = "POST /in?a=1 HTTP/1.1\r\n"
                               "Host: example.com:8080\r\n"
                               "Content-Length: 18446744073709551615\r\n"
                               "X-Empty: \r\n\r\n";

    http_write_init(&write, room, sizeof room);
    http_write_request(&write, SLICE("POST"), &origin, SLICE("/in"), SLICE("?a=1"));
    http_write_header_number(&write, SLICE("Content-Length"), UINT64_MAX);
    http_write_header(&write, SLICE("X-Empty"), SLICE(""));
    is_int(http_write_end(&write, &head), BK_OK, "a head");
    is_bytes(head.at, head.bytes, want, sizeof want - 1, "word for word");
    for (size_t size = 0; size < sizeof want - 1; size++) {
        http_write_init(&write, room, size);
        http_write_request(&write, SLICE("POST"), &origin, SLICE("/in"), SLICE("?a=1"));
        http_write_header_number(&write, SLICE("Content-Length"), UINT64_MAX);
        http_write_header(&write, SLICE("X-Empty"), SLICE(""));
        memset(room + size, 0x5a, sizeof room - size);
        if (http_write_end(&write, &head) != BK_TOO_LARGE || room[size] != 0x5a) {
            ok(false, "a head in %zu bytes", size);
        }
    }
}

/* Each byte in each place: either refused, or the parser reads exactly one request with this value
 * and nothing more. */
static void injection(void)
{
    struct http_origin origin = origin_of("https://h/");
    static struct http_head parsed;
    unsigned wrong = 0, written = 0;

    for (unsigned place = 0; place < 5; place++) {
        for (unsigned c = 0; c < 256; c++) {
            uint8_t room[256];
            uint8_t text[5] = {'/', 'a', (uint8_t)c, 'b', 'c'};
            struct slice value = slice_of(text + (place != 1), place == 1 ? 5 : 4);
            struct slice query = slice_of("?ab", 3);
            struct http_write write;
            struct slice head;
            http_write_init(&write, room, sizeof room);
            text[0] = place == 2 ? '?' : '/';
            if (place == 2) {
                query = slice_of(text, 5);
            }
            http_write_request(&write, place == 0 ? value : SLICE("GET"), &origin,
                               place == 1 ? value : SLICE("/"), query);
            http_write_header(&write, place == 3 ? value : SLICE("X-A"),
                              place == 4 ? value : SLICE("v"));
            if (http_write_end(&write, &head) != BK_OK) {
                continue;
            }
            written++;
            bool good = http_parse_request(head.at, head.bytes, &parsed) == HTTP_PARSE_DONE &&
                        parsed.head_bytes == head.bytes && parsed.header_count == 2;
            wrong += !good;
            if (good && place == 4) {
                wrong += !slice_equal(http_header_value(&parsed, &parsed.headers[1]), value);
            }
        }
    }
    is_uint(wrong, 0, "no byte of a value changes what else the head says");
    ok(written > 5 * 60, "%u heads were written", written);
}

static void refused(void)
{
    struct http_origin origin = origin_of("https://h/");
    static const char *const values[] = {"a\r\nX-Injected: 1", "a\nb", "a\rb", " a", "a ", "\ta",
                                         "caf\xc3\xa9"};
    uint8_t room[256];
    struct http_write write;
    struct slice head;

    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        http_write_init(&write, room, sizeof room);
        http_write_request(&write, SLICE("GET"), &origin, SLICE("/"), SLICE(""));
        http_write_header(&write, SLICE("A"), slice_str(values[i]));
        http_write_header(&write, SLICE("B"), SLICE("good"));
        is_int(http_write_end(&write, &head), BK_INVALID, "a bad value spoils the head (%zu)", i);
    }
    http_write_init(&write, room, sizeof room);
    http_write_request(&write, SLICE("GET"), &origin, SLICE("http://other/"), SLICE(""));
    is_int(http_write_end(&write, &head), BK_INVALID, "a path begins with a slash");
    http_write_init(&write, room, sizeof room);
    http_write_request(&write, SLICE("GET"), &origin, SLICE("/"), SLICE("q"));
    is_int(http_write_end(&write, &head), BK_INVALID, "a query begins with a question mark");
    http_write_init(&write, room, sizeof room);
    http_write_header(&write, SLICE("A"), SLICE("b"));
    http_write_request(&write, SLICE("GET"), &origin, SLICE("/"), SLICE(""));
    is_int(http_write_end(&write, &head), BK_INVALID, "a request line comes first");
}

static void origins(void)
{
    struct http_origin a = origin_of("https://h/"), b = origin_of("HTTPS://H.:443/x");
    ok(http_origin_equal(&a, &b) && a.key == b.key, "one origin, two spellings");
    const char *const others[] = {"http://h/", "https://h:444/", "https://g/", "http://h:443/"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        b = origin_of(others[i]);
        ok(!http_origin_equal(&a, &b) && a.key != b.key, "another origin: %s", others[i]);
    }
    b = a;
    b.allow_private = true;
    http_origin_init(&b);
    ok(!http_origin_equal(&a, &b), "who may reach private addresses shares with no other");
    b = a;
    b.credentials = (struct tls_credentials *)(void *)&a;
    http_origin_init(&b);
    ok(!http_origin_equal(&a, &b), "nor who trusts others");
}

int main(void)
{
    whole();
    injection();
    refused();
    origins();
    return done_testing();
}
