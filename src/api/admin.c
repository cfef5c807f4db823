#include "api/admin.h"

#include "api/access.h"
#include "api/route.h"
#include "api/stream.h"
#include "hub/metrics.h"

#include <stdio.h>
#include <stdlib.h>

#define CALLS_MAX 256U /* with the control thread; half of it for who shows no token */
#define WATCH_NS  500000000ULL

/* One request on its way through the control thread. Owned by the reactor, then the control thread,
 * then the
 * reactor again. */
struct admin_call {
    struct ring_mail mail;
    struct list node;
    struct admin *admin;
    struct list out;                /* the reactor's */
    struct http_exchange *exchange; /* NULL: it was answered without the control thread */
    bool is_metrics;
    bool stranger; /* shows no token */
    uint64_t posted_ns;
    atomic_bool arrived;        /* on the control thread */
    struct api_request request; /* slices point into `bytes` */
    struct api_response response;
    struct http_head head;
    uint8_t bytes[];
};

static struct slice header(const struct http_head *head, const char *lower_name)
{
    const struct http_header *found = http_find(head, slice_str(lower_name), NULL);
    return found ? http_header_value(head, found) : SLICE_EMPTY;
}

/* Headers that are there once at most (RFC 9110 5.3): of two, who is in front may have looked at
 * the other one. */
static const char *doubled_header(const struct http_head *head)
{
    static const char *const names[] = {"authorization",  "cookie",        "content-type",
                                        "if-match",       "if-none-match", "origin",
                                        "sec-fetch-site", "last-event-id"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        unsigned count;
        if (http_find(head, slice_str(names[i]), &count) && count > 1) {
            return names[i];
        }
    }
    return NULL;
}

static void call_describe(struct admin_call *call, const struct http_message *message)
{
    struct http_head *head = &call->head;
    call->request = (struct api_request){
        .method = head->method,
        .target = http_origin_form(head),
        .host = http_authority(head),
        .authorization = header(head, "authorization"),
        .cookie = header(head, "cookie"),
        .if_match = header(head, "if-match"),
        .if_none_match = header(head, "if-none-match"),
        .content_type = header(head, "content-type"),
        .content_encoding = header(head, "content-encoding"),
        .accept = header(head, "accept"),
        .origin = header(head, "origin"),
        .sec_fetch_site = header(head, "sec-fetch-site"),
        .last_event_id = header(head, "last-event-id"),
        .body = slice_of(call->bytes + head->head_bytes, message->body.bytes),
        .remote = message->peer,
    };
}

/* ---- how many there are */

static bool has_room(const struct admin_load *load, size_t bytes, unsigned calls_max,
                     size_t bytes_max)
{
    return load->calls < calls_max && load->bytes + bytes <= bytes_max;
}

static void count_call(const struct admin_call *call, bool comes)
{
    size_t bytes = call->head.head_bytes + call->request.body.bytes;
    struct admin_load *loads[] = {&call->admin->all, &call->admin->strangers};
    for (unsigned i = 0; i < 1U + call->stranger; i++) {
        loads[i]->calls += comes ? 1U : -1U;
        loads[i]->bytes += comes ? bytes : -bytes;
    }
}

/* ---- back on the reactor */

static size_t header_lines(const struct api_response *response, char *at, size_t bytes_max)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < response->header_count; i++) {
        size_t name = strlen(response->headers[i].name), value = strlen(response->headers[i].value);
        if (bytes + name + value + 4 > bytes_max) {
            break;
        }
        memcpy(at + bytes, response->headers[i].name, name);
        memcpy(at + bytes + name, ": ", 2);
        memcpy(at + bytes + name + 2, response->headers[i].value, value);
        memcpy(at + bytes + name + 2 + value, "\r\n", 2);
        bytes += name + value + 4;
    }
    return bytes;
}

static void call_free(struct admin_call *call)
{
    api_response_fini(&call->response);
    explicit_bzero(call->bytes, call->head.head_bytes + call->request.body.bytes);
    free(call);
}

static void call_returned(struct ring_mail *mail)
{
    struct admin_call *call = bk_container_of(mail, struct admin_call, mail);
    struct api_response *response = &call->response;
    char lines[API_HEADERS_MAX * (sizeof response->headers[0].value + 64)];
    struct slice headers = slice_of(lines, header_lines(response, lines, sizeof lines));
    uint8_t *body = response->body.at;
    size_t bytes = response->body.bytes;
    count_call(call, false);
    if (!call->exchange) {
        if (response->stream) {
            struct api_stream *stream = response->stream;
            response->stream = NULL;
            api_stream_refuse(stream, call->admin->control, *call->admin->reactor);
        }
        call_free(call);
        return;
    }
    list_remove(&call->out);
    if (response->stream) {
        struct admin *admin = call->admin;
        struct api_stream *stream = response->stream;
        response->stream = NULL;
        api_stream_begin(stream, call->exchange, admin->control, *admin->reactor);
        call_free(call);
        return;
    }
    if (response->shared.at) {
        http_answer_shared(call->exchange, response->status, response->content_type, headers,
                           response->shared);
    } else if (call->request.method == HTTP_HEAD || !body) {
        /* The length is told, the bytes are not sent. */
        http_answer(
            call->exchange, response->status, response->content_type, headers,
            slice_of(body, call->request.method == HTTP_HEAD ? (size_t)response->body_bytes : 0));
    } else {
        response->body.at = NULL; /* the server frees it after the send */
        response->body.bytes = response->body.bytes_size = 0;
        http_answer_owned(call->exchange, response->status, response->content_type, headers, body,
                          bytes);
    }
    call_free(call);
}

/* ---- when the control thread stands still */

uint64_t admin_busy_ns(const struct admin *admin, uint64_t now_ns)
{
    uint64_t since_ns = atomic_load_explicit(&admin->busy_since_ns, memory_order_relaxed);
    return since_ns && now_ns > since_ns ? now_ns - since_ns : 0;
}

/* `busy_ns`: for how long it has stood still. */
static void answer_alone(struct admin *admin, struct http_exchange *exchange, bool is_metrics,
                         uint64_t busy_ns)
{
    struct buf text;
    buf_init(&text, API_RESPONSE_BYTES_MAX);
    if (is_metrics && admin->metrics) {
        admin->metrics(admin->context, &text);
    }
    if (text.bytes != 0 && !text.overflow) {
        http_answer_owned(exchange, 200, METRICS_CONTENT_TYPE, SLICE("Cache-Control: no-store\r\n"),
                          text.at, text.bytes);
        return;
    }
    buf_fini(&text);
    char why[160];
    snprintf(why, sizeof why,
             "the disk has not answered for %u s; what was asked for may still be done",
             (unsigned)(busy_ns / 1000000000));
    http_answer_error(exchange, 503, "unavailable", why, SLICE("Retry-After: 5\r\n"));
}

static uint64_t patience_ns(bool is_metrics)
{
    return is_metrics ? ADMIN_METRICS_PATIENCE_NS : ADMIN_PATIENCE_NS;
}

uint64_t admin_watch(void *context, uint64_t now_ns)
{
    struct admin *admin = context;
    for (struct list *node = admin->out.next, *next; node != &admin->out; node = next) {
        next = node->next;
        struct admin_call *call = bk_container_of(node, struct admin_call, out);
        /* It may also stand still in what a letter made it do: then it takes no other. */
        uint64_t busy_ns = atomic_load_explicit(&call->arrived, memory_order_relaxed)
                               ? admin_busy_ns(admin, now_ns)
                               : now_ns - call->posted_ns;
        if (busy_ns >= patience_ns(call->is_metrics)) {
            struct http_exchange *exchange = call->exchange;
            call->exchange = NULL;
            list_remove(node);
            answer_alone(admin, exchange, call->is_metrics, busy_ns);
        }
    }
    return list_empty(&admin->out) ? UINT64_MAX : now_ns + WATCH_NS;
}

/* ---- on the control thread */

static void call_arrived(struct ring_mail *mail)
{
    struct admin_call *call = bk_container_of(mail, struct admin_call, mail);
    atomic_store_explicit(&call->arrived, true, memory_order_relaxed);
    list_push_back(&call->admin->queue, &call->node);
}

/* What those wait for has come. */
static void wake(struct admin *admin)
{
    uint64_t now_ns = ring_now_ns(admin->control);
    struct list *node = admin->waiting.next;
    while (node != &admin->waiting) {
        struct admin_call *call = bk_container_of(node, struct admin_call, node);
        node = node->next;
        if (call->response.work->woken || call->response.work->wake_ns <= now_ns) {
            list_remove(&call->node);
            list_push_back(&admin->queue, &call->node);
        }
    }
}

uint64_t admin_next_ns(const struct admin *admin)
{
    uint64_t next_ns = UINT64_MAX;
    for (struct list *node = admin->waiting.next; node != &admin->waiting; node = node->next) {
        const struct admin_call *call = bk_container_of(node, struct admin_call, node);
        uint64_t wake_ns = call->response.work->woken ? 0 : call->response.work->wake_ns;
        next_ns = wake_ns < next_ns ? wake_ns : next_ns;
    }
    return next_ns;
}

bool admin_step(struct admin *admin)
{
    wake(admin);
    struct list *node = list_pop_front(&admin->queue);
    if (!node) {
        return false;
    }
    struct admin_call *call = bk_container_of(node, struct admin_call, node);
    call->request.wall_ns = ring_wall_ns(admin->control);
    call->request.now_ns = ring_now_ns(admin->control);
    enum api_step step = api_handle(admin->api, &call->request, &call->response);
    if (step == API_AGAIN) {
        list_push_back(&admin->queue, &call->node); /* the others get their turn */
    } else if (step == API_WAIT) {
        list_push_back(&admin->waiting, &call->node);
    } else {
        call->mail.run = call_returned;
        ring_post(admin->control, *admin->reactor, &call->mail);
    }
    return !list_empty(&admin->queue);
}

/* ---- on the reactor */

/* Who shows no good token is told so before a large body is read, and pages send small ones. */
static uint64_t on_head(void *context, struct http_exchange *exchange, const struct http_head *head)
{
    const struct admin *admin = context;
    if (!slice_starts(http_origin_form(head), SLICE("/api/v1/"))) {
        return ADMIN_PAGE_BODY_BYTES_MAX;
    }
    const char *why = access_why_not(admin->api, header(head, "authorization"));
    if (why && !exchange->comes_whole) {
        http_answer_error(exchange, 401, "unauthenticated", why,
                          SLICE("WWW-Authenticate: " ACCESS_CHALLENGE "\r\n"));
    }
    return API_BODY_BYTES_MAX;
}

static enum http_outcome on_request(void *context, struct http_exchange *exchange,
                                    const struct http_message *message)
{
    struct admin *admin = context;
    const char *doubled = doubled_header(message->head);
    if (doubled) {
        char why[64];
        snprintf(why, sizeof why, "the header %s is there twice", doubled);
        http_answer_error(exchange, 400, "invalid", why, SLICE_EMPTY);
        return HTTP_TAKEN;
    }
    size_t bytes = message->head->head_bytes + message->body.bytes;
    bool stranger = access_why_not(admin->api, header(message->head, "authorization")) != NULL;
    if (!has_room(&admin->all, bytes, CALLS_MAX, ADMIN_CALLS_BYTES_MAX) ||
        (stranger &&
         !has_room(&admin->strangers, bytes, CALLS_MAX / 2, ADMIN_STRANGERS_BYTES_MAX))) {
        http_answer_error(exchange, 503, "unavailable", "too many API requests at once, try again",
                          SLICE("Retry-After: 1\r\n"));
        return HTTP_TAKEN;
    }
    struct slice path = http_origin_form(message->head);
    path = slice_of(path.at, slice_find(path, '?'));
    bool is_metrics = (message->head->method == HTTP_GET || message->head->method == HTTP_HEAD) &&
                      slice_equal(path, SLICE("/metrics")) &&
                      api_host_allowed(admin->api, http_authority(message->head));
    uint64_t busy_ns = admin_busy_ns(admin, ring_now_ns(*admin->reactor));
    if (busy_ns >= patience_ns(is_metrics)) {
        answer_alone(admin, exchange, is_metrics, busy_ns);
        return HTTP_TAKEN;
    }
    struct admin_call *call = malloc(sizeof *call + bytes);
    if (!call) {
        http_answer_error(exchange, 503, "unavailable", "out of memory",
                          SLICE("Retry-After: 1\r\n"));
        return HTTP_TAKEN;
    }
    memset(call, 0, offsetof(struct admin_call, head));
    memcpy(call->bytes, message->head->at, bytes);
    call->head = *message->head;
    call->head.at = call->bytes;
    call->admin = admin;
    call->exchange = exchange;
    call->is_metrics = is_metrics;
    call->posted_ns = ring_now_ns(*admin->reactor);
    call->out = (struct list){0};
    list_push_back(&admin->out, &call->out);
    call_describe(call, message);
    api_response_init(&call->response);
    call->stranger = stranger;
    count_call(call, true);
    call->mail.run = call_arrived;
    ring_post(*admin->reactor, admin->control, &call->mail);
    return HTTP_TAKEN;
}

void admin_init(struct admin *admin, struct api *api, struct ring *control, struct ring **reactor)
{
    *admin = (struct admin){.api = api, .control = control, .reactor = reactor};
    list_init(&admin->queue);
    list_init(&admin->waiting);
    list_init(&admin->out);
}

void admin_fini(struct admin *admin)
{
    for (struct list *node; (node = list_pop_front(&admin->queue)) != NULL;) {
        call_free(bk_container_of(node, struct admin_call, node));
    }
    for (struct list *node; (node = list_pop_front(&admin->waiting)) != NULL;) {
        call_free(bk_container_of(node, struct admin_call, node));
    }
}

struct http_handler admin_handler(struct admin *admin)
{
    return (struct http_handler){.context = admin, .on_head = on_head, .on_request = on_request};
}
