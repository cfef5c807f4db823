/* What a signature's text looks like. */
#include "providers/compile.h"

#include "base/assert.h"

struct placeholder {
    const char *text;
    enum encoding encoding;
};
static const struct placeholder placeholders[] = {
    {"{hex}", ENCODING_HEX},
    {"{base64url}", ENCODING_BASE64URL},
    {"{base64}", ENCODING_BASE64},
};

static struct prefix prefix_of(struct slice text)
{
    struct prefix prefix = {
        .text = text, .least = text.bytes <= sizeof prefix.front ? sizeof prefix.front : SIZE_MAX};
    size_t bytes = text.bytes < sizeof prefix.front ? text.bytes : sizeof prefix.front;
    if (bytes != 0) {
        memcpy(&prefix.front, text.at, bytes);
        memset(&prefix.front_mask, 0xff, bytes);
    }
    return prefix;
}

/* The literal before a placeholder; "[text]" may be left out. */
static bool prefix_parse(struct slice literal, struct prefix *ret_prefix, bool *ret_optional,
                         struct problem *problem)
{
    *ret_prefix = prefix_of(literal);
    *ret_optional = false;
    if (literal.bytes >= 2 && literal.at[0] == '[' && literal.at[literal.bytes - 1] == ']') {
        *ret_prefix = prefix_of(slice_of(literal.at + 1, literal.bytes - 2));
        *ret_optional = true;
    } else if (slice_find(literal, '[') != literal.bytes) {
        return fail(problem, "signature.format", "[ ] may only enclose a whole prefix");
    }
    return true;
}

/* One element at the front of *text, which moves behind it. */
static bool element_parse(struct slice *text, struct lane *lane, struct format *format,
                          struct problem *problem)
{
    struct slice literal = slice_of(text->at, slice_find(*text, '{'));
    struct slice rest = slice_skip(*text, literal.bytes);
    for (size_t i = 0; i < bk_array_length(placeholders); i++) {
        struct slice word = slice_str(placeholders[i].text);
        if (!slice_starts(rest, word)) {
            continue;
        }
        if (lane->used) {
            return fail(problem, "signature.format",
                        "more than one signature; write ... for a list");
        }
        lane->used = true;
        lane->encoding = placeholders[i].encoding;
        *text = slice_skip(rest, word.bytes);
        return prefix_parse(literal, &lane->prefix, &lane->prefix_optional, problem);
    }
    bool first = !lane->used && format->separator == 0;
    if (slice_starts(rest, SLICE("{timestamp}")) && !format->has_timestamp &&
        (literal.bytes != 0 || first)) {
        format->has_timestamp = true;
        format->timestamp_first = literal.bytes == 0;
        format->timestamp_prefix = prefix_of(literal);
        *text = slice_skip(rest, strlen("{timestamp}"));
        return true;
    }
    return fail(problem, "signature.format",
                "expected a prefix and one of {hex} {base64} {base64url} {timestamp}");
}

/* Elements are split at the separator and trimmed before prefixes are looked at. */
static bool prefix_possible(const struct format *format, struct slice prefix)
{
    return slice_find(prefix, format->separator) == prefix.bytes &&
           (prefix.bytes == 0 || (prefix.at[0] != ' ' && prefix.at[0] != '\t'));
}

bool format_parse(const char *text, enum hmac_algorithm algorithm, enum lane_kind kind,
                  struct format *format, struct problem *problem)
{
    struct lane *lane = &format->lanes[format->lanes[0].used];
    struct slice rest = slice_str(text);
    while (rest.bytes != 0 && !slice_equal(rest, SLICE("..."))) {
        if (!element_parse(&rest, lane, format, problem)) {
            return false;
        }
        if (rest.bytes != 0) {
            uint8_t separator = rest.at[0];
            if (rest.bytes == 1 || (format->separator != 0 && format->separator != separator) ||
                slice_find(SLICE(",; |"), separator) == 4) {
                return fail(problem, "signature.format",
                            "elements are separated by one of , ; | or a blank");
            }
            format->separator = separator;
            rest = slice_skip(rest, 1);
        }
    }
    format->open |= rest.bytes != 0;
    format->signatures_max = format->open ? SIGNATURES_MAX : 1;
    struct slice prefix = lane->prefix.text;
    if (!prefix_possible(format, prefix) ||
        !prefix_possible(format, format->timestamp_prefix.text) ||
        (format->has_timestamp && !format->timestamp_first &&
         slice_starts(prefix, format->timestamp_prefix.text))) {
        return fail(problem, "signature.format",
                    "a prefix has the separator in it, begins with a blank, or is another's");
    }
    if (!lane->used) {
        return fail(problem, "signature.format", "no {hex}, {base64} or {base64url}");
    }
    lane->kind = kind;
    lane->bytes = kind == LANE_ED25519      ? ED25519_SIGNATURE_BYTES
                  : kind == LANE_PUBLIC_KEY ? SIGNATURE_BYTES_MAX
                                            : (uint16_t)hmac_bytes(algorithm);
    return true;
}
