#include "hub/operations/integration_view.h"

#include "base/url.h"

#include <stdio.h>
#include <yyjson.h>

struct slice integration_text(const struct integration_view *view, const char *path)
{
    yyjson_mut_val *value = provider_get(view->spec, path);
    return yyjson_mut_is_str(value) ? json_text(value) : SLICE_EMPTY;
}

bool integration_flag(const struct integration_view *view, const char *path, bool absent)
{
    yyjson_mut_val *value = provider_get(view->spec, path);
    return yyjson_mut_is_bool(value) ? yyjson_mut_get_bool(value) : absent;
}

enum bk_err integration_view_open(struct slice spec, struct integration_view *ret_view)
{
    struct json_problem problem;
    json_tree_init(&ret_view->tree);
    if (json_parse(spec, &ret_view->tree, &problem) != BK_OK) {
        json_tree_fini(&ret_view->tree);
        return BK_CORRUPT;
    }
    ret_view->spec = ret_view->tree.roots[0];
    ret_view->type = integration_text(ret_view, "type");
    ret_view->provider = provider_find(ret_view->type);
    return BK_OK;
}

void integration_view_close(struct integration_view *view)
{
    json_tree_fini(&view->tree);
}

/* Where its API is. */
struct slice integration_api_base(const struct integration_view *view, struct arena *arena)
{
    const struct provider *provider = view->provider;
    struct slice given = integration_text(view, "apiUrl"), address = integration_text(view, "url");
    struct url url;
    const char *why;
    if (given.bytes == 0 && !provider->api_path) {
        given = address;
    }
    if (given.bytes > 0) {
        return slice_of(arena_copy(arena, given.at, given.bytes), given.bytes);
    }
    if (url_parse(address, &url, &why) != BK_OK) {
        return SLICE_EMPTY;
    }
    if (provider->api_url && provider->url_host && strcmp(url.host, provider->url_host) == 0) {
        return slice_str(provider->api_url);
    }
    char authority[URL_AUTHORITY_BYTES_MAX];
    url_authority(url.host, url.port, url.tls, false, authority);
    return slice_str(
        arena_printf(arena, "http%s://%s%s", url.tls ? "s" : "", authority, provider->api_path));
}

/* ---- credentials */

enum bk_err integration_open_slot(struct hub *hub, const struct record *record, struct slice field,
                                  struct arena *arena, struct slice *ret_text)
{
    struct record_slot slot;
    size_t bytes;
    if (!record_slot_find(record, field, &slot)) {
        return BK_NOT_FOUND;
    }
    uint8_t *text = arena_take(arena, slot.sealed.bytes + 1);
    if (!text) {
        return BK_NO_MEMORY;
    }
    enum bk_err err = seal_open(&hub->seal, record->id, field, slot.sealed, text, &bytes);
    *ret_text = slice_of(text, err == BK_OK ? bytes : 0);
    return err;
}

/* The place in the spec where the credential stands. */
static const char *credential_path(struct slice use)
{
    return slice_equal(use, SLICE("AUTH_TYPE_TOKEN"))   ? "auth/token"
           : slice_equal(use, SLICE("AUTH_TYPE_BASIC")) ? "auth/basic/password"
           : slice_equal(use, SLICE("AUTH_TYPE_APP"))   ? "auth/app/privateKey"
                                                        : "auth/oauth/clientSecret";
}

enum bk_err integration_open_credential(struct hub *hub, struct store_txn *txn,
                                        const struct integration_view *view,
                                        const struct record *record, struct slice canvas,
                                        struct arena *arena, char why[PROVIDER_WHY_BYTES],
                                        struct slice *ret_text)
{
    yyjson_mut_val *at =
        provider_get(view->spec, credential_path(integration_text(view, "auth/use")));
    yyjson_mut_val *ref = provider_get(at, "valueFrom/secret");
    if (!ref) {
        return integration_open_slot(hub, record, SLICE("credential"), arena, ret_text);
    }
    struct slice name = json_text(yyjson_mut_obj_get(ref, "name"));
    struct slice key = json_text(yyjson_mut_obj_get(ref, "key"));
    struct record secret;
    char storage[RESOURCE_SECRET_KEY_BYTES_MAX + 8];
    enum bk_err err = hub_record(txn, RESOURCE_SECRET, canvas, name, &secret);
    if (err == BK_NOT_FOUND) {
        err = hub_record(txn, RESOURCE_SECRET, slice_str(RESOURCE_CANVAS_DEFAULT), name, &secret);
    }
    if (err == BK_OK) {
        err = integration_open_slot(hub, &secret, secret_field(key, storage), arena, ret_text);
    }
    if (err == BK_NOT_FOUND) {
        snprintf(why, PROVIDER_WHY_BYTES, "Secret \"%.*s\" with key \"%.*s\" is gone",
                 (int)name.bytes, (const char *)name.at, (int)key.bytes, (const char *)key.at);
        return BK_INVALID;
    }
    return err;
}
