#include "base/sha256.h"

#include "base/assert.h"
#include "base/ct.h"

static const uint32_t initial[8] = {0x6a09e667U, 0xbb67ae85U, 0x3c6ef372U, 0xa54ff53aU,
                                    0x510e527fU, 0x9b05688cU, 0x1f83d9abU, 0x5be0cd19U};

typedef void blocks_fn(uint32_t state[8], const uint8_t *at, size_t blocks);

static void blocks_portable(uint32_t state[8], const uint8_t *at, size_t blocks);
static blocks_fn *chosen = blocks_portable;

static inline void store32be(uint8_t *at, uint32_t value)
{
    value = __builtin_bswap32(value);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value = __builtin_bswap32(value);
#endif
    memcpy(at, &value, 4);
}

static inline void store64be(uint8_t *at, uint64_t value)
{
    store32be(at, (uint32_t)(value >> 32));
    store32be(at + 4, (uint32_t)value);
}

static inline uint32_t load32be(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* Through BearSSL's public calls: its compression function has none of its own. */
static void blocks_portable(uint32_t state[8], const uint8_t *at, size_t blocks)
{
    br_sha256_context context;
    uint8_t bytes[32];
    for (int i = 0; i < 8; i++) {
        store32be(bytes + 4 * i, state[i]);
    }
    br_sha256_init(&context);
    br_sha256_set_state(&context, bytes, 0);
    br_sha256_update(&context, at, blocks * SHA256_BLOCK_BYTES);
    br_sha256_state(&context, bytes);
    for (int i = 0; i < 8; i++) {
        state[i] = load32be(bytes + 4 * i);
    }
}

#if defined(__x86_64__)

#include <cpuid.h>
#include <immintrin.h>

#define SHANI __attribute__((target("sha,sse4.1,ssse3")))

static const uint32_t k[64] __attribute__((aligned(16))) = {
    0x428a2f98U, 0x71374491U, 0xb5c0fbcfU, 0xe9b5dba5U, 0x3956c25bU, 0x59f111f1U, 0x923f82a4U,
    0xab1c5ed5U, 0xd807aa98U, 0x12835b01U, 0x243185beU, 0x550c7dc3U, 0x72be5d74U, 0x80deb1feU,
    0x9bdc06a7U, 0xc19bf174U, 0xe49b69c1U, 0xefbe4786U, 0x0fc19dc6U, 0x240ca1ccU, 0x2de92c6fU,
    0x4a7484aaU, 0x5cb0a9dcU, 0x76f988daU, 0x983e5152U, 0xa831c66dU, 0xb00327c8U, 0xbf597fc7U,
    0xc6e00bf3U, 0xd5a79147U, 0x06ca6351U, 0x14292967U, 0x27b70a85U, 0x2e1b2138U, 0x4d2c6dfcU,
    0x53380d13U, 0x650a7354U, 0x766a0abbU, 0x81c2c92eU, 0x92722c85U, 0xa2bfe8a1U, 0xa81a664bU,
    0xc24b8b70U, 0xc76c51a3U, 0xd192e819U, 0xd6990624U, 0xf40e3585U, 0x106aa070U, 0x19a4c116U,
    0x1e376c08U, 0x2748774cU, 0x34b0bcb5U, 0x391c0cb3U, 0x4ed8aa4aU, 0x5b9cca4fU, 0x682e6ff3U,
    0x748f82eeU, 0x78a5636fU, 0x84c87814U, 0x8cc70208U, 0x90befffaU, 0xa4506cebU, 0xbef9a3f7U,
    0xc67178f2U};

/* Four rounds with words m0 (the schedule's words 4 i .. 4 i + 3). */
#define FOUR_ROUNDS(i, m0)                                                                         \
    do {                                                                                           \
        __m128i wk =                                                                               \
            _mm_add_epi32(m0, _mm_load_si128((const __m128i *)(const void *)(k + 4 * (i))));       \
        cdgh = _mm_sha256rnds2_epu32(cdgh, abef, wk);                                              \
        abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(wk, 0x0e));                     \
    } while (0)

/* The same, and m0 becomes the schedule's words 4 i + 16 .. 4 i + 19. */
#define FOUR_ROUNDS_NEXT(i, m0, m1, m2, m3)                                                        \
    do {                                                                                           \
        FOUR_ROUNDS(i, m0);                                                                        \
        m0 = _mm_add_epi32(_mm_sha256msg1_epu32(m0, m1), _mm_alignr_epi8(m3, m2, 4));              \
        m0 = _mm_sha256msg2_epu32(m0, m3);                                                         \
    } while (0)

/* Inlined twice, so that the compiler may use the three-operand forms of AVX for all around the SHA
 * instructions: a quarter fewer instructions. */
SHANI __attribute__((always_inline)) static inline void shani(uint32_t state[8], const uint8_t *at,
                                                              size_t blocks)
{
    const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
    __m128i dcba = _mm_loadu_si128((const __m128i *)(const void *)state);
    __m128i hgfe = _mm_loadu_si128((const __m128i *)(const void *)(state + 4));
    __m128i cdab = _mm_shuffle_epi32(dcba, 0xb1);
    __m128i efgh = _mm_shuffle_epi32(hgfe, 0x1b);
    __m128i abef = _mm_alignr_epi8(cdab, efgh, 8);
    __m128i cdgh = _mm_blend_epi16(efgh, cdab, 0xf0);
    for (; blocks != 0; blocks--, at += SHA256_BLOCK_BYTES) {
        const __m128i abef_before = abef, cdgh_before = cdgh;
        const __m128i *words = (const __m128i *)(const void *)at;
        __m128i m0 = _mm_shuffle_epi8(_mm_loadu_si128(words), big_endian);
        __m128i m1 = _mm_shuffle_epi8(_mm_loadu_si128(words + 1), big_endian);
        __m128i m2 = _mm_shuffle_epi8(_mm_loadu_si128(words + 2), big_endian);
        __m128i m3 = _mm_shuffle_epi8(_mm_loadu_si128(words + 3), big_endian);
        FOUR_ROUNDS_NEXT(0, m0, m1, m2, m3);
        FOUR_ROUNDS_NEXT(1, m1, m2, m3, m0);
        FOUR_ROUNDS_NEXT(2, m2, m3, m0, m1);
        FOUR_ROUNDS_NEXT(3, m3, m0, m1, m2);
        FOUR_ROUNDS_NEXT(4, m0, m1, m2, m3);
        FOUR_ROUNDS_NEXT(5, m1, m2, m3, m0);
        FOUR_ROUNDS_NEXT(6, m2, m3, m0, m1);
        FOUR_ROUNDS_NEXT(7, m3, m0, m1, m2);
        FOUR_ROUNDS_NEXT(8, m0, m1, m2, m3);
        FOUR_ROUNDS_NEXT(9, m1, m2, m3, m0);
        FOUR_ROUNDS_NEXT(10, m2, m3, m0, m1);
        FOUR_ROUNDS_NEXT(11, m3, m0, m1, m2);
        FOUR_ROUNDS(12, m0);
        FOUR_ROUNDS(13, m1);
        FOUR_ROUNDS(14, m2);
        FOUR_ROUNDS(15, m3);
        abef = _mm_add_epi32(abef, abef_before);
        cdgh = _mm_add_epi32(cdgh, cdgh_before);
    }
    __m128i feba = _mm_shuffle_epi32(abef, 0x1b);
    __m128i dchg = _mm_shuffle_epi32(cdgh, 0xb1);
    _mm_storeu_si128((__m128i *)(void *)state, _mm_blend_epi16(feba, dchg, 0xf0));
    _mm_storeu_si128((__m128i *)(void *)(state + 4), _mm_alignr_epi8(dchg, feba, 8));
}

SHANI static void blocks_shani(uint32_t state[8], const uint8_t *at, size_t blocks)
{
    shani(state, at, blocks);
}

__attribute__((target("sha,sse4.1,ssse3,avx"))) static void blocks_shani_avx(uint32_t state[8],
                                                                             const uint8_t *at,
                                                                             size_t blocks)
{
    shani(state, at, blocks);
}

static bool cpu_has_avx(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx");
}

static bool cpu_has_shani(void)
{
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & bit_SSSE3) == 0 || (c & bit_SSE4_1) == 0) {
        return false;
    }
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & (1U << 29)) != 0;
}

#else

static void blocks_shani(uint32_t state[8], const uint8_t *at, size_t blocks)
{
    blocks_portable(state, at, blocks);
}

#define blocks_shani_avx blocks_shani

static bool cpu_has_avx(void)
{
    return false;
}

static bool cpu_has_shani(void)
{
    return false;
}

#endif

void sha256_accelerate(bool on)
{
    chosen = blocks_portable;
    if (on && cpu_has_shani()) {
        chosen = cpu_has_avx() ? blocks_shani_avx : blocks_shani;
    }
}

bool sha256_accelerated(void)
{
    return chosen != blocks_portable;
}

__attribute__((constructor)) static void sha256_start(void)
{
    sha256_accelerate(true);
}

void sha256_blocks(uint32_t state[8], const uint8_t *at, size_t blocks)
{
    chosen(state, at, blocks);
}

/* ---- streaming, over BearSSL's context: vtable, buf[64], count, val[8] */

void sha256_init(br_sha256_context *context)
{
    context->vtable = &sha256_class;
    memcpy(context->val, initial, sizeof initial);
    context->count = 0;
}

/* Whole blocks straight from the input; at most 63 bytes wait in the buffer. */
static void absorb(uint32_t state[8], uint8_t buffer[SHA256_BLOCK_BYTES], size_t held,
                   const uint8_t *at, size_t bytes)
{
    if (held != 0) {
        size_t want = SHA256_BLOCK_BYTES - held;
        if (bytes < want) {
            memcpy(buffer + held, at, bytes);
            return;
        }
        memcpy(buffer + held, at, want);
        sha256_blocks(state, buffer, 1);
        at += want;
        bytes -= want;
    }
    if (bytes >= SHA256_BLOCK_BYTES) {
        sha256_blocks(state, at, bytes / SHA256_BLOCK_BYTES);
    }
    memcpy(buffer, at + (bytes & ~(size_t)63), bytes & 63);
}

void sha256_update(br_sha256_context *context, const void *at, size_t bytes)
{
    if (bytes == 0) {
        return;
    }
    bk_assert(at != NULL);
    absorb(context->val, context->buf, (size_t)context->count & 63, (const uint8_t *)at, bytes);
    context->count += bytes;
}

/* Padding and the last one or two blocks. `tail` is 128 bytes of which the first count % 64 are the
 * rest of the message. */
static void finish(uint32_t state[8], uint8_t tail[2 * SHA256_BLOCK_BYTES], uint64_t count)
{
    size_t held = (size_t)count & 63;
    size_t end = held < 56 ? 64 : 128;
    tail[held] = 0x80;
    memset(tail + held + 1, 0, end - 8 - held - 1);
    store64be(tail + end - 8, count << 3);
    sha256_blocks(state, tail, end / SHA256_BLOCK_BYTES);
}

void sha256_out(const br_sha256_context *context, uint8_t ret_digest[SHA256_BYTES])
{
    uint8_t tail[2 * SHA256_BLOCK_BYTES];
    uint32_t state[8];
    memcpy(tail, context->buf, SHA256_BLOCK_BYTES);
    memcpy(state, context->val, sizeof state);
    finish(state, tail, context->count);
    for (int i = 0; i < 8; i++) {
        store32be(ret_digest + 4 * i, state[i]);
    }
}

void sha256(struct slice text, uint8_t ret_digest[SHA256_BYTES])
{
    br_sha256_context context;
    memset(context.buf, 0, sizeof context.buf);
    sha256_init(&context);
    sha256_update(&context, text.at, text.bytes);
    sha256_out(&context, ret_digest);
}

static void class_init(const br_hash_class **context)
{
    sha256_init((br_sha256_context *)(void *)context);
}

static void class_update(const br_hash_class **context, const void *at, size_t bytes)
{
    sha256_update((br_sha256_context *)(void *)context, at, bytes);
}

static void class_out(const br_hash_class *const *context, void *digest)
{
    sha256_out((const br_sha256_context *)(const void *)context, (uint8_t *)digest);
}

static uint64_t class_state(const br_hash_class *const *context, void *bytes)
{
    return br_sha256_state((const br_sha256_context *)(const void *)context, bytes);
}

static void class_set_state(const br_hash_class **context, const void *bytes, uint64_t count)
{
    br_sha256_set_state((br_sha256_context *)(void *)context, bytes, count);
}

const br_hash_class sha256_class = {
    sizeof(br_sha256_context),
    BR_HASHDESC_ID(br_sha256_ID) | BR_HASHDESC_OUT(32) | BR_HASHDESC_STATE(32) |
        BR_HASHDESC_LBLEN(6) | BR_HASHDESC_MD_PADDING | BR_HASHDESC_MD_PADDING_BE,
    class_init,
    class_update,
    class_out,
    class_state,
    class_set_state,
};

/* ---- HMAC */

void hmac_sha256_key_init(struct hmac_sha256_key *ret_key, struct slice secret)
{
    uint8_t block[SHA256_BLOCK_BYTES] = {0};
    bk_assert(ret_key != NULL);
    if (secret.bytes > sizeof block) {
        sha256(secret, block);
    } else if (secret.bytes != 0) {
        memcpy(block, secret.at, secret.bytes);
    }
    for (size_t i = 0; i < sizeof block; i++) {
        block[i] ^= 0x36;
    }
    memcpy(ret_key->inner, initial, sizeof initial);
    sha256_blocks(ret_key->inner, block, 1);
    for (size_t i = 0; i < sizeof block; i++) {
        block[i] ^= 0x36 ^ 0x5c;
    }
    memcpy(ret_key->outer, initial, sizeof initial);
    sha256_blocks(ret_key->outer, block, 1);
    bk_wipe(block, sizeof block);
}

void hmac_sha256(const struct hmac_sha256_key *key, const struct slice *parts, unsigned part_count,
                 uint8_t ret_mac[SHA256_BYTES])
{
    uint8_t buffer[2 * SHA256_BLOCK_BYTES];
    uint32_t state[8];
    uint64_t count = SHA256_BLOCK_BYTES;
    bk_assert(key != NULL && (part_count == 0 || parts != NULL));
    memcpy(state, key->inner, sizeof state);
    for (unsigned i = 0; i < part_count; i++) {
        if (parts[i].bytes != 0) {
            absorb(state, buffer, (size_t)count & 63, parts[i].at, parts[i].bytes);
            count += parts[i].bytes;
        }
    }
    finish(state, buffer, count);
    for (int i = 0; i < 8; i++) {
        store32be(buffer + 4 * i, state[i]);
    }
    memcpy(state, key->outer, sizeof state);
    finish(state, buffer, SHA256_BLOCK_BYTES + SHA256_BYTES);
    for (int i = 0; i < 8; i++) {
        store32be(ret_mac + 4 * i, state[i]);
    }
}
