#include "tls/private.h"

/* What of a client's hello must be known before BearSSL has read it. BearSSL 0.6 looks for a
 * session in the middle of the hello, and when it resumes one it does not look at ALPN any more: a
 * hello with none of our protocols makes it take the name at index 65534 of them. It also passes
 * over much that is malformed. */

enum extension {
    SERVER_NAME = 0,
    GROUPS = 10,
    FORMATS = 11,
    SIGNATURES = 13,
    ALPN = 16,
    ENCRYPT_THEN_MAC = 22,
    EXTENDED_MASTER = 23
};

/* A block behind its length of so many bytes. False: it is not there whole. */
static bool take_block(struct slice *from, size_t length_bytes, struct slice *ret_block)
{
    size_t bytes = 0;
    if (from->bytes < length_bytes) {
        return false;
    }
    for (size_t i = 0; i < length_bytes; i++) {
        bytes = bytes << 8 | from->at[i];
    }
    *from = slice_skip(*from, length_bytes);
    if (from->bytes < bytes) {
        return false;
    }
    *ret_block = slice_of(from->at, bytes);
    *from = slice_skip(*from, bytes);
    return true;
}

static bool has_protocol(struct slice extension, struct slice name)
{
    struct slice names, one;
    bool found = false;
    if (!take_block(&extension, 2, &names) || extension.bytes > 0) {
        return false;
    }
    while (names.bytes > 0) {
        if (!take_block(&names, 1, &one)) {
            return false;
        }
        found |= slice_equal(one, name);
    }
    return found;
}

bool tls_hello_read(struct slice bytes, struct tls_hello *ret_hello)
{
    struct slice record;
    if (bytes.bytes < 3 || bytes.at[0] != 22 || bytes.at[1] != 3) {
        return false;
    }
    bytes = slice_skip(bytes, 3);
    return take_block(&bytes, 2, &record) && tls_hello_parse(record, ret_hello);
}

bool tls_hello_goes_on(struct slice record)
{
    struct slice message;
    if (record.bytes > 0 && record.at[0] != 1) {
        return false; /* none at all */
    }
    record = slice_skip(record, record.bytes > 0);
    return !take_block(&record, 3, &message);
}

bool tls_hello_parse(struct slice record, struct tls_hello *ret_hello)
{
    struct slice message;
    if (record.bytes == 0 || record.at[0] != 1) {
        return false;
    }
    record = slice_skip(record, 1);
    if (!take_block(&record, 3, &message) || message.bytes < 34) {
        return false;
    }
    ret_hello->version = (unsigned)message.at[0] << 8 | message.at[1];
    message = slice_skip(message, 34);
    ret_hello->rest = SLICE_EMPTY;
    if (!take_block(&message, 1, &ret_hello->session)) {
        return false;
    }
    ret_hello->rest = message;
    return true;
}

bool tls_hello_offers(const struct tls_hello *hello, unsigned suite)
{
    struct slice rest = hello->rest, suites;
    if (!take_block(&rest, 2, &suites)) {
        return false;
    }
    for (size_t i = 0; i + 1 < suites.bytes; i += 2) {
        if (((unsigned)suites.at[i] << 8 | suites.at[i + 1]) == suite) {
            return true;
        }
    }
    return false;
}

/* The extensions behind suites and compressions. */
static bool take_extensions(struct slice rest, struct slice *ret_extensions)
{
    struct slice suites, compressions;
    return take_block(&rest, 2, &suites) && take_block(&rest, 1, &compressions) &&
           take_block(&rest, 2, ret_extensions);
}

static bool take_extension(struct slice *from, unsigned *ret_type, struct slice *ret_data)
{
    if (from->bytes < 2) {
        return false;
    }
    *ret_type = (unsigned)from->at[0] << 8 | from->at[1];
    *from = slice_skip(*from, 2);
    return take_block(from, 2, ret_data);
}

bool tls_hello_speaks(struct slice rest, struct slice name)
{
    struct slice extensions, data;
    unsigned type;
    if (!take_extensions(rest, &extensions)) {
        return false;
    }
    while (extensions.bytes > 0) {
        if (!take_extension(&extensions, &type, &data) ||
            (type == ALPN && !has_protocol(data, name))) {
            return false;
        }
    }
    return true;
}

struct slice tls_hello_name(struct slice rest)
{
    struct slice extensions, data, names, name;
    unsigned type;
    bool more = take_extensions(rest, &extensions);
    while (more && extensions.bytes > 0 && take_extension(&extensions, &type, &data)) {
        if (type == SERVER_NAME && take_block(&data, 2, &names) && names.bytes > 0 &&
            names.at[0] == 0) {
            names = slice_skip(names, 1);
            return take_block(&names, 2, &name) ? name : SLICE_EMPTY;
        }
    }
    return SLICE_EMPTY;
}

/* ---- what is malformed */

/* A vector that fills the extension, of whole elements and at least one. */
static bool take_vector(struct slice data, size_t length_bytes, size_t element_bytes,
                        struct slice *ret_vector)
{
    return take_block(&data, length_bytes, ret_vector) && data.bytes == 0 &&
           ret_vector->bytes > 0 && ret_vector->bytes % element_bytes == 0;
}

/* Not what DNS has for names, but no byte that is in none of them. */
static bool is_printable(struct slice name)
{
    for (size_t i = 0; i < name.bytes; i++) {
        if (name.at[i] <= ' ' || name.at[i] > '~') {
            return false;
        }
    }
    return true;
}

static unsigned names_fault(struct slice data)
{
    struct slice names, name;
    unsigned hosts = 0;
    if (!take_vector(data, 2, 1, &names)) {
        return BR_ALERT_DECODE_ERROR;
    }
    while (names.bytes > 0) {
        bool host = names.at[0] == 0;
        names = slice_skip(names, 1);
        if (!take_block(&names, 2, &name) || name.bytes == 0) {
            return BR_ALERT_DECODE_ERROR;
        }
        hosts += host;
        if (host && (hosts > 1 || !is_printable(name))) {
            return BR_ALERT_ILLEGAL_PARAMETER;
        }
    }
    return 0;
}

static unsigned protocols_fault(struct slice data)
{
    struct slice names, name;
    if (!take_vector(data, 2, 1, &names)) {
        return BR_ALERT_DECODE_ERROR;
    }
    while (names.bytes > 0) {
        if (!take_block(&names, 1, &name) || name.bytes == 0) {
            return BR_ALERT_DECODE_ERROR;
        }
    }
    return 0;
}

static unsigned extension_fault(unsigned type, struct slice data)
{
    struct slice vector;
    bool good = true;
    switch (type) {
    case SERVER_NAME:
        return names_fault(data);
    case ALPN:
        return protocols_fault(data);
    case FORMATS:
        if (take_vector(data, 1, 1, &vector) && !memchr(vector.at, 0, vector.bytes)) {
            return BR_ALERT_ILLEGAL_PARAMETER; /* uncompressed is not among them */
        }
        good = take_vector(data, 1, 1, &vector);
        break;
    case GROUPS:
    case SIGNATURES:
        good = take_vector(data, 2, 2, &vector);
        break;
    case ENCRYPT_THEN_MAC:
    case EXTENDED_MASTER:
        good = data.bytes == 0;
        break;
    default:
        break;
    }
    return good ? 0 : BR_ALERT_DECODE_ERROR;
}

static unsigned extensions_fault(struct slice extensions)
{
    uint64_t seen[65536 / 64] = {0}; /* a hello may have thousands */
    while (extensions.bytes > 0) {
        unsigned type;
        struct slice data;
        if (!take_extension(&extensions, &type, &data)) {
            return BR_ALERT_DECODE_ERROR;
        }
        if (seen[type / 64] >> type % 64 & 1) {
            return BR_ALERT_ILLEGAL_PARAMETER;
        }
        seen[type / 64] |= 1ULL << type % 64;
        unsigned fault = extension_fault(type, data);
        if (fault) {
            return fault;
        }
    }
    return 0;
}

unsigned tls_hello_fault(struct slice rest)
{
    struct slice suites, compressions, extensions;
    if (!take_block(&rest, 2, &suites) || suites.bytes == 0 || suites.bytes % 2 != 0 ||
        !take_block(&rest, 1, &compressions) || compressions.bytes == 0) {
        return BR_ALERT_DECODE_ERROR;
    }
    if (!memchr(compressions.at, 0, compressions.bytes)) {
        return BR_ALERT_ILLEGAL_PARAMETER;
    }
    if (rest.bytes == 0) {
        return 0;
    }
    if (!take_block(&rest, 2, &extensions) || rest.bytes != 0) {
        return BR_ALERT_DECODE_ERROR;
    }
    return extensions_fault(extensions);
}
