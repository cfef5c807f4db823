/* peer_sim.h - scripted HTTP peers: what senders of webhooks do, and worse.
 *
 * Purpose     A client opens a connection, sends prepared requests (pipelined, in pieces, with
 *             pauses), reads answers slowly or fast, resets or half-closes. It checks that each
 *             answer is well-formed, that there is at most one for each request, in order, and
 *             nothing behind the last one.
 * Ownership   Requests are the caller's until `ended` ran; the client frees itself behind it.
 * Threads     Events of the simulator, no thread.
 */
#ifndef SIM_PEER_SIM_H
#define SIM_PEER_SIM_H

#include "sim.h"

struct peer_request {
    const uint8_t *at;
    size_t bytes;
    bool head_only; /* HEAD: the answer has no body */
};

/* A request that never had its answer. */
struct peer_lost {
    bool sent;            /* its bytes were all given to the network, … */
    uint64_t sent_ns;     /* … then */
    uint64_t accepted_ns; /* the server took the connection; 0 = never */
    enum bk_err err;      /* how the connection ended */
};

struct peer_client_config {
    struct ring_address to;
    const struct ring_address *from; /* NULL = loopback */
    const struct peer_request *requests;
    unsigned count;
    unsigned pipeline;  /* unanswered requests at most */
    size_t piece_bytes; /* written at once, at most; 0 = all */
    uint32_t pause_us;  /* between pieces, at most */
    uint32_t reset;     /* permille, before each piece: reset the connection */
    bool half_close;    /* after the last request */
    bool polite;        /* sends nothing behind an answer that says "close" */
    size_t read_bytes;  /* read at once, at most; 0 = all */
    uint32_t read_pause_us;
    uint64_t *ret_sent_ns; /* of each request: when its last byte was given to the network; NULL =
                              not wanted */
    uint64_t patience_ns;  /* without an answer for so long, the server has failed */
    void *context;
    /* status 0: the connection ended without an answer to this and all later requests; `sent` says
     * whether its bytes were all given to the network. */
    void (*answer)(void *context, unsigned request, unsigned status, struct slice body, bool sent);
    /* Before that, when it is not NULL. */
    void (*lost)(void *context, unsigned request, const struct peer_lost *lost);
    void (*ended)(
        void *context,
        enum bk_err err); /* BK_OK closed by the server or done, BK_RESET, BK_REFUSED, … */
};

/* Starts now; nothing is called before the next event. */
void peer_client_start(const struct peer_client_config *config);
/* How many clients are alive. */
unsigned peer_clients(void);

#endif
