/* http_parse_test.c - the head parser: every cut, guard pages, scalar against vector, limits. */
#include "http/parse.h"

#include "tests/tap.h"
#include "tests/unit/http_guard.h"

typedef enum http_parse parse_fn(const uint8_t *at, size_t bytes, struct http_head *head);

static const enum http_parse_isa isas[] = {HTTP_PARSE_SCALAR, HTTP_PARSE_SSE42, HTTP_PARSE_AVX2,
                                           HTTP_PARSE_AVX512};
static const char *const isa_names[] = {"scalar", "sse4.2", "avx2"};
static uint8_t *guard;

static const char webhook[] =
    "POST /in/acme-platform-production/github/7f3k2m9x4v8q1z6c5b0nw3e HTTP/1.1\r\n"
    "Host: hooks.platform.example.com\r\n"
    "User-Agent: GitHub-Hookshot/044aadd\r\n"
    "Content-Length: 7438\r\n"
    "Accept: */*\r\n"
    "Content-Type: application/json\r\n"
    "X-GitHub-Delivery: 72d3162e-cc78-11e3-81ab-4c9367dc0958\r\n"
    "X-GitHub-Event: pull_request_review_comment\r\n"
    "X-GitHub-Hook-Installation-Target-Type: repository\r\n"
    "X-Hub-Signature-256: "
    "sha256=d57c68ca6f92289e6987922ff26938930f6e66a2d161ef06abdf1859230aa23c\r\n"
    "\r\n";

static const char *const requests[] = {
    webhook,
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "\r\nGET /with?a=query HTTP/1.0\r\n\r\n",
    "PUT /u HTTP/1.1\r\nhost:[::1]:8080\r\nX-Empty:\r\nX-Blank: \t \r\nX-Padded:\t a b \t\r\n"
    "transfer-encoding: Chunked\r\nConnection: x , Close\r\nExpect: 100-Continue\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n",
    "DELETE http://example.com:80/a?b HTTP/1.1\r\nHost: example.com:80\r\n"
    "X-Obs: \x80\xff tab\there\r\n\r\n",
    "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n",
    "POST /legacy HTTP/1.0\r\nConnection: Keep-Alive\r\nContent-Length: 0\r\n\r\n",
};

static const char *const responses[] = {
    "HTTP/1.1 200 OK\r\nContent-Length: 12\r\nContent-Type: text/plain\r\n\r\n",
    "HTTP/1.0 404 Not  Found\xe4\r\n\r\n",
    "HTTP/1.1 204\r\nServer: x\r\n\r\n",
    "HTTP/1.1 503 \r\nRetry-After: 120\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n",
};

static bool same_head(const struct http_head *a, const struct http_head *b)
{
    return a->head_bytes == b->head_bytes && a->method == b->method && a->status == b->status &&
           a->minor_version == b->minor_version && a->keep_alive == b->keep_alive &&
           a->chunked == b->chunked && a->has_content_length == b->has_content_length &&
           a->expect_continue == b->expect_continue && a->has_host == b->has_host &&
           a->content_length == b->content_length && a->method_at == b->method_at &&
           a->method_bytes == b->method_bytes && a->target_at == b->target_at &&
           a->target_bytes == b->target_bytes && a->header_count == b->header_count &&
           memcmp(a->headers, b->headers, a->header_count * sizeof a->headers[0]) == 0;
}

/* One input, each implementation, next to both guard pages. Returns the result, or -1 when two
 * differ. */
static int parse_all(parse_fn *parse, const void *text, size_t bytes, struct http_head *ret_head)
{
    struct http_head head;
    int result = -1;

    for (unsigned i = 0; i < 3; i++) {
        http_parse_select(isas[i]);
        for (unsigned side = 0; side < 2; side++) {
            const uint8_t *at =
                side ? guard_high(guard, text, bytes) : guard_low(guard, text, bytes);
            memset(&head, 0xa5, sizeof head);
            enum http_parse got = parse(at, bytes, &head);
            if (result == -1) {
                result = (int)got;
                *ret_head = head;
            }
            if ((int)got != result ||
                (got == HTTP_PARSE_DONE && (head.at != at || !same_head(&head, ret_head)))) {
                diag("%s, side %u: result %d, first was %d", isa_names[i], side, (int)got, result);
                return -1;
            }
        }
    }
    return result;
}

/* Each prefix is partial or has the result of the whole, and no head is complete before its end. */
static bool prefixes_hold(parse_fn *parse, const char *text, size_t bytes)
{
    struct http_head whole, head;
    int result = parse_all(parse, text, bytes, &whole);

    for (size_t cut = 0; cut < bytes; cut++) {
        int early = parse_all(parse, text, cut, &head);
        bool complete = result == HTTP_PARSE_DONE && cut >= whole.head_bytes;
        if (early != result && (early != HTTP_PARSE_PARTIAL || complete)) {
            diag("cut at %zu of %zu: %d, whole %d", cut, bytes, early, result);
            return false;
        }
        if (early == HTTP_PARSE_DONE && !complete) {
            diag("complete at %zu", cut);
            return false;
        }
    }
    return true;
}

static void test_prefixes(void)
{
    char text[2048];
    struct http_head head;

    for (unsigned i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        /* With and without bytes behind, which vector versions look at differently. */
        for (unsigned body = 0; body < 200; body += 99) {
            int bytes = snprintf(text, sizeof text, "%s%.*s", requests[i], (int)body, webhook);
            int result = parse_all(http_parse_request, text, (size_t)bytes, &head);
            is_int(result, HTTP_PARSE_DONE, "request %u, %u bytes behind it", i, body);
            is_uint(head.head_bytes, strlen(requests[i]));
            ok(prefixes_hold(http_parse_request, text, (size_t)bytes), "its prefixes");
        }
    }
    for (unsigned i = 0; i < sizeof responses / sizeof responses[0]; i++) {
        int result = parse_all(http_parse_response, responses[i], strlen(responses[i]), &head);
        is_int(result, HTTP_PARSE_DONE, "response %u", i);
        ok(prefixes_hold(http_parse_response, responses[i], strlen(responses[i])), "its prefixes");
    }
}

/* Every byte at every place of the request: implementations agree, prefixes hold where it is cheap.
 */
static void test_every_byte(void)
{
    char text[1024];
    struct http_head head;
    size_t bytes = strlen(requests[3]);
    unsigned disagreed = 0, cuts_broken = 0;

    for (size_t place = 0; place < bytes; place++) {
        for (unsigned c = 0; c < 256; c++) {
            memcpy(text, requests[3], bytes);
            text[place] = (char)c;
            disagreed += parse_all(http_parse_request, text, bytes, &head) < 0;
            if (c % 37 == place % 37) {
                cuts_broken += !prefixes_hold(http_parse_request, text, bytes);
            }
        }
    }
    is_uint(disagreed, 0, "scalar and vector agree on each byte at each place");
    is_uint(cuts_broken, 0, "prefixes of those never contradict the whole");
}

/* Bytes that matter, more often than the others. */
static char random_byte(uint64_t *seed)
{
    static const char special[] = "\r\n\r\n :\t,;\0\x7f\x80\xff/*#%0159aAzZ[]\"@";
    return random_below(seed, 4) ? special[random_below(seed, sizeof special - 1)]
                                 : (char)random_below(seed, 256);
}

static size_t mutate(char *text, size_t bytes, size_t space, uint64_t *seed)
{
    for (unsigned edits = 1 + random_below(seed, 4); edits > 0 && bytes > 0; edits--) {
        size_t place = random_below(seed, (unsigned)bytes);
        size_t span = 1 + random_below(seed, 40);
        switch (random_below(seed, 5)) {
        case 0: /* cut out */
            span = span < bytes - place ? span : bytes - place;
            memmove(text + place, text + place + span, bytes - place - span);
            bytes -= span;
            break;
        case 1: /* repeat a piece somewhere else */
            if (bytes + span < space && place + span <= bytes) {
                size_t to = random_below(seed, (unsigned)bytes);
                char piece[64];
                memcpy(piece, text + place, span);
                memmove(text + to + span, text + to, bytes - to);
                memcpy(text + to, piece, span);
                bytes += span;
            }
            break;
        case 2: /* one more byte */
            if (bytes + 1 < space) {
                memmove(text + place + 1, text + place, bytes - place);
                text[place] = random_byte(seed);
                bytes++;
            }
            break;
        default:
            text[place] = random_byte(seed);
        }
    }
    return bytes;
}

static void test_mutations(void)
{
    char text[4096];
    struct http_head head;
    uint64_t seed = 0x6265636b65740001ULL;
    unsigned disagreed = 0, cuts_broken = 0, kinds[8] = {0};
    const unsigned rounds = 60000;

    for (unsigned round = 0; round < rounds; round++) {
        bool response = round % 4 == 3;
        const char *from = response ? responses[random_below(&seed, 4)] : requests[round % 8];
        parse_fn *parse = response ? http_parse_response : http_parse_request;
        size_t bytes = strlen(from);
        memcpy(text, from, bytes);
        bytes = mutate(text, bytes, sizeof text - 256, &seed);
        if (random_below(&seed, 2)) { /* something behind, as in a pipeline */
            memcpy(text + bytes, webhook, 100);
            bytes += 100;
        }
        int result = parse_all(parse, text, bytes, &head);
        disagreed += result < 0;
        kinds[result < 0 ? 7 : result]++;
        if (round % 100 == 0) {
            cuts_broken += !prefixes_hold(parse, text, bytes);
        }
    }
    is_uint(disagreed, 0, "scalar and vector agree on %u mutated heads", rounds);
    is_uint(cuts_broken, 0, "and their prefixes hold");
    ok(kinds[HTTP_PARSE_DONE] > rounds / 20 && kinds[HTTP_PARSE_BAD] > rounds / 20 &&
           kinds[HTTP_PARSE_PARTIAL] > rounds / 100 && kinds[HTTP_PARSE_BAD_VERSION] > 0 &&
           kinds[HTTP_PARSE_NOT_IMPLEMENTED] > 0,
       "all kinds of results came up: %u %u %u %u %u %u %u", kinds[0], kinds[1], kinds[2], kinds[3],
       kinds[4], kinds[5], kinds[6]);
}

/* The start, `count` times `unit`, the end. */
static size_t repeat(char *text, const char *start, const char *unit, size_t count, const char *end)
{
    size_t bytes = strlen(start);
    memcpy(text, start, bytes);
    for (size_t i = 0; i < count; i++) {
        memcpy(text + bytes, unit, strlen(unit));
        bytes += strlen(unit);
    }
    memcpy(text + bytes, end, strlen(end));
    return bytes + strlen(end);
}

static int parse_repeated(const char *start, const char *unit, size_t count, const char *end)
{
    static char text[GUARD_BYTES];
    struct http_head head;
    return parse_all(http_parse_request, text, repeat(text, start, unit, count, end), &head);
}

static void test_limits(void)
{
    const char *end = " HTTP/1.1\r\nHost: a\r\n\r\n";
    is_int(parse_repeated("GET /", "a", HTTP_TARGET_BYTES_MAX - 1, end), HTTP_PARSE_DONE,
           "a target of the largest size");
    is_int(parse_repeated("GET /", "a", HTTP_TARGET_BYTES_MAX, end), HTTP_PARSE_URI_TOO_LONG);
    is_int(parse_repeated("GET /", "a", HTTP_TARGET_BYTES_MAX, ""), HTTP_PARSE_URI_TOO_LONG,
           "told before the end of the target has come");
    is_int(parse_repeated("GET /", "a", 20000, end), HTTP_PARSE_URI_TOO_LONG);

    const char *start = "GET / HTTP/1.1\r\nHost: a\r\n";
    is_int(parse_repeated(start, "b: c\r\n", HTTP_HEADERS_MAX - 1, "\r\n"), HTTP_PARSE_DONE,
           "as many headers as there may be");
    is_int(parse_repeated(start, "b: c\r\n", HTTP_HEADERS_MAX, "\r\n"), HTTP_PARSE_TOO_LONG);
    is_int(parse_repeated(start, "b: c\r\n", HTTP_HEADERS_MAX - 1, "x"), HTTP_PARSE_TOO_LONG);
    is_int(parse_repeated(start, "b: c\r\n", HTTP_HEADERS_MAX - 1, ""), HTTP_PARSE_PARTIAL);
    struct http_head none;
    is_int(http_parse_request(NULL, 0, &none), HTTP_PARSE_PARTIAL, "nothing, at no address");
    is_int(http_parse_response(NULL, 0, &none), HTTP_PARSE_PARTIAL);
    is_int(parse_repeated(start, "b: c\r\n", HTTP_HEADERS_MAX - 1, " x"), HTTP_PARSE_BAD);

    const char *value = "GET / HTTP/1.1\r\nHost: a\r\nb: ";
    size_t room = HTTP_HEAD_BYTES_MAX - strlen(value) - 4;
    is_int(parse_repeated(value, "v", room, "\r\n\r\n"), HTTP_PARSE_DONE, "the largest head");
    is_int(parse_repeated(value, "v", room + 1, "\r\n\r\n"), HTTP_PARSE_TOO_LONG);
    is_int(parse_repeated(value, "v", room + 3, ""), HTTP_PARSE_PARTIAL, "one byte to go");
    is_int(parse_repeated(value, "v", room + 4, ""), HTTP_PARSE_TOO_LONG, "none to go");
    is_int(parse_repeated(value, "v", 40000, "\r\n\r\n"), HTTP_PARSE_TOO_LONG);
    is_int(parse_repeated("GET / HTTP/1.1\r\n", "n", 40000, ": x\r\n\r\n"), HTTP_PARSE_TOO_LONG);
    is_int(parse_repeated("", "M", 32, " / HTTP/1.1\r\nHost: a\r\n\r\n"), HTTP_PARSE_DONE);
    is_int(parse_repeated("", "M", 33, " / HTTP/1.1\r\nHost: a\r\n\r\n"),
           HTTP_PARSE_NOT_IMPLEMENTED, "a method of 33 bytes");
}

/* Lengths around the size of a vector and of a window, for each part of a line. */
static void test_vector_borders(void)
{
    static char text[1024];
    struct http_head head;
    unsigned wrong = 0;

    for (unsigned name = 1; name < 140; name++) {
        for (unsigned value = 0; value < 140; value++) {
            size_t bytes = repeat(text, "GET / HTTP/1.1\r\nHost: a\r\n", "n", name, ": ");
            bytes += repeat(text + bytes, "", "v", value, "\r\n\r\n");
            int result = parse_all(http_parse_request, text, bytes, &head);
            wrong += result != HTTP_PARSE_DONE || head.header_count != 2 ||
                     head.headers[1].name_bytes != name || head.headers[1].value_bytes != value ||
                     head.headers[1].name_at != 25 ||
                     (value > 0 && head.headers[1].value_at != 25 + name + 2);
        }
    }
    is_uint(wrong, 0, "names and values of 0 to 139 bytes");
}

static void test_split_target(void)
{
    static const struct {
        const char *line, *path, *query;
    } cases[] = {
        {"GET /a/b?c=d?e HTTP/1.1", "/a/b", "c=d?e"},
        {"GET /a? HTTP/1.1", "/a", ""},
        {"GET / HTTP/1.1", "/", ""},
        {"GET HTTP://h:1/p?q HTTP/1.1", "/p", "q"},
        {"GET https://h HTTP/1.1", "/", ""},
        {"GET http://h?q HTTP/1.1", "/", "q"},
        {"OPTIONS * HTTP/1.1", "*", ""},
        {"CONNECT h:1 HTTP/1.1", "", ""},
    };

    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[128];
        struct http_head head;
        struct slice path, query;
        int bytes = snprintf(text, sizeof text, "%s\r\nHost: h\r\n\r\n", cases[i].line);
        is_int(http_parse_request((uint8_t *)text, (size_t)bytes, &head), HTTP_PARSE_DONE, "%s",
               cases[i].line);
        http_split_target(&head, &path, &query);
        is_bytes(path.at, path.bytes, cases[i].path, strlen(cases[i].path), "its path");
        is_bytes(query.at, query.bytes, cases[i].query, strlen(cases[i].query), "its query");
    }
}

int main(void)
{
    guard = guard_new();
    for (unsigned i = 0; i < 3; i++) {
        if (http_parse_select(isas[i]) != isas[i]) {
            diag("no %s here: it stands for the next lower one", isa_names[i]);
        }
    }
    test_prefixes();
    test_every_byte();
    test_mutations();
    test_limits();
    test_vector_borders();
    http_parse_select(HTTP_PARSE_AUTO);
    test_split_target();
    ok(http_parse_text(HTTP_PARSE_BAD) != NULL && http_parse_text(HTTP_PARSE_DONE) != NULL,
       "results have texts");
    return done_testing();
}
