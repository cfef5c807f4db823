/* Description: the HTTP client on a real ring. Without arguments it tests itself against a small
 * server of its own; with --script FILE it is the hand by which tests/wire/c*.t makes calls:
 *
 *     call ID URL [key=value ...]   start a call; lines of data until the next command are none
 *     wait                          until all calls are done
 *     sleep MS
 *     cancel ID
 *
 * Each call that ends prints one line: ID err stage status body_bytes kept_bytes cut reused
 * repeated "why" and the kept body in hex. */
#include "base/hex.h"
#include "http/client.h"
#include "http/proxy.h"
#include "http/write.h"
#include "net/dns.h"
#include "tls/tls.h"
#include "tap.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#define MS        1000000ULL
#define CALLS_MAX 4096U
#define BODY_MAX  (64U << 20)

static struct ring *ring;
static struct timer_wheel wheel;
static struct buffers buffers;
static struct http_client *client;
static struct http_client_config config;
static struct http_proxy proxy;
static struct resolver *resolver; /* with --resolver */
static struct ring_address dns_server;
static uint8_t *body_bytes;
static size_t body_filled; /* most scripts send few bytes, and all of it takes long to write */

/* ---- calls */

struct job {
    struct http_call call;
    struct http_origin origin;
    char id[32];
    uint8_t head[12000];
    bool done;
    bool print;
    bool stop_body; /* on_body says enough */
    unsigned pieces;
    unsigned rounds; /* start again from done() so many times */
    uint64_t streamed;
    /* a copy of the answer */
    struct http_reply reply;
    uint8_t body[4096];
};

static struct job *jobs[CALLS_MAX];
static unsigned job_count, jobs_open;
static bool waited;

static void job_print(const struct job *job)
{
    static char hex[2 * sizeof job->body + 1];
    const struct http_reply *reply = &job->reply;
    size_t shown = reply->body.bytes < sizeof job->body ? reply->body.bytes : sizeof job->body;
    hex_encode(job->body, shown, hex);
    hex[2 * shown] = '\0';
    printf("%s %s %s %u %llu %zu %d %d %d %llu \"%s\" %s\n", job->id, bk_err_name(reply->err),
           http_stage_text(reply->stage), reply->status, (unsigned long long)reply->body_bytes,
           reply->body.bytes, reply->body_cut, reply->reused, job->call.repeated,
           (unsigned long long)(reply->total_ns / MS), reply->why, hex);
    fflush(stdout);
}

static void job_done(struct http_call *call)
{
    struct job *job = call->context;
    bk_assert(!job->done && !http_call_busy(call));
    if (job->rounds > 0 && call->reply.err == BK_OK) {
        job->rounds--;
        http_call_start(client, call);
        return;
    }
    job->done = true;
    jobs_open--;
    job->reply = call->reply;
    if (call->reply.body.bytes > 0) {
        memcpy(job->body, call->reply.body.at,
               call->reply.body.bytes < sizeof job->body ? call->reply.body.bytes
                                                         : sizeof job->body);
    }
    if (call->reply.err == BK_OK) {
        bk_assert(call->reply.head && call->reply.head->status == call->reply.status);
        bk_assert(call->reply.stage == HTTP_STAGE_DONE && call->reply.why[0] == '\0');
        for (unsigned i = 0; i < call->reply.head->header_count; i++) { /* readable still */
            (void)http_header_value(call->reply.head, &call->reply.head->headers[i]);
        }
    } else {
        bk_assert(call->reply.why[0] != '\0' &&
                  !call->reply.head == (call->reply.err != BK_TOO_LARGE));
    }
    if (job->print) {
        job_print(job);
    }
}

static bool job_body(struct http_call *call, struct slice piece)
{
    struct job *job = call->context;
    job->pieces++;
    job->streamed += piece.bytes;
    return !job->stop_body;
}

static struct job *job_new(const char *url_text, const char *method, size_t bytes)
{
    struct job *job = calloc(1, sizeof *job);
    struct http_write write;
    struct slice head;
    struct url url;
    const char *why = "";

    bk_assert(job && job_count < CALLS_MAX);
    jobs[job_count++] = job;
    if (url_parse(slice_str(url_text), &url, &why) != BK_OK) {
        bail_out("%s: %s", url_text, why);
    }
    http_origin_from_url(&job->origin, &url);
    job->origin.allow_private = true;
    http_origin_init(&job->origin);
    http_write_init(&write, job->head, sizeof job->head);
    http_write_request(&write, slice_str(method), &job->origin, url.path, url.query);
    if (bytes > 0) {
        http_write_header_number(&write, SLICE("Content-Length"), bytes);
    }
    if (http_write_end(&write, &head) != BK_OK) {
        bail_out("head of %s", url_text);
    }
    job->call.origin = &job->origin;
    job->call.pieces[0] = head;
    bk_assert(bytes <= BODY_MAX);
    for (; body_filled < bytes; body_filled++) {
        body_bytes[body_filled] = (uint8_t)('a' + body_filled % 26);
    }
    job->call.pieces[1] = slice_of(body_bytes, bytes);
    job->call.piece_count = bytes > 0 ? 2 : 1;
    job->call.head_method = strcmp(method, "HEAD") == 0;
    job->call.keep_body_bytes = 4096;
    job->call.done = job_done;
    job->call.context = job;
    return job;
}

static void job_start(struct job *job)
{
    job->done = false;
    jobs_open++;
    http_call_start(client, &job->call);
}

/* ---- the loop */

static void turn(uint64_t until_ns)
{
    uint64_t next_ns = timer_wheel_next_ns(&wheel);
    ring_turn(ring, next_ns < until_ns ? next_ns : until_ns);
    timer_wheel_run(&wheel, ring_now_ns(ring));
    http_client_flush(client);
}

static void turn_for(unsigned ms)
{
    uint64_t until_ns = ring_now_ns(ring) + ms * MS;
    http_client_flush(client); /* calls that were started between turns */
    while (ring_now_ns(ring) < until_ns) {
        turn(until_ns);
    }
}

static bool wait_all(unsigned ms)
{
    uint64_t until_ns = ring_now_ns(ring) + ms * MS;
    http_client_flush(client);
    while (jobs_open > 0 && ring_now_ns(ring) < until_ns) {
        turn(until_ns);
    }
    return jobs_open == 0;
}

static void jobs_free(void)
{
    for (unsigned i = 0; i < job_count; i++) {
        free(jobs[i]);
    }
    job_count = 0;
}

static void open_client(void)
{
    struct ring_config ring_config = {.entries = 256,
                                      .handles_max = 2048,
                                      .recv_buffers = 64,
                                      .recv_buffer_bytes = 16384,
                                      .cpu = -1};
    const char *why = "";
    enum bk_err err = ring_open(&ring_config, &ring, &why);
    if (err == BK_PERMISSION) {
        skip_all("%s", why);
    }
    bk_assert(err == BK_OK);
    timer_wheel_init(&wheel, ring_now_ns(ring));
    buffers_init(&buffers, 256U << 20);
    body_bytes = malloc(BODY_MAX);
    bk_assert(body_bytes);
    body_filled = 0;
    if (dns_server.family != 0) {
        struct resolver_config dns = {.ring = ring,
                                      .wheel = &wheel,
                                      .servers = &dns_server,
                                      .server_count = 1,
                                      .timeout_ms = 300,
                                      .tries = 2};
        bk_assert(resolver_open(&dns, &resolver, &why) == BK_OK);
        config.resolver = resolver;
    }
    bk_assert(http_client_open(ring, &wheel, &buffers, &config, &client) == BK_OK);
}

static bool close_client(void)
{
    http_client_drain(client);
    uint64_t until_ns = ring_now_ns(ring) + 5000 * MS;
    while (!http_client_idle(client) && ring_now_ns(ring) < until_ns) {
        turn(ring_now_ns(ring) + 10 * MS);
    }
    bool idle = http_client_idle(client);
    if (idle && resolver) {
        resolver_stop(resolver);
        while (!resolver_idle(resolver) && ring_now_ns(ring) < until_ns) {
            turn(ring_now_ns(ring) + 10 * MS);
        }
        idle = resolver_idle(resolver);
    }
    turn(ring_now_ns(ring) + MS);
    if (idle) {
        http_client_close(client);
        if (resolver) {
            resolver_close(resolver);
        }
        buffers_fini(&buffers);
        ring_close(ring);
    }
    free(body_bytes);
    return idle;
}

/* ---- as a hand of scripts */

static struct job *job_of(const char *id)
{
    for (unsigned i = job_count; i > 0; i--) {
        if (strcmp(jobs[i - 1]->id, id) == 0) {
            return jobs[i - 1];
        }
    }
    bail_out("no call %s", id);
}

static uint64_t number_of(const char *text)
{
    return strtoull(text, NULL, 10);
}

static void script_call(char *words)
{
    char *save = NULL;
    char *id = strtok_r(words, " ", &save), *url = strtok_r(NULL, " ", &save);
    const char *method = "GET";
    size_t bytes = 0;
    struct http_call set = {.keep_body_bytes = 4096};
    bool private = true, stream = false, stop = false;
    unsigned times = 1, rounds = 0;
    for (char *word; (word = strtok_r(NULL, " ", &save)) != NULL;) {
        char *value = strchr(word, '=');
        bk_assert(value);
        *value++ = '\0';
        uint64_t number = number_of(value);
        if (strcmp(word, "method") == 0) {
            method = value;
        } else if (strcmp(word, "bytes") == 0) {
            bytes = number;
        } else if (strcmp(word, "keep") == 0) {
            set.keep_body_bytes = (uint32_t)number;
        } else if (strcmp(word, "max") == 0) {
            set.body_bytes_max = number;
        } else if (strcmp(word, "timeout") == 0) {
            set.timeout_ms = (uint32_t)number;
        } else if (strcmp(word, "first") == 0) {
            set.first_byte_timeout_ms = (uint32_t)number;
        } else if (strcmp(word, "connect") == 0) {
            set.connect_timeout_ms = (uint32_t)number;
        } else if (strcmp(word, "repeatable") == 0) {
            set.repeatable = number != 0;
        } else if (strcmp(word, "private") == 0) {
            private = number != 0;
        } else if (strcmp(word, "stream") == 0) {
            stream = true;
            stop = strcmp(value, "stop") == 0;
        } else if (strcmp(word, "rounds") == 0) {
            rounds = (unsigned)number;
        } else if (strcmp(word, "times") == 0) {
            times = (unsigned)number;
        } else {
            bail_out("what is %s?", word);
        }
    }
    for (unsigned i = 0; i < times; i++) {
        struct job *job = job_new(url, method, bytes);
        job->call.keep_body_bytes = set.keep_body_bytes;
        job->call.body_bytes_max = set.body_bytes_max;
        job->call.timeout_ms = set.timeout_ms;
        job->call.first_byte_timeout_ms = set.first_byte_timeout_ms;
        job->call.connect_timeout_ms = set.connect_timeout_ms;
        job->call.repeatable = set.repeatable;
        job->call.on_body = stream ? job_body : NULL;
        job->stop_body = stop;
        job->rounds = rounds;
        job->origin.allow_private = private;
        http_origin_init(&job->origin);
        job->print = true;
        snprintf(job->id, sizeof job->id, "%s", id);
        job_start(job);
    }
}

static void script_run(FILE *script)
{
    static char line[20000];
    turn(0); /* the clock is as old as the last turn */
    while (fgets(line, sizeof line, script)) {
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, "call ", 5) == 0) {
            script_call(line + 5);
        } else if (strcmp(line, "wait") == 0) {
            if (!wait_all(60000)) {
                bail_out("calls hang");
            }
            jobs_free();
        } else if (strncmp(line, "sleep ", 6) == 0) {
            turn_for((unsigned)number_of(line + 6));
        } else if (strncmp(line, "cancel ", 7) == 0) {
            http_call_cancel(client, &job_of(line + 7)->call);
        } else if (line[0] != '\0') {
            bail_out("what is %s?", line);
        }
    }
    if (!wait_all(60000)) {
        bail_out("calls hang");
    }
}

static int script_main(int argc, char **argv)
{
    const char *http_proxy = NULL, *https_proxy = NULL, *no_proxy = NULL, *why = "";
    FILE *script = NULL;
    struct tls_trust *trust = NULL;
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *value = argv[i + 1];
        if (strcmp(argv[i], "--script") == 0) {
            script = strcmp(value, "-") == 0 ? stdin : fopen(value, "r");
        } else if (strcmp(argv[i], "--http-proxy") == 0) {
            http_proxy = value;
        } else if (strcmp(argv[i], "--https-proxy") == 0) {
            https_proxy = value;
        } else if (strcmp(argv[i], "--no-proxy") == 0) {
            no_proxy = value;
        } else if (strcmp(argv[i], "--ca") == 0) {
            static char trust_why[TLS_WHY_BYTES];
            if (tls_trust_open(&trust) != BK_OK ||
                tls_trust_add_file(trust, value, trust_why) != BK_OK) {
                bail_out("%s", trust_why);
            }
            config.trust = trust;
        } else if (strcmp(argv[i], "--per-origin") == 0) {
            config.conns_per_origin_max = (unsigned)number_of(value);
        } else if (strcmp(argv[i], "--conns") == 0) {
            config.conns_max = (unsigned)number_of(value);
        } else if (strcmp(argv[i], "--resolver") == 0) {
            bk_assert(address_parse_port(slice_str(value), 53, &dns_server));
        } else if (strcmp(argv[i], "--idle") == 0) {
            config.idle_timeout_ms = (uint32_t)number_of(value);
        } else {
            bail_out("what is %s?", argv[i]);
        }
    }
    if (!script) {
        bail_out("no script");
    }
    if (http_proxy || https_proxy) {
        if (http_proxy_init(&proxy, http_proxy, https_proxy, no_proxy, &why) != BK_OK) {
            bail_out("%s", why);
        }
        config.proxy = &proxy;
    }
    open_client();
    script_run(script);
    const struct http_client_stats *stats = http_client_stats(client);
    printf("stats dials=%llu reused=%llu repeated=%llu stale=%llu open=%llu\n",
           (unsigned long long)stats->dials, (unsigned long long)stats->reused,
           (unsigned long long)stats->repeated, (unsigned long long)stats->stale_closed,
           (unsigned long long)stats->conns_open);
    jobs_free();
    bool closed = close_client();
    tls_trust_close(trust);
    printf("closed %d\n", closed);
    return closed ? 0 : 1;
}

/* ---- a small server: a thread per connection, the path says what to answer */

static int server_fd;
static uint16_t server_port;

struct request {
    char path[64];
    size_t content_length;
    size_t here; /* bytes of the body that came with the head */
};

static bool server_read_request(int fd, struct request *request)
{
    char text[16384];
    size_t bytes = 0;
    char *end;
    do {
        ssize_t got = read(fd, text + bytes, sizeof text - 1 - bytes);
        if (got <= 0) {
            return false;
        }
        bytes += (size_t)got;
        text[bytes] = '\0';
        end = strstr(text, "\r\n\r\n");
    } while (!end && bytes < sizeof text - 1);
    const char *path = strchr(text, ' ') + 1;
    size_t path_bytes = strcspn(path, " ");
    snprintf(request->path, sizeof request->path, "%.*s", (int)path_bytes, path);
    const char *length = strstr(text, "Content-Length: ");
    request->content_length = length ? strtoul(length + 16, NULL, 10) : 0;
    request->here = bytes - (size_t)(end + 4 - text);
    for (size_t left = request->content_length - request->here; left > 0;) {
        ssize_t got = read(fd, text, left < sizeof text ? left : sizeof text);
        if (got <= 0) {
            return false;
        }
        left -= (size_t)got;
    }
    return true;
}

static void say(int fd, const char *text, size_t bytes)
{
    while (bytes > 0) {
        ssize_t sent = send(fd, text, bytes, MSG_NOSIGNAL);
        if (sent <= 0) {
            return;
        }
        text += sent;
        bytes -= (size_t)sent;
    }
}

static void server_big(int fd, size_t size, bool chunked)
{
    char head[200], chunk[16];
    static char piece[7777];
    memset(piece, 'x', sizeof piece);
    int bytes = chunked ? snprintf(head, sizeof head,
                                   "HTTP/1.1 200 OK\r\n"
                                   "Transfer-Encoding: chunked\r\n\r\n")
                        : snprintf(head, sizeof head,
                                   "HTTP/1.1 200 OK\r\nContent-Length: %zu"
                                   "\r\n\r\n",
                                   size);
    say(fd, head, (size_t)bytes);
    while (size > 0) {
        size_t now = size < sizeof piece ? size : sizeof piece;
        if (chunked) {
            say(fd, chunk, (size_t)snprintf(chunk, sizeof chunk, "%zx\r\n", now));
        }
        say(fd, piece, now);
        if (chunked) {
            say(fd, "\r\n", 2);
        }
        size -= now;
    }
    if (chunked) {
        say(fd, "0\r\n\r\n", 5);
    }
}

#define SAY(fd, literal) say((fd), (literal), sizeof(literal) - 1)

static bool server_answer(int fd, const struct request *request)
{
    const char *path = request->path;
    char head[200];
    if (strcmp(path, "/close") == 0) {
        SAY(fd, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
        return false;
    }
    if (strcmp(path, "/until-close") == 0) {
        SAY(fd, "HTTP/1.0 200 OK\r\n\r\nuntil the end");
        return false;
    }
    if (strcmp(path, "/bye") == 0) { /* keeps its word for one answer only */
        SAY(fd, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbye");
        return false;
    }
    if (strcmp(path, "/204") == 0) {
        SAY(fd, "HTTP/1.1 204 No Content\r\n\r\n");
    } else if (strcmp(path, "/interim") == 0) {
        SAY(fd, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    } else if (strcmp(path, "/chunked") == 0) {
        SAY(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
                "6;x=y\r\n world\r\n0\r\nTrailer: t\r\n\r\n");
    } else if (strcmp(path, "/big") == 0 || strcmp(path, "/big-chunked") == 0) {
        server_big(fd, 3000000, path[4] != '\0');
    } else if (strcmp(path, "/dribble") == 0) {
        static const char text[] = "HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 5\r\n\r\nhello";
        for (size_t i = 0; i < sizeof text - 1; i++) {
            say(fd, text + i, 1);
            usleep(200);
        }
    } else {
        int bytes = snprintf(head, sizeof head,
                             "HTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\n"
                             "%021zu",
                             request->content_length);
        say(fd, head, (size_t)bytes);
    }
    return true;
}

static void *server_connection(void *context)
{
    int fd = (int)(intptr_t)context;
    struct request request;
    while (server_read_request(fd, &request) && server_answer(fd, &request)) {
    }
    close(fd);
    return NULL;
}

static void *server_main(void *context)
{
    (void)context;
    for (;;) {
        int fd = accept(server_fd, NULL, NULL);
        pthread_t thread;
        if (fd < 0) {
            return NULL;
        }
        bk_assert(pthread_create(&thread, NULL, server_connection, (void *)(intptr_t)fd) == 0);
        pthread_detach(thread);
    }
}

static pthread_t server_start(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof address;
    pthread_t thread;
    server_fd = socket(AF_INET, SOCK_STREAM, 0);
    bk_assert(bind(server_fd, (struct sockaddr *)&address, sizeof address) == 0);
    bk_assert(listen(server_fd, 100) == 0);
    bk_assert(getsockname(server_fd, (struct sockaddr *)&address, &bytes) == 0);
    server_port = ntohs(address.sin_port);
    bk_assert(pthread_create(&thread, NULL, server_main, NULL) == 0);
    return thread;
}

/* ---- tests */

static const char *url_of(const char *path)
{
    static char text[200];
    snprintf(text, sizeof text, "http://127.0.0.1:%u%s", server_port, path);
    return text;
}

static struct job *get(const char *path, const char *method, size_t bytes)
{
    struct job *job = job_new(url_of(path), method, bytes);
    job_start(job);
    if (!wait_all(10000)) {
        bail_out("%s hangs", path);
    }
    return job;
}

static bool answered(const struct job *job, unsigned status, const char *body)
{
    const struct http_reply *reply = &job->reply;
    bool good = reply->err == BK_OK && reply->status == status &&
                reply->body.bytes == strlen(body) && reply->body_bytes == strlen(body) &&
                memcmp(job->body, body, strlen(body)) == 0 && !reply->body_cut;
    if (!good) {
        diag("%s at %s, status %u, %zu bytes: %s", bk_err_name(reply->err),
             http_stage_text(reply->stage), reply->status, reply->body.bytes, reply->why);
    }
    return good;
}

static void test_answers(void)
{
    struct job *job = get("/", "GET", 0);
    ok(answered(job, 200, "000000000000000000000"), "a GET");
    ok(!job->reply.reused && job->reply.total_ns > 0 && job->reply.peer.port == server_port,
       "on a new connection, with its time and the peer's address");
    job = get("/", "POST", 1000);
    ok(answered(job, 200, "000000000000000001000"), "a POST of 1000 bytes");
    ok(job->reply.reused, "on the same connection");
    job = get("/", "POST", 5000000);
    ok(answered(job, 200, "000000000000005000000"), "a POST of 5 MB");
    ok(answered(get("/", "HEAD", 0), 200, ""), "HEAD has a length but no body");
    ok(answered(get("/204", "DELETE", 0), 204, ""), "204");
    ok(answered(get("/interim", "GET", 0), 200, "ok"), "interim answers are passed over");
    ok(answered(get("/chunked", "GET", 0), 200, "hello world"), "chunks");
    ok(answered(get("/dribble", "GET", 0), 200, "hello"), "a byte at a time");
    job = get("/close", "GET", 0);
    ok(answered(job, 200, "ok") && job->reply.reused, "Connection: close");
    job = get("/until-close", "GET", 0);
    ok(answered(job, 200, "until the end") && !job->reply.reused,
       "an answer that ends with the connection, on a new one");
    job = get("/", "GET", 0);
    ok(answered(job, 200, "000000000000000000000") && !job->reply.reused, "and a new one again");
    jobs_free();
}

static void test_large_answers(void)
{
    static const char *const paths[] = {"/big", "/big-chunked"};
    for (unsigned i = 0; i < 2; i++) {
        struct job *job = get(paths[i], "GET", 0);
        ok(job->reply.err == BK_OK && job->reply.body_bytes == 3000000 &&
               job->reply.body.bytes == 4096 && job->reply.body_cut,
           "%s: the first 4096 bytes of 3 MB are kept", paths[i]);
        job = job_new(url_of(paths[i]), "GET", 0);
        job->call.keep_body_bytes = 4000000;
        job_start(job);
        waited = wait_all(10000);
        ok(waited && job->reply.err == BK_OK && job->reply.body.bytes == 3000000 &&
               !job->reply.body_cut && job->reply.reused,
           "all of it, on the same connection");
        job = job_new(url_of(paths[i]), "GET", 0);
        job->call.on_body = job_body;
        job->call.keep_body_bytes = 0;
        job_start(job);
        bool streamed = wait_all(10000) && job->reply.err == BK_OK && job->streamed == 3000000;
        ok(streamed && job->reply.body.bytes == 0 && job->pieces > 100, "streamed in %u pieces",
           job->pieces);
        job = job_new(url_of(paths[i]), "GET", 0);
        job->call.on_body = job_body;
        job->stop_body = true;
        job_start(job);
        waited = wait_all(10000);
        ok(waited && job->reply.err == BK_CANCELLED && job->pieces == 1,
           "a consumer that has enough: %s", job->reply.why);
        job = job_new(url_of(paths[i]), "GET", 0);
        job->call.body_bytes_max = 2999999;
        job_start(job);
        waited = wait_all(10000);
        ok(waited && job->reply.err == BK_TOO_LARGE && job->reply.status == 200,
           "over the limit: %s", job->reply.why);
    }
    jobs_free();
}

static void test_again(void)
{
    struct job *job = job_new(url_of("/"), "POST", 10);
    uint64_t reused = http_client_stats(client)->reused;
    job->rounds = 500;
    job_start(job);
    ok(wait_all(20000) && job->rounds == 0 && answered(job, 200, "000000000000000000010") &&
           http_client_stats(client)->reused - reused >= 500,
       "a call may be started again from its done(), 500 times");
    jobs_free();
}

static void test_many(void)
{
    enum { COUNT = 1000 };
    uint64_t dials = http_client_stats(client)->dials;
    unsigned good = 0;
    for (unsigned i = 0; i < COUNT; i++) {
        job_start(job_new(url_of("/"), "POST", 100 + i));
    }
    ok(wait_all(20000), "a thousand calls at once");
    for (unsigned i = 0; i < job_count; i++) {
        char want[32];
        snprintf(want, sizeof want, "%021u", 100 + i);
        good += answered(jobs[i], 200, want);
    }
    is_uint(good, COUNT, "all are answered");
    ok(http_client_stats(client)->dials - dials <= config.conns_per_origin_max,
       "by no more connections than one origin may have");
    jobs_free();
}

/* The server closes after each answer without saying so. */
static void test_stale(void)
{
    unsigned good = 0, repeated = 0;
    for (unsigned i = 0; i < 200; i++) {
        struct job *job = job_new(url_of("/bye"), "POST", 10);
        job->call.repeatable = true;
        job_start(job);
        if (!wait_all(10000)) {
            bail_out("/bye hangs");
        }
        good += answered(job, 200, "bye");
        repeated += job->call.repeated;
    }
    is_uint(good, 200, "a server that closes after each answer: no call is lost");
    diag("%u were sent twice, %llu connections were seen closing while idle", repeated,
         (unsigned long long)http_client_stats(client)->stale_closed);
    jobs_free();
}

static void test_refused(void)
{
    struct job *job = job_new("http://127.0.0.1:1/", "GET", 0);
    job_start(job);
    waited = wait_all(10000);
    ok(waited && job->reply.err == BK_REFUSED && job->reply.stage == HTTP_STAGE_CONNECT,
       "nobody listens: %s", job->reply.why);
    job = job_new(url_of("/"), "GET", 0);
    job->origin.allow_private = false;
    http_origin_init(&job->origin);
    job_start(job);
    waited = wait_all(10000);
    ok(waited && job->reply.err == BK_FORBIDDEN && job->reply.stage == HTTP_STAGE_POLICY,
       "a private address: %s", job->reply.why);
    job = job_new(url_of("/"), "GET", 0);
    job_start(job);
    http_call_cancel(client, &job->call);
    ok(!job->done && wait_all(1000) && job->reply.err == BK_CANCELLED, "cancelled at once");
    for (unsigned ms = 0; ms < 4; ms++) {
        job = job_new(url_of("/big"), "POST", 5000000);
        job_start(job);
        turn_for(ms);
        bool early = job->done;
        http_call_cancel(client, &job->call);
        ok((early || !job->done) && wait_all(1000) &&
               (job->reply.err == BK_CANCELLED || job->reply.err == BK_OK),
           "cancelled after %u ms: %s", ms, job->reply.why);
    }
    jobs_free();
}

/* ---- servers whose queue of connections is full: who connects waits */

#define FULL_FDS 4

struct full {
    int listener;
    uint16_t port;
    int fds[FULL_FDS];
};

static void full_open(struct full *full)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof address;
    full->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    bk_assert(bind(full->listener, (struct sockaddr *)&address, sizeof address) == 0);
    bk_assert(listen(full->listener, 0) == 0);
    bk_assert(getsockname(full->listener, (struct sockaddr *)&address, &bytes) == 0);
    full->port = ntohs(address.sin_port);
}

static void full_fill(struct full *full)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons(full->port)};
    for (unsigned i = 0; i < FULL_FDS; i++) {
        full->fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)!connect(full->fds[i], (struct sockaddr *)&address, sizeof address);
    }
}

static void full_close(struct full *full)
{
    for (unsigned i = 0; i < FULL_FDS; i++) {
        close(full->fds[i]);
    }
    close(full->listener);
}

static struct job *full_get(const struct full *full, uint32_t timeout_ms)
{
    char text[100];
    snprintf(text, sizeof text, "http://127.0.0.1:%u/", full->port);
    struct job *job = job_new(text, "GET", 0);
    job->call.timeout_ms = timeout_ms;
    job_start(job);
    return job;
}

static bool full_serve_one(const struct full *full)
{
    struct job *job = full_get(full, 5000);
    int fd = -1;
    while (fd < 0 && !job->done) {
        turn_for(1);
        fd = accept(full->listener, NULL, NULL);
    }
    SAY(fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    bool good = wait_all(5000) && answered(job, 200, "ok");
    close(fd);
    return good;
}

/* Where a call ends that is given 20 ms, while another origin's dial has the only place. */
static enum http_stage stage_beside(const struct full *full, const struct full *other)
{
    for (unsigned tries = 0; tries < 10; tries++) {
        uint64_t began_ns = ring_now_ns(ring);
        struct job *job_other = full_get(other, 5000);
        turn_for(1);
        struct job *job = full_get(full, 20);
        while (!job->done) {
            turn_for(1);
        }
        bool in_time = ring_now_ns(ring) - began_ns < 200 * MS; /* later it has no place */
        http_call_cancel(client, &job_other->call);
        waited = wait_all(1000);
        if (in_time) {
            return job->reply.stage;
        }
    }
    bail_out("the machine is too slow");
}

/* Who was reached the last time needs none of the places of those that are being opened. A dial
 * that is given up with the call that waited for it did not reach anybody. */
static void test_given_up(void)
{
    struct full full, other;
    struct http_client *before = client;
    struct http_client_config narrow = config;
    narrow.dials_max = 1;
    bk_assert(http_client_open(ring, &wheel, &buffers, &narrow, &client) == BK_OK);
    full_open(&full);
    full_open(&other);
    ok(full_serve_one(&full), "a server is reached,");
    full_fill(&full);
    full_fill(&other);
    is_int(stage_beside(&full, &other), HTTP_STAGE_CONNECT,
           "so it is dialled beside one that hangs, and hangs itself:");
    is_int(stage_beside(&full, &other), HTTP_STAGE_QUEUED, "from then on it waits for its turn");
    http_client_drain(client);
    for (unsigned i = 0; i < 1000 && !http_client_idle(client); i++) {
        turn_for(1);
    }
    ok(http_client_idle(client), "nothing is left of it");
    turn_for(1);
    http_client_close(client);
    client = before;
    full_close(&full);
    full_close(&other);
    jobs_free();
}

/* What is on this machine is not on the proxy's. */
static void test_proxied(void)
{
    static const struct {
        const char *host;
        bool proxied;
    } cases[] = {{"app.example", true},   {"localhost", false}, {"app.localhost", false},
                 {"127.0.0.9", false},    {"::1", false},       {"notlocalhost", true},
                 {"localhost.net", true}, {"10.0.0.1", true}};
    struct http_proxy behind;
    const char *why;
    is_int(http_proxy_init(&behind, "http://proxy.example:1", NULL, NULL, &why), BK_OK);
    for (size_t i = 0; i < bk_array_length(cases); i++) {
        struct http_origin origin = {.port = 80};
        snprintf(origin.host, sizeof origin.host, "%s", cases[i].host);
        ok((http_proxy_for(&behind, &origin) != NULL) == cases[i].proxied, "%s", cases[i].host);
    }
    http_proxy_fini(&behind);
    static const struct {
        const char *url, *why; /* NULL: taken */
    } urls[] = {{"socks.example:3128", NULL},
                {"HTTP://proxy.example:1", NULL},
                {"HTTPS://proxy.example:1", "plain HTTP"},
                {"socks5h://proxy.example:1", "plain HTTP"},
                {"ftp://proxy.example:1", "plain HTTP"}};
    for (size_t i = 0; i < bk_array_length(urls); i++) {
        why = "";
        enum bk_err err = http_proxy_init(&behind, urls[i].url, NULL, NULL, &why);
        ok((err == BK_OK) == (urls[i].why == NULL) && (!urls[i].why || strstr(why, urls[i].why)),
           "%s: %s", urls[i].url, why);
        http_proxy_fini(&behind);
    }
}

int main(int argc, char **argv)
{
    config = http_client_defaults;
    if (argc > 1) {
        return script_main(argc, argv);
    }
    test_proxied();
    config.conns_per_origin_max = 20;
    pthread_t server = server_start();
    open_client();
    test_answers();
    test_large_answers();
    test_again();
    test_many();
    test_stale();
    test_refused();
    test_given_up();
    ok(close_client(), "every connection and buffer came back");
    shutdown(server_fd, SHUT_RDWR);
    pthread_join(server, NULL);
    close(server_fd);
    return done_testing();
}
