#include "providers/json_scan.h"

#include "base/assert.h"

struct scan {
    const uint8_t *at;
    const uint8_t *end;
    const struct json_path *paths;
    unsigned pending; /* mask of the paths that are still open */
    struct json_found *found;
};

/* ---- skipping */

/* One past the bracket that brings `depth` to zero, from outside a string; 0 = there is none. A
 * backslash outside a string, which no valid text has, counts as one inside: so the vector code
 * need not know. */
static size_t skip_portable(const uint8_t *at, size_t bytes, uint64_t depth)
{
    bool in_string = false;
    for (size_t i = 0; i < bytes; i++) {
        uint8_t c = at[i];
        if (c == '\\') {
            i += i + 1 < bytes && (at[i + 1] == '"' || at[i + 1] == '\\');
        } else if (c == '"') {
            in_string = !in_string;
        } else if (!in_string && (c == '{' || c == '[')) {
            depth++;
        } else if (!in_string && (c == '}' || c == ']') && --depth == 0) {
            return i + 1;
        }
    }
    return 0;
}

#if defined(__SSE2__)

#include <emmintrin.h>

struct masks {
    uint64_t quote, backslash, open, close;
};

static inline uint64_t equal64(const __m128i block[4], char c)
{
    __m128i want = _mm_set1_epi8(c);
    uint64_t mask = 0;
    for (int i = 0; i < 4; i++) {
        uint64_t bits = (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(block[i], want));
        mask |= bits << 16 * i;
    }
    return mask;
}

/* [ and { differ by one bit, ] and } by the same one. */
static inline struct masks classify(const uint8_t *at)
{
    __m128i block[4], folded[4];
    for (int i = 0; i < 4; i++) {
        block[i] = _mm_loadu_si128((const __m128i *)(const void *)(at + 16 * i));
        folded[i] = _mm_or_si128(block[i], _mm_set1_epi8(0x20));
    }
    return (struct masks){equal64(block, '"'), equal64(block, '\\'), equal64(folded, '{'),
                          equal64(folded, '}')};
}

/* Bits of the characters that a backslash takes their meaning from. *carry: the first one is. */
static inline uint64_t escaped_by(uint64_t backslash, uint64_t *carry)
{
    uint64_t escaped = *carry;
    *carry = 0;
    backslash &= ~escaped;
    while (backslash != 0) {
        uint64_t first = backslash & (~backslash + 1);
        *carry = first >> 63;
        escaped |= first << 1;
        backslash &= ~(first | first << 1);
    }
    return escaped;
}

/* Each bit becomes the parity of the bits up to and with it. */
static inline uint64_t prefix_xor(uint64_t bits)
{
    bits ^= bits << 1;
    bits ^= bits << 2;
    bits ^= bits << 4;
    bits ^= bits << 8;
    bits ^= bits << 16;
    return bits ^ bits << 32;
}

struct skipper {
    uint64_t depth;
    uint64_t in_string; /* all ones while inside a string */
    uint64_t carry;
};

/* The next 64 bytes. The number of the byte that ends the container, counted from 1, or 0. Inlined
 * so that it is compiled for the instructions its caller may use. */
__attribute__((always_inline)) static inline size_t skip_block(struct skipper *s, struct masks m)
{
    uint64_t quote = m.quote;
    if (__builtin_expect((m.backslash | s->carry) != 0, 0)) {
        quote &= ~escaped_by(m.backslash, &s->carry);
    }
    uint64_t inside = prefix_xor(quote) ^ s->in_string;
    s->in_string = (uint64_t)((int64_t)inside >> 63);
    uint64_t open = m.open & ~inside, close = m.close & ~inside;
    uint64_t closes = (uint64_t)__builtin_popcountll(close);
    if (closes < s->depth) {
        s->depth += (uint64_t)__builtin_popcountll(open) - closes;
        return 0;
    }
    for (uint64_t both = open | close; both != 0; both &= both - 1) {
        uint64_t bit = both & (~both + 1);
        s->depth += (open & bit) != 0 ? 1 : (uint64_t)-1;
        if (s->depth == 0) {
            return (size_t)__builtin_ctzll(bit) + 1;
        }
    }
    return 0;
}

/* The last bytes, filled up with blanks. */
static size_t skip_tail(struct skipper *s, const uint8_t *at, size_t bytes)
{
    uint8_t last[64];
    memset(last, ' ', sizeof last);
    memcpy(last, at, bytes);
    return skip_block(s, classify(last));
}

static size_t skip_sse2(const uint8_t *at, size_t bytes, uint64_t depth)
{
    struct skipper s = {depth, 0, 0};
    size_t i = 0;
    for (; bytes - i >= 64; i += 64) {
        size_t end = skip_block(&s, classify(at + i));
        if (end != 0) {
            return i + end;
        }
    }
    size_t end = i < bytes ? skip_tail(&s, at + i, bytes - i) : 0;
    return end != 0 ? i + end : 0;
}

#if defined(__x86_64__)

#include <immintrin.h>

#define AVX2 __attribute__((target("avx2,popcnt,bmi,bmi2")))

static bool have_avx2;

AVX2 static inline uint64_t equal64_avx2(__m256i low, __m256i high, char c)
{
    __m256i want = _mm256_set1_epi8(c);
    uint32_t l = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(low, want));
    uint32_t h = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(high, want));
    return (uint64_t)h << 32 | l;
}

AVX2 static size_t skip_avx2(const uint8_t *at, size_t bytes, uint64_t depth)
{
    struct skipper s = {depth, 0, 0};
    const __m256i fold = _mm256_set1_epi8(0x20);
    size_t i = 0;
    for (; bytes - i >= 64; i += 64) {
        __m256i low = _mm256_loadu_si256((const __m256i *)(const void *)(at + i));
        __m256i high = _mm256_loadu_si256((const __m256i *)(const void *)(at + i + 32));
        __m256i low_folded = _mm256_or_si256(low, fold), high_folded = _mm256_or_si256(high, fold);
        struct masks m = {equal64_avx2(low, high, '"'), equal64_avx2(low, high, '\\'),
                          equal64_avx2(low_folded, high_folded, '{'),
                          equal64_avx2(low_folded, high_folded, '}')};
        size_t end = skip_block(&s, m);
        if (end != 0) {
            return i + end;
        }
    }
    size_t end = i < bytes ? skip_tail(&s, at + i, bytes - i) : 0;
    return end != 0 ? i + end : 0;
}

__attribute__((constructor)) static void json_scan_start(void)
{
    __builtin_cpu_init();
    have_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("popcnt") &&
                __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
}

static inline size_t skip(const uint8_t *at, size_t bytes, uint64_t depth)
{
    return have_avx2 ? skip_avx2(at, bytes, depth) : skip_sse2(at, bytes, depth);
}

#else

static inline size_t skip(const uint8_t *at, size_t bytes, uint64_t depth)
{
    return skip_sse2(at, bytes, depth);
}

#endif

/* The quote that ends a string, or `end`. */
static const uint8_t *string_end(const uint8_t *at, const uint8_t *end, bool *ret_escaped)
{
    const __m128i quote = _mm_set1_epi8('"'), backslash = _mm_set1_epi8('\\');
    *ret_escaped = false;
    while (end - at >= 16) {
        __m128i text = _mm_loadu_si128((const __m128i *)(const void *)at);
        __m128i hit = _mm_or_si128(_mm_cmpeq_epi8(text, quote), _mm_cmpeq_epi8(text, backslash));
        unsigned bits = (unsigned)_mm_movemask_epi8(hit);
        if (bits == 0) {
            at += 16;
            continue;
        }
        at += __builtin_ctz(bits);
        if (*at == '"') {
            return at;
        }
        *ret_escaped = true;
        at += end - at >= 2 ? 2 : 1;
    }
    for (; at < end && *at != '"'; at++) {
        if (*at == '\\') {
            *ret_escaped = true;
            at += end - at >= 2;
        }
    }
    return at;
}

#else

static size_t skip(const uint8_t *at, size_t bytes, uint64_t depth)
{
    return skip_portable(at, bytes, depth);
}

static const uint8_t *string_end(const uint8_t *at, const uint8_t *end, bool *ret_escaped)
{
    *ret_escaped = false;
    for (; at < end && *at != '"'; at++) {
        if (*at == '\\') {
            *ret_escaped = true;
            at += end - at >= 2;
        }
    }
    return at;
}

#endif

size_t json_skip(struct slice text)
{
    bk_assert(text.bytes != 0);
    size_t bytes = skip(text.at + 1, text.bytes - 1, 1);
    return bytes != 0 ? bytes + 1 : 0;
}

size_t json_skip_portable(struct slice text)
{
    bk_assert(text.bytes != 0);
    size_t bytes = skip_portable(text.at + 1, text.bytes - 1, 1);
    return bytes != 0 ? bytes + 1 : 0;
}

size_t json_skip_sse2(struct slice text)
{
    bk_assert(text.bytes != 0);
#if defined(__SSE2__)
    size_t bytes = skip_sse2(text.at + 1, text.bytes - 1, 1);
    return bytes != 0 ? bytes + 1 : 0;
#else
    return json_skip_portable(text);
#endif
}

/* Past the rest of an object or array; false when the text ends before. */
static bool skip_rest(struct scan *s)
{
    size_t bytes = skip(s->at, (size_t)(s->end - s->at), 1);
    s->at += bytes;
    return bytes != 0;
}

/* ---- walking; every function returns false when nothing more can be found */

static inline bool peek(struct scan *s, uint8_t *ret_byte)
{
    while (s->at < s->end &&
           (*s->at == ' ' || *s->at == '\n' || *s->at == '\r' || *s->at == '\t')) {
        s->at++;
    }
    *ret_byte = s->at < s->end ? *s->at : 0;
    return s->at < s->end;
}

static inline bool take(struct scan *s, uint8_t byte)
{
    uint8_t c;
    if (!peek(s, &c) || c != byte) {
        return false;
    }
    s->at++;
    return true;
}

static bool take_string(struct scan *s, struct slice *ret_text, bool *ret_escaped)
{
    bk_assert(s->at < s->end && *s->at == '"');
    const uint8_t *from = s->at + 1;
    const uint8_t *to = string_end(from, s->end, ret_escaped);
    *ret_text = slice_of(from, (size_t)(to - from));
    s->at = to + 1;
    return to < s->end;
}

static struct slice take_scalar(struct scan *s)
{
    const uint8_t *from = s->at;
    while (s->at < s->end && *s->at != ',' && *s->at != '}' && *s->at != ']' && *s->at > ' ') {
        s->at++;
    }
    return slice_of(from, (size_t)(s->at - from));
}

/* The answer for these paths; they are done with. */
static bool settle(struct scan *s, unsigned paths, enum json_kind kind, struct slice text)
{
    for (unsigned i = 0; paths >> i != 0; i++) {
        if (paths >> i & 1) {
            s->found[i] = (struct json_found){kind, text};
        }
    }
    s->pending &= ~paths;
    return s->pending != 0;
}

static bool walk_object(struct scan *s, unsigned depth, unsigned active);
static bool walk_array(struct scan *s, unsigned depth, unsigned active);

/* A value that `active` paths lead to or through, after `depth` steps. */
static bool walk_value(struct scan *s, unsigned depth, unsigned active)
{
    unsigned ends = 0;
    uint8_t c;
    for (unsigned i = 0; active >> i != 0; i++) {
        if ((active >> i & 1) && s->paths[i].step_count == depth) {
            ends |= 1U << i;
        }
    }
    if (!peek(s, &c)) {
        return false;
    }
    if (c == '{' || c == '[') {
        unsigned through = active & ~ends;
        s->at++;
        if (ends != 0 && !settle(s, ends, JSON_OTHER, slice_of(s->at, 0))) {
            return false;
        }
        if (through == 0) {
            return skip_rest(s);
        }
        return c == '{' ? walk_object(s, depth, through) : walk_array(s, depth, through);
    }
    struct slice text;
    enum json_kind kind;
    if (c == '"') {
        bool escaped;
        if (!take_string(s, &text, &escaped)) {
            return false;
        }
        kind = escaped ? JSON_STRING_ESCAPED : JSON_STRING;
    } else {
        text = take_scalar(s);
        kind = c == '-' || (c >= '0' && c <= '9') ? JSON_NUMBER : JSON_OTHER;
    }
    bool more = settle(s, ends, kind, kind == JSON_OTHER ? SLICE_EMPTY : text);
    return settle(s, active & ~ends, JSON_ABSENT, SLICE_EMPTY) && more;
}

static bool skip_value(struct scan *s)
{
    uint8_t c;
    if (!peek(s, &c)) {
        return false;
    }
    if (c == '"') {
        struct slice text;
        bool escaped;
        return take_string(s, &text, &escaped);
    }
    if (c == '{' || c == '[') {
        s->at++;
        return skip_rest(s);
    }
    return take_scalar(s).bytes != 0;
}

/* After an opening bracket: true when the container ended; what was looked for in it is not there.
 * */
static bool ended(struct scan *s, uint8_t bracket, unsigned active, bool *ret_more)
{
    uint8_t c;
    if (peek(s, &c) && c != bracket) {
        return false;
    }
    *ret_more = s->at < s->end && settle(s, active, JSON_ABSENT, SLICE_EMPTY);
    s->at += s->at < s->end;
    return true;
}

/* After '{'. */
static bool walk_object(struct scan *s, unsigned depth, unsigned active)
{
    bool more;
    if (ended(s, '}', active, &more)) {
        return more;
    }
    for (;;) {
        struct slice name;
        bool escaped;
        uint8_t c;
        if (!peek(s, &c) || c != '"' || !take_string(s, &name, &escaped) || !take(s, ':')) {
            return false;
        }
        unsigned matched = 0;
        for (unsigned i = 0; active >> i != 0; i++) {
            if ((active >> i & 1) && slice_equal(s->paths[i].steps[depth], name) && !escaped) {
                matched |= 1U << i;
            }
        }
        active &= ~matched;
        if (!(matched != 0 ? walk_value(s, depth + 1, matched) : skip_value(s))) {
            return false;
        }
        if (active == 0) {
            return skip_rest(s);
        }
        if (!take(s, ',')) {
            return ended(s, '}', active, &more) && more;
        }
    }
}

/* Is the step this index, written as RFC 6901 wants it? */
static bool is_index(struct slice step, uint32_t index)
{
    uint32_t value = 0;
    if (step.bytes == 0 || step.bytes > 6 || (step.at[0] == '0' && step.bytes > 1)) {
        return false;
    }
    for (size_t i = 0; i < step.bytes; i++) {
        if (step.at[i] < '0' || step.at[i] > '9') {
            return false;
        }
        value = value * 10 + (uint32_t)(step.at[i] - '0');
    }
    return value == index;
}

/* After '['. */
static bool walk_array(struct scan *s, unsigned depth, unsigned active)
{
    bool more;
    if (ended(s, ']', active, &more)) {
        return more;
    }
    for (uint32_t index = 0;; index++) {
        unsigned matched = 0;
        for (unsigned i = 0; active >> i != 0; i++) {
            if ((active >> i & 1) && is_index(s->paths[i].steps[depth], index)) {
                matched |= 1U << i;
            }
        }
        active &= ~matched;
        if (!(matched != 0 ? walk_value(s, depth + 1, matched) : skip_value(s))) {
            return false;
        }
        if (active == 0) {
            return skip_rest(s);
        }
        if (!take(s, ',')) {
            return ended(s, ']', active, &more) && more;
        }
    }
}

void json_scan(struct slice text, const struct json_path *paths, unsigned path_count,
               struct json_found *ret_found)
{
    bk_assert(path_count <= JSON_PATHS_MAX && paths != NULL && ret_found != NULL);
    for (unsigned i = 0; i < path_count; i++) {
        ret_found[i] = (struct json_found){JSON_ABSENT, SLICE_EMPTY};
    }
    if (text.bytes == 0 || path_count == 0) {
        return;
    }
    struct scan s = {.at = text.at,
                     .end = text.at + text.bytes,
                     .paths = paths,
                     .pending = (1U << path_count) - 1U,
                     .found = ret_found};
    (void)walk_value(&s, 0, s.pending);
}

bool json_each(struct slice text, const struct json_path *list, const struct json_path *inner,
               bool (*visit)(void *context, const struct json_found *found), void *context)
{
    struct json_found found;
    uint8_t c;
    json_scan(text, list, 1, &found);
    if (found.kind != JSON_OTHER || found.text.at == NULL || found.text.at[-1] != '[') {
        return false;
    }
    struct scan s = {.at = found.text.at, .end = text.at + text.bytes};
    if (peek(&s, &c) && c == ']') {
        return true;
    }
    do {
        const uint8_t *from = peek(&s, &c) ? s.at : NULL;
        if (from == NULL || !skip_value(&s)) {
            return false;
        }
        json_scan(slice_of(from, (size_t)(s.at - from)), inner, 1, &found);
        if (!visit(context, &found)) {
            return false;
        }
    } while (take(&s, ','));
    return take(&s, ']');
}

bool json_path_parse(struct slice pointer, struct json_path *ret_path)
{
    bk_assert(ret_path != NULL);
    ret_path->step_count = 0;
    if (pointer.bytes < 2 || pointer.at[0] != '/') {
        return false;
    }
    while (pointer.bytes != 0) {
        struct slice rest = slice_of(pointer.at + 1, pointer.bytes - 1);
        size_t bytes = slice_find(rest, '/');
        if (ret_path->step_count == JSON_PATH_STEPS_MAX ||
            slice_find(slice_of(rest.at, bytes), '~') != bytes) {
            return false;
        }
        ret_path->steps[ret_path->step_count++] = slice_of(rest.at, bytes);
        pointer = slice_of(rest.at + bytes, rest.bytes - bytes);
    }
    return true;
}
