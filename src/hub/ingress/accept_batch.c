#include "hub/ingress/accept_batch.h"

#include "base/time.h"
#include "hub/events/event_id.h"
#include "hub/ingress/accept.h"
#include "hub/ingress/acknowledge.h"
#include "hub/ingress/answer.h"
#include "hub/ingress/counters.h"
#include "hub/ingress/record.h"
#include "hub/ingress/reject.h"
#include "providers/batch.h"

#include <stdio.h>
#include <stdlib.h>

/* One frame has them all, so that a crash leaves all or none. What is beyond has to be split by who
 * sends it. */
#define BATCH_EVENTS_MAX 4096U

struct taking {
    struct intake one; /* the event at hand, as if it had come alone */
    struct http_head head;
    struct http_message message;
    struct journal_redaction redactions[RECORD_REDACTIONS_MAX];
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
    struct journal_redaction all[RECORD_REDACTIONS_MAX];
    unsigned count = record_redactions(intake, all);
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

static void store_one(struct ingress *ingress, struct taking *taking, struct claims *claims,
                      struct dedupe_slot *slot)
{
    struct intake *one = &taking->one;
    struct metrics_source *counters = counters_of(ingress, one->source->number);
    uint16_t reason = accept_reason(ingress, one);
    struct journal_entry entry;
    record_entry(one, reason ? JOURNAL_REJECTED : JOURNAL_ACCEPTED, &entry);
    entry.reason = reason;
    append_one(ingress, taking, &entry, &taking->sequence);
    struct journal_position position = {ingress->config->id, taking->sequence};
    if (slot) {
        dedupe_pending(ingress->config->dedupe, slot, position,
                       moment_of(ingress->ring, one->wall_ns));
        claims->slots[claims->count++] = slot;
    }
    count_stored(counters, reason, one->wall_ns);
    note_first(taking, position, one->wall_ns);
    taking->stored++;
}

static void duplicate_one(struct ingress *ingress, struct taking *taking,
                          const struct dedupe_claim *claim)
{
    struct journal_entry entry;
    record_entry_duplicate(&taking->one, claim, &entry);
    append_one(ingress, taking, &entry, &taking->sequence);
    counter_add(&counters_of(ingress, entry.source)->events[METRICS_DUPLICATE], 1);
    note_first(taking, claim->first, entry.original_ns);
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
static enum bk_err take_one(struct ingress *ingress, struct taking *taking, struct claims *claims)
{
    const struct intake *one = &taking->one;
    struct dedupe_claim claim = {.slot = NULL};
    enum dedupe_outcome outcome = DEDUPE_NEW;
    if (one->source->dedupe_window_ns > 0) {
        outcome = dedupe_claim(ingress->config->dedupe, one->fingerprint,
                               moment_of(ingress->ring, one->wall_ns),
                               one->source->dedupe_window_ns / NS_PER_MS, &claim);
    }
    if (outcome == DEDUPE_FULL || outcome == DEDUPE_NEW) {
        accept_ask_for_growth(ingress);
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
        store_one(ingress, taking, claims, claim.slot);
    } else {
        duplicate_one(ingress, taking, &claim);
    }
    return err;
}

static void prepare_answer(const struct taking *taking, struct http_exchange *exchange,
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

/* The batch is good and small enough; `claims` has room for its slots, `out` for an event. */
static enum http_outcome take_events(struct ingress *ingress, struct http_exchange *exchange,
                                     const struct intake *intake, uint64_t reserve_bytes,
                                     struct claims *claims, uint8_t *out)
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
        err = take_one(ingress, &taking, claims);
    }
    if (taking.sequence == 0) {
        free(claims);
        if (err == BK_BUSY) {
            return answer_later(exchange);
        }
        answer_busy(ingress, exchange, intake->source->number);
        return HTTP_TAKEN;
    }
    claims->incomplete = err != BK_OK;
    prepare_answer(&taking, exchange, intake->spelling);
    acknowledge_batch(ingress, exchange, taking.sequence, intake->source->number, claims);
    return HTTP_TAKEN;
}

enum http_outcome accept_batch(struct ingress *ingress, struct http_exchange *exchange,
                               const struct intake *intake)
{
    const struct http_message *message = intake->message;
    size_t head_bytes = message->head->head_bytes;
    struct batch_size size;
    if (!batch_measure(message->body, &size)) {
        return reject_request(ingress, exchange, intake, SCHEME_BODY_MALFORMED);
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
        answer_refuse(
            ingress, exchange, intake->source->number, 413, "too_large",
            "too much for one batch: its events, each with the request's head, may have 500 KiB "
            "together and 128 KiB each; send smaller ones",
            SLICE_EMPTY);
        return HTTP_TAKEN;
    }
    struct claims *claims = malloc(sizeof *claims + size.count * sizeof(struct dedupe_slot *));
    uint8_t *out = malloc(head_bytes + size.largest_bytes);
    enum http_outcome outcome = HTTP_TAKEN;
    if (claims == NULL || out == NULL || acknowledge_never(ingress)) {
        free(claims);
        answer_busy(ingress, exchange, intake->source->number);
    } else {
        *claims = (struct claims){.count = 0};
        outcome = take_events(ingress, exchange, intake, bytes, claims, out);
    }
    free(out);
    return outcome;
}
