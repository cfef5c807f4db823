/* option_value.c - what the value of an option may be: numbers, sizes, times, choices. */
#include "cli/option_private.h"

#include "base/assert.h"
#include "base/time.h"

bool option_parse_bytes(const char *text, uint64_t *ret_bytes)
{
    static const char *const units[] = {"", "k", "m", "g", "t"};
    uint64_t number = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9'; at++) {
        if (number > (UINT64_MAX >> 1) / 10) {
            return false;
        }
        number = number * 10 + (uint64_t)(*at - '0');
    }
    if (at == text) {
        return false;
    }
    size_t unit = 0;
    if (*at != '\0' && *at != 'B') {
        for (unit = 1; unit < bk_array_length(units) && ascii_lower((uint8_t)*at) != units[unit][0];
             unit++) {
        }
        if (unit == bk_array_length(units)) {
            return false;
        }
        at += 1 + (at[1] == 'i');
    }
    at += *at == 'B';
    if (*at != '\0' || number > (UINT64_MAX >> 1) >> (10 * unit)) {
        return false;
    }
    *ret_bytes = number << (10 * unit);
    return true;
}

bool option_parse_number(const char *text, uint64_t *ret_number)
{
    uint64_t number = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9'; at++) {
        if (number > UINT64_MAX / 10 - 1) {
            return false;
        }
        number = number * 10 + (uint64_t)(*at - '0');
    }
    *ret_number = number;
    return at != text && *at == '\0';
}

bool option_parse_flag(const char *text, bool *ret_flag)
{
    static const char *const yes[] = {"true", "yes", "on", "1"};
    static const char *const no[] = {"false", "no", "off", "0", ""};
    struct slice given = slice_str(text);
    for (size_t i = 0; i < bk_array_length(yes); i++) {
        if (slice_equal_nocase(given, slice_str(yes[i]))) {
            *ret_flag = true;
            return true;
        }
    }
    for (size_t i = 0; i < bk_array_length(no); i++) {
        if (slice_equal_nocase(given, slice_str(no[i]))) {
            *ret_flag = false;
            return true;
        }
    }
    return false;
}

static bool is_web_address(const char *text)
{
    struct slice url = slice_str(text);
    size_t scheme = slice_starts(url, SLICE("https://"))  ? 8
                    : slice_starts(url, SLICE("http://")) ? 7
                                                          : url.bytes;
    return url.bytes > scheme && strpbrk(text, "?#") == NULL; /* a path is put behind it */
}

static bool is_choice(const char *choices, const char *text)
{
    for (const char *at = choices; *at != '\0';) {
        size_t bytes = strcspn(at, "|");
        if (slice_equal(slice_of(at, bytes), slice_str(text))) {
            return true;
        }
        at += bytes + (at[bytes] == '|');
    }
    return false;
}

static bool number_fits(const struct option *option, uint64_t number)
{
    return number >= option->number_min &&
           (option->number_max == 0 || number <= option->number_max);
}

const char *option_value_problem(const struct option *option, const char *text)
{
    uint64_t number = 0;
    int64_t duration_ns, time_ns;
    bool flag;
    switch (option->kind) {
    case OPTION_TEXT:
        return NULL;
    case OPTION_URL:
        return is_web_address(text) ? NULL
                                    : "a URL such as http://127.0.0.1:8081, with no ? or # in it";
    case OPTION_FLAG:
        return option_parse_flag(text, &flag) ? NULL : "true or false";
    case OPTION_NUMBER:
        if (!option_parse_number(text, &number)) {
            return "a number";
        }
        return number_fits(option, number) ? NULL : "within";
    case OPTION_BYTES:
        if (!option_parse_bytes(text, &number)) {
            return "a size such as 65536, 64K or 16M";
        }
        return number_fits(option, number) ? NULL : "within";
    case OPTION_DURATION:
        /* "5" of days or of seconds? Only of nothing it does not matter. */
        if (option_parse_number(text, &number) && number != 0) {
            return "a duration with its unit, such as 20s, 5m or 24h";
        }
        if (time_parse_duration(slice_str(text), &duration_ns) != BK_OK) {
            return "a duration such as 20s, 5m or 24h";
        }
        return option->number_min > 0 && duration_ns < NS_PER_MS ? "a time of 1ms or more" : NULL;
    case OPTION_TIME:
        return time_parse_since(slice_str(text), INT64_MAX, &time_ns) == BK_OK
                   ? NULL
                   : "a time: 2026-01-02T03:04:05Z, 2026-01-02, seconds since 1970, or a duration "
                     "before now such as 1h";
    case OPTION_DAY:
        return strlen(text) == 10 && text[4] == '-' &&
                       time_parse_since(slice_str(text), 0, &time_ns) == BK_OK
                   ? NULL
                   : "a day such as 2026-01-31";
    case OPTION_CHOICE:
        return is_choice(option->choices, text) ? NULL : "choice";
    case OPTION_END:
        break;
    }
    bk_never("an option without a kind");
}
