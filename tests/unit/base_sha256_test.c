/* sha256, hmac: FIPS 180-4 and RFC 4231 / 2202 values; equal to BearSSL on random input and random
 * splits, also two at once, with and without the CPU's instructions. */
#include "base/hex.h"
#include "base/hmac.h"
#include "tap.h"

#include <bearssl_kdf.h>

static uint64_t seed = 0x2545f4914f6cdd1dU;

static uint64_t next(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static void is_hex(const uint8_t *got, const char *want, const char *name)
{
    char text[2 * HMAC_BYTES_MAX + 1] = "";
    hex_encode(got, strlen(want) / 2, text);
    text[strlen(want)] = 0;
    is_str(text, want, "%s", name);
}

static void known(void)
{
    uint8_t digest[32];
    sha256(SLICE(""), digest);
    is_hex(digest, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "nothing");
    sha256(SLICE("abc"), digest);
    is_hex(digest, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", "abc");
    sha256(SLICE("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"), digest);
    is_hex(digest, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
           "two blocks");
    br_sha256_context context;
    sha256_init(&context);
    for (int i = 0; i < 1000; i++) {
        uint8_t many[1000];
        memset(many, 'a', sizeof many);
        sha256_update(&context, many, sizeof many);
    }
    sha256_out(&context, digest);
    is_hex(digest, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0", "a million");
}

struct rfc_case {
    enum hmac_algorithm algorithm;
    int key_byte, key_bytes; /* 0: key_text */
    const char *key_text, *data, *mac;
};

#define LARGER "Test Using Larger Than Block-Size Key - Hash Key First"
static const struct rfc_case rfc_cases[] = {
    {HMAC_SHA256, 0x0b, 20, NULL, "Hi There",
     "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
    {HMAC_SHA256, 0, 0, "Jefe", "what do ya want for nothing?",
     "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
    {HMAC_SHA256, 0xaa, 131, NULL, LARGER,
     "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
    {HMAC_SHA1, 0x0b, 20, NULL, "Hi There", "b617318655057264e28bc0b6fb378c8ef146be00"},
    {HMAC_SHA1, 0, 0, "Jefe", "what do ya want for nothing?",
     "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"},
    {HMAC_SHA384, 0, 0, "Jefe", "what do ya want for nothing?",
     "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e"
     "8e2240ca5e69e2c78b3239ecfab21649"},
    {HMAC_SHA512, 0, 0, "Jefe", "what do ya want for nothing?",
     "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"
     "9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"},
};

static void rfc(void)
{
    for (size_t i = 0; i < sizeof rfc_cases / sizeof rfc_cases[0]; i++) {
        const struct rfc_case *c = &rfc_cases[i];
        uint8_t key_bytes[131], mac[HMAC_BYTES_MAX];
        struct slice secret = slice_str(c->key_text), data = slice_str(c->data);
        struct hmac_key key;
        memset(key_bytes, c->key_byte, sizeof key_bytes);
        if (c->key_text == NULL) {
            secret = slice_of(key_bytes, (size_t)c->key_bytes);
        }
        hmac_key_init(&key, c->algorithm, secret);
        is_uint(hmac(&key, &data, 1, mac), strlen(c->mac) / 2);
        is_uint(hmac_bytes(c->algorithm), strlen(c->mac) / 2);
        is_hex(mac, c->mac, "RFC 2202 and 4231");
    }
}

/* The class against BearSSL's, over random splits, with state and set_state on the way. */
static unsigned class_differs(const uint8_t *bytes, size_t n)
{
    union {
        const br_hash_class *vtable;
        br_sha256_context sha256;
    } ours, theirs;
    uint8_t a[32], b[32], state_a[32], state_b[32];
    memset(&ours, 0, sizeof ours);
    sha256_class.init(&ours.vtable);
    br_sha256_vtable.init(&theirs.vtable);
    unsigned differ = 0;
    for (size_t at = 0; at < n;) {
        size_t step = next() % 200;
        step = step > n - at ? n - at : step;
        ours.vtable->update(&ours.vtable, bytes + at, step);
        theirs.vtable->update(&theirs.vtable, bytes + at, step);
        at += step;
        uint64_t count = ours.vtable->state(&ours.vtable, state_a);
        differ += count != theirs.vtable->state(&theirs.vtable, state_b);
        differ += memcmp(state_a, state_b, 32) != 0;
        if (count % 64 == 0) {
            ours.vtable->set_state(&ours.vtable, state_a, count);
        }
    }
    ours.vtable->out(&ours.vtable, a);
    ours.vtable->out(&ours.vtable, a);
    theirs.vtable->out(&theirs.vtable, b);
    return differ + (memcmp(a, b, 32) != 0);
}

static unsigned hmac_differs(const uint8_t *bytes, size_t n)
{
    struct hmac_sha256_key key;
    struct slice secret = slice_of(bytes, next() % 150), parts[5], whole = slice_of(bytes, n);
    uint8_t a[32], b[32], c[32];
    size_t at = 0;
    for (int i = 0; i < 5; i++) {
        size_t step = i == 4 ? n - at : next() % (n - at + 1);
        parts[i] = slice_of(bytes + at, step);
        at += step;
    }
    hmac_sha256_key_init(&key, secret);
    hmac_sha256(&key, parts, 5, a);
    hmac_sha256(&key, &whole, 1, c);
    br_hmac_key_context theirs;
    br_hmac_context context;
    br_hmac_key_init(&theirs, &br_sha256_vtable, secret.at, secret.bytes);
    br_hmac_init(&context, &theirs, 0);
    br_hmac_update(&context, bytes, n);
    br_hmac_out(&context, b);
    return memcmp(a, b, 32) != 0 || memcmp(c, b, 32) != 0;
}

/* A beginning that is hashed, and parts behind it, twice; against all of it in one piece. */
static unsigned begun_differs(const uint8_t *bytes, size_t n)
{
    br_sha256_context begun;
    struct slice parts[4];
    uint8_t a[32], b[32], c[32];
    size_t at = next() % (n + 1);
    sha256_init(&begun);
    sha256_update(&begun, bytes, at);
    for (int i = 0; i < 4; i++) {
        size_t step = i == 3 ? n - at : next() % (n - at + 1);
        parts[i] = step == 0 ? SLICE_EMPTY : slice_of(bytes + at, step);
        at += step;
    }
    sha256_out_with(&begun, parts, 4, a);
    sha256_out_with(&begun, parts, 4, b);
    sha256(slice_of(bytes, n), c);
    return memcmp(a, c, 32) != 0 || memcmp(b, c, 32) != 0;
}

/* Two at once, of any lengths and in any pieces, against BearSSL one by one. */
static unsigned two_differ(const uint8_t *bytes, size_t length_a, size_t length_b)
{
    size_t length[2] = {length_a, length_b};
    struct hmac_sha256_key keys[2];
    struct slice parts[2][6];
    struct hmac_sha256_text texts[2];
    uint8_t macs[2][32], want[32];
    for (int t = 0; t < 2; t++) {
        struct slice secret = slice_of(bytes + next() % 50, next() % 100);
        const uint8_t *at = bytes + 100 + next() % 100;
        unsigned count = length[t] == 0 ? (unsigned)(next() % 3) : 1 + (unsigned)(next() % 6);
        hmac_sha256_key_init(&keys[t], secret);
        texts[t] = (struct hmac_sha256_text){&keys[t], parts[t], count};
        size_t used = 0;
        for (unsigned i = 0; i < count; i++) {
            size_t left = length[t] - used;
            size_t most = next() % 2 ? left + 1 : 70 < left ? 70 : left + 1;
            size_t step = i + 1 == count ? left : next() % most;
            parts[t][i] = step == 0 ? SLICE_EMPTY : slice_of(at + used, step);
            used += step;
        }
        memset(macs[t], 0, 32);
    }
    hmac_sha256_two(texts, macs[0], macs[1]);
    unsigned differ = 0;
    for (int t = 0; t < 2; t++) {
        hmac_sha256(&keys[t], parts[t], texts[t].part_count, want);
        differ += memcmp(macs[t], want, 32) != 0;
    }
    return differ;
}

static unsigned blocks_differ(const uint8_t *bytes, size_t blocks)
{
    uint32_t a[8], b[8], want_a[8], want_b[8];
    for (int i = 0; i < 8; i++) {
        want_a[i] = a[i] = (uint32_t)next();
        want_b[i] = b[i] = (uint32_t)next();
    }
    sha256_blocks_two(a, bytes + 1, b, bytes + 77, blocks);
    sha256_accelerate(false);
    sha256_blocks(want_a, bytes + 1, blocks);
    sha256_blocks(want_b, bytes + 77, blocks);
    return memcmp(a, want_a, sizeof a) != 0 || memcmp(b, want_b, sizeof b) != 0;
}

static void two(const uint8_t *bytes, bool accelerate)
{
    static const size_t edges[] = {0,   1,   54,  55,  56,  63,  64,  65,   118, 119,
                                   120, 127, 128, 129, 183, 184, 192, 1023, 1024};
    unsigned wrong = 0;
    for (size_t i = 0; i < sizeof edges / sizeof edges[0]; i++) {
        for (size_t j = 0; j < sizeof edges / sizeof edges[0]; j++) {
            wrong += two_differ(bytes, edges[i], edges[j]);
        }
    }
    is_uint(wrong, 0, "two at once, of lengths around those of blocks");
    wrong = 0;
    for (unsigned i = 0; i < 3000; i++) {
        wrong += two_differ(bytes, next() % 2500, next() % (i % 2 ? 2500 : 200));
    }
    is_uint(wrong, 0, "two at once, of any lengths");
    wrong = 0;
    for (size_t blocks = 0; blocks < 20; blocks++) {
        sha256_accelerate(accelerate);
        wrong += blocks_differ(bytes, blocks);
    }
    is_uint(wrong, 0, "blocks of two equal BearSSL's");
    sha256_accelerate(accelerate);
}

int main(void)
{
    static uint8_t bytes[5000];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)next();
    }
    for (int on = 1; on >= 0; on--) {
        sha256_accelerate(on == 1);
        diag("SHA instructions: %s", sha256_accelerated() ? "yes" : "no");
        known();
        rfc();
        unsigned class_wrong = 0, hmac_wrong = 0, begun_wrong = 0;
        for (size_t n = 0; n < 1500; n++) {
            class_wrong += class_differs(bytes + n % 7, n);
            hmac_wrong += hmac_differs(bytes + 200 + n % 5, n * 3);
            begun_wrong += begun_differs(bytes + n % 7, n);
        }
        is_uint(class_wrong, 0, "the class equals BearSSL's on every split");
        is_uint(hmac_wrong, 0, "HMAC over parts equals BearSSL's");
        is_uint(begun_wrong, 0, "one beginning, and parts behind it");
        two(bytes, on == 1);
    }
    sha256_accelerate(true);
    uint8_t a[48], b[48];
    br_hkdf_context hkdf;
    br_hkdf_init(&hkdf, &sha256_class, "salt", 4);
    br_hkdf_inject(&hkdf, "key", 3);
    br_hkdf_flip(&hkdf);
    br_hkdf_produce(&hkdf, "info", 4, a, sizeof a);
    br_hkdf_init(&hkdf, &br_sha256_vtable, "salt", 4);
    br_hkdf_inject(&hkdf, "key", 3);
    br_hkdf_flip(&hkdf);
    br_hkdf_produce(&hkdf, "info", 4, b, sizeof b);
    is_mem(a, b, sizeof a, "BearSSL's HKDF works with the class");
    return done_testing();
}
