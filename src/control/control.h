/* control.h - the whole server: the control thread and the reactors it starts.
 *
 * Purpose     Opens the state, recovers the journals, feeds the source table, starts one reactor
 *             per core, then runs everything that may block: API requests, segments, growth, grace
 *             periods, signals.
 * Threads     control_open and control_run on one thread (main): the control thread, the store's
 *             only writer.
 * Life cycle  control_open -> control_run (returns after a drain) -> control_close.
 */
#ifndef BECKET_CONTROL_CONTROL_H
#define BECKET_CONTROL_CONTROL_H

#include "hub/hub.h"
#include "hub/reactor.h"
#include "journal/catalog.h"

struct control;

/* Listening sockets (ring/socket.h). A count of 0: control_open() makes them. */
struct control_sockets {
    int ingress[CORES_MAX];
    unsigned ingress_count;
    int admin[CORES_MAX];
    unsigned admin_count;
};

struct control_config {
    const char *data_directory;
    const char *public_url; /* without a slash at the end */
    const char *admin_url;  /* of the pages, likewise; NULL = as their Host header says */
    const char *version;    /* static */
    struct ring_address listen;
    struct ring_address admin_listen;
    struct control_sockets *sockets; /* the caller's; closed when the drain begins */
    struct tls_slot
        *tls;       /* certificates of the ingress listener; NULL = plain. Stays the caller's */
    bool admin_tls; /* the admin listener has them too */
    const struct tls_trust *trust;  /* for outgoing calls; NULL = https fails. Stay the caller's */
    const struct http_proxy *proxy; /* NULL = none */
    const char *const *admin_hosts; /* further names of the admin listener */
    unsigned admin_host_count;
    unsigned threads;
    const int *cpus;                        /* one per thread, or NULL: not pinned */
    const struct ring_address *dns_servers; /* the caller's; none: resolv.conf */
    unsigned dns_server_count;
    bool durable;
    unsigned conns_max;                        /* per core */
    unsigned conns_per_address;                /* per core and listener; 0 = not limited */
    size_t admin_answers_bytes_max;            /* of the admin listener that are not read */
    uint32_t idle_timeout_ms, head_timeout_ms; /* 0 = http_server_defaults */
    size_t buffers_bytes_max;                  /* per core */
    size_t dedupe_bytes_max;
    uint64_t segment_bytes; /* 0 = by the disk's size */
    uint64_t retain_bytes;
    int64_t retain_ns;
    bool accept_journal_damage; /* catalog_config.accept_damage */
    int64_t drain_timeout_ns;
    int64_t drain_delay_ns; /* go on as before so long after SIGTERM, but not ready */
    int64_t watchdog_ns;    /* call alive() twice in this time while everything runs; 0 = never */
    void (*alive)(void *context);
    /* A stop that is no hand-over begins: the sockets are not handed on from here on. On a thread
     * of its own, at once, wherever the control thread stands; it must not touch the disk. NULL:
     * none is told. */
    void (*stopping)(void *context);
    void (*reload)(void *context); /* SIGHUP; may be NULL */
    void *context;
};

#define CONTROL_WHY_BYTES 1024U

/* Listeners whose port is 0 listen from here on, at a port that was free, which `listen` and
 * `admin_listen` then name: before control_open, so that it and all others know it. `all`: the
 * others, too, which control_open does else. An address that is taken is waited for, not a second.
 */
enum bk_err control_listen(struct control_config *config, bool all,
                           char ret_why[CONTROL_WHY_BYTES]) BK_MUST_CHECK;

/* SIGTERM, SIGINT and SIGHUP are blocked in all threads from here on. On failure nothing runs, and
 * ret_why is one line: what happened, what to do. */
enum bk_err control_open(const struct control_config *config, struct control **ret_control,
                         char ret_why[CONTROL_WHY_BYTES]) BK_MUST_CHECK;
struct hub *control_hub(struct control *control);
int64_t control_wall_ns(const struct control *control);
/* How long control_open took. */
uint64_t control_start_ms(const struct control *control);
const char *control_ring_features(const struct control *control);
const struct journal_report *control_report(const struct control *control);
/* Any thread: another process has our sockets now; drain at once, and quickly. */
void control_hand_over(struct control *control);
/* Until SIGTERM or SIGINT; drains. A second signal ends the process at once (exit code 1),
 * but a SIGTERM within a second of the first one. */
void control_run(struct control *control);
void control_close(struct control *control);

#endif
