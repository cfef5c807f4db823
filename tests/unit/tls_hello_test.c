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

int main(void)
{
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
