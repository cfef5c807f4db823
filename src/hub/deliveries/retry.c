#include "hub/deliveries/retry.h"

#include "base/assert.h"

enum retry_verdict retry_verdict(uint16_t status)
{
    if (status >= 200 && status <= 299) {
        return RETRY_DELIVERED;
    }
    return status == 410 ? RETRY_GONE : RETRY_AGAIN;
}

static uint64_t spread(uint32_t delay_ms, uint16_t jitter_permille, uint32_t random)
{
    uint64_t width = (uint64_t)delay_ms * jitter_permille / 1000; /* to both sides */
    uint64_t shift = (2 * width + 1) * random >> 32;
    return delay_ms - width + shift;
}

bool retry_delay(const struct retry_schedule *schedule, uint32_t number, uint32_t after_ms,
                 uint32_t random, uint64_t *ret_delay_ms)
{
    bk_assert(number > 0);
    bk_assert(schedule->jitter_permille <= 1000);
    if (number > schedule->count) {
        return false;
    }
    uint64_t delay_ms = spread(schedule->delays_ms[number - 1], schedule->jitter_permille, random);
    /* Behind a Retry-After, too, not everything comes at once. */
    uint64_t asked_ms = after_ms + ((uint64_t)after_ms * random >> 32) / 10;
    *ret_delay_ms = asked_ms > delay_ms ? asked_ms : delay_ms;
    return true;
}

/* ---- Retry-After */

static bool digits(struct slice text, uint64_t max, uint64_t *ret_number)
{
    uint64_t number = 0;
    if (text.bytes == 0) {
        return false;
    }
    for (size_t i = 0; i < text.bytes; i++) {
        if (text.at[i] < '0' || text.at[i] > '9') {
            return false;
        }
        number = number * 10 + (uint64_t)(text.at[i] - '0');
        number = number > max ? max : number;
    }
    *ret_number = number;
    return true;
}

static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
    /* Days since 1970 of a date of the Gregorian calendar: years from March on, in eras of 400. */
    year -= month <= 2;
    int64_t era = year / 400, of_era = year % 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

/* The form that must be sent: "Sun, 06 Nov 1994 08:49:37 GMT". */
static bool http_date(struct slice text, int64_t *ret_seconds)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    const char *at = (const char *)text.at;
    uint64_t day, year, hour, minute, second;
    if (text.bytes != 29 || memcmp(at + 3, ", ", 2) != 0 || memcmp(at + 25, " GMT", 4) != 0 ||
        at[7] != ' ' || at[11] != ' ' || at[16] != ' ' || at[19] != ':' || at[22] != ':') {
        return false;
    }
    int64_t month = 0;
    for (int64_t i = 0; i < 12; i++) {
        month = memcmp(at + 8, months + 3 * i, 3) == 0 ? i + 1 : month;
    }
    if (month == 0 || !digits(slice_of(at + 5, 2), 99, &day) ||
        !digits(slice_of(at + 12, 4), 9999, &year) || !digits(slice_of(at + 17, 2), 99, &hour) ||
        !digits(slice_of(at + 20, 2), 99, &minute) || !digits(slice_of(at + 23, 2), 99, &second) ||
        day < 1 || day > 31 || hour > 23 || minute > 59 || second > 60 || year < 1970) {
        return false;
    }
    *ret_seconds = days_of((int64_t)year, month, (int64_t)day) * 86400 + (int64_t)hour * 3600 +
                   (int64_t)minute * 60 + (int64_t)second;
    return true;
}

uint32_t retry_after_ms(struct slice value, int64_t now_seconds)
{
    uint64_t seconds = 0;
    int64_t at = 0;
    value = slice_trim(value);
    if (!digits(value, RETRY_AFTER_MS_MAX, &seconds)) {
        if (!http_date(value, &at) || at <= now_seconds) {
            return 0;
        }
        seconds = (uint64_t)(at - now_seconds);
    }
    return seconds >= RETRY_AFTER_MS_MAX / 1000 ? RETRY_AFTER_MS_MAX : (uint32_t)seconds * 1000;
}
