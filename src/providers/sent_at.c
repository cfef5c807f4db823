/* Times of requests. */
#include "providers/sent_at.h"
#include "providers/place.h"

int64_t unit_scale(enum row_unit unit)
{
    static const int64_t scales[] = {[UNIT_SECONDS] = 1,
                                     [UNIT_MS] = 1000,
                                     [UNIT_RFC3339] = NS_PER_SECOND,
                                     [UNIT_ISO_UTC] = NS_PER_SECOND,
                                     [UNIT_HTTP_DATE] = 1};
    return scales[unit];
}

/* "2026-01-01T00:00:00.123456", as it stands, or with Z behind it. */
static bool parse_utc(struct slice text, int64_t *ret_value)
{
    uint8_t room[64];
    if (time_parse_rfc3339(text, ret_value) == BK_OK) {
        return true;
    }
    if (text.bytes >= sizeof room) {
        return false;
    }
    memcpy(room, text.at, text.bytes);
    room[text.bytes] = 'Z';
    return time_parse_rfc3339(slice_of(room, text.bytes + 1), ret_value) == BK_OK;
}

RARE bool parse_words(enum row_unit unit, struct slice text, int64_t *ret_value)
{
    return text.bytes != 0 && (unit == UNIT_HTTP_DATE ? time_parse_http(text, ret_value) == BK_OK
                                                      : parse_utc(text, ret_value));
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
