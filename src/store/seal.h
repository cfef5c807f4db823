/* seal.h - secrets at rest: a master key wraps a data key, the data key seals values.
 *
 * Purpose     Each sealed value is bound to the record and field it belongs to, so exchanging two
 *             sealed values on disk makes both unreadable.
 * Nonces      96 random bits each, from the system; never a counter, so a restored backup cannot
 *             repeat one.
 * Master key  BECKET_MASTER_KEY (64 hex digits or base64 of 32 bytes), else the file that
 *             BECKET_MASTER_KEY_FILE names, else <data>/master.key, made at first start. A key file
 *             that others can read is refused.
 * Threads     One at a time. seal_fini wipes.
 * Format      sealed value: 1 version | 12 nonce | ciphertext | 16 tag.
 */
#ifndef BECKET_STORE_SEAL_H
#define BECKET_STORE_SEAL_H

#include "base/aead.h"
#include "base/err.h"
#include "base/slice.h"

#define SEAL_OVERHEAD_BYTES 29U
#define SEAL_WHY_BYTES 512U
#define SEAL_VALUE_BYTES_MAX 65536U

struct seal {
    struct aead_key key;
};

#define MASTER_KEY_BYTES 32U
/* Find or make the master key. `make`: the state is new, so a missing file may be made.
 * ret_why: one line on failure. Nothing is written unless `make`. */
enum bk_err master_key_load(const char *data_directory, bool make, uint8_t
                            ret_key[MASTER_KEY_BYTES], char ret_why[SEAL_WHY_BYTES]) BK_MUST_CHECK;

void seal_init(struct seal *seal, const uint8_t key[AEAD_KEY_BYTES]);
void seal_fini(struct seal *seal);

/* ret_sealed: plain.bytes + SEAL_OVERHEAD_BYTES. */
void seal_value(const struct seal *seal, const uint8_t record_id[16], struct slice field,
                struct slice plain, uint8_t *ret_sealed);
/* ret_plain: sealed.bytes - SEAL_OVERHEAD_BYTES. BK_SEALED: wrong key, record, field, or altered.
 * */
enum bk_err seal_open(const struct seal *seal, const uint8_t record_id[16], struct slice field,
                      struct slice sealed, uint8_t *ret_plain, size_t *ret_bytes) BK_MUST_CHECK;

#endif
