/* bench_load_private.h - what the files of the load generator share: bench_load.c, the thread and
 * its phases; bench_connection.c; bench_answers.c; bench_secure.c, the TLS between. One thread has
 * all of it, and bench_load.h tells what it is for. */
#ifndef BECKET_CLI_BENCH_LOAD_PRIVATE_H
#define BECKET_CLI_BENCH_LOAD_PRIVATE_H

#include "base/list.h"
#include "base/time.h"
#include "cli/bench_load.h"
#include "http/parse.h"

#define CONNECTING_MAX 64U /* at once, so that the listener's queue does not overflow */
#define RETRY_NS       (10 * NS_PER_MS)
#define SEEN_BYTES_MAX 1024U
#define WIRE_BYTES     (40U * 1024) /* TLS: a full record and what came behind it */

enum phase { PHASE_CONNECT, PHASE_WARMUP, PHASE_MEASURE, PHASE_DRAIN, PHASE_CLOSE };

enum connection_state {
    CONNECTION_CLOSED,
    CONNECTION_OPENING,
    CONNECTION_READY,
    CONNECTION_CLOSING
};

struct bench_connection {
    struct list node; /* idle, or waiting to connect; else detached */
    struct bench_load_state *state;
    struct ring_op recv;
    struct ring_op send; /* connect and close, too: never at the same time */
    enum connection_state phase;
    int32_t handle;
    bool written;     /* `requests` holds bodies already */
    bool close_after; /* the answer said so */
    bool once_open;
    unsigned outstanding;
    unsigned forged_first; /* index of the next answer in forged */
    uint64_t forged;       /* bit per request of the batch */
    uint64_t number;       /* of the first request of the batch */
    uint64_t sent_ns;      /* open loop: was to be sent */
    uint64_t body_left;
    unsigned answer_status; /* of the answer whose body is being skipped */
    bool answer_keeps;
    size_t head_bytes; /* of a head split over receives, in `head` */
    uint8_t *head;
    uint8_t *requests;
    struct bench_secure *secure; /* https */
};

struct bench_secure {
    struct tls *tls;
    struct tls_session session;
    const uint8_t *plain; /* of the batch, not in the engine yet */
    size_t plain_bytes;
    size_t record_bytes; /* of the send under way */
    size_t wire_bytes;   /* came, not in the engine yet */
    bool open;
    uint8_t wire[WIRE_BYTES];
};

struct bench_load_state {
    struct bench_load *load;
    const struct bench_plan *plan;
    struct ring *ring;
    struct bench_writer writer;
    struct bench_counts counts; /* of this phase */
    enum phase phase;
    struct bench_connection *connections;
    struct list idle;   /* open loop: ready, nothing outstanding */
    struct list closed; /* to connect */
    unsigned open_count;
    unsigned shaking; /* of them, before their TLS handshake is over */
    unsigned opening;
    unsigned busy_handles; /* not CLOSED */
    uint64_t retry_ns;
    uint64_t next_number;
    uint64_t last_answered; /* a number whose request was answered */
    uint64_t outstanding;
    uint64_t quota; /* requests that may still be sent */
    uint64_t phase_end_ns;
    uint64_t phase_begin_ns;
    uint64_t last_answer_ns;
    uint64_t open_begin_ns; /* open loop: request k is due at begin + k * hour / rate_per_hour */
    uint64_t open_sent;
    uint32_t random;
    uint64_t cpu_begin_ns;
    uint64_t enters_begin;
    uint64_t watch_begin_ns[BENCH_WATCH_MAX];
    struct http_head parsed;
    char tls_why[TLS_WHY_BYTES]; /* https: why a handshake failed last */
    size_t seen_bytes;           /* the last answer's head: most are the same */
    unsigned seen_status;
    bool seen_keeps;
    uint64_t seen_body;
    uint8_t seen[SEEN_BYTES_MAX];
};

/* ---- bench_connection.c */

void bench_connect_some(struct bench_load_state *state);

/* Nothing is outstanding: send on, wait in line, or go. */
void bench_connection_next(struct bench_connection *connection);

/* Safe to call again until it is closed: each operation that ends calls it. */
void bench_connection_close(struct bench_connection *connection);

bool bench_may_send(const struct bench_load_state *state);

/* Open loop: when the next request is due, how many should have been sent by now, and sending what
 * is due on connections that are free. */
uint64_t bench_open_due_ns(const struct bench_load_state *state);
uint64_t bench_open_due_count(const struct bench_load_state *state);
void bench_open_send_due(struct bench_load_state *state);

/* ---- bench_answers.c */

/* Any bytes, as they come. False: they cannot be framed. */
bool bench_answers_read(struct bench_connection *connection, const uint8_t *at, size_t bytes);

/* ---- bench_secure.c */

bool bench_secure_make(struct bench_connection *connection);
void bench_secure_free(struct bench_connection *connection);
void bench_secure_begin(struct bench_connection *connection);

/* The next record onto the wire, from plain text where there is some. */
void bench_secure_pump(struct bench_connection *connection);

/* Bytes off the wire. False: what is in them cannot be framed. */
bool bench_secure_read(struct bench_connection *connection, const uint8_t *at, size_t bytes);

#endif
