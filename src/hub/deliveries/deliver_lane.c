/* deliver_lane.c - lanes: from memory while they keep up, from the journal when they are behind.
 *
 * A lane's events, in order: settled | the window: under way or queued | behind: in the journal.
 * The window's tail never passes an event that was not taken, so everything left behind is one
 * range from `next` on. A lane is LIVE again when it has looked at the newest event that it left
 * behind; no event can slip through, for both happen on this thread.
 */
#include "hub/deliveries/deliver_private.h"
#include "hub/deliveries/dispatch.h"

#include "http/parse.h"

#include <stdlib.h>

#define LOOK_NS_MAX        2000000000ULL
#define UNREADABLE_LOOK_NS 1000000000ULL
#define LOST_LOOK_NS       5000000000ULL

/* ---- the window */

static bool window_full(const struct lane *lane)
{
    return lane->window ? lane->window->tail - lane->window->head == WINDOW_ENTRIES
                        : list_empty(&lane->target->deliver->windows_free);
}

static uint64_t *window_at(struct window *window, uint64_t index)
{
    return &window->entries[index % WINDOW_ENTRIES];
}

static void window_push(struct lane *lane, uint64_t sequence, int64_t received_ns, uint16_t bucket,
                        bool done)
{
    struct deliver *deliver = lane->target->deliver;
    if (!lane->window) {
        lane->window = bk_container_of(list_pop_front(&deliver->windows_free), struct window, node);
        lane->window->head = lane->window->tail = 0;
        lane->newest_ns = received_ns;
    }
    lane->newest_ns = received_ns > lane->newest_ns ? received_ns : lane->newest_ns;
    struct window *window = lane->window;
    bk_assert(window->tail - window->head < WINDOW_ENTRIES);
    bk_assert(window->tail == window->head || *window_at(window, window->tail - 1) >> 1 < sequence);
    window->times[window->tail % WINDOW_ENTRIES] = received_ns;
    window->buckets[window->tail % WINDOW_ENTRIES] = bucket;
    *window_at(window, window->tail++) = sequence << 1 | done;
}

static void forget_done(struct lane *lane)
{
    free(lane->done);
    lane->done = NULL;
    lane->done_count = lane->done_at = 0;
}

static void window_trim(struct lane *lane)
{
    struct window *window = lane->window;
    while (window->head != window->tail && *window_at(window, window->head) & 1) {
        window->head++;
    }
    if (window->head == window->tail) {
        list_push_back(&lane->target->deliver->windows_free, &window->node);
        lane->window = NULL;
        if (!lane->behind) {
            forget_done(lane);
        }
    }
}

void lane_settle(struct lane *lane, uint64_t sequence)
{
    struct window *window = lane->window;
    bk_assert(window);
    uint64_t low = window->head, high = window->tail;
    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;
        if (*window_at(window, middle) >> 1 <= sequence) {
            low = middle;
        } else {
            high = middle;
        }
    }
    bk_assert(*window_at(window, low) == sequence << 1);
    *window_at(window, low) |= 1;
    uint16_t bucket = window->buckets[low % WINDOW_ENTRIES];
    window_trim(lane);
    order_bucket_changed(lane->target, bucket);
    lane_changed(lane);
}

uint64_t lane_cursor(const struct lane *lane)
{
    if (lane->window) {
        return *window_at(lane->window, lane->window->head) >> 1;
    }
    return lane->behind ? lane->next : 0;
}

bool lane_is_kept(const struct target *target, uint64_t position)
{
    struct journal_position at = journal_position_unpack(position);
    for (struct list *node = target->lanes.next; node != &target->lanes; node = node->next) {
        const struct lane *lane = bk_container_of(node, const struct lane, node);
        if (lane->journal == at.journal) {
            return at.sequence < lane->kept;
        }
    }
    return true; /* from before the start, or another core's: dispatch_retry.c, may_go_abroad() */
}

int64_t lane_bucket_oldest(const struct lane *lane, uint16_t bucket, uint64_t *ret_sequence)
{
    const struct window *window = lane->window;
    for (uint64_t i = window ? window->head : 0; window && i < window->tail; i++) {
        uint64_t entry = window->entries[i % WINDOW_ENTRIES];
        if (window->buckets[i % WINDOW_ENTRIES] == bucket && !(entry & 1)) {
            *ret_sequence = entry >> 1;
            return window->times[i % WINDOW_ENTRIES];
        }
    }
    return 0;
}

int64_t lane_oldest_ns(const struct lane *lane)
{
    if (lane->window) {
        return lane->window->times[lane->window->head % WINDOW_ENTRIES];
    }
    return lane->behind && (lane->backlog > 0 || lane->target->strict) ? lane->left_ns : 0;
}

int64_t lane_told_ns(const struct lane *lane)
{
    int64_t oldest = lane_oldest_ns(lane);
    return oldest == LANE_LEFT_UNKNOWN ? lane->told_ns : oldest;
}

int64_t lane_left_ns(const struct lane *lane)
{
    return lane->window && lane->newest_ns > lane->left_ns ? lane->newest_ns : lane->left_ns;
}

/* ---- lanes */

struct lane *lane_take(struct target *target, uint16_t journal)
{
    for (struct list *node = target->lanes.next; node != &target->lanes; node = node->next) {
        struct lane *lane = bk_container_of(node, struct lane, node);
        if (lane->journal == journal) {
            return lane;
        }
    }
    struct lane *lane = calloc(1, sizeof *lane);
    if (!lane) {
        return NULL;
    }
    lane->target = target;
    lane->journal = journal;
    lane->kept = target->deliver->start_tail;
    list_init(&lane->queue);
    list_push_back(&target->lanes, &lane->node);
    if (journal == target->deliver->config.core) {
        target->own = lane;
    }
    return lane;
}

/* Behind it there may be more than the backlog counts (after a start), and older: left_ns, which
 * other cores wait for, is never raised here. */
static void left_behind(struct lane *lane, uint64_t sequence, int64_t received_ns)
{
    if (!lane->behind || received_ns < lane->left_ns) {
        lane->left_ns = received_ns;
    }
    lane->missed = sequence > lane->missed ? sequence : lane->missed;
    lane->backlog++;
    target_changed(lane->target);
}

static void lane_fall_behind(struct lane *lane, uint64_t sequence, int64_t received_ns)
{
    bk_assert(!lane->behind);
    lane->behind = true;
    lane->left_ns = received_ns;
    lane->next = sequence;
    lane->missed = sequence - 1;
    lane_changed(lane);
    target_pump_later(lane->target);
}

static unsigned queue_max(const struct lane *lane)
{
    unsigned share = lane->target->deliver->free_count / LANE_QUEUE_SHARE;
    return share < LANE_QUEUE_MIN   ? LANE_QUEUE_MIN
           : share < LANE_QUEUE_MAX ? share
                                    : LANE_QUEUE_MAX;
}

/* Build it and put it into the queue. False: no room for it now. */
static bool lane_accept(struct lane *lane, const struct destination *destination,
                        const struct event_view *event)
{
    if (lane->queued >= queue_max(lane) || window_full(lane)) {
        return false;
    }
    bool held = event->position.sequence == lane->held_sequence;
    struct delivery *delivery =
        delivery_take(lane->target, destination, event, held ? lane->held_number + 1 : 1);
    if (!delivery) {
        return false;
    }
    delivery->lane = lane;
    delivery->bucket = order_bucket_of(lane->target, destination, event);
    window_push(lane, event->position.sequence, event->entry->received_ns, delivery->bucket, false);
    list_push_back(&lane->queue, &delivery->node);
    lane->queued++;
    order_bucket_changed(lane->target, delivery->bucket);
    lane_changed(lane);
    target_pump_later(lane->target);
    return true;
}

void lane_offer(struct lane *lane, const struct destination *destination,
                const struct event_view *event)
{
    struct deliver *deliver = lane->target->deliver;
    if (lane->behind) {
        left_behind(lane, event->position.sequence, event->entry->received_ns);
        return;
    }
    bool waits = deliver->draining || destination->pause != DESTINATION_RUNNING ||
                 flow_is_open(shared_of(destination));
    if (waits || !lane_accept(lane, destination, event)) {
        lane_fall_behind(lane, event->position.sequence, event->entry->received_ns);
        left_behind(lane, event->position.sequence, event->entry->received_ns);
    }
}

/* Is it at the window's end, but for what was passed over and will be again? */
static bool is_last(const struct lane *lane, uint64_t sequence)
{
    struct window *window = lane->window;
    uint64_t tail = window->tail;
    while (*window_at(window, tail - 1) & 1 &&
           window->buckets[(tail - 1) % WINDOW_ENTRIES] == ORDER_NO_KEY) {
        tail--;
    }
    return *window_at(window, tail - 1) == sequence << 1;
}

/* When the newest one of the window came; 0 = it has none. */
static int64_t window_newest(const struct window *window)
{
    int64_t newest_ns = 0;
    for (uint64_t i = window->head; i < window->tail; i++) {
        int64_t at_ns = window->times[i % WINDOW_ENTRIES];
        newest_ns = at_ns > newest_ns ? at_ns : newest_ns;
    }
    return newest_ns;
}

/* What is built but cannot go for long is left to the journal: it is the window's end. In order per
 * key some of it may stand in front of what is under way: that stays. Until all of it is told to be
 * left, other cores take it for older than anything. */
static void lane_drop_queue(struct lane *lane)
{
    struct window *window = lane->window;
    bool behind = lane->behind;
    int64_t left_ns = lane->left_ns;
    uint64_t first = 0;
    if (list_empty(&lane->queue)) {
        return;
    }
    lane->behind = true;
    lane->left_ns = LANE_LEFT_UNKNOWN;
    lane->newest_ns = 0;
    target_changed(lane->target);
    while (!list_empty(&lane->queue)) {
        struct list *node = lane->queue.prev;
        struct delivery *delivery = bk_container_of(node, struct delivery, node);
        uint64_t sequence = journal_position_unpack(delivery->position).sequence;
        if (!is_last(lane, sequence)) {
            break;
        }
        list_remove(node);
        lane->queued--;
        lane->backlog++;
        lane->missed = !behind && first == 0 && sequence > lane->missed ? sequence : lane->missed;
        first = sequence;
        left_ns = delivery->event_ns;
        while (*window_at(window, window->tail - 1) & 1) {
            window->tail--;
        }
        window->tail--;
        order_bucket_changed(lane->target, delivery->bucket);
        delivery_give(delivery);
    }
    lane->behind = behind || first != 0;
    lane->left_ns = left_ns;
    lane->newest_ns = window_newest(window);
    target_changed(lane->target);
    if (first == 0) {
        return;
    }
    window_trim(lane);
    lane->next = first;
    lane->done_at = 0;
    lane_changed(lane);
}

bool lane_may_hold(const struct lane *lane, uint64_t sequence)
{
    return lane->window && lane->window->tail - lane->window->head == lane->queued + 1 &&
           *window_at(lane->window, lane->window->head) == sequence << 1;
}

void lane_hold(struct lane *lane, uint64_t sequence, uint32_t number, uint64_t due_ns)
{
    bk_assert(lane->window);
    lane_drop_queue(lane);
    struct window *window = lane->window;
    bk_assert(window->tail - window->head == 1);
    bk_assert(*window_at(window, window->head) == sequence << 1);
    window->tail--;
    if (!lane->behind) {
        left_behind(lane, sequence, window->times[window->tail % WINDOW_ENTRIES]);
    } else {
        lane->backlog++;
        lane->left_ns = window->times[window->tail % WINDOW_ENTRIES];
    }
    lane->behind = true;
    window_trim(lane);
    lane->next = sequence;
    lane->done_at = 0;
    lane->held_sequence = sequence;
    lane->held_number = number;
    lane->held_until_ns = due_ns;
    lane_changed(lane);
}

/* ---- reading what is behind */

static void pump_again(struct timer *timer)
{
    target_pump_later(bk_container_of(timer, struct target, timer));
}

/* A hold or an open breaker may be lifted before its time: then it is seen a little later. */
static void pump_at(struct target *target, uint64_t at_ns)
{
    uint64_t most_ns = ring_now_ns(target->deliver->config.ring) + LOOK_NS_MAX;
    at_ns = at_ns < most_ns ? at_ns : most_ns;
    if (!timer_running(&target->timer) || target->timer.due_ns > at_ns) {
        timer_start(target->deliver->config.wheel, &target->timer, at_ns, pump_again);
    }
}

static void lane_ask(struct lane *lane, unsigned events_max)
{
    struct deliver *deliver = lane->target->deliver;
    bk_assert(!lane->asked);
    lane->asked = true;
    deliver->wants_out++;
    lane->want =
        (struct lane_want){.mail.run = dispatch_want_arrived,
                           .dispatch = deliver->config.dispatch,
                           .home = deliver,
                           .journal = lane->journal,
                           .destination = lane->target->number,
                           .from = lane->next,
                           .events_max = events_max,
                           .asks_oldest = lane->left_ns == LANE_LEFT_UNKNOWN && lane->told_ns == 0};
    ring_post(deliver->config.ring, deliver->config.control, &lane->want.mail);
}

static bool was_done_before(struct lane *lane, uint64_t sequence)
{
    while (lane->done_at < lane->done_count && lane->done[lane->done_at] < sequence) {
        lane->done_at++;
    }
    return lane->done_at < lane->done_count && lane->done[lane->done_at] == sequence;
}

/* False: stop here, there is no room. */
static bool take_from_chunk(struct lane *lane, const struct destination *destination,
                            const struct event_chunk *chunk, const struct chunk_event *event)
{
    struct journal_position position = journal_position_unpack(event->position);
    struct http_head head;
    if (was_done_before(lane, position.sequence)) {
        if (window_full(lane)) {
            return false;
        }
        window_push(lane, position.sequence, event->entry.received_ns, ORDER_NO_KEY, true);
        window_trim(lane);
        return true;
    }
    if (http_parse_request(chunk->at + event->message_at, event->entry.head_bytes, &head) !=
        HTTP_PARSE_DONE) {
        return true; /* cannot be: only parsed heads are appended */
    }
    struct event_view view = {.position = position,
                              .entry = &event->entry,
                              .message = chunk->at + event->message_at,
                              .head = &head,
                              .source = slice_of(chunk->at + event->source_at, event->source_bytes),
                              .type = slice_of(chunk->at + event->type_at, event->type_bytes)};
    return lane_accept(lane, destination, &view);
}

static void chunk_home(struct deliver *deliver, struct event_chunk *chunk)
{
    chunk->mail.run = dispatch_chunk_back;
    ring_post(deliver->config.ring, deliver->config.control, &chunk->mail);
}

static void lane_take_chunk(struct lane *lane, const struct destination *destination,
                            struct lane_want *want)
{
    uint64_t next = want->next;
    unsigned taken = 0;
    unsigned count = want->chunk ? want->chunk->count : 0;
    for (; taken < count; taken++) {
        const struct chunk_event *event = &want->chunk->events[taken];
        if (!take_from_chunk(lane, destination, want->chunk, event)) {
            next = journal_position_unpack(event->position).sequence;
            break;
        }
    }
    lane->backlog -= taken < lane->backlog ? taken : lane->backlog;
    if (taken > 0) {
        lane->left_ns = want->chunk->events[taken - 1].entry.received_ns;
    }
    lane->next = next;
    lane->target->status.lost += want->lost;
    /* The newest event that was left behind has been looked at, and later ones are offered here. */
    if (lane->foreign ? want->caught_up && taken == count : lane->next > lane->missed) {
        lane->behind = false;
        lane->backlog = 0;
        if (!lane->window) { /* else what is queued may yet be left to the journal again */
            forget_done(lane);
        }
    }
    lane_changed(lane);
    bool progress = taken > 0 || (count == 0 && want->next > want->from);
    uint64_t now_ns = ring_now_ns(want->home->config.ring);
    if (want->unreadable) {
        lane->look_ns = now_ns + UNREADABLE_LOOK_NS;
        target_pump_later(lane->target);
    } else if (!progress && lane->queued == 0) {
        pump_at(lane->target, now_ns + FLOW_LOOK_NS);
    } else {
        target_pump_later(lane->target);
    }
}

void deliver_want_back(struct ring_mail *mail)
{
    struct lane_want *want = bk_container_of(mail, struct lane_want, mail);
    struct lane *lane = bk_container_of(want, struct lane, want);
    struct deliver *deliver = want->home;
    const struct destination *destination = destination_of(lane->target);
    lane->asked = false;
    deliver->wants_out--;
    if (want->oldest_ns != 0) {
        lane->told_ns = want->oldest_ns;
        target_changed(lane->target);
    }
    if (destination && want->events_max == 0 && want->lost == 0) {
        return; /* all is there */
    }
    if (destination && !deliver->draining && want->from == lane->next) {
        lane_take_chunk(lane, destination, want);
    } else { /* or the lane went back meanwhile (a head that failed, a breaker): what was read
                lies behind events that are still owed */
        target_pump_later(lane->target);
    }
    if (want->chunk) {
        chunk_home(deliver, want->chunk);
        want->chunk = NULL;
    }
}

/* ---- the pump */

static struct delivery *next_of_lanes(struct target *target)
{
    for (struct list *node = target->lanes.next; node != &target->lanes; node = node->next) {
        struct lane *lane = bk_container_of(node, struct lane, node);
        if (lane->queued > 0) {
            return bk_container_of(lane->queue.next, struct delivery, node);
        }
    }
    return NULL;
}

static struct delivery *next_of(struct target *target, bool *ret_waits)
{
    struct delivery *retry = list_empty(&target->retries)
                                 ? NULL
                                 : bk_container_of(target->retries.next, struct delivery, node);
    struct delivery *first = target->firsts   ? order_next_of_keys(target, ret_waits)
                             : target->strict ? order_next(target)
                                              : next_of_lanes(target);
    if (retry && (target->retry_turn || !first)) {
        target->retry_turn = false;
        return retry;
    }
    target->retry_turn = true;
    return first;
}

static void unqueue(struct delivery *delivery)
{
    list_remove(&delivery->node);
    if (delivery->lane) {
        delivery->lane->queued--;
    } else {
        delivery->target->retry_count--;
    }
}

void target_rebuild(struct target *target)
{
    for (struct list *node = target->lanes.next; node != &target->lanes; node = node->next) {
        lane_drop_queue(bk_container_of(node, struct lane, node));
    }
}

/* It will not go any more: its lane's cursor stays in front of it. */
static void give_up_queue(struct lane *lane)
{
    struct list *node;
    while ((node = list_pop_front(&lane->queue)) != NULL) {
        lane->queued--;
        delivery_give(bk_container_of(node, struct delivery, node));
    }
}

/* Nothing of it can go now, and perhaps not for hours. */
static void drop_queues(struct target *target)
{
    target_rebuild(target);
    while (!list_empty(&target->retries)) {
        struct delivery *delivery = bk_container_of(target->retries.next, struct delivery, node);
        unqueue(delivery);
        delivery_refuse(delivery);
    }
}

/* Start what may go. */
static void pump_queues(struct target *target, const struct destination *destination)
{
    struct deliver *deliver = target->deliver;
    struct flow_limits limits = limits_of(destination);
    uint64_t at_ns = 0;
    struct delivery *delivery;
    bool waits = false;
    while ((delivery = next_of(target, &waits)) != NULL) {
        if (target->strict && !target->firsts && !order_allows(target, delivery)) {
            pump_at(target, ring_now_ns(deliver->config.ring) + FLOW_LOOK_NS);
            break;
        }
        enum flow_answer answer =
            flow_take(&target->flow, shared_of(destination), &limits,
                      ring_now_ns(deliver->config.ring), &delivery->place, &at_ns);
        if (answer == FLOW_LATER) {
            pump_at(target, at_ns);
        }
        if (answer == FLOW_LATER || answer == FLOW_FULL) {
            break;
        }
        if (!delivery_start(delivery, destination)) {
            (void)flow_give(&target->flow, shared_of(destination), &delivery->place, FLOW_CANCELLED,
                            0, 0, 0);
            if (delivery->bucket != ORDER_NO_KEY && delivery->lane) {
                unqueue(delivery);
                delivery_wait(delivery); /* built anew when the store sends it */
                continue;
            }
            drop_queues(target); /* they are built anew from the journal */
            target_pump_later(target);
            return;
        }
        unqueue(delivery);
        target_changed(target);
    }
    if (waits) { /* other cores' deliveries end unseen */
        pump_at(target, ring_now_ns(deliver->config.ring) + FLOW_LOOK_NS);
    }
    if (flow_is_open(shared_of(destination))) {
        drop_queues(target);
    }
}

/* Paused, or told to wait for a day: retention goes on meanwhile, and what it took is said then. */
static void ask_what_is_lost(struct lane *lane)
{
    uint64_t now_ns = ring_now_ns(lane->target->deliver->config.ring);
    if (lane->behind && !lane->asked && now_ns >= lane->lost_ns) {
        lane->lost_ns = now_ns + LOST_LOOK_NS;
        lane_ask(lane, 0);
    }
}

static void pump_behind(struct target *target, struct lane *lane,
                        const struct destination *destination)
{
    unsigned most = queue_max(lane);
    if (!lane->behind || lane->asked || lane->queued > most / LANE_QUEUE_LOW || window_full(lane)) {
        return;
    }
    struct deliver *deliver = target->deliver;
    uint64_t from_ns = lane->held_until_ns > lane->look_ns ? lane->held_until_ns : lane->look_ns;
    if (from_ns > ring_now_ns(deliver->config.ring)) {
        pump_at(target, from_ns);
        return;
    }
    if (target->no_large_before_ns > ring_now_ns(deliver->config.ring)) {
        pump_at(target, target->no_large_before_ns);
        return;
    }
    struct flow_limits limits = limits_of(destination);
    uint64_t at_ns = 0;
    bool open = flow_is_open(shared_of(destination));
    uint32_t room = flow_room(&target->flow, shared_of(destination), &limits,
                              ring_now_ns(deliver->config.ring), &at_ns);
    if (at_ns != 0) {
        pump_at(target, at_ns);
        ask_what_is_lost(lane);
        return;
    }
    if (room == 0 && (open || lane->queued > 0)) {
        return;
    }
    uint64_t look_ns = delivery_no_room_ns(target);
    if (look_ns != 0) {
        pump_at(target, ring_now_ns(deliver->config.ring) + look_ns);
        return;
    }
    lane_ask(lane, open ? 1 : most - lane->queued);
}

/* Strict order: a head that was to wait for long goes now. */
static void look_for_lift(struct target *target, const struct destination *destination)
{
    uint64_t lifts = flow_lifts(shared_of(destination));
    if (target->lifts == lifts) {
        return;
    }
    target->lifts = lifts;
    for (struct list *node = target->lanes.next; node != &target->lanes; node = node->next) {
        bk_container_of(node, struct lane, node)->held_until_ns = 0;
    }
}

void target_pump(struct target *target)
{
    struct deliver *deliver = target->deliver;
    const struct destination *destination = destination_of(target);
    if (!destination || deliver->draining) {
        drop_queues(target);
        for (struct list *node = target->lanes.next; node != &target->lanes; node = node->next) {
            give_up_queue(bk_container_of(node, struct lane, node));
        }
        return;
    }
    order_set(target, destination);
    if (destination->pause != DESTINATION_RUNNING) {
        drop_queues(target);
        for (struct list *node = target->lanes.next; node != &target->lanes; node = node->next) {
            ask_what_is_lost(bk_container_of(node, struct lane, node));
        }
        return; /* the checkpoint's timer looks again */
    }
    look_for_lift(target, destination);
    pump_queues(target, destination);
    for (struct list *node = target->lanes.next; node != &target->lanes; node = node->next) {
        pump_behind(target, bk_container_of(node, struct lane, node), destination);
    }
}
