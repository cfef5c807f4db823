/* scheme_explain: the words that help, for each kind of failure. */
#include "unit/providers_request.h"

#define NOW 1767225600LL

static void sign(const char *row, const char *secret, struct slice body, struct slice url,
                 struct buf *headers)
{
    struct scheme *scheme = sample_scheme(row, secret);
    struct scheme_send send = {.body = body, .id = SLICE("i"), .url = url, .now_seconds = NOW};
    buf_init(headers, 4000);
    if (scheme_sign(scheme, &send, headers) != BK_OK) {
        bail_out("cannot sign");
    }
    sample_scheme_free(scheme);
}

static void explains_at(const char *row, const char *secret, struct slice headers,
                        struct slice body, struct slice url, int64_t now, enum scheme_verdict want,
                        const char *words)
{
    static struct sample s;
    struct scheme *scheme = sample_scheme(row, secret);
    struct buf text;
    sample_build(&s, "POST", "/", headers, body, now);
    s.request.url = url;
    enum scheme_verdict verdict = sample_verify(scheme, &s);
    buf_init(&text, 10000);
    scheme_explain(scheme, &s.request, verdict, &text);
    is_int(verdict, want);
    if (!ok(strstr(buf_text(&text), words) != NULL, "%s", words)) {
        diag("%s", buf_text(&text));
    }
    buf_fini(&text);
    sample_scheme_free(scheme);
}

static void explains(const char *row, const char *headers, struct slice body,
                     enum scheme_verdict want, const char *words)
{
    explains_at(row, "secret:s", slice_str(headers), body, SLICE_EMPTY, NOW, want, words);
}

/* Signed over one body, received with another. */
static void altered(const char *row, struct slice signed_body, struct slice body, const char *words)
{
    struct buf headers;
    sign(row, "secret:s", signed_body, SLICE_EMPTY, &headers);
    explains_at(row, "secret:s", buf_slice(&headers), body, SLICE_EMPTY, NOW,
                SCHEME_SIGNATURE_WRONG, words);
    buf_fini(&headers);
}

int main(void)
{
    struct buf headers;
    altered("github", SLICE("{}\n"), SLICE("{}"), "on the way cut it off");
    altered("github", SLICE("{}"), SLICE("{}\n"), "on the way added it");
    altered("slack", SLICE("{}"), SLICE("{}\r\n"), "on the way added it");
    altered("stripe", SLICE("a\r\nb\r\nc"), SLICE("a\nb\nc"), "line ends are CR LF");
    altered("stripe", SLICE("a\nb\nc"), SLICE("a\r\nb\r\nc"), "line ends are LF");
    altered("github", SLICE("{\"a\":1}"), SLICE("{\"a\":2}"), "1 secret tried");
    altered("github", SLICE("{\"a\":1}"), SLICE("{\"a\":2}"), "has 7 bytes");

    sign("slack", "secret:s", SLICE("{}"), SLICE_EMPTY, &headers);
    explains_at("slack", "secret:s", buf_slice(&headers), SLICE("{}"), SLICE_EMPTY, NOW + 360,
                SCHEME_STALE, "timestamp 1767225600 is 360 s old, the tolerance is 300 s");
    explains_at("slack", "secret:s", buf_slice(&headers), SLICE("{}"), SLICE_EMPTY, NOW - 400,
                SCHEME_FUTURE, "is 400 s in the future");
    explains_at("slack", "secret:s", buf_slice(&headers), SLICE("{}"), SLICE_EMPTY, NOW + 2,
                SCHEME_GENUINE, "secret 1 of 1 matches");
    explains_at("slack", "secret:s", buf_slice(&headers), SLICE("{}"), SLICE_EMPTY, NOW + 2,
                SCHEME_GENUINE, "is 2 s old");
    buf_fini(&headers);

    sign("square", "secret:s", SLICE("{}"), SLICE("https://h/x"), &headers);
    explains_at("square", "secret:s", buf_slice(&headers), SLICE("{}"), SLICE("https://h/x/"), NOW,
                SCHEME_SIGNATURE_WRONG, "without its last '/'");
    explains_at("square", "secret:s", buf_slice(&headers), SLICE("{}"), SLICE("https://other/"),
                NOW, SCHEME_SIGNATURE_WRONG, "compare it with the provider's");
    explains_at("square", "secret:s", buf_slice(&headers), SLICE("{}"), SLICE_EMPTY, NOW,
                SCHEME_SIGNATURE_WRONG, "the public URL, which is not known");
    buf_fini(&headers);

    /* A sender that signs the body alone, and one that joins with another character. */
    sign("gitea", "secret:s", SLICE("{}"), SLICE_EMPTY, &headers);
    char *mac = strstr((char *)(uintptr_t)buf_text(&headers), "Signature: ");
    char text[400];
    snprintf(text, sizeof text,
             "X-Slack-Request-Timestamp: 1767225600\r\nX-Slack-Signature: v0=%.64s\r\n", mac + 11);
    explains("slack", text, SLICE("{}"), SCHEME_SIGNATURE_WRONG, "matches the body alone");
    buf_fini(&headers);
    sign("paddle", "secret:s", SLICE("{}"), SLICE_EMPTY, &headers);
    mac = strstr((char *)(uintptr_t)buf_text(&headers), "h1=");
    snprintf(text, sizeof text, "Stripe-Signature: t=1767225600,v1=%.64s\r\n", mac + 3);
    explains("stripe", text, SLICE("{}"), SCHEME_SIGNATURE_WRONG, "joined in another way");
    buf_fini(&headers);

    explains("github", "X-Hub-Signature: sha1=00\r\n", SLICE("{}"), SCHEME_SIGNATURE_MISSING,
             "there is a header X-Hub-Signature");
    explains("github", "", SLICE("{}"), SCHEME_SIGNATURE_MISSING,
             "expected the header X-Hub-Signature-256");
    explains("gitea", "X-Gitea-Signature:\r\n", SLICE("{}"), SCHEME_SIGNATURE_MISSING,
             "which is empty");
    explains("github", "X-Hub-Signature-256: sha256=0\r\n", SLICE("{}"), SCHEME_SIGNATURE_MALFORMED,
             "should look like sha256={hex}");
    explains("github", "X-Hub-Signature-256: a\r\nX-Hub-Signature-256: b\r\n", SLICE("{}"),
             SCHEME_SIGNATURE_DOUBLED, "X-Hub-Signature-256 is there 2 times");
    explains("basic", "Authorization: Bearer x\r\n", SLICE(""), SCHEME_SIGNATURE_MALFORMED,
             "expected Basic");
    explains("bearer", "Authorization: Basic x\r\n", SLICE(""), SCHEME_SIGNATURE_MALFORMED,
             "expected Bearer");
    explains("bearer", "Authorization: Bearer x\r\n", SLICE(""), SCHEME_SIGNATURE_WRONG,
             "1 secret tried");
    explains("slack",
             "X-Slack-Signature: v0="
             "0000000000000000000000000000000000000000000000000000000000000000\r\n"
             "X-Slack-Request-Timestamp: soon\r\n",
             SLICE(""), SCHEME_TIMESTAMP_MALFORMED,
             "expected in X-Slack-Request-Timestamp, found: soon");
    explains("slack",
             "X-Slack-Signature: v0="
             "0000000000000000000000000000000000000000000000000000000000000000\r\n",
             SLICE(""), SCHEME_TIMESTAMP_MISSING,
             "expected in X-Slack-Request-Timestamp, found nothing");
    explains("stripe",
             "Stripe-Signature: v1="
             "0000000000000000000000000000000000000000000000000000000000000000\r\n",
             SLICE(""), SCHEME_TIMESTAMP_MISSING, "as t={timestamp},v1={hex},...");
    explains_at("standard-webhooks", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
                SLICE("webhook-timestamp: 1767225600\r\nwebhook-signature: "
                      "v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n"),
                SLICE(""), SLICE_EMPTY, NOW, SCHEME_ID_MISSING, "expected the header webhook-id");
    return done_testing();
}
