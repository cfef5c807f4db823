/* becket serve: options in, a running server out. */
#include "cli/cli.h"

#include "base/ct.h"
#include "base/log.h"
#include "base/time.h"
#include "cli/ground.h"
#include "cli/handover.h"
#include "cli/machine.h"
#include "cli/notify.h"
#include "cli/outgoing.h"
#include "cli/sandbox.h"
#include "cli/serve_tls.h"
#include "control/certificates.h"
#include "control/control.h"
#include "hub/resources/environment.h"
#include "hub/resources/quickstart.h"
#include "net/dns.h"
#include "ring/file.h"
#include "ring/socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define SERVE_FLAGS (OPTION_ENV | OPTION_FILE)

/* The sanitizers call what a server has no business with. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANDBOX_DEFAULT "off"
#else
#define SANDBOX_DEFAULT "on"
#endif

const struct option cli_serve_options[] = {
    {"config", 'c', OPTION_TEXT, OPTION_ENV, "FILE", NULL, "read these options from a YAML file",
     NULL, 0, 0, NULL},
    {"data", 'd', OPTION_TEXT, SERVE_FLAGS, "DIR", "./becket-data",
     "data directory, made when absent", NULL, 0, 0, NULL},
    {"listen", 'l', OPTION_TEXT, SERVE_FLAGS, "ADDR:PORT", "127.0.0.1:8080",
     "where webhooks come in", NULL, 0, 0, NULL},
    {"admin", 'a', OPTION_TEXT, SERVE_FLAGS, "ADDR:PORT", "127.0.0.1:8081",
     "where API and metrics are", NULL, 0, 0, NULL},
    {"admin-host", 0, OPTION_TEXT, SERVE_FLAGS | OPTION_LIST, "NAME,...", NULL,
     "further host names that API requests may be addressed to", NULL, 0, 0, NULL},
    {"admin-url", 0, OPTION_TEXT, SERVE_FLAGS, "URL", NULL,
     "how browsers reach --admin; default: as they say", NULL, 0, 0, NULL},
    {"threads", 't', OPTION_NUMBER, SERVE_FLAGS, "N", NULL, "reactors; default: one per usable CPU",
     NULL, 1, CORES_MAX, NULL},
    {"public-url", 0, OPTION_TEXT, SERVE_FLAGS, "URL", NULL,
     "how senders reach us; default: http:// (https://) and --listen", NULL, 0, 0, NULL},
    {"log-level", 0, OPTION_CHOICE, SERVE_FLAGS, "LEVEL", "info", "what is logged",
     "error|warn|info|debug", 0, 0, NULL},
    {"log-format", 0, OPTION_CHOICE, SERVE_FLAGS, "FORMAT", "text", "how it is logged", "text|json",
     0, 0, NULL},
    {"durability", 0, OPTION_CHOICE, SERVE_FLAGS, "MODE", "fsync",
     "none: acknowledge before events are on disk (comparison runs only)", "fsync|none", 0, 0,
     NULL},
    {"retain-bytes", 0, OPTION_BYTES, SERVE_FLAGS, "BYTES", "10G",
     "keep at most this much journal; 0: no limit", NULL, 0, 0, NULL},
    {"retain-age", 0, OPTION_DURATION, SERVE_FLAGS, "TIME", "30d",
     "keep events this long; 0s: no limit", NULL, 0, 0, NULL},
    {"segment-bytes", 0, OPTION_BYTES, SERVE_FLAGS, "BYTES", NULL,
     "size of a journal file; default 128M, 64M on a small disk", NULL, 1U << 20, 1ULL << 32, NULL},
    {"dedupe-memory", 0, OPTION_BYTES, SERVE_FLAGS, "BYTES", "256M",
     "memory for delivery ids, some 48 bytes each", NULL, 16U << 20, 1ULL << 40, NULL},
    {"connections", 0, OPTION_NUMBER, SERVE_FLAGS, "N", NULL,
     "at once, per thread; default by RLIMIT_NOFILE", NULL, 8, 1000000, NULL},
    {"connections-per-address", 0, OPTION_NUMBER, SERVE_FLAGS, "N", "0",
     "at once from one address (IPv6: /64), per thread and listener; 0: no limit", NULL, 0, 1000000,
     NULL},
    {"idle-timeout", 0, OPTION_DURATION, SERVE_FLAGS, "TIME", "75s",
     "close a connection without a request after so long", NULL, 1, 0, NULL},
    {"head-timeout", 0, OPTION_DURATION, SERVE_FLAGS, "TIME", "10s",
     "how long a request's head may take to arrive", NULL, 1, 0, NULL},
    {"request-memory", 0, OPTION_BYTES, SERVE_FLAGS, "BYTES", "256M",
     "per thread, for large and slow requests", NULL, 1U << 20, 1ULL << 40, NULL},
    {"resolver", 0, OPTION_TEXT, SERVE_FLAGS | OPTION_LIST, "ADDR[:PORT]", NULL,
     "name server for outgoing calls, up to 8; default: resolv.conf", NULL, 0, 0, NULL},
    {"drain-timeout", 0, OPTION_DURATION, SERVE_FLAGS, "TIME", "20s", "how long a stop may take",
     NULL, 0, 0, NULL},
    {"drain-delay", 0, OPTION_DURATION, SERVE_FLAGS, "TIME", "0s",
     "after SIGTERM, go on so long as not ready before the drain", NULL, 0, 0, NULL},
    {"take-over", 0, OPTION_FLAG, SERVE_FLAGS, NULL, NULL,
     "take listeners and data directory over from the server that runs there", NULL, 0, 0, NULL},
    {"sandbox", 0, OPTION_CHOICE, SERVE_FLAGS, "MODE", SANDBOX_DEFAULT,
     "give up what is not needed: files, system calls", "on|off", 0, 0, NULL},
    {"accept-journal-damage", 0, OPTION_FLAG, SERVE_FLAGS, NULL, NULL,
     "start although the journal is damaged, without what is unreadable", NULL, 0, 0, NULL},
    {"quick-start", 0, OPTION_FLAG, SERVE_FLAGS, NULL, NULL,
     "at the first start, make a source to try things with", NULL, 0, 0, NULL},
    {"ca-file", 0, OPTION_TEXT, SERVE_FLAGS, "FILE", NULL,
     "authorities to trust in outgoing calls, besides the system's (PEM)", NULL, 0, 0, NULL},
    SERVE_TLS_OPTIONS(SERVE_FLAGS),
    {.kind = OPTION_END},
};

struct serve {
    struct options options;
    int argc;
    char **argv;
    struct control_config control;
    struct ring_address dns_servers[DNS_SERVERS_MAX];
    int cpus[CORES_MAX];
    char public_url[512];
    char admin_url[256];
    char listen_text[80], admin_text[80];
    char admin_hosts_text[1024];
    const char *admin_hosts[16];
    struct control_sockets sockets;
    struct outgoing outgoing;
    char sandbox[64];
    int lock_file;
};

/* ---- addresses */

/* "127.0.0.1:8080", "[::1]:8080", "localhost:8080", ":8080" (all IPv4 addresses). */
static bool parse_address(const char *text, struct ring_address *ret_address)
{
    const char *colon = strrchr(text, ':');
    char *end;
    char host[64];
    if (!colon || (size_t)(colon - text) >= sizeof host) {
        return false;
    }
    unsigned long port = strtoul(colon + 1, &end, 10);
    if (colon[1] == 0 || *end || port == 0 || port > 65535) {
        return false;
    }
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = 0;
    *ret_address = (struct ring_address){.family = 4, .port = (uint16_t)port};
    size_t bytes = strlen(host);
    if (bytes >= 2 && host[0] == '[' && host[bytes - 1] == ']') {
        host[bytes - 1] = 0;
        ret_address->family = 6;
        return inet_pton(AF_INET6, host + 1, ret_address->at) == 1;
    }
    const char *name = bytes == 0 ? "0.0.0.0" : strcmp(host, "localhost") == 0 ? "127.0.0.1" : host;
    return inet_pton(AF_INET, name, ret_address->at) == 1;
}

static void format_address(const struct ring_address *address, char ret_text[80])
{
    char host[64];
    inet_ntop(address->family == 6 ? AF_INET6 : AF_INET, address->at, host, sizeof host);
    snprintf(ret_text, 80, address->family == 6 ? "[%s]:%u" : "%s:%u", host,
             (unsigned)address->port);
}

/* ---- how much machine there is */

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

#define DESCRIPTORS_MIN     512U
#define CONNECTIONS_DEFAULT 16384U

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
    if (limit.rlim_max < DESCRIPTORS_MIN) {
        cli_error(
            "RLIMIT_NOFILE is %llu, becket needs at least %u; raise it (ulimit -n, LimitNOFILE=)",
            (unsigned long long)limit.rlim_max, DESCRIPTORS_MIN);
        return false;
    }
    uint64_t fitting = limit.rlim_max - 256;
    if (wanted > fitting) {
        cli_error("--connections %llu needs RLIMIT_NOFILE %llu, it is %llu; raise it (ulimit -n, "
                  "LimitNOFILE=)",
                  (unsigned long long)wanted, (unsigned long long)wanted + 256,
                  (unsigned long long)limit.rlim_max);
        return false;
    }
    uint64_t chosen = wanted                          ? wanted
                      : fitting < CONNECTIONS_DEFAULT ? fitting
                                                      : CONNECTIONS_DEFAULT;
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

/* ---- options */

/* A scheme and something of a host; no query, for a path is put behind it. */
static bool valid_url(const char *url)
{
    size_t scheme = strncmp(url, "http://", 7) == 0 ? 7 : strncmp(url, "https://", 8) == 0 ? 8 : 0;
    return scheme && url[scheme] && url[scheme] != '/' && !strpbrk(url, "?# \t\r\n\"<>");
}

/* --admin-url, or as Gitploy's servers were told it. */
static bool read_admin_url(struct serve *serve)
{
    const char *url = option_text(&serve->options, "admin-url");
    const char *host = getenv("GITPLOY_SERVER_HOST"), *proto = getenv("GITPLOY_SERVER_PROTO");
    if (!url && (!host || !*host)) {
        return true;
    }
    int bytes = url ? snprintf(serve->admin_url, sizeof serve->admin_url, "%s", url)
                    : snprintf(serve->admin_url, sizeof serve->admin_url, "%s://%s",
                               proto && *proto ? proto : "https", host);
    while (bytes > 0 && (size_t)bytes < sizeof serve->admin_url &&
           serve->admin_url[bytes - 1] == '/') {
        serve->admin_url[--bytes] = 0;
    }
    if (bytes <= 0 || (size_t)bytes >= sizeof serve->admin_url || !valid_url(serve->admin_url)) {
        cli_usage("%s is no http:// or https:// URL",
                  url ? "--admin-url" : "GITPLOY_SERVER_PROTO and GITPLOY_SERVER_HOST");
        return false;
    }
    serve->control.admin_url = serve->admin_url;
    return true;
}

static bool read_addresses(struct serve *serve)
{
    const char *listen = option_text(&serve->options, "listen");
    const char *admin = option_text(&serve->options, "admin");
    const char *wrong = !parse_address(listen, &serve->control.listen)        ? listen
                        : !parse_address(admin, &serve->control.admin_listen) ? admin
                                                                              : NULL;
    if (wrong) {
        cli_usage(
            "\"%s\" is no address to listen on; write ADDR:PORT, e.g. 127.0.0.1:8080 or [::1]:8080",
            wrong);
        return false;
    }
    format_address(&serve->control.listen, serve->listen_text);
    format_address(&serve->control.admin_listen, serve->admin_text);
    if (strcmp(serve->listen_text, serve->admin_text) == 0) {
        cli_usage("--listen and --admin are both %s; hooks and API need a port each",
                  serve->listen_text);
        return false;
    }
    const char *url = option_text(&serve->options, "public-url");
    if (url && !valid_url(url)) {
        cli_usage("--public-url \"%s\" is no http:// or https:// URL", url);
        return false;
    }
    if (url && strlen(url) >= sizeof serve->public_url) {
        cli_usage("--public-url is too long: at most %zu characters", sizeof serve->public_url - 1);
        return false;
    }
    const char *scheme = serve_tls_wanted(&serve->options) ? "https://" : "http://";
    snprintf(serve->public_url, sizeof serve->public_url, "%s%s", url ? "" : scheme,
             url ? url : serve->listen_text);
    size_t bytes = strlen(serve->public_url);
    while (bytes && serve->public_url[bytes - 1] == '/') {
        serve->public_url[--bytes] = 0;
    }
    serve->control.public_url = serve->public_url;
    return read_admin_url(serve);
}

/* --resolver, each one address or several with commas between (in the environment). */
static bool read_resolvers(struct serve *serve)
{
    struct control_config *control = &serve->control;
    control->dns_servers = serve->dns_servers;
    for (unsigned i = 0; i < option_list_count(&serve->options, "resolver"); i++) {
        struct slice left = slice_str(option_list_at(&serve->options, "resolver", i));
        for (bool more = true; more;) {
            size_t comma = slice_find(left, ',');
            struct slice text = slice_trim(slice_of(left.at, comma));
            more = comma < left.bytes;
            left = slice_skip(left, comma + 1);
            if (control->dns_server_count == DNS_SERVERS_MAX) {
                cli_usage("--resolver: at most %u name servers", DNS_SERVERS_MAX);
                return false;
            }
            if (!address_parse_port(text, 53, &serve->dns_servers[control->dns_server_count++])) {
                cli_usage("--resolver \"%.*s\" is no name server; write ADDR or ADDR:PORT, e.g. "
                          "10.0.0.2 or [fd00::2]:5353",
                          (int)(text.bytes < 100 ? text.bytes : 100), (const char *)text.at);
                return false;
            }
        }
    }
    return true;
}

/* Several times, and "a.example, b.example". */
static bool read_admin_hosts(struct serve *serve)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < option_list_count(&serve->options, "admin-host"); i++) {
        const char *text = option_list_at(&serve->options, "admin-host", i);
        size_t room = sizeof serve->admin_hosts_text - bytes;
        int more = snprintf(serve->admin_hosts_text + bytes, room, "%s ", text);
        if (more < 0 || (size_t)more >= room || strpbrk(text, "/:\"<>")) {
            cli_usage("--admin-host takes names such as hooks.example, without scheme or port");
            return false;
        }
        bytes += (size_t)more;
    }
    char *rest = serve->admin_hosts_text;
    for (char *name; (name = strtok_r(NULL, ", ", &rest)) != NULL;) {
        if (serve->control.admin_host_count == bk_array_length(serve->admin_hosts)) {
            cli_usage("--admin-host: at most %zu names", bk_array_length(serve->admin_hosts));
            return false;
        }
        serve->admin_hosts[serve->control.admin_host_count++] = name;
    }
    serve->control.admin_hosts = serve->admin_hosts;
    return true;
}

static enum log_level level_of(const char *text)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    for (unsigned i = 0; i < bk_array_length(names); i++) {
        if (strcmp(text, names[i]) == 0) {
            return (enum log_level)i;
        }
    }
    return LOG_INFO;
}

static void setup_log(struct options *options)
{
    log_setup(level_of(option_text(options, "log-level")),
              strcmp(option_text(options, "log-format"), "json") == 0 ? LOG_JSON : LOG_TEXT);
}

/* A day at most: nobody means "for ever". */
static uint32_t milliseconds(const struct options *options, const char *name)
{
    int64_t wanted = option_duration_ns(options, name) / NS_PER_MS;
    return wanted > 86400000 ? 86400000U : wanted < 1 ? 1U : (uint32_t)wanted;
}

static void read_numbers(struct serve *serve)
{
    struct options *options = &serve->options;
    serve->control.data_directory = option_text(options, "data");
    serve->control.version = BECKET_VERSION;
    serve->control.durable = strcmp(option_text(options, "durability"), "none") != 0;
    serve->control.buffers_bytes_max = option_number(options, "request-memory");
    serve->control.dedupe_bytes_max = option_number(options, "dedupe-memory");
    serve->control.segment_bytes = option_number(options, "segment-bytes") & ~4095ULL;
    serve->control.retain_bytes = option_number(options, "retain-bytes");
    serve->control.retain_ns = option_duration_ns(options, "retain-age");
    serve->control.accept_journal_damage = option_flag(options, "accept-journal-damage");
    serve->control.drain_timeout_ns = option_duration_ns(options, "drain-timeout");
    serve->control.conns_per_address = (unsigned)option_number(options, "connections-per-address");
    serve->control.idle_timeout_ms = milliseconds(options, "idle-timeout");
    serve->control.head_timeout_ms = milliseconds(options, "head-timeout");
    serve->control.drain_delay_ns = option_duration_ns(options, "drain-delay");
}

static bool read_options(struct options *options, int argc, char **argv)
{
    if (!options_parse(options, cli_serve_options, argc, argv) || options->help) {
        return options->help;
    }
    const char *config = option_text(options, "config");
    return (!config || options_file(options, config)) && options_complete(options);
}

/* The names of what is set otherwise than at the start and has no effect yet. */
static void name_changed(const struct serve *serve, const struct options *fresh, char *ret_text,
                         size_t bytes)
{
    size_t used = 0;
    ret_text[0] = 0;
    for (unsigned i = 0; cli_serve_options[i].kind != OPTION_END; i++) {
        const char *name = cli_serve_options[i].name;
        const char *was = serve->options.values[i] ? serve->options.values[i] : "";
        const char *is = fresh->values[i] ? fresh->values[i] : "";
        bool reloaded =
            strncmp(name, "log-", 4) == 0 || (serve->control.tls && serve_tls_owns(name));
        if (reloaded || strcmp(was, is) == 0) {
            continue;
        }
        int added = snprintf(ret_text + used, bytes - used, "%s%s", used ? " " : "", name);
        used += added > 0 && (size_t)added < bytes - used ? (size_t)added : 0;
    }
}

/* ---- certificates */

static bool open_tls(struct serve *serve)
{
    struct tls_server *server;
    char why[TLS_WHY_BYTES];
    if (!serve_tls_wanted(&serve->options)) {
        return true;
    }
    if (!serve_tls_read(&serve->options, &server, why)) {
        cli_error("%s", why);
        return false;
    }
    certificates_log(server, time(NULL));
    if (tls_slot_open(server, &serve->control.tls) != BK_OK) {
        cli_error("out of memory");
        return false;
    }
    serve->control.admin_tls = !serve_tls_is_loopback(&serve->control.admin_listen);
    return true;
}

static bool open_outgoing(struct serve *serve)
{
    char why[TLS_WHY_BYTES];
    if (!outgoing_open(option_text(&serve->options, "ca-file"), &serve->outgoing, why)) {
        cli_error("%s", why);
        return false;
    }
    serve->control.trust = serve->outgoing.trust;
    serve->control.proxy = serve->outgoing.proxy;
    return true;
}

/* New handshakes use what was read; a mistake leaves everything as it is, and gives false. */
static bool reload_tls(struct serve *serve, const struct options *fresh)
{
    struct tls_server *server;
    char why[TLS_WHY_BYTES];
    if (!serve->control.tls) {
        return true;
    }
    if (!serve_tls_read(fresh, &server, why)) {
        log_event(LOG_ERROR, "certificates not reloaded, the old ones stay", LOG_Z("why", why));
        return false;
    }
    certificates_log(server, time(NULL));
    tls_slot_put(serve->control.tls, server);
    return true;
}

/* SIGHUP: certificates, and the log's level and format; everything else needs a restart, and says
 * so. */
static void reload(void *context)
{
    struct serve *serve = context;
    struct options fresh;
    char changed[512];
    notify_reloading();
    if (!read_options(&fresh, serve->argc, serve->argv)) {
        log_event(LOG_ERROR, "not reloaded", LOG_Z("why", fresh.error));
        options_fini(&fresh);
        notify_send("READY=1\nSTATUS=not reloaded, see the log");
        return;
    }
    setup_log(&fresh);
    bool whole = reload_tls(serve, &fresh);
    const char *path = option_text(&fresh, "config");
    name_changed(serve, &fresh, changed, sizeof changed);
    log_event(
        whole ? LOG_INFO : LOG_WARN, whole ? "reloaded" : "reloaded, but for the certificates",
        LOG_Z("config", path ? path : "none"), LOG_Z("logLevel", option_text(&fresh, "log-level")));
    if (changed[0]) {
        log_event(LOG_WARN, "a restart is needed", LOG_Z("for", changed));
    }
    options_fini(&fresh);
    notify_send(whole ? "READY=1\nSTATUS=serving"
                      : "READY=1\nSTATUS=serving; certificates not reloaded, see the log");
}

static void alive(void *context)
{
    (void)context;
    notify_send("WATCHDOG=1");
}

static void stopping(void *context)
{
    (void)context;
    handover_stop();
    notify_send("STOPPING=1\nSTATUS=draining");
}

/* ---- sockets that others made */

static void name_sockets(struct serve *serve)
{
    const struct control_sockets *sockets = &serve->sockets;
    if (sockets->ingress_count &&
        socket_address(sockets->ingress[0], &serve->control.listen) == BK_OK) {
        format_address(&serve->control.listen, serve->listen_text);
        if (!option_text(&serve->options, "public-url")) {
            snprintf(serve->public_url, sizeof serve->public_url, "%s%s",
                     serve_tls_wanted(&serve->options) ? "https://" : "http://",
                     serve->listen_text);
        }
    }
    if (sockets->admin_count &&
        socket_address(sockets->admin[0], &serve->control.admin_listen) == BK_OK) {
        format_address(&serve->control.admin_listen, serve->admin_text);
    }
}

/* The running server goes as soon as it has answered what it has; then the lock is ours. */
static enum bk_err take_over(struct serve *serve)
{
    struct control_sockets given = {.ingress_count = 0};
    char why[HANDOVER_WHY_BYTES];
    if (!handover_ask(serve->control.data_directory, &given, why)) {
        cli_error("%s", why);
        return BK_BUSY;
    }
    char lines[64];
    snprintf(lines, sizeof lines, "MAINPID=%ld\nSTATUS=taking over", (long)getpid());
    notify_send(lines); /* before the old one ends */
    if (serve->sockets.ingress_count + serve->sockets.admin_count == 0) {
        serve->sockets = given;
        name_sockets(serve);
    } /* else the service manager's are the same ones */
    log_event(LOG_INFO, "taking over", LOG_I("sockets", given.ingress_count + given.admin_count));
    enum bk_err err = BK_BUSY;
    int64_t waited_ns = 0, patience_ns = serve->control.drain_timeout_ns + 10 * NS_PER_SECOND;
    for (; err == BK_BUSY && waited_ns < patience_ns; waited_ns += 2 * NS_PER_MS) {
        usleep(2000);
        err = file_lock(serve->lock_file);
    }
    if (err == BK_BUSY) {
        cli_error("the old server did not end within its --drain-timeout; nothing was taken over");
    }
    return err;
}

/* ---- the data directory */

static bool check_modes(const struct serve *serve)
{
    unsigned mode;
    if (!ground_keeps_modes(serve->lock_file, &mode)) {
        cli_error("data directory %s is on a file system that keeps no permissions (its files are "
                  "%04o): keys and tokens would lie open; mount it with umask=077, or choose "
                  "another with --data",
                  serve->control.data_directory, mode);
        return false;
    }
    return true;
}

static bool lock_data(struct serve *serve)
{
    const char *data = serve->control.data_directory;
    char path[4096];
    enum bk_err err = directory_make(data);
    if (err != BK_OK) {
        cli_error("data directory %s cannot be made: %s; choose another with --data", data,
                  err == BK_EXISTS ? "there is a file of this name" : bk_err_text(err));
        return false;
    }
    snprintf(path, sizeof path, "%s/becket.lock", data);
    err = file_open(path, FILE_READ | FILE_WRITE | FILE_CREATE, &serve->lock_file);
    if (err == BK_OK) {
        err = file_lock(serve->lock_file);
    }
    if (err == BK_BUSY && option_flag(&serve->options, "take-over")) {
        return take_over(serve) == BK_OK && check_modes(serve);
    }
    if (err == BK_BUSY) {
        cli_error("data directory %s is in use by another becket; stop that one, take it over "
                  "(--take-over) or choose another --data",
                  data);
    } else if (err == BK_NOT_A_FILE || err == BK_DIRECTORY) {
        cli_error("%s %s; remove it, it is made anew", path, bk_err_text(err));
    } else if (err != BK_OK) {
        cli_error("data directory %s cannot be used: %s; it must be writable for this user", data,
                  bk_err_text(err));
    }
    return err == BK_OK && check_modes(serve);
}

/* ---- what a person sees */

/* How to call this very program: by its path, from where we are. */
static const char *name_program(char ret_program[4096])
{
    char directory[4096];
    ssize_t bytes = readlink("/proc/self/exe", ret_program, 4095);
    ret_program[bytes > 0 ? bytes : 0] = 0;
    size_t prefix = getcwd(directory, sizeof directory) ? strlen(directory) : 0;
    bool below = bytes > 0 && prefix && strncmp(ret_program, directory, prefix) == 0 &&
                 ret_program[prefix] == '/';
    if (!below) {
        return bytes > 0 ? ret_program : "becket";
    }
    /* "./becket": a name without a slash would be looked for in PATH. */
    char *name = ret_program + prefix + 1;
    if (strchr(name, '/') == NULL) {
        *--name = '/';
        *--name = '.';
    }
    return name;
}

/* Two commands. secret: NULL = it is not shown again, so the first one asks for it. */
static void print_try(const struct serve *serve, const char *secret)
{
    char program[4096];
    const char *name = name_program(program);
    struct buf text, server;
    buf_init(&text, 64U << 10);
    buf_init(&server, 16U << 10);
    buf_printf(&server, "--data %s --server %s://%s", serve->control.data_directory,
               serve->control.admin_tls ? "https" : "http", serve->admin_text);
    /* The public URL may be a proxy's that is not there yet; a certificate has its names. */
    buf_printf(&text,
               "\nTry it in a second terminal:\n\n"
               "  echo '{\"hello\":\"world\"}' | %s send %s%s/hooks/%s --type %s --secret ",
               name, serve->control.tls ? "" : "http://",
               serve->control.tls ? serve->public_url : serve->listen_text, QUICKSTART_NAME,
               QUICKSTART_TYPE);
    if (secret) {
        buf_add_str(&text, secret);
    } else {
        buf_printf(&text, "\"$(%s secrets event-source %s %s)\"", name, QUICKSTART_NAME,
                   buf_text(&server));
    }
    buf_printf(&text, " --body -\n  %s events --follow %s\n\n", name, buf_text(&server));
    fputs(buf_text(&text), stdout);
    fflush(stdout);
    bk_wipe(text.at, text.bytes);
    buf_fini(&text);
    buf_fini(&server);
}

static void print_quick_start(struct serve *serve, struct control *control)
{
    struct quickstart quickstart;
    char why[HUB_WHY_BYTES];
    uint64_t number;
    struct hub *hub = control_hub(control);
    enum bk_err err = quickstart_apply(hub, control_wall_ns(control), &quickstart, why);
    if (err == BK_OK) {
        print_try(serve, quickstart.secret);
        explicit_bzero(&quickstart, sizeof quickstart);
    } else if (err == BK_EXISTS &&
               hub_source_number(hub, SLICE_EMPTY, SLICE(QUICKSTART_NAME), &number) == BK_OK) {
        print_try(serve, NULL);
    } else if (err != BK_EXISTS) { /* else its source was deleted: it has served its purpose */
        log_event(LOG_WARN, "quick start failed", LOG_Z("why", why));
    }
}

/* ---- the sandbox */

static bool sandboxed(const struct serve *serve)
{
    return strcmp(option_text(&serve->options, "sandbox"), "off") != 0;
}

static void name_sandbox(struct serve *serve, const char *part)
{
    size_t used = strlen(serve->sandbox);
    snprintf(serve->sandbox + used, sizeof serve->sandbox - used, "%s%s", used ? " " : "", part);
}

/* Before the first thread. */
static void restrict_files(struct serve *serve)
{
    struct sandbox_files files = {
        .data_directory = serve->control.data_directory,
        .reads = {option_text(&serve->options, "config"), getenv("BECKET_MASTER_KEY_FILE"),
                  option_text(&serve->options, "tls-client-ca"),
                  option_text(&serve->options, "ca-file")},
    };
    static const char *const lists[] = {"tls-cert", "tls-key"};
    unsigned count = 4;
    for (unsigned list = 0; list < bk_array_length(lists); list++) {
        unsigned length = option_list_count(&serve->options, lists[list]);
        for (unsigned i = 0; i < length && count < SANDBOX_PATHS_MAX; i++) {
            files.reads[count++] = option_list_at(&serve->options, lists[list], i);
        }
    }
    char part[24];
    int abi;
    if (!sandbox_files(&files, &abi)) {
        log_event(LOG_WARN, "files are not sandboxed", LOG_Z("why", strerror(errno)));
        return;
    }
    name_sandbox(serve, "no-new-privs");
    if (abi) {
        snprintf(part, sizeof part, "landlock-%d", abi);
        name_sandbox(serve, part);
    }
}

/* When all is set up. */
static void restrict_calls(struct serve *serve)
{
    if (sandbox_calls()) {
        name_sandbox(serve, "seccomp");
    } else {
        log_event(LOG_WARN, "system calls are not sandboxed", LOG_Z("why", strerror(errno)));
    }
}

/* What can be in use at most: the dedupe table (which may grow to its limit); for each thread its
 * large requests, receive buffers and journal frames, and all its connections. TLS takes about 30
 * KiB of a connection. Not the pages of the state that the kernel caches. */
static uint64_t memory_max_mib(const struct serve *serve)
{
    const struct control_config *control = &serve->control;
    struct http_server_config server = http_server_defaults;
    server.conns_max = server.tls_conns_max = control->conns_max;
    server.exchanges_max = 2 * control->conns_max;
    server.tls = control->tls;
    uint64_t connections = http_server_bytes(&server);
    uint64_t receive = (uint64_t)RECV_BUFFERS_PER_CORE * RECV_BUFFER_BYTES;
    uint64_t thread = control->buffers_bytes_max + receive + (8U << 20) + connections;
    return (control->dedupe_bytes_max + control->threads * thread + connections) >> 20;
}

#define CONNECTIONS_LEAST 256U

/* What was not asked for shall fit into the control group's memory, with a quarter of it left for
 * what is not counted, the state's pages first of all: who is over is killed. */
static void fit_memory(struct serve *serve)
{
    uint64_t limit = machine_memory_bytes();
    struct control_config *control = &serve->control;
    if (!limit) {
        return;
    }
    uint64_t dedupe = limit / 4, requests = limit / 4 / control->threads;
    if (!option_given(&serve->options, "dedupe-memory") && dedupe < control->dedupe_bytes_max) {
        control->dedupe_bytes_max = dedupe > 16U << 20 ? dedupe : 16U << 20;
    }
    if (!option_given(&serve->options, "request-memory") && requests < control->buffers_bytes_max) {
        control->buffers_bytes_max = requests > 4U << 20 ? requests : 4U << 20;
    }
    while (!option_given(&serve->options, "connections") &&
           control->conns_max > CONNECTIONS_LEAST &&
           memory_max_mib(serve) > (limit / 4 * 3) >> 20) {
        control->conns_max /= 2;
    }
    if (memory_max_mib(serve) > limit >> 20) {
        log_event(LOG_WARN, "memory may not suffice", LOG_I("limitMiB", limit >> 20),
                  LOG_I("memoryMaxMiB", memory_max_mib(serve)),
                  LOG_Z("advice", "raise the limit, or lower --connections, --request-memory, "
                                  "--dedupe-memory or --threads"));
    }
}

/* What the file system under the data directory does with what it is told. */
static void log_ground(const struct serve *serve)
{
    const char *effect, *advice;
    const char *trouble = ground_trouble(serve->lock_file, &effect, &advice);
    if (trouble && serve->control.durable) {
        log_event(LOG_WARN, trouble, LOG_Z("path", serve->control.data_directory),
                  LOG_Z("effect", effect), LOG_Z("advice", advice));
    }
}

static void log_ready(struct serve *serve, struct control *control)
{
    const struct journal_report *report = control_report(control);
    if (report->torn_frames) {
        log_event(LOG_INFO, "unfinished commits cut off", LOG_I("frames", report->torn_frames),
                  LOG_I("bytes", report->torn_bytes));
    }
    if (!serve->control.durable) {
        log_event(LOG_WARN, "durability is none: acknowledged events may be lost in a crash",
                  LOG_Z("use", "comparison runs only"));
    }
    log_ground(serve);
    log_event(LOG_INFO, "machine", LOG_Z("sandbox", serve->sandbox[0] ? serve->sandbox : "off"),
              LOG_I("connectionsPerThread", serve->control.conns_max));
    log_event(LOG_INFO, "ready", LOG_Z("listen", serve->listen_text),
              LOG_Z("admin", serve->admin_text), LOG_Z("publicUrl", serve->public_url),
              LOG_Z("tls", !serve->control.tls        ? "off"
                           : serve->control.admin_tls ? "both listeners"
                                                      : "ingress"),
              LOG_I("threads", serve->control.threads),
              LOG_Z("durability", serve->control.durable ? "fsync" : "none"),
              LOG_I("memoryMaxMiB", memory_max_mib(serve)), LOG_I("events", report->records),
              LOG_I("startMs", control_start_ms(control)),
              LOG_Z("ring", control_ring_features(control)));
}

static int serve_run(struct serve *serve)
{
    struct control *control;
    char why[CONTROL_WHY_BYTES];
    if (!lock_data(serve) || !open_tls(serve) || !open_outgoing(serve)) {
        return CLI_FAILED;
    }
    if (sandboxed(serve)) {
        restrict_files(serve);
    }
    if (control_open(&serve->control, &control, why) != BK_OK) {
        return cli_error("%s", why);
    }
    if (!handover_offer(serve->control.data_directory, &serve->sockets, control)) {
        log_event(LOG_WARN, "no hand-over", LOG_Z("effect", "--take-over will not work"));
    }
    if (sandboxed(serve)) {
        restrict_calls(serve);
    }
    char environment_why[HUB_WHY_BYTES];
    if (environment_apply(control_hub(control), control_wall_ns(control), environment_why) !=
        BK_OK) {
        log_event(LOG_WARN, "GITPLOY_SLACK_… cannot be used", LOG_Z("why", environment_why));
    }
    log_ready(serve, control);
    notify_send("READY=1\nSTATUS=serving");
    if (option_flag(&serve->options, "quick-start")) {
        print_quick_start(serve, control);
    }
    control_run(control);
    handover_end(serve->control.data_directory);
    control_close(control);
    tls_slot_close(serve->control.tls);
    outgoing_close(&serve->outgoing);
    log_event(LOG_INFO, "stopped", LOG_Z("state", "everything acknowledged is on disk"));
    return CLI_DONE;
}

int cli_serve(int argc, char **argv)
{
    static struct serve serve;
    if (!read_options(&serve.options, argc, argv)) {
        return cli_usage_error("serve", &serve.options);
    }
    if (serve.options.help) {
        cli_help("serve");
        return CLI_DONE;
    }
    serve.argc = argc;
    serve.argv = argv;
    if (serve.options.argument_count) {
        return cli_usage("serve takes no argument \"%s\"; see `becket help serve`",
                         serve.options.arguments[0]);
    }
    /* No core dumps with secrets; the kernel then also hides /proc/PID/environ from other users.
     * What a debugger dumps of the living process has no memory in it either; this comes first, for
     * the file is not ours to write afterwards. */
    FILE *filter = fopen("/proc/self/coredump_filter", "we");
    if (filter) {
        fputs("0", filter);
        fclose(filter);
    }
    (void)prctl(PR_SET_DUMPABLE, 0);
    setup_log(&serve.options);
    if (!read_addresses(&serve) || !read_resolvers(&serve) || !read_admin_hosts(&serve)) {
        return CLI_USAGE;
    }
    serve.control.reload = reload;
    serve.control.alive = alive;
    serve.control.stopping = stopping;
    serve.control.context = &serve;
    serve.control.sockets = &serve.sockets;
    read_numbers(&serve);
    notify_open();
    serve.control.watchdog_ns = notify_watchdog_ns();
    char why[HANDOVER_WHY_BYTES];
    if (!handover_inherit(&serve.control.admin_listen, &serve.sockets, why)) {
        return cli_error("%s", why);
    }
    name_sockets(&serve);
    choose_threads(&serve);
    if (!choose_connections(&serve) || !check_file_limit(&serve)) {
        return CLI_FAILED;
    }
    fit_memory(&serve);
    return serve_run(&serve);
}
