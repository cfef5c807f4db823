/* attempt.h - one try to deliver an event, as the journal keeps it (JOURNAL_ATTEMPT).
 *
 * Purpose     What `becket deliveries` shows, and what a start needs to know what was delivered
 *             since the last checkpoint of the cursors.
 * Format      entry.source: the event's source; original, original_ns: the event; received_ns: when
 *             the try ended; reason: the HTTP status (0 = no answer); peer: who answered;
 *             fingerprint[0]: the destination's number. Head: 32 bytes, little-endian, then the
 *             words why it failed. Body: the first ATTEMPT_ANSWER_BYTES_MAX of the answer.
 * Failure     attempt_decode is false for bytes that attempt_encode cannot have written.
 */
#ifndef BECKET_HUB_ATTEMPT_H
#define BECKET_HUB_ATTEMPT_H

#include "journal/journal.h"

#define ATTEMPT_ANSWER_BYTES_MAX 4096U
#define ATTEMPT_WHY_BYTES_MAX    160U
#define ATTEMPT_HEAD_BYTES       32U
#define ATTEMPT_MESSAGE_BYTES_MAX                                                                  \
    (ATTEMPT_HEAD_BYTES + ATTEMPT_WHY_BYTES_MAX + ATTEMPT_ANSWER_BYTES_MAX)

enum attempt_outcome {
    ATTEMPT_DELIVERED = 1, /* 2xx */
    ATTEMPT_FAILED = 2,    /* another one comes at next_due_ms */
    ATTEMPT_DEAD = 3       /* it was the last one of the schedule */
};

enum {
    ATTEMPT_ANSWER_CUT = 1,
    ATTEMPT_REPLAY = 2, /* asked for by hand */
    ATTEMPT_HELD = 4,   /* FAILED: the machine's memory holds it (strict order), not the store */
    ATTEMPT_KEYED = 8   /* order per key: `bucket` is its key's */
};

struct attempt {
    enum attempt_outcome outcome;
    uint8_t stage; /* enum http_stage */
    uint8_t flags;
    uint16_t status;
    uint32_t number; /* 1, 2, 3 … */
    uint32_t took_us;
    uint16_t bucket; /* deliveries/order.h */
    uint64_t destination;
    uint64_t source;
    struct journal_position event;
    int64_t event_ns; /* received */
    int64_t ended_ns;
    int64_t previous_due_ms; /* the retry that this was; 0 = the first try */
    int64_t next_due_ms;     /* FAILED */
    struct ring_address peer;
    struct slice why;
    struct slice answer;
};

/* Longer words and answers are cut. Returns the message's length. */
size_t attempt_encode(const struct attempt *attempt, struct journal_entry *ret_entry,
                      uint8_t ret_message[ATTEMPT_MESSAGE_BYTES_MAX]);
/* Slices point into the message. */
bool attempt_decode(const struct journal_entry *entry, const uint8_t *message,
                    struct attempt *ret_attempt);
/* "delivered", "failed", "dead". */
const char *attempt_outcome_text(enum attempt_outcome outcome);

#endif
