#include "hub/ingress/key_wait.h"

#include "base/time.h"
#include "hub/ingress/reject.h"

/* Less than a parked connection has, and more than a fetch. */
#define KEY_WAIT_NS      (4500 * (uint64_t)NS_PER_MS)
#define KEY_ASK_AGAIN_NS (200 * (uint64_t)NS_PER_MS)

/* One letter for a key, however many requests want it. False: too many keys are asked for at once.
 */
static bool may_ask(struct ingress *ingress, uint64_t hash)
{
    uint64_t now_ns = ring_now_ns(ingress->ring);
    struct ingress_key_asked *oldest = &ingress->key_asked[0];
    for (unsigned i = 0; i < INGRESS_KEYS_ASKED; i++) {
        struct ingress_key_asked *asked = &ingress->key_asked[i];
        if (asked->hash == hash && now_ns - asked->asked_ns < KEY_ASK_AGAIN_NS) {
            return false;
        }
        oldest = asked->asked_ns < oldest->asked_ns ? asked : oldest;
    }
    if (oldest->asked_ns != 0 && now_ns - oldest->asked_ns < KEY_ASK_AGAIN_NS) {
        return false;
    }
    *oldest = (struct ingress_key_asked){hash, now_ns};
    return true;
}

enum key_found key_wait_find(void *context, const struct key_want *want,
                             const struct public_key **ret_key)
{
    struct ingress *ingress = context;
    bool ask = false;
    if (ingress->config->keys == NULL) {
        return KEY_UNAVAILABLE;
    }
    enum key_found found = key_cache_find(ingress->config->keys, want, ret_key, &ask);
    if (ask && may_ask(ingress, key_cache_hash(want))) {
        ingress->config->want_key(ingress->config->context, want);
    }
    return found;
}

struct ingress_key_wait *key_wait_look(struct ingress *ingress,
                                       const struct http_exchange *exchange,
                                       const struct intake *intake)
{
    uint64_t bytes = intake->message->head->head_bytes + intake->message->body.bytes;
    for (unsigned i = 0; i < INGRESS_KEY_WAITS; i++) {
        struct ingress_key_wait *wait = &ingress->key_waits[i];
        if (wait->conn == exchange->conn && wait->source == intake->source->number &&
            wait->message_bytes == bytes) {
            return wait;
        }
    }
    return NULL;
}

static bool is_over(const struct ingress *ingress, const struct ingress_key_wait *wait)
{
    return ring_now_ns(ingress->ring) - wait->since_ns > KEY_WAIT_NS;
}

bool key_wait_goes_on(const struct ingress *ingress, const struct ingress_key_wait *wait)
{
    return wait->epoch == ingress->key_epoch && !is_over(ingress, wait);
}

/* Those whose connection went away are over too when their time is. */
static struct ingress_key_wait *key_wait_take(struct ingress *ingress)
{
    uint64_t now_ns = ring_now_ns(ingress->ring);
    for (unsigned i = 0; i < INGRESS_KEY_WAITS; i++) {
        struct ingress_key_wait *wait = &ingress->key_waits[i];
        if (wait->conn != NULL && now_ns - wait->since_ns > 2 * KEY_WAIT_NS) {
            key_wait_end(ingress, wait);
        }
        if (wait->conn == NULL) {
            ingress->key_wait_count++;
            return wait;
        }
    }
    return NULL;
}

enum http_outcome key_wait_later(struct http_exchange *exchange)
{
    return http_later(exchange, scheme_verdict_name(SCHEME_KEY_UNAVAILABLE),
                      scheme_verdict_text(SCHEME_KEY_UNAVAILABLE));
}

enum http_outcome key_wait_begin(struct ingress *ingress, struct http_exchange *exchange,
                                 const struct intake *intake, struct ingress_key_wait *wait)
{
    if (wait == NULL) {
        wait = key_wait_take(ingress);
        if (wait == NULL) {
            return reject_request(ingress, exchange, intake, SCHEME_KEY_UNAVAILABLE);
        }
        wait->conn = exchange->conn;
        wait->source = intake->source->number;
        wait->message_bytes = intake->message->head->head_bytes + intake->message->body.bytes;
        wait->since_ns = ring_now_ns(ingress->ring);
    }
    if (is_over(ingress, wait)) {
        key_wait_end(ingress, wait);
        return reject_request(ingress, exchange, intake, SCHEME_KEY_UNAVAILABLE);
    }
    wait->epoch = ingress->key_epoch;
    return key_wait_later(exchange);
}

void ingress_keys_changed(struct ingress *ingress)
{
    ingress->key_epoch++;
    /* What was asked for may be there. Who could not ask because others did is asked again now. */
    memset(ingress->key_asked, 0, sizeof ingress->key_asked);
}

uint64_t key_wait_earliest_ns(const struct ingress *ingress)
{
    uint64_t now_ns = ring_now_ns(ingress->ring), next_ns = UINT64_MAX;
    for (unsigned i = 0; i < INGRESS_KEY_WAITS; i++) {
        const struct ingress_key_wait *wait = &ingress->key_waits[i];
        uint64_t over_ns = wait->since_ns + KEY_WAIT_NS + 1;
        if (wait->conn != NULL && over_ns > now_ns && over_ns < next_ns) {
            next_ns = over_ns;
        }
    }
    return next_ns;
}
