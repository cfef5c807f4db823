/* serve.h - inside `becket serve`: what its files share.
 *
 * Order       Options, what others gave (sockets), what the machine has, then serve_run (serve.c).
 * Failure     What returns false has said why.
 */
#ifndef BECKET_CLI_SERVE_H
#define BECKET_CLI_SERVE_H

#include "cli/cli.h"
#include "cli/outgoing.h"
#include "control/control.h"
#include "net/dns.h"

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

/* ---- serve_options.c: command line, environment, file */
bool serve_read(struct options *options, int argc, char **argv);
/* Into the configuration; false is wrong usage. */
bool serve_configure(struct serve *serve);
void serve_setup_log(struct options *options);
void serve_name_listen(struct serve *serve);
void serve_name_admin(struct serve *serve);
/* The names of what is set otherwise than at the start and has no effect yet. */
void serve_name_changed(const struct serve *serve, const struct options *fresh, char *ret_text,
                        size_t bytes);

/* ---- serve_machine.c: threads, descriptors, files, memory; by what is asked for and there */
bool serve_fit(struct serve *serve);
/* In use at most. */
uint64_t serve_memory_max_mib(const struct serve *serve);

/* ---- serve_try.c: two commands for who sees it for the first time */
void serve_print_try(struct serve *serve, struct control *control);

#endif
