/* sent_at.h - when a request was sent, as it says, and whether that is too long ago. */
#ifndef BECKET_PROVIDERS_SENT_AT_H
#define BECKET_PROVIDERS_SENT_AT_H

#include "providers/program.h"

#include "base/time.h"

/* Units per second, and a timestamp's text as a number of units. */
int64_t unit_scale(enum row_unit unit);
bool unit_parse(enum row_unit unit, struct slice text, int64_t *ret_value);
/* GENUINE, STALE or FUTURE. */
enum scheme_verdict scheme_check_age(const struct scheme *scheme, const struct program *program,
                                     int64_t value, int64_t now_seconds);
/* Reads and checks a timestamp that is in the (signed) body. */
enum scheme_verdict scheme_read_body_time(const struct program *program,
                                          const struct scheme_request *request, int64_t *ret_value);

/* Of the units behind UNIT_RFC3339. */
bool parse_words(enum row_unit unit, struct slice text, int64_t *ret_value);

/* The same, inlined. */
static inline bool parse_time(enum row_unit unit, struct slice text, int64_t *ret_value)
{
    if (__builtin_expect(unit >= UNIT_RFC3339, 0)) {
        return unit == UNIT_RFC3339 ? time_parse_rfc3339(text, ret_value) == BK_OK
                                    : parse_words(unit, text, ret_value);
    }
    int64_t value = 0;
    if (text.bytes == 0 || text.bytes > 18) {
        return false;
    }
    for (size_t i = 0; i < text.bytes; i++) {
        unsigned digit = (unsigned)text.at[i] - '0';
        if (digit > 9) {
            return false;
        }
        value = value * 10 + (int64_t)digit;
    }
    *ret_value = value;
    return true;
}

static inline enum scheme_verdict check_age(const struct scheme *scheme,
                                            const struct program *program, int64_t value,
                                            int64_t now_seconds)
{
    int64_t scale = program->scale;
    int64_t window = __builtin_expect(scheme->tolerance_seconds >= 0, 0)
                         ? scheme->tolerance_seconds * scale
                         : program->window;
    /* Years that a sender makes up may be too far away for a difference with a sign. */
    int64_t now = now_seconds * scale;
    uint64_t age = (uint64_t)now - (uint64_t)value;
    if (__builtin_expect(age + (uint64_t)window <= 2 * (uint64_t)window, 1) || window == 0) {
        return SCHEME_GENUINE;
    }
    return value < now ? SCHEME_STALE : SCHEME_FUTURE;
}

#endif
