/* server_sim.h - the server of a scenario: whole cores with their journals, as src/control runs
 * them.
 *
 * Purpose     What every scenario with cores needs: sources, dedupe table, journals and their
 *             recovery, cores that start and stop, letters to all of them, signed requests, what
 *             an acknowledgement promises, and what is on the disk. The state in LMDB is not
 *             simulated; sources are put into their table directly.
 * Ownership   One server at a time, `server`; server_sim_close() zeroes it.
 * Threads     The main thread of the scenario is the control thread; cores are threads of the
 *             simulator.
 */
#ifndef SIM_SERVER_SIM_H
#define SIM_SERVER_SIM_H

#include "sim.h"
#include "sim_internal.h"

#include "base/buf.h"
#include "hub/reactor.h"
#include "journal/catalog.h"
#include "providers/scheme.h"

#define CORES   2U
#define PORT    8080U
#define SECOND  ((uint64_t)1000000000)
#define MS      ((uint64_t)1000000)
#define HOUR_NS (3600LL * 1000000000)

struct journal_record;
struct source_change;

struct server_core {
    unsigned index;
    struct reactor *reactor;
    struct sim_thread *thread;
    struct ring *ring;
    struct ring_mail drain, exit, stopped_mail, grace;
    bool opened;
    bool stopped;
};

struct server_sim {
    struct source_table *sources;
    struct dedupe *dedupe;
    struct catalog *catalog;
    struct ring *ring; /* the control thread's */
    struct ingress *peers[CORES];
    struct server_core core[CORES];
    unsigned cores;
    unsigned stopped_count;
    unsigned grace_open; /* letters that are not back */
    void (*grace_over)(void);
    uint64_t answer_ns, deliver_ns; /* of a stop */
};
extern struct server_sim server;

/* ---- life */

/* Recovers the journals from the disk; no core runs yet, no source is there. */
void server_sim_open(unsigned cores, uint16_t journals, int64_t dedupe_window_ns);
/* Starts a core and waits until it is open. Of `config` only what is not the same everywhere. */
void server_sim_start(unsigned index, struct reactor_config config);
/* One step of the control thread, then its mail, until `until_ns` at the latest. */
void server_sim_turn(uint64_t until_ns);
/* Asks all cores to stop, takes turns until they have and no letter is out, and joins them. They
 * answer for so long, and deliver. */
void server_sim_stop(uint64_t answer_ns, uint64_t deliver_ns, uint64_t within_ns,
                     void (*turn)(void));
/* Also in the middle of a close, where others hold what the cores use. */
void server_sim_free_cores(void);
void server_sim_close(void);
/* A letter to each core and back; then over() is called. */
void server_sim_grace(void (*over)(void));

/* ---- sources, and requests to them */

struct scheme *server_sim_scheme(const char *type, const char *secret, size_t *ret_bytes);
/* A source with a scheme of its own. Put into the table, which is opened with the first. */
struct source_change server_sim_source(uint64_t number, const char *name, const char *type,
                                       const char *secret);
void server_sim_put(const struct source_change *change);
/* The same bytes for the same number. */
void server_sim_body(uint64_t content, uint8_t *at, size_t bytes);
bool server_sim_body_is(uint64_t content, const uint8_t *at, size_t bytes);
/* Request line, Host and what is signed; the rest of the head and the body are the caller's. */
void server_sim_sign(struct buf *out, const struct scheme *signer, const char *path,
                     struct slice id, struct slice body);

/* ---- what was promised */

/* The position that an acknowledgement names, packed; it is durable by now. */
uint64_t server_sim_acknowledged(struct slice body, bool *ret_duplicate);
/* Every record of every journal, in order. Requires: open. */
void server_sim_records(void (*look)(const struct journal_record *record));

/* Ratios that suit most scenarios. */
void server_sim_configure(struct sim_config *config);

#endif
