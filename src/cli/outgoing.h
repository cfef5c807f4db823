/* outgoing.h - what calls to other servers need of the configuration: whom to trust, which proxy.
 *
 * Trust       The system's authorities, and those of --ca-file.
 * Proxy       http_proxy, https_proxy and no_proxy of the environment, in lower or upper case.
 * Ownership   The caller's, for as long as a reactor lives. Blocking; at start, and at SIGHUP.
 */
#ifndef BECKET_CLI_OUTGOING_H
#define BECKET_CLI_OUTGOING_H

#include "http/proxy.h"
#include "tls/tls.h"

struct outgoing {
    struct tls_trust *trust;        /* it may be empty */
    bool system;                    /* the system's authorities are among them */
    const struct http_proxy *proxy; /* NULL = none */
    struct http_proxy proxies;
};

/* False: `ret_why` (TLS_WHY_BYTES) says what is wrong. ca_file may be NULL. */
bool outgoing_open(const char *ca_file, struct outgoing *ret_outgoing, char *ret_why);
/* The authorities are read again. False: one of the files is wrong, and all stays as it is. */
bool outgoing_reload(struct outgoing *outgoing, const char *ca_file, char *ret_why);
void outgoing_close(struct outgoing *outgoing);

#endif
