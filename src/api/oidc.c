/* The key that becket signs tokens with. */
#include "api/keys.h"
#include "api/route.h"

#include "hub/keys/oidc_issuer.h"

enum api_step api_oidc_rotate(struct api_call *call)
{
    struct keys *keys = call->api->keys;
    if (keys == NULL) {
        return api_fail(call, BK_UNSUPPORTED, "keys");
    }
    bool first = oidc_issuer_key_count(keys_issuer(keys)) == 0;
    enum bk_err err = keys_rotate(keys);
    if (err == BK_BUSY) {
        return api_error(call, 409, "conflict", "%s",
                         "too many keys are still published: a key stays for a day after the next "
                         "one took over");
    }
    if (err != BK_OK) {
        return api_fail(call, err, "keys");
    }
    api_note(call, "rotated", "OidcKey", SLICE_EMPTY);
    buf_printf(&call->response->body, "{\"published\":%u,\"signsInSeconds\":%d}",
               oidc_issuer_key_count(keys_issuer(keys)), first ? 0 : OIDC_PUBLISH_SECONDS);
    return api_json(call, 200);
}
