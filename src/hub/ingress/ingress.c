#include "hub/ingress/ingress.h"

#include "base/log.h"
#include "base/time.h"
#include "hub/deliveries/request.h"
#include "hub/events/event_id.h"
#include "hub/keys/oidc_issuer.h"
#include "providers/batch.h"
#include "providers/scheme.h"

#include <stdlib.h>
#include <sys/mman.h>

/* The quarantine may take 1 MiB at once and 4 KiB/s for long (about 340 MB a day), per core; a
 * source no more of it than it leaves to the others. */
#define QUARANTINE_BURST_BYTES    (1 << 20)
#define QUARANTINE_NS_PER_BYTE    (1000000000ULL / 4096)
#define QUARANTINE_BODY_BYTES_MAX 16384U
#define REDACTIONS_MAX            8U
#define SUPERPLANE_BODY_BYTES_MAX 65536U
#define RATE_BURST                1 /* seconds of a source's rate that may come at once */

static const char hooks_prefix[] = "/hooks/";

/* ---- paths */

static struct slice path_of(const struct http_head *head)
{
    struct slice path, query;
    http_split_target(head, &path, &query);
    return path;
}

/* How the address of a hook is spelled: each has its own answers. */
enum spelling { SPELLED_OURS, SPELLED_SUPERPLANE, SPELLED_IDONETHIS, SPELLED_GITPLOY };

struct address {
    enum spelling spelling;
    struct slice path; /* of the source */
    struct slice type; /* empty = any */
};

static bool take_prefix(struct slice *path, const char *prefix)
{
    struct slice text = slice_str(prefix);
    bool there = slice_starts(*path, text);
    *path = there ? slice_skip(*path, text.bytes) : *path;
    return there;
}

/* The spellings of those that teams come from. */
static bool other_address(struct slice path, struct address *ret_address)
{
    *ret_address = (struct address){.path = SLICE_EMPTY};
    if (slice_equal(path, SLICE("/hooks"))) {
        *ret_address = (struct address){SPELLED_GITPLOY, SLICE("github"), SLICE("github")};
        return true;
    }
    if (take_prefix(&path, "/api/v1/sources/")) {
        size_t bytes = slice_find(path, '/');
        ret_address->spelling = SPELLED_SUPERPLANE;
        ret_address->path = slice_of(path.at, bytes);
        ret_address->type = slice_skip(path, bytes + 1);
        return bytes > 0 && (bytes == path.bytes || ret_address->type.bytes > 0);
    }
    if (take_prefix(&path, "/integrations/")) {
        size_t bytes = slice_find(path, '/');
        ret_address->spelling = SPELLED_IDONETHIS;
        ret_address->path = ret_address->type = slice_of(path.at, bytes);
        return bytes > 0 && slice_equal(slice_skip(path, bytes), SLICE("/hook"));
    }
    return false;
}

static bool hook_address(struct slice path, struct address *ret_address)
{
    struct slice prefix = slice_of(hooks_prefix, sizeof hooks_prefix - 1);
    if (!slice_starts(path, prefix)) {
        return other_address(path, ret_address);
    }
    *ret_address = (struct address){.path = slice_skip(path, prefix.bytes)};
    return true;
}

bool ingress_owns(const struct http_head *head)
{
    struct address address;
    struct slice path = path_of(head);
    return hook_address(path, &address) || slice_equal(path, SLICE("*")) ||
           slice_starts(path, SLICE("/.well-known/")) || slice_starts(path, SLICE("/health/"));
}

/* NULL = not open yet. */
static struct ingress *peer_of(const struct ingress *ingress, unsigned core)
{
    return __atomic_load_n(&ingress->config->peers[core], __ATOMIC_ACQUIRE);
}

/* ---- counters */

static struct metrics_source *counters_of(struct ingress *ingress, uint64_t number)
{
    uint64_t chunk = number / COUNTER_CHUNK;
    if (number == 0 || chunk >= COUNTER_CHUNKS) {
        return &ingress->metrics->none;
    }
    struct metrics_source *counters = __atomic_load_n(&ingress->counters[chunk], __ATOMIC_ACQUIRE);
    if (!counters) {
        /* Once per thousand sources, at the first request for any of them. */
        counters = mmap(NULL, COUNTER_CHUNK * sizeof *counters, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (counters == MAP_FAILED) {
            return &ingress->metrics->none;
        }
        __atomic_store_n(&ingress->counters[chunk], counters, __ATOMIC_RELEASE);
    }
    return &counters[number % COUNTER_CHUNK];
}

static inline void count_answer(struct ingress *ingress, uint64_t number, unsigned status)
{
    counter_add(&counters_of(ingress, number)->answers[metrics_code(status)], 1);
}

static void counters_refused(struct metrics_source *counters, int64_t wall_ns, unsigned reason)
{
    counter_set(&counters->refused_ns, (uint64_t)wall_ns);
    counter_set(&counters->refused_reason, reason);
}

static void count_event(struct ingress *ingress, uint64_t number, enum metrics_event event)
{
    counter_add(&counters_of(ingress, number)->events[event], 1);
}

/* ---- fairness: no source may have the journal for itself
 *
 * One source may fill three quarters of a frame, several share these; while half of it is free
 * nobody has to wait. Who is over waits unread until the next frame begins. Who has nothing in the
 * frame is never refused, so a body of any size comes in.
 */
#define SHARE_REQUEST_BYTES 512U /* what a request costs besides its bytes */

static uint64_t share_cost(const struct http_message *message)
{
    return message->head->head_bytes + message->body.bytes + SHARE_REQUEST_BYTES;
}

/* What this source has in the frame that is filling. */
static void share_open(struct ingress *ingress, struct metrics_source *own)
{
    uint64_t frame = journal_filling_from(ingress->journal);
    if (ingress->share_frame != frame) {
        ingress->share_frame = frame;
        ingress->share_bytes = 0;
        ingress->share_sources = 0;
    }
    if (own->share_frame != frame) {
        own->share_frame = frame;
        own->share_bytes = 0;
    }
}

static bool share_is_left(struct ingress *ingress, uint64_t number,
                          const struct http_message *message)
{
    uint64_t cost = share_cost(message);
    if (ingress->share_frame == journal_filling_from(ingress->journal) &&
        ingress->share_bytes + cost <= JOURNAL_FRAME_BYTES / 2) {
        return true; /* nearly always */
    }
    struct metrics_source *own = counters_of(ingress, number);
    share_open(ingress, own);
    return own->share_bytes == 0 || ingress->share_bytes + cost <= JOURNAL_FRAME_BYTES / 2 ||
           own->share_bytes + cost <= JOURNAL_FRAME_BYTES / 4 * 3 / ingress->share_sources;
}

/* Once it is appended: that may have begun the next frame. */
static void share_take(struct ingress *ingress, struct metrics_source *own,
                       const struct http_message *message)
{
    share_open(ingress, own);
    uint64_t cost = share_cost(message);
    ingress->share_sources += own->share_bytes == 0;
    ingress->share_bytes += cost;
    own->share_bytes += cost;
}

/* ---- one request on its way */

struct intake {
    const struct source *source;
    enum spelling spelling;
    const struct http_message *message;
    struct scheme_request request;
    struct scheme_identity identity;
    uint64_t fingerprint[2];
    int64_t wall_ns;
};

/* ---- answers */

static void refuse(struct ingress *ingress, struct http_exchange *exchange, uint64_t number,
                   unsigned status, const char *code, const char *message, struct slice headers)
{
    count_answer(ingress, number, status);
    http_answer_error(exchange, status, code, message, headers);
}

static void refuse_busy(struct ingress *ingress, struct http_exchange *exchange, uint64_t number)
{
    refuse(ingress, exchange, number, 503, "unavailable",
           "the journal cannot take this now, nothing was stored", SLICE("Retry-After: 5\r\n"));
}

static enum http_outcome wait_for_journal(struct http_exchange *exchange)
{
    return http_later(exchange, "unavailable", "the journal cannot take this now, try again");
}

static void prepare_id(struct http_exchange *exchange, struct journal_position position,
                       int64_t received_ns, bool duplicate)
{
    char body[96] = "{\"id\":\"";
    size_t bytes = 7;
    event_id_format(position, received_ns, body + bytes);
    bytes += EVENT_ID_BYTES;
    if (duplicate) {
        memcpy(body + bytes, "\",\"duplicate\":true}", 19);
        bytes += 19;
    } else {
        memcpy(body + bytes, "\"}", 2);
        bytes += 2;
    }
    http_prepare(exchange, 200, "application/json", SLICE_EMPTY, slice_of(body, bytes));
}

/* The provider's own body, with the event's id where it wants it. */
static void prepare_own(struct http_exchange *exchange, const struct scheme_answer *own,
                        struct journal_position position, int64_t received_ns)
{
    static const char word[] = "{id}";
    char body[256];
    size_t word_bytes = sizeof word - 1;
    const uint8_t *at =
        own->body.bytes ? memmem(own->body.at, own->body.bytes, word, word_bytes) : NULL;
    size_t before = at ? (size_t)(at - own->body.at) : own->body.bytes;
    size_t bytes = before + (at ? EVENT_ID_BYTES + own->body.bytes - before - word_bytes : 0);
    if (!at || bytes > sizeof body) {
        http_prepare(exchange, own->status, own->content_type, own->headers, own->body);
        return;
    }
    memcpy(body, own->body.at, before);
    event_id_format(position, received_ns, body + before);
    memcpy(body + before + EVENT_ID_BYTES, at + word_bytes, own->body.bytes - before - word_bytes);
    http_prepare(exchange, own->status, own->content_type, own->headers, slice_of(body, bytes));
}

static void prepare_acknowledgement(const struct intake *intake, struct http_exchange *exchange,
                                    struct journal_position position, int64_t received_ns,
                                    bool duplicate)
{
    const struct scheme_answer *own =
        scheme_acknowledgement(intake->source->scheme, intake->message->head);
    if (intake->spelling != SPELLED_OURS) {
        http_prepare(exchange, 200, NULL, SLICE_EMPTY, SLICE_EMPTY);
    } else if (own) {
        prepare_own(exchange, own, position, received_ns);
    } else {
        prepare_id(exchange, position, received_ns, duplicate);
    }
}

/* ---- waiting for the disk. While an exchange waits, handler_number is the journal sequence,
 * handler_pointer its dedupe slot, handler_source the source's number, handler_buffer what the
 * journal writes from. */

static void wait_for(struct ingress *ingress, struct http_exchange *exchange, uint64_t sequence,
                     uint64_t number, struct dedupe_slot *slot)
{
    exchange->handler_number = sequence;
    exchange->handler_source = number;
    exchange->handler_pointer = slot;
    ingress->appended = sequence > ingress->appended ? sequence : ingress->appended;
    list_push_back(&ingress->waiting, &exchange->wait);
    ingress->waiting_count++;
}

/* The events of a batch, on their way to the disk: handler_pointer of an exchange with
 * handler_many. */
struct many {
    bool incomplete; /* it has to come again: some of it could not be taken now */
    unsigned slot_count;
    struct dedupe_slot *slots[];
};

static void settle_slot(struct dedupe_slot *slot, bool durable)
{
    if (slot && durable) {
        dedupe_durable(slot);
    } else if (slot) {
        dedupe_release(slot);
    }
}

static void settle_many(struct many *many, bool durable)
{
    for (unsigned i = 0; i < many->slot_count; i++) {
        settle_slot(many->slots[i], durable);
    }
    free(many);
}

/* Gives what is left to be done for the one event of a request: nothing. */
static struct dedupe_slot *settle_batch(struct http_exchange *exchange, bool *durable)
{
    struct many *many = exchange->handler_pointer;
    bool incomplete = many->incomplete;
    settle_many(many, *durable);
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
        refuse_busy(ingress, exchange, number);
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

/* ---- a disk that does not answer: its time is over, and nobody waits for it any more */

/* For a key that is fetched: less than a parked connection has, and more than a fetch. */
#define KEY_WAIT_NS (4500 * (uint64_t)NS_PER_MS)
#define GIVE_UP_NS  (10 * (uint64_t)NS_PER_MS) /* for who comes to wait after all */

/* What an exchange held that was answered before its record was durable, or failed. */
struct unheard {
    struct list node;
    uint64_t sequence;
    struct dedupe_slot *slot; /* NULL = none, as the others */
    struct many *many;
    struct buffers *buffers; /* of `buffer`, which the journal reads */
    uint8_t *buffer;
    size_t buffer_bytes;
};

static void unheard_settle(struct unheard *unheard, bool durable)
{
    list_remove(&unheard->node);
    settle_slot(unheard->slot, durable);
    if (unheard->many) {
        settle_many(unheard->many, durable);
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
                                    .many = many ? exchange->handler_pointer : NULL,
                                    .buffers = http_buffers(exchange->server),
                                    .buffer = exchange->handler_buffer,
                                    .buffer_bytes = exchange->handler_buffer_bytes};
        list_push_back(&ingress->unheard, &unheard->node);
        exchange->handler_pointer = NULL;
        exchange->handler_buffer = NULL;
        exchange->handler_many = false;
    }
    list_remove(&exchange->wait);
    ingress->waiting_count--;
    http_unprepare(exchange);
    refuse(ingress, exchange, exchange->handler_source, 503, "unavailable",
           "the disk does not answer; this may be stored yet, send it again",
           SLICE("Retry-After: 5\r\n"));
    return true;
}

/* Nothing new is taken: its sender may as well know at once. */
static bool disk_stands(const struct ingress *ingress)
{
    return atomic_load_explicit(&ingress->stalled_count, memory_order_relaxed) != 0;
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

static uint64_t flush_next_ns(const struct ingress *ingress)
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

/* Who waits for a key is asked again when that wait is over, also where nothing else happens. */
static uint64_t keys_next_ns(const struct ingress *ingress)
{
    uint64_t now_ns = ring_now_ns(ingress->ring), next_ns = UINT64_MAX;
    for (unsigned i = 0; ingress->key_wait_count != 0 && i < INGRESS_KEY_WAITS; i++) {
        const struct ingress_key_wait *wait = &ingress->key_waits[i];
        uint64_t over_ns = wait->since_ns + KEY_WAIT_NS + 1;
        if (wait->conn != NULL && over_ns > now_ns && over_ns < next_ns) {
            next_ns = over_ns;
        }
    }
    return next_ns;
}

uint64_t ingress_next_ns(const struct ingress *ingress)
{
    uint64_t flush_ns = flush_next_ns(ingress), keys_ns = keys_next_ns(ingress);
    return keys_ns < flush_ns ? keys_ns : flush_ns;
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
            ingress->waiting_count--;
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

/* ---- one request */

static uint32_t offset_in(const struct http_message *message, struct slice part)
{
    size_t whole = message->head->head_bytes + message->body.bytes;
    bool inside = part.bytes && part.at >= message->head->at &&
                  part.at + part.bytes <= message->head->at + whole;
    return inside ? (uint32_t)(part.at - message->head->at) : 0;
}

static void place(const struct http_message *message, struct slice part, size_t bytes_max,
                  uint32_t *ret_at, uint16_t *ret_bytes)
{
    *ret_at = offset_in(message, part);
    *ret_bytes = *ret_at ? (uint16_t)(part.bytes < bytes_max ? part.bytes : bytes_max) : 0;
}

static void entry_of(const struct intake *intake, enum journal_record_type type,
                     struct journal_entry *ret_entry)
{
    const struct http_message *message = intake->message;
    *ret_entry = (struct journal_entry){
        .type = type,
        .flags = message->decoded ? JOURNAL_BODY_DECODED : 0,
        .source = intake->source->number,
        .received_ns = intake->wall_ns,
        .fingerprint = {intake->fingerprint[0], intake->fingerprint[1]},
        .peer = message->peer,
        .head_bytes = message->head->head_bytes,
        .body_bytes = (uint32_t)message->body.bytes,
    };
    place(message, intake->identity.type, EVENT_TYPE_BYTES_MAX, &ret_entry->type_at,
          &ret_entry->type_bytes);
    place(message, intake->identity.delivery_id, DELIVERY_ID_BYTES_MAX, &ret_entry->id_at,
          &ret_entry->id_bytes);
}

static void forget_outside(uint64_t message_bytes, uint32_t *at, uint16_t *bytes)
{
    if ((uint64_t)*at + *bytes > message_bytes) {
        *at = 0;
        *bytes = 0;
    }
}

/* After body_bytes was lowered: a type or id that was in the part that is not kept has no place any
 * more. */
static void forget_what_was_cut(struct journal_entry *entry)
{
    uint64_t bytes = (uint64_t)entry->head_bytes + entry->body_bytes;
    forget_outside(bytes, &entry->type_at, &entry->type_bytes);
    forget_outside(bytes, &entry->id_at, &entry->id_bytes);
}

static unsigned redactions_of(const struct intake *intake, struct journal_redaction *ret_redactions)
{
    _Static_assert(sizeof(struct scheme_redaction) == sizeof(struct journal_redaction) &&
                       offsetof(struct scheme_redaction, bytes) ==
                           offsetof(struct journal_redaction, bytes),
                   "same shape");
    return scheme_redactions(intake->source->scheme, &intake->request,
                             (struct scheme_redaction *)(void *)ret_redactions, REDACTIONS_MAX);
}

/* GCRA: an event is allowed when its theoretical arrival is not further ahead than the burst. */
static bool rate_allows(const struct source *source, uint64_t now_ns)
{
    if (!source->interval_ns) {
        return true;
    }
    uint64_t arrival = atomic_load_explicit(&source->state->arrival_ns, memory_order_relaxed);
    uint64_t next;
    do {
        uint64_t base = arrival > now_ns ? arrival : now_ns;
        if (base - now_ns > RATE_BURST * (uint64_t)NS_PER_SECOND - source->interval_ns) {
            return false;
        }
        next = base + source->interval_ns;
    } while (!atomic_compare_exchange_weak_explicit(&source->state->arrival_ns, &arrival, next,
                                                    memory_order_relaxed, memory_order_relaxed));
    return true;
}

/* Take back what rate_allows took, for a request that will be asked again. */
static void rate_refund(const struct source *source)
{
    if (source->interval_ns) {
        atomic_fetch_sub_explicit(&source->state->arrival_ns, source->interval_ns,
                                  memory_order_relaxed);
    }
}

/* What is too little for a byte counts on, or a flood of forged requests would stop the refill. */
static void quarantine_refill(struct ingress *ingress)
{
    uint64_t since_ns = ring_now_ns(ingress->ring) - ingress->quarantine_ns;
    uint64_t bytes = since_ns / QUARANTINE_NS_PER_BYTE;
    ingress->quarantine_ns += bytes * QUARANTINE_NS_PER_BYTE;
    uint64_t full = (uint64_t)(QUARANTINE_BURST_BYTES - ingress->quarantine_bytes);
    ingress->quarantine_bytes += (int64_t)(bytes < full ? bytes : full);
}

/* A source may have taken as much as is left when it has taken more, so a noisy one has half of the
 * budget at once and, alone, all of its rate; two have a third each, and there is always room for
 * one that was quiet. */
static bool quarantine_takes(struct ingress *ingress, struct metrics_source *own, uint64_t cost)
{
    quarantine_refill(ingress);
    uint64_t now_ns = ring_now_ns(ingress->ring);
    uint64_t bytes = (now_ns - own->quarantine_ns) / QUARANTINE_NS_PER_BYTE;
    own->quarantine_bytes -= bytes < own->quarantine_bytes ? bytes : own->quarantine_bytes;
    own->quarantine_ns =
        own->quarantine_bytes ? own->quarantine_ns + bytes * QUARANTINE_NS_PER_BYTE : now_ns;
    uint64_t left = (uint64_t)ingress->quarantine_bytes;
    return cost <= left && own->quarantine_bytes + cost <= left;
}

/* Keep a refused request, if the budget allows. Best effort: its answer does not wait for the disk.
 */
static void quarantine(struct ingress *ingress, const struct intake *intake,
                       enum scheme_verdict verdict)
{
    struct metrics_source *own = counters_of(ingress, intake->source->number);
    struct journal_entry entry;
    entry_of(intake, JOURNAL_REJECTED, &entry);
    entry.reason = (uint16_t)verdict;
    if (entry.body_bytes > QUARANTINE_BODY_BYTES_MAX) {
        entry.body_bytes = QUARANTINE_BODY_BYTES_MAX;
        entry.flags |= JOURNAL_CUT;
        forget_what_was_cut(&entry);
    }
    int64_t cost = (int64_t)entry.head_bytes + entry.body_bytes + 128;
    if (!quarantine_takes(ingress, own, (uint64_t)cost)) {
        counter_add(&ingress->metrics->quarantine_dropped, 1);
        return;
    }
    struct journal_redaction redactions[REDACTIONS_MAX];
    unsigned count = redactions_of(intake, redactions);
    uint64_t sequence;
    if (journal_append(ingress->journal, &entry, intake->message->head->at, redactions, count,
                       &sequence) == BK_OK) {
        ingress->quarantine_bytes -= cost;
        own->quarantine_bytes += (uint64_t)cost;
    } else {
        counter_add(&ingress->metrics->quarantine_dropped, 1);
    }
}

/* The key to check it with cannot be had now: the provider shall come again. */
static bool is_keyless(enum scheme_verdict verdict)
{
    return verdict == SCHEME_KEY_UNAVAILABLE || verdict == SCHEME_KEY_WANTED;
}

static unsigned refusal_status(const struct intake *intake, enum scheme_verdict verdict)
{
    if (is_keyless(verdict)) {
        return 503;
    }
    if (intake->spelling == SPELLED_GITPLOY || verdict == SCHEME_BODY_MALFORMED) {
        return 400;
    }
    bool is_403 = intake->spelling == SPELLED_SUPERPLANE || verdict == SCHEME_ADDRESS_REFUSED;
    return is_403 ? 403 : 401;
}

static enum http_outcome reject(struct ingress *ingress, struct http_exchange *exchange,
                                const struct intake *intake, enum scheme_verdict verdict)
{
    uint64_t number = intake->source->number;
    count_event(ingress, number, METRICS_REJECTED);
    counters_refused(counters_of(ingress, number), intake->wall_ns, (unsigned)verdict);
    quarantine(ingress, intake, verdict);
    unsigned status = refusal_status(intake, verdict);
    refuse(ingress, exchange, number, status, scheme_verdict_name(verdict),
           scheme_verdict_text(verdict),
           is_keyless(verdict) ? SLICE("Retry-After: 5\r\n")
           : status == 401     ? scheme_challenge(intake->source->scheme)
                               : SLICE_EMPTY);
    return HTTP_TAKEN;
}

/* ---- handshakes */

/* The answer of a handshake, while the control thread keeps the secret it brought. */
struct learning {
    struct learn_request request;
    struct ingress *ingress;
    struct http_exchange *exchange;
    uint64_t number;
    uint16_t status;
    uint16_t header_bytes;
    char headers[LEARN_SECRET_BYTES_MAX + 64];
};

static void learned(struct learn_request *request)
{
    struct learning *learning = request->owner;
    struct slice headers = slice_of(learning->headers, learning->header_bytes);
    if (request->err == BK_OK) {
        count_answer(learning->ingress, learning->number, learning->status);
        http_answer(learning->exchange, learning->status, NULL, headers, SLICE_EMPTY);
    } else if (request->err == BK_EXISTS) {
        refuse(learning->ingress, learning->exchange, learning->number, 401, "secret_known",
               "this source has its secret and takes no other",
               SLICE("WWW-Authenticate: Signature realm=\"becket\"\r\n"));
    } else {
        refuse_busy(learning->ingress, learning->exchange, learning->number);
    }
    explicit_bzero(learning, sizeof *learning);
    free(learning);
}

static void learn(struct ingress *ingress, struct http_exchange *exchange, uint64_t number,
                  const struct scheme_answer *answer)
{
    struct learning *learning = ingress->config->learn ? calloc(1, sizeof *learning) : NULL;
    if (!learning || answer->learned.bytes > LEARN_SECRET_BYTES_MAX ||
        answer->headers.bytes > sizeof learning->headers) {
        free(learning);
        refuse_busy(ingress, exchange, number);
        return;
    }
    learning->request.owner = learning;
    learning->request.done = learned;
    learning->request.home = ingress->ring;
    learning->request.source = number;
    learning->request.secret_bytes = (uint16_t)answer->learned.bytes;
    memcpy(learning->request.secret, answer->learned.at, answer->learned.bytes);
    learning->ingress = ingress;
    learning->exchange = exchange;
    learning->number = number;
    learning->status = answer->status;
    learning->header_bytes = (uint16_t)answer->headers.bytes;
    if (answer->headers.bytes) {
        memcpy(learning->headers, answer->headers.at, answer->headers.bytes);
    }
    ingress->config->learn(ingress->config->context, &learning->request);
}

static enum http_outcome answer_handshake(struct ingress *ingress, struct http_exchange *exchange,
                                          uint64_t number, enum scheme_verdict verdict,
                                          const struct scheme_answer *answer)
{
    if (verdict == SCHEME_HANDSHAKE_REFUSED) {
        refuse(ingress, exchange, number, answer->status, scheme_verdict_name(verdict),
               scheme_verdict_text(verdict), SLICE_EMPTY);
    } else if (answer->learned.bytes) {
        learn(ingress, exchange, number, answer);
    } else {
        count_answer(ingress, number, answer->status);
        http_answer(exchange, answer->status, answer->content_type, answer->headers, answer->body);
    }
    return HTTP_TAKEN;
}

static enum http_outcome duplicate(struct ingress *ingress, struct http_exchange *exchange,
                                   const struct intake *intake, const struct dedupe_claim *claim,
                                   bool pending)
{
    uint64_t number = intake->source->number;
    int64_t first_ns = claim->first_received_ms * NS_PER_MS;
    struct foreign_wait *wait = NULL;
    bool foreign = pending && claim->first.journal != ingress->config->id;
    if (foreign) {
        wait = calloc(1, sizeof *wait); /* the same delivery on two cores at once: rare */
        if (!wait) {
            return http_later(exchange, "unavailable", "out of memory, try again");
        }
    }
    struct journal_entry entry;
    entry_of(intake, JOURNAL_DUPLICATE, &entry);
    entry.original = journal_position_pack(claim->first);
    entry.original_ns = first_ns;
    entry.body_bytes = 0;
    forget_what_was_cut(&entry);
    struct journal_redaction redactions[REDACTIONS_MAX];
    unsigned count = redactions_of(intake, redactions);
    uint64_t sequence;
    /* Best effort: the event itself is what must not be lost. */
    if (journal_append(ingress->journal, &entry, intake->message->head->at, redactions, count,
                       &sequence) == BK_OK) {
        share_take(ingress, counters_of(ingress, number), intake->message);
    }
    count_event(ingress, number, METRICS_DUPLICATE);
    prepare_acknowledgement(intake, exchange, claim->first, first_ns, true);
    if (foreign) {
        wait->home = ingress;
        wait->exchange = exchange;
        wait->sequence = claim->first.sequence;
        wait->mail.run = foreign_arrived;
        exchange->handler_source = number;
        exchange->handler_pointer = NULL;
        wait->owner = peer_of(ingress, claim->first.journal);
        ring_post(ingress->ring, wait->owner->ring, &wait->mail);
    } else if (pending && claim->first.sequence > journal_durable_through(ingress->journal)) {
        wait_for(ingress, exchange, claim->first.sequence, number, NULL);
    } else {
        count_answer(ingress, number, 200);
        http_ready(exchange);
    }
    return HTTP_TAKEN;
}

/* The journal writes from the buffer itself, so secrets are blanked in place, and put back when the
 * journal cannot take the message now. */
static enum bk_err append_large(struct ingress *ingress, struct http_exchange *exchange,
                                const struct intake *intake, const struct journal_entry *entry,
                                uint64_t *ret_sequence)
{
    struct journal_redaction redactions[REDACTIONS_MAX];
    unsigned count = redactions_of(intake, redactions);
    size_t buffer_bytes;
    uint8_t *buffer = http_take_buffer(exchange, &buffer_bytes);
    bk_assert(buffer); /* over JOURNAL_SMALL_BYTES_MAX it cannot be in a receive buffer */
    uint8_t *message = buffer + HTTP_BUFFER_MESSAGE_AT;
    uint8_t saved[HTTP_HEAD_BYTES_MAX];
    size_t saved_bytes = intake->message->head->head_bytes;
    memcpy(saved, message, saved_bytes);
    for (unsigned i = 0; i < count; i++) {
        memset(message + redactions[i].at, '*', redactions[i].bytes);
    }
    enum bk_err err =
        journal_append_large(ingress->journal, entry, buffer, buffer_bytes, ret_sequence);
    if (err != BK_OK) {
        memcpy(message, saved, saved_bytes);
        http_return_buffer(exchange, buffer, buffer_bytes);
    } else {
        exchange->handler_buffer = buffer;
        exchange->handler_buffer_bytes = buffer_bytes;
    }
    explicit_bzero(saved, saved_bytes);
    return err;
}

/* 0 = the source wants this event; else an enum ingress_reason. */
static uint16_t choose(struct ingress *ingress, const struct intake *intake)
{
    const struct source *source = intake->source;
    struct filter_event event;
    uint16_t reason = INGRESS_FILTERED;
    if (source->event_count == 0) {
        return 0;
    }
    if (!ingress->filters &&
        filter_scratch_open(FILTER_SCRATCH_BYTES, &ingress->filters) != BK_OK) {
        return INGRESS_FILTER_FAILED;
    }
    filter_event_init(&event, ingress->filters, intake->message->head, intake->message->body,
                      intake->identity.type, SLICE_EMPTY);
    for (unsigned i = 0; i < source->event_count; i++) {
        enum filter_result result = filter_set_test(source->events[i], &event);
        if (result == FILTER_TRUE) {
            return 0;
        }
        reason = result == FILTER_FAILED ? INGRESS_FILTER_FAILED : reason;
    }
    return reason;
}

static enum http_outcome store(struct ingress *ingress, struct http_exchange *exchange,
                               const struct intake *intake, struct dedupe_slot *slot)
{
    uint16_t reason = intake->source->event_count == 0 ? 0 : choose(ingress, intake);
    struct journal_entry entry;
    entry_of(intake, reason ? JOURNAL_REJECTED : JOURNAL_ACCEPTED, &entry);
    entry.reason = reason;
    uint64_t sequence = 0;
    struct metrics_source *counters = counters_of(ingress, intake->source->number);
    enum bk_err err;
    if (__builtin_expect(disk_stands(ingress), 0)) {
        err = BK_IO;
    } else if (entry.head_bytes + entry.body_bytes > JOURNAL_SMALL_BYTES_MAX) {
        err = append_large(ingress, exchange, intake, &entry, &sequence);
    } else {
        struct journal_redaction redactions[REDACTIONS_MAX];
        unsigned count = redactions_of(intake, redactions);
        err = journal_append(ingress->journal, &entry, intake->message->head->at, redactions, count,
                             &sequence);
        if (err == BK_OK) {
            share_take(ingress, counters, intake->message);
        }
    }
    if (err != BK_OK) {
        if (slot) {
            dedupe_release(slot);
        }
        if (err == BK_BUSY) {
            return wait_for_journal(exchange);
        }
        if (err == BK_TOO_LARGE) {
            refuse(ingress, exchange, intake->source->number, 413, "too_large",
                   "body is larger than a journal segment of this server", SLICE_EMPTY);
            return HTTP_TAKEN;
        }
        refuse_busy(ingress, exchange, intake->source->number);
        return HTTP_TAKEN;
    }
    struct journal_position position = {ingress->config->id, sequence};
    if (slot) {
        dedupe_pending(slot, position, intake->wall_ns / NS_PER_MS);
    }
    counter_add(&counters->events[reason ? METRICS_REJECTED : METRICS_ACCEPTED], 1);
    if (!reason) {
        counter_set(&counters->accepted_ns, (uint64_t)intake->wall_ns);
    }
    prepare_acknowledgement(intake, exchange, position, intake->wall_ns, false);
    wait_for(ingress, exchange, sequence, intake->source->number, slot);
    return HTTP_TAKEN;
}

static void ask_for_growth(struct ingress *ingress)
{
    if (!ingress->growth_asked && dedupe_wants_growth(ingress->config->dedupe)) {
        ingress->growth_asked = true;
        ingress->config->growth(ingress->config->context);
    }
}

static enum http_outcome deduplicate(struct ingress *ingress, struct http_exchange *exchange,
                                     const struct intake *intake)
{
    struct dedupe_claim claim;
    enum dedupe_outcome outcome =
        dedupe_claim(ingress->config->dedupe, intake->fingerprint, intake->wall_ns / NS_PER_MS,
                     intake->source->dedupe_window_ns / NS_PER_MS, &claim);
    switch (outcome) {
    case DEDUPE_NEW:
        ask_for_growth(ingress);
        return store(ingress, exchange, intake, claim.slot);
    case DEDUPE_PENDING:
        return duplicate(ingress, exchange, intake, &claim, true);
    case DEDUPE_DURABLE:
        return duplicate(ingress, exchange, intake, &claim, false);
    case DEDUPE_FULL:
        ask_for_growth(ingress);
        return http_later(exchange, "unavailable",
                          "the table of delivery ids is full at this moment, try again");
    default:
        bk_never("unknown outcome");
    }
}

/* ---- several events in one request */

/* One frame has them all, so that a crash leaves all or none. What is beyond has to be split by who
 * sends it. */
#define BATCH_EVENTS_MAX 4096U

struct taking {
    struct intake one; /* the event at hand, as if it had come alone */
    struct http_head head;
    struct http_message message;
    struct journal_redaction redactions[REDACTIONS_MAX];
    unsigned redaction_count;
    uint64_t reserve_bytes; /* 0 = reserved */
    unsigned duplicates;
    unsigned stored;
    uint64_t sequence; /* the last one */
    struct journal_position first;
    int64_t first_ns;
};

/* Secrets in the head; nothing of an event is one. */
static void head_redactions(const struct intake *intake, struct taking *taking)
{
    struct journal_redaction all[REDACTIONS_MAX];
    unsigned count = redactions_of(intake, all);
    taking->redaction_count = 0;
    for (unsigned i = 0; i < count; i++) {
        if (all[i].at + all[i].bytes <= intake->message->head->head_bytes) {
            taking->redactions[taking->redaction_count++] = all[i];
        }
    }
}

/* `out` holds the head and the largest event. */
static void take_apart(const struct intake *intake, struct slice event, uint8_t *out,
                       struct taking *taking)
{
    size_t head_bytes = intake->message->head->head_bytes;
    batch_head(intake->message->head, event.bytes, out);
    memcpy(out + head_bytes, event.at, event.bytes);
    taking->head.at = out;
    taking->message.body = slice_of(out + head_bytes, event.bytes);
    struct intake *one = &taking->one;
    batch_identify(taking->message.body, &one->identity);
    one->fingerprint[0] = one->fingerprint[1] = 0;
    if (one->source->dedupe_window_ns > 0) {
        dedupe_fingerprint_within(one->source->number, one->identity.within,
                                  one->identity.delivery_id, one->fingerprint);
    }
}

static void append_one(struct ingress *ingress, struct taking *taking, struct journal_entry *entry,
                       uint64_t *ret_sequence)
{
    enum bk_err err = journal_append(ingress->journal, entry, taking->head.at, taking->redactions,
                                     taking->redaction_count, ret_sequence);
    bk_assert(err == BK_OK); /* the room was reserved */
}

static void note_first(struct taking *taking, struct journal_position position, int64_t received_ns)
{
    if (taking->stored + taking->duplicates == 0) {
        taking->first = position;
        taking->first_ns = received_ns;
    }
}

static void store_one(struct ingress *ingress, struct taking *taking, struct many *many,
                      struct dedupe_slot *slot)
{
    struct intake *one = &taking->one;
    struct metrics_source *counters = counters_of(ingress, one->source->number);
    uint16_t reason = choose(ingress, one);
    struct journal_entry entry;
    entry_of(one, reason ? JOURNAL_REJECTED : JOURNAL_ACCEPTED, &entry);
    entry.reason = reason;
    append_one(ingress, taking, &entry, &taking->sequence);
    struct journal_position position = {ingress->config->id, taking->sequence};
    if (slot) {
        dedupe_pending(slot, position, one->wall_ns / NS_PER_MS);
        many->slots[many->slot_count++] = slot;
    }
    counter_add(&counters->events[reason ? METRICS_REJECTED : METRICS_ACCEPTED], 1);
    if (!reason) {
        counter_set(&counters->accepted_ns, (uint64_t)one->wall_ns);
    }
    note_first(taking, position, one->wall_ns);
    taking->stored++;
}

static void duplicate_one(struct ingress *ingress, struct taking *taking,
                          const struct dedupe_claim *claim)
{
    struct journal_entry entry;
    int64_t first_ns = claim->first_received_ms * NS_PER_MS;
    entry_of(&taking->one, JOURNAL_DUPLICATE, &entry);
    entry.original = journal_position_pack(claim->first);
    entry.original_ns = first_ns;
    entry.body_bytes = 0;
    forget_what_was_cut(&entry);
    append_one(ingress, taking, &entry, &taking->sequence);
    count_event(ingress, taking->one.source->number, METRICS_DUPLICATE);
    note_first(taking, claim->first, first_ns);
    taking->duplicates++;
}

/* The room is made after the first claim, for it must be used. */
static enum bk_err reserve_once(struct ingress *ingress, struct taking *taking)
{
    enum bk_err err = taking->reserve_bytes != 0
                          ? journal_reserve(ingress->journal, taking->reserve_bytes)
                          : BK_OK;
    taking->reserve_bytes = err == BK_OK ? 0 : taking->reserve_bytes;
    return err;
}

/* BK_BUSY: this event, and those behind it, not now. */
static enum bk_err take_one(struct ingress *ingress, struct taking *taking, struct many *many)
{
    const struct intake *one = &taking->one;
    struct dedupe_claim claim = {.slot = NULL};
    enum dedupe_outcome outcome = DEDUPE_NEW;
    if (one->source->dedupe_window_ns > 0) {
        outcome = dedupe_claim(ingress->config->dedupe, one->fingerprint, one->wall_ns / NS_PER_MS,
                               one->source->dedupe_window_ns / NS_PER_MS, &claim);
    }
    if (outcome == DEDUPE_FULL || outcome == DEDUPE_NEW) {
        ask_for_growth(ingress);
    }
    /* What another core is writing this moment may fail there. */
    if (outcome == DEDUPE_FULL ||
        (outcome == DEDUPE_PENDING && claim.first.journal != ingress->config->id)) {
        return BK_BUSY;
    }
    enum bk_err err = reserve_once(ingress, taking);
    if (err != BK_OK) {
        if (claim.slot) {
            dedupe_release(claim.slot);
        }
    } else if (outcome == DEDUPE_NEW) {
        store_one(ingress, taking, many, claim.slot);
    } else {
        duplicate_one(ingress, taking, &claim);
    }
    return err;
}

static void prepare_many(const struct taking *taking, struct http_exchange *exchange,
                         enum spelling spelling)
{
    char body[128] = "{\"id\":\"";
    size_t bytes = 7;
    if (spelling != SPELLED_OURS) {
        http_prepare(exchange, 200, NULL, SLICE_EMPTY, SLICE_EMPTY);
        return;
    }
    event_id_format(taking->first, taking->first_ns, body + bytes);
    bytes += EVENT_ID_BYTES;
    bytes +=
        (size_t)snprintf(body + bytes, sizeof body - bytes, "\",\"events\":%u,\"duplicates\":%u}",
                         taking->stored + taking->duplicates, taking->duplicates);
    http_prepare(exchange, 200, "application/json", SLICE_EMPTY, slice_of(body, bytes));
}

/* The batch is good and small enough; `many` has room for its slots, `out` for an event. */
static enum http_outcome take_events(struct ingress *ingress, struct http_exchange *exchange,
                                     const struct intake *intake, uint64_t reserve_bytes,
                                     struct many *many, uint8_t *out)
{
    struct taking taking = {.one = *intake,
                            .head = *intake->message->head,
                            .message = *intake->message,
                            .reserve_bytes = reserve_bytes};
    struct slice rest = intake->message->body, event;
    enum bk_err err = BK_OK;
    taking.one.message = &taking.message;
    taking.message.head = &taking.head;
    head_redactions(intake, &taking);
    while (err == BK_OK && batch_next(&rest, &event)) {
        take_apart(intake, event, out, &taking);
        err = take_one(ingress, &taking, many);
    }
    if (taking.sequence == 0) {
        free(many);
        if (err == BK_BUSY) {
            return wait_for_journal(exchange);
        }
        refuse_busy(ingress, exchange, intake->source->number);
        return HTTP_TAKEN;
    }
    many->incomplete = err != BK_OK;
    prepare_many(&taking, exchange, intake->spelling);
    exchange->handler_many = true;
    wait_for(ingress, exchange, taking.sequence, intake->source->number, NULL);
    exchange->handler_pointer = many;
    return HTTP_TAKEN;
}

static enum http_outcome take_batch(struct ingress *ingress, struct http_exchange *exchange,
                                    const struct intake *intake)
{
    const struct http_message *message = intake->message;
    size_t head_bytes = message->head->head_bytes;
    struct batch_size size;
    if (!batch_measure(message->body, &size)) {
        return reject(ingress, exchange, intake, SCHEME_BODY_MALFORMED);
    }
    if (size.count == 0) {
        count_answer(ingress, intake->source->number, 200);
        http_answer(exchange, 200, "application/json", SLICE_EMPTY,
                    SLICE("{\"events\":0,\"duplicates\":0}"));
        return HTTP_TAKEN;
    }
    /* A record of one byte is rounded up by as much as any other, and more. */
    uint64_t bytes = size.count * (journal_record_bytes(1) + head_bytes) + size.event_bytes;
    if (size.count > BATCH_EVENTS_MAX || bytes > JOURNAL_TOGETHER_BYTES_MAX ||
        head_bytes + size.largest_bytes > JOURNAL_SMALL_BYTES_MAX) {
        refuse(ingress, exchange, intake->source->number, 413, "too_large",
               "too much for one batch: its events, each with the request's head, may have 500 KiB "
               "together and 128 KiB each; send smaller ones",
               SLICE_EMPTY);
        return HTTP_TAKEN;
    }
    struct many *many = malloc(sizeof *many + size.count * sizeof(struct dedupe_slot *));
    uint8_t *out = malloc(head_bytes + size.largest_bytes);
    enum http_outcome outcome = HTTP_TAKEN;
    if (many == NULL || out == NULL || disk_stands(ingress)) {
        free(many);
        refuse_busy(ingress, exchange, intake->source->number);
    } else {
        *many = (struct many){.slot_count = 0};
        outcome = take_events(ingress, exchange, intake, bytes, many, out);
    }
    free(out);
    return outcome;
}

/* ---- keys that have to be fetched */

#define KEY_ASK_AGAIN_NS (200 * (uint64_t)NS_PER_MS)

/* One letter for a key, however many requests want it. False: too many keys are asked for at once.
 */
static bool may_ask(struct ingress *ingress, uint64_t hash)
{
    uint64_t now_ns = ring_now_ns(ingress->ring);
    struct ingress_key_asked *oldest = &ingress->key_asked[0];
    for (unsigned i = 0; i < INGRESS_KEYS_ASKED; i++) {
        struct ingress_key_asked *asked = &ingress->key_asked[i];
        if (asked->hash == hash && now_ns - asked->asked_ns < KEY_ASK_AGAIN_NS) {
            return false;
        }
        oldest = asked->asked_ns < oldest->asked_ns ? asked : oldest;
    }
    if (oldest->asked_ns != 0 && now_ns - oldest->asked_ns < KEY_ASK_AGAIN_NS) {
        return false;
    }
    *oldest = (struct ingress_key_asked){hash, now_ns};
    return true;
}

static enum key_found find_key(void *context, const struct key_want *want,
                               const struct public_key **ret_key)
{
    struct ingress *ingress = context;
    bool ask = false;
    if (ingress->config->keys == NULL) {
        return KEY_UNAVAILABLE;
    }
    enum key_found found = key_cache_find(ingress->config->keys, want, ret_key, &ask);
    if (ask && may_ask(ingress, key_cache_hash(want))) {
        ingress->config->want_key(ingress->config->context, want);
    }
    return found;
}

static struct ingress_key_wait *key_wait_of(struct ingress *ingress,
                                            const struct http_exchange *exchange,
                                            const struct intake *intake)
{
    uint64_t bytes = intake->message->head->head_bytes + intake->message->body.bytes;
    for (unsigned i = 0; i < INGRESS_KEY_WAITS; i++) {
        struct ingress_key_wait *wait = &ingress->key_waits[i];
        if (wait->conn == exchange->conn && wait->source == intake->source->number &&
            wait->message_bytes == bytes) {
            return wait;
        }
    }
    return NULL;
}

static void key_wait_end(struct ingress *ingress, struct ingress_key_wait *wait)
{
    if (wait != NULL) {
        wait->conn = NULL;
        ingress->key_wait_count--;
    }
}

/* Those whose connection went away are over too when their time is. */
static struct ingress_key_wait *key_wait_take(struct ingress *ingress)
{
    uint64_t now_ns = ring_now_ns(ingress->ring);
    for (unsigned i = 0; i < INGRESS_KEY_WAITS; i++) {
        struct ingress_key_wait *wait = &ingress->key_waits[i];
        if (wait->conn != NULL && now_ns - wait->since_ns > 2 * KEY_WAIT_NS) {
            key_wait_end(ingress, wait);
        }
        if (wait->conn == NULL) {
            ingress->key_wait_count++;
            return wait;
        }
    }
    return NULL;
}

static enum http_outcome later_for_key(struct http_exchange *exchange)
{
    return http_later(exchange, scheme_verdict_name(SCHEME_KEY_UNAVAILABLE),
                      scheme_verdict_text(SCHEME_KEY_UNAVAILABLE));
}

/* The request is parked until its key is there, or its time is over. */
static enum http_outcome wait_for_key(struct ingress *ingress, struct http_exchange *exchange,
                                      const struct intake *intake, struct ingress_key_wait *wait)
{
    if (wait == NULL) {
        wait = key_wait_take(ingress);
        if (wait == NULL) {
            return reject(ingress, exchange, intake, SCHEME_KEY_UNAVAILABLE);
        }
        wait->conn = exchange->conn;
        wait->source = intake->source->number;
        wait->message_bytes = intake->message->head->head_bytes + intake->message->body.bytes;
        wait->since_ns = ring_now_ns(ingress->ring);
    }
    if (ring_now_ns(ingress->ring) - wait->since_ns > KEY_WAIT_NS) {
        key_wait_end(ingress, wait);
        return reject(ingress, exchange, intake, SCHEME_KEY_UNAVAILABLE);
    }
    wait->epoch = ingress->key_epoch;
    return later_for_key(exchange);
}

void ingress_keys_changed(struct ingress *ingress)
{
    ingress->key_epoch++;
    /* What was asked for may be there. Who could not ask because others did is asked again now. */
    memset(ingress->key_asked, 0, sizeof ingress->key_asked);
}

static void fingerprint_of(struct intake *intake)
{
    const struct scheme_identity *identity = &intake->identity;
    if (__builtin_expect(identity->within.bytes != 0, 0)) {
        dedupe_fingerprint_within(intake->source->number, identity->within, identity->delivery_id,
                                  intake->fingerprint);
    } else {
        dedupe_fingerprint(intake->source->number, identity->delivery_id, intake->fingerprint);
    }
}

static enum http_outcome take_in(struct ingress *ingress, struct http_exchange *exchange,
                                 struct intake *intake)
{
    const struct source *source = intake->source;
    const struct http_message *message = intake->message;
    struct scheme_request *request = &intake->request;
    *request = (struct scheme_request){
        .head = message->head,
        .body = message->body,
        .base = ingress->config->public_url,
        .now_seconds = intake->wall_ns / NS_PER_SECOND,
        .peer_family = message->peer.family,
        .peer = message->peer.at,
    };
    const struct key_finder finder = {find_key, ingress};
    request->keys = &finder;
    struct ingress_key_wait *wait = NULL;
    if (ingress->key_wait_count != 0 && (wait = key_wait_of(ingress, exchange, intake)) != NULL &&
        wait->epoch == ingress->key_epoch &&
        ring_now_ns(ingress->ring) - wait->since_ns <= KEY_WAIT_NS) {
        return later_for_key(exchange);
    }
    scheme_prepare(source->scheme, request);
    scheme_identify(source->scheme, request, &intake->identity);
    bool dedupes = source->dedupe_window_ns > 0 && intake->identity.delivery_id.bytes > 0;
    intake->fingerprint[0] = intake->fingerprint[1] = 0;
    if (dedupes) {
        /* Before the signature is checked, so that the table's cache lines arrive meanwhile. */
        fingerprint_of(intake);
        dedupe_prefetch(ingress->config->dedupe, intake->fingerprint);
    }
    struct scheme_answer answer;
    enum scheme_verdict verdict = scheme_verify(source->scheme, request, &answer);
    if (verdict == SCHEME_KEY_WANTED) {
        return wait_for_key(ingress, exchange, intake, wait);
    }
    key_wait_end(ingress, wait);
    if (verdict == SCHEME_HANDSHAKE && answer.confirm.bytes != 0 && ingress->config->confirm) {
        ingress->config->confirm(ingress->config->context, answer.confirm);
    }
    if (verdict == SCHEME_HANDSHAKE || verdict == SCHEME_HANDSHAKE_REFUSED) {
        return answer_handshake(ingress, exchange, source->number, verdict, &answer);
    }
    if (verdict != SCHEME_GENUINE) {
        return reject(ingress, exchange, intake, verdict);
    }
    if (__builtin_expect(request_hops(message->head) >= REQUEST_HOPS_MAX, 0)) {
        refuse(ingress, exchange, source->number, 508, "loop",
               "it came through becket 16 times: a route leads back to where its events come from",
               SLICE_EMPTY);
        return HTTP_TAKEN;
    }
    if (!rate_allows(source, ring_now_ns(ingress->ring))) {
        refuse(ingress, exchange, source->number, 429, "rate_limited",
               "over this source's rate limit", SLICE("Retry-After: 1\r\n"));
        return HTTP_TAKEN;
    }
    enum http_outcome outcome;
    if (__builtin_expect(scheme_is_batch(source->scheme, request), 0)) {
        outcome = take_batch(ingress, exchange, intake);
    } else {
        if (!dedupes && source->dedupe_window_ns > 0 &&
            scheme_body_is_id(source->scheme, request)) {
            dedupe_fingerprint(source->number, message->body, intake->fingerprint);
            dedupes = true;
        }
        outcome = dedupes ? deduplicate(ingress, exchange, intake)
                          : store(ingress, exchange, intake, NULL);
    }
    if (outcome == HTTP_LATER) {
        rate_refund(source);
    }
    return outcome;
}

/* ---- routing */

static void answer_health(struct ingress *ingress, struct http_exchange *exchange, bool live)
{
    const char *why = NULL;
    bool ready = live || ingress->config->ready(ingress->config->context, &why);
    if (ready) {
        http_answer(exchange, 200, "application/json", SLICE("Cache-Control: no-store\r\n"),
                    SLICE("{\"status\":\"ok\"}"));
    } else {
        http_answer_error(exchange, 503, "unavailable", why ? why : "not ready",
                          SLICE("Retry-After: 1\r\n"));
    }
}

static void answer_method(struct ingress *ingress, struct http_exchange *exchange, uint64_t number,
                          unsigned methods)
{
    static const char *const names[] = {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"};
    char line[80] = "Allow: ";
    size_t bytes = 7;
    for (unsigned i = 0; i < bk_array_length(names); i++) {
        if (methods >> i & 1) {
            size_t name_bytes = strlen(names[i]);
            if (bytes > 7) {
                memcpy(line + bytes, ", ", 2);
                bytes += 2;
            }
            memcpy(line + bytes, names[i], name_bytes);
            bytes += name_bytes;
        }
    }
    memcpy(line + bytes, "\r\n", 2);
    refuse(ingress, exchange, number, 405, "method_not_allowed", "this address takes other methods",
           slice_of(line, bytes + 2));
}

/* How providers check the tokens that becket issues. False: it is no such address. */
static bool answer_document(struct ingress *ingress, struct http_exchange *exchange,
                            const struct http_head *head, struct slice path)
{
    bool keys = slice_equal(path, SLICE("/.well-known/jwks.json"));
    if ((!keys && !slice_equal(path, SLICE("/.well-known/openid-configuration"))) ||
        !ingress->config->documents) {
        return false;
    }
    if (head->method != HTTP_GET && head->method != HTTP_HEAD) {
        answer_method(ingress, exchange, 0, 1U << HTTP_GET | 1U << HTTP_HEAD);
        return true;
    }
    const struct oidc_documents *documents = ingress->config->documents(ingress->config->context);
    ingress->documents_later = documents == NULL;
    if (documents != NULL) {
        count_answer(ingress, 0, 200);
        http_answer(exchange, 200, "application/json", SLICE("Cache-Control: max-age=300\r\n"),
                    keys ? documents->keys : documents->configuration);
    }
    return true;
}

/* What is not a hook. True = answered. */
static bool answer_other(struct ingress *ingress, struct http_exchange *exchange,
                         const struct http_head *head, struct slice path)
{
    if (slice_equal(path, SLICE("*"))) {
        /* OPTIONS *, the server as a whole (RFC 9110 9.3.7). */
        count_answer(ingress, 0, 204);
        http_answer(exchange, 204, NULL, SLICE("Allow: GET, HEAD, POST, PUT, OPTIONS\r\n"),
                    SLICE_EMPTY);
        return true;
    }
    if (answer_document(ingress, exchange, head, path)) {
        return true;
    }
    bool live = slice_equal(path, SLICE("/health/live"));
    if (live || slice_equal(path, SLICE("/health/ready"))) {
        if (head->method == HTTP_GET || head->method == HTTP_HEAD) {
            answer_health(ingress, exchange, live);
        } else {
            answer_method(ingress, exchange, 0, 1U << HTTP_GET | 1U << HTTP_HEAD);
        }
        return true;
    }
    return false;
}

/* Is this source meant by the type in its address? */
static bool is_spelled(const struct source *source, const struct address *address)
{
    return address->type.bytes == 0 ||
           scheme_row_find(address->type) ==
               scheme_row_find(slice_str(scheme_row_name(scheme_row(source->scheme))));
}

/* The largest body that this address takes. */
static uint64_t bytes_max(const struct source *source, const struct address *address)
{
    bool small = address->spelling == SPELLED_SUPERPLANE &&
                 source->body_bytes_max > SUPERPLANE_BODY_BYTES_MAX;
    return small ? SUPERPLANE_BODY_BYTES_MAX : source->body_bytes_max;
}

/* The source at this address, or NULL. */
static const struct source *source_at(const struct ingress *ingress, const struct address *address)
{
    const struct source *source = source_table_find(ingress->config->sources, address->path);
    return source && (address->spelling == SPELLED_OURS || is_spelled(source, address)) ? source
                                                                                        : NULL;
}

static bool takes_method(const struct source *source, const struct http_head *head)
{
    return scheme_methods(source->scheme) >> head->method & 1;
}

/* The source of a hook's head, or NULL after an answer. */
static const struct source *find_source(struct ingress *ingress, struct http_exchange *exchange,
                                        const struct http_head *head, struct address *ret_address)
{
    struct slice path = path_of(head);
    if (head->method >= HTTP_CONNECT && head->method != HTTP_TRACE) {
        /* A method we do not know, or a tunnel, at any address (RFC 9110 9.1). */
        refuse(ingress, exchange, 0, 501, "not_implemented", "this method is not implemented",
               SLICE_EMPTY);
        return NULL;
    }
    if (!hook_address(path, ret_address)) {
        if (!answer_other(ingress, exchange, head, path)) {
            refuse(ingress, exchange, 0, 404, "not_found", "nothing is served at this address",
                   SLICE_EMPTY);
        }
        return NULL;
    }
    const struct source *source = source_at(ingress, ret_address);
    if (!source) {
        refuse(ingress, exchange, 0, 404, "not_found", "no such source", SLICE_EMPTY);
        return NULL;
    }
    if (!takes_method(source, head)) {
        answer_method(ingress, exchange, source->number, scheme_methods(source->scheme));
        return NULL;
    }
    return source;
}

/* The same without an answer: NULL where find_source() has one. */
static const struct source *look_for_source(const struct ingress *ingress,
                                            const struct http_head *head,
                                            struct address *ret_address)
{
    const struct source *source =
        hook_address(path_of(head), ret_address) ? source_at(ingress, ret_address) : NULL;
    return source && takes_method(source, head) ? source : NULL;
}

uint64_t ingress_on_head(void *context, struct http_exchange *exchange,
                         const struct http_head *head)
{
    struct ingress *ingress = context;
    struct address address;
    const struct source *source = exchange->comes_whole
                                      ? look_for_source(ingress, head, &address)
                                      : find_source(ingress, exchange, head, &address);
    if (!source) {
        return head->content_length; /* answered, or when the rest is here */
    }
    if (head->content_length > bytes_max(source, &address)) {
        refuse(ingress, exchange, source->number, 413, "too_large",
               "body is over this source's limit", SLICE_EMPTY);
    }
    return bytes_max(source, &address);
}

/* What those addresses ask for besides a signature. True = answered. */
static bool refuse_spelled(struct ingress *ingress, struct http_exchange *exchange,
                           const struct source *source, const struct address *address,
                           const struct http_head *head)
{
    const struct http_header *event = http_find(head, SLICE("x-github-event"), NULL);
    const struct http_header *type = http_find(head, SLICE("content-type"), NULL);
    struct slice kind = event ? http_header_value(head, event) : SLICE_EMPTY;
    if (address->spelling == SPELLED_SUPERPLANE) {
        struct slice value = type ? http_header_value(head, type) : SLICE_EMPTY;
        value = slice_trim(slice_of(value.at, slice_find(value, ';')));
        if (!slice_equal_nocase(value, SLICE("application/json"))) {
            refuse(ingress, exchange, source->number, 404, "not_found",
                   "this address takes application/json", SLICE_EMPTY);
            return true;
        }
    } else if (address->spelling == SPELLED_GITPLOY &&
               (!http_find(head, SLICE("x-github-delivery"), NULL) ||
                !(slice_equal(kind, SLICE("deployment_status")) ||
                  slice_equal(kind, SLICE("push")) || slice_equal(kind, SLICE("ping"))))) {
        refuse(ingress, exchange, source->number, 400, "invalid",
               "this address takes GitHub's deployment_status, push and ping, with their delivery "
               "id",
               SLICE_EMPTY);
        return true;
    }
    return false;
}

enum http_outcome ingress_on_request(void *context, struct http_exchange *exchange,
                                     const struct http_message *message)
{
    struct ingress *ingress = context;
    struct address address;
    const struct source *source = find_source(ingress, exchange, message->head, &address);
    if (!source) {
        bool later = ingress->documents_later;
        ingress->documents_later = false;
        return later ? http_later(exchange, "unavailable",
                                  "these documents are being made, try again")
                     : HTTP_TAKEN;
    }
    if (message->body.bytes > bytes_max(source, &address)) {
        refuse(ingress, exchange, source->number, 413, "too_large",
               "body is over this source's limit", SLICE_EMPTY);
        return HTTP_TAKEN;
    }
    if (address.spelling != SPELLED_OURS &&
        refuse_spelled(ingress, exchange, source, &address, message->head)) {
        return HTTP_TAKEN;
    }
    if (!share_is_left(ingress, source->number, message)) {
        return wait_for_journal(exchange); /* before anything is computed for it */
    }
    struct intake intake; /* take_in() fills the rest */
    intake.source = source;
    intake.spelling = address.spelling;
    intake.message = message;
    intake.wall_ns = ring_wall_ns(ingress->ring);
    return take_in(ingress, exchange, &intake);
}

void ingress_init(struct ingress *ingress, const struct ingress_config *config)
{
    memset(ingress, 0, sizeof *ingress);
    ingress->config = config;
    list_init(&ingress->waiting);
    list_init(&ingress->foreign);
    list_init(&ingress->settling);
    list_init(&ingress->unheard);
    ingress->quarantine_bytes = QUARANTINE_BURST_BYTES;
    ingress->give_up_ns = UINT64_MAX;
}

void ingress_fini(struct ingress *ingress)
{
    filter_scratch_close(ingress->filters);
    for (struct list *node; (node = list_pop_front(&ingress->unheard)) != NULL;) {
        struct unheard *unheard = bk_container_of(node, struct unheard, node);
        free(unheard->many);
        free(unheard);
    }
    for (unsigned i = 0; i < COUNTER_CHUNKS; i++) {
        if (ingress->counters[i]) {
            munmap(ingress->counters[i], COUNTER_CHUNK * sizeof(struct metrics_source));
        }
    }
}
