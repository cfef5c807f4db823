#include "base/sha256.h"

#include "base/assert.h"
#include "base/ct.h"

static const uint32_t initial[8] = {0x6a09e667U, 0xbb67ae85U, 0x3c6ef372U, 0xa54ff53aU,
                                    0x510e527fU, 0x9b05688cU, 0x1f83d9abU, 0x5be0cd19U};

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

/* `tail` begins with the rest of a message of `count` bytes, count % 64 of them, and gets its
 * padding. Returns how many blocks that makes, one or two. */
static inline size_t pad(uint8_t tail[2 * SHA256_BLOCK_BYTES], uint64_t count)
{
    size_t held = (size_t)count & 63;
    size_t end = held < 56 ? 64 : 128;
    tail[held] = 0x80;
    memset(tail + held + 1, 0, end - 8 - held - 1);
    store64be(tail + end - 8, count << 3);
    return end / SHA256_BLOCK_BYTES;
}

static inline void store_state(uint8_t at[SHA256_BYTES], const uint32_t state[8])
{
    for (int i = 0; i < 8; i++) {
        store32be(at + 4 * i, state[i]);
    }
}

static void finish(uint32_t state[8], uint8_t tail[2 * SHA256_BLOCK_BYTES], uint64_t count)
{
    size_t blocks = pad(tail, count);
    sha256_blocks(state, tail, blocks);
}

void sha256_out(const br_sha256_context *context, uint8_t ret_digest[SHA256_BYTES])
{
    uint8_t tail[2 * SHA256_BLOCK_BYTES];
    uint32_t state[8];
    memcpy(tail, context->buf, SHA256_BLOCK_BYTES);
    memcpy(state, context->val, sizeof state);
    finish(state, tail, context->count);
    store_state(ret_digest, state);
}

/* Parts behind `count` bytes, of which the last ones may wait in the buffer. Gives how many that
 * makes. */
static inline uint64_t absorb_parts(uint32_t state[8], uint8_t buffer[SHA256_BLOCK_BYTES],
                                    uint64_t count, const struct slice *parts, unsigned part_count)
{
    for (unsigned i = 0; i < part_count; i++) {
        if (parts[i].bytes != 0) {
            absorb(state, buffer, (size_t)count & 63, parts[i].at, parts[i].bytes);
            count += parts[i].bytes;
        }
    }
    return count;
}

void sha256_out_with(const br_sha256_context *context, const struct slice *parts,
                     unsigned part_count, uint8_t ret_digest[SHA256_BYTES])
{
    uint8_t buffer[2 * SHA256_BLOCK_BYTES];
    uint32_t state[8];
    bk_assert(part_count == 0 || parts != NULL);
    memcpy(buffer, context->buf, SHA256_BLOCK_BYTES);
    memcpy(state, context->val, sizeof state);
    finish(state, buffer, absorb_parts(state, buffer, context->count, parts, part_count));
    store_state(ret_digest, state);
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
    bk_assert(key != NULL && (part_count == 0 || parts != NULL));
    memcpy(state, key->inner, sizeof state);
    finish(state, buffer, absorb_parts(state, buffer, SHA256_BLOCK_BYTES, parts, part_count));
    store_state(buffer, state);
    memcpy(state, key->outer, sizeof state);
    finish(state, buffer, SHA256_BLOCK_BYTES + SHA256_BYTES);
    store_state(ret_mac, state);
}

/* ---- two of them at once: both say what blocks come next, and what both have is hashed in pairs
 */

enum phase { PHASE_TEXT, PHASE_OUTER, PHASE_DONE };

struct lane {
    uint32_t state[8];
    const uint8_t *at; /* the next blocks */
    size_t blocks;     /* 0 only when it is done */
    const struct hmac_sha256_text *text;
    struct slice rest; /* of parts[part] */
    unsigned part;
    enum phase phase;
    uint64_t count;
    size_t held; /* bytes in the buffer */
    uint8_t buffer[2 * SHA256_BLOCK_BYTES];
};

/* Whole blocks of the text, from where they lie, or one that was put together in the buffer. False:
 * none is left. */
static bool lane_text(struct lane *lane)
{
    for (;;) {
        if (lane->held == 0 && lane->rest.bytes >= SHA256_BLOCK_BYTES) {
            lane->at = lane->rest.at;
            lane->blocks = lane->rest.bytes / SHA256_BLOCK_BYTES;
            lane->rest = slice_skip(lane->rest, lane->blocks * SHA256_BLOCK_BYTES);
            return true;
        }
        size_t want = SHA256_BLOCK_BYTES - lane->held;
        size_t bytes = lane->rest.bytes < want ? lane->rest.bytes : want;
        if (bytes != 0) {
            memcpy(lane->buffer + lane->held, lane->rest.at, bytes);
            lane->rest = slice_skip(lane->rest, bytes);
            lane->held += bytes;
        }
        if (lane->held == SHA256_BLOCK_BYTES) {
            lane->at = lane->buffer;
            lane->blocks = 1;
            lane->held = 0;
            return true;
        }
        if (lane->part == lane->text->part_count) {
            return false;
        }
        lane->rest = lane->text->parts[lane->part++];
        lane->count += lane->rest.bytes;
    }
}

/* The blocks after those that are hashed. */
static void lane_next(struct lane *lane)
{
    switch (lane->phase) {
    case PHASE_TEXT:
        if (!lane_text(lane)) {
            lane->at = lane->buffer;
            lane->blocks = pad(lane->buffer, lane->count);
            lane->phase = PHASE_OUTER;
        }
        return;
    case PHASE_OUTER:
        store_state(lane->buffer, lane->state);
        memcpy(lane->state, lane->text->key->outer, sizeof lane->state);
        lane->at = lane->buffer;
        lane->blocks = pad(lane->buffer, SHA256_BLOCK_BYTES + SHA256_BYTES);
        lane->phase = PHASE_DONE;
        return;
    case PHASE_DONE:
        return;
    }
    bk_never("unknown phase");
}

static void lane_open(struct lane *lane, const struct hmac_sha256_text *text)
{
    memcpy(lane->state, text->key->inner, sizeof lane->state);
    lane->text = text;
    lane->rest = SLICE_EMPTY;
    lane->part = 0;
    lane->phase = PHASE_TEXT;
    lane->count = SHA256_BLOCK_BYTES;
    lane->held = 0;
    lane_next(lane);
}

static inline void lane_hashed(struct lane *lane, size_t blocks)
{
    lane->at += blocks * SHA256_BLOCK_BYTES;
    lane->blocks -= blocks;
    if (lane->blocks == 0) {
        lane_next(lane);
    }
}

static void lane_alone(struct lane *lane)
{
    while (lane->blocks != 0) {
        size_t blocks = lane->blocks;
        sha256_blocks(lane->state, lane->at, blocks);
        lane_hashed(lane, blocks);
    }
}

void hmac_sha256_two(const struct hmac_sha256_text texts[2], uint8_t ret_mac_a[SHA256_BYTES],
                     uint8_t ret_mac_b[SHA256_BYTES])
{
    struct lane a, b;
    lane_open(&a, &texts[0]);
    lane_open(&b, &texts[1]);
    while (a.blocks != 0 && b.blocks != 0) {
        size_t blocks = a.blocks < b.blocks ? a.blocks : b.blocks;
        sha256_blocks_two(a.state, a.at, b.state, b.at, blocks);
        lane_hashed(&a, blocks);
        lane_hashed(&b, blocks);
    }
    lane_alone(&a);
    lane_alone(&b);
    store_state(ret_mac_a, a.state);
    store_state(ret_mac_b, b.state);
}
