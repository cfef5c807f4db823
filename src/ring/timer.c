/* timer.c - see timer.h.
 *
 * A timer due at tick D waits in the lowest level whose range reaches it, in the slot named by the
 * bits of D that belong to the level. When the clock enters a slot of a higher level its timers are
 * dealt out to the levels below (a cascade), so each timer moves at most TIMER_LEVELS times. Empty
 * slots are skipped by the bits of `occupied`, however long the wheel has stood still.
 */
#include "ring/timer.h"

#include "base/assert.h"

#define SLOT_BITS 8U
#define SLOT_MASK (TIMER_SLOTS - 1U)
#define WHEEL_TICKS_MAX ((1ULL << (SLOT_BITS * TIMER_LEVELS)) - 1U)

_Static_assert(TIMER_SLOTS == 1U << SLOT_BITS, "a level has SLOT_BITS bits of the tick");
_Static_assert(TIMER_LEVELS * TIMER_SLOTS <= UINT16_MAX, "a slot's number is 16 bit");

/* The first tick at or after a time: a timer must not be early. */
static uint64_t due_tick(uint64_t due_ns)
{
    return due_ns / TIMER_TICK_NS + (due_ns % TIMER_TICK_NS != 0);
}

static void mark(struct timer_wheel *wheel, unsigned level, unsigned slot, bool occupied)
{
    uint64_t bit = 1ULL << (slot % 64);
    wheel->next_known = false;
    if (occupied) {
        wheel->occupied[level][slot / 64] |= bit;
    } else {
        wheel->occupied[level][slot / 64] &= ~bit;
    }
}

/* Put a timer where it belongs as seen from wheel->tick; not before `earliest`. What lies beyond
 * the wheel waits in its last slot and is placed anew from there. */
static void place(struct timer_wheel *wheel, struct timer *timer, uint64_t earliest)
{
    uint64_t due = due_tick(timer->due_ns);
    unsigned level = 0;

    if (due < earliest) {
        due = earliest;
    }
    if (due - wheel->tick > WHEEL_TICKS_MAX) {
        due = wheel->tick + WHEEL_TICKS_MAX;
    }
    while ((due - wheel->tick) >> (SLOT_BITS * (level + 1)) != 0) {
        level++;
    }
    bk_assert(level < TIMER_LEVELS);
    unsigned slot = (unsigned)(due >> (SLOT_BITS * level)) & SLOT_MASK;
    timer->slot = (uint16_t)(level * TIMER_SLOTS + slot);
    list_push_back(&wheel->slots[level][slot], &timer->node);
    mark(wheel, level, slot, true);
}

void timer_wheel_init(struct timer_wheel *wheel, uint64_t now_ns)
{
    *wheel = (struct timer_wheel){.tick = now_ns / TIMER_TICK_NS};
    for (unsigned level = 0; level < TIMER_LEVELS; level++) {
        for (unsigned slot = 0; slot < TIMER_SLOTS; slot++) {
            list_init(&wheel->slots[level][slot]);
        }
    }
}

void timer_start(struct timer_wheel *wheel, struct timer *timer, uint64_t due_ns, timer_fn *fire)
{
    bk_assert(fire != NULL);
    timer_stop(wheel, timer);
    timer->due_ns = due_ns;
    timer->fire = fire;
    place(wheel, timer, wheel->tick + 1);
    wheel->count++;
}

void timer_stop(struct timer_wheel *wheel, struct timer *timer)
{
    if (!timer_running(timer)) {
        return;
    }
    unsigned level = timer->slot / TIMER_SLOTS;
    unsigned slot = timer->slot % TIMER_SLOTS;
    bk_assert(level < TIMER_LEVELS && wheel->count > 0);
    list_remove(&timer->node);
    wheel->count--;
    if (list_empty(&wheel->slots[level][slot])) {
        mark(wheel, level, slot, false);
    }
}

/* How many slots after `slot` the next occupied one of a level comes: 1 to TIMER_SLOTS (the same
 * slot again), or 0 when all are empty. */
static unsigned next_occupied(const uint64_t *occupied, unsigned slot)
{
    unsigned start = (slot + 1) & SLOT_MASK;
    unsigned words = TIMER_SLOTS / 64;

    for (unsigned i = 0; i <= words; i++) {
        unsigned word = (start / 64 + i) % words;
        uint64_t bits = occupied[word];
        if (i == 0) {
            bits &= ~0ULL << (start % 64);
        } else if (i == words) {
            bits &= ~(~0ULL << (start % 64));
        }
        if (bits != 0) {
            unsigned found = word * 64 + (unsigned)__builtin_ctzll(bits);
            return ((found - start) & SLOT_MASK) + 1;
        }
    }
    return 0;
}

/* The next tick at which a slot must be looked at; UINT64_MAX when the wheel is empty. Until the
 * clock is there, it changes only with a slot. */
static uint64_t next_tick(struct timer_wheel *wheel)
{
    uint64_t next = UINT64_MAX;

    if (wheel->next_known) {
        return wheel->next_tick;
    }
    for (unsigned level = 0; level < TIMER_LEVELS && wheel->count > 0; level++) {
        unsigned shift = SLOT_BITS * level;
        uint64_t turn = wheel->tick >> shift;
        unsigned steps = next_occupied(wheel->occupied[level], (unsigned)turn & SLOT_MASK);
        if (steps != 0 && (turn + steps) << shift < next) {
            next = (turn + steps) << shift;
        }
    }
    wheel->next_tick = next;
    wheel->next_known = true;
    return next;
}

uint64_t timer_wheel_next_ns(struct timer_wheel *wheel)
{
    uint64_t tick = next_tick(wheel);
    return tick > UINT64_MAX / TIMER_TICK_NS ? UINT64_MAX : tick * TIMER_TICK_NS;
}

/* The clock enters this slot: deal its timers out to the levels below. */
static void cascade(struct timer_wheel *wheel, unsigned level, unsigned slot)
{
    struct list moving;

    list_init(&moving);
    list_splice_back(&moving, &wheel->slots[level][slot]);
    mark(wheel, level, slot, false);
    for (struct list *node; (node = list_pop_front(&moving)) != NULL;) {
        place(wheel, bk_container_of(node, struct timer, node), wheel->tick);
    }
}

static void run_tick(struct timer_wheel *wheel)
{
    for (unsigned level = TIMER_LEVELS - 1; level > 0; level--) {
        unsigned shift = SLOT_BITS * level;
        if ((wheel->tick & ((1ULL << shift) - 1)) == 0) {
            cascade(wheel, level, (unsigned)(wheel->tick >> shift) & SLOT_MASK);
        }
    }
    /* What fire() starts lands in another slot: the earliest is the next tick. */
    unsigned slot = (unsigned)wheel->tick & SLOT_MASK;
    struct list *due = &wheel->slots[0][slot];
    while (!list_empty(due)) {
        struct timer *timer = bk_container_of(due->next, struct timer, node);
        bk_assert(due_tick(timer->due_ns) <= wheel->tick);
        timer_stop(wheel, timer);
        timer->fire(timer);
    }
}

void timer_wheel_run(struct timer_wheel *wheel, uint64_t now_ns)
{
    uint64_t now = now_ns / TIMER_TICK_NS;

    while (wheel->tick < now) {
        uint64_t next = next_tick(wheel);
        if (next > now) {
            wheel->tick = now;
            return;
        }
        wheel->tick = next;
        wheel->next_known = false;
        run_tick(wheel);
    }
}
