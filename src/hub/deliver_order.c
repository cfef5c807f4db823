/* deliver_order.c - strict order: one event at a time, the oldest first, over the journals of all
 * cores.
 *
 * Each core tells, per strict destination, when the oldest event that it still owes was received.
 * It tells so when the event became durable, before its sender gets an answer: so who posts B after
 * A was acknowledged finds A told, whichever cores the two came to. A core starts the head of its
 * lane only when no other core owes an older one; when it settled one it wakes the core whose turn
 * it is.
 */
#include "hub/deliver_private.h"

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

void order_set(struct target *target, const struct destination *destination)
{
    if (target->strict == destination->strict) {
        return;
    }
    target->strict = destination->strict;
    if (target->strict) {
        order_publish(target);
    } else { /* nobody waits for us any more, also when the order becomes strict again */
        atomic_store(&destination->state->oldest_ns[target->deliver->config.core], 0);
    }
}

void order_publish(struct target *target)
{
    const struct destination *destination = destination_of(target);
    const struct lane *lane = NULL;
    if (destination) {
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
        return true; /* a replay: asked for by hand, in no order */
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

/* ---- whose turn */

static void wake_home(struct ring_mail *mail)
{
    struct target_wake *wake = bk_container_of(mail, struct target_wake, mail);
    wake->out = false;
    if (wake->again) {
        wake->again = false;
        order_pass_on(wake->home);
    }
}

static void wake_arrived(struct ring_mail *mail)
{
    struct target_wake *wake = bk_container_of(mail, struct target_wake, mail);
    deliver_wake(wake->peer, wake->number);
    mail->run = wake_home;
    ring_post(wake->peer->config.ring, wake->home->deliver->config.ring, mail);
}

void order_pass_on(struct target *target)
{
    const struct destination *destination = destination_of(target);
    struct deliver *deliver = target->deliver;
    struct target_wake *wake = &target->wake;
    uint16_t turn = deliver->config.core;
    if (!destination || !deliver->config.peers) {
        return;
    }
    int64_t oldest = atomic_load(&destination->state->oldest_ns[turn]);
    for (uint16_t other = 0; other < deliver->config.cores; other++) {
        int64_t at = atomic_load(&destination->state->oldest_ns[other]);
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
    ring_post(deliver->config.ring, wake->peer->config.ring, &wake->mail);
}
