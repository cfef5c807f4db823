/* admin.h - the bridge between the admin listener (a reactor) and the API (the control thread).
 *
 * Purpose     A request is copied, travels by mail to the control thread, is worked on in bounded
 *             steps, and its answer travels back. So API code may block on the store and never
 *             stops a loop.
 * Disk        The control thread stands still when its disk does. The reactor notices, gives every
 *             call 503 that would wait for it, and answers /metrics itself as well as it can.
 * Threads     on_head/on_request: the reactor that serves the admin listener. admin_step: the
 *             control thread.
 */
#ifndef BECKET_API_ADMIN_H
#define BECKET_API_ADMIN_H

#include "api/api.h"
#include "base/list.h"
#include "http/server.h"

#include <stdatomic.h>

/* Requests that the control thread has not answered, copied: it may stand in the disk. */
#define ADMIN_CALLS_BYTES_MAX (12U << 20)
/* Of them those without a token, pages among them: the rest is for who has one. */
#define ADMIN_STRANGERS_BYTES_MAX (3U << 20)
/* Answers that nobody has read yet; any single one fits. */
#define ADMIN_ANSWERS_BYTES_MAX API_RESPONSE_BYTES_MAX
/* What forms send, and whatever else needs no token. */
#define ADMIN_PAGE_BODY_BYTES_MAX (1U << 20)

struct admin_load {
    unsigned calls;
    size_t bytes;
};

struct admin {
    struct api *api;
    struct ring *control;        /* the control thread's ring */
    struct ring **reactor;       /* the admin reactor's ring, filled before the first request */
    struct list queue;           /* control thread: calls to work on, oldest first */
    struct list waiting;         /* control thread: calls that wait for something */
    struct admin_load all;       /* reactor: under way */
    struct admin_load strangers; /* those of them without a token */
    struct list out; /* reactor: calls with the control thread that still have an answer */
    /* Set by the control thread: since when (monotonic) it has been at its present step; 0: it
     * waits for work. */
    _Atomic uint64_t busy_since_ns;
    /* Reactor: the part of /metrics that can be said without the control thread. */
    void (*metrics)(void *context, struct buf *out);
    void *context;
};

/* The control thread stands still when a step takes so long: for metrics, and for all else. */
#define ADMIN_METRICS_PATIENCE_NS 1000000000ULL
#define ADMIN_PATIENCE_NS         10000000000ULL

/* For how long it has been at its present step; 0: it is not. Any thread. */
uint64_t admin_busy_ns(const struct admin *admin, uint64_t now_ns);
/* On the reactor, once per turn (reactor_config.watch): answers those that wait for too long. */
uint64_t admin_watch(void *context, uint64_t now_ns);

void admin_init(struct admin *admin, struct api *api, struct ring *control, struct ring **reactor);
struct http_handler admin_handler(struct admin *admin);
/* Frees requests that were never answered. After the reactors ended. */
void admin_fini(struct admin *admin);
/* Control thread: when admin_step() has something to do by itself (monotonic); UINT64_MAX = never.
 */
uint64_t admin_next_ns(const struct admin *admin);
/* Control thread: one step of the oldest call. True: there is more to do. */
bool admin_step(struct admin *admin);

#endif
