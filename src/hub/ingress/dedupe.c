#include "hub/ingress/dedupe.h"

#include "base/assert.h"
#include "base/pages.h"
#include "base/sha256.h"

#include <sched.h>
#include <stdlib.h>

#define GENERATIONS_MAX 16U
#define SLOTS_FIRST     (1U << 17) /* 4 MiB of address space */
#define SLOTS_LARGEST   (1U << 21) /* 64 MiB */
#define GROWTH_LEAD     (1U << 16) /* free slots at which a small generation wants a successor */

enum { EMPTY = 0, BUSY = 1, PENDING = 2, DURABLE = 3 };
#define STATE_MASK 3ULL
/* A slot whose event was not stored: DURABLE with position 0, which no event has. */
#define RELEASED ((uint64_t)DURABLE)

struct generation {
    size_t mask;
    size_t map_bytes;
    _Atomic size_t used;
    _Atomic uint64_t newest; /* moments.h */
    struct dedupe_slot *slots;
};

/* An immutable list of generations, newest first; replaced as a whole. */
struct generations {
    unsigned count;
    struct generation *at[GENERATIONS_MAX];
};

struct dedupe {
    _Atomic(struct generations *) generations;
    size_t bytes_max;
    _Atomic int64_t horizon_ms;
    struct moments moments;
};

struct dedupe_garbage {
    struct generations *list;
    unsigned count;
    struct generation *at[GENERATIONS_MAX];
};

static uint64_t meta_pack(uint64_t state, struct journal_position position)
{
    return state | position.sequence << 2 | (uint64_t)position.journal << 48;
}

static struct journal_position meta_position(uint64_t meta)
{
    return (struct journal_position){(uint16_t)(meta >> 48), (meta >> 2) & 0x3fffffffffffULL};
}

static struct generation *generation_make(size_t slots)
{
    struct generation *generation = calloc(1, sizeof *generation);
    size_t bytes = slots * sizeof(struct dedupe_slot);
    struct dedupe_slot *map = pages_map(bytes);
    if (!generation || !map) {
        free(generation);
        if (map) {
            pages_unmap(map, bytes);
        }
        return NULL;
    }
    /* Its first claims would touch all of it, on a core that has other things to do. */
    pages_populate(map, bytes);
    *generation = (struct generation){.mask = slots - 1, .map_bytes = bytes, .slots = map};
    return generation;
}

static void generation_free(struct generation *generation)
{
    pages_unmap(generation->slots, generation->map_bytes);
    free(generation);
}

enum bk_err dedupe_open(size_t bytes_max, struct dedupe **ret_dedupe)
{
    struct dedupe *dedupe = calloc(1, sizeof *dedupe);
    struct generations *list = calloc(1, sizeof *list);
    struct generation *first = dedupe && list ? generation_make(SLOTS_FIRST) : NULL;
    if (!first) {
        free(dedupe);
        free(list);
        return BK_NO_MEMORY;
    }
    list->count = 1;
    list->at[0] = first;
    dedupe->bytes_max = bytes_max;
    moments_init(&dedupe->moments);
    atomic_init(&dedupe->generations, list);
    *ret_dedupe = dedupe;
    return BK_OK;
}

void dedupe_close(struct dedupe *dedupe)
{
    struct generations *list = atomic_load(&dedupe->generations);
    for (unsigned i = 0; i < list->count; i++) {
        generation_free(list->at[i]);
    }
    free(list);
    free(dedupe);
}

/* Number and id in one block, as SHA-256 pads it: for ids that leave room for the padding. */
#define ONE_BLOCK_ID_BYTES_MAX (SHA256_BLOCK_BYTES - 8U - 9U)

static void fingerprint_short(uint64_t source, struct slice delivery_id,
                              uint64_t ret_fingerprint[2])
{
    uint32_t state[8] = {0x6a09e667U, 0xbb67ae85U, 0x3c6ef372U, 0xa54ff53aU,
                         0x510e527fU, 0x9b05688cU, 0x1f83d9abU, 0x5be0cd19U}; /* FIPS 180-4 5.3.3 */
    uint8_t block[SHA256_BLOCK_BYTES] = {0};
    memcpy(block, &source, 8);
    memcpy(block + 8, delivery_id.at, delivery_id.bytes);
    block[8 + delivery_id.bytes] = 0x80;
    size_t bits = 8 * (8 + delivery_id.bytes);
    block[62] = (uint8_t)(bits >> 8);
    block[63] = (uint8_t)bits;
    sha256_blocks(state, block, 1);
    memcpy(ret_fingerprint, state, 16);
}

static void fingerprint_long(uint64_t source, struct slice delivery_id, uint64_t ret_fingerprint[2])
{
    uint8_t digest[SHA256_BYTES];
    br_sha256_context context;
    sha256_init(&context);
    sha256_update(&context, &source, sizeof source);
    sha256_update(&context, delivery_id.at, delivery_id.bytes);
    sha256_out(&context, digest);
    memcpy(ret_fingerprint, digest, 16);
}

/* In the byte order of the machine: a data directory does not move between byte orders. */
void dedupe_fingerprint(uint64_t source, struct slice delivery_id, uint64_t ret_fingerprint[2])
{
    if (delivery_id.bytes <= ONE_BLOCK_ID_BYTES_MAX) {
        fingerprint_short(source, delivery_id, ret_fingerprint);
    } else {
        fingerprint_long(source, delivery_id, ret_fingerprint);
    }
    /* 0 0 means "no id" in the journal. */
    ret_fingerprint[0] |= ret_fingerprint[0] == 0 && ret_fingerprint[1] == 0;
}

void dedupe_fingerprint_within(uint64_t source, struct slice within, struct slice delivery_id,
                               uint64_t ret_fingerprint[2])
{
    uint64_t outer[2];
    dedupe_fingerprint(source, within, outer);
    dedupe_fingerprint(outer[0], delivery_id, ret_fingerprint);
}

void dedupe_prefetch(const struct dedupe *dedupe, const uint64_t fingerprint[2])
{
    const struct generations *list =
        atomic_load_explicit(&dedupe->generations, memory_order_acquire);
    for (unsigned i = 0; i < list->count; i++) {
        __builtin_prefetch(&list->at[i]->slots[fingerprint[0] & list->at[i]->mask], 1);
    }
}

/* The claimant may have lost its CPU, perhaps to us: do not use up a whole time slice. */
#define SPINS_MAX 1000U

static inline void pause_briefly(unsigned spins)
{
    if (spins > SPINS_MAX) {
        (void)sched_yield();
        return;
    }
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Wait until the claimant of a busy slot has written its fingerprint and position: some hundred
 * nanoseconds on another core. */
static uint64_t meta_settled(struct dedupe_slot *slot)
{
    uint64_t meta;
    for (unsigned spins = 0;
         ((meta = atomic_load_explicit(&slot->meta, memory_order_acquire)) & STATE_MASK) == BUSY;
         spins++) {
        pause_briefly(spins);
    }
    return meta;
}

/* State and time that belong together: an expired slot may be claimed anew between two loads. */
static uint64_t slot_read(struct dedupe_slot *slot, uint64_t *ret_received)
{
    for (;;) {
        uint64_t meta = meta_settled(slot);
        *ret_received = atomic_load_explicit(&slot->received, memory_order_acquire);
        if (atomic_load_explicit(&slot->meta, memory_order_relaxed) == meta) {
            return meta;
        }
    }
}

/* Find the slot with this fingerprint. NULL = not there; *ret_empty then is the first empty one. */
static struct dedupe_slot *generation_find(struct generation *generation,
                                           const uint64_t fingerprint[2],
                                           struct dedupe_slot **ret_empty)
{
    size_t at = fingerprint[0] & generation->mask;
    for (size_t probes = 0; probes <= generation->mask;
         probes++, at = (at + 1) & generation->mask) {
        struct dedupe_slot *slot = &generation->slots[at];
        if (atomic_load_explicit(&slot->meta, memory_order_acquire) == EMPTY) {
            *ret_empty = slot;
            return NULL;
        }
        (void)meta_settled(slot);
        if (slot->fingerprint[0] == fingerprint[0] && slot->fingerprint[1] == fingerprint[1]) {
            return slot;
        }
    }
    *ret_empty = NULL;
    return NULL;
}

/* A claim: when, and for how long others are remembered; -1 = not at all. */
struct asking {
    const struct moments *moments;
    uint64_t now;
    int64_t window_ms;
};

static bool is_over(const struct asking *asking, uint64_t received)
{
    return asking->window_ms < 0 || moment_steady_ms(asking->moments, asking->now) -
                                            moment_steady_ms(asking->moments, received) >
                                        asking->window_ms;
}

/* What a slot with our fingerprint means now. NEW: we made it busy. */
static enum dedupe_outcome slot_judge(struct dedupe_slot *slot, const struct asking *asking,
                                      struct dedupe_claim *ret_claim)
{
    for (;;) {
        uint64_t received;
        uint64_t meta = slot_read(slot, &received);
        bool gone = meta == RELEASED;
        bool expired = (meta & STATE_MASK) == DURABLE && is_over(asking, received);
        if (!gone && !expired) {
            ret_claim->first = meta_position(meta);
            ret_claim->first_received_ms = moment_wall_ms(received);
            return (meta & STATE_MASK) == DURABLE ? DEDUPE_DURABLE : DEDUPE_PENDING;
        }
        if (atomic_compare_exchange_strong_explicit(&slot->meta, &meta, BUSY, memory_order_acq_rel,
                                                    memory_order_acquire)) {
            ret_claim->slot = slot;
            return DEDUPE_NEW;
        }
    }
}

/* A generation with a claim of now must not be dropped as over. */
static void generation_touch(struct generation *generation, const struct asking *asking)
{
    uint64_t newest = atomic_load_explicit(&generation->newest, memory_order_relaxed);
    if (newest == 0 || moment_steady_ms(asking->moments, newest) <
                           moment_steady_ms(asking->moments, asking->now)) {
        atomic_store_explicit(&generation->newest, asking->now, memory_order_relaxed);
    }
}

/* Claim in one generation: an existing slot with the fingerprint, or a fresh one. */
static enum dedupe_outcome generation_claim(struct generation *generation,
                                            const uint64_t fingerprint[2],
                                            const struct asking *asking,
                                            struct dedupe_claim *ret_claim)
{
    for (;;) {
        struct dedupe_slot *empty;
        struct dedupe_slot *slot = generation_find(generation, fingerprint, &empty);
        if (slot) {
            enum dedupe_outcome outcome = slot_judge(slot, asking, ret_claim);
            if (outcome == DEDUPE_NEW) {
                generation_touch(generation, asking);
            }
            return outcome;
        }
        size_t limit = generation->mask - generation->mask / 8;
        if (!empty || atomic_load_explicit(&generation->used, memory_order_relaxed) >= limit) {
            return DEDUPE_FULL;
        }
        uint64_t expected = EMPTY;
        if (atomic_compare_exchange_strong(&empty->meta, &expected, BUSY)) {
            empty->fingerprint[0] = fingerprint[0];
            empty->fingerprint[1] = fingerprint[1];
            atomic_fetch_add_explicit(&generation->used, 1, memory_order_relaxed);
            generation_touch(generation, asking);
            ret_claim->slot = empty;
            return DEDUPE_NEW;
        }
    }
}

/* Look, without claiming, in the generations behind the newest. An entry that is released or
 * expired counts as not there: the claim in the newest generation stands for it from now on. */
static enum dedupe_outcome older_look(struct generation *generation, const uint64_t fingerprint[2],
                                      const struct asking *asking, struct dedupe_claim *ret_claim)
{
    struct dedupe_slot *empty;
    struct dedupe_slot *slot = generation_find(generation, fingerprint, &empty);
    if (!slot) {
        return DEDUPE_NEW;
    }
    uint64_t received;
    uint64_t meta = slot_read(slot, &received);
    if (meta == RELEASED || ((meta & STATE_MASK) == DURABLE && is_over(asking, received))) {
        return DEDUPE_NEW;
    }
    ret_claim->first = meta_position(meta);
    ret_claim->first_received_ms = moment_wall_ms(received);
    return (meta & STATE_MASK) == DURABLE ? DEDUPE_DURABLE : DEDUPE_PENDING;
}

/* Claim in the newest generation first, look in the older ones after that: whoever claims the same
 * id at the same time in a generation that was the newest a moment ago is then seen by one side or
 * the other. The list is read again at the end for the same reason. */
static enum dedupe_outcome claim_at(struct dedupe *dedupe, const uint64_t fingerprint[2],
                                    uint64_t now, int64_t window_ms, struct dedupe_claim *ret_claim)
{
    const struct asking asking = {&dedupe->moments, now, window_ms};
    for (;;) {
        struct generations *list = atomic_load(&dedupe->generations);
        struct dedupe_claim claim = {.slot = NULL};
        enum dedupe_outcome outcome = generation_claim(list->at[0], fingerprint, &asking, &claim);
        for (unsigned i = 1; i < list->count && outcome == DEDUPE_NEW; i++) {
            struct dedupe_claim older = {.slot = NULL};
            enum dedupe_outcome seen = older_look(list->at[i], fingerprint, &asking, &older);
            if (seen != DEDUPE_NEW) {
                dedupe_release(claim.slot);
                claim = older;
                outcome = seen;
            }
        }
        atomic_thread_fence(memory_order_seq_cst);
        if (outcome == DEDUPE_NEW && atomic_load(&dedupe->generations) != list) {
            dedupe_release(claim.slot);
            continue;
        }
        *ret_claim = claim;
        return outcome;
    }
}

enum dedupe_outcome dedupe_claim(struct dedupe *dedupe, const uint64_t fingerprint[2],
                                 struct moment now, int64_t window_ms,
                                 struct dedupe_claim *ret_claim)
{
    return claim_at(dedupe, fingerprint, moments_now(&dedupe->moments, now), window_ms, ret_claim);
}

static void pending_at(struct dedupe_slot *slot, struct journal_position position,
                       uint64_t received)
{
    bk_assert((atomic_load_explicit(&slot->meta, memory_order_relaxed) & STATE_MASK) == BUSY);
    /* Release: who reads this time also sees that the slot is no longer what it was. */
    atomic_store_explicit(&slot->received, received, memory_order_release);
    atomic_store_explicit(&slot->meta, meta_pack(PENDING, position), memory_order_release);
}

void dedupe_pending(struct dedupe *dedupe, struct dedupe_slot *slot,
                    struct journal_position position, struct moment now)
{
    pending_at(slot, position, moments_now(&dedupe->moments, now));
}

void dedupe_durable(struct dedupe_slot *slot)
{
    uint64_t meta = atomic_load_explicit(&slot->meta, memory_order_relaxed);
    bk_assert((meta & STATE_MASK) == PENDING);
    atomic_store_explicit(&slot->meta, meta | DURABLE, memory_order_release);
}

void dedupe_release(struct dedupe_slot *slot)
{
    atomic_store_explicit(&slot->meta, RELEASED, memory_order_release);
}

static enum bk_err grow_at(struct dedupe *dedupe, uint64_t now, int64_t window_max_ms,
                           struct dedupe_garbage **ret_garbage);

void dedupe_recover(struct dedupe *dedupe, const uint64_t fingerprint[2],
                    struct journal_position position, int64_t received_ms)
{
    struct dedupe_garbage *garbage;
    struct dedupe_claim claim;
    uint64_t received = moments_past(&dedupe->moments, position.journal, received_ms);
    if (dedupe_wants_growth(dedupe) && grow_at(dedupe, received, INT64_MAX, &garbage) == BK_OK &&
        garbage) {
        dedupe_free(garbage);
    }
    if (claim_at(dedupe, fingerprint, received, -1, &claim) == DEDUPE_NEW) {
        pending_at(claim.slot, position, received);
        dedupe_durable(claim.slot);
    }
}

void dedupe_begin(struct dedupe *dedupe, struct moment now)
{
    moments_begin(&dedupe->moments, now);
}

/* While the control thread makes the next one, claims go on into this one. */
bool dedupe_wants_growth(const struct dedupe *dedupe)
{
    const struct generations *list =
        atomic_load_explicit(&dedupe->generations, memory_order_acquire);
    size_t slots = list->at[0]->mask + 1;
    size_t spare = slots / 3 > GROWTH_LEAD ? slots / 3 : GROWTH_LEAD;
    return atomic_load_explicit(&list->at[0]->used, memory_order_relaxed) + spare > slots;
}

enum bk_err dedupe_grow(struct dedupe *dedupe, struct moment now, int64_t window_max_ms,
                        struct dedupe_garbage **ret_garbage)
{
    return grow_at(dedupe, moments_now(&dedupe->moments, now), window_max_ms, ret_garbage);
}

static enum bk_err grow_at(struct dedupe *dedupe, uint64_t now, int64_t window_max_ms,
                           struct dedupe_garbage **ret_garbage)
{
    const struct asking asking = {&dedupe->moments, now, window_max_ms};
    *ret_garbage = NULL;
    struct generations *old = atomic_load_explicit(&dedupe->generations, memory_order_relaxed);
    size_t slots = (old->at[0]->mask + 1) * 2;
    slots = slots > SLOTS_LARGEST ? SLOTS_LARGEST : slots;
    struct generation *fresh = generation_make(slots);
    struct generations *list = calloc(1, sizeof *list);
    struct dedupe_garbage *garbage = calloc(1, sizeof *garbage);
    if (!fresh || !list || !garbage) {
        if (fresh) {
            generation_free(fresh);
        }
        free(list);
        free(garbage);
        return BK_NO_MEMORY;
    }
    list->at[list->count++] = fresh;
    size_t bytes = fresh->map_bytes;
    for (unsigned i = 0; i < old->count; i++) {
        struct generation *generation = old->at[i];
        uint64_t newest = atomic_load_explicit(&generation->newest, memory_order_relaxed);
        bool over = window_max_ms != INT64_MAX && (newest == 0 || is_over(&asking, newest));
        bool room =
            list->count < GENERATIONS_MAX && bytes + generation->map_bytes <= dedupe->bytes_max;
        /* The first is claimed in at this very moment, however old or empty it looks. */
        if (i == 0 || (!over && room)) {
            list->at[list->count++] = generation;
            bytes += generation->map_bytes;
            continue;
        }
        int64_t newest_ms = moment_wall_ms(newest);
        if (!over && newest_ms > atomic_load(&dedupe->horizon_ms)) {
            atomic_store(&dedupe->horizon_ms, newest_ms);
        }
        garbage->at[garbage->count++] = generation;
    }
    garbage->list = old;
    atomic_store(&dedupe->generations, list);
    *ret_garbage = garbage;
    return BK_OK;
}

void dedupe_free(struct dedupe_garbage *garbage)
{
    for (unsigned i = 0; i < garbage->count; i++) {
        generation_free(garbage->at[i]);
    }
    free(garbage->list);
    free(garbage);
}

void dedupe_stats(const struct dedupe *dedupe, struct dedupe_stats *ret_stats)
{
    const struct generations *list =
        atomic_load_explicit(&dedupe->generations, memory_order_acquire);
    *ret_stats = (struct dedupe_stats){.generations = list->count};
    for (unsigned i = 0; i < list->count; i++) {
        ret_stats->entries += atomic_load_explicit(&list->at[i]->used, memory_order_relaxed);
        ret_stats->bytes += list->at[i]->map_bytes;
    }
    ret_stats->horizon_ms = atomic_load_explicit(&dedupe->horizon_ms, memory_order_relaxed);
}
