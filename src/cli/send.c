/* send: sign a webhook as the provider would, and post it. */
#include "cli/commands.h"

#include "cli/client.h"
#include "cli/print.h"
#include "cli/signer.h"
#include "ring/ring.h"

#include <stdlib.h>
#include <time.h>

#define ANSWER_BYTES_MAX (16U << 20)

const struct option cli_send_options[] = {
    SIGNER_OPTIONS,
    {.name = "private-key",
     .kind = OPTION_TEXT,
     .argument = "FILE",
     .help = "sign with this key (PEM, or whsk_…), where the provider signs with one"},
    {.name = "cert-url",
     .kind = OPTION_TEXT,
     .argument = "URL",
     .help = "SNS and PayPal: where that key's certificate lies, on a host of theirs"},
    {.name = "key-id",
     .kind = OPTION_TEXT,
     .argument = "TEXT",
     .help = "tokens: which of the issuer's keys that is"},
    {.name = "as",
     .kind = OPTION_TEXT,
     .argument = "TYPE",
     .help = "for a source of type auto: sign as this provider does"},
    {.name = "body",
     .letter = 'b',
     .kind = OPTION_TEXT,
     .argument = "FILE|-",
     .help = "what to send; a small JSON object when absent"},
    {.name = "event",
     .letter = 'e',
     .kind = OPTION_TEXT,
     .argument = "TYPE",
     .help = "event type; default: the provider's test event"},
    {.name = "id",
     .kind = OPTION_TEXT,
     .argument = "ID",
     .help = "delivery id; default: a random one"},
    {.name = "header",
     .letter = 'H',
     .kind = OPTION_TEXT,
     .flags = OPTION_LIST,
     .argument = "'NAME: VALUE'",
     .help = "a further header"},
    {.name = "now",
     .kind = OPTION_NUMBER,
     .argument = "UNIX",
     .help = "sign as of then, seconds since 1970"},
    {.name = "url",
     .kind = OPTION_TEXT,
     .argument = "URL",
     .help = "the hook's public URL, where it is another one, for providers that sign it"},
    {.name = "dry-run", .kind = OPTION_FLAG, .help = "print the request instead of sending it"},
    {.name = "timeout",
     .kind = OPTION_DURATION,
     .argument = "TIME",
     .fallback = "30s",
     .number_min = 1, .help = "how long the answer may take"},
    {.name = "ca-file",
     .kind = OPTION_TEXT,
     .flags = OPTION_ENV,
     .argument = "FILE",
     .help = "for https: believe the authorities of this PEM file too"},
    {.kind = OPTION_END},
};

/* A random UUID: what most providers use. */
static void make_id(char text[37])
{
    uint8_t random[16];
    ring_entropy(random, sizeof random);
    random[6] = (uint8_t)((random[6] & 0x0f) | 0x40);
    random[8] = (uint8_t)((random[8] & 0x3f) | 0x80);
    size_t at = 0;
    for (size_t i = 0; i < sizeof random; i++) {
        at += (size_t)snprintf(text + at, 37 - at,
                               i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x", random[i]);
    }
}

/* The user's headers, checked. */
static int add_headers(struct buf *headers, const struct options *options)
{
    for (unsigned i = 0; i < option_list_count(options, "header"); i++) {
        const char *header = option_list_at(options, "header", i);
        size_t name_bytes = strcspn(header, ":");
        if (header[name_bytes] != ':' || name_bytes == 0 || strpbrk(header, "\r\n") != NULL) {
            return cli_usage("--header '%s' is not 'Name: value'", header);
        }
        buf_printf(headers, "%s\r\n", header);
    }
    return CLI_DONE;
}

static bool has_header(struct slice lines, struct slice name)
{
    while (lines.bytes != 0) {
        size_t bytes = slice_find(lines, '\n');
        struct slice line = slice_of(lines.at, bytes);
        if (slice_equal_nocase(slice_of(line.at, slice_find(line, ':')), name)) {
            return true;
        }
        lines = slice_skip(lines, bytes + 1);
    }
    return false;
}

/* What the signature brings along, without what the user said himself. */
static void add_signature(struct buf *headers, struct slice lines)
{
    struct buf given;
    buf_init(&given, headers->bytes_max);
    buf_add_slice(&given, buf_slice(headers));
    while (lines.bytes != 0) {
        size_t bytes = slice_find(lines, '\n');
        struct slice line = slice_of(lines.at, bytes < lines.bytes ? bytes + 1 : bytes);
        if (!has_header(buf_slice(&given), slice_of(line.at, slice_find(line, ':')))) {
            buf_add_slice(headers, line);
        }
        lines = slice_skip(lines, bytes + 1);
    }
    buf_fini(&given);
}

/* What is sent. */
struct message {
    struct buf headers;
    struct buf body; /* where a signature is in it; else empty */
    struct buf url;
    bool own_body; /* the user's is sent as it is, where that is possible */
};

/* Headers and signature. */
static int sign(const struct signer *signer, const struct options *options, const char *url,
                struct slice body, struct message *message)
{
    struct buf *headers = &message->headers;
    char id[37];
    struct buf signature;
    make_id(id);
    buf_printf(headers, "User-Agent: becket/%s\r\n", BECKET_VERSION);
    int code = add_headers(headers, options);
    buf_init(&signature, 1U << 16);
    if (code == CLI_DONE && signer->scheme != NULL) {
        struct scheme_send send = {
            .body = body,
            .type = slice_str(option_text(options, "event")),
            .id =
                option_given(options, "id") ? slice_str(option_text(options, "id")) : slice_str(id),
            .url = slice_str(url),
            .headers = buf_slice(headers),
            .ret_body = &message->body,
            .ret_url = &message->url,
            .make_body = !message->own_body,
            .private_key = signer->private_key,
            .key_id = slice_str(option_text(options, "key-id")),
            .certificate_url = slice_str(option_text(options, "cert-url")),
            .now_seconds = option_given(options, "now") ? (int64_t)option_number(options, "now")
                                                        : (int64_t)time(NULL)};
        enum bk_err err = scheme_sign(signer->scheme, &send, &signature);
        if (err != BK_OK) {
            const char *why = bk_err_text(err);
            if (err == BK_UNSUPPORTED) {
                why = "what is signed needs more than a body, an id and the headers given with "
                      "--header";
            } else if (err == BK_INVALID && option_given(options, "cert-url")) {
                why = "--cert-url is on no host of the provider's, so no server would look there; "
                      "or the body is no text";
            }
            code = cli_error("webhooks of %s cannot be signed here: %s%s", signer->type, why,
                             signer->private_key != NULL ? " (is the key of the right kind?)" : "");
        }
        add_signature(headers, buf_slice(&signature));
    }
    if (!has_header(buf_slice(headers), SLICE("content-type"))) {
        buf_add_str(headers, "Content-Type: application/json\r\n");
    }
    buf_fini(&signature);
    return code;
}

static int post(const struct client_url *url, const struct options *options, struct slice headers,
                struct slice body)
{
    char error[CLIENT_ERROR_BYTES];
    struct client_response response = {0};
    int64_t timeout_ms = option_duration_ns(options, "timeout") / 1000000;
    struct client_request request = {.method = "POST",
                                     .url = url,
                                     .headers = headers,
                                     .body = body,
                                     .ca_file = option_text(options, "ca-file"),
                                     .timeout_ms =
                                         timeout_ms > 86400000 ? 86400000U : (unsigned)timeout_ms,
                                     .body_bytes_max = ANSWER_BYTES_MAX};
    int code = CLI_FAILED;
    if (!client_call(&request, &response, error)) {
        cli_error("%s", error);
    } else {
        struct buf line;
        buf_init(&line, ANSWER_BYTES_MAX + 64);
        buf_printf(&line, "%u ", response.status);
        buf_add_slice(&line, buf_slice(&response.body));
        while (line.bytes != 0 &&
               (line.at[line.bytes - 1] == '\n' || line.at[line.bytes - 1] == ' ')) {
            line.bytes--;
        }
        print_line(buf_slice(&line));
        buf_fini(&line);
        code = response.status >= 200 && response.status < 300 ? CLI_DONE : CLI_FAILED;
    }
    client_response_fini(&response);
    return code;
}

/* As --dry-run shows it: lines without their carriage returns. */
static void print_request(const struct client_url *url, struct slice headers, struct slice body)
{
    struct buf text;
    buf_init(&text, 2U << 20);
    buf_printf(&text, "POST %s HTTP/1.1\nHost: %s\n", *url->path ? url->path : "/", url->authority);
    for (size_t i = 0; i < headers.bytes; i++) {
        if (headers.at[i] != '\r') {
            buf_add_byte(&text, headers.at[i]);
        }
    }
    print_line(buf_slice(&text));
    print_bytes(body);
    print_bytes(SLICE("\n"));
    buf_fini(&text);
}

/* Where it goes: to `url`, with the query that signing gave it. */
static int send_to(const struct signer *signer, const struct options *options,
                   const struct client_url *url, struct slice body, bool own_body)
{
    struct message message = {.own_body = own_body};
    struct client_url other = *url;
    char path[4096];
    buf_init(&message.headers, 1U << 20);
    buf_init(&message.body, BODY_BYTES_MAX + (1U << 20));
    buf_init(&message.url, 1U << 16);
    const char *public_url = option_text(options, "url");
    int code =
        sign(signer, options, public_url ? public_url : options->arguments[0], body, &message);
    const char *query = strchr(buf_text(&message.url), '?');
    size_t before = strcspn(url->path, "?");
    if (code == CLI_DONE && query != NULL) {
        int bytes = snprintf(path, sizeof path, "%.*s%s", (int)before, url->path, query);
        if (bytes < 0 || (size_t)bytes >= sizeof path) {
            code = cli_error("the URL is too long");
        }
        other.path = path;
    }
    if (message.body.bytes != 0) {
        body = buf_slice(&message.body);
    }
    if (code == CLI_DONE && option_flag(options, "dry-run")) {
        print_request(&other, buf_slice(&message.headers), body);
    } else if (code == CLI_DONE) {
        code = post(&other, options, buf_slice(&message.headers), body);
    }
    buf_fini(&message.headers);
    buf_fini(&message.body);
    buf_fini(&message.url);
    return code;
}

int cli_send(int argc, char **argv)
{
    struct options options;
    struct signer signer;
    struct client_url url;
    char error[CLIENT_ERROR_BYTES];
    char *text = NULL;
    size_t bytes = 0;
    int code;
    if (!cli_begin(&options, cli_send_options, argc, argv, &code)) {
        return code;
    }
    if (options.argument_count != 1) {
        code = cli_usage("send takes one URL: becket send http://127.0.0.1:8080/hooks/NAME");
        options_fini(&options);
        return code;
    }
    if (!client_url_parse(options.arguments[0], &url, error)) {
        code = cli_usage("%s", error);
        options_fini(&options);
        return code;
    }
    const char *file = option_text(&options, "body");
    code = signer_open(&signer, &options, false, option_text(&options, "private-key"));
    if (code == CLI_DONE && file != NULL && !file_or_stdin(file, BODY_BYTES_MAX, &text, &bytes)) {
        code = CLI_FAILED;
    }
    if (code == CLI_DONE) {
        struct slice body = text ? slice_of(text, bytes) : SLICE("{\"hello\":\"becket\"}");
        code = send_to(&signer, &options, &url, body, text != NULL);
    }
    free(text);
    signer_fini(&signer);
    options_fini(&options);
    return code;
}
