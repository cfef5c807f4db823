/* ingress.h - the path of one webhook on one core, from a whole request to its answer.
 *
 * Purpose     Find the source, check method, size and rate, verify, de-duplicate, append, wait for
 *             the disk, answer. Which file does what: intake.h. Order: reference providers, rules
 *             for every inbound source.
 * Addresses   hook_address.h; besides hooks fixed_paths.h.
 * Answers     200 {"id"} once durable, 200 {"id","duplicate":true}, 401, 404, 405, 413, 429, 503.
 * Disk        A flush that takes INGRESS_PATIENCE_NS is waited for no longer: who waits is told
 *             503, and so is who comes, until it is over. What was told so may be stored all the
 *             same; its claims are kept until that is known, so a sender that tries again is a
 *             duplicate.
 * Threads     One core. Nothing here blocks, locks or reads the database; memory is taken only for
 *             a batch while it is taken apart, and for who is given up (Disk).
 */
#ifndef BECKET_HUB_INGRESS_H
#define BECKET_HUB_INGRESS_H

#include "http/server.h"
#include "hub/ingress/dedupe.h"
#include "hub/ingress/learn.h"
#include "hub/ingress/source_table.h"
#include "hub/keys/key_cache.h"
#include "hub/metrics.h"
#include "journal/journal.h"

#define COUNTER_CHUNK       1024U
#define COUNTER_CHUNKS      4096U
#define INGRESS_KEY_WAITS   64U
#define INGRESS_KEYS_ASKED  8U
#define INGRESS_FAILED      64U /* far more than flushes can fail while a letter travels */
#define INGRESS_PATIENCE_NS 10000000000ULL

struct ingress;
struct oidc_documents;

struct ingress_config {
    uint16_t id; /* of the core and its journal */
    const struct source_table *sources;
    struct dedupe *dedupe;
    struct ingress *const
        *peers; /* every core's, by id: for duplicates of what another core is writing */
    unsigned peer_count;
    bool (*ready)(void *context, const char **ret_why); /* /health/ready */
    void (*growth)(void *context);                      /* the dedupe table wants to grow */
    struct slice public_url; /* without a slash at the end; for signatures over URLs */
    /* Keep a secret that a provider brought: request->done() runs on this core later. NULL: it
     * cannot be kept. */
    void (*learn)(void *context, struct learn_request *request);
    /* Keys that are fetched; NULL cache = none can be had. */
    const struct key_cache *keys;
    void (*want_key)(void *context, const struct key_want *want);
    void (*confirm)(void *context, struct slice url);
    /* Becket's own OIDC documents; NULL result = not there yet, ask again. May be NULL. */
    const struct oidc_documents *(*documents)(void *context);
    void *context;
};

struct ingress {
    const struct ingress_config *config;
    struct ring *ring;
    struct journal *journal;
    struct metrics_reactor *metrics;
    struct list
        waiting; /* exchanges; those of duplicates wait for older records than their neighbours */
    uint64_t appended;   /* the last sequence that somebody waits for */
    struct list foreign; /* other cores' duplicates that wait for our records */
    /* Records that were refused, latest ranges: durable_through passes them later. */
    struct ingress_failed {
        uint64_t after, through;
    } failed[INGRESS_FAILED];
    unsigned failed_count;
    uint64_t share_frame; /* the journal's frame that is filling, what is in it, of how many */
    uint64_t share_bytes;
    unsigned share_sources;
    int64_t quarantine_bytes; /* budget left */
    uint64_t quarantine_ns;   /* when it was last refilled */
    struct list settling;     /* struct ingress_settled */
    uint64_t give_up_ns;      /* no flush is waited for from then on; UINT64_MAX = never */
    bool stalled;             /* the flush under way has lasted for too long, … */
    bool told[CORES_MAX];     /* … and these cores have it in their stalled_count */
    /* For the other cores: connections here, and on their way here; may more be sent? */
    _Atomic unsigned conns, arriving;
    _Atomic bool open;
    _Atomic unsigned stalled_count; /* of how many cores: the disk is the same for all */
    struct list unheard; /* what those held who did not wait for it to its end, in order */
    bool growth_asked;
    bool documents_later; /* the request at hand must come again: documents are being made */
    struct key_finder key_finder;
    /* Requests that wait for a key: their connections are parked. `key_epoch` changes when a key
     * came or failed; until then they are not looked at again. */
    uint32_t key_epoch;
    unsigned key_wait_count;
    struct ingress_key_wait {
        const void *conn; /* NULL = free */
        uint64_t source;
        uint64_t message_bytes;
        uint64_t since_ns;
        uint32_t epoch;
    } key_waits[INGRESS_KEY_WAITS];
    struct ingress_key_asked {
        uint64_t hash, asked_ns;
    } key_asked[INGRESS_KEYS_ASKED];
    struct filter_scratch *filters; /* from the first event that has to be filtered */
    struct metrics_source *counters[COUNTER_CHUNKS];
};

/* ring, journal and metrics are set by the reactor when it has opened them. */
void ingress_init(struct ingress *ingress, const struct ingress_config *config);
void ingress_fini(struct ingress *ingress);

/* http_handler functions; context = struct ingress. They answer every path; what is not a hook is
 * 404. */
uint64_t ingress_on_head(void *context, struct http_exchange *exchange,
                         const struct http_head *head);
enum http_outcome ingress_on_request(void *context, struct http_exchange *exchange,
                                     const struct http_message *message);
void ingress_on_two(void *context, struct http_exchange *const exchanges[2],
                    const struct http_message *const messages[2],
                    enum http_outcome ret_outcomes[2]);
/* True when the path is one that the ingress answers (also on the admin listener). */
bool ingress_owns(const struct http_head *head);

/* Wait until every exchange that waits for the disk now was answered; done() runs on this core,
 * perhaps at once. *settled is busy until then. */
struct ingress_settled {
    struct list node;
    uint64_t sequence;
    void (*done)(struct ingress_settled *settled);
};
void ingress_when_settled(struct ingress *ingress, struct ingress_settled *settled,
                          void (*done)(struct ingress_settled *settled));

/* A key came, or cannot be had: look again at the requests that wait. */
void ingress_keys_changed(struct ingress *ingress);

/* Once per turn: is the disk's time over? And when to look next; UINT64_MAX = at any time. */
void ingress_turn(struct ingress *ingress);
uint64_t ingress_next_ns(const struct ingress *ingress);

/* journal_commit_fn. */
void ingress_committed(void *context, uint64_t durable_through, uint64_t failed_through,
                       enum bk_err err);

#endif
