/* Finding rows by name, and making rows from a user's own words. Control plane. */
#include "providers/compile.h"
#include "providers/row_code.h"

#include "base/assert.h"
#include "base/ct.h"
#include "providers/kept_rows.h"

#include <stdlib.h>

#define TOLERANCE_SECONDS     300
#define TOKEN_SKEW_SECONDS    60
#define CUSTOM_TEXT_BYTES_MAX 512U

/* ---- the table */

/* Does the user's spelling mean this name? Names are lower case with '-', and have no blank: one
 * ends what is compared. */
static bool same_name(struct slice text, const char *name)
{
    for (size_t i = 0; i < text.bytes; i++) {
        uint8_t c = ascii_lower(text.at[i]);
        if (name[i] == '\0' || name[i] == ' ' || (c == '_' ? '-' : c) != (uint8_t)name[i]) {
            return false;
        }
    }
    return name[text.bytes] == '\0' || name[text.bytes] == ' ';
}

/* Or any of its others, with a blank between them? Events of `/integrations/NAME/hook` ask for
 * their row, too: where they lie. */
static bool is_alias(struct slice text, const char *aliases)
{
    while (aliases != NULL && *aliases != '\0') {
        if (same_name(text, aliases)) {
            return true;
        }
        while (*aliases != '\0' && *aliases++ != ' ') {
        }
    }
    return false;
}

/* The seeds write TYPE_GITHUB. */
static struct slice without_prefix(struct slice name)
{
    struct slice prefix = slice_of(name.at, name.bytes < 5 ? 0 : 5);
    return same_name(prefix, "type-") ? slice_skip(name, prefix.bytes) : name;
}

bool scheme_is_generic(struct slice name)
{
    name = without_prefix(name);
    return same_name(name, "generic") || same_name(name, "generic-hmac");
}

const struct scheme_row *scheme_row_find(struct slice name)
{
    name = without_prefix(name);
    for (size_t i = 0; i < row_tables_count; i++) {
        const struct scheme_row *row = row_tables[i]->rows;
        for (const struct scheme_row *end = row + row_tables[i]->count; row < end; row++) {
            if (same_name(name, row->name) || is_alias(name, row->aliases)) {
                return row;
            }
        }
    }
    return NULL;
}

const char *scheme_row_name(const struct scheme_row *row)
{
    return row->name;
}

bool scheme_row_is_keyless(const struct scheme_row *row)
{
    return row != NULL && row->secret == SECRET_NONE;
}

bool scheme_row_wants_certificate(const struct scheme_row *row)
{
    return row->kind == ROW_CODE && (row->verify == sns_verify || row->verify == paypal_verify);
}

bool scheme_row_wants_private_key(const struct scheme_row *row)
{
    return row->kind == ROW_ED25519 || row->kind == ROW_PUBLIC_KEY ||
           scheme_row_wants_certificate(row) ||
           (row->kind == ROW_CODE && row->verify == jwt_verify && !row->hs256);
}

bool scheme_row_takes_private_key(const struct scheme_row *row)
{
    return scheme_row_wants_private_key(row) || row->format_ed25519 != NULL;
}

const char *scheme_row_sends_with(const struct scheme_row *row)
{
    if (scheme_row_wants_private_key(row)) {
        return "a private key";
    }
    return row->kind == ROW_AUTO ? NULL : "the secret";
}

size_t scheme_row_count(void)
{
    size_t count = 0;
    for (size_t i = 0; i < row_tables_count; i++) {
        count += row_tables[i]->count;
    }
    return count;
}

const struct scheme_row *scheme_row_at(size_t index)
{
    for (size_t i = 0; i < row_tables_count; i++) {
        if (index < row_tables[i]->count) {
            return &row_tables[i]->rows[index];
        }
        index -= row_tables[i]->count;
    }
    bk_never("no such row");
}

size_t scheme_row_index(const struct scheme_row *row)
{
    uintptr_t at = (uintptr_t)row;
    size_t before = 0;
    for (size_t i = 0; i < row_tables_count; i++) {
        uintptr_t first = (uintptr_t)row_tables[i]->rows;
        if (at >= first && at - first < row_tables[i]->count * sizeof *row) {
            return before + (at - first) / sizeof *row;
        }
        before += row_tables[i]->count;
    }
    return SIZE_MAX;
}

int64_t scheme_row_tolerance_seconds(const struct scheme_row *row)
{
    if (row->signing != NULL) {
        return scheme_row_tolerance_seconds(row->signing);
    }
    bool timed = row->timestamp != NULL ||
                 (row->format != NULL && strstr(row->format, "{timestamp}") != NULL);
    int64_t untimed = row->otherwise != NULL ? scheme_row_tolerance_seconds(row->otherwise) : 0;
    return row->tolerance_seconds != 0 ? row->tolerance_seconds
           : timed                     ? TOLERANCE_SECONDS
                                       : untimed;
}

bool scheme_row_takes_claims(const struct scheme_row *row)
{
    return row->verify == jwt_verify && row->secret == SECRET_NONE;
}

bool scheme_row_needs_secret(const struct scheme_row *row)
{
    return row->kind != ROW_NONE && row->secret != SECRET_NONE;
}

bool scheme_row_learns(const struct scheme_row *row)
{
    bool learns = false;
    for (unsigned i = 0;
         row->handshakes != NULL && i < ROW_HANDSHAKES_MAX && row->handshakes[i].when != NULL;
         i++) {
        learns |= row->handshakes[i].learn != NULL;
    }
    return learns;
}

bool scheme_row_is_auto(const struct scheme_row *row)
{
    return row->kind == ROW_AUTO;
}

bool scheme_row_shows_learned(const struct scheme_row *row)
{
    return scheme_row_learns(row) && row->handshakes[0].shows_learned;
}

/* Is one of these headers there? */
static bool has_any(const char *names, const struct http_head *head)
{
    struct slice rest = slice_str(names);
    while ((rest = slice_trim(rest)).bytes != 0) {
        uint8_t lower[64];
        struct slice word = slice_of(rest.at, slice_find(rest, ' '));
        rest = slice_skip(rest, word.bytes);
        for (size_t i = 0; i < word.bytes && i < sizeof lower; i++) {
            lower[i] = ascii_lower(word.at[i]);
        }
        bk_assert(word.bytes <= sizeof lower);
        if (http_find(head, slice_of(lower, word.bytes), NULL) != NULL) {
            return true;
        }
    }
    return false;
}

/* In the order of the tables: whoever sends another's headers too comes before it. */
const struct scheme_row *scheme_row_detect(const struct http_head *head)
{
    for (size_t i = 0; i < scheme_row_count(); i++) {
        const struct scheme_row *row = scheme_row_at(i);
        if (row->detect != NULL && has_any(row->detect, head) &&
            (row->detect_not == NULL || !has_any(row->detect_not, head))) {
            return row;
        }
    }
    return NULL;
}

struct slice scheme_row_constant_type(const struct scheme_row *row)
{
    return row != NULL && row->type != NULL && row->type[0] == '=' ? slice_str(row->type + 1)
                                                                   : SLICE_EMPTY;
}

/* ---- custom rows */

struct custom_kind {
    const char *name;
    enum row_kind kind;
    enum row_secret secret;
    enum signature_algorithm signature;
};
static const struct custom_kind kinds[] = {
    {"hmac", ROW_HMAC, SECRET_TEXT, 0},
    {"token", ROW_TOKEN, SECRET_TEXT, 0},
    {"basic", ROW_BASIC, SECRET_TEXT, 0},
    {"none", ROW_NONE, SECRET_TEXT, 0},
    {"bearer", ROW_BEARER, SECRET_TEXT, 0},
    {"hash", ROW_HASH, SECRET_TEXT, 0},
    {"ed25519", ROW_ED25519, SECRET_KEY, 0},
    {"ecdsa-p256", ROW_PUBLIC_KEY, SECRET_PUBLIC_KEY, SIGNATURE_P256_DER},
    {"ecdsa-p256-raw", ROW_PUBLIC_KEY, SECRET_PUBLIC_KEY, SIGNATURE_P256_RAW},
    {"rsa", ROW_PUBLIC_KEY, SECRET_PUBLIC_KEY, SIGNATURE_RSA_SHA256},
    {"jwt", ROW_CODE, SECRET_NONE, 0},
};

static const struct {
    const char *name;
    enum hmac_algorithm algorithm;
} algorithms[] = {
    {"sha256", HMAC_SHA256},
    {"sha1", HMAC_SHA1},
    {"sha384", HMAC_SHA384},
    {"sha512", HMAC_SHA512},
};

static const struct {
    const char *name;
    enum row_unit unit;
} units[] = {{"s", UNIT_SECONDS}, {"ms", UNIT_MS}, {"rfc3339", UNIT_RFC3339}};

static enum bk_err refuse(enum bk_err err, struct problem *problem, const char *field,
                          const char *message)
{
    *problem = (struct problem){field, message};
    return err;
}

/* What a token's row needs; `base` has some of it. */
static enum bk_err token_words(const struct scheme_custom *custom, struct scheme_row *row,
                               struct problem *problem)
{
    const struct scheme_row *base = NULL;
    if (custom->base.bytes != 0) {
        base = scheme_row_find(custom->base);
        if (base == NULL || !scheme_row_takes_claims(base)) {
            return refuse(BK_INVALID, problem, "scheme", "no such provider of tokens");
        }
        *row = *base;
    }
    row->kind = ROW_CODE;
    row->verify = jwt_verify;
    row->tolerance_seconds = TOKEN_SKEW_SECONDS;
    row->allow_private = custom->allow_private;
    row->hs256 = same_name(custom->algorithm, "hs256");
    row->secret = row->hs256 ? SECRET_TEXT : SECRET_NONE;
    if (custom->algorithm.bytes != 0 && !row->hs256) {
        return refuse(BK_INVALID, problem, "algorithm",
                      "for jwt it is left out, or hs256 where the secret signs");
    }
    if (!row->hs256 && row->issuer == NULL && custom->issuer.bytes == 0) {
        return refuse(BK_INVALID, problem, "issuer", "is missing: what `iss` of the tokens is");
    }
    if (!row->hs256 && custom->audience.bytes == 0) {
        return refuse(BK_INVALID, problem, "audience",
                      "is missing: without it, a token made for anybody else would do");
    }
    return BK_OK;
}

static bool public_key_words(struct scheme_row *row, struct problem *problem)
{
    static const enum signature_algorithm rsa[] = {
        [HMAC_SHA256] = SIGNATURE_RSA_SHA256,
        [HMAC_SHA384] = SIGNATURE_RSA_SHA384,
        [HMAC_SHA512] = SIGNATURE_RSA_SHA512,
    };
    bool is_rsa = row->signature == SIGNATURE_RSA_SHA256;
    if (row->algorithm == HMAC_SHA1 || (!is_rsa && row->algorithm != HMAC_SHA256)) {
        (void)refuse(BK_INVALID, problem, "algorithm",
                     is_rsa ? "expected sha256, sha384 or sha512" : "expected sha256");
        return false;
    }
    row->signature = is_rsa ? rsa[row->algorithm] : row->signature;
    return true;
}

static enum bk_err words_parse(const struct scheme_custom *custom, struct scheme_row *row,
                               struct problem *problem)
{
    size_t i;
    struct slice scheme = custom->scheme.bytes != 0 ? custom->scheme : SLICE("hmac");
    for (i = 0; i < bk_array_length(kinds) && !same_name(scheme, kinds[i].name); i++) {
    }
    if (i == bk_array_length(kinds)) {
        return refuse(BK_INVALID, problem, "scheme",
                      "expected hmac, token, bearer, basic, hash, ed25519, ecdsa-p256, "
                      "ecdsa-p256-raw, rsa, jwt or none");
    }
    row->kind = kinds[i].kind;
    row->secret = kinds[i].secret;
    row->signature = kinds[i].signature;
    if (row->kind == ROW_CODE) {
        return token_words(custom, row, problem);
    }
    if (custom->issuer.bytes + custom->audience.bytes + custom->claims.bytes +
            custom->jwks_url.bytes !=
        0) {
        return refuse(BK_INVALID, problem, "issuer",
                      "issuer, audience, claims and jwksUrl are for scheme jwt");
    }
    struct slice algorithm = custom->algorithm.bytes != 0 ? custom->algorithm : SLICE("sha256");
    for (i = 0; i < bk_array_length(algorithms) && !same_name(algorithm, algorithms[i].name); i++) {
    }
    if (i == bk_array_length(algorithms)) {
        return refuse(BK_INVALID, problem, "algorithm", "expected sha1, sha256, sha384 or sha512");
    }
    row->algorithm = algorithms[i].algorithm;
    if (row->kind == ROW_PUBLIC_KEY && !public_key_words(row, problem)) {
        return BK_INVALID;
    }
    struct slice unit = custom->timestamp_unit.bytes != 0 ? custom->timestamp_unit : SLICE("s");
    for (i = 0; i < bk_array_length(units) && !same_name(unit, units[i].name); i++) {
    }
    if (i == bk_array_length(units)) {
        return refuse(BK_INVALID, problem, "timestamp.unit", "expected s, ms or rfc3339");
    }
    row->unit = units[i].unit;
    return BK_OK;
}

/* RFC 9110 5.1: a token. */
bool row_is_header_name(struct slice text)
{
    for (size_t i = 0; i < text.bytes; i++) {
        uint8_t c = text.at[i];
        bool alphanumeric =
            (c >= '0' && c <= '9') || (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z');
        if (!alphanumeric && (c == 0 || strchr("!#$%&'*+-.^_`|~", c) == NULL)) {
            return false;
        }
    }
    return text.bytes < 64;
}

/* What a header's value cannot hold. */
static bool has_control(struct slice text)
{
    for (size_t i = 0; i < text.bytes; i++) {
        if (text.at[i] < ' ' || text.at[i] == 127) {
            return true;
        }
    }
    return false;
}

static enum bk_err fields_check(const struct scheme_custom *custom, struct problem *problem)
{
    bool joined = slice_starts(custom->type_field, SLICE("{"));
    const struct {
        struct slice text;
        const char *field;
        bool is_header, is_pointer;
    } fields[] = {
        {custom->signature_header, "signature.header", true, false},
        {custom->timestamp_header, "timestamp.header", true, false},
        {custom->id_header, "id.header", true, false},
        {custom->type_header, "type.header", true, false},
        {custom->id_field, "id.field", false, true},
        {custom->timestamp_field, "timestamp.field", false, true},
        {custom->signature_field, "signature.field", false, true},
        {custom->type_field, joined ? "type.template" : "type.field", false, !joined},
        {custom->signature_format, "signature.format", false, false},
        {custom->signed_template, "signed", false, false},
        {custom->issuer, "issuer", false, false},
        {custom->audience, "audience", false, false},
        {custom->claims, "claims", false, false},
        {custom->jwks_url, "jwksUrl", false, false},
    };
    for (size_t i = 0; i < bk_array_length(fields); i++) {
        struct slice text = fields[i].text;
        struct json_path path;
        if (text.bytes > CUSTOM_TEXT_BYTES_MAX || slice_find(text, 0) != text.bytes) {
            return refuse(BK_INVALID, problem, fields[i].field, "too long, or has a NUL");
        }
        if (fields[i].is_header && !row_is_header_name(text)) {
            return refuse(BK_INVALID, problem, fields[i].field, "not a header name");
        }
        bool in_form = text.bytes > 1 && text.at[0] == '?';
        if (fields[i].is_pointer && text.bytes != 0 &&
            ((!in_form && !json_path_parse(text, &path)) || slice_find(text, ' ') != text.bytes)) {
            return refuse(BK_INVALID, problem, fields[i].field,
                          "not a JSON pointer of at most four steps, as /data/id, nor ?name of "
                          "the query or a form");
        }
    }
    if (has_control(custom->issuer) || has_control(custom->audience) ||
        has_control(custom->jwks_url)) {
        return refuse(BK_INVALID, problem, "issuer", "has a control character");
    }
    if (joined && slice_find(custom->type_field, ' ') != custom->type_field.bytes) {
        return refuse(BK_INVALID, problem, "type.template", "has a blank");
    }
    if (has_control(custom->signature_format)) {
        return refuse(BK_INVALID, problem, "signature.format", "has a control character");
    }
    return BK_OK;
}

/* The row's strings, behind it. Two places become one text with a blank between. */
static const char *put(char **at, struct slice first, struct slice second)
{
    char *text = *at;
    if (first.bytes == 0 && second.bytes == 0) {
        return NULL;
    }
    if (first.bytes != 0) {
        memcpy(*at, first.at, first.bytes);
        *at += first.bytes;
    }
    if (first.bytes != 0 && second.bytes != 0) {
        *(*at)++ = ' ';
    }
    if (second.bytes != 0) {
        memcpy(*at, second.at, second.bytes);
        *at += second.bytes;
    }
    *(*at)++ = 0;
    return text;
}

/* The strings of a base row that are copied. */
static size_t base_text_bytes(const struct scheme_row *base)
{
    const char *const texts[] = {base->name,   base->header, base->issuer,
                                 base->claims, base->id,     base->type};
    size_t bytes = 0;
    for (size_t i = 0; i < bk_array_length(texts); i++) {
        bytes += texts[i] != NULL ? strlen(texts[i]) + 1 : 0;
    }
    return bytes;
}

/* The first that is not empty. */
static struct slice either(struct slice own, const char *base)
{
    return own.bytes != 0 ? own : slice_str(base);
}

/* Claims of the base hold besides the user's. */
static void put_token_texts(struct scheme_row *row, char **at, const struct scheme_custom *custom,
                            const struct scheme_row *words)
{
    row->documentation = NULL;
    row->issuer = put(at, either(custom->issuer, words->issuer), SLICE_EMPTY);
    row->audience = put(at, custom->audience, SLICE_EMPTY);
    row->claims = put(at, slice_str(words->claims), custom->claims);
    if (words->claims != NULL && custom->claims.bytes != 0) {
        ((char *)(uintptr_t)row->claims)[strlen(words->claims)] = '\n';
    }
    row->jwks_url = put(at, custom->jwks_url, SLICE_EMPTY);
}

static struct scheme_row *row_build(const struct scheme_custom *custom,
                                    const struct scheme_row *words)
{
    size_t text_bytes = custom->signature_header.bytes + custom->signature_format.bytes +
                        custom->timestamp_header.bytes + custom->id_header.bytes +
                        custom->type_header.bytes + custom->type_field.bytes +
                        custom->id_field.bytes + custom->signed_template.bytes +
                        custom->signature_field.bytes + custom->timestamp_field.bytes +
                        custom->issuer.bytes + custom->audience.bytes + custom->claims.bytes +
                        custom->jwks_url.bytes + base_text_bytes(words) + 64;
    size_t bytes = (sizeof(struct scheme_row) + text_bytes + 15) & ~(size_t)15;
    struct scheme_row *row = (struct scheme_row *)calloc(1, bytes);
    if (row == NULL) {
        return NULL;
    }
    char *at = (char *)(row + 1);
    *row = *words;
    row->block_bytes = bytes;
    row->name =
        put(&at, words->name != NULL ? slice_str(words->name) : SLICE("generic"), SLICE_EMPTY);
    bool token = row->kind == ROW_TOKEN;
    if (token && custom->signature_header.bytes == 0 && custom->signature_field.bytes == 0) {
        row->kind = ROW_BEARER;
    }
    bool fixed = row->kind == ROW_BASIC || row->kind == ROW_BEARER;
    struct slice where =
        custom->signature_header.bytes != 0 ? custom->signature_header : custom->signature_field;
    fixed |= row->kind == ROW_CODE && where.bytes == 0;
    row->header = put(&at, fixed ? SLICE("Authorization") : where, SLICE_EMPTY);
    row->format = put(&at, fixed ? SLICE_EMPTY : custom->signature_format, SLICE_EMPTY);
    row->signed_template = put(&at, custom->signed_template, SLICE_EMPTY);
    row->timestamp = put(&at,
                         custom->timestamp_header.bytes != 0 ? custom->timestamp_header
                                                             : custom->timestamp_field,
                         SLICE_EMPTY);
    bool own_id = custom->id_header.bytes != 0 || custom->id_field.bytes != 0;
    bool own_type = custom->type_header.bytes != 0 || custom->type_field.bytes != 0;
    row->id = put(&at, own_id ? custom->id_header : slice_str(words->id), custom->id_field);
    row->type =
        put(&at, own_type ? custom->type_header : slice_str(words->type), custom->type_field);
    put_token_texts(row, &at, custom, words);
    bk_assert(at <= (char *)row + bytes);
    return row;
}

static bool is_same_place(const char *one, const char *other, bool field)
{
    return field ? strcmp(one, other) == 0 : slice_equal_nocase(slice_str(one), slice_str(other));
}

/* What only the whole row shows. The programs are compiled once without keys to find out. */
static enum bk_err row_check(const struct scheme_row *row, struct problem *problem)
{
    if (!kind_signs(row->kind) && row->kind != ROW_TOKEN) {
        return BK_OK;
    }
    if (row->header == NULL) {
        return refuse(BK_INVALID, problem, "signature.header", "is missing");
    }
    bool field = *row->header == '/' || *row->header == '?';
    if (row->timestamp != NULL && is_same_place(row->header, row->timestamp, field)) {
        return refuse(BK_INVALID, problem, field ? "timestamp.field" : "timestamp.header",
                      "is where the signature is: expected another place");
    }
    if (row->signed_template != NULL && row->kind != ROW_TOKEN &&
        strstr(row->signed_template, "{body}") == NULL &&
        strstr(row->signed_template, "{sha256}") == NULL &&
        strstr(row->signed_template, "{form}") == NULL) {
        return refuse(BK_INVALID, problem, "signed",
                      "has no {body}: anybody could change it unseen");
    }
    return BK_OK;
}

enum bk_err scheme_row_custom(const struct scheme_custom *custom, struct scheme_row **ret_row,
                              const char **ret_field, const char **ret_message)
{
    bk_assert(custom != NULL && ret_row != NULL && ret_field != NULL && ret_message != NULL);
    struct problem problem = {"verification", "out of memory"};
    uint8_t print[SHA256_BYTES];
    struct scheme_row words = {0}, *row;
    struct scheme_plan *plan = NULL;
    kept_row_print(custom, print);
    *ret_row = row = kept_row_find(print);
    if (row != NULL) {
        return BK_OK;
    }
    enum bk_err err = words_parse(custom, &words, &problem);
    if (err == BK_OK) {
        err = fields_check(custom, &problem);
    }
    if (err == BK_OK) {
        row = row_build(custom, &words);
        err = row != NULL ? row_check(row, &problem) : BK_NO_MEMORY;
    }
    if (err == BK_OK) {
        plan = scheme_row_plan(row, &problem);
        err = plan != NULL ? BK_OK : BK_INVALID;
    }
    if (err != BK_OK) {
        *ret_field = problem.field;
        *ret_message = problem.message;
        scheme_row_free(row);
        return err;
    }
    if (!kept_row_add(print, row, plan)) {
        free(plan);
    }
    *ret_row = row;
    return BK_OK;
}

void scheme_row_free(struct scheme_row *row)
{
    if (row != NULL && row->kept == NULL) {
        bk_assert(row->block_bytes != 0);
        free(row);
    }
}
