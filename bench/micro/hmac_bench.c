/* hmac_bench - what hashing and checksums cost: ns and bytes per ns, with and without the CPU's
 * instructions.
 *
 * Prints one line each: name, bytes, ns per call (the fastest of many rounds: the machine is
 * noisy).
 */
#include "base/aead.h"
#include "base/base64.h"
#include "base/crc32c.h"
#include "base/hex.h"
#include "base/hmac.h"
#include "base/siphash.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static uint8_t data[1 << 20];
static volatile uint64_t sink;

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

typedef void work_fn(size_t bytes);

static struct hmac_sha256_key key256;
static struct hmac_key key_other;
static struct aead_key aead;

static void work_hmac(size_t bytes)
{
    struct slice parts[] = {SLICE("1700000000."), slice_of(data, bytes)};
    uint8_t mac[32];
    hmac_sha256(&key256, parts, 2, mac);
    sink = mac[0];
}

static void work_hmac_body(size_t bytes)
{
    struct slice body = slice_of(data, bytes);
    uint8_t mac[32];
    hmac_sha256(&key256, &body, 1, mac);
    sink = mac[0];
}

static void work_hmac_two(size_t bytes)
{
    struct slice bodies[] = {slice_of(data, bytes), slice_of(data + 2048, bytes)};
    struct hmac_sha256_text texts[] = {{&key256, &bodies[0], 1}, {&key256, &bodies[1], 1}};
    uint8_t a[32], b[32];
    hmac_sha256_two(texts, a, b);
    sink = a[0] + b[0];
}

static void work_hmac_other(size_t bytes)
{
    struct slice body = slice_of(data, bytes);
    uint8_t mac[64];
    hmac(&key_other, &body, 1, mac);
    sink = mac[0];
}

static void work_sha256(size_t bytes)
{
    uint8_t digest[32];
    sha256(slice_of(data, bytes), digest);
    sink = digest[0];
}

static void work_crc(size_t bytes)
{
    sink = crc32c(0, data, bytes);
}

static void work_crc_portable(size_t bytes)
{
    sink = crc32c_portable(0, data, bytes);
}

static void work_sip(size_t bytes)
{
    uint64_t hash[2];
    siphash128(data + 100, data, bytes, hash);
    sink = hash[0];
}

static void work_hex(size_t bytes)
{
    static const char text[] = "000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F";
    uint8_t out[32];
    (void)bytes;
    sink = hex_decode(slice_of(text, 64), out, 32);
    sink = out[3];
}

static void work_base64(size_t bytes)
{
    static const char text[] = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    uint8_t out[33];
    size_t n = 0;
    (void)bytes;
    sink = base64_decode(slice_of(text, 44), BASE64_STANDARD, out, 32, &n);
    sink = out[3];
}

static void work_seal(size_t bytes)
{
    uint8_t tag[16], nonce[12] = {0};
    aead_seal(&aead, nonce, SLICE("secrets/github"), data, bytes, tag);
    sink = tag[0];
}

static void measure(const char *name, work_fn *work, size_t bytes)
{
    unsigned rounds = bytes > 100000 ? 20 : 2000;
    double best = 1e18;
    for (int trial = 0; trial < 40; trial++) {
        double start = now_ns();
        for (unsigned i = 0; i < rounds; i++) {
            work(bytes);
        }
        double took = (now_ns() - start) / rounds;
        best = took < best ? took : best;
    }
    printf("%-32s %8zu B %10.1f ns %8.2f B/ns\n", name, bytes, best, (double)bytes / best);
}

int main(void)
{
    hmac_sha256_key_init(&key256, SLICE("It's a Secret to Everybody"));
    aead_key_init(&aead, data);
    static const size_t sizes[] = {64, 256, 1024, 4096, 16384, 1 << 20};
    for (int on = 1; on >= 0; on--) {
        sha256_accelerate(on == 1);
        const char *how = sha256_accelerated() ? "sha-ni" : "portable";
        char name[64];
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            snprintf(name, sizeof name, "hmac-sha256 %s", how);
            measure(name, work_hmac_body, sizes[i]);
        }
        snprintf(name, sizeof name, "hmac-sha256 %s 'ts.body'", how);
        measure(name, work_hmac, 1024);
        snprintf(name, sizeof name, "hmac-sha256 %s, two of them", how);
        measure(name, work_hmac_two, 1024);
        snprintf(name, sizeof name, "sha256 %s", how);
        measure(name, work_sha256, 1024);
    }
    hmac_key_init(&key_other, HMAC_SHA1, SLICE("secret"));
    measure("hmac-sha1", work_hmac_other, 1024);
    hmac_key_init(&key_other, HMAC_SHA512, SLICE("secret"));
    measure("hmac-sha512", work_hmac_other, 1024);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        measure("crc32c", work_crc, sizes[i]);
    }
    measure("crc32c portable", work_crc_portable, 1024);
    measure("siphash128", work_sip, 36);
    measure("siphash128", work_sip, 1024);
    measure("hex decode", work_hex, 64);
    measure("base64 decode", work_base64, 44);
    measure("aes-256-gcm seal", work_seal, 32);
    measure("aes-256-gcm seal", work_seal, 1024);
    return 0;
}
