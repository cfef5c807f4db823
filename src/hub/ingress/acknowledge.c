#include "hub/ingress/acknowledge.h"

#include "base/log.h"
#include "base/time.h"
#include "hub/ingress/answer.h"
#include "hub/ingress/counters.h"

#include <stdlib.h>

/* NULL = not open yet. */
static struct ingress *peer_of(const struct ingress *ingress, unsigned core)
{
    return __atomic_load_n(&ingress->config->peers[core], __ATOMIC_ACQUIRE);
}

void acknowledge_batch(struct ingress *ingress, struct http_exchange *exchange, uint64_t sequence,
                       uint64_t number, struct claims *claims)
{
    acknowledge_when_durable(ingress, exchange, sequence, number, NULL);
    exchange->handler_pointer = claims;
    exchange->handler_many = true;
}

static void settle_slot(struct dedupe_slot *slot, bool durable)
{
    if (slot && durable) {
        dedupe_durable(slot);
    } else if (slot) {
        dedupe_release(slot);
    }
}

static void settle_claims(struct claims *claims, bool durable)
{
    for (unsigned i = 0; i < claims->count; i++) {
        settle_slot(claims->slots[i], durable);
    }
    free(claims);
}

/* Gives what is left to be done for the one event of a request: nothing. */
static struct dedupe_slot *settle_batch(struct http_exchange *exchange, bool *durable)
{
    struct claims *claims = exchange->handler_pointer;
    bool incomplete = claims->incomplete;
    settle_claims(claims, *durable);
    *durable = *durable && !incomplete;
    exchange->handler_many = false;
    return NULL;
}

static void acknowledge(struct ingress *ingress, struct http_exchange *exchange, bool durable)
{
    struct dedupe_slot *slot = __builtin_expect(exchange->handler_many, 0)
                                   ? settle_batch(exchange, &durable)
                                   : exchange->handler_pointer;
    uint64_t number = exchange->handler_source;
    exchange->handler_pointer = NULL;
    if (exchange->handler_buffer) {
        buffers_give(http_buffers(exchange->server), exchange->handler_buffer,
                     exchange->handler_buffer_bytes);
        exchange->handler_buffer = NULL;
    }
    settle_slot(slot, durable);
    if (!durable) {
        http_unprepare(exchange);
        answer_busy(ingress, exchange, number);
        return;
    }
    count_answer(ingress, number, 200);
    metrics_observe(&ingress->metrics->ack_ns, ring_now_ns(ingress->ring) - exchange->started_ns,
                    METRICS_TIME_SHIFT);
    http_ready(exchange);
}

/* Another core's exchange waits for one of our records: a letter that goes there and back. */
struct foreign_wait {
    struct ring_mail mail;
    struct list node;
    struct ingress *home;  /* whose exchange it is */
    struct ingress *owner; /* whose record it waits for */
    struct http_exchange *exchange;
    uint64_t sequence;
    bool durable;
};

static void foreign_returned(struct ring_mail *mail)
{
    struct foreign_wait *wait = bk_container_of(mail, struct foreign_wait, mail);
    acknowledge(wait->home, wait->exchange, wait->durable);
    free(wait);
}

static void foreign_settle(struct foreign_wait *wait, bool durable)
{
    wait->durable = durable;
    wait->mail.run = foreign_returned;
    ring_post(wait->owner->ring, wait->home->ring, &wait->mail);
}

static bool record_failed(const struct ingress *ingress, uint64_t sequence)
{
    for (unsigned i = 0; i < INGRESS_FAILED; i++) {
        if (sequence > ingress->failed[i].after && sequence <= ingress->failed[i].through) {
            return true;
        }
    }
    return false;
}

static void foreign_arrived(struct ring_mail *mail)
{
    struct foreign_wait *wait = bk_container_of(mail, struct foreign_wait, mail);
    bool failed = record_failed(wait->owner, wait->sequence);
    if (failed || journal_durable_through(wait->owner->journal) >= wait->sequence) {
        foreign_settle(wait, !failed);
    } else {
        list_push_back(&wait->owner->foreign, &wait->node);
    }
}

struct foreign_wait *acknowledge_foreign_take(void)
{
    return calloc(1, sizeof(struct foreign_wait));
}

void acknowledge_when_foreign(struct ingress *ingress, struct http_exchange *exchange,
                              struct journal_position position, uint64_t number,
                              struct foreign_wait *wait)
{
    wait->home = ingress;
    wait->owner = peer_of(ingress, position.journal);
    wait->exchange = exchange;
    wait->sequence = position.sequence;
    wait->mail.run = foreign_arrived;
    exchange->handler_source = number;
    exchange->handler_pointer = NULL;
    ring_post(ingress->ring, wait->owner->ring, &wait->mail);
}

/* ---- a disk that does not answer: its time is over, and nobody waits for it any more */

#define GIVE_UP_NS (10 * (uint64_t)NS_PER_MS) /* for who comes to wait after all */

/* What an exchange held that was answered before its record was durable, or failed. */
struct unheard {
    struct list node;
    uint64_t sequence;
    struct dedupe_slot *slot; /* NULL = none, as the others */
    struct claims *claims;
    struct buffers *buffers; /* of `buffer`, which the journal reads */
    uint8_t *buffer;
    size_t buffer_bytes;
};

static void unheard_settle(struct unheard *unheard, bool durable)
{
    list_remove(&unheard->node);
    settle_slot(unheard->slot, durable);
    if (unheard->claims) {
        settle_claims(unheard->claims, durable);
    }
    if (unheard->buffer) {
        buffers_give(unheard->buffers, unheard->buffer, unheard->buffer_bytes);
    }
    free(unheard);
}

/* False: there is no memory to keep what it holds; it waits on. */
static bool give_up(struct ingress *ingress, struct http_exchange *exchange)
{
    if (exchange->handler_pointer || exchange->handler_buffer) {
        struct unheard *unheard = malloc(sizeof *unheard);
        if (!unheard) {
            return false;
        }
        bool many = exchange->handler_many;
        *unheard = (struct unheard){.sequence = exchange->handler_number,
                                    .slot = many ? NULL : exchange->handler_pointer,
                                    .claims = many ? exchange->handler_pointer : NULL,
                                    .buffers = http_buffers(exchange->server),
                                    .buffer = exchange->handler_buffer,
                                    .buffer_bytes = exchange->handler_buffer_bytes};
        list_push_back(&ingress->unheard, &unheard->node);
        exchange->handler_pointer = NULL;
        exchange->handler_buffer = NULL;
        exchange->handler_many = false;
    }
    list_remove(&exchange->wait);
    http_unprepare(exchange);
    answer_refuse(ingress, exchange, exchange->handler_source, 503, "unavailable",
                  "the disk does not answer; this may be stored yet, send it again",
                  SLICE("Retry-After: 5\r\n"));
    return true;
}

static void give_up_all(struct ingress *ingress)
{
    for (struct list *node = ingress->waiting.next, *next; node != &ingress->waiting; node = next) {
        next = node->next;
        if (!give_up(ingress, bk_container_of(node, struct http_exchange, wait))) {
            break;
        }
    }
    for (struct list *node; (node = list_pop_front(&ingress->foreign)) != NULL;) {
        foreign_settle(bk_container_of(node, struct foreign_wait, node), false);
    }
}

uint64_t acknowledge_next_ns(const struct ingress *ingress)
{
    uint64_t since_ns = journal_writing_since_ns(ingress->journal);
    if (ingress->stalled) {
        bool waits = !list_empty(&ingress->waiting) || !list_empty(&ingress->foreign);
        return waits ? ring_now_ns(ingress->ring) + GIVE_UP_NS : UINT64_MAX;
    }
    uint64_t patient_ns = since_ns + INGRESS_PATIENCE_NS;
    return !since_ns                          ? UINT64_MAX
           : patient_ns < ingress->give_up_ns ? patient_ns
                                              : ingress->give_up_ns;
}

/* Cores open one after the other: one that did meanwhile was never told that it began. */
static void tell_peers(struct ingress *ingress)
{
    for (unsigned i = 0; i < ingress->config->peer_count; i++) {
        struct ingress *peer = peer_of(ingress, i);
        if (peer && ingress->told[i] != ingress->stalled) {
            ingress->told[i] = ingress->stalled;
            atomic_fetch_add_explicit(&peer->stalled_count, ingress->stalled ? 1U : -1U,
                                      memory_order_relaxed);
        }
    }
}

void ingress_turn(struct ingress *ingress)
{
    uint64_t since_ns = journal_writing_since_ns(ingress->journal);
    uint64_t now_ns = ring_now_ns(ingress->ring);
    bool stalled = since_ns != 0 &&
                   (now_ns - since_ns >= INGRESS_PATIENCE_NS || now_ns >= ingress->give_up_ns);
    if (stalled != ingress->stalled) {
        ingress->stalled = stalled;
        tell_peers(ingress);
        log_event(stalled ? LOG_ERROR : LOG_INFO,
                  stalled ? "the disk does not answer" : "the disk answers again",
                  LOG_I("journal", ingress->config->id));
    }
    if (stalled) {
        give_up_all(ingress);
    }
}

/* Only who made a claim holds a slot, and claims wait in the order of their sequences. */
static bool is_settled(const struct ingress *ingress, uint64_t sequence)
{
    if (!list_empty(&ingress->unheard) &&
        bk_container_of(ingress->unheard.next, struct unheard, node)->sequence <= sequence) {
        return false;
    }
    if (list_empty(&ingress->waiting)) {
        return true;
    }
    const struct http_exchange *first =
        bk_container_of(ingress->waiting.next, struct http_exchange, wait);
    return first->handler_number > sequence;
}

static void settle(struct ingress *ingress)
{
    while (!list_empty(&ingress->settling)) {
        struct ingress_settled *settled =
            bk_container_of(ingress->settling.next, struct ingress_settled, node);
        if (!is_settled(ingress, settled->sequence)) {
            break;
        }
        list_remove(&settled->node);
        settled->done(settled);
    }
}

void ingress_when_settled(struct ingress *ingress, struct ingress_settled *settled,
                          void (*done)(struct ingress_settled *settled))
{
    *settled = (struct ingress_settled){.sequence = ingress->appended, .done = done};
    list_push_back(&ingress->settling, &settled->node);
    settle(ingress);
}

/* All that wait are looked at, each time: a later commit also passes the numbers of refused
 * records. */
void ingress_committed(void *context, uint64_t durable_through, uint64_t failed_through,
                       enum bk_err err)
{
    struct ingress *ingress = context;
    if (err != BK_OK) {
        ingress->failed[ingress->failed_count++ % INGRESS_FAILED] =
            (struct ingress_failed){durable_through, failed_through};
    }
    for (struct list *node = ingress->waiting.next, *next; node != &ingress->waiting; node = next) {
        next = node->next;
        struct http_exchange *exchange = bk_container_of(node, struct http_exchange, wait);
        bool durable = exchange->handler_number <= durable_through;
        if (durable || (err != BK_OK && exchange->handler_number <= failed_through)) {
            list_remove(node);
            acknowledge(ingress, exchange, durable);
        }
    }
    for (struct list *node = ingress->foreign.next, *next; node != &ingress->foreign; node = next) {
        next = node->next;
        struct foreign_wait *wait = bk_container_of(node, struct foreign_wait, node);
        bool durable = wait->sequence <= durable_through;
        if (durable || (err != BK_OK && wait->sequence <= failed_through)) {
            list_remove(node);
            foreign_settle(wait, durable);
        }
    }
    for (struct list *node = ingress->unheard.next, *next; node != &ingress->unheard; node = next) {
        next = node->next;
        struct unheard *unheard = bk_container_of(node, struct unheard, node);
        bool durable = unheard->sequence <= durable_through;
        if (durable || (err != BK_OK && unheard->sequence <= failed_through)) {
            unheard_settle(unheard, durable);
        }
    }
    settle(ingress);
}

void acknowledge_init(struct ingress *ingress)
{
    list_init(&ingress->waiting);
    list_init(&ingress->foreign);
    list_init(&ingress->settling);
    list_init(&ingress->unheard);
    ingress->give_up_ns = UINT64_MAX;
}

void acknowledge_fini(struct ingress *ingress)
{
    for (struct list *node; (node = list_pop_front(&ingress->unheard)) != NULL;) {
        struct unheard *unheard = bk_container_of(node, struct unheard, node);
        free(unheard->claims);
        free(unheard);
    }
}
