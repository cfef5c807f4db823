/* becket bench: the load generator. The work is in bench_load.c; here are options, threads and the
 * report. */
#include "cli/bench_load.h"
#include "cli/cli.h"

#include "base/assert.h"
#include "base/secret.h"
#include "base/time.h"
#include "net/address.h"
#include "providers/scheme.h"
#include "ring/file.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BENCH_THREADS_MAX    64U
#define BENCH_BODY_BYTES_MAX BODY_BYTES_MAX
#define REPORT_BYTES_MAX     (1U << 20)
#define MEMORY_BYTES_MAX     (2ULL << 30)

const struct option cli_bench_options[] = {
    {.name = "connections",
     .letter = 'c',
     .kind = OPTION_NUMBER,
     .argument = "N",
     .fallback = "64",
     .help = "connections, all threads together",
     .number_min = 1,
     .number_max = BENCH_CONNECTIONS_MAX},
    {.name = "duration",
     .letter = 'd',
     .kind = OPTION_DURATION,
     .argument = "TIME",
     .fallback = "10s",
     .help = "measure this long"},
    {.name = "requests",
     .letter = 'n',
     .kind = OPTION_NUMBER,
     .argument = "N",
     .help = "measure this many requests instead, without a warm-up unless one is given",
     .number_min = 1},
    {.name = "rate",
     .letter = 'r',
     .kind = OPTION_NUMBER,
     .argument = "PER-SECOND",
     .help = "open loop: requests are due at this rate, and latency counts from when they were due",
     .number_min = 1,
     .number_max = 10000000},
    {.name = "warmup",
     .kind = OPTION_DURATION,
     .argument = "TIME",
     .fallback = "2s",
     .help = "before measuring"},
    {.name = "threads",
     .kind = OPTION_NUMBER,
     .argument = "N",
     .fallback = "1",
     .help = "threads, one ring each",
     .number_min = 1,
     .number_max = BENCH_THREADS_MAX},
    {.name = "pipeline",
     .kind = OPTION_NUMBER,
     .argument = "N",
     .fallback = "1",
     .help = "requests sent at once on a connection",
     .number_min = 1,
     .number_max = BENCH_PIPELINE_MAX},
    {.name = "cpu",
     .kind = OPTION_NUMBER,
     .argument = "N",
     .help = "pin the threads to this CPU and the next ones",
     .number_max = 4095},
    {.name = "ca-file",
     .kind = OPTION_TEXT,
     .flags = OPTION_ENV,
     .argument = "FILE",
     .help = "https: believe the authorities of this PEM file instead of the system's"},
    {.name = "full-handshakes",
     .kind = OPTION_FLAG,
     .help = "https: never resume a session when a connection is made again"},
    {.name = "type",
     .kind = OPTION_TEXT,
     .argument = "TYPE",
     .help = "sign as this provider does (github, ...)"},
    {.name = "secret", .kind = OPTION_TEXT, .argument = "SECRET", .help = "what to sign with"},
    {.name = "event", .kind = OPTION_TEXT, .argument = "TYPE", .help = "event type to send"},
    {.name = "method",
     .kind = OPTION_CHOICE,
     .argument = "METHOD",
     .fallback = "POST",
     .choices = "POST|PUT|GET",
     .help = "GET has no body"},
    {.name = "header",
     .letter = 'H',
     .kind = OPTION_TEXT,
     .flags = OPTION_LIST,
     .argument = "'NAME: VALUE'",
     .help = "one more header line"},
    {.name = "body", .kind = OPTION_TEXT, .argument = "FILE", .help = "send this file"},
    {.name = "body-bytes",
     .kind = OPTION_BYTES,
     .argument = "BYTES",
     .fallback = "1024",
     .help = "send a JSON text of this size",
     .number_max = BENCH_BODY_BYTES_MAX},
    {.name = "duplicates",
     .kind = OPTION_NUMBER,
     .argument = "PERCENT",
     .fallback = "0",
     .help = "share of requests that repeat the delivery id of one already answered",
     .number_max = 100},
    {.name = "forged",
     .kind = OPTION_NUMBER,
     .argument = "PERCENT",
     .fallback = "0",
     .help = "share of requests with a wrong signature: they must be refused",
     .number_max = 100},
    {.name = "spread",
     .kind = OPTION_NUMBER,
     .argument = "N",
     .help = "send to N targets in turn: {n} in the URL is 0000000 to N-1, seven digits",
     .number_min = 1,
     .number_max = 10000000},
    {.name = "seed",
     .kind = OPTION_NUMBER,
     .argument = "N",
     .help = "the same delivery ids at each run"},
    {.name = "watch",
     .kind = OPTION_NUMBER,
     .flags = OPTION_LIST,
     .argument = "PID",
     .help = "report the CPU time of this process while measuring",
     .number_min = 1,
     .number_max = 4194304},
    {.name = "patience",
     .kind = OPTION_DURATION,
     .argument = "TIME",
     .fallback = "10s",
     .number_min = 1,
     .help = "give up when nothing is answered for so long"},
    {.name = "allow-remote",
     .kind = OPTION_FLAG,
     .help = "also load a server that is not on this machine"},
    {.name = "output",
     .letter = 'o',
     .kind = OPTION_CHOICE,
     .argument = "FORMAT",
     .choices = "table|json",
     .fallback = "table",
     .help = "how to print the result"},
    {.kind = OPTION_END},
};

/* Everything of one run. */
struct bench {
    struct options options;
    struct bench_plan base; /* of one thread, before it is divided */
    struct bench_plan plans[BENCH_THREADS_MAX];
    struct bench_load loads[BENCH_THREADS_MAX];
    pthread_t threads[BENCH_THREADS_MAX];
    unsigned thread_count;
    pthread_barrier_t connected;
    pid_t watch[BENCH_WATCH_MAX];
    struct scheme *scheme;
    size_t scheme_bytes;
    const char *url;
    struct tls_trust *trust; /* https */
    char name[300];
    char host[300];
    struct buf headers;
    struct buf body;
    char *body_file;
    struct bench_load total; /* counts of all threads */
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    interrupted = 1;
}

/* ---- options */

static bool resolve(const char *host, const char *port, struct ring_address *ret_address)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    if (getaddrinfo(strcmp(host, "localhost") == 0 ? "127.0.0.1" : host, port, &hints, &found) !=
        0) {
        return false;
    }
    *ret_address = (struct ring_address){.family = found->ai_family == AF_INET ? 4 : 6};
    if (found->ai_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)found->ai_addr;
        ret_address->port = ntohs(v4->sin_port);
        memcpy(ret_address->at, &v4->sin_addr, 4);
    } else {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)found->ai_addr;
        ret_address->port = ntohs(v6->sin6_port);
        memcpy(ret_address->at, &v6->sin6_addr, 16);
    }
    freeaddrinfo(found);
    return true;
}

/* https: the system's authorities and those of --ca-file. */
static int trust_read(struct bench *bench)
{
    const char *file = option_text(&bench->options, "ca-file");
    char why[TLS_WHY_BYTES] = "out of memory";
    if (tls_trust_open(&bench->trust) != BK_OK ||
        (file && tls_trust_add_file(bench->trust, file, why) != BK_OK) ||
        (!file && tls_trust_add_system(bench->trust, why) != BK_OK)) {
        return cli_error("%s", why);
    }
    bench->base.trust = bench->trust;
    bench->base.name = bench->name;
    bench->base.resume = !option_flag(&bench->options, "full-handshakes");
    return CLI_DONE;
}

/* http://HOST[:PORT][/TARGET], or https://; HOST may be [v6]. */
static int url_read(struct bench *bench)
{
    const char *url = bench->url;
    bool tls = strncmp(url, "https://", 8) == 0;
    size_t scheme_bytes = tls ? 8 : 7;
    for (const char *c = url; *c; c++) {
        if (*c <= ' ' || *c > '~' || *c == '"' || *c == '\\') {
            return cli_usage("%s is not a URL; write it as http://127.0.0.1:8080/hooks/NAME", url);
        }
    }
    if (!tls && strncmp(url, "http://", 7) != 0) {
        return cli_usage("%s does not begin with http:// or https://", url);
    }
    const char *authority = url + scheme_bytes;
    size_t bytes = strcspn(authority, "/?");
    if (bytes == 0 || bytes >= sizeof bench->host || memchr(authority, '@', bytes)) {
        return cli_usage("%s names no host", url);
    }
    memcpy(bench->host, authority, bytes);
    bench->base.request.host = slice_of(bench->host, bytes);
    bool bare = authority[bytes] != '/';
    bench->base.request.target = bare ? SLICE("/") : slice_str(authority + bytes);
    bench->base.request.url = slice_str(url);

    char name[300];
    memcpy(name, bench->host, bytes + 1);
    char *port = strrchr(name, ':');
    char *host = name;
    if (name[0] == '[' && strchr(name, ']')) {
        host = name + 1;
        char *end = strchr(name, ']');
        port = end[1] == ':' ? end + 1 : NULL;
        *end = '\0';
    }
    if (port) {
        *port++ = '\0';
    }
    snprintf(bench->name, sizeof bench->name, "%s", host);
    if (!resolve(host, port ? port : tls ? "443" : "80", &bench->base.target)) {
        return cli_error("%s cannot be resolved", bench->host);
    }
    if (!address_is_loopback(&bench->base.target) &&
        !option_flag(&bench->options, "allow-remote")) {
        return cli_error(
            "%s is not this machine; give --allow-remote if its owner wants to be loaded",
            bench->host);
    }
    return tls ? trust_read(bench) : CLI_DONE;
}

static int headers_read(struct bench *bench)
{
    buf_init(&bench->headers, 65536);
    for (unsigned i = 0; i < option_list_count(&bench->options, "header"); i++) {
        const char *line = option_list_at(&bench->options, "header", i);
        if (!strchr(line, ':') || line[0] == ':' || strpbrk(line, "\r\n")) {
            return cli_usage("--header '%s' is not 'Name: value'", line);
        }
        buf_printf(&bench->headers, "%s\r\n", line);
    }
    bench->base.request.headers = buf_slice(&bench->headers);
    return CLI_DONE;
}

static int body_read(struct bench *bench)
{
    const char *file = option_text(&bench->options, "body");
    buf_init(&bench->body, BENCH_BODY_BYTES_MAX);
    if (slice_equal(bench->base.request.method, SLICE("GET"))) {
        return CLI_DONE;
    }
    if (!file) {
        bench_body_make(&bench->body, (size_t)option_number(&bench->options, "body-bytes"));
        bench->base.request.body = buf_slice(&bench->body);
        return CLI_DONE;
    }
    size_t bytes = 0;
    enum bk_err err = file_read_all(file, BENCH_BODY_BYTES_MAX, &bench->body_file, &bytes);
    if (err != BK_OK) {
        return cli_error("cannot read the body %s: %s", file, bk_err_text(err));
    }
    bench->base.request.body = slice_of(bench->body_file, bytes);
    return CLI_DONE;
}

static int scheme_read(struct bench *bench)
{
    const char *type = option_text(&bench->options, "type");
    const char *secret = option_text(&bench->options, "secret");
    const char *message = NULL;
    if (!type) {
        return secret ? cli_usage("--secret needs --type: who signs?") : CLI_DONE;
    }
    const struct scheme_row *row = scheme_row_find(slice_str(type));
    if (!row) {
        return cli_usage("--type %s is not known; see `becket help verify`", type);
    }
    if (!secret && scheme_row_needs_secret(row)) {
        return cli_usage("--type %s needs --secret", type);
    }
    struct slice secrets[1] = {slice_str(secret)};
    if (scheme_compile(row, secrets, secret ? 1 : 0, -1, &bench->scheme, &bench->scheme_bytes,
                       &message) != BK_OK) {
        return cli_usage("--secret: %s", message);
    }
    bench->base.request.scheme = bench->scheme;
    return CLI_DONE;
}

static void numbers_read(struct bench *bench)
{
    const struct options *options = &bench->options;
    struct bench_plan *base = &bench->base;
    bool by_requests = option_given(options, "requests");
    base->connections = (unsigned)option_number(options, "connections");
    base->pipeline = (unsigned)option_number(options, "pipeline");
    base->requests = option_number(options, "requests");
    base->duration_ns = by_requests && !option_given(options, "duration")
                            ? 0
                            : (uint64_t)option_duration_ns(options, "duration");
    base->warmup_ns = by_requests && !option_given(options, "warmup")
                          ? 0
                          : (uint64_t)option_duration_ns(options, "warmup");
    base->rate_per_hour = option_number(options, "rate") * 3600;
    base->patience_ns = (uint64_t)option_duration_ns(options, "patience");
    base->duplicates_percent = (unsigned)option_number(options, "duplicates");
    base->forged_percent = (unsigned)option_number(options, "forged");
    base->cpu = option_given(options, "cpu") ? (int)option_number(options, "cpu") : -1;
    base->request.method = slice_str(option_text(options, "method"));
    base->request.event = slice_str(option_text(options, "event"));
    base->request.seed = option_number(options, "seed");
    if (!option_given(options, "seed")) {
        ring_entropy(&base->request.seed, sizeof base->request.seed);
    }
    base->request.spread = option_number(options, "spread");
    base->watch = bench->watch;
    for (unsigned i = 0; i < option_list_count(options, "watch") && i < BENCH_WATCH_MAX; i++) {
        bench->watch[i] = (pid_t)strtol(option_list_at(options, "watch", i), NULL, 10);
        base->watch_count = i + 1;
    }
    bench->thread_count = (unsigned)option_number(options, "threads");
}

static int numbers_check(const struct bench *bench)
{
    const struct bench_plan *base = &bench->base;
    uint64_t bytes =
        (base->request.body.bytes + 4096) * (uint64_t)base->connections * base->pipeline;
    if (base->request.spread && !strstr(bench->url, BENCH_SPREAD_MARK)) {
        return cli_usage("--spread needs " BENCH_SPREAD_MARK " in the URL");
    }
    if (base->connections < bench->thread_count) {
        return cli_usage("--connections %u is fewer than --threads %u", base->connections,
                         bench->thread_count);
    }
    if (base->requests && base->requests < bench->thread_count) {
        return cli_usage("--requests is fewer than --threads");
    }
    if (base->duration_ns == 0 && base->requests == 0) {
        return cli_usage("--duration 0s measures nothing; give --requests or a longer time");
    }
    if (base->rate_per_hour && base->pipeline > 1) {
        return cli_usage(
            "--rate and --pipeline do not go together: an open loop sends single requests");
    }
    if (bytes > MEMORY_BYTES_MAX) {
        return cli_usage("body x connections x pipeline is over 2 GiB; lower one of them");
    }
    return CLI_DONE;
}

static int settings_read(struct bench *bench)
{
    if (bench->options.argument_count != 1) {
        return cli_usage("bench takes one URL; see `becket help bench`");
    }
    bench->url = bench->options.arguments[0];
    numbers_read(bench);
    int rc = url_read(bench);
    rc = rc == CLI_DONE ? headers_read(bench) : rc;
    rc = rc == CLI_DONE ? body_read(bench) : rc;
    rc = rc == CLI_DONE ? scheme_read(bench) : rc;
    return rc == CLI_DONE ? numbers_check(bench) : rc;
}

/* ---- threads */

static uint64_t share(uint64_t whole, unsigned index, unsigned count)
{
    return whole * (index + 1) / count - whole * index / count;
}

static void plans_make(struct bench *bench)
{
    unsigned count = bench->thread_count;
    bench->base.connected = &bench->connected;
    bench->base.stop = &interrupted;
    for (unsigned i = 0; i < count; i++) {
        struct bench_plan *plan = &bench->plans[i];
        *plan = bench->base;
        plan->connections = (unsigned)share(bench->base.connections, i, count);
        plan->requests = share(bench->base.requests, i, count);
        plan->rate_per_hour = share(bench->base.rate_per_hour, i, count);
        plan->cpu = bench->base.cpu < 0 ? -1 : bench->base.cpu + (int)i;
        plan->request.thread = i;
        plan->watch_count = i == 0 ? bench->base.watch_count : 0;
        bench->loads[i].plan = plan;
    }
}

static bool all_finished(struct bench *bench, uint64_t *ret_answered)
{
    bool finished = true;
    *ret_answered = 0;
    for (unsigned i = 0; i < bench->thread_count; i++) {
        finished = atomic_load(&bench->loads[i].finished) && finished;
        *ret_answered += atomic_load_explicit(&bench->loads[i].progress, memory_order_relaxed);
    }
    return finished;
}

/* One line that is written over, on a terminal only. */
static void progress_show(struct bench *bench)
{
    static const struct timespec tick = {.tv_nsec = 50 * NS_PER_MS};
    uint64_t answered;
    uint64_t before = 0;
    bool shown = isatty(STDERR_FILENO);
    for (unsigned ticks = 0; !all_finished(bench, &answered); ticks++) {
        nanosleep(&tick, NULL);
        if (shown && ticks % 20 == 19) {
            fprintf(stderr, "\r%4u s  %12llu answered  %9llu/s ", (ticks + 1) / 20,
                    (unsigned long long)answered, (unsigned long long)(answered - before));
            before = answered;
        }
    }
    if (shown) {
        fprintf(stderr, "\r%60s\r", "");
    }
}

static int threads_run(struct bench *bench)
{
    struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    pthread_barrier_init(&bench->connected, NULL, bench->thread_count);
    plans_make(bench);
    for (unsigned i = 0; i < bench->thread_count; i++) {
        if (pthread_create(&bench->threads[i], NULL, bench_load_run, &bench->loads[i]) != 0) {
            fprintf(stderr, "becket: thread %u cannot be started; lower --threads\n", i + 1);
            exit(CLI_FAILED); /* the others wait for it at the barrier */
        }
    }
    progress_show(bench);
    for (unsigned i = 0; i < bench->thread_count; i++) {
        pthread_join(bench->threads[i], NULL);
    }
    for (unsigned i = 0; i < bench->thread_count; i++) {
        const struct bench_load *load = &bench->loads[i];
        struct bench_load *total = &bench->total;
        if (load->failed != BK_OK) {
            return cli_error("%s", load->why);
        }
        bench_counts_merge(&total->counts, &load->counts);
        total->measured_ns =
            load->measured_ns > total->measured_ns ? load->measured_ns : total->measured_ns;
        total->cpu_ns += load->cpu_ns;
        total->enters += load->enters;
        total->total_answered += load->total_answered;
        total->unanswered += load->unanswered;
        total->stalled = total->stalled || load->stalled;
    }
    memcpy(bench->total.watch_ns, bench->loads[0].watch_ns, sizeof bench->total.watch_ns);
    return CLI_DONE;
}

/* ---- report */

static const struct {
    const char *name;
    uint32_t per_million;
} quantiles[] = {{"p50", 500000}, {"p75", 750000},   {"p90", 900000},
                 {"p99", 990000}, {"p99.9", 999000}, {"p99.99", 999900}};

static double per_second(const struct bench_load *total)
{
    return total->measured_ns ? (double)total->counts.answered * 1e9 / (double)total->measured_ns
                              : 0;
}

static void json_histogram(struct buf *out, const char *name,
                           const struct bench_histogram *histogram)
{
    buf_printf(out, ",\"%s\":{\"mean\":%llu", name,
               (unsigned long long)(histogram->count ? histogram->sum_ns / histogram->count : 0));
    for (size_t i = 0; i < bk_array_length(quantiles); i++) {
        buf_printf(
            out, ",\"%s\":%llu", quantiles[i].name,
            (unsigned long long)bench_histogram_quantile(histogram, quantiles[i].per_million));
    }
    buf_printf(out, ",\"max\":%llu}", (unsigned long long)histogram->max_ns);
}

static void json_number(struct buf *out, const char *name, uint64_t value)
{
    buf_printf(out, ",\"%s\":%llu", name, (unsigned long long)value);
}

static void json_settings(struct buf *out, const struct bench *bench)
{
    const struct bench_plan *base = &bench->base;
    buf_printf(out, "{\"url\":\"%s\",\"loop\":\"%s\"", bench->url,
               base->rate_per_hour ? "open" : "closed");
    buf_printf(out, ",\"type\":\"%s\"",
               bench->scheme ? scheme_row_name(scheme_row(bench->scheme)) : "");
    json_number(out, "connections", base->connections);
    json_number(out, "threads", bench->thread_count);
    json_number(out, "pipeline", base->pipeline);
    json_number(out, "rate", base->rate_per_hour / 3600);
    json_number(out, "bodyBytes", base->request.body.bytes);
}

static void report_json(struct buf *out, const struct bench *bench)
{
    const struct bench_load *total = &bench->total;
    const struct bench_counts *counts = &total->counts;
    json_settings(out, bench);
    buf_printf(out, ",\"seconds\":%.6f", (double)total->measured_ns / 1e9);
    json_number(out, "answered", counts->answered);
    buf_printf(out, ",\"perSecond\":%.1f,\"status\":{", per_second(total));
    const char *comma = "";
    for (unsigned i = 0; i < BENCH_STATUS_MAX; i++) {
        if (counts->status[i]) {
            buf_printf(out, "%s\"%u\":%llu", comma, i, (unsigned long long)counts->status[i]);
            comma = ",";
        }
    }
    buf_printf(out, "}");
    json_number(out, "unexpected", counts->unexpected);
    json_number(out, "connectErrors", counts->connect_errors);
    json_number(out, "lost", counts->lost);
    json_number(out, "malformed", counts->malformed);
    json_number(out, "unanswered", total->unanswered);
    json_number(out, "overdue", counts->overdue);
    json_number(out, "reconnects", counts->reconnects);
    json_number(out, "duplicatesSent", counts->duplicates_sent);
    json_number(out, "duplicatesTold", counts->duplicates_told);
    json_number(out, "forgedSent", counts->forged_sent);
    json_number(out, "forgedAccepted", counts->forged_accepted);
    json_number(out, "receivedBytes", counts->received_bytes);
    json_number(out, "answeredWithWarmup", total->total_answered);
    buf_printf(out, ",\"stalled\":%s", total->stalled ? "true" : "false");
    json_histogram(out, "latencyNs", &counts->latency);
    if (bench->base.rate_per_hour) {
        json_histogram(out, "sendLagNs", &counts->send_lag);
    }
    buf_printf(out, ",\"generator\":{\"cpuNs\":%llu,\"enters\":%llu}",
               (unsigned long long)total->cpu_ns, (unsigned long long)total->enters);
    buf_printf(out, ",\"watch\":[");
    for (unsigned i = 0; i < bench->base.watch_count; i++) {
        bool gone = total->watch_ns[i] == UINT64_MAX;
        buf_printf(out, "%s{\"pid\":%d,\"cpuNs\":%lld}", i ? "," : "", (int)bench->watch[i],
                   gone ? -1LL : (long long)total->watch_ns[i]);
    }
    buf_printf(out, "]}\n");
}

static void table_histogram(struct buf *out, const char *name,
                            const struct bench_histogram *histogram)
{
    buf_printf(out, "%-12s", name);
    for (size_t i = 0; i < bk_array_length(quantiles); i++) {
        uint64_t value = bench_histogram_quantile(histogram, quantiles[i].per_million);
        buf_printf(out, "%s %.1f us   ", quantiles[i].name, (double)value / 1e3);
    }
    buf_printf(out, "max %.1f us\n", (double)histogram->max_ns / 1e3);
}

static void table_count(struct buf *out, const char *name, uint64_t value)
{
    if (value) {
        buf_printf(out, "%-12s%llu\n", name, (unsigned long long)value);
    }
}

static void report_table(struct buf *out, const struct bench *bench)
{
    const struct bench_load *total = &bench->total;
    const struct bench_counts *counts = &total->counts;
    buf_printf(out, "%-12s%llu in %.2f s, %.0f/s\n", "answered",
               (unsigned long long)counts->answered, (double)total->measured_ns / 1e9,
               per_second(total));
    buf_printf(out, "%-12s", "status");
    for (unsigned i = 0; i < BENCH_STATUS_MAX; i++) {
        if (counts->status[i]) {
            buf_printf(out, "%u: %llu   ", i, (unsigned long long)counts->status[i]);
        }
    }
    buf_printf(out, "\n");
    table_histogram(out, "latency", &counts->latency);
    if (bench->base.rate_per_hour) {
        table_histogram(out, "send lag", &counts->send_lag);
    }
    table_count(out, "unexpected", counts->unexpected);
    table_count(out, "no connect", counts->connect_errors);
    table_count(out, "lost", counts->lost);
    table_count(out, "malformed", counts->malformed);
    table_count(out, "unanswered", total->unanswered);
    table_count(out, "overdue", counts->overdue);
    table_count(out, "reconnects", counts->reconnects);
    if (bench->base.duplicates_percent) {
        buf_printf(out, "%-12s%llu sent, %llu told\n", "duplicates",
                   (unsigned long long)counts->duplicates_sent,
                   (unsigned long long)counts->duplicates_told);
    }
    if (bench->base.forged_percent) {
        buf_printf(out, "%-12s%llu sent, %llu accepted\n", "forged",
                   (unsigned long long)counts->forged_sent,
                   (unsigned long long)counts->forged_accepted);
    }
    for (unsigned i = 0; i < bench->base.watch_count && counts->answered; i++) {
        if (total->watch_ns[i] != UINT64_MAX) {
            buf_printf(out, "cpu of %-5d%.3f us per request, %.1f %% of a core\n",
                       (int)bench->watch[i],
                       (double)total->watch_ns[i] / 1e3 / (double)counts->answered,
                       (double)total->watch_ns[i] * 100 / (double)total->measured_ns);
        }
    }
    buf_printf(out, "%-12s%.3f us per request, %.1f %% of a core\n", "generator",
               counts->answered ? (double)total->cpu_ns / 1e3 / (double)counts->answered : 0.0,
               total->measured_ns ? (double)total->cpu_ns * 100 / (double)total->measured_ns : 0.0);
}

static int report(struct bench *bench)
{
    const struct bench_counts *counts = &bench->total.counts;
    struct buf out;
    buf_init(&out, REPORT_BYTES_MAX);
    if (strcmp(option_text(&bench->options, "output"), "json") == 0) {
        report_json(&out, bench);
    } else {
        report_table(&out, bench);
    }
    fputs(buf_text(&out), stdout);
    buf_fini(&out);
    if (bench->total.stalled) {
        return cli_error("no answer for %s, given up", option_text(&bench->options, "patience"));
    }
    bool clean = counts->unexpected + counts->forged_accepted + counts->lost + counts->malformed +
                     counts->connect_errors + bench->total.unanswered ==
                 0;
    return clean && counts->answered > 0 ? CLI_DONE : CLI_FAILED;
}

int cli_bench(int argc, char **argv)
{
    struct bench *bench = calloc(1, sizeof *bench);
    if (!bench) {
        return cli_error("out of memory");
    }
    int rc;
    if (!options_parse(&bench->options, cli_bench_options, argc, argv) ||
        !options_complete(&bench->options)) {
        rc = cli_usage_error("bench", &bench->options);
    } else if (bench->options.help) {
        cli_help("bench");
        rc = CLI_DONE;
    } else {
        rc = settings_read(bench);
        rc = rc == CLI_DONE ? threads_run(bench) : rc;
        rc = rc == CLI_DONE ? report(bench) : rc;
    }
    buf_fini(&bench->headers);
    buf_fini(&bench->body);
    free(bench->body_file);
    if (bench->scheme) {
        scheme_wipe(bench->scheme);
        free(bench->scheme);
    }
    tls_trust_close(bench->trust);
    options_fini(&bench->options);
    free(bench);
    return rc;
}
