/* vendor_known_answers_test.c - the libraries were built as this machine needs them.
 *
 * Description: one published vector or round trip per library. A wrong word in a build rule (byte
 * order, a missing define) gives a library that agrees with itself and with nobody else.
 */
#define PCRE2_CODE_UNIT_WIDTH 8

#include <ares.h>
#include <bearssl.h>
#include <liburing.h>
#include <lmdb.h>
#include <pcre2.h>
#include <sodium.h>
#include <yaml.h>
#include <yyjson.h>

#include "tests/tap.h"

/* RFC 8032, section 7.1, test 1: the empty message. */
static void test_ed25519(void)
{
    static const unsigned char seed[32] = {
        0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a,
        0xf4, 0x92, 0xec, 0x2c, 0xc4, 0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32,
        0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
    };
    static const unsigned char public_key[32] = {
        0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe,
        0xd3, 0xc9, 0x64, 0x07, 0x3a, 0x0e, 0xe1, 0x72, 0xf3, 0xda, 0xa6,
        0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a,
    };
    static const unsigned char signature[64] = {
        0xe5, 0x56, 0x43, 0x00, 0xc3, 0x60, 0xac, 0x72, 0x90, 0x86, 0xe2, 0xcc, 0x80,
        0x6e, 0x82, 0x8a, 0x84, 0x87, 0x7f, 0x1e, 0xb8, 0xe5, 0xd9, 0x74, 0xd8, 0x73,
        0xe0, 0x65, 0x22, 0x49, 0x01, 0x55, 0x5f, 0xb8, 0x82, 0x15, 0x90, 0xa3, 0x3b,
        0xac, 0xc6, 0x1e, 0x39, 0x70, 0x1c, 0xf9, 0xb4, 0x6b, 0xd2, 0x5b, 0xf5, 0xf0,
        0x59, 0x5b, 0xbe, 0x24, 0x65, 0x51, 0x41, 0x43, 0x8e, 0x7a, 0x10, 0x0b,
    };
    unsigned char pk[32], sk[64], sig[64];

    ok(sodium_init() >= 0, "libsodium starts");
    crypto_sign_seed_keypair(pk, sk, seed);
    is_mem(pk, public_key, sizeof pk, "Ed25519 public key of RFC 8032 test 1");
    crypto_sign_detached(sig, NULL, sk, 0, sk);
    is_mem(sig, signature, sizeof sig, "Ed25519 signature of RFC 8032 test 1");
    ok(crypto_sign_verify_detached(signature, sk, 0, pk) == 0, "and it verifies");
    sig[3] ^= 1;
    ok(crypto_sign_verify_detached(sig, sk, 0, pk) != 0, "with one bit changed it does not");
}

/* FIPS 180-2, appendix B.1; RFC 4231, test case 2. */
static void test_bearssl(void)
{
    static const unsigned char abc[32] = {
        0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40,
        0xde, 0x5d, 0xae, 0x22, 0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17,
        0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad,
    };
    static const unsigned char hmac[32] = {
        0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e, 0x6a, 0x04, 0x24,
        0x26, 0x08, 0x95, 0x75, 0xc7, 0x5a, 0x00, 0x3f, 0x08, 0x9d, 0x27,
        0x39, 0x83, 0x9d, 0xec, 0x58, 0xb9, 0x64, 0xec, 0x38, 0x43,
    };
    unsigned char out[32];
    br_sha256_context sha;
    br_hmac_key_context key;
    br_hmac_context mac;

    br_sha256_init(&sha);
    br_sha256_update(&sha, "abc", 3);
    br_sha256_out(&sha, out);
    is_mem(out, abc, sizeof out, "SHA-256 of abc");
    br_hmac_key_init(&key, &br_sha256_vtable, "Jefe", 4);
    br_hmac_init(&mac, &key, 0);
    br_hmac_update(&mac, "what do ya want for nothing?", 28);
    br_hmac_out(&mac, out);
    is_mem(out, hmac, sizeof out, "HMAC-SHA-256 of RFC 4231 test case 2");
#if defined(__x86_64__)
    if (__builtin_cpu_supports("aes") && __builtin_cpu_supports("pclmul")) {
        ok(br_aes_x86ni_ctr_get_vtable() != NULL, "BearSSL was built with AES-NI");
        ok(br_ghash_pclmul_get() != NULL, "BearSSL was built with PCLMULQDQ");
    } else {
        skip("this processor has no AES-NI or PCLMULQDQ");
    }
#endif
}

static void test_text(void)
{
    static const char json[] = "{\"a\":[1,2.5,\"\\u00e9\"]}";
    yyjson_doc *doc = yyjson_read(json, sizeof json - 1, 0);
    yyjson_val *list = yyjson_obj_get(yyjson_doc_get_root(doc), "a");
    is_int(yyjson_get_int(yyjson_arr_get(list, 0)), 1, "yyjson: an integer");
    ok(yyjson_get_real(yyjson_arr_get(list, 1)) == 2.5, "yyjson: a real");
    is_str(yyjson_get_str(yyjson_arr_get(list, 2)), "\xc3\xa9", "yyjson: an escape");
    yyjson_doc_free(doc);

    yaml_parser_t parser;
    yaml_document_t yaml;
    ok(yaml_parser_initialize(&parser), "libyaml starts");
    yaml_parser_set_input_string(&parser, (const unsigned char *)"a: [b, c]\n", 10);
    ok(yaml_parser_load(&parser, &yaml), "libyaml: a document");
    yaml_node_t *root = yaml_document_get_root_node(&yaml);
    ok(root != NULL && root->type == YAML_MAPPING_NODE, "libyaml: a mapping at its root");
    yaml_document_delete(&yaml);
    yaml_parser_delete(&parser);
}

/* The name "FOO.F.ISI.ARPA" of RFC 1035 section 4.1.4, which ends in a pointer. */
static void test_dns(void)
{
    unsigned char message[93] = {0};
    char *name = NULL;
    long bytes = 0;
    memcpy(message + 20, "\1F\3ISI\4ARPA", 12);
    memcpy(message + 40, "\3FOO\xc0\x14", 6);
    int status = ares_expand_name(message + 40, message, sizeof message, &name, &bytes);
    is_int(status, ARES_SUCCESS, "c-ares: a compressed name");
    is_str(name, "FOO.F.ISI.ARPA", "c-ares: is read");
    is_int(bytes, 6, "c-ares: to its pointer");
    ares_free_string(name);
}

static void test_versions(void)
{
    int major, minor;
    mdb_version(&major, &minor, NULL);
    ok(major == 0 && minor == 9, "LMDB is 0.9: its file format is the one we keep");
#ifdef IO_URING_VERSION_MAJOR /* since 2.4; in 2.3 io_uring_prep_msg_ring is the newest we need */
    ok(IO_URING_VERSION_MAJOR >= 2, "liburing says its version");
#endif
    struct io_uring_sqe sqe;
    io_uring_prep_msg_ring(&sqe, 3, 7, 9, 0);
    ok(sqe.opcode == IORING_OP_MSG_RING && sqe.fd == 3 && sqe.len == 7, "liburing 2.3 or newer");
}

/* Unicode tables are in: the sigma at a word's end equals the other one when case does not count
 * (Unicode CaseFolding.txt: 03C2 and 03C3). */
static void test_regular_expressions(void)
{
    int error;
    PCRE2_SIZE at;
    pcre2_code *code = pcre2_compile((PCRE2_SPTR) "^(\\p{Greek}+)\\d$", PCRE2_ZERO_TERMINATED,
                                     PCRE2_UTF, &error, &at, NULL);
    pcre2_code *folded = pcre2_compile((PCRE2_SPTR) "^\xcf\x83$", PCRE2_ZERO_TERMINATED,
                                       PCRE2_UTF | PCRE2_CASELESS, &error, &at, NULL);
    pcre2_match_data *data = pcre2_match_data_create(2, NULL);
    ok(code && folded && data, "patterns compile");
    is_int(pcre2_match(code, (PCRE2_SPTR) "\xce\xb1\xce\xb2" "7", 5, 0, 0, data, NULL), 2,
           "a Unicode property and a group");
    is_int(pcre2_get_ovector_pointer(data)[3], 4, "the group's end");
    is_int(pcre2_match(folded, (PCRE2_SPTR) "\xcf\x82", 2, 0, 0, data, NULL), 1, "case folding");
    pcre2_match_data_free(data);
    pcre2_code_free(code);
    pcre2_code_free(folded);
}

int main(void)
{
    test_regular_expressions();
    test_ed25519();
    test_bearssl();
    test_text();
    test_dns();
    test_versions();
    return done_testing();
}
