/* hex, base64, secret, constant-time compare. */
#include "base/base64.h"
#include "base/ct.h"
#include "base/hex.h"
#include "base/secret.h"
#include "tap.h"

static void hex(void)
{
    uint8_t out[71], bytes[70] = {0};
    char text[140];
    unsigned wrong = 0;
    for (size_t n = 0; n <= sizeof bytes; n++) {
        for (size_t i = 0; i < n; i++) {
            bytes[i] = (uint8_t)(i * 37 + n);
        }
        hex_encode(bytes, n, text);
        wrong += !hex_decode(slice_of(text, 2 * n), out, n) || memcmp(out, bytes, n) != 0;
        wrong += hex_decode(slice_of(text, 2 * n), out, n + 1);
        wrong += n > 0 && hex_decode(slice_of(text, 2 * n - 1), out, n);
        wrong += n > 0 && hex_decode(slice_of(text, 2 * n), out, n - 1);
    }
    is_uint(wrong, 0, "hex there and back, of every length and of no other");
    wrong = 0;
    /* Every byte at a place of the vector code and at one of the rest. */
    for (unsigned c = 0; c < 256; c++) {
        for (size_t place = 0; place < 22; place += 3) {
            memset(text, '0', 22);
            text[place] = (char)c;
            unsigned value = c >= '0' && c <= '9'   ? c - '0'
                             : c >= 'a' && c <= 'f' ? c - 'a' + 10
                             : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                                    : 16;
            bool good = hex_decode(slice_of(text, 22), out, 11);
            wrong += good != (value < 16);
            wrong += good && out[place / 2] != (place % 2 ? value : value << 4);
        }
    }
    is_uint(wrong, 0, "exactly the digits of both cases");
}

struct text_case {
    const char *plain, *standard, *url;
};
static const struct text_case texts[] = {
    {"", "", ""},
    {"f", "Zg==", "Zg"},
    {"fo", "Zm8=", "Zm8"},
    {"foo", "Zm9v", "Zm9v"},
    {"foob", "Zm9vYg==", "Zm9vYg"},
    {"fooba", "Zm9vYmE=", "Zm9vYmE"},
    {"foobar", "Zm9vYmFy", "Zm9vYmFy"},
    {"\xfb\xff\xfe", "+//+", "-__-"},
};
static const char *const bad_standard[] = {"Z",    "Zg",     "Zg=",      "Zh==", "Zm9=",   "Zm8",
                                           "=",    "====",   "Zg==Zg==", "Zm 9", "Zm9v\n", "-__-",
                                           "Z===", "Zg==\n", " Zm9v",    "Zm9v="};
static const char *const bad_url[] = {"Z", "Zg=", "Zh", "+//+", "Zm9=", "Z===", "Zg=a", "Zg==="};

static void base64(void)
{
    uint8_t out[256];
    char text[400];
    size_t n = 0;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct slice plain = slice_str(texts[i].plain);
        size_t wrote = base64_encode(plain.at, plain.bytes, BASE64_STANDARD, text);
        is_bytes(text, wrote, texts[i].standard, strlen(texts[i].standard));
        is_uint(wrote, BASE64_ENCODED(plain.bytes));
        wrote = base64_encode(plain.at, plain.bytes, BASE64_URL, text);
        is_bytes(text, wrote, texts[i].url, strlen(texts[i].url));
        ok(base64_decode(slice_str(texts[i].standard), BASE64_STANDARD, out, plain.bytes, &n));
        is_bytes(out, n, plain.at, plain.bytes);
        ok(base64_decode(slice_str(texts[i].url), BASE64_URL, out, plain.bytes, &n));
        is_bytes(out, n, plain.at, plain.bytes);
    }
    for (size_t i = 0; i < sizeof bad_standard / sizeof bad_standard[0]; i++) {
        ok(!base64_decode(slice_str(bad_standard[i]), BASE64_STANDARD, out, sizeof out, &n),
           "not base64: '%s'", bad_standard[i]);
    }
    for (size_t i = 0; i < sizeof bad_url / sizeof bad_url[0]; i++) {
        ok(!base64_decode(slice_str(bad_url[i]), BASE64_URL, out, sizeof out, &n),
           "not base64url: '%s'", bad_url[i]);
    }
    ok(base64_decode(SLICE("Zg=="), BASE64_URL, out, sizeof out, &n), "URL text may be padded");
    ok(!base64_decode(SLICE("Zm9vYg=="), BASE64_STANDARD, out, 3, &n), "too long for the room");
    unsigned wrong = 0;
    for (size_t bytes = 0; bytes < 200; bytes++) {
        uint8_t in[200];
        for (size_t i = 0; i < bytes; i++) {
            in[i] = (uint8_t)(i * 91 + bytes * 7);
        }
        for (int alphabet = 0; alphabet < 2; alphabet++) {
            size_t wrote = base64_encode(in, bytes, (enum base64_alphabet)alphabet, text);
            wrong += !base64_decode(slice_of(text, wrote), (enum base64_alphabet)alphabet, out,
                                    bytes, &n);
            wrong += n != bytes || memcmp(in, out, n) != 0;
            wrong += wrote > BASE64_ENCODED(bytes) || bytes > BASE64_DECODED_MAX(wrote);
        }
    }
    is_uint(wrong, 0, "base64 there and back");
}

int main(void)
{
    hex();
    base64();

    uint8_t a[70], b[70];
    unsigned wrong = 0;
    memset(a, 5, sizeof a);
    for (size_t n = 0; n <= sizeof a; n++) {
        memcpy(b, a, sizeof b);
        wrong += !bk_ct_equal(a, b, n);
        for (size_t bit = 0; bit < 8 * n; bit++) {
            b[bit / 8] ^= (uint8_t)(1U << bit % 8);
            wrong += bk_ct_equal(a, b, n);
            b[bit / 8] ^= (uint8_t)(1U << bit % 8);
        }
    }
    is_uint(wrong, 0, "constant-time compare sees every bit");
    ok(!bk_ct_equal_slice(SLICE("abc"), SLICE("abcd")));

    struct secret secret;
    is_int(secret_init(&secret, SLICE("hunter2")), BK_OK);
    is_str((const char *)secret.at, "hunter2");
    secret_fini(&secret);
    ok(secret.at == NULL && secret.bytes == 0);
    secret_fini(&secret);
    is_int(secret_init(&secret, SLICE_EMPTY), BK_OK);
    secret_fini(&secret);
    return done_testing();
}
