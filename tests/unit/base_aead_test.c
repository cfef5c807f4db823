/* aead: test cases 13 to 16 of the GCM specification (McGrew and Viega), both implementations,
 * tampering. */
#include "base/aead.h"
#include "base/hex.h"
#include "tap.h"

struct gcm_case {
    const char *key, *nonce, *plain, *aad, *sealed, *tag;
};

#define KEY2 "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308"
#define PLAIN                                                                                      \
    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"                             \
    "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
#define SEALED                                                                                     \
    "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"                             \
    "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"

static const struct gcm_case cases[] = {
    {"0000000000000000000000000000000000000000000000000000000000000000", "000000000000000000000000",
     "", "", "", "530f8afbc74536b9a963b4f1c4cb738b"},
    {"0000000000000000000000000000000000000000000000000000000000000000", "000000000000000000000000",
     "00000000000000000000000000000000", "", "cea7403d4d606b6e074ec5d3baf39d18",
     "d0d1c8a799996bf0265b98b5d48ab919"},
    {KEY2, "cafebabefacedbaddecaf888", PLAIN "1aafd255", "", SEALED "898015ad",
     "b094dac5d93471bdec1a502270e3cc6c"},
    {KEY2, "cafebabefacedbaddecaf888", PLAIN, "feedfacedeadbeeffeedfacedeadbeefabaddad2", SEALED,
     "76fc6ece0f4e1768cddf8853bb2d551b"},
};

static size_t bytes_of(const char *hex, uint8_t *out)
{
    size_t n = strlen(hex) / 2;
    if (!hex_decode(slice_str(hex), out, n)) {
        bail_out("bad hex in the test");
    }
    return n;
}

static void known(enum aead_implementation implementation, const char *name)
{
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t key[32], nonce[12], data[64], plain[64], aad[32], sealed[64], want[16], tag[16];
        struct aead_key context;
        bytes_of(cases[i].key, key);
        bytes_of(cases[i].nonce, nonce);
        size_t n = bytes_of(cases[i].plain, plain);
        struct slice aad_slice = slice_of(aad, bytes_of(cases[i].aad, aad));
        bytes_of(cases[i].sealed, sealed);
        bytes_of(cases[i].tag, want);
        memcpy(data, plain, n);
        aead_key_init_with(&context, key, implementation);
        aead_seal(&context, nonce, aad_slice, data, n, tag);
        is_mem(data, sealed, n, "%s %zu sealed", name, i);
        is_mem(tag, want, 16, "%s %zu tag", name, i);
        ok(aead_open(&context, nonce, aad_slice, data, n, tag), "%s %zu opens", name, i);
        is_mem(data, plain, n, "%s %zu opened", name, i);
        aead_key_wipe(&context);
    }
}

/* One flipped bit anywhere is refused and the data is wiped; a key serves many messages. */
static void tampering(void)
{
    uint8_t key[32] = {7}, nonce[12] = {1}, tag[16], aad[9] = "record 1", plain[45];
    uint8_t *parts[] = {plain, aad, nonce, tag};
    size_t sizes[] = {sizeof plain, sizeof aad, sizeof nonce, sizeof tag};
    uint8_t sealed[sizeof plain];
    struct aead_key context;
    unsigned opened = 0, not_wiped = 0, lost = 0;
    aead_key_init(&context, key);
    for (size_t i = 0; i < sizeof plain; i++) {
        plain[i] = (uint8_t)(i * 7);
    }
    memcpy(sealed, plain, sizeof plain);
    aead_seal(&context, nonce, slice_of(aad, sizeof aad), sealed, sizeof sealed, tag);
    parts[0] = sealed;
    for (size_t part = 0; part < 4; part++) {
        for (size_t bit = 0; bit < 8 * sizes[part]; bit++) {
            parts[part][bit / 8] ^= (uint8_t)(1U << bit % 8);
            uint8_t copy[sizeof plain], zero[sizeof plain] = {0};
            memcpy(copy, sealed, sizeof copy);
            opened += aead_open(&context, nonce, slice_of(aad, sizeof aad), copy, sizeof copy, tag);
            not_wiped += memcmp(copy, zero, sizeof zero) != 0;
            parts[part][bit / 8] ^= (uint8_t)(1U << bit % 8);
        }
    }
    uint8_t copy[sizeof plain];
    memcpy(copy, sealed, sizeof copy);
    lost += !aead_open(&context, nonce, slice_of(aad, sizeof aad), copy, sizeof copy, tag);
    lost += memcmp(copy, plain, sizeof plain) != 0;
    is_uint(opened, 0, "nothing altered opens");
    is_uint(not_wiped, 0, "what does not open is wiped");
    is_uint(lost, 0, "unaltered it opens");
    key[0] ^= 1;
    aead_key_init(&context, key);
    ok(!aead_open(&context, nonce, slice_of(aad, sizeof aad), copy, sizeof copy, tag),
       "another key does not open");
}

/* The implementations agree on every length. */
static void agreement(void)
{
    uint8_t key[32], nonce[12] = {0};
    struct aead_key fast, portable;
    unsigned differ = 0;
    for (size_t i = 0; i < sizeof key; i++) {
        key[i] = (uint8_t)(i * 31 + 5);
    }
    aead_key_init_with(&fast, key, AEAD_AUTO);
    aead_key_init_with(&portable, key, AEAD_PORTABLE);
    for (size_t n = 0; n < 300; n++) {
        uint8_t a[300], b[300], tag_a[16], tag_b[16];
        memset(a, (int)n, n);
        memset(b, (int)n, n);
        nonce[3] = (uint8_t)n;
        aead_seal(&fast, nonce, slice_of(key, n % 33), a, n, tag_a);
        aead_seal(&portable, nonce, slice_of(key, n % 33), b, n, tag_b);
        differ += memcmp(a, b, n) != 0 || memcmp(tag_a, tag_b, 16) != 0;
    }
    is_uint(differ, 0, "both implementations give the same");
}

int main(void)
{
    known(AEAD_AUTO, "auto");
    known(AEAD_PORTABLE, "portable");
    tampering();
    agreement();
    return done_testing();
}
