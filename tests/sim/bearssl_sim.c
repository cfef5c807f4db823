/* bearssl_sim.c - two of BearSSL's functions, for a run that is decided by its seed and cheap.
 *
 * Certificates of a run are the same at each handshake, and to check their signatures again was a
 * third of what TLS cost: br_ecdsa_i31_vrfy_asn1() has a memory here. What was not asked before is
 * computed as by the original. And the system gives no randomness: an engine has what was injected,
 * which is the seed's. */
#include "base/assert.h"

#include <bearssl.h>
#include <stdbool.h>
#include <string.h>

#define HASH_MAX      64U
#define KEY_MAX       136U
#define SIGNATURE_MAX 144U /* else it is no signature of a curve that there is */
#define ASKED_MAX     128U

struct asked {
    int curve;
    size_t hash_bytes, key_bytes, signature_bytes;
    uint8_t hash[HASH_MAX], key[KEY_MAX], signature[SIGNATURE_MAX];
};

static struct {
    struct asked asked;
    bool known;
    uint32_t answer;
} memory[ASKED_MAX];

static uint32_t compute(const br_ec_impl *curves, const struct asked *asked,
                        const br_ec_public_key *key)
{
    uint8_t raw[2 * SIGNATURE_MAX]; /* one that is malformed may grow */
    memcpy(raw, asked->signature, asked->signature_bytes);
    size_t bytes = br_ecdsa_asn1_to_raw(raw, asked->signature_bytes);
    return br_ecdsa_i31_vrfy_raw(curves, asked->hash, asked->hash_bytes, key, raw, bytes);
}

uint32_t br_ecdsa_i31_vrfy_asn1(const br_ec_impl *curves, const void *hash, size_t hash_bytes,
                                const br_ec_public_key *key, const void *signature,
                                size_t signature_bytes)
{
    struct asked asked;
    if (signature_bytes > SIGNATURE_MAX) {
        return 0;
    }
    bk_assert(hash_bytes > 0 && hash_bytes <= HASH_MAX && key->qlen <= KEY_MAX);
    memset(&asked, 0, sizeof asked);
    asked.curve = key->curve;
    asked.hash_bytes = hash_bytes;
    asked.key_bytes = key->qlen;
    asked.signature_bytes = signature_bytes;
    memcpy(asked.hash, hash, hash_bytes);
    memcpy(asked.key, key->q, key->qlen);
    memcpy(asked.signature, signature, signature_bytes);
    unsigned place = asked.hash[0] % ASKED_MAX;
    if (!memory[place].known || memcmp(&memory[place].asked, &asked, sizeof asked) != 0) {
        memory[place].asked = asked;
        memory[place].answer = compute(curves, &asked, key);
        memory[place].known = true;
    }
    return memory[place].answer;
}

br_prng_seeder br_prng_seeder_system(const char **name)
{
    if (name) {
        *name = "none";
    }
    return NULL;
}
