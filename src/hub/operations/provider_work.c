#include "hub/operations/provider_work.h"

#include "base/base64.h"
#include "base/hex.h"
#include "base/sha256.h"
#include "base/time.h"
#include "hub/keys/oidc_issuer.h"
#include "hub/links/entry.h"
#include "hub/links/link.h"
#include "hub/operations/former.h"
#include "hub/operations/integration_view.h"
#include "hub/people/people.h"
#include "hub/resources/apply_build.h"
#include "providers/hooks.h"
#include "store/keys.h"

#include <stdio.h>
#include <stdlib.h>

enum bk_err provider_work_type(struct slice spec, struct arena *arena, struct slice *ret_type)
{
    struct integration_view view;
    enum bk_err err = integration_view_open(spec, &view);
    if (err != BK_OK) {
        return err;
    }
    char *copy = arena_copy(arena, view.type.at, view.type.bytes);
    *ret_type = slice_of(copy, copy ? view.type.bytes : 0);
    integration_view_close(&view);
    return copy ? BK_OK : BK_NO_MEMORY;
}

/* Under what a token that was bought is kept: the one for a former address is another one. */
static const uint8_t *bought_for(const struct operation *operation, const struct record *record)
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
    enum bk_err err = people_token(hub, txn, operation->integration_canvas, name, operation->canvas,
                                   arena, ret_text);
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
        return load_app(hub, view, bought_for(operation, record), text, now_ns / NS_PER_SECOND,
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

/* ---- the status of an object */

static enum bk_err put_status(struct store_txn *txn, const uint8_t id[16],
                              const struct buf *members)
{
    struct key key;
    key_status(&key, id);
    return members->overflow ? BK_TOO_LARGE : store_put(txn, key_slice(&key), buf_slice(members));
}

static void add_member(struct buf *members, const char *name, struct slice text)
{
    if (text.bytes > 0) {
        buf_printf(members, "%s\"%s\":", members->bytes > 0 ? "," : "", name);
        json_add_string(members, text);
    }
}

/* What was known before and stays true. */
static const char *const lasting[] = {"hookId",     "keyFingerprint", "account",
                                      "accountId",  "provisionedAt",  "checkedAt",
                                      "resourceId", "resourceName",   "notice"};

/* The stored members as an object of the tree; NULL = there are none. */
static yyjson_mut_val *read_status(struct store_txn *txn, const uint8_t id[16],
                                   struct json_tree *tree)
{
    struct key key;
    struct slice members;
    struct json_problem problem;
    struct buf text;
    yyjson_mut_val *object = NULL;
    key_status(&key, id);
    if (store_get(txn, key_slice(&key), &members) != BK_OK) {
        return NULL;
    }
    buf_init(&text, 65536);
    buf_add_byte(&text, '{');
    buf_add_slice(&text, members);
    buf_add_byte(&text, '}');
    if (!text.overflow && json_parse(buf_slice(&text), tree, &problem) == BK_OK) {
        object = tree->roots[0];
    }
    buf_fini(&text);
    return object;
}

static void add_lasting(struct buf *members, yyjson_mut_val *before)
{
    for (size_t i = 0; before && i < sizeof lasting / sizeof lasting[0]; i++) {
        yyjson_mut_val *value = yyjson_mut_obj_get(before, lasting[i]);
        if (yyjson_mut_is_str(value)) {
            add_member(members, lasting[i], json_text(value));
        }
    }
}

static void add_time(struct buf *members, const char *name, int64_t wall_ns)
{
    char text[25];
    time_format_rfc3339(wall_ns, text);
    add_member(members, name, slice_str(text));
}

/* A key of 256 random bits says nothing of itself through this. */
static void fingerprint(struct slice key, char ret_text[17])
{
    uint8_t digest[SHA256_BYTES];
    sha256(key, digest);
    hex_encode(digest, 8, ret_text);
    ret_text[16] = '\0';
}

static enum bk_err status_pending(struct store_txn *txn, const struct operation *operation)
{
    char name[OPERATION_NAME_BYTES];
    struct buf members;
    struct json_tree tree;
    buf_init(&members, 65536);
    json_tree_init(&tree);
    operation_name(operation->number, name);
    add_member(&members, "state", SLICE("pending"));
    add_member(&members, "operation", slice_str(name));
    add_lasting(&members, read_status(txn, operation->object, &tree));
    enum bk_err err = put_status(txn, operation->object, &members);
    json_tree_fini(&tree);
    buf_fini(&members);
    return err;
}

/* ---- adding operations */

static enum bk_err add(struct apply *apply, struct operation *operation)
{
    operation->created_ns = operation->updated_ns = operation->due_ns = apply->options->now_ns;
    struct buf former;
    buf_init(&former, 2 * SEAL_VALUE_BYTES_MAX);
    enum bk_err err =
        operation->intent == PROVIDER_HOOK_REMOVE ? former_note(apply, operation) : BK_OK;
    err = err == BK_OK ? former_seal(apply, operation, &former) : err;
    err = err == BK_OK ? operation_add(apply->txn, operation) : err;
    buf_fini(&former);
    if (err == BK_OK && operation->intent != PROVIDER_HOOK_REMOVE) {
        err = status_pending(apply->txn, operation);
    }
    apply->hub->work_added = true;
    return err;
}

/* hex of the first 16 characters of the hex SHA-256 of the id's text */
static const char *hook_name(const uint8_t id[16], struct arena *arena)
{
    char text[HUB_ID_TEXT_BYTES], hex[2 * SHA256_BYTES + 1], twice[33];
    uint8_t digest[SHA256_BYTES];
    hub_id_text(id, text);
    sha256(slice_str(text), digest);
    hex_encode(digest, sizeof digest, hex);
    hex_encode(hex, 16, twice);
    twice[32] = '\0';
    return arena_printf(arena, "becket-webhook-%s", twice);
}

static enum bk_err hook_operation(struct apply *apply, const struct apply_work *work,
                                  const struct source_input *input, const uint8_t source_id[16],
                                  enum provider_intent intent, struct operation *ret_operation)
{
    struct record record;
    struct integration_view view;
    enum bk_err err = hub_record(apply->txn, RESOURCE_INTEGRATION, input->integration_canvas,
                                 input->integration, &record);
    if (err == BK_OK) {
        err = integration_view_open(record.spec, &view);
    }
    if (err != BK_OK) {
        return err;
    }
    struct slice url = integration_text(&view, "url");
    char *kept = arena_copy(apply->arena, url.at, url.bytes);
    *ret_operation = (struct operation){
        .intent = intent,
        .kind = RESOURCE_EVENT_SOURCE,
        .canvas = work->canvas,
        .name = work->name,
        .integration_canvas = input->integration_canvas,
        .integration = input->integration,
        .provider = slice_str(view.provider ? view.provider->name : ""),
        .facts = {.url = slice_of(kept, kept ? url.bytes : 0),
                  .resource_type = input->resource_type,
                  .resource = input->resource,
                  .hook_url =
                      slice_str(arena_printf(apply->arena, "%s/hooks/%.*s", apply->hub->public_url,
                                             (int)input->path.bytes, (const char *)input->path.at)),
                  .hook_name = slice_str(hook_name(source_id, apply->arena))}};
    memcpy(ret_operation->object, source_id, sizeof ret_operation->object);
    integration_view_close(&view);
    return apply->arena->overflow ? BK_NO_MEMORY : BK_OK;
}

static bool same_hook(const struct source_input *a, const struct source_input *b)
{
    return slice_equal(a->integration, b->integration) &&
           slice_equal(a->integration_canvas, b->integration_canvas) &&
           slice_equal(a->resource, b->resource) &&
           slice_equal(a->resource_type, b->resource_type) && slice_equal(a->path, b->path);
}

/* Of what a hook tells, below the API: the owner may come from the integration's url. */
static struct slice place_of(const struct operation *operation, struct arena *arena)
{
    struct provider_run run = {
        .provider = provider_find(operation->provider), .facts = &operation->facts, .arena = arena};
    struct slice place = SLICE_EMPTY;
    bool told = run.provider && run.provider->hooks && run.provider->hooks->place(&run, &place);
    return told ? place : SLICE_EMPTY;
}

/* The provider's id of a source's hook, as far as it is known. */
static struct slice known_hook(struct apply *apply, const uint8_t source_id[16])
{
    struct json_tree tree;
    struct slice id = SLICE_EMPTY;
    json_tree_init(&tree);
    yyjson_mut_val *status = read_status(apply->txn, source_id, &tree);
    yyjson_mut_val *hook = status ? yyjson_mut_obj_get(status, "hookId") : NULL;
    if (yyjson_mut_is_str(hook)) {
        id = apply_keep(apply, json_text(hook));
    }
    json_tree_fini(&tree);
    return id;
}

/* What was made for the source where its integration led before, goes on its own account. */
static enum bk_err leave_old_place(struct apply *apply, const uint8_t id[16],
                                   const struct operation *wanted)
{
    struct json_tree tree;
    struct operation before;
    json_tree_init(&tree);
    enum bk_err err = operation_find(apply->txn, id, PROVIDER_HOOK_ENSURE, &tree, &before);
    if (err != BK_OK) {
        json_tree_fini(&tree);
        return err == BK_NOT_FOUND ? BK_OK : err;
    }
    struct operation removal = {.intent = PROVIDER_HOOK_REMOVE,
                                .kind = before.kind,
                                .canvas = before.canvas,
                                .name = before.name,
                                .integration_canvas = before.integration_canvas,
                                .integration = before.integration,
                                .provider = before.provider,
                                .facts = before.facts,
                                .in_doubt = before.in_doubt};
    hub_id_make(removal.object);
    removal.facts.hook_id = known_hook(apply, id);
    /* Also a hook whose making got no answer is at the old server. */
    bool made = before.made || removal.facts.hook_id.bytes > 0;
    err = made ? former_note(apply, &removal) : BK_OK;
    bool left = removal.former_spec.bytes > 0 ||
                !slice_equal(place_of(&before, apply->arena), place_of(wanted, apply->arena));
    if (err == BK_OK && before.made && left) {
        err = add(apply, &removal);
    }
    if (err == BK_OK && left) {
        /* What was made there is none of what is wanted now: that begins with nothing made. */
        err = operation_drop(apply->txn, before.number);
    }
    json_tree_fini(&tree);
    return err;
}

static enum bk_err want_hook(struct apply *apply, const struct apply_work *work,
                             const struct source_input *input, const uint8_t id[16])
{
    struct operation operation;
    enum bk_err err = hook_operation(apply, work, input, id, PROVIDER_HOOK_ENSURE, &operation);
    if (err == BK_OK) {
        err = leave_old_place(apply, id, &operation);
    }
    return err == BK_OK ? add(apply, &operation) : err;
}

enum bk_err provider_work_source_moved(struct apply *apply, struct slice canvas, struct slice name,
                                       const struct record *record)
{
    struct source_input input;
    struct apply_work work = {.kind = RESOURCE_EVENT_SOURCE, .canvas = canvas, .name = name};
    enum bk_err err =
        apply->options->dry_run ? BK_NOT_FOUND : source_input_decode(record->compiled, &input);
    if (err == BK_OK && input.integration.bytes > 0) {
        err = want_hook(apply, &work, &input, record->id);
    }
    return err == BK_NOT_FOUND ? BK_OK : err;
}

enum bk_err provider_work_source_changed(struct apply *apply, const struct apply_work *work,
                                         const struct source_input *old,
                                         const struct source_input *input)
{
    struct operation operation;
    struct key key;
    enum bk_err err = BK_OK;
    if (apply->options->dry_run) {
        return BK_OK;
    }
    if (apply->existed && old->integration.bytes > 0 && !same_hook(old, input)) {
        /* The old hook goes on its own account: the source has a new life. */
        err = hook_operation(apply, work, old, apply->id, PROVIDER_HOOK_REMOVE, &operation);
        operation.facts.hook_id = known_hook(apply, apply->id);
        hub_id_make(operation.object);
        err = err == BK_OK ? add(apply, &operation) : err == BK_NOT_FOUND ? BK_OK : err;
    }
    if (err == BK_OK && input->integration.bytes > 0 && apply->existed && same_hook(old, input)) {
        return want_hook(apply, work, input, apply->id);
    }
    if (err == BK_OK && input->integration.bytes > 0) {
        err = hook_operation(apply, work, input, apply->id, PROVIDER_HOOK_ENSURE, &operation);
        return err == BK_OK ? add(apply, &operation) : err;
    }
    if (err == BK_OK) {
        err = operation_forget(apply->txn, apply->id);
    }
    key_status(&key, apply->id);
    return err == BK_OK ? store_delete(apply->txn, key_slice(&key)) : err;
}

enum bk_err provider_work_source_removed(struct apply *apply, const struct apply_work *work,
                                         const struct source_input *old)
{
    struct operation operation;
    struct key key;
    if (apply->options->dry_run) {
        return BK_OK;
    }
    enum bk_err err =
        hook_operation(apply, work, old, apply->old.id, PROVIDER_HOOK_REMOVE, &operation);
    if (err == BK_OK) {
        operation.facts.hook_id = known_hook(apply, apply->old.id);
        err = add(apply, &operation);
    }
    key_status(&key, apply->old.id);
    return err == BK_OK ? store_delete(apply->txn, key_slice(&key)) : err;
}

struct waiting_removals {
    uint64_t after;
    unsigned count;
    uint64_t numbers[64];
};

static bool take_removal(void *context, const struct operation_waiting *waiting)
{
    struct waiting_removals *found = context;
    found->after = waiting->number;
    if (waiting->state != OPERATION_DONE && waiting->intent == PROVIDER_HOOK_REMOVE) {
        found->numbers[found->count++] = waiting->number;
    }
    return found->count < bk_array_length(found->numbers);
}

/* As another operation: one that is under way finds its record gone, and ends. */
static enum bk_err removal_stays(struct apply *apply, uint64_t number)
{
    struct slice bytes;
    struct json_tree tree;
    struct operation removal;
    json_tree_init(&tree);
    enum bk_err err = operation_get(apply->txn, number, &bytes);
    if (err == BK_OK) {
        err = operation_decode(bytes, &tree, &removal);
    }
    if (err == BK_OK && removal.former_spec.bytes == 0) {
        removal.step = SLICE_EMPTY;
        removal.state = OPERATION_PENDING;
        removal.attempts = 0;
        err = add(apply, &removal);
    }
    json_tree_fini(&tree);
    return err == BK_CORRUPT || err == BK_NOT_FOUND ? BK_OK : err;
}

/* What waits to be removed stands where the integration led until now. */
static enum bk_err removals_stay(struct apply *apply, const struct apply_work *work)
{
    struct waiting_removals found = {.after = 0};
    uint64_t last = 0;
    enum bk_err err = store_number(apply->txn, KEY_OPERATION_NUMBER, &last);
    do {
        found.count = 0;
        err = err == BK_OK ? operations_waiting(apply->txn, work->canvas, work->name, found.after,
                                                take_removal, &found)
                           : err;
        for (unsigned i = 0; err == BK_OK && i < found.count && found.numbers[i] <= last; i++) {
            err = removal_stays(apply, found.numbers[i]);
        }
    } while (err == BK_OK && found.count == bk_array_length(found.numbers) && found.after < last);
    return err;
}

enum bk_err provider_work_integration_changed(struct apply *apply, const struct apply_work *work)
{
    const struct resource_integration *integration = &work->document->spec.integration;
    struct key key;
    if (apply->options->dry_run) {
        return BK_OK;
    }
    bool callable =
        integration->provider &&
        (integration->auth == INTEGRATION_AUTH_TOKEN || integration->auth == INTEGRATION_AUTH_APP ||
         integration->auth == INTEGRATION_AUTH_OIDC || integration->auth == INTEGRATION_AUTH_BASIC);
    enum bk_err err = work->moved ? removals_stay(apply, work) : BK_OK;
    if (err == BK_OK && apply->existed) {
        app_token_drop(&apply->hub->app_tokens, apply->id); /* it was bought at the old address */
        err = provider_work_credential_changed(apply, work->canvas, work->name);
    }
    if (err != BK_OK) {
        return err;
    }
    if (!callable || !integration->check) {
        key_status(&key, apply->id);
        err = operation_forget(apply->txn, apply->id);
        return err == BK_OK ? store_delete(apply->txn, key_slice(&key)) : err;
    }
    struct operation operation = {.intent = PROVIDER_CHECK,
                                  .kind = RESOURCE_INTEGRATION,
                                  .canvas = work->canvas,
                                  .name = work->name,
                                  .integration_canvas = work->canvas,
                                  .integration = work->name,
                                  .provider = slice_str(integration->provider->name),
                                  .facts = {.url = integration->url}};
    memcpy(operation.object, apply->id, sizeof operation.object);
    return add(apply, &operation);
}

/* ---- operations of one integration */

struct found_removal {
    uint64_t number; /* 0 = none */
};

static bool look_for_removal(void *context, const struct operation_waiting *waiting)
{
    struct found_removal *found = context;
    if (waiting->state != OPERATION_DONE && waiting->intent == PROVIDER_HOOK_REMOVE) {
        found->number = waiting->number;
    }
    return found->number == 0;
}

enum bk_err provider_work_hooks_left(struct store_txn *txn, struct slice canvas,
                                     struct slice integration, bool *ret_left)
{
    struct found_removal found = {0};
    enum bk_err err = operations_waiting(txn, canvas, integration, 0, look_for_removal, &found);
    *ret_left = found.number != 0;
    return err;
}

enum bk_err provider_work_integration_removed(struct apply *apply, const struct apply_work *work)
{
    struct found_removal found = {0};
    struct key key;
    enum bk_err err =
        operations_waiting(apply->txn, work->canvas, work->name, 0, look_for_removal, &found);
    if (err == BK_OK && found.number != 0) {
        char name[OPERATION_NAME_BYTES];
        operation_name(found.number, name);
        return apply_fail(
            apply, BK_IN_USE,
            "Integration \"%s\" still has hooks to remove at the provider (%s): wait, see why with "
            "`becket get operations`, or give it up with `becket delete operation %s`",
            work->result->name, name, name);
    }
    if (err == BK_OK) {
        err = operation_forget(apply->txn, apply->old.id);
    }
    key_status(&key, apply->old.id);
    return err == BK_OK ? store_delete(apply->txn, key_slice(&key)) : err;
}

enum bk_err provider_work_credential_changed(struct apply *apply, struct slice canvas,
                                             struct slice name)
{
    if (apply->options->dry_run) {
        return BK_OK;
    }
    apply->hub->work_added = true;
    return operations_resume(apply->txn, canvas, name, 0, apply->options->now_ns);
}

/* ---- people */

enum bk_err provider_work_connected(struct apply *apply, struct slice canvas,
                                    struct slice integration)
{
    struct record record;
    struct integration_view view;
    enum bk_err err = provider_work_credential_changed(apply, canvas, integration);
    if (err != BK_OK || apply->options->dry_run) {
        return err;
    }
    err = hub_record(apply->txn, RESOURCE_INTEGRATION, canvas, integration, &record);
    if (err == BK_OK) {
        err = integration_view_open(record.spec, &view);
    }
    if (err != BK_OK) {
        return err;
    }
    bool wanted = view.provider && view.provider->api_path &&
                  view.provider->plans[PROVIDER_CHECK].steps &&
                  slice_equal(integration_text(&view, "auth/use"), SLICE("AUTH_TYPE_OAUTH")) &&
                  integration_flag(&view, "check", true);
    struct slice url = integration_text(&view, "url");
    char *kept = arena_copy(apply->arena, url.at, url.bytes);
    struct operation operation = {.intent = PROVIDER_CHECK,
                                  .kind = RESOURCE_INTEGRATION,
                                  .canvas = canvas,
                                  .name = integration,
                                  .integration_canvas = canvas,
                                  .integration = integration,
                                  .provider = slice_str(view.provider ? view.provider->name : ""),
                                  .facts = {.url = slice_of(kept, kept ? url.bytes : 0)}};
    memcpy(operation.object, record.id, sizeof operation.object);
    integration_view_close(&view);
    return wanted ? add(apply, &operation) : BK_OK;
}

enum bk_err provider_work_link_changed(struct apply *apply, const struct apply_work *work)
{
    const struct resource_integration_link *link = &work->document->spec.link;
    struct record record;
    struct integration_view view;
    if (apply->options->dry_run || !link->type->posts) {
        return BK_OK;
    }
    struct slice canvas = work->canvas, channel = SLICE_EMPTY;
    enum bk_err err =
        hub_record(apply->txn, RESOURCE_INTEGRATION, canvas, link->integration.name, &record);
    if (err == BK_NOT_FOUND) {
        canvas = slice_str(RESOURCE_CANVAS_DEFAULT);
        err = hub_record(apply->txn, RESOURCE_INTEGRATION, canvas, link->integration.name, &record);
    }
    if (err == BK_OK) {
        err = integration_view_open(record.spec, &view);
    }
    if (err != BK_OK) {
        return err;
    }
    for (unsigned i = 0; i < link->setting_count; i++) {
        if (slice_equal(link->settings[i].name, slice_str(link->type->channel_setting))) {
            channel = link->settings[i].value;
        }
    }
    struct slice url = integration_text(&view, "url");
    char *kept = arena_copy(apply->arena, url.at, url.bytes);
    struct operation operation = {.intent = PROVIDER_RESOURCE_CHECK,
                                  .kind = RESOURCE_INTEGRATION_LINK,
                                  .canvas = work->canvas,
                                  .name = work->name,
                                  .integration_canvas = canvas,
                                  .integration = link->integration.name,
                                  .provider = slice_str(link->type->name),
                                  .facts = {.url = slice_of(kept, kept ? url.bytes : 0),
                                            .resource_type = SLICE("channel"),
                                            .resource = channel}};
    memcpy(operation.object, apply->id, sizeof operation.object);
    integration_view_close(&view);
    return add(apply, &operation);
}

/* ---- what an operation needs */

static enum bk_err load_source(struct hub *hub, struct store_txn *txn,
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
    yyjson_mut_val *status = read_status(txn, record.id, &tree);
    char print[17];
    fingerprint(ground->facts.hook_key, print);
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

static struct slice recall(const struct operation *operation, const char *name)
{
    for (unsigned i = 0; i < operation->memory.count; i++) {
        if (slice_equal(operation->memory.notes[i].name, slice_str(name))) {
            return operation->memory.notes[i].value;
        }
    }
    return SLICE_EMPTY;
}

/* A message: the entry's text, and the channel as it was found, else as it was written. */
static enum bk_err load_post(struct store_txn *txn, const struct operation *operation,
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
    yyjson_mut_val *status = read_status(txn, record.id, &tree);
    yyjson_mut_val *found = status ? yyjson_mut_obj_get(status, "resourceId") : NULL;
    struct slice channel =
        yyjson_mut_is_str(found) ? json_text(found) : integration_text(&link, "settings/channel");
    ground->facts.channel = slice_of(arena_copy(arena, channel.at, channel.bytes), channel.bytes);
    json_tree_fini(&tree);
    integration_view_close(&link);
    char once[25];
    hex_encode(operation->object, 12, once);
    ground->facts.once = slice_of(arena_copy(arena, once, 24), 24);
    struct slice entry = recall(operation, "entry");
    char number[24];
    snprintf(number, sizeof number, "%.*s", (int)entry.bytes, (const char *)entry.at);
    return entries_message(txn, strtoull(number, NULL, 10), arena, &ground->facts.text);
}

enum bk_err provider_work_load(void *context, struct store_txn *txn,
                               const struct operation *operation, int64_t now_ns,
                               struct arena *arena, struct operation_ground *ret_ground)
{
    struct hub *hub = context;
    struct record record;
    struct integration_view view;
    *ret_ground = (struct operation_ground){.provider = provider_find(operation->provider),
                                            .facts = operation->facts};
    enum bk_err err = hub_record(txn, RESOURCE_INTEGRATION, operation->integration_canvas,
                                 operation->integration, &record);
    bool former = operation->former_spec.bytes > 0;
    if (err == BK_NOT_FOUND && former) {
        record = (struct record){.spec = SLICE_EMPTY};
        err = BK_OK;
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
        err = load_source(hub, txn, operation, arena, ret_ground);
    }
    if (err == BK_OK && operation->intent == PROVIDER_POST) {
        err = load_post(txn, operation, arena, ret_ground);
    }
    integration_view_close(&view);
    return err == BK_OK && arena->overflow ? BK_NO_MEMORY : err;
}

/* The integration of an operation. */
static enum bk_err integration_of(struct store_txn *txn, const struct operation *operation,
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
        if (integration_of(txn, operation, &record) == BK_OK) {
            app_token_keep(&hub->app_tokens, bought_for(operation, &record), text,
                           expires_ns / NS_PER_SECOND);
        }
        store_read_end(txn);
    }
    return err;
}

/* ---- what comes of it */

/* The source may have a newer key than the one that the hook got: then it is not current. */
static void add_key(struct hub *hub, struct store_txn *txn, const struct operation *operation,
                    struct buf *members)
{
    struct arena arena;
    struct operation_ground ground = {.why = ""};
    char print[17];
    arena_init(&arena, 1U << 20);
    if (load_source(hub, txn, operation, &arena, &ground) == BK_OK) {
        fingerprint(ground.facts.hook_key, print);
        add_member(members, "keyFingerprint", slice_str(print));
    }
    arena_fini(&arena);
}

static void add_done(struct hub *hub, struct store_txn *txn, const struct operation *operation,
                     struct buf *members)
{
    add_member(members, "state", SLICE("ready"));
    if (operation->intent == PROVIDER_RESOURCE_CHECK) {
        add_member(members, "resourceId", recall(operation, "resourceId"));
        add_member(members, "resourceName", recall(operation, "resourceName"));
        add_member(members, "notice", recall(operation, "notice"));
        add_time(members, "checkedAt", operation->updated_ns);
    } else if (operation->intent == PROVIDER_CHECK) {
        add_member(members, "account", recall(operation, "account"));
        add_member(members, "accountId", recall(operation, "accountId"));
        add_time(members, "checkedAt", operation->updated_ns);
    } else {
        add_member(members, "hookId", recall(operation, "hookId"));
        add_key(hub, txn, operation, members);
        add_time(members, "checkedAt", operation->updated_ns);
    }
}

static void add_fault(struct store_txn *txn, const struct operation *operation, struct buf *members)
{
    struct json_tree tree;
    add_member(members, "state",
               operation->state == OPERATION_FAILED ? SLICE("error") : SLICE("pending"));
    add_member(members, "reason", slice_str(provider_fault_name(operation->fault)));
    add_member(members, "message", operation->why);
    add_member(
        members, "advice",
        slice_str(provider_fault_advice(provider_find(operation->provider), operation->fault)));
    add_time(members, "nextAttemptAt", operation->due_ns);
    json_tree_init(&tree);
    add_lasting(members, read_status(txn, operation->object, &tree));
    json_tree_fini(&tree);
}

/* Does the status tell of a message that was to go out after this one? Answers may cross. */
static bool tells_of_a_later_one(yyjson_mut_val *status, const struct operation *operation)
{
    yyjson_mut_val *name = yyjson_mut_obj_get(status, "operation");
    uint64_t number;
    return yyjson_mut_is_str(name) && operation_name_parse(json_text(name), &number) &&
           number > operation->number;
}

/* A message that went out leaves nothing behind; one that cannot is told by its link. */
static enum bk_err settle_post(struct store_txn *txn, const struct operation *operation)
{
    struct record record;
    struct buf members;
    struct json_tree tree;
    enum bk_err err =
        hub_record(txn, RESOURCE_INTEGRATION_LINK, operation->canvas, operation->name, &record);
    buf_init(&members, 65536);
    if (err == BK_OK && operation->state == OPERATION_DONE) {
        json_tree_init(&tree);
        yyjson_mut_val *before = read_status(txn, record.id, &tree);
        yyjson_mut_val *state = before ? yyjson_mut_obj_get(before, "state") : NULL;
        if (yyjson_mut_is_str(state) && !slice_equal(json_text(state), SLICE("ready")) &&
            !tells_of_a_later_one(before, operation)) {
            add_member(&members, "state", SLICE("ready"));
            add_lasting(&members, before);
        }
        json_tree_fini(&tree);
    } else if (err == BK_OK) {
        struct operation of_link = *operation;
        memcpy(of_link.object, record.id, sizeof of_link.object);
        char number[OPERATION_NAME_BYTES];
        operation_name(operation->number, number);
        add_fault(txn, &of_link, &members);
        add_member(&members, "operation", slice_str(number));
    }
    if (err == BK_OK && members.bytes > 0) {
        err = put_status(txn, record.id, &members);
    }
    buf_fini(&members);
    err = err == BK_NOT_FOUND ? BK_OK : err;
    return err == BK_OK && operation->state == OPERATION_DONE
               ? operation_drop(txn, operation->number)
               : err;
}

/* The old and the new address may be the same server's: what was removed there is made again. */
static enum bk_err look_again(struct store_txn *txn, const struct operation *removal)
{
    struct record record;
    struct json_tree tree;
    struct operation ensure;
    json_tree_init(&tree);
    enum bk_err err =
        hub_record(txn, RESOURCE_EVENT_SOURCE, removal->canvas, removal->name, &record);
    if (err == BK_OK) {
        err = operation_find(txn, record.id, PROVIDER_HOOK_ENSURE, &tree, &ensure);
    }
    if (err == BK_OK) {
        err = operation_make_due(txn, ensure.number, removal->updated_ns);
    }
    json_tree_fini(&tree);
    return err == BK_NOT_FOUND ? BK_OK : err;
}

/* A credential that was good when it was checked is not taken any more: the integration is to say
 * so. */
static enum bk_err check_again(struct store_txn *txn, const struct operation *refused)
{
    struct record record;
    struct json_tree tree;
    struct operation check;
    json_tree_init(&tree);
    enum bk_err err = integration_of(txn, refused, &record);
    if (err == BK_OK) {
        err = operation_find(txn, record.id, PROVIDER_CHECK, &tree, &check);
    }
    if (err == BK_OK && check.state == OPERATION_DONE) {
        err = operation_make_due(txn, check.number, refused->updated_ns);
    }
    json_tree_fini(&tree);
    return err == BK_NOT_FOUND ? BK_OK : err;
}

static enum bk_err settle(struct hub *hub, struct store_txn *txn, const struct operation *operation)
{
    if (operation->intent == PROVIDER_POST) {
        return settle_post(txn, operation);
    }
    if (operation->former_spec.bytes > 0 && operation->state == OPERATION_DONE) {
        return look_again(txn, operation);
    }
    struct slice value;
    struct key key;
    struct record record;
    if (operation->fault == PROVIDER_FAULT_AUTH &&
        integration_of(txn, operation, &record) == BK_OK) {
        app_token_drop(&hub->app_tokens, bought_for(operation, &record));
    }
    key_id(&key, operation->object);
    enum bk_err err = store_get(txn, key_slice(&key), &value);
    if (err != BK_OK) { /* the object is gone: nobody looks at its status */
        return err == BK_NOT_FOUND ? BK_OK : err;
    }
    char name[OPERATION_NAME_BYTES];
    struct buf members;
    buf_init(&members, 65536);
    if (operation->state == OPERATION_DONE) {
        add_done(hub, txn, operation, &members);
    } else {
        add_fault(txn, operation, &members);
    }
    operation_name(operation->number, name);
    add_member(&members, "operation", slice_str(name));
    err = put_status(txn, operation->object, &members);
    buf_fini(&members);
    return err;
}

enum bk_err provider_work_settle(void *context, struct store_txn *txn,
                                 const struct operation *operation)
{
    bool doubted = operation->fault == PROVIDER_FAULT_AUTH && operation->intent != PROVIDER_CHECK &&
                   operation->former_spec.bytes == 0;
    enum bk_err err = settle(context, txn, operation);
    return err == BK_OK && doubted ? check_again(txn, operation) : err;
}
