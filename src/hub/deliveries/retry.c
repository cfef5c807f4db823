#include "hub/deliveries/retry.h"

#include "base/assert.h"
#include "base/time.h"

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

uint32_t retry_after_ms(struct slice value, struct slice date, int64_t now_seconds)
{
    uint64_t seconds = 0;
    int64_t at = 0;
    value = slice_trim(value);
    if (!digits(value, RETRY_AFTER_MS_MAX, &seconds)) {
        if (time_parse_http_any(slice_trim(date), now_seconds, &at) == BK_OK) {
            now_seconds = at;
        }
        if (time_parse_http_any(value, now_seconds, &at) != BK_OK || at <= now_seconds) {
            return 0;
        }
        seconds = (uint64_t)(at - now_seconds);
    }
    return seconds >= RETRY_AFTER_MS_MAX / 1000 ? RETRY_AFTER_MS_MAX : (uint32_t)seconds * 1000;
}
