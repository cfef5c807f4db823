/* The path of a webhook without a kernel: recorded requests go through the shipped reactor -
 * parser, source table, verification, dedupe, journal, answers - over a ring that only counts. For
 * counting instructions, which then repeat to the last digit.
 *
 *   replay DIRECTORY REQUESTS CONNECTIONS      DIRECTORY must be empty; it is left full
 *
 * All connections go in step: in one turn each has a request, in the next the commit is done and
 * each is answered. What is measured lies between two SIGUSR1 that the program sends itself
 * (ignored when nobody traces it: bench/steps.c does) and, under valgrind, between two collection
 * toggles. */
#include "base/assert.h"
#include "base/time.h"
#include "cli/bench_request.h"
#include "hub/ingress/source_table.h"
#include "hub/reactor.h"
#include "journal/catalog.h"
#include "providers/scheme.h"
#include "ring/file.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#if __has_include(<valgrind/callgrind.h>)
#include <valgrind/callgrind.h>
#else
#define CALLGRIND_TOGGLE_COLLECT
#endif

#define CONNECTIONS_MAX 1024U
#define WARM_ROUNDS     4U
#define BODY_BYTES      1024U
#define TURN_NS         20000U
#define QUEUE_MAX       4096U
#define FIRST_HANDLE    64

static const char secret[] = "a secret of the benchmark";
/* What GitHub sends besides. */
static const char more_headers[] = "Accept: */*\r\n"
                                   "User-Agent: GitHub-Hookshot/2cd1f0a\r\n"
                                   "X-GitHub-Hook-ID: 292430182\r\n"
                                   "X-GitHub-Hook-Installation-Target-ID: 79929171\r\n"
                                   "X-GitHub-Hook-Installation-Target-Type: repository\r\n";

struct replay_connection {
    struct ring_op *recv;
    bool waits; /* for an answer */
};

struct ring {
    struct ring_stats stats;
    uint64_t now_ns;
    int64_t wall_ns;
    struct ring_mail *mail, **mail_end;
    struct {
        struct ring_op *op;
        int32_t value;
    } queue[QUEUE_MAX];
    unsigned queued;
    uint8_t *write_buffers;
    int32_t handles; /* given out */
};

static struct ring control_ring;
static struct ring *reactor_side;
static struct catalog *catalog;
static struct replay_connection connections[CONNECTIONS_MAX];
static struct ring_op *accept_op;
static unsigned connection_count, accepted;
static uint8_t *requests;
static size_t request_bytes;
static uint64_t request_count, warm_count, sent, answered;
static enum { BEFORE, MEASURING, AFTER } measuring;

static void stop(const char *what)
{
    fprintf(stderr, "replay: %s\n", what);
    _exit(1);
}

/* ---- the ring */

static void complete(struct ring *ring, struct ring_op *op, int32_t value)
{
    if (ring->queued == QUEUE_MAX) {
        stop("too many operations at once");
    }
    op->inflight = 1;
    ring->queue[ring->queued].op = op;
    ring->queue[ring->queued++].value = value;
    ring->stats.submitted++;
}

static void run_queue(struct ring *ring)
{
    unsigned count = ring->queued;
    for (unsigned i = 0; i < count; i++) {
        struct ring_op *op = ring->queue[i].op;
        struct ring_result result = {.value = ring->queue[i].value};
        op->inflight = 0;
        ring->stats.completed++;
        op->done(op, &result);
    }
    /* What they queued comes in the next turn. */
    memmove(ring->queue, ring->queue + count, (ring->queued - count) * sizeof ring->queue[0]);
    ring->queued -= count;
}

static void run_mail(struct ring *ring)
{
    while (ring->mail) {
        struct ring_mail *mail = ring->mail;
        ring->mail = mail->next;
        if (!ring->mail) {
            ring->mail_end = &ring->mail;
        }
        mail->run(mail);
    }
}

static void deliver_connections(void)
{
    static const struct ring_address peer = {.family = 4, .port = 40000, .at = {127, 0, 0, 1}};
    while (accept_op && accepted < connection_count) {
        struct ring_result result = {
            .value = FIRST_HANDLE + (int32_t)accepted++, .more = true, .peer = &peer};
        accept_op->done(accept_op, &result);
    }
}

static void deliver_requests(void)
{
    uint64_t end = warm_count + request_count;
    for (unsigned i = 0; i < accepted && sent < end; i++) {
        struct replay_connection *connection = &connections[i];
        if (!connection->recv || connection->waits) {
            continue;
        }
        struct ring_result result = {.value = (int32_t)request_bytes,
                                     .more = true,
                                     .has_buffer = true,
                                     .buffer_id = (uint16_t)i,
                                     .buffer = requests + sent++ * request_bytes};
        connection->waits = true;
        reactor_side->stats.completed++;
        connection->recv->done(connection->recv, &result);
    }
}

/* True when no connection waits: the borders of what is measured. */
static bool all_answered(void)
{
    return answered == sent && reactor_side->queued == 0;
}

static void mark(void)
{
    if (measuring == BEFORE && sent >= warm_count && all_answered()) {
        measuring = MEASURING;
        raise(SIGUSR1);
        CALLGRIND_TOGGLE_COLLECT;
    } else if (measuring == MEASURING && sent == warm_count + request_count && all_answered()) {
        measuring = AFTER;
        CALLGRIND_TOGGLE_COLLECT;
        raise(SIGUSR1);
        printf("{\"requests\":%llu,\"connections\":%u,\"requestBytes\":%zu,\"turns\":%llu}\n",
               (unsigned long long)request_count, connection_count, request_bytes,
               (unsigned long long)reactor_side->stats.enters);
        fflush(stdout);
        _exit(0);
    }
}

void ring_turn(struct ring *ring, uint64_t deadline_ns)
{
    (void)deadline_ns;
    ring->stats.enters++;
    ring->now_ns += TURN_NS;
    ring->wall_ns += TURN_NS;
    if (ring->stats.enters > 1000 + 8 * (warm_count + request_count)) {
        stop("the requests are not answered");
    }
    mark();
    run_queue(ring);
    run_mail(ring);
    if (measuring == BEFORE) {
        deliver_connections();
        run_mail(&control_ring);
        while (catalog_step(catalog, ring->wall_ns)) {
        }
        if (sent == warm_count && !all_answered()) {
            return; /* the last of the warm-up first */
        }
    }
    if (measuring == MEASURING || sent < warm_count) {
        deliver_requests();
    }
}

static struct ring *ring_new(struct ring *ring)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    ring->now_ns = (uint64_t)NS_PER_SECOND;
    ring->wall_ns = now.tv_sec * NS_PER_SECOND;
    ring->mail_end = &ring->mail;
    ring->handles = 1;
    return ring;
}

enum bk_err ring_open(const struct ring_config *config, struct ring **ret_ring,
                      const char **ret_why)
{
    static struct ring only;
    (void)config;
    (void)ret_why;
    reactor_side = *ret_ring = ring_new(&only);
    return BK_OK;
}

void ring_close(struct ring *ring)
{
    (void)ring;
}

const char *ring_features(const struct ring *ring)
{
    (void)ring;
    return "replay";
}

const struct ring_stats *ring_stats(const struct ring *ring)
{
    return &ring->stats;
}

void ring_submit(struct ring *ring)
{
    (void)ring;
}

bool ring_behind(const struct ring *ring)
{
    (void)ring;
    return false;
}

void ring_gather(struct ring *ring, unsigned completions, unsigned wait_us)
{
    (void)ring;
    (void)completions;
    (void)wait_us;
}

uint64_t ring_now_ns(const struct ring *ring)
{
    return ring->now_ns;
}

int64_t ring_wall_ns(const struct ring *ring)
{
    return ring->wall_ns;
}

uint64_t ring_clock_ns(const struct ring *ring)
{
    return ring->now_ns + 1000;
}

void ring_entropy(void *at, size_t bytes)
{
    memset(at, 0x5a, bytes); /* the same at each run */
}

enum bk_err ring_listen_on(struct ring *own, int socket, int32_t *ret_handle)
{
    (void)own, (void)socket, (void)ret_handle;
    return BK_UNSUPPORTED;
}

enum bk_err ring_listen(struct ring *ring, struct ring_address *address, bool reuse_port,
                        unsigned backlog, int32_t *ret_handle)
{
    (void)address;
    (void)reuse_port;
    (void)backlog;
    *ret_handle = ring->handles++;
    return BK_OK;
}

enum bk_err ring_address_probe(const struct ring_address *address)
{
    (void)address;
    return BK_OK;
}

void ring_accept(struct ring *ring, struct ring_op *op, int32_t listener, ring_done_fn *done)
{
    (void)ring;
    (void)listener;
    op->done = done;
    op->inflight = 1;
    accept_op = op;
}

void ring_recv(struct ring *ring, struct ring_op *op, int32_t handle, ring_done_fn *done)
{
    (void)ring;
    op->done = done;
    op->inflight = 1;
    connections[handle - FIRST_HANDLE].recv = op;
}

void ring_buffer_give(struct ring *ring, uint16_t buffer_id)
{
    (void)ring;
    (void)buffer_id;
}

bool ring_buffers_low(const struct ring *ring)
{
    (void)ring;
    return false;
}

void ring_send(struct ring *ring, struct ring_op *op, int32_t handle, const void *at, size_t bytes,
               ring_done_fn *done)
{
    static const char good[] = "HTTP/1.1 200 ";
    if (bytes < sizeof good || memcmp(at, good, sizeof good - 1) != 0) {
        fprintf(stderr, "%.*s\n", (int)bytes, (const char *)at);
        stop("a request was refused");
    }
    op->done = done;
    connections[handle - FIRST_HANDLE].waits = false;
    answered++;
    complete(ring, op, (int32_t)bytes);
}

void ring_send_lazy(struct ring *ring, struct ring_op *op, int32_t handle, const void *at,
                    size_t bytes, ring_done_fn *done)
{
    ring_send(ring, op, handle, at, bytes, done);
}

/* The path of a webhook calls nobody. */
void ring_send_pieces(struct ring *ring, struct ring_op *op, int32_t handle,
                      struct ring_pieces *pieces, ring_done_fn *done)
{
    (void)ring;
    (void)op;
    (void)handle;
    (void)pieces;
    (void)done;
    stop("a call to somebody else");
}

void ring_poll(struct ring *ring, struct ring_op *op, int os_fd, unsigned events,
               ring_done_fn *done)
{
    (void)ring;
    (void)op;
    (void)os_fd;
    (void)events;
    (void)done;
    stop("a poll");
}

void ring_write(struct ring *ring, struct ring_op *op, int32_t handle, const void *at, size_t bytes,
                uint64_t offset, int buffer, bool durable, ring_done_fn *done)
{
    (void)handle;
    (void)at;
    (void)offset;
    (void)buffer;
    (void)durable;
    op->done = done;
    complete(ring, op, (int32_t)bytes);
}

void ring_connect(struct ring *ring, struct ring_op *op, const struct ring_address *address,
                  int32_t *ret_handle, ring_done_fn *done)
{
    (void)address;
    *ret_handle = -1;
    op->done = done;
    complete(ring, op, -(int)BK_REFUSED);
}

void ring_pass(struct ring *ring, struct ring_op *op, int32_t handle, struct ring *target,
               ring_done_fn *done)
{
    (void)ring;
    (void)op;
    (void)handle;
    (void)target;
    (void)done;
    bk_never("there is one core: nothing is passed on");
}

void ring_shutdown(struct ring *ring, struct ring_op *op, int32_t handle, ring_done_fn *done)
{
    (void)handle;
    op->done = done;
    complete(ring, op, 0);
}

void ring_close_handle(struct ring *ring, struct ring_op *op, int32_t handle, ring_done_fn *done)
{
    (void)handle;
    op->done = done;
    complete(ring, op, 0);
}

void ring_cancel(struct ring *ring, struct ring_op *target)
{
    (void)ring;
    (void)target;
}

enum bk_err ring_signals(struct ring *ring, struct ring_op *op, const int *signals, unsigned count,
                         ring_done_fn *done)
{
    (void)ring;
    (void)signals;
    (void)count;
    op->done = done;
    return BK_OK;
}

enum bk_err ring_file_attach(struct ring *ring, int file, int32_t *ret_handle)
{
    (void)file;
    *ret_handle = ring->handles++;
    return BK_OK;
}

enum bk_err ring_write_buffers(struct ring *ring, unsigned count, size_t bytes, uint8_t **ret_first)
{
    void *map = mmap(NULL, count * bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (map == MAP_FAILED) {
        return BK_NO_MEMORY;
    }
    ring->write_buffers = *ret_first = map;
    return BK_OK;
}

void ring_post(struct ring *from, struct ring *target, struct ring_mail *mail)
{
    (void)from;
    mail->next = NULL;
    *target->mail_end = mail;
    target->mail_end = &mail->next;
}

/* ---- the world around the reactor */

static struct scheme *make_scheme(void)
{
    struct slice secrets[1] = {slice_str(secret)};
    struct scheme *scheme = NULL;
    const char *why = "";
    size_t bytes;
    if (scheme_compile(scheme_row_find(SLICE("github")), secrets, 1, -1, &scheme, &bytes, &why) !=
        BK_OK) {
        stop(why);
    }
    return scheme;
}

static void make_requests(void)
{
    struct bench_writer writer;
    struct buf body;
    const char *why = "";
    struct bench_request_config config = {.method = SLICE("POST"),
                                          .target = SLICE("/hooks/bench"),
                                          .host = SLICE("127.0.0.1:8080"),
                                          .headers = slice_str(more_headers),
                                          .scheme = make_scheme(),
                                          .seed = 1};
    buf_init(&body, BODY_BYTES);
    bench_body_make(&body, BODY_BYTES);
    config.body = buf_slice(&body);
    if (bench_writer_init(&writer, &config, control_ring.wall_ns / NS_PER_SECOND, &why) != BK_OK) {
        stop(why);
    }
    request_bytes = writer.request_bytes;
    requests = malloc((warm_count + request_count) * request_bytes);
    if (!requests) {
        stop("out of memory");
    }
    for (uint64_t i = 0; i < warm_count + request_count; i++) {
        bench_writer_put(&writer, requests + i * request_bytes, i + 1, false, false,
                         control_ring.wall_ns / NS_PER_SECOND);
    }
    bench_writer_fini(&writer);
    buf_fini(&body);
}

static struct source_table *make_sources(void)
{
    struct source_table *table = NULL;
    struct source_change change = {.number = 1,
                                   .path = SLICE("bench"),
                                   .name = SLICE("bench"),
                                   .canvas = SLICE("default"),
                                   .type = SLICE("github"),
                                   .scheme = make_scheme(),
                                   .body_bytes_max = BODY_BYTES_DEFAULT,
                                   .dedupe_window_ns = SOURCE_DEDUPE_WINDOW_DEFAULT_NS};
    if (source_table_open(&table) != BK_OK || source_table_change(table, &change) != BK_OK) {
        stop("out of memory");
    }
    return table;
}

static void make_catalog(const char *directory)
{
    struct catalog_config config = {.directory = directory, .journals = 1};
    struct journal_report report;
    enum bk_err err = catalog_open(&config, control_ring.wall_ns, NULL, NULL, &report, &catalog);
    if (err != BK_OK) {
        stop(report.problem[0] ? report.problem : bk_err_text(err));
    }
    catalog_start(catalog, &control_ring);
}

static bool always_ready(void *context, const char **ret_why)
{
    (void)context;
    *ret_why = "";
    return true;
}

static void no_growth(void *context)
{
    (void)context;
}

static uint64_t no_admin_head(void *context, struct http_exchange *exchange,
                              const struct http_head *head)
{
    (void)context;
    (void)exchange;
    (void)head;
    return 0;
}

static void on_opened(void *context, struct reactor *reactor, enum bk_err err, const char *why)
{
    (void)context;
    (void)reactor;
    if (err != BK_OK) {
        stop(why);
    }
}

static void on_stopped(void *context, struct reactor *reactor)
{
    (void)context;
    (void)reactor;
}

int main(int argc, char **argv)
{
    struct dedupe *dedupe = NULL;
    struct ingress *peers[1] = {NULL};
    if (argc != 4) {
        fprintf(stderr, "usage: replay DIRECTORY REQUESTS CONNECTIONS\n");
        return 2;
    }
    signal(SIGUSR1, SIG_IGN);
    request_count = strtoull(argv[2], NULL, 10);
    connection_count = (unsigned)strtoul(argv[3], NULL, 10);
    if (request_count == 0 || connection_count == 0 || connection_count > CONNECTIONS_MAX) {
        stop("a number is out of range");
    }
    warm_count = connection_count * WARM_ROUNDS;
    request_count += connection_count - 1 - (request_count - 1) % connection_count;
    (void)ring_new(&control_ring);
    make_requests();
    make_catalog(argv[1]);
    if (dedupe_open(256U << 20, &dedupe) != BK_OK) {
        stop("out of memory");
    }
    struct reactor_config config = {
        .ingress = {.sources = make_sources(),
                    .dedupe = dedupe,
                    .peers = peers,
                    .peer_count = 1,
                    .ready = always_ready,
                    .growth = no_growth},
        .peers = peers,
        .cpu = -1,
        .durable = true,
        .catalog = catalog,
        .listen = {.family = 4, .port = 8080},
        .admin_handler = {.on_head = no_admin_head},
        .conns_max = CONNECTIONS_MAX,
        .buffers_bytes_max = 64U << 20,
        .opened = on_opened,
        .stopped = on_stopped,
    };
    struct reactor *reactor = reactor_make(&config);
    if (!reactor) {
        stop("out of memory");
    }
    reactor_run(reactor);
    return 1;
}
