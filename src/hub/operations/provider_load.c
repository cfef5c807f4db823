/* provider_load.c - what an operation needs of the objects when it is due: the credential and the
 * header that carries it, and the facts of its object as they are now. */
#include "base/base64.h"
#include "base/hex.h"
#include "base/time.h"
#include "hub/keys/oidc_issuer.h"
#include "hub/links/entry.h"
#include "hub/operations/former.h"
#include "hub/operations/integration_view.h"
#include "hub/operations/provider_work_private.h"
#include "hub/people/people.h"
#include "hub/people/people_index.h"
#include "store/keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <yyjson.h>

/* ---- the credential */

/* Under what a token that was bought is kept: the one for a former address is another one. */
const uint8_t *work_bought_for(const struct operation *operation, const struct record *record)
{
    return operation->former_spec.bytes > 0 ? operation->object : record->id;
}

/* A GitHub App: a token that was bought before, or what is needed to buy one. */
static enum bk_err load_app(struct hub *hub, const struct integration_view *view,
                            const uint8_t *bought_for_id, struct slice private_key,
                            int64_t now_seconds, struct arena *arena,
                            struct operation_ground *ground)
{
    struct slice installation = integration_text(view, "auth/app/installationId");
    struct slice known = app_token_find(&hub->app_tokens, bought_for_id, now_seconds);
    if (known.bytes > 0) {
        ground->credential = slice_of(arena_copy(arena, known.at, known.bytes), known.bytes);
        return BK_OK;
    }
    const char *why = github_app_jwt(private_key, integration_text(view, "auth/app/appId"),
                                     now_seconds, arena, &ground->login.bearer);
    if (why) {
        snprintf(ground->why, sizeof ground->why, "the private key of the app: %s", why);
        return BK_INVALID;
    }
    ground->login.target =
        slice_str(arena_printf(arena, "/app/installations/%.*s/access_tokens",
                               (int)installation.bytes, (const char *)installation.at));
    return BK_OK;
}

/* A token that we issue for this call: whoever checks it knows the integration by its id. */
static enum bk_err load_oidc(struct hub *hub, const struct integration_view *view,
                             const struct record *record, struct slice canvas, struct slice name,
                             int64_t now_seconds, struct arena *arena,
                             struct operation_ground *ground)
{
    struct slice audience = integration_text(view, "auth/oidc/audience");
    char id[HUB_ID_TEXT_BYTES], subject[HUB_ID_TEXT_BYTES + 32], claims[2 * NAME_BYTES_MAX + 64];
    struct buf text;
    hub_id_text(record->id, id);
    snprintf(subject, sizeof subject, "app-installation:%s", id);
    snprintf(claims, sizeof claims, "\"canvas\":\"%.*s\",\"integration\":\"%.*s\"",
             (int)canvas.bytes, (const char *)canvas.at, (int)name.bytes, (const char *)name.at);
    struct oidc_token token = {.subject = slice_str(subject),
                               .audience = audience.bytes > 0 ? audience : slice_str(id),
                               .claims = slice_str(claims)};
    buf_init(&text, 16384);
    enum bk_err err = hub->oidc_token
                          ? hub->oidc_token(hub->oidc_context, &token, now_seconds, &text)
                          : BK_NOT_FOUND;
    if (err == BK_OK) {
        ground->auth = (struct provider_auth){"Authorization", "Bearer "};
        ground->credential = slice_of(arena_copy(arena, text.at, text.bytes), text.bytes);
    } else if (err == BK_NOT_FOUND) { /* it is being made */
        hub->issuer_wanted = true;
        err = BK_BUSY;
    }
    buf_fini(&text);
    return err;
}

/* The credential as a text, before it is one for a header. ground->why after BK_INVALID. */
static enum bk_err open_credential(struct hub *hub, struct store_txn *txn,
                                   const struct integration_view *view, const struct record *record,
                                   const struct operation *operation, struct arena *arena,
                                   struct operation_ground *ground, struct slice *ret_text)
{
    if (operation->former_spec.bytes == 0) {
        return integration_open_credential(hub, txn, view, record, operation->integration_canvas,
                                           arena, ground->why, ret_text);
    }
    if (operation->former_credential.bytes > 0) {
        return former_open(hub, operation, arena, ret_text);
    }
    snprintf(ground->why, sizeof ground->why,
             "integration \"%.*s\" leads elsewhere now, and what it called %.*s with was gone "
             "already: remove the hook to %.*s there by hand",
             (int)operation->integration.bytes, (const char *)operation->integration.at,
             (int)operation->former_base.bytes, (const char *)operation->former_base.at,
             (int)operation->facts.hook_url.bytes, (const char *)operation->facts.hook_url.at);
    return BK_INVALID;
}

/* The account whose token is used: it can be renewed no more, as its status says. What waits for
 * that says so as well, rather than what a provider says to a token that is over. */
static enum bk_err check_account(struct store_txn *txn, const struct operation *operation,
                                 struct operation_ground *ground)
{
    struct hub_address address;
    struct record record;
    struct json_tree tree;
    struct slice name = operation->integration;
    enum bk_err err =
        people_index_newest(txn, operation->integration_canvas, name, operation->canvas, &address);
    if (err == BK_OK) {
        err = hub_record(txn, RESOURCE_INTEGRATION_USER, slice_str(address.canvas),
                         slice_str(address.name), &record);
    }
    if (err != BK_OK) {
        return err;
    }
    json_tree_init(&tree);
    yyjson_mut_val *status = work_read_status(txn, record.id, &tree);
    if (slice_equal(json_text(yyjson_mut_obj_get(status, "state")), SLICE("error")) &&
        slice_equal(json_text(yyjson_mut_obj_get(status, "reason")), SLICE("auth"))) {
        snprintf(ground->why, sizeof ground->why,
                 "account \"%s\" has to be connected again, see its status: open /auth/%.*s on the "
                 "admin address",
                 address.name, (int)name.bytes, (const char *)name.at);
        err = BK_INVALID;
    }
    json_tree_fini(&tree);
    return err;
}

/* The token of somebody who signed in. */
static enum bk_err open_token(struct hub *hub, struct store_txn *txn,
                              const struct integration_view *view, const struct record *record,
                              const struct operation *operation, struct arena *arena,
                              struct operation_ground *ground, struct slice *ret_text)
{
    struct slice name = operation->integration;
    if (operation->former_spec.bytes > 0) {
        return open_credential(hub, txn, view, record, operation, arena, ground, ret_text);
    }
    enum bk_err err = check_account(txn, operation, ground);
    if (err == BK_OK) {
        err = people_token(hub, txn, operation->integration_canvas, name, operation->canvas, arena,
                           ret_text);
    }
    if (err == BK_NOT_FOUND) {
        snprintf(ground->why, sizeof ground->why,
                 "nobody has connected the integration: open /auth/%.*s on the admin address",
                 (int)name.bytes, (const char *)name.at);
        return BK_INVALID;
    }
    return err;
}

/* The credential and the header that carries it. */
static enum bk_err load_auth(struct hub *hub, struct store_txn *txn,
                             const struct integration_view *view, const struct record *record,
                             const struct operation *operation, int64_t now_ns, struct arena *arena,
                             struct operation_ground *ground)
{
    struct slice canvas = operation->integration_canvas, name = operation->integration;
    struct slice use = integration_text(view, "auth/use"), text;
    ground->auth = view->provider->token;
    if (slice_equal(use, SLICE("AUTH_TYPE_NONE"))) {
        return BK_OK;
    }
    if (slice_equal(use, SLICE("AUTH_TYPE_OIDC"))) {
        return load_oidc(hub, view, record, canvas, name, now_ns / NS_PER_SECOND, arena, ground);
    }
    if (slice_equal(use, SLICE("AUTH_TYPE_OAUTH"))) {
        ground->auth = view->provider->oauth.header ? view->provider->oauth : ground->auth;
        return open_token(hub, txn, view, record, operation, arena, ground, &ground->credential);
    }
    enum bk_err err = open_credential(hub, txn, view, record, operation, arena, ground, &text);
    if (err != BK_OK) {
        return err;
    }
    if (slice_equal(use, SLICE("AUTH_TYPE_APP"))) {
        return load_app(hub, view, work_bought_for(operation, record), text, now_ns / NS_PER_SECOND,
                        arena, ground);
    }
    for (size_t i = 0; i < text.bytes; i++) {
        if (text.at[i] < 0x21 || text.at[i] > 0x7e) {
            snprintf(
                ground->why, sizeof ground->why,
                "the credential has a byte that no token has: look for a line feed at its end");
            return BK_INVALID;
        }
    }
    if (slice_equal(use, SLICE("AUTH_TYPE_BASIC"))) {
        struct slice user = integration_text(view, "auth/basic/username");
        const char *pair = arena_printf(arena, "%.*s:%.*s", (int)user.bytes, (const char *)user.at,
                                        (int)text.bytes, (const char *)text.at);
        char *encoded = pair ? arena_take(arena, BASE64_ENCODED(strlen(pair)) + 1) : NULL;
        if (!encoded) {
            return BK_NO_MEMORY;
        }
        size_t bytes = base64_encode(pair, strlen(pair), BASE64_STANDARD, encoded);
        ground->auth = (struct provider_auth){"Authorization", "Basic "};
        ground->secret = text;
        text = slice_of(encoded, bytes);
    }
    ground->credential = text;
    return BK_OK;
}

/* ---- what an operation needs */

enum bk_err work_load_source(struct hub *hub, struct store_txn *txn,
                             const struct operation *operation, struct arena *arena,
                             struct operation_ground *ground)
{
    struct record record;
    struct source_input input;
    struct json_tree tree;
    enum bk_err err =
        hub_record(txn, RESOURCE_EVENT_SOURCE, operation->canvas, operation->name, &record);
    if (err != BK_OK) {
        return err;
    }
    if (memcmp(record.id, operation->object, sizeof record.id) != 0) {
        return BK_NOT_FOUND; /* another one of the same name */
    }
    err = source_input_decode(record.compiled, &input);
    if (err != BK_OK || input.secret_count == 0) {
        return err == BK_OK ? BK_CORRUPT : err;
    }
    err =
        integration_open_slot(hub, &record, input.secrets[0].field, arena, &ground->facts.hook_key);
    if (err != BK_OK) {
        return err;
    }
    struct slice *events = arena_take(arena, (input.event_count + 1U) * sizeof *events);
    struct slice rest = input.events_packed;
    for (unsigned i = 0; events && i < input.event_count; i++) {
        struct filters_input filters;
        if (!filters_input_decode(&rest, &filters)) {
            return BK_CORRUPT;
        }
        if (filters.type_count > 0 && ground->facts.event_count < PROVIDER_EVENTS_MAX) {
            struct slice type = filters.types[0];
            events[ground->facts.event_count++] =
                slice_of(arena_copy(arena, type.at, type.bytes), type.bytes);
        }
    }
    ground->facts.events = events;
    json_tree_init(&tree);
    yyjson_mut_val *status = work_read_status(txn, record.id, &tree);
    char print[17];
    work_fingerprint(ground->facts.hook_key, print);
    yyjson_mut_val *known = status ? yyjson_mut_obj_get(status, "keyFingerprint") : NULL;
    yyjson_mut_val *hook = status ? yyjson_mut_obj_get(status, "hookId") : NULL;
    if (yyjson_mut_is_str(hook)) {
        size_t bytes = yyjson_mut_get_len(hook);
        ground->facts.hook_id = slice_of(arena_copy(arena, yyjson_mut_get_str(hook), bytes), bytes);
    }
    /* The public address may be another one than when the operation was added. */
    ground->facts.hook_url =
        slice_str(arena_printf(arena, "%s/hooks/%.*s", hub->public_url, (int)input.path.bytes,
                               (const char *)input.path.at));
    ground->facts.key_is_current =
        yyjson_mut_is_str(known) && slice_equal(json_text(known), slice_str(print));
    json_tree_fini(&tree);
    return events ? BK_OK : BK_NO_MEMORY;
}

struct slice work_recall(const struct operation *operation, const char *name)
{
    for (unsigned i = 0; i < operation->memory.count; i++) {
        if (slice_equal(operation->memory.notes[i].name, slice_str(name))) {
            return operation->memory.notes[i].value;
        }
    }
    return SLICE_EMPTY;
}

static struct slice kept(struct arena *arena, struct slice text)
{
    char *copy = arena_copy(arena, text.at, text.bytes);
    return slice_of(copy, copy ? text.bytes : 0);
}

/* A message goes where its link leads now: perhaps by another integration than when it was written.
 */
static enum bk_err follow_link(struct store_txn *txn, struct operation *operation,
                               const struct integration_view *link, struct arena *arena)
{
    struct record record;
    struct slice canvas = operation->canvas;
    struct slice name = integration_text(link, "integration/name");
    enum bk_err err = hub_record(txn, RESOURCE_INTEGRATION, canvas, name, &record);
    if (err == BK_NOT_FOUND) {
        canvas = SLICE(RESOURCE_CANVAS_DEFAULT);
        err = hub_record(txn, RESOURCE_INTEGRATION, canvas, name, &record);
    }
    if (err == BK_OK && !(slice_equal(name, operation->integration) &&
                          slice_equal(canvas, operation->integration_canvas))) {
        operation->integration = kept(arena, name);
        operation->integration_canvas = canvas;
    }
    return err;
}

/* A message: the entry's text, and the channel as it was found, else as it was written. */
static enum bk_err load_post(struct store_txn *txn, struct operation *operation,
                             struct arena *arena, struct operation_ground *ground)
{
    struct record record;
    struct integration_view link;
    struct json_tree tree;
    enum bk_err err =
        hub_record(txn, RESOURCE_INTEGRATION_LINK, operation->canvas, operation->name, &record);
    if (err == BK_OK) {
        err = integration_view_open(record.spec, &link);
    }
    if (err != BK_OK) {
        return err;
    }
    json_tree_init(&tree);
    yyjson_mut_val *status = work_read_status(txn, record.id, &tree);
    yyjson_mut_val *found = status ? yyjson_mut_obj_get(status, "resourceId") : NULL;
    struct slice channel =
        yyjson_mut_is_str(found) ? json_text(found) : integration_text(&link, "settings/channel");
    ground->facts.channel = kept(arena, channel);
    json_tree_fini(&tree);
    struct entry_link by = {record.id, kept(arena, integration_text(&link, "team/name"))};
    err = follow_link(txn, operation, &link, arena);
    integration_view_close(&link);
    if (err != BK_OK) {
        return err;
    }
    char once[25];
    hex_encode(operation->object, 12, once);
    ground->facts.once = slice_of(arena_copy(arena, once, 24), 24);
    ground->facts.since_seconds = operation->created_ns / NS_PER_SECOND;
    struct slice entry = work_recall(operation, "entry");
    char number[24];
    snprintf(number, sizeof number, "%.*s", (int)entry.bytes, (const char *)entry.at);
    return entries_message(txn, strtoull(number, NULL, 10), operation->object, &by, arena,
                           &ground->facts.text);
}

/* What was done is looked at once more: not where a source has that very hook again, whose own
 * operation does so. */
static bool is_wanted_again(struct store_txn *txn, const struct operation *removal)
{
    struct slice url = removal->facts.hook_url, canvas, name, value;
    struct record record;
    struct source_input input;
    struct key key;
    size_t at = url.bytes;
    while (at > 0 && url.at[at - 1] != '/') {
        at--; /* to the path of the source */
    }
    key_path(&key, slice_skip(url, at));
    return store_get(txn, key_slice(&key), &value) == BK_OK && hub_split(value, &canvas, &name) &&
           hub_record(txn, RESOURCE_EVENT_SOURCE, canvas, name, &record) == BK_OK &&
           source_input_decode(record.compiled, &input) == BK_OK &&
           slice_equal(input.integration, removal->integration) &&
           slice_equal(input.integration_canvas, removal->integration_canvas) &&
           slice_equal(input.resource_type, removal->facts.resource_type) &&
           slice_equal(input.resource, removal->facts.resource);
}

enum bk_err provider_work_load(void *context, struct store_txn *txn, struct operation *operation,
                               int64_t now_ns, struct arena *arena,
                               struct operation_ground *ret_ground)
{
    struct hub *hub = context;
    struct record record;
    struct integration_view view;
    *ret_ground = (struct operation_ground){.provider = provider_find(operation->provider),
                                            .facts = operation->facts};
    enum bk_err err =
        operation->intent == PROVIDER_POST ? load_post(txn, operation, arena, ret_ground) : BK_OK;
    if (err != BK_OK) {
        return err;
    }
    err = work_integration_of(txn, operation, &record);
    bool former = operation->former_spec.bytes > 0;
    if (err == BK_NOT_FOUND && former) {
        record = (struct record){.spec = SLICE_EMPTY};
        err = BK_OK;
    }
    bool again =
        operation->intent == PROVIDER_HOOK_REMOVE && operation->state == OPERATION_DONE && !former;
    bool by_address = ret_ground->provider && ret_ground->provider->hooks;
    if (again && err == BK_OK && by_address && is_wanted_again(txn, operation)) {
        err = BK_NOT_FOUND;
    }
    if (again && err != BK_OK) {
        return err;
    }
    if (err == BK_NOT_FOUND && operation->intent == PROVIDER_HOOK_REMOVE) {
        snprintf(ret_ground->why, sizeof ret_ground->why,
                 "integration \"%.*s\" is gone: remove the hook to %.*s by hand",
                 (int)operation->integration.bytes, (const char *)operation->integration.at,
                 (int)operation->facts.hook_url.bytes, (const char *)operation->facts.hook_url.at);
        return BK_INVALID;
    }
    if (err == BK_OK) {
        err = integration_view_open(former ? operation->former_spec : record.spec, &view);
    }
    if (err != BK_OK) {
        return err;
    }
    bool same = operation->kind != RESOURCE_INTEGRATION ||
                memcmp(record.id, operation->object, sizeof record.id) == 0;
    if (!view.provider || !same) {
        integration_view_close(&view);
        return BK_NOT_FOUND;
    }
    ret_ground->provider = view.provider;
    ret_ground->base = integration_api_base(&view, arena);
    ret_ground->allow_private = integration_flag(&view, "allowPrivate", false);
    err = load_auth(hub, txn, &view, &record, operation, now_ns, arena, ret_ground);
    if (err == BK_OK && operation->intent == PROVIDER_HOOK_ENSURE) {
        err = work_load_source(hub, txn, operation, arena, ret_ground);
    }
    integration_view_close(&view);
    return err == BK_OK && arena->overflow ? BK_NO_MEMORY : err;
}

/* The integration of an operation. */
enum bk_err work_integration_of(struct store_txn *txn, const struct operation *operation,
                                struct record *ret_record)
{
    return hub_record(txn, RESOURCE_INTEGRATION, operation->integration_canvas,
                      operation->integration, ret_record);
}

enum bk_err provider_work_logged_in(void *context, const struct operation *operation,
                                    yyjson_mut_val *json, int64_t now_ns, struct arena *arena,
                                    struct operation_ground *ground)
{
    struct hub *hub = context;
    struct store_txn *txn;
    struct record record;
    yyjson_mut_val *token = provider_get(json, "token"), *until = provider_get(json, "expires_at");
    int64_t expires_ns = now_ns + 3600 * NS_PER_SECOND;
    if (!yyjson_mut_is_str(token) || yyjson_mut_get_len(token) == 0) {
        return BK_PROTOCOL;
    }
    struct slice text = json_text(token);
    ground->credential = slice_of(arena_copy(arena, text.at, text.bytes), text.bytes);
    if (yyjson_mut_is_str(until) && time_parse_rfc3339(json_text(until), &expires_ns) != BK_OK) {
        return BK_PROTOCOL;
    }
    enum bk_err err = store_read(hub->store, &txn);
    if (err == BK_OK) {
        if (work_integration_of(txn, operation, &record) == BK_OK) {
            app_token_keep(&hub->app_tokens, work_bought_for(operation, &record), text,
                           expires_ns / NS_PER_SECOND);
        }
        store_read_end(txn);
    }
    return err;
}
