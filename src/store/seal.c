#include "store/seal.h"

#include "base/assert.h"
#include "base/ct.h"
#include "ring/ring.h"

#define SEAL_VERSION 1U
#define AAD_BYTES_MAX 512U

void seal_init(struct seal *seal, const uint8_t key[AEAD_KEY_BYTES])
{
    aead_key_init(&seal->key, key);
}

void seal_fini(struct seal *seal)
{
    aead_key_wipe(&seal->key);
}

/* version | record id | field. */
static struct slice make_aad(uint8_t at[AAD_BYTES_MAX], const uint8_t record_id[16],
                             struct slice field)
{
    bk_assert(field.bytes <= AAD_BYTES_MAX - 17);
    at[0] = SEAL_VERSION;
    memcpy(at + 1, record_id, 16);
    if (field.bytes > 0) {
        memcpy(at + 17, field.at, field.bytes);
    }
    return slice_of(at, 17 + field.bytes);
}

void seal_value(const struct seal *seal, const uint8_t record_id[16], struct slice field,
                struct slice plain, uint8_t *ret_sealed)
{
    uint8_t aad[AAD_BYTES_MAX];
    uint8_t *nonce = ret_sealed + 1, *data = nonce + AEAD_NONCE_BYTES;
    ret_sealed[0] = SEAL_VERSION;
    ring_entropy(nonce, AEAD_NONCE_BYTES);
    if (plain.bytes > 0) {
        memcpy(data, plain.at, plain.bytes);
    }
    aead_seal(&seal->key, nonce, make_aad(aad, record_id, field), data, plain.bytes,
              data + plain.bytes);
}

enum bk_err seal_open(const struct seal *seal, const uint8_t record_id[16], struct slice field,
                      struct slice sealed, uint8_t *ret_plain, size_t *ret_bytes)
{
    if (sealed.bytes < SEAL_OVERHEAD_BYTES || sealed.at[0] != SEAL_VERSION) {
        return BK_SEALED;
    }
    uint8_t aad[AAD_BYTES_MAX];
    size_t bytes = sealed.bytes - SEAL_OVERHEAD_BYTES;
    const uint8_t *nonce = sealed.at + 1, *data = nonce + AEAD_NONCE_BYTES;
    if (bytes > 0) {
        memcpy(ret_plain, data, bytes);
    }
    *ret_bytes = bytes;
    return aead_open(&seal->key, nonce, make_aad(aad, record_id, field), ret_plain, bytes,
                     data + bytes)
               ? BK_OK
               : BK_SEALED;
}
