/* seal.h - secrets at rest: values sealed under the data key (which the master key wraps:
 * store/master_key.h, hub/data_key.h).
 *
 * Purpose     Each sealed value is bound to the record and field it belongs to, so exchanging two
 *             sealed values on disk makes both unreadable.
 * Nonces      96 random bits each, from the system; never a counter, so a restored backup cannot
 *             repeat one.
 * Two keys    While a data key is being replaced, values that the one before sealed are opened
 *             too; what is sealed is sealed under the new one.
 * Threads     One at a time. seal_fini wipes.
 * Format      sealed value: 1 version | 12 nonce | ciphertext | 16 tag.
 */
#ifndef BECKET_STORE_SEAL_H
#define BECKET_STORE_SEAL_H

#include "base/aead.h"
#include "base/err.h"
#include "base/slice.h"

#define SEAL_OVERHEAD_BYTES 29U
#define SEAL_VALUE_BYTES_MAX 65536U

struct seal {
    struct aead_key key;
    struct aead_key before; /* while has_before */
    bool has_before;
};

void seal_init(struct seal *seal, const uint8_t key[AEAD_KEY_BYTES]);
/* Another key from now on; what the present one sealed is opened until seal_forget_before(). There
 * must be none before it. */
void seal_replace(struct seal *seal, const uint8_t key[AEAD_KEY_BYTES]);
/* The key that was replaced, where it was in an earlier process. */
void seal_init_before(struct seal *seal, const uint8_t key[AEAD_KEY_BYTES]);
void seal_forget_before(struct seal *seal);
void seal_fini(struct seal *seal);

/* ret_sealed: plain.bytes + SEAL_OVERHEAD_BYTES. */
void seal_value(const struct seal *seal, const uint8_t record_id[16], struct slice field,
                struct slice plain, uint8_t *ret_sealed);
/* ret_plain: sealed.bytes - SEAL_OVERHEAD_BYTES. BK_SEALED: wrong key, record, field, or altered.
 * */
enum bk_err seal_open(const struct seal *seal, const uint8_t record_id[16], struct slice field,
                      struct slice sealed, uint8_t *ret_plain, size_t *ret_bytes) BK_MUST_CHECK;
/* The same value under the present key: ret_sealed has sealed.bytes. BK_OK: it is another one now;
 * BK_EXISTS: it is under that key already, or is none of ours, and was copied as it is. */
enum bk_err seal_renew(const struct seal *seal, const uint8_t record_id[16], struct slice field,
                       struct slice sealed, uint8_t *ret_sealed) BK_MUST_CHECK;

#endif
