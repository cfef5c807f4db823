#include "base/secret.h"

#include "base/assert.h"
#include "base/ct.h"

#include <stdlib.h>

enum bk_err secret_init(struct secret *ret_secret, struct slice text)
{
    bk_assert(ret_secret != NULL);
    *ret_secret = SECRET_EMPTY;
    uint8_t *at = (uint8_t *)malloc(text.bytes + 1);
    if (at == NULL) {
        return BK_NO_MEMORY;
    }
    if (text.bytes != 0) {
        memcpy(at, text.at, text.bytes);
    }
    at[text.bytes] = 0;
    *ret_secret = (struct secret){at, text.bytes};
    return BK_OK;
}

void secret_fini(struct secret *secret)
{
    if (secret == NULL || secret->at == NULL) {
        return;
    }
    bk_wipe(secret->at, secret->bytes);
    free(secret->at);
    *secret = SECRET_EMPTY;
}
