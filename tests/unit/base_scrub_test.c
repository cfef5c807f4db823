/* Description: secrets are overwritten wherever they stand in a text, and nothing else is. */
#include "base/base64.h"
#include "base/scrub.h"
#include "tap.h"

#include <stdlib.h>
#include <time.h>

static void scrubs(const char *text, const char *secret, const char *want, unsigned count)
{
    char copy[200];
    snprintf(copy, sizeof copy, "%s", text);
    is_uint(scrub(copy, strlen(copy), slice_str(secret)), count, "%s: times", text);
    is_str(copy, want, "%s", text);
}

/* One secret in one form, in the middle of a text and at its ends. */
static void form(const char *what, const char *text)
{
    static const char secret[] = "pl/nt+d=\"s3cr3t\"<&'\\>";
    static const char *const around[][2] = {{"", ""}, {"{\"error\":\"", "\"}"}, {"?a=", "&b=2"}};
    for (size_t i = 0; i < sizeof around / sizeof around[0]; i++) {
        char copy[600], first[8] = "", last[8] = "";
        snprintf(copy, sizeof copy, "%s%s%s", around[i][0], text, around[i][1]);
        size_t bytes = strlen(copy), before = strlen(around[i][0]), behind = strlen(around[i][1]);
        ok(scrub_finds(slice_str(copy), slice_str(secret)), "%s is found", what);
        ok(scrub(copy, bytes, slice_str(secret)) >= 1, "and overwritten");
        is_uint(strlen(copy), bytes, "as long as before");
        is_uint(strspn(copy + before, "*"), bytes - before - behind, "all of it: %s", copy);
        snprintf(first, sizeof first, "%.*s", (int)before, copy);
        snprintf(last, sizeof last, "%s", copy + bytes - behind);
        ok(strncmp(first, around[i][0], sizeof first - 1) == 0 &&
               strncmp(last, around[i][1], sizeof last - 1) == 0,
           "and no more");
    }
}

static void forms(void)
{
    form("as it is", "pl/nt+d=\"s3cr3t\"<&'\\>");
    form("in a URL", "pl%2Fnt%2Bd%3D%22s3cr3t%22%3C%26%27%5C%3E");
    form("in a URL, small digits", "pl%2fnt%2bd%3d%22s3cr3t%22%3c%26%27%5c%3e");
    form("in a URL, twice", "pl%252Fnt%252Bd%253D%2522s3cr3t%2522%253C%2526%2527%255C%253E");
    form("in JSON", "pl/nt+d=\\\"s3cr3t\\\"<&'\\\\>");
    form("in JSON with slashes escaped", "pl\\/nt+d=\\\"s3cr3t\\\"<&'\\\\>");
    form("in JSON, escaped for HTML",
         "pl/nt\\u002Bd=\\u0022s3cr3t\\u0022\\u003c\\u0026\\u0027\\u005c\\u003e");
    form("in JavaScript", "pl\\x2fnt\\x2Bd=\\x22s3cr3t\\x22\\x3c\\x26\\x27\\x5c\\x3e");
    form("in HTML", "pl/nt+d=&quot;s3cr3t&quot;&lt;&amp;&#39;\\&gt;");
    form("in HTML, by numbers", "pl&#47;nt&#x2B;d&#x3d;&#34;s3cr3t&#34;&lt;&#38;&apos;&#92;&gt;");
    form("in hex", "706c2f6e742b643d22733363723374223c26275c3e");
    form("in hex, capitals", "706C2F6E742B643D22733363723374223C26275C3E");
    form("in base64", "cGwvbnQrZD0iczNjcjN0IjwmJ1w+");
    form("in base64 for URLs", "cGwvbnQrZD0iczNjcjN0IjwmJ1w-");
    form("in base64 of lines", "cGwvbnQrZD0i\r\nczNjcjN0Ijwm\nJ1w+");
}

/* As a part of what was encoded, at each of the three places in a group; a short one and a long. */
static void parts(void)
{
    static const char *const secrets[] = {
        "planted1", "planted-secret-of-64-bytes-planted-secret-of-64-bytes-planted-12",
        "planted-secret-of-50-bytes-planted-secret-of-50-b50"};
    for (size_t s = 0; s < 3; s++) {
        for (unsigned front = 0; front < 7; front++) {
            for (unsigned back = 0; back < 4; back++) {
                char plain[120], text[200];
                int bytes = snprintf(plain, sizeof plain, "%.*s%s%.*s", (int)front,
                                     "user-x:", secrets[s], (int)back, ":ok");
                size_t length = base64_encode(plain, (size_t)bytes,
                                              back % 2 ? BASE64_URL : BASE64_STANDARD, text);
                text[length] = '\0';
                ok(scrub_finds(slice_of(text, length), slice_str(secrets[s])), "part %u %u", front,
                   back);
                scrub(text, length, slice_str(secrets[s]));
                size_t left = 0;
                for (size_t i = 0; i < length; i++) {
                    left += text[i] != '*' && text[i] != '=';
                }
                ok(left <= 2 + (front + back + 1) * 4 / 3, "%zu letters are left: %s", left, text);
            }
        }
    }
}

static void shown(const char *text, const char *secret, const char *want)
{
    char copy[200];
    snprintf(copy, sizeof copy, "%s", text);
    scrub_shown(copy, strlen(copy), slice_str(secret));
    is_str(copy, want, "%s", text);
}

static void short_ones(void)
{
    shown("bad token abc1!", "abc1", "bad token ****!");
    shown("bad token abc12", "abc1", "bad token abc12");
    shown("bad token xabc1", "abc1", "bad token xabc1");
    shown("token=abc%31&x", "abc1", "token=******&x");
    shown("YWJjMQ== or 61626331", "abc1", "******== or ********");
    shown("YWJjMQx", "abc1", "YWJjMQx");
    shown("ab", "ab", "ab");
    shown("a longer one: ghp_12345", "ghp_12345", "a longer one: *********");
}

/* Any text at all: within its bounds, and what was overwritten is not found again. */
/* Texts made to be read again and again: each byte may begin something. */
static void hostile(void)
{
    static const char *const pieces[] = {"\\", "%25", "&#0", "\\u005c", "g\n", "Z2", "67", "&"};
    size_t bytes = 1U << 20;
    char *text = malloc(bytes);
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        size_t length = strlen(pieces[i]);
        for (size_t k = 0; k < bytes; k++) {
            text[k] = pieces[i][k % length];
        }
        clock_t before = clock();
        is_uint(scrub(text, bytes, SLICE("ghp_12345")), 0);
        ok((clock() - before) / CLOCKS_PER_SEC < 3, "a MiB of %s takes no time", pieces[i]);
    }
    free(text);
}

/* One that another begins with, or ends with. */
static void several(void)
{
    struct slice secrets[] = {SLICE("12345678"), SLICE_EMPTY, SLICE("12345678-tail"),
                              SLICE("head-12345678")};
    char text[] = "12345678-tail, head-12345678, 12345678";
    scrub_order(secrets, 4);
    for (size_t i = 0; i < 4; i++) {
        scrub(text, strlen(text), secrets[i]);
    }
    is_str(text, "*************, *************, ********", "nothing is left of the longer ones");
    is_uint(secrets[3].bytes, 0, "the empty one is last");
}

static void noise(void)
{
    static const char pieces[] = "%25%%41\\\\u0041x&#65;#x;YWJj+/_-abcABC012";
    unsigned seed = 1, bad = 0;
    for (unsigned round = 0; round < 30000; round++) {
        char secret[12];
        size_t bytes = 1 + round % 61, secret_bytes = 3 + round % 9;
        char *text = malloc(bytes); /* its end is guarded */
        for (size_t i = 0; i < bytes + secret_bytes; i++) {
            seed = seed * 1103515245 + 12345;
            char c = pieces[(seed >> 16) % (sizeof pieces - 1)];
            *(i < bytes ? &text[i] : &secret[i - bytes]) = c;
        }
        struct slice looked_for = slice_of(secret, secret_bytes);
        scrub_shown(text, bytes, looked_for);
        bad += scrub_finds(slice_of(text, bytes), looked_for) &&
               memchr(secret, '*', secret_bytes) == NULL;
        free(text);
    }
    is_uint(bad, 0, "nothing is found where all was overwritten");
}

int main(void)
{
    noise();
    forms();
    parts();
    short_ones();
    several();
    hostile();
    scrubs("bad token ghp_12345!", "ghp_12345", "bad token *********!", 1);
    scrubs("ghp_12345ghp_12345", "ghp_12345", "******************", 2);
    scrubs("ghp_1234", "ghp_12345", "ghp_1234", 0);
    scrubs("", "ghp_12345", "", 0);
    scrubs("a short one: abc", "abc", "a short one: abc", 0);
    scrubs("aaaaaaaaaaaaaaaaa", "aaaaaaaa", "****************a", 2);
    is_uint(scrub(NULL, 0, SLICE("ghp_12345")), 0, "nothing at all");
    is_uint(scrub(NULL, 0, SLICE_EMPTY), 0);
    ok(scrub_finds(SLICE("xx12345678"), SLICE("12345678")), "it is there");
    ok(!scrub_finds(SLICE("xx1234567"), SLICE("12345678")), "it is not");
    return done_testing();
}
