#include "base/time.h"

#include "base/assert.h"

#include <stdio.h>

/* Days from civil and back: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms". */
static int64_t days_from_civil(int64_t year, unsigned month, unsigned day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    unsigned year_of_era = (unsigned)(year - era * 400);
    unsigned day_of_year = (153 * (month + (month > 2 ? -3U : 9U)) + 2) / 5 + day - 1;
    unsigned day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + (int64_t)day_of_era - 719468;
}

struct civil {
    int64_t year;
    unsigned month, day, hour, minute, second, weekday;
};

static struct civil civil_from_seconds(int64_t wall_seconds)
{
    int64_t days = wall_seconds / 86400;
    int64_t rest = wall_seconds % 86400;
    if (rest < 0) {
        rest += 86400;
        days--;
    }
    int64_t shifted = days + 719468;
    int64_t era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
    unsigned day_of_era = (unsigned)(shifted - era * 146097);
    unsigned year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    unsigned day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    unsigned month_index = (5 * day_of_year + 2) / 153;
    struct civil civil = {
        .year = (int64_t)year_of_era + era * 400 + (month_index >= 10),
        .month = month_index < 10 ? month_index + 3 : month_index - 9,
        .day = day_of_year - (153 * month_index + 2) / 5 + 1,
        .hour = (unsigned)(rest / 3600),
        .minute = (unsigned)(rest / 60 % 60),
        .second = (unsigned)(rest % 60),
        .weekday = (unsigned)(((days % 7) + 11) % 7), /* 1970-01-01 was a Thursday */
    };
    return civil;
}

void time_format_rfc3339(int64_t wall_ns, char ret_text[25])
{
    int64_t seconds = wall_ns / NS_PER_SECOND;
    int64_t rest_ns = wall_ns % NS_PER_SECOND;
    if (rest_ns < 0) {
        rest_ns += NS_PER_SECOND;
        seconds--;
    }
    struct civil c = civil_from_seconds(seconds);
    char text[64];
    snprintf(text, sizeof text, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ", (unsigned)c.year % 10000U,
             c.month, c.day, c.hour, c.minute, c.second, (unsigned)(rest_ns / NS_PER_MS));
    memcpy(ret_text, text, 24);
    ret_text[24] = 0;
}

void time_format_http(int64_t wall_seconds, char ret_text[30])
{
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    struct civil c = civil_from_seconds(wall_seconds);
    bk_assert(c.weekday < 7 && c.month >= 1 && c.month <= 12);
    char text[64];
    snprintf(text, sizeof text, "%.3s, %02u %.3s %04u %02u:%02u:%02u GMT", days + c.weekday * 3,
             c.day, months + (c.month - 1) * 3, (unsigned)c.year % 10000U, c.hour, c.minute,
             c.second);
    memcpy(ret_text, text, 29);
    ret_text[29] = 0;
}

/* Takes exactly `count` digits. */
static bool take_digits(struct slice *text, unsigned count, unsigned *ret_value)
{
    unsigned value = 0;
    if (text->bytes < count) {
        return false;
    }
    for (unsigned i = 0; i < count; i++) {
        unsigned digit = (unsigned)text->at[i] - '0';
        if (digit > 9) {
            return false;
        }
        value = value * 10 + digit;
    }
    *text = slice_skip(*text, count);
    *ret_value = value;
    return true;
}

static bool take_byte(struct slice *text, uint8_t byte)
{
    if (!text->bytes || text->at[0] != byte) {
        return false;
    }
    *text = slice_skip(*text, 1);
    return true;
}

static bool take_fraction(struct slice *text, int64_t *ret_ns)
{
    int64_t scale = NS_PER_SECOND / 10;
    unsigned digits = 0;
    *ret_ns = 0;
    while (text->bytes && text->at[0] >= '0' && text->at[0] <= '9') {
        if (++digits > 9) {
            return false;
        }
        *ret_ns += (text->at[0] - '0') * scale;
        scale /= 10;
        *text = slice_skip(*text, 1);
    }
    return digits > 0;
}

static bool take_offset(struct slice *text, int64_t *ret_seconds)
{
    *ret_seconds = 0;
    if (take_byte(text, 'Z') || take_byte(text, 'z')) {
        return true;
    }
    int64_t sign = take_byte(text, '+') ? 1 : take_byte(text, '-') ? -1 : 0;
    unsigned hours, minutes;
    if (!sign || !take_digits(text, 2, &hours) || !take_byte(text, ':') ||
        !take_digits(text, 2, &minutes) || hours > 23 || minutes > 59) {
        return false;
    }
    *ret_seconds = sign * (int64_t)(hours * 3600 + minutes * 60);
    return true;
}

static unsigned days_in_month(unsigned year, unsigned month)
{
    static const unsigned char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return month == 2 && leap ? 29 : days[month - 1];
}

enum bk_err time_parse_rfc3339(struct slice text, int64_t *ret_wall_ns)
{
    unsigned year, month, day, hour, minute, second;
    int64_t fraction_ns = 0, offset_seconds;
    bool date = take_digits(&text, 4, &year) && take_byte(&text, '-') &&
                take_digits(&text, 2, &month) && take_byte(&text, '-') &&
                take_digits(&text, 2, &day);
    if (!date || !(take_byte(&text, 'T') || take_byte(&text, 't') || take_byte(&text, ' '))) {
        return BK_INVALID;
    }
    bool clock = take_digits(&text, 2, &hour) && take_byte(&text, ':') &&
                 take_digits(&text, 2, &minute) && take_byte(&text, ':') &&
                 take_digits(&text, 2, &second);
    if (!clock || (take_byte(&text, '.') && !take_fraction(&text, &fraction_ns)) ||
        !take_offset(&text, &offset_seconds) || text.bytes) {
        return BK_INVALID;
    }
    if (month < 1 || month > 12 || day < 1 || day > days_in_month(year, month) || hour > 23 ||
        minute > 59 || second > 60 || year < 1700 || year > 2200) {
        return BK_INVALID;
    }
    int64_t seconds =
        days_from_civil(year, month, day) * 86400 + hour * 3600 + minute * 60 + second;
    *ret_wall_ns = (seconds - offset_seconds) * NS_PER_SECOND + fraction_ns;
    return BK_OK;
}

static bool take_unit(struct slice *text, int64_t *ret_ns)
{
    static const struct {
        const char *name;
        int64_t ns;
    } units[] = {{"ms", NS_PER_MS},
                 {"s", NS_PER_SECOND},
                 {"m", 60 * NS_PER_SECOND},
                 {"h", 3600 * NS_PER_SECOND},
                 {"d", 86400 * NS_PER_SECOND}};
    for (size_t i = 0; i < bk_array_length(units); i++) {
        struct slice name = slice_str(units[i].name);
        if (slice_starts(*text, name)) {
            *text = slice_skip(*text, name.bytes);
            *ret_ns = units[i].ns;
            return true;
        }
    }
    return false;
}

enum bk_err time_parse_http(struct slice text, int64_t *ret_wall_seconds)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    char copy[32], rfc3339[32];
    int64_t ns;
    if (text.bytes != 29) {
        return BK_INVALID;
    }
    memcpy(copy, text.at, 29);
    copy[29] = 0;
    if (copy[3] != ',' || copy[4] != ' ' || copy[7] != ' ' || copy[11] != ' ' || copy[16] != ' ' ||
        strcmp(copy + 25, " GMT") != 0) {
        return BK_INVALID;
    }
    for (int month = 0; month < 12; month++) {
        if (memcmp(months + 3 * month, copy + 8, 3) != 0) {
            continue;
        }
        snprintf(rfc3339, sizeof rfc3339, "%.4s-%02d-%.2sT%.8sZ", copy + 12, month + 1, copy + 5,
                 copy + 17);
        if (time_parse_rfc3339(slice_str(rfc3339), &ns) != BK_OK) {
            return BK_INVALID;
        }
        *ret_wall_seconds = ns / NS_PER_SECOND;
        return BK_OK;
    }
    return BK_INVALID;
}

/* The year that ends in these two digits and is not over 50 years ahead. */
static unsigned whole_year(unsigned digits, int64_t now_seconds)
{
    char now[30];
    unsigned this_year;
    time_format_http(now_seconds, now);
    struct slice text = slice_of((const uint8_t *)now + 12, 4);
    if (!take_digits(&text, 4, &this_year)) {
        return 0;
    }
    unsigned year = this_year / 100 * 100 + 100 + digits;
    while (year > this_year + 50) {
        year -= 100;
    }
    return year;
}

/* "06-Nov-94 08:49:37 GMT" */
static bool rfc850_to_http(struct slice text, int64_t now_seconds, char ret_http[30])
{
    const char *at = (const char *)text.at;
    struct slice digits;
    unsigned year;
    if (text.bytes != 22 || at[2] != '-' || at[6] != '-' || at[9] != ' ') {
        return false;
    }
    digits = slice_of(text.at + 7, 2);
    if (!take_digits(&digits, 2, &year)) {
        return false;
    }
    snprintf(ret_http, 30, "Sun, %.2s %.3s %04u %.12s", at, at + 3,
             whole_year(year, now_seconds) % 10000, at + 10);
    return true;
}

/* "Sun Nov  6 08:49:37 1994" */
static bool asctime_to_http(struct slice text, char ret_http[30])
{
    const char *at = (const char *)text.at;
    if (text.bytes != 24 || at[3] != ' ' || at[7] != ' ' || at[10] != ' ' || at[19] != ' ') {
        return false;
    }
    snprintf(ret_http, 30, "Sun, %c%c %.3s %.4s %.8s GMT", at[8] == ' ' ? '0' : at[8], at[9],
             at + 4, at + 20, at + 11);
    return true;
}

enum bk_err time_parse_http_any(struct slice text, int64_t now_seconds, int64_t *ret_wall_seconds)
{
    char http[30];
    enum bk_err err = time_parse_http(text, ret_wall_seconds);
    size_t comma = slice_find(text, ',');
    bool other = asctime_to_http(text, http) ||
                 (comma + 2 < text.bytes && text.at[comma + 1] == ' ' &&
                  rfc850_to_http(slice_skip(text, comma + 2), now_seconds, http));
    return err == BK_OK || !other ? err : time_parse_http(slice_str(http), ret_wall_seconds);
}

/* Takes the digits that stand first, at most `most` of them are looked at. */
static struct slice leading_digits(struct slice *text, size_t most)
{
    size_t count = 0;
    while (count < text->bytes && count < most && text->at[count] >= '0' &&
           text->at[count] <= '9') {
        count++;
    }
    struct slice digits = slice_of(text->at, count);
    *text = slice_skip(*text, count);
    return digits;
}

/* What stands behind the point: tenths of a unit, hundredths, and so on. */
static int64_t fraction_ns(struct slice digits, int64_t unit_ns)
{
    int64_t sum_ns = 0;
    for (size_t i = 0; i < digits.bytes; i++) {
        unit_ns /= 10;
        sum_ns += (digits.at[i] - '0') * unit_ns;
    }
    return sum_ns;
}

/* One number with its unit; a bare number of seconds when nothing stands before or behind it. */
static bool take_part(struct slice *text, bool first, int64_t max_ns, int64_t *ret_ns)
{
    int64_t value = 0, unit_ns = NS_PER_SECOND;
    struct slice digits = leading_digits(text, 12), fraction = SLICE_EMPTY;
    if (text->bytes > 0 && text->at[0] == '.') {
        *text = slice_skip(*text, 1);
        fraction = leading_digits(text, 9);
        if (fraction.bytes == 0) {
            return false;
        }
    }
    bool bare = text->bytes == 0 && first;
    if (digits.bytes == 0 || (!bare && !take_unit(text, &unit_ns))) {
        return false;
    }
    for (size_t i = 0; i < digits.bytes; i++) {
        value = value * 10 + (digits.at[i] - '0');
    }
    if (value >= max_ns / unit_ns) {
        return false;
    }
    *ret_ns = value * unit_ns + fraction_ns(fraction, unit_ns);
    return true;
}

enum bk_err time_parse_duration(struct slice text, int64_t *ret_ns)
{
    int64_t left_ns = 100LL * 365 * 86400 * NS_PER_SECOND, total_ns = 0, part_ns;
    if (text.bytes == 0) {
        return BK_INVALID;
    }
    for (bool first = true; text.bytes > 0; first = false) {
        if (!take_part(&text, first, left_ns, &part_ns)) {
            return BK_INVALID;
        }
        total_ns += part_ns;
        left_ns -= part_ns;
    }
    *ret_ns = total_ns;
    return BK_OK;
}

enum bk_err time_parse_since(struct slice text, int64_t now_ns, int64_t *ret_wall_ns)
{
    static const char midnight[] = "T00:00:00Z";
    char day[10 + sizeof midnight];
    if (time_parse_rfc3339(text, ret_wall_ns) == BK_OK) {
        return BK_OK;
    }
    if (text.bytes == 10 && text.at[4] == '-') {
        memcpy(day, text.at, 10);
        memcpy(day + 10, midnight, sizeof midnight);
        return time_parse_rfc3339(slice_str(day), ret_wall_ns);
    }
    int64_t duration_ns;
    enum bk_err err = time_parse_duration(text, &duration_ns);
    if (err != BK_OK) {
        return err;
    }
    bool bare_seconds = text.at[text.bytes - 1] >= '0' && text.at[text.bytes - 1] <= '9';
    *ret_wall_ns = bare_seconds ? duration_ns : now_ns - duration_ns;
    return BK_OK;
}
