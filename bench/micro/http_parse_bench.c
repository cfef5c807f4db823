/* http_parse_bench.c - what it costs to parse one webhook's head.
 *
 * Prints one line per implementation: nanoseconds (best of 20 rounds) and, where the kernel lets us
 * count them, user instructions per head. The head is a GitHub webhook's: 12 headers, about 700
 * bytes, followed by a body as in real life. Goals: 1,200 instructions, 200 ns.
 */
#include "../clock.h"
#include "http/parse.h"

#include <linux/perf_event.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ROUNDS          20
#define HEADS_PER_ROUND 20000

static const char webhook[] =
    "POST /in/acme-platform-production/github/7f3k2m9x4v8q1z6c5b0nw3e HTTP/1.1\r\n"
    "Host: hooks.platform.example.com\r\n"
    "User-Agent: GitHub-Hookshot/044aadd\r\n"
    "Content-Length: 7438\r\n"
    "Accept: */*, application/json;q=0.9, text/plain;q=0.5\r\n"
    "Content-Type: application/json; charset=utf-8\r\n"
    "X-GitHub-Delivery: 72d3162e-cc78-11e3-81ab-4c9367dc0958\r\n"
    "X-GitHub-Event: pull_request_review_comment\r\n"
    "X-GitHub-Hook-ID: 292430182\r\n"
    "X-GitHub-Hook-Installation-Target-ID: 79929171\r\n"
    "X-GitHub-Hook-Installation-Target-Type: repository\r\n"
    "X-Hub-Signature: sha1=7d38cdd689735b008b3c702edd92eea23791c5f6\r\n"
    "X-Hub-Signature-256: "
    "sha256=d57c68ca6f92289e6987922ff26938930f6e66a2d161ef06abdf1859230aa23c\r\n"
    "\r\n"
    "{\"action\":\"created\",\"comment\":{\"url\":\"https://api.example.com/\",\"id\":1}}";

static int counter_open(void)
{
    struct perf_event_attr attr = {
        .type = PERF_TYPE_HARDWARE,
        .size = sizeof attr,
        .config = PERF_COUNT_HW_INSTRUCTIONS,
        .disabled = 1,
        .exclude_kernel = 1,
        .exclude_hv = 1,
    };
    return (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
}

static void measure(const char *name, int counter)
{
    static struct http_head head;
    double best_ns = 1e9;
    uint64_t instructions = 0;

    for (unsigned round = 0; round < ROUNDS; round++) {
        if (counter >= 0) {
            ioctl(counter, PERF_EVENT_IOC_RESET, 0);
            ioctl(counter, PERF_EVENT_IOC_ENABLE, 0);
        }
        uint64_t start_ns = now_ns();
        for (unsigned i = 0; i < HEADS_PER_ROUND; i++) {
            const char *text = webhook;
            __asm__ volatile("" : "+r"(text) : : "memory");
            enum http_parse result =
                http_parse_request((const uint8_t *)text, sizeof webhook - 1, &head);
            if (result != HTTP_PARSE_DONE) {
                printf("the head is refused: %s\n", http_parse_text(result));
                return;
            }
        }
        double ns = (double)(now_ns() - start_ns) / HEADS_PER_ROUND;
        best_ns = ns < best_ns ? ns : best_ns;
        if (counter >= 0) {
            ioctl(counter, PERF_EVENT_IOC_DISABLE, 0);
            if (read(counter, &instructions, sizeof instructions) != sizeof instructions) {
                instructions = 0;
            }
        }
    }
    printf("http_parse %-6s %u bytes, %u headers: %.0f ns", name, head.head_bytes,
           head.header_count, best_ns);
    if (instructions > 0) {
        printf(", %.0f instructions", (double)instructions / HEADS_PER_ROUND);
    }
    printf("\n");
}

int main(void)
{
    static const struct {
        const char *name;
        enum http_parse_isa isa;
    } versions[] = {{"scalar", HTTP_PARSE_SCALAR},
                    {"sse4.2", HTTP_PARSE_SSE42},
                    {"avx2", HTTP_PARSE_AVX2},
                    {"avx512", HTTP_PARSE_AVX512}};
    int counter = counter_open();

    for (size_t i = 0; i < sizeof versions / sizeof versions[0]; i++) {
        if (http_parse_select(versions[i].isa) == versions[i].isa) {
            measure(versions[i].name, counter);
        }
    }
    return 0;
}
