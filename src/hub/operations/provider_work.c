/* provider_work.c - from apply: which operations a change wants. */
#include "hub/operations/provider_work_private.h"

#include "base/hex.h"
#include "base/sha256.h"
#include "hub/links/link.h"
#include "hub/operations/former.h"
#include "hub/operations/integration_view.h"
#include "hub/people/people.h"
#include "hub/resources/apply_build.h"
#include "providers/hooks.h"
#include "store/keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <yyjson.h>

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
        err = work_status_pending(apply->txn, operation);
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
    yyjson_mut_val *status = work_read_status(apply->txn, source_id, &tree);
    yyjson_mut_val *hook = status ? yyjson_mut_obj_get(status, "hookId") : NULL;
    if (yyjson_mut_is_str(hook)) {
        id = apply_keep(apply, json_text(hook));
    }
    json_tree_fini(&tree);
    return id;
}

/* A call that makes the source's hook may be on its way, perhaps of a process that is no more. */
static void note_doubt(struct apply *apply, const uint8_t source_id[16], struct operation *removal)
{
    struct json_tree tree;
    struct operation ensure;
    json_tree_init(&tree);
    if (operation_find(apply->txn, source_id, PROVIDER_HOOK_ENSURE, &tree, &ensure) == BK_OK) {
        removal->in_doubt = ensure.in_doubt; /* looked for when it has arrived */
        removal->late_ns = ensure.late_ns;
    }
    json_tree_fini(&tree);
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
                                .in_doubt = before.in_doubt,
                                .late_ns = before.late_ns};
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
        note_doubt(apply, apply->id, &operation);
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

/* What was found out of another channel says nothing of this one: a message would go to the old. */
static enum bk_err forget_channel(struct apply *apply, const struct link_type *type)
{
    struct buf spec = apply->spec;
    struct integration_view old, now;
    struct key key;
    char path[64];
    if (!apply->existed) {
        return BK_OK;
    }
    enum bk_err err = integration_view_open(apply->old.spec, &old);
    if (err != BK_OK) {
        return err;
    }
    err = integration_view_open(buf_slice(&spec), &now);
    if (err == BK_OK) {
        snprintf(path, sizeof path, "settings/%s", type->channel_setting);
        bool same = slice_equal(integration_text(&old, "type"), integration_text(&now, "type")) &&
                    slice_equal(integration_text(&old, "integration/name"),
                                integration_text(&now, "integration/name")) &&
                    slice_equal(integration_text(&old, path), integration_text(&now, path));
        integration_view_close(&now);
        key_status(&key, apply->id);
        err = same ? BK_OK : store_delete(apply->txn, key_slice(&key));
    }
    integration_view_close(&old);
    return err;
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
    enum bk_err err = forget_channel(apply, link->type);
    if (err != BK_OK) {
        return err;
    }
    err = hub_record(apply->txn, RESOURCE_INTEGRATION, canvas, link->integration.name, &record);
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
