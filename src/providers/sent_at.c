/* Times of requests. */
#include "providers/sent_at.h"
#include "providers/place.h"

int64_t unit_scale(enum row_unit unit)
{
    static const int64_t scales[] = {
        [UNIT_SECONDS] = 1, [UNIT_MS] = 1000, [UNIT_RFC3339] = NS_PER_SECOND};
    return scales[unit];
}

bool unit_parse(enum row_unit unit, struct slice text, int64_t *ret_value)
{
    return parse_time(unit, text, ret_value);
}

enum scheme_verdict scheme_check_age(const struct scheme *scheme, const struct program *program,
                                     int64_t value, int64_t now_seconds)
{
    return check_age(scheme, program, value, now_seconds);
}

enum scheme_verdict scheme_read_body_time(const struct program *program,
                                          const struct scheme_request *request, int64_t *ret_value)
{
    struct slice text = place_value(&program->timestamp, request);
    if (text.bytes == 0) {
        return SCHEME_TIMESTAMP_MISSING;
    }
    return unit_parse(program->unit, text, ret_value) ? SCHEME_GENUINE : SCHEME_TIMESTAMP_MALFORMED;
}
