/* flow.h - how much of a destination's backlog may be under way now. Pure: time comes in.
 *
 * Purpose     Four brakes, in the order in which they are asked:
 *                 hold      a receiver said Retry-After: nothing before
 *                 breaker   FLOW_TRIP failures in a row within FLOW_TRIP_NS, on all cores together,
 *                           open it: one probe per interval, whoever takes it, and none beside
 *                           one that is under way; a success closes it. The interval doubles
 *                           from 10 ms to 30 s: who only stumbles is not kept waiting, who is
 *                           down costs two tries a minute. A failure that took long (a timeout)
 *                           counts as FLOW_SLOW_WEIGHT, its time does not count to the
 *                           FLOW_TRIP_NS, and no interval is shorter: who hangs holds a slot
 *                           all that time
 *                 window    per core: shrinks by half on failure, grows by one per window of
 *                           successes; after the breaker it starts at 1 and doubles (slow start).
 *                           What was under way before that, or before a lift, has no part in it:
 *                           it may hang for long
 *                 limits    the destination's own: concurrency and rate, over all cores
 * Lifted      hold and breaker, by whoever resumes the destination or gives it another address: a
 *             receiver that once asked for a day must not be able to insist on it.
 * Shared      struct flow_shared lies in destination->state (routes/destination.h) and is touched
 *             by all cores with atomics; struct flow is one core's.
 * Cost        Four relaxed loads and one atomic add per delivery.
 */
#ifndef BECKET_HUB_FLOW_H
#define BECKET_HUB_FLOW_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define FLOW_TRIP              8U
#define FLOW_TRIP_NS           10000000000ULL
#define FLOW_SLOW_NS           1000000000ULL
#define FLOW_SLOW_WEIGHT       3U
#define FLOW_INTERVAL_FIRST_NS 10000000ULL
#define FLOW_INTERVAL_TOLD_NS  1000000000ULL /* from here on it is called failing */
#define FLOW_INTERVAL_LAST_NS  30000000000ULL
/* No completion of ours will tell when another core's is over: look again then. */
#define FLOW_LOOK_NS 10000000ULL
/* While a probe is under way: its end is told to one core only. */
#define FLOW_PROBE_LOOK_NS 100000000ULL
/* No try takes longer: a destination's timeout is 5 min at most. */
#define FLOW_PROBE_NS_MAX 360000000000ULL

struct flow_shared {
    _Atomic uint64_t inflight;
    _Atomic uint64_t arrival_ns;  /* rate limit: theoretical arrival time (GCRA) */
    _Atomic uint64_t failures;    /* in a row */
    _Atomic uint64_t since_ns;    /* the first of them */
    _Atomic uint64_t probe_ns;    /* the breaker: 0 = closed, else when the next probe may go */
    _Atomic uint64_t interval_ns; /* between probes */
    _Atomic uint64_t hold_ns;     /* nothing before this */
    _Atomic uint64_t lifts;       /* how often it was lifted */
    _Atomic uint64_t probing_ns;  /* a probe is under way, until then at the latest; 0 = none is */
};

struct flow {
    uint32_t window;    /* in 1/256 deliveries; 0 = not begun: as much as the limit */
    uint32_t threshold; /* slow start ends there */
    uint32_t inflight;  /* of this core */
    uint32_t before;    /* of these: taken before the breaker closed, or before a lift */
    uint32_t settling;  /* completions to come before the window is halved again */
    uint32_t begun;     /* how often it began again */
    uint64_t lifts;     /* as they were seen last */
    bool was_open;
};

/* What flow_take gave, to be given back. */
struct flow_place {
    uint32_t begun;
    bool probe;
};

struct flow_limits {
    uint32_t concurrency; /* > 0 */
    uint32_t per_second;  /* 0 = none */
};

enum flow_answer {
    FLOW_GO,
    FLOW_PROBE, /* go: whether the breaker closes is seen by this one */
    FLOW_FULL,  /* ask again when a delivery of this core ended */
    FLOW_LATER  /* ask again at *ret_at_ns */
};

enum flow_outcome {
    FLOW_GOOD,
    FLOW_BAD,      /* failed */
    FLOW_CANCELLED /* says nothing about the receiver */
};

/* May one more start? GO and PROBE count it in. */
enum flow_answer flow_take(struct flow *flow, struct flow_shared *shared,
                           const struct flow_limits *limits, uint64_t now_ns,
                           struct flow_place *ret_place, uint64_t *ret_at_ns);
/* One ended, after took_ns. hold_ns: absolute, 0 = none. Returns true when it is called failing
 * from now on. */
bool flow_give(struct flow *flow, struct flow_shared *shared, const struct flow_place *place,
               enum flow_outcome outcome, uint64_t hold_ns, uint64_t took_ns, uint64_t now_ns);
/* Forget what the receiver asked for and how it failed. Any thread. */
void flow_lift(struct flow_shared *shared);
/* How often that was done. */
uint64_t flow_lifts(struct flow_shared *shared);
/* The destination's state is gone: only this core's count. */
void flow_forget(struct flow *flow, const struct flow_place *place);

/* How many a core might start now, 0 … concurrency, without counting anything: to ask for no more
 * than that. Any thread. *ret_at_ns: when to ask again if 0 because of hold or breaker, else 0. */
uint32_t flow_room(const struct flow *flow, struct flow_shared *shared,
                   const struct flow_limits *limits, uint64_t now_ns, uint64_t *ret_at_ns);
/* Open, and no longer a matter of moments. */
static inline bool flow_is_failing(struct flow_shared *shared)
{
    return atomic_load_explicit(&shared->probe_ns, memory_order_relaxed) != 0 &&
           atomic_load_explicit(&shared->interval_ns, memory_order_relaxed) >=
               FLOW_INTERVAL_TOLD_NS;
}
/* Nothing goes before this; 0, or in the past: neither hold nor breaker keep it. */
static inline uint64_t flow_brake_ns(struct flow_shared *shared)
{
    uint64_t hold_ns = atomic_load_explicit(&shared->hold_ns, memory_order_relaxed);
    uint64_t probe_ns = atomic_load_explicit(&shared->probe_ns, memory_order_relaxed);
    return hold_ns > probe_ns ? hold_ns : probe_ns;
}
static inline bool flow_is_open(struct flow_shared *shared)
{
    return atomic_load_explicit(&shared->probe_ns, memory_order_relaxed) != 0;
}

#endif
