#include "base/aead.h"

#include "base/assert.h"
#include "base/ct.h"

#include <bearssl_aead.h>

void aead_key_init_with(struct aead_key *ret_key, const uint8_t key[AEAD_KEY_BYTES],
                        enum aead_implementation implementation)
{
    bk_assert(ret_key != NULL && key != NULL);
    const br_block_ctr_class *aes =
        implementation == AEAD_AUTO ? br_aes_x86ni_ctr_get_vtable() : NULL;
    br_ghash ghash = implementation == AEAD_AUTO ? br_ghash_pclmul_get() : 0;
    memset(ret_key, 0, sizeof *ret_key);
    aes = aes != NULL ? aes : &br_aes_ct64_ctr_vtable;
    aes->init(&ret_key->aes.vtable, key, AEAD_KEY_BYTES);
    br_gcm_context gcm;
    ret_key->ghash = ghash != 0 ? ghash : br_ghash_ctmul64;
    br_gcm_init(&gcm, &ret_key->aes.vtable, ret_key->ghash);
    memcpy(ret_key->h, gcm.h, sizeof ret_key->h);
    bk_wipe(&gcm, sizeof gcm);
}

void aead_key_init(struct aead_key *ret_key, const uint8_t key[AEAD_KEY_BYTES])
{
    aead_key_init_with(ret_key, key, AEAD_AUTO);
}

void aead_key_wipe(struct aead_key *key)
{
    bk_wipe(key, sizeof *key);
}

/* A message context from a key: what br_gcm_init does, without encrypting the zero block again.
 * BearSSL's pointer to the schedule is not const, but CTR only reads it. */
static void start(br_gcm_context *gcm, const struct aead_key *key, const uint8_t *nonce,
                  struct slice aad)
{
    bk_assert(key->ghash != 0);
    gcm->vtable = &br_gcm_vtable;
    gcm->bctx = (const br_block_ctr_class **)(uintptr_t)&key->aes.vtable;
    gcm->gh = key->ghash;
    memcpy(gcm->h, key->h, sizeof gcm->h);
    br_gcm_reset(gcm, nonce, AEAD_NONCE_BYTES);
    if (aad.bytes != 0) {
        br_gcm_aad_inject(gcm, aad.at, aad.bytes);
    }
    br_gcm_flip(gcm);
}

void aead_seal(const struct aead_key *key, const uint8_t nonce[AEAD_NONCE_BYTES], struct slice aad,
               uint8_t *data, size_t bytes, uint8_t ret_tag[AEAD_TAG_BYTES])
{
    bk_assert(key != NULL && nonce != NULL && (bytes == 0 || data != NULL));
    br_gcm_context gcm;
    start(&gcm, key, nonce, aad);
    if (bytes != 0) {
        br_gcm_run(&gcm, 1, data, bytes);
    }
    br_gcm_get_tag(&gcm, ret_tag);
    bk_wipe(&gcm, sizeof gcm);
}

bool aead_open(const struct aead_key *key, const uint8_t nonce[AEAD_NONCE_BYTES], struct slice aad,
               uint8_t *data, size_t bytes, const uint8_t tag[AEAD_TAG_BYTES])
{
    bk_assert(key != NULL && nonce != NULL && (bytes == 0 || data != NULL));
    br_gcm_context gcm;
    start(&gcm, key, nonce, aad);
    if (bytes != 0) {
        br_gcm_run(&gcm, 0, data, bytes);
    }
    bool genuine = br_gcm_check_tag(&gcm, tag) == 1;
    bk_wipe(&gcm, sizeof gcm);
    if (!genuine) {
        bk_wipe(data, bytes);
    }
    return genuine;
}
