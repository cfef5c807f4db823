#include "tls/private.h"

#include "base/sha256.h"

/* BearSSL asks: which certificate and suite for this client, and sign this with its key. */

static const unsigned char *const hash_oids[] = {
    /* by BearSSL's number minus br_sha256_ID; a length, then the identifier */
    (const unsigned char *)"\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01",
    (const unsigned char *)"\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02",
    (const unsigned char *)"\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03",
};

/* The strongest need is none: SHA-256 where the client can, for ours is the fastest. 0 = nothing in
 * common. */
static unsigned hash_for(uint32_t hashes)
{
    static const unsigned preferred[] = {br_sha256_ID, br_sha384_ID, br_sha512_ID};
    for (unsigned i = 0; i < 3; i++) {
        if (hashes >> preferred[i] & 1) {
            return preferred[i];
        }
    }
    return 0;
}

/* The first suite both know that goes with this kind of key; 0 = none. */
static uint16_t suite_for(const br_ssl_server_context *server, bool ec)
{
    size_t count;
    const br_suite_translated *suites = br_ssl_server_get_client_suites(server, &count);
    for (size_t i = 0; i < count; i++) {
        if (suites[i][1] >> 12 == (ec ? BR_SSLKEYX_ECDHE_ECDSA : BR_SSLKEYX_ECDHE_RSA)) {
            return suites[i][0];
        }
    }
    return 0;
}

/* Can this client verify our key? EC curves of a key are in the same list as those of ECDHE. */
static bool fits(const br_ssl_server_context *server, const struct tls_identity *identity,
                 br_ssl_server_choices *choices)
{
    uint32_t hashes = br_ssl_server_get_client_hashes(server);
    unsigned hash = hash_for(identity->ec ? hashes >> 8 : hashes & 0xff);
    uint16_t suite = suite_for(server, identity->ec);
    if (!hash || !suite) {
        return false;
    }
    if (identity->ec && !(br_ssl_server_get_client_curves(server) >> identity->ec_key.curve & 1)) {
        return false;
    }
    choices->cipher_suite = suite;
    choices->algo_id = hash + 0xff00;
    choices->chain = identity->chain;
    choices->chain_len = identity->chain_count;
    return true;
}

static bool named(const struct tls_identity *identity, const struct cert_name *name)
{
    struct cert_facts facts;
    cert_scan_all(slice_of(identity->chain[0].data, identity->chain[0].data_len), name, &facts);
    return facts.named;
}

static int choose(const br_ssl_server_policy_class **context, const br_ssl_server_context *server,
                  br_ssl_server_choices *ret_choices)
{
    struct tls_policy *policy = (struct tls_policy *)(void *)context;
    const struct tls_server *ours = policy->server;
    struct cert_name name;
    bool asked = cert_name_from(br_ssl_engine_get_server_name(&server->eng), &name);
    /* First those of the name, then whatever the client can verify at all. */
    for (unsigned round = asked ? 0 : 1; round < 2; round++) {
        for (unsigned i = 0; i < ours->identity_count; i++) {
            const struct tls_identity *identity = ours->identities[i];
            if ((round == 1 || named(identity, &name)) && fits(server, identity, ret_choices)) {
                policy->chosen = identity;
                return 1;
            }
        }
    }
    return 0;
}

/* Only suites with a fresh key (ECDHE) are offered, so this is never asked. */
static uint32_t do_keyx(const br_ssl_server_policy_class **context, unsigned char *data,
                        size_t *bytes)
{
    (void)context;
    (void)data;
    (void)bytes;
    return 0;
}

static const br_hash_class *hash_class(unsigned id)
{
    return id == br_sha256_ID   ? &sha256_class
           : id == br_sha384_ID ? &br_sha384_vtable
                                : &br_sha512_vtable;
}

static size_t do_sign(const br_ssl_server_policy_class **context, unsigned algorithm,
                      unsigned char *data, size_t hash_bytes, size_t room)
{
    const struct tls_policy *policy = (const struct tls_policy *)(const void *)context;
    const struct tls_identity *identity = policy->chosen;
    unsigned char hash[64];
    unsigned id = algorithm & 0xff;
    if (!identity || hash_bytes > sizeof hash || id < br_sha256_ID || id > br_sha512_ID) {
        return 0;
    }
    memcpy(hash, data, hash_bytes);
    if (identity->ec) {
        br_ecdsa_sign sign = br_ecdsa_sign_asn1_get_default();
        return room < BR_EC_KBUF_PUB_MAX_SIZE
                   ? 0
                   : sign(br_ec_get_default(), hash_class(id), hash, &identity->ec_key, data);
    }
    br_rsa_pkcs1_sign sign = br_rsa_pkcs1_sign_get_default();
    size_t bytes = (identity->rsa.n_bitlen + 7) / 8;
    bool done =
        bytes <= room && sign(hash_oids[id - br_sha256_ID], hash, hash_bytes, &identity->rsa, data);
    return done ? bytes : 0;
}

const br_ssl_server_policy_class tls_policy_class = {
    .context_size = sizeof(struct tls_policy),
    .choose = choose,
    .do_keyx = do_keyx,
    .do_sign = do_sign,
};
