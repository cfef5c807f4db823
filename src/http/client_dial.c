/* From nothing to a connection: DNS, address policy, happy eyeballs (RFC 8305), proxy, TLS. */
#include "http/client_private.h"

#include "http/explain.h"
#include "http/write.h"
#include "net/dns.h"

#include <stdio.h>

/* Where the CONNECT request lies in the buffer that then takes the proxy's answer. */
#define CONNECT_REQUEST_AT (HTTP_HEAD_BYTES_MAX + 4096U)

static void try_done(struct ring_op *op, const struct ring_result *result);

/* ---- bookkeeping */

static void young_end(struct client_line *line)
{
    if (list_linked(&line->young)) {
        list_remove(&line->young);
        line->client->young_count--;
    }
}

/* A dial that has not ended by now may go on for long: others need not wait for it. */
static void young_fire(struct timer *timer)
{
    struct http_client *client = bk_container_of(timer, struct http_client, young_timer);
    uint64_t now_ns = ring_now_ns(client->ring);
    while (!list_empty(&client->young)) {
        struct client_line *line = bk_container_of(client->young.next, struct client_line, young);
        uint64_t due_ns = line->dial_ns + YOUNG_MS * (uint64_t)NS_PER_MS;
        if (due_ns > now_ns) {
            timer_start(client->wheel, timer, due_ns, young_fire);
            break;
        }
        young_end(line);
    }
    pools_unblock(client);
}

static void young_begin(struct client_line *line)
{
    struct http_client *client = line->client;
    list_push_back(&client->young, &line->young);
    client->young_count++;
    if (!timer_running(&client->young_timer)) {
        timer_start(client->wheel, &client->young_timer,
                    line->dial_ns + YOUNG_MS * (uint64_t)NS_PER_MS, young_fire);
    }
}

static void dial_leave(struct client_line *line)
{
    struct client_pool *pool = line->pool;

    bk_assert(pool->dial_count > 0 && pool->client->dial_count > 0);
    list_remove(&line->node);
    young_end(line);
    pool->dial_count--;
    pool->client->dial_count--;
    if (pool->waiting_count > 0) {
        pool_dirty(pool);
    }
    pools_unblock(pool->client);
}

static void tries_cancel(struct client_line *line)
{
    for (unsigned i = 0; i < CLIENT_TRIES_MAX; i++) {
        if (!line->tries[i].closing) {
            ring_cancel(line->client->ring, &line->tries[i].op);
        }
    }
}

void dial_cancel(struct client_line *line)
{
    if (line->client->config.resolver) {
        resolver_cancel(line->client->config.resolver, &line->lookup);
    }
    tries_cancel(line);
    dial_leave(line);
}

static unsigned tries_busy(const struct client_line *line)
{
    unsigned count = 0;
    for (unsigned i = 0; i < CLIENT_TRIES_MAX; i++) {
        count += ring_op_busy(&line->tries[i].op);
    }
    return count;
}

bool dial_under_way(const struct client_line *line)
{
    return tries_busy(line) > 0;
}

void dial_fail(struct client_line *line, enum bk_err err, enum http_stage stage)
{
    struct client_pool *pool = line->pool;

    counter_add(&line->client->stats.dials_failed, 1);
    pool->came = false;
    if (!list_empty(&pool->waiting)) {
        struct http_call *call = bk_container_of(pool->waiting.next, struct http_call, node);
        pool_unqueue(call);
        call->reply.peer = line->peer;
        call_fail(call, err, stage, "%s", line->why);
    }
    line_kill(line);
}

void dial_done(struct client_line *line)
{
    dial_leave(line);
    line->pool->came = true;
    line_idle(line);
}

static uint64_t after_ms(const struct client_line *line, uint32_t ms)
{
    return ring_now_ns(line->client->ring) + ms * (uint64_t)NS_PER_MS;
}

/* ---- through a proxy */

/* CONNECT host:port, written by hand: its target has no path. */
static size_t connect_request(const struct client_line *line, char *at, size_t bytes)
{
    const struct http_origin *origin = &line->pool->origin;
    const struct http_proxy_server *proxy = line->pool->proxy;
    char authority[URL_AUTHORITY_BYTES_MAX];

    (void)url_authority(origin->host, origin->port, true, true, authority);
    int used = snprintf(at, bytes, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n", authority, authority);
    if (proxy->authorization_bytes > 0) {
        used += snprintf(at + used, bytes - (size_t)used, "Proxy-Authorization: %.*s\r\n",
                         (int)proxy->authorization_bytes, proxy->authorization);
    }
    used += snprintf(at + used, bytes - (size_t)used, "\r\n");
    bk_assert((size_t)used < bytes);
    return (size_t)used;
}

static void proxy_begin(struct client_line *line)
{
    line->state = LINE_PROXY;
    line->dial_deadline_ns = after_ms(line, line->client->config.proxy_timeout_ms);
    line_deadline(line, line->dial_deadline_ns);
    line->gathered =
        buffers_take(line->client->buffers, 2 * CONNECT_REQUEST_AT, &line->gathered_size);
    if (!line->gathered) {
        snprintf(line->why, sizeof line->why, "no memory for the proxy's answer");
        dial_fail(line, BK_NO_MEMORY, HTTP_STAGE_PROXY);
        return;
    }
    line->gathered_bytes = 0;
    http_response_init(&line->response, 0);
    line->response.connect_method = true;
    char *request = (char *)line->gathered + CONNECT_REQUEST_AT;
    size_t bytes = connect_request(line, request, line->gathered_size - CONNECT_REQUEST_AT);
    line_send(line, request, bytes);
}

static void proxy_refused(struct client_line *line, unsigned status)
{
    snprintf(line->why, sizeof line->why, "the proxy answered %u to CONNECT%s", status,
             status != 407 ? ""
             : line->pool->proxy->authorization_bytes > 0
                 ? ": it does not accept the user and password in HTTPS_PROXY"
                 : ": it wants a user and a password, HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT");
    dial_fail(line, status == 407 ? BK_UNAUTHENTICATED : BK_REFUSED, HTTP_STAGE_PROXY);
}

static void proxy_unclear(struct client_line *line, const char *why)
{
    char where[HTTP_EXPLAIN_BYTES] = "";
    if (line->response.malformed) {
        http_explain_response(line->gathered, line->gathered_bytes, where);
    }
    snprintf(line->why, sizeof line->why, "the proxy: %s%s%s", why, where[0] ? ": " : "", where);
}

void dial_proxy_received(struct client_line *line, uint8_t *at, size_t bytes)
{
    bool newline = memchr(at, '\n', bytes) != NULL;
    struct slice piece;
    size_t used;

    if (bytes > CONNECT_REQUEST_AT - line->gathered_bytes) {
        snprintf(line->why, sizeof line->why, "the proxy: the head of the answer is too long");
        dial_fail(line, BK_PROTOCOL, HTTP_STAGE_PROXY);
        return;
    }
    memcpy(line->gathered + line->gathered_bytes, at, bytes);
    line->gathered_bytes += bytes;
    if (!newline && line->gathered_bytes <= HTTP_HEAD_BYTES_MAX) {
        return;
    }
    enum http_step step = http_response_step(&line->response, line->gathered, line->gathered_bytes,
                                             &used, &line->head, &piece);
    line->gathered_bytes -= used;
    memmove(line->gathered, line->gathered + used, line->gathered_bytes);
    if (step == HTTP_STEP_HEAD && line->head.status / 100 != 2) {
        proxy_refused(line, line->head.status);
    } else if (step == HTTP_STEP_FAILED && line->response.err == BK_TOO_LARGE) {
        proxy_refused(line, line->head.status); /* its page of reasons is not read */
    } else if (step == HTTP_STEP_FAILED || (step == HTTP_STEP_HEAD && line->gathered_bytes > 0)) {
        proxy_unclear(line,
                      step == HTTP_STEP_HEAD ? "bytes came ahead of ours" : line->response.why);
        dial_fail(line, BK_PROTOCOL, HTTP_STAGE_PROXY);
    } else if (step == HTTP_STEP_HEAD && ring_op_busy(&line->send_op)) {
        snprintf(line->why, sizeof line->why, "the proxy answered before it was asked");
        dial_fail(line, BK_PROTOCOL, HTTP_STAGE_PROXY);
    } else if (step == HTTP_STEP_HEAD) {
        buffers_give(line->client->buffers, line->gathered, line->gathered_size);
        line->gathered = NULL;
        line_tls_begin(line);
    }
}

/* ---- connecting */

static const char *dialled_host(const struct client_line *line)
{
    return line->pool->proxy ? line->pool->proxy->host : line->pool->origin.host;
}

static void connected(struct client_line *line, struct line_try *try)
{
    struct http_client *client = line->client;

    line->handle = try->handle;
    try->handle = -1;
    line->peer = line->lookup.addresses[try->number];
    tries_cancel(line);
    if (client->config.resolver) {
        resolver_won(client->config.resolver, slice_str(dialled_host(line)), line->peer.family);
    }
    line_receive(line);
    if (line->pool->proxy && line->pool->origin.tls) {
        proxy_begin(line);
    } else if (line->pool->origin.tls) {
        line_tls_begin(line);
    } else {
        dial_done(line);
    }
}

static void try_next(struct client_line *line)
{
    struct line_try *try = NULL;

    for (unsigned i = 0; i < CLIENT_TRIES_MAX && !try; i++) {
        try = ring_op_busy(&line->tries[i].op) ? NULL : &line->tries[i];
    }
    line->next_try_ns = UINT64_MAX;
    if (!try || line->next_address == line->lookup.count) {
        return;
    }
    try->line = line;
    try->number = (uint8_t)line->next_address++;
    ring_connect(line->client->ring, &try->op, &line->lookup.addresses[try->number], &try->handle,
                 try_done);
    if (line->next_address < line->lookup.count) {
        line->next_try_ns = after_ms(line, EYEBALLS_MS);
        line_deadline(line, line->next_try_ns < line->dial_deadline_ns ? line->next_try_ns
                                                                       : line->dial_deadline_ns);
    }
}

static void try_failed(struct client_line *line, const struct line_try *try, enum bk_err err)
{
    const struct ring_address *address = &line->lookup.addresses[try->number];
    char text[ADDRESS_TEXT_BYTES];

    if (line->why_err == BK_OK) { /* the first address is the best one: its reason is told */
        address_format(address, text);
        snprintf(line->why, sizeof line->why, "%s port %u%s: %s", text, address->port,
                 line->pool->proxy ? " (proxy)" : "", bk_err_text(err));
        line->why_err = err;
        line->peer = *address;
    }
    if (line->next_address < line->lookup.count) {
        try_next(line);
    } else if (tries_busy(line) == 0) {
        dial_fail(line, line->why_err, HTTP_STAGE_CONNECT);
    }
}

/* The close of a loser's handle too. */
static void try_done(struct ring_op *op, const struct ring_result *result)
{
    struct line_try *try = bk_container_of(op, struct line_try, op);
    struct client_line *line = try->line;
    bool connection = !try->closing && result->value >= 0;

    if (line->state == LINE_CONNECT) {
        if (connection) {
            connected(line, try);
        } else {
            try_failed(line, try, (enum bk_err) - result->value);
        }
        return;
    }
    try->closing = connection;
    if (connection) { /* it lost the race */
        ring_close_handle(line->client->ring, &try->op, try->handle, try_done);
    } else {
        line_try_close(line);
    }
}

/* ---- addresses */

static void resolved(struct client_line *line)
{
    struct dns_lookup *lookup = &line->lookup;
    char why[POLICY_WHY_BYTES];

    if (!line->pool->proxy) {
        unsigned count =
            policy_filter(lookup->addresses, lookup->count, line->pool->origin.allow_private, why);
        if (count == 0) {
            snprintf(line->why, sizeof line->why, "%.*s", (int)sizeof line->why - 1, why);
            dial_fail(line, BK_FORBIDDEN, HTTP_STAGE_POLICY);
            return;
        }
        lookup->count = (uint8_t)count;
    }
    line->state = LINE_CONNECT;
    line->next_address = 0;
    try_next(line);
}

static void lookup_done(struct dns_lookup *lookup)
{
    struct client_line *line = bk_container_of(lookup, struct client_line, lookup);

    bk_assert(line->state == LINE_RESOLVE);
    if (lookup->err == BK_OK) {
        resolved(line);
    } else {
        snprintf(line->why, sizeof line->why, "%s", lookup->why);
        dial_fail(line, lookup->err, HTTP_STAGE_RESOLVE);
    }
}

/* Without a resolver: what needs no asking. */
static enum bk_err lookup_plain(struct dns_lookup *lookup, const char *host, uint16_t port)
{
    static const char *const local[] = {"127.0.0.1", "::1"};
    bool is_local = dns_is_localhost(host);

    lookup->count = is_local ? 2 : 1;
    for (unsigned i = 0; i < lookup->count; i++) {
        if (!address_parse(slice_str(is_local ? local[i] : host), &lookup->addresses[i])) {
            lookup->count = 0;
            lookup->err = BK_NOT_FOUND;
            snprintf(lookup->why, sizeof lookup->why, "there is no resolver for host names");
            return BK_NOT_FOUND;
        }
        lookup->addresses[i].port = port;
    }
    return BK_OK;
}

/* The proxy connects for us: of names we cannot know, of literal addresses we can. */
static bool refused_behind_proxy(struct client_line *line)
{
    const struct http_origin *origin = &line->pool->origin;
    struct ring_address address;
    char why[POLICY_WHY_BYTES];

    if (!address_parse(slice_str(origin->host), &address) ||
        policy_check(&address, origin->allow_private, why) == BK_OK) {
        return false;
    }
    snprintf(line->why, sizeof line->why, "%.*s", (int)sizeof line->why - 1, why);
    return true;
}

void dial_start(struct client_pool *pool, uint32_t connect_timeout_ms)
{
    struct http_client *client = pool->client;
    struct client_line *line = line_take(pool);
    uint16_t port = pool->proxy ? pool->proxy->port : pool->origin.port;

    counter_add(&client->stats.dials, 1);
    line->state = LINE_RESOLVE;
    list_push_back(&pool->dialling, &line->node);
    pool->dial_count++;
    client->dial_count++;
    line->dial_ns = ring_now_ns(client->ring);
    young_begin(line);
    line->dial_deadline_ns = after_ms(line, connect_timeout_ms);
    line_deadline(line, line->dial_deadline_ns);
    if (pool->proxy && refused_behind_proxy(line)) {
        dial_fail(line, BK_FORBIDDEN, HTTP_STAGE_POLICY);
        return;
    }
    const char *host = dialled_host(line);
    enum bk_err err;
    if (client->config.resolver) {
        err = resolver_lookup(client->config.resolver, &line->lookup, slice_str(host), port,
                              lookup_done);
    } else {
        err = line->lookup.err = lookup_plain(&line->lookup, host, port);
    }
    if (err != BK_AGAIN) {
        lookup_done(&line->lookup);
    }
}

void dial_deadline(struct client_line *line)
{
    uint64_t now_ns = ring_now_ns(line->client->ring);

    if (now_ns < line->dial_deadline_ns) {
        line_deadline(line, line->dial_deadline_ns);
        if (line->state == LINE_CONNECT && now_ns >= line->next_try_ns) {
            try_next(line);
        }
        return;
    }
    enum http_stage stage = line_stage(line);
    if (line->why_err == BK_OK) {
        snprintf(line->why, sizeof line->why, "%s",
                 stage == HTTP_STAGE_RESOLVE   ? "no answer from DNS in time"
                 : stage == HTTP_STAGE_CONNECT ? "no connection in time"
                 : stage == HTTP_STAGE_PROXY   ? "no answer from the proxy in time"
                                               : "the TLS handshake did not end in time");
    }
    dial_fail(line, line->why_err == BK_OK ? BK_TIMEOUT : line->why_err, stage);
}
