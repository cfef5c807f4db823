/* Description: where answers end. Each case whole, cut at every byte, and a byte at a time: always
 * the same status, body, end and verdict about the connection. */
#include "http_response.h"

#include "http/explain.h"
#include "tap.h"

#define CHUNKED "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

enum outcome { WHOLE, AT_END, OPEN, CUT, BAD, LARGE };

struct answer_case {
    const char *title;
    const char *text;
    enum outcome outcome; /* WHOLE by itself, AT_END of the connection, OPEN: more must come, CUT:
                             it fails when the connection ends, BAD, LARGE: it fails at once */
    bool keep_alive;
    unsigned status;
    const char *body;
    const char *rest; /* behind the answer */
    bool head_method, connect_method;
};

static const struct answer_case cases[] = {
    {"a length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", WHOLE, true, 200, "hello", "",
     false, false},
    {"length 0", "HTTP/1.1 404 \r\nContent-Length: 0\r\n\r\n", WHOLE, true, 404, "", "", false,
     false},
    {"bytes behind", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n", WHOLE,
     true, 200, "ok", "HTTP/1.1 200 OK\r\n", false, false},
    {"Connection: close", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
     WHOLE, false, 200, "ok", "", false, false},
    {"HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", WHOLE, false, 200, "ok", "",
     false, false},
    {"HTTP/1.0 kept alive",
     "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", WHOLE, true, 200,
     "ok", "", false, false},
    {"until the end", "HTTP/1.1 200 OK\r\n\r\nabc", AT_END, false, 200, "abc", "", false, false},
    {"an empty one until the end", "HTTP/1.1 200 OK\r\n\r\n", AT_END, false, 200, "", "", false,
     false},
    {"cut in the body", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", CUT, false, 200, "hell",
     "", false, false},
    {"cut in the head", "HTTP/1.1 200 OK\r\nContent-Le", CUT, false, 0, "", "", false, false},
    {"nothing", "", CUT, false, 0, "", "", false, false},
    {"chunks", CHUNKED "5\r\nhello\r\n6;x=\"y\"\r\n world\r\n0\r\n\r\n", WHOLE, true, 200,
     "hello world", "", false, false},
    {"no chunk", CHUNKED "0\r\n\r\n", WHOLE, true, 200, "", "", false, false},
    {"trailers and bytes behind", CHUNKED "1\r\na\r\n0\r\nA: b\r\n\r\nx", WHOLE, true, 200, "a",
     "x", false, false},
    {"cut in a chunk", CHUNKED "5\r\nhel", CUT, false, 200, "hel", "", false, false},
    {"cut before the last chunk", CHUNKED "5\r\nhello\r\n", CUT, false, 200, "hello", "", false,
     false},
    {"a bad chunk", CHUNKED "5\r\nhello\r\nz\r\n", BAD, false, 200, "hello", NULL, false, false},
    {"a bad chunk end", CHUNKED "2\r\nhello\r\n", BAD, false, 200, "he", NULL, false, false},
    {"HEAD with a length", "HTTP/1.1 200 OK\r\nContent-Length: 50000000000\r\n\r\n", WHOLE, true,
     200, "", "", true, false},
    {"HEAD with chunks", CHUNKED, WHOLE, true, 200, "", "", true, false},
    {"HEAD with nothing", "HTTP/1.1 200 OK\r\n\r\n", WHOLE, true, 200, "", "", true, false},
    {"204", "HTTP/1.1 204 No Content\r\n\r\n", WHOLE, true, 204, "", "", false, false},
    {"204 with length 0", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", WHOLE, true, 204,
     "", "", false, false},
    {"204 with a body: none, and the connection is no good any more",
     "HTTP/1.1 204 No\r\nContent-Length: 2\r\n\r\nok", WHOLE, false, 204, "", "ok", false, false},
    {"204 with chunks", "HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", WHOLE,
     false, 204, "", "0\r\n\r\n", false, false},
    {"204 with a length that is none", "HTTP/1.1 204 No\r\nContent-Length: 2x\r\n\r\n", BAD, false,
     0, "", NULL, false, false},
    {"204 with a length over the limit", "HTTP/1.1 204 No\r\nContent-Length: 101\r\n\r\n", WHOLE,
     false, 204, "", "", false, false},
    {"304", "HTTP/1.1 304 Not Modified\r\n\r\n", WHOLE, true, 304, "", "", false, false},
    {"304 with a length", "HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n", WHOLE, false,
     304, "", "", false, false},
    {"304 with chunks", "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", WHOLE,
     false, 304, "", "", false, false},
    {"HEAD answered 204 with a length", "HTTP/1.1 204 No\r\nContent-Length: 2\r\n\r\n", WHOLE,
     false, 204, "", "", true, false},
    {"an interim answer with a length and no body",
     "HTTP/1.1 103 Early\r\nContent-Length: 3\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: "
     "2\r\n\r\nok",
     WHOLE, false, 200, "ok", "", false, false},
    {"an interim answer with chunks and no body",
     "HTTP/1.1 100 Continue\r\nTransfer-Encoding: chunked\r\n\r\nHTTP/1.1 204 No\r\n\r\n", WHOLE,
     false, 204, "", "", false, false},
    {"interim answers",
     "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n"
     "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
     WHOLE, true, 200, "ok", "", false, false},
    {"an interim answer with a body", "HTTP/1.1 103 Early\r\nContent-Length: 3\r\n\r\nabc", BAD,
     false, 0, "", NULL, false, false},
    {"switching protocols", "HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\n\r\n", BAD, false, 0, "",
     NULL, false, false},
    {"both framings", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
     BAD, false, 0, "", NULL, false, false},
    {"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n", BAD, false,
     0, "", NULL, false, false},
    {"two equal lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n", BAD,
     false, 0, "", NULL, false, false},
    {"a negative length", "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n", BAD, false, 0, "", NULL,
     false, false},
    {"a list of lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\n", BAD, false, 0, "",
     NULL, false, false},
    {"obs-fold", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n", BAD, false, 0, "",
     NULL, false, false},
    {"gzip as a transfer coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
     BAD, false, 0, "", NULL, false, false},
    {"bare line feeds", "HTTP/1.1 200 OK\nContent-Length: 0\n\n", BAD, false, 0, "", NULL, false,
     false},
    {"no HTTP", "SSH-2.0-OpenSSH_9.2\r\n", BAD, false, 0, "", NULL, false, false},
    {"HTTP/2", "HTTP/2.0 200 OK\r\n\r\n", BAD, false, 0, "", NULL, false, false},
    {"status 099", "HTTP/1.1 099 X\r\n\r\n", BAD, false, 0, "", NULL, false, false},
    {"status 600", "HTTP/1.1 600 X\r\nContent-Length: 0\r\n\r\n", BAD, false, 0, "", NULL, false,
     false},
    {"a length over the limit", "HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n", LARGE, false, 0,
     "", NULL, false, false},
    {"a length that overflows", "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
     BAD, false, 0, "", NULL, false, false},
    {"a tunnel", "HTTP/1.1 200 Connection established\r\n\r\n", WHOLE, true, 200, "", "", false,
     true},
    {"a tunnel with a length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", WHOLE, true, 200, "",
     "", false, true},
    {"no tunnel", "HTTP/1.1 407 No\r\nContent-Length: 2\r\n\r\nno", WHOLE, true, 407, "no", "",
     false, true},
};

static bool as_wanted(const struct answer_case *want, const struct read_answer *got)
{
    bool whole = want->outcome == WHOLE || want->outcome == AT_END;
    bool good = got->step == (whole ? HTTP_STEP_DONE : HTTP_STEP_FAILED);
    good &= got->response.keep_alive == (whole && want->keep_alive);
    good &= got->heads == (want->status ? 1U : 0U) && got->status == want->status;
    if (whole || want->outcome == CUT) {
        good &= slice_equal(slice_of(got->body, got->body_bytes), slice_str(want->body));
    }
    if (whole) {
        good &= got->used + strlen(want->rest) == strlen(want->text);
    } else {
        good &= got->response.why != NULL &&
                got->response.err == (want->outcome == LARGE ? BK_TOO_LARGE : BK_PROTOCOL);
    }
    return good;
}

static void run(const struct answer_case *want)
{
    struct slice text = slice_str(want->text);
    unsigned wrong = 0;
    size_t first_wrong = 0;
    /* every cut; behind that, a byte at a time, two, three */
    for (size_t cut = 0; cut <= text.bytes + 3; cut++) {
        struct read_answer got;
        read_begin(&got, 100);
        got.response.head_method = want->head_method;
        got.response.connect_method = want->connect_method;
        read_all(&got, text, cut <= text.bytes ? cut : 0, cut <= text.bytes ? 0 : cut - text.bytes,
                 true);
        if (!as_wanted(want, &got)) {
            wrong++;
            first_wrong = cut;
        }
        free(got.body);
    }
    ok(wrong == 0, "%s (%zu)", want->title, first_wrong);
}

static void bounds(void)
{
    static char text[200000];
    struct read_answer got;
    size_t bytes = 0;
    for (unsigned i = 0; i < 100; i++) {
        bytes += (size_t)snprintf(text + bytes, sizeof text - bytes, "HTTP/1.1 102 P\r\n\r\n");
    }
    read_begin(&got, 100);
    read_all(&got, slice_of(text, bytes), 0, 7, false);
    ok(got.step == HTTP_STEP_FAILED && got.used <= 18 * (HTTP_RESPONSE_INTERIM_MAX + 2),
       "endless interim answers: %s", got.response.why);
    bytes = (size_t)snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\n");
    while (bytes < 100000) {
        bytes +=
            (size_t)snprintf(text + bytes, sizeof text - bytes, "X-Header-%zu: value\r\n", bytes);
    }
    read_begin(&got, 100);
    read_all(&got, slice_of(text, bytes), 0, 1000, false);
    ok(got.step == HTTP_STEP_FAILED && got.used <= HTTP_HEAD_BYTES_MAX + 1000,
       "endless headers: %s", got.response.why);
    memset(text + 17, 'a', 100000);
    read_begin(&got, 100);
    read_all(&got, slice_of(text, 100017), 0, 1000, false);
    ok(got.step == HTTP_STEP_FAILED, "an endless header: %s", got.response.why);
    bytes = (size_t)snprintf(text, sizeof text, "%s", CHUNKED);
    for (unsigned i = 0; i < 101; i++) {
        bytes += (size_t)snprintf(text + bytes, sizeof text - bytes, "1\r\nx\r\n");
    }
    read_begin(&got, 100);
    read_all(&got, slice_of(text, bytes), 0, 50, false);
    ok(got.step == HTTP_STEP_FAILED && got.response.err == BK_TOO_LARGE,
       "endless chunks are cut at the limit: %s", got.response.why);
    free(got.body);
    bytes = (size_t)snprintf(text, sizeof text, "%s65\r\n%0101d\r\nno chunk\r\n", CHUNKED, 0);
    for (size_t cut = 0; cut <= bytes; cut += bytes) {
        read_begin(&got, 100);
        read_all(&got, slice_of(text, bytes), cut, cut ? 0 : 1, false);
        ok(got.step == HTTP_STEP_FAILED && got.response.err == BK_TOO_LARGE,
           "whatever comes behind it, and however much at once: %s", got.response.why);
        free(got.body);
    }
    bytes = (size_t)snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\n\r\n");
    memset(text + bytes, 'x', 101);
    read_begin(&got, 100);
    read_all(&got, slice_of(text, bytes + 101), 0, 50, false);
    ok(got.step == HTTP_STEP_FAILED && got.response.err == BK_TOO_LARGE,
       "and so is a body until the end: %s", got.response.why);
    free(got.body);
}

/* What is wrong with a head, and where. */
static void explanations(void)
{
    static const struct {
        const char *text, *want;
    } heads[] = {
        {"HTTP/1.1 200 OK\r\nA: b\r\nX-Two: b\001\r\n\r\n", "line 3 (X-Two): a control byte"},
        {"HTTP/1.1 200 OK\r\nX-Zero: \177secret\r\n", "line 2 (X-Zero): a control byte"},
        {"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
         "line 3: it is folded: it begins with white space"},
        {"HTTP/1.1 200 OK\nA: b\n\n", "line 1: a line feed without a carriage return"},
        {"HTTP/1.1 200 OK\r\nA: b\n", "line 2 (A): a line feed without a carriage return"},
        {"HTTP/1.1 200 OK\r\n\nA", "line 2: a line feed without a carriage return"},
        {"HTTP/1.1 200 OK\r\nA: b\rc", "line 2 (A): a carriage return without a line feed"},
        {"HTTP/1.1 200 OK\r\nserver nginx\r\n\r\n", "line 2: no header's name has white space"},
        {"HTTP/1.1 200 OK\r\nServer : x\r\n\r\n", "line 2 (Server): white space before the colon"},
        {"HTTP/1.1 200 OK\r\nServer\r\n\r\n", "line 2: there is no colon"},
        {"HTTP/1.1 200 OK\r\n: x\r\n\r\n", "line 2: a colon without a name"},
        {"HTTP/1.1 200 OK\r\n<html>\r\n", "line 2: it does not begin with a name"},
        {"HTTP/1.1 200 OK\r\nset(x): 1\r\n", "line 2: a byte that no header's name has"},
        {"HTTP/1.1 20 OK\r\n\r\n", "line 1: no status of three digits behind the version"},
        {"HTTP/1.1 2000\r\n\r\n", "line 1: no status of three digits behind the version"},
        {"HTTP/1.1 200 O\002\r\n\r\n", "line 1: a control byte"},
        {"<html>", "line 1: it does not begin with HTTP/1.1"},
        {"\x15\3\3\0\2\2\x46", "line 1: it is TLS, where plain HTTP was spoken"},
        {"\x15\5", "line 1: it does not begin with HTTP/1.1"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nX: y\r\ncontent-length: 1\r\n\r\n",
         "line 4 (content-length): it is there twice"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\n",
         "line 2 (Content-Length): it is no number of bytes"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
         "line 3 (Transfer-Encoding): content-length and transfer-encoding in one answer"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
         "line 3 (Content-Length): content-length and transfer-encoding in one answer"},
        {"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
         "line 2 (Transfer-Encoding): HTTP/1.0 has none"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n",
         "line 2 (Transfer-Encoding): it is not chunked alone"},
        {"HTTP/1.1 200 OK\r\nX-A-Name-That-Is-Far-Too-Long-To-Be-Shown: \001\r\n",
         "line 2 (X-A-Name-That-Is-Far-Too-Long-To-Be-Show…): a control byte"},
        {"HTTP/1.1 200 OK\r\nA: b\r\n\r\nno line", ""},
    };
    static char many[HTTP_HEAD_BYTES_MAX + 100];
    char text[HTTP_EXPLAIN_BYTES];
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        http_explain_response((const uint8_t *)heads[i].text, strlen(heads[i].text), text);
        ok(strcmp(text, heads[i].want) == 0, "explained: %s", text);
    }
    size_t bytes = (size_t)snprintf(many, sizeof many, "HTTP/1.1 200 OK\r\n");
    for (unsigned i = 0; i < HTTP_HEADERS_MAX + 1; i++) {
        bytes += (size_t)snprintf(many + bytes, sizeof many - bytes, "A: b\r\n");
    }
    http_explain_response((const uint8_t *)many, bytes, text);
    ok(strcmp(text, "over 100 header lines") == 0, "%s", text);
    memset(many + 17, 'a', sizeof many - 17);
    http_explain_response((const uint8_t *)many, sizeof many, text);
    ok(strcmp(text, "over 16384 bytes") == 0, "%s", text);
}

int main(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        run(&cases[i]);
    }
    bounds();
    explanations();
    return done_testing();
}
