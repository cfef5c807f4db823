/* The page of providers is made from the table: is it up to date? And type auto, by headers. */
#include "providers/row.h"
#include "unit/providers_request.h"

static void page(void)
{
    const char *root = getenv("BECKET_ROOT");
    char path[1024];
    struct buf made, kept;
    uint8_t chunk[4096];
    size_t bytes;
    snprintf(path, sizeof path, "%s/src/providers/CATALOGUE.md", root != NULL ? root : ".");
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        bail_out("%s cannot be read", path);
    }
    buf_init(&made, 1U << 20);
    buf_init(&kept, 1U << 20);
    while ((bytes = fread(chunk, 1, sizeof chunk, file)) != 0) {
        buf_add(&kept, chunk, bytes);
    }
    fclose(file);
    scheme_catalogue_markdown(&made);
    ok(slice_equal(buf_slice(&made), buf_slice(&kept)),
       "up to date; else: build/becket providers -o markdown > src/providers/CATALOGUE.md");
    buf_fini(&made);
    buf_fini(&kept);
}

/* What a provider signs, a source of type auto takes as that provider's. */
static void auto_detects(void)
{
    static struct sample s;
    static const char secret[] = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    struct scheme *any = sample_scheme("auto", secret);
    unsigned tried = 0;
    for (size_t i = 0; i < scheme_row_count(); i++) {
        const struct scheme_row *row = scheme_row_at(i);
        bool fits = row->detect != NULL && row->secret <= SECRET_BASE64 && row->kind != ROW_CODE;
        struct scheme *scheme = fits ? sample_scheme(row->name, secret) : NULL;
        struct buf headers;
        struct slice body =
            SLICE("{\"webhookTimestamp\":1767225600000,\"id\":\"e\",\"type\":\"t\"}");
        struct scheme_send send = {.body = body,
                                   .id = SLICE("i-1"),
                                   .url = SLICE("https://h/hooks/x"),
                                   .now_seconds = 1767225600};
        buf_init(&headers, 4000);
        if (scheme != NULL && scheme_sign(scheme, &send, &headers) == BK_OK) {
            sample_build(&s, "POST", "/hooks/x", buf_slice(&headers), body, 1767225600);
            s.request.url = send.url;
            is_int(sample_verify(any, &s), SCHEME_GENUINE, "%s by its headers", row->name);
            ok(scheme_row_detect(&s.head) == row, "as %s", row->name);
            struct scheme_identity one, other;
            scheme_identify(scheme, &s.request, &one);
            scheme_identify(any, &s.request, &other);
            ok(slice_equal(one.type, other.type) &&
               slice_equal(one.delivery_id, other.delivery_id));
            s.request.body = SLICE("{}");
            bool shown = row->kind == ROW_TOKEN || row->kind == ROW_AUTHORIZATION;
            ok(sample_verify(any, &s) != SCHEME_GENUINE || shown, "altered");
            tried++;
        }
        buf_fini(&headers);
        if (scheme != NULL) {
            sample_scheme_free(scheme);
        }
    }
    ok(tried >= 30, "%u providers", tried);
    sample_build(&s, "POST", "/", SLICE("X-Whatever: 1\r\n"), SLICE("{}"), 1767225600);
    is_int(sample_verify(any, &s), SCHEME_TYPE_UNKNOWN, "nobody's headers");
    /* Gitea sends GitHub's headers too, Forgejo those of both. */
    sample_build(&s, "POST", "/", SLICE("X-GitHub-Event: push\r\nX-Gitea-Event: push\r\n"),
                 SLICE("{}"), 0);
    is_str(scheme_row_name(scheme_row_detect(&s.head)), "gitea");
    sample_build(&s, "POST", "/",
                 SLICE("X-GitHub-Event: p\r\nX-Gitea-Event: p\r\nX-Forgejo-Event: p\r\n"),
                 SLICE("{}"), 0);
    is_str(scheme_row_name(scheme_row_detect(&s.head)), "forgejo");
    struct buf words;
    buf_init(&words, 4000);
    scheme_explain(any, &s.request, SCHEME_TYPE_UNKNOWN, &words);
    ok(words.bytes != 0);
    buf_fini(&words);
    sample_scheme_free(any);
}

/* Whose event it is, out of a body. */
static void subject(void)
{
    static struct sample s;
    struct scheme_subject subject;
    sample_build(&s, "POST", "/", SLICE("X-GitHub-Event: push\r\n"),
                 SLICE("{\"repository\":{\"full_name\":\"a/b\",\"owner\":{\"login\":\"a\"}},"
                       "\"installation\":{\"id\":7}}"),
                 0);
    scheme_subject(scheme_row_find(SLICE("github")), &s.request, &subject);
    is_bytes(subject.account.at, subject.account.bytes, "7", 1);
    is_bytes(subject.resource.at, subject.resource.bytes, "a/b", 3);
    sample_build(&s, "POST", "/", SLICE("X-Shopify-Shop-Domain: s.example\r\n"), SLICE("[]"), 0);
    scheme_subject(scheme_row_find(SLICE("shopify")), &s.request, &subject);
    is_bytes(subject.account.at, subject.account.bytes, "s.example", 9);
    is_uint(subject.resource.bytes, 0);
}

int main(void)
{
    page();
    auto_detects();
    subject();
    return done_testing();
}
