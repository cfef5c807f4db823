#include "http/explain.h"

#include "base/slice.h"
#include "http/parse_internal.h"

#include <stdio.h>

#define NAME_SHOWN_BYTES 40

/* What the lines so far said about where the body ends. */
struct seen {
    bool version_1_0;
    bool length, coding;
};

/* The first byte that no value may have. */
static size_t value_end(struct slice line)
{
    size_t i = 0;
    while (i < line.bytes && (http_byte_class[line.at[i]] & HTTP_CLASS_VALUE)) {
        i++;
    }
    return i;
}

/* Of a line without its CR LF. */
static const char *bad_bytes(struct slice text)
{
    size_t end = value_end(text);
    return end == text.bytes      ? NULL
           : text.at[end] == '\r' ? "a carriage return without a line feed"
           : text.at[end] == '\0' ? "a zero byte"
                                  : "a control byte";
}

static const char *wrong_status_line(struct slice line, struct seen *seen)
{
    bool known = false;
    uint8_t minor = 1;
    /* A record of it, alert or handshake: whoever was to be asked over https:// says so. */
    if (line.bytes > 1 && (line.at[0] == 0x15 || line.at[0] == 0x16) && line.at[1] == 3) {
        return "it is TLS, where plain HTTP was spoken";
    }
    /* The frame with its settings, with which each server of HTTP/2 begins. */
    static const uint8_t settings[] = {4, 0, 0, 0, 0, 0};
    if (line.bytes >= 9 && line.at[0] == 0 && memcmp(line.at + 3, settings, 6) == 0) {
        return "it is HTTP/2, where HTTP/1.1 was spoken";
    }
    if (http_version(line.at, line.bytes, &minor, &known) != HTTP_PARSE_DONE || !known) {
        return "it does not begin with HTTP/1.1";
    }
    seen->version_1_0 = minor == 0;
    struct slice rest = slice_skip(line, 8);
    bool good = rest.bytes >= 4 && rest.at[0] == ' ' && rest.at[1] != '0';
    for (unsigned i = 1; good && i < 4; i++) {
        good = rest.at[i] >= '0' && rest.at[i] <= '9';
    }
    if (!good || (rest.bytes > 4 && rest.at[4] != ' ')) {
        return "no status of three digits behind the version";
    }
    return bad_bytes(rest);
}

static bool is_length(struct slice value)
{
    uint64_t length = 0;
    for (size_t i = 0; i < value.bytes; i++) {
        unsigned digit = (unsigned)value.at[i] - '0';
        if (digit > 9 || length > (UINT64_MAX - 9) / 10) {
            return false;
        }
        length = length * 10 + digit;
    }
    return value.bytes > 0;
}

/* Headers that say where the body ends. */
static const char *wrong_framing(struct slice name, struct slice value, struct seen *seen)
{
    const char *both = "content-length and transfer-encoding in one answer";
    if (slice_equal_nocase(name, SLICE("content-length"))) {
        const char *wrong = seen->length        ? "it is there twice"
                            : !is_length(value) ? "it is no number of bytes"
                                                : NULL;
        seen->length = true;
        return wrong ? wrong : seen->coding ? both : NULL;
    }
    if (slice_equal_nocase(name, SLICE("transfer-encoding"))) {
        const char *wrong = seen->coding ? "it is there twice"
                            : !slice_equal_nocase(value, SLICE("chunked"))
                                ? "it is not chunked alone"
                            : seen->version_1_0 ? "HTTP/1.0 has none"
                                                : NULL;
        seen->coding = true;
        return wrong ? wrong : seen->length ? both : NULL;
    }
    return NULL;
}

/* *ret_name: the header's, once it is known to be one. */
static const char *wrong_field(struct slice line, bool ended, struct seen *seen,
                               struct slice *ret_name)
{
    size_t name = 0;
    if (line.bytes > 0 && (line.at[0] == ' ' || line.at[0] == '\t')) {
        return "it is folded: it begins with white space";
    }
    while (name < line.bytes && (http_byte_class[line.at[name]] & HTTP_CLASS_TOKEN)) {
        name++;
    }
    struct slice rest = slice_skip(line, name);
    if (name == 0) {
        return rest.bytes > 0 && rest.at[0] == ':' ? "a colon without a name"
                                                   : "it does not begin with a name";
    }
    *ret_name = slice_of(line.at, name);
    if (rest.bytes == 0) {
        *ret_name = SLICE_EMPTY; /* who knows what it is */
        return ended ? "there is no colon" : NULL;
    }
    if (rest.at[0] == ' ' || rest.at[0] == '\t') {
        bool field = slice_trim(rest).bytes > 0 && slice_trim(rest).at[0] == ':';
        *ret_name = field ? *ret_name : SLICE_EMPTY;
        return field ? "white space before the colon" : "no header's name has white space";
    }
    if (rest.at[0] != ':') {
        *ret_name = SLICE_EMPTY;
        return "a byte that no header's name has";
    }
    struct slice value = slice_skip(rest, 1);
    const char *wrong = bad_bytes(value);
    return wrong ? wrong : wrong_framing(*ret_name, slice_trim(value), seen);
}

static void say(unsigned number, struct slice name, const char *wrong,
                char ret_text[HTTP_EXPLAIN_BYTES])
{
    int bytes = (int)(name.bytes < NAME_SHOWN_BYTES ? name.bytes : NAME_SHOWN_BYTES);
    if (bytes > 0) {
        snprintf(ret_text, HTTP_EXPLAIN_BYTES, "line %u (%.*s%s): %s", number, bytes,
                 (const char *)name.at, name.bytes > NAME_SHOWN_BYTES ? "…" : "", wrong);
    } else {
        snprintf(ret_text, HTTP_EXPLAIN_BYTES, "line %u: %s", number, wrong);
    }
}

/* The next line, without its end. *ret_ended: its end began; *ret_bare: without a CR. */
static struct slice take_line(struct slice *rest, bool *ret_ended, bool *ret_bare)
{
    size_t end = slice_find(*rest, '\n');
    bool returned = end > 0 && rest->at[end - 1] == '\r';
    struct slice line = slice_of(rest->at, end - returned);
    *ret_ended = end < rest->bytes || returned;
    *ret_bare = !returned && *ret_ended;
    *rest = slice_skip(*rest, end + 1);
    return line;
}

void http_explain_response(const uint8_t *at, size_t bytes, char ret_text[HTTP_EXPLAIN_BYTES])
{
    struct slice rest = slice_of(at, bytes < HTTP_HEAD_BYTES_MAX ? bytes : HTTP_HEAD_BYTES_MAX);
    struct seen seen = {.length = false};
    ret_text[0] = '\0';
    for (unsigned number = 1; rest.bytes > 0; number++) {
        bool ended, bare;
        struct slice line = take_line(&rest, &ended, &bare), name = SLICE_EMPTY;
        if (ended && !bare && line.bytes == 0 && number > 1) {
            return; /* the end of the head */
        }
        if (number > HTTP_HEADERS_MAX + 1) {
            snprintf(ret_text, HTTP_EXPLAIN_BYTES, "over %u header lines", HTTP_HEADERS_MAX);
            return;
        }
        const char *wrong =
            number == 1 ? wrong_status_line(line, &seen) : wrong_field(line, ended, &seen, &name);
        if (bare && (!wrong || line.bytes == 0)) {
            wrong = "a line feed without a carriage return";
        }
        if (wrong) {
            say(number, name, wrong, ret_text);
            return;
        }
    }
    if (bytes >= HTTP_HEAD_BYTES_MAX) {
        snprintf(ret_text, HTTP_EXPLAIN_BYTES, "over %u bytes", HTTP_HEAD_BYTES_MAX);
    }
}
