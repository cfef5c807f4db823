/* URLs: what is accepted, how it is normalised, what is refused. */
#include "base/url.h"
#include "tap.h"

struct good {
    const char *text, *host, *path, *query, *authority;
    unsigned port;
    enum url_host_kind kind;
};

static const struct good goods[] = {
    {"http://example.com", "example.com", "/", "", "example.com", 80, URL_HOST_NAME},
    {"HTTPS://Example.COM/In?a=b&c", "example.com", "/In", "?a=b&c", "example.com", 443,
     URL_HOST_NAME},
    {"https://a.b:8443/x", "a.b", "/x", "", "a.b:8443", 8443, URL_HOST_NAME},
    {"http://a.b:80/", "a.b", "/", "", "a.b", 80, URL_HOST_NAME},
    {"http://a.b:443/", "a.b", "/", "", "a.b:443", 443, URL_HOST_NAME},
    {"http://localhost./", "localhost", "/", "", "localhost", 80, URL_HOST_NAME},
    {"http://my_service-1/", "my_service-1", "/", "", "my_service-1", 80, URL_HOST_NAME},
    {"http://h?q", "h", "/", "?q", "h", 80, URL_HOST_NAME},
    {"http://h?", "h", "/", "?", "h", 80, URL_HOST_NAME},
    {"http://h/a?b?c[0]=%5B", "h", "/a", "?b?c[0]=%5B", "h", 80, URL_HOST_NAME},
    {"http://h/@x:y/%20/!$&'()*+,;=", "h", "/@x:y/%20/!$&'()*+,;=", "", "h", 80, URL_HOST_NAME},
    {"http://1e100.net/", "1e100.net", "/", "", "1e100.net", 80, URL_HOST_NAME},
    {"http://127.0.0.1:8080/", "127.0.0.1", "/", "", "127.0.0.1:8080", 8080, URL_HOST_IPV4},
    {"http://2130706433/", "127.0.0.1", "/", "", "127.0.0.1", 80, URL_HOST_IPV4},
    {"http://0x7f.1/", "127.0.0.1", "/", "", "127.0.0.1", 80, URL_HOST_IPV4},
    {"http://0177.0.0.1/", "127.0.0.1", "/", "", "127.0.0.1", 80, URL_HOST_IPV4},
    {"http://127.1/", "127.0.0.1", "/", "", "127.0.0.1", 80, URL_HOST_IPV4},
    {"http://0X7F000001/", "127.0.0.1", "/", "", "127.0.0.1", 80, URL_HOST_IPV4},
    {"http://127.0.0.1./", "127.0.0.1", "/", "", "127.0.0.1", 80, URL_HOST_IPV4},
    {"http://1.65535/", "1.0.255.255", "/", "", "1.0.255.255", 80, URL_HOST_IPV4},
    {"http://0/", "0.0.0.0", "/", "", "0.0.0.0", 80, URL_HOST_IPV4},
    {"http://4294967295/", "255.255.255.255", "/", "", "255.255.255.255", 80, URL_HOST_IPV4},
    {"http://[::]/", "::", "/", "", "[::]", 80, URL_HOST_IPV6},
    {"https://[0:0:0:0:0:0:0:1]:444/", "::1", "/", "", "[::1]:444", 444, URL_HOST_IPV6},
    {"http://[2001:DB8::A]/", "2001:db8::a", "/", "", "[2001:db8::a]", 80, URL_HOST_IPV6},
    {"http://[::ffff:7f00:1]/", "127.0.0.1", "/", "", "127.0.0.1", 80, URL_HOST_IPV4},
    {"http://[::FFFF:10.0.0.1]/", "10.0.0.1", "/", "", "10.0.0.1", 80, URL_HOST_IPV4},
};

static const char *const bads[] = {
    "",
    "example.com",
    "//example.com/",
    "ftp://example.com/",
    "http:/example.com/",
    "http:example.com",
    "http://",
    "http:///x",
    "http://?x",
    "http://./",
    "http://a..b/",
    "http://.a/",
    "http://a../",
    "http://good@127.0.0.1/",
    "http://good:word@h/",
    "http://h\\@127.0.0.1/",
    "http://127.0.0.1\\@h/",
    "http://h\t/",
    "http://h/\r\nX: 1",
    "http://h/a b",
    " http://h/",
    "http://h/ ",
    "http://h/\"",
    "http://h/<x>",
    "http://h/{x}",
    "http://h/a|b",
    "http://h/a^b",
    "http://h/a`b",
    "http://h/a\\b",
    "http://h/[x]",
    "http://h/\x7f",
    "http://h/\xc3\xa9",
    "http://h\xef\xbc\x8e"
    "b/",
    "http://b\xe3\x80\x82"
    "c/",
    "http://%68/",
    "http://h/%",
    "http://h/%2",
    "http://h/%2g",
    "http://h/#f",
    "http://h#f",
    "http://h?q#f",
    "http://h:/",
    "http://h:0/",
    "http://h:00/",
    "http://h:080/",
    "http://h:65536/",
    "http://h:99999/",
    "http://h:123456/",
    "http://h:8o/",
    "http://h:-1/",
    "http://h:80:80/",
    "http://1.2.3.4.5/",
    "http://1.2.3.4.0/",
    "http://1.2.3/x/../..#",
    "http://256.0.0.1/",
    "http://1.2.3.256/",
    "http://1.16777216/",
    "http://4294967296/",
    "http://0x100000000/",
    "http://99999999999999999999/",
    "http://08.0.0.1/",
    "http://a.1/",
    "http://1.2.3.x4.5/",
    "http://0x.0.0.1/",
    "http://a.0x/",
    "http://a.0xzz/",
    "http://1..2/",
    "http://[::1/",
    "http://[]/",
    "http://[::1]x/",
    "http://[::1]:/",
    "http://[fe80::1%25eth0]/",
    "http://[fe80::1%eth0]/",
    "http://[127.0.0.1]/",
    "http://[1:2:3:4:5:6:7]/",
    "http://[1:2:3:4:5:6:7:8:9]/",
    "http://[h]/",
    "http://::1/",
    "http://[[::1]]/",
};

static struct slice slice_of_url(const struct url *url, char *room, size_t room_bytes)
{
    char authority[URL_AUTHORITY_BYTES_MAX];
    (void)url_authority(url->host, url->port, url->tls, false, authority);
    int bytes = snprintf(room, room_bytes, "%s://%s%.*s%.*s", url->tls ? "https" : "http",
                         authority, (int)url->path.bytes, (const char *)url->path.at,
                         (int)url->query.bytes, (const char *)url->query.at);
    return slice_of(room, (size_t)bytes);
}

static void accepted(void)
{
    for (size_t i = 0; i < sizeof goods / sizeof goods[0]; i++) {
        const struct good *good = &goods[i];
        const char *why = "";
        struct url url, again;
        char authority[URL_AUTHORITY_BYTES_MAX], room[2 * URL_BYTES_MAX];
        enum bk_err err = url_parse(slice_str(good->text), &url, &why);
        if (!ok(err == BK_OK, "%s is accepted", good->text)) {
            diag("%s", why);
            continue;
        }
        (void)url_authority(url.host, url.port, url.tls, false, authority);
        bool same = url.host_kind == good->kind && url.port == good->port &&
                    strcmp(url.host, good->host) == 0 && strcmp(authority, good->authority) == 0 &&
                    slice_equal(url.path, slice_str(good->path)) &&
                    slice_equal(url.query, slice_str(good->query));
        ok(same, "it is %s port %u path %.*s query %.*s, Host: %s", url.host, url.port,
           (int)url.path.bytes, (const char *)url.path.at, (int)url.query.bytes,
           (const char *)url.query.at, authority);
        err = url_parse(slice_of_url(&url, room, sizeof room), &again, &why);
        ok(err == BK_OK && strcmp(again.host, url.host) == 0 && again.port == url.port &&
               again.host_kind == url.host_kind && memcmp(again.address, url.address, 16) == 0,
           "written and read again it is the same");
    }
}

static void refused(void)
{
    for (size_t i = 0; i < sizeof bads / sizeof bads[0]; i++) {
        const char *why = "";
        struct url url;
        ok(url_parse(slice_str(bads[i]), &url, &why) == BK_INVALID && why[0] != '\0',
           "refused: case %zu: %s", i, why);
    }
}

/* Any byte anywhere in a host: only the known ones pass. */
static void bytes_of_hosts(void)
{
    unsigned wrong = 0;
    for (unsigned c = 0; c < 256; c++) {
        char text[] = "http://axb/";
        struct url url;
        const char *why;
        text[8] = (char)c;
        bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '-' || c == '_' || c == '.';
        bool cut = c == '/' || c == '?'; /* the host is "a" then, the rest path or query */
        wrong += (url_parse(slice_of(text, 11), &url, &why) == BK_OK) != (good || cut);
    }
    is_uint(wrong, 0, "no other byte than letters, digits, '-', '_' and '.' in a host");
}

static void lengths(void)
{
    static char text[URL_BYTES_MAX + 2];
    struct url url;
    const char *why;
    memset(text, 'a', sizeof text);
    memcpy(text, "http://h/", 9);
    ok(url_parse(slice_of(text, URL_BYTES_MAX), &url, &why) == BK_OK, "8000 bytes");
    ok(url_parse(slice_of(text, URL_BYTES_MAX + 1), &url, &why) == BK_INVALID, "not one more");
    memset(text + 7, 'a', 300);
    for (unsigned i = 63; i < 300; i += 64) {
        text[7 + i] = '.';
    }
    ok(url_parse(slice_of(text, 7 + 253), &url, &why) == BK_OK && strlen(url.host) == 253,
       "a host of 253 bytes");
    ok(url_parse(slice_of(text, 7 + 254), &url, &why) == BK_INVALID, "not of 254");
    text[7 + 63] = 'a';
    ok(url_parse(slice_of(text, 7 + 64), &url, &why) == BK_INVALID, "no label of 64");
}

static void spellings(void)
{
    static const struct {
        const char *left, *right;
        bool same;
    } pairs[] = {
        {"https://h.example/hooks/a", "HTTPS://H.Example:443/hooks/a", true},
        {"https://h.example/hooks/a", "https://h.example/hooks/a/", false},
        {"http://h.example:80", "http://h.example/", true},
        {"no url", "no url", true},
        {"https://h.example/hooks/a", "http://h.example/hooks/a", false},
        {"https://h.example/hooks/a", "https://h.example:8443/hooks/a", false},
        {"https://h.example/hooks/a", "https://h.example/hooks/A", false},
        {"https://h.example/hooks/a", "https://h.example/hooks/a?b", false},
        {"https://h.example/hooks/a", "https://g.example/hooks/a", false},
        {"https://h.example/hooks/a", "", false},
        {"no url", "No url", false},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        struct slice left = slice_str(pairs[i].left), right = slice_str(pairs[i].right);
        ok(url_same(left, right) == pairs[i].same && url_same(right, left) == pairs[i].same,
           "%s and %s are %sthe same", pairs[i].left, pairs[i].right, pairs[i].same ? "" : "not ");
    }
}

int main(void)
{
    spellings();
    accepted();
    refused();
    bytes_of_hosts();
    lengths();
    return done_testing();
}
