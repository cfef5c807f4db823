#include "hub/ingress/moments.h"

#include "base/assert.h"

#include <stdbool.h>

static uint64_t keep(uint32_t epoch, int64_t wall_ms)
{
    int64_t at_ms = wall_ms < 0 ? 0 : wall_ms;
    return (uint64_t)epoch << 48 | ((uint64_t)at_ms & 0xffffffffffffULL);
}

void moments_init(struct moments *moments)
{
    atomic_init(&moments->current, MOMENTS_EPOCHS);
    atomic_init(&moments->count, 0);
    atomic_flag_clear(&moments->adding);
}

/* ---- the past */

/* With too many epochs, which only a clock that is set all the time or years of silence make, the
 * last one goes on. */
static uint32_t past_next(struct moments *moments, uint16_t journal, int64_t wall_ms)
{
    uint32_t count = atomic_load_explicit(&moments->count, memory_order_relaxed);
    if (count > MOMENTS_EPOCHS / 2) {
        return count - 1;
    }
    moments->first_ms[count] = moments->last_ms[count] = wall_ms;
    moments->journals[count] = journal;
    atomic_store_explicit(&moments->count, count + 1, memory_order_relaxed);
    return count;
}

uint64_t moments_past(struct moments *moments, uint16_t journal, int64_t wall_ms)
{
    uint32_t count = atomic_load_explicit(&moments->count, memory_order_relaxed);
    uint32_t epoch = count > 0 ? count - 1 : 0;
    int64_t gap_ms = count > 0 ? wall_ms - moments->last_ms[epoch] : 0;
    if (count == 0 || moments->journals[epoch] != journal || gap_ms > MOMENTS_GAP_MS ||
        gap_ms < -MOMENTS_SAME_MS) {
        epoch = past_next(moments, journal, wall_ms);
    }
    if (wall_ms > moments->last_ms[epoch]) {
        moments->last_ms[epoch] = wall_ms;
    }
    return keep(epoch, wall_ms);
}

static int64_t gap_of(int64_t from_ms, int64_t to_ms)
{
    int64_t gap_ms = to_ms - from_ms;
    return gap_ms < 0 ? 0 : gap_ms < MOMENTS_GAP_MS ? gap_ms : MOMENTS_GAP_MS;
}

void moments_begin(struct moments *moments, struct moment now)
{
    uint32_t count = atomic_load_explicit(&moments->count, memory_order_relaxed);
    int64_t next_wall_ms = now.wall_ms, next_steady_ms = now.steady_ms;
    bk_assert(atomic_load(&moments->current) == MOMENTS_EPOCHS);
    for (uint32_t i = count; i > 0; i--) { /* backwards, as each ends before the next begins */
        uint32_t epoch = i - 1;
        if (i < count && moments->journals[epoch] != moments->journals[i]) {
            next_wall_ms = now.wall_ms;
            next_steady_ms = now.steady_ms;
        }
        int64_t last_steady_ms = next_steady_ms - gap_of(moments->last_ms[epoch], next_wall_ms);
        atomic_store_explicit(&moments->offsets[epoch], moments->last_ms[epoch] - last_steady_ms,
                              memory_order_relaxed);
        next_wall_ms = moments->first_ms[epoch];
        next_steady_ms = last_steady_ms - (moments->last_ms[epoch] - moments->first_ms[epoch]);
    }
    (void)moments_now(moments, now);
}

/* ---- now */

static bool is_near(int64_t one_ms, int64_t other_ms)
{
    int64_t apart_ms = one_ms - other_ms;
    return apart_ms <= MOMENTS_SAME_MS && apart_ms >= -MOMENTS_SAME_MS;
}

/* The clock was set: back to where it was once, or elsewhere. Seldom, so a lock may do. */
static uint32_t epoch_change(struct moments *moments, int64_t offset_ms)
{
    while (atomic_flag_test_and_set_explicit(&moments->adding, memory_order_acquire)) {
    }
    uint32_t count = atomic_load_explicit(&moments->count, memory_order_relaxed);
    uint32_t epoch = count;
    while (epoch > 0 && !is_near(offset_ms, atomic_load_explicit(&moments->offsets[epoch - 1],
                                                                 memory_order_relaxed))) {
        epoch--;
    }
    if (epoch > 0) {
        epoch--;
    } else if (count < MOMENTS_EPOCHS) {
        epoch = count;
        atomic_store_explicit(&moments->offsets[epoch], offset_ms, memory_order_relaxed);
        atomic_store_explicit(&moments->count, count + 1, memory_order_relaxed);
    } else {
        epoch = count - 1;
    }
    atomic_store_explicit(&moments->current, epoch, memory_order_release);
    atomic_flag_clear_explicit(&moments->adding, memory_order_release);
    return epoch;
}

uint64_t moments_now(struct moments *moments, struct moment now)
{
    int64_t offset_ms = now.wall_ms - now.steady_ms;
    uint32_t epoch = atomic_load_explicit(&moments->current, memory_order_acquire);
    if (epoch == MOMENTS_EPOCHS ||
        !is_near(offset_ms, atomic_load_explicit(&moments->offsets[epoch], memory_order_relaxed))) {
        epoch = epoch_change(moments, offset_ms);
    }
    return keep(epoch, now.wall_ms);
}
