/* admin.h - the bridge between the admin listener (a reactor) and the API (the control thread).
 *
 * Purpose     A request is copied, travels by mail to the control thread, is worked on in bounded
 *             steps, and its answer travels back. So API code may block on the store and never
 *             stops a loop.
 * Threads     on_head/on_request: the reactor that serves the admin listener. admin_step: the
 *             control thread.
 */
#ifndef BECKET_API_ADMIN_H
#define BECKET_API_ADMIN_H

#include "api/api.h"
#include "base/list.h"
#include "http/server.h"

struct admin {
    struct api *api;
    struct ring *control;  /* the control thread's ring */
    struct ring **reactor; /* the admin reactor's ring, filled before the first request */
    struct list queue;     /* control thread: calls to work on, oldest first */
    struct list waiting;   /* control thread: calls that wait for something */
    unsigned calls_max;    /* requests under way; further ones wait in their connections */
    unsigned calls;        /* the reactor's count */
};

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
