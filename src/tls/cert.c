#include "tls/private.h"

#include "base/sha256.h"
#include "tls/tls.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <time.h>

/* Containers first, then single values. */
enum node {
    NODE_SKIP,
    NODE_ROOT,
    NODE_CERTIFICATE,
    NODE_TBS,
    NODE_VALIDITY,
    NODE_KEY,
    NODE_KEY_ALGORITHM,
    NODE_SIGNATURE_ALGORITHM,
    NODE_EXTENSIONS_TAG,
    NODE_EXTENSIONS,
    NODE_EXTENSION,
    NODE_BASIC,
    NODE_BASIC_LIST,
    NODE_KEY_USAGE,
    NODE_EXTENDED_USAGE,
    NODE_EXTENDED_USAGE_LIST,
    NODE_NAMES,
    NODE_NAMES_LIST,
    NODE_CONSTRAINTS,
    NODE_CONSTRAINTS_LIST,
    NODE_PERMITTED,
    NODE_PERMITTED_TREE,
    NODE_EXCLUDED,
    NODE_EXCLUDED_TREE,
    NODE_LAST_CONTAINER = NODE_EXCLUDED_TREE,
    VALUE_ISSUER,
    VALUE_SUBJECT,
    VALUE_NOT_BEFORE,
    VALUE_NOT_AFTER,
    VALUE_KEY_OID,
    VALUE_CURVE_OID,
    VALUE_KEY_BITS,
    VALUE_SIGNATURE_OID,
    VALUE_EXTENSION_OID,
    VALUE_IS_CA,
    VALUE_KEY_USAGE_BITS,
    VALUE_USAGE_OID,
    VALUE_DNS_NAME,
    VALUE_ADDRESS,
    VALUE_PERMITTED,
    VALUE_EXCLUDED
};

enum extension {
    EXTENSION_OTHER,
    EXTENSION_BASIC,
    EXTENSION_KEY_USAGE,
    EXTENSION_EXTENDED,
    EXTENSION_NAMES,
    EXTENSION_CONSTRAINTS
};

enum {
    TAG_BOOLEAN = 0x01,
    TAG_BITS = 0x03,
    TAG_OCTETS = 0x04,
    TAG_OID = 0x06,
    TAG_SEQUENCE = 0x30,
    TAG_VERSION = 0xa0,
    TAG_EXTENSIONS = 0xa3,
    TAG_PERMITTED = 0xa0,
    TAG_EXCLUDED = 0xa1,
    TAG_DNS_NAME = 0x82,
    TAG_ADDRESS = 0x87
};

/* ---- names */

static bool label_byte(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

static bool host_name_from(struct slice text, struct cert_name *name)
{
    if (text.bytes && text.at[text.bytes - 1] == '.') {
        text.bytes--;
    }
    if (text.bytes == 0 || text.bytes >= CERT_NAME_BYTES) {
        return false;
    }
    size_t label = 0;
    for (size_t i = 0; i < text.bytes; i++) {
        uint8_t c = ascii_lower(text.at[i]);
        if (c == '.' ? label == 0 : !label_byte(c) || label == 63) {
            return false;
        }
        label = c == '.' ? 0 : label + 1;
        name->at[i] = c;
    }
    name->bytes = (uint8_t)text.bytes;
    return label != 0;
}

bool cert_name_from(const char *text, struct cert_name *ret_name)
{
    struct cert_name name = {0};
    bool valid = true;
    if (inet_pton(AF_INET, text, name.at) == 1) {
        name.address = true;
        name.bytes = 4;
    } else if (inet_pton(AF_INET6, text, name.at) == 1) {
        name.address = true;
        name.bytes = 16;
    } else {
        valid = host_name_from(slice_str(text), &name);
    }
    if (valid) {
        *ret_name = name;
    }
    return valid;
}

/* RFC 6125: the same in any case, or "*." for one whole first label when two labels follow. */
static bool cert_name_matches(const struct cert_name *name, struct slice pattern)
{
    struct slice wanted = slice_of(name->at, name->bytes);
    if (name->any || name->address) {
        return name->any;
    }
    if (pattern.bytes < 2 || pattern.at[0] != '*' || pattern.at[1] != '.') {
        return slice_equal_nocase(wanted, pattern);
    }
    struct slice rest = slice_skip(pattern, 1); /* with its dot */
    struct slice ours = slice_skip(wanted, slice_find(wanted, '.'));
    bool two_labels = slice_find(slice_skip(rest, 1), '.') < rest.bytes - 1;
    return two_labels && ours.bytes > 0 && slice_equal_nocase(rest, ours);
}

static bool address_within(const struct cert_name *name, struct slice subtree)
{
    for (size_t i = 0; i < name->bytes; i++) {
        if ((name->at[i] ^ subtree.at[i]) & subtree.at[name->bytes + i]) {
            return false;
        }
    }
    return true;
}

bool cert_name_within(const struct cert_name *name, struct slice subtree)
{
    struct slice ours = slice_of(name->at, name->bytes);
    if (name->address) {
        return subtree.bytes == 2U * name->bytes && address_within(name, subtree);
    }
    if (subtree.bytes > ours.bytes || name->any) {
        return false;
    }
    size_t more = ours.bytes - subtree.bytes;
    bool whole_labels =
        subtree.bytes == 0 || more == 0 || subtree.at[0] == '.' || ours.at[more - 1] == '.';
    return whole_labels && slice_equal_nocase(slice_skip(ours, more), subtree);
}

/* ---- values */

static int64_t days_since_1970(int64_t year, int64_t month, int64_t day)
{
    /* Counted from March, so that the leap day is a year's last (Howard Hinnant's arithmetic). */
    year -= month <= 2;
    int64_t era = year / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

/* "YYMMDDHHMMSSZ" or "YYYYMMDDHHMMSSZ" (RFC 5280 4.1.2.5). */
static bool read_time(struct slice text, int64_t *ret_seconds)
{
    int64_t part[6];
    size_t at = 0;
    if (text.bytes != 13 && text.bytes != 15) {
        return false;
    }
    for (size_t i = 0; i + 1 < text.bytes; i++) {
        if (text.at[i] < '0' || text.at[i] > '9') {
            return false;
        }
    }
#define PAIR() ((text.at[at] - '0') * 10 + (text.at[at + 1] - '0'))
    int64_t year = PAIR();
    at += 2;
    if (text.bytes == 15) {
        year = year * 100 + PAIR();
        at += 2;
    } else {
        year += year < 50 ? 2000 : 1900;
    }
    part[0] = year;
    for (unsigned i = 1; i < 6; i++, at += 2) {
        part[i] = PAIR();
    }
#undef PAIR
    if (text.at[at] != 'Z' || part[1] < 1 || part[1] > 12 || part[2] < 1 || part[2] > 31 ||
        part[3] > 23 || part[4] > 59 || part[5] > 60) {
        return false;
    }
    *ret_seconds = days_since_1970(part[0], part[1], part[2]) * 86400 + part[3] * 3600 +
                   part[4] * 60 + part[5];
    return true;
}

void tls_day(int64_t seconds, char ret_text[TLS_DAY_BYTES])
{
    time_t time = seconds;
    struct tm parts = {0};
    bool known = gmtime_r(&time, &parts) && parts.tm_year > -1900 && parts.tm_year < 8100;
    snprintf(ret_text, TLS_DAY_BYTES, "%04u-%02u-%02u",
             known ? (unsigned)(parts.tm_year + 1900) % 10000U : 9999U,
             (unsigned)(parts.tm_mon + 1) % 100U, (unsigned)parts.tm_mday % 100U);
}

/* Object identifiers as they are encoded. */
#define OID(bytes)      SLICE(bytes)
#define OID_RSA         OID("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01")
#define OID_EC          OID("\x2a\x86\x48\xce\x3d\x02\x01")
#define OID_P256        OID("\x2a\x86\x48\xce\x3d\x03\x01\x07")
#define OID_P384        OID("\x2b\x81\x04\x00\x22")
#define OID_P521        OID("\x2b\x81\x04\x00\x23")
#define OID_MD2_RSA     OID("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x02")
#define OID_MD5_RSA     OID("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x04")
#define OID_SHA1_RSA    OID("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05")
#define OID_SHA1_ECDSA  OID("\x2a\x86\x48\xce\x3d\x04\x01")
#define OID_BASIC       OID("\x55\x1d\x13")
#define OID_KEY_USAGE   OID("\x55\x1d\x0f")
#define OID_EXTENDED    OID("\x55\x1d\x25")
#define OID_NAMES       OID("\x55\x1d\x11")
#define OID_CONSTRAINTS OID("\x55\x1d\x1e")
#define OID_ANY_USAGE   OID("\x55\x1d\x25\x00")
#define OID_SERVERS     OID("\x2b\x06\x01\x05\x05\x07\x03\x01")
#define OID_CLIENTS     OID("\x2b\x06\x01\x05\x05\x07\x03\x02")

static const char *weak_hash_of(struct slice oid)
{
    return slice_equal(oid, OID_MD2_RSA)                                        ? "MD2"
           : slice_equal(oid, OID_MD5_RSA)                                      ? "MD5"
           : slice_equal(oid, OID_SHA1_RSA) || slice_equal(oid, OID_SHA1_ECDSA) ? "SHA-1"
                                                                                : NULL;
}

static enum extension extension_of(struct slice oid)
{
    return slice_equal(oid, OID_BASIC)         ? EXTENSION_BASIC
           : slice_equal(oid, OID_KEY_USAGE)   ? EXTENSION_KEY_USAGE
           : slice_equal(oid, OID_EXTENDED)    ? EXTENSION_EXTENDED
           : slice_equal(oid, OID_NAMES)       ? EXTENSION_NAMES
           : slice_equal(oid, OID_CONSTRAINTS) ? EXTENSION_CONSTRAINTS
                                               : EXTENSION_OTHER;
}

/* Length of the modulus, from the first bytes of a BIT STRING with SEQUENCE { INTEGER n, … }; 0
 * when they are something else. */
static uint32_t modulus_bits(struct slice bits)
{
    size_t at = 2;
    uint32_t lengths[2] = {0, 0};
    if (bits.bytes < 16 || bits.at[0] != 0 || bits.at[1] != TAG_SEQUENCE) {
        return 0;
    }
    for (unsigned i = 0; i < 2; i++) {
        uint8_t first = bits.at[at++];
        unsigned more = first & 0x80 ? first & 0x7fU : 0;
        if (more > 3) {
            return 0;
        }
        lengths[i] = first & 0x80 ? 0 : first;
        for (; more; more--) {
            lengths[i] = lengths[i] << 8 | bits.at[at++];
        }
        if (i == 0 && bits.at[at++] != 0x02) {
            return 0;
        }
    }
    uint32_t bytes = lengths[1];
    while (bytes && at < bits.bytes && bits.at[at] == 0) {
        bytes--;
        at++;
    }
    if (!bytes || at == bits.bytes) {
        return 0;
    }
    unsigned top = 0;
    for (uint8_t byte = bits.at[at]; byte; byte = (uint8_t)(byte >> 1)) {
        top++;
    }
    return (bytes - 1) * 8 + top;
}

static void note_name(struct cert_scan *scan, struct slice name)
{
    struct cert_facts *facts = &scan->facts;
    facts->name_count++;
    if (scan->want && scan->kept == name.bytes && cert_name_matches(scan->want, name)) {
        facts->named = true;
    }
    if (facts->first_name[0] == 0) {
        size_t bytes =
            name.bytes < sizeof facts->first_name ? name.bytes : sizeof facts->first_name - 1;
        for (size_t i = 0; i < bytes; i++) {
            uint8_t c = name.at[i];
            facts->first_name[i] = (char)(c > ' ' && c < 0x7f ? c : '?');
        }
    }
}

static void note_address(struct cert_scan *scan, struct slice address)
{
    scan->facts.name_count++;
    if (scan->want && scan->want->address &&
        slice_equal(address, slice_of(scan->want->at, scan->want->bytes))) {
        scan->facts.named = true;
    }
}

/* A subtree of the kind of name that we want. What cannot be understood permits and excludes as it
 * is worse for the certificate. */
static void note_permitted(struct cert_scan *scan, struct slice subtree, bool cut)
{
    scan->permits_some = true;
    scan->permits_ours |= !cut && cert_name_within(scan->want, subtree);
}

/* The domain that a subtree of names means, though it be written as names of certificates or of
 * zones are, or with a dot before it: then the domain itself, too. */
static struct slice excluded_domain(struct slice subtree)
{
    struct slice domain = subtree;
    if (domain.bytes && domain.at[domain.bytes - 1] == '.') {
        domain = slice_of(domain.at, domain.bytes - 1);
    }
    if (domain.bytes && domain.at[0] == '.') {
        return slice_skip(domain, 1);
    }
    return slice_starts(domain, SLICE("*.")) ? slice_skip(domain, 2) : domain;
}

/* Has it a byte that is in no name, or a label of none? */
static bool is_no_domain(struct slice domain)
{
    bool odd = false;
    for (size_t i = 0; i < domain.bytes; i++) {
        uint8_t c = domain.at[i], low = c | 0x20;
        bool usual = (low >= 'a' && low <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
        odd |= !usual && (c != '.' || i == 0 || domain.at[i - 1] == '.');
    }
    return odd;
}

static void note_excluded(struct cert_scan *scan, struct slice subtree, bool cut)
{
    bool address = scan->want->address;
    struct slice domain = address ? subtree : excluded_domain(subtree);
    bool odd = address ? subtree.bytes != 2U * scan->want->bytes && subtree.bytes != 8 &&
                             subtree.bytes != 32
                       : is_no_domain(domain);
    scan->facts.forbids |= cut || odd || cert_name_within(scan->want, domain);
}

static void note_extension(struct cert_scan *scan, struct slice oid)
{
    scan->extension = (uint8_t)extension_of(oid);
    uint8_t bit = (uint8_t)(1U << scan->extension);
    if (scan->extension != EXTENSION_OTHER && (scan->seen & bit)) {
        scan->bad = true; /* at most one of each (RFC 5280 4.2) */
    }
    scan->seen |= bit;
}

static void note_usage(struct cert_facts *facts, struct slice oid)
{
    bool any = slice_equal(oid, OID_ANY_USAGE);
    facts->for_servers |= any || slice_equal(oid, OID_SERVERS);
    facts->for_clients |= any || slice_equal(oid, OID_CLIENTS);
}

static void note_subject(struct cert_scan *scan)
{
    struct cert_facts *facts = &scan->facts;
    sha256_out(&scan->hash, facts->subject);
    facts->self_issued = memcmp(facts->subject, facts->issuer, CERT_HASH_BYTES) == 0;
}

/* A value has come, or as much of it as is kept. */
static void note_value(struct cert_scan *scan, uint32_t bytes)
{
    struct cert_facts *facts = &scan->facts;
    struct slice value = slice_of(scan->keep, scan->kept);
    bool cut = scan->kept < bytes;
    switch ((enum node)scan->value) {
    case VALUE_ISSUER:
        sha256_out(&scan->hash, facts->issuer);
        break;
    case VALUE_SUBJECT:
        note_subject(scan);
        break;
    case VALUE_NOT_BEFORE:
        scan->bad |= cut || !read_time(value, &facts->not_before);
        break;
    case VALUE_NOT_AFTER:
        scan->bad |= cut || !read_time(value, &facts->not_after);
        break;
    case VALUE_KEY_OID:
        facts->key = slice_equal(value, OID_RSA)  ? CERT_KEY_RSA
                     : slice_equal(value, OID_EC) ? CERT_KEY_EC_OTHER
                                                  : CERT_KEY_OTHER;
        break;
    case VALUE_CURVE_OID:
        if (facts->key == CERT_KEY_EC_OTHER &&
            (slice_equal(value, OID_P256) || slice_equal(value, OID_P384) ||
             slice_equal(value, OID_P521))) {
            facts->key = CERT_KEY_EC;
        }
        break;
    case VALUE_KEY_BITS:
        facts->rsa_bits = facts->key == CERT_KEY_RSA ? modulus_bits(value) : 0;
        break;
    case VALUE_SIGNATURE_OID:
        facts->hash = weak_hash_of(value);
        facts->weak_hash = facts->hash != NULL;
        break;
    case VALUE_EXTENSION_OID:
        note_extension(scan, value);
        break;
    case VALUE_IS_CA:
        facts->is_ca = value.bytes == 1 && value.at[0] != 0;
        break;
    case VALUE_KEY_USAGE_BITS:
        facts->may_sign = value.bytes > 1 && (value.at[1] & 0x80);
        facts->may_issue = value.bytes > 1 && (value.at[1] & 0x04);
        break;
    case VALUE_USAGE_OID:
        note_usage(facts, value);
        break;
    case VALUE_DNS_NAME:
        note_name(scan, cut ? slice_of(scan->keep, 0) : value);
        break;
    case VALUE_ADDRESS:
        note_address(scan, cut ? SLICE_EMPTY : value);
        break;
    case VALUE_PERMITTED:
        note_permitted(scan, value, cut);
        break;
    case VALUE_EXCLUDED:
        note_excluded(scan, value, cut);
        break;
    case NODE_SKIP:
    case NODE_ROOT:
    case NODE_CERTIFICATE:
    case NODE_TBS:
    case NODE_VALIDITY:
    case NODE_KEY:
    case NODE_KEY_ALGORITHM:
    case NODE_SIGNATURE_ALGORITHM:
    case NODE_EXTENSIONS_TAG:
    case NODE_EXTENSIONS:
    case NODE_EXTENSION:
    case NODE_BASIC:
    case NODE_BASIC_LIST:
    case NODE_KEY_USAGE:
    case NODE_EXTENDED_USAGE:
    case NODE_EXTENDED_USAGE_LIST:
    case NODE_NAMES:
    case NODE_NAMES_LIST:
    case NODE_CONSTRAINTS:
    case NODE_CONSTRAINTS_LIST:
    case NODE_PERMITTED:
    case NODE_PERMITTED_TREE:
    case NODE_EXCLUDED:
    case NODE_EXCLUDED_TREE:
        break;
    }
}

/* ---- structure */

static enum node tbs_child(uint8_t tag, unsigned index)
{
    static const enum node nodes[] = {NODE_SKIP,     NODE_SKIP,     VALUE_ISSUER,
                                      NODE_VALIDITY, VALUE_SUBJECT, NODE_KEY};
    if (index < sizeof nodes / sizeof nodes[0]) {
        return nodes[index];
    }
    return tag == TAG_EXTENSIONS ? NODE_EXTENSIONS_TAG : NODE_SKIP;
}

static enum node extension_child(struct cert_scan *scan, uint8_t tag, unsigned index)
{
    static const enum node nodes[] = {NODE_SKIP,           NODE_BASIC, NODE_KEY_USAGE,
                                      NODE_EXTENDED_USAGE, NODE_NAMES, NODE_CONSTRAINTS};
    if (index == 0) {
        scan->extension = EXTENSION_OTHER;
        return tag == TAG_OID ? VALUE_EXTENSION_OID : NODE_SKIP;
    }
    if (tag != TAG_OCTETS) {
        return NODE_SKIP;
    }
    scan->facts.constrained |= scan->extension == EXTENSION_CONSTRAINTS;
    scan->facts.has_basic |= scan->extension == EXTENSION_BASIC;
    scan->facts.has_key_usage |= scan->extension == EXTENSION_KEY_USAGE;
    scan->facts.has_extended_usage |= scan->extension == EXTENSION_EXTENDED;
    return nodes[scan->extension];
}

/* Does a subtree tell of the kind of name that we want? */
static bool is_subtree(const struct cert_scan *scan, uint8_t tag, unsigned index)
{
    const struct cert_name *want = scan->want;
    return index == 0 && want && !want->any && tag == (want->address ? TAG_ADDRESS : TAG_DNS_NAME);
}

/* What the `index`th child of a container is, by its tag. */
static enum node child_of(struct cert_scan *scan, enum node parent, uint8_t tag, unsigned index)
{
    bool sequence = tag == TAG_SEQUENCE;
    switch (parent) {
    case NODE_ROOT:
        return sequence ? NODE_CERTIFICATE : NODE_SKIP;
    case NODE_CERTIFICATE:
        return index == 0 && sequence   ? NODE_TBS
               : index == 1 && sequence ? NODE_SIGNATURE_ALGORITHM
                                        : NODE_SKIP;
    case NODE_TBS:
        return tbs_child(tag, index);
    case NODE_VALIDITY:
        return index == 0 ? VALUE_NOT_BEFORE : index == 1 ? VALUE_NOT_AFTER : NODE_SKIP;
    case NODE_KEY:
        return index == 0 && sequence          ? NODE_KEY_ALGORITHM
               : index == 1 && tag == TAG_BITS ? VALUE_KEY_BITS
                                               : NODE_SKIP;
    case NODE_KEY_ALGORITHM:
        return tag != TAG_OID ? NODE_SKIP : index == 0 ? VALUE_KEY_OID : VALUE_CURVE_OID;
    case NODE_SIGNATURE_ALGORITHM:
        return index == 0 && tag == TAG_OID ? VALUE_SIGNATURE_OID : NODE_SKIP;
    case NODE_EXTENSIONS_TAG:
        return sequence ? NODE_EXTENSIONS : NODE_SKIP;
    case NODE_EXTENSIONS:
        return sequence ? NODE_EXTENSION : NODE_SKIP;
    case NODE_EXTENSION:
        return extension_child(scan, tag, index);
    case NODE_BASIC:
        return sequence ? NODE_BASIC_LIST : NODE_SKIP;
    case NODE_BASIC_LIST:
        return index == 0 && tag == TAG_BOOLEAN ? VALUE_IS_CA : NODE_SKIP;
    case NODE_KEY_USAGE:
        return tag == TAG_BITS ? VALUE_KEY_USAGE_BITS : NODE_SKIP;
    case NODE_EXTENDED_USAGE:
        return sequence ? NODE_EXTENDED_USAGE_LIST : NODE_SKIP;
    case NODE_EXTENDED_USAGE_LIST:
        return tag == TAG_OID ? VALUE_USAGE_OID : NODE_SKIP;
    case NODE_NAMES:
        return sequence ? NODE_NAMES_LIST : NODE_SKIP;
    case NODE_NAMES_LIST:
        return tag == TAG_DNS_NAME  ? VALUE_DNS_NAME
               : tag == TAG_ADDRESS ? VALUE_ADDRESS
                                    : NODE_SKIP;
    case NODE_CONSTRAINTS:
        return sequence ? NODE_CONSTRAINTS_LIST : NODE_SKIP;
    case NODE_CONSTRAINTS_LIST:
        return tag == TAG_PERMITTED  ? NODE_PERMITTED
               : tag == TAG_EXCLUDED ? NODE_EXCLUDED
                                     : NODE_SKIP;
    case NODE_PERMITTED:
        return sequence ? NODE_PERMITTED_TREE : NODE_SKIP;
    case NODE_EXCLUDED:
        return sequence ? NODE_EXCLUDED_TREE : NODE_SKIP;
    case NODE_PERMITTED_TREE:
        return is_subtree(scan, tag, index) ? VALUE_PERMITTED : NODE_SKIP;
    case NODE_EXCLUDED_TREE:
        return is_subtree(scan, tag, index) ? VALUE_EXCLUDED : NODE_SKIP;
    case NODE_SKIP:
    case VALUE_ISSUER:
    case VALUE_SUBJECT:
    case VALUE_NOT_BEFORE:
    case VALUE_NOT_AFTER:
    case VALUE_KEY_OID:
    case VALUE_CURVE_OID:
    case VALUE_KEY_BITS:
    case VALUE_SIGNATURE_OID:
    case VALUE_EXTENSION_OID:
    case VALUE_IS_CA:
    case VALUE_KEY_USAGE_BITS:
    case VALUE_USAGE_OID:
    case VALUE_DNS_NAME:
    case VALUE_ADDRESS:
    case VALUE_PERMITTED:
    case VALUE_EXCLUDED:
        break;
    }
    return NODE_SKIP;
}

/* Containers that are at their end. */
static void leave_ended(struct cert_scan *scan)
{
    while (scan->depth > 1 && scan->left[scan->depth - 1] == 0) {
        scan->depth--;
    }
    scan->done = scan->depth == 1 && scan->child[0] == 1;
}

/* The header of an element is complete. */
static void element_begin(struct cert_scan *scan)
{
    unsigned top = scan->depth - 1U;
    uint64_t total = (uint64_t)scan->header_bytes + scan->length;
    if (total > scan->left[top]) {
        scan->bad = true;
        return;
    }
    scan->left[top] -= (uint32_t)total;
    enum node node = child_of(scan, (enum node)scan->node[top], scan->tag, scan->child[top]);
    scan->bad |= top == 0 && node == NODE_SKIP; /* no certificate at all */
    bool version = scan->node[top] == NODE_TBS && scan->tag == TAG_VERSION && scan->child[top] == 0;
    if (scan->child[top] < UINT8_MAX && !version) {
        scan->child[top]++;
    }
    if (version) {
        node = NODE_SKIP;
    }
    scan->header_bytes = 0;
    if (node != NODE_SKIP && node <= NODE_LAST_CONTAINER) {
        if (scan->depth == CERT_DEPTH_MAX) {
            scan->bad = true;
            return;
        }
        scan->node[scan->depth] = (uint8_t)node;
        scan->child[scan->depth] = 0;
        scan->left[scan->depth++] = scan->length;
        leave_ended(scan);
        return;
    }
    scan->value = (uint8_t)node;
    scan->value_left = scan->length;
    scan->kept = 0;
    if (node == VALUE_ISSUER || node == VALUE_SUBJECT) {
        sha256_init(&scan->hash);
    }
    if (scan->value_left == 0) {
        note_value(scan, 0);
        leave_ended(scan);
    }
}

/* One byte of tag or length. */
static void header_byte(struct cert_scan *scan, uint8_t byte)
{
    scan->header_bytes++;
    if (scan->header_bytes == 1) {
        scan->tag = byte;
        scan->bad = (byte & 0x1f) == 0x1f; /* no such long tags in a certificate */
    } else if (scan->header_bytes == 2) {
        scan->length = byte & 0x80 ? 0 : byte;
        scan->length_bytes = byte & 0x80 ? byte & 0x7f : 0;
        scan->bad = byte == 0x80 || scan->length_bytes > 3;
        if (!scan->bad && scan->length_bytes == 0) {
            element_begin(scan);
        }
    } else {
        scan->length = scan->length << 8 | byte;
        scan->length_bytes--;
        if (scan->length_bytes == 0) {
            element_begin(scan);
        }
    }
}

static size_t value_bytes(struct cert_scan *scan, const uint8_t *at, size_t bytes)
{
    size_t count = bytes < scan->value_left ? bytes : scan->value_left;
    if (scan->value == VALUE_ISSUER || scan->value == VALUE_SUBJECT) {
        sha256_update(&scan->hash, at, count);
    } else if (scan->value != NODE_SKIP) {
        size_t room = sizeof scan->keep - scan->kept;
        size_t kept = count < room ? count : room;
        memcpy(scan->keep + scan->kept, at, kept);
        scan->kept += (uint32_t)kept;
    }
    scan->value_left -= (uint32_t)count;
    if (scan->value_left == 0) {
        note_value(scan, scan->length);
        leave_ended(scan);
    }
    return count;
}

void cert_scan_begin(struct cert_scan *scan, const struct cert_name *want)
{
    memset(scan, 0, sizeof *scan);
    scan->want = want;
    scan->node[0] = NODE_ROOT;
    scan->left[0] = UINT32_MAX;
    scan->depth = 1;
    scan->facts.named = want && want->any;
}

void cert_scan_add(struct cert_scan *scan, const uint8_t *at, size_t bytes)
{
    while (bytes && !scan->bad) {
        if (scan->done) {
            scan->bad = true; /* something behind the certificate */
            return;
        }
        size_t used = 1;
        if (scan->value_left) {
            used = value_bytes(scan, at, bytes);
        } else {
            header_byte(scan, *at);
        }
        at += used;
        bytes -= used;
    }
}

const struct cert_facts *cert_scan_end(struct cert_scan *scan)
{
    scan->facts.whole = scan->done && !scan->bad;
    scan->facts.forbids |= scan->permits_some && !scan->permits_ours;
    return &scan->facts;
}

void cert_scan_all(struct slice der, const struct cert_name *want, struct cert_facts *ret_facts)
{
    struct cert_scan scan;
    cert_scan_begin(&scan, want);
    cert_scan_add(&scan, der.at, der.bytes);
    *ret_facts = *cert_scan_end(&scan);
}

const char *cert_unusable(const struct cert_facts *facts)
{
    if (!facts->whole) {
        return "this is not a well-formed certificate";
    }
    if (facts->key == CERT_KEY_RSA &&
        (facts->rsa_bits < TLS_RSA_BITS_MIN || facts->rsa_bits > TLS_RSA_BITS_MAX)) {
        return "its RSA key is too short or too long: 2048 to 4096 bits are accepted";
    }
    if (facts->key != CERT_KEY_RSA && facts->key != CERT_KEY_EC) {
        return "its key is of a kind that is not accepted; RSA, P-256, P-384 and P-521 are";
    }
    return NULL;
}
