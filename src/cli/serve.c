/* becket serve: options in, a running server out. */
#include "cli/serve.h"

#include "base/log.h"
#include "base/time.h"
#include "cli/clock.h"
#include "cli/ground.h"
#include "cli/handover.h"
#include "cli/notify.h"
#include "cli/sandbox.h"
#include "cli/serve_tls.h"
#include "control/certificates.h"
#include "control/guard.h"
#include "hub/data_key.h"
#include "hub/resources/environment.h"
#include "ring/file.h"
#include "ring/socket.h"
#include "store/master_key.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

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
    serve->control.admin_tls = !address_is_loopback(&serve->control.admin_listen);
    return true;
}

static bool open_outgoing(struct serve *serve)
{
    char why[TLS_WHY_BYTES];
    const char *ca_file = option_text(&serve->options, "ca-file");
    if (!outgoing_open(ca_file, &serve->outgoing, why)) {
        cli_error("%s%s", ca_file && strstr(why, ca_file) == why ? "--ca-file: " : "", why);
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

/* New connections believe who was read. */
static bool reload_outgoing(struct serve *serve, const struct options *fresh)
{
    char why[TLS_WHY_BYTES];
    if (!outgoing_reload(&serve->outgoing, option_text(fresh, "ca-file"), why)) {
        log_event(LOG_ERROR, "certificate authorities not reloaded, the old ones stay",
                  LOG_Z("why", why));
        return false;
    }
    return true;
}

/* SIGHUP: certificates, authorities, and the log's level and format; everything else needs a
 * restart, and says so. */
static void reload(void *context)
{
    struct serve *serve = context;
    struct options fresh;
    char changed[512];
    notify_reloading();
    if (!serve_read(&fresh, serve->argc, serve->argv)) {
        log_event(LOG_ERROR, "not reloaded", LOG_Z("why", fresh.error));
        options_fini(&fresh);
        notify_send("READY=1\nSTATUS=not reloaded, see the log");
        return;
    }
    serve_setup_log(&fresh);
    bool certificates = reload_tls(serve, &fresh);
    bool whole = reload_outgoing(serve, &fresh) && certificates;
    const char *path = option_text(&fresh, "config");
    serve_name_changed(serve, &fresh, changed, sizeof changed);
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

/* Where a given socket listens counts, whatever the option says; but that is said. */
static bool name_socket(const struct serve *serve, const char *option, int socket,
                        struct ring_address *address)
{
    struct ring_address is;
    if (socket_address(socket, &is) != BK_OK) {
        return false;
    }
    bool same = is.family == address->family && is.port == address->port &&
                memcmp(is.at, address->at, sizeof is.at) == 0;
    if (!same && address->port != 0 && option_given(&serve->options, option)) {
        log_event(LOG_WARN, "an option is not used", LOG_Z("option", option),
                  LOG_Z("why", "the socket that was handed over listens elsewhere; to move it, "
                               "stop and start"));
    }
    *address = is;
    return true;
}

static void name_sockets(struct serve *serve)
{
    const struct control_sockets *sockets = &serve->sockets;
    if (sockets->ingress_count &&
        name_socket(serve, "listen", sockets->ingress[0], &serve->control.listen)) {
        serve_name_listen(serve);
    }
    if (sockets->admin_count &&
        name_socket(serve, "admin", sockets->admin[0], &serve->control.admin_listen)) {
        serve_name_admin(serve);
    }
}

static void take_sockets(struct serve *serve, const struct control_sockets *given)
{
    char lines[64];
    snprintf(lines, sizeof lines, "MAINPID=%ld\nSTATUS=taking over", (long)getpid());
    notify_send(lines); /* before the old one ends */
    if (serve->sockets.ingress_count + serve->sockets.admin_count == 0) {
        serve->sockets = *given;
        name_sockets(serve);
    } /* else the service manager's are the same ones */
    log_event(LOG_INFO, "taking over", LOG_I("sockets", given->ingress_count + given->admin_count));
}

#define ASK_AGAIN_NS (200 * NS_PER_MS)

/* Who is there and hears nobody is stopping, or goes for another one that asked first: the lock
 * becomes free, or that one can be asked. Only who has listeners tries for the lock: the next one
 * is who was given them. `why` is what is said when neither comes. */
static enum handover wait_for_word(struct serve *serve, struct control_sockets *given,
                                   enum bk_err *ret_lock, char why[HANDOVER_WHY_BYTES])
{
    const struct timespec pause = {0, ASK_AGAIN_NS};
    char listen_why[CONTROL_WHY_BYTES];
    int64_t end_ms = clock_steady_ms() + serve->control.drain_timeout_ns / NS_PER_MS + 10000;
    bool listens = false;
    enum handover answer = handover_ask(serve->control.data_directory, given, why);
    if (answer == HANDOVER_NOBODY) {
        log_event(LOG_INFO, "waiting for the server that is there to end", LOG_Z("why", why));
    }
    while (answer == HANDOVER_NOBODY && *ret_lock == BK_BUSY && clock_steady_ms() < end_ms) {
        nanosleep(&pause, NULL);
        listens = listens || control_listen(&serve->control, true, listen_why) == BK_OK;
        if (listens) {
            *ret_lock = file_lock(serve->lock_file);
        } else {
            answer = handover_ask(serve->control.data_directory, given, why);
        }
    }
    return answer;
}

/* The running server goes as soon as it has answered what it has; then the lock is ours. */
static enum bk_err take_over(struct serve *serve)
{
    struct control_sockets given = {.ingress_count = 0};
    char why[HANDOVER_WHY_BYTES], key_why[HUB_WHY_BYTES];
    enum bk_err err = BK_BUSY;
    if (data_key_look(serve->control.data_directory, key_why) != BK_OK) {
        cli_error("%s; nothing was taken over", key_why); /* who could not go on ends nobody */
        return BK_BUSY;
    }
    if (wait_for_word(serve, &given, &err, why) == HANDOVER_TAKEN) {
        take_sockets(serve, &given);
        int64_t patience_ns = serve->control.drain_timeout_ns + 10 * NS_PER_SECOND;
        err = file_lock_wait(serve->lock_file, (uint64_t)patience_ns);
        snprintf(why, sizeof why,
                 "the old server did not end within its --drain-timeout; nothing was taken over");
    }
    if (err == BK_BUSY) {
        cli_error("%s", why);
    }
    return err;
}

/* The first start of all leaves nothing behind when it cannot go on: its key is looked at, and it
 * listens, before there is a data directory. */
static bool begin_first(struct serve *serve)
{
    char why[CONTROL_WHY_BYTES];
    bool good = master_keys_check(why) == BK_OK;
    if (good && access(serve->control.data_directory, F_OK) != 0) {
        good = control_listen(&serve->control, true, why) == BK_OK;
    }
    if (!good) {
        cli_error("%s", why);
    }
    return good;
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
    const char *store = getenv("SSL_CERT_FILE");
    struct sandbox_files files = {
        .data_directory = serve->control.data_directory,
        .reads = {option_text(&serve->options, "config"), getenv("BECKET_MASTER_KEY_FILE"),
                  option_text(&serve->options, "tls-client-ca"),
                  option_text(&serve->options, "ca-file"), store && *store ? store : NULL},
    };
    static const char *const lists[] = {"tls-cert", "tls-key"};
    unsigned count = 5;
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
              LOG_I("memoryMaxMiB", serve_memory_max_mib(serve)), LOG_I("events", report->records),
              LOG_I("startMs", control_start_ms(control)),
              LOG_Z("ring", control_ring_features(control)));
}

static int serve_run(struct serve *serve)
{
    struct control *control;
    char why[CONTROL_WHY_BYTES];
    /* Last what may end a server that runs. */
    if (!open_tls(serve) || !open_outgoing(serve) || !begin_first(serve) || !lock_data(serve)) {
        return CLI_FAILED;
    }
    if (control_listen(&serve->control, false, why) != BK_OK) {
        return cli_error("%s", why);
    }
    name_sockets(serve);
    if (sandboxed(serve)) {
        restrict_files(serve);
    }
    if (control_open(&serve->control, &control, why) != BK_OK) {
        return cli_error("%s", why);
    }
    char handover_why[HANDOVER_WHY_BYTES];
    if (!handover_offer(serve->control.data_directory, &serve->sockets, control, handover_why)) {
        log_event(LOG_WARN, "no hand-over", LOG_Z("why", handover_why),
                  LOG_Z("effect", "--take-over will not work"));
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
        serve_print_try(serve, control);
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
    if (!serve_read(&serve.options, argc, argv)) {
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
    serve_setup_log(&serve.options);
    if (!serve_configure(&serve)) {
        return CLI_USAGE;
    }
    serve.control.reload = reload;
    serve.control.alive = alive;
    serve.control.stopping = stopping;
    serve.control.context = &serve;
    serve.control.sockets = &serve.sockets;
    guard_hold_signals();
    notify_open();
    serve.control.watchdog_ns = notify_watchdog_ns();
    char why[HANDOVER_WHY_BYTES];
    if (!handover_inherit(&serve.control.admin_listen, &serve.sockets, why)) {
        return cli_error("%s", why);
    }
    name_sockets(&serve);
    return serve_fit(&serve) ? serve_run(&serve) : CLI_FAILED;
}
