#include "hub/resources/quickstart.h"

#include "base/assert.h"
#include "base/base64.h"
#include "base/ct.h"
#include "hub/resources/apply.h"
#include "ring/ring.h"

#include <stdio.h>

#define SECRET_RANDOM_BYTES 24U /* what Standard Webhooks recommends: 24 to 64 */

static const char document[] = "kind: Secret\n"
                               "metadata: {name: " QUICKSTART_NAME "}\n"
                               "spec: {data: {key: \"%s\"}}\n"
                               "---\n"
                               "kind: EventSource\n"
                               "metadata:\n"
                               "  name: " QUICKSTART_NAME "\n"
                               "  description: Made at the first start. Delete it when done.\n"
                               "spec:\n"
                               "  type: " QUICKSTART_TYPE "\n"
                               "  path: " QUICKSTART_NAME "\n"
                               "  verification:\n"
                               "    secrets:\n"
                               "      - valueFrom: {secret: {name: " QUICKSTART_NAME
                               ", key: key}}\n";

enum bk_err quickstart_apply(struct hub *hub, int64_t now_ns, struct quickstart *ret_quickstart,
                             char ret_why[HUB_WHY_BYTES])
{
    uint8_t random[SECRET_RANDOM_BYTES];
    char text[sizeof document + sizeof ret_quickstart->secret];
    struct apply_outcome outcome;
    /* Created, never updated: the key in use must not change under somebody's feet. */
    struct apply_options options = {.mode = APPLY_CREATE, .now_ns = now_ns};
    ret_why[0] = '\0';
    ring_entropy(random, sizeof random);
    memcpy(ret_quickstart->secret, "whsec_", 6);
    size_t bytes = base64_encode(random, sizeof random, BASE64_STANDARD,
                                 ret_quickstart->secret + 6);
    ret_quickstart->secret[6 + bytes] = '\0';
    int count = snprintf(text, sizeof text, document, ret_quickstart->secret);
    bk_assert(count > 0 && (size_t)count < sizeof text);
    enum bk_err err = apply_text(hub, slice_of(text, (size_t)count), &options, &outcome);
    if (err == BK_OK) {
        snprintf(ret_quickstart->url, sizeof ret_quickstart->url, "%s", outcome.results[1].url);
    } else {
        snprintf(ret_why, HUB_WHY_BYTES, "%s", outcome.message ? outcome.message : "");
        bk_wipe(ret_quickstart->secret, sizeof ret_quickstart->secret);
    }
    apply_outcome_fini(&outcome);
    bk_wipe(random, sizeof random);
    bk_wipe(text, sizeof text);
    return err;
}
