/* bench_request.h - the requests of the load generator: fresh delivery ids and real signatures,
 * cheaply.
 *
 * Purpose     One writer per thread holds a finished request. When the signature covers only the
 *             body, a request is that text with another delivery id written over; a signature with
 *             a timestamp is made anew each second; one that covers the id is made for each
 *             request. Which of the three a scheme needs is found by signing a few probes, not by
 *             its name.
 * Ownership   The writer owns its text; the configuration (slices, scheme) must outlive it.
 * Threads     A writer belongs to one thread; a scheme may be shared.
 */
#ifndef BECKET_CLI_BENCH_REQUEST_H
#define BECKET_CLI_BENCH_REQUEST_H

#include "base/buf.h"
#include "base/err.h"

struct scheme;

#define BENCH_ID_BYTES      36U /* spelled like a UUID */
#define BENCH_SPREAD_MARK   "{n}"
#define BENCH_SPREAD_DIGITS 7U

struct bench_request_config {
    struct slice method;  /* "POST" */
    struct slice target;  /* "/hooks/x"; with `spread`, its BENCH_SPREAD_MARK becomes a number */
    uint64_t spread;      /* 0 = one target; else that many, 0000000 to spread - 1 */
    struct slice host;    /* for the Host header */
    struct slice url;     /* for schemes that sign it */
    struct slice headers; /* more header lines, each with CR LF */
    struct slice body;
    struct slice event;          /* event type; empty = the scheme's usual one */
    const struct scheme *scheme; /* NULL = unsigned, the id goes into X-Request-Id */
    uint64_t seed;               /* first half of every id: other runs get other ids */
    unsigned thread;
};

enum bench_signing {
    BENCH_SIGN_ONCE,       /* the signature covers the body only */
    BENCH_SIGN_PER_SECOND, /* … and the time */
    BENCH_SIGN_EACH        /* … and the delivery id, or the id is in the body */
};

struct bench_writer {
    struct bench_request_config config;
    enum bench_signing signing;
    uint8_t *text;        /* the whole request as last made */
    size_t request_bytes; /* every request has this many */
    size_t head_bytes;
    size_t signed_at; /* the scheme's header lines, in text */
    size_t signed_bytes;
    size_t id_at;     /* in text; 0 = the request has no id */
    size_t spread_at; /* 0 = all requests have the same target */
    size_t forge_at;  /* a character of the signature; 0 = cannot be forged */
    bool id_in_body;
    uint8_t *body; /* copy to write ids into; NULL unless id_in_body */
    size_t body_id_at;
    int64_t second;
    struct buf signed_headers;
};

/* BK_UNSUPPORTED: *ret_why says what the scheme cannot do (static). BK_NO_MEMORY. Call
 * bench_writer_fini() in any case. */
enum bk_err bench_writer_init(struct bench_writer *writer,
                              const struct bench_request_config *config, int64_t now_seconds,
                              const char **ret_why) BK_MUST_CHECK;
void bench_writer_fini(struct bench_writer *writer);

/* Write request number `number` (any, each gives another id) to `at`, which has room for
 * request_bytes. has_body: `at` already holds an earlier request of this writer. forged: the
 * signature is wrong by one character. */
void bench_writer_put(struct bench_writer *writer, uint8_t *at, uint64_t number, bool forged,
                      bool has_body, int64_t now_seconds);

/* A JSON object of exactly `bytes` bytes with a string member "id" where there is room (80 bytes);
 * below that a JSON string. Appended to `body`. */
void bench_body_make(struct buf *body, size_t bytes);

#endif
