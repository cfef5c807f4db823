#include "hub/ingress/accept.h"

#include "base/time.h"
#include "hub/events/reason.h"
#include "hub/ingress/acknowledge.h"
#include "hub/ingress/answer.h"
#include "hub/ingress/counters.h"
#include "hub/ingress/record.h"
#include "hub/ingress/share.h"

uint16_t accept_reason(struct ingress *ingress, const struct intake *intake)
{
    const struct source *source = intake->source;
    struct filter_event event;
    uint8_t type_room[EVENT_TYPE_BYTES_MAX];
    uint16_t reason = EVENT_FILTERED;
    if (source->event_count == 0) {
        return 0;
    }
    if (!ingress->filters &&
        filter_scratch_open(FILTER_SCRATCH_BYTES, &ingress->filters) != BK_OK) {
        return EVENT_FILTER_FAILED;
    }
    filter_event_init(&event, ingress->filters, intake->message->head, intake->message->body,
                      scheme_type_text(source->scheme, &intake->identity, type_room), SLICE_EMPTY);
    for (unsigned i = 0; i < source->event_count; i++) {
        enum filter_result result = filter_set_test(source->events[i], &event);
        if (result == FILTER_TRUE) {
            return 0;
        }
        reason = result == FILTER_FAILED ? EVENT_FILTER_FAILED : reason;
    }
    return reason;
}

void accept_ask_for_growth(struct ingress *ingress)
{
    if (!ingress->growth_asked && dedupe_wants_growth(ingress->config->dedupe)) {
        ingress->growth_asked = true;
        ingress->config->growth(ingress->config->context);
    }
}

/* A record of a duplicate is best effort: the event itself is what must not be lost. */
static void record_duplicate(struct ingress *ingress, const struct intake *intake,
                             const struct dedupe_claim *claim)
{
    struct metrics_source *counters = counters_of(ingress, intake->source->number);
    struct journal_entry entry;
    uint64_t sequence;
    record_entry_duplicate(intake, claim, &entry);
    if (record_append(ingress, intake, &entry, &sequence) == BK_OK) {
        share_take(ingress, counters, intake->message);
    }
    counter_add(&counters->events[METRICS_DUPLICATE], 1);
}

/* It is answered with the first one's id, once that one is safe. */
static enum http_outcome duplicate(struct ingress *ingress, struct http_exchange *exchange,
                                   const struct intake *intake, const struct dedupe_claim *claim,
                                   bool pending)
{
    uint64_t number = intake->source->number;
    struct foreign_wait *wait = NULL;
    if (pending && claim->first.journal != ingress->config->id) {
        wait = acknowledge_foreign_take(); /* the same delivery on two cores at once: rare */
        if (!wait) {
            return http_later(exchange, "unavailable", "out of memory, try again");
        }
    }
    record_duplicate(ingress, intake, claim);
    answer_prepare(intake, exchange, claim->first, claim->first_received_ms * NS_PER_MS, true);
    if (wait) {
        acknowledge_when_foreign(ingress, exchange, claim->first, number, wait);
    } else if (pending && claim->first.sequence > journal_durable_through(ingress->journal)) {
        acknowledge_when_durable(ingress, exchange, claim->first.sequence, number, NULL);
    } else {
        count_answer(ingress, number, 200);
        http_ready(exchange);
    }
    return HTTP_TAKEN;
}

static enum bk_err append(struct ingress *ingress, struct http_exchange *exchange,
                          const struct intake *intake, const struct journal_entry *entry,
                          uint64_t *ret_sequence)
{
    if (__builtin_expect(acknowledge_never(ingress), 0)) {
        return BK_IO;
    }
    if (entry->head_bytes + entry->body_bytes > JOURNAL_SMALL_BYTES_MAX) {
        return record_append_large(ingress, exchange, intake, entry, ret_sequence);
    }
    enum bk_err err = record_append(ingress, intake, entry, ret_sequence);
    if (err == BK_OK) {
        share_take(ingress, counters_of(ingress, entry->source), intake->message);
    }
    return err;
}

/* It was not appended. */
static enum http_outcome not_stored(struct ingress *ingress, struct http_exchange *exchange,
                                    uint64_t number, enum bk_err err)
{
    if (err == BK_BUSY) {
        return answer_later(exchange);
    }
    if (err == BK_TOO_LARGE) {
        answer_refuse(ingress, exchange, number, 413, "too_large",
                      "body is larger than a journal segment of this server", SLICE_EMPTY);
    } else {
        answer_busy(ingress, exchange, number);
    }
    return HTTP_TAKEN;
}

static enum http_outcome store(struct ingress *ingress, struct http_exchange *exchange,
                               const struct intake *intake, struct dedupe_slot *slot)
{
    uint64_t number = intake->source->number;
    uint16_t reason = intake->source->event_count == 0 ? 0 : accept_reason(ingress, intake);
    struct journal_entry entry;
    record_entry(intake, reason ? JOURNAL_REJECTED : JOURNAL_ACCEPTED, &entry);
    entry.reason = reason;
    uint64_t sequence;
    enum bk_err err = append(ingress, exchange, intake, &entry, &sequence);
    if (err != BK_OK) {
        if (slot) {
            dedupe_release(slot);
        }
        return not_stored(ingress, exchange, number, err);
    }
    struct journal_position position = {ingress->config->id, sequence};
    if (slot) {
        dedupe_pending(ingress->config->dedupe, slot, position,
                       moment_of(ingress->ring, intake->wall_ns));
    }
    count_stored(counters_of(ingress, number), reason, intake->wall_ns);
    answer_prepare(intake, exchange, position, intake->wall_ns, false);
    acknowledge_when_durable(ingress, exchange, sequence, number, slot);
    return HTTP_TAKEN;
}

/* Its delivery id is claimed already, or cannot be now. */
static enum http_outcome not_claimed(struct ingress *ingress, struct http_exchange *exchange,
                                     const struct intake *intake, const struct dedupe_claim *claim,
                                     enum dedupe_outcome outcome)
{
    if (outcome == DEDUPE_FULL) {
        accept_ask_for_growth(ingress);
        return http_later(exchange, "unavailable",
                          "the table of delivery ids is full at this moment, try again");
    }
    return duplicate(ingress, exchange, intake, claim, outcome == DEDUPE_PENDING);
}

enum http_outcome accept_event(struct ingress *ingress, struct http_exchange *exchange,
                               const struct intake *intake, bool dedupes)
{
    struct dedupe_claim claim = {.slot = NULL};
    if (dedupes) {
        enum dedupe_outcome outcome = dedupe_claim(
            ingress->config->dedupe, intake->fingerprint, moment_of(ingress->ring, intake->wall_ns),
            intake->source->dedupe_window_ns / NS_PER_MS, &claim);
        if (outcome != DEDUPE_NEW) {
            return not_claimed(ingress, exchange, intake, &claim, outcome);
        }
        accept_ask_for_growth(ingress);
    }
    return store(ingress, exchange, intake, claim.slot);
}
