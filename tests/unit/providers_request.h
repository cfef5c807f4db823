/* providers_request.h - requests for tests of schemes: written as text, parsed by http/parse. */
#ifndef TESTS_UNIT_PROVIDERS_REQUEST_H
#define TESTS_UNIT_PROVIDERS_REQUEST_H

#include "http/parse.h"
#include "providers/scheme.h"
#include "tap.h"

struct sample {
    char head_text[HTTP_HEAD_BYTES_MAX];
    size_t head_bytes;
    struct http_head head;
    struct scheme_request request;
};

/* `headers` are whole lines, each with its CR LF. */
static inline void sample_build(struct sample *s, const char *method, const char *target,
                                struct slice headers, struct slice body, int64_t now_seconds)
{
    int n = snprintf(s->head_text, sizeof s->head_text, "%s %s HTTP/1.1\r\nHost: h\r\n%.*s\r\n",
                     method, target, (int)headers.bytes, (const char *)headers.at);
    s->head_bytes = (size_t)n;
    if (http_parse_request((const uint8_t *)s->head_text, s->head_bytes, &s->head) !=
        HTTP_PARSE_DONE) {
        bail_out("the test's own request is malformed:\n%s", s->head_text);
    }
    s->request =
        (struct scheme_request){.head = &s->head, .body = body, .now_seconds = now_seconds};
}

static inline enum scheme_verdict sample_verify(const struct scheme *scheme, const struct sample *s)
{
    struct scheme_answer answer;
    struct scheme_request plain = s->request, prepared = s->request, paired[2];
    scheme_prepare(scheme, &prepared);
    paired[0] = paired[1] = prepared;
    scheme_prepare_two(&paired[0], &paired[1]);
    enum scheme_verdict verdict = scheme_verify(scheme, &plain, &answer);
    if (scheme_verify(scheme, &prepared, &answer) != verdict) {
        bail_out("prepared, the verdict is another than %s", scheme_verdict_name(verdict));
    }
    if (scheme_verify(scheme, &paired[0], &answer) != verdict ||
        scheme_verify(scheme, &paired[1], &answer) != verdict) {
        bail_out("in a pair, the verdict is another than %s", scheme_verdict_name(verdict));
    }
    return verdict;
}

/* A scheme of a known provider; ends the test when it does not compile. */
static inline struct scheme *sample_scheme(const char *row, const char *secret)
{
    struct scheme *scheme = NULL;
    const char *message = NULL;
    size_t bytes;
    struct slice text = slice_str(secret);
    const struct scheme_row *found = scheme_row_find(slice_str(row));
    if (found == NULL ||
        scheme_compile(found, &text, secret != NULL, -1, &scheme, &bytes, &message) != BK_OK) {
        bail_out("%s does not compile: %s", row, message ? message : "no such row");
    }
    return scheme;
}

static inline void sample_scheme_free(struct scheme *scheme)
{
    scheme_wipe(scheme);
    free(scheme);
}

#endif
