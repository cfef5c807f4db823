/* serve_machine.c - how much machine there is, and how much of it becket takes. */
#include "cli/serve.h"

#include "api/admin.h"
#include "base/log.h"
#include "cli/machine.h"
#include "ring/file.h"

#include <sys/resource.h>

static void choose_threads(struct serve *serve)
{
    unsigned usable = machine_cpus(serve->cpus);
    unsigned quota = machine_cpu_quota();
    unsigned wanted = (unsigned)option_number(&serve->options, "threads");
    unsigned fitting = quota && quota < usable ? quota : usable;
    serve->control.threads = wanted ? wanted : fitting;
    /* Pinning pays when each reactor has a CPU of its own; under a quota the scheduler knows
     * better. */
    bool own = serve->control.threads <= usable && !(quota && quota < usable);
    serve->control.cpus = own ? serve->cpus : NULL;
}

#define CONNECTIONS_DEFAULT 16384U
#define CONNECTIONS_FEWEST  64U  /* by default, where there are few descriptors, little memory */
#define DESCRIPTORS_PROCESS 256U /* of the process: segments, the store, name servers */
#define DESCRIPTORS_RING    64U  /* of each ring: listeners, segments */

/* The limit for so many connections of each thread. A ring with a table counts by itself, but none
 * may be larger than the limit. */
static uint64_t descriptors_for(const struct serve *serve, uint64_t connections)
{
    uint64_t ring = connections + reactor_handles_beside() + DESCRIPTORS_RING;
    return DESCRIPTORS_PROCESS + ring * (ring_has_table() ? 1 : serve->control.threads);
}

static bool choose_connections(struct serve *serve)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return false;
    }
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    file_reserve();
    uint64_t wanted = option_number(&serve->options, "connections");
    uint64_t needed = descriptors_for(serve, wanted ? wanted : CONNECTIONS_FEWEST);
    if (limit.rlim_max < needed) {
        cli_error("%s %llu needs RLIMIT_NOFILE %llu, it is %llu; raise it (ulimit -n, "
                  "LimitNOFILE=)",
                  wanted ? "--connections" : "even --connections",
                  (unsigned long long)(wanted ? wanted : CONNECTIONS_FEWEST),
                  (unsigned long long)needed, (unsigned long long)limit.rlim_max);
        return false;
    }
    uint64_t chosen = wanted ? wanted : CONNECTIONS_DEFAULT;
    while (!wanted && descriptors_for(serve, chosen) > limit.rlim_max) {
        chosen /= 2;
    }
    serve->control.conns_max = (unsigned)chosen;
    return true;
}

#define FILE_BYTES_MIN (64ULL << 20)

/* A segment has its size from the beginning, and the store grows. */
static bool check_file_limit(const struct serve *serve)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_max == RLIM_INFINITY) {
        limit.rlim_max = UINT64_MAX;
    }
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_FSIZE, &limit);
    uint64_t needed = serve->control.segment_bytes;
    needed = needed < FILE_BYTES_MIN ? FILE_BYTES_MIN : needed;
    if (limit.rlim_max < needed) {
        cli_error("RLIMIT_FSIZE is %llu, becket makes files of %llu bytes; raise it (ulimit -f, "
                  "LimitFSIZE=)",
                  (unsigned long long)limit.rlim_max, (unsigned long long)needed);
        return false;
    }
    return true;
}

/* The dedupe table (which may grow to its limit); for each thread its large requests, receive
 * buffers and journal frames, all its connections, and answers that are not read; what the API was
 * asked and has not answered, and its answers that are not read. TLS takes about 30 KiB of a
 * connection. Not the pages of the state that the kernel caches. */
uint64_t serve_memory_max_mib(const struct serve *serve)
{
    const struct control_config *control = &serve->control;
    struct http_server_config server = http_server_defaults;
    server.conns_max = server.tls_conns_max = control->conns_max;
    server.exchanges_max = 2 * control->conns_max;
    server.tls = control->tls;
    uint64_t connections = http_server_bytes(&server);
    uint64_t receive = (uint64_t)RECV_BUFFERS_PER_CORE * RECV_BUFFER_BYTES;
    uint64_t thread = control->buffers_bytes_max + receive + (8U << 20) + connections;
    server.answers_bytes_max = control->admin_answers_bytes_max;
    return (control->dedupe_bytes_max + control->threads * thread + http_server_bytes(&server) +
            ADMIN_CALLS_BYTES_MAX) >>
           20;
}

/* What was not asked for shall fit into the control group's memory, with a quarter of it left for
 * what is not counted, the state's pages first of all: who is over is killed. */
static void fit_memory(struct serve *serve)
{
    uint64_t limit = machine_memory_bytes();
    struct control_config *control = &serve->control;
    if (!limit) {
        return;
    }
    /* What was let in can be read again, its body as base64, too. */
    uint64_t dedupe = limit / 6, requests = limit / 8 / control->threads, answers = limit / 6;
    if (answers < control->admin_answers_bytes_max) {
        control->admin_answers_bytes_max = answers;
    }
    if (!option_given(&serve->options, "dedupe-memory") && dedupe < control->dedupe_bytes_max) {
        control->dedupe_bytes_max = dedupe > 16U << 20 ? dedupe : 16U << 20;
    }
    if (!option_given(&serve->options, "request-memory") && requests < control->buffers_bytes_max) {
        control->buffers_bytes_max = requests > 4U << 20 ? requests : 4U << 20;
    }
    while (!option_given(&serve->options, "connections") &&
           control->conns_max > CONNECTIONS_FEWEST &&
           serve_memory_max_mib(serve) > (limit / 4 * 3) >> 20) {
        control->conns_max /= 2;
    }
    if (serve_memory_max_mib(serve) > limit >> 20) {
        log_event(LOG_WARN, "memory may not suffice", LOG_I("limitMiB", limit >> 20),
                  LOG_I("memoryMaxMiB", serve_memory_max_mib(serve)),
                  LOG_Z("advice", "raise the limit, or lower --connections, --request-memory, "
                                  "--dedupe-memory or --threads"));
    }
}

bool serve_fit(struct serve *serve)
{
    choose_threads(serve);
    if (!choose_connections(serve) || !check_file_limit(serve)) {
        return false;
    }
    fit_memory(serve);
    return true;
}
