/* apply_secret.c - Secret: every value sealed on its own, the spec shows only the keys. */
#include "base/json.h"
#include "hub/resources/apply_build.h"

#include <stdio.h>

static enum bk_err secret_build(struct apply *apply, struct apply_work *work)
{
    const struct resource_secret *secret = &work->document->spec.secret;
    buf_add_str(&apply->spec, "{\"provider\":\"PROVIDER_LOCAL\",\"local\":{\"data\":{");
    for (size_t i = 0; i < secret->count; i++) {
        const struct resource_secret_item *item = &secret->items[i];
        char storage[RESOURCE_SECRET_KEY_BYTES_MAX + 8];
        char path[RESOURCE_SECRET_KEY_BYTES_MAX + 32];
        snprintf(path, sizeof path, "spec.local.data.%.*s", (int)item->key.bytes,
                 (const char *)item->key.at);
        enum bk_err err = apply_value(apply, work, secret_field(item->key, storage), item->value,
                                      item->place, path);
        if (err != BK_OK) {
            return err;
        }
        if (i > 0) {
            buf_add_byte(&apply->spec, ',');
        }
        json_add_string(&apply->spec, item->key);
        buf_add_str(&apply->spec, ":\"" RESOURCE_HIDDEN "\"");
    }
    buf_add_str(&apply->spec, "}}}");
    struct slice rest = apply->old.slots;
    struct record now = {.slots = buf_slice(&apply->slots)};
    struct record_slot slot, found;
    while (apply->existed && record_slot_next(&rest, &slot)) {
        work->keys_dropped |= !record_slot_find(&now, slot.field, &found);
    }
    return apply_domain(apply, work);
}

const struct apply_kind apply_secret_kind = {.build = secret_build};
