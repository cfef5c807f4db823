/* signature_bench - what checking a signature of others costs, one line an algorithm, microseconds
 * per call, the fastest of many rounds (the machine is noisy). */
#include "base/base64.h"
#include "base/public_key.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <yyjson.h>

static volatile unsigned sink;

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static size_t bytes_of(yyjson_val *value, uint8_t *out, size_t room)
{
    size_t bytes = 0;
    struct slice text = slice_of(yyjson_get_str(value), yyjson_get_len(value));
    return base64_decode(text, BASE64_STANDARD, out, room, &bytes) ? bytes : 0;
}

/* The first good signature of this key and algorithm among the vectors. */
static size_t find_signature(yyjson_val *root, const char *key, const char *algorithm, uint8_t *out,
                             size_t room)
{
    size_t i, n;
    yyjson_val *from;
    yyjson_arr_foreach(yyjson_obj_get(root, "signatures"), i, n, from)
    {
        if (yyjson_equals_str(yyjson_obj_get(from, "key"), key) &&
            yyjson_equals_str(yyjson_obj_get(from, "algorithm"), algorithm) &&
            yyjson_equals_str(yyjson_obj_get(from, "expect"), "accept")) {
            return bytes_of(yyjson_obj_get(from, "signature_base64"), out, room);
        }
    }
    return 0;
}

static void measure(yyjson_val *root, const char *name, const char *key_name,
                    enum signature_algorithm algorithm, const char *algorithm_name)
{
    uint8_t text[256], signature[SIGNATURE_BYTES_MAX];
    yyjson_val *value =
        yyjson_obj_get(yyjson_obj_get(yyjson_obj_get(root, "keys"), key_name), "text");
    struct public_key key;
    struct slice part =
        slice_of(text, bytes_of(yyjson_obj_get(root, "message_base64"), text, sizeof text));
    struct slice given = slice_of(
        signature, find_signature(root, key_name, algorithm_name, signature, sizeof signature));
    double best = 1e18;
    if (public_key_parse(slice_of(yyjson_get_str(value), yyjson_get_len(value)), &key) != NULL ||
        !public_key_verify(&key, algorithm, &part, 1, given)) {
        printf("%-22s no vector\n", name);
        return;
    }
    for (int trial = 0; trial < 40; trial++) {
        double from = now_us();
        for (int i = 0; i < 20; i++) {
            sink = public_key_verify(&key, algorithm, &part, 1, given);
        }
        double took = (now_us() - from) / 20;
        best = took < best ? took : best;
    }
    printf("%-22s %8.1f us\n", name, best);
}

int main(void)
{
    const char *folder = getenv("VECTORS");
    char path[1024];
    snprintf(path, sizeof path, "%s/crypto/public_keys.json", folder ? folder : "tests/vectors");
    yyjson_doc *doc = yyjson_read_file(path, 0, NULL, NULL);
    yyjson_val *root = yyjson_doc_get_root(doc);
    if (root == NULL) {
        printf("run it in the checkout\n");
        return 1;
    }
    measure(root, "RSA 2048, SHA-256", "rsa", SIGNATURE_RSA_SHA256, "rsa-sha256");
    measure(root, "RSA 4096, SHA-256", "rsa4096", SIGNATURE_RSA_SHA256, "rsa-sha256");
    measure(root, "ECDSA P-256", "p256", SIGNATURE_P256_RAW, "p256-raw");
    measure(root, "Ed25519", "ed25519", SIGNATURE_ED25519, "ed25519");
    yyjson_doc_free(doc);
    return 0;
}
