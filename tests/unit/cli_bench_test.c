/* Description: quantiles of the load generator are off by more than 1 %, or its requests are not
 * what a parser and the verification expect. */
#include "cli/bench_histogram.h"
#include "cli/bench_request.h"
#include "http/parse.h"
#include "providers/scheme.h"
#include "tap.h"

static void check_histogram(void)
{
    static struct bench_histogram histogram, other;
    is_uint(bench_histogram_quantile(&histogram, 500000), 0, "nothing recorded");
    bool close = true;
    for (uint64_t value = 1; value < 1ULL << 39; value += value / 3 + 1) {
        static struct bench_histogram one;
        memset(&one, 0, sizeof one);
        bench_histogram_add(&one, value);
        bench_histogram_add(&one, 1ULL << 39); /* so that the maximum does not correct it */
        uint64_t got = bench_histogram_quantile(&one, 500000);
        uint64_t off = got > value ? got - value : value - got;
        close = close && off * 100 <= value;
    }
    ok(close, "every value comes back within 1 %%");
    for (uint64_t i = 1; i <= 1000; i++) {
        bench_histogram_add(i % 2 ? &histogram : &other, i * 1000);
    }
    bench_histogram_merge(&histogram, &other);
    is_uint(histogram.count, 1000);
    is_uint(histogram.max_ns, 1000000, "the largest is exact");
    is_uint(bench_histogram_quantile(&histogram, 1000000), 1000000);
    uint64_t median = bench_histogram_quantile(&histogram, 500000);
    uint64_t p99 = bench_histogram_quantile(&histogram, 990000);
    ok(median >= 495000 && median <= 505000, "median %llu", (unsigned long long)median);
    ok(p99 >= 980100 && p99 <= 999900, "p99 %llu", (unsigned long long)p99);
    bench_histogram_add(&histogram, UINT64_MAX / 2);
    is_uint(histogram.max_ns, UINT64_MAX / 2, "beyond the last slot");
}

static void check_body(void)
{
    static const size_t sizes[] = {0, 1, 2, 79, 90, 91, 200, 1024, 65537};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct buf body;
        buf_init(&body, 1U << 20);
        bench_body_make(&body, sizes[i]);
        is_uint(body.bytes, sizes[i], "a body of %zu bytes", sizes[i]);
        buf_fini(&body);
    }
}

static struct scheme *scheme_make(const char *type, const char *secret)
{
    struct slice secrets[1] = {slice_str(secret)};
    const struct scheme_row *row = scheme_row_find(slice_str(type));
    struct scheme *scheme = NULL;
    const char *why = "";
    size_t bytes;
    if (!row || scheme_compile(row, secrets, 1, -1, &scheme, &bytes, &why) != BK_OK) {
        bail_out("%s: %s", type, why);
    }
    return scheme;
}

/* A receiver's view of one request. */
static enum scheme_verdict verify(const struct scheme *scheme, const uint8_t *at, size_t bytes,
                                  int64_t now, char ret_id[64])
{
    static struct http_head head;
    struct scheme_answer answer;
    struct scheme_identity identity;
    if (http_parse_request(at, bytes, &head) != HTTP_PARSE_DONE ||
        head.head_bytes + head.content_length != bytes) {
        ret_id[0] = '\0';
        return SCHEME_VERDICT_COUNT;
    }
    struct scheme_request request = {.head = &head,
                                     .body = slice_of(at + head.head_bytes, head.content_length),
                                     .url = SLICE("http://127.0.0.1:8080/hooks/x"),
                                     .now_seconds = now};
    enum scheme_verdict verdict = scheme_verify(scheme, &request, &answer);
    scheme_identify(scheme, &request, &identity);
    snprintf(ret_id, 64, "%.*s", (int)identity.delivery_id.bytes,
             (const char *)identity.delivery_id.at);
    return verdict;
}

static void check_type(const char *type, const char *secret, enum bench_signing signing)
{
    struct bench_writer writer;
    struct buf body;
    const char *why = "";
    char ids[4][64];
    struct scheme *scheme = scheme_make(type, secret);
    buf_init(&body, 4096);
    bench_body_make(&body, 1024);
    struct bench_request_config config = {.method = SLICE("POST"),
                                          .target = SLICE("/hooks/x"),
                                          .host = SLICE("127.0.0.1:8080"),
                                          .url = SLICE("http://127.0.0.1:8080/hooks/x"),
                                          .headers = SLICE("Accept: */*\r\n"),
                                          .body = buf_slice(&body),
                                          .scheme = scheme,
                                          .seed = 42};
    int64_t now = 1800000000;
    if (!ok(bench_writer_init(&writer, &config, now, &why) == BK_OK, "%s: %s", type, why)) {
        return;
    }
    is_int(writer.signing, signing, "%s: signs as often as it must", type);
    uint8_t *at = calloc(1, writer.request_bytes);
    bool genuine = true;
    for (unsigned i = 0; i < 4; i++) {
        bench_writer_put(&writer, at, 7 + i, false, i > 0, now + i);
        genuine =
            genuine && verify(scheme, at, writer.request_bytes, now + i, ids[i]) == SCHEME_GENUINE;
    }
    ok(genuine, "%s: genuine, also a second later", type);
    ok(strcmp(ids[0], ids[1]) != 0 && strcmp(ids[1], ids[2]) != 0 && strlen(ids[0]) >= 36,
       "%s: fresh ids: %s %s", type, ids[0], ids[1]);
    bench_writer_put(&writer, at, 7, false, true, now + 5);
    (void)verify(scheme, at, writer.request_bytes, now + 5, ids[3]);
    is_str(ids[3], ids[0], "%s: the same number has the same id", type);
    bench_writer_put(&writer, at, 8, true, true, now);
    is_int(verify(scheme, at, writer.request_bytes, now, ids[3]), SCHEME_SIGNATURE_WRONG,
           "%s: a forged one is one by its signature only", type);
    bench_writer_put(&writer, at, 9, false, true, now);
    is_int(verify(scheme, at, writer.request_bytes, now, ids[3]), SCHEME_GENUINE,
           "%s: and the next is genuine again", type);
    bench_writer_put(&writer, at, 10, false, true, now + 1000000);
    is_int(verify(scheme, at, writer.request_bytes, now + 1000000, ids[3]), SCHEME_GENUINE,
           "%s: fresh after days", type);
    free(at);
    bench_writer_fini(&writer);
    buf_fini(&body);
    scheme_wipe(scheme);
    free(scheme);
}

int main(void)
{
    check_histogram();
    check_body();
    check_type("github", "s3cr3t", BENCH_SIGN_ONCE);
    check_type("zendesk", "s3cr3t", BENCH_SIGN_PER_SECOND);
    check_type("stripe", "whsec_abc", BENCH_SIGN_EACH);
    check_type("standard-webhooks", "whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", BENCH_SIGN_EACH);
    return done_testing();
}
