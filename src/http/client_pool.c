/* Origins, their queues, and who gets which connection. */
#include "http/client_private.h"

#define CONNS_SHARE 8U

/* ---- the table of origins */

static struct client_pool **bucket_of(struct http_client *client, const struct http_origin *origin)
{
    return &client->buckets[origin->key & (client->bucket_count - 1)];
}

static struct client_pool *pool_find(struct http_client *client, const struct http_origin *origin)
{
    struct client_pool *pool = *bucket_of(client, origin);
    while (pool && !http_origin_equal(&pool->origin, origin)) {
        pool = pool->next;
    }
    return pool;
}

static void pool_unlink(struct http_client *client, struct client_pool *pool)
{
    struct client_pool **at = bucket_of(client, &pool->origin);
    while (*at != pool) {
        at = &(*at)->next;
    }
    *at = pool->next;
}

static bool pool_unused(const struct client_pool *pool)
{
    return pool->call_count == 0 && pool->conn_count == 0;
}

bool pool_retired(const struct client_pool *pool)
{
    return tls_credentials_retired(pool->origin.credentials);
}

void pool_forget(struct client_pool *pool)
{
    bk_wipe(&pool->session, sizeof pool->session);
    if (pool->origin.credentials) {
        pool->client->credentials_count--;
        http_origin_give(&pool->origin);
    }
}

/* A slot: a new one, or that of the origin that was not called for the longest time. */
static struct client_pool *pool_slot(struct http_client *client)
{
    if (client->pools_used < client->config.origins_max) {
        return &client->pools[client->pools_used++];
    }
    struct list *node = list_pop_front(&client->unused);
    if (!node) {
        return NULL;
    }
    struct client_pool *pool = bk_container_of(node, struct client_pool, lru);
    bk_assert(pool_unused(pool));
    if (list_linked(&pool->dirty)) {
        list_remove(&pool->dirty);
    }
    pool_unlink(client, pool);
    pool_forget(pool);
    return pool;
}

/* The host goes into request lines for a proxy and to the resolver: only what base/url.h gives. */
static bool host_fits(const struct http_origin *origin)
{
    struct url url;
    const char *why;
    struct slice host = slice_of(origin->host, strnlen(origin->host, sizeof origin->host));
    return origin->port != 0 && url_parse_host(host, &url, &why) == BK_OK &&
           slice_equal(slice_str(url.host), host);
}

enum bk_err pool_take(struct http_client *client, const struct http_origin *origin,
                      struct client_pool **ret_pool)
{
    struct client_pool *pool = pool_find(client, origin);
    if (pool) {
        if (list_linked(&pool->lru)) {
            list_remove(&pool->lru);
        }
        *ret_pool = pool;
        return BK_OK;
    }
    if (!host_fits(origin)) {
        return BK_INVALID;
    }
    pool = pool_slot(client);
    if (!pool) {
        return BK_BUSY;
    }
    *pool = (struct client_pool){.client = client};
    http_origin_take(&pool->origin, origin);
    client->credentials_count += origin->credentials != NULL;
    pool->proxy = client->config.proxy ? http_proxy_for(client->config.proxy, origin) : NULL;
    if (pool->proxy) {
        memcpy(pool->url_start, "http://", 7);
        (void)url_authority(origin->host, origin->port, false, false, pool->url_start + 7);
    }
    list_init(&pool->idle);
    list_init(&pool->dialling);
    list_init(&pool->waiting);
    pool->next = *bucket_of(client, origin);
    *bucket_of(client, origin) = pool;
    *ret_pool = pool;
    return BK_OK;
}

void pool_release(struct client_pool *pool)
{
    if (pool_unused(pool)) {
        bk_assert(pool->waiting_count == 0 && pool->dial_count == 0);
        if (pool_retired(pool)) {
            pool_forget(pool);
        }
        list_push_back(&pool->client->unused, &pool->lru);
    }
}

void pool_dirty(struct client_pool *pool)
{
    if (pool->blocked) {
        pool->blocked = false;
        list_remove(&pool->dirty);
    }
    if (!list_linked(&pool->dirty)) {
        list_push_back(&pool->client->dirty, &pool->dirty);
    }
}

void pools_unblock(struct http_client *client)
{
    for (struct list *node; (node = list_pop_front(&client->blocked)) != NULL;) {
        bk_container_of(node, struct client_pool, dirty)->blocked = false;
        list_push_back(&client->dirty, node);
    }
}

/* ---- the queue of an origin */

void pool_trim(struct client_pool *pool)
{
    while (pool->dial_count > pool->waiting_count) {
        line_kill(bk_container_of(pool->dialling.next, struct client_line, node));
    }
}

static void call_timer(struct timer *timer)
{
    struct http_call *call = bk_container_of(timer, struct http_call, timer);
    struct client_pool *pool = call->pool;
    enum http_stage stage = HTTP_STAGE_QUEUED;

    if (!list_empty(&pool->dialling)) {
        stage = line_stage(bk_container_of(pool->dialling.next, struct client_line, node));
        pool->came = false; /* as with a dial that fails: the next one waits its turn */
    }
    pool_unqueue(call);
    call_fail(call, BK_TIMEOUT, stage, "no connection within %u ms (%s)",
              (unsigned)call->timeout_ms,
              stage == HTTP_STAGE_QUEUED ? "all are in use" : http_stage_text(stage));
    pool_trim(pool); /* what did not come up in all this time is given up with it */
}

static void call_timer_start(struct http_call *call)
{
    timer_start(call->client->wheel, &call->timer, call->deadline_ns, call_timer);
}

void pool_queue(struct http_call *call, bool front)
{
    struct client_pool *pool = call->pool;

    call->state = CALL_QUEUED;
    call->line = NULL;
    if (front) {
        list_push_back(pool->waiting.next, &call->node); /* before the first */
        call_timer_start(call);
    } else {
        list_push_back(&pool->waiting, &call->node);
    }
    pool->waiting_count++;
    pool->client->waiting_count++;
    counter_set(&pool->client->stats.waiting, pool->client->waiting_count);
    pool_dirty(pool);
}

void pool_unqueue(struct http_call *call)
{
    struct client_pool *pool = call->pool;

    bk_assert(call->state == CALL_QUEUED && pool->waiting_count > 0);
    list_remove(&call->node);
    timer_stop(pool->client->wheel, &call->timer);
    pool->waiting_count--;
    pool->client->waiting_count--;
    counter_set(&pool->client->stats.waiting, pool->client->waiting_count);
    if (pool->client->draining) {
        pool_dirty(pool); /* connections that were kept for it are not wanted any more */
    }
}

/* ---- who gets what */

/* The warmest connection; one that never served for a call that is sent for the second time. */
static struct client_line *pool_pick(struct client_pool *pool, bool fresh)
{
    for (struct list *node = pool->idle.prev; node != &pool->idle; node = node->prev) {
        struct client_line *line = bk_container_of(node, struct client_line, node);
        if (!fresh || !line->used) {
            return line;
        }
    }
    return NULL;
}

static void give_idle(struct client_pool *pool)
{
    struct list *node = pool->waiting.next;
    while (node != &pool->waiting && !list_empty(&pool->idle)) {
        struct http_call *call = bk_container_of(node, struct http_call, node);
        node = node->next;
        struct client_line *line = pool_pick(pool, call->repeated);
        if (line) {
            pool_unqueue(call);
            line_unidle(line);
            line_start_call(line, call);
        }
    }
}

/* Dials to hosts that never answer last until their timeout, so an origin must not need any of
 * those places: its first dial waits for young ones only, and not even for these when it was
 * reached the last time. An eighth of all connections is kept from those that were not. Beyond its
 * first one an origin has as many as half of those that are free. */
static bool has_dial(const struct client_pool *pool)
{
    const struct http_client *client = pool->client;
    const struct http_client_config *config = &client->config;
    unsigned counted = pool->came ? client->young_count : client->dial_count;
    unsigned free_count = counted < config->dials_max ? config->dials_max - counted : 0;
    if (pool->dial_count > 0) {
        return pool->dial_count < free_count / 2;
    }
    return pool->came || (client->young_count < config->dials_max &&
                          client->dial_count < config->conns_max - config->conns_max / CONNS_SHARE);
}

/* Whether another connection may be opened now; else whether that depends on other origins. */
static bool may_dial(struct client_pool *pool, bool *ret_blocked)
{
    struct http_client *client = pool->client;
    const struct http_client_config *config = &client->config;

    *ret_blocked = false;
    if (pool->dial_count >= config->dials_per_origin_max) {
        return false;
    }
    if (pool->conn_count >= config->conns_per_origin_max) {
        if (!list_empty(&pool->idle)) { /* used ones, and a call wants a new one */
            line_kill(bk_container_of(pool->idle.next, struct client_line, node));
        }
        return false;
    }
    if (!has_dial(pool)) {
        *ret_blocked = true;
        return false;
    }
    if (client->conn_count >= config->conns_max) {
        if (!list_empty(&client->idle)) { /* the coldest makes room */
            line_kill(bk_container_of(client->idle.next, struct client_line, lru));
        }
        *ret_blocked = true;
        return false;
    }
    return true;
}

/* Those that were queued since the last time have no timer yet; they are the last ones. */
static void start_timers(struct client_pool *pool)
{
    for (struct list *node = pool->waiting.prev; node != &pool->waiting; node = node->prev) {
        struct http_call *call = bk_container_of(node, struct http_call, node);
        if (timer_running(&call->timer)) {
            break;
        }
        call_timer_start(call);
    }
}

/* Nobody is going to want them: it ends, or its credentials are retired. */
static void end_unwanted(struct client_pool *pool)
{
    pool_trim(pool);
    while (!list_empty(&pool->idle)) {
        line_kill(bk_container_of(pool->idle.next, struct client_line, node));
    }
}

void pool_dispatch(struct client_pool *pool)
{
    bool blocked = false;

    give_idle(pool);
    if (pool->waiting_count == 0 && (pool->client->draining || pool_retired(pool))) {
        end_unwanted(pool);
    }
    while (pool->waiting_count > pool->dial_count && may_dial(pool, &blocked)) {
        struct http_call *first = bk_container_of(pool->waiting.next, struct http_call, node);
        dial_start(pool, first->connect_timeout_ms);
    }
    start_timers(pool);
    if (blocked && !list_linked(&pool->dirty)) {
        pool->blocked = true;
        list_push_back(&pool->client->blocked, &pool->dirty);
    }
}
