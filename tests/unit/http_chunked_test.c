/* http_chunked_test.c - the chunked decoder: every cut, byte by byte, guard pages, limits, random
 * bodies. */
#include "http/parse.h"

#include "tests/tap.h"
#include "tests/unit/http_guard.h"

static uint8_t *guard;

struct decoded {
    enum http_parse result;
    size_t bytes;
    size_t consumed;
    uint8_t data[GUARD_BYTES];
};

/* Decode `text` in pieces of the given sizes, the last one what is left. Each piece stands alone in
 * front of a guard page. */
static void decode(const void *text, size_t bytes, const size_t *pieces, size_t count,
                   struct decoded *ret)
{
    struct http_chunked chunked;
    const uint8_t *from = text;
    size_t done = 0;

    http_chunked_init(&chunked);
    ret->result = HTTP_PARSE_PARTIAL;
    ret->bytes = 0;
    ret->consumed = 0;
    for (size_t i = 0; i <= count && ret->result == HTTP_PARSE_PARTIAL; i++) {
        size_t piece = i < count ? pieces[i] : bytes - done;
        piece = piece < bytes - done ? piece : bytes - done;
        uint8_t *at = guard_high(guard, from + done, piece);
        size_t out = piece, used = 0;
        ret->result = http_chunked_decode(&chunked, at, &out, &used);
        if (used > piece || out > used || (ret->result == HTTP_PARSE_PARTIAL && used != piece)) {
            bail_out("a piece of %zu bytes: %zu used, %zu decoded", piece, used, out);
        }
        memcpy(ret->data + ret->bytes, at, out);
        ret->bytes += out;
        ret->consumed += used;
        done += piece;
    }
}

static bool same(const struct decoded *a, const struct decoded *b)
{
    return a->result == b->result && a->bytes == b->bytes && a->consumed == b->consumed &&
           memcmp(a->data, b->data, a->bytes) == 0;
}

/* Whole, split in two at each place, and byte by byte: all the same. */
static bool split_invariant(const void *text, size_t bytes, struct decoded *ret_whole)
{
    static struct decoded other;
    static size_t ones[GUARD_BYTES];

    decode(text, bytes, NULL, 0, ret_whole);
    for (size_t cut = 0; cut <= bytes; cut++) {
        decode(text, bytes, &cut, 1, &other);
        if (!same(ret_whole, &other)) {
            diag("cut at %zu: result %d, whole %d", cut, (int)other.result, (int)ret_whole->result);
            return false;
        }
    }
    for (size_t i = 0; i < bytes; i++) {
        ones[i] = 1;
    }
    decode(text, bytes, ones, bytes, &other);
    return same(ret_whole, &other);
}

static void test_table(void)
{
    static const struct {
        const char *text, *data;
        enum http_parse result;
        unsigned rest;
    } cases[] = {
        {"0\r\n\r\n", "", HTTP_PARSE_DONE, 0},
        {"5\r\nhello\r\n0\r\n\r\n", "hello", HTTP_PARSE_DONE, 0},
        {"5\r\nhello\r\n6\r\n world\r\n000\r\n\r\nGET /", "hello world", HTTP_PARSE_DONE, 5},
        {"00000000000000000000005\r\nhello\r\n0\r\n\r\n", "hello", HTTP_PARSE_DONE, 0},
        {"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789",
         HTTP_PARSE_DONE, 0},
        {"1;a=b;c=\"d \t;\xff\"\r\nx\r\n0 ; last\r\n\r\n", "x", HTTP_PARSE_DONE, 0},
        {"2\r\n\r\n\r\n0\r\n\r\n", "\r\n", HTTP_PARSE_DONE, 0},
        {"0\r\nX-Sum: 1\r\nY:\r\n\r\nrest", "", HTTP_PARSE_DONE, 4},
        {"", "", HTTP_PARSE_PARTIAL, 0},
        {"5\r\nhel", "hel", HTTP_PARSE_PARTIAL, 0},
        {"0\r\n\r", "", HTTP_PARSE_PARTIAL, 0},
        {"0\r\nA: b\r\n", "", HTTP_PARSE_PARTIAL, 0},
        {"FFFFFFFFFFFFFFFF\r\nabc", "abc", HTTP_PARSE_PARTIAL, 0},
        {"\r\n", "", HTTP_PARSE_BAD, 2},
        {"5\nhello\r\n", "", HTTP_PARSE_BAD, 8},
        {"5\rhello\r\n", "", HTTP_PARSE_BAD, 7},
        {"5\r\nhello\n0\r\n\r\n", "hello", HTTP_PARSE_BAD, 6},
        {"5\r\nhello0\r\n\r\n", "hello", HTTP_PARSE_BAD, 5},
        {"5\r\nhello\r0\r\n\r\n", "hello", HTTP_PARSE_BAD, 5},
        {"10000000000000000\r\n", "", HTTP_PARSE_BAD, 3},
        {"g\r\n", "", HTTP_PARSE_BAD, 3},
        {"0x5\r\nhello", "", HTTP_PARSE_BAD, 9},
        {"+5\r\n", "", HTTP_PARSE_BAD, 4},
        {"-1\r\n", "", HTTP_PARSE_BAD, 4},
        {" 5\r\n", "", HTTP_PARSE_BAD, 4},
        {"5 \r\nhello", "", HTTP_PARSE_BAD, 7},
        {"5 5\r\nhello", "", HTTP_PARSE_BAD, 8},
        {"5;a\nhello", "", HTTP_PARSE_BAD, 6},
        {"5;a\rx", "", HTTP_PARSE_BAD, 1},
        {"5;\x01\r\n", "", HTTP_PARSE_BAD, 3},
        {"0\r\n a: b\r\n\r\n", "", HTTP_PARSE_BAD, 9},
        {"0\r\na : b\r\n\r\n", "", HTTP_PARSE_BAD, 8},
        {"0\r\n: b\r\n\r\n", "", HTTP_PARSE_BAD, 7},
        {"0\r\na: b\n\r\n", "", HTTP_PARSE_BAD, 3},
        {"0\r\na: b\r\n c\r\n\r\n", "", HTTP_PARSE_BAD, 6},
        {"0\r\na\r\n\r\n", "", HTTP_PARSE_BAD, 4},
        {"0\r\n\rx", "", HTTP_PARSE_BAD, 1},
        {"0\r\na: b\rx", "", HTTP_PARSE_BAD, 1},
    };
    static struct decoded got;

    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t bytes = strlen(cases[i].text);
        ok(split_invariant(cases[i].text, bytes, &got), "case %u is the same in any pieces", i);
        is_int(got.result, cases[i].result, "its result");
        is_bytes(got.data, got.bytes, cases[i].data, strlen(cases[i].data), "its data");
        is_uint(bytes - got.consumed, cases[i].rest, "what is left");
    }
}

static size_t append(uint8_t *text, size_t bytes, const char *piece, size_t times)
{
    for (size_t i = 0; i < times; i++) {
        memcpy(text + bytes, piece, strlen(piece));
        bytes += strlen(piece);
    }
    return bytes;
}

static int decode_repeated(const char *start, const char *unit, size_t times, const char *end)
{
    static uint8_t text[GUARD_BYTES];
    static struct decoded got;
    size_t bytes = append(text, 0, start, 1);
    bytes = append(text, bytes, unit, times);
    bytes = append(text, bytes, end, 1);
    decode(text, bytes, NULL, 0, &got);
    return (int)got.result;
}

static void test_limits(void)
{
    is_int(decode_repeated("1;", "e", 4000, "\r\nx\r\n0\r\n\r\n"), HTTP_PARSE_DONE,
           "an extension of 4000 bytes");
    is_int(decode_repeated("1;", "e", 4096, ""), HTTP_PARSE_BAD, "more than 4 KiB");
    is_int(decode_repeated("", "0", 4097, ""), HTTP_PARSE_BAD, "as zeros, too");
    is_int(decode_repeated("", "1\r\nx\r\n", 10000, "0\r\n\r\n"), HTTP_PARSE_DONE,
           "10,000 chunks of one byte");
    is_int(decode_repeated("", "1;eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee\r\nx\r\n", 1000,
                           "0\r\n\r\n"),
           HTTP_PARSE_BAD, "1,000 chunks of one byte with 44 of extension each");

    size_t room = HTTP_TRAILER_BYTES_MAX;
    is_int(decode_repeated("0\r\na:", "v", room - 4 - 1, "\r\n\r\n"), HTTP_PARSE_DONE,
           "trailers of the largest size");
    is_int(decode_repeated("0\r\na:", "v", room - 1, ""), HTTP_PARSE_TOO_LONG, "and longer");
    is_int(decode_repeated("0\r\n", "a: b\r\n", 2000, ""), HTTP_PARSE_TOO_LONG, "or more");
}

static void test_sticky(void)
{
    struct http_chunked chunked;
    uint8_t text[] = "x0\r\n\r\n";
    size_t bytes = 1, used;

    http_chunked_init(&chunked);
    is_int(http_chunked_decode(&chunked, text, &bytes, &used), HTTP_PARSE_BAD);
    bytes = 5;
    is_int(http_chunked_decode(&chunked, text + 1, &bytes, &used), HTTP_PARSE_BAD, "stays bad");
    is_uint(used, 0);
    is_uint(bytes, 0);
    http_chunked_init(&chunked);
    bytes = 5;
    is_int(http_chunked_decode(&chunked, text + 1, &bytes, &used), HTTP_PARSE_DONE);
    bytes = 1;
    is_int(http_chunked_decode(&chunked, text, &bytes, &used), HTTP_PARSE_DONE, "stays done");
    is_uint(used, 0, "and takes nothing of what follows");
}

/* Random bodies in random chunks, decoded in random pieces. */
static void test_random(void)
{
    static uint8_t text[GUARD_BYTES], body[GUARD_BYTES];
    static struct decoded got;
    uint64_t seed = 0x6265636b65740002ULL;
    unsigned wrong = 0;
    const unsigned rounds = 4000;

    for (unsigned round = 0; round < rounds; round++) {
        size_t bytes = 0, body_bytes = 0;
        for (unsigned chunks = random_below(&seed, 20); chunks > 0; chunks--) {
            size_t size = 1 + random_below(&seed, random_below(&seed, 2) ? 10 : 2000);
            const char *extension = random_below(&seed, 2) ? "" : ";x";
            bytes += (size_t)snprintf((char *)text + bytes, 32, "%zx%s\r\n", size, extension);
            for (size_t i = 0; i < size; i++) {
                body[body_bytes + i] = (uint8_t)random_next(&seed);
            }
            memcpy(text + bytes, body + body_bytes, size);
            body_bytes += size;
            bytes = append(text, bytes + size, "\r\n", 1);
        }
        bytes = append(text, bytes, random_below(&seed, 2) ? "0\r\n\r\n" : "0\r\nt: v\r\n\r\n", 1);
        size_t rest = random_below(&seed, 8);
        bytes = append(text, bytes, "G", rest);

        size_t pieces[64];
        for (unsigned i = 0; i < 64; i++) {
            pieces[i] = random_below(&seed, random_below(&seed, 2) ? 8 : 1500);
        }
        decode(text, bytes, pieces, random_below(&seed, 65), &got);
        wrong += got.result != HTTP_PARSE_DONE || got.bytes != body_bytes ||
                 memcmp(got.data, body, body_bytes) != 0 || bytes - got.consumed != rest;
    }
    is_uint(wrong, 0, "%u random bodies come out as they went in", rounds);
}

int main(void)
{
    guard = guard_new();
    test_table();
    test_limits();
    test_sticky();
    test_random();
    return done_testing();
}
