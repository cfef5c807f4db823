#include "cli/client.h"

#include "base/ct.h"
#include "cli/clock.h"
#include "http/parse.h"
#include "net/dns.h"
#include "ring/ring.h"
#include "tls/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_BYTES 65536U

struct call {
    const struct client_request *request;
    struct client_response *response;
    char *error;
    int64_t deadline_ms;
    int64_t watched_ms; /* when the watcher was told last; 0 = not yet */
    struct client_watch watch;
    int socket;
    struct tls_trust *trust;
    struct tls *tls; /* NULL = plain */
    uint8_t *wire;   /* READ_BYTES; what came and is not in the engine yet */
    size_t wire_at, wire_bytes;
};

__attribute__((format(printf, 2, 3))) static bool fail(char *error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(error, CLIENT_ERROR_BYTES, format, args);
    va_end(args);
    return false;
}

/* ---- URL */

static bool is_port(const char *text, size_t bytes)
{
    unsigned number = 0;
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] < '0' || text[i] > '9' || i == 5) {
            return false;
        }
        number = number * 10 + (unsigned)(text[i] - '0');
    }
    return bytes != 0 && number != 0 && number <= 65535;
}

bool client_url_parse(const char *text, struct client_url *ret_url, char error[CLIENT_ERROR_BYTES])
{
    ret_url->tls = slice_starts(slice_str(text), SLICE("https://"));
    if (!ret_url->tls && !slice_starts(slice_str(text), SLICE("http://"))) {
        return fail(error, "%.200s is not a URL; it begins with http:// or https://", text);
    }
    const char *authority = text + (ret_url->tls ? 8 : 7);
    size_t bytes = strcspn(authority, "/?#");
    bool bracket = authority[0] == '[';
    size_t host_bytes = bracket ? strcspn(authority, "]") : strcspn(authority, ":/?#");
    size_t end = bracket ? host_bytes + 1 : host_bytes;
    if (host_bytes <= bracket || end > bytes || host_bytes >= sizeof ret_url->host ||
        bytes >= 300 || memchr(authority, '@', bytes) != NULL) {
        return fail(error, "%.200s: the host is missing or malformed", text);
    }
    snprintf(ret_url->port, sizeof ret_url->port, "%s", ret_url->tls ? "443" : "80");
    if (end < bytes) {
        if (authority[end] != ':' || !is_port(authority + end + 1, bytes - end - 1)) {
            return fail(error, "%.200s: the port must be a number from 1 to 65535", text);
        }
        snprintf(ret_url->port, sizeof ret_url->port, "%.*s", (int)(bytes - end - 1),
                 authority + end + 1);
    }
    snprintf(ret_url->host, sizeof ret_url->host, "%.*s", (int)(host_bytes - bracket),
             authority + bracket);
    for (char *c = ret_url->host; *c != '\0'; c++) {
        *c = (char)ascii_lower((uint8_t)*c);
    }
    snprintf(ret_url->authority, sizeof ret_url->authority, "%.*s", (int)bytes, authority);
    ret_url->path = authority + bytes;
    for (const char *c = text; *c != '\0'; c++) {
        if ((unsigned char)*c <= ' ' || *c == 0x7f) {
            return fail(error, "the URL has a space or control character in it; write it as %%20");
        }
    }
    return true;
}

/* ---- socket */

#define WATCH_EVERY_MS 250

static void tell_watcher(struct call *call, int64_t at_ms)
{
    int64_t began_ms = call->deadline_ms - call->request->timeout_ms;
    if (at_ms - began_ms >= CLIENT_WATCH_MS && at_ms - call->watched_ms >= WATCH_EVERY_MS) {
        call->watched_ms = at_ms;
        call->watch.waited_ms = (unsigned)(at_ms - began_ms);
        call->request->watch(&call->watch);
    }
}

/* False when the time is up. */
static bool wait_for(struct call *call, short events)
{
    int64_t most_ms = call->request->watch ? WATCH_EVERY_MS : 60000;
    for (;;) {
        int64_t at_ms = clock_steady_ms(), left_ms = call->deadline_ms - at_ms;
        struct pollfd poll_for = {.fd = call->socket, .events = events};
        if (call->request->watch) {
            tell_watcher(call, at_ms);
        }
        int ready =
            left_ms <= 0 ? 0 : poll(&poll_for, 1, (int)(left_ms > most_ms ? most_ms : left_ms));
        if (ready > 0) {
            return true;
        }
        if (left_ms <= 0 || (ready < 0 && errno != EINTR)) {
            return false;
        }
    }
}

static bool time_is_up(const struct call *call)
{
    return fail(call->error, "%s did not answer within %u s", call->request->url->authority,
                call->request->timeout_ms / 1000);
}

static bool connect_one(struct call *call, const struct addrinfo *address, int *ret_errno)
{
    call->socket = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (call->socket < 0) {
        *ret_errno = errno;
        return false;
    }
    int on = 1;
    setsockopt(call->socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    *ret_errno = 0;
    if (connect(call->socket, address->ai_addr, address->ai_addrlen) != 0 && errno != EINPROGRESS) {
        *ret_errno = errno;
    } else if (!wait_for(call, POLLOUT)) {
        *ret_errno = ETIMEDOUT;
    } else {
        socklen_t bytes = sizeof *ret_errno;
        getsockopt(call->socket, SOL_SOCKET, SO_ERROR, ret_errno, &bytes);
    }
    if (*ret_errno != 0) {
        close(call->socket);
        call->socket = -1;
    }
    return *ret_errno == 0;
}

static bool connect_to(struct call *call, const char *host, int *ret_errno, int *ret_problem)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    bool connected = false;
    *ret_problem = getaddrinfo(host, call->request->url->port, &hints, &found);
    if (*ret_problem != 0) {
        return false;
    }
    for (struct addrinfo *at = found; at != NULL && !connected; at = at->ai_next) {
        connected = connect_one(call, at, ret_errno);
    }
    freeaddrinfo(found);
    return connected;
}

static bool connect_any(struct call *call)
{
    const struct client_url *url = call->request->url;
    int why = 0, problem = 0;
    /* Also where no hosts file says so: a container may have none. */
    bool connected = dns_is_localhost(url->host) ? connect_to(call, "::1", &why, &problem) ||
                                                       connect_to(call, "127.0.0.1", &why, &problem)
                                                 : connect_to(call, url->host, &why, &problem);
    if (connected) {
        return true;
    }
    if (problem != 0) {
        return fail(call->error, "cannot find the host %s: %s", url->host, gai_strerror(problem));
    }
    return fail(call->error, "cannot connect to %s: %s", url->authority,
                why == ECONNREFUSED ? "connection refused" : strerror(why));
}

static bool send_plain(struct call *call, struct slice bytes)
{
    while (bytes.bytes != 0) {
        ssize_t sent = send(call->socket, bytes.at, bytes.bytes, MSG_NOSIGNAL);
        if (sent > 0) {
            bytes = slice_skip(bytes, (size_t)sent);
            call->watch.sent += (size_t)sent;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            if (!wait_for(call, POLLOUT)) {
                return time_is_up(call);
            }
        } else if (errno == EPIPE || errno == ECONNRESET) {
            return true; /* it may have answered before it read all: see what it said */
        } else if (errno != EINTR) {
            return fail(call->error, "sending to %s failed: %s", call->request->url->authority,
                        strerror(errno));
        }
    }
    return true;
}

/* At most `room` bytes; *ret_bytes 0 at the end of the stream. */
static bool receive_plain(struct call *call, uint8_t *at, size_t room, size_t *ret_bytes)
{
    for (;;) {
        ssize_t bytes = recv(call->socket, at, room, 0);
        if (bytes >= 0) {
            *ret_bytes = (size_t)bytes;
            return true;
        }
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            if (!wait_for(call, POLLIN)) {
                return time_is_up(call);
            }
        } else if (errno != EINTR) {
            return fail(call->error, "%s closed the connection: %s", call->request->url->authority,
                        strerror(errno));
        }
    }
}

/* ---- TLS over it */

static bool tls_failed(struct call *call)
{
    const char *why = tls_why(call->tls);
    bool stranger = why && strstr(why, "trust");
    return fail(call->error, "%s: TLS: %s%s", call->request->url->authority,
                why ? why : "the peer closed the connection",
                stranger ? "; --ca-file FILE (PEM) says whom to trust besides" : "");
}

static bool tls_send_records(struct call *call)
{
    size_t bytes;
    const uint8_t *at;
    while ((at = tls_send_record_buf(call->tls, &bytes)) != NULL) {
        if (!send_plain(call, slice_of(at, bytes))) {
            return false;
        }
        tls_send_record_ack(call->tls, bytes);
    }
    return true;
}

/* Carries bytes both ways until the engine wants one of `wanted`, or is closed without an error. */
static bool tls_until(struct call *call, unsigned wanted)
{
    for (;;) {
        if (!tls_send_records(call)) {
            return false;
        }
        unsigned state = tls_state(call->tls);
        if (state & TLS_CLOSED) {
            return tls_err(call->tls) == BK_OK ? true : tls_failed(call);
        }
        if (state & wanted) {
            return true;
        }
        if (call->wire_bytes == 0) {
            call->wire_at = 0;
            if (!receive_plain(call, call->wire, READ_BYTES, &call->wire_bytes)) {
                return false;
            }
            if (call->wire_bytes == 0) {
                tls_recv_end(call->tls);
            }
        }
        size_t used = tls_recv_record(call->tls, call->wire + call->wire_at, call->wire_bytes);
        if (used == 0 && call->wire_bytes != 0 && tls_state(call->tls) == state) {
            return fail(call->error, "%s: TLS does not go on", call->request->url->authority);
        }
        call->wire_at += used;
        call->wire_bytes -= used;
    }
}

static bool tls_read_trust(struct call *call)
{
    char why[TLS_WHY_BYTES] = "out of memory";
    const char *ca_file = call->request->ca_file;
    if (tls_trust_open(&call->trust) != BK_OK) {
        return fail(call->error, "%s", why);
    }
    if (ca_file != NULL && tls_trust_add_file(call->trust, ca_file, why) != BK_OK) {
        return fail(call->error, "--ca-file: %s", why);
    }
    if (tls_trust_add_system(call->trust, why) != BK_OK && ca_file == NULL) {
        return fail(call->error, "%s", why);
    }
    return true;
}

static bool tls_start(struct call *call)
{
    uint8_t entropy[32];
    if (!call->request->url->tls) {
        return true;
    }
    if (!tls_read_trust(call)) {
        return false;
    }
    call->tls = calloc(1, tls_client_bytes());
    call->wire = malloc(READ_BYTES);
    if (call->tls == NULL || call->wire == NULL) {
        return fail(call->error, "out of memory");
    }
    ring_entropy(entropy, sizeof entropy);
    tls_client_begin(call->tls, call->trust, NULL, call->request->url->host, NULL, time(NULL),
                     entropy);
    bk_wipe(entropy, sizeof entropy);
    return tls_until(call, TLS_SEND_APP) && (tls_is_open(call->tls) || tls_failed(call));
}

/* Says goodbye when nothing went wrong; nobody waits for an answer. */
static void tls_stop(struct call *call, bool done)
{
    if (call->tls != NULL && done) {
        tls_close(call->tls);
        (void)tls_send_records(call);
    }
    if (call->tls != NULL) {
        tls_end(call->tls);
    }
    free(call->tls);
    free(call->wire);
    tls_trust_close(call->trust);
}

static bool send_all(struct call *call, struct slice bytes)
{
    if (call->tls == NULL) {
        return send_plain(call, bytes);
    }
    while (bytes.bytes != 0) {
        size_t room;
        if (!tls_until(call, TLS_SEND_APP | TLS_RECV_APP)) {
            return false;
        }
        uint8_t *at = tls_send_app_buf(call->tls, &room);
        if (at == NULL) {
            return true; /* closed, or it answers already: see what it said */
        }
        size_t count = bytes.bytes < room ? bytes.bytes : room;
        memcpy(at, bytes.at, count);
        tls_send_app_ack(call->tls, count);
        call->watch.sent += count;
        bytes = slice_skip(bytes, count);
    }
    tls_flush(call->tls);
    return tls_send_records(call);
}

static bool receive_tls(struct call *call, uint8_t *at, size_t room, size_t *ret_bytes)
{
    size_t bytes;
    if (!tls_until(call, TLS_RECV_APP)) {
        return false;
    }
    const uint8_t *from = tls_recv_app_buf(call->tls, &bytes);
    *ret_bytes = 0;
    if (from != NULL) {
        *ret_bytes = bytes < room ? bytes : room;
        memcpy(at, from, *ret_bytes);
        tls_recv_app_ack(call->tls, *ret_bytes);
    }
    return true;
}

/* At most READ_BYTES more into `buf`; *ret_bytes 0 at the end of the stream. */
static bool receive(struct call *call, struct buf *buf, size_t *ret_bytes)
{
    uint8_t *at = buf_reserve(buf, READ_BYTES);
    if (at == NULL) {
        return fail(call->error, "the answer of %s is too large", call->request->url->authority);
    }
    bool received = call->tls != NULL ? receive_tls(call, at, READ_BYTES, ret_bytes)
                                      : receive_plain(call, at, READ_BYTES, ret_bytes);
    buf->bytes += received ? *ret_bytes : 0;
    call->watch.received += received ? *ret_bytes : 0;
    return received;
}

/* ---- request and answer */

static bool send_request(struct call *call)
{
    const struct client_request *request = call->request;
    const char *target = request->target ? request->target : request->url->path;
    struct buf head;
    buf_init(&head, 1U << 20);
    buf_printf(&head, "%s %s%.*s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n", request->method,
               target[0] == '/' ? "" : "/", (int)strcspn(target, "#"), target,
               request->url->authority);
    buf_add_slice(&head, request->headers);
    if (request->body.bytes != 0 || strcmp(request->method, "POST") == 0 ||
        strcmp(request->method, "PUT") == 0) {
        buf_printf(&head, "Content-Length: %zu\r\n", request->body.bytes);
    }
    buf_add_str(&head, "\r\n");
    call->watch.to_send = head.bytes + request->body.bytes;
    bool sent = head.overflow ? fail(call->error, "the request's headers are too long")
                              : send_all(call, buf_slice(&head)) && send_all(call, request->body);
    buf_fini(&head);
    return sent;
}

/* The final head; what follows it is moved to the body. */
static bool receive_head(struct call *call)
{
    struct client_response *response = call->response;
    struct buf *raw = &response->raw;
    for (;;) {
        enum http_parse parsed = raw->bytes == 0
                                     ? HTTP_PARSE_PARTIAL
                                     : http_parse_response(raw->at, raw->bytes, &response->head);
        if (parsed == HTTP_PARSE_DONE && response->head.status >= 200) {
            break;
        }
        if (parsed == HTTP_PARSE_DONE) { /* 100 Continue and the like */
            memmove(raw->at, raw->at + response->head.head_bytes,
                    raw->bytes - response->head.head_bytes);
            raw->bytes -= response->head.head_bytes;
            continue;
        }
        size_t bytes;
        if (parsed != HTTP_PARSE_PARTIAL) {
            return fail(call->error, "%s does not answer as a web server does: %s",
                        call->request->url->authority, http_parse_text(parsed));
        }
        if (!receive(call, raw, &bytes)) {
            return false;
        }
        if (bytes == 0) {
            return fail(call->error, "%s closed the connection without an answer%s",
                        call->request->url->authority,
                        call->tls == NULL ? "; is it https://?" : "");
        }
    }
    response->status = response->head.status;
    buf_add(&response->body, raw->at + response->head.head_bytes,
            raw->bytes - response->head.head_bytes);
    return true;
}

static bool cut_off(const struct call *call)
{
    return fail(call->error, "the answer of %s was cut off", call->request->url->authority);
}

static bool receive_chunked(struct call *call)
{
    struct buf *body = &call->response->body;
    struct http_chunked chunked;
    size_t done = 0; /* decoded bytes at the front */
    http_chunked_init(&chunked);
    for (;;) {
        size_t bytes = body->bytes - done, consumed;
        enum http_parse parsed =
            http_chunked_decode(&chunked, body->at ? body->at + done : NULL, &bytes, &consumed);
        body->bytes = done + bytes;
        done = body->bytes;
        if (parsed == HTTP_PARSE_DONE) {
            return true;
        }
        if (parsed != HTTP_PARSE_PARTIAL) {
            return fail(call->error, "the answer of %s is malformed",
                        call->request->url->authority);
        }
        if (!receive(call, body, &bytes)) {
            return false;
        }
        if (bytes == 0) {
            return cut_off(call);
        }
    }
}

static bool receive_body(struct call *call)
{
    struct client_response *response = call->response;
    struct buf *body = &response->body;
    const struct http_head *head = &response->head;
    bool none =
        strcmp(call->request->method, "HEAD") == 0 || head->status == 204 || head->status == 304;
    if (none) {
        buf_reset(body);
        return true;
    }
    if (head->chunked) {
        return receive_chunked(call);
    }
    size_t bytes = 1;
    while (bytes != 0 && (!head->has_content_length || body->bytes < head->content_length)) {
        if (!receive(call, body, &bytes)) {
            return false;
        }
    }
    if (head->has_content_length && body->bytes < head->content_length) {
        return cut_off(call);
    }
    body->bytes = head->has_content_length ? (size_t)head->content_length : body->bytes;
    return true;
}

bool client_call(const struct client_request *request, struct client_response *ret_response,
                 char error[CLIENT_ERROR_BYTES])
{
    memset(ret_response, 0, sizeof *ret_response);
    buf_init(&ret_response->raw, HTTP_HEAD_BYTES_MAX + 2 * READ_BYTES);
    buf_init(&ret_response->body, request->body_bytes_max + 2 * READ_BYTES);
    struct call call = {.request = request,
                        .response = ret_response,
                        .error = error,
                        .deadline_ms = clock_steady_ms() + request->timeout_ms,
                        .socket = -1};
    bool done = connect_any(&call) && tls_start(&call) && send_request(&call) &&
                receive_head(&call) && receive_body(&call);
    tls_stop(&call, done);
    if (call.socket >= 0) {
        close(call.socket);
    }
    if (done && ret_response->body.bytes > request->body_bytes_max) {
        return fail(error, "the answer of %s is too large", request->url->authority);
    }
    return done;
}

void client_response_fini(struct client_response *response)
{
    buf_fini(&response->raw);
    buf_fini(&response->body);
}
