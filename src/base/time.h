/* time.h - time as numbers and text; the clocks themselves are in ring/ring.h.
 *
 * Units       wall time: nanoseconds since 1970 UTC (int64_t, `_ns`) or seconds;
 *             monotonic time: nanoseconds (uint64_t).
 */
#ifndef BECKET_BASE_TIME_H
#define BECKET_BASE_TIME_H

#include "base/err.h"
#include "base/slice.h"

#define NS_PER_SECOND 1000000000LL
#define NS_PER_MS 1000000LL

/* "2026-01-02T03:04:05.678Z" (24 characters and NUL). */
void time_format_rfc3339(int64_t wall_ns, char ret_text[25]);
/* RFC 3339 date-time with any offset and 0-9 fraction digits. BK_INVALID otherwise. */
enum bk_err time_parse_rfc3339(struct slice text, int64_t *ret_wall_ns) BK_MUST_CHECK;
/* IMF-fixdate of RFC 9110 5.6.7: "Sun, 06 Nov 1994 08:49:37 GMT" (29 characters and NUL). */
void time_format_http(int64_t wall_seconds, char ret_text[30]);
/* The same text read back; the obsolete forms are refused. BK_INVALID. The day of the week may be
 * any. */
enum bk_err time_parse_http(struct slice text, int64_t *ret_wall_seconds) BK_MUST_CHECK;
/* The obsolete forms, too: "Sunday, 06-Nov-94 08:49:37 GMT" (at most 50 years ahead of
 * now_seconds) and "Sun Nov  6 08:49:37 1994". */
enum bk_err time_parse_http_any(struct slice text, int64_t now_seconds,
                                int64_t *ret_wall_seconds) BK_MUST_CHECK;
/* Durations of YAML and flags: "300s", "24h", "7d", "150ms", "1m30s", "1.5h", "0s" or a bare number
 * of seconds. BK_INVALID when malformed, negative or not under 100 years. */
enum bk_err time_parse_duration(struct slice text, int64_t *ret_ns) BK_MUST_CHECK;
/* A point in time for --since/--until: RFC 3339, a day (it begins at
 * midnight, UTC), unix seconds, or a duration before now_ns. */
enum bk_err time_parse_since(struct slice text, int64_t now_ns, int64_t *ret_wall_ns) BK_MUST_CHECK;

#endif
