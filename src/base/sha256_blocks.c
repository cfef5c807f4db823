/* The compression function: one message at a time, or two. */
#include "base/sha256.h"

#include "base/assert.h"

typedef void blocks_fn(uint32_t state[8], const uint8_t *at, size_t blocks);
typedef void blocks_two_fn(uint32_t state_a[8], const uint8_t *a, uint32_t state_b[8],
                           const uint8_t *b, size_t blocks);

static blocks_fn blocks_portable;
static blocks_two_fn blocks_two_portable;
static blocks_fn *chosen = blocks_portable;
static blocks_two_fn *chosen_two = blocks_two_portable;

static inline void store32be(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++) {
        at[i] = (uint8_t)(value >> (24 - 8 * i));
    }
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

static void blocks_two_portable(uint32_t state_a[8], const uint8_t *a, uint32_t state_b[8],
                                const uint8_t *b, size_t blocks)
{
    blocks_portable(state_a, a, blocks);
    blocks_portable(state_b, b, blocks);
}

#if defined(__x86_64__)

#include <cpuid.h>
#include <immintrin.h>

#define SHANI        __attribute__((target("sha,sse4.1,ssse3")))
#define SHANI_AVX    __attribute__((target("sha,sse4.1,ssse3,avx")))
#define SHANI_INLINE SHANI __attribute__((always_inline)) static inline

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

/* One message on its way: all of it lives in registers. */
struct stream {
    __m128i abef, cdgh;
    __m128i words[4]; /* sixteen of the schedule, which word i is in words[i / 4 % 4] */
};

SHANI_INLINE void stream_open(struct stream *s, const uint32_t state[8])
{
    __m128i dcba = _mm_loadu_si128((const __m128i *)(const void *)state);
    __m128i hgfe = _mm_loadu_si128((const __m128i *)(const void *)(state + 4));
    __m128i cdab = _mm_shuffle_epi32(dcba, 0xb1);
    __m128i efgh = _mm_shuffle_epi32(hgfe, 0x1b);
    s->abef = _mm_alignr_epi8(cdab, efgh, 8);
    s->cdgh = _mm_blend_epi16(efgh, cdab, 0xf0);
}

SHANI_INLINE void stream_close(const struct stream *s, uint32_t state[8])
{
    __m128i feba = _mm_shuffle_epi32(s->abef, 0x1b);
    __m128i dchg = _mm_shuffle_epi32(s->cdgh, 0xb1);
    _mm_storeu_si128((__m128i *)(void *)state, _mm_blend_epi16(feba, dchg, 0xf0));
    _mm_storeu_si128((__m128i *)(void *)(state + 4), _mm_alignr_epi8(dchg, feba, 8));
}

SHANI_INLINE void load_words(struct stream *s, const uint8_t *at)
{
    const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
    const __m128i *words = (const __m128i *)(const void *)at;
    for (int i = 0; i < 4; i++) {
        s->words[i] = _mm_shuffle_epi8(_mm_loadu_si128(words + i), big_endian);
    }
}

/* Rounds 4 i .. 4 i + 3. */
SHANI_INLINE void four_rounds(struct stream *s, int i)
{
    const __m128i *constants = (const __m128i *)(const void *)k;
    __m128i wk = _mm_add_epi32(s->words[i % 4], _mm_load_si128(constants + i));
    s->cdgh = _mm_sha256rnds2_epu32(s->cdgh, s->abef, wk);
    s->abef = _mm_sha256rnds2_epu32(s->abef, s->cdgh, _mm_shuffle_epi32(wk, 0x0e));
}

/* The schedule's words 4 i + 16 .. 4 i + 19, in the place of 4 i .. 4 i + 3. */
SHANI_INLINE void four_words(struct stream *s, int i)
{
    __m128i next = _mm_sha256msg1_epu32(s->words[i % 4], s->words[(i + 1) % 4]);
    next = _mm_add_epi32(next, _mm_alignr_epi8(s->words[(i + 3) % 4], s->words[(i + 2) % 4], 4));
    s->words[i % 4] = _mm_sha256msg2_epu32(next, s->words[(i + 3) % 4]);
}

/* The rounds of one message wait for each other; those of two do not, so that both take little
 * longer than one. */
SHANI_INLINE void one_block(struct stream *streams, const uint8_t *const *at, int count)
{
    __m128i abef[2], cdgh[2];
#pragma GCC unroll 2
    for (int s = 0; s < count; s++) {
        abef[s] = streams[s].abef;
        cdgh[s] = streams[s].cdgh;
        load_words(&streams[s], at[s]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) {
#pragma GCC unroll 2
        for (int s = 0; s < count; s++) {
            four_rounds(&streams[s], i);
            if (i < 12) {
                four_words(&streams[s], i);
            }
        }
    }
#pragma GCC unroll 2
    for (int s = 0; s < count; s++) {
        streams[s].abef = _mm_add_epi32(streams[s].abef, abef[s]);
        streams[s].cdgh = _mm_add_epi32(streams[s].cdgh, cdgh[s]);
    }
}

SHANI_INLINE void shani(uint32_t state[8], const uint8_t *at, size_t blocks)
{
    struct stream stream;
    stream_open(&stream, state);
    for (; blocks != 0; blocks--, at += SHA256_BLOCK_BYTES) {
        one_block(&stream, &at, 1);
    }
    stream_close(&stream, state);
}

SHANI_INLINE void shani_two(uint32_t state_a[8], const uint8_t *a, uint32_t state_b[8],
                            const uint8_t *b, size_t blocks)
{
    struct stream streams[2];
    const uint8_t *at[2] = {a, b};
    stream_open(&streams[0], state_a);
    stream_open(&streams[1], state_b);
    for (; blocks != 0; blocks--) {
        one_block(streams, at, 2);
        at[0] += SHA256_BLOCK_BYTES;
        at[1] += SHA256_BLOCK_BYTES;
    }
    stream_close(&streams[0], state_a);
    stream_close(&streams[1], state_b);
}

/* Compiled twice, so that the compiler may use the three-operand forms of AVX for all around the
 * SHA instructions: a quarter fewer instructions. */
SHANI static void blocks_shani(uint32_t state[8], const uint8_t *at, size_t blocks)
{
    shani(state, at, blocks);
}

SHANI_AVX static void blocks_shani_avx(uint32_t state[8], const uint8_t *at, size_t blocks)
{
    shani(state, at, blocks);
}

SHANI static void blocks_two_shani(uint32_t state_a[8], const uint8_t *a, uint32_t state_b[8],
                                   const uint8_t *b, size_t blocks)
{
    shani_two(state_a, a, state_b, b, blocks);
}

SHANI_AVX static void blocks_two_shani_avx(uint32_t state_a[8], const uint8_t *a,
                                           uint32_t state_b[8], const uint8_t *b, size_t blocks)
{
    shani_two(state_a, a, state_b, b, blocks);
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

static void choose_fastest(void)
{
    if (cpu_has_shani()) {
        bool avx = cpu_has_avx();
        chosen = avx ? blocks_shani_avx : blocks_shani;
        chosen_two = avx ? blocks_two_shani_avx : blocks_two_shani;
    }
}

#else

static void choose_fastest(void)
{
}

#endif

void sha256_accelerate(bool on)
{
    chosen = blocks_portable;
    chosen_two = blocks_two_portable;
    if (on) {
        choose_fastest();
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

void sha256_blocks_two(uint32_t state_a[8], const uint8_t *a, uint32_t state_b[8], const uint8_t *b,
                       size_t blocks)
{
    chosen_two(state_a, a, state_b, b, blocks);
}
