/* The key that becket signs tokens with. */
#include "api/keys.h"
#include "api/route.h"

#include "hub/keys/oidc_issuer.h"

#include <stdio.h>

enum api_step api_oidc_rotate(struct api_call *call)
{
    struct keys *keys = call->api->keys;
    if (keys == NULL) {
        return api_fail(call, BK_UNSUPPORTED, "keys");
    }
    unsigned before = oidc_issuer_key_count(keys_issuer(keys));
    enum bk_err err = keys_rotate(keys);
    if (err == BK_BUSY) {
        return api_error(call, 409, "conflict", "%s",
                         "too many keys are still published: a key stays for a day after the next "
                         "one took over");
    }
    if (err != BK_OK) {
        return api_fail(call, err, "keys");
    }
    char diff[80];
    unsigned after = oidc_issuer_key_count(keys_issuer(keys));
    snprintf(diff, sizeof diff, "[{\"path\":\"published\",\"before\":%u,\"after\":%u}]", before,
             after);
    api_note_diff(call, "rotated", "OidcKey", SLICE_EMPTY, slice_str(diff));
    buf_printf(&call->response->body, "{\"published\":%u,\"signsInSeconds\":%d}", after,
               before == 0 ? 0 : OIDC_PUBLISH_SECONDS);
    return api_json(call, 200);
}
