#include "base/scrub.h"

#include "base/hex.h"

#include <string.h>

/* Before what was escaped again and again (five times: 31), and no more: a text of nothing else
 * would be read once for each of them. */
#define BACKSLASHES_MAX 32U
#define STARTS_MAX      8U

/* What is looked for, in one of its forms. */
struct form {
    /* How many bytes at `at` (of `bytes`) are the form's text; 0 = it is not there. */
    size_t (*match)(const struct form *form, const uint8_t *at, size_t bytes);
    struct slice text;
    bool word;               /* only where no letter or digit is beside it */
    bool before, behind;     /* one more letter of the base64 has some of its bits */
    unsigned shift;          /* base64: bytes before it in its first group */
    size_t first, last;      /* base64: the letters that are its alone */
    char starts[STARTS_MAX]; /* what its first byte may be, NUL ends */
    size_t next[STARTS_MAX]; /* behind the place where each is next; 0 = not looked for */
};

static int hex_value(uint8_t c)
{
    return c >= '0' && c <= '9'                 ? c - '0'
           : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                                : -1;
}

/* `digits` hex digits; -1 = they are none. */
static int hex_number(const uint8_t *at, size_t bytes, size_t digits)
{
    int value = 0;
    for (size_t i = 0; i < digits; i++) {
        int digit = i < bytes ? hex_value(at[i]) : -1;
        if (digit < 0) {
            return -1;
        }
        value = value * 16 + digit;
    }
    return value;
}

static bool is_word(uint8_t c)
{
    return (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');
}

/* ---- one byte, escaped somehow: how many bytes of the text it takes; 0 = it is another */

static size_t percent_one(const uint8_t *at, size_t bytes, uint8_t c)
{
    size_t mark = 1;
    while (mark + 2 <= bytes && at[mark] == '2' && at[mark + 1] == '5') {
        mark += 2; /* the % was escaped again */
    }
    if (hex_number(at + mark, bytes - mark, 2) == c) {
        return mark + 2;
    }
    return c == '%' && mark > 1 ? mark : 0;
}

static size_t backslash_one(const uint8_t *at, size_t bytes, uint8_t c)
{
    static const char letters[] = "n\nr\rt\tb\bf\f";
    size_t run = 1;
    while (run < bytes && run < BACKSLASHES_MAX && at[run] == '\\') {
        run++;
    }
    size_t left = run < bytes ? bytes - run - 1 : 0, digits = 0;
    if (left > 0 && (at[run] == 'u' || at[run] == 'x')) {
        digits = at[run] == 'u' ? 4 : 2;
    }
    if (digits > 0 && hex_number(at + run + 1, left, digits) == c) {
        return run + 1 + digits;
    }
    if (c == '\\') {
        return run > 1 ? 2 : 1;
    }
    if (run == bytes) {
        return 0;
    }
    for (size_t i = 0; letters[i]; i += 2) {
        if (at[run] == (uint8_t)letters[i] && c == (uint8_t)letters[i + 1]) {
            return run + 1;
        }
    }
    return at[run] == c && !is_word(c) ? run + 1 : 0;
}

static size_t entity_one(const uint8_t *at, size_t bytes, uint8_t c)
{
    static const struct {
        const char *text;
        uint8_t is;
    } names[] = {{"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&apos;", '\''}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        size_t length = strlen(names[i].text);
        if (c == names[i].is && bytes >= length && memcmp(at, names[i].text, length) == 0) {
            return length;
        }
    }
    if (bytes < 4 || at[1] != '#') {
        return 0;
    }
    bool hex = (at[2] | 32) == 'x';
    unsigned value = 0;
    size_t i = hex ? 3 : 2;
    for (; i < bytes && i < 9 && at[i] != ';'; i++) {
        int digit = hex_value(at[i]);
        if (digit < 0 || (!hex && digit > 9)) {
            return 0;
        }
        value = value * (hex ? 16U : 10U) + (unsigned)digit;
    }
    return i < bytes && at[i] == ';' && value == c ? i + 1 : 0;
}

static size_t one(const uint8_t *at, size_t bytes, uint8_t c)
{
    size_t taken = 0;
    if (bytes == 0) {
        return 0;
    }
    if (at[0] == '%') {
        taken = percent_one(at, bytes, c);
    } else if (at[0] == '\\') {
        taken = backslash_one(at, bytes, c);
    } else if (at[0] == '&') {
        taken = entity_one(at, bytes, c);
    } else if (at[0] == '+' && c == ' ') {
        taken = 1;
    }
    return taken > 0 ? taken : at[0] == c ? 1 : 0;
}

/* ---- the forms */

static size_t match_text(const struct form *form, const uint8_t *at, size_t bytes)
{
    size_t used = 0;
    for (size_t i = 0; i < form->text.bytes; i++) {
        size_t taken = one(at + used, bytes - used, form->text.at[i]);
        if (taken == 0) {
            return 0;
        }
        used += taken;
    }
    return used;
}

static size_t match_hex(const struct form *form, const uint8_t *at, size_t bytes)
{
    if (bytes < 2 * form->text.bytes) {
        return 0;
    }
    for (size_t i = 0; i < form->text.bytes; i++) {
        if (hex_number(at + 2 * i, 2, 2) != form->text.at[i]) {
            return 0;
        }
    }
    return 2 * form->text.bytes;
}

/* Letter `i` of the base64 of form->shift bytes and the secret. */
static uint8_t letter_at(const struct form *form, size_t i)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned bits = 0;
    for (size_t k = i * 6 / 8; k < i * 6 / 8 + 2; k++) {
        bool inside = k >= form->shift && k - form->shift < form->text.bytes;
        bits = bits << 8 | (inside ? form->text.at[k - form->shift] : 0U);
    }
    return (uint8_t)letters[bits >> (10 - i * 6 % 8) & 63];
}

/* Either alphabet, broken into lines or not, its + and / escaped or not. */
static size_t match_base64(const struct form *form, const uint8_t *at, size_t bytes)
{
    size_t used = 0;
    for (size_t i = form->first; i < form->last; i++) {
        uint8_t c = letter_at(form, i);
        while (i > form->first && used < bytes && (at[used] == '\r' || at[used] == '\n')) {
            used++;
        }
        size_t taken = one(at + used, bytes - used, c);
        if (taken == 0 && used < bytes &&
            ((c == '+' && at[used] == '-') || (c == '/' && at[used] == '_'))) {
            taken = 1;
        }
        if (taken == 0) {
            return 0;
        }
        used += taken;
    }
    return used;
}

static void may_start(struct form *form, uint8_t with)
{
    form->starts[strlen(form->starts)] = (char)with;
}

/* ---- looking */

static bool stands_alone(const struct form *form, const uint8_t *text, size_t bytes, size_t at,
                         size_t length)
{
    return !form->word || ((at == 0 || !is_word(text[at - 1])) &&
                           (at + length == bytes || !is_word(text[at + length])));
}

/* The next byte from `at` on that may be the first one. Each of them is looked for from where it
 * was found last, so all places together cost one pass for each. */
static size_t next_start(struct form *form, const uint8_t *text, size_t bytes, size_t at)
{
    size_t nearest = bytes;
    for (size_t i = 0; form->starts[i]; i++) {
        if (form->next[i] <= at) {
            const uint8_t *found = memchr(text + at, form->starts[i], bytes - at);
            form->next[i] = (found ? (size_t)(found - text) : bytes) + 1;
        }
        nearest = form->next[i] - 1 < nearest ? form->next[i] - 1 : nearest;
    }
    return nearest;
}

/* The next place from *at on; its length, 0 = there is none. */
static size_t next_place(struct form *form, const uint8_t *text, size_t bytes, size_t *at)
{
    for (size_t i = next_start(form, text, bytes, *at); i < bytes;
         i = next_start(form, text, bytes, i + 1)) {
        size_t length = form->match(form, text + i, bytes - i);
        if (length > 0 && stands_alone(form, text, bytes, i, length)) {
            *at = i;
            return length;
        }
    }
    return 0;
}

static unsigned overwrite(struct form *form, uint8_t *text, size_t bytes)
{
    unsigned count = 0;
    size_t at = 0, length;
    while ((length = next_place(form, text, bytes, &at)) > 0) {
        size_t from = at - (form->before && at > 0 && is_word(text[at - 1]) ? 1 : 0);
        size_t to = at + length;
        to += form->behind && to < bytes && is_word(text[to]) ? 1 : 0;
        memset(text + from, '*', to - from);
        at = to;
        count++;
    }
    return count;
}

/* Either finds (*ret_found) or overwrites. */
static unsigned run(struct form *form, const uint8_t *text, size_t bytes, uint8_t *writable,
                    bool *ret_found)
{
    size_t at = 0;
    if (writable) {
        return overwrite(form, writable, bytes);
    }
    *ret_found = *ret_found || next_place(form, text, bytes, &at) > 0;
    return 0;
}

/* Only the letters that hold bits of nothing else, where `shift` bytes of something precede it. */
static void init_base64(struct form *form, struct slice secret, unsigned shift, bool word)
{
    size_t bits = 8 * (shift + secret.bytes);
    *form = (struct form){.match = match_base64,
                          .text = secret,
                          .word = word,
                          .shift = shift,
                          .first = shift == 0 ? 0 : shift + 1,
                          .last = (bits + (word ? 5 : 0)) / 6, /* a short one is encoded alone */
                          .before = shift > 0,
                          .behind = bits % 6 != 0 && !word};
    uint8_t start = letter_at(form, form->first);
    may_start(form, start);
    if (start == '+' || start == '/') {
        may_start(form, start == '+' ? '-' : '_');
        may_start(form, '%');
        may_start(form, '\\');
    }
}

static unsigned all_forms(struct slice secret, const uint8_t *text, size_t bytes, uint8_t *writable,
                          bool *ret_found)
{
    bool word = secret.bytes < SCRUB_BYTES_MIN;
    struct form as_is = {.match = match_text, .text = secret, .word = word};
    struct form in_hex = {.match = match_hex, .text = secret, .word = word};
    char digits[3];
    hex_encode(secret.at, 1, digits);
    may_start(&in_hex, (uint8_t)digits[0]);
    if (digits[0] >= 'a') {
        may_start(&in_hex, (uint8_t)(digits[0] - 32));
    }
    may_start(&as_is, '%');
    may_start(&as_is, '\\');
    may_start(&as_is, '&');
    may_start(&as_is, secret.at[0] == ' ' ? '+' : secret.at[0]);
    if (secret.at[0] == ' ') {
        may_start(&as_is, ' ');
    }
    unsigned count = run(&as_is, text, bytes, writable, ret_found);
    count += run(&in_hex, text, bytes, writable, ret_found);
    for (unsigned shift = 0; shift < (word ? 1 : 3); shift++) {
        struct form encoded;
        init_base64(&encoded, secret, shift, word);
        count += run(&encoded, text, bytes, writable, ret_found);
    }
    return count;
}

bool scrub_finds(struct slice text, struct slice secret)
{
    bool found = false;
    if (secret.bytes >= SCRUB_BYTES_MIN && text.bytes > 0) {
        all_forms(secret, text.at, text.bytes, NULL, &found);
    }
    return found;
}

unsigned scrub(void *at, size_t bytes, struct slice secret)
{
    return secret.bytes >= SCRUB_BYTES_MIN && bytes > 0 ? all_forms(secret, at, bytes, at, NULL)
                                                        : 0;
}

unsigned scrub_shown(void *at, size_t bytes, struct slice secret)
{
    return secret.bytes >= SCRUB_WORD_MIN && bytes > 0 ? all_forms(secret, at, bytes, at, NULL) : 0;
}

void scrub_order(struct slice *secrets, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        struct slice one = secrets[i];
        size_t to = i;
        for (; to > 0 && secrets[to - 1].bytes < one.bytes; to--) {
            secrets[to] = secrets[to - 1];
        }
        secrets[to] = one;
    }
}
