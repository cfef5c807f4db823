/* reactor.h - one core's loop: ring, connections, journal, and what they share.
 *
 * Purpose     Puts the parts of a core together and runs them in order, turn by turn: completions
 *             (requests are parsed, verified, de-duplicated, appended), journal, answers.
 * Threads     reactor_run() is the body of the core's own thread; everything else says otherwise.
 * Shared      The source table and the dedupe table (lock-free), mail. Nothing else.
 */
#ifndef BECKET_HUB_REACTOR_H
#define BECKET_HUB_REACTOR_H

#include "hub/deliveries/deliver.h"
#include "hub/ingress/ingress.h"
#include "hub/links/link_feed.h"
#include "ring/timer.h"

struct catalog;
struct http_client;
struct http_proxy;
struct reactor;
struct resolver;

struct reactor_config {
    struct ingress_config ingress; /* peers: an array that reactor_make fills at ingress.id */
    struct ingress **peers;
    int cpu; /* -1 = not pinned */
    bool durable;
    struct catalog *catalog; /* started */
    struct link_feed *feed;  /* NULL = no entries are made */
    /* routes NULL: no deliveries. The reactor fills in its own ring, wheel, journal, client. */
    struct deliver_config deliver;
    struct ring_address listen; /* ingress; a port other than 0 */
    /* Listening sockets (ring/socket.h) for this core instead of `listen`; the array is read while
     * it opens. */
    const int *sockets;
    unsigned socket_count;
    bool admin; /* this core also serves the admin listener */
    struct ring_address admin_listen;
    const int *admin_sockets;
    unsigned admin_socket_count;
    struct tls_slot *tls, *admin_tls;  /* certificates of the listeners; NULL = plain */
    struct http_handler admin_handler; /* for what ingress_owns() does not */
    /* Of the same context: called each turn, gives when (monotonic) it wants to be called at the
     * latest. NULL: never. */
    uint64_t (*watch)(void *context, uint64_t now_ns);
    unsigned conns_max;
    unsigned conns_per_address;                /* per core and listener; 0 = not limited */
    size_t admin_answers_bytes_max;            /* of the admin listener that are not read */
    uint32_t idle_timeout_ms, head_timeout_ms; /* 0 = http_server_defaults */
    size_t buffers_bytes_max;                  /* split and large requests, and answers */
    const struct tls_trust *trust;             /* for outgoing calls; NULL = https fails */
    const struct http_proxy *proxy;            /* for outgoing calls; NULL = none */
    const struct ring_address
        *dns_servers; /* the array is read while it opens; none: resolv.conf */
    unsigned dns_server_count;
    /* Called on the reactor's thread. */
    void (*opened)(void *context, struct reactor *reactor, enum bk_err err, const char *why);
    void (*stopped)(void *context,
                    struct reactor *reactor); /* all work is done; run returns after reactor_exit */
    void *context;
};

/* Connections that wait to be accepted, per listener. */
#define REACTOR_BACKLOG 4096U
/* Why a listener could not be opened, and what to do; one line. */
const char *reactor_listen_text(enum bk_err err);

/* Before the thread of the reactor starts. NULL = out of memory. */
struct reactor *reactor_make(const struct reactor_config *config);
/* Thread body: opens, calls opened(), runs until reactor_exit(). */
void reactor_run(struct reactor *reactor);
/* Handles of its ring that are not senders' connections. */
unsigned reactor_handles_beside(void);
/* After the thread ended. */
void reactor_free(struct reactor *reactor);

struct ring *reactor_ring(const struct reactor *reactor);
struct journal *reactor_journal(const struct reactor *reactor);
struct resolver *reactor_resolver(const struct reactor *reactor);
/* For calls from this core, on its thread, during its turn. */
const struct deliver *reactor_deliver(const struct reactor *reactor);
struct http_client *reactor_client(const struct reactor *reactor);

/* ---- by mail: on the reactor's thread */

/* Stop accepting, finish what is under way, stop the journal; then stopped() is called. Deliveries
 * that have no answer by deliver_until_ns are cut, and delivered again after the next start; who
 * waits for a flush by answer_until_ns is told so (503). */
void reactor_drain(struct reactor *reactor, uint64_t deliver_until_ns, uint64_t answer_until_ns);
/* After stopped(): leave the loop. Without it (second signal): leave at once, as a crash would. */
void reactor_exit(struct reactor *reactor);
/* Ask parked requests again: the dedupe table grew. */
void reactor_resume(struct reactor *reactor);
/* http_client_forget(). */
void reactor_forget(struct reactor *reactor);
/* ingress_when_settled(): no exchange from before holds a slot of the dedupe table any more. */
void reactor_when_settled(struct reactor *reactor, struct ingress_settled *settled,
                          void (*done)(struct ingress_settled *settled));

/* An event of our own, as if it had been received: durable before done() is called, on the
 * reactor's thread. Whoever made it keeps it until then. */
struct reactor_append {
    struct list node; /* the reactor's */
    struct journal_entry entry;
    const uint8_t *message; /* head, then body; at most JOURNAL_SMALL_BYTES_MAX */
    struct journal_position position;
    enum bk_err err; /* BK_BUSY, BK_NO_SPACE, BK_IO: try later. BK_CLOSED: it is stopping */
    void (*done)(struct reactor_append *append);
};
void reactor_append(struct reactor *reactor, struct reactor_append *append);

/* ---- any thread, racily */
const struct metrics_reactor *reactor_metrics(const struct reactor *reactor);
/* Counters of source `number` on this core, NULL when it was never hit. */
const struct metrics_source *reactor_source_metrics(const struct reactor *reactor, uint64_t number);

#endif
