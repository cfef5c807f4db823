#include "hub/events/attempt.h"

#include "base/assert.h"

#define ATTEMPT_VERSION 1U

/* The fixed part of the head. Everything we run on is little-endian (journal/format.h). */
struct attempt_head {
    uint8_t version;
    uint8_t outcome;
    uint8_t stage;
    uint8_t flags;
    uint32_t number;
    uint32_t took_us;
    uint32_t bucket;
    int64_t previous_due_ms;
    int64_t next_due_ms;
};

_Static_assert(sizeof(struct attempt_head) == ATTEMPT_HEAD_BYTES, "the head as it is written");

size_t attempt_encode(const struct attempt *attempt, struct journal_entry *ret_entry,
                      uint8_t ret_message[ATTEMPT_MESSAGE_BYTES_MAX])
{
    size_t why =
        attempt->why.bytes < ATTEMPT_WHY_BYTES_MAX ? attempt->why.bytes : ATTEMPT_WHY_BYTES_MAX;
    bool cut = attempt->answer.bytes > ATTEMPT_ANSWER_BYTES_MAX;
    size_t answer = cut ? ATTEMPT_ANSWER_BYTES_MAX : attempt->answer.bytes;
    struct attempt_head head = {.version = ATTEMPT_VERSION,
                                .outcome = (uint8_t)attempt->outcome,
                                .stage = attempt->stage,
                                .flags = (uint8_t)(attempt->flags | (cut ? ATTEMPT_ANSWER_CUT : 0)),
                                .number = attempt->number,
                                .took_us = attempt->took_us,
                                .bucket = attempt->bucket,
                                .previous_due_ms = attempt->previous_due_ms,
                                .next_due_ms = attempt->next_due_ms};
    *ret_entry = (struct journal_entry){.type = JOURNAL_ATTEMPT,
                                        .reason = attempt->status,
                                        .source = attempt->source,
                                        .received_ns = attempt->ended_ns,
                                        .fingerprint = {attempt->destination, 0},
                                        .original = journal_position_pack(attempt->event),
                                        .original_ns = attempt->event_ns,
                                        .peer = attempt->peer,
                                        .head_bytes = (uint32_t)(sizeof head + why),
                                        .body_bytes = (uint32_t)answer};
    memcpy(ret_message, &head, sizeof head);
    if (why > 0) {
        memcpy(ret_message + sizeof head, attempt->why.at, why);
    }
    if (answer > 0) {
        memcpy(ret_message + sizeof head + why, attempt->answer.at, answer);
    }
    return sizeof head + why + answer;
}

bool attempt_decode(const struct journal_entry *entry, const uint8_t *message,
                    struct attempt *ret_attempt)
{
    struct attempt_head head;
    if (entry->type != JOURNAL_ATTEMPT || entry->head_bytes < sizeof head) {
        return false;
    }
    memcpy(&head, message, sizeof head);
    if (head.version != ATTEMPT_VERSION || head.outcome < ATTEMPT_DELIVERED ||
        head.outcome > ATTEMPT_DEAD) {
        return false;
    }
    *ret_attempt =
        (struct attempt){.outcome = (enum attempt_outcome)head.outcome,
                         .stage = head.stage,
                         .flags = head.flags,
                         .status = entry->reason,
                         .number = head.number,
                         .took_us = head.took_us,
                         .bucket = (uint16_t)head.bucket,
                         .destination = entry->fingerprint[0],
                         .source = entry->source,
                         .event = journal_position_unpack(entry->original),
                         .event_ns = entry->original_ns,
                         .ended_ns = entry->received_ns,
                         .previous_due_ms = head.previous_due_ms,
                         .next_due_ms = head.next_due_ms,
                         .peer = entry->peer,
                         .why = slice_of(message + sizeof head, entry->head_bytes - sizeof head),
                         .answer = slice_of(message + entry->head_bytes, entry->body_bytes)};
    return true;
}

const char *attempt_outcome_text(enum attempt_outcome outcome)
{
    switch (outcome) {
    case ATTEMPT_DELIVERED:
        return "delivered";
    case ATTEMPT_FAILED:
        return "failed";
    case ATTEMPT_DEAD:
        return "dead";
    default:
        bk_never("unknown outcome");
    }
}
