/* Odd requests, for every row: what scheme_sign signs, the engine takes, with any secret, body, URL
 * and form; spellings of a signature that are another text are taken only where they mean the same
 * bytes; what is not the text that was signed is refused. providers_scheme_test.c flips the bits.
 */
#include "base/base64.h"
#include "base/hex.h"
#include "base/private_key.h"
#include "http/parse.h"
#include "providers/row_code.h"
#include "tap.h"

#include <ctype.h>
#include <stdlib.h>
#include <unistd.h>

#define NOW  1767225600LL
#define HOST "https://hooks.example.com"
#define PATH "/hooks/x?a=b"
#define BODY SLICE("{\"webhookTimestamp\":1767225600000,\"id\":\"evt_1\",\"type\":\"t\"}")

/* ---- keys that sign, and their public halves as sources are given them */

static struct private_key private_keys[PUBLIC_KEY_ED25519 + 1]; /* by enum public_key_kind */
static char public_texts[PUBLIC_KEY_ED25519 + 1][2048];
static bool have_key[PUBLIC_KEY_ED25519 + 1];

static bool output(const char *command, char *text, size_t bytes)
{
    FILE *pipe = popen(command, "r");
    if (pipe == NULL) {
        return false;
    }
    size_t got = fread(text, 1, bytes - 1, pipe);
    text[got] = '\0';
    return pclose(pipe) == 0 && got > 0;
}

static void key_make(enum public_key_kind kind, const char *make)
{
    char pem[8192], command[1024], path[] = "/tmp/odd-key-XXXXXX";
    int file = mkstemp(path);
    close(file);
    snprintf(command, sizeof command, "%s 2>/dev/null >%s && cat %s", make, path, path);
    have_key[kind] = output(command, pem, sizeof pem) &&
                     private_key_parse(slice_str(pem), &private_keys[kind]) == NULL;
    snprintf(command, sizeof command, "openssl pkey -in %s -pubout 2>/dev/null", path);
    have_key[kind] = have_key[kind] && output(command, public_texts[kind], 2048);
    unlink(path);
}

static void keys_make(void)
{
    static const uint8_t ed25519_seed[32] = {7, 1};
    struct public_key half;
    key_make(PUBLIC_KEY_RSA, "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048");
    key_make(PUBLIC_KEY_P256, "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256");
    private_key_ed25519(ed25519_seed, &private_keys[PUBLIC_KEY_ED25519]);
    have_key[PUBLIC_KEY_ED25519] = private_key_public(&private_keys[PUBLIC_KEY_ED25519], &half);
    hex_encode(half.at, 32, public_texts[PUBLIC_KEY_ED25519]);
}

/* NULL: the row has no private key. */
static const struct private_key *private_key_of(const struct scheme_row *row)
{
    enum public_key_kind kind =
        row->kind == ROW_ED25519 ? PUBLIC_KEY_ED25519 : signature_key_kind(row->signature);
    bool has = row->kind == ROW_ED25519 || row->secret == SECRET_PUBLIC_KEY;
    return has && have_key[kind] ? &private_keys[kind] : NULL;
}

/* ---- a row, its secret, a delivery */

/* Tokens of an issuer, and what a certificate signs, need keys that somebody publishes. */
static bool is_sent_by_secret(const struct scheme_row *row)
{
    bool keyed = row->kind == ROW_ED25519 || row->secret == SECRET_PUBLIC_KEY;
    return scheme_row_sends_with(row) != NULL && !scheme_row_takes_claims(row) &&
           !scheme_row_wants_certificate(row) && (!keyed || private_key_of(row) != NULL);
}

/* What a source of this row has as its secret, made of these bytes. */
static struct slice secret_text(const struct scheme_row *row, struct slice bytes, char room[2048])
{
    size_t n = 0;
    if (private_key_of(row) != NULL) {
        struct slice text =
            slice_str(public_texts[row->kind == ROW_ED25519 ? PUBLIC_KEY_ED25519
                                                            : signature_key_kind(row->signature)]);
        memcpy(room, text.at, text.bytes);
        return slice_of(room, text.bytes);
    }
    if (row->secret == SECRET_HEX) {
        hex_encode(bytes.at, bytes.bytes, room);
        return slice_of(room, 2 * bytes.bytes);
    }
    if (row->secret == SECRET_BASE64) {
        n = (size_t)snprintf(room, 8, "whsec_");
        n += base64_encode(bytes.at, bytes.bytes, BASE64_STANDARD, room + n);
        return slice_of(room, n);
    }
    if (row->kind == ROW_BASIC) {
        memcpy(room, "u:", 2);
        n = 2;
    }
    memcpy(room + n, bytes.at, bytes.bytes);
    return slice_of(room, n + bytes.bytes);
}

static struct scheme *compiled(const struct scheme_row *row, struct slice secret,
                               const char **ret_message)
{
    struct scheme *scheme = NULL;
    size_t bytes;
    *ret_message = NULL;
    return scheme_compile(row, &secret, 1, -1, &scheme, &bytes, ret_message) == BK_OK ? scheme
                                                                                      : NULL;
}

static struct scheme *usual(const struct scheme_row *row)
{
    char room[2048];
    const char *message;
    struct scheme *scheme =
        compiled(row, secret_text(row, SLICE("It's a Secret to Everybody"), room), &message);
    if (scheme == NULL) {
        bail_out("%s: %s", row->name, message);
    }
    return scheme;
}

struct delivery {
    enum bk_err err;
    struct buf headers, body, url;
    struct slice sent_body;
};

static void deliver(const struct scheme *scheme, const struct scheme_row *row, struct slice body,
                    const char *url, int64_t now, struct delivery *d)
{
    struct scheme_send send = {.body = body,
                               .id = SLICE("id-0001"),
                               .url = slice_str(url),
                               .now_seconds = now,
                               .ret_body = &d->body,
                               .ret_url = &d->url,
                               .private_key = private_key_of(row)};
    buf_init(&d->headers, 20000);
    buf_init(&d->body, (2U << 20) + 20000);
    buf_init(&d->url, 10000);
    d->err = scheme_sign(scheme, &send, &d->headers);
    d->sent_body = d->body.bytes != 0 ? buf_slice(&d->body) : body;
    if (d->url.bytes == 0) {
        buf_add_str(&d->url, url);
    }
}

static void delivery_fini(struct delivery *d)
{
    buf_fini(&d->headers);
    buf_fini(&d->body);
    buf_fini(&d->url);
}

/* What the request says about itself counts for nothing where a URL is signed. */
#define FORWARDED                                                                                  \
    "X-Forwarded-Proto: http\r\nX-Forwarded-Host: other.example\r\nX-Forwarded-Port: 81\r\n"       \
    "Forwarded: proto=http;host=other.example\r\n"

static const char *method = "POST";

/* The verdict about it as a server sees it, with these header lines; COUNT = no request at all.
 * Prepared or not, it must be the same. */
static enum scheme_verdict judge_at(const struct scheme *scheme, struct delivery *d,
                                    struct slice headers, int64_t now)
{
    static char text[HTTP_HEAD_BYTES_MAX + 4096];
    struct http_head head;
    struct scheme_answer answer;
    const char *url = buf_text(&d->url), *target = strchr(strstr(url, "://") + 3, '/');
    int n = snprintf(text, sizeof text, "%s %s HTTP/1.1\r\nHost: h\r\n" FORWARDED "%.*s\r\n",
                     method, target, (int)headers.bytes, (const char *)headers.at);
    if ((size_t)n >= HTTP_HEAD_BYTES_MAX ||
        http_parse_request((const uint8_t *)text, (size_t)n, &head) != HTTP_PARSE_DONE) {
        return SCHEME_VERDICT_COUNT;
    }
    struct scheme_request plain = {.head = &head,
                                   .body = d->sent_body,
                                   .base = slice_of((const uint8_t *)url, (size_t)(target - url)),
                                   .now_seconds = now};
    struct scheme_request prepared = plain;
    struct scheme_identity identity;
    uint8_t room[EVENT_TYPE_BYTES_MAX];
    scheme_prepare(scheme, &prepared);
    scheme_identify(scheme, &prepared, &identity);
    if (scheme_type_text(scheme, &identity, room).bytes > EVENT_TYPE_BYTES_MAX) {
        bail_out("a type that is too long");
    }
    enum scheme_verdict verdict = scheme_verify(scheme, &plain, &answer);
    if (scheme_verify(scheme, &prepared, &answer) != verdict) {
        bail_out("prepared, the verdict is another than %s", scheme_verdict_name(verdict));
    }
    return verdict;
}

static enum scheme_verdict judge(const struct scheme *scheme, struct delivery *d)
{
    return judge_at(scheme, d, buf_slice(&d->headers), NOW);
}

static bool taken(enum scheme_verdict verdict)
{
    return verdict == SCHEME_GENUINE || verdict == SCHEME_HANDSHAKE;
}

/* ---- secrets */

static void any_secret(const struct scheme_row *row)
{
    static const size_t sizes[] = {1, 63, 64, 65, 128, 129, 200};
    char room[2048];
    uint8_t bytes[200];
    const char *message;
    unsigned wrong = 0;
    struct scheme *none = compiled(row, SLICE_EMPTY, &message);
    ok(none == NULL && message != NULL, "%s: an empty secret is refused", row->name);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0] && private_key_of(row) == NULL; i++) {
        struct delivery d, other;
        /* UTF-8, and bytes that are none; a header can carry them. */
        for (size_t k = 0; k < sizes[i]; k++) {
            static const char letters[] = "s\xc3\xbc\xff\x80 =/";
            bytes[k] = (uint8_t)letters[k * 7 % (sizeof letters - 1)];
        }
        bytes[sizes[i] - 1] = 'z';
        struct scheme *scheme =
            compiled(row, secret_text(row, slice_of(bytes, sizes[i]), room), &message);
        if (scheme == NULL) {
            diag("%s: %zu bytes: %s", row->name, sizes[i], message);
            wrong++;
            continue;
        }
        deliver(scheme, row, BODY, HOST PATH, NOW, &d);
        enum scheme_verdict verdict = judge(scheme, &d);
        bytes[sizes[i] - 1] = 'y';
        struct scheme *another =
            compiled(row, secret_text(row, slice_of(bytes, sizes[i]), room), &message);
        deliver(another, row, BODY, HOST PATH, NOW, &other);
        if (d.err != BK_OK || !taken(verdict) || taken(judge(another, &d)) ||
            taken(judge(scheme, &other))) {
            diag("%s: secret of %zu bytes: %d, %s", row->name, sizes[i], d.err,
                 scheme_verdict_name(verdict));
            wrong++;
        }
        delivery_fini(&d);
        delivery_fini(&other);
        scheme_wipe(scheme);
        free(scheme);
        scheme_wipe(another);
        free(another);
    }
    is_uint(wrong, 0, "%s: secrets of any length", row->name);
    /* Out of a file, with its line break. */
    struct slice with = secret_text(row, SLICE("It's a Secret to Everybody"), room);
    room[with.bytes] = '\n';
    struct scheme *broken = compiled(row, slice_of(with.at, with.bytes + 1), &message);
    ok((broken != NULL) == (row->secret == SECRET_PUBLIC_KEY), "%s: no line break behind a secret",
       row->name);
    scheme_wipe(broken);
    free(broken);
}

/* ---- bodies and URLs */

/* What is signed, or says when it was sent, is in a body of a certain form. */
static bool wants_form(const struct scheme_row *row)
{
    const char *template = row->signed_template != NULL ? row->signed_template : "";
    return strchr("/", row->header != NULL ? row->header[0] : 'x') != NULL ||
           (row->timestamp != NULL && row->timestamp[0] == '/') ||
           strstr(template, "{form") != NULL || row->verify == adyen_verify;
}

static void any_body(const struct scheme *scheme, const struct scheme_row *row)
{
    static char large[TAP_SANITIZED ? 1 << 16 : 1 << 20]; /* hashing is what takes long there */
    memset(large, '\x80', sizeof large);
    const struct slice bodies[] = {
        SLICE_EMPTY,
        SLICE("\0\0a\0"),
        SLICE("\xff\xfe{\x80}"),
        SLICE("{}"),
        SLICE(" \r\n{\"a\":\"\\u00fc\xc3\xbc\",\"a\":2}\r\n"),
        SLICE("{\"webhookTimestamp\":1767225600000,\"webhookTimestamp\":1}"),
        SLICE("a=1&a=2&b=&c=%20+%2B&a=1&=&&d"),
        slice_of(large, sizeof large),
    };
    unsigned wrong = 0, sent = 0;
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        struct delivery d;
        deliver(scheme, row, bodies[i], HOST PATH, NOW, &d);
        enum scheme_verdict verdict = judge(scheme, &d);
        /* LinkedIn's challenge would be the signature of nothing. */
        bool words = bodies[i].bytes == 0 && strcmp(row->name, "linkedin") == 0;
        if (d.err == BK_OK ? !taken(verdict) != words : !wants_form(row)) {
            diag("%s: body %zu: %d, %s", row->name, i, d.err, scheme_verdict_name(verdict));
            wrong++;
        }
        sent += d.err == BK_OK;
        delivery_fini(&d);
    }
    is_uint(wrong, 0, "%s: any body that is sent is taken (%u)", row->name, sent);
}

static void any_url(const struct scheme *scheme, const struct scheme_row *row)
{
    static const char *const urls[] = {
        HOST "/hooks/x",
        HOST "/hooks/x?",
        HOST "/hooks/x?a=b&a=b&a=c&b=&=&&d&a+b=%20+",
        HOST "/hooks/gr%C3%BC%c3%9fe/%2F%3f%40%3A?q=%25%2B%26&redirect=https%3A%2F%2Fa.example%2F",
        HOST ":8443/hooks/x?a=b",
        HOST ":443/hooks/x",
        "http://hooks.example.com/hooks/x?token&signature",
        "https://[2001:db8::1]:8443/hooks/x",
    };
    unsigned wrong = 0;
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        struct delivery d;
        deliver(scheme, row, BODY, urls[i], NOW, &d);
        if (d.err != BK_OK || !taken(judge(scheme, &d))) {
            diag("%s: %s: %d, %s", row->name, urls[i], d.err,
                 scheme_verdict_name(judge(scheme, &d)));
            wrong++;
        }
        delivery_fini(&d);
    }
    is_uint(wrong, 0, "%s: any URL", row->name);
}

/* ---- headers */

/* The header at `name` in these lines; NULL = there is none. */
static const char *line_of(struct buf *headers, const char *name)
{
    size_t bytes = name != NULL ? strcspn(name, " ") : 0;
    const char *at = buf_text(headers);
    while (bytes != 0 && at != NULL && *at != '\0') {
        if (strncasecmp(at, name, bytes) == 0 && at[bytes] == ':') {
            return at;
        }
        at = strchr(at, '\n');
        at = at != NULL ? at + 1 : NULL;
    }
    return NULL;
}

/* The same lines with another value in one of them. */
static enum scheme_verdict with_value(const struct scheme *scheme, struct delivery *d,
                                      const char *line, const char *value)
{
    static char text[HTTP_HEAD_BYTES_MAX + 8192];
    const char *all = buf_text(&d->headers), *colon = strchr(line, ':');
    int n = snprintf(text, sizeof text, "%.*s: %s%s", (int)(colon - all), all, value,
                     strstr(line, "\r\n"));
    return judge_at(scheme, d, slice_of((const uint8_t *)text, (size_t)n), NOW);
}

/* With something before and behind the value that it has. */
static enum scheme_verdict with_more(const struct scheme *scheme, struct delivery *d,
                                     const char *line, const char *before, const char *behind)
{
    static char text[HTTP_HEAD_BYTES_MAX];
    const char *value = strchr(line, ':') + 2;
    snprintf(text, sizeof text, "%s%.*s%s", before, (int)strcspn(value, "\r"), value, behind);
    return with_value(scheme, d, line, text);
}

static void blanks_and_twice(const struct scheme *scheme, const struct scheme_row *row,
                             struct delivery *d)
{
    const char *names[] = {
        row->header, row->timestamp,
        row->signed_template != NULL && strstr(row->signed_template, "{id}") ? row->id : NULL};
    char value[4096], twice[9000];
    for (size_t i = 0; i < 3; i++) {
        const char *line = line_of(&d->headers, names[i]);
        if (line == NULL) {
            continue;
        }
        const char *colon = strchr(line, ':');
        snprintf(value, sizeof value, "%.*s", (int)strcspn(colon + 2, "\r"), colon + 2);
        ok(taken(with_more(scheme, d, line, " \t ", " \t ")), "%s: blanks around %s", row->name,
           names[i]);
        ok(!taken(with_value(scheme, d, line, "")), "%s: %s is empty", row->name, names[i]);
        snprintf(twice, sizeof twice, "%s\r\n%.*s: %s", value, (int)(colon - line), line, value);
        ok(!taken(with_value(scheme, d, line, twice)), "%s: %s is there twice", row->name,
           names[i]);
    }
}

/* What of the first line is signed is that of this request, and no other. */
static void another_line(const struct scheme *scheme, const struct scheme_row *row,
                         struct delivery *d)
{
    static const char *const urls[] = {HOST "/hooks/x?a=c",
                                       HOST "/hooks/y?a=b",
                                       HOST "/hooks/x?a=b&",
                                       HOST "/hooks/x?a=b&a=b",
                                       "https://hooks.example.org" PATH,
                                       HOST ":8443" PATH,
                                       HOST "/hooks//x?a=b",
                                       HOST "/hooks/x?A=b"};
    const char *template = row->signed_template != NULL ? row->signed_template : "";
    if (strstr(template, "{method}") != NULL) {
        method = "PUT";
        ok(!taken(judge(scheme, d)), "%s: another method", row->name);
        method = "POST";
    }
    bool in_query = d->url.bytes != strlen(HOST PATH);
    unsigned wrong = 0;
    for (size_t i = 0; i < sizeof urls / sizeof urls[0] && !in_query; i++) {
        struct buf own = d->url;
        buf_init(&d->url, 1000);
        buf_add_str(&d->url, urls[i]);
        wrong += strstr(template, "{url") != NULL && taken(judge(scheme, d));
        buf_fini(&d->url);
        d->url = own;
    }
    is_uint(wrong, 0, "%s: another URL", row->name);
}

/* A time is the text that was signed. */
static void odd_times(const struct scheme *scheme, const struct scheme_row *row, struct delivery *d)
{
    static const char *const around[][2] = {
        {"+", ""},           {"-", ""},   {"0", ""},  {"", ".0"},   {"", ".5"},
        {"", "e0"},          {"0x", ""},  {"", " 0"}, {"", "\t0"},  {"1 ", ""},
        {"1", ""},           {"", "000"}, {"", "Z"},  {"\"", "\""}, {"99999999999999999999", ""},
        {"", ",1767225600"}, {"", ";"}};
    const char *line = line_of(&d->headers, row->timestamp);
    unsigned wrong = 0;
    if (line != NULL) {
        for (size_t i = 0; i < sizeof around / sizeof around[0]; i++) {
            bool good = taken(with_more(scheme, d, line, around[i][0], around[i][1]));
            wrong += good;
            if (good) {
                diag("%s: a time with %s and %s", row->name, around[i][0], around[i][1]);
            }
        }
        is_uint(wrong, 0, "%s: only the time that was signed", row->name);
    }
    bool in_words = row->unit >= UNIT_RFC3339;
    bool timed =
        line != NULL || (row->format != NULL && strstr(row->format, "{timestamp}") != NULL);
    if (timed && !in_words && row->kind != ROW_CODE) {
        struct delivery before;
        deliver(scheme, row, BODY, HOST PATH, -5, &before);
        enum scheme_verdict verdict = judge_at(scheme, &before, buf_slice(&before.headers), -5);
        is_int(verdict, SCHEME_TIMESTAMP_MALFORMED, "%s: no time before 1970", row->name);
        delivery_fini(&before);
    }
}

/* Hexadecimal digits of either case are the same bytes, and only those. Base 64 has one spelling.
 */
static void spellings(const struct scheme *scheme, const struct scheme_row *row, struct delivery *d)
{
    const char *line = line_of(&d->headers, row->header), *format = row->format;
    char value[4096], text[4096];
    if (format == NULL) {
        format = row->kind == ROW_PUBLIC_KEY ? "{base64}" : "{hex}";
    }
    if (line == NULL || row->kind == ROW_CODE || row->kind == ROW_TOKEN || row->kind == ROW_BASIC ||
        row->kind == ROW_BEARER || row->kind == ROW_AUTHORIZATION) {
        return;
    }
    snprintf(value, sizeof value, "%.*s", (int)strcspn(strchr(line, ':') + 2, "\r"),
             strchr(line, ':') + 2);
    size_t n = strlen(value);
    if (strstr(format, "{hex}") != NULL) {
        memcpy(text, value, n + 1);
        for (char *c = text + n - 32; *c != '\0'; c++) {
            *c = (char)toupper((unsigned char)*c);
        }
        ok(taken(with_value(scheme, d, line, text)), "%s: digits in capitals", row->name);
        ok(!taken(with_more(scheme, d, line, "", "0")), "%s: a digit more", row->name);
        return;
    }
    bool url = strstr(format, "{base64url}") != NULL;
    unsigned wrong = 0;
    for (size_t i = 0; i < n; i++) {
        memcpy(text, value, n + 1);
        const char *from = url ? "-_" : "+/", *to = url ? "+/" : "-_";
        const char *found = strchr(from, text[i]);
        if (found != NULL && text[i] != '\0') {
            text[i] = to[found - from];
            wrong += taken(with_value(scheme, d, line, text));
        }
    }
    if (value[n - 1] == '=') {
        snprintf(text, sizeof text, "%.*s", (int)strcspn(value + n - 3, "=") + (int)n - 3, value);
        wrong += taken(with_value(scheme, d, line, text));
        /* Bits of the last letter that mean nothing. */
        size_t last = n - 1 - (value[n - 2] == '=');
        memcpy(text, value, n + 1);
        text[last - 1] ^= 1;
        wrong += isalnum((unsigned char)text[last - 1]) && taken(with_value(scheme, d, line, text));
    }
    wrong += !url && taken(with_more(scheme, d, line, "", "=")); /* there padding may be left out */
    wrong += taken(with_more(scheme, d, line, "", " A")) && format[0] != 'v';
    is_uint(wrong, 0, "%s: no other spelling of base 64", row->name);
}

/* Many signatures: the right one may be the last of as many as are looked at, and what is of
 * another version does not count; beyond that the request is malformed, however many there are. */
static void many_signatures(const struct scheme *scheme, const struct scheme_row *row,
                            struct delivery *d)
{
    static char text[HTTP_HEAD_BYTES_MAX];
    const char *open = row->format != NULL ? strstr(row->format, "...") : NULL;
    const char *line = line_of(&d->headers, row->header);
    char value[4096], wrong_one[4096];
    if (open == NULL || line == NULL) {
        return;
    }
    char separator = open[-1];
    snprintf(value, sizeof value, "%.*s", (int)strcspn(strchr(line, ':') + 2, "\r"),
             strchr(line, ':') + 2);
    const char *mine = strrchr(value, separator);
    mine = mine != NULL ? mine + 1 : value;
    snprintf(wrong_one, sizeof wrong_one, "%s", mine);
    char *digit = wrong_one + strlen(wrong_one) - 8;
    *digit = *digit == '0' ? '1' : '0';
    for (unsigned count = 7; count < 400; count = count < 9 ? count + 1 : count * 3) {
        size_t n = (size_t)snprintf(text, sizeof text, "%.*s", (int)(mine - value), value);
        for (unsigned i = 0; i < count && n < 9000; i++) {
            n += (size_t)snprintf(text + n, sizeof text - n, "%s%c", wrong_one, separator);
        }
        snprintf(text + n, sizeof text - n, "%s", mine);
        enum scheme_verdict verdict = with_value(scheme, d, line, text);
        ok(taken(verdict) == (count == 7), "%s: the right one behind %u others: %s", row->name,
           count, scheme_verdict_name(verdict));
    }
    size_t n = (size_t)snprintf(text, sizeof text, "%.*s", (int)(mine - value), value);
    for (unsigned i = 0; i < 1000 && n < 9000; i++) {
        n += (size_t)snprintf(text + n, sizeof text - n, "v99=%u%c", i, separator);
    }
    snprintf(text + n, sizeof text - n, "%s", mine);
    ok(taken(with_value(scheme, d, line, text)), "%s: behind a thousand of another version",
       row->name);
}

/* ---- what stands in a JSON text twice */

/* Verification and whoever reads the content must see the same one: the first. Where it is a value
 * that is signed by itself, neither is taken. */
static void adyen_twice(void)
{
    const struct scheme_row *row = scheme_row_find(SLICE("adyen"));
    static const char item[] =
        "{\"pspReference\":\"7914073381342284\",\"originalReference\":\"\",\"merchantAccountCode\":"
        "\"TestMerchant\",\"merchantReference\":\"TestPayment-1407325143704\",\"amount\":{"
        "\"value\":1130,\"currency\":\"EUR\"},\"eventCode\":\"AUTHORISATION\",\"success\":\"true\","
        "\"additionalData\":{\"hmacSignature\":\"coqCmt/"
        "IZ4E3CzPvMY8zTjQVL5hYJUiBRg8UU+iCWo0=\"}%s}";
    static const struct {
        const char *more, *outer;
        bool good;
    } cases[] = {
        {"", "", true},
        {",\"reason\":\"1\",\"reason\":\"2\"", "", true},
        {",\"success\":\"false\"", "", false},
        {",\"success\":\"true\"", "", false},
        {",\"amount\":{\"value\":1,\"currency\":\"EUR\"}", "", false},
        {",\"\\u0073uccess\":\"false\"", "", false},
        {"", ",\"notificationItems\":[]", false},
        {"", ",\"notificationItem\\u0073\":[]", false},
    };
    const char *message;
    struct scheme *scheme = compiled(
        row, SLICE("44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056"), &message);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char inner[1024], body[2048];
        struct delivery d = {.err = BK_OK};
        snprintf(inner, sizeof inner, item, cases[i].more);
        snprintf(body, sizeof body,
                 "{\"live\":\"false\",\"notificationItems\":[{\"NotificationRequestItem\":%s}]%s}",
                 inner, cases[i].outer);
        buf_init(&d.headers, 100);
        buf_init(&d.body, 100);
        buf_init(&d.url, 100);
        buf_add_str(&d.url, HOST PATH);
        buf_add_str(&d.headers, "Accept: */*\r\n");
        d.sent_body = slice_str(body);
        is_int(taken(judge(scheme, &d)), cases[i].good, "Adyen: %s%s", cases[i].more,
               cases[i].outer);
        delivery_fini(&d);
    }
    scheme_wipe(scheme);
    free(scheme);
}

/* ---- names of events */

static void odd_names(const struct scheme *scheme, const struct scheme_row *row)
{
    static char body[40000];
    static const char *const odd[] = {"", "\\u0000\\ud800", "gr\303\274\303\237e \377",
                                      "\x01\x7f\t", "a\\\"b\\\\"};
    unsigned wrong = 0;
    for (size_t i = 0; i <= sizeof odd / sizeof odd[0]; i++) {
        static char name[12000];
        memset(name, 'x', sizeof name);
        name[sizeof name - 1] = '\0';
        const char *text = i < sizeof odd / sizeof odd[0] ? odd[i] : name;
        struct delivery d;
        snprintf(body, sizeof body,
                 "{\"id\":\"%s\",\"type\":\"%s\",\"event\":{\"type\":\"%s\"},"
                 "\"webhookTimestamp\":1767225600000}",
                 text, text, text);
        deliver(scheme, row, slice_str(body), HOST PATH, NOW, &d);
        bool words = strstr(row->name, "auth") != NULL; /* none of theirs is in this body */
        wrong += d.err == BK_OK && !taken(judge(scheme, &d)) && !words;
        delivery_fini(&d);
    }
    is_uint(wrong, 0, "%s: ids and types of any text", row->name);
}

int main(void)
{
    unsigned rows = 0;
    keys_make();
    adyen_twice();
    for (size_t i = 0; i < scheme_row_count(); i++) {
        const struct scheme_row *row = scheme_row_at(i);
        if (!is_sent_by_secret(row)) {
            continue;
        }
        struct scheme *scheme = usual(row);
        struct delivery d;
        any_secret(row);
        any_body(scheme, row);
        any_url(scheme, row);
        odd_names(scheme, row);
        deliver(scheme, row, BODY, HOST PATH, NOW, &d);
        if (ok(d.err == BK_OK && taken(judge(scheme, &d)), "%s: is sent and taken", row->name)) {
            blanks_and_twice(scheme, row, &d);
            another_line(scheme, row, &d);
            odd_times(scheme, row, &d);
            spellings(scheme, row, &d);
            many_signatures(scheme, row, &d);
        }
        delivery_fini(&d);
        scheme_wipe(scheme);
        free(scheme);
        rows++;
    }
    ok(rows >= 140, "%u rows", rows);
    return done_testing();
}
