#include "hub/deliveries/flow.h"

#include "base/assert.h"

#define ONE           256U          /* of the window's unit */
#define RATE_BURST_NS 1000000000ULL /* a second's worth may come at once */

static uint64_t load(_Atomic uint64_t *at)
{
    return atomic_load_explicit(at, memory_order_relaxed);
}

static void put(_Atomic uint64_t *at, uint64_t value)
{
    atomic_store_explicit(at, value, memory_order_relaxed);
}

static bool swap(_Atomic uint64_t *at, uint64_t from, uint64_t to)
{
    return atomic_compare_exchange_strong_explicit(at, &from, to, memory_order_relaxed,
                                                   memory_order_relaxed);
}

static uint32_t window_of(const struct flow *flow, const struct flow_limits *limits)
{
    uint32_t limit = limits->concurrency;
    uint32_t window = flow->window == 0 ? limit : flow->window / ONE;
    return window < 1 ? 1 : window < limit ? window : limit;
}

/* The breaker was open and is not any more: begin small. Lifted while it was closed: as before.
 * What hangs from before takes no part of the window, else nothing went before it ends. */
static void begin_again(struct flow *flow)
{
    if (flow->was_open) {
        flow->window = ONE;
        flow->threshold = UINT32_MAX;
    }
    flow->was_open = false;
    flow->before = flow->inflight;
    flow->settling = 0;
    flow->begun++;
}

static uint32_t counted(const struct flow *flow)
{
    return flow->inflight - flow->before;
}

/* GCRA over all cores: each delivery moves the theoretical arrival on. False: come again then. */
static bool rate_allows(struct flow_shared *shared, uint32_t per_second, uint64_t now_ns,
                        uint64_t *ret_at_ns)
{
    uint64_t each_ns = 1000000000ULL / per_second;
    for (;;) {
        uint64_t arrival_ns = load(&shared->arrival_ns);
        uint64_t from_ns = arrival_ns > now_ns ? arrival_ns : now_ns;
        if (from_ns + each_ns > now_ns + RATE_BURST_NS) {
            *ret_at_ns = from_ns + each_ns - RATE_BURST_NS;
            return false;
        }
        if (swap(&shared->arrival_ns, arrival_ns, from_ns + each_ns)) {
            return true;
        }
    }
}

static bool count_in(struct flow *flow, struct flow_shared *shared, uint32_t concurrency)
{
    if (atomic_fetch_add_explicit(&shared->inflight, 1, memory_order_relaxed) >= concurrency) {
        atomic_fetch_sub_explicit(&shared->inflight, 1, memory_order_relaxed);
        return false;
    }
    flow->inflight++;
    return true;
}

/* Another probe hangs, or what began before the breaker opened takes all of the concurrency. */
static bool probe_waits(struct flow_shared *shared, const struct flow_limits *limits,
                        uint64_t now_ns, uint64_t *ret_at_ns)
{
    uint64_t look_ns = load(&shared->interval_ns);
    look_ns = look_ns < FLOW_PROBE_LOOK_NS ? FLOW_PROBE_LOOK_NS : look_ns;
    *ret_at_ns = now_ns + (look_ns < FLOW_INTERVAL_TOLD_NS ? look_ns : FLOW_INTERVAL_TOLD_NS);
    return load(&shared->probing_ns) > now_ns || load(&shared->inflight) >= limits->concurrency;
}

static enum flow_answer take_probe(struct flow *flow, struct flow_shared *shared,
                                   const struct flow_limits *limits, uint64_t probe_ns,
                                   uint64_t now_ns, uint64_t *ret_at_ns)
{
    flow->was_open = true;
    if (probe_ns > now_ns) {
        *ret_at_ns = probe_ns;
        return FLOW_LATER;
    }
    if (probe_waits(shared, limits, now_ns, ret_at_ns)) {
        return FLOW_LATER;
    }
    /* Whoever moves the time on has the probe. */
    if (!swap(&shared->probe_ns, probe_ns, now_ns + load(&shared->interval_ns))) {
        *ret_at_ns = now_ns + FLOW_LOOK_NS;
        return FLOW_LATER;
    }
    put(&shared->probing_ns, now_ns + FLOW_PROBE_NS_MAX);
    atomic_fetch_add_explicit(&shared->inflight, 1, memory_order_relaxed);
    flow->inflight++;
    return FLOW_PROBE;
}

enum flow_answer flow_take(struct flow *flow, struct flow_shared *shared,
                           const struct flow_limits *limits, uint64_t now_ns,
                           struct flow_place *ret_place, uint64_t *ret_at_ns)
{
    bk_assert(limits->concurrency > 0);
    uint64_t hold_ns = load(&shared->hold_ns);
    uint64_t probe_ns = load(&shared->probe_ns);
    uint64_t lifts = load(&shared->lifts);
    if (flow->lifts != lifts || (flow->was_open && probe_ns == 0)) {
        flow->lifts = lifts;
        begin_again(flow);
    }
    *ret_place = (struct flow_place){flow->begun, probe_ns != 0};
    if (hold_ns > now_ns) {
        *ret_at_ns = hold_ns;
        return FLOW_LATER;
    }
    if (probe_ns != 0) {
        return take_probe(flow, shared, limits, probe_ns, now_ns, ret_at_ns);
    }
    if (counted(flow) >= window_of(flow, limits)) {
        return FLOW_FULL;
    }
    if (!count_in(flow, shared, limits->concurrency)) {
        *ret_at_ns = now_ns + FLOW_LOOK_NS;
        return FLOW_LATER;
    }
    if (limits->per_second > 0 && !rate_allows(shared, limits->per_second, now_ns, ret_at_ns)) {
        atomic_fetch_sub_explicit(&shared->inflight, 1, memory_order_relaxed);
        flow->inflight--;
        return FLOW_LATER;
    }
    return FLOW_GO;
}

static void grow(struct flow *flow)
{
    if (flow->window == 0) {
        return; /* as much as the limit already */
    }
    uint32_t step = flow->window < flow->threshold ? ONE : ONE * ONE / flow->window;
    flow->window += step > 0 ? step : 1;
    flow->window = flow->window < ONE * 4096U ? flow->window : ONE * 4096U;
}

static void shrink(struct flow *flow)
{
    if (flow->settling > 0) {
        return; /* these were under way when it was halved */
    }
    uint32_t used = (counted(flow) + 1) * ONE; /* a window wider than that was never tried */
    uint32_t now = flow->window == 0 || flow->window > used ? used : flow->window;
    flow->window = now / 2 < ONE ? ONE : now / 2;
    flow->threshold = flow->window;
    flow->settling = counted(flow);
}

static void count_failure(struct flow_shared *shared, uint64_t took_ns, uint64_t now_ns)
{
    uint64_t weight = took_ns >= FLOW_SLOW_NS ? FLOW_SLOW_WEIGHT : 1;
    uint64_t within_ns = FLOW_TRIP_NS + (weight > 1 ? FLOW_TRIP * took_ns : 0);
    if (load(&shared->failures) == 0 || now_ns - load(&shared->since_ns) > within_ns) {
        put(&shared->failures, 0);
        put(&shared->since_ns, now_ns);
    }
    uint64_t failures =
        atomic_fetch_add_explicit(&shared->failures, weight, memory_order_relaxed) + weight;
    if (failures < FLOW_TRIP) {
        return;
    }
    put(&shared->interval_ns, FLOW_INTERVAL_FIRST_NS);
    (void)swap(&shared->probe_ns, 0, now_ns + FLOW_INTERVAL_FIRST_NS);
}

static void close_breaker(struct flow_shared *shared)
{
    put(&shared->failures, 0);
    put(&shared->probe_ns, 0);
}

void flow_lift(struct flow_shared *shared)
{
    put(&shared->hold_ns, 0);
    put(&shared->probing_ns, 0);
    close_breaker(shared);
    atomic_fetch_add_explicit(&shared->lifts, 1, memory_order_relaxed);
}

uint64_t flow_lifts(struct flow_shared *shared)
{
    return load(&shared->lifts);
}

void flow_forget(struct flow *flow, const struct flow_place *place)
{
    bool before = place->begun != flow->begun;
    bk_assert(flow->inflight > 0 && (!before || flow->before > 0));
    flow->inflight--;
    flow->before -= before;
    flow->settling -= !before && flow->settling > 0;
}

bool flow_give(struct flow *flow, struct flow_shared *shared, const struct flow_place *place,
               enum flow_outcome outcome, uint64_t hold_ns, uint64_t took_ns, uint64_t now_ns)
{
    bool before = place->begun != flow->begun, probe = place->probe;
    flow_forget(flow, place);
    atomic_fetch_sub_explicit(&shared->inflight, 1, memory_order_relaxed);
    if (hold_ns > load(&shared->hold_ns)) {
        put(&shared->hold_ns, hold_ns);
    }
    if (probe) {
        put(&shared->probing_ns, 0);
    }
    if (outcome == FLOW_CANCELLED) {
        return false;
    }
    if (outcome == FLOW_GOOD) {
        if (load(&shared->failures) != 0 || load(&shared->probe_ns) != 0) {
            close_breaker(shared);
        }
        if (!before) {
            grow(flow);
        }
        return false;
    }
    if (!before) {
        shrink(flow);
    }
    if (probe) {
        uint64_t interval = load(&shared->interval_ns), longer = interval * 2;
        longer = longer > took_ns ? longer : took_ns;
        longer = longer < FLOW_INTERVAL_LAST_NS ? longer : FLOW_INTERVAL_LAST_NS;
        put(&shared->interval_ns, longer);
        put(&shared->probe_ns, now_ns + longer);
        return interval < FLOW_INTERVAL_TOLD_NS && longer >= FLOW_INTERVAL_TOLD_NS;
    }
    if (load(&shared->probe_ns) == 0) {
        count_failure(shared, took_ns, now_ns);
    }
    return false;
}

uint32_t flow_room(const struct flow *flow, struct flow_shared *shared,
                   const struct flow_limits *limits, uint64_t now_ns, uint64_t *ret_at_ns)
{
    uint64_t probe_ns = load(&shared->probe_ns), wait_ns = flow_brake_ns(shared);
    *ret_at_ns = 0;
    if (wait_ns > now_ns) {
        *ret_at_ns = wait_ns;
        return 0;
    }
    if (probe_ns != 0) {
        bool waits = probe_waits(shared, limits, now_ns, &wait_ns);
        *ret_at_ns = waits ? wait_ns : 0;
        return waits ? 0 : 1;
    }
    uint32_t window = flow ? window_of(flow, limits) : limits->concurrency;
    uint64_t inflight = flow ? counted(flow) : load(&shared->inflight);
    return inflight < window ? (uint32_t)(window - inflight) : 0;
}
