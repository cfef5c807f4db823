/* control_private.h - what the files of the control thread share; for control/ only.
 *
 * Order       open.c opens all, cores.c starts the reactors, control.c runs until stop.c ends it.
 *             What goes on meanwhile: letters to reactors and back (errand.c), what apply changed
 *             (feed.c), what was replaced (grace.c), why the server is not ready (ready.c), its
 *             figures (snapshot.c), SIGHUP (reload.c).
 */
#ifndef BECKET_CONTROL_PRIVATE_H
#define BECKET_CONTROL_PRIVATE_H

#include "api/admin.h"
#include "api/keys.h"
#include "control/control.h"
#include "control/guard.h"
#include "hub/deliveries/dispatch.h"
#include "hub/links/entries.h"
#include "hub/links/outbox.h"
#include "hub/operations/provider_calls.h"
#include "hub/people/people_keeper.h"
#include "hub/resources/reseal.h"

#include <pthread.h>
#include <stdatomic.h>

#define READY_WHY_BYTES 80U

/* A letter to one reactor and back, for everything that has to happen on its thread. */
struct errand {
    struct ring_mail mail;
    struct control *control;
    struct core *core;
    void (*there)(struct core *core);    /* on the reactor's thread */
    void (*back)(struct errand *errand); /* on the control thread */
    bool settling;
    struct ingress_settled settled; /* on the reactor */
};

struct core {
    struct control *control;
    struct reactor *reactor;
    struct ring *ring; /* the reactor's */
    pthread_t thread;
    bool running;
    struct errand drain, exit, growth, stopped, pulse, dns;
    struct ring_mail guard_drain; /* the same as `drain`, when the control thread stands */
    atomic_bool growth_out;       /* its letter is on its way to the control thread */
    bool dns_out, dns_again; /* a reload of the resolver is on its way; and one more is wanted */
    int sockets[CORES_MAX];
    char why_text[READY_WHY_BYTES]; /* why it is not ready, for who asks on this core */
};

/* What was replaced, until every reactor has passed a turn since: one at a time. */
struct grace {
    struct source_garbage *sources;
    struct route_garbage *routes;
    struct key_entry *keys;
    struct dedupe_garbage *dedupe;
    unsigned open; /* reactors that have not; 0 = nothing waits */
    struct errand errands[CORES_MAX];
};

struct control {
    struct control_config config;
    struct hub *hub;
    struct catalog *catalog;
    struct journal_report report;
    struct source_table *sources;
    struct route_table *routes;
    struct dispatch *dispatch;
    struct outbound *outbound;     /* calls to other servers, by the first core */
    struct operations *operations; /* work at providers */
    struct provider_calls provider_calls;
    struct link_feed *feeds[CORES_MAX];  /* of the cores: events that may become entries */
    struct entries *entries;             /* made of events of links */
    struct outbox *outbox;               /* entries on their way to destinations */
    struct people_keeper *keeper;        /* renews and revokes tokens */
    struct reseal *reseal;               /* after a change of the data key */
    struct deliver *delivers[CORES_MAX]; /* set by the reactors as they open */
    int64_t clock_ms;                    /* what retries are due by: hub/deliveries/dispatch.h */
    struct dedupe *dedupe;
    struct keys *keys;
    struct ring *ring;
    struct api api;
    struct admin admin;
    struct grace grace;
    int64_t window_max_ns;
    bool growth_wanted;
    bool draining;
    unsigned stopped_count;
    bool done;
    struct guard *guard;
    const struct guard_stop *_Atomic stop; /* the guard's; NULL = nobody said so */
    atomic_bool running;                   /* all cores are there */
    atomic_bool drain_sent;                /* by the control thread, or the guard */
    int64_t certificates_seconds;          /* look at them again then; wall clock */
    int64_t wall_offset_ns;                /* wall minus monotonic clock, when looked at last */
    uint64_t pulse_ns;                     /* the next one */
    unsigned pulses_out;
    char why_text[READY_WHY_BYTES]; /* why it is not ready, for the control thread */
    int64_t start_wall_ns;
    uint64_t start_took_ns;
    const char *_Atomic not_ready;
    const char *disk_trouble; /* as it was logged */
    /* start-up only */
    pthread_mutex_t lock;
    pthread_cond_t opened;
    unsigned opened_count;
    enum bk_err open_err;
    const char *open_why;
    char open_why_text[CONTROL_WHY_BYTES];
    struct ring *admin_ring;
    struct ingress *peers[CORES_MAX];
    unsigned core_count;
    struct core cores[CORES_MAX];
};

/* ---- errand.c: letters between the control thread and the reactors */
/* From the control thread to the reactor, and back. */
void errand_send(struct errand *errand, struct core *core, void (*there)(struct core *),
                 void (*back)(struct errand *));
/* From the reactor to the control thread only. */
void errand_report(struct errand *errand, struct core *core, void (*back)(struct errand *));

/* ---- grace.c: what was replaced, and the growth of the dedupe table */
/* Once per turn: what was replaced since is freed when all reactors have passed a turn. One at a
 * time; what is replaced meanwhile is collected by the next one. */
void grace_step(struct control *control);
void grace_fini(struct control *control);
/* ingress_config.growth; context = struct core. */
void grace_growth_asked(void *context);

/* ---- feed.c: what apply changed, to the tables that the reactors read */
/* hub_config; context = struct control. */
void feed_source(void *context, const struct source_change *change);
void feed_destination(void *context, uint64_t number, struct destination *destination);
void feed_route(void *context, const struct route_change *change);

/* ---- sockets.c: the listening sockets */
/* One per core on one address, unless the caller has brought them. */
enum bk_err sockets_open(struct control *control, char ret_why[CONTROL_WHY_BYTES]) BK_MUST_CHECK;
/* Those of a core; gives how many. Every socket has its core, and every core a socket: with fewer
 * sockets than cores they share. */
unsigned sockets_of(const struct control *control, unsigned index, int *ret_sockets);
void sockets_close(struct control_sockets *sockets);

/* ---- cores.c: the reactors, and what they ask for */
/* One after the other, and each waited for: a failure is reported once, and nothing serves half
 * started. */
enum bk_err cores_open(struct control *control, char ret_why[CONTROL_WHY_BYTES]) BK_MUST_CHECK;
/* After control_run(): ends and frees them. */
void cores_close(struct control *control);

/* ---- ready.c: may webhooks be sent here? */
/* Why the server takes none now; NULL: it does. Any thread, also while the control thread stands
 * still. */
const char *ready_why_not(const struct control *control, uint64_t now_ns,
                          char text[READY_WHY_BYTES]);
/* For how long the oldest flush of all cores has been under way; 0: there is none. Any thread. */
uint64_t ready_flush_ns(const struct control *control, uint64_t now_ns);
/* Of the journal of the core that has least. */
uint64_t ready_room_bytes(const struct control *control);

/* ---- snapshot.c: the figures of /metrics */
/* source_activity_fn; context = struct control. */
bool snapshot_source(void *context, uint64_t number, struct metrics_source *ret_sum);
/* api.metrics */
void snapshot_take(void *context, struct metrics_snapshot *snapshot);
/* admin.metrics. On the reactor, while the control thread stands still: without what only that one
 * knows, the names of sources and destinations first of all. */
void snapshot_print_alone(void *context, struct buf *out);

/* ---- stop.c */
/* guard_config; context = struct control. */
void stop_heard(void *context, const struct guard_stop *stop);
bool stop_drain_alone(void *context, struct ring *guard);
void stop_begin(void *context, const struct guard_stop *stop);
/* Once per turn while it drains. True: its time is over. */
bool stop_step(struct control *control);

/* ---- reload.c */
/* guard_config.hang_up; context = struct control. */
void reload_heard(void *context);

/* ---- open.c */
/* "what: why" in ret_why; gives err. */
enum bk_err open_failed(char ret_why[CONTROL_WHY_BYTES], enum bk_err err, const char *what,
                        const char *why);

#endif
