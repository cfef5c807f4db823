#include "cli/bench_request.h"

#include "base/assert.h"
#include "providers/scheme.h"

#include <stdlib.h>

#define REQUEST_BYTES_MAX (64U << 20)
#define HEADERS_BYTES_MAX 16384U

static const char id_example[] = "00000000-0000-4000-8000-000000000000";

static void hex_put(uint8_t *at, uint64_t value, unsigned digits)
{
    for (unsigned i = digits; i > 0; i--) {
        at[i - 1] = (uint8_t) "0123456789abcdef"[value & 15];
        value >>= 4;
    }
}

/* seed: 12 digits, thread: 3, number: 15. */
static void id_put(uint8_t at[BENCH_ID_BYTES], uint64_t seed, unsigned thread, uint64_t number)
{
    memcpy(at, id_example, BENCH_ID_BYTES);
    hex_put(at, seed >> 16, 8);
    hex_put(at + 9, seed, 4);
    hex_put(at + 15, thread, 3);
    hex_put(at + 20, number >> 48, 3);
    at[19] = '8';
    hex_put(at + 24, number, 12);
}

static const uint8_t *find(struct slice text, const void *what, size_t bytes)
{
    return text.bytes < bytes ? NULL : memmem(text.at, text.bytes, what, bytes);
}

/* ---- body */

void bench_body_make(struct buf *body, size_t bytes)
{
    static const char open[] = "{\"id\":\"";
    static const char middle[] = "\",\"ref\":\"refs/heads/main\",\"commits\":[";
    static const char commit[] =
        "{\"id\":\"4f1c8a\",\"message\":\"one more change\",\"author\":{\"name\":\"bench\"}},";
    static const char close[] = "\"\"]}";
    size_t fixed = sizeof open + sizeof middle + sizeof close - 3 + BENCH_ID_BYTES;
    if (bytes < fixed) {
        for (size_t i = 0; i < bytes; i++) {
            buf_add_byte(body, i == 0 || i + 1 == bytes ? '"' : 'x');
        }
        return;
    }
    size_t left = bytes - fixed;
    buf_add_str(body, open);
    buf_add_str(body, id_example);
    buf_add_str(body, middle);
    for (; left >= sizeof commit - 1; left -= sizeof commit - 1) {
        buf_add_str(body, commit);
    }
    buf_add_byte(body, '"');
    for (; left > 0; left--) {
        buf_add_byte(body, 'x');
    }
    buf_add_str(body, close + 1);
}

/* ---- probing what a signature covers */

struct probe {
    struct buf headers;
    uint8_t id[BENCH_ID_BYTES];
};

static bool probe_sign(struct bench_writer *writer, struct probe *probe, uint64_t number,
                       struct slice body, int64_t now_seconds)
{
    buf_init(&probe->headers, HEADERS_BYTES_MAX);
    id_put(probe->id, writer->config.seed, writer->config.thread, number);
    struct scheme_send send = {.body = body,
                               .type = writer->config.event,
                               .id = slice_of(probe->id, BENCH_ID_BYTES),
                               .url = writer->config.url,
                               .now_seconds = now_seconds};
    return scheme_sign(writer->config.scheme, &send, &probe->headers) == BK_OK &&
           !probe->headers.overflow;
}

/* Everything but the id is the same in both. */
static bool same_without_id(const struct probe *a, const struct probe *b, size_t *ret_id_at)
{
    struct slice text_a = buf_slice(&a->headers);
    struct slice text_b = buf_slice(&b->headers);
    const uint8_t *id = find(text_a, a->id, BENCH_ID_BYTES);
    *ret_id_at = 0;
    if (!id) {
        return slice_equal(text_a, text_b);
    }
    size_t at = (size_t)(id - text_a.at);
    size_t behind = at + BENCH_ID_BYTES;
    *ret_id_at = at;
    return text_a.bytes == text_b.bytes && memcmp(text_a.at, text_b.at, at) == 0 &&
           memcmp(text_b.at + at, b->id, BENCH_ID_BYTES) == 0 &&
           memcmp(text_a.at + behind, text_b.at + behind, text_a.bytes - behind) == 0;
}

static size_t first_difference(const struct buf *a, const struct buf *b)
{
    size_t bytes = a->bytes < b->bytes ? a->bytes : b->bytes;
    for (size_t i = 0; i < bytes; i++) {
        if (a->at[i] != b->at[i]) {
            return i;
        }
    }
    return 0;
}

/* Where the signature is in the signed headers: the first thing that another body changes. */
static enum bk_err signature_find(struct bench_writer *writer, const struct probe *probe,
                                  int64_t now_seconds, size_t *ret_at)
{
    size_t bytes = writer->config.body.bytes;
    uint8_t *other = malloc(bytes + 1);
    struct probe changed = {.headers = {.at = NULL}};
    if (!other) {
        return BK_NO_MEMORY;
    }
    memcpy(other, writer->config.body.at, bytes);
    /* Inside the first string of a JSON text, which stays JSON. */
    other[bytes > 2 ? bytes - 3 : 0] ^= bytes > 0;
    *ret_at = 0;
    if (bytes > 0 && probe_sign(writer, &changed, 1, slice_of(other, bytes), now_seconds)) {
        *ret_at = first_difference(&probe->headers, &changed.headers);
    }
    buf_fini(&changed.headers);
    free(other);
    return BK_OK;
}

static enum bk_err body_own(struct bench_writer *writer, const char **ret_why)
{
    struct slice body = writer->config.body;
    const uint8_t *id = find(body, id_example, BENCH_ID_BYTES);
    if (!id) {
        *ret_why = "this type has its delivery id in the body; use --body-bytes 80 or more, or a "
                   "--body with the "
                   "id 00000000-0000-4000-8000-000000000000";
        return BK_UNSUPPORTED;
    }
    writer->body = malloc(body.bytes);
    if (!writer->body) {
        return BK_NO_MEMORY;
    }
    memcpy(writer->body, body.at, body.bytes);
    writer->id_in_body = true;
    writer->body_id_at = (size_t)(id - body.at);
    return BK_OK;
}

/* Find writer->signing, and the id's and the signature's place in the signed headers. */
static enum bk_err signing_find(struct bench_writer *writer, int64_t now_seconds, size_t *ret_id_at,
                                size_t *ret_forge_at, const char **ret_why)
{
    struct probe first = {.headers = {.at = NULL}};
    struct probe other_id = first;
    struct probe later = first;
    struct slice body = writer->config.body;
    enum bk_err err = BK_OK;
    *ret_why = "becket cannot sign as this type";
    if (!probe_sign(writer, &first, 1, body, now_seconds) ||
        !probe_sign(writer, &other_id, 2, body, now_seconds) ||
        !probe_sign(writer, &later, 1, body, now_seconds + 1)) {
        err = BK_UNSUPPORTED;
    } else if (!same_without_id(&first, &other_id, ret_id_at)) {
        writer->signing = BENCH_SIGN_EACH;
    } else if (*ret_id_at == 0 && scheme_has_delivery_id(writer->config.scheme)) {
        writer->signing = BENCH_SIGN_EACH;
        err = body_own(writer, ret_why);
    } else {
        bool timeless = slice_equal(buf_slice(&first.headers), buf_slice(&later.headers));
        writer->signing = timeless ? BENCH_SIGN_ONCE : BENCH_SIGN_PER_SECOND;
    }
    if (err == BK_OK) {
        err = signature_find(writer, &first, now_seconds, ret_forge_at);
    }
    buf_fini(&first.headers);
    buf_fini(&other_id.headers);
    buf_fini(&later.headers);
    return err;
}

/* ---- the request */

static bool has_header(struct slice headers, const char *lower_name)
{
    struct slice name = slice_str(lower_name);
    while (headers.bytes > 0) {
        size_t line = slice_find(headers, '\n');
        struct slice got = slice_of(headers.at, slice_find(headers, ':'));
        if (slice_equal_nocase(got, name)) {
            return true;
        }
        headers = slice_skip(headers, line + 1);
    }
    return false;
}

/* Sign for `id` into writer->signed_headers (empty when there is no scheme). */
static void sign(struct bench_writer *writer, const uint8_t id[BENCH_ID_BYTES], int64_t now_seconds)
{
    struct slice body = writer->config.body;
    buf_reset(&writer->signed_headers);
    if (writer->id_in_body) {
        memcpy(writer->body + writer->body_id_at, id, BENCH_ID_BYTES);
        body.at = writer->body;
    }
    struct scheme_send send = {.body = body,
                               .type = writer->config.event,
                               .id = slice_of(id, BENCH_ID_BYTES),
                               .url = writer->config.url,
                               .now_seconds = now_seconds};
    /* It worked for the probes, and nothing but the id and the time has changed. */
    enum bk_err err = scheme_sign(writer->config.scheme, &send, &writer->signed_headers);
    bk_assert(err == BK_OK && !writer->signed_headers.overflow);
    writer->second = now_seconds;
}

/* The target, with digits in place of its mark. */
static void target_add(struct bench_writer *writer, struct buf *request)
{
    struct slice target = writer->config.target;
    const uint8_t *mark = writer->config.spread
                              ? find(target, BENCH_SPREAD_MARK, sizeof BENCH_SPREAD_MARK - 1)
                              : NULL;
    if (!mark) {
        buf_add_slice(request, target);
        return;
    }
    size_t at = (size_t)(mark - target.at);
    buf_add(request, target.at, at);
    writer->spread_at = request->bytes;
    for (unsigned i = 0; i < BENCH_SPREAD_DIGITS; i++) {
        buf_add_byte(request, '0');
    }
    buf_add_slice(request, slice_skip(target, at + sizeof BENCH_SPREAD_MARK - 1));
}

/* Returns where in `request` the signed headers begin. */
static size_t head_make(struct bench_writer *writer, struct buf *request)
{
    const struct bench_request_config *config = &writer->config;
    struct slice own = buf_slice(&writer->signed_headers);
    buf_add_slice(request, config->method);
    buf_add_byte(request, ' ');
    target_add(writer, request);
    buf_add_str(request, " HTTP/1.1\r\nHost: ");
    buf_add_slice(request, config->host);
    buf_add_str(request, "\r\n");
    if (!has_header(own, "user-agent") && !has_header(config->headers, "user-agent")) {
        buf_add_str(request, "User-Agent: becket-bench\r\n");
    }
    if (config->body.bytes > 0 && !has_header(own, "content-type") &&
        !has_header(config->headers, "content-type")) {
        buf_add_str(request, "Content-Type: application/json\r\n");
    }
    buf_add_slice(request, config->headers);
    size_t at = request->bytes;
    buf_add_slice(request, own);
    if (config->body.bytes > 0 || !slice_equal(config->method, SLICE("GET"))) {
        buf_printf(request, "Content-Length: %zu\r\n", config->body.bytes);
    }
    buf_add_str(request, "\r\n");
    return at;
}

static enum bk_err text_make(struct bench_writer *writer, size_t id_at, size_t forge_at)
{
    struct buf request;
    buf_init(&request, REQUEST_BYTES_MAX);
    size_t signed_at = head_make(writer, &request);
    writer->signed_at = signed_at;
    writer->signed_bytes = writer->signed_headers.bytes;
    writer->head_bytes = request.bytes;
    buf_add_slice(&request, writer->config.body);
    enum bk_err err = request.overflow ? BK_TOO_LARGE : BK_OK;
    if (err == BK_OK) {
        writer->request_bytes = request.bytes;
        writer->text = malloc(request.bytes);
        err = writer->text ? BK_OK : BK_NO_MEMORY;
    }
    if (err == BK_OK) {
        memcpy(writer->text, request.at, request.bytes);
        writer->id_at = id_at ? signed_at + id_at : 0;
        writer->forge_at = forge_at ? signed_at + forge_at : 0;
    }
    buf_fini(&request);
    return err;
}

enum bk_err bench_writer_init(struct bench_writer *writer,
                              const struct bench_request_config *config, int64_t now_seconds,
                              const char **ret_why)
{
    static const char plain_id[] = "X-Request-Id: ";
    size_t id_at = 0;
    size_t forge_at = 0;
    uint8_t id[BENCH_ID_BYTES];
    enum bk_err err = BK_OK;
    *writer = (struct bench_writer){.config = *config};
    buf_init(&writer->signed_headers, HEADERS_BYTES_MAX);
    *ret_why = "out of memory, or the request is over 64 MiB";
    id_put(id, config->seed, config->thread, 0);
    if (config->scheme) {
        err = signing_find(writer, now_seconds, &id_at, &forge_at, ret_why);
        if (err == BK_OK) {
            sign(writer, id, now_seconds);
        }
    } else {
        buf_add_str(&writer->signed_headers, plain_id);
        buf_add(&writer->signed_headers, id, BENCH_ID_BYTES);
        buf_add_str(&writer->signed_headers, "\r\n");
        id_at = sizeof plain_id - 1;
    }
    return err == BK_OK ? text_make(writer, id_at, forge_at) : err;
}

void bench_writer_fini(struct bench_writer *writer)
{
    buf_fini(&writer->signed_headers);
    free(writer->text);
    free(writer->body);
    writer->text = NULL;
    writer->body = NULL;
}

/* Sign again and put the result where the old one was; nothing in it changes its length. */
static void text_sign(struct bench_writer *writer, const uint8_t id[BENCH_ID_BYTES],
                      int64_t now_seconds)
{
    sign(writer, id, now_seconds);
    bk_assert(writer->signed_headers.bytes == writer->signed_bytes);
    memcpy(writer->text + writer->signed_at, writer->signed_headers.at, writer->signed_bytes);
    if (writer->id_in_body) {
        memcpy(writer->text + writer->head_bytes + writer->body_id_at, id, BENCH_ID_BYTES);
    }
}

/* Any order will do, as long as a number always has the same target. */
static void spread_put(uint8_t *at, uint64_t number, uint64_t spread)
{
    uint64_t mixed = number * 0x9e3779b97f4a7c15ULL;
    uint64_t value = (uint64_t)(((unsigned __int128)mixed * spread) >> 64);
    for (unsigned i = BENCH_SPREAD_DIGITS; i > 0; i--) {
        at[i - 1] = (uint8_t)('0' + value % 10);
        value /= 10;
    }
}

void bench_writer_put(struct bench_writer *writer, uint8_t *at, uint64_t number, bool forged,
                      bool has_body, int64_t now_seconds)
{
    uint8_t id[BENCH_ID_BYTES];
    id_put(id, writer->config.seed, writer->config.thread, number);
    bk_assert(!forged || writer->forge_at);
    if (writer->signing == BENCH_SIGN_EACH ||
        (writer->signing == BENCH_SIGN_PER_SECOND && writer->second != now_seconds)) {
        text_sign(writer, id, now_seconds);
    }
    bool head_only = has_body && !writer->id_in_body;
    memcpy(at, writer->text, head_only ? writer->head_bytes : writer->request_bytes);
    if (writer->id_at) {
        memcpy(at + writer->id_at, id, BENCH_ID_BYTES);
    }
    if (writer->spread_at) {
        spread_put(at + writer->spread_at, number, writer->config.spread);
    }
    if (forged) {
        at[writer->forge_at] = at[writer->forge_at] == '0' ? '1' : '0';
    }
}
