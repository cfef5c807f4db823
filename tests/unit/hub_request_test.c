/* Description: what a destination receives: which headers go on, signatures, and that no value of
 * an event can inject a line. */
#include "hub/deliveries/request.h"

#include "base/assert.h"
#include "base/base64.h"
#include "http/parse.h"
#include "tap.h"

#define NOW 1700000123

static struct destination destination;
static uint8_t built[65536];
static struct request_layout layout;
static struct http_head head, out;

static void fresh(void)
{
    memset(&destination, 0, sizeof destination);
    destination.number = 42;
    destination.target = SLICE("/in?x=1");
    destination.host_header = SLICE("app.example");
    destination.header_lines = SLICE("X-Env: prod\r\nX-Team: a\r\n");
    destination.signing = DESTINATION_STANDARD_WEBHOOKS;
    destination.secret_count = 1;
    hmac_sha256_key_init(&destination.secrets[0], SLICE("0123456789abcdef"));
    hmac_sha256_key_init(&destination.secrets[1], SLICE("fedcba9876543210"));
}

/* Build, sign, and parse what came out as a server would. */
static bool build_any(const char *received, struct slice body, struct slice type)
{
    if (http_parse_request((const uint8_t *)received, strlen(received), &head) != HTTP_PARSE_DONE) {
        bail_out("a head of this test does not parse");
    }
    struct request request = {.destination = &destination,
                              .head = &head,
                              .body = body,
                              .source = SLICE("payments"),
                              .type = type,
                              .event = {1, 77},
                              .received_ns = 1700000000123456789,
                              .attempt = 3};
    size_t max = request_bytes_max(&request);
    uint8_t *exact = malloc(max); /* so that the sanitizer sees one byte too many */
    request_build(&request, exact, &layout);
    request_sign(exact, &layout, &destination, NOW);
    memcpy(built, exact, layout.bytes);
    free(exact);
    return http_parse_request(built, layout.bytes, &out) == HTTP_PARSE_DONE &&
           out.head_bytes == layout.head_bytes &&
           out.content_length == layout.bytes - layout.head_bytes;
}

static struct slice built_body(void)
{
    return slice_of(built + layout.head_bytes, layout.bytes - layout.head_bytes);
}

/* And the body is the one that came. */
static bool build(const char *received, struct slice body, struct slice type)
{
    return build_any(received, body, type) && slice_equal(built_body(), body);
}

static struct slice value(const char *name)
{
    unsigned count = 0;
    const struct http_header *header = http_find(&out, slice_str(name), &count);
    return header && count == 1 ? http_header_value(&out, header) : SLICE_EMPTY;
}

static bool has(const char *name, const char *want)
{
    struct slice got = value(name);
    bool same = slice_equal(got, slice_str(want));
    if (!same) {
        diag("%s: %.*s", name, (int)got.bytes, (const char *)got.at);
    }
    return same;
}

static bool lacks(const char *name)
{
    return http_find(&out, slice_str(name), NULL) == NULL;
}

static void test_headers(void)
{
    fresh();
    ok(build("POST /hooks/x HTTP/1.1\r\nHost: becket\r\nUser-Agent: GitHub-Hookshot/1\r\n"
             "Content-Type: application/json\r\nAuthorization: Bearer t\r\nCookie: a=b\r\n"
             "Content-Length: 2\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\n"
             "Keep-Alive: timeout=5\r\nTE: trailers\r\nUpgrade: h2c\r\nProxy-Authorization: x\r\n"
             "Expect: 100-continue\r\nX-GitHub-Event: push\r\nWebhook-Id: theirs\r\n"
             "webhook-signature: theirs\r\nBecket-Source: evil\r\nx-env: theirs\r\n"
             "X-Gitlab-Token: ********\r\nX-Last: yes\r\n\r\n",
             SLICE("{}"), SLICE("push")),
       "a whole request");
    ok(has("host", "app.example") && has("content-length", "2"));
    ok(slice_equal(http_target(&out), SLICE("/in?x=1")));
    ok(has("user-agent", "GitHub-Hookshot/1") && has("content-type", "application/json") &&
           has("x-github-event", "push") && has("x-last", "yes"),
       "the provider's own go on");
    ok(lacks("authorization") && lacks("cookie") && lacks("connection") && lacks("x-hop") &&
           lacks("keep-alive") && lacks("te") && lacks("upgrade") && lacks("proxy-authorization") &&
           lacks("expect"),
       "hop-by-hop and secret ones do not");
    ok(lacks("x-gitlab-token"), "nor what the journal blanked");
    ok(has("becket-source", "payments") && has("becket-type", "push") &&
           has("becket-attempt", "3") && has("x-env", "prod") && has("x-team", "a"),
       "ours and the destination's win");
    ok(has("becket-hops", "1"), "the first time through becket");
    ok(has("webhook-timestamp", "1700000123"));
    ok(value("webhook-id").bytes == EVENT_ID_BYTES && value("webhook-id").at[3] == '_');
    struct slice trace = value("traceparent");
    ok(trace.bytes == 55 && memcmp(trace.at, "00-", 3) == 0 && trace.at[54] == '1', "a new trace");
}

static void test_hops(void)
{
    static const struct {
        const char *line;
        const char *next;
    } cases[] = {
        {"Becket-Hops: 7\r\n", "8"},   {"becket-hops: 0\r\n", "1"},
        {"Becket-Hops: 15\r\n", "16"}, {"Becket-Hops: 99999999999999999999\r\n", "17"},
        {"Becket-Hops: x\r\n", "17"},  {"Becket-Hops:\r\n", "1"},
    };
    for (unsigned i = 0; i < bk_array_length(cases); i++) {
        char text[128];
        fresh();
        snprintf(text, sizeof text, "POST / HTTP/1.1\r\nHost: becket\r\n%s\r\n", cases[i].line);
        build(text, SLICE("{}"), SLICE("push"));
        ok(has("becket-hops", cases[i].next), "one more than %.*s",
           (int)strcspn(cases[i].line, "\r"), cases[i].line);
    }
}

static void test_signature(void)
{
    fresh();
    destination.secret_count = 2;
    char text[128];
    uint8_t mac[SHA256_BYTES];
    ok(build("POST / HTTP/1.1\r\nHost: b\r\n\r\n", SLICE("hello"), SLICE_EMPTY));
    ok(lacks("becket-type"), "no type, no line");
    char id[EVENT_ID_BYTES + 1] = "";
    memcpy(id, value("webhook-id").at, EVENT_ID_BYTES);
    char signed_text[100], want[200] = "";
    snprintf(signed_text, sizeof signed_text, "%s.%d.hello", id, NOW);
    struct slice part = slice_str(signed_text);
    for (unsigned i = 0; i < 2; i++) {
        hmac_sha256(&destination.secrets[i], &part, 1, mac);
        size_t bytes = base64_encode(mac, sizeof mac, BASE64_STANDARD, text);
        snprintf(want + strlen(want), sizeof want - strlen(want), "%sv1,%.*s", i ? " " : "",
                 (int)bytes, text);
    }
    ok(has("webhook-signature", want), "one signature for each secret");
    struct slice before = value("webhook-signature");
    uint8_t again[100];
    memcpy(again, before.at, before.bytes);
    request_sign(built, &layout, &destination, NOW + 1);
    ok(has("webhook-timestamp", "1700000124") && memcmp(again, before.at, before.bytes) != 0,
       "signed anew for the next try");
    destination.signing = DESTINATION_UNSIGNED;
    ok(build("POST / HTTP/1.1\r\nHost: b\r\n\r\n", SLICE(""), SLICE_EMPTY) &&
           lacks("webhook-signature") && value("webhook-id").bytes > 0,
       "unsigned ones keep id and time");
}

static void test_traces(void)
{
    fresh();
    ok(build("POST / HTTP/1.1\r\nHost: b\r\n"
             "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00\r\n\r\n",
             SLICE(""), SLICE_EMPTY));
    struct slice trace = value("traceparent");
    ok(trace.bytes == 55 && memcmp(trace.at + 3, "0af7651916cd43dd8448eb211c80319c", 32) == 0 &&
           memcmp(trace.at + 36, "b7ad6b7169203331", 16) != 0 && trace.at[54] == '0',
       "the sender's trace goes on with a span of ours");
    ok(build("POST / HTTP/1.1\r\nHost: b\r\n"
             "traceparent: 00-00000000000000000000000000000000-b7ad6b7169203331-00\r\n\r\n",
             SLICE(""), SLICE_EMPTY));
    ok(memcmp(value("traceparent").at + 3, "00000000000000000000000000000000", 32) != 0,
       "one that is none is not used");
}

static void test_injection(void)
{
    fresh();
    ok(build("POST / HTTP/1.1\r\nHost: b\r\n\r\n", SLICE("b"),
             SLICE("a\r\nX-Injected: 1\0\x7f\xc3\xa9 %")),
       "still one request");
    ok(lacks("x-injected"), "no line was injected");
    ok(has("becket-type", "a%0D%0AX-Injected:%201%00%7F%C3%A9%20%25"));
    uint8_t all[256];
    for (unsigned i = 0; i < 256; i++) {
        all[i] = (uint8_t)i;
    }
    ok(build("POST / HTTP/1.1\r\nHost: b\r\n\r\n", SLICE("b"), slice_of(all, 256)));
    unsigned lines = out.header_count;
    ok(build("POST / HTTP/1.1\r\nHost: b\r\n\r\n", SLICE("b"), SLICE("x")) &&
           out.header_count == lines,
       "whatever bytes a type has, the lines are the same");
    /* A head of the largest size and number of headers. */
    static char large[HTTP_HEAD_BYTES_MAX + 1];
    size_t bytes = (size_t)snprintf(large, sizeof large, "POST / HTTP/1.1\r\nHost: b\r\n");
    for (unsigned i = 0; i < HTTP_HEADERS_MAX - 1; i++) {
        bytes += (size_t)snprintf(large + bytes, sizeof large - bytes, "X-%u: %0140u\r\n", i, i);
    }
    snprintf(large + bytes, sizeof large - bytes, "\r\n");
    destination.header_lines = SLICE_EMPTY;
    http_parse_request((const uint8_t *)large, strlen(large), &head);
    struct request request = {
        .destination = &destination, .head = &head, .source = SLICE("s"), .attempt = UINT32_MAX};
    request_build(&request, built, &layout);
    ok(layout.bytes <= request_bytes_max(&request), "the largest head fits");
    const char *last = "X-98: 000";
    ok(memmem(built, layout.bytes, last, strlen(last)) != NULL);
}

static void test_cloudevents(void)
{
    static const char received[] =
        "POST /hooks/x HTTP/1.1\r\nHost: becket\r\nContent-Type: application/json\r\n"
        "Content-Encoding: identity\r\nCe-Id: theirs\r\nce-team: a\r\nDigest: x\r\nX-Last: "
        "yes\r\n\r\n";
    fresh();
    destination.format = DESTINATION_CLOUDEVENTS_BINARY;
    ok(build(received, SLICE("{\"n\":1}"), SLICE("push")), "binary: the body as it came");
    ok(has("ce-specversion", "1.0") && has("ce-source", "/event-sources/payments") &&
           has("ce-type", "push") && has("ce-time", "2023-11-14T22:13:20.123Z"),
       "attributes");
    ok(slice_equal(value("ce-id"), value("webhook-id")), "one id");
    ok(lacks("ce-team") && has("content-type", "application/json") && has("digest", "x") &&
           has("x-last", "yes"),
       "of another CloudEvent nothing is left, of the body everything");
    destination.format = DESTINATION_CLOUDEVENTS_STRUCTURED;
    ok(build_any(received, SLICE("{\"n\":1}"), SLICE("push")), "structured");
    ok(has("content-type", "application/cloudevents+json; charset=utf-8") &&
           lacks("content-encoding") && lacks("digest") && lacks("ce-id") && has("x-last", "yes"),
       "nothing is said of the body that came");
    char want[400];
    struct slice id = value("webhook-id");
    snprintf(want, sizeof want,
             "{\"specversion\":\"1.0\",\"id\":\"%.*s\",\"source\":\"/event-sources/payments\","
             "\"type\":\"push\",\"time\":\"2023-11-14T22:13:20.123Z\","
             "\"datacontenttype\":\"application/json\",\"data\":{\"n\":1}}",
             (int)id.bytes, (const char *)id.at);
    ok(slice_equal(built_body(), slice_str(want)), "%.*s", (int)built_body().bytes,
       (const char *)built_body().at);
    static uint8_t large[40000];
    memset(large, 0xff, sizeof large);
    ok(build_any(received, slice_of(large, sizeof large), SLICE_EMPTY),
       "what is no JSON, and large");
    ok(built_body().bytes > sizeof large / 3 * 4, "in base 64");
    ok(build_any(received, SLICE_EMPTY, SLICE_EMPTY), "nothing at all");
}

int main(void)
{
    test_headers();
    test_hops();
    test_signature();
    test_traces();
    test_injection();
    test_cloudevents();
    return done_testing();
}
