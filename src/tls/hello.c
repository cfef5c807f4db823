#include "tls/private.h"

/* What of a client's hello must be known before BearSSL has read it. BearSSL 0.6 looks for a
 * session in the middle of the hello, and when it resumes one it does not look at ALPN any more: a
 * hello with none of our protocols makes it take the name at index 65534 of them. */

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
    struct slice record, message;
    if (bytes.bytes < 3 || bytes.at[0] != 22 || bytes.at[1] != 3) {
        return false;
    }
    bytes = slice_skip(bytes, 3);
    if (!take_block(&bytes, 2, &record) || record.bytes == 0 || record.at[0] != 1) {
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

bool tls_hello_speaks(struct slice rest, struct slice name)
{
    struct slice suites, compressions, extensions, extension;
    if (!take_block(&rest, 2, &suites) || !take_block(&rest, 1, &compressions) ||
        !take_block(&rest, 2, &extensions)) {
        return false;
    }
    while (extensions.bytes > 0) {
        if (extensions.bytes < 2) {
            return false;
        }
        bool is_alpn = extensions.at[0] == 0 && extensions.at[1] == 16;
        extensions = slice_skip(extensions, 2);
        if (!take_block(&extensions, 2, &extension) ||
            (is_alpn && !has_protocol(extension, name))) {
            return false;
        }
    }
    return true;
}
