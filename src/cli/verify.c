/* verify: is a webhook genuine, and if not, why? */
#include "cli/commands.h"

#include "base/cidr.h"
#include "base/ct.h"
#include "base/jwk.h"
#include "cli/client.h"
#include "cli/print.h"
#include "cli/signer.h"
#include "http/parse.h"

#include <stdlib.h>
#include <time.h>

const struct option cli_verify_options[] = {
    SIGNER_OPTIONS,
    {.name = "header",
     .letter = 'H',
     .kind = OPTION_TEXT,
     .flags = OPTION_LIST,
     .argument = "'NAME: VALUE'",
     .help = "a header as it was received"},
    {.name = "body",
     .letter = 'b',
     .kind = OPTION_TEXT,
     .argument = "FILE|-",
     .help = "the body, byte for byte; empty when absent"},
    {.name = "method",
     .letter = 'X',
     .kind = OPTION_TEXT,
     .argument = "METHOD",
     .fallback = "POST",
     .help = "as it was received"},
    {.name = "url",
     .kind = OPTION_TEXT,
     .argument = "URL",
     .help = "the hook's public URL, for providers that sign it"},
    {.name = "peer",
     .kind = OPTION_TEXT,
     .argument = "ADDRESS",
     .help = "the address it came from, for --allow"},
    {.name = "key",
     .letter = 'k',
     .kind = OPTION_TEXT,
     .argument = "FILE",
     .help = "what the sender publishes: a certificate, a public key or a JWK set; a server "
             "fetches it"},
    {.name = "now",
     .kind = OPTION_NUMBER,
     .argument = "UNIX",
     .help = "judge timestamps as of then, seconds since 1970"},
    {.kind = OPTION_END},
};

struct request {
    struct buf message; /* head and body */
    struct http_head head;
    struct slice body;
};

/* "/hooks/a?b" of "https://host/hooks/a?b"; the text itself when it is a path. */
static const char *path_of(const char *url)
{
    const char *scheme = url ? strstr(url, "://") : NULL;
    const char *path = scheme ? strpbrk(scheme + 3, "/?#") : url;
    return path && *path == '/' ? path : "/";
}

static bool names_host(const char *header)
{
    return slice_equal_nocase(slice_trim(slice_of(header, strcspn(header, ":"))), SLICE("host"));
}

/* The head as it was on the wire, as far as the user knows it. */
static int write_head(struct buf *head, const struct options *options)
{
    const char *url = option_text(options, "url");
    const char *scheme = url ? strstr(url, "://") : NULL;
    bool has_host = false;
    buf_printf(head, "%s %s HTTP/1.1\r\n", option_text(options, "method"), path_of(url));
    for (unsigned i = 0; i < option_list_count(options, "header"); i++) {
        const char *header = option_list_at(options, "header", i);
        size_t name_bytes = strcspn(header, ":");
        if (header[name_bytes] != ':' || name_bytes == 0 || strpbrk(header, "\r\n") != NULL) {
            return cli_usage("--header '%s' is not 'Name: value'", header);
        }
        struct slice value = slice_trim(slice_str(header + name_bytes + 1));
        buf_printf(head, "%.*s: %.*s\r\n", (int)name_bytes, header, (int)value.bytes,
                   (const char *)value.at);
        has_host = has_host || names_host(header);
    }
    if (!has_host) {
        const char *host = scheme ? scheme + 3 : "localhost";
        buf_printf(head, "Host: %.*s\r\n", (int)strcspn(host, "/?#"), host);
    }
    buf_add_str(head, "\r\n");
    return CLI_DONE;
}

static int build_request(struct request *request, const struct options *options)
{
    char *text = NULL;
    size_t bytes = 0;
    const char *file = option_text(options, "body");
    buf_init(&request->message, BODY_BYTES_MAX + (1U << 20));
    int code = write_head(&request->message, options);
    if (code != CLI_DONE) {
        return code;
    }
    size_t head_bytes = request->message.bytes;
    if (file != NULL && !file_or_stdin(file, BODY_BYTES_MAX, &text, &bytes)) {
        return CLI_FAILED;
    }
    buf_add(&request->message, text, bytes);
    free(text);
    if (request->message.overflow) {
        return cli_error("out of memory");
    }
    enum http_parse parsed = http_parse_request(request->message.at, head_bytes, &request->head);
    if (parsed != HTTP_PARSE_DONE) {
        return cli_usage(
            "the method, URL and headers are not a request that a server would take: %s",
            http_parse_text(parsed));
    }
    request->body = slice_of(request->message.at + head_bytes, bytes);
    return CLI_DONE;
}

static void print_identity(const struct signer *signer, const struct scheme_request *request)
{
    struct scheme_identity identity = {0};
    struct buf line;
    struct scheme_subject subject;
    const struct scheme_row *row = scheme_row(signer->scheme);
    const struct scheme_row *found =
        scheme_row_is_auto(row) ? scheme_row_detect(request->head) : row;
    struct scheme_request copy = *request;
    scheme_identify(signer->scheme, &copy, &identity);
    scheme_subject(found != NULL ? found : row, request, &subject);
    buf_init(&line, 1U << 16);
    buf_printf(&line, "genuine: %s",
               found != NULL && found != row ? scheme_row_name(found) : signer->type);
    uint8_t room[EVENT_TYPE_BYTES_MAX];
    struct slice type = scheme_type_text(&identity, room);
    if (type.bytes != 0) {
        buf_printf(&line, ", type %.*s", (int)type.bytes, (const char *)type.at);
    }
    if (identity.delivery_id.bytes != 0) {
        buf_printf(&line, ", delivery id %.*s", (int)identity.delivery_id.bytes,
                   (const char *)identity.delivery_id.at);
    }
    if (subject.account.bytes != 0) {
        buf_printf(&line, ", account %.*s", (int)subject.account.bytes,
                   (const char *)subject.account.at);
    }
    if (subject.resource.bytes != 0) {
        buf_printf(&line, ", resource %.*s", (int)subject.resource.bytes,
                   (const char *)subject.resource.at);
    }
    print_line(buf_slice(&line));
    buf_fini(&line);
}

/* ---- keys that a server would fetch */

struct published {
    struct jwk_set *set;
    struct public_key key;
    bool has_key;
};

static enum key_found find_key(void *context, const struct key_want *want,
                               const struct public_key **ret_key)
{
    const struct published *published = context;
    const struct jwk *jwk =
        published->set != NULL ? jwk_set_find(published->set, want->kid, want->algorithm) : NULL;
    if (jwk == NULL && !published->has_key) {
        return published->set != NULL ? KEY_UNKNOWN : KEY_UNAVAILABLE;
    }
    *ret_key = jwk != NULL ? &jwk->key : &published->key;
    return KEY_FOUND;
}

static int read_key(const char *file, struct published *published)
{
    char *text;
    size_t bytes;
    if (file == NULL) {
        return CLI_DONE;
    }
    if (!file_or_stdin(file, JWK_TEXT_BYTES_MAX, &text, &bytes)) {
        return CLI_FAILED;
    }
    struct slice read = slice_of(text, bytes);
    const char *wrong = NULL;
    if (jwk_set_parse(read, &published->set) != BK_OK) {
        wrong = public_key_parse(read, &published->key);
        published->has_key = wrong == NULL;
    }
    free(text);
    return wrong == NULL ? CLI_DONE : cli_error("--key %s: %s", file, wrong);
}

static int verify(const struct signer *signer, const struct request *request,
                  const struct options *options)
{
    struct scheme_answer answer = {0};
    struct cidr peer = {0};
    struct slice address = slice_str(option_text(options, "peer"));
    if (address.bytes != 0 && !cidr_parse(address, &peer)) {
        return cli_usage("--peer %s is no address", option_text(options, "peer"));
    }
    struct published published = {0};
    struct key_finder finder = {find_key, &published};
    int code = read_key(option_text(options, "key"), &published);
    if (code != CLI_DONE) {
        return code;
    }
    struct scheme_request asked = {.head = &request->head,
                                   .body = request->body,
                                   .keys = &finder,
                                   .url = slice_str(option_text(options, "url")),
                                   .peer_family = peer.family,
                                   .peer = peer.family != 0 ? peer.at : NULL,
                                   .now_seconds = option_given(options, "now")
                                                      ? (int64_t)option_number(options, "now")
                                                      : (int64_t)time(NULL)};
    enum scheme_verdict verdict = scheme_verify(signer->scheme, &asked, &answer);
    free(published.set);
    if (verdict == SCHEME_GENUINE) {
        print_identity(signer, &asked);
        return CLI_DONE;
    }
    struct buf text;
    buf_init(&text, 1U << 20);
    if (verdict == SCHEME_HANDSHAKE) {
        buf_printf(&text, "handshake of %s: answered with %u", signer->type, answer.status);
        if (answer.learned.bytes != 0) {
            buf_add_str(&text, ", once the secret it brings is stored");
        }
        if (answer.content_type != NULL) {
            buf_printf(&text, " and the body %.*s", (int)answer.body.bytes,
                       (const char *)answer.body.at);
        }
        print_line(buf_slice(&text));
    } else {
        buf_printf(&text, "not genuine (%s): ", scheme_verdict_name(verdict));
        scheme_explain(signer->scheme, &asked, verdict, &text);
        text.bytes -= text.bytes != 0 && text.at[text.bytes - 1] == '\n';
        print_line(buf_slice(&text));
    }
    buf_fini(&text);
    return verdict == SCHEME_HANDSHAKE ? CLI_DONE : CLI_FAILED;
}

int cli_verify(int argc, char **argv)
{
    struct options options;
    struct signer signer;
    struct request request = {0};
    int code;
    if (!cli_begin(&options, cli_verify_options, argc, argv, &code)) {
        return code;
    }
    if (options.argument_count != 0) {
        code = cli_usage("verify takes no arguments but options; the body comes with --body FILE");
        options_fini(&options);
        return code;
    }
    code = signer_open(&signer, &options, true, NULL);
    if (code == CLI_DONE) {
        code = build_request(&request, &options);
    }
    if (code == CLI_DONE) {
        code = verify(&signer, &request, &options);
    }
    buf_fini(&request.message);
    signer_fini(&signer);
    options_fini(&options);
    return code;
}
