/* destination.h - a compiled destination: all that a delivery needs, without the store. Data only.
 *
 * Ownership   One malloc'ed block; immutable. A change makes a new version with the same number;
 *             the old one is freed after a grace period (routes/route_table.h). `state` is shared
 *             by all versions and freed with the last.
 */
#ifndef BECKET_HUB_DESTINATION_H
#define BECKET_HUB_DESTINATION_H

#include "base/limits.h"
#include "base/sha256.h"
#include "http/origin.h"
#include "hub/deliveries/order.h"
#include "hub/routes/filter.h"

#include <stdatomic.h>

#define DESTINATION_RETRIES_MAX         32U
#define DESTINATION_SECRETS_MAX         4U /* rotation: the old and the new one sign */
#define DESTINATION_HEADERS_MAX         32U
#define DESTINATION_PEM_BYTES_MAX       32768U /* of a text that stands in the spec */
#define DESTINATION_TIMEOUT_DEFAULT_MS  20000U
#define DESTINATION_CONCURRENCY_DEFAULT 16U
#define DESTINATION_CONCURRENCY_MAX     1024U

enum destination_signing {
    DESTINATION_STANDARD_WEBHOOKS, /* webhook-id, webhook-timestamp, webhook-signature */
    DESTINATION_UNSIGNED           /* webhook-id and webhook-timestamp only */
};

enum destination_format {
    DESTINATION_ORIGINAL,           /* body and header lines as the provider sent them */
    DESTINATION_CLOUDEVENTS_BINARY, /* the body as it came; ce-… lines instead of any there were */
    DESTINATION_CLOUDEVENTS_STRUCTURED /* a JSON body with the event's in it */
};
#define DESTINATION_FORMATS 3U

enum destination_pause {
    DESTINATION_RUNNING,
    DESTINATION_PAUSED_BY_SPEC, /* spec.paused */
    DESTINATION_PAUSED_BY_HAND, /* becket pause */
    DESTINATION_PAUSED_BY_GONE  /* it answered 410 */
};

/* What the delivery machine keeps between versions, for all cores; zero at first. */
struct destination_state {
    _Atomic uint64_t words[9];
    /* Strict order: by core, when its oldest event that is not settled was received; 0 = none. Per
     * key: of those that were left to the journal, whose keys nobody knows. */
    _Atomic int64_t oldest_ns[CORES_MAX];
    _Atomic(struct order_keys *) keys; /* owned; there since the first version with an order key */
};

struct destination {
    uint64_t number; /* never reused; sources, destinations and routes share one count */
    uint8_t id[16];
    struct slice name;
    struct slice canvas;
    struct http_origin origin;
    struct slice target;       /* "/in?x=1": path and query, as sent */
    struct slice host_header;  /* value of Host, with a port that is not the scheme's own */
    struct slice header_lines; /* spec.headers: "X-Env: prod\r\n"…, checked; no name we send */
    struct slice secret_lines; /* the end of those: with values out of secrets */
    enum destination_signing signing;
    enum destination_format format;
    struct hmac_sha256_key secrets[DESTINATION_SECRETS_MAX];
    unsigned secret_count;
    uint32_t timeout_ms;
    uint32_t retry_schedule_ms[DESTINATION_RETRIES_MAX]; /* delay before attempt 2, 3, … */
    unsigned retry_count;
    uint16_t jitter_permille;
    uint32_t concurrency;
    uint32_t per_second;      /* 0 = no limit */
    bool strict;              /* in order; per key where order_key is there */
    struct filter *order_key; /* owned; NULL = one order for all */
    enum destination_pause pause;
    struct destination_state *state;
    uint64_t version;                 /* the table's writer's: 1, 2, 3 … of this number */
    struct destination *retired_next; /* the table's writer's, as is `removed` */
    bool removed;
};

/* At once, over all cores: where one order is for all, its queue and what is replayed go by turns.
 */
static inline uint32_t destination_concurrency(const struct destination *destination)
{
    return destination->strict && !destination->order_key ? 1 : destination->concurrency;
}

#endif
