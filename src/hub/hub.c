#include "hub/hub.h"

#include "base/assert.h"
#include "base/hex.h"
#include "base/log.h"
#include "base/time.h"
#include "hub/data_key.h"
#include "hub/hub_private.h"
#include "hub/links/link_feed.h"
#include "hub/resources/token.h"
#include "ring/ring.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- names */

void hub_id_text(const uint8_t id[16], char ret_text[HUB_ID_TEXT_BYTES])
{
    static const uint8_t groups[5] = {4, 2, 2, 2, 6};
    char *at = ret_text;
    for (unsigned i = 0; i < 5; i++) {
        if (i > 0) {
            *at++ = '-';
        }
        hex_encode(id, groups[i], at);
        id += groups[i];
        at += 2 * groups[i];
    }
    *at = '\0';
}

bool hub_id_parse(struct slice text, uint8_t ret_id[16])
{
    static const uint8_t groups[5] = {4, 2, 2, 2, 6};
    if (text.bytes != HUB_ID_TEXT_BYTES - 1) {
        return false;
    }
    for (unsigned i = 0; i < 5; i++) {
        if ((i > 0 && text.at[-1] != '-') ||
            !hex_decode(slice_of(text.at, 2U * groups[i]), ret_id, groups[i])) {
            return false;
        }
        ret_id += groups[i];
        text.at += 2 * groups[i] + 1;
    }
    return true;
}

void hub_id_make(uint8_t ret_id[16])
{
    ring_entropy(ret_id, 16);
    ret_id[6] = (uint8_t)((ret_id[6] & 0x0f) | 0x40);
    ret_id[8] = (uint8_t)((ret_id[8] & 0x3f) | 0x80);
}

bool hub_split(struct slice text, struct slice *ret_canvas, struct slice *ret_name)
{
    size_t at = slice_find(text, 0);
    if (at == text.bytes) {
        return false;
    }
    *ret_canvas = slice_of(text.at, at);
    *ret_name = slice_of(text.at + at + 1, text.bytes - at - 1);
    return ret_canvas->bytes <= NAME_BYTES_MAX && ret_name->bytes <= NAME_BYTES_MAX;
}

/* The object with an id. */
static enum bk_err find_id(struct store_txn *txn, enum resource_kind kind, struct slice text,
                           struct hub_address *ret_address)
{
    uint8_t id[16];
    if (!hub_id_parse(text, id)) {
        return BK_NOT_FOUND;
    }
    struct key key;
    struct slice value, canvas, name;
    key_id(&key, id);
    enum bk_err err = store_get(txn, key_slice(&key), &value);
    if (err != BK_OK) {
        return err;
    }
    if (value.bytes < 1 || !hub_split(slice_skip(value, 1), &canvas, &name)) {
        return BK_CORRUPT;
    }
    if (value.at[0] != resource_kind_info(kind)->key) {
        return BK_NOT_FOUND;
    }
    slice_keep(canvas, ret_address->canvas, sizeof ret_address->canvas);
    slice_keep(name, ret_address->name, sizeof ret_address->name);
    return BK_OK;
}

enum bk_err hub_canvas(struct store_txn *txn, struct slice canvas,
                       char ret_canvas[NAME_BYTES_MAX + 1])
{
    struct hub_address address;
    if (canvas.bytes == 0) {
        canvas = slice_str(RESOURCE_CANVAS_DEFAULT);
    }
    if (!resource_name_valid(canvas)) {
        return BK_INVALID;
    }
    enum bk_err err = find_id(txn, RESOURCE_CANVAS, canvas, &address);
    slice_keep(err == BK_OK ? slice_str(address.name) : canvas, ret_canvas, NAME_BYTES_MAX + 1);
    return err == BK_NOT_FOUND ? BK_OK : err;
}

enum bk_err hub_record(struct store_txn *txn, enum resource_kind kind, struct slice canvas,
                       struct slice name, struct record *ret_record)
{
    struct key key;
    struct slice value;
    key_object(&key, resource_kind_info(kind)->key, canvas, name);
    enum bk_err err = store_get(txn, key_slice(&key), &value);
    return err == BK_OK ? record_decode(value, ret_record) : err;
}

enum bk_err hub_find(struct store_txn *txn, enum resource_kind kind, struct slice canvas,
                     struct slice name, struct hub_address *ret_address)
{
    const struct resource_kind_info *info = resource_kind_info(kind);
    if (info->key == 0 || !resource_name_valid(name)) {
        return BK_NOT_FOUND;
    }
    ret_address->canvas[0] = '\0';
    enum bk_err err = info->in_canvas ? hub_canvas(txn, canvas, ret_address->canvas) : BK_OK;
    if (err != BK_OK) {
        return err == BK_INVALID ? BK_NOT_FOUND : err;
    }
    struct key key;
    struct slice value;
    key_object(&key, info->key, slice_str(ret_address->canvas), name);
    err = store_get(txn, key_slice(&key), &value);
    if (err == BK_OK) {
        slice_keep(name, ret_address->name, sizeof ret_address->name);
        return BK_OK;
    }
    return err == BK_NOT_FOUND ? find_id(txn, kind, name, ret_address) : err;
}

enum bk_err hub_find_record(struct store_txn *txn, enum resource_kind kind, struct slice canvas,
                            struct slice name, struct hub_address *ret_address,
                            struct record *ret_record)
{
    enum bk_err err = hub_find(txn, kind, canvas, name, ret_address);
    return err == BK_OK ? hub_record(txn, kind, slice_str(ret_address->canvas),
                                     slice_str(ret_address->name), ret_record)
                        : err;
}

/* ---- opening */

enum bk_err hub_refuse(char *ret_why, enum bk_err err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(ret_why, HUB_WHY_BYTES, format, args);
    va_end(args);
    return err;
}

enum bk_err hub_open(const struct hub_config *config, struct hub **ret_hub,
                     char ret_why[HUB_WHY_BYTES])
{
    ret_why[0] = '\0';
    struct hub *hub = calloc(1, sizeof *hub);
    if (!hub) {
        return BK_NO_MEMORY;
    }
    hub->changed = config->changed;
    hub->destination_changed = config->destination_changed;
    hub->route_changed = config->route_changed;
    hub->destination_status = config->destination_status;
    hub->context = config->context;
    hub->linked = calloc(1, sizeof *hub->linked);
    hub->public_url = strdup(config->public_url ? config->public_url : "");
    hub->data_directory = strdup(config->data_directory);
    enum bk_err err = hub->public_url && hub->data_directory && hub->linked ? BK_OK : BK_NO_MEMORY;
    if (err == BK_OK) {
        err = store_open(config->data_directory, config->store_options, &hub->store, ret_why);
    }
    if (err == BK_OK) {
        err = hub_look_newer(hub->store, ret_why);
    }
    if (err == BK_OK) {
        err = data_key_open(hub, config->now_ns, ret_why);
    }
    if (err == BK_OK) {
        err = hub_migrate(hub->store);
        if (err != BK_OK) {
            hub_refuse(ret_why, err, "%s/state: cannot bring it up to this version: %s",
                       config->data_directory, bk_err_text(err));
        }
    }
    if (err == BK_OK) {
        err = token_bootstrap(hub, config->data_directory, config->now_ns);
        if (err != BK_OK) {
            hub_refuse(ret_why, err, "%s/admin.token: cannot write it: %s", config->data_directory,
                       bk_err_text(err));
        }
    }
    if (err != BK_OK) {
        hub_close(hub);
        return err;
    }
    *ret_hub = hub;
    return BK_OK;
}

void hub_close(struct hub *hub)
{
    if (!hub) {
        return;
    }
    store_close(hub->store);
    seal_fini(&hub->seal);
    free(hub->linked);
    free(hub->token_uses);
    free(hub->tokens_known);
    free(hub->public_url);
    free(hub->data_directory);
    free(hub);
}

void hub_watch(struct hub *hub, source_activity_fn *activity, void *context)
{
    hub->activity = activity;
    hub->activity_context = context;
}

/* ---- a wall clock that was set back */

/* Sets that lie further apart are no longer one: nothing of the first one is owed any more. */
#define CLOCK_APART_NS (30 * 86400 * NS_PER_SECOND)

static enum bk_err clock_read(struct store_txn *txn, struct clock_sets *ret_sets)
{
    struct slice value;
    enum bk_err err = store_get(txn, KEY_CLOCK_SETS, &value);
    *ret_sets = (struct clock_sets){0};
    if (err == BK_OK && value.bytes == 16) {
        ret_sets->low_ns = (int64_t)key_get_u64(value.at);
        ret_sets->high_ns = (int64_t)key_get_u64(value.at + 8);
    }
    return err == BK_NOT_FOUND ? BK_OK : err;
}

static enum bk_err clock_write(struct store_txn *txn, void *context)
{
    struct clock_sets *now = context, before;
    uint8_t at[16];
    enum bk_err err = clock_read(txn, &before);
    if (err != BK_OK) {
        return err;
    }
    if (before.high_ns != 0 && now->low_ns < before.high_ns + CLOCK_APART_NS) {
        now->low_ns = before.low_ns < now->low_ns ? before.low_ns : now->low_ns;
        now->high_ns = before.high_ns > now->high_ns ? before.high_ns : now->high_ns;
    }
    key_put_u64(at, (uint64_t)now->low_ns);
    key_put_u64(at + 8, (uint64_t)now->high_ns);
    return store_put(txn, KEY_CLOCK_SETS, slice_of(at, sizeof at));
}

static struct clock_sets clock_set_back(struct hub *hub, int64_t from_ns, int64_t to_ns)
{
    struct clock_sets sets = {to_ns, from_ns};
    enum bk_err err = store_update(hub->store, clock_write, &sets);
    if (err != BK_OK) {
        log_event(LOG_WARN, "that the wall clock was set back is not stored",
                  LOG_Z("why", bk_err_text(err)),
                  LOG_Z("effect", "events of meanwhile that are not delivered before the next "
                                  "start may not be"));
    }
    return sets;
}

struct clock_sets hub_clock_begin(struct hub *hub, int64_t from_ns, int64_t to_ns)
{
    struct clock_sets sets;
    struct store_txn *txn;
    if (to_ns < from_ns) {
        hub->clock = clock_set_back(hub, from_ns, to_ns);
    } else if (store_read(hub->store, &txn) == BK_OK) {
        hub->clock = clock_read(txn, &sets) == BK_OK ? sets : hub->clock;
        store_read_end(txn);
    }
    return hub->clock;
}

struct clock_sets hub_clock_was_set(struct hub *hub, int64_t from_ns, int64_t to_ns)
{
    hub->links_changed = hub->outbox_filled = hub->people_changed = true;
    return hub_clock_begin(hub, from_ns, to_ns);
}

void hub_issue_by(struct hub *hub, oidc_token_fn *issue, void *context)
{
    hub->oidc_token = issue;
    hub->oidc_context = context;
}

bool hub_take_issuer_wanted(struct hub *hub)
{
    bool wanted = hub->issuer_wanted;
    hub->issuer_wanted = false;
    return wanted;
}

bool hub_take_work(struct hub *hub)
{
    bool added = hub->work_added;
    hub->work_added = false;
    return added;
}

bool hub_is_new(const struct hub *hub)
{
    return hub->is_new;
}

struct linked_sources *hub_linked(struct hub *hub)
{
    return hub->linked;
}

struct store *hub_store(struct hub *hub)
{
    return hub->store;
}

/* ---- the feed at start */

struct feed {
    struct hub *hub;
    enum resource_kind kind;
    struct arena arena; /* of a route */
    struct compiler compiler;
    uint64_t fed;
    uint64_t failed;
    enum bk_err err;
};

static void feed_failed(struct feed *feed, struct slice canvas, struct slice name, enum bk_err err,
                        const char *message)
{
    feed->failed++;
    if (feed->failed <= 20) {
        log_event(LOG_ERROR, "object cannot be used",
                  LOG_Z("kind", resource_kind_info(feed->kind)->name), LOG_S("name", name),
                  LOG_S("canvas", canvas), LOG_Z("error", bk_err_text(err)),
                  LOG_Z("why", message ? message : ""));
    }
}

static enum bk_err feed_source(struct feed *feed, struct slice canvas, struct slice name,
                               const struct record *record, const char **ret_message)
{
    struct source_change change;
    enum bk_err err = compiler_run(&feed->compiler, canvas, name, record, &change, ret_message);
    if (err == BK_OK && feed->hub->changed) {
        feed->hub->changed(feed->hub->context, &change);
    } else if (err == BK_OK) {
        filter_sets_free(change.events, change.event_count);
        scheme_wipe(change.scheme);
        free(change.scheme);
    }
    return err;
}

static enum bk_err feed_destination(struct feed *feed, struct slice canvas, struct slice name,
                                    const struct record *record, const char **ret_message)
{
    struct destination *destination = NULL;
    enum bk_err err =
        compile_destination(&feed->compiler, canvas, name, record, &destination, ret_message);
    if (err == BK_OK && feed->hub->destination_changed) {
        feed->hub->destination_changed(feed->hub->context, record->number, destination);
    } else {
        destination_free(destination);
    }
    return err;
}

static enum bk_err feed_route(struct feed *feed, const struct record *record,
                              const char **ret_message)
{
    struct route_change change = {0};
    arena_reset(&feed->arena);
    enum bk_err err = compile_route(&feed->compiler, record, &feed->arena, &change, ret_message);
    if (err == BK_OK && feed->hub->route_changed) {
        feed->hub->route_changed(feed->hub->context, &change);
    } else if (err == BK_OK) {
        route_change_drop(&change);
    }
    return err;
}

static bool feed_one(void *context, struct slice key, struct slice value)
{
    struct feed *feed = context;
    struct record record;
    struct slice canvas = SLICE_EMPTY, name = SLICE_EMPTY;
    const char *message = "its record cannot be read";
    enum bk_err err =
        hub_split(slice_skip(key, 3), &canvas, &name) ? record_decode(value, &record) : BK_CORRUPT;
    if (err == BK_OK) {
        err = feed->kind == RESOURCE_EVENT_SOURCE
                  ? feed_source(feed, canvas, name, &record, &message)
              : feed->kind == RESOURCE_DESTINATION
                  ? feed_destination(feed, canvas, name, &record, &message)
                  : feed_route(feed, &record, &message);
    }
    if (err == BK_NO_MEMORY) {
        feed->err = err;
        return false;
    }
    if (err != BK_OK) {
        feed_failed(feed, canvas, name, err, message);
        return true;
    }
    feed->fed++;
    return true;
}

/* Each has had a number, and has four keys at least. */
uint64_t hub_sources_most(struct hub *hub)
{
    struct store_txn *txn;
    struct store_stats stats;
    uint64_t number = 0;
    store_stats(hub->store, &stats);
    if (store_read(hub->store, &txn) == BK_OK) {
        if (store_number(txn, KEY_NUMBER, &number) != BK_OK) {
            number = 0;
        }
        store_read_end(txn);
    }
    return number < stats.entries / 4 ? number : stats.entries / 4;
}

enum bk_err hub_feed_all(struct hub *hub, uint64_t *ret_fed, uint64_t *ret_failed)
{
    struct feed feed = {.hub = hub};
    struct store_txn *txn;
    struct key prefix;
    *ret_fed = *ret_failed = 0;
    enum bk_err err = store_read(hub->store, &txn);
    if (err != BK_OK) {
        return err;
    }
    err = compiler_init(&feed.compiler, hub, txn);
    arena_init(&feed.arena, 1U << 20);
    if (err == BK_OK) {
        static const enum resource_kind kinds[] = {RESOURCE_EVENT_SOURCE, RESOURCE_DESTINATION,
                                                   RESOURCE_ROUTE};
        for (unsigned i = 0; err == BK_OK && i < bk_array_length(kinds); i++) {
            feed.kind = kinds[i];
            key_kind(&prefix, resource_kind_info(feed.kind)->key);
            err = store_walk(txn, key_slice(&prefix), SLICE_EMPTY, feed_one, &feed);
        }
        compiler_fini(&feed.compiler);
    }
    arena_fini(&feed.arena);
    store_read_end(txn);
    *ret_fed = feed.fed;
    *ret_failed = feed.failed;
    return err == BK_OK ? feed.err : err;
}
