/* deliver_call.c - one delivery: its slot, its call, what the answer means, and who is told. */
#include "base/assert.h"
#include "base/counter.h"
#include "base/log.h"
#include "base/scrub.h"
#include "base/time.h"
#include "hub/deliveries/deliver_private.h"
#include "hub/deliveries/dispatch.h"
#include "hub/deliveries/retry.h"

#include "http/parse.h"
#include "http/proxy.h"

#include <stdio.h>

/* An answer is of no use beyond what is kept; reading a little more saves the connection. */
#define ANSWER_BYTES_MAX 1048576U
/* A destination that answers has its first two slots while there are any, and more while more than
 * three eighths of all are free. One that fails, is silent, or was never tried has its first while
 * a quarter is free, and more while a half is: so those that hang, however many they are, leave a
 * quarter to those that do not, and those that answer, however much they are owed, leave an eighth
 * to the first tries of the others. Of those that answer there may be so many that their first two
 * are all: an eighth is kept from them for such first tries, less what these have already. Where
 * more hang than there are slots, those whose try took long have none but while a half is free: so
 * one that comes then waits for a round of them, not for many. */
#define SLOTS_ALONE          2U
#define SLOTS_WELL_SHARE(s)  ((s)*3 / 8)
#define SLOTS_TROUBLED_SHARE 2U
#define SLOTS_TROUBLED_FIRST 4U
#define SLOTS_KEPT_SHARE     8U
#define SILENT_NS            250000000ULL
/* No memory for a large event: others may have given some back by then. */
#define LARGE_LOOK_NS 250000000ULL
/* A report goes without the record of its try after so long: the disk may stand still. */
#define RECORDED_NS_MAX 200000000ULL

/* ---- slots */

static bool is_troubled(const struct target *target)
{
    return !target->well ||
           (target->silent_since_ns != 0 &&
            ring_now_ns(target->deliver->config.ring) - target->silent_since_ns > SILENT_NS);
}

/* One whose last try hung has had its first: it does not stand in the way of who had none. */
static bool is_first(const struct target *target)
{
    return target->slots == 0 && !target->hung;
}

static bool may_take(const struct target *target)
{
    const struct deliver *deliver = target->deliver;
    unsigned slots = deliver->config.slots;
    unsigned kept = slots / SLOTS_KEPT_SHARE;
    kept = kept > deliver->first_count ? kept - deliver->first_count : 0;
    if (is_troubled(target)) {
        bool first = is_first(target);
        unsigned share = first ? SLOTS_TROUBLED_FIRST : SLOTS_TROUBLED_SHARE;
        return deliver->free_count > slots / share ||
               (first && kept > 0 && deliver->free_count > 0);
    }
    return deliver->free_count > (target->slots < SLOTS_ALONE ? kept : SLOTS_WELL_SHARE(slots));
}

uint64_t delivery_no_room_ns(const struct target *target)
{
    return may_take(target) ? 0 : is_troubled(target) ? SILENT_NS : FLOW_LOOK_NS;
}

/* Memory for events that do not fit a slot: the first one if there is any, beyond that as much as
 * half of what is free. So those that hang leave some for whoever comes, however many they are. */
static uint8_t *take_large(struct target *target, size_t bytes, size_t *ret_bytes)
{
    struct deliver *deliver = target->deliver;
    struct buffers *large = &deliver->large;
    size_t free_bytes = large->bytes_max - large->bytes_taken + large->bytes_free;
    uint8_t *at = NULL;
    if (target->large_bytes == 0 || target->large_bytes + bytes <= free_bytes / 2) {
        at = buffers_take(large, bytes, ret_bytes);
    }
    if (at) {
        target->large_bytes += *ret_bytes;
    } else {
        target->no_large_before_ns = ring_now_ns(deliver->config.ring) + LARGE_LOOK_NS;
    }
    return at;
}

struct delivery *delivery_take(struct target *target, const struct destination *destination,
                               const struct event_view *event, uint32_t number)
{
    struct deliver *deliver = target->deliver;
    struct request request = {
        .destination = destination,
        .head = event->head,
        .body = slice_of(event->message + event->entry->head_bytes, event->entry->body_bytes),
        .source = event->source,
        .type = event->type,
        .event = event->position,
        .received_ns = event->entry->received_ns,
        .attempt = number};
    size_t bytes = request_bytes_max(&request);
    if (!may_take(target)) {
        return NULL;
    }
    struct delivery *delivery = bk_container_of(deliver->free.next, struct delivery, node);
    delivery->at = delivery->pool_at;
    delivery->large_bytes = 0;
    if (bytes > DELIVER_SLOT_BYTES) {
        delivery->at = take_large(target, bytes, &delivery->large_bytes);
        if (!delivery->at) {
            delivery->large_bytes = 0;
            return NULL;
        }
    }
    list_remove(&delivery->node);
    deliver->free_count--;
    delivery->first = is_first(target) && is_troubled(target);
    deliver->first_count += delivery->first;
    counter_set(&deliver->stats.slots_free, deliver->free_count);
    target->slots++;
    delivery->target = target;
    delivery->lane = NULL;
    delivery->position = journal_position_pack(event->position);
    delivery->source = event->entry->source;
    delivery->event_ns = event->entry->received_ns;
    delivery->number = number;
    delivery->previous_due_ms = 0;
    delivery->recorded = 0;
    delivery->flags = 0;
    delivery->version = destination->version;
    delivery->bucket = ORDER_NO_KEY;
    list_init(&delivery->followers);
    http_origin_take(&delivery->origin, &destination->origin);
    request_build(&request, delivery->at, &delivery->layout);
    return delivery;
}

void delivery_give(struct delivery *delivery)
{
    struct target *target = delivery->target;
    struct deliver *deliver = target->deliver;
    bk_assert(!delivery->flying);
    bk_assert(target->slots > 0);
    bk_assert(list_empty(&delivery->followers));
    if (delivery->large_bytes > 0) {
        buffers_give(&deliver->large, delivery->at, delivery->large_bytes);
        target->large_bytes -= delivery->large_bytes;
        target->no_large_before_ns = 0;
        delivery->large_bytes = 0;
    }
    http_origin_give(&delivery->origin);
    delivery->target = NULL;
    delivery->lane = NULL;
    target->slots--;
    target_changed(target);
    list_push_back(deliver->free.next, &delivery->node); /* first again: its memory is warm */
    deliver->free_count++;
    deliver->first_count -= delivery->first;
    counter_set(&deliver->stats.slots_free, deliver->free_count);
}

/* ---- reports */

/* Before its lane settles it, so that nothing of its key starts in between. */
static void count_in(const struct delivery *delivery, struct delivery_report *letter)
{
    const struct destination *destination = destination_of(delivery->target);
    struct order_keys *keys = destination ? atomic_load(&destination->state->keys) : NULL;
    bool to_rows = letter->kind == REPORT_AGAIN || letter->kind == REPORT_WAITS;
    if (keys && delivery->lane && delivery->bucket != ORDER_NO_KEY && to_rows) {
        letter->counted = true;
        letter->turn = atomic_fetch_add(&keys->sent[delivery->bucket], 1) + 1;
        atomic_fetch_add(&keys->mail[delivery->bucket], 1);
    }
}

static void post(struct deliver *deliver, struct delivery_report *letter)
{
    ring_post(deliver->config.ring, deliver->config.control, &letter->mail);
}

/* The first try of a lane's event makes a row of it, and its lane's row says only with the next
 * checkpoint that it is settled. Between the two a start knows by the record of the try. So the row
 * must not be there before the record is: the event would be owed twice. In order per key a start
 * knows by the row itself, so that one must not go before the record is there: the lane would owe
 * the event again, and send it behind later ones. */
static bool waits_for_record(const struct delivery *delivery, enum report_kind kind)
{
    bool keyed = (delivery->flags & ATTEMPT_KEYED) != 0;
    if (delivery->recorded == 0) {
        return false;
    }
    if (delivery->lane) {
        return kind == REPORT_DEAD || (kind == REPORT_AGAIN && !keyed);
    }
    return keyed && (kind == REPORT_SETTLED || kind == REPORT_DEAD) &&
           !lane_is_kept(delivery->target, delivery->position);
}

/* Order per key: nor do reports of what came behind it overtake it. */
static bool waits_for_others(const struct delivery *delivery)
{
    return !delivery->lane && (delivery->flags & ATTEMPT_KEYED) != 0 &&
           !list_empty(&delivery->target->deliver->unposted);
}

static void unposted_due(struct timer *timer)
{
    deliver_post_reports(bk_container_of(timer, struct deliver, unposted_timer), true);
}

static void post_when_recorded(struct deliver *deliver, struct delivery *delivery)
{
    list_push_back(&deliver->unposted, &delivery->node);
    if (!timer_running(&deliver->unposted_timer)) {
        timer_start(deliver->config.wheel, &deliver->unposted_timer,
                    ring_now_ns(deliver->config.ring) + RECORDED_NS_MAX, unposted_due);
    }
}

void deliver_post_reports(struct deliver *deliver, bool all)
{
    uint64_t through = all ? UINT64_MAX : journal_durable_through(deliver->config.journal);
    while (!list_empty(&deliver->unposted)) {
        struct delivery *delivery = bk_container_of(deliver->unposted.next, struct delivery, node);
        if (delivery->recorded > through) {
            return;
        }
        list_remove(&delivery->node);
        post(deliver, &delivery->report);
    }
    timer_stop(deliver->config.wheel, &deliver->unposted_timer);
}

static void report(struct delivery *delivery, enum report_kind kind, bool gone)
{
    struct deliver *deliver = delivery->target->deliver;
    struct delivery_report *letter = &delivery->report;
    letter->mail.run = dispatch_report_arrived;
    letter->dispatch = deliver->config.dispatch;
    letter->home = deliver;
    letter->kind = kind;
    letter->gone = gone;
    letter->lifts = delivery->lifts;
    letter->recovered = false;
    letter->more = kind == REPORT_SETTLED && !list_empty(&delivery->followers);
    letter->flags = delivery->flags;
    letter->bucket = delivery->bucket;
    letter->counted = false;
    letter->number = delivery->number;
    letter->destination = delivery->target->number;
    letter->source = delivery->source;
    letter->position = delivery->position;
    letter->event_ns = delivery->event_ns;
    letter->previous_due_ms = delivery->previous_due_ms;
    count_in(delivery, letter);
    deliver->reports_out++;
    if (waits_for_record(delivery, kind) || waits_for_others(delivery)) {
        post_when_recorded(deliver, delivery);
    } else {
        post(deliver, letter);
    }
}

void deliver_report_back(struct ring_mail *mail)
{
    struct delivery_report *letter = bk_container_of(mail, struct delivery_report, mail);
    struct delivery *delivery = bk_container_of(letter, struct delivery, report);
    struct target *target = delivery->target;
    target->deliver->reports_out--;
    delivery_give(delivery);
    target_pump_later(target);
}

static void refuse_followers(struct delivery *delivery)
{
    struct list *node;
    while ((node = list_pop_front(&delivery->followers)) != NULL) {
        report(bk_container_of(node, struct delivery, node), REPORT_REFUSED, false);
    }
}

void delivery_refuse(struct delivery *delivery)
{
    refuse_followers(delivery);
    report(delivery, REPORT_REFUSED, false);
}

/* Order per key: the next one of its key goes without waiting until the store knows of this one.
 * After a crash the store and the records of tries tell how far it came, as with all others. */
static void start_follower(struct delivery *delivery)
{
    struct list *node = list_pop_front(&delivery->followers);
    struct delivery *next = bk_container_of(node, struct delivery, node);
    struct target *target = delivery->target;
    list_splice_back(&next->followers, &delivery->followers);
    list_push_back(target->retries.next, node); /* first: before what has no such claim */
    target->retry_count++;
    target_pump_later(target);
}

void delivery_wait(struct delivery *delivery)
{
    struct delivery_report *letter = &delivery->report;
    delivery->flags |= ATTEMPT_KEYED;
    delivery->number = 0;
    letter->status = 0;
    letter->due_ms = 0;
    letter->ended_ns = 0;
    letter->why[0] = '\0';
    report(delivery, REPORT_WAITS, false);
    lane_settle(delivery->lane, journal_position_unpack(delivery->position).sequence);
    order_pass_on(delivery->target, delivery->bucket);
}

/* ---- the answer */

struct ending {
    enum attempt_outcome outcome;
    uint16_t status;
    bool gone;
    bool looped; /* the event is to blame, not the receiver */
    int64_t due_ms;
    uint64_t hold_ns; /* Retry-After, monotonic */
    struct slice why;
    char text[ATTEMPT_WHY_BYTES_MAX];
};

static void explain(struct ending *ending, const struct http_reply *reply)
{
    if (ending->status == 0) {
        ending->why = slice_str(reply->why[0] ? reply->why : bk_err_text(reply->err));
        return;
    }
    if (ending->outcome == ATTEMPT_DELIVERED) {
        ending->why = SLICE_EMPTY;
        return;
    }
    bool redirect = ending->status >= 300 && ending->status <= 399;
    const char *text = ending->gone ? "says it is gone: paused"
                       : ending->looped
                           ? "says it goes round in a loop: not tried again, look at the routes"
                       : redirect              ? "is a redirect: not followed"
                       : ending->status == 429 ? "asks to slow down"
                                               : "is no success";
    int bytes =
        snprintf(ending->text, sizeof ending->text, "the answer %u %s", ending->status, text);
    ending->why = slice_of(ending->text, (size_t)bytes);
}

static uint32_t asked_to_wait_ms(const struct deliver *deliver, const struct http_reply *reply)
{
    if (!reply->head || (reply->status != 429 && reply->status != 503)) {
        return 0;
    }
    const struct http_header *header = http_find(reply->head, SLICE("retry-after"), NULL);
    const struct http_header *date = http_find(reply->head, SLICE("date"), NULL);
    return header ? retry_after_ms(http_header_value(reply->head, header),
                                   date ? http_header_value(reply->head, date) : SLICE_EMPTY,
                                   ring_wall_ns(deliver->config.ring) / NS_PER_SECOND)
                  : 0;
}

/* A becket at the other end refuses what came through becket too often, and will each time. The
 * same status from others is their own, often of a moment (a host's resource limits). */
static bool is_refused_as_loop(const struct delivery *delivery, uint16_t status)
{
    struct http_head head;
    return status == 508 &&
           http_parse_request(delivery->at, delivery->layout.bytes, &head) == HTTP_PARSE_DONE &&
           request_hops(&head) >= REQUEST_HOPS_MAX;
}

/* Resumed, or led elsewhere, since it was sent: what the receiver asks for is over already. */
static bool is_from_before(const struct delivery *delivery, const struct destination *destination)
{
    return delivery->lifts != flow_lifts(shared_of(destination));
}

static void judge(struct delivery *delivery, const struct destination *destination,
                  struct ending *ending)
{
    struct deliver *deliver = delivery->target->deliver;
    const struct http_reply *reply = &delivery->call.reply;
    struct retry_schedule schedule = {destination->retry_schedule_ms, destination->retry_count,
                                      destination->jitter_permille};
    uint64_t delay_ms = 0;
    bool answered = reply->err == BK_OK || (reply->err == BK_TOO_LARGE && reply->status != 0);
    ending->status = answered ? reply->status : 0;
    enum retry_verdict verdict = retry_verdict(ending->status);
    bool before = is_from_before(delivery, destination);
    uint32_t after_ms = before ? 0 : asked_to_wait_ms(deliver, reply);
    if (after_ms > 0) {
        ending->hold_ns = ring_now_ns(deliver->config.ring) + after_ms * (uint64_t)NS_PER_MS;
    }
    if (verdict == RETRY_DELIVERED) {
        ending->outcome = ATTEMPT_DELIVERED;
    } else if (is_refused_as_loop(delivery, ending->status)) {
        ending->outcome = ATTEMPT_DEAD;
        ending->looped = true;
    } else {
        bool more =
            retry_delay(&schedule, delivery->number, after_ms, deliver_random(deliver), &delay_ms);
        /* Who is gone is not to blame the event for: it waits until somebody resumes. */
        more |= verdict == RETRY_GONE;
        ending->gone = verdict == RETRY_GONE && !before;
        ending->outcome = more ? ATTEMPT_FAILED : ATTEMPT_DEAD;
        ending->due_ms = more ? deliver_now_ms(deliver) + (int64_t)delay_ms : 0;
    }
    explain(ending, reply);
}

/* The values of headers that came out of secrets, and of "Bearer …" what is behind the blank. */
static size_t sent_secrets(const struct destination *destination,
                           struct slice ret_secrets[2 * DESTINATION_HEADERS_MAX])
{
    size_t count = 0;
    struct slice rest = destination->secret_lines;
    while (rest.bytes > 0 && count + 2 <= (size_t)2 * DESTINATION_HEADERS_MAX) {
        struct slice line = slice_of(rest.at, slice_find(rest, '\r'));
        struct slice value = slice_skip(line, slice_find(line, ':') + 2);
        struct slice behind = slice_skip(value, slice_find(value, ' ') + 1);
        ret_secrets[count++] = value;
        if (behind.bytes >= SCRUB_BYTES_MIN) {
            ret_secrets[count++] = behind;
        }
        rest = slice_skip(rest, line.bytes + 2);
    }
    scrub_order(ret_secrets, count);
    return count;
}

/* A receiver that sends back what it got, or the proxy before it: of its answer nothing secret is
 * kept. */
static void scrub_answer(const struct delivery *delivery, uint8_t *answer, size_t bytes)
{
    const struct destination *destination = destination_of(delivery->target);
    const struct http_proxy *proxies = delivery->target->deliver->config.proxy;
    const struct http_proxy_server *proxy =
        proxies ? http_proxy_for(proxies, &delivery->origin) : NULL;
    struct slice secrets[2 * DESTINATION_HEADERS_MAX];
    size_t count = destination && bytes > 0 ? sent_secrets(destination, secrets) : 0;
    for (size_t i = 0; i < count; i++) {
        scrub_shown(answer, bytes, secrets[i]);
    }
    if (proxy && proxy->authorization_bytes > 0) {
        struct slice value = slice_of(proxy->authorization, proxy->authorization_bytes);
        scrub_shown(answer, bytes, slice_skip(value, slice_find(value, ' ') + 1));
    }
}

/* The journal keeps it, lazily. When it cannot now, only the history has a gap. */
static void record(struct delivery *delivery, const struct ending *ending)
{
    struct deliver *deliver = delivery->target->deliver;
    const struct http_reply *reply = &delivery->call.reply;
    uint8_t message[ATTEMPT_MESSAGE_BYTES_MAX];
    struct journal_entry entry;
    uint64_t sequence;
    struct attempt attempt = {
        .outcome = ending->outcome,
        .stage = (uint8_t)reply->stage,
        .flags = (uint8_t)(delivery->flags | (reply->body_cut ? ATTEMPT_ANSWER_CUT : 0)),
        .status = ending->status,
        .number = delivery->number,
        .bucket = (delivery->flags & ATTEMPT_KEYED) != 0 ? delivery->bucket : 0,
        .took_us = (uint32_t)(reply->total_ns / 1000),
        .destination = delivery->target->number,
        .source = delivery->source,
        .event = journal_position_unpack(delivery->position),
        .event_ns = delivery->event_ns,
        .ended_ns = ring_wall_ns(deliver->config.ring),
        .previous_due_ms = delivery->previous_due_ms,
        .next_due_ms = ending->due_ms,
        .peer = reply->peer,
        .why = ending->why,
        .answer = reply->body};
    attempt_encode(&attempt, &entry, message);
    scrub_answer(delivery, message + entry.head_bytes, entry.body_bytes);
    if (journal_append_lazy(deliver->config.journal, &entry, message, &sequence) == BK_OK) {
        delivery->recorded = sequence;
    } else {
        counter_add(&deliver->stats.attempts_unrecorded, 1);
    }
}

static void count(struct target *target, const struct delivery *delivery,
                  const struct ending *ending)
{
    struct target_status *status = &target->status;
    size_t why = ending->why.bytes < sizeof status->last_why - 1 ? ending->why.bytes
                                                                 : sizeof status->last_why - 1;
    status->outcomes[ending->outcome == ATTEMPT_DELIVERED ? TARGET_DELIVERED
                     : ending->outcome == ATTEMPT_FAILED  ? TARGET_FAILED
                                                          : TARGET_DEAD]++;
    status->took_us += delivery->call.reply.total_ns / 1000;
    if (ending->outcome == ATTEMPT_DELIVERED && delivery->lane && delivery->number == 1) {
        int64_t since_ns = ring_wall_ns(target->deliver->config.ring) - delivery->event_ns;
        metrics_observe(&target->deliver->stats.delivered_ns, since_ns > 0 ? (uint64_t)since_ns : 0,
                        METRICS_TIME_SHIFT);
    }
    status->last_ns = ring_wall_ns(target->deliver->config.ring);
    status->last_number = delivery->number;
    status->last_status = ending->status;
    status->last_outcome = (uint8_t)ending->outcome;
    if (why > 0) {
        memcpy(status->last_why, ending->why.at, why);
    }
    status->last_why[why] = '\0';
    target_changed(target);
}

/* Tell the store where it has to know, then the lane: their order is that of the mail. */
static void settle(struct delivery *delivery, const struct ending *ending)
{
    struct lane *lane = delivery->lane;
    struct delivery_report *letter = &delivery->report;
    bool told = ending->outcome != ATTEMPT_DELIVERED || !lane;
    if (told) {
        letter->status = ending->status;
        letter->due_ms = ending->due_ms;
        letter->ended_ns = ring_wall_ns(delivery->target->deliver->config.ring);
        size_t why =
            ending->why.bytes < sizeof letter->why - 1 ? ending->why.bytes : sizeof letter->why - 1;
        if (why > 0) {
            memcpy(letter->why, ending->why.at, why);
        }
        letter->why[why] = '\0';
        report(delivery,
               ending->outcome == ATTEMPT_DELIVERED ? REPORT_SETTLED
               : ending->outcome == ATTEMPT_FAILED  ? REPORT_AGAIN
                                                    : REPORT_DEAD,
               ending->gone);
        if (letter->more) {
            start_follower(delivery);
        } else {
            refuse_followers(delivery);
        }
    }
    if (lane) {
        lane_settle(lane, journal_position_unpack(delivery->position).sequence);
    }
    if (!told) {
        delivery_give(delivery);
    }
}

/* Cut off by a stop: the cursor stays in front of it. */
static void cancelled(struct delivery *delivery)
{
    if (delivery->lane) {
        delivery_give(delivery);
    } else {
        delivery_refuse(delivery);
    }
}

/* Strict order: it stays the head of its lane. */
static void hold(struct delivery *delivery, const struct ending *ending)
{
    struct deliver *deliver = delivery->target->deliver;
    struct lane *lane = delivery->lane;
    uint64_t sequence = journal_position_unpack(delivery->position).sequence;
    uint32_t number = delivery->number;
    const struct destination *destination = destination_of(delivery->target);
    bool before = destination && is_from_before(delivery, destination);
    int64_t wait_ms = before ? 0 : ending->due_ms - deliver_now_ms(deliver);
    if (ending->gone) {
        report(delivery, REPORT_SETTLED, true); /* no row of its own */
    } else {
        delivery_give(delivery);
    }
    lane_hold(lane, sequence, number,
              ring_now_ns(deliver->config.ring) +
                  (uint64_t)(wait_ms > 0 ? wait_ms : 0) * (uint64_t)NS_PER_MS);
}

static void delivery_done(struct http_call *call)
{
    struct delivery *delivery = bk_container_of(call, struct delivery, call);
    struct target *target = delivery->target;
    struct deliver *deliver = target->deliver;
    const struct destination *destination = destination_of(target);
    struct ending ending = {0};
    bool cut = call->reply.err == BK_CANCELLED && deliver->draining;
    delivery->flying = false;
    deliver->flying--;
    deliver->pace_count++;
    target_pump_later(target);
    if (!destination) { /* deleted meanwhile: nobody wants to know */
        flow_forget(&target->flow, &delivery->place);
        ending.outcome = ATTEMPT_DELIVERED;
        settle(delivery, &ending);
        return;
    }
    if (!cut) {
        judge(delivery, destination, &ending);
    }
    bool failing = destination->state && flow_is_failing(shared_of(destination));
    bool before = is_from_before(delivery, destination);
    delivery->place.probe &= !before; /* there may be another one by now */
    bool told = flow_give(&target->flow, shared_of(destination), &delivery->place,
                          cut || before || ending.looped        ? FLOW_CANCELLED
                          : ending.outcome == ATTEMPT_DELIVERED ? FLOW_GOOD
                                                                : FLOW_BAD,
                          ending.hold_ns, call->reply.total_ns, ring_now_ns(deliver->config.ring));
    target->silent_since_ns = target->flow.inflight > 0 ? ring_now_ns(deliver->config.ring) : 0;
    target->well = ending.outcome == ATTEMPT_DELIVERED || ending.looped;
    target->hung = !target->well && !cut && call->reply.total_ns >= FLOW_SLOW_NS;
    bool in_order = delivery->in_order;
    uint16_t bucket = delivery->bucket;
    if (cut) {
        cancelled(delivery);
        return;
    }
    if (told) {
        log_event(LOG_WARN, "destination does not take deliveries: one try per interval from now",
                  LOG_S("destination", destination->name), LOG_S("why", ending.why));
    }
    if (failing && ending.outcome == ATTEMPT_DELIVERED) {
        log_event(LOG_INFO, "destination takes deliveries again",
                  LOG_S("destination", destination->name));
    }
    bool held = destination->strict && bucket == ORDER_NO_KEY && delivery->lane &&
                ending.outcome == ATTEMPT_FAILED &&
                lane_may_hold(delivery->lane, journal_position_unpack(delivery->position).sequence);
    delivery->flags |= held ? ATTEMPT_HELD : bucket != ORDER_NO_KEY ? ATTEMPT_KEYED : 0;
    record(delivery, &ending);
    count(target, delivery, &ending);
    if (held) {
        hold(delivery, &ending);
    } else {
        settle(delivery, &ending);
    }
    if (in_order) {
        order_end(destination, bucket);
    }
    if (target->strict) {
        order_pass_on(target, bucket);
    }
}

bool delivery_start(struct delivery *delivery, const struct destination *destination)
{
    struct deliver *deliver = delivery->target->deliver;
    if (delivery->version != destination->version || !order_begin(delivery, destination)) {
        return false;
    }
    request_sign(delivery->at, &delivery->layout, destination,
                 ring_wall_ns(deliver->config.ring) / NS_PER_SECOND);
    delivery->lifts = flow_lifts(shared_of(destination));
    struct http_call *call = &delivery->call;
    call->origin = &delivery->origin;
    call->pieces[0] = slice_of(delivery->at, delivery->layout.bytes);
    call->piece_count = 1;
    call->head_method = false;
    call->repeatable = true; /* the receiver knows it again by its webhook-id */
    call->timeout_ms = destination->timeout_ms;
    call->connect_timeout_ms = 0;
    call->first_byte_timeout_ms = 0;
    call->keep_body_bytes = ATTEMPT_ANSWER_BYTES_MAX;
    call->body_bytes_max = ANSWER_BYTES_MAX;
    call->on_body = NULL;
    call->done = delivery_done;
    call->context = delivery;
    if (delivery->target->silent_since_ns == 0) {
        delivery->target->silent_since_ns = ring_now_ns(deliver->config.ring);
    }
    delivery->flying = true;
    deliver->flying++;
    http_call_start(deliver->config.client, call);
    return true;
}

/* ---- retries */

static struct delivery *retry_take(struct deliver *deliver, const struct event_chunk *chunk,
                                   const struct chunk_event *event)
{
    struct http_head head;
    struct target *target = target_take(deliver, event->destination);
    const struct destination *destination =
        route_table_destination(deliver->config.routes, event->destination);
    if (!target || !destination || destination->pause != DESTINATION_RUNNING || deliver->draining ||
        http_parse_request(chunk->at + event->message_at, event->entry.head_bytes, &head) !=
            HTTP_PARSE_DONE) {
        return NULL;
    }
    struct event_view view = {.position = journal_position_unpack(event->position),
                              .entry = &event->entry,
                              .message = chunk->at + event->message_at,
                              .head = &head,
                              .source = slice_of(chunk->at + event->source_at, event->source_bytes),
                              .type = slice_of(chunk->at + event->type_at, event->type_bytes)};
    return delivery_take(target, destination, &view, event->number + 1);
}

void deliver_retries_arrived(struct ring_mail *mail)
{
    struct event_chunk *chunk = bk_container_of(mail, struct event_chunk, mail);
    struct deliver *deliver = chunk->home;
    struct delivery *leader = NULL;
    for (unsigned i = 0; i < chunk->count; i++) {
        struct chunk_event *event = &chunk->events[i];
        bool waits_for_none = event->follows && !leader; /* one in front of it had no room */
        struct delivery *delivery = waits_for_none ? NULL : retry_take(deliver, chunk, event);
        event->refused = delivery == NULL;
        if (delivery) {
            delivery->previous_due_ms = event->due_ms;
            delivery->flags = event->flags;
            delivery->bucket = (event->flags & ATTEMPT_KEYED) != 0 ? event->bucket : ORDER_NO_KEY;
        }
        if (delivery && event->follows) {
            list_push_back(&leader->followers, &delivery->node);
            continue;
        }
        leader = delivery;
        if (delivery) {
            list_push_back(&delivery->target->retries, &delivery->node);
            delivery->target->retry_count++;
            target_pump_later(delivery->target);
        }
    }
    chunk->mail.run = dispatch_chunk_back;
    ring_post(deliver->config.ring, deliver->config.control, &chunk->mail);
}
