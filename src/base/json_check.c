#include "base/json_check.h"

#include "base/assert.h"
#include "base/json_cursor.h"

static bool take(struct json_cursor *c, uint8_t byte)
{
    if (c->at == c->end || *c->at != byte) {
        return false;
    }
    c->at++;
    return true;
}

static bool is_digit(const struct json_cursor *c)
{
    return c->at < c->end && *c->at >= '0' && *c->at <= '9';
}

static bool take_digits(struct json_cursor *c)
{
    const uint8_t *from = c->at;
    while (is_digit(c)) {
        c->at++;
    }
    return c->at != from;
}

static bool take_number(struct json_cursor *c)
{
    (void)take(c, '-');
    if (!take(c, '0') && !take_digits(c)) {
        return false;
    }
    if (take(c, '.') && !take_digits(c)) {
        return false;
    }
    if (take(c, 'e') || take(c, 'E')) {
        (void)(take(c, '+') || take(c, '-'));
        return take_digits(c);
    }
    return true;
}

static int32_t take_hex4(struct json_cursor *c)
{
    int32_t value = 0;
    for (int i = 0; i < 4; i++) {
        uint8_t digit = c->at < c->end ? ascii_lower(*c->at) : 0;
        if (digit >= '0' && digit <= '9') {
            value = value << 4 | (digit - '0');
        } else if (digit >= 'a' && digit <= 'f') {
            value = value << 4 | (digit - 'a' + 10);
        } else {
            return -1;
        }
        c->at++;
    }
    return value;
}

static bool take_escape(struct json_cursor *c)
{
    uint8_t letter = c->at < c->end ? *c->at++ : 0;
    if (letter != 'u') {
        return letter != 0 && strchr("\"\\/bfnrt", letter) != NULL;
    }
    int32_t high = take_hex4(c);
    if (high < 0 || (high >= 0xdc00 && high < 0xe000)) {
        return false;
    }
    if (high < 0xd800 || high >= 0xe000) {
        return true;
    }
    if (!take(c, '\\') || !take(c, 'u')) {
        return false;
    }
    int32_t low = take_hex4(c);
    return low >= 0xdc00 && low < 0xe000;
}

static bool take_utf8(struct json_cursor *c)
{
    uint8_t first = *c->at++;
    unsigned more = first >= 0xf0 && first <= 0xf4  ? 3
                    : first >= 0xe0 && first < 0xf0 ? 2
                    : first >= 0xc2 && first < 0xe0 ? 1
                                                    : 0;
    uint8_t second = c->at < c->end ? *c->at : 0;
    if (more == 0 || (first == 0xe0 && second < 0xa0) || (first == 0xed && second >= 0xa0) ||
        (first == 0xf0 && second < 0x90) || (first == 0xf4 && second >= 0x90)) {
        return false;
    }
    for (; more > 0; more--) {
        if (c->at == c->end || (*c->at++ & 0xc0) != 0x80) {
            return false;
        }
    }
    return true;
}

static bool take_string(struct json_cursor *c)
{
    if (!take(c, '"')) {
        return false;
    }
    while (c->at < c->end && *c->at != '"') {
        if (*c->at == '\\') {
            c->at++;
            if (!take_escape(c)) {
                return false;
            }
        } else if (*c->at >= 0x80) {
            if (!take_utf8(c)) {
                return false;
            }
        } else if (*c->at++ < ' ') {
            return false;
        }
    }
    return take(c, '"');
}

static bool take_word(struct json_cursor *c)
{
    static const char *const words[] = {"true", "false", "null"};
    for (size_t i = 0; i < bk_array_length(words); i++) {
        size_t bytes = strlen(words[i]);
        if ((size_t)(c->end - c->at) >= bytes && memcmp(c->at, words[i], bytes) == 0) {
            c->at += bytes;
            return true;
        }
    }
    return false;
}

/* "name" and the colon. */
static bool take_name(struct json_cursor *c)
{
    json_skip_blank(c);
    if (!take_string(c)) {
        return false;
    }
    json_skip_blank(c);
    bool colon = take(c, ':');
    json_skip_blank(c);
    return colon;
}

static bool take_scalar(struct json_cursor *c)
{
    if (c->at == c->end) {
        return false;
    }
    return *c->at == '"'                                       ? take_string(c)
           : *c->at == '-' || (*c->at >= '0' && *c->at <= '9') ? take_number(c)
                                                               : take_word(c);
}

/* Bit d of `objects`: the container at depth d is an object. */
struct depth {
    unsigned count;
    uint64_t objects;
};

/* A value begins. False: bad. *ret_open: it is a container with something in it. */
static bool begin(struct json_cursor *c, struct depth *depth, bool *ret_open)
{
    bool object = c->at < c->end && *c->at == '{';
    *ret_open = false;
    if (!object && !(c->at < c->end && *c->at == '[')) {
        return take_scalar(c);
    }
    c->at++;
    json_skip_blank(c);
    if (take(c, object ? '}' : ']')) {
        return true;
    }
    if (depth->count == JSON_CHECK_DEPTH) {
        return false;
    }
    depth->objects =
        object ? depth->objects | 1ULL << depth->count : depth->objects & ~(1ULL << depth->count);
    depth->count++;
    *ret_open = true;
    return !object || take_name(c);
}

/* A value ended: what comes next? False: bad. *ret_next: another value. */
static bool after(struct json_cursor *c, struct depth *depth, bool *ret_next)
{
    while (depth->count > 0) {
        bool object = depth->objects >> (depth->count - 1) & 1;
        json_skip_blank(c);
        if (take(c, ',')) {
            *ret_next = true;
            json_skip_blank(c);
            return !object || take_name(c);
        }
        if (!take(c, object ? '}' : ']')) {
            return false;
        }
        depth->count--;
    }
    *ret_next = false;
    return true;
}

/* Bytes of the value at text.at[0] (no blanks before it); 0 = there is none. */
static size_t json_check_value(struct slice text)
{
    struct json_cursor c = {text.at, text.at + text.bytes};
    struct depth depth = {0, 0};
    bool more = text.bytes != 0;
    if (!more) {
        return 0;
    }
    while (more) {
        if (!begin(&c, &depth, &more) || (!more && !after(&c, &depth, &more))) {
            return 0;
        }
    }
    return (size_t)(c.at - text.at);
}

static struct slice without_blank(struct slice text)
{
    struct json_cursor c = {text.at, text.at + text.bytes};
    json_skip_blank(&c);
    return slice_of(c.at, (size_t)(c.end - c.at));
}

bool json_check(struct slice text)
{
    if (text.bytes == 0) {
        return false;
    }
    text = without_blank(text);
    size_t bytes = json_check_value(text);
    return bytes != 0 && without_blank(slice_of(text.at + bytes, text.bytes - bytes)).bytes == 0;
}

bool json_check_element(struct slice *rest, struct slice *ret_element, bool *ret_good)
{
    bk_assert(rest != NULL && ret_element != NULL && ret_good != NULL);
    *ret_good = false;
    if (rest->bytes == 0) {
        return false;
    }
    struct slice text = without_blank(*rest);
    if (text.bytes == 0) {
        return false;
    }
    bool first = text.at[0] == '[', last = text.at[0] == ']';
    text = without_blank(slice_of(text.at + 1, text.bytes - 1));
    if (first && text.bytes != 0 && text.at[0] == ']') {
        last = true;
        text = without_blank(slice_of(text.at + 1, text.bytes - 1));
    }
    if (last) {
        *ret_good = text.bytes == 0;
        return false;
    }
    /* [ or , and a value */
    size_t bytes = json_check_value(text);
    *ret_element = slice_of(text.at, bytes);
    *rest = slice_of(text.at + bytes, text.bytes - bytes);
    struct slice next = bytes != 0 ? without_blank(*rest) : SLICE_EMPTY;
    return next.bytes != 0 && (next.at[0] == ',' || next.at[0] == ']');
}
