#include "http/client_private.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define FLUSH_ROUNDS 4U

const struct http_client_config http_client_defaults = {
    .conns_max = 1024,
    .conns_per_origin_max = 256,
    .dials_max = 128,
    .dials_per_origin_max = 16,
    .origins_max = 4096,
    .waiting_max = 16384,
    .idle_timeout_ms = 30000,
    .timeout_ms = 60000,
    .connect_timeout_ms = 10000,
    .proxy_timeout_ms = 10000,
    .tls_timeout_ms = 10000,
    .first_byte_timeout_ms = 60000,
    .body_bytes_max = 64U << 20,
};

const char *http_stage_text(enum http_stage stage)
{
    static const char *const texts[] = {
        [HTTP_STAGE_QUEUED] = "queue",  [HTTP_STAGE_RESOLVE] = "dns",
        [HTTP_STAGE_POLICY] = "policy", [HTTP_STAGE_CONNECT] = "connect",
        [HTTP_STAGE_PROXY] = "proxy",   [HTTP_STAGE_TLS] = "tls",
        [HTTP_STAGE_SEND] = "send",     [HTTP_STAGE_WAIT] = "wait",
        [HTTP_STAGE_BODY] = "body",     [HTTP_STAGE_DONE] = "done",
    };
    bk_assert((size_t)stage < bk_array_length(texts));
    return texts[stage];
}

/* ---- opening and closing */

/* The pools of slots lie in one map; parts that were never used stay untouched. */
static size_t map_layout(struct http_client *client, uint8_t *map)
{
    const struct http_client_config *config = &client->config;
    size_t bytes = 0;
#define PART(field, count, size)                                                                   \
    do {                                                                                           \
        client->field = (void *)(map ? map + bytes : NULL);                                        \
        bytes += ((size_t)(count) * (size) + 63U) & ~(size_t)63U;                                  \
    } while (0)
    PART(conns, config->conns_max, sizeof *client->conns);
    PART(pools, config->origins_max, sizeof *client->pools);
    PART(buckets, client->bucket_count, sizeof *client->buckets);
    PART(engines, config->conns_max, client->engine_bytes);
#undef PART
    return bytes;
}

enum bk_err http_client_open(struct ring *ring, struct timer_wheel *wheel, struct buffers *buffers,
                             const struct http_client_config *config,
                             struct http_client **ret_client)
{
    struct http_client *client = calloc(1, sizeof *client);
    if (!client) {
        return BK_NO_MEMORY;
    }
    client->ring = ring;
    client->wheel = wheel;
    client->buffers = buffers;
    client->config = *config;
    client->bucket_count = 64;
    while (client->bucket_count < config->origins_max) {
        client->bucket_count *= 2;
    }
    client->engine_bytes = (tls_client_bytes() + 63U) & ~(size_t)63U;
    client->map_bytes = map_layout(client, NULL);
    uint8_t *map = mmap(NULL, client->map_bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED) {
        free(client);
        return BK_NO_MEMORY;
    }
    (void)map_layout(client, map);
    list_init(&client->dirty);
    list_init(&client->blocked);
    list_init(&client->finished);
    list_init(&client->idle);
    list_init(&client->starved);
    list_init(&client->unused);
    list_init(&client->young);
    *ret_client = client;
    return BK_OK;
}

void http_client_close(struct http_client *client)
{
    bk_assert(http_client_idle(client));
    timer_stop(client->wheel, &client->wake);
    timer_stop(client->wheel, &client->young_timer);
    for (unsigned i = 0; i < client->pools_used; i++) {
        pool_forget(&client->pools[i]);
    }
    munmap(client->conns, client->map_bytes);
    free(client);
}

bool http_client_idle(const struct http_client *client)
{
    return client->call_count == 0 && client->conn_count == 0;
}

const struct http_client_stats *http_client_stats(const struct http_client *client)
{
    return &client->stats;
}

static void wake_fire(struct timer *timer)
{
    (void)timer; /* the turn it made is all that was wanted */
}

static void client_wake(struct http_client *client)
{
    if (!timer_running(&client->wake)) {
        timer_start(client->wheel, &client->wake, ring_now_ns(client->ring), wake_fire);
    }
}

/* ---- calls */

static uint32_t smaller_ms(uint32_t wanted_ms, uint32_t most_ms)
{
    return wanted_ms > 0 && wanted_ms < most_ms ? wanted_ms : most_ms;
}

/* Defaults are filled in once, so that the rest need not look. */
static void call_defaults(struct http_call *call, const struct http_client_config *config)
{
    call->timeout_ms = smaller_ms(call->timeout_ms, config->timeout_ms);
    call->connect_timeout_ms = smaller_ms(call->connect_timeout_ms, config->connect_timeout_ms);
    call->first_byte_timeout_ms =
        smaller_ms(call->first_byte_timeout_ms, config->first_byte_timeout_ms);
    if (call->body_bytes_max == 0 || call->body_bytes_max > config->body_bytes_max) {
        call->body_bytes_max = config->body_bytes_max;
    }
}

static bool call_has_request(const struct http_call *call)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < call->piece_count; i++) {
        if (call->pieces[i].bytes > INT32_MAX / 2) {
            return false;
        }
        bytes += call->pieces[i].bytes;
    }
    return call->piece_count > 0 && call->pieces[0].bytes > 0 && bytes <= INT32_MAX / 2;
}

void http_call_start(struct http_client *client, struct http_call *call)
{
    bk_assert(call->state == CALL_NONE && !list_linked(&call->node));
    bk_assert(call->done && call->origin && call->piece_count <= HTTP_CALL_PIECES);
    memset(&call->reply, 0, sizeof call->reply);
    call->client = client;
    call->pool = NULL;
    call->line = NULL;
    call->kept = NULL;
    call->repeated = false;
    call_defaults(call, &client->config);
    call->started_ns = ring_now_ns(client->ring);
    call->deadline_ns = call->started_ns + call->timeout_ms * (uint64_t)NS_PER_MS;
    client->call_count++;
    counter_add(&client->stats.calls, 1);
    if (!call_has_request(call)) {
        call_fail(call, BK_INVALID, HTTP_STAGE_QUEUED, "the request is empty or over 1 GiB");
        return;
    }
    if (client->draining) {
        call_fail(call, BK_CANCELLED, HTTP_STAGE_QUEUED, "the server is stopping");
        return;
    }
    if (client->waiting_count >= client->config.waiting_max) {
        call_fail(call, BK_BUSY, HTTP_STAGE_QUEUED, "too many calls wait for a connection");
        return;
    }
    enum bk_err err = pool_take(client, call->origin, &call->pool);
    if (err != BK_OK) {
        call_fail(call, err, HTTP_STAGE_QUEUED,
                  err == BK_BUSY ? "too many different servers are being called"
                                 : "the host is no host name or address");
        return;
    }
    call->pool->call_count++;
    pool_queue(call, false);
}

void call_finish(struct http_call *call)
{
    struct http_client *client = call->client;
    struct client_pool *pool = call->pool;
    uint8_t *kept = call->kept;
    size_t kept_bytes = call->kept_bytes;

    bk_assert(call->state != CALL_NONE && !list_linked(&call->node));
    bk_assert(!timer_running(&call->timer));
    call->reply.total_ns = ring_now_ns(client->ring) - call->started_ns;
    counter_add(call->reply.err == BK_OK ? &client->stats.answers : &client->stats.failures, 1);
    call->state = CALL_NONE;
    call->kept = NULL;
    bk_assert(client->call_count > 0);
    client->call_count--;
    if (pool) {
        bk_assert(pool->call_count > 0);
        pool->call_count--;
        pool_release(pool);
    }
    call->done(call); /* may have freed it, or started it again */
    if (kept) {
        buffers_give(client->buffers, kept, kept_bytes);
    }
}

void call_finish_later(struct http_call *call)
{
    bk_assert(!call->line && !timer_running(&call->timer));
    call->state = CALL_FINISHED;
    list_push_back(&call->client->finished, &call->node);
}

void call_fail(struct http_call *call, enum bk_err err, enum http_stage stage, const char *why, ...)
{
    va_list args;
    bk_assert(err != BK_OK);
    call->reply.err = err;
    call->reply.stage = stage;
    call->reply.head = NULL;
    call->reply.body = SLICE_EMPTY;
    va_start(args, why);
    vsnprintf(call->reply.why, sizeof call->reply.why, why, args);
    va_end(args);
    call_finish_later(call);
}

void http_call_cancel(struct http_client *client, struct http_call *call)
{
    switch ((enum call_state)call->state) {
    case CALL_QUEUED:
        pool_unqueue(call);
        call_fail(call, BK_CANCELLED, HTTP_STAGE_QUEUED, "cancelled");
        if (client->draining) {
            pool_trim(call->pool);
        }
        client_wake(client);
        break;
    case CALL_ACTIVE:
        line_fail(call->line, BK_CANCELLED, "cancelled");
        client_wake(client);
        break;
    case CALL_ENDING:
        if (call->line->again) {
            call->line->again = false;
            call->reply.err = BK_CANCELLED;
            call->reply.stage = HTTP_STAGE_QUEUED;
            snprintf(call->reply.why, sizeof call->reply.why, "cancelled");
        }
        break;
    case CALL_NONE:
    case CALL_FINISHED:
        break;
    default:
        bk_never("a state of a call");
    }
}

/* ---- once per turn */

static void run_finished(struct http_client *client)
{
    struct list batch;
    struct list *node;

    list_init(&batch);
    list_splice_back(&batch, &client->finished);
    while ((node = list_pop_front(&batch)) != NULL) {
        call_finish(bk_container_of(node, struct http_call, node));
    }
}

static void dispatch_dirty(struct http_client *client)
{
    struct list batch;
    struct list *node;

    list_init(&batch);
    list_splice_back(&batch, &client->dirty);
    while ((node = list_pop_front(&batch)) != NULL) {
        pool_dispatch(bk_container_of(node, struct client_pool, dirty));
    }
}

static void feed_starved(struct http_client *client)
{
    while (!list_empty(&client->starved) && !ring_buffers_low(client->ring)) {
        struct list *node = list_pop_front(&client->starved);
        line_receive(bk_container_of(node, struct client_line, starved));
    }
}

void http_client_flush(struct http_client *client)
{
    for (unsigned i = 0; i < FLUSH_ROUNDS; i++) {
        if (list_empty(&client->finished) && list_empty(&client->dirty)) {
            break;
        }
        run_finished(client);
        dispatch_dirty(client);
    }
    if (!list_empty(&client->finished) || !list_empty(&client->dirty)) {
        client_wake(client);
    }
    feed_starved(client);
}

/* ---- ending */

void http_client_drain(struct http_client *client)
{
    client->draining = true;
    for (struct list *node = client->idle.next, *next; node != &client->idle; node = next) {
        struct client_line *line = bk_container_of(node, struct client_line, lru);
        next = node->next;
        if (line->pool->waiting_count == 0) { /* else it is about to be given a call */
            line_kill(line);
        }
    }
    for (unsigned i = 0; i < client->pools_used; i++) {
        if (client->pools[i].dial_count > 0) {
            pool_trim(&client->pools[i]);
        }
    }
}

/* Their connections one by one: each may be the last one of its origin. */
void http_client_forget(struct http_client *client)
{
    if (client->credentials_count == 0) {
        return;
    }
    for (unsigned i = 0; i < client->conns_used; i++) {
        struct client_line *line = &client->conns[i];
        if (line->state == LINE_IDLE && pool_retired(line->pool)) {
            line_kill(line);
        }
    }
    for (unsigned i = 0; i < client->pools_used; i++) {
        struct client_pool *pool = &client->pools[i];
        if (pool_retired(pool) && list_linked(&pool->lru)) {
            pool_forget(pool);
        }
    }
}
