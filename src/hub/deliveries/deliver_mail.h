/* deliver_mail.h - what cores and the control thread send each other about deliveries. Data only.
 *
 * Ownership   A letter belongs to who has it: it travels there and back (ring_mail), and is free to
 *             be used again when it is home.
 * Order       Mail from one core arrives in the order in which it was sent. So a checkpoint never
 *             overtakes the reports that it relies on, and both are committed together or in order.
 */
#ifndef BECKET_HUB_DELIVER_MAIL_H
#define BECKET_HUB_DELIVER_MAIL_H

#include "base/list.h"
#include "hub/events/attempt.h"
#include "ring/ring.h"

struct deliver;
struct dispatch;

/* One event read back for a core. */
struct chunk_event {
    uint64_t position; /* journal_position_pack() */
    struct journal_entry entry;
    uint32_t message_at; /* offsets into the chunk's bytes */
    uint32_t source_at;
    uint32_t source_bytes; /* its source's name, */
    uint32_t type_at;
    uint32_t type_bytes; /* and its type; 0 = none */
    /* Retries and replays only. */
    uint64_t destination;
    int64_t due_ms;  /* with destination and position: its key */
    uint32_t number; /* tries made */
    uint8_t flags;   /* ATTEMPT_REPLAY, ATTEMPT_KEYED */
    uint16_t bucket;
    bool follows; /* order per key: goes when the one before it in the chunk was delivered */
    bool refused; /* the core had no room: it is due again later */
};

#define CHUNK_EVENTS_MAX 256U

/* Memory of the control thread; goes back by `mail`. */
struct event_chunk {
    struct ring_mail mail;
    struct list node; /* the control thread's free ones */
    struct dispatch *dispatch;
    struct deliver *home;
    unsigned count;
    size_t bytes, bytes_max;
    uint8_t *at;
    struct chunk_event events[CHUNK_EVENTS_MAX];
};

/* A lane that is behind asks for its next events. */
struct lane_want {
    struct ring_mail mail;
    struct list node; /* the control thread's queue */
    struct dispatch *dispatch;
    struct deliver *home;
    uint16_t journal;
    uint64_t destination;
    uint64_t from;       /* the first sequence not looked at yet */
    unsigned events_max; /* 0 = nothing is to be delivered: is it still there? */
    bool asks_oldest;    /* and how old is it? */
    /* The answer. */
    struct event_chunk *chunk; /* NULL: nothing to deliver among what was looked at */
    uint64_t next;             /* everything below was looked at */
    bool caught_up;            /* there was nothing durable beyond */
    bool unreadable;           /* the disk did not give all of it: ask again later */
    uint64_t lost;             /* records that retention had removed before they were read */
    int64_t oldest_ns;         /* when the first wanted one was received, about; 0 = unknown */
};

/* What the control thread has to commit: embedded in a report or a checkpoint. */
struct letter {
    struct letter *next;
    bool checkpoint;
    bool own; /* a report that the control thread made itself */
};

enum report_kind {
    REPORT_AGAIN,   /* persist a retry at due_ms */
    REPORT_WAITS,   /* its key's head failed: persist it behind that one, it was not tried */
    REPORT_SETTLED, /* the retry is over: delivered */
    REPORT_DEAD,    /* no more tries */
    REPORT_REFUSED, /* this retry was not tried: it stays as it is */
    REPORT_PROMOTE  /* the control thread's own: a key that has no head gets one */
};

/* What became of a delivery, where the store has to know. */
struct delivery_report {
    struct ring_mail mail;
    struct letter letter;
    struct dispatch *dispatch;
    struct deliver *home;
    enum report_kind kind;
    bool gone;      /* 410: pause the destination, unless it was lifted since: */
    uint64_t lifts; /* flow_lifts() when it was sent */
    bool recovered; /* a start found it in the journal: later ones of its event may follow */
    bool more;      /* order per key: delivered, and the next one of the key is under way already */
    uint8_t flags;
    uint16_t bucket; /* with ATTEMPT_KEYED */
    bool counted;    /* in order_keys.mail, and */
    uint32_t turn;   /* its number among these: 1, 2, 3 … */
    uint16_t status;
    uint32_t number; /* tries made */
    uint64_t destination;
    uint64_t source;
    uint64_t position;
    int64_t event_ns;
    int64_t due_ms;
    int64_t previous_due_ms; /* key of the retry it was; 0 = it was none */
    int64_t ended_ns;
    uint32_t pace_us; /* the control thread's own: a row at a rate that was not tried */
    char why[ATTEMPT_WHY_BYTES_MAX];
    /* The commit's, with ATTEMPT_KEYED. */
    int rows_change;
    bool promoted;              /* another one of its key is due now, */
    uint64_t promoted_position; /* that one */
    bool blocks;                /* the store has some of its key, */
    bool headless;              /* and none of them is the first */
};

/* One lane as it stands. */
struct checkpoint_lane {
    uint16_t journal;
    uint64_t destination;
    uint64_t cursor; /* everything below is settled; 0 = all that its journal's through covers */
    uint64_t held_sequence; /* strict order: the head that failed, and how often; 0 = none */
    uint32_t held_number;
    uint32_t done_at; /* into done[]: settled ones at or above the cursor, ascending */
    uint32_t done_count;
};

enum { TARGET_DELIVERED, TARGET_FAILED, TARGET_DEAD, TARGET_OUTCOMES };

/* What `status` of a destination and the metrics show: one core's view. */
struct target_status {
    uint64_t destination;
    uint64_t outcomes[TARGET_OUTCOMES];
    uint64_t took_us; /* sum over all tries */
    uint64_t backlog; /* events known to wait in journals */
    uint64_t lost;    /* removed by retention before they were delivered */
    uint32_t inflight;
    uint32_t queued;
    bool behind;
    bool open;         /* breaker */
    int64_t oldest_ns; /* received: the oldest not yet delivered; 0 = none */
    /* The last try. */
    int64_t last_ns;
    uint32_t last_number;
    uint16_t last_status;
    uint8_t last_outcome; /* enum attempt_outcome; 0 = there was none */
    char last_why[ATTEMPT_WHY_BYTES_MAX];
};

struct checkpoint {
    struct ring_mail mail;
    struct letter letter;
    struct dispatch *dispatch;
    struct deliver *home;
    uint16_t core;
    uint64_t through; /* of the core's own journal: see deliver.h */
    size_t lane_count, lanes_max;
    struct checkpoint_lane *lanes;
    size_t done_count, done_max;
    uint64_t *done;
    size_t status_count, status_max;
    struct target_status *status;
};

/* A lane to begin with: what a start found. */
struct lane_start {
    uint16_t journal;
    bool foreign; /* no core writes this journal any more */
    uint64_t destination;
    uint64_t cursor;
    uint64_t held_sequence; /* strict order: the head that failed, and how often; 0 = none */
    uint32_t held_number;
    uint64_t done_count;
    const uint64_t *done; /* ascending; the dispatch's until all cores have opened */
};

#endif
