/* timer.h - a hierarchical timer wheel per ring owner (Varghese & Lauck 1987).
 *
 * Purpose     Start and stop in O(1), millions of timers, no kernel timers: the next
 *             expiry goes into ring_turn()'s deadline, so an idle wheel costs no
 *             wake-up.
 * Ownership   struct timer is intrusive; the caller owns it and stops it before freeing.
 * Threads     The owning thread.
 * Accuracy    4 levels x 256 slots, 8 ms tick: never early, at most one tick plus the
 *             turn late. What lies beyond the wheel (~397 days) waits in its last slot and
 *             is placed again from there.
 */
#ifndef BECKET_RING_TIMER_H
#define BECKET_RING_TIMER_H

#include "base/list.h"

#include <stdint.h>

#define TIMER_TICK_NS 8000000ULL
#define TIMER_LEVELS 4U
#define TIMER_SLOTS 256U

struct timer;
typedef void timer_fn(struct timer *timer);

struct timer {
    struct list node;
    uint64_t due_ns;
    timer_fn *fire;
    uint16_t slot;
};

struct timer_wheel {
    uint64_t tick; /* the last tick that was run */
    uint32_t count;
    bool next_known;    /* no slot became occupied or empty since … */
    uint64_t next_tick; /* … this was looked for */
    uint64_t occupied[TIMER_LEVELS][TIMER_SLOTS / 64];
    struct list slots[TIMER_LEVELS][TIMER_SLOTS];
};

void timer_wheel_init(struct timer_wheel *wheel, uint64_t now_ns);
/* Restarting a running timer moves it. */
void timer_start(struct timer_wheel *wheel, struct timer *timer, uint64_t due_ns, timer_fn *fire);
void timer_stop(struct timer_wheel *wheel, struct timer *timer);
static inline bool timer_running(const struct timer *timer)
{
    return list_linked(&timer->node);
}
/* When timer_wheel_run() has something to do next; UINT64_MAX when nothing runs. May be earlier
 * than the first expiry (a cascade), never later. */
uint64_t timer_wheel_next_ns(struct timer_wheel *wheel);
/* Fire all that are due. A fired timer is stopped before fire() runs and may start itself again. */
void timer_wheel_run(struct timer_wheel *wheel, uint64_t now_ns);

#endif
