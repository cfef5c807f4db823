/* verify_bench - what a whole verification costs: parsed head in, verdict, identity and redactions
 * out.
 *
 * One line a row: ns per call of scheme_verify, and of verify + identify + redact, for a body of 1
 * KiB (the fastest of many rounds: the machine is noisy).
 */
#include "http/parse.h"
#include "providers/json_scan.h"
#include "providers/row.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define NOW 1767225600LL

static volatile unsigned sink;

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* The headers a provider sends besides its own. */
static const char usual[] = "POST /hooks/0123456789abcdef HTTP/1.1\r\n"
                            "Host: hooks.example.com\r\n"
                            "User-Agent: GitHub-Hookshot/044aadd\r\n"
                            "Content-Length: 1024\r\n"
                            "Accept: */*\r\n"
                            "X-GitHub-Hook-ID: 292430182\r\n"
                            "X-GitHub-Hook-Installation-Target-ID: 79929171\r\n"
                            "X-GitHub-Hook-Installation-Target-Type: repository\r\n"
                            "X-Forwarded-For: 192.0.2.1\r\n"
                            "Connection: keep-alive\r\n";

static void fill_body(char *body, size_t bytes)
{
    size_t n = (size_t)snprintf(body, bytes,
                                "{\"id\":\"evt_1\",\"object\":\"event\",\"data\":{\"object\":{");
    while (n + 60 < bytes) {
        n += (size_t)snprintf(body + n, bytes - n, "\"key_%03zu\":\"some value, %zu\",", n, n);
    }
    memset(body + n, ' ', bytes - n);
    memcpy(body + bytes - 31, "\"z\":0}},\"type\":\"charge.created\"}", 31);
}

static double fastest(const struct scheme *scheme, struct scheme_request *request, bool all)
{
    double best = 1e18;
    struct scheme_answer answer;
    struct scheme_identity identity;
    struct scheme_redaction redactions[SCHEME_REDACTIONS];
    for (int trial = 0; trial < 60; trial++) {
        double from = now_ns();
        for (int i = 0; i < 2000; i++) {
            sink = scheme_verify(scheme, request, &answer);
            if (all) {
                scheme_identify(scheme, request, &identity);
                sink = scheme_redactions(scheme, request, redactions, SCHEME_REDACTIONS);
                sink = (unsigned)identity.type.bytes;
            }
        }
        double took = (now_ns() - from) / 2000;
        best = took < best ? took : best;
    }
    return best;
}

static void measure(const char *name, const char *secret)
{
    static char body[1025];
    static struct http_head head;
    struct buf text;
    struct scheme *scheme;
    size_t bytes;
    const char *message;
    struct slice secret_text = slice_str(secret);
    fill_body(body, 1024);
    if (scheme_compile(scheme_row_find(slice_str(name)), &secret_text, 1, -1, &scheme, &bytes,
                       &message) != BK_OK) {
        return;
    }
    struct scheme_send send = {.body = slice_of(body, 1024),
                               .id = SLICE("72d3162e-cc78-11e3-81ab-4c9367dc0958"),
                               .now_seconds = NOW};
    buf_init(&text, 16000);
    buf_add_str(&text, usual);
    if (scheme_sign(scheme, &send, &text) == BK_OK) {
        buf_add_str(&text, "\r\n");
        http_parse_request(text.at, text.bytes, &head);
        struct scheme_request request = {.head = &head, .body = send.body, .now_seconds = NOW};
        struct scheme_answer answer;
        const char *verdict = scheme_verdict_name(scheme_verify(scheme, &request, &answer));
        printf("%-20s verify %7.1f ns   with identity and redactions %7.1f ns   %s, %zu bytes\n",
               name, fastest(scheme, &request, false), fastest(scheme, &request, true), verdict,
               bytes);
    }
    buf_fini(&text);
    scheme_wipe(scheme);
    free(scheme);
}

static void measure_scan(void)
{
    static char body[65536];
    static const char *const pointers[] = {"/id", "/type"};
    const size_t sizes[] = {1024, 4096, 65536};
    for (size_t s = 0; s < 3; s++) {
        struct json_path paths[2];
        struct json_found found[2];
        double best = 1e18;
        fill_body(body, sizes[s]);
        for (int i = 0; i < 2; i++) {
            if (!json_path_parse(slice_str(pointers[i]), &paths[i])) {
                return;
            }
        }
        for (int trial = 0; trial < 60; trial++) {
            double from = now_ns();
            for (int i = 0; i < 200; i++) {
                json_scan(slice_of(body, sizes[s]), paths, 2, found);
                sink = (unsigned)found[1].text.bytes;
            }
            double took = (now_ns() - from) / 200;
            best = took < best ? took : best;
        }
        printf("json_scan, type last %8zu B %8.1f ns, found %zu\n", sizes[s], best,
               found[1].text.bytes);
    }
}

int main(void)
{
    measure("github", "It's a Secret to Everybody");
    measure("gitlab", "plain-token");
    measure("semaphore", "s");
    measure("slack", "s");
    measure("stripe", "s");
    measure("standard-webhooks", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    measure("vercel", "s");
    measure_scan();
    return 0;
}
