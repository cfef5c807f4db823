/* retry.h - when a delivery is tried again, and when not. Pure.
 *
 * Purpose     The schedule of a destination, jitter, and Retry-After in both its forms (RFC 9110
 *             10.2.3). The answer's status decides:
 *                 2xx            delivered
 *                 410            the destination says it is gone: it is paused, the event waits
 *                 everything else, no answer included: tried again, until the schedule is over.
 *             508 to an event that came through becket too often ends it (deliver_call.c).
 *             3xx is a failure: a redirect is not followed, for it could lead anywhere.
 *             No other status is taken for final, 400, 404 and 501 neither: Svix and others try
 *             those again, too, for a deployment that went wrong answers with them, and what was
 *             given up for it would be lost where the mending takes an hour.
 * Retry-After Counts with 429 and 503. The later of it and the schedule's own delay is taken, and
 *             it also holds back the destination's other events until then.
 */
#ifndef BECKET_HUB_RETRY_H
#define BECKET_HUB_RETRY_H

#include "base/slice.h"

/* A receiver may not push a retry further away than this. */
#define RETRY_AFTER_MS_MAX (24U * 3600U * 1000U)

enum retry_verdict { RETRY_DELIVERED, RETRY_AGAIN, RETRY_GONE };

/* status 0: no answer came. */
enum retry_verdict retry_verdict(uint16_t status);

struct retry_schedule {
    const uint32_t *delays_ms; /* before try 2, 3, … */
    unsigned count;
    uint16_t jitter_permille; /* 200: each delay is spread over 80 to 120 % */
};

/* Delay before the next try when `number` tries (1 …) were made. False: the schedule is over.
 * random: 32 fresh bits. */
bool retry_delay(const struct retry_schedule *schedule, uint32_t number, uint32_t after_ms,
                 uint32_t random, uint64_t *ret_delay_ms);

/* Value of a Retry-After header: seconds, or an HTTP date in any of its three forms. 0 when it is
 * neither or lies in the past; at most RETRY_AFTER_MS_MAX. date: the answer's Date, or nothing: a
 * time of the receiver's clock is measured by that clock; now_seconds is ours. */
uint32_t retry_after_ms(struct slice value, struct slice date, int64_t now_seconds);

#endif
