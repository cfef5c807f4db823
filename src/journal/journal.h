/* journal.h - the durable, append-only event log of one core.
 *
 * Purpose     A record counts as accepted when the frame that holds it, and all frames before,
 *             have been flushed to the device. Group commit without a timer; at most two frames
 *             in flight.
 * Threads     One reactor owns a journal and calls everything here, except what says otherwise.
 *             The store thread makes spare segments, seals, recycles and reads
 *             (journal/catalog.h, reader.h).
 * Ownership   Appended bytes are copied into the frame (once), but for journal_append_large,
 *             which borrows the caller's buffer until its commit.
 * Failure     A failed flush is never retried and never acknowledged: its records are reported
 *             failed, the segment is abandoned at the last durable frame, and the journal goes on
 *             in a spare. Without a spare (disk full) appends give BK_NO_SPACE until the store
 *             thread could make one.
 * Format      journal/format.h. Recovery rules: src/journal/README.md.
 */
#ifndef BECKET_JOURNAL_JOURNAL_H
#define BECKET_JOURNAL_JOURNAL_H

#include "base/err.h"
#include "base/event_type.h"
#include "base/slice.h"
#include "ring/ring.h"

struct journal;
struct catalog; /* journal/catalog.h */

enum journal_record_type {
    JOURNAL_ACCEPTED = 1,
    JOURNAL_REJECTED = 2,  /* quarantine: reason says why */
    JOURNAL_DUPLICATE = 3, /* head only; original says whose */
    JOURNAL_ATTEMPT = 4    /* what a delivery came to (hub/events/attempt.h), of `original` */
};

enum {
    JOURNAL_BODY_DECODED = 1 /* was chunked */,
    JOURNAL_CUT = 2 /* body cut for the quarantine */
};

/* A type may be joined of several parts. */
#define JOURNAL_TYPE_MORE 2U
struct journal_type_part {
    uint32_t at; /* offset into the message */
    uint16_t bytes;
    uint8_t joint; /* the character before it; 0 = there is no such part */
    uint8_t reserved;
};

/* What is appended and what is read back. The message is head+body as received, contiguous. */
struct journal_entry {
    enum journal_record_type type;
    uint8_t flags;
    uint16_t reason;         /* enum of the verdict, for REJECTED */
    uint64_t source;         /* numeric id of the event source (hub/ingress/source_table.h) */
    int64_t received_ns;     /* wall clock */
    uint64_t fingerprint[2]; /* of the delivery id, 0 0 = none */
    uint64_t original;   /* DUPLICATE: position of the first (journal_position_pack); ATTEMPT: of
                            the event */
    int64_t original_ns; /* its received_ns */
    struct ring_address peer;
    uint32_t head_bytes;
    uint32_t body_bytes;
    uint32_t type_at; /* event type: offset into the message, 0 bytes = unknown */
    uint16_t type_bytes;
    uint16_t id_bytes; /* delivery id, likewise */
    uint32_t id_at;
    struct journal_type_part type_more[JOURNAL_TYPE_MORE];
};

/* The event's type; in `room` if it has several parts. Empty = unknown. */
static inline struct slice journal_event_type(const struct journal_entry *entry,
                                              const uint8_t *message,
                                              uint8_t room[EVENT_TYPE_BYTES_MAX])
{
    struct slice first = slice_of(message + entry->type_at, entry->type_bytes);
    if (entry->type_more[0].joint == 0) {
        return first;
    }
    size_t bytes = event_type_add(room, 0, 0, first);
    for (unsigned i = 0; i < JOURNAL_TYPE_MORE && entry->type_more[i].joint != 0; i++) {
        const struct journal_type_part *part = &entry->type_more[i];
        bytes = event_type_add(room, bytes, part->joint, slice_of(message + part->at, part->bytes));
    }
    return slice_of(room, bytes);
}

/* Where a record is: journal id and sequence number (1, 2, 3 … per journal, never reused). */
struct journal_position {
    uint16_t journal;
    uint64_t sequence; /* 48 bits */
};
static inline uint64_t journal_position_pack(struct journal_position position)
{
    return (uint64_t)position.journal << 48 | position.sequence;
}
static inline struct journal_position journal_position_unpack(uint64_t packed)
{
    return (struct journal_position){(uint16_t)(packed >> 48), packed & 0xffffffffffffULL};
}

/* A byte range inside the message to overwrite with '*' in the journal's copy (secrets in headers).
 */
struct journal_redaction {
    uint32_t at;
    uint32_t bytes;
};

/* Called in order, on the reactor. durable_through: every record up to this sequence is durable.
 * err != BK_OK: the records in (durable_through, failed_through] are lost and must be refused. */
typedef void journal_commit_fn(void *context, uint64_t durable_through, uint64_t failed_through,
                               enum bk_err err);

struct journal_stats {
    uint64_t frames, records, bytes, failures, rolls;
    uint64_t commit_ns_buckets[24]; /* histogram, see base/histogram.h bounds: 2^i * 16 us */
    uint64_t commit_ns_sum;
    uint64_t batch_records_buckets[16]; /* 2^i records per frame */
};

/* Back-pressure: bytes that are appended but not durable. */
size_t journal_pending_bytes(const struct journal *journal);
const struct journal_stats *journal_stats(const struct journal *journal);
uint16_t journal_id(const struct journal *journal);

/* Append one record whose message is at `message` (head_bytes + body_bytes). *ret_sequence is its
 * number. BK_BUSY: frames are full and in flight, try after the next commit. BK_NO_SPACE, BK_IO:
 * cannot take it now. BK_TOO_LARGE: over JOURNAL_SMALL_BYTES_MAX, use journal_append_large. */
enum bk_err journal_append(struct journal *journal, const struct journal_entry *entry,
                           const uint8_t *message, const struct journal_redaction *redactions,
                           unsigned redaction_count, uint64_t *ret_sequence) BK_MUST_CHECK;

/* Several records that are durable together or not at all: make room for `bytes` (the sum of their
 * journal_record_bytes()) in one frame. At least one must be appended then, before anything else;
 * as long as they are within `bytes`, none of these appends fails. BK_TOO_LARGE: no frame has so
 * much room; else as journal_append(). */
#define JOURNAL_TOGETHER_BYTES_MAX 524224U
enum bk_err journal_reserve(struct journal *journal, uint64_t bytes) BK_MUST_CHECK;
uint64_t journal_record_bytes(uint64_t message_bytes);

/* A record too large to share a frame is written from the buffer it was received in, without a
 * copy: `buffer` is 4 KiB aligned, the message starts at buffer + JOURNAL_LARGE_MESSAGE_AT,
 * buffer_bytes is a multiple of 4096 and at least JOURNAL_LARGE_MESSAGE_AT + message rounded up.
 * The buffer is the journal's until the commit callback reports its sequence. The caller applies
 * redactions itself. At most JOURNAL_LARGE_INFLIGHT queued: then BK_BUSY. */
#define JOURNAL_LARGE_MESSAGE_AT 192U /* frame header 64 + record header 128 */
#define JOURNAL_SMALL_BYTES_MAX  131072U
#define JOURNAL_FRAME_BYTES      524288U /* what records share a frame of */
#define JOURNAL_LARGE_INFLIGHT   8U
enum bk_err journal_append_large(struct journal *journal, const struct journal_entry *entry,
                                 uint8_t *buffer, size_t buffer_bytes,
                                 uint64_t *ret_sequence) BK_MUST_CHECK;

/* The same for a record that nobody waits for: it starts no commit by itself, but goes out with the
 * next one, and after eight flushes in any case, of which the disk does not notice one more:
 * JOURNAL_LAZY_NS on a fast disk, JOURNAL_LAZY_NS_MAX on a slow one. A commit of nothing else does
 * not stand in front of the next one. */
#define JOURNAL_LAZY_NS     5000000ULL
#define JOURNAL_LAZY_NS_MAX 50000000ULL
enum bk_err journal_append_lazy(struct journal *journal, const struct journal_entry *entry,
                                const uint8_t *message, uint64_t *ret_sequence) BK_MUST_CHECK;

/* Hand each accepted record on when it became durable, in order, before the commit callback of the
 * same completion. `message` (head, then body) lies in the frame: valid during the call, which must
 * not append. NULL: nobody wants them, which costs nothing. On the reactor, at any time. */
typedef void journal_durable_fn(void *context, uint64_t sequence, const struct journal_entry *entry,
                                const uint8_t *message);
void journal_consume(struct journal *journal, journal_durable_fn *consume, void *context);

/* Once per loop turn, after all appends: starts a commit when the rules allow one. */
void journal_turn(struct journal *journal);
/* When journal_turn() has to run though nothing else happens (lazy records); UINT64_MAX: never. */
uint64_t journal_next_ns(const struct journal *journal);
/* The first sequence of the frame that is filling, or will be: another number, another frame. */
uint64_t journal_filling_from(const struct journal *journal);
/* A commit is under way. */
bool journal_writing(const struct journal *journal);
/* How many records the next commit is held back for, and for how long at most; 0 = it is not. */
unsigned journal_held(const struct journal *journal, uint64_t *ret_ns);

/* Bytes that it can still write without a new segment. Any thread. */
uint64_t journal_room_bytes(const struct journal *journal);
/* Would it refuse an event now, for longer than a moment? BK_NO_SPACE: no room, and no segment can
 * be made; BK_IO: the disk fails. Any thread. */
#define JOURNAL_ROOM_LEAST (1U << 20) /* less is no room: a large event does not fit */
enum bk_err journal_refuses(const struct journal *journal, uint64_t now_ns);
/* Since when (monotonic) the oldest commit in flight has been under way; 0: there is none. Any
 * thread. A disk that stands still shows here. */
uint64_t journal_writing_since_ns(const struct journal *journal);
/* Sequence up to which everything is durable. Any thread (atomic acquire). */
uint64_t journal_durable_through(const struct journal *journal);

/* Nothing pending and nothing in flight (drain). After journal_stop also: the closing frame is
 * durable. */
bool journal_idle(const struct journal *journal);

/* ---- Life cycle. Start-up: catalog_open() (recovers, blocking, any thread, before the reactors
 * run), then catalog_start() on the store thread, then journal_open() on each reactor. The end, in
 * order: journal_stop(), turns until journal_idle(), journal_close(), and catalog_close() after all
 * journals are closed. */

struct journal_config {
    uint16_t id;             /* 0 <= id < catalog_config.journals */
    struct ring *ring;       /* the reactor's own */
    struct catalog *catalog; /* started */
    bool durable;            /* false: no flush (--durability=none, for comparison runs only) */
    journal_commit_fn *commit;
    void *context;
};

/* Takes memory (3 frames of 512 KiB through ring_write_buffers, so once per ring), attaches the
 * current segment and tells the store thread where to send spares. */
enum bk_err journal_open(const struct journal_config *config,
                         struct journal **ret_journal) BK_MUST_CHECK;

/* No appends from now on (BK_CLOSED). What was appended is still committed by journal_turn(), and
 * then a closing frame, which lets recovery tell damage from a crash. */
void journal_stop(struct journal *journal);

/* Requires: journal_idle() and no completion outstanding on the ring for this journal. Without
 * journal_stop() it leaves the files as a crash would. The segment goes back to the catalog by
 * mail, so the store thread must run its mail once more before catalog_close(). */
void journal_close(struct journal *journal);

#endif
