/* Description: what a client's hello says about protocols, from its suites on. */
#include "tests/tap.h"
#include "tls/private.h"

#include <stdlib.h>

#define SUITES                  "\0\4\xc0\x2b\0\xff"
#define COMPRESSION             "\1\0"
#define HTTP                    "\x8http/1.1"
#define ALPN(bytes, list_bytes) "\0\x10\0" bytes "\0" list_bytes

/* In memory of its own, so that a sanitizer sees a byte too many. */
static bool speaks(const char *at, size_t bytes)
{
    uint8_t *copy = malloc(bytes ? bytes : 1);
    if (!copy) {
        bail_out("no memory");
    }
    memcpy(copy, at, bytes);
    bool found = tls_hello_speaks(slice_of(copy, bytes), SLICE("http/1.1"));
    free(copy);
    return found;
}

#define SPEAKS(text) speaks((text), sizeof(text) - 1)

static void every_prefix(const char *at, size_t bytes)
{
    size_t found = 0;
    for (size_t cut = 0; cut < bytes; cut++) {
        found += speaks(at, cut);
    }
    is_uint(found, 0, "what is not there whole says nothing");
}

#define ID32 "0123456789abcdef0123456789abcdef"
#define REST SUITES COMPRESSION "\0\0"
/* version, random, session; REST is 10 bytes */
#define BODY    "\3\3" ID32 "\x20" ID32 REST
#define MESSAGE "\1\0\0\x4d" BODY
#define RECORD  "\x16\3\1\0\x51" MESSAGE

/* Every prefix, and each byte changed, in memory of its own. */
static void test_read(void)
{
    static const char whole[] = RECORD;
    size_t bytes = sizeof whole - 1, read = 0;
    for (size_t cut = 0; cut <= bytes; cut++) {
        uint8_t *copy = malloc(cut ? cut : 1);
        struct tls_hello hello;
        if (!copy) {
            bail_out("no memory");
        }
        memcpy(copy, whole, cut);
        bool found = tls_hello_read(slice_of(copy, cut), &hello);
        read += found;
        if (found) {
            is_uint(hello.version, 0x303, "its version");
            ok(slice_equal(hello.session, SLICE(ID32)), "its session");
            ok(tls_hello_offers(&hello, 0xc02b) && tls_hello_offers(&hello, 0xff), "its suites");
            ok(!tls_hello_offers(&hello, 0x2b00), "no others");
            ok(tls_hello_speaks(hello.rest, SLICE("http/1.1")), "its protocols");
        }
        for (size_t i = 0; cut == bytes && i < bytes; i++) {
            copy[i] ^= 0x80;
            (void)(tls_hello_read(slice_of(copy, cut), &hello) && tls_hello_offers(&hello, 1));
            copy[i] ^= 0x80;
        }
        free(copy);
    }
    is_uint(read, 1, "it is there when it is whole");
}

static void fault(const char *what, const char *at, size_t bytes, unsigned want)
{
    uint8_t *copy = malloc(bytes ? bytes : 1);
    if (!copy) {
        bail_out("no memory");
    }
    memcpy(copy, at, bytes);
    is_uint(tls_hello_fault(slice_of(copy, bytes)), want, "%s", what);
    free(copy);
}

#define FAULT(what, text, want) fault((what), (text), sizeof(text) - 1, (want))
#define WITH(bytes, text)       SUITES COMPRESSION "\0" bytes text
#define DECODE_ERROR            50U
#define ILLEGAL_PARAMETER       47U

static void test_faults(void)
{
    FAULT("nothing behind the compressions", SUITES COMPRESSION, 0);
    FAULT("no extensions", REST, 0);
    FAULT("a name, groups, formats, signatures, a protocol, and what nobody knows",
          WITH("\x3c", "\0\0\0\x6\0\4\0\0\1a"
                       "\0\xa\0\4\0\2\0\x17"
                       "\0\xb\0\2\1\0"
                       "\0\xd\0\4\0\2\4\3" ALPN("\xb", "\x9") HTTP "\x7a\x7a\0\1x"
                                                                   "\0\x17\0\0"
                                                                   "\0\x16\0\0"),
          0);
    FAULT("no suites", "\0\0" COMPRESSION, DECODE_ERROR);
    FAULT("half a suite", "\0\3\xc0\x2b\0" COMPRESSION, DECODE_ERROR);
    FAULT("no compression", SUITES "\0", DECODE_ERROR);
    FAULT("without the null compression", SUITES "\1\1", ILLEGAL_PARAMETER);
    FAULT("bytes behind the extensions", REST "x", DECODE_ERROR);
    FAULT("half a length of them", SUITES COMPRESSION "\0", DECODE_ERROR);
    FAULT("half an extension", WITH("\3", "\0\x17\0"), DECODE_ERROR);
    FAULT("twice the same", WITH("\xa", "\x7a\x7a\0\1x\x7a\x7a\0\1y"), ILLEGAL_PARAMETER);
    FAULT("an empty name extension", WITH("\4", "\0\0\0\0"), DECODE_ERROR);
    FAULT("an empty list of names", WITH("\6", "\0\0\0\2\0\0"), DECODE_ERROR);
    FAULT("an empty name", WITH("\x9", "\0\0\0\5\0\3\0\0\0"), DECODE_ERROR);
    FAULT("a name beyond its list", WITH("\xa", "\0\0\0\6\0\4\0\0\2a"), DECODE_ERROR);
    FAULT("bytes behind the list of names", WITH("\xb", "\0\0\0\7\0\4\0\0\1ax"), DECODE_ERROR);
    FAULT("two host names", WITH("\xe", "\0\0\0\xa\0\x8\0\0\1a\0\0\1b"), ILLEGAL_PARAMETER);
    FAULT("a name of another kind beside it", WITH("\xe", "\0\0\0\xa\0\x8\0\0\1a\1\0\1b"), 0);
    FAULT("NUL in a name", WITH("\xb", "\0\0\0\7\0\5\0\0\2a\0"), ILLEGAL_PARAMETER);
    FAULT("a name beyond ASCII", WITH("\xb", "\0\0\0\7\0\5\0\0\2\xc3\xa9"), ILLEGAL_PARAMETER);
    FAULT("no groups", WITH("\6", "\0\xa\0\2\0\0"), DECODE_ERROR);
    FAULT("half a group", WITH("\x7", "\0\xa\0\3\0\1\0"), DECODE_ERROR);
    FAULT("no formats", WITH("\5", "\0\xb\0\1\0"), DECODE_ERROR);
    FAULT("formats without the uncompressed one", WITH("\7", "\0\xb\0\3\2\1\2"), ILLEGAL_PARAMETER);
    FAULT("no signatures", WITH("\6", "\0\xd\0\2\0\0"), DECODE_ERROR);
    FAULT("no protocols", WITH("\6", ALPN("\2", "\0")), DECODE_ERROR);
    FAULT("a protocol without a name", WITH("\7", ALPN("\3", "\1") "\0"), DECODE_ERROR);
    FAULT("a protocol beyond its list", WITH("\x9", ALPN("\5", "\3") "\3h2"), DECODE_ERROR);
    FAULT("an extended master secret with something in it", WITH("\5", "\0\x17\0\1x"),
          DECODE_ERROR);
    static const char named[] = WITH("\xe", "\x7a\x7a\0\0\0\0\0\6\0\4\0\0\1a");
    ok(slice_equal(tls_hello_name(slice_of((const uint8_t *)named, sizeof named - 1)), SLICE("a")),
       "whom it asks for");
    for (size_t cut = 0; cut + 1 < sizeof named - 1; cut++) {
        uint8_t *copy = malloc(cut ? cut : 1);
        memcpy(copy, named, cut);
        if (tls_hello_name(slice_of(copy, cut)).bytes != 0) {
            ok(false, "a name in the first %zu bytes", cut);
        }
        free(copy);
    }
    is_uint(tls_hello_name(slice_str("")).bytes, 0, "nobody");
}

int main(void)
{
    test_read();
    test_faults();
    static const char two[] = SUITES COMPRESSION "\0\x16\0\x17\0\0" ALPN("\xe", "\xc") "\2h2" HTTP;
    ok(SPEAKS(two), "ours is one of two");
    every_prefix(two, sizeof two - 1);
    ok(SPEAKS(SUITES COMPRESSION "\0\4\0\x17\0\0"), "none is asked for");
    ok(SPEAKS(SUITES COMPRESSION "\0\0"), "nor anything else");
    ok(!SPEAKS(SUITES COMPRESSION), "perhaps something comes");
    ok(!SPEAKS(SUITES COMPRESSION "\0\x9" ALPN("\5", "\3") "\2h2"), "another only");
    ok(!SPEAKS(SUITES COMPRESSION "\0\xf" ALPN("\xb", "\x9") "\x8http/1.0"), "nearly ours");
    ok(!SPEAKS(SUITES COMPRESSION "\0\6" ALPN("\2", "\0")), "an empty list");
    ok(!SPEAKS(SUITES COMPRESSION "\0\4\0\x10\0\0"), "an empty extension");
    ok(!SPEAKS(SUITES COMPRESSION "\0\x10" ALPN("\xc", "\x9") HTTP "x"), "bytes behind the list");
    ok(!SPEAKS(SUITES COMPRESSION "\0\xf" ALPN("\xb", "\x9") "\x9http/1.1"), "a name beyond it");
    ok(!SPEAKS(SUITES COMPRESSION "\0\x18" ALPN("\xb", "\x9") HTTP ALPN("\5", "\3") "\2h2"),
       "ours, and then another list");
    ok(!SPEAKS(SUITES COMPRESSION "\0\1\0"), "half an extension");
    return done_testing();
}
