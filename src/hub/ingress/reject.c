#include "hub/ingress/reject.h"

#include "hub/ingress/answer.h"
#include "hub/ingress/counters.h"
#include "hub/ingress/record.h"

#define QUARANTINE_BURST_BYTES    (1 << 20)
#define QUARANTINE_NS_PER_BYTE    (1000000000ULL / 4096)
#define QUARANTINE_BODY_BYTES_MAX 16384U

/* What is too little for a byte counts on, or a flood of forged requests would stop the refill. */
static void quarantine_refill(struct ingress *ingress)
{
    uint64_t since_ns = ring_now_ns(ingress->ring) - ingress->quarantine_ns;
    uint64_t bytes = since_ns / QUARANTINE_NS_PER_BYTE;
    ingress->quarantine_ns += bytes * QUARANTINE_NS_PER_BYTE;
    uint64_t full = (uint64_t)(QUARANTINE_BURST_BYTES - ingress->quarantine_bytes);
    ingress->quarantine_bytes += (int64_t)(bytes < full ? bytes : full);
}

/* A source may have taken as much as is left when it has taken more, so a noisy one has half of the
 * budget at once and, alone, all of its rate; two have a third each, and there is always room for
 * one that was quiet. */
static bool quarantine_takes(struct ingress *ingress, struct metrics_source *own, uint64_t cost)
{
    quarantine_refill(ingress);
    uint64_t now_ns = ring_now_ns(ingress->ring);
    uint64_t bytes = (now_ns - own->quarantine_ns) / QUARANTINE_NS_PER_BYTE;
    own->quarantine_bytes -= bytes < own->quarantine_bytes ? bytes : own->quarantine_bytes;
    own->quarantine_ns =
        own->quarantine_bytes ? own->quarantine_ns + bytes * QUARANTINE_NS_PER_BYTE : now_ns;
    uint64_t left = (uint64_t)ingress->quarantine_bytes;
    return cost <= left && own->quarantine_bytes + cost <= left;
}

/* Keep a refused request, if the budget allows. Best effort: its answer does not wait for the disk.
 */
static void quarantine(struct ingress *ingress, const struct intake *intake,
                       struct metrics_source *own, enum scheme_verdict verdict)
{
    struct journal_entry entry;
    record_entry(intake, JOURNAL_REJECTED, &entry);
    entry.reason = (uint16_t)verdict;
    if (entry.body_bytes > QUARANTINE_BODY_BYTES_MAX) {
        entry.body_bytes = QUARANTINE_BODY_BYTES_MAX;
        entry.flags |= JOURNAL_CUT;
        record_forget_cut(&entry);
    }
    int64_t cost = (int64_t)entry.head_bytes + entry.body_bytes + 128;
    if (!quarantine_takes(ingress, own, (uint64_t)cost)) {
        counter_add(&ingress->metrics->quarantine_dropped, 1);
        return;
    }
    uint64_t sequence;
    if (record_append(ingress, intake, &entry, &sequence) == BK_OK) {
        ingress->quarantine_bytes -= cost;
        own->quarantine_bytes += (uint64_t)cost;
    } else {
        counter_add(&ingress->metrics->quarantine_dropped, 1);
    }
}

/* The key to check it with cannot be had now: the provider shall come again. */
static bool is_keyless(enum scheme_verdict verdict)
{
    return verdict == SCHEME_KEY_UNAVAILABLE || verdict == SCHEME_KEY_WANTED;
}

static unsigned refusal_status(const struct intake *intake, enum scheme_verdict verdict)
{
    if (is_keyless(verdict)) {
        return 503;
    }
    if (intake->spelling == SPELLED_GITPLOY || verdict == SCHEME_BODY_MALFORMED) {
        return 400;
    }
    bool is_403 = intake->spelling == SPELLED_SUPERPLANE || verdict == SCHEME_ADDRESS_REFUSED;
    return is_403 ? 403 : 401;
}

enum http_outcome reject_request(struct ingress *ingress, struct http_exchange *exchange,
                                 const struct intake *intake, enum scheme_verdict verdict)
{
    uint64_t number = intake->source->number;
    struct metrics_source *own = counters_of(ingress, number);
    counter_add(&own->events[METRICS_REJECTED], 1);
    counter_set(&own->refused_ns, (uint64_t)intake->wall_ns);
    counter_set(&own->refused_reason, (unsigned)verdict);
    quarantine(ingress, intake, own, verdict);
    unsigned status = refusal_status(intake, verdict);
    answer_refuse(ingress, exchange, number, status, scheme_verdict_name(verdict),
                  scheme_verdict_text(verdict),
                  is_keyless(verdict) ? SLICE("Retry-After: 5\r\n")
                  : status == 401     ? scheme_challenge(intake->source->scheme)
                                      : SLICE_EMPTY);
    return HTTP_TAKEN;
}

void reject_init(struct ingress *ingress)
{
    ingress->quarantine_bytes = QUARANTINE_BURST_BYTES;
}
