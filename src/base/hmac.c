#include "base/hmac.h"

#include "base/assert.h"

size_t hmac_bytes(enum hmac_algorithm algorithm)
{
    switch (algorithm) {
    case HMAC_SHA256:
        return 32;
    case HMAC_SHA1:
        return 20;
    case HMAC_SHA384:
        return 48;
    case HMAC_SHA512:
        return 64;
    }
    bk_never("unknown HMAC algorithm");
}

void hmac_key_init(struct hmac_key *ret_key, enum hmac_algorithm algorithm, struct slice secret)
{
    bk_assert(ret_key != NULL);
    memset(ret_key, 0, sizeof *ret_key);
    ret_key->algorithm = algorithm;
    switch (algorithm) {
    case HMAC_SHA256:
        hmac_sha256_key_init(&ret_key->sha256, secret);
        return;
    case HMAC_SHA1:
        br_hmac_key_init(&ret_key->other, &br_sha1_vtable, secret.at, secret.bytes);
        return;
    case HMAC_SHA384:
        br_hmac_key_init(&ret_key->other, &br_sha384_vtable, secret.at, secret.bytes);
        return;
    case HMAC_SHA512:
        br_hmac_key_init(&ret_key->other, &br_sha512_vtable, secret.at, secret.bytes);
        return;
    }
    bk_never("unknown HMAC algorithm");
}

size_t hmac(const struct hmac_key *key, const struct slice *parts, unsigned part_count,
            uint8_t ret_mac[HMAC_BYTES_MAX])
{
    bk_assert(key != NULL && (part_count == 0 || parts != NULL));
    if (key->algorithm == HMAC_SHA256) {
        hmac_sha256(&key->sha256, parts, part_count, ret_mac);
        return SHA256_BYTES;
    }
    br_hmac_context context;
    br_hmac_init(&context, &key->other, 0);
    for (unsigned i = 0; i < part_count; i++) {
        if (parts[i].bytes != 0) {
            br_hmac_update(&context, parts[i].at, parts[i].bytes);
        }
    }
    return br_hmac_out(&context, ret_mac);
}
