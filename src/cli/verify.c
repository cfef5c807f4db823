/* verify: is a webhook genuine, and if not, why? */
#include "cli/commands.h"

#include "base/cidr.h"
#include "base/ct.h"
#include "base/jwk.h"
#include "base/time.h"
#include "cli/print.h"
#include "cli/remote.h"
#include "cli/signer.h"
#include "http/parse.h"
#include "hub/events/event_id.h"

#include <stdlib.h>
#include <time.h>
#include <yyjson.h>

const struct option cli_verify_options[] = {
    SIGNER_OPTIONS,
    {.name = "event",
     .kind = OPTION_TEXT,
     .argument = "ID",
     .help = "one that a server accepted or refused: headers, body, method and peer as it came"},
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
    REMOTE_OPTIONS,
    OPTIONS_END,
};

struct request {
    struct buf message; /* head and body */
    struct http_head head;
    struct slice body;
    /* of an event */
    char peer[80]; /* "" = unknown */
    int64_t received_seconds;
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

/* ---- a request that a server has */

/* "192.0.2.1" of "192.0.2.1:4711", "::1" of "[::1]:4711" */
static struct slice host_of(struct slice remote)
{
    bool bracket = slice_starts(remote, SLICE("["));
    remote = slice_skip(remote, bracket);
    return slice_of(remote.at, slice_find(remote, bracket ? ']' : ':'));
}

/* True: one of them is Host. */
static bool write_headers(struct buf *head, yyjson_mut_val *event)
{
    size_t i, count;
    yyjson_mut_val *key, *value, *lines = value_at(event, "headerLines");
    bool has_host = false;
    yyjson_mut_arr_foreach(lines, i, count, value)
    {
        struct slice line = json_text(value);
        buf_add_slice(head, line);
        buf_add_str(head, "\r\n");
        has_host = has_host ||
                   slice_equal_nocase(slice_of(line.at, slice_find(line, ':')), SLICE("host"));
    }
    if (lines) {
        return has_host;
    }
    yyjson_mut_obj_foreach(value_at(event, "headers"), i, count, key, value)
    {
        buf_add_slice(head, json_text(key));
        buf_add_str(head, ": ");
        buf_add_slice(head, json_text(value));
        buf_add_str(head, "\r\n");
        has_host = has_host || slice_equal_nocase(json_text(key), SLICE("host"));
    }
    return has_host;
}

static void write_event_head(struct request *request, yyjson_mut_val *event)
{
    struct buf *head = &request->message;
    int64_t received_ns = 0;
    buf_add_slice(head, text_at(event, "method"));
    buf_add_byte(head, ' ');
    buf_add_slice(head, text_at(event, "target"));
    buf_add_str(head, " HTTP/1.1\r\n");
    bool has_host = write_headers(head, event);
    buf_add_str(head, has_host ? "\r\n" : "Host: localhost\r\n\r\n"); /* HTTP/1.0 needs none */
    bool timed = time_parse_rfc3339(text_at(event, "receivedAt"), &received_ns) == BK_OK;
    request->received_seconds = timed ? received_ns / NS_PER_SECOND : (int64_t)time(NULL);
    slice_keep(host_of(text_at(event, "remote")), request->peer, sizeof request->peer);
}

/* It is there with what was wrong then: a secret that is configured otherwise now. */
static void note_refusal(yyjson_mut_val *event)
{
    struct buf text;
    buf_init(&text, 65536);
    if (slice_equal(text_at(event, "state"), SLICE("rejected"))) {
        print_safe(&text, text_at(event, "message"), false);
        fprintf(stderr, "note: the server refused it: %s\n", buf_text(&text));
    }
    buf_fini(&text);
}

static bool fetch_event(struct remote *remote, const char *id, struct request *request,
                        size_t *ret_head_bytes)
{
    struct client_response answer = {0}, body = {0};
    struct json_tree tree;
    struct buf target;
    json_tree_init(&tree);
    buf_init(&target, 4096);
    buf_add_str(&target, "/api/v1/events/");
    remote_segment(&target, id);
    bool done = remote_call(remote, "GET", buf_text(&target), NULL, SLICE_EMPTY, &answer) &&
                remote_json(&answer, &tree);
    buf_add_str(&target, "/body");
    done = done && remote_call(remote, "GET", buf_text(&target), NULL, SLICE_EMPTY, &body);
    if (done) {
        write_event_head(request, tree.roots[0]);
        *ret_head_bytes = request->message.bytes;
        buf_add_slice(&request->message, buf_slice(&body.body));
        note_refusal(tree.roots[0]);
    }
    client_response_fini(&answer);
    client_response_fini(&body);
    json_tree_fini(&tree);
    buf_fini(&target);
    return done;
}

static int read_event(struct request *request, const struct options *options,
                      size_t *ret_head_bytes)
{
    struct journal_position position;
    struct remote remote;
    const char *id = option_text(options, "event");
    if (!event_id_parse(slice_str(id), &position, NULL)) {
        return cli_usage("--event takes an event's id, evt_ and 26 characters, not %.100s", id);
    }
    if (option_list_count(options, "header") != 0 || option_given(options, "body") ||
        option_given(options, "method") || option_given(options, "peer")) {
        return cli_usage("--header, --body, --method and --peer do not go with --event, which has "
                         "them");
    }
    bool done = remote_open(&remote, options) && fetch_event(&remote, id, request, ret_head_bytes);
    remote_fini(&remote);
    return done ? CLI_DONE : CLI_FAILED;
}

/* What the journal keeps of a header that is a secret itself. */
static void note_hidden(const struct request *request)
{
    for (unsigned i = 0; i < request->head.header_count; i++) {
        const struct http_header *header = &request->head.headers[i];
        struct slice name = http_header_name(&request->head, header);
        struct slice value = http_header_value(&request->head, header);
        if (value.bytes != 0 && value.at[value.bytes - 1] == '*') {
            fprintf(stderr,
                    "note: %.*s is a secret, which is not kept: what is compared with it can only "
                    "be seen when it comes\n",
                    (int)name.bytes, (const char *)name.at);
        }
    }
}

/* ---- a request as it is told */

static int read_request(struct request *request, const struct options *options,
                        size_t *ret_head_bytes)
{
    char *text = NULL;
    size_t bytes = 0;
    const char *file = option_text(options, "body"), *peer = option_text(options, "peer");
    int code = write_head(&request->message, options);
    *ret_head_bytes = request->message.bytes;
    if (code == CLI_DONE && file != NULL && !file_or_stdin(file, BODY_BYTES_MAX, &text, &bytes)) {
        code = CLI_FAILED;
    }
    buf_add(&request->message, text, bytes);
    free(text);
    snprintf(request->peer, sizeof request->peer, "%s", peer ? peer : "");
    request->received_seconds = (int64_t)time(NULL);
    return code;
}

static int build_request(struct request *request, const struct options *options)
{
    size_t head_bytes = 0;
    buf_init(&request->message, BODY_BYTES_MAX + (1U << 20));
    int code = option_given(options, "event") ? read_event(request, options, &head_bytes)
                                              : read_request(request, options, &head_bytes);
    if (code != CLI_DONE) {
        return code;
    }
    if (request->message.overflow) {
        return cli_error("out of memory");
    }
    enum http_parse parsed = http_parse_request(request->message.at, head_bytes, &request->head);
    if (parsed != HTTP_PARSE_DONE) {
        return cli_usage(
            "the method, URL and headers are not a request that a server would take: %s",
            http_parse_text(parsed));
    }
    request->body = slice_skip(buf_slice(&request->message), head_bytes);
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
    struct slice type = scheme_type_text(signer->scheme, &identity, room);
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
    struct slice address = slice_str(request->peer);
    if (address.bytes != 0 && !cidr_parse(address, &peer)) {
        return cli_usage("--peer %s is no address", request->peer);
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
                                                      : request->received_seconds};
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
        note_hidden(request);
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
        code = cli_usage("verify takes no arguments but options; the body comes with --body FILE, "
                         "or all of it by --event ID");
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
