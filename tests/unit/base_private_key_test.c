/* Description: what our private keys sign, their public keys verify; keys made by openssl, the long
 * ones once (tests/vectors/crypto): that takes seconds. */
#include "base/private_key.h"
#include "tests/tap.h"

#include <unistd.h>

#define VECTORS "\"${VECTORS:-tests/vectors}\""

static char text[16384];

/* Standard output of a command, NUL-terminated; false when it fails. */
static bool output(const char *command)
{
    FILE *pipe = popen(command, "r");
    if (!pipe) {
        return false;
    }
    size_t bytes = fread(text, 1, sizeof text - 1, pipe);
    text[bytes] = '\0';
    return pclose(pipe) == 0 && bytes > 0;
}

static void round_trip(const char *what, const char *make,
                       const enum signature_algorithm *algorithms, unsigned count)
{
    static const struct slice message = SLICE("what is signed");
    static struct private_key key;
    static struct public_key public_key;
    char command[1024], path[] = "/tmp/private-key-XXXXXX";
    int file = mkstemp(path);
    close(file);
    snprintf(command, sizeof command, "%s 2>/dev/null >%s && cat %s", make, path, path);
    if (!ok(output(command), "%s: openssl makes one", what)) {
        unlink(path);
        return;
    }
    const char *why = private_key_parse(slice_str(text), &key);
    ok(why == NULL, "%s: is read%s%s", what, why ? ": " : "", why ? why : "");
    snprintf(command, sizeof command, "openssl pkey -in %s -pubout 2>/dev/null", path);
    ok(output(command) && public_key_parse(slice_str(text), &public_key) == NULL,
       "%s: its public key", what);
    unlink(path);
    for (unsigned i = 0; i < count; i++) {
        uint8_t signature[SIGNATURE_BYTES_MAX];
        size_t bytes = private_key_sign(&key, algorithms[i], message, signature);
        ok(bytes > 0 && public_key_verify(&public_key, algorithms[i], &message, 1,
                                          slice_of(signature, bytes)),
           "%s: algorithm %d, %zu bytes", what, algorithms[i], bytes);
        struct public_key half;
        ok(private_key_public(&key, &half) &&
               public_key_verify(&half, algorithms[i], &message, 1, slice_of(signature, bytes)),
           "%s: by the public half that is computed", what);
        signature[bytes / 2] ^= 1;
        ok(!public_key_verify(&public_key, algorithms[i], &message, 1, slice_of(signature, bytes)),
           "%s: altered", what);
    }
    enum signature_algorithm other =
        key.kind == PUBLIC_KEY_RSA ? SIGNATURE_ED25519 : SIGNATURE_RSA_SHA256;
    uint8_t none[SIGNATURE_BYTES_MAX];
    is_uint(private_key_sign(&key, other, message, none), 0, "%s: not another algorithm", what);
    private_key_wipe(&key);
}

static void refused(const char *make, const char *what)
{
    static struct private_key key;
    if (ok(output(make), "%s", what)) {
        const char *why = private_key_parse(slice_str(text), &key);
        ok(why != NULL, "%s is refused: %s", what, why ? why : "");
    }
}

int main(void)
{
    static const enum signature_algorithm rsa[] = {SIGNATURE_RSA_SHA1, SIGNATURE_RSA_SHA256,
                                                   SIGNATURE_RSA_SHA384, SIGNATURE_RSA_SHA512};
    static const enum signature_algorithm p256[] = {SIGNATURE_P256_DER, SIGNATURE_P256_RAW};
    static const enum signature_algorithm ed25519[] = {SIGNATURE_ED25519};
    static struct private_key key;
    if (!output("openssl version")) {
        skip_all("openssl is not installed");
    }
    round_trip("RSA, PKCS#8", "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048", rsa,
               4);
    round_trip("RSA, PKCS#1", "openssl rsa -traditional -in " VECTORS "/tls/server_rsa.key", rsa,
               4);
    round_trip("RSA of 4,096 bits", "cat " VECTORS "/crypto/rsa_4096.key", rsa, 4);
    round_trip("RSA of 3,071 bits", "cat " VECTORS "/crypto/rsa_3071.key", rsa, 4);
    round_trip("P-256, PKCS#8", "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256",
               p256, 2);
    round_trip("P-256, SEC 1", "openssl ecparam -name prime256v1 -genkey", p256, 2);
    round_trip("Ed25519", "openssl genpkey -algorithm ED25519", ed25519, 1);
    refused("openssl genrsa 1024 2>/dev/null", "a short RSA key");
    refused("openssl ecparam -name secp384r1 -genkey 2>/dev/null", "P-384");
    refused("openssl genpkey -algorithm ED25519 -aes256 -pass pass:x 2>/dev/null",
            "an encrypted one");
    refused("openssl genpkey -algorithm ED25519 2>/dev/null | openssl pkey -pubout",
            "a public key");
    ok(private_key_parse(SLICE("nonsense"), &key) != NULL, "no PEM");
    return done_testing();
}
