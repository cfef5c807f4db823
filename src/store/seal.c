#include "store/seal.h"

#include "base/assert.h"
#include "base/ct.h"
#include "ring/ring.h"

#include <stdlib.h>

#define SEAL_VERSION 1U
#define AAD_BYTES_MAX 512U

void seal_init(struct seal *seal, const uint8_t key[AEAD_KEY_BYTES])
{
    seal->has_before = false;
    aead_key_init(&seal->key, key);
}

void seal_replace(struct seal *seal, const uint8_t key[AEAD_KEY_BYTES])
{
    bk_assert(!seal->has_before);
    seal->before = seal->key;
    seal->has_before = true;
    aead_key_init(&seal->key, key);
}

void seal_init_before(struct seal *seal, const uint8_t key[AEAD_KEY_BYTES])
{
    bk_assert(!seal->has_before);
    aead_key_init(&seal->before, key);
    seal->has_before = true;
}

void seal_forget_before(struct seal *seal)
{
    aead_key_wipe(&seal->before);
    seal->has_before = false;
}

void seal_fini(struct seal *seal)
{
    aead_key_wipe(&seal->key);
    seal_forget_before(seal);
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

static bool open_with(const struct aead_key *key, const uint8_t record_id[16], struct slice field,
                      struct slice sealed, uint8_t *ret_plain)
{
    uint8_t aad[AAD_BYTES_MAX];
    size_t bytes = sealed.bytes - SEAL_OVERHEAD_BYTES;
    const uint8_t *nonce = sealed.at + 1, *data = nonce + AEAD_NONCE_BYTES;
    if (bytes > 0) {
        memcpy(ret_plain, data, bytes);
    }
    return aead_open(key, nonce, make_aad(aad, record_id, field), ret_plain, bytes, data + bytes);
}

enum bk_err seal_open(const struct seal *seal, const uint8_t record_id[16], struct slice field,
                      struct slice sealed, uint8_t *ret_plain, size_t *ret_bytes)
{
    if (sealed.bytes < SEAL_OVERHEAD_BYTES || sealed.at[0] != SEAL_VERSION) {
        return BK_SEALED;
    }
    *ret_bytes = sealed.bytes - SEAL_OVERHEAD_BYTES;
    return open_with(&seal->key, record_id, field, sealed, ret_plain) ||
                   (seal->has_before &&
                    open_with(&seal->before, record_id, field, sealed, ret_plain))
               ? BK_OK
               : BK_SEALED;
}

enum bk_err seal_renew(const struct seal *seal, const uint8_t record_id[16], struct slice field,
                       struct slice sealed, uint8_t *ret_sealed)
{
    enum bk_err err = BK_EXISTS;
    if (sealed.bytes > 0) {
        memcpy(ret_sealed, sealed.at, sealed.bytes);
    }
    if (!seal->has_before || sealed.bytes < SEAL_OVERHEAD_BYTES || sealed.at[0] != SEAL_VERSION) {
        return err;
    }
    uint8_t *plain = malloc(sealed.bytes);
    if (!plain) {
        return BK_NO_MEMORY;
    }
    if (!open_with(&seal->key, record_id, field, sealed, plain) &&
        open_with(&seal->before, record_id, field, sealed, plain)) {
        seal_value(seal, record_id, field, slice_of(plain, sealed.bytes - SEAL_OVERHEAD_BYTES),
                   ret_sealed);
        err = BK_OK;
    }
    bk_wipe(plain, sealed.bytes);
    free(plain);
    return err;
}
