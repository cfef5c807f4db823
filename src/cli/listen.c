/* listen: events of a running server, forwarded to a local program as a delivery would look. */
#include "cli/commands.h"

#include "base/assert.h"
#include "base/base64.h"
#include "base/percent.h"
#include "base/sha256.h"
#include "cli/clock.h"
#include "cli/remote.h"
#include "hub/deliveries/request.h"
#include "net/dns.h"

#include <stdlib.h>
#include <yyjson.h>

#define INTERVAL_MS 250

const struct option cli_listen_options[] = {
    {.name = "forward",
     .kind = OPTION_TEXT,
     .argument = "URL",
     .help = "where each event is posted"},
    {.name = "allow-remote",
     .kind = OPTION_FLAG,
     .help = "forward also to an address that is not this machine's"},
    {.name = "secret",
     .kind = OPTION_TEXT,
     .argument = "WHSEC",
     .help = "sign by Standard Webhooks, as a destination with this secret"},
    {.name = "type",
     .kind = OPTION_TEXT,
     .argument = "TYPE",
     .help = "only of this event type; invoice.*: all that begin so"},
    {.name = "since", .kind = OPTION_TIME, .argument = "TIME", .help = "begin here; now else"},
    CANVAS_OPTION,
    REMOTE_OPTIONS,
    OPTIONS_END,
};

struct listen {
    struct remote *remote;
    const struct options *options;
    const char *url_text;
    struct client_url url;
    bool sign;
    struct hmac_sha256_key key;
};

/* ---- one event */

/* Of the connection, said anew, or blanked in the journal: as in hub/deliveries/request.h. */
static bool is_dropped(struct slice name, struct slice value)
{
    static const char *const names[] = {"host",
                                        "content-length",
                                        "transfer-encoding",
                                        "connection",
                                        "keep-alive",
                                        "te",
                                        "trailer",
                                        "upgrade",
                                        "expect",
                                        "cookie",
                                        "proxy-connection",
                                        "proxy-authorization",
                                        "authorization",
                                        "webhook-id",
                                        "webhook-timestamp",
                                        "webhook-signature",
                                        "becket-source",
                                        "becket-type",
                                        "becket-attempt",
                                        "becket-hops"};
    for (size_t i = 0; i < bk_array_length(names); i++) {
        if (slice_equal_nocase(name, slice_str(names[i]))) {
            return true;
        }
    }
    bool blanked = value.bytes > 0;
    for (size_t i = 0; blanked && i < value.bytes; i++) {
        blanked = value.at[i] == '*';
    }
    return blanked;
}

static void add_line(struct buf *headers, const char *name, struct slice value)
{
    buf_printf(headers, "%s: %.*s\r\n", name, (int)value.bytes,
               (const char *)(value.at ? value.at : (const uint8_t *)""));
}

/* As the server's deliveries have it: whatever an event calls itself, it stays in its line. */
static void add_type(struct buf *headers, struct slice type)
{
    buf_add_str(headers, "becket-type: ");
    percent_add_visible(headers, type);
    buf_add_str(headers, "\r\n");
}

static void add_signature(const struct listen *listen, struct buf *headers, struct slice id,
                          struct slice timestamp, struct slice body)
{
    uint8_t mac[SHA256_BYTES];
    char text[BASE64_ENCODED(sizeof mac) + 4] = "v1,";
    struct slice parts[] = {id, SLICE("."), timestamp, SLICE("."), body};
    hmac_sha256(&listen->key, parts, bk_array_length(parts), mac);
    size_t bytes = 3 + base64_encode(mac, sizeof mac, BASE64_STANDARD, text + 3);
    add_line(headers, "webhook-signature", slice_of(text, bytes));
}

/* One more than it came with: forwarded to a hook of the same server it comes back here. */
static void add_hops(struct buf *headers, yyjson_mut_val *event)
{
    size_t i, count;
    unsigned hops = 0;
    yyjson_mut_val *key, *value;
    yyjson_mut_obj_foreach(value_at(event, "headers"), i, count, key, value)
    {
        if (slice_equal_nocase(json_text(key), SLICE("becket-hops"))) {
            hops = request_hops_of(json_text(value));
        }
    }
    buf_printf(headers, "becket-hops: %u\r\n", hops + 1);
}

static void add_headers(const struct listen *listen, struct buf *headers, yyjson_mut_val *event,
                        struct slice body)
{
    char timestamp[24];
    size_t i, count;
    yyjson_mut_val *key, *value;
    struct slice id = text_at(event, "id"), type = text_at(event, "type");
    snprintf(timestamp, sizeof timestamp, "%lld", (long long)(clock_wall_ns() / NS_PER_SECOND));
    add_line(headers, "webhook-id", id);
    add_line(headers, "webhook-timestamp", slice_str(timestamp));
    if (listen->sign) {
        add_signature(listen, headers, id, slice_str(timestamp), body);
    }
    add_line(headers, "becket-source", text_at(event, "source"));
    if (type.bytes > 0) {
        add_type(headers, type);
    }
    add_line(headers, "becket-attempt", SLICE("1"));
    add_hops(headers, event);
    yyjson_mut_obj_foreach(value_at(event, "headers"), i, count, key, value)
    {
        struct slice name = json_text(key), text = json_text(value);
        bool lines = memchr(text.at, '\n', text.bytes) || memchr(text.at, '\r', text.bytes);
        if (!is_dropped(name, text) && !lines) {
            buf_add_slice(headers, name);
            buf_add_str(headers, ": ");
            buf_add_slice(headers, text);
            buf_add_str(headers, "\r\n");
        }
    }
}

/* "12:00:01  push  evt_…  200  3.1 ms" */
static void print_forwarded(yyjson_mut_val *event, const char *outcome, double took_ms)
{
    char time_text[32];
    struct slice id = text_at(event, "id"), type = text_at(event, "type");
    struct buf line;
    print_time(text_at(event, "receivedAt"), time_text);
    buf_init(&line, 4096);
    buf_printf(&line, "%s  %-30.*s  %-20.*s  %s  %.1f ms", time_text, (int)id.bytes,
               (const char *)id.at, (int)type.bytes,
               (const char *)(type.at ? type.at : (const uint8_t *)""), outcome, took_ms);
    print_line(buf_slice(&line));
    buf_fini(&line);
    fflush(stdout);
}

static bool get_body(struct listen *listen, struct slice id, struct client_response *response)
{
    struct buf target;
    buf_init(&target, 4096);
    buf_printf(&target, "/api/v1/events/%.*s/body", (int)id.bytes, (const char *)id.at);
    bool done = remote_call(listen->remote, "GET", buf_text(&target), NULL, SLICE_EMPTY, response);
    buf_fini(&target);
    return done;
}

/* A local program that is down is no reason to stop, nor is an event that retention took meanwhile:
 * it is told, and the next event is tried. */
static bool forward(struct listen *listen, yyjson_mut_val *event)
{
    struct client_response stored = {0}, answer = {0};
    char error[CLIENT_ERROR_BYTES], outcome[CLIENT_ERROR_BYTES + 16];
    struct buf headers;
    if (!get_body(listen, text_at(event, "id"), &stored)) {
        bool gone = stored.status == 404;
        if (gone) {
            print_forwarded(event, "failed: it is not there any more", 0);
        }
        client_response_fini(&stored);
        return gone;
    }
    buf_init(&headers, 1U << 16);
    add_headers(listen, &headers, event, buf_slice(&stored.body));
    struct client_request request = {.method = "POST",
                                     .url = &listen->url,
                                     .headers = buf_slice(&headers),
                                     .body = buf_slice(&stored.body),
                                     .ca_file = listen->remote->ca_file,
                                     .timeout_ms = 20000,
                                     .body_bytes_max = 1U << 20};
    int64_t before = clock_read_ns(CLOCK_MONOTONIC);
    if (client_call(&request, &answer, error)) {
        snprintf(outcome, sizeof outcome, "%u", answer.status);
    } else {
        snprintf(outcome, sizeof outcome, "failed: %s", error);
    }
    print_forwarded(event, outcome, (double)(clock_read_ns(CLOCK_MONOTONIC) - before) / 1e6);
    client_response_fini(&answer);
    client_response_fini(&stored);
    buf_fini(&headers);
    return true;
}

/* ---- following */

static bool get_page(struct listen *listen, char cursor[REMOTE_CURSOR_BYTES],
                     struct json_tree *page)
{
    static const char *const filters[] = {"canvas", "type", NULL};
    static const struct remote_list list = {.path = "/api/v1/events?order=asc&state=accepted",
                                            .filters = filters};
    const struct options *options = listen->options;
    const char *since = option_text(options, "since");
    /* The cursor says where to go on; "now" would be another one at each poll. */
    const char *from = cursor[0] != '\0' ? NULL : since ? since : "0s";
    const char *const more[] = {"source", options->arguments[0], from ? "since" : NULL, from, NULL};
    char next[REMOTE_CURSOR_BYTES];
    memcpy(next, cursor, sizeof next);
    bool done = remote_page(listen->remote, options, &list, more, 100, next, page);
    if (done && next[0] != '\0') {
        memcpy(cursor, next, sizeof next);
    }
    return done;
}

static int follow(struct listen *listen)
{
    const struct timespec interval = {0, INTERVAL_MS * 1000000L};
    char cursor[REMOTE_CURSOR_BYTES] = "";
    bool done = true;
    remote_until_ended();
    fprintf(stderr, "forwarding events of %s to %s; Ctrl-C ends it\n",
            listen->options->arguments[0], listen->url_text);
    while (done && !remote_ended()) {
        struct json_tree page;
        size_t i, count = 0;
        yyjson_mut_val *event;
        done = get_page(listen, cursor, &page);
        listen->remote->follows |= done;
        yyjson_mut_arr_foreach(done ? value_at(page.roots[0], "items") : NULL, i, count, event)
        {
            done = done && !remote_ended() && forward(listen, event);
        }
        json_tree_fini(&page);
        if (done && count == 0) {
            nanosleep(&interval, NULL); /* a signal ends it early */
        }
    }
    return done || remote_ended() ? CLI_DONE : CLI_FAILED;
}

/* URL and secret. CLI_DONE, or what the command returns. */
static int prepare(struct listen *listen)
{
    const struct options *options = listen->options;
    const char *secret = option_text(options, "secret");
    char error[CLIENT_ERROR_BYTES];
    listen->url_text = option_text(options, "forward");
    if (options->argument_count != 1 || !listen->url_text) {
        return cli_usage("listen takes a source and --forward: becket listen payments --forward "
                         "http://127.0.0.1:3000/hook");
    }
    if (!client_url_parse(listen->url_text, &listen->url, error)) {
        return cli_usage("--forward: %s", error);
    }
    if (!dns_is_loopback(listen->url.host) && !option_flag(options, "allow-remote")) {
        return cli_usage("--forward: %s is not this machine; --allow-remote permits it",
                         listen->url.host);
    }
    if (secret) {
        uint8_t raw[256];
        size_t bytes = 0;
        struct slice text = slice_str(secret);
        text = slice_skip(text, slice_starts(text, SLICE("whsec_")) ? 6 : 0);
        if (text.bytes > BASE64_ENCODED(sizeof raw) - 4 ||
            !base64_decode(text, BASE64_STANDARD, raw, sizeof raw, &bytes) || bytes == 0) {
            return cli_usage("--secret must be whsec_ and base64");
        }
        hmac_sha256_key_init(&listen->key, slice_of(raw, bytes));
        listen->sign = true;
    }
    return CLI_DONE;
}

int cli_listen(int argc, char **argv)
{
    struct options options;
    struct remote remote;
    struct listen listen = {.remote = &remote, .options = &options};
    int code;
    if (!cli_begin(&options, cli_listen_options, argc, argv, &code)) {
        return code;
    }
    code = prepare(&listen);
    if (code == CLI_DONE) {
        code = remote_open(&remote, &options) && remote_note_source(&remote, options.arguments[0],
                                                                    option_text(&options, "canvas"))
                   ? follow(&listen)
                   : CLI_FAILED;
        remote_fini(&remote);
    }
    options_fini(&options);
    return code;
}
