/* dispatch_due.c - which destination the loader looks at next: a heap by time.
 *
 * Entries name destinations by number, since fares move in their table. A destination is in it
 * while it has retries that are with no core, so one that waits costs nothing until its time, and a
 * turn costs what is due.
 */
#include "base/array.h"
#include "base/assert.h"
#include "hub/deliveries/dispatch_private.h"

#include <stdlib.h>

/* The times of rows are of a clock that is the ring's but for a constant. */
static uint64_t ring_ns(const struct dispatch *dispatch, int64_t due_ms)
{
    int64_t ms = due_ms > dispatch->config.clock_ms ? due_ms - dispatch->config.clock_ms : 0;
    return ms > INT64_MAX / 1000000 ? INT64_MAX : (uint64_t)ms * 1000000U;
}

static void put(struct dispatch *dispatch, size_t at, struct due due)
{
    dispatch->due[at] = due;
    fare_find(dispatch, due.number)->due_at = at + 1;
}

static void sift_up(struct dispatch *dispatch, size_t at, struct due due)
{
    while (at > 0 && dispatch->due[(at - 1) / 2].ns > due.ns) {
        put(dispatch, at, dispatch->due[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    put(dispatch, at, due);
}

static void sift_down(struct dispatch *dispatch, size_t at, struct due due)
{
    for (size_t child; (child = 2 * at + 1) < dispatch->due_count; at = child) {
        bool right = child + 1 < dispatch->due_count &&
                     dispatch->due[child + 1].ns < dispatch->due[child].ns;
        child += right;
        if (dispatch->due[child].ns >= due.ns) {
            break;
        }
        put(dispatch, at, dispatch->due[child]);
    }
    put(dispatch, at, due);
}

static void drop(struct dispatch *dispatch, struct fare *fare)
{
    size_t at = fare->due_at - 1;
    struct due last = dispatch->due[--dispatch->due_count];
    fare->due_at = 0;
    if (at == dispatch->due_count) {
        return;
    }
    if (at > 0 && dispatch->due[(at - 1) / 2].ns > last.ns) {
        sift_up(dispatch, at, last);
    } else {
        sift_down(dispatch, at, last);
    }
}

bool due_reserve(struct dispatch *dispatch, size_t count)
{
    return array_reserve((void **)&dispatch->due, &dispatch->due_size, count,
                         sizeof *dispatch->due);
}

void due_changed(struct dispatch *dispatch, struct fare *fare, uint64_t not_before_ns)
{
    if (fare->retries <= fare->flying || fare->removed) {
        if (fare->due_at != 0) {
            drop(dispatch, fare);
        }
        return;
    }
    struct due due = {ring_ns(dispatch, fare->next_due_ms), fare->number};
    due.ns = due.ns > fare->not_before_ns ? due.ns : fare->not_before_ns;
    due.ns = due.ns > not_before_ns ? due.ns : not_before_ns;
    if (fare->due_at == 0) {
        bk_assert(dispatch->due_count < dispatch->due_size); /* reserved with the fare */
        sift_up(dispatch, dispatch->due_count++, due);
    } else if (due.ns < dispatch->due[fare->due_at - 1].ns) {
        sift_up(dispatch, fare->due_at - 1, due);
    } else {
        sift_down(dispatch, fare->due_at - 1, due);
    }
    dispatch->load_due_ns = due.ns < dispatch->load_due_ns ? due.ns : dispatch->load_due_ns;
}

struct fare *due_first(const struct dispatch *dispatch, uint64_t now_ns)
{
    return due_next_ns(dispatch) <= now_ns ? fare_find(dispatch, dispatch->due[0].number) : NULL;
}

uint64_t due_next_ns(const struct dispatch *dispatch)
{
    return dispatch->due_count > 0 ? dispatch->due[0].ns : UINT64_MAX;
}
