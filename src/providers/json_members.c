#include "providers/json_members.h"

#include "base/assert.h"
#include "base/hex.h"
#include "base/json_cursor.h"
#include "providers/json_scan.h"

static bool take(struct json_cursor *c, uint8_t byte)
{
    json_skip_blank(c);
    if (c->at == c->end || *c->at != byte) {
        return false;
    }
    c->at++;
    return true;
}

/* Four digits, or -1. */
static int32_t hex4(const uint8_t *at, const uint8_t *end)
{
    int32_t value = 0;
    if (end - at < 4) {
        return -1;
    }
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(at[i]);
        if (digit < 0) {
            return -1;
        }
        value = value << 4 | digit;
    }
    return value;
}

/* Bytes of the escape at `at` (which is a backslash), 0 = bad. */
static size_t escape_bytes(const uint8_t *at, const uint8_t *end, uint32_t *ret_point)
{
    static const char letters[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    if (end - at < 2) {
        return 0;
    }
    if (at[1] != 'u') {
        const char *letter = at[1] != 0 ? strchr(letters, at[1]) : NULL;
        *ret_point = letter != NULL ? (uint8_t)values[letter - letters] : 0;
        return letter != NULL ? 2 : 0;
    }
    int32_t high = hex4(at + 2, end);
    if (high < 0 || (high >= 0xdc00 && high < 0xe000)) {
        return 0;
    }
    *ret_point = (uint32_t)high;
    if (high < 0xd800 || high >= 0xe000) {
        return 6;
    }
    int32_t low = end - at >= 12 && at[6] == '\\' && at[7] == 'u' ? hex4(at + 8, end) : -1;
    if (low < 0xdc00 || low >= 0xe000) {
        return 0;
    }
    *ret_point = 0x10000U + ((uint32_t)(high - 0xd800) << 10) + (uint32_t)(low - 0xdc00);
    return 12;
}

/* Bytes of the UTF-8 character at `at` (which has its top bit), 0 = bad. */
static size_t utf8_bytes(const uint8_t *at, const uint8_t *end)
{
    size_t bytes = *at >= 0xf0 && *at <= 0xf4  ? 4
                   : *at >= 0xe0 && *at < 0xf0 ? 3
                   : *at >= 0xc2 && *at < 0xe0 ? 2
                                               : 0;
    if (bytes == 0 || (size_t)(end - at) < bytes) {
        return 0;
    }
    for (size_t i = 1; i < bytes; i++) {
        if ((at[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    bool bad = (at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] >= 0xa0) ||
               (at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] >= 0x90);
    return bad ? 0 : bytes;
}

static bool take_string(struct json_cursor *c, struct slice *ret_text, bool *ret_escaped)
{
    *ret_escaped = false;
    if (!take(c, '"')) {
        return false;
    }
    const uint8_t *from = c->at;
    while (c->at < c->end && *c->at != '"') {
        size_t bytes = 1;
        uint32_t point;
        if (*c->at == '\\') {
            bytes = escape_bytes(c->at, c->end, &point);
            *ret_escaped = true;
        } else if (*c->at >= 0x80) {
            bytes = utf8_bytes(c->at, c->end);
        } else if (*c->at < ' ') {
            bytes = 0;
        }
        if (bytes == 0) {
            return false;
        }
        c->at += bytes;
    }
    *ret_text = slice_of(from, (size_t)(c->at - from));
    return take(c, '"');
}

/* A number or a word: what stands up to the next , or }. */
static bool skip_plain(struct json_cursor *c)
{
    const uint8_t *from = c->at;
    while (c->at < c->end &&
           (ascii_is_alphanumeric(*c->at) || *c->at == '-' || *c->at == '+' || *c->at == '.')) {
        c->at++;
    }
    return c->at != from;
}

/* Written in the one way that there is: no fraction, no exponent, no needless zero. */
static bool is_integer(struct slice text)
{
    size_t minus = text.bytes > 1 && text.at[0] == '-';
    for (size_t i = minus; i < text.bytes; i++) {
        if (text.at[i] < '0' || text.at[i] > '9') {
            return false;
        }
    }
    return text.at[minus] != '0' || text.bytes == 1;
}

static bool take_value(struct json_cursor *c, struct json_member *member)
{
    struct slice text = SLICE_EMPTY;
    bool escaped = false;
    json_skip_blank(c);
    if (c->at == c->end) {
        return false;
    }
    const uint8_t *from = c->at;
    enum json_member_kind kind = JSON_MEMBER_INTEGER;
    if (*c->at == '"') {
        kind = JSON_MEMBER_STRING;
        if (!take_string(c, &text, &escaped)) {
            return false;
        }
    } else if (*c->at == '{' || *c->at == '[') {
        kind = JSON_MEMBER_OBJECT;
        size_t bytes = json_skip(slice_of(c->at, (size_t)(c->end - c->at)));
        c->at += bytes;
        if (bytes == 0) {
            return false;
        }
    } else if (!skip_plain(c)) {
        return false;
    }
    if (member == NULL) {
        return true;
    }
    text = kind == JSON_MEMBER_STRING ? text : slice_of(from, (size_t)(c->at - from));
    member->found = true;
    member->escaped = kind == JSON_MEMBER_STRING && escaped;
    member->text = text;
    return kind == member->kind && (kind != JSON_MEMBER_INTEGER || is_integer(text));
}

static bool take_member(struct json_cursor *c, struct json_member *members, unsigned count)
{
    struct slice name;
    bool escaped;
    struct json_member *wanted = NULL;
    if (!take_string(c, &name, &escaped) || escaped || !take(c, ':')) {
        return false;
    }
    for (unsigned i = 0; i < count; i++) {
        if (slice_equal(name, members[i].name)) {
            wanted = &members[i];
        }
    }
    if (wanted != NULL && wanted->found) {
        return false;
    }
    return take_value(c, wanted);
}

bool json_members(struct slice text, struct json_member *members, unsigned count)
{
    bk_assert(members != NULL);
    struct json_cursor c = {text.at, text.bytes ? text.at + text.bytes : text.at};
    for (unsigned i = 0; i < count; i++) {
        members[i].found = members[i].escaped = false;
        members[i].text = SLICE_EMPTY;
    }
    if (text.bytes == 0 || !take(&c, '{')) {
        return false;
    }
    if (!take(&c, '}')) {
        do {
            if (!take_member(&c, members, count)) {
                return false;
            }
        } while (take(&c, ','));
        if (!take(&c, '}')) {
            return false;
        }
    }
    json_skip_blank(&c);
    return c.at == c.end;
}

bool json_only_element(struct slice text, struct slice *ret_object)
{
    bk_assert(ret_object != NULL);
    struct json_cursor c = {text.at, text.bytes ? text.at + text.bytes : text.at};
    if (!take(&c, '[')) {
        return false;
    }
    json_skip_blank(&c);
    const uint8_t *from = c.at;
    size_t bytes =
        c.at < c.end && *c.at == '{' ? json_skip(slice_of(c.at, (size_t)(c.end - c.at))) : 0;
    c.at += bytes;
    *ret_object = slice_of(from, bytes);
    if (bytes == 0 || !take(&c, ']')) {
        return false;
    }
    json_skip_blank(&c);
    return c.at == c.end;
}

static size_t put_point(uint32_t point, uint8_t *out)
{
    if (point < 0x80) {
        out[0] = (uint8_t)point;
        return 1;
    }
    if (point < 0x800) {
        out[0] = (uint8_t)(0xc0 | point >> 6);
        out[1] = (uint8_t)(0x80 | (point & 0x3f));
        return 2;
    }
    if (point < 0x10000) {
        out[0] = (uint8_t)(0xe0 | point >> 12);
        out[1] = (uint8_t)(0x80 | (point >> 6 & 0x3f));
        out[2] = (uint8_t)(0x80 | (point & 0x3f));
        return 3;
    }
    out[0] = (uint8_t)(0xf0 | point >> 18);
    out[1] = (uint8_t)(0x80 | (point >> 12 & 0x3f));
    out[2] = (uint8_t)(0x80 | (point >> 6 & 0x3f));
    out[3] = (uint8_t)(0x80 | (point & 0x3f));
    return 4;
}

size_t json_unescape(struct slice *text, uint8_t out[JSON_PIECE_BYTES])
{
    size_t used = 0;
    while (text->bytes != 0 && used < JSON_PIECE_BYTES - 4) {
        uint32_t point;
        if (text->at[0] != '\\') {
            out[used++] = text->at[0];
            *text = slice_skip(*text, 1);
            continue;
        }
        size_t bytes = escape_bytes(text->at, text->at + text->bytes, &point);
        if (bytes == 0) {
            bk_never("the text was checked");
        }
        used += put_point(point, out + used);
        *text = slice_skip(*text, bytes);
    }
    return used;
}
