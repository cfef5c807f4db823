/* sink_sim.h - receivers of deliveries: servers that treat requests well or badly, in every way and
 * at every moment.
 *
 * Purpose     Each receiver listens at a port of its own. What a whole request holds is told to the
 *             scenario, which says how it is treated; what happens before (a connection refused, or
 *             reset while the request comes) is drawn here by the receiver's share of failures.
 * TLS         The same behind a handshake (tls_sim.h) that, by the same share, is cut in one of its
 *             flights, spoiled, slow, or never answered.
 * Threads     Events of the simulator, no thread.
 */
#ifndef SIM_SINK_SIM_H
#define SIM_SINK_SIM_H

#include "http/message.h"
#include "sim.h"

enum sink_treat {
    /* taken, and said so at once */
    SINK_OK,
    SINK_NO_CONTENT,
    SINK_CHUNKED,
    SINK_INTERIM, /* some 1xx before */
    SINK_CLOSE,
    SINK_UNTIL_CLOSE,
    SINK_BYE,   /* closes behind the answer without having said so */
    SINK_TAKEN, /* -- those above are taken for sure */
    /* taken, but the sender cannot know */
    SINK_CUT = SINK_TAKEN, /* the answer ends in the middle */
    SINK_RESET_ANSWER,
    SINK_RESET_BEFORE_ANSWER,
    SINK_SILENT,
    SINK_TRICKLE, /* a byte now and then, too slow */
    SINK_ENDLESS_HEAD,
    SINK_ENDLESS_1XX,
    SINK_ENDLESS_BODY,
    SINK_TOO_LONG, /* Content-Length says more than comes */
    SINK_BOTH,     /* Content-Length and chunked */
    SINK_LENGTHS,  /* two of them that differ */
    SINK_GARBAGE,
    SINK_SPOILED,      /* TLS: a bit of the answer's records is another one; else as SINK_CUT */
    SINK_NO_GOODBYE,   /* TLS: ends with the stream, without close_notify; else as SINK_CUT */
    SINK_RENEGOTIATES, /* TLS: asks for another handshake instead, and insists; else SINK_CUT */
    SINK_DOUBT,        /* -- those above may or may not be repeated */
    /* refused */
    SINK_500 = SINK_DOUBT,
    SINK_404,
    SINK_302,
    SINK_BUSY,      /* 503, Retry-After: 1 */
    SINK_THROTTLED, /* 429, Retry-After: 3 */
    SINK_GONE,      /* 410 */
    SINK_TREATS
};

struct sink;

/* A whole request. Says how to treat it. */
typedef enum sink_treat sink_request_fn(void *context, const struct http_head *head,
                                        struct slice body);

struct sink_config {
    uint16_t port; /* at 127.0.0.1 */
    bool tls;
    sink_request_fn *request;
    void *context;
};

struct sink *sink_open(const struct sink_config *config);
/* Of 1,000 connections so many are refused or reset before their request is whole. */
void sink_failing(struct sink *sink, uint32_t permille);
/* Nobody is there. */
void sink_down(struct sink *sink, bool down);
/* Ends its connections, and is freed when all are gone. */
void sink_close(struct sink *sink);
/* Connections of all receivers. */
unsigned sinks_connections(void);

#endif
