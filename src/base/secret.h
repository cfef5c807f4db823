/* secret.h - an owned copy of secret bytes that is erased when it goes.
 *
 * Purpose     Passwords, tokens and keys between the store and what compiles them. Control plane
 *             only.
 * Ownership   The secret owns its bytes until secret_fini, which wipes before it frees. Never
 *             logged: there is no function that prints one.
 * Failure     Out of memory gives BK_NO_MEMORY and leaves the secret empty.
 */
#ifndef BECKET_BASE_SECRET_H
#define BECKET_BASE_SECRET_H

#include "base/err.h"
#include "base/slice.h"

struct secret {
    uint8_t *at; /* NUL follows the bytes, for C libraries */
    size_t bytes;
};

#define SECRET_EMPTY ((struct secret){NULL, 0})

/* Copy `text` in; *ret_secret is overwritten, not freed. */
enum bk_err secret_init(struct secret *ret_secret, struct slice text) BK_MUST_CHECK;
/* Wipe, free, and leave it empty. NULL and empty ones are fine. */
void secret_fini(struct secret *secret);
static inline struct slice secret_slice(const struct secret *secret)
{
    return slice_of(secret->at, secret->bytes);
}

#endif
