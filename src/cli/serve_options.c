/* serve_options.c - the options of `becket serve`, and what they ask for. */
#include "cli/serve.h"

#include "api/admin.h"
#include "base/log.h"
#include "base/time.h"
#include "cli/serve_tls.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

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
     "where webhooks come in; port 0: a free one, which the log's `ready` names", NULL, 0, 0, NULL},
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

/* "127.0.0.1:8080", "[::1]:8080", "localhost:8080", ":8080" (all IPv4 addresses). Port 0 is one
 * that is free. */
static bool parse_address(const char *text, struct ring_address *ret_address)
{
    const char *colon = strrchr(text, ':');
    char *end;
    char host[64];
    if (!colon || (size_t)(colon - text) >= sizeof host) {
        return false;
    }
    unsigned long port = strtoul(colon + 1, &end, 10);
    if (colon[1] < '0' || colon[1] > '9' || *end || port > 65535) {
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

void serve_name_listen(struct serve *serve)
{
    format_address(&serve->control.listen, serve->listen_text);
    if (!option_text(&serve->options, "public-url")) {
        snprintf(serve->public_url, sizeof serve->public_url, "%s%s",
                 serve_tls_wanted(&serve->options) ? "https://" : "http://", serve->listen_text);
    }
}

void serve_name_admin(struct serve *serve)
{
    format_address(&serve->control.admin_listen, serve->admin_text);
}

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
    serve_name_listen(serve);
    serve_name_admin(serve);
    if (serve->control.listen.port && strcmp(serve->listen_text, serve->admin_text) == 0) {
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
    if (url) {
        snprintf(serve->public_url, sizeof serve->public_url, "%s", url);
    }
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
        struct url url;
        const char *why;
        if (url_parse_host(slice_str(name), &url, &why) != BK_OK) {
            cli_usage("--admin-host \"%.100s\" is no host name: %s", name, why);
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

void serve_setup_log(struct options *options)
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
    serve->control.admin_answers_bytes_max = ADMIN_ANSWERS_BYTES_MAX;
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

bool serve_configure(struct serve *serve)
{
    char why[TLS_WHY_BYTES];
    if (!read_addresses(serve) || !read_resolvers(serve) || !read_admin_hosts(serve)) {
        return false;
    }
    if (!serve_tls_paired(&serve->options, why)) {
        cli_usage("%s", why);
        return false;
    }
    read_numbers(serve);
    return true;
}

bool serve_read(struct options *options, int argc, char **argv)
{
    if (!options_parse(options, cli_serve_options, argc, argv) || options->help) {
        return options->help;
    }
    const char *config = option_text(options, "config");
    return (!config || options_file(options, config)) && options_complete(options);
}

void serve_name_changed(const struct serve *serve, const struct options *fresh, char *ret_text,
                        size_t bytes)
{
    size_t used = 0;
    ret_text[0] = 0;
    for (unsigned i = 0; cli_serve_options[i].kind != OPTION_END; i++) {
        const char *name = cli_serve_options[i].name;
        const char *was = serve->options.values[i] ? serve->options.values[i] : "";
        const char *is = fresh->values[i] ? fresh->values[i] : "";
        bool reloaded = strncmp(name, "log-", 4) == 0 || strcmp(name, "ca-file") == 0 ||
                        (serve->control.tls && serve_tls_owns(name));
        if (reloaded || strcmp(was, is) == 0) {
            continue;
        }
        int added = snprintf(ret_text + used, bytes - used, "%s%s", used ? " " : "", name);
        used += added > 0 && (size_t)added < bytes - used ? (size_t)added : 0;
    }
}
