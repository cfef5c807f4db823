/* deliver_order.c - strict order: one event at a time, the oldest first, over the journals of all
 * cores.
 *
 * Each core tells, per strict destination, when the oldest event that it still owes was received.
 * It tells so when the event became durable, before its sender gets an answer: so who posts B after
 * A was acknowledged finds A told, whichever cores the two came to. A core starts the head of its
 * lane only when no other core owes an older one; when it settled one it wakes the core whose turn
 * it is.
 *
 * Order per key: the same for each key by itself, as deliveries/order.h has it. A head that failed
 * does not stay in its lane: it and all that come behind it wait in the store until it is settled.
 */
#include "hub/deliveries/deliver_private.h"
#include "hub/deliveries/event_key.h"

#include <stdlib.h>

static int64_t oldest_of(const struct target *target, const struct lane **ret_lane)
{
    int64_t oldest = 0;
    for (struct list *node = target->lanes.next; node != &target->lanes; node = node->next) {
        const struct lane *lane = bk_container_of(node, const struct lane, node);
        int64_t at = lane_oldest_ns(lane);
        if (at != 0 && (oldest == 0 || at < oldest)) {
            oldest = at;
            *ret_lane = lane;
        }
    }
    return oldest;
}

static struct order_keys *keys_of(const struct destination *destination)
{
    return atomic_load(&destination->state->keys);
}

static void per_key_begin(struct target *target)
{
    target_rebuild(target);                                         /* their keys are not known */
    target->firsts = calloc(ORDER_BUCKETS, sizeof *target->firsts); /* NULL: one order for all */
}

static void per_key_end(struct target *target, struct order_keys *keys)
{
    target_rebuild(target);
    free(target->firsts);
    target->firsts = NULL;
    for (unsigned bucket = 0; keys && bucket < ORDER_BUCKETS; bucket++) {
        atomic_store(&keys->oldest_ns[target->deliver->config.core][bucket], 0);
    }
}

void order_set(struct target *target, const struct destination *destination)
{
    bool per_key = destination->strict && destination->order_key;
    bool same_key = !per_key || target->order_version == destination->version;
    if (target->strict == destination->strict && per_key == (target->firsts != NULL) && same_key) {
        return;
    }
    target->order_version = destination->version;
    if (per_key && !target->firsts) {
        per_key_begin(target);
    } else if (!per_key && target->firsts) {
        per_key_end(target, keys_of(destination));
    } else if (per_key) {
        target_rebuild(target); /* perhaps by another key */
    }
    target->strict = destination->strict;
    if (target->strict) {
        order_publish(target);
    } else { /* nobody waits for us any more, also when the order becomes strict again */
        atomic_store(&destination->state->oldest_ns[target->deliver->config.core], 0);
    }
}

/* Per key: what was left to the journal, of any key. */
static int64_t left_oldest(const struct target *target, const struct lane *but)
{
    int64_t oldest = 0;
    for (struct list *node = target->lanes.next; node != &target->lanes; node = node->next) {
        const struct lane *lane = bk_container_of(node, const struct lane, node);
        if (lane != but && lane->behind && (oldest == 0 || lane_left_ns(lane) < oldest)) {
            oldest = lane_left_ns(lane);
        }
    }
    return oldest;
}

void order_publish(struct target *target)
{
    const struct destination *destination = destination_of(target);
    const struct lane *lane = NULL;
    if (destination && target->firsts) {
        atomic_store(&destination->state->oldest_ns[target->deliver->config.core],
                     left_oldest(target, NULL));
    } else if (destination) {
        atomic_store(&destination->state->oldest_ns[target->deliver->config.core],
                     oldest_of(target, &lane));
    }
}

struct delivery *order_next(const struct target *target)
{
    const struct lane *first = NULL;
    (void)oldest_of(target, &first);
    return first && first->queued > 0 ? bk_container_of(first->queue.next, struct delivery, node)
                                      : NULL;
}

bool order_allows(const struct target *target, const struct delivery *delivery)
{
    const struct destination *destination = destination_of(target);
    const struct lane *first = NULL;
    uint16_t core = target->deliver->config.core;
    if (!destination || !delivery->lane) {
        return true; /* from the store, where those that are in order wait for each other */
    }
    (void)oldest_of(target, &first);
    if (target->flow.inflight > 0 || first != delivery->lane) {
        return false;
    }
    for (uint16_t other = 0; other < target->deliver->config.cores; other++) {
        int64_t at = atomic_load(&destination->state->oldest_ns[other]);
        if (other != core && at != 0 &&
            (at < delivery->event_ns || (at == delivery->event_ns && other < core))) {
            return false;
        }
    }
    return true;
}

/* ---- per key */

uint16_t order_bucket_of(const struct target *target, const struct destination *destination,
                         const struct event_view *event)
{
    return target->firsts && destination->order_key
               ? event_key_bucket(destination->order_key, target->deliver->config.scratch, event)
               : ORDER_NO_KEY;
}

void order_bucket_changed(struct target *target, uint16_t bucket)
{
    const struct destination *destination = destination_of(target);
    struct order_keys *keys = destination ? keys_of(destination) : NULL;
    if (bucket == ORDER_NO_KEY || !target->firsts || !keys) {
        return;
    }
    struct bucket_first *first = &target->firsts[bucket];
    int64_t oldest = 0;
    uint64_t sequence = 0;
    first->lane = NULL;
    for (struct list *node = target->lanes.next; node != &target->lanes; node = node->next) {
        const struct lane *lane = bk_container_of(node, const struct lane, node);
        int64_t at = lane_bucket_oldest(lane, bucket, &sequence);
        if (at != 0 && (oldest == 0 || at < oldest)) {
            oldest = at;
            *first = (struct bucket_first){lane, sequence};
        }
    }
    atomic_store(&keys->oldest_ns[target->deliver->config.core][bucket], oldest);
}

static bool is_older(int64_t at, uint16_t core, const struct delivery *delivery, uint16_t mine)
{
    return at != 0 && (at < delivery->event_ns || (at == delivery->event_ns && core < mine));
}

/* No core owes an older one of its bucket, or one that may be. */
static bool is_first(const struct target *target, const struct destination *destination,
                     const struct order_keys *keys, const struct delivery *delivery)
{
    const struct bucket_first *first = &target->firsts[delivery->bucket];
    uint16_t mine = target->deliver->config.core;
    int64_t left = left_oldest(target, delivery->lane);
    if (first->lane != delivery->lane ||
        first->sequence != journal_position_unpack(delivery->position).sequence ||
        (left != 0 && left < delivery->event_ns)) {
        return false;
    }
    for (uint16_t core = 0; core < target->deliver->config.cores; core++) {
        if (core != mine &&
            (is_older(atomic_load(&keys->oldest_ns[core][delivery->bucket]), core, delivery,
                      mine) ||
             is_older(atomic_load(&destination->state->oldest_ns[core]), core, delivery, mine))) {
            return false;
        }
    }
    return true;
}

static bool is_blocked(const struct order_keys *keys, uint16_t bucket)
{
    return atomic_load(&keys->mail[bucket]) > 0 || atomic_load(&keys->rows[bucket]);
}

struct delivery *order_next_of_keys(struct target *target, bool *ret_waits)
{
    const struct destination *destination = destination_of(target);
    struct order_keys *keys = destination ? keys_of(destination) : NULL;
    for (struct list *at = target->lanes.next; keys && at != &target->lanes; at = at->next) {
        struct lane *lane = bk_container_of(at, struct lane, node);
        struct list *node = lane->queue.next;
        while (node != &lane->queue) {
            struct delivery *delivery = bk_container_of(node, struct delivery, node);
            node = node->next;
            if (delivery->bucket == ORDER_NO_KEY) { /* from before there were keys */
                return delivery;
            }
            if (!is_first(target, destination, keys, delivery)) {
                *ret_waits = true;
            } else if (is_blocked(keys, delivery->bucket)) {
                list_remove(&delivery->node);
                lane->queued--;
                delivery_wait(delivery);
            } else {
                return delivery;
            }
        }
    }
    return NULL;
}

bool order_begin(struct delivery *delivery, const struct destination *destination)
{
    struct order_keys *keys = keys_of(destination);
    delivery->in_order = false;
    if (!keys || !delivery->lane || delivery->bucket == ORDER_NO_KEY) {
        return true;
    }
    atomic_fetch_add(&keys->flying[delivery->bucket], 1);
    delivery->in_order = !is_blocked(keys, delivery->bucket);
    if (!delivery->in_order) {
        order_end(destination, delivery->bucket);
    }
    return delivery->in_order;
}

void order_end(const struct destination *destination, uint16_t bucket)
{
    atomic_fetch_sub(&keys_of(destination)->flying[bucket], 1);
}

/* ---- whose turn */

static void wake_home(struct ring_mail *mail)
{
    struct target_wake *wake = bk_container_of(mail, struct target_wake, mail);
    wake->out = false;
    wake->home->deliver->wakes_out--;
    if (wake->again) {
        wake->again = false;
        order_pass_on(wake->home, ORDER_NO_KEY);
    }
}

static void wake_arrived(struct ring_mail *mail)
{
    struct target_wake *wake = bk_container_of(mail, struct target_wake, mail);
    deliver_wake(wake->peer, wake->number);
    mail->run = wake_home;
    ring_post(wake->peer->config.ring, wake->home->deliver->config.ring, mail);
}

static int64_t owed_by(const struct destination *destination, uint16_t core, uint16_t bucket)
{
    const struct order_keys *keys = keys_of(destination);
    return keys && bucket != ORDER_NO_KEY ? atomic_load(&keys->oldest_ns[core][bucket])
                                          : atomic_load(&destination->state->oldest_ns[core]);
}

void order_pass_on(struct target *target, uint16_t bucket)
{
    const struct destination *destination = destination_of(target);
    struct deliver *deliver = target->deliver;
    struct target_wake *wake = &target->wake;
    uint16_t turn = deliver->config.core;
    if (!destination || !deliver->config.peers) {
        return;
    }
    int64_t oldest = owed_by(destination, turn, bucket);
    for (uint16_t other = 0; other < deliver->config.cores; other++) {
        int64_t at = owed_by(destination, other, bucket);
        if (at != 0 && (oldest == 0 || at < oldest)) {
            oldest = at;
            turn = other;
        }
    }
    if (turn == deliver->config.core || !deliver->config.peers[turn]) {
        return;
    }
    if (wake->out) {
        wake->again = true;
        return;
    }
    *wake = (struct target_wake){.mail.run = wake_arrived,
                                 .home = target,
                                 .peer = deliver->config.peers[turn],
                                 .number = target->number,
                                 .out = true};
    deliver->wakes_out++;
    ring_post(deliver->config.ring, wake->peer->config.ring, &wake->mail);
}
