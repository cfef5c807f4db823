/* guard.h - signals, heard also while the control thread stands in the disk.
 *
 * Purpose     A thread that does nothing but wait for signals. What the control thread is to do
 *             about one reaches it by mail; what must not wait for it is done here: not ready at
 *             once, the drain although nobody comes to begin it, and the end of the process when
 *             its time is over or a second signal says so.
 * Threads     guard_open on the control thread, before others start; callbacks say where they run.
 * Life cycle  Until the process ends: it also watches over the orderly end.
 * Disk        Nothing here touches a file, but for the log; where that stands, a thread of its own
 *             still ends the process at its time.
 */
#ifndef BECKET_CONTROL_GUARD_H
#define BECKET_CONTROL_GUARD_H

#include "ring/ring.h"

/* The first SIGTERM or SIGINT: what a stop may take. Monotonic times; they never change again. */
struct guard_stop {
    int signal;
    bool handing_over;
    uint64_t heard_ns;
    uint64_t drain_ns;         /* until then all goes on, but not ready */
    uint64_t deliver_until_ns; /* deliveries are cut, early enough for an orderly end */
    uint64_t answer_until_ns;  /* who waits for the disk then is told so */
    uint64_t deadline_ns;
};

struct guard_config {
    struct ring *control; /* the control thread's */
    int64_t drain_timeout_ns, drain_delay_ns;
    /* On the guard's thread, once: the first signal that ends. */
    void (*stopping)(void *context, const struct guard_stop *stop);
    /* On the guard's thread, once, GUARD_PATIENCE_NS after stop->drain_ns: begin the drain if the
     * control thread has not. True: it had not. */
    bool (*drain)(void *context, struct ring *guard);
    /* On the control thread. */
    void (*stop)(void *context, const struct guard_stop *stop);
    void (*hang_up)(void *context);
    void *context;
};

/* The control thread is a step that long late: it stands. */
#define GUARD_PATIENCE_NS 1000000000ULL
/* Behind the deadline: the last things of an orderly end. */
#define GUARD_END_NS 3000000000ULL

struct guard;
/* At the very start of a server: SIGHUP waits from here on until guard_open() has who hears it, for
 * a reload that is asked for early must not end the process. As process 1 also SIGTERM and SIGINT,
 * which the kernel would forget. */
void guard_hold_signals(void);
/* SIGTERM, SIGINT and SIGHUP are blocked in this thread and those it starts from here on. NULL: out
 * of memory; ret_why says so. */
struct guard *guard_open(const struct guard_config *config, const char **ret_why);
/* Any thread: end as by SIGTERM, and quickly, for another process has our sockets. */
void guard_hand_over(struct guard *guard);

#endif
