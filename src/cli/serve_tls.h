/* serve_tls.h - the certificates of `becket serve`: read at the start, and again on SIGHUP.
 *
 * Purpose     --tls-cert and --tls-key (pairs, in order), --tls-client-ca. The ingress listener
 *             speaks TLS when there is a certificate; the admin listener then too, unless its
 *             address is a loopback one, where the commands find it by http://.
 * Threads     The control thread.
 */
#ifndef BECKET_CLI_SERVE_TLS_H
#define BECKET_CLI_SERVE_TLS_H

#include "cli/option.h"
#include "tls/tls.h"

/* Rows for the option table. */
#define SERVE_TLS_OPTIONS(flags_)                                                                  \
    {.name = "tls-cert",                                                                           \
     .kind = OPTION_TEXT,                                                                          \
     .flags = (flags_) | OPTION_LIST,                                                              \
     .argument = "FILE",                                                                           \
     .help = "speak TLS with this certificate chain (PEM); several: chosen by name (SNI)"},        \
        {.name = "tls-key",                                                                        \
         .kind = OPTION_TEXT,                                                                      \
         .flags = (flags_) | OPTION_LIST,                                                          \
         .argument = "FILE",                                                                       \
         .help = "the key (PEM) of the --tls-cert at the same place"},                             \
    {                                                                                              \
        .name = "tls-client-ca", .kind = OPTION_TEXT, .flags = (flags_), .argument = "FILE",       \
        .help = "clients must show a certificate of one of these authorities"                      \
    }

bool serve_tls_wanted(const struct options *options);
/* A key for each certificate? Else it is wrong usage, and said so in ret_why (TLS_WHY_BYTES). */
bool serve_tls_paired(const struct options *options, char *ret_why);
/* False: ret_why is one line. Requires: serve_tls_wanted(). */
bool serve_tls_read(const struct options *options, struct tls_server **ret_server, char *ret_why);
/* Is this option read again by a reload? */
bool serve_tls_owns(const char *option_name);

#endif
