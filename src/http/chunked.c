/* chunked.c - the chunked transfer coding, decoded in place (RFC 9112 7.1).
 *
 * Data is moved in pieces as large as they come; the lines between go byte by byte through a state
 * machine, which makes the result independent of how the input is cut.
 */
#include "http/parse.h"

#include "base/assert.h"
#include "http/parse_internal.h"

#define LINE_BYTES_MAX   4096U
#define EXCESS_BYTES_MAX 16384U
/* What a chunk's line may weigh for free: 16 bytes and twice its data. */
#define LINE_BYTES_FREE 16U

enum state {
    SIZE_FIRST, /* a digit must follow */
    SIZE,
    SIZE_SPACE, /* white space that must lead to ';' */
    NAME_FIRST, /* of an extension: a token must follow */
    NAME,
    NAME_SPACE,
    VALUE_FIRST, /* a token or a quoted string must follow */
    VALUE,
    QUOTED,
    QUOTED_PAIR,
    VALUE_SPACE,
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    TRAILER_FIRST, /* start of a trailer line, or of the empty line */
    TRAILER_NAME,
    TRAILER_VALUE,
    TRAILER_LF,
    END_LF,
    END,
    MALFORMED,
    TRAILERS_TOO_LONG
};

void http_chunked_init(struct http_chunked *chunked)
{
    *chunked = (struct http_chunked){.state = SIZE_FIRST};
}

static bool is_value(uint8_t c)
{
    return http_byte_class[c] & HTTP_CLASS_VALUE;
}

static enum state add_digit(struct http_chunked *chunked, uint8_t c)
{
    unsigned digit = c <= '9' ? (unsigned)c - '0' : (unsigned)(c | 0x20) - 'a' + 10;

    if (chunked->chunk_left >> 60 != 0) {
        return MALFORMED;
    }
    chunked->chunk_left = chunked->chunk_left << 4 | digit;
    return SIZE;
}

/* The size line is complete. Take its weight against the data that it announces. */
static enum state size_line_end(struct http_chunked *chunked)
{
    uint64_t free_bytes = LINE_BYTES_FREE;
    uint64_t excess = (uint64_t)chunked->excess_bytes + chunked->line_bytes;

    free_bytes +=
        chunked->chunk_left < EXCESS_BYTES_MAX ? 2 * chunked->chunk_left : 2 * EXCESS_BYTES_MAX;
    chunked->excess_bytes = excess > free_bytes ? (uint32_t)(excess - free_bytes) : 0;
    if (chunked->excess_bytes > EXCESS_BYTES_MAX) {
        return MALFORMED;
    }
    chunked->line_bytes = 0;
    return chunked->chunk_left > 0 ? DATA : TRAILER_FIRST;
}

/* Extensions mean nothing here, but their grammar is held to (RFC 9112 7.1.1): who is in front may
 * look for the line's end behind a quote that never ends, and see other chunks than we do. White
 * space is allowed around names and values. */
static enum state on_extension_byte(enum state state, uint8_t c)
{
    bool token = http_byte_class[c] & HTTP_CLASS_TOKEN;
    bool space = c == ' ' || c == '\t';
    if (state == NAME_FIRST) {
        return space ? NAME_FIRST : token ? NAME : MALFORMED;
    }
    if (state == VALUE_FIRST) {
        return space ? VALUE_FIRST : c == '"' ? QUOTED : token ? VALUE : MALFORMED;
    }
    if (state == QUOTED) {
        return c == '"' ? VALUE_SPACE : c == '\\' ? QUOTED_PAIR : is_value(c) ? QUOTED : MALFORMED;
    }
    if (state == QUOTED_PAIR) {
        return is_value(c) ? QUOTED : MALFORMED;
    }
    if (token && (state == NAME || state == VALUE)) {
        return state;
    }
    bool named = state == NAME || state == NAME_SPACE;
    return c == ';'            ? NAME_FIRST
           : c == '\r'         ? SIZE_LF
           : c == '=' && named ? VALUE_FIRST
           : space             ? named ? NAME_SPACE : VALUE_SPACE
                               : MALFORMED;
}

static enum state on_size_byte(struct http_chunked *chunked, enum state state, uint8_t c)
{
    if (++chunked->line_bytes > LINE_BYTES_MAX) {
        return MALFORMED;
    }
    bool digit = http_byte_class[c] & HTTP_CLASS_HEX;
    if (state == SIZE_FIRST) {
        return digit ? add_digit(chunked, c) : MALFORMED;
    }
    if (state == SIZE && digit) {
        return add_digit(chunked, c);
    }
    if (state >= NAME_FIRST) {
        return on_extension_byte(state, c);
    }
    if (c == ';') {
        return NAME_FIRST;
    }
    if (c == ' ' || c == '\t') {
        return SIZE_SPACE;
    }
    return state == SIZE && c == '\r' ? SIZE_LF : MALFORMED;
}

static enum state on_trailer_byte(struct http_chunked *chunked, enum state state, uint8_t c)
{
    bool token = http_byte_class[c] & HTTP_CLASS_TOKEN;

    if (++chunked->line_bytes > HTTP_TRAILER_BYTES_MAX) {
        return TRAILERS_TOO_LONG;
    }
    if (state == TRAILER_FIRST) {
        return c == '\r' ? END_LF : token ? TRAILER_NAME : MALFORMED;
    }
    if (state == TRAILER_NAME) {
        return c == ':' ? TRAILER_VALUE : token ? TRAILER_NAME : MALFORMED;
    }
    return c == '\r' ? TRAILER_LF : is_value(c) ? TRAILER_VALUE : MALFORMED;
}

static enum state on_byte(struct http_chunked *chunked, enum state state, uint8_t c)
{
    switch (state) {
    case SIZE_FIRST:
    case SIZE:
    case SIZE_SPACE:
    case NAME_FIRST:
    case NAME:
    case NAME_SPACE:
    case VALUE_FIRST:
    case VALUE:
    case QUOTED:
    case QUOTED_PAIR:
    case VALUE_SPACE:
        return on_size_byte(chunked, state, c);
    case SIZE_LF:
        return c == '\n' ? size_line_end(chunked) : MALFORMED;
    case DATA_CR:
        return c == '\r' ? DATA_LF : MALFORMED;
    case DATA_LF:
        return c == '\n' ? SIZE_FIRST : MALFORMED;
    case TRAILER_FIRST:
    case TRAILER_NAME:
    case TRAILER_VALUE:
        return on_trailer_byte(chunked, state, c);
    case TRAILER_LF:
        return c == '\n' ? TRAILER_FIRST : MALFORMED;
    case END_LF:
        return c == '\n' ? END : MALFORMED;
    case DATA:
    case END:
    case MALFORMED:
    case TRAILERS_TOO_LONG:
        break;
    }
    bk_never("a state that takes no single bytes");
}

enum http_parse http_chunked_decode(struct http_chunked *chunked, uint8_t *at, size_t *bytes,
                                    size_t *ret_consumed)
{
    enum state state = (enum state)chunked->state;
    size_t in = 0;
    size_t out = 0;

    bk_assert(chunked->state <= TRAILERS_TOO_LONG);
    while (in < *bytes && state < END) {
        if (state != DATA) {
            state = on_byte(chunked, state, at[in]);
            in += state < MALFORMED;
            continue;
        }
        size_t piece = *bytes - in;
        if (piece > chunked->chunk_left) {
            piece = (size_t)chunked->chunk_left;
        }
        memmove(at + out, at + in, piece);
        out += piece;
        in += piece;
        chunked->chunk_left -= piece;
        if (chunked->chunk_left == 0) {
            state = DATA_CR;
        }
    }
    bk_assert(out <= in);
    chunked->state = state;
    *bytes = out;
    *ret_consumed = in;
    if (state == END) {
        return HTTP_PARSE_DONE;
    }
    if (state == MALFORMED) {
        return HTTP_PARSE_BAD;
    }
    return state == TRAILERS_TOO_LONG ? HTTP_PARSE_TOO_LONG : HTTP_PARSE_PARTIAL;
}
