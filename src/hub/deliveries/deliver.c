/* deliver.c - a core's deliveries: what the journal hands over, the turn, checkpoints, the end. */
#include "hub/deliveries/deliver.h"

#include "base/array.h"
#include "base/assert.h"
#include "base/counter.h"
#include "base/log.h"
#include "hub/deliveries/deliver_private.h"
#include "hub/deliveries/dispatch.h"
#include "hub/events/event_id.h"

#include <stdlib.h>
#include <sys/mman.h>

#define FILTERS_TOLD_NS 60000000000ULL
#define CHECKPOINT_NS   500000000ULL
#define PACE_LOOK_NS    1000000ULL
#define PACE_FAST_NS    62500ULL /* between two answers: 16 in a millisecond */

uint32_t deliver_random(struct deliver *deliver)
{
    /* xorshift64*: jitter need not be unpredictable, only spread. */
    deliver->random ^= deliver->random >> 12;
    deliver->random ^= deliver->random << 25;
    deliver->random ^= deliver->random >> 27;
    return (uint32_t)(deliver->random * 0x2545f4914f6cdd1dULL >> 32);
}

/* ---- targets */

static struct target **bucket_of(struct deliver *deliver, uint64_t number)
{
    return &deliver->buckets[number * 0x9e3779b97f4a7c15ULL >> 52];
}

static struct target *target_find(struct deliver *deliver, uint64_t number)
{
    struct target *target = *bucket_of(deliver, number);
    while (target && target->number != number) {
        target = target->bucket_next;
    }
    return target;
}

struct target *target_take(struct deliver *deliver, uint64_t number)
{
    struct target *target = target_find(deliver, number);
    if (target) {
        return target;
    }
    target = calloc(1, sizeof *target);
    if (!target) {
        return NULL;
    }
    target->deliver = deliver;
    target->number = number;
    target->status.destination = number;
    list_init(&target->lanes);
    list_init(&target->retries);
    list_push_back(&deliver->targets, &target->node);
    target->bucket_next = *bucket_of(deliver, number);
    *bucket_of(deliver, number) = target;
    return target;
}

void deliver_wake(struct deliver *deliver, uint64_t number)
{
    struct target *target = target_find(deliver, number);
    if (target) {
        target_pump_later(target);
    }
}

static void lanes_free(struct target *target)
{
    struct list *node;
    while ((node = list_pop_front(&target->lanes)) != NULL) {
        struct lane *lane = bk_container_of(node, struct lane, node);
        if (list_linked(&lane->dirty)) {
            list_remove(&lane->dirty);
        }
        if (lane->window) {
            list_push_back(&target->deliver->windows_free, &lane->window->node);
        }
        free(lane->done);
        free(lane);
    }
}

static void target_free(struct target *target)
{
    struct deliver *deliver = target->deliver;
    struct target **at = bucket_of(deliver, target->number);
    while (*at != target) {
        at = &(*at)->bucket_next;
    }
    *at = target->bucket_next;
    lanes_free(target);
    timer_stop(deliver->config.wheel, &target->timer);
    if (list_linked(&target->pump)) {
        list_remove(&target->pump);
    }
    list_remove(&target->node);
    free(target->firsts);
    free(target);
}

static bool target_is_idle(const struct target *target)
{
    if (target->slots > 0 || target->flow.inflight > 0 || target->wake.out) {
        return false;
    }
    for (struct list *node = target->lanes.next; node != &target->lanes; node = node->next) {
        if (bk_container_of(node, struct lane, node)->asked) {
            return false;
        }
    }
    return true;
}

static void checkpoint_due(struct timer *timer);

static void arm_checkpoint(struct deliver *deliver)
{
    if (!timer_running(&deliver->checkpoint_timer) && !deliver->checkpoint_out &&
        !deliver->drained) { /* the last one is sent: nobody may be there for another */
        timer_start(deliver->config.wheel, &deliver->checkpoint_timer,
                    ring_now_ns(deliver->config.ring) + CHECKPOINT_NS, checkpoint_due);
    }
}

void target_changed(struct target *target)
{
    target->changed = true;
    if (target->strict) {
        order_publish(target);
    }
    arm_checkpoint(target->deliver);
}

void lane_changed(struct lane *lane)
{
    if (!list_linked(&lane->dirty)) {
        list_push_back(&lane->target->deliver->dirty, &lane->dirty);
    }
    target_changed(lane->target);
}

void target_pump_later(struct target *target)
{
    if (!list_linked(&target->pump)) {
        list_push_back(&target->deliver->pumps, &target->pump);
    }
}

/* ---- what the journal hands over */

static bool through_is_old(const struct deliver *deliver, uint64_t sequence)
{
    return sequence >= deliver->through_sent + DELIVER_THROUGH_RECORDS && deliver->through_max == 0;
}

static void hand_to(struct deliver *deliver, struct fan_out *out,
                    const struct destination *destination)
{
    struct target *target = target_take(deliver, destination->number);
    struct lane *lane = target ? target->own : NULL;
    if (target && !lane) {
        lane = lane_take(target, deliver->config.core);
    }
    if (!lane) {
        log_event(LOG_ERROR, "no memory for a destination: an event of it waits for a restart",
                  LOG_S("destination", destination->name));
        deliver->through_max =
            deliver->through_max ? deliver->through_max : out->view.position.sequence;
        return;
    }
    target->last_sequence = out->view.position.sequence;
    order_set(target, destination);
    counter_add(&deliver->stats.wanted, 1);
    if (lane->behind || fan_out_head(out)) {
        lane_offer(lane, destination, &out->view);
    }
    if (target->firsts) {
        out->filtered = false; /* the key was read by the same scratch */
    }
}

/* Nobody asks about an event that just is not delivered; one line a minute says why. */
static void filter_failed(struct deliver *deliver, const struct fan_out *out,
                          const struct destination *destination)
{
    uint64_t now_ns = ring_now_ns(deliver->config.ring);
    counter_add(&deliver->stats.filters_failed, 1);
    if (now_ns >= deliver->filters_told_ns) {
        char id[EVENT_ID_BYTES];
        deliver->filters_told_ns = now_ns + FILTERS_TOLD_NS;
        event_id_format(out->view.position, out->view.entry->received_ns, id);
        log_event(LOG_WARN, "a route's filter fails on an event: it does not deliver such ones",
                  LOG_S("source", out->view.source), LOG_S("destination", destination->name),
                  LOG_S("eventId", slice_of(id, sizeof id)), LOG_Z("why", out->filter.why));
    }
}

void deliver_consume(void *context, uint64_t sequence, const struct journal_entry *entry,
                     const uint8_t *message)
{
    struct deliver *deliver = context;
    const struct route_target *route = route_table_first(deliver->config.routes, entry->source);
    if (through_is_old(deliver, sequence)) {
        arm_checkpoint(deliver);
    }
    if (!route) {
        return;
    }
    struct fan_out out;
    fan_out_init(&out, deliver->config.scratch,
                 (struct journal_position){deliver->config.core, sequence}, entry, message);
    for (; route; route = route_target_next(route)) {
        const struct destination *destination = route_target_destination(route);
        const struct target *target =
            destination ? target_find(deliver, destination->number) : NULL;
        bool twice = target && target->last_sequence == sequence;
        uint64_t failed = out.failed;
        if (destination && !twice && fan_out_passes(&out, route)) { /* it comes now */
            hand_to(deliver, &out, destination);
        }
        if (out.failed > failed) {
            filter_failed(deliver, &out, destination);
        }
    }
}

/* ---- checkpoints */

/* Everything above the cursor that is settled already, or was before this start. */
static bool add_lane(struct checkpoint *checkpoint, const struct lane *lane)
{
    const struct window *window = lane->window;
    uint64_t span = window ? window->tail - window->head : 0;
    size_t rest = lane->behind ? lane->done_count - lane->done_at : 0;
    if (!array_reserve((void **)&checkpoint->lanes, &checkpoint->lanes_max,
                       checkpoint->lane_count + 1, sizeof *checkpoint->lanes) ||
        !array_reserve((void **)&checkpoint->done, &checkpoint->done_max,
                       checkpoint->done_count + span + rest, sizeof *checkpoint->done)) {
        return false;
    }
    struct checkpoint_lane *to = &checkpoint->lanes[checkpoint->lane_count++];
    *to = (struct checkpoint_lane){.journal = lane->journal,
                                   .destination = lane->target->number,
                                   .cursor = lane_cursor(lane),
                                   .held_sequence = lane->held_sequence,
                                   .held_number = lane->held_number,
                                   .done_at = (uint32_t)checkpoint->done_count};
    for (uint64_t i = 0; i < span; i++) {
        uint64_t entry = window->entries[(window->head + i) % WINDOW_ENTRIES];
        if (entry & 1) {
            checkpoint->done[checkpoint->done_count++] = entry >> 1;
        }
    }
    for (size_t i = 0; i < rest; i++) {
        checkpoint->done[checkpoint->done_count++] = lane->done[lane->done_at + i];
    }
    to->done_count = (uint32_t)(checkpoint->done_count - to->done_at);
    return true;
}

static int64_t status_oldest(const struct target *target)
{
    int64_t oldest = 0;
    for (struct list *node = target->lanes.next; node != &target->lanes; node = node->next) {
        const struct lane *lane = bk_container_of(node, const struct lane, node);
        int64_t at = lane_told_ns(lane);
        if (at != 0 && (oldest == 0 || at < oldest)) {
            oldest = at;
        }
    }
    return oldest;
}

static bool add_status(struct checkpoint *checkpoint, struct target *target)
{
    if (!array_reserve((void **)&checkpoint->status, &checkpoint->status_max,
                       checkpoint->status_count + 1, sizeof *checkpoint->status)) {
        return false;
    }
    const struct destination *destination = destination_of(target);
    struct target_status *status = &target->status;
    status->inflight = target->flow.inflight;
    status->queued = target->retry_count;
    status->backlog = 0;
    status->behind = false;
    for (struct list *node = target->lanes.next; node != &target->lanes; node = node->next) {
        const struct lane *lane = bk_container_of(node, const struct lane, node);
        status->queued += lane->queued;
        status->backlog += lane->backlog;
        status->behind |= lane->behind;
    }
    status->open = destination && flow_is_failing(shared_of(destination));
    status->oldest_ns = status_oldest(target);
    checkpoint->status[checkpoint->status_count++] = *status;
    target->changed = false;
    return true;
}

/* Destinations that are gone leave; those that are behind are looked at: a pause may be over. */
static void look_at_targets(struct deliver *deliver, struct checkpoint *checkpoint, bool *behind)
{
    struct list *node = deliver->targets.next;
    while (node != &deliver->targets) {
        struct target *target = bk_container_of(node, struct target, node);
        node = node->next;
        if (!destination_of(target)) {
            if (target_is_idle(target)) {
                target_free(target);
            } else {
                target_pump_later(target);
            }
            continue;
        }
        for (struct list *at = target->lanes.next; at != &target->lanes; at = at->next) {
            if (bk_container_of(at, struct lane, node)->behind) {
                *behind = true;
                target_pump_later(target);
            }
        }
        if (target->changed) {
            (void)add_status(checkpoint, target);
        }
    }
}

/* When nothing changed there is nothing to send; lanes that are behind are looked at again. */
static void send_checkpoint(struct deliver *deliver)
{
    struct checkpoint *checkpoint = &deliver->checkpoint;
    bk_assert(!deliver->checkpoint_out);
    bool whole = true;
    deliver->watching = false;
    checkpoint->lane_count = checkpoint->done_count = checkpoint->status_count = 0;
    look_at_targets(deliver, checkpoint, &deliver->watching);
    bool changed = !list_empty(&deliver->dirty) || checkpoint->status_count > 0 ||
                   through_is_old(deliver, journal_durable_through(deliver->config.journal));
    if (!changed && !deliver->draining) {
        if (deliver->watching) {
            arm_checkpoint(deliver);
        }
        return;
    }
    for (struct list *node = deliver->dirty.next; whole && node != &deliver->dirty;
         node = node->next) {
        whole = add_lane(checkpoint, bk_container_of(node, struct lane, dirty));
    }
    if (!whole) { /* no memory: the old one stays good */
        arm_checkpoint(deliver);
        return;
    }
    while (list_pop_front(&deliver->dirty)) {
    }
    checkpoint->through = journal_durable_through(deliver->config.journal) + 1;
    if (deliver->through_max != 0) {
        checkpoint->through = deliver->through_max;
    }
    deliver->through_sent = checkpoint->through;
    checkpoint->core = deliver->config.core;
    checkpoint->home = deliver;
    checkpoint->dispatch = deliver->config.dispatch;
    checkpoint->mail.run = dispatch_checkpoint_arrived;
    deliver->checkpoint_out = true;
    deliver_post_reports(deliver, true); /* which it relies on, so that all are one commit */
    ring_post(deliver->config.ring, deliver->config.control, &checkpoint->mail);
}

static void checkpoint_due(struct timer *timer)
{
    struct deliver *deliver = bk_container_of(timer, struct deliver, checkpoint_timer);
    if (!deliver->checkpoint_out) {
        send_checkpoint(deliver);
    }
}

static void lanes_kept(struct deliver *deliver, const struct checkpoint *checkpoint)
{
    for (size_t i = 0; i < checkpoint->lane_count; i++) {
        const struct checkpoint_lane *from = &checkpoint->lanes[i];
        struct target *target = target_find(deliver, from->destination);
        uint64_t whole = from->journal == checkpoint->core ? checkpoint->through : UINT64_MAX;
        uint64_t kept = from->cursor != 0 ? from->cursor : whole;
        struct list *node = target ? target->lanes.next : NULL;
        for (; target && node != &target->lanes; node = node->next) {
            struct lane *lane = bk_container_of(node, struct lane, node);
            if (lane->journal == from->journal && lane->kept < kept) {
                lane->kept = kept;
            }
        }
    }
}

void deliver_checkpoint_back(struct ring_mail *mail)
{
    struct checkpoint *checkpoint = bk_container_of(mail, struct checkpoint, mail);
    struct deliver *deliver = checkpoint->home;
    deliver->checkpoint_out = false;
    lanes_kept(deliver, checkpoint);
    bool more = !list_empty(&deliver->dirty) || deliver->watching;
    for (struct list *node = deliver->targets.next; !more && node != &deliver->targets;
         node = node->next) {
        more = bk_container_of(node, struct target, node)->changed;
    }
    if (more) {
        arm_checkpoint(deliver);
    }
}

/* ---- the turn and the end */

static bool is_quiet(const struct deliver *deliver)
{
    return deliver->flying == 0 && deliver->wants_out == 0 && deliver->reports_out == 0 &&
           deliver->wakes_out == 0 && list_empty(&deliver->pumps);
}

/* Only a pace at which the next answers are microseconds away. */
static void look_at_pace(struct deliver *deliver)
{
    uint64_t now_ns = ring_now_ns(deliver->config.ring);
    uint64_t past_ns = now_ns - deliver->pace_from_ns;
    if (past_ns >= PACE_LOOK_NS) {
        deliver->pace_fast = deliver->pace_count * PACE_FAST_NS >= past_ns;
        deliver->pace_count = 0;
        deliver->pace_from_ns = now_ns;
    }
}

unsigned deliver_gather(const struct deliver *deliver)
{
    return deliver->pace_fast ? deliver->flying / 2 : 0;
}

void deliver_turn(struct deliver *deliver)
{
    look_at_pace(deliver);
    if (!list_empty(&deliver->unposted)) {
        deliver_post_reports(deliver, false);
    }
    struct list now;
    list_init(&now);
    list_splice_back(&now, &deliver->pumps);
    struct list *node;
    while ((node = list_pop_front(&now)) != NULL) {
        target_pump(bk_container_of(node, struct target, pump));
    }
    if (deliver->draining && !deliver->drained && is_quiet(deliver) && !deliver->checkpoint_out) {
        deliver->drained = true;
        send_checkpoint(deliver);
        timer_stop(deliver->config.wheel, &deliver->checkpoint_timer);
    }
}

static void drain_due(struct timer *timer)
{
    struct deliver *deliver = bk_container_of(timer, struct deliver, drain_timer);
    for (unsigned i = 0; i < deliver->config.slots; i++) {
        if (deliver->slots[i].flying) {
            http_call_cancel(deliver->config.client, &deliver->slots[i].call);
        }
    }
}

void deliver_drain(struct deliver *deliver, uint64_t deadline_ns)
{
    if (deliver->draining) {
        return;
    }
    deliver->draining = true;
    timer_start(deliver->config.wheel, &deliver->drain_timer, deadline_ns, drain_due);
    for (struct list *node = deliver->targets.next; node != &deliver->targets; node = node->next) {
        target_pump_later(bk_container_of(node, struct target, node));
    }
}

bool deliver_idle(const struct deliver *deliver)
{
    return deliver->drained && is_quiet(deliver) && !deliver->checkpoint_out;
}

uint16_t deliver_core(const struct deliver *deliver)
{
    return deliver->config.core;
}

const struct deliver_stats *deliver_stats(const struct deliver *deliver)
{
    return &deliver->stats;
}

/* ---- life cycle */

static void *map(size_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

static enum bk_err adopt(struct deliver *deliver, const struct lane_start *start)
{
    struct target *target = target_take(deliver, start->destination);
    struct lane *lane = target ? lane_take(target, start->journal) : NULL;
    if (!lane) {
        return BK_NO_MEMORY;
    }
    lane->foreign = start->foreign;
    lane->behind = true;
    lane->backlog = 1; /* unknown: at least one, and as old as can be */
    lane->left_ns = LANE_LEFT_UNKNOWN;
    lane->next = start->cursor;
    lane->kept = start->cursor;
    lane->held_sequence = start->held_sequence;
    lane->held_number = start->held_number;
    lane->missed = start->foreign ? 0 : journal_durable_through(deliver->config.journal);
    if (start->done_count > 0) {
        lane->done = malloc(start->done_count * sizeof *lane->done);
        if (!lane->done) {
            return BK_NO_MEMORY;
        }
        memcpy(lane->done, start->done, start->done_count * sizeof *lane->done);
        lane->done_count = start->done_count;
    }
    const struct destination *destination = destination_of(target);
    if (destination) {
        order_set(target, destination);
    }
    lane_changed(lane);
    target_pump_later(target);
    return BK_OK;
}

static enum bk_err take_memory(struct deliver *deliver)
{
    unsigned slots = deliver->config.slots;
    deliver->slots = map(slots * sizeof *deliver->slots);
    deliver->pool = map((size_t)slots * DELIVER_SLOT_BYTES);
    deliver->windows = map(slots * sizeof *deliver->windows);
    if (!deliver->slots || !deliver->pool || !deliver->windows) {
        return BK_NO_MEMORY;
    }
    for (unsigned i = 0; i < slots; i++) {
        deliver->slots[i].pool_at = deliver->pool + (size_t)i * DELIVER_SLOT_BYTES;
        list_push_back(&deliver->free, &deliver->slots[i].node);
        list_push_back(&deliver->windows_free, &deliver->windows[i].node);
    }
    deliver->free_count = slots;
    counter_set(&deliver->stats.slots_free, slots);
    return BK_OK;
}

static void give_memory(struct deliver *deliver)
{
    while (!list_empty(&deliver->targets)) {
        target_free(bk_container_of(deliver->targets.next, struct target, node));
    }
    size_t slots = deliver->config.slots;
    if (deliver->slots) {
        munmap(deliver->slots, slots * sizeof *deliver->slots);
    }
    if (deliver->pool) {
        munmap(deliver->pool, slots * DELIVER_SLOT_BYTES);
    }
    if (deliver->windows) {
        munmap(deliver->windows, slots * sizeof *deliver->windows);
    }
    buffers_fini(&deliver->large);
    free(deliver->checkpoint.lanes);
    free(deliver->checkpoint.done);
    free(deliver->checkpoint.status);
    free(deliver);
}

enum bk_err deliver_open(const struct deliver_config *config, struct deliver **ret_deliver)
{
    bk_assert(config->slots > 0 && config->cores > 0);
    struct deliver *deliver = calloc(1, sizeof *deliver);
    if (!deliver) {
        return BK_NO_MEMORY;
    }
    deliver->config = *config;
    list_init(&deliver->free);
    list_init(&deliver->windows_free);
    list_init(&deliver->targets);
    list_init(&deliver->pumps);
    list_init(&deliver->dirty);
    list_init(&deliver->unposted);
    buffers_init(&deliver->large, DELIVER_LARGE_BYTES_MAX);
    deliver->start_tail = journal_durable_through(config->journal) + 1;
    ring_entropy(&deliver->random, sizeof deliver->random);
    deliver->random |= 1;
    enum bk_err err = take_memory(deliver);
    if (config->peers) { /* others look here only after they saw what adopt() tells them */
        config->peers[config->core] = deliver;
    }
    for (size_t i = 0; err == BK_OK && i < config->lane_count; i++) {
        err = adopt(deliver, &config->lanes[i]);
    }
    if (err != BK_OK) {
        give_memory(deliver);
        return err;
    }
    *ret_deliver = deliver;
    return BK_OK;
}

void deliver_close(struct deliver *deliver)
{
    timer_stop(deliver->config.wheel, &deliver->checkpoint_timer);
    timer_stop(deliver->config.wheel, &deliver->drain_timer);
    timer_stop(deliver->config.wheel, &deliver->unposted_timer);
    give_memory(deliver);
}
